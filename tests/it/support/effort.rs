//! How much a test makes a processor do: what others do on the machine meanwhile must fail no test.

use std::time::Duration;

/// Processor time of this thread so far, as the kernel accounts for it (proc(5), `schedstat`).
pub fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds on a processor");
    Duration::from_nanos(nanos)
}

/// Processor time that something takes on this thread.
pub fn of<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let before = spent();
    let done = what();
    (done, spent().saturating_sub(before))
}
