//! The data plane hub: `handle` cannot fail, `answer` is the life of a request.
//!
//! accept → canonical request → identify → match → locate → decide → forward or refuse → record. The hub owns this
//! order; the steps return to it and never call each other.

pub mod body;
pub mod connection;
pub mod counters;
pub mod forward;
pub mod headers;
mod http2;
pub mod issuers;
pub mod jobs;
pub mod limits;
pub mod links;
pub mod listener;
pub mod lookups;
pub mod record;
pub mod refuse;
pub mod source;
pub mod stream;
pub mod streams;
pub mod tell;
pub mod timers;
pub mod tls;
pub mod transport;
pub mod tunnel;
pub mod upstream;
pub mod websocket;
pub mod worker;

use std::pin::pin;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, request};
use http_body::Body as _;
use tokio::time::Instant;

use crate::authz::decide::{changed, shown_containers};
use crate::authz::gate::{GateRules, TenantRule};
use crate::authz::identity::trusted_header::Vouched;
use crate::authz::looked_up::LookedUp;
use crate::authz::request::{BadRequest, BodyFacts, Facts, RequestView, parse_body};
use crate::authz::snapshot::Snapshot;
use crate::authz::{Class, Denial, Permit, Reason, Wanted, decide, decide_or_ask, starting, wanted};
use crate::clock::Now;
use crate::live::Live;
use crate::shutdown::{Phase, Watch};
use crate::telemetry::CONTAINERS_SHOWN;
use body::{Body, Held, HoldError, Holder, Place, RequestBody, Room, hold};
use connection::Peer;
use forward::FinalForm;
use headers::Twofold;
use issuers::Issuers;
use limits::Limits;
use lookups::{Asking, Changing, Lookups};
use record::{Record, Recorder};
use source::Source;
use streams::{Cut, Ending, Open, Register};
use tell::Labels;
use timers::Timers;
use upstream::{SendError, Upstream};
use websocket::Handshake;

/// How often a request is judged again because the snapshot moved under it. Reloads are rarer than this by far; were
/// they not, the request is refused for now rather than kept waiting.
const JUDGEMENTS_MAX: u32 = 16;

/// How often a request waits for look-ups: once by the policy of its arrival, and once more where that moved.
const LOOK_UPS_MAX: u32 = 4;

/// One gate on one worker.
pub struct Hub {
    pub rules: Arc<GateRules>,
    pub live: Arc<Live>,
    pub limits: Arc<Limits>,
    pub recorder: Arc<Recorder>,
    pub labels: Arc<Labels>,
    /// Where its requests are entered, to be judged again for as long as they last.
    pub streams: Register,
    pub upstreams: Upstreams,
    /// Whose tokens it takes.
    pub issuers: Issuers,
    /// What the product is asked where a verdict hangs on it.
    pub lookups: Lookups,
    /// What is remembered of jobs.
    pub jobs: Arc<jobs::Memory>,
    /// How links name the product, and the gate.
    pub sides: Arc<links::Sides>,
    /// The hosts whose redirects are followed, by `RedirectId`.
    pub redirects: Box<[Upstream]>,
    pub shutdown: Watch,
    /// For the bodies that are held, over all gates and workers.
    pub room: Room,
    /// For the bound of a whole request.
    pub timers: Timers,
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
    pub async fn handle(&self, peer: &Peer, request: Request<Source>) -> Response<Body> {
        let (mut open, body) = self.enter(peer, request);
        let head = open.head();
        let mut record =
            Record::start(&self.recorder, &head.method, head.uri.path(), peer.address.map(|address| address.ip()));
        if let Some(trace) = head.headers.get("traceparent") {
            record.traceparent(trace.as_bytes());
        }
        let unread = rest_of(&body);
        let deadline = Instant::from_std(record.started()) + self.limits.request_timeout;
        let answer = {
            let answer = pin!(self.answer(peer, &open, body, &mut record));
            let answer = pin!(open.unless_cut(answer));
            self.timers.until(deadline, answer).await
        };
        let answer = match answer.unwrap_or_else(|_| Ok(Err(too_slow()))) {
            Ok(answer) if !open.is_cut() => answer,
            Ok(_) | Err(Cut) => Err(taken_back(&open, unread)),
        };
        match answer {
            Ok(mut response) => {
                record.answered(response.status());
                open.lasts();
                if matches!(response.body(), Body::Tunnel(_)) {
                    open.compact();
                }
                response.body_mut().tells(Ending::new(record, open));
                response
            }
            Err(refused) => {
                let response = self.refuse(head, &refused, &mut record);
                if open.is_cut() {
                    record.cut(refused.denial.reason);
                }
                record.finish(response.status());
                response
            }
        }
    }

