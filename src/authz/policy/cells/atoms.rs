//! A policy taken apart into atoms: some scopes, in one place, as one actor, on one set of terms, in one tenant. Sets and
//! groups are resolved, so that it makes no difference how a rule is written, or where.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Effect;
use crate::authz::catalog::{Catalog, KindId, OperationId};
use crate::authz::policy::app::{Installation, LinkedPart};
use crate::authz::policy::area::{Area, Form};
use crate::authz::policy::condition::{Condition, LinkedGroups, UserSelector};
use crate::authz::policy::limit::Limits;
use crate::authz::policy::part::{Part, Takes};
use crate::authz::scope::{ScopeId, ScopeSet};

/// Where an atom holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    Everywhere,
    In(KindId, Form, Box<str>),
}

/// On what terms. `None` is no limit throughout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bounds {
    pub users: Option<BTreeSet<Box<str>>>,
    pub pipelines: Option<BTreeSet<Box<str>>>,
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub after_install_ms: Option<i64>,
    pub unless_install_window: bool,
    pub limits: Limits,
}

/// What an atom is about; the rest of it is what it gives or takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub spot: Spot,
    pub actor: &'static str,
    /// `None`: whatever the operation.
    pub operation: Option<OperationId>,
    pub bounds: Bounds,
}

/// What an atom gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub scopes: ScopeSet,
    /// A revocation of `scopes: all`: more than each scope by itself.
    pub everything: bool,
}

impl Load {
    pub fn is_empty(&self) -> bool {
        !self.everything && self.scopes.is_empty()
    }

    fn add(&mut self, other: &Self) {
        self.scopes.union_with(&other.scopes);
        self.everything |= other.everything;
    }

    /// What is left of it beside another.
    fn without(&self, other: &Self) -> Self {
        if other.everything {
            return Self::default();
        }
        let left = self.scopes.iter().filter(|scope| !other.scopes.contains(*scope));
        Self { scopes: left.collect(), everything: self.everything }
    }
}

/// Atoms of one effect.
pub type Atoms = BTreeMap<Key, Load>;

/// The atoms of one part in one tenant. `tenant` is empty for one that no document names.
pub fn atoms(catalog: &Catalog, linked: &LinkedPart, tenant: &str, effect: Effect, now_ms: i64) -> Atoms {
    let mut atoms = Atoms::new();
    let part = &linked.part;
    let taker = Taker { catalog, linked, tenant, effect, now_ms };
    match effect {
        Effect::Gives => part.grants.iter().filter(|grant| !grant.shadow).for_each(|grant| {
            let scopes = part.scope_set(grant.scopes).copied().unwrap_or_default();
            let load = Load { scopes, everything: false };
            taker.add(&mut atoms, grant.condition, grant.area, operations(part, grant.operations), load);
            // Whatever its operations, a live grant gives `gate:call`.
            let call = Load { scopes: [catalog.gate_call].into_iter().collect(), everything: false };
            taker.add(&mut atoms, grant.condition, grant.area, None, call);
        }),
        Effect::Takes => part.revocations.iter().filter(|one| !one.shadow).for_each(|one| {
            let set = match one.takes {
                Takes::Everything => None,
                Takes::Scopes(set) => part.scope_set(set).copied(),
            };
            let load = Load { scopes: set.unwrap_or(ScopeSet::ALL), everything: set.is_none() };
            taker.add(&mut atoms, one.condition, one.area, operations(part, one.operations), load);
        }),
    }
    atoms
}

fn operations(part: &Part, number: Option<std::num::NonZeroU32>) -> Option<&[OperationId]> {
    let index = usize::try_from(number?.get()).ok()?.checked_sub(1)?;
    Some(part.operation_sets.get(index).map_or(&[][..], |ids| &ids[..]))
}

struct Taker<'p> {
    catalog: &'p Catalog,
    linked: &'p LinkedPart,
    tenant: &'p str,
    effect: Effect,
    now_ms: i64,
}

