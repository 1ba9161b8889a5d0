//! The YAML of catalogs and of their overlays, mirrored field by field, and nothing else.
//!
//! Unknown and duplicate keys are refused. What the words mean together is `merge`'s and `compile`'s
//! business. The build script includes this file, so it depends on serde and the YAML reader alone.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::arguments::{ExtraNeedsFile, ExtraSourceFile, LimitFile};
use super::compact::{Absent, ActorRule, AnswerReading, DialectName, Fold, Reading, ScopeSide, TenantArgument, Tokens};
use super::name_lists::NameListFile;
use crate::problem::{At, Problem};

/// The only version of both formats so far.
const VERSION: u32 = 1;

pub type Text = Spanned<String>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogFile {
    #[schemars(with = "u32")]
    pub version: Spanned<u32>,
    pub product: String,
    pub release: String,
    pub dialect: DialectName,
    /// Aliases of one API: a template that does not start like one of them is below each of them.
    #[serde(default)]
    pub bases: Vec<String>,
    /// What may stand before a base, with the tenant in it: `/ex/jira/{tenant}`.
    #[serde(default)]
    pub tenant_bases: Vec<String>,
    /// Methods that every operation answers, whichever it is written with.
    #[serde(default)]
    pub accepts: Vec<String>,
    #[serde(default)]
    pub tokens: Tokens,
    #[serde(default)]
    pub tenant_arguments: Vec<TenantArgument>,
    pub vocabularies: Vec<String>,
    #[serde(default)]
    pub variants: Vec<String>,
    #[serde(default)]
    pub containers: Vec<ContainerFile>,
    pub kinds: Vec<KindFile>,
    pub scopes: Vec<ScopeFile>,
    #[serde(default)]
    pub links: LinksFile,
    #[serde(default)]
    pub redirects: Vec<RedirectFile>,
    #[serde(default)]
    pub lookups: Vec<LookupFile>,
    #[serde(default)]
    pub limits: Vec<LimitFile>,
    #[serde(default)]
    pub jobs: Vec<JobFile>,
    #[serde(default)]
    pub evaluators: Vec<EvaluatorFile>,
    #[serde(default)]
    pub names: Vec<NameListFile>,
    pub operations: Vec<OperationFile>,
}

