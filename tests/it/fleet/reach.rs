//! Gates that are killed, cut off, or start where there is no cluster.

use super::*;

/// The shortest that may be written.
const SHORT: &str = ", max_override_age: 10s";
/// So long after it was parted a gate still is ready by it, whenever it last spoke before.
const YOUNG: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_was_killed_is_named_and_one_that_left_is_not_waited_for() {
    let cluster = Cluster::of_three();
    let mut gates = three(&cluster);
    // As a kill would: no good-bye.
    gates[2].take().stop();
    says(revoke(&gates[0], "SEC"), 1, &["in force on 2 of 3 gates", "not reached: gw-3"]);
    gates[1].refuses(&ask("SEC-1"), "container_revoked");
    gates[2].run();
    is_ready(&gates[2]);
    gates[2].refuses(&ask("SEC-1"), "container_revoked");
    says(revoke(&gates[0], "OPS"), 0, &["in force on 3 of 3 gates"]);
    let leaving = gates[2].take();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(leaving.drain());
    says(revoke(&gates[0], "ADM"), 0, &["in force on 2 of 2 gates"]);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_start_without_the_cluster_goes_by_what_it_knew_and_one_that_knew_nothing_waits() {
    let mut cluster = Cluster::of_three();
    let servers = cluster.servers();
    let mut known = gate(&servers, "gw-1");
    let mut strict = started(setup(&servers, "gw-2", ", start: fetched"));
    let mut left = gate(&servers, "gw-3");
    says(revoke(&known, "SEC"), 0, &["3 of 3"]);
    // It is written down now and then since when all is in force.
    std::thread::sleep(Duration::from_secs(4));
    cluster.kill_all();
    known.take().stop();
    strict.take().stop();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(left.take().drain());
    let mut fresh = setup(&servers, "gw-4", "").laid(StubUpstream::ok());
    [&mut known, &mut strict, &mut left, &mut fresh].into_iter().for_each(Gate::run);
    is_ready(&known);
    known.refuses(&ask("SEC-1"), "container_revoked");
    strict.refuses(&ask("SEC-1"), "container_revoked");
    wait("the others to have tried", || {
        [&strict, &left, &fresh].iter().all(|gate| standing(gate)["problem"].is_string())
    });
    for gate in [&strict, &left, &fresh] {
        let answer = gate.health("/readyz");
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains(r#""waiting":["overrides"]"#), "{}", answer.body);
    }
    cluster.start_all();
    [&strict, &left, &fresh].into_iter().for_each(is_ready);
    fresh.refuses(&ask("SEC-1"), "container_revoked");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_is_cut_off_is_not_ready_once_what_it_knows_is_old_and_enforces_all_the_same() {
    let cluster = Cluster::of_three();
    let near = gate(&cluster.servers(), "gw-1");
    for silent in [false, true] {
        let (far, way) = apart(&cluster, "gw-7", SHORT);
        let name = format!("P{}", u8::from(silent));
        says(revoke(&near, &format!("{name}A")), 0, &["in force on 2 of 2 gates"]);
        let (parted, parted_at) = (Instant::now(), seconds_now());
        if silent {
            way.silence()
        } else {
            way.cut()
        }
        says(revoke(&near, &format!("{name}B")), 1, &["in force on 1 of 2 gates", "not reached: gw-7"]);
        let ready = far.running().readiness.report().ready;
        assert!(ready || parted.elapsed() > YOUNG, "it is ready for as long as what it knows is young");
        wait("it to be unready", || far.health("/readyz").status == 503);
        far.refuses(&ask(&format!("{name}A-1")), "container_revoked");
        far.passes(&ask("PROJ-1"));
        assert!(standing(&far)["last_in_sync"].is_string());
        assert_eq!(far.metric(r#"scopegate_overrides_connected{bucket="acts"}"#), 0.0);
        let synced = far.metric(r#"scopegate_overrides_last_sync_timestamp_seconds{bucket="acts"}"#);
        assert!(synced < parted_at + 1.0 && synced > parted_at - 30.0, "{synced} is not just before {parted_at}");
        way.mend();
        wait("it to be ready again", || far.running().readiness.report().ready);
        far.refuses(&ask(&format!("{name}B-1")), "container_revoked");
        tokio::runtime::Runtime::new().expect("a runtime").block_on({
            let mut far = far;
            far.take().drain()
        });
    }
}

/// As the gauges tell time.
fn seconds_now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64()
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_whose_lease_has_ended_is_told_and_not_waited_for() {
    let cluster = Cluster::of_one();
    let near = gate(&cluster.servers(), "gw-1");
    let (far, way) = apart(&cluster, "gw-7", SHORT);
    way.cut();
    wait("it to be unready", || !far.running().readiness.report().ready);
    says(revoke(&near, "SEC"), 1, &["not reached: gw-7 (last seen"]);
    // The slack between the clocks of the cluster's servers.
    std::thread::sleep(Duration::from_secs(31));
    says(revoke(&near, "OPS"), 0, &["in force on 1 of 1 gate", "not counted", "gw-7"]);
    assert!(!far.running().readiness.report().ready);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_copied_state_folder_is_another_gate() {
    let cluster = Cluster::of_one();
    let mut one = gate(&cluster.servers(), "gw-1");
    one.take().stop();
    let copy = setup(&cluster.servers(), "gw-2", "").laid(StubUpstream::ok());
    std::fs::create_dir_all(copy.path("state/fleet")).expect("a folder");
    std::fs::copy(one.path("state/fleet/bucket.json"), copy.path("state/fleet/bucket.json")).expect("a copy");
    let mut copy = copy;
    one.run();
    copy.run();
    is_ready(&one);
    is_ready(&copy);
    wait("both to count", || revoke(&one, "SEC").1.contains("in force on 2 of 2 gates"));
}
