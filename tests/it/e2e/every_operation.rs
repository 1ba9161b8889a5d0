//! Every operation of every built-in catalog, asked of a running gate: what its catalog says it touches is what a grant
//! must hold and what a revocation takes. First all that must be refused, and the upstream has seen nothing; then what
//! must be refused for what the product says of it, and the upstream has seen the gate's own questions alone; then all
//! that must pass, and it has seen each.

mod apps;
mod asking;
mod jobs;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use scopegate::authz::catalog::extras::ExtraMask;
use scopegate::authz::catalog::{
    Catalog, KindId, Line, Needs, Operation, Reading, Touches, VariantMask, VocabularyLines, builtin,
};
use scopegate::authz::scope::ScopeId;

use super::*;
use crate::support::client::Answer;
use apps::{App, Containers, Terms, document};
use asking::{Shape, ask, bare_lacks, naming_shapes, numbers, open_shapes, places};
use world::{Form, Spelled, Which, World, is_question, target};

/// Sent at once on one connection.
const BATCH: usize = 20;
/// Clients at a time. The gate has one thread.
const CLIENTS: usize = 4;
/// App documents in one policy file.
const APPS_PER_FILE: usize = 100;

#[test]
fn every_operation_of_jira() {
    every_operation("jira", Setup::jira(), true);
}

#[test]
fn every_operation_of_jira_without_opt_outs() {
    every_operation("jira", Setup::jira().without("issue_keys").without("names"), false);
}

#[test]
fn every_operation_of_confluence() {
    every_operation("confluence", Setup::confluence(), true);
}

#[test]
fn every_operation_of_confluence_without_opt_outs() {
    every_operation("confluence", Setup::confluence().without("names"), false);
}

#[test]
fn every_operation_of_bitbucket() {
    every_operation("bitbucket", Setup::bitbucket(), true);
}

#[test]
fn every_operation_of_bitbucket_without_opt_outs() {
    every_operation("bitbucket", Setup::bitbucket().without("names"), false);
}

#[test]
fn every_operation_of_slack() {
    every_operation("slack", Setup::slack().gate("tenant", "{fixed: acme}"), true);
}

#[test]
fn every_operation_of_slack_without_opt_outs() {
    every_operation("slack", Setup::slack().gate("tenant", "{fixed: acme}").without("channel_types"), false);
}

/// A project of Buddy's has a name and nothing else, so there is no doing without.
#[test]
fn every_operation_of_buddy() {
    every_operation("buddy", Setup::buddy(), true);
}

fn every_operation(product: &str, setup: Setup, opt_outs: bool) {
    let catalog = builtin::catalog(product).expect("it is built in");
    let world = World { catalog: Arc::clone(&catalog), opt_outs };
    let mut plan = Plan::new(&catalog, &world);
    for operation in &catalog.operations {
        let sort = plan.operation(operation);
        *plan.counts.entry(sort).or_default() += 1;
    }
    // None is left out: of each something was asked.
    assert_eq!(plan.counts.values().sum::<usize>(), catalog.operations.len());
    let asked: BTreeSet<&str> = plan.cases.iter().map(|case| &*case.operation).collect();
    assert_eq!(asked.len(), catalog.operations.len());
    let gate = plan.policies(setup.without("lookups")).before(world.upstream());
    let (passing, refused): (Vec<Case>, Vec<Case>) = plan.cases.iter().cloned().partition(|case| case.reason.is_none());
    let (hidden, refused): (Vec<Case>, Vec<Case>) =
        refused.into_iter().partition(|case| [Some(NOT_FOUND), Some(UNRESOLVED)].contains(&case.reason));
    let mut failures = run(&gate, &refused);
    assert_eq!(gate.seen(), (0, 0), "the upstream saw something of what was refused: {failures:#?}");
    failures.extend(run(&gate, &hidden));
    let seen = gate.upstream.requests();
    assert!(seen.iter().all(is_question), "the upstream saw more than questions: {failures:#?}");
    let bytes: usize = seen.iter().map(|one| one.head.len() + "\r\n\r\n".len() + one.body.len()).sum();
    assert_eq!(gate.seen(), (seen.len(), bytes));
    failures.extend(run(&gate, &passing));
    let (wrong, all) = (failures.len(), plan.cases.len());
    assert!(failures.is_empty(), "{wrong} of {all}: {:#?}", failures.iter().take(20).collect::<Vec<_>>());
    let (questions, seen): (Vec<_>, Vec<_>) = gate.upstream.requests().into_iter().partition(is_question);
    let mut seen: Vec<String> = seen.iter().map(|request| request.line().to_owned()).collect();
    let mut sent: Vec<String> =
        passing.iter().map(|case| case.text.lines().next().expect("a line").to_owned()).collect();
    seen.sort_unstable();
    sent.sort_unstable();
    assert!(seen == sent, "{} came of the {} that passed", seen.len(), sent.len());
    let answers = world.answers();
    for question in &questions {
        assert!(answers.contains_key(target(question)) && question.body.is_empty(), "{}", question.head);
        let shown = question.field("authorization").expect("a credential");
        assert!(question.line().starts_with("GET ") && shown.starts_with("Bearer app"), "{}", question.head);
    }
    let things: BTreeSet<&str> = questions.iter().map(target).collect();
    plan.judged_as_themselves(&gate);
    plan.tell([refused.len(), hidden.len(), passing.len()], (questions.len(), things.len()));
}

