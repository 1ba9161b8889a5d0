//! The control thread: health and admin listeners on a runtime of their own.

use std::future::IntoFuture as _;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};

use super::failed;
use crate::authz::snapshot::Snapshot;
use crate::config::Config;
use crate::config::model::Listen;
use crate::control::admin::{self, Access, AdminError, Answers, SnapshotView, TokenFile};
use crate::control::health::{self, Readiness};
use crate::live::Live;
use crate::metrics::{GateMetrics, Metrics};
use crate::problem::Problem;
use crate::proxy::counters::IoCounters;
use crate::shutdown::{Phase, Watch};

/// Binds and starts the control thread. It ends when the shutdown reaches its last phase.
pub(super) fn spawn(
    config: &Config,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    counters: Vec<(GateMetrics, Arc<IoCounters>)>,
    shutdown: Watch,
) -> Result<(JoinHandle<()>, Option<Listen>), Vec<Problem>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("the control runtime", &error))?;
    let _entered = runtime.enter();
    let mut servers = Vec::new();
    let mut bound = None;
    if let Some(listen) = &config.health {
        let (server, address) = Server::bind(listen).map_err(|error| failed("the health listener", &error))?;
        let counted = Arc::new(counters);
        let router = health::router(readiness.clone(), Arc::clone(metrics));
        servers.push((
            server,
            router.layer(axum::middleware::from_fn(move |request, next| show(Arc::clone(&counted), request, next))),
        ));
        bound = Some(address);
    }
    if let Some(admin) = &config.admin {
        let (server, address) = Server::bind(&admin.listen).map_err(|error| failed("the admin listener", &error))?;
        let access = match (&address, &admin.token) {
            (Listen::Unix(_), _) => Access::Socket,
            (Listen::Tcp(address), Some(path)) => {
                let token = TokenFile::open(path).map_err(|error| failed("the admin token", &error))?;
                Access::Tcp { token, listen: address.ip() }
            }
            (Listen::Tcp(_), None) => return Err(failed("the admin listener", &"TCP needs a token file")),
        };
        servers.push((server, admin::router(answers(live), access)));
    }
    drop(_entered);
    let spawned =
        std::thread::Builder::new().name("control".into()).spawn(move || runtime.block_on(serve(servers, shutdown)));
    Ok((spawned.map_err(|error| failed("the control thread", &error))?, bound))
}

async fn serve(servers: Vec<(Server, Router)>, mut shutdown: Watch) {
    for (server, router) in servers {
        match server {
            Server::Tcp(listener) => drop(tokio::spawn(axum::serve(listener, router).into_future())),
            Server::Unix(listener) => drop(tokio::spawn(axum::serve(listener, router).into_future())),
        }
    }
    // Probes are answered until the very end: a drain that looks dead would be killed.
    shutdown.reached(Phase::Cut).await;
}

enum Server {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Server {
    fn bind(listen: &Listen) -> std::io::Result<(Self, Listen)> {
        match listen {
            Listen::Tcp(address) => {
                let listener = StdTcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                Ok((Self::Tcp(TcpListener::from_std(listener)?), Listen::Tcp(address)))
            }
            Listen::Unix(path) => Ok((Self::Unix(admin::bind_unix(path)?), listen.clone())),
        }
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

fn answers(live: &Arc<Live>) -> Answers {
    let (shown, asked) = (Arc::clone(live), Arc::clone(live));
    Answers {
        snapshot: Arc::new(move || view(&shown.load())),
        explain: Arc::new(move |question| {
            let _ = (&asked, question);
            Err(AdminError::NoPolicy)
        }),
    }
}

fn view(snapshot: &Snapshot) -> Option<SnapshotView> {
    let states = snapshot.states.as_ref()?;
    Some(SnapshotView {
        generation: snapshot.generation,
        digest: snapshot.digest.clone(),
        apps: states.newest.apps.len(),
        settling: states.whole.is_some(),
    })
}
