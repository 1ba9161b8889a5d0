//! How commands show problems: to a person on standard error, to a program on standard output.

use std::io::{self, IsTerminal as _, Write as _};

use crate::problem::{Problem, render_human, to_json};

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// Shows all problems, and says whether one is an error: then the exit code is 1.
///
/// # Errors
/// Standard output or error cannot be written.
pub fn show(problems: &[Problem], format: Format) -> io::Result<bool> {
    match format {
        // https://no-color.org: set and not empty means none.
        Format::Human => {
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let mut out = io::stderr().lock();
            let colour = out.is_terminal() && !no_colour;
            out.write_all(render_human(problems, colour).as_bytes())?;
        }
        Format::Json => writeln!(io::stdout().lock(), "{:#}", to_json(problems))?,
    }
    Ok(problems.iter().any(Problem::is_error))
}
