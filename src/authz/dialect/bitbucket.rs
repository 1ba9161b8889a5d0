//! Bitbucket Cloud's errors: one object under `error`, and in `detail` the scopes that are required and granted.
//!
//! <https://developer.atlassian.com/cloud/bitbucket/rest/intro/#standardized-error-responses>. Clients show `message`,
//! and `detail` below it: it is there where a scope is missing, and nowhere else.

use std::borrow::Cow;

use http::header::WWW_AUTHENTICATE;

use super::outward::Outward;
use super::{Rendered, http_status, problem};
use crate::authz::reason::Class;

/// How Bitbucket itself begins: clients look for it.
const SCOPE_MESSAGE: &str = "Your credentials lack one or more required privilege scopes.";

#[derive(serde::Serialize)]
struct Body<'r> {
    r#type: &'static str,
    error: Error<'r>,
    scopegate: &'r Outward<'r>,
}

#[derive(serde::Serialize)]
struct Error<'r> {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail<'r>>,
}

#[derive(serde::Serialize)]
struct Detail<'r> {
    required: &'r [Cow<'r, str>],
    granted: &'r [Cow<'r, str>],
}

pub(super) fn render(outward: &Outward<'_>) -> Rendered {
    let error = match outward.reason.class() {
        Class::Scope => Error {
            message: format!("{SCOPE_MESSAGE} {}", outward.message()),
            detail: Some(Detail { required: &outward.needed, granted: &outward.held }),
        },
        Class::Who | Class::Container | Class::Terms | Class::Operation | Class::Request | Class::ForNow => {
            Error { message: outward.message(), detail: None }
        }
    };
    let body = Body { r#type: "error", error, scopegate: outward };
    let rendered = Rendered::new(http_status(outward.reason), "application/json; charset=utf-8", &body);
    match problem::invalid_token(outward) {
        Some(challenge) => rendered.header(WWW_AUTHENTICATE, challenge),
        None => rendered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::dialect::Refusal;
    use crate::authz::reason::Reason;

    #[test]
    fn a_missing_scope_is_told_where_clients_look() {
        let refusal = Refusal {
            needed: vec!["repository:write".into()],
            held: vec!["repository".into()],
            ..Refusal::new(Reason::MissingScope, "id")
        };
        let rendered = render(&Outward::of(&refusal));
        let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!((rendered.status.as_u16(), &body["type"]), (403, &"error".into()));
        assert!(body["error"]["message"].as_str().unwrap().starts_with(SCOPE_MESSAGE));
        let detail = serde_json::json!({"required": ["repository:write"], "granted": ["repository"]});
        assert_eq!(body["error"]["detail"], detail);
        let rendered = render(&Outward::of(&Refusal { reason: Reason::ContainerRevoked, ..refusal }));
        let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!((rendered.status.as_u16(), body["error"].get("detail")), (404, None));
    }
}
