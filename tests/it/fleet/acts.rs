//! Acts by command, over a fleet that is well.

use super::*;

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn an_act_on_one_gate_holds_on_all_of_them() {
    let cluster = Cluster::of_three();
    let gates = three(&cluster);
    gates.iter().for_each(|gate| drop(gate.passes(&ask("SEC-1"))));
    let said = says(revoke(&gates[0], "SEC"), 0, &["in force on 3 of 3 gates after", "84 operations"]);
    for gate in &gates {
        gate.refuses(&ask("SEC-1"), "container_revoked");
        gate.passes(&ask("PROJ-1"));
    }
    let listed = says(run(&gates[2], &["overrides"]), 0, &["in force", "project: [SEC]"]);
    assert!(listed.contains(&id_in(&said)), "{listed}");
    let restored = ["restore", &id_in(&said), "--reason", "over"];
    says(run(&gates[1], &restored), 0, &["taken back", "no longer in force on 3 of 3 gates"]);
    gates.iter().for_each(|gate| drop(gate.passes(&ask("SEC-1"))));
    assert_eq!(gates.each_ref().map(acts_on_disk), [0; 3]);
    says(run(&gates[0], &restored), 1, &["there is no act"]);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_says_in_the_bucket_what_it_has_in_force() {
    let cluster = Cluster::of_one();
    let gate = gate(&cluster.servers(), "gw-1");
    let id = id_in(&says(revoke(&gate, "SEC"), 0, &["1 of 1"]));
    let said = || -> serde_json::Value {
        let keys = cluster.all_keys();
        let own = keys.iter().find(|key| key.starts_with("gates.")).expect("its own key");
        let value = cluster.meddle(async |context| cluster::store(&context).await.get(own).await.expect("an answer"));
        serde_json::from_slice(&value.expect("a status")).expect("JSON")
    };
    wait("it to be said", || said()["newest_act"] == id.as_str());
    let (said, report) = (said(), gate.running().readiness.report());
    let snapshot = report.snapshot.expect("a snapshot");
    assert_eq!((&said["name"], &said["ready"], &said["acts"]), (&"gw-1".into(), &true.into(), &1.into()), "{said}");
    assert_eq!(
        (&said["generation"], &said["digest"]),
        (&snapshot.generation.into(), &snapshot.digest.into()),
        "{said}"
    );
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn every_sort_of_act_goes_to_all() {
    let cluster = Cluster::of_one();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&cluster.servers(), name));
    let all = "2 of 2 gates";
    gates[1].refuses(&ask_user(), "missing_scope");
    says(grant(&gates[0]), 0, &[all]);
    gates[1].passes(&ask_user());
    let shadow = ["revoke", "--app", "jira/tracker", "--all-scopes", "--shadow", "--reason", "x"];
    let said = says(run(&gates[1], &shadow), 0, &[all, "shadow"]);
    gates[0].passes(&ask("SEC-1"));
    says(run(&gates[0], &["promote", &id_in(&said), "--reason", "x"]), 0, &[all, "promoted"]);
    gates.iter().for_each(|gate| drop(gate.refuses(&ask("SEC-1"), "scope_revoked")));
    says(run(&gates[1], &["restore", &id_in(&said), "--reason", "x"]), 0, &[all]);
    let said = says(run(&gates[1], &["suspend", "--app", "jira/tracker", "--reason", "x"]), 0, &[all]);
    gates.iter().for_each(|gate| drop(gate.refuses(&ask("SEC-1"), "app_suspended")));
    says(run(&gates[0], &["restore", &id_in(&said), "--reason", "x"]), 0, &[all]);
    gates.iter().for_each(|gate| drop(gate.passes(&ask("SEC-1"))));
    let dry = ["suspend", "--app", "jira/tracker", "--reason", "x", "--dry-run"];
    says(run(&gates[1], &dry), 0, &["nothing was written"]);
    assert_eq!(cluster.keys("acts."), 1, "the grant");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn two_admins_at_once_on_two_gates_do_not_overwrite_each_other() {
    let cluster = Cluster::of_three();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&cluster.servers(), name));
    let both = |what: &(dyn Fn(&Gate, usize) -> (i32, String) + Sync)| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| what(&gates[1], 1));
            [what(&gates[0], 0), other.join().expect("it ends")]
        })
    };
    let ran = both(&|gate, index| revoke(gate, ["ONE", "TWO"][index]));
    assert_eq!([ran[0].0, ran[1].0], [0, 0], "{ran:?}");
    for gate in &gates {
        gate.refuses(&ask("ONE-1"), "container_revoked");
        gate.refuses(&ask("TWO-1"), "container_revoked");
    }
    let id = id_in(&ran[0].1);
    let ran = both(&|gate, _| run(gate, &["restore", &id, "--reason", "x"]));
    let mut codes = [ran[0].0, ran[1].0];
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "one of them is told that somebody was faster: {ran:?}");
    gates.iter().for_each(|gate| drop(gate.passes(&ask("ONE-1"))));
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_command_without_a_gate_writes_to_the_bucket_itself() {
    let cluster = Cluster::of_three();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&cluster.servers(), name));
    let desk = setup(&cluster.servers(), "desk", "").laid(StubUpstream::ok());
    let said = says(revoke(&desk, "SEC"), 0, &["in force on 2 of 2 gates", "written to the bucket from here"]);
    gates.iter().for_each(|gate| drop(gate.refuses(&ask("SEC-1"), "container_revoked")));
    says(run(&desk, &["overrides"]), 0, &["in force", &id_in(&said)]);
    let shadow = ["revoke", "--app", "jira/tracker", "--all-scopes", "--shadow", "--reason", "x"];
    let shadowed = id_in(&says(run(&gates[0], &shadow), 0, &["2 of 2"]));
    says(run(&desk, &["promote", &shadowed, "--reason", "x"]), 0, &["in force on 2 of 2 gates"]);
    gates.iter().for_each(|gate| drop(gate.refuses(&ask("PROJ-1"), "scope_revoked")));
    for id in [shadowed, id_in(&said)] {
        says(run(&desk, &["restore", &id, "--reason", "x"]), 0, &["no longer in force on 2 of 2 gates"]);
    }
    gates.iter().for_each(|gate| drop(gate.passes(&ask("SEC-1"))));
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn streams_are_cut_on_the_gate_that_has_them() {
    let cluster = Cluster::of_one();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&cluster.servers(), name));
    // An upload that does not end.
    let upload =
        Ask::post("/rest/api/3/issue/SEC-1/attachments").bearer("tracker").with("x-atlassian-token", "no-check");
    let upload = upload.with("content-type", "application/octet-stream").body("0123456789");
    let mut client = gates[1].connect();
    client.send(&upload.halves().0);
    wait("the upload to go upstream", || gates[1].upstream.bytes() > 0);
    says(revoke(&gates[0], "SEC"), 0, &["in force on 2 of 2 gates", "1 stream cut"]);
    assert_eq!(client.answer().reason(), Some("container_revoked"));
}
