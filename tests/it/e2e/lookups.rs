//! Requests that name a thing and not its container: the product is asked, where the verdict hangs on it, and what it says
//! decides. A made-up wiki: pages lie in spaces, notes in pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use super::*;
use crate::support::client::Answer;
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

const WIKI: &str = "version: 1
product: wiki
release: '1'
dialect: problem
vocabularies: [v]
kinds: [{name: bot, vocabularies: [v], actor: app}, {name: person, vocabularies: [v], actor: user}]
scopes: [{name: read, vocabularies: [v]}, {name: write, vocabularies: [v], implies: [read]}]
containers: [{name: space, id: '[1-9][0-9]*', key: '[A-Z]+', lookup: space}]
lookups:
  - {lookup: space, why: w, request: 'GET /spaces/{id}?of={tenant}', kind: space, written: '[0-9A-Z]+', answer: [{id: /id, key: /key}]}
  - {lookup: page, why: w, request: 'GET /pages/{id}?of={tenant}', kind: space, written: '[0-9]+', answer: [{id: /spaceId}], identity: {written: '[0-9]+'}, one_changed_by: [{operations: [movePage], path: id}]}
  - {lookup: note, why: w, request: 'GET /notes/{id}?of={tenant}', kind: space, written: '[0-9]+', then: [{lookup: page, at: /pageId}]}
