//! The configuration as the rest of the program uses it: checked, complete, paths resolved.
//!
//! An `Option` here means that the thing is not there (no TLS, no state folder), never a default.

pub mod admin;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address::NatsServer;
use crate::authz::gate::{Identify, TenantRule};
use crate::authz::origin::{Origin, Origins};
use crate::authz::policy::document::UpstreamScheme;
use crate::problem::At;
pub use admin::{Admin, Role};

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that all of it was read from.
    pub file: Arc<Path>,
    /// At least one; names and addresses differ.
    pub gates: Vec<Gate>,
    pub policies: PathBuf,
    /// Without it no command can write an act. With a bucket: what of it is known, on this disk.
    pub overrides: Option<PathBuf>,
    /// What the gates of a fleet share. `None`: the folder is all there is.
    pub bucket: Option<Bucket>,
    /// How long the policy folder must stay the same before what gives takes effect.
    pub settle: Duration,
    pub health: Option<Listen>,
    pub admin: Option<Admin>,
    pub state: Option<PathBuf>,
    pub journal: Journal,
    /// Apps beyond this number share the label `other`.
    pub metrics_apps_max: usize,
    pub log: Log,
    pub threads: Threads,
    pub drain: Drain,
    pub places: Places,
}

/// The key-value bucket of NATS JetStream in which a fleet keeps its acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Where the configuration writes it.
    pub at: At,
    /// At least one.
    pub servers: Vec<NatsServer>,
    pub bucket: String,
    /// `None`: in the clear.
    pub tls: Option<BucketTls>,
    pub login: Login,
    /// A gate that was not in sync for longer is not ready.
    pub max_override_age: Duration,
    /// `None`: the name of the host.
    pub gate_name: Option<String>,
    /// Of the bucket, where a gate has to make it.
    pub replicas: usize,
    pub start: Start,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTls {
    pub roots: Roots,
    /// What the gate shows of itself.
    pub shown: Option<ServerTls>,
}

/// How a gate says to the servers who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By its certificate, or not at all.
    Nothing,
    Credentials(PathBuf),
    Password {
        user: String,
        password: PathBuf,
    },
}

/// What a start that does not reach the bucket may be ready with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What was known, while that is not older than `max_override_age`.
    Known,
    /// Nothing.
    Fetched,
}

/// Where the file writes what only a start can find wanting. The file as a whole where it does not write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// Of `listen`, within `health`.
    pub health: At,
    /// Of `listen`, within `admin`.
    pub admin: At,
    pub state: At,
}

/// How much of the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    pub entries_max: usize,
    pub age_max: Duration,
    /// Bytes of what files said.
    pub texts_max: usize,
}

/// One listener in front of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Where the configuration writes it.
    pub at: At,
    pub name: String,
    pub listen: Listen,
    /// Where the configuration writes it.
    pub listen_at: At,
    pub tls: Option<ServerTls>,
    pub catalog: CatalogSource,
    pub identify: Identify,
    /// Where the keys of `identify.jwt` come from, in their order.
    pub keys: Vec<KeySource>,
    pub bypass: Bypass,
    pub tenant: TenantRule,
    /// Every tenant that `tenant` can tell, each with its upstream.
    pub tenants: Vec<Tenant>,
    /// The proxy through which all upstreams of the gate are reached, and not otherwise.
    pub via: Option<Via>,
    /// Hosts of the catalog's `redirects` that are not looked up.
    pub redirect_hosts: Vec<FixedHost>,
    pub issue_keys_prefix: bool,
    pub names_as_written: bool,
    pub channel_types_prefix: bool,
    /// `None`: the product is asked nothing.
    pub lookups: Option<Lookups>,
    /// Unix time in milliseconds; the gate enforces after it, and always when it is absent.
    pub observe_until_ms: Option<i64>,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// As a configuration writes it.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
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

