//! A manifest as a tree, and the questions that are asked of it. What is of another shape than the vendor's is noted with
//! its place, never taken for something else.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;

use crate::problem::{At, Problem, escaped};
use crate::yaml::node::{Node, Value};
use crate::yaml::{PROBLEMS_MAX, Source};

/// A manifest, and what is wrong with it.
pub(super) struct Tree<'s> {
    source: &'s Source<'s>,
    problems: RefCell<Vec<Problem>>,
}

impl<'s> Tree<'s> {
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        Self { source, problems: RefCell::default() }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn error(&self, at: At, message: impl Into<String>, help: &str) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem::error(&self.source.file, at, message).help(help));
        }
    }

    /// The same, unless it was said before.
    pub(super) fn error_once(&self, at: At, message: &str, help: &str) {
        let is_said = self.problems.borrow().iter().any(|problem| problem.message == message);
        if !is_said {
            self.error(at, message, help);
        }
    }

    /// The whole, if it is a map.
    pub(super) fn root(&self) -> Option<&'s Node<'s>> {
        let root = &self.source.root;
        let is_map = matches!(root.value, Value::Map(_));
        if !is_map {
            let message = format!("a manifest is a map, this is {}", root.shape());
            self.error(root.at, message, "name the app's manifest");
        }
        is_map.then_some(root)
    }

    /// Whether no map holds a key twice: a reader that takes the last one would ask for other scopes.
    pub(super) fn is_one_of_each(&self) -> bool {
        let before = self.problems.borrow().len();
        self.look_for_twice(&self.source.root);
        self.problems.borrow().len() == before
    }

    fn look_for_twice(&self, node: &Node<'_>) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.look_for_twice(item)),
            Value::Map(entries) => {
                let mut seen = HashSet::new();
                for (key, value) in entries {
                    match key.text(self.source.text) {
                        Some(name) if !seen.insert(name) => {
                            let message = format!("the key `{}` stands twice: which one counts?", shown(name));
                            self.error(key.at, message, "take one of them out");
                        }
                        Some(_) => {}
                        None => self.error(key.at, format!("a key is a word, this is {}", key.shape()), "write a word"),
                    }
                    self.look_for_twice(value);
                }
            }
            Value::Null | Value::Text(_) | Value::Plain { .. } => {}
        }
    }

    /// What stands under a key. Nothing is noted.
    pub(super) fn field<'n>(&self, node: &'n Node<'n>, key: &str) -> Option<&'n Node<'n>> {
        node.field(key, self.source.text).filter(|node| !matches!(node.value, Value::Null))
    }

    /// What stands at the end of some keys.
    pub(super) fn at<'n>(&self, node: &'n Node<'n>, keys: &[&str]) -> Option<&'n Node<'n>> {
        keys.iter().try_fold(node, |node, key| self.field(node, key))
    }

    /// The text of a scalar. Nothing is noted.
    pub(super) fn text<'n>(&'n self, node: &'n Node<'n>) -> Option<&'n str> {
        node.text(self.source.text)
    }

    /// The text under a key that may be absent.
    pub(super) fn text_at<'n>(&'n self, node: &'n Node<'n>, keys: &[&str]) -> Option<&'n str> {
        let node = self.at(node, keys)?;
        let text = self.text(node);
        if text.is_none() {
            self.unlike(node, keys.last().copied().unwrap_or_default(), "text");
        }
        text
    }

    /// Whether `true` stands there.
    pub(super) fn is_true(&self, node: &Node<'_>, keys: &[&str]) -> bool {
        self.at(node, keys).is_some_and(|node| self.text(node) == Some("true"))
    }

    /// The entries of a map under a key that may be absent.
    pub(super) fn entries<'n>(&'n self, node: &'n Node<'n>, keys: &[&str]) -> Vec<(&'n str, &'n Node<'n>)> {
        let Some(found) = self.at(node, keys) else { return Vec::new() };
        match &found.value {
            Value::Map(entries) => entries.iter().filter_map(|(key, value)| Some((self.text(key)?, value))).collect(),
            Value::Null | Value::Text(_) | Value::Plain { .. } | Value::List(_) => {
                self.unlike(found, keys.last().copied().unwrap_or_default(), "a map");
                Vec::new()
            }
        }
    }

    /// The texts of a list, each with its place.
    pub(super) fn texts<'n>(&'n self, list: &'n Node<'n>, key: &str) -> Vec<(&'n str, At)> {
        self.items(list, key).iter().filter_map(|item| Some((self.text_of_item(item, key)?, item.at))).collect()
    }

    pub(super) fn text_of_item<'n>(&'n self, item: &'n Node<'n>, key: &str) -> Option<&'n str> {
        let text = self.text(item);
        if text.is_none() {
            self.unlike(item, key, "a list of words");
        }
        text
    }

    /// The items of a list.
    pub(super) fn items<'n>(&self, list: &'n Node<'n>, key: &str) -> &'n [Node<'n>] {
        match &list.value {
            Value::List(items) => items,
            Value::Null | Value::Text(_) | Value::Plain { .. } | Value::Map(_) => {
                self.unlike(list, key, "a list");
                &[]
            }
        }
    }

    /// How many items stand in a list that may be absent or anything else.
    pub(super) fn count(&self, node: &Node<'_>, keys: &[&str]) -> usize {
        match self.at(node, keys).map(|node| &node.value) {
            Some(Value::List(items)) => items.len(),
            Some(Value::Null | Value::Text(_) | Value::Plain { .. } | Value::Map(_)) | None => 0,
        }
    }

    fn unlike(&self, node: &Node<'_>, key: &str, expected: &str) {
        let message = format!("`{}` is {expected}, this is {}", shown(key), node.shape());
        self.error(node.at, message, "export the manifest anew, or mend it by hand");
    }
}

fn shown(word: &str) -> String {
    escaped(word).chars().take(100).collect()
}

/// A text in which two escapes of JSON that mean one character (`\ud83d\ude00`) are that character.
pub(super) fn joined_surrogates(text: &str) -> Cow<'_, str> {
    if !text.to_ascii_lowercase().contains("\\ud") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let taken = match surrogates(escape) {
            Some(character) => {
                out.push(character);
                12
            }
            // A backslash and what it stands before are one: `\\ud83d` is none of ours.
            None => {
                let taken = escape.chars().take(2).map(char::len_utf8).sum();
                out.push_str(escape.get(..taken).unwrap_or(escape));
                taken
            }
        };
        rest = escape.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that two escapes at the start of a text mean.
fn surrogates(text: &str) -> Option<char> {
    let unit = |from: usize| {
        let escape = text.get(from..from + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok()
    };
    let mut read = char::decode_utf16([unit(0)?, unit(6)?]);
    let character = read.next()?.ok()?;
    read.next().is_none().then_some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_escapes_of_json_are_one_character() {
        assert_eq!(joined_surrogates(r#"{"a": "x\ud83d\ude00y"}"#), "{\"a\": \"x\u{1f600}y\"}");
        for same in [r"\ud83d", r"\\ud83d\ude00", r"\ud83d\u0041", r"\u00e9", "é\\", r"\ud83"] {
            assert_eq!(joined_surrogates(same), same);
        }
    }
}
