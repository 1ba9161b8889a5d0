//! An act that the settled policy says itself is dropped; one that it does not say quite so stands.

use super::*;

fn kept() -> Setup {
    setup().top("state", "state").policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS))
}

fn revoke(gate: &Gate, scope: &str, project: &str) -> String {
    let within = format!("project:{project}");
    let words = ["revoke", "--app", "jira/tracker", "--scope", scope, "--in", &within, "--reason", "SEC-1"];
    id_in(&says(run(gate, &words), 0, &["in force on 1 of 1 gate"]))
}

fn stands(gate: &Gate, act: &str) -> bool {
    gate.path("state/overrides").join(format!("{act}.yaml")).exists()
}

fn rule(act: &str, gate: &Gate) -> String {
    let text = std::fs::read_to_string(gate.path("state/overrides").join(format!("{act}.yaml"))).expect("an act");
    text.split_once("revocations:\n").expect("a revocation").1.to_owned()
}

fn written_by_hand(gate: &Gate, rules: &str) {
    gate.write_policy("tracker.yaml", &jira_app("tracker", "oauth", &format!("{GRANTS}revocations:\n{rules}")));
}

#[test]
fn an_act_that_the_policy_says_itself_is_dropped_with_a_line_in_the_journal() {
    let gate = kept().start();
    let act = revoke(&gate, "write:jira-work", "SEC");
    let said = rule(&act, &gate);
    written_by_hand(&gate, &said);
    wait_until("the act to be dropped", || !stands(&gate, &act));
    gate.refuses(&edit("SEC-1"), "container_revoked");
    wait_until("the journal", || {
        let log = run(&gate, &["log"]).1;
        log.contains(&format!("the act {act} is dropped")) && log.contains("policies/tracker.yaml:")
    });
    says(run(&gate, &["log", "verify"]), 0, &[]);
    says(run(&gate, &["overrides"]), 0, &["no act stands"]);
    // It does not come back when the policy no longer says so.
    gate.write_policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS));
    wait_until("the grant", || gate.ask(&edit("SEC-1")).reason().is_none());
}

#[test]
fn a_guardrail_that_was_committed_as_it_was_printed_takes_its_place() {
    let gate = kept().start();
    let words = ["revoke", "--all-apps", "--product", "jira", "--scope", "write:jira-work", "--reason", "x"];
    let act = id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]));
    let printed = run(&gate, &["overrides"]).1;
    gate.write_policy("rail.yaml", &printed);
    wait_until("the act to be dropped", || !stands(&gate, &act));
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
}

#[test]
fn what_the_policy_does_not_say_quite_so_stands() {
    let gate = kept().start();
    let act = revoke(&gate, "write:jira-work", "SEC");
    // Whatever is looked at after it was written by hand in some other way, this one is looked at as well.
    let mut number = 0;
    let mut looked_at = |rules: &str| {
        number += 1;
        let witness = revoke(&gate, "delete:issue:jira", &format!("W{number}"));
        written_by_hand(&gate, &format!("{rules}{}", rule(&witness, &gate)));
        wait_until("the witness to be dropped", || !stands(&gate, &witness));
        assert!(stands(&gate, &act), "{rules}");
        assert!(gate.ask(&edit("SEC-1")).reason().is_some(), "{rules}");
    };
    let said = rule(&act, &gate);
    looked_at(&said.replace("[SEC]", "[OPS]"));
    looked_at(&said.replace("[SEC]", "[SEC, OPS]"));
    looked_at(&said.replace("write:jira-work", "read:jira-work"));
    looked_at(&said.replace("in: {", "mode: shadow, in: {"));
    looked_at(&said.replace("in: {", "actors: [user], in: {"));
    looked_at(&said.replace("in: {", "unless: install_window, in: {"));
    looked_at(&said.replace("in: {", "valid: {until: 2099-01-01T00:00:00Z}, in: {"));
    looked_at(&said.replace("in: {", "operations: [editIssue], in: {"));
    // Quite so, and in a folder that is not whole: nobody knows what else it is about to say.
    gate.write_policy("other.yaml", "version: 1\napp: [");
    wait_until("the problem to be seen", || gate.health("/readyz").json()["problems"] == 1);
    let before = gate.running().live.load().generation;
    written_by_hand(&gate, &said);
    wait_until("the rule", || gate.running().live.load().generation > before);
    gate.running().look();
    let later = revoke(&gate, "delete:issue:jira", "LATER");
    assert!(stands(&gate, &act) && stands(&gate, &later));
    std::fs::remove_file(gate.path("policies/other.yaml")).expect("it was there");
    wait_until("the act to be dropped", || !stands(&gate, &act));
    gate.refuses(&edit("SEC-1"), "container_revoked");
}

