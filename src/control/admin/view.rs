//! What is asked and answered besides acts: the types that the JSON and its description are both made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::right::Right;
use crate::config::model::admin::Role;
use crate::control::journal::entry::{Entry, Source};

/// Apps of one answer, unless it is said how many, and at most.
pub const APPS_SHOWN: usize = 100;
pub const APPS_MAX: usize = 1_000;
pub const CELLS_SHOWN: usize = 500;
pub const CELLS_MAX: usize = 5_000;
pub const ENTRIES_SHOWN: usize = 50;
pub const ENTRIES_MAX: usize = 200;
/// Problems that are listed; the rest is counted.
pub const PROBLEMS_MAX: usize = 100;

/// `?dry_run=true`: nothing is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Why an act is changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// A ticket or a sentence. It stands in the journal.
    #[schemars(length(min = 1, max = 500), regex(pattern = r"\S"))]
    pub reason: String,
    /// Who asks; the caller's own name unless written. The journal keeps that name in any case.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub by: Option<String>,
}

/// Which apps.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppsQuery {
    /// So many at most: 100 unless written.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Which cells.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellsQuery {
    /// Only of this app: `jira/tracker`.
    #[schemars(extend("examples" = ["jira/tracker"]))]
    pub app: Option<String>,
    /// Only in this tenant.
    pub tenant: Option<String>,
    /// So many at most: 500 unless written.
    #[schemars(range(min = 1, max = 5000))]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[schemars(regex(pattern = r"^[^~]*~[0-9]{1,9}$"))]
    pub after: Option<String>,
}

/// Which entries of the journal.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only what changes this app.
    #[schemars(extend("examples" = ["jira/tracker"]))]
    pub app: Option<String>,
    /// Only from this time on (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// Only of this origin.
    pub source: Option<Source>,
    /// Only by this caller of the admin API: `token:dana`.
    pub principal: Option<String>,
    /// So many at most: 50 unless written.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// `next` of the page before: entries older than this number.
    #[schemars(range(max = u64::MAX))]
    pub before: Option<u64>,
}

/// A question to the running gate, in the words of `scopegate explain`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [
    {"app": "jira/tracker", "tenant": "acme", "actor": "app", "method": "GET", "path": "/rest/api/3/issue/PROJ-1"},
]))]
pub struct Asked {
    /// As product/app.
    pub app: String,
    pub tenant: String,
    #[serde(default)]
    pub actor: Option<crate::acts::order::Actor>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub kind: Option<String>,
    /// RFC 3339; absent, now.
    #[serde(default)]
    pub at: Option<String>,
    /// `project=SEC`: what a look-up would have said.
    #[serde(default)]
    pub containers: Vec<String>,
    #[serde(default)]
    pub gate: Option<String>,
    #[serde(default = "get")]
    pub method: String,
    /// Path and query.
    pub path: String,
    #[serde(default)]
    pub body: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Who asks, as the gate knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Whoami {
    /// `token:dana`, `certificate:spiffe://example.com/oncall`, `uid:1000`.
    pub principal: String,
    pub role: Role,
    pub may: Vec<Right>,
}

/// The snapshot in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SnapshotView {
    pub generation: u64,
    pub digest: String,
    /// How many there are.
    pub apps: usize,
    /// What gives still waits until the policy folder has stood still.
    pub settling: bool,
    /// Since when this gate judges by it (RFC 3339).
    pub in_force_since: Option<String>,
    /// Errors that keep a document out.
    pub errors: usize,
    pub problems: Vec<ProblemView>,
    /// So many besides those listed.
    pub more_problems: usize,
}

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProblemView {
    /// `error` keeps a document out, `warning` does not.
    pub severity: Severity,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// An app as the policy describes it. No digest of a credential is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AppView {
    /// As product/app.
    pub app: String,
    pub name: String,
    pub contact: String,
    pub product: String,
    pub installations: Vec<InstallationView>,
    pub grants: usize,
    pub revocations: usize,
    /// The guardrails that reach it.
    pub guardrails: Vec<String>,
    /// Scopes that it is granted and that rule something other than operations.
    pub other_sides: Vec<SideView>,
}

/// An app in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InstallationView {
    pub tenant: String,
    pub tenant_name: Option<String>,
    pub installed_at: Option<String>,
    pub install_window_open: bool,
    pub observe_until: Option<String>,
    pub observed: bool,
    /// `file:line` of what suspends it.
    pub suspended: Option<String>,
    /// How many of each kind and method.
    pub credentials: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SideView {
    pub scope: String,
    pub rules: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AppsPage {
    /// The snapshot that was read.
    pub generation: u64,
    pub apps: Vec<AppView>,
    /// Where the next page begins; null on the last.
    pub next: Option<String>,
}

/// One thing that an app holds, or would hold if it were not revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct CellView {
    pub app: String,
    pub tenant: String,
    pub scope: String,
    /// `all`, or `project=SEC`.
    pub container: String,
    pub actor: String,
    /// What limits the grant besides: operations, users.
    pub only: Option<String>,
    pub held: bool,
    /// `file:line`.
    pub granted_by: String,
    /// `file:line` of the revocation that takes it.
    pub revoked_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CellsPage {
    /// The snapshot that was read. Pages of two snapshots do not make one list.
    pub generation: u64,
    pub cells: Vec<CellView>,
    /// Where the next page begins; null on the last.
    pub next: Option<String>,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EntryView {
    #[serde(flatten)]
    pub entry: Entry,
    /// `time_ms` for people.
    pub time: String,
    /// What the next entry follows from.
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HistoryPage {
    /// The newest first.
    pub entries: Vec<EntryView>,
    /// Where the next page begins; null where nothing older is kept.
    pub next: Option<u64>,
}

/// What `explain` answers, as far as it is always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explained {
    /// `permit` or `deny`.
    pub decision: String,
}

/// A page's length: what is asked for, within its bounds.
pub fn length(asked: Option<u32>, usual: usize, max: usize) -> Result<usize, String> {
    match asked.map(|asked| asked as usize) {
        None => Ok(usual),
        Some(asked) if (1..=max).contains(&asked) => Ok(asked),
        Some(_) => Err(format!("`limit` is from 1 to {max}")),
    }
}
