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

/// The OAuth gateway's shape.
#[derive(serde::Serialize)]
struct GatewayBody<'r> {
    code: u16,
    message: &'static str,
    scopegate: Explained<'r>,
}

/// The gateway's message is fixed, so the sentence stands among the members that are ours.
#[derive(serde::Serialize)]
struct Explained<'r> {
    message: String,
    #[serde(flatten)]
    outward: &'r Outward<'r>,
}

/// Jira's shape. `errors` is by field of the request, and a refusal is not about a field.
#[derive(serde::Serialize)]
struct JiraBody<'r> {
    #[serde(rename = "errorMessages")]
    error_messages: Vec<String>,
    errors: serde_json::Map<String, serde_json::Value>,
    scopegate: &'r Outward<'r>,
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
    let scopegate = Explained { message: outward.message(), outward };
    let body = GatewayBody { code: status.as_u16(), message: GATEWAY_MESSAGE, scopegate };
    challenged(Rendered::new(status, CONTENT_TYPE, &body), outward)
}

fn jira(status: StatusCode, error_messages: Vec<String>, outward: &Outward<'_>) -> Rendered {
    let body = JiraBody { error_messages, errors: serde_json::Map::new(), scopegate: outward };
    Rendered::new(status, CONTENT_TYPE, &body)
}

/// A 401 must carry a challenge (RFC 9110 §15.5.2).
fn challenged(rendered: Rendered, outward: &Outward<'_>) -> Rendered {
    match problem::challenge(outward) {
        Some(challenge) => rendered.header(WWW_AUTHENTICATE, challenge),
        None => rendered,
    }
}
