//! What one request touches: containers by name, the whole tenant, or nothing.

use std::borrow::Cow;

use super::catalog::extras::ExtraMask;
use super::catalog::limits::Limited;
use super::catalog::lookups::{Home, LookupId};
use super::catalog::{KindId, VariantMask};

/// What one request touches, and which variants of the operation it may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Touched<'r> {
    pub reach: Reach<'r>,
    /// Every value that the variant fact may have. Each must pass.
    pub variants: VariantMask,
    /// What it needs on top of a line.
    pub extras: ExtraMask,
    /// What it tells of arguments that a grant may limit.
    pub limits: Box<[Limited]>,
}

impl<'r> Touched<'r> {
    /// Of a request whose arguments ask for nothing and tell nothing.
    pub fn plain(reach: Reach<'r>, variants: VariantMask) -> Self {
        Self { reach, variants, extras: ExtraMask::NONE, limits: Box::default() }
    }
}

/// How far a request reaches.
#[derive(Debug, PartialEq, Eq)]
pub enum Reach<'r> {
    Nothing,
    Tenant,
    /// At least one. Each must be held.
    Containers(ContainerList<'r>),
}

/// A container as the request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef<'r> {
    pub kind: KindId,
    pub name: ContainerName<'r>,
}

/// How a container is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerName<'r> {
    /// By its immutable id.
    Id(Cow<'r, str>),
    /// By a key, slug or name that the gate takes as written (`names: as_written`, `issue_keys: prefix`).
    Name(Cow<'r, str>),
    /// By a word of a query: a key or an id, and where the product knows none such, what another container is called.
    /// Where the policy writes the word it is taken for that container; no word proves that another one is not meant.
    Word(Cow<'r, str>),
    /// By a name that may prove a refusal, never a permit.
    Hint(Cow<'r, str>),
    /// By what the key of an issue begins with: the project that it lay in when it got that key. What that project is, and
    /// that it is there, says nothing of where the issue lies now.
    Prefix(Cow<'r, str>),
    /// Not by any name of its own, but by something that lies in it, which this look-up can place.
    Around { lookup: LookupId, thing: Cow<'r, str> },
    /// As a look-up told. Boxed: it is rare, and would make every container larger.
    Found(Box<FoundName>),
    /// Not at all: an id that no look-up can place.
    Unknown,
}

/// A container as far as look-ups tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundName {
    pub home: Home,
    /// `names: as_written`: the name that the product told is the one that the policy writes. Else a name that a policy
    /// writes may be an older one of this container, or have gone over to it.
    pub by_name: bool,
    /// What the request calls it. A rule that takes by this name takes it.
    pub called: Option<Box<str>>,
    /// Not told yet: taken for whatever would permit, to find out whether asking could change the verdict. Never is a
    /// request permitted by it.
    pub hoped: bool,
}

impl ContainerRef<'_> {
    /// What a word of a query stands for where it is no other container's name.
    pub fn as_written(&self) -> ContainerRef<'_> {
        let name = match &self.name {
            ContainerName::Word(text) if is_number(text) => ContainerName::Id(Cow::Borrowed(text)),
            ContainerName::Word(text) => ContainerName::Name(Cow::Borrowed(text)),
            other => other.clone(),
        };
        ContainerRef { kind: self.kind, name }
    }
}

/// Of the words of queries, those of digits are ids.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl ContainerName<'_> {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Id(text) | Self::Name(text) | Self::Word(text) | Self::Hint(text) | Self::Prefix(text) => Some(text),
            Self::Found(found) => found.home.key.as_deref().or(found.home.id.as_deref()),
            Self::Around { .. } | Self::Unknown => None,
        }
    }
}

impl ContainerRef<'_> {
    /// Whether it is only hoped to be one that a rule speaks of.
    pub fn is_hoped(&self) -> bool {
        matches!(&self.name, ContainerName::Found(found) if found.hoped)
    }
}

/// The containers of a request: one inline (the usual case costs no allocation), more on the heap.
#[derive(Debug, PartialEq, Eq)]
pub enum ContainerList<'r> {
    One([ContainerRef<'r>; 1]),
    Many(Vec<ContainerRef<'r>>),
}

/// The most containers one request may name: a full batch of Jira's, 1,000 issues, and where they go.
pub const CONTAINERS_MAX: usize = 1_100;

impl<'r> ContainerList<'r> {
    pub fn one(container: ContainerRef<'r>) -> Self {
        Self::One([container])
    }

    #[inline]
    pub fn as_slice(&self) -> &[ContainerRef<'r>] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }

    /// Adds a container that is not there yet.
    pub fn push(&mut self, container: ContainerRef<'r>) {
        if self.as_slice().contains(&container) {
            return;
        }
        match self {
            Self::One([first]) => *self = Self::Many(vec![first.clone(), container]),
            Self::Many(many) => many.push(container),
        }
    }
}
