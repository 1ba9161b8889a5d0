//! The request as the core sees it: one spelling of everything that is judged, or a refusal.
//!
//! Nothing here repairs a request. What two readers could take for two things is a [`BadRequest`] (law 5);
//! the only change ever made is the decoding of `%xx` of an unreserved character in the path.

mod argument;
mod body;
pub mod form;
mod head;
pub mod json;
pub mod multipart;
pub mod query;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use argument::{Found, argument};
pub(in crate::authz) use argument::{keys_of, values_of};
pub use body::{BodyFacts, parse_body};
use query::Pairs;

use super::identity::Bearer;
use super::identity::seen::Seen;
use super::identity::trusted_header::Vouched;
use super::looked_up::LookedUp;
use super::path;
use super::policy::credentials::TokenDigest;

/// The request can be read in two ways, or not at all. The text is for the developer who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub &'static str);

/// The head of a request in canonical form.
pub struct RequestView<'a> {
    pub method: &'a Method,
    /// The path that is judged, and sent unless the URL is signed.
    pub path: Cow<'a, str>,
    /// The query as it was received and is sent. Empty where there is none.
    pub query: &'a str,
    arguments: Pairs<'a>,
    pub headers: &'a HeaderMap,
    authorization: Option<&'a HeaderValue>,
    /// Lower case, no port, no trailing dot.
    pub host: Cow<'a, str>,
    /// As the caller wrote it beside the host.
    pub port: Option<&'a str>,
    received: &'a str,
    token: Option<Arc<TokenDigest>>,
    /// What is known of its evidence before it is judged; `None` for nearly all, of which nothing is.
    verified: Option<Box<Verified>>,
    /// The path ends in a pair of commits, with a control character between them.
    pair: bool,
}

/// What is known of a request's evidence.
#[derive(Default)]
struct Verified {
    /// When it was shown, where it is judged later.
    shown_ms: Option<i64>,
    bearer: Bearer,
    vouched: Vouched,
}

/// Headers and query may hold credentials, so they are never printed.
impl fmt::Debug for RequestView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, host, .. } = self;
        write!(f, "RequestView({method} {path:?} at {host:?})")
    }
}

/// What was found out besides the head of the request.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Unix time in milliseconds.
    pub now_ms: i64,
    /// So far behind is the time by which a right begins, or a revocation ends: what the clock was set forward by. Mostly 0.
    pub behind_ms: i64,
    pub body: BodyFacts<'a>,
    /// What the product was asked about things that the request names.
    pub looked_up: &'a LookedUp,
}

impl Facts<'_> {
    /// The time by which a right begins, or a revocation ends.
    #[inline]
    pub fn gives_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.behind_ms)
    }
}

impl<'a> RequestView<'a> {
    /// Reads the head that hyper parsed.
    pub fn of(parts: &'a http::request::Parts) -> Result<Self, BadRequest> {
        head::check_method(&parts.method)?;
        let authorization = head::check_headers(&parts.headers)?;
        let (host, port) = head::host(parts)?;
        let target = parts.uri.path_and_query().ok_or(BadRequest("the request target has no path"))?;
        let query = target.query().unwrap_or_default();
        let arguments = query::parse(query)?;
        // `http` reads an empty path as `/`; `?x` behind an authority is refused instead.
        let raw = if target.as_str().starts_with('?') { "" } else { target.path() };
        let (path, pair) = path::canonical_or_pair(raw)?;
        Ok(Self {
            method: &parts.method,
            path,
            query,
            arguments,
            headers: &parts.headers,
            authorization,
            host,
            port,
            received: target.as_str(),
            token: None,
            verified: None,
            pair,
        })
    }

    /// The same request, whose token in `Authorization` was told before: see [`Seen`].
    pub fn with_token(self, seen: &mut Seen) -> Self {
        Self { token: self.authorization.and_then(|value| seen.digest_of(value)), ..self }
    }

    /// The digest of the token in `Authorization`, where it was told before.
    #[inline]
    pub fn token(&self) -> Option<TokenDigest> {
        self.token.as_deref().copied()
    }

