//! The gated write: right before the first byte of a request goes upstream, the generation under which it was judged
//! is compared with the one in force. If it moved, not a byte is written and the connection ends.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::body::RequestBody;
use super::super::headers::{clean_frame, clean_trailers};
use super::super::stream::{BodyError, Paced};
use super::{Failure, SendError};

/// What an upstream connection, its pool entry and the request on it know of each other. One thread, no locks.
#[derive(Debug)]
pub struct Gate {
    current: Arc<AtomicU64>,
    state: Cell<State>,
    answered: Cell<bool>,
    progress: Cell<Instant>,
    /// The body that waits for the head to be let through.
    waiting: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request on this connection was begun, or there is none.
    Open,
    /// A request judged under this generation waits; its first byte was not written.
    Armed(u64),
    /// A request came too late. Nothing is written any more.
    Shut,
}

impl Gate {
    pub fn new(current: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Self {
            current,
            state: Cell::new(State::Open),
            answered: Cell::new(false),
            progress: Cell::new(Instant::now()),
            waiting: RefCell::new(None),
        })
    }

    /// True if a newer generation than this one is in force. A snapshot is published before its number, so a request
    /// may be judged by one whose number is still to come: that is the newest, and judging again would spin.
    pub fn has_moved(&self, generation: u64) -> bool {
        self.current.load(Ordering::SeqCst) > generation
    }

    pub fn arm(&self, generation: u64) {
        self.state.set(State::Armed(generation));
        self.answered.set(false);
        self.note_progress();
    }

    /// When bytes of the request were last taken.
    pub fn progress(&self) -> Instant {
        self.progress.get()
    }

    pub fn note_progress(&self) {
        self.progress.set(Instant::now());
    }

    fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    fn check(&self) -> io::Result<()> {
        match self.state.get() {
            State::Open => Ok(()),
            State::Armed(generation) if !self.has_moved(generation) => Ok(()),
            State::Armed(_) | State::Shut => {
                self.state.set(State::Shut);
                Err(io::Error::other("the snapshot moved before the first byte"))
            }
        }
    }

    fn wrote(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.note_progress();
        let was = self.state.replace(State::Open);
        if was != State::Open
            && let Some(waker) = self.waiting.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

/// An upstream connection that asks its gate before it writes.
#[derive(Debug)]
pub struct GatedIo<T> {
    io: T,
    gate: Rc<Gate>,
}

impl<T> GatedIo<T> {
    pub fn new(io: T, gate: Rc<Gate>) -> Self {
        Self { io, gate }
    }

    fn after_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.gate.wrote(bytes);
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GatedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.gate.answered.set(true);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for GatedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.gate.check()?;
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.after_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gate.check()?;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.after_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// A request's body in hyper's hands. What streams is only lent: until the head went through the gate not a frame of
/// it is taken, so that it can be taken back whole (and the client is not told `100 Continue` for nothing).
#[derive(Debug)]
pub enum Payload {
    Empty,
    Held { bytes: Bytes, trailers: Option<HeaderMap> },
    Stream { lent: Rc<Lent>, gate: Rc<Gate> },
}

/// A streaming body that sender and connection share.
#[derive(Debug)]
pub struct Lent {
    stream: RefCell<Option<Paced>>,
    failed: Cell<Option<BodyError>>,
    size: SizeHint,
}

impl Payload {
    pub fn new(body: RequestBody, gate: &Rc<Gate>) -> (Self, Keeper) {
        match body {
            RequestBody::Empty => (Self::Empty, Keeper::Empty),
            RequestBody::Held(held) => {
                let trailers = held.trailers.clone().map(clean_trailers);
                (Self::Held { bytes: held.bytes.clone(), trailers }, Keeper::Held(held))
            }
            RequestBody::Stream(stream) => {
                let size = stream.size_hint();
                let lent = Rc::new(Lent { stream: RefCell::new(Some(stream)), failed: Cell::new(None), size });
                (Self::Stream { lent: Rc::clone(&lent), gate: Rc::clone(gate) }, Keeper::Stream(lent))
            }
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Held { bytes, .. } if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Held { trailers, .. } => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Self::Stream { lent, gate } if gate.is_open() => lent.poll_frame(context),
            Self::Stream { gate, .. } => {
                *gate.waiting.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Held { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Self::Stream { lent, .. } => lent.stream.borrow().as_ref().is_none_or(Paced::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Held { bytes, trailers: None } => SizeHint::with_exact(bytes.len() as u64),
            Self::Held { .. } => SizeHint::default(),
            Self::Stream { lent, .. } => lent.size,
        }
    }
}

impl Lent {
    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut stream = self.stream.borrow_mut();
        let Some(body) = stream.as_mut() else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if let Some(Err(error)) = &frame {
            self.failed.set(Some(*error));
        }
        Poll::Ready(frame.map(|frame| frame.map(clean_frame)))
    }
}

/// The sender's hold on a body that hyper has.
#[derive(Debug)]
pub enum Keeper {
    Empty,
    Held(super::super::body::Held),
    Stream(Rc<Lent>),
}

impl Keeper {
    /// True while nothing can be sent because the client sends nothing.
    pub fn waits_for_the_client(&self) -> bool {
        match self {
            Self::Empty | Self::Held(_) => false,
            Self::Stream(lent) => lent.stream.borrow().as_ref().is_some_and(Paced::is_waiting),
        }
    }

    /// Says what a failed attempt means, and takes the body back where nothing was sent.
    pub fn blame(self, gate: &Gate, error: hyper::Error) -> Failure {
        match gate.state.get() {
            State::Shut => Failure::Moved(self.take_back()),
            State::Armed(_) => Failure::Unsent(self.take_back(), error),
            State::Open => match self.client_fault() {
                Some(fault) => Failure::Final(SendError::RequestBody(fault)),
                None if gate.answered.get() => Failure::Final(SendError::Broken(error)),
                None => Failure::Unanswered(SendError::Broken(error)),
            },
        }
    }

    fn client_fault(&self) -> Option<BodyError> {
        match self {
            Self::Empty | Self::Held(_) => None,
            Self::Stream(lent) => lent.failed.get(),
        }
    }

    fn take_back(self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Held(held) => RequestBody::Held(held),
            Self::Stream(lent) => lent.stream.take().map_or(RequestBody::Empty, RequestBody::Stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn not_a_byte_passes_once_the_generation_moved() {
        let current = Arc::new(AtomicU64::new(7));
        let gate = Gate::new(Arc::clone(&current));
        let mut io = GatedIo::new(Vec::new(), Rc::clone(&gate));

        gate.arm(8);
        io.write_all(b"judged by what is published and ").await.expect("its number is still to come");
        gate.arm(7);
        io.write_all(b"first").await.expect("the generation is the same");
        current.store(8, Ordering::SeqCst);
        io.write_all(b" and the rest").await.expect("begun is begun");

        gate.arm(7);
        io.write_all(b"late").await.expect_err("the generation moved");
        current.store(7, Ordering::SeqCst);
        io.write_all(b"late").await.expect_err("a shut gate stays shut");
        assert_eq!(io.io, b"judged by what is published and first and the rest");
    }
}
