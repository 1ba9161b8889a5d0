//! Why a request is permitted or denied, in full, for a caller that is named instead of identified.
//!
//! It judges by the code that `decide` judges by, and it makes no `Permit`: nothing can be sent on its word.

use std::borrow::Cow;
use std::sync::Arc;

use super::asking::list;
use super::job::with_job;
use super::{Case, Denial, Passed, Who, product_of, touched};
use crate::authz::catalog::container::locate;
use crate::authz::catalog::extras::ExtraMask;
use crate::authz::catalog::limits::Limited;
use crate::authz::catalog::matcher::{Found, Parameters};
use crate::authz::catalog::{Catalog, CredentialKindId, KindId, Line, Needs, Operation, OperationId, VocabularyLines};
use crate::authz::gate::GateRules;
use crate::authz::judge::{Question, Standing, held_scopes, standing};
use crate::authz::policy::Policy;
use crate::authz::policy::area::{Form, NamedContainer};
use crate::authz::policy::credentials::{Holder, KnownCredential, Proof};
use crate::authz::reason::Reason;
use crate::authz::request::{BadRequest, Facts, RequestView};
use crate::authz::scope::ScopeId;
use crate::authz::snapshot::Snapshot;
use crate::authz::touch::{ContainerList, ContainerName, ContainerRef, Reach, Touched};

/// Whom the question is about, and what look-ups would have said.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub app: &'a str,
    pub tenant: &'a str,
    pub kind: CredentialKindId,
    pub user: Option<&'a str>,
    /// Stands for each container of its kind that the request itself does not tell; and where it asks about a job, what that
    /// belongs to.
    pub containers: &'a [(KindId, NamedContainer)],
}

/// The outcome, in the end and without a `Permit`.
#[derive(Debug)]
pub enum Verdict {
    Permitted {
        /// It passes only under `observe`.
        would: Option<Box<Denial>>,
        /// What rules in shadow mode would have done.
        shadow: Option<Box<Denial>>,
    },
    Denied(Box<Denial>),
}

/// An outcome with everything it follows from.
#[derive(Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    pub operation: Option<OperationId>,
    pub who: Option<Who>,
    /// `None` where the request cannot be read.
    pub touches: Option<TouchedWords>,
    /// Empty where the operation is unknown, or nobody is asked about.
    pub needs: Vec<ExplainedVocabulary>,
    /// Part of every line.
    pub guards: Vec<(ScopeId, Standing)>,
    /// The places by which the request needs more than a line: by their number in the operation, with what each asks for.
    /// The lines have it in them.
    pub asked: Vec<(usize, ExtraMask)>,
    /// What the request tells of arguments that a grant may limit.
    pub limited: Box<[Limited]>,
    pub held: Vec<Arc<str>>,
}

/// What the request touches, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TouchedWords {
    Nothing,
    Tenant,
    /// By kind; no text where only a look-up could tell.
    Containers(Vec<(Arc<str>, Option<String>)>),
}

/// The lines of one vocabulary that count for this request.
#[derive(Debug)]
pub struct ExplainedVocabulary {
    /// `gate:call` alone belongs to none.
    pub name: Option<Box<str>>,
    /// The asked credential can use it.
    pub usable: bool,
    pub lines: Vec<Vec<(ScopeId, Standing)>>,
}

/// Judges a request of the caller that is asked about, by every state of the snapshot.
pub fn explain(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    asked: &Asked<'_>,
) -> Explanation {
    let (Some(states), Some(product)) = (&snapshot.states, product_of(snapshot, gate)) else {
        return Explanation::denied(Denial::of(Reason::NoPolicy));
    };
    let mut parameters = Parameters::default();
    let found = gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let mut touched = touched(gate, &found, &parameters, request, facts);
    if let Ok(touched) = &mut touched {
        supply(touched, asked.containers);
    }
    // Nothing is remembered here: what the job belongs to has to be said.
    let said = |operation| with_said(operation, &parameters, (gate, request, facts), asked);
    let touched = match (touched, asked_job(gate, &found).and_then(said)) {
        (Ok(_), Some(of_job)) => Ok(of_job),
        (touched, _) => touched,
    };
    let case = Case::of(snapshot, gate, product, request, facts, &found, &touched);
    let newest = case.explain_by(&states.newest, asked);
    match (&states.whole, &newest.verdict) {
        (Some(whole), Verdict::Permitted { .. }) => case.explain_by(whole, asked),
        (Some(_), Verdict::Denied(_)) | (None, _) => newest,
    }
}

