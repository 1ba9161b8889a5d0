//! From a request to a `Permit` or a `Denial`: identify, match, locate, judge, once for each state that must permit.

mod explain;

use std::collections::HashSet;
use std::sync::Arc;

use super::catalog::container::{locate, needs_body};
use super::catalog::matcher::Found;
use super::catalog::{ActorRule, Catalog, CredentialKindId, Needs, OperationId, PlaceAt, VariantMask, VocabularySet};
use super::gate::GateRules;
use super::identity::{
    CredentialRewrite, Identified, KeyPlaces, NotIdentified, gate_tenant, identify, request_tenant, tenant_arguments,
};
use super::judge::{Mode, Question, Refused, RuleKind, RuleRef, any_revocation_reaches, held_scopes, passes, refusal};
use super::policy::Policy;
use super::policy::app::{App, Installation};
use super::policy::compile::Product;
use super::policy::condition::{Actor, CallerFacts};
use super::policy::credentials::{KnownCredential, Secret};
use super::policy::document::UpstreamScheme;
use super::reason::Reason;
use super::request::{BadRequest, BodyFacts, Facts, RequestView};
use super::snapshot::{Snapshot, States};
use super::touch::{ContainerName, Reach, Touched};

pub use explain::{Asked, ExplainedVocabulary, Explanation, TouchedWords, Verdict, explain};

/// What must be at hand before a request can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    Body,
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
    /// `None`: a credential that no policy ever named (a gate under `observe`).
    pub app: Option<Arc<App>>,
    pub tenant: Arc<str>,
    pub tenant_name: Option<Arc<str>>,
    pub actor: Actor,
    pub user: Option<Arc<str>>,
    pub kind: Option<CredentialKindId>,
    installation: Option<u16>,
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
        }
    }

    fn bad_request(BadRequest(why): BadRequest) -> Self {
        Self { why: Some(why), ..Self::of(Reason::BadRequest) }
    }
}

/// What must be fetched before the request can be judged. A caller that its head already refuses gets no body held.
pub fn wanted(snapshot: &Snapshot, gate: &GateRules, request: &RequestView<'_>, now_ms: i64) -> Wanted {
    let operation = match gate.catalog.matcher.find(request.method, &request.path) {
        Found::Operation(matched) => gate.catalog.operations.get(usize::from(matched.operation.0)),
        Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => None,
    };
    if !needs_body(gate, operation) {
        return Wanted::Nothing;
    }
    let Some(states) = &snapshot.states else { return Wanted::Nothing };
    // What the head alone shows; evidence that may stand in the body is still to come.
    let facts = Facts { now_ms, body: BodyFacts::Empty };
    let credentials = product_of(snapshot, gate).and_then(|product| states.newest.product(product.id));
    match credentials.map(|policy| identify(gate, &policy.credentials, request, &facts)) {
        Some(Ok(_)) => Wanted::Body,
        // The evidence may stand in the body, where the product takes it from there.
        Some(Err(refused)) if refused.reason == Reason::Unidentified && !gate.catalog.tokens.body.is_empty() => {
            Wanted::Body
        }
        Some(Err(refused)) if refused.unknown_digest.is_some() && observes(gate, now_ms) => Wanted::Body,
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
    let Some(States { newest, whole }) = &snapshot.states else { return Err(Box::new(Denial::of(Reason::NoPolicy))) };
    let product = product_of(snapshot, gate).ok_or_else(|| Box::new(Denial::of(Reason::NoPolicy)))?;
    let case = Case::new(snapshot, gate, product, request, facts);
    match whole {
        // Returned as it is: a Permit is a few cache lines, and each move of one is felt.
        None => case.decide_by(newest),
        Some(whole) => both(case.decide_by(newest)?, case.decide_by(whole)?),
    }
}

/// Two states permit; what they permit must be the same.
fn both(newest: Permit, whole: Permit) -> Result<Permit, Box<Denial>> {
    let name = |permit: &Permit| permit.who.app.as_ref().map(|app| Arc::clone(&app.name));
    let same_caller = name(&newest) == name(&whole)
        && newest.who.tenant == whole.who.tenant
        && newest.who.actor == whole.who.actor
        && newest.who.user == whole.who.user;
    if !same_caller || newest.credential != whole.credential {
        let why = Some("the policy that gives this credential another meaning has not settled yet");
        return Err(Box::new(Denial { why, who: Some(newest.who), ..Denial::of(Reason::StalePolicy) }));
    }
    Ok(Permit { would: newest.would.or(whole.would), shadow: newest.shadow.or(whole.shadow), ..newest })
}

/// Whether a request in its final form, without the gate key, is still the one that was judged: the same operation on
/// the same containers. The judgement hangs on nothing else in it, so it then stands for both.
pub fn is_same_request(
    gate: &GateRules,
    judged: (&RequestView<'_>, &Facts<'_>),
    last: (&RequestView<'_>, &Facts<'_>),
) -> bool {
    let read = |(request, facts)| -> Option<(OperationId, Touched<'_>)> {
        let (request, facts): (&RequestView<'_>, &Facts<'_>) = (request, facts);
        let Found::Operation(matched) = gate.catalog.matcher.find(request.method, &request.path) else { return None };
        let operation = gate.catalog.operations.get(usize::from(matched.operation.0))?;
        let parameters = matched.parameters;
        let touched = locate(gate, operation, parameters.as_slice(), request, facts).ok()?;
        Some((matched.operation, touched))
    };
    matches!((read(judged), read(last)), (Some(one), Some(other)) if one == other)
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
    gate: &'c GateRules,
    product: &'c Product,
    request: &'c RequestView<'c>,
    facts: &'c Facts<'c>,
    operation: Option<OperationId>,
    /// The tenant that the path names.
    base_tenant: Option<&'c str>,
    touched: Result<Touched<'c>, BadRequest>,
}

/// A caller with the installation that it belongs to.
struct Caller<'p> {
    index: u32,
    app: &'p Arc<App>,
    installation: &'p Installation,
    who: Who,
    vocabularies: VocabularySet,
    pipeline: Option<&'p str>,
}

