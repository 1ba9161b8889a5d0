//! Ids that a request names, for who remembers what was made and removed. Nothing is decided by them.

use crate::authz::catalog::container::find;
use crate::authz::catalog::matcher::Parameters;
use crate::authz::catalog::{OperationId, PlaceAt};
use crate::authz::gate::GateRules;
use crate::authz::request::{Facts, RequestView};

/// Ids that an operation's `undo` and `remover` look for in its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedIds {
    pub made: Vec<String>,
    pub removed: Vec<String>,
}

/// The ids in a permitted request, at most `most` of at most `bytes` bytes each.
pub fn named_ids(
    gate: &GateRules,
    operation: OperationId,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    (most, bytes): (usize, usize),
) -> NamedIds {
    let Some(operation) = gate.catalog.operations.get(usize::from(operation.0)) else { return NamedIds::default() };
    let mut parameters = Parameters::default();
    let _ = gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let at = |place: &PlaceAt| {
        // What cannot be read one way names nothing.
        let found = find(place, &parameters, request, facts).ok();
        let values = found.as_ref().map_or(&[][..], |found| found.as_slice());
        let kept = values.iter().filter(|value| value.len() <= bytes && !value.is_empty());
        kept.take(most).map(|value| value.to_string()).collect::<Vec<_>>()
    };
    let argument = operation.undo.as_ref().and_then(|undo| undo.argument.clone()).map(PlaceAt::Argument);
    let removed = operation.remover.as_ref().and_then(|remover| remover.at.as_ref());
    NamedIds { made: argument.as_ref().map(at).unwrap_or_default(), removed: removed.map(at).unwrap_or_default() }
}
