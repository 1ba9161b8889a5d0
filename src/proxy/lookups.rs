//! Asks the product about things that requests name, where the verdict hangs on it, and keeps the answers for a while.
//!
//! The core says what it lacks and who may ask; here it is asked, and nothing is judged. A question goes without a Permit:
//! it is the gate's own, a GET of the catalog's, and is asked only where its answer could let a request pass. Several
//! requests that want to know the same at one time ask once.
//!
//! Answers are dated when they were asked for. They are kept by worker, so that nothing is locked, for `max_fact_age` at
//! most; none outlives a change that passes the gate: a move, a rename, a deletion counts up when it is sent and when it
//! was answered, for the thing that it names or for all that a look-up told of the tenant, and what was asked for before
//! either does not count.

mod budget;
mod cache;
pub mod pinning;
pub mod question;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::header::{self, HeaderValue};
use http::{StatusCode, Uri, request};
use tokio::sync::Notify;

use super::forward::authorization;
use super::upstream::via::Authorization;
use super::upstream::{SendError, Upstream};
use crate::authz::catalog::Catalog;
use crate::authz::catalog::lookups::{Answer, CHAIN_MAX};
use crate::authz::decide::{AskedBy, Asker, Changed, Lacks};
use crate::authz::looked_up::{LookedUp, Thing, Told};
use crate::authz::reason::Reason;
use crate::metrics::{GateMetrics, LookedUpAs};
pub use cache::Changes;
use cache::{Begun, Cache, Counter, Dated, Since};

/// The longest answer that is read. An issue with its project is some hundred bytes, a Slack file with its channels more.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Questions that one worker of a gate asks at one time.
const ASKED_MAX: usize = 256;
/// The most of these that are one app's: four requests that name as many things as are asked about.
const ASKED_OF_APP_MAX: usize = 64;
/// How often a request waits for a question of another's that was broken off.
const WAITS_MAX: u32 = 4;
/// How long an answer that there is none counts at most: what is made now is there soon.
const ABSENT_AGE_MAX: Duration = Duration::from_secs(10);
/// How old an answer may be where a revocation is limited to containers.
const URGENT_AGE_MAX: Duration = Duration::from_secs(5);
/// How long to wait where the product says "too many" and no more.
const RETRY_AFTER_S: u32 = 5;

/// How a gate asks.
#[derive(Debug)]
pub struct Settings {
    /// The tenant's own: for callers whose credential cannot carry another request.
    pub credential: Option<Arc<Authorization>>,
    /// Questions a second with it.
    pub per_second: u32,
    /// For one question, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// How long an answer counts.
    pub max_fact_age: Duration,
}

/// What the workers of one gate share.
#[derive(Debug)]
pub struct Shared {
    settings: Settings,
    changes: Changes,
    budget: budget::Shared,
}

impl Shared {
    pub fn new(settings: Settings) -> Self {
        Self { budget: budget::Shared::new(settings.per_second), settings, changes: Changes::default() }
    }
}

/// The look-ups of one gate on one worker.
#[derive(Debug)]
pub struct Lookups {
    /// `None`: the gate asks nothing (`lookups: off`).
    shared: Option<Arc<Shared>>,
    catalog: Arc<Catalog>,
    metrics: GateMetrics,
    cache: RefCell<Cache>,
    asked: RefCell<HashMap<(Asker, Thing), Rc<Question>>>,
    /// How many are under way, for each app that has any.
    under_way: RefCell<HashMap<Arc<str>, usize>>,
}

/// A question that was asked and not answered yet.
#[derive(Debug)]
struct Question {
    /// What must not have changed since it was asked, for one who comes later.
    begun: Since,
    answered: Notify,
    answer: RefCell<Option<Dated>>,
}

/// The snapshot moved before a question was sent: the request is judged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved;

/// Where and how a question goes.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub upstream: &'a Upstream,
    /// The head of the request that waits.
    pub head: &'a request::Parts,
    pub lacks: &'a Lacks,
    /// By which it was found to lack something.
    pub generation: u64,
}

