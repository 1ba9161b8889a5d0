//! How long it takes from a command's start until an act is in force on 20 gates: measured and printed, not judged.

use super::*;

const GATES: usize = 20;

/// So many acts; a few where nobody says otherwise, to show that it works.
fn acts() -> usize {
    std::env::var("SCOPEGATE_LATENCY").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

fn percentile(sorted: &[u128], percent: usize) -> u128 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn from_a_commands_start_until_twenty_gates_have_it() {
    let cluster = Cluster::of_three();
    let mut gates: Vec<Gate> = (0..GATES)
        .map(|number| setup(&cluster.servers(), &format!("gw-{number}"), "").laid(StubUpstream::ok()))
        .collect();
    gates.iter_mut().for_each(Gate::run);
    gates.iter().for_each(is_ready);
    let all = format!("in force on {GATES} of {GATES} gates");
    wait("all to count", || revoke(&gates[0], "FIRST").1.contains(&all));
    let (mut command, mut answer) = (Vec::new(), Vec::new());
    for number in 0..acts() {
        let began = Instant::now();
        let (_, said) = revoke(&gates[number % GATES], &format!("P{number}"));
        command.push(began.elapsed().as_millis());
        let after = said.split(" gates after ").nth(1).and_then(|text| text.split(' ').next());
        answer.push(after.and_then(|text| text.parse::<u128>().ok()).unwrap_or_else(|| panic!("{said}")));
        assert!(said.contains(&all), "{said}");
    }
    for (what, mut times) in [("the whole command", command), ("as the gate says", answer)] {
        times.sort_unstable();
        let (median, p99, most) = (percentile(&times, 50), percentile(&times, 99), times[times.len() - 1]);
        println!("{GATES} gates, {} acts, {what}: median {median} ms, p99 {p99} ms, slowest {most} ms", times.len());
    }
    for gate in &gates {
        gate.refuses(&ask(&format!("P{}-1", acts() - 1)), "container_revoked");
    }
}
