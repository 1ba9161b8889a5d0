//! From a request to a `Permit` or a `Denial`: identify, match, locate, judge, once for each state that must permit.

mod again;
mod asking;
mod changed;
mod explain;
mod job;
#[cfg(test)]
mod judged;
mod named;
mod redirect;
mod shown;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::catalog::container::{PAIR, before_revisions, locate, needs_body, path_rest};
use super::catalog::jobs::Fetch;
use super::catalog::matcher::{Found, Parameters};
use super::catalog::{
    ActorRule, Catalog, CredentialKindId, Operation, OperationId, PlaceAt, VariantMask, VocabularySet,
};
use super::gate::GateRules;
use super::identity::claims::{Claims, UserTold};
use super::identity::{
    CredentialRewrite, Identified, KeyPlaces, LoneToken, NotIdentified, gate_tenant, identify, identify_by,
    request_tenant, tenant_arguments, tenant_in_body,
};
use super::jobs::AskedJob;
use super::judge::{
    Mode, Question, Refused, RuleKind, RuleRef, held_scopes, passes, passes_enforced, passes_observed, refusal,
    shadowing, would_permit,
};
use super::looked_up::LookedUp;
use super::pins::Pins;
use super::policy::Policy;
use super::policy::app::{App, Installation};
use super::policy::compile::Product;
use super::policy::condition::{Actor, CallerFacts};
use super::policy::credentials::{KnownCredential, Secret};
use super::policy::document::UpstreamScheme;
use super::reason::Reason;
use super::request::{BadRequest, BodyFacts, Facts, RequestView};
use super::scope::ScopeId;
use super::snapshot::{Snapshot, States};
use super::touch::{ContainerName, Reach, Touched};

pub use again::{decide_again, next_change_ms};
pub use asking::{AskedBy, Asker, Lacks, THINGS_MAX};
pub use changed::{Changed, changed};
pub use explain::{Asked, ExplainedVocabulary, Explanation, TouchedWords, Verdict, explain};
pub use job::starting;
#[cfg(test)]
pub(in crate::authz) use job::{kept, with_job};
#[cfg(test)]
pub(in crate::authz) use judged::{Judging, judged};
pub use named::{NamedIds, named_ids};
pub use redirect::{FOLLOWED_MAX, Passage, Redirect, decide_redirect};
pub use shown::{NamedInRequest, ShownContainers, shown_containers};

/// What must be at hand before a request can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    /// The body, held whole. `of`: the number of the app whose credential the head shows.
    Body {
        of: Option<u32>,
    },
}

/// The right to send one request upstream. Only `decide` makes one, and forwarding demands it.
#[derive(Debug)]
pub struct Permit {
    /// The snapshot that judged. Compared right before the first byte goes upstream.
    pub generation: u64,
    /// `None`: an operation that the catalog does not know, passed under `observe`.
    pub operation: Option<OperationId>,
    pub who: Who,
    pub credential: Credential,
    /// Path and query go upstream as received: a signature covers them.
    pub url_signed: bool,
    /// Passed only because it is under `observe`: what it would have been refused for.
    pub would: Option<Box<Denial>>,
    /// What rules in shadow mode would have done.
    pub shadow: Option<Box<Denial>>,
    /// No one else can write this down.
    _decided: Decided,
}

#[derive(Debug)]
struct Decided;

/// What goes upstream in place of what the caller showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    PassThrough,
    /// The gate key leaves from where it stood, and this goes into `Authorization`.
    Replace {
        scheme: UpstreamScheme,
        secret: Secret,
        stood_in: KeyPlaces,
    },
}

/// The caller, as far as it is known.
#[derive(Debug, Clone)]
pub struct Who {
    pub actor: Actor,
    caller: Called,
}

#[derive(Debug, Clone)]
enum Called {
    By(Arc<KnownCredential>),
    /// The same, by evidence that says itself who stands behind it.
    ByClaims {
        credential: Arc<KnownCredential>,
        claims: Arc<Claims>,
    },
    /// A credential that no policy ever named (a gate under `observe`).
    ByAStranger {
        tenant: Arc<str>,
    },
}

impl Who {
    fn known(&self) -> Option<&KnownCredential> {
        match &self.caller {
            Called::By(credential) | Called::ByClaims { credential, .. } => Some(credential),
            Called::ByAStranger { .. } => None,
        }
    }

