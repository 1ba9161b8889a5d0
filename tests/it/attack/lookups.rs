//! Look-ups in the hands of who is refused: what an answer tells of what lies where, and what a look-up lets pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::client::Answer;
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

const CATALOG: &str = "\
version: 1
product: wiki
release: '1'
dialect: problem
vocabularies: [v]
kinds: [{name: bot, vocabularies: [v], actor: app}]
scopes: [{name: read, vocabularies: [v]}]
containers: [{name: space, id: '[1-9][0-9]*', key: '[A-Z]+', fold: upper, lookup: space}]
lookups:
  - {lookup: space, why: w, request: 'GET /spaces?keys={id}', kind: space, written: '[0-9A-Z]+', answer: [{id: '/results/*/id'}]}
  - {lookup: file, why: w, request: 'GET /files/{id}?asked=1', kind: space, written: '[0-9]+', answer: [{id: '/spaces/*'}]}
  - {lookup: page, why: w, request: 'GET /pages/{id}?asked=1', kind: space, written: '[0-9]+', answer: [{id: /spaceId}]}
operations:
  - {id: getSpaces, request: 'GET /spaces', needs: {v: [[read]]}, touches: {places: [{kind: space, query: keys}]}}
  - {id: getPage, request: 'GET /pages/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: getFile, request: 'GET /files/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: file}]}}
  - {id: comparePages, request: 'GET /compare', needs: {v: [[read]]}, touches: {places: [{kind: space, query: page, lookup: page, list: true}]}}
  - {id: getTicket, request: 'GET /tickets/{key}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: key, as: issue_key}]}}
  - {id: search, request: 'GET /search', needs: {v: [[read]]}, touches: {places: [{kind: space, query: jql, as: jql, absent: tenant}]}}
";

/// Space 71 is ENG, 72 is HR. Page 1 lies in the one, 2 in the other, 3 makes the product fail, and there are no others.
fn product() -> StubUpstream {
    StubUpstream::start(|received| {
        let json = |body: &str| Reply::ok(body);
        let target = received.line().split(' ').nth(1).unwrap_or_default();
        match target {
            "/files/4?asked=1" if received.field("authorization") == Some("Bearer app") => {
                json(r#"{"spaces": ["71", "72"]}"#)
            }
            "/files/4?asked=1" => json(r#"{"spaces": ["71"]}"#),
            "/pages/1?asked=1" => json(r#"{"spaceId": "71"}"#),
            "/pages/2?asked=1" => json(r#"{"spaceId": "72"}"#),
            "/pages/3?asked=1" => Reply::raw("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
            "/spaces?keys=ENG" => json(r#"{"results": [{"id": "71"}]}"#),
            "/spaces?keys=HR" => json(r#"{"results": [{"id": "72"}]}"#),
            _ if target.starts_with("/spaces?keys=") => json(r#"{"results": []}"#),
            _ if target.ends_with("?asked=1") => Reply::raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            _ => Reply::ok("passed on"),
        }
    })
}

fn policy(app: &str, rules: &str) -> String {
    format!(
        "version: 1\napp: wiki/{app}\nname: App\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         credentials: [{{method: token, kind: bot, sha256: sha256({app})}}]\n{rules}"
    )
}

fn setup(rules: &str) -> Setup {
    Setup::own("wiki", CATALOG).policy("app.yaml", &policy("app", rules))
}

fn wiki(rules: &str) -> Gate {
    setup(rules).before(product())
}

const IN_ENG: &str = "grants: [{scopes: [read], actors: [app], in: {space: ['71']}}]\n";
const ALL_BUT_HR: &str = "grants: [{scopes: [read], actors: [app], in: all}]\n\
                          revocations: [{scopes: [read], in: {space: ['72']}, reason: SEC-1}]\n";

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("app")
}

/// The request is refused, and the product was only asked.
#[track_caller]
fn refused(gate: &Gate, target: &str) -> Answer {
    let answer = gate.ask(&get(target));
    assert!(answer.reason().is_some(), "{target}: {}\n{}", answer.head, answer.body);
    let is_question = |one: &Received| one.line().contains("asked=1") || one.line().contains("/spaces?keys=");
    assert!(gate.upstream.requests().iter().all(is_question), "{target}: the product saw it");
    answer
}

/// What an app sees of a refusal, but for what differs between any two.
fn seen(answer: &Answer) -> String {
    let id = answer.field("x-scopegate-decision").expect("an id").to_owned();
    let whole = format!("{}\n{}", answer.head, answer.body).replace(&id, "ID");
    whole.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn looks_absent(gate: &Gate, hidden: &str, absent: &str) -> String {
    let (hidden, absent) = (seen(&refused(gate, hidden)), seen(&refused(gate, absent)));
    assert_eq!(hidden, absent);
    assert!(!hidden.contains("72") && !hidden.contains("HR"), "{hidden}");
    hidden
}

/// PROJ-1 lies in PROJ unless it was moved: that there is a PROJ, and that the app may read it, says nothing of the issue.
#[test]
fn the_project_in_an_issues_key_is_no_answer_to_where_the_issue_lies() {
    let gate = wiki(IN_ENG);
    for target in ["/tickets/ENG-1", "/search?jql=key%20%3D%20ENG-1", "/search?jql=key%20in%20%28ENG-1%2C%20ENG-2%29"] {
        let answer = refused(&gate, target);
        assert_eq!(answer.reason(), Some("container_unresolved"), "{target}");
    }
    assert!(gate.upstream.requests().is_empty(), "nothing is asked in vain");
    // A project by its own name is found.
    assert_eq!(gate.ask(&get("/search?jql=project%20%3D%20ENG")).status, 200);
}

/// Where the gate takes names as they are written the name of what was found is asked next. That it would be in vain is
/// known by what was found, so it is not told either.
#[test]
fn where_a_name_would_be_asked_next_a_hidden_page_looks_absent() {
    for rules in [IN_ENG, ALL_BUT_HR] {
        let gate = setup(rules).gate("names", "as_written").before(product());
        looks_absent(&gate, "/pages/2", "/pages/9");
    }
}

/// A name in the policy that stands for nothing (yet) leaves open whether what was found is meant.
#[test]
fn under_a_name_that_is_not_pinned_a_hidden_page_looks_absent() {
    let unpinned = "grants: [{scopes: [read], actors: [app], in: {space: ['71', NOSUCH]}}]\n";
    let gate = wiki(unpinned);
    let seen = looks_absent(&gate, "/pages/2", "/pages/9");
    assert!(seen.contains("container_unresolved"), "it may be open to the app soon: {seen}");
    assert_eq!(gate.ask(&get("/pages/1")).status, 200);
    let mixed = "grants: [{scopes: [read], actors: [app], in: {space: [NOSUCH]}}]\n\
                 revocations: [{scopes: [read], in: {space: ['72']}, reason: SEC-1}]\n";
    looks_absent(&wiki(mixed), "/pages/2", "/pages/9");
}

/// One thing that makes the product fail beside one that is closed to the app.
#[test]
fn a_look_up_that_fails_beside_another_says_nothing_of_that_one() {
    for rules in [IN_ENG, ALL_BUT_HR] {
        let gate = wiki(rules);
        let seen = looks_absent(&gate, "/compare?page=2&page=3", "/compare?page=9&page=3");
        assert!(seen.contains("container_unresolved"), "{seen}");
    }
}

/// A product that searches by name says of one that there is none, with 200.
#[test]
fn an_empty_list_is_the_answer_that_there_is_none() {
    let gate = wiki(IN_ENG);
    let seen = looks_absent(&gate, "/spaces?keys=HR", "/spaces?keys=NOSUCH");
    assert!(seen.contains("not_found"), "{seen}");
}

/// A product lists of the containers of a thing those that who asks may see. One app that sees less asks first, and has
/// another of the same vendor judged by it.
#[test]
fn what_one_app_sees_of_a_list_is_not_what_another_one_is_judged_by() {
    let gate = setup(ALL_BUT_HR).policy("narrow.yaml", &policy("narrow", IN_ENG)).before(product());
    assert_eq!(gate.ask(&Ask::get("/files/4").bearer("narrow")).status, 200);
    let before = gate.upstream.requests().len();
    assert_eq!(gate.ask(&get("/files/4")).reason(), Some("not_found"));
    let lines: Vec<String> = gate.upstream.requests()[before..].iter().map(|one| one.line().to_owned()).collect();
    assert_eq!(lines, ["GET /files/4?asked=1 HTTP/1.1"], "the product saw it");
}

/// A space is deleted, and another one gets its key. What the app calls it is what the revocation takes, whatever the key
/// was pinned to.
#[test]
fn what_an_app_calls_by_a_revoked_name_is_taken_though_the_name_was_pinned_to_another() {
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = Arc::clone(&changed);
    let product = StubUpstream::start(move |received| match received.line() {
        "GET /spaces?keys=HR HTTP/1.1" if received.field("user-agent") == Some("scopegate") => {
            let id = if is_changed.load(Ordering::SeqCst) { 80 } else { 72 };
            Reply::ok(&format!(r#"{{"results": [{{"id": "{id}"}}]}}"#))
        }
        "GET /pages/2?asked=1 HTTP/1.1" => Reply::ok(r#"{"spaceId": "72"}"#),
        _ => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe first of it"),
    });
    let grants = "grants: [{scopes: [read], actors: [app], in: {space: ['80', HR]}}]\n";
    let setup = setup(grants).file("secrets/own", "own").gate("lookups", "{credential: {file: secrets/own}}");
    let gate = setup.before(product);
    let opens = |target: &str| {
        let mut client = gate.connect();
        client.send(&get(target).text());
        client.head().is_some_and(|head| head.starts_with("HTTP/1.1 200 ")).then_some(client)
    };
    wait_until("HR to be pinned to 72", || opens("/pages/2").is_some());
    changed.store(true, Ordering::SeqCst);
    let mut stream = opens("/spaces?keys=HR").expect("space 80");
    let revoked = format!("{grants}revocations: [{{scopes: [read], in: {{space: [HR]}}, reason: SEC-1}}]\n");
    gate.write_policy("app.yaml", &policy("app", &revoked));
    assert!(stream.rest().len() < 1000, "it ends before its length");
}
