//! The metrics, by the names that DESIGN fixes. No label value comes from a caller.
//!
//! The request path holds handles that were resolved before (`GateMetrics`, `AppMetrics`) and adds to atomics:
//! it formats no label and takes no lock. Apps beyond `apps_max` share `app="other"`, a caller that is not
//! identified is `app="none"`.

mod apps;
mod bucket;
mod gate;
mod key_sets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Opts, Registry, TextEncoder};

use apps::AppSlots;
pub use apps::{AppMetrics, NONE, OTHER};
use bucket::BucketMetrics;
pub use gate::{GateMetrics, status_class};
use key_sets::KeySetMetrics;

/// How many apps get series of their own, unless the configuration says otherwise.
pub const APPS_MAX: usize = 500;

/// What `/metrics` is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds in seconds. A request ends with the last the upstream takes, minutes at worst.
const REQUEST_BUCKETS_S: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Bounds in seconds. What the gate adds is tens of microseconds; look-ups and held bodies take longer.
const OVERHEAD_BUCKETS_S: &[f64] =
    &[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Permit,
    Deny,
    WouldDeny,
    UpstreamError,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Permit, Self::Deny, Self::WouldDeny, Self::UpstreamError];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::WouldDeny => "would_deny",
            Self::UpstreamError => "upstream_error",
        }
    }
}

/// Which end of the gate a connection is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// From an app to the gate.
    Caller,
    /// From the gate to the product.
    Upstream,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Upstream => "upstream",
        }
    }
}

/// What came of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookedUpAs {
    /// It was known.
    Cached,
    Found,
    /// Nobody who asked may see it.
    Absent,
    /// The product did not say.
    Failed,
    /// It was not asked, or asked for less: the product's limit, or the gate's own.
    Limited,
}

impl LookedUpAs {
    pub const ALL: [Self; 5] = [Self::Cached, Self::Found, Self::Absent, Self::Failed, Self::Limited];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::Limited => "limited",
        }
    }
}

/// How an attempt to take over what is on disk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reload {
    /// All of it is in force.
    Success,
    /// Some file has problems and stands in its last good form.
    Problems,
    /// The folder could not be read, or nothing of it could be compiled.
    Failure,
}

impl Reload {
    pub const ALL: [Self; 3] = [Self::Success, Self::Problems, Self::Failure];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Problems => "problems",
            Self::Failure => "failure",
        }
    }
}

/// What became of a request to the admin listener, before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminOutcome {
    /// Let in; its role may still not do what it asks.
    Admitted,
    /// Nobody who is known.
    Unauthenticated,
    /// A browser, a stranger's host name, or somebody without a role.
    Forbidden,
    /// Refused once more after many others.
    Throttled,
}

impl AdminOutcome {
    pub const ALL: [Self; 4] = [Self::Admitted, Self::Unauthenticated, Self::Forbidden, Self::Throttled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
        }
    }

    pub fn of_refused(is_unauthenticated: bool) -> Self {
        if is_unauthenticated { Self::Unauthenticated } else { Self::Forbidden }
    }
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    apps: Arc<AppSlots>,
    families: Families,
    generation: IntGauge,
    snapshot: GaugeVec,
    /// The digest that `snapshot` shows now.
    digest: Mutex<Option<String>>,
    reloads: IntCounterVec,
    reload_last_read: Gauge,
    reload_last_success: Gauge,
    reload_settling: IntGauge,
    policy_problems: IntGauge,
    observe: IntGaugeVec,
    observe_until: GaugeVec,
    /// The labels that `observe` and `observe_until` show now.
    observed: Mutex<Vec<[String; 2]>>,
    bypass: IntGaugeVec,
    certificate_expiry: GaugeVec,
    certificate_problems: IntGaugeVec,
    state_problems: IntGaugeVec,
    clock_behind: IntGauge,
    admin_requests: IntCounterVec,
    bucket: BucketMetrics,
    key_sets: KeySetMetrics,
    panics: IntCounter,
}

