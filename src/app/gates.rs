//! The gates as the data plane runs them.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::ServerName;

use super::failed;
use super::files::{Files, Taken};
use http::HeaderValue;

use crate::authz::catalog::Catalog;
use crate::authz::catalog::links::RedirectHost;
use crate::authz::gate::GateRules;
use crate::config::Config;
use crate::config::model::{self, KeySource, Listen, Roots, UpstreamAddress};
use crate::control::usage as kept;
use crate::live::Live;
use crate::metrics::{GateMetrics, Metrics};
use crate::problem::Problem;
use crate::proxy::body::Room;
use crate::proxy::counters::IoCounters;
use crate::proxy::issuers::{self, Issuers, Keys};
use crate::proxy::jobs::Memory;
use crate::proxy::limits::Limits;
use crate::proxy::links::json::GateAddress;
use crate::proxy::links::{Side, Sides};
use crate::proxy::listener::ListenAddress;
use crate::proxy::lookups::{self, Lookups};
use crate::proxy::record::{Noticed, Recorder};
use crate::proxy::streams::{self, OfGate, Register, Streams};
use crate::proxy::tell::Labels;
use crate::proxy::timers::Timers;
use crate::proxy::tls::{Trust, UPSTREAM_PROTOCOLS};
use crate::proxy::upstream::{Address, Speaks, Target, Tls, Upstream};
use crate::proxy::worker::GateListener;
use crate::proxy::{Hub, Upstreams, tls};
use crate::shutdown::Watch;
use crate::telemetry::Lines;

/// Told how each fetch of a key set ended: of which gate, of which issuer.
pub(super) type KeySink = dyn Fn(&str, &str, Result<(), &str>) + Send + Sync;

/// One gate, shared by its workers.
#[derive(Clone)]
pub(super) struct Gate {
    rules: Arc<GateRules>,
    listener: GateListener,
    metrics: GateMetrics,
    recorder: Arc<Recorder>,
    labels: Arc<Labels>,
    targets: Targets,
    sides: Arc<Sides>,
    /// By `RedirectId`.
    redirects: Arc<[Arc<Target>]>,
    lookups: Option<Arc<lookups::Shared>>,
    /// In the order of `rules.identify.jwt`.
    keys: Arc<[Arc<Keys>]>,
    /// The sets among them that are fetched: their place, and from where.
    fetched: Arc<[Fetched]>,
    /// Its first worker fetches them.
    has_fetching: Arc<AtomicBool>,
    jobs: Arc<Memory>,
    /// Its first worker asks what the names in its policy stand for.
    has_first: Arc<AtomicBool>,
    live: Arc<Live>,
    shutdown: Watch,
    room: Room,
    /// For the bodies that streams are judged again by.
    streams_room: Room,
}

/// A key set that is fetched.
pub(super) struct Fetched {
    keys: Arc<Keys>,
    issuer: Arc<str>,
    source: issuers::Source,
    from: Arc<Target>,
}

#[derive(Clone)]
enum Targets {
    One(Arc<Target>),
    ByTenant(Vec<(Arc<str>, Arc<Target>)>),
}

/// Builds the gates of a configuration, and says which files they were built from.
pub(super) fn build(
    config: &Config,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    lines: Option<Lines>,
    noticed: Option<&kept::Noticed>,
    shutdown: &Watch,
) -> Result<(Vec<Gate>, Files), Vec<Problem>> {
    let catalogs = Arc::clone(&live.load().catalogs);
    let (room, streams_room) = (Room::default(), Room::of(streams::BODIES_TOTAL_MAX));
    let mut gates = Vec::new();
    let mut problems = Vec::new();
    let mut files = Files::of_a_start();
    for gate in &config.gates {
        // What is wrong with its files is said with what is wrong with those of others.
        let Some(taken) = files.take(gate) else { continue };
        let catalog = match super::load_catalog(&gate.catalog) {
            Ok(Some(catalog)) => catalogs.by_name(&catalog.product).map(|product| Arc::clone(&product.catalog)),
            Ok(None) | Err(_) => None,
        };
        // Whatever is wrong with a catalog was said when the catalogs were loaded.
        let Some(catalog) = catalog else { continue };
        match build_one(gate, taken, catalog, live, metrics, (lines.clone(), noticed), (shutdown, &room, &streams_room))
        {
            Ok(gate) => gates.push(gate),
            Err(own) => problems.extend(own),
        }
    }
    problems.extend_from_slice(files.problems());
    if problems.is_empty() { Ok((gates, files)) } else { Err(problems) }
}

