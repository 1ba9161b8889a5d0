//! Every operation that asks about a job, after every one that starts such a job: what the request named that started it is
//! what a grant must hold and what a revocation takes, when it is asked about and not before. Another app's, and what nobody
//! started, is refused to whoever is limited. The upstream sees nothing of what is refused.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use scopegate::authz::catalog::jobs::JobId;
use scopegate::authz::catalog::{Operation, Reading, Touches, VariantMask, builtin};
use scopegate::authz::scope::ScopeId;

use super::apps::{App, Containers, Terms, document};
use super::asking::{Shape, ask, ask_about, naming_shapes, numbers, places};
use super::world::{Form, JOB_FIELD, Spelled, Which, World, is_question};
use super::{NOT_FOUND, Plan, Setup};
use crate::support::gate::{Ask, Gate};
use crate::support::upstream::wait_until;

#[test]
fn every_job_of_jira() {
    every_job("jira", Setup::jira(), true);
}

#[test]
fn every_job_of_jira_without_opt_outs() {
    every_job("jira", Setup::jira().without("issue_keys").without("names"), false);
}

#[test]
fn every_job_of_confluence() {
    every_job("confluence", Setup::confluence(), true);
}

#[test]
fn every_job_of_confluence_without_opt_outs() {
    every_job("confluence", Setup::confluence().without("names"), false);
}

#[test]
fn every_job_of_bitbucket() {
    every_job("bitbucket", Setup::bitbucket(), true);
}

#[test]
fn every_job_of_bitbucket_without_opt_outs() {
    every_job("bitbucket", Setup::bitbucket().without("names"), false);
}

/// What comes of a policy between the start of a job and the question about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stays,
    /// The grant is for the other container.
    Moves,
    /// A scope that is needed to ask is revoked where it was started.
    Revoked,
    /// And in the other container.
    RevokedElsewhere,
}

/// One app that starts one job and asks about it.
struct Asker {
    number: usize,
    before: App,
    after: App,
    then: Then,
    start: Ask,
    fetch: Ask,
    /// About a job that nobody started.
    unknown: Ask,
    /// It may ask about whatever it likes.
    is_unlimited: bool,
    said: String,
}

