//! `scopegate completions SHELL`.

use std::io::{self, Write};

use clap_complete::Shell;

/// The completion script of a shell for `command`.
///
/// # Errors
/// The output cannot be written.
pub fn run(shell: Shell, mut command: clap::Command, out: &mut dyn Write) -> io::Result<()> {
    // `generate` panics when its writer fails; a buffer does not, and `completions | head` must not panic.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_the_program() {
        let mut out = Vec::new();
        run(Shell::Bash, clap::Command::new("scopegate").subcommand(clap::Command::new("serve")), &mut out).unwrap();
        let script = String::from_utf8(out).unwrap();
        assert!(script.contains("scopegate") && script.contains("serve"));
    }
}
