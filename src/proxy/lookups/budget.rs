//! So many questions a second, over all workers of a gate, without a lock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many shares there are. Apps that are counted by the same one have half of all together.
const SHARES: usize = 64;
/// So long after two apps asked none may have more than its share.
const SHARED_FOR: Duration = Duration::from_secs(10);

/// One budget for all. While several apps ask, one takes half of it at the most.
#[derive(Debug)]
pub struct Shared {
    all: Budget,
    of_apps: Box<[Budget]>,
    /// The app that asked last, as its hash.
    last: AtomicU64,
    /// Until when it is shared, in nanoseconds since it began.
    until_ns: AtomicU64,
}

impl Shared {
    pub fn new(per_second: u32) -> Self {
        let of_apps = (0..SHARES).map(|_| Budget::new(per_second.div_ceil(2))).collect();
        Self { all: Budget::new(per_second), of_apps, last: AtomicU64::new(0), until_ns: AtomicU64::new(0) }
    }

    /// Whether this app may ask one more now.
    pub fn take(&self, app: &str, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        app.hash(&mut hasher);
        // Zero is nobody.
        let hash = hasher.finish() | 1;
        let now_ns = nanos(now.saturating_duration_since(self.all.began));
        let before = self.last.swap(hash, Ordering::Relaxed);
        if before != hash && before != 0 {
            self.until_ns.fetch_max(now_ns + nanos(SHARED_FOR), Ordering::Relaxed);
        }
        let share = self.of_apps.get(usize::try_from(hash >> 1).unwrap_or_default() % SHARES);
        // What an app that is alone takes counts as well: its share is used up where another one comes.
        let has_share = share.is_none_or(|share| share.take(now));
        (has_share || now_ns >= self.until_ns.load(Ordering::Relaxed)) && self.all.take(now)
    }
}

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
    fn an_app_that_is_alone_has_all_and_leaves_half_where_another_comes() {
        let budget = Shared::new(10);
        let at = |ms| budget.all.began + Duration::from_millis(ms);
        let taken = |app, ms, times: usize| (0..times).filter(|_| budget.take(app, at(ms))).count();
        assert_eq!(taken("greedy", 0, 99), 10);
        // It asks on and on, and takes whatever comes.
        let both = |ms| (taken("greedy", ms, 9), taken("other", ms, 1));
        let (mut greedy, mut other) = (0, 0);
        for ms in (100..5_100).step_by(100) {
            let (one, two) = both(ms);
            (greedy, other) = (greedy + one, other + two);
        }
        assert!(other >= 20 && greedy + other <= 51, "{greedy} and {other} of fifty");
        taken("greedy", 30_000, 1);
        assert_eq!(taken("greedy", 41_000, 99), 10, "alone again");
    }

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
