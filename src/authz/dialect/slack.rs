//! Slack's errors: status 200 and `ok: false`. Its SDKs look at `ok` alone to tell a refusal from an answer.
//!
//! <https://docs.slack.dev/apis/web-api/#responses>. The sentence goes where Slack puts its own remarks,
//! `response_metadata.messages`: `@slack/web-api` logs what stands there after `[ERROR]`.

use http::StatusCode;
use http::header::HeaderName;

use super::outward::Outward;
use super::text::header_list;
use super::{Rendered, passing_status};
use crate::authz::reason::{Class, Reason};

/// The scopes of the token.
const OAUTH_SCOPES: HeaderName = HeaderName::from_static("x-oauth-scopes");
/// The scopes that the method takes.
const ACCEPTED_SCOPES: HeaderName = HeaderName::from_static("x-accepted-oauth-scopes");

#[derive(serde::Serialize)]
struct Body<'r> {
    ok: bool,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provided: Option<String>,
    response_metadata: Metadata,
    scopegate: &'r Outward<'r>,
}

#[derive(serde::Serialize)]
struct Metadata {
    messages: [String; 1],
}

pub(super) fn render(outward: &Outward<'_>) -> Rendered {
    let scope = outward.reason.class() == Class::Scope;
    let body = Body {
        ok: false,
        error: error(outward.reason),
        needed: scope.then(|| outward.needed.join(",")),
        provided: scope.then(|| outward.held.join(",")),
        response_metadata: Metadata { messages: [format!("[ERROR] {}", outward.message())] },
        scopegate: outward,
    };
    let status = passing_status(outward.reason).unwrap_or(StatusCode::OK);
    let rendered = Rendered::new(status, "application/json; charset=utf-8", &body);
    if !scope {
        return rendered;
    }
    rendered
        .header(OAUTH_SCOPES, header_list(&outward.held, ","))
        .header(ACCEPTED_SCOPES, header_list(&outward.needed, ","))
}

/// Slack's own word for it.
///
/// Never `account_inactive` or `token_revoked`: apps delete the token on those, and a suspension is undone one day.
fn error(reason: Reason) -> &'static str {
    match reason {
        Reason::Unidentified | Reason::UnknownApp | Reason::UnknownTenant => "invalid_auth",
        Reason::MissingScope
        | Reason::ScopeRevoked
        | Reason::Expired
        | Reason::NotYetValid
        | Reason::InstallWindowClosed
        | Reason::MigrationDeadline => "missing_scope",
        Reason::ContainerNotGranted | Reason::ContainerRevoked | Reason::ContainerUnreadable => "channel_not_found",
        Reason::ActorNotAllowed => "not_allowed_token_type",
        Reason::UserNotAllowed
        | Reason::PipelineNotAllowed
        | Reason::OperationNotAllowed
        | Reason::ArgumentNotAllowed
        | Reason::AppSuspended => "access_denied",
        Reason::UnknownOperation => "unknown_method",
        Reason::BadRequest | Reason::BodyTooLarge => "invalid_arguments",
        Reason::NoPolicy
        | Reason::StalePolicy
        | Reason::IdentityUnresolved
        | Reason::ContainerUnresolved
        | Reason::Overloaded
        | Reason::Draining
        | Reason::NarrowingFailed
        | Reason::UpstreamUnreachable
        | Reason::UpstreamTimeout
        | Reason::UpstreamBroken => "service_unavailable",
        Reason::RateLimited => "ratelimited",
    }
}
