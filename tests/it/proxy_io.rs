//! The moving of bytes, end to end: a pass-through service over the data plane's parts, raw sockets on both sides.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests; these are their helpers"
)]

mod answers;
mod bodies;
mod framing;
mod gate;
mod http2;
mod lifetimes;
mod retries;
mod tls;
mod transports;
mod upstream_http2;
mod via;
mod websocket;
