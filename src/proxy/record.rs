//! What is known of one request, gathered on its way and told once, at its end: in the metrics and in the log.

mod decision;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode};

use crate::authz::Reason;
use crate::metrics::{GateMetrics, Outcome, status_class};
use crate::telemetry::{CONTAINERS_SHOWN, ContainerShown, DecidedBy, Line, Lines, TraceId};
pub use decision::DecisionId;

/// The most bytes of the path that a waiting line holds.
const PATH_MAX_BYTES: usize = 2_048;

/// Where the records of one gate go.
#[derive(Debug, Clone)]
pub struct Recorder {
    pub gate: Arc<str>,
    pub metrics: GateMetrics,
    /// `None`: no lines are written.
    pub lines: Option<Lines>,
}

/// One request. Told when it is finished, or when it is dropped because the caller went away.
#[derive(Debug)]
pub struct Record {
    recorder: Arc<Recorder>,
    started: Instant,
    /// Set while the upstream is being waited for.
    waiting_since: Option<Instant>,
    waited: Duration,
    decision: DecisionId,
    /// `None` once it is told.
    line: Option<Box<Line>>,
}

/// Who sent the request, in the policy's own words.
#[derive(Debug, Clone, Default)]
pub struct CallerShown {
    pub app: Option<Arc<str>>,
    pub tenant: Option<Arc<str>>,
    pub tenant_name: Option<Arc<str>>,
    /// `app` or `user`.
    pub actor: Option<&'static str>,
    pub user: Option<Arc<str>>,
    pub kind: Option<Arc<str>>,
}

impl Record {
    /// Starts the clock. `path` may have a query: it is cut off before it is kept.
    pub fn start(recorder: &Arc<Recorder>, method: &Method, path: &str, peer: Option<IpAddr>) -> Self {
        let decision = DecisionId::random();
        let line = Line {
            at: SystemTime::now(),
            gate: Arc::clone(&recorder.gate),
            decision: decision.as_str().to_owned(),
            peer,
            outcome: None,
            reason: None,
            app: None,
            tenant: None,
            tenant_name: None,
            actor: None,
            user: None,
            kind: None,
            operation: None,
            method: method.as_str().to_owned(),
            path: kept_path(path),
            containers: Vec::new(),
            containers_more: 0,
            needed: Vec::new(),
            decided_by: None,
            status: None,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            upstream_class: None,
            trace: None,
            generation: None,
        };
        Self {
            recorder: Arc::clone(recorder),
            started: Instant::now(),
            waiting_since: None,
            waited: Duration::ZERO,
            decision,
            line: Some(Box::new(line)),
        }
    }

    /// The id that the answer carries.
    pub fn decision(&self) -> &DecisionId {
        &self.decision
    }

    /// The `traceparent` header, as received.
    pub fn traceparent(&mut self, value: &[u8]) {
        self.with(|line| line.trace = TraceId::parse(value));
    }

    pub fn caller(&mut self, caller: CallerShown) {
        self.with(|line| {
            line.app = caller.app;
            line.tenant = caller.tenant;
            line.tenant_name = caller.tenant_name;
            line.actor = caller.actor;
            line.user = caller.user;
            line.kind = caller.kind;
        });
    }

    pub fn operation(&mut self, id: Arc<str>) {
        self.with(|line| line.operation = Some(id));
    }

    /// What the request touches, found by whatever means: the log is not told to the app.
    pub fn containers(&mut self, containers: impl IntoIterator<Item = ContainerShown>) {
        self.with(|line| {
            let mut containers = containers.into_iter();
            line.containers = containers.by_ref().take(CONTAINERS_SHOWN).collect();
            line.containers_more = containers.count();
        });
    }

    /// The scopes of the line that decided.
    pub fn needed(&mut self, scopes: impl IntoIterator<Item = Arc<str>>) {
        self.with(|line| line.needed = scopes.into_iter().collect());
    }

    pub fn decided_by(&mut self, by: DecidedBy) {
        self.with(|line| line.decided_by = Some(by));
    }

    /// The generation of the snapshot that judged last.
    pub fn generation(&mut self, generation: u64) {
        self.with(|line| line.generation = Some(generation));
    }

    pub fn permit(&mut self) {
        self.outcome(Outcome::Permit, None);
    }

    /// Passed only because it is under `observe`.
    pub fn would_deny(&mut self, reason: Reason) {
        self.outcome(Outcome::WouldDeny, Some(reason));
    }

    /// Refused, or failed upstream: the reason says which. The last word counts: a permit may fail afterwards.
    pub fn refuse(&mut self, reason: Reason) {
        let failed = matches!(reason, Reason::UpstreamUnreachable | Reason::UpstreamTimeout | Reason::UpstreamBroken);
        let outcome = if failed { Outcome::UpstreamError } else { Outcome::Deny };
        self.outcome(outcome, Some(reason));
    }

    /// From here the time is the upstream's.
    pub fn upstream_waits(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// From here the time is the gate's again. `status`: the upstream's, if it answered.
    pub fn upstream_waited(&mut self, status: Option<StatusCode>) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if let Some(status) = status {
            self.recorder.metrics.upstream_response(status);
            self.with(|line| line.upstream_class = status_class(status));
        }
    }

    /// The status that the caller was sent. What follows is the answer's body, which the upstream paces.
    pub fn answered(&mut self, status: StatusCode) {
        self.with(|line| line.status = Some(status.as_u16()));
        self.upstream_waits();
    }

    /// Tells it: the answer's status is what the caller was sent.
    pub fn finish(mut self, status: StatusCode) {
        self.tell(Some(status));
    }

    fn outcome(&mut self, outcome: Outcome, reason: Option<Reason>) {
        self.with(|line| {
            line.outcome = Some(outcome);
            line.reason = reason;
        });
    }

    fn with(&mut self, set: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line.as_deref_mut() {
            set(line);
        }
    }

    /// Counts and logs, once. The denials of an app are its requests with the outcome `deny`, reason by reason.
    fn tell(&mut self, status: Option<StatusCode>) {
        self.upstream_waited(None);
        let Some(mut line) = self.line.take() else {
            return;
        };
        line.status = status.map(|status| status.as_u16()).or(line.status);
        line.duration = self.started.elapsed();
        line.overhead = line.duration.saturating_sub(self.waited);
        self.recorder.metrics.took(line.duration, line.overhead);
        let app = self.recorder.metrics.app(line.app.as_deref());
        if let Some(outcome) = line.outcome {
            app.request(outcome);
        }
        if let (Some(Outcome::Deny), Some(reason)) = (line.outcome, line.reason) {
            app.denial(reason);
        }
        if let Some(lines) = &self.recorder.lines {
            lines.write(line);
        }
    }
}

/// A future that is dropped is a caller that went away: it is told too, else a scan would leave no trace.
impl Drop for Record {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// The path without its query, cut at a character boundary.
fn kept_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut end = path.len().min(PATH_MAX_BYTES);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default().to_owned()
}
