//! Whether one policy permits anything that another refuses, cell by cell and without trying a request.
//!
//! Deciding is monotone: a request passes because scopes are held, and fails because scopes are taken. So a policy widens
//! another only where it holds more (a grant that no old grant covers), takes less (a revocation that no new one covers),
//! knows more callers, observes longer, lifts longer, or suspends less. Each of these is looked for, and what cannot be
//! shown to be covered counts as wider: the answer errs to the safe side.

mod callers;
mod guardrails;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::atoms::{Atoms, Cover, Key, Load, Spot, atoms, starts_no_later, windows};
use super::words::{moment, sentences};
use super::{Cell, Effect, Named, Place, Right, Terms, limit_words};
use crate::authz::catalog::{Catalog, OperationId};
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::compile::{Catalogs, Product};
use crate::authz::scope::ScopeSet;
use callers::{Caller, callers};
use guardrails::{Guardrail, Taking};

/// What one policy permits, or may permit, that another does not.
#[derive(Debug, Clone, Default)]
pub struct Widening {
    /// What is granted and was not.
    pub given: Vec<Cell>,
    /// What was taken and is not. With the rest of what must be known to take it again.
    pub freed: Vec<Freed>,
    /// What is not said by rules: callers, suspensions, `observe`, install windows.
    pub facts: Vec<Fact>,
}

/// A revocation that no longer takes what it took.
#[derive(Debug, Clone)]
pub struct Freed {
    pub cell: Cell,
    /// An app's name; `None`: the apps of a product that nobody described yet, too.
    pub app: Option<Arc<str>>,
    pub product: Arc<str>,
    /// Ids of users, where only these are meant.
    pub users: Option<Vec<String>>,
    pub pipelines: Option<Vec<String>>,
}

/// Something that is true of an installation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    pub kind: FactKind,
    pub app: Arc<str>,
    pub tenant: Arc<str>,
    pub words: String,
}

/// What sort of fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactKind {
    Caller,
    Suspension,
    Observe,
    InstallWindow,
}

impl Widening {
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.freed.is_empty() && self.facts.is_empty()
    }

    /// In sentences. `narrows`: this is what the newer of two policies no longer permits.
    pub fn words(&self, narrows: bool) -> Vec<String> {
        let (gives, frees) = if narrows { ("loses", "is kept from") } else { ("gains", "is no longer kept from") };
        let guardrail = if narrows { "takes" } else { "no longer takes" };
        let mut lines = sentences(self.given.iter(), |_| gives);
        let own = |freed: &&Freed| freed.cell.reaches.is_none();
        let (own, over): (Vec<&Freed>, Vec<&Freed>) = self.freed.iter().partition(own);
        lines.extend(sentences(own.iter().map(|freed| &freed.cell), |_| frees));
        lines.extend(sentences(over.iter().map(|freed| &freed.cell), |_| guardrail));
        lines.extend(self.facts.iter().map(|fact| fact.sentence(narrows)));
        lines
    }
}

impl Fact {
    fn sentence(&self, narrows: bool) -> String {
        let Self { kind, app, tenant, words } = self;
        match (kind, narrows) {
            (FactKind::Caller, false) => format!("{app} in {tenant} is called by one more credential: {words}"),
            (FactKind::Caller, true) => format!("{app} in {tenant} is called by one credential less: {words}"),
            (FactKind::Suspension, false) => format!("{app} in {tenant} is no longer suspended"),
            (FactKind::Suspension, true) => format!("{app} in {tenant} is suspended"),
            (FactKind::Observe, false) => format!("{app} in {tenant} is under observe {words}"),
            (FactKind::Observe, true) => format!("{app} in {tenant} is no longer under observe {words}"),
            (FactKind::InstallWindow, false) => format!("{app} in {tenant} has its install window open {words}"),
            (FactKind::InstallWindow, true) => {
                format!("{app} in {tenant} no longer has its install window open {words}")
            }
        }
    }
}

/// What `after` permits beyond `before`. Rules that ended by `now_ms` count as not there.
pub fn widening(before: &Policy, after: &Policy, catalogs: &Catalogs, now_ms: i64) -> Widening {
    let mut found = Widening::default();
    for product in catalogs.iter() {
        let sides = Sides { before, after, product, now_ms };
        let taking = Taking::of(&sides);
        for app in after.apps.iter().filter(|app| app.product == product.id) {
            sides.app(app, &taking, &mut found);
        }
        taking.strangers(&sides, &mut found);
        sides.callers(&mut found);
    }
    found.given.sort();
    found.facts.sort();
    found.facts.dedup();
    found
}

struct Sides<'p> {
    before: &'p Policy,
    after: &'p Policy,
    product: &'p Product,
    now_ms: i64,
}