/// The operation of a request that asks about a job.
fn asked_job<'g>(gate: &'g GateRules, found: &Found<'_>) -> Option<&'g Operation> {
    let Found::Operation(matched) = found else { return None };
    gate.catalog.operations.get(usize::from(matched.operation.0)).filter(|operation| operation.fetches.is_some())
}

/// What it touches if the containers that are said are those of the job. `None`: none is said.
fn with_said<'r>(
    operation: &Operation,
    parameters: &Parameters<'r>,
    (gate, request, facts): (&GateRules, &'r RequestView<'_>, &'r Facts<'_>),
    asked: &Asked<'_>,
) -> Option<Touched<'r>> {
    let said = asked.containers.iter().map(|(kind, known)| ContainerRef { kind: *kind, name: name(known) });
    let started = Reach::Containers(list(said.collect())?);
    let mut named = locate(gate, operation, parameters, request, facts).ok()?;
    supply(&mut named, asked.containers);
    Some(Touched { reach: with_job(&operation.touches, named.reach, &started), ..named })
}

fn name(known: &NamedContainer) -> ContainerName<'static> {
    let text = Cow::Owned(known.text.to_string());
    match known.form {
        Form::Id => ContainerName::Id(text),
        Form::Name => ContainerName::Name(text),
    }
}

/// Puts what look-ups would have said in place of what the request does not tell.
fn supply(touched: &mut Touched<'_>, supplied: &[(KindId, NamedContainer)]) {
    let Reach::Containers(containers) = &mut touched.reach else { return };
    let list = match containers {
        ContainerList::One(one) => &mut one[..],
        ContainerList::Many(many) => &mut many[..],
    };
    for container in list {
        let ContainerRef {
            kind,
            name:
                ContainerName::Word(_)
                | ContainerName::Hint(_)
                | ContainerName::Prefix(_)
                | ContainerName::Around { .. }
                | ContainerName::Unknown,
        } = container
        else {
            continue;
        };
        let Some((_, known)) = supplied.iter().find(|(one, _)| one == kind) else { continue };
        container.name = name(known);
    }
}

impl Asked<'_> {
    /// The caller as if this credential had been shown.
    fn credential(&self, policy: &Policy) -> Result<Arc<KnownCredential>, Reason> {
        let (app, described) = policy.app(self.app).ok_or(Reason::UnknownApp)?;
        let mut installations = (0..=u16::MAX).zip(&described.installations);
        let installed = installations.find(|(_, one)| *one.tenant == *self.tenant);
        let (installation, installed) = installed.ok_or(Reason::UnknownTenant)?;
        let (kind, user, proof) = (self.kind, self.user.map(Arc::from), Proof::Token);
        let holder = Holder::of(described, installed);
        Ok(Arc::new(KnownCredential { app, installation, kind, user, pipeline: None, proof, file: None, holder }))
    }
}

impl Explanation {
    fn denied(denial: Denial) -> Self {
        Self {
            operation: denial.operation,
            who: denial.who.clone(),
            verdict: Verdict::Denied(Box::new(denial)),
            touches: None,
            needs: Vec::new(),
            guards: Vec::new(),
            asked: Vec::new(),
            limited: Box::default(),
            held: Vec::new(),
        }
    }

    /// A request that cannot be read, whoever sends it.
    pub fn unreadable(bad: BadRequest) -> Self {
        Self::denied(Denial::bad_request(bad))
    }

    /// The denial; of a permit, what it would have been under enforcement.
    pub fn denial(&self) -> Option<&Denial> {
        match &self.verdict {
            Verdict::Denied(denial) => Some(denial),
            Verdict::Permitted { would, .. } => would.as_deref(),
        }
    }

    pub fn is_permitted(&self) -> bool {
        matches!(self.verdict, Verdict::Permitted { .. })
    }
}