/// What is said where the product has answered, and its answer proves nothing.
const UNRESOLVED: &str = "container_unresolved";

/// What everybody is told whose request was refused for what the product said.
const NOT_FOUND: &str = "not_found";

/// What an operation is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Named,
    /// By nothing but a thing that lies in it.
    LookedUp,
    /// By the job that it asks about, if that is remembered.
    Job,
    Tenant,
    Nothing,
    NeedsUnknown,
}

/// One request, and what must become of it.
#[derive(Debug, Clone)]
struct Case {
    operation: String,
    about: &'static str,
    text: String,
    /// None: it passes.
    reason: Option<&'static str>,
    /// The credential can use other lines too, and a refusal may tell what is lacking in one of those.
    other_lines: bool,
}

struct Plan<'c> {
    catalog: &'c Catalog,
    world: &'c World,
    /// With the number that each has in its name.
    apps: BTreeMap<App, usize>,
    cases: Vec<Case>,
    counts: BTreeMap<Sort, usize>,
}

impl<'c> Plan<'c> {
    fn new(catalog: &'c Catalog, world: &'c World) -> Self {
        Self { catalog, world, apps: BTreeMap::new(), cases: Vec::new(), counts: BTreeMap::new() }
    }

    /// What is asked of one operation. Every way to find containers has its arm.
    fn operation(&mut self, operation: &Operation) -> Sort {
        if matches!(operation.needs, Needs::Unknown) {
            let bare = if bare_lacks(operation) { "bad_request" } else { "unknown_operation" };
            let shapes = naming_shapes(self.world, operation);
            let named = shapes.first().map(|shape| (shape, "unknown_operation"));
            for (shape, reason) in named.into_iter().chain([(&Shape::BARE, bare)]) {
                let reason = Some(reason);
                self.case(operation, "needs unknown", shape, &|_| Which::A, &Terms::Whatever, reason);
            }
            return Sort::NeedsUnknown;
        }
        match &operation.touches {
            // Nothing was started here: it is the tenant's, whatever else is named.
            _ if operation.fetches.is_some() => {
                self.tenant(operation, &Shape::BARE);
                Sort::Job
            }
            Touches::Nothing { .. } => {
                self.nothing(operation);
                Sort::Nothing
            }
            Touches::Tenant { .. } => {
                self.tenant(operation, &Shape::BARE);
                Sort::Tenant
            }
            Touches::Containers(_) => {
                let shapes = naming_shapes(self.world, operation);
                shapes.iter().for_each(|shape| self.named(operation, shape));
                open_shapes(self.world, operation).iter().for_each(|shape| self.tenant(operation, shape));
                if bare_lacks(operation) {
                    self.case(operation, "names none", &Shape::BARE, &|_| Which::A, &Terms::All, Some("bad_request"));
                }
                let by_things = shapes.iter().all(|shape| self.is_by_things(operation, shape));
                if by_things { Sort::LookedUp } else { Sort::Named }
            }
        }
    }

    fn nothing(&mut self, operation: &Operation) {
        let one = self.one_container();
        for (about, terms, reason) in [
            ("nothing, granted in one container", Terms::In(one.clone()), None),
            ("nothing, revoked in one container", Terms::RevokedIn(one), None),
            ("nothing, revoked", Terms::Revoked, Some("scope_revoked")),
        ] {
            self.case(operation, about, &Shape::BARE, &|_| Which::A, &terms, reason);
        }
    }

    fn tenant(&mut self, operation: &Operation, shape: &Shape) {
        let one = self.one_container();
        for (about, terms, reason) in [
            ("tenant, granted in all", Terms::All, None),
            ("tenant, limited", Terms::In(one.clone()), Some("container_not_granted")),
            ("tenant, revoked in one container", Terms::RevokedIn(one), Some("container_revoked")),
        ] {
            self.case(operation, about, shape, &|_| Which::A, &terms, reason);
        }
    }

