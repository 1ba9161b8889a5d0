//! One policy document as its author wrote it, checked for form but not against a catalog.
//!
//! `file` makes these from YAML; `compile` turns them into what `decide` compares. Every value that a message
//! may have to point at carries its place. There is no `Option` that means "default" but where absence itself
//! is the meaning that DESIGN §7 gives it, and each of those says so.

use super::credentials::ClientMethod;
use crate::problem::{At, Spanned};

/// The documents of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where the document begins.
    pub at: At,
    pub body: Body,
}

/// A document has one head.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    App(AppDocument),
    Guardrail(GuardrailDocument),
    Set(SetDocument),
    Group(GroupDocument),
    Names(NamesDocument),
}

/// `app: product/name`
#[derive(Debug, Clone, PartialEq)]
pub struct AppDocument {
    /// `slack/assist`: product, slash, name; both `[a-z0-9][a-z0-9._-]*`.
    pub app: Spanned<String>,
    /// Present in exactly one document of an app: that one describes it.
    pub description: Option<Description>,
    pub installations: Vec<Installation>,
    pub grants: Vec<GrantRule>,
    pub revocations: Vec<RevocationRule>,
    /// Written by commands, in `overrides` only.
    pub install_windows: Vec<InstallWindow>,
    /// Written by commands, in `overrides` only.
    pub suspensions: Vec<Suspension>,
}

/// `name` and `contact`
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    pub name: Spanned<String>,
    pub contact: Spanned<String>,
}

/// An app in a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Installation {
    pub at: At,
    pub tenant: Spanned<String>,
    pub tenant_name: Option<String>,
    /// Unix time in milliseconds.
    pub installed_at: Option<Spanned<i64>>,
    /// How long the install window stays open after `installed_at`, in milliseconds: default 24 h, at most 7 d.
    pub install_window_ms: i64,
    pub credentials: Vec<Credential>,
    /// `observe: {until: …}`, Unix time in milliseconds.
    pub observe_until: Option<Spanned<i64>>,
}

/// What an app shows to be known by.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    pub at: At,
    /// The catalog's kind of credential: `bot`, `connect`, …
    pub kind: Spanned<String>,
    pub method: CredentialMethod,
    /// The user whom this credential always stands for.
    pub user: Option<Spanned<String>>,
    pub pipeline: Option<Spanned<String>>,
}

/// How the evidence is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialMethod {
    /// A key of scopegate's own, replaced by what the file holds.
    GateKey { sha256: Spanned<[u8; 32]>, upstream: UpstreamCredential },
    /// The app's own token, passed on untouched.
    Token { sha256: Spanned<[u8; 32]> },
    /// An Atlassian Connect JWT, passed on untouched.
    ConnectJwt { client_key: Spanned<String>, secret: Spanned<String> },
    /// A client that somebody else vouches for.
    Client {
        by: ClientMethod,
        issuer: Spanned<String>,
        client: Spanned<String>,
        /// `None`: what the caller shows goes on.
        upstream: Option<UpstreamCredential>,
    },
}

/// `upstream: {file: …, scheme: bearer}`
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamCredential {
    pub file: Spanned<String>,
    pub scheme: UpstreamScheme,
}

/// How the real credential is shown upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamScheme {
    /// `Authorization: Bearer <file>` (RFC 6750).
    Bearer,
    /// `Authorization: Basic base64(<file>)`; the file holds `user:password` (RFC 7617).
    Basic,
}

/// A line under `grants`.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRule {
    pub at: At,
    /// `for:` what the app does with it.
    pub purpose: Option<String>,
    pub required: bool,
    /// Absent only when `operations` is present.
    pub scopes: Option<Scopes>,
    pub operations: Option<Vec<Spanned<String>>>,
    pub actors: Vec<Spanned<ActorWord>>,
    pub within: In,
    /// `None`: the installations of this document.
    pub tenants: Option<Tenants>,
    /// `None`: any.
    pub users: Option<Users>,
    /// `None`: any.
    pub pipelines: Option<Vec<Spanned<String>>>,
    pub valid: Valid,
    /// `where:` argument limits, by the argument's name.
    pub arguments: Vec<(Spanned<String>, Vec<Spanned<String>>)>,
    pub shadow: bool,
    pub signed: Signed,
}

