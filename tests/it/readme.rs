//! The README says nothing that is not so: its YAML passes the commands it names, its tables are the program's own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use scopegate::authz::reason::{Class, Reason};
use scopegate::metrics::{Metrics, Outcome};

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md")
}

/// What stands from a heading to the next.
fn section<'r>(readme: &'r str, heading: &str) -> &'r str {
    let (_, rest) = readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The words between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The blocks of YAML, each below the path that its first line names.
fn write_samples(folder: &Path) {
    let readme = readme();
    let mut count = 0;
    for block in readme.split("\n```yaml\n").skip(1) {
        let text = block.split("\n```").next().unwrap();
        let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a block names its file");
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
        count += 1;
    }
    assert_eq!(count, 6);
}

fn scopegate(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scopegate")).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn the_samples_pass_check_and_their_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let told = scopegate(folder.path(), &["check"]);
    // The three unsound settings, a token that is passed on, and an exception for an app that is not there yet.
    assert!(told.contains("0 errors, 5 warnings"), "{told}");
    assert!(scopegate(folder.path(), &["test"]).contains("2 passed"));
}

#[test]
fn explain_names_the_line_that_decides() {
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let ask = ["explain", "--app", "tickets/importer", "--tenant", "main", "GET", "/v1/queues/mail/tickets/7"];
    let told = scopegate(folder.path(), &ask);
    assert!(told.contains("policies/tickets.yaml:12"), "{told}");
}

#[test]
fn every_reason_stands_in_its_class() {
    let readme = readme();
    let table = section(&readme, "Reasons");
    for reason in Reason::ALL {
        let class = match reason.class() {
            Class::Who => "who",
            Class::Scope => "scope",
            Class::Container => "container",
            Class::Terms => "terms",
            Class::Operation => "operation",
            Class::Request => "request",
            Class::ForNow => "for now",
        };
        let row = table.lines().find(|line| line.starts_with(&format!("| {class} |"))).expect("a row for each class");
        let codes = row.split('|').nth(2).unwrap();
        assert!(quoted(codes).contains(reason.as_str()), "{reason} is not in the row of {class}");
    }
}

#[test]
fn the_metrics_are_those_that_are_served() {
    let readme = readme();
    let written: BTreeSet<&str> = section(&readme, "Metrics")
        .lines()
        .filter_map(|line| line.strip_prefix("| `scopegate_")?.split('`').next())
        .collect();
    let metrics = Metrics::new(1).unwrap();
    let gate = metrics.gate("g").unwrap();
    gate.app(None).request(Outcome::Deny);
    gate.app(None).denial(Reason::Unidentified);
    metrics.observe([("g", None)]);
    metrics.bypass("g", "open");
    metrics.certificate("g", 1.0);
    metrics.snapshot(1, "d");
    let text = metrics.render().unwrap();
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE scopegate_")?.split(' ').next()).collect();
    assert_eq!(written, served);
}

#[test]
fn every_path_of_the_code_map_is_there() {
    let readme = readme();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for line in section(&readme, "Code map").lines().filter(|line| line.starts_with("| `")) {
        for path in quoted(line.split('|').nth(1).unwrap()) {
            assert!(root.join(path).exists(), "{path}");
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let readme = readme();
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let names = rest.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    let rows: BTreeSet<&str> = section(&readme, "Dependencies")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|crates| crates.split(", "))
        .collect();
    assert_eq!(names.map(|(name, _)| name).filter(|name| !rows.contains(name)).collect::<Vec<_>>(), Vec::<&str>::new());
}