    /// Enters a request before it is judged, so that no snapshot comes between. What proxies before the gate say in it is taken
    /// out, and stands beside it from here on.
    fn enter(&self, peer: &Peer, request: Request<Source>) -> (Open, Source) {
        let (mut head, body) = request.into_parts();
        let address = peer.address.map(|address| address.ip());
        match self.rules.identify.trusted_header.as_ref().map(|fronts| fronts.take(&mut head.headers, address)) {
            None | Some(Ok(Vouched::Nothing)) => {}
            Some(Ok(vouched)) => drop(head.extensions.insert(vouched)),
            Some(Err(why)) => drop(head.extensions.insert(Twofold(why))),
        }
        (self.streams.enter(head), body)
    }

    /// The life of a request, top to bottom. Every `?` is a refusal.
    async fn answer(
        &self,
        peer: &Peer,
        open: &Open,
        body: Source,
        record: &mut Record,
    ) -> Result<Response<Body>, Refused> {
        let head = open.head();
        let unread = rest_of(&body);
        let (mut request, handshake) = self.view(peer, head).map_err(|denial| Refused { denial, body: unread })?;
        let bearer = match self.issuers.told(&request, || self.live.now_ms()) {
            Some(bearer) => bearer,
            // Boxed, as whatever few requests wait for.
            None => Box::pin(self.issuers.resolved(&request, || self.live.now_ms())).await,
        };
        request.bears(bearer);
        let wanted = wanted(&self.live.load(), &self.rules, &request, self.live.now_ms());
        // The place is kept until the request is answered: as long as its body may be held.
        let (mut body, held, _place) =
            self.gather(open, body, wanted).await.map_err(|denial| Refused { denial, body: unread })?;
        let unread = if held.is_some() { refuse::RequestBody::Read } else { unread };
        'judgements: for _ in 0..JUDGEMENTS_MAX {
            let asked = links::Asked { peer, open, request: &request, held: held.as_ref() };
            // A block of its own: what is judged by has no room in what waits for the upstream.
            let (denial, generation) = 'lacking: {
                let (sending, _changing) = {
                    // Read anew for each judgement: a tree is many times its text, and none stays while the upstream is awaited.
                    let read = read_body(head, held.as_ref()).map_err(|denial| Refused { denial, body: unread })?;
                    let known = open.known();
                    let looked_up = known.as_deref().unwrap_or(LookedUp::nothing());
                    let Now { ms: now_ms, behind_ms } = self.live.now();
                    let facts = Facts { now_ms, behind_ms, body: read, looked_up };
                    let snapshot = self.live.load();
                    let permit = match self.judge(&snapshot, &request, &facts) {
                        Ok(permit) => permit,
                        Err(denial) if denial.recalls.is_some() => {
                            self.recall(open, *denial);
                            continue 'judgements;
                        }
                        Err(denial) if denial.lacks.is_some() && self.asks(&facts) => {
                            break 'lacking (denial, snapshot.generation);
                        }
                        Err(denial) => return Err(self.for_now_if_unread(denial, &request, &facts, unread)),
                    };
                    if handshake.is_some() && !self.opens_websocket(&permit) {
                        let why = Some("this operation opens no WebSocket");
                        return Err(Refused {
                            denial: Box::new(Denial { why, ..Denial::of(Reason::BadRequest) }),
                            body: unread,
                        });
                    }
                    open.permitted(&permit, facts.now_ms);
                    self.labels.permit(record, &permit);
                    self.note_containers(record, &request, &facts, &permit);
                    self.labels.listen(record, &self.rules, &request, &facts, &permit);
                    record.watches(self.watch(&snapshot, &request, &facts, &permit));
                    let form = FinalForm::of(&self.rules, head, &request, &facts, &permit, body);
                    let form = form.map_err(|denial| Refused { denial, body: unread })?;
                    let changing = self.changing(&permit, &request, &facts);
                    (self.forward(asked, form, permit, handshake.as_ref(), record), changing)
                };
                match sending.await {
                    Ok(response) => return Ok(response),
                    Err(Failed::Moved(back)) => {
                        body = back;
                        continue 'judgements;
                    }
                    Err(Failed::Refused(denial)) => return Err(Refused { denial, body: unread }),
                }
            };
            let Some(asked) = self.look_up(open, denial, generation, record) else { continue 'judgements };
            asked.await.map_err(|denial| Refused { denial, body: unread })?;
        }
        Err(Refused { denial: Box::new(Denial::of(Reason::Overloaded)), body: unread })
    }

    /// Whether what a request lacks will be asked.
    fn asks(&self, facts: &Facts<'_>) -> bool {
        self.lookups.are_on() && facts.looked_up.rounds < LOOK_UPS_MAX
    }

    #[inline]
    fn judge(&self, snapshot: &Snapshot, request: &RequestView<'_>, facts: &Facts<'_>) -> Result<Permit, Box<Denial>> {
        match self.asks(facts) {
            true => decide_or_ask(snapshot, &self.rules, request, facts),
            false => decide(snapshot, &self.rules, request, facts),
        }
    }

    /// What a refused request lacks was told before, all of it.
    fn recalls(&self, open: &Open, denial: &Denial) -> bool {
        let Some(lacks) = denial.lacks.as_deref() else { return false };
        let mut found = open.known().as_deref().cloned().unwrap_or_default();
        let recalled = self.lookups.recall(lacks, &mut found);
        if recalled {
            found.rounds += 1;
            open.knows(found);
        }
        recalled
    }

    /// Looks up what a refused request lacks: it is to be judged again, by what is known then. `None`: all of it was told
    /// before. Boxed, as whatever few requests wait for.
    fn look_up<'a>(
        &'a self,
        open: &'a Open,
        denial: Box<Denial>,
        generation: u64,
        record: &'a mut Record,
    ) -> Option<impl Future<Output = Result<(), Box<Denial>>> + Unpin + 'a> {
        (!self.recalls(open, &denial)).then(|| Box::pin(self.ask(open, denial, generation, record)))
    }

    /// Asks the product.
    async fn ask(
        &self,
        open: &Open,
        denial: Box<Denial>,
        generation: u64,
        record: &mut Record,
    ) -> Result<(), Box<Denial>> {
        let Some(lacks) = denial.lacks.as_deref() else { return Err(denial) };
        let Some(upstream) = self.upstreams.of(&lacks.asker.tenant) else {
            return Err(Box::new(Denial::of(Reason::UnknownTenant)));
        };
        let mut found = open.known().as_deref().cloned().unwrap_or_default();
        let head = open.head();
        record.upstream_waits();
        let asked = self.lookups.find(Asking { upstream, head, lacks, generation }, &mut found).await;
        record.upstream_waited(None);
        // Where the snapshot moved the policy may want to know something else now.
        if asked.is_ok() {
            found.rounds += 1;
            open.knows(found);
        }
        Ok(())
    }

    /// Recalls the job that a request asks about. It is to be judged again, by what is remembered of that.
    #[cold]
    fn recall(&self, open: &Open, denial: Denial) {
        let Some(asked) = denial.recalls else { return };
        let mut found = open.known().as_deref().cloned().unwrap_or_default();
        let reach = self.jobs.recall(&asked, std::time::Instant::now());
        found.recall(*asked, reach);
        open.knows(found);
    }

    /// Looks out for the job that a permitted request starts, if it starts one.
    #[inline]
    fn watch(
        &self,
        snapshot: &Snapshot,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
        permit: &Permit,
    ) -> Option<jobs::Watch> {
        let starting = starting(snapshot, &self.rules, request, facts, permit)?;
        let operation = self.rules.catalog.operations.get(usize::from(permit.operation?.0))?;
        let (start, side) = (operation.starts.as_ref()?, self.sides.of(permit.who.tenant())?);
        Some(jobs::Watch::new(&self.jobs, &self.rules.catalog, &side.product, &start.at, *starting))
    }

    /// From here until the request is answered what was looked up may change.
    fn changing(&self, permit: &Permit, request: &RequestView<'_>, facts: &Facts<'_>) -> Option<Box<Changing>> {
        let id = permit.operation?;
        let operation = self.rules.catalog.operations.get(usize::from(id.0))?;
        if operation.changes.is_empty() {
            return None;
        }
        self.lookups.changing(permit.who.tenant(), &changed(&self.rules, id, request, facts))
    }

    /// The line of a permitted request names what it touches. Nobody finds that out where no line is written.
    fn note_containers(&self, record: &mut Record, request: &RequestView<'_>, facts: &Facts<'_>, permit: &Permit) {
        if record.is_written() {
            let (snapshot, tenant) = (self.live.load(), permit.who.tenant());
            let touched = shown_containers(&snapshot, &self.rules, request, facts, tenant, CONTAINERS_SHOWN);
            self.labels.touched(record, touched);
        }
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
        let late = unread && wanted(&self.live.load(), &self.rules, request, facts.now_ms) != Wanted::Nothing;
        if !late {
            return Refused { denial, body };
        }
        let why = Some("the policy changed while the request was on its way");
        Refused { denial: Box::new(Denial { why, ..Denial::of(Reason::StalePolicy) }), body }
    }

    /// What follows the opening is not judged, so the catalog must say that the operation is one for it.
    fn opens_websocket(&self, permit: &Permit) -> bool {
        permit.operation.is_some_and(|id| self.rules.catalog.opens_websocket(id))
    }

    /// The request as the core sees it and the WebSocket that it asks for, or why it can be read in two ways.
    fn view<'h>(
        &self,
        peer: &Peer,
        head: &'h request::Parts,
    ) -> Result<(RequestView<'h>, Option<Handshake>), Box<Denial>> {
        if self.shutdown.phase() >= Phase::Closing {
            return Err(Box::new(Denial::of(Reason::Draining)));
        }
        let twofold = headers::refuse_head(head).or_else(|| headers::check_request(&head.headers).err());
        let bad = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
        if let Some(why) = twofold {
            return Err(bad(why));
        }
        let handshake = websocket::asked(head).map_err(bad)?;
        let mut request = RequestView::of(head).map_err(|error| bad(error.0))?.with_token(&mut peer.seen.borrow_mut());
        if let Some(vouched) = head.extensions.get::<Vouched>() {
            request.is_vouched(vouched.clone());
        }
        Ok((request, handshake))
    }

    /// Fetches what the judgement wants. Nothing is held of a body that nothing is judged by.
    async fn gather(&self, open: &Open, body: Source, wanted: Wanted) -> Result<Gathered, Box<Denial>> {
        match wanted {
            Wanted::Nothing => Ok((RequestBody::stream(body, self.limits.body_timeout).of(open), None, None)),
            Wanted::Body { of } => {
                let mut place = self.room.place(of.map_or(Holder::Stranger, Holder::App));
                // Boxed, as whatever few requests wait for: each request holds room for the rest.
                let held = Box::pin(hold(body, self.limits.body_max, self.limits.hold_timeout, &mut place));
                let held = held.await.map_err(unheld)?;
                open.holds(&held);
                Ok((RequestBody::held(held.clone()), Some(held), Some(place)))
            }
        }
    }

    /// Sends a permitted request upstream, in its final form and under the generation that permitted it.
    async fn forward(
        &self,
        asked: links::Asked<'_>,
        form: FinalForm,
        permit: Permit,
        handshake: Option<&Handshake>,
        record: &mut Record,
    ) -> Result<Response<Body>, Failed> {
        let tenant = permit.who.tenant();
        let Some(upstream) = self.upstreams.of(tenant) else {
            return Err(Failed::Refused(Box::new(Denial::of(Reason::UnknownTenant))));
        };
        let called = self.called(tenant, asked.open.head());
        record.upstream_waits();
        let sent = form.send(upstream, asked.peer, asked.open.head(), &permit, handshake, called).await;
        let sent = match sent {
            Ok(response) if response.status().is_success() && websocket::is_opened_by_success(asked.open.head()) => {
                Err(SendError::NotOpened(response.status()))
            }
            other => other,
        };
        record.upstream_waited(sent.as_ref().ok().map(Response::status));
        match sent {
            Ok(mut response) => {
                record.head_came(&response);
                response.body_mut().take_what_came(record);
                let (mut permit, mut response) = (permit, response);
                if links::leads(response.headers()) {
                    // Boxed: it is rare, and its size would be every request's.
                    let led = Box::pin(links::follow_lead(self, asked, (permit, response), record));
                    (permit, response) = led.await.map_err(Failed::Refused)?;
                }
                if links::concern(&self.rules.catalog, permit.operation, response.headers()) {
                    links::keep(self, asked, &permit, &mut response).map_err(Failed::Refused)?;
                }
                self.labels.mark(&permit, response.headers_mut());
                Ok(response)
            }
            Err(SendError::Moved(body)) => Err(Failed::Moved(body)),
            Err(error) => {
                record.upstream_failed(&error);
                Err(Failed::Refused(self.labels.failed(permit, &error)))
            }
        }
    }

    /// What the gate is called, as far as somebody else than the caller says so: `public_url`, or the host name that
    /// told the tenant.
    fn called<'h>(&'h self, tenant: &str, head: &'h request::Parts) -> Option<&'h HeaderValue> {
        self.sides.host(tenant).or_else(|| match &self.rules.tenant {
            TenantRule::Host(_) => head.headers.get(header::HOST),
            TenantRule::Fixed(_) | TenantRule::Path(_) | TenantRule::Token(_) => None,
        })
    }

    fn refuse(&self, head: &request::Parts, refused: &Refused, record: &mut Record) -> Response<Body> {
        let refusal = self.labels.refusal(&refused.denial, record.decision().as_str());
        self.labels.denial(record, &refused.denial);
        let rendered = crate::authz::dialect::render(self.rules.catalog.dialect, &refusal);
        let mut response = refuse::response(rendered, &head.method, refused.body);
        if response.status().is_success() && websocket::is_opened_by_success(head) {
            // Slack refuses with 200.
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
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

/// The request was begun, and is no longer permitted. What the upstream has of it, it may have acted on.
fn taken_back(open: &Open, body: refuse::RequestBody) -> Refused {
    let denial = open.denial().unwrap_or_else(|| Box::new(Denial::of(Reason::StalePolicy)));
    let body = if open.is_held() { refuse::RequestBody::Read } else { body };
    let why = "the policy changed while the request was under way: the product may have done a part of it";
    Refused { denial: Box::new(Denial { why: denial.why.or(Some(why)), ..*denial }), body }
}

fn rest_of(body: &Source) -> refuse::RequestBody {
    if body.is_end_stream() { refuse::RequestBody::Read } else { refuse::RequestBody::Unread }
}

fn unheld(error: HoldError) -> Box<Denial> {
    let why = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
    match error {
        HoldError::TooLarge => Box::new(Denial::of(Reason::BodyTooLarge)),
        HoldError::NoRoom => Box::new(Denial::of(Reason::Overloaded)),
        HoldError::TimedOut => why("the body did not come in time"),
        HoldError::Cut => why("the body was cut or malformed"),
    }
}

fn read_body<'b>(head: &request::Parts, held: Option<&'b Held>) -> Result<BodyFacts<'b>, Box<Denial>> {
    let Some(held) = held else { return Ok(BodyFacts::NotHeld) };
    let bad = |error: BadRequest| Box::new(Denial { why: Some(error.0), ..Denial::of(Reason::BadRequest) });
    parse_body(&head.headers, &held.bytes).map_err(bad)
}
