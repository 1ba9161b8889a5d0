//! The one task that keeps this gate and the bucket together: sessions one after the other, and what is told between.

use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::apply::Turns;
use super::bucket::{self, Feed, Link, Lost};
use super::entry::Instance;
use super::gates::Recent;
use super::known::Known;
use super::memory::{Kept, Memory};
use super::progress::{Moment, Progress};
use super::session::{Session, Told};
use super::{Fleet, Refusals, Settings, View};
use crate::acts::Act;
use crate::config::model::Start;
use crate::control::folder::Hints;
use crate::control::health::{BucketFacts, Lease, OVERRIDES, Readiness, Waiting, rfc3339};
use crate::control::overrides::Overrides;
use crate::control::reload::force::Force;
use crate::control::reload::{Holder, TryOut};
use crate::metrics::Metrics;
use crate::problem::{At, Problem, file_name};
use crate::shutdown::{Phase, Watch};

/// How soon a lease that has ended is noticed.
const TICK: Duration = Duration::from_millis(250);
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often it is written down since when all is in force: after a restart the gate is so much older.
const REMEMBER: Duration = Duration::from_secs(2);
/// How long the good-bye of a gate may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// How long a start waits for a command that writes acts.
const COMMAND_MAX: Duration = Duration::from_secs(3);
/// Refused values that `/readyz` names.
const REFUSED_SHOWN: usize = 20;

type Promise<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is around it, and comes into being after it.
pub struct Around {
    pub force: Force,
    pub try_out: TryOut,
    pub holder: Holder,
    /// Of the folder of copies.
    pub hints: Vec<Arc<Hints>>,
    pub metrics: Arc<Metrics>,
    pub refusals: Refusals,
    /// Returns when no worker is within a poll that began before the call (law 8).
    pub passed: Box<dyn Fn() -> Promise<()> + Send + Sync>,
    /// Returns when what is under way was judged by this generation, with how much of it was cut.
    pub judged: Box<dyn Fn(u64) -> Promise<u64> + Send + Sync>,
}

/// What outlives a session.
pub struct Task {
    pub(super) settings: Settings,
    pub(super) overrides: Overrides,
    pub(super) known: Known,
    pub(super) memory: Memory,
    pub(super) turns: Turns,
    kept: Kept,
    /// How often it was written.
    writes: u64,
    /// Held for life: no command writes the acts of a gate that runs.
    alone: Option<File>,
    pub(super) instance: Instance,
    /// Another number for each start.
    pub(super) boot: u64,
    pub(super) progress: Progress,
    pub(super) readiness: Readiness,
    waiting: Option<Waiting>,
    /// The bucket was read in this life.
    pub(super) fetched: bool,
    /// All of it was read in this session.
    pub(super) whole: bool,
    missing: usize,
    /// It was tried, and could not be read.
    failed: bool,
    pub(super) connected: bool,
    pub(super) problem: Option<String>,
    /// Why acts cannot be written to the disk.
    pub(super) trouble: Option<String>,
    /// Why what is remembered beside them cannot.
    forgets: Option<String>,
    /// How the servers' copies of the bucket differed when they were last compared. And how many differences more there were.
    pub(super) copies_differ: Vec<String>,
    pub(super) copies_differ_more: usize,
    /// What other gates have and did not come here, each in words.
    pub(super) lacking: Vec<String>,
    /// It lacks something for so long that it must not be ready.
    pub(super) is_lacking: bool,
    pub(super) cut: u64,
    pub(super) recent: Recent,
    pub(super) link: watch::Sender<Option<Link>>,
    pub(super) view: watch::Sender<View>,
    pub(super) barriers: mpsc::Receiver<oneshot::Sender<()>>,
    remembered: Option<Moment>,
}