/// Takes a question off the list, answered or not: who waits for it wakes, and asks again if it was broken off.
struct Asked<'l> {
    lookups: &'l Lookups,
    of: (Asker, Thing),
    question: Rc<Question>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut asked = self.lookups.asked.borrow_mut();
        // A later one may have taken its place.
        if asked.get(&self.of).is_some_and(|question| Rc::ptr_eq(question, &self.question)) {
            asked.remove(&self.of);
        }
        let mut under_way = self.lookups.under_way.borrow_mut();
        if let Some(count) = under_way.get_mut(&self.of.0.app) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.of.0.app);
            }
        }
        self.question.answered.notify_waiters();
    }
}

impl Lookups {
    pub fn new(shared: Option<Arc<Shared>>, catalog: Arc<Catalog>, metrics: GateMetrics) -> Self {
        let (cache, asked, under_way) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { shared, catalog, metrics, cache, asked, under_way }
    }

    /// Whether anything is asked at all.
    pub fn are_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Counts a change as begun, and as ended when what it returns is dropped. `None`: it changes no answer.
    pub fn changing(&self, tenant: &str, changed: &[Changed]) -> Option<Box<Changing>> {
        let shared = self.shared.as_ref().filter(|_| !changed.is_empty())?;
        let counters = shared.changes.of(tenant, changed);
        shared.changes.count(&counters);
        // Boxed: every request has room for it, and few need it.
        Some(Box::new(Changing { shared: Arc::clone(shared), counters }))
    }

    /// Adds what a request lacks to what it is judged by, where all of it was told before.
    pub fn recall(&self, lacks: &Lacks, looked_up: &mut LookedUp) -> bool {
        let Some(shared) = &self.shared else { return false };
        let known = lacks.things.iter().map(|thing| Some((thing, self.known(shared, lacks, thing)?)));
        let Some(known) = known.collect::<Option<Vec<_>>>() else { return false };
        for (thing, dated) in known {
            self.metrics.looked_up(LookedUpAs::Cached);
            looked_up.add(&lacks.asker.tenant, thing.clone(), dated.told);
        }
        true
    }

    /// Finds out what a request lacks, and adds it to what it is judged by.
    ///
    /// # Errors
    /// The snapshot moved: nothing was found out, and it is to be judged again.
    pub async fn find(&self, asking: Asking<'_>, looked_up: &mut LookedUp) -> Result<(), Moved> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let lacks = asking.lacks;
        let each = lacks.things.iter().map(|thing| self.told(shared, asking, thing));
        let told = join_all(each).await;
        for (thing, dated) in lacks.things.iter().zip(told) {
            looked_up.add(&lacks.asker.tenant, thing.clone(), dated?.told);
        }
        Ok(())
    }

    /// What is known of a thing, or found out now.
    async fn told(&self, shared: &Shared, asking: Asking<'_>, thing: &Thing) -> Result<Dated, Moved> {
        let of = (asking.lacks.asker.clone(), thing.clone());
        for _ in 0..WAITS_MAX {
            if let Some(known) = self.known(shared, asking.lacks, thing) {
                self.metrics.looked_up(LookedUpAs::Cached);
                return Ok(known);
            }
            let other = self.asked.borrow().get(&of).map(Rc::clone);
            // What was asked before a change ended may be answered by what was there before it.
            let Some(other) = other.filter(|other| other.begun.is_unchanged(&shared.changes)) else {
                let Some(asked) = self.begin(shared, of) else {
                    return Ok(self.failed(LookedUpAs::Limited, Reason::Overloaded, None));
                };
                let dated = self.find_out(shared, asking, thing).await?;
                *asked.question.answer.borrow_mut() = Some(dated.clone());
                return Ok(dated);
            };
            // Whoever asked it is on this thread: nothing comes between this look and the wait.
            other.answered.notified().await;
            if let Some(dated) = other.answer.borrow().clone() {
                return Ok(dated);
            }
        }
        Ok(self.failed(LookedUpAs::Failed, Reason::ContainerUnresolved, None))
    }

