//! The command line. Each command is one file below `cli/`; none holds logic that the library lacks.

pub mod catalog;
pub mod check_output;
pub mod completions;
pub mod credential;
pub mod health;
pub mod init;
pub mod schema;
pub mod version;

use std::process::ExitCode;

/// Runs one command.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
