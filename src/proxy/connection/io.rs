//! The bytes of a client connection, as hyper reads and writes them, with an eye on their pace.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::limits::LINGER_BYTES_MAX;
use super::super::transport::Transport;
use super::pace::Pace;

/// A client's bytes, timed.
#[derive(Debug)]
pub struct ClientIo {
    transport: Transport,
    pace: Rc<Pace>,
    closed: bool,
    lingered: usize,
}

impl ClientIo {
    pub fn new(transport: Transport, pace: Rc<Pace>) -> Self {
        Self { transport, pace, closed: false, lingered: 0 }
    }

    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.pace.note_blocked(written.is_pending());
        written
    }

    /// Throws away what the client still sends, until it ends. Closing with bytes unread makes the kernel reset the
    /// connection, and a refusal that is on its way would be lost with it. The pace bounds the time.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        while self.lingered < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut self.transport).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.lingered += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_arrived();
        }
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, slices);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        match self.transport {
            // A plain socket's flush is always ready, and must not hide that its write is blocked.
            Transport::Tcp(_) | Transport::Unix(_) => flushed,
            Transport::Tls(_) => self.noted(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.pace.lingers();
            ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
            self.closed = true;
        }
        self.poll_linger(context).map(Ok)
    }
}
