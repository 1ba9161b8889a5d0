//! Hints that files may have changed, from whoever tells: bounded, coalesced, and never lost.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// More hints than this at once are a look at the whole tree, which is cheaper then.
const HINTS_MAX: usize = 256;

/// What wakes a loop that looks at files.
#[derive(Debug, Default)]
pub struct Hints {
    pending: Mutex<Wake>,
    bell: Condvar,
}

/// Why the loop wakes; nothing of it when a wait ran out.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    pub(crate) paths: HashSet<PathBuf>,
    pub(crate) tree: bool,
    pub(crate) rearm: bool,
    pub(crate) stop: bool,
}

impl Wake {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.tree && !self.rearm && !self.stop
    }
}

impl Hints {
    /// One file may have changed.
    pub fn path(&self, path: &Path) {
        let mut pending = self.lock();
        if pending.tree {
            return;
        }
        if pending.paths.len() < HINTS_MAX {
            pending.paths.insert(path.to_path_buf());
        } else {
            pending.paths.clear();
            pending.tree = true;
        }
        self.bell.notify_one();
    }

    /// Anything may have changed: look at the whole tree.
    pub fn tree(&self) {
        self.lock().tree = true;
        self.bell.notify_one();
    }

    /// A watch was lost: look at the whole tree, and watch it anew.
    pub fn rearm(&self) {
        self.lock().rearm = true;
        self.bell.notify_one();
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.bell.notify_one();
    }

    /// Waits for a hint, not returning one before `not_before`, and until `due` at most.
    pub(crate) fn wait(&self, not_before: Instant, due: Instant) -> Wake {
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            let until = if pending.is_empty() { due } else { not_before };
            if pending.stop || now >= until {
                return std::mem::take(&mut pending);
            }
            let waited = self.bell.wait_timeout(pending, until - now);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wake> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
