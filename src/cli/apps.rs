//! `scopegate apps`
use super::{Answer, Output};
use clap::Args;
#[derive(Debug, Args)]
pub struct AppsArgs {}
pub fn run(_: &AppsArgs, _: &mut Output<'_>) -> Answer {
    Ok(false)
}
