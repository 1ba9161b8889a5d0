//! Requests that ask about a job, and what one that starts a job leaves to be remembered.
//!
//! A job's result belongs to the app that started it, and to the containers that the request touched which did. What is
//! remembered narrows the whole tenant to these: one that is not, or that another app started, may be of any container.
//! Judged is by the policy that is in force when it is asked about.

use std::borrow::Cow;
use std::sync::Arc;

use super::asking::list;
use super::{Caller, Case, Denial, Permit, product_of};
use crate::authz::catalog::container::{find, locate};
use crate::authz::catalog::jobs::{Fetch, ID_BYTES_MAX};
use crate::authz::catalog::lookups::Home;
use crate::authz::catalog::matcher::Parameters;
use crate::authz::catalog::{Operation, PlaceAt, Touches};
use crate::authz::gate::GateRules;
use crate::authz::identity::Identified;
use crate::authz::jobs::{AskedJob, CONTAINER_BYTES_MAX, CONTAINERS_KEPT_MAX, NamedJob, Owner, Recalled, Starting};
use crate::authz::policy::Policy;
use crate::authz::policy::credentials::Holder;
use crate::authz::reason::{Class, Reason};
use crate::authz::request::{BadRequest, Facts, Found, RequestView};
use crate::authz::snapshot::Snapshot;
use crate::authz::touch::{ContainerList, ContainerName, ContainerRef, FoundName, Reach, Touched};

/// What a request that asks about a job touches while nothing is remembered of the job: the tenant, whatever it names.
#[cold]
#[inline(never)]
pub(super) fn touched<'r>(
    gate: &GateRules,
    operation: &Operation,
    fetch: &Fetch,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    let named = locate(gate, operation, parameters, request, facts)?;
    asked_id(fetch, parameters, request, facts)?;
    Ok(Touched { reach: Reach::Tenant, ..named })
}

/// What the request calls the job that it asks about.
fn asked_id<'r>(
    fetch: &Fetch,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Option<Cow<'r, str>>, BadRequest> {
    match &fetch.at {
        // What two ways to part a segment leave open is no id.
        PlaceAt::Path(index) if parameters.get(*index).is_none() => Ok(None),
        at => find(at, parameters, request, facts).and_then(Found::one),
    }
}

/// What the request of a Permit starts, to be remembered with what its answer calls it. `None`: nothing.
#[inline]
pub fn starting(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    permit: &Permit,
) -> Option<Box<Starting>> {
    let operation = gate.catalog.operations.get(usize::from(permit.operation?.0))?;
    let start = operation.starts.as_deref()?;
    let owner = Owner { tenant: Arc::clone(permit.who.tenant()), app: Arc::clone(permit.who.app()?) };
    let reach = Arc::new(reach_of(snapshot, gate, request, facts, &owner.tenant));
    Some(Box::new(Starting { owner, kind: start.job, reach }))
}

/// What a request touches as it is known now: by what it names, and by what the product said of that.
#[cold]
#[inline(never)]
fn reach_of(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    tenant: &str,
) -> Reach<'static> {
    let mut parameters = Parameters::default();
    let found = gate.catalog.matcher.find_with(request.method, &request.path, &mut parameters);
    let touched = super::touched(gate, &found, &parameters, request, facts);
    let (Ok(named), Some(product)) = (&touched, product_of(snapshot, gate)) else { return Reach::Tenant };
    let case = Case::of(snapshot, gate, product, request, facts, &found, &touched);
    match case.asking(tenant, named) {
        Some(asking) => kept(&asking.told.reach),
        None => kept(&named.reach),
    }
}

