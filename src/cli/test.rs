//! `scopegate test`
use super::{Answer, Output};
use clap::Args;
#[derive(Debug, Args)]
pub struct TestArgs {}
pub fn run(_: &TestArgs, _: &mut Output<'_>) -> Answer {
    Ok(false)
}