fn build_one(
    gate: &model::Gate,
    taken: Taken,
    catalog: Arc<Catalog>,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    (lines, noticed): (Option<Lines>, Option<&kept::Noticed>),
    (shutdown, room, streams_room): (&Watch, &Room, &Room),
) -> Result<Gate, Vec<Problem>> {
    let tls = taken.served.clone().map(tls::server_config).transpose().map_err(|error| failed(&gate.name, &error))?;
    metrics.bypass(&gate.name, gate.bypass.as_str());
    let gate_metrics = metrics.gate(&gate.name).map_err(|error| failed("the metrics", &error))?;
    let noticed = noticed.map(|noticed| Noticed {
        usage: Arc::clone(&noticed.usage),
        shadowed: Arc::clone(&noticed.shadowed),
        strangers: Arc::clone(&noticed.strangers),
        outlasting: noticed.outlasting.clone(),
        product: Arc::clone(&catalog.product),
        operations: catalog.operations.len(),
    });
    let recorder = Recorder { gate: gate.name.as_str().into(), metrics: gate_metrics.clone(), lines, noticed };
    Ok(Gate {
        labels: Arc::new(Labels::of(&catalog)),
        redirects: catalog.links.redirects.iter().map(|host| redirect(gate, host, &taken)).collect::<Result<_, _>>()?,
        sides: Arc::new(sides(gate)),
        has_first: Arc::default(),
        fetched: fetched(gate, &taken)?,
        keys: taken.keys.clone().into(),
        has_fetching: Arc::default(),
        jobs: Arc::default(),
        lookups: gate.lookups.as_ref().map(|written| Arc::new(lookups(written, &taken))),
        rules: Arc::new(rules(gate, catalog)),
        listener: GateListener {
            address: listen_address(&gate.listen),
            tls,
            limits: Arc::new(limits(&gate.limits)),
            counters: Arc::default(),
        },
        metrics: gate_metrics,
        recorder: Arc::new(recorder),
        targets: targets(gate, &taken)?,
        live: Arc::clone(live),
        shutdown: shutdown.clone(),
        room: room.clone(),
        streams_room: streams_room.clone(),
    })
}

/// What the core must know of a gate.
pub(super) fn rules(gate: &model::Gate, catalog: Arc<Catalog>) -> GateRules {
    GateRules {
        name: gate.name.as_str().into(),
        catalog,
        identify: gate.identify.clone(),
        tenant: gate.tenant.clone(),
        issue_keys_prefix: gate.issue_keys_prefix,
        names_as_written: gate.names_as_written,
        channel_types_prefix: gate.channel_types_prefix,
        observe_until_ms: gate.observe_until_ms,
    }
}

/// The key sets that are fetched.
fn fetched(gate: &model::Gate, taken: &Taken) -> Result<Arc<[Fetched]>, Vec<Problem>> {
    let issuers = gate.identify.jwt.iter().map(|issuer| &issuer.name);
    let each = gate.keys.iter().zip(&taken.keys).zip(issuers).filter_map(|((source, keys), issuer)| match source {
        KeySource::File(_) => None,
        KeySource::Fetched(written) => Some((written, keys, issuer)),
    });
    let one = |(written, keys, issuer): (&model::Fetched, &Arc<Keys>, &Arc<str>)| {
        Ok(Fetched {
            keys: Arc::clone(keys),
            issuer: Arc::clone(issuer),
            source: issuers::Source {
                uri: written.path.parse().map_err(|error| failed(&gate.name, &error))?,
                refresh: written.refresh,
                cool_down: written.cool_down,
                max_age: written.max_age,
            },
            from: target(&gate.name, &written.from, taken)?,
        })
    };
    each.map(one).collect()
}

