//! The journal: every change of what is in force, who made it and why, chained so that a missing or altered entry shows.
//!
//! Enforcement never waits for it. The writer of snapshots hands over a [`Draft`] after the fact; a thread of its own puts it
//! on the disk and, where it cannot, says so and tries again. What waits is bounded: changes that find no room are folded into
//! the newest one that waits, which then tells of them together.

pub mod author;
mod book;
pub mod database;
pub mod entry;
pub mod history;
pub mod words;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use author::{Author, Authors};
use book::Book;
use database::{Bounds, Head};
use entry::Source;

use crate::acts::ActId;
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::control::health::Readiness;
use crate::live::Live;
use crate::metrics::Metrics;

/// Entries that wait for the disk. With their sentences some megabytes.
const WAITING_MAX: usize = 256;

/// Bytes of texts that wait. Beyond it a text is read from its file again, if that still holds it.
const TEXTS_WAITING_MAX: usize = 64 * 1024 * 1024;

/// Sentences of one entry; the rest is counted. `diff` lists them all.
pub const CHANGES_MAX: usize = 200;

/// A change of what is in force, as the writer of snapshots hands it over.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Unix time in milliseconds.
    pub time_ms: i64,
    pub source: Source,
    /// In words, at most [`CHANGES_MAX`].
    pub changes: Vec<String>,
    pub changes_more: usize,
    pub generation: u64,
    pub digest: String,
    /// Every file in force.
    pub files: Arc<[InForce]>,
    /// Texts of files that changed, as far as they are at hand.
    pub texts: Vec<Arc<str>>,
    /// Who made the acts in it over the admin API.
    pub authors: Vec<Author>,
    /// So many changes before it are told with it.
    pub folded: u64,
}

/// A file in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub origin: Origin,
    pub path: Arc<Path>,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
}

/// What the journal is kept of, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    pub state: PathBuf,
    /// Paths are written as they are below these.
    pub policies: PathBuf,
    pub overrides: Option<PathBuf>,
    pub bounds: Bounds,
}

/// Why an entry is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    #[error("the journal cannot be written: {0}")]
    Failing(String),
    #[error("the journal has not been written in time")]
    Late,
}

/// Where changes are handed over. Cheap to clone; never waits for the disk but in [`Journal::wait`].
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    desk: Mutex<Desk>,
    authors: Mutex<Authors>,
    /// Something was handed over, or it ends.
    work: Condvar,
    /// Something was written, or could not be.
    told: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<Draft>,
    texts_bytes: usize,
    /// Everything up to this generation is on the disk.
    written: u64,
    head: Head,
    /// Why the last attempt failed.
    failing: Option<String>,
    ending: bool,
}

impl Journal {
    /// Hands over a change. Never blocks for longer than others take to hand over theirs.
    pub fn record(&self, draft: Draft) {
        let mut desk = self.desk();
        let bytes: usize = draft.texts.iter().map(|text| text.len()).sum();
        let draft =
            if desk.texts_bytes + bytes > TEXTS_WAITING_MAX { Draft { texts: Vec::new(), ..draft } } else { draft };
        desk.texts_bytes += draft.texts.iter().map(|text| text.len()).sum::<usize>();
        if desk.waiting.len() < WAITING_MAX {
            desk.waiting.push_back(draft);
        } else if let Some(last) = desk.waiting.back_mut() {
            last.fold(draft);
        }
        self.0.work.notify_all();
    }

    /// Says who is about to write an act (by the SHA-256 of its text), or to take it back, over the admin API.
    pub fn sign(&self, act: ActId, digest: Option<[u8; 32]>, author: Author) {
        self.authors().add(act, digest, author);
    }

    /// What was said of an act did not come to be: whoever does the same later is somebody else.
    pub fn unsign(&self, act: &ActId, digest: Option<&[u8; 32]>) {
        self.authors().take(act, digest);
    }

    /// Who wrote this text of an act, or took it back, over the admin API.
    pub fn author(&self, act: &ActId, digest: Option<&[u8; 32]>) -> Option<Author> {
        self.authors().take(act, digest)
    }

    fn authors(&self) -> MutexGuard<'_, Authors> {
        self.0.authors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what a generation changed is on the disk, and gives the end of the chain then.
    ///
    /// # Errors
    /// It could not be written, or not in time. It is tried again all the same.
    pub fn wait(&self, generation: u64, timeout: Duration) -> Result<Head, NotWritten> {
        let deadline = Instant::now() + timeout;
        let mut desk = self.desk();
        loop {
            if desk.written >= generation {
                return Ok(desk.head);
            }
            if let Some(why) = &desk.failing {
                return Err(NotWritten::Failing(why.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotWritten::Late);
            }
            desk = self.0.told.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The end of the chain as far as it is on the disk.
    pub fn head(&self) -> Head {
        self.desk().head
    }

    /// Why it cannot be written now.
    pub fn failing(&self) -> Option<String> {
        self.desk().failing.clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Draft {
    /// Takes in a later change: what it says of files stands, sentences are added as far as there is room.
    fn fold(&mut self, later: Self) {
        let room = CHANGES_MAX.saturating_sub(self.changes.len());
        let beyond = later.changes.len().saturating_sub(room);
        self.changes.extend(later.changes.into_iter().take(room));
        self.changes_more += later.changes_more + beyond;
        self.texts.extend(later.texts);
        self.authors.extend(later.authors);
        self.folded += later.folded + 1;
        (self.generation, self.digest, self.files) = (later.generation, later.digest, later.files);
    }
}

/// The thread that writes. Dropping it waits a little for what still waits.
#[derive(Debug)]
pub struct JournalWriter {
    journal: Journal,
    thread: Option<JoinHandle<()>>,
}

impl JournalWriter {
    /// Starts the thread. A journal that cannot be written keeps nothing from starting.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        settings: Settings,
        catalogs: Arc<Catalogs>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> std::io::Result<Self> {
        let journal = Journal(Arc::default());
        let mut book = Book::new(settings, catalogs, live, metrics, readiness);
        let shared = journal.clone();
        let thread = std::thread::Builder::new().name("journal".into());
        let thread = thread.spawn(move || book.run(&shared))?;
        Ok(Self { journal, thread: Some(thread) })
    }

    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.journal.desk().ending = true;
        self.journal.0.work.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
