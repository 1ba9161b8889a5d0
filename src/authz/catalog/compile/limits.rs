//! Numbers what grants may limit, and finds for each operation where it stands.

use std::collections::HashMap;

use super::names::Names;
use crate::authz::catalog::OperationId;
use crate::authz::catalog::compact::{self, Compact, Word};
use crate::authz::catalog::limits::{Limit, LimitId, LimitPlace};
use crate::problem::did_you_mean;

/// The model, and the places of each operation.
pub struct Compiled {
    pub model: Box<[Limit]>,
    places: HashMap<OperationId, Vec<LimitPlace>>,
}

impl Compiled {
    pub fn of(&self, operation: OperationId) -> Box<[LimitPlace]> {
        self.places.get(&operation).map_or_else(Box::default, |places| places.as_slice().into())
    }
}

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Compiled {
    let ids = (0..=u16::MAX).zip(&compact.operations);
    let ids: HashMap<&str, OperationId> = ids.map(|(id, one)| (one.id.text.as_str(), OperationId(id))).collect();
    let mut compiled = Compiled { model: compact.limits.iter().map(limit).collect(), places: HashMap::new() };
    for (written, id) in compact.limits.iter().zip((0..=u8::MAX).map(LimitId)) {
        if written.why.trim().is_empty() {
            names.problem(written.name.spot, format!("limit `{}` needs a reason", written.name.text));
        }
        if written.places.is_empty() {
            let message = format!("limit `{}` stands in no operation: no grant could be met", written.name.text);
            names.problem(written.name.spot, message);
        }
        for (operation, pointer) in &written.places {
            let place = LimitPlace { limit: id, pointer: pointer.text.as_str().into() };
            check(pointer, names);
            match ids.get(operation.text.as_str()) {
                Some(found) => add(compiled.places.entry(*found).or_default(), place, operation, names),
                None => unknown(operation, &ids, names),
            }
        }
    }
    compiled
}

fn limit(written: &compact::Limit) -> Limit {
    Limit { name: written.name.text.as_str().into(), why: written.why.as_str().into(), reading: written.reading }
}

fn add(places: &mut Vec<LimitPlace>, place: LimitPlace, operation: &Word, names: &mut Names<'_>) {
    match places.contains(&place) {
        true => names.problem(operation.spot, format!("`{}` is written twice", operation.text)),
        false => places.push(place),
    }
}

fn check(pointer: &Word, names: &mut Names<'_>) {
    let text = &pointer.text;
    if !text.starts_with('/') {
        names.problem(pointer.spot, format!("`{text}` is not a JSON pointer: it starts with `/`"));
    }
    if text.contains('*') {
        names.problem(pointer.spot, format!("`{text}`: what a grant limits is one value, and not looked for in lists"));
    }
}

fn unknown(operation: &Word, ids: &HashMap<&str, OperationId>, names: &mut Names<'_>) {
    let near = did_you_mean(&operation.text, ids.keys().copied()).map(|near| format!("did you mean `{near}`?"));
    let problem = names.sources.problem(operation.spot, format!("no operation is called `{}`", operation.text));
    names.problems.push(match near {
        Some(near) => problem.help(near),
        None => problem,
    });
}