    /// Puts a question on the list. `None`: so many are under way that no more are asked.
    fn begin(&self, shared: &Shared, of: (Asker, Thing)) -> Option<Asked<'_>> {
        let mut under_way = self.under_way.borrow_mut();
        let of_app = under_way.get(&of.0.app).copied().unwrap_or_default();
        if of_app >= ASKED_OF_APP_MAX || under_way.values().sum::<usize>() >= ASKED_MAX {
            return None;
        }
        under_way.insert(Arc::clone(&of.0.app), of_app + 1);
        let begun = Since::now(&shared.changes, &of.0.tenant, self.catalog.asked_on(of.1.lookup));
        let question = Rc::new(Question { begun, answered: Notify::new(), answer: RefCell::default() });
        self.asked.borrow_mut().insert(of.clone(), Rc::clone(&question));
        Some(Asked { lookups: self, of, question })
    }

    fn known(&self, shared: &Shared, lacks: &Lacks, thing: &Thing) -> Option<Dated> {
        self.cache.borrow().get(&lacks.asker, thing, ages(shared.settings.max_fact_age, lacks.urgent), &shared.changes)
    }

    /// Asks, and asks on where a thing lies in another thing. What is found on the way is kept for each.
    async fn find_out(&self, shared: &Shared, asking: Asking<'_>, thing: &Thing) -> Result<Dated, Moved> {
        let mut way: Vec<(Thing, Dated)> = Vec::new();
        let mut thing = thing.clone();
        let mut last = loop {
            if let Some(known) = self.known(shared, asking.lacks, &thing).filter(|_| !way.is_empty()) {
                break known;
            }
            if way.len() >= CHAIN_MAX {
                break self.failed(LookedUpAs::Failed, Reason::ContainerUnresolved, None);
            }
            match self.ask(shared, asking, &thing).await? {
                (dated, None) => {
                    way.push((thing, dated.clone()));
                    break dated;
                }
                (dated, Some(next)) => way.push((std::mem::replace(&mut thing, next), dated)),
            }
        };
        let mut cache = self.cache.borrow_mut();
        let is_told = way.last().is_some_and(|(_, dated)| *dated == last);
        for (index, (thing, dated)) in way.iter().rev().enumerate() {
            if index > 0 || !is_told {
                last = dated.clone().goes_on(last);
            }
            cache.keep(&asking.lacks.asker, thing, &last);
        }
        Ok(last)
    }

    /// Asks one question. With what is to be asked next, where the thing lies in another one.
    async fn ask(&self, shared: &Shared, asking: Asking<'_>, thing: &Thing) -> Result<(Dated, Option<Thing>), Moved> {
        let unresolved = || Ok((self.failed(LookedUpAs::Failed, Reason::ContainerUnresolved, None), None));
        let Some(lookup) = self.catalog.lookups.get(usize::from(thing.lookup.0)) else { return unresolved() };
        if !lookup.may_be_called(&thing.name) {
            return unresolved();
        }
        let authorization = match self.authorization(shared, asking) {
            Ok(authorization) => authorization,
            Err((counted, reason, retry_after_s)) => return Ok((self.failed(counted, reason, retry_after_s), None)),
        };
        let (changes, tenant) = (&shared.changes, &asking.lacks.asker.tenant);
        let identity = Some(&*thing.name).filter(|name| lookup.is_identity(name));
        let begun = Begun::now(changes, tenant, thing.lookup, identity);
        let target = format!("{}{}", asking.lacks.prefix, lookup.target.of(&asking.lacks.asker.tenant, &thing.name));
        let Ok(uri) = target.parse::<Uri>() else { return unresolved() };
        let exchanged = tokio::time::timeout(shared.settings.timeout, exchange(asking, uri, authorization)).await;
        let (answer, told_of, retry_after_s) = match exchanged {
            Err(_) | Ok(Exchanged::Failed) => return unresolved(),
            Ok(Exchanged::Moved) => return Err(Moved),
            Ok(Exchanged::Said(answer, retry_after_s)) => (answer, None, retry_after_s),
            Ok(Exchanged::Body(body, retry_after_s)) => {
                let told_of = if identity.is_none() { lookup.identity_in(&body) } else { None };
                (lookup.read(&self.catalog, &body), told_of, retry_after_s)
            }
        };
        let dated = begun.answered(changes, tenant, thing.lookup, told_of.as_deref());
        let mut dated = if lookup.lists() { dated.of_a_list() } else { dated };
        match answer {
            Answer::In { homes, variants } => {
                self.metrics.looked_up(LookedUpAs::Found);
                dated.told = Told::In { homes: homes.into(), variants };
                Ok((dated, None))
            }
            // The tenant's own credential must not be refused: that is its owner's mistake, and no fact.
            Answer::Hidden if asking.lacks.by == AskedBy::Tenant => unresolved(),
            Answer::Nowhere | Answer::Hidden => {
                self.metrics.looked_up(LookedUpAs::Absent);
                Ok((dated, None))
            }
            Answer::Then { lookup, thing } => Ok((dated, Some(Thing { lookup, name: thing.into() }))),
            Answer::TooMany => Ok((self.failed(LookedUpAs::Limited, Reason::RateLimited, Some(retry_after_s)), None)),
            // The caller alone can get another one, and does where it is told: that is what the product would have told it.
            Answer::Dead if asking.lacks.by == AskedBy::Caller => {
                Ok((self.failed(LookedUpAs::Failed, Reason::Unidentified, None), None))
            }
            Answer::Dead | Answer::Unreadable => unresolved(),
        }
    }

    /// What the question is asked with, or why it cannot be.
    fn authorization(
        &self,
        shared: &Shared,
        asking: Asking<'_>,
    ) -> Result<HeaderValue, (LookedUpAs, Reason, Option<u32>)> {
        let none = (LookedUpAs::Failed, Reason::ContainerUnresolved, None);
        match &asking.lacks.by {
            AskedBy::Caller => {
                let mut value = asking.head.headers.get(header::AUTHORIZATION).cloned().ok_or(none)?;
                value.set_sensitive(true);
                Ok(value)
            }
            AskedBy::Secret { scheme, secret } => authorization(*scheme, secret).ok_or(none),
            AskedBy::Tenant => {
                let own = shared.settings.credential.as_ref().and_then(|own| own.shown()).ok_or(none)?;
                if !shared.budget.take(&asking.lacks.asker.app, Instant::now()) {
                    return Err((LookedUpAs::Limited, Reason::RateLimited, Some(1)));
                }
                Ok(own)
            }
        }
    }

    fn failed(&self, counted: LookedUpAs, reason: Reason, retry_after_s: Option<u32>) -> Dated {
        self.metrics.looked_up(counted);
        Dated::failed(reason, retry_after_s)
    }
}

