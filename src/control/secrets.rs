//! The files that credentials name: upstream credentials and Connect secrets, re-read when they change.
//!
//! Contents are never printed and never outlive their file: what cannot be read any more is no secret, so the
//! credential fails closed. Only what fits into a header unchanged is one, for it is put into requests.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::authz::policy::credentials::Secret;
use crate::control::folder::arm::{self, Armed, Targets};
use crate::control::folder::hints::Hints;
use crate::control::folder::read::{self, Stamp, Unreadable};
use crate::problem::{At, Problem, file_name};

/// Far above any token or key; a Kubernetes Secret holds 1 MiB of all sorts.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The pause between looks at all files: at least, and 200 times what a look took, so half a per cent of a core.
const POLL: Duration = Duration::from_secs(1);
const POLL_REST: u32 = 200;

/// What all secret files hold now. Keys are the paths as the policy writes them.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    pub by_path: Arc<HashMap<PathBuf, Secret>>,
    /// One for each file that cannot be used.
    pub problems: Arc<[Problem]>,
}

/// Why a file holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    #[error("the secret file {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the secret file is empty")]
    Empty,
    #[error("the secret file holds a line break or control character at byte {0}")]
    Control(usize),
    #[error("the secret file is being written")]
    InFlux,
}

impl NoSecret {
    fn help(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "the credential is refused until the file can be read by the gate's user",
            Self::Empty => "write the secret into it; the credential is refused until then",
            Self::Control(_) => "it must hold the secret alone, on one line",
            Self::InFlux => "it is read again at once",
        }
    }
}

/// The files named by the policy, and what they hold.
#[derive(Debug)]
pub struct SecretStore {
    /// Relative paths start here.
    base: PathBuf,
    files: BTreeMap<PathBuf, Held>,
    secrets: Secrets,
}

#[derive(Debug)]
struct Held {
    stamp: Option<Stamp>,
    secret: Result<Secret, NoSecret>,
}

impl SecretStore {
    /// `base`: the folder of the configuration file, from which relative paths are taken.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), files: BTreeMap::new(), secrets: Secrets::default() }
    }

    /// From now on these files, and no others. Files that are new are read at once; says whether anything changed.
    pub fn name(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> bool {
        let mut before = std::mem::take(&mut self.files);
        let mut changed = false;
        for path in paths {
            if self.files.contains_key(&path) {
                continue;
            }
            let held = before.remove(&path).unwrap_or_else(|| {
                changed = true;
                hold(&self.base.join(&path))
            });
            self.files.insert(path, held);
        }
        changed |= !before.is_empty();
        if changed {
            self.publish();
        }
        changed
    }

    /// Looks at every file, reads those that may have changed, and says whether anything did.
    pub fn refresh(&mut self) -> bool {
        let mut changed = false;
        for (path, held) in &mut self.files {
            let path = self.base.join(path);
            if held.stamp.is_some() && std::fs::metadata(&path).ok().map(|found| Stamp::of(&found)) == held.stamp {
                continue;
            }
            let now = hold(&path);
            changed |= now.secret != held.secret;
            *held = now;
        }
        if changed {
            self.publish();
        }
        changed
    }

    pub fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    /// Every place where a change of a file can be seen.
    fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for path in self.files.keys() {
            targets.file(&self.base.join(path));
        }
        targets
    }

    fn publish(&mut self) {
        let readable = self.files.iter().filter_map(|(path, held)| Some((path.clone(), held.secret.clone().ok()?)));
        let faults = self.files.iter().filter_map(|(path, held)| Some((path, held.secret.as_ref().err()?)));
        let problems = faults.map(|(path, fault)| problem(&self.base.join(path), *fault));
        self.secrets = Secrets { by_path: Arc::new(readable.collect()), problems: problems.collect() };
    }
}

fn problem(path: &Path, fault: NoSecret) -> Problem {
    Problem::error(&file_name(path), At::default(), fault.to_string()).help(fault.help())
}

/// Reads a file; one that is in the middle of a swap is read once more at once.
fn hold(path: &Path) -> Held {
    let held = hold_once(path);
    let in_a_swap = |fault: &NoSecret| !matches!(fault, NoSecret::Control(_));
    if held.secret.as_ref().is_err_and(in_a_swap) { hold_once(path) } else { held }
}