/// What a request that passes would have been refused for: were it not observed, and by rules in shadow mode.
struct Passed {
    would: Option<Box<Denial>>,
    shadow: Option<Box<Denial>>,
}

impl<'c> Case<'c> {
    fn new(
        snapshot: &'c Snapshot,
        gate: &'c GateRules,
        product: &'c Product,
        request: &'c RequestView<'c>,
        facts: &'c Facts<'c>,
    ) -> Self {
        let found = gate.catalog.matcher.find(request.method, &request.path);
        let matched = match &found {
            Found::Operation(matched) => Some(matched),
            Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => None,
        };
        let operation =
            matched.and_then(|matched| Some((matched, gate.catalog.operations.get(usize::from(matched.operation.0))?)));
        let touched = match operation {
            Some((matched, operation)) => locate(gate, operation, matched.parameters.as_slice(), request, facts),
            None if found == Found::Lookalike => {
                Err(BadRequest("the path is another operation's but for the case of a letter"))
            }
            // Nobody knows what an unknown operation reaches.
            None => Ok(Touched { reach: Reach::Tenant, variants: VariantMask::ALL }),
        };
        let (generation, named) = (snapshot.generation, &*snapshot.named);
        let (operation, base_tenant) = (matched.map(|one| one.operation), matched.and_then(|one| one.tenant));
        Self { generation, named, gate, product, request, facts, operation, base_tenant, touched }
    }

    /// Judges by one state. Of several reasons the first counts: bad_request, who, app_suspended, unknown_operation.
    fn decide_by(&self, policy: &'c Policy) -> Result<Permit, Box<Denial>> {
        let identified = match policy.product(self.product.id) {
            Some(product) => identify(self.gate, &product.credentials, self.request, self.facts),
            None => return Err(Box::new(Denial::of(Reason::NoPolicy))),
        };
        // Without the body a place in it cannot be told from an absent one, and a refused caller gets none held.
        let unread = matches!(self.facts.body, BodyFacts::NotHeld) && identified.is_err();
        let touched = match &self.touched {
            Ok(touched) => Some(touched),
            Err(bad) if !unread => return Err(Box::new(Denial::bad_request(*bad))),
            Err(_) => None,
        };
        match identified {
            Ok(identified) => {
                let caller = self.caller(policy, identified.credential)?;
                let touched = touched.ok_or_else(|| Box::new(Denial::of(Reason::BadRequest)))?;
                let Passed { would, shadow } = self.judge_caller(policy, &caller, touched)?;
                self.permit_identified(identified, caller.who, would, shadow)
            }
            Err(refused) => self.judge_stranger(policy, *refused, touched),
        }
    }

