//! The moving of bytes, end to end: a pass-through service over the data plane's parts, raw sockets on both sides.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests; these are their helpers"
)]

mod bodies;
mod framing;
mod gate;
mod lifetimes;
mod retries;
mod transports;
