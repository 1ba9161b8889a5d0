//! What the names in a policy stood for when they were first looked up. A name (a key, a slug) can change hands; what a
//! rule means by it does not: a grant stays with the container that it was pinned to, and a revocation holds for that one
//! and for every other that had the name since.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::KindId;
use super::gate::GateRules;
use super::snapshot::Snapshot;

/// The most names that are pinned. Of more the rest stay unpinned: nothing is permitted by them.
pub const PINS_MAX: usize = 100_000;
/// The most containers that one name is known to have stood for.
pub const OTHERS_MAX: usize = 64;

/// A container's name as a policy writes it, folded for comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedName {
    pub product: Box<str>,
    pub tenant: Box<str>,
    /// The kind of container.
    pub kind: Box<str>,
    pub name: Box<str>,
}

/// What a name stood for when it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTold {
    pub name: PinnedName,
    pub id: Box<str>,
    /// What that container is called now, where that was told.
    pub called: Option<Box<str>>,
}

impl NameTold {
    /// The other name that the container has now.
    pub fn renamed(&self) -> Option<&str> {
        self.called.as_deref().filter(|called| **called != *self.name.name)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// For good: nothing but taking the name out of the policy and writing it anew changes it.
    pub id: Box<str>,
    /// What else had the name since.
    pub others: Vec<Box<str>>,
}

/// All names that are pinned, of all gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    products: BTreeMap<Box<str>, Tenants>,
    count: usize,
}

type Tenants = BTreeMap<Box<str>, BTreeMap<Box<str>, BTreeMap<Box<str>, Pin>>>;

static NONE: Pins = Pins { products: BTreeMap::new(), count: 0 };

/// What a look-up of a name changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Nothing: it stands for what it stood for.
    Known,
    /// It stood for nothing before.
    Pinned,
    /// It is another container's now: the rule stays with the one that it was pinned to.
    ChangedHands,
    /// There is no room for more.
    Full,
}

impl Pins {
    pub fn none() -> &'static Self {
        &NONE
    }

    pub fn get(&self, product: &str, tenant: &str, kind: &str, name: &str) -> Option<&Pin> {
        self.products.get(product)?.get(tenant)?.get(kind)?.get(name)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (PinnedName, &Pin)> {
        self.products.iter().flat_map(|(product, tenants)| {
            tenants.iter().flat_map(move |(tenant, kinds)| {
                kinds.iter().flat_map(move |(kind, names)| {
                    names.iter().map(move |(name, pin)| {
                        let (product, tenant) = (product.clone(), tenant.clone());
                        (PinnedName { product, tenant, kind: kind.clone(), name: name.clone() }, pin)
                    })
                })
            })
        })
    }

    /// Notes that a name stands for a container now.
    pub fn note(&mut self, name: &PinnedName, id: &str) -> Noted {
        let count = self.count;
        let tenants = self.products.entry(name.product.clone()).or_default();
        let kinds = tenants.entry(name.tenant.clone()).or_default();
        let names = kinds.entry(name.kind.clone()).or_default();
        match names.get_mut(&name.name) {
            Some(pin) if *pin.id == *id || pin.others.iter().any(|other| **other == *id) => Noted::Known,
            Some(pin) if pin.others.len() >= OTHERS_MAX => Noted::Full,
            Some(pin) => {
                pin.others.push(id.into());
                Noted::ChangedHands
            }
            None if count >= PINS_MAX => Noted::Full,
            None => {
                names.insert(name.name.clone(), Pin { id: id.into(), others: Vec::new() });
                self.count += 1;
                Noted::Pinned
            }
        }
    }

    /// Puts back what was kept.
    pub fn restore(&mut self, name: &PinnedName, pin: &Pin) {
        for id in std::iter::once(&pin.id).chain(&pin.others) {
            self.note(name, id);
        }
    }

    /// Forgets every name that no policy writes any more. Says whether there was one.
    pub fn keep_only(&mut self, written: impl Fn(&PinnedName) -> bool) -> bool {
        let gone: Vec<PinnedName> = self.iter().map(|(name, _)| name).filter(|name| !written(name)).collect();
        for name in &gone {
            let kinds = self.products.get_mut(&name.product).and_then(|tenants| tenants.get_mut(&name.tenant));
            let names = kinds.and_then(|kinds| kinds.get_mut(&name.kind));
            if names.is_some_and(|names| names.remove(&name.name).is_some()) {
                self.count -= 1;
            }
        }
        !gone.is_empty()
    }
}

