//! The decision rule: whether one caller may do one operation on what it touches, by one policy.
//!
//! `judge` is the fast path and knows only yes or no; a refusal is then looked at again, slowly, for its reason.
//! A request passes if (a) in a vocabulary that its credential can use one line left is held whole, the same line
//! in every container touched, and (b) in no vocabulary that has a line left does every line contain a revoked scope.

mod reason;
mod shadow;
mod standing;

use std::path::Path;
use std::sync::Arc;

use super::catalog::extras::ExtraMask;
use super::catalog::{
    Catalog, Line, Needs, Operation, OperationId, VariantMask, VocabularyId, VocabularyLines, VocabularySet,
};
use super::pins::Pins;
use super::policy::Policy;
use super::policy::app::{App, LinkedPart, ProductId};
use super::policy::area::{Area, AreaContext, Met};
use super::policy::condition::CallerFacts;
use super::policy::link::LinkedGuardrail;
use super::policy::part::{Grant, Part, Revocation, Takes};
use super::reason::Reason;
use super::scope::{ScopeId, ScopeSet};
use super::touch::{ContainerName, ContainerRef, Reach, Touched};

pub use shadow::{Document, shadowing, would_permit};
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
    pub pins: &'q Pins,
    /// What the answer needs on top of what the operation does: part of every line, as the operation's own guards are.
    pub answer_guard: Option<ScopeId>,
    /// The gate takes names for what they are written as: what does not match is another container.
    pub names_as_written: bool,
}

/// Which rules count besides the enforced ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'m> {
    Enforced,
    /// Shadow revocations take.
    WithShadowRevocations,
    /// Those of this one document do.
    WithShadowOf(Document<'m>),
    /// Shadow grants give.
    WithShadowGrants,
    /// As if one more grant gave every scope and guard, `in: all`, to every actor and user (`observe`).
    WithEverythingGranted,
    /// The same, and the shadow revocations of this one document take.
    WithEverythingGrantedAndShadowOf(Document<'m>),
}

impl Mode<'_> {
    #[inline(always)]
    fn counts(self, revocation: &Revocation, part: &Part) -> bool {
        !revocation.shadow
            || match self {
                Self::Enforced | Self::WithShadowGrants | Self::WithEverythingGranted => false,
                Self::WithShadowRevocations => true,
                Self::WithShadowOf(document) | Self::WithEverythingGrantedAndShadowOf(document) => document.is(part),
            }
    }
}

/// Why a request is refused, for the log and for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
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

/// Whether the request passes by the enforced rules: all that is asked about nearly every request. As a part of its
/// caller it needs half the instructions, so it and what it calls are never calls, though they are long.
#[inline(always)]
pub fn passes_enforced(question: &Question<'_>) -> bool {
    judged(question, Mode::Enforced)
}

/// Whether the request passes by the rules of this mode.
pub fn passes(question: &Question<'_>, mode: Mode<'_>) -> bool {
    judged(question, mode)
}

#[inline(always)]
fn judged(question: &Question<'_>, mode: Mode<'_>) -> bool {
    let Some(operation) = question.operation() else { return false };
    match &operation.needs {
        Needs::Unknown => false,
        Needs::None { .. } => {
            let mut needed = question.all_scopes(operation);
            needed.insert(question.catalog.gate_call);
            let mut taken = Taken::NOTHING;
            question.gather(&needed, mode, &mut taken);
            question.has_all_held(operation, &[question.catalog.gate_call], &taken, mode)
        }
        Needs::Lines(_) => {
            let mut taken = Taken::NOTHING;
            match (question.answer_guard, question.touched.extras) {
                (_, extras) if extras.is_unknown() => return false,
                (None, ExtraMask::NONE) => question.gather(&operation.all_scopes, mode, &mut taken),
                _ => question.gather(&question.all_scopes(operation), mode, &mut taken),
            }
            match operation.variants {
                VariantMask::ALL => question.passes_as(operation, VariantMask::ALL, &taken, mode),
                _ => every_variant(question, operation, &taken, mode),
            }
        }
    }
}

