//! What a revocation takes: the operations that go with it, what else it rules, and whether an app can go on without it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Kind;
use super::super::order::Order;
use super::whom::Reach;
use super::{Refused, RefusedCode};
use crate::authz::catalog::{Catalog, Operation, OperationId};
use crate::authz::policy::app::App;
use crate::authz::policy::compile::{Catalogs, Compiled};
use crate::authz::policy::part::{Part, Revocation, Takes};
use crate::authz::policy::reach::{other_sides, refuses, refuses_in_part};
use crate::authz::scope::ScopeId;

/// So many rules that an app cannot work without are named.
const NAMED_MAX: usize = 5;

/// What goes with a revocation, wherever it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stops {
    /// Ids of operations that it refuses.
    pub operations: Vec<Arc<str>>,
    /// Those of them that reach the whole tenant, though the order names containers.
    pub whole_tenant: Vec<Arc<str>>,
    /// Ids of operations of which it refuses some requests: those whose arguments ask for it.
    #[serde(default)]
    pub in_part: Vec<Arc<str>>,
    /// What it rules besides operations. With no operation beside it, nothing is done by it that the gate can do.
    pub sides: Vec<String>,
    /// It takes everything of whom it reaches.
    pub everything: bool,
}

impl Stops {
    /// Whether the gate itself refuses anything by it.
    pub fn anything(&self) -> bool {
        self.everything || !self.operations.is_empty() || !self.in_part.is_empty()
    }
}

/// What the order stops. Empty for what gives, and for a suspension everything.
pub(super) fn stops(
    order: &Order,
    compiled: &Compiled,
    reach: &Reach<'_>,
    catalogs: &Catalogs,
) -> Result<Stops, Box<Refused>> {
    let mut stops = Stops { everything: order.act == Kind::Suspend, ..Stops::default() };
    let Some(product) = catalogs.by_name(&reach.product) else { return Ok(stops) };
    for (part, rule) in revocations(compiled) {
        if rule.takes == Takes::Everything && rule.operations.is_none() {
            stops.everything = true;
        }
        let limited = part.area(rule.area).is_some_and(|area| !area.is_all());
        for operation in taken(&product.catalog, part, rule) {
            let id: Arc<str> = Arc::from(&*operation.id);
            if limited && operation.is_of_the_tenant() {
                stops.whole_tenant.push(Arc::clone(&id));
            }
            stops.operations.push(id);
        }
        let in_part = in_part(&product.catalog, part, rule).map(|operation| Arc::from(&*operation.id));
        stops.in_part.extend(in_part);
        stops.sides.extend(other_sides(&product.catalog, part, rule));
    }
    Ok(stops)
}

/// Refuses an order that takes what the policy marks as `required`.
pub(super) fn keeps_required(compiled: &Compiled, reach: &Reach<'_>) -> Result<(), Box<Refused>> {
    let mut found = Vec::new();
    for (part, rule) in revocations(compiled).filter(|(_, rule)| !rule.shadow) {
        for app in &reach.apps {
            found.extend(required_of(app, reach, part, rule));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let more = found.len().saturating_sub(NAMED_MAX);
    found.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names: Vec<&str> = reach.apps.iter().map(|app| &*app.name).take(NAMED_MAX).collect();
    let message = format!("{} cannot work without it: {}{more}", names.join(", "), found.join(", "));
    Err(Box::new(Refused::new(RefusedCode::Required, message, "say --even-required if it shall stop all the same")))
}

/// The grants of an app that are marked as required and give something of what is taken, where it may be taken.
fn required_of(app: &Arc<App>, reach: &Reach<'_>, part: &Part, rule: &Revocation) -> Vec<String> {
    let taken_actors = part.condition(rule.condition).map(|condition| condition.actors);
    let mut found = Vec::new();
    for linked in &app.parts {
        for grant in linked.part.grants.iter().filter(|grant| grant.required && !grant.shadow) {
            let Some(condition) = linked.part.condition(grant.condition) else { continue };
            let Some(scopes) = linked.part.scope_set(grant.scopes) else { continue };
            let here = condition.tenants.as_ref().is_none_or(|tenants| {
                tenants.iter().any(|tenant| reach.says_all || reach.tenants.iter().any(|one| *one.id == **tenant))
            });
            let as_whom = taken_actors
                .is_none_or(|actors| actors.words().any(|word| condition.actors.words().any(|own| own == word)));
            if here && as_whom && part.takes_any(rule, scopes) {
                let file = linked.part.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
                found.push(format!("{file}:{}", grant.line));
            }
        }
    }
    found
}

fn revocations(compiled: &Compiled) -> impl Iterator<Item = (&Part, &Revocation)> {
    let parts: Vec<&Part> = match compiled {
        Compiled::App(app) => vec![&app.part],
        Compiled::Guardrail(guardrail) => guardrail.parts.iter().map(|(_, part)| &**part).collect(),
        Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => Vec::new(),
    };
    parts.into_iter().flat_map(|part| part.revocations.iter().map(move |rule| (part, rule)))
}

fn taken<'c>(catalog: &'c Catalog, part: &'c Part, rule: &'c Revocation) -> impl Iterator<Item = &'c Operation> {
    spoken_of(catalog, part, rule).filter(move |operation| refuses(catalog, operation, &takes(part, rule)))
}

fn in_part<'c>(catalog: &'c Catalog, part: &'c Part, rule: &'c Revocation) -> impl Iterator<Item = &'c Operation> {
    spoken_of(catalog, part, rule).filter(move |operation| refuses_in_part(catalog, operation, &takes(part, rule)))
}

fn takes(part: &Part, rule: &Revocation) -> impl Fn(ScopeId) -> bool {
    move |scope| match rule.takes {
        Takes::Everything => true,
        Takes::Scopes(set) => part.scope_set(set).is_none_or(|set| set.contains(scope)),
    }
}

fn spoken_of<'c>(catalog: &'c Catalog, part: &'c Part, rule: &'c Revocation) -> impl Iterator<Item = &'c Operation> {
    let numbered = (0u16..).zip(&catalog.operations);
    let spoken_of = numbered.filter(|(number, _)| part.speaks_of(rule.operations, OperationId(*number)));
    spoken_of.map(|(_, operation)| operation)
}
