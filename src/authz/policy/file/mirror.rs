//! What a policy file may hold, key by key: the YAML's shape and nothing else. The JSON Schema is made from it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::problem::Spanned;
use crate::yaml::field::{AllOr, Entries, EntriesVisitor, Field, Id, List, ListOrNothing, WORD_OR_MAP};
use crate::yaml::time::{Moment, Span};

/// An app: what it is, where it is installed, what it may do and may not do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AppDocument", deny_unknown_fields, extend("required" = ["version", "app"]))]
pub struct AppMirror {
    /// The format of this file: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: Field<u32>,
    /// `product/app`.
    pub app: Field<Id>,
    /// What people call the app; with `contact`, in exactly one document of the app.
    pub name: Field<String>,
    /// Whom to ask about the app.
    pub contact: Field<String>,
    /// The tenants that have the app.
    pub installations: Field<ListOrNothing<InstallationMirror>>,
    pub grants: Field<ListOrNothing<GrantMirror>>,
    pub revocations: Field<List<RevocationMirror>>,
    /// Written by commands, in the overrides folder only.
    pub install_windows: Field<List<InstallWindowMirror>>,
    /// Written by commands, in the overrides folder only.
    pub suspensions: Field<List<SuspensionMirror>>,
}

/// The app in one tenant.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Installation", deny_unknown_fields, extend("required" = ["tenant"]))]
pub struct InstallationMirror {
    pub tenant: Field<Id>,
    /// What people call the tenant.
    pub tenant_name: Field<String>,
    pub installed_at: Field<Moment>,
    /// How long the install window stays open after `installed_at`: 24h unless written, at most 7d.
    pub install_window: Field<Span>,
    /// What the app shows to be known by.
    pub credentials: Field<ListOrNothing<CredentialMirror>>,
    /// Passes what is refused only for want of a grant, and says so, until then.
    pub observe: Field<ObserveMirror>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Observe", deny_unknown_fields, extend("required" = ["until"]))]
pub struct ObserveMirror {
    pub until: Field<Moment>,
}

/// A credential of the app. The method fixes which other keys it has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Credential", deny_unknown_fields, extend("required" = ["method", "kind"]))]
pub struct CredentialMirror {
    pub method: Field<MethodWord>,
    /// The catalog's kind of credential: bot, user, oauth, connect, …
    pub kind: Field<Id>,
    /// gate_key, token: the SHA-256 of the key or token, 64 hex digits.
    pub sha256: Field<Id>,
    /// gate_key: the real credential, which the gate puts in. jwt: the same; the token goes on unless it is
    /// written. trusted_header: what is put in; nothing unless it is written.
    pub upstream: Field<UpstreamMirror>,
    /// connect_jwt: `iss`.
    pub client_key: Field<Id>,
    /// connect_jwt: the shared secret.
    pub secret: Field<SecretMirror>,
    /// jwt: the issuer of the tokens, as a gate names it.
    pub issuer: Field<Id>,
    /// jwt: what the issuer calls the app. trusted_header: what the proxy before the gate calls it.
    pub client: Field<Id>,
    /// The user whom this credential always stands for.
    pub user: Field<Id>,
    pub pipeline: Field<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MethodWord {
    GateKey,
    Token,
    ConnectJwt,
    Jwt,
    TrustedHeader,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "UpstreamCredential", deny_unknown_fields, extend("required" = ["file"]))]
pub struct UpstreamMirror {
    /// Read anew when it changes.
    pub file: Field<Id>,
    /// How the file's text is shown upstream: bearer unless written.
    pub scheme: Field<SchemeWord>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemeWord {
    Bearer,
    Basic,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Secret", deny_unknown_fields, extend("required" = ["file"]))]
pub struct SecretMirror {
    pub file: Field<Id>,
}

/// Gives scopes or operations.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Grant", deny_unknown_fields, extend("required" = ["actors", "in"]))]
pub struct GrantMirror {
    /// What the app does with it.
    #[serde(rename = "for")]
    pub purpose: Field<String>,
    /// The app cannot work without it.
    pub required: Field<bool>,
    pub scopes: Field<AllOr<Id>>,
    /// Operation ids. With `scopes`: only these operations under those scopes.
    pub operations: Field<List<Id>>,
    pub actors: Field<List<ActorMirror>>,
    #[serde(rename = "in")]
    pub within: Field<InMirror>,
    /// Absent: the installations of this document.
    pub tenants: Field<AllOr<Id>>,
    pub users: Field<UsersMirror>,
    pub pipelines: Field<List<Id>>,
    pub valid: Field<ValidMirror>,
    /// Limits on arguments, by their name.
    #[serde(rename = "where")]
    pub arguments: Field<Entries<List<Id>>>,
    pub mode: Field<ModeWord>,
    /// Who wrote this.
    pub by: Field<String>,
    /// When.
    pub at: Field<Moment>,
}

/// Takes scopes or operations away. It always wins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Revocation", deny_unknown_fields, extend("required" = ["in", "reason"]))]
pub struct RevocationMirror {
    pub scopes: Field<AllOr<Id>>,
    pub operations: Field<List<Id>>,
    pub actors: Field<List<ActorMirror>>,
    #[serde(rename = "in")]
    pub within: Field<InMirror>,
    pub tenants: Field<AllOr<Id>>,
    pub users: Field<UsersMirror>,
    pub pipelines: Field<List<Id>>,
    pub valid: Field<ValidMirror>,
    pub unless: Field<UnlessWord>,
    pub mode: Field<ModeWord>,
    /// Why: a ticket, a sentence.
    pub reason: Field<String>,
    pub by: Field<String>,
    pub at: Field<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Actor")]
pub enum ActorMirror {
    App,
    User,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeWord {
    /// Recorded as what it would have done; it does nothing.
    Shadow,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlessWord {
    InstallWindow,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Users", deny_unknown_fields)]
pub struct UsersMirror {
    pub ids: Field<List<Id>>,
    pub groups: Field<List<Id>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Valid", deny_unknown_fields)]
pub struct ValidMirror {
    pub from: Field<Moment>,
    pub until: Field<Moment>,
    /// How long from the install on.
    pub after_install: Field<Span>,
}

/// `all`, or lists of containers by kind.
#[derive(Debug)]
pub enum InMirror {
    All,
    Kinds(Entries<List<Id>>),
}

impl<'de> Deserialize<'de> for InMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InVisitor)
    }
}

struct InVisitor;

impl<'de> Visitor<'de> for InVisitor {
    type Value = InMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all` or lists by kind such as `{project: [PROJ]}`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<InMirror, E> {
        match word {
            "all" => Ok(InMirror::All),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InMirror, A::Error> {
        EntriesVisitor(std::marker::PhantomData).visit_map(map).map(InMirror::Kinds)
    }
}

impl JsonSchema for InMirror {
    fn schema_name() -> Cow<'static, str> {
        "In".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = generator.subschema_for::<Entries<List<Id>>>();
        json_schema!({"anyOf": [{"const": "all"}, kinds]})
    }
}

/// Revocations that reach several apps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "GuardrailDocument", deny_unknown_fields, extend("required" = ["version", "guardrail", "apps", "tenants", "revocations"]))]
pub struct GuardrailMirror {
    #[schemars(range(min = 1, max = 1))]
    pub version: Field<u32>,
    /// Its name.
    pub guardrail: Field<Id>,
    pub apps: Field<AppsMirror>,
    pub tenants: Field<AllOr<Id>>,
    pub revocations: Field<List<RevocationMirror>>,
    pub mode: Field<ModeWord>,
}

/// `all`, a list of apps, or the apps of a product.
#[derive(Debug)]
pub enum AppsMirror {
    All,
    Listed(List<Id>),
    Product(ProductMirror),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AppsOfProduct", deny_unknown_fields, extend("required" = ["product"]))]
pub struct ProductMirror {
    /// A product, or `all`.
    pub product: Field<Id>,
    pub except: Field<List<Id>>,
}

impl<'de> Deserialize<'de> for AppsMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR_MAP, &["product", "except"], AppsVisitor)
    }
}

struct AppsVisitor;

impl<'de> Visitor<'de> for AppsVisitor {
    type Value = AppsMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, a list such as `[jira/backup]`, or `{product: jira, except: […]}`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<AppsMirror, E> {
        match word {
            "all" => Ok(AppsMirror::All),
            other => Err(E::invalid_type(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<AppsMirror, A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(AppsMirror::Listed)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AppsMirror, A::Error> {
        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(AppsMirror::Product)
    }
}

impl JsonSchema for AppsMirror {
    fn schema_name() -> Cow<'static, str> {
        "Apps".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<Id>();
        let product = generator.subschema_for::<ProductMirror>();
        json_schema!({"anyOf": [{"const": "all"}, {"type": "array", "items": item, "minItems": 1}, product]})
    }
}

/// Containers of a tenant under one name. Every other key is a kind of container with a list.
#[derive(Debug, Default)]
pub struct SetMirror {
    pub version: Field<u32>,
    pub set: Field<Id>,
    pub tenant: Field<Id>,
    pub kinds: Vec<(Spanned<String>, Field<List<Id>>)>,
}

impl<'de> Deserialize<'de> for SetMirror {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SetVisitor)
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = SetMirror;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SetMirror, A::Error> {
        let mut mirror = SetMirror::default();
        while let Some(key) = map.next_key::<Field<Id>>()? {
            let Field::Written(Spanned { value: Id(name), at }) = key else {
                map.next_value::<Field<String>>()?;
                continue;
            };
            match name.as_str() {
                "version" => mirror.version = map.next_value()?,
                "set" => mirror.set = map.next_value()?,
                "tenant" => mirror.tenant = map.next_value()?,
                _ => mirror.kinds.push((Spanned { value: name, at }, map.next_value()?)),
            }
        }
        Ok(mirror)
    }
}

impl JsonSchema for SetMirror {
    fn schema_name() -> Cow<'static, str> {
        "SetDocument".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let id = generator.subschema_for::<Id>();
        json_schema!({
            "description": "Containers of a tenant under one name; every further key is a kind of container.",
            "type": "object",
            "properties": {"version": {"const": 1}, "set": id, "tenant": id},
            "required": ["version", "set", "tenant"],
            "additionalProperties": {"type": "array", "items": id, "minItems": 1},
            "minProperties": 4
        })
    }
}

/// Users of a tenant under one name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "GroupDocument", deny_unknown_fields, extend("required" = ["version", "group", "tenant"], "anyOf" = [{"required": ["users"]}, {"required": ["claim"]}]))]
pub struct GroupMirror {
    #[schemars(range(min = 1, max = 1))]
    pub version: Field<u32>,
    pub group: Field<Id>,
    pub tenant: Field<Id>,
    pub users: Field<ListOrNothing<Id>>,
    /// What tokens call it: who shows one that says so is in it as well.
    pub claim: Field<Id>,
}

/// Reading names of ids, shown beside them everywhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NamesDocument", deny_unknown_fields, extend("required" = ["version", "names", "tenant", "entries"]))]
pub struct NamesMirror {
    #[schemars(range(min = 1, max = 1))]
    pub version: Field<u32>,
    /// The product.
    pub names: Field<Id>,
    pub tenant: Field<Id>,
    /// An id (of a container, a user) and what people call it.
    pub entries: Field<Entries<String>>,
}

/// An install window that a command opened.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "InstallWindow", deny_unknown_fields, extend("required" = ["tenant", "from", "until", "reason"]))]
pub struct InstallWindowMirror {
    pub tenant: Field<Id>,
    pub from: Field<Moment>,
    pub until: Field<Moment>,
    pub reason: Field<String>,
    pub by: Field<String>,
    pub at: Field<Moment>,
}

/// The app does nothing in these tenants until it is restored.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Suspension", deny_unknown_fields, extend("required" = ["reason"]))]
pub struct SuspensionMirror {
    pub tenants: Field<AllOr<Id>>,
    pub reason: Field<String>,
    pub by: Field<String>,
    pub at: Field<Moment>,
}
