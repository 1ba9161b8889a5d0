//! What may go wrong around an act: clocks that are stepped, folders that go away or cannot be written, two admins at once.
//! Each time enforcement goes on, and what is said is of use.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn clock(gate: &Gate, offset_ms: i64) {
    gate.running().live.clock().set_ahead_ms(offset_ms);
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

/// Nothing that takes ends, and nothing that gives begins, because a clock was set.
#[test]
fn a_clock_that_is_set_forward_opens_nothing_until_as_much_time_has_passed() {
    let later = scopegate::acts::text::time_text(scopegate::clock::unix_ms() + 3 * HOUR_MS);
    let grants = format!(
        "grants:\n  - {{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}}\n  \
         - {{scopes: [manage:jira-configuration], actors: [app], in: all, valid: {{from: {later}}}}}\n"
    );
    let gate = setup().policy("tracker.yaml", &jira_app("tracker", "oauth", &grants)).start();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--for", "2h", "--reason", "x"];
    says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]);
    let admin = Ask::new("DELETE", "/rest/api/3/project/PROJ").bearer("tracker");
    let behind = || gate.metric("scopegate_clock_behind_seconds");
    let set = |ms| gate.running().live.clock().set_step_ms(ms);
    for _ in 0..2 {
        set(10 * HOUR_MS);
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
        gate.refuses(&admin, "not_yet_valid");
        wait_until("it to be told", || behind() > 35_000.0);
        let told = gate.health("/readyz").json();
        assert!(told["ready"] == true && told["clock"].as_str().is_some_and(|why| why.contains("ahead")), "{told}");
        set(0);
        // Set right again, but for the ten hours that it never goes back by.
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
    }
    // An hour of them passes, and then all.
    clock(&gate, HOUR_MS);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    clock(&gate, 2 * HOUR_MS + 60_000);
    gate.passes(&edit("PROJ-1"));
    gate.refuses(&admin, "not_yet_valid");
    clock(&gate, 11 * HOUR_MS);
    gate.passes(&admin);
    wait_until("it to be over", || behind() == 0.0 && gate.health("/readyz").json()["clock"].is_null());
}

#[test]
fn what_is_known_of_the_clock_outlives_a_restart() {
    let now_ms = scopegate::clock::unix_ms();
    let time = |ms| scopegate::acts::text::time_text(now_ms + ms);
    let rules = format!(
        "grants:\n  - {{scopes: [read:jira-work], actors: [app], in: all, valid: {{until: {}}}}}\n  \
         - {{scopes: [write:jira-work], actors: [app], in: all}}\n\
         revocations: [{{scopes: [write:jira-work], in: all, reason: x, valid: {{until: {}}}}}]\n",
        time(HOUR_MS),
        time(-HOUR_MS)
    );
    let mut gate = setup().top("state", "state").policy("tracker.yaml", &jira_app("tracker", "oauth", &rules)).start();
    gate.passes(&read("PROJ-1"));
    gate.passes(&edit("PROJ-1"));
    gate.take().stop();
    let kept = scopegate::clock::read(&gate.path("state")).expect("it can be read").expect("it is kept");
    assert!((kept.latest_ms - now_ms).abs() < 600_000, "{kept:?}");
    let state = gate.path("state");
    let keep = |kept| scopegate::clock::write(&state, &kept).expect("it is written");
    // It was set back by five hours while the gate was down: the grant stays ended.
    keep(scopegate::clock::Kept { latest_ms: now_ms + 5 * HOUR_MS, ..kept.clone() });
    gate.restart();
    gate.refuses(&read("PROJ-1"), "expired");
    gate.take().stop();
    // It was set forward by five hours while the gate was down: the revocation has not ended.
    let booted_at_ms = kept.booted_at_ms - 5 * HOUR_MS;
    keep(scopegate::clock::Kept { latest_ms: now_ms - 5 * HOUR_MS, booted_at_ms, ..kept });
    gate.restart();
    gate.passes(&read("PROJ-1"));
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    gate.take().stop();
    // What cannot be read might tell of something that ended: somebody must say that nothing did.
    std::fs::write(gate.path("state/clock.json"), "{").expect("it is written");
    let refused = gate.refuses_to_start();
    assert!(refused.contains("clock.json") && refused.contains("remove it"), "{refused}");
    std::fs::remove_file(gate.path("state/clock.json")).expect("it goes");
    gate.restart();
    gate.passes(&edit("PROJ-1"));
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

/// File by file, as slowly as a busy disk would, and then the folder. Nobody makes it anew but the gate.
#[test]
fn acts_hold_while_their_folder_is_deleted_and_over_a_restart() {
    let setup = setup().top("state", "state").top("settle", "500ms");
    let mut gate = setup.policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start();
    for (scope, project) in [("write:jira-work", "SEC"), ("write:jira-work", "OPS"), ("read:jira-work", "SEC")] {
        let within = format!("project:{project}");
        let words = ["revoke", "--app", "jira/tracker", "--scope", scope, "--in", &within, "--reason", "x"];
        says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]);
    }
    let acts = gate.path("state/overrides");
    let held = |gate: &Gate| {
        gate.refuses(&edit("SEC-1"), "container_revoked");
        gate.refuses(&edit("OPS-1"), "container_revoked");
        gate.refuses(&read("SEC-1"), "container_revoked");
    };
    crate::support::meanwhile(
        || held(&gate),
        || {
            for entry in std::fs::read_dir(&acts).expect("a folder").flatten() {
                std::fs::remove_file(entry.path()).expect("it goes");
                std::thread::sleep(std::time::Duration::from_millis(60));
            }
            std::fs::remove_dir(&acts).expect("it goes");
            wait_until("it to be said", || gate.health("/readyz").json()["problems"] == 1);
            wait_until("all of them to be there again", || written(&gate) == 3);
            wait_until("all to be well", || gate.health("/readyz").json()["problems"] == 0);
        },
    );
    gate.take().stop();
    gate.restart();
    held(&gate);
    gate.passes(&edit("PROJ-1"));
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another user than root, where root runs this: root may write anywhere.
fn somebody(folder: &std::path::Path) -> u32 {
    const NOBODY: u32 = 65_534;
    match std::fs::metadata(folder).expect("a folder").uid() {
        0 => NOBODY,
        own => own,
    }
}