/// A line under `revocations`.
#[derive(Debug, Clone, PartialEq)]
pub struct RevocationRule {
    pub at: At,
    /// `None`: all.
    pub scopes: Option<Scopes>,
    /// `None`: all.
    pub operations: Option<Vec<Spanned<String>>>,
    /// `None`: all.
    pub actors: Option<Vec<Spanned<ActorWord>>>,
    pub within: In,
    /// `None`: in an app's document its installations, in a guardrail what the guardrail says.
    pub tenants: Option<Tenants>,
    pub users: Option<Users>,
    pub pipelines: Option<Vec<Spanned<String>>>,
    pub valid: Valid,
    pub unless_install_window: bool,
    pub shadow: bool,
    pub reason: Spanned<String>,
    pub signed: Signed,
}

/// `scopes: all` or a list of names.
#[derive(Debug, Clone, PartialEq)]
pub enum Scopes {
    All(At),
    Names(Vec<Spanned<String>>),
}

/// Whom a caller acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActorWord {
    App,
    User,
}

/// `in: all`, or containers by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum In {
    All(At),
    /// At least one kind, each with at least one container.
    Kinds(Vec<(Spanned<String>, Vec<Spanned<ContainerWord>>)>),
}

/// A container in a rule or set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerWord {
    /// As written: `PROJ`, `10001`, `C0HELP`.
    Named(String),
    /// `set:sensitive`
    Set(String),
}

/// `tenants: all` or a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Tenants {
    All(At),
    Named(Vec<Spanned<String>>),
}

/// `users: {ids: […], groups: […]}`; at least one of them, none empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Users {
    pub at: At,
    pub ids: Vec<Spanned<String>>,
    pub groups: Vec<Spanned<String>>,
}

/// `valid: {from, until, after_install}`. Unix times and spans in milliseconds; absent = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Valid {
    pub from: Option<i64>,
    pub until: Option<i64>,
    pub after_install_ms: Option<i64>,
    pub at: At,
}

/// `by`, `at`: who wrote the rule, when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signed {
    pub by: Option<String>,
    /// Unix time in milliseconds.
    pub at: Option<i64>,
}

/// `guardrail: name`
#[derive(Debug, Clone, PartialEq)]
pub struct GuardrailDocument {
    pub guardrail: Spanned<String>,
    pub apps: Apps,
    pub tenants: Tenants,
    pub revocations: Vec<RevocationRule>,
    pub shadow: bool,
}

/// `apps: all`, a list, or `{product, except}`; `{product: all, except}` is all but those.
#[derive(Debug, Clone, PartialEq)]
pub enum Apps {
    All { at: At, except: Vec<Spanned<String>> },
    Product { product: Spanned<String>, except: Vec<Spanned<String>> },
    Named(Vec<Spanned<String>>),
}

/// `set: name`
#[derive(Debug, Clone, PartialEq)]
pub struct SetDocument {
    pub set: Spanned<String>,
    pub tenant: Spanned<String>,
    /// By kind; at least one, and none of them is a set.
    pub containers: Vec<(Spanned<String>, Vec<Spanned<String>>)>,
}

/// `group: name`. It may be empty: then it is nobody, but for whom a token says is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupDocument {
    pub group: Spanned<String>,
    pub tenant: Spanned<String>,
    pub users: Vec<Spanned<String>>,
    /// What tokens call it.
    pub claim: Option<Spanned<String>>,
}

/// `names: product`, `tenant: T`, `entries: {C0HELP: "#help"}`: reading names of ids in a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct NamesDocument {
    pub product: Spanned<String>,
    pub tenant: Spanned<String>,
    /// Any id (container, user) with its reading name.
    pub names: Vec<(Spanned<String>, String)>,
}

/// An install window that a command opened.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallWindow {
    pub at: At,
    pub tenant: Spanned<String>,
    pub from: i64,
    pub until: i64,
    pub reason: String,
    pub signed: Signed,
}

/// A suspension of the app in some tenants.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspension {
    pub at: At,
    /// `None`: every installation.
    pub tenants: Option<Tenants>,
    pub reason: Spanned<String>,
    pub signed: Signed,
}
