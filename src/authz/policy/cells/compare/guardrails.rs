//! The guardrails of two policies, tenant by tenant, and what they free of callers whom nobody described.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::atoms::{Atoms, Cover, Key, atoms};
use super::super::{Effect, Named};
use super::{Sides, Widening};
use crate::authz::policy::Policy;
use crate::authz::policy::compile::Product;
use crate::authz::policy::link::{LinkedGuardrail, Reached};

/// A guardrail, tenant by tenant.
pub(super) struct Guardrail<'p> {
    pub(super) guardrail: &'p LinkedGuardrail,
    /// The apps that it reaches, by name, or those that it does not.
    names: BTreeSet<&'p str>,
    /// Under the empty name: in tenants that no document names.
    pub(super) by_tenant: HashMap<&'p str, Atoms>,
}

/// The guardrails of one product before and after.
pub(super) struct Taking<'p> {
    pub(super) before: Vec<Guardrail<'p>>,
    pub(super) after: Vec<Guardrail<'p>>,
    /// Those of `before`, by name, that some one of `after` covers wherever and whomever they reach.
    standing: BTreeSet<(&'p str, &'p str)>,
}

impl<'p> Taking<'p> {
    pub(super) fn of(sides: &Sides<'p>) -> Self {
        let mut tenants: BTreeSet<&str> = BTreeSet::from([""]);
        for policy in [sides.before, sides.after] {
            let own = policy.apps.iter().filter(|app| app.product == sides.product.id);
            tenants.extend(own.flat_map(|app| &app.installations).map(|one| &*one.tenant));
            for guardrail in guardrails(policy, sides.product) {
                let linked = &guardrail.linked;
                tenants.extend(linked.sets.iter().flatten().map(|set| &*set.tenant));
                tenants.extend(linked.groups.iter().flatten().map(|group| &*group.tenant));
                let named = linked.part.conditions.iter().flat_map(|condition| condition.tenants.iter().flatten());
                tenants.extend(named.map(|tenant| &**tenant));
            }
        }
        let all = |policy: &'p Policy| {
            let all = guardrails(policy, sides.product).iter();
            all.map(|guardrail| Guardrail::of(sides, policy, guardrail, &tenants)).collect::<Vec<_>>()
        };
        let (before, after) = (all(sides.before), all(sides.after));
        let standing = before.iter().flat_map(|old| {
            let new = after.iter().find(|new| new.guardrail.name == old.guardrail.name && new.reaches_no_fewer(old));
            let same = |tenant: &&&str| {
                let atoms = |one: &Guardrail<'p>| one.by_tenant.get(**tenant).cloned().unwrap_or_default();
                new.is_some_and(|new| atoms(new) == atoms(old))
            };
            tenants.iter().filter(same).map(|tenant| (&*old.guardrail.name, *tenant)).collect::<Vec<_>>()
        });
        let standing = standing.collect();
        Self { before, after, standing }
    }

    /// Whether it takes in a tenant all that it took, from all whom it took it from: most do, and need no look at
    /// each app.
    pub(super) fn stands(&self, old: &Guardrail<'_>, tenant: &str, same_start: bool) -> bool {
        let bound = |key: &Key| key.bounds.after_install_ms.is_some();
        let counts = || old.by_tenant.get(tenant).is_some_and(|atoms| atoms.keys().any(bound));
        self.standing.contains(&(&*old.guardrail.name, tenant)) && (same_start || !counts())
    }

    /// Callers whom no document describes are reached by what reaches all (a gate under `observe`).
    pub(super) fn strangers(&self, sides: &Sides<'_>, found: &mut Widening) {
        let reaches_all = |one: &&Guardrail<'_>| matches!(one.guardrail.apps, Reached::AllBut(_));
        for old in self.before.iter().filter(reaches_all) {
            for (tenant, atoms) in &old.by_tenant {
                if self.standing.contains(&(&*old.guardrail.name, *tenant)) {
                    continue;
                }
                let after = self.after.iter().filter(reaches_all).filter_map(|one| one.by_tenant.get(tenant));
                let cover = Cover::new(after);
                let subject: Arc<str> = format!("guardrail {}", old.guardrail.name).into();
                let reaches: Arc<str> = format!("all apps of {}", sides.catalog().product).into();
                let named = (!tenant.is_empty()).then(|| Named { id: (*tenant).into(), name: None });
                for (key, load) in atoms {
                    let left = cover.left(key, load, true);
                    let reaches = Some(Arc::clone(&reaches));
                    let cells = sides.cells(&subject, reaches, named.clone(), Effect::Takes, key, &left);
                    found.freed.extend(cells.map(|cell| sides.freed_cell(cell, None, key)));
                }
            }
        }
    }
}

impl<'p> Guardrail<'p> {
    fn of(sides: &Sides<'p>, policy: &'p Policy, guardrail: &'p LinkedGuardrail, tenants: &BTreeSet<&'p str>) -> Self {
        let taken = |tenant: &&'p str| {
            let atoms = atoms(sides.catalog(), &guardrail.linked, tenant, Effect::Takes, sides.now_ms);
            (*tenant, atoms)
        };
        let indices = match &guardrail.apps {
            Reached::AllBut(apps) | Reached::Only(apps) => apps,
        };
        let names = indices.iter().filter_map(|index| policy.apps.get(*index as usize)).map(|app| &*app.name);
        Self { guardrail, names: names.collect(), by_tenant: tenants.iter().map(taken).collect() }
    }

    fn reaches_no_fewer(&self, other: &Self) -> bool {
        match (&self.guardrail.apps, &other.guardrail.apps) {
            (Reached::AllBut(_), Reached::AllBut(_)) => self.names.is_subset(&other.names),
            (Reached::AllBut(_), Reached::Only(_)) => self.names.is_disjoint(&other.names),
            (Reached::Only(_), Reached::Only(_)) => other.names.is_subset(&self.names),
            (Reached::Only(_), Reached::AllBut(_)) => false,
        }
    }
}

fn guardrails<'p>(policy: &'p Policy, product: &Product) -> &'p [LinkedGuardrail] {
    policy.product(product.id).map_or(&[], |product| &product.guardrails)
}
