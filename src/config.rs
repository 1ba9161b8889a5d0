//! The configuration: `file` mirrors `scopegate.yaml`, `check` turns it into `model`, all problems at once.
//!
//! It is read once, when the process starts. It opens no file that it names: who uses one says what is wrong with it.

pub mod address;
pub mod catalog;
pub mod file;
pub mod model;

mod admin;
mod check;
mod fleet;
mod gate;
mod identify;
mod links;
mod lookups;
mod outbound;

use std::path::Path;
use std::sync::Arc;

use crate::problem::{At, Problem, fill_snippets};
use crate::yaml::typed::Reader;
use crate::yaml::{self, Source};
pub use model::Config;

/// Says whether a `product:` (`jira`, `jira@2025-12`) names a built-in catalog.
pub type KnownProduct<'a> = &'a dyn Fn(&str) -> bool;

/// Reads and checks a configuration file.
///
/// # Errors
/// Every problem of the file, or that it cannot be read.
pub fn load(path: &Path, known_product: KnownProduct<'_>) -> Result<Config, Vec<Problem>> {
    let file: Arc<Path> = Arc::from(path);
    let bytes = std::fs::read(path).map_err(|error| {
        let problem = Problem::error(&file, At::default(), format!("the configuration cannot be read: {error}"));
        vec![problem.help("name another with --config, or write one with `scopegate init`")]
    })?;
    let text = yaml::decode(&file, &bytes).map_err(|problem| vec![problem])?;
    parse(&file, text, known_product)
}

/// Checks a configuration. Relative paths are resolved against the folder of `file`.
///
/// # Errors
/// Every problem, in the order of the file.
pub fn parse(file: &Arc<Path>, text: &str, known_product: KnownProduct<'_>) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut sources = yaml::read(file, text, &mut problems);
    if let Some(second) = sources.get(1) {
        let problem = Problem::error(file, second.root.at, "a configuration is one document, this file has several");
        problems.push(problem.help("delete the `---` between them"));
        sources.truncate(1);
    }
    let config = sources.first().and_then(|source| one(source, known_product, &mut problems));
    problems.sort_by_key(|problem| problem.at);
    fill_snippets(&mut problems, text);
    match config {
        Some(config) if !problems.iter().any(Problem::is_error) => Ok(config),
        _ => Err(problems),
    }
}

fn one(source: &Source<'_>, known_product: KnownProduct<'_>, problems: &mut Vec<Problem>) -> Option<Config> {
    let reader = Reader::new(source);
    let folder = source.file.parent().unwrap_or(Path::new(""));
    let checked = reader.read(&source.root).into_spanned();
    let config = checked.and_then(|mirror| check::config(&reader, mirror, folder, known_product));
    problems.extend(reader.into_problems());
    config
}
