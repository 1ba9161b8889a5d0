//! The types that mirrors of a file are made of: a field with its place, identifiers, and word-or-map values.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::problem::{At, Spanned};

/// The name under which `typed` knows a [`Field`].
pub(super) const FIELD: &str = "scopegate::yaml::Field";

/// The struct name by which a visitor says that it also takes a word or a list. Its map is still held to the fields.
pub const WORD_OR_MAP: &str = "scopegate::yaml::WordOrMap";

/// What stands under a key. Mirrors use it with `#[serde(default)]`, so that a key that is not there is `Absent`.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<T> {
    Absent,
    /// Written but not readable: the problem is noted already.
    Broken(At),
    Written(Spanned<T>),
}

impl<T> Field<T> {
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Where it is written, readable or not.
    pub fn at(&self) -> Option<At> {
        match self {
            Self::Absent => None,
            Self::Broken(at) => Some(*at),
            Self::Written(spanned) => Some(spanned.at),
        }
    }

    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Written(spanned) => Some(&spanned.value),
            Self::Absent | Self::Broken(_) => None,
        }
    }

    pub fn spanned(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Written(spanned) => Some(spanned),
            Self::Absent | Self::Broken(_) => None,
        }
    }

    pub fn into_spanned(self) -> Option<Spanned<T>> {
        match self {
            Self::Written(spanned) => Some(spanned),
            Self::Absent | Self::Broken(_) => None,
        }
    }

    pub fn into_value(self) -> Option<T> {
        self.into_spanned().map(|spanned| spanned.value)
    }

    pub(super) fn deserialize_from<'de, D: Deserializer<'de>>(deserializer: D) -> Self
    where
        T: Deserialize<'de>,
    {
        Self::deserialize(deserializer).unwrap_or(Self::Broken(At::default()))
    }
}

/// Nothing written. (Derived, it would ask for `T: Default`.)
impl<T> Default for Field<T> {
    fn default() -> Self {
        Self::Absent
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let line = seq.next_element()?.unwrap_or_default();
        let column = seq.next_element()?.unwrap_or_default();
        let at = At { line, column };
        Ok(match seq.next_element() {
            Ok(Some(value)) => Field::Written(Spanned { value, at }),
            Ok(None) | Err(_) => Field::Broken(at),
        })
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list whose broken items do not hide the others.
pub type List<T> = Vec<Field<T>>;

/// An identifier: text as written, nothing around it and nothing invisible in it.
///
/// A quoted `" C0EXEC"`, or one with a zero-width space pasted in, equals no id: in a revocation it would take nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(pub String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(de::Error::custom("an empty text names nothing"));
        }
        if text.trim() != text {
            return Err(de::Error::custom(format!("`{text}` has blanks around it")));
        }
        match text.chars().find(|character| character.is_control() || is_invisible(*character)) {
            None => Ok(Self(text)),
            Some(character) => {
                Err(de::Error::custom(format!("the text holds the invisible character U+{:04X}", u32::from(character))))
            }
        }
    }
}

/// Zero-width characters and those that turn the direction of writing.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text as written; a number is read as its digits.",
            "type": ["string", "number", "boolean"],
            "minLength": 1
        })
    }
}

/// `all`, or a list.
#[derive(Debug, Clone, PartialEq)]
pub enum AllOr<T> {
    All,
    Listed(List<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AllOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllOrVisitor(PhantomData))
    }
}

struct AllOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AllOrVisitor<T> {
    type Value = AllOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all` or a list such as `[a, b]`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            "all" => Ok(AllOr::All),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(AllOr::Listed)
    }
}

impl<T: JsonSchema> JsonSchema for AllOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("AllOr{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({"anyOf": [{"const": "all"}, {"type": "array", "items": items, "minItems": 1}]})
    }
}

/// A list, or nothing under its key.
///
/// For what gives: whoever deletes the last grant leaves `grants:` behind, and that must take effect (law 9). Refused,
/// the file would stand in its last good form, and the grant with it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListOrNothing<T>(pub List<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ListOrNothing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrNothingVisitor(PhantomData))
    }
}

struct ListOrNothingVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListOrNothingVisitor<T> {
    type Value = ListOrNothing<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(ListOrNothing(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(ListOrNothing)
    }
}

impl<T: JsonSchema> JsonSchema for ListOrNothing<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({"type": ["array", "null"], "items": items})
    }
}

/// A map whose keys are the author's own, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries<T>(pub Vec<(Spanned<String>, Field<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

pub(crate) struct EntriesVisitor<T>(pub(crate) PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Field<Id>>()? {
            let value = map.next_value()?;
            if let Field::Written(Spanned { value: Id(name), at }) = key {
                entries.push((Spanned { value: name, at }, value));
            }
        }
        Ok(Entries(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Entries{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": values, "minProperties": 1})
    }
}
