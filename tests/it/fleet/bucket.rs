//! A bucket that somebody meddles with: emptied, deleted, made anew, or filled with what is no act.

use async_nats::jetstream::stream;

use super::*;

/// A value that is an act like any other.
fn value(cluster: &Cluster) -> (String, Vec<u8>) {
    use futures_util::TryStreamExt as _;
    cluster.meddle(async |context| {
        let store = cluster::store(&context).await;
        let keys: Vec<String> = store.keys().await.unwrap().try_collect().await.unwrap();
        let key = keys.into_iter().find(|key| key.starts_with("acts.")).expect("an act");
        let value = store.get(&*key).await.unwrap().expect("a value");
        (key, value.to_vec())
    })
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_bucket_that_is_deleted_and_made_anew_takes_nothing_back() {
    let cluster = Cluster::of_three();
    let gates = ["gw-1", "gw-2"].map(|name| gate(&cluster.servers(), name));
    says(revoke(&gates[0], "SEC"), 0, &["2 of 2"]);
    says(grant(&gates[0]), 0, &["2 of 2"]);
    cluster.meddle(async |context| context.delete_key_value("acts").await.expect("it is deleted"));
    let refused = || gates.iter().for_each(|gate| drop(gate.refuses(&ask("SEC-1"), "container_revoked")));
    refused();
    let changes = r#"scopegate_overrides_bucket_changes_total{bucket="acts"}"#;
    wait("the gates to tell of another bucket", || gates.iter().all(|gate| gate.metric(changes) >= 1.0));
    refused();
    wait("the revocation to be put back", || cluster.keys("acts.") == 1);
    for gate in &gates {
        wait("the grant alone to be missing", || standing(gate)["missing"] == 1);
        gate.passes(&ask_user());
    }
    let fresh = super::gate(&cluster.servers(), "gw-3");
    fresh.refuses(&ask("SEC-1"), "container_revoked");
    says(revoke(&gates[0], "NEW"), 0, &["in force on 3 of 3 gates"]);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_bucket_that_is_emptied_takes_nothing_back_over_a_restart_either() {
    let cluster = Cluster::of_one();
    let mut gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    cluster.meddle(async |context| {
        context.get_stream("KV_acts").await.unwrap().purge().await.expect("it is emptied");
    });
    gate.refuses(&ask("SEC-1"), "container_revoked");
    gate.take().stop();
    gate.run();
    is_ready(&gate);
    gate.refuses(&ask("SEC-1"), "container_revoked");
    wait("it to be put back", || cluster.keys("acts.") == 1);
    wait("nothing to be missing", || standing(&gate)["missing"] == 0);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_value_that_is_no_act_is_kept_out_alone() {
    let cluster = Cluster::of_one();
    let mut gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    let (key, good) = value(&cluster);
    let broken: [(&str, &'static [u8]); 7] = [
        (
            "acts.a",
            b"version: 1\napp: jira/tracker\nrevocations: [{scopes: all, in: {project: ['set:none']}, reason: x}]\n",
        ),
        ("acts.b", b"\xff\xfe"),
        ("acts.c", b""),
        ("acts.d", b"version: 1\nguardrail: g\napps: all\ntenants: all\nrevocations: []\n"),
        ("acts.e", b"a: &a [*a, *a]\n"),
        ("acts.f.g", b"version: 1\n"),
        ("acts.h", b"version: 1\nversion: 1\n"),
    ];
    broken.iter().for_each(|(key, value)| cluster.put(key, value));
    cluster.put(&key, b"version: 1\napp: jira/tracker\nrevocations: [{scopes: [nothing], in: all, reason: x}]\n");
    cluster.put("somebody/else", b"x");
    cluster.put("gates.0123456789abcdef", b"{\"version\": 1}");
    let refused = r#"scopegate_overrides_refused{bucket="acts"}"#;
    wait("all of them to be told", || gate.metric(refused) == 8.0 && gate.metric("scopegate_policy_problems") == 8.0);
    let standing = standing(&gate);
    for (key, _) in &broken {
        let key = key.trim_start_matches("acts.");
        assert!(standing["refused"].to_string().contains(key), "{key}: {standing}");
    }
    assert!(gate.health("/readyz").status == 200);
    gate.refuses(&ask("SEC-1"), "container_revoked");
    says(revoke(&gate, "OPS"), 0, &["in force on 1 of 1 gate"]);
    gate.refuses(&ask("OPS-1"), "container_revoked");
    gate.take().stop();
    gate.run();
    is_ready(&gate);
    gate.refuses(&ask("SEC-1"), "container_revoked");
    gate.refuses(&ask("OPS-1"), "container_revoked");
    let good: &'static [u8] = good.leak();
    cluster.put(&key, good);
    broken.iter().for_each(|(key, _)| cluster.delete(key));
    wait("it to be well again", || gate.metric(refused) == 0.0 && gate.metric("scopegate_policy_problems") == 0.0);
    gate.refuses(&ask("SEC-1"), "container_revoked");
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn an_act_that_one_gate_cannot_take_is_told_by_name_and_taken_once_it_can() {
    const SET: &str = "version: 1\nset: vault\ntenant: acme\nproject: [SEC]\n";
    let cluster = Cluster::of_one();
    let one = super::gate(&cluster.servers(), "gw-1");
    let two = started(setup(&cluster.servers(), "gw-2", "").policy("set.yaml", SET));
    let desk = setup(&cluster.servers(), "desk", "").policy("set.yaml", SET).laid(StubUpstream::ok());
    cluster.put(
        "acts.a",
        b"version: 1\napp: jira/tracker\nrevocations: [{scopes: all, in: {project: ['set:vault']}, reason: x}]\n",
    );
    wait("it to be in force", || two.ask(&ask("SEC-1")).reason() == Some("container_revoked"));
    wait("the other to refuse it", || standing(&one)["refused"].to_string().contains("vault"));
    one.passes(&ask("SEC-1"));
    wait("it to be told", || run(&desk, &["overrides"]).1.contains("NOT in force: not on gw-1 (it refuses it: "));
    one.write_policy("set.yaml", SET);
    wait("it to be taken", || one.ask(&ask("SEC-1")).reason() == Some("container_revoked"));
    wait("it to be told", || run(&desk, &["overrides"]).0 == 0);
    assert!(standing(&one)["refused"].is_null());
}

/// A bucket that somebody else makes.
fn kv_stream() -> stream::Config {
    stream::Config {
        name: "KV_acts".into(),
        subjects: vec!["$KV.acts.>".into()],
        max_messages_per_subject: 1,
        ..stream::Config::default()
    }
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_bucket_that_forgets_by_itself_is_not_used() {
    let cluster = Cluster::of_one();
    cluster.meddle(async |context| {
        let max_age = Duration::from_secs(3_600);
        context.create_stream(stream::Config { max_age, ..kv_stream() }).await.expect("a stream");
    });
    let mut gate = setup(&cluster.servers(), "gw-1", "").laid(StubUpstream::ok());
    gate.run();
    wait("it to be told", || standing(&gate)["problem"].to_string().contains("forgets values after 3600 s"));
    assert_eq!(gate.health("/readyz").status, 503);
    cluster.meddle(async |context| {
        context.delete_stream("KV_acts").await.expect("it is deleted");
        let config = stream::Config { max_bytes: 1_000_000, discard: stream::DiscardPolicy::Old, ..kv_stream() };
        context.create_stream(config).await.expect("a stream");
    });
    wait("it to be told", || standing(&gate)["problem"].to_string().contains("drops old values"));
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_state_folder_that_cannot_be_written_leaves_the_gate_behind_and_enforcing() {
    let cluster = Cluster::of_one();
    let gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    // A file where the folder was: root may write anywhere else.
    let acts = gate.path("state/fleet/acts");
    std::fs::rename(&acts, gate.path("aside")).expect("a rename");
    std::fs::write(&acts, "").expect("a file");
    let (code, said) = revoke(&gate, "OPS");
    assert_eq!(code, 1, "{said}");
    assert!(standing(&gate)["problem"].is_string());
    gate.refuses(&ask("SEC-1"), "container_revoked");
    std::fs::remove_file(&acts).expect("it goes");
    std::fs::rename(gate.path("aside"), &acts).expect("a rename");
    wait("the act to be in force", || gate.ask(&ask("OPS-1")).reason() == Some("container_revoked"));
    wait("it to be well", || standing(&gate)["problem"].is_null());
}
