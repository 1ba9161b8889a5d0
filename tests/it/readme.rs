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
    assert_eq!(count, 10);
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
    let tokens = scopegate(folder.path(), &["check", "config/tokens.yaml", "tokens", "--config", "config/tokens.yaml"]);
    assert!(tokens.contains("0 errors"), "{tokens}");
    assert!(scopegate(folder.path(), &["test"]).contains("2 passed"));
    let wiki = scopegate(folder.path(), &["catalog", "show", "config/catalogs/wiki.yaml"]);
    assert!(wiki.contains("space of page in path id"), "{wiki}");
    let hooks = scopegate(folder.path(), &["catalog", "show", "config/catalogs/hooks.yaml"]);
    for said in [
        "push, fork: code (oauth)",
        "absent: code and issues (oauth)",
        "any other: ADMIN (token)",
        "body /url of addHook",
    ] {
        assert!(hooks.contains(said), "`{said}` is not in {hooks}");
    }
}

#[test]
fn explain_names_the_line_that_decides() {
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let ask = ["explain", "--app", "tickets/importer", "--tenant", "main", "GET", "/v1/queues/mail/tickets/7"];
    let told = scopegate(folder.path(), &ask);
    assert!(told.contains("policies/tickets.yaml:12"), "{told}");
}

/// The rows of a table, each as its cells; the heading and the line below it are left out.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_reasons_stand_in_their_classes_and_no_others_do() {
    let word = |class| match class {
        Class::Who => "who",
        Class::Scope => "scope",
        Class::Container => "container",
        Class::Terms => "terms",
        Class::Operation => "operation",
        Class::Request => "request",
        Class::ForNow => "for now",
    };
    let given: BTreeSet<(&str, &str)> =
        Reason::ALL.into_iter().map(|reason| (word(reason.class()), reason.as_str())).collect();
    let readme = readme();
    let table = rows(section(&readme, "Reasons"));
    let written = table.iter().flat_map(|row| quoted(row[1]).into_iter().map(|code| (row[0], code)));
    assert_eq!(written.collect::<BTreeSet<_>>(), given);
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
    gate.app(None).cut(Reason::Unidentified);
    metrics.observe([("g", None, 1.0)]);
    metrics.bypass("g", "open");
    metrics.certificate("g", 1.0);
    metrics.certificate_problem("g", false);
    metrics.state_problem("journal", false);
    metrics.bucket("acts", true, 0, 0);
    metrics.bucket_synced("acts", 1.0);
    metrics.key_set("g", "i", true, 1.0);
    metrics.snapshot(1, "d");
    let text = metrics.render().unwrap();
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE scopegate_")?.split(' ').next()).collect();
    assert_eq!(written, served);
}

/// What lies in a folder of the repository, folders with a `/` behind; without what is ignored or speaks of tools alone.
fn entries(folder: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap();
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let end = if entry.path().is_dir() { "/" } else { "" };
        format!("{folder}{}{end}", entry.file_name().into_string().unwrap())
    };
    let all = std::fs::read_dir(root.join(folder)).unwrap().map(entry);
    let is_ignored =
        |path: &String| ignored.lines().any(|line| path.trim_end_matches('/') == line.trim_start_matches('/'));
    all.filter(|path| !is_ignored(path) && wanted(path)).collect()
}

#[test]
fn the_code_map_names_what_is_there_and_all_of_it() {
    let readme = readme();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = rows(section(&readme, "Code map"));
    let written: BTreeSet<&str> = table.iter().flat_map(|row| quoted(row[0])).collect();
    for path in &written {
        let there = root.join(path);
        assert!(if path.ends_with('/') { there.is_dir() } else { there.is_file() }, "{path} is not there");
    }
    // A folder counts as named where something in it is; modules and kinds of tests are named one by one.
    let tops =
        entries("", |path| path.ends_with('/') && path != ".git/" || path.ends_with(".rs") || path == "Dockerfile");
    let unnamed = |path: &String| !written.iter().any(|written| written.starts_with(path.as_str()));
    assert_eq!(tops.into_iter().filter(unnamed).collect::<Vec<_>>(), Vec::<String>::new(), "of the repository");
    for folder in ["src/", "tests/", "config/"] {
        let named = written.iter().filter_map(|path| {
            let below = path.strip_prefix(folder)?;
            Some(format!("{folder}{}", below.split_inclusive('/').next()?))
        });
        assert_eq!(entries(folder, |_| true), named.collect(), "of {folder}");
    }
}

#[test]
fn every_dependency_has_its_reason_and_every_reason_its_dependency() {
    let readme = readme();
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let names = |table: &str| -> BTreeSet<&str> {
        let (_, rest) = manifest.split_once(&format!("\n[{table}]\n")).unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        lines.filter_map(|line| Some(line.split_once(" = ")?.0)).collect()
    };
    let section = section(&readme, "Dependencies");
    let of_the_program = names("dependencies");
    let table = rows(section);
    assert_eq!(table.iter().flat_map(|row| row[0].split(", ")).collect::<BTreeSet<_>>(), of_the_program);
    // Those of the build are the program's, and so are some of the tests'.
    assert_eq!(names("build-dependencies").difference(&of_the_program).collect::<Vec<_>>(), Vec::<&&str>::new());
    let (_, others) = section.split_once("For tests and benches: ").expect("a line on the others");
    let others = others.split(".\n").next().unwrap().replace(" and ", ", ");
    let of_tests: BTreeSet<&str> = names("dev-dependencies").difference(&of_the_program).copied().collect();
    assert_eq!(others.split(", ").collect::<BTreeSet<_>>(), of_tests);
}

/// The names of all tests of this binary.
fn tests() -> Vec<String> {
    let listed = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// What stands between backticks within a line of text, code blocks left out.
fn inline_code(readme: &str) -> Vec<&str> {
    let text = readme.split("```").step_by(2);
    text.flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_test_command_is_whole_and_runs_something() {
    let (readme, tests, root) = (readme(), tests(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let commands: Vec<&str> = inline_code(&readme).into_iter().filter(|code| code.starts_with("cargo test")).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').skip(2).collect();
        let (kind, filters) = match &words[..] {
            ["--test", kind, rest @ ..] => (*kind, rest),
            ["--lib", rest @ ..] => ("lib", rest),
            other => panic!("`{command}`: {other:?}"),
        };
        // Before `--` cargo takes one filter and no more.
        let filters = match filters {
            ["--", rest @ ..] => rest,
            rest => {
                assert!(rest.len() <= 1, "`{command}`: several filters stand behind `--`");
                rest
            }
        };
        for filter in filters {
            let matches = match kind {
                "it" => tests.iter().any(|test| test.contains(filter)),
                "lib" => root.join("src").join(filter.replace("::", "/")).with_extension("rs").is_file(),
                other => panic!("`{command}`: what is in {other}?"),
            };
            assert!(matches, "`{command}` runs no test for {filter}");
        }
    }
}

#[test]
fn no_part_of_a_test_command_stands_alone() {
    let (readme, tests) = (readme(), tests());
    let modules: BTreeSet<&str> = tests.iter().filter_map(|test| Some(test.split_once("::")?.0)).collect();
    let halves: Vec<&str> = inline_code(&readme)
        .into_iter()
        .filter(|code| code.split_once("::").is_some_and(|(module, _)| modules.contains(module)))
        .collect();
    assert_eq!(halves, Vec::<&str>::new(), "write the command that they belong to");
}
