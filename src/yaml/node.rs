//! One YAML document as a tree, each value with its place. It decides nothing: what a scalar means (text, number,
//! word) is said by who reads it, so `0123` and `no` stay as written where an identifier is wanted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::problem::At;

/// A value and where it stands. A map stands where its first key does.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'a> {
    pub at: At,
    pub value: Value<'a>,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing, `~` or `null`.
    Null,
    Text(Cow<'a, str>),
    /// Not in quotes, and YAML would call it a number or `true` or `false`: where it stands in the source.
    Plain {
        start: usize,
        len: usize,
    },
    List(Vec<Node<'a>>),
    Map(Vec<(Node<'a>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The scalar as its author wrote it (quotes and escapes undone), or `None` for null, a list or a map.
    pub fn text<'n>(&'n self, source: &'n str) -> Option<&'n str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Plain { start, len } => source.get(*start..start.saturating_add(*len)).map(str::trim),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value under `key`, if this is a map that has it.
    pub fn field(&self, key: &str, source: &str) -> Option<&Node<'a>> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.text(source) == Some(key)).map(|(_, value)| value)
    }

    /// For messages: "a list", "a map", …
    pub fn shape(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Text(_) => "text",
            Value::Plain { .. } => "a number or a true/false word",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Moves this node and all below it down by `lines`.
    pub(super) fn shift(&mut self, lines: u32) {
        self.at.line = self.at.line.saturating_add(lines);
        match &mut self.value {
            Value::Null | Value::Text(_) | Value::Plain { .. } => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.shift(lines);
                value.shift(lines);
            }),
        }
    }
}

/// Where an alias stands, its place is that of the alias, its text that of the anchor.
impl<'a, 'de: 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<Shape<'a>>::deserialize(deserializer)?;
        let mut at = place(&spanned.referenced);
        let value = match spanned.value.0 {
            Some(value) => value,
            None => {
                let span = spanned.defined.span();
                let as_usize = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
                let (Some(start), Some(len)) = (as_usize(span.byte_offset()), as_usize(span.byte_len())) else {
                    return Err(serde::de::Error::custom("the place of a number in the file is not known"));
                };
                Value::Plain { start, len }
            }
        };
        if let Value::Map(entries) = &value
            && let Some((key, _)) = entries.first()
        {
            at = key.at;
        }
        Ok(Node { at, value })
    }
}

/// The place of the library, in ours.
pub(super) fn place(location: &serde_saphyr::Location) -> At {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    At { line: narrow(location.line()), column: narrow(location.column()) }
}

/// A value without its place; `None` is a scalar that is only known by where it stands.
struct Shape<'a>(Option<Value<'a>>);

impl<'a, 'de: 'a> Deserialize<'de> for Shape<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(std::marker::PhantomData)).map(Shape)
    }
}

struct ShapeVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'a, 'de: 'a> Visitor<'de> for ShapeVisitor<'a> {
    type Value = Option<Value<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Value::Null))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Owned(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Some(Value::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Some(Value::Map(entries)))
    }
}