fn hold_once(path: &Path) -> Held {
    match read::read(path, SECRET_BYTES_MAX) {
        Ok(reading) if reading.in_flux => Held { stamp: None, secret: Err(NoSecret::InFlux) },
        Ok(reading) => {
            // A stamp that may hide a change is none, so that the file is read at the next look too.
            let stamp = (!reading.racy).then_some(reading.stamp);
            Held { stamp, secret: secret_of(&reading.bytes) }
        }
        Err(fault) => Held { stamp: None, secret: Err(NoSecret::Unreadable(fault)) },
    }
}

/// The secret that a file's bytes are. Editors and `echo` end the file with a line break; nothing else is taken away.
///
/// # Errors
/// They are none, or not one that fits into a header.
pub fn secret_of(bytes: &[u8]) -> Result<Secret, NoSecret> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(NoSecret::Empty);
    }
    match bytes.iter().position(u8::is_ascii_control) {
        Some(at) => Err(NoSecret::Control(at)),
        None => Ok(Secret::new(bytes)),
    }
}

/// A [`SecretStore`] kept fresh on a thread of its own; dropping it ends the thread.
#[derive(Debug)]
pub struct SecretWatch {
    store: Arc<Mutex<SecretStore>>,
    hints: Arc<Hints>,
    thread: Option<JoinHandle<()>>,
}

impl SecretWatch {
    /// `on_change` is called from the thread whenever a named file holds something else than before, and not for
    /// what [`SecretWatch::name`] itself brings. It carries no secrets, for by the time it is heard newer ones may
    /// have been given out: ask [`SecretWatch::secrets`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(base: impl Into<PathBuf>, on_change: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let store = Arc::new(Mutex::new(SecretStore::new(base)));
        let hints = Arc::new(Hints::default());
        let (shared, woken) = (Arc::clone(&store), Arc::clone(&hints));
        let run = move || keep_fresh(&shared, &woken, on_change);
        let thread = std::thread::Builder::new().name("secret-files".into()).spawn(run)?;
        Ok(Self { store, hints, thread: Some(thread) })
    }

    /// From now on these files; gives what they hold, read before this returns, so that a policy is never compiled
    /// with a secret that nobody has looked for.
    pub fn name(&self, paths: impl IntoIterator<Item = PathBuf>) -> Secrets {
        let mut store = lock(&self.store);
        if store.name(paths) {
            self.hints.rearm();
        }
        store.secrets()
    }

    pub fn secrets(&self) -> Secrets {
        lock(&self.store).secrets()
    }
}

impl Drop for SecretWatch {
    fn drop(&mut self) {
        self.hints.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the consumer was printed where it happened.
            let _ = thread.join();
        }
    }
}