/// The families that a gate's handles are taken from.
#[derive(Debug, Clone)]
struct Families {
    requests: IntCounterVec,
    denials: IntCounterVec,
    request_seconds: HistogramVec,
    overhead_seconds: HistogramVec,
    upstream_responses: IntCounterVec,
    streams: IntGaugeVec,
    streams_cut: IntCounterVec,
    lookups: IntCounterVec,
    connections: IntGaugeVec,
    connection_errors: IntCounterVec,
}

impl Metrics {
    /// All families, registered, with room for `apps_max` apps.
    ///
    /// # Errors
    /// Only if two families had one name, which a test rules out.
    pub fn new(apps_max: usize) -> prometheus::Result<Arc<Self>> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let at = &registry;
        let build = int_gauges(at, "build_info", "1, with the version of this program.", &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        let reloads = counters(at, "reloads_total", "Reloads of policies and overrides, by result.", &["result"])?;
        for result in Reload::ALL {
            reloads.get_metric_with_label_values(&[result.as_str()])?;
        }
        let admin_requests = counters(
            at,
            "admin_requests_total",
            "Requests to the admin listener, by whether they were let in.",
            &["outcome"],
        )?;
        for outcome in AdminOutcome::ALL {
            admin_requests.get_metric_with_label_values(&[outcome.as_str()])?;
        }
        Ok(Arc::new(Self {
            apps: Arc::new(AppSlots::new(apps_max)),
            families,
            generation: plain(
                at,
                IntGauge::with_opts(opts("snapshot_generation", "Generation of the snapshot in force."))?,
            )?,
            snapshot: gauges(at, "snapshot_info", "1 for the digest of the snapshot in force.", &["digest"])?,
            digest: Mutex::new(None),
            reloads,
            reload_last_read: plain(
                at,
                Gauge::with_opts(opts(
                    "reload_last_read_timestamp_seconds",
                    "When the folders were last read: what takes away is in force as of then.",
                ))?,
            )?,
            reload_last_success: plain(
                at,
                Gauge::with_opts(opts(
                    "reload_last_success_timestamp_seconds",
                    "When all that is on disk was last in force.",
                ))?,
            )?,
            reload_settling: plain(
                at,
                IntGauge::with_opts(opts(
                    "reload_settling",
                    "1 while what gives waits for a whole folder that stays the same.",
                ))?,
            )?,
            policy_problems: plain(
                at,
                IntGauge::with_opts(opts("policy_problems", "Errors in policy files that keep a document out."))?,
            )?,
            observe: int_gauges(
                at,
                "observe",
                "1 where refusals for want of a grant are only recorded; app=\"none\" is the gate itself.",
                &["gate", "app"],
            )?,
            observe_until: gauges(
                at,
                "observe_until_timestamp_seconds",
                "When that ends; of several tenants of one app, the first.",
                &["gate", "app"],
            )?,
            observed: Mutex::new(Vec::new()),
            bypass: int_gauges(at, "bypass", "1 for what keeps apps from going around the gate.", &["gate", "kind"])?,
            certificate_expiry: gauges(
                at,
                "certificate_expiry_timestamp_seconds",
                "When a certificate that the gate serves or shows ends.",
                &["name"],
            )?,
            certificate_problems: int_gauges(
                at,
                "certificate_problems",
                "1 where a file of TLS or of a proxy cannot be taken, and what it held before stays in use.",
                &["name"],
            )?,
            state_problems: int_gauges(
                at,
                "state_problems",
                "1 where something that is kept in the state folder cannot be written, or was lost.",
                &["what"],
            )?,
            clock_behind: plain(
                at,
                IntGauge::with_opts(opts(
                    "clock_behind_seconds",
                    "How much later revocations end and grants begin, because the clock was set forward.",
                ))?,
            )?,
            admin_requests,
            bucket: BucketMetrics::register(at)?,
            key_sets: KeySetMetrics::register(at)?,
            panics: plain(
                at,
                IntCounter::with_opts(opts(
                    "panics_total",
                    "Panics caught; each ended one connection, or one stream of HTTP/2.",
                ))?,
            )?,
            registry,
        }))
    }

