//! The control plane: everything that is not on the way of a request.

pub mod admin;
pub mod clock;
pub mod digests;
pub mod files;
pub mod fleet;
pub mod folder;
pub mod health;
pub mod journal;
pub mod overrides;
pub mod reload;
pub mod secrets;
pub mod usage;
