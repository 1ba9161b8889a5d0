//! Links in answers stay at the gate: those that name the product are made to name the gate, and a redirect to another
//! origin is followed, passed on or refused, as the core decides. Else page two would go past the gate, with the
//! caller's credential.
//!
//! Nothing here is judged, and no URL of another origin is told or logged.

pub mod body;
mod fields;
pub mod json;
mod media;
mod redirect;

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, request};

use super::body::{Body, Held, RequestBody};
use super::connection::Peer;
use super::record::Record;
use super::streams::Open;
use super::upstream::SendError;
use super::{Hub, JUDGEMENTS_MAX};
use crate::authz::catalog::links::{LinkRules, RedirectId};
use crate::authz::catalog::{Catalog, OperationId};
use crate::authz::decide::{Passage, Redirect};
use crate::authz::looked_up::LookedUp;
use crate::authz::origin::{Origin, Origins};
use crate::authz::request::{Facts, RequestView};
use crate::authz::{Denial, Permit, Reason, decide_redirect};
use crate::clock::Now;
use json::{GateAddress, Rewriter};
use media::Reading;
use redirect::Lead;
pub use redirect::own_path;

/// The two sides of a gate, as links name them, for each tenant. Shared by its workers.
#[derive(Debug)]
pub enum Sides {
    /// All tenants have the same.
    One(Side),
    ByTenant(Vec<(Arc<str>, Side)>),
}

/// How links name the product, and how they name the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    pub product: Arc<Origins>,
    /// `public_url`; without it the gate is called what the caller called it.
    pub gate: Option<GateAddress>,
    /// The host and port of `public_url`.
    pub host: Option<HeaderValue>,
}

impl Sides {
    /// What the gate is called by the configuration, for `x-forwarded-host`.
    pub fn host(&self, tenant: &str) -> Option<&HeaderValue> {
        self.of(tenant)?.host.as_ref()
    }

    pub fn of(&self, tenant: &str) -> Option<&Side> {
        match self {
            Self::One(side) => Some(side),
            Self::ByTenant(sides) => sides.iter().find(|(name, _)| **name == *tenant).map(|(_, side)| side),
        }
    }
}

/// A request that was answered.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub peer: &'a Peer,
    pub open: &'a Open,
    pub request: &'a RequestView<'a>,
    /// Of its body what was held to be judged.
    pub held: Option<&'a Held>,
}

/// The links that are kept in the answers of an operation. `None`: they are not looked into.
pub fn rules(catalog: &Catalog, operation: Option<OperationId>) -> Option<&Arc<LinkRules>> {
    match operation {
        Some(id) => catalog.operations.get(usize::from(id.0))?.links.as_ref(),
        None => catalog.links.unknown.as_ref(),
    }
}

/// Asks for an answer whose links can be read.
pub fn ask_for_the_whole(headers: &mut HeaderMap) {
    redirect::ask_for_the_whole(headers);
}

/// Whether an answer may hold links at all. Most of a product in whose answers nothing is rewritten do not.
pub fn concern(catalog: &Catalog, operation: Option<OperationId>, headers: &HeaderMap) -> bool {
    rules(catalog, operation).is_some() || fields::hold_links(headers)
}

/// Whether the body of an answer is JSON that can be looked into.
pub fn is_read(status: StatusCode, headers: &HeaderMap) -> bool {
    media::reading(status, headers) == Reading::Rewrite
}

/// Whether an answer leads somewhere else, or may.
pub fn leads(headers: &HeaderMap) -> bool {
    headers.contains_key(header::LOCATION)
}

/// Goes where an answer leads. A redirect that is followed, and one that is passed on, was judged when it came: the Permit
/// is that of this last judgement.
///
/// # Errors
/// The redirect is refused, or what it leads to did not come.
pub async fn follow_lead(
    hub: &Hub,
    asked: Asked<'_>,
    (permit, response): (Permit, Response<Body>),
    record: &mut Record,
) -> Result<(Permit, Response<Body>), Box<Denial>> {
    let Some(side) = hub.sides.of(permit.who.tenant()) else {
        return Err(Box::new(Denial::of(Reason::UnknownTenant)));
    };
    let answer = go(hub, asked, side, Answer { permit, response, from: None }, record).await?;
    Ok((answer.permit, answer.response))
}

/// Keeps the links of an answer at the gate.
///
/// # Errors
/// Why they cannot be read.
pub fn keep(hub: &Hub, asked: Asked<'_>, permit: &Permit, response: &mut Response<Body>) -> Result<(), Box<Denial>> {
    let Some(side) = hub.sides.of(permit.who.tenant()) else {
        return Err(Box::new(Denial::of(Reason::UnknownTenant)));
    };
    let gate = || side.gate.clone().unwrap_or_else(|| called(asked));
    if fields::hold_links(response.headers()) {
        fields::keep(response.headers_mut(), &side.product, &gate());
    }
    let Some(rules) = rules(&hub.rules.catalog, permit.operation) else { return Ok(()) };
    let rewriter = || Rewriter::new(Arc::clone(rules), Arc::clone(&side.product), gate());
    keep_in_body(response, asked.open.head(), rewriter).map_err(|why| broken(permit, why))
}

/// An answer on its way.
struct Answer {
    permit: Permit,
    response: Response<Body>,
    /// The other origin that it came from.
    from: Option<Origin>,
}

