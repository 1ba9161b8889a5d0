//! What a gate remembers of the bucket over a restart, beside the acts: which one it was, and since when it had all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::entry::Instance;
use crate::control::overrides::replace_through;

const FILE: &str = "bucket.json";
/// Whoever has locked this file writes the acts beside it.
const LOCK: &str = "writer.lock";
/// How often it is looked whether it is free.
const LOCK_RETRY: Duration = Duration::from_millis(20);
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// It is a few numbers.
const BYTES_MAX: u64 = 4_096;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Which gate this is, to the fleet. Random, made once.
    pub instance: Option<String>,
    /// Which bucket was read.
    pub identity: Option<String>,
    /// The last message of it that was in force here.
    pub in_force: u64,
    /// The fingerprint of the acts that lay beside it.
    pub acts: Option<String>,
    /// All that was acknowledged before this was in force here. Unix time in milliseconds.
    pub synced_ms: Option<i64>,
    /// It has said good-bye: nobody waits for it any more, so it must not be ready with what it knew.
    pub left: bool,
}

impl Memory {
    /// Since when all was in force here, for a start beside these acts. `None`: never, or it has said good-bye, or other
    /// acts lie there than did, so that nobody knows what is lacking.
    pub fn synced_ms(&self, acts: &str) -> Option<i64> {
        let is_as_it_was = self.acts.as_deref() == Some(acts);
        if self.synced_ms.is_some() && !is_as_it_was {
            tracing::error!("the acts are not those that were known: the bucket must be read before the gate is ready");
        }
        self.synced_ms.filter(|_| is_as_it_was && !self.left)
    }
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
    /// The number of the last write. What is written in a thread may come to it after what was meant to follow.
    newest: Arc<Mutex<u64>>,
}

impl Kept {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), newest: Arc::default() }
    }

    /// A file that cannot be read is one that knows nothing: then all of the bucket must be read before the gate is
    /// ready.
    pub fn load(&self) -> Memory {
        let path = self.folder.join(FILE);
        let read = || -> io::Result<Memory> {
            if fs::metadata(&path)?.len() > BYTES_MAX {
                return Err(io::Error::other("it is too long"));
            }
            serde_json::from_slice(&fs::read(&path)?).map_err(io::Error::other)
        };
        let memory = read().unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(path = %path.display(), %error, "what was known of the bucket is lost: it is read anew");
            }
            Memory::default()
        });
        Memory { instance: memory.instance.filter(|text| Instance::parse(text).is_some()), ..memory }
    }

    /// Whole and at once, also over a loss of power. `number`: of this write; one that comes after a later one writes
    /// nothing, so that no good-bye is written over.
    ///
    /// # Errors
    /// The disk does not take it; what was there before stands.
    pub fn store(&self, memory: &Memory, number: u64) -> io::Result<()> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if number < *newest {
            return Ok(());
        }
        *newest = number;
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        let (path, aside) = (self.folder.join(FILE), self.folder.join(format!(".{FILE}")));
        replace_through(&aside, &path, &serde_json::to_vec(memory).map_err(io::Error::other)?)
    }

    /// Makes this process the one that writes the acts, until what is returned is dropped: a gate for life, a command
    /// only while no gate runs here. `None`: another is, and was for all of this span.
    ///
    /// # Errors
    /// The folder cannot be written, or not be locked.
    pub fn alone(&self, within: Duration) -> io::Result<Option<File>> {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        let began = Instant::now();
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(self.folder.join(LOCK))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if began.elapsed() < within => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn what_cannot_be_read_was_never_known() {
        let base = tempfile::tempdir().unwrap();
        let kept = Kept::new(base.path().join("fleet"));
        assert_eq!(kept.load(), Memory::default());
        let memory = Memory {
            instance: Some("0123456789abcdef".to_owned()),
            identity: Some("b".to_owned()),
            in_force: 7,
            acts: Some("1 x".to_owned()),
            synced_ms: Some(8),
            left: true,
        };
        kept.store(&memory, 2).unwrap();
        assert_eq!(kept.load(), memory);
        kept.clone().store(&Memory::default(), 1).unwrap();
        assert_eq!(kept.load(), memory, "an earlier write that comes late writes nothing");
        for broken in ["", "{", "[]", "{\"in_force\": -1}", &"x".repeat(5_000)] {
            fs::write(kept.folder().join(FILE), broken).unwrap();
            assert_eq!(kept.load(), Memory::default(), "{broken:.10}");
        }
        fs::write(kept.folder().join(FILE), r#"{"instance": "../x", "synced_ms": 8}"#).unwrap();
        assert_eq!(kept.load(), Memory { synced_ms: Some(8), ..Memory::default() });
    }

    #[test]
    fn other_acts_than_those_that_were_known_are_not_in_sync() {
        let memory = Memory { acts: Some("1 x".to_owned()), synced_ms: Some(8), ..Memory::default() };
        assert_eq!(memory.synced_ms("1 x"), Some(8));
        assert_eq!(memory.synced_ms("0 y"), None, "the folder was deleted");
        assert_eq!(Memory { acts: None, ..memory.clone() }.synced_ms("1 x"), None);
        assert_eq!(Memory { left: true, ..memory }.synced_ms("1 x"), None);
    }

    #[test]
    fn one_alone_writes_the_acts() {
        let base = tempfile::tempdir().unwrap();
        let kept = Kept::new(base.path().join("fleet"));
        let gate = kept.alone(Duration::ZERO).unwrap().expect("nobody else is there");
        assert!(kept.alone(Duration::from_millis(1)).unwrap().is_none());
        drop(gate);
        assert!(kept.alone(Duration::ZERO).unwrap().is_some());
    }
}
