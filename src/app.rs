//! Wiring: builds the parts of a gate from a checked configuration and returns the real bound addresses.
//!
//! The data plane runs on its workers' threads, everything else on one control thread with a runtime of its own. They
//! meet in `Live`, the metrics and bounded queues.

pub mod acts;
mod answers;
mod control;
mod files;
pub mod fleet;
mod gates;
mod machine;
pub mod names;
mod state;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response, StatusCode};

use acts::Desk;

use crate::authz::catalog::{Catalog, builtin};
use crate::authz::gate::GateRules;
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::file::Origin;
use crate::authz::snapshot::Snapshot;
use crate::clock::unix_ms;
use crate::config::Config;
use crate::config::model::admin::Guard;
use crate::config::model::{CatalogSource, Listen, LogUsers, Threads};
use crate::control::files::FileWatch;
use crate::control::fleet::Refusals;
use crate::control::folder;
use crate::control::health::Readiness;
use crate::control::health::{Bypass, Warnings};
use crate::control::journal::Journal;
use crate::control::overrides::Overrides;
use crate::control::reload::force::Force;
use crate::control::reload::{self, Reloader, Told};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::problem::{At, Problem, file_name};
use crate::proxy::body::Body;
use crate::proxy::connection::Peer;
use crate::proxy::listener::ListenAddress;
use crate::proxy::lookups::pinning;
use crate::proxy::source::Source;
use crate::proxy::streams::Streams;
use crate::proxy::worker::{Fence, Workers, spawn_workers, worker_count};
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::{LINES_MAX, LineWriter, UserIds};

/// How long the request log may take to be written out at the end.
const LOG_CLOSE: Duration = Duration::from_secs(2);

/// Where the lines of requests go.
pub type LogOut = Box<dyn std::io::Write + Send>;

/// A running gate. Dropping it does not stop it: call `stop`.
#[derive(Debug)]
pub struct Running {
    /// The real addresses of the gates, in the order of the configuration.
    pub gates: Vec<ListenAddress>,
    pub health: Option<Listen>,
    pub admin: Option<Listen>,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    /// What a published snapshot is in force by, on every worker.
    pub fence: Fence,
    shutdown: Arc<Shutdown>,
    workers: Option<Workers>,
    control: Option<JoinHandle<()>>,
    reloader: Option<Reloader>,
    /// `None`: no gate has anything of TLS from a file.
    files: Option<FileWatch>,
    log: Option<LineWriter>,
    state: state::Kept,
    drain: crate::config::model::Drain,
}