fn lookups(written: &model::Lookups, taken: &Taken) -> lookups::Shared {
    lookups::Shared::new(lookups::Settings {
        credential: taken.lookups.clone(),
        per_second: written.per_second,
        timeout: written.timeout,
        max_fact_age: written.max_fact_age,
    })
}

fn listen_address(listen: &Listen) -> ListenAddress {
    match listen {
        Listen::Tcp(address) => ListenAddress::Tcp(*address),
        Listen::Unix(path) => ListenAddress::Unix(path.clone()),
    }
}

pub(super) fn limits(written: &model::Limits) -> Limits {
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
        stream_timeout: written.answer_idle_timeout,
        max_requests_per_connection: written.max_requests_per_connection,
        max_connection_age: written.max_connection_age,
        http2_streams_max: written.http2_streams_max,
        upstream_idle_max: written.upstream_idle_max,
        upstream_connections_max: written.upstream_connections_max,
        ..Limits::default()
    }
}

/// Where each tenant's requests go; tenants with one upstream share its connections.
fn targets(gate: &model::Gate, taken: &Taken) -> Result<Targets, Vec<Problem>> {
    let mut made: Vec<(&model::Upstream, Arc<Target>)> = Vec::new();
    let mut by_tenant = Vec::new();
    for tenant in &gate.tenants {
        let known =
            made.iter().find(|(upstream, _)| **upstream == *tenant.upstream).map(|(_, target)| Arc::clone(target));
        let target = match known {
            Some(target) => target,
            None => {
                let target = target(&gate.name, &tenant.upstream, taken)?;
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

/// How links name each tenant's product, and the gate.
fn sides(gate: &model::Gate) -> Sides {
    let side = |links: &model::TenantLinks| {
        let public_url = links.public_url.as_ref();
        let address = public_url.map(|url| GateAddress::new(url.secure, url.authority()));
        let host = public_url.and_then(|url| HeaderValue::try_from(&*url.authority()).ok());
        Side { product: Arc::clone(&links.product), gate: address, host }
    };
    match &gate.tenants[..] {
        [first, rest @ ..] if rest.iter().all(|tenant| tenant.links == first.links) => Sides::One(side(&first.links)),
        tenants => {
            Sides::ByTenant(tenants.iter().map(|tenant| (Arc::clone(&tenant.id), side(&tenant.links))).collect())
        }
    }
}

/// A host whose redirects are followed.
fn redirect(gate: &model::Gate, host: &RedirectHost, taken: &Taken) -> Result<Arc<Target>, Vec<Problem>> {
    let fixed = gate.redirect_hosts.iter().find(|fixed| fixed.name.host == host.host && fixed.name.port == host.port);
    let trust = match fixed.map_or(&Roots::Public, |fixed| &fixed.roots) {
        // An upstream of the gate may need them as well, or none.
        Roots::Public => Trust::public(UPSTREAM_PROTOCOLS).map_err(|error| failed(&gate.name, &error))?,
        roots => taken.trust(roots).ok_or_else(|| failed(&gate.name, &"its roots were not read"))?,
    };
    let address = fixed.map(|fixed| fixed.address);
    Target::elsewhere(&host.host, host.port, trust, address, taken.via.clone())
        .map_err(|error| failed(&gate.name, &error))
}

/// A host that the catalog does not redirect to is never asked, wherever it is said to be.
pub(super) fn unlisted_hosts(file: &Arc<Path>, gate: &model::Gate, catalog: &Catalog) -> Vec<Problem> {
    let listed = |fixed: &&model::FixedHost| {
        !catalog.links.redirects.iter().any(|host| host.host == fixed.name.host && host.port == fixed.name.port)
    };
    let problem = |fixed: &model::FixedHost| {
        let message = format!("the catalog of {} redirects to no host `{}`", catalog.product, fixed.name.authority());
        let help = "`scopegate catalog show PRODUCT --links` lists those that are followed";
        Problem::error(file, fixed.at, message).help(help)
    };
    gate.redirect_hosts.iter().filter(listed).map(problem).collect()
}

pub(super) fn target(gate: &str, upstream: &model::Upstream, taken: &Taken) -> Result<Arc<Target>, Vec<Problem>> {
    let host = http::HeaderValue::try_from(&upstream.host).map_err(|error| failed(gate, &error))?;
    let address = match &upstream.address {
        UpstreamAddress::Unix(path) => Address::Unix(path.clone()),
        UpstreamAddress::Tcp { host, port } => Address::Tcp { host: host.clone(), port: *port, via: taken.via.clone() },
    };
    let tls = match &upstream.tls {
        None => None,
        Some(written) => {
            let name = ServerName::try_from(written.server_name.clone()).map_err(|error| failed(gate, &error))?;
            let trust = taken.trust(&written.roots).ok_or_else(|| failed(gate, &"its roots were not read"))?;
            Some(Tls { name, trust })
        }
    };
    let speaks = match upstream.protocol {
        model::Protocol::Auto => Speaks::Either,
        model::Protocol::Http1 => Speaks::Http1,
        model::Protocol::Http2 => Speaks::Http2,
    };
    Ok(Target::new(address, tls, host, speaks))
}

impl Gate {
    pub(super) fn listener(&self) -> GateListener {
        self.listener.clone()
    }

    pub(super) fn rules(&self) -> Arc<GateRules> {
        Arc::clone(&self.rules)
    }

    /// Says yes to the first who asks.
    pub(super) fn is_first(&self) -> bool {
        self.lookups.is_some() && !self.has_first.swap(true, Ordering::SeqCst)
    }

    /// Keeps its key sets fresh, on the first worker that asks. `sink` is told how each fetch ended.
    pub(super) fn tend(&self, sink: &Arc<KeySink>) {
        if self.has_fetching.swap(true, Ordering::SeqCst) {
            return;
        }
        for one in self.fetched.iter() {
            let (gate, issuer, sink) = (Arc::clone(&self.rules.name), Arc::clone(&one.issuer), Arc::clone(sink));
            let sink = move |ended: Result<(), &str>| sink(&gate, &issuer, ended);
            let (keys, source, from) = (Arc::clone(&one.keys), one.source.clone(), self.upstream(&one.from));
            tokio::task::spawn_local(issuers::tend(keys, source, from, Arc::clone(&self.live), sink));
        }
    }

    fn upstream(&self, target: &Arc<Target>) -> Upstream {
        let (limits, counters) = (Arc::clone(&self.listener.limits), Arc::clone(&self.listener.counters));
        Upstream::new(Arc::clone(target), limits, counters, Arc::clone(self.live.generation()))
    }

    /// What is counted of it, with the metrics that show it.
    pub(super) fn counters(&self) -> (GateMetrics, Arc<IoCounters>) {
        (self.metrics.clone(), Arc::clone(&self.listener.counters))
    }

    /// The gate on one worker. Must be called on the worker: its pools live there.
    pub(super) fn hub(&self, streams: &Rc<Streams>) -> Hub {
        let limits = Arc::clone(&self.listener.limits);
        let upstream = |target: &Arc<Target>| self.upstream(target);
        let upstreams = match &self.targets {
            Targets::One(target) => Upstreams::One(upstream(target)),
            Targets::ByTenant(targets) => Upstreams::ByTenant(
                targets.iter().map(|(tenant, target)| (Arc::clone(tenant), upstream(target))).collect(),
            ),
        };
        let of_gate = OfGate {
            rules: Arc::clone(&self.rules),
            labels: Arc::clone(&self.labels),
            metrics: self.metrics.clone(),
            counters: Arc::clone(&self.listener.counters),
            room: self.streams_room.clone(),
        };
        Hub {
            streams: Register::new(streams, of_gate, &self.live),
            sides: Arc::clone(&self.sides),
            redirects: self.redirects.iter().map(upstream).collect(),
            issuers: Issuers::new(Arc::clone(&self.rules.identify.jwt), Arc::clone(&self.keys)),
            lookups: Lookups::new(self.lookups.clone(), Arc::clone(&self.rules.catalog), self.metrics.clone()),
            jobs: Arc::clone(&self.jobs),
            rules: Arc::clone(&self.rules),
            live: Arc::clone(&self.live),
            recorder: Arc::clone(&self.recorder),
            labels: Arc::clone(&self.labels),
            shutdown: self.shutdown.clone(),
            room: self.room.clone(),
            timers: Timers::default(),
            limits,
            upstreams,
        }
    }
}
