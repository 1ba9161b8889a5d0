//! Law 7 and its neighbours as properties: files change one by one, cut anywhere, broken, gone and back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Change, Content, Store};
use crate::authz::catalog::{KindId, OperationId, VariantMask, VocabularySet};
use crate::authz::judge::{Mode, Question, passes};
use crate::authz::pins::Pins;
use crate::authz::policy::Policy;
use crate::authz::policy::app::ProductId;
use crate::authz::policy::condition::{Actor, CallerFacts};
use crate::authz::policy::file::Origin;
use crate::authz::policy::link::{Secrets, link};
use crate::authz::touch::{ContainerList, ContainerName, ContainerRef, Reach, Touched};
use crate::authz::toy::{OPERATION_IDS, Toy};

const NOW_MS: i64 = 1_800_000_000_000;
const FILES: [&str; 6] = ["a.yaml", "b.yaml", "b2.yaml", "set.yaml", "rail.yaml", "act.yaml"];
const CONTAINERS: [&str; 2] = ["PROJ", "HR"];

fn app(name: &str, digest: char, rules: &str) -> String {
    let digest: String = Sha256::digest(digest.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version: 1\napp: toy/{name}\nname: {name}\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials:\n      \
         - {{method: token, sha256: \"{digest}\", kind: person}}\n{rules}"
    )
}

/// What a file may say. Some need a set, some claim a credential that another has too, some only add to an app.
fn texts(file: &str) -> Vec<String> {
    let read = "grants:\n  - {scopes: [READ], actors: [app], in: all}\n";
    let write = "grants:\n  - {scopes: [WRITE, 'x:write'], actors: [app], in: all}\n";
    let quiet = "revocations:\n  - {scopes: [WRITE], in: {project: ['set:s']}, reason: r}\n";
    let here = |grants: &str| grants.replace("in: all", "in: all, tenants: [acme]");
    match file {
        "a.yaml" => vec![
            app("a", '1', read),
            app("a", '1', &format!("{write}{quiet}")),
            app("a", '2', write),
            app("a", '1', ""),
            app("a", '1', &format!("{write}---\nversion: 1\nset: s\ntenant: acme\nproject: [PROJ, HR]\n")),
        ],
        "b.yaml" => vec![
            app("b", '2', read),
            app("b", '2', &format!("{write}revocations:\n  - {{scopes: [READ], in: {{project: [HR]}}, reason: r}}\n")),
            app("b", '2', ""),
        ],
        "b2.yaml" => vec![
            format!("version: 1\napp: toy/b\n{}", here("grants:\n  - {scopes: [ADMIN], actors: [app], in: all}\n")),
            "version: 1\napp: toy/b\nrevocations:\n  - {scopes: [WRITE], in: all, reason: r}\n".to_owned(),
            format!("version: 1\napp: toy/b\n{quiet}"),
        ],
        "set.yaml" => [("PROJ", "s"), ("HR", "s"), ("PROJ", "t")]
            .map(|(project, name)| format!("version: 1\nset: {name}\ntenant: acme\nproject: [{project}]\n"))
            .into(),
        "rail.yaml" => vec![
            "version: 1\nguardrail: g\napps: {product: toy, except: [toy/a]}\ntenants: all\nrevocations:\n  \
             - {scopes: [ADMIN], in: all, reason: r}\n"
                .to_owned(),
            format!("version: 1\nguardrail: g\napps: all\ntenants: all\n{}", quiet.replace("WRITE", "READ")),
        ],
        _ => vec![
            "version: 1\napp: toy/b\nrevocations:\n  - {scopes: [READ], in: all, reason: r}\n".to_owned(),
            format!("version: 1\napp: toy/a\n{}", here(read)),
            "version: 1\napp: toy/nobody\nrevocations:\n  - {scopes: [READ], in: all, reason: r}\n".to_owned(),
            "version: 1\napp: toy/a\nsuspensions: [{tenants: [acme], reason: r}]\n".to_owned(),
            "version: 1\nguardrail: act\napps: [toy/a]\ntenants: all\nrevocations:\n  \
             - {scopes: ['x:write'], in: all, reason: r}\n"
                .to_owned(),
        ],
    }
}

/// What becomes of one file.
#[derive(Debug, Clone)]
enum Act {
    Says(usize),
    /// Only so many lines of it.
    Cut(usize, usize),
    Broken,
    Unreadable,
    Gone,
}

#[derive(Debug, Clone)]
enum Step {
    Change(usize, Act),
    Settle,
}

const ACTS: [&str; 3] = ["act-1.yaml", "act-2.yaml", "act-3.yaml"];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..5_usize).prop_map(Act::Says),
        3 => (0..5_usize, 0..16_usize).prop_map(|(text, lines)| Act::Cut(text, lines)),
        1 => Just(Act::Broken),
        1 => Just(Act::Unreadable),
        2 => Just(Act::Gone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => (0..FILES.len(), act()).prop_map(|(file, act)| Step::Change(file, act)), 1 => Just(Step::Settle)]
}

