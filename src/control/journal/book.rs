//! What the journal's thread owns: it takes changes from the desk, writes each as an entry, and says when it cannot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::database::{Database, DatabaseError, FILE, Head};
use super::entry::{Entry, FileChange, Folder, Manifest, Source, changes, hex, manifest_digest, text_digest};
use super::history::History;
use super::{CHANGES_MAX, Draft, InForce, Journal, Settings, words};
use crate::authz::policy::cells::{next_moment, passed};
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::clock::unix_ms;
use crate::control::health::Readiness;
use crate::live::Live;
use crate::metrics::Metrics;

/// Names and reasons of one entry.
const SIGNED_MAX: usize = 50;

/// Between two attempts to write what could not be written.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether a rule's time has come.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// How long the end waits for the last entries.
const CLOSE: Duration = Duration::from_secs(2);

/// A damaged file is put aside so many times; then someone must look.
const ASIDE_MAX: usize = 3;

#[derive(Debug)]
struct Told {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Book {
    settings: Settings,
    database: Option<Database>,
    /// The end of the chain, should the file be lost.
    after: Head,
    /// A damaged file was put aside: said until the gate is started anew.
    damaged: Option<String>,
    /// Who and why of the last entry that changed files: what it gives is in force later, once the folder has settled.
    signed: (Vec<String>, Vec<String>),
    /// Up to here the clock's changes were told.
    clock_ms: i64,
    /// When the next rule begins or ends.
    next_ms: Option<i64>,
    /// The generation that `next_ms` is of.
    clocked: Option<u64>,
    catalogs: Arc<Catalogs>,
    live: Arc<Live>,
    told: Told,
}

impl Book {
    pub(super) fn new(
        settings: Settings,
        catalogs: Arc<Catalogs>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Self {
        Self {
            database: None,
            after: Head::default(),
            damaged: None,
            signed: Default::default(),
            clock_ms: live.now().gives_ms(),
            next_ms: None,
            clocked: None,
            settings,
            catalogs,
            live,
            told: Told { metrics, readiness },
        }
    }

    pub(super) fn run(&mut self, journal: &Journal) {
        let mut retry = RETRY_FIRST;
        let mut ends: Option<Instant> = None;
        loop {
            let draft = {
                let mut desk = journal.desk();
                if desk.waiting.is_empty() && !desk.ending {
                    desk = journal.0.work.wait_timeout(desk, CLOCK_LOOK).unwrap_or_else(PoisonError::into_inner).0;
                }
                if desk.ending {
                    let ends = *ends.get_or_insert_with(|| Instant::now() + CLOSE);
                    if desk.waiting.is_empty() || Instant::now() >= ends {
                        return;
                    }
                }
                desk.waiting.pop_front()
            };
            let Some(draft) = draft else {
                self.tick(journal);
                continue;
            };
            // A fault of ours must not end the journal: it is told like one of the disk.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&draft)));
            match written.unwrap_or(Err(DatabaseError::Panicked)) {
                Ok(()) => {
                    retry = RETRY_FIRST;
                    self.wrote(journal, &draft);
                }
                Err(error) => {
                    self.failed(journal, draft, &error);
                    // Woken early where something new comes or the end does: then it is tried once more.
                    let desk = journal.desk();
                    drop(journal.0.work.wait_timeout(desk, retry).unwrap_or_else(PoisonError::into_inner));
                    retry = retry.saturating_mul(2).min(RETRY_MAX);
                }
            }
        }
    }

    fn wrote(&mut self, journal: &Journal, draft: &Draft) {
        let problem = self.damaged.clone();
        let waiting = {
            let mut desk = journal.desk();
            desk.texts_bytes = desk.texts_bytes.saturating_sub(draft.texts.iter().map(|text| text.len()).sum());
            desk.written = desk.written.max(draft.generation);
            desk.head = self.after;
            if desk.failing.take().is_some() {
                tracing::info!("the journal is written again");
            }
            desk.waiting.len()
        };
        journal.0.told.notify_all();
        self.tell(waiting, problem);
    }

    fn failed(&mut self, journal: &Journal, draft: Draft, error: &DatabaseError) {
        let why = format!("{}: {error}", self.settings.state.join(FILE).display());
        if error.is_damage() {
            self.put_aside();
        }
        // Opened anew with the next attempt: the file may be another one by then.
        self.database = None;
        let waiting = {
            let mut desk = journal.desk();
            if desk.failing.as_ref() != Some(&why) {
                tracing::error!(why, "the journal cannot be written; enforcement goes on, and it is tried again");
            }
            desk.failing = Some(why.clone());
            desk.waiting.push_front(draft);
            desk.waiting.len()
        };
        journal.0.told.notify_all();
        self.tell(waiting, Some(why));
    }

    fn tell(&self, waiting: usize, problem: Option<String>) {
        self.told.metrics.state_problem("journal", problem.is_some());
        self.told.readiness.journal(waiting, problem);
    }

    /// Keeps a damaged file for whoever looks into it, and makes room for a new one.
    fn put_aside(&mut self) {
        self.database = None;
        let path = self.settings.state.join(FILE);
        let name = |number: usize| self.settings.state.join(format!("{FILE}.damaged-{number}"));
        let Some(aside) = (1..=ASIDE_MAX).map(name).find(|aside| !aside.exists()) else { return };
        if std::fs::rename(&path, &aside).is_ok() {
            for beside in ["-wal", "-shm"] {
                let beside_path = |path: &Path| PathBuf::from(format!("{}{beside}", path.display()));
                let _ = std::fs::rename(beside_path(&path), beside_path(&aside));
            }
            let said = format!("the journal was damaged, and a new one was begun; the old one is {}", aside.display());
            tracing::error!("{said}");
            self.damaged = Some(said);
        }
    }

    fn open(&mut self) -> Result<&mut Database, DatabaseError> {
        if self.database.is_none() {
            std::fs::create_dir_all(&self.settings.state)?;
            let opened = Database::open(&self.settings.state, self.after)?;
            if self.after == Head::default() {
                self.check();
                // What ended while the gate was away.
                self.clock_ms = self.clock_ms.min(opened.time_of_head_ms().unwrap_or(i64::MAX));
            }
            self.after = opened.head;
            self.database = Some(opened);
        }
        self.database.as_mut().ok_or(DatabaseError::Gone)
    }

    /// At the start: a chain that does not hold is said, and goes on all the same.
    fn check(&mut self) {
        match History::open(&self.settings.state).map(|history| history.verify()) {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(broken)) => {
                let at = broken.sequence.map_or_else(String::new, |sequence| format!(" at entry {sequence}"));
                let said = format!("the journal does not hold{at}: {}", broken.why);
                tracing::error!("{said}");
                self.damaged = Some(said);
            }
        }
    }