    /// The handles of one gate. Called once per gate, at start.
    ///
    /// # Errors
    /// Never in practice: the labels are as many as the families ask for.
    pub fn gate(&self, gate: &str) -> prometheus::Result<GateMetrics> {
        GateMetrics::new(gate, &self.families, &self.apps)
    }

    /// The text that `/metrics` answers.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Another snapshot is in force. The old digest's series goes, so digests do not pile up.
    pub fn snapshot(&self, generation: u64, digest: &str) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let mut shown = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_deref() == Some(digest) {
            return;
        }
        // The new one first: a scrape in between must not find none.
        if let Ok(gauge) = self.snapshot.get_metric_with_label_values(&[digest]) {
            gauge.set(1.0);
        }
        if let Some(old) = shown.replace(digest.to_owned()) {
            let _ = self.snapshot.remove_label_values(&[old.as_str()]);
        }
    }

    /// A reload has ended. `unix_s` is the time of it.
    pub fn reload(&self, result: Reload, problems: usize, unix_s: f64) {
        if let Ok(counter) = self.reloads.get_metric_with_label_values(&[result.as_str()]) {
            counter.inc();
        }
        self.policy_problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
        if result == Reload::Success {
            self.reload_last_success.set(unix_s);
        }
    }

    /// A look found that all that is on disk is in force still: the age of this gauge tells whether anyone looks.
    pub fn in_force(&self, unix_s: f64) {
        self.reload_last_success.set(unix_s);
    }

    /// The folders could be read at `unix_s`, and what they take away is in force.
    pub fn read(&self, unix_s: f64) {
        self.reload_last_read.set(unix_s);
    }

    /// Whether what gives still waits for a whole folder that stays the same (law 7).
    pub fn settling(&self, waits: bool) {
        self.reload_settling.set(i64::from(waits));
    }

    /// What is under `observe` now, and until when (Unix time in seconds): a gate and an app, or a gate as a whole.
    /// What is not listed any more goes. Labels that name several (tenants of an app, apps beyond `apps_max`) show the
    /// first end, for that is the one to be ready for.
    pub fn observe<'n>(&self, now: impl IntoIterator<Item = (&'n str, Option<&'n str>, f64)>) {
        let mut ends: BTreeMap<[String; 2], f64> = BTreeMap::new();
        for (gate, app, until_s) in now {
            let label = app.map_or(NONE.into(), |app| self.apps.label(app));
            let end = ends.entry([gate.to_owned(), label.to_string()]).or_insert(until_s);
            *end = end.min(until_s);
        }
        let mut shown = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, until_s) in &ends {
            if let Ok(gauge) = self.observe.get_metric_with_label_values(labels) {
                gauge.set(1);
            }
            if let Ok(gauge) = self.observe_until.get_metric_with_label_values(labels) {
                gauge.set(*until_s);
            }
        }
        for old in shown.iter().filter(|old| !ends.contains_key(*old)) {
            let _ = self.observe.remove_label_values(old);
            let _ = self.observe_until.remove_label_values(old);
        }
        *shown = ends.into_keys().collect();
    }

    /// Why apps cannot walk around a gate (law 11): `credential`, `network` or `open`. Set once, at start.
    pub fn bypass(&self, gate: &str, kind: &str) {
        if let Ok(gauge) = self.bypass.get_metric_with_label_values(&[gate, kind]) {
            gauge.set(1);
        }
    }

    /// When a certificate ends. `name` is the configuration's, not the certificate's.
    pub fn certificate(&self, name: &str, expires_unix_s: f64) {
        if let Ok(gauge) = self.certificate_expiry.get_metric_with_label_values(&[name]) {
            gauge.set(expires_unix_s);
        }
    }

    /// Whether files of TLS cannot be taken as they are now. `name` is the configuration's.
    pub fn certificate_problem(&self, name: &str, stands: bool) {
        if let Ok(gauge) = self.certificate_problems.get_metric_with_label_values(&[name]) {
            gauge.set(i64::from(stands));
        }
    }

    /// A fetch of an issuer's keys has ended. `unix_s` is the time of it.
    pub fn key_set(&self, gate: &str, issuer: &str, is_had: bool, unix_s: f64) {
        self.key_sets.fetched(gate, issuer, is_had, unix_s);
    }

    /// How far what gives by the clock is behind it, in seconds.
    pub fn clock_behind(&self, seconds: i64) {
        self.clock_behind.set(seconds);
    }

    /// Whether something in the state folder cannot be written: `journal`, `usage` or `clock`.
    pub fn state_problem(&self, what: &'static str, stands: bool) {
        if let Ok(gauge) = self.state_problems.get_metric_with_label_values(&[what]) {
            gauge.set(i64::from(stands));
        }
    }

    /// A request to the admin listener was let in, or not.
    pub fn admin(&self, outcome: AdminOutcome) {
        if let Ok(counter) = self.admin_requests.get_metric_with_label_values(&[outcome.as_str()]) {
            counter.inc();
        }
    }

    /// How the gate stands with the bucket of its fleet.
    pub fn bucket(&self, bucket: &str, connected: bool, refused: usize, missing: usize) {
        self.bucket.stands(bucket, connected, refused, missing);
    }

    /// All that was acknowledged before this is in force.
    pub fn bucket_synced(&self, bucket: &str, unix_s: f64) {
        self.bucket.synced(bucket, unix_s);
    }

    /// The bucket is not the one that was known.
    pub fn bucket_changed(&self, bucket: &str) {
        self.bucket.changed(bucket);
    }

    /// So many acts are not in some server's copy of the bucket.
    pub fn bucket_lacking(&self, bucket: &str, count: usize) {
        self.bucket.lacking(bucket, count);
    }

    /// Counts panics. Safe to call from a panic hook.
    pub fn panics(&self) -> IntCounter {
        self.panics.clone()
    }
}

