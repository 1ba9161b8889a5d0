//! What a file of policy tests may hold, key by key: the YAML's shape and nothing else.

use std::path::PathBuf;

use serde::Deserialize;

use super::Expected;
use crate::authz::reason::Reason;
use crate::problem::did_you_mean;
use crate::yaml::field::{Field, Id, List, WORD_OR_MAP};
use crate::yaml::time::Moment;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SuiteMirror {
    pub version: Field<u32>,
    pub now: Field<Moment>,
    pub policies: Field<Paths>,
    pub gate: Field<GateMirror>,
    pub gates: Field<List<GateMirror>>,
    pub cases: Field<List<CaseMirror>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GateMirror {
    pub product: Field<Id>,
    pub catalog: Field<Id>,
    pub issue_keys: Field<PrefixWord>,
    pub names: Field<AsWrittenWord>,
    pub channel_types: Field<PrefixWord>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixWord {
    Prefix,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsWrittenWord {
    AsWritten,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorWord {
    App,
    User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CaseMirror {
    pub name: Field<String>,
    pub app: Field<Id>,
    pub tenant: Field<Id>,
    pub actor: Field<ActorWord>,
    pub user: Field<Id>,
    pub kind: Field<Id>,
    pub at: Field<Moment>,
    pub request: Field<String>,
    pub body: Field<String>,
    pub containers: Field<List<Id>>,
    pub expect: Field<ExpectMirror>,
    pub by: Field<Id>,
}

/// One path, or several.
#[derive(Debug)]
pub struct Paths(pub Vec<PathBuf>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathsVisitor)
    }
}

pub struct PathsVisitor;

impl<'de> serde::de::Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a path or a list of paths")
    }

    fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Paths, E> {
        Ok(Paths(vec![path.into()]))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Paths, A::Error> {
        let mut paths = Vec::new();
        while let Some(Id(path)) = seq.next_element()? {
            paths.push(path.into());
        }
        if paths.is_empty() { Err(serde::de::Error::custom("an empty list names no policy")) } else { Ok(Paths(paths)) }
    }
}

/// `permit`, `{deny: reason}` or `{would_deny: reason}`.
#[derive(Debug)]
pub struct ExpectMirror(pub Expected);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OutcomeMirror {
    pub deny: Field<ReasonWord>,
    pub would_deny: Field<ReasonWord>,
}

#[derive(Debug)]
pub struct ReasonWord(pub Reason);

impl<'de> Deserialize<'de> for ReasonWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(ReasonWord).map_err(|_| {
            let near = did_you_mean(&text, Reason::ALL.map(Reason::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            serde::de::Error::custom(format!("`{text}` is no reason{near}"))
        })
    }
}

impl<'de> Deserialize<'de> for ExpectMirror {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR_MAP, &["deny", "would_deny"], ExpectVisitor)
    }
}

pub struct ExpectVisitor;

impl<'de> serde::de::Visitor<'de> for ExpectVisitor {
    type Value = ExpectMirror;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`permit`, `{deny: reason}` or `{would_deny: reason}`")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<ExpectMirror, E> {
        match word {
            "permit" => Ok(ExpectMirror(Expected::Permit)),
            other => Err(E::invalid_type(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ExpectMirror, A::Error> {
        let outcome = OutcomeMirror::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        match (outcome.deny.into_value(), outcome.would_deny.into_value()) {
            (Some(ReasonWord(reason)), None) => Ok(ExpectMirror(Expected::Deny(reason))),
            (None, Some(ReasonWord(reason))) => Ok(ExpectMirror(Expected::WouldDeny(reason))),
            _ => Err(serde::de::Error::custom("write one of `deny` and `would_deny`, with its reason")),
        }
    }
}
