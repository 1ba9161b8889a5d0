//! scopegate: an authorizing reverse proxy between third-party apps and a product's API.
//!
//! A tour, in the order a request takes it:
//! - [`proxy`] is the data plane: it accepts a request, asks the core, then forwards or refuses.
//! - [`authz`] is the pure core: identify, match, locate, decide. No clock, no I/O, no runtime.
//! - [`live`] is the one shared cell in which both planes meet.
//! - [`acts`] is what commands and the admin API write beside the policy: orders, and the documents that they become.
//! - [`control`] is the control plane: it reads policies, compiles them, serves health and admin.
//! - [`import`] turns a vendor's API description into a catalog.

pub mod acts;
pub mod app;
pub mod authz;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod import;
pub mod live;
pub mod metrics;
pub mod problem;
pub mod proxy;
pub mod shutdown;
pub mod telemetry;
pub mod usage;
pub mod yaml;
