//! The part of a gate that says how the product is asked about things that requests name.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::tls::ProxySchemeWord;
use crate::yaml::field::{Field, Id, WORD_OR_MAP};
use crate::yaml::time::Span;

/// `off`, or a map.
#[derive(Debug)]
pub enum LookupsMirror {
    Off,
    Map(LookupsMapMirror),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Lookups", deny_unknown_fields)]
pub struct LookupsMapMirror {
    /// The tenant's own, with no more rights than reading: for callers whose credential cannot carry another request.
    pub credential: Field<LookupCredentialMirror>,
    /// Questions a second with that credential: 5 unless written.
    pub per_second: Field<u32>,
    /// For one question: 2s unless written.
    pub timeout: Field<Span>,
    /// How long an answer counts: 30s unless written. Where a revocation is limited to containers, 5s at most.
    pub max_fact_age: Field<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "LookupCredential", deny_unknown_fields, extend("required" = ["file"]))]
pub struct LookupCredentialMirror {
    /// A token, or `user:password`; read again when it changes.
    pub file: Field<Id>,
    /// How it is shown: bearer unless written.
    pub scheme: Field<ProxySchemeWord>,
}

impl<'de> Deserialize<'de> for LookupsMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = &["credential", "per_second", "timeout", "max_fact_age"];
        deserializer.deserialize_struct(WORD_OR_MAP, keys, LookupsVisitor)
    }
}

struct LookupsVisitor;

impl<'de> Visitor<'de> for LookupsVisitor {
    type Value = LookupsMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or `{credential: {file: ...}, per_second: 5, timeout: 2s, max_fact_age: 30s}`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<LookupsMirror, E> {
        match word {
            "off" => Ok(LookupsMirror::Off),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LookupsMirror, A::Error> {
        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(LookupsMirror::Map)
    }
}

impl JsonSchema for LookupsMirror {
    fn schema_name() -> Cow<'static, str> {
        "LookupsOrOff".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<LookupsMapMirror>();
        json_schema!({"anyOf": [{"const": "off"}, map]})
    }
}
