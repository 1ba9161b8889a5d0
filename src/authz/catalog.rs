//! What a product's API is: its operations, the scopes each needs, and where its containers stand.
//!
//! This is the checked model. `file` mirrors the YAML, `merge` lays the overlay over it, `compact` is the
//! result in words, `compile` makes the model of it. `matcher` finds the operation of a request,
//! `container` finds its containers, `lookups` says what can be asked where they are not named, `extras` which scopes its
//! arguments ask for, `limits` what of them a grant may limit, `jobs` what goes on after an answer. A catalog never changes
//! while the process runs.

pub mod arguments;
pub mod builtin;
pub mod compact;
pub mod compile;
pub mod container;
pub mod evaluators;
pub mod extras;
pub mod file;
pub mod items;
pub mod jobs;
pub mod limits;
pub mod links;
pub mod load;
pub mod lookups;
pub mod matcher;
pub mod merge;
pub mod name_lists;
pub mod naming;
pub mod pattern;

use std::sync::Arc;

pub use compact::{Absent, ActorRule, DialectName, Fold, LimitReading, Reading, ScopeSide};

use super::scope::{ScopeId, ScopeSet};

/// A kind of container, numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u8);

/// One of the scope languages of a product, numbered in catalog order. At most 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VocabularyId(pub u8);

/// A kind of credential (`oauth`, `connect`, `bot`, …), numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialKindId(pub u8);

/// An operation, numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u16);

/// A set of vocabularies, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VocabularySet(pub u16);

impl VocabularySet {
    pub const ALL: Self = Self(u16::MAX);

    #[inline]
    pub fn contains(self, vocabulary: VocabularyId) -> bool {
        self.0 & (1 << (vocabulary.0 & 15)) != 0
    }
}

/// The values that a fact on which scopes depend (Slack's conversation type) may have, as bits.
/// A catalog has at most one such fact, of at most 8 values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VariantMask(pub u8);

impl VariantMask {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u8::MAX);

    #[inline]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Each single value in the mask.
    #[inline]
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..8).map(|bit| Self(1 << bit)).filter(move |one| self.intersects(*one))
    }
}

/// A product's API, checked and numbered.
#[derive(Debug)]
pub struct Catalog {
    pub product: Arc<str>,
    pub release: String,
    pub dialect: DialectName,
    /// SHA-256 of the compact form, as lower-case hex: start-up logs a change of it.
    pub digest: String,
    /// Where a credential may stand besides `Authorization`.
    pub tokens: TokenPlaces,
    /// Arguments that name a tenant: whatever the operation, a value other than the request's tenant
    /// reaches a second one.
    pub tenant_arguments: Box<[TenantArgument]>,
    pub containers: Box<[ContainerKind]>,
    pub vocabularies: Box<[Box<str>]>,
    pub scopes: Box<[Scope]>,
    /// By `CredentialKindId`.
    pub kinds: Box<[CredentialKind]>,
    /// Names of the values of the variant fact (`public`, `private`, `im`, `mpim`), by bit.
    pub variants: Box<[Box<str>]>,
    /// By `OperationId`.
    pub operations: Box<[Operation]>,
    pub links: links::Links,
    /// By `LookupId`.
    pub lookups: Box<[lookups::Lookup]>,
    /// By `LimitId`.
    pub limits: Box<[limits::Limit]>,
    /// By `JobId`.
    pub jobs: Box<[jobs::Job]>,
    pub evaluators: Box<[evaluators::Evaluator]>,
    /// What lists containers with their names.
    pub names: Box<[naming::NameList]>,
    /// The scope `gate:call`.
    pub gate_call: ScopeId,
    /// The scope `gate:mint`.
    pub gate_mint: ScopeId,
    /// Every scope of the vendor's: what `scopes: all` in a grant stands for.
    pub vendor_scopes: ScopeSet,
    /// What may stand before a path, with the tenant in it: `/ex/jira/{tenant}`.
    pub tenant_bases: Box<[Box<str>]>,
    pub matcher: matcher::Matcher,
}

/// Query and body members that hold a credential (Slack's `token`, Buddy's `access_token`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenPlaces {
    pub query: Box<[Box<str>]>,
    /// Top-level members of a form or JSON body.
    pub body: Box<[Box<str>]>,
    /// Members of a form.
    pub form: Box<[Box<str>]>,
}

impl TokenPlaces {
    /// Whether a credential may stand in the body of some request.
    pub fn may_stand_in_body(&self) -> bool {
        !self.body.is_empty() || !self.form.is_empty()
    }
}

/// An argument whose value is a tenant (Slack's `team_id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantArgument {
    pub at: PlaceAt,
    /// Several may be named.
    pub list: bool,
}

