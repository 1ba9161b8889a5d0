//! A file of policy tests: its YAML, checked, with every problem of form at once.

mod mirror;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authz::decide::Explanation;
use crate::authz::reason::Reason;
use crate::cli::ask::{Actor, Question, Words};
use crate::problem::{At, Problem, fill_snippets};
use crate::yaml;
use crate::yaml::field::{Field, Id, List};
use crate::yaml::time::Moment;
use crate::yaml::typed::Reader;
use mirror::{ActorWord, CaseMirror, GateMirror, SuiteMirror};

/// The one format there is.
const VERSION: u32 = 1;

/// The cases of one file, and what they are judged by.
#[derive(Debug)]
pub struct Suite {
    pub now_ms: i64,
    pub policies: Vec<PathBuf>,
    /// One for all products, or one for each.
    pub gates: Vec<GateSettings>,
    pub cases: Vec<Case>,
}

/// A gate that requests come through.
#[derive(Debug, Default)]
pub struct GateSettings {
    /// `None`: whichever product the app is of.
    pub product: Option<String>,
    pub catalog: Option<PathBuf>,
    pub issue_keys_prefix: bool,
    pub names_as_written: bool,
    pub channel_types_prefix: bool,
}

#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub line: u32,
    pub question: Question,
    pub expected: Expected,
    /// `file:line` of the rule that must have decided.
    pub by: Option<String>,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Permit,
    /// Passed only under `observe`.
    WouldDeny(Reason),
    Deny(Reason),
}

impl Expected {
    pub fn of(explanation: &Explanation) -> Self {
        match (explanation.is_permitted(), explanation.denial()) {
            (true, None) => Self::Permit,
            (true, Some(would)) => Self::WouldDeny(would.reason),
            (false, denial) => Self::Deny(denial.map_or(Reason::NoPolicy, |denial| denial.reason)),
        }
    }

    pub fn is_met_by(&self, got: &Self) -> bool {
        self == got
    }

    pub fn text(&self) -> String {
        match self {
            Self::Permit => "permit".to_owned(),
            Self::WouldDeny(reason) => format!("would_deny {reason}"),
            Self::Deny(reason) => format!("deny {reason}"),
        }
    }
}

/// Reads one file. `None` with an error among the problems.
pub fn parse(file: &Arc<Path>, text: &str) -> (Option<Suite>, Vec<Problem>) {
    let mut problems = Vec::new();
    let sources = yaml::read(file, text, &mut problems);
    if let Some(second) = sources.get(1) {
        problems.push(Problem::error(file, second.root.at, "a file of policy tests is one document"));
    }
    let suite = sources.first().and_then(|source| {
        let reader = Reader::new(source);
        let mirror = reader.read(&source.root).into_value();
        let suite = mirror.and_then(|mirror| suite(&reader, mirror, source.root.at));
        problems.extend(reader.into_problems());
        suite
    });
    problems.sort_by_key(|problem| problem.at);
    fill_snippets(&mut problems, text);
    let broken = problems.iter().any(Problem::is_error);
    (suite.filter(|_| !broken), problems)
}

fn suite(reader: &Reader<'_>, mirror: SuiteMirror, at: At) -> Option<Suite> {
    match mirror.version.spanned() {
        None if mirror.version.is_absent() => {
            reader.error_with_help(at, "the file lacks `version`", "write `version: 1`")
        }
        Some(version) if version.value != VERSION => {
            reader.error_with_help(
                version.at,
                "this version of the format is not known",
                "this release reads `version: 1`",
            );
        }
        _ => {}
    }
    let now = wanted(
        reader,
        mirror.now,
        at,
        "the file lacks `now`",
        "write the time of its cases, such as `now: 2026-11-22`",
    );
    let policies = wanted(
        reader,
        mirror.policies,
        at,
        "the file lacks `policies`",
        "write the folder, such as `policies: ../policies`",
    );
    let cases = wanted(reader, mirror.cases, at, "the file lacks `cases`", "write at least one case");
    let now_ms = now.as_ref().map_or(0, |Moment(ms)| *ms);
    let cases: Vec<Case> = cases?
        .into_iter()
        .filter_map(|field| {
            let at = field.at().unwrap_or(at);
            case(reader, field.into_value()?, at, now_ms)
        })
        .collect();
    if cases.is_empty() {
        reader.error_with_help(at, "the file has no case: it tests nothing", "write at least one case");
    }
    let gates = gates(reader, mirror.gate, mirror.gates);
    now?;
    Some(Suite { now_ms, policies: policies?.0, gates, cases })
}

