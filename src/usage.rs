//! What rights are used for: counts that the data plane adds to, by app and operation, and the control plane collects; and
//! in the same way whom each act in shadow mode would have refused.
//!
//! Each worker adds to a table of its own, with atomics and without a lock; a request allocates nothing but where its app,
//! or its part of the catalog, is counted for the first time by this worker. What finds no room is counted as one number.

pub mod outlasting;
pub mod strangers;

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

use crate::authz::catalog::OperationId;

/// Apps that are counted each by itself, and apps under acts in shadow mode; those beyond share nothing, they are only
/// counted as not counted.
pub const APPS_MAX: usize = 500;

/// More workers than this share tables.
const SHARDS: usize = 16;

/// Operations of one piece of an app's table: most apps call few, and those lie together.
const CHUNK: usize = 32;

/// Whether a request was permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Permitted,
    Denied,
}

/// The tables of all workers, each of whatever is counted by operation: apps, or [`Shadowed`].
#[derive(Debug)]
pub struct Usage<K = Arc<str>> {
    shards: [Shard<K>; SHARDS],
    uncounted: AtomicU64,
}

/// Whom an act in shadow mode would have refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shadowed {
    /// The act's file.
    pub act: Arc<Path>,
    /// `None`: a caller that no policy ever named.
    pub app: Option<Arc<str>>,
    pub tenant: Arc<str>,
}

#[derive(Debug)]
struct Shard<K> {
    apps: ArcSwap<HashMap<K, Arc<Table>>>,
    writer: Mutex<()>,
}

/// One app's operations, in pieces that are made when they are first needed.
#[derive(Debug)]
struct Table {
    chunks: Box<[OnceLock<Box<[Slot; CHUNK]>>]>,
}

/// One operation.
#[derive(Debug, Default)]
struct Slot {
    permits: AtomicU64,
    denials: AtomicU64,
    /// Unix time in milliseconds.
    last_permit_ms: AtomicI64,
    last_denial_ms: AtomicI64,
}

/// What was counted of one operation since it was last collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub permits: u64,
    pub denials: u64,
    /// Unix time in milliseconds; 0: none.
    pub last_permit_ms: i64,
    pub last_denial_ms: i64,
}

