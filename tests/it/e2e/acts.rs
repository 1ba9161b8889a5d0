//! Acts by command and by the admin API: in force when they return, undoable, and never more than was ordered.

mod adversity;
mod dropped;
mod named;
mod parked;
mod promoted;
mod told;

use serde_json::{Value, json};

use super::admin::ask;
use super::jira_app;
use crate::support::command::{run, says};
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::wait_until;

const GRANTS: &str = "grants:\n  \
    - {scopes: [read:jira-work, write:jira-work, delete:issue:jira], actors: [app, user], in: all}\n";

fn setup() -> Setup {
    Setup::jira().top("admin", "{listen: 'unix:admin.sock'}").top("overrides", "state/overrides")
}

fn gate() -> Gate {
    setup().policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start()
}

fn read(issue: &str) -> Ask {
    Ask::get(&format!("/rest/api/3/issue/{issue}")).bearer("tracker")
}

fn edit(issue: &str) -> Ask {
    Ask::put(&format!("/rest/api/3/issue/{issue}")).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
}

/// The id in what a command said.
fn id_in(said: &str) -> String {
    let after = said.split("scopegate restore ").nth(1).expect("how to take it back");
    after.split(' ').next().expect("an id").to_owned()
}

fn written(gate: &Gate) -> usize {
    std::fs::read_dir(gate.path("state/overrides")).map_or(0, |entries| entries.count())
}

/// Whoever reads acts finds them there: the gate, `check`, `explain`, and a command that writes one while no gate runs.
#[test]
fn without_a_word_of_overrides_acts_lie_in_the_state_folder() {
    let setup = Setup::jira().top("admin", "{listen: 'unix:admin.sock'}").top("state", "state");
    let mut gate = setup.policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start();
    let revoke = |gate: &Gate, project: &str| {
        let within = format!("project:{project}");
        run(gate, &["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--in", &within, "--reason", "x"])
    };
    let act = id_in(&says(revoke(&gate, "SEC"), 0, &["in force on 1 of 1 gate"]));
    assert!(gate.path("state/overrides").join(format!("{act}.yaml")).exists());
    let edit_path = "/rest/api/3/issue/SEC-1";
    says(run(&gate, &["explain", "--app", "jira/tracker", "--tenant", "acme", "PUT", edit_path]), 1, &[&act]);
    says(run(&gate, &["check"]), 0, &[]);
    gate.take().stop();
    says(revoke(&gate, "OPS"), 0, &[]);
    assert_eq!(written(&gate), 2);
    gate.restart();
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.refuses(&edit("OPS-1"), "container_revoked");
    gate.passes(&edit("PROJ-1"));
    // An act that is broken is told like any file.
    gate.take().stop();
    std::fs::write(gate.path("state/overrides/broken.yaml"), "grants: [").expect("a file");
    says(run(&gate, &["check"]), 1, &["broken.yaml"]);
}

#[test]
fn a_revocation_holds_when_the_command_returns_and_can_be_taken_back() {
    let gate = gate();
    gate.passes(&edit("SEC-1"));
    let ran = run(
        &gate,
        &[
            "revoke",
            "--app",
            "jira/tracker",
            "--scope",
            "write:jira-work",
            "--in",
            "project:SEC",
            "--reason",
            "SEC-1142",
            "--by",
            "dana",
        ],
    );
    let said = says(
        ran,
        0,
        &[
            "jira/tracker in acme (Acme)",
            "loses",
            "write:jira-work in project SEC",
            "84 operations",
            "in force on 1 of 1 gate",
        ],
    );
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.passes(&edit("PROJ-1"));
    gate.passes(&read("SEC-1"));
    let acts = says(run(&gate, &["overrides"]), 0, &["in force", "by: dana", "SEC-1142", "project: [SEC]"]);
    assert!(acts.contains(&id_in(&said)), "{acts}");
    says(
        run(&gate, &["restore", &id_in(&said), "--reason", "done"]),
        0,
        &["taken back", "no longer in force on 1 of 1 gate"],
    );
    gate.passes(&edit("SEC-1"));
    assert_eq!(written(&gate), 0);
    says(run(&gate, &["restore", &id_in(&said), "--reason", "again"]), 1, &["there is no act"]);
}

