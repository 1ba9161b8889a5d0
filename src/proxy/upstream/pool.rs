//! The connections of one worker to one upstream. Of HTTP/1.1 the one used last is used next, so that the others can
//! go; of HTTP/2 one carries all requests, as many as the upstream lets it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, timeout_at};

use super::super::counters::{IoCounters, Open, PanicWatch, UpstreamSide};
use super::super::limits::{LARGE_HEADS_MAX, Limits};
use super::super::timers::Timers;
use super::super::transport::Transport;
use super::connect::{Speaks, Target, connect};
use super::direct::{Counted, Direct};
use super::gate::{Gate, GatedIo, Payload};
use super::http2::{self, Http2Lease};
use super::{SendError, http1};

/// Of the unused connections this many are looked at for one that is ready. The newest nearly always is; it is not
/// while the upstream answered early and still takes the rest of a body.
const LOOK_AT_MAX: usize = 8;

/// Unused connections are swept this many times within their timeout.
const SWEEPS_PER_TIMEOUT: u32 = 4;

#[derive(Debug)]
pub struct Pool {
    target: Arc<Target>,
    limits: Arc<Limits>,
    counters: Arc<IoCounters>,
    generation: Arc<AtomicU64>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<http2::Link>>>,
    /// The last connection was of HTTP/2: the next one is worth waiting for.
    speaks_http2: Cell<bool>,
    connecting: Cell<bool>,
    connected: Notify,
    /// For connections of HTTP/2 that one request has for itself.
    alone: Arc<Semaphore>,
    timers: Timers,
}

/// What a request may be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Whatever there is.
    Any,
    /// HTTP/1.1: HTTP/2 cannot carry it.
    Http1,
    /// No connection that others have requests on.
    Alone,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// One connection of HTTP/1.1.
#[derive(Debug)]
struct Link {
    driven: Driven,
    gate: Rc<Gate>,
    /// What it was made under: see [`Target::trust_generation`].
    trust: u64,
}

/// Who drives a connection of HTTP/1.1.
#[derive(Debug)]
enum Driven {
    /// Whoever has a request on it. Shared with the body of the answer alone, which does not keep it.
    Direct(Rc<RefCell<Direct>>),
    /// A task of hyper's, for as long as it is open.
    Hyper(SendRequest<Payload>),
    /// Nobody: it is no more.
    Closed,
}

impl Link {
    fn is_closed(&self) -> bool {
        match &self.driven {
            Driven::Direct(direct) => !direct.borrow().is_reusable(),
            Driven::Hyper(sender) => sender.is_closed(),
            Driven::Closed => true,
        }
    }

    fn is_ready(&self) -> bool {
        match &self.driven {
            Driven::Direct(direct) => direct.borrow_mut().is_ready(),
            Driven::Hyper(sender) => sender.is_ready() && self.gate.is_flushed(),
            Driven::Closed => false,
        }
    }

    /// Looks at the connection itself, where nobody else would notice that it was closed.
    fn is_open(&self) -> bool {
        self.is_ready() || !self.is_direct()
    }

    fn is_direct(&self) -> bool {
        matches!(self.driven, Driven::Direct(_))
    }
}

