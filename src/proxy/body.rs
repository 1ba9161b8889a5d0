//! The bodies of the data plane: what goes upstream, what goes to the client, and the bounded hold of what is judged.
//! No body is boxed behind a trait, and none is held unless it is judged.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::headers;
use super::limits::{HELD_EACH_MAX, HELD_TOTAL_MAX};
use super::links::body::Rewritten;
use super::links::json::{Rewriter, Unreadable};
use super::record::Record;
use super::source::Source;
pub use super::stream::BodyError;
use super::stream::Paced;
use super::streams::{Ending, Open};
use super::tunnel::Tunnel;
use super::upstream::Lease;
use crate::authz::Reason;

/// The body of an answer.
#[expect(clippy::large_enum_variant, reason = "the large one is the rule: in a box each answer would allocate it")]
#[derive(Debug)]
pub enum Body {
    Empty,
    Full(Bytes),
    Upstream(UpstreamBody),
    /// The answer opened a WebSocket: what follows its head is a tunnel, which the connection takes out.
    Tunnel(Box<Tunnel>),
    /// With its links kept at the gate. Boxed: it is larger than all others.
    Rewritten(Box<Rewritten<UpstreamBody>>),
}

impl Body {
    /// Tells of the request when the last byte has been taken, or nobody takes it any more. A body that is known whole
    /// needs no waiting for.
    pub fn tells(&mut self, ending: Ending) {
        match self {
            Self::Upstream(body) => body.ending = Some(ending),
            Self::Tunnel(tunnel) => tunnel.tells(ending),
            Self::Rewritten(body) => body.inner_mut().ending = Some(ending),
            Self::Empty | Self::Full(_) => drop(ending),
        }
    }

    /// A part in the request whose answer this is, for whoever passes it on: it may be cut while nothing is taken of it.
    pub fn open(&self) -> Option<Open> {
        let ending = match self {
            Self::Upstream(body) => body.ending.as_ref(),
            Self::Rewritten(body) => body.inner().ending.as_ref(),
            // A tunnel looks after itself.
            Self::Empty | Self::Full(_) | Self::Tunnel(_) => None,
        };
        ending.map(|ending| ending.open().clone())
    }

    /// Takes the tunnel out, if this is one.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match std::mem::replace(self, Self::Empty) {
            Self::Tunnel(tunnel) => Some(tunnel),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes in what came of an upstream's body together with its head. Most are whole then: their length is known, and
    /// their connection is free for the next request. Nothing is waited for, so nobody is to be woken: whoever takes the
    /// rest says whom.
    pub fn take_what_came(&mut self, record: &mut Record) {
        match self {
            Self::Full(whole) => record.heard(whole),
            Self::Upstream(body) => {
                if let Some(whole) = body.whole(&mut Context::from_waker(Waker::noop()), record) {
                    *self = if whole.is_empty() { Self::Empty } else { Self::Full(whole) };
                }
            }
            Self::Empty | Self::Tunnel(_) | Self::Rewritten(_) => {}
        }
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Upstream(_) | Self::Rewritten(_))
    }

    /// Has the links of an upstream's body rewritten, as it streams by where it is not here yet.
    ///
    /// # Errors
    /// It cannot be looked into.
    pub fn rewrite(&mut self, rewriter: impl FnOnce() -> Rewriter) -> Result<(), Unreadable> {
        *self = match std::mem::replace(self, Self::Empty) {
            Self::Full(bytes) => Self::Full(rewriter().take_whole(bytes)?),
            Self::Upstream(body) => Self::Rewritten(Box::new(Rewritten::new(body, rewriter()))),
            other => other,
        };
        Ok(())
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
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
            Self::Rewritten(body) => Pin::new(&mut **body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Rewritten(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Tunnel(_) => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.size_hint(),
            Self::Rewritten(body) => body.size_hint(),
        }
    }
}

/// An answer's body as it streams in. Its connection is lent to it, and goes back to the pool at its end;
/// dropped before, it takes the connection with it.
#[derive(Debug)]
pub struct UpstreamBody {
    stream: Paced,
    /// What came with the head, where it was not the whole. Where it was cut it says so, and stays: nothing comes of it any
    /// more, and no end that could pass for one.
    ahead: Option<Box<Result<Frame<Bytes>, BodyError>>>,
    lease: Option<Lease>,
    /// Told when the body has ended, or is dropped before.
    ending: Option<Ending>,
}

impl UpstreamBody {
    pub(super) fn new(stream: Paced, lease: Lease) -> Self {
        Self { stream, ahead: None, lease: Some(lease), ending: None }
    }

    /// All of it, if it is here. What is here of another one is kept.
    fn whole(&mut self, context: &mut Context<'_>, record: &mut Record) -> Option<Bytes> {
        let first = match self.next(context) {
            Poll::Pending => return None,
            Poll::Ready(None) => return Some(Bytes::new()),
            Poll::Ready(Some(first)) => first,
        };
        let bytes = first.as_ref().ok().and_then(Frame::data_ref);
        bytes.into_iter().for_each(|bytes| record.heard(bytes));
        if let (Some(bytes), true) = (bytes, self.stream.is_end_stream()) {
            return Some(bytes.clone());
        }
        self.ahead = Some(Box::new(first));
        None
    }

