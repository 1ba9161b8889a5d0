//! A request's body in hyper's hands, and what is left of it where the gate held its head back.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::super::super::body::{Held, RequestBody};
use super::super::super::headers::{clean_frame, clean_trailers};
use super::super::super::stream::{BodyError, Paced};
use super::super::{Failure, Fault, SendError};
use super::{Gate, State};

/// Bytes of a held body that are written with the head, in one write. A larger one waits until the head has left, as one
/// that streams does: so that a socket that takes it slowly does not make its request one that a new snapshot stops.
const WITH_HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request's body in hyper's hands. What streams is only lent: until the head went through the gate not a frame of
/// it is taken, so that it can be taken back whole (and the client is not told `100 Continue` for nothing).
#[derive(Debug)]
pub enum Payload {
    Empty,
    Held { bytes: Bytes, trailers: Option<HeaderMap>, gate: Rc<Gate> },
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
                (Self::Held { bytes: held.bytes.clone(), trailers, gate: Rc::clone(gate) }, Keeper::Held(held))
            }
            RequestBody::Stream(stream) => {
                let size = stream.size_hint();
                gate.uploading.replace(stream.open().cloned());
                let lent = Rc::new(Lent { stream: RefCell::new(Some(stream)), failed: Cell::new(None), size });
                (Self::Stream { lent: Rc::clone(&lent), gate: Rc::clone(gate) }, Keeper::Stream(lent))
            }
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if let Self::Stream { gate, .. } = self {
            gate.uploading.replace(None);
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Held { bytes, gate, .. } if bytes.len() > WITH_HEAD_BYTES_MAX && !gate.is_open() => {
                gate.wait(context)
            }
            Self::Held { bytes, .. } if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Held { trailers, .. } => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Self::Stream { lent, gate } if gate.is_open() => lent.poll_frame(context),
            Self::Stream { gate, .. } => gate.wait(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Held { bytes, trailers, .. } => bytes.is_empty() && trailers.is_none(),
            Self::Stream { lent, .. } => lent.stream.borrow().as_ref().is_none_or(Paced::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Held { bytes, trailers: None, .. } => SizeHint::with_exact(bytes.len() as u64),
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

/// The sender's hold on a body that somebody else sends.
#[derive(Debug)]
pub enum Keeper {
    Empty,
    Held(Held),
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
    pub fn blame(self, gate: &Gate, fault: Fault) -> Failure {
        // The last byte of an armed head has not left, so no upstream acted on it; unless a body was written with it,
        // of which only the end may be what has not left.
        let may_be_whole = gate.begun.get() && matches!(self, Self::Held(_));
        match gate.state.get() {
            State::Shut | State::Armed(_) if may_be_whole => Failure::Unanswered(SendError::Broken(fault)),
            State::Shut => Failure::Moved(self.take_back()),
            State::Armed(_) if gate.begun.get() => Failure::Unanswered(SendError::Broken(fault)),
            State::Armed(_) => Failure::Unsent(self.take_back(), fault),
            State::Open => match self.client_fault() {
                Some(fault) => Failure::Final(SendError::RequestBody(fault)),
                None if gate.answered.get() => Failure::Final(SendError::Broken(fault)),
                None => Failure::Unanswered(SendError::Broken(fault)),
            },
        }
    }

    fn client_fault(&self) -> Option<BodyError> {
        match self {
            Self::Empty | Self::Held(_) => None,
            Self::Stream(lent) => lent.failed.get(),
        }
    }

    pub fn take_back(self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Held(held) => RequestBody::Held(held),
            Self::Stream(lent) => lent.stream.take().map_or(RequestBody::Empty, RequestBody::Stream),
        }
    }
}