    /// `None`: a credential that no policy ever named.
    pub fn app(&self) -> Option<&Arc<str>> {
        self.known().map(|known| &known.holder.app)
    }

    /// Whom to ask.
    pub fn contact(&self) -> Option<&Arc<str>> {
        self.known().map(|known| &known.holder.contact)
    }

    pub fn tenant(&self) -> &Arc<str> {
        match &self.caller {
            Called::By(credential) | Called::ByClaims { credential, .. } => &credential.holder.tenant,
            Called::ByAStranger { tenant } => tenant,
        }
    }

    pub fn tenant_name(&self) -> Option<&Arc<str>> {
        self.known()?.holder.tenant_name.as_ref()
    }

    pub fn user(&self) -> Option<&Arc<str>> {
        match &self.caller {
            Called::By(credential) => credential.user.as_ref(),
            Called::ByClaims { claims, .. } => claims.user(),
            Called::ByAStranger { .. } => None,
        }
    }

    /// What the evidence says of the caller, where it is not the policy that says it.
    pub fn claims(&self) -> Option<&Arc<Claims>> {
        match &self.caller {
            Called::ByClaims { claims, .. } => Some(claims),
            Called::By(_) | Called::ByAStranger { .. } => None,
        }
    }

    pub fn kind(&self) -> Option<CredentialKindId> {
        self.known().map(|known| known.kind)
    }
}

/// A refusal, with all that the log and the answer say of it.
#[derive(Debug, Clone)]
pub struct Denial {
    pub reason: Reason,
    /// For the developer, where the reason alone does not say it.
    pub why: Option<&'static str>,
    pub who: Option<Who>,
    pub operation: Option<OperationId>,
    /// Names of the scopes that are missing or taken.
    pub needed: Vec<Arc<str>>,
    /// Names of the scopes that the caller holds.
    pub held: Vec<Arc<str>>,
    /// Kind and text, as the app itself named it.
    pub container: Option<(Arc<str>, String)>,
    /// What people call it, where a `names` document says.
    pub container_name: Option<Arc<str>>,
    pub rule: Option<RuleRef>,
    /// SHA-256 of a lone token that no policy names.
    pub unknown_digest: Option<[u8; 32]>,
    /// What has to be asked before it can be said whether the request stays refused.
    pub lacks: Option<Box<Lacks>>,
    /// The job of which must be recalled what it belongs to, before that can be said.
    pub recalls: Option<Box<AskedJob>>,
    /// The answer must not tell what a look-up found.
    pub hidden: bool,
    /// When to ask again, where the product said so.
    pub retry_after_s: Option<u32>,
    /// Of a request that passes: the files that would each have refused it, were they not in shadow mode.
    pub shadowing: Box<[Arc<Path>]>,
    /// Of one that is refused: with the grants that are in shadow mode it would pass.
    pub shadow_permits: bool,
}

impl Denial {
    pub fn of(reason: Reason) -> Self {
        Self {
            reason,
            why: None,
            who: None,
            operation: None,
            needed: Vec::new(),
            held: Vec::new(),
            container: None,
            container_name: None,
            rule: None,
            unknown_digest: None,
            lacks: None,
            recalls: None,
            hidden: false,
            retry_after_s: None,
            shadowing: Box::default(),
            shadow_permits: false,
        }
    }

    fn bad_request(BadRequest(why): BadRequest) -> Self {
        Self { why: Some(why), ..Self::of(Reason::BadRequest) }
    }
}

