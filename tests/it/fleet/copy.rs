//! What somebody does to a gate's copy of the bucket. What is in force does not hang on it; the next start does.

use std::path::{Path, PathBuf};

use super::*;

fn refused_meanwhile<T>(gate: &Gate, work: impl FnOnce() -> T) -> T {
    gate.refuses_meanwhile(&ask("SEC-1"), "container_revoked", work)
}

/// So many acts that a folder of them is not deleted in a moment.
fn filled(cluster: &Cluster, gate: &Gate, count: usize) {
    cluster.meddle(async |context| {
        let store = cluster::store(&context).await;
        for number in 0..count {
            let text = format!(
                "version: 1\napp: jira/tracker\nrevocations: [{{scopes: ['write:jira-work'], in: {{project: [F{number}]}}, reason: x}}]\n"
            );
            store.put(format!("acts.{number:03}"), text.into()).await.expect("it is put");
        }
    });
    wait("all of them", || acts_on_disk(gate) == count + 1);
}

fn copies(gate: &Gate) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(gate.path("state/fleet/acts"));
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|name| name == "yaml")).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_state_folder_that_is_deleted_is_made_anew_and_nothing_passes_meanwhile() {
    let cluster = Cluster::of_one();
    let mut gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    filled(&cluster, &gate, 200);
    refused_meanwhile(&gate, || {
        // What is written anew at the same time keeps the folder.
        wait("it to go", || std::fs::remove_dir_all(gate.path("state")).is_ok());
        wait("its copy", || acts_on_disk(&gate) == cluster.keys("acts."));
        // File by file, as slowly as a busy disk would.
        for copy in copies(&gate) {
            let _ = std::fs::remove_file(copy);
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = std::fs::remove_dir_all(gate.path("state"));
        wait("its copy", || acts_on_disk(&gate) == cluster.keys("acts."));
        wait("a command to be taken", || revoke(&gate, "OPS").0 == 0);
    });
    gate.refuses(&ask("OPS-1"), "container_revoked");
    gate.take().stop();
    gate.run();
    is_ready(&gate);
    gate.refuses(&ask("OPS-1"), "container_revoked");
    gate.refuses(&ask("SEC-1"), "container_revoked");
    wait("its copy", || acts_on_disk(&gate) == cluster.keys("acts."));
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn what_somebody_does_to_a_copy_is_undone_and_nothing_passes_meanwhile() {
    type Harm = fn(&Path);
    let harms: [Harm; 4] = [
        |copy| std::fs::remove_file(copy).expect("it goes"),
        |copy| std::fs::write(copy, "").expect("it is emptied"),
        |copy| std::fs::write(copy, "\u{0}: [what").expect("it is garbage"),
        |copy| std::fs::write(copy, "version: 1\napp: jira/tracker\n").expect("it takes nothing away"),
    ];
    let cluster = Cluster::of_one();
    let gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    says(grant(&gate), 0, &["1 of 1"]);
    let before: Vec<(PathBuf, String)> = copies(&gate).into_iter().map(|path| (path.clone(), text(&path))).collect();
    assert_eq!(before.len(), 2);
    for harm in harms {
        refused_meanwhile(&gate, || {
            before.iter().for_each(|(copy, _)| harm(copy));
            wait("the copies to be as they were", || before.iter().all(|(copy, was)| text(copy) == *was));
        });
        gate.passes(&ask_user());
    }
    assert!(standing(&gate)["connected"] == true && standing(&gate)["problem"].is_null(), "{}", standing(&gate));
    assert_eq!(gate.metric("scopegate_policy_problems"), 0.0);
    says(revoke(&gate, "OPS"), 0, &["1 of 1"]);
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_that_is_cut_off_holds_what_it_knows_without_its_copy() {
    let cluster = Cluster::of_one();
    let (gate, way) = apart(&cluster, "gw-1", "");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    way.cut();
    wait("the gate to notice", || standing(&gate)["connected"] == false);
    refused_meanwhile(&gate, || {
        std::fs::remove_dir_all(gate.path("state/fleet/acts")).expect("it goes");
        wait("it to be told", || gate.metric("scopegate_policy_problems") >= 1.0);
        std::fs::create_dir(gate.path("state/fleet/acts")).expect("an empty one");
        wait("it to be seen", || gate.metric("scopegate_policy_problems") == 0.0);
        std::thread::sleep(Duration::from_secs(1));
        way.mend();
        wait("the copy", || acts_on_disk(&gate) == 1);
    });
}

/// The folder is away when the act is taken back, and comes back with it.
#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn what_is_taken_back_is_over_whatever_becomes_of_its_copy() {
    let cluster = Cluster::of_one();
    let gate = super::gate(&cluster.servers(), "gw-1");
    let (_, said) = revoke(&gate, "SEC");
    let revoked = id_in(&said);
    let given = id_in(&says(grant(&gate), 0, &["1 of 1"]));
    let (acts, away) = (gate.path("state/fleet/acts"), gate.path("away"));
    // As an admin's mistake would leave a copy: the gate's own is not missed.
    std::fs::create_dir(&away).expect("a folder");
    for copy in copies(&gate) {
        std::fs::copy(&copy, away.join(copy.file_name().expect("a name"))).expect("a copy");
    }
    for id in [&revoked, &given] {
        says(run(&gate, &["restore", id, "--reason", "x"]), 0, &["1 of 1"]);
    }
    gate.passes(&ask("SEC-1"));
    gate.refuses(&ask_user(), "missing_scope");
    for copy in std::fs::read_dir(&away).expect("a folder").flatten() {
        std::fs::copy(copy.path(), acts.join(copy.file_name())).expect("a copy");
    }
    wait("them to go again", || acts_on_disk(&gate) == 0);
    gate.passes(&ask("SEC-1"));
    gate.refuses(&ask_user(), "missing_scope");
}

/// Without the cluster a start goes by its copy, and only where that is all that was known.
#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn a_gate_whose_copy_was_changed_while_it_was_down_waits_for_the_bucket() {
    type Harm = fn(&Path);
    let harms: [Harm; 4] = [
        |acts| std::fs::remove_dir_all(acts).expect("it goes"),
        |acts| each(acts, |copy| std::fs::remove_file(copy).expect("it goes")),
        |acts| each(acts, |copy| std::fs::write(copy, "").expect("it is emptied")),
        |acts| each(acts, |copy| std::fs::write(copy, "grants: [what").expect("it is garbage")),
    ];
    let mut cluster = Cluster::of_one();
    let mut gate = super::gate(&cluster.servers(), "gw-1");
    says(revoke(&gate, "SEC"), 0, &["1 of 1"]);
    for harm in harms {
        // It is written down now and then since when all is in force.
        std::thread::sleep(Duration::from_secs(4));
        cluster.kill_all();
        gate.take().stop();
        gate.run();
        is_ready(&gate);
        gate.refuses(&ask("SEC-1"), "container_revoked");
        gate.take().stop();
        harm(&gate.path("state/fleet/acts"));
        gate.run();
        wait("it to have tried", || standing(&gate)["problem"].is_string());
        assert!(!gate.running().readiness.report().ready);
        assert!(gate.health("/readyz").body.contains(r#""waiting":["overrides"]"#));
        cluster.start_all();
        is_ready(&gate);
        gate.refuses(&ask("SEC-1"), "container_revoked");
        wait("its copy", || acts_on_disk(&gate) == 1);
    }
}

fn each(acts: &Path, harm: impl Fn(&Path)) {
    std::fs::read_dir(acts).expect("a folder").flatten().for_each(|entry| harm(&entry.path()));
}
