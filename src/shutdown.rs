//! Orderly shutdown: readiness goes first, then a delay in which the gate still serves, then the listeners close and
//! what is open ends by itself or is cut. One handle drives it, any number of watchers on any runtime follow.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// How far the shutdown is. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    #[default]
    Serving,
    /// Not ready any more; still accepting and serving, so that load balancers can look elsewhere.
    Draining,
    /// Listeners are closed; connections finish the request they are in.
    Closing,
    /// What is still open is cut.
    Cut,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Cut => "cut",
        }
    }
}

/// Follows a shutdown. Cheap to clone, usable on every runtime.
#[derive(Debug, Clone)]
pub struct Watch(watch::Receiver<Phase>);

impl Watch {
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns when `phase`, or a later one, is reached. Also when the driver is gone: nobody would say so later.
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// Drives a shutdown.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Shutdown {
    pub fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }

    /// Goes to `phase`, never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
            }
            forward
        });
    }

    /// The whole way: not ready, `delay`, listeners closed, then until `finished` or `drain_timeout`, then cut.
    /// Returns true if all finished by themselves.
    pub async fn drain(&self, delay: Duration, drain_timeout: Duration, finished: impl Future<Output = ()>) -> bool {
        self.advance(Phase::Draining);
        tokio::time::sleep(delay).await;
        self.advance(Phase::Closing);
        let in_time = timeout(drain_timeout, finished).await.is_ok();
        self.advance(Phase::Cut);
        in_time
    }
}

/// Returns when the process is asked to end, by SIGTERM or SIGINT.
pub async fn signalled() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_goes_first_and_the_rest_follows_in_order() {
        let shutdown = Shutdown::default();
        let mut watch = shutdown.watch();
        let (delay, limit) = (Duration::from_millis(20), Duration::from_millis(10));
        let drained = shutdown.drain(delay, limit, std::future::pending());
        let followed = async {
            let start = std::time::Instant::now();
            watch.reached(Phase::Draining).await;
            assert_eq!(watch.phase(), Phase::Draining, "still serving");
            watch.reached(Phase::Closing).await;
            assert!(start.elapsed() >= delay);
            watch.reached(Phase::Cut).await;
            assert!(start.elapsed() >= delay + limit);
        };
        let (in_time, ()) = tokio::join!(drained, followed);
        assert!(!in_time);
    }

    #[test]
    fn a_shutdown_never_goes_back() {
        let shutdown = Shutdown::default();
        shutdown.advance(Phase::Cut);
        shutdown.advance(Phase::Draining);
        assert_eq!(shutdown.watch().phase(), Phase::Cut);
    }
}
