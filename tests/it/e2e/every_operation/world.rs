//! What stands behind the gate: two containers of each kind, things that lie in the one or the other, and what the
//! product says of either when it is asked. All of it comes of the catalog: its look-ups say what is asked, and where an
//! answer names what.

use std::collections::BTreeMap;
use std::sync::Arc;

use scopegate::authz::catalog::compact::AnswerReading;
use scopegate::authz::catalog::jobs::NamedAt;
use scopegate::authz::catalog::lookups::{Answer, HomeAt, Lookup, LookupId, Tells};
use scopegate::authz::catalog::matcher::Found;
use scopegate::authz::catalog::{Catalog, ContainerKind, KindId, Operation, Place, Reading, VariantMask};
use serde_json::{Value, json};

use super::asking::{link_to, places, put};
use crate::support::upstream::{Received, Reply, StubUpstream};

/// Which of the two containers of a kind a place names, or in which of them lies what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    A,
    B,
    /// In neither: the product knows none such.
    Absent,
}

/// How a place names its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelled {
    /// By a name or id of its own, or by the key of an issue in it.
    Name,
    /// By something in it, of which the product says so in one of several ways.
    Thing(usize),
}

/// How a policy writes a container that is found by a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Id,
    Name,
}

pub struct World {
    pub catalog: Arc<Catalog>,
    /// The gate takes names, issues' keys and channels' first letters for what they seem to say.
    pub opt_outs: bool,
}

/// Whether it is one of the gate's own questions.
pub fn is_question(received: &Received) -> bool {
    received.field("user-agent") == Some("scopegate")
}

/// The target of a request.
pub fn target(received: &Received) -> &str {
    received.line().split(' ').nth(1).expect("a target")
}

/// What the containers of a kind are called, by name and by id: the two that are there, and one that is not.
fn words(product: &str, kind: &str) -> ([&'static str; 3], [&'static str; 3]) {
    match (product, kind) {
        ("jira", "project") | ("confluence", "space") => (["AAA", "BBB", "ZZZ"], ["1001", "1002", "1009"]),
        ("bitbucket", "workspace") => (["acme", "other", "none"], ["{e1}", "{e2}", "{e9}"]),
        ("buddy", "workspace") => (["acme", "other", "none"], ["", "", ""]),
        ("bitbucket", "project") => (["AAA", "BBB", "ZZZ"], ["{C1}", "{C2}", "{C9}"]),
        ("buddy", "project") => (["AAA", "BBB", "ZZZ"], ["", "", ""]),
        ("bitbucket", "repository") => (["aaa", "bbb", "zzz"], ["{a1}", "{a2}", "{a9}"]),
        ("buddy", "pipeline") => (["", "", ""], ["1001", "1002", "1009"]),
        ("slack", "channel") => (["", "", ""], ["C0AAA", "C0BBB", "C0ZZZ"]),
        other => panic!("what are containers called of {other:?}?"),
    }
}

impl World {
    fn kind(&self, kind: KindId) -> &ContainerKind {
        &self.catalog.containers[usize::from(kind.0)]
    }

    fn lookup(&self, id: LookupId) -> &Lookup {
        &self.catalog.lookups[usize::from(id.0)]
    }

    fn words(&self, kind: KindId) -> ([&'static str; 3], [&'static str; 3]) {
        words(&self.catalog.product, &self.kind(kind).name)
    }

    /// The same, as an operation takes them.
    fn words_for(&self, operation: &Operation, place: &Place) -> ([&'static str; 3], [&'static str; 3]) {
        match place.reading {
            Reading::Conversation if self.channels(operation) != self.variant("public") => {
                (["", "", ""], ["D0AAA", "D0BBB", "D0ZZZ"])
            }
            _ => self.words(place.kind),
        }
    }

    fn variant(&self, name: &str) -> VariantMask {
        let bit = self.catalog.variants.iter().position(|variant| &**variant == name);
        bit.map_or(VariantMask::ALL, |bit| VariantMask(1 << bit))
    }