impl Pool {
    pub fn start(
        target: Arc<Target>,
        limits: Arc<Limits>,
        counters: Arc<IoCounters>,
        generation: Arc<AtomicU64>,
    ) -> Rc<Self> {
        let every = (limits.upstream_idle_timeout / SWEEPS_PER_TIMEOUT).max(Duration::from_millis(100));
        let speaks_http2 = Cell::new(target.speaks == Speaks::Http2);
        let pool = Rc::new(Self {
            target,
            limits,
            counters,
            generation,
            idle: RefCell::default(),
            shared: RefCell::default(),
            speaks_http2,
            connecting: Cell::new(false),
            connected: Notify::new(),
            alone: Arc::new(Semaphore::new(LARGE_HEADS_MAX)),
            timers: Timers::default(),
        });
        spawn_local(sweep(Rc::downgrade(&pool), every));
        pool
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// False for an upstream that is asked in HTTP/1.1 alone.
    pub fn may_speak_http2(&self) -> bool {
        self.target.speaks != Speaks::Http1
    }

    /// For the waits for answers.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// A connection for one request that found none: a new one, or, unless `fresh_only`, one that others are waiting
    /// for as well.
    pub async fn open(self: &Rc<Self>, fresh_only: bool, needs: Needs) -> Result<Lease, SendError> {
        let deadline = Instant::now() + self.limits.connect_timeout;
        if needs == Needs::Alone {
            let place = timeout_at(deadline, Arc::clone(&self.alone).acquire_owned()).await;
            let place = place.ok().and_then(Result::ok).ok_or(SendError::TooManyConnections)?;
            return self.connect(deadline, needs, Some(place)).await;
        }
        while self.speaks_http2.get() && self.connecting.get() && needs == Needs::Any && !fresh_only {
            // One connection will do for all who wait for it here.
            let connected = timeout_at(deadline, self.connected.notified()).await;
            connected.map_err(|_| SendError::ConnectTimeout)?;
            if let Some(lease) = self.reuse(needs, true) {
                return Ok(lease);
            }
        }
        let _connecting = (needs == Needs::Any).then(|| Connecting::start(self));
        self.connect(deadline, needs, None).await
    }

    /// An open connection that takes a request now, if there is one. `is_bare`: a request that needs no hyper. It goes on
    /// one of those where it can, and any other on one of hyper's, so that few change hands.
    pub fn reuse(self: &Rc<Self>, needs: Needs, is_bare: bool) -> Option<Lease> {
        if needs == Needs::Any && self.speaks_http2.get() {
            let (shared, trust) = (self.shared.borrow(), self.target.trust_generation());
            let link = shared.iter().find(|link| link.has_room(self.limits.http2_streams_max, trust));
            if let Some(link) = link {
                return Some(Lease::Http2(Http2Lease::of(link, true)));
            }
        }
        let mut idle = self.idle.borrow_mut();
        let newest = idle.len();
        let mut other = None;
        for index in (newest.saturating_sub(LOOK_AT_MAX)..newest).rev() {
            let entry = idle.get(index)?;
            if entry.link.is_closed() || entry.link.trust != self.target.trust_generation() {
                idle.remove(index);
                other = other.map(|other: usize| other - 1);
            } else if entry.since.elapsed() >= self.limits.upstream_idle_timeout {
                // So are all that are older.
                idle.drain(..=index);
                other = other.map(|other| other - index - 1);
                break;
            } else if entry.link.is_ready() {
                if entry.link.is_direct() == is_bare {
                    other = Some(index);
                    break;
                }
                other = other.or(Some(index));
            }
        }
        let link = idle.remove(other?).link;
        Some(Lease::Http1(Http1Lease { link, pool: Rc::downgrade(self), is_reused: true }))
    }

    /// A new connection, by `deadline`. `alone` is its place among those of HTTP/2 that are not shared.
    async fn connect(
        self: &Rc<Self>,
        deadline: Instant,
        needs: Needs,
        alone: Option<OwnedSemaphorePermit>,
    ) -> Result<Lease, SendError> {
        let place = Open::below(Place(Arc::clone(&self.target)), self.limits.upstream_connections_max)
            .ok_or(SendError::TooManyConnections)?;
        let speaks = if needs == Needs::Http1 { Speaks::Http1 } else { self.target.speaks };
        let trust = self.target.trust_generation();
        let io = connect(&self.target, speaks, deadline, &self.counters).await?;
        let counted = (place, Open::new(UpstreamSide(Arc::clone(&self.counters))));
        let is_http2 = io.alpn() == Some(b"h2") || !io.is_tls() && speaks == Speaks::Http2;
        if speaks == Speaks::Http2 && !is_http2 {
            let error = std::io::Error::new(std::io::ErrorKind::Unsupported, "it does not agree to HTTP/2 (ALPN)");
            return Err(SendError::Unreachable(error));
        }
        if needs != Needs::Http1 {
            self.speaks_http2.set(is_http2);
        }
        if is_http2 {
            let is_shared = alone.is_none();
            let kept = (counted, PanicWatch(Arc::clone(&self.counters)), alone);
            let opened = http2::Link::open(io, &self.generation, &self.limits, kept, is_shared, trust);
            let link = match timeout_at(deadline, opened).await {
                Ok(link) => link.map_err(|error| SendError::Broken(error.into()))?,
                Err(_) => return Err(SendError::ConnectTimeout),
            };
            if is_shared {
                self.shared.borrow_mut().push(Rc::clone(&link));
            }
            return Ok(Lease::Http2(Http2Lease::of(&link, false)));
        }
        Ok(self.open_http1(io, counted, trust))
    }

    fn open_http1(self: &Rc<Self>, io: Transport, counted: Counted, trust: u64) -> Lease {
        let gate = Gate::new(Arc::clone(&self.generation));
        let connection = Direct::new(GatedIo::new(io, Rc::clone(&gate)), counted);
        let driven = Driven::Direct(Rc::new(RefCell::new(connection)));
        let link = Link { driven, gate, trust };
        Lease::Http1(Http1Lease { link, pool: Rc::downgrade(self), is_reused: false })
    }

    fn put(&self, link: Link) {
        if link.is_closed() || self.limits.upstream_idle_max == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.limits.upstream_idle_max {
            idle.remove(0);
        }
        idle.push(Idle { link, since: Instant::now() });
    }
}

/// A connection that is being opened, until it is or cannot be.
struct Connecting<'p>(&'p Pool);

