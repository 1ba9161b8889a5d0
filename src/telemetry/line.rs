//! What the log says of one request.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use http::Method;
use sha2::Sha256;

use super::decision::DecisionId;
use crate::authz::Reason;
use crate::metrics::Outcome;
use crate::usage::strangers::Fingerprint;

/// The most containers that are named; the rest is counted.
pub const CONTAINERS_SHOWN: usize = 20;

/// One request.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: SystemTime,
    pub gate: Arc<str>,
    pub decision: DecisionId,
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
    /// How the digest of its credential begins, where no policy names that and it passed all the same.
    pub fingerprint: Option<Fingerprint>,
    pub operation: Option<Arc<str>>,
    pub method: Method,
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
    /// Why no answer came from the upstream, for the operator alone.
    pub upstream_error: Option<String>,
    pub trace: Option<TraceId>,
    pub generation: Option<u64>,
    /// It was permitted, and cut when it no longer was.
    pub cut: bool,
    /// It was refused, and grants in shadow mode would have let it pass.
    pub shadow_permits: bool,
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
    Hashed(UserKey),
    #[default]
    None,
}

/// A key that users are hashed under, already taken in: a line costs one block of the hash less.
#[derive(Clone)]
pub struct UserKey(Hmac<Sha256>);

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
    /// Hashed under a key of any length.
    pub fn hashed(key: &[u8]) -> Self {
        // HMAC takes keys of every length; if it did not, no user would be written at all.
        Hmac::new_from_slice(key).map_or(Self::None, |mac| Self::Hashed(UserKey(mac)))
    }
}

impl UserKey {
    /// 64 bits of the hash: they tell users apart and fit a line.
    pub(super) fn hash(&self, user: &str) -> [u8; 8] {
        let mut mac = self.0.clone();
        mac.update(user.as_bytes());
        let mut short = [0; 8];
        for (byte, of_digest) in short.iter_mut().zip(mac.finalize().into_bytes()) {
            *byte = of_digest;
        }
        short
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A line of which nothing is known but that there was a request.
    pub fn line() -> Line {
        Line {
            at: SystemTime::UNIX_EPOCH,
            gate: "jira".into(),
            decision: DecisionId::random(),
            peer: None,
            outcome: None,
            reason: None,
            app: None,
            tenant: None,
            tenant_name: None,
            actor: None,
            user: None,
            kind: None,
            fingerprint: None,
            operation: None,
            method: Method::GET,
            path: "/".to_owned(),
            containers: Vec::new(),
            containers_more: 0,
            needed: Vec::new(),
            decided_by: None,
            status: None,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            upstream_class: None,
            upstream_error: None,
            trace: None,
            generation: None,
            cut: false,
            shadow_permits: false,
        }
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
}
