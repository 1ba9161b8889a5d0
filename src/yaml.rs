//! YAML as scopegate reads it, for policies, configuration and catalogs alike: strict, bounded, with places.
//!
//! `read` parts a file into documents and makes each a tree (`node`); `typed` reads a tree into serde types and notes
//! every problem instead of stopping at the first. The YAML library appears here and nowhere else.

pub mod field;
pub mod node;
pub mod plain;
pub mod time;
pub mod typed;

use std::path::Path;
use std::sync::Arc;

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

use crate::problem::{At, Problem};
use node::Node;

/// The largest file, in bytes. 10,000 grants are about 1.5 MB; more in one file is a mistake or an attack.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The deepest nesting of lists and maps. A policy needs six.
const DEPTH_MAX: usize = 32;
/// Values in one document: 8 MiB of `- a` lines stay below it, and a tree of them below 200 MB.
const NODES_MAX: usize = 2_000_000;
/// Anchors in one document, and uses of them.
const ANCHORS_MAX: usize = 1_000;
const ALIASES_MAX: usize = 10_000;
/// What all aliases of one document may add, in values: a bomb doubles per line and is over this within sixteen lines.
const ALIAS_EVENTS_MAX: usize = 100_000;
/// An alias within what an alias stands for, and so on.
const ALIAS_DEPTH_MAX: usize = 4;

/// Documents of one file.
const DOCUMENTS_MAX: usize = 10_000;
/// Problems that are kept of one document, and of one file: nobody mends more in one go, and a file of 8 MiB can hold a million.
pub const PROBLEMS_MAX: usize = 200;

/// One document of a file.
#[derive(Debug)]
pub struct Source<'a> {
    pub file: Arc<Path>,
    /// This document's lines.
    pub text: &'a str,
    pub root: Node<'a>,
}

/// The text of a file, or why it is none.
///
/// # Errors
/// Too large, not UTF-8, or with a character that no text file holds.
pub fn decode<'a>(file: &Arc<Path>, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(too_large(file, bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let at = place_after(&String::from_utf8_lossy(before));
        Problem::error(file, at, "this byte is not UTF-8").help("save the file as UTF-8")
    })?;
    Ok(text)
}

/// All documents of a file that can be read as YAML at all. Problems of the others are added to `problems`.
pub fn read<'a>(file: &Arc<Path>, text: &'a str, problems: &mut Vec<Problem>) -> Vec<Source<'a>> {
    if text.len() > FILE_BYTES_MAX {
        problems.push(too_large(file, text.len()));
        return Vec::new();
    }
    if let Some(problem) = forbidden_character(file, text) {
        problems.push(problem);
        return Vec::new();
    }
    let pieces = pieces(text);
    if pieces.is_empty() {
        problems.push(
            Problem::error(file, At { line: 1, column: 1 }, "the file holds no document")
                .help("delete the file, or write a document that begins with `version: 1`"),
        );
    }
    if let Some(piece) = pieces.get(DOCUMENTS_MAX) {
        let at = At { line: piece.lines_before + 1, column: 1 };
        problems.push(
            Problem::error(
                file,
                at,
                format!("the file has {} documents; at most {DOCUMENTS_MAX} are read", pieces.len()),
            )
            .help("split it into several files"),
        );
        return Vec::new();
    }
    pieces.into_iter().filter_map(|piece| document(file, &piece, problems)).collect()
}

/// The documents of a text as they stand, each with its `---` if it has one. Comments before the first `---` are none.
pub fn documents(text: &str) -> Vec<&str> {
    pieces(text).into_iter().map(|piece| piece.text).collect()
}

/// The lines of one document, from its `---` (if it has one) to before the next.
struct Piece<'a> {
    text: &'a str,
    lines_before: u32,
}

/// A line that starts with `---` begins a document wherever it stands, also within a block or quoted text (YAML 1.2.2,
/// §9.1.2). So each document can be read alone, and a broken one does not hide the problems of the next.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in (0u32..).zip(text.split_inclusive('\n')) {
        if offset > 0 && is_marker(line) {
            pieces.push(Piece { text: text.get(start..offset).unwrap_or_default(), lines_before: start_line });
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    pieces.push(Piece { text: text.get(start..).unwrap_or_default(), lines_before: start_line });
    // What stands before the first `---` is a document only if it says something.
    if pieces.first().is_some_and(|first| !is_marker(first.text) && is_blank(first.text)) {
        pieces.remove(0);
    }
    pieces
}

