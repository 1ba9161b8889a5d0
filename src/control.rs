//! The control plane: everything that is not on the way of a request.

pub mod folder;
pub mod secrets;
pub mod admin;
pub mod health;
