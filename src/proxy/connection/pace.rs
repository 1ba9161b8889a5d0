//! The time bounds of a client connection, by one timer: it is set again only when a bound comes nearer, so a request
//! that keeps pace costs no timer at all.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::super::limits::Limits;
use super::super::stream::earned;

/// A bound is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The client did not keep a bound.
    TooSlow,
    /// All was said; the client just did not hang up.
    Lingered,
    /// What was under way is no longer permitted. Not a bound: the connection ends in the midst of the answer.
    Cut,
}

/// Where a connection is, and since when.
#[derive(Debug)]
pub struct Pace {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Bytes wait to be taken by the client since then.
    blocked_since: Cell<Option<Instant>>,
    /// How long bytes waited before, less what those that were taken have earned.
    blocked_for: Cell<Duration>,
    born: Instant,
    requests: Cell<u32>,
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
        let born = Instant::now();
        Self {
            phase: Cell::new(Phase::Head),
            since: Cell::new(born),
            blocked_since: Cell::new(None),
            blocked_for: Cell::new(Duration::ZERO),
            born,
            requests: Cell::new(0),
        }
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

    /// The client does not take bytes.
    pub fn note_blocked(&self) {
        if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(Instant::now()));
        }
    }

    /// The client took so many bytes. A few of them make a long wait no shorter: one byte now and then would hold the
    /// connection, and an upstream's, for ever.
    pub fn note_taken(&self, bytes: usize) {
        let waited = self.blocked_since.take().map(|since| since.elapsed());
        if let Some(waited) = waited {
            self.blocked_for.set(self.blocked_for.get().saturating_add(waited));
        }
        if !self.blocked_for.get().is_zero() {
            self.blocked_for.set(self.blocked_for.get().saturating_sub(earned(bytes)));
        }
    }

    /// Whether bytes have waited for the client longer than they may.
    pub fn is_blocked_for(&self, bound: Duration) -> bool {
        self.blocked_until(bound).is_some_and(|until| until <= Instant::now())
    }

    fn blocked_until(&self, bound: Duration) -> Option<Instant> {
        self.blocked_since.get().map(|since| since + bound.saturating_sub(self.blocked_for.get()))
    }

    /// Counts a request, and says how many there were.
    pub fn count_request(&self) -> u32 {
        let requests = self.requests.get().saturating_add(1);
        self.requests.set(requests);
        requests
    }

    /// True if the connection should not be used for more.
    pub fn is_spent(&self, limits: &Limits) -> bool {
        self.requests.get() >= limits.max_requests_per_connection || self.born.elapsed() >= limits.max_connection_age
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
        let blocked = self.blocked_until(limits.write_timeout);
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
        pace.note_blocked();
        assert_eq!(bound(&pace), Some(30));
        pace.note_taken(1);
        assert_eq!(bound(&pace), None);
    }

    #[test]
    fn a_byte_now_and_then_earns_no_new_wait_and_a_fair_pace_does() {
        let waited = |bytes: usize| {
            let pace = Pace::start();
            pace.head_arrived();
            pace.blocked_for.set(Duration::from_secs(20));
            pace.note_blocked();
            pace.note_taken(bytes);
            pace.note_blocked();
            pace.deadline(&limits()).expect("a bound").saturating_duration_since(Instant::now()).as_secs()
        };
        assert!(waited(1) <= 10);
        assert!(waited(64 * 1024) >= 29);
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
