//! The gates as the data plane runs them.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::failed;
use crate::authz::catalog::Catalog;
use crate::authz::gate::GateRules;
use crate::config::Config;
use crate::config::model::{self, Listen, Roots, UpstreamAddress};
use crate::live::Live;
use crate::metrics::{GateMetrics, Metrics};
use crate::problem::Problem;
use crate::proxy::body::Room;
use crate::proxy::counters::IoCounters;
use crate::proxy::limits::Limits;
use crate::proxy::listener::ListenAddress;
use crate::proxy::record::Recorder;
use crate::proxy::tell::Labels;
use crate::proxy::upstream::{Address, Target, Upstream};
use crate::proxy::worker::GateListener;
use crate::proxy::{Hub, Upstreams, tls};
use crate::shutdown::Watch;
use crate::telemetry::Lines;

/// One gate, shared by its workers.
#[derive(Clone)]
pub(super) struct Gate {
    rules: Arc<GateRules>,
    listener: GateListener,
    metrics: GateMetrics,
    recorder: Arc<Recorder>,
    labels: Arc<Labels>,
    targets: Targets,
    live: Arc<Live>,
    shutdown: Watch,
    room: Room,
}

#[derive(Clone)]
enum Targets {
    One(Arc<Target>),
    ByTenant(Vec<(Arc<str>, Arc<Target>)>),
}

/// Builds the gates of a configuration.
pub(super) fn build(
    config: &Config,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    lines: Option<Lines>,
    shutdown: &Watch,
) -> Result<Vec<Gate>, Vec<Problem>> {
    let catalogs = Arc::clone(&live.load().catalogs);
    let room = Room::default();
    let mut gates = Vec::new();
    let mut problems = Vec::new();
    for gate in &config.gates {
        let catalog = match super::load_catalog(&gate.catalog) {
            Ok(Some(catalog)) => catalogs.by_name(&catalog.product).map(|product| Arc::clone(&product.catalog)),
            Ok(None) | Err(_) => None,
        };
        // Whatever is wrong with a catalog was said when the catalogs were loaded.
        let Some(catalog) = catalog else { continue };
        match build_one(gate, catalog, live, metrics, lines.clone(), (shutdown, &room)) {
            Ok(gate) => gates.push(gate),
            Err(own) => problems.extend(own),
        }
    }
    if problems.is_empty() { Ok(gates) } else { Err(problems) }
}

fn build_one(
    gate: &model::Gate,
    catalog: Arc<Catalog>,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    lines: Option<Lines>,
    (shutdown, room): (&Watch, &Room),
) -> Result<Gate, Vec<Problem>> {
    let tls = match &gate.tls {
        None => None,
        Some(files) => {
            let config = tls::server_config(&files.certificate, &files.key);
            let expiry = tls::expiry_seconds(&files.certificate);
            metrics.certificate(&gate.name, expiry.map_err(|error| failed(&gate.name, &error))? as f64);
            Some(config.map_err(|error| failed(&gate.name, &error))?)
        }
    };
    metrics.bypass(&gate.name, gate.bypass.as_str());
    let gate_metrics = metrics.gate(&gate.name).map_err(|error| failed("the metrics", &error))?;
    let recorder = Recorder { gate: gate.name.as_str().into(), metrics: gate_metrics.clone(), lines };
    Ok(Gate {
        labels: Arc::new(Labels::of(&catalog)),
        rules: Arc::new(rules(gate, catalog)),
        listener: GateListener {
            address: listen_address(&gate.listen),
            tls,
            limits: Arc::new(limits(&gate.limits)),
            counters: Arc::default(),
        },
        metrics: gate_metrics,
        recorder: Arc::new(recorder),
        targets: targets(gate)?,
        live: Arc::clone(live),
        shutdown: shutdown.clone(),
        room: room.clone(),
    })
}

/// What the core must know of a gate.
pub(super) fn rules(gate: &model::Gate, catalog: Arc<Catalog>) -> GateRules {
    GateRules {
        name: gate.name.as_str().into(),
        catalog,
        identify: gate.identify,
        tenant: gate.tenant.clone(),
        issue_keys_prefix: gate.issue_keys_prefix,
        names_as_written: gate.names_as_written,
        channel_types_prefix: gate.channel_types_prefix,
        observe_until_ms: gate.observe_until_ms,
    }
}

