//! The one writer: sees policies, overrides and secrets change, and puts the next snapshot in force.
//!
//! A thread of its own owns the documents. What it is told comes through a channel that holds one look, so a writer
//! that is busy slows the watchers down instead of piling up texts. It ends only when [`Reloader`] is dropped: no I/O
//! error and no panic ends it, each leaves the last snapshot in force and is told.

mod dropped;
pub mod force;
mod held;
mod kept;
pub mod named;
mod observed;
pub mod pinned;
mod settling;
mod told;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::authz::gate::GateRules;
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::Content;
use crate::authz::snapshot::Snapshot;
use crate::control::fleet::Refusals;
use crate::control::folder::{self, Folder, Hints, Scan, Seen, Verify, Watching};
use crate::control::health::{Readiness, Warnings};
use crate::control::journal::Journal;
use crate::control::secrets::SecretWatch;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::problem::{At, Problem, file_name};
use force::Force;
pub use held::Said;
use writer::Writer;

/// A folder that is being written when the gate starts may be broken for that moment only: its problems count once it
/// stood still for `settle`, or after this long.
const START_MAX: Duration = Duration::from_secs(10);

/// Between two looks at a folder that is not at rest, at start.
const START_LOOK: Duration = Duration::from_millis(50);

/// How soon a snapshot that a request still held is tried again.
const GRAVEYARD_LOOK: Duration = Duration::from_millis(100);

/// What is watched, and for whom.
#[derive(Debug)]
pub struct Settings {
    pub policies: PathBuf,
    /// What commands write. One that does not exist at start is an empty one.
    pub overrides: Option<PathBuf>,
    /// The acts are a fleet's: what this gate's policies say themselves, those of other gates may not say.
    pub acts_are_shared: bool,
    /// Relative paths of secret files start here: the folder of the configuration file.
    pub secrets_base: PathBuf,
    /// Where credentials that were once named are kept over a restart.
    pub state: Option<PathBuf>,
    /// Who is told of every change. `None`: there is no state folder.
    pub journal: Option<Journal>,
    pub gates: Vec<Arc<GateRules>>,
    /// What the configuration alone warns of; what is under `observe` is added to it.
    pub warnings: Warnings,
    pub folder: folder::Settings,
}

/// Where the writer tells what it did.
#[derive(Debug, Clone)]
pub struct Told {
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    /// Which acts are in force, and why others are not.
    pub force: Force,
    /// What a fleet's bucket holds and this gate keeps out.
    pub refusals: Refusals,
}

/// The running writer. Dropping it ends it, so it must be kept until the last request is answered: what is revoked
/// while the gate drains is revoked too.
#[derive(Debug)]
pub struct Reloader {
    events: SyncSender<Event>,
    watching: Vec<(Origin, Watching)>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer is told.
#[derive(Debug)]
enum Event {
    Seen(Origin, Box<Seen>),
    /// Some secret file holds something else.
    Secrets,
    /// What if an override of this name said this? Nothing comes into force.
    Try {
        file: Arc<Path>,
        content: Content,
        answer: SyncSender<Tried>,
    },
    /// Which of these overrides would be kept out?
    Judge {
        changes: Vec<(Arc<Path>, Content)>,
        answer: SyncSender<Vec<Fault>>,
    },
    /// What is said of acts beside their files.
    Held(Vec<Said>),
    /// What names in the policy stand for, as the product said.
    Pinned(Vec<pinned::Told>),
    Stop,
}

/// An override that would be kept out, and why.
pub type Fault = (Arc<Path>, Problem);

/// What a change would make.
#[derive(Debug)]
pub struct Tried {
    pub snapshot: Snapshot,
    /// Why the file would be kept out.
    pub problems: Vec<Problem>,
}

/// Asks the writer what a change would make. Cheap to clone; it outlives the writer and then gets no answer.
#[derive(Debug, Clone)]
pub struct TryOut(SyncSender<Event>);

impl TryOut {
    /// Blocks until the writer has answered. `None`: it is gone.
    pub fn ask(&self, file: Arc<Path>, content: Content) -> Option<Tried> {
        let (answer, tried) = sync_channel(1);
        self.0.send(Event::Try { file, content, answer }).ok()?;
        tried.recv().ok()
    }