#[test]
fn who_takes_a_right_hears_that_the_gate_can_be_walked_around() {
    let revoke = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    let around = "the gate `jira` says `bypass: open`: an app can walk around it";
    for (bypass, is_told) in [("open", true), ("network", false)] {
        let policy = jira_app("tracker", "oauth", GRANTS);
        let mut gate = setup().gate("bypass", bypass).policy("tracker.yaml", &policy).start();
        for dry_run in [&["--dry-run"][..], &[]] {
            let said = says(run(&gate, &[&revoke, dry_run].concat()), 0, &["write:jira-work"]);
            assert_eq!(said.contains(around), is_told, "{said}");
        }
        gate.take().stop();
        let scope = ["revoke", "--app", "jira/tracker", "--scope", "read:jira-work", "--reason", "x"];
        let said = says(run(&gate, &scope), 0, &["no gate answers"]);
        assert_eq!(said.contains(around), is_told, "{said}");
    }
}

#[test]
fn what_is_not_said_is_not_guessed() {
    let two = "  - tenant: other\n    tenant_name: Other GmbH\n    installed_at: 2020-01-01T00:00:00Z\n    credentials: []\n\
               grants: [{scopes: [read:jira-work], required: true, actors: [app], in: all, tenants: [acme, other]}]\n";
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", two)).start();
    let revoke = |more: &[&str]| run(&gate, &[&["revoke", "--app", "jira/tracker", "--reason", "x"], more].concat());
    says(revoke(&["--scope", "read:jira-work"]), 1, &["2 tenants: acme (Acme), other (Other GmbH)", "--all-tenants"]);
    says(revoke(&["--scope", "read:jira-work", "--tenant", "Acme"]), 1, &["did you mean `acme`?"]);
    says(revoke(&["--scope", "read:jira-werk", "--tenant", "acme"]), 1, &["read:jira-work"]);
    says(revoke(&["--tenant", "acme"]), 1, &["does not say what"]);
    says(revoke(&["--scope", "read:jira-work", "--tenant", "acme", "--in", "SEC"]), 1, &["kind:id"]);
    says(revoke(&["--scope", "read:jira-work", "--tenant", "acme", "--in", "space:SEC"]), 1, &["space"]);
    says(revoke(&["--scope", "read:jira-work", "--tenant", "acme", "--until", "2020-01-01"]), 1, &["ended already"]);
    says(
        revoke(&["--scope", "read:jira-work", "--tenant", "acme"]),
        1,
        &["cannot work without it", "policies/tracker.yaml", "--even-required"],
    );
    says(
        run(&gate, &["revoke", "--app", "jira/trakcer", "--all-scopes", "--reason", "x"]),
        1,
        &["did you mean `jira/tracker`?"],
    );
    says(run(&gate, &["revoke", "--app", "jira/tracker", "--all-scopes"]), 2, &["--reason"]);
    says(
        run(
            &gate,
            &["grant", "--app", "jira/tracker", "--tenant", "acme", "--scope", "write:jira-work", "--reason", "x"],
        ),
        1,
        &["says where"],
    );
    says(
        run(&gate, &["install-window", "open", "--app", "jira/tracker", "--tenant", "acme", "--reason", "x"]),
        1,
        &["has an end"],
    );
    assert_eq!(written(&gate), 0, "nothing of all this was written");
    says(
        revoke(&["--scope", "read:jira-work", "--all-tenants", "--even-required"]),
        0,
        &["acme (Acme), other (Other GmbH)"],
    );
    gate.refuses(&read("PROJ-1"), "scope_revoked");
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let gate = gate();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "read:jira-work", "--reason", "x", "--dry-run"];
    says(
        run(&gate, &words),
        0,
        &["would be revoked", "loses", "read:jira-work", "getAttachmentContent", "nothing was written"],
    );
    gate.passes(&read("PROJ-1"));
    assert_eq!(written(&gate), 0);
}

