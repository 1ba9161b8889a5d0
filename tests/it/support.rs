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
pub mod proxy;
pub mod tls;
pub mod upstream;
