//! Policy and configuration files as people write them: what is read, what is refused and how it is said.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::path::Path;
use std::time::Duration;

use scopegate::authz::gate::TenantRule;
use scopegate::authz::policy::document::{Body, Document};
use scopegate::authz::policy::file::{Origin, Parsed, parse};
use scopegate::config::Config;
use scopegate::config::model::*;
use scopegate::problem::{Problem, file_name};

fn read_case(name: &str) -> String {
    std::fs::read_to_string(Path::new("tests/cases/yaml").join(name)).unwrap()
}

fn policy(text: &str) -> Parsed {
    parse(&file_name("policy.yaml"), text, Origin::Policy)
}

/// One case of a file: its name, its text, and what must be said of which line.
struct Case {
    name: String,
    text: String,
    expected: Vec<(u32, String)>,
}

/// A case begins at `#@ name`. `#! message` on a line expects that problem there; `? help` after it, that help.
fn cases(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in read_case(file).lines() {
        if let Some(name) = line.strip_prefix("#@ ") {
            let (name, expected) = name.split_once(" #! ").map_or((name, None), |(name, rest)| (name, Some(rest)));
            let expected = expected
                .and_then(|rest| rest.split_once(": "))
                .map(|(line, message)| (line.parse().unwrap(), message.to_owned()));
            cases.push(Case { name: name.to_owned(), text: String::new(), expected: expected.into_iter().collect() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        case.text.push_str(line);
        case.text.push('\n');
        let number = case.text.matches('\n').count() as u32;
        case.expected.extend(line.split("#! ").skip(1).map(|message| (number, message.trim().to_owned())));
    }
    cases
}

fn says(problem: &Problem, expected: &str) -> bool {
    let (message, help) = expected.split_once(" ? ").unwrap_or((expected, ""));
    problem.message.contains(message) && problem.help.as_deref().unwrap_or_default().contains(help)
}

/// Every problem is expected, and every expectation is met, once.
fn judge(case: &Case, problems: &[Problem]) -> Vec<String> {
    let mut open: Vec<&Problem> = problems.iter().collect();
    let mut wrong = Vec::new();
    for (line, message) in &case.expected {
        match open.iter().position(|problem| problem.at.line == *line && says(problem, message)) {
            Some(index) => drop(open.remove(index)),
            None => wrong.push(format!("{}: line {line}: nobody says {message:?}", case.name)),
        }
    }
    wrong.extend(
        open.iter().map(|problem| format!("{}: {:?} {} ({:?})", case.name, problem.at, problem.message, problem.help)),
    );
    wrong
}

#[test]
fn every_broken_policy_is_refused_with_its_line_and_reason() {
    let mut wrong = Vec::new();
    for case in cases("policy.yaml") {
        wrong.extend(judge(&case, &policy(&case.text).problems));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sample_of_the_design_is_read_exactly() {
    let parsed = policy(&read_case("design.yaml"));
    assert_eq!(parsed.problems, []);
    let lines: String = parsed.documents.iter().flat_map(lines_of).map(|line| line + "\n").collect();
    let golden = Path::new("tests/cases/yaml/design.golden");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden, &lines).unwrap();
    }
    assert_eq!(lines, std::fs::read_to_string(golden).unwrap(), "run with BLESS=1 if the difference is meant");
}

/// A document as one line for each of its rules.
fn lines_of(document: &Document) -> Vec<String> {
    let Document { at, body } = document;
    let Body::App(app) = body else { return vec![format!("{at:?} {body:?}")] };
    let mut lines = vec![format!("{at:?} {:?} {:?}", app.app, app.description)];
    lines.extend(app.installations.iter().map(|installation| format!("{installation:?}")));
    lines.extend(app.grants.iter().map(|grant| format!("{grant:?}")));
    lines.extend(app.revocations.iter().map(|revocation| format!("{revocation:?}")));
    lines
}

fn known(product: &str) -> bool {
    ["jira", "jira@2025-12", "slack"].contains(&product)
}

fn config(text: &str) -> Result<Config, Vec<Problem>> {
    scopegate::config::parse(&file_name("/etc/scopegate/scopegate.yaml"), text, &known)
}

#[test]
fn every_broken_configuration_is_refused_with_its_line_and_reason() {
    let mut wrong = Vec::new();
    for case in cases("config.yaml") {
        wrong.extend(judge(&case, &config(&case.text).err().unwrap_or_default()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sample_configuration_is_loaded_and_writes_the_defaults() {
    let config = scopegate::config::load(Path::new("config/scopegate.yaml"), &known).unwrap();
    let [jira, slack] = &config.gates[..] else { panic!("two gates") };
    assert_eq!(jira.limits, Limits::default());
    assert_eq!(config.drain, Drain::default());
    assert_eq!(
        slack.limits,
        Limits { request_timeout: Duration::from_secs(120), body_held_max: 2 << 20, ..Limits::default() }
    );
    assert_eq!((jira.bypass, slack.bypass), (Bypass::Credential, Bypass::Network));
    assert_eq!(jira.tenant, TenantRule::Fixed("acme".into()));
    assert_eq!(slack.tenant, TenantRule::Token(vec!["T024BE7LD".into()]));
    let upstream = &jira.tenants[0].upstream;
    assert_eq!(upstream.address, UpstreamAddress::Tcp { host: "acme.atlassian.net".into(), port: 443 });
    assert_eq!(upstream.tls, Some(UpstreamTls { server_name: "acme.atlassian.net".into(), roots: Roots::Public }));
    assert_eq!(config.policies, Path::new("config/../policies"));
    assert_eq!(config.admin.unwrap().listen, Listen::Unix("config/../state/admin.sock".into()));
    assert!(
        jira.issue_keys_prefix && jira.names_as_written && !jira.channel_types_prefix && slack.channel_types_prefix
    );
}

#[test]
fn what_a_configuration_does_not_write_has_one_value() {
    let text = "version: 1\ngates: [{name: a, listen: '127.0.0.1:1', product: jira, identify: [gate_key], upstream: http://a, bypass: open, tenant: {fixed: 0123}}]\npolicies: p\n";
    let config = config(text).unwrap();
    assert_eq!(config.settle, Duration::from_millis(500));
    assert_eq!(config.metrics_apps_max, 500);
    assert_eq!(config.threads, Threads::Auto);
    assert_eq!(config.log, Log { users: LogUsers::Hashed, format: LogFormat::Json });
    assert_eq!((&config.health, &config.admin, &config.state, &config.overrides), (&None, &None, &None, &None));
    assert_eq!(config.policies, Path::new("/etc/scopegate/p"));
    assert_eq!(&*config.gates[0].tenants[0].id, "0123");
    assert_eq!(config.gates[0].limits, Limits::default());
}
