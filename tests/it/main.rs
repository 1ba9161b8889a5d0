//! scopegate, tested from outside: one binary, one module per theme.

mod attack;
mod catalog;
mod cli;
mod demo;
mod e2e;
mod folder;
mod operations;
mod proxy_io;
mod readme;
mod refusals;
mod reload;
mod request;
mod support;
mod tidy;
mod yaml;
