//! The bytes of a connection of HTTP/2, with an eye on whether a head waits in it that may no longer be sent.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Transport;
use super::heads::Heads;

/// What a connection and the requests on it know of what was written. One thread, no locks.
#[derive(Debug)]
pub struct Writes {
    current: Arc<AtomicU64>,
    heads: RefCell<Heads>,
    blocked: Cell<bool>,
    /// The snapshot moved while a head waited: nothing is written any more.
    shut: Cell<bool>,
    left: Notify,
    read_at: Cell<Instant>,
}

impl Writes {
    pub fn new(current: Arc<AtomicU64>) -> Self {
        Self {
            current,
            heads: RefCell::default(),
            blocked: Cell::new(false),
            shut: Cell::new(false),
            left: Notify::new(),
            read_at: Cell::new(Instant::now()),
        }
    }

    /// True if a newer generation than this one is in force.
    pub fn has_moved(&self, generation: u64) -> bool {
        self.current.load(Ordering::SeqCst) > generation
    }

    /// The head of this stream was given to the connection; it was judged under `generation`.
    pub fn await_head(&self, stream: u32, generation: u64) {
        self.heads.borrow_mut().wait(stream, generation);
    }

    /// True while the socket takes no more, or a head waits for whatever reason: one more would wait as well.
    pub fn are_waiting(&self) -> bool {
        self.blocked.get() || self.shut.get() || !self.heads.borrow().is_empty()
    }

    /// Returns when the head of this stream has left, or none ever will.
    pub async fn head_is_out(&self, stream: u32) {
        while self.heads.borrow().is_waiting(stream) {
            self.left.notified().await;
        }
    }

    /// True if the connection ended because the snapshot moved, and this stream's own head was never written whole.
    pub fn shut_before_the_head(&self, stream: u32) -> bool {
        self.shut.get() && self.heads.borrow().is_held_back(stream)
    }

    pub fn has_read_since(&self, then: Instant) -> bool {
        self.read_at.get() > then
    }

    /// What was compared within this poll needs no second look: whoever acknowledges a snapshot waits until every worker
    /// has left the poll it is in.
    fn check(&self) -> io::Result<()> {
        let oldest = self.heads.borrow().oldest_generation();
        if self.shut.get() || oldest.is_some_and(|generation| self.has_moved(generation)) {
            self.shut.set(true);
            return Err(io::Error::other("the snapshot moved before the first byte"));
        }
        Ok(())
    }

    /// `held_back`: TLS has some of what was written, and the socket not yet.
    fn after_write(&self, written: Option<usize>, slices: &[io::IoSlice<'_>], held_back: bool) {
        self.blocked.set(written.is_none());
        let mut bytes = written.unwrap_or(0);
        let mut heads = self.heads.borrow_mut();
        for slice in slices {
            let taken = slice.get(..bytes).unwrap_or(slice);
            heads.written(taken);
            bytes -= taken.len();
        }
        drop(heads);
        if !held_back {
            self.all_have_left();
        }
    }

    fn after_flush(&self, is_pending: bool) {
        self.blocked.set(is_pending);
        if !is_pending {
            self.all_have_left();
        }
    }

    fn all_have_left(&self) {
        if self.heads.borrow_mut().have_left() {
            self.left.notify_waiters();
        }
    }
}

/// A connection that is asked before it writes.
#[derive(Debug)]
pub struct WatchedIo {
    io: Transport,
    writes: Rc<Writes>,
}

impl WatchedIo {
    pub fn new(io: Transport, writes: Rc<Writes>) -> Self {
        Self { io, writes }
    }
}

impl AsyncRead for WatchedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.writes.read_at.set(Instant::now());
        }
        read
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.check()?;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices)?;
        let bytes = match written {
            Poll::Ready(bytes) => Some(bytes),
            Poll::Pending => None,
        };
        self.writes.after_write(bytes, slices, self.io.holds_back());
        written.map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.io.holds_back() {
            self.writes.check()?;
        }
        let flushed = Pin::new(&mut self.io).poll_flush(context)?;
        self.writes.after_flush(flushed.is_pending());
        flushed.map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of a connection of TLS takes what is held back with it.
        if self.io.holds_back() {
            self.writes.check()?;
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
