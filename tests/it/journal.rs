//! The journal: every change of what is in force is an entry, the chain of entries tells what is missing, and nothing that
//! happens to the disk stops enforcement.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod disk;
mod killed;
mod rollback;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use scopegate::control::journal::database::FILE;
use scopegate::control::journal::entry::{Entry, Source};
use scopegate::control::journal::history::History;

use crate::cli::run_in;
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::{DEADLINE, wait_until};

const GRANTED: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n";
const REVOKED: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n\
                       revocations: [{scopes: [write:jira-work], in: {project: [SEC]}, by: dana@example.com, reason: SEC-1142}]\n";

fn app(rules: &str) -> String {
    format!(
        "version: 1\napp: jira/tracker\nname: Tracker\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         credentials: [{{method: token, kind: oauth, sha256: \"sha256(tracker)\"}}]\n{rules}"
    )
}

fn setup() -> Setup {
    Setup::jira().top("state", "state").top("overrides", "overrides").policy("tracker.yaml", &app(GRANTED))
}

fn edit(key: &str) -> Ask {
    Ask::put(&format!("/rest/api/3/issue/{key}")).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
}

/// Waits until all that is in force is in the journal.
#[track_caller]
fn journaled(gate: &Gate) {
    let journal = gate.running().journal().expect("a journal");
    let live = &gate.running().live;
    wait_until("the journal", || journal.wait(live.load().generation, Duration::from_millis(10)).is_ok());
}

/// Writes a policy, and waits until what it gives is in force too, and all of that in the journal.
fn edited(gate: &Gate, name: &str, text: &str) {
    let before = gate.running().live.load().generation;
    gate.write_policy(name, text);
    let live = &gate.running().live;
    wait_until("the edit", || live.load().generation > before && live.load().states.as_ref().unwrap().whole.is_none());
    journaled(gate);
}

fn history(folder: &Path) -> History {
    History::open(&folder.join("state")).unwrap_or_else(|error| panic!("{error}"))
}

fn entries(folder: &Path) -> Vec<Entry> {
    history(folder).entries(0).unwrap().into_iter().map(|(entry, _)| entry).collect()
}

#[track_caller]
fn holds(folder: &Path) -> u64 {
    let verified = history(folder).verify();
    verified.unwrap_or_else(|broken| panic!("{broken:?}")).head.sequence
}

#[test]
fn an_edit_is_an_entry_with_who_why_and_the_cells() {
    let gate = setup().start();
    journaled(&gate);
    edited(&gate, "tracker.yaml", &app(REVOKED));
    let all = entries(gate.folder.path());
    assert_eq!((all[0].source, all[0].by.as_slice()), (Source::Start, &["tracker.yaml".to_owned()][..]));
    let entry = &all[1];
    assert_eq!((entry.source, entry.sequence), (Source::File, 2));
    assert_eq!(
        (entry.by.as_slice(), entry.reason.as_slice()),
        (&["dana@example.com".to_owned()][..], &["SEC-1142".to_owned()][..])
    );
    assert!(
        entry.changes.iter().any(|line| line.contains("jira/tracker in acme loses") && line.contains("project SEC")),
        "{entry:?}"
    );
    let file = &entry.files[0];
    assert_eq!((file.path.as_str(), &file.before), ("tracker.yaml", &all[0].files[0].after));
    let text = history(gate.folder.path()).text(file.after.as_ref().unwrap()).unwrap();
    assert!(text.contains("SEC-1142"), "{text}");
    holds(gate.folder.path());
}

#[test]
fn what_is_given_back_is_told_once_the_folder_has_settled() {
    let gate = setup().policy("tracker.yaml", &app(REVOKED)).start();
    edited(&gate, "tracker.yaml", &app(GRANTED));
    let all = entries(gate.folder.path());
    let told =
        all.iter().flat_map(|entry| &entry.changes).filter(|line| line.contains("jira/tracker in acme gains")).count();
    assert_eq!(told, 1, "{all:?}");
    assert!(all.iter().all(|entry| !entry.by.is_empty()), "{all:?}");
}

