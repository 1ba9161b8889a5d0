//! Which cells change from one snapshot to the next, in sentences.
//!
//! What counts is what both states of a snapshot permit (law 7): a cell is given where both give it, and taken where
//! either takes it.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::words::{moment, sentences};
use super::{Cell, Effect, Named, Place, Right, app_cells, guardrail_cells};
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation, LinkedPart};
use crate::authz::policy::area::ContainerSet;
use crate::authz::policy::compile::Catalogs;
use crate::authz::snapshot::States;

/// An app with more cells than this is not compared cell by cell.
const CELLS_MAX: usize = 20_000;

/// What changed, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub lines: Vec<String>,
    /// So many apps and products changed besides, without a sentence.
    pub more: usize,
}

/// The changes from one snapshot to another, in at least `lines_max` sentences if there are as many. Compares only
/// what is not shared by both.
pub fn between(old: Option<&States>, new: Option<&States>, catalogs: &Catalogs, lines_max: usize) -> Changes {
    let (old, new) = (Side::of(old, catalogs), Side::of(new, catalogs));
    let mut changes = Changes::default();
    let mut names = BTreeSet::new();
    let mut same = SameSets::default();
    for (before, after) in [(old.newest, new.newest), (old.whole, new.whole)] {
        changed_apps(before, after, &mut same, &mut names);
    }
    for name in names {
        if changes.lines.len() >= lines_max {
            changes.more += 1;
            continue;
        }
        changes.lines.extend(app_changes(&old, &new, name));
    }
    for product in catalogs.iter() {
        let cells = |side: &Side<'_>| {
            let states = side.states().flat_map(|policy| guardrail_cells(policy, product));
            states.filter(|said| !said.shadow).take(CELLS_MAX).map(|said| said.cell).collect::<BTreeSet<Cell>>()
        };
        let (before, after) = (cells(&old), cells(&new));
        if changes.lines.len() >= lines_max && before != after {
            changes.more += 1;
            continue;
        }
        changes.lines.extend(sentences(after.difference(&before), |_| "takes"));
        changes.lines.extend(sentences(before.difference(&after), |_| "no longer takes"));
    }
    changes
}

/// The names of the apps in which two states differ. Apps are sorted by name.
fn changed_apps<'s>(
    before: Option<&'s Arc<Policy>>,
    after: Option<&'s Arc<Policy>>,
    same: &mut SameSets,
    names: &mut BTreeSet<&'s str>,
) {
    if let (Some(before), Some(after)) = (before, after)
        && Arc::ptr_eq(before, after)
    {
        return;
    }
    let apps = |policy: Option<&'s Arc<Policy>>| policy.map_or(&[][..], |policy| &policy.apps[..]);
    let (mut before, mut after) = (apps(before).iter().peekable(), apps(after).iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.name.cmp(&other.name),
        };
        let one = if order.is_le() { before.next() } else { None };
        let other = if order.is_ge() { after.next() } else { None };
        let unchanged = matches!((one, other), (Some(one), Some(other)) if same.apps(one, other));
        if !unchanged {
            names.extend(one.or(other).map(|app| &*app.name));
        }
    }
}

/// One of the two snapshots compared.
#[derive(Clone, Copy)]
struct Side<'s> {
    newest: Option<&'s Arc<Policy>>,
    whole: Option<&'s Arc<Policy>>,
    catalogs: &'s Catalogs,
}

impl<'s> Side<'s> {
    fn of(states: Option<&'s States>, catalogs: &'s Catalogs) -> Self {
        let newest = states.map(|states| &states.newest);
        Self { newest, whole: states.and_then(|states| states.whole.as_ref()).or(newest), catalogs }
    }

    /// Each state once.
    fn states(&self) -> impl Iterator<Item = &'s Arc<Policy>> + use<'s> {
        let other = self.whole.filter(|whole| !self.newest.is_some_and(|newest| Arc::ptr_eq(newest, whole)));
        self.newest.into_iter().chain(other)
    }

    /// What an app is given and what is taken from it, as both states together say.
    fn cells(&self, name: &str) -> AppCells {
        let mut cells: Option<AppCells> = None;
        for policy in self.states() {
            let mut own = AppCells::default();
            if let Some((_, app)) = policy.app(name) {
                own.facts = app.installations.iter().flat_map(facts).collect();
                for said in app_cells(policy, self.catalogs, app).filter(|said| !said.shadow).take(CELLS_MAX + 1) {
                    match said.cell.effect {
                        Effect::Gives => own.gives.insert(said.cell),
                        Effect::Takes => own.takes.insert(said.cell),
                    };
                }
            }
            cells = Some(match cells {
                None => own,
                Some(newest) => AppCells {
                    gives: newest.gives.intersection(&own.gives).cloned().collect(),
                    takes: newest.takes.union(&own.takes).cloned().collect(),
                    facts: newest.facts,
                },
            });
        }
        cells.unwrap_or_default()
    }
}

#[derive(Default)]
struct AppCells {
    gives: BTreeSet<Cell>,
    takes: BTreeSet<Cell>,
    /// What is said of its installations besides rules.
    facts: BTreeSet<Fact>,
}

