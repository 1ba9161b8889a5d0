//! The program's commands, run as an admin runs them.

use std::process::{Command, Stdio};

use super::gate::Gate;

/// Runs a command on the gate's configuration: its exit code and everything that it says.
pub fn run(gate: &Gate, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(words).arg("--config").arg(gate.path("scopegate.yaml")).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (output.status.code().expect("it ended by itself"), text)
}

/// What it said, if it ended so and said all of this.
#[track_caller]
pub fn says(ran: (i32, String), code: i32, parts: &[&str]) -> String {
    assert_eq!(ran.0, code, "{}", ran.1);
    for part in parts {
        assert!(ran.1.contains(part), "`{part}` is not in\n{}", ran.1);
    }
    ran.1
}