fn listen_address(listen: &Listen) -> ListenAddress {
    match listen {
        Listen::Tcp(address) => ListenAddress::Tcp(*address),
        Listen::Unix(path) => ListenAddress::Unix(path.clone()),
    }
}

fn limits(written: &model::Limits) -> Limits {
    Limits {
        header_timeout: written.header_timeout,
        idle_timeout: written.idle_timeout,
        handshake_timeout: written.header_timeout,
        write_timeout: written.body_idle_timeout,
        body_timeout: written.body_idle_timeout,
        connections_max: written.connections_max,
        headers_max: written.headers_max,
        header_bytes_max: written.header_bytes_max,
        body_max: written.body_held_max,
        hold_timeout: written.body_idle_timeout,
        request_timeout: written.request_timeout,
        connect_timeout: written.connect_timeout,
        response_timeout: written.response_timeout,
        stream_timeout: written.body_idle_timeout,
        upstream_idle_max: written.upstream_idle_max,
        upstream_connections_max: written.upstream_connections_max,
        ..Limits::default()
    }
}

/// Where each tenant's requests go; tenants with one upstream share its connections.
fn targets(gate: &model::Gate) -> Result<Targets, Vec<Problem>> {
    let mut made: Vec<(&model::Upstream, Arc<Target>)> = Vec::new();
    let mut by_tenant = Vec::new();
    for tenant in &gate.tenants {
        let known =
            made.iter().find(|(upstream, _)| **upstream == *tenant.upstream).map(|(_, target)| Arc::clone(target));
        let target = match known {
            Some(target) => target,
            None => {
                let target = target(&gate.name, &tenant.upstream)?;
                made.push((&tenant.upstream, Arc::clone(&target)));
                target
            }
        };
        by_tenant.push((Arc::clone(&tenant.id), target));
    }
    match (&by_tenant[..], &made[..]) {
        (_, [(_, target)]) => Ok(Targets::One(Arc::clone(target))),
        _ => Ok(Targets::ByTenant(by_tenant)),
    }
}

fn target(gate: &str, upstream: &model::Upstream) -> Result<Arc<Target>, Vec<Problem>> {
    let host = http::HeaderValue::try_from(&upstream.host).map_err(|error| failed(gate, &error))?;
    let address = match (&upstream.address, &upstream.tls) {
        (UpstreamAddress::Unix(path), _) => Address::Unix(path.clone()),
        (UpstreamAddress::Tcp { host, port }, None) => Address::Http { host: host.clone(), port: *port },
        (UpstreamAddress::Tcp { host, port }, Some(trust)) => {
            let roots = match &trust.roots {
                Roots::Public => None,
                Roots::File(path) => Some(path.as_path()),
            };
            let name = ServerName::try_from(trust.server_name.clone()).map_err(|error| failed(gate, &error))?;
            let tls = tls::client_config(roots).map_err(|error| failed(gate, &error))?;
            Address::Https { host: host.clone(), port: *port, name, tls }
        }
    };
    Ok(Target::new(address, host))
}

impl Gate {
    pub(super) fn listener(&self) -> GateListener {
        self.listener.clone()
    }

    pub(super) fn rules(&self) -> Arc<GateRules> {
        Arc::clone(&self.rules)
    }

    /// What is counted of it, with the metrics that show it.
    pub(super) fn counters(&self) -> (GateMetrics, Arc<IoCounters>) {
        (self.metrics.clone(), Arc::clone(&self.listener.counters))
    }

    /// The gate on one worker. Must be called on the worker: its pools live there.
    pub(super) fn hub(&self) -> Hub {
        let limits = Arc::clone(&self.listener.limits);
        let upstream = |target: &Arc<Target>| {
            let counters = Arc::clone(&self.listener.counters);
            Upstream::new(Arc::clone(target), Arc::clone(&limits), counters, Arc::clone(self.live.generation()))
        };
        let upstreams = match &self.targets {
            Targets::One(target) => Upstreams::One(upstream(target)),
            Targets::ByTenant(targets) => Upstreams::ByTenant(
                targets.iter().map(|(tenant, target)| (Arc::clone(tenant), upstream(target))).collect(),
            ),
        };
        Hub {
            rules: Arc::clone(&self.rules),
            live: Arc::clone(&self.live),
            recorder: Arc::clone(&self.recorder),
            labels: Arc::clone(&self.labels),
            shutdown: self.shutdown.clone(),
            room: self.room.clone(),
            limits,
            upstreams,
        }
    }
}
