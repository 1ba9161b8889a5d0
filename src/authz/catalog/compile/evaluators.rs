//! Checks the arguments by which operations evaluate something.

use super::names::Names;
use crate::authz::catalog::compact::{self, Compact};
use crate::authz::catalog::evaluators::Evaluator;

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Box<[Evaluator]> {
    compact.evaluators.iter().map(|written| evaluator(written, names)).collect()
}

fn evaluator(written: &compact::Evaluator, names: &mut Names<'_>) -> Evaluator {
    let compact::Evaluator { query, why, below, plain } = written;
    if why.trim().is_empty() {
        names.problem(query.spot, format!("evaluator `{}` needs a reason", query.text));
    }
    let is_name = |text: &String| !text.is_empty() && !text.contains(['.', ',', '*']);
    if query.text.is_empty() || below.iter().any(|name| !is_name(name)) || !plain.iter().all(is_name) {
        names.problem(
            query.spot,
            format!("evaluator `{}`: names and values are words without `.`, `,`, `*`", query.text),
        );
    }
    let boxed = |text: &String| Box::from(text.as_str());
    Evaluator {
        query: boxed(&query.text),
        why: boxed(why),
        below: below.as_ref().map(boxed),
        plain: plain.iter().map(boxed).collect(),
    }
}
