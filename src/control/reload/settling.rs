//! When what the policy folder gives may come into force, as far as the acts beside it go.
//!
//! The two folders are looked at by threads of their own. Whoever writes an act and then edits the policy (a revocation
//! that moves from one to the other, a rollback) must find both in force or neither that gives: so a policy folder that
//! has settled waits for a look at the acts that began after it was last seen to change.

use std::sync::Arc;
use std::time::Instant;

use crate::authz::policy::file::Origin;
use crate::control::folder::{Hints, Seen};

#[derive(Debug)]
pub(super) struct Settling {
    /// How the acts are looked at sooner. `None`: there is no folder of them.
    acts: Option<Arc<Hints>>,
    /// The end of the last look at the policy folder that saw a change.
    changed: Instant,
    /// The beginning of the last look at the acts.
    looked: Option<Instant>,
    /// The policy folder has settled and waits for the acts.
    waits: bool,
}

impl Settling {
    pub(super) fn new(acts: Option<Arc<Hints>>) -> Self {
        Self { acts, changed: Instant::now(), looked: None, waits: false }
    }

    /// The policy folder was read outside of these looks.
    pub(super) fn changed(&mut self) {
        self.changed = Instant::now();
    }

    /// A look at either folder. Whether the policy folder, as it was last read, may give now.
    pub(super) fn seen(&mut self, origin: Origin, seen: &Seen) -> bool {
        match origin {
            Origin::Policy => {
                if seen.scan.stirred || seen.scan.is_news() {
                    self.changed = seen.began + seen.took;
                }
                self.waits = seen.settled;
            }
            Origin::Override => {
                // Acts that cannot be read stand as they were; there is nothing to wait for.
                let is_whole = seen.scan.whole_tree && !seen.scan.in_flux;
                if is_whole || seen.scan.untold.is_some() {
                    self.looked = Some(seen.began);
                }
            }
        }
        let Some(acts) = &self.acts else { return self.waits };
        if !self.waits {
            return false;
        }
        let is_after = self.looked.is_some_and(|looked| looked >= self.changed);
        if !is_after {
            acts.tree();
        }
        is_after
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::control::folder::Scan;

    fn seen(began: Instant, stirred: bool, settled: bool) -> Seen {
        let scan = Scan {
            changed: Vec::new(),
            complete: false,
            gone: Vec::new(),
            problems: Arc::from([]),
            untold: None,
            root: None,
            files: 0,
            unreadable: 0,
            stirred,
            in_flux: false,
            whole_tree: true,
            last_change: SystemTime::UNIX_EPOCH,
        };
        Seen { scan, settled, began, took: Duration::from_millis(5), unwatched: None }
    }

    #[test]
    fn what_gives_waits_for_a_look_at_the_acts_that_began_after_it_was_read() {
        let mut settling = Settling::new(Some(Arc::default()));
        let at = |ms| Instant::now() + Duration::from_secs(1) + Duration::from_millis(ms);
        assert!(!settling.seen(Origin::Override, &seen(at(0), true, true)));
        assert!(!settling.seen(Origin::Policy, &seen(at(10), true, false)));
        // It began while the policy folder was still being read.
        assert!(!settling.seen(Origin::Override, &seen(at(12), false, true)));
        assert!(!settling.seen(Origin::Policy, &seen(at(600), false, true)));
        let mut one_file = seen(at(601), true, false);
        one_file.scan.whole_tree = false;
        assert!(!settling.seen(Origin::Override, &one_file), "what a hint named is not all there is");
        assert!(settling.seen(Origin::Override, &seen(at(601), false, false)), "an act that came does not settle");
        assert!(settling.seen(Origin::Policy, &seen(at(700), false, true)), "that look stands until a change");
        assert!(!settling.seen(Origin::Policy, &seen(at(800), true, false)));
        assert!(!settling.seen(Origin::Override, &seen(at(900), false, true)), "it has not settled");
        assert!(settling.seen(Origin::Policy, &seen(at(1_400), false, true)));
    }

    #[test]
    fn without_a_folder_of_acts_nothing_waits_for_one() {
        let mut settling = Settling::new(None);
        assert!(!settling.seen(Origin::Policy, &seen(Instant::now(), true, false)));
        assert!(settling.seen(Origin::Policy, &seen(Instant::now(), false, true)));
    }
}
