//! `rollback` restores grants, and never what was taken since, unless that is named.

use super::*;

const BEFORE: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n";
/// One grant less, and two revocations more.
const AFTER: &str = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n\
                     revocations:\n  - {scopes: [write:jira-work], in: {project: [SEC]}, reason: SEC-1}\n  - {scopes: [read:jira-work], in: {project: [HR]}, actors: [app], reason: SEC-2}\n";
const GUARDRAIL: &str = "version: 1\nguardrail: g\napps: all\ntenants: all\nrevocations: [{scopes: [manage:jira-configuration], in: all, reason: SEC-3}]\n";

/// A gate whose policy was narrowed, guarded and suspended after the first entry.
fn narrowed() -> Gate {
    let gate = setup().file("overrides/none.txt", "").policy("tracker.yaml", &app(BEFORE)).start();
    std::fs::remove_file(gate.path("overrides/none.txt")).unwrap();
    journaled(&gate);
    edited(&gate, "tracker.yaml", &app(AFTER));
    edited(&gate, "guardrail.yaml", GUARDRAIL);
    gate
}

fn rollback(gate: &Gate, arguments: &[&str]) -> crate::cli::Ran {
    run_in(gate.folder.path(), &[&["rollback", "1", "--config", "scopegate.yaml"], arguments].concat())
}

/// Compares what is in force with what was written.
fn diff(gate: &Gate, old: &str, new: &str) -> crate::cli::Ran {
    run_in(gate.folder.path(), &["diff", old, new, "--config", "scopegate.yaml", "--format", "json"])
}

fn id_of(ran: &crate::cli::Ran, line: &str) -> String {
    let line = ran.out.lines().find(|one| one.starts_with("stays") && one.contains(line));
    line.unwrap_or_else(|| panic!("`{line:?}` is not in {}", ran.out)).split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn grants_come_back_and_newer_revocations_stay() {
    let gate = narrowed();
    let ran = rollback(&gate, &["--to-folder", "back"]);
    ran.says(
        0,
        &[
            "+ jira/tracker in acme gains write:jira-work",
            "project SEC",
            "project HR",
            "all apps of jira",
            "2 files written",
        ],
    );
    // The files are those of then.
    let text = std::fs::read_to_string(gate.path("back/policies/tracker.yaml")).unwrap();
    assert!(text.contains(BEFORE), "{text}");
    // No more than then, and all that was taken since.
    std::fs::create_dir(gate.path("then")).unwrap();
    std::fs::copy(gate.path("back/policies/tracker.yaml"), gate.path("then/tracker.yaml")).unwrap();
    let all = diff(&gate, "then", "back");
    assert_eq!(all.code, 0, "{}{}", all.out, all.err);
    let told = diff(&gate, "policies", "back").json();
    assert!(
        told["widening"]
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line.as_str().unwrap().contains("gains write:jira-work")),
        "{told}"
    );
    // And it is a policy: a gate takes it.
    gate.write_policy("guardrail.yaml", "version: 1\nset: unused\ntenant: acme\nproject: [AA]\n");
    let name = std::fs::read_dir(gate.path("back/overrides")).unwrap().next().unwrap().unwrap().file_name();
    std::fs::copy(gate.path("back/overrides").join(&name), gate.path("overrides").join(&name)).unwrap();
    std::fs::copy(gate.path("back/policies/tracker.yaml"), gate.path("policies/tracker.yaml")).unwrap();
    wait_until("the grant to be back", || gate.ask(&edit("PROJ-1")).reason().is_none());
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.refuses(&Ask::get("/rest/api/3/issue/HR-1").bearer("tracker"), "container_revoked");
}

#[test]
fn a_newer_revocation_goes_only_when_it_is_named() {
    let gate = narrowed();
    let shown = rollback(&gate, &[]);
    shown.says(0, &["nothing was written"]);
    let id = id_of(&shown, "project SEC");
    let ran = rollback(&gate, &["--lift", &id, "--to-folder", "back"]);
    ran.says(0, &[&format!("let go {id}")]);
    let kept: String = std::fs::read_dir(gate.path("back/overrides"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert!(!kept.contains("SEC\"") && kept.contains("HR") && kept.contains("manage:jira-configuration"), "{kept}");
    rollback(&gate, &["--lift", "00000000"]).says(2, &["no", "00000000"]);
    rollback(&gate, &["--to-folder", "back"]).says(2, &["back is not empty"]);
}

#[test]
fn a_suspension_that_is_newer_stays() {
    let gate = narrowed();
    let act = "version: 1\napp: jira/tracker\nsuspensions: [{tenants: [acme], reason: SEC-9}]\n";
    std::fs::write(gate.path("overrides/act.yaml"), act).unwrap();
    wait_until("the suspension", || gate.ask(&edit("PROJ-1")).reason() == Some("app_suspended"));
    let ran = rollback(&gate, &["--to-folder", "back"]);
    let id = id_of(&ran, "is suspended");
    let kept = std::fs::read_dir(gate.path("back/overrides")).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read_to_string(kept).unwrap().contains("suspensions:"));
    rollback(&gate, &["--lift", &id]).says(0, &["jira/tracker in acme is no longer suspended"]);
}

#[test]
fn a_credential_that_was_taken_out_does_not_come_back_unasked() {
    let gate = setup().start();
    journaled(&gate);
    edited(&gate, "tracker.yaml", &app(GRANTED).replace("sha256(tracker)", "sha256(another)"));
    rollback(&gate, &["--to-folder", "back"]).says(1, &["1 credential", "jira/tracker in acme", "--with-credentials"]);
    assert!(!gate.path("back").exists());
    rollback(&gate, &["--to-folder", "back", "--with-credentials"]).says(0, &["is called by one more credential"]);
}

#[test]
fn a_set_that_grew_under_a_revocation_stays_as_large_as_it_is() {
    let set = |projects: &str| format!("version: 1\nset: sensitive\ntenant: acme\nproject: [{projects}]\n");
    let rules = format!("{BEFORE}revocations: [{{scopes: all, in: {{project: ['set:sensitive']}}, reason: r}}]\n");
    let gate = setup().policy("set.yaml", &set("HR")).policy("tracker.yaml", &app(&rules)).start();
    journaled(&gate);
    edited(&gate, "set.yaml", &set("HR, SEC"));
    let ran = rollback(&gate, &["--to-folder", "back"]);
    ran.says(0, &["stays", "everything, project SEC"]);
    let told = diff(&gate, "policies", "back");
    assert_eq!(told.code, 0, "{}", told.out);
}

#[test]
fn a_target_that_is_not_there_is_said() {
    let gate = setup().start();
    journaled(&gate);
    let to = |target: &str| run_in(gate.folder.path(), &["rollback", target, "--config", "scopegate.yaml"]);
    to("99").says(1, &["no entry for 99"]);
    to("1999-01-01T00:00:00Z").says(1, &["no entry for 1999"]);
    to("yesterday").says(2, &["neither the number of an entry nor a time"]);
    to("2200-01-01T00:00:00Z").says(0, &["back to entry 1"]);
}
