//! Jira's and Confluence's errors: the OAuth gateway's for a scope, Jira's own for the rest.
//!
//! The gateway says 401, not 403, when an OAuth token lacks a scope; the Connect filter says 403. Apps tell
//! "the scope is missing" from "the user may not" by exactly that, so both are kept.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::outward::Outward;
use super::{CredentialFamily, Rendered, http_status, problem};
use crate::authz::reason::Class;

const CONTENT_TYPE: &str = "application/json;charset=UTF-8";
/// What the OAuth gateway says, to the letter: apps compare it.
const GATEWAY_MESSAGE: &str = "Unauthorized; scope does not match";
/// What the Connect filter says.
const CONNECT_MESSAGE: &str = "Request not in an authorized API scope";

/// The OAuth gateway's shape, and Jira's beside it: the gateway's message is fixed, and SDKs for Python show
/// `errorMessages` and nothing else, so there an app's developer reads what was missing.
#[derive(serde::Serialize)]
struct GatewayBody<'r> {
    code: u16,
    message: &'static str,
    #[serde(flatten)]
    jira: JiraBody<'r>,
}

/// Jira's shape. `errors` is by field of the request, and a refusal is not about a field.
#[derive(serde::Serialize)]
struct JiraBody<'r> {
    #[serde(rename = "errorMessages")]
    error_messages: Vec<String>,
    errors: serde_json::Map<String, serde_json::Value>,
    scopegate: &'r Outward<'r>,
}

impl<'r> JiraBody<'r> {
    fn new(error_messages: Vec<String>, outward: &'r Outward<'r>) -> Self {
        Self { error_messages, errors: serde_json::Map::new(), scopegate: outward }
    }
}

pub(super) fn render(outward: &Outward<'_>, family: CredentialFamily) -> Rendered {
    let status = http_status(outward.reason);
    match (outward.reason.class(), family) {
        (Class::Scope, CredentialFamily::OAuth) => gateway(outward),
        (Class::Scope, CredentialFamily::Connect) => {
            jira(status, vec![CONNECT_MESSAGE.to_owned(), outward.message()], outward)
        }
        (Class::Who, CredentialFamily::OAuth | CredentialFamily::Connect) => {
            challenged(jira(status, vec![outward.message()], outward), outward)
        }
        (
            Class::Container | Class::Terms | Class::Operation | Class::Request | Class::ForNow,
            CredentialFamily::OAuth | CredentialFamily::Connect,
        ) => jira(status, vec![outward.message()], outward),
    }
}

fn gateway(outward: &Outward<'_>) -> Rendered {
    let status = StatusCode::UNAUTHORIZED;
    let jira = JiraBody::new(vec![GATEWAY_MESSAGE.to_owned(), outward.message()], outward);
    let body = GatewayBody { code: status.as_u16(), message: GATEWAY_MESSAGE, jira };
    challenged(Rendered::new(status, CONTENT_TYPE, &body), outward)
}

fn jira(status: StatusCode, error_messages: Vec<String>, outward: &Outward<'_>) -> Rendered {
    Rendered::new(status, CONTENT_TYPE, &JiraBody::new(error_messages, outward))
}

/// A 401 must carry a challenge (RFC 9110 §15.5.2).
fn challenged(rendered: Rendered, outward: &Outward<'_>) -> Rendered {
    match problem::challenge(outward) {
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
    fn a_missing_scope_is_told_in_the_gateways_words_and_readable_where_an_sdk_looks() {
        let refusal = Refusal { needed: vec!["write:jira-work".into()], ..Refusal::new(Reason::ScopeRevoked, "id") };
        let rendered = render(&Outward::of(&refusal), CredentialFamily::OAuth);
        let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!((rendered.status.as_u16(), &body["code"]), (401, &401.into()));
        assert_eq!(body["message"], "Unauthorized; scope does not match");
        // SDKs for Python show `errorMessages`, and of a body without them nothing, or the gateway's words alone.
        assert_eq!(body["errorMessages"][0], "Unauthorized; scope does not match");
        let sentence = body["errorMessages"][1].as_str().unwrap();
        assert!(sentence.contains("Needed: write:jira-work."), "{sentence}");
        assert_eq!(body["errors"], serde_json::json!({}));
    }
}
