//! Asks the product behind a gate for its containers and their names, page by page, with the tenant's own credential.
//!
//! It needs no running gate: it takes roots, proxy and credential from the configuration as a gate would, asks what the
//! catalog declares and nothing else, and follows no link and no redirect.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{HeaderValue, StatusCode, Uri};
use tokio::time::{Instant, sleep, timeout};

use super::files::Files;
use super::gates;
use crate::authz::catalog::Catalog;
use crate::authz::catalog::naming::{Called, NameList};
use crate::authz::gate::TenantRule;
use crate::config::model;
use crate::problem::Problem;
use crate::proxy::lookups::question::{self, Reply};
use crate::proxy::upstream::Upstream;

/// The largest answer that is read: 250 spaces are about 150 KB, 200 channels with their topics 400.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// All answers together.
const BYTES_MAX: usize = 128 << 20;
/// Pages of one list.
const PAGES_MAX: usize = 1_000;
/// How often one page is asked for where the product says "too many".
const TRIES_MAX: u32 = 5;
/// How long to wait where it says "too many" and no more, in seconds; and at most, whatever it says.
const RETRY_AFTER_S: u32 = 5;
const RETRY_AFTER_MAX_S: u32 = 300;
/// For one answer, from the connection to its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked, and how much of it at most.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    pub tenant: &'w str,
    pub names_max: usize,
    /// For all of it, waits and all.
    pub timeout: Duration,
}

/// What the product told.
#[derive(Debug, Default)]
pub struct Fetched {
    /// By id.
    pub names: BTreeMap<String, Called>,
    /// Of each kind of container: how many of it the product listed.
    pub listed: Vec<(String, usize)>,
    /// Items that named nothing that could be an id.
    pub passed_over: usize,
    /// There were more than may be.
    pub is_cut: bool,
    pub pages: usize,
}

/// Why there is nothing to write.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the catalog of {0} does not say how its containers are listed")]
    NoLists(String),
    #[error("the gate has no credential of its own to ask with: add `lookups: {{credential: {{file: …}}}}` to it")]
    NoCredential,
    #[error("the gate has no tenant `{0}`")]
    NoTenant(String),
    #[error("{}", crate::problem::render_human(.0, false).trim_end())]
    Files(Vec<Problem>),
    #[error("page {page} of the {kind}s: {why}")]
    Page { kind: String, page: usize, why: String },
    #[error("it takes longer than {} s: page {page} of the {kind}s was the last one asked for", .timeout.as_secs())]
    TooSlow { kind: String, page: usize, timeout: Duration },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Fetches all names of a tenant. Blocks.
///
/// # Errors
/// Anything that leaves the list less than whole: nothing is told then.
pub fn fetch(gate: &model::Gate, catalog: &Arc<Catalog>, wanted: Wanted<'_>) -> Result<Fetched, FetchError> {
    if catalog.names.is_empty() {
        return Err(FetchError::NoLists(catalog.product.to_string()));
    }
    let tenant = gate.tenants.iter().find(|tenant| *tenant.id == *wanted.tenant);
    let tenant = tenant.ok_or_else(|| FetchError::NoTenant(wanted.tenant.to_owned()))?;
    let mut files = Files::of_a_start();
    // Who asks serves nobody: the gate's own key need not be readable.
    let gate = &model::Gate { tls: None, ..gate.clone() };
    let Some(taken) = files.take(gate) else { return Err(FetchError::Files(files.problems().to_vec())) };
    let own = taken.lookups.as_ref().and_then(|own| own.shown()).ok_or(FetchError::NoCredential)?;
    let target = gates::target(&gate.name, &tenant.upstream, &taken).map_err(FetchError::Files)?;
    let limits = Arc::new(gates::limits(&gate.limits));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        // No snapshot judges these questions, so none moves under them.
        let upstream = Upstream::new(target, limits, Arc::default(), Arc::new(AtomicU64::new(0)));
        let prefix = match &gate.tenant {
            TenantRule::Path(_) => catalog.tenant_bases.first().map(|base| base.replace("{tenant}", wanted.tenant)),
            TenantRule::Fixed(_) | TenantRule::Host(_) | TenantRule::Token(_) => None,
        };
        let per_second = gate.lookups.as_ref().map_or(1, |lookups| lookups.per_second).max(1);
        let asking = Asking {
            upstream,
            own,
            prefix: prefix.unwrap_or_default(),
            pace: Duration::from_secs(1) / per_second,
            catalog,
            wanted,
            until: Instant::now() + wanted.timeout,
        };
        asking.all().await
    })
}

