//! Servers whose copies of the bucket differ for good, as 2.9.10 leaves them after some of them lay still ([`super::stalled`]
//! has that itself, now and then): here one tells another message at the place of an act.

use super::liar::{Liar, Lie};
use super::*;

const LACKING: &str = r#"scopegate_overrides_lacking_total{bucket="acts"}"#;

/// Beside a gate that reaches all servers, one that hears of the bucket what the liar says.
fn near(cluster: &Cluster) -> (Gate, Liar) {
    (gate(&cluster.servers(), "gw-1"), Liar::before(cluster.port(0)))
}

fn leave(mut gate: Gate) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(gate.take().drain());
}

/// The message that put an act there.
fn revision(cluster: &Cluster, id: &str) -> u64 {
    cluster.meddle(async |context| {
        let entry = cluster::store(&context).await.entry(format!("acts.{id}")).await;
        entry.expect("an answer").expect("an act").revision
    })
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_starts_over_a_server_that_lacks_an_act_has_it_from_the_others() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    let id = id_in(&says(revoke(&near, "SEC"), 0, &["in force on 1 of 1 gate"]));
    // Nobody is left who could tell.
    leave(near);
    let before = revision(&cluster, &id);
    // What is written again is told.
    liar.lie(|told| match told.is_first && told.key.starts_with("acts.") && told.hidden == 0 {
        true => Lie::Other,
        false => Lie::Truth,
    });
    let far = started(setup(&liar.url(), "gw-2", ""));
    far.refuses(&ask("SEC-1"), "container_revoked");
    let differ = standing(&far)["copies_differ"].to_string();
    assert!(differ.contains(&format!("{id} is not in the copy of n")), "{differ}");
    assert_eq!(far.metric(LACKING), 1.0);
    wait("it to be written again", || revision(&cluster, &id) > before);
    // As soon as this gate has heard of it.
    wait("it to be taken back", || run(&far, &["restore", &id, "--reason", "over"]).0 == 0);
    far.passes(&ask("SEC-1"));
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_comes_back_to_a_server_that_lacks_what_took_a_grant_back_does_not_give_it() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    let far = started(setup(&liar.url(), "gw-2", ""));
    let id = id_in(&says(grant(&near), 0, &["2 of 2"]));
    far.passes(&ask_user());
    let mut far = far;
    far.take().stop();
    says(run(&near, &["restore", &id, "--reason", "over"]), 1, &["not reached: gw-2"]);
    leave(near);
    liar.lie(|told| if told.is_first && told.key.starts_with("acts.") { Lie::Other } else { Lie::Truth });
    far.run();
    is_ready(&far);
    far.refuses(&ask_user(), "missing_scope");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_reads_the_copy_of_one_server_of_three_is_not_ready() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    says(revoke(&near, "SEC"), 0, &["1 of 1"]);
    liar.lie(|told| if told.is_first { Lie::Truth } else { Lie::Nothing });
    let mut far = setup(&liar.url(), "gw-2", "").laid(StubUpstream::ok());
    far.run();
    let problem = || standing(&far)["problem"].to_string();
    wait("it to be told", || problem().contains("1 of 3 servers' copies of the bucket"));
    let answer = far.health("/readyz");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains(r#""waiting":["overrides"]"#), "{}", answer.body);
    liar.be_honest();
    is_ready(&far);
    far.refuses(&ask("SEC-1"), "container_revoked");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn an_act_that_does_not_come_to_a_gate_is_written_again_until_it_does() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    let far = started(setup(&liar.url(), "gw-2", ""));
    // The second time, too: that a place is written anew does not mean that every server takes it.
    liar.lie(|told| if told.key.starts_with("acts.") && told.hidden < 2 { Lie::Other } else { Lie::Truth });
    says(revoke(&near, "SEC"), 0, &["in force on 2 of 2 gates"]);
    far.refuses(&ask("SEC-1"), "container_revoked");
    assert!(standing(&far)["lacking"].is_null());
    assert_eq!(far.metric(LACKING), 1.0);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_to_which_an_act_never_comes_is_not_ready_and_says_which_and_who_has_it() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    let far = started(setup(&liar.url(), "gw-2", ""));
    says(revoke(&near, "OPS"), 0, &["2 of 2"]);
    liar.lie(|told| if told.key.starts_with("acts.") { Lie::Other } else { Lie::Truth });
    let said =
        says(revoke(&near, "SEC"), 1, &["in force on 1 of 2 gates", "not reached: gw-2 (it is past the act's place"]);
    let id = id_in(&said);
    wait("it to be unready", || far.health("/readyz").status == 503);
    let answer = far.health("/readyz").body;
    assert!(answer.contains(r#""waiting":["overrides"]"#), "{answer}");
    assert!(answer.contains(&format!("{id} did not come, and gw-1 has it")), "{answer}");
    far.refuses(&ask("OPS-1"), "container_revoked");
    // A start over the same servers is not ready at all.
    let mut fresh = setup(&liar.url(), "gw-3", "").laid(StubUpstream::ok());
    fresh.run();
    wait("it to be told", || standing(&fresh)["lacking"].to_string().contains(&id));
    assert_eq!(fresh.health("/readyz").status, 503);
    liar.be_honest();
    for gate in [&far, &fresh] {
        is_ready(gate);
        gate.refuses(&ask("SEC-1"), "container_revoked");
    }
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn an_act_that_one_server_never_takes_is_read_from_another_in_the_end() {
    let cluster = Cluster::of_three();
    let (near, liar) = near(&cluster);
    let far = started(setup(&liar.url(), "gw-2", ""));
    liar.lie(|told| if told.is_first && told.key.starts_with("acts.") { Lie::Other } else { Lie::Truth });
    says(revoke(&near, "SEC"), 1, &["in force on 1 of 2 gates", "not reached: gw-2"]);
    wait("it to be unready", || far.health("/readyz").status == 503);
    is_ready(&far);
    far.refuses(&ask("SEC-1"), "container_revoked");
    assert!(standing(&far)["lacking"].is_null());
    assert!(standing(&far)["copies_differ"].is_array());
}

/// Whoever can write to the bucket can write in any gate's name.
#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn what_a_false_gate_says_to_have_is_told_and_ends_with_it() {
    const FALSE: &[u8] =
        br#"{"version": 1, "name": "gw-x", "boot": 1, "ready": true, "generation": 1, "digest": "d", "in_force": 1,
        "acts": 1, "recent": {"20261120T090000123Z-revoke-00000007": {"at": 1, "text": "00"}}, "judged": 1, "cut": 0,
        "max_override_age_ms": 18446744073709551615, "every_ms": 3000, "time_ms": 0}"#;
    let cluster = Cluster::of_one();
    let gate = gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    cluster.put("gates.0123456789abcdef", FALSE);
    wait("it to be unready", || gate.health("/readyz").status == 503);
    let lacking = standing(&gate)["lacking"].to_string();
    let told = "20261120T090000123Z-revoke-00000007 did not come, and gw-x has it (gates.0123456789abcdef)";
    assert!(lacking.contains(told), "{lacking}");
    gate.refuses(&ask("SEC-1"), "container_revoked");
    cluster.delete("gates.0123456789abcdef");
    wait("it to be ready", || gate.health("/readyz").status == 200);
    assert!(standing(&gate)["lacking"].is_null());
}