    /// Which of these overrides would be kept out, and why. Blocks likewise. `None`: the writer is gone.
    pub fn faults(&self, changes: Vec<(Arc<Path>, Content)>) -> Option<Vec<Fault>> {
        let (answer, judged) = sync_channel(1);
        self.0.send(Event::Judge { changes, answer }).ok()?;
        judged.recv().ok()
    }
}

/// Tells the writer which acts of a fleet hold, and which of a folder's acts are taken back. Cheap to clone; nobody hears it
/// once the writer is gone.
#[derive(Debug, Clone)]
pub struct Holder(SyncSender<Event>);

impl Holder {
    /// Blocks until the writer has room for it. It is in force once [`Force`] says so.
    pub fn tell(&self, said: Vec<Said>) {
        tell(&self.0, Event::Held(said));
    }
}

impl Reloader {
    /// Reads everything and puts it in force, then keeps it so. Blocks until all is read; a folder that has not
    /// settled is put in force later, and until then the gate is not ready and refuses with `no_policy`.
    ///
    /// # Errors
    /// All problems of all files at once, if any of them is an error.
    pub fn start(settings: Settings, catalogs: Arc<Catalogs>, told: Told) -> Result<Self, Vec<Problem>> {
        let no_thread = |error: std::io::Error| {
            let message = format!("cannot be watched: no thread could be started: {error}");
            vec![Problem::error(&file_name(&settings.policies), At::default(), message)]
        };
        let (events, inbox) = sync_channel(1);
        let secrets_moved = Arc::new(AtomicBool::new(false));
        let (send, moved) = (events.clone(), Arc::clone(&secrets_moved));
        let on_change = move || {
            moved.store(true, Ordering::SeqCst);
            // With something else to be read the writer wakes anyway, and a sender that waits could not be ended.
            let _ = send.try_send(Event::Secrets);
        };
        let secrets = SecretWatch::spawn(&settings.secrets_base, on_change).map_err(no_thread)?;
        let of_acts = settings.overrides.is_some().then(Arc::<Hints>::default);
        let mut writer = Writer::new(&settings, catalogs, told, secrets, of_acts.clone())?;
        let folders = first_look(&settings, &mut writer)?;
        let thread = std::thread::Builder::new().name("policy-reload".into());
        let thread = thread.spawn(move || run(writer, inbox, &secrets_moved)).map_err(no_thread)?;
        let mut reloader = Self { events, watching: Vec::new(), thread: Some(thread) };
        for (origin, folder) in folders {
            let send = reloader.events.clone();
            let on_seen = move |seen| tell(&send, Event::Seen(origin, Box::new(seen)));
            let hints = match origin {
                Origin::Override => of_acts.clone().unwrap_or_default(),
                Origin::Policy => Arc::default(),
            };
            let watching = folder::spawn_with(folder, settings.folder, hints, on_seen).map_err(no_thread)?;
            reloader.watching.push((origin, watching));
        }
        Ok(reloader)
    }

    /// For whoever writes files in a folder and will not wait for inotify: has it looked at, and not the other, of which a
    /// look may mean 10,000 files.
    pub fn hints(&self, origin: Origin) -> Vec<Arc<Hints>> {
        let of_it = self.watching.iter().filter(|(one, _)| *one == origin);
        of_it.map(|(_, watching)| Arc::clone(watching.hints())).collect()
    }

    /// For whoever asks what names stand for. It never waits: where the writer is busy it says so.
    pub fn pinning(&self) -> impl Fn(Vec<pinned::Told>) -> bool + Send + Sync + 'static {
        let events = self.events.clone();
        move |told| events.try_send(Event::Pinned(told)).is_ok()
    }

    /// For previews.
    pub fn try_out(&self) -> TryOut {
        TryOut(self.events.clone())
    }