    /// The type of the channels that an operation is asked for: public ones, if it takes such.
    pub fn channels(&self, operation: &Operation) -> VariantMask {
        let public = self.variant("public");
        if operation.variants.intersects(public) { public } else { self.variant("im") }
    }

    /// Whether what stands at a place of this sort is an id where it is a container's own.
    fn is_by_id(&self, place: &Place) -> bool {
        // Where some places tell keys from ids, the others hold ids.
        let tells = || {
            let mut all = self.catalog.operations.iter().flat_map(places);
            all.any(|one| one.kind == place.kind && one.reading == Reading::Key)
        };
        match place.reading {
            Reading::Key | Reading::IssueKey | Reading::IssueMention | Reading::MoveTarget => false,
            Reading::FullName | Reading::Revisions => false,
            Reading::Jql | Reading::Cql => false,
            Reading::Conversation => true,
            Reading::Container => self.kind(place.kind).key.is_none() || tells(),
        }
    }

    /// Every way to fill a place.
    pub fn spellings(&self, place: &Place) -> Vec<Spelled> {
        let Some(lookup) = place.lookup.filter(|_| !place.present_is_tenant) else { return vec![Spelled::Name] };
        // A number may be of anything.
        if place.reading == Reading::IssueMention {
            return vec![Spelled::Name];
        }
        // An issue has a key beside its number.
        let key = (place.reading == Reading::IssueKey).then_some(Spelled::Name);
        key.into_iter().chain((0..self.ways(lookup)).map(Spelled::Thing)).collect()
    }

    /// Whether the container of a place can be found by a look-up alone.
    pub fn is_asked(&self, place: &Place, spelled: Spelled) -> bool {
        match spelled {
            Spelled::Thing(_) => true,
            Spelled::Name if self.opt_outs => false,
            Spelled::Name if place.lookup.is_some() => true,
            Spelled::Name => !self.is_by_id(place) && self.kind(place.kind).lookup.is_some(),
        }
    }

    /// Whether an id beside names in a policy is asked about: by its name it may be one of those.
    pub fn has_other_name(&self, place: &Place, spelled: Spelled) -> bool {
        spelled == Spelled::Name && self.is_by_id(place) && self.kind(place.kind).lookup.is_some()
    }

    /// Whether a policy may write the container of such a place either way.
    pub fn has_both_forms(&self, place: &Place) -> bool {
        let (names, ids) = self.words(place.kind);
        self.opt_outs && !names[0].is_empty() && !ids[0].is_empty()
    }

    /// Where the product says at last where a thing lies, and by which of those places. `None`: it is no thing.
    fn homes(&self, place: &Place, spelled: Spelled) -> Option<(&[HomeAt], usize)> {
        let (Spelled::Thing(mut way), Some(mut lookup)) = (spelled, place.lookup) else { return None };
        loop {
            match &self.lookup(lookup).tells {
                Tells::Homes(homes) => return Some((homes, way)),
                Tells::Then(then) => (lookup, way) = (then[way].0, 0),
            }
        }
    }

    /// Whether the product says where a thing lies in a query, whose words are no proof that they name nothing else.
    pub fn is_by_query(&self, place: &Place, spelled: Spelled) -> bool {
        let homes = self.homes(place, spelled);
        homes.is_some_and(|(homes, _)| homes.iter().any(|home| home.reading == Some(AnswerReading::Jql)))
    }

    /// Whether the id of its container is found.
    pub fn proves_id(&self, place: &Place, spelled: Spelled) -> bool {
        let by_id = self.homes(place, spelled).is_none_or(|(homes, way)| homes[way].id.is_some());
        by_id && !self.is_by_query(place, spelled)
    }

