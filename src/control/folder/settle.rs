//! When a folder has settled (law 7): whole, readable, and the same for `settle`. Pure: times are arguments.
//!
//! Only a look that began `settle` after the last change may say so. Silence is not enough: without inotify
//! nobody would have told of a change.

use std::time::{Duration, Instant, SystemTime};

/// How long a folder must stay the same before what it gives is given.
pub const SETTLE: Duration = Duration::from_millis(500);

/// What one look at the folder found, as far as settling goes.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub began: Instant,
    pub ended: Instant,
    /// The whole folder was looked at, not single files of it.
    pub whole_tree: bool,
    /// Some file came, went, or has another stamp than at the look before.
    pub stirred: bool,
    /// Everything could be read and nothing moved meanwhile.
    pub sound: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct Settle {
    settle: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not looked at yet.
    New,
    /// Not whole: nothing to wait for.
    Broken,
    /// Whole since then.
    Waiting(Instant),
    Settled,
}

impl Settle {
    pub fn new(settle: Duration) -> Self {
        Self { settle, state: State::New }
    }

    /// The first look. A folder whose last change (ctime) lies `settle` back is whole at once; one that changed
    /// in the future, by whatever clock, changed just now.
    pub fn start(&mut self, look: &Look, last_change: SystemTime, now: SystemTime) -> bool {
        let old = now.duration_since(last_change).is_ok_and(|age| age > self.settle);
        self.state = match (look.sound, old) {
            (false, _) => State::Broken,
            (true, true) if look.whole_tree => State::Settled,
            (true, _) => State::Waiting(look.ended),
        };
        self.is_settled()
    }

    /// Every later look. Gives whether the folder, as read, has settled.
    pub fn observe(&mut self, look: &Look) -> bool {
        self.state = match self.state {
            _ if !look.sound => State::Broken,
            State::New | State::Broken => State::Waiting(look.ended),
            _ if look.stirred => State::Waiting(look.ended),
            State::Waiting(since) if look.whole_tree && look.began >= since + self.settle => State::Settled,
            same @ (State::Waiting(_) | State::Settled) => same,
        };
        self.is_settled()
    }

    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    pub fn is_settled(&self) -> bool {
        self.state == State::Settled
    }

    /// When to look again, at the earliest, for the folder to be settled.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(since) => Some(since + self.settle),
            State::New | State::Broken | State::Settled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(origin: Instant, began_ms: u64, took_ms: u64, stirred: bool, sound: bool, whole_tree: bool) -> Look {
        let began = origin + Duration::from_millis(began_ms);
        Look { began, ended: began + Duration::from_millis(took_ms), whole_tree, stirred, sound }
    }

    fn wall(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn an_old_folder_is_whole_at_once() {
        let mut settle = Settle::new(SETTLE);
        assert!(settle.start(&look(Instant::now(), 0, 5, true, true, true), wall(1_000), wall(2_000)));
        assert_eq!(settle.deadline(), None);
    }

    #[test]
    fn a_fresh_folder_waits_and_so_does_one_from_the_future() {
        for last_change in [1_600, 2_000, 9_000_000] {
            let origin = Instant::now();
            let mut settle = Settle::new(SETTLE);
            assert!(!settle.start(&look(origin, 0, 5, true, true, true), wall(last_change), wall(2_000)));
            assert_eq!(settle.deadline(), Some(origin + Duration::from_millis(505)));
            assert!(!settle.observe(&look(origin, 504, 5, false, true, true)));
            assert!(settle.observe(&look(origin, 505, 5, false, true, true)));
        }
    }

    #[test]
    fn an_old_folder_that_cannot_be_read_whole_is_not_whole() {
        let mut settle = Settle::new(SETTLE);
        assert!(!settle.start(&look(Instant::now(), 0, 5, true, false, true), wall(0), wall(9_000)));
        assert_eq!(settle.deadline(), None);
    }

    #[test]
    fn a_look_at_single_files_never_settles_a_folder() {
        let origin = Instant::now();
        let mut settle = Settle::new(SETTLE);
        settle.observe(&look(origin, 0, 0, true, true, true));
        assert!(!settle.observe(&look(origin, 5_000, 0, false, true, false)));
        assert!(settle.observe(&look(origin, 5_001, 0, false, true, true)));
    }

    proptest! {
        /// Law 7: never sooner than `settle` after the end of the last look that saw a change or a fault.
        #[test]
        fn a_folder_never_settles_sooner(looks in prop::collection::vec(
            (0_u64..900, 0_u64..60, prop::bool::weighted(0.3), prop::bool::weighted(0.8), prop::bool::weighted(0.8)), 1..60
        ), first_age in 0_u64..1_000) {
            let origin = Instant::now();
            let mut settle = Settle::new(SETTLE);
            let mut now_ms = 0;
            let mut last_unrest: Option<u64> = None;
            for (index, (wait, took, stirred, sound, whole)) in looks.into_iter().enumerate() {
                let began = now_ms + wait;
                now_ms = began + took;
                let at = look(origin, began, took, stirred, sound, whole);
                let settled = if index == 0 {
                    if !sound || first_age <= 500 { last_unrest = Some(now_ms); }
                    settle.start(&at, wall(10_000 - first_age), wall(10_000))
                } else {
                    if !sound || stirred { last_unrest = Some(now_ms); }
                    settle.observe(&at)
                };
                if settled {
                    prop_assert!(sound);
                    prop_assert!(last_unrest.is_none_or(|unrest| began >= unrest + 500));
                    prop_assert_eq!(settle.deadline(), None);
                } else if sound {
                    prop_assert!(settle.deadline().is_some());
                }
            }
        }
    }
}
