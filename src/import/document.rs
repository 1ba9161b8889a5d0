//! A description as values: JSON or YAML, bounded, and no key of an object twice.
//!
//! A reader that takes the last of two equal keys would import other scopes than one that takes the first.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::ImportError;
use crate::yaml::plain::{PLAIN_BYTES_MAX, plain};

/// The largest description that is read, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = PLAIN_BYTES_MAX;

/// Reads JSON.
pub fn json(text: &str) -> Result<Value, ImportError> {
    let Strict(value) = serde_json::from_str(bounded(text)?)?;
    Ok(value)
}

/// Reads JSON, which begins with a brace, or YAML.
pub fn any(text: &str) -> Result<Value, ImportError> {
    let text = bounded(text)?;
    if text.trim_start().starts_with('{') {
        return json(text);
    }
    let Strict(value) = plain(text).map_err(ImportError::Yaml)?;
    Ok(value)
}

fn bounded(text: &str) -> Result<&str, ImportError> {
    if text.len() > DESCRIPTION_BYTES_MAX {
        let mib = DESCRIPTION_BYTES_MAX / (1024 * 1024);
        return Err(ImportError::Shape(format!("larger than {mib} MiB: no description is")));
    }
    Ok(text.trim_start_matches('\u{feff}'))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if object.contains_key(&key) {
                return Err(de::Error::custom(format!(
                    "the key `{key}` stands twice in one object: which one counts?"
                )));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_give_the_same_values() {
        let expected = json!({"a": [1, -2, 0.5, true, null, "no"], "200": {"b": "x"}});
        assert_eq!(any(r#" {"a": [1, -2, 0.5, true, null, "no"], "200": {"b": "x"}}"#).unwrap(), expected);
        assert_eq!(any("a: [1, -2, 0.5, true, null, no]\n200:\n  b: x\n").unwrap(), expected);
        assert_eq!(any("\u{feff}a: 1\n").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in [r#"{"a": 1, "a": 1}"#, "a: 1\na: 1\n", r#"{"x": [{"security": [], "security": []}]}"#] {
            let said = any(text).unwrap_err().to_string();
            assert!(said.contains("twice") || said.contains("duplicate"), "{said}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_burst() {
        let mut laughs = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            laughs += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        let deep_json = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let deep_yaml: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        for bomb in [&laughs, &deep_json, &deep_yaml] {
            assert!(any(bomb).is_err());
        }
    }
}
