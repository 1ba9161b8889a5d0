//! `/livez`, `/readyz` and `/metrics` on a listener of their own, and nothing else.
//!
//! Ready is: a snapshot is in force, nothing is waited for, and the process is not on its way out. Warnings (unsound
//! settings, an open way round, `observe`) do not make it unready; they are told in the detail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::unix_ms;
use crate::metrics::{self, Metrics};
use crate::problem::Problem;

/// What is waited for where the bucket is not known well enough.
pub const OVERRIDES: &str = "overrides";

/// What decides about readiness, shared by everything that has a say. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    draining: bool,
    /// How many guards wait for a task, by its name.
    waiting: BTreeMap<String, usize>,
    snapshot: Option<SnapshotFacts>,
    problems: usize,
    /// All of them, and since when the snapshot is in force.
    noted: (Arc<[Problem]>, Option<i64>),
    file_problems: Vec<String>,
    /// By gate and issuer.
    key_set_problems: BTreeMap<(String, String), String>,
    state: StateFolder,
    warnings: Warnings,
    overrides: Option<BucketFacts>,
    /// How long what is known of the bucket is good for. `None`: there is no bucket, or nothing is known of it.
    lease: Option<Lease>,
    clock: Option<String>,
}

/// A time that ends by whichever clock is there first: the one that does not jump, or the one that goes on while a machine
/// sleeps.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    pub until: Instant,
    /// Unix time in milliseconds.
    pub until_ms: i64,
}

impl Lease {
    fn has_ended(&self) -> bool {
        Instant::now() > self.until || unix_ms() > self.until_ms
    }
}

/// How a gate of a fleet stands with the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketFacts {
    pub bucket: String,
    /// What commands call this gate.
    pub gate: String,
    pub connected: bool,
    /// All that was acknowledged before this is in force here. `None`: it never was.
    pub last_in_sync: Option<String>,
    /// Acts on the disk.
    pub known: usize,
    /// Those of them that the bucket does not have.
    pub missing: usize,
    /// How the servers' copies of the bucket differed when this gate last held them beside each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies_differ: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub copies_differ_more: usize,
    /// What other gates have and did not come here, each with who has it: without it the gate is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// Values in the bucket that are kept out, each with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub refused_more: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What is kept in the state folder. Nothing of it decides about readiness: enforcement does not hang on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StateFolder {
    pub journal: Kept,
    pub usage: Kept,
}

/// How something stands that is kept in the state folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Kept {
    /// There is no state folder.
    #[default]
    Off,
    Kept,
    /// It cannot be written, or was lost. `waiting`: what is kept in memory until it can be.
    Problem {
        problem: String,
        waiting: usize,
    },
}

impl Kept {
    fn of(waiting: usize, problem: Option<String>) -> Self {
        problem.map_or(Self::Kept, |problem| Self::Problem { problem, waiting })
    }
}

/// The snapshot in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotFacts {
    pub generation: u64,
    pub digest: String,
    /// The last whole state is older than the newest readable one: both are asked (law 7).
    pub settling: bool,
}

/// What an operator must know though the gate works. Replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Warnings {
    /// Settings that take a name for an identity: `jira: issue_keys: prefix`.
    pub unsound: Vec<String>,
    pub bypass: Vec<Bypass>,
    pub observe: Vec<Observe>,
}

/// Why the apps of a gate cannot walk around it (law 11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bypass {
    pub gate: String,
    /// `credential`, `network` or `open`. `open` is advice, not enforcement.
    pub kind: String,
}

/// Something that is under `observe`, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observe {
    pub gate: String,
    /// `None`: the gate as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Unix time in milliseconds.
    #[serde(rename = "until", serialize_with = "as_rfc3339")]
    pub until_ms: i64,
}

fn as_rfc3339<S: Serializer>(unix_ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*unix_ms))
}

/// Unix time in milliseconds as people read it, to the second.
pub fn rfc3339(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1000)).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub draining: bool,
    /// The names of what is waited for.
    pub waiting: Vec<String>,
    pub snapshot: Option<SnapshotFacts>,
    pub problems: usize,
    /// The files of TLS and of proxies that cannot be taken as they are now, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_problems: Vec<String>,
    /// The key sets of issuers that cannot be had: the last one counts until it is too old.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_set_problems: Vec<String>,
    pub state: StateFolder,
    /// Where acts lie in the bucket of a fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<BucketFacts>,
    /// The clock was set forward further than is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    #[serde(flatten)]
    pub warnings: Warnings,
}

/// Not ready while it lives. Named after the task that is waited for.
#[derive(Debug)]
pub struct Waiting {
    readiness: Readiness,
    task: String,
}

impl Readiness {
    /// Not ready until the guard is dropped, also where its task panics.
    pub fn waits_for(&self, task: impl Into<String>) -> Waiting {
        let task = task.into();
        *self.facts().waiting.entry(task.clone()).or_default() += 1;
        Waiting { readiness: self.clone(), task }
    }

    pub fn snapshot(&self, snapshot: SnapshotFacts) {
        let mut facts = self.facts();
        if facts.snapshot.as_ref().map(|before| before.generation) != Some(snapshot.generation) {
            facts.noted.1 = Some(unix_ms());
        }
        facts.snapshot = Some(snapshot);
    }

    /// What is wrong with files, for whoever asks.
    pub fn note(&self, problems: Arc<[Problem]>) {
        self.facts().noted.0 = problems;
    }

    /// What is wrong with files, and since when (Unix time in milliseconds) the snapshot is in force.
    pub fn noted(&self) -> (Arc<[Problem]>, Option<i64>) {
        self.facts().noted.clone()
    }

