//! What is known of one request, gathered on its way and told once, at its end: in the metrics and in the log.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Response, StatusCode};

use crate::authz::Reason;
use crate::authz::catalog::OperationId;
use crate::metrics::{GateMetrics, Outcome, status_class};
use crate::proxy::jobs::Watch;
pub use crate::telemetry::DecisionId;
use crate::telemetry::{CONTAINERS_SHOWN, ContainerShown, DecidedBy, Line, Lines, TraceId};
use crate::usage::outlasting::{Ended, Listener, Outlasting};
use crate::usage::strangers::{Fingerprint, Stranger};
use crate::usage::{Shadowed, Usage, Use};

/// The most bytes of the path that a waiting line holds.
const PATH_MAX_BYTES: usize = 2_048;

/// Where the records of one gate go.
#[derive(Debug, Clone)]
pub struct Recorder {
    pub gate: Arc<str>,
    pub metrics: GateMetrics,
    /// `None`: no lines are written.
    pub lines: Option<Lines>,
    /// Who keeps what rights are used for. `None`: there is no state folder.
    pub noticed: Option<Noticed>,
}

/// Where what the data plane notices of the use of rights goes.
#[derive(Debug, Clone)]
pub struct Noticed {
    pub usage: Arc<Usage>,
    pub shadowed: Arc<Usage<Shadowed>>,
    pub strangers: Arc<Usage<Stranger>>,
    pub outlasting: Outlasting,
    pub product: Arc<str>,
    /// Of the gate's catalog.
    pub operations: usize,
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
    operation: Option<OperationId>,
    /// Acts in shadow mode that would each have refused it.
    shadowing: Box<[Arc<Path>]>,
    /// Who listens to the answer. Few calls have any.
    hearing: Option<Box<Hearing>>,
    /// `None` once it is told.
    line: Option<Box<Line>>,
}

/// Who listens to the answer of one call.
#[derive(Debug, Default)]
struct Hearing {
    /// Of a call that makes or removes what outlasts a revocation.
    listener: Option<Listener>,
    /// Of a call that starts a job, until its answer has said which.
    watch: Option<Watch>,
}

