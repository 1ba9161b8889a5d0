//! The workers of the data plane: one thread with one single-threaded runtime each, its own sockets and its own
//! upstream connections. They share nothing on a request's way.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use rustls::ServerConfig;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::body::Body;
use super::connection::{self, Accepted, Peer, Serving};
use super::counters::{ClientSide, IoCounters, Open, PanicWatch};
use super::limits::Limits;
use super::listener::{self, BoundSocket, ListenAddress, Listener};
use super::source::Source;
use super::streams::Streams;
use crate::shutdown::{Phase, Watch};

/// Wait after a failed accept. Out of file descriptors, it fails at once and for ever: no loop may spin on it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One gate, as the workers need to know it.
#[derive(Debug, Clone)]
pub struct GateListener {
    pub address: ListenAddress,
    pub tls: Option<Arc<ServerConfig>>,
    pub limits: Arc<Limits>,
    pub counters: Arc<IoCounters>,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    /// The real address of each gate, in the order they were given.
    pub addresses: Vec<ListenAddress>,
    pub fence: Fence,
    threads: Vec<JoinHandle<()>>,
    alive: mpsc::Receiver<()>,
}

/// What makes "in force" true for all workers: a worker that compared the generation an instant before it moved is
/// still within the poll that writes the request. Cheap to clone, usable on every runtime.
#[derive(Debug, Clone)]
pub struct Fence(Arc<[mpsc::UnboundedSender<Asked>]>);

/// What a worker is asked from outside.
#[derive(Debug)]
enum Asked {
    /// To say that it has left the poll it is in.
    Fence(oneshot::Sender<()>),
    /// To say that its streams were judged by this generation or a later one, and how many were cut.
    Streams(u64, oneshot::Sender<u64>),
}

impl Fence {
    /// Returns when every worker has left the poll it is in now. A revocation may be acknowledged after the snapshot
    /// was stored and this returned: no first byte that it forbids goes upstream from then on (law 8).
    pub async fn passed(&self) {
        let mut answers = Vec::with_capacity(self.0.len());
        for worker in self.0.iter() {
            let (tell, told) = oneshot::channel();
            // A worker that is gone writes nothing.
            let _ = worker.send(Asked::Fence(tell));
            answers.push(told);
        }
        for answer in answers {
            let _ = answer.await;
        }
    }

    /// Returns when every stream of every worker was judged by `generation`, which was published, or by a later one, and
    /// says how many were cut for it. With those of later ones that came meanwhile: they are judged together.
    ///
    /// A cut stream is let go of by its own task, the next time that this runs: see [`Self::passed`].
    pub async fn streams_judged(&self, generation: u64) -> u64 {
        let mut answers = Vec::with_capacity(self.0.len());
        for worker in self.0.iter() {
            let (tell, told) = oneshot::channel();
            // A worker that is gone has no streams.
            let _ = worker.send(Asked::Streams(generation, tell));
            answers.push(told);
        }
        let mut cut = 0;
        for answer in answers {
            cut += answer.await.unwrap_or(0);
        }
        cut
    }
}

impl Workers {
    /// Returns when every worker has ended. Before a shutdown that is a fault: the caller should end the process.
    pub async fn finished(&mut self) {
        while self.alive.recv().await.is_some() {}
    }

    /// Waits for the threads. Call it after the shutdown reached `Cut`.
    pub fn join(self) {
        for thread in self.threads {
            // A worker that panicked was counted; there is nobody left to tell.
            let _ = thread.join();
        }
        for address in self.addresses {
            if let ListenAddress::Unix(path) = address {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// How many workers use what this process may use: the cores, of the cgroup's quota and the affinity mask, not of the
/// node. The standard library reads both (`cpu.max` of cgroup 2, `cpu.cfs_quota_us` of cgroup 1), rounding down.
pub fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Why there are no workers.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The gate by its place in the list that was given.
    #[error("gate {gate} cannot listen: {error}")]
    Listen { gate: usize, error: io::Error },
    #[error("a worker cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Binds every gate and starts `count` workers. `service` is called once for each gate on each worker, on the worker's
/// thread and runtime, with the worker's streams: what it makes stays there, so it needs no lock, and may open upstream
/// pools.
pub fn spawn_workers<M, S, F>(
    count: usize,
    gates: Vec<GateListener>,
    shutdown: &Watch,
    service: M,
) -> Result<Workers, SpawnError>
where
    M: Fn(usize, &Rc<Streams>) -> S + Send + Clone + 'static,
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let count = count.max(1);
    let mut addresses = Vec::with_capacity(gates.len());
    let mut sockets: Vec<Vec<(usize, BoundSocket)>> = (0..count).map(|_| Vec::with_capacity(gates.len())).collect();
    for (index, gate) in gates.iter().enumerate() {
        let bound = listener::bind(&gate.address, count).map_err(|error| SpawnError::Listen { gate: index, error })?;
        addresses.push(bound.address);
        for (worker, socket) in sockets.iter_mut().zip(bound.sockets) {
            worker.push((index, socket));
        }
    }
    let gates: Arc<[GateListener]> = gates.into();
    let open: Arc<AtomicUsize> = Arc::default();
    let (guard, alive) = mpsc::channel(1);
    let mut threads = Vec::with_capacity(count);
    let mut fences = Vec::with_capacity(count);
    for (number, sockets) in sockets.into_iter().enumerate() {
        let (gates, open, service) = (Arc::clone(&gates), Arc::clone(&open), service.clone());
        let (shutdown, guard) = (shutdown.clone(), guard.clone());
        let (fence, asked) = mpsc::unbounded_channel();
        fences.push(fence);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("data-{number}")).spawn(move || {
            let _guard = guard;
            let local = LocalSet::new();
            let streams = Rc::default();
            local.spawn_local(answer(asked, Rc::clone(&streams)));
            local.block_on(&runtime, work(sockets, &gates, open, shutdown, service, &streams));
            drop(local);
            // A name look-up that hangs in its thread must not hold up the end.
            runtime.shutdown_background();
        })?;
        threads.push(thread);
    }
    Ok(Workers { addresses, fence: Fence(fences.into()), threads, alive })
}

/// Answers what the worker is asked: between two polls, as it is then.
async fn answer(mut asked: mpsc::UnboundedReceiver<Asked>, streams: Rc<Streams>) {
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::Fence(tell) => {
                let _ = tell.send(());
            }
            Asked::Streams(generation, tell) => {
                let streams = Rc::clone(&streams);
                // On its own: who asks next must not wait for it.
                spawn_local(async move {
                    let _ = tell.send(streams.judged(generation).await);
                });
            }
        }
    }
}

