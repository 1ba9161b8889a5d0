//! The YAML of what hangs on the arguments of a request: scopes that some requests need on top of a line, and what a
//! grant may limit by `where`. Mirrored field by field, and nothing else.
//!
//! The build script includes this file, so it depends on serde and the YAML reader alone.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::compact::LimitReading;
use super::file::Text;

/// What requests of these operations need on top of a line, by what stands in them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraNeedsFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    pub sources: Vec<ExtraSourceFile>,
}

/// One place that tells it: exactly one of `query`, `argument` and `body` is written. What several places ask for is
/// needed together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraSourceFile {
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub argument: Option<Text>,
    /// A JSON pointer, in which `*` stands for each item of a list and each member of an object.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
    /// Several values may stand there: in a body they are a list, elsewhere parted by commas or repeated. What each of
    /// them asks for is needed.
    #[serde(default)]
    pub list: bool,
    #[serde(default)]
    pub values: Vec<ExtraValueFile>,
    /// What is needed where nothing stands there.
    pub absent: ExtraFile,
    /// What any value asks for that is not among `values`.
    pub other: ExtraFile,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraValueFile {
    #[schemars(with = "Vec<String>")]
    pub values: Vec<Text>,
    pub needs: ExtraFile,
}

/// `nothing`, `all` (what the `values` ask for, together), `unknown` (refused), or scopes by vocabulary.
#[derive(Debug, Clone)]
pub enum ExtraFile {
    Nothing,
    All,
    Unknown,
    /// No scopes: `nothing` is written.
    Scopes(Vec<(Text, Vec<Text>)>),
}

/// Something in a request that a grant may limit by `where`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitFile {
    #[schemars(with = "String")]
    pub limit: Text,
    pub why: String,
    #[serde(rename = "as")]
    pub reading: LimitReading,
    pub places: Vec<LimitPlaceFile>,
}

/// Where it stands. In an operation that is not named here it cannot be told, and such a grant gives nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitPlaceFile {
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    /// A JSON pointer.
    #[schemars(with = "String")]
    pub body: Text,
}

const EXTRA_WORDS: &[&str] = &["nothing", "all", "unknown"];

impl<'de> Deserialize<'de> for ExtraFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtraVisitor)
    }
}

struct ExtraVisitor;

impl<'de> Visitor<'de> for ExtraVisitor {
    type Value = ExtraFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`nothing`, `all`, `unknown`, or scopes by vocabulary")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            "nothing" => Ok(ExtraFile::Nothing),
            "all" => Ok(ExtraFile::All),
            "unknown" => Ok(ExtraFile::Unknown),
            _ => Err(E::unknown_variant(word, EXTRA_WORDS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut vocabularies: Vec<(Text, Vec<Text>)> = Vec::new();
        while let Some(key) = map.next_key::<Text>()? {
            if vocabularies.iter().any(|(other, _)| other.value == key.value) {
                return Err(de::Error::custom(format!("vocabulary `{}` is written twice", key.value)));
            }
            let ScopesFile(scopes) = map.next_value()?;
            vocabularies.push((key, scopes));
        }
        Ok(ExtraFile::Scopes(vocabularies))
    }
}

/// Scopes that must all be held, or `nothing`.
struct ScopesFile(Vec<Text>);

impl<'de> Deserialize<'de> for ScopesFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScopesVisitor)
    }
}

struct ScopesVisitor;

impl<'de> Visitor<'de> for ScopesVisitor {
    type Value = ScopesFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scopes, or `nothing`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            "nothing" => Ok(ScopesFile(Vec::new())),
            _ => Err(E::unknown_variant(word, &["nothing"])),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut scopes = Vec::new();
        while let Some(scope) = seq.next_element::<Text>()? {
            scopes.push(scope);
        }
        match scopes.is_empty() {
            true => Err(de::Error::custom("an empty list of scopes: write `nothing` where nothing is needed")),
            false => Ok(ScopesFile(scopes)),
        }
    }
}

impl JsonSchema for ExtraFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Extra".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`nothing`, `all` (what the `values` ask for, together), `unknown` (refused), or scopes by vocabulary that must all be held beside the line",
            "oneOf": [
                { "enum": ["nothing", "all", "unknown"] },
                {
                    "type": "object",
                    "additionalProperties": {
                        "oneOf": [
                            { "const": "nothing" },
                            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                        ],
                    },
                },
            ]
        })
    }
}
