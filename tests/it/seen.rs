//! `apps --seen`: whom a gate under `observe` passes though no policy ever named its credential.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use crate::cli::{Ran, run_in};
use crate::support::gate::{Ask, Gate, Setup, digested};
use crate::support::upstream::{Reply, StubUpstream, wait_until};

const APP: &str = "version: 1\napp: jira/known\nname: K\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
                   credentials: [{method: token, kind: oauth, sha256: sha256(known)}]\ngrants: [{scopes: ['read:jira-work'], actors: [app], in: all}]\n";

fn in_a_week() -> String {
    let until = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    until.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn observing(upstream: StubUpstream) -> Gate {
    let setup = Setup::jira().gate("mode", &format!("{{observe: {{until: {}}}}}", in_a_week())).top("state", "state");
    setup.policy("known.yaml", APP).before(upstream)
}

fn seen(gate: &Gate, more: &[&str]) -> Ran {
    gate.running().flush_usage();
    run_in(gate.folder.path(), &[&["apps", "--seen", "--config", "scopegate.yaml"], more].concat())
}

fn issue(token: &str) -> Ask {
    Ask::get("/rest/api/3/issue/PROJ-1").bearer(token)
}

/// The first eight digits of a token's digest.
fn fingerprint(token: &str) -> String {
    digested(&format!("sha256({token})"))[..8].to_owned()
}

fn all(gate: &Gate) -> Vec<serde_json::Value> {
    seen(gate, &["--format", "json"]).json()["seen"].as_array().unwrap().clone()
}

#[test]
fn a_stranger_is_told_by_how_its_digest_begins_with_what_it_used_and_the_yaml_that_would_describe_it() {
    let gate = observing(StubUpstream::ok());
    for _ in 0..3 {
        assert_eq!(gate.ask(&issue("stranger")).status, 200);
    }
    assert_eq!(gate.ask(&Ask::get("/rest/api/3/project/PROJ").bearer("stranger")).status, 200);
    assert_eq!(gate.ask(&Ask::get("/rest/api/3/nowhere").bearer("stranger")).status, 200);
    assert_eq!(gate.ask(&Ask::post("/rest/api/3/webhook").json("{}").bearer("other")).status, 200);
    // Of whom a policy speaks, and who has no lone credential, nothing is kept.
    gate.passes(&issue("known"));
    gate.refuses(&Ask::get("/rest/api/3/issue/PROJ-1"), "unidentified");
    wait_until("both", || all(&gate).len() == 2);
    wait_until("all", || all(&gate).iter().any(|one| one["requests"] == 5));
    let one = all(&gate).into_iter().find(|one| one["fingerprint"] == fingerprint("stranger")).unwrap();
    assert_eq!((&one["gate"], &one["tenant"]), (&"jira".into(), &"acme".into()), "{one}");
    assert_eq!(one["operations"][0], serde_json::json!({"operation": "getIssue", "requests": 3}));
    assert!(one["first"].as_str().unwrap() <= one["last"].as_str().unwrap(), "{one}");
    let text = seen(&gate, &[]);
    let mark = fingerprint("stranger");
    text.says(
        0,
        &[
            &format!("{mark}  at jira in acme: 5 requests"),
            "used getIssue 3",
            "(unknown to the catalog) 1",
            &format!("`scopegate credential hash < TOKEN` begins with {mark}"),
            &format!("app: jira/seen-{mark}"),
            "operations: [getIssue, getProject]",
            "of these some need besides: gate:deliver",
            "2 credentials that no policy named",
        ],
    );
    // The log says the same, and nobody's token or whole digest stands anywhere.
    let log = gate.log.text();
    assert!(log.contains(&format!("\"fingerprint\":\"{mark}\"")), "{log}");
    for told in [&log, &text.out] {
        assert!(!told.contains("stranger\"") && !told.contains(&digested("sha256(stranger)")), "{told}");
    }
}

#[test]
fn the_yaml_that_is_proposed_is_a_policy_once_the_digest_is_put_in() {
    let gate = observing(StubUpstream::ok());
    gate.ask(&issue("stranger"));
    wait_until("it", || all(&gate).len() == 1);
    let yaml = all(&gate)[0]["yaml"].as_str().unwrap().to_owned();
    let check = |text: &str| {
        std::fs::write(gate.path("proposed.yaml"), text).unwrap();
        run_in(gate.folder.path(), &["check", "proposed.yaml"])
    };
    check(&yaml).says(0, &["0 errors"]);
    let line =
        format!("    credentials:\n      - {{method: token, kind: oauth, sha256: {}}}\n", digested("sha256(stranger)"));
    let whole = yaml.replace("    credentials: []\n", &line).replace("[app, user]", "[app]");
    check(&whole).says(0, &["0 errors"]);
    gate.write_policy("stranger.yaml", &whole);
    wait_until("it to be named", || {
        let answer = gate.ask(&issue("stranger"));
        answer.status == 200 && answer.field("x-scopegate-would").is_none()
    });
    gate.passes(&issue("stranger"));
    // What it did not do before is refused now: an app that a policy knows is not observed with the gate.
    gate.refuses(&Ask::new("DELETE", "/rest/api/3/issue/PROJ-1").bearer("stranger"), "missing_scope");
    let mark = fingerprint("stranger");
    seen(&gate, &[]).says(0, &[&mark, &format!("by now jira/seen-{mark} has a credential whose digest begins so")]);
}

#[test]
fn what_the_product_itself_does_not_take_is_told_apart() {
    let gate = observing(StubUpstream::start(|request| match request.field("authorization") {
        Some("Bearer worthless") => Reply::raw("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"),
        _ => Reply::ok("{}"),
    }));
    gate.ask(&issue("worthless"));
    gate.ask(&issue("worthless"));
    wait_until("it", || all(&gate).first().is_some_and(|one| one["refused"] == 2));
    seen(&gate, &[]).says(0, &["2 of them the product answered with 401"]);
}

#[test]
fn it_outlives_a_restart_and_where_nobody_was_seen_that_is_said() {
    let mut gate = observing(StubUpstream::ok());
    gate.ask(&issue("stranger"));
    wait_until("it", || all(&gate).len() == 1);
    gate.take().stop();
    gate.restart();
    gate.ask(&issue("stranger"));
    wait_until("both", || all(&gate).first().is_some_and(|one| one["requests"] == 2));
    let enforcing = Setup::jira().top("state", "state").policy("known.yaml", APP).start();
    enforcing.refuses(&issue("stranger"), "unknown_app");
    seen(&enforcing, &[]).says(0, &["0 credentials", "no gate is under `observe`"]);
    let stateless = Setup::jira().policy("known.yaml", APP).start();
    seen(&stateless, &[]).says(1, &["has no `state`"]);
    run_in(stateless.folder.path(), &["apps", "--seen", "--policies", "policies"]).says(2, &["name its configuration"]);
}
