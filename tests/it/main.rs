//! scopegate, tested from outside: one binary, one module per theme.

mod attack;
mod catalog;
mod cli;
mod demo;
mod deploy;
mod e2e;
mod fleet;
mod folder;
mod journal;
mod names;
mod operations;
mod proxy_io;
mod readme;
mod refusals;
mod reload;
mod request;
mod seen;
mod support;
mod tidy;
mod usage;
mod yaml;