    /// Whether everything that is named has to be looked up, whatever the gate takes for granted.
    fn is_by_things(&self, operation: &Operation, shape: &Shape) -> bool {
        let all = places(operation);
        let spelled = |number: usize| shape.spelled(self.world, &all[number]);
        numbers(operation, shape).into_iter().all(|number| matches!(spelled(number), Spelled::Thing(_)))
    }

    fn named(&mut self, operation: &Operation, shape: &Shape) {
        let proves_id = |number: usize| {
            let place = &places(operation)[number];
            self.world.proves_id(place, shape.spelled(self.world, place))
        };
        let is_proof = numbers(operation, shape).into_iter().all(proves_id);
        if !is_proof && !self.world.opt_outs {
            return self.unproven(operation, shape);
        }
        self.named_as(operation, shape, Form::Id);
        let both = |number: usize| is_proof && self.world.has_both_forms(&places(operation)[number]);
        if self.is_by_things(operation, shape) && numbers(operation, shape).into_iter().all(both) {
            self.named_as(operation, shape, Form::Name);
        }
    }

    /// The product says where it lies by names alone, and the gate takes no name for what it seems to say.
    fn unproven(&mut self, operation: &Operation, shape: &Shape) {
        self.case(operation, "granted in all", shape, &|_| Which::A, &Terms::All, None);
        let limited = Terms::In(self.one_container());
        for which in [Which::A, Which::B] {
            self.case(operation, "named by the product", shape, &|_| which, &limited, Some(UNRESOLVED));
        }
    }

    /// `form`: how the policy writes what a look-up finds.
    fn named_as(&mut self, operation: &Operation, shape: &Shape, form: Form) {
        let (all, world) = (places(operation), self.world);
        let numbers = numbers(operation, shape);
        let spelled = |number: usize| shape.spelled(world, &all[number]);
        let is_asked = |number: usize| world.is_asked(&all[number], spelled(number));
        let named = |number: &usize| {
            let place = &all[*number];
            (place.kind, world.container(operation, place, spelled(*number), Which::A, form))
        };
        let mut granted = Containers::new();
        for (kind, name) in numbers.iter().map(named) {
            granted.entry(kind).or_default().insert(name);
        }
        // Whether it can be said of two names that they are not one container's.
        let is_query = |number: usize| {
            let place = &all[number];
            matches!(place.reading, Reading::Jql | Reading::Cql) || world.is_by_query(place, spelled(number))
        };
        let told = !numbers.iter().any(|number| is_query(*number));
        let limited = Terms::In(granted.clone());
        self.case(operation, "granted", shape, &|_| Which::A, &limited, None);
        for number in &numbers {
            let other = |which| move |one: usize| if one == *number { which } else { Which::A };
            let place = &all[*number];
            // A workspace is the tenant itself.
            let workspace = self.is_workspace(place.kind);
            // What is written in two ways may be one container: that is asked.
            let mixed = granted[&place.kind].len() > 1 && world.has_other_name(place, spelled(*number));
            let reason = match workspace {
                true => "unknown_tenant",
                false if is_asked(*number) || mixed => NOT_FOUND,
                false => "container_not_granted",
            };
            self.case(operation, "another container", shape, &other(Which::B), &limited, Some(reason));
            if is_asked(*number) && !workspace {
                self.case(operation, "an absent thing", shape, &other(Which::Absent), &limited, Some(NOT_FOUND));
            }
            let (kind, name) = named(number);
            let there = Containers::from([(kind, BTreeSet::from([name]))]);
            let only = granted == there;
            let revoked = Terms::RevokedIn(there);
            // What the request itself names is refused for what everybody may know.
            let is_plain = |one: &usize| !is_asked(*one) && self.are_nested(kind, all[*one].kind);
            let reason = if numbers.iter().any(is_plain) { "container_revoked" } else { NOT_FOUND };
            self.case(operation, "revoked there", shape, &|_| Which::A, &revoked, Some(reason));
            if only && told && !workspace {
                self.case(operation, "revoked elsewhere", shape, &|_| Which::B, &revoked, None);
            }
        }
    }

    /// Whether the one kind is the other, or lies within it.
    fn are_nested(&self, one: KindId, other: KindId) -> bool {
        let around = |kind: KindId| self.catalog.containers[usize::from(kind.0)].within;
        let lies_in = |inner: KindId, outer: KindId| {
            std::iter::successors(Some(inner), |kind| around(*kind)).any(|kind| kind == outer)
        };
        lies_in(one, other) || lies_in(other, one)
    }

