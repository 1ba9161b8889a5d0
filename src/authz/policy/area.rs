//! Where a rule holds: everywhere in the tenant, or in containers by kind.
//!
//! A container that cannot be told is unmet in a grant and met in a revocation (law 9), so every question here has
//! three answers.

use std::sync::Arc;

use crate::authz::catalog::{Catalog, KindId};
use crate::authz::pins::Pins;
use crate::authz::touch::{ContainerName, ContainerRef, FoundName, Reach, is_number};

/// An answer that may not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Yes,
    No,
    CannotTell,
}

impl Met {
    /// The stronger of two alternatives: one `Yes` suffices.
    #[inline]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::CannotTell, _) | (_, Self::CannotTell) => Self::CannotTell,
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// How a policy writes a container: by immutable id, or by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    Id,
    Name,
}

/// One container as a policy writes it, folded for comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedContainer {
    pub form: Form,
    pub text: Box<str>,
}

/// Containers of one kind, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Containers(Box<[NamedContainer]>);

/// Up to here comparing lengths one by one beats halving, which compares texts.
const FEW: usize = 8;

impl Containers {
    pub fn new(mut containers: Vec<NamedContainer>) -> Self {
        containers.sort_unstable();
        containers.dedup();
        Self(containers.into_boxed_slice())
    }

    pub fn iter(&self) -> impl Iterator<Item = &NamedContainer> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the container that a request names is one of these.
    #[inline(always)]
    fn holds(&self, name: &ContainerName<'_>, asked: Asked<'_>) -> Met {
        match name {
            ContainerName::Id(text) => self.holds_as(Form::Id, text),
            ContainerName::Name(text) => self.holds_as(Form::Name, text),
            ContainerName::Word(text) if is_number(text) => self.holds_as(Form::Id, text),
            ContainerName::Word(text) => self.holds_as(Form::Name, text),
            ContainerName::Found(found) => self.holds_found(found, asked),
            // A hint may prove a refusal and never a permit: both come out of "cannot tell".
            ContainerName::Hint(_)
            | ContainerName::Prefix(_)
            | ContainerName::Around { .. }
            | ContainerName::Unknown => {
                if self.0.is_empty() {
                    Met::No
                } else {
                    Met::CannotTell
                }
            }
        }
    }

    /// An id is compared with ids. A name is what it was pinned to; to a rule that takes, whatever ever had it. Where names
    /// are what they are written as they are compared too; else one that is not pinned proves nothing, for it may have been
    /// another container's.
    #[cold]
    #[inline(never)]
    fn holds_found(&self, found: &FoundName, asked: Asked<'_>) -> Met {
        let Asked { context: AreaContext { catalog, tenant, pins, .. }, kind, takes } = asked;
        let kind = catalog.containers.get(usize::from(kind.0)).map_or("", |kind| &kind.name);
        let same = |told: Option<&str>, text: &str| match told {
            Some(told) if *told == *text => Met::Yes,
            Some(_) => Met::No,
            None => Met::CannotTell,
        };
        let (id, key) = (found.home.id.as_deref(), found.home.key.as_deref());
        let is_called = |text: &str| key == Some(text) || found.called.as_deref() == Some(text);
        self.0.iter().fold(Met::No, |met, container| {
            let text = &*container.text;
            met.or(match container.form {
                Form::Id => same(id, text),
                Form::Name if found.by_name && !takes => same(key, text),
                Form::Name => match (pins.get(&catalog.product, tenant, kind, text), id) {
                    (Some(pin), Some(id)) if !takes => same(Some(id), &pin.id),
                    _ if takes && is_called(text) => Met::Yes,
                    (Some(pin), Some(id)) if pin.ever_was(id) => Met::Yes,
                    (Some(_), Some(_)) => Met::No,
                    (None, _) | (_, None) if found.by_name => same(key, text),
                    (None, _) | (_, None) => Met::CannotTell,
                },
            })
        })
    }

    /// A container written in the other form may be the same one: nobody can tell without a look-up.
    #[inline(always)]
    fn holds_as(&self, form: Form, text: &str) -> Met {
        let found = if self.0.len() <= FEW {
            self.0.iter().any(|container| container.form == form && *container.text == *text)
        } else {
            self.0.binary_search_by(|container| (container.form, &*container.text).cmp(&(form, text))).is_ok()
        };
        match found {
            true => Met::Yes,
            false if self.has_other_than(form) => Met::CannotTell,
            false => Met::No,
        }
    }

    fn are_of_two_forms(&self) -> bool {
        self.has_other_than(Form::Id) && self.has_other_than(Form::Name)
    }

    /// They are sorted by form first, so the ends tell.
    fn has_other_than(&self, form: Form) -> bool {
        [self.0.first(), self.0.last()].into_iter().flatten().any(|container| container.form != form)
    }
}

/// A `set` document of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct ContainerSet {
    pub name: Arc<str>,
    pub tenant: Arc<str>,
    pub kinds: Box<[(KindId, Containers)]>,
}

/// `in:` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Area {
    All,
    Kinds(Box<[KindArea]>),
}

/// The containers of one kind in a rule: those written out, and the sets referred to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KindArea {
    pub kind: KindId,
    pub named: Containers,
    /// Indices into the part's set references.
    pub sets: Box<[u16]>,
}