impl Task {
    /// Reads what is known. The gate is not ready from here on, until it may be.
    ///
    /// # Errors
    /// The acts on the disk cannot be read: nobody would know what is revoked.
    pub fn open(settings: Settings, readiness: Readiness) -> Result<(Self, Fleet), String> {
        let waiting = readiness.waits_for(OVERRIDES);
        let overrides = Overrides::new(settings.acts.clone());
        let kept = settings.kept();
        // A command that writes acts just now ends first, so that what is read here stays as it is.
        let alone = kept.alone(COMMAND_MAX);
        let acts: Vec<Act> = overrides.list().map_err(|error| error.to_string())?;
        let mut memory = kept.load();
        let instance = memory.instance.as_deref().and_then(Instance::parse).or_else(Instance::random);
        let instance = instance.ok_or("this machine has no randomness")?;
        memory.instance = Some(instance.as_str().to_owned());
        let now = Moment::now();
        let known = Known::of_disk(&acts);
        let synced = memory.synced_ms(&known.fingerprint()).and_then(|ms| Moment::of_unix_ms(ms, now));
        let (link, links) = watch::channel(None);
        let (view, views) = watch::channel(View { own: Some(instance.clone()), ..View::default() });
        let (ask, barriers) = mpsc::channel(16);
        let task = Self {
            known,
            progress: Progress::since(synced),
            boot: boot_number(),
            waiting: Some(waiting),
            settings,
            overrides,
            memory,
            turns: Turns::default(),
            kept,
            writes: 0,
            alone: alone.unwrap_or_else(|error| {
                tracing::warn!(%error, "commands on this machine may write into this gate's folder of acts");
                None
            }),
            instance,
            readiness,
            fetched: false,
            whole: false,
            missing: 0,
            failed: false,
            connected: false,
            problem: None,
            trouble: None,
            forgets: None,
            copies_differ: Vec::new(),
            copies_differ_more: 0,
            lacking: Vec::new(),
            is_lacking: false,
            cut: 0,
            recent: Recent::default(),
            link,
            view,
            barriers,
            remembered: None,
        };
        Ok((task, Fleet { link: links, view: views, barriers: ask }))
    }

    /// Until the shutdown cuts what is open. A gate that was drained says good-bye.
    pub async fn run(mut self, around: Around, mut shutdown: Watch) {
        let mut backoff = BACKOFF;
        loop {
            let lost = tokio::select! {
                lost = self.one_session(&around, &mut backoff) => lost,
                () = shutdown.reached(Phase::Cut) => break,
            };
            self.lost(&around, &lost);
            tokio::select! {
                () = self.pause(&around, backoff) => {}
                () = shutdown.reached(Phase::Cut) => break,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        // A drain says so here first. Whoever is stopped at once, or killed, counts until its lease has ended.
        if self.readiness.report().draining {
            self.leave().await;
        }
    }

    async fn one_session(&mut self, around: &Around, backoff: &mut Duration) -> Lost {
        let (bucket, name) = (self.settings.bucket.clone(), self.settings.name.clone());
        let connecting = bucket::connect(&bucket, &name);
        tokio::pin!(connecting);
        let mut tick = ticks();
        let connected: Result<(Link, Feed), Lost> = loop {
            tokio::select! {
                connected = &mut connecting => break connected,
                _ = tick.tick() => self.look(around),
            }
        };
        match connected {
            Err(lost) => lost,
            Ok((link, feed)) => {
                let mut session = Session::begin(self, around, link, feed);
                let lost = session.run().await;
                if session.was_whole() {
                    *backoff = BACKOFF;
                }
                lost
            }
        }
    }

    async fn pause(&mut self, around: &Around, span: Duration) {
        let mut tick = ticks();
        let over = tokio::time::sleep(span);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                _ = tick.tick() => self.look(around),
            }
        }
    }

    fn lost(&mut self, around: &Around, lost: &Lost) {
        let text = lost.to_string();
        if self.problem.as_ref() != Some(&text) {
            tracing::warn!(bucket = self.settings.bucket.bucket, "not connected: {text}; the known overrides hold");
        }
        self.problem = Some(text);
        self.failed = true;
        self.connected = false;
        self.link.send_replace(None);
        self.look(around);
    }