    /// What a policy calls the container of a place.
    pub fn container(
        &self,
        operation: &Operation,
        place: &Place,
        spelled: Spelled,
        which: Which,
        form: Form,
    ) -> &'static str {
        let (names, ids) = self.words_for(operation, place);
        let by_id = match self.is_asked(place, spelled) {
            true => {
                let by_id = form == Form::Id && self.proves_id(place, spelled) && !ids[0].is_empty();
                names[0].is_empty() || by_id
            }
            false => self.is_by_id(place),
        };
        (if by_id { ids } else { names })[which as usize]
    }

    /// The text that stands at a place.
    pub fn text(&self, operation: &Operation, place: &Place, spelled: Spelled, which: Which) -> String {
        let (names, ids) = self.words_for(operation, place);
        let name = (if self.is_by_id(place) { ids } else { names })[which as usize];
        match (spelled, place.lookup, place.reading) {
            _ if place.present_is_tenant => "7".to_owned(),
            (Spelled::Thing(way), Some(lookup), _) => self.thing(lookup, which, way),
            (_, _, Reading::Container | Reading::Key | Reading::Conversation) => name.to_owned(),
            (_, _, Reading::IssueKey | Reading::IssueMention) => issue(name),
            (_, _, Reading::MoveTarget) => format!("{name},10001"),
            (_, _, Reading::FullName) => format!("acme/{name}"),
            (_, _, Reading::Revisions) => format!("acme/{name}:4f1c..main"),
            (_, _, Reading::Jql) => format!("project = {name}"),
            (_, _, Reading::Cql) => format!("space = {name}"),
        }
    }

    /// In how many ways an answer may tell where a thing lies.
    fn ways(&self, lookup: LookupId) -> usize {
        match &self.lookup(lookup).tells {
            Tells::Homes(homes) => homes.len(),
            Tells::Then(next) => next.len(),
        }
    }

    /// A thing that only this look-up knows. Its name says where it lies, and in which way the answer tells.
    fn thing(&self, lookup: LookupId, which: Which, way: usize) -> String {
        let number = 10_000 + 100 * usize::from(lookup.0) + 10 * way + which as usize;
        let names = [number.to_string(), format!("F{number}"), format!("C{number}"), format!("{{{number}}}")];
        let asked = self.lookup(lookup);
        names.into_iter().find(|name| asked.may_be_called(name)).unwrap_or_else(|| panic!("{}", asked.name))
    }

    /// What the product answers to each question that may come, by its target.
    pub fn answers(&self) -> BTreeMap<String, String> {
        let mut answers = BTreeMap::new();
        for (number, lookup) in self.catalog.lookups.iter().enumerate() {
            let id = LookupId(u8::try_from(number).expect("few look-ups"));
            let (names, ids) = self.words(lookup.kind);
            let of_kinds = self.catalog.containers.iter().any(|kind| [kind.lookup, kind.lookup_id].contains(&Some(id)));
            for which in [Which::A, Which::B, Which::Absent] {
                let things = (0..self.ways(id)).map(|way| (self.thing(id, which, way), way));
                let own = [names, ids].map(|words| (words[which as usize].to_owned(), 0));
                let own = own.into_iter().filter(|_| of_kinds).chain([(issue(names[which as usize]), 0)]);
                for (name, way) in things.chain(own.filter(|(name, _)| lookup.may_be_called(name))) {
                    let target = lookup.target.of("acme", &name);
                    let answer = match which {
                        Which::A | Which::B => said("200 OK", &self.answer(lookup, which, way)),
                        Which::Absent => absent(lookup, &target),
                    };
                    assert!(answers.insert(target, answer).is_none(), "{}: {name}", lookup.name);
                }
            }
        }
        answers
    }

    fn answer(&self, lookup: &Lookup, which: Which, way: usize) -> Value {
        let mut answer = json!({"what else": ["there", "is"]});
        if let Some(ok) = &lookup.ok {
            put(&mut answer, ok, Value::Bool(true));
        }
        match &lookup.tells {
            Tells::Homes(homes) => {
                // A query is there in any case: without one all is found.
                let of_query = |home: &&HomeAt| home.reading == Some(AnswerReading::Jql);
                for home in homes.iter().filter(of_query).chain([&homes[way]]) {
                    self.put_home(&mut answer, lookup.kind, home, which);
                }
            }
            Tells::Then(next) => {
                let (lookup, at) = &next[way];
                put(&mut answer, at, Value::from(self.thing(*lookup, which, 0)));
            }
        }
        // All that are asked about are public.
        let public = self.variant("public");
        if let Some((at, _)) = lookup.variants.iter().find(|(_, means)| *means == public) {
            put(&mut answer, at, Value::Bool(true));
        }
        answer
    }

    fn put_home(&self, answer: &mut Value, kind: KindId, home: &HomeAt, which: Which) {
        let (names, ids) = self.words(kind);
        let (name, id) = (names[which as usize], ids[which as usize]);
        if let Some(at) = &home.id {
            put(answer, at, Value::from(id));
        }
        if let Some(at) = &home.key {
            let text = match home.reading {
                None => name.to_owned(),
                Some(AnswerReading::IssueKey) => issue(name),
                Some(AnswerReading::Jql) => format!("project = {name}"),
            };
            put(answer, at, Value::from(text));
        }
    }

    /// The product: it says what it is asked, and takes the rest.
    pub fn upstream(&self) -> StubUpstream {
        let answers = self.answers();
        StubUpstream::start(move |received| match is_question(received) {
            true => answers.get(target(received)).map_or(Reply::Close, |answer| Reply::raw(answer)),
            false => Reply::ok("ok"),
        })
    }

    /// The same product, which carries out what it is asked later: its answer names the job as that request says, in the way
    /// of the operation that it is.
    pub fn upstream_with_jobs(&self) -> StubUpstream {
        let (answers, catalog) = (self.answers(), Arc::clone(&self.catalog));
        StubUpstream::start(move |received| match (is_question(received), received.field(JOB_FIELD)) {
            (true, _) => answers.get(target(received)).map_or(Reply::Close, |answer| Reply::raw(answer)),
            (false, Some(job)) => Reply::raw(&started(&catalog, received, job)),
            (false, None) => Reply::ok("ok"),
        })
    }
}

