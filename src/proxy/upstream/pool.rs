//! The connections of one worker to one upstream. The one used last is used next, so that the others can go.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, timeout_at};

use super::super::counters::{IoCounters, Open, PanicWatch, UpstreamSide};
use super::super::limits::{BUFFER_BYTES, Limits};
use super::SendError;
use super::connect::{Target, connect};
use super::gate::{Gate, GatedIo, Payload};

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
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// One connection.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Payload>,
    gate: Rc<Gate>,
}

impl Pool {
    pub fn start(
        target: Arc<Target>,
        limits: Arc<Limits>,
        counters: Arc<IoCounters>,
        generation: Arc<AtomicU64>,
    ) -> Rc<Self> {
        let every = (limits.upstream_idle_timeout / SWEEPS_PER_TIMEOUT).max(Duration::from_millis(100));
        let pool = Rc::new(Self { target, limits, counters, generation, idle: RefCell::default() });
        spawn_local(sweep(Rc::downgrade(&pool), every));
        pool
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// An unused connection that is ready, if there is one.
    pub fn reuse(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let newest = idle.len();
        for index in (newest.saturating_sub(LOOK_AT_MAX)..newest).rev() {
            let entry = idle.get(index)?;
            if entry.link.sender.is_closed() {
                idle.remove(index);
            } else if entry.since.elapsed() >= self.limits.upstream_idle_timeout {
                // So are all that are older.
                idle.drain(..=index);
                return None;
            } else if entry.link.sender.is_ready() {
                let link = idle.remove(index).link;
                return Some(Lease { link, pool: Rc::downgrade(self) });
            }
        }
        None
    }

    /// A new connection, within `connect_timeout`.
    pub async fn connect(self: &Rc<Self>) -> Result<Lease, SendError> {
        let place = Open::below(Place(Arc::clone(&self.target)), self.limits.upstream_connections_max)
            .ok_or(SendError::TooManyConnections)?;
        let deadline = Instant::now() + self.limits.connect_timeout;
        let io = match timeout_at(deadline, connect(&self.target.address, deadline)).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::TimedOut => {
                return Err(SendError::Unreachable(error));
            }
            Ok(Err(_)) | Err(_) => return Err(SendError::ConnectTimeout),
        };
        let gate = Gate::new(Arc::clone(&self.generation));
        let io = TokioIo::new(GatedIo::new(io, Rc::clone(&gate)));
        let (sender, connection) = http1::Builder::new()
            .max_headers(self.limits.headers_max)
            .max_header_size(self.limits.header_bytes_max)
            .max_buf_size(BUFFER_BYTES)
            .handshake(io)
            .await
            .map_err(SendError::Broken)?;
        let counted = (place, Open::new(UpstreamSide(Arc::clone(&self.counters))));
        let watch = PanicWatch(Arc::clone(&self.counters));
        spawn_local(async move {
            let _counted = counted;
            let _watch = watch;
            // How it ended is told to the request on it, if there was one.
            let _ = connection.await;
        });
        Ok(Lease { link: Link { sender, gate }, pool: Rc::downgrade(self) })
    }

    fn put(&self, link: Link) {
        if link.sender.is_closed() || self.limits.upstream_idle_max == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.limits.upstream_idle_max {
            idle.remove(0);
        }
        idle.push(Idle { link, since: Instant::now() });
    }
}

/// A connection that one exchange has for itself. Dropped, it ends the connection.
#[derive(Debug)]
pub struct Lease {
    link: Link,
    pool: Weak<Pool>,
}

impl Lease {
    pub(super) fn gate(&self) -> &Rc<Gate> {
        &self.link.gate
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<Payload> {
        &mut self.link.sender
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
struct Place(Arc<Target>);

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
        pool.idle.borrow_mut().retain(|idle| !idle.link.sender.is_closed() && idle.since.elapsed() < kept_for);
    }
}