    fn write(&mut self, draft: &Draft) -> Result<(), DatabaseError> {
        let manifest = self.manifest(draft);
        let bounds = self.settings.bounds;
        let database = self.open()?;
        let files = changes(&database.manifest, &manifest);
        let says_something = !files.is_empty() || !draft.changes.is_empty();
        if !says_something {
            return database.stands_for_sure();
        }
        let before = database.manifest.clone();
        let (sequence, mut texts) = (database.head.sequence + 1, Vec::new());
        for file in &files {
            let known = file.after.as_ref().filter(|digest| database.text(digest).is_none());
            if let Some(digest) = known {
                let at_hand =
                    draft.texts.iter().find(|text| text_digest(text) == **digest).map(|text| text.to_string());
                texts.extend(at_hand.or_else(|| read_again(draft, digest)).map(|text| (digest.clone(), text)));
            }
        }
        let signed = match (files.is_empty(), draft.source) {
            (false, _) => who_and_why(database, &files, &texts),
            (true, Source::Clock) => Default::default(),
            (true, _) => self.signed.clone(),
        };
        self.signed.clone_from(&signed);
        let (by, reason, principals) = authored(signed, draft);
        let mut entry = Entry {
            sequence,
            time_ms: draft.time_ms,
            source: draft.source,
            by,
            principals,
            reason,
            changes: draft.changes.clone(),
            changes_more: draft.changes_more,
            generation: draft.generation,
            digest: draft.digest.clone(),
            files_digest: manifest_digest(&manifest),
            files,
            folded: draft.folded,
        };
        if draft.source == Source::Start {
            self.say_what_changed_meanwhile(&mut entry, &before);
        }
        let database = self.open()?;
        self.after = database.append(&entry, &texts, &bounds)?;
        tracing::info!(
            sequence = entry.sequence,
            generation = entry.generation,
            head = hex(&self.after.hash),
            "journaled"
        );
        Ok(())
    }

    /// The gate was away: what its last policy said is known from the journal itself.
    fn say_what_changed_meanwhile(&mut self, entry: &mut Entry, before: &Manifest) {
        if before.is_empty() {
            entry.changes = vec!["the first policy of this journal".to_owned()];
            return;
        }
        let Some(database) = &self.database else { return };
        let texts: Option<Vec<words::Text>> = before
            .iter()
            .map(|((folder, path), digest)| Some((*folder, path.clone(), database.text(digest)?.into())))
            .collect();
        let now = arc_swap::Guard::into_inner(self.live.load());
        let told = texts.and_then(|texts| words::between(&self.catalogs, &texts, &now, entry.time_ms, CHANGES_MAX));
        match told {
            Some(mut told) => {
                entry.changes_more = told.more + told.lines.len().saturating_sub(CHANGES_MAX);
                told.lines.truncate(CHANGES_MAX);
                entry.changes = told.lines;
            }
            None => entry.changes = vec!["another policy than when the gate last ran".to_owned()],
        }
    }

