//! What `scopegate.yaml` may hold, key by key: the YAML's shape and nothing else. The JSON Schema is made from it.

pub mod admin;
mod fleet;
mod identify;
mod lookups;
mod tls;

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::model::Threads;
use crate::yaml::field::{Field, Id, List, WORD_OR_MAP};
use crate::yaml::time::{Moment, Span};
pub use admin::{AdminMirror, TokenFileMirror};
pub use fleet::{BucketMirror, BucketTlsMirror, OverridesMirror, StartWord};
pub use identify::{ClaimsMirror, IdentifyMirror, JwtMirror, KeysMirror, TrustedHeaderMirror};
pub use lookups::{LookupCredentialMirror, LookupsMapMirror, LookupsMirror};
pub use tls::{
    ProxyAuthorizationMirror, ProxySchemeWord, RootsWord, TlsMirror, UpstreamTlsMirror, ViaMapMirror, ViaMirror,
};

/// The configuration. Relative paths are resolved against the folder of this file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Configuration", deny_unknown_fields, extend("required" = ["version", "gates", "policies"]))]
pub struct ConfigMirror {
    /// The format of this file: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: Field<u32>,
    pub gates: Field<List<GateMirror>>,
    /// The folder with the hand-written policy; never written.
    pub policies: Field<Id>,
    /// Where acts are kept that commands write: a folder, or the bucket of a fleet. Unless written, `overrides` in the `state` folder.
    pub overrides: Field<OverridesMirror>,
    /// How long the policy folder must stay the same before what gives takes effect: 500ms unless written.
    pub settle: Field<Span>,
    /// /livez, /readyz, /metrics and nothing else.
    pub health: Field<HealthMirror>,
    /// explain, snapshot, acts.
    pub admin: Field<AdminMirror>,
    /// The folder for what outlives a restart.
    pub state: Field<Id>,
    /// How much of the journal in it is kept.
    pub journal: Field<JournalMirror>,
    pub metrics: Field<MetricsMirror>,
    pub log: Field<LogMirror>,
    pub data_plane: Field<DataPlaneMirror>,
    /// For all gates; a gate may say otherwise.
    pub limits: Field<LimitsMirror>,
}

/// One listener in front of a product.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Gate", deny_unknown_fields, extend("required" = ["name", "listen", "identify", "bypass", "tenant"]))]
pub struct GateMirror {
    /// Lower-case letters, digits and `-`; the label of its metrics.
    pub name: Field<Id>,
    /// `address:port`, or `unix:path`.
    pub listen: Field<Id>,
    pub tls: Field<TlsMirror>,
    /// A built-in catalog: `jira`, or `jira@2025-12` for one release of it.
    pub product: Field<Id>,
    /// A catalog of your own.
    pub catalog: Field<Id>,
    /// How callers are told apart.
    pub identify: Field<List<IdentifyMirror>>,
    /// `https://host`, `http://host:port` or `unix:path`.
    pub upstream: Field<Id>,
    /// What `Host` says where the upstream is a Unix socket: localhost unless written.
    pub upstream_host: Field<Id>,
    pub upstream_tls: Field<UpstreamTlsMirror>,
    /// `auto` (HTTP/2 where the upstream agrees to it in the handshake of TLS, else HTTP/1.1) unless written.
    pub upstream_protocol: Field<ProtocolWord>,
    /// The proxy through which the upstreams are reached: `http://host:port`, or more of it.
    pub via: Field<ViaMirror>,
    /// Other origins under which the product names itself in links: `https://jira.example.com`.
    pub upstream_aliases: Field<List<Id>>,
    /// What links name the gate by: `https://gate.example.com`. The caller's own `Host` unless written.
    pub public_url: Field<Id>,
    /// Where hosts of the catalog's `redirects` are: public DNS, and public addresses alone, unless written.
    pub redirect_hosts: Field<List<RedirectHostMirror>>,
    /// Why an app cannot walk around this gate.
    pub bypass: Field<BypassWord>,
    /// How the tenant of a request is told.
    pub tenant: Field<TenantRuleMirror>,
    /// The tenants that `host`, `path`, `token` or `claim` may tell.
    pub tenants: Field<List<TenantMirror>>,
    /// PROJ-1 lies in PROJ. Unsound where issues are moved.
    pub issue_keys: Field<PrefixWord>,
    /// A key or slug is the container that the policy writes the same way. Unsound where keys change.
    pub names: Field<AsWrittenWord>,
    /// C… is public, G… private or mpim. Unsound where channels are shared.
    pub channel_types: Field<PrefixWord>,
    /// How the product is asked which container a thing lies in, where a verdict hangs on it.
    pub lookups: Field<LookupsMirror>,
    pub mode: Field<GateModeMirror>,
    pub limits: Field<LimitsMirror>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Protocol")]
pub enum ProtocolWord {
    Auto,
    Http1,
    /// HTTP/2 alone; without TLS by prior knowledge.
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Bypass")]
pub enum BypassWord {
    /// What the app holds is worth nothing upstream.
    Credential,
    /// Only the gate reaches the upstream.
    Network,
    /// Nothing keeps it from it: advice, not enforcement.
    Open,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "RedirectHost", deny_unknown_fields, extend("required" = ["host", "address"]))]
pub struct RedirectHostMirror {
    /// As the catalog names it.
    pub host: Field<Id>,
    /// IP address and port; it may be a private one.
    pub address: Field<Id>,
    /// A PEM file with the only roots that count; public roots unless written.
    pub ca: Field<Id>,
}

/// `{fixed: ID}`, `host`, `path`, `token` or `claim`.
#[derive(Debug)]
pub enum TenantRuleMirror {
    Fixed(FixedMirror),
    Host,
    Path,
    Token,
    Claim,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "FixedTenant", deny_unknown_fields, extend("required" = ["fixed"]))]
