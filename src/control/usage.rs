//! Keeps what rights are used for, and what outlasts a revocation, in the state folder.
//!
//! A thread of its own collects what the data plane counted and noticed, and writes it in one transaction. What cannot be
//! written waits in memory, bounded, and is written later. A gate that is killed loses what it counted since the last
//! writing, [`EVERY`] at most.

pub mod database;
pub mod reading;
pub mod shadowed;
pub mod strangers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use database::{Key, Store, UsageError};

use crate::acts::ActId;
use crate::authz::catalog::OperationId;
use crate::authz::policy::compile::Catalogs;
use crate::clock::unix_ms;
use crate::control::health::Readiness;
use crate::metrics::Metrics;
use crate::usage::outlasting::{Event, Outlasting};
use crate::usage::strangers::Stranger;
use crate::usage::{Counted, Shadowed, Usage};

/// How often it is written.
pub const EVERY: Duration = Duration::from_secs(5);

/// Counts that wait for the disk, by app, operation and day.
const COUNTS_WAITING_MAX: usize = 100_000;

/// Events that wait for the disk; those beyond it are only counted.
const EVENTS_WAITING_MAX: usize = 10_000;

/// What the data plane hands over.
#[derive(Debug, Clone)]
pub struct Noticed {
    pub usage: Arc<Usage>,
    /// Whom acts in shadow mode would have refused.
    pub shadowed: Arc<Usage<Shadowed>>,
    /// Who passes only because a gate is under `observe`, and is named nowhere.
    pub strangers: Arc<Usage<Stranger>>,
    pub outlasting: Outlasting,
}

/// The thread that keeps it. Dropping it writes what is left.
#[derive(Debug)]
pub struct UsageKeeper {
    state: PathBuf,
    noticed: Noticed,
    ask: SyncSender<Ask>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Ask {
    /// Write now, and say when that is done.
    Now(SyncSender<()>),
    Stop,
}

impl UsageKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        state: PathBuf,
        catalogs: Arc<Catalogs>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> std::io::Result<Self> {
        let (outlasting, events) = Outlasting::new();
        let noticed =
            Noticed { usage: Arc::default(), shadowed: Arc::default(), strangers: Arc::default(), outlasting };
        let (ask, asked) = sync_channel(8);
        let mut keeper = Keeper {
            state: state.clone(),
            store: None,
            catalogs,
            noticed: noticed.clone(),
            events,
            counts: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            strangers: BTreeMap::new(),
            happened: Vec::new(),
            lost: 0,
            failing: None,
            metrics,
            readiness,
        };
        let thread = std::thread::Builder::new().name("usage".into()).spawn(move || keeper.run(&asked))?;
        Ok(Self { state, noticed, ask, thread: Some(thread) })
    }

    pub fn noticed(&self) -> Noticed {
        self.noticed.clone()
    }

    /// For whoever reads what was counted.
    pub fn asked(&self) -> Asked {
        Asked { state: self.state.clone(), ask: self.ask.clone() }
    }
}

/// Has what was counted written, so that it can be read. Cheap to clone; it may outlive the thread.
#[derive(Debug, Clone)]
pub struct Asked {
    state: PathBuf,
    ask: SyncSender<Ask>,
}

