//! Whom acts in shadow mode would have refused: kept by act, app, tenant and operation, and told before an act is promoted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{TransactionBehavior, params};

use super::database::{Store, UsageError, signed};
use super::reading::Reader;
use crate::acts::text::time_text;
use crate::acts::{ActId, Kind};
use crate::usage::Counted;

/// What is kept over all acts; of more, those that were heard of longest ago become a number for each act.
pub const ROWS_MAX: i64 = 50_000;

/// Acts of which such a number is kept.
const ACTS_MAX: i64 = 10_000;

/// What is told of one act; the rest is counted.
const LINES_MAX: usize = 50;

/// An empty app is a caller that no policy named, an empty operation one that the catalog does not know.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS shadowed (act TEXT, app TEXT, tenant TEXT, operation TEXT, number INTEGER NOT NULL,
  last_ms INTEGER NOT NULL, PRIMARY KEY (act, app, tenant, operation)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shadowed_more (act TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
";

const ADD: &str =
    "INSERT INTO shadowed VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (act, app, tenant, operation) DO UPDATE SET
  number = number + excluded.number, last_ms = max(last_ms, excluded.last_ms)";

/// What is counted for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub act: ActId,
    pub app: Arc<str>,
    pub tenant: Arc<str>,
    pub operation: Arc<str>,
}

/// What is known of one act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WouldRefuse {
    pub app: String,
    pub tenant: String,
    pub operation: String,
    pub number: u64,
    /// Unix time in milliseconds.
    pub last_ms: i64,
}

/// The revocation that a command wrote into this file.
pub(super) fn act_in(file: &Path) -> Option<ActId> {
    ActId::of_file(file).filter(|id| id.kind() == Some(Kind::Revoke))
}

impl Store {
    /// Adds what was counted.
    ///
    /// # Errors
    /// Nothing of it was written.
    pub fn add_shadowed(&mut self, counts: &BTreeMap<Key, Counted>) -> Result<(), UsageError> {
        self.add_shadowed_up_to(counts, ROWS_MAX)
    }

    fn add_shadowed_up_to(&mut self, counts: &BTreeMap<Key, Counted>, rows_max: i64) -> Result<(), UsageError> {
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (key, counted) in counts {
            let Key { act, app, tenant, operation } = key;
            let (number, last_ms) = (signed(counted.denials), counted.last_denial_ms);
            writing.prepare_cached(ADD)?.execute(params![act.as_str(), app, tenant, operation, number, last_ms])?;
        }
        let rows: i64 = writing.query_row("SELECT count(*) FROM shadowed", [], |row| row.get(0))?;
        if rows > rows_max {
            let oldest = "SELECT act, app, tenant, operation, number FROM shadowed ORDER BY last_ms, act, app, tenant, operation LIMIT ?1";
            let fold = format!(
                "INSERT INTO shadowed_more SELECT act, sum(number) FROM ({oldest}) WHERE true GROUP BY act
                 ON CONFLICT (act) DO UPDATE SET number = number + excluded.number"
            );
            let drop = format!(
                "DELETE FROM shadowed WHERE (act, app, tenant, operation) IN (SELECT act, app, tenant, operation FROM ({oldest}))"
            );
            writing.execute(&fold, [rows - rows_max])?;
            writing.execute(&drop, [rows - rows_max])?;
            let newest = "SELECT act FROM shadowed_more ORDER BY act DESC LIMIT ?1";
            writing.execute(&format!("DELETE FROM shadowed_more WHERE act NOT IN ({newest})"), [ACTS_MAX])?;
        }
        writing.commit()?;
        Ok(())
    }
}

impl Reader {
    /// Whom an act would have refused, the most first, and how many requests more.
    ///
    /// # Errors
    /// The file cannot be read, or was written by an older gate.
    pub fn shadowed(&self, act: &ActId) -> Result<(Vec<WouldRefuse>, u64), UsageError> {
        let select = "SELECT app, tenant, operation, number, last_ms FROM shadowed WHERE act = ?1
          ORDER BY number DESC, app, tenant, operation";
        let mut select = self.connection.prepare(select)?;
        let rows = select.query_map([act.as_str()], |row| {
            let number: i64 = row.get(3)?;
            let (app, tenant, operation) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(WouldRefuse { app, tenant, operation, number: number.unsigned_abs(), last_ms: row.get(4)? })
        })?;
        let rows = rows.collect::<Result<_, _>>()?;
        let more = "SELECT coalesce(sum(number), 0) FROM shadowed_more WHERE act = ?1";
        let more: i64 = self.connection.query_row(more, [act.as_str()], |row| row.get(0))?;
        Ok((rows, more.unsigned_abs()))
    }
}

