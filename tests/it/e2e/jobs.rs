//! Jobs: what a request starts and others ask about. The result belongs to the app that started it and to what that request
//! touched; all else is the tenant's. A made-up wiki: pages lie in spaces, trees of them are copied, moved and exported.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

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
tenant_bases: ['/t/{tenant}']
lookups:
  - {lookup: space, why: w, request: 'GET /spaces/{id}?of={tenant}', kind: space, written: '[0-9A-Z]+', answer: [{id: /id, key: /key}]}
  - {lookup: page, why: w, request: 'GET /pages/{id}?of={tenant}', kind: space, written: '[0-9]+', answer: [{id: /spaceId}], changed_by: [movePage]}
jobs:
  - job: task
    why: w
    started:
      - {operations: [copySpace, copyPages, movePage, wipe], answer: /task/id}
      - {operations: [deleteSpace], location: true}
      - {operations: [exportSpace], link: ''}
    fetched:
      - {operations: [getTask, cancelTask], path: id}
      - {operations: [getStatus], query: task}
      - {operations: [postStatus], body: /task}
  - job: merge
    why: w
    started: [{operations: [mergeSpace], answer: /id}]
    fetched: [{operations: [getMerge], path: id}]
operations:
  - {id: getSpace, request: 'GET /spaces/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: getPage, request: 'GET /pages/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: movePage, request: 'PUT /pages/{id}', needs: {v: [[write]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: copySpace, request: 'POST /copy', needs: {v: [[write]]}, touches: {places: [{kind: space, body: /from}, {kind: space, body: /to, absent: skip}]}}
  - {id: copyPages, request: 'POST /pages', needs: {v: [[write]]}, touches: {places: [{kind: space, body: '/pages/*', lookup: page}]}}
  - {id: wipe, request: 'POST /wipe', needs: {v: [[write]]}, touches: {tenant: w}}
  - {id: deleteSpace, request: 'DELETE /spaces/{id}', needs: {v: [[write]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: exportSpace, request: 'POST /spaces/{id}/export', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: getTask, request: 'GET /tasks/{id}', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: cancelTask, request: 'POST /tasks/{id}/cancel', needs: {v: [[write]]}, touches: {tenant: w}}
  - {id: getStatus, request: 'GET /status', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: postStatus, request: 'POST /status', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: mergeSpace, request: 'POST /spaces/{id}/merges', needs: {v: [[write]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: getMerge, request: 'GET /spaces/{space}/merges/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: space}]}}
";

/// What the product answers next to whatever starts something.
type Says = Arc<Mutex<String>>;

fn json(body: &str) -> String {
    answer("200 OK", "content-type: application/json\r\n", body)
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

fn is_question(received: &Received) -> bool {
    received.line().contains("?of=")
}

/// Pages 1 and 3 lie in space 71, page 2 in 72, and page 4 where `says` tells.
fn product(says: &Says, page_4: &Arc<Mutex<&'static str>>) -> StubUpstream {
    let (says, page_4) = (Arc::clone(says), Arc::clone(page_4));
    StubUpstream::start(move |received| {
        let target = received.line().split(' ').nth(1).unwrap_or_default();
        let of_page = |space: &str| Reply::raw(&json(&format!(r#"{{"spaceId": "{space}"}}"#)));
        match target {
            "/pages/1?of=acme" | "/pages/3?of=acme" => of_page("71"),
            "/pages/2?of=acme" => of_page("72"),
            "/pages/4?of=acme" => of_page(&page_4.lock().expect("a space")),
            "/spaces/ENG?of=acme" | "/spaces/71?of=acme" => Reply::raw(&json(r#"{"id": 71, "key": "ENG"}"#)),
            _ if is_question(received) => Reply::raw(&answer("404 Not Found", "", "{}")),
            _ if received.line().starts_with("GET ") || target.contains("/cancel") || target == "/status" => {
                Reply::ok("ok")
            }
            _ => Reply::raw(&says.lock().expect("an answer")),
        }
    })
}

struct World {
    gate: Gate,
    says: Says,
    page_4: Arc<Mutex<&'static str>>,
}

/// An app called as its token, with these rules.
fn app(name: &str, rules: &str) -> String {
    product_app("wiki", name, "bot", rules)
}

const IN_71: &str = "grants: [{scopes: [write], actors: [app], in: {space: ['71']}}]\n";
const IN_BOTH: &str = "grants: [{scopes: [write], actors: [app], in: {space: ['71', '72']}}]\n";
const ALL: &str = "grants: [{scopes: [write], actors: [app], in: all}]\n";
const ALL_BUT_72: &str = "grants: [{scopes: [write], actors: [app], in: all}]\n\
                          revocations: [{scopes: [read], in: {space: ['72']}, reason: SEC-1}]\n";

/// With the app `one` under these rules, and the app `two`, which may do the same in both spaces.
fn world(rules: &str) -> World {
    world_of(rules, |setup| setup)
}

fn world_of(rules: &str, with: impl FnOnce(Setup) -> Setup) -> World {
    let (says, page_4) = (Says::default(), Arc::new(Mutex::new("71")));
    let setup =
        Setup::own("wiki", WIKI).policy("one.yaml", &app("one", rules)).policy("two.yaml", &app("two", IN_BOTH));
    let gate = with(setup).before(product(&says, &page_4));
    World { gate, says, page_4 }
}

impl World {
    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.says.lock().expect("an answer"));
    }

    /// It passes, whatever comes of it.
    #[track_caller]
    fn starts(&self, ask: &Ask, answer: &str) -> Answer {
        self.says(answer);
        let came = self.gate.ask(ask);
        assert_eq!(came.reason(), None, "{}\n{}", came.head, came.body);
        came
    }

    #[track_caller]
    fn copies(&self, app: &str, space: &str, id: &str) {
        self.starts(&copy(app, space), &json(&format!(r#"{{"task":{{"id":"{id}"}}}}"#)));
    }

    #[track_caller]
    fn passes(&self, ask: &Ask) {
        let answer = self.gate.ask(ask);
        assert_eq!((answer.status, answer.reason()), (200, None), "{}\n{}", answer.head, answer.body);
    }

    /// The upstream sees nothing of it but the gate's own questions.
    #[track_caller]
    fn refuses(&self, ask: &Ask, reason: &str) -> Answer {
        let passed_on = || self.gate.upstream.requests().iter().filter(|one| !is_question(one)).count();
        let before = passed_on();
        let answer = self.gate.ask(ask);
        assert_eq!(answer.reason(), Some(reason), "{}\n{}", answer.head, answer.body);
        assert_eq!(passed_on(), before, "the upstream saw it");
        answer
    }

    /// The rules of `one` are in force: what this asks for has another answer now.
    #[track_caller]
    fn rewrite(&self, rules: &str, asked: &Ask, status: u16) {
        assert_ne!(self.gate.ask(asked).status, status);
        self.gate.write_policy("one.yaml", &app("one", rules));
        wait_until("the policy", || self.gate.ask(asked).status == status);
    }
}

fn copy(app: &str, space: &str) -> Ask {
    Ask::post("/copy").bearer(app).json(&format!(r#"{{"from":"{space}"}}"#))
}

fn get(app: &str, target: &str) -> Ask {
    Ask::get(target).bearer(app)
}

fn task(app: &str, id: &str) -> Ask {
    get(app, &format!("/tasks/{id}"))
}

/// An answer without what differs between any two.
fn without_ids(answer: &Answer) -> String {
    let id = answer.field("x-scopegate-decision").expect("an id").to_owned();
    let whole = format!("{}\n{}", answer.head, answer.body).replace(&id, "ID");
    whole.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_remembered_and_what_another_app_started_is_the_tenant_s_byte_for_byte() {
    let world = world(IN_71);
    world.copies("two", "71", "7");
    let unknown = world.refuses(&task("one", "8"), "container_not_granted");
    assert_eq!(unknown.status, 404);
    let others = world.refuses(&task("one", "7"), "container_not_granted");
    let too_long = world.refuses(&task("one", &"7".repeat(300)), "container_not_granted");
    world.copies("two", "72", "9");
    let others_elsewhere = world.refuses(&task("one", "9"), "container_not_granted");
    for other in [others, too_long, others_elsewhere] {
        assert_eq!(without_ids(&other), without_ids(&unknown));
    }
    let lines = world.gate.log.lines(6);
    for refused in lines.iter().filter(|line| line["operation"] == "getTask") {
        assert!(refused["containers"].as_array().is_none_or(Vec::is_empty), "{refused}");
    }
    // Whoever started it asks for it, and whoever may do all of it does.
    world.passes(&task("two", "7"));
    world.refuses(&task("two", "8"), "container_not_granted");
}

#[test]
fn a_job_is_asked_about_by_who_started_it_where_it_was_started() {
    let world = world(IN_71);
    world.copies("one", "71", "7");
    world.passes(&task("one", "7"));
    world.passes(&Ask::post("/tasks/7/cancel").bearer("one"));
    world.passes(&get("one", "/status?task=7"));
    world.passes(&Ask::post("/status").bearer("one").json(r#"{"task":7}"#));
    world.refuses(&get("one", "/status?task=8"), "container_not_granted");
    world.refuses(&get("one", "/status"), "container_not_granted");
    world.refuses(&Ask::post("/status").bearer("one").json(r#"{"task":"8"}"#), "container_not_granted");
    let line = world.gate.log.lines(2)[1].clone();
    assert_eq!((&line["operation"], &line["containers"][0]["id"]), (&"getTask".into(), &"71".into()), "{line}");
    // What can be read in two ways is no id at all.
    world.refuses(&get("one", "/status?task=7&task=7"), "bad_request");
    world.refuses(&get("one", "/status?task=7&Task=8"), "bad_request");
    world.refuses(&Ask::post("/status").bearer("one").json(r#"{"task":["7"]}"#), "bad_request");
    // The same number of another sort, and the same id written otherwise.
    world.refuses(&get("one", "/spaces/71/merges/7"), "container_not_granted");
    world.refuses(&task("one", "07"), "container_not_granted");
    world.refuses(&task("one", "7%20"), "bad_request");
    world.passes(&task("one", "%37"));
}

#[test]
fn what_is_revoked_since_is_refused_when_it_is_asked_about() {
    let world = world(IN_BOTH);
    world.copies("one", "71", "7");
    world.copies("one", "72", "8");
    world.starts(&Ask::post("/copy").bearer("one").json(r#"{"from":"71","to":"72"}"#), &json(r#"{"task":{"id":"9"}}"#));
    for id in ["7", "8", "9"] {
        world.passes(&task("one", id));
    }
    let revoked = format!("{IN_BOTH}revocations: [{{scopes: [read], in: {{space: ['72']}}, reason: SEC-2}}]\n");
    world.rewrite(&revoked, &task("one", "8"), 404);
    world.refuses(&task("one", "8"), "container_revoked");
    world.refuses(&task("one", "9"), "container_revoked");
    world.refuses(&Ask::post("/tasks/8/cancel").bearer("one"), "container_revoked");
    world.passes(&task("one", "7"));
    world.rewrite("grants: [{scopes: [write], actors: [app], in: {space: ['72']}}]\n", &task("one", "7"), 404);
    world.refuses(&task("one", "7"), "container_not_granted");
    world.passes(&task("one", "8"));
    world.rewrite("grants: [{scopes: [write], actors: [user], in: all}]\n", &task("one", "8"), 403);
    world.refuses(&task("one", "8"), "actor_not_allowed");
    // And what is given back is.
    world.gate.write_policy("one.yaml", &app("one", IN_71));
    wait_until("the grant", || world.gate.ask(&task("one", "7")).status == 200);
}

#[test]
fn who_may_do_all_may_ask_about_all_but_what_lies_where_it_was_revoked() {
    let everywhere = world(ALL);
    everywhere.passes(&task("one", "8"));
    let world = world(ALL_BUT_72);
    world.refuses(&task("one", "8"), "container_revoked");
    world.copies("one", "71", "7");
    world.passes(&task("one", "7"));
    world.refuses(&copy("one", "72"), "container_revoked");
}

#[test]
fn what_reaches_the_tenant_starts_what_is_the_tenant_s() {
    let world = world(ALL);
    world.copies("one", "71", "7");
    world.starts(&Ask::post("/wipe").bearer("one"), &json(r#"{"task":{"id":"8"}}"#));
    // The product gives an id again, and it is of all now.
    world.copies("one", "71", "9");
    world.starts(&Ask::post("/wipe").bearer("one"), &json(r#"{"task":{"id":"9"}}"#));
    world.rewrite(ALL_BUT_72, &get("one", "/spaces/72"), 404);
    world.refuses(&task("one", "8"), "container_revoked");
    world.refuses(&task("one", "9"), "container_revoked");
    world.passes(&task("one", "7"));
}

#[test]
fn an_id_that_the_product_gives_to_another_app_is_that_app_s() {
    let world = world(IN_71);
    world.copies("one", "71", "7");
    world.passes(&task("one", "7"));
    world.copies("two", "72", "7");
    world.refuses(&task("one", "7"), "container_not_granted");
    world.passes(&task("two", "7"));
}

#[test]
fn what_the_request_names_beside_the_job_counts_too() {
    let world = world(IN_BOTH);
    let merge = Ask::post("/spaces/71/merges").bearer("one");
    world.starts(&merge, &json(r#"{"id":12}"#));
    world.passes(&get("one", "/spaces/71/merges/12"));
    world.passes(&get("one", "/spaces/72/merges/12"));
    world.refuses(&get("one", "/spaces/71/merges/13"), "container_not_granted");
    world.refuses(&get("one", "/spaces/x/merges/12"), "bad_request");
    let revoked = format!("{IN_BOTH}revocations: [{{scopes: [read], in: {{space: ['71']}}, reason: SEC-3}}]\n");
    world.rewrite(&revoked, &get("one", "/spaces/71/merges/12"), 404);
    world.refuses(&get("one", "/spaces/71/merges/12"), "container_revoked");
    world.refuses(&get("one", "/spaces/72/merges/12"), "container_revoked");
}

#[test]
fn a_link_names_a_job_where_it_is_the_product_s_own() {
    let world = world(IN_71);
    let delete = Ask::new("DELETE", "/spaces/71").bearer("one");
    let redirect = |status: &str, location: &str| answer(status, &format!("location: {location}\r\n"), "");
    let upstream = world.gate.upstream.address;
    for (number, location) in [
        format!("http://{upstream}/tasks/ID?x=1#y"),
        format!("//{upstream}/tasks/ID"),
        "/tasks/ID".to_owned(),
        "/t/acme/tasks/ID".to_owned(),
        "/tasks/ID/../ID".replace("/../ID", ""),
    ]
    .iter()
    .enumerate()
    {
        for (status, number) in [("303 See Other", number), ("202 Accepted", number + 10), ("201 Created", number + 20)]
        {
            let id = format!("id-{number}");
            let came = world.starts(&delete, &redirect(status, &location.replace("ID", &id)));
            assert!(status.starts_with(&came.status.to_string()), "{}", came.head);
            world.passes(&task("one", &id));
        }
    }
    for (status, location) in [
        ("202 Accepted", "http://evil.test/tasks/no"),
        ("202 Accepted", "//evil.test/tasks/no"),
        ("202 Accepted", "/t/other/tasks/no"),
        ("202 Accepted", "tasks/no"),
        ("202 Accepted", "/spaces/no"),
        ("202 Accepted", "/spaces/71/merges/no"),
        ("202 Accepted", "/tasks/no/cancel"),
        ("202 Accepted", "/tasks/no/"),
        ("202 Accepted", "/x/../tasks/no"),
        ("202 Accepted", "/tasks//no"),
        ("400 Bad Request", "/tasks/no"),
        ("404 Not Found", "/tasks/no"),
        ("307 Temporary Redirect", "/tasks/no"),
        ("302 Found", "/tasks/no"),
        ("202 Accepted", "/tasks/no\r\nlocation: /tasks/no"),
        ("202 Accepted", "/tasks/no\r\nlocation: /tasks/yes"),
    ] {
        world.says(&redirect(status, location));
        world.gate.ask(&delete);
        world.refuses(&task("one", "no"), "container_not_granted");
    }
    let export = Ask::post("/spaces/71/export").bearer("one");
    world.starts(&export, &json(&format!(r#""http:\/\/{upstream}\/tasks\/exp\u006frt""#)));
    world.passes(&task("one", "export"));
    for text in [r#""http://evil.test/tasks/no""#, r#""no""#, r#""/tasks""#, r#"{"link":"/tasks/no"}"#] {
        world.starts(&export, &json(text));
        world.refuses(&task("one", "no"), "container_not_granted");
    }
}

#[test]
fn an_answer_that_cannot_be_read_one_way_names_no_job_and_passes_as_it_is() {
    let world = world(IN_71);
    let deep = format!(r#"{{"x":{}{},"task":{{"id":"deep"}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"task":{{"id":"{}"}}}}"#, "7".repeat(1 << 20));
    let far = format!(r#"{{"x":"{}","task":{{"id":"no"}}}}"#, "x".repeat(2 << 20));
    let id = r#"{"task":{"id":"no"}}"#;
    let typed = |fields: &str, body: &str| answer("200 OK", fields, body);
    for said in [
        json(r#"{"task":{"id":"no","id":"yes"}}"#),
        json(r#"{"task":{"id":"yes","\u0069d":"no"}}"#),
        json(r#"{"task":{"id":"no"},"task":{"id":"yes"}}"#),
        json(r#"{"task":{"id":"no"},"t\u0061sk":null}"#),
        json(r#"{"task":{"id":"no"}} {"task":{"id":"yes"}}"#),
        json(r#"{"task":{"id":["no"]}}"#),
        json(r#"{"task":{"id":null},"id":"no"}"#),
        json(r#"[{"task":{"id":"no"}}]"#),
        json(&long),
        json(&far),
        typed("content-type: text/plain\r\n", id),
        typed("content-type: application/json\r\ncontent-type: text/plain\r\n", id),
        typed("content-type: application/json\r\ncontent-encoding: gzip\r\n", id),
        typed("content-type: application/json; charset=utf-16\r\n", id),
        answer("400 Bad Request", "content-type: application/json\r\n", id),
        answer("500 Oops", "content-type: application/json\r\n", id),
        answer("303 See Other", "content-type: application/json\r\nlocation: /tasks/no\r\n", id),
        answer("206 Partial Content", "content-type: application/json\r\n", id),
    ] {
        world.says(&said);
        let came = world.gate.ask(&copy("one", "71"));
        let body = said.split_once("\r\n\r\n").expect("a body").1;
        assert!(came.body == body && came.reason().is_none(), "{}", came.head);
        for id in ["no", "yes", "7"] {
            world.refuses(&task("one", id), "container_not_granted");
        }
    }
    world.starts(&copy("one", "71"), &json(&deep));
    world.passes(&task("one", "deep"));
    world.starts(&copy("one", "71"), &typed("", r#" {"a":{"id":"no"},"task":{"x":1.5e3,"id":10641}} "#));
    world.passes(&task("one", "10641"));
    // The product was asked for what can be read.
    let last =
        world.gate.upstream.requests().into_iter().rfind(|one| one.line().starts_with("POST /copy")).expect("it came");
    assert_eq!(last.field("accept-encoding"), Some("identity"), "{}", last.head);
}

#[test]
fn it_is_remembered_before_the_app_can_know_it_whatever_worker_it_asks() {
    let world = world_of(IN_71, |setup| setup.top("data_plane", "{threads: 4}"));
    for number in 0..50 {
        world.copies("one", "71", &format!("a{number}"));
        // Each on a connection of its own: the kernel gives it to any worker.
        for _ in 0..3 {
            world.passes(&task("one", &format!("a{number}")));
        }
    }
}

#[test]
fn an_answer_that_is_still_coming_is_remembered_as_soon_as_its_id_has_come() {
    let (goes_on, waits) = std::sync::mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let upstream = StubUpstream::serve(move |mut connection| {
        while let Some(request) = connection.read_request() {
            if !request.line().starts_with("POST /copy") {
                let _ = connection.write(answer("200 OK", "", "ok").as_bytes());
                continue;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = connection.write(format!("{head}12\r\n{{\"task\":{{\"id\":\"77\"\r\n").as_bytes());
            let _ = waits.lock().expect("it waits").recv();
            let _ = connection.write(b"12\r\n,\"id\":\"78\"},\"x\":1}\r\n0\r\n\r\n");
        }
    });
    let gate = Setup::own("wiki", WIKI).policy("one.yaml", &app("one", IN_71)).before(upstream);
    let mut stream = std::net::TcpStream::connect(gate.address()).expect("a connection");
    std::io::Write::write_all(&mut stream, copy("one", "71").text().as_bytes()).expect("it is sent");
    let (mut came, mut piece) = (String::new(), [0; 1024]);
    while !came.contains("\"77\"") {
        let count = stream.read(&mut piece).expect("a piece");
        came.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert_eq!(gate.ask(&task("one", "77")).status, 200);
    // The same name once more: nobody knows which one counts.
    goes_on.send(()).expect("it waits");
    while !came.ends_with("0\r\n\r\n") {
        let count = stream.read(&mut piece).expect("a piece");
        came.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    gate.refuses(&task("one", "77"), "container_not_granted");
    gate.refuses(&task("one", "78"), "container_not_granted");
}

#[test]
fn a_thing_lies_where_it_lay_when_the_job_was_started() {
    let world = world(IN_71);
    let copy_pages = |pages: &str| Ask::post("/pages").bearer("one").json(&format!(r#"{{"pages": {pages}}}"#));
    world.starts(&copy_pages("[1, 4]"), &json(r#"{"task":{"id":"7"}}"#));
    world.passes(&task("one", "7"));
    *world.page_4.lock().expect("a space") = "72";
    world.passes(&Ask::put("/pages/3").bearer("one").json("{}"));
    world.passes(&task("one", "7"));
    world.refuses(&copy_pages("[1, 4]"), "not_found");
    let asked = world.gate.upstream.requests().iter().filter(|one| one.line().contains("/pages/4?")).count();
    assert_eq!(asked, 2, "nothing is asked about a job");
    // What a look-up once told is not told to who is refused.
    world.rewrite(ALL_BUT_72, &get("one", "/spaces/73"), 200);
    world.passes(&task("one", "7"));
    let revoked = "grants: [{scopes: [write], actors: [app], in: all}]\n\
                   revocations: [{scopes: [read], in: {space: ['71']}, reason: SEC-4}]\n";
    world.rewrite(revoked, &task("one", "7"), 404);
    let hidden = world.refuses(&task("one", "7"), "not_found");
    let said = without_ids(&hidden);
    assert!(!said.contains("71") && !said.contains("SEC-4"), "{said}");
    world.rewrite("grants: [{scopes: [read], actors: [app], in: all}]\n", &task("one", "7"), 200);
    world.refuses(&Ask::post("/tasks/7/cancel").bearer("one"), "missing_scope");
}

#[test]
fn what_was_not_told_when_it_was_started_is_unknown_afterwards() {
    let world = world(ALL);
    let asked = || world.gate.upstream.requests().iter().filter(|one| is_question(one)).count();
    world.starts(&Ask::post("/pages").bearer("one").json(r#"{"pages": [1]}"#), &json(r#"{"task":{"id":"7"}}"#));
    world.copies("one", "71", "8");
    assert_eq!(asked(), 0, "who may do all is not asked about");
    world.passes(&task("one", "7"));
    world.rewrite(ALL_BUT_72, &get("one", "/spaces/72"), 404);
    // It may have been in the space that was revoked since; nobody asks now, for the page may have been moved.
    world.refuses(&task("one", "7"), "container_revoked");
    world.passes(&task("one", "8"));
    assert_eq!(asked(), 0);
}

#[test]
fn a_space_named_by_its_key_is_known_by_its_id() {
    let world = world(IN_71);
    world.refuses(&copy("one", "HR"), "not_found");
    world.copies("one", "ENG", "7");
    world.passes(&task("one", "7"));
    let revoked = "grants: [{scopes: [write], actors: [app], in: {space: ['72']}}]\n";
    world.rewrite(revoked, &task("one", "7"), 404);
    world.refuses(&task("one", "7"), "not_found");
}

#[test]
fn a_job_of_one_tenant_is_none_of_another() {
    let wiki = |tenant: &str, rules: &str| {
        app("one", rules)
            .replace("tenant: acme", &format!("tenant: {tenant}"))
            .replace("(one)", &format!("(of-{tenant})"))
    };
    let of = |tenant: &str| wiki(tenant, "");
    let installations = of("other").split_once("installations:\n").expect("an installation").1.to_owned();
    let policy = wiki("acme", "").trim_end().to_owned() + "\n" + &installations;
    let rules = "grants: [{scopes: [write], actors: [app], tenants: [acme, other], in: {space: ['71']}}]\n";
    let world = world_of(IN_71, |setup| {
        let tenants = "[{id: acme, name: A}, {id: other, name: O}]";
        setup.gate("tenant", "path").gate("tenants", tenants).policy("one.yaml", &(policy + rules))
    });
    let copy =
        |tenant: &str| Ask::post(&format!("/t/{tenant}/copy")).bearer(&format!("of-{tenant}")).json(r#"{"from":"71"}"#);
    let task = |tenant: &str| get(&format!("of-{tenant}"), &format!("/t/{tenant}/tasks/7"));
    world.starts(&copy("acme"), &json(r#"{"task":{"id":"7"}}"#));
    world.passes(&task("acme"));
    world.refuses(&task("other"), "container_not_granted");
    world.starts(&copy("other"), &json(r#"{"task":{"id":"7"}}"#));
    world.passes(&task("other"));
    world.passes(&task("acme"));
}

#[test]
fn a_user_of_the_app_asks_about_what_the_app_started_where_that_user_may() {
    let credentials = "- {method: token, kind: person, user: U1, sha256: sha256(dana)}";
    let rules = "grants:\n  - {scopes: [write], actors: [app], in: {space: ['71', '72']}}\n  \
                 - {scopes: [read], actors: [user], in: {space: ['71']}}\n";
    let policy = app("one", rules).replace("sha256(one)}\n", &format!("sha256(one)}}\n      {credentials}\n"));
    let world = world_of(IN_71, |setup| setup.policy("one.yaml", &policy));
    world.copies("one", "71", "7");
    world.copies("one", "72", "8");
    world.passes(&task("dana", "7"));
    world.refuses(&task("dana", "8"), "container_not_granted");
    world.refuses(&Ask::post("/tasks/7/cancel").bearer("dana"), "actor_not_allowed");
}

#[test]
fn under_observe_it_is_said_what_would_have_been_refused_and_nothing_of_what_would_not() {
    let observed =
        app("one", IN_71).replace("    credentials:", "    observe: {until: '2030-01-01T00:00:00Z'}\n    credentials:");
    let until = {
        let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(24 * 3_600);
        let seconds = soon.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        humantime(seconds)
    };
    let observed = observed.replace("2030-01-01T00:00:00Z", &until);
    let world = world_of(IN_71, |setup| setup.policy("one.yaml", &observed));
    world.copies("one", "71", "7");
    let would = |ask: &Ask| {
        let answer = world.gate.ask(ask);
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.field("x-scopegate-would").map(str::to_owned)
    };
    assert_eq!(would(&task("one", "7")), None);
    assert_eq!(would(&task("one", "8")).as_deref(), Some("container_not_granted"));
}

/// A Unix time as policies write it.
fn humantime(seconds: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).expect("a time")).expect("a time");
    time.format(&time::format_description::well_known::Rfc3339).expect("a text")
}

#[test]
fn an_app_that_starts_many_forgets_its_own_and_nothing_of_another_s() {
    let world = world(IN_71);
    world.copies("two", "71", "of-two");
    let mut client = world.gate.connect();
    for number in 0..1_001 {
        world.says(&json(&format!(r#"{{"task":{{"id":"n{number}"}}}}"#)));
        client.send(&copy("one", "71").text());
        assert_eq!(client.answer().status, 200);
    }
    world.refuses(&task("one", "n0"), "container_not_granted");
    world.passes(&task("one", "n1"));
    world.passes(&task("one", "n1000"));
    world.passes(&task("two", "of-two"));
}

#[test]
fn a_restart_forgets_and_what_is_forgotten_is_the_tenant_s() {
    let mut world = world(IN_71);
    world.copies("one", "71", "7");
    world.passes(&task("one", "7"));
    world.gate.take().stop();
    world.gate.restart();
    world.refuses(&task("one", "7"), "container_not_granted");
}

#[test]
fn a_result_that_is_still_coming_is_cut_when_its_space_is_revoked() {
    let upstream = StubUpstream::serve(|mut connection| {
        while let Some(request) = connection.read_request() {
            let reply = match request.line().starts_with("POST") {
                true => json(r#"{"task":{"id":"7"}}"#),
                false => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthe beginning".to_owned(),
            };
            let _ = connection.write(reply.as_bytes());
        }
    });
    let gate = Setup::own("wiki", WIKI).policy("one.yaml", &app("one", ALL)).before(upstream);
    assert_eq!(gate.ask(&copy("one", "71")).status, 200);
    let mut stream = std::net::TcpStream::connect(gate.address()).expect("a connection");
    stream.set_read_timeout(Some(crate::support::upstream::DEADLINE)).expect("a timeout");
    std::io::Write::write_all(&mut stream, task("one", "7").text().as_bytes()).expect("it is sent");
    let (mut came, mut piece) = (String::new(), [0; 1024]);
    while !came.ends_with("the beginning") {
        let count = stream.read(&mut piece).expect("a piece");
        came.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    // A revocation elsewhere leaves it alone.
    gate.write_policy("one.yaml", &app("one", ALL_BUT_72));
    wait_until("the policy", || gate.ask(&Ask::post("/wipe").bearer("one")).status == 404);
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout");
    assert!(stream.read(&mut piece).is_err(), "it goes on");
    stream.set_read_timeout(Some(crate::support::upstream::DEADLINE)).expect("a timeout");
    gate.write_policy("one.yaml", &app("one", &ALL_BUT_72.replace("'72'", "'71'")));
    assert_eq!(stream.read(&mut piece).expect("its end"), 0);
    gate.refuses(&task("one", "7"), "container_revoked");
}
