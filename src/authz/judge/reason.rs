//! Why a request is refused: of several reasons the first of DESIGN §8 counts. Off the fast path.

use super::{Mode, Question, Refused, RuleKind, RuleRef, Rules, Taken, left, variants};
use crate::authz::catalog::{Line, Needs, Operation, VariantMask, VocabularyLines};
use crate::authz::policy::area::Met;
use crate::authz::policy::condition::Unmet;
use crate::authz::policy::part::{Grant, Revocation};
use crate::authz::reason::Reason;
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::authz::touch::{ContainerName, ContainerRef, Reach};

/// The reason of a request that does not pass.
pub(super) fn find(question: &Question<'_>, mode: Mode<'_>) -> Refused {
    let unknown = Refused { reason: Reason::UnknownOperation, rule: None, needed: Vec::new(), container: None };
    let Some(operation) = question.operation() else { return unknown };
    match &operation.needs {
        Needs::Unknown => unknown,
        Needs::None { .. } | Needs::Lines(_) if !question.is_stated() => unknown,
        Needs::None { .. } | Needs::Lines(_) => {
            let taken = question.taken(mode);
            by_revocation(question, operation, &taken, mode)
                .unwrap_or_else(|| by_want(question, operation, &taken, mode))
        }
    }
}

/// A revocation is the reason where rule (b) fails, or where the request would pass if nothing were revoked.
fn by_revocation(question: &Question<'_>, operation: &Operation, taken: &Taken, mode: Mode<'_>) -> Option<Refused> {
    let bearing = match &operation.needs {
        Needs::Unknown => return None,
        Needs::None { .. } => {
            let call = question.catalog.gate_call;
            let line = [call];
            let needed: ScopeSet = line.iter().chain(question.guards(operation)).copied().collect();
            let held = question.has_all_held(operation, &line, &Taken::NOTHING, mode);
            let is_taken = needed.iter().any(|scope| taken.takes(scope));
            (held || is_taken).then_some(needed)?
        }
        Needs::Lines(_) => variants(operation, question.touched)
            .find_map(|variant| bearing_scopes(question, operation, variant, taken, mode))?,
    };
    let relevant: Vec<(Rules<'_>, &Revocation)> = question
        .rules()
        .flat_map(|rules| rules.linked.part.revocations.iter().map(move |revocation| (rules, revocation)))
        .filter(|(rules, revocation)| mode.counts(revocation, &rules.linked.part))
        .filter(|(rules, revocation)| {
            rules.hits(revocation, question) && rules.linked.part.takes_any(revocation, &bearing)
        })
        .collect();
    let (reason, (rules, revocation)) = first_of(&relevant)?;
    let container = match (&question.touched.reach, reason) {
        (Reach::Containers(list), Reason::ContainerRevoked) => list.as_slice().iter().position(|container| {
            let context = question.area_context(rules.linked);
            let area = rules.linked.part.area(revocation.area);
            area.is_some_and(|area| question.may_lie_in(container, area, context))
        }),
        _ => None,
    };
    Some(Refused {
        reason,
        rule: rules.reference(RuleKind::Revocation, revocation.line),
        needed: bearing.iter().filter(|scope| taken.takes(*scope)).collect(),
        container,
    })
}

/// The scopes whose loss refuses this variant: of each vocabulary that has no line left untouched, else of the lines
/// that would be held if nothing were revoked. `None` where no revocation is to blame.
fn bearing_scopes(
    question: &Question<'_>,
    operation: &Operation,
    variant: VariantMask,
    taken: &Taken,
    mode: Mode<'_>,
) -> Option<ScopeSet> {
    let Needs::Lines(vocabularies) = &operation.needs else { return None };
    let is_taken = |line: &Vec<ScopeId>| line.iter().any(|scope| taken.takes(*scope));
    let scopes_of = |lines: Vec<Vec<ScopeId>>| -> ScopeSet {
        lines.into_iter().flatten().chain(question.guards(operation).copied()).collect()
    };
    let closed = vocabularies.iter().map(|vocabulary| whole_lines(question, operation, vocabulary, variant));
    let guard_taken = question.guards(operation).any(|guard| taken.takes(*guard));
    let closed: Vec<Vec<ScopeId>> =
        closed.filter(|lines| !lines.is_empty() && (guard_taken || lines.iter().all(is_taken))).flatten().collect();
    if !closed.is_empty() {
        return Some(scopes_of(closed));
    }
    if question.line_held(operation, variant, taken, mode) {
        return None;
    }
    let usable = vocabularies.iter().filter(|one| question.vocabularies.contains(one.vocabulary));
    let lost = usable
        .flat_map(|vocabulary| whole_lines(question, operation, vocabulary, variant))
        .filter(|line| question.has_all_held(operation, line, &Taken::NOTHING, mode));
    let lost: Vec<Vec<ScopeId>> = lost.collect();
    (!lost.is_empty()).then(|| scopes_of(lost))
}

/// The lines of a vocabulary that count for a variant, each with what the arguments ask for on top of it.
fn whole_lines(
    question: &Question<'_>,
    operation: &Operation,
    vocabulary: &VocabularyLines,
    variant: VariantMask,
) -> Vec<Vec<ScopeId>> {
    let on_top = question.extra_scopes(operation, vocabulary.vocabulary);
    let whole = |line: &Line| {
        let mut scopes = line.scopes.to_vec();
        on_top.clone().for_each(|scope| {
            if !scopes.contains(&scope) {
                scopes.push(scope)
            }
        });
        scopes
    };
    left(&vocabulary.lines, variant).map(whole).collect()
}

/// A closed install window is the reason only where opening it would lift them all.
fn first_of<'r, 'q>(relevant: &'r [(Rules<'q>, &'q Revocation)]) -> Option<(Reason, &'r (Rules<'q>, &'q Revocation))> {
    let windowed = |(rules, revocation): &&(Rules<'_>, &Revocation)| {
        rules.linked.part.condition(revocation.condition).is_some_and(|condition| condition.unless_install_window)
    };
    let limited = |(rules, revocation): &&(Rules<'_>, &Revocation)| {
        rules.linked.part.area(revocation.area).is_some_and(|area| !area.is_all())
    };
    if relevant.iter().all(|one| windowed(&one)) {
        return relevant.first().map(|one| (Reason::InstallWindowClosed, one));
    }
    let operation = relevant.iter().find(|(_, revocation)| revocation.operations.is_some());
    let container = || relevant.iter().find(limited);
    let scope = || relevant.iter().find(|one| !windowed(one));
    operation
        .map(|one| (Reason::OperationNotAllowed, one))
        .or_else(|| container().map(|one| (Reason::ContainerRevoked, one)))
        .or_else(|| scope().map(|one| (Reason::ScopeRevoked, one)))
}

/// How far the best grant of a scope got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Want {
    /// In the order of DESIGN §8.
    stage: u8,
    reason: Reason,
    rule: Option<RuleRef>,
    container: Option<usize>,
}

