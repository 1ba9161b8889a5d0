//! How long the streams are judged at a stretch: other requests take turns with them.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// A worker does nothing else for so long: each hop of another request waits for one slice at the most.
const SLICE: Duration = Duration::from_micros(250);

/// Streams that are cut in one slice: each then has a task to end, some 30 µs.
const CUTS_MAX: u32 = 32;

/// Streams between two looks at the clock.
const LOOK_EVERY: u32 = 16;

/// A worker that is busy comes back late: from here on a pass takes larger slices, so that it ends within the second of
/// law 8 whatever else there is.
const HURRY_AFTER: Duration = Duration::from_millis(300);

/// What one pass over the streams may do before it lets others go on.
#[derive(Debug)]
pub struct Slice {
    pass_began: Instant,
    began: Instant,
    seen: u32,
    cuts: u32,
}

impl Slice {
    /// The first of a pass.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { pass_began: now, began: now, seen: 0, cuts: 0 }
    }

    /// Another stream was looked at; lets others go on where it was enough.
    pub async fn after_one(&mut self, is_cut: bool) {
        self.seen += 1;
        self.cuts += u32::from(is_cut);
        if !is_cut && !self.seen.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let now = Instant::now();
        let patience = hurry(now - self.pass_began);
        if self.cuts >= CUTS_MAX * patience || now - self.began >= SLICE * patience {
            yield_now().await;
            *self = Self { pass_began: self.pass_began, ..Self::begin() };
        }
    }
}

/// How many times as long a slice is, so long after the beginning of the pass.
fn hurry(since: Duration) -> u32 {
    match since {
        _ if since < HURRY_AFTER => 1,
        _ if since < HURRY_AFTER * 2 => 4,
        _ => 16,
    }
}
