//! The journal on disk: one SQLite file, appended to in transactions that are on the disk when they return.
//!
//! `entries` holds the chain; `base_files` the files in force before the oldest entry that is kept; `texts` what the
//! files said, once each. What is pruned leaves its last hash, so that the rest can still be checked.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::entry::{Entry, Folder, GENESIS, Hash, Manifest, link, replay};

/// Below the state folder.
pub const FILE: &str = "journal.db";

/// A reader that holds the file open for longer than this delays the entry to the next attempt.
pub(super) const BUSY: Duration = Duration::from_millis(250);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS base_files (folder TEXT, path TEXT, digest TEXT NOT NULL, PRIMARY KEY (folder, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (digest TEXT PRIMARY KEY, text TEXT NOT NULL, bytes INTEGER NOT NULL, sequence INTEGER NOT NULL);
";

/// What went wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("another gate writes this journal")]
    Taken,
    #[error("the file is no longer where it was")]
    Gone,
    #[error("an entry cannot be read: {0}")]
    Entry(#[from] serde_json::Error),
    #[error("what is in the file is not a journal")]
    Shape,
    #[error("writing an entry panicked, which is a fault of scopegate's: please report it")]
    Panicked,
}

impl DatabaseError {
    /// The content is not what SQLite or we wrote: to try again would not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ),
            Self::Entry(_) | Self::Shape => true,
            Self::Io(_) | Self::Taken | Self::Gone | Self::Panicked => false,
        }
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub entries_max: usize,
    pub age_max: Duration,
    /// Bytes of texts; those of the files in force are kept whatever they take.
    pub texts_max: usize,
}

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub sequence: u64,
    pub hash: Hash,
}

/// Before anything was written.
impl Default for Head {
    fn default() -> Self {
        Self { sequence: 0, hash: GENESIS }
    }
}

/// The file, open for writing by this process alone.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Device and inode: a file that was deleted takes writes, and loses them.
    identity: (u64, u64),
    _lock: File,
    pub head: Head,
    /// The files in force as of the last entry.
    pub manifest: Manifest,
}

impl Database {
    /// Opens or creates it. `after`: where the chain was when an earlier file was lost.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or another process writes it.
    pub fn open(folder: &Path, after: Head) -> Result<Self, DatabaseError> {
        let lock = File::options().create(true).append(true).open(folder.join("journal.lock"))?;
        lock.try_lock().map_err(|_| DatabaseError::Taken)?;
        let path = folder.join(FILE);
        let is_new = !path.exists();
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        begun.execute_batch(SCHEMA)?;
        if anchor(&begun)?.is_none() {
            set_anchor(&begun, after)?;
        }
        begun.commit()?;
        if is_new {
            File::open(folder)?.sync_all()?;
        }
        let (head, manifest) = state(&connection)?;
        let identity = identity(&std::fs::metadata(&path)?);
        Ok(Self { connection, path, identity, _lock: lock, head, manifest })
    }

    /// Appends one entry with the texts it brings, prunes, and returns once that is on the disk.
    ///
    /// # Errors
    /// Nothing of it was written.
    pub fn append(
        &mut self,
        entry: &Entry,
        texts: &[(String, String)],
        bounds: &Bounds,
    ) -> Result<Head, DatabaseError> {
        self.stands()?;
        let canonical = entry.canonical()?;
        let head = Head { sequence: entry.sequence, hash: link(&self.head.hash, &canonical) };
        let mut manifest = self.manifest.clone();
        replay(&mut manifest, &entry.files);
        // A clock that leaps ahead for one entry makes nothing old.
        let before_ms = self.time_of_head_ms().unwrap_or(entry.time_ms);
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (digest, text) in texts {
            let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
            let insert = "INSERT OR IGNORE INTO texts (digest, text, bytes, sequence) VALUES (?1, ?2, ?3, ?4)";
            writing.execute(insert, params![digest, text, bytes, signed(entry.sequence)])?;
        }
        let insert = "INSERT INTO entries (sequence, time_ms, body, hash) VALUES (?1, ?2, ?3, ?4)";
        writing.execute(insert, params![signed(entry.sequence), entry.time_ms, canonical, head.hash])?;
        prune(&writing, entry.time_ms.min(before_ms), bounds, &manifest)?;
        writing.commit()?;
        self.stands()?;
        (self.head, self.manifest) = (head, manifest);
        Ok(head)
    }

    /// The text of a file by the digest of it.
    pub fn text(&self, digest: &str) -> Option<String> {
        text(&self.connection, digest)
    }

