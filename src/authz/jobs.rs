//! Jobs that requests start and ask about. What is remembered of them is an argument of the judgement: nothing here
//! remembers.

use std::sync::Arc;

use super::catalog::jobs::JobId;
use super::touch::Reach;

/// Containers of one request that are remembered with a job. One that touched more is remembered as of the tenant.
pub const CONTAINERS_KEPT_MAX: usize = 64;
/// The longest id or name of a container that is kept, in bytes.
pub const CONTAINER_BYTES_MAX: usize = 256;

/// Whose jobs they are: an app's, in one tenant. Nobody else's request is judged by them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    pub tenant: Arc<str>,
    pub app: Arc<str>,
}

/// A job by what its product calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedJob {
    pub kind: JobId,
    pub id: Box<str>,
}

/// The job that a request of an app asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedJob {
    pub owner: Owner,
    pub job: NamedJob,
}

/// A job that is about to be started. What the product will call it stands in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starting {
    pub owner: Owner,
    pub kind: JobId,
    /// What the request touches that starts it, as far as it was known when it was permitted.
    pub reach: Arc<Reach<'static>>,
}

/// What is remembered of a job that a request asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled<'l> {
    /// Nobody has looked yet.
    NotAsked,
    /// Nothing: it was forgotten, or somebody else started it.
    Nothing,
    Started(&'l Reach<'static>),
}
