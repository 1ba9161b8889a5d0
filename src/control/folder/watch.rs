//! The loop that keeps looking: at once when inotify hints at a change, and every few seconds whether it does or not.
//!
//! Its only exit is being dropped. No I/O error, lost watch or panicking consumer ends it; each costs latency at most.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::arm::{self, Armed, Targets};
use super::scan::{Folder, Hinted, Verify};
use super::settle::{Look, SETTLE, Settle};
use super::{GONE_AFTER, Scan};

/// More hints than this at once are a look at the whole tree, which is cheaper then.
const HINTS_MAX: usize = 256;

/// After a look, the next hint waits as long as the look took, between these: a folder written to without pause costs
/// half of a core at most. The first hint after a quiet time never waits.
const BREATH: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(100));

/// Polling may take half a per cent of a core: a look at the whole tree, with the contents that it verifies, is
/// followed by 200 times its own length without one.
const POLL_REST: u32 = 200;

/// Every file is read this often although its stamp stands still.
const VERIFY_ALL: Duration = Duration::from_secs(60);

/// How long until watches that could not be armed are tried again: from, to, doubling.
const REARM: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How the folder is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub settle: Duration,
    /// The pause between looks at the whole tree: at least, and at most.
    pub poll: (Duration, Duration),
    /// `false`: by polling alone, for file systems where inotify sees nothing.
    pub inotify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { settle: SETTLE, poll: (Duration::from_secs(1), Duration::from_secs(10)), inotify: true }
    }
}

/// A look at the folder, as its consumer gets it. One comes after every look, changed or not, so that the age of the
/// last one tells whether the watcher lives.
#[derive(Debug, Clone)]
pub struct Seen {
    pub scan: Scan,
    /// The folder as read is whole and has stayed the same for `settle` (law 7).
    pub settled: bool,
    /// When the look began.
    pub began: Instant,
    pub took: Duration,
    /// Why inotify does not see all of it; changes are then noticed by polling.
    pub unwatched: Option<Arc<str>>,
}

/// What wakes the loop.
#[derive(Debug, Default)]
pub struct Hints {
    pending: Mutex<Pending>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    paths: HashSet<PathBuf>,
    tree: bool,
    rearm: bool,
    stop: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.tree && !self.rearm && !self.stop
    }
}

impl Hints {
    /// One file may have changed.
    pub fn path(&self, path: &Path) {
        let mut pending = self.lock();
        if pending.tree {
            return;
        }
        if pending.paths.len() < HINTS_MAX {
            pending.paths.insert(path.to_path_buf());
        } else {
            pending.paths.clear();
            pending.tree = true;
        }
        self.bell.notify_one();
    }

    /// Anything may have changed: look at the whole tree.
    pub fn tree(&self) {
        self.lock().tree = true;
        self.bell.notify_one();
    }

    /// A watch was lost: look at the whole tree, and watch it anew.
    pub fn rearm(&self) {
        self.lock().rearm = true;
        self.bell.notify_one();
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.bell.notify_one();
    }