/// Nothing is revoked; something is not granted. The line of which most is granted says what.
fn by_want(question: &Question<'_>, operation: &Operation, taken: &Taken, mode: Mode<'_>) -> Refused {
    let lines: Vec<Vec<ScopeId>> = match &operation.needs {
        Needs::Unknown => Vec::new(),
        Needs::None { .. } => vec![vec![question.catalog.gate_call]],
        Needs::Lines(_) => wanted_lines(question, operation, taken, mode),
    };
    let mut best: Option<(usize, usize, &[ScopeId])> = None;
    for line in &lines {
        let all = line.iter().chain(question.guards(operation));
        let held = all.clone().filter(|scope| question.held(**scope, mode)).count();
        let count = all.count();
        // Shares compared without division; the first of equals stays.
        if best.is_none_or(|(best_held, best_count, _)| held * best_count > best_held * count) {
            best = Some((held, count, line.as_slice()));
        }
    }
    let line = best.map_or(&[][..], |(_, _, line)| line);
    let missing: Vec<ScopeId> =
        line.iter().chain(question.guards(operation)).copied().filter(|scope| !question.held(*scope, mode)).collect();
    let first = missing.iter().map(|scope| want(question, *scope)).min_by_key(|want| want.stage);
    let first = first.unwrap_or(Want { stage: 0, reason: Reason::MissingScope, rule: None, container: None });
    let needed = match missing.is_empty() {
        true => line.to_vec(),
        false => missing.into_iter().filter(|scope| want(question, *scope).stage == first.stage).collect(),
    };
    Refused { reason: first.reason, rule: first.rule, needed, container: first.container }
}

