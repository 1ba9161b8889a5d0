//! Jobs: what a product does after it has answered, such as a bulk change, a copy of a page tree, an export. Which operations
//! start one, where their answers name it, and which ask about it. Declared in the catalog, and the same for every product.
//!
//! Pure: nothing here remembers anything.

use http::Method;

use super::matcher::{Found, Parameters};
use super::{Catalog, PlaceAt};
use crate::authz::path::{canonical, decode_segment};

/// Far more than any product has; `JobId` is a byte.
pub const JOBS_MAX: usize = 64;
/// Names on the way to a member of an answer.
pub const NAMES_MAX: usize = 8;
/// The longest id of a job that is remembered, in bytes. Most are numbers and UUIDs.
pub const ID_BYTES_MAX: usize = 256;

/// A sort of job, numbered in catalog order. Ids of two sorts have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(pub u8);

/// A sort of job.
#[derive(Debug)]
pub struct Job {
    pub name: Box<str>,
    pub why: Box<str>,
}

/// What an operation starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub job: JobId,
    pub at: NamedAt,
}

/// Where the answer names what was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedAt {
    /// The member of the body that these names lead to holds its id. No names: the body is the id.
    Answer(Box<[Box<str>]>),
    /// It holds a link to an operation that asks about it.
    Link(Box<[Box<str>]>),
    /// `Location` is such a link.
    Location,
}

impl NamedAt {
    /// The way to a member of the body; `None` where it is not looked into.
    pub fn pointer(&self) -> Option<&[Box<str>]> {
        match self {
            Self::Answer(names) | Self::Link(names) => Some(names),
            Self::Location => None,
        }
    }
}

/// What an operation asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub job: JobId,
    pub at: PlaceAt,
}

impl Catalog {
    /// The id in a link that an answer in this tenant holds: its path is that of an operation that asks about such a job.
    /// `None`: it is any other link.
    pub fn job_in_link(&self, job: JobId, path: &str, tenant: &str) -> Option<String> {
        let path = canonical(path).ok()?;
        let mut parameters = Parameters::default();
        let Found::Operation(matched) = self.matcher.find_with(&Method::GET, &path, &mut parameters) else {
            return None;
        };
        // A job of another tenant's is none of this one.
        if matched.tenant.is_some_and(|named| named != tenant) {
            return None;
        }
        let operation = self.operations.get(usize::from(matched.operation.0))?;
        let fetch = operation.fetches.as_deref().filter(|fetch| fetch.job == job)?;
        let PlaceAt::Path(index) = fetch.at else { return None };
        decode_segment(parameters.get(index)?).ok().map(|id| id.into_owned())
    }
}
