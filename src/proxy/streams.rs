//! The requests of one worker that are under way. Each is entered here before it is judged, and judged again by each new
//! snapshot and when a term ends by the clock; one that is no longer permitted is cut (law 8).
//!
//! A short request pays for its entry alone: a place in a list, in memory that is used again. One that lasts is looked at
//! once, to learn when the clock may change its judgement; after that it costs nothing until then, or until a snapshot
//! is published.

mod entry;
mod judge;
mod slice;
mod told;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request;
use tokio::sync::{Notify, watch};

use super::body::{Held, Room};
use super::counters::IoCounters;
use super::tell::Labels;
use crate::authz::gate::GateRules;
use crate::authz::looked_up::LookedUp;
use crate::authz::{Denial, Permit, Reason};
use crate::live::Live;
use crate::metrics::GateMetrics;
pub use entry::Side;
use entry::{Body, Entry, Standing};
pub use told::Ending;

/// Entries that are kept to be used again: more requests than this are under way on one worker only in a burst.
const SPARE_MAX: usize = 1_024;

/// Generations of which the number of streams cut is remembered. Whoever asks does so right after publishing.
const CUTS_KEPT: usize = 64;

/// Bytes of judged bodies that are kept for streams, over all gates and workers: they are judged again by them. A stream
/// whose body found no room is cut by the next snapshot, whatever that says.
pub const BODIES_TOTAL_MAX: usize = 32 * 1024 * 1024;

/// The requests under way on one worker, of all its gates.
#[derive(Debug)]
pub struct Streams {
    /// Begun a moment ago; most end there.
    young: RefCell<Vec<Rc<Entry>>>,
    /// Looked at once: each knows when the clock may change its judgement.
    settled: RefCell<Vec<Rc<Entry>>>,
    spare: RefCell<Vec<Rc<Entry>>>,
    /// Counts the looks at the young.
    tick: Cell<u32>,
    /// No timer is set, for there was nothing to look at.
    asleep: Cell<bool>,
    arrived: Notify,
    /// The earliest moment, in Unix milliseconds, at which the clock may change the judgement of a settled one.
    next_ms: Cell<i64>,
    is_attended: Cell<bool>,
    /// Every stream was judged by this generation or a later one.
    judged: watch::Sender<u64>,
    /// How many were cut by each of the last generations.
    cuts: RefCell<VecDeque<(u64, u64)>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            young: RefCell::default(),
            settled: RefCell::default(),
            spare: RefCell::default(),
            tick: Cell::new(0),
            asleep: Cell::new(false),
            arrived: Notify::new(),
            next_ms: Cell::new(i64::MAX),
            is_attended: Cell::new(false),
            judged: watch::Sender::new(0),
            cuts: RefCell::default(),
        }
    }
}

/// What the streams of one gate have in common.
#[derive(Debug)]
pub struct OfGate {
    pub rules: Arc<GateRules>,
    pub labels: Arc<Labels>,
    pub metrics: GateMetrics,
    pub counters: Arc<IoCounters>,
    /// For the bodies that streams are judged again by.
    pub room: Room,
}

/// Where a gate enters its requests.
#[derive(Debug)]
pub struct Register {
    streams: Rc<Streams>,
    gate: Rc<OfGate>,
}

impl Register {
    /// Must be called on the worker: the first one starts the task that judges again.
    pub fn new(streams: &Rc<Streams>, gate: OfGate, live: &Arc<Live>) -> Self {
        if !streams.is_attended.replace(true) {
            tokio::task::spawn_local(judge::attend(Rc::clone(streams), Arc::clone(live)));
        }
        Self { streams: Rc::clone(streams), gate: Rc::new(gate) }
    }

    /// Enters a request.
    pub fn enter(&self, head: request::Parts) -> Open {
        let streams = &self.streams;
        if streams.asleep.replace(false) {
            streams.arrived.notify_one();
        }
        let mut entry = streams.spare.borrow_mut().pop().unwrap_or_default();
        // What is spare is nobody's; were it not, the request gets an entry of its own.
        match Rc::get_mut(&mut entry) {
            Some(entry) => entry.begin(head, Rc::clone(&self.gate), streams.tick.get()),
            None => {
                let mut fresh = Entry::default();
                fresh.begin(head, Rc::clone(&self.gate), streams.tick.get());
                entry = Rc::new(fresh);
            }
        }
        streams.put_on(&entry);
        Open { entry, streams: Rc::clone(streams) }
    }
}

/// A request that is under way, held by whoever has a part in it: it is taken off the list when the last one lets go.
#[derive(Debug)]
pub struct Open {
    entry: Rc<Entry>,
    streams: Rc<Streams>,
}

/// The request is no longer permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

impl Open {
    /// The head as it was received.
    pub fn head(&self) -> &request::Parts {
        &self.entry.head
    }

    /// Keeps what was held of the body, to be judged by it again.
    pub fn holds(&self, held: &Held) {
        *self.entry.body.borrow_mut() = Body::Held { bytes: held.bytes.clone(), place: None };
    }

    /// Whether its body was taken in whole.
    pub fn is_held(&self) -> bool {
        !matches!(*self.entry.body.borrow(), Body::NotHeld)
    }

    /// Keeps what it is judged by besides.
    pub fn knows(&self, looked_up: LookedUp) {
        *self.entry.looked_up.borrow_mut() = Some(Rc::new(looked_up));
    }

    /// What it is judged by besides.
    pub fn known(&self) -> Option<Rc<LookedUp>> {
        self.entry.looked_up.borrow().as_ref().map(Rc::clone)
    }

