//! Gates that share a bucket of NATS JetStream. What needs the server is ignored here and run by `tests/fleet/run`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests; these are their helpers"
)]

mod acts;
mod bucket;
mod cluster;
mod config;
mod copy;
mod differ;
mod killed;
mod latency;
mod liar;
mod login;
mod reach;
mod soak;
mod stalled;

use std::time::{Duration, Instant};

use cluster::{Cluster, Way};

use crate::support::command::{run, says};
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::StubUpstream;

const APP: &str = "version: 1\napp: jira/tracker\nname: tracker\ncontact: it@example.com\ninstallations:\n  \
    - tenant: acme\n    tenant_name: Acme\n    installed_at: 2020-01-01T00:00:00Z\n    credentials:\n      \
    - {method: token, kind: oauth, sha256: sha256(tracker)}\ngrants:\n  \
    - {scopes: [read:jira-work, write:jira-work], actors: [app, user], in: all}\n";

/// A cluster that mends itself takes some seconds, on a machine that does other things some more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the gate of a fleet is started from.
fn setup(servers: &str, name: &str, more: &str) -> Setup {
    let replicas = servers.split(',').count().min(3);
    let overrides = format!("{{servers: [{servers}], bucket: acts, gate_name: {name}, replicas: {replicas}{more}}}");
    let setup = Setup::jira().top("state", "state").top("overrides", &overrides);
    setup.top("admin", "{listen: 'unix:admin.sock'}").policy("tracker.yaml", APP)
}

fn gate(servers: &str, name: &str) -> Gate {
    started(setup(servers, name, ""))
}

/// Ready, after what a new bucket and a slow machine take.
fn started(setup: Setup) -> Gate {
    let mut gate = setup.laid(StubUpstream::ok());
    gate.run();
    is_ready(&gate);
    gate
}

fn is_ready(gate: &Gate) {
    wait("the gate to be ready", || gate.running().readiness.report().ready);
}

#[track_caller]
fn wait(what: &str, until: impl Fn() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn three(cluster: &Cluster) -> [Gate; 3] {
    ["gw-1", "gw-2", "gw-3"].map(|name| gate(&cluster.servers(), name))
}

/// Behind a way that can be cut.
fn apart(cluster: &Cluster, name: &str, more: &str) -> (Gate, Way) {
    let way = Way::to(cluster.port(0));
    let gate = started(setup(&way.url(), name, more));
    (gate, way)
}

fn ask(issue: &str) -> Ask {
    Ask::put(&format!("/rest/api/3/issue/{issue}")).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
}

/// Takes writing from the app in one project.
fn revoke(gate: &Gate, project: &str) -> (i32, String) {
    let within = format!("project:{project}");
    let words = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--in", &within, "--reason", "test"];
    run(gate, &words)
}

/// What only a grant lets pass.
fn ask_user() -> Ask {
    Ask::get("/rest/api/3/user?accountId=x").bearer("tracker")
}

fn grant(gate: &Gate) -> (i32, String) {
    let words = ["grant", "--app", "jira/tracker", "--scope", "read:jira-user", "--everywhere", "--for", "1h"];
    run(gate, &[&words[..], &["--reason", "test"]].concat())
}

/// The id in what a command said.
fn id_in(said: &str) -> String {
    let after = said.split("scopegate restore ").nth(1).expect("how to take it back");
    after.split(' ').next().expect("an id").to_owned()
}

/// How the gate says that it stands with the bucket.
fn standing(gate: &Gate) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_str(&gate.health("/readyz").body).expect("JSON");
    report["overrides"].clone()
}

fn acts_on_disk(gate: &Gate) -> usize {
    let entries = std::fs::read_dir(gate.path("state/fleet/acts"));
    entries.map_or(0, |entries| {
        entries.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
    })
}
