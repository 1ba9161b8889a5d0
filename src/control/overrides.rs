//! The folder of acts: one file each, written whole, kept over a crash, in force in every gate that watches the folder.
//!
//! Nothing here judges an act: it is read like any other file, by the one loader there is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::acts::{Act, ActId};
use crate::control::folder::{FILE_BYTES_MAX, read};

/// Only the user that the gate runs as, and its group, may read who was revoked and why.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// More acts than this are not a list that anybody keeps in mind: they belong in the policy.
pub const ACTS_MAX: usize = 10_000;

/// How long an admin's change waits for whoever else holds the folder: others wait behind it.
const ALONE_MAX: Duration = Duration::from_secs(1);
const ALONE_RETRY: Duration = Duration::from_millis(20);

/// Where acts are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrides(PathBuf);

/// Why an act was not written. Nothing of it is there, or all of what was there before.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    #[error("{path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("there is no act `{0}`")]
    NoSuchAct(ActId),
    #[error(
        "there are {ACTS_MAX} acts already: commit some of them to the policy (`scopegate overrides`) and restore them"
    )]
    TooMany,
    #[error("{path}: another program holds the lock of this folder", path = .0.display())]
    Held(PathBuf),
}

impl NotWritten {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space; meanwhile a revocation in the policy folder works as well"
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    "`overrides:` must be a folder that this user may write; policies need not be"
                }
                _ => "nothing was changed; try again, or write it in the policy folder",
            },
            Self::NoSuchAct(_) => "`scopegate overrides` lists them",
            Self::TooMany => "then do this again",
            Self::Held(_) => "nothing was changed; find it (`fuser` names it), let it end, and do this again",
        }
    }
}

impl Overrides {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, id: &ActId) -> PathBuf {
        self.0.join(id.file_name())
    }

    /// Writes an act that is new. When this returns it is there whole, also after a loss of power.
    ///
    /// # Errors
    /// It could not be written; then nothing of it is there.
    pub fn add(&self, act: &Act) -> Result<(), NotWritten> {
        self.make_folder()?;
        if self.count()? >= ACTS_MAX {
            return Err(NotWritten::TooMany);
        }
        self.put(act)
    }

    /// Writes an act in place of what it was.
    ///
    /// # Errors
    /// It is not there, could not be written, or somebody holds the folder; then it is as it was.
    pub fn replace(&self, act: &Act) -> Result<(), NotWritten> {
        let _alone = self.alone(ALONE_MAX)?;
        if !self.file(&act.id).exists() {
            return Err(NotWritten::NoSuchAct(act.id.clone()));
        }
        self.put(act)
    }

    /// Takes an act back if its text is as whoever does it has seen it. Tells whether it was. The look is taken with the
    /// folder held, so that nothing that takes its time comes between it and the change.
    ///
    /// # Errors
    /// It cannot be removed, or somebody holds the folder just now.
    pub fn remove_if(&self, id: &ActId, is_as_seen: impl FnOnce(&str) -> bool) -> Result<bool, NotWritten> {
        let _alone = self.alone(Duration::ZERO)?;
        match self.read(id).is_some_and(|act| is_as_seen(&act.text)) {
            true => self.remove(id).map(|()| true),
            false => Ok(false),
        }
    }

    /// Keeps others from changing an act between a look at it and its change. A folder that cannot be locked is one on a
    /// file system without locks, or none at all, which the change itself will tell.
    fn alone(&self, patience: Duration) -> Result<Option<File>, NotWritten> {
        let Ok(folder) = File::open(&self.0) else { return Ok(None) };
        let began = Instant::now();
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Some(folder)),
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                    return Err(NotWritten::Held(self.0.clone()));
                }
                Err(TryLockError::WouldBlock) => sleep(ALONE_RETRY),
            }
        }
    }

    /// Writes an act as another store has it, new or in place of what it was.
    ///
    /// # Errors
    /// It could not be written; then it is as it was.
    pub fn mirror(&self, act: &Act) -> Result<(), NotWritten> {
        self.make_folder()?;
        self.put(act)
    }

    /// Takes an act back.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn remove(&self, id: &ActId) -> Result<(), NotWritten> {
        let path = self.file(id);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotWritten::NoSuchAct(id.clone())),
            Err(error) => Err(NotWritten::Io { path, error }),
        }
    }

    /// Every act that is there, oldest first. One that cannot be read is left out here: `check` says why.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Act>, NotWritten> {
        let mut acts: Vec<Act> = self.ids()?.into_iter().filter_map(|id| self.read(&id)).collect();
        acts.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(acts)
    }

    /// One act, if it is there and can be read.
    pub fn read(&self, id: &ActId) -> Option<Act> {
        let path = self.file(id);
        let reading = read::read(&path, FILE_BYTES_MAX).ok()?;
        let text = String::from_utf8(reading.bytes.to_vec()).ok()?;
        Some(Act { id: id.clone(), text: text.into() })
    }

    fn ids(&self) -> Result<Vec<ActId>, NotWritten> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(NotWritten::Io { path: self.0.clone(), error }),
        };
        Ok(entries.filter_map(|entry| ActId::of_file(&entry.ok()?.path())).take(ACTS_MAX).collect())
    }

    fn count(&self) -> Result<usize, NotWritten> {
        Ok(self.ids()?.len())
    }

    /// # Errors
    /// It is not there and cannot be made.
    pub fn make_folder(&self) -> Result<(), NotWritten> {
        let made = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0);
        made.map_err(|error| NotWritten::Io { path: self.0.clone(), error })
    }

    /// Beside its place under a name that no reader looks at, to the disk, and then there at once.
    fn put(&self, act: &Act) -> Result<(), NotWritten> {
        let (path, aside) = (self.file(&act.id), self.0.join(format!(".{}.{}", act.id, std::process::id())));
        let written = write_through(&aside, act.text.as_bytes()).and_then(|()| fs::rename(&aside, &path));
        if let Err(error) = written {
            // What is left of it is read by nobody.
            let _ = fs::remove_file(&aside);
            return Err(NotWritten::Io { path, error });
        }
        self.sync()
    }

    /// A rename is on the disk when its folder is.
    fn sync(&self) -> Result<(), NotWritten> {
        let synced = File::open(&self.0).and_then(|folder| folder.sync_all());
        synced.map_err(|error| NotWritten::Io { path: self.0.clone(), error })
    }
}

