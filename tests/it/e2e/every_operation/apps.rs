//! The apps that ask, as policy documents: each holds the scopes of one line, on terms of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use scopegate::authz::catalog::{Catalog, KindId, Needs};
use scopegate::authz::scope::ScopeId;

use crate::e2e::product_app;

/// Containers in the words of a policy, by kind.
pub type Containers = BTreeMap<KindId, BTreeSet<&'static str>>;

/// What is granted to an app, and what is taken from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Terms {
    /// Granted in these alone.
    In(Containers),
    /// Granted everywhere.
    All,
    /// Granted everywhere, and one scope revoked in these.
    RevokedIn(Containers),
    /// Granted everywhere, and one scope revoked everywhere.
    Revoked,
    /// Whatever there is to grant, by scope and by the operation's name.
    Whatever,
}

/// An app, and what is written about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct App {
    /// Of its credential.
    pub kind: String,
    pub scopes: Vec<ScopeId>,
    pub terms: Terms,
    /// What is revoked, if anything is.
    pub revoked: Option<ScopeId>,
}

/// Its policy document; its name, which is its token too, has this number.
pub fn document(catalog: &Catalog, app: &App, number: usize) -> String {
    let App { kind, scopes, terms, revoked } = app;
    let quoted = |scopes: &[ScopeId]| {
        let names = scopes.iter().map(|scope| format!("'{}'", catalog.scope_name(*scope)));
        names.collect::<Vec<_>>().join(", ")
    };
    let vendor = catalog.vendor_scopes.iter().next().expect("a scope");
    // `gate:call` is held where any other scope is.
    let call = catalog.gate_call;
    let granted: Vec<ScopeId> = scopes.iter().map(|scope| if *scope == call { vendor } else { *scope }).collect();
    let taken = quoted(revoked.as_slice());
    let (granted, area, revoked_in) = match terms {
        Terms::In(containers) => (quoted(&granted), area_of(catalog, containers), None),
        Terms::All => (quoted(&granted), "all".to_owned(), None),
        Terms::RevokedIn(containers) => (quoted(&granted), "all".to_owned(), Some(area_of(catalog, containers))),
        Terms::Revoked => (quoted(&granted), "all".to_owned(), Some("all".to_owned())),
        Terms::Whatever => {
            let every: Vec<ScopeId> = catalog.vendor_scopes.iter().collect();
            let guards = "'gate:deliver', 'gate:mint', 'gate:admit'";
            (format!("{}, {guards}", quoted(&every)), "all".to_owned(), None)
        }
    };
    let mut rules = format!("grants:\n  - {{scopes: [{granted}], actors: [app, user], in: {area}}}\n");
    if *terms == Terms::Whatever {
        let unknown = catalog.operations.iter().filter(|one| matches!(one.needs, Needs::Unknown));
        let ids: Vec<String> = unknown.map(|one| format!("'{}'", one.id)).collect();
        let _ = writeln!(rules, "  - {{operations: [{}], actors: [app, user], in: all}}", ids.join(", "));
    }
    if let Some(area) = revoked_in {
        let _ = writeln!(rules, "revocations: [{{scopes: [{taken}], in: {area}, reason: SEC-1}}]");
    }
    product_app(&catalog.product, &format!("app{number}"), kind, &rules)
}

fn area_of(catalog: &Catalog, containers: &Containers) -> String {
    let kinds = containers.iter().map(|(kind, names)| {
        let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        format!("{}: [{}]", catalog.containers[usize::from(kind.0)].name, names.join(", "))
    });
    format!("{{{}}}", kinds.collect::<Vec<_>>().join(", "))
}
