//! What may happen to a disk: each time the gate enforces on, says so, and writes again when it can.

use super::*;

/// The gate enforces an edit though the journal cannot be written, and says why not.
#[track_caller]
fn enforces_and_says(gate: &Gate, says: &str) {
    gate.write_policy("tracker.yaml", &app(REVOKED));
    wait_until("the revocation", || gate.ask(&edit("SEC-1")).reason() == Some("container_revoked"));
    let journal = gate.running().journal().expect("a journal");
    wait_until("the failure", || journal.failing().is_some());
    let error = journal.wait(u64::MAX, DEADLINE).expect_err("it is not written").to_string();
    assert!(error.contains(says), "{error}");
    let detail = gate.health("/readyz");
    assert_eq!(detail.status, 200, "a journal decides nothing");
    assert!(detail.body.contains(says) && detail.body.contains(r#""is":"problem""#), "{}", detail.body);
    assert_eq!(gate.metric(r#"scopegate_state_problems{what="journal"}"#), 1.0);
    gate.refuses(&edit("SEC-1"), "container_revoked");
}

/// It writes again, and what could not be written is there.
#[track_caller]
fn heals(gate: &Gate) {
    journaled(gate);
    wait_until("the gauge", || gate.metric(r#"scopegate_state_problems{what="journal"}"#) == 0.0);
    assert!(gate.health("/readyz").body.contains(r#""journal":{"is":"kept"}"#));
    let all = entries(gate.folder.path());
    assert!(all.iter().any(|entry| entry.by == ["dana@example.com"]), "{all:?}");
    holds(gate.folder.path());
}

#[test]
fn a_journal_that_cannot_be_opened() {
    let gate = setup().file("state/journal.db/in-its-way", "").start();
    enforces_and_says(&gate, "journal.db");
    std::fs::remove_dir_all(gate.path("state/journal.db")).unwrap();
    heals(&gate);
}

/// A gate in a process of its own, which may write no file beyond a size: what a full disk says, it says too.
#[test]
fn a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let text = setup()
        .gate("listen", "unix:gate.sock")
        .top("health", "{listen: unix:health.sock}")
        .top("admin", "{listen: unix:admin.sock}");
    let text = text.config("127.0.0.1:9");
    std::fs::write(folder.path().join("scopegate.yaml"), text.replace("    listen: 127.0.0.1:0\n", "")).unwrap();
    let write = |rules: &str| {
        std::fs::create_dir_all(folder.path().join("policies")).unwrap();
        std::fs::write(folder.path().join("new"), crate::support::gate::digested(&app(rules))).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("policies/tracker.yaml")).unwrap();
    };
    write(GRANTED);
    let program = env!("CARGO_BIN_EXE_scopegate");
    let mut command = std::process::Command::new("sh");
    // Ignored, the signal of the limit stays ignored in the program, which then gets an error as from a full disk.
    command.args(["-c", &format!("trap '' XFSZ; exec {program} serve --config scopegate.yaml")]);
    let child = command
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let child = Killed(child.unwrap());
    let ask = |socket: &str, request: &str| {
        let stream = std::os::unix::net::UnixStream::connect(folder.path().join(socket)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        let mut client = crate::support::client::Client::new(stream);
        client.send(request);
        Some(client.answer())
    };
    let ready = || {
        ask("health.sock", "GET /readyz HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n").map(|answer| answer.body)
    };
    let says = |what: &str| ready().is_some_and(|body| body.contains(what));
    wait_until("the gate", || says(r#""ready":true"#) && says(r#""journal":{"is":"kept"}"#));
    let limit = |bytes: &str| {
        let pid = child.0.id().to_string();
        assert!(
            std::process::Command::new("prlimit")
                .args(["--pid", &pid, &format!("--fsize={bytes}")])
                .status()
                .unwrap()
                .success()
        );
    };
    limit("4096:unlimited");
    write(REVOKED);
    wait_until("it to be said", || says(r#""journal":{"is":"problem""#));
    let refused = || ask("gate.sock", &edit("SEC-1").text()).and_then(|answer| answer.reason().map(str::to_owned));
    assert_eq!(refused().as_deref(), Some("container_revoked"));
    // An act that finds no room is not half there, and whoever ordered it is told what to do.
    limit("16:unlimited");
    let order = r#"{"act": "suspend", "app": "jira/tracker", "reason": "x"}"#;
    let suspend = || {
        let fields = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
        let head = format!("POST /api/v1/acts HTTP/1.1\r\n{fields}\r\ncontent-length: {}\r\n\r\n", order.len());
        ask("admin.sock", &format!("{head}{order}")).expect("an answer")
    };
    let told = suspend();
    assert_eq!(told.status, 507, "{}", told.body);
    assert!(told.body.contains("overrides") && told.body.contains("policy folder"), "{}", told.body);
    assert_eq!(std::fs::read_dir(folder.path().join("overrides")).map_or(0, |entries| entries.count()), 0);
    assert_eq!(refused().as_deref(), Some("container_revoked"), "and nothing else");
    limit("unlimited:unlimited");
    assert_eq!(suspend().status, 200);
    assert_eq!(refused().as_deref(), Some("app_suspended"));
    wait_until("it to heal", || says(r#""journal":{"is":"kept"}"#));
    assert!(entries(folder.path()).iter().any(|entry| entry.by == ["dana@example.com"]));
    holds(folder.path());
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_state_folder_that_is_deleted_is_made_anew_and_the_chain_goes_on() {
    let gate = setup().start();
    journaled(&gate);
    let before = holds(gate.folder.path());
    std::fs::remove_dir_all(gate.path("state")).unwrap();
    edited(&gate, "tracker.yaml", &app(REVOKED));
    heals(&gate);
    let verified = history(gate.folder.path()).verify().unwrap();
    assert_eq!(verified.anchor.sequence, before, "what was lost is known to be");
    assert!(history(gate.folder.path()).files_at(verified.head.sequence).unwrap().unwrap().len() == 1);
}

#[test]
fn a_journal_that_another_program_locks() {
    let gate = setup().start();
    journaled(&gate);
    let other = Connection::open(gate.path("state").join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    enforces_and_says(&gate, "locked");
    other.execute_batch("ROLLBACK").unwrap();
    heals(&gate);
}

#[test]
fn a_second_gate_on_the_same_state_folder() {
    let gate = setup().start();
    journaled(&gate);
    let other = setup().top("state", gate.path("state").to_str().unwrap()).start();
    enforces_and_says(&other, "another gate writes this journal");
    drop(gate);
    journaled(&other);
}

#[test]
fn a_journal_that_is_damaged_is_put_aside_and_said_until_someone_looked() {
    let mut gate = setup().start();
    journaled(&gate);
    gate.take().stop();
    std::fs::write(
        gate.path("state").join(FILE),
        "this is no database, and long enough to be looked at as one".repeat(100),
    )
    .unwrap();
    gate.restart();
    journaled(&gate);
    edited(&gate, "tracker.yaml", &app(REVOKED));
    gate.refuses(&edit("SEC-1"), "container_revoked");
    assert!(gate.health("/readyz").body.contains("damaged-1"), "{}", gate.health("/readyz").body);
    assert_eq!(gate.metric(r#"scopegate_state_problems{what="journal"}"#), 1.0);
    assert!(gate.path("state/journal.db.damaged-1").exists());
    assert!(holds(gate.folder.path()) >= 2);
}

#[test]
fn a_chain_that_was_altered_while_the_gate_was_away_is_said() {
    let mut gate = written();
    let connection = Connection::open(gate.path("state").join(FILE)).unwrap();
    connection.execute("UPDATE entries SET hash = zeroblob(32) WHERE sequence = 2", []).unwrap();
    drop(connection);
    gate.restart();
    journaled(&gate);
    wait_until("it to be said", || gate.health("/readyz").body.contains("does not hold at entry 2"));
}
