//! One request that is under way: what it takes to judge it again, and whom to wake when it is cut.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, request};

use super::OfGate;
use crate::authz::identity::Bearer;
use crate::authz::identity::trusted_header::Vouched;
use crate::authz::looked_up::LookedUp;
use crate::authz::policy::credentials::ClientMethod;
use crate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use crate::authz::snapshot::Snapshot;
use crate::authz::{Denial, Permit, Reason, Who, decide_again, next_change_ms};
use crate::clock::Now;
use crate::live::Live;
use crate::proxy::body::Place;

/// One entry of the list. Heads hold credentials, so it is never printed.
pub struct Entry {
    /// Empty: it is spare.
    pub head: request::Parts,
    pub gate: Option<Rc<OfGate>>,
    pub body: RefCell<Body>,
    /// What the product had said when it was permitted.
    pub looked_up: RefCell<Option<Rc<LookedUp>>>,
    /// `None`: not judged yet.
    pub standing: RefCell<Option<Standing>>,
    /// By which it was judged last.
    pub generation: Cell<u64>,
    /// When the clock may change its judgement, in Unix milliseconds. Of a settled one only.
    pub next_ms: Cell<i64>,
    pub tick: Cell<u32>,
    pub is_settled: Cell<bool>,
    /// Its place in its list.
    pub index: Cell<usize>,
    /// How many have a part in it.
    pub holders: Cell<u32>,
    pub is_cut: Cell<bool>,
    pub denial: RefCell<Option<Box<Denial>>>,
    pub would: RefCell<Option<Box<Denial>>>,
    answering: RefCell<Option<Waker>>,
    uploading: RefCell<Option<Waker>>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            head: no_head(),
            gate: None,
            body: RefCell::default(),
            looked_up: RefCell::default(),
            standing: RefCell::default(),
            generation: Cell::new(0),
            next_ms: Cell::new(i64::MAX),
            tick: Cell::new(0),
            is_settled: Cell::new(false),
            index: Cell::new(0),
            holders: Cell::new(0),
            is_cut: Cell::new(false),
            denial: RefCell::default(),
            would: RefCell::default(),
            answering: RefCell::default(),
            uploading: RefCell::default(),
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("generation", &self.generation).field("is_cut", &self.is_cut).finish()
    }
}

/// What was permitted.
#[derive(Debug)]
pub struct Standing {
    pub who: Who,
    /// When the credential was shown, in Unix milliseconds.
    pub shown_ms: i64,
    /// When it was judged last, in Unix milliseconds.
    pub judged_ms: i64,
}

/// What is judged of a body.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    NotHeld,
    Held {
        bytes: Bytes,
        /// Of the streams' own room, once the request is answered.
        place: Option<Place>,
    },
    /// There was no room to keep it.
    Lost,
}

/// A task that has a part in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It answers the client.
    Answer,
    /// It sends the body upstream.
    Upload,
}

/// How a judgement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// There was nothing to judge: not permitted yet, or cut already.
    Passed,
    Permitted,
    Cut {
        by: u64,
    },
}

impl Entry {
    pub fn begin(&mut self, head: request::Parts, gate: Rc<OfGate>, tick: u32) {
        self.head = head;
        self.gate = Some(gate);
        self.tick.set(tick);
        self.holders.set(1);
    }

