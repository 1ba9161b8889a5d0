//! Servers of the cluster that die.

use super::*;

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn the_leader_dies_while_somebody_revokes() {
    let mut cluster = Cluster::of_three();
    let gates = three(&cluster);
    says(revoke(&gates[0], "FIRST"), 0, &["3 of 3"]);
    let leader = cluster.leader();
    cluster.kill(leader);
    // An answer may be that nobody knows; it is never "done" where it is not.
    let mut acknowledged = Vec::new();
    let began = Instant::now();
    for number in 0.. {
        let project = format!("L{number}");
        let (code, said) = revoke(&gates[number % 3], &project);
        if code == 0 {
            assert!(said.contains("in force on 3 of 3 gates"), "{said}");
            acknowledged.push(project);
        }
        assert!(began.elapsed() < PATIENCE, "nothing is taken after the leader died: {said}");
        if acknowledged.len() == 3 {
            break;
        }
    }
    for gate in &gates {
        acknowledged.iter().for_each(|project| drop(gate.refuses(&ask(&format!("{project}-1")), "container_revoked")));
    }
    cluster.start(leader);
    says(revoke(&gates[1], "LAST"), 0, &["3 of 3"]);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn everything_is_started_anew() {
    let mut cluster = Cluster::of_three();
    let mut gates = three(&cluster);
    says(revoke(&gates[0], "SEC"), 0, &["3 of 3"]);
    gates.iter_mut().for_each(|gate| gate.take().stop());
    cluster.kill_all();
    cluster.start_all();
    gates.iter_mut().for_each(Gate::run);
    gates.iter().for_each(is_ready);
    gates.iter().for_each(|gate| drop(gate.refuses(&ask("SEC-1"), "container_revoked")));
    wait("commands to be answered", || revoke(&gates[1], "OPS").1.contains("in force on 3 of 3 gates"));
    let mut fresh = setup(&cluster.servers(), "gw-4", "").laid(StubUpstream::ok());
    fresh.run();
    is_ready(&fresh);
    fresh.refuses(&ask("SEC-1"), "container_revoked");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn no_cluster_is_told_and_nothing_is_changed() {
    let mut cluster = Cluster::of_one();
    let gate = gate(&cluster.servers(), "gw-1");
    cluster.kill_all();
    wait("the gate to notice", || standing(&gate)["connected"] == false);
    let (code, said) = revoke(&gate, "SEC");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no server of the cluster is reached"), "{said}");
    gate.passes(&ask("SEC-1"));
    assert_eq!(acts_on_disk(&gate), 0);
}