thread_local! {
    /// The table of this thread: each worker has its own as long as there are enough.
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl<K> Default for Usage<K> {
    fn default() -> Self {
        let shard = |_| Shard { apps: ArcSwap::from_pointee(HashMap::new()), writer: Mutex::default() };
        Self { shards: std::array::from_fn(shard), uncounted: AtomicU64::new(0) }
    }
}

impl<K: Clone + Eq + Hash> Usage<K> {
    /// Counts a request of an app that the policy knows. `operations`: how many its catalog has.
    pub fn count(&self, app: &K, operation: OperationId, operations: usize, used: Use, now_ms: i64) {
        let shard = self.shards.get(SHARD.try_with(|own| *own).unwrap_or_default());
        let index = usize::from(operation.0);
        let counted = shard.is_some_and(|shard| {
            let known = shard.apps.load();
            match known.get(app) {
                Some(table) => table.count(index, used, now_ms),
                None => shard.add(app, operations).is_some_and(|table| table.count(index, used, now_ms)),
            }
        });
        if !counted {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was counted since the last time. A table that is full gives up apps that were not heard of.
    pub fn collect(&self, mut each: impl FnMut(&K, OperationId, Counted)) {
        for shard in &self.shards {
            let apps = shard.apps.load_full();
            let mut heard_of = HashMap::new();
            for (app, table) in apps.iter() {
                let mut any = false;
                table.collect(|operation, counted| {
                    any = true;
                    each(app, operation, counted);
                });
                if any {
                    heard_of.insert(app.clone(), Arc::clone(table));
                }
            }
            if apps.len() >= APPS_MAX && heard_of.len() < apps.len() {
                shard.keep(heard_of);
            }
        }
    }

    /// Requests that found no room since the last time.
    pub fn take_uncounted(&self) -> u64 {
        self.uncounted.swap(0, Ordering::Relaxed)
    }
}

impl<K: Clone + Eq + Hash> Shard<K> {
    /// Makes a table for an app. `None`: there are too many, or another worker is at it: nobody waits for that.
    fn add(&self, app: &K, operations: usize) -> Option<Arc<Table>> {
        let _writer = self.writer.try_lock().ok()?;
        let now = self.apps.load();
        if let Some(known) = now.get(app) {
            return Some(Arc::clone(known));
        }
        if now.len() >= APPS_MAX {
            return None;
        }
        let chunks = (0..operations.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        let table = Arc::new(Table { chunks });
        let mut apps = HashMap::clone(&now);
        apps.insert(app.clone(), Arc::clone(&table));
        self.apps.store(Arc::new(apps));
        Some(table)
    }

    fn keep(&self, apps: HashMap<K, Arc<Table>>) {
        if let Ok(_writer) = self.writer.try_lock() {
            self.apps.store(Arc::new(apps));
        }
    }
}

impl Table {
    fn count(&self, index: usize, used: Use, now_ms: i64) -> bool {
        let chunk = self.chunks.get(index / CHUNK).map(|chunk| chunk.get_or_init(Box::default));
        let Some(slot) = chunk.and_then(|chunk| chunk.get(index % CHUNK)) else { return false };
        let (number, last) = match used {
            Use::Permitted => (&slot.permits, &slot.last_permit_ms),
            Use::Denied => (&slot.denials, &slot.last_denial_ms),
        };
        number.fetch_add(1, Ordering::Relaxed);
        last.fetch_max(now_ms, Ordering::Relaxed);
        true
    }

    fn collect(&self, mut each: impl FnMut(OperationId, Counted)) {
        for (number, chunk) in self.chunks.iter().enumerate() {
            for (place, slot) in chunk.get().iter().flat_map(|chunk| chunk.iter()).enumerate() {
                let counted = Counted {
                    permits: slot.permits.swap(0, Ordering::Relaxed),
                    denials: slot.denials.swap(0, Ordering::Relaxed),
                    last_permit_ms: slot.last_permit_ms.load(Ordering::Relaxed),
                    last_denial_ms: slot.last_denial_ms.load(Ordering::Relaxed),
                };
                let id = u16::try_from(number * CHUNK + place).map(OperationId);
                if let (true, Ok(id)) = (counted.permits + counted.denials > 0, id) {
                    each(id, counted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(usage: &Usage) -> Vec<(String, u16, Counted)> {
        let mut all = Vec::new();
        usage.collect(|app, operation, counted| all.push((app.to_string(), operation.0, counted)));
        all
    }

    #[test]
    fn what_several_workers_count_is_collected_once() {
        let usage = Usage::default();
        let app: Arc<str> = "jira/a".into();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| usage.count(&app, OperationId(600), 616, Use::Permitted, 5));
            }
        });
        usage.count(&app, OperationId(0), 616, Use::Denied, 7);
        let all = collected(&usage);
        let permits: u64 = all.iter().filter(|(_, id, _)| *id == 600).map(|(_, _, counted)| counted.permits).sum();
        assert_eq!(permits + usage.take_uncounted(), 4, "{all:?}");
        let denied = all.iter().find(|(_, id, _)| *id == 0).map(|(_, _, counted)| *counted);
        assert_eq!(denied, Some(Counted { denials: 1, last_denial_ms: 7, ..Counted::default() }));
        assert_eq!(collected(&usage), []);
    }

    #[test]
    fn an_operation_beyond_the_catalog_and_an_app_beyond_the_bound_are_not_counted() {
        let usage = Usage::default();
        usage.count(&"jira/a".into(), OperationId(40), 10, Use::Permitted, 1);
        assert_eq!(usage.take_uncounted(), 1);
        for number in 0..APPS_MAX + 3 {
            usage.count(&format!("jira/app-{number}").into(), OperationId(0), 1, Use::Permitted, 1);
        }
        assert_eq!(usage.take_uncounted(), 4, "jira/a has its place");
        assert_eq!(collected(&usage).len(), APPS_MAX - 1);
        // Whoever is not heard of makes room.
        usage.count(&"jira/app-0".into(), OperationId(0), 1, Use::Permitted, 1);
        collected(&usage);
        usage.count(&"jira/new".into(), OperationId(0), 1, Use::Permitted, 1);
        assert_eq!(usage.take_uncounted(), 0);
    }
}
