//! Reads a catalog from its file and the overlay beside it: one way for start-up, `check` and tests.
//!
//! A file is read at start-up and by commands, never while a request is judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authz::catalog::Catalog;
use crate::authz::catalog::load::Source;
use crate::problem::{At, Problem, file_name};

impl Catalog {
    /// Reads `path` and, where it exists, the overlay beside it (`jira.yaml`, `jira.overlay.yaml`).
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = read(path)?;
        let beside = overlay_beside(path);
        let overlay = if beside.exists() { Some(read(&beside)?) } else { None };
        let overlay = overlay.as_deref().map(|text| Source { path: &beside, text });
        Self::parse(Source { path, text: &text }, overlay)
    }
}

/// Where the overlay of a catalog stands.
pub fn overlay_beside(path: &Path) -> PathBuf {
    path.with_extension("overlay.yaml")
}

fn read(path: &Path) -> Result<String, Vec<Problem>> {
    std::fs::read_to_string(path).map_err(|error| {
        let name: Arc<Path> = file_name(path);
        vec![Problem::error(&name, At::default(), format!("cannot be read: {error}"))]
    })
}