    /// Whether the gate may be ready now, and how things stand.
    pub(super) fn look(&mut self, around: &Around) {
        if self.alone.is_none() {
            self.alone = self.kept.alone(Duration::ZERO).ok().flatten();
        }
        let now = Moment::now();
        let age = self.progress.synced().map(|synced| synced.age(now));
        self.readiness.lease(self.progress.synced().and_then(|synced| self.lease(synced)));
        let young = age.is_some_and(|age| age <= self.settings.bucket.max_override_age);
        let may =
            young && !self.is_lacking && (self.fetched || self.failed && self.settings.bucket.start == Start::Known);
        match (may, self.waiting.is_some()) {
            (true, true) => self.waiting = None,
            (false, false) => {
                match self.is_lacking {
                    true => tracing::error!("not ready without what others have: {}", self.lacking.join("; ")),
                    false => {
                        tracing::error!("not in sync with the bucket for longer than `max_override_age`: not ready")
                    }
                }
                self.waiting = Some(self.readiness.waits_for(OVERRIDES));
            }
            (true, false) | (false, true) => {}
        }
        let bucket = &self.settings.bucket.bucket;
        // While the bucket is read anew it is not known what it lacks.
        if self.whole {
            self.missing = self.known.missing().len();
        }
        let missing = self.missing;
        let refused: Vec<(&str, &str)> = self.known.refused().collect();
        around.metrics.bucket(bucket, self.connected, refused.len(), missing);
        if let Some(synced) = self.progress.synced() {
            around.metrics.bucket_synced(bucket, seconds(synced.unix_ms));
        }
        self.readiness.bucket(BucketFacts {
            bucket: bucket.clone(),
            gate: self.settings.name.clone(),
            connected: self.connected,
            last_in_sync: self.progress.synced().map(|synced| rfc3339(synced.unix_ms)),
            known: self.known.held(),
            missing,
            copies_differ: self.copies_differ.clone(),
            copies_differ_more: self.copies_differ_more,
            lacking: self.lacking.clone(),
            refused: refused.iter().take(REFUSED_SHOWN).map(|(key, why)| format!("{key}: {why}")).collect(),
            refused_more: refused.len().saturating_sub(REFUSED_SHOWN),
            problem: self.trouble.clone().or_else(|| self.forgets.clone()).or_else(|| self.problem.clone()),
        });
    }

    fn lease(&self, synced: Moment) -> Option<Lease> {
        let age = self.settings.bucket.max_override_age;
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Some(Lease { until: synced.instant.checked_add(age)?, until_ms: synced.unix_ms.saturating_add(age_ms) })
    }

    pub(super) fn tell_refusals(&self, around: &Around) {
        let problems = self.known.refused().map(|(key, why)| {
            let file = self.settings.acts.join(format!("{key}.yaml"));
            let message = format!("the bucket holds a value under `{key}` that is kept out: {why}");
            Problem::error(&file_name(&file), At::default(), message)
                .help("restore it, or put it right; what was in force under this key before holds on")
        });
        around.refusals.set(problems.collect());
        // The writer counts them when it looks.
        around.hints.iter().for_each(|hints| hints.tree());
    }

    /// Writes down since when all is in force, now and then: a restart goes by it.
    pub(super) async fn remember(&mut self) {
        let now = Moment::now();
        if self.remembered.is_some_and(|at| at.age(now) < REMEMBER) {
            return;
        }
        self.remembered = Some(now);
        self.write_memory().await;
    }

    pub(super) async fn write_memory(&mut self) {
        // 0 while a bucket is read anew: what was known of it before counts until all is read.
        if self.progress.in_force() > 0 {
            self.memory.in_force = self.progress.in_force();
        }
        self.memory.acts = Some(self.known.fingerprint());
        self.memory.synced_ms = self.progress.synced().map(|synced| synced.unix_ms);
        self.writes += 1;
        let (kept, memory, number) = (self.kept.clone(), self.memory.clone(), self.writes);
        let stored = tokio::task::spawn_blocking(move || kept.store(&memory, number)).await;
        self.forgets = match stored {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{}: {error}", self.kept.folder().display())),
            Err(_) => Some("the state folder could not be written".to_owned()),
        };
    }

    /// Another gate writes under this gate's key: its state folder was copied. From now on each of them counts.
    pub(super) async fn take_another_instance(&mut self) {
        let Some(instance) = Instance::random() else { return };
        tracing::error!("another gate has a copy of this gate's state folder: this one takes a new name in the fleet");
        self.memory.instance = Some(instance.as_str().to_owned());
        self.view.send_modify(|view| view.own = Some(instance.clone()));
        self.instance = instance;
        self.write_memory().await;
    }

    /// Nobody waits for this gate from here on, so it must not be ready with what it knew when it starts again.
    async fn leave(mut self) {
        self.memory.left = true;
        self.write_memory().await;
        let link = self.link.borrow().clone();
        if let (Some(link), None) = (link, &self.forgets) {
            let key = super::entry::gate_key(&self.instance);
            let gone = link.put(&key, super::entry::Op::Delete, bytes::Bytes::new(), None);
            // Who does not hear it counts this gate until its lease has ended.
            let _ = tokio::time::timeout(LEAVE_MAX, gone).await;
        }
    }
}

pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn boot_number() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the time tells two starts apart.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => u64::try_from(crate::clock::unix_ms()).unwrap_or(0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}

/// For the session.
pub(super) type Inbox = mpsc::UnboundedReceiver<Told>;
