//! From the start of the command to its act in force in every worker of a gate with so many app files, and to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scopegate::app::Running;

use crate::estate::{Size, start_configured, write_policies};

/// The folder must be older than `settle` (500 ms), or the gate waits for it.
const SETTLED: Duration = Duration::from_millis(700);
/// So long a folder rests between two commands: each is typed by somebody.
const REST: Duration = Duration::from_millis(20);

pub fn measure(apps: usize, runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    write_policies(folder.path(), Size { apps, grants: 10 });
    std::thread::sleep(SETTLED);
    let gate = gate(folder.path());
    let (mut in_force, mut returned) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let (force, end) = revoke(&gate, folder.path(), run * apps / runs);
        in_force.push(force);
        returned.push(end);
        std::thread::sleep(REST);
    }
    println!("{apps} app files, {runs} runs of `scopegate revoke`, each of another app:");
    println!("  process started -> in force in every worker: {}", spread(in_force));
    println!("  process started -> process ended:            {}", spread(returned));
    gate.stop();
}

fn gate(folder: &Path) -> Running {
    let text = "version: 1\npolicies: policies\noverrides: state/overrides\nstate: state\ndata_plane: {threads: 1}\n\
        admin: {listen: 'unix:admin.sock'}\ngates:\n  - name: jira\n    listen: 127.0.0.1:0\n    product: jira\n    \
        identify: [token]\n    bypass: network\n    upstream: http://127.0.0.1:9\n    tenant: {fixed: acme}\n";
    start_configured(folder, text)
}

/// Seconds until it was in force, and until the command had said so.
fn revoke(gate: &Running, folder: &Path, app: usize) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = gate.live.load().generation;
    let (mut published, fence) = (gate.live.published(), gate.fence.clone());
    let began = Instant::now();
    let in_force = std::thread::spawn(move || {
        runtime.block_on(async {
            published.wait_for(|generation| *generation > before).await.expect("the gate runs");
            fence.passed().await;
        });
        began.elapsed()
    });
    let app = format!("jira/app-{app:05}");
    let words = ["revoke", "--app", &app, "--scope", "read:jira-work", "--in", "project:PROJ", "--reason", "a measure"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(words).arg("--config").arg(folder.join("scopegate.yaml")).stdin(Stdio::null());
    let output = command.output().expect("the command");
    let returned = began.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("in force on 1 of 1 gate"), "{said}\n{output:?}");
    let in_force = in_force.join().expect("it was in force");
    (in_force.as_secs_f64(), returned.as_secs_f64())
}

pub fn spread(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize] * 1e3;
    format!("median {:.1} ms, p99 {:.1} ms, slowest {:.1} ms ({})", at(0.5), at(0.99), at(1.0), seconds.len())
}
