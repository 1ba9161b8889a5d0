//! The time bounds of a client connection, by one timer: it is set again only when a bound comes nearer, so a request
//! that keeps pace costs no timer at all.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::super::limits::Limits;

/// The client did not keep a bound.
#[derive(Debug)]
pub struct TooSlow;

/// Where a connection is, and since when.
#[derive(Debug)]
pub struct Pace {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Bytes wait to be taken by the client since then.
    blocked_since: Cell<Option<Instant>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head is on its way, or the first one is awaited.
    Head,
    /// A request is answered; its parts have bounds of their own.
    Busy,
    /// Between two requests.
    Idle,
    /// The answer is out, the connection is closed on our side.
    Linger,
}

impl Pace {
    /// The first head must come as fast as any other, counted from now: a client that connects and sends nothing is
    /// not idle.
    pub fn start() -> Self {
        Self { phase: Cell::new(Phase::Head), since: Cell::new(Instant::now()), blocked_since: Cell::new(None) }
    }

    /// Bytes came from the client.
    pub fn bytes_arrived(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    pub fn head_arrived(&self) {
        self.phase.set(Phase::Busy);
    }

    pub fn answered(&self) {
        if self.phase.get() == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    pub fn lingers(&self) {
        if self.phase.get() != Phase::Linger {
            self.enter(Phase::Linger);
        }
    }

    /// The client does not take bytes, or takes them again.
    pub fn note_blocked(&self, blocked: bool) {
        match (blocked, self.blocked_since.get()) {
            (true, None) => self.blocked_since.set(Some(Instant::now())),
            (false, Some(_)) => self.blocked_since.set(None),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Ready when a bound is passed.
    pub fn poll(&self, mut clock: Pin<&mut Sleep>, limits: &Limits, context: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            let deadline = self.deadline(limits);
            if let Some(deadline) = deadline
                && clock.deadline() > deadline
            {
                clock.as_mut().reset(deadline);
            }
            std::task::ready!(clock.as_mut().poll(context));
            let now = Instant::now();
            match deadline {
                Some(deadline) if deadline <= now => return Poll::Ready(TooSlow),
                Some(deadline) => clock.as_mut().reset(deadline),
                // Busy: look again no later than the nearest idle bound could be passed.
                None => clock.as_mut().reset(now + limits.idle_timeout),
            }
        }
    }

    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let since = self.since.get();
        let phase = match self.phase.get() {
            Phase::Head => Some(since + limits.header_timeout),
            Phase::Busy => None,
            Phase::Idle => Some(since + limits.idle_timeout),
            Phase::Linger => Some(since + limits.linger_timeout),
        };
        let blocked = self.blocked_since.get().map(|since| since + limits.write_timeout);
        match (phase, blocked) {
            (Some(phase), Some(blocked)) => Some(phase.min(blocked)),
            (one, other) => one.or(other),
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{advance, sleep_until};

    fn limits() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            ..Limits::default()
        }
    }

    /// Seconds until the pace is broken, at most `max`.
    async fn broken_after(pace: &Pace, clock: Pin<&mut Sleep>, max: u64) -> Option<u64> {
        let start = Instant::now();
        let mut clock = clock;
        let wait = std::future::poll_fn(|context| pace.poll(clock.as_mut(), &limits(), context));
        tokio::time::timeout(Duration::from_secs(max), wait).await.ok().map(|_| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_connecting_a_slow_head_and_an_idle_connection_end() {
        let pace = Pace::start();
        let mut clock = Box::pin(sleep_until(Instant::now() + limits().header_timeout));
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, Some(10));

        pace.head_arrived();
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, None, "an answer may take its time");
        pace.answered();
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, Some(60));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_has_its_whole_time_from_its_first_byte() {
        let pace = Pace::start();
        let mut clock = Box::pin(sleep_until(Instant::now() + limits().header_timeout));
        pace.head_arrived();
        pace.answered();
        assert_eq!(broken_after(&pace, clock.as_mut(), 50).await, None);
        pace.bytes_arrived();
        advance(Duration::from_secs(4)).await;
        pace.bytes_arrived();
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, Some(6), "more bytes give no more time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_ends_even_while_busy() {
        let pace = Pace::start();
        let mut clock = Box::pin(sleep_until(Instant::now() + limits().header_timeout));
        pace.head_arrived();
        pace.note_blocked(true);
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, Some(30));
        pace.note_blocked(false);
        assert_eq!(broken_after(&pace, clock.as_mut(), 999).await, None);
    }
}