/// What a person adds to an imported catalog, or corrects in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlayFile {
    #[schemars(with = "u32")]
    pub version: Spanned<u32>,
    /// The product whose catalog it is for.
    #[schemars(with = "String")]
    pub overlay: Text,
    #[serde(default)]
    pub bases: Vec<String>,
    #[serde(default)]
    pub tenant_bases: Vec<String>,
    #[serde(default)]
    pub tokens: Tokens,
    #[serde(default)]
    pub tenant_arguments: Vec<TenantArgument>,
    #[serde(default)]
    pub vocabularies: Vec<String>,
    #[serde(default)]
    pub variants: Vec<String>,
    /// A container or kind of a name that the catalog has replaces it.
    #[serde(default)]
    pub containers: Vec<ContainerFile>,
    #[serde(default)]
    pub kinds: Vec<KindFile>,
    /// A scope that the catalog has is added to.
    #[serde(default)]
    pub scopes: Vec<ScopeFile>,
    #[serde(default)]
    pub guards: Vec<GuardFile>,
    /// What takes back what operations leave behind.
    #[serde(default)]
    pub undo: Vec<UndoFile>,
    /// Where operations that remove something say what.
    #[serde(default)]
    pub removers: Vec<RemoverFile>,
    #[serde(default)]
    pub nothing: Vec<ReasonFile>,
    #[serde(default)]
    pub tenant: Vec<ReasonFile>,
    #[serde(default)]
    pub places: Vec<PlacesFile>,
    #[serde(default)]
    pub needs: Vec<NeedsCorrection>,
    #[serde(default)]
    pub variant_sources: Vec<VariantSourcesFile>,
    #[serde(default)]
    pub extra_needs: Vec<ExtraNeedsFile>,
    /// One of a name that the catalog has replaces it.
    #[serde(default)]
    pub limits: Vec<LimitFile>,
    /// Added to the operation's own.
    #[serde(default)]
    pub tenants_named: Vec<TenantsNamedFile>,
    /// Added to those of the catalog, as are `redirects`.
    #[serde(default)]
    pub links: LinksFile,
    #[serde(default)]
    pub redirects: Vec<RedirectFile>,
    #[serde(default)]
    pub lookups: Vec<LookupFile>,
    #[serde(default)]
    pub jobs: Vec<JobFile>,
    #[serde(default)]
    pub evaluators: Vec<EvaluatorFile>,
    /// One of a kind that the catalog has replaces it.
    #[serde(default)]
    pub names: Vec<NameListFile>,
    #[serde(default)]
    pub operations: Vec<OperationFile>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerFile {
    #[schemars(with = "String")]
    pub name: Text,
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub fold: Fold,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub within: Option<Text>,
    /// The look-up that tells its id where it is named; and, where there is no `lookup_id`, its name where its id is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub lookup: Option<Text>,
    /// The one that tells its name where its id is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub lookup_id: Option<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindFile {
    #[schemars(with = "String")]
    pub name: Text,
    #[schemars(with = "Vec<String>")]
    pub vocabularies: Vec<Text>,
    pub actor: ActorRule,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeFile {
    #[schemars(with = "String")]
    pub name: Text,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub vocabularies: Vec<Text>,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub implies: Vec<Text>,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub same_as: Vec<Text>,
    #[serde(default)]
    pub rules: Option<ScopeSide>,
    #[serde(default)]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationFile {
    #[schemars(with = "String")]
    pub id: Text,
    #[schemars(with = "String")]
    pub request: Text,
    pub needs: NeedsFile,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub guards: Vec<Text>,
    /// Left out: the whole tenant, since no container is named where the import looks.
    #[serde(default)]
    pub touches: Option<TouchesFile>,
    /// The vendor's own rule on containers reaches it: never `nothing`.
    #[serde(default)]
    pub subject: bool,
    /// The import proposes it as `nothing`. It is the tenant until the overlay accepts it.
    #[serde(default)]
    pub proposed: Option<Proposal>,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tenant_arguments: Vec<Text>,
    #[serde(default)]
    pub variant_sources: Vec<VariantSourceFile>,
    /// Scopes that some requests need on top of a line.
    #[serde(default)]
    pub extra_needs: Vec<ExtraSourceFile>,
    /// The request may open a WebSocket: it is judged, what follows on the connection is not.
    #[serde(default)]
    pub websocket: bool,
    /// Whether the product reads arguments from a JSON body. Left out: unless it is asked for with GET.
    #[serde(default)]
    pub json: Option<bool>,
    /// The product reads arguments from a multipart body.
    #[serde(default)]
    pub multipart: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proposal {
    Nothing,
}

/// `unknown`, `{none: why}`, or lines by vocabulary.
#[derive(Debug, Clone)]
pub enum NeedsFile {
    Unknown,
    None { why: String },
    Lines(Vec<(Text, Vec<LineFile>)>),
}

/// `[a, b]`, or `{when: [public], scopes: [a, b]}`.
#[derive(Debug, Clone)]
pub struct LineFile {
    pub scopes: Vec<Text>,
    pub when: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TouchesFile {
    Nothing(String),
    Tenant(String),
    Places(Vec<PlaceFile>),
}

/// Exactly one of `path`, `query`, `header`, `body`, `keys`, `multipart` and `argument` is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceFile {
    #[schemars(with = "String")]
    pub kind: Text,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub header: Option<Text>,
    /// A JSON pointer, in which `*` stands for each item of a list and each member of an object, and a last `name*` for each
    /// member of an object whose name begins so.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
    /// Such a pointer to an object, whose keys are read.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub keys: Option<Text>,
    /// A text field of a multipart body.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub multipart: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub argument: Option<Text>,
    #[serde(default, rename = "as")]
    pub reading: Reading,
    /// What stands there lies in the container: the look-up that tells in which.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub lookup: Option<Text>,
    #[serde(default)]
    pub absent: Absent,
    /// `present: tenant`.
    #[serde(default)]
    pub present: Option<Present>,
    #[serde(default)]
    pub list: bool,
    #[serde(default)]
    pub group: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Present {
    Tenant,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSourceFile {
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub argument: Option<Text>,
    pub values: Vec<VariantValueFile>,
    #[serde(default)]
    pub list: bool,
    /// Left out: every variant.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub absent: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantValueFile {
    pub value: String,
    #[schemars(with = "Vec<String>")]
    pub means: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardFile {
    #[schemars(with = "String")]
    pub guard: Text,
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
}

/// What takes back what operations leave behind, or why nothing does.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    /// The operation that removes it. Left out: nothing does.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub by: Option<Text>,
    /// Where the answer says the id of what was made: JSON pointers, `*` for every item of a list or object.
    #[serde(default)]
    pub answer: Vec<String>,
    /// The argument of the request that says it.
    #[serde(default)]
    pub argument: Option<String>,
}

/// Where an operation that removes something says what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoverFile {
    #[schemars(with = "String")]
    pub operation: Text,
    /// Exactly one of `path`, `query`, `body` and `argument` is written.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
    #[serde(default)]
    pub argument: Option<String>,
    /// `absent: all`: a call that names nothing removes all of them.
    #[serde(default)]
    pub absent: Option<AbsentAll>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AbsentAll {
    All,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacesFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    pub places: Vec<PlaceFile>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeedsCorrection {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    pub needs: NeedsFile,
}

/// Where operations name a tenant besides: it must be the request's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantsNamedFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    /// As in `tenant_arguments`.
    #[schemars(with = "Vec<String>")]
    pub arguments: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSourcesFile {
    pub why: String,
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    pub sources: Vec<VariantSourceFile>,
}

/// The links in JSON answers that name the product itself.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinksFile {
    /// They are made to name the gate.
    #[serde(default)]
    pub rewritten: Vec<LinkFile>,
    /// They, and all that lies below them, are left as they are. They win.
    #[serde(default)]
    pub stays: Vec<LinkFile>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkFile {
    /// By the names above and its own: `self`, `_links.next`, `links.*.href`. Under `stays` none are everything.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub members: Vec<Text>,
    /// In the answers of these alone; left out: of all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    #[schemars(with = "String")]
    pub why: Text,
}

/// A host that answers redirect to, which the gate follows itself, by HTTPS and without any credential.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectFile {
    /// A whole name, and a port where it is not 443.
    #[schemars(with = "String")]
    pub host: Text,
    pub why: String,
}

/// What can be asked of the product, so that the container of a thing is known.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupFile {
    #[schemars(with = "String")]
    pub lookup: Text,
    pub why: String,
    /// `GET` and a target with `{id}` in it once; `{tenant}` is the tenant of the request.
    #[schemars(with = "String")]
    pub request: Text,
    /// The kind of container that the answer tells.
    #[schemars(with = "String")]
    pub kind: Text,
    /// What a thing may be called, whole: anything else is not asked about, and refused.
    pub written: String,
    /// The containers that the answer names. Either this or `then` is written.
    #[serde(default)]
    pub answer: Vec<AnswerFile>,
    /// The first of these that the answer holds is asked about next.
    #[serde(default)]
    pub then: Vec<ThenFile>,
    /// The member that is `true` where the thing exists (Slack answers 200 to everything).
    #[serde(default)]
    pub ok: Option<String>,
    /// What is said where that member is `false`. Written beside `ok`.
    #[serde(default)]
    pub errors: Option<ErrorsFile>,
    /// `none: tenant`: what lies in no container is the tenant's. Else an answer that names none cannot be read.
    #[serde(default)]
    pub none: Option<Present>,
    /// Members that tell the variant by being `true`. Where none of them is, nothing is told.
    #[serde(default)]
    pub variants: Vec<LookupVariantFile>,
    /// Operations after which no answer of this look-up in the tenant counts that was asked for before.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub changed_by: Vec<Text>,
    /// The name that a thing never shares with another one, nor loses.
    #[serde(default)]
    pub identity: Option<IdentityFile>,
    /// Operations after which it is one thing's answer alone that does not count, where the request names its identity.
    /// Where it names the thing otherwise, or not at all, they are as those of `changed_by`.
    #[serde(default)]
    pub one_changed_by: Vec<OneChangedFile>,
}

/// Words of an error. A word that is not listed is a failure, and says nothing of the thing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorsFile {
    /// The member that holds the word: a JSON pointer.
    pub at: String,
    /// There is no such thing, or none that may be seen.
    #[serde(default)]
    pub none: Vec<String>,
    /// Who asks may not see it.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// Too many questions.
    #[serde(default)]
    pub too_many: Vec<String>,
    /// The credential is none any more.
    #[serde(default)]
    pub dead: Vec<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityFile {
    /// How it is written, whole.
    pub written: String,
    /// Where an answer tells it: a JSON pointer. Left out where things have no other name.
    #[serde(default)]
    pub at: Option<String>,
}

/// Exactly one of `path` and `argument` is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneChangedFile {
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    /// Where the request names the thing.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub argument: Option<Text>,
}

/// JSON pointers to the id and the name of a container in an answer; `*` is every item of a list or object.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerFile {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
    /// `as: issue_key`: `key` is that of a Jira issue, and begins with its project's. `as: jql`: it is a query, and what
    /// it cannot reach outside of is meant.
    #[serde(default, rename = "as")]
    pub reading: Option<AnswerReading>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThenFile {
    #[schemars(with = "String")]
    pub lookup: Text,
    pub at: String,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupVariantFile {
    pub at: String,
    #[schemars(with = "Vec<String>")]
    pub means: Vec<Text>,
}

/// What the product does after it has answered: a request that asks about it touches what the request touched that started
/// it, if the gate remembers that, and else the tenant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    #[schemars(with = "String")]
    pub job: Text,
    pub why: String,
    pub started: Vec<JobStartFile>,
    pub fetched: Vec<JobFetchFile>,
}

/// Operations that start one, and where their answers name it: exactly one of `answer`, `link` and `location` is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobStartFile {
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    /// A JSON pointer to its id, through objects alone; empty, the answer is the id.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub answer: Option<Text>,
    /// The same to a link, whose path is that of an operation that asks about it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub link: Option<Text>,
    /// `location: true`: the field `Location` is such a link.
    #[serde(default)]
    pub location: bool,
}

/// Operations that ask about one, stop it or fetch what came of it, and where they name it: exactly one of `path`, `query`,
/// `body` and `argument` is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFetchFile {
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Text>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub path: Option<Text>,
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
    #[serde(default)]
    pub argument: Option<String>,
}