impl Pin {
    /// Whether a rule that takes reaches this container by the name.
    pub fn ever_was(&self, id: &str) -> bool {
        *self.id == *id || self.others.iter().any(|other| **other == *id)
    }
}

/// The names that the policy writes of containers that can be looked up, each in the tenants where it may mean one.
pub fn written(snapshot: &Snapshot, rules: &GateRules) -> BTreeSet<PinnedName> {
    let mut names = BTreeSet::new();
    let (Some(states), catalog) = (&snapshot.states, &rules.catalog) else { return names };
    let Some(product) = snapshot.catalogs.by_name(&catalog.product) else { return names };
    let mut note = |tenant: &str, kind: KindId, name: &str| {
        if let Some(kind) = catalog.containers.get(usize::from(kind.0)).filter(|kind| kind.lookup.is_some()) {
            let (product, tenant, kind) = (Box::from(&*catalog.product), tenant.into(), kind.name.clone());
            names.insert(PinnedName { product, tenant, kind, name: name.into() });
        }
    };
    for policy in [Some(&states.newest), states.whole.as_ref()].into_iter().flatten() {
        policy.container_names(product.id, &rules.tenant.tenants(), &mut note);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PinnedName {
        PinnedName { product: "wiki".into(), tenant: "acme".into(), kind: "space".into(), name: name.into() }
    }

    #[test]
    fn a_name_stays_with_what_it_was_pinned_to_first() {
        let mut pins = Pins::default();
        assert_eq!(pins.note(&name("ENG"), "71"), Noted::Pinned);
        assert_eq!(pins.note(&name("ENG"), "71"), Noted::Known);
        assert_eq!(pins.note(&name("ENG"), "72"), Noted::ChangedHands);
        assert_eq!(pins.note(&name("ENG"), "72"), Noted::Known);
        let pin = pins.get("wiki", "acme", "space", "ENG").unwrap();
        assert_eq!(*pin.id, *"71");
        assert!(pin.ever_was("71") && pin.ever_was("72") && !pin.ever_was("73"));
        for (product, tenant, kind) in [("wik", "acme", "space"), ("wiki", "other", "space"), ("wiki", "acme", "page")]
        {
            assert_eq!(pins.get(product, tenant, kind, "ENG"), None);
        }
    }

    #[test]
    fn what_no_policy_writes_is_forgotten_and_what_is_kept_comes_back_as_it_was() {
        let mut pins = Pins::default();
        for (key, id) in [("ENG", "71"), ("ENG", "72"), ("HR", "73")] {
            pins.note(&name(key), id);
        }
        let mut restored = Pins::default();
        for (name, pin) in pins.iter() {
            restored.restore(&name, pin);
        }
        assert_eq!(restored, pins);
        assert!(!pins.keep_only(|_| true));
        assert!(pins.keep_only(|one| *one.name == *"HR"));
        assert_eq!((pins.len(), pins.iter().count()), (1, 1));
        assert_eq!(pins.note(&name("ENG"), "72"), Noted::Pinned, "written anew, it is pinned anew");
    }

    #[test]
    fn it_is_bounded() {
        let mut pins = Pins::default();
        pins.note(&name("ENG"), "0");
        for id in 1..=OTHERS_MAX {
            assert_eq!(pins.note(&name("ENG"), &id.to_string()), Noted::ChangedHands);
        }
        assert_eq!(pins.note(&name("ENG"), "more"), Noted::Full);
        pins.count = PINS_MAX;
        assert_eq!(pins.note(&name("HR"), "1"), Noted::Full);
    }
}
