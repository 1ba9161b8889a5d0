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

/// Named scopes that rule something other than operations, in words.
pub fn other_sides(catalog: &Catalog, part: &Part, rule: &Revocation) -> Vec<String> {
    let Takes::Scopes(set) = rule.takes else { return Vec::new() };
    let scopes = part.scope_set(set).into_iter().flat_map(ScopeSet::iter);
    let side = |scope: ScopeId| {
        let known = catalog.scopes.get(scope.index())?;
        let side = match scope == catalog.gate_mint {
            true => REDIRECTS,
            false => other_side(known.class)?,
        };
        Some(format!("{} also rules {side}", known.name))
    };
    scopes.filter_map(side).collect()
}

/// What a scope rules, where it is not operations.
pub fn other_side(class: ScopeClass) -> Option<&'static str> {
    match class {
        ScopeClass::Side(ScopeSide::Arguments) => Some("arguments of a call, which this gate does not part yet"),
        ScopeClass::Side(ScopeSide::Events) => Some("events, which the product sends past this gate"),
        ScopeClass::Side(ScopeSide::SignIn) => Some("signing in, which passes no gate"),
        ScopeClass::Side(ScopeSide::Umbrella) => Some("other scopes that it stood for: name those"),
        ScopeClass::Vendor | ScopeClass::Guard | ScopeClass::Call => None,
    }
}
