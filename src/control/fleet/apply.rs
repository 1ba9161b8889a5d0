//! What the bucket says, on the disk and in force: judged by the one loader first, then written whole, then told to the loader,
//! which does not hang on the file. It blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::known::{Digest, Step, digest};
use crate::acts::{Act, ActId};
use crate::authz::policy::store::Content;
use crate::control::overrides::{NotWritten, Overrides};
use crate::control::reload::{Holder, Said, TryOut};

/// How often parts of a batch are judged until each act is kept out for itself alone. What is left then is judged by the
/// part: of a flood of broken acts some sound ones are refused as well, and tried again when the policy changes.
const TRIES_MAX: usize = 256;

/// Who may write the acts. A thread that a slow disk holds up outlives its session: what it was to write must not be written
/// over what the next session has read since.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    alone: Arc<Mutex<()>>,
    newest: Arc<AtomicU64>,
}

/// One session's turns.
#[derive(Debug, Clone)]
pub struct Turn {
    of: Turns,
    number: u64,
}

impl Turns {
    /// A session begins. Those before it write nothing more, but what they have begun.
    pub fn begin(&self) -> Turn {
        Turn { of: self.clone(), number: self.newest.fetch_add(1, Ordering::SeqCst) + 1 }
    }
}

impl Turn {
    /// Does it once nobody else does such a thing. `None`: another session has begun. It blocks.
    pub fn take<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let _alone = self.of.alone.lock().unwrap_or_else(PoisonError::into_inner);
        (self.of.newest.load(Ordering::SeqCst) == self.number).then(work)
    }
}

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
    /// What the loader was told.
    pub told: Vec<Said>,
    /// The disk did not take this much; it is tried again.
    pub failed: Option<String>,
}