/// The catalogs that a configuration uses, and those that are built in besides: a policy may speak of a product that
/// another instance stands before.
///
/// # Errors
/// A catalog that cannot be read, or two catalogs of one product: a policy would mean two things.
pub fn catalogs(config: Option<&Config>) -> Result<Vec<Arc<Catalog>>, Vec<Problem>> {
    let mut catalogs: Vec<(CatalogSource, Arc<Catalog>)> = Vec::new();
    let mut problems = Vec::new();
    for (file, gate) in config.iter().flat_map(|config| config.gates.iter().map(|gate| (&config.file, gate))) {
        if let Some((_, known)) = catalogs.iter().find(|(source, _)| *source == gate.catalog) {
            problems.extend(gates::unlisted_hosts(file, gate, known));
            continue;
        }
        let complain = |message: String| Problem::error(file, gate.at, message);
        match load_catalog(&gate.catalog) {
            Err(own) => problems.extend(own),
            Ok(None) => problems.push(complain(format!("no catalog is built in for the gate `{}`", gate.name))),
            Ok(Some(catalog)) if catalogs.iter().any(|(_, other)| is_another(other, &catalog)) => {
                let message = format!("two gates use different catalogs of {}", catalog.product);
                problems.push(complain(message).help("give them one catalog, or run two instances"));
            }
            Ok(Some(catalog)) => {
                problems.extend(gates::unlisted_hosts(file, gate, &catalog));
                catalogs.push((gate.catalog.clone(), catalog));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut all: Vec<Arc<Catalog>> = catalogs.into_iter().map(|(_, catalog)| catalog).collect();
    // One gate may pin the release that another takes as it comes.
    let mut seen = BTreeSet::new();
    all.retain(|catalog| seen.insert(Arc::clone(&catalog.product)));
    for (product, _) in builtin::products() {
        if !all.iter().any(|catalog| *catalog.product == *product) {
            all.extend(builtin::catalog(product));
        }
    }
    Ok(all)
}

/// Another catalog of the same product.
fn is_another(one: &Arc<Catalog>, other: &Arc<Catalog>) -> bool {
    one.product == other.product && !Arc::ptr_eq(one, other)
}

/// The rules of each gate, for whoever judges without serving. A gate whose catalog cannot be read is left out:
/// `catalogs` says why.
pub fn gate_rules(config: &Config, catalogs: &Catalogs) -> Vec<Arc<GateRules>> {
    let rules = config.gates.iter().filter_map(|gate| {
        let catalog = load_catalog(&gate.catalog).ok()??;
        let shared = Arc::clone(&catalogs.by_name(&catalog.product)?.catalog);
        Some(Arc::new(gates::rules(gate, shared)))
    });
    rules.collect()
}

/// What is wrong with the files that the gates of a configuration name for TLS and proxies. One that is not there is a
/// warning: it may be mounted where the gate runs.
pub fn file_problems(config: &Config) -> Vec<Problem> {
    let mut files = files::Files::of_a_check();
    for gate in &config.gates {
        let _ = files.take(gate);
    }
    // What is wrong with it is among the problems.
    let _ = files.of_admin(config);
    files.problems().to_vec()
}

fn load_catalog(source: &CatalogSource) -> Result<Option<Arc<Catalog>>, Vec<Problem>> {
    match source {
        CatalogSource::BuiltIn(name) => Ok(builtin::catalog(name)),
        CatalogSource::File(path) => Catalog::load(path).map(|catalog| Some(Arc::new(catalog))),
    }
}

/// Starts everything. Nothing is served before all of it stands.
///
/// `base`: the folder that relative secret files are read from; `log`: where the lines of requests go.
///
/// # Errors
/// All problems of configuration, catalogs and policies, or what could not be opened.
pub fn start(config: &Config, base: PathBuf, log: Option<LogOut>) -> Result<Running, Vec<Problem>> {
    let catalogs = catalogs(Some(config))?;
    machine::make_folders(config)?;
    let clock = state::clock(config).map_err(|error| failed("the clock", &error))?;
    let live = Arc::new(Live::by(Snapshot::empty(Arc::new(Catalogs::new(catalogs))), clock));
    let metrics = Metrics::new(config.metrics_apps_max).map_err(|error| failed("the metrics", &error))?;
    let readiness = Readiness::default();
    let shutdown = Arc::new(Shutdown::default());
    let log = log.map(|out| LineWriter::start(out, user_ids(config), LINES_MAX)).transpose();
    let log = log.map_err(|error| failed("the request log", &error))?;
    let lines = log.as_ref().map(LineWriter::lines);
    let kept = state::start(config, &live, &metrics, &readiness).map_err(|error| failed("the state folder", &error))?;
    let noticed = kept.noticed();
    let (gates, mut files) = gates::build(config, &live, &metrics, lines, noticed.as_ref(), &shutdown.watch())?;
    let admin_tls = files.of_admin(config)?;
    let fleet = fleet::open(config, &readiness)?;
    let settings = reload::Settings {
        policies: plain(&config.policies),
        overrides: config.overrides.as_deref().map(plain),
        acts_are_shared: config.bucket.is_some(),
        secrets_base: base,
        state: config.state.as_deref().map(plain),
        journal: kept.journal(),
        gates: gates.iter().map(gates::Gate::rules).collect(),
        warnings: warnings(config),
        folder: folder::Settings { settle: config.settle, ..folder::Settings::default() },
    };
    let (force, refusals) = (Force::default(), Refusals::default());
    let told = Told {
        live: Arc::clone(&live),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        force: force.clone(),
        refusals: refusals.clone(),
    };
    let catalogs = Arc::clone(&live.load().catalogs);
    let reloader = Reloader::start(settings, catalogs, told)?;
    let threads = match config.threads {
        Threads::Auto => worker_count(),
        Threads::Count(count) => count.get(),
    };
    let listeners = gates.iter().map(gates::Gate::listener).collect();
    let counters = gates.iter().map(gates::Gate::counters).collect();
    let rules = gates.iter().map(gates::Gate::rules).collect();
    let gates: Arc<[gates::Gate]> = gates.into();
    let pins = Arc::new(reloader.pinning());
    let sink = key_sink(&metrics, &readiness);
    let service = move |index: usize, streams: &Rc<Streams>| {
        let hub = gates.get(index).map(|gate| {
            let hub = Rc::new(gate.hub(streams));
            gate.tend(&sink);
            if gate.is_first() {
                let pins = Arc::clone(&pins);
                tokio::task::spawn_local(pinning::attend(Rc::clone(&hub), move |told| pins(told)));
            }
            hub
        });
        move |peer: Rc<Peer>, request: Request<Source>| {
            let hub = hub.clone();
            async move {
                match hub {
                    Some(hub) => hub.handle(&peer, request).await,
                    // A listener is made for each gate and for nothing else.
                    None => unserved(),
                }
            }
        }
    };
    let workers = spawn_workers(threads, listeners, &shutdown.watch(), service)
        .map_err(|error| machine::no_workers(config, error))?;
    let files = files.watch(&metrics, &readiness).map_err(|error| failed("the watch over TLS files", &error))?;
    let (fleet, follow) = fleet::split(fleet, &reloader, &force, refusals, &metrics, &workers.fence);
    let desk = Desk {
        live: Arc::clone(&live),
        overrides: config.overrides.as_deref().map(|folder| Overrides::new(plain(folder))),
        fleet,
        hints: reloader.hints(Origin::Override),
        try_out: reloader.try_out(),
        holder: reloader.holder(),
        force,
        fence: workers.fence.clone(),
        journal: kept.journal(),
        usage: kept.usage(),
        config: Arc::new(config.clone()),
        turn: tokio::sync::Mutex::new(()),
    };
    let answers = answers::answers(&live, rules, &readiness, config.state.as_deref(), desk);
    let parts = control::AdminParts { answers, tls: admin_tls };
    let control = control::spawn(config, &metrics, &readiness, parts, counters, follow, shutdown.watch())?;
    Ok(Running {
        gates: workers.addresses.clone(),
        health: control.health,
        admin: control.admin,
        live,
        metrics,
        readiness,
        fence: workers.fence.clone(),
        shutdown,
        workers: Some(workers),
        control: Some(control.thread),
        reloader: Some(reloader),
        files,
        log,
        state: kept,
        drain: config.drain,
    })
}

impl Running {
    /// Drains and stops: readiness goes first, then the delay, then the listeners, then what is still open.
    pub async fn drain(mut self) {
        self.readiness.drain();
        if let Some(mut workers) = self.workers.take() {
            let finished = workers.finished();
            self.shutdown.drain(self.drain.delay, self.drain.timeout, finished).await;
            workers.join();
        }
        self.end();
    }

    /// Where every change is written down. `None`: there is no state folder.
    pub fn journal(&self) -> Option<Journal> {
        self.state.journal()
    }

    /// Writes what was counted of the use of rights, so that it can be read.
    pub fn flush_usage(&self) {
        self.state.flush_usage();
    }

    /// Looks at policies, overrides and the files of TLS now.
    pub fn look(&self) {
        if let Some(reloader) = &self.reloader {
            reloader.look();
        }
        if let Some(files) = &self.files {
            files.look();
        }
    }

    /// Returns when no worker is left; before a shutdown that is a fault.
    pub async fn workers_ended(&mut self) {
        match &mut self.workers {
            Some(workers) => workers.finished().await,
            None => std::future::pending().await,
        }
    }

    /// Stops at once.
    pub fn stop(mut self) {
        self.shutdown.advance(Phase::Cut);
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
        self.end();
    }

    fn end(mut self) {
        drop((self.reloader.take(), self.files.take()));
        if let Some(control) = self.control.take() {
            // It ends with the shutdown; a panic in it was counted.
            let _ = control.join();
        }
        // After the last snapshot, which it is told of.
        self.state.close();
        if let Some(log) = self.log.take() {
            log.close(LOG_CLOSE);
        }
    }
}

/// A pod's containers share loopback: an app beside the gate is as believed there as the proxy is.
fn loopback_fronts(config: &Config) -> impl Iterator<Item = String> {
    use crate::authz::identity::trusted_header::Front;
    let is_loopback = |front: &Front| matches!(front, Front::Range(range) if range.is_loopback());
    let believes = move |gate: &&crate::config::model::Gate| {
        gate.identify.trusted_header.as_ref().is_some_and(|fronts| fronts.from.iter().any(is_loopback))
    };
    config.gates.iter().filter(believes).map(|gate| {
        format!("gate {}: `trusted_header` from loopback is unsound where apps run beside the gate: they can say they are anybody", gate.name)
    })
}

/// What the configuration gives up, said at start-up and on `/readyz` for as long as it runs.
pub fn warnings(config: &Config) -> Warnings {
    let mut unsound = Vec::new();
    for gate in &config.gates {
        let mut say = |set: bool, word: &str, why: &str| {
            if set {
                unsound.push(format!("gate {}: `{word}` is unsound where {why}", gate.name));
            }
        };
        say(gate.issue_keys_prefix, "issue_keys: prefix", "issues are moved: the old key resolves to the new project");
        say(gate.names_as_written, "names: as_written", "keys or names change: they are not identities");
        say(gate.channel_types_prefix, "channel_types: prefix", "channels are shared: the product renames their ids");
    }
    unsound.extend(bare_tokens(config));
    unsound.extend(loopback_fronts(config));
    unsound.extend(config.bucket.as_ref().filter(|bucket| bucket.is_in_the_clear()).map(|_| {
        "overrides: the bucket is reached in the clear: whoever is on the way can take acts back; write `tls`"
            .to_owned()
    }));
    let bypass =
        |gate: &crate::config::model::Gate| Bypass { gate: gate.name.clone(), kind: gate.bypass.as_str().into() };
    Warnings { unsound, bypass: config.gates.iter().map(bypass).collect(), observe: Vec::new() }
}

/// Bearer tokens that anybody on the way can read, or that are shown to whoever listens there while the gate does not.
fn bare_tokens(config: &Config) -> Option<String> {
    let admin = config.admin.as_ref()?;
    let (Listen::Tcp(address), Guard::Tcp(guard)) = (&admin.listen, &admin.guard) else { return None };
    if guard.token.is_none() || guard.tls.is_some() {
        return None;
    }
    let text = if address.ip().is_loopback() {
        "admin: whoever shares this loopback may take the port while the gate is down, and is shown the tokens: listen on a \
         Unix socket, or write `tls`"
    } else {
        "admin: tokens cross the network as they are: write `tls`, or listen on a Unix socket"
    };
    Some(text.to_owned())
}

/// Where it is said how the fetches of key sets end.
fn key_sink(metrics: &Arc<Metrics>, readiness: &Readiness) -> Arc<gates::KeySink> {
    let (metrics, readiness) = (Arc::clone(metrics), readiness.clone());
    Arc::new(move |gate: &str, issuer: &str, ended: Result<(), &str>| {
        metrics.key_set(gate, issuer, ended.is_ok(), unix_ms() as f64 / 1000.0);
        readiness.key_set(gate, issuer, ended.err());
        if let Err(why) = ended {
            tracing::error!(gate, issuer, "the key set cannot be had: {why}");
        }
    })
}

fn unserved() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn user_ids(config: &Config) -> UserIds {
    match config.log.users {
        LogUsers::Plain => UserIds::Plain,
        LogUsers::None => UserIds::None,
        LogUsers::Hashed => {
            let mut key = [0; 32];
            // Without randomness there is no key, and a hash without one would be no secret.
            match getrandom::fill(&mut key) {
                Ok(()) => UserIds::hashed(&key),
                Err(_) => UserIds::None,
            }
        }
    }
}

/// Something outside of the configuration's text that could not be had.
fn failed(what: &str, error: &dyn std::fmt::Display) -> Vec<Problem> {
    vec![Problem::error(&file_name("start"), At::default(), format!("{what}: {error}"))]
}

/// `config/../policies` as `policies`, where that is the same place.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    let same = plain.canonicalize().ok().zip(path.canonicalize().ok()).is_some_and(|(one, other)| one == other);
    if same && !plain.as_os_str().is_empty() { plain } else { path.to_path_buf() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_path_is_shown_plain_where_that_is_the_same_place() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for folder in ["config", "policies", "far", "far/config"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink(at("far/config"), at("linked")).unwrap();
        std::fs::create_dir(at("far/policies")).unwrap();
        assert_eq!(plain(&at("config/../policies")), at("policies"));
        assert_eq!(plain(&at("linked/../policies")), at("linked/../policies"), "that is far/policies");
        assert_eq!(plain(&at("config/../elsewhere")), at("config/../elsewhere"));
    }
}
