//! The journal, read: by commands while a gate writes it or after, and by the gate itself when it starts.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::database::{BUSY, DatabaseError, FILE, Head, anchor, base, signed, text, unsigned};
use super::entry::{Entry, Hash, Manifest, hex, link, manifest_digest, replay, text_digest};

/// The file, open for reading while a gate writes it, or after.
#[derive(Debug)]
pub struct History {
    connection: Connection,
}

/// Opens a file of the state folder for reading, whether a gate writes it or not.
///
/// # Errors
/// It cannot be opened.
pub fn open_to_read(path: &Path, read: OpenFlags) -> rusqlite::Result<Connection> {
    let opened = Connection::open_with_flags(path, read).and_then(|connection| {
        connection.busy_timeout(BUSY.saturating_mul(8))?;
        connection.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    });
    match opened {
        // Nobody has it open and its folder cannot be written: then nothing changes under us either.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) => {
            let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            Connection::open_with_flags(format!("file:{escaped}?immutable=1"), read | OpenFlags::SQLITE_OPEN_URI)
        }
        opened => opened,
    }
}

/// A journal that is being made has a file before it has tables: whoever asks just then waits for so long.
const MADE_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

fn is_being_made(error: &rusqlite::Error) -> bool {
    error.to_string().contains("no such table: meta")
}

/// Which entries are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Only older ones than this number.
    pub before: Option<u64>,
    /// Only from this time on, Unix time in milliseconds.
    pub since_ms: Option<i64>,
    pub limit: usize,
}

/// Some entries, the newest first, and before which of them the next page begins.
#[derive(Debug, Clone)]
pub struct Page {
    pub entries: Vec<(Entry, Hash)>,
    pub next: Option<u64>,
}

/// Entries that one page looks at, however few of them speak: some hundred megabytes at the very most, one at a time.
const LOOKED_AT_MAX: usize = 20_000;

/// What is wrong with a chain, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The first entry that does not follow; absent where the journal as a whole is meant.
    pub sequence: Option<u64>,
    pub why: String,
}

/// A chain that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub entries: u64,
    /// Pruned ones, or those before the file was lost, end here.
    pub anchor: Head,
    pub head: Head,
    /// Texts of files that entries speak of and that are not kept any more.
    pub texts_missing: u64,
}

