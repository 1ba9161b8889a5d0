//! What the end-to-end tests share.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests; these are their helpers"
)]

pub mod client;
pub mod command;
pub mod effort;
pub mod gate;
pub mod http2;
pub mod idp;
pub mod proxy;
pub mod tls;
pub mod upstream;

use std::sync::atomic::{AtomicBool, Ordering};

/// Looks without pause whether something holds, while other work is done, and once at least. `holds` stops at the first surprise.
#[track_caller]
pub fn meanwhile<T>(holds: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Ends(&done);
        let looking = scope.spawn(|| {
            loop {
                holds();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let worked = work();
        drop(ends);
        assert!(looking.join().is_ok(), "it did not hold meanwhile");
        worked
    })
}

/// Also where the work fails.
struct Ends<'d>(&'d AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