/// An argument of the query by which any operation that names containers evaluates what may lie anywhere: it then reaches the
/// whole tenant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluatorFile {
    #[schemars(with = "String")]
    pub query: Text,
    pub why: String,
    /// Its values are lists of paths (`body.view,version`): what follows this name in one of them counts, and nothing else.
    #[serde(default)]
    pub below: Option<String>,
    /// The values that evaluate nothing. All others may.
    pub plain: Vec<String>,
}

/// Reads a catalog.
pub fn catalog(file: &Arc<Path>, text: &str) -> Result<CatalogFile, Problem> {
    let read: CatalogFile = serde_saphyr::from_str(text).map_err(|error| unreadable(file, &error))?;
    version(file, &read.version)?;
    Ok(read)
}

/// Reads an overlay.
pub fn overlay(file: &Arc<Path>, text: &str) -> Result<OverlayFile, Problem> {
    let read: OverlayFile = serde_saphyr::from_str(text).map_err(|error| unreadable(file, &error))?;
    version(file, &read.version)?;
    Ok(read)
}

/// Where a value was written.
pub fn at<T>(spanned: &Spanned<T>) -> At {
    position(&spanned.referenced)
}

fn position(location: &serde_saphyr::Location) -> At {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    At { line: number(location.line()), column: number(location.column()) }
}

