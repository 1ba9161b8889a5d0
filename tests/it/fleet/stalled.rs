//! Servers that lie still, as on a machine that has no time for them: what no majority has is not acknowledged, and what is
//! acknowledged is on every gate, also on one that begins later, whatever the servers make of the rest.

use super::*;

/// Acts after the servers go on.
const AFTER: usize = 3;
/// Gates that begin after that: each is fed by a server that is drawn.
const FRESH: usize = 6;

/// Version 2.9.10 of the server may give one place in the bucket to two acts then, each on some of the servers, for good.
/// Servers before 2.10.20 acknowledge the second try of a message at place 0 while the first is on its way.
#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn what_is_acknowledged_is_on_every_gate_though_the_servers_do_not_agree() {
    let cluster = Cluster::of_three();
    let maker = gate(&cluster.servers(), "gw-0");
    let leader = cluster.leader();
    let [one, other] = ["gw-1", "gw-2"].map(|name| gate(&format!("'nats://127.0.0.1:{}'", cluster.port(leader)), name));
    let gates = [maker, one, other];
    let holds = |project: &str, (code, said): (i32, String)| {
        println!("{project}: {code} {}", said.lines().last().unwrap_or_default());
        for gate in gates.iter().filter(|_| code == 0) {
            let answer = gate.ask(&ask(&format!("{project}-1")));
            assert_eq!(answer.reason(), Some("container_revoked"), "{}\n{said}", standing(gate));
        }
        code
    };
    let followers: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    followers.iter().for_each(|index| cluster.pause(*index));
    let still = holds("STILL", revoke(&gates[1], "STILL"));
    followers.iter().for_each(|index| cluster.resume(*index));
    assert_ne!(still, 0, "no majority can have it");
    let projects = (0..AFTER).map(|number| format!("AFTER{number}"));
    let acknowledged: Vec<String> =
        projects.filter(|project| holds(project, revoke(&gates[1], project)) == 0).collect();
    // Whichever server's copy feeds a gate that begins now, and whoever was there before.
    drop(gates);
    for number in 0..FRESH {
        let fresh = gate(&cluster.servers(), &format!("fresh-{number}"));
        println!("fresh-{number}: {} acts, {}", acts_on_disk(&fresh), standing(&fresh)["copies_differ"]);
        for project in &acknowledged {
            fresh.refuses(&ask(&format!("{project}-1")), "container_revoked");
        }
    }
}
