//! What both sides of HTTP/2 (RFC 9113) have in common: a body sent within the flow control of its stream, and a
//! stream read and written as the bytes of a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http::header::{self, HeaderName};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::source::Quiet;
use super::stream::{Allowance, BodyError};

/// Bytes of a stream that wait at the most in our buffers for the connection to take them.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Fields that speak of an HTTP/1.1 connection and may not stand in HTTP/2 (RFC 9113 §8.2.2).
const OF_A_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];

/// Takes away what speaks of an HTTP/1.1 connection.
pub fn clean(headers: &mut HeaderMap) {
    for name in &OF_A_CONNECTION {
        headers.remove(name);
    }
}

/// Why a body was not sent to its end. The stream is reset in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// The receiver gave the stream up, or the connection is gone.
    Reset,
    /// The receiver took nothing for too long.
    TooSlow,
    Body(BodyError),
}

/// Sends a body to its end, holding no more of it than the receiver has room for. `patience`: how long the receiver
/// may take nothing, in all, less what the bytes that it takes earn; `progress` is told of each piece that is on its way.
pub async fn send<B>(
    mut body: B,
    stream: &mut SendStream<Bytes>,
    patience: Duration,
    progress: impl Fn(usize),
) -> Result<(), Unsent>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let mut patience = Allowance::earning(patience);
    loop {
        let Some(frame) = next_frame(&mut body, stream).await? else {
            return stream.send_data(Bytes::new(), true).map_err(|_| Unsent::Reset);
        };
        let frame = frame.map_err(|error| {
            stream.send_reset(match error {
                BodyError::Revoked => Reason::CANCEL,
                BodyError::Cut | BodyError::TimedOut => Reason::INTERNAL_ERROR,
            });
            Unsent::Body(error)
        })?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return stream.send_trailers(trailers).map_err(|_| Unsent::Reset);
            }
        };
        progress(data.len());
        let is_last = body.is_end_stream();
        send_data(data, is_last, stream, &mut patience).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// The next piece, unless the receiver gives up while it is waited for.
async fn next_frame<B>(
    body: &mut B,
    stream: &mut SendStream<Bytes>,
) -> Result<Option<Result<http_body::Frame<Bytes>, BodyError>>, Unsent>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    std::future::poll_fn(|context| {
        if stream.poll_reset(context).is_ready() {
            return Poll::Ready(Err(Unsent::Reset));
        }
        Pin::new(&mut *body).poll_frame(context).map(Ok)
    })
    .await
}

async fn send_data(
    mut data: Bytes,
    is_last: bool,
    stream: &mut SendStream<Bytes>,
    patience: &mut Allowance,
) -> Result<(), Unsent> {
    if data.is_empty() {
        return if is_last { stream.send_data(data, true).map_err(|_| Unsent::Reset) } else { Ok(()) };
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(SEND_BUFFER_BYTES));
        let room = match stream.capacity() {
            0 => {
                let since = Instant::now();
                let room = timeout(patience.left, std::future::poll_fn(|context| poll_room(stream, context))).await;
                let room = room.map_err(|_| {
                    stream.send_reset(Reason::CANCEL);
                    Unsent::TooSlow
                })??;
                patience.settle(since.elapsed(), room.min(data.len()));
                room
            }
            room => room,
        };
        let piece = data.split_to(room.min(data.len()));
        let is_end = is_last && data.is_empty();
        stream.send_data(piece, is_end).map_err(|_| Unsent::Reset)?;
    }
    Ok(())
}

fn poll_room(stream: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
    loop {
        match ready!(stream.poll_capacity(context)) {
            Some(Ok(0)) => {}
            Some(Ok(room)) => return Poll::Ready(Ok(room)),
            Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Reset)),
        }
    }
}

/// A stream as the bytes of a tunnel (RFC 8441).
#[derive(Debug)]
pub struct Duplex {
    pub send: SendStream<Bytes>,
    pub receive: RecvStream,
    pub quiet: Quiet,
    /// What came and was not read yet.
    left: Bytes,
}

impl Duplex {
    pub fn new(send: SendStream<Bytes>, receive: RecvStream, quiet: Quiet) -> Self {
        Self { send, receive, quiet, left: Bytes::new() }
    }
}

fn broken(error: h2::Error) -> io::Error {
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.receive.poll_data(context)) {
                Some(data) => self.left = data.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let some = self.left.len().min(buffer.remaining());
        buffer.put_slice(self.left.get(..some).unwrap_or_default());
        self.left.advance(some);
        self.quiet.end();
        Poll::Ready(self.receive.flow_control().release_capacity(some).map_err(broken))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(bytes.len().min(SEND_BUFFER_BYTES));
        let room = match self.send.capacity() {
            0 => ready!(poll_room(&mut self.send, context)).map_err(|_| io::ErrorKind::ConnectionReset)?,
            room => room,
        };
        let some = room.min(bytes.len());
        let piece = Bytes::copy_from_slice(bytes.get(..some).unwrap_or_default());
        self.quiet.end();
        Poll::Ready(self.send.send_data(piece, false).map(|()| some).map_err(broken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A stream that was reset is as good as closed.
        let _ = self.send.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}
