//! Warns of rules whose containers are written in two forms, in their lists and in the sets that they put beside them. A
//! set that mixes forms by itself is told of where it is written.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::authz::policy::app::LinkedPart;
use crate::authz::policy::area::{Area, Containers, Form, KindArea, NamedContainer};
use crate::authz::policy::compile::{Product, mixed_forms};
use crate::problem::{At, Problem};

/// A warning for each rule of the part that mixes them.
pub(super) fn warnings(product: &Product, linked: &LinkedPart, file: &Arc<Path>) -> Vec<Problem> {
    let part = &linked.part;
    if part.areas_of_two_forms.is_empty() {
        return Vec::new();
    }
    let grants = part.grants.iter().map(|grant| (grant.line, grant.area));
    let rules = grants.chain(part.revocations.iter().map(|revocation| (revocation.line, revocation.area)));
    let warn = |(line, area)| {
        part.areas_of_two_forms.binary_search(&area).ok()?;
        let Area::Kinds(kinds) = part.area(area)? else { return None };
        let (kind, (name, id)) = kinds.iter().find_map(|kind| Some((kind.kind, of_both_forms(kind, linked)?)))?;
        let kind = product.catalog.containers.get(usize::from(kind.0))?;
        Some(mixed_forms(file, At { line, column: 1 }, &kind.name, name, id))
    };
    rules.filter_map(warn).collect()
}

/// A key and an id that a rule puts together. Sets speak for their own tenants, each beside what the rule itself names.
fn of_both_forms<'l>(area: &'l KindArea, linked: &'l LinkedPart) -> Option<(&'l str, &'l str)> {
    let sets = || area.sets.iter().filter_map(|set| linked.sets.get(usize::from(*set))).flat_map(|sets| sets.iter());
    let tenants: BTreeSet<Option<&str>> = sets().map(|set| Some(&*set.tenant)).chain([None]).collect();
    tenants.into_iter().find_map(|tenant| {
        let own = sets().filter(|set| Some(&*set.tenant) == tenant).flat_map(|set| set.kinds.iter());
        let own = own.filter(|(kind, _)| *kind == area.kind).map(|(_, containers)| containers);
        let lists: Vec<&Containers> = own.filter(|set| both(set.iter()).is_none()).chain([&area.named]).collect();
        both(lists.into_iter().flat_map(Containers::iter))
    })
}

fn both<'c>(containers: impl Iterator<Item = &'c NamedContainer>) -> Option<(&'c str, &'c str)> {
    let (mut name, mut id) = (None, None);
    for container in containers {
        match container.form {
            Form::Name => name.get_or_insert(&*container.text),
            Form::Id => id.get_or_insert(&*container.text),
        };
    }
    Some((name?, id?))
}