/// Carries the last step of each act out.
pub fn apply(steps: Vec<Step>, overrides: &Overrides, (try_out, holder): (&TryOut, &Holder)) -> Applied {
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
    holder.tell(applied.told.clone());
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
            Ok(()) => self.holds(&act, overrides),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn holds(&mut self, act: &Act, overrides: &Overrides) {
        self.expect.insert(act.id.clone(), Expect::Text(digest(&act.text)));
        self.told.push((overrides.file(&act.id).into(), Some(Arc::clone(&act.text))));
    }

    fn remove(&mut self, id: ActId, overrides: &Overrides) {
        match overrides.remove(&id) {
            Ok(()) | Err(NotWritten::NoSuchAct(_)) => {
                self.told.push((overrides.file(&id).into(), None));
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
        let faults = |acts: &[&Act]| {
            let faults = try_out.faults(acts.iter().map(|act| change(act)).collect())?;
            let told = |act: &Act| {
                let file = overrides.file(&act.id);
                faults.iter().find(|(path, _)| **path == *file).map(|(_, problem)| problem.message.clone())
            };
            Some(acts.iter().map(|act| told(act)).collect())
        };
        let Some(sorted) = sort_out(acts, faults) else {
            self.failed = Some("the loader is gone".to_owned());
            return;
        };
        self.refused.extend(sorted.refused);
        for act in sorted.fit {
            match overrides.mirror(&act) {
                Ok(()) => {
                    self.holds(&act, overrides);
                    self.written.push(act);
                }
                Err(error) => self.failed = Some(error.to_string()),
            }
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    fit: Vec<Act>,
    /// With the reason.
    refused: Vec<(Act, String)>,
}

/// Which acts fit into force together, and why the others do not. The loader blames every file that may be the cause of
/// a fault; so that no act is kept out for another that came with it, a part with a fault is tried in halves, each
/// beside what was found to fit. `faults` says for each act why it would be kept out. `None`: it cannot say.
fn sort_out(acts: Vec<Act>, mut faults: impl FnMut(&[&Act]) -> Option<Vec<Option<String>>>) -> Option<Sorted> {
    let Sorted { mut fit, mut refused } = Sorted::default();
    let (mut parts, mut tries) = (vec![acts], 0);
    while let Some(mut part) = parts.pop() {
        tries += 1;
        let told = faults(&fit.iter().chain(&part).collect::<Vec<_>>())?;
        if told.iter().all(Option::is_none) {
            fit.append(&mut part);
        } else if part.len() > 1 && tries < TRIES_MAX {
            let second = part.split_off(part.len() / 2);
            parts.extend([second, part]);
        } else {
            // What fitted before does not make room for what comes now.
            let displaces = told.iter().take(fit.len()).find_map(Option::as_ref);
            let mut own: Vec<Option<String>> = told.get(fit.len()..).unwrap_or_default().to_vec();
            if let Some(why) = displaces {
                own.iter_mut().for_each(|told| *told = Some(told.take().unwrap_or_else(|| why.clone())));
            }
            for (act, why) in part.into_iter().zip(own) {
                match why {
                    Some(why) => refused.push((act, why)),
                    None => fit.push(act),
                }
            }
        }
    }
    Some(Sorted { fit, refused })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::acts::Kind;

    fn act(text: &str) -> Act {
        Act { id: ActId::new(Kind::Revoke, 1_795_165_200_000, 1), text: text.into() }
    }

    fn many(count: u32) -> Vec<Act> {
        (0..count)
            .map(|n| Act { id: ActId::new(Kind::Revoke, 1_795_165_200_000, n), text: n.to_string().into() })
            .collect()
    }

    fn texts(acts: &[Act]) -> Vec<&str> {
        acts.iter().map(|act| &*act.text).collect()
    }

    /// A loader that blames every act of what it is given where these are in it.
    fn blames_all_for<'b>(broken: &'b [&'b str]) -> impl FnMut(&[&Act]) -> Option<Vec<Option<String>>> + 'b {
        |acts| {
            let is_broken = acts.iter().any(|act| broken.contains(&&*act.text));
            Some(acts.iter().map(|_| is_broken.then(|| "broken".to_owned())).collect())
        }
    }

    #[test]
    fn what_a_session_before_was_to_write_is_not_written_over_what_was_read_since() {
        let turns = Turns::default();
        let (before, told) = (turns.begin(), std::sync::mpsc::channel());
        assert_eq!(before.take(|| 1), Some(1));
        let (begun, go_on) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        std::thread::scope(|scope| {
            let (slow, tell) = (before.clone(), told.0.clone());
            scope.spawn(move || {
                slow.take(|| {
                    begun.0.send(()).unwrap();
                    go_on.1.recv().unwrap();
                    tell.send("what was begun").unwrap();
                })
            });
            begun.1.recv().unwrap();
            let now = turns.begin();
            let tell = told.0.clone();
            scope.spawn(move || now.take(|| tell.send("what was read since").unwrap()).unwrap());
            go_on.0.send(()).unwrap();
        });
        assert_eq!(before.take(|| told.0.send("late").unwrap()), None);
        drop(told.0);
        assert_eq!(told.1.iter().collect::<Vec<_>>(), ["what was begun", "what was read since"]);
    }

    #[test]
    fn an_act_that_does_not_fit_keeps_no_other_out() {
        for broken in [&["0"][..], &["7"], &["3", "4"], &["0", "9"], &[]] {
            let Sorted { fit, refused } = sort_out(many(10), blames_all_for(broken)).unwrap();
            assert_eq!(fit.len() + refused.len(), 10);
            let refused: Vec<Act> = refused.into_iter().map(|(act, _)| act).collect();
            assert_eq!(texts(&refused), broken);
        }
        assert_eq!(sort_out(many(3), |_| None), None, "nobody says so");
    }

    #[test]
    fn of_two_acts_that_do_not_go_together_the_first_stands() {
        let both = |acts: &[&Act]| {
            let has = |text: &str| acts.iter().any(|act| &*act.text == text);
            let clash = has("2") && has("5");
            Some(acts.iter().map(|act| (clash && &*act.text == "2").then(|| "5 says otherwise".to_owned())).collect())
        };
        let Sorted { fit, refused } = sort_out(many(8), both).unwrap();
        assert_eq!(texts(&fit), ["0", "1", "2", "3", "4", "6", "7"]);
        assert_eq!(refused.len(), 1);
    }

    #[test]
    fn a_flood_of_broken_acts_is_judged_a_bounded_number_of_times() {
        let all: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
        let broken: Vec<&str> = all.iter().map(String::as_str).collect();
        let (mut tries, mut loader) = (0, blames_all_for(&broken));
        let counted = |acts: &[&Act]| {
            tries += 1;
            loader(acts)
        };
        let Sorted { fit, refused } = sort_out(many(5_000), counted).unwrap();
        assert_eq!((fit.len(), refused.len()), (0, 5_000));
        assert!(tries < 2 * TRIES_MAX + 64, "{tries}");
    }

    #[test]
    fn what_was_held_stands_on_the_disk_again_if_somebody_took_it_away() {
        let base = tempfile::tempdir().unwrap();
        let overrides = Overrides::new(base.path().join("fleet/acts"));
        let held = act("version: 1\n");
        let same = || {
            let mut applied = Applied::default();
            applied.keep(held.clone(), &overrides);
            let told = applied.told.iter().all(|(_, text)| text.as_ref() == Some(&held.text));
            assert!(told && applied.told.len() == applied.expect.len());
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
        assert_eq!(applied.told, [(overrides.file(&act("").id).into(), None)], "the loader hears it from nobody else");
    }
}