operations:
  - {id: getSpace, request: 'GET /spaces/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: getPage, request: 'GET /pages/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: movePage, request: 'PUT /pages/{id}', needs: {v: [[write]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: getNote, request: 'GET /notes/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: note}]}}
  - {id: linkPages, request: 'POST /links', needs: {v: [[write]]}, touches: {places: [{kind: space, body: '/pages/*', lookup: page}]}}
";

/// Which space each page lies in, and what is said of a page instead.
#[derive(Debug, Default)]
struct World {
    spaces: BTreeMap<&'static str, &'static str>,
    /// Which space each key is of.
    names: BTreeMap<&'static str, u32>,
    instead: BTreeMap<&'static str, String>,
    /// Look-ups of pages wait while it is set.
    held: bool,
    /// What is told nothing.
    dead: Option<&'static str>,
}

impl World {
    /// Key and id of a space, by either.
    fn space(&self, name: &str) -> Option<(&'static str, u32)> {
        let mut all = self.names.iter().map(|(key, id)| (*key, *id));
        all.find(|(key, id)| *key == name || id.to_string() == name)
    }
}

type Shared = Arc<(Mutex<World>, Condvar)>;

fn world() -> Shared {
    let spaces = BTreeMap::from([("1", "71"), ("2", "72"), ("3", "71")]);
    let names = BTreeMap::from([("ENG", 71), ("HR", 72)]);
    Arc::new((Mutex::new(World { spaces, names, ..World::default() }), Condvar::new()))
}

fn say(shared: &Shared, page: &'static str, answer: &str) {
    shared.0.lock().expect("the world").instead.insert(page, answer.to_owned());
}

/// Whether it is one of the gate's own questions.
fn is_question(received: &Received) -> bool {
    received.line().contains("?of=acme ")
}

fn upstream(shared: &Shared) -> StubUpstream {
    let shared = Arc::clone(shared);
    StubUpstream::start(move |received| {
        if !is_question(received) {
            return Reply::ok("ok");
        }
        let line = received.line();
        let path = line.split(' ').nth(1).and_then(|target| target.split('?').next()).expect("a target");
        let mut world = shared.0.lock().expect("the world");
        while world.held && path.starts_with("/pages/") {
            world = shared.1.wait(world).expect("the world");
        }
        if world.dead.is_some() && received.field("authorization") == world.dead {
            return Reply::raw("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
        }
        let json = |body: &str| {
            Reply::raw(&format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
        };
        match path.rsplit_once('/').expect("a path") {
            ("/pages", page) if world.instead.contains_key(page) => Reply::raw(&world.instead[page]),
            ("/pages", page) if world.spaces.contains_key(page) => {
                json(&format!(r#"{{"title": "t", "spaceId": "{}"}}"#, world.spaces[page]))
            }
            ("/notes", "5") => json(r#"{"pageId": 1}"#),
            ("/notes", "6") => json(r#"{"pageId": 2}"#),
            ("/spaces", space) if world.space(space).is_some() => {
                let (key, id) = world.space(space).expect("it is there");
                json(&format!(r#"{{"id": {id}, "key": "{key}"}}"#))
            }
            _ => Reply::raw("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"),
        }
    })
}

fn app(name: &str, rules: &str) -> String {
    product_app("wiki", name, "bot", rules)
}

fn setup(rules: &str) -> Setup {
    Setup::own("wiki", WIKI).policy("reader.yaml", &app("reader", rules))
}

fn wiki(rules: &str) -> (Gate, Shared) {
    let shared = world();
    (setup(rules).before(upstream(&shared)), shared)
}

const IN_ENG: &str = "grants: [{scopes: [write], actors: [app], in: {space: ['71']}}]\n";

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("reader")
}

/// The lines of what came upstream: the gate's questions, and what it passed on.
fn came(gate: &Gate) -> Vec<String> {
    let line = |received: &Received| received.line().trim_end_matches(" HTTP/1.1").to_owned();
    gate.upstream.requests().iter().map(line).collect()
}

#[track_caller]
fn passes(gate: &Gate, ask: &Ask) {
    gate.passes_beside_questions(ask);
}

/// The request is refused, and nothing but questions came upstream.
#[track_caller]
fn refuses(gate: &Gate, ask: &Ask, reason: &str) -> Answer {
    gate.refuses_beside(is_question, ask, reason)
}

/// An answer without what differs between any two: the decision's id, and the date.
fn without_ids(answer: &Answer) -> String {
    let id = answer.field("x-scopegate-decision").expect("an id").to_owned();
    let whole = format!("{}\n{}", answer.head, answer.body).replace(&id, "ID");
    whole.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_page_passes_where_its_space_is_granted_and_is_asked_about_once() {
    let (gate, _) = wiki(IN_ENG);
    passes(&gate, &get("/pages/1"));
    passes(&gate, &get("/pages/1"));
    assert_eq!(came(&gate), ["GET /pages/1?of=acme", "GET /pages/1", "GET /pages/1"]);
    let question = &gate.upstream.requests()[0];
    assert_eq!(question.field("authorization"), Some("Bearer reader"), "asked by the caller itself");
    assert_eq!(question.field("accept"), Some("application/json"));
    assert!(question.body.is_empty() && question.field("x-forwarded-for").is_none(), "{}", question.head);
    let line = gate.log.lines(2)[0].clone();
    assert_eq!(line["containers"][0]["id"], "71", "the log names what was found: {line}");
    let found = |result: &str| gate.metric(&format!(r#"scopegate_lookups_total{{gate="wiki",result="{result}"}}"#));
    assert_eq!((found("found"), found("cached"), found("absent")), (1.0, 1.0, 0.0));
}

#[test]
fn hidden_and_absent_pages_get_the_same_answer_byte_for_byte() {
    let revoked = "grants: [{scopes: [write], actors: [app], in: all}]\n\
                   revocations: [{scopes: [read], in: {space: ['72']}, reason: SEC-1}]\n";
    for rules in [IN_ENG, revoked] {
        let (gate, _) = wiki(rules);
        let hidden = refuses(&gate, &get("/pages/2"), "not_found");
        let absent = refuses(&gate, &get("/pages/9"), "not_found");
        let in_a_hidden_page = refuses(&gate, &get("/notes/6"), "not_found");
        let again = refuses(&gate, &get("/pages/2"), "not_found");
        assert_eq!((hidden.status, absent.status), (404, 404));
        assert_eq!(without_ids(&hidden), without_ids(&absent));
        assert_eq!(without_ids(&hidden), without_ids(&in_a_hidden_page));
        assert_eq!(without_ids(&hidden), without_ids(&again));
        assert!(!without_ids(&hidden).contains("72") && !without_ids(&hidden).contains("SEC-1"));
        let lines = gate.log.lines(4);
        assert_eq!(lines[1]["reason"], "container_unreadable", "{}", lines[1]);
        let told = lines[0]["reason"].as_str().expect("a reason");
        assert!(matches!(told, "container_not_granted" | "container_revoked"), "the log keeps the code: {told}");
        assert_eq!(lines[0]["containers"][0]["id"], "72", "and what was found");
        passes(&gate, &get("/pages/3"));
    }
}

#[test]
fn nothing_is_asked_where_the_answer_would_change_nothing() {
    let (gate, _) = wiki("grants: [{scopes: [read], actors: [app], in: all}]\n");
    passes(&gate, &get("/pages/2"));
    passes(&gate, &get("/pages/9"));
    gate.refuses(&Ask::put("/pages/2").bearer("reader").json("{}"), "missing_scope");
    assert_eq!(came(&gate), ["GET /pages/2", "GET /pages/9"]);
    for (rules, reason) in [
        ("grants: [{scopes: [read], actors: [user], in: {space: ['71']}}]\n", "actor_not_allowed"),
        (
            "grants: [{scopes: [read], actors: [app], in: {space: ['71']}, valid: {until: 2021-01-01T00:00:00Z}}]\n",
            "expired",
        ),
        (
            "grants: [{scopes: [read], actors: [app], in: {space: ['71']}}]\n\
             revocations: [{scopes: [read], in: all, reason: x}]\n",
            "scope_revoked",
        ),
    ] {
        let (gate, _) = wiki(rules);
        gate.refuses(&get("/pages/1"), reason);
    }
    let (gate, _) = wiki(IN_ENG);
    gate.refuses(&get("/pages/1x"), "bad_request");
    gate.refuses(&get(&format!("/pages/{}", "1".repeat(300))), "bad_request");
    gate.refuses(&Ask::get("/pages/1").bearer("stranger"), "unknown_app");
}

#[test]
fn what_is_revoked_in_a_space_is_refused_there_and_nowhere_else() {
    let all = "grants: [{scopes: [write], actors: [app], in: all}]\n";
    let (gate, _) = wiki(all);
    passes(&gate, &get("/pages/1"));
    assert_eq!(came(&gate).len(), 1);
    let revoked = format!("{all}revocations: [{{scopes: [write], in: {{space: ['71']}}, reason: SEC-2}}]\n");
    gate.write_policy("reader.yaml", &app("reader", &revoked));
    wait_until("the revocation", || gate.ask(&Ask::put("/pages/1").bearer("reader").json("{}")).status == 404);
    passes(&gate, &get("/pages/1"));
    passes(&gate, &Ask::put("/pages/2").bearer("reader").json("{}"));
    refuses(&gate, &Ask::put("/pages/3").bearer("reader").json("{}"), "not_found");
}

#[test]
fn a_thing_in_a_thing_is_followed_to_its_container() {
    let (gate, _) = wiki(IN_ENG);
    passes(&gate, &get("/notes/5"));
    assert_eq!(came(&gate), ["GET /notes/5?of=acme", "GET /pages/1?of=acme", "GET /notes/5"]);
    refuses(&gate, &get("/notes/6"), "not_found");
    // What was found on the way is known.
    passes(&gate, &get("/pages/1"));
    assert_eq!(came(&gate).last().map(String::as_str), Some("GET /pages/1"));
    assert_eq!(came(&gate).iter().filter(|line| line.contains("/pages/1?")).count(), 1);
}

#[test]
fn every_thing_that_a_request_names_must_lie_where_it_may() {
    let (gate, _) = wiki(IN_ENG);
    let link = |pages: &str| Ask::post("/links").bearer("reader").json(&format!(r#"{{"pages": {pages}}}"#));
    passes(&gate, &link("[1, 3]"));
    refuses(&gate, &link("[1, 2]"), "not_found");
    refuses(&gate, &link("[1, 9]"), "not_found");
    let many: Vec<String> = (100..117).map(|page| page.to_string()).collect();
    let before = came(&gate).len();
    // More than are asked about for one request reach the whole wiki, and will tomorrow: not "for now".
    let refused = refuses(&gate, &link(&format!("[{}]", many.join(","))), "container_not_granted");
    assert_eq!((refused.status, refused.has("retry-after: ")), (404, false), "{}", refused.head);
    assert_eq!(came(&gate).len(), before, "nothing was asked");
    let all = "grants: [{scopes: [write], actors: [app], in: all}]\n";
    let (gate, _) = wiki(all);
    passes(&gate, &link(&format!("[{}]", many.join(","))));
    let revoked = format!("{all}revocations: [{{scopes: [read], in: {{space: ['72']}}, reason: SEC-8}}]\n");
    let (gate, _) = wiki(&revoked);
    refuses(&gate, &link(&format!("[{}]", many.join(","))), "container_revoked");
}

#[test]
fn a_space_named_by_its_key_is_its_id_to_the_policy() {
    let (gate, _) = wiki(IN_ENG);
    passes(&gate, &get("/spaces/ENG"));
    passes(&gate, &get("/spaces/71"));
    refuses(&gate, &get("/spaces/HR"), "not_found");
    assert_eq!(came(&gate), ["GET /spaces/ENG?of=acme", "GET /spaces/ENG", "GET /spaces/71", "GET /spaces/HR?of=acme"]);
    // A key that a policy writes is not known to be that of one space for ever.
    let by_key = "grants: [{scopes: [read], actors: [app], in: {space: [ENG]}}]\n";
    let (gate, _) = wiki(by_key);
    refuses(&gate, &get("/pages/1"), "container_unresolved");
    refuses(&gate, &get("/spaces/ENG"), "container_unresolved");
    // But where the gate says so.
    let shared = world();
    let gate = setup(by_key).gate("names", "as_written").before(upstream(&shared));
    passes(&gate, &get("/spaces/ENG"));
    refuses(&gate, &get("/spaces/72"), "not_found");
    passes(&gate, &get("/spaces/71"));
    // A page says its space's id, which says its key.
    passes(&gate, &get("/pages/1"));
    refuses(&gate, &get("/pages/2"), "not_found");
}

#[test]
fn a_product_that_does_not_answer_is_a_refusal_for_now() {
    let (gate, shared) = wiki(IN_ENG);
    let plain = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let long = format!(r#"{{"x": "{}", "spaceId": "71"}}"#, "x".repeat(300 << 10));
    for answer in [
        plain("500 Oops", ""),
        plain("302 Found", ""),
        plain("204 No Content", ""),
        plain("200 OK", ""),
        plain("200 OK", "{}"),
        plain("200 OK", r#"{"spaceId": "71""#),
        plain("200 OK", r#"{"spaceId": ["71"]}"#),
        plain("200 OK", r#"{"spaceId": "71", "sp\u0061ceId": "72"}"#),
        plain("200 OK", r#"{"spaceId": "ENG/../71"}"#),
        plain("200 OK", &long),
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 17\r\n\r\n{\"spaceId\": \"71\"}".to_owned(),
        "no HTTP at all\r\n\r\n".to_owned(),
    ] {
        say(&shared, "1", &answer);
        let refused = refuses(&gate, &get("/pages/1"), "container_unresolved");
        assert_eq!(refused.status, 503, "{}", refused.head);
        assert!(refused.has("retry-after: "), "{}", refused.head);
    }
    // Nobody who asked may see it: that is an answer.
    for status in ["403 Forbidden", "404 Not Found", "410 Gone"] {
        shared.0.lock().expect("the world").instead.clear();
        say(&shared, "2", &plain(status, ""));
        let (fresh, shared) = wiki(IN_ENG);
        say(&shared, "2", &plain(status, ""));
        refuses(&fresh, &get("/pages/2"), "not_found");
    }
    // That its credential is dead is an answer too, and not about the page: the app is told, so that it gets another one.
    for (status, page) in [("401 Unauthorized", "/pages/3"), ("401 Unauthorized", "/notes/5")] {
        let (fresh, shared) = wiki(IN_ENG);
        for page in ["1", "3"] {
            say(&shared, page, &plain(status, ""));
        }
        let refused = refuses(&fresh, &get(page), "unidentified");
        assert_eq!((refused.status, refused.has("retry-after: ")), (401, false), "{}", refused.head);
        assert!(refused.has("www-authenticate: Bearer"), "{}", refused.head);
        // It is no fact: the next token is asked with at once.
        shared.0.lock().expect("the world").instead.clear();
        passes(&fresh, &get(page));
    }
    say(&shared, "3", "HTTP/1.1 429 Too Many Requests\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n");
    let limited = refuses(&gate, &get("/pages/3"), "rate_limited");
    assert_eq!((limited.status, limited.field("retry-after")), (429, Some("17")), "{}", limited.head);
    // What failed was no fact.
    shared.0.lock().expect("the world").instead.clear();
    passes(&gate, &get("/pages/3"));
}

#[test]
fn a_question_that_is_not_answered_ends_in_time() {
    let shared = world();
    shared.0.lock().expect("the world").held = true;
    let gate = setup(IN_ENG).gate("lookups", "{timeout: 300ms}").before(upstream(&shared));
    refuses(&gate, &get("/pages/1"), "container_unresolved");
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    wait_until("an answer in time", || gate.ask(&get("/pages/1")).status == 200);
}

#[test]
fn a_gate_that_asks_nothing_refuses_what_hangs_on_it() {
    let gate = setup(IN_ENG).gate("lookups", "off").start();
    gate.refuses(&get("/pages/1"), "container_unresolved");
    gate.passes(&get("/spaces/71"));
}

#[test]
fn what_an_app_holds_is_never_shown_and_the_real_credential_asks() {
    let key = format!("sg_{}", "k".repeat(43));
    let policy = format!(
        "version: 1\napp: wiki/keyed\nname: k\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials:\n      \
         - {{method: gate_key, kind: bot, sha256: \"sha256({key})\", upstream: {{file: secrets/real}}}}\n{IN_ENG}"
    );
    let shared = world();
    let setup = Setup::own("wiki", WIKI).policy("keyed.yaml", &policy).file("secrets/real", "the-real-one");
    let gate = setup.before(upstream(&shared));
    passes(&gate, &Ask::get("/pages/1").bearer(&key));
    let requests = gate.upstream.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.field("authorization"), Some("Bearer the-real-one"), "{}", request.head);
        assert!(!request.head.contains(&key));
    }
}

#[test]
fn what_one_app_may_not_see_says_nothing_of_another() {
    let shared = world();
    let other = app("other", IN_ENG);
    let gate = setup(IN_ENG).policy("other.yaml", &other).before(upstream(&shared));
    say(&shared, "1", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    refuses(&gate, &get("/pages/1"), "not_found");
    shared.0.lock().expect("the world").instead.clear();
    passes(&gate, &Ask::get("/pages/1").bearer("other"));
    let before = came(&gate).len();
    refuses(&gate, &Ask::get("/pages/2").bearer("other"), "not_found");
    refuses(&gate, &get("/pages/2"), "not_found");
    assert_eq!(came(&gate).len(), before + 1, "what was found is known to all of that kind");
}

#[test]
fn a_move_through_the_gate_makes_what_was_known_void() {
    let (gate, shared) = wiki(IN_ENG);
    passes(&gate, &get("/pages/1"));
    passes(&gate, &get("/notes/5"));
    let asked = || came(&gate).iter().filter(|line| line.contains("/pages/1?")).count();
    passes(&gate, &Ask::put("/pages/3").bearer("reader").json("{}"));
    passes(&gate, &get("/pages/1"));
    assert_eq!(asked(), 1, "another page was moved: {:?}", came(&gate));
    passes(&gate, &Ask::put("/pages/1").bearer("reader").json("{}"));
    shared.0.lock().expect("the world").spaces.insert("1", "72");
    refuses(&gate, &get("/pages/1"), "not_found");
    refuses(&gate, &get("/notes/5"), "not_found");
    assert_eq!(asked(), 2, "{:?}", came(&gate));
}

#[test]
fn what_was_moved_past_the_gate_is_known_again_when_its_answer_is_too_old() {
    let shared = world();
    let gate = setup(IN_ENG).gate("lookups", "{max_fact_age: 20ms}").before(upstream(&shared));
    passes(&gate, &get("/pages/1"));
    shared.0.lock().expect("the world").spaces.insert("1", "72");
    wait_until("the answer to be too old", || gate.ask(&get("/pages/1")).status == 404);
}

#[test]
fn an_answer_is_as_old_as_its_question() {
    let shared = world();
    let gate = setup(IN_ENG).gate("lookups", "{max_fact_age: 400ms}").before(upstream(&shared));
    shared.0.lock().expect("the world").held = true;
    let mut first = gate.connect();
    first.send(&get("/pages/1").text());
    gate.upstream.wait_for(1);
    let asked_at = std::time::Instant::now();
    wait_until("the question to be old", || asked_at.elapsed().as_millis() > 450);
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    assert_eq!(first.answer().status, 200);
    passes(&gate, &get("/pages/1"));
    let questions = came(&gate).iter().filter(|line| line.contains("?of=")).count();
    assert_eq!(questions, 2, "it was answered just now, and asked long ago: {:?}", came(&gate));
}

#[test]
fn requests_that_want_to_know_the_same_ask_once() {
    let (gate, shared) = wiki(IN_ENG);
    shared.0.lock().expect("the world").held = true;
    let mut first = gate.connect();
    first.send(&get("/pages/1").text());
    gate.upstream.wait_for(1);
    let mut others: Vec<_> = (0..8).map(|_| gate.connect()).collect();
    others.iter_mut().for_each(|other| other.send(&get("/pages/1").text()));
    // When this one is answered the others, which came before it, wait as a rule; else they find it known.
    passes(&gate, &get("/spaces/71"));
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    for client in std::iter::once(&mut first).chain(&mut others) {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(came(&gate).iter().filter(|line| line.contains("?of=")).count(), 1, "{:?}", came(&gate));
}

#[test]
fn who_waits_for_a_question_that_is_broken_off_asks_again() {
    let (gate, shared) = wiki(IN_ENG);
    shared.0.lock().expect("the world").held = true;
    let mut first = gate.connect();
    first.send(&get("/pages/1").text());
    gate.upstream.wait_for(1);
    let mut second = gate.connect();
    second.send(&get("/pages/1").text());
    passes(&gate, &get("/spaces/71"));
    drop(first);
    wait_until("the second to ask", || came(&gate).iter().filter(|line| line.contains("?of=")).count() == 2);
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    assert_eq!(second.answer().status, 200);
}

#[test]
fn who_comes_after_a_move_is_not_judged_by_what_was_asked_before_it() {
    let shared = world();
    let mover = app("mover", "grants: [{scopes: [write], actors: [app], in: all}]\n");
    let gate = setup(IN_ENG).policy("mover.yaml", &mover).before(upstream(&shared));
    shared.0.lock().expect("the world").held = true;
    let mut early = gate.connect();
    early.send(&get("/pages/1").text());
    gate.upstream.wait_for(1);
    passes(&gate, &Ask::put("/pages/1").bearer("mover").json("{}"));
    let mut late = gate.connect();
    late.send(&get("/pages/1").text());
    wait_until("a question of its own", || came(&gate).iter().filter(|line| line.contains("?of=")).count() == 2);
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    assert_eq!((early.answer().status, late.answer().status), (200, 200));
}

#[test]
fn one_app_asks_so_much_at_one_time_and_another_is_not_kept_from_asking() {
    let shared = world();
    let gate = setup(IN_ENG).policy("other.yaml", &app("other", IN_ENG)).before(upstream(&shared));
    shared.0.lock().expect("the world").held = true;
    let mut waiting: Vec<_> = (0..4).map(|_| gate.connect()).collect();
    for (index, client) in waiting.iter_mut().enumerate() {
        let pages: Vec<String> = (0..16).map(|page| (1_000 + 16 * index + page).to_string()).collect();
        let link = Ask::post("/links").bearer("reader").json(&format!(r#"{{"pages": [{}]}}"#, pages.join(",")));
        client.send(&link.text());
    }
    gate.upstream.wait_for(64);
    refuses(&gate, &get("/pages/1"), "overloaded");
    let mut other = gate.connect();
    other.send(&Ask::get("/pages/1").bearer("other").text());
    gate.upstream.wait_for(65);
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    assert_eq!(other.answer().status, 200);
    for client in &mut waiting {
        assert_eq!(client.answer().status, 404);
    }
    passes(&gate, &get("/pages/1"));
}

#[test]
fn a_policy_that_changes_while_the_product_is_asked_decides_by_its_newest() {
    let (gate, shared) = wiki(IN_ENG);
    shared.0.lock().expect("the world").held = true;
    let mut client = gate.connect();
    client.send(&get("/pages/1").text());
    gate.upstream.wait_for(1);
    let generation = gate.metric("scopegate_snapshot_generation");
    let revoked = format!("{IN_ENG}revocations: [{{scopes: [read], in: {{space: ['71']}}, reason: SEC-3}}]\n");
    gate.write_policy("reader.yaml", &app("reader", &revoked));
    wait_until("the reload", || gate.metric("scopegate_snapshot_generation") > generation);
    shared.0.lock().expect("the world").held = false;
    shared.1.notify_all();
    let answer = client.answer();
    assert_eq!((answer.status, answer.reason()), (404, Some("not_found")), "{}", answer.head);
    assert_eq!(came(&gate), ["GET /pages/1?of=acme"]);
}

#[test]
fn a_download_that_was_permitted_by_an_answer_is_cut_when_its_space_is_revoked() {
    let product = StubUpstream::start(|received| match received.line() {
        "GET /pages/1?of=acme HTTP/1.1" => Reply::ok(r#"{"spaceId": "71"}"#),
        "GET /pages/2?of=acme HTTP/1.1" => Reply::ok(r#"{"spaceId": "72"}"#),
        _ => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe first of it"),
    });
    let all = "grants: [{scopes: [read], actors: [app], in: {space: ['71', '72']}}]\n";
    let gate = setup(all).before(product);
    let mut cut = gate.connect();
    cut.send(&get("/pages/1").text());
    assert!(cut.head().expect("a head").starts_with("HTTP/1.1 200 "));
    let mut kept = gate.connect();
    kept.send(&get("/pages/2").text());
    assert!(kept.head().expect("a head").starts_with("HTTP/1.1 200 "));
    let revoked = format!("{all}revocations: [{{scopes: [read], in: {{space: ['71']}}, reason: SEC-4}}]\n");
    gate.write_policy("reader.yaml", &app("reader", &revoked));
    assert!(cut.rest().len() < 1000, "it ends before its length");
    wait_until("the other one alone to go on", || gate.metric(r#"scopegate_streams{gate="wiki"}"#) == 1.0);
}

/// A gate whose policy writes spaces by their keys, and which may ask what they stand for.
fn pinning(rules: &str, shared: &Shared) -> Gate {
    let setup = setup(rules).top("state", "state").file("secrets/own", "own");
    setup.gate("lookups", "{credential: {file: secrets/own}, per_second: 1000}").before(upstream(shared))
}

/// Refused, and nothing is on its way any more: what was under way when it was taken back may be seen upstream after that.
fn refused(gate: &Gate, target: &str) -> bool {
    let refused = gate.ask(&get(target)).reason() == Some("not_found");
    if refused {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    refused
}

#[test]
fn a_name_in_a_policy_is_pinned_to_what_it_stood_for() {
    let shared = world();
    let mut gate = pinning("grants: [{scopes: [read], actors: [app], in: {space: [ENG]}}]\n", &shared);
    wait_until("the name to be pinned", || gate.ask(&get("/pages/1")).status == 200);
    passes(&gate, &get("/spaces/ENG"));
    passes(&gate, &get("/spaces/71"));
    refuses(&gate, &get("/pages/2"), "not_found");
    refuses(&gate, &get("/spaces/HR"), "not_found");
    let own = gate.upstream.requests().into_iter().filter(|one| one.field("authorization") == Some("Bearer own"));
    assert!(own.clone().count() >= 1 && own.into_iter().all(|one| is_question(&one)), "its own credential only asks");
    // Space 71 is renamed, and 72 takes its key: the grant stays with 71.
    shared.0.lock().expect("the world").names = [("ENG", 72), ("NEW", 71)].into();
    for _ in 0..2 {
        gate.take().stop();
        gate.restart();
        wait_until("what it was pinned to", || gate.ask(&get("/pages/1")).status == 200);
        passes(&gate, &get("/spaces/NEW"));
        refuses(&gate, &get("/pages/2"), "not_found");
        refuses(&gate, &get("/spaces/ENG"), "not_found");
    }
}

#[test]
fn a_revocation_by_name_holds_for_whatever_ever_had_it() {
    let shared = world();
    let rules = "grants: [{scopes: [read], actors: [app], in: all}]\n\
                 revocations: [{scopes: [read], in: {space: [HR]}, reason: SEC-5}]\n";
    let mut gate = pinning(rules, &shared);
    wait_until("the name to be pinned", || gate.ask(&get("/pages/1")).status == 200);
    refuses(&gate, &get("/pages/2"), "not_found");
    // What the app itself names keeps its code: nothing has to be asked.
    refuses(&gate, &get("/spaces/HR"), "container_revoked");
    // Space 72 is renamed, and 71 takes its key.
    shared.0.lock().expect("the world").names = [("OLD", 72), ("HR", 71)].into();
    gate.take().stop();
    gate.restart();
    wait_until("the second container of that name", || refused(&gate, "/pages/1"));
    refuses(&gate, &get("/pages/2"), "not_found");
    refuses(&gate, &get("/spaces/OLD"), "not_found");
    refuses(&gate, &get("/spaces/HR"), "container_revoked");
}

#[test]
fn before_a_name_is_pinned_a_revocation_by_it_takes_and_a_grant_does_not_give() {
    let shared = world();
    shared.0.lock().expect("the world").names.clear();
    let gate = pinning("grants: [{scopes: [read], actors: [app], in: {space: [ENG]}}]\n", &shared);
    refuses(&gate, &get("/pages/1"), "container_unresolved");
    let rules = "grants: [{scopes: [read], actors: [app], in: all}]\n\
                 revocations: [{scopes: [read], in: {space: [HR]}, reason: SEC-6}]\n";
    let gate = pinning(rules, &shared);
    for page in ["/pages/1", "/pages/2"] {
        let answer = gate.ask(&get(page));
        assert_eq!(answer.reason(), Some("not_found"), "it may be that one: {}", answer.head);
    }
}

/// A project that Jira knows by its key; nothing is known of issues.
fn jira_site() -> StubUpstream {
    StubUpstream::start(|received| {
        let json = r#"{"id": "1001", "key": "AAA"}"#;
        match received.line().split(' ').nth(1) {
            Some("/rest/api/3/project/AAA") if received.field("user-agent") == Some("scopegate") => {
                Reply::raw(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
                    json.len()
                ))
            }
            _ => Reply::ok("ok"),
        }
    })
}

#[test]
fn an_issues_key_says_nothing_of_its_project_where_the_issue_itself_is_not_asked_about() {
    let in_aaa =
        "grants: [{scopes: ['read:jira-work', 'write:jira-work'], actors: [app, user], in: {project: ['1001']}}]\n";
    let not_in_bbb = "grants: [{scopes: ['read:jira-work', 'write:jira-work'], actors: [app, user], in: all}]\n\
                      revocations: [{scopes: ['read:jira-work'], in: {project: ['1002']}, reason: SEC-7}]\n";
    for rules in [in_aaa, not_in_bbb] {
        let setup = Setup::jira().without("lookups").without("issue_keys").without("names");
        let gate = setup.policy("tracker.yaml", &jira_app("tracker", "oauth", rules)).before(jira_site());
        let search = |jql: &str| Ask::get(&format!("/rest/api/3/search/jql?jql={jql}")).bearer("tracker");
        let answer = gate.ask(&search("project%20%3D%20AAA"));
        assert_eq!((answer.status, answer.reason()), (200, None), "{}", answer.head);
        // AAA-1 may have been moved to BBB since, and is still found by this key.
        let before = gate.upstream.requests().len();
        for jql in ["key%20%3D%20AAA-1", "key%20in%20(AAA-1%2CAAA-2)"] {
            let answer = gate.ask(&search(jql));
            assert!(answer.reason().is_some(), "{jql}: {}", answer.head);
        }
        let body = r#"{"targetToSourcesMapping": {"AAA,10001,AAA-1": {"issueIdsOrKeys": []}}}"#;
        let answer = gate.ask(&Ask::post("/rest/api/3/bulk/issues/move").bearer("tracker").json(body));
        assert!(answer.reason().is_some(), "{}", answer.head);
        let passed = gate.upstream.requests().into_iter().skip(before);
        assert_eq!(passed.filter(|one| one.field("user-agent") != Some("scopegate")).count(), 0);
    }
}

#[test]
fn an_app_whose_credential_is_dead_keeps_no_name_from_being_pinned() {
    let shared = world();
    let product = upstream(&shared);
    let keyed = |app: &str, rules: &str| {
        format!(
            "version: 1\napp: wiki/{app}\nname: k\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials:\n      \
             - {{method: gate_key, kind: bot, sha256: \"sha256({})\", upstream: {{file: secrets/{app}}}}}\n{rules}",
            key_of(app)
        )
    };
    let by_key = "grants: [{scopes: [read], actors: [app], in: {space: [ENG]}}]\n";
    let setup = Setup::own("wiki", WIKI).policy("a.yaml", &keyed("a", by_key)).policy("b.yaml", &keyed("b", by_key));
    // Nothing is told to the first in order.
    shared.0.lock().expect("the world").dead = Some("Bearer dead");
    let gate = setup.file("secrets/a", "dead").file("secrets/b", "alive").before(product);
    wait_until("the name to be pinned", || gate.ask(&Ask::get("/pages/1").bearer(&key_of("b"))).status == 200);
}

fn key_of(app: &str) -> String {
    format!("sg_{}", app.repeat(43))
}