/// `gate` for all cases, or `gates` with one for each product.
fn gates(reader: &Reader<'_>, one: Field<GateMirror>, several: Field<List<GateMirror>>) -> Vec<GateSettings> {
    let Some(several_at) = several.at() else { return vec![one.into_value().map(gate).unwrap_or_default()] };
    if !one.is_absent() {
        let help = "take `gate` out, and write its product beside it under `gates`";
        reader.error_with_help(several_at, "the file has both `gate` and `gates`", help);
    }
    let mut gates: Vec<GateSettings> = Vec::new();
    for field in several.into_value().unwrap_or_default() {
        let at = field.at().unwrap_or(several_at);
        let Some(gate) = field.into_value().map(gate) else { continue };
        match &gate.product {
            None => {
                let help = "write `product: jira`, or whichever its cases are of";
                reader.error_with_help(at, "a gate among several lacks `product`", help);
            }
            Some(product) if gates.iter().any(|other| other.product.as_ref() == Some(product)) => {
                reader.error_with_help(at, format!("two gates are for {product}"), "keep one of them");
            }
            Some(_) => {}
        }
        gates.push(gate);
    }
    if gates.is_empty() {
        reader.error_with_help(several_at, "`gates` names no gate", "write at least one, with its product");
    }
    gates
}

fn gate(mirror: GateMirror) -> GateSettings {
    GateSettings {
        product: mirror.product.into_value().map(|Id(product)| product),
        catalog: mirror.catalog.into_value().map(|Id(path)| path.into()),
        issue_keys_prefix: mirror.issue_keys.value().is_some(),
        names_as_written: mirror.names.value().is_some(),
        channel_types_prefix: mirror.channel_types.value().is_some(),
    }
}

fn case(reader: &Reader<'_>, mirror: CaseMirror, at: At, now_ms: i64) -> Option<Case> {
    let name = wanted(reader, mirror.name, at, "the case lacks `name`", "say in a few words what it shows");
    let app = wanted(reader, mirror.app, at, "the case lacks `app`", "write `app: product/name`");
    let tenant = wanted(reader, mirror.tenant, at, "the case lacks `tenant`", "write the tenant's id");
    let request = wanted(reader, mirror.request, at, "the case lacks `request`", "write METHOD PATH");
    let expect = wanted(reader, mirror.expect, at, "the case lacks `expect`", "write `permit` or `{deny: reason}`");
    let request = request?;
    let Some((method, target)) = request.trim().split_once(' ') else {
        reader.error_with_help(
            at,
            format!("`{request}` is no request"),
            "write METHOD PATH, such as `GET /rest/api/3/issue/PROJ-1`",
        );
        return None;
    };
    let by = mirror.by.into_spanned().map(|by| (by.value.0, by.at));
    if let Some((by, at)) =
        by.as_ref().filter(|(by, _)| by.rsplit_once(':').is_none_or(|(_, line)| line.parse::<u32>().is_err()))
    {
        reader.error_with_help(*at, format!("`{by}` names no line"), "write file:line, such as `jira.yaml:12`");
    }
    let containers = mirror.containers.into_value().unwrap_or_default();
    let question = Question {
        app: app?.0,
        tenant: tenant?.0,
        actor: mirror.actor.into_value().map(|word| match word {
            ActorWord::App => Actor::App,
            ActorWord::User => Actor::User,
        }),
        user: mirror.user.into_value().map(|Id(user)| user),
        kind: mirror.kind.into_value().map(|Id(kind)| kind),
        at_ms: mirror.at.into_value().map_or(now_ms, |Moment(ms)| ms),
        containers: containers.into_iter().filter_map(Field::into_value).map(|Id(text)| text).collect(),
        method: method.to_owned(),
        target: target.trim().to_owned(),
        body: mirror.body.into_value().map(String::into_bytes),
        words: Words::Members,
    };
    let expected = expect?.0;
    Some(Case { name: name?, line: at.line, question, expected, by: by.map(|(by, _)| by) })
}