fn version(file: &Arc<Path>, written: &Spanned<u32>) -> Result<(), Problem> {
    if written.value == VERSION {
        return Ok(());
    }
    let problem = Problem::error(file, at(written), format!("version {} is not known", written.value));
    Err(problem.help(format!("this release reads version {VERSION}")))
}

fn unreadable(file: &Arc<Path>, error: &serde_saphyr::Error) -> Problem {
    let plain = error.without_snippet();
    let place = plain.location().map_or(At::default(), |location| position(&location));
    Problem::error(file, place, plain.to_string())
}

impl<'de> Deserialize<'de> for NeedsFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NeedsVisitor)
    }
}

struct NeedsVisitor;

impl<'de> Visitor<'de> for NeedsVisitor {
    type Value = NeedsFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`unknown`, `{none: why}`, or lines of scopes by vocabulary")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            "unknown" => Ok(NeedsFile::Unknown),
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut vocabularies: Vec<(Text, Vec<LineFile>)> = Vec::new();
        while let Some(key) = map.next_key::<Text>()? {
            if key.value == "none" && vocabularies.is_empty() {
                let why = map.next_value()?;
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("`none` stands alone"));
                }
                return Ok(NeedsFile::None { why });
            }
            if vocabularies.iter().any(|(other, _)| other.value == key.value) {
                return Err(de::Error::custom(format!("vocabulary `{}` is written twice", key.value)));
            }
            vocabularies.push((key, map.next_value()?));
        }
        Ok(NeedsFile::Lines(vocabularies))
    }
}

