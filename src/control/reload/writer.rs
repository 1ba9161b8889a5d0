//! What the writer's thread owns, and the way from a look at a folder to a snapshot in force.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::named::Named;
use super::observed::Observed;
use super::told::Problems;
use super::{Settings, Told};
use crate::authz::policy::cells;
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::{Change, Content, Store};
use crate::authz::snapshot::Snapshot;
use crate::control::folder::{self, Held, Scan, Seen, Untold};
use crate::control::health::{SnapshotFacts, Waiting};
use crate::control::secrets::SecretWatch;
use crate::live::unix_ms;
use crate::metrics::Reload;
use crate::problem::Problem;

/// A reload of everything changes every cell; `diff` lists them all.
const CHANGES_LOGGED_MAX: usize = 100;

/// The documents, and everyone who must hear of them.
pub(super) struct Writer {
    store: Store,
    told: Told,
    secrets: SecretWatch,
    named: Named,
    observed: Observed,
    problems: Problems,
    /// Not ready until a whole folder is in force.
    waiting: Option<Waiting>,
    /// Snapshots that a request still held when they were replaced. Dropped here, so that no request pays for
    /// dropping 10,000 apps.
    graveyard: Vec<Arc<Snapshot>>,
    /// Something was read that no look has accounted for yet.
    owed: bool,
    last: Option<Reload>,
    policies: State,
    overrides: State,
}

/// What the last look at a folder said of it.
#[derive(Default)]
struct State {
    problems: Arc<[Problem]>,
    untold: bool,
}

impl Writer {
    pub(super) fn new(
        settings: &Settings,
        catalogs: Arc<Catalogs>,
        told: Told,
        secrets: SecretWatch,
    ) -> Result<Self, Vec<Problem>> {
        let observing = settings.gates.iter().any(|gate| gate.observe_until_ms.is_some());
        let named = Named::load(settings.state.as_deref(), observing).map_err(|problem| vec![problem])?;
        Ok(Self {
            store: Store::new(catalogs),
            secrets,
            named,
            observed: Observed::new(settings, &told),
            problems: Problems::default(),
            waiting: Some(told.readiness.waits_for("policy")),
            told,
            graveyard: Vec::new(),
            owed: true,
            last: None,
            policies: State::default(),
            overrides: State::default(),
        })
    }