    /// Waits for a hint, not returning one before `not_before`, and until `due` at most.
    fn wait(&self, not_before: Instant, due: Instant) -> Pending {
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            let until = if pending.is_empty() { due } else { not_before };
            if pending.stop || now >= until {
                return std::mem::take(&mut pending);
            }
            let waited = self.bell.wait_timeout(pending, until - now);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running loop; dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    hints: Arc<Hints>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    /// To wake it by hand: `hints().tree()`.
    pub fn hints(&self) -> &Arc<Hints> {
        &self.hints
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.hints.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the loop itself was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// Looks at the folder on a thread of its own until the returned value is dropped. The first `Seen` comes at once.
///
/// # Errors
/// When no thread can be started.
pub fn spawn(
    folder: Folder,
    settings: Settings,
    on_seen: impl FnMut(Seen) + Send + 'static,
) -> std::io::Result<Watching> {
    let hints = Arc::new(Hints::default());
    let mut watch = Watch::new(folder, settings, Arc::clone(&hints), on_seen);
    let thread = std::thread::Builder::new().name("policy-folder".into()).spawn(move || watch.run())?;
    Ok(Watching { hints, thread: Some(thread) })
}

struct Watch<F> {
    folder: Folder,
    settings: Settings,
    hints: Arc<Hints>,
    on_seen: F,
    settle: Settle,
    pace: Pace,
    watches: Watches,
}

impl<F: FnMut(Seen)> Watch<F> {
    fn new(folder: Folder, settings: Settings, hints: Arc<Hints>, on_seen: F) -> Self {
        let watches = Watches::new(settings.inotify);
        Self {
            folder,
            settings,
            hints,
            on_seen,
            settle: Settle::new(settings.settle),
            pace: Pace::new(settings),
            watches,
        }
    }

    fn run(&mut self) {
        // Armed before the first look, for what changes between the two would be seen by neither.
        self.watches.keep(&self.folder, &self.hints, true);
        let mut wake = Pending { tree: true, ..Pending::default() };
        while !wake.stop {
            self.look(&wake);
            if self.watches.keep(&self.folder, &self.hints, wake.rearm) {
                self.hints.tree();
            }
            let due = self.settle.deadline().map_or(self.pace.due(), |deadline| deadline.min(self.pace.due()));
            wake = self.hints.wait(self.pace.not_before(), due.min(self.watches.due()));
        }
    }

    fn look(&mut self, wake: &Pending) {
        let began = Instant::now();
        let by_hint = !wake.tree && !wake.rearm && !wake.paths.is_empty();
        let hinted = if by_hint { self.look_at(&wake.paths) } else { Hinted::Tree };
        let scan = match hinted {
            Hinted::Nothing => return self.pace.looked(began, began.elapsed(), None),
            Hinted::Scan(scan) => scan,
            Hinted::Tree => self.folder.scan(self.pace.verify(self.folder.len())),
        };
        let took = began.elapsed();
        self.pace.looked(began, took, Some(&scan));
        let look = Look {
            began,
            ended: began + took,
            whole_tree: scan.whole_tree,
            stirred: scan.stirred,
            sound: scan.is_sound(),
        };
        let settled = if self.settle.is_new() {
            self.settle.start(&look, scan.last_change, SystemTime::now())
        } else {
            self.settle.observe(&look)
        };
        let unwatched = self.watches.fault.clone();
        self.tell(Seen { scan, settled, began, took, unwatched });
    }

    fn look_at(&mut self, paths: &HashSet<PathBuf>) -> Hinted {
        let paths: Vec<PathBuf> = paths.iter().cloned().collect();
        self.folder.look_at(&paths)
    }

    /// A consumer that panics loses what it was told, so it is told everything again.
    fn tell(&mut self, seen: Seen) {
        let on_seen = &mut self.on_seen;
        if catch_unwind(AssertUnwindSafe(|| on_seen(seen))).is_err() {
            tracing::error!(folder = %self.folder.root().display(), "taking in the policy folder panicked; it is read anew");
            self.folder.forget();
            self.settle = Settle::new(self.settings.settle);
        }
    }
}

/// When to look next.
#[derive(Debug)]
struct Pace {
    poll: (Duration, Duration),
    interval: Duration,
    /// The next look at the whole tree.
    next: Instant,
    /// The next look at something that moves.
    relook: Option<Instant>,
    relook_after: Duration,
    not_before: Instant,
}

impl Pace {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let poll = settings.poll;
        Self { poll, interval: poll.0, next: now, relook: None, relook_after: GONE_AFTER, not_before: now }
    }

    fn due(&self) -> Instant {
        self.relook.map_or(self.next, |relook| relook.min(self.next))
    }

    fn not_before(&self) -> Instant {
        self.not_before
    }

    /// So many files at each poll that all have their turn within [`VERIFY_ALL`], without one long pause for all:
    /// a revocation may come at any moment.
    fn verify(&self, files: usize) -> Verify {
        let polls = (VERIFY_ALL.as_secs_f64() / self.interval.as_secs_f64().max(0.001)).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 100,000 files")]
        let share = (files as f64 / polls).ceil() as usize;
        if Instant::now() >= self.next { Verify::Next(share + 1) } else { Verify::None }
    }

    fn looked(&mut self, began: Instant, took: Duration, scan: Option<&Scan>) {
        let ended = began + took;
        self.not_before = ended + took.clamp(BREATH.0, BREATH.1);
        let Some(scan) = scan else { return };
        if scan.whole_tree {
            // A look that read many files says nothing about the cost of one that reads none.
            let cost = if scan.stirred { Duration::ZERO } else { took };
            self.interval = cost.saturating_mul(POLL_REST).clamp(self.poll.0, self.poll.1);
            self.next = ended + self.interval;
        }
        if scan.in_flux {
            self.relook = Some(ended + self.relook_after);
            self.relook_after = self.relook_after.saturating_mul(2).min(self.poll.1);
        } else if scan.whole_tree {
            self.relook = None;
            self.relook_after = GONE_AFTER;
        }
    }
}

/// The watches, and when to arm them anew.
#[derive(Debug)]
struct Watches {
    wanted: bool,
    armed: Option<Armed>,
    layout: u64,
    fault: Option<Arc<str>>,
    retry: Option<Instant>,
    retry_after: Duration,
}

impl Watches {
    fn new(wanted: bool) -> Self {
        Self { wanted, armed: None, layout: 0, fault: None, retry: None, retry_after: REARM.0 }
    }

    /// Arms anew if need be; says whether it did, for then what happened meanwhile must be looked at.
    fn keep(&mut self, folder: &Folder, hints: &Arc<Hints>, lost: bool) -> bool {
        let retry = self.retry.is_some_and(|retry| Instant::now() >= retry);
        if !self.wanted || !(lost || retry || self.layout != folder.layout()) {
            return false;
        }
        self.layout = folder.layout();
        // The old watches are dropped only when the new ones are armed.
        let (armed, fault) = arm::arm(&targets(folder), hints);
        self.armed = armed;
        if let (Some(fault), None) = (&fault, &self.fault) {
            tracing::warn!(folder = %folder.root().display(), fault, "changes are noticed by polling only");
        }
        self.fault = fault.map(Arc::from);
        self.retry = self.fault.as_ref().map(|_| Instant::now() + self.retry_after);
        self.retry_after = if self.fault.is_some() { (self.retry_after * 2).min(REARM.1) } else { REARM.0 };
        true
    }

    fn due(&self) -> Instant {
        self.retry.unwrap_or_else(|| Instant::now() + REARM.1)
    }
}

fn targets(folder: &Folder) -> Targets {
    let mut targets = Targets::default();
    for directory in folder.directories() {
        targets.tree(&directory.real);
    }
    for linked in folder.linked() {
        targets.linked(linked);
    }
    targets.way_to(folder.root());
    targets
}
