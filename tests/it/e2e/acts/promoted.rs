//! What an act in shadow mode would have done is known before it is promoted: in the command, by the API, and without a gate.

use scopegate::control::usage::reading::Reader;

use super::*;

fn kept() -> Setup {
    setup().top("state", "state").policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS))
}

fn shadow(gate: &Gate, more: &[&str]) -> String {
    let words = ["revoke", "--app", "jira/tracker", "--reason", "x", "--shadow"];
    id_in(&says(run(gate, &[&words, more].concat()), 0, &["in shadow"]))
}

/// Requests that the act would have refused, once all were counted.
#[track_caller]
fn counted(gate: &Gate, act: &str, number: u64) {
    let id = scopegate::acts::ActId::parse(act).expect("an id");
    wait_until("the counts", || {
        gate.running().flush_usage();
        let rows = Reader::open(&gate.path("state")).and_then(|reader| reader.shadowed(&id));
        rows.is_ok_and(|(rows, _)| rows.iter().map(|row| row.number).sum::<u64>() == number)
    });
}

#[test]
fn whom_it_would_have_refused_is_said_before_it_is_promoted() {
    let mut gate = kept().start();
    let act = shadow(&gate, &["--scope", "write:jira-work", "--in", "project:SEC"]);
    says(
        run(&gate, &["promote", &act, "--reason", "x", "--dry-run"]),
        0,
        &["would have refused, in shadow mode:", "nobody since 20", "nothing was written"],
    );
    for _ in 0..3 {
        gate.passes(&edit("SEC-1"));
    }
    // Neither what it does not reach, nor what is refused all the same.
    gate.passes(&edit("PROJ-1"));
    gate.passes(&read("SEC-1"));
    gate.refuses(&Ask::new("DELETE", "/rest/api/3/project/SEC").bearer("tracker"), "missing_scope");
    counted(&gate, &act, 3);
    let told = "jira/tracker in acme: editIssue 3 times, last 20";
    let dry = ["promote", &act, "--reason", "x", "--dry-run"];
    says(run(&gate, &dry), 0, &[told, "would be promoted", "nothing was written"]);
    let (status, done) = ask(&gate, &format!("POST /api/v1/acts/{act}/promote?dry_run=true"), &json!({"reason": "x"}));
    assert_eq!(status, 200, "{done}");
    assert!(done["would_have_refused"][0].as_str().expect("a sentence").starts_with(told), "{done}");
    // Without a gate it stands in the state folder.
    gate.take().stop();
    says(run(&gate, &dry), 0, &[told, "nothing was written"]);
    gate.restart();
    gate.passes(&edit("SEC-1"));
    counted(&gate, &act, 4);
    let said =
        says(run(&gate, &["promote", &act, "--reason", "x"]), 0, &["editIssue 4 times", "in force on 1 of 1 gate"]);
    let place = |text: &str| said.find(text).expect("it is said");
    assert!(place("editIssue 4 times") < place("promoted: enforced"), "{said}");
    assert_eq!(said.matches("editIssue 4 times").count(), 1, "{said}");
    gate.refuses(&edit("SEC-1"), "container_revoked");
}

#[test]
fn each_act_is_told_of_what_it_alone_would_refuse() {
    let gate = kept().start();
    let write = shadow(&gate, &["--scope", "write:jira-work"]);
    let read_too = shadow(&gate, &["--scope", "read:jira-work", "--even-required"]);
    let user = shadow(&gate, &["--all-scopes", "--actor", "user"]);
    gate.passes(&edit("PROJ-1"));
    gate.passes(&read("PROJ-1"));
    gate.passes(&read("PROJ-1"));
    counted(&gate, &write, 1);
    counted(&gate, &read_too, 2);
    counted(&gate, &user, 0);
}

#[test]
fn what_passes_only_because_it_is_observed_counts_too() {
    let rules = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";
    let until = scopegate::acts::text::time_text(scopegate::clock::unix_ms() + 86_400_000);
    let app = jira_app("tracker", "oauth", &format!("    observe: {{until: {until}}}\n{rules}"));
    let gate = kept().policy("tracker.yaml", &app).start();
    let act = shadow(&gate, &["--scope", "write:jira-work"]);
    gate.passes(&edit("PROJ-1"));
    gate.passes(&read("PROJ-1"));
    counted(&gate, &act, 1);
    says(run(&gate, &["promote", &act, "--reason", "x"]), 0, &["editIssue once", "promoted"]);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    gate.passes(&read("PROJ-1"));
}
