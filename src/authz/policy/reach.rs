//! How far a revocation reaches in its catalog: for commands that say so, and for nobody who decides.

use super::part::{Part, Revocation, Takes};
use crate::authz::catalog::{Catalog, Needs, Operation, ScopeClass, ScopeSide};
use crate::authz::scope::{ScopeId, ScopeSet};

/// What `gate:mint` rules besides operations.
const REDIRECTS: &str = "redirects to other origins, whatever the operation: without it none is passed on";

/// Rule (b): in some vocabulary every line, guards included, contains a scope that is taken.
pub fn refuses(catalog: &Catalog, operation: &Operation, takes: &impl Fn(ScopeId) -> bool) -> bool {
    let guard_taken = operation.guards.iter().any(|guard| takes(*guard));
    match &operation.needs {
        Needs::Unknown => false,
        Needs::None { .. } => guard_taken || takes(catalog.gate_call),
        Needs::Lines(vocabularies) => vocabularies.iter().any(|one| {
            !one.lines.is_empty()
                && one.lines.iter().all(|line| guard_taken || line.scopes.iter().any(|scope| takes(*scope)))
        }),
    }
}

/// Whether it refuses those requests of an operation whose arguments ask for a scope that is taken, and not all of them.
pub fn refuses_in_part(catalog: &Catalog, operation: &Operation, takes: &impl Fn(ScopeId) -> bool) -> bool {
    operation.extra_scopes.iter().any(takes) && !refuses(catalog, operation, takes)
}

/// Named scopes that rule something other than operations, in words.
pub fn other_sides(catalog: &Catalog, part: &Part, rule: &Revocation) -> Vec<String> {
    let Takes::Scopes(set) = rule.takes else { return Vec::new() };
    let scopes = part.scope_set(set).into_iter().flat_map(ScopeSet::iter);
    let side = |scope: ScopeId| {
        let side = match scope == catalog.gate_mint {
            true => REDIRECTS,
            false => other_side(catalog, scope)?,
        };
        Some(format!("{} also rules {side}", catalog.scope_name(scope)))
    };
    scopes.filter_map(side).collect()
}

/// What a scope rules, where it is not operations, nor arguments that the gate tells.
pub fn other_side(catalog: &Catalog, scope: ScopeId) -> Option<&'static str> {
    let is_asked_for = || catalog.operations.iter().any(|operation| operation.extra_scopes.contains(scope));
    match catalog.scopes.get(scope.index())?.class {
        ScopeClass::Side(ScopeSide::Arguments) if is_asked_for() => None,
        ScopeClass::Side(ScopeSide::Arguments) => Some("arguments of a call, which this gate does not part yet"),
        ScopeClass::Side(ScopeSide::Events) => Some("events, which the product sends past this gate"),
        ScopeClass::Side(ScopeSide::SignIn) => Some("signing in, which passes no gate"),
        ScopeClass::Side(ScopeSide::Umbrella) => Some("other scopes that it stood for: name those"),
        ScopeClass::Vendor | ScopeClass::Guard | ScopeClass::Call => None,
    }
}
