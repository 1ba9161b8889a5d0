//! The control thread: health and admin listeners on a runtime of their own.

use std::future::IntoFuture as _;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use serde::Deserialize;
use tokio::net::{TcpListener, UnixListener};

use super::failed;
use crate::authz::gate::GateRules;
use crate::authz::snapshot::Snapshot;
use crate::cli::ask::{Actor, Question};
use crate::cli::explain::{answer, time_of};
use crate::cli::load::Loaded;
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
    gates: Vec<Arc<GateRules>>,
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
        servers.push((server, admin::router(answers(live, gates), access)));
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

fn answers(live: &Arc<Live>, gates: Vec<Arc<GateRules>>) -> Answers {
    let (shown, asked) = (Arc::clone(live), Arc::clone(live));
    Answers {
        snapshot: Arc::new(move || view(&shown.load())),
        explain: Arc::new(move |question| explain(&asked, &gates, question)),
    }
}

/// A question to the running gate, in the words of `scopegate explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    app: String,
    tenant: String,
    actor: Option<ActorWord>,
    user: Option<String>,
    kind: Option<String>,
    /// RFC 3339; absent, now.
    at: Option<String>,
    /// `project=SEC`: what a look-up would have said.
    #[serde(default)]
    containers: Vec<String>,
    gate: Option<String>,
    #[serde(default = "get")]
    method: String,
    path: String,
    body: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActorWord {
    App,
    User,
}

fn get() -> String {
    "GET".to_owned()
}

fn explain(
    live: &Live,
    gates: &[Arc<GateRules>],
    question: serde_json::Value,
) -> Result<serde_json::Value, AdminError> {
    let asked: Asked = serde_json::from_value(question).map_err(|error| AdminError::Question(error.to_string()))?;
    // Copied, so that no snapshot is held while the answer is written.
    let snapshot = Snapshot::clone(&live.load());
    if snapshot.states.is_none() {
        return Err(AdminError::NoPolicy);
    }
    let question = Question {
        app: asked.app,
        tenant: asked.tenant,
        actor: asked.actor.map(|actor| match actor {
            ActorWord::App => Actor::App,
            ActorWord::User => Actor::User,
        }),
        user: asked.user,
        kind: asked.kind,
        at_ms: match asked.at {
            Some(text) => time_of(&text).map_err(AdminError::Question)?,
            None => live.now_ms(),
        },
        containers: asked.containers,
        method: asked.method.to_ascii_uppercase(),
        target: asked.path,
        body: asked.body.map(String::into_bytes),
    };
    let loaded = Loaded::of_running(snapshot, gates.to_vec());
    answer(&loaded, asked.gate.as_deref(), &question).map_err(|failure| AdminError::Question(failure.to_string()))
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