fn content(file: &str, act: &Act) -> Content {
    let texts = texts(file);
    match act {
        Act::Says(number) => Content::Text(texts[number % texts.len()].as_str().into()),
        Act::Cut(number, lines) => {
            let text = &texts[number % texts.len()];
            Content::Text(text.split_inclusive('\n').take(*lines).collect::<String>().into())
        }
        Act::Broken => Content::Text("version: 1\napp: [".into()),
        Act::Unreadable => Content::Unreadable("cannot be read: permission denied".to_owned()),
        Act::Gone => Content::Gone,
    }
}

fn origin(file: &str) -> Origin {
    if file == "act.yaml" { Origin::Override } else { Origin::Policy }
}

fn change(file: &str, content: Content) -> Change {
    Change { file: Path::new(file).into(), origin: origin(file), content }
}

/// Every (app, operation, reach) that a policy permits.
fn permitted(toy: &Toy, policy: &Policy) -> BTreeSet<(String, usize, usize)> {
    let mut permitted = BTreeSet::new();
    for (index, app) in (0..).zip(&policy.apps) {
        for operation in 0..OPERATION_IDS.len() {
            for reach in 0..2 + CONTAINERS.len() {
                let touched = Touched::plain(reached(reach), VariantMask(0b111));
                let Some(installation) = app.installations.first() else { continue };
                let question = Question {
                    catalog: &toy.catalog,
                    policy,
                    product: ProductId(0),
                    app: Some((index, app)),
                    caller: CallerFacts {
                        tenant: "acme",
                        installation: Some(installation),
                        actor: Actor::App,
                        user: None,
                        groups: None,
                        pipeline: None,
                        now_ms: NOW_MS,
                        gives_ms: NOW_MS,
                    },
                    vocabularies: VocabularySet::ALL,
                    operation: OperationId(u16::try_from(operation).unwrap()),
                    touched: &touched,
                    pins: Pins::none(),
                    answer_guard: None,
                    names_as_written: false,
                };
                if passes(&question, Mode::Enforced) {
                    permitted.insert((app.name.to_string(), operation, reach));
                }
            }
        }
    }
    permitted
}

fn reached(number: usize) -> Reach<'static> {
    match number {
        0 => Reach::Nothing,
        1 => Reach::Tenant,
        number => Reach::Containers(ContainerList::one(ContainerRef {
            kind: KindId(0),
            name: ContainerName::Name(CONTAINERS[number - 2].into()),
        })),
    }
}

/// What a snapshot permits: nothing before it has states, and then what all of them permit.
fn in_force(toy: &Toy, store: &mut Store) -> BTreeSet<(String, usize, usize)> {
    let Some(states) = store.snapshot(&Secrets::new()).states else { return BTreeSet::new() };
    let newest = permitted(toy, &states.newest);
    match &states.whole {
        Some(whole) => newest.intersection(&permitted(toy, whole)).cloned().collect(),
        None => newest,
    }
}

