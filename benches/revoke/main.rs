//! What an admin is promised of `revoke`: how soon it is in force, that nothing passes once it has been answered, and that
//! a gate which is killed at any moment loses none of it.
//!
//! Run: `cargo bench --bench revoke`, or one part of it: `-- start [APPS RUNS]`, `-- parked [REQUESTS TRIALS]`,
//! `-- killed [TIMES]`. 5,000 parked requests need a limit of 20,000 open files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "../shared/estate.rs"]
mod estate;
mod killed;
mod parked;
mod product;
mod stamps;
mod start;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse().expect("a number");
    match words[..] {
        [] => {
            start::measure(10_000, 300);
            parked::measure(5_000, 10_000);
            killed::measure(1_000);
        }
        ["start"] => start::measure(10_000, 300),
        ["start", apps, runs] => start::measure(number(apps), number(runs)),
        ["parked"] => parked::measure(5_000, 10_000),
        ["parked", requests, trials] => parked::measure(number(requests), number(trials)),
        ["killed"] => killed::measure(1_000),
        ["killed", times] => killed::measure(times.parse().expect("a number")),
        _ => panic!("no such part: {words:?}"),
    }
}
