//! `scopegate test`: cases that say which request passes and which is refused, each file with a clock of its own.
//!
//! ```yaml
//! version: 1
//! now: 2026-11-22T08:00:00Z          # the clock of every case that does not say `at`
//! policies: ../policies              # beside this file
//! gate: {product: jira, issue_keys: prefix, names: as_written}   # or catalog: FILE; or gates: [{product: …}, …]
//! cases:
//!   - name: reading stays
//!     app: jira/timetracker
//!     tenant: acme
//!     actor: app                     # kind, user, at, containers, body as they are needed
//!     request: GET /rest/api/3/issue/PROJ-1
//!     expect: permit                 # or {deny: missing_scope}
//!     by: jira.yaml:12               # the rule that must have decided
//! ```

mod file;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::ask;
use super::load::{self, Loaded, Sources};
use super::{Answer, Failure, Output};
use crate::authz::decide::Explanation;
use crate::authz::gate::GateRules;
use crate::authz::judge::{RuleRef, Standing};
use crate::control::folder::{FILE_BYTES_MAX, Folder, Held, Verify, read};
use crate::problem::{Problem, file_name};
use file::{Case, Expected, GateSettings, Suite};

/// Where a command looks when nobody says.
const TESTS: &str = "policy-tests";

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files and folders with policy tests [default: the folder policy-tests]
    pub paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = TestFormat::Human)]
    pub format: TestFormat,
}

/// For people, programs or a CI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    Human,
    Json,
    Junit,
}

/// What became of one file.
#[derive(Debug)]
struct SuiteResult {
    file: Arc<Path>,
    /// Why none of its cases was judged.
    problems: Vec<Problem>,
    cases: Vec<CaseResult>,
    took: Duration,
}

/// What became of one case.
#[derive(Debug)]
struct CaseResult {
    name: String,
    line: u32,
    request: String,
    expected: String,
    got: String,
    /// Empty where it is as expected.
    failures: Vec<String>,
}

/// Runs all cases, and answers whether each is as expected. No case at all is a failure: it tests nothing.
pub fn run(args: &TestArgs, output: &mut Output<'_>) -> Answer {
    let paths = if args.paths.is_empty() { vec![PathBuf::from(TESTS)] } else { args.paths.clone() };
    let mut results = Vec::new();
    for path in &paths {
        if !path.exists() {
            return Err(Failure::Usage(format!(
                "{} is not there: name the files or folders with policy tests",
                path.display()
            )));
        }
        for (file, text) in files(path) {
            results.push(match text {
                Ok(text) => run_file(&file, &text),
                Err(problem) => SuiteResult { file, problems: vec![problem], cases: Vec::new(), took: Duration::ZERO },
            });
        }
    }
    match args.format {
        TestFormat::Human => report::human(&results, output)?,
        TestFormat::Json => writeln!(output.out, "{}", report::json(&results))?,
        TestFormat::Junit => write!(output.out, "{}", report::junit(&results))?,
    }
    let cases = results.iter().map(|result| result.cases.len()).sum::<usize>();
    let sound = results.iter().all(|result| {
        !result.problems.iter().any(Problem::is_error) && result.cases.iter().all(|case| case.failures.is_empty())
    });
    Ok(sound && cases > 0)
}

/// What is wrong with the form of a test file, for `check`.
pub fn problems_of(path: &Path) -> Vec<Problem> {
    let parsed = files(path).into_iter().map(|(file, text)| text.map(|text| file::parse(&file, &text).1));
    parsed.flat_map(|parsed| parsed.unwrap_or_else(|problem| vec![problem])).collect()
}

type Read = (Arc<Path>, Result<Arc<str>, Problem>);

fn files(path: &Path) -> Vec<Read> {
    if !path.is_dir() {
        let file = file_name(path);
        let text = match read::read(path, FILE_BYTES_MAX) {
            Ok(reading) => crate::yaml::decode(&file, &reading.bytes).map(Arc::from),
            Err(why) => Err(Problem::error(&file, Default::default(), format!("the file {why}"))),
        };
        return vec![(file, text)];
    }
    let scan = Folder::new(path).scan(Verify::All);
    let read = scan.changed.into_iter().map(|change| {
        let text = match change.held {
            Held::Text { text, .. } => Ok(text),
            Held::Unreadable(why) => Err(Problem::error(&change.path, Default::default(), format!("the file {why}"))),
        };
        (change.path, text)
    });
    let closed = scan.untold.map(|untold| {
        let file = file_name(path);
        let problem = Problem::error(&file, Default::default(), untold.to_string());
        (file, Err(problem))
    });
    read.chain(closed).collect()
}

