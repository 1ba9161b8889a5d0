//! The bytes of a client connection, as hyper reads and writes them, with an eye on their pace.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::limits::{LINGER_BYTES_MAX, QUIET_BYTES_MAX};
use super::super::source::Quiet;
use super::super::transport::Transport;
use super::pace::Pace;

/// A client's bytes, timed.
#[derive(Debug)]
pub struct ClientIo {
    transport: Transport,
    pace: Rc<Pace>,
    /// What was read to tell the protocol, and is read again.
    ahead: Bytes,
    /// Where it is counted what comes and leads to nothing: HTTP/2 alone has such bytes.
    quiet: Option<Quiet>,
    closed: bool,
    lingered: usize,
}

impl ClientIo {
    pub fn new(transport: Transport) -> Self {
        let pace = Rc::new(Pace::start());
        Self { transport, pace, ahead: Bytes::new(), quiet: None, closed: false, lingered: 0 }
    }

    pub fn pace(&self) -> &Rc<Pace> {
        &self.pace
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Gives bytes back, to be read again before any other.
    pub fn unread(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    /// From now on, more than [`QUIET_BYTES_MAX`] that lead to nothing end the connection.
    pub fn count_quiet(&mut self, quiet: Quiet) {
        self.quiet = Some(quiet);
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.pace.note_blocked(),
            Poll::Ready(Ok(bytes)) => self.pace.note_taken(*bytes),
            Poll::Ready(Err(_)) => {}
        }
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
        if !self.ahead.is_empty() {
            let some = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..some).unwrap_or_default());
            self.ahead.advance(some);
            self.pace.bytes_arrived();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        let more = buffer.filled().len() - before;
        if more > 0 {
            self.pace.bytes_arrived();
            if let Some(quiet) = &self.quiet {
                quiet.add(more);
                if quiet.bytes() > QUIET_BYTES_MAX {
                    return Poll::Ready(Err(io::Error::other("the connection carries frames and no requests")));
                }
            }
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
            Transport::Tls(_) => {
                match flushed.is_pending() {
                    true => self.pace.note_blocked(),
                    // Its bytes were counted when TLS took them.
                    false => self.pace.note_taken(0),
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.pace.lingers();
            ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
            self.closed = true;
        }
        match self.poll_linger(context) {
            // HTTP/2 said GOAWAY, and hears nothing more: what has come is thrown away, what is to come is not awaited.
            Poll::Pending if self.quiet.is_some() => Poll::Ready(Ok(())),
            lingered => lingered.map(Ok),
        }
    }
}
