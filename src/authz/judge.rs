//! The decision rule: whether one caller may do one operation on what it touches, by one policy.
//!
//! `judge` is the fast path and knows only yes or no; a refusal is then looked at again, slowly, for its reason.
//! A request passes if (a) in a vocabulary that its credential can use one line left is held whole, the same line
//! in every container touched, and (b) in no vocabulary that has a line left does every line contain a revoked scope.

mod reason;
mod standing;

use std::path::Path;
use std::sync::Arc;

use super::catalog::{Catalog, Line, Needs, Operation, OperationId, VariantMask, VocabularySet};
use super::policy::Policy;
use super::policy::app::{App, LinkedPart, ProductId};
use super::policy::area::{AreaContext, Met};
use super::policy::condition::CallerFacts;
use super::policy::link::LinkedGuardrail;
use super::policy::part::{Grant, Revocation, Takes};
use super::reason::Reason;
use super::scope::{ScopeId, ScopeSet};
use super::touch::{ContainerRef, Reach, Touched};

pub use standing::{Standing, standing};

/// Everything that one judgement is made of.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    pub catalog: &'q Catalog,
    pub policy: &'q Policy,
    pub product: ProductId,
    /// Index and app; `None` for a credential that no policy ever named.
    pub app: Option<(u32, &'q App)>,
    pub caller: CallerFacts<'q>,
    /// What the credential can use.
    pub vocabularies: VocabularySet,
    pub operation: OperationId,
    pub touched: &'q Touched<'q>,
    /// The gate takes names for what they are written as: what does not match is another container.
    pub names_as_written: bool,
}

/// Which rules count besides the enforced ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Enforced,
    /// Shadow revocations take.
    WithShadowRevocations,
    /// Shadow grants give.
    WithShadowGrants,
    /// As if one more grant gave every scope and guard, `in: all`, to every actor and user (`observe`).
    WithEverythingGranted,
}

/// Why a request is refused, for the log and for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    /// Refused merely for want of a grant: what `observe` lets pass.
    pub for_want_of_grant: bool,
    pub rule: Option<RuleRef>,
    /// Scopes that are missing or taken.
    pub needed: Vec<ScopeId>,
    /// Which of the touched containers it is about.
    pub container: Option<usize>,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    pub kind: RuleKind,
    pub file: Arc<Path>,
    pub line: u32,
}

/// What sort of rule decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    Grant,
    Revocation,
    Guardrail(Arc<str>),
    Installation,
    Suspension,
}

/// Whether the request passes by the rules of this mode.
pub fn passes(question: &Question<'_>, mode: Mode) -> bool {
    let Some(operation) = question.operation() else { return false };
    match &operation.needs {
        Needs::Unknown => false,
        Needs::None { .. } => {
            let mut needed = operation.all_scopes;
            needed.insert(question.catalog.gate_call);
            let taken = question.taken_of(&needed, mode);
            question.has_all_held(operation, &[question.catalog.gate_call], &taken, mode)
        }
        Needs::Lines(_) => {
            let taken = question.taken_of(&operation.all_scopes, mode);
            every_variant(operation, question.touched, |variant| {
                !question.revoked_in_a_vocabulary(operation, variant, &taken)
                    && question.line_held(operation, variant, &taken, mode)
            })
        }
    }
}

/// Whether it holds in each variant that the request may be. No value that the fact could have leaves nothing to judge
/// by: refused.
fn every_variant(operation: &Operation, touched: &Touched<'_>, holds: impl Fn(VariantMask) -> bool) -> bool {
    match operation.variants {
        VariantMask::ALL => holds(VariantMask::ALL),
        _ => touched.variants != VariantMask::NONE && touched.variants.each().all(holds),
    }
}

/// Why the request does not pass; `None` where it does.
pub fn refusal(question: &Question<'_>, mode: Mode) -> Option<Refused> {
    (!passes(question, mode)).then(|| reason::find(question, mode))
}

/// Whether any enforced revocation reaches the caller, whatever it takes and wherever.
pub fn any_revocation_reaches(question: &Question<'_>) -> bool {
    question.rules().any(|rules| {
        let revocations = rules.linked.part.revocations.iter().filter(|revocation| !revocation.shadow);
        revocations.into_iter().any(|revocation| rules.terms_met(revocation, question))
    })
}