/// Whether the text begins with `---` as the start of a document.
pub fn is_marker(text: &str) -> bool {
    text.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Only comments and empty lines.
fn is_blank(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn document<'a>(file: &Arc<Path>, piece: &Piece<'a>, problems: &mut Vec<Problem>) -> Option<Source<'a>> {
    match serde_saphyr::from_str_with_options::<Node<'a>>(piece.text, options()) {
        Ok(mut root) if !matches!(root.value, node::Value::Null) => {
            root.shift(piece.lines_before);
            Some(Source { file: Arc::clone(file), text: piece.text, root })
        }
        Ok(_) => {
            let at = At { line: piece.lines_before + 1, column: 1 };
            problems.push(
                Problem::error(file, at, "this document is empty")
                    .help("delete its `---`, or write a document that begins with `version: 1`"),
            );
            None
        }
        Err(error) => {
            problems.push(unreadable(file, piece, &error));
            None
        }
    }
}

/// The library's own error, with its place and without its snippet.
fn unreadable(file: &Arc<Path>, piece: &Piece<'_>, error: &serde_saphyr::Error) -> Problem {
    use serde_saphyr::Error;
    let mut at = error.location().map(|location| node::place(&location)).unwrap_or_default();
    at.line = at.line.saturating_add(piece.lines_before).max(1);
    at.column = at.column.max(1);
    let mut error = error.without_snippet();
    while let Error::AliasError { error: cause, .. } = error {
        error = cause.without_snippet();
    }
    match error {
        Error::MergeKeyNotAllowed { .. } => {
            Problem::error(file, at, "merge keys (`<<`) are not read").help("write the keys out")
        }
        Error::UnsupportedTag { .. } => {
            Problem::error(file, at, "tags (`!…`) are not read").help("write the plain value; quote what must be text")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            Problem::error(file, at, format!("the document is over a limit: {}", first_line(&error.to_string())))
                .help("write it without aliases, or in several files")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Problem::error(file, at, "an alias refers to what it stands in").help("write the value out")
        }
        _ => Problem::error(file, at, format!("not readable as YAML: {}", first_line(&error.to_string()))),
    }
}

/// The library says the place again at the end of its message; a `Problem` has it already.
fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or(message);
    line.rfind(" at line ").and_then(|end| line.get(..end)).unwrap_or(line)
}

fn options() -> serde_saphyr::Options {
    // `typed` finds duplicates, and then goes on to the document's other problems.
    strict(DEPTH_MAX, FILE_BYTES_MAX, DuplicateKeyPolicy::PassThrough)
}

/// What is read at all: as many levels and bytes as said, and nothing that two readers may take for two things.
fn strict(depth_max: usize, bytes_max: usize, duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: depth_max,
            max_depth: depth_max,
            max_documents: 1,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_anchors: ANCHORS_MAX,
            max_aliases: ALIASES_MAX,
            max_total_scalar_bytes: bytes_max,
        },
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
            max_replay_stack_depth: ALIAS_DEPTH_MAX,
            max_alias_expansions_per_anchor: ALIASES_MAX,
        },
        strict_booleans: true,
        // Else `!!binary` would make another text of what is written.
        ignore_binary_tag_for_string: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn too_large(file: &Arc<Path>, bytes: usize) -> Problem {
    Problem::error(file, At::default(), format!("the file has {bytes} bytes; at most {FILE_BYTES_MAX} are read"))
        .help("split it into several files")
}

/// YAML forbids most control characters; some parsers stop at a NUL and hide what follows.
fn forbidden_character(file: &Arc<Path>, text: &str) -> Option<Problem> {
    let (offset, character) = text
        .char_indices()
        .find(|(_, character)| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}'))?;
    let at = place_after(text.get(..offset).unwrap_or_default());
    let message = format!("the character U+{:04X} may not stand in YAML", u32::from(character));
    Some(Problem::error(file, at, message).help("remove it"))
}