fn run_file(file: &Arc<Path>, text: &str) -> SuiteResult {
    let began = Instant::now();
    let (suite, problems) = file::parse(file, text);
    let failed = |problems| SuiteResult { file: Arc::clone(file), problems, cases: Vec::new(), took: began.elapsed() };
    let Some(suite) = suite else { return failed(problems) };
    let folder = file.parent().unwrap_or(Path::new(""));
    let beside = |path: &PathBuf| crate::app::plain(&folder.join(path));
    let sources = Sources {
        config: None,
        policies: suite.policies.iter().map(beside).collect(),
        catalogs: suite.gates.iter().filter_map(|gate| gate.catalog.as_ref()).map(beside).collect(),
    };
    let loaded = load::load(&sources, suite.now_ms);
    if loaded.has_errors() {
        return failed(loaded.problems);
    }
    let cases = suite.cases.iter().map(|case| run_case(&suite, case, &loaded)).collect();
    SuiteResult { file: Arc::clone(file), problems, cases, took: began.elapsed() }
}

fn run_case(suite: &Suite, case: &Case, loaded: &Loaded) -> CaseResult {
    let question = &case.question;
    let mut result = CaseResult {
        name: case.name.clone(),
        line: case.line,
        request: format!("{} {}", question.method, question.target),
        expected: case.expected.text(),
        got: String::new(),
        failures: Vec::new(),
    };
    let answered = gate(suite, case, loaded).and_then(|gate| ask::ask(loaded, &gate, question));
    let explanation = match answered {
        Ok(answered) => answered.explanation,
        Err(failure) => {
            result.got = "no answer".to_owned();
            result.failures.push(failure.to_string());
            return result;
        }
    };
    let got = Expected::of(&explanation);
    result.got = got.text();
    if !case.expected.is_met_by(&got) {
        result.failures.push(format!("expected {}, got {}", result.expected, result.got));
    }
    if let Some(by) = &case.by {
        let rules = deciding(&explanation);
        if !rules.iter().any(|rule| is_at(rule, by)) {
            let found: Vec<String> =
                rules.iter().map(|rule| format!("{}:{}", rule.file.display(), rule.line)).collect();
            let found = if found.is_empty() { "no rule".to_owned() } else { found.join(", ") };
            result.failures.push(format!("expected {by} to decide, got {found}"));
        }
    }
    result
}

fn gate(suite: &Suite, case: &Case, loaded: &Loaded) -> Result<GateRules, Failure> {
    let product = ask::product_of(&case.question.app)?;
    let fits = |gate: &&GateSettings| gate.product.as_deref().is_none_or(|written| written == product);
    let Some(settings) = suite.gates.iter().find(fits) else {
        let written: Vec<&str> = suite.gates.iter().filter_map(|gate| gate.product.as_deref()).collect();
        let message = format!("the app is of {product}, and this file has a gate for {} only", written.join(" and "));
        return Err(Failure::Other(message));
    };
    let plain = ask::plain_gate(loaded, product, &case.question.tenant)?;
    Ok(GateRules {
        issue_keys_prefix: settings.issue_keys_prefix,
        names_as_written: settings.names_as_written,
        channel_types_prefix: settings.channel_types_prefix,
        ..plain
    })
}

/// The rule that refused; of a permit, the grants of each scope that was held.
fn deciding(explanation: &Explanation) -> Vec<&RuleRef> {
    if let Some(denial) = explanation.denial() {
        return denial.rule.iter().collect();
    }
    let lines = explanation.needs.iter().filter(|one| one.usable).flat_map(|one| one.lines.iter().flatten());
    let standings = lines.chain(&explanation.guards);
    let held = standings.filter_map(|(_, standing)| match standing {
        Standing::Held(rule) => rule.as_ref(),
        Standing::Missing | Standing::Revoked(_) => None,
    });
    held.collect()
}

/// `jira.yaml:12` is a file of that name in any folder.
fn is_at(rule: &RuleRef, by: &str) -> bool {
    let Some((file, line)) = by.rsplit_once(':') else { return false };
    rule.file.ends_with(file) && line.parse() == Ok(rule.line)
}
