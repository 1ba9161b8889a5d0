//! Callers that no policy ever named and a gate under `observe` passed: kept by fingerprint, bounded, so that somebody can
//! write the policy that names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{TransactionBehavior, params};
use serde::Serialize;

use super::database::{DAYS, Store, UsageError, signed};
use super::reading::Reader;
use crate::usage::Counted;
use crate::usage::strangers::Stranger;

/// Fingerprints that are kept. Beyond it those that asked least, and of these the ones heard of longest ago, become a number:
/// who sends a new token each time replaces such tokens, and nobody who works.
pub const KEPT_MAX: i64 = 1_000;
/// Operations of one that are told apart; the rest of its requests is counted with it alone.
pub const OPERATIONS_MAX: i64 = 100;

const DAY_MS: i64 = 86_400_000;

/// An empty operation is one that the catalog does not know. `refused`: the product did not take the credential.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS strangers (gate TEXT, product TEXT, tenant TEXT, fingerprint TEXT, first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL, requests INTEGER NOT NULL, refused INTEGER NOT NULL,
  PRIMARY KEY (gate, tenant, fingerprint)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS strangers_used (gate TEXT, tenant TEXT, fingerprint TEXT, operation TEXT, requests INTEGER NOT NULL,
  PRIMARY KEY (gate, tenant, fingerprint, operation)) WITHOUT ROWID;
";

const ADD: &str = "INSERT INTO strangers VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7) ON CONFLICT (gate, tenant, fingerprint) DO UPDATE SET
  product = excluded.product, last_ms = max(last_ms, excluded.last_ms), first_ms = min(first_ms, excluded.first_ms),
  requests = requests + excluded.requests, refused = refused + excluded.refused";

const ADD_USED: &str =
    "INSERT INTO strangers_used VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (gate, tenant, fingerprint, operation)
  DO UPDATE SET requests = requests + excluded.requests";

/// Least wanted first.
const LEAST: &str = "SELECT gate, tenant, fingerprint FROM strangers ORDER BY requests - refused, last_ms, gate, tenant, fingerprint LIMIT ?1";

const LEAST_USED: &str = "DELETE FROM strangers_used WHERE gate = ?1 AND tenant = ?2 AND fingerprint = ?3 AND operation NOT IN
  (SELECT operation FROM strangers_used WHERE gate = ?1 AND tenant = ?2 AND fingerprint = ?3 ORDER BY requests DESC, operation LIMIT ?4)";

const LEFT_BEHIND: &str =
    "DELETE FROM strangers_used WHERE NOT EXISTS (SELECT 1 FROM strangers WHERE strangers.gate = strangers_used.gate
  AND strangers.tenant = strangers_used.tenant AND strangers.fingerprint = strangers_used.fingerprint)";

/// What is counted for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub stranger: Stranger,
    pub operation: Arc<str>,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub fingerprint: String,
    pub gate: String,
    pub product: String,
    pub tenant: String,
    /// Unix time in milliseconds.
    pub first_ms: i64,
    pub last_ms: i64,
    pub requests: u64,
    /// Those to which the product answered 401.
    pub refused: u64,
    /// The most used first.
    pub operations: Vec<UsedBy>,
}

/// How often one used an operation. An empty name: one that the catalog does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedBy {
    pub operation: String,
    pub requests: u64,
}

impl Store {
    /// Adds what was counted, and drops what is too old or too much.
    ///
    /// # Errors
    /// Nothing of it was written.
    pub fn add_strangers(&mut self, counts: &BTreeMap<Key, Counted>, now_ms: i64) -> Result<(), UsageError> {
        self.add_strangers_up_to(counts, now_ms, KEPT_MAX)
    }

    fn add_strangers_up_to(
        &mut self,
        counts: &BTreeMap<Key, Counted>,
        now_ms: i64,
        kept_max: i64,
    ) -> Result<(), UsageError> {
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (key, counted) in counts {
            let Stranger { gate, product, tenant, fingerprint } = &key.stranger;
            let fingerprint = fingerprint.to_string();
            let (requests, refused) = (signed(counted.permits + counted.denials), signed(counted.denials));
            let at_ms = counted.last_permit_ms.max(counted.last_denial_ms);
            writing.prepare_cached(ADD)?.execute(params![
                gate,
                product,
                tenant,
                fingerprint,
                at_ms,
                requests,
                refused
            ])?;
            writing.prepare_cached(ADD_USED)?.execute(params![gate, tenant, fingerprint, key.operation, requests])?;
            writing.prepare_cached(LEAST_USED)?.execute(params![gate, tenant, fingerprint, OPERATIONS_MAX])?;
        }
        let mut gone = writing.execute("DELETE FROM strangers WHERE last_ms <= ?1", [now_ms - DAYS * DAY_MS])?;
        let rows: i64 = writing.query_row("SELECT count(*) FROM strangers", [], |row| row.get(0))?;
        if rows > kept_max {
            let drop = format!("DELETE FROM strangers WHERE (gate, tenant, fingerprint) IN ({LEAST})");
            let more = writing.execute(&drop, [rows - kept_max])?;
            let add = "INSERT INTO meta VALUES ('strangers_more', ?1) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
            writing.execute(add, [i64::try_from(more).unwrap_or(i64::MAX)])?;
            gone += more;
        }
        if gone > 0 {
            writing.execute(LEFT_BEHIND, [])?;
        }
        Ok(writing.commit()?)
    }
}

