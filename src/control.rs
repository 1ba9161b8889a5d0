//! The control plane: everything that is not on the way of a request.

pub mod admin;
pub mod folder;
pub mod health;
pub mod reload;
pub mod secrets;