    /// For the session of a fleet, and for whoever takes acts back.
    pub fn holder(&self) -> Holder {
        Holder(self.events.clone())
    }

    /// Looks at all folders now, without waiting for inotify or the next poll.
    pub fn look(&self) {
        self.watching.iter().for_each(|(_, watching)| watching.hints().tree());
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        tell(&self.events, Event::Stop);
        if let Some(thread) = self.thread.take() {
            // Its receiver is gone now, so no watcher waits for it while it is ended.
            let _ = thread.join();
        }
        self.watching.clear();
    }
}

/// The writer is gone only when the process ends.
fn tell(events: &SyncSender<Event>, event: Event) {
    let _ = events.send(event);
}

fn run(mut writer: Writer, inbox: Receiver<Event>, secrets_moved: &AtomicBool) {
    loop {
        let event = if writer.has_buried() {
            inbox.recv_timeout(GRAVEYARD_LOOK)
        } else {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(Event::Seen(origin, seen)) => writer.guarded(|writer| writer.seen(origin, *seen)),
            Ok(Event::Try { file, content, answer }) => {
                writer.guarded(|writer| {
                    // Whoever asked may have gone.
                    let _ = answer.send(writer.try_out(file, content));
                });
            }
            Ok(Event::Judge { changes, answer }) => {
                writer.guarded(|writer| {
                    let _ = answer.send(writer.faults(changes));
                });
            }
            Ok(Event::Held(said)) => writer.guarded(|writer| writer.hold(said)),
            Ok(Event::Pinned(told)) => writer.guarded(|writer| writer.pinned(&told)),
            Ok(Event::Secrets) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
        if secrets_moved.swap(false, Ordering::SeqCst) {
            writer.guarded(Writer::secrets_changed);
        }
        writer.sweep();
    }
    // Before the writer: a watcher that waits for room in the channel could not be ended by it.
    drop(inbox);
}

/// Reads both folders until they can be judged: sound and without a problem, or at rest and with one.
fn first_look(settings: &Settings, writer: &mut Writer) -> Result<Vec<(Origin, Folder)>, Vec<Problem>> {
    let began = Instant::now();
    let overrides = settings.overrides.as_ref().map(|path| (Origin::Override, Folder::new(path)));
    let mut folders: Vec<_> =
        overrides.into_iter().chain([(Origin::Policy, Folder::new(&settings.policies))]).collect();
    loop {
        let now = SystemTime::now();
        let at_rest = |scan: &Scan| {
            let age = now.duration_since(scan.last_change);
            scan.untold.is_some() || !scan.in_flux && age.is_ok_and(|age| age > settings.folder.settle)
        };
        let (mut all_at_rest, mut settled, mut whole) = (true, true, true);
        for (origin, folder) in &mut folders {
            let scan = folder.scan(Verify::All);
            all_at_rest &= at_rest(&scan);
            match origin {
                Origin::Policy => settled = at_rest(&scan),
                // An override in the middle of its rename is there a moment later; nothing is permitted without it.
                Origin::Override => whole = !scan.in_flux,
            }
            writer.take(*origin, scan, false);
        }
        let problems = writer.fit();
        if whole && !problems.iter().any(|problem| problem.is_error() && !is_copy(settings, problem)) {
            writer.start(settled);
            return Ok(folders);
        }
        if all_at_rest || began.elapsed() > START_MAX {
            return Err(problems);
        }
        std::thread::sleep(START_LOOK);
    }
}

/// What is wrong with a fleet's act on this disk keeps no gate from starting: its session finds that not all that was known is
/// there, so that the gate is not ready before it has read the bucket, and then the copy is put right.
fn is_copy(settings: &Settings, problem: &Problem) -> bool {
    let is_below = |folder: &PathBuf| problem.file.starts_with(folder) && *problem.file != **folder;
    settings.acts_are_shared && settings.overrides.as_ref().is_some_and(is_below)
}

/// Prometheus counts in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}
