//! What is said of a decision: to the record, and to the app. The names of a catalog are kept ready to be shared.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::record::{CallerShown, Record};
use super::upstream::SendError;
use crate::authz::catalog::Catalog;
use crate::authz::dialect::{Container, CredentialFamily, Named, Refusal, WOULD_HEADER};
use crate::authz::{Denial, Permit, Who};
use crate::telemetry::{ContainerShown, DecidedBy};

/// The kind of credential whose SDKs expect the second of Atlassian's error shapes.
const CONNECT: &str = "connect";

/// The names of one catalog, shared by every record.
#[derive(Debug)]
pub struct Labels {
    operations: Box<[Arc<str>]>,
    kinds: Box<[Arc<str>]>,
}

impl Labels {
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            operations: catalog.operations.iter().map(|operation| Arc::from(&*operation.id)).collect(),
            kinds: catalog.kinds.iter().map(|kind| Arc::from(&*kind.name)).collect(),
        }
    }

    /// Notes a permit.
    pub fn permit(&self, record: &mut Record, permit: &Permit) {
        record.generation(permit.generation);
        record.caller(self.caller(&permit.who));
        if let Some(operation) = permit.operation.and_then(|id| self.operations.get(usize::from(id.0))) {
            record.operation(Arc::clone(operation));
        }
        match permit.would.as_ref().or(permit.shadow.as_ref()) {
            Some(would) => {
                record.would_deny(would.reason);
                self.why(record, would);
            }
            None => record.permit(),
        }
    }

    /// Notes a denial.
    pub fn denial(&self, record: &mut Record, denial: &Denial) {
        record.refuse(denial.reason);
        if let Some(who) = &denial.who {
            record.caller(self.caller(who));
        }
        if let Some(operation) = denial.operation.and_then(|id| self.operations.get(usize::from(id.0))) {
            record.operation(Arc::clone(operation));
        }
        self.why(record, denial);
    }

    fn why(&self, record: &mut Record, denial: &Denial) {
        record.needed(denial.needed.iter().cloned());
        if let Some(rule) = &denial.rule {
            record.decided_by(DecidedBy { file: Arc::clone(&rule.file), line: rule.line });
        }
        let container = denial.container.as_ref();
        record.containers(container.map(|(kind, id)| ContainerShown {
            kind: Arc::clone(kind),
            id: id.clone(),
            name: None,
        }));
    }

    fn caller(&self, who: &Who) -> CallerShown {
        CallerShown {
            app: who.app.as_ref().map(|app| Arc::clone(&app.name)),
            tenant: Some(Arc::clone(&who.tenant)),
            tenant_name: who.tenant_name.clone(),
            actor: Some(who.actor.as_str()),
            user: who.user.clone(),
            kind: who.kind.and_then(|kind| self.kinds.get(usize::from(kind.0))).cloned(),
        }
    }

    /// What the app is told.
    pub fn refusal(&self, denial: &Denial, decision: &str) -> Refusal {
        let who = denial.who.as_ref();
        let kind = who.and_then(|who| who.kind).and_then(|kind| self.kinds.get(usize::from(kind.0)));
        let text = |name: &Arc<str>| name.to_string();
        Refusal {
            why: denial.why,
            family: match kind.is_some_and(|kind| **kind == *CONNECT) {
                true => CredentialFamily::Connect,
                false => CredentialFamily::OAuth,
            },
            app: who.and_then(|who| who.app.as_ref()).map(|app| text(&app.name)),
            tenant: who.map(|who| Named { id: text(&who.tenant), name: who.tenant_name.as_ref().map(text) }),
            operation: denial.operation.and_then(|id| self.operations.get(usize::from(id.0))).map(text),
            container: denial.container.as_ref().map(|(kind, name)| Container { kind: text(kind), name: name.clone() }),
            needed: denial.needed.iter().map(text).collect(),
            held: denial.held.iter().map(text).collect(),
            contact: who.and_then(|who| who.app.as_ref()).map(|app| text(&app.contact)),
            ..Refusal::new(denial.reason, decision)
        }
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
