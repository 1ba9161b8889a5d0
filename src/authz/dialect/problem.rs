//! The default dialect: RFC 9457 problem details, with the challenge of RFC 6750 §3.

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use super::outward::Outward;
use super::text::{header_value, scope_attribute};
use super::{Rendered, http_status};
use crate::authz::reason::Class;

/// RFC 9457 §3.1, with the outward view as extension members.
#[derive(serde::Serialize)]
struct Problem<'r> {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    #[serde(flatten)]
    outward: &'r Outward<'r>,
}

pub(super) fn render(outward: &Outward<'_>) -> Rendered {
    let status = http_status(outward.reason);
    let problem = Problem {
        r#type: format!("urn:scopegate:reason:{}", outward.code),
        title: title(outward.code),
        status: status.as_u16(),
        detail: outward.message(),
        outward,
    };
    let rendered = Rendered::new(status, "application/problem+json", &problem);
    match challenge(outward) {
        Some(challenge) => rendered.header(WWW_AUTHENTICATE, challenge),
        None => rendered,
    }
}

/// `WWW-Authenticate` for what another credential, or a wider one, would mend.
pub(super) fn challenge(outward: &Outward<'_>) -> Option<HeaderValue> {
    match outward.reason.class() {
        Class::Who => invalid_token(outward),
        Class::Scope => Some(insufficient_scope(outward)),
        Class::Container | Class::Terms | Class::Operation | Class::Request | Class::ForNow => None,
    }
}

/// The challenge that a 401 must carry (RFC 9110 §15.5.2), for dialects that tell a missing scope in their own way.
pub(super) fn invalid_token(outward: &Outward<'_>) -> Option<HeaderValue> {
    let who = outward.reason.class() == Class::Who;
    who.then(|| HeaderValue::from_static(r#"Bearer realm="scopegate", error="invalid_token""#))
}

fn insufficient_scope(outward: &Outward<'_>) -> HeaderValue {
    let scopes = scope_attribute(&outward.needed);
    let mut challenge = String::from(r#"Bearer realm="scopegate", error="insufficient_scope""#);
    if !scopes.is_empty() {
        challenge.push_str(&format!(r#", scope="{scopes}""#));
    }
    header_value(&challenge)
}

/// `scope_revoked` as "Scope revoked".
fn title(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::authz::dialect::Refusal;
    use crate::authz::reason::Reason;

    #[test]
    fn the_challenge_lists_what_is_needed() {
        let refusal = Refusal { needed: vec!["a:b".into(), "c".into()], ..Refusal::new(Reason::MissingScope, "id") };
        let rendered = render(&Outward::of(&refusal));
        assert_eq!(rendered.status, StatusCode::FORBIDDEN);
        let (_, challenge) = rendered.headers.first().unwrap();
        assert_eq!(challenge, r#"Bearer realm="scopegate", error="insufficient_scope", scope="a:b c""#);
    }
}
