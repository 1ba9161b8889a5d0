//! How far a gate has come in the bucket's one order, and since when it is sure to have all of it. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Barriers under way; more than one every second or so is not asked for.
const BARRIERS_MAX: usize = 64;

/// A point in time by both clocks: the one that does not jump, and the one that goes on while a machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub instant: Instant,
    /// Unix time in milliseconds.
    pub unix_ms: i64,
}

impl Moment {
    pub fn now() -> Self {
        Self { instant: Instant::now(), unix_ms: crate::clock::unix_ms() }
    }

    /// A moment of an earlier life, of which only the wall clock is known. One that lies ahead was not: the clock was
    /// set back since, and nobody knows how long ago it is.
    pub fn of_unix_ms(unix_ms: i64, now: Self) -> Option<Self> {
        let ago = u64::try_from(now.unix_ms.checked_sub(unix_ms)?).ok()?;
        Some(Self { instant: now.instant.checked_sub(Duration::from_millis(ago))?, unix_ms })
    }

    /// How long ago it was, by the clock that says longer.
    pub fn age(self, now: Self) -> Duration {
        let by_wall = u64::try_from(now.unix_ms.saturating_sub(self.unix_ms)).unwrap_or(0);
        now.instant.saturating_duration_since(self.instant).max(Duration::from_millis(by_wall))
    }
}

/// One gate's place in one bucket.
#[derive(Debug, Default)]
pub struct Progress {
    /// The last message that was delivered. They come in order and none is left out.
    delivered: u64,
    /// Everything that lay there when the session began was delivered.
    replayed: bool,
    /// Messages about acts that are not in force yet.
    waiting: BTreeSet<u64>,
    /// What this gate wrote itself, with when it set out to.
    barriers: VecDeque<(u64, Moment)>,
    synced: Option<Moment>,
}

impl Progress {
    /// At the start of a life.
    pub fn since(synced: Option<Moment>) -> Self {
        Self { synced, ..Self::default() }
    }

    /// A session begins: nothing of the bucket is known for sure but what was in force before.
    pub fn begin(&mut self) {
        *self = Self::since(self.synced);
    }

    pub fn delivered(&mut self, seq: u64) {
        self.delivered = self.delivered.max(seq);
    }

    /// A message about an act: it counts once it is in force, or is refused for good.
    pub fn waits(&mut self, seq: u64) {
        self.waiting.insert(seq);
    }

    pub fn settled(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.waiting.remove(&seq);
        }
        self.pass();
    }

    pub fn replayed(&mut self) {
        self.replayed = true;
        self.pass();
    }

    /// A message of this gate was taken by the cluster at this place. It set out to write it at `began`, so all that
    /// was acknowledged before `began` comes before it.
    pub fn barrier(&mut self, seq: u64, began: Moment) {
        if self.barriers.len() >= BARRIERS_MAX {
            self.barriers.pop_front();
        }
        self.barriers.push_back((seq, began));
        self.pass();
    }

    /// Up to here everything is in force. 0: not even what lay there is.
    pub fn in_force(&self) -> u64 {
        match self.waiting.first() {
            _ if !self.replayed => 0,
            Some(first) => first.saturating_sub(1).min(self.delivered),
            None => self.delivered,
        }
    }

    fn pass(&mut self) {
        let in_force = self.in_force();
        let mut latest = self.synced;
        self.barriers.retain(|(seq, began)| {
            let passed = *seq <= in_force;
            if passed && latest.is_none_or(|latest| latest.unix_ms < began.unix_ms || latest.instant < began.instant) {
                latest = Some(*began);
            }
            !passed
        });
        self.synced = latest;
    }

    /// To be called when something was delivered.
    pub fn look(&mut self) {
        self.pass();
    }

    /// All that was acknowledged before this is in force here. `None`: never.
    pub fn synced(&self) -> Option<Moment> {
        self.synced
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn at(ms: u64, start: Moment) -> Moment {
        let ahead = i64::try_from(ms).unwrap();
        Moment { instant: start.instant + Duration::from_millis(ms), unix_ms: start.unix_ms + ahead }
    }

    #[test]
    fn in_sync_is_as_of_the_barrier_that_everything_before_it_has_passed() {
        let start = Moment::now();
        let mut progress = Progress::since(None);
        progress.barrier(5, at(1, start));
        progress.delivered(5);
        progress.look();
        assert_eq!((progress.in_force(), progress.synced()), (0, None), "the replay is not over");
        progress.replayed();
        assert_eq!((progress.in_force(), progress.synced()), (5, Some(at(1, start))));
        progress.waits(7);
        progress.delivered(9);
        progress.barrier(9, at(2, start));
        assert_eq!((progress.in_force(), progress.synced()), (6, Some(at(1, start))), "7 is not in force yet");
        progress.settled([7]);
        assert_eq!((progress.in_force(), progress.synced()), (9, Some(at(2, start))));
        progress.barrier(12, at(3, start));
        assert_eq!(progress.synced(), Some(at(2, start)), "a message that was not delivered proves nothing");
    }

    #[test]
    fn a_new_session_knows_nothing_until_it_has_replayed() {
        let start = Moment::now();
        let mut progress = Progress::since(Some(start));
        progress.replayed();
        progress.delivered(100);
        progress.begin();
        progress.barrier(3, at(50, start));
        progress.delivered(3);
        progress.look();
        assert_eq!((progress.in_force(), progress.synced()), (0, Some(start)));
        progress.replayed();
        assert_eq!((progress.in_force(), progress.synced()), (3, Some(at(50, start))));
    }

    #[test]
    fn age_goes_by_the_clock_that_says_longer() {
        let start = Moment::now();
        let slept = Moment { unix_ms: start.unix_ms + 60_000, ..at(1_000, start) };
        assert_eq!(start.age(slept), Duration::from_secs(60));
        let set_back = Moment { unix_ms: start.unix_ms - 60_000, ..at(1_000, start) };
        assert_eq!(start.age(set_back), Duration::from_secs(1));
        assert_eq!(Moment::of_unix_ms(start.unix_ms + 1, start), None, "what is not over yet was never");
        let before = Moment::of_unix_ms(start.unix_ms - 2_000, start).unwrap();
        assert_eq!(before.age(start), Duration::from_secs(2));
    }
}
