//! From a tree to serde types, noting every problem with its place instead of stopping at the first.
//!
//! A mirror type holds [`Field`]s: one that cannot be read is `Broken`, its problem noted, and its neighbours are read
//! on. Unknown and repeated keys are noted and passed over. Nothing here guesses: null is never a default.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::field::{FIELD, Field, WORD_OR_MAP};
use super::node::{Node, Value};
use super::{PROBLEMS_MAX, Source};
use crate::problem::{At, Problem, did_you_mean};

/// Reads values of one document and gathers their problems.
#[derive(Debug)]
pub struct Reader<'s> {
    file: &'s Arc<Path>,
    text: &'s str,
    problems: RefCell<Vec<Problem>>,
    /// Problems beyond [`PROBLEMS_MAX`], counted only.
    unsaid: Cell<usize>,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source<'_>) -> Self {
        Self { file: &source.file, text: source.text, problems: RefCell::default(), unsaid: Cell::default() }
    }

    pub fn file(&self) -> &'s Arc<Path> {
        self.file
    }

    /// The value, `Broken` if it cannot be one.
    pub fn read<T: DeserializeOwned>(&self, node: &Node<'_>) -> Field<T> {
        Field::deserialize_from(Typed { reader: self, node })
    }

    /// The value under a key, if it can be read. Nothing is noted: whoever reads the whole map does.
    pub fn read_quietly<T: DeserializeOwned>(&self, map: &Node<'_>, key: &str) -> Option<T> {
        let quiet = Reader { file: self.file, text: self.text, problems: RefCell::default(), unsaid: Cell::default() };
        quiet.read(map.field(key, self.text)?).into_value()
    }

    /// The text of a scalar.
    pub fn text_of<'n>(&'n self, node: &'n Node<'_>) -> Option<&'n str> {
        node.text(self.text)
    }

    /// The keys of a map, with their places. None of what is not a map.
    pub fn keys<'n>(&'n self, node: &'n Node<'_>) -> Vec<(&'n str, At)> {
        let Value::Map(entries) = &node.value else { return Vec::new() };
        entries.iter().filter_map(|(key, _)| Some((key.text(self.text)?, key.at))).collect()
    }

    pub fn error(&self, at: At, message: impl Into<String>) {
        self.push(Problem::error(self.file, at, message));
    }

    pub fn error_with_help(&self, at: At, message: impl Into<String>, help: impl Into<String>) {
        self.push(Problem::error(self.file, at, message).help(help));
    }

    pub fn warning_with_help(&self, at: At, message: impl Into<String>, help: impl Into<String>) {
        self.push(Problem::warning(self.file, at, message).help(help));
    }

    fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(problem);
        } else {
            self.unsaid.set(self.unsaid.get() + 1);
        }
    }

    /// What was noted, in the order of the file. An error left unsaid leaves one that says so.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.at);
        if let (unsaid @ 1.., Some(last)) = (self.unsaid.get(), problems.last()) {
            let at = last.at;
            problems.push(Problem::error(self.file, at, format!("and {unsaid} more problems in this document")));
        }
        problems
    }

    /// Notes a failure once, at the innermost place that knows of it.
    fn note(&self, failure: Failure, at: At) -> Failure {
        if let Failure::Unnoted { message, help } = failure {
            let problem = Problem { help, ..Problem::error(self.file, at, message) };
            self.push(problem);
        }
        Failure::Noted
    }

    fn noted(&self, at: At, message: impl Into<String>, help: Option<String>) -> Failure {
        self.note(Failure::Unnoted { message: message.into(), help }, at)
    }
}

/// Why a value could not be read.
#[derive(Debug)]
pub enum Failure {
    Unnoted { message: String, help: Option<String> },
    Noted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnoted { message, .. } => f.write_str(message),
            Self::Noted => f.write_str("not readable"),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Unnoted { message: message.to_string(), help: None }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Str(text) => format!("`{text}`"),
            de::Unexpected::Seq => "a list".into(),
            de::Unexpected::Map => "a map".into(),
            de::Unexpected::Unit => "nothing".into(),
            other => other.to_string(),
        };
        Self::Unnoted { message: format!("expected {expected}, found {found}"), help: None }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let (message, help) = unknown("key", field, expected);
        Self::Unnoted { message, help: Some(help) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let (message, help) = unknown("word", variant, expected);
        Self::Unnoted { message, help: Some(help) }
    }
}

/// The message and help for a word that is none of those expected.
pub fn unknown(what: &str, word: &str, expected: &[&str]) -> (String, String) {
    let help = match did_you_mean(word, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of: {}", expected.join(", ")),
    };
    (format!("unknown {what} `{word}`"), help)
}

/// A node as serde sees it.
#[derive(Clone, Copy)]
struct Typed<'r, 's, 'a> {
    reader: &'r Reader<'s>,
    node: &'r Node<'a>,
}

impl<'r> Typed<'r, '_, '_> {
    fn mismatch(&self, expected: &str) -> Failure {
        let help = match &self.node.value {
            Value::Null => {
                Some("write a value, or delete the key; to mean the text `null` or `~`, quote it".to_owned())
            }
            Value::Map(_) | Value::List(_) | Value::Text(_) | Value::Plain { .. } => None,
        };
        self.reader.noted(self.node.at, format!("expected {expected}, found {}", self.node.shape()), help)
    }

