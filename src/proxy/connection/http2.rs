//! HTTP/2 (RFC 9113) with a client: requests side by side, each a task of its own, and the bounds of the connection.
//!
//! A request reaches the service as HTTP/1.1 would bring it: the host in `Host`, a WebSocket (RFC 8441) as the upgrade
//! that it stands for. So what is judged does not depend on the version.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::body::{Body, BodyError};
use super::super::counters::PanicWatch;
use super::super::headers::Twofold;
use super::super::http2::{self, Duplex, SEND_BUFFER_BYTES, Unsent};
use super::super::limits::{
    CONNECTION_WINDOW_BYTES, LOCAL_RESETS_MAX, Limits, QUIET_BYTES_MAX, RESETS_MAX, STREAM_WINDOW_BYTES,
};
use super::super::source::{Http2Body, Quiet, Source};
use super::super::websocket;
use super::io::ClientIo;
use super::pace::Pace;
use super::{Ended, Peer, Serving};

/// How often the bounds in time of a connection are looked at, at the least: a bound is kept to within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The requests of one connection.
pub(super) async fn converse<S, F>(mut io: ClientIo, peer: Rc<Peer>, serving: &Rc<Serving<S>>) -> Ended
where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let streams = Rc::new(Streams::new(Rc::clone(io.pace())));
    io.count_quiet(streams.quiet.clone());
    let limits = &serving.limits;
    let shaken = timeout(limits.header_timeout, protocol(limits).handshake(io)).await;
    let mut connection = match shaken {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return Ended::Malformed,
        Err(_) => return Ended::TooSlow,
    };
    let mut closing = pin!(serving.drain.closing());
    let mut clock = pin!(sleep_until(Instant::now() + LOOK_EVERY.min(limits.idle_timeout)));
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    if streams.begin() {
                        let one = answer(request, respond, Rc::clone(&peer), Rc::clone(serving), Rc::clone(&streams));
                        spawn_local(one);
                    } else {
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        let closed = std::future::poll_fn(|context| connection.poll_closed(context));
                        // Whether it is heard is the client's affair.
                        let _ = timeout(limits.linger_timeout, closed).await;
                        return Ended::Malformed;
                    }
                    if streams.pace.is_spent(limits) {
                        streams.leave(&mut connection);
                    }
                }
                Some(Err(_)) | None if streams.were_abused() => return Ended::Malformed,
                Some(Err(error)) => return how_it_ended(&error),
                None => return Ended::Orderly,
            },
            () = &mut closing, if !streams.is_leaving() => streams.leave(&mut connection),
            () = &mut clock => {
                if let Some(ended) = streams.look(&mut connection, limits) {
                    return ended;
                }
                clock.as_mut().reset(Instant::now() + LOOK_EVERY.min(limits.idle_timeout));
            }
        }
    }
}

fn protocol(limits: &Limits) -> Builder {
    let mut protocol = Builder::new();
    protocol
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .enable_connect_protocol();
    protocol
}

fn how_it_ended(error: &h2::Error) -> Ended {
    // A client may go at any time; what it says of itself is no fault of its protocol either.
    if error.is_io() || error.is_remote() { Ended::Orderly } else { Ended::Malformed }
}

/// What a connection knows of its streams. One thread, no locks.
#[derive(Debug)]
struct Streams {
    pace: Rc<Pace>,
    quiet: Quiet,
    open: Cell<u32>,
    /// Requests that the client took back.
    resets: Cell<u32>,
    /// Since when no request is under way.
    idle_since: Cell<Instant>,
    /// Since when the client is asked to close.
    leaving_since: Cell<Option<Instant>>,
    /// Some request came.
    was_used: Cell<bool>,
}

impl Streams {
    fn new(pace: Rc<Pace>) -> Self {
        Self {
            pace,
            quiet: Quiet::default(),
            open: Cell::new(0),
            resets: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            leaving_since: Cell::new(None),
            was_used: Cell::new(false),
        }
    }

    /// Counts a request in. False: this client makes requests to take them back.
    fn begin(&self) -> bool {
        self.quiet.end();
        self.was_used.set(true);
        let begun = self.pace.count_request();
        let abuses = self.resets.get() > RESETS_MAX && self.resets.get() > begun / 2;
        if !abuses {
            self.open.set(self.open.get().saturating_add(1));
        }
        !abuses
    }

    /// The connection ended for what the client did with it.
    fn were_abused(&self) -> bool {
        self.quiet.bytes() > QUIET_BYTES_MAX
    }

    fn is_leaving(&self) -> bool {
        self.leaving_since.get().is_some()
    }

    /// Asks the client to close (GOAWAY): what is under way goes on, nothing new is taken.
    fn leave(&self, connection: &mut Connection<ClientIo, Bytes>) {
        if !self.is_leaving() {
            self.leaving_since.set(Some(Instant::now()));
            connection.graceful_shutdown();
        }
    }

