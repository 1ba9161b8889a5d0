//! The `scopegate` program: parses the command line, runs one command, exits 0 (yes), 1 (no) or 2 (usage).

use std::process::ExitCode;

fn main() -> ExitCode {
    scopegate::cli::run()
}