impl Asked {
    /// Writes what was counted so far, and waits for that: what is counted before a revocation is shown with it.
    pub fn flush(&self, timeout: Duration) {
        let (done, wait) = sync_channel(1);
        match self.ask.try_send(Ask::Now(done)) {
            Ok(()) => drop(wait.recv_timeout(timeout)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Whom an act in shadow mode would have refused until now, in sentences. Blocks for the disk.
    pub fn shadowed(&self, act: &ActId, timeout: Duration) -> Vec<String> {
        self.flush(timeout);
        shadowed::words(Some(&self.state), act)
    }
}

impl Drop for UsageKeeper {
    fn drop(&mut self) {
        let _ = self.ask.send(Ask::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Keeper {
    state: PathBuf,
    store: Option<Store>,
    catalogs: Arc<Catalogs>,
    noticed: Noticed,
    events: Receiver<Event>,
    counts: BTreeMap<Key, Counted>,
    shadowed: BTreeMap<shadowed::Key, Counted>,
    strangers: BTreeMap<strangers::Key, Counted>,
    happened: Vec<Event>,
    /// Requests and events that found no room anywhere.
    lost: u64,
    failing: Option<String>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl Keeper {
    fn run(&mut self, asked: &Receiver<Ask>) {
        self.look();
        let mut next = Instant::now() + EVERY;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let ask = asked.recv_timeout(left);
            if matches!(ask, Err(RecvTimeoutError::Timeout)) {
                next = Instant::now() + EVERY;
            }
            self.look();
            match ask {
                Ok(Ask::Now(done)) => drop(done.try_send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        let now_ms = unix_ms();
        self.collect(now_ms);
        let written = self.write(now_ms);
        let problem = written.err().map(|error| {
            // Opened anew with the next look: the file may be another one by then.
            self.store = None;
            format!("{}: {error}", self.state.join(database::FILE).display())
        });
        if self.failing != problem {
            match &problem {
                Some(why) => tracing::error!(why, "the use of rights is not kept; it is tried again"),
                None => tracing::info!("the use of rights is kept again"),
            }
        }
        self.metrics.state_problem("usage", problem.is_some());
        let waiting = self.counts.len() + self.shadowed.len() + self.strangers.len() + self.happened.len();
        self.readiness.usage(waiting, problem.clone());
        self.failing = problem;
    }

    fn collect(&mut self, now_ms: i64) {
        let Self { counts, catalogs, noticed, lost, .. } = self;
        let day = database::day(now_ms);
        noticed.usage.collect(|app, operation, counted| {
            let Some(operation) = name(catalogs, app, operation) else { return };
            let key = Key { app: Arc::clone(app), operation, day };
            if counts.len() < COUNTS_WAITING_MAX || counts.contains_key(&key) {
                counts.entry(key).or_default().add(&counted);
            } else {
                *lost += counted.permits + counted.denials;
            }
        });
        self.collect_shadowed();
        self.collect_strangers();
        let noticed = &self.noticed;
        let uncounted =
            noticed.usage.take_uncounted() + noticed.shadowed.take_uncounted() + noticed.strangers.take_uncounted();
        self.lost += uncounted + noticed.outlasting.take_lost();
        while let Ok(event) = self.events.try_recv() {
            if self.happened.len() < EVENTS_WAITING_MAX {
                self.happened.push(event);
            } else {
                self.lost += 1;
            }
        }
    }

    /// Of acts alone: a rule that is written by hand in shadow mode is told of in the log.
    fn collect_shadowed(&mut self) {
        let Self { shadowed, catalogs, noticed, lost, .. } = self;
        noticed.shadowed.collect(|whom, operation, counted| {
            let Some(act) = shadowed::act_in(&whom.act) else { return };
            let app = whom.app.clone().unwrap_or_default();
            let operation = name(catalogs, &app, operation).unwrap_or_default();
            let key = shadowed::Key { act, app, tenant: Arc::clone(&whom.tenant), operation };
            if shadowed.len() < COUNTS_WAITING_MAX || shadowed.contains_key(&key) {
                shadowed.entry(key).or_default().add(&counted);
            } else {
                *lost += counted.denials;
            }
        });
    }

    fn collect_strangers(&mut self) {
        let Self { strangers, catalogs, noticed, lost, .. } = self;
        noticed.strangers.collect(|stranger, operation, counted| {
            let operation = name_in(catalogs, &stranger.product, operation).unwrap_or_default();
            let key = strangers::Key { stranger: stranger.clone(), operation };
            if strangers.len() < COUNTS_WAITING_MAX || strangers.contains_key(&key) {
                strangers.entry(key).or_default().add(&counted);
            } else {
                *lost += counted.permits + counted.denials;
            }
        });
    }

    fn write(&mut self, now_ms: i64) -> Result<(), UsageError> {
        if self.store.is_none() {
            std::fs::create_dir_all(&self.state)?;
            self.store = Some(Store::open(&self.state)?);
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        store.stands()?;
        if !self.shadowed.is_empty() {
            store.add_shadowed(&self.shadowed)?;
            self.shadowed.clear();
        }
        if !self.strangers.is_empty() {
            store.add_strangers(&self.strangers, now_ms)?;
            self.strangers.clear();
        }
        if self.counts.is_empty() && self.happened.is_empty() && self.lost == 0 {
            return Ok(());
        }
        store.add(&self.counts, &self.happened, self.lost, &self.catalogs, now_ms)?;
        self.counts.clear();
        self.happened.clear();
        self.lost = 0;
        Ok(())
    }
}

/// The id of an operation of the app's product.
fn name(catalogs: &Catalogs, app: &str, operation: OperationId) -> Option<Arc<str>> {
    name_in(catalogs, app.split_once('/')?.0, operation)
}

fn name_in(catalogs: &Catalogs, product: &str, operation: OperationId) -> Option<Arc<str>> {
    let catalog = &catalogs.by_name(product)?.catalog;
    catalog.operations.get(usize::from(operation.0)).map(|operation| Arc::from(&*operation.id))
}
