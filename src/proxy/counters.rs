//! What the data plane counts as it moves bytes: plain atomics, exported by the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counts of one gate. Shared by its workers.
#[derive(Debug, Default)]
pub struct IoCounters {
    /// Client connections open now.
    pub client_open: AtomicUsize,
    /// Upstream connections open now.
    pub upstream_open: AtomicUsize,
    /// Client connections ever accepted.
    pub accepted: AtomicU64,
    /// Client connections closed at once, for `connections_max` was reached.
    pub over_limit: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    /// Client connections closed for being too slow.
    pub timed_out: AtomicU64,
    /// Client connections closed because what came on them was no HTTP, or did harm.
    pub malformed: AtomicU64,
    /// Upstream connections that could not be opened: nobody was there, or the name is not known.
    pub upstream_connects_failed: AtomicU64,
    /// Upstream connections that were not open in time, whichever step was slow: name, proxy or handshake.
    pub upstream_connects_timed_out: AtomicU64,
    /// TLS handshakes that an upstream failed: it was not whom it must be, or spoke no TLS.
    pub upstream_handshakes_failed: AtomicU64,
    /// Tunnels that the proxy of `via` did not open.
    pub via_failed: AtomicU64,
    /// Requests under way now that have lasted: each is judged again when that is due.
    pub streams: AtomicUsize,
    /// Tasks that panicked; each ended its own connection only.
    pub panics: AtomicU64,
}

/// How a connection ended, where that is of interest: a client may go at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, by either side.
    Orderly,
    /// The client did not keep a bound in time.
    TooSlow,
    /// The client spoke no HTTP that is understood here, or one that does harm.
    Malformed,
}

impl IoCounters {
    /// Counts how a connection, or a tunnel within one, ended.
    pub fn ended(&self, ended: Ended) {
        let count = match ended {
            Ended::Orderly => return,
            Ended::TooSlow => &self.timed_out,
            Ended::Malformed => &self.malformed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One more of something that is open, until dropped.
#[derive(Debug)]
pub struct Open<T: AsRef<AtomicUsize>>(T);

impl<T: AsRef<AtomicUsize>> Open<T> {
    pub fn new(count: T) -> Self {
        count.as_ref().fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    /// `None` when `max` are open already.
    pub fn below(count: T, max: usize) -> Option<Self> {
        // Add first, then look: two that race for the last place cannot both get it.
        if count.as_ref().fetch_add(1, Ordering::Relaxed) >= max {
            count.as_ref().fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(count))
    }
}

impl<T: AsRef<AtomicUsize>> Drop for Open<T> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The client side of a gate's counters, as something that can be open.
#[derive(Debug)]
pub struct ClientSide(pub Arc<IoCounters>);

impl AsRef<AtomicUsize> for ClientSide {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.client_open
    }
}

/// The upstream side of a gate's counters, as something that can be open.
#[derive(Debug)]
pub struct UpstreamSide(pub Arc<IoCounters>);

impl AsRef<AtomicUsize> for UpstreamSide {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.upstream_open
    }
}

/// Counts a panic when the task that owns it unwinds.
#[derive(Debug)]
pub struct PanicWatch(pub Arc<IoCounters>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    struct Count(Arc<AtomicUsize>);

    impl AsRef<AtomicUsize> for Count {
        fn as_ref(&self) -> &AtomicUsize {
            &self.0
        }
    }

    #[test]
    fn no_more_than_the_maximum_are_open_and_a_closed_one_makes_room() {
        let count = Count(Arc::default());
        let first = Open::below(count.clone(), 1);
        assert!(first.is_some());
        assert!(Open::below(count.clone(), 1).is_none());
        drop(first);
        assert!(Open::below(count, 1).is_some());
    }
}
