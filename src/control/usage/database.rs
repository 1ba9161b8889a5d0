//! What is kept of the use of rights: one SQLite file beside the journal. It holds nothing that enforcement hangs on, so a
//! power cut may cost its last seconds; it is never inconsistent.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::authz::policy::compile::Catalogs;
use crate::usage::Counted;
use crate::usage::outlasting::{Call, Event};

/// Below the state folder.
pub const FILE: &str = "usage.db";

/// How long use is remembered.
pub const DAYS: i64 = 30;

/// Rows of use: 500 apps that use 60 operations each, every day. Beyond it only rows that are there are added to.
const USE_ROWS_MAX: i64 = 1_000_000;

/// What is remembered of one app that outlasts a revocation; the oldest beyond it are only counted.
pub const OUTLASTING_PER_APP_MAX: i64 = 1_000;
/// The same over all apps.
pub const OUTLASTING_MAX: i64 = 20_000;

/// A file that is damaged is put aside so many times.
const ASIDE_MAX: usize = 3;

const BUSY: Duration = Duration::from_millis(250);
const DAY_MS: i64 = 86_400_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (app TEXT, operation TEXT, day INTEGER, permits INTEGER NOT NULL, denials INTEGER NOT NULL,
  last_permit_ms INTEGER NOT NULL, last_denial_ms INTEGER NOT NULL, PRIMARY KEY (app, operation, day)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_by_day ON used (day);
CREATE TABLE IF NOT EXISTS outlasting (number INTEGER PRIMARY KEY, app TEXT NOT NULL, tenant TEXT NOT NULL, operation TEXT NOT NULL,
  at_ms INTEGER NOT NULL, decision TEXT NOT NULL, containers TEXT NOT NULL, id TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS outlasting_once ON outlasting (app, tenant, operation, id) WHERE id IS NOT NULL;
CREATE INDEX IF NOT EXISTS outlasting_by_time ON outlasting (app, at_ms);
CREATE TABLE IF NOT EXISTS older (app TEXT, tenant TEXT, operation TEXT, number INTEGER NOT NULL, newest_ms INTEGER NOT NULL,
  PRIMARY KEY (app, tenant, operation)) WITHOUT ROWID;
";

#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the file is no longer where it was")]
    Gone,
}

/// What is counted for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub app: Arc<str>,
    pub operation: Arc<str>,
    /// Days since 1970 in UTC.
    pub day: i64,
}

/// Days since 1970 in UTC.
pub fn day(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(DAY_MS)
}

impl Counted {
    /// Adds what was counted elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.permits += other.permits;
        self.denials += other.denials;
        self.last_permit_ms = self.last_permit_ms.max(other.last_permit_ms);
        self.last_denial_ms = self.last_denial_ms.max(other.last_denial_ms);
    }
}

/// The file, open for writing.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    path: PathBuf,
    identity: (u64, u64),
    /// Rows of use, as far as it is known.
    rows: i64,
}