impl Hearing {
    fn hear(&mut self, bytes: &[u8]) {
        if self.watch.as_mut().is_some_and(|watch| !watch.hears(bytes)) {
            self.watch = None;
        }
        if let Some(listener) = &mut self.listener {
            listener.hear(bytes);
        }
    }
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
            decision,
            peer,
            outcome: None,
            reason: None,
            app: None,
            tenant: None,
            tenant_name: None,
            actor: None,
            user: None,
            kind: None,
            fingerprint: None,
            operation: None,
            method: method.clone(),
            path: kept_path(path),
            containers: Vec::new(),
            containers_more: 0,
            needed: Vec::new(),
            decided_by: None,
            status: None,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            upstream_class: None,
            upstream_error: None,
            trace: None,
            generation: None,
            cut: false,
            shadow_permits: false,
        };
        Self {
            recorder: Arc::clone(recorder),
            started: Instant::now(),
            waiting_since: None,
            waited: Duration::ZERO,
            decision,
            operation: None,
            shadowing: Box::default(),
            hearing: None,
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

    /// How the digest of a credential begins that no policy ever named.
    pub fn stranger(&mut self, digest: Option<[u8; 32]>) {
        self.with(|line| line.fingerprint = digest.as_ref().map(Fingerprint::of));
    }

    pub fn operation(&mut self, id: Arc<str>) {
        self.with(|line| line.operation = Some(id));
    }

    /// The operation by its number, for who counts its use.
    pub fn used(&mut self, operation: OperationId) {
        self.operation = Some(operation);
    }

    /// The files in shadow mode that would each have refused it, by the judgement that counts.
    pub fn shadowing(&mut self, files: &[Arc<Path>]) {
        self.shadowing = files.into();
    }

    /// With the grants in shadow mode it would have passed.
    pub fn shadow_permits(&mut self, would: bool) {
        self.with(|line| line.shadow_permits = would);
    }

    /// Who keeps what outlasts a revocation, if anybody does.
    pub fn noticed(&self) -> Option<&Noticed> {
        self.recorder.noticed.as_ref()
    }

    /// Has the answer listened to.
    pub fn listens(&mut self, listener: Listener) {
        self.hearing.get_or_insert_default().listener = Some(listener);
    }

    /// Has the answer watched for the job that is started. `None`: none is.
    pub fn watches(&mut self, watch: Option<Watch>) {
        match (watch, &mut self.hearing) {
            (Some(watch), hearing) => hearing.get_or_insert_default().watch = Some(watch),
            // Judged again, it may be somebody else's.
            (None, Some(hearing)) => hearing.watch = None,
            (None, None) => {}
        }
    }

    /// The head of the answer, before anything of it goes on.
    #[inline]
    pub fn head_came<B>(&mut self, response: &Response<B>) {
        if let Some(hearing) = &mut self.hearing {
            hearing.watch = hearing.watch.take().and_then(|mut watch| watch.sees(response).then_some(watch));
        }
    }

    /// A piece of the answer's body, as the upstream sent it.
    #[inline]
    pub fn heard(&mut self, bytes: &[u8]) {
        if let Some(hearing) = &mut self.hearing {
            hearing.hear(bytes);
        }
    }

    /// Whether anybody reads what is noted: else it need not be found out.
    pub fn is_written(&self) -> bool {
        self.recorder.lines.is_some()
    }

    /// What the request touches, found by whatever means: the log is not told to the app. `more` it touches besides.
    pub fn containers(&mut self, containers: impl IntoIterator<Item = ContainerShown>, more: usize) {
        self.with(|line| {
            let mut containers = containers.into_iter();
            line.containers = containers.by_ref().take(CONTAINERS_SHOWN).collect();
            line.containers_more = containers.count() + more;
        });
    }

    /// What was noted of what it touches.
    pub fn shown_containers(&self) -> Vec<String> {
        let shown = self.line.as_deref().map_or(&[][..], |line| &line.containers[..]);
        shown.iter().map(|one| format!("{}={}", one.kind, one.id)).collect()
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

    /// It was under way, and taken back: by what was judged last, for this reason. How it had been permitted stays.
    pub fn cut(&mut self, reason: Reason) {
        self.with(|line| {
            line.cut = true;
            line.reason = Some(reason);
        });
    }

    /// From here the time is the upstream's.
    pub fn upstream_waits(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// From here the time is the gate's again. `status`: the upstream's, if it answered.
    pub fn upstream_waited(&mut self, status: Option<StatusCode>) {
        self.waited_until(Instant::now());
        if let Some(status) = status {
            self.recorder.metrics.upstream_response(status);
            self.with(|line| line.upstream_class = status_class(status));
        }
    }

    /// No answer came: what the operator is told of it, and the caller is not.
    pub fn upstream_failed(&mut self, error: &impl std::fmt::Display) {
        self.with(|line| line.upstream_error = Some(error.to_string()));
    }

    /// The status that the caller was sent. What follows is the answer's body, which the upstream paces.
    pub fn answered(&mut self, status: StatusCode) {
        self.with(|line| line.status = Some(status.as_u16()));
        self.upstream_waits();
    }

    /// When the request was received.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Tells it: the answer's status is what the caller was sent.
    pub fn finish(mut self, status: StatusCode) {
        self.tell(Some(status));
    }

    fn waited_until(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
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

    /// Counts and logs, once. The denials of an app are its requests with the outcome `deny`, reason by reason. What its caller
    /// left before it was judged has no outcome: it is logged alone, and what is timed is what is counted.
    fn tell(&mut self, status: Option<StatusCode>) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        let now = Instant::now();
        self.waited_until(now);
        line.status = status.map(|status| status.as_u16()).or(line.status);
        line.duration = now.saturating_duration_since(self.started);
        line.overhead = line.duration.saturating_sub(self.waited);
        let app = self.recorder.metrics.app(line.app.as_deref());
        if let Some(outcome) = line.outcome {
            self.recorder.metrics.took(line.duration, line.overhead);
            app.request(outcome);
        }
        if let (Some(Outcome::Deny), Some(reason)) = (line.outcome, line.reason) {
            app.denial(reason);
        }
        self.count(&line);
        if let Some(lines) = &self.recorder.lines {
            lines.write(&line);
        }
    }
}

impl Record {
    /// Tells who keeps the use of rights.
    fn count(&mut self, line: &Line) {
        self.count_shadowed(line);
        self.count_stranger(line);
        let permitted = match line.outcome {
            Some(Outcome::Permit | Outcome::WouldDeny | Outcome::UpstreamError) => Use::Permitted,
            Some(Outcome::Deny) => Use::Denied,
            None => return,
        };
        let Some(noticed) = &self.recorder.noticed else { return };
        if let (Some(app), Some(operation)) = (&line.app, self.operation) {
            noticed.usage.count(app, operation, noticed.operations, permitted, unix_ms(line.at));
        }
        if let Some(listener) = self.hearing.take().and_then(|hearing| hearing.listener) {
            listener.end(match (line.outcome, line.reason, line.status) {
                (Some(Outcome::Permit | Outcome::WouldDeny), _, Some(status)) => Ended::Answered(status),
                (Some(Outcome::Deny), ..) | (_, Some(Reason::UpstreamUnreachable), _) => Ended::NotSent,
                _ => Ended::Unknown,
            });
        }
    }
}

impl Record {
    /// Only what passed: what was refused all the same tells nothing of an act.
    fn count_shadowed(&self, line: &Line) {
        let passed = matches!(line.outcome, Some(Outcome::Permit | Outcome::WouldDeny | Outcome::UpstreamError));
        let (Some(noticed), Some(tenant), true) = (&self.recorder.noticed, &line.tenant, passed) else { return };
        let (operation, operations) = self.operation_or_unknown(noticed);
        for act in &self.shadowing {
            let whom = Shadowed { act: Arc::clone(act), app: line.app.clone(), tenant: Arc::clone(tenant) };
            noticed.shadowed.count(&whom, operation, operations, Use::Denied, unix_ms(line.at));
        }
    }

    /// Only who passed. Whom the product itself does not take is told apart: anybody can send a token that is none.
    fn count_stranger(&self, line: &Line) {
        let (Some(noticed), Some(tenant), Some(fingerprint), Some(Outcome::WouldDeny)) =
            (&self.recorder.noticed, &line.tenant, line.fingerprint, line.outcome)
        else {
            return;
        };
        let stranger = Stranger {
            gate: Arc::clone(&self.recorder.gate),
            product: Arc::clone(&noticed.product),
            tenant: Arc::clone(tenant),
            fingerprint,
        };
        let used = if line.status == Some(401) { Use::Denied } else { Use::Permitted };
        let (operation, operations) = self.operation_or_unknown(noticed);
        noticed.strangers.count(&stranger, operation, operations, used, unix_ms(line.at));
    }

    /// What the catalog does not know is counted after all that it knows. And how many are counted.
    fn operation_or_unknown(&self, noticed: &Noticed) -> (OperationId, usize) {
        let unknown = u16::try_from(noticed.operations).map_or(OperationId(u16::MAX), OperationId);
        (self.operation.unwrap_or(unknown), noticed.operations + 1)
    }
}

/// Unix time in milliseconds.
fn unix_ms(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A future that is dropped is a caller that went away: it is told too, else a scan would leave no trace.
impl Drop for Record {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// The path without its query, cut at a character boundary.
fn kept_path(path: &str) -> String {
    let query = memchr::memchr2(b'?', b'#', path.as_bytes()).unwrap_or(path.len());
    let mut end = query.min(PATH_MAX_BYTES);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default().to_owned()
}
