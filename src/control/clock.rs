//! Watches the clock that requests are judged by: measures it each second against the time that passed, says where it was
//! set forward, and keeps what a start needs to know of it in the state folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::health::Readiness;
use crate::clock::{Clock, Kept, STEP_MAX_MS, write};
use crate::metrics::Metrics;

/// How often it is measured. A step that is smaller than [`STEP_MAX_MS`] is counted with others after so long.
const EVERY: Duration = Duration::from_secs(1);
/// How many measurings apart it is written: a gate that is killed forgets at most so much of how late it was.
const WRITTEN_AFTER: u32 = 5;

/// The thread that watches. Dropping it writes once more.
#[derive(Debug)]
pub struct ClockKeeper {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ClockKeeper {
    /// Starts the thread. `state`: the folder that it is kept in, if there is one.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        state: Option<PathBuf>,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let mut keeper = Keeper { state, clock, metrics, readiness, behind_ms: 0, written: None, failed: false };
        let run = move || {
            loop {
                for _ in 0..WRITTEN_AFTER {
                    keeper.measure();
                    if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                        keeper.write();
                        return;
                    }
                }
                keeper.write();
            }
        };
        let thread = std::thread::Builder::new().name("clock".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ClockKeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Keeper {
    state: Option<PathBuf>,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// As it was told last.
    behind_ms: i64,
    written: Option<Kept>,
    failed: bool,
}

impl Keeper {
    fn measure(&mut self) {
        let behind_ms = self.clock.measure().behind_ms;
        let moved = (behind_ms - self.behind_ms).abs() > STEP_MAX_MS || (behind_ms == 0) != (self.behind_ms == 0);
        if !moved {
            return;
        }
        self.behind_ms = behind_ms;
        self.metrics.clock_behind(behind_ms / 1_000);
        let told = (behind_ms > 0).then(|| {
            format!(
                "requests are judged by a time that is {} s ahead of what passed: so much later do revocations end and grants \
                 begin, while rights and tokens end by it. Set the clock right; where it is right, stop the gate, remove \
                 clock.json from its state folder and start it",
                behind_ms / 1_000
            )
        });
        match &told {
            Some(told) => tracing::error!("{told}"),
            None => tracing::info!("the clock is as far as the time that passed again"),
        }
        self.readiness.clock(told);
        // At once: a start that follows must not take the new time for one that passed.
        self.write();
    }

    fn write(&mut self) {
        let Some(state) = &self.state else { return };
        let kept = self.clock.kept();
        if self.written.as_ref() == Some(&kept) {
            return;
        }
        match write(state, &kept) {
            Ok(()) => {
                if std::mem::take(&mut self.failed) {
                    tracing::info!("the clock is kept in the state folder again");
                }
                self.written = Some(kept);
                self.metrics.state_problem("clock", false);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(%error, "the clock cannot be kept in the state folder: a restart may go back in time");
                }
                self.metrics.state_problem("clock", true);
            }
        }
    }
}
