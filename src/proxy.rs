//! The data plane hub: `handle` cannot fail, `answer` is the life of a request.
//!
//! accept → canonical request → identify → match → locate → decide → forward or refuse → record. The hub owns this
//! order; the steps return to it and never call each other.

pub mod body;
pub mod connection;
pub mod counters;
pub mod forward;
pub mod headers;
pub mod limits;
pub mod listener;
pub mod record;
pub mod refuse;
pub mod stream;
pub mod tell;
pub mod tls;
pub mod transport;
pub mod upstream;
pub mod worker;

use std::sync::Arc;

use http::{Request, Response, request};
use hyper::body::{Body as _, Incoming};

use crate::authz::gate::GateRules;
use crate::authz::request::{BadRequest, BodyFacts, Facts, RequestView, parse_body};
use crate::authz::{Class, Denial, Permit, Reason, Wanted, decide, wanted};
use crate::live::Live;
use crate::shutdown::{Phase, Watch};
use body::{Body, Held, HoldError, Place, RequestBody, Room, hold};
use connection::Peer;
use forward::FinalForm;
use limits::Limits;
use record::{Record, Recorder};
use tell::Labels;
use upstream::{SendError, Upstream};

/// How often a request is judged again because the snapshot moved under it. Reloads are rarer than this by far; were
/// they not, the request is refused for now rather than kept waiting.
const JUDGEMENTS_MAX: u32 = 16;

/// One gate on one worker.
pub struct Hub {
    pub rules: Arc<GateRules>,
    pub live: Arc<Live>,
    pub limits: Arc<Limits>,
    pub recorder: Arc<Recorder>,
    pub labels: Arc<Labels>,
    pub upstreams: Upstreams,
    pub shutdown: Watch,
    /// For the bodies that are held, over all gates and workers.
    pub room: Room,
}

/// Where a tenant's requests go.
pub enum Upstreams {
    /// All tenants of the gate share one.
    One(Upstream),
    ByTenant(Vec<(Arc<str>, Upstream)>),
}

impl Upstreams {
    fn of(&self, tenant: &str) -> Option<&Upstream> {
        match self {
            Self::One(upstream) => Some(upstream),
            Self::ByTenant(upstreams) => {
                upstreams.iter().find(|(name, _)| **name == *tenant).map(|(_, upstream)| upstream)
            }
        }
    }
}

/// Why a request was not answered by the upstream, and whether its body is read to the end.
struct Refused {
    denial: Box<Denial>,
    body: refuse::RequestBody,
}

impl Hub {
    /// Answers one request. It cannot fail: a refusal is a response too.
    pub async fn handle(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let address = peer.address.map(|address| address.ip());
        let mut record = Record::start(&self.recorder, &head.method, head.uri.path(), address);
        if let Some(trace) = head.headers.get("traceparent") {
            record.traceparent(trace.as_bytes());
        }
        let answer =
            tokio::time::timeout(self.limits.request_timeout, self.answer(peer, &head, body, &mut record)).await;
        match answer.unwrap_or_else(|_| Err(too_slow())) {
            Ok(mut response) => {
                record.answered(response.status());
                response.body_mut().tells(record);
                response
            }
            Err(refused) => {
                let response = self.refuse(&head, &refused, &mut record);
                record.finish(response.status());
                response
            }
        }
    }