/// The scopes that the caller holds anywhere in its tenant, by enforced rules: what a refusal shows as held.
pub fn held_scopes(question: &Question<'_>) -> ScopeSet {
    let mut held = ScopeSet::EMPTY;
    for rules in question.granting() {
        let part = &rules.linked.part;
        for grant in part.grants.iter().filter(|grant| !grant.shadow && grant.operations.is_none()) {
            let live = part
                .condition(grant.condition)
                .is_some_and(|it| it.grants(&question.caller, &rules.linked.groups).is_ok());
            if let Some(scopes) = part.scope_set(grant.scopes).filter(|_| live) {
                held.union_with(scopes);
            }
        }
    }
    let taken = question.taken(Mode::Enforced);
    held.iter().filter(|scope| !taken.takes(*scope)).collect()
}

/// The values of the variant fact to try, each on its own. An operation without conditional lines has one trial.
fn variants(operation: &Operation, touched: &Touched<'_>) -> impl Iterator<Item = VariantMask> {
    let conditional = operation.variants != VariantMask::ALL;
    let whole = (!conditional).then_some(VariantMask::ALL);
    let each = conditional.then(|| touched.variants.each());
    whole.into_iter().chain(each.into_iter().flatten())
}

/// The lines that count for a variant.
fn left(lines: &[Line], variant: VariantMask) -> impl Iterator<Item = &Line> {
    lines.iter().filter(move |line| line.when.intersects(variant))
}

/// What the revocations that reach a request take.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    everything: bool,
    scopes: ScopeSet,
}

impl Taken {
    pub const NOTHING: Self = Self { everything: false, scopes: ScopeSet::EMPTY };

    #[inline]
    pub fn takes(&self, scope: ScopeId) -> bool {
        self.everything || self.scopes.contains(scope)
    }
}

/// One linked part and where it comes from.
#[derive(Clone, Copy)]
struct Rules<'q> {
    linked: &'q LinkedPart,
    guardrail: Option<&'q LinkedGuardrail>,
}

impl<'q> Rules<'q> {
    /// Whether a revocation's terms are met: for whom, when, in which tenant.
    fn terms_met(&self, revocation: &Revocation, question: &Question<'_>) -> bool {
        let condition = self.linked.part.condition(revocation.condition);
        condition.is_none_or(|condition| condition.revokes(&question.caller, &self.linked.groups))
    }

    /// Whether a revocation reaches the request at all.
    fn hits(&self, revocation: &Revocation, question: &Question<'_>) -> bool {
        let part = &self.linked.part;
        let context = question.area_context(self.linked);
        part.speaks_of(revocation.operations, question.operation)
            && self.terms_met(revocation, question)
            && part.area(revocation.area).is_none_or(|area| area.reaches(&question.touched.reach, context) != Met::No)
    }

    /// Whether a grant's terms are met, and its operations speak of ours.
    fn grant_live(&self, grant: &Grant, question: &Question<'_>) -> bool {
        let condition = self.linked.part.condition(grant.condition);
        self.linked.part.speaks_of(grant.operations, question.operation)
            && condition.is_some_and(|condition| condition.grants(&question.caller, &self.linked.groups).is_ok())
    }

    fn reference(&self, kind: RuleKind, line: u32) -> Option<RuleRef> {
        let kind = self.guardrail.map_or(kind, |guardrail| RuleKind::Guardrail(Arc::clone(&guardrail.name)));
        self.linked.part.file.clone().map(|file| RuleRef { kind, file, line })
    }
}

