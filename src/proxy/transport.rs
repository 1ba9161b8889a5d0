//! What a connection is made of, on either side: TCP, TLS over it, or a Unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// The most bytes that are copied to be written at once.
const JOINED_BYTES_MAX: usize = 2048;

/// All slices as one, where there is room for them.
fn joined<'s>(slices: &[io::IoSlice<'_>], space: &'s mut [u8; JOINED_BYTES_MAX]) -> Option<&'s [u8]> {
    let mut end = 0;
    for slice in slices {
        space.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    space.get(..end)
}

/// The bytes of a connection.
#[derive(Debug)]
pub enum Transport {
    Tcp(TcpStream),
    /// Boxed for size: a TLS session is some kilobytes, once per connection. It may lie over any of these.
    Tls(Box<TlsStream<Transport>>),
    Unix(UnixStream),
}

impl Transport {
    /// The protocol that both sides of TLS agreed on (ALPN, RFC 7301). `None` without TLS or agreement.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(io) => io.get_ref().1.alpn_protocol(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// True while TLS keeps some of what was written, for want of room in the socket. Without TLS nothing is kept.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Tls(io) => {
                let (under, session) = io.get_ref();
                session.wants_write() || under.holds_back()
            }
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(context, buffer),
            Self::Unix(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
            Self::Unix(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            // One slice is a send and no writev, which costs the kernel more than a copy of a few.
            Self::Tcp(io) => match slices {
                [only] => Pin::new(io).poll_write(context, only),
                several => match joined(several, &mut [0; JOINED_BYTES_MAX]) {
                    Some(joined) => Pin::new(io).poll_write(context, joined),
                    None => Pin::new(io).poll_write_vectored(context, several),
                },
            },
            Self::Tls(io) => Pin::new(io).poll_write_vectored(context, slices),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
            Self::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
            Self::Unix(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
            Self::Unix(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}
