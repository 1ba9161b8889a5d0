//! A request's body on its way over HTTP/2, beside the wait for its answer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::super::super::body::RequestBody;
use super::super::super::headers::{clean_frame, clean_trailers};
use super::super::super::http2::{self, Unsent};
use super::super::super::stream::BodyError;
use super::{Seat, are_large};

/// A request's body on its way, as the exchange sees it.
#[derive(Debug)]
pub struct Upload {
    /// Until its first byte is taken: so that it can be taken back.
    pub body: RefCell<Option<RequestBody>>,
    pub progress: Cell<Instant>,
    pub waits_for_the_client: Cell<bool>,
    pub fault: Cell<Option<BodyError>>,
}

impl Upload {
    pub fn of(body: RequestBody, began: Instant) -> Self {
        Self {
            body: RefCell::new(Some(body)),
            progress: Cell::new(began),
            waits_for_the_client: Cell::new(false),
            fault: Cell::new(None),
        }
    }
}

/// Sends the body, once the head is out: before, not a frame is taken of it, and the client is not told `100 Continue`.
pub async fn send_body(upload: Rc<Upload>, seat: Rc<Seat>, mut stream: h2::SendStream<Bytes>, patience: Duration) {
    seat.0.writes.head_is_out(stream.stream_id().as_u32()).await;
    let Some(body) = upload.body.take() else { return };
    let uploading = Uploading { body, upload: Rc::clone(&upload), is_shared: seat.0.is_shared };
    let sent = http2::send(uploading, &mut stream, patience, |_| upload.progress.set(Instant::now())).await;
    match sent {
        Ok(()) => upload.progress.set(Instant::now()),
        Err(Unsent::Body(fault)) => upload.fault.set(Some(fault)),
        // The answer's own wait says so.
        Err(Unsent::Reset | Unsent::TooSlow) => {}
    }
}

/// A request's body, with word of whom it waits for.
struct Uploading {
    body: RequestBody,
    upload: Rc<Upload>,
    is_shared: bool,
}

impl HttpBody for Uploading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.body {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Held(held) if !held.bytes.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut held.bytes)))))
            }
            RequestBody::Held(held) => {
                Poll::Ready(held.trailers.take().map(|trailers| Ok(Frame::trailers(clean_trailers(trailers)))))
            }
            RequestBody::Stream(stream) => {
                Pin::new(stream).poll_frame(context).map(|frame| frame.map(|frame| frame.map(clean_frame)))
            }
        };
        self.upload.waits_for_the_client.set(polled.is_pending());
        // Trailers are a head to those servers as well, and it is too late for a connection of their own.
        let is_shared = self.is_shared;
        polled.map(|frame| {
            frame.map(|frame| match frame?.into_trailers() {
                Ok(fields) if is_shared && are_large(&fields, 0) => Err(BodyError::Cut),
                Ok(fields) => Ok(Frame::trailers(fields)),
                Err(frame) => Ok(frame),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            RequestBody::Empty => true,
            RequestBody::Held(held) => held.bytes.is_empty() && held.trailers.is_none(),
            RequestBody::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
