//! Drops acts that the settled policy says itself (DESIGN §7), with a line in the journal.
//!
//! Only where nobody else can hang on them: in an overrides folder within the gate's own state folder, on the same device,
//! with no link that leads out of it. Gates that share one may have policies of their own, which may not say it yet.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Settings;
use crate::acts::ActId;
use crate::authz::policy::document::Document;
use crate::authz::policy::file::{Origin, parse, parse_bytes};
use crate::authz::policy::store::{Place, Said, Store, says_with_the_same_words};
use crate::control::folder::{FILE_BYTES_MAX, read};
use crate::control::journal::{InForce, Journal};
use crate::control::overrides::{NotWritten, Overrides};

/// How long after an act could not be looked at alone the next look is taken, at the least.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The file of an act that was dropped, and what the journal is told of it.
type Dropped = (Arc<Path>, String);

/// What drops them, on threads of its own: a slow disk must not keep the writer from the next revocation.
pub(super) struct Dropper {
    /// `None`: the acts are not this gate's alone, or nothing could tell of it.
    own: Option<Own>,
    /// Something is in force that has not been looked at.
    due: Arc<AtomicBool>,
    busy: Arc<AtomicBool>,
    /// Acts whose files are gone, and what the journal is to say of it.
    dropped: Arc<Mutex<Vec<Dropped>>>,
}

impl Dropper {
    pub(super) fn new(settings: &Settings) -> Self {
        let own = settings.overrides.as_deref().zip(settings.state.as_deref());
        let own = own.filter(|_| settings.journal.is_some() && !settings.acts_are_shared);
        let own = own.map(|(overrides, state)| Own { overrides: Overrides::new(overrides), state: state.to_owned() });
        Self { own, due: Arc::default(), busy: Arc::default(), dropped: Arc::default() }
    }

    /// Another snapshot is in force.
    pub(super) fn published(&self) {
        self.due.store(true, Ordering::SeqCst);
    }

    /// Drops what can go, if the folder has settled. After everything else of a look.
    pub(super) fn look(&self, store: &Store, journal: Option<&Journal>) {
        let (Some(own), Some(journal)) = (&self.own, journal) else { return };
        let is_due = self.due.load(Ordering::SeqCst);
        // What cannot be told of waits.
        if !is_due || store.is_waiting() || journal.failing().is_some() || self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        self.due.store(false, Ordering::SeqCst);
        let said = store.said_by_policy();
        let (own, dropped) = (own.clone(), Arc::clone(&self.dropped));
        let (busy, due) = (Arc::clone(&self.busy), Arc::clone(&self.due));
        let drop_all = move || {
            if own.drop_all(&said, &dropped) == Outcome::Held {
                sleep(AGAIN_AFTER);
                due.store(true, Ordering::SeqCst);
            }
            busy.store(false, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("acts-dropped".into()).spawn(drop_all).is_err() {
            self.busy.store(false, Ordering::SeqCst);
            self.due.store(true, Ordering::SeqCst);
        }
    }

    /// What the journal is to say of acts that are in force no more.
    pub(super) fn told(&self, files: &[InForce]) -> Vec<String> {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |path: &Path| !files.iter().any(|file| *file.path == *path);
        let lines = dropped.extract_if(.., |(path, _)| gone(path)).map(|(_, line)| line);
        lines.collect()
    }
}

/// The acts that may be this gate's alone.
#[derive(Debug, Clone)]
struct Own {
    overrides: Overrides,
    state: PathBuf,
}

/// What became of the acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    LookedAt,
    /// Somebody holds the folder: they are to be looked at again.
    Held,
}

impl Own {
    /// Asked each time anew: a folder can be mounted or linked under a running gate.
    fn drop_all(&self, said: &[Said], dropped: &Mutex<Vec<(Arc<Path>, String)>>) -> Outcome {
        if said.is_empty() || !is_within(self.overrides.folder(), &self.state) {
            return Outcome::LookedAt;
        }
        for said in said {
            if drop_one(&self.overrides, said, dropped) == Outcome::Held {
                return Outcome::Held;
            }
        }
        Outcome::LookedAt
    }
}

/// Whether the folder is where its path says, and nothing of another machine's is mounted there.
fn is_within(overrides: &Path, state: &Path) -> bool {
    let place = |folder: &Path| Some((folder.canonicalize().ok()?, folder.metadata().ok()?.dev()));
    let (Some((overrides, device)), Some((state, own))) = (place(overrides), place(state)) else { return false };
    overrides.starts_with(state) && device == own
}

fn drop_one(overrides: &Overrides, said: &Said, dropped: &Mutex<Vec<(Arc<Path>, String)>>) -> Outcome {
    let Some(id) = ActId::of_file(&said.act) else { return Outcome::LookedAt };
    let places = said.places.iter().map(|place| format!("{}:{}", place.file.display(), place.line));
    let places = places.collect::<Vec<_>>().join(", ");
    let line =
        format!("the act {id} is dropped, for the policy says it itself in {places}; taken out there, it is over");
    // Before the file goes: the writer may hear of that at once.
    dropped.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(&said.act), line.clone()));
    match overrides.remove_if(&id, |act| says_so_still(said, act)) {
        Ok(true) => {
            tracing::info!("{line}");
            return Outcome::LookedAt;
        }
        Ok(false) => {}
        Err(NotWritten::Held(folder)) => {
            let folder = folder.display();
            tracing::warn!(act = %id, "{folder} is held by another program: the act is dropped later, if still so");
            forget(dropped, &said.act);
            return Outcome::Held;
        }
        Err(error) => tracing::warn!(%error, "an act that the policy says itself cannot be dropped; it stands"),
    }
    forget(dropped, &said.act);
    Outcome::LookedAt
}