/// A change that is under way.
#[derive(Debug)]
pub struct Changing {
    shared: Arc<Shared>,
    counters: Box<[Counter]>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.shared.changes.count(&self.counters);
    }
}

/// How old an answer may be: where the thing was found, and where it was not.
fn ages(max_fact_age: Duration, urgent: bool) -> (Duration, Duration) {
    let oldest = if urgent { max_fact_age.min(URGENT_AGE_MAX) } else { max_fact_age };
    (oldest, oldest.min(ABSENT_AGE_MAX))
}

/// What came of one question.
enum Exchanged {
    /// With the seconds after which to ask again, should it say "too many".
    Body(bytes::Bytes, u32),
    /// What the status alone says.
    Said(Answer, u32),
    Failed,
    Moved,
}

async fn exchange(asking: Asking<'_>, uri: Uri, authorization: HeaderValue) -> Exchanged {
    let asked = question::ask(asking.upstream, asking.generation, uri, Some(authorization), ANSWER_BYTES_MAX).await;
    let question::Reply { status, body, retry_after_s } = match asked {
        Ok(reply) => reply,
        Err(SendError::Moved(_)) => return Exchanged::Moved,
        Err(error) => {
            tracing::debug!(%error, "a look-up failed");
            return Exchanged::Failed;
        }
    };
    let retry_after_s = retry_after_s.map_or(RETRY_AFTER_S, |seconds| seconds.clamp(1, 3_600));
    let said = |answer| Exchanged::Said(answer, retry_after_s);
    match (status, body) {
        (StatusCode::OK, Ok(body)) => Exchanged::Body(body, retry_after_s),
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => said(Answer::Nowhere),
        (StatusCode::FORBIDDEN, _) => said(Answer::Hidden),
        (StatusCode::UNAUTHORIZED, _) => said(Answer::Dead),
        (StatusCode::TOO_MANY_REQUESTS, _) => said(Answer::TooMany),
        _ => Exchanged::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_five_seconds_where_a_revocation_is_limited_and_for_none_longer_than_is_configured() {
        let seconds = |found, absent| (Duration::from_secs(found), Duration::from_secs(absent));
        assert_eq!(ages(Duration::from_secs(30), false), seconds(30, 10));
        assert_eq!(ages(Duration::from_secs(30), true), seconds(5, 5));
        assert_eq!(ages(Duration::from_secs(2), true), seconds(2, 2));
        assert_eq!(ages(Duration::from_secs(2), false), seconds(2, 2));
    }
}