    pub fn time_of_head_ms(&self) -> Option<i64> {
        let select = "SELECT time_ms FROM entries ORDER BY sequence DESC LIMIT 1";
        self.connection.query_row(select, [], |row| row.get(0)).optional().ok().flatten()
    }

    /// For who has nothing to write and must know that what was written is there.
    ///
    /// # Errors
    /// The file is gone.
    pub fn stands_for_sure(&self) -> Result<(), DatabaseError> {
        self.stands()
    }

    /// Whether the file is still the one that was opened.
    fn stands(&self) -> Result<(), DatabaseError> {
        match std::fs::metadata(&self.path) {
            Ok(now) if identity(&now) == self.identity => Ok(()),
            Ok(_) | Err(_) => Err(DatabaseError::Gone),
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// SQLite counts with a sign.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) fn anchor(connection: &Connection) -> Result<Option<Head>, DatabaseError> {
    let value = |name: &str| {
        let select = "SELECT value FROM meta WHERE name = ?1";
        connection.query_row(select, [name], |row| row.get::<_, rusqlite::types::Value>(0)).optional()
    };
    match (value("anchor_sequence")?, value("anchor_hash")?) {
        (Some(rusqlite::types::Value::Integer(sequence)), Some(rusqlite::types::Value::Blob(hash))) => {
            let hash = Hash::try_from(hash).map_err(|_| DatabaseError::Shape)?;
            Ok(Some(Head { sequence: unsigned(sequence), hash }))
        }
        (None, None) => Ok(None),
        _ => Err(DatabaseError::Shape),
    }
}

fn set_anchor(writing: &Transaction<'_>, anchor: Head) -> Result<(), DatabaseError> {
    let insert = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    writing.execute(insert, params!["anchor_sequence", signed(anchor.sequence)])?;
    writing.execute(insert, params!["anchor_hash", anchor.hash])?;
    Ok(())
}

pub(super) fn base(connection: &Connection) -> Result<Manifest, DatabaseError> {
    let mut select = connection.prepare("SELECT folder, path, digest FROM base_files")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    rows.map(|row| {
        let (folder, path, digest) = row?;
        Ok(((Folder::parse(&folder).ok_or(DatabaseError::Shape)?, path), digest))
    })
    .collect()
}

/// The end of the chain, and the files in force there.
fn state(connection: &Connection) -> Result<(Head, Manifest), DatabaseError> {
    let mut head = anchor(connection)?.ok_or(DatabaseError::Shape)?;
    let mut manifest = base(connection)?;
    let mut select = connection.prepare("SELECT sequence, body, hash FROM entries ORDER BY sequence")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let entry: Entry = serde_json::from_str(&row.get::<_, String>(1)?)?;
        replay(&mut manifest, &entry.files);
        let hash = Hash::try_from(row.get::<_, Vec<u8>>(2)?).map_err(|_| DatabaseError::Shape)?;
        head = Head { sequence: unsigned(row.get(0)?), hash };
    }
    Ok((head, manifest))
}

/// Drops what is too old or too much. The newest entry is always kept.
fn prune(writing: &Transaction<'_>, now_ms: i64, bounds: &Bounds, in_force: &Manifest) -> Result<(), DatabaseError> {
    let (count, newest): (i64, i64) =
        writing.query_row("SELECT count(*), max(sequence) FROM entries", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let entries_max = i64::try_from(bounds.entries_max).unwrap_or(i64::MAX).max(1);
    let oldest_ms = now_ms.saturating_sub(i64::try_from(bounds.age_max.as_millis()).unwrap_or(i64::MAX));
    // By sequence and not by time alone: a clock that was set back must not cut the chain in its midst.
    let by_age = "SELECT coalesce(min(sequence), ?2) FROM entries WHERE time_ms >= ?1";
    let first_young: i64 = writing.query_row(by_age, params![oldest_ms, newest], |row| row.get(0))?;
    let first_counted = newest.saturating_sub(entries_max - 1);
    let keep_from = if count > entries_max { first_young.max(first_counted) } else { first_young }.min(newest);
    let mut base = base(writing)?;
    let mut pruned = None;
    {
        let mut select =
            writing.prepare("SELECT sequence, body, hash FROM entries WHERE sequence < ?1 ORDER BY sequence")?;
        let mut rows = select.query([keep_from])?;
        while let Some(row) = rows.next()? {
            let entry: Entry = serde_json::from_str(&row.get::<_, String>(1)?)?;
            replay(&mut base, &entry.files);
            let hash = Hash::try_from(row.get::<_, Vec<u8>>(2)?).map_err(|_| DatabaseError::Shape)?;
            pruned = Some(Head { sequence: unsigned(row.get(0)?), hash });
        }
    }
    if let Some(anchor) = pruned {
        set_anchor(writing, anchor)?;
        writing.execute("DELETE FROM entries WHERE sequence < ?1", [keep_from])?;
        writing.execute("DELETE FROM base_files", [])?;
        let mut insert = writing.prepare("INSERT INTO base_files (folder, path, digest) VALUES (?1, ?2, ?3)")?;
        for ((folder, path), digest) in &base {
            insert.execute(params![folder.as_str(), path, digest])?;
        }
    }
    let total: i64 = writing.query_row("SELECT coalesce(sum(bytes), 0) FROM texts", [], |row| row.get(0))?;
    let texts_max = i64::try_from(bounds.texts_max).unwrap_or(i64::MAX);
    if pruned.is_some() || total > texts_max {
        prune_texts(writing, total, texts_max, &base, in_force)?;
    }
    Ok(())
}

/// Texts that no entry speaks of any more go; then, while they take too much room, the oldest that are not in force.
fn prune_texts(
    writing: &Transaction<'_>,
    mut total: i64,
    texts_max: i64,
    base: &Manifest,
    in_force: &Manifest,
) -> Result<(), DatabaseError> {
    let mut spoken_of: BTreeSet<String> = base.values().chain(in_force.values()).cloned().collect();
    {
        let mut select = writing.prepare("SELECT body FROM entries")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let entry: Entry = serde_json::from_str(&row.get::<_, String>(0)?)?;
            spoken_of.extend(entry.files.into_iter().filter_map(|file| file.after));
        }
    }
    let stands: BTreeSet<&String> = in_force.values().collect();
    let mut select = writing.prepare("SELECT digest, bytes FROM texts ORDER BY sequence")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let all: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
    for (digest, bytes) in all {
        let unused = !spoken_of.contains(&digest);
        if unused || total > texts_max && !stands.contains(&digest) {
            writing.execute("DELETE FROM texts WHERE digest = ?1", [&digest])?;
            total -= bytes;
        }
    }
    Ok(())
}

pub(super) fn text(connection: &Connection, digest: &str) -> Option<String> {
    connection.query_row("SELECT text FROM texts WHERE digest = ?1", [digest], |row| row.get(0)).optional().ok()?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::control::journal::entry::Source;

    const DAY_MS: i64 = 86_400_000;
    const NOW_MS: i64 = 1_795_165_200_000;

    fn entry(sequence: u64, time_ms: i64) -> Entry {
        Entry {
            sequence,
            time_ms,
            source: Source::File,
            by: Vec::new(),
            principals: Vec::new(),
            reason: Vec::new(),
            changes: Vec::new(),
            changes_more: 0,
            generation: sequence,
            digest: String::new(),
            files: Vec::new(),
            files_digest: String::new(),
            folded: 0,
        }
    }

    /// The entries that are left after some were written at these days.
    fn left(days: &[i64]) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path(), Head::default()).unwrap();
        let bounds = Bounds { entries_max: 100, age_max: Duration::from_secs(30 * 86_400), texts_max: 1_000 };
        for (sequence, day) in (1..).zip(days) {
            database.append(&entry(sequence, NOW_MS + day * DAY_MS), &[], &bounds).unwrap();
        }
        let mut select = database.connection.prepare("SELECT sequence FROM entries ORDER BY sequence").unwrap();
        let rows = select.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        rows.map(|row| unsigned(row.unwrap())).collect()
    }

    #[test]
    fn what_is_older_than_the_bound_goes() {
        assert_eq!(left(&[0, 1, 20, 40, 41]), [3, 4, 5]);
        assert_eq!(left(&[0]), [1]);
        assert_eq!(left(&[0, 400, 401]), [2, 3], "the newest stay");
    }

    #[test]
    fn a_clock_that_is_stepped_either_way_forgets_nothing_and_parts_no_chain() {
        assert_eq!(left(&[0, 1, 4_000, 2, 3]), [1, 2, 3, 4, 5], "ahead for one entry");
        assert_eq!(left(&[0, 1, -4_000, 2, 3]), [1, 2, 3, 4, 5], "back for one entry");
        assert_eq!(left(&[0, 1, -4_000, -3_999]), [1, 2, 3, 4]);
        assert_eq!(left(&[0, 1, 2, -4_000, 40, 41]), [5, 6], "what stands between goes with the older");
    }
}
