//! The one shared cell: the current snapshot, swapped by one writer and read by every request.
//!
//! Beside it stand the generation number alone, which is compared right before a request's first byte goes upstream,
//! and a clock that never runs backwards, so that what has ended stays ended (law 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::authz::snapshot::Snapshot;

/// Where the planes meet.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    generation: Arc<AtomicU64>,
    /// Tells whoever has something to judge again that the generation moved.
    published: watch::Sender<u64>,
    /// The latest Unix time in milliseconds that any request was judged at.
    latest_ms: AtomicI64,
    /// How far the clock is set ahead, for tests and `test`; 0 otherwise.
    offset_ms: AtomicI64,
}

impl Live {
    pub fn new(snapshot: Snapshot) -> Self {
        let generation = Arc::new(AtomicU64::new(snapshot.generation));
        let published = watch::Sender::new(snapshot.generation);
        let snapshot = ArcSwap::from_pointee(snapshot);
        Self { snapshot, generation, published, latest_ms: AtomicI64::new(i64::MIN), offset_ms: AtomicI64::new(0) }
    }

    /// The newest snapshot. Whoever waits must let go of it first.
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The newest generation, to be compared without loading the snapshot.
    pub fn generation(&self) -> &Arc<AtomicU64> {
        &self.generation
    }

    /// Puts a snapshot in force. Only one task may call this. It returns the one it replaces, so that the caller and
    /// not a request pays for dropping it.
    pub fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let generation = snapshot.generation;
        let old = self.snapshot.swap(Arc::new(snapshot));
        // After the swap: a request that sees the new number finds at least the new snapshot.
        self.generation.store(generation, Ordering::SeqCst);
        self.published.send_replace(generation);
        old
    }

    /// Says when the generation moved. A receiver that is busy then sees the last one alone.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// The time to judge a request by: never earlier than any that was judged by before.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        let now = unix_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed));
        let latest = self.latest_ms.load(Ordering::Relaxed);
        if now > latest { self.latest_ms.fetch_max(now, Ordering::Relaxed).max(now) } else { latest }
    }

    /// Sets the clock ahead of, or behind, the system's. For tests: `now_ms` still never runs backwards.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

/// Unix time in milliseconds by the system's clock.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
