//! The task that judges again, one on each worker.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Streams;
use super::entry::{Entry, Judged};
use super::slice::Slice;
use crate::live::Live;

/// Between two looks: at those that are young, and at the clock. Half of it is what the clock's own word may be late,
/// where it was set ahead; of the second of law 8 that leaves enough.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks that a request is young for: it lasts for one whole [`LOOK_EVERY`] at the least before it is looked at.
const YOUNG_FOR: u32 = 2;

/// Judges the streams again for as long as the worker runs.
pub(super) async fn attend(streams: Rc<Streams>, live: Arc<Live>) {
    let mut published = live.published();
    let mut judged = 0;
    loop {
        let generation = live.generation().load(Ordering::SeqCst);
        if generation > judged {
            // One at a time: what moves while this goes on is the next pass.
            streams.judge_all(&live, generation).await;
            judged = generation;
            streams.judged.send_replace(judged);
            continue;
        }
        let rests = streams.young.borrow().is_empty() && streams.next_ms.get() == i64::MAX;
        streams.asleep.set(rests);
        tokio::select! {
            moved = published.changed() => if moved.is_err() {
                // Nobody is left to publish anything.
                return;
            },
            () = streams.arrived.notified(), if rests => {}
            () = tokio::time::sleep(LOOK_EVERY), if !rests => streams.look(&live).await,
        }
        streams.asleep.set(false);
    }
}

impl Streams {
    /// Judges all that were last judged by an older generation.
    async fn judge_all(&self, live: &Live, generation: u64) {
        let mut slice = Slice::begin();
        for list in [&self.settled, &self.young] {
            let mut rest = Backwards::new(list);
            while let Some(entry) = rest.next() {
                let is_older = entry.generation.get() < generation;
                let is_cut = is_older && self.judge(&entry, live);
                drop(entry);
                slice.after_one(is_cut).await;
            }
        }
    }

    /// Looks at the young that have lasted, and judges those for which a term ended.
    async fn look(&self, live: &Live) {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        let mut slice = Slice::begin();
        let mut young = Backwards::new(&self.young);
        while let Some(entry) = young.next() {
            if tick.wrapping_sub(entry.tick.get()) >= YOUNG_FOR {
                self.settle(&entry, live);
            }
            drop(entry);
            slice.after_one(false).await;
        }
        if self.next_ms.get() <= live.now_ms() {
            self.judge_ended(live, slice).await;
        }
    }

    async fn judge_ended(&self, live: &Live, mut slice: Slice) {
        // What is settled meanwhile brings it back down.
        self.next_ms.set(i64::MAX);
        let mut settled = Backwards::new(&self.settled);
        while let Some(entry) = settled.next() {
            let is_cut = entry.next_ms.get() <= live.now_ms() && self.judge(&entry, live);
            if !is_cut {
                self.next_ms.set(self.next_ms.get().min(entry.next_ms.get()));
            }
            drop(entry);
            slice.after_one(is_cut).await;
        }
    }

    /// True if it was cut.
    fn judge(&self, entry: &Entry, live: &Live) -> bool {
        match catch_unwind(AssertUnwindSafe(|| entry.judge(live))).unwrap_or_else(|_| entry.fail(live)) {
            Judged::Cut { by } => {
                self.count_cut(by);
                true
            }
            Judged::Permitted => {
                if entry.is_settled.get() {
                    self.next_ms.set(self.next_ms.get().min(entry.next_ms.get()));
                }
                false
            }
            Judged::Passed => false,
        }
    }

    fn settle(&self, entry: &Rc<Entry>, live: &Live) {
        match catch_unwind(AssertUnwindSafe(|| entry.settle(live))) {
            Ok(true) => self.move_to_settled(entry),
            Ok(false) => {}
            Err(_) => {
                if let Judged::Cut { by } = entry.fail(live) {
                    self.count_cut(by);
                }
            }
        }
    }

    fn move_to_settled(&self, entry: &Rc<Entry>) {
        // It says already that it is settled: it is taken off where it still stands.
        entry.is_settled.set(false);
        self.take_off(entry);
        entry.is_settled.set(true);
        self.put_on(entry);
        self.next_ms.set(self.next_ms.get().min(entry.next_ms.get()));
    }
}

/// A list from its end to its beginning, while it changes: where one is taken off, the last takes its place, and that one
/// was seen already. What is added meanwhile is not seen: it was judged by what is in force.
struct Backwards<'l> {
    list: &'l RefCell<Vec<Rc<Entry>>>,
    at: usize,
}

impl<'l> Backwards<'l> {
    fn new(list: &'l RefCell<Vec<Rc<Entry>>>) -> Self {
        Self { list, at: usize::MAX }
    }

    fn next(&mut self) -> Option<Rc<Entry>> {
        let list = self.list.borrow();
        self.at = self.at.min(list.len()).checked_sub(1)?;
        list.get(self.at).map(Rc::clone)
    }
}
