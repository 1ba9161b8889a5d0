//! The control thread: health and admin listeners on a runtime of their own.

use std::future::IntoFuture as _;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use tokio::net::TcpListener;

use super::fleet::Follow;
use super::{failed, machine};
use crate::config::Config;
use crate::config::model::{Listen, admin as model};
use crate::control::admin::listener::{self, Socket, TlsNow};
use crate::control::admin::{self, Access, Answers, Guard, TcpGuard, TokenFile};
use crate::control::health::{self, Readiness};
use crate::metrics::{GateMetrics, Metrics};
use crate::problem::Problem;
use crate::proxy::counters::IoCounters;
use crate::proxy::tls::AskingClients;
use crate::shutdown::{Phase, Watch};

/// What the admin listener answers, and what it speaks TLS by.
pub(super) struct AdminParts {
    pub answers: Answers,
    pub tls: Option<Arc<AskingClients>>,
}

/// The control thread, and where its listeners really are.
pub(super) struct Control {
    pub thread: JoinHandle<()>,
    pub health: Option<Listen>,
    pub admin: Option<Listen>,
}

/// Binds and starts the control thread. It ends when the shutdown reaches its last phase.
pub(super) fn spawn(
    config: &Config,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    parts: AdminParts,
    counters: Vec<(GateMetrics, Arc<IoCounters>)>,
    follow: Follow,
    shutdown: Watch,
) -> Result<Control, Vec<Problem>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("the control runtime", &error))?;
    let _entered = runtime.enter();
    let mut health = None;
    if let Some(listen) = &config.health {
        let (listener, address) = Probes::bind(listen)
            .map_err(|error| machine::not_listening(config, config.places.health, "health", listen, &error))?;
        let counted = Arc::new(counters);
        let router = health::router(readiness.clone(), Arc::clone(metrics));
        let router =
            router.layer(axum::middleware::from_fn(move |request, next| show(Arc::clone(&counted), request, next)));
        health = Some((listener, router, address));
    }
    let admin = config.admin.as_ref().map(|admin| admin_listener(config, admin, metrics, parts)).transpose()?;
    drop(_entered);
    let bound =
        (health.as_ref().map(|(_, _, address)| address.clone()), admin.as_ref().map(|(_, _, address)| address.clone()));
    let serve = move || runtime.block_on(serve(health, admin, follow, shutdown));
    let spawned = std::thread::Builder::new().name("control".into()).spawn(serve);
    let thread = spawned.map_err(|error| failed("the control thread", &error))?;
    Ok(Control { thread, health: bound.0, admin: bound.1 })
}

async fn serve(
    health: Option<(Probes, Router, Listen)>,
    admin: Option<(Socket, Router, Listen)>,
    follow: Follow,
    mut shutdown: Watch,
) {
    match health {
        Some((Probes::Tcp(listener), router, _)) => drop(tokio::spawn(axum::serve(listener, router).into_future())),
        Some((Probes::Unix(listener), router, _)) => drop(tokio::spawn(axum::serve(listener, router).into_future())),
        None => {}
    }
    if let Some((socket, router, _)) = admin {
        drop(tokio::spawn(listener::serve(socket, router)));
    }
    // Probes are answered until the very end: a drain that looks dead would be killed.
    match follow {
        // It ends with the shutdown, after its good-bye.
        Some((task, around)) => task.run(around, shutdown).await,
        None => shutdown.reached(Phase::Cut).await,
    }
}

/// The health listener's socket.
enum Probes {
    Tcp(TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Probes {
    fn bind(listen: &Listen) -> std::io::Result<(Self, Listen)> {
        match listen {
            Listen::Tcp(address) => bind_tcp(*address).map(|(listener, at)| (Self::Tcp(listener), Listen::Tcp(at))),
            Listen::Unix(path) => Ok((Self::Unix(admin::bind_unix(path, 0o660, None)?), listen.clone())),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

fn admin_listener(
    config: &Config,
    admin: &model::Admin,
    metrics: &Arc<Metrics>,
    parts: AdminParts,
) -> Result<(Socket, Router, Listen), Vec<Problem>> {
    let not_listening = |error| machine::not_listening(config, config.places.admin, "admin", &admin.listen, &error);
    let (socket, guard, address) = match (&admin.listen, &admin.guard) {
        (Listen::Unix(path), model::Guard::Socket(socket)) => {
            let listener = admin::bind_unix(path, socket.mode, socket.gid).map_err(not_listening)?;
            (Socket::Unix(listener), Guard::Socket(socket.peers.clone()), admin.listen.clone())
        }
        (Listen::Tcp(address), model::Guard::Tcp(guard)) => {
            let (listener, address) = bind_tcp(*address).map_err(not_listening)?;
            let token = guard.token.as_ref().map(TokenFile::open).transpose();
            let token = token.map_err(|error| machine::no_token(config, &error))?;
            let guard = tcp_guard(guard, token, address, parts.tls.as_ref());
            let tls = parts.tls.map(|asking| -> TlsNow { Arc::new(move || asking.now()) });
            (Socket::Tcp(listener, tls), Guard::Tcp(guard), Listen::Tcp(address))
        }
        // The configuration pairs them.
        (Listen::Unix(_), model::Guard::Tcp(_)) | (Listen::Tcp(_), model::Guard::Socket(_)) => {
            return Err(failed("the admin listener", &"its guard is another listener's"));
        }
    };
    let access = Access::new(guard, Arc::clone(metrics));
    Ok((socket, admin::router(parts.answers, access), address))
}

fn tcp_guard(
    guard: &model::TcpGuard,
    token: Option<TokenFile>,
    address: SocketAddr,
    asking: Option<&Arc<AskingClients>>,
) -> TcpGuard {
    let clients = guard.tls.as_ref().and_then(|tls| tls.clients.as_ref());
    let asking = asking.cloned();
    TcpGuard {
        token,
        clients: clients.map(|clients| clients.names.clone()).unwrap_or_default(),
        trust: Arc::new(move || asking.as_ref().map_or(0, |asking| asking.generation())),
        hosts: guard.hosts.clone(),
        listen: address.ip(),
    }
}

/// Shows the connections of each gate as they are now.
async fn show(
    counters: Arc<Vec<(GateMetrics, Arc<IoCounters>)>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    for (metrics, counters) in counters.iter() {
        metrics.connections(counters);
    }
    next.run(request).await
}