/// A store that is given these files at once and settles; `None` if anything is wrong with them.
fn fresh(toy: &Toy, files: &BTreeMap<&'static str, Content>) -> Option<Store> {
    let mut store = Store::new(Arc::clone(&toy.catalogs));
    store.apply(files.iter().map(|(file, content)| change(file, content.clone())).collect(), NOW_MS);
    let sound = !store.problems().iter().any(crate::problem::Problem::is_error);
    store.settle();
    sound.then_some(store)
}

fn readable(toy: &Toy, file: &'static str, content: &Content) -> bool {
    let mut store = Store::new(Arc::clone(&toy.catalogs));
    store.take(vec![change(file, content.clone())], NOW_MS);
    store.entries.values().all(|entry| entry.waits())
}

/// What a policy says, comparably.
fn said(policy: &Policy, products: usize) -> String {
    let mut text = format!("{:#?}", policy.apps);
    for product in (0..products).filter_map(|id| policy.product(ProductId(id as u8))) {
        let mut known: Vec<String> = product.credentials.by_digest.values().map(|known| format!("{known:?}")).collect();
        known.sort();
        text.push_str(&format!("{known:?} {:#?}", product.guardrails));
    }
    text
}

/// However the newest state was linked, it is what linking all of it gives.
fn is_as_linked_whole(store: &Store) -> Result<(), TestCaseError> {
    let Some(newest) = &store.newest else { return Ok(()) };
    let (policy, findings) = link(&store.catalogs, &store.secrets, &store.inputs(|_| false));
    let products = store.catalogs.iter().count();
    prop_assert_eq!(said(newest, products), said(&policy, products));
    let texts = |problems: &[crate::problem::Problem]| {
        problems.iter().map(|problem| format!("{problem:?}")).collect::<BTreeSet<_>>()
    };
    if store.faults.is_empty() {
        prop_assert_eq!(texts(&store.warnings), texts(&findings.warnings));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn between_two_whole_states_only_what_both_permit_passes(steps in prop::collection::vec(step(), 1..24)) {
        let toy = Toy::new();
        let mut store = Store::new(Arc::clone(&toy.catalogs));
        let mut files: BTreeMap<&'static str, Content> = BTreeMap::new();
        // What the last whole state said of the policy, and the last readable override.
        let mut whole: Option<BTreeMap<&'static str, Content>> = None;
        let mut act: Option<Content> = None;
        for step in steps {
            match step {
                Step::Change(number, act_of_file) => {
                    let file = FILES[number];
                    let content = content(file, &act_of_file);
                    store.apply(vec![change(file, content.clone())], NOW_MS);
                    if origin(file) == Origin::Override && readable(&toy, file, &content) {
                        act = Some(content.clone());
                    }
                    files.insert(file, content);
                }
                Step::Settle => {
                    store.settle();
                    if !store.is_waiting() {
                        whole = Some(files.iter().filter(|(file, _)| **file != "act.yaml").map(|(file, content)| (*file, content.clone())).collect());
                    }
                }
            }
            is_as_linked_whole(&store)?;
            let passes = in_force(&toy, &mut store);
            // Nothing passes before a whole state, nor what the last whole state refuses. What an override gives or
            // takes stands over both, so both ways of reading it are allowed here.
            let Some(whole) = &whole else { prop_assert!(passes.is_empty()); continue };
            let mut allowed = fresh(&toy, whole).map(|mut store| in_force(&toy, &mut store)).unwrap_or_default();
            if let Some(act) = &act {
                let with = whole.iter().map(|(file, content)| (*file, content.clone())).chain([("act.yaml", act.clone())]);
                allowed.extend(fresh(&toy, &with.collect()).map(|mut store| in_force(&toy, &mut store)).unwrap_or_default());
            }
            let opened: Vec<_> = passes.difference(&allowed).filter(|(app, ..)| app != "toy/a" || act.is_none()).collect();
            prop_assert!(opened.is_empty(), "{opened:?}\n{:#?}", store.problems());
            // What can be read and fits together is in force as it stands, wherever it came from.
            if let Some(mut now) = fresh(&toy, &files) {
                let newest = in_force(&toy, &mut now);
                prop_assert!(passes.is_subset(&newest), "{:?}", passes.difference(&newest).collect::<Vec<_>>());
                prop_assert!(store.problems().iter().all(|problem| !problem.is_error()), "{:#?}", store.problems());
                prop_assert!(store.is_readable());
            }
        }
    }

    /// Acts that come, change and go are linked alone; that must not be seen.
    #[test]
    fn acts_are_linked_as_if_all_were(steps in prop::collection::vec((3_usize..8, act()), 1..24)) {
        let toy = Toy::new();
        let mut store = Store::new(Arc::clone(&toy.catalogs));
        let policies = FILES.iter().filter(|file| origin(file) == Origin::Policy);
        store.apply(policies.map(|file| change(file, content(file, &Act::Says(1)))).collect(), NOW_MS);
        store.settle();
        for (number, act) in steps {
            // Mostly acts, of which several stand at once.
            let (file, says) = match number {
                3 | 4 => (FILES[number], content(FILES[number], &act)),
                number => (ACTS[number - 5], content("act.yaml", &act)),
            };
            let origin = if number < 5 { Origin::Policy } else { Origin::Override };
            let change = Change { file: Arc::from(Path::new(file)), origin, content: says };
            store.apply(vec![change], NOW_MS);
            is_as_linked_whole(&store)?;
        }
    }

    /// Law 3: whatever is wrong elsewhere, a file that names one app and fits by itself is in force at once.
    #[test]
    fn no_other_file_delays_what_an_app_loses(steps in prop::collection::vec(step(), 1..24), last in 0..3_usize) {
        let toy = Toy::new();
        let mut store = Store::new(Arc::clone(&toy.catalogs));
        store.apply(vec![change("b.yaml", content("b.yaml", &Act::Says(0)))], NOW_MS);
        store.settle();
        for step in steps {
            match step {
                // Neither the other half of the app nor one who claims its credential: those may hold it up.
                Step::Change(1 | 2 | 5, _) | Step::Change(0, Act::Says(2) | Act::Cut(2, _)) => {}
                Step::Change(number, act) => {
                    let file = FILES[number];
                    store.apply(vec![change(file, content(file, &act))], NOW_MS);
                }
                Step::Settle => { store.settle(); }
            }
        }
        let said = content("b.yaml", &Act::Says(last));
        store.apply(vec![change("b.yaml", said.clone())], NOW_MS);
        let alone = fresh(&toy, &BTreeMap::from([("b.yaml", said)])).map(|mut store| in_force(&toy, &mut store)).unwrap();
        let passes = in_force(&toy, &mut store);
        let opened: Vec<_> = passes.iter().filter(|cell| cell.0 == "toy/b" && !alone.contains(*cell)).collect();
        prop_assert!(opened.is_empty(), "{opened:?}");
    }
}

#[test]
fn a_file_of_an_app_that_went_is_blamed_and_no_other_app() {
    let toy = Toy::new();
    let mut store = Store::new(Arc::clone(&toy.catalogs));
    let bare = app("a", '1', "");
    let (head, installed) = bare.split_once("installations:").unwrap();
    let rules = "grants:\n  - {scopes: [READ], actors: [app], in: all, tenants: [acme]}\n";
    let text = |text: String| Content::Text(text.into());
    let b = |number| change("b.yaml", content("b.yaml", &Act::Says(number)));
    let here = change("here.yaml", text(format!("version: 1\napp: toy/a\ninstallations:{installed}")));
    store.apply(vec![change("a.yaml", text(format!("{head}{rules}"))), here, b(0)], NOW_MS);
    assert!(store.settle(), "{:#?}", store.problems());
    let gone = change("here.yaml", Content::Gone);
    let other = change("a.yaml", text(format!("{head}{}", rules.replace("READ", "WRITE"))));
    store.apply(vec![gone, other, b(2)], NOW_MS);
    let passes = in_force(&toy, &mut store);
    assert!(passes.iter().any(|cell| cell.0 == "toy/a"), "in its last good form");
    assert!(!passes.iter().any(|cell| cell.0 == "toy/b"), "its loss is in force");
}

#[test]
fn two_faults_of_one_cause_blame_nobody_else() {
    let toy = Toy::new();
    let mut store = Store::new(Arc::clone(&toy.catalogs));
    let says = |file: &str, number| change(file, content(file, &Act::Says(number)));
    store.apply(vec![says("set.yaml", 0), says("a.yaml", 1), says("rail.yaml", 1), says("b.yaml", 0)], NOW_MS);
    assert!(store.settle(), "{:#?}", store.problems());
    store.apply(vec![change("set.yaml", Content::Gone), says("b.yaml", 2)], NOW_MS);
    assert_eq!(store.problems().iter().filter(|problem| problem.is_error()).count(), 2, "app and guardrail lack it");
    assert!(!in_force(&toy, &mut store).iter().any(|cell| cell.0 == "toy/b"), "its loss is in force");
}

#[test]
fn the_state_that_was_whole_is_not_linked_again() {
    let toy = Toy::new();
    let mut store = Store::new(Arc::clone(&toy.catalogs));
    let says = |file: &str, number| change(file, content(file, &Act::Says(number)));
    store.apply(vec![says("b.yaml", 0)], NOW_MS);
    store.settle();
    let first = store.snapshot(&Secrets::new()).states.unwrap();
    store.apply(vec![says("b.yaml", 1)], NOW_MS);
    let second = store.snapshot(&Secrets::new()).states.unwrap();
    assert!(Arc::ptr_eq(&first.newest, second.whole.as_ref().unwrap()));
    // An act stands over both, so both are linked anew.
    store.apply(vec![says("act.yaml", 0)], NOW_MS);
    let third = store.snapshot(&Secrets::new()).states.unwrap();
    assert!(!Arc::ptr_eq(&first.newest, third.whole.as_ref().unwrap()));
    // What needs no scope at all it does not take.
    let left = permitted(&toy, third.whole.as_ref().unwrap());
    assert!(left.iter().all(|(_, operation, _)| OPERATION_IDS[*operation] == "call"), "{left:?}");
}

/// An act that describes its app is more than its rules.
#[test]
fn an_act_that_describes_an_app_is_not_said_by_its_rule_alone() {
    let rule = "revocations:\n  - {scopes: [WRITE], in: all, reason: r}\n";
    let said = |act: &str, policy: &str| {
        let mut store = Store::new(Arc::clone(&Toy::new().catalogs));
        let change = |file: &str, origin, text: &str| Change {
            file: Path::new(file).into(),
            origin,
            content: Content::Text(text.into()),
        };
        let changes = vec![change("a.yaml", Origin::Policy, policy), change("act.yaml", Origin::Override, act)];
        store.apply(changes, NOW_MS);
        store.settle();
        assert!(store.problems().iter().all(|problem| !problem.is_error()), "{:?}", store.problems());
        store.said_by_policy().len()
    };
    let plain = format!("version: 1\napp: toy/a\n{rule}");
    assert_eq!(said(&plain, &app("a", '1', rule)), 1);
    let describing = plain.replace("toy/a\n", "toy/a\nname: a\ncontact: c\n");
    let described_nowhere = app("a", '1', rule).replace("name: a\ncontact: c\n", "");
    assert_eq!(said(&describing, &described_nowhere), 0);
}