#[test]
fn an_override_is_told_as_one_when_it_comes_and_when_it_goes() {
    let gate = setup().file("overrides/none.txt", "").start();
    journaled(&gate);
    std::fs::remove_file(gate.path("overrides/none.txt")).unwrap();
    let act = "version: 1\napp: jira/tracker\nsuspensions: [{tenants: [acme], reason: SEC-9, by: lee@example.com}]\n";
    std::fs::write(gate.path("act.yaml"), act).unwrap();
    std::fs::rename(gate.path("act.yaml"), gate.path("overrides/act.yaml")).unwrap();
    wait_until("the suspension", || gate.ask(&edit("PROJ-1")).reason() == Some("app_suspended"));
    journaled(&gate);
    std::fs::remove_file(gate.path("overrides/act.yaml")).unwrap();
    wait_until("it to end", || gate.ask(&edit("PROJ-1")).reason().is_none());
    journaled(&gate);
    let all = entries(gate.folder.path());
    let acts: Vec<&Entry> = all.iter().filter(|entry| entry.source == Source::Override).collect();
    assert_eq!(acts.len(), 2, "{all:?}");
    assert_eq!((acts[0].by[0].as_str(), acts[0].reason[0].as_str()), ("lee@example.com", "SEC-9"));
    assert!(acts[0].changes[0].contains("is suspended in acme"), "{acts:?}");
    assert!(acts[1].changes[0].contains("no longer is suspended in acme"), "{acts:?}");
}

#[test]
fn a_restart_is_an_entry_only_where_the_policy_is_another() {
    let mut gate = setup().start();
    journaled(&gate);
    let restart = |gate: &mut Gate| {
        gate.take().stop();
        gate.restart();
        journaled(gate);
    };
    restart(&mut gate);
    assert_eq!(entries(gate.folder.path()).len(), 1);
    gate.take().stop();
    gate.write_policy("tracker.yaml", &app(REVOKED));
    gate.restart();
    journaled(&gate);
    let all = entries(gate.folder.path());
    assert_eq!((all.len(), all[1].source), (2, Source::Start));
    assert!(all[1].changes.iter().any(|line| line.contains("loses") && line.contains("SEC")), "{:?}", all[1]);
    assert_eq!(all[1].by, ["dana@example.com"]);
    assert_eq!(holds(gate.folder.path()), 2);
}

#[test]
fn what_the_clock_ends_is_an_entry() {
    let ends = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all, valid: {until: 2200-01-01T00:00:00Z}}]\n";
    let gate = setup().policy("tracker.yaml", &app(ends)).start();
    journaled(&gate);
    let century_ms = 200 * 366 * 86_400_000;
    gate.running().live.clock().set_ahead_ms(century_ms);
    wait_until("the entry", || entries(gate.folder.path()).len() == 2);
    let all = entries(gate.folder.path());
    assert_eq!(all[1].source, Source::Clock);
    assert!(all[1].changes[0].contains("jira/tracker in acme loses"), "{:?}", all[1]);
    assert!(all[1].files.is_empty() && all[1].by.is_empty());
    // A clock that steps back gives nothing back (law 2), and says nothing.
    gate.running().live.clock().set_ahead_ms(0);
    gate.refuses(&edit("PROJ-1"), "expired");
    edited(&gate, "other.yaml", "version: 1\nset: s\ntenant: acme\nproject: [AA]\n");
    assert!(entries(gate.folder.path())[2..].iter().all(|entry| entry.source == Source::File));
    holds(gate.folder.path());
}

/// A journal of some entries, and its gate gone.
fn written() -> Gate {
    let mut gate = setup().start();
    journaled(&gate);
    for project in ["AA", "BB", "CC"] {
        edited(&gate, "set.yaml", &format!("version: 1\nset: s\ntenant: acme\nproject: [{project}]\n"));
    }
    gate.take().stop();
    gate
}

#[test]
fn whatever_is_altered_or_missing_shows() {
    for (statement, says) in [
        (
            "UPDATE entries SET body = replace(body, 'tracker.yaml', 'another.yaml') WHERE sequence = 1",
            "does not follow",
        ),
        ("UPDATE entries SET time_ms = time_ms - 1 WHERE sequence = 2", "number or time"),
        ("UPDATE entries SET hash = zeroblob(32) WHERE sequence = 2", "does not follow"),
        ("DELETE FROM entries WHERE sequence = 2", "entry 2 is missing"),
        ("DELETE FROM entries WHERE sequence = 1", "entry 1 is missing"),
        ("UPDATE meta SET value = 1 WHERE name = 'anchor_sequence'", "is missing"),
        ("INSERT INTO base_files VALUES ('policy', 'hidden.yaml', 'ab')", "files do not follow"),
        ("UPDATE texts SET text = text || '# more'", "is not what was written"),
    ] {
        let gate = written();
        assert!(holds(gate.folder.path()) >= 4);
        let connection = Connection::open(gate.path("state").join(FILE)).unwrap();
        assert!(connection.execute(statement, []).unwrap() > 0, "{statement}");
        drop(connection);
        let broken = history(gate.folder.path()).verify().expect_err(statement);
        assert!(broken.why.contains(says), "{statement}: {broken:?}");
    }
}