impl History {
    /// Opens the journal of a state folder.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let path = folder.join(FILE);
        std::fs::metadata(&path)?;
        let until = Instant::now() + MADE_WITHIN;
        loop {
            match open_to_read(&path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
                Err(error) if is_being_made(&error) && Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
                opened => return Ok(Self { connection: opened? }),
            }
        }
    }

    /// All entries that are kept, oldest first, from one on.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn entries(&self, from: u64) -> Result<Vec<(Entry, Hash)>, DatabaseError> {
        let mut select =
            self.connection.prepare("SELECT body, hash FROM entries WHERE sequence >= ?1 ORDER BY sequence")?;
        let rows = select.query_map([signed(from)], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        rows.map(|row| {
            let (body, hash) = row?;
            Ok((serde_json::from_str(&body)?, Hash::try_from(hash).map_err(|_| DatabaseError::Shape)?))
        })
        .collect()
    }

    /// A page of those that speak, the newest first.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn page(&self, wanted: Wanted, speaks: impl Fn(&Entry) -> bool) -> Result<Page, DatabaseError> {
        let order = "SELECT body, hash FROM entries WHERE sequence < ?1 AND time_ms >= ?2 ORDER BY sequence DESC";
        let mut select = self.connection.prepare(order)?;
        let before = wanted.before.map_or(i64::MAX, signed);
        let mut rows = select.query((before, wanted.since_ms.unwrap_or(i64::MIN)))?;
        let (mut entries, mut looked_at, mut last) = (Vec::new(), 0, 0);
        while let Some(row) = rows.next()? {
            if entries.len() == wanted.limit || looked_at == LOOKED_AT_MAX {
                return Ok(Page { entries, next: Some(last) });
            }
            let entry: Entry = serde_json::from_str(&row.get::<_, String>(0)?)?;
            (looked_at, last) = (looked_at + 1, entry.sequence);
            if speaks(&entry) {
                let hash = Hash::try_from(row.get::<_, Vec<u8>>(1)?).map_err(|_| DatabaseError::Shape)?;
                entries.push((entry, hash));
            }
        }
        Ok(Page { entries, next: None })
    }

    /// The files in force after an entry. `None`: it is not kept.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn files_at(&self, sequence: u64) -> Result<Option<Manifest>, DatabaseError> {
        let anchor = anchor(&self.connection)?.ok_or(DatabaseError::Shape)?;
        let mut manifest = base(&self.connection)?;
        let mut found = sequence == anchor.sequence && sequence > 0;
        for (entry, _) in self.entries(0)?.into_iter().take_while(|(entry, _)| entry.sequence <= sequence) {
            replay(&mut manifest, &entry.files);
            found |= entry.sequence == sequence;
        }
        Ok(found.then_some(manifest))
    }

    pub fn text(&self, digest: &str) -> Option<String> {
        text(&self.connection, digest)
    }

    /// Follows the whole chain: hashes, numbers, files and texts.
    ///
    /// # Errors
    /// The first thing that does not follow, or that cannot be read.
    pub fn verify(&self) -> Result<Verified, Broken> {
        let unreadable = |error: DatabaseError| Broken { sequence: None, why: error.to_string() };
        let check = "PRAGMA integrity_check(1)";
        let sound: String =
            self.connection.query_row(check, [], |row| row.get(0)).map_err(|error| unreadable(error.into()))?;
        if sound != "ok" {
            return Err(Broken { sequence: None, why: format!("the file is damaged: {sound}") });
        }
        let anchor =
            anchor(&self.connection).and_then(|anchor| anchor.ok_or(DatabaseError::Shape)).map_err(unreadable)?;
        let mut chain = Chain { head: anchor, manifest: base(&self.connection).map_err(unreadable)?, entries: 0 };
        let mut digests: BTreeSet<String> = chain.manifest.values().cloned().collect();
        let read = (|| -> Result<Result<(), Broken>, DatabaseError> {
            let mut select =
                self.connection.prepare("SELECT sequence, time_ms, body, hash FROM entries ORDER BY sequence")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let row = (unsigned(row.get(0)?), row.get(1)?, row.get::<_, String>(2)?, row.get::<_, Vec<u8>>(3)?);
                match chain.follow(row) {
                    Ok(entry) => digests.extend(entry.files.into_iter().filter_map(|file| file.after)),
                    Err(broken) => return Ok(Err(broken)),
                }
            }
            Ok(Ok(()))
        })();
        read.map_err(unreadable)??;
        let texts_missing = self.texts(&digests)?;
        Ok(Verified { entries: chain.entries, anchor, head: chain.head, texts_missing })
    }

    /// How many are not kept.
    fn texts(&self, digests: &BTreeSet<String>) -> Result<u64, Broken> {
        let mut missing = 0;
        for digest in digests {
            match self.text(digest) {
                None => missing += 1,
                Some(text) if text_digest(&text) == *digest => {}
                Some(_) => {
                    return Err(Broken { sequence: None, why: format!("the text {digest} is not what was written") });
                }
            }
        }
        Ok(missing)
    }
}

struct Chain {
    head: Head,
    manifest: Manifest,
    entries: u64,
}

impl Chain {
    fn follow(&mut self, (sequence, time_ms, body, hash): (u64, i64, String, Vec<u8>)) -> Result<Entry, Broken> {
        let broken = |why: String| Err(Broken { sequence: Some(sequence), why });
        let expected = self.head.sequence + 1;
        if sequence != expected {
            return broken(format!("entry {expected} is missing"));
        }
        let own = link(&self.head.hash, &body);
        if own[..] != hash[..] {
            return broken(format!(
                "it does not follow from the entry before it, whose hash is {}",
                hex(&self.head.hash)
            ));
        }
        let Ok(entry) = serde_json::from_str::<Entry>(&body) else { return broken("it cannot be read".to_owned()) };
        if entry.sequence != sequence || entry.time_ms != time_ms {
            return broken("its number or time was altered".to_owned());
        }
        let fits = replay(&mut self.manifest, &entry.files);
        if !fits || manifest_digest(&self.manifest) != entry.files_digest {
            return broken("its files do not follow from those before it".to_owned());
        }
        self.head = Head { sequence, hash: own };
        self.entries += 1;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_being_made_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let making = Connection::open(folder.path().join(FILE)).unwrap();
        making.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        let reading = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || History::open(&folder).map(|_| ()).map_err(|error| error.to_string())
        });
        std::thread::sleep(LOOK_AGAIN * 10);
        assert!(!reading.is_finished());
        making.execute_batch("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID").unwrap();
        assert_eq!(reading.join().unwrap(), Ok(()));
    }
}