    /// It was permitted, at this Unix time in milliseconds: from here on it can be cut.
    pub fn permitted(&self, permit: &Permit, now_ms: i64) {
        let shown_ms = self.entry.standing.borrow().as_ref().map_or(now_ms, |before| before.shown_ms);
        self.entry.generation.set(permit.generation);
        *self.entry.standing.borrow_mut() = Some(Standing { who: permit.who.clone(), shown_ms, judged_ms: now_ms });
        if self.entry.is_settled.get() {
            // What was learned of the clock was of another judgement.
            self.entry.next_ms.set(i64::MIN);
            self.streams.next_ms.set(i64::MIN);
        }
    }

    /// It was answered, and what follows may last: the room for its body was the request's until now.
    pub fn lasts(&self) {
        let (Some(gate), mut body) = (&self.entry.gate, self.entry.body.borrow_mut()) else { return };
        if let Body::Held { bytes, place } = &mut *body {
            *place = gate.room.whole(bytes.len());
            if place.is_none() {
                *body = Body::Lost;
            }
        }
    }

    /// It lasts for certain, and has no other part: what is kept of it is kept in memory of its own.
    pub fn compact(&mut self) {
        self.streams.take_off(&self.entry);
        if let Some(entry) = Rc::get_mut(&mut self.entry) {
            entry.compact();
        }
        self.streams.put_on(&self.entry);
    }

    pub fn is_cut(&self) -> bool {
        self.entry.is_cut.get()
    }

    /// Wakes this task when it is cut. One task for each side.
    pub fn wake(&self, side: Side, context: &Context<'_>) {
        self.entry.wake(side, context);
    }

    /// What `future` becomes, unless the request is cut before. It is lent, as to [`super::timers::Timers::until`].
    pub async fn unless_cut<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, Cut> {
        std::future::poll_fn(move |context| {
            // Before as well: nothing more is done for a request that is cut, such as sending it once more.
            if self.is_cut() {
                return Poll::Ready(Err(Cut));
            }
            let polled = future.as_mut().poll(context);
            if self.is_cut() {
                return Poll::Ready(Err(Cut));
            }
            if polled.is_pending() {
                self.wake(Side::Answer, context);
            }
            polled.map(Ok)
        })
        .await
    }

    /// Returns when it is cut.
    pub async fn cut(&self) {
        std::future::poll_fn(|context| {
            if self.is_cut() {
                return Poll::Ready(());
            }
            self.wake(Side::Answer, context);
            Poll::Pending
        })
        .await;
    }

    /// The code of why it was cut, where nobody took the rest yet.
    pub fn reason(&self) -> Option<Reason> {
        self.entry.denial.borrow().as_ref().map(|denial| denial.reason)
    }

    /// Why it was cut, for the first who asks.
    pub fn denial(&self) -> Option<Box<Denial>> {
        self.entry.denial.borrow_mut().take()
    }

    /// What it was last let go on in spite of (`observe`, shadow mode), where that is another judgement than its first.
    fn would(&self) -> Option<Box<Denial>> {
        self.entry.would.borrow_mut().take()
    }

    fn gate(&self) -> Option<&OfGate> {
        self.entry.gate.as_deref()
    }
}

impl Clone for Open {
    fn clone(&self) -> Self {
        self.entry.holders.set(self.entry.holders.get() + 1);
        Self { entry: Rc::clone(&self.entry), streams: Rc::clone(&self.streams) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let holders = self.entry.holders.get() - 1;
        self.entry.holders.set(holders);
        if holders > 0 {
            return;
        }
        self.streams.take_off(&self.entry);
        // Only the list had it besides.
        let Some(entry) = Rc::get_mut(&mut self.entry) else { return };
        entry.end();
        let mut spare = self.streams.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(Rc::clone(&self.entry));
        }
    }
}

impl Streams {
    /// Returns when every stream was judged by `generation` or a later one, and says how many were cut for it, together
    /// with those that were cut for later ones meanwhile. The generation must have been published.
    pub async fn judged(&self, generation: u64) -> u64 {
        if self.is_attended.get() {
            // The sender is `self`: it is not gone.
            let _ = self.judged.subscribe().wait_for(|judged| *judged >= generation).await;
        }
        self.cuts.borrow().iter().filter(|(by, _)| *by >= generation).map(|(_, cut)| *cut).sum()
    }

    fn list(&self, is_settled: bool) -> &RefCell<Vec<Rc<Entry>>> {
        if is_settled { &self.settled } else { &self.young }
    }

    fn put_on(&self, entry: &Rc<Entry>) {
        let mut list = self.list(entry.is_settled.get()).borrow_mut();
        entry.index.set(list.len());
        list.push(Rc::clone(entry));
    }

    fn take_off(&self, entry: &Entry) {
        let mut list = self.list(entry.is_settled.get()).borrow_mut();
        let index = entry.index.get();
        if list.get(index).is_some_and(|one| std::ptr::eq(&**one, entry)) {
            list.swap_remove(index);
        }
        if let Some(moved) = list.get(index) {
            moved.index.set(index);
        }
    }

    /// One more was cut by this generation.
    fn count_cut(&self, generation: u64) {
        let mut cuts = self.cuts.borrow_mut();
        match cuts.back_mut() {
            Some((by, cut)) if *by == generation => *cut += 1,
            _ => {
                cuts.push_back((generation, 1));
                if cuts.len() > CUTS_KEPT {
                    cuts.pop_front();
                }
            }
        }
    }
}

/// A copy of its own: a slice of a larger buffer keeps all of that.
fn compact(bytes: &mut Bytes) {
    *bytes = Bytes::copy_from_slice(bytes);
}