impl Case<'_> {
    fn explain_by(&self, policy: &Policy, asked: &Asked<'_>) -> Explanation {
        let operation = self.operation;
        let denied = |denial: Denial| Explanation { operation, ..Explanation::denied(denial) };
        let touched = match self.touched {
            Ok(touched) => touched,
            Err(bad) => return denied(Denial::bad_request(*bad)),
        };
        let credential = match asked.credential(policy) {
            Ok(credential) => credential,
            Err(reason) => return denied(Denial::of(reason)),
        };
        let caller = match self.caller(policy, &credential, None) {
            Ok(caller) => caller,
            Err(denial) => return denied(*denial),
        };
        let verdict = match self.judge_caller(policy, &caller, touched) {
            Ok(Passed { would, shadow }) => Verdict::Permitted { would, shadow },
            Err(denial) => Verdict::Denied(denial),
        };
        let question = self.question(policy, &caller, touched);
        let catalog = &self.gate.catalog;
        let guards = question.operation().map_or(&[][..], |operation| &operation.guards[..]);
        let standings = |scopes: &[ScopeId]| -> Vec<(ScopeId, Standing)> {
            scopes.iter().map(|scope| (*scope, standing(&question, *scope))).collect()
        };
        Explanation {
            operation,
            touches: Some(TouchedWords::of(touched, catalog)),
            needs: needs(&question, standings),
            guards: standings(guards),
            asked: self.asked(),
            limited: touched.limits.clone(),
            held: held_scopes(&question).iter().map(|scope| catalog.scope_name_kept(scope)).collect(),
            who: Some(caller.who()),
            verdict,
        }
    }
}

impl Case<'_> {
    fn asked(&self) -> Vec<(usize, ExtraMask)> {
        let operation = self.operation.and_then(|id| self.gate.catalog.operations.get(usize::from(id.0)));
        let Some(operation) = operation else { return Vec::new() };
        let all = operation.extra_sources.iter().enumerate();
        let all = all.filter_map(|(index, one)| Some((index, one.asked(operation, self.request, self.facts).ok()?)));
        all.filter(|(_, needed)| !needed.is_none()).collect()
    }
}

fn needs(
    question: &Question<'_>,
    standings: impl Fn(&[ScopeId]) -> Vec<(ScopeId, Standing)>,
) -> Vec<ExplainedVocabulary> {
    let Some(operation) = question.operation() else { return Vec::new() };
    match &operation.needs {
        Needs::Unknown => Vec::new(),
        Needs::None { .. } => {
            let lines = vec![standings(&[question.catalog.gate_call])];
            vec![ExplainedVocabulary { name: None, usable: true, lines }]
        }
        Needs::Lines(vocabularies) => {
            let counted = vocabularies.iter().map(|one| {
                let lines = one.lines.iter().filter(|line| line.when.intersects(question.touched.variants));
                ExplainedVocabulary {
                    name: question.catalog.vocabularies.get(usize::from(one.vocabulary.0)).cloned(),
                    usable: question.vocabularies.contains(one.vocabulary),
                    lines: lines.map(|line| standings(&with_extras(question, one, line))).collect(),
                }
            });
            counted.filter(|one| !one.lines.is_empty()).collect()
        }
    }
}

/// The scopes of a line, and what the arguments ask for on top of it.
fn with_extras(question: &Question<'_>, vocabulary: &VocabularyLines, line: &Line) -> Vec<ScopeId> {
    let mut scopes = line.scopes.to_vec();
    let operation = question.operation().into_iter();
    for scope in operation.flat_map(|one| one.extra_scopes(question.touched.extras, vocabulary.vocabulary)) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

impl TouchedWords {
    fn of(touched: &Touched<'_>, catalog: &Catalog) -> Self {
        let containers = match &touched.reach {
            Reach::Nothing => return Self::Nothing,
            Reach::Tenant => return Self::Tenant,
            Reach::Containers(containers) => containers.as_slice(),
        };
        let words = containers.iter().filter_map(|container| {
            let kind = catalog.containers.get(usize::from(container.kind.0))?;
            Some((Arc::from(&*kind.name), container.name.text().map(str::to_owned)))
        });
        Self::Containers(words.collect())
    }
}