    /// The installation that a credential belongs to, where gate, request and credential agree on the tenant.
    fn caller<'p>(&self, policy: &'p Policy, credential: &'p KnownCredential) -> Result<Caller<'p>, Box<Denial>> {
        let app = policy.apps.get(credential.app as usize);
        let installation = app.and_then(|app| app.installations.get(usize::from(credential.installation)));
        let kind = self.gate.catalog.kinds.get(usize::from(credential.kind.0));
        let (Some(app), Some(installation), Some(kind)) = (app, installation, kind) else {
            return Err(Box::new(Denial::of(Reason::UnknownApp)));
        };
        let who = Who {
            app: Some(Arc::clone(app)),
            tenant: Arc::clone(&installation.tenant),
            tenant_name: installation.tenant_name.clone(),
            actor: match kind.actor {
                ActorRule::App => Actor::App,
                ActorRule::User => Actor::User,
                ActorRule::Evidence if credential.user.is_some() => Actor::User,
                ActorRule::Evidence => Actor::App,
            },
            user: credential.user.clone(),
            kind: Some(credential.kind),
            installation: Some(credential.installation),
        };
        let tenant = request_tenant(self.gate, self.request, self.base_tenant, &installation.tenant);
        let agreed = tenant.and_then(|tenant| self.check_tenant_arguments(tenant));
        if let Err(reason) = agreed {
            let why =
                (reason == Reason::BadRequest).then_some("an argument that names the tenant can be read in two ways");
            return Err(Box::new(Denial { who: Some(who), why, ..Denial::of(reason) }));
        }
        let (index, pipeline) = (credential.app, credential.pipeline.as_deref());
        Ok(Caller { index, app, installation, who, vocabularies: kind.vocabularies, pipeline })
    }

    /// A second tenant in the arguments would need the app's own installation and grant there.
    fn check_tenant_arguments(&self, tenant: &str) -> Result<(), Reason> {
        self.gate.catalog.tenant_arguments.iter().try_for_each(|argument| match &argument.at {
            PlaceAt::Argument(name) | PlaceAt::Query(name) => {
                tenant_arguments(std::slice::from_ref(name), tenant, self.request, self.facts)
            }
            PlaceAt::Path(_) | PlaceAt::Header(_) | PlaceAt::Body(_) => Err(Reason::UnknownTenant),
        })
    }

    fn judge_caller(&self, policy: &Policy, caller: &Caller<'_>, touched: &Touched<'_>) -> Result<Passed, Box<Denial>> {
        let (installation, who) = (caller.installation, &caller.who);
        if let Some((file, line)) = &installation.suspended {
            let rule = Some(RuleRef { kind: RuleKind::Suspension, file: Arc::clone(file), line: *line });
            return Err(Box::new(Denial { who: Some(who.clone()), rule, ..Denial::of(Reason::AppSuspended) }));
        }
        let question = self.question(policy, caller, touched);
        let would = self.verdict(&question, who, installation.observed(self.facts.now_ms))?;
        let shadow = self.shadow(&question, who, would.is_some());
        Ok(Passed { would, shadow })
    }

    fn question<'q>(&'q self, policy: &'q Policy, caller: &'q Caller<'_>, touched: &'q Touched<'_>) -> Question<'q> {
        Question {
            catalog: &self.gate.catalog,
            policy,
            product: self.product.id,
            app: Some((caller.index, caller.app)),
            caller: CallerFacts {
                tenant: &caller.installation.tenant,
                installation: Some(caller.installation),
                actor: caller.who.actor,
                user: caller.who.user.as_deref(),
                pipeline: caller.pipeline,
                now_ms: self.facts.now_ms,
            },
            vocabularies: caller.vocabularies,
            operation: self.operation.unwrap_or(UNKNOWN),
            touched,
            names_as_written: self.gate.names_as_written,
        }
    }

    /// Permits, unless the credential that the product must see cannot be read.
    fn permit_identified(
        &self,
        identified: Identified<'_>,
        who: Who,
        would: Option<Box<Denial>>,
        shadow: Option<Box<Denial>>,
    ) -> Result<Permit, Box<Denial>> {
        let credential = match identified.rewrite {
            CredentialRewrite::PassThrough => Some(Credential::PassThrough),
            CredentialRewrite::Replace { scheme, secret, stood_in } => {
                secret.map(|secret| Credential::Replace { scheme, secret: secret.clone(), stood_in })
            }
        };
        let Some(credential) = credential else {
            let why = Some("the gate cannot read the credential that it would show the product");
            return Err(Box::new(Denial { who: Some(who), why, ..Denial::of(Reason::UpstreamUnreachable) }));
        };
        Ok(self.permit(who, credential, identified.url_signed, would, shadow))
    }

