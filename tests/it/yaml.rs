//! Policy and configuration files as people write them: what is read, what is refused and how it is said.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use scopegate::authz::gate::TenantRule;
use scopegate::authz::policy::document::{Apps, Body, Document};
use scopegate::authz::policy::file::{Origin, Parsed, parse};
use scopegate::cli::schema::{SchemaKind, schema};
use scopegate::config::Config;
use scopegate::config::model::*;
use scopegate::problem::{Problem, file_name};
use scopegate::yaml::node::{Node, Value as Shape};

use crate::support::effort;

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
    let [jira, slack, connect] = &config.gates[..] else { panic!("three gates") };
    assert_eq!((connect.bypass, connect.tenants.len()), (Bypass::Network, 2));
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

/// The documents of a file as JSON values, through the archived parser.
fn json_documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// As much of JSON Schema as the schemas use. An error names the place.
fn fits(schema: &Value, root: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or(format!("{place}: no schema"))?;
    for (word, says) in schema {
        let ok = match word.as_str() {
            "$ref" => {
                return fits(&root["$defs"][says.as_str().unwrap().trim_start_matches("#/$defs/")], root, value, place);
            }
            "anyOf" | "oneOf" => {
                let tried: Vec<_> = says.as_array().unwrap().iter().map(|one| fits(one, root, value, place)).collect();
                if let Some(Err(wrong)) = tried.first()
                    && tried.iter().all(Result::is_err)
                {
                    return Err(wrong.clone());
                }
                true
            }
            "type" => {
                let found = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_u64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let fit = |one: &Value| one == found || (one == "number" && found == "integer");
                says.as_array().map_or_else(|| fit(says), |any| any.iter().any(fit))
            }
            "const" => value == says,
            "enum" => says.as_array().unwrap().contains(value),
            "required" => says.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= says.as_u64().unwrap()),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(says, root, item, &format!("{place}[]"))?;
                }
                true
            }
            "properties" | "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let known = schema.get("properties").and_then(|known| known.get(key));
                    let place = format!("{place}.{key}");
                    match (known, schema.get("additionalProperties")) {
                        (Some(known), _) => fits(known, root, value, &place)?,
                        (None, Some(Value::Bool(false))) => return Err(format!("{place}: no such key")),
                        (None, Some(other)) => fits(other, root, value, &place)?,
                        (None, None) => {}
                    }
                }
                true
            }
            _ => true,
        };
        if !ok {
            return Err(format!("{place}: {word} {says} does not hold for {value}"));
        }
    }
    Ok(())
}

#[test]
fn the_samples_fit_the_schemas() {
    let (policy, config) = (schema(SchemaKind::Policy), schema(SchemaKind::Config));
    for document in json_documents(&read_case("design.yaml")) {
        fits(&policy, &policy, &document, "").unwrap();
    }
    let sample = std::fs::read_to_string("config/scopegate.yaml").unwrap();
    for document in json_documents(&sample) {
        fits(&config, &config, &document, "").unwrap();
    }
    for (text, place) in [
        ("{version: 1, app: a/b, grant: []}", ".grant: no such key"),
        ("{version: 1, app: a/b, grants: [{scopes: [a], actors: [app]}]}", "required"),
        ("{version: 1, app: a/b, grants: [{scopes: some, actors: [app], in: all}]}", "scopes"),
    ] {
        let error = fits(&policy, &policy, &json_documents(text)[0], "").unwrap_err();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn the_built_in_catalogs_fit_the_schema() {
    let catalog = schema(SchemaKind::Catalog);
    let entries = std::fs::read_dir("config/catalogs").unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    let of_product = |product: &str| [format!("{product}.overlay.yaml"), format!("{product}.yaml")];
    let products = scopegate::authz::catalog::builtin::products();
    let mut expected: Vec<String> = products.flat_map(|(product, _)| of_product(product)).collect();
    expected.sort();
    assert_eq!((names.len(), &names), (10, &expected));
    for name in &names {
        let text = std::fs::read_to_string(Path::new("config/catalogs").join(name)).unwrap();
        for document in json_documents(&text) {
            fits(&catalog, &catalog, &document, name).unwrap();
        }
    }
    let unknown = "{version: 1, overlay: jira, gaurds: []}";
    let error = fits(&catalog["$defs"]["OverlayFile"], &catalog, &json_documents(unknown)[0], "").unwrap_err();
    assert!(error.contains(".gaurds: no such key"), "{error}");
}

/// Everything that a config example writes is known to the schema, and everything the schema knows is in the example.
#[test]
fn the_sample_configuration_shows_every_key() {
    let sample = std::fs::read_to_string("config/scopegate.yaml").unwrap();
    let config = schema(SchemaKind::Config);
    for definition in config["$defs"].as_object().unwrap().values() {
        for key in definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(sample.contains(&format!("{key}:")), "{key}");
        }
    }
}

/// The tree as a JSON value, numbers as text, for a comparison with the archived parser.
fn as_text(node: &Node<'_>, source: &str) -> Value {
    match &node.value {
        Shape::Null => Value::Null,
        Shape::Text(_) | Shape::Plain { .. } => Value::from(node.text(source).unwrap()),
        Shape::List(items) => items.iter().map(|item| as_text(item, source)).collect(),
        Shape::Map(entries) => {
            let entry =
                |(key, value): &(Node<'_>, Node<'_>)| Some((key.text(source)?.to_owned(), as_text(value, source)));
            Value::Object(entries.iter().filter_map(entry).collect())
        }
    }
}

/// The archived parser reads the text of a scalar into a `String` as written, so it can be asked for that.
fn archived(document: serde_yaml::Deserializer<'_>) -> Option<Value> {
    fn text(value: &serde_yaml::Value) -> Value {
        match value {
            serde_yaml::Value::Null => Value::Null,
            serde_yaml::Value::Bool(truth) => Value::from(truth.to_string()),
            serde_yaml::Value::Number(number) => Value::from(number.to_string()),
            serde_yaml::Value::String(string) => Value::from(string.as_str()),
            serde_yaml::Value::Sequence(items) => items.iter().map(text).collect(),
            serde_yaml::Value::Mapping(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (text(key).as_str().unwrap_or_default().to_owned(), text(value)))
                    .collect(),
            ),
            serde_yaml::Value::Tagged(tagged) => text(&tagged.value),
        }
    }
    serde_yaml::Value::deserialize(document).ok().map(|value| text(&value))
}