/// What must be fetched before the request can be judged. A caller that its head already refuses gets no body held.
pub fn wanted(snapshot: &Snapshot, gate: &GateRules, request: &RequestView<'_>, now_ms: i64) -> Wanted {
    let mut parameters = Parameters::default();
    let (operation, base_tenant) = match gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters)
    {
        Found::Operation(matched) => (gate.catalog.operations.get(usize::from(matched.operation.0)), matched.tenant),
        Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => (None, None),
    };
    if !needs_body(gate, operation, request) {
        return Wanted::Nothing;
    }
    let Some(states) = &snapshot.states else { return Wanted::Nothing };
    // What the head alone shows; evidence that may stand in the body is still to come.
    let facts = Facts { now_ms, behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
    let credentials = product_of(snapshot, gate).and_then(|product| states.newest.product(product.id));
    match credentials.map(|policy| identify(gate, &policy.credentials, request, base_tenant, &facts)) {
        Some(Ok(caller)) => Wanted::Body { of: Some(caller.credential.app) },
        // The evidence may stand in the body, where the product takes it from there.
        Some(Err(refused)) if refused.reason == Reason::Unidentified && gate.catalog.tokens.may_stand_in_body() => {
            Wanted::Body { of: None }
        }
        Some(Err(refused)) if refused.unknown_digest.is_some() && observes(gate, now_ms) => Wanted::Body { of: None },
        Some(Err(_)) | None => Wanted::Nothing,
    }
}

/// Judges a request by one snapshot, whole.
///
/// # Errors
/// The denial: unless every state of the snapshot permits (law 7).
pub fn decide(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Result<Permit, Box<Denial>> {
    decide_with(snapshot, gate, request, facts, Sought { answer_guard: None, is_brief: false })
}

/// As [`decide`], for one who will ask what is lacking: a denial that lacks something says that and no more. To put the
/// rest of it together takes longer than to look up an answer that is known.
///
/// # Errors
/// As [`decide`].
pub fn decide_or_ask(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Result<Permit, Box<Denial>> {
    decide_with(snapshot, gate, request, facts, Sought { answer_guard: None, is_brief: true })
}

/// What a judgement is wanted for.
#[derive(Clone, Copy)]
struct Sought {
    /// A guard that the answer needs.
    answer_guard: Option<ScopeId>,
    /// What is lacking will be asked.
    is_brief: bool,
}

/// As [`decide`], for what is sought.
#[inline]
fn decide_with(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    sought: Sought,
) -> Result<Permit, Box<Denial>> {
    let Some(States { newest, whole }) = &snapshot.states else { return Err(Box::new(Denial::of(Reason::NoPolicy))) };
    let product = product_of(snapshot, gate).ok_or_else(|| Box::new(Denial::of(Reason::NoPolicy)))?;
    // The order is one of time alone: see `LoneToken`.
    let lone = LoneToken::of(gate, request);
    let mut parameters = Parameters::default();
    let found = gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let touched = touched(gate, &found, &parameters, request, facts);
    let case = Case { sought, lone, ..Case::of(snapshot, gate, product, request, facts, &found, &touched) };
    match whole {
        // Returned as it is: a Permit is a few cache lines, and each move of one is felt.
        None => case.decide_by(newest),
        Some(whole) => case.decide_by_both(newest, whole),
    }
}

/// Two states permit; what they permit must be the same.
fn both(newest: Permit, whole: Permit) -> Result<Permit, Box<Denial>> {
    if !is_same_caller(&newest, &whole) || newest.credential != whole.credential {
        return Err(unsettled(newest.who));
    }
    Ok(Permit { would: newest.would.or(whole.would), shadow: newest.shadow.or(whole.shadow), ..newest })
}

fn is_same_caller(one: &Permit, other: &Permit) -> bool {
    is_same(&one.who, &other.who)
}

fn is_same(one: &Who, other: &Who) -> bool {
    one.app() == other.app() && one.tenant() == other.tenant() && one.actor == other.actor && one.user() == other.user()
}

/// One credential has just become another caller's, or another credential upstream.
fn unsettled(who: Who) -> Box<Denial> {
    let why = Some("the policy that gives this credential another meaning has not settled yet");
    Box::new(Denial { why, who: Some(who), ..Denial::of(Reason::StalePolicy) })
}

/// Whether a request in its final form, without the gate key, is still the one that was judged: the same operation on
/// the same containers. The judgement hangs on nothing else in it, so it then stands for both.
pub fn is_same_request(
    gate: &GateRules,
    judged: (&RequestView<'_>, &Facts<'_>),
    last: (&RequestView<'_>, &Facts<'_>),
) -> bool {
    let (judged, last) = (read(gate, judged.0, judged.1), read(gate, last.0, last.1));
    matches!((judged, last), (Some(one), Some(other)) if one == other)
}

/// The operation of a request, and what it touches by what it names. `None`: unknown, or unreadable.
fn read<'r>(
    gate: &GateRules,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Option<(OperationId, Touched<'r>)> {
    let mut parameters = Parameters::default();
    let found = gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let Found::Operation(matched) = found else { return None };
    let operation = gate.catalog.operations.get(usize::from(matched.operation.0))?;
    let touched = locate(gate, operation, &parameters, request, facts).ok()?;
    Some((matched.operation, touched))
}

fn product_of<'s>(snapshot: &'s Snapshot, gate: &GateRules) -> Option<&'s Product> {
    snapshot.catalogs.iter().find(|product| Arc::ptr_eq(&product.catalog, &gate.catalog))
}

