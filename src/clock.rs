//! The time that requests are judged by. It never runs backwards nor stands still, so that what has ended stays ended and what
//! is to end does (law 2), whatever the system's clock is set back to; and where that is set forward by more than
//! [`STEP_MAX_MS`], what gives by the clock waits for as long as really passed: no revocation ends early, and no grant
//! begins, because a clock was set wrong.
//!
//! How long really passed the kernel counts, from when it booted, sleep included, whatever the clock says. Where there is a
//! state folder both are kept in it, for a start that follows.

mod kept;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::authz::now::Now;
pub use kept::{Kept, read, write};

/// By how much the clock may be set forward, all in all, before it is no longer believed: what time servers put right on
/// machines that run is seconds. 5 minutes.
pub const STEP_MAX_MS: i64 = 5 * 60_000;
/// A clock that is before this (2026-01-01) was not set yet when the machine started: the first that sets it is believed.
const SET_SINCE_MS: i64 = 1_767_225_600_000;

/// A clock that is asked by every request.
#[derive(Debug)]
pub struct Clock {
    /// The latest that it showed.
    latest_ms: AtomicI64,
    behind_ms: AtomicI64,
    /// Unix time at which the kernel booted, by the clock that is believed.
    booted_at_ms: AtomicI64,
    /// The kernel's name for this boot.
    boot: Option<String>,
    /// The clock was not set when this was told.
    is_unset: AtomicBool,
    /// Held while it is measured: an older look must not be told over a newer one.
    measuring: Mutex<()>,
    /// For tests: so much more time passed, and so far was the clock set.
    passed_ms: AtomicI64,
    set_ms: AtomicI64,
}

impl Clock {
    /// As the system's clock has it now, after what was kept of it.
    pub fn start(kept: Option<&Kept>) -> Self {
        Self::started(unix_ms(), since_boot_ms(), kept)
    }

    fn started(wall_ms: i64, since_boot_ms: i64, kept: Option<&Kept>) -> Self {
        let boot = kept::boot();
        let of_this_boot = kept.filter(|kept| kept.boot.is_some() && kept.boot == boot);
        // A clock that was set back is believed by a start, but for what had ended.
        let by_wall_ms = wall_ms.saturating_sub(since_boot_ms);
        let booted_at_ms = of_this_boot.map_or(by_wall_ms, |kept| kept.booted_at_ms.min(by_wall_ms));
        let clock = Self {
            latest_ms: AtomicI64::new(kept.map_or(wall_ms, |kept| kept.latest_ms.max(wall_ms))),
            behind_ms: AtomicI64::new(0),
            booted_at_ms: AtomicI64::new(booted_at_ms),
            boot,
            is_unset: AtomicBool::new(booted_at_ms.saturating_add(since_boot_ms) < SET_SINCE_MS),
            measuring: Mutex::new(()),
            passed_ms: AtomicI64::new(0),
            set_ms: AtomicI64::new(0),
        };
        clock.measure_at(wall_ms, since_boot_ms);
        clock
    }

    /// The time to judge a request by: never earlier than any that was judged by before.
    #[inline]
    pub fn now(&self) -> Now {
        let wall_ms = self.wall_ms();
        // Before the lag: who sees a new time sees the lag that was told with it.
        let latest_ms = self.latest_ms.load(Ordering::Acquire);
        let ms = if wall_ms > latest_ms { self.advance(wall_ms, latest_ms) } else { latest_ms };
        Now { ms, behind_ms: self.behind_ms.load(Ordering::Relaxed) }
    }

    #[inline]
    fn advance(&self, wall_ms: i64, latest_ms: i64) -> i64 {
        // Nobody asked for so long, or it was set: which of both must be known before it is gone by.
        if wall_ms.saturating_sub(latest_ms) > STEP_MAX_MS {
            self.measure();
        }
        self.latest_ms.fetch_max(wall_ms, Ordering::AcqRel).max(wall_ms)
    }