impl Store {
    /// Opens or creates it. One that is damaged is put aside: what it said was only counts.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, UsageError> {
        let path = folder.join(FILE);
        match Self::open_file(&path) {
            Err(UsageError::Sqlite(error))
                if matches!(
                    error.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
                ) =>
            {
                let aside = (1..=ASIDE_MAX).map(|number| folder.join(format!("{FILE}.damaged-{number}")));
                let Some(aside) = aside.into_iter().find(|aside| !aside.exists()) else { return Err(error.into()) };
                std::fs::rename(&path, &aside)?;
                tracing::error!(aside = %aside.display(), "what was known of the use of rights was damaged and is put aside");
                Self::open_file(&path)
            }
            opened => opened,
        }
    }

    fn open_file(path: &Path) -> Result<Self, UsageError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch(super::shadowed::SCHEMA)?;
        connection.execute_batch(super::strangers::SCHEMA)?;
        let rows = connection.query_row("SELECT count(*) FROM used", [], |row| row.get(0))?;
        let metadata = std::fs::metadata(path)?;
        Ok(Self { connection, path: path.to_path_buf(), identity: (metadata.dev(), metadata.ino()), rows })
    }

    /// Whether the file is still the one that was opened.
    ///
    /// # Errors
    /// It is gone, or another.
    pub fn stands(&self) -> Result<(), UsageError> {
        let now = std::fs::metadata(&self.path).map_err(|_| UsageError::Gone)?;
        if (now.dev(), now.ino()) == self.identity { Ok(()) } else { Err(UsageError::Gone) }
    }

    /// Adds what was counted and noticed, and drops what is too old or too much.
    ///
    /// # Errors
    /// Nothing of it was written.
    pub fn add(
        &mut self,
        counts: &BTreeMap<Key, Counted>,
        events: &[Event],
        lost: u64,
        catalogs: &Catalogs,
        now_ms: i64,
    ) -> Result<(), UsageError> {
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut rows = self.rows;
        let mut lost = lost;
        for (key, counted) in counts {
            let values = params![
                &*key.app,
                &*key.operation,
                key.day,
                signed(counted.permits),
                signed(counted.denials),
                counted.last_permit_ms,
                counted.last_denial_ms
            ];
            if writing.prepare_cached(UPDATE_USE)?.execute(values)? > 0 {
                continue;
            }
            if rows < USE_ROWS_MAX {
                rows += 1;
                writing.prepare_cached("INSERT INTO used VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(values)?;
            } else {
                lost += counted.permits + counted.denials;
            }
        }
        rows -= i64::try_from(writing.execute("DELETE FROM used WHERE day <= ?1", [day(now_ms) - DAYS])?).unwrap_or(0);
        for event in events {
            match event {
                Event::Made { call, ids } => made(&writing, call, ids)?,
                Event::Removed { call, ids, all } => removed(&writing, call, ids, *all, catalogs)?,
            }
        }
        if !events.is_empty() {
            bound(&writing)?;
        }
        let add =
            "INSERT INTO meta VALUES ('lost', ?1) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
        writing.execute(add, [signed(lost)])?;
        writing.commit()?;
        self.rows = rows.max(0);
        Ok(())
    }
}

const UPDATE_USE: &str = "UPDATE used SET permits = permits + ?4, denials = denials + ?5,
  last_permit_ms = max(last_permit_ms, ?6), last_denial_ms = max(last_denial_ms, ?7)
  WHERE app = ?1 AND operation = ?2 AND day = ?3";

fn made(writing: &Transaction<'_>, call: &Call, ids: &[String]) -> Result<(), UsageError> {
    let insert = "INSERT INTO outlasting (app, tenant, operation, at_ms, decision, containers, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (app, tenant, operation, id) WHERE id IS NOT NULL DO UPDATE SET at_ms = excluded.at_ms, decision = excluded.decision";
    let Call { app, tenant, operation, at_ms, decision, containers } = call;
    let containers = containers.join(", ");
    let mut insert = writing.prepare_cached(insert)?;
    let mut one =
        |id: Option<&String>| insert.execute(params![&**app, &**tenant, &**operation, at_ms, decision, containers, id]);
    if ids.is_empty() {
        one(None)?;
    }
    for id in ids {
        one(Some(id))?;
    }
    Ok(())
}

/// Of the same app alone: ids of two apps may be the same.
fn removed(
    writing: &Transaction<'_>,
    call: &Call,
    ids: &[String],
    all: bool,
    catalogs: &Catalogs,
) -> Result<(), UsageError> {
    for maker in makers(catalogs, &call.app, &call.operation) {
        for id in ids {
            let delete = "DELETE FROM outlasting WHERE app = ?1 AND tenant = ?2 AND operation = ?3 AND id = ?4";
            writing.execute(delete, params![&*call.app, &*call.tenant, maker, id])?;
        }
        if all {
            for table in ["outlasting", "older"] {
                let delete = format!("DELETE FROM {table} WHERE app = ?1 AND tenant = ?2 AND operation = ?3");
                writing.execute(&delete, params![&*call.app, &*call.tenant, maker])?;
            }
        }
    }
    Ok(())
}

