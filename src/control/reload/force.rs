//! What is in force of the acts, for whoever waits until one is.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::acts::ActId;
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::Store;

/// How an act stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    InForce,
    /// It is there and cannot be taken, for this reason.
    Refused(String),
}

/// The acts as the newest snapshot has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    pub generation: u64,
    pub digest: String,
    pub acts: BTreeMap<ActId, Standing>,
    /// The SHA-256 of the text in which each is in force.
    pub texts: BTreeMap<ActId, [u8; 32]>,
    /// Acts of a fleet whose files do not say what holds.
    pub amiss: BTreeSet<ActId>,
}

/// Where the writer tells it.
#[derive(Debug, Clone)]
pub struct Force(watch::Sender<InForce>);

impl Default for Force {
    fn default() -> Self {
        Self(watch::Sender::new(InForce::default()))
    }
}

impl Force {
    pub fn watch(&self) -> watch::Receiver<InForce> {
        self.0.subscribe()
    }

    /// Wakes nobody if nothing changed.
    pub(super) fn tell(&self, generation: u64, digest: &str, store: &Store, amiss: BTreeSet<ActId>) {
        let acts = store.overrides_standing().filter_map(|(path, problem)| {
            let standing = problem.map_or(Standing::InForce, |problem| Standing::Refused(problem.message.clone()));
            Some((ActId::of_file(path)?, standing))
        });
        let overrides = store.in_force().filter(|(origin, _, _)| *origin == Origin::Override);
        let texts = overrides.filter_map(|(_, path, digest)| Some((ActId::of_file(path)?, digest))).collect();
        let now = InForce { generation, digest: digest.to_owned(), acts: acts.collect(), texts, amiss };
        self.0.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}
