//! The admin listener: what the running gate judges by, asked over its Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::jira_app;
use crate::support::gate::{Gate, Setup};

fn gate() -> Gate {
    let rules = "grants: [{scopes: [read:jira-work], actors: [app, user], in: {project: [PROJ]}}]";
    Setup::jira()
        .top("admin", "{listen: 'unix:admin.sock'}")
        .policy("a.yaml", &jira_app("tracker", "oauth", rules))
        .start()
}

fn ask(gate: &Gate, request: &str, body: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(gate.folder.path().join("admin.sock")).expect("the admin socket");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
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
