//! Which apps have series of their own, and the handles to them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use prometheus::IntCounter;

use super::{Families, Outcome};
use crate::authz::Reason;

/// The label of apps beyond `apps_max`.
pub const OTHER: &str = "other";
/// The label of a caller that is not identified.
pub const NONE: &str = "none";

/// The apps that have a place, in all gates together. An app that got one keeps it.
///
/// Reading is a load; only an app that is seen for the first time takes the lock.
#[derive(Debug)]
pub(super) struct AppSlots {
    apps_max: usize,
    named: ArcSwap<HashSet<Arc<str>>>,
    writer: Mutex<()>,
}

impl AppSlots {
    pub fn new(apps_max: usize) -> Self {
        Self { apps_max, named: ArcSwap::default(), writer: Mutex::new(()) }
    }

    /// The label of an app: its name if it has a place or there is one left, else [`OTHER`].
    pub fn label(&self, app: &str) -> Arc<str> {
        if let Some(known) = self.known(app) {
            return known;
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(app) {
            return known;
        }
        let mut named = HashSet::clone(&self.named.load());
        let label: Arc<str> = Arc::from(app);
        named.insert(Arc::clone(&label));
        self.named.store(Arc::new(named));
        label
    }

    /// `None`: the app is new and there is a place for it.
    fn known(&self, app: &str) -> Option<Arc<str>> {
        let named = self.named.load();
        let known = named.get(app).map(Arc::clone);
        known.or_else(|| (named.len() >= self.apps_max).then(|| Arc::from(OTHER)))
    }

    /// Whether the app is one that has to share a label. Takes no lock.
    fn shares(&self, app: &str) -> bool {
        let named = self.named.load();
        named.len() >= self.apps_max && !named.contains(app)
    }
}

/// The series of one gate by app. Bounded by [`AppSlots`].
#[derive(Debug)]
pub(super) struct AppHandles {
    slots: Arc<AppSlots>,
    gate: Arc<str>,
    families: Families,
    handles: ArcSwap<HashMap<Arc<str>, AppMetrics>>,
    writer: Mutex<()>,
    none: AppMetrics,
    other: AppMetrics,
}

impl AppHandles {
    pub fn new(gate: &str, families: &Families, slots: &Arc<AppSlots>) -> Self {
        let gate: Arc<str> = Arc::from(gate);
        let series = |app: &str| AppMetrics::new(&gate, Arc::from(app), families);
        Self {
            none: series(NONE),
            other: series(OTHER),
            slots: Arc::clone(slots),
            families: families.clone(),
            handles: ArcSwap::default(),
            writer: Mutex::new(()),
            gate,
        }
    }

    pub fn of(&self, app: Option<&str>) -> AppMetrics {
        let Some(app) = app else {
            return self.none.clone();
        };
        if let Some(handle) = self.handles.load().get(app) {
            return handle.clone();
        }
        if self.slots.shares(app) {
            return self.other.clone();
        }
        self.resolve(app)
    }

    /// The slow path, once per app and gate.
    fn resolve(&self, app: &str) -> AppMetrics {
        let label = self.slots.label(app);
        if *label != *app {
            return self.other.clone();
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.handles.load();
        if let Some(handle) = now.get(app) {
            return handle.clone();
        }
        let handle = AppMetrics::new(&self.gate, Arc::clone(&label), &self.families);
        let mut handles = HashMap::clone(&now);
        handles.insert(label, handle.clone());
        self.handles.store(Arc::new(handles));
        handle
    }
}

/// The counters of one app at one gate.
#[derive(Debug, Clone)]
pub struct AppMetrics(Arc<Series>);

/// A series is made when it first counts: 500 apps × 31 reasons of zeros would be most of `/metrics`.
#[derive(Debug)]
struct Series {
    gate: Arc<str>,
    app: Arc<str>,
    families: Families,
    requests: [OnceLock<Option<IntCounter>>; Outcome::ALL.len()],
    denials: [OnceLock<Option<IntCounter>>; Reason::ALL.len()],
    cuts: [OnceLock<Option<IntCounter>>; Reason::ALL.len()],
}

impl AppMetrics {
    fn new(gate: &Arc<str>, app: Arc<str>, families: &Families) -> Self {
        Self(Arc::new(Series {
            gate: Arc::clone(gate),
            app,
            families: families.clone(),
            requests: [const { OnceLock::new() }; Outcome::ALL.len()],
            denials: [const { OnceLock::new() }; Reason::ALL.len()],
            cuts: [const { OnceLock::new() }; Reason::ALL.len()],
        }))
    }