struct Asking<'a> {
    upstream: Upstream,
    own: HeaderValue,
    prefix: String,
    /// Between two questions: running gates ask with the same credential.
    pace: Duration,
    catalog: &'a Catalog,
    wanted: Wanted<'a>,
    until: Instant,
}

impl Asking<'_> {
    async fn all(&self) -> Result<Fetched, FetchError> {
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        for list in &self.catalog.names {
            self.list(list, &mut fetched, &mut bytes).await?;
        }
        Ok(fetched)
    }

    async fn list(&self, list: &NameList, fetched: &mut Fetched, bytes: &mut usize) -> Result<(), FetchError> {
        let kind = self.catalog.containers.get(usize::from(list.kind.0)).map_or("container", |kind| &kind.name);
        let (mut next, mut seen, mut items) = (None::<String>, HashSet::new(), 0);
        for page in 1..=PAGES_MAX {
            let fault = |why: String| FetchError::Page { kind: kind.to_owned(), page, why };
            let slow = || FetchError::TooSlow { kind: kind.to_owned(), page, timeout: self.wanted.timeout };
            if fetched.pages > 0 {
                self.rest(self.pace).await.ok_or_else(slow)?;
            }
            let target = format!("{}{}", self.prefix, list.target(self.wanted.tenant, next.as_deref()));
            let body = self.page(&target).await.map_err(|why| why.map_or_else(slow, fault))?;
            *bytes += body.len();
            if *bytes > BYTES_MAX {
                return Err(fault(format!("the answers have more than {BYTES_MAX} bytes together")));
            }
            let read = list.read(self.catalog, &body, items).map_err(fault)?;
            items += read.items;
            fetched.pages += 1;
            fetched.passed_over += read.passed_over;
            for called in read.names {
                if fetched.names.len() >= self.wanted.names_max && !fetched.names.contains_key(&called.id) {
                    fetched.is_cut = true;
                } else {
                    // What was listed first stays: an outer container is named before an inner one.
                    fetched.names.entry(called.id.clone()).or_insert(called);
                }
            }
            next = read.next.filter(|_| !fetched.is_cut);
            match &next {
                None => {
                    fetched.listed.push((kind.to_owned(), items));
                    return Ok(());
                }
                Some(next) if !seen.insert(next.clone()) => {
                    return Err(fault("the product names the same next page twice: it does not end".to_owned()));
                }
                Some(_) => {}
            }
        }
        Err(FetchError::Page {
            kind: kind.to_owned(),
            page: PAGES_MAX,
            why: "there are more pages than are asked for".to_owned(),
        })
    }

    /// One page's body. `Err(None)`: the time is over.
    async fn page(&self, target: &str) -> Result<bytes::Bytes, Option<String>> {
        let uri: Uri = target.parse().map_err(|_| Some(format!("`{target}` is no question")))?;
        for _ in 0..TRIES_MAX {
            let left = self.until.saturating_duration_since(Instant::now());
            let asked = question::ask(&self.upstream, 0, uri.clone(), Some(self.own.clone()), PAGE_BYTES_MAX);
            let reply = timeout(ANSWER_TIMEOUT.min(left), asked).await.map_err(|_| match left > ANSWER_TIMEOUT {
                true => Some(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
                false => None,
            })?;
            let Reply { status, body, retry_after_s } = reply.map_err(|error| Some(error.to_string()))?;
            match status {
                StatusCode::OK => return body.map_err(|why| Some(format!("the answer: {why}"))),
                StatusCode::TOO_MANY_REQUESTS => {
                    let wait = retry_after_s.unwrap_or(RETRY_AFTER_S).clamp(1, RETRY_AFTER_MAX_S);
                    self.rest(Duration::from_secs(u64::from(wait))).await.ok_or(None)?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(Some(format!("the product refuses the credential of `lookups` ({status})")));
                }
                other => return Err(Some(format!("the product answers with {other}"))),
            }
        }
        Err(Some(format!("the product says \"too many requests\" for the {TRIES_MAX}th time")))
    }

    /// Waits, unless that is past the end.
    async fn rest(&self, time: Duration) -> Option<()> {
        if Instant::now() + time > self.until {
            return None;
        }
        sleep(time).await;
        Some(())
    }
}