impl Families {
    fn register(at: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(at, "requests_total", "Requests, by how they ended.", &["gate", "app", "outcome"])?,
            denials: counters(at, "denials_total", "Refused requests, by reason.", &["gate", "app", "reason"])?,
            request_seconds: histograms(
                at,
                "request_seconds",
                "From the head of a request to the end of its answer.",
                REQUEST_BUCKETS_S,
            )?,
            overhead_seconds: histograms(
                at,
                "overhead_seconds",
                "The part of a request that was not spent waiting for the upstream.",
                OVERHEAD_BUCKETS_S,
            )?,
            upstream_responses: counters(
                at,
                "upstream_responses_total",
                "Answers of the upstream, by status class.",
                &["gate", "class"],
            )?,
            streams: int_gauges(
                at,
                "streams",
                "Requests that are under way and have lasted: downloads, uploads, events, WebSockets.",
                &["gate"],
            )?,
            streams_cut: counters(
                at,
                "streams_cut_total",
                "Requests that were cut while under way, for they were no longer permitted, by reason.",
                &["gate", "app", "reason"],
            )?,
            lookups: counters(
                at,
                "lookups_total",
                "Questions to the product about things that requests name, by what came of them.",
                &["gate", "result"],
            )?,
            connections: int_gauges(at, "connections", "Open connections, by side.", &["gate", "side"])?,
            connection_errors: counters(
                at,
                "connection_errors_total",
                "Connections that ended before their time, or were not opened, by reason.",
                &["gate", "reason"],
            )?,
        })
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("scopegate")
}

fn plain<C: Collector + Clone + 'static>(at: &Registry, collector: C) -> prometheus::Result<C> {
    at.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    plain(at, IntCounterVec::new(opts(name, help), labels)?)
}

fn gauges(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    plain(at, GaugeVec::new(opts(name, help), labels)?)
}

fn int_gauges(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    plain(at, IntGaugeVec::new(opts(name, help), labels)?)
}

fn histograms(at: &Registry, name: &str, help: &str, buckets_s: &[f64]) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::from(opts(name, help)).buckets(buckets_s.to_vec());
    plain(at, HistogramVec::new(opts, &["gate"])?)
}
