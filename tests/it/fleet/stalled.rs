//! Servers that lie still: what no majority has is not acknowledged, however often it was sent.

use super::*;

/// Servers before 2.10.20 acknowledge the second try of a message at place 0 while the first is on its way.
#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn an_act_that_no_majority_has_is_not_acknowledged() {
    let cluster = Cluster::of_three();
    let maker = gate(&cluster.servers(), "gw-0");
    let leader = cluster.leader();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&format!("'nats://127.0.0.1:{}'", cluster.port(leader)), name));
    let followers: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    followers.iter().for_each(|index| cluster.pause(*index));
    let (code, said) = revoke(&gates[0], "STILL");
    if code == 0 {
        gates.iter().for_each(|gate| drop(gate.refuses(&ask("STILL-1"), "container_revoked")));
    }
    assert_ne!(code, 0, "no majority can have it: {said}");
    followers.iter().for_each(|index| cluster.resume(*index));
    wait("the cluster to take acts again", || revoke(&gates[0], "AFTER").0 == 0);
    gates.iter().chain([&maker]).for_each(|gate| drop(gate.refuses(&ask("AFTER-1"), "container_revoked")));
}
