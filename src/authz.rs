//! The pure core: who calls, what it needs, what it touches, and whether the policy gives it.
//!
//! Nothing here does I/O, reads a clock or knows a runtime: time and looked-up facts are arguments.
//! The only way to a [`Permit`] is [`decide()`], and forwarding demands one.

pub mod catalog;
pub mod decide;
pub mod dialect;
pub mod gate;
pub mod identity;
pub mod jobs;
pub mod judge;
pub mod looked_up;
#[cfg(test)]
mod naive;
pub mod now;
pub mod origin;
pub mod path;
pub mod pins;
pub mod policy;
pub mod query_language;
pub mod reason;
pub mod request;
pub mod scope;
pub mod snapshot;
pub mod touch;
#[cfg(test)]
pub(crate) mod toy;

pub use decide::{
    Credential, Denial, Permit, Wanted, Who, decide, decide_again, decide_or_ask, decide_redirect, next_change_ms,
    starting, wanted,
};
pub use reason::{Class, Reason};
pub use scope::{ScopeId, ScopeSet};