/// What both accept, they read alike. The faults of the archived one, each of which we refuse:
/// an empty document (read as null), merge keys and tags (read as keys and dropped), NUL.
#[test]
fn what_two_parsers_accept_they_read_alike() {
    let mut compared = 0;
    let mut texts: Vec<String> =
        ["policy.yaml", "config.yaml"].iter().flat_map(|file| cases(file)).map(|case| case.text).collect();
    texts.extend([read_case("design.yaml"), std::fs::read_to_string("config/scopegate.yaml").unwrap()]);
    texts.push(read_case("shapes.yaml"));
    for text in texts {
        let mut problems = Vec::new();
        let sources = scopegate::yaml::read(&file_name("f.yaml"), &text, &mut problems);
        if !problems.is_empty() {
            continue;
        }
        let ours: Vec<Value> = sources.iter().map(|source| as_text(&source.root, source.text)).collect();
        let theirs: Option<Vec<Value>> = serde_yaml::Deserializer::from_str(&text).map(archived).collect();
        // It refuses a duplicate key in a map; `read` leaves that to the types, which refuse it too.
        let Some(theirs) = theirs else { continue };
        assert_eq!(ours, theirs, "{text}");
        compared += ours.len();
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn the_faults_of_the_archived_parser_are_not_ours() {
    for (text, fault) in [
        ("", "an empty file is null to it"),
        ("# only\n", "and so are comments"),
        (
            "version: 1\nversion: 1\ngroup: g\ntenant: t\nusers: [u]\n",
            "a struct takes the last of two keys, or the first",
        ),
        ("version: 1\ngroup: g\ntenant: t\nusers: !all [u]\n", "it drops a tag"),
        ("version: 1\ngroup: g\ntenant: t\nusers: [~]\n", "null is the text `~` to it"),
    ] {
        assert!(policy(text).documents.is_empty(), "{fault}");
        assert!(!policy(text).problems.is_empty(), "{fault}");
    }
}

proptest! {
    /// Whatever is written as an id, plain or quoted, comes out as that text, or is a problem; never as another text.
    #[test]
    fn an_id_is_its_text_or_a_problem(id in r"[0-9A-Za-z_.:+~é€𝄞-]{1,12}|0[xob]?[0-9A-F_]{1,6}|[0-9]{1,3}[eE][+-]?[0-9]{1,3}|true|no|null|\.inf|\.nan") {
        for (written, must) in [(id.clone(), false), (format!("'{id}'"), true), (format!("\"{id}\""), true)] {
            let text = format!("# é\nversion: 1\ngroup: g\ntenant: t\nusers:\n  - {written}\n");
            let parsed = policy(&text);
            match &parsed.documents[..] {
                [Document { body: Body::Group(group), .. }] => prop_assert_eq!(&group.users[0].value, &id),
                _ => prop_assert!(!must && !parsed.problems.is_empty(), "{:?}", parsed.problems),
            }
        }
    }

    /// No text makes the parser panic, hang, or hold its tongue.
    #[test]
    fn any_text_gives_documents_or_problems(text in r"(version: 1|app: a/b|guardrail: g|set: s|grants:|  - |in: |all|\{|\}|\[|\]|, |: |\n|\t|'|\x22|&a |\*a |!t |<<: |---|\n---\n|# |\||>|%|é|\x00){0,30}") {
        let parsed = policy(&text);
        prop_assert!(!parsed.documents.is_empty() || !parsed.problems.is_empty());
        let rendered = scopegate::problem::render_human(&parsed.problems, false);
        prop_assert!(!rendered.contains('\0'));
        let _ = config(&text);
    }
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let mut laughs = "version: 1\napp: a/b\nl0: &l0 [x, x]\n".to_owned();
    for level in 1..64 {
        laughs += &format!("l{level}: &l{level} [*l{0}, *l{0}]\n", level - 1);
    }
    let huge = format!("version: 1\ngroup: g\ntenant: t\nusers: [{}]\n", "u, ".repeat(3_000_000));
    let nul = "version: 1\napp: a/b\n\0grants: []\n".to_owned();
    let cycle = "version: 1\ngroup: &g g\ntenant: t\nusers: &u [*u]\n".to_owned();
    let keys: String = (0..20_000).map(|number| format!("k{number}: 1\n")).collect();
    for (text, said) in [
        (laughs, "over a limit"),
        (huge, "at most 8388608 are read"),
        (nul, "U+0000"),
        (cycle, "refers to what it stands in"),
        (format!("version: 1\napp: a/b\n{keys}"), "unknown key `k0`"),
        (format!("{{{}}}", "k: 1, ".repeat(60_000)), "the document lacks `version`"),
        (format!("{{version: 1, app: a/b, {}}}", "k: 1, ".repeat(60_000)), "unknown key `k`"),
        ("---\n".repeat(20_000), "at most 10000 are read"),
        ("--- {a: 1}\n".repeat(2_000), "the document lacks `version`"),
    ] {
        let (parsed, took) = effort::of(|| policy(&text));
        assert_eq!(parsed.documents, []);
        assert!(parsed.problems.len() < 10_000);
        assert!(parsed.problems[0].message.contains(said), "{:?}", parsed.problems[0]);
        assert!(took < Duration::from_secs(10), "{said}: {took:?}");
    }
}

#[test]
fn numbers_and_words_are_ids_as_written() {
    let text = "version: 1\nset: no\ntenant: 0123\nproject: [10001, 0123, 1e3, 0x1F, no, yes, true, 1_000, 12:30:45, 2026-11-20, .inf]\n10: ['~']\n";
    let parsed = policy(text);
    let [Document { body: Body::Set(set), .. }] = &parsed.documents[..] else { panic!("{:?}", parsed.problems) };
    assert_eq!((set.set.value.as_str(), set.tenant.value.as_str()), ("no", "0123"));
    let ids: Vec<&str> = set.containers[0].1.iter().map(|id| id.value.as_str()).collect();
    assert_eq!(ids, ["10001", "0123", "1e3", "0x1F", "no", "yes", "true", "1_000", "12:30:45", "2026-11-20", ".inf"]);
    assert_eq!((set.containers[1].0.value.as_str(), set.containers[1].1[0].value.as_str()), ("10", "~"));
}

#[test]
fn the_last_grant_installation_and_credential_can_be_taken_out() {
    let text = "version: 1\napp: slack/a\ninstallations:\n  - tenant: T\n    credentials:\ngrants:\nrevocations: []\n";
    let parsed = policy(text);
    let [Document { body: Body::App(app), .. }] = &parsed.documents[..] else { panic!("{:?}", parsed.problems) };
    assert_eq!((app.grants.len(), app.installations[0].credentials.len()), (0, 0));
    assert_eq!(policy("version: 1\napp: slack/a\ninstallations:\ngrants:\n").problems, []);
}

#[test]
fn commands_write_windows_and_suspensions() {
    let text = "version: 1\napp: slack/a\ninstall_windows:\n  - {tenant: T, from: 2026-01-01, until: 2026-01-02, reason: upgrade, by: dana, at: 2026-01-01}\nsuspensions:\n  - {tenants: [T], reason: incident}\n";
    let parsed = parse(&file_name("act.yaml"), text, Origin::Override);
    let [Document { body: Body::App(app), .. }] = &parsed.documents[..] else { panic!("{:?}", parsed.problems) };
    assert_eq!((app.install_windows.len(), app.suspensions.len()), (1, 1));
    assert_eq!(app.install_windows[0].until - app.install_windows[0].from, 86_400_000);
    assert!(policy(text).documents.is_empty());
}

#[test]
fn names_and_guardrails_of_every_shape() {
    let text = "version: 1\nnames: slack\ntenant: T\nentries: {C0HELP: '#help', 10: ten}\n---\nversion: 1\nguardrail: g\napps: [jira/a, slack/b]\ntenants: [acme, 0123]\nmode: shadow\nrevocations: [{in: all, reason: r}]\n---\nversion: 1\nguardrail: h\napps: {product: all, except: [jira/a]}\ntenants: all\nrevocations: [{in: all, reason: r}]\n";
    let parsed = policy(text);
    assert_eq!(parsed.problems, []);
    let Body::Names(names) = &parsed.documents[0].body else { panic!() };
    let names: Vec<_> = names.names.iter().map(|(id, name)| (id.value.as_str(), name.as_str())).collect();
    assert_eq!(names, [("C0HELP", "#help"), ("10", "ten")]);
    let (Body::Guardrail(first), Body::Guardrail(second)) = (&parsed.documents[1].body, &parsed.documents[2].body)
    else {
        panic!()
    };
    assert!(first.shadow && matches!(&first.apps, Apps::Named(apps) if apps.len() == 2));
    assert!(matches!(&second.apps, Apps::All { except, .. } if except.len() == 1));
}
