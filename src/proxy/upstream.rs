//! One upstream as one worker sees it: a pool of connections, and the sending of a judged request over one of them.
//! Nothing is locked or shared between workers but the count of open connections.

mod connect;
mod direct;
mod gate;
mod http1;
mod http2;
mod pool;
mod public;
pub mod via;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Version, request};

use super::body::{Body, RequestBody, UpstreamBody};
use super::counters::IoCounters;
use super::headers;
use super::limits::Limits;
use super::source::Source;
use super::stream::{BodyError, Paced};
use super::websocket::Handshake;
use crate::authz::Reason;
pub use connect::{Address, Speaks, Target, Tls};
pub use direct::DirectBody;
pub use http1::Switched;
pub use http2::Seat;
use pool::{Http1Lease, Needs, Pool};
pub use pool::{Lease, Place};

/// Why a request got no answer from its upstream. Nothing is in it that a caller may see.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The generation moved before the first byte: nothing was sent. The body comes back, to be judged again.
    #[error("the snapshot moved before the first byte was sent")]
    Moved(RequestBody),
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("the upstream did not accept the connection in time")]
    ConnectTimeout,
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
    #[error("the upstream broke off or spoke no HTTP: {0}")]
    Broken(Fault),
    #[error("the upstream switched protocols: {0}")]
    Switched(&'static str),
    /// Over HTTP/2 its answer would say that the WebSocket is open.
    #[error("the upstream opened no WebSocket, but answered with {0}")]
    NotOpened(StatusCode),
    #[error("all connections that the upstream may have are in use")]
    TooManyConnections,
    /// The client's fault: its body stopped or was malformed while it was passed on.
    #[error("the request's body: {0}")]
    RequestBody(BodyError),
}

impl SendError {
    /// What the caller is told.
    pub fn reason(&self) -> Reason {
        match self {
            // The snapshot moves faster than a request can be judged: it is judged again by whoever asks again.
            Self::Moved(_) | Self::TooManyConnections => Reason::Overloaded,
            Self::Unreachable(_) => Reason::UpstreamUnreachable,
            Self::ConnectTimeout | Self::ResponseTimeout => Reason::UpstreamTimeout,
            Self::Broken(_) | Self::Switched(_) | Self::NotOpened(_) => Reason::UpstreamBroken,
            Self::RequestBody(_) => Reason::BadRequest,
        }
    }

    /// The word for the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Moved(_) => "moved",
            Self::Unreachable(_) => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Broken(_) => "broken",
            Self::Switched(_) => "switched",
            Self::NotOpened(_) => "not_opened",
            Self::TooManyConnections => "too_many_connections",
            Self::RequestBody(BodyError::TimedOut) => "request_body_timeout",
            Self::RequestBody(BodyError::Cut) => "request_body_cut",
            Self::RequestBody(BodyError::Revoked) => "request_body_revoked",
        }
    }
}

/// What a connection died of.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Direct(#[from] direct::Broken),
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

/// An upstream of one gate, within one worker.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Rc<Pool>,
}

impl Upstream {
    /// `generation` is the number of the snapshot in force: its writer stores the snapshot first, the number then, and
    /// acknowledges when [`super::worker::Fence::passed`] returned. Must be called on a worker: it spawns a local task
    /// that closes what is unused for too long.
    pub fn new(
        target: Arc<Target>,
        limits: Arc<Limits>,
        counters: Arc<IoCounters>,
        generation: Arc<AtomicU64>,
    ) -> Self {
        Self { pool: Pool::start(target, limits, counters, generation) }
    }

    pub fn target(&self) -> &Target {
        self.pool.target()
    }