fn wanted<T>(reader: &Reader<'_>, field: Field<T>, at: At, lacks: &str, help: &str) -> Option<T> {
    if field.is_absent() {
        reader.error_with_help(at, lacks, help);
    }
    field.into_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::file_name;

    #[test]
    fn every_problem_of_form_is_told_at_once() {
        let text = "version: 1\nnow: soon\ncases:\n  - {name: a, app: jira/a, tenant: t, request: GET, expect: {deny: missing_scop}}\n  - {nme: b}\n";
        let (suite, problems) = parse(&file_name("t.yaml"), text);
        assert!(suite.is_none());
        let all: String = problems
            .iter()
            .map(|problem| format!("{}: {} {:?}\n", problem.at.line, problem.message, problem.help))
            .collect();
        for part in [
            "`soon` is no time",
            "lacks `policies`",
            "`missing_scop` is no reason; did you mean `missing_scope`?",
            "unknown key `nme`",
            "lacks `expect`",
        ] {
            assert!(all.contains(part), "{part} in\n{all}");
        }
    }

    #[test]
    fn gates_are_told_apart_by_their_products() {
        let text = |gates: &str| {
            format!(
                "version: 1\nnow: 2026-11-22\npolicies: p\n{gates}\ncases:\n  \
                 - {{name: a, app: jira/a, tenant: t, request: GET /x, expect: permit}}\n"
            )
        };
        let read = |gates: &str| parse(&file_name("t.yaml"), &text(gates));
        let (suite, problems) = read("gates: [{product: jira, names: as_written}, {product: slack}]");
        assert_eq!(problems, []);
        let settings: Vec<_> =
            suite.unwrap().gates.into_iter().map(|gate| (gate.product, gate.names_as_written)).collect();
        assert_eq!(settings, [(Some("jira".to_owned()), true), (Some("slack".to_owned()), false)]);
        for (gates, why) in [
            ("gates: [{product: jira}, {names: as_written}]", "lacks `product`"),
            ("gates: [{product: jira}, {product: jira}]", "two gates are for jira"),
            ("gate: {product: jira}\ngates: [{product: slack}]", "both `gate` and `gates`"),
            ("gates: []", "names no gate"),
        ] {
            let (suite, problems) = read(gates);
            assert!(suite.is_none(), "{gates}");
            assert!(problems.iter().any(|problem| problem.message.contains(why)), "{gates}: {problems:?}");
        }
    }

    #[test]
    fn a_case_takes_its_clock_from_the_file_unless_it_has_one() {
        let text = "version: 1\nnow: 2026-11-22\npolicies: p\ncases:\n  - {name: a, app: jira/a, tenant: t, request: GET /x, expect: permit}\n  - {name: b, app: jira/a, tenant: t, at: 2026-11-23, request: get /x, expect: {would_deny: expired}}\n";
        let (suite, problems) = parse(&file_name("t.yaml"), text);
        assert_eq!(problems, []);
        let suite = suite.unwrap();
        let times: Vec<i64> = suite.cases.iter().map(|case| case.question.at_ms - suite.now_ms).collect();
        assert_eq!(times, [0, 86_400_000]);
        // As a gate takes them: a method is case-sensitive (RFC 9110 §9.1).
        assert_eq!(suite.cases[0].question.method, "GET");
        assert_eq!(suite.cases[1].question.method, "get");
        assert_eq!(suite.cases[1].expected, Expected::WouldDeny(Reason::Expired));
    }
}