impl<'q> Question<'q> {
    pub fn operation(&self) -> Option<&'q Operation> {
        self.catalog.operations.get(usize::from(self.operation.0))
    }

    fn area_context(&self, linked: &'q LinkedPart) -> AreaContext<'q> {
        AreaContext { catalog: self.catalog, tenant: self.caller.tenant, sets: &linked.sets }
    }

    /// The parts that can give: the app's own.
    fn granting(&self) -> impl Iterator<Item = Rules<'q>> {
        let own = self.app.map_or(&[][..], |(_, app)| &app.parts[..]);
        own.iter().map(|linked| Rules { linked, guardrail: None })
    }

    /// Every part that can take: the app's own, then the guardrails that reach it.
    fn rules(&self) -> impl Iterator<Item = Rules<'q>> {
        let app = self.app.map(|(index, _)| index);
        let guardrails = self.policy.product(self.product).map_or(&[][..], |product| &product.guardrails[..]);
        let reached = guardrails.iter().filter(move |guardrail| guardrail.apps.reaches(app));
        self.granting().chain(reached.map(|guardrail| Rules { linked: &guardrail.linked, guardrail: Some(guardrail) }))
    }

    /// What the revocations that reach this request take from it.
    fn taken(&self, mode: Mode) -> Taken {
        self.taken_of(&ScopeSet::ALL, mode)
    }

    /// The same as far as these scopes go: a revocation that takes none of them is not looked at any further.
    fn taken_of(&self, needed: &ScopeSet, mode: Mode) -> Taken {
        let mut taken = Taken::NOTHING;
        self.rules().for_each(|rules| {
            let part = &rules.linked.part;
            for revocation in &part.revocations {
                let counts = !revocation.shadow || mode == Mode::WithShadowRevocations;
                if !counts || taken.everything || !part.takes_any(revocation, needed) || !rules.hits(revocation, self) {
                    continue;
                }
                match revocation.takes {
                    Takes::Everything => taken.everything = true,
                    Takes::Scopes(set) => match part.scope_set(set) {
                        Some(set) => taken.scopes.union_with(set),
                        None => taken.everything = true,
                    },
                }
            }
        });
        taken
    }

    /// Rule (b): some vocabulary has lines left, and each contains a revoked scope.
    fn revoked_in_a_vocabulary(&self, operation: &Operation, variant: VariantMask, taken: &Taken) -> bool {
        let Needs::Lines(vocabularies) = &operation.needs else { return true };
        if !taken.everything && !taken.scopes.intersects(&operation.all_scopes) {
            return false;
        }
        let guard_taken = operation.guards.iter().any(|guard| taken.takes(*guard));
        vocabularies.iter().any(|vocabulary| {
            let mut lines = left(&vocabulary.lines, variant).peekable();
            lines.peek().is_some()
                && lines.all(|line| guard_taken || line.scopes.iter().any(|scope| taken.takes(*scope)))
        })
    }

    /// Rule (a): a line left, in a vocabulary that the credential can use, is held whole in every container touched.
    fn line_held(&self, operation: &Operation, variant: VariantMask, taken: &Taken, mode: Mode) -> bool {
        let Needs::Lines(vocabularies) = &operation.needs else { return false };
        let mut usable = vocabularies.iter().filter(|vocabulary| self.vocabularies.contains(vocabulary.vocabulary));
        usable.any(|vocabulary| {
            left(&vocabulary.lines, variant).any(|line| self.has_all_held(operation, &line.scopes, taken, mode))
        })
    }

    /// Whether a line and the operation's guards are held, none of them taken.
    fn has_all_held(&self, operation: &Operation, line: &[ScopeId], taken: &Taken, mode: Mode) -> bool {
        let held = |scope: &ScopeId| !taken.takes(*scope) && self.held(*scope, mode);
        line.iter().all(held) && operation.guards.iter().all(held)
    }

    /// Whether a scope is granted in everything that is touched.
    fn held(&self, scope: ScopeId, mode: Mode) -> bool {
        match (&self.touched.reach, mode) {
            (_, Mode::WithEverythingGranted) => true,
            (Reach::Nothing | Reach::Tenant, _) => self.held_in(scope, None, mode),
            (Reach::Containers(containers), _) => {
                containers.as_slice().iter().all(|container| self.held_in(scope, Some(container), mode))
            }
        }
    }

    fn held_in(&self, scope: ScopeId, container: Option<&ContainerRef<'_>>, mode: Mode) -> bool {
        self.granting().any(|rules| {
            let part = &rules.linked.part;
            if scope == self.catalog.gate_call {
                // Held wherever, as whom and as long as any live grant holds, whatever its operations.
                let mut grants = part.grants.iter().filter(|grant| !grant.shadow || mode == Mode::WithShadowGrants);
                return grants.any(|grant| {
                    let free = Grant { operations: None, ..*grant };
                    rules.grant_live(&free, self) && self.in_area(&rules, grant, container)
                });
            }
            let gives = |grant: &&Grant| rules.grant_live(grant, self) && self.in_area(&rules, grant, container);
            part.giving(scope).any(|grant| gives(&grant))
                || (mode == Mode::WithShadowGrants && part.has_shadow && {
                    let shadow = part.grants.iter().filter(|grant| grant.shadow);
                    let giving =
                        shadow.filter(|grant| part.scope_set(grant.scopes).is_some_and(|set| set.contains(scope)));
                    giving.into_iter().any(|grant| gives(&grant))
                })
        })
    }

    /// Whether a grant holds where the request reaches.
    fn in_area(&self, rules: &Rules<'q>, grant: &Grant, container: Option<&ContainerRef<'_>>) -> bool {
        let Some(area) = rules.linked.part.area(grant.area) else { return false };
        let context = self.area_context(rules.linked);
        match (&self.touched.reach, container) {
            (Reach::Nothing, _) => area.anywhere(context),
            (Reach::Containers(_), Some(container)) => area.grants(container, context) == Met::Yes,
            (Reach::Tenant, _) | (Reach::Containers(_), None) => area.is_all(),
        }
    }
}