/// The place of the character that follows `text`.
fn place_after(text: &str) -> At {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    At { line: narrow(line), column: narrow(column) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::file_name;
    use node::Value;

    fn read_all(text: &str) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        let sources = read(&file_name("f.yaml"), text, &mut problems);
        let roots = sources.iter().map(|source| format!("{:?}", source.root.at)).collect();
        let problems = problems.iter().map(|problem| format!("{}: {}", problem.at.line, problem.message)).collect();
        (roots, problems)
    }

    /// The text of a scalar, and whether it stands without quotes and looks like a number or truth.
    fn scalar(written: &str) -> (Option<String>, bool) {
        let text = format!("é: [€]\nk: {written}\n");
        let mut problems = Vec::new();
        let sources = read(&file_name("f.yaml"), &text, &mut problems);
        assert_eq!(problems, [], "{written}");
        let node = sources[0].root.field("k", sources[0].text).unwrap();
        (node.text(sources[0].text).map(str::to_owned), matches!(node.value, Value::Plain { .. }))
    }

    #[test]
    fn a_scalar_is_its_text_as_written() {
        for text in ["0123", "1_000", "1e3", "0x1F", "true", "1e999", ".nan", "-.inf", "+12", "-7", "0.50", "0o17"] {
            assert_eq!(scalar(text), (Some(text.into()), true));
        }
        for text in ["no", "yes", "on", "y", "12:30:45", "2026-11-20", "C0HELP", "a:b", "nil"] {
            assert_eq!(scalar(text), (Some(text.into()), false));
        }
        assert_eq!(scalar("99999999999999999999999999").0.unwrap(), "99999999999999999999999999");
        assert_eq!(scalar("5 # five").0.unwrap(), "5");
        assert_eq!(scalar("!!binary aGVsbG8=").0.unwrap(), "aGVsbG8=");
        assert_eq!(scalar("'0123'"), (Some("0123".into()), false));
        for null in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(scalar(null), (None, false));
        }
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let (roots, problems) = read_all("a: [\n---\nb: 1\n--- # c\n---\n%x\n---\n- d: |\n    text\n");
        assert_eq!(roots.len(), 2, "{roots:?}");
        assert_eq!(roots[1], "At { line: 8, column: 1 }");
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[1].starts_with("4: this document is empty"), "{problems:?}");
    }

    #[test]
    fn what_stands_before_the_first_marker_may_be_comments() {
        assert_eq!(read_all("# a\n\n---\na: 1\n").1, Vec::<String>::new());
        assert_eq!(read_all("---\n# a\n").1, ["1: this document is empty"]);
        assert_eq!(read_all("\u{feff}a: 1\n").1, Vec::<String>::new());
        assert_eq!(read_all("a: 1\r\n---\r\nb: 2\r\n").0.len(), 2);
        assert_eq!(read_all("a: 1\n...\nb: 2\n").0.len(), 0);
        assert_eq!(read_all("a: 1\r---\rb: 2\r").0.len(), 0);
        assert_eq!(read_all("\n \n").1, ["1: the file holds no document"]);
    }

    #[test]
    fn a_file_is_text_of_bounded_size() {
        let file = file_name("f.yaml");
        let at = |bytes: &[u8]| {
            decode(&file, bytes).map(str::to_owned).map_err(|problem| (problem.at.line, problem.at.column))
        };
        assert_eq!(at(b"a: \xc3\xa9"), Ok("a: é".into()));
        assert_eq!(at(b"a: 1\nb: \xff"), Err((2, 4)));
        assert_eq!(at(&vec![b' '; FILE_BYTES_MAX + 1]), Err((0, 0)));
        assert_eq!(read_all("a: 1\nb: x\0y").1, ["2: the character U+0000 may not stand in YAML"]);
        assert_eq!(read_all("a: \u{1b}[31m").1.len(), 1);
    }

    #[test]
    fn bombs_are_refused_before_they_burst() {
        let mut laughs = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            laughs += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep_block: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let many = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(10_000), "*a, ".repeat(9_000));
        for bomb in [laughs, deep, deep_block, many] {
            let (roots, problems) = read_all(&bomb);
            assert_eq!((roots.len(), problems.len()), (0, 1), "{problems:?}");
        }
    }
}