/// Whom an act would have refused since it went in, in sentences, and that it was nobody.
pub fn words(state: Option<&Path>, act: &ActId) -> Vec<String> {
    let Some(state) = state else {
        return vec!["nobody knows: without a state folder this is not kept".to_owned()];
    };
    let since = act.made_at().map_or_else(String::new, |since| format!(" since {since}"));
    match Reader::open(state).and_then(|reader| reader.shadowed(act)) {
        Ok((rows, 0)) if rows.is_empty() => vec![format!("nobody{since}, as far as this gate knows")],
        Ok((rows, more)) => sentences(&rows, more),
        Err(why) => vec![format!("nobody knows: what was counted cannot be read: {why}")],
    }
}

fn sentences(rows: &[WouldRefuse], more: u64) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().take(LINES_MAX).map(WouldRefuse::words).collect();
    let beyond = rows.iter().skip(LINES_MAX).map(|row| row.number).fold(more, u64::saturating_add);
    if beyond > 0 {
        lines.push(format!("and {beyond} requests more, of others or longer ago"));
    }
    lines
}

impl WouldRefuse {
    fn words(&self) -> String {
        let named = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
        let app = named(&self.app, "a caller that no policy names");
        let operation = named(&self.operation, "an operation that the catalog does not know");
        let times = if self.number == 1 { "once".to_owned() } else { format!("{} times", self.number) };
        format!("{app} in {}: {operation} {times}, last {}", self.tenant, time_text(self.last_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(number: i64) -> ActId {
        ActId::new(Kind::Revoke, 1_795_165_200_000 + number, 7)
    }

    fn counts(act: &ActId, app: &str, operation: &str, denials: u64, at_ms: i64) -> BTreeMap<Key, Counted> {
        let key = Key { act: act.clone(), app: app.into(), tenant: "acme".into(), operation: operation.into() };
        BTreeMap::from([(key, Counted { denials, last_denial_ms: at_ms, ..Counted::default() })])
    }

    #[test]
    fn what_is_counted_is_told_by_act_and_adds_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add_shadowed(&counts(&act(1), "jira/a", "getIssue", 2, 1_795_165_200_000)).unwrap();
        store.add_shadowed(&counts(&act(1), "jira/a", "getIssue", 3, 1_795_165_300_000)).unwrap();
        store.add_shadowed(&counts(&act(1), "", "", 1, 1_795_165_200_000)).unwrap();
        store.add_shadowed(&counts(&act(2), "jira/b", "editIssue", 9, 1)).unwrap();
        assert_eq!(
            words(Some(folder.path()), &act(1)),
            [
                "jira/a in acme: getIssue 5 times, last 2026-11-20T09:01:40Z",
                "a caller that no policy names in acme: an operation that the catalog does not know once, last \
                 2026-11-20T09:00:00Z",
            ]
        );
        assert_eq!(
            words(Some(folder.path()), &act(3)),
            ["nobody since 2026-11-20T09:00:00.003Z, as far as this gate knows"]
        );
    }

    #[test]
    fn what_was_heard_of_longest_ago_becomes_a_number_of_its_act() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        for (number, at_ms) in (1..=6).zip(1..) {
            let operation = format!("operation-{number}");
            store.add_shadowed_up_to(&counts(&act(number % 2), "jira/a", &operation, 10, at_ms), 3).unwrap();
        }
        let reader = Reader::open(folder.path()).unwrap();
        let (odd, more) = reader.shadowed(&act(1)).unwrap();
        assert_eq!((odd.len(), odd[0].operation.as_str(), more), (1, "operation-5", 20));
        let (even, more) = reader.shadowed(&act(0)).unwrap();
        assert_eq!((even.len(), more), (2, 10));
    }
}
