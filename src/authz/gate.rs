//! What the core must know of the gate that a request came through.

use std::sync::Arc;

use super::catalog::Catalog;
use super::identity::jwt::Issuer;
use super::identity::trusted_header::TrustedHeader;

/// The settings of one gate that bear on judgement. Fixed while the process runs.
#[derive(Debug)]
pub struct GateRules {
    pub name: Arc<str>,
    pub catalog: Arc<Catalog>,
    pub identify: Identify,
    pub tenant: TenantRule,
    /// `issue_keys: prefix`: PROJ-1 lies in PROJ. Unsound where issues are moved.
    pub issue_keys_prefix: bool,
    /// `names: as_written`: a key is the container that the policy writes the same way. Unsound where keys change.
    pub names_as_written: bool,
    /// `channel_types: prefix`: `C…` is public, `G…` private or mpim. Unsound where channels are shared.
    pub channel_types_prefix: bool,
    /// The gate itself is under `observe` until this Unix time in milliseconds.
    pub observe_until_ms: Option<i64>,
}

/// The identity methods that a gate takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identify {
    pub gate_key: bool,
    pub token: bool,
    pub connect_jwt: bool,
    /// The issuers whose tokens it takes. No two have one name.
    pub jwt: Arc<[Issuer]>,
    /// The proxies that it believes, and in which fields.
    pub trusted_header: Option<Arc<TrustedHeader>>,
    /// `bypass: credential`: what a caller shows goes no further. A credential that would be passed on is not taken.
    pub replaces: bool,
}

/// How the tenant of a request is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantRule {
    /// Every request is for this tenant.
    Fixed(Arc<str>),
    /// By the canonical host name (lower case, no port, no trailing dot).
    Host(Vec<(Box<str>, Arc<str>)>),
    /// By the `{tenant}` of a base path (`/ex/jira/{tenant}`): the listed ones.
    Path(Vec<Arc<str>>),
    /// By the credential: the tenant of its installation, among the listed ones.
    Token(Vec<Arc<str>>),
}

impl TenantRule {
    /// All that it may tell.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        match self {
            Self::Fixed(tenant) => vec![Arc::clone(tenant)],
            Self::Host(hosts) => hosts.iter().map(|(_, tenant)| Arc::clone(tenant)).collect(),
            Self::Path(tenants) | Self::Token(tenants) => tenants.clone(),
        }
    }

    /// Whether it may tell this one.
    pub fn may_tell(&self, tenant: &str) -> bool {
        match self {
            Self::Fixed(fixed) => **fixed == *tenant,
            Self::Host(hosts) => hosts.iter().any(|(_, one)| **one == *tenant),
            Self::Path(tenants) | Self::Token(tenants) => tenants.iter().any(|one| **one == *tenant),
        }
    }
}
