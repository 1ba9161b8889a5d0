//! A whole catalog, merged and still in words: what `build.rs` embeds and `compile` turns into the model.
//!
//! It depends on serde alone, since the build script includes this file too. Positions are for messages
//! and are not stored, so the same facts give the same bytes wherever they stand in a file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name_lists::NameListWords;
use crate::problem::At;

/// Where a fact was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spot {
    /// In the overlay, not in the imported catalog.
    pub overlay: bool,
    pub at: At,
}

/// Names of things, with the place the name was written at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    #[serde(skip)]
    pub spot: Spot,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compact {
    pub product: String,
    pub release: String,
    pub dialect: DialectName,
    pub bases: Vec<String>,
    pub tenant_bases: Vec<String>,
    pub accepts: Vec<String>,
    pub tokens: Tokens,
    pub tenant_arguments: Vec<TenantArgument>,
    pub vocabularies: Vec<String>,
    pub variants: Vec<String>,
    pub containers: Vec<Container>,
    pub kinds: Vec<Kind>,
    pub scopes: Vec<Scope>,
    pub links: Links,
    pub redirects: Vec<RedirectHost>,
    pub lookups: Vec<Lookup>,
    pub limits: Vec<Limit>,
    pub jobs: Vec<Job>,
    pub evaluators: Vec<Evaluator>,
    pub names: Vec<NameListWords>,
    pub operations: Vec<Operation>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Links {
    pub rewritten: Vec<LinkEntry>,
    pub stays: Vec<LinkEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkEntry {
    pub members: Vec<Word>,
    /// None: all.
    pub operations: Vec<Word>,
    pub why: String,
    /// No place in a file counts as a difference between two catalogs, and the reason has none of its own.
    #[serde(skip)]
    pub spot: Spot,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedirectHost {
    pub host: Word,
    pub why: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(default)]
    pub query: Vec<String>,
    #[serde(default)]
    pub body: Vec<String>,
    /// Of a form alone: bodies of other types pass unread as far as credentials go.
    #[serde(default)]
    pub form: Vec<String>,
}

/// An argument whose value is a tenant: it must be the request's own. One that begins with `/` is a place in a JSON body,
/// and `{+name}` what that stands for in the path, where revisions may name a repository (`acme/web:4f1c`): both are asked
/// about where an operation lists them, and what stands before a slash in the value counts (`acme/repository`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantArgument {
    pub argument: String,
    #[serde(default)]
    pub list: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub name: Word,
    pub id: Option<String>,
    pub key: Option<String>,
    pub fold: Fold,
    pub within: Option<Word>,
    pub lookup: Option<Word>,
    pub lookup_id: Option<Word>,
}

/// What can be asked of the product, so that the container of a thing is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    pub name: Word,
    pub why: String,
    pub request: Word,
    pub kind: Word,
    pub written: String,
    pub answer: Vec<Answer>,
    pub then: Vec<Then>,
    pub ok: Option<String>,
    pub none_is_tenant: bool,
    pub variants: Vec<(String, Vec<Word>)>,
    pub changed_by: Vec<Word>,
    pub errors: Option<Errors>,
    pub identity: Option<Identity>,
    pub one_changed_by: Vec<OneChanged>,
}

/// Words of an error, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    pub at: String,
    pub none: Vec<String>,
    pub hidden: Vec<String>,
    pub too_many: Vec<String>,
    pub dead: Vec<String>,
}

/// The name that a thing never shares with another one, nor loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub written: String,
    pub at: Option<String>,
}

/// Operations that change the answer for the one thing that they name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneChanged {
    pub operations: Vec<Word>,
    /// `None`: it is not written as it must be.
    pub at: Option<PlaceAt>,
}

/// Where an answer names a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub id: Option<String>,
    pub key: Option<String>,
    pub reading: Option<AnswerReading>,
}

/// How the name of a container in an answer is read, where it is not the name itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerReading {
    IssueKey,
    Jql,
}

/// Where an answer names what is asked about next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Then {
    pub lookup: Word,
    pub at: String,
}

/// What the product does after it has answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: Word,
    pub why: String,
    pub started: Vec<JobStart>,
    pub fetched: Vec<JobFetch>,
}

/// What starts one, and where the answer names it. One of the three says that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStart {
    pub operations: Vec<Word>,
    pub answer: Option<Word>,
    pub link: Option<Word>,
    pub location: bool,
}

/// What asks about one, and where the request names it. One place is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFetch {
    pub operations: Vec<Word>,
    pub at: Vec<PlaceAt>,
}