    /// Runs one reload. One that panics leaves the last snapshot in force; what it had read is tried again with the
    /// next look, which comes within seconds.
    pub(super) fn guarded(&mut self, reload: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| reload(self))).is_err() {
            tracing::error!("a reload panicked; the last snapshot stays in force");
            self.owed = true;
            self.told.metrics.reload(Reload::Failure, self.errors(), seconds(unix_ms()));
        }
    }

    /// A look at one of the folders. What it takes away is in force when this returns; what it gives, if it settled.
    pub(super) fn seen(&mut self, origin: Origin, seen: Seen) {
        let settled = seen.settled && origin == Origin::Policy;
        self.owed |= self.take(origin, seen.scan);
        self.fit_in();
        self.owed |= settled && self.store.settle();
        self.publish();
        self.account();
    }

    pub(super) fn secrets_changed(&mut self) {
        let secrets = self.secrets.secrets();
        self.store.know(&secrets.by_path);
        self.publish();
        self.account();
    }

    /// Hands what changed to the documents; says whether anything did.
    pub(super) fn take(&mut self, origin: Origin, scan: Scan) -> bool {
        // Nobody has ever written an override: that is an empty folder, not one that cannot be read.
        let none_yet = origin == Origin::Override
            && scan.untold == Some(Untold::Io(std::io::ErrorKind::NotFound))
            && self.store.files(origin).next().is_none();
        let state = match origin {
            Origin::Policy => &mut self.policies,
            Origin::Override => &mut self.overrides,
        };
        let was_untold = std::mem::replace(&mut state.untold, scan.untold.is_some() && !none_yet);
        state.problems = if none_yet { Arc::from([]) } else { Arc::clone(&scan.problems) };
        let news = scan.is_news() || was_untold != state.untold;
        let changes = self.changes(origin, scan);
        if !changes.is_empty() {
            self.store.take(changes, unix_ms());
        }
        news
    }

    fn changes(&self, origin: Origin, scan: Scan) -> Vec<Change> {
        let gone = |file| Change { file, origin, content: Content::Gone };
        let mut lost: Vec<Arc<Path>> = scan.gone;
        if scan.complete {
            let told: HashSet<&Arc<Path>> = scan.changed.iter().map(|change| &change.path).collect();
            lost.extend(self.store.files(origin).filter(|file| !told.contains(file)).cloned());
        }
        lost.into_iter().map(gone).chain(scan.changed.into_iter().map(|change| changed(origin, change))).collect()
    }

    /// At start: lets in what was taken, and gives everything that is wrong.
    pub(super) fn fit(&mut self) -> Vec<Problem> {
        self.fit_in();
        self.all_problems()
    }

    /// At start, when nothing is wrong.
    pub(super) fn start(&mut self, settled: bool) {
        if settled {
            self.store.settle();
        } else {
            tracing::info!("the policy folder has just changed; the gate waits until it has settled");
        }
        self.publish();
        self.account();
    }

    fn fit_in(&mut self) {
        // Secrets are read before a credential that names one is in force.
        if self.store.secrets_moved() {
            let files = self.store.secret_files().into_iter().map(Into::into);
            let secrets = self.secrets.name(files);
            self.store.know(&secrets.by_path);
        }
        self.store.fit();
    }

    fn publish(&mut self) {
        if !self.store.has_moved() {
            return;
        }
        let began = Instant::now();
        let secrets = self.secrets.secrets();
        let mut snapshot = self.store.snapshot(&secrets.by_path);
        if snapshot.states.is_none() {
            return;
        }
        let fresh = self.named.add(self.store.credential_digests());
        snapshot.named = self.named.all();
        let (generation, digest) = (snapshot.generation, snapshot.digest.clone());
        let old = self.told.live.publish(snapshot);
        tracing::info!(generation, digest, took_ms = began.elapsed().as_millis(), "a snapshot is in force");
        self.told.metrics.snapshot(generation, &digest);
        self.announce();
        self.log_cells(&old);
        self.graveyard.push(old);
        self.waiting = None;
        // After the fact: a slow disk must not delay a revocation.
        self.named.keep(&fresh);
    }

    /// Which cells changed. After the fact, and at the start not at all: everything would have.
    fn log_cells(&self, old: &Snapshot) {
        let new = Arc::clone(&self.told.live.load());
        let Some(before) = &old.states else { return };
        let changes = cells::between(Some(before), new.states.as_ref(), &new.catalogs, CHANGES_LOGGED_MAX);
        let unsaid = changes.lines.len().saturating_sub(CHANGES_LOGGED_MAX);
        changes.lines.iter().take(CHANGES_LOGGED_MAX).for_each(|line| tracing::info!("{line}"));
        if unsaid + changes.more > 0 {
            tracing::info!(lines = unsaid, apps = changes.more, "more cells changed than are logged");
        }
    }

    /// Tells metrics, readiness and the log how things stand.
    fn account(&mut self) {
        let now_ms = unix_ms();
        self.announce();
        self.problems.tell(self.all_problems());
        let errors = self.errors();
        self.told.readiness.problems(errors);
        let result = match () {
            () if self.policies.untold || self.overrides.untold => Some(Reload::Failure),
            () if errors > 0 => Some(Reload::Problems),
            // Neither good nor bad yet.
            () if self.store.is_waiting() => None,
            () => Some(Reload::Success),
        };
        if let Some(result) = result {
            let told_already = !self.owed && self.last == Some(result);
            match result {
                Reload::Success if told_already => self.told.metrics.in_force(seconds(now_ms)),
                Reload::Success | Reload::Problems | Reload::Failure if told_already => {}
                Reload::Success | Reload::Problems | Reload::Failure => {
                    self.told.metrics.reload(result, errors, seconds(now_ms));
                }
            }
            self.last = Some(result);
            self.owed = false;
        }
        self.observed.tell(&self.told.live.load(), &self.told, now_ms);
    }

    fn announce(&self) {
        let snapshot = self.told.live.load();
        if snapshot.states.is_some() {
            let (generation, digest) = (snapshot.generation, snapshot.digest.clone());
            self.told.readiness.snapshot(SnapshotFacts { generation, digest, settling: self.store.is_waiting() });
        }
    }

    fn errors(&self) -> usize {
        self.problems.errors()
    }

    fn all_problems(&self) -> Vec<Problem> {
        let mut problems = self.store.problems();
        for problem in self.policies.problems.iter().chain(self.overrides.problems.iter()) {
            let same = |other: &Problem| other.file == problem.file && other.message == problem.message;
            if !problems.iter().any(same) {
                problems.push(problem.clone());
            }
        }
        // A credential without its secret fails by itself; it keeps no document out.
        let secrets = self.secrets.secrets();
        let unread = secrets.problems.iter().cloned();
        problems.extend(unread.map(|problem| Problem { severity: crate::problem::Severity::Warning, ..problem }));
        problems
    }

    /// Drops what no request holds any more.
    pub(super) fn sweep(&mut self) {
        self.graveyard.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    pub(super) fn has_buried(&self) -> bool {
        !self.graveyard.is_empty()
    }
}

fn changed(origin: Origin, change: folder::Change) -> Change {
    let content = match change.held {
        Held::Text { text, .. } => Content::Text(text),
        Held::Unreadable(why) => Content::Unreadable(why.to_string()),
    };
    Change { file: change.path, origin, content }
}

/// Prometheus counts in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::toy::Toy;
    use crate::control::folder::{Folder, Verify};
    use crate::control::health::{Readiness, Warnings};
    use crate::live::Live;
    use crate::metrics::Metrics;

    #[test]
    fn a_reload_that_panics_is_counted_and_the_next_one_goes_on() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.yaml"), "version: 1\nset: s\ntenant: t\nproject: [A]\n").unwrap();
        let settings = Settings {
            policies: root.path().to_path_buf(),
            overrides: None,
            secrets_base: root.path().to_path_buf(),
            state: None,
            gates: Vec::new(),
            warnings: Warnings::default(),
            folder: folder::Settings::default(),
        };
        let catalogs = Toy::new().catalogs;
        let told = Told {
            live: Arc::new(Live::new(Snapshot::empty(Arc::clone(&catalogs)))),
            metrics: Metrics::new(1).unwrap(),
            readiness: Readiness::default(),
        };
        let secrets = SecretWatch::spawn(root.path(), || ()).unwrap();
        let mut writer = Writer::new(&settings, catalogs, told.clone(), secrets).unwrap();
        let scan = Folder::new(root.path()).scan(Verify::All);
        writer.guarded(|writer| {
            writer.take(Origin::Policy, scan);
            panic!("as a fault of ours would");
        });
        assert!(told.metrics.render().unwrap().contains(r#"reloads_total{result="failure"} 1"#));
        assert!(told.live.load().states.is_none());
        writer.guarded(|writer| {
            writer.fit();
            writer.start(true);
        });
        assert!(told.live.load().states.is_some(), "what was read before the panic is in force");
        assert!(told.metrics.render().unwrap().contains(r#"reloads_total{result="success"} 1"#));
    }
}
