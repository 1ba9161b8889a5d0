//! A refusal in the shape that the product's SDKs understand.
//!
//! Pure: a [`Refusal`] goes in, a status, headers and a body come out. What goes in is the outward view only, so
//! no dialect can print a file name or the text of a rule. The class fixes the answer, the reason only its text.

mod atlassian;
mod bitbucket;
mod buddy;
mod github;
mod outward;
mod problem;
mod slack;
mod text;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER};

use super::catalog::DialectName;
use super::reason::{Class, Reason};
use outward::Outward;
pub use text::printable;

/// The id of the decision: what the app's developer quotes and the operator looks up in the log.
pub const DECISION_HEADER: HeaderName = HeaderName::from_static("x-scopegate-decision");
/// The stable reason code. The product never sends it, so a refusal is never mistaken for the product's own.
pub const REASON_HEADER: HeaderName = HeaderName::from_static("x-scopegate-reason");
/// The code that a request under `observe` would have been refused with.
pub const WOULD_HEADER: HeaderName = HeaderName::from_static("x-scopegate-would");

/// How long to wait when nobody knows better. Long enough that a fleet of retries does not keep a gate down.
pub const RETRY_AFTER_S: u32 = 5;

/// What the app may know of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// What exactly, where the reason alone does not say it. A fixed text, never the caller's.
    pub why: Option<&'static str>,
    /// Which of a vendor's error shapes the credential's SDKs expect, where a vendor has two.
    pub family: CredentialFamily,
    /// Random, and of one length, so that it tells nothing.
    pub decision: String,
    pub app: Option<String>,
    pub tenant: Option<Named>,
    pub operation: Option<String>,
    /// As the app itself named it; never one that a look-up found.
    pub container: Option<Container>,
    /// The line of the operation's needs of which most is granted.
    pub needed: Vec<String>,
    pub held: Vec<String>,
    /// Where to ask: the app's `contact`, or the gate's for a caller that is not known.
    pub contact: Option<String>,
    /// Only for the class "for now". Absent is [`RETRY_AFTER_S`].
    pub retry_after_s: Option<u32>,
    /// A look-up stood behind it: the answer must not tell hidden from absent.
    pub hidden: bool,
}

/// An id and its reading name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Named {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A container as the request named it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Container {
    pub kind: String,
    pub name: String,
}

/// The two error shapes of Atlassian's gateways. Other dialects have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CredentialFamily {
    #[default]
    OAuth,
    Connect,
}

impl Refusal {
    /// A refusal of which only the reason is known yet.
    pub fn new(reason: Reason, decision: impl Into<String>) -> Self {
        Self {
            reason,
            why: None,
            family: CredentialFamily::default(),
            decision: decision.into(),
            app: None,
            tenant: None,
            operation: None,
            container: None,
            needed: Vec::new(),
            held: Vec::new(),
            contact: None,
            retry_after_s: None,
            hidden: false,
        }
    }
}

/// A whole answer, free of any HTTP library's body type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub content_type: &'static str,
    pub body: Bytes,
}

/// Renders a refusal in a dialect.
pub fn render(dialect: DialectName, refusal: &Refusal) -> Rendered {
    let outward = Outward::of(refusal);
    let mut rendered = match dialect {
        DialectName::Problem => problem::render(&outward),
        DialectName::Slack => slack::render(&outward),
        DialectName::Atlassian => atlassian::render(&outward, refusal.family),
        DialectName::Bitbucket => bitbucket::render(&outward),
        DialectName::Github => github::render(&outward),
        DialectName::Buddy => buddy::render(&outward),
    };
    rendered.headers.push((DECISION_HEADER, text::header_value(outward.decision)));
    rendered.headers.push((REASON_HEADER, HeaderValue::from_static(outward.code)));
    // A 404 may be cached by anyone who is not told otherwise (RFC 9110 §15.1), and would outlive the refusal.
    rendered.headers.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    if outward.reason.class() == Class::ForNow {
        rendered.headers.push((RETRY_AFTER, HeaderValue::from(outward.retry_after_s)));
    }
    rendered
}

