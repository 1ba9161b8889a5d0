//! A body that may not pause for ever. It passes frames on as they come and holds none.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::BODY_RATE_MIN;
use super::source::Source;
use super::streams::{Open, Side};

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body paused for too long")]
    TimedOut,
    #[error("the body was cut or malformed")]
    Cut,
    /// The request that it is a part of is no longer permitted.
    #[error("the request is no longer permitted")]
    Revoked,
}

/// An incoming body with a bound on its pauses.
#[derive(Debug)]
pub struct Paced {
    body: Source,
    allowance: Allowance,
    waiting_since: Option<Instant>,
    /// Made on the first pause: most bodies are there when they are asked for.
    timer: Option<Pin<Box<Sleep>>>,
    /// The request whose body goes upstream.
    open: Option<Open>,
}

impl Paced {
    /// A body that may pause for `timeout` each time. For answers: an event stream is slow by nature.
    pub fn resting(body: Source, timeout: Duration) -> Self {
        Self::new(body, Allowance { max: timeout, left: timeout, rate_min: None })
    }

    /// A body that may pause for `timeout` in all, and earns pause time by bytes. For requests: one byte
    /// every ten seconds would hold a connection for ever.
    pub fn earning(body: Source, timeout: Duration) -> Self {
        Self::new(body, Allowance::earning(timeout))
    }

    fn new(body: Source, allowance: Allowance) -> Self {
        Self { body, allowance, waiting_since: None, timer: None, open: None }
    }

    /// The body of a request that may be cut.
    pub fn of(self, open: Open) -> Self {
        Self { open: Some(open), ..self }
    }

    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// True while the other side is the one that is waited for.
    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = since + self.allowance.left;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            // A timer that is set too early is only looked at again; too late would be too late.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            std::task::ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(BodyError::TimedOut);
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.open.as_ref().is_some_and(Open::is_cut) {
            return Poll::Ready(Some(Err(BodyError::Revoked)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                if let Some(open) = &self.open {
                    open.wake(Side::Upload, context);
                }
                self.poll_pause(context).map(|error| Some(Err(error)))
            }
            Poll::Ready(frame) => {
                let waited = self.waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
                Poll::Ready(frame.map(|frame| {
                    let frame = frame?;
                    self.allowance.settle(waited, frame.data_ref().map_or(0, Bytes::len));
                    Ok(frame)
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // What is cut before its end was seen has none.
        self.body.is_end_stream() && !self.open.as_ref().is_some_and(Open::is_cut)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How much longer a body may pause.
#[derive(Debug)]
pub struct Allowance {
    max: Duration,
    pub left: Duration,
    /// Bytes that earn one second; `None`: any frame earns everything back.
    rate_min: Option<u32>,
}

impl Allowance {
    /// So long in all, and what bytes earn at [`BODY_RATE_MIN`].
    pub fn earning(max: Duration) -> Self {
        Self { max, left: max, rate_min: Some(BODY_RATE_MIN) }
    }

    pub fn settle(&mut self, waited: Duration, bytes: usize) {
        self.left = match self.rate_min {
            None => self.max,
            Some(rate) => self.left.saturating_sub(waited).saturating_add(earned_at(rate, bytes)).min(self.max),
        };
    }
}

/// The time that so many bytes earn at [`BODY_RATE_MIN`].
pub fn earned(bytes: usize) -> Duration {
    earned_at(BODY_RATE_MIN, bytes)
}

fn earned_at(rate: u32, bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / f64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_every_ten_seconds_runs_out_and_a_fair_pace_does_not() {
        let max = Duration::from_secs(30);
        let mut trickle = Allowance { max, left: max, rate_min: Some(BODY_RATE_MIN) };
        let mut fair = Allowance { max, left: max, rate_min: Some(BODY_RATE_MIN) };
        for _ in 0..4 {
            trickle.settle(Duration::from_secs(10), 1);
            fair.settle(Duration::from_secs(10), 16 * 1024);
        }
        assert!(trickle.left < Duration::from_secs(1), "{:?}", trickle.left);
        assert_eq!(fair.left, max);
    }

    #[test]
    fn a_stream_of_events_gets_its_whole_pause_each_time() {
        let max = Duration::from_secs(30);
        let mut events = Allowance { max, left: max, rate_min: None };
        events.settle(Duration::from_secs(29), 1);
        assert_eq!(events.left, max);
    }
}
