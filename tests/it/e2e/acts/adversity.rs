//! What may go wrong around an act: clocks that are stepped, folders that go away or cannot be written, two admins at once.
//! Each time enforcement goes on, and what is said is of use.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn clock(gate: &Gate, offset_ms: i64) {
    gate.running().live.set_clock_offset_ms(offset_ms);
}

#[test]
fn what_an_act_gave_stays_ended_when_the_clock_is_stepped_back() {
    let grants = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n\
                  revocations: [{scopes: [write:jira-work], in: all, unless: install_window, reason: SEC-7}]\n";
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", grants)).start();
    let open = ["install-window", "open", "--app", "jira/tracker", "--for", "2h", "--reason", "upgrade"];
    says(run(&gate, &open), 0, &["install window open"]);
    let give = [
        "grant",
        "--app",
        "jira/tracker",
        "--scope",
        "manage:jira-configuration",
        "--everywhere",
        "--for",
        "2h",
        "--reason",
        "x",
    ];
    says(run(&gate, &give), 0, &["gains"]);
    let admin = Ask::new("DELETE", "/rest/api/3/project/PROJ").bearer("tracker");
    gate.passes(&edit("PROJ-1"));
    let before = gate.ask(&admin);
    // An hour back and an hour on, both still hold.
    clock(&gate, -HOUR_MS);
    gate.passes(&edit("PROJ-1"));
    clock(&gate, HOUR_MS);
    gate.passes(&edit("PROJ-1"));
    assert_eq!(gate.ask(&admin).reason(), before.reason());
    clock(&gate, 2 * HOUR_MS + 1);
    gate.refuses(&edit("PROJ-1"), "install_window_closed");
    gate.refuses(&admin, "expired");
    // What has ended stays ended.
    for offset_ms in [HOUR_MS, 0, -HOUR_MS, -24 * 30 * HOUR_MS] {
        clock(&gate, offset_ms);
        gate.refuses(&edit("PROJ-1"), "install_window_closed");
        gate.refuses(&admin, "expired");
        gate.passes(&read("PROJ-1"));
    }
}

#[test]
fn a_revocation_holds_whichever_way_the_clock_is_stepped() {
    let gate = gate();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]);
    for offset_ms in [-HOUR_MS, 24 * 365 * HOUR_MS, -24 * 365 * HOUR_MS, 0] {
        clock(&gate, offset_ms);
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
    }
}

#[test]
fn acts_hold_though_their_folder_is_deleted_and_are_there_again_with_the_next() {
    let mut gate = setup().top("state", "state").policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start();
    let revoke = |gate: &Gate, scope: &str| {
        let words = ["revoke", "--app", "jira/tracker", "--scope", scope, "--in", "project:SEC", "--reason", "x"];
        id_in(&says(run(gate, &words), 0, &["in force on 1 of 1 gate"]))
    };
    let first = revoke(&gate, "write:jira-work");
    std::fs::rename(gate.path("state"), gate.path("somewhere-else")).expect("it can be moved");
    wait_until("it to be said", || gate.health("/readyz").json()["problems"] == 1);
    gate.refuses(&edit("SEC-1"), "container_revoked");
    let second = revoke(&gate, "read:jira-work");
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.refuses(&read("SEC-1"), "container_revoked");
    for act in [first, second] {
        wait_until("the act", || gate.path("state/overrides").join(format!("{act}.yaml")).exists());
    }
    gate.take().stop();
    gate.restart();
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.refuses(&read("SEC-1"), "container_revoked");
    gate.passes(&edit("PROJ-1"));
}

#[test]
fn a_policy_folder_that_nobody_may_write_is_no_hindrance() {
    let gate = gate();
    let folder = gate.path("policies");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).expect("its mode");
    let before = std::fs::read(folder.join("tracker.yaml")).expect("a policy");
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    let act = id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]));
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    says(run(&gate, &["restore", &act, "--reason", "x"]), 0, &["taken back"]);
    gate.passes(&edit("PROJ-1"));
    assert_eq!(std::fs::read(folder.join("tracker.yaml")).expect("a policy"), before);
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// Both looked at the same generation: what gives is laid over what they saw by one of them alone.
#[test]
fn of_two_admins_who_give_at_once_one_is_told_to_look_again() {
    let reads = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", reads)).start();
    let grant = |scope: &str| json!({"act": "grant", "app": "jira/tracker", "scopes": [scope], "everywhere": true, "reason": "x"});
    let seen = ask(&gate, "GET /api/v1/snapshot", &Value::Null).1["generation"].clone();
    let give = format!("POST /api/v1/acts HTTP/1.1\r\nif-match: \"{seen}\"\r\nx: y");
    let mut answers = std::thread::scope(|scope| {
        let asked = ["write:jira-work", "manage:jira-project"].map(|name| {
            let (gate, give, order) = (&gate, &give, grant(name));
            scope.spawn(move || ask(gate, give, &order))
        });
        asked.map(|answer| answer.join().expect("an answer"))
    });
    answers.sort_by_key(|(status, _)| *status);
    assert_eq!((answers[0].0, answers[1].0), (200, 412), "{answers:?}");
    assert!(answers[1].1["error"].as_str().is_some_and(|text| text.contains(&seen.to_string())), "{answers:?}");
    assert_eq!(written(&gate), 1);
    // What takes away waits for nobody.
    let revoke = json!({"act": "revoke", "app": "jira/tracker", "scopes": ["read:jira-work"], "reason": "x"});
    let answers = std::thread::scope(|scope| {
        [(); 4]
            .map(|()| scope.spawn(|| ask(&gate, "POST /api/v1/acts", &revoke).0))
            .map(|answer| answer.join().expect("one"))
    });
    assert_eq!(answers, [200; 4]);
    gate.refuses(&read("PROJ-1"), "scope_revoked");
}