fn forget(dropped: &Mutex<Vec<(Arc<Path>, String)>>, act: &Path) {
    dropped.lock().unwrap_or_else(PoisonError::into_inner).retain(|(path, _)| **path != *act);
}

/// Looked at once more with the folder held, and last: whoever takes the rule out of the policy again must not find the act
/// gone.
fn says_so_still(said: &Said, act: &str) -> bool {
    if Sha256::digest(act)[..] != said.digest {
        return false;
    }
    let act = parse(&said.act, act, Origin::Override).documents;
    said.places.iter().all(|place| stands_still(&act, place))
}

fn stands_still(act: &[Document], place: &Place) -> bool {
    let Ok(reading) = read::read(&place.file, FILE_BYTES_MAX) else { return false };
    if Sha256::digest(&reading.bytes)[..] != place.digest {
        return false;
    }
    let policy = parse_bytes(&place.file, &reading.bytes, Origin::Policy).documents;
    says_with_the_same_words(act, place.of_act, &policy, place.line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use std::fs::{self, File};

    use super::*;

    const ACT: &str =
        "version: 1\napp: jira/a\nrevocations:\n  - {scopes: ['read:x', 'write:x'], in: all, reason: r}\n";

    struct Setup {
        base: tempfile::TempDir,
        own: Own,
        said: Said,
    }

    fn setup() -> Setup {
        let base = tempfile::tempdir().unwrap();
        let (state, policy) = (base.path().join("state"), base.path().join("policy.yaml"));
        let overrides = Overrides::new(state.join("overrides"));
        fs::create_dir_all(overrides.folder()).unwrap();
        let act = overrides.folder().join("a.yaml");
        fs::write(&act, ACT).unwrap();
        fs::write(&policy, ACT).unwrap();
        let digest = Sha256::digest(ACT).into();
        let place = Place { file: policy.into(), line: 4, digest, of_act: 4 };
        Setup { base, own: Own { overrides, state }, said: Said { act: act.into(), digest, places: vec![place] } }
    }

    /// The policy says what compiles to the same.
    fn policy_says(text: &str) -> Setup {
        let mut setup = setup();
        let place = setup.said.places.first_mut().unwrap();
        fs::write(&place.file, text).unwrap();
        place.digest = Sha256::digest(text).into();
        setup
    }

    impl Setup {
        fn drop_all(&self) -> (Outcome, bool, usize) {
            let dropped = Mutex::default();
            let outcome = self.own.drop_all(std::slice::from_ref(&self.said), &dropped);
            (outcome, self.said.act.exists(), dropped.into_inner().unwrap().len())
        }
    }

    #[test]
    fn what_is_said_still_is_dropped_and_told() {
        assert_eq!(setup().drop_all(), (Outcome::LookedAt, false, 1));
    }

    #[test]
    fn an_act_that_changed_and_one_that_the_policy_says_no_more_stand() {
        let setup = setup();
        fs::write(&setup.said.act, "version: 1 # other\n").unwrap();
        assert_eq!(setup.drop_all(), (Outcome::LookedAt, true, 0));
        fs::write(&setup.said.act, ACT).unwrap();
        fs::write(setup.base.path().join("policy.yaml"), "version: 1 # nothing\n").unwrap();
        assert_eq!(setup.drop_all(), (Outcome::LookedAt, true, 0));
    }

    /// Today `write:x` may imply `read:x`, so that `[read:x]` takes both. Another catalog may not say so.
    #[test]
    fn what_the_catalog_alone_makes_the_same_stands() {
        for other in ["['read:x']", "all", "['read:x', 'write:x'], operations: [o]", "['read:x', 'write:x', 'z:x']"] {
            let setup = policy_says(&ACT.replace("['read:x', 'write:x']", other));
            assert_eq!(setup.drop_all(), (Outcome::LookedAt, true, 0), "{other}");
        }
        // A line with two rules: which of them is meant, nobody knows.
        let two = "revocations: [{scopes: ['read:x', 'write:x'], in: all, reason: r}, {in: all, scopes: ['read:x'], reason: r}]\n";
        let setup = policy_says(&format!("version: 1\napp: jira/a\n\n{two}"));
        assert_eq!(setup.drop_all(), (Outcome::LookedAt, true, 0));
        let same = policy_says(&ACT.replace("['read:x', 'write:x']", "['write:x', 'read:x']"));
        assert_eq!(same.drop_all(), (Outcome::LookedAt, false, 1));
    }

    /// Held long enough, the rule would have left the policy meanwhile.
    #[test]
    fn a_folder_that_somebody_holds_is_looked_at_later() {
        let setup = setup();
        let holder = File::open(setup.own.overrides.folder()).unwrap();
        holder.lock().unwrap();
        assert_eq!(setup.drop_all(), (Outcome::Held, true, 0));
        drop(holder);
        assert_eq!(setup.drop_all(), (Outcome::LookedAt, false, 1));
    }

    #[test]
    fn acts_in_a_folder_that_a_link_leads_to_stand() {
        let setup = setup();
        let shared = setup.base.path().join("shared");
        fs::rename(setup.own.overrides.folder(), &shared).unwrap();
        std::os::unix::fs::symlink(&shared, setup.own.overrides.folder()).unwrap();
        assert_eq!(setup.drop_all(), (Outcome::LookedAt, true, 0));
    }
}