fn app_changes(old: &Side<'_>, new: &Side<'_>, name: &str) -> Vec<String> {
    let (before, after) = (old.cells(name), new.cells(name));
    if [&before, &after].iter().any(|cells| cells.gives.len() + cells.takes.len() > CELLS_MAX) {
        return vec![format!("{name} changes in more than {CELLS_MAX} cells")];
    }
    let covered = |cell: &&Cell, by: &BTreeSet<Cell>| {
        cell.place != Place::Everywhere && by.contains(&Cell { place: Place::Everywhere, ..(*cell).clone() })
    };
    let held = |cells: &'_ BTreeSet<Cell>| {
        let rights: BTreeSet<(Option<Named>, Right)> =
            cells.iter().map(|cell| (cell.tenant.clone(), cell.right.clone())).collect();
        move |cell: &Cell| match cell.right {
            Right::Everything | Right::AllScopes => rights.iter().any(|(tenant, _)| *tenant == cell.tenant),
            Right::Scope(_) | Right::Operation(_) | Right::ScopeIn { .. } => {
                let has = |right: Right| rights.contains(&(cell.tenant.clone(), right));
                has(cell.right.clone()) || has(Right::AllScopes)
            }
        }
    };
    let (held_before, held_after) = (held(&before.gives), held(&after.gives));
    let mut lines = Vec::new();
    let lost = before.gives.difference(&after.gives).filter(|cell| !covered(cell, &after.gives));
    lines.extend(sentences(lost, |_| "loses"));
    let taken = after.takes.difference(&before.takes).filter(|cell| !covered(cell, &before.takes));
    lines.extend(sentences(taken, |cell| if held_before(cell) { "loses" } else { "is kept from" }));
    let gained = after.gives.difference(&before.gives).filter(|cell| !covered(cell, &before.gives));
    lines.extend(sentences(gained, |_| "gains"));
    let given_back = before.takes.difference(&after.takes).filter(|cell| !covered(cell, &after.takes));
    lines.extend(sentences(given_back, |cell| if held_after(cell) { "gains" } else { "is no longer kept from" }));
    let said =
        |word: &'static str| move |(what, tenant, details): &Fact| format!("{name} {word}{what} {tenant}{details}");
    lines.extend(after.facts.difference(&before.facts).map(said("")));
    lines.extend(before.facts.difference(&after.facts).map(said("no longer ")));
    lines
}

/// Something true of an installation: `is suspended in`, the tenant, and details.
type Fact = (&'static str, Named, String);

fn facts(installation: &Installation) -> Vec<Fact> {
    let tenant = || Named { id: Arc::clone(&installation.tenant), name: installation.tenant_name.clone() };
    let mut facts = vec![("is installed in", tenant(), String::new())];
    facts.extend(installation.suspended.as_ref().map(|_| ("is suspended in", tenant(), String::new())));
    let until = installation.observe_until_ms.map(|until| format!(" until {}", moment(until)));
    facts.extend(until.map(|until| ("is under observe in", tenant(), until)));
    let windows = installation.windows.iter();
    let windows = windows.map(|(from, until)| format!(" from {} until {}", moment(*from), moment(*until)));
    facts.extend(windows.map(|span| ("has its install window open in", tenant(), span)));
    facts
}

/// Sets are made anew by each link; two are compared once, however many parts share them.
#[derive(Default)]
struct SameSets(HashMap<(usize, usize), bool>);

impl SameSets {
    fn apps(&mut self, before: &Arc<App>, after: &Arc<App>) -> bool {
        let installations = || before.installations.iter().zip(&after.installations);
        Arc::ptr_eq(before, after)
            || before.parts.len() == after.parts.len()
                && before.parts.iter().zip(&after.parts).all(|(one, other)| self.parts(one, other))
                && before.installations.len() == after.installations.len()
                && installations().all(|(one, other)| same_installation(one, other))
    }

    fn parts(&mut self, before: &LinkedPart, after: &LinkedPart) -> bool {
        let flat = |linked: &LinkedPart| linked.sets.iter().map(|sets| sets.len()).sum::<usize>();
        Arc::ptr_eq(&before.part, &after.part)
            && before.groups.iter().flatten().map(Arc::as_ptr).eq(after.groups.iter().flatten().map(Arc::as_ptr))
            && flat(before) == flat(after)
            && before.sets.iter().flatten().zip(after.sets.iter().flatten()).all(|(one, other)| self.sets(one, other))
    }

    fn sets(&mut self, before: &Arc<ContainerSet>, after: &Arc<ContainerSet>) -> bool {
        let key = (Arc::as_ptr(before).addr(), Arc::as_ptr(after).addr());
        *self.0.entry(key).or_insert_with(|| Arc::ptr_eq(before, after) || before == after)
    }
}

fn same_installation(before: &Installation, after: &Installation) -> bool {
    before.tenant == after.tenant
        && before.suspended.is_some() == after.suspended.is_some()
        && before.windows == after.windows
        && before.observe_until_ms == after.observe_until_ms
}