/// The sets that a part refers to, as found when linking: for each reference one set per tenant that has it.
pub type LinkedSets = Box<[Box<[Arc<ContainerSet>]>]>;

/// What an area is asked against: the caller's tenant, the catalog's nesting, and the linked sets.
#[derive(Clone, Copy)]
pub struct AreaContext<'p> {
    pub catalog: &'p Catalog,
    pub tenant: &'p str,
    pub sets: &'p LinkedSets,
    /// What names stand for.
    pub pins: &'p Pins,
}

/// A question about containers of one kind, for a rule that gives or takes.
#[derive(Clone, Copy)]
struct Asked<'p> {
    context: AreaContext<'p>,
    kind: KindId,
    takes: bool,
}

impl Area {
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether keys and ids of one kind may be put together here: in one list, or in a list and sets.
    pub fn may_mix_forms(&self) -> bool {
        match self {
            Self::All => false,
            Self::Kinds(kinds) => kinds.iter().any(|area| !area.sets.is_empty() || area.named.are_of_two_forms()),
        }
    }

    /// Whether a container lies in this area, as far as a grant asks: inside what it names.
    #[inline(always)]
    pub fn grants(&self, container: &ContainerRef<'_>, context: AreaContext<'_>) -> Met {
        match self {
            Self::All => Met::Yes,
            Self::Kinds(kinds) => {
                let mut met = Met::No;
                for area in kinds {
                    if area.kind == container.kind {
                        met = met.or(area.holds(container, context, false));
                    }
                }
                if met == Met::CannotTell && container.is_hoped() { Met::Yes } else { met }
            }
        }
    }

    /// Whether a revocation in this area reaches the container. A container of another kind that lies within, or
    /// around, one of ours may be reached; which one it is only a look-up could tell, so it counts as reached.
    pub fn revokes(&self, container: &ContainerRef<'_>, context: AreaContext<'_>) -> Met {
        let Self::Kinds(kinds) = self else { return Met::Yes };
        let met = kinds.iter().fold(Met::No, |met, area| {
            met.or(match () {
                () if area.kind == container.kind => match (area.holds(container, context, true), &container.name) {
                    // What is written otherwise may be another name of it.
                    (Met::No, ContainerName::Word(_)) if area.any_in(context) => Met::CannotTell,
                    (met, _) => met,
                },
                () if nested(context.catalog, area.kind, container.kind) && area.any_in(context) => Met::CannotTell,
                () => Met::No,
            })
        });
        if met == Met::CannotTell && container.is_hoped() { Met::No } else { met }
    }

    /// Whether the area holds any container of the caller's tenant.
    pub fn anywhere(&self, context: AreaContext<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Kinds(kinds) => kinds.iter().any(|area| area.any_in(context)),
        }
    }

    /// Whether a revocation in this area reaches a request.
    pub fn reaches(&self, reach: &Reach<'_>, context: AreaContext<'_>) -> Met {
        match reach {
            Reach::Nothing if self.is_all() => Met::Yes,
            Reach::Nothing => Met::No,
            Reach::Tenant if self.anywhere(context) => Met::Yes,
            Reach::Tenant => Met::No,
            Reach::Containers(containers) => {
                containers.as_slice().iter().fold(Met::No, |met, container| met.or(self.revokes(container, context)))
            }
        }
    }
}

impl KindArea {
    #[inline(always)]
    fn holds(&self, container: &ContainerRef<'_>, context: AreaContext<'_>, takes: bool) -> Met {
        let asked = Asked { context, kind: self.kind, takes };
        let named = self.named.holds(&container.name, asked);
        if self.sets.is_empty() {
            return named;
        }
        self.in_tenant(context).fold(named, |met, set| met.or(set.holds(&container.name, asked)))
    }

    fn any_in(&self, context: AreaContext<'_>) -> bool {
        !self.named.is_empty() || self.in_tenant(context).any(|set| !set.is_empty())
    }

    /// The containers of our kind in the sets that speak for the caller's tenant.
    fn in_tenant<'p>(&'p self, context: AreaContext<'p>) -> impl Iterator<Item = &'p Containers> {
        self.sets
            .iter()
            .filter_map(move |reference| context.sets.get(usize::from(*reference)))
            .flat_map(|sets| sets.iter())
            .filter(move |set| *set.tenant == *context.tenant)
            .flat_map(|set| set.kinds.iter())
            .filter(|(kind, _)| *kind == self.kind)
            .map(|(_, containers)| containers)
    }
}

/// Whether one kind lies within the other, through any number of steps.
fn nested(catalog: &Catalog, one: KindId, other: KindId) -> bool {
    lies_within(catalog, one, other) || lies_within(catalog, other, one)
}

fn lies_within(catalog: &Catalog, inner: KindId, outer: KindId) -> bool {
    let outer_of = |kind: KindId| catalog.containers.get(usize::from(kind.0)).and_then(|kind| kind.within);
    // No more steps than kinds: a catalog with a cycle is a load error, and would still end here.
    std::iter::successors(outer_of(inner), |kind| outer_of(*kind))
        .take(catalog.containers.len())
        .any(|kind| kind == outer)
}
