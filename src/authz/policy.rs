//! The policy: what admins write (`document`, parsed by `file`), compiled (`compile`) to integers and bits, and
//! linked (`link`) into one state that requests are judged by.

pub mod app;
pub mod area;
pub mod cells;
pub mod compile;
pub mod condition;
pub mod credentials;
pub mod document;
pub mod file;
pub mod limit;
pub mod link;
pub mod moments;
pub mod part;
pub mod reach;
pub mod store;

pub use link::Policy;
