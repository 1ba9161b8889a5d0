//! Compiles a catalog from its text and its overlay's, or from the compact form that the binary carries.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::compact::Compact;
use super::compile::compile;
use super::merge::{Sources, merge};
use super::{Catalog, file};
use crate::problem::{At, Problem, file_name};

/// A file's name and text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Catalog {
    /// Compiles a catalog and its overlay from their texts.
    pub fn parse(catalog: Source<'_>, overlay: Option<Source<'_>>) -> Result<Self, Vec<Problem>> {
        let sources = sources(catalog, overlay);
        let compact = words(catalog, overlay, &sources);
        let compiled = compact.and_then(|compact| {
            let bytes = postcard::to_allocvec(&compact)
                .map_err(|error| vec![Problem::error(&sources.catalog, At::default(), error.to_string())])?;
            compile(&compact, digest(&bytes), &sources)
        });
        compiled
            .map_err(|problems| problems.into_iter().map(|problem| with_snippet(problem, catalog, overlay)).collect())
    }

    /// Compiles the compact form that the binary carries.
    pub fn from_compact(bytes: &[u8], name: &str) -> Result<Self, Vec<Problem>> {
        let sources = Sources { catalog: file_name(name), overlay: None };
        let compact: Compact = postcard::from_bytes(bytes)
            .map_err(|error| vec![Problem::error(&sources.catalog, At::default(), error.to_string())])?;
        compile(&compact, digest(bytes), &sources)
    }
}

fn sources(catalog: Source<'_>, overlay: Option<Source<'_>>) -> Sources {
    Sources { catalog: file_name(catalog.path), overlay: overlay.map(|overlay| file_name(overlay.path)) }
}

/// The merged catalog in words, with the problems of both files at once.
fn words(catalog: Source<'_>, overlay: Option<Source<'_>>, sources: &Sources) -> Result<Compact, Vec<Problem>> {
    let written = file::catalog(&sources.catalog, catalog.text);
    let laid = match (overlay, &sources.overlay) {
        (Some(overlay), Some(name)) => file::overlay(name, overlay.text).map(Some),
        (Some(_), None) | (None, _) => Ok(None),
    };
    match (written, laid) {
        (Ok(written), Ok(laid)) => merge(&written, laid.as_ref(), sources),
        (written, laid) => Err(written.err().into_iter().chain(laid.err()).collect()),
    }
}

/// SHA-256 as lower-case hex.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_snippet(problem: Problem, catalog: Source<'_>, overlay: Option<Source<'_>>) -> Problem {
    let source = overlay.filter(|overlay| *problem.file == *overlay.path).unwrap_or(catalog);
    let line = usize::try_from(problem.at.line).ok().and_then(|line| line.checked_sub(1));
    let snippet = line.and_then(|line| source.text.lines().nth(line)).map(|line| line.trim_end().to_owned());
    Problem { snippet, ..problem }
}
