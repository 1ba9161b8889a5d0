//! Memory and start-up of what a gate holds at rest: built-in catalogs and the policy of an estate.
//!
//! Run: `cargo bench --bench memory`. Each size is measured in a process of its own, since an allocator gives little back.

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
use std::time::Instant;

use estate::{Estate, Size, memory_mib};
use scopegate::authz::catalog::builtin;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.as_slice() {
        [apps, grants] => measure(Size { apps: apps.parse().unwrap(), grants: grants.parse().unwrap() }),
        _ => {
            println!("{:<28} {:>10} {:>10} {:>10} {:>12}", "estate", "rest MiB", "peak MiB", "policy MiB", "taken in");
            for (apps, grants) in [("0", "0"), ("50", "10"), ("1000", "10"), ("10000", "10"), ("10000", "100")] {
                let itself = std::env::current_exe().expect("this program");
                let ended = Command::new(itself).args([apps, grants]).status().expect("a process");
                assert!(ended.success());
            }
        }
    }
}

fn measure(size: Size) {
    let start = Instant::now();
    let operations: usize =
        builtin::products().filter_map(|(product, _)| builtin::catalog(product)).map(|one| one.operations.len()).sum();
    let catalogs = start.elapsed();
    assert!(operations > 900);
    if size.apps == 0 {
        let name = format!("catalogs, {operations} operations");
        println!("{name:<28} {:>10.1} {:>10.1} {:>10} {catalogs:>12.2?}", memory_mib("VmRSS"), memory_mib("VmHWM"), "");
        return;
    }
    let before = memory_mib("VmRSS");
    let start = Instant::now();
    let estate = Estate::new("jira", size, true);
    let taken = start.elapsed();
    let name = format!("{} apps × {} grants", size.apps, size.grants);
    let (rest, peak) = (memory_mib("VmRSS"), memory_mib("VmHWM"));
    println!("{name:<28} {rest:>10.1} {peak:>10.1} {:>10.1} {taken:>12.2?}", rest - before);
    drop(estate);
}