    /// Counts a request.
    pub fn request(&self, outcome: Outcome) {
        let series = &*self.0;
        let labels = || [&*series.gate, &*series.app, outcome.as_str()];
        let make = || series.families.requests.get_metric_with_label_values(&labels()).ok();
        let counter = series.requests.get(outcome as usize).and_then(|cell| cell.get_or_init(make).as_ref());
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// Counts a refusal.
    pub fn denial(&self, reason: Reason) {
        let series = &*self.0;
        let labels = || [&*series.gate, &*series.app, reason.as_str()];
        let make = || series.families.denials.get_metric_with_label_values(&labels()).ok();
        let counter = series.denials.get(reason as usize).and_then(|cell| cell.get_or_init(make).as_ref());
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// Counts a request that was cut while it was under way.
    pub fn cut(&self, reason: Reason) {
        let series = &*self.0;
        let labels = || [&*series.gate, &*series.app, reason.as_str()];
        let make = || series.families.streams_cut.get_metric_with_label_values(&labels()).ok();
        let counter = series.cuts.get(reason as usize).and_then(|cell| cell.get_or_init(make).as_ref());
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// The `app` label.
    pub fn label(&self) -> &str {
        &self.0.app
    }
}

#[cfg(test)]
mod tests {
    use crate::authz::Reason;
    use crate::metrics::{Metrics, Outcome};

    #[test]
    fn apps_beyond_the_bound_share_a_label_and_one_that_has_a_place_keeps_it() {
        let metrics = Metrics::new(2).unwrap();
        let (jira, slack) = (metrics.gate("jira").unwrap(), metrics.gate("slack").unwrap());
        assert_eq!(jira.app(Some("jira/a")).label(), "jira/a");
        assert_eq!(slack.app(Some("slack/b")).label(), "slack/b");
        assert_eq!(jira.app(Some("jira/c")).label(), "other");
        assert_eq!(jira.app(Some("jira/a")).label(), "jira/a");
        assert_eq!(slack.app(Some("slack/b")).label(), "slack/b");
        assert_eq!(jira.app(None).label(), "none");
    }

    #[test]
    fn every_reason_and_outcome_has_a_counter() {
        let metrics = Metrics::new(1).unwrap();
        let app = metrics.gate("jira").unwrap().app(Some("jira/a"));
        for reason in Reason::ALL {
            app.denial(reason);
            app.cut(reason);
        }
        for outcome in Outcome::ALL {
            app.request(outcome);
        }
        let text = metrics.render().unwrap();
        for reason in Reason::ALL {
            let line = format!(r#"scopegate_denials_total{{app="jira/a",gate="jira",reason="{reason}"}} 1"#);
            assert!(text.contains(&line), "{line}");
            let line = format!(r#"scopegate_streams_cut_total{{app="jira/a",gate="jira",reason="{reason}"}} 1"#);
            assert!(text.contains(&line), "{line}");
        }
        for outcome in Outcome::ALL {
            let label = outcome.as_str();
            assert!(
                text.contains(&format!(r#"scopegate_requests_total{{app="jira/a",gate="jira",outcome="{label}"}} 1"#))
            );
        }
    }

    #[test]
    fn ten_thousand_apps_leave_the_number_of_series_bounded() {
        let metrics = Metrics::new(5).unwrap();
        let gate = metrics.gate("jira").unwrap();
        for n in 0..10_000 {
            let app = gate.app(Some(&format!("jira/app-{n}")));
            app.request(Outcome::Deny);
            app.denial(Reason::MissingScope);
            app.cut(Reason::MissingScope);
        }
        let text = metrics.render().unwrap();
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("scopegate_requests_total{"), 6);
        assert_eq!(series("scopegate_denials_total{"), 6);
        assert_eq!(series("scopegate_streams_cut_total{"), 6);
    }
}