pub struct FixedMirror {
    /// The tenant of every request.
    pub fixed: Field<Id>,
}

impl<'de> Deserialize<'de> for TenantRuleMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR_MAP, &["fixed"], TenantRuleVisitor)
    }
}

struct TenantRuleVisitor;

impl<'de> Visitor<'de> for TenantRuleVisitor {
    type Value = TenantRuleMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{fixed: TENANT}`, `host`, `path`, `token` or `claim`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<TenantRuleMirror, E> {
        match word {
            "host" => Ok(TenantRuleMirror::Host),
            "path" => Ok(TenantRuleMirror::Path),
            "token" => Ok(TenantRuleMirror::Token),
            "claim" => Ok(TenantRuleMirror::Claim),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TenantRuleMirror, A::Error> {
        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(TenantRuleMirror::Fixed)
    }
}

impl JsonSchema for TenantRuleMirror {
    fn schema_name() -> Cow<'static, str> {
        "TenantRule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fixed = generator.subschema_for::<FixedMirror>();
        json_schema!({"anyOf": [{"enum": ["host", "path", "token", "claim"]}, fixed]})
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Tenant", deny_unknown_fields, extend("required" = ["id"]))]
pub struct TenantMirror {
    pub id: Field<Id>,
    /// What people call it.
    pub name: Field<String>,
    /// tenant: host: the name that its callers use.
    pub host: Field<Id>,
    /// The gate's `upstream` unless written.
    pub upstream: Field<Id>,
    /// As in a gate, for this tenant; beside an `upstream` of its own the gate's do not count.
    pub upstream_aliases: Field<List<Id>>,
    /// As in a gate, for this tenant.
    pub public_url: Field<Id>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Prefix")]
pub enum PrefixWord {
    Prefix,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AsWritten")]
pub enum AsWrittenWord {
    AsWritten,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "GateMode", deny_unknown_fields, extend("required" = ["observe"]))]
pub struct GateModeMirror {
    pub observe: Field<GateObserveMirror>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "GateObserve", deny_unknown_fields, extend("required" = ["until"]))]
pub struct GateObserveMirror {
    pub until: Field<Moment>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Health", deny_unknown_fields, extend("required" = ["listen"]))]
pub struct HealthMirror {
    pub listen: Field<Id>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Metrics", deny_unknown_fields)]
pub struct MetricsMirror {
    /// Apps beyond this number share `app="other"`: 500 unless written.
    pub apps_max: Field<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Journal", deny_unknown_fields)]
pub struct JournalMirror {
    /// Entries that are kept: 10000 unless written.
    pub entries_max: Field<u32>,
    /// How long they are kept: 365d.
    pub age_max: Field<Span>,
    /// Bytes of what files said, beside those in force: 256MiB.
    pub texts_max: Field<Bytes>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Log", deny_unknown_fields)]
pub struct LogMirror {
    /// How a line names a user: hashed unless written.
    pub users: Field<LogUsersWord>,
    /// json unless written.
    pub format: Field<LogFormatWord>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogUsers")]
pub enum LogUsersWord {
    Plain,
    Hashed,
    None,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub enum LogFormatWord {
    Json,
    Text,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "DataPlane", deny_unknown_fields)]
pub struct DataPlaneMirror {
    /// `auto`, one for each core of the cgroup's quota, unless written.
    pub threads: Field<ThreadsMirror>,
}

#[derive(Debug)]
pub struct ThreadsMirror(pub Threads);

impl<'de> Deserialize<'de> for ThreadsMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ThreadsVisitor)
    }
}

/// More threads than the largest machine has cores is a slip of the finger.
const THREADS_MAX: usize = 1024;

struct ThreadsVisitor;

impl Visitor<'_> for ThreadsVisitor {
    type Value = ThreadsMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`auto` or a number from 1 to {THREADS_MAX}")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<ThreadsMirror, E> {
        let count = || word.parse().ok().filter(|count: &NonZeroUsize| count.get() <= THREADS_MAX);
        match word {
            "auto" => Ok(ThreadsMirror(Threads::Auto)),
            _ => count()
                .map(|count| ThreadsMirror(Threads::Count(count)))
                .ok_or_else(|| E::invalid_type(de::Unexpected::Str(word), &self)),
        }
    }
}

impl JsonSchema for ThreadsMirror {
    fn schema_name() -> Cow<'static, str> {
        "Threads".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": THREADS_MAX}]})
    }
}

/// A number of bytes: `1MiB`, `64KiB`, or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (number, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
            Some(index) => text.split_at(index),
            None => (text.as_str(), ""),
        };
        let unit: Option<usize> = match unit {
            "" => Some(1),
            "KiB" => Some(1024),
            "MiB" => Some(1024 * 1024),
            _ => None,
        };
        let bytes = unit.zip(number.parse::<usize>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
        bytes.map(Bytes).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is no number of bytes; write a number, or one with KiB or MiB"))
        })
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(KiB|MiB)?$"}]})
    }
}

/// Every limit has a default; see `Limits`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Limits", deny_unknown_fields)]
pub struct LimitsMirror {
    /// For the whole head of a request: 10s unless written.
    pub header_timeout: Field<Span>,
    /// For a client connection on which nothing is asked: 60s.
    pub idle_timeout: Field<Span>,
    /// For a whole request: 5m.
    pub request_timeout: Field<Span>,
    /// For a connection to the upstream, proxy and TLS included: 5s.
    pub connect_timeout: Field<Span>,
    /// For the first byte of the upstream's answer: 60s.
    pub response_timeout: Field<Span>,
    /// Between two pieces of a request's body, and for a client to take a piece of an answer: 30s.
    pub body_idle_timeout: Field<Span>,
    /// Between two pieces of an answer (an event stream is slow by nature), and for a WebSocket on which nothing moves: 5m.
    pub answer_idle_timeout: Field<Span>,
    /// Client connections at one time: 10000.
    pub connections_max: Field<u32>,
    /// Bytes of a request's head: 64KiB.
    pub header_bytes_max: Field<Bytes>,
    /// Header lines of a request: 100.
    pub headers_max: Field<u32>,
    /// Bytes of a body that is held because its container is in it: 1MiB.
    pub body_held_max: Field<Bytes>,
    /// Idle connections kept for each upstream and thread: 64.
    pub upstream_idle_max: Field<u32>,
    /// Connections to upstreams at one time: 1000.
    pub upstream_connections_max: Field<u32>,
    /// Requests that one client connection may carry before it is asked to close: 100000.
    pub max_requests_per_connection: Field<u32>,
    /// After this long a client connection is asked to close (HTTP/2: GOAWAY): 15m.
    pub max_connection_age: Field<Span>,
    /// Requests under way on one HTTP/2 connection, on either side: 100.
    pub http2_streams_max: Field<u32>,
    /// At the end, for requests under way: 30s. Not in a gate.
    pub drain_timeout: Field<Span>,
    /// At the end, not ready but still accepting: 5s. Not in a gate.
    pub drain_delay: Field<Span>,
}