    /// Sends a request that was judged under `generation`. `head` writes its head, as often as it is sent: the
    /// framing fields are set here, from the body. A `handshake` asks for a WebSocket: over HTTP/1.1, which every
    /// server of WebSockets speaks. A large head (`http2::is_large`) shares no connection of HTTP/2: some servers
    /// would end it, with the requests of others on it.
    ///
    /// It is sent once. Once more only if it is safe, has no body, went out on a *reused* connection and not one byte
    /// of an answer came: then the upstream closed the connection as the request left. What was never begun to be
    /// sent (the connection was found closed) is not counted as sent.
    pub async fn send(
        &self,
        generation: u64,
        head: impl Fn() -> request::Parts,
        mut body: RequestBody,
        handshake: Option<&Handshake>,
    ) -> Result<Response<Body>, SendError> {
        let mut fresh_only = false;
        loop {
            let request = frame(head(), &body);
            let needs = match handshake {
                Some(_) => Needs::Http1,
                None if self.pool.may_speak_http2() && http2::is_large(&request) => Needs::Alone,
                None => Needs::Any,
            };
            let is_bare = body.is_empty() && handshake.is_none();
            let lease = match if fresh_only { None } else { self.pool.reuse(needs, is_bare) } {
                Some(lease) => lease,
                // Boxed: a handshake in the making is some kilobytes, and most requests need none.
                None => Box::pin(self.pool.open(fresh_only, needs)).await?,
            };
            let is_reused = lease.is_reused();
            let may_repeat = is_reused && body.is_empty() && is_safe(&request.method);
            let sent = match lease {
                Lease::Http1(lease) => match bare(lease, is_bare, &request) {
                    Ok(bare) => {
                        drop(request);
                        direct::exchange(bare, generation, &self.pool).await
                    }
                    Err(lease) => http1::exchange(lease, generation, request, body, handshake, &self.pool).await,
                },
                // Boxed: its state would else be room in every request.
                Lease::Http2(lease) => Box::pin(http2::exchange(lease, generation, request, body, &self.pool)).await,
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(Failure::Moved(unsent)) => return Err(SendError::Moved(unsent)),
                Err(Failure::Unsent(unsent, _)) if is_reused => body = unsent,
                Err(Failure::Unsent(_, error)) => return Err(SendError::Broken(error)),
                Err(Failure::Unanswered(_)) if may_repeat => {
                    body = RequestBody::Empty;
                    fresh_only = true;
                }
                Err(Failure::Unanswered(error)) => return Err(error),
                Err(Failure::Final(error)) => return Err(error),
            }
        }
    }
}

/// The request on a connection that nobody else drives, if it may go on one and this is one.
fn bare(lease: Http1Lease, is_bare: bool, head: &request::Parts) -> Result<direct::Exchange, Http1Lease> {
    if is_bare { direct::Exchange::begin(lease, head) } else { Err(lease) }
}

/// How one attempt failed.
enum Failure {
    /// The gate held it back.
    Moved(RequestBody),
    /// Not one byte was written.
    Unsent(RequestBody, Fault),
    /// It was written, and not one byte of an answer came.
    Unanswered(SendError),
    Final(SendError),
}

/// Makes an answer of the upstream's fit for the client, and lends its body the connection.
fn accept(mut head: http::response::Parts, body: Source, lease: Lease, limits: &Limits) -> Response<Body> {
    let announces_a_body = announces_a_body(&head.headers);
    clean(&mut head);
    let body = if http_body::Body::is_end_stream(&body) {
        // An upstream that announces a body where none may be could send it, late: the next request on the connection
        // would get it for its answer (Traefik CVE-2026-71324). Such a connection is not used again.
        if !announces_a_body {
            lease.give_back();
        }
        Body::Empty
    } else {
        Body::Upstream(UpstreamBody::new(Paced::resting(body, limits.stream_timeout), lease))
    };
    Response::from_parts(head, body)
}

/// Takes out of the head of an answer what is not passed on.
fn clean(head: &mut http::response::Parts) {
    headers::clean_response(&mut head.headers);
    // hyper keeps an unusual reason phrase here; it is text of the upstream's that nobody needs.
    head.extensions.clear();
    // The client's own version fixes how it is answered, not that of the upstream.
    head.version = Version::HTTP_11;
}

/// True for a length above zero or a transfer coding: with HEAD and 304 a word only, else a body.
fn announces_a_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

/// Writes the framing anew, from what the body is and not from what the client said it was.
fn frame(mut head: request::Parts, body: &RequestBody) -> request::Parts {
    let length = match body {
        RequestBody::Empty => may_await_a_body(&head.method).then_some(0),
        RequestBody::Held(held) if held.trailers.is_some() => None,
        RequestBody::Held(held) => Some(held.bytes.len() as u64),
        RequestBody::Stream(stream) => hyper::body::Body::size_hint(stream).exact(),
    };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::TRANSFER_ENCODING);
    match length {
        Some(length) => drop(head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        // Without it hyper would drop the body of a GET in silence.
        None if !body.is_empty() => {
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None => {}
    }
    head
}

/// Methods that a server may wait for a body of: an empty one is said (RFC 9110 §8.6).
fn may_await_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Safe methods (RFC 9110 §9.2.1) that are forwarded.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
