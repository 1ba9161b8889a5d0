//! How one scope stands with a caller where a request reaches, and which rule says so. Off the fast path.

use super::{Mode, Question, RuleKind, RuleRef};
use crate::authz::policy::part::{Grant, Revocation, Takes};
use crate::authz::scope::ScopeId;
use crate::authz::touch::Reach;

/// How one scope stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Granted in everything touched; of several grants the first.
    Held(Option<RuleRef>),
    Missing,
    /// Taken in something touched; of several revocations the first.
    Revoked(Option<RuleRef>),
}

/// How a scope stands with the caller, by enforced rules.
pub fn standing(question: &Question<'_>, scope: ScopeId) -> Standing {
    if let Some(rule) = taker(question, scope) {
        return Standing::Revoked(rule);
    }
    if question.held(scope, Mode::Enforced) { Standing::Held(giver(question, scope)) } else { Standing::Missing }
}

fn taker(question: &Question<'_>, scope: ScopeId) -> Option<Option<RuleRef>> {
    question.rules().find_map(|rules| {
        let part = &rules.linked.part;
        let takes = |revocation: &&Revocation| {
            let named = match revocation.takes {
                Takes::Everything => true,
                Takes::Scopes(set) => part.scope_set(set).is_none_or(|set| set.contains(scope)),
            };
            named && !revocation.shadow && rules.hits(revocation, question)
        };
        let revocation = part.revocations.iter().find(takes)?;
        Some(rules.reference(RuleKind::Revocation, revocation.line))
    })
}

fn giver(question: &Question<'_>, scope: ScopeId) -> Option<RuleRef> {
    let container = match &question.touched.reach {
        Reach::Containers(containers) => containers.as_slice().first(),
        Reach::Nothing | Reach::Tenant => None,
    };
    let call = scope == question.catalog.gate_call;
    question.granting().find_map(|rules| {
        let part = &rules.linked.part;
        let gives = |grant: &&Grant| {
            let named = call || part.scope_set(grant.scopes).is_some_and(|set| set.contains(scope));
            let free = if call { Grant { operations: None, ..**grant } } else { **grant };
            named && !grant.shadow && rules.grant_live(&free, question) && question.in_area(&rules, grant, container)
        };
        let grant = part.grants.iter().find(gives)?;
        rules.reference(RuleKind::Grant, grant.line)
    })
}