    /// Compares the clock with the time that passed. To be called now and then, so that steps that are each a small one are
    /// seen too, and the lag is right again once a clock that was set forward is set back.
    #[cold]
    pub fn measure(&self) -> Now {
        let _measuring = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        self.measure_at(self.wall_ms(), since_boot_ms().saturating_add(self.passed_ms.load(Ordering::Relaxed)))
    }

    fn measure_at(&self, wall_ms: i64, since_boot_ms: i64) -> Now {
        if wall_ms >= SET_SINCE_MS && self.is_unset.swap(false, Ordering::Relaxed) {
            self.booted_at_ms.store(wall_ms.saturating_sub(since_boot_ms), Ordering::Relaxed);
        }
        let passed_ms = self.booted_at_ms.load(Ordering::Relaxed).saturating_add(since_boot_ms);
        let ms = self.latest_ms.load(Ordering::Relaxed).max(wall_ms).max(passed_ms);
        let behind_ms = Some(ms.saturating_sub(passed_ms)).filter(|behind| *behind > STEP_MAX_MS).unwrap_or(0);
        // Before the time itself: see `now`.
        self.behind_ms.store(behind_ms, Ordering::Relaxed);
        let ms = self.latest_ms.fetch_max(ms, Ordering::AcqRel).max(ms);
        Now { ms, behind_ms }
    }

    /// What is to be kept of it.
    pub fn kept(&self) -> Kept {
        Kept {
            latest_ms: self.latest_ms.load(Ordering::Relaxed),
            booted_at_ms: self.booted_at_ms.load(Ordering::Relaxed),
            boot: self.boot.clone(),
        }
    }

    /// For tests: as if the clock were so far ahead. On the way there time passes; back it is set.
    pub fn set_ahead_ms(&self, ahead_ms: i64) {
        let passed_ms = self.passed_ms.load(Ordering::Relaxed).max(ahead_ms);
        self.passed_ms.store(passed_ms, Ordering::Relaxed);
        self.set_step_ms(ahead_ms.saturating_sub(passed_ms));
        self.measure();
    }

    /// For tests: the clock is set by so much, and no time passes.
    pub fn set_step_ms(&self, set_ms: i64) {
        self.set_ms.store(set_ms, Ordering::Relaxed);
    }

    fn wall_ms(&self) -> i64 {
        let other_ms = self.passed_ms.load(Ordering::Relaxed).saturating_add(self.set_ms.load(Ordering::Relaxed));
        unix_ms().saturating_add(other_ms)
    }
}