impl Config {
    /// What one who takes rights from these apps must hear: where a gate can be walked around, it is advice (law 11).
    pub fn walked_around(&self, apps: &[Arc<str>]) -> Vec<String> {
        let is_of = |gate: &Gate| match &gate.catalog {
            CatalogSource::BuiltIn(name) => {
                let product = name.split('@').next().unwrap_or_default();
                apps.iter().any(|app| app.split('/').next() == Some(product))
            }
            CatalogSource::File(_) => true,
        };
        let open = self.gates.iter().filter(|gate| gate.bypass == Bypass::Open && is_of(gate));
        let note = |gate: &Gate| {
            let name = &gate.name;
            format!("the gate `{name}` says `bypass: open`: an app can walk around it, and what it refuses is advice")
        };
        open.map(note).collect()
    }
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
    pub links: TenantLinks,
}

/// How links name a tenant's product, and the gate before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantLinks {
    pub product: Arc<Origins>,
    /// Absent: the gate is called what each caller calls it.
    pub public_url: Option<Origin>,
}

/// A host that answers lead to, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedHost {
    /// Where the configuration writes it.
    pub at: At,
    pub name: Origin,
    pub address: SocketAddr,
    pub roots: Roots,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    pub address: UpstreamAddress,
    pub tls: Option<UpstreamTls>,
    pub protocol: Protocol,
    /// What `Host` says: the host, and the port where it is not the scheme's.
    pub host: String,
}

/// Which versions of HTTP an upstream is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/2 where the upstream agrees to it (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    Http1,
    Http2,
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

/// Whom the gate trusts to name a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's list, as compiled in.
    Public,
    /// A PEM file, and nothing else.
    File(PathBuf),
    /// A PEM file beside Mozilla's list.
    Both(PathBuf),
}

/// A proxy that is asked for a tunnel to each upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    pub port: u16,
    /// For a proxy that is itself spoken to over TLS.
    pub tls: Option<UpstreamTls>,
    pub authorization: Option<ProxyAuthorization>,
}

/// What a proxy is shown: a file that is read again when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAuthorization {
    /// How the text of the file is shown: `user:password` as Basic, a token as Bearer.
    pub scheme: UpstreamScheme,
    pub file: PathBuf,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Read again when it changes.
    File(PathBuf),
    Fetched(Fetched),
}

/// A key set that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub from: Arc<Upstream>,
    /// With the query, if there is one.
    pub path: String,
    pub refresh: Duration,
    /// Between two fetches that tokens ask for.
    pub cool_down: Duration,
    /// A set that is older counts no more.
    pub max_age: Duration,
}

/// How the product is asked which container a thing lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookups {
    /// The tenant's own.
    pub credential: Option<LookupCredential>,
    /// Questions with it.
    pub per_second: u32,
    /// For one question.
    pub timeout: Duration,
    /// How long an answer counts.
    pub max_fact_age: Duration,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { credential: None, per_second: 5, timeout: Duration::from_secs(2), max_fact_age: Duration::from_secs(30) }
    }
}

/// A file that is read again when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupCredential {
    pub scheme: UpstreamScheme,
    pub file: PathBuf,
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
    /// For a connection to the upstream, proxy and TLS included.
    pub connect_timeout: Duration,
    /// For the first byte of the upstream's answer.
    pub response_timeout: Duration,
    /// Between two pieces of a request's body, and for a client to take a piece of an answer.
    pub body_idle_timeout: Duration,
    /// Between two pieces of an answer, and for a WebSocket on which nothing moves.
    pub answer_idle_timeout: Duration,
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
    /// Requests that one client connection may carry before it is asked to close.
    pub max_requests_per_connection: u32,
    /// After this long a client connection is asked to close.
    pub max_connection_age: Duration,
    /// Requests under way on one HTTP/2 connection, on either side.
    pub http2_streams_max: u32,
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
            answer_idle_timeout: Duration::from_secs(5 * 60),
            connections_max: 10_000,
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            body_held_max: 1024 * 1024,
            upstream_idle_max: 64,
            upstream_connections_max: 1_000,
            max_requests_per_connection: 100_000,
            max_connection_age: Duration::from_secs(15 * 60),
            http2_streams_max: 100,
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
