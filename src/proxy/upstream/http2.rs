//! Requests side by side over one connection of HTTP/2 (RFC 9113).
//!
//! The gated write holds here too (law 6): between the comparison of the generation and the first byte there is no
//! moment at which the worker does anything else, since the connection is driven at once, within the same poll. A head
//! waits only where the socket takes no more just then, or the upstream lowered the number of its streams just then; if
//! the snapshot moves before it has left, not a byte more is written and the connection ends. So a connection on which
//! anything is known to wait is given no request, nor one that has as many streams as the upstream allows, counted until
//! nobody holds any part of them, as `h2` counts.

mod heads;
mod io;
#[cfg(test)]
mod tests;
mod upload;

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Response, Uri, Version, request};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, timeout_at};

use super::super::body::{Body, RequestBody};
use super::super::http2::{self, SEND_BUFFER_BYTES};
use super::super::limits::{
    Limits, SHARED_FIELD_BYTES_MAX, SHARED_HEAD_BYTES_MAX, UPSTREAM_STREAM_WINDOW_BYTES,
    upstream_connection_window_bytes,
};
use super::super::source::{Http2Body, Quiet, Source};
use super::super::transport::Transport;
use super::pool::{Lease, Pool};
use super::{Failure, Fault, SendError, accept};
use io::{WatchedIo, Writes};
use upload::{Upload, send_body};

/// How often a new connection is waited for to be driven for the first time. Once is the rule.
const FIRST_DRIVES_MAX: usize = 16;

/// What a field counts for beyond its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// A connection, shared by the requests on it.
#[derive(Debug)]
pub struct Link {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    driver: Rc<RefCell<Driver>>,
    writes: Rc<Writes>,
    open: Cell<u32>,
    idle_since: Cell<Instant>,
    /// It did not answer: no request goes there any more.
    retired: Cell<bool>,
    /// Other requests may be on it as well.
    is_shared: bool,
    /// What it was made under: see [`super::Target::trust_generation`].
    trust: u64,
}

impl Link {
    /// Speaks HTTP/2 over a new connection. `kept` lives as long as the connection does. One that is not shared ends with
    /// the one request on it.
    pub async fn open<K: 'static>(
        io: Transport,
        current: &Arc<AtomicU64>,
        limits: &Limits,
        kept: K,
        is_shared: bool,
        trust: u64,
    ) -> Result<Rc<Self>, h2::Error> {
        let scheme = if io.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
        let writes = Rc::new(Writes::new(Arc::clone(current)));
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(UPSTREAM_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(upstream_connection_window_bytes(limits.http2_streams_max))
            .initial_max_send_streams(usize::try_from(limits.http2_streams_max).unwrap_or(usize::MAX))
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .handshake(WatchedIo::new(io, Rc::clone(&writes)))
            .await?;
        let driver = Rc::new(RefCell::new(Driver { connection: Some(connection), waker: None }));
        spawn_local({
            let driver = Rc::clone(&driver);
            async move {
                let _kept = kept;
                std::future::poll_fn(|context| driver.borrow_mut().poll(context)).await;
            }
        });
        for _ in 0..FIRST_DRIVES_MAX {
            if driver.borrow().waker.is_some() {
                break;
            }
            yield_now().await;
        }
        let (open, idle_since, retired) = (Cell::new(0), Cell::new(Instant::now()), Cell::new(false));
        Ok(Rc::new(Self { sender, scheme, driver, writes, open, idle_since, retired, is_shared, trust }))
    }

    /// True if a request may begin on it now, under the roots in force.
    pub fn has_room(&self, streams_max: u32, trust: u64) -> bool {
        let theirs = u32::try_from(self.sender.current_max_send_streams()).unwrap_or(u32::MAX);
        self.trust == trust
            && self.open.get() < theirs.min(streams_max)
            && !self.is_over()
            && !self.writes.are_waiting()
    }

    /// True if the upstream allows fewer streams by now than there are: `h2` would hold one more back.
    fn is_overfull(&self) -> bool {
        usize::try_from(self.open.get()).is_ok_and(|open| open > self.sender.current_max_send_streams())
    }

    pub fn is_worth_keeping(&self, idle_max: Duration, trust: u64) -> bool {
        let is_useful = self.trust == trust && self.idle_since.get().elapsed() < idle_max;
        !self.is_over() && (self.open.get() > 0 || is_useful)
    }

    fn is_over(&self) -> bool {
        self.retired.get() || self.driver.borrow().connection.is_none()
    }

    /// Writes what is waiting to be written, now.
    fn flush(&self) {
        let mut driver = self.driver.borrow_mut();
        // With the driver's own waker: the connection remembers one, and must wake its task and not this one.
        let Some(waker) = driver.waker.clone() else { return };
        if driver.poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
    }
}

