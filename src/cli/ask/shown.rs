//! What a caller is taken to show: the credential that the question means. It never guesses.

use super::{Actor, Question};
use crate::authz::catalog::{ActorRule, CredentialKindId};
use crate::authz::gate::GateRules;
use crate::authz::policy::Policy;
use crate::authz::policy::app::App;
use crate::authz::policy::link::ProductPolicy;
use crate::cli::Failure;

/// The installation that is asked about.
pub(super) struct Found<'p> {
    index: u32,
    number: u16,
    app: &'p App,
    product: Option<&'p ProductPolicy>,
}

pub(super) fn found<'p>(policy: &'p Policy, question: &Question) -> Option<Found<'p>> {
    let (index, app) = policy.app(&question.app)?;
    let number = app.installations.iter().position(|one| *one.tenant == *question.tenant)?;
    Some(Found { index, number: u16::try_from(number).ok()?, app, product: policy.product(app.product) })
}

/// What a caller is taken to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown<'p> {
    pub kind: CredentialKindId,
    pub user: Option<&'p str>,
}

impl<'p> Found<'p> {
    /// What the credentials of the installation show, each sort once.
    fn credentials(&self) -> Vec<Shown<'p>> {
        let known = self.product.into_iter().flat_map(|product| product.credentials.all());
        let own = known.filter(|one| one.app == self.index && one.installation == self.number);
        let mut shown: Vec<Shown<'p>> = own.map(|one| Shown { kind: one.kind, user: one.user.as_deref() }).collect();
        shown.sort_unstable();
        shown.dedup();
        shown
    }
}

/// What the caller shows: the one credential of the installation that fits the question, else a credential of the one
/// kind that could fit. It never guesses.
pub(super) fn shown<'p>(gate: &GateRules, found: &Found<'p>, question: &'p Question) -> Result<Shown<'p>, Failure> {
    let catalog = &gate.catalog;
    let written = question.kind.as_deref().map(|kind| known_kind(gate, kind)).transpose()?;
    let of_kind = |kind: CredentialKindId| written.is_none_or(|written| written == kind);
    let own: Vec<Shown<'p>> = found.credentials().into_iter().filter(|one| of_kind(one.kind)).collect();
    let exact: Vec<Shown<'p>> = own
        .iter()
        .copied()
        .filter(|one| {
            let user = question.user.as_deref();
            fits(gate, one.kind, question.actor, one.user) && (user.is_none() || user == one.user)
        })
        .collect();
    match &exact[..] {
        [one] => return Ok(*one),
        [] => {}
        several => return Err(several_fit(gate, found, question, several)),
    }
    let user = question.user.as_deref();
    let mut kinds: Vec<CredentialKindId> = own.iter().map(|one| one.kind).collect();
    if own.is_empty() {
        kinds = (0..=u8::MAX).zip(&catalog.kinds).map(|(number, _)| CredentialKindId(number)).collect();
    }
    kinds.dedup();
    kinds.retain(|kind| of_kind(*kind) && fits(gate, *kind, question.actor, user));
    match &kinds[..] {
        [kind, rest @ ..] if own.is_empty() || rest.is_empty() => Ok(Shown { kind: *kind, user }),
        [] => Err(Failure::Usage(misfit(question))),
        several => {
            let several: Vec<Shown<'_>> = several.iter().map(|kind| Shown { kind: *kind, user }).collect();
            Err(several_fit(gate, found, question, &several))
        }
    }
}

fn known_kind(gate: &GateRules, written: &str) -> Result<CredentialKindId, Failure> {
    let catalog = &gate.catalog;
    catalog.kind(written).ok_or_else(|| {
        let known = catalog.kinds.iter().map(|kind| &*kind.name).collect::<Vec<_>>().join(", ");
        Failure::Usage(format!("{} has no credential of the kind `{written}`, but: {known}", catalog.product))
    })
}

fn several_fit(gate: &GateRules, found: &Found<'_>, question: &Question, several: &[Shown<'_>]) -> Failure {
    let with = |name, value| question.words.with(name, value);
    let words = several.iter().map(|shown| {
        let kind = gate.catalog.kinds.get(usize::from(shown.kind.0)).map_or("?", |kind| &*kind.name);
        let kind = with("kind", kind);
        shown.user.map_or_else(|| kind.clone(), |user| format!("{kind} {}", with("user", user)))
    });
    let words = words.collect::<Vec<_>>().join(", or ");
    Failure::Usage(format!("{} has several credentials there; say {words}", found.app.name))
}

/// Whether a credential of this kind, with or without a user, stands for the actor that is asked about.
fn fits(gate: &GateRules, kind: CredentialKindId, actor: Option<Actor>, user: Option<&str>) -> bool {
    let Some(kind) = gate.catalog.kinds.get(usize::from(kind.0)) else { return false };
    match (kind.actor, actor) {
        (ActorRule::App, Some(Actor::User)) | (ActorRule::User, Some(Actor::App)) => false,
        (ActorRule::App, _) => user.is_none(),
        (ActorRule::User, _) | (ActorRule::Evidence, None) => true,
        // Whether it stands for a user is told by the user alone.
        (ActorRule::Evidence, Some(Actor::User)) => user.is_some(),
        (ActorRule::Evidence, Some(Actor::App)) => user.is_none(),
    }
}

fn misfit(question: &Question) -> String {
    let kind = question.kind.as_ref().map_or_else(String::new, |kind| format!(" of the kind {kind}"));
    let none = format!("no credential{kind} of {} in {}", question.app, question.tenant);
    match (question.actor, &question.user) {
        (Some(Actor::User), None) => {
            format!("{none} is known to act as a user; name the user with {}", question.words.place("user"))
        }
        (Some(Actor::User), Some(_)) | (None, Some(_)) => format!("{none} can act as a user"),
        (Some(Actor::App), Some(_)) => format!("{none} acts as the app while it names a user"),
        (Some(Actor::App), None) | (None, None) => format!("{none} can act as the app"),
    }
}
