//! What the bucket says, on the disk: judged by the one loader first, then written whole. It blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::known::{Digest, Step, digest};
use crate::acts::{Act, ActId};
use crate::authz::policy::store::Content;
use crate::control::overrides::{NotWritten, Overrides};
use crate::control::reload::TryOut;

/// What the snapshot in force must say of an act before a message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Text(Digest),
    Gone,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Applied {
    pub written: Vec<Act>,
    pub removed: Vec<ActId>,
    pub refused: Vec<(Act, String)>,
    pub expect: BTreeMap<ActId, Expect>,
    /// The disk did not take this much; it is tried again.
    pub failed: Option<String>,
}

/// Carries the last step of each act out.
pub fn apply(steps: Vec<Step>, overrides: &Overrides, try_out: &TryOut) -> Applied {
    let mut last: BTreeMap<ActId, Step> = BTreeMap::new();
    for step in steps {
        let id = match &step {
            Step::Write(act) | Step::Same(act) => &act.id,
            Step::Remove(id) => id,
            Step::Nothing => continue,
        };
        last.insert(id.clone(), step);
    }
    let mut applied = Applied::default();
    let mut to_write = Vec::new();
    for (id, step) in last {
        match step {
            Step::Write(act) => to_write.push(act),
            Step::Same(act) => applied.keep(act, overrides),
            Step::Remove(_) => applied.remove(id, overrides),
            Step::Nothing => {}
        }
    }
    applied.write(to_write, overrides, try_out);
    applied
}

impl Applied {
    /// It was taken before. Where somebody took its file away or wrote over it, what the bucket says stands there again.
    fn keep(&mut self, act: Act, overrides: &Overrides) {
        let written = match overrides.read(&act.id) {
            Some(there) if there == act => Ok(()),
            Some(_) | None => {
                tracing::error!(act = %act.id, "its file was deleted or changed by somebody: it is written anew");
                overrides.mirror(&act)
            }
        };
        match written {
            Ok(()) => drop(self.expect.insert(act.id.clone(), Expect::Text(digest(&act.text)))),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    /// Where the whole folder was deleted it is made: without one the loader leaves everything in force.
    fn remove(&mut self, id: ActId, overrides: &Overrides) {
        match overrides.make_folder().and_then(|()| overrides.remove(&id)) {
            Ok(()) | Err(NotWritten::NoSuchAct(_)) => {
                self.expect.insert(id.clone(), Expect::Gone);
                self.removed.push(id);
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn write(&mut self, acts: Vec<Act>, overrides: &Overrides, try_out: &TryOut) {
        if acts.is_empty() {
            return;
        }
        let change = |act: &Act| -> (Arc<Path>, Content) {
            (overrides.file(&act.id).into(), Content::Text(Arc::clone(&act.text)))
        };
        let Some(faults) = try_out.faults(acts.iter().map(change).collect()) else {
            self.failed = Some("the loader is gone".to_owned());
            return;
        };
        for act in acts {
            let file = overrides.file(&act.id);
            if let Some((_, problem)) = faults.iter().find(|(path, _)| **path == *file) {
                self.refused.push((act, problem.message.clone()));
                continue;
            }
            match overrides.mirror(&act) {
                Ok(()) => {
                    self.expect.insert(act.id.clone(), Expect::Text(digest(&act.text)));
                    self.written.push(act);
                }
                Err(error) => self.failed = Some(error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::acts::Kind;

    fn act(text: &str) -> Act {
        Act { id: ActId::new(Kind::Revoke, 1_795_165_200_000, 1), text: text.into() }
    }

    #[test]
    fn what_was_held_stands_on_the_disk_again_if_somebody_took_it_away() {
        let base = tempfile::tempdir().unwrap();
        let overrides = Overrides::new(base.path().join("fleet/acts"));
        let held = act("version: 1\n");
        let same = || {
            let mut applied = Applied::default();
            applied.keep(held.clone(), &overrides);
            (applied.failed, applied.expect.into_values().collect::<Vec<_>>())
        };
        let there = || (None, vec![Expect::Text(digest(&held.text))]);
        assert_eq!(same(), there(), "the folder is gone");
        assert_eq!(overrides.read(&held.id), Some(held.clone()));
        overrides.mirror(&act("somebody else's\n")).unwrap();
        assert_eq!(same(), there());
        assert_eq!(overrides.read(&held.id), Some(held.clone()));
        std::fs::remove_file(overrides.file(&held.id)).unwrap();
        assert_eq!(same(), there());
        assert_eq!(overrides.read(&held.id), Some(held.clone()));
        std::fs::remove_dir_all(base.path().join("fleet")).unwrap();
        std::fs::write(base.path().join("fleet"), "").unwrap();
        assert!(matches!(same(), (Some(_), expect) if expect.is_empty()), "what cannot be written is not expected");
    }

    #[test]
    fn an_act_goes_with_a_folder_that_is_gone_already() {
        let base = tempfile::tempdir().unwrap();
        let overrides = Overrides::new(base.path().join("fleet/acts"));
        let mut applied = Applied::default();
        applied.remove(act("").id, &overrides);
        assert_eq!((applied.failed, applied.removed), (None, vec![act("").id]));
        assert!(overrides.folder().is_dir(), "the loader says of a folder that is not there that everything stands");
    }
}