/// An argument by which any operation evaluates something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluator {
    pub query: Word,
    pub why: String,
    pub below: Option<String>,
    pub plain: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    pub name: Word,
    pub vocabularies: Vec<Word>,
    pub actor: ActorRule,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    pub name: Word,
    pub vocabularies: Vec<Word>,
    pub implies: Vec<Word>,
    pub same_as: Vec<Word>,
    pub rules: Option<ScopeSide>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub id: Word,
    pub request: Word,
    pub needs: Needs,
    pub guards: Vec<Word>,
    pub touches: Touches,
    pub subject: bool,
    pub tenant_arguments: Vec<Word>,
    pub variant_sources: Vec<VariantSource>,
    pub extra_sources: Vec<ExtraSource>,
    pub websocket: bool,
    /// Whether arguments are read from JSON, where it is written.
    pub json: Option<bool>,
    pub multipart: bool,
    pub undo: Option<Undo>,
    pub remover: Option<Remover>,
}

/// What takes back what an operation leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    pub by: Option<Word>,
    pub why: String,
    pub answer: Vec<String>,
    pub argument: Option<String>,
}

/// Where an operation that removes something says what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remover {
    pub at: Option<PlaceAt>,
    pub absent_all: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Needs {
    Unknown,
    None { why: String },
    Lines(Vec<VocabularyLines>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocabularyLines {
    pub vocabulary: Word,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub scopes: Vec<Word>,
    /// No words: in every variant.
    pub when: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Touches {
    Nothing { why: String },
    Tenant { why: String },
    Places(Vec<Place>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub kind: Word,
    pub at: PlaceAt,
    pub reading: Reading,
    pub lookup: Option<Word>,
    pub absent: Absent,
    pub present_is_tenant: bool,
    pub list: bool,
    pub group: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PlaceAt {
    /// By the parameter's name; the model numbers it.
    Path(Word),
    Query(String),
    Header(Word),
    Body(Word),
    Argument(String),
    Keys(Word),
    Multipart(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantSource {
    pub at: PlaceAt,
    pub values: Vec<(String, Vec<Word>)>,
    pub list: bool,
    /// No words: every variant.
    pub absent: Vec<Word>,
}

/// A place that tells what a request needs on top of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtraSource {
    pub at: PlaceAt,
    pub list: bool,
    pub values: Vec<ExtraValue>,
    pub absent: Extra,
    pub other: Extra,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtraValue {
    pub values: Vec<Word>,
    pub needs: Extra,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Extra {
    Nothing,
    /// What the values ask for, together.
    All,
    /// Nobody can say: refused.
    Unknown,
    /// By vocabulary; no words: nothing in that one.
    Scopes(Vec<(Word, Vec<Word>)>),
}

/// Something in a request that a grant may limit by `where`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub name: Word,
    pub why: String,
    pub reading: LimitReading,
    /// Operations, each with the JSON pointer at which it stands.
    pub places: Vec<(Word, Word)>,
}

/// How what a grant may limit is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitReading {
    /// The host of an absolute `https` URL.
    UrlHost,
}

/// The shape in which a product's SDKs expect an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DialectName {
    Problem,
    Slack,
    Atlassian,
    Bitbucket,
    Github,
    Buddy,
}

/// Case of ids and names: folded for comparison, never in what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    #[default]
    None,
    Upper,
    Lower,
}

/// What a scope that rules no operation rules instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSide {
    Arguments,
    Events,
    SignIn,
    Umbrella,
}

/// Whom a kind of credential stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorRule {
    App,
    User,
    /// User when the credential names one, else app.
    Evidence,
}

/// How the text at a place is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// An id or name of the container itself.
    #[default]
    Container,
    /// A name, whatever it looks like: Confluence's space `2024` is not the one with that number.
    Key,
    /// A Jira issue: `PROJ-1` lies in PROJ if the gate says so; digits tell nothing.
    IssueKey,
    /// Whatever stands there, a Jira issue where it is text that is written like one's key: `PROJ-1`. For fields of which
    /// nobody says what they hold.
    IssueMention,
    /// A Slack conversation: the first letter may tell its type.
    Conversation,
    /// Where Jira's bulk move puts issues: a project, an issue type and perhaps a parent, parted by commas.
    MoveTarget,
    /// A query of Jira's: what it cannot reach outside of, else `tenant`.
    Jql,
    /// The same of Confluence's.
    Cql,
    /// A repository with its workspace before it, as Bitbucket writes it: `acme/web`.
    FullName,
    /// Revisions, with such a name and a colon before them where they are another repository's: `acme/web:4f1c..main`. Read in
    /// what a `{+name}` of the path stands for.
    Revisions,
}

/// What an absent place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// `bad_request`.
    #[default]
    Deny,
    /// The operation then reaches the whole tenant.
    Tenant,
    /// Another place tells; if none does, `tenant`.
    Skip,
}
