//! The command line. Each command is one file below `cli/`; none holds logic that the library lacks.

use std::process::ExitCode;

/// Runs one command.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