impl Taker<'_> {
    fn add(&self, atoms: &mut Atoms, condition: u32, area: u32, operations: Option<&[OperationId]>, load: Load) {
        let part = &self.linked.part;
        let (Some(condition), Some(area)) = (part.condition(condition), part.area(area)) else { return };
        let here = condition.tenants.as_ref().is_none_or(|named| named.iter().any(|one| **one == *self.tenant));
        // What has ended stays ended, so it is as good as not written.
        let ended = condition.until_ms.is_some_and(|until| until <= self.now_ms);
        if !here || ended {
            return;
        }
        let bounds = self.bounds(condition);
        let numbers: Vec<Option<OperationId>> =
            operations.map_or_else(|| vec![None], |ids| ids.iter().copied().map(Some).collect());
        for spot in self.spots(area) {
            for actor in condition.actors.words() {
                for operation in &numbers {
                    let key = Key { spot: spot.clone(), actor, operation: *operation, bounds: bounds.clone() };
                    atoms.entry(key).or_default().add(&load);
                }
            }
        }
    }

    fn spots(&self, area: &Area) -> Vec<Spot> {
        let Area::Kinds(kinds) = area else { return vec![Spot::Everywhere] };
        let known = |kind: KindId| self.catalog.containers.get(usize::from(kind.0)).is_some();
        let mut spots = BTreeSet::new();
        for one in kinds.iter().filter(|one| known(one.kind)) {
            let sets = one.sets.iter().filter_map(|index| self.linked.sets.get(usize::from(*index)));
            let own = sets.flat_map(|sets| sets.iter()).filter(|set| *set.tenant == *self.tenant);
            let own = own.flat_map(|set| set.kinds.iter()).filter(|(kind, _)| *kind == one.kind);
            let containers = one.named.iter().chain(own.flat_map(|(_, containers)| containers.iter()));
            spots.extend(containers.map(|it| Spot::In(one.kind, it.form, it.text.clone())));
        }
        spots.into_iter().collect()
    }

    fn bounds(&self, condition: &Condition) -> Bounds {
        Bounds {
            users: condition.users.as_ref().and_then(|users| self.users(users, &self.linked.groups)),
            pipelines: condition.pipelines.as_ref().map(|pipelines| pipelines.iter().cloned().collect()),
            from_ms: condition.from_ms.filter(|from| *from > self.now_ms),
            until_ms: condition.until_ms,
            after_install_ms: condition.after_install_ms,
            unless_install_window: condition.unless_install_window,
            limits: condition.limits.clone(),
        }
    }

    /// A group that the tenant does not have tells nothing: nobody is in it for a grant, anybody for a revocation.
    fn users(&self, users: &UserSelector, groups: &LinkedGroups) -> Option<BTreeSet<Box<str>>> {
        let mut known: BTreeSet<Box<str>> = users.ids.iter().cloned().collect();
        for reference in &users.groups {
            let groups = groups.get(usize::from(*reference)).map_or(&[][..], |groups| &groups[..]);
            match groups.iter().find(|group| *group.tenant == *self.tenant) {
                Some(group) => {
                    known.extend(group.users.iter().cloned());
                    // Whom tokens place in it nobody can list: they count as one user more.
                    known.extend(group.claimed());
                }
                None if self.effect == Effect::Takes => return None,
                None => {}
            }
        }
        Some(known)
    }
}

/// Atoms to look for cover in. Built once, asked often.
#[derive(Debug, Default)]
pub struct Cover<'a>(HashMap<(&'static str, &'a Spot), Vec<(&'a Key, &'a Load)>>);

impl<'a> Cover<'a> {
    pub fn new(atoms: impl IntoIterator<Item = &'a Atoms>) -> Self {
        let mut cover = Self::default();
        for (key, load) in atoms.into_iter().flatten() {
            cover.0.entry((key.actor, &key.spot)).or_default().push((key, load));
        }
        cover
    }