fn every_job(product: &str, setup: Setup, opt_outs: bool) {
    let catalog = builtin::catalog(product).expect("it is built in");
    let world = World { catalog: Arc::clone(&catalog), opt_outs };
    let plan = Plan::new(&catalog, &world);
    let mut askers = Vec::new();
    let mut asked = BTreeSet::new();
    for fetching in catalog.operations.iter() {
        let Some(job) = fetching.fetches.as_ref().map(|fetch| fetch.job) else { continue };
        for starting in catalog.operations.iter().filter(|one| starts(one, job)) {
            plan.askers(starting, fetching, &mut askers);
            asked.insert((&starting.id, &fetching.id));
        }
    }
    assert!(asked.len() >= 2);
    for (starting, fetching) in &asked {
        let of_it = |asker: &&Asker| asker.said.starts_with(&format!("{starting}, {fetching}: "));
        assert!(askers.iter().any(|asker| of_it(&asker)), "{starting} and {fetching} were left out");
    }
    let documents = |of: fn(&Asker) -> &App| -> String {
        let all = askers.iter().map(|asker| document(&catalog, of(asker), asker.number));
        all.collect::<Vec<_>>().join("---\n")
    };
    let setup = setup.without("lookups").policy("all.yaml", &documents(|asker| &asker.before));
    let gate = setup.before(world.upstream_with_jobs());
    for asker in &askers {
        let answer = gate.ask(&asker.start);
        assert!(answer.reason().is_none() && [201, 303].contains(&answer.status), "{}: {}", asker.said, answer.head);
    }
    // Refused first: the upstream sees nothing of it.
    let seen = passed_on(&gate);
    let mut failures = Vec::new();
    for (asker, other) in askers.iter().zip(askers.iter().cycle().skip(1)).filter(|(asker, _)| !asker.is_unlimited) {
        let others = other.fetch.clone().without("authorization").bearer(&token(asker));
        // One that may not do this at all is refused for that.
        let reasons = ["container_not_granted", "missing_scope"];
        failures.extend(refused(&gate, &asker.unknown, &reasons, &asker.said));
        failures.extend(refused(&gate, &others, &reasons, &format!("another app's after {}", asker.said)));
    }
    assert_eq!(passed_on(&gate), seen, "{failures:#?}");
    for asker in &askers {
        let answer = gate.ask(&asker.fetch);
        if answer.status != 200 || answer.reason().is_some() {
            failures.push(format!("{}: refused: {}\n{}", asker.said, answer.head, asker.fetch.text()));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}: {:#?}",
        failures.len(),
        askers.len(),
        failures.iter().take(10).collect::<Vec<_>>()
    );
    gate.write_policy("all.yaml", &documents(|asker| &asker.after));
    let probe = askers.iter().find(|asker| asker.then == Then::Moves).expect("some move");
    wait_until("the policy", || gate.ask(&probe.fetch).reason().is_some());
    let (seen, mut counts) = (passed_on(&gate), [0; 2]);
    for asker in askers.iter().filter(|asker| matches!(asker.then, Then::Moves | Then::Revoked)) {
        let reasons = match asker.then {
            Then::Moves => ["container_not_granted", NOT_FOUND, "missing_scope"],
            _ => ["container_revoked", NOT_FOUND, "container_revoked"],
        };
        failures.extend(refused(&gate, &asker.fetch, &reasons, &asker.said));
        counts[0] += 1;
    }
    assert_eq!(passed_on(&gate), seen, "{failures:#?}");
    for asker in askers.iter().filter(|asker| matches!(asker.then, Then::Stays | Then::RevokedElsewhere)) {
        let answer = gate.ask(&asker.fetch);
        if answer.status != 200 || answer.reason().is_some() {
            failures.push(format!("{}: refused afterwards: {}", asker.said, answer.head));
        }
        counts[1] += 1;
    }
    let wrong = failures.len();
    assert!(failures.is_empty(), "{wrong} of {}: {:#?}", askers.len(), failures.iter().take(10).collect::<Vec<_>>());
    let line = format!(
        "{product}{}: {} pairs of a start and a question, {} jobs; of another app and unknown ones refused; afterwards {} \
         refused, {} passed\n",
        if opt_outs { "" } else { " without opt-outs" },
        asked.len(),
        askers.len(),
        counts[0],
        counts[1],
    );
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn starts(operation: &Operation, job: JobId) -> bool {
    operation.starts.as_ref().is_some_and(|start| start.job == job)
}

fn token(asker: &Asker) -> String {
    format!("app{}", asker.number)
}

fn passed_on(gate: &Gate) -> usize {
    gate.upstream.requests().iter().filter(|one| !is_question(one)).count()
}

fn refused(gate: &Gate, ask: &Ask, reasons: &[&str], said: &str) -> Option<String> {
    let answer = gate.ask(ask);
    let told = answer.reason().is_some_and(|reason| reasons.contains(&reason));
    (!told).then(|| format!("{said}: {:?} came, not one of {reasons:?}: {}", answer.reason(), answer.head))
}

impl Plan<'_> {
    /// Apps that start a job in each way that names containers, and ask about it.
    fn askers(&self, starting: &Operation, fetching: &Operation, askers: &mut Vec<Asker>) {
        let shapes = match &starting.touches {
            Touches::Containers(_) => naming_shapes(self.world, starting),
            Touches::Tenant { .. } | Touches::Nothing { .. } => vec![Shape::BARE],
        };
        let Some((kind, scopes, revocable)) = self.line_of_both(starting, fetching) else {
            panic!("no credential can start {} and ask about it by {}", starting.id, fetching.id)
        };
        for shape in shapes {
            let Some((here, elsewhere, is_told)) = self.containers_of(starting, fetching, &shape) else { continue };
            let of_tenant = matches!(starting.touches, Touches::Tenant { .. });
            let thens = match (of_tenant, is_told) {
                (true, _) => &[Then::Stays, Then::Moves, Then::Revoked][..],
                (false, false) => &[Then::Stays, Then::Moves, Then::Revoked],
                (false, true) => &[Then::Stays, Then::Moves, Then::Revoked, Then::RevokedElsewhere],
            };
            for then in thens {
                let number = askers.len();
                let app =
                    |terms: Terms| App { kind: kind.clone(), scopes: scopes.clone(), revoked: Some(revocable), terms };
                let before = if of_tenant { Terms::All } else { Terms::In(here.clone()) };
                let after = match then {
                    Then::Stays => before.clone(),
                    Then::Moves => Terms::In(elsewhere.clone()),
                    Then::Revoked => Terms::RevokedIn(here.clone()),
                    Then::RevokedElsewhere => Terms::RevokedIn(elsewhere.clone()),
                };
                let id = format!("job-{number}");
                let by = |ask: Ask| ask.bearer(&format!("app{number}"));
                let about = |id: &str| by(ask_about(self.world, fetching, id, Which::A));
                askers.push(Asker {
                    number,
                    before: app(before),
                    after: app(after),
                    then: *then,
                    start: by(ask(self.world, starting, &shape, &|_| Which::A)).with(JOB_FIELD, &id),
                    fetch: about(&id),
                    unknown: about("nobody-started"),
                    is_unlimited: of_tenant,
                    said: format!("{}, {}: {then:?} in {shape:?}", starting.id, fetching.id),
                });
            }
        }
    }

    /// A kind of credential that can do both, the scopes of a line of each, and one of the second's, to be revoked.
    fn line_of_both(&self, starting: &Operation, fetching: &Operation) -> Option<(String, Vec<ScopeId>, ScopeId)> {
        let all = VariantMask(1);
        let (starts, fetches) = (self.needed(starting, all), self.needed(fetching, all));
        fetches.into_iter().find_map(|(kind, needed)| {
            let (_, more) = starts.iter().find(|(other, _)| *other == kind)?;
            let revoked = *needed.first()?;
            let guards = starting.guards.iter().chain(&fetching.guards);
            let all: BTreeSet<ScopeId> = needed.iter().chain(more).chain(guards).copied().collect();
            Some((kind, all.into_iter().collect(), revoked))
        })
    }

    /// What a shape names, what it does not, and whether the two can be told apart. `None`: the product's answer would prove
    /// nothing.
    fn containers_of(
        &self,
        starting: &Operation,
        fetching: &Operation,
        shape: &Shape,
    ) -> Option<(Containers, Containers, bool)> {
        if matches!(starting.touches, Touches::Tenant { .. }) {
            return Some((self.one_container(), self.one_container(), false));
        }
        let world = self.world;
        let mut here = Containers::new();
        let mut elsewhere = Containers::new();
        let mut is_told = true;
        let filled = numbers(starting, shape).into_iter().map(|number| (starting, &places(starting)[number], shape));
        let bare = Shape::BARE;
        let beside = numbers(fetching, &bare).into_iter();
        let beside = beside.map(|number| (fetching, &places(fetching)[number], &bare));
        for (operation, place, shape) in filled.chain(beside) {
            let spelled = shape.spelled(world, place);
            if !world.proves_id(place, spelled) && !world.opt_outs {
                return None;
            }
            let is_query = matches!(place.reading, Reading::Jql | Reading::Cql) || world.is_by_query(place, spelled);
            is_told &= !is_query;
            for (all, which) in [(&mut here, Which::A), (&mut elsewhere, Which::B)] {
                let name = world.container(operation, place, spelled, which, Form::Id);
                all.entry(place.kind).or_default().insert(name);
            }
        }
        // An id beside a name may be one container.
        is_told &= here.values().all(|names| names.len() == 1) && !has_words(starting, shape, world);
        Some((here, elsewhere, is_told))
    }
}

/// Whether something is named by a word beside what is named by an id.
fn has_words(operation: &Operation, shape: &Shape, world: &World) -> bool {
    let spelled = |number: usize| shape.spelled(world, &places(operation)[number]);
    let numbers = numbers(operation, shape);
    let things = numbers.iter().filter(|number| matches!(spelled(**number), Spelled::Thing(_))).count();
    things > 0 && things < numbers.len()
}
