//! `scopegate check`
use super::{Answer, Output};
use clap::Args;
#[derive(Debug, Args)]
pub struct CheckArgs {}
pub fn run(_: &CheckArgs, _: &mut Output<'_>) -> Answer {
    Ok(false)
}
