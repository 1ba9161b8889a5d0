//! Where a cell holds, in words.

use std::fmt;
use std::sync::Arc;

use super::Named;
use crate::authz::policy::Policy;
use crate::authz::policy::area::{Area, AreaContext, Containers, KindArea};
use crate::authz::policy::compile::Product;

/// A container, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Everywhere,
    Container {
        kind: Arc<str>,
        /// Named by a `names` document.
        container: Named,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("everywhere"),
            Self::Container { kind, container } => write!(f, "{kind} {container}"),
        }
    }
}

/// The places of an area, sets written out. With the tenant that a set speaks for where the rule names none.
pub(super) fn places(
    policy: &Policy,
    product: &Product,
    area: &Area,
    context: &AreaContext<'_>,
) -> Vec<(Option<Named>, Place)> {
    let Area::Kinds(kinds) = area else { return vec![(None, Place::Everywhere)] };
    let mut places = Vec::new();
    for area in kinds {
        let kind = product.catalog.containers.get(usize::from(area.kind.0)).map_or("", |kind| &*kind.name);
        let words = Words { policy, product: &product.catalog.product, kind: kind.into() };
        words.add(&mut places, &area.named, None, context.tenant);
        for (tenant, containers) in in_sets(area, context) {
            let own = context.tenant.is_empty().then(|| Named { id: Arc::clone(tenant), name: None });
            words.add(&mut places, containers, own.as_ref(), tenant);
        }
    }
    places
}

/// The containers of the sets that an area refers to, in the tenant asked for or, if none is, in each.
fn in_sets<'c>(area: &'c KindArea, context: &AreaContext<'c>) -> impl Iterator<Item = (&'c Arc<str>, &'c Containers)> {
    let (tenant, kind) = (context.tenant, area.kind);
    let sets = context.sets;
    let sets = area.sets.iter().filter_map(move |reference| sets.get(usize::from(*reference))).flatten();
    let here = sets.filter(move |set| tenant.is_empty() || *set.tenant == *tenant);
    here.flat_map(move |set| {
        let own = set.kinds.iter().filter(move |(one, _)| *one == kind);
        own.map(move |(_, containers)| (&set.tenant, containers))
    })
}

struct Words<'p> {
    policy: &'p Policy,
    product: &'p str,
    kind: Arc<str>,
}

impl Words<'_> {
    fn add(&self, places: &mut Vec<(Option<Named>, Place)>, containers: &Containers, of: Option<&Named>, tenant: &str) {
        for container in containers.iter() {
            let name = self.policy.name_of(self.product, tenant, &container.text).cloned();
            let container = Named { id: (*container.text).into(), name };
            let place = Place::Container { kind: Arc::clone(&self.kind), container };
            places.push((of.cloned(), place));
        }
    }
}