impl<'p> Sides<'p> {
    fn catalog(&self) -> &'p Catalog {
        &self.product.catalog
    }

    fn app(&self, app: &Arc<App>, taking: &Taking<'_>, found: &mut Widening) {
        let old = self.before.app(&app.name).map(|(_, app)| app);
        for installation in &app.installations {
            let tenant = &installation.tenant;
            let old = old.and_then(|old| {
                let own = old.installations.iter().find(|one| one.tenant == *tenant)?;
                Some((old, own))
            });
            let of = |app: &App, effect| {
                let parts = app.parts.iter();
                parts.map(|part| atoms(self.catalog(), part, tenant, effect, self.now_ms)).collect::<Vec<Atoms>>()
            };
            let (gives, gave) =
                (of(app, Effect::Gives), old.map(|(old, _)| of(old, Effect::Gives)).unwrap_or_default());
            let cover = Cover::new(&gave);
            let same_start = old.is_some_and(|(_, own)| starts_no_later(installation, own, self.now_ms));
            for (key, load) in joined(&gives) {
                let left = cover.left(&key, &load, same_start);
                found.given.extend(self.cells(
                    &app.name,
                    None,
                    Some(self.named(installation)),
                    Effect::Gives,
                    &key,
                    &left,
                ));
            }
            let Some((old, own)) = old else { continue };
            self.facts(app, own, installation, found);
            self.freed(app, old, (own, installation), &of(app, Effect::Takes), &of(old, Effect::Takes), taking, found);
        }
    }

    /// What the app's own revocations, and the guardrails over it, took and take no more.
    #[expect(clippy::too_many_arguments, reason = "two states of one app, and where to say what differs")]
    fn freed(
        &self,
        app: &Arc<App>,
        old: &App,
        (was, is): (&Installation, &Installation),
        takes: &[Atoms],
        took: &[Atoms],
        taking: &Taking<'_>,
        found: &mut Widening,
    ) {
        let tenant = &is.tenant;
        let indices =
            (self.before.app(&old.name).map(|(index, _)| index), self.after.app(&app.name).map(|(index, _)| index));
        // A revocation counts for as long as it did where its own span ends no earlier; a start that is not known never ends it.
        let same_start = is.installed_at_ms.is_none() && is.windows.is_empty()
            || starts_no_later(was, is, self.now_ms) && (was.installed_at_ms.is_some() || !was.windows.is_empty());
        let over = taking.after.iter().filter(|one| one.guardrail.apps.reaches(indices.1));
        let over: Vec<&Atoms> = over.filter_map(|one| one.by_tenant.get(&**tenant)).collect();
        let cover = Cover::new(takes.iter().chain(over));
        let mut tell = |key: &Key, load: &Load, guardrail: Option<&Guardrail<'_>>| {
            let left = cover.left(key, load, same_start);
            let (subject, reaches) = match guardrail {
                None => (Arc::clone(&app.name), None),
                Some(one) => (format!("guardrail {}", one.guardrail.name).into(), Some(Arc::clone(&app.name))),
            };
            let cells = self.cells(&subject, reaches, Some(self.named(is)), Effect::Takes, key, &left);
            found.freed.extend(cells.map(|cell| self.freed_cell(cell, Some(&app.name), key)));
        };
        for (key, load) in joined(took) {
            tell(&key, &load, None);
        }
        let reached = taking.before.iter().filter(|one| one.guardrail.apps.reaches(indices.0));
        for guardrail in reached.filter(|one| !taking.stands(one, tenant, same_start)) {
            for (key, load) in guardrail.by_tenant.get(&**tenant).into_iter().flatten() {
                tell(key, load, Some(guardrail));
            }
        }
    }

    fn freed_cell(&self, cell: Cell, app: Option<&Arc<str>>, key: &Key) -> Freed {
        let texts = |all: &BTreeSet<Box<str>>| all.iter().map(|one| one.to_string()).collect();
        Freed {
            cell,
            app: app.map(Arc::clone),
            product: Arc::clone(&self.catalog().product),
            users: key.bounds.users.as_ref().map(texts),
            pipelines: key.bounds.pipelines.as_ref().map(texts),
        }
    }

    fn facts(&self, app: &App, was: &Installation, is: &Installation, found: &mut Widening) {
        let mut say = |kind, words: String| {
            let (app, tenant) = (Arc::clone(&app.name), Arc::clone(&is.tenant));
            found.facts.push(Fact { kind, app, tenant, words });
        };
        if was.suspended.is_some() && is.suspended.is_none() {
            say(FactKind::Suspension, String::new());
        }
        let observed = |one: &Installation| one.observe_until_ms.filter(|until| *until > self.now_ms);
        if let Some(until) = observed(is).filter(|until| observed(was).is_none_or(|old| old < *until)) {
            say(FactKind::Observe, format!("until {}", moment(until)));
        }
        let old = windows(was, self.now_ms);
        let within = |(from, until): &(i64, i64)| old.iter().any(|(start, end)| start <= from && until <= end);
        for (from, until) in windows(is, self.now_ms).into_iter().filter(|span| !within(span)) {
            say(FactKind::InstallWindow, format!("from {} until {}", moment(from), moment(until)));
        }
    }

    /// Credentials that are known now, or stand for something else than before.
    fn callers(&self, found: &mut Widening) {
        let before: BTreeSet<Caller> = callers(self.before, self.product).map(|(caller, _)| caller).collect();
        let fresh = callers(self.after, self.product).filter(|(caller, _)| !before.contains(caller));
        found.facts.extend(fresh.map(|(caller, words)| Fact {
            kind: FactKind::Caller,
            app: caller.app,
            tenant: caller.tenant,
            words,
        }));
        // An installation that is new may be under `observe` at once.
        let apps = self.after.apps.iter().filter(|app| app.product == self.product.id);
        for (app, one) in apps.flat_map(|app| app.installations.iter().map(move |one| (app, one))) {
            let old = self.before.app(&app.name).map(|(_, old)| old);
            let known = old.is_some_and(|old| old.installations.iter().any(|other| other.tenant == one.tenant));
            if let Some(until) = one.observe_until_ms.filter(|until| !known && *until > self.now_ms) {
                let (app, tenant) = (Arc::clone(&app.name), Arc::clone(&one.tenant));
                found.facts.push(Fact {
                    kind: FactKind::Observe,
                    app,
                    tenant,
                    words: format!("until {}", moment(until)),
                });
            }
        }
    }

    fn named(&self, installation: &Installation) -> Named {
        Named { id: Arc::clone(&installation.tenant), name: installation.tenant_name.clone() }
    }

    /// What is left of an atom, in the words of cells.
    fn cells<'a>(
        &'a self,
        subject: &Arc<str>,
        reaches: Option<Arc<str>>,
        tenant: Option<Named>,
        effect: Effect,
        key: &'a Key,
        left: &Load,
    ) -> impl Iterator<Item = Cell> + use<'a, 'p> {
        let place = match &key.spot {
            Spot::Everywhere => Place::Everywhere,
            Spot::In(kind, _, text) => {
                let kind = self.catalog().containers.get(usize::from(kind.0)).map_or("", |kind| &*kind.name);
                let of = tenant.as_ref().map_or("", |tenant| &*tenant.id);
                let name = self.after.name_of(&self.catalog().product, of, text);
                let name = name.or_else(|| self.before.name_of(&self.catalog().product, of, text)).cloned();
                Place::Container { kind: kind.into(), container: Named { id: (**text).into(), name } }
            }
        };
        let base = Cell {
            subject: Arc::clone(subject),
            reaches,
            tenant,
            effect,
            place,
            actor: key.actor,
            terms: terms(self.catalog(), key),
            right: Right::Everything,
        };
        let rights = if left.is_empty() { Vec::new() } else { rights(self.catalog(), key.operation, left) };
        rights.into_iter().map(move |right| Cell { right, ..base.clone() })
    }
}

