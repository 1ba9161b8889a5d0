//! The configuration as the rest of the program uses it: checked, complete, paths resolved.
//!
//! An `Option` here means that the thing is not there (no TLS, no state folder), never a default.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::authz::gate::{Identify, TenantRule};
use crate::problem::At;

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// At least one; names and addresses differ.
    pub gates: Vec<Gate>,
    pub policies: PathBuf,
    /// Without it no command can write an act.
    pub overrides: Option<PathBuf>,
    /// How long the policy folder must stay the same before what gives takes effect.
    pub settle: Duration,
    pub health: Option<Listen>,
    pub admin: Option<Admin>,
    pub state: Option<PathBuf>,
    /// Apps beyond this number share the label `other`.
    pub metrics_apps_max: usize,
    pub log: Log,
    pub threads: Threads,
    pub drain: Drain,
}

/// One listener in front of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Where the configuration writes it.
    pub at: At,
    pub name: String,
    pub listen: Listen,
    pub tls: Option<ServerTls>,
    pub catalog: CatalogSource,
    pub identify: Identify,
    pub bypass: Bypass,
    pub tenant: TenantRule,
    /// Every tenant that `tenant` can tell, each with its upstream.
    pub tenants: Vec<Tenant>,
    pub issue_keys_prefix: bool,
    pub names_as_written: bool,
    pub channel_types_prefix: bool,
    /// Unix time in milliseconds; the gate enforces after it, and always when it is absent.
    pub observe_until_ms: Option<i64>,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogSource {
    /// `jira` or `jira@2025-12`.
    BuiltIn(String),
    File(PathBuf),
}

/// Why an app cannot walk around the gate (law 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bypass {
    Credential,
    Network,
    Open,
}

impl Bypass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Network => "network",
            Self::Open => "open",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub id: Arc<str>,
    /// What people call it; absent where nobody said.
    pub name: Option<String>,
    /// Tenants without one of their own share the gate's.
    pub upstream: Arc<Upstream>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    pub address: UpstreamAddress,
    pub tls: Option<UpstreamTls>,
    /// What `Host` says: the host, and the port where it is not the scheme's.
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// A DNS name in lower case, or an IP address without brackets.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    pub server_name: String,
    pub roots: Roots,
}

/// Whom the gate trusts to name the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's list, as compiled in.
    Public,
    /// A PEM file, and nothing else.
    File(PathBuf),
}

/// Every limit of a gate's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the whole head of a request.
    pub header_timeout: Duration,
    /// For a client connection on which nothing is asked.
    pub idle_timeout: Duration,
    /// For a whole request, from its head to the last byte of its answer.
    pub request_timeout: Duration,
    /// For a connection to the upstream, TLS included.
    pub connect_timeout: Duration,
    /// For the first byte of the upstream's answer.
    pub response_timeout: Duration,
    /// Between two pieces of a body, in either direction.
    pub body_idle_timeout: Duration,
    /// Client connections at one time.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Bytes of a body that is held because its container is in it.
    pub body_held_max: usize,
    /// Idle connections kept for each upstream and thread.
    pub upstream_idle_max: usize,
    /// Connections to upstreams at one time.
    pub upstream_connections_max: usize,
}

/// What a gate does when nothing is written.
impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(5 * 60),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(30),
            connections_max: 10_000,
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            body_held_max: 1024 * 1024,
            upstream_idle_max: 64,
            upstream_connections_max: 1_000,
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Not ready any more, but still accepting: until load balancers know.
    pub delay: Duration,
    /// For requests under way after that.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub listen: Listen,
    /// The file with the bearer token. Always there on TCP: a sidecar shares loopback with the app it guards.
    pub token: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub users: LogUsers,
    pub format: LogFormat,
}

/// How a log line names a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogUsers {
    Plain,
    Hashed,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Data-plane threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One for each core of the cgroup's quota.
    Auto,
    Count(NonZeroUsize),
}