    /// The life of a request, top to bottom. Every `?` is a refusal.
    async fn answer(
        &self,
        peer: &Peer,
        head: &request::Parts,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Body>, Refused> {
        let unread = rest_of(&body);
        let request = self.view(head).map_err(|denial| Refused { denial, body: unread })?;
        let wanted = wanted(&self.live.load(), &self.rules, &request, self.live.now_ms());
        // The place is kept until the request is answered: as long as its body may be held.
        let (mut body, held, _place) =
            self.gather(body, wanted).await.map_err(|denial| Refused { denial, body: unread })?;
        let unread = if held.is_some() { refuse::RequestBody::Read } else { unread };
        let read = read_body(head, held.as_ref()).map_err(|denial| Refused { denial, body: unread })?;
        let mut facts = Facts { now_ms: 0, body: read };
        for _ in 0..JUDGEMENTS_MAX {
            facts.now_ms = self.live.now_ms();
            let decided = decide(&self.live.load(), &self.rules, &request, &facts);
            let permit = decided.map_err(|denial| self.for_now_if_unread(denial, &request, &facts, unread))?;
            self.labels.permit(record, &permit);
            match self.forward(peer, head, &request, &facts, permit, body, record).await {
                Ok(response) => return Ok(response),
                Err(Failed::Moved(back)) => body = back,
                Err(Failed::Refused(denial)) => return Err(Refused { denial, body: unread }),
            }
        }
        Err(Refused { denial: Box::new(Denial::of(Reason::Overloaded)), body: unread })
    }

    /// A credential that became known while its request was on the way: what is wanted of the body now was not taken
    /// then, so asking again is the answer, not a request that cannot be read.
    fn for_now_if_unread(
        &self,
        denial: Box<Denial>,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
        body: refuse::RequestBody,
    ) -> Refused {
        let unread = denial.reason == Reason::BadRequest && matches!(facts.body, BodyFacts::NotHeld);
        let late = unread && wanted(&self.live.load(), &self.rules, request, facts.now_ms) == Wanted::Body;
        if !late {
            return Refused { denial, body };
        }
        let why = Some("the policy changed while the request was on its way");
        Refused { denial: Box::new(Denial { why, ..Denial::of(Reason::StalePolicy) }), body }
    }

    /// The request as the core sees it, or why it can be read in two ways.
    fn view<'h>(&self, head: &'h request::Parts) -> Result<RequestView<'h>, Box<Denial>> {
        if self.shutdown.phase() >= Phase::Closing {
            return Err(Box::new(Denial::of(Reason::Draining)));
        }
        let twofold = headers::refuse_head(&head.method, head.version, &head.headers)
            .or_else(|| headers::check_request(&head.headers).err());
        let bad = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
        match twofold {
            Some(why) => Err(bad(why)),
            None => RequestView::of(head).map_err(|error| bad(error.0)),
        }
    }

    /// Fetches what the judgement wants. Nothing is held of a body that nothing is judged by.
    async fn gather(&self, body: Incoming, wanted: Wanted) -> Result<Gathered, Box<Denial>> {
        match wanted {
            Wanted::Nothing => Ok((RequestBody::stream(body, self.limits.body_timeout), None, None)),
            Wanted::Body => {
                let place = self.room.take(&body, self.limits.body_max);
                let place = place.ok_or_else(|| Box::new(Denial::of(Reason::Overloaded)))?;
                let held = hold(body, self.limits.body_max, self.limits.hold_timeout).await.map_err(unheld)?;
                Ok((RequestBody::held(held.clone()), Some(held), Some(place)))
            }
        }
    }

    /// Sends a permitted request upstream, in its final form and under the generation that permitted it.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that the request is sent by")]
    async fn forward(
        &self,
        peer: &Peer,
        head: &request::Parts,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
        permit: Permit,
        body: RequestBody,
        record: &mut Record,
    ) -> Result<Response<Body>, Failed> {
        let Some(upstream) = self.upstreams.of(&permit.who.tenant) else {
            return Err(Failed::Refused(Box::new(Denial::of(Reason::UnknownTenant))));
        };
        let form = FinalForm::of(&self.rules, request, facts, &permit, body).map_err(Failed::Refused)?;
        record.upstream_waits();
        let sent = form.send(upstream, peer, head, &permit).await;
        record.upstream_waited(sent.as_ref().ok().map(Response::status));
        match sent {
            Ok(mut response) => {
                self.labels.mark(&permit, response.headers_mut());
                Ok(response)
            }
            Err(SendError::Moved(body)) => Err(Failed::Moved(body)),
            Err(error) => Err(Failed::Refused(self.labels.failed(permit, &error))),
        }
    }

    fn refuse(&self, head: &request::Parts, refused: &Refused, record: &mut Record) -> Response<Body> {
        let refusal = self.labels.refusal(&refused.denial, record.decision().as_str());
        self.labels.denial(record, &refused.denial);
        let rendered = crate::authz::dialect::render(self.rules.catalog.dialect, &refusal);
        let mut response = refuse::response(rendered, &head.method, refused.body);
        if refused.denial.reason.class() == Class::Request {
            // What follows a request that can be read in two ways must not be taken for another one.
            headers::close_after(&mut response);
        }
        response
    }
}

/// What goes on upstream, what was held of it, and the room that this takes.
type Gathered = (RequestBody, Option<Held>, Option<Place>);

/// Why a permitted request got no answer.
enum Failed {
    /// The snapshot moved before the first byte: judge again.
    Moved(RequestBody),
    Refused(Box<Denial>),
}

/// The request took longer than all of its waits may, together.
fn too_slow() -> Refused {
    Refused { denial: Box::new(Denial::of(Reason::UpstreamTimeout)), body: refuse::RequestBody::Unread }
}

fn rest_of(body: &Incoming) -> refuse::RequestBody {
    if body.is_end_stream() { refuse::RequestBody::Read } else { refuse::RequestBody::Unread }
}

fn unheld(error: HoldError) -> Box<Denial> {
    let why = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
    match error {
        HoldError::TooLarge => Box::new(Denial::of(Reason::BodyTooLarge)),
        HoldError::TimedOut => why("the body did not come in time"),
        HoldError::Cut => why("the body was cut or malformed"),
    }
}

fn read_body<'b>(head: &request::Parts, held: Option<&'b Held>) -> Result<BodyFacts<'b>, Box<Denial>> {
    let Some(held) = held else { return Ok(BodyFacts::NotHeld) };
    let bad = |error: BadRequest| Box::new(Denial { why: Some(error.0), ..Denial::of(Reason::BadRequest) });
    parse_body(&head.headers, &held.bytes).map_err(bad)
}