fn observes(gate: &GateRules, now_ms: i64) -> bool {
    gate.observe_until_ms.is_some_and(|until| now_ms < until)
}

/// One request before one snapshot: what does not depend on the policy is found once.
struct Case<'c> {
    generation: u64,
    named: &'c HashSet<[u8; 32]>,
    pins: &'c Pins,
    gate: &'c GateRules,
    product: &'c Product,
    request: &'c RequestView<'c>,
    facts: &'c Facts<'c>,
    lone: LoneToken,
    operation: Option<OperationId>,
    /// The tenant that the path names.
    base_tenant: Option<&'c str>,
    /// Not its own: a thing so large is built where it stays.
    touched: &'c Result<Touched<'c>, BadRequest>,
    /// It asks about a job.
    fetch: Option<&'c Fetch>,
    sought: Sought,
}

/// A caller with the installation that it belongs to.
struct Caller<'p> {
    app: &'p App,
    installation: &'p Installation,
    credential: &'p Arc<KnownCredential>,
    claims: Option<&'p Arc<Claims>>,
    actor: Actor,
    vocabularies: VocabularySet,
}

impl<'p> Caller<'p> {
    fn who(&self) -> Who {
        let credential = Arc::clone(self.credential);
        let caller = match self.claims {
            None => Called::By(credential),
            Some(claims) => Called::ByClaims { credential, claims: Arc::clone(claims) },
        };
        Who { actor: self.actor, caller }
    }

    /// The user behind the call: whom the evidence names, where it can, and else whom the policy does.
    #[inline]
    fn user(&self) -> Option<&'p Arc<str>> {
        match self.claims {
            None => self.credential.user.as_ref(),
            Some(claims) => claims.user(),
        }
    }

    /// The groups that the evidence names. `None`: it does not say.
    #[inline]
    fn groups(&self) -> Option<&'p [Box<str>]> {
        self.claims.and_then(|claims| claims.groups.as_deref())
    }
}

/// Whom a caller acts as, where its evidence says so: what that leaves open stays unknown (law 9).
#[inline]
fn actor_by_evidence(credential: &KnownCredential, claims: Option<&Arc<Claims>>) -> Actor {
    match claims.map(|claims| &claims.user) {
        None if credential.user.is_some() => Actor::User,
        None | Some(UserTold::Nobody) => Actor::App,
        Some(UserTold::Id(_)) => Actor::User,
        Some(UserTold::Unknown) => Actor::Unknown,
    }
}

/// What a request that passes would have been refused for: were it not observed, and by rules in shadow mode.
struct Passed {
    would: Option<Box<Denial>>,
    shadow: Option<Box<Denial>>,
}

/// What a request touches, by the operation that was found for it.
#[inline]
fn touched<'r>(
    gate: &GateRules,
    found: &Found<'_>,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    let operation = match found {
        Found::Operation(matched) => gate.catalog.operations.get(usize::from(matched.operation.0)),
        Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => None,
    };
    match operation {
        Some(operation @ Operation { fetches: Some(fetch), .. }) => {
            job::touched(gate, operation, fetch, parameters, request, facts)
        }
        Some(operation) => locate(gate, operation, parameters, request, facts),
        None if request.ends_in_a_pair() => Err(PAIR),
        None if *found == Found::Lookalike => {
            Err(BadRequest("the path is another operation's but for the case of a letter"))
        }
        // Nobody knows what an unknown operation reaches.
        None => Ok(Touched::plain(Reach::Tenant, VariantMask::ALL)),
    }
}

