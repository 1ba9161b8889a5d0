//! When to look at the folder next: at once where it matters, and never for more than a small share of a core.

use std::time::{Duration, Instant};

use super::scan::Verify;
use super::{GONE_AFTER, Scan};

/// After a look, the next hint waits as long as the look took, between these: a folder written to without pause costs
/// half of a core at most. The first hint after a quiet time never waits.
const BREATH: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(100));

/// Polling may take half a per cent of a core: a look at the whole tree, with the contents that it verifies, is
/// followed by 200 times its own length without one.
const POLL_REST: u32 = 200;

/// Every file is read this often although its stamp stands still.
const VERIFY_ALL: Duration = Duration::from_secs(60);

/// A folder that never stands still is looked at this often at least: while one file is written without end, the
/// deletion of another must still be confirmed.
const RELOOK_MAX: Duration = GONE_AFTER.saturating_mul(8);

/// When to look next.
#[derive(Debug)]
pub(super) struct Pace {
    poll: (Duration, Duration),
    interval: Duration,
    /// The next look at the whole tree.
    next: Instant,
    /// The next look at something that moves.
    relook: Option<Instant>,
    relook_after: Duration,
    not_before: Instant,
}

impl Pace {
    pub(super) fn new(poll: (Duration, Duration)) -> Self {
        let now = Instant::now();
        Self { poll, interval: poll.0, next: now, relook: None, relook_after: GONE_AFTER, not_before: now }
    }

    pub(super) fn due(&self) -> Instant {
        self.relook.map_or(self.next, |relook| relook.min(self.next))
    }

    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// So many files at each poll that all have their turn within [`VERIFY_ALL`], without one long pause for all:
    /// a revocation may come at any moment.
    pub(super) fn verify(&self, files: usize) -> Verify {
        let polls = (VERIFY_ALL.as_secs_f64() / self.interval.as_secs_f64().max(0.001)).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 100,000 files")]
        let share = (files as f64 / polls).ceil() as usize;
        if Instant::now() >= self.next { Verify::Next(share + 1) } else { Verify::None }
    }

    pub(super) fn looked(&mut self, began: Instant, took: Duration, scan: Option<&Scan>) {
        let ended = began + took;
        self.not_before = ended + took.clamp(BREATH.0, BREATH.1);
        let Some(scan) = scan else { return };
        if scan.whole_tree {
            // A look that read many files says nothing about the cost of one that reads none.
            let cost = if scan.stirred { Duration::ZERO } else { took };
            self.interval = cost.saturating_mul(POLL_REST).clamp(self.poll.0, self.poll.1);
            self.next = ended + self.interval;
        }
        if scan.in_flux {
            self.relook = Some(ended + self.relook_after.max(took.saturating_mul(4)));
            self.relook_after = self.relook_after.saturating_mul(2).min(RELOOK_MAX);
        } else if scan.whole_tree {
            self.relook = None;
            self.relook_after = GONE_AFTER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Folder;
    use super::*;

    #[test]
    fn every_file_has_its_turn_within_a_minute_and_none_between_polls() {
        let second = Duration::from_secs(1);
        for (interval, files, least) in [(second, 6_000, 100), (5 * second, 6_000, 500), (60 * second, 6_000, 6_000)] {
            let mut pace = Pace::new((interval, interval));
            let Verify::Next(at_once) = pace.verify(files) else { panic!("the first look is due") };
            assert!((least..=least + 1).contains(&at_once), "{at_once} of {files} each {interval:?}");
            let polls = VERIFY_ALL.as_secs() / interval.as_secs();
            assert!(at_once as u64 * polls >= files as u64);
            let folder = tempfile::tempdir().expect("a folder");
            let scan = Folder::new(folder.path()).scan(Verify::All);
            pace.looked(Instant::now(), Duration::ZERO, Some(&scan));
            assert_eq!(pace.verify(files), Verify::None, "a hint reads what it names");
        }
    }
}
