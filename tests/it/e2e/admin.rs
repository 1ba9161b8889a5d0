//! The admin listener: who is let in, who may do what, and what the running gate judges by.

mod browsers;
mod certificates;
mod commands;
mod description;
mod listener;
mod principals;
mod reads;
mod roles;
mod socket;
mod two_admins;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use scopegate::config::model::Listen;
use scopegate::control::admin::endpoint::Endpoint;
use serde_json::{Value, json};

use super::jira_app;
use crate::support::client::Answer;
use crate::support::gate::{Ask, Gate, Setup, connect};

/// One token for each role, and the file that names them.
pub const VIEWER: &str = "0123456789abcdef-viewer";
pub const APPROVER: &str = "0123456789abcdef-approver";
pub const ADMIN: &str = "0123456789abcdef-admin";
const TOKENS: &str = "grafana viewer 0123456789abcdef-viewer\noncall approver 0123456789abcdef-approver\n\
                      dana admin 0123456789abcdef-admin\n";

/// What the app of these tests holds.
const GRANTS: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app, user], in: all}]\n";

/// A gate with an admin listener on TCP, which takes the tokens above.
fn on_tcp() -> Setup {
    guarded("{listen: '127.0.0.1:0', token: {file: tokens}, hosts: [gate.internal]}")
}

/// A gate with this admin listener, a journal and a folder for acts.
fn guarded(admin: &str) -> Setup {
    let setup = Setup::jira().top("admin", admin).top("overrides", "state/overrides").top("state", "state");
    setup.file("tokens", TOKENS).policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS))
}

fn address(gate: &Gate) -> SocketAddr {
    match &gate.running().admin {
        Some(Listen::Tcp(address)) => *address,
        other => panic!("{other:?} is no port"),
    }
}

/// Asks the admin listener on TCP as it is written, but for `Host` where that is not.
fn raw(gate: &Gate, ask: &Ask) -> Answer {
    let mut client = connect(address(gate));
    client.send(&ask.text().replace("host: gate.test", "host: localhost"));
    client.answer()
}

/// The same with a token: status and JSON.
fn tell(gate: &Gate, token: &str, ask: &Ask) -> (u16, Value) {
    let answer = raw(gate, &ask.clone().bearer(token));
    (answer.status, answer.json())
}

/// The act by which the tests take `write:jira-work` from the app.
fn revoke() -> Value {
    json!({"act": "revoke", "app": "jira/tracker", "scopes": ["write:jira-work"], "reason": "SEC-1142"})
}

fn grant() -> Value {
    json!({"act": "grant", "app": "jira/tracker", "scopes": ["delete:issue:jira"], "everywhere": true, "reason": "import"})
}

fn generation(gate: &Gate) -> u64 {
    gate.running().live.load().generation
}

/// An order, on the generation in force.
fn order(gate: &Gate, order: &Value) -> Ask {
    let tag = format!("\"{}\"", generation(gate));
    Ask::post("/api/v1/acts").with("if-match", &tag).json(&order.to_string())
}

/// Acts that stand on the disk.
fn acts(gate: &Gate) -> usize {
    std::fs::read_dir(gate.path("state/overrides")).map_or(0, |entries| entries.count())
}

/// A request that an endpoint understands. `id`: of an act that stands.
fn sound(gate: &Gate, endpoint: Endpoint, id: &str) -> Ask {
    let path = endpoint.path().replace("{id}", id).replace("{product}", "jira").replace("{app}", "tracker");
    let tag = format!("\"{}\"", generation(gate));
    let why = json!({"reason": "over"}).to_string();
    let question = json!({"app": "jira/tracker", "tenant": "acme", "actor": "app", "path": "/rest/api/3/issue/PROJ-1"});
    match endpoint {
        Endpoint::Explain => Ask::post(&path).json(&question.to_string()),
        Endpoint::Order => order(gate, &revoke()),
        Endpoint::Restore | Endpoint::Promote => Ask::post(&path).with("if-match", &tag).json(&why),
        Endpoint::Whoami
        | Endpoint::Snapshot
        | Endpoint::Acts
        | Endpoint::Apps
        | Endpoint::App
        | Endpoint::Cells
        | Endpoint::History
        | Endpoint::Description => Ask::get(&path),
    }
}

fn gate() -> Gate {
    let rules = "grants: [{scopes: [read:jira-work], actors: [app, user], in: {project: [PROJ]}}]";
    Setup::jira()
        .top("admin", "{listen: 'unix:admin.sock'}")
        .policy("a.yaml", &jira_app("tracker", "oauth", rules))
        .start()
}

/// Status and JSON of an answer. `request`: its line, and fields of its own after it.
pub fn ask(gate: &Gate, request: &str, body: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(gate.folder.path().join("admin.sock")).expect("the admin socket");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let request = if request.contains(" HTTP/1.1") { request.to_owned() } else { format!("{request} HTTP/1.1") };
    let head = format!(
        "{request}\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn the_running_gate_says_what_it_judges_by_and_explains() {
    let gate = gate();
    let (status, snapshot) = ask(&gate, "GET /api/v1/snapshot", &Value::Null);
    assert_eq!((status, &snapshot["apps"]), (200, &json!(1)));
    let question = json!({"app": "jira/tracker", "tenant": "acme", "actor": "app", "path": "/rest/api/3/issue/PROJ-1"});
    let (status, answer) = ask(&gate, "POST /api/v1/explain", &question);
    assert_eq!((status, &answer["decision"]), (200, &json!("permit")), "{answer}");
    let question = json!({"app": "jira/tracker", "tenant": "acme", "actor": "app", "path": "/rest/api/3/issue/SEC-1"});
    let (_, answer) = ask(&gate, "POST /api/v1/explain", &question);
    assert_eq!((&answer["decision"], &answer["reason"]), (&json!("deny"), &json!("container_not_granted")), "{answer}");
    assert!(gate.upstream.requests().is_empty(), "explaining sends nothing");
}

#[test]
fn a_question_that_makes_no_sense_is_told_so() {
    let gate = gate();
    let (status, answer) =
        ask(&gate, "POST /api/v1/explain", &json!({"app": "jira/tracker", "tennant": "acme", "path": "/"}));
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().expect("an error").contains("tennant"), "{answer}");
}
