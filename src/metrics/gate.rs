//! The handles of one gate: resolved at start, so that a request only adds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::apps::{AppHandles, AppMetrics, AppSlots};
use super::{Families, LookedUpAs, Side};
use crate::proxy::counters::IoCounters;

/// The classes of an upstream's status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why a caller's connection was ended by the gate before its time, and why one to the upstream was not opened.
const CONNECTION_ERRORS: [&str; 8] = [
    "handshake",
    "too_slow",
    "malformed",
    "over_limit",
    "upstream_connect",
    "upstream_connect_timeout",
    "upstream_handshake",
    "via",
];

/// The metrics of one gate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GateMetrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    apps: AppHandles,
    request_seconds: Histogram,
    overhead_seconds: Histogram,
    upstream: [IntCounter; CLASSES.len()],
    lookups: [IntCounter; LookedUpAs::ALL.len()],
    streams: IntGauge,
    callers: IntGauge,
    upstreams: IntGauge,
    connection_errors: [IntCounter; CONNECTION_ERRORS.len()],
}

impl GateMetrics {
    pub(super) fn new(gate: &str, families: &Families, slots: &Arc<AppSlots>) -> prometheus::Result<Self> {
        let class = |class: &str| families.upstream_responses.get_metric_with_label_values(&[gate, class]);
        let connections = |side: Side| families.connections.get_metric_with_label_values(&[gate, side.as_str()]);
        let error = |reason: &str| families.connection_errors.get_metric_with_label_values(&[gate, reason]);
        let [informational, success, redirect, client, server] = CLASSES.map(class);
        let [handshake, too_slow, malformed, over_limit, connect, connect_timeout, upstream_handshake, via] =
            CONNECTION_ERRORS.map(error);
        let lookups = |as_: LookedUpAs| families.lookups.get_metric_with_label_values(&[gate, as_.as_str()]);
        let [cached, found, absent, failed, limited] = LookedUpAs::ALL.map(lookups);
        Ok(Self(Arc::new(Handles {
            apps: AppHandles::new(gate, families, slots),
            request_seconds: families.request_seconds.get_metric_with_label_values(&[gate])?,
            overhead_seconds: families.overhead_seconds.get_metric_with_label_values(&[gate])?,
            upstream: [informational?, success?, redirect?, client?, server?],
            lookups: [cached?, found?, absent?, failed?, limited?],
            streams: families.streams.get_metric_with_label_values(&[gate])?,
            callers: connections(Side::Caller)?,
            upstreams: connections(Side::Upstream)?,
            connection_errors: [
                handshake?,
                too_slow?,
                malformed?,
                over_limit?,
                connect?,
                connect_timeout?,
                upstream_handshake?,
                via?,
            ],
        })))
    }

    /// The counters of an app by name, or of callers that are not identified.
    ///
    /// `app` is a name that the policy knows, never one that a caller wrote.
    pub fn app(&self, app: Option<&str>) -> AppMetrics {
        self.0.apps.of(app)
    }

    /// How long a request took, and how much of that was the gate's own doing.
    pub fn took(&self, whole: Duration, overhead: Duration) {
        self.0.request_seconds.observe(whole.as_secs_f64());
        self.0.overhead_seconds.observe(overhead.as_secs_f64());
    }

    /// The upstream answered.
    pub fn upstream_response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|class| self.0.upstream.get(class)) {
            counter.inc();
        }
    }

    /// A look-up ended.
    pub fn looked_up(&self, result: LookedUpAs) {
        let counters = LookedUpAs::ALL.iter().zip(&self.0.lookups);
        counters.filter(|(one, _)| **one == result).for_each(|(_, counter)| counter.inc());
    }

    /// The connections that are open now, and those that ended before their time.
    pub fn connections(&self, open: &IoCounters) {
        let shown = |count: &AtomicUsize| i64::try_from(count.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        self.0.streams.set(shown(&open.streams));
        self.0.callers.set(shown(&open.client_open));
        self.0.upstreams.set(shown(&open.upstream_open));
        let counted = [
            &open.handshakes_failed,
            &open.timed_out,
            &open.malformed,
            &open.over_limit,
            &open.upstream_connects_failed,
            &open.upstream_connects_timed_out,
            &open.upstream_handshakes_failed,
            &open.via_failed,
        ];
        for (metric, count) in self.0.connection_errors.iter().zip(counted) {
            // Two scrapes at one time may both see a difference; then a counter is ahead by one scrape, never back.
            metric.inc_by(count.load(Ordering::Relaxed).saturating_sub(metric.get()));
        }
    }
}

/// The class of a status, as the log and `/metrics` write it.
pub fn status_class(status: StatusCode) -> Option<&'static str> {
    usize::from(status.as_u16() / 100).checked_sub(1).and_then(|class| CLASSES.get(class)).copied()
}