/// The lines of the first variant that fails; where the credential can use none, those it would need another for.
fn wanted_lines(question: &Question<'_>, operation: &Operation, taken: &Taken, mode: Mode<'_>) -> Vec<Vec<ScopeId>> {
    let Needs::Lines(vocabularies) = &operation.needs else { return Vec::new() };
    let failing = variants(operation, question.touched)
        .find(|variant| !question.line_held(operation, *variant, taken, mode))
        .unwrap_or(VariantMask::ALL);
    let of = |usable: bool| -> Vec<Vec<ScopeId>> {
        let chosen = vocabularies.iter().filter(|one| !usable || question.vocabularies.contains(one.vocabulary));
        chosen.flat_map(|vocabulary| whole_lines(question, operation, vocabulary, failing)).collect()
    };
    let usable = of(true);
    if usable.is_empty() { of(false) } else { usable }
}

/// How far the best grant of this scope gets, and what stops it.
fn want(question: &Question<'_>, scope: ScopeId) -> Want {
    let none = Want { stage: 0, reason: Reason::MissingScope, rule: None, container: None };
    let grants = question.granting().flat_map(|rules| {
        let part = &rules.linked.part;
        let call = scope == question.catalog.gate_call;
        let gives = move |grant: &&Grant| {
            let named = part.scope_set(grant.scopes).is_some_and(|set| set.contains(scope));
            !grant.shadow && (call || (named && part.speaks_of(grant.operations, question.operation)))
        };
        part.grants.iter().filter(gives).map(move |grant| (rules, grant))
    });
    grants
        .map(|(rules, grant)| stage(question, &rules, grant))
        .fold(none, |best, next| if next.stage > best.stage { next } else { best })
}

fn stage(question: &Question<'_>, rules: &Rules<'_>, grant: &Grant) -> Want {
    let rule = rules.reference(RuleKind::Grant, grant.line);
    let want = |stage, reason, container| Want { stage, reason, rule: rule.clone(), container };
    let terms = rules.linked.part.condition(grant.condition);
    let told = &question.touched.limits;
    match terms.map_or(Err(Unmet::Tenant), |terms| terms.grants_for(&question.caller, &rules.linked.groups, told)) {
        Err(Unmet::Tenant) => Want { rule: None, ..want(0, Reason::MissingScope, None) },
        Err(Unmet::NotYetValid) => want(1, Reason::NotYetValid, None),
        Err(Unmet::Expired) => want(1, Reason::Expired, None),
        Err(Unmet::Actor) => want(2, Reason::ActorNotAllowed, None),
        Err(Unmet::User) => want(3, Reason::UserNotAllowed, None),
        Err(Unmet::Pipeline) => want(4, Reason::PipelineNotAllowed, None),
        Err(Unmet::Argument) => want(5, Reason::ArgumentNotAllowed, None),
        Ok(()) => {
            let (stage, reason, container) = where_it_stops(question, rules, grant);
            want(stage, reason, container)
        }
    }
}

/// The terms are met: a container is what stops it.
fn where_it_stops(question: &Question<'_>, rules: &Rules<'_>, grant: &Grant) -> (u8, Reason, Option<usize>) {
    let not_granted = (8, Reason::ContainerNotGranted);
    let Reach::Containers(containers) = &question.touched.reach else { return (not_granted.0, not_granted.1, None) };
    let Some(area) = rules.linked.part.area(grant.area) else { return (not_granted.0, not_granted.1, None) };
    let context = question.area_context(rules.linked);
    let answers = containers.as_slice().iter().map(|container| area.grants(container, context));
    let answers: Vec<Met> = answers.collect();
    // An id beside a name is no match that anyone could find out, but to a gate that takes names as they are written.
    let told = |container: &ContainerRef<'_>| {
        let told = matches!(container.name, ContainerName::Id(_) | ContainerName::Name(_) | ContainerName::Word(_));
        told && question.names_as_written
    };
    let missing = answers.iter().position(|met| *met != Met::Yes);
    let unresolved = containers.as_slice().iter().zip(&answers);
    let unresolved = unresolved.enumerate().find(|(_, (one, met))| **met == Met::CannotTell && !told(one));
    match unresolved {
        Some((unresolved, _)) => (6, Reason::ContainerUnresolved, Some(unresolved)),
        None => (8, Reason::ContainerNotGranted, missing),
    }
}