    fn is_workspace(&self, kind: KindId) -> bool {
        &*self.catalog.containers[usize::from(kind.0)].name == "workspace"
    }

    /// One container of the innermost kind.
    fn one_container(&self) -> Containers {
        let kind = KindId(u8::try_from(self.catalog.containers.len() - 1).expect("few kinds"));
        let all = self.catalog.operations.iter().flat_map(|one| places(one).iter().map(move |place| (one, place)));
        let (operation, place) = all.into_iter().find(|(_, place)| place.kind == kind).expect("each kind has a place");
        let name = self.world.container(operation, place, Spelled::Name, Which::A, Form::Id);
        Containers::from([(kind, BTreeSet::from([name]))])
    }

    /// For each vocabulary: a kind of credential that can use it, and the scopes of one line for each of these variants.
    fn needed(&self, operation: &Operation, variants: VariantMask) -> Vec<(String, Vec<ScopeId>)> {
        let first = || self.catalog.kinds[0].name.to_string();
        let Needs::Lines(vocabularies) = &operation.needs else { return vec![(first(), vec![self.catalog.gate_call])] };
        let scopes = |lines: &VocabularyLines| -> Option<Vec<ScopeId>> {
            let mut needed = BTreeSet::new();
            for one in variants.each() {
                let counts = |line: &&Line| line.when.intersects(one);
                needed.extend(lines.lines.iter().find(counts)?.scopes.iter().copied());
            }
            // No shape has a place that asks for more.
            let absent = operation.extra_sources.iter().map(|source| source.absent);
            needed.extend(operation.extra_scopes(absent.fold(ExtraMask::NONE, ExtraMask::and), lines.vocabulary));
            Some(needed.into_iter().collect())
        };
        let usable = vocabularies.iter().filter_map(|lines| {
            let kind = self.catalog.kinds.iter().find(|kind| kind.vocabularies.contains(lines.vocabulary))?;
            Some((kind.name.to_string(), scopes(lines)?))
        });
        usable.collect()
    }

    /// The variants that a request in this shape may be.
    fn variants(&self, operation: &Operation, shape: &Shape) -> VariantMask {
        let all = places(operation);
        let sources = operation.variant_sources.iter().map(|source| source.absent.0);
        let said = sources.fold(operation.variants.0, |may_be, absent| may_be & absent);
        let channel = shape.places.iter().any(|number| all[*number].reading == Reading::Conversation);
        match operation.variants {
            VariantMask::ALL => VariantMask(1),
            _ if channel && !shape.open => VariantMask(said & self.world.channels(operation).0),
            _ => VariantMask(said),
        }
    }

    /// Asks the same of one app for each vocabulary and each scope that its terms may take: it is granted what that
    /// vocabulary's line needs, and no more.
    fn case(
        &mut self,
        operation: &Operation,
        about: &'static str,
        shape: &Shape,
        which: &dyn Fn(usize) -> Which,
        terms: &Terms,
        reason: Option<&'static str>,
    ) {
        let needed = match operation.needs {
            Needs::Unknown => vec![(self.catalog.kinds[0].name.to_string(), Vec::new())],
            Needs::None { .. } | Needs::Lines(_) => self.needed(operation, self.variants(operation, shape)),
        };
        assert!(!needed.is_empty(), "no credential can ask for {}", operation.id);
        let text = ask(self.world, operation, shape, which);
        let mut kinds = BTreeSet::new();
        for (kind, mut scopes) in needed {
            let other_lines = !kinds.insert(kind.clone());
            scopes.extend(operation.guards.iter().copied());
            let takes: Vec<Option<ScopeId>> = match terms {
                Terms::RevokedIn(_) | Terms::Revoked => revocable(operation, &scopes).into_iter().map(Some).collect(),
                Terms::In(_) | Terms::All | Terms::Whatever => vec![None],
            };
            for revoked in takes {
                let app = App { kind: kind.clone(), scopes: scopes.clone(), terms: terms.clone(), revoked };
                let next = self.apps.len();
                let number = *self.apps.entry(app).or_insert(next);
                let text = text.clone().bearer(&format!("app{number}")).text();
                let operation = operation.id.to_string();
                self.cases.push(Case { operation, about, text, reason, other_lines });
            }
        }
    }

