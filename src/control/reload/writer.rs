//! What the writer's thread owns, and the way from a look at a folder to a snapshot in force.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::dropped::Dropper;
use super::held::{HeldActs, Said};
use super::kept::{KeptActs, Spared};
use super::named::Named;
use super::observed::Observed;
use super::pinned::{self, Pinned};
use super::settling::Settling;
use super::told::Problems;
use super::{Fault, Settings, Told, Tried, seconds};
use crate::acts::ActId;
use crate::authz::gate::GateRules;
use crate::authz::pins;
use crate::authz::policy::cells::{self, Changes};
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::{Change, Content, Store};
use crate::authz::snapshot::Snapshot;
use crate::clock::unix_ms;
use crate::control::folder::{self, Held, Hints, Scan, Seen, Untold};
use crate::control::health::{SnapshotFacts, Waiting};
use crate::control::journal::author::Author;
use crate::control::journal::entry::Source;
use crate::control::journal::{CHANGES_MAX, Draft, InForce, Journal};
use crate::control::secrets::SecretWatch;
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
    pinned: Pinned,
    gates: Vec<Arc<GateRules>>,
    observed: Observed,
    problems: Problems,
    /// Not ready until a whole folder is in force.
    waiting: Option<Waiting>,
    /// Snapshots that a request still held when they were replaced. Dropped here, so that no request pays for
    /// dropping 10,000 apps.
    graveyard: Vec<Arc<Snapshot>>,
    /// Something was read that no look has accounted for yet.
    owed: bool,
    /// The last reload panicked: what the documents took for published may be in force nowhere.
    unpublished: bool,
    last: Option<Reload>,
    errors_told: usize,
    policies: State,
    overrides: State,
    has_overrides: bool,
    settling: Settling,
    journal: Option<Journal>,
    /// Texts that were read, by digest, until they are in force or read anew.
    texts: HashMap<[u8; 32], (Origin, Arc<str>)>,
    /// The overrides that the journal was told of.
    overrides_told: HashMap<Arc<Path>, [u8; 32]>,
    dropper: Dropper,
    kept: KeptActs,
    /// `None`: the acts lie in a folder of their own.
    held: Option<HeldActs>,
    /// Whoever waits for acts was told in this look.
    force_told: bool,
}

/// A whole folder that is read at once is not kept in memory for the journal, which reads it again.
const TEXTS_MAX: usize = 1_000;

/// What the last look at a folder said of it.
#[derive(Default)]
struct State {
    problems: Arc<[Problem]>,
    untold: bool,
    /// When it was last read and what it takes away in force. Unix time in milliseconds.
    read_ms: Option<i64>,
}

impl Writer {
    pub(super) fn new(
        settings: &Settings,
        catalogs: Arc<Catalogs>,
        told: Told,
        secrets: SecretWatch,
        of_acts: Option<Arc<Hints>>,
    ) -> Result<Self, Vec<Problem>> {
        let observing = settings.gates.iter().any(|gate| gate.observe_until_ms.is_some());
        let named = Named::load(settings.state.as_deref(), observing).map_err(|problem| vec![problem])?;
        let pinned = Pinned::load(settings.state.as_deref()).map_err(|problem| vec![problem])?;
        let mut store = Store::new(catalogs);
        store.pin(pinned.all());
        Ok(Self {
            store,
            pinned,
            gates: settings.gates.clone(),
            secrets,
            named,
            observed: Observed::new(settings, &told),
            problems: Problems::default(),
            waiting: Some(told.readiness.waits_for("policy")),
            told,
            graveyard: Vec::new(),
            owed: true,
            unpublished: false,
            last: None,
            errors_told: 0,
            policies: State::default(),
            overrides: State::default(),
            has_overrides: settings.overrides.is_some(),
            settling: Settling::new(of_acts),
            journal: settings.journal.clone(),
            texts: HashMap::new(),
            overrides_told: HashMap::new(),
            dropper: Dropper::new(settings),
            kept: KeptActs::new(settings.overrides.as_ref().filter(|_| !settings.acts_are_shared)),
            held: settings.acts_are_shared.then(HeldActs::default),
            force_told: false,
        })
    }