/// One worker, from its first accept to its last connection. What is open when it returns is cut.
async fn work<M, S, F>(
    sockets: Vec<(usize, BoundSocket)>,
    gates: &[GateListener],
    open: Arc<AtomicUsize>,
    mut shutdown: Watch,
    service: M,
    streams: &Rc<Streams>,
) where
    M: Fn(usize, &Rc<Streams>) -> S,
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let drain = Rc::new(Drain::default());
    for (index, socket) in sockets {
        let Some(gate) = gates.get(index) else { continue };
        // Only a runtime that is shutting down refuses a socket.
        let Ok(listener) = Listener::start(socket) else { continue };
        let serving = Rc::new(Serving {
            service: service(index, streams),
            limits: Arc::clone(&gate.limits),
            counters: Arc::clone(&gate.counters),
            tls: gate.tls.clone(),
            drain: Rc::clone(&drain),
        });
        spawn_local(accept(listener, serving, Process(Arc::clone(&open))));
    }
    shutdown.reached(Phase::Closing).await;
    drain.close();
    tokio::select! {
        () = drain.emptied() => {}
        () = shutdown.reached(Phase::Cut) => {}
    }
}

/// Accepts until the listeners close.
async fn accept<S, F>(listener: Listener, serving: Rc<Serving<S>>, process: Process)
where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let _watch = PanicWatch(Arc::clone(&serving.counters));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = serving.drain.closing() => return,
        };
        match accepted {
            Ok(accepted) => start(accepted, &serving, &process),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Gives a connection a task of its own, or closes it at once where too many are open.
fn start<S, F>(accepted: Accepted, serving: &Rc<Serving<S>>, process: &Process)
where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let counters = &serving.counters;
    counters.accepted.fetch_add(1, Ordering::Relaxed);
    let Some(place) = Open::below(process.clone(), serving.limits.connections_max) else {
        counters.over_limit.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let counted = (place, Open::new(ClientSide(Arc::clone(counters))), Attending::new(&serving.drain));
    let watch = PanicWatch(Arc::clone(counters));
    let serving = Rc::clone(serving);
    spawn_local(async move {
        // A panic ends this task, and with it this connection, only.
        let _counted = counted;
        let _watch = watch;
        connection::serve(accepted, serving).await;
    });
}

/// The connections that the whole process has open.
#[derive(Debug, Clone)]
struct Process(Arc<AtomicUsize>);

impl AsRef<AtomicUsize> for Process {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0
    }
}

/// A worker's own copy of the shutdown: looking at it costs a connection nothing.
#[derive(Debug, Default)]
pub struct Drain {
    closing: Cell<bool>,
    told: Notify,
    attended: Cell<usize>,
    emptied: Notify,
}

impl Drain {
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Returns when connections should end after the request they are in.
    pub async fn closing(&self) {
        let told = self.told.notified();
        if !self.closing.get() {
            told.await;
        }
    }

    fn close(&self) {
        self.closing.set(true);
        self.told.notify_waiters();
    }

    async fn emptied(&self) {
        while self.attended.get() > 0 {
            self.emptied.notified().await;
        }
    }
}

/// A connection that the drain waits for.
#[derive(Debug)]
struct Attending(Rc<Drain>);

impl Attending {
    fn new(drain: &Rc<Drain>) -> Self {
        drain.attended.set(drain.attended.get() + 1);
        Self(Rc::clone(drain))
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let left = self.0.attended.get().saturating_sub(1);
        self.0.attended.set(left);
        if left == 0 {
            self.0.emptied.notify_one();
        }
    }
}
