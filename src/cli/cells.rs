//! `scopegate cells`
use super::{Answer, Output};
use clap::Args;
#[derive(Debug, Args)]
pub struct CellsArgs {}
pub fn run(_: &CellsArgs, _: &mut Output<'_>) -> Answer {
    Ok(false)
}
