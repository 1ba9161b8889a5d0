//! What rights are used for, and what outlasts a revocation: counted and remembered as it passes, and shown with what removes it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use scopegate::authz::catalog::builtin;
use scopegate::clock::unix_ms;
use scopegate::control::usage::reading::{Outlasts, Reader};
use serde_json::json;

use crate::cli::run_in;
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

fn app(name: &str, kind: &str, tenant: &str, grants: &str) -> String {
    let (_, short) = name.split_once('/').unwrap();
    format!(
        "version: 1\napp: {name}\nname: N\ncontact: it@example.com\ninstallations:\n  - tenant: {tenant}\n    \
         credentials: [{{method: token, kind: {kind}, sha256: \"sha256({short})\"}}]\n{grants}"
    )
}

const HOOKS: &str =
    "grants: [{scopes: ['manage:jira-webhook', 'read:jira-work', 'gate:deliver'], actors: [app], in: all}]\n";

fn jira(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Gate {
    let setup = Setup::jira().top("state", "state");
    let setup = setup.policy("a.yaml", &app("jira/hooks", "oauth", "acme", HOOKS));
    let setup = setup.policy("b.yaml", &app("jira/other", "oauth", "acme", HOOKS));
    setup.before(StubUpstream::start(answer))
}

fn json_answer(status: u16, body: &str) -> Reply {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    Reply::raw(&format!("{head}\r\n\r\n{body}"))
}

/// What is remembered of an app, once all that happened was written.
fn remembered(gate: &Gate, app: &str) -> Vec<Outlasts> {
    gate.running().flush_usage();
    Reader::open(&gate.path("state")).unwrap().outlasting(Some(app)).unwrap().0
}

fn ids(gate: &Gate, app: &str) -> Vec<Option<String>> {
    let mut ids: Vec<_> = remembered(gate, app).into_iter().map(|one| one.id).collect();
    ids.sort();
    ids
}

fn register() -> Ask {
    Ask::post("/rest/api/3/webhook").json(r#"{"url":"https://app.example.com/hook","webhooks":[]}"#)
}

fn delete(ids: &str) -> Ask {
    Ask::new("DELETE", "/rest/api/3/webhook").json(&format!(r#"{{"webhookIds":[{ids}]}}"#))
}

const REGISTERED: &str = r#"{"webhookRegistrationResult":[{"createdWebhookId":1000},{"createdWebhookId":1001}]}"#;

#[test]
fn permits_and_refusals_are_counted_by_app_and_operation() {
    let gate = jira(|_| Reply::ok("{}"));
    let read = Ask::get("/rest/api/3/issue/PROJ-1");
    for _ in 0..3 {
        gate.passes(&read.clone().bearer("hooks"));
    }
    gate.refuses(&Ask::new("DELETE", "/rest/api/3/issue/PROJ-1").bearer("hooks"), "missing_scope");
    // Who is not identified, and what is not known, is nobody's use.
    gate.refuses(&read.clone().bearer("nobody"), "unknown_app");
    wait_until("the counts", || {
        gate.running().flush_usage();
        Reader::open(&gate.path("state")).unwrap().recent("jira/hooks", None, unix_ms()).unwrap().len() == 2
    });
    let reader = Reader::open(&gate.path("state")).unwrap();
    let used = reader.recent("jira/hooks", None, unix_ms()).unwrap();
    assert_eq!((used[0].operation.as_str(), used[0].permits, used[0].denials), ("getIssue", 3, 0));
    assert_eq!((used[1].operation.as_str(), used[1].permits, used[1].denials), ("deleteIssue", 0, 1));
    assert!(used[0].last_permit_ms.is_some() && used[0].last_denial_ms.is_none());
    let preview = reader.recent("jira/hooks", Some(&["deleteIssue", "editIssue"]), unix_ms()).unwrap();
    assert_eq!(preview.len(), 1);
    assert!(reader.recent("jira/other", None, unix_ms()).unwrap().is_empty());
    // After 30 days nobody knows any more.
    assert!(reader.recent("jira/hooks", None, unix_ms() + 31 * 86_400_000).unwrap().is_empty());
    let ran = run_in(gate.folder.path(), &["usage", "--app", "jira/hooks", "--config", "scopegate.yaml"]);
    ran.says(0, &["2 operations used", "getIssue  3 permitted, last ", "deleteIssue  0 permitted; 1 refused"]);
}

#[test]
fn a_webhook_is_remembered_until_the_call_that_removes_it_passes() {
    let gate = jira(|request| match request.line().split(' ').next() {
        Some("POST") => json_answer(200, REGISTERED),
        _ => json_answer(202, ""),
    });
    gate.ask(&register().bearer("hooks"));
    wait_until("both", || ids(&gate, "jira/hooks") == [Some("1000".to_owned()), Some("1001".to_owned())]);
    let one = remembered(&gate, "jira/hooks").remove(0);
    assert_eq!((one.tenant.as_str(), one.operation.as_str()), ("acme", "registerDynamicWebhooks"));
    assert_eq!(one.decision.len(), remembered(&gate, "jira/hooks")[1].decision.len());
    // Another app's webhook may have the same number.
    gate.ask(&delete("1000").bearer("other"));
    gate.ask(&delete("1000").bearer("hooks"));
    wait_until("one to be gone", || ids(&gate, "jira/hooks") == [Some("1001".to_owned())]);
    let ran = run_in(gate.folder.path(), &["apps", "--format", "json", "--config", "scopegate.yaml"]);
    let apps = ran.json();
    let left = &apps["apps"][0]["outlasting"][0];
    assert_eq!((&left["id"], &left["undo"]["operation"]), (&json!("1001"), &json!("deleteWebhookById")), "{apps}");
    assert_eq!(left["undo"]["request"], "DELETE /webhook");
    assert_eq!(apps["apps"][1]["outlasting"], json!([]));
    let told = run_in(gate.folder.path(), &["usage", "--app", "jira/hooks", "--config", "scopegate.yaml"]);
    told.says(0, &["registerDynamicWebhooks 1001", "deleteWebhookById (DELETE /webhook) removes it"]);
}

#[test]
fn a_removal_that_the_product_refused_removes_nothing_and_a_refused_registration_made_nothing() {
    let gate = jira(|request| match request.line().split(' ').next() {
        Some("POST") if request.head.contains("made: no") => json_answer(400, REGISTERED),
        Some("POST") => json_answer(200, REGISTERED),
        _ => json_answer(403, ""),
    });
    gate.ask(&register().with("made", "no").bearer("hooks"));
    gate.ask(&delete("1000").bearer("hooks"));
    gate.ask(&register().bearer("hooks"));
    wait_until("both", || ids(&gate, "jira/hooks").len() == 2);
    gate.ask(&delete("1000,1001").bearer("hooks"));
    // What comes after it has been seen too.
    gate.ask(&register().bearer("other"));
    wait_until("the others", || ids(&gate, "jira/other").len() == 2);
    assert_eq!(ids(&gate, "jira/hooks").len(), 2);
}

#[test]
fn an_answer_that_never_came_whole_is_remembered_without_an_id() {
    let gate = jira(|_| Reply::WriteAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"webhookReg".to_vec()));
    let mut client = gate.connect();
    client.send(&register().bearer("hooks").text());
    wait_until("it", || ids(&gate, "jira/hooks") == [None]);
}

#[test]
fn a_refused_call_leaves_nothing() {
    let gate = jira(|_| json_answer(200, REGISTERED));
    let without = HOOKS.replace(", 'gate:deliver'", "");
    gate.write_policy("a.yaml", &app("jira/hooks", "oauth", "acme", &without));
    wait_until("the guard", || gate.ask(&register().bearer("hooks")).reason() == Some("missing_scope"));
    let before = ids(&gate, "jira/hooks").len();
    gate.refuses(&register().bearer("hooks"), "missing_scope");
    gate.ask(&register().bearer("other"));
    wait_until("the others", || ids(&gate, "jira/other").len() == 2);
    assert_eq!(ids(&gate, "jira/hooks").len(), before);
}

#[test]
fn a_scheduled_message_is_remembered_by_its_id_and_ok_false_made_none() {
    let grants = "grants: [{scopes: ['chat:write'], actors: [app], in: all}]\n";
    let setup = Setup::slack().top("state", "state").policy("a.yaml", &app("slack/a", "bot", "T024BE7LD", grants));
    let gate = setup.before(StubUpstream::start(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match (request.line().contains("delete"), body.contains("refused")) {
            (_, true) => json_answer(200, r#"{"ok":false,"error":"nope","scheduled_message_id":"Q9"}"#),
            (false, _) => json_answer(200, r#"{"ok":true,"scheduled_message_id":"Q1","channel":"C0HELP"}"#),
            (true, _) => json_answer(200, r#"{"ok":true}"#),
        }
    }));
    let schedule = |text: &str| {
        let body = format!(r#"{{"channel":"C0HELP","text":"{text}","post_at":1795165200}}"#);
        gate.ask(&Ask::post("/api/chat.scheduleMessage").bearer("a").json(&body))
    };
    schedule("refused");
    schedule("hello");
    wait_until("the message", || ids(&gate, "slack/a") == [Some("Q1".to_owned())]);
    assert_eq!(remembered(&gate, "slack/a")[0].containers, "channel=C0HELP");
    let cancel = |extra: &str| {
        let body = format!("channel=C0HELP&scheduled_message_id=Q1{extra}");
        gate.ask(&Ask::post("/api/chat.deleteScheduledMessage").bearer("a").form(&body))
    };
    cancel("&note=refused");
    schedule("again");
    assert_eq!(ids(&gate, "slack/a"), [Some("Q1".to_owned())]);
    cancel("");
    wait_until("it to be gone", || ids(&gate, "slack/a").is_empty());
}

#[test]
fn every_operation_that_is_guarded_says_what_removes_what_it_leaves() {
    for (product, least) in [("jira", 10), ("slack", 10), ("confluence", 1), ("bitbucket", 15), ("buddy", 6)] {
        let catalog = builtin::catalog(product).unwrap();
        let guards = ["gate:deliver", "gate:mint"].map(|guard| catalog.scope(guard).unwrap());
        let mut seen = 0;
        for operation in catalog.operations.iter().filter(|one| guards.iter().any(|guard| one.guards.contains(guard))) {
            let undo = operation.undo.as_ref().unwrap_or_else(|| panic!("{} says nothing", operation.id));
            assert!(undo.why.len() > 10, "{}: {}", operation.id, undo.why);
            if let Some(by) = undo.by {
                let by = &catalog.operations[usize::from(by.0)];
                // One that names what was made must be named by what removes it.
                let named = !undo.answer.is_empty() || undo.argument.is_some();
                assert!(!named || by.remover.is_some(), "{} does not say what it removes", by.id);
            }
            seen += 1;
        }
        assert!(seen >= least, "{product}: {seen}");
    }
}

#[test]
fn without_a_state_folder_nobody_claims_that_there_is_nothing() {
    let gate = Setup::jira().policy("a.yaml", &app("jira/hooks", "oauth", "acme", HOOKS)).start();
    gate.passes(&register().bearer("hooks"));
    let ran = run_in(gate.folder.path(), &["apps", "--format", "json", "--config", "scopegate.yaml"]);
    assert_eq!(ran.json()["apps"][0]["outlasting"], json!(null), "{}", ran.out);
    let ran = run_in(gate.folder.path(), &["usage", "--app", "jira/hooks", "--config", "scopegate.yaml"]);
    ran.says(1, &["names no state folder"]);
    assert!(gate.health("/readyz").body.contains(r#""usage":{"is":"off"}"#));
}

#[test]
fn a_state_folder_that_goes_is_said_and_made_anew_and_nothing_waits_for_it() {
    let gate = jira(|_| Reply::ok("{}"));
    std::fs::remove_dir_all(gate.path("state")).unwrap();
    std::fs::write(gate.path("state"), "in its way").unwrap();
    gate.passes(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("hooks"));
    wait_until("it to be said", || {
        gate.running().flush_usage();
        gate.metric(r#"scopegate_state_problems{what="usage"}"#) == 1.0
    });
    std::fs::remove_file(gate.path("state")).unwrap();
    wait_until("the counts", || {
        gate.running().flush_usage();
        let used = Reader::open(&gate.path("state")).and_then(|reader| reader.recent("jira/hooks", None, unix_ms()));
        used.is_ok_and(|used| used.iter().any(|one| one.permits == 1))
    });
    assert_eq!(gate.metric(r#"scopegate_state_problems{what="usage"}"#), 0.0);
}
