//! What a request that passes may change of what look-ups were told.

use crate::authz::catalog::container::find;
use crate::authz::catalog::lookups::{Change, LookupId};
use crate::authz::catalog::matcher::Parameters;
use crate::authz::catalog::{Catalog, OperationId};
use crate::authz::gate::GateRules;
use crate::authz::request::{Facts, RequestView};

/// Answers that do not count any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub lookup: LookupId,
    /// The identity of the one thing that they are about. `None`: any.
    pub thing: Option<Box<str>>,
}

/// The answers that an operation may change. Where the request does not name the identity of what it changes, which thing
/// that is cannot be told, and all count.
pub fn changed(gate: &GateRules, id: OperationId, request: &RequestView<'_>, facts: &Facts<'_>) -> Vec<Changed> {
    let catalog = &gate.catalog;
    let Some(operation) = catalog.operations.get(usize::from(id.0)) else { return Vec::new() };
    if operation.changes.is_empty() {
        return Vec::new();
    }
    let mut parameters = Parameters::default();
    catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let mut all = Vec::new();
    for change in &operation.changes {
        match things(catalog, change, &parameters, request, facts) {
            Some(things) => {
                all.extend(things.into_iter().map(|thing| Changed { lookup: change.lookup, thing: Some(thing) }));
            }
            None => all.push(Changed { lookup: change.lookup, thing: None }),
        }
    }
    all
}

/// The identities of what it changes. `None`: they cannot be told.
fn things(
    catalog: &Catalog,
    change: &Change,
    parameters: &Parameters<'_>,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Option<Vec<Box<str>>> {
    let lookup = catalog.lookups.get(usize::from(change.lookup.0))?;
    let found = find(change.named_at.as_ref()?, parameters, request, facts).ok()?;
    let named = found.as_slice();
    let are_told = !named.is_empty() && named.iter().all(|name| lookup.is_identity(name));
    are_told.then(|| named.iter().map(|name| Box::from(&**name)).collect())
}
