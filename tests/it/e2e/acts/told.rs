//! What a revocation says besides the cells that change, and each word that narrows what it takes.

use scopegate::clock::unix_ms;
use scopegate::control::health::rfc3339;

use super::*;
use crate::support::upstream::{Reply, StubUpstream};

const HOUR_MS: i64 = 3_600_000;
const HOOKS: &str = "grants:\n  - {scopes: [read:jira-work, write:jira-work, manage:jira-webhook, 'gate:deliver'], actors: [app, user], in: all}\n";

fn revoke(gate: &Gate, more: &[&str]) -> String {
    let words = ["revoke", "--app", "jira/tracker", "--reason", "x"];
    says(run(gate, &[&words[..], more].concat()), 0, &["in force on 1 of 1 gate"])
}

#[test]
fn what_was_used_lately_and_what_works_on_is_said_with_the_call_that_removes_it() {
    let setup = setup().top("state", "state").policy("tracker.yaml", &jira_app("tracker", "oauth", HOOKS));
    let gate = setup.before(StubUpstream::start(|request| {
        let made = r#"{"webhookRegistrationResult":[{"createdWebhookId":1000}]}"#;
        let body = if request.line().contains("/webhook") { made } else { "{}" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        Reply::raw(&format!("{head}\r\n\r\n{body}"))
    }));
    for _ in 0..3 {
        gate.passes(&edit("PROJ-1"));
    }
    gate.passes(&read("PROJ-1"));
    let hook = Ask::post("/rest/api/3/webhook").json(r#"{"url":"https://app.example.com/hook","webhooks":[]}"#);
    gate.passes(&hook.bearer("tracker"));
    let words = ["revoke", "--app", "jira/tracker", "--reason", "x", "--dry-run", "--format", "json"];
    let words = [&words[..], &["--scope", "write:jira-work", "manage:jira-webhook"]].concat();
    let told = || -> Value {
        gate.running().flush_usage();
        serde_json::from_str(&says(run(&gate, &words), 0, &[])).expect("JSON")
    };
    wait_until("all of it to be known", || told()["used"].as_array().is_some_and(|used| used.len() == 2));
    wait_until("the webhook to be known", || told()["outlasting"].as_array().is_some_and(|left| left.len() == 1));
    let said = revoke(&gate, &["--scope", "write:jira-work", "manage:jira-webhook"]);
    for part in [
        "used in the last 30 days:\n",
        "  jira/tracker: editIssue 3 times, last 20",
        "  jira/tracker: registerDynamicWebhooks 1 times, last 20",
        "made before, and not reached by it:\n",
        "  jira/tracker: registerDynamicWebhooks 1000 of 20",
        "deleteWebhookById (DELETE /webhook) removes it",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    assert!(!said.contains("getIssue "), "it does not go: {said}");
}

#[test]
fn an_operation_is_taken_by_its_id_and_nothing_else_with_it() {
    let gate = gate();
    let comment = Ask::post("/rest/api/3/issue/PROJ-1/comment").bearer("tracker").json(r#"{"body":"x"}"#);
    revoke(&gate, &["--operation", "editIssue"]);
    gate.refuses(&edit("PROJ-1"), "operation_not_allowed");
    gate.passes(&comment);
    gate.passes(&read("PROJ-1"));
}

#[test]
fn only_the_actor_that_is_named_loses_it() {
    let app = jira_app("tracker", "oauth", GRANTS);
    let user = "      - {method: token, kind: oauth, sha256: sha256(dana), user: dana}\ngrants:";
    let gate = setup().policy("tracker.yaml", &app.replacen("grants:", user, 1)).start();
    let as_dana = Ask::put("/rest/api/3/issue/PROJ-1").bearer("dana").json(r#"{"fields":{"summary":"x"}}"#);
    gate.passes(&as_dana);
    revoke(&gate, &["--scope", "write:jira-work", "--actor", "user"]);
    gate.refuses(&as_dana, "scope_revoked");
    gate.passes(&edit("PROJ-1"));
    revoke(&gate, &["--scope", "write:jira-work", "--actor", "app"]);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
}

#[test]
fn all_scopes_are_taken_by_one_word() {
    let gate = gate();
    revoke(&gate, &["--all-scopes", "--in", "project:SEC"]);
    gate.refuses(&read("SEC-1"), "container_revoked");
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.passes(&read("PROJ-1"));
}

#[test]
fn a_revocation_for_a_time_ends_by_itself() {
    let until = rfc3339(unix_ms() + 2 * HOUR_MS);
    for term in [["--for", "2h"], ["--until", &until]] {
        let gate = gate();
        revoke(&gate, &[&["--scope", "write:jira-work"], &term[..]].concat());
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
        gate.running().live.clock().set_ahead_ms(2 * HOUR_MS - 60_000);
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
        gate.running().live.clock().set_ahead_ms(2 * HOUR_MS + 60_000);
        gate.passes(&edit("PROJ-1"));
    }
}
