//! The integration tests, one binary; each theme is a module.

mod yaml;
//! scopegate, tested from outside: one binary, one module per theme.

mod request;
//! Every integration test in one binary, one module per theme.

mod operations;
mod refusals;
mod folder;
mod proxy_io;
mod support;