fn lock(store: &Mutex<SecretStore>) -> std::sync::MutexGuard<'_, SecretStore> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep_fresh(store: &Mutex<SecretStore>, hints: &Arc<Hints>, mut on_change: impl FnMut()) {
    let mut armed: Option<Armed> = None;
    let (mut not_before, mut interval) = (Instant::now(), POLL);
    // A consumer that panicked is told again at the next look.
    let mut owed = false;
    loop {
        let wake = hints.wait(not_before, Instant::now() + interval);
        if wake.stop {
            break;
        }
        if wake.rearm || armed.is_none() {
            let targets = lock(store).targets();
            // Without inotify a change is noticed by the poll, so a fault here costs a second.
            armed = arm::arm(&targets, hints).0.or(armed);
        }
        let began = Instant::now();
        let changed = lock(store).refresh();
        let took = began.elapsed();
        interval = took.saturating_mul(POLL_REST).max(POLL);
        not_before = Instant::now() + took;
        if changed {
            // A swap turned the links on the way, so other folders are to be watched now.
            hints.rearm();
        }
        owed |= changed;
        if owed {
            owed = catch_unwind(AssertUnwindSafe(&mut on_change)).is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::channel;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn held(secrets: &Secrets, path: &str) -> Option<String> {
        let secret = secrets.by_path.get(Path::new(path))?;
        Some(String::from_utf8(secret.bytes().to_vec()).unwrap())
    }

    fn store(base: &Path, contents: &[u8]) -> SecretStore {
        fs::write(base.join("s"), contents).unwrap();
        let mut store = SecretStore::new(base);
        assert!(store.name([PathBuf::from("s")]));
        store
    }

    #[test]
    fn one_trailing_line_break_is_not_part_of_a_secret() {
        let base = tempfile::tempdir().unwrap();
        for (contents, expected) in [
            ("xoxb-1", Some("xoxb-1")),
            ("xoxb-1\n", Some("xoxb-1")),
            ("xoxb-1\r\n", Some("xoxb-1")),
            ("xoxb-1\n\n", None),
            ("xoxb\n-1", None),
            ("xoxb-1\r\nx-admin: yes", None),
            ("xoxb\0", None),
            ("xo\txb", None),
            ("", None),
            ("\n", None),
        ] {
            let secrets = store(base.path(), contents.as_bytes()).secrets();
            assert_eq!(held(&secrets, "s").as_deref(), expected, "{contents:?}");
            assert_eq!(secrets.problems.len(), usize::from(expected.is_none()), "{contents:?}");
        }
    }

    #[test]
    fn a_problem_names_the_file_and_never_what_it_holds() {
        let base = tempfile::tempdir().unwrap();
        let store = store(base.path(), b"hunter2\nhunter3");
        let said = format!("{store:?}");
        assert!(said.contains("byte 7") || said.contains("Control(7)"), "{said}");
        assert!(!said.contains("hunter"), "{said}");
        assert!(format!("{:?}", store.secrets().problems).contains("/s\""));
        let good = self::store(base.path(), b"hunter2");
        assert!(!format!("{good:?}").contains("hunter"));
    }

    #[test]
    fn what_cannot_be_read_any_more_is_no_secret_any_more() {
        let base = tempfile::tempdir().unwrap();
        let mut store = store(base.path(), b"one");
        assert!(!store.refresh());
        fs::remove_file(base.path().join("s")).unwrap();
        assert!(store.refresh());
        assert_eq!(held(&store.secrets(), "s"), None);
        fs::create_dir(base.path().join("s")).unwrap();
        assert!(store.refresh());
        fs::remove_dir(base.path().join("s")).unwrap();
        fs::write(base.path().join("s"), vec![b'a'; (64 << 10) + 1]).unwrap();
        assert!(store.refresh());
        assert_eq!(held(&store.secrets(), "s"), None);
        fs::write(base.path().join("s"), "two").unwrap();
        assert!(store.refresh());
        assert_eq!(held(&store.secrets(), "s").as_deref(), Some("two"));
    }

    #[test]
    fn a_file_that_is_named_no_more_is_forgotten() {
        let base = tempfile::tempdir().unwrap();
        let mut store = store(base.path(), b"one");
        assert!(!store.name([PathBuf::from("s")]));
        assert!(store.name([]));
        assert!(store.secrets().by_path.is_empty());
    }

    /// What changes is noticed by the folder's events, well before the poll, in the layouts that hold secrets.
    #[test]
    fn a_change_is_told() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        for generation in ["..1", "..2"] {
            fs::create_dir_all(base.join("mount").join(generation)).unwrap();
            fs::write(base.join("mount").join(generation).join("token"), generation).unwrap();
        }
        symlink("..1", base.join("mount/..data")).unwrap();
        symlink("..data/token", base.join("mount/token")).unwrap();
        fs::write(base.join("plain"), "a").unwrap();

        let (send, told) = channel();
        let watch = SecretWatch::spawn(base, move || {
            let _ = send.send(());
        })
        .unwrap();
        let secrets = watch.name([base.join("mount/token"), PathBuf::from("plain")]);
        assert_eq!(held(&secrets, "plain").as_deref(), Some("a"));
        assert_eq!(held(&secrets, base.join("mount/token").to_str().unwrap()).as_deref(), Some("..1"));
        let until = |path: &str, expected: Option<&str>| {
            let deadline = Instant::now() + DEADLINE;
            while held(&watch.secrets(), path).as_deref() != expected {
                told.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
            }
        };
        symlink("..2", base.join("mount/..data_tmp")).unwrap();
        fs::rename(base.join("mount/..data_tmp"), base.join("mount/..data")).unwrap();
        until(base.join("mount/token").to_str().unwrap(), Some("..2"));
        fs::write(base.join(".new"), "b").unwrap();
        fs::rename(base.join(".new"), base.join("plain")).unwrap();
        until("plain", Some("b"));
        fs::remove_file(base.join("plain")).unwrap();
        until("plain", None);
    }
}
