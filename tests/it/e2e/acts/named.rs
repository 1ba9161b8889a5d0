//! What `restore` may be told, and that it gives back nothing that is written by hand.

use super::*;

const BY_HAND: &str = "revocations:\n  - {scopes: [write:jira-work], in: {project: [SEC]}, reason: SEC-1142}\n";

#[test]
fn what_is_written_by_hand_is_named_with_file_and_line() {
    let text = jira_app("tracker", "oauth", &format!("{GRANTS}{BY_HAND}"));
    let line = text.lines().position(|line| line.contains("SEC-1142")).expect("it is there") + 1;
    let gate = setup().policy("tracker.yaml", &text).start();
    let place = format!("policies/tracker.yaml:{line}");
    let told = run(&gate, &["explain", "--app", "jira/tracker", "--tenant", "acme", "PUT", "/rest/api/3/issue/SEC-1"]);
    assert!(told.1.contains(&place), "{}", told.1);
    let by_hand = format!("{place} is written by hand");
    for words in [
        &["restore", &place][..],
        &["restore", "--app", "jira/tracker"],
        &["restore", "--app", "jira/tracker", "--scope", "write:jira-work"],
        &["restore", "--app", "jira/tracker", "--scope", "write:jira-work", "--tenant", "acme"],
    ] {
        says(run(&gate, &[words, &["--reason", "x"]].concat()), 1, &["not done", &by_hand]);
    }
    let nothing = ["restore", "--app", "jira/tracker", "--scope", "read:jira-work", "--reason", "x"];
    says(run(&gate, &nothing), 1, &["no revocation and no suspension"]);
    let other_line = format!("policies/tracker.yaml:{}", line - 2);
    says(run(&gate, &["restore", &other_line, "--reason", "x"]), 1, &["no revocation and no suspension"]);
    says(run(&gate, &["restore", "--app", "jira/trakcer", "--reason", "x"]), 1, &["jira/trakcer"]);
    gate.refuses(&edit("SEC-1"), "container_revoked");
}

#[test]
fn an_act_is_given_back_by_what_it_takes_or_by_its_place() {
    let gate = gate();
    let revoke = |scope: &str| {
        let words = ["revoke", "--app", "jira/tracker", "--scope", scope, "--reason", "x"];
        id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]))
    };
    let (write, read_too) = (revoke("write:jira-work"), revoke("read:jira-work"));
    let all = ["restore", "--app", "jira/tracker", "--reason", "x"];
    says(run(&gate, &all), 1, &["several acts", &write, &read_too]);
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    let one = ["restore", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    says(run(&gate, &one), 0, &["taken back"]);
    gate.passes(&edit("PROJ-1"));
    gate.refuses(&read("PROJ-1"), "scope_revoked");
    let act = format!("state/overrides/{read_too}.yaml");
    let text = std::fs::read_to_string(gate.path(&act)).expect("the act");
    let line = text.lines().position(|line| line.contains("read:jira-work")).expect("what it takes") + 1;
    let place = format!("{act}:{line}");
    says(run(&gate, &["restore", &place, "--reason", "x"]), 0, &["taken back"]);
    gate.passes(&read("PROJ-1"));
    assert_eq!(written(&gate), 0);
}
