//! So many questions a second, over all workers of a gate, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets a second's worth through at once, and then one after the other.
#[derive(Debug)]
pub struct Budget {
    began: Instant,
    /// Between two questions, in nanoseconds.
    apart_ns: u64,
    /// When all that was let through would be used up, in nanoseconds since it began.
    spent_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Budget {
    pub fn new(per_second: u32) -> Self {
        let apart_ns = SECOND_NS / u64::from(per_second.max(1));
        Self { began: Instant::now(), apart_ns, spent_ns: AtomicU64::new(0) }
    }

    /// Whether one more may be asked now.
    pub fn take(&self, now: Instant) -> bool {
        let now_ns = nanos(now.saturating_duration_since(self.began));
        let spend = |spent_ns: u64| {
            let spent_ns = spent_ns.max(now_ns) + self.apart_ns;
            (spent_ns <= now_ns + SECOND_NS).then_some(spent_ns)
        };
        self.spent_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_as_it_says_and_no_more() {
        let budget = Budget::new(5);
        let at = |ms| budget.began + Duration::from_millis(ms);
        let taken = |ms, times: usize| (0..times).filter(|_| budget.take(at(ms))).count();
        assert_eq!(taken(0, 9), 5, "a second's worth at once");
        assert_eq!(taken(199, 9), 0);
        assert_eq!(taken(200, 9), 1);
        assert_eq!(taken(1_000, 9), 4);
        assert_eq!(taken(900, 9), 0, "a clock that seems to step back gives nothing");
        assert_eq!(taken(60_000, 99), 5, "what was not used is not saved up");
    }
}
