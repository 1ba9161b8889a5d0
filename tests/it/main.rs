//! scopegate, tested from outside: one binary, one module per theme.

mod folder;
mod operations;
mod proxy_io;
mod refusals;
mod request;
mod support;
mod yaml;
mod catalog;