/// Unix time in milliseconds by the system's clock.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the kernel booted, sleep included.
fn since_boot_ms() -> i64 {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let passed = rustix::time::clock_gettime(id);
    passed.tv_sec.saturating_mul(1_000).saturating_add(passed.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;
    const BOOT: i64 = 77_000;

    fn kept(latest_ms: i64, booted_at_ms: i64) -> Kept {
        Kept { latest_ms, booted_at_ms, boot: kept::boot() }
    }

    /// What the clock says after each pair of what the system's clock shows and how much time passed since it started.
    fn told(clock: &Clock, steps: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let told = |(wall, passed): &(i64, i64)| {
            let now = clock.measure_at(WALL + wall, BOOT + passed);
            (now.ms - WALL, now.behind_ms)
        };
        steps.iter().map(told).collect()
    }

    #[test]
    fn time_that_passes_is_believed_however_long_nobody_looked() {
        let clock = Clock::started(WALL, BOOT, None);
        assert_eq!(told(&clock, &[(0, 0), (90 * HOUR, 90 * HOUR)]), [(0, 0), (90 * HOUR, 0)]);
    }

    #[test]
    fn a_step_forward_holds_what_gives_back_for_as_long_and_one_back_ends_that() {
        let clock = Clock::started(WALL, BOOT, None);
        // Set right by seconds; then, an hour later, ten hours forward.
        assert_eq!(told(&clock, &[(4_000, 0), (11 * HOUR, HOUR)]), [(4_000, 0), (11 * HOUR, 10 * HOUR)]);
        assert_eq!(told(&clock, &[(12 * HOUR, 2 * HOUR)]), [(12 * HOUR, 10 * HOUR)], "and on");
        // Set back: it shows the latest until as much time has passed, by which what gives goes meanwhile.
        assert_eq!(
            told(&clock, &[(3 * HOUR, 3 * HOUR), (13 * HOUR, 13 * HOUR)]),
            [(12 * HOUR, 9 * HOUR), (13 * HOUR, 0)]
        );
    }

    #[test]
    fn small_steps_are_counted_together() {
        let clock = Clock::started(WALL, BOOT, None);
        let four = 4 * 60_000;
        assert_eq!(told(&clock, &[(four, 0), (2 * four, 0)]), [(four, 0), (2 * four, 2 * four)]);
    }

    #[test]
    fn a_step_back_changes_nothing_and_forward_again_neither() {
        let clock = Clock::started(WALL, BOOT, None);
        assert_eq!(told(&clock, &[(-HOUR, 0), (0, 1), (5, 5)]), [(0, 0), (1, 0), (5, 0)]);
        // What is to end ends by the time that passes, though the clock shows none.
        assert_eq!(told(&clock, &[(-9 * HOUR, HOUR), (-8 * HOUR, 2 * HOUR)]), [(HOUR, 0), (2 * HOUR, 0)]);
    }

    #[test]
    fn a_clock_that_was_not_set_is_believed_once_it_is() {
        let clock = Clock::started(0, BOOT, None);
        let now = clock.measure_at(WALL, BOOT + 9);
        assert_eq!((now.ms, now.behind_ms), (WALL, 0));
        let now = clock.measure_at(WALL + HOUR, BOOT + 9);
        assert_eq!((now.ms, now.behind_ms), (WALL + HOUR, HOUR), "and not again");
    }

    #[test]
    fn a_start_goes_on_from_what_was_kept() {
        // Set back while it was down: what ended stays ended, and what gives goes by the clock.
        let clock = Clock::started(WALL, BOOT, Some(&kept(WALL + HOUR, WALL - BOOT)));
        assert_eq!(told(&clock, &[(0, 0)]), [(HOUR, HOUR)]);
        // Set back while it was down, where the kernel counted on: a start believes it from there on.
        let clock = Clock::started(WALL - HOUR, BOOT, Some(&kept(WALL, WALL - BOOT)));
        assert_eq!(told(&clock, &[(-HOUR, 0), (HOUR, 2 * HOUR)]), [(0, HOUR), (HOUR, 0)]);
        // Set forward while it was down: the kernel knows that no time passed.
        let clock = Clock::started(WALL + HOUR, BOOT, Some(&kept(WALL, WALL - BOOT)));
        assert_eq!(told(&clock, &[(HOUR, 0)]), [(HOUR, HOUR)]);
        // After another boot nobody knows: the clock is believed.
        let other = Kept { boot: Some("another".to_owned()), ..kept(WALL, 0) };
        let clock = Clock::started(WALL + HOUR, BOOT, Some(&other));
        assert_eq!(told(&clock, &[(HOUR, 0)]), [(HOUR, 0)]);
    }

    #[test]
    fn a_request_after_a_step_sees_the_lag_with_the_new_time() {
        let clock = Clock::start(None);
        let before = clock.now();
        clock.set_step_ms(10 * HOUR);
        let now = clock.now();
        assert!(now.ms >= before.ms + 10 * HOUR && (now.behind_ms - 10 * HOUR).abs() < 60_000, "{now:?}");
        clock.set_ahead_ms(11 * HOUR);
        assert_eq!(clock.measure().behind_ms, 0);
    }
}