#[test]
fn another_tenants_rule_and_another_apps_do_not_count() {
    let two = "  - {tenant: other, tenant_name: Other, installed_at: 2020-01-01T00:00:00Z, credentials: []}\n";
    let grants = GRANTS.replace("in: all}", "in: all, tenants: [acme, other]}");
    let app = |rules: &str| jira_app("tracker", "oauth", &format!("{two}{grants}{rules}"));
    let gate = kept().policy("tracker.yaml", &app("")).start();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--tenant", "acme", "--reason", "x"];
    let act = id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]));
    let said = rule(&act, &gate);
    let elsewhere = said.replace("tenants: [acme]", "tenants: [other]");
    assert_ne!(said, elsewhere);
    gate.write_policy("later.yaml", &jira_app("later", "oauth", &format!("{GRANTS}revocations:\n{said}")));
    gate.write_policy("tracker.yaml", &app(&format!("revocations:\n{elsewhere}")));
    let witness = ["revoke", "--app", "jira/later", "--scope", "write:jira-work", "--reason", "x"];
    wait_until("the app to be known", || run(&gate, &witness).0 == 0);
    wait_until("its own act to be dropped", || written(&gate) == 1);
    assert!(stands(&gate, &act));
    gate.refuses(&edit("SEC-1"), "scope_revoked");
}

/// Gates that share a folder of acts may have policies of their own.
#[test]
fn acts_outside_the_state_folder_stand() {
    let setup = kept().top("overrides", "shared").policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS));
    let gate = setup.start();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "x"];
    let act = id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]));
    let before = gate.running().live.load().generation;
    let text = std::fs::read_to_string(gate.path("shared").join(format!("{act}.yaml"))).expect("an act");
    written_by_hand(&gate, text.split_once("revocations:\n").expect("a revocation").1);
    let settled = || gate.running().live.load().states.as_ref().is_some_and(|states| states.whole.is_none());
    wait_until("the policy", || gate.running().live.load().generation > before && settled());
    says(run(&gate, &["suspend", "--app", "jira/tracker", "--reason", "x"]), 0, &["in force on 1 of 1 gate"]);
    assert!(gate.path("shared").join(format!("{act}.yaml")).exists());
}

/// `flock` on the folder of acts, by whatever else runs there.
#[test]
fn whoever_holds_the_folder_keeps_no_revocation_waiting() {
    let gate = kept().start();
    let words = ["revoke", "--app", "jira/tracker", "--scope", "delete:issue:jira", "--reason", "x", "--shadow"];
    let shadow = id_in(&says(run(&gate, &words), 0, &["in force on 1 of 1 gate"]));
    let holder = std::fs::File::open(gate.path("state/overrides")).expect("a folder");
    holder.lock().expect("a lock");
    says(run(&gate, &["promote", &shadow, "--reason", "x"]), 1, &["holds the lock of this folder"]);
    let act = revoke(&gate, "write:jira-work", "SEC");
    gate.refuses(&edit("SEC-1"), "container_revoked");
    // What the policy says itself stands as long as somebody holds it, and not once the rule has gone again.
    written_by_hand(&gate, &rule(&act, &gate));
    gate.running().look();
    gate.write_policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS));
    gate.running().look();
    assert!(stands(&gate, &act));
    drop(holder);
    let witness = revoke(&gate, "delete:issue:jira", "OPS");
    written_by_hand(&gate, &rule(&witness, &gate));
    wait_until("the witness to be dropped", || !stands(&gate, &witness));
    assert!(stands(&gate, &act));
    gate.refuses(&edit("SEC-1"), "container_revoked");
}
