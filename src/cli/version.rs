//! `scopegate version`.

use std::io::{self, Write};

/// Name and version on one line.
///
/// # Errors
/// The output cannot be written.
pub fn run(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "scopegate {}", env!("CARGO_PKG_VERSION"))
}