impl<'p> Connecting<'p> {
    fn start(pool: &'p Pool) -> Self {
        pool.connecting.set(true);
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}

/// A connection that is lent to one exchange. Dropped, it ends the exchange.
#[derive(Debug)]
pub enum Lease {
    Http1(Http1Lease),
    Http2(Http2Lease),
}

impl Lease {
    /// The exchange is over in order.
    pub fn give_back(self) {
        match self {
            Self::Http1(lease) => lease.give_back(),
            // A stream ends with its exchange, and the connection was never its own.
            Self::Http2(lease) => drop(lease),
        }
    }

    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.is_reused,
            Self::Http2(lease) => lease.is_reused,
        }
    }
}

/// A connection that one exchange has for itself. Dropped, it ends the connection.
#[derive(Debug)]
pub struct Http1Lease {
    link: Link,
    pool: Weak<Pool>,
    is_reused: bool,
}

impl Http1Lease {
    pub(super) fn gate(&self) -> &Rc<Gate> {
        &self.link.gate
    }

    /// The connection, where nobody else drives it.
    pub(super) fn direct(&self) -> Option<Rc<RefCell<Direct>>> {
        match &self.link.driven {
            Driven::Direct(direct) => Some(Rc::clone(direct)),
            Driven::Hyper(_) | Driven::Closed => None,
        }
    }

    pub(super) fn sender(&mut self) -> Option<&mut SendRequest<Payload>> {
        match &mut self.link.driven {
            Driven::Direct(_) | Driven::Closed => None,
            Driven::Hyper(sender) => Some(sender),
        }
    }

    /// Has the connection driven by hyper from here on. False: it was closed meanwhile.
    pub(super) async fn through_hyper(&mut self, pool: &Pool) -> bool {
        match std::mem::replace(&mut self.link.driven, Driven::Closed) {
            Driven::Direct(direct) => {
                let connection = Rc::into_inner(direct).map(RefCell::into_inner);
                let Some((io, counted)) = connection.and_then(Direct::into_parts) else { return false };
                let opened = http1::open(io, &self.link.gate, counted, &pool.counters, &pool.limits).await;
                let Ok(sender) = opened else { return false };
                self.link.driven = Driven::Hyper(sender);
            }
            other => self.link.driven = other,
        }
        !self.link.is_closed()
    }

    /// Lets the next request have the connection.
    pub fn give_back(self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.link);
        }
    }
}

/// A place among the connections that the upstream may have.
#[derive(Debug)]
pub struct Place(Arc<Target>);

impl AsRef<AtomicUsize> for Place {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.open
    }
}

/// Closes what was unused for too long, as long as there is a pool.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    let mut ticks = interval(every);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let kept_for = pool.limits.upstream_idle_timeout;
        let trust = pool.target.trust_generation();
        let is_kept = |idle: &Idle| idle.link.trust == trust && idle.since.elapsed() < kept_for;
        pool.idle.borrow_mut().retain(|idle| !idle.link.is_closed() && is_kept(idle) && idle.link.is_open());
        pool.shared.borrow_mut().retain(|link| link.is_worth_keeping(kept_for, trust));
    }
}