    /// How many errors keep documents out.
    pub fn problems(&self, problems: usize) {
        self.facts().problems = problems;
    }

    /// The files that cannot be taken. What they held before works on, so they do not make it unready.
    pub fn file_problems(&self, problems: Vec<String>) {
        self.facts().file_problems = problems;
    }

    /// How the last fetch of an issuer's key set ended. A gate that lacks one refuses that issuer's tokens, and serves others.
    pub fn key_set(&self, gate: &str, issuer: &str, problem: Option<&str>) {
        let (of, mut facts) = ((gate.to_owned(), issuer.to_owned()), self.facts());
        match problem {
            Some(problem) => {
                drop(facts.key_set_problems.insert(of, format!("{gate}: {issuer}: {problem}")));
            }
            None => drop(facts.key_set_problems.remove(&of)),
        }
    }

    /// How the journal stands.
    pub fn journal(&self, waiting: usize, problem: Option<String>) {
        self.facts().state.journal = Kept::of(waiting, problem);
    }

    /// How what is known of the use of rights stands.
    pub fn usage(&self, waiting: usize, problem: Option<String>) {
        self.facts().state.usage = Kept::of(waiting, problem);
    }

    /// How it stands with the bucket. Whether that makes the gate unready is said by a guard.
    pub fn bucket(&self, facts: BucketFacts) {
        self.facts().overrides = Some(facts);
    }

    /// Until then it may be ready with what it knows of the bucket, whether or not anybody comes to say that it is over: whoever
    /// keeps the time may be held up by a slow disk.
    pub fn lease(&self, lease: Option<Lease>) {
        self.facts().lease = lease;
    }

    /// What is wrong with the clock. Nothing of it decides about readiness.
    pub fn clock(&self, told: Option<String>) {
        self.facts().clock = told;
    }

    pub fn warnings(&self, warnings: Warnings) {
        self.facts().warnings = warnings;
    }

    /// From here on never ready again: balancers stop sending before the listeners close.
    pub fn drain(&self) {
        self.facts().draining = true;
    }

    pub fn report(&self) -> Report {
        let facts = self.facts();
        let mut waiting: Vec<String> = facts.waiting.keys().cloned().collect();
        if facts.lease.is_some_and(|lease| lease.has_ended()) && !facts.waiting.contains_key(OVERRIDES) {
            waiting.push(OVERRIDES.to_owned());
        }
        Report {
            ready: !facts.draining && waiting.is_empty() && facts.snapshot.is_some(),
            draining: facts.draining,
            waiting,
            snapshot: facts.snapshot.clone(),
            problems: facts.problems,
            file_problems: facts.file_problems.clone(),
            key_set_problems: facts.key_set_problems.values().cloned().collect(),
            state: facts.state.clone(),
            overrides: facts.overrides.clone(),
            clock: facts.clock.clone(),
            warnings: facts.warnings.clone(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut facts = self.readiness.facts();
        if let Some(count) = facts.waiting.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                facts.waiting.remove(&self.task);
            }
        }
    }
}

/// The routes. Everything else is 404.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(report)).into_response()
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> SnapshotFacts {
        SnapshotFacts { generation: 1, digest: "aa".into(), settling: false }
    }

    #[test]
    fn ready_is_a_snapshot_and_nothing_that_is_waited_for() {
        let readiness = Readiness::default();
        assert!(!readiness.report().ready);
        readiness.snapshot(snapshot());
        assert!(readiness.report().ready);
        let (first, second) = (readiness.waits_for("policies"), readiness.waits_for("policies"));
        drop(first);
        assert_eq!(readiness.report().waiting, ["policies"]);
        assert!(!readiness.report().ready);
        drop(second);
        assert!(readiness.report().ready);
    }

    #[test]
    fn warnings_and_problems_are_told_but_do_not_make_it_unready() {
        let readiness = Readiness::default();
        readiness.snapshot(snapshot());
        readiness.problems(3);
        readiness.file_problems(vec!["jira: tls.key: is empty".into()]);
        let bypass = vec![Bypass { gate: "jira".into(), kind: "open".into() }];
        readiness.warnings(Warnings { bypass, ..Warnings::default() });
        let report = readiness.report();
        assert!(report.ready);
        assert_eq!((report.problems, report.file_problems.len(), report.warnings.bypass.len()), (3, 1, 1));
    }

    #[test]
    fn a_lease_ends_by_either_clock_though_nobody_says_so() {
        let readiness = Readiness::default();
        readiness.snapshot(snapshot());
        let (now, hour) = (Instant::now(), std::time::Duration::from_secs(3_600));
        let lease = |until, until_ms| readiness.lease(Some(Lease { until, until_ms }));
        lease(now + hour, unix_ms() + 3_600_000);
        assert!(readiness.report().ready);
        for (until, until_ms) in [(now, unix_ms() + 3_600_000), (now + hour, unix_ms() - 1)] {
            lease(until, until_ms);
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert_eq!((readiness.report().ready, readiness.report().waiting), (false, vec![OVERRIDES.to_owned()]));
        }
        let waits = readiness.waits_for(OVERRIDES);
        assert_eq!(readiness.report().waiting, [OVERRIDES], "said once");
        drop(waits);
        readiness.lease(None);
        assert!(readiness.report().ready);
    }

    #[test]
    fn a_gate_that_drains_is_never_ready_again() {
        let readiness = Readiness::default();
        readiness.drain();
        readiness.snapshot(snapshot());
        assert!(!readiness.report().ready);
    }
}
