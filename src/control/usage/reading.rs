//! What is kept of the use of rights, read: for previews and lists, while a gate writes it or after.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;

use super::database::{DAYS, FILE, UsageError, day};

/// How an operation was used in the last [`DAYS`] days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    pub operation: String,
    pub permits: u64,
    pub denials: u64,
    /// Unix time in milliseconds.
    pub last_permit_ms: Option<i64>,
    pub last_denial_ms: Option<i64>,
}

/// Something that a revocation does not reach any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlasts {
    pub app: String,
    pub tenant: String,
    pub operation: String,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub decision: String,
    pub containers: String,
    /// Absent where neither request nor answer named it.
    pub id: Option<String>,
}

/// Those that are only counted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Older {
    pub app: String,
    pub tenant: String,
    pub operation: String,
    pub number: u64,
    /// Unix time in milliseconds.
    pub newest_ms: i64,
}

/// The file, open for reading while a gate writes it, or after.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
}

impl Reader {
    /// Opens what is kept in a state folder.
    ///
    /// # Errors
    /// There is nothing, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, UsageError> {
        let path = folder.join(FILE);
        std::fs::metadata(&path)?;
        let connection = crate::control::journal::history::open_to_read(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { connection })
    }

    /// How an app used operations lately, the most used first; `operations`: only these.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recent(&self, app: &str, operations: Option<&[&str]>, now_ms: i64) -> Result<Vec<Used>, UsageError> {
        let select = "SELECT operation, sum(permits), sum(denials), max(last_permit_ms), max(last_denial_ms) FROM used
          WHERE app = ?1 AND day > ?2 GROUP BY operation ORDER BY sum(permits) DESC, sum(denials) DESC, operation";
        let mut select = self.connection.prepare(select)?;
        let rows = select.query_map(params![app, day(now_ms) - DAYS], |row| {
            let time = |unix_ms: i64| (unix_ms > 0).then_some(unix_ms);
            Ok(Used {
                operation: row.get(0)?,
                permits: row.get::<_, i64>(1)?.unsigned_abs(),
                denials: row.get::<_, i64>(2)?.unsigned_abs(),
                last_permit_ms: time(row.get(3)?),
                last_denial_ms: time(row.get(4)?),
            })
        })?;
        let wanted = |used: &Used| operations.is_none_or(|ids| ids.contains(&used.operation.as_str()));
        let all: Vec<Used> = rows.collect::<Result<_, _>>()?;
        Ok(all.into_iter().filter(wanted).collect())
    }

    /// What was made and is not known to be gone, newest first; `app`: of this one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn outlasting(&self, app: Option<&str>) -> Result<(Vec<Outlasts>, Vec<Older>), UsageError> {
        let select = "SELECT app, tenant, operation, at_ms, decision, containers, id FROM outlasting
          WHERE ?1 IS NULL OR app = ?1 ORDER BY at_ms DESC, number DESC";
        let mut select = self.connection.prepare(select)?;
        let rows = select.query_map([app], |row| {
            Ok(Outlasts {
                app: row.get(0)?,
                tenant: row.get(1)?,
                operation: row.get(2)?,
                at_ms: row.get(3)?,
                decision: row.get(4)?,
                containers: row.get(5)?,
                id: row.get(6)?,
            })
        })?;
        let newest = rows.collect::<Result<_, _>>()?;
        let select = "SELECT app, tenant, operation, number, newest_ms FROM older WHERE ?1 IS NULL OR app = ?1 ORDER BY app, tenant, operation";
        let mut select = self.connection.prepare(select)?;
        let rows = select.query_map([app], |row| {
            Ok(Older {
                app: row.get(0)?,
                tenant: row.get(1)?,
                operation: row.get(2)?,
                number: row.get::<_, i64>(3)?.unsigned_abs(),
                newest_ms: row.get(4)?,
            })
        })?;
        Ok((newest, rows.collect::<Result<_, _>>()?))
    }

    /// Requests and events that found no room, since there is a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lost(&self) -> Result<u64, UsageError> {
        let select = "SELECT coalesce(sum(value), 0) FROM meta WHERE name = 'lost'";
        Ok(self.connection.query_row(select, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }
}
