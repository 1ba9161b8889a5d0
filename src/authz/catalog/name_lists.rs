//! The YAML of a catalog's `names`: which questions list containers with the names that people call them. Mirror and
//! compact form in one, for nothing decides by it.
//!
//! The build script includes this file, so it depends on serde alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compact::Word;
use super::file::Text;

/// A question whose answers list containers, page by page: what `scopegate names fetch` asks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameListFile {
    /// The kind of container that is listed.
    #[schemars(with = "String")]
    pub names: Text,
    pub why: String,
    /// `GET /path?query`; `{tenant}` may stand in it.
    #[schemars(with = "String")]
    pub request: Text,
    /// Where an answer says `true` unless it is an error: Slack answers 200 to everything.
    #[serde(default)]
    pub ok: Option<String>,
    /// A JSON pointer to the list.
    pub items: String,
    /// What is named in each of its items.
    pub named: Vec<NamedAt>,
    #[serde(default)]
    pub pages: Option<PagesAt>,
}

/// JSON pointers, within an item, to an id and to what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedAt {
    pub id: String,
    pub name: String,
    /// What people write before the name.
    #[serde(default)]
    pub prefix: String,
}

/// How the next page is asked for: by an argument of the query, whose value one of the others tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagesAt {
    pub argument: String,
    /// A JSON pointer to the value.
    #[serde(default)]
    pub cursor: Option<String>,
    /// A JSON pointer to a link with the argument in it. Nothing else of the link is followed.
    #[serde(default)]
    pub link: Option<String>,
    /// The value is how many items were listed so far, until a page has none or this says `true`.
    #[serde(default)]
    pub last: Option<String>,
}

/// The same, merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameListWords {
    pub kind: Word,
    pub why: String,
    pub request: Word,
    pub ok: Option<String>,
    pub items: String,
    pub named: Vec<NamedAt>,
    pub pages: Option<PagesAt>,
}