    /// What of an atom no other here says as well: wherever the atom holds, one that says the same must hold.
    /// `same_start`: a span after the install counts, for the others, from the same moment or reaches further.
    pub fn left(&self, key: &Key, load: &Load, same_start: bool) -> Load {
        let at = |spot| self.0.get(&(key.actor, spot)).map_or(&[][..], |found| &found[..]);
        let everywhere = (key.spot != Spot::Everywhere).then(|| at(&Spot::Everywhere));
        let found = everywhere.into_iter().flatten().chain(at(&key.spot));
        let fitting: Vec<_> = found
            .filter(|(other, _)| other.operation.is_none() || other.operation == key.operation)
            .filter(|(other, _)| holds_within(&key.bounds, &other.bounds, same_start))
            .collect();
        let mut left = *load;
        for (other, says) in &fitting {
            let all = other
                .bounds
                .users
                .as_ref()
                .is_none_or(|users| key.bounds.users.as_ref().is_some_and(|own| own.is_subset(users)));
            if all {
                left = left.without(says);
            }
        }
        match &key.bounds.users {
            Some(own) if !left.is_empty() => by_user(left, own, &fitting),
            Some(_) | None => left,
        }
    }
}

/// Several rules may each speak for some of the users.
fn by_user(left: Load, own: &BTreeSet<Box<str>>, fitting: &[&(&Key, &Load)]) -> Load {
    let all = |says: &dyn Fn(&Load) -> bool| {
        own.iter().all(|user| {
            fitting
                .iter()
                .any(|(other, load)| says(load) && other.bounds.users.as_ref().is_none_or(|users| users.contains(user)))
        })
    };
    if left.everything && all(&|load| load.everything) {
        return Load::default();
    }
    let is_left = |scope: &ScopeId| !all(&|load| load.everything || load.scopes.contains(*scope));
    Load { scopes: left.scopes.iter().filter(is_left).collect(), everything: left.everything }
}

/// Whether the one set of terms holds only while the other does, users aside.
fn holds_within(one: &Bounds, other: &Bounds, same_start: bool) -> bool {
    let from = other.from_ms.is_none_or(|from| one.from_ms.is_some_and(|own| own >= from));
    let until = other.until_ms.is_none_or(|until| one.until_ms.is_some_and(|own| own <= until));
    let after =
        other.after_install_ms.is_none_or(|after| same_start && one.after_install_ms.is_some_and(|own| own <= after));
    let pipelines = other
        .pipelines
        .as_ref()
        .is_none_or(|pipelines| one.pipelines.as_ref().is_some_and(|own| own.is_subset(pipelines)));
    let window = !other.unless_install_window || one.unless_install_window;
    from && until && after && pipelines && window && one.limits.are_within(&other.limits)
}

/// The moments from which `after_install` may count.
fn starts(installation: &Installation) -> impl Iterator<Item = i64> + '_ {
    installation.installed_at_ms.into_iter().chain(installation.windows.iter().map(|(from, _)| *from))
}

/// Whether spans after the install end, for `one`, never later than for `other`. Never installed: they never began.
pub fn starts_no_later(one: &Installation, other: &Installation, now_ms: i64) -> bool {
    starts(one).all(|start| starts(other).any(|theirs| theirs >= start && theirs <= start.max(now_ms)))
}

/// The spans in which the install window is open from now on.
pub fn windows(installation: &Installation, now_ms: i64) -> Vec<(i64, i64)> {
    let install = installation.installed_at_ms.map(|at| (at, at.saturating_add(installation.install_window_ms)));
    let all = install.into_iter().chain(installation.windows.iter().copied());
    let open = all.filter(|(from, until)| *until > now_ms && from < until);
    let mut open: Vec<(i64, i64)> = open.map(|(from, until)| (from.max(now_ms), until)).collect();
    open.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, until) in open {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = until.max(*end),
            Some(_) | None => joined.push((from, until)),
        }
    }
    joined
}
