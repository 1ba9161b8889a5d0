//! The part of a gate that says what its connections are made of: TLS on either side, and the proxy on the way out.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::yaml::field::{Field, Id, WORD_OR_MAP};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Tls", deny_unknown_fields, extend("required" = ["certificate", "key"]))]
pub struct TlsMirror {
    pub certificate: Field<Id>,
    pub key: Field<Id>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "UpstreamTls", deny_unknown_fields)]
pub struct UpstreamTlsMirror {
    /// A PEM file with roots; read again when it changes.
    pub ca: Field<Id>,
    /// Which roots count: those of `ca` alone where it is written, the public ones where it is not.
    pub roots: Field<RootsWord>,
    /// The name in the server's certificate; the host it is reached by unless written.
    pub server_name: Field<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Roots")]
pub enum RootsWord {
    /// Mozilla's list, as compiled in.
    Public,
    /// Those of `ca`, and no other.
    File,
    /// Those of `ca` beside the public ones.
    Both,
}

/// `http://host:port`, or a map.
#[derive(Debug)]
pub enum ViaMirror {
    Proxy(String),
    Map(ViaMapMirror),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Via", deny_unknown_fields, extend("required" = ["proxy"]))]
pub struct ViaMapMirror {
    /// `http://host:port`, or `https://host:port` where the proxy itself is spoken to over TLS.
    pub proxy: Field<Id>,
    /// What the proxy is shown.
    pub authorization: Field<ProxyAuthorizationMirror>,
    /// For `https://`.
    pub tls: Field<UpstreamTlsMirror>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ProxyAuthorization", deny_unknown_fields, extend("required" = ["file"]))]
pub struct ProxyAuthorizationMirror {
    /// `user:password`, or a token; read again when it changes.
    pub file: Field<Id>,
    /// How it is shown: basic unless written.
    pub scheme: Field<ProxySchemeWord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProxyScheme")]
pub enum ProxySchemeWord {
    Basic,
    Bearer,
}

impl<'de> Deserialize<'de> for ViaMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR_MAP, &["proxy", "authorization", "tls"], ViaVisitor)
    }
}

struct ViaVisitor;

impl<'de> Visitor<'de> for ViaVisitor {
    type Value = ViaMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`http://host:port`, or `{proxy: http://host:port, ...}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ViaMirror, E> {
        Ok(ViaMirror::Proxy(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ViaMirror, A::Error> {
        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(ViaMirror::Map)
    }
}

impl JsonSchema for ViaMirror {
    fn schema_name() -> Cow<'static, str> {
        "ViaOrProxy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<ViaMapMirror>();
        json_schema!({"anyOf": [{"type": "string", "pattern": "^https?://"}, map]})
    }
}