/// The operations that a remover takes back.
fn makers<'c>(catalogs: &'c Catalogs, app: &str, remover: &str) -> impl Iterator<Item = &'c str> {
    let product = app.split_once('/').map_or("", |(product, _)| product);
    let catalog = catalogs.by_name(product).map(|product| &product.catalog);
    let remover = catalog.and_then(|catalog| catalog.operation(remover));
    let all = catalog.into_iter().flat_map(|catalog| catalog.operations.iter());
    let made = all
        .filter(move |operation| remover.is_some() && operation.undo.as_ref().is_some_and(|undo| undo.by == remover));
    made.map(|operation| &*operation.id)
}

/// The oldest beyond what is kept become a number.
fn bound(writing: &Transaction<'_>) -> Result<(), UsageError> {
    let apps: Vec<(String, i64)> = {
        let mut select = writing.prepare("SELECT app, count(*) FROM outlasting GROUP BY app HAVING count(*) > ?1")?;
        let rows = select.query_map([OUTLASTING_PER_APP_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    for (app, count) in apps {
        let oldest = "SELECT number FROM outlasting WHERE app = ?1 ORDER BY at_ms, number LIMIT ?2";
        fold(writing, oldest, &[&app, &(count - OUTLASTING_PER_APP_MAX)])?;
    }
    let total: i64 = writing.query_row("SELECT count(*) FROM outlasting", [], |row| row.get(0))?;
    if total > OUTLASTING_MAX {
        let oldest = "SELECT number FROM outlasting ORDER BY at_ms, number LIMIT ?1";
        fold(writing, oldest, &[&(total - OUTLASTING_MAX)])?;
    }
    Ok(())
}

fn fold(writing: &Transaction<'_>, oldest: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), UsageError> {
    let count = format!(
        "INSERT INTO older SELECT app, tenant, operation, count(*), max(at_ms) FROM outlasting WHERE number IN ({oldest})
         GROUP BY app, tenant, operation ON CONFLICT (app, tenant, operation) DO UPDATE SET
         number = number + excluded.number, newest_ms = max(newest_ms, excluded.newest_ms)"
    );
    writing.execute(&count, values)?;
    writing.execute(&format!("DELETE FROM outlasting WHERE number IN ({oldest})"), values)?;
    Ok(())
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::reading::Reader;
    use super::*;
    use crate::authz::catalog::builtin;

    const NOW_MS: i64 = 1_795_165_200_000;

    fn catalogs() -> Catalogs {
        Catalogs::new(["jira", "slack"].iter().filter_map(|product| builtin::catalog(product)))
    }

    fn call(app: &str, operation: &str, at_ms: i64) -> Call {
        let decision = format!("d{at_ms}");
        Call {
            app: app.into(),
            tenant: "t".into(),
            operation: operation.into(),
            at_ms,
            decision,
            containers: Vec::new(),
        }
    }

    fn counts(app: &str, day: i64, permits: u64) -> BTreeMap<Key, Counted> {
        let counted = Counted { permits, last_permit_ms: day * DAY_MS, ..Counted::default() };
        BTreeMap::from([(Key { app: app.into(), operation: "getIssue".into(), day }, counted)])
    }

    #[test]
    fn the_oldest_beyond_what_is_kept_of_an_app_become_a_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let made = |number: i64| Event::Made {
            call: call("slack/a", "chat.scheduleMessage", number),
            ids: vec![format!("Q{number}")],
        };
        let events: Vec<Event> = (1..=OUTLASTING_PER_APP_MAX + 5).map(made).collect();
        store.add(&BTreeMap::new(), &events, 0, &catalogs(), NOW_MS).unwrap();
        let other = Event::Made { call: call("slack/b", "chat.scheduleMessage", 1), ids: Vec::new() };
        store.add(&BTreeMap::new(), &[other], 0, &catalogs(), NOW_MS).unwrap();
        let (kept, older) = Reader::open(folder.path()).unwrap().outlasting(Some("slack/a")).unwrap();
        assert_eq!(i64::try_from(kept.len()), Ok(OUTLASTING_PER_APP_MAX));
        assert_eq!(kept.last().and_then(|one| one.id.as_deref()), Some("Q6"));
        assert_eq!((older[0].number, older[0].newest_ms), (5, 5));
        assert_eq!(Reader::open(folder.path()).unwrap().outlasting(None).unwrap().0.len(), kept.len() + 1);
    }

    #[test]
    fn what_is_refreshed_is_remembered_once_and_what_names_nothing_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let made = |at_ms, ids: &[&str]| {
            let ids = ids.iter().map(ToString::to_string).collect();
            Event::Made { call: call("jira/a", "registerDynamicWebhooks", at_ms), ids }
        };
        let events = [made(1, &["7"]), made(2, &["7"]), made(3, &[]), made(4, &[])];
        store.add(&BTreeMap::new(), &events, 0, &catalogs(), NOW_MS).unwrap();
        let (kept, _) = Reader::open(folder.path()).unwrap().outlasting(None).unwrap();
        assert_eq!(
            kept.iter().map(|one| (one.at_ms, one.id.as_deref())).collect::<Vec<_>>(),
            [(4, None), (3, None), (2, Some("7"))]
        );
    }

    #[test]
    fn a_call_that_removes_all_takes_the_counted_ones_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let module = "DynamicModulesResource.registerModules_post";
        let made =
            (0..OUTLASTING_PER_APP_MAX + 1).map(|at| Event::Made { call: call("jira/a", module, at), ids: Vec::new() });
        store.add(&BTreeMap::new(), &made.collect::<Vec<_>>(), 0, &catalogs(), NOW_MS).unwrap();
        let remover = call("jira/a", "DynamicModulesResource.removeModules_delete", NOW_MS);
        let named = Event::Removed { call: remover.clone(), ids: vec!["key".into()], all: false };
        store.add(&BTreeMap::new(), &[named], 0, &catalogs(), NOW_MS).unwrap();
        assert_eq!(Reader::open(folder.path()).unwrap().outlasting(None).unwrap().0.len(), 1_000);
        let all = Event::Removed { call: remover, ids: Vec::new(), all: true };
        store.add(&BTreeMap::new(), &[all], 0, &catalogs(), NOW_MS).unwrap();
        assert_eq!(Reader::open(folder.path()).unwrap().outlasting(None).unwrap(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn use_is_added_up_and_goes_after_thirty_days() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let today = day(NOW_MS);
        for (day, permits) in [(today - DAYS, 1), (today - DAYS + 1, 10), (today, 100), (today, 100)] {
            store.add(&counts("jira/a", day, permits), &[], 0, &catalogs(), NOW_MS).unwrap();
        }
        let used = Reader::open(folder.path()).unwrap().recent("jira/a", None, NOW_MS).unwrap();
        assert_eq!((used.len(), used[0].permits), (1, 210));
        let rows: i64 = store.connection.query_row("SELECT count(*) FROM used", [], |row| row.get(0)).unwrap();
        assert_eq!((rows, store.rows), (2, 2));
    }

    #[test]
    fn a_full_table_counts_what_it_has_and_says_how_much_it_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&counts("jira/a", day(NOW_MS), 1), &[], 2, &catalogs(), NOW_MS).unwrap();
        store.rows = USE_ROWS_MAX;
        store.add(&counts("jira/a", day(NOW_MS), 1), &[], 0, &catalogs(), NOW_MS).unwrap();
        store.add(&counts("jira/b", day(NOW_MS), 5), &[], 0, &catalogs(), NOW_MS).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(reader.recent("jira/a", None, NOW_MS).unwrap()[0].permits, 2);
        assert_eq!(reader.recent("jira/b", None, NOW_MS).unwrap(), []);
        assert_eq!(reader.lost().unwrap(), 7);
    }

    #[test]
    fn a_damaged_file_is_put_aside_a_bounded_number_of_times() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = "this is no database, and long enough to be looked at as one".repeat(100);
        for number in 1..=ASIDE_MAX {
            std::fs::write(folder.path().join(FILE), &garbage).unwrap();
            Store::open(folder.path()).unwrap();
            assert!(folder.path().join(format!("{FILE}.damaged-{number}")).exists());
        }
        std::fs::write(folder.path().join(FILE), &garbage).unwrap();
        assert!(Store::open(folder.path()).is_err());
    }
}