    /// The next frame from the wire. After the last one the connection is the next request's.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.stream).poll_frame(context));
        match &frame {
            Some(Err(_)) => drop(self.lease.take()),
            Some(Ok(_)) if !self.stream.is_end_stream() => {}
            Some(Ok(_)) | None => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map(headers::clean_frame)))
    }

    /// Lets go of the upstream and tells, where the request is no longer permitted.
    fn is_cut(&mut self) -> bool {
        if self.ending.as_ref().is_some_and(Ending::is_cut) {
            drop((self.lease.take(), self.ending.take()));
            self.ahead = Some(Box::new(Err(BodyError::Revoked)));
        }
        self.was_cut()
    }

    fn was_cut(&self) -> bool {
        matches!(self.ahead.as_deref(), Some(Err(BodyError::Revoked)))
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.is_cut() {
            return Poll::Ready(Some(Err(BodyError::Revoked)));
        }
        let frame = match this.ahead.take() {
            Some(frame) => Some(*frame),
            None => {
                let Poll::Ready(frame) = this.next(context) else {
                    if let Some(ending) = &this.ending {
                        ending.wake(context);
                    }
                    return Poll::Pending;
                };
                if let (Some(ending), Some(Ok(frame))) = (&mut this.ending, &frame)
                    && let Some(bytes) = frame.data_ref()
                {
                    ending.heard(bytes);
                }
                frame
            }
        };
        let is_over = frame.is_none() || this.stream.is_end_stream();
        if is_over && !matches!(frame, Some(Err(_))) {
            drop(this.ending.take());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.stream.size_hint();
        if let Some(bytes) = self.ahead.as_deref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            let ahead = bytes.len() as u64;
            hint.upper().into_iter().for_each(|upper| hint.set_upper(upper.saturating_add(ahead)));
            hint.set_lower(hint.lower().saturating_add(ahead));
        }
        hint
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
    pub fn stream(body: Source, pause: Duration) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Stream(Paced::earning(body, pause)) }
    }

    /// As it is, for a request that may be cut while its body is on its way.
    pub fn of(self, open: &Open) -> Self {
        match self {
            Self::Stream(stream) => Self::Stream(stream.of(open.clone())),
            other => other,
        }
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
#[derive(Debug, Clone)]
pub struct Room {
    taken: Arc<Taken>,
    /// Bytes, in all and for one holder.
    max: usize,
    each_max: usize,
}

/// Bytes that are taken, in all and by holder.
#[derive(Debug)]
struct Taken {
    all: AtomicUsize,
    /// By a number of the holder's: two that share one share what it may have, and nobody else is shorter for it.
    holders: [AtomicUsize; HOLDERS],
}

const HOLDERS: usize = 64;

/// Who sent a body that is held: what an app may take is not what strangers leave, and the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// An app that was identified, by a number of its own.
    App(u32),
    /// The evidence is still to come, in the body.
    Stranger,
}

impl Holder {
    /// Strangers have a place to themselves.
    fn place(self) -> usize {
        match self {
            Self::Stranger => 0,
            Self::App(app) => 1 + usize::try_from(app).unwrap_or_default() % (HOLDERS - 1),
        }
    }
}

/// A place in the room: as much as has come of a body, given back when the request is answered.
#[derive(Debug)]
pub struct Place {
    room: Room,
    holder: Holder,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self::parted(HELD_TOTAL_MAX, HELD_EACH_MAX)
    }
}

impl Room {
    /// A place for a body of which nothing has come.
    pub fn place(&self, holder: Holder) -> Place {
        Place { room: self.clone(), holder, bytes: 0 }
    }

    /// Room that nobody has a share of.
    pub fn of(max: usize) -> Self {
        Self::parted(max, max)
    }

    fn parted(max: usize, each_max: usize) -> Self {
        let taken = Taken { all: AtomicUsize::new(0), holders: std::array::from_fn(|_| AtomicUsize::new(0)) };
        Self { taken: Arc::new(taken), max, each_max }
    }

    /// Room for this many bytes at once. `None`: there is none left.
    pub fn whole(&self, bytes: usize) -> Option<Place> {
        let mut place = self.place(Holder::Stranger);
        place.take(bytes).then_some(place)
    }

    fn holder(&self, holder: Holder) -> Option<&AtomicUsize> {
        self.taken.holders.get(holder.place())
    }
}

impl Place {
    /// Takes room for bytes that came. False: there is none left, for this holder or for anybody.
    fn take(&mut self, bytes: usize) -> bool {
        // Add first, then look: two that race for the last room cannot both get it.
        self.bytes = self.bytes.saturating_add(bytes);
        let all = self.room.taken.all.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = self.room.holder(self.holder).map_or(usize::MAX, |own| own.fetch_add(bytes, Ordering::Relaxed));
        all <= self.room.max && own.saturating_add(bytes) <= self.room.each_max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken.all.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(own) = self.room.holder(self.holder) {
            own.fetch_sub(self.bytes, Ordering::Relaxed);
        }
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
    #[error("there is no room left to hold the body")]
    NoRoom,
}

impl HoldError {
    /// What the caller is told.
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge => Reason::BodyTooLarge,
            Self::TimedOut | Self::Cut => Reason::BadRequest,
            Self::NoRoom => Reason::Overloaded,
        }
    }
}

/// Takes in a whole body of at most `limit` bytes, within `within`. A longer one is `TooLarge`: at once where its
/// length is announced, and never a part of it taken for the whole.
pub async fn hold(body: Source, limit: usize, within: Duration, place: &mut Place) -> Result<Held, HoldError> {
    if body.is_end_stream() {
        return Ok(Held::default());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(HoldError::TooLarge);
    }
    timeout(within, collect(body, limit, place)).await.unwrap_or(Err(HoldError::TimedOut))
}

async fn collect(mut body: Source, limit: usize, place: &mut Place) -> Result<Held, HoldError> {
    let mut chunks = Chunks::None;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| HoldError::Cut)?.into_data() {
            Ok(bytes) if !place.take(bytes.len()) => return Err(HoldError::NoRoom),
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
