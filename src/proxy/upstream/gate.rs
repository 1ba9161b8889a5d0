//! The gated write: right before the first byte of a request goes upstream, the generation under which it was judged
//! is compared with the one in force. If it moved, not a byte is written and the connection ends.

mod payload;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::streams::{Open, Side};
use super::super::transport::Transport;
use super::Switched;
pub use payload::{Keeper, Payload};

/// What an upstream connection, its pool entry and the request on it know of each other. One thread, no locks.
#[derive(Debug)]
pub struct Gate {
    current: Arc<AtomicU64>,
    state: Cell<State>,
    /// Some of the head was written.
    begun: Cell<bool>,
    /// All that was ever given to the connection has left it: what is written next is of the next request.
    flushed: Cell<bool>,
    answered: Cell<bool>,
    progress: Cell<Instant>,
    /// The body that waits for the head to be let through.
    waiting: RefCell<Option<Waker>>,
    /// Where the connection goes if the upstream switches protocols, as it was asked to.
    switch: RefCell<Option<oneshot::Sender<Switched>>>,
    /// The request whose body is on its way: cut, the connection ends, also where the upstream takes nothing.
    uploading: RefCell<Option<Open>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head of the request on this connection has left, or there is none.
    Open,
    /// A request judged under this generation waits; its head has not left, or not all of it.
    Armed(u64),
    /// A request came too late. Nothing is written any more.
    Shut,
}

