//! What a compromised vendor tries who holds valid credentials of one app and has read the source, and what somebody
//! tries who may write one app's policy file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod arguments;
mod lookups;
mod named_besides;
mod places;
mod policy;
mod second_containers;