    fn text(&self) -> Result<&'r str, Failure> {
        let text = self.node.text(self.reader.text).ok_or_else(|| self.mismatch("text"))?;
        // An escape (`"\u0000"`) can hold what the file itself may not.
        match text.chars().find(|character| character.is_control() && !matches!(character, '\n' | '\t')) {
            None => Ok(text),
            Some(character) => {
                let message = format!("the text holds the control character U+{:04X}", u32::from(character));
                Err(self.reader.noted(self.node.at, message, None))
            }
        }
    }

    fn number<N: std::str::FromStr>(&self) -> Result<N, Failure> {
        let Value::Plain { .. } = self.node.value else { return Err(self.mismatch("a number")) };
        let text = self.text()?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        let help = || Some("write a whole number in decimal digits, without sign, `_` or leading 0".to_owned());
        let refused =
            || self.reader.noted(self.node.at, format!("`{text}` is not a number that can stand here"), help());
        if !plain {
            return Err(refused());
        }
        text.parse().map_err(|_| refused())
    }

    /// Entries whose key is text and stands for the first time; the others are noted.
    fn entries(&self, known: Option<&'static [&'static str]>) -> Result<Entries<'r, '_, '_>, Failure> {
        let Value::Map(all) = &self.node.value else { return Err(self.mismatch("a map")) };
        let mut seen = HashSet::with_capacity(all.len());
        let mut entries = Vec::with_capacity(all.len());
        for (key, value) in all {
            let Ok(name) = (Typed { reader: self.reader, node: key }).text() else { continue };
            if !seen.insert(name) {
                let help = "keep one of them; a list can hold several values";
                self.reader.error_with_help(key.at, format!("the key `{name}` stands here twice"), help);
            } else if let Some(known) = known
                && !known.contains(&name)
            {
                let (message, help) = unknown("key", name, known);
                self.reader.error_with_help(key.at, message, help);
            } else {
                entries.push((name, key, value));
            }
        }
        Ok(Entries { reader: self.reader, rest: entries.into_iter(), value: None })
    }

    fn finish<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| self.reader.note(failure, self.node.at))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let number = self.number()?;
            self.finish(visitor.$visit(number))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Typed<'_, '_, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Text(_) | Value::Plain { .. } => visitor.visit_str(self.text()?),
            Value::List(items) => visitor.visit_seq(Items { reader: self.reader, rest: items.iter() }),
            Value::Map(_) => visitor.visit_map(self.entries(None)?),
        };
        self.finish(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let result = match (&self.node.value, self.node.text(self.reader.text)) {
            (Value::Plain { .. }, Some("true")) => visitor.visit_bool(true),
            (Value::Plain { .. }, Some("false")) => visitor.visit_bool(false),
            _ => return Err(self.mismatch("`true` or `false`")),
        };
        self.finish(result)
    }

    numbers! { deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
    deserialize_i32 visit_i32, deserialize_i64 visit_i64 }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.text()?;
        self.finish(visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Value::List(items) = &self.node.value else { return Err(self.mismatch("a list")) };
        self.finish(visitor.visit_seq(Items { reader: self.reader, rest: items.iter() }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let entries = self.entries(None)?;
        self.finish(visitor.visit_map(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == WORD_OR_MAP && !matches!(self.node.value, Value::Map(_)) {
            return self.deserialize_any(visitor);
        }
        let entries = self.entries(Some(fields))?;
        self.finish(visitor.visit_map(entries))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let Some(text) = self.node.text(self.reader.text) else {
            return Err(self.mismatch(&format!("one of: {}", variants.join(", "))));
        };
        let word: StrDeserializer<'_, Failure> = text.into_deserializer();
        self.finish(visitor.visit_enum(word))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        let result = match name {
            FIELD => visitor.visit_seq(Placed { typed: self, step: 0 }),
            _ => visitor.visit_newtype_struct(self),
        };
        self.finish(result)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 char bytes byte_buf option unit unit_struct tuple tuple_struct ignored_any
    }
}

/// What a [`Field`] is made of: line, column, value.
struct Placed<'r, 's, 'a> {
    typed: Typed<'r, 's, 'a>,
    step: u8,
}

impl<'de> de::SeqAccess<'de> for Placed<'_, '_, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        self.step += 1;
        let at = self.typed.node.at;
        let number = |number: u32| -> U32Deserializer<Failure> { number.into_deserializer() };
        match self.step {
            1 => seed.deserialize(number(at.line)).map(Some),
            2 => seed.deserialize(number(at.column)).map(Some),
            _ => self.typed.finish(seed.deserialize(self.typed)).map(Some),
        }
    }
}

/// A list.
struct Items<'r, 's, 'a> {
    reader: &'r Reader<'s>,
    rest: std::slice::Iter<'r, Node<'a>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let typed = Typed { reader: self.reader, node };
        typed.finish(seed.deserialize(typed)).map(Some)
    }
}

/// A map.
struct Entries<'r, 's, 'a> {
    reader: &'r Reader<'s>,
    rest: std::vec::IntoIter<(&'r str, &'r Node<'a>, &'r Node<'a>)>,
    value: Option<&'r Node<'a>>,
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((_, node, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let typed = Typed { reader: self.reader, node };
        typed.finish(seed.deserialize(typed)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let typed = Typed { reader: self.reader, node };
        typed.finish(seed.deserialize(typed))
    }
}