impl Reader {
    /// Those that are kept, the last heard of first, and how many were given up for want of room.
    ///
    /// # Errors
    /// The file cannot be read, or was written by an older gate.
    pub fn strangers(&self) -> Result<(Vec<Seen>, u64), UsageError> {
        let mut used: BTreeMap<(String, String, String), Vec<UsedBy>> = BTreeMap::new();
        let select = "SELECT gate, tenant, fingerprint, operation, requests FROM strangers_used ORDER BY requests DESC, operation";
        let mut select = self.connection.prepare(select)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let of = (row.get(0)?, row.get(1)?, row.get(2)?);
            let one = UsedBy { operation: row.get(3)?, requests: row.get::<_, i64>(4)?.unsigned_abs() };
            used.entry(of).or_default().push(one);
        }
        let select = "SELECT fingerprint, gate, product, tenant, first_ms, last_ms, requests, refused FROM strangers
          ORDER BY last_ms DESC, gate, tenant, fingerprint";
        let mut select = self.connection.prepare(select)?;
        let rows = select.query_map([], |row| {
            Ok(Seen {
                fingerprint: row.get(0)?,
                gate: row.get(1)?,
                product: row.get(2)?,
                tenant: row.get(3)?,
                first_ms: row.get(4)?,
                last_ms: row.get(5)?,
                requests: row.get::<_, i64>(6)?.unsigned_abs(),
                refused: row.get::<_, i64>(7)?.unsigned_abs(),
                operations: Vec::new(),
            })
        })?;
        let mut seen: Vec<Seen> = rows.collect::<Result<_, _>>()?;
        for one in &mut seen {
            let of = (one.gate.clone(), one.tenant.clone(), one.fingerprint.clone());
            one.operations = used.remove(&of).unwrap_or_default();
        }
        let more = "SELECT coalesce(sum(value), 0) FROM meta WHERE name = 'strangers_more'";
        let more: i64 = self.connection.query_row(more, [], |row| row.get(0))?;
        Ok((seen, more.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::strangers::Fingerprint;

    const NOW_MS: i64 = 1_795_165_200_000;

    fn counted(number: u8, operation: &str, (permits, denials): (u64, u64), at_ms: i64) -> (Key, Counted) {
        let stranger = Stranger {
            gate: "jira".into(),
            product: "jira".into(),
            tenant: "acme".into(),
            fingerprint: Fingerprint::of(&[number; 32]),
        };
        let counted = Counted { permits, denials, last_permit_ms: at_ms, last_denial_ms: 0 };
        (Key { stranger, operation: operation.into() }, counted)
    }

    fn fingerprints(store: &tempfile::TempDir) -> Vec<String> {
        let (seen, _) = Reader::open(store.path()).unwrap().strangers().unwrap();
        seen.into_iter().map(|one| one.fingerprint).collect()
    }

    #[test]
    fn requests_add_up_by_operation() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let first = [counted(7, "getIssue", (2, 0), NOW_MS), counted(7, "", (0, 1), NOW_MS + 5)];
        store.add_strangers(&first.into(), NOW_MS).unwrap();
        store.add_strangers(&[counted(7, "getIssue", (1, 0), NOW_MS + 9)].into(), NOW_MS).unwrap();
        let (seen, more) = Reader::open(folder.path()).unwrap().strangers().unwrap();
        let [one] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((one.fingerprint.as_str(), one.requests, one.refused), ("07070707", 4, 1));
        assert_eq!((one.first_ms, one.last_ms, more), (NOW_MS, NOW_MS + 9, 0));
        let used: Vec<_> = one.operations.iter().map(|used| (used.operation.as_str(), used.requests)).collect();
        assert_eq!(used, [("getIssue", 3), ("", 1)]);
    }

    #[test]
    fn tokens_that_come_once_do_not_replace_one_that_works() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add_strangers_up_to(&[counted(1, "getIssue", (9, 0), NOW_MS)].into(), NOW_MS, 3).unwrap();
        for number in 2..100 {
            let once = counted(number, "getIssue", (1, 0), NOW_MS + i64::from(number));
            store.add_strangers_up_to(&[once].into(), NOW_MS, 3).unwrap();
        }
        assert_eq!(fingerprints(&folder), ["63636363", "62626262", "01010101"]);
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(reader.strangers().unwrap().1, 96, "the rest is a number");
        let rows: i64 =
            store.connection.query_row("SELECT count(*) FROM strangers_used", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3, "nothing of them is left behind");
    }

    #[test]
    fn operations_of_one_are_bounded_and_what_is_old_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let many: BTreeMap<Key, Counted> =
            (0..OPERATIONS_MAX + 20).map(|number| counted(1, &format!("op{number:03}"), (1, 0), NOW_MS)).collect();
        store.add_strangers(&many, NOW_MS).unwrap();
        let (seen, _) = Reader::open(folder.path()).unwrap().strangers().unwrap();
        assert_eq!(i64::try_from(seen[0].operations.len()), Ok(OPERATIONS_MAX));
        assert_eq!(i64::try_from(seen[0].requests), Ok(OPERATIONS_MAX + 20), "its requests are all counted");
        store.add_strangers(&BTreeMap::new(), NOW_MS + (DAYS + 1) * DAY_MS).unwrap();
        assert_eq!(fingerprints(&folder), [""; 0]);
    }
}