    /// The same request, whose credential was shown at this Unix time in milliseconds and is judged later.
    pub fn shown_at(mut self, shown_ms: i64) -> Self {
        self.verified.get_or_insert_default().shown_ms = Some(shown_ms);
        self
    }

    /// When the credential was shown, of a request that is judged at `now_ms`.
    pub fn shown_ms(&self, now_ms: i64) -> i64 {
        self.verified.as_ref().and_then(|verified| verified.shown_ms).unwrap_or(now_ms)
    }

    /// The same request, with what was made of the token in `Authorization`.
    pub fn with_bearer(mut self, bearer: Bearer) -> Self {
        self.bears(bearer);
        self
    }

    /// As [`Self::with_bearer`], in place: a request is large, and whoever waits with it has room for one.
    pub fn bears(&mut self, bearer: Bearer) {
        match bearer {
            Bearer::Opaque => {}
            bearer => self.verified.get_or_insert_default().bearer = bearer,
        }
    }

    /// Adds what a proxy before the gate says of it.
    pub fn is_vouched(&mut self, vouched: Vouched) {
        match vouched {
            Vouched::Nothing => {}
            vouched => self.verified.get_or_insert_default().vouched = vouched,
        }
    }

    /// What a proxy before the gate says of it.
    #[inline]
    pub fn vouched(&self) -> &Vouched {
        static NOTHING: Vouched = Vouched::Nothing;
        self.verified.as_deref().map_or(&NOTHING, |verified| &verified.vouched)
    }

    /// What was made of the token in `Authorization`.
    #[inline]
    pub fn bearer(&self) -> &Bearer {
        static OPAQUE: Bearer = Bearer::Opaque;
        self.verified.as_deref().map_or(&OPAQUE, |verified| &verified.bearer)
    }

    /// Path and query as received: what a signature over the URL covers.
    pub fn received_target(&self) -> &'a str {
        self.received
    }

    /// The path as received.
    pub fn received_path(&self) -> &'a str {
        self.received.split_once('?').map_or(self.received, |(path, _)| path)
    }

    /// Path and query as judged: what goes upstream unless the URL is signed.
    pub fn forward_target(&self) -> Cow<'a, str> {
        if !self.is_rewritten() {
            return Cow::Borrowed(self.received);
        }
        let query = self.received.get(self.received_path().len()..).unwrap_or_default();
        Cow::Owned(format!("{}{query}", self.path))
    }

    /// The same without the arguments of these names: a gate key that stood in the query goes no further.
    pub fn forward_target_without(&self, names: &[Box<str>]) -> String {
        let query = self.arguments().without(names);
        if query.is_empty() { self.path.to_string() } else { format!("{}?{query}", self.path) }
    }

    /// The same request with another target and no credential: the form in which it will be sent.
    pub fn retargeted<'t>(&'t self, target: &'t str) -> Result<RequestView<'t>, BadRequest> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let arguments = query::parse(query)?;
        let (path, pair) = path::canonical_or_pair(path)?;
        Ok(RequestView {
            method: self.method,
            path,
            query,
            arguments,
            headers: self.headers,
            authorization: self.authorization,
            host: Cow::Borrowed(&self.host),
            port: self.port,
            received: target,
            token: self.token.clone(),
            verified: None,
            pair,
        })
    }

    /// Whether the path ends in a pair of commits. Only an operation that reads revisions there may take such a path.
    #[inline]
    pub fn ends_in_a_pair(&self) -> bool {
        self.pair
    }

    /// Whether the judged path is spelled otherwise than the received one.
    pub fn is_rewritten(&self) -> bool {
        matches!(self.path, Cow::Owned(_))
    }

    /// The arguments in the query.
    pub fn arguments(&self) -> Pairs<'a> {
        self.arguments
    }

    /// The one value of `Authorization`.
    pub fn authorization(&self) -> Option<&'a HeaderValue> {
        self.authorization
    }

    /// The values of a header that decides, each an element of a comma-separated list or not, as the catalog says.
    pub fn header(&self, name: &HeaderName) -> Result<Found<'_>, BadRequest> {
        head::deciding(self.headers, name)
    }
}