    /// The apps as policy documents.
    fn policies(&self, mut setup: Setup) -> Setup {
        let documents: Vec<String> =
            self.apps.iter().map(|(app, number)| document(self.catalog, app, *number)).collect();
        for (index, some) in documents.chunks(APPS_PER_FILE).enumerate() {
            setup = setup.policy(&format!("{index}.yaml"), &some.join("---\n"));
        }
        setup
    }

    /// Each request was judged as the operation that it was made from, and as no other.
    fn judged_as_themselves(&self, gate: &Gate) {
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        // What is refused for its tenant or for what cannot be read is told without its operation.
        let without = ["unknown_tenant", "bad_request"];
        let told = |case: &&Case| !case.reason.is_some_and(|reason| without.contains(&reason));
        for case in self.cases.iter().filter(told) {
            *asked.entry(&case.operation).or_default() += 1;
        }
        let lines = gate.log.lines(self.cases.len());
        let mut judged: BTreeMap<&str, usize> = BTreeMap::new();
        for line in lines.iter().filter(|line| !without.iter().any(|reason| line["reason"] == **reason)) {
            *judged.entry(line["operation"].as_str().unwrap_or("none")).or_default() += 1;
        }
        for (operation, count) in &asked {
            assert_eq!(judged.get(operation), Some(count), "{operation}");
        }
        assert_eq!(judged.len(), asked.len());
    }

    /// Said past the harness, which keeps what a test prints to itself.
    fn tell(&self, [refused, hidden, passed]: [usize; 3], (questions, things): (usize, usize)) {
        let count = |sort| self.counts.get(&sort).copied().unwrap_or_default();
        let line = format!(
            "{}{}: {} operations: {} named, {} looked up, {} jobs, {} tenant, {} nothing, {} needs unknown; {} apps, \
             {refused} requests refused, {hidden} not found, {passed} passed; {questions} questions about {things} things\n",
            self.catalog.product,
            if self.world.opt_outs { "" } else { " without opt-outs" },
            self.catalog.operations.len(),
            count(Sort::Named),
            count(Sort::LookedUp),
            count(Sort::Job),
            count(Sort::Tenant),
            count(Sort::Nothing),
            count(Sort::NeedsUnknown),
            self.apps.len(),
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Scopes each of which, revoked, takes an operation from whoever was granted these: one of them, its guards, and one of
/// every vocabulary that has a single line, whether or not the credential can use it.
fn revocable(operation: &Operation, granted: &[ScopeId]) -> BTreeSet<ScopeId> {
    let mut scopes: BTreeSet<ScopeId> = granted.first().into_iter().chain(&operation.guards).copied().collect();
    if let Needs::Lines(vocabularies) = &operation.needs {
        for lines in vocabularies {
            if let [Line { scopes: only, when: VariantMask::ALL }] = &*lines.lines {
                scopes.extend(only.first());
            }
        }
    }
    scopes
}

/// Asks everything, and says what came out otherwise.
fn run(gate: &Gate, cases: &[Case]) -> Vec<String> {
    let share = cases.len().div_ceil(CLIENTS).max(1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = cases.chunks(share).map(|share| scope.spawn(|| converse(gate, share))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    })
}

fn converse(gate: &Gate, cases: &[Case]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut client = gate.connect();
    // Nothing is sent behind a body: the gate closes where it refuses before it has read one.
    let is_end = |case: &Case| !case.text.ends_with("\r\n\r\n");
    for batch in cases.chunks(BATCH).flat_map(|batch| batch.split_inclusive(is_end)) {
        let mut left = batch;
        while !left.is_empty() {
            client.send(&left.iter().map(|case| &*case.text).collect::<String>());
            while let Some((case, rest)) = left.split_first() {
                let answer = client.answer();
                failures.extend(case.otherwise(&answer));
                left = rest;
                if answer.field("connection") == Some("close") {
                    client = gate.connect();
                    break;
                }
            }
        }
    }
    failures
}

impl Case {
    /// What came, where another answer is due.
    fn otherwise(&self, answer: &Answer) -> Option<String> {
        let told = answer.reason();
        let as_due = match (self.reason, told) {
            (None, None) => answer.status == 200 && answer.body == "ok",
            (Some("container_not_granted"), Some("missing_scope")) if self.other_lines => true,
            // What was told proves nothing here, and what is said of it is what is said of things that are not there.
            (Some(UNRESOLVED), Some(NOT_FOUND)) => true,
            (Some(due), Some(told)) => due == told && answer.has("x-scopegate-decision: "),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let Self { operation, about, text, reason, .. } = self;
        let came = || format!("{operation}: {about}: {reason:?} is due, {} {told:?} came: {text:?}", answer.status);
        (!as_due).then(came)
    }
}