/// A kind of container, and how its ids are written.
#[derive(Debug)]
pub struct ContainerKind {
    pub name: Box<str>,
    /// What an immutable id looks like (whole text).
    pub id: Option<pattern::Pattern>,
    /// What a changeable name looks like: a key, a slug, `#general` (whole text).
    pub key: Option<pattern::Pattern>,
    pub fold: Fold,
    pub within: Option<KindId>,
    /// Turns a name of it into its id.
    pub lookup: Option<lookups::LookupId>,
    /// Turns its id into its name; where there is none, the other does.
    pub lookup_id: Option<lookups::LookupId>,
}

/// A scope of one catalog.
#[derive(Debug)]
pub struct Scope {
    pub name: Arc<str>,
    pub class: ScopeClass,
    /// The vocabularies that it is a word of.
    pub vocabularies: VocabularySet,
    /// Itself and every scope that it implies, through any number of steps and `same_as`.
    pub down: ScopeSet,
    /// Itself and every scope that implies it: what a revocation of it takes.
    pub up: ScopeSet,
}

/// What a scope rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeClass {
    /// Operations.
    Vendor,
    /// The vendor's, but ruling something other than an operation.
    Side(ScopeSide),
    /// scopegate's own, on top of the vendor's.
    Guard,
    /// `gate:call`.
    Call,
}

/// A kind of credential: the vocabularies it can use, and whom it stands for.
#[derive(Debug)]
pub struct CredentialKind {
    pub name: Box<str>,
    pub vocabularies: VocabularySet,
    pub actor: ActorRule,
}

/// One operation of the API.
#[derive(Debug)]
pub struct Operation {
    pub id: Box<str>,
    pub method: http::Method,
    pub template: Box<str>,
    pub needs: Needs,
    /// Guards: part of every line.
    pub guards: Box<[ScopeId]>,
    /// Every scope in any line, and the guards.
    pub all_scopes: ScopeSet,
    /// What some of its requests need on top of a line. At most [`extras::EXTRAS_MAX`].
    pub extras: Box<[extras::Extra]>,
    /// Every scope in any of them.
    pub extra_scopes: ScopeSet,
    /// What tells which of them a request needs.
    pub extra_sources: Box<[extras::ExtraSource]>,
    /// What in its requests a grant may limit.
    pub limits: Box<[limits::LimitPlace]>,
    pub touches: Touches,
    /// The vendor's own rule on containers reaches it, or its description does not say that it does not.
    pub subject: bool,
    /// The lists of a JSON body in whose items places stand.
    pub items: Box<[items::Items]>,
    /// Those of the catalog's `tenant_arguments` that the vendor describes for this operation.
    pub tenant_arguments: Box<[TenantArgument]>,
    /// What narrows the variant fact, besides the container itself.
    pub variant_sources: Box<[VariantSource]>,
    /// Variants that some line speaks of; `ALL` when no line is conditional.
    pub variants: VariantMask,
    /// It must be judged with its body at hand.
    pub body: bool,
    /// It may open a WebSocket.
    pub websocket: bool,
    /// The links in its answers that are kept at the gate; `None`: its answers are not looked into.
    pub links: Option<Arc<links::LinkRules>>,
    /// The product reads arguments from a JSON body.
    pub reads_json: bool,
    /// And from a multipart body.
    pub reads_multipart: bool,
    /// It leaves something behind that works on when its scope is gone.
    pub undo: Option<Box<Undo>>,
    /// It removes what another left behind.
    pub remover: Option<Box<Remover>>,
    /// The look-ups whose answers it may change.
    pub changes: Box<[lookups::Change]>,
    /// It starts a job, and its answer says which.
    pub starts: Option<Box<jobs::Start>>,
    /// It asks about a job. `touches` says what else it reaches; one that is not remembered may be anybody's.
    pub fetches: Option<Box<jobs::Fetch>>,
}

/// What takes back what an operation leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// `None`: nothing does.
    pub by: Option<OperationId>,
    pub why: Box<str>,
    /// Where the answer names what was made: JSON pointers with `*`.
    pub answer: Box<[Box<str>]>,
    /// The argument of the request that names it.
    pub argument: Option<Box<str>>,
}

/// Where an operation names what it removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remover {
    pub at: Option<PlaceAt>,
    /// Naming nothing, it removes all.
    pub absent_all: bool,
}

/// The scopes an operation needs.
#[derive(Debug)]
pub enum Needs {
    /// The vendor's description states none: refused.
    Unknown,
    /// Written by hand: `gate:call` suffices.
    None { why: Box<str> },
    /// In a vocabulary any line suffices; a line must be held whole.
    Lines(Box<[VocabularyLines]>),
}

