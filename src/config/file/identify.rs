//! The part of a gate that says how callers are told apart.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::UpstreamTlsMirror;
use crate::yaml::field::{Field, Id, List, WORD_OR_MAP};
use crate::yaml::time::Span;

/// A method, or a map of one with what it needs.
#[derive(Debug)]
pub enum IdentifyMirror {
    /// A key of scopegate's own, worth nothing upstream.
    GateKey,
    /// The app's own token, passed on.
    Token,
    /// An Atlassian Connect JWT, passed on.
    ConnectJwt,
    Map(Box<IdentifyMapMirror>),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "IdentifyMap", deny_unknown_fields)]
pub struct IdentifyMapMirror {
    /// Tokens of an identity provider.
    pub jwt: Field<JwtMirror>,
    /// What proxies before the gate say of callers.
    pub trusted_header: Field<TrustedHeaderMirror>,
}

/// Names of header fields, in lower case. From whoever is not listed they are stripped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "TrustedHeader", deny_unknown_fields, extend("required" = ["from", "app"]))]
pub struct TrustedHeaderMirror {
    /// Whose word counts: addresses (`10.0.0.0/8`), or `unix` for whoever opens the gate's socket.
    pub from: Field<List<Id>>,
    /// Holds what the proxy calls the app.
    pub app: Field<Id>,
    pub tenant: Field<Id>,
    pub user: Field<Id>,
    /// Holds a list with commas.
    pub groups: Field<Id>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Jwt", deny_unknown_fields, extend("required" = ["issuer", "audience", "keys", "claims"]))]
pub struct JwtMirror {
    /// `iss`, exactly as tokens say it.
    pub issuer: Field<Id>,
    /// `aud` must name one of these.
    pub audience: Field<List<Id>>,
    /// The issuer's public keys: a JWK Set.
    pub keys: Field<KeysMirror>,
    /// How tokens may be signed: RS256, ES256 and EdDSA unless written.
    pub algorithms: Field<List<Id>>,
    /// How far ahead `exp` may lie: 24h unless written.
    pub max_life: Field<Span>,
    /// Which claims say who calls.
    pub claims: Field<ClaimsMirror>,
}

/// A URL or a file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Keys", deny_unknown_fields)]
pub struct KeysMirror {
    /// `https://host/path`: fetched when the gate starts, again and again, and when a token names a key that is not known.
    pub url: Field<Id>,
    /// For `https://`.
    pub tls: Field<UpstreamTlsMirror>,
    /// How often: 10m unless written.
    pub refresh: Field<Span>,
    /// The least time between two fetches that tokens ask for: 30s unless written.
    pub cool_down: Field<Span>,
    /// How long a set counts that cannot be fetched anew: 24h unless written.
    pub max_age: Field<Span>,
    /// Read anew when it changes.
    pub file: Field<Id>,
}

/// Names of claims; one that begins with `/` is a JSON pointer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Claims", deny_unknown_fields, extend("required" = ["app"]))]
pub struct ClaimsMirror {
    /// What the issuer calls the app: `client_id`, `azp`, `/act/sub`, …
    pub app: Field<Id>,
    /// Absent: tokens name no tenant.
    pub tenant: Field<Id>,
    /// `sub` unless written.
    pub user: Field<Id>,
    /// Absent: tokens name no groups.
    pub groups: Field<Id>,
}

impl<'de> Deserialize<'de> for IdentifyMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR_MAP, &["jwt", "trusted_header"], IdentifyVisitor)
    }
}

struct IdentifyVisitor;

impl<'de> Visitor<'de> for IdentifyVisitor {
    type Value = IdentifyMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`gate_key`, `token`, `connect_jwt`, `{jwt: {...}}` or `{trusted_header: {...}}`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<IdentifyMirror, E> {
        match word {
            "gate_key" => Ok(IdentifyMirror::GateKey),
            "token" => Ok(IdentifyMirror::Token),
            "connect_jwt" => Ok(IdentifyMirror::ConnectJwt),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IdentifyMirror, A::Error> {
        let map = IdentifyMapMirror::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(IdentifyMirror::Map(Box::new(map)))
    }
}

impl JsonSchema for IdentifyMirror {
    fn schema_name() -> Cow<'static, str> {
        "Identify".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<IdentifyMapMirror>();
        json_schema!({"anyOf": [{"enum": ["gate_key", "token", "connect_jwt"]}, map]})
    }
}