/// The atoms of several parts as one.
fn joined(parts: &[Atoms]) -> Atoms {
    let mut all = Atoms::new();
    for (key, load) in parts.iter().flatten() {
        let own = all.entry(key.clone()).or_default();
        own.scopes.union_with(&load.scopes);
        own.everything |= load.everything;
    }
    all
}

fn terms(catalog: &Catalog, key: &Key) -> Terms {
    let list = |all: &BTreeSet<Box<str>>| all.iter().map(|one| &**one).collect::<Vec<_>>().join(", ");
    Terms {
        users: key.bounds.users.as_ref().map(list),
        pipelines: key.bounds.pipelines.as_ref().map(list),
        from_ms: key.bounds.from_ms,
        until_ms: key.bounds.until_ms,
        after_install_ms: key.bounds.after_install_ms,
        unless_install_window: key.bounds.unless_install_window,
        limits: limit_words(catalog, &key.bounds.limits),
    }
}

fn rights(catalog: &Catalog, operation: Option<OperationId>, left: &Load) -> Vec<Right> {
    let operation = operation.and_then(|id| catalog.operations.get(usize::from(id.0)));
    let id = |operation: &crate::authz::catalog::Operation| operation.id.to_string();
    match (left.everything, operation) {
        (true, None) => return vec![Right::Everything],
        (true, Some(operation)) => return vec![Right::Operation(id(operation))],
        (false, _) => {}
    }
    // Every grant gives `gate:call`: said only where nothing else is.
    let mut others: Vec<_> = left.scopes.iter().filter(|scope| *scope != catalog.gate_call).collect();
    if others.is_empty() {
        others.extend(left.scopes.iter());
    }
    let set: ScopeSet = others.iter().copied().collect();
    let names = others.iter().map(|scope| catalog.scope_name(*scope).to_owned());
    match operation {
        None if set == catalog.vendor_scopes => vec![Right::AllScopes],
        None => names.map(Right::Scope).collect(),
        Some(operation) => {
            let lines: ScopeSet = operation.all_scopes.iter().filter(|one| !operation.guards.contains(one)).collect();
            if lines.is_subset(&left.scopes) {
                return vec![Right::Operation(id(operation))];
            }
            let needed = operation.any_scopes();
            let own = others.iter().filter(|scope| needed.contains(**scope));
            let own: Vec<_> = own.map(|scope| catalog.scope_name(*scope).to_owned()).collect();
            own.into_iter().map(|scope| Right::ScopeIn { operation: id(operation), scope }).collect()
        }
    }
}
