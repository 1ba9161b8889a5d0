//! Words that several commands share: rules, scopes, containers and times as a person reads them.

use crate::authz::catalog::Catalog;
use crate::authz::policy::Policy;
use crate::authz::policy::area::{Area, AreaContext, KindArea};
use crate::authz::policy::part::{Part, Takes};
use crate::authz::scope::{ScopeId, ScopeSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Colours for a terminal, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    pub colour: bool,
}

impl Paint {
    pub fn green(self, text: &str) -> String {
        self.with("1;32", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The scopes of a grant: those that no other of them implies. `all` is every vendor scope.
pub fn granted_scopes(catalog: &Catalog, set: &ScopeSet) -> String {
    if catalog.vendor_scopes.is_subset(set) && !set.is_empty() {
        return "all".to_owned();
    }
    generators(catalog, set, |catalog, scope| catalog.scopes.get(scope.index()).map(|scope| scope.down))
}

/// The scopes of a revocation: those that imply no other of them.
pub fn taken_scopes(catalog: &Catalog, part: &Part, takes: Takes) -> String {
    match takes {
        Takes::Everything => "all".to_owned(),
        Takes::Scopes(set) => part.scope_set(set).map_or_else(String::new, |set| {
            generators(catalog, set, |catalog, scope| catalog.scopes.get(scope.index()).map(|scope| scope.up))
        }),
    }
}

/// The scopes from which the closure follows; of two that follow from each other the first.
fn generators(catalog: &Catalog, set: &ScopeSet, closure: impl Fn(&Catalog, ScopeId) -> Option<ScopeSet>) -> String {
    let gives = |one: ScopeId, other: ScopeId| closure(catalog, one).is_some_and(|set| set.contains(other));
    let follows = |scope: ScopeId| {
        set.iter().any(|other| other != scope && gives(other, scope) && (!gives(scope, other) || other < scope))
    };
    let names: Vec<&str> = set.iter().filter(|scope| !follows(*scope)).map(|scope| catalog.scope_name(scope)).collect();
    names.join(", ")
}

/// `in:` as YAML.
pub fn area_yaml(catalog: &Catalog, part: &Part, area: &Area) -> String {
    let Area::Kinds(kinds) = area else { return "all".to_owned() };
    let kinds = kinds.iter().map(|area| {
        let kind = catalog.containers.get(usize::from(area.kind.0)).map_or("?", |kind| &*kind.name);
        format!("{kind}: [{}]", area_items(part, area).join(", "))
    });
    format!("{{{}}}", kinds.collect::<Vec<_>>().join(", "))
}

/// The containers and sets of one kind, as a policy writes them.
pub fn area_items(part: &Part, area: &KindArea) -> Vec<String> {
    let named = area.named.iter().map(|container| container.text.to_string());
    let sets = area.sets.iter().filter_map(|index| part.set_references.get(usize::from(*index)));
    named.chain(sets.map(|(name, _)| format!("set:{name}"))).collect()
}

/// Every container of an area in one tenant, sets resolved, as `kind=text`. `None` is everywhere.
pub fn area_containers(area: &Area, context: AreaContext<'_>) -> Option<Vec<String>> {
    let Area::Kinds(kinds) = area else { return None };
    let mut texts = Vec::new();
    for one in kinds {
        let Some(kind) = context.catalog.containers.get(usize::from(one.kind.0)) else { continue };
        let sets = one.sets.iter().filter_map(|index| context.sets.get(usize::from(*index)));
        let own = sets.flat_map(|sets| sets.iter()).filter(|set| *set.tenant == *context.tenant);
        let in_sets = own.flat_map(|set| set.kinds.iter()).filter(|(kind, _)| *kind == one.kind);
        let containers = one.named.iter().chain(in_sets.flat_map(|(_, containers)| containers.iter()));
        texts.extend(containers.map(|container| format!("{}={}", kind.name, container.text)));
    }
    texts.sort_unstable();
    texts.dedup();
    Some(texts)
}

/// An id with its reading name, where a `names` document gives one.
pub fn with_name(policy: Option<&Policy>, product: &str, tenant: &str, id: &str) -> String {
    match policy.and_then(|policy| policy.name_of(product, tenant, id)) {
        Some(name) => format!("{id} ({name})"),
        None => id.to_owned(),
    }
}

/// RFC 3339 in UTC, to the second.
pub fn time_text(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1_000));
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix_ms.to_string())
}

/// `1 app`, `2 apps`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first few of many, and how many more there are.
pub fn first_of(names: &[&str], shown: usize) -> String {
    let mut text = names.iter().take(shown).copied().collect::<Vec<_>>().join(", ");
    if names.len() > shown {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_policies_write_it() {
        assert_eq!(time_text(1_795_165_200_000), "2026-11-20T09:00:00Z");
    }

    #[test]
    fn many_names_are_cut() {
        assert_eq!(first_of(&["a", "b", "c"], 2), "a, b, …");
        assert_eq!(first_of(&["a"], 2), "a");
        assert_eq!((count(1, "app"), count(0, "app")), ("1 app".into(), "0 apps".into()));
    }
}