#[test]
fn a_revocation_in_shadow_takes_nothing_until_it_is_promoted() {
    let gate = gate();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x", "--shadow"];
    let said = says(run(&gate, &words), 0, &["in shadow"]);
    gate.passes(&edit("PROJ-1"));
    says(
        run(&gate, &["promote", &id_in(&said), "--reason", "it refuses nobody"]),
        0,
        &["promoted", "in force on 1 of 1 gate"],
    );
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    says(run(&gate, &["promote", &id_in(&said), "--reason", "again"]), 1, &["not in shadow mode"]);
}

#[test]
fn all_apps_lose_a_scope_by_one_command_also_those_that_come_later() {
    let gate = gate();
    let words =
        ["revoke", "--all-apps", "--product", "jira", "--scope", "write:jira-work", "--reason", "vendor compromised"];
    says(run(&gate, &words), 0, &["all apps of jira", "in force on 1 of 1 gate"]);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    gate.write_policy("later.yaml", &jira_app("later", "oauth", GRANTS));
    wait_until("the later app to be known", || {
        gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("later")).reason().is_none()
    });
    let later = Ask::put("/rest/api/3/issue/PROJ-1").bearer("later").json(r#"{"fields":{}}"#);
    gate.refuses(&later, "scope_revoked");
}

#[test]
fn a_suspended_app_is_refused_whole_and_its_token_stays_valid() {
    let gate = gate();
    let said = says(
        run(&gate, &["suspend", "--app", "jira/tracker", "--reason", "incident 7"]),
        0,
        &["is suspended in acme (Acme)"],
    );
    gate.refuses(&read("PROJ-1"), "app_suspended");
    says(run(&gate, &["restore", &id_in(&said), "--reason", "over"]), 0, &["no longer is suspended in acme (Acme)"]);
    gate.passes(&read("PROJ-1"));
}

#[test]
fn a_grant_gives_where_it_says_and_ends_by_itself() {
    let reads = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", reads)).start();
    gate.refuses(&edit("PROJ-1"), "missing_scope");
    let words = [
        "grant",
        "--app",
        "jira/tracker",
        "--scope",
        "write:jira-work",
        "--in",
        "project:PROJ",
        "--for",
        "2h",
        "--reason",
        "import",
    ];
    says(run(&gate, &words), 0, &["gains", "write:jira-work in project PROJ", "in force on 1 of 1 gate"]);
    gate.passes(&edit("PROJ-1"));
    gate.refuses(&edit("SEC-1"), "container_not_granted");
    gate.running().live.clock().set_ahead_ms(2 * 3_600_000 + 1);
    gate.refuses(&edit("PROJ-1"), "expired");
}

#[test]
fn an_install_window_opens_for_a_while_and_closes_by_command() {
    let grants = "grants: [{scopes: [write:jira-work], actors: [app], in: all}]\nrevocations: [{scopes: [write:jira-work], in: all, unless: install_window, reason: SEC-7}]\n";
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", grants)).start();
    gate.refuses(&edit("PROJ-1"), "install_window_closed");
    let open = ["install-window", "open", "--app", "jira/tracker", "--for", "2h", "--reason", "upgrade"];
    says(run(&gate, &open), 0, &["install window open", "in force on 1 of 1 gate"]);
    gate.passes(&edit("PROJ-1"));
    let close = ["install-window", "close", "--app", "jira/tracker", "--reason", "done"];
    says(run(&gate, &close), 0, &["taken back"]);
    gate.refuses(&edit("PROJ-1"), "install_window_closed");
    says(run(&gate, &close), 1, &["no command has opened"]);
}

