//! Numbers the scopes and closes what each implies, through any number of steps and `same_as`.

use super::names::Names;
use crate::authz::catalog::compact::{self, Compact};
use crate::authz::catalog::{Operation, Scope, ScopeClass, ScopeSide, VocabularySet};
use crate::authz::scope::{ScopeId, ScopeSet};

pub const CALL: &str = "gate:call";
pub const MINT: &str = "gate:mint";
/// scopegate's own scopes: every catalog has them, after the vendor's.
pub const GUARDS: [&str; 4] = [CALL, "gate:deliver", MINT, "gate:admit"];
const OWN_PREFIX: &str = "gate:";

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Box<[Scope]> {
    let mut scopes: Vec<Scope> = compact.scopes.iter().map(|scope| of_vendor(scope, names)).collect();
    scopes.extend(GUARDS.map(own));
    let mut down: Vec<ScopeSet> = (0..scopes.len()).map(|index| ScopeId::new(index).into_iter().collect()).collect();
    for scope in &compact.scopes {
        imply(scope, names, &mut down);
    }
    close(&mut down);
    for (index, scope) in scopes.iter_mut().enumerate() {
        let Some(id) = ScopeId::new(index) else { continue };
        scope.down = down.get(index).copied().unwrap_or_default();
        scope.up = down
            .iter()
            .enumerate()
            .filter(|(_, down)| down.contains(id))
            .filter_map(|(up, _)| ScopeId::new(up))
            .collect();
    }
    scopes.into()
}

/// Every scope of the vendor's: what `scopes: all` in a grant stands for.
pub fn vendor(scopes: &[Scope]) -> ScopeSet {
    let of_vendor = scopes.iter().enumerate().filter(|(_, scope)| match scope.class {
        ScopeClass::Vendor | ScopeClass::Side(_) => true,
        ScopeClass::Guard | ScopeClass::Call => false,
    });
    of_vendor.filter_map(|(index, _)| ScopeId::new(index)).collect()
}

/// A scope that is said to rule something else, yet stands in a line, would be lost to whoever revokes it. One that rules
/// arguments stands where arguments ask for it.
pub fn sides_rule_no_operation(scopes: &[Scope], operations: &[Operation], compact: &Compact, names: &mut Names<'_>) {
    for (index, (scope, written)) in scopes.iter().zip(&compact.scopes).enumerate() {
        let Some(id) = ScopeId::new(index).filter(|_| matches!(scope.class, ScopeClass::Side(_))) else { continue };
        let by_arguments = scope.class == ScopeClass::Side(ScopeSide::Arguments);
        let needs = |one: &&Operation| one.all_scopes.contains(id) || !by_arguments && one.extra_scopes.contains(id);
        if let Some(operation) = operations.iter().find(needs) {
            let message = format!("`{}` has `rules`, yet operation `{}` needs it", scope.name, operation.id);
            names.problem(written.name.spot, message);
        }
    }
}

fn of_vendor(written: &compact::Scope, names: &mut Names<'_>) -> Scope {
    let name = &written.name;
    if name.text.starts_with(OWN_PREFIX) {
        names.problem(name.spot, format!("`{}`: names in `{OWN_PREFIX}` are scopegate's own", name.text));
    }
    if written.vocabularies.is_empty() {
        names.problem(name.spot, format!("scope `{}` is a word of no vocabulary", name.text));
    }
    let bits =
        written.vocabularies.iter().filter_map(|word| names.vocabulary(word)).fold(0, |bits, id| bits | 1 << id.0);
    Scope {
        name: name.text.as_str().into(),
        class: written.rules.map_or(ScopeClass::Vendor, ScopeClass::Side),
        vocabularies: VocabularySet(bits),
        down: ScopeSet::EMPTY,
        up: ScopeSet::EMPTY,
    }
}

fn own(name: &str) -> Scope {
    Scope {
        name: name.into(),
        class: if name == CALL { ScopeClass::Call } else { ScopeClass::Guard },
        vocabularies: VocabularySet::ALL,
        down: ScopeSet::EMPTY,
        up: ScopeSet::EMPTY,
    }
}

fn imply(written: &compact::Scope, names: &mut Names<'_>, down: &mut [ScopeSet]) {
    let Some(id) = names.guard(&written.name.text) else { return };
    for word in &written.implies {
        link(down, Some(id), names.scope(word));
    }
    for word in &written.same_as {
        let other = names.scope(word);
        link(down, Some(id), other);
        link(down, other, Some(id));
    }
}

fn link(down: &mut [ScopeSet], from: Option<ScopeId>, to: Option<ScopeId>) {
    if let (Some(from), Some(to)) = (from.and_then(|from| down.get_mut(from.index())), to) {
        from.insert(to);
    }
}

/// Repeats until nothing is added: a set only grows and has an end.
fn close(down: &mut [ScopeSet]) {
    loop {
        let before = down.to_vec();
        for set in down.iter_mut() {
            let reached: Vec<ScopeSet> = set.iter().filter_map(|id| before.get(id.index()).copied()).collect();
            reached.iter().for_each(|more| set.union_with(more));
        }
        if down == before {
            return;
        }
    }
}