/// Goes where `Location` leads, as far as the core lets it.
async fn go(
    hub: &Hub,
    asked: Asked<'_>,
    side: &Side,
    mut answer: Answer,
    record: &mut Record,
) -> Result<Answer, Box<Denial>> {
    let mut followed = 0;
    for _ in 0..JUDGEMENTS_MAX {
        let status = answer.response.status();
        let lead = redirect::lead(answer.response.headers(), &side.product, answer.from.as_ref());
        let Lead::Away { to, path } = lead else { return arrived(answer) };
        if !redirect::redirects(status) && answer.from.is_some() {
            answer.response.headers_mut().remove(header::LOCATION);
            return arrived(answer);
        }
        let to = to.filter(|_| path.is_some());
        let seen = Redirect { status, to: to.as_ref(), followed, permit: &answer.permit };
        let judged = judge(hub, asked, &seen);
        match (judged, path) {
            (Ok(Passage::Follow { permit, host }), Some(path)) => {
                hub.labels.permit(record, &permit);
                match follow(hub, asked, &permit, host, path, record).await {
                    Ok(response) => {
                        followed += 1;
                        answer = Answer { permit, response, from: to };
                    }
                    // The policy moved before the first byte: judged again.
                    Err(SendError::Moved(_)) => {}
                    Err(error) => return Err(hub.labels.failed(permit, &error)),
                }
            }
            (Ok(Passage::Follow { permit, .. }), None) => return Err(broken(&permit, "a redirect cannot be followed")),
            (Ok(Passage::PassOn(permit)), _) => {
                hub.labels.permit(record, &permit);
                return Ok(Answer { permit, ..answer });
            }
            // The answer to something that was done: it is given, without the URL.
            (Err(_), _) if !redirect::redirects(status) => {
                answer.response.headers_mut().remove(header::LOCATION);
                return Ok(answer);
            }
            (Err(denial), _) => return Err(denial),
        }
    }
    Err(Box::new(Denial::of(Reason::Overloaded)))
}

/// Judges a redirect as its request was judged. What waits afterwards holds neither the snapshot nor the body's tree.
fn judge(hub: &Hub, asked: Asked<'_>, seen: &Redirect<'_>) -> Result<Passage, Box<Denial>> {
    let known = asked.open.known();
    let Now { ms: now_ms, behind_ms } = hub.live.now();
    let facts = Facts {
        now_ms,
        behind_ms,
        body: super::read_body(asked.open.head(), asked.held)?,
        looked_up: known.as_deref().unwrap_or(LookedUp::nothing()),
    };
    decide_redirect(&hub.live.load(), &hub.rules, asked.request, &facts, seen)
}

/// Fetches what a redirect leads to, without any credential.
async fn follow(
    hub: &Hub,
    asked: Asked<'_>,
    permit: &Permit,
    host: RedirectId,
    path: http::uri::PathAndQuery,
    record: &mut Record,
) -> Result<Response<Body>, SendError> {
    let Some(upstream) = hub.redirects.get(usize::from(host.0)) else {
        return Err(SendError::Unreachable(std::io::ErrorKind::NotFound.into()));
    };
    let links_are_read = rules(&hub.rules.catalog, permit.operation).is_some();
    let head = redirect::head(asked.open.head(), &upstream.target().host, path, links_are_read);
    record.upstream_waits();
    let sent = upstream.send(permit.generation, || head.clone(), RequestBody::Empty, None).await;
    record.upstream_waited(None);
    let mut response = sent?;
    fields::take_away(response.headers_mut());
    Ok(response)
}

/// There is no further to go. What was followed must have ended in content.
fn arrived(answer: Answer) -> Result<Answer, Box<Denial>> {
    let status = answer.response.status();
    if answer.from.is_none() || redirect::redirects(status) || redirect::is_content(status) {
        return Ok(answer);
    }
    Err(broken(&answer.permit, "what the product redirected to could not be fetched"))
}

/// Rewrites the links of a body, if it has some, or says why they cannot be read.
fn keep_in_body(
    response: &mut Response<Body>,
    asked: &request::Parts,
    rewriter: impl FnOnce() -> Rewriter,
) -> Result<(), &'static str> {
    let has_body = response.body().is_some();
    let is_unchanged = response.status() == StatusCode::NOT_MODIFIED;
    match media::reading(response.status(), response.headers()) {
        Reading::Unreadable(why) if has_body => Err(why),
        // An answer to HEAD, and a 304, is the head of the answer to GET.
        Reading::Rewrite if has_body || asked.method == Method::HEAD || is_unchanged => {
            media::unvouch(response.headers_mut());
            response.body_mut().rewrite(rewriter).map_err(|_| "the product's answer is not in UTF-8")
        }
        Reading::Pass | Reading::Rewrite | Reading::Unreadable(_) => Ok(()),
    }
}

/// The gate as this caller called it.
fn called(asked: Asked<'_>) -> GateAddress {
    let RequestView { host, port, .. } = asked.request;
    match port {
        Some(port) => GateAddress::new(asked.peer.is_tls, format!("{host}:{port}")),
        None => GateAddress::new(asked.peer.is_tls, &**host),
    }
}

/// The upstream's fault. What it was goes into the log; nothing of the answer goes to the caller.
fn broken(permit: &Permit, why: &'static str) -> Box<Denial> {
    tracing::warn!(tenant = &**permit.who.tenant(), why, "an answer is not passed on");
    let reason = Reason::UpstreamBroken;
    Box::new(Denial {
        why: Some(why),
        who: Some(permit.who.clone()),
        operation: permit.operation,
        ..Denial::of(reason)
    })
}