#[test]
fn acts_hold_while_the_policy_folder_is_broken_and_over_a_restart() {
    let mut gate = gate();
    gate.write_policy("tracker.yaml", "version: 1\napp: [");
    wait_until("the problem to be seen", || gate.health("/readyz").json()["problems"] == 1);
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    gate.write_policy("tracker.yaml", &crate::support::gate::digested(&jira_app("tracker", "oauth", GRANTS)));
    gate.take().stop();
    // With no gate there to ask, the command writes the act itself, and the next start has both.
    let words = ["revoke", "--app", "jira/tracker", "--scope", "read:jira-work", "--reason", "y"];
    says(run(&gate, &words), 0, &["no gate answers", "loses"]);
    gate.restart();
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    gate.refuses(&read("PROJ-1"), "scope_revoked");
    assert_eq!(gate.upstream.requests().len(), 0);
}

#[test]
fn what_cannot_be_written_is_said_and_changes_nothing() {
    let gate = gate();
    // As a disk that is gone, or a folder that somebody took away.
    let _ = std::fs::remove_dir_all(gate.path("state"));
    std::fs::write(gate.path("state"), "not a folder").expect("a file");
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    says(run(&gate, &words), 1, &["not done", "state/overrides"]);
    gate.passes(&edit("PROJ-1"));
}

#[test]
fn what_gives_is_not_laid_over_what_another_admin_has_just_done() {
    let gate = gate();
    let grant = json!({"act": "grant", "app": "jira/tracker", "scopes": ["write:jira-work"], "everywhere": true, "reason": "x"});
    assert_eq!(ask(&gate, "POST /api/v1/acts", &grant).0, 428);
    assert_eq!(ask(&gate, "POST /api/v1/acts HTTP/1.1\r\nif-match: \"17\"\r\nx: y", &grant).0, 412);
    let revoke = json!({"act": "revoke", "app": "jira/tracker", "scopes": ["write:jira-work"], "reason": "x"});
    let (status, done) = ask(&gate, "POST /api/v1/acts", &revoke);
    assert_eq!(
        (status, &done["in_force"]["gates"], &done["tenants"][0]["id"]),
        (200, &json!(1), &json!("acme")),
        "{done}"
    );
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    let restore = format!("POST /api/v1/acts/{}/restore", done["id"].as_str().expect("an id"));
    assert_eq!(ask(&gate, &restore, &json!({"reason": "x"})).0, 428);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    let generation = ask(&gate, "GET /api/v1/snapshot", &Value::Null).1["generation"].clone();
    let (status, done) =
        ask(&gate, &format!("{restore} HTTP/1.1\r\nif-match: \"{generation}\"\r\nx: y"), &json!({"reason": "x"}));
    assert_eq!(status, 200, "{done}");
    gate.passes(&edit("PROJ-1"));
}

#[test]
fn an_order_with_a_key_that_is_not_known_or_out_of_place_is_refused() {
    let gate = gate();
    for order in [
        json!({"act": "revoke", "app": "jira/tracker", "scopes": ["write:jira-work"], "reason": "x", "untill": "2030-01-01"}),
        json!({"act": "suspend", "app": "jira/tracker", "reason": "x", "scopes": ["write:jira-work"]}),
        json!({"act": "suspend", "app": "jira/tracker", "reason": " "}),
        json!({"act": "abolish", "app": "jira/tracker", "reason": "x"}),
        json!({"act": "revoke", "app": "jira/tracker", "all_apps": true, "all_scopes": true, "reason": "x"}),
        json!({"act": "revoke", "reason": "x", "all_scopes": true}),
    ] {
        let (status, answer) = ask(&gate, "POST /api/v1/acts", &order);
        assert_eq!(status, 422, "{order}: {answer}");
    }
    for path in ["..%2fpolicies%2ftracker", ".hidden", "a%20b"] {
        let (status, answer) = ask(&gate, &format!("POST /api/v1/acts/{path}/restore"), &json!({"reason": "x"}));
        assert!(matches!(status, 404 | 428), "{path}: {status} {answer}");
    }
    assert_eq!(written(&gate), 0);
    gate.passes(&edit("PROJ-1"));
}
