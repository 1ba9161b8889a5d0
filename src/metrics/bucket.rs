//! The metrics of a gate whose acts lie in the bucket of a fleet. One series each, by the bucket's name.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges, int_gauges};

#[derive(Debug)]
pub(super) struct BucketMetrics {
    connected: IntGaugeVec,
    last_sync: GaugeVec,
    refused: IntGaugeVec,
    missing: IntGaugeVec,
    changes: IntCounterVec,
    lacking: IntCounterVec,
}

impl BucketMetrics {
    pub(super) fn register(at: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            connected: int_gauges(at, "overrides_connected", "1 while the bucket of acts is followed.", &["bucket"])?,
            last_sync: gauges(
                at,
                "overrides_last_sync_timestamp_seconds",
                "All acts that were acknowledged before this are in force.",
                &["bucket"],
            )?,
            refused: int_gauges(
                at,
                "overrides_refused",
                "Values in the bucket of acts that are kept out.",
                &["bucket"],
            )?,
            missing: int_gauges(
                at,
                "overrides_missing",
                "Acts in force that the bucket does not have any more.",
                &["bucket"],
            )?,
            changes: counters(
                at,
                "overrides_bucket_changes_total",
                "How often the bucket was found to be another one, or an old copy.",
                &["bucket"],
            )?,
            lacking: counters(
                at,
                "overrides_lacking_total",
                "Acts that were found not to be in a server's copy of the bucket, each as often as that.",
                &["bucket"],
            )?,
        })
    }

    pub(super) fn stands(&self, bucket: &str, connected: bool, refused: usize, missing: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let now = [
            (&self.connected, i64::from(connected)),
            (&self.refused, number(refused)),
            (&self.missing, number(missing)),
        ];
        for (gauges, value) in now {
            if let Ok(gauge) = gauges.get_metric_with_label_values(&[bucket]) {
                gauge.set(value);
            }
        }
        // They are there from the start, so that an increase can be seen.
        for counters in [&self.changes, &self.lacking] {
            let _ = counters.get_metric_with_label_values(&[bucket]);
        }
    }

    pub(super) fn synced(&self, bucket: &str, unix_s: f64) {
        if let Ok(gauge) = self.last_sync.get_metric_with_label_values(&[bucket]) {
            gauge.set(unix_s);
        }
    }

    pub(super) fn changed(&self, bucket: &str) {
        if let Ok(counter) = self.changes.get_metric_with_label_values(&[bucket]) {
            counter.inc();
        }
    }

    pub(super) fn lacking(&self, bucket: &str, count: usize) {
        if let Ok(counter) = self.lacking.get_metric_with_label_values(&[bucket]) {
            counter.inc_by(u64::try_from(count).unwrap_or(0));
        }
    }
}
