//! Where the frames of a body come from: a connection of HTTP/1.1 or a stream of HTTP/2, of either side.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::stream::BodyError;
use super::upstream::{DirectBody, Seat};

/// A body as it comes from the wire.
#[derive(Debug)]
pub enum Source {
    /// There is none, or what follows the head is no body (a WebSocket).
    Empty,
    Http1(Incoming),
    /// An answer of an upstream, off a connection that nobody else drives.
    Direct(DirectBody),
    Http2(Http2Body),
}

/// The body of an HTTP/2 stream. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub struct Http2Body {
    stream: RecvStream,
    /// Bytes that are still to come, where the head announced them. `h2` holds the peer to the announcement.
    left: Option<u64>,
    quiet: Quiet,
    /// Of an upstream's: its place on the connection, which it takes for as long as it is held.
    _seat: Option<Rc<Seat>>,
}

/// Bytes that came on a connection since something came of them. Shared by a connection and its streams, on one thread:
/// what only keeps the gate busy (a flood of PING, SETTINGS, PRIORITY or WINDOW_UPDATE) never makes it zero.
#[derive(Debug, Clone, Default)]
pub struct Quiet(Rc<Cell<usize>>);

impl Quiet {
    pub fn add(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    /// Something came of it: a request, or a piece of a body, in either direction.
    pub fn end(&self) {
        self.0.set(0);
    }

    pub fn bytes(&self) -> usize {
        self.0.get()
    }
}

impl Http2Body {
    pub fn new(stream: RecvStream, headers: &HeaderMap, quiet: Quiet, seat: Option<Rc<Seat>>) -> Self {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        Self { stream, left: announced.and_then(|length| length.parse().ok()), quiet, _seat: seat }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A reset is a cut, whatever code it bears: what is not whole must never pass for the whole.
        let Some(data) = ready!(self.stream.poll_data(context)) else {
            let trailers = ready!(self.stream.poll_trailers(context));
            return Poll::Ready(
                trailers.map(|fields| fields.map(Frame::trailers)).map_err(|_| BodyError::Cut).transpose(),
            );
        };
        let taken = data.and_then(|bytes| {
            // Whoever polls has room for it: the peer may send as much again.
            self.stream.flow_control().release_capacity(bytes.len())?;
            Ok(bytes)
        });
        Poll::Ready(Some(taken.map_err(|_| BodyError::Cut).map(|bytes| {
            if !bytes.is_empty() {
                self.quiet.end();
            }
            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            Frame::data(bytes)
        })))
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Cut)))
            }
            Self::Direct(body) => body.poll_frame(context),
            Self::Http2(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Direct(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Direct(body) => body.size_hint(),
            Self::Http2(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Self::Http2(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
