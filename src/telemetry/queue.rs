//! The bounded queue between the data plane and the thread that writes the log.
//!
//! A slow disk must neither slow requests down nor fill the memory, so a line that finds the queue full is lost,
//! and the next line that is written says how many were.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::line::{Line, UserIds};

/// How many lines may wait. At some 2 KiB each at worst, 8 MiB; half a second of 8,000 requests a second.
pub const LINES_MAX: usize = 4_096;

/// How long `close` sleeps between two looks at a full queue.
const CLOSE_STEP: Duration = Duration::from_millis(5);

enum Message {
    Line(Box<Line>),
    End,
}

/// The data plane's end. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Lines {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

impl Lines {
    /// Hands a line over, or counts it as lost.
    pub fn write(&self, line: Box<Line>) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost since the last one that said so.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
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
        let (sender, receiver) = sync_channel(lines_max);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines { queue: sender, dropped: Arc::clone(&dropped) };
        let thread = std::thread::Builder::new()
            .name("request-log".into())
            .spawn(move || run(&receiver, out, &users, &dropped))?;
        Ok(Self { lines, thread: Some(thread) })
    }

    /// The data plane's end.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Writes what waits and ends, or gives up after `within`: a log that hangs must not hang the shutdown.
    /// `false`: lines may be lost.
    pub fn close(mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut message = Message::End;
        while let Err(refused) = self.lines.queue.try_send(message) {
            match refused {
                TrySendError::Full(back) if Instant::now() < end => message = back,
                TrySendError::Full(_) => return false,
                TrySendError::Disconnected(_) => break,
            }
            std::thread::sleep(CLOSE_STEP);
        }
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
}

/// Writes until told to end. A line that cannot be written counts as lost; the thread itself never gives up.
fn run(queue: &Receiver<Message>, mut out: Box<dyn Write + Send>, users: &UserIds, dropped: &AtomicU64) {
    while let Some(message) = next(queue, &mut out) {
        let Message::Line(line) = message else {
            break;
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        let mut text = line.to_json(users, lost);
        text.push('\n');
        if out.write_all(text.as_bytes()).is_err() {
            dropped.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
    let lost = dropped.swap(0, Ordering::Relaxed);
    if lost > 0 {
        // The last chance to say it; there is nobody left to tell if this fails too.
        let _ = writeln!(out, r#"{{"dropped":{lost}}}"#);
    }
    let _ = out.flush();
}

/// The next message. What is buffered is flushed before the thread sleeps, so a quiet gate's lines are not held back.
fn next(queue: &Receiver<Message>, out: &mut Box<dyn Write + Send>) -> Option<Message> {
    match queue.try_recv() {
        Ok(message) => Some(message),
        Err(TryRecvError::Empty) => {
            let _ = out.flush();
            queue.recv().ok()
        }
        Err(TryRecvError::Disconnected) => None,
    }
}
