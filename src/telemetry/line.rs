//! What the log says of one request. Filled on the data plane, turned into text by the writer's thread.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use serde::Serialize;
use time::OffsetDateTime;

use crate::authz::Reason;
use crate::authz::dialect::printable;
use crate::metrics::Outcome;

/// The most characters of the path that are written.
const PATH_MAX_CHARS: usize = 512;
/// The most characters of any other value that a caller may have written.
const VALUE_MAX_CHARS: usize = 200;
/// The most containers that are named; the rest is counted.
pub const CONTAINERS_SHOWN: usize = 20;
/// What credentials begin with. A path segment with one in it is not written.
const SECRETS: [&str; 9] = ["sg_", "xoxb-", "xoxp-", "xoxe", "xapp-", "ATATT", "ATCTT", "eyJ", "ghp_"];

/// One request.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: SystemTime,
    pub gate: Arc<str>,
    pub decision: String,
    pub peer: Option<IpAddr>,
    /// `None`: the caller went away before the request was judged.
    pub outcome: Option<Outcome>,
    /// Why it was refused, would have been, or failed.
    pub reason: Option<Reason>,
    pub app: Option<Arc<str>>,
    pub tenant: Option<Arc<str>>,
    pub tenant_name: Option<Arc<str>>,
    pub actor: Option<&'static str>,
    pub user: Option<Arc<str>>,
    pub kind: Option<Arc<str>>,
    pub operation: Option<Arc<str>>,
    pub method: String,
    /// Without the query: tokens stand there.
    pub path: String,
    pub containers: Vec<ContainerShown>,
    /// How many more containers the request touched.
    pub containers_more: usize,
    pub needed: Vec<Arc<str>>,
    pub decided_by: Option<DecidedBy>,
    /// `None`: no answer was sent.
    pub status: Option<u16>,
    pub duration: Duration,
    pub overhead: Duration,
    pub upstream_class: Option<&'static str>,
    pub trace: Option<TraceId>,
    pub generation: Option<u64>,
}

/// A container, with the name that a `names` document gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerShown {
    pub kind: Arc<str>,
    pub id: String,
    pub name: Option<Arc<str>>,
}

/// The grant, revocation or guardrail that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedBy {
    pub file: Arc<Path>,
    pub line: u32,
}

/// The trace id of a `traceparent` (W3C Trace Context §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// `None` for whatever is not a version-00 header with a trace id, or a later version that begins like one.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let mut parts = traceparent.split(|byte| *byte == b'-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let more = parts.next().is_some();
        let lengths = version.len() == 2 && parent.len() == 16 && flags.len() == 2;
        let hex = [version, trace, parent, flags]
            .iter()
            .all(|part| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        if !lengths || !hex || version == b"ff" || (version == b"00" && more) {
            return None;
        }
        let id: [u8; 32] = trace.try_into().ok()?;
        (id != [b'0'; 32]).then_some(Self(id))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// How users are written.
#[derive(Clone, Default)]
pub enum UserIds {
    Plain,
    /// HMAC-SHA-256 under a key, for a plain hash of a short id can be guessed back.
    Hashed(Arc<[u8]>),
    #[default]
    None,
}

impl std::fmt::Debug for UserIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Hashed(_) => "Hashed(…)",
            Self::None => "None",
        })
    }
}

impl UserIds {
    /// The user as the log writes it. 64 bits tell users apart and fit a line.
    fn shown<'u>(&self, user: &'u str) -> Option<Cow<'u, str>> {
        match self {
            Self::Plain => Some(printable(user, VALUE_MAX_CHARS)),
            Self::None => None,
            Self::Hashed(key) => {
                let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).ok()?;
                mac.update(user.as_bytes());
                let digest = mac.finalize().into_bytes();
                Some(Cow::Owned(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()))
            }
        }
    }
}

/// The members of a line, in the order they are written.
#[derive(Serialize)]
struct Written<'l> {
    time: String,
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
    gate: &'l str,
    decision: Cow<'l, str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_name: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'l str>,
    method: Cow<'l, str>,
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<WrittenContainer<'l>>,
    #[serde(skip_serializing_if = "is_zero")]
    containers_more: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needed: Vec<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_ms: f64,
    overhead_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
}

#[derive(Serialize)]
struct WrittenContainer<'l> {
    kind: &'l str,
    id: Cow<'l, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'l, str>>,
}