    fn manifest(&self, draft: &Draft) -> Manifest {
        let below = |file: &InForce| {
            let root = match file.origin {
                Origin::Policy => Some(&self.settings.policies),
                Origin::Override => self.settings.overrides.as_ref(),
            };
            let path = root.and_then(|root| file.path.strip_prefix(root).ok()).unwrap_or(&file.path);
            path.to_string_lossy().into_owned()
        };
        let folder = |origin| match origin {
            Origin::Policy => Folder::Policy,
            Origin::Override => Folder::Override,
        };
        draft.files.iter().map(|file| ((folder(file.origin), below(file)), hex(&file.digest))).collect()
    }

    /// Tells what begins or ends by the clock alone. Where that is not believed, when what gives does so too: no entry says of a
    /// revocation that it ended while it is in force.
    fn tick(&mut self, journal: &Journal) {
        let snapshot = arc_swap::Guard::into_inner(self.live.load());
        let (Some(states), now_ms) = (&snapshot.states, self.live.now().gives_ms()) else { return };
        let since_ms = self.clock_ms;
        if self.clocked != Some(snapshot.generation) {
            self.clocked = Some(snapshot.generation);
            self.next_ms = next_moment(&states.newest, &snapshot.catalogs, since_ms);
        }
        if self.next_ms.is_none_or(|next| next > now_ms) {
            return;
        }
        let mut lines = passed(&states.newest, &snapshot.catalogs, since_ms, now_ms);
        self.clock_ms = now_ms;
        self.next_ms = next_moment(&states.newest, &snapshot.catalogs, now_ms);
        let Some(database) = self.database.as_ref().filter(|_| !lines.is_empty()) else { return };
        let changes_more = lines.len().saturating_sub(CHANGES_MAX);
        lines.truncate(CHANGES_MAX);
        let draft = Draft {
            time_ms: unix_ms(),
            source: Source::Clock,
            changes: lines,
            changes_more,
            generation: snapshot.generation,
            digest: snapshot.digest.clone(),
            files: self.in_force(&database.manifest),
            texts: Vec::new(),
            authors: Vec::new(),
            folded: 0,
        };
        journal.record(draft);
    }

    /// The files in force as of the last entry: the clock changes none.
    fn in_force(&self, manifest: &Manifest) -> Arc<[InForce]> {
        let files = manifest.iter().filter_map(|((folder, path), digest)| {
            let root = match folder {
                Folder::Policy => Some(&self.settings.policies),
                Folder::Override => self.settings.overrides.as_ref(),
            };
            let path = root.map_or_else(|| PathBuf::from(path), |root| root.join(path));
            Some(InForce { origin: words::origin(*folder), path: path.into(), digest: unhex(digest)? })
        });
        files.collect()
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// A text that was not handed over, if its file still says it.
fn read_again(draft: &Draft, digest: &str) -> Option<String> {
    let file = draft.files.iter().find(|file| hex(&file.digest) == digest)?;
    let reading = crate::control::folder::read::read(&file.path, crate::control::folder::FILE_BYTES_MAX).ok()?;
    let text = crate::yaml::decode(&file.path, &reading.bytes).ok()?;
    (text_digest(text) == digest).then(|| text.to_string())
}

/// Who, why, and who the admin API knows them to be. What an act over it says by itself is what they said, so it is told
/// once; a file that changed with it is told beside it.
fn authored(signed: (Vec<String>, Vec<String>), draft: &Draft) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut by, mut reason) = if draft.source == Source::Api { Default::default() } else { signed };
    let mut principals = Vec::new();
    for author in draft.authors.iter().take(SIGNED_MAX) {
        by.push(author.by.clone().unwrap_or_else(|| author.principal.clone()));
        reason.push(author.reason.clone());
        principals.push(author.principal.clone());
    }
    for list in [&mut by, &mut reason, &mut principals] {
        list.sort();
        list.dedup();
        list.truncate(SIGNED_MAX);
    }
    (by, reason, principals)
}

/// Bounded: a whole folder that changes at once was not signed by hand.
fn who_and_why(database: &Database, files: &[FileChange], texts: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let (mut by, mut reason): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let text = |digest: &Option<String>| {
        let digest = digest.as_ref()?;
        let fresh = texts.iter().find(|(known, _)| known == digest).map(|(_, text)| text.clone());
        fresh.or_else(|| database.text(digest))
    };
    for file in files.iter().take(SIGNED_MAX) {
        let (before, after) = (text(&file.before), text(&file.after));
        let signed = words::signed(file.folder, &file.path, before.as_deref(), after.as_deref());
        let named = signed.iter().filter_map(|(by, _)| by.clone()).collect::<Vec<_>>();
        by.extend(if named.is_empty() { vec![file.path.clone()] } else { named });
        reason.extend(signed.into_iter().filter_map(|(_, reason)| reason));
    }
    for list in [&mut by, &mut reason] {
        list.sort();
        list.dedup();
        list.truncate(SIGNED_MAX);
    }
    (by, reason)
}
