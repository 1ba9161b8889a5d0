//! Why a question has no answer: closed codes, each with one status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::acts::Refused;
use crate::acts::draft::RefusedCode;

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nobody whom the gate knows.
    Unauthenticated,
    /// Somebody known to the machine, and not to the gate.
    Unknown,
    /// A browser, which has no business here.
    Browser,
    /// Asked under a name that is not this listener's.
    Host,
    /// The role may not do this.
    Role,
    /// Too many failed attempts.
    Failures,
    Endpoint,
    Method,
    /// Not understood.
    Question,
    /// A body that is no JSON of the right shape.
    Body,
    BodyTooLarge,
    BodySlow,
    MediaType,
    IfMatchNeeded,
    Changed,
    NotFound,
    NoJournal,
    JournalUnreadable,
    NoPolicy,
    Overloaded,
    NotWritten,
    /// The order makes no sense by itself.
    Order,
    SeveralTenants,
    SeveralProducts,
    Required,
    Unsound,
}

impl Code {
    pub const ALL: [Self; 26] = [
        Self::Unauthenticated,
        Self::Unknown,
        Self::Browser,
        Self::Host,
        Self::Role,
        Self::Failures,
        Self::Endpoint,
        Self::Method,
        Self::Question,
        Self::Body,
        Self::BodyTooLarge,
        Self::BodySlow,
        Self::MediaType,
        Self::IfMatchNeeded,
        Self::Changed,
        Self::NotFound,
        Self::NoJournal,
        Self::JournalUnreadable,
        Self::NoPolicy,
        Self::Overloaded,
        Self::NotWritten,
        Self::Order,
        Self::SeveralTenants,
        Self::SeveralProducts,
        Self::Required,
        Self::Unsound,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Unknown => "unknown",
            Self::Browser => "browser",
            Self::Host => "host",
            Self::Role => "role",
            Self::Failures => "failures",
            Self::Endpoint => "endpoint",
            Self::Method => "method",
            Self::Question => "question",
            Self::Body => "body",
            Self::BodyTooLarge => "body_too_large",
            Self::BodySlow => "body_slow",
            Self::MediaType => "media_type",
            Self::IfMatchNeeded => "if_match_needed",
            Self::Changed => "changed",
            Self::NotFound => "not_found",
            Self::NoJournal => "no_journal",
            Self::JournalUnreadable => "journal_unreadable",
            Self::NoPolicy => "no_policy",
            Self::Overloaded => "overloaded",
            Self::NotWritten => "not_written",
            Self::Order => "order",
            Self::SeveralTenants => "several_tenants",
            Self::SeveralProducts => "several_products",
            Self::Required => "required",
            Self::Unsound => "unsound",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unknown | Self::Browser | Self::Host | Self::Role => StatusCode::FORBIDDEN,
            Self::Failures => StatusCode::TOO_MANY_REQUESTS,
            Self::Endpoint | Self::NotFound | Self::NoJournal => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Question => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodySlow => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IfMatchNeeded => StatusCode::PRECONDITION_REQUIRED,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::JournalUnreadable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoPolicy | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotWritten => StatusCode::INSUFFICIENT_STORAGE,
            Self::Body
            | Self::Order
            | Self::SeveralTenants
            | Self::SeveralProducts
            | Self::Required
            | Self::Unsound => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn of(refused: RefusedCode) -> Self {
        match refused {
            RefusedCode::Order => Self::Order,
            RefusedCode::NotFound => Self::NotFound,
            RefusedCode::SeveralTenants => Self::SeveralTenants,
            RefusedCode::SeveralProducts => Self::SeveralProducts,
            RefusedCode::Required => Self::Required,
            RefusedCode::Unsound => Self::Unsound,
        }
    }
}

/// What a refused request is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fault {
    /// For people.
    pub error: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    pub code: Code,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminError {
    /// The order is not carried out as it is.
    Refused(Box<Refused>),
    /// What gives needs `If-Match` with the generation that was looked at.
    NeedsIfMatch,
    /// Somebody changed the policy since it was looked at.
    Changed { seen: u64, now: u64 },
    /// The disk did not take it.
    NotWritten(String),
    /// The question is not understood; the text says what was expected.
    Question(String),
    /// What it names does not exist.
    NotFound(String),
    /// No snapshot is in force yet.
    NoPolicy,
    /// Whatever the listener itself says.
    Plain(Code, String),
}

impl AdminError {
    pub fn plain(code: Code, text: impl Into<String>) -> Self {
        Self::Plain(code, text.into())
    }

    pub fn fault(self) -> Fault {
        let plain = |code, error: String| Fault { error, help: None, code };
        match self {
            Self::Question(text) => plain(Code::Question, text),
            Self::NotFound(text) => plain(Code::NotFound, text),
            Self::NoPolicy => plain(Code::NoPolicy, "no policy is loaded yet".to_owned()),
            Self::NotWritten(text) => plain(Code::NotWritten, text),
            Self::NeedsIfMatch => {
                let text = "what gives needs `If-Match` with the `ETag` of the snapshot that was looked at";
                plain(Code::IfMatchNeeded, text.to_owned())
            }
            Self::Changed { seen, now } => {
                let text = format!("the policy has changed since: generation {now} is in force, {seen} was looked at");
                plain(Code::Changed, text)
            }
            Self::Refused(refused) => {
                let Refused { code, message, help } = *refused;
                Fault { error: message, help: Some(help), code: Code::of(code) }
            }
            Self::Plain(code, text) => plain(code, text),
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let fault = self.fault();
        let status = fault.code.status();
        let mut response = (status, Json(fault)).into_response();
        let field = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = field {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }
}