impl Line {
    /// The line as JSON, without a line end. `dropped` lines were lost before it.
    pub fn to_json(&self, users: &UserIds, dropped: u64) -> String {
        let written = Written {
            time: rfc3339(self.at),
            dropped,
            gate: &self.gate,
            decision: printable(&self.decision, VALUE_MAX_CHARS),
            outcome: self.outcome.map_or("gone", Outcome::as_str),
            reason: self.reason.map(Reason::as_str),
            app: self.app.as_deref(),
            tenant: self.tenant.as_deref(),
            tenant_name: self.tenant_name.as_deref().map(|name| printable(name, VALUE_MAX_CHARS)),
            actor: self.actor,
            user: self.user.as_deref().and_then(|user| users.shown(user)),
            kind: self.kind.as_deref(),
            operation: self.operation.as_deref(),
            method: printable(&self.method, VALUE_MAX_CHARS),
            path: shown_path(&self.path),
            containers: self.containers.iter().map(WrittenContainer::of).collect(),
            containers_more: self.containers_more as u64,
            needed: self.needed.iter().map(AsRef::as_ref).collect(),
            decided_by: self.decided_by.as_ref().map(|by| format!("{}:{}", by.file.display(), by.line)),
            status: self.status,
            duration_ms: milliseconds(self.duration),
            overhead_ms: milliseconds(self.overhead),
            upstream: self.upstream_class,
            trace_id: self.trace.as_ref().map(TraceId::as_str),
            generation: self.generation,
            peer: self.peer,
        };
        serde_json::to_string(&written).unwrap_or_default()
    }
}

impl<'l> WrittenContainer<'l> {
    fn of(container: &'l ContainerShown) -> Self {
        Self {
            kind: &container.kind,
            id: printable(&container.id, VALUE_MAX_CHARS),
            name: container.name.as_deref().map(|name| printable(name, VALUE_MAX_CHARS)),
        }
    }
}

/// The path without query or fragment, without segments that hold a credential, with controls escaped.
fn shown_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let shown: Vec<&str> =
        path.split('/').map(|segment| if holds_secret(segment) { "(credential)" } else { segment }).collect();
    printable(&shown.join("/"), PATH_MAX_CHARS).into_owned()
}

/// Whether a credential begins in the segment: at its start, after a sign, or after `%xx` (`msg_1` is none).
fn holds_secret(segment: &str) -> bool {
    let begins = |at: usize| {
        let before = segment.get(..at).unwrap_or_default().as_bytes();
        let sign = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        sign || before.iter().rev().nth(2) == Some(&b'%')
    };
    SECRETS.iter().any(|mark| segment.match_indices(mark).any(|(at, _)| begins(at)))
}

/// Milliseconds with three digits behind the point: more is noise.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// UTC, to the millisecond. A time that cannot be written is empty, never a panic.
pub(super) fn rfc3339(at: SystemTime) -> String {
    // Always milliseconds, so that lines sort as text.
    const WIDE: &[time::format_description::BorrowedFormatItem<'_>] =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(at).format(WIDE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_no_query_no_credential_and_no_control() {
        assert_eq!(shown_path("/api/chat.postMessage?token=xoxb-1"), "/api/chat.postMessage");
        assert_eq!(shown_path("/x/xoxb-123/y%0a"), "/x/(credential)/y%0a");
        assert_eq!(shown_path("/k=sg_1/%20sg_1/msg_1"), "/(credential)/(credential)/msg_1");
        assert_eq!(shown_path("/a\u{1b}[31m\r\n"), "/a\\u{1b}[31m\\u{d}\\u{a}");
    }

    #[test]
    fn a_trace_id_is_taken_from_a_valid_header_only() {
        let valid = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceId::parse(valid).unwrap().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for broken in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f35-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn users_are_written_as_the_operator_chose() {
        assert_eq!(UserIds::Plain.shown("U0DANA").as_deref(), Some("U0DANA"));
        assert_eq!(UserIds::None.shown("U0DANA"), None);
        let hashed = UserIds::Hashed(Arc::from(*b"key"));
        let shown = hashed.shown("U0DANA").unwrap();
        assert_eq!(shown.len(), 16);
        assert_eq!(hashed.shown("U0DANA").as_deref(), Some(&*shown));
        assert_ne!(UserIds::Hashed(Arc::from(*b"other")).shown("U0DANA").as_deref(), Some(&*shown));
    }

    #[test]
    fn times_have_milliseconds_at_most() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_123_456_789);
        assert_eq!(rfc3339(at), "1970-01-01T00:25:00.123Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