/// What moves the connection.
#[derive(Debug)]
struct Driver {
    /// `None`: it is over. Dropped at once, so that the upstream sees its end, and each request on it is told: of an end
    /// that a write brought, `h2` tells nobody else.
    connection: Option<Connection<WatchedIo, Bytes>>,
    waker: Option<Waker>,
}

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.as_mut() else { return Poll::Ready(()) };
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
        ready!(Pin::new(connection).poll(context)).ok();
        self.connection = None;
        Poll::Ready(())
    }
}

/// A stream's place among those that its connection may have. `h2` counts a stream for as long as anybody holds a part of
/// it: the answer's body when the answer was early, or a request's body when it is still on its way. So does this.
#[derive(Debug)]
pub struct Seat(Rc<Link>);

impl Seat {
    fn on(link: &Rc<Link>) -> Rc<Self> {
        link.open.set(link.open.get().saturating_add(1));
        Rc::new(Self(Rc::clone(link)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// A request's part of a connection. Dropped, it gives up what is left of the exchange.
#[derive(Debug)]
pub struct Http2Lease {
    seat: Rc<Seat>,
    upload: Option<JoinHandle<()>>,
    pub(super) is_reused: bool,
}

impl Http2Lease {
    pub fn of(link: &Rc<Link>, is_reused: bool) -> Self {
        Self { seat: Seat::on(link), upload: None, is_reused }
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

pub(super) async fn exchange(
    mut lease: Http2Lease,
    generation: u64,
    head: request::Parts,
    body: RequestBody,
    pool: &Pool,
) -> Result<Response<Body>, Failure> {
    let limits = pool.limits();
    let seat = Rc::clone(&lease.seat);
    let link = Rc::clone(&seat.0);
    let mut sender = link.sender.clone();
    let deadline = Instant::now() + limits.connect_timeout;
    match timeout_at(deadline, std::future::poll_fn(|context| sender.poll_ready(context))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unsent(&link, body, error)),
        Err(_) => return Err(Failure::Final(SendError::TooManyConnections)),
    }
    // From here to the flush there is no await: what was compared is what is written.
    if link.writes.has_moved(generation) {
        return Err(Failure::Moved(body));
    }
    if link.is_overfull() {
        return Err(Failure::Final(SendError::TooManyConnections));
    }
    let is_empty = body.is_empty();
    let sent = as_http2(head, &link.scheme).map(|request| sender.send_request(request, is_empty));
    let (answer, stream) = match sent {
        Some(Ok(sent)) => sent,
        Some(Err(error)) => return Err(unsent(&link, body, error)),
        None => return Err(Failure::Final(SendError::Unreachable(std::io::ErrorKind::InvalidInput.into()))),
    };
    let number = stream.stream_id().as_u32();
    link.writes.await_head(number, generation);
    link.flush();
    let began = Instant::now();
    let upload = Rc::new(Upload::of(body, began));
    if !is_empty {
        let sending = send_body(Rc::clone(&upload), Rc::clone(&seat), stream, limits.response_timeout);
        lease.upload = Some(spawn_local(sending));
    }
    match await_answer(answer, &upload, pool).await {
        Ok(response) => {
            let (head, stream) = response.into_parts();
            let body = Source::Http2(Http2Body::new(stream, &head.headers, Quiet::default(), Some(seat)));
            Ok(accept(head, body, Lease::Http2(lease), limits))
        }
        Err(None) => {
            // Nothing at all came for long: the connection is dead, and only we do not know it yet.
            let lately = Instant::now().checked_sub(limits.response_timeout / 2).unwrap_or(began);
            link.retired.set(link.retired.get() || !link.writes.has_read_since(lately));
            Err(Failure::Final(SendError::ResponseTimeout))
        }
        Err(Some(error)) => Err(blame(&link, number, &upload, error)),
    }
}

/// `Err(None)`: it took too long.
async fn await_answer(
    answer: ResponseFuture,
    upload: &Upload,
    pool: &Pool,
) -> Result<Response<h2::RecvStream>, Option<h2::Error>> {
    let limits = pool.limits();
    let mut answer = pin!(answer);
    loop {
        let deadline = upload.progress.get() + limits.response_timeout;
        match pool.timers().until(deadline, answer.as_mut()).await {
            Ok(answered) => return answered.map_err(Some),
            // The body is still on its way: a slow client has its own bound, and a busy upload is progress.
            Err(_) if upload.progress.get() + limits.response_timeout > Instant::now() => {}
            Err(_) if upload.waits_for_the_client.get() => upload.progress.set(Instant::now()),
            Err(_) => return Err(None),
        }
    }
}

fn unsent(link: &Link, body: RequestBody, error: h2::Error) -> Failure {
    link.retired.set(true);
    Failure::Unsent(body, Fault::Http2(error))
}

/// Says what a failed attempt means, and takes the body back where nothing was sent.
fn blame(link: &Link, stream: u32, upload: &Upload, error: h2::Error) -> Failure {
    // Of the others on the connection the upstream may have acted on the head: they are not sent again.
    if link.writes.shut_before_the_head(stream)
        && let Some(body) = upload.body.take()
    {
        return Failure::Moved(body);
    }
    if let Some(fault) = upload.fault.get() {
        return Failure::Final(SendError::RequestBody(fault));
    }
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let gone = error.is_go_away() && error.is_remote() || error.is_io();
    link.retired.set(link.retired.get() || gone);
    let error = SendError::Broken(Fault::Http2(error));
    // RFC 9113 §8.7 says that the first was not processed; of the second nothing of an answer came.
    if refused || gone { Failure::Unanswered(error) } else { Failure::Final(error) }
}

/// True for a head that some servers end a connection over, whoever else has requests on it: it may share none.
pub fn is_large(head: &request::Parts) -> bool {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    target > SHARED_FIELD_BYTES_MAX || are_large(&head.headers, target)
}

/// `beside`: bytes of the same head that stand in no field.
fn are_large(fields: &HeaderMap, beside: usize) -> bool {
    let mut total = beside;
    fields.iter().any(|(name, value)| {
        let field = name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES;
        total += field;
        field > SHARED_FIELD_BYTES_MAX || total > SHARED_HEAD_BYTES_MAX
    })
}

/// The head as HTTP/2 says it: the host in `:authority`, and nothing of a connection.
fn as_http2(mut head: request::Parts, scheme: &Scheme) -> Option<Request<()>> {
    let host = head.headers.remove(header::HOST)?;
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(scheme.clone());
    uri.authority = Authority::try_from(host.as_bytes()).ok();
    head.uri = Uri::from_parts(uri).ok()?;
    head.version = Version::HTTP_2;
    let takes_trailers = head.headers.contains_key(header::TE);
    http2::clean(&mut head.headers);
    if takes_trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Some(Request::from_parts(head, ()))
}