/// Keeps two acts of one millisecond apart. Without randomness the time alone has to.
pub fn random() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map(|()| u32::from_ne_bytes(bytes)).unwrap_or_default()
}

/// Puts bytes in the place of a file, whole and at once, also over a loss of power. `aside`: a name beside it.
///
/// # Errors
/// The disk does not take it; what was there before stands.
pub(super) fn replace_through(aside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_through(aside, bytes)?;
    fs::rename(aside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Writes a file anew, to the disk.
///
/// # Errors
/// Not all of it is there.
fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::acts::Kind;

    fn act(number: u32) -> Act {
        let id = ActId::new(Kind::Revoke, 1_795_165_200_000 + i64::from(number), number);
        Act { id, text: format!("version: 1 # {number}\n").into() }
    }

    #[test]
    fn an_act_is_there_whole_until_it_is_taken_back() {
        let base = tempfile::tempdir().unwrap();
        let overrides = Overrides::new(base.path().join("state/overrides"));
        assert_eq!(overrides.list().unwrap(), []);
        overrides.add(&act(2)).unwrap();
        overrides.add(&act(1)).unwrap();
        assert_eq!(overrides.list().unwrap(), [act(1), act(2)]);
        let changed = Act { text: "version: 1 # other\n".into(), ..act(1) };
        overrides.replace(&changed).unwrap();
        assert_eq!(overrides.read(&act(1).id), Some(changed));
        overrides.remove(&act(1).id).unwrap();
        assert_eq!(overrides.list().unwrap(), [act(2)]);
        assert!(matches!(overrides.remove(&act(1).id), Err(NotWritten::NoSuchAct(_))));
        assert!(matches!(overrides.replace(&act(1)), Err(NotWritten::NoSuchAct(_))));
        let names: Vec<_> = fs::read_dir(overrides.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    }

    /// `flock` on the folder, for however long: nobody may wait for it without end.
    #[test]
    fn whoever_holds_the_folder_is_not_waited_for_without_end() {
        let base = tempfile::tempdir().unwrap();
        let overrides = Overrides::new(base.path());
        overrides.add(&act(1)).unwrap();
        let holder = File::open(base.path()).unwrap();
        holder.lock().unwrap();
        let changed = Act { text: "version: 1 # other\n".into(), ..act(1) };
        let error = overrides.replace(&changed).unwrap_err();
        assert!(matches!(error, NotWritten::Held(_)), "{error}");
        let removed = overrides.remove_if(&act(1).id, |_| panic!("it is not looked at before the folder is held"));
        assert!(matches!(removed, Err(NotWritten::Held(_))));
        assert_eq!(overrides.read(&act(1).id), Some(act(1)));
        drop(holder);
        overrides.replace(&changed).unwrap();
        assert!(overrides.remove_if(&act(1).id, |text| text == &*changed.text).unwrap());
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("file"), "").unwrap();
        let overrides = Overrides::new(base.path().join("file/overrides"));
        let error = overrides.add(&act(1)).unwrap_err();
        assert!(error.to_string().contains("file/overrides"), "{error}");
        assert!(!error.help().is_empty());
    }
}
