//! Start-up and memory: commands, built-in catalogs, a running gate, and the policy of an estate at rest.
//!
//! Run: `cargo bench --bench footprint`. Everything is measured in a process of its own, since an allocator gives little
//! back; times are medians of several.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "shared/estate.rs"]
mod estate;

use std::process::Command;
use std::time::{Duration, Instant};

use estate::{Estate, Size, memory_mib, start_gate, write_policies};
use scopegate::authz::catalog::builtin;

/// How often a time is taken.
const TIMES: usize = 15;
/// The folder must be older than `settle` (500 ms), or the gate waits for it.
const SETTLED: Duration = Duration::from_millis(700);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |text: &str| text.parse().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["catalogs"] => catalogs(),
        ["gate", apps, grants] => gate(Size { apps: number(apps), grants: number(grants) }),
        ["policy", apps, grants] => policy(Size { apps: number(apps), grants: number(grants) }),
        _ => all(),
    }
}

fn all() {
    let program = env!("CARGO_BIN_EXE_scopegate");
    for words in [&["version"][..], &["catalog", "list"]] {
        let mut times: Vec<Duration> = (0..TIMES).map(|_| timed(Command::new(program).args(words))).collect();
        times.sort_unstable();
        println!("scopegate {:<20} {:>8.1?} (least {:.1?})", words.join(" "), times[TIMES / 2], times[0]);
    }
    let itself = std::env::current_exe().expect("this program");
    for words in [
        &["catalogs"][..],
        &["gate", "50", "10"],
        &["gate", "1000", "10"],
        &["policy", "10000", "10"],
        &["policy", "10000", "100"],
    ] {
        let ended = Command::new(&itself).args(words).status().expect("a process");
        assert!(ended.success());
    }
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command.output().expect("the program");
    let took = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

fn rest() -> String {
    format!("{:.1} MiB at rest, {:.1} at the peak", memory_mib("VmRSS"), memory_mib("VmHWM"))
}

fn catalogs() {
    let start = Instant::now();
    let all = builtin::products().filter_map(|(product, _)| builtin::catalog(product));
    let operations: usize = all.map(|catalog| catalog.operations.len()).sum();
    println!("both catalogs, {operations} operations: {:.1?}; {}", start.elapsed(), rest());
}

fn gate(size: Size) {
    let folder = tempfile::tempdir().expect("a folder");
    write_policies(folder.path(), size);
    std::thread::sleep(SETTLED);
    let start = Instant::now();
    let gate = start_gate(folder.path(), "127.0.0.1:9".parse().expect("an address"), "500ms");
    println!("a gate with {} apps × {}: ready in {:.1?}; {}", size.apps, size.grants, start.elapsed(), rest());
    gate.stop();
}

fn policy(size: Size) {
    let start = Instant::now();
    let estate = Estate::new("jira", size, true);
    println!("{} apps × {} in memory: compiled in {:.2?}; {}", size.apps, size.grants, start.elapsed(), rest());
    drop(estate);
}