    /// Runs one reload. One that panics leaves the last snapshot in force; what it had read is tried again with the
    /// next look, which comes within seconds.
    pub(super) fn guarded(&mut self, reload: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| reload(self))).is_err() {
            tracing::error!("a reload panicked; the last snapshot stays in force");
            (self.owed, self.unpublished) = (true, true);
            self.told.metrics.reload(Reload::Failure, self.errors(), seconds(unix_ms()));
        }
    }

    /// A look at one of the folders. What it takes away is in force when this returns; what it gives, if it settled.
    pub(super) fn seen(&mut self, origin: Origin, seen: Seen) {
        let settled = self.settling.seen(origin, &seen);
        let ago_ms = i64::try_from(seen.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let began_ms = unix_ms().saturating_sub(ago_ms);
        self.owed |= self.take(origin, seen.scan, seen.settled);
        self.fit_in();
        self.owed |= settled && self.store.settle();
        self.publish();
        self.account();
        self.looked(origin, began_ms);
        self.dropper.look(&self.store, self.journal.as_ref());
    }

    /// Told last: a look whose reload panicked put nothing in force. What was written after it began may not be in it.
    fn looked(&mut self, origin: Origin, began_ms: i64) {
        let state = self.state(origin);
        if !state.untold {
            state.read_ms = Some(began_ms);
        }
        // The folder that was read longest ago is the one to worry about.
        let folders = [Some(&self.policies), self.has_overrides.then_some(&self.overrides)];
        let oldest = folders.into_iter().flatten().map(|state| state.read_ms).min();
        if let Some(Some(read_ms)) = oldest {
            self.told.metrics.read(seconds(read_ms));
        }
    }

    fn state(&mut self, origin: Origin) -> &mut State {
        match origin {
            Origin::Policy => &mut self.policies,
            Origin::Override => &mut self.overrides,
        }
    }

    pub(super) fn secrets_changed(&mut self) {
        let secrets = self.secrets.secrets();
        self.store.know(&secrets.by_path);
        self.publish();
        self.account();
    }

    /// What names stand for. It is kept before it is in force.
    pub(super) fn pinned(&mut self, told: &[pinned::Told]) {
        let snapshot = self.told.live.load();
        let written = self.gates.iter().flat_map(|gate| pins::written(&snapshot, gate)).collect();
        drop(snapshot);
        if self.pinned.note(told, &written) {
            self.store.pin(self.pinned.all());
            self.publish();
            self.account();
        }
    }

    /// Hands what changed to the documents; says whether anything did.
    /// `settled`: as it is, it has been for a while.
    pub(super) fn take(&mut self, origin: Origin, scan: Scan, settled: bool) -> bool {
        // Nobody has ever written an override: that is an empty folder, not one that cannot be read.
        let none_yet = origin == Origin::Override
            && scan.untold == Some(Untold::Io(std::io::ErrorKind::NotFound))
            && self.store.files(origin).next().is_none();
        let state = self.state(origin);
        let was_untold = std::mem::replace(&mut state.untold, scan.untold.is_some() && !none_yet);
        state.problems = if none_yet { Arc::from([]) } else { Arc::clone(&scan.problems) };
        let news = scan.is_news() || was_untold != state.untold;
        let lost = self.lost(origin, &scan);
        let changes = match (origin, &mut self.held) {
            (Origin::Policy, _) => changes(origin, lost, scan),
            (Origin::Override, None) => {
                let Spared { spared, let_go } = self.kept.look(&scan, &lost, settled);
                let lost = lost.into_iter().filter(|file| !spared.contains(file)).chain(let_go);
                changes(origin, lost, scan)
            }
            (Origin::Override, Some(held)) => {
                held.look(&scan);
                let all = changes(origin, lost, scan).into_iter();
                all.filter(|change| !held.spares(&change.file)).collect()
            }
        };
        self.change(changes);
        news
    }

    /// What is said of acts is in force when this returns. Of a folder of their own only that they are taken back: what they say is
    /// read there.
    pub(super) fn hold(&mut self, said: Vec<Said>) {
        let changes = match &mut self.held {
            Some(held) => held.take(said),
            None => {
                let gone = said.into_iter().filter(|(_, text)| text.is_none()).map(|(file, _)| file);
                let gone = gone.filter(|file| self.kept.withdraw(file));
                gone.map(|file| Change { file, origin: Origin::Override, content: Content::Gone }).collect()
            }
        };
        self.owed = true;
        self.change(changes);
        self.fit_in();
        self.publish();
        self.account();
    }

    fn change(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.keep_texts(&changes);
            self.store.take(changes, unix_ms());
        }
    }

    fn keep_texts(&mut self, changes: &[Change]) {
        if self.journal.is_none() {
            return;
        }
        for change in changes {
            if let Content::Text(text) = &change.content
                && self.texts.len() < TEXTS_MAX
            {
                self.texts.insert(Sha256::digest(text.as_bytes()).into(), (change.origin, Arc::clone(text)));
            }
        }
    }

    /// The files that are not there any more.
    fn lost(&self, origin: Origin, scan: &Scan) -> Vec<Arc<Path>> {
        let mut lost = scan.gone.clone();
        if scan.complete {
            let told: HashSet<&Arc<Path>> = scan.changed.iter().map(|change| &change.path).collect();
            lost.extend(self.store.files(origin).filter(|file| !told.contains(file)).cloned());
        }
        lost
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
        if let Some(held) = &mut self.held {
            held.start();
        }
        self.settling.changed();
        self.publish();
        self.account();
        let now_ms = unix_ms();
        self.looked(Origin::Override, now_ms);
        self.looked(Origin::Policy, now_ms);
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
        if !self.store.has_moved() && !self.unpublished {
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
        self.unpublished = false;
        self.dropper.published();
        tracing::info!(generation, digest, took_ms = began.elapsed().as_millis(), "a snapshot is in force");
        // First: somebody waits for it.
        self.tell_force();
        self.force_told = true;
        self.told.metrics.snapshot(generation, &digest);
        self.announce();
        let changes = self.log_cells(&old);
        self.journal(&old, changes);
        self.graveyard.push(old);
        self.waiting = None;
        // After the fact: a slow disk must not delay a revocation.
        self.named.keep(&fresh);
    }

    /// Which cells changed. After the fact, and at the start not at all: everything would have.
    fn log_cells(&self, old: &Snapshot) -> Changes {
        let new = Arc::clone(&self.told.live.load());
        let Some(before) = &old.states else { return Changes::default() };
        let changes = cells::between(Some(before), new.states.as_ref(), &new.catalogs, CHANGES_MAX);
        let unsaid = changes.lines.len().saturating_sub(CHANGES_LOGGED_MAX);
        changes.lines.iter().take(CHANGES_LOGGED_MAX).for_each(|line| tracing::info!("{line}"));
        if unsaid + changes.more > 0 {
            tracing::info!(lines = unsaid, apps = changes.more, "more cells changed than are logged");
        }
        changes
    }

    /// Hands over what changed. Nothing waits for it.
    fn journal(&mut self, old: &Snapshot, mut changes: Changes) {
        let Some(journal) = &self.journal else { return };
        let new = self.told.live.load();
        let files: Arc<[InForce]> = self
            .store
            .in_force()
            .map(|(origin, path, digest)| InForce { origin, path: Arc::clone(path), digest })
            .collect();
        let fresh: Vec<&(Origin, Arc<str>)> = files.iter().filter_map(|file| self.texts.get(&file.digest)).collect();
        let by_command = !fresh.is_empty() && fresh.iter().all(|(origin, _)| *origin == Origin::Override);
        let overrides = files.iter().filter(|file| file.origin == Origin::Override);
        let overrides: HashMap<_, _> = overrides.map(|file| (Arc::clone(&file.path), file.digest)).collect();
        let fewer = fresh.is_empty() && overrides.len() < self.overrides_told.len();
        let (authors, by_api) = authors(journal, &self.overrides_told, &overrides);
        self.overrides_told = overrides;
        let source = match old.states {
            None => Source::Start,
            Some(_) if by_api && (by_command || fewer) => Source::Api,
            Some(_) if by_command || fewer => Source::Override,
            Some(_) => Source::File,
        };
        changes.lines.splice(0..0, self.dropper.told(&files));
        let changes_more = changes.more + changes.lines.len().saturating_sub(CHANGES_MAX);
        changes.lines.truncate(CHANGES_MAX);
        journal.record(Draft {
            time_ms: unix_ms(),
            source,
            changes: changes.lines,
            changes_more,
            generation: new.generation,
            digest: new.digest.clone(),
            texts: fresh.into_iter().map(|(_, text)| Arc::clone(text)).collect(),
            files,
            authors,
            folded: 0,
        });
        let waiting: HashSet<[u8; 32]> = self.store.waiting().collect();
        self.texts.retain(|digest, _| waiting.contains(digest));
    }

    /// Tells metrics, readiness and the log how things stand.
    fn account(&mut self) {
        let now_ms = unix_ms();
        self.announce();
        self.problems.tell(self.all_problems());
        self.told.readiness.note(self.problems.all());
        let errors = self.errors();
        // What a bucket holds is in no look at a folder.
        self.owed |= errors != self.errors_told;
        self.errors_told = errors;
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
        // Once for each look: with 10,000 acts that is a list.
        if !std::mem::take(&mut self.force_told) {
            self.tell_force();
        }
        self.told.metrics.settling(self.store.is_waiting());
        self.observed.tell(&self.told.live.load(), &self.told, now_ms);
    }

    fn tell_force(&self) {
        let snapshot = self.told.live.load();
        let amiss = self.held.as_ref().map(HeldActs::amiss).unwrap_or_default();
        self.told.force.tell(snapshot.generation, &snapshot.digest, &self.store, amiss);
    }

    /// What would be if an override of this name said this. The documents in force stay as they are.
    pub(super) fn try_out(&self, file: Arc<Path>, content: Content) -> Tried {
        let mut store = self.store.clone();
        store.apply(vec![Change { file: Arc::clone(&file), origin: Origin::Override, content }], unix_ms());
        let refused = store.overrides_standing().filter(|(path, _)| **path == file);
        let problems = refused.filter_map(|(_, problem)| problem.cloned()).collect();
        Tried { snapshot: store.snapshot(&self.secrets.secrets().by_path), problems }
    }

    /// Which of these overrides would be kept out, and why. All are let in together: none is kept out for another.
    pub(super) fn faults(&self, changes: Vec<(Arc<Path>, Content)>) -> Vec<Fault> {
        let files: HashSet<Arc<Path>> = changes.iter().map(|(file, _)| Arc::clone(file)).collect();
        let changes = changes.into_iter().map(|(file, content)| Change { file, origin: Origin::Override, content });
        let mut store = self.store.clone();
        store.apply(changes.collect(), unix_ms());
        let standing = store.overrides_standing().filter(|(path, _)| files.contains(*path));
        standing.filter_map(|(path, problem)| Some((Arc::clone(path), problem?.clone()))).collect()
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
        problems.extend(self.told.refusals.all().iter().cloned());
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

/// Who changed the overrides over the admin API, and whether nobody else changed any.
fn authors(
    journal: &Journal,
    before: &HashMap<Arc<Path>, [u8; 32]>,
    now: &HashMap<Arc<Path>, [u8; 32]>,
) -> (Vec<Author>, bool) {
    let new = now.iter().filter(|(path, digest)| before.get(*path) != Some(*digest));
    let new = new.map(|(path, digest)| (path, Some(digest)));
    let gone = before.keys().filter(|path| !now.contains_key(*path)).map(|path| (path, None));
    let mut changes = 0;
    let of = |(path, digest): (&Arc<Path>, Option<&[u8; 32]>)| {
        changes += 1;
        journal.author(&ActId::of_file(path)?, digest)
    };
    let authors: Vec<Author> = new.chain(gone).filter_map(of).collect();
    let all = changes > 0 && authors.len() == changes;
    (authors, all)
}

fn changes(origin: Origin, lost: impl IntoIterator<Item = Arc<Path>>, scan: Scan) -> Vec<Change> {
    let gone = |file| Change { file, origin, content: Content::Gone };
    let changed = scan.changed.into_iter().map(|change| changed(origin, change));
    lost.into_iter().map(gone).chain(changed).collect()
}

fn changed(origin: Origin, change: folder::Change) -> Change {
    let content = match change.held {
        Held::Text { text, .. } => Content::Text(text),
        Held::Unreadable(why) => Content::Unreadable(why.to_string()),
    };
    Change { file: change.path, origin, content }
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
            acts_are_shared: false,
            secrets_base: root.path().to_path_buf(),
            state: None,
            journal: None,
            gates: Vec::new(),
            warnings: Warnings::default(),
            folder: folder::Settings::default(),
        };
        let catalogs = Toy::new().catalogs;
        let told = Told {
            live: Arc::new(Live::new(Snapshot::empty(Arc::clone(&catalogs)))),
            metrics: Metrics::new(1).unwrap(),
            readiness: Readiness::default(),
            force: super::super::force::Force::default(),
            refusals: crate::control::fleet::Refusals::default(),
        };
        let secrets = SecretWatch::spawn(root.path(), || ()).unwrap();
        let mut writer = Writer::new(&settings, catalogs, told.clone(), secrets, None).unwrap();
        let scan = Folder::new(root.path()).scan(Verify::All);
        writer.guarded(|writer| {
            writer.take(Origin::Policy, scan, false);
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

        std::fs::write(root.path().join("b.yaml"), "version: 1\nset: s2\ntenant: t\nproject: [B]\n").unwrap();
        let scan = Folder::new(root.path()).scan(Verify::All);
        let before = told.live.load().digest.clone();
        writer.guarded(|writer| {
            writer.take(Origin::Policy, scan, false);
            writer.fit();
            let lost = writer.store.snapshot(&crate::authz::policy::link::Secrets::new());
            assert_ne!(lost.digest, before);
            panic!("after the documents took themselves for published");
        });
        assert_eq!(told.live.load().digest, before);
        writer.guarded(Writer::secrets_changed);
        assert_ne!(told.live.load().digest, before, "the next reload of whatever kind puts it in force");
    }
}
