//! The metrics of key sets that are fetched, by gate and issuer: both are words of the configuration.

use prometheus::{GaugeVec, IntCounterVec, Registry};

use super::{counters, gauges};

#[derive(Debug)]
pub(super) struct KeySetMetrics {
    fetches: IntCounterVec,
    last_fetch: GaugeVec,
}

impl KeySetMetrics {
    pub(super) fn register(at: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            fetches: counters(
                at,
                "key_set_fetches_total",
                "Fetches of an issuer's keys, by how they ended.",
                &["gate", "issuer", "outcome"],
            )?,
            last_fetch: gauges(
                at,
                "key_set_last_fetch_timestamp_seconds",
                "When an issuer's keys were last had.",
                &["gate", "issuer"],
            )?,
        })
    }

    pub(super) fn fetched(&self, gate: &str, issuer: &str, is_had: bool, unix_s: f64) {
        let outcome = if is_had { "success" } else { "failure" };
        if let Ok(counter) = self.fetches.get_metric_with_label_values(&[gate, issuer, outcome]) {
            counter.inc();
        }
        // 0 until there was one: an alert on its age sees an issuer that was never reached.
        if let Ok(gauge) = self.last_fetch.get_metric_with_label_values(&[gate, issuer])
            && is_had
        {
            gauge.set(unix_s);
        }
    }
}
