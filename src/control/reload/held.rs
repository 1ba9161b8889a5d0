//! The acts of a fleet, as its session says them. Their files are copies for the next start: whoever deletes one, empties it,
//! writes over it or moves the folder away changes nothing of what is in force (law 8).
//!
//! A file of which the session has said nothing is an act like in any other folder, and goes when it goes.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::acts::ActId;
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::{Change, Content};
use crate::control::folder::{Digest, Held, Scan};
use crate::control::overrides::ACTS_MAX;

/// What is said of an act's file: the text that holds from now on, or `None`: it is taken back.
pub type Said = (Arc<Path>, Option<Arc<str>>);

/// What holds, and what the files say.
#[derive(Default)]
pub(super) struct HeldActs {
    acts: HashMap<Arc<Path>, Digest>,
    withdrawn: Withdrawn,
    /// As each file was last read. `None`: it could not be.
    copies: HashMap<Arc<Path>, Option<Digest>>,
    /// The folder of the copies cannot be told at all.
    is_lost: bool,
    is_started: bool,
}

impl HeldActs {
    /// What was read until now is what was known when the gate started. From here on it holds until the session says otherwise.
    pub(super) fn start(&mut self) {
        self.is_started = true;
        let read = self.copies.iter().filter_map(|(file, copy)| Some((Arc::clone(file), (*copy)?)));
        self.acts = read.collect();
    }

    /// Takes in a look at the copies.
    pub(super) fn look(&mut self, scan: &Scan) {
        self.is_lost = scan.untold.is_some();
        if scan.complete {
            self.copies.clear();
        }
        for file in &scan.gone {
            self.copies.remove(file);
        }
        for change in &scan.changed {
            let digest = match &change.held {
                Held::Text { digest, .. } => Some(*digest),
                Held::Unreadable(_) => None,
            };
            self.copies.insert(Arc::clone(&change.path), digest);
        }
    }

    /// Whether what became of this file is nothing to the act.
    pub(super) fn spares(&self, file: &Path) -> bool {
        self.is_started && (self.acts.contains_key(file) || self.withdrawn.contains(file))
    }

    /// Takes in what a session says. Gives what changes by it.
    pub(super) fn take(&mut self, said: Vec<Said>) -> Vec<Change> {
        let change = |(file, text): Said| {
            let content = match text {
                Some(text) => {
                    self.withdrawn.remove(&file);
                    self.acts.insert(Arc::clone(&file), Sha256::digest(text.as_bytes()).into());
                    Content::Text(text)
                }
                None => {
                    self.acts.remove(&file);
                    self.withdrawn.insert(&file);
                    Content::Gone
                }
            };
            Change { file, origin: Origin::Override, content }
        };
        said.into_iter().map(change).collect()
    }

    /// The acts whose files do not say what holds.
    pub(super) fn amiss(&self) -> BTreeSet<ActId> {
        let differs =
            |(file, digest): &(&Arc<Path>, &Digest)| self.is_lost || self.copies.get(*file) != Some(&Some(**digest));
        let held = self.acts.iter().filter(differs).map(|(file, _)| file);
        let back = self.copies.keys().filter(|file| self.withdrawn.contains(file));
        held.chain(back).filter_map(|file| ActId::of_file(file)).collect()
    }
}

/// Acts that were taken back in this life: a copy of one that turns up again is not in force. As many as there may be acts,
/// the latest; of others the session says so once more when it sees them in force.
#[derive(Default)]
struct Withdrawn {
    all: HashSet<Arc<Path>>,
    order: VecDeque<Arc<Path>>,
}

impl Withdrawn {
    fn contains(&self, file: &Path) -> bool {
        self.all.contains(file)
    }

    fn insert(&mut self, file: &Arc<Path>) {
        if !self.all.insert(Arc::clone(file)) {
            return;
        }
        self.order.push_back(Arc::clone(file));
        if self.order.len() > ACTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    fn remove(&mut self, file: &Path) {
        if self.all.remove(file) {
            self.order.retain(|other| **other != *file);
        }
    }
}