#[test]
fn a_policy_folder_that_the_gates_user_may_not_write_is_no_hindrance() {
    let folder = tempfile::tempdir().expect("a folder");
    let (user, path) = (somebody(folder.path()), |name: &str| folder.path().join(name));
    let listen = |name: &str| format!("{{listen: 'unix:state/{name}'}}");
    let setup = setup().gate("listen", "unix:state/gate.sock").top("state", "state");
    let text = setup.top("health", &listen("health.sock")).top("admin", &listen("admin.sock")).config("127.0.0.1:9");
    std::fs::write(path("scopegate.yaml"), text.replace("    listen: 127.0.0.1:0\n", "")).expect("a file");
    ["policies", "state"].iter().for_each(|name| std::fs::create_dir(path(name)).expect("a folder"));
    let policy = crate::support::gate::digested(&jira_app("tracker", "oauth", GRANTS));
    std::fs::write(path("policies/tracker.yaml"), &policy).expect("a policy");
    // Where root built it, nobody else may get at it.
    std::fs::copy(env!("CARGO_BIN_EXE_scopegate"), path("scopegate")).expect("the program");
    std::os::unix::fs::chown(path("state"), Some(user), None).expect("its owner");
    let mode = |name: &str, mode| std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode));
    [("", 0o755), ("policies", 0o555), ("state", 0o700)]
        .iter()
        .for_each(|(name, bits)| mode(name, *bits).expect("its mode"));
    let as_user = |program: &std::path::Path| {
        let mut command = std::process::Command::new(program);
        command.current_dir(folder.path()).uid(user).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let touched = as_user("touch".as_ref()).arg("policies/x").status().expect("it runs");
    assert!(!touched.success(), "that user may write there");
    let serve = as_user(&path("scopegate")).args(["serve", "--config", "scopegate.yaml"]).spawn();
    let serve = Killed(serve.expect("it runs"));
    let ask = |request: &str| {
        let stream = std::os::unix::net::UnixStream::connect(path("state/gate.sock")).ok()?;
        let mut client = crate::support::client::Client::new(stream);
        client.send(request);
        Some(client.answer())
    };
    // No upstream is there: what is permitted is told from what is refused by who says no.
    let reason = || ask(&edit("PROJ-1").text()).and_then(|answer| answer.reason().map(str::to_owned));
    wait_until("the gate", || reason().as_deref() == Some("upstream_unreachable"));
    let command = |words: &[&str]| {
        let mut command = std::process::Command::new(path("scopegate"));
        command.args(words).args(["--reason", "x", "--config"]).arg(path("scopegate.yaml"));
        let output = command.output().expect("it runs");
        (output.status.code().expect("a code"), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let revoke = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work"];
    let act = id_in(&says(command(&revoke), 0, &["in force on 1 of 1 gate"]));
    assert_eq!(reason().as_deref(), Some("scope_revoked"));
    says(command(&["restore", &act]), 0, &["taken back"]);
    assert_eq!(reason().as_deref(), Some("upstream_unreachable"));
    drop(serve);
    assert_eq!(std::fs::read_to_string(path("policies/tracker.yaml")).expect("a policy"), policy);
    assert_eq!(std::fs::read_dir(path("policies")).expect("a folder").count(), 1);
    mode("policies", 0o755).expect("its mode");
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