/// An end that is cut off is no gap: only who kept a hash can tell.
#[test]
fn an_end_that_was_cut_off_shows_by_a_hash_that_was_kept() {
    let gate = written();
    let kept = history(gate.folder.path()).entries(0).unwrap().pop().unwrap();
    let hash: String = kept.1.iter().map(|byte| format!("{byte:02x}")).collect();
    let verify = |hash: &str| run_in(gate.folder.path(), &["log", "verify", "--state", "state", "--head", hash]);
    verify(&hash).says(0, &["the journal holds", &hash]);
    Connection::open(gate.path("state").join(FILE))
        .unwrap()
        .execute("DELETE FROM entries WHERE sequence = ?1", [kept.0.sequence as i64])
        .unwrap();
    holds(gate.folder.path());
    verify(&hash).says(1, &["cut off"]);
}

#[test]
fn a_bounded_journal_still_verifies_and_knows_the_files() {
    let mut gate = setup().top("journal", "{entries_max: 2}").start();
    for number in 0..6 {
        edited(
            &gate,
            &format!("set{number}.yaml"),
            &format!("version: 1\nset: s{number}\ntenant: acme\nproject: [AA]\n"),
        );
    }
    gate.take().stop();
    let all = entries(gate.folder.path());
    assert_eq!(all.len(), 2);
    let last = holds(gate.folder.path());
    assert_eq!((all[1].sequence, last), (last, last));
    let files = history(gate.folder.path()).files_at(last).unwrap().unwrap();
    assert_eq!(files.len(), 7, "{files:?}");
    assert!(history(gate.folder.path()).files_at(1).unwrap().is_none());
    assert!(files.values().all(|digest| history(gate.folder.path()).text(digest).is_some()));
}

#[test]
fn the_log_is_read_while_the_gate_runs_by_app_and_as_lines_of_json() {
    let gate = setup().start();
    edited(&gate, "tracker.yaml", &app(REVOKED));
    let run =
        |arguments: &[&str]| run_in(gate.folder.path(), &[&["log", "--config", "scopegate.yaml"], arguments].concat());
    run(&[]).says(0, &["start", "file  by dana@example.com  SEC-1142", "loses", "policy file tracker.yaml changed"]);
    run(&["--app", "jira/track"]).says(0, &["0 entries"]);
    let told = run(&["--app", "jira/tracker", "--format", "json", "--limit", "1"]);
    let line: serde_json::Value = serde_json::from_str(told.out.trim()).unwrap();
    assert_eq!((line["by"][0].as_str(), line["source"].as_str()), (Some("dana@example.com"), Some("file")));
    let all = run(&["--format", "json"]);
    let lines: Vec<serde_json::Value> = all.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stored: Vec<u64> = entries(gate.folder.path()).iter().map(|entry| entry.sequence).collect();
    assert_eq!(lines.iter().filter_map(|line| line["sequence"].as_u64()).collect::<Vec<_>>(), stored);
    assert!(lines.iter().all(|line| line["hash"].as_str().is_some_and(|hash| hash.len() == 64)), "{}", all.out);
    run(&["--since", "2200-01-01T00:00:00Z"]).says(0, &["0 entries"]);
    let told = run_in(gate.folder.path(), &["log", "verify", "--config", "scopegate.yaml", "--format", "json"]);
    assert_eq!((told.code, &told.json()["holds"]), (0, &serde_json::json!(true)), "{}", told.err);
}

#[test]
fn without_a_state_folder_it_enforces_and_says_that_there_is_no_journal() {
    let gate = Setup::jira().policy("tracker.yaml", &app(GRANTED)).start();
    assert!(gate.running().journal().is_none());
    gate.passes(&edit("PROJ-1"));
    assert!(gate.health("/readyz").body.contains(r#""journal":{"is":"off"}"#), "{}", gate.health("/readyz").body);
    let ran = run_in(gate.folder.path(), &["log", "--config", "scopegate.yaml"]);
    ran.says(1, &["names no state folder"]);
}