/// Whether it passes in each variant that the request may be. No value that the fact could have leaves nothing to judge
/// by: refused.
#[inline(never)]
fn every_variant(question: &Question<'_>, operation: &Operation, taken: &Taken, mode: Mode<'_>) -> bool {
    let variants = question.touched.variants;
    variants != VariantMask::NONE && variants.each().all(|variant| question.passes_as(operation, variant, taken, mode))
}

/// Why the request does not pass; `None` where it does.
pub fn refusal(question: &Question<'_>, mode: Mode<'_>) -> Option<Refused> {
    (!passes(question, mode)).then(|| reason::find(question, mode))
}

/// Whether a request that is refused passes where it is observed: as if one more grant gave every scope and guard. What no
/// catalog states reaches the whole tenant with every scope: any revocation takes some of it.
pub fn passes_observed(question: &Question<'_>) -> bool {
    if question.is_stated() {
        return passes(question, Mode::WithEverythingGranted);
    }
    // Where only what its arguments ask for is not stated, the credential must be able to use the rest.
    let is_usable = match question.operation().map(|operation| &operation.needs) {
        None | Some(Needs::Unknown) => true,
        Some(Needs::None { .. } | Needs::Lines(_)) => {
            let limits = question.touched.limits.clone();
            let touched = Touched { reach: Reach::Tenant, extras: ExtraMask::NONE, limits, ..*question.touched };
            passes(&Question { touched: &touched, ..*question }, Mode::WithEverythingGranted)
        }
    };
    is_usable && !any_revocation_reaches(question)
}

/// Whether any enforced revocation reaches the caller, whatever it takes and wherever.
fn any_revocation_reaches(question: &Question<'_>) -> bool {
    question.rules().any(|rules| {
        let revocations = rules.linked.part.revocations.iter().filter(|revocation| !revocation.shadow);
        revocations.into_iter().any(|revocation| rules.terms_met(revocation, question))
    })
}

/// Whether any enforced revocation that reaches the caller is limited to containers.
pub fn any_limited_revocation(question: &Question<'_>) -> bool {
    question.rules().any(|rules| {
        let part = &rules.linked.part;
        let limited = |revocation: &Revocation| part.area(revocation.area).is_some_and(|area| !area.is_all());
        part.revocations.iter().any(|one| !one.shadow && limited(one) && rules.terms_met(one, question))
    })
}

