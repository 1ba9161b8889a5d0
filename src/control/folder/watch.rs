//! The loop that keeps looking: at once when inotify hints at a change, and every few seconds whether it does or not.
//!
//! Its only exit is being dropped. No I/O error, lost watch or panicking consumer ends it; each costs latency at most.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::Scan;
use super::arm::{self, Armed, Targets};
use super::hints::{Hints, Wake};
use super::pace::Pace;
use super::scan::{Folder, Hinted};
use super::settle::{Look, SETTLE, Settle};

/// How long until watches that could not be armed are tried again: from, to, doubling.
const REARM: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A watch that fails as soon as it is armed must not be armed without pause.
const REARM_GAP: Duration = Duration::from_millis(20);

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
    spawn_with(folder, settings, Arc::default(), on_seen)
}

/// Likewise, woken by hints that somebody else has in hand already.
///
/// # Errors
/// When no thread can be started.
pub fn spawn_with(
    folder: Folder,
    settings: Settings,
    hints: Arc<Hints>,
    on_seen: impl FnMut(Seen) + Send + 'static,
) -> std::io::Result<Watching> {
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
            pace: Pace::new(settings.poll),
            watches,
        }
    }

    fn run(&mut self) {
        // Armed before the first look, for what changes between the two would be seen by neither.
        self.watches.keep(&self.folder, &self.hints, true);
        let mut wake = Wake { tree: true, ..Wake::default() };
        while !wake.stop {
            self.look(&wake);
            if self.watches.keep(&self.folder, &self.hints, wake.rearm) {
                self.hints.tree();
            }
            let due = self.settle.deadline().map_or(self.pace.due(), |deadline| deadline.min(self.pace.due()));
            wake = self.hints.wait(self.pace.not_before(), due.min(self.watches.due()));
        }
    }

    fn look(&mut self, wake: &Wake) {
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

/// The watches, and when to arm them anew.
#[derive(Debug)]
struct Watches {
    wanted: bool,
    armed: Option<Armed>,
    layout: u64,
    fault: Option<Arc<str>>,
    retry: Option<Instant>,
    retry_after: Duration,
    armed_at: Option<Instant>,
}

impl Watches {
    fn new(wanted: bool) -> Self {
        Self { wanted, armed: None, layout: 0, fault: None, retry: None, retry_after: REARM.0, armed_at: None }
    }

    /// Arms anew if need be; says whether it did, for then what happened meanwhile must be looked at.
    fn keep(&mut self, folder: &Folder, hints: &Arc<Hints>, lost: bool) -> bool {
        let retry = self.retry.is_some_and(|retry| Instant::now() >= retry);
        if !self.wanted || !(lost || retry || self.layout != folder.layout()) {
            return false;
        }
        let now = Instant::now();
        if let Some(early) = self.armed_at.map(|at| at + REARM_GAP).filter(|at| *at > now) {
            self.retry = Some(early);
            return false;
        }
        self.armed_at = Some(now);
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