impl<'c> Case<'c> {
    #[inline]
    fn of(
        snapshot: &'c Snapshot,
        gate: &'c GateRules,
        product: &'c Product,
        request: &'c RequestView<'c>,
        facts: &'c Facts<'c>,
        found: &Found<'c>,
        touched: &'c Result<Touched<'c>, BadRequest>,
    ) -> Self {
        let (operation, base_tenant) = match found {
            Found::Operation(matched) => (Some(matched.operation), matched.tenant),
            Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => (None, None),
        };
        let (generation, named, pins) = (snapshot.generation, &*snapshot.named, &*snapshot.pins);
        let (lone, sought) = (LoneToken::default(), Sought { answer_guard: None, is_brief: false });
        let known = operation.and_then(|id| gate.catalog.operations.get(usize::from(id.0)));
        let fetch = known.and_then(|operation| operation.fetches.as_deref());
        Self {
            generation,
            named,
            pins,
            gate,
            product,
            request,
            facts,
            lone,
            operation,
            base_tenant,
            touched,
            fetch,
            sought,
        }
    }

    /// Judges by one state. Of several reasons the first counts: bad_request, who, app_suspended, unknown_operation.
    #[inline(always)]
    fn decide_by(&self, policy: &'c Policy) -> Result<Permit, Box<Denial>> {
        let identified = match policy.product(self.product.id) {
            Some(product) => {
                let (gate, request, base_tenant) = (self.gate, self.request, self.base_tenant);
                identify_by(&self.lone, gate, &product.credentials, request, base_tenant, self.facts)
            }
            None => return Err(Box::new(Denial::of(Reason::NoPolicy))),
        };
        // Without the body a place in it cannot be told from an absent one, and a refused caller gets none held.
        let unread = matches!(self.facts.body, BodyFacts::NotHeld) && identified.is_err();
        let touched = match self.touched {
            Ok(touched) => Some(touched),
            Err(bad) if !unread => return Err(Box::new(Denial::bad_request(*bad))),
            Err(_) => None,
        };
        match identified {
            Ok(identified) => {
                let caller = self.caller(policy, identified.credential, identified.claims)?;
                let touched = touched.ok_or_else(|| Box::new(Denial::of(Reason::BadRequest)))?;
                if let Some(fetch) = self.fetch {
                    return self.decide_job(policy, &identified, &caller, fetch, touched);
                }
                let passed = self.judge(policy, &identified, &caller, touched)?;
                self.permit_identified(&identified, &caller, passed)
            }
            Err(refused) => self.judge_stranger(policy, *refused, touched),
        }
    }

    /// While the folder has not settled. Rare: it must not make the other way longer.
    #[cold]
    #[inline(never)]
    fn decide_by_both(&self, newest: &'c Policy, whole: &'c Policy) -> Result<Permit, Box<Denial>> {
        both(self.decide_by(newest)?, self.decide_by(whole)?)
    }