/// The field in which a request says what the job that it starts shall be called.
pub const JOB_FIELD: &str = "x-test-job";

/// How the answer to such a request names its job.
fn started(catalog: &Catalog, received: &Received, id: &str) -> String {
    let method = received.line().split(' ').next().expect("a method").parse().expect("a method");
    let path = target(received).split('?').next().expect("a path");
    let Found::Operation(matched) = catalog.matcher.find(&method, path) else { panic!("{path}") };
    let operation = &catalog.operations[usize::from(matched.operation.0)];
    let start = operation.starts.as_ref().expect("it starts a job");
    let mut fetching = catalog.operations.iter().filter(|one| one.method == http::Method::GET);
    let fetching = fetching.find(|one| one.fetches.as_ref().is_some_and(|fetch| fetch.job == start.job));
    let link = || link_to(catalog, fetching.expect("something asks about it"), id);
    let pointer = |names: &[Box<str>]| names.iter().map(|name| format!("/{name}")).collect::<String>();
    let mut body = Value::Null;
    match &start.at {
        NamedAt::Location => {
            return format!("HTTP/1.1 303 See Other\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", link());
        }
        NamedAt::Answer(names) => put(&mut body, &pointer(names), Value::from(id)),
        NamedAt::Link(names) => put(&mut body, &pointer(names), Value::from(link())),
    }
    said("201 Created", &body)
}

fn issue(project: &str) -> String {
    format!("{project}-1")
}

fn said(status: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// How the product says that there is none: as its dialect has it, or with an empty list where it was asked to search.
fn absent(lookup: &Lookup, target: &str) -> String {
    let list = match &lookup.tells {
        Tells::Homes(homes) => homes.iter().find_map(|home| home.id.as_deref()?.split_once("/*")),
        Tells::Then(_) => None,
    };
    match (&lookup.ok, list) {
        (Some(ok), _) => {
            let mut answer = Value::Null;
            put(&mut answer, ok, Value::Bool(false));
            let errors = lookup.errors.as_ref().expect("beside `ok`");
            let none = errors.words.iter().find(|(_, means)| *means == Answer::Nowhere).expect("a word for that");
            put(&mut answer, &errors.at, Value::from(&*none.0));
            said("200 OK", &answer)
        }
        (None, Some((list, _))) if target.contains('?') => {
            let mut answer = Value::Null;
            put(&mut answer, list, json!([]));
            said("200 OK", &answer)
        }
        (None, _) => said("404 Not Found", &json!({})),
    }
}