/// A reach that outlives its request. It never says more of a container than the request did: whose place only a look-up
/// could tell, and was not told, stays unknown, for what it is called may be another one's by then.
pub(in crate::authz) fn kept(reach: &Reach<'_>) -> Reach<'static> {
    let Reach::Containers(containers) = reach else { return Reach::Tenant };
    let containers = containers.as_slice();
    if containers.len() > CONTAINERS_KEPT_MAX {
        return Reach::Tenant;
    }
    let each = containers.iter().map(|container| {
        let text = |text: &str| (text.len() <= CONTAINER_BYTES_MAX).then(|| Cow::Owned(text.to_owned()));
        let name = match &container.name {
            ContainerName::Id(id) => ContainerName::Id(text(id)?),
            ContainerName::Name(name) => ContainerName::Name(text(name)?),
            ContainerName::Word(word) => ContainerName::Word(text(word)?),
            ContainerName::Found(found) if !found.hoped => ContainerName::Found(Box::new(kept_found(found)?)),
            ContainerName::Found(_)
            | ContainerName::Hint(_)
            | ContainerName::Prefix(_)
            | ContainerName::Around { .. }
            | ContainerName::Unknown => ContainerName::Unknown,
        };
        Some(ContainerRef { kind: container.kind, name })
    });
    each.collect::<Option<Vec<_>>>().and_then(list).map_or(Reach::Tenant, Reach::Containers)
}

fn kept_found(found: &FoundName) -> Option<FoundName> {
    let FoundName { home: Home { id, key, .. }, called, .. } = found;
    let texts = [id, key, called].into_iter().flatten();
    texts.into_iter().all(|text| text.len() <= CONTAINER_BYTES_MAX).then(|| found.clone())
}

/// What a request reaches that asks about a job which was remembered: what that touches, and whatever the request names
/// beside it.
pub(in crate::authz) fn with_job<'r>(touches: &Touches, named: Reach<'r>, started: &Reach<'static>) -> Reach<'r> {
    let Reach::Containers(started) = started else { return Reach::Tenant };
    let mut started = started.as_slice().iter().cloned();
    let named = match (touches, named) {
        (Touches::Containers(_), Reach::Containers(named)) => Some(named),
        // It names something that only the whole tenant holds.
        (Touches::Containers(_), Reach::Tenant | Reach::Nothing) => return Reach::Tenant,
        (Touches::Tenant { .. } | Touches::Nothing { .. }, _) => started.next().map(ContainerList::one),
    };
    let Some(mut all) = named else { return Reach::Tenant };
    started.for_each(|container| all.push(container));
    Reach::Containers(all)
}

impl Owner {
    fn of(holder: &Holder) -> Self {
        Self { tenant: Arc::clone(&holder.tenant), app: Arc::clone(&holder.app) }
    }
}

impl<'c> Case<'c> {
    /// Judges a request that asks about a job. Off the permit path of all others.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_job(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        fetch: &Fetch,
        forgotten: &Touched<'_>,
    ) -> Result<Permit, Box<Denial>> {
        let mut parameters = Parameters::default();
        let _ = self.gate.catalog.matcher.find_with(self.request.method, &self.request.path, &mut parameters);
        let bad = |bad| Box::new(Denial::bad_request(bad));
        let id = asked_id(fetch, &parameters, self.request, self.facts).map_err(bad)?;
        // So long an id was never remembered.
        let Some(id) = id.filter(|id| id.len() <= ID_BYTES_MAX) else {
            return self.decide_as(policy, identified, caller, forgotten);
        };
        let job = NamedJob { kind: fetch.job, id: id.into() };
        let asked = AskedJob { owner: Owner::of(&caller.credential.holder), job };
        let started = match self.facts.looked_up.job(&asked) {
            Recalled::Nothing => return self.decide_as(policy, identified, caller, forgotten),
            Recalled::Started(reach) => reach,
            Recalled::NotAsked => {
                let (who, operation) = (Some(caller.who()), self.operation);
                let recalls = Some(Box::new(asked));
                return Err(Box::new(Denial { who, operation, recalls, ..Denial::of(Reason::ContainerUnresolved) }));
            }
        };
        let operation = self.operation.and_then(|id| self.gate.catalog.operations.get(usize::from(id.0)));
        let Some(operation) = operation else { return self.decide_as(policy, identified, caller, forgotten) };
        let named = locate(self.gate, operation, &parameters, self.request, self.facts).map_err(bad)?;
        let reach = with_job(&operation.touches, named.reach, started);
        let touched = Touched { reach, ..named };
        let decided = self.decide_as(policy, identified, caller, &touched);
        decided.map_err(|denial| self.without_what_was_told(policy, caller, &touched, denial))
    }

    fn decide_as(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
    ) -> Result<Permit, Box<Denial>> {
        let passed = self.judge(policy, identified, caller, touched)?;
        self.permit_identified(identified, caller, passed)
    }

    /// A denial as it is answered, where a look-up once told what the job touches: what that said is not to be learned here
    /// either. What an app is refused for wherever the job lies it may know.
    fn without_what_was_told(
        &self,
        policy: &'c Policy,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
        denial: Box<Denial>,
    ) -> Box<Denial> {
        let Reach::Containers(containers) = &touched.reach else { return denial };
        let is_told = |container: &&ContainerRef<'_>| matches!(container.name, ContainerName::Found(_));
        let is_lasting = matches!(denial.reason.class(), Class::Scope | Class::Container | Class::Terms);
        if denial.hidden || !is_lasting || !containers.as_slice().iter().any(|one| is_told(&one)) {
            return denial;
        }
        let elsewhere = containers.as_slice().iter().map(|container| match &container.name {
            ContainerName::Found(found) => {
                let home = Home { id: Some("".into()), key: Some("".into()), is_word: false };
                let found = FoundName { home, by_name: found.by_name, called: None, hoped: false };
                ContainerRef { kind: container.kind, name: ContainerName::Found(Box::new(found)) }
            }
            _ => container.clone(),
        });
        let reach = list(elsewhere.collect()).map_or(Reach::Tenant, Reach::Containers);
        let anywhere =
            self.judge_caller(policy, caller, &Touched { reach, limits: touched.limits.clone(), ..*touched });
        match anywhere {
            Err(anywhere) if anywhere.reason == denial.reason && anywhere.reason.class() != Class::Container => {
                anywhere
            }
            Ok(_) | Err(_) => Box::new(Denial { hidden: true, ..*denial }),
        }
    }
}