    /// The installation that a credential belongs to, where gate, request and credential agree on the tenant.
    #[inline(always)]
    fn caller<'p>(
        &self,
        policy: &'p Policy,
        credential: &'p Arc<KnownCredential>,
        claims: Option<&'p Arc<Claims>>,
    ) -> Result<Caller<'p>, Box<Denial>> {
        let app = policy.apps.get(credential.app as usize);
        let installation = app.and_then(|app| app.installations.get(usize::from(credential.installation)));
        let kind = self.gate.catalog.kinds.get(usize::from(credential.kind.0));
        let (Some(app), Some(installation), Some(kind)) = (app, installation, kind) else {
            return Err(Box::new(Denial::of(Reason::UnknownApp)));
        };
        let actor = match kind.actor {
            ActorRule::App => Actor::App,
            ActorRule::User => Actor::User,
            ActorRule::Evidence => actor_by_evidence(credential, claims),
        };
        let caller = Caller { app, installation, credential, claims, actor, vocabularies: kind.vocabularies };
        let tenant = request_tenant(self.gate, self.request, self.base_tenant, &installation.tenant);
        let agreed = tenant.and_then(|tenant| self.check_tenant_arguments(tenant));
        match agreed {
            Ok(()) => Ok(caller),
            Err(reason) => {
                let twofold = "an argument that names the tenant can be read in two ways";
                let why = (reason == Reason::BadRequest).then_some(twofold);
                Err(Box::new(Denial { who: Some(caller.who()), why, ..Denial::of(reason) }))
            }
        }
    }

    /// A second tenant in the arguments would need the app's own installation and grant there.
    #[inline(always)]
    fn check_tenant_arguments(&self, tenant: &str) -> Result<(), Reason> {
        if self.gate.catalog.tenant_arguments.is_empty() {
            return Ok(());
        }
        self.gate.catalog.tenant_arguments.iter().try_for_each(|argument| match &argument.at {
            PlaceAt::Argument(name) | PlaceAt::Query(name) => {
                tenant_arguments(std::slice::from_ref(name), tenant, self.request, self.facts)
            }
            PlaceAt::Body(_) | PlaceAt::Rest => Ok(()),
            PlaceAt::Path(_)
            | PlaceAt::Header(_)
            | PlaceAt::Keys(_)
            | PlaceAt::InItems { .. }
            | PlaceAt::Multipart(_) => Err(Reason::UnknownTenant),
        })?;
        let operation = self.operation.and_then(|id| self.gate.catalog.operations.get(usize::from(id.0)));
        let listed = operation.map_or(&[][..], |operation| &operation.tenant_arguments[..]);
        listed.iter().try_for_each(|argument| match &argument.at {
            PlaceAt::Body(pointer) => tenant_in_body(pointer, tenant, self.facts),
            PlaceAt::Rest => self.check_tenant_of_revisions(tenant),
            PlaceAt::Argument(_) | PlaceAt::Query(_) | PlaceAt::Path(_) | PlaceAt::Header(_) => Ok(()),
            PlaceAt::Keys(_) | PlaceAt::InItems { .. } | PlaceAt::Multipart(_) => Err(Reason::UnknownTenant),
        })
    }

    /// The workspace of a repository that is named before revisions at the end of the path.
    #[cold]
    fn check_tenant_of_revisions(&self, tenant: &str) -> Result<(), Reason> {
        let mut parameters = Parameters::default();
        let _ = self.gate.catalog.matcher.find_with(self.request.method, &self.request.path, &mut parameters);
        let text = path_rest(&parameters).map_err(|_| Reason::BadRequest)?;
        match before_revisions(&text).map_err(|_| Reason::BadRequest)? {
            Some(repository) if repository.split('/').next() != Some(tenant) => Err(Reason::UnknownTenant),
            Some(_) | None => Ok(()),
        }
    }

    /// What it is to pass, or why it does not. The question is put together anew where it is asked again: so that here, where
    /// mostly one answer is wanted, the compiler need not keep it.
    #[inline(always)]
    fn judge(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
    ) -> Result<Passed, Box<Denial>> {
        match self.passes_outright(policy, caller, touched) {
            true => Ok(self.passed(policy, caller, touched, None)),
            false => self.judge_refused(policy, identified, caller, touched),
        }
    }

    /// Whether an enforced grant lets it pass, as nearly every request does.
    #[inline(always)]
    fn passes_outright(&self, policy: &Policy, caller: &Caller<'_>, touched: &Touched<'_>) -> bool {
        caller.installation.suspended.is_none() && passes_enforced(&self.question(policy, caller, touched))
    }

    /// What it is to pass, or to be refused, by what it touches alone. Off the permit path.
    #[cold]
    #[inline(never)]
    fn judge_caller(&self, policy: &Policy, caller: &Caller<'_>, touched: &Touched<'_>) -> Result<Passed, Box<Denial>> {
        if caller.installation.suspended.is_some() {
            return Err(Self::suspended(caller));
        }
        let observed = caller.installation.observed(self.facts.now_ms);
        let would = self.refused(&self.question(policy, caller, touched), caller.who(), observed)?;
        Ok(self.passed(policy, caller, touched, would))
    }

    /// What is told of a request that passes.
    #[inline(always)]
    fn passed(
        &self,
        policy: &Policy,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
        would: Option<Box<Denial>>,
    ) -> Passed {
        match self.is_shadowed(policy, caller.app) {
            true => self.shadow(&self.question(policy, caller, touched), caller.who(), would),
            false => Passed { would, shadow: None },
        }
    }

    #[cold]
    fn suspended(caller: &Caller<'_>) -> Box<Denial> {
        let by = caller.installation.suspended.as_ref();
        let rule = by.map(|(file, line)| RuleRef { kind: RuleKind::Suspension, file: Arc::clone(file), line: *line });
        Box::new(Denial { who: Some(caller.who()), rule, ..Denial::of(Reason::AppSuspended) })
    }

    #[inline(always)]
    fn question<'q>(&'q self, policy: &'q Policy, caller: &'q Caller<'_>, touched: &'q Touched<'_>) -> Question<'q> {
        Question {
            catalog: &self.gate.catalog,
            policy,
            product: self.product.id,
            app: Some((caller.credential.app, caller.app)),
            caller: CallerFacts {
                tenant: &caller.installation.tenant,
                installation: Some(caller.installation),
                actor: caller.actor,
                user: caller.user().map(|user| &**user),
                groups: caller.groups(),
                pipeline: caller.credential.pipeline.as_deref(),
                now_ms: self.facts.now_ms,
                gives_ms: self.facts.gives_ms(),
            },
            vocabularies: caller.vocabularies,
            operation: self.operation.unwrap_or(UNKNOWN),
            touched,
            pins: self.pins,
            answer_guard: self.sought.answer_guard,
            names_as_written: self.gate.names_as_written,
        }
    }

    /// Permits, unless the credential that the product must see cannot be read.
    #[inline(always)]
    fn permit_identified(
        &self,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        passed: Passed,
    ) -> Result<Permit, Box<Denial>> {
        let credential = match identified.rewrite {
            CredentialRewrite::PassThrough => Credential::PassThrough,
            CredentialRewrite::Replace { scheme, secret: Some(secret), stood_in } => {
                Credential::Replace { scheme, secret: secret.clone(), stood_in }
            }
            CredentialRewrite::Replace { secret: None, .. } => {
                let why = Some("the gate cannot read the credential that it would show the product");
                let who = Some(caller.who());
                return Err(Box::new(Denial { who, why, ..Denial::of(Reason::UpstreamUnreachable) }));
            }
        };
        Ok(self.permit(caller.who(), credential, identified.url_signed, passed))
    }

    /// Nobody is identified. A gate under `observe` passes one piece of evidence that no policy ever named.
    #[cold]
    #[inline(never)]
    fn judge_stranger(
        &self,
        policy: &'c Policy,
        refused: NotIdentified,
        touched: Option<&Touched<'_>>,
    ) -> Result<Permit, Box<Denial>> {
        let denial = Denial {
            why: Some(refused.why),
            unknown_digest: refused.unknown_digest,
            operation: self.operation,
            ..Denial::of(refused.reason)
        };
        let never_named = refused.unknown_digest.is_some_and(|digest| !self.named.contains(&digest));
        let tenant = gate_tenant(self.gate, self.request, self.base_tenant);
        let (true, true, Some(touched), Some(tenant)) =
            (never_named, observes(self.gate, self.facts.now_ms), touched, tenant)
        else {
            return Err(Box::new(denial));
        };
        if let Err(reason) = self.check_tenant_arguments(tenant) {
            return Err(Box::new(Denial::of(reason)));
        }
        let who = Who { actor: Actor::Unknown, caller: Called::ByAStranger { tenant: Arc::clone(tenant) } };
        let question = Question {
            catalog: &self.gate.catalog,
            policy,
            product: self.product.id,
            app: None,
            caller: CallerFacts {
                tenant,
                installation: None,
                actor: Actor::Unknown,
                user: None,
                groups: None,
                pipeline: None,
                now_ms: self.facts.now_ms,
                gives_ms: self.facts.gives_ms(),
            },
            vocabularies: VocabularySet::ALL,
            operation: self.operation.unwrap_or(UNKNOWN),
            touched,
            pins: self.pins,
            answer_guard: self.sought.answer_guard,
            names_as_written: self.gate.names_as_written,
        };
        if !passes(&question, Mode::Enforced) {
            self.refused(&question, who.clone(), true)?;
        }
        let shadowing = shadowing(&question, true);
        let passed = Passed { would: Some(Box::new(Denial { shadowing, ..denial })), shadow: None };
        Ok(self.permit(who, Credential::PassThrough, false, passed))
    }

    /// What a request is refused for, as an error unless it passes all the same, because it is observed.
    #[cold]
    #[inline(never)]
    fn refused(&self, question: &Question<'_>, who: Who, observed: bool) -> Result<Option<Box<Denial>>, Box<Denial>> {
        let Some(refused) = refusal(question, Mode::Enforced) else { return Ok(None) };
        let lifted = passes_observed(question);
        let mut denial = Box::new(self.denial(question, who, &refused));
        if observed && lifted {
            return Ok(Some(denial));
        }
        denial.shadow_permits = would_permit(question);
        Err(denial)
    }

    /// Whether any rule in shadow mode may bear on the app.
    #[inline(always)]
    fn is_shadowed(&self, policy: &Policy, app: &App) -> bool {
        let guardrails = policy.product(self.product.id).map_or(&[][..], |product| &product.guardrails[..]);
        app.parts.iter().any(|linked| linked.part.has_shadow)
            || guardrails.iter().any(|guardrail| guardrail.linked.part.has_shadow)
    }

    /// What rules in shadow mode would have done to a request that passes.
    #[cold]
    #[inline(never)]
    fn shadow(&self, question: &Question<'_>, who: Who, would: Option<Box<Denial>>) -> Passed {
        if let Some(would) = would {
            let shadowing = shadowing(question, true);
            return Passed { would: Some(Box::new(Denial { shadowing, ..*would })), shadow: None };
        }
        let shadow = refusal(question, Mode::WithShadowRevocations).map(|refused| {
            let shadowing = shadowing(question, false);
            Box::new(Denial { shadowing, ..self.denial(question, who, &refused) })
        });
        Passed { would: None, shadow }
    }

    fn denial(&self, question: &Question<'_>, who: Who, refused: &Refused) -> Denial {
        let catalog = &self.gate.catalog;
        let name = |scope| catalog.scope_name_kept(scope);
        let stated = !matches!(refused.reason, Reason::UnknownOperation);
        let held = if stated { held_scopes(question).iter().map(name).collect() } else { Vec::new() };
        let container = container_named(catalog, question.touched, refused.container);
        let name_of = |id: &str| question.policy.name_of(&catalog.product, question.caller.tenant, id).cloned();
        Denial {
            reason: refused.reason,
            container_name: container.as_ref().and_then(|(_, id)| name_of(id)),
            why: question.touched.extras.is_unknown().then_some(UNKNOWN_ARGUMENT),
            who: Some(who),
            operation: self.operation,
            needed: refused.needed.iter().copied().map(name).collect(),
            held,
            container,
            rule: refused.rule.clone(),
            unknown_digest: None,
            lacks: None,
            recalls: None,
            hidden: false,
            retry_after_s: None,
            shadowing: Box::default(),
            shadow_permits: false,
        }
    }

    #[inline(always)]
    fn permit(&self, who: Who, credential: Credential, url_signed: bool, passed: Passed) -> Permit {
        let (generation, operation, Passed { would, shadow }) = (self.generation, self.operation, passed);
        Permit { generation, operation, who, credential, url_signed, would, shadow, _decided: Decided }
    }
}

/// No catalog has as many operations: it is found in none.
const UNKNOWN: OperationId = OperationId(u16::MAX);

/// Said where the operation is known, and what it is asked for is not.
const UNKNOWN_ARGUMENT: &str = "an argument names something that the API description enforced here does not know";

/// A container of the request in the words of the request.
fn container_named(catalog: &Catalog, touched: &Touched<'_>, index: Option<usize>) -> Option<(Arc<str>, String)> {
    let Reach::Containers(containers) = &touched.reach else { return None };
    let container = containers.as_slice().get(index?)?;
    let kind = catalog.containers.get(usize::from(container.kind.0))?;
    let text = match &container.name {
        ContainerName::Id(text)
        | ContainerName::Name(text)
        | ContainerName::Word(text)
        | ContainerName::Hint(text)
        | ContainerName::Prefix(text) => text.to_string(),
        // It goes into the log alone.
        ContainerName::Found(found) => found.home.key.as_deref().or(found.home.id.as_deref())?.to_owned(),
        ContainerName::Around { .. } | ContainerName::Unknown => return None,
    };
    Some((Arc::from(&*kind.name), text))
}