/// The lines of one vocabulary.
#[derive(Debug)]
pub struct VocabularyLines {
    pub vocabulary: VocabularyId,
    pub lines: Box<[Line]>,
}

/// Scopes that must all be held. An empty line is a load error.
#[derive(Debug)]
pub struct Line {
    pub scopes: Box<[ScopeId]>,
    /// The variants in which this line counts.
    pub when: VariantMask,
}

/// What an operation reaches.
#[derive(Debug)]
pub enum Touches {
    Nothing {
        why: Box<str>,
    },
    /// All containers, or cannot be told.
    Tenant {
        why: Box<str>,
    },
    Containers(Box<[Place]>),
}

/// Where a container is named in a request.
#[derive(Debug)]
pub struct Place {
    pub kind: KindId,
    pub at: PlaceAt,
    pub reading: Reading,
    /// What stands there is no container, but lies in one.
    pub lookup: Option<lookups::LookupId>,
    pub absent: Absent,
    /// Its presence makes the whole operation `tenant` (a `parent.id` that nothing resolves yet).
    pub present_is_tenant: bool,
    /// A comma-separated or repeated value: each is a container.
    pub list: bool,
    /// Places of one group name the same container in two ways; both present count as `tenant`.
    pub group: Option<u8>,
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceAt {
    /// The n-th parameter of the path template.
    Path(u8),
    /// What the `{+name}` of the path template stands for.
    Rest,
    Query(Box<str>),
    Header(http::HeaderName),
    /// A JSON pointer into the body (RFC 6901).
    Body(Box<str>),
    /// The keys of the object at such a pointer.
    Keys(Box<str>),
    /// A pointer with `*` in it, which stands for each item of a list and each member of an object. What it finds is
    /// read item by item: see [`items`].
    InItems {
        pointer: Box<str>,
        keys: bool,
    },
    /// A text field of a multipart body.
    Multipart(Box<str>),
    /// Slack: in the query, a form or the top level of a JSON body, but in one of them.
    Argument(Box<str>),
}

/// An argument that tells the variant.
#[derive(Debug)]
pub struct VariantSource {
    pub at: PlaceAt,
    pub values: Box<[(Box<str>, VariantMask)]>,
    /// Comma-separated: each named variant is reached.
    pub list: bool,
    /// What absence means.
    pub absent: VariantMask,
}

impl Operation {
    /// Whether it reaches the whole tenant, whatever it is asked for.
    pub fn is_of_the_tenant(&self) -> bool {
        matches!(self.touches, Touches::Tenant { .. }) && self.fetches.is_none()
    }
}

impl Catalog {
    pub fn scope(&self, name: &str) -> Option<ScopeId> {
        self.scopes.iter().position(|scope| &*scope.name == name).and_then(ScopeId::new)
    }

    pub fn scope_name(&self, scope: ScopeId) -> &str {
        self.scopes.get(scope.index()).map_or("?", |scope| &scope.name)
    }

    /// The same, to be kept: a refusal names many.
    pub fn scope_name_kept(&self, scope: ScopeId) -> Arc<str> {
        self.scopes.get(scope.index()).map_or_else(|| Arc::from("?"), |scope| Arc::clone(&scope.name))
    }

    pub fn operation(&self, id: &str) -> Option<OperationId> {
        let index = self.operations.iter().position(|operation| &*operation.id == id)?;
        u16::try_from(index).ok().map(OperationId)
    }

    /// Whether the operation may open a WebSocket.
    pub fn opens_websocket(&self, id: OperationId) -> bool {
        self.operations.get(usize::from(id.0)).is_some_and(|operation| operation.websocket)
    }

    /// Whether the body of an operation's answers must be one that can be looked into, whether or not links are kept in it.
    pub fn is_listened_to(&self, id: OperationId) -> bool {
        let starts = self.operations.get(usize::from(id.0)).and_then(|operation| operation.starts.as_deref());
        self.leaves_or_removes(id) || starts.is_some_and(|start| start.at.pointer().is_some())
    }

    /// Whether the answers of an operation are looked into for what outlasts a revocation.
    pub fn leaves_or_removes(&self, id: OperationId) -> bool {
        let operation = self.operations.get(usize::from(id.0));
        operation.is_some_and(|operation| operation.undo.is_some() || operation.remover.is_some())
    }

    pub fn container_kind(&self, name: &str) -> Option<KindId> {
        let index = self.containers.iter().position(|kind| &*kind.name == name)?;
        u8::try_from(index).ok().map(KindId)
    }

    pub fn kind(&self, name: &str) -> Option<CredentialKindId> {
        let index = self.kinds.iter().position(|kind| &*kind.name == name)?;
        u8::try_from(index).ok().map(CredentialKindId)
    }
}
