//! `overrides:` as it may be written: a folder, the URL of a bucket, or a map with more about the bucket.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::{RootsWord, TokenFileMirror};
use crate::yaml::field::{Field, Id, List, WORD_OR_MAP};
use crate::yaml::time::Span;

/// A folder, `nats://host:4222/bucket`, or a map.
#[derive(Debug)]
pub enum OverridesMirror {
    /// A folder, or the URL of a bucket.
    Text(String),
    Bucket(Box<BucketMirror>),
}

/// A key-value bucket of NATS JetStream, which the gates of a fleet share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Bucket", deny_unknown_fields, extend("required" = ["servers", "bucket"]))]
pub struct BucketMirror {
    /// `nats://host:4222`, or `tls://host:4222`; those of the cluster that this gate reaches.
    pub servers: Field<List<Id>>,
    /// Letters, digits, `-` and `_`. Made where it is not there.
    pub bucket: Field<Id>,
    /// TLS to the servers; needed before a password goes over it.
    pub tls: Field<BucketTlsMirror>,
    /// The file that `nsc` or an operator made for this user (`.creds`); read again for each connection.
    pub credentials: Field<TokenFileMirror>,
    /// In place of `credentials`: a user, and `password`.
    pub user: Field<Id>,
    /// The file with the password of `user`; read again for each connection.
    pub password: Field<TokenFileMirror>,
    /// A gate that was not in sync for longer is not ready: 10m unless written.
    pub max_override_age: Field<Span>,
    /// What commands call this gate: the name of the host unless written.
    pub gate_name: Field<Id>,
    /// On how many servers the bucket lies when a gate makes it: 3 unless written, 1 with one server.
    pub replicas: Field<u32>,
    /// Whether a start may be ready with what it knew when the bucket cannot be reached: known unless written.
    pub start: Field<StartWord>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "BucketTls", deny_unknown_fields)]
pub struct BucketTlsMirror {
    /// A PEM file with roots; read again for each connection.
    pub ca: Field<Id>,
    /// Which roots count: those of `ca` alone where it is written, the public ones where it is not.
    pub roots: Field<RootsWord>,
    /// What this gate shows: a PEM file, the gate's own first. With `key`.
    pub certificate: Field<Id>,
    pub key: Field<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Start")]
pub enum StartWord {
    /// With what was known, for as long as that is not older than `max_override_age`.
    Known,
    /// Only once the bucket was read.
    Fetched,
}

impl<'de> Deserialize<'de> for OverridesMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str] = &[
            "servers",
            "bucket",
            "tls",
            "credentials",
            "user",
            "password",
            "max_override_age",
            "gate_name",
            "replicas",
            "start",
        ];
        deserializer.deserialize_struct(WORD_OR_MAP, KEYS, OverridesVisitor)
    }
}

struct OverridesVisitor;

impl<'de> Visitor<'de> for OverridesVisitor {
    type Value = OverridesMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a folder, `nats://host:4222/bucket`, or `{servers: [...], bucket: ...}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OverridesMirror, E> {
        Ok(OverridesMirror::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OverridesMirror, A::Error> {
        let bucket = Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(OverridesMirror::Bucket(Box::new(bucket)))
    }
}

impl JsonSchema for OverridesMirror {
    fn schema_name() -> Cow<'static, str> {
        "Overrides".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<BucketMirror>();
        json_schema!({"anyOf": [{"type": "string", "minLength": 1}, map]})
    }
}
