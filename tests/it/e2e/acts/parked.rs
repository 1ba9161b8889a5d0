//! Law 8: from the return of `revoke` on, no first byte goes upstream, whenever the request began. `cargo bench --bench
//! revoke -- parked` has 5,000 of them wait, and does it 10,000 times.

use bytes::Bytes;
use h2::SendStream;
use http::Request;
use tokio::time::timeout;

use super::*;
use crate::support::http2::Client as Http2Client;
use crate::support::upstream::DEADLINE;

const TRIALS: usize = 30;
/// Of each of four kinds: bodies that are held, for the project stands in them, and bodies that are passed on, over
/// HTTP/1.1 and over HTTP/2.
const OF_EACH: usize = 25;

fn create() -> Ask {
    let body = r#"{"fields":{"project":{"key":"SEC"},"summary":"x"}}"#;
    Ask::post("/rest/api/3/issue").bearer("tracker").json(body)
}

fn comment() -> Ask {
    Ask::post("/rest/api/3/issue/SEC-1/comment").bearer("tracker").json(r#"{"body":"a comment"}"#)
}

/// One on its way over HTTP/2: its answer, and where the rest of its body goes.
type Half = (h2::client::ResponseFuture, SendStream<Bytes>);

fn begin(client: &mut Http2Client, gate: &Gate, method: &str, path: &str, body: &'static str) -> Half {
    let request = Request::builder().method(method).uri(format!("http://{}{path}", gate.address()));
    let request = request.header("authorization", "Bearer tracker").header("content-type", "application/json");
    let request = request.header("content-length", body.len()).body(()).expect("one");
    let Http2Client { runtime, sender } = client;
    runtime.block_on(async {
        *sender = sender.clone().ready().await.expect("room");
        let (answer, mut rest) = sender.send_request(request, false).expect("sent");
        rest.send_data(Bytes::from_static(&body.as_bytes()[..body.len() - 1]), false).expect("room");
        (answer, rest)
    })
}

#[test]
fn nothing_that_was_under_way_passes_after_a_revocation_was_acknowledged() {
    let gate = gate();
    let mut client = Http2Client::connect(gate.address());
    for _ in 0..TRIALS {
        let mut parked: Vec<_> = (0..OF_EACH * 2)
            .map(|number| {
                let (head, rest) = if number < OF_EACH { create().halves() } else { comment().halves() };
                let mut connection = gate.connect();
                connection.send(&head);
                (connection, rest)
            })
            .collect();
        let mut streams = Vec::new();
        for _ in 0..OF_EACH {
            let held = r#"{"fields":{"project":{"key":"SEC"},"summary":"x"}}"#;
            streams.push(begin(&mut client, &gate, "POST", "/rest/api/3/issue", held));
            streams.push(begin(
                &mut client,
                &gate,
                "POST",
                "/rest/api/3/issue/SEC-1/comment",
                r#"{"body":"a comment"}"#,
            ));
        }
        let order = json!({"act": "revoke", "app": "jira/tracker", "scopes": ["write:jira-work"], "in": ["project:SEC"], "reason": "x"});
        let (status, done) = ask(&gate, "POST /api/v1/acts", &order);
        assert_eq!((status, &done["in_force"]["gates"]), (200, &json!(1)), "{done}");
        let seen = gate.upstream.requests().len();
        for (connection, rest) in parked.iter_mut().take(OF_EACH) {
            connection.send(rest);
            assert_eq!(connection.answer().reason(), Some("container_revoked"));
        }
        // Those that were passed on are cut: the other half of their bodies finds nobody, and no answer of the product's.
        drop(parked.split_off(OF_EACH));
        for (answer, mut rest) in streams {
            let answer = client.runtime.block_on(async {
                let _ = rest.send_data(Bytes::from_static(b"}"), true);
                timeout(DEADLINE, answer).await.expect("in time")
            });
            if let Ok(answer) = answer {
                assert_eq!(answer.headers()["x-scopegate-reason"], "container_revoked");
            }
        }
        assert_eq!(gate.upstream.requests().len(), seen, "none of what was parked went upstream");
        let generation = ask(&gate, "GET /api/v1/snapshot", &Value::Null).1["generation"].clone();
        let restore = format!(
            "POST /api/v1/acts/{}/restore HTTP/1.1\r\nif-match: \"{generation}\"\r\nx: y",
            done["id"].as_str().expect("an id")
        );
        assert_eq!(ask(&gate, &restore, &json!({"reason": "x"})).0, 200);
        gate.passes(&create());
    }
}

/// Trials of [`nothing_that_is_sent_after_it_was_acknowledged_passes`]; `SCOPEGATE_TRIALS` says more.
const SENT_TRIALS: usize = 20;
const SENDERS: usize = 4;

/// What a sender saw pass that must not.
type Passed = std::sync::Mutex<Vec<String>>;

#[test]
fn nothing_that_is_sent_after_it_was_acknowledged_passes() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    let gate = gate();
    let address = gate.address();
    // The number of the trial in which everything is taken; 0: nothing is.
    let (revoked, over, asked) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let passed = Passed::default();
    let send = || {
        let mut client = crate::support::gate::connect(address);
        while !over.load(SeqCst) {
            let before = revoked.load(SeqCst);
            client.send_if_open(&read("SEC-1").text());
            // One that was under way may have been cut.
            let Some(head) = client.head() else {
                client = crate::support::gate::connect(address);
                continue;
            };
            let answer = client.answer_after(head);
            asked.fetch_add(1, SeqCst);
            // Between two trials it may be permitted.
            if before > 0 && revoked.load(SeqCst) == before && answer.reason().is_none() {
                passed.lock().expect("a lock").push(answer.head);
            }
        }
    };
    let trials = std::env::var("SCOPEGATE_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(SENT_TRIALS);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(send);
        }
        for trial in 1..=trials {
            let order = json!({"act": "revoke", "app": "jira/tracker", "all_scopes": true, "in": ["project:SEC"], "reason": "x"});
            let (status, done) = ask(&gate, "POST /api/v1/acts", &order);
            assert_eq!((status, &done["in_force"]["gates"]), (200, &json!(1)), "{done}");
            revoked.store(trial, SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(5));
            revoked.store(0, SeqCst);
            let passed = std::mem::take(&mut *passed.lock().expect("a lock"));
            if !passed.is_empty() {
                over.store(true, SeqCst);
                let (_, log) = ask(&gate, "GET /api/v1/log", &Value::Null);
                let lines = gate.log.lines(asked.load(SeqCst));
                let permits: Vec<_> = lines.iter().rev().filter(|line| line["outcome"] == "permit").take(6).collect();
                let last: Vec<_> = lines
                    .iter()
                    .rev()
                    .take(40)
                    .map(|line| (&line["outcome"], &line["generation"], &line["at"], &line["time"]))
                    .collect();
                panic!("trial {trial}: {passed:#?}\n{done:#}\n{permits:#?}\n{last:#?}\n{log:#}");
            }
            let id = done["id"].as_str().expect("an id");
            let head = format!(
                "POST /api/v1/acts/{id}/restore HTTP/1.1\r\nif-match: \"{}\"\r\nx: y",
                done["in_force"]["generation"]
            );
            assert_eq!(ask(&gate, &head, &json!({"reason": "x"})).0, 200);
        }
        over.store(true, SeqCst);
    });
    assert!(asked.load(SeqCst) > trials, "nobody asked");
}
