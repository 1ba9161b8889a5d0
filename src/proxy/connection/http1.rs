//! HTTP/1.1 (RFC 9112) with a client: requests one after the other, within the bounds of the pace.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::super::body::{Body, BodyError};
use super::super::headers;
use super::super::limits::{BUFFER_BYTES, HEADERS_MAX_OF_HYPER, Limits};
use super::super::source::Source;
use super::super::streams::Open;
use super::super::tunnel::Tunnel;
use super::io::ClientIo;
use super::pace::{Over, Pace};
use super::{Ended, Peer, Serving};

/// The requests of one connection, until it ends or becomes a tunnel and that ends.
pub(super) async fn converse<S, F>(io: ClientIo, peer: Rc<Peer>, serving: &Rc<Serving<S>>) -> Ended
where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let pace = Rc::clone(io.pace());
    let tunnel = Rc::new(Cell::new(None));
    let answering: Rc<Answering> = Rc::default();
    let service = service_fn({
        let (pace, serving, tunnel) = (Rc::clone(&pace), Rc::clone(serving), Rc::clone(&tunnel));
        let answering = Rc::clone(&answering);
        move |request: Request<Incoming>| {
            pace.head_arrived();
            pace.count_request();
            let told = Told { pace: Rc::clone(&pace), answering: Rc::clone(&answering) };
            let (serving, peer, tunnel) = (Rc::clone(&serving), Rc::clone(&peer), Rc::clone(&tunnel));
            // Called within: a future that is made outside has its place twice in what hyper moves about.
            async move {
                let mut response = (serving.service)(peer, request.map(Source::Http1)).await;
                if let Some(opened) = response.body_mut().take_tunnel() {
                    tunnel.set(Some(opened));
                } else if told.pace.is_spent(&serving.limits) {
                    headers::close_after(&mut response);
                }
                told.answering.0.replace(response.body().open());
                Ok::<_, Infallible>(response.map(|body| Answer { body, _told: told }))
            }
        }
    });
    let limits = &serving.limits;
    let mut connection = protocol(limits).serve_connection(TokioIo::new(io), service);
    let mut closing = pin!(serving.drain.closing());
    let mut clock = pin!(tokio::time::sleep_until(Instant::now() + limits.header_timeout));
    let (mut is_listening, mut told_to_close) = (false, false);
    let over = std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(Err(ended));
        }
        // Polled once, so that the shutdown wakes this task; after that only when there is something to hear.
        let may_hear = !is_listening || serving.drain.is_closing();
        is_listening = true;
        if may_hear && !told_to_close && closing.as_mut().poll(context).is_ready() {
            told_to_close = true;
            Pin::new(&mut connection).graceful_shutdown();
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(Err(ended));
            }
        }
        // A body whose client takes nothing is not asked for more, and so does not say that it was cut.
        if answering.is_cut() {
            return Poll::Ready(Ok(Over::Cut));
        }
        pace.poll(clock.as_mut(), limits, context).map(Ok)
    })
    .await;
    match (over, tunnel.take()) {
        (Ok(Over::TooSlow), _) => Ended::TooSlow,
        (Ok(Over::Lingered | Over::Cut), _) => Ended::Orderly,
        (Err(ended), None) => how_it_ended(ended),
        (Err(_), Some(opened)) => {
            let parts = connection.into_parts();
            run_tunnel(*opened, parts.io.into_inner(), parts.read_buf, serving).await
        }
    }
}

/// A client may go at any time. One whose head is none was answered with a bare 400 by hyper, before any of this saw it.
fn how_it_ended(ended: hyper::Result<()>) -> Ended {
    match ended {
        Err(error) if error.is_parse() || error.is_parse_too_large() => Ended::Malformed,
        Ok(()) | Err(_) => Ended::Orderly,
    }
}

async fn run_tunnel<S>(tunnel: Tunnel, io: ClientIo, ahead: Bytes, serving: &Serving<S>) -> Ended {
    let over = tunnel.run(io, ahead, &serving.limits, serving.drain.closing()).await;
    over.into()
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .half_close(false)
        .keep_alive(true)
        // Our own bounds (see `pace`): hyper's would box a timer for each request, and cannot tell an idle
        // connection from a slow head.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(BUFFER_BYTES.max(limits.header_bytes_max));
    if limits.headers_max != HEADERS_MAX_OF_HYPER {
        protocol.max_headers(limits.headers_max);
    }
    protocol
}

/// The request whose answer goes out.
#[derive(Default)]
struct Answering(RefCell<Option<Open>>);

impl Answering {
    fn is_cut(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(Open::is_cut)
    }
}

/// Says that the answer is over when it is dropped: the connection is idle then.
struct Told {
    pace: Rc<Pace>,
    answering: Rc<Answering>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.pace.answered();
        drop(self.answering.0.take());
    }
}

/// An answer's body, with word to the connection when it ends.
struct Answer {
    body: Body,
    _told: Told,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
