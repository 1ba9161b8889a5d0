//! The one shared cell: the current snapshot, swapped by one writer and read by every request.
//!
//! Beside it stand the generation number alone, which is compared right before a request's first byte goes upstream,
//! and a clock that never runs backwards, so that what has ended stays ended (law 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::authz::snapshot::Snapshot;
use crate::clock::{Clock, Now};

/// Where the planes meet.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    generation: Arc<AtomicU64>,
    /// Tells whoever has something to judge again that the generation moved.
    published: watch::Sender<u64>,
    clock: Arc<Clock>,
}

impl Live {
    pub fn new(snapshot: Snapshot) -> Self {
        Self::by(snapshot, Arc::new(Clock::start(None)))
    }

    /// By a clock that was started before.
    pub fn by(snapshot: Snapshot, clock: Arc<Clock>) -> Self {
        let generation = Arc::new(AtomicU64::new(snapshot.generation));
        let published = watch::Sender::new(snapshot.generation);
        let snapshot = ArcSwap::from_pointee(snapshot);
        Self { snapshot, generation, published, clock }
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
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The same, by what ends.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.now().ms
    }

    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }
}