    /// Keeps the bounds in time. `Some`: the connection is over.
    fn look(&self, connection: &mut Connection<ClientIo, Bytes>, limits: &Limits) -> Option<Ended> {
        let passed = |since: Option<Instant>, bound: Duration| since.is_some_and(|since| since.elapsed() >= bound);
        if self.pace.is_blocked_for(limits.write_timeout) {
            return Some(Ended::TooSlow);
        }
        let idle_since = (self.open.get() == 0).then(|| self.idle_since.get());
        if self.is_leaving() {
            // One that will not close is closed, as long as nothing is lost by it.
            let lingers = passed(self.leaving_since.get(), limits.linger_timeout);
            // One that never asked for anything was half open.
            let ended = if self.was_used.get() { Ended::Orderly } else { Ended::TooSlow };
            return (lingers && passed(idle_since, limits.linger_timeout)).then_some(ended);
        }
        if passed(idle_since, limits.idle_timeout) || self.pace.is_spent(limits) {
            self.leave(connection);
        }
        None
    }
}

/// A request that is under way, until it is dropped.
struct Begun(Rc<Streams>);

impl Drop for Begun {
    fn drop(&mut self) {
        let open = self.0.open.get().saturating_sub(1);
        self.0.open.set(open);
        if open == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// One request, from its head to the end of its answer. Dropped streams are reset by `h2`.
async fn answer<S, F>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Rc<Peer>,
    serving: Rc<Serving<S>>,
    streams: Rc<Streams>,
) where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let _begun = Begun(Rc::clone(&streams));
    let _watch = PanicWatch(std::sync::Arc::clone(&serving.counters));
    if request.headers().len() > serving.limits.headers_max {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        // The stream may be gone; then there is nobody to tell.
        let _ = respond.send_response(response, true);
        return;
    }
    let is_head = request.method() == Method::HEAD;
    let (request, tunnel) = as_http1(request, &peer, &streams.quiet);
    let mut answering = pin!((serving.service)(Rc::clone(&peer), request));
    let answered = std::future::poll_fn(|context| {
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        answering.as_mut().poll(context).map(Some)
    });
    let Some(response) = answered.await else {
        streams.resets.set(streams.resets.get().saturating_add(1));
        return;
    };
    send(response, is_head, respond, tunnel, &serving, &streams).await;
}

async fn send<S>(
    response: Response<Body>,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    receive: Option<RecvStream>,
    serving: &Serving<S>,
    streams: &Streams,
) {
    let (mut head, mut body) = response.into_parts();
    let tunnel = body.take_tunnel();
    http2::clean(&mut head.headers);
    if !head.headers.contains_key(header::DATE) {
        head.headers.extend(date().map(|date| (header::DATE, date)));
    }
    if tunnel.is_some() {
        websocket::as_extended_connect(&mut head);
    }
    let is_over = tunnel.is_none() && (is_head || body.is_end_stream());
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), is_over) else { return };
    match (tunnel, receive) {
        (Some(tunnel), Some(receive)) => {
            let client = Duplex::new(stream, receive, streams.quiet.clone());
            // The connection goes on, so that its own end does not tell of it.
            let over = tunnel.run(client, Bytes::new(), &serving.limits, serving.drain.closing()).await;
            serving.counters.ended(over.into());
        }
        _ if is_over => {}
        _ => {
            let open = body.open();
            let send = http2::send(body, &mut stream, serving.limits.write_timeout, |_| streams.quiet.end());
            let sent = match &open {
                None => send.await,
                // Also while the client takes nothing: then nothing is asked of the body.
                Some(open) => tokio::select! {
                    biased;
                    () = open.cut() => Err(Unsent::Body(BodyError::Revoked)),
                    sent = send => sent,
                },
            };
            match sent {
                Err(Unsent::Body(BodyError::Revoked)) => stream.send_reset(Reason::CANCEL),
                Err(Unsent::TooSlow) => {
                    serving.counters.timed_out.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Err(Unsent::Reset) => streams.resets.set(streams.resets.get().saturating_add(1)),
                Err(Unsent::Body(_)) | Ok(()) => {}
            }
        }
    }
}

/// The request as HTTP/1.1 would bring it, and the stream of one that asks for a WebSocket. What is wrong with it is
/// written beside it, for the service to refuse in its own words.
fn as_http1(request: Request<RecvStream>, peer: &Peer, quiet: &Quiet) -> (Request<Source>, Option<RecvStream>) {
    let (mut head, stream) = request.into_parts();
    let wrong = malformed(&head, peer);
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    if let Some(why) = wrong {
        head.extensions.insert(Twofold(why));
    }
    if websocket::is_extended_connect(&head) {
        websocket::as_upgrade(&mut head);
        return (Request::from_parts(head, Source::Empty), Some(stream));
    }
    let body = Source::Http2(Http2Body::new(stream, &head.headers, quiet.clone(), None));
    (Request::from_parts(head, body), None)
}

/// What `h2` lets pass and HTTP/1.1 could not say.
fn malformed(head: &http::request::Parts, peer: &Peer) -> Option<&'static str> {
    if head.uri.scheme_str().is_some_and(|scheme| scheme != peer.scheme()) {
        return Some("`:scheme` is not that of the connection");
    }
    if !head.uri.path().starts_with('/') {
        return Some("`:path` does not begin with `/`");
    }
    let twice = |name| head.headers.get_all(name).iter().nth(1).is_some();
    if twice(header::CONTENT_LENGTH) {
        return Some("the length stands there twice");
    }
    (!te_is_trailers(&head.headers)).then_some("`TE` holds something other than `trailers`")
}

/// RFC 9113 §8.2.2.
fn te_is_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().all(|value| value == "trailers")
}

/// The time of an answer that is our own (RFC 9110 §6.6.1).
fn date() -> Option<HeaderValue> {
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).ok()
}
