//! From the data plane to the thread that writes the log: shelves on which lines are laid as text.
//!
//! Who lays a line never waits: not for the disk, not for the writer, not for another worker. A slow disk must neither
//! slow requests down nor fill the memory, so a line that finds no room is lost, and the next line that is laid says
//! how many were. The writer lets lines gather, so that waking it and writing cost nothing for each of them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::line::{Line, UserIds};
use super::text;

/// How many lines may wait, those that are being written among them: half a second of 8,000 requests a second.
pub const LINES_MAX: usize = 4_096;

/// Bytes that may wait: some 2 KiB for each of [`LINES_MAX`]. One line more may be laid when they are reached.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// More workers than this share shelves.
const SHELVES: usize = 16;

/// Room that an emptied shelf keeps: a gather time of 50,000 lines a second. What a burst took is given back.
const SHELF_BYTES_KEPT: usize = 256 * 1024;

/// How long the writer lets lines gather once it was woken. Short beside what reads a log, and 200 wakings a second at
/// most, however many requests there are.
const GATHER: Duration = Duration::from_millis(5);

/// How long `close` sleeps between two looks at the writer.
const CLOSE_STEP: Duration = Duration::from_millis(5);

/// The data plane's end. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Lines {
    shared: Arc<Shared>,
    writer: Thread,
}

#[derive(Debug)]
struct Shared {
    shelves: [Mutex<Shelf>; SHELVES],
    users: UserIds,
    lines_max: usize,
    /// Lines and bytes that are laid or being written.
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
    /// The writer sleeps until it is woken.
    asleep: AtomicBool,
    ending: AtomicBool,
}

/// Lines of the workers that lay them here.
#[derive(Debug, Default)]
struct Shelf {
    text: Vec<u8>,
    lines: usize,
    /// Lost lines that these say.
    told: u64,
}

thread_local! {
    /// The shelf of this thread: each worker has its own as long as there are enough.
    static SHELF: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Lines {
    /// Lays a line, or counts it as lost.
    pub fn write(&self, line: &Line) {
        let shared = &*self.shared;
        // Counted before it is laid: a writer that is about to sleep sees it, or is seen asleep below.
        let waiting = shared.lines.fetch_add(1, Ordering::SeqCst);
        let has_room = waiting < shared.lines_max && shared.bytes.load(Ordering::Relaxed) < BYTES_MAX;
        match has_room.then(|| shared.shelf()).flatten() {
            Some(mut shelf) => shelf.lay(line, shared),
            None => {
                shared.lines.fetch_sub(1, Ordering::SeqCst);
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            self.writer.unpark();
        }
    }

    /// Lines lost since the last one that said so.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// This thread's shelf, or another one while the writer clears it. `None`: all are taken, which takes as many
    /// workers, each stopped by the scheduler in the midst of a line.
    fn shelf(&self) -> Option<MutexGuard<'_, Shelf>> {
        let own = SHELF.try_with(|own| *own).unwrap_or_default();
        (0..SHELVES).find_map(|next| match self.shelves.get((own + next) % SHELVES)?.try_lock() {
            Ok(shelf) => Some(shelf),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }
}

impl Shelf {
    fn lay(&mut self, line: &Line, shared: &Shared) {
        // Looked at before it is taken: nearly always there is nothing to take.
        let any_lost = shared.dropped.load(Ordering::Relaxed) > 0;
        let lost = if any_lost { shared.dropped.swap(0, Ordering::Relaxed) } else { 0 };
        let before = self.text.len();
        text::write(&mut self.text, line, &shared.users, lost);
        shared.bytes.fetch_add(self.text.len() - before, Ordering::Relaxed);
        self.lines += 1;
        self.told += lost;
    }
}

/// The thread that writes. Close it last, when no request is left.
#[derive(Debug)]
pub struct LineWriter {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

impl LineWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(out: Box<dyn Write + Send>, users: UserIds, lines_max: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            shelves: Default::default(),
            users,
            lines_max,
            lines: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new().name("request-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, out)
        })?;
        Ok(Self { lines: Lines { shared, writer: thread.thread().clone() }, thread: Some(thread) })
    }

    /// The data plane's end.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Writes what waits and ends, or gives up after `within`: a log that hangs must not hang the shutdown.
    /// `false`: lines may be lost.
    pub fn close(mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        self.tell_to_end();
        let Some(thread) = self.thread.take() else {
            return true;
        };
        while !thread.is_finished() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(CLOSE_STEP);
        }
        thread.join().is_ok()
    }

    fn tell_to_end(&self) {
        self.lines.shared.ending.store(true, Ordering::SeqCst);
        self.lines.writer.unpark();
    }
}

/// A writer that nobody closes ends all the same, once it has written what was laid.
impl Drop for LineWriter {
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

/// Writes until told to end. Lines that cannot be written count as lost; the thread itself never gives up.
fn run(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut taken = Shelf::default();
    loop {
        let ending = shared.ending.load(Ordering::SeqCst);
        for shelf in &shared.shelves {
            std::mem::swap(&mut *shelf.lock().unwrap_or_else(PoisonError::into_inner), &mut taken);
            clear(shared, &mut taken, &mut out);
        }
        if ending {
            break;
        }
        if shared.lines.load(Ordering::SeqCst) == 0 {
            sleep(shared);
        }
        if !shared.ending.load(Ordering::SeqCst) {
            std::thread::sleep(GATHER);
        }
    }
    let lost = shared.dropped.swap(0, Ordering::Relaxed);
    if lost > 0 {
        // The last chance to say it; there is nobody left to tell if this fails too.
        let _ = out.write_all(format!("{{\"dropped\":{lost}}}\n").as_bytes()).and_then(|()| out.flush());
    }
}

/// Sleeps until a line was laid, or the end was told. A line that was laid meanwhile is not slept over: it was counted
/// before `asleep` was looked at. Said anew before each look: who lays a line may wake the writer late, when that line is
/// long written, and has then taken the word back.
fn sleep(shared: &Shared) {
    loop {
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.lines.load(Ordering::SeqCst) > 0 || shared.ending.load(Ordering::SeqCst) {
            break;
        }
        std::thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}

/// Writes what lay on a shelf and leaves it empty.
fn clear(shared: &Shared, shelf: &mut Shelf, out: &mut Box<dyn Write + Send>) {
    if shelf.lines == 0 {
        return;
    }
    if out.write_all(&shelf.text).and_then(|()| out.flush()).is_err() {
        shared.dropped.fetch_add(shelf.told + shelf.lines as u64, Ordering::Relaxed);
    }
    shared.bytes.fetch_sub(shelf.text.len(), Ordering::Relaxed);
    shared.lines.fetch_sub(shelf.lines, Ordering::SeqCst);
    shelf.text.clear();
    shelf.text.shrink_to(SHELF_BYTES_KEPT);
    (shelf.lines, shelf.told) = (0, 0);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::line::tests::line;
    use super::*;

    struct Told(mpsc::Sender<()>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_wake_up_that_comes_late_does_not_put_the_writer_to_sleep_for_ever() {
        let (sender, written) = mpsc::channel();
        let writer = LineWriter::start(Box::new(Told(sender)), UserIds::None, 10).expect("a thread");
        let lines = writer.lines();
        // As a worker does whose line was written before it came to look whether the writer sleeps.
        for _ in 0..50 {
            if lines.shared.asleep.swap(false, Ordering::SeqCst) {
                lines.writer.unpark();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        lines.write(&line());
        written.recv_timeout(Duration::from_secs(10)).expect("the line is written");
        assert!(writer.close(Duration::from_secs(10)));
    }
}