/// The scopes that the caller holds anywhere in its tenant, by enforced rules: what a refusal shows as held.
pub fn held_scopes(question: &Question<'_>) -> ScopeSet {
    let mut held = ScopeSet::EMPTY;
    for rules in question.granting() {
        let part = &rules.linked.part;
        for grant in part.grants.iter().filter(|grant| !grant.shadow && grant.operations.is_none()) {
            let live = part.condition(grant.condition).is_some_and(|it| {
                it.grants_for(&question.caller, &rules.linked.groups, &question.touched.limits).is_ok()
            });
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
    /// Whether there is anything in `scopes`: mostly there is not, and they are a cache line to look through.
    some: bool,
    scopes: ScopeSet,
}

impl Taken {
    pub const NOTHING: Self = Self { everything: false, some: false, scopes: ScopeSet::EMPTY };

    #[inline]
    pub fn takes(&self, scope: ScopeId) -> bool {
        self.everything || self.some && self.scopes.contains(scope)
    }

    /// Whether it takes any of these.
    #[inline]
    fn takes_any(&self, scopes: &ScopeSet) -> bool {
        self.everything || self.some && self.scopes.intersects(scopes)
    }

    fn by(&mut self, revocation: &Revocation, part: &Part) {
        match revocation.takes {
            Takes::Everything => self.everything = true,
            Takes::Scopes(set) => match part.scope_set(set) {
                Some(set) => {
                    self.scopes.union_with(set);
                    self.some = true;
                }
                None => self.everything = true,
            },
        }
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
            && part.area(revocation.area).is_none_or(|area| question.is_reached(area, context))
    }

    /// Whether a grant's terms are met, and its operations speak of ours.
    #[inline(always)]
    fn grant_live(&self, grant: &Grant, question: &Question<'_>) -> bool {
        let condition = self.linked.part.condition(grant.condition);
        self.linked.part.speaks_of(grant.operations, question.operation)
            && condition.is_some_and(|condition| {
                condition.grants_for(&question.caller, &self.linked.groups, &question.touched.limits).is_ok()
            })
    }

    fn reference(&self, kind: RuleKind, line: u32) -> Option<RuleRef> {
        let kind = self.guardrail.map_or(kind, |guardrail| RuleKind::Guardrail(Arc::clone(&guardrail.name)));
        self.linked.part.file.clone().map(|file| RuleRef { kind, file, line })
    }
}

impl<'q> Question<'q> {
    #[inline]
    pub fn operation(&self) -> Option<&'q Operation> {
        self.catalog.operations.get(usize::from(self.operation.0))
    }

    /// The operation's guards, and what the answer needs.
    #[inline]
    fn guards<'s>(&'s self, operation: &'s Operation) -> impl Iterator<Item = &'s ScopeId> + Clone {
        operation.guards.iter().chain(&self.answer_guard)
    }

    /// Whether what it needs is stated: of the operation, and of what its arguments ask for.
    pub fn is_stated(&self) -> bool {
        let stated = self.operation().is_some_and(|operation| !matches!(operation.needs, Needs::Unknown));
        stated && !self.touched.extras.is_unknown()
    }

    /// What the arguments ask for in one vocabulary, on top of each of its lines.
    #[inline]
    fn extra_scopes<'s>(
        &self,
        operation: &'s Operation,
        vocabulary: VocabularyId,
    ) -> impl Iterator<Item = ScopeId> + Clone + use<'s> {
        operation.extra_scopes(self.touched.extras, vocabulary)
    }

    /// Every scope in any line, the guards, and what arguments may ask for.
    fn all_scopes(&self, operation: &Operation) -> ScopeSet {
        let mut all = operation.any_scopes();
        self.answer_guard.into_iter().for_each(|guard| all.insert(guard));
        all
    }

    fn area_context(&self, linked: &'q LinkedPart) -> AreaContext<'q> {
        AreaContext { catalog: self.catalog, tenant: self.caller.tenant, sets: &linked.sets, pins: self.pins }
    }

    /// Whether a revocation in this area reaches the request, or may.
    fn is_reached(&self, area: &Area, context: AreaContext<'_>) -> bool {
        match (area.reaches(&self.touched.reach, context), &self.touched.reach) {
            (Met::No, _) => false,
            (Met::Yes, _) | (Met::CannotTell, Reach::Nothing | Reach::Tenant) => true,
            (Met::CannotTell, Reach::Containers(containers)) => {
                containers.as_slice().iter().any(|container| self.may_lie_in(container, area, context))
            }
        }
    }

    /// Whether a container may be one that a revocation in this area takes. A word of a query is taken for what the app's
    /// own grants write that way: there somebody said that a container has this key.
    fn may_lie_in(&self, container: &ContainerRef<'_>, area: &Area, context: AreaContext<'_>) -> bool {
        match (area.revokes(container, context), &container.name) {
            (Met::No, _) => false,
            (Met::CannotTell, ContainerName::Word(_)) if self.is_granted_by_name(container) => {
                area.revokes(&container.as_written(), context) != Met::No
            }
            (Met::Yes | Met::CannotTell, _) => true,
        }
    }

    /// Whether a grant that holds for this request names the container.
    fn is_granted_by_name(&self, container: &ContainerRef<'_>) -> bool {
        self.granting().any(|rules| {
            let context = self.area_context(rules.linked);
            let part = &rules.linked.part;
            let named = |grant: &Grant| {
                let area = part.area(grant.area).filter(|area| !area.is_all());
                area.is_some_and(|area| area.grants(container, context) == Met::Yes)
            };
            part.grants.iter().any(|grant| !grant.shadow && rules.grant_live(grant, self) && named(grant))
        })
    }

    /// The parts that can give: the app's own.
    fn granting(&self) -> impl Iterator<Item = Rules<'q>> {
        let own = self.app.map_or(&[][..], |(_, app)| &app.parts[..]);
        own.iter().map(|linked| Rules { linked, guardrail: None })
    }

    /// Every part that can take: the app's own, then the guardrails that reach it.
    fn rules(&self) -> impl Iterator<Item = Rules<'q>> {
        self.granting().chain(self.guardrails())
    }

    /// The guardrails that reach the app.
    #[inline]
    fn guardrails(&self) -> impl Iterator<Item = Rules<'q>> {
        let app = self.app.map(|(index, _)| index);
        let guardrails = self.policy.product(self.product).map_or(&[][..], |product| &product.guardrails[..]);
        let reached = guardrails.iter().filter(move |guardrail| guardrail.apps.reaches(app));
        reached.map(|guardrail| Rules { linked: &guardrail.linked, guardrail: Some(guardrail) })
    }

    /// Rules (a) and (b), for one value of the variant fact.
    #[inline(always)]
    fn passes_as(&self, operation: &Operation, variant: VariantMask, taken: &Taken, mode: Mode<'_>) -> bool {
        !self.revoked_in_a_vocabulary(operation, variant, taken) && self.line_held(operation, variant, taken, mode)
    }

    /// What the revocations that reach this request take from it.
    fn taken(&self, mode: Mode<'_>) -> Taken {
        let mut taken = Taken::NOTHING;
        self.gather(&ScopeSet::ALL, mode, &mut taken);
        taken
    }

    /// The same as far as these scopes go: a revocation that takes none of them is not looked at any further.
    #[inline(always)]
    fn gather(&self, needed: &ScopeSet, mode: Mode<'_>, taken: &mut Taken) {
        for rules in self.granting() {
            self.take(&rules, needed, mode, taken);
        }
        for rules in self.guardrails() {
            self.take(&rules, needed, mode, taken);
        }
    }

    #[inline(always)]
    fn take(&self, rules: &Rules<'_>, needed: &ScopeSet, mode: Mode<'_>, taken: &mut Taken) {
        let part = &rules.linked.part;
        for revocation in &part.revocations {
            if mode.counts(revocation, part)
                && !taken.everything
                && part.takes_any(revocation, needed)
                && rules.hits(revocation, self)
            {
                taken.by(revocation, part);
            }
        }
    }

    /// Rule (b): some vocabulary has lines left, and each contains a revoked scope.
    #[inline(always)]
    fn revoked_in_a_vocabulary(&self, operation: &Operation, variant: VariantMask, taken: &Taken) -> bool {
        let Needs::Lines(vocabularies) = &operation.needs else { return true };
        let answer_guard_taken = self.answer_guard.is_some_and(|guard| taken.takes(guard));
        let extra_taken = || !self.touched.extras.is_none() && taken.takes_any(&operation.extra_scopes);
        (answer_guard_taken || taken.takes_any(&operation.all_scopes) || extra_taken())
            && self.takes_each_line(vocabularies, operation, variant, taken)
    }

    fn takes_each_line(
        &self,
        vocabularies: &[VocabularyLines],
        operation: &Operation,
        variant: VariantMask,
        taken: &Taken,
    ) -> bool {
        let guard_taken = self.guards(operation).any(|guard| taken.takes(*guard));
        vocabularies.iter().any(|vocabulary| {
            let mut lines = left(&vocabulary.lines, variant).peekable();
            let on_top = || self.extra_scopes(operation, vocabulary.vocabulary).any(|scope| taken.takes(scope));
            let each_taken = guard_taken || !self.touched.extras.is_none() && on_top();
            lines.peek().is_some()
                && lines.all(|line| each_taken || line.scopes.iter().any(|scope| taken.takes(*scope)))
        })
    }

    /// Rule (a): a line left, in a vocabulary that the credential can use, is held whole in every container touched.
    #[inline(always)]
    fn line_held(&self, operation: &Operation, variant: VariantMask, taken: &Taken, mode: Mode<'_>) -> bool {
        let Needs::Lines(vocabularies) = &operation.needs else { return false };
        for vocabulary in vocabularies {
            if !self.vocabularies.contains(vocabulary.vocabulary) {
                continue;
            }
            if !self.touched.extras.is_none() && !self.extras_held(operation, vocabulary.vocabulary, taken, mode) {
                continue;
            }
            for line in &vocabulary.lines {
                if line.when.intersects(variant) && self.has_all_held(operation, &line.scopes, taken, mode) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether what the arguments ask for on top of a vocabulary's lines is held, none of it taken.
    #[inline(never)]
    fn extras_held(&self, operation: &Operation, vocabulary: VocabularyId, taken: &Taken, mode: Mode<'_>) -> bool {
        self.extra_scopes(operation, vocabulary).all(|scope| self.all_held(&[scope], taken, mode))
    }

    /// Whether a line and the operation's guards are held, none of them taken.
    #[inline(always)]
    fn has_all_held(&self, operation: &Operation, line: &[ScopeId], taken: &Taken, mode: Mode<'_>) -> bool {
        self.all_held(line, taken, mode)
            && (operation.guards.is_empty() || self.all_held(&operation.guards, taken, mode))
            && self.answer_guard.is_none_or(|guard| self.all_held(&[guard], taken, mode))
    }

    #[inline(always)]
    fn all_held(&self, scopes: &[ScopeId], taken: &Taken, mode: Mode<'_>) -> bool {
        for scope in scopes {
            if taken.takes(*scope) || !self.held(*scope, mode) {
                return false;
            }
        }
        true
    }

    /// Whether a scope is granted in everything that is touched.
    #[inline(always)]
    fn held(&self, scope: ScopeId, mode: Mode<'_>) -> bool {
        match (&self.touched.reach, mode) {
            (_, Mode::WithEverythingGranted | Mode::WithEverythingGrantedAndShadowOf(_)) => true,
            (Reach::Nothing | Reach::Tenant, _) => self.held_in(scope, None, mode),
            (Reach::Containers(containers), _) => {
                for container in containers.as_slice() {
                    if !self.held_in(scope, Some(container), mode) {
                        return false;
                    }
                }
                true
            }
        }
    }

    #[inline(always)]
    fn held_in(&self, scope: ScopeId, container: Option<&ContainerRef<'_>>, mode: Mode<'_>) -> bool {
        for rules in self.granting() {
            let given = match scope == self.catalog.gate_call {
                true => self.may_call_in(&rules, container, mode),
                false => self.given_in(&rules, scope, container, mode),
            };
            if given {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn given_in(
        &self,
        rules: &Rules<'q>,
        scope: ScopeId,
        container: Option<&ContainerRef<'_>>,
        mode: Mode<'_>,
    ) -> bool {
        let part = &rules.linked.part;
        let gives = |grant: &Grant| rules.grant_live(grant, self) && self.in_area(rules, grant, container);
        for grant in part.giving(scope) {
            if gives(grant) {
                return true;
            }
        }
        if part.giving_broadly(scope).any(gives) {
            return true;
        }
        mode == Mode::WithShadowGrants && part.has_shadow && {
            let shadow = part.grants.iter().filter(|grant| grant.shadow);
            let mut giving = shadow.filter(|grant| part.scope_set(grant.scopes).is_some_and(|set| set.contains(scope)));
            giving.any(gives)
        }
    }

    /// `gate:call` is held wherever, as whom and as long as any live grant holds, whatever its operations.
    fn may_call_in(&self, rules: &Rules<'q>, container: Option<&ContainerRef<'_>>, mode: Mode<'_>) -> bool {
        let grants = rules.linked.part.grants.iter();
        grants.filter(|grant| !grant.shadow || mode == Mode::WithShadowGrants).any(|grant| {
            let free = Grant { operations: None, ..*grant };
            rules.grant_live(&free, self) && self.in_area(rules, grant, container)
        })
    }

    /// Whether a grant holds where the request reaches.
    #[inline(always)]
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