impl<'de> Deserialize<'de> for LineFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = LineFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scopes, or `{when: [variants], scopes: [scopes]}`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut scopes = Vec::new();
        while let Some(scope) = seq.next_element::<Text>()? {
            scopes.push(scope);
        }
        Ok(LineFile { scopes, when: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut scopes, mut when): (Option<Vec<Text>>, Option<Vec<Text>>) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "scopes" if scopes.is_none() => scopes = Some(map.next_value()?),
                "when" if when.is_none() => when = Some(map.next_value()?),
                other => return Err(de::Error::unknown_field(other, &["when", "scopes"])),
            }
        }
        let scopes = scopes.ok_or_else(|| de::Error::missing_field("scopes"))?;
        let when = when.filter(|when| !when.is_empty()).ok_or_else(|| de::Error::missing_field("when"))?;
        Ok(LineFile { scopes, when })
    }
}

impl JsonSchema for NeedsFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Needs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let line = generator.subschema_for::<LineFile>();
        json_schema!({
            "description": "`unknown`, `{none: why}`, or lines of scopes by vocabulary: in a vocabulary any line suffices",
            "oneOf": [
                { "const": "unknown" },
                { "type": "object", "required": ["none"], "properties": { "none": { "type": "string" } }, "additionalProperties": false },
                { "type": "object", "not": { "required": ["none"] }, "additionalProperties": { "type": "array", "items": line } },
            ]
        })
    }
}

impl JsonSchema for LineFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Line".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        json_schema!({
            "description": "Scopes that must all be held; with `when`, only in these variants",
            "oneOf": [
                words,
                {
                    "type": "object",
                    "required": ["scopes", "when"],
                    "properties": { "scopes": words, "when": words },
                    "additionalProperties": false,
                },
            ]
        })
    }
}
