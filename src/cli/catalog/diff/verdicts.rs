//! What the apps of a policy may do with one catalog and with the other: somewhere, in whatever container they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::authz::catalog::{Catalog, Needs, Operation, builtin};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::cli::cells::{self, Wanted};
use crate::cli::load::{self, Sources};
use crate::problem::{At, Problem, file_name};

/// One app as one actor in one tenant, whose operations change.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub who: String,
    pub gained: Vec<String>,
    pub lost: Vec<String>,
}

/// By app, tenant and actor.
type May = BTreeMap<(String, String, String), BTreeSet<String>>;

/// Compares what the apps of a policy may do.
///
/// # Errors
/// The policy is in error with one of the catalogs.
pub fn verdicts(
    old: (&str, &Catalog),
    new: (&str, &Catalog),
    policies: &[PathBuf],
    now_ms: i64,
) -> Result<Vec<Verdict>, Vec<Problem>> {
    let (before, after) = (may(old, policies, now_ms)?, may(new, policies, now_ms)?);
    let none = BTreeSet::new();
    let callers: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let verdicts = callers.into_iter().map(|caller| {
        let (was, is) = (before.get(caller).unwrap_or(&none), after.get(caller).unwrap_or(&none));
        let (app, tenant, actor) = caller;
        Verdict {
            who: format!("{app} in {tenant}, as {actor}"),
            gained: is.difference(was).cloned().collect(),
            lost: was.difference(is).cloned().collect(),
        }
    });
    Ok(verdicts.filter(|verdict| !verdict.gained.is_empty() || !verdict.lost.is_empty()).collect())
}

fn may((name, catalog): (&str, &Catalog), policies: &[PathBuf], now_ms: i64) -> Result<May, Vec<Problem>> {
    let own = if builtin::is_there(name) { Vec::new() } else { vec![PathBuf::from(name)] };
    let sources = Sources { config: None, policies: policies.to_vec(), catalogs: own };
    let loaded = load::load_only(&sources, now_ms);
    if loaded.has_errors() {
        return Err(loaded.problems);
    }
    let wanted = Wanted { app: None, tenant: None, limit: usize::MAX };
    let (cells, _) = cells::page(&loaded, now_ms, &wanted, None)
        .map_err(|said| vec![Problem::error(&file_name(name), At::default(), said)])?;
    let mut held: BTreeMap<(String, String, String), ScopeSet> = BTreeMap::new();
    let ours = |app: &str| app.split('/').next() == Some(&*catalog.product);
    for cell in cells.into_iter().filter(|cell| cell.held && ours(&cell.app)) {
        let scope = catalog.scope(&cell.scope).and_then(|scope| catalog.scopes.get(scope.index()));
        let all = held.entry((cell.app, cell.tenant, cell.actor)).or_default();
        scope.into_iter().for_each(|scope| all.union_with(&scope.down));
    }
    let operations = |held: &ScopeSet| {
        let passing = catalog.operations.iter().filter(|operation| passes(operation, held));
        passing.map(|operation| operation.id.to_string()).collect()
    };
    Ok(held.iter().map(|(caller, held)| (caller.clone(), operations(held))).collect())
}

/// Whether some line, and the guards, are held whole.
fn passes(operation: &Operation, held: &ScopeSet) -> bool {
    let all = |scopes: &[ScopeId]| scopes.iter().all(|scope| held.contains(*scope));
    let line = match &operation.needs {
        Needs::Unknown => false,
        Needs::None { .. } => true,
        Needs::Lines(vocabularies) => vocabularies.iter().flat_map(|one| &one.lines).any(|line| all(&line.scopes)),
    };
    line && all(&operation.guards)
}
