//! From a policy file's text to its documents, and every problem of form with its place. It knows no catalog and no clock.
//!
//! `mirror` is the YAML's shape; `app`, `rule` and `other` check what a shape cannot say and build `document`'s types. A
//! document with an error is left out; whether the file's other documents then count is the caller's to say (law 7).

pub mod mirror;

mod app;
mod check;
mod other;
mod rule;

use std::path::Path;
use std::sync::Arc;

use super::document::{Body, Document};
use crate::problem::{Problem, fill_snippets};
use crate::yaml::node::{Node, Value};
use crate::yaml::typed::{Reader, unknown};
use crate::yaml::{self, Source};

/// The one format there is.
const VERSION: u32 = 1;
const HEADS: [&str; 5] = ["app", "guardrail", "set", "group", "names"];
/// Heads that later releases read; an older one must not skip such a document.
const RESERVED_HEADS: [&str; 2] = ["migration", "integration"];

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A person, in the policy folder.
    Policy,
    /// A command, in the overrides folder: it may also hold install windows and suspensions.
    Override,
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The documents that have no error, in the order of the file.
    pub documents: Vec<Document>,
    /// All problems of all documents, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads the documents of one file. The text is at most [`yaml::FILE_BYTES_MAX`] bytes, else that is the problem.
pub fn parse(file: &Arc<Path>, text: &str, origin: Origin) -> Parsed {
    let mut parsed = Parsed::default();
    for source in yaml::read(file, text, &mut parsed.problems) {
        if parsed.problems.len() > yaml::PROBLEMS_MAX {
            let message = "too many problems: this document and those after it were not read";
            parsed.problems.push(Problem::error(file, source.root.at, message));
            break;
        }
        let reader = Reader::new(&source);
        let body = body(&reader, &source, origin);
        let problems = reader.into_problems();
        let broken = problems.iter().any(Problem::is_error);
        parsed.problems.extend(problems);
        match body {
            Some(body) if !broken => parsed.documents.push(Document { at: source.root.at, body }),
            _ => {}
        }
    }
    parsed.problems.sort_by_key(|problem| problem.at);
    fill_snippets(&mut parsed.problems, text);
    parsed
}

/// Reads the documents of a file that may not be text at all.
pub fn parse_bytes(file: &Arc<Path>, bytes: &[u8], origin: Origin) -> Parsed {
    match yaml::decode(file, bytes) {
        Ok(text) => parse(file, text, origin),
        Err(problem) => Parsed { documents: Vec::new(), problems: vec![problem] },
    }
}

fn body(reader: &Reader<'_>, source: &Source<'_>, origin: Origin) -> Option<Body> {
    let root = &source.root;
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("a policy document is a map, this is {}", root.shape());
        reader.error_with_help(root.at, message, "begin it with `version: 1` and `app: product/name`");
        return None;
    }
    version(reader, root);
    match head(reader, root)? {
        "app" => app::app(reader, reader.read(root), origin).map(Body::App),
        "guardrail" => other::guardrail(reader, reader.read(root)).map(Body::Guardrail),
        "set" => other::set(reader, reader.read(root)).map(Body::Set),
        "group" => other::group(reader, reader.read(root)).map(Body::Group),
        "names" => other::names(reader, reader.read(root)).map(Body::Names),
        _ => None,
    }
}

/// A number that cannot be read is noted when the mirror is read; here only its absence and its value.
fn version(reader: &Reader<'_>, root: &Node<'_>) {
    let Some((_, at)) = reader.keys(root).into_iter().find(|(key, _)| *key == "version") else {
        return reader.error_with_help(root.at, "the document lacks `version`", "begin it with `version: 1`");
    };
    let written = reader.read_quietly::<u32>(root, "version");
    if written.is_some_and(|version| version != VERSION) {
        reader.error_with_help(at, "this version of the format is not known", "this release reads `version: 1`");
    }
}

/// The one head key of a document.
fn head(reader: &Reader<'_>, root: &Node<'_>) -> Option<&'static str> {
    let keys = reader.keys(root);
    if let Some((word, at)) = keys.iter().find(|(key, _)| RESERVED_HEADS.contains(key)) {
        reader.error_with_help(*at, format!("`{word}` documents come with a later release"), "take the document out");
        return None;
    }
    let mut found = keys.iter().filter_map(|(key, at)| Some((HEADS.into_iter().find(|head| head == key)?, *at)));
    let Some((head, _)) = found.next() else {
        no_head(reader, root);
        return None;
    };
    if let Some((other, at)) = found.find(|(other, _)| *other != head) {
        let message = format!("a document has one head, this one has `{head}` and `{other}`");
        reader.error_with_help(at, message, "part it into two documents with `---` between them");
        return None;
    }
    Some(head)
}

fn no_head(reader: &Reader<'_>, root: &Node<'_>) {
    let near = reader.keys(root).into_iter().find_map(|(key, at)| {
        let near = crate::problem::did_you_mean(key, HEADS)?;
        Some((key.to_owned(), at, near))
    });
    match near {
        Some((key, at, _)) => {
            let (message, help) = unknown("key", &key, &HEADS);
            reader.error_with_help(at, message, help);
        }
        None => {
            let help = format!("write one of: {}", HEADS.join(", "));
            reader.error_with_help(root.at, "the document does not say what it is about", help);
        }
    }
}
