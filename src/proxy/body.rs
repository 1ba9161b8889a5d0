//! The bodies of the data plane: what goes upstream, what goes to the client, and the bounded hold of what is judged.
//! No body is boxed behind a trait, and none is held unless it is judged.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::headers;
use super::limits::HELD_TOTAL_MAX;
use super::record::Record;
pub use super::stream::BodyError;
use super::stream::Paced;
use super::upstream::Lease;
use crate::authz::Reason;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    Empty,
    Full(Bytes),
    Upstream(UpstreamBody),
}

impl Body {
    /// Tells the record when the last byte has been taken, or nobody takes it any more. A body that is known whole
    /// needs no waiting for.
    pub fn tells(&mut self, record: Record) {
        match self {
            Self::Upstream(body) => body.record = Some(record),
            Self::Empty | Self::Full(_) => drop(record),
        }
    }

    /// A body that is known whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(bytes.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Upstream(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.stream.size_hint(),
        }
    }
}

/// An answer's body as it streams in. Its connection is lent to it, and goes back to the pool at its end;
/// dropped before, it takes the connection with it.
#[derive(Debug)]
pub struct UpstreamBody {
    stream: Paced,
    lease: Option<Lease>,
    /// Told when the body has ended, or is dropped before.
    record: Option<Record>,
}

impl UpstreamBody {
    pub(super) fn new(stream: Paced, lease: Lease) -> Self {
        Self { stream, lease: Some(lease), record: None }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.stream).poll_frame(context));
        let ended = frame.is_none() || self.stream.is_end_stream();
        match (&frame, ended) {
            (Some(Err(_)), _) => drop(self.lease.take()),
            (_, true) => {
                drop(self.record.take());
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            (_, false) => {}
        }
        Poll::Ready(frame.map(|frame| frame.map(headers::clean_frame)))
    }
}

/// The body of a request that was not begun to be sent.
#[derive(Debug)]
pub enum RequestBody {
    Empty,
    Held(Held),
    Stream(Paced),
}

impl RequestBody {
    /// The client's body, passed on as it comes. It may pause for `pause` in all (see [`Paced::earning`]).
    pub fn stream(body: Incoming, pause: Duration) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Stream(Paced::earning(body, pause)) }
    }

    pub fn held(held: Held) -> Self {
        if held.bytes.is_empty() && held.trailers.is_none() { Self::Empty } else { Self::Held(held) }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// A body that was taken in whole to be judged.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub bytes: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// The room that the process has for held bodies. Shared by all hubs.
#[derive(Debug, Clone, Default)]
pub struct Room(Arc<AtomicUsize>);

/// A place in the room, given back when the request is answered.
#[derive(Debug)]
pub struct Place {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Room for a body: what it announces, or as much as it may have. `None`: there is none left.
    pub fn take(&self, body: &Incoming, limit: usize) -> Option<Place> {
        let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.unwrap_or(limit).min(limit);
        // Add first, then look: two that race for the last room cannot both get it.
        let place = Place { room: self.clone(), bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= HELD_TOTAL_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a body could not be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    #[error("the body is larger than may be held")]
    TooLarge,
    #[error("the body did not come in time")]
    TimedOut,
    #[error("the body was cut or malformed")]
    Cut,
}

impl HoldError {
    /// What the caller is told.
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge => Reason::BodyTooLarge,
            Self::TimedOut | Self::Cut => Reason::BadRequest,
        }
    }
}

/// Takes in a whole body of at most `limit` bytes, within `within`. A longer one is `TooLarge`: at once where its
/// length is announced, and never a part of it taken for the whole.
pub async fn hold(body: Incoming, limit: usize, within: Duration) -> Result<Held, HoldError> {
    if body.is_end_stream() {
        return Ok(Held::default());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(HoldError::TooLarge);
    }
    timeout(within, collect(body, limit)).await.unwrap_or(Err(HoldError::TimedOut))
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Held, HoldError> {
    let mut chunks = Chunks::None;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| HoldError::Cut)?.into_data() {
            Ok(bytes) => chunks.push(bytes, limit)?,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Held { bytes: chunks.into_bytes(), trailers })
}

/// The bytes so far. Most judged bodies are one chunk, which is then not copied.
enum Chunks {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Chunks {
    fn push(&mut self, bytes: Bytes, limit: usize) -> Result<(), HoldError> {
        if self.len() + bytes.len() > limit {
            return Err(HoldError::TooLarge);
        }
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(bytes),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + bytes.len()) * 2);
                many.extend_from_slice(&first);
                many.extend_from_slice(&bytes);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&bytes);
                Self::Many(many)
            }
        };
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_in_order_and_stop_at_the_limit() {
        let mut chunks = Chunks::None;
        for part in ["ab", "cd", "ef"] {
            chunks.push(Bytes::from_static(part.as_bytes()), 6).expect("six bytes fit");
        }
        assert_eq!(chunks.push(Bytes::from_static(b"g"), 6), Err(HoldError::TooLarge));

        let mut chunks = Chunks::None;
        assert_eq!(chunks.push(Bytes::from_static(b"abcdefg"), 6), Err(HoldError::TooLarge));
    }
}
