//! What is known of each file, and what a new look at it changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::look::Look;
use super::read::{Stamp, Unreadable};
use super::scan::Verify;
use super::walk::{Found, Walk};
use super::{Change, Digest, Held};

/// All files by shown path. Contents are not kept, digests are.
#[derive(Debug)]
pub(super) struct Ledger {
    known: HashMap<Arc<Path>, Known>,
    /// The unreadable ones among `known`.
    faulty: BTreeMap<Arc<Path>, Unreadable>,
    pub(super) gone_after: Duration,
    round: u64,
    /// Counts how often all files were verified.
    cycle: u64,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    /// `None`: unreadable.
    digest: Option<Digest>,
    racy: bool,
    missing_since: Option<Instant>,
    round: u64,
    cycle: u64,
}

/// What one look at the folder changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) changed: Vec<Change>,
    pub(super) gone: Vec<Arc<Path>>,
    pub(super) stirred: bool,
    pub(super) in_flux: bool,
}

impl Ledger {
    pub(super) fn new(gone_after: Duration) -> Self {
        Self { known: HashMap::new(), faulty: BTreeMap::new(), gone_after, round: 0, cycle: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn faulty(&self) -> &BTreeMap<Arc<Path>, Unreadable> {
        &self.faulty
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = (&Arc<Path>, &Digest)> {
        self.known.iter().filter_map(|(path, known)| Some((path, known.digest.as_ref()?)))
    }

    pub(super) fn forget(&mut self) {
        for known in self.known.values_mut() {
            known.stamp = None;
            known.digest = None;
        }
        self.faulty.clear();
    }

    /// The files of a walk that have to be read. Marks all of them as seen in this round.
    pub(super) fn wanted<'walk>(&mut self, walk: &'walk Walk, verify: Verify) -> Vec<&'walk Found> {
        self.round += 1;
        let mut to_verify = match verify {
            Verify::None => 0,
            Verify::Next(count) => count,
            Verify::All => usize::MAX,
        };
        let mut wanted = Vec::new();
        for found in &walk.files {
            let Some(known) = self.known.get_mut(found.shown.as_path()) else {
                wanted.push(found);
                continue;
            };
            known.round = self.round;
            known.missing_since = None;
            let moved = known.racy || found.stamp.ok() != known.stamp || known.stamp.is_none();
            let in_turn = to_verify > 0 && known.cycle != self.cycle;
            if in_turn {
                known.cycle = self.cycle;
                to_verify -= 1;
            }
            if moved || in_turn || verify == Verify::All {
                wanted.push(found);
            }
        }
        if to_verify > 0 && verify != Verify::None {
            self.cycle += 1;
        }
        wanted
    }

    /// A look without the text, where the text is known already: when all contents are verified, they must not all be
    /// in memory at once.
    pub(super) fn slim(&self, shown: &Path, look: Look) -> Look {
        match look {
            Look::Text { reading, digest, .. }
                if self.known.get(shown).is_some_and(|known| known.digest == Some(digest)) =>
            {
                Look::Text { reading, digest, text: String::new() }
            }
            other => other,
        }
    }

    /// Takes over what one file turned out to be.
    pub(super) fn note(&mut self, shown: &Path, look: Look, changes: &mut Changes) {
        let (round, cycle) = (self.round, self.cycle);
        let (path, mut before) = match self.known.remove_entry(shown) {
            Some((path, known)) => (path, Some(known)),
            None => (Arc::from(shown), None),
        };
        let fresh = Known { stamp: None, digest: None, racy: false, missing_since: None, round, cycle };
        let now = match look {
            Look::Text { reading, digest, text } => {
                let same = before.as_ref().and_then(|known| known.digest) == Some(digest);
                changes.stirred |= !same || before.as_ref().and_then(|known| known.stamp) != Some(reading.stamp);
                changes.in_flux |= reading.in_flux;
                self.faulty.remove(&path);
                if !same {
                    changes.changed.push(Change { path: path.clone(), held: Held::Text { digest, text: text.into() } });
                }
                let stamp = (!reading.in_flux).then_some(reading.stamp);
                Known { stamp, digest: Some(digest), racy: reading.racy, ..fresh }
            }
            Look::Fault(fault, stamp) => {
                if before.is_none() || self.faulty.get(&path) != Some(&fault) {
                    changes.stirred = true;
                    self.faulty.insert(path.clone(), fault);
                    changes.changed.push(Change { path: path.clone(), held: Held::Unreadable(fault) });
                }
                Known { stamp, ..fresh }
            }
            Look::Missing => match before.take() {
                Some(known) => return self.missing(path, known, changes),
                None => return,
            },
        };
        self.known.insert(path, now);
    }

    /// A file that is not there. It is gone when it stays so; until then the folder is in flux.
    fn missing(&mut self, path: Arc<Path>, mut known: Known, changes: &mut Changes) {
        let now = Instant::now();
        let since = *known.missing_since.get_or_insert(now);
        changes.stirred = true;
        if now.saturating_duration_since(since) >= self.gone_after {
            self.faulty.remove(&path);
            changes.gone.push(path);
        } else {
            changes.in_flux = true;
            self.known.insert(path, known);
        }
    }

    /// What was known and not met in this walk.
    pub(super) fn miss(&mut self, walk: &Walk, changes: &mut Changes) {
        let unmet = self.known.iter().filter(|(_, known)| known.round != self.round);
        let unmet: Vec<Arc<Path>> = unmet.map(|(path, _)| path.clone()).collect();
        if unmet.is_empty() {
            return;
        }
        let entered: HashSet<&Path> = walk.directories.iter().map(|directory| directory.shown.as_path()).collect();
        for path in unmet {
            let closed = walk.closed.iter().find(|(folder, _)| path.starts_with(folder));
            let is_there =
                || path.parent().is_some_and(|folder| entered.contains(folder)) && path.symlink_metadata().is_ok();
            match closed {
                Some((_, why)) => self.note(&path, Look::Fault(Unreadable::FolderClosed(*why), None), changes),
                // Renamed while the names were read: it will be met by the next walk.
                None if is_there() => changes.in_flux = true,
                None => self.note(&path, Look::Missing, changes),
            }
        }
    }
}
