//! How often requests were refused lately, so that whoever tries tokens fills no log.
//!
//! Nobody who shows a good credential is ever held up: a guarded app shares loopback with the gate, and could else keep
//! its admin out by failing often. A token has at least 64 bits, so no rate finds it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many at once are answered in full.
const BURST: f64 = 20.0;
/// And so many a second after that.
const PER_SECOND: f64 = 2.0;

#[derive(Debug)]
pub(super) struct Failures(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    room: f64,
    filled: Instant,
    /// Refused since the last that was said.
    unsaid: u64,
}

impl Default for Failures {
    fn default() -> Self {
        Self(Mutex::new(Bucket { room: BURST, filled: Instant::now(), unsaid: 0 }))
    }
}

impl Failures {
    /// `Some`: it is said, together with so many that were not. `None`: there are too many.
    pub(super) fn one_more(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).one_more(Instant::now())
    }
}

impl Bucket {
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * PER_SECOND;
        (self.room, self.filled) = ((self.room + gained).min(BURST), now);
        if self.room < 1.0 {
            self.unsaid += 1;
            return None;
        }
        self.room -= 1.0;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_answered_then_some_a_second_and_those_between_are_counted() {
        let start = Instant::now();
        let mut bucket = Bucket { room: BURST, filled: start, unsaid: 0 };
        assert!((0..20).all(|_| bucket.one_more(start) == Some(0)));
        assert!((0..5).all(|_| bucket.one_more(start).is_none()));
        let later = start + Duration::from_secs(1);
        assert_eq!([(); 3].map(|()| bucket.one_more(later)), [Some(5), Some(0), None]);
    }
}
