//! The time bounds of a client connection, by one timer: it is set again only when a bound comes nearer, so a request
//! that keeps pace costs no timer at all.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::super::limits::Limits;

/// A bound is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The client did not keep a bound.
    TooSlow,
    /// All was said; the client just did not hang up.
    Lingered,
}

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
    pub fn poll(&self, mut clock: Pin<&mut Sleep>, limits: &Limits, context: &mut Context<'_>) -> Poll<Over> {
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
                Some(deadline) if deadline <= now => {
                    let lingered = self.phase.get() == Phase::Linger;
                    return Poll::Ready(if lingered { Over::Lingered } else { Over::TooSlow });
                }
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

    fn limits() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            ..Limits::default()
        }
    }

    /// The bound that holds now, in seconds from the start of what it bounds.
    fn bound(pace: &Pace) -> Option<u64> {
        let start = pace.blocked_since.get().unwrap_or(pace.since.get());
        pace.deadline(&limits()).map(|deadline| (deadline - start).as_secs())
    }

    #[test]
    fn silence_after_connecting_a_slow_head_and_an_idle_connection_have_bounds_of_their_own() {
        let pace = Pace::start();
        assert_eq!(bound(&pace), Some(10), "a first head that never begins is no idle connection");
        pace.head_arrived();
        assert_eq!(bound(&pace), None, "an answer may take its time");
        pace.answered();
        assert_eq!(bound(&pace), Some(60));
        pace.bytes_arrived();
        assert_eq!(bound(&pace), Some(10));
    }

    #[test]
    fn more_bytes_give_a_head_no_more_time() {
        let pace = Pace::start();
        let first = pace.deadline(&limits());
        pace.bytes_arrived();
        assert_eq!(pace.deadline(&limits()), first);
    }

    #[test]
    fn a_client_that_takes_nothing_is_bound_even_while_busy() {
        let pace = Pace::start();
        pace.head_arrived();
        pace.note_blocked(true);
        assert_eq!(bound(&pace), Some(30));
        pace.note_blocked(false);
        assert_eq!(bound(&pace), None);
    }

    #[tokio::test]
    async fn a_passed_bound_ends_the_wait_although_the_clock_was_set_for_later() {
        let limits = Limits { header_timeout: Duration::from_millis(5), ..limits() };
        let pace = Pace::start();
        let mut clock = Box::pin(tokio::time::sleep(Duration::from_secs(3600)));
        let over = std::future::poll_fn(|context| pace.poll(clock.as_mut(), &limits, context)).await;
        assert_eq!(over, Over::TooSlow);
    }
}
