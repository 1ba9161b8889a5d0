//! The policy: what admins write (`document`, parsed by `file`), compiled (`compile`) to integers and bits.

pub mod credentials;
pub mod document;
pub mod file;