    /// Nobody is identified. A gate under `observe` passes one piece of evidence that no policy ever named.
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
        let who = Who {
            app: None,
            tenant: Arc::clone(tenant),
            tenant_name: None,
            actor: Actor::Unknown,
            user: None,
            kind: None,
            installation: None,
        };
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
                pipeline: None,
                now_ms: self.facts.now_ms,
            },
            vocabularies: VocabularySet::ALL,
            operation: self.operation.unwrap_or(UNKNOWN),
            touched,
            names_as_written: self.gate.names_as_written,
        };
        self.verdict(&question, &who, true)?;
        Ok(self.permit(who, Credential::PassThrough, false, Some(Box::new(denial)), None))
    }

    /// Permits, perhaps with what it would be refused for were it not observed.
    fn verdict(&self, question: &Question<'_>, who: &Who, observed: bool) -> Result<Option<Box<Denial>>, Box<Denial>> {
        if passes(question, Mode::Enforced) {
            return Ok(None);
        }
        let Some(refused) = refusal(question, Mode::Enforced) else { return Ok(None) };
        let stated = question.operation().is_some_and(|operation| !matches!(operation.needs, Needs::Unknown));
        // What no catalog states reaches the whole tenant with every scope: any revocation takes some of it.
        let lifted = match stated {
            true => refused.for_want_of_grant && passes(question, Mode::WithEverythingGranted),
            false => !any_revocation_reaches(question),
        };
        let denial = Box::new(self.denial(question, who, &refused));
        if observed && lifted { Ok(Some(denial)) } else { Err(denial) }
    }

    /// What rules in shadow mode would have done to a request that passes.
    fn shadow(&self, question: &Question<'_>, who: &Who, observing: bool) -> Option<Box<Denial>> {
        let (_, app) = question.app?;
        let guardrails = question.policy.product(question.product).map_or(&[][..], |product| &product.guardrails[..]);
        let guardrails = guardrails.iter().map(|guardrail| &guardrail.linked);
        let any = app.parts.iter().chain(guardrails).any(|linked| linked.part.has_shadow);
        if !any || observing {
            return None;
        }
        let refused = refusal(question, Mode::WithShadowRevocations)?;
        Some(Box::new(self.denial(question, who, &refused)))
    }

    fn denial(&self, question: &Question<'_>, who: &Who, refused: &Refused) -> Denial {
        let catalog = &self.gate.catalog;
        let name = |scope| Arc::from(catalog.scope_name(scope));
        let stated = !matches!(refused.reason, Reason::UnknownOperation);
        let held = if stated { held_scopes(question).iter().map(name).collect() } else { Vec::new() };
        let container = container_named(catalog, question.touched, refused.container);
        let name_of = |id: &str| question.policy.name_of(&catalog.product, question.caller.tenant, id).cloned();
        Denial {
            reason: refused.reason,
            container_name: container.as_ref().and_then(|(_, id)| name_of(id)),
            why: None,
            who: Some(who.clone()),
            operation: self.operation,
            needed: refused.needed.iter().map(|scope| Arc::from(catalog.scope_name(*scope))).collect(),
            held,
            container,
            rule: refused.rule.clone(),
            unknown_digest: None,
        }
    }

    fn permit(
        &self,
        who: Who,
        credential: Credential,
        url_signed: bool,
        would: Option<Box<Denial>>,
        shadow: Option<Box<Denial>>,
    ) -> Permit {
        let (generation, operation) = (self.generation, self.operation);
        Permit { generation, operation, who, credential, url_signed, would, shadow, _decided: Decided }
    }
}

/// No catalog has as many operations: it is found in none.
const UNKNOWN: OperationId = OperationId(u16::MAX);

/// A container of the request in the words of the request.
fn container_named(catalog: &Catalog, touched: &Touched<'_>, index: Option<usize>) -> Option<(Arc<str>, String)> {
    let Reach::Containers(containers) = &touched.reach else { return None };
    let container = containers.as_slice().get(index?)?;
    let kind = catalog.containers.get(usize::from(container.kind.0))?;
    let text = match &container.name {
        ContainerName::Id(text) | ContainerName::Name(text) | ContainerName::Hint(text) => text.to_string(),
        ContainerName::Unknown => return None,
    };
    Some((Arc::from(&*kind.name), text))
}

impl Who {
    /// The installation that called.
    pub fn installation(&self) -> Option<&Installation> {
        self.app.as_ref()?.installations.get(usize::from(self.installation?))
    }
}