    /// Makes it spare.
    pub fn end(&mut self) {
        if self.is_settled.replace(false)
            && let Some(gate) = &self.gate
        {
            gate.counters.streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.head = no_head();
        self.gate = None;
        *self.body.get_mut() = Body::NotHeld;
        *self.looked_up.get_mut() = None;
        *self.standing.get_mut() = None;
        self.is_cut.set(false);
        *self.denial.get_mut() = None;
        *self.would.get_mut() = None;
        *self.answering.get_mut() = None;
        *self.uploading.get_mut() = None;
    }

    /// Keeps the head in memory of its own. What is read off a connection is a slice of its buffer, all of which stays.
    pub fn compact(&mut self) {
        let mut head = no_head();
        head.method = self.head.method.clone();
        head.version = self.head.version;
        // What was parsed is parsed again; were it not, it would stay as it is.
        head.uri = self.head.uri.to_string().parse().unwrap_or_else(|_| self.head.uri.clone());
        head.headers.reserve(self.head.headers.len());
        for (name, value) in &self.head.headers {
            let mut copied = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
            copied.set_sensitive(value.is_sensitive());
            head.headers.append(name, copied);
        }
        self.head = head;
    }

    pub fn wake(&self, side: Side, context: &Context<'_>) {
        let mut waker = self.waker(side).borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn waker(&self, side: Side) -> &RefCell<Option<Waker>> {
        match side {
            Side::Answer => &self.answering,
            Side::Upload => &self.uploading,
        }
    }

    /// Judges it by the newest snapshot.
    pub fn judge(&self, live: &Live) -> Judged {
        let mut standing = self.standing.borrow_mut();
        let (Some(gate), Some(standing)) = (&self.gate, standing.as_mut()) else { return Judged::Passed };
        if self.is_cut.get() {
            return Judged::Passed;
        }
        let (snapshot, now) = (live.load(), live.now());
        match self.decide(&snapshot, gate, standing, now) {
            Ok(permit) => {
                self.generation.set(permit.generation);
                *self.would.borrow_mut() = permit.would.or(permit.shadow);
                standing.who = permit.who;
                standing.judged_ms = now.ms;
                let next_ms = next_change_ms(&snapshot, &gate.rules, &standing.who, now);
                self.next_ms.set(next_ms.unwrap_or(i64::MAX));
                Judged::Permitted
            }
            Err(denial) => {
                self.cut(gate, &standing.who, denial);
                Judged::Cut { by: snapshot.generation }
            }
        }
    }

    /// Cuts it because judging it failed: whoever judges all others goes on, and what cannot be judged is not permitted.
    pub fn fail(&self, live: &Live) -> Judged {
        let standing = self.standing.borrow();
        let (Some(gate), Some(standing)) = (&self.gate, standing.as_ref()) else { return Judged::Passed };
        gate.counters.panics.fetch_add(1, Ordering::Relaxed);
        self.cut(gate, &standing.who, Box::new(Denial::of(Reason::StalePolicy)));
        Judged::Cut { by: live.generation().load(Ordering::SeqCst) }
    }

    fn cut(&self, gate: &OfGate, who: &Who, denial: Box<Denial>) {
        gate.metrics.app(who.app().map(|app| &**app)).cut(denial.reason);
        *self.denial.borrow_mut() = Some(denial);
        self.is_cut.set(true);
        self.next_ms.set(i64::MAX);
        for side in [Side::Answer, Side::Upload] {
            if let Some(waker) = self.waker(side).borrow_mut().take() {
                waker.wake();
            }
        }
    }

    fn decide(&self, snapshot: &Snapshot, gate: &OfGate, standing: &Standing, now: Now) -> Result<Permit, Box<Denial>> {
        let bad = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
        let mut request = RequestView::of(&self.head).map_err(|error| bad(error.0))?.shown_at(standing.shown_ms);
        // What its evidence says was verified when it was shown, and counts until that ends.
        if let Some(claims) = standing.who.claims() {
            match claims.by {
                ClientMethod::Jwt => request.bears(Bearer::Proven(Arc::clone(claims))),
                ClientMethod::TrustedHeader => request.is_vouched(Vouched::For(Arc::clone(claims))),
            }
        }
        let body = self.body.borrow();
        let body = match &*body {
            Body::NotHeld => BodyFacts::NotHeld,
            Body::Held { bytes, .. } => parse_body(&self.head.headers, bytes).map_err(|error| bad(error.0))?,
            Body::Lost => {
                let why = Some("the policy changed, and there was no room to keep what the request was judged by");
                return Err(Box::new(Denial { why, ..Denial::of(Reason::StalePolicy) }));
            }
        };
        // Nothing is asked anew for what is under way: what is not known then may be what was revoked.
        let known = self.looked_up.borrow();
        let looked_up = known.as_deref().unwrap_or(LookedUp::nothing());
        let facts = Facts { now_ms: now.ms, behind_ms: now.behind_ms, body, looked_up };
        decide_again(snapshot, &gate.rules, &request, &facts, &standing.who)
    }

    /// Learns when the clock may change the judgement it stands by, from the snapshot of that judgement or a newer one.
    /// False: not judged yet.
    pub fn settle(&self, live: &Live) -> bool {
        let standing = self.standing.borrow();
        let (Some(gate), Some(standing)) = (&self.gate, standing.as_ref()) else { return false };
        let judged = Now { ms: standing.judged_ms, ..live.now() };
        let next_ms = next_change_ms(&live.load(), &gate.rules, &standing.who, judged);
        self.next_ms.set(next_ms.unwrap_or(i64::MAX));
        if let Body::Held { bytes, .. } = &mut *self.body.borrow_mut() {
            super::compact(bytes);
        }
        gate.counters.streams.fetch_add(1, Ordering::Relaxed);
        self.is_settled.set(true);
        true
    }
}

fn no_head() -> request::Parts {
    Request::new(()).into_parts().0
}