impl Rendered {
    fn new(status: StatusCode, content_type: &'static str, body: &impl serde::Serialize) -> Self {
        // Strings, numbers and string-keyed maps always serialize; an empty body is the harmless other case.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status, headers: Vec::new(), content_type, body: Bytes::from(body) }
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The status of "for now" and "request", in which all dialects agree.
///
/// Never 401 or 403: SDKs drop their token or refresh in a loop on those.
fn passing_status(reason: Reason) -> Option<StatusCode> {
    match reason {
        Reason::UpstreamUnreachable | Reason::UpstreamBroken => Some(StatusCode::BAD_GATEWAY),
        Reason::UpstreamTimeout => Some(StatusCode::GATEWAY_TIMEOUT),
        Reason::NoPolicy
        | Reason::StalePolicy
        | Reason::IdentityUnresolved
        | Reason::ContainerUnresolved
        | Reason::Overloaded
        | Reason::Draining
        | Reason::NarrowingFailed => Some(StatusCode::SERVICE_UNAVAILABLE),
        Reason::RateLimited => Some(StatusCode::TOO_MANY_REQUESTS),
        Reason::BodyTooLarge => Some(StatusCode::PAYLOAD_TOO_LARGE),
        Reason::Unidentified
        | Reason::UnknownApp
        | Reason::UnknownTenant
        | Reason::MissingScope
        | Reason::ScopeRevoked
        | Reason::Expired
        | Reason::NotYetValid
        | Reason::InstallWindowClosed
        | Reason::MigrationDeadline
        | Reason::ContainerNotGranted
        | Reason::ContainerRevoked
        | Reason::ContainerUnreadable
        | Reason::ActorNotAllowed
        | Reason::UserNotAllowed
        | Reason::PipelineNotAllowed
        | Reason::OperationNotAllowed
        | Reason::ArgumentNotAllowed
        | Reason::AppSuspended
        | Reason::UnknownOperation
        | Reason::BadRequest => None,
    }
}

/// The HTTP status of dialects that speak HTTP statuses.
fn http_status(reason: Reason) -> StatusCode {
    if let Some(status) = passing_status(reason) {
        return status;
    }
    match reason.class() {
        Class::Who => StatusCode::UNAUTHORIZED,
        Class::Scope | Class::Terms => StatusCode::FORBIDDEN,
        Class::Container | Class::Operation => StatusCode::NOT_FOUND,
        Class::Request => StatusCode::BAD_REQUEST,
        // `passing_status` names each of them.
        Class::ForNow => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [DialectName; 6] = [
        DialectName::Problem,
        DialectName::Slack,
        DialectName::Atlassian,
        DialectName::Bitbucket,
        DialectName::Github,
        DialectName::Buddy,
    ];

    fn refusal(reason: Reason) -> Refusal {
        Refusal {
            app: Some("slack/assist".into()),
            tenant: Some(Named { id: "T1".into(), name: Some("Acme".into()) }),
            container: Some(Container { kind: "channel".into(), name: "C0EXEC".into() }),
            needed: vec!["chat:write".into()],
            ..Refusal::new(reason, "0".repeat(32))
        }
    }

    fn header<'r>(rendered: &'r Rendered, name: &str) -> Option<&'r str> {
        rendered.headers.iter().find(|(have, _)| have == name).and_then(|(_, value)| value.to_str().ok())
    }

    #[test]
    fn every_refusal_carries_its_decision_and_reason() {
        for dialect in DIALECTS {
            for reason in Reason::ALL {
                let rendered = render(dialect, &refusal(reason));
                assert_eq!(header(&rendered, "x-scopegate-reason"), Some(reason.as_str()));
                assert_eq!(header(&rendered, "x-scopegate-decision"), Some("0".repeat(32).as_str()));
            }
        }
    }

    #[test]
    fn for_now_says_when_to_come_back_and_is_never_an_auth_error() {
        for dialect in DIALECTS {
            for reason in Reason::ALL {
                let rendered = render(dialect, &refusal(reason));
                let for_now = reason.class() == Class::ForNow;
                assert_eq!(header(&rendered, "retry-after").is_some(), for_now, "{reason}");
                if for_now {
                    assert!(rendered.status.is_server_error() || rendered.status == 429, "{reason}");
                    assert_eq!(header(&rendered, "www-authenticate"), None);
                }
            }
        }
    }

    #[test]
    fn hidden_and_absent_are_the_same_bytes() {
        for dialect in DIALECTS {
            let absent = Refusal { hidden: true, ..Refusal::new(Reason::ContainerUnreadable, "0".repeat(32)) };
            let hidden = Refusal { hidden: true, ..refusal(Reason::ContainerRevoked) };
            assert_eq!(render(dialect, &absent), render(dialect, &hidden));
            assert_eq!(header(&render(dialect, &hidden), "x-scopegate-reason"), Some("not_found"));
        }
    }

    #[test]
    fn a_caller_that_is_not_known_learns_nothing_of_the_policy() {
        for dialect in DIALECTS {
            for reason in Reason::ALL.into_iter().filter(|reason| reason.class() == Class::Who) {
                let text = String::from_utf8(render(dialect, &refusal(reason)).body.to_vec()).unwrap();
                for secret in ["slack/assist", "Acme", "C0EXEC", "chat:write"] {
                    assert!(!text.contains(secret), "{text}");
                }
            }
        }
    }

    #[test]
    fn names_cannot_break_out_of_a_header_or_drive_a_terminal() {
        for dialect in DIALECTS {
            for reason in Reason::ALL {
                let evil = "a\"\r\nset-cookie: x=\u{1b}[31m\u{202e}é";
                let refusal = Refusal {
                    needed: vec![evil.into()],
                    held: vec![evil.into()],
                    contact: Some(evil.into()),
                    container: Some(Container { kind: evil.into(), name: evil.into() }),
                    decision: evil.into(),
                    ..refusal(reason)
                };
                let rendered = render(dialect, &refusal);
                for (_, value) in &rendered.headers {
                    assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)), "{value:?}");
                }
                let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
                assert_no_controls(&body);
            }
        }
    }

    fn assert_no_controls(value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{text:?}"),
            serde_json::Value::Array(items) => items.iter().for_each(assert_no_controls),
            serde_json::Value::Object(members) => members.values().for_each(assert_no_controls),
            _ => {}
        }
    }
}
