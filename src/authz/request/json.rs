//! A strict reader of JSON: what two readers could take for two documents is refused.
//!
//! It refuses duplicate keys (also escaped ones), deep nesting, lone surrogates, a byte order mark and trailing
//! bytes. Numbers that are not whole keep no value: no id is written as `1.0` or `1e3`.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::query::{MISSPELLED, Names, folds_to};
use super::{BadRequest, body::utf8};

/// The deepest nesting. Jira's rich text nests to about 20; a reader that recurses must have an end.
pub const DEPTH_MAX: u8 = 64;
/// The most values in one document: 1 MiB of `[0,0,…` would else become 20 MiB of tree.
pub const VALUES_MAX: u32 = 100_000;
/// Up to here a loop over all pairs of keys is cheaper than sorting.
const KEYS_FEW: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Whole(u64),
    /// Negative, fractional, or beyond 64 bits.
    OtherNumber,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// The members of a JSON object, in order, each key once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Value<'a>)>,
    among: Names,
}

/// Reads a whole document.
pub fn parse(body: &[u8]) -> Result<Value<'_>, BadRequest> {
    let text = utf8(body)?;
    let limits = Limits { values_left: Cell::new(VALUES_MAX), broken: Cell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Seed { depth_left: DEPTH_MAX, limits: &limits }.deserialize(&mut deserializer);
    let value = value.map_err(|_| limits.broken.get().unwrap_or(BadRequest("the body is not JSON")))?;
    deserializer.end().map_err(|_| BadRequest("something follows the JSON document"))?;
    Ok(value)
}

impl<'a> Value<'a> {
    /// The value at a JSON pointer (RFC 6901) through objects. `None`: a member on the way is absent or null.
    pub fn at(&self, pointer: &str) -> Result<Option<&Self>, BadRequest> {
        let mut value = self;
        for token in pointer.split('/').skip(1) {
            let key = if token.contains('~') {
                Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
            } else {
                Cow::Borrowed(token)
            };
            value = match value {
                Self::Object(object) => match object.member(&key)? {
                    Some(Self::Null) | None => return Ok(None),
                    Some(member) => member,
                },
                _ => return Err(BadRequest("a deciding member of the body stands in something that is not an object")),
            };
        }
        Ok(Some(value))
    }
}

impl<'a> Value<'a> {
    /// Each item of a list, each member of an object. `None`: it is neither.
    pub fn items(&self) -> Option<impl Iterator<Item = &Self>> {
        let (list, object) = match self {
            Self::List(items) => (&items[..], &[][..]),
            Self::Object(object) => (&[][..], &object.members[..]),
            Self::Null | Self::Bool(_) | Self::Whole(_) | Self::OtherNumber | Self::Text(_) => return None,
        };
        Some(list.iter().chain(object.iter().map(|(_, member)| member)))
    }
}

impl<'a> Object<'a> {
    /// The member of that key. A key that only a lenient reader takes for it (`Channel`) refuses the request.
    #[inline]
    pub fn member(&self, key: &str) -> Result<Option<&Value<'a>>, BadRequest> {
        if self.among.may_hold(key) { self.walk(key) } else { Ok(None) }
    }

    fn walk(&self, key: &str) -> Result<Option<&Value<'a>>, BadRequest> {
        let mut found = None;
        for (name, value) in &self.members {
            if name == key {
                found = Some(value);
            } else if folds_to(name, key) {
                return Err(MISSPELLED);
            }
        }
        Ok(found)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }
}

struct Limits {
    values_left: Cell<u32>,
    /// Which rule of ours was broken, if one was: serde's errors carry text alone.
    broken: Cell<Option<BadRequest>>,
}

impl Limits {
    fn refuse<E: Error>(&self, reason: &'static str) -> E {
        self.broken.set(Some(BadRequest(reason)));
        E::custom(reason)
    }
}

#[derive(Clone, Copy)]
struct Seed<'s> {
    depth_left: u8,
    limits: &'s Limits,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.limits.refuse("the JSON is nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.limits.values_left.get().checked_sub(1) {
            Some(left) => self.limits.values_left.set(left),
            None => return Err(self.limits.refuse("the JSON holds too many values")),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            members.push((key, entries.next_value_seed(seed)?));
        }
        if holds_a_key_twice(&members) {
            return Err(self.limits.refuse("an object of the JSON holds a key twice"));
        }
        let among = Names::of(members.iter().map(|(key, _)| key.as_bytes()));
        Ok(Value::Object(Object { members, among }))
    }
}

fn holds_a_key_twice(members: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    if members.len() <= KEYS_FEW {
        let earlier = |index: usize| members.iter().take(index);
        return members.iter().enumerate().any(|(index, (key, _))| earlier(index).any(|(other, _)| other == key));
    }
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    !keys.is_sorted_by(|a, b| a < b)
}

/// Reads a key, borrowed unless it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