impl Gate {
    pub fn new(current: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Self {
            current,
            state: Cell::new(State::Open),
            begun: Cell::new(false),
            flushed: Cell::new(true),
            answered: Cell::new(false),
            progress: Cell::new(Instant::now()),
            waiting: RefCell::new(None),
            switch: RefCell::new(None),
            uploading: RefCell::new(None),
        })
    }

    /// Where the connection will come out if the request on it makes the upstream switch protocols.
    pub fn await_switch(&self) -> oneshot::Receiver<Switched> {
        let (tell, told) = oneshot::channel();
        self.switch.replace(Some(tell));
        told
    }

    /// The request was answered in HTTP.
    pub fn switches_no_more(&self) {
        drop(self.switch.take());
    }

    /// Whom to give the connection when hyper is done with it. `None`: nobody, it ends.
    pub fn switched(&self) -> Option<oneshot::Sender<Switched>> {
        self.switch.take()
    }

    /// True if a newer generation than this one is in force. A snapshot is published before its number, so a request
    /// may be judged by one whose number is still to come: that is the newest, and judging again would spin.
    pub fn has_moved(&self, generation: u64) -> bool {
        self.current.load(Ordering::SeqCst) > generation
    }

    /// A request is next, judged under `generation`. The connection must be flushed: the rest of a body that the
    /// upstream answered early would be taken for the beginning of this one.
    pub fn arm(&self, generation: u64) {
        self.state.set(State::Armed(generation));
        self.begun.set(false);
        self.answered.set(false);
        self.note_progress();
    }

    pub fn is_flushed(&self) -> bool {
        self.flushed.get()
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

    /// Wakes the body when the head has left.
    fn wait<T>(&self, context: &Context<'_>) -> Poll<T> {
        *self.waiting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// A write that waits is looked at again when the request of its body is cut.
    fn wake_upload(&self, written: &Poll<io::Result<usize>>, context: &Context<'_>) {
        if written.is_pending()
            && let Some(open) = &*self.uploading.borrow()
        {
            open.wake(Side::Upload, context);
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.uploading.borrow().as_ref().is_some_and(Open::is_cut) {
            return Err(io::Error::other("the request is no longer permitted"));
        }
        match self.state.get() {
            State::Open => Ok(()),
            State::Armed(generation) if !self.has_moved(generation) => Ok(()),
            State::Armed(_) | State::Shut => {
                self.state.set(State::Shut);
                Err(io::Error::other("the snapshot moved before the first byte"))
            }
        }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.flushed.set(false);
        if let Poll::Ready(Ok(1..)) = written {
            self.begun.set(true);
            self.note_progress();
        }
    }

    /// All that was to be written has left: of a head, the last byte.
    fn has_flushed(&self) {
        self.flushed.set(true);
        let opens = self.begun.get() && matches!(self.state.get(), State::Armed(_));
        if opens {
            self.state.set(State::Open);
            if let Some(waker) = self.waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// An upstream connection that asks its gate before it writes.
#[derive(Debug)]
pub struct GatedIo<T> {
    io: T,
    /// True while it keeps some of what was written: see [`Transport::holds_back`].
    holds_back: fn(&T) -> bool,
    gate: Rc<Gate>,
}

impl GatedIo<Transport> {
    pub fn new(io: Transport, gate: Rc<Gate>) -> Self {
        Self { io, holds_back: Transport::holds_back, gate }
    }
}

impl<T> GatedIo<T> {
    /// What was held back goes with the next flush, or with the end of the connection.
    fn check_held_back(&self) -> io::Result<()> {
        if (self.holds_back)(&self.io) { self.gate.check() } else { Ok(()) }
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
        self.gate.wrote(&written);
        self.gate.wake_upload(&written, context);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gate.check()?;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.gate.wrote(&written);
        self.gate.wake_upload(&written, context);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_held_back()?;
        let flushed = Pin::new(&mut self.io).poll_flush(context)?;
        if flushed.is_ready() {
            self.gate.has_flushed();
        }
        flushed.map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_held_back()?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// A connection that may keep what it was given, as TLS does.
    #[derive(Debug, Default)]
    struct Keeps {
        is_full: bool,
        kept: Vec<u8>,
        left: Vec<u8>,
    }

    impl AsyncWrite for Keeps {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.kept.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_full {
                return Poll::Pending;
            }
            let kept = std::mem::take(&mut self.kept);
            self.left.extend_from_slice(&kept);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    fn gated(current: &Arc<AtomicU64>) -> GatedIo<Keeps> {
        let holds_back = |io: &Keeps| !io.kept.is_empty();
        GatedIo { io: Keeps::default(), holds_back, gate: Gate::new(Arc::clone(current)) }
    }

    #[tokio::test]
    async fn not_a_byte_passes_once_the_generation_moved() {
        let current = Arc::new(AtomicU64::new(7));
        let mut io = gated(&current);

        io.gate.arm(8);
        io.write_all(b"judged by what is published and ").await.expect("its number is still to come");
        io.flush().await.expect("it leaves");
        io.gate.arm(7);
        io.write_all(b"first").await.expect("the generation is the same");
        io.flush().await.expect("it leaves");
        current.store(8, Ordering::SeqCst);
        io.write_all(b" and the rest").await.expect("begun is begun");
        io.flush().await.expect("it leaves");

        io.gate.arm(7);
        io.write_all(b"late").await.expect_err("the generation moved");
        current.store(7, Ordering::SeqCst);
        io.write_all(b"late").await.expect_err("a shut gate stays shut");
        assert_eq!(io.io.left, b"judged by what is published and first and the rest");
    }

    #[tokio::test]
    async fn what_is_kept_for_want_of_room_does_not_leave_once_the_generation_moved() {
        for by_the_end in [false, true] {
            let current = Arc::new(AtomicU64::new(7));
            let mut io = gated(&current);
            io.io.is_full = true;
            io.gate.arm(7);
            io.write_all(b"head").await.expect("TLS takes it");
            assert!(!io.gate.is_open(), "the body waits");
            assert!(!io.gate.is_flushed(), "the next request waits");
            current.store(8, Ordering::SeqCst);
            io.io.is_full = false;
            let left = if by_the_end { io.shutdown().await } else { io.flush().await };
            left.expect_err("the generation moved");
            assert_eq!((io.io.left.as_slice(), io.gate.state.get()), (&b""[..], State::Shut));
        }
    }

    #[tokio::test]
    async fn half_a_head_is_not_followed_by_the_rest_once_the_generation_moved() {
        let current = Arc::new(AtomicU64::new(7));
        let mut io = gated(&current);
        io.gate.arm(7);
        io.write_all(b"GET / HT").await.expect("the socket takes so much");
        current.store(8, Ordering::SeqCst);
        io.write_all(b"TP/1.1").await.expect_err("the generation moved");
    }

    #[tokio::test]
    async fn the_rest_of_the_body_before_leaves_the_connection_unfit_for_a_request() {
        let current = Arc::new(AtomicU64::new(7));
        let mut io = gated(&current);
        io.io.is_full = true;
        io.write_all(b"tail").await.expect("taken");
        assert!(!io.gate.is_flushed());
        io.io.is_full = false;
        io.flush().await.expect("it leaves");
        assert!(io.gate.is_flushed());
    }
}
