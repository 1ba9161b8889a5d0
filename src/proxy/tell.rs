//! What is said of a decision: to the record, and to the app. The names of a catalog are kept ready to be shared.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::record::{CallerShown, Record};
use super::upstream::SendError;
use crate::authz::catalog::Catalog;
use crate::authz::decide::ShownContainers;
use crate::authz::decide::named_ids;
use crate::authz::dialect::{Container, CredentialFamily, Named, Refusal, WOULD_HEADER};
use crate::authz::gate::GateRules;
use crate::authz::request::{Facts, RequestView};
use crate::authz::{Denial, Permit, Who};
use crate::telemetry::{ContainerShown, DecidedBy};
use crate::usage::outlasting::{Call, ID_BYTES_MAX, IDS_MAX, Listener};

/// The kind of credential whose SDKs expect the second of Atlassian's error shapes.
const CONNECT: &str = "connect";

/// The names of one catalog, shared by every record.
#[derive(Debug)]
pub struct Labels {
    operations: Box<[Arc<str>]>,
    kinds: Box<[Arc<str>]>,
    /// Of containers.
    container_kinds: Box<[Arc<str>]>,
}

impl Labels {
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            operations: catalog.operations.iter().map(|operation| Arc::from(&*operation.id)).collect(),
            kinds: catalog.kinds.iter().map(|kind| Arc::from(&*kind.name)).collect(),
            container_kinds: catalog.containers.iter().map(|kind| Arc::from(&*kind.name)).collect(),
        }
    }

    /// Notes a permit.
    pub fn permit(&self, record: &mut Record, permit: &Permit) {
        record.generation(permit.generation);
        record.caller(self.caller(&permit.who));
        permit.operation.into_iter().for_each(|operation| record.used(operation));
        if let Some(operation) = permit.operation.and_then(|id| self.operations.get(usize::from(id.0))) {
            record.operation(Arc::clone(operation));
        }
        match permit.would.as_ref().or(permit.shadow.as_ref()) {
            Some(would) => self.would(record, would),
            None => {
                record.permit();
                record.shadowing(&[]);
            }
        }
    }

    /// Notes a denial.
    pub fn denial(&self, record: &mut Record, denial: &Denial) {
        record.refuse(denial.reason);
        if let Some(who) = &denial.who {
            record.caller(self.caller(who));
        }
        denial.operation.into_iter().for_each(|operation| record.used(operation));
        if let Some(operation) = denial.operation.and_then(|id| self.operations.get(usize::from(id.0))) {
            record.operation(Arc::clone(operation));
        }
        record.shadow_permits(denial.shadow_permits);
        self.why(record, denial);
    }

    /// Notes that a request was taken back while it was under way. Who it was, and what it touches, is noted already.
    pub fn cut(&self, record: &mut Record, denial: &Denial) {
        record.cut(denial.reason);
        record.needed(denial.needed.iter().cloned());
        if let Some(rule) = &denial.rule {
            record.decided_by(DecidedBy { file: Arc::clone(&rule.file), line: rule.line });
        }
    }

    /// Notes what a request that went on would have been refused for.
    pub fn would(&self, record: &mut Record, would: &Denial) {
        record.would_deny(would.reason);
        record.stranger(would.unknown_digest);
        record.shadowing(&would.shadowing);
        self.why(record, would);
    }

    fn why(&self, record: &mut Record, denial: &Denial) {
        record.needed(denial.needed.iter().cloned());
        if let Some(rule) = &denial.rule {
            record.decided_by(DecidedBy { file: Arc::clone(&rule.file), line: rule.line });
        }
        let container = denial.container.as_ref().map(|(kind, id)| ContainerShown {
            kind: Arc::clone(kind),
            id: id.clone(),
            name: denial.container_name.clone(),
        });
        record.containers(container, 0);
    }

    /// Notes what a permitted request touches.
    pub fn touched(&self, record: &mut Record, touched: ShownContainers) {
        let shown = touched.named.into_iter().filter_map(|one| {
            let kind = Arc::clone(self.container_kinds.get(usize::from(one.kind.0))?);
            Some(ContainerShown { kind, id: one.id, name: one.name })
        });
        record.containers(shown, touched.more);
    }

    fn caller(&self, who: &Who) -> CallerShown {
        CallerShown {
            app: who.app().cloned(),
            tenant: Some(Arc::clone(who.tenant())),
            tenant_name: who.tenant_name().cloned(),
            actor: Some(who.actor.as_str()),
            user: who.user().cloned(),
            kind: who.kind().and_then(|kind| self.kinds.get(usize::from(kind.0))).cloned(),
        }
    }

    /// What the app is told.
    pub fn refusal(&self, denial: &Denial, decision: &str) -> Refusal {
        let who = denial.who.as_ref();
        let kind = who.and_then(Who::kind).and_then(|kind| self.kinds.get(usize::from(kind.0)));
        let text = |name: &Arc<str>| name.to_string();
        Refusal {
            why: denial.why,
            family: match kind.is_some_and(|kind| **kind == *CONNECT) {
                true => CredentialFamily::Connect,
                false => CredentialFamily::OAuth,
            },
            app: who.and_then(Who::app).map(text),
            tenant: who.map(|who| Named { id: text(who.tenant()), name: who.tenant_name().map(text) }),
            operation: denial.operation.and_then(|id| self.operations.get(usize::from(id.0))).map(text),
            container: denial.container.as_ref().map(|(kind, name)| Container { kind: text(kind), name: name.clone() }),
            needed: denial.needed.iter().map(text).collect(),
            held: denial.held.iter().map(text).collect(),
            contact: who.and_then(Who::contact).map(text),
            retry_after_s: denial.retry_after_s,
            hidden: denial.hidden,
            ..Refusal::new(denial.reason, decision)
        }
    }

    /// Has the answer listened to, where the call makes or removes what outlasts a revocation.
    pub fn listen(
        &self,
        record: &mut Record,
        gate: &GateRules,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
        permit: &Permit,
    ) {
        let Some(id) = permit.operation.filter(|id| gate.catalog.leaves_or_removes(*id)) else { return };
        let operation = gate.catalog.operations.get(usize::from(id.0));
        let name = self.operations.get(usize::from(id.0));
        let (Some(noticed), Some(operation), Some(name), Some(app)) =
            (record.noticed(), operation, name, permit.who.app())
        else {
            return;
        };
        let ids = named_ids(gate, id, request, facts, (IDS_MAX, ID_BYTES_MAX));
        let call = Call {
            app: Arc::clone(app),
            tenant: Arc::clone(permit.who.tenant()),
            operation: Arc::clone(name),
            at_ms: facts.now_ms,
            decision: record.decision().as_str().to_owned(),
            containers: record.shown_containers(),
        };
        let undo = operation.undo.as_deref().map(|undo| (undo, ids.made));
        let remover = operation.remover.as_deref().map(|remover| (remover, ids.removed));
        let listener = Listener::new(&noticed.outlasting, call, gate.catalog.dialect, undo, remover);
        record.listens(listener);
    }

    /// An answer that passed only because it is observed says what it would have been.
    pub fn mark(&self, permit: &Permit, headers: &mut HeaderMap) {
        if let Some(would) = &permit.would {
            headers.insert(WOULD_HEADER, HeaderValue::from_static(would.reason.as_str()));
        }
    }

    /// The refusal for now of a request that was permitted and got no answer.
    pub fn failed(&self, permit: Permit, error: &SendError) -> Box<Denial> {
        let reason = error.reason();
        let stopped = "the body stopped or was malformed while it was passed on";
        let why = matches!(error, SendError::RequestBody(_)).then_some(stopped);
        tracing::debug!(error = %error, reason = reason.as_str(), "upstream");
        Box::new(Denial { why, who: Some(permit.who), operation: permit.operation, ..Denial::of(reason) })
    }
}
