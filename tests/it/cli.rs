//! The program as a person or a script runs it: exit codes, the shape of its JSON, and the words that stay.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod app_add;
mod asked;
mod assist;
mod bundle;
mod change;
mod diff;
mod kinds;
mod names;
mod samples;
mod serve;
mod tls;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) -> &Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        for part in parts {
            assert!(all.contains(part), "`{part}` is not in\n{all}");
        }
        self
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

pub fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    Ran::of(command(folder, arguments).output().unwrap())
}

/// Runs in the folder of the project.
fn run(arguments: &[&str]) -> Ran {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// A copy of the small product, its configuration and its policies.
fn tracker() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/cli");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    for name in ["tracker.yaml", "scopegate.yaml", "policies/timetracker.yaml", "policies/guardrails.yaml"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

const EXPLAIN: [&str; 3] = ["explain", "--config", "scopegate.yaml"];
const TIMETRACKER: [&str; 6] = ["--app", "tracker/timetracker", "--tenant", "acme", "--kind", "connect"];

fn explain(folder: &Path, arguments: &[&str]) -> Ran {
    run_in(folder, &[&EXPLAIN[..], arguments].concat())
}

#[test]
fn usage_is_2_and_says_what_is_meant() {
    run(&["explain", "--app", "jira/a"]).says(2, &["--tenant"]);
    run(&["expalin"]).says(2, &["explain"]);
    run(&[]).says(2, &["Usage"]);
    let empty = tempfile::tempdir().unwrap();
    run_in(empty.path(), &["check"]).says(2, &["config/scopegate.yaml"]);
    run_in(empty.path(), &["test"]).says(2, &["policy-tests is not there"]);
    run_in(empty.path(), &["apps"]).says(2, &["--policies"]);
    run_in(empty.path(), &["init", "--product", "fax"]).says(2, &["jira"]);
}

#[test]
fn the_small_commands_answer() {
    run(&["version"]).says(0, &["scopegate 0."]);
    run(&["completions", "bash"]).says(0, &["explain", "credential"]);
    run(&["schema", "policy"]).says(0, &["$defs"]);
    run(&["schema", "config"]).says(0, &["gates"]);
    run(&["credential", "new", "--app", "slack/assist", "--tenant", "T1"]).says(0, &["sg_", "kind: bot"]);
    run(&["--version"]).says(0, &["scopegate 0."]);
    run(&["health", "--address", "127.0.0.1:9"]).says(1, &["error: no gate says on 127.0.0.1:9 whether it is ready"]);
    let shown = run(&["catalog", "show", "slack", "--format", "json"]).json();
    assert_eq!(shown["product"], "slack");
}

#[test]
fn a_digest_is_of_standard_input_and_never_of_an_argument() {
    use std::io::Write as _;
    let mut child = command(Path::new("."), &["credential", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"abc\n").unwrap();
    Ran::of(child.wait_with_output().unwrap())
        .says(0, &["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]);
    run(&["credential", "hash", "abc"]).says(2, &[]);
}

#[test]
fn what_init_writes_passes_check() {
    for product in ["jira", "slack", "confluence", "bitbucket", "buddy"] {
        let folder = tempfile::tempdir().unwrap();
        let ran = run_in(folder.path(), &["init", "--product", product]);
        ran.says(0, &["scopegate.yaml", "scopegate credential new", "scopegate check"]);
        assert_eq!(ran.out.lines().count(), 3, "one file a line: {}", ran.out);
        run_in(folder.path(), &["check"]).says(0, &["0 errors", "1 app, 1 guardrail"]);
        run_in(folder.path(), &["init", "--product", product]).says(1, &["is there already"]);
    }
}

#[test]
fn check_says_all_problems_at_once_with_line_and_help() {
    let folder = tracker();
    let guardrails = write(folder.path(), "policies/guardrails.yaml", "version: 1\nguardrial: x\n");
    let app = folder.path().join("policies/timetracker.yaml");
    let text = std::fs::read_to_string(&app).unwrap();
    std::fs::write(&app, text.replace("[READ]", "[READD]").replace("in: all, tenants: all", "in: every, tenants: all"))
        .unwrap();
    let ran = run_in(folder.path(), &["check", "--config", "scopegate.yaml"]);
    ran.says(1, &["unknown key `guardrial`", "did you mean `guardrail`?", "-->", "errors"]);
    let json = run_in(folder.path(), &["check", "--config", "scopegate.yaml", "--format", "json"]);
    assert_eq!(json.code, 1);
    let json = json.json();
    let problems = json["problems"].as_array().unwrap();
    assert!(problems.len() > 2, "{problems:?}");
    for problem in problems {
        for key in ["file", "line", "column", "message", "help", "severity"] {
            assert!(problem.get(key).is_some(), "{key} in {problem}");
        }
    }
    std::fs::remove_file(guardrails).unwrap();
    std::fs::write(&app, text).unwrap();
    run_in(folder.path(), &["check", "--config", "scopegate.yaml"]).says(0, &["0 errors"]);
}

#[test]
fn check_says_whom_a_rule_reaches() {
    let folder = tracker();
    let ran = run_in(folder.path(), &["check", "scopegate.yaml"]);
    ran.says(
        0,
        &[
            "guardrail no-standing-admin",
            "reaches tracker/reports, tracker/timetracker in acme, acme-eu",
            "refuses 1 operation (updateScheme)",
            "also refuses 3 operations that reach the whole tenant (search, updateScheme, webhook)",
            "issue_keys: prefix",
            "checked 3 files: 2 apps, 1 guardrail; 0 errors",
        ],
    );
    let json = run_in(folder.path(), &["check", "scopegate.yaml", "--format", "json"]).json();
    assert_eq!(json["reach"][0]["apps"][1], "tracker/timetracker");
    assert_eq!(json["reach"][0]["tenants"], serde_json::json!(["acme", "acme-eu"]));
}

#[test]
fn check_tells_a_guardrail_of_all_products_once_for_each_that_it_reaches() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &["init", "--product", "slack"]).says(0, &[]);
    let rail = "version: 1\nguardrail: nothing-minted\napps: all\ntenants: all\nrevocations: [{scopes: ['gate:mint'], in: all, reason: r}]\n";
    write(folder.path(), "policies/guardrails.yaml", rail);
    let reach = |folder: &Path| run_in(folder, &["check", "--format", "json"]).json()["reach"].clone();
    let told = reach(folder.path());
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["apps"], serde_json::json!(["slack/example-app"]));
    let says = told[0]["says"].to_string();
    assert!(says.contains("gate:mint also rules redirects to other origins"), "{says}");
    // Where nobody is reached at all, that is said, once.
    write(folder.path(), "policies/guardrails.yaml", &rail.replace("tenants: all", "tenants: [elsewhere]"));
    let told = reach(folder.path());
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["apps"], serde_json::json!([]));
}

#[test]
fn check_warns_of_rules_that_no_request_can_meet() {
    for (rule, warning) in [
        (
            "grants: [{scopes: ['manage:config'], actors: [app], in: {project: [PROJ]}}]",
            "reaches the whole tenant: limited to containers it gives nothing",
        ),
        (
            "grants: [{scopes: ['read:work'], actors: [app, user], in: all}]",
            "no credential of `tracker/new` acts as user",
        ),
        ("grants: [{scopes: [unused], actors: [app], in: all}]", "no operation can use it"),
        (
            "grants: [{scopes: [READ], actors: [app], in: all}]",
            "no credential of `tracker/new` is of a kind that can use these scopes",
        ),
        (
            "grants: [{scopes: ['read:work'], actors: [app], in: all, pipelines: ['7']}]",
            "no credential of `tracker/new` shows a pipeline",
        ),
        ("grants: [{scopes: ['read:work'], actors: [app], in: all, valid: {until: 2020-01-01}}]", "expired"),
        ("grants: []", "nothing is granted to `tracker/new` in acme"),
        (
            "grants: [{scopes: ['read:work'], actors: [app], in: all}]\nrevocations: [{scopes: [unused], in: all, reason: r}]",
            "takes no operation",
        ),
    ] {
        let folder = tracker();
        let text = format!(
            "version: 1\napp: tracker/new\nname: n\ncontact: c\ninstallations:\n  - {{tenant: acme, credentials: [{{method: gate_key, sha256: \"{}\", kind: oauth, upstream: {{file: f}}}}]}}\n{rule}\n",
            "ab12".repeat(16)
        );
        write(folder.path(), "policies/new.yaml", &text);
        run_in(folder.path(), &["check", "--config", "scopegate.yaml"]).says(0, &[warning, "0 errors"]);
    }
}

#[test]
fn check_warns_of_lists_that_mix_keys_and_ids() {
    let rule = |document: &str, within: &str| {
        let folder = tracker();
        let text = format!(
            "version: 1\nguardrail: closed\napps: {{product: tracker}}\ntenants: [acme]\nrevocations:\n  - {{in: {{project: {within}}}, reason: r}}\n{document}"
        );
        write(folder.path(), "policies/new.yaml", &text);
        run_in(folder.path(), &["check", "--config", "scopegate.yaml"])
    };
    let set = |projects: &str| format!("---\nversion: 1\nset: closed\ntenant: acme\nproject: {projects}\n");
    let told = ["no grant", "every revocation does", "write "];
    let both = "`HR` is the key of a project and `10007` an id";
    rule("", "[HR, 10007]").says(0, &[both, "new.yaml:6:"]).says(0, &told);
    rule(&set("[10007, HR]"), "['set:closed']").says(0, &[both, "new.yaml:11:18"]).says(0, &told);
    rule(&set("[HR, LEGAL]"), "['set:closed', 10007]").says(0, &[both, "new.yaml:6:"]).says(0, &told);
    for (document, within) in [("", "[HR, LEGAL]"), ("", "[10007, 10008]"), (&*set("[HR]"), "['set:closed', LEGAL]")] {
        let ran = rule(document, within);
        assert!(!ran.out.contains("nobody can tell"), "{}", ran.out);
    }
}

#[test]
fn check_says_once_what_it_would_say_of_several() {
    run(&["check"]).says(
        0,
        &[
            "2 × warning: the gate … says `issue_keys: prefix`, which is unsound",
            "config/scopegate.yaml:7:5 `jira`, 70:5 `jira-connect`",
            "3 × warning: no operation can use it; it rules events",
            "policies/slack-assist.yaml:27:43 `commands`, 27:53 `app_mentions:read`, 27:74 `workflow.steps:execute`",
            "13 warnings",
        ],
    );
    // A program is told of each.
    let json = run(&["check", "--format", "json"]).json();
    let problems = json["problems"].as_array().expect("a list");
    let events =
        problems.iter().filter(|one| one["message"].as_str().is_some_and(|text| text.contains("rules events")));
    assert_eq!((problems.len(), events.count()), (13, 3));
}

/// A Connect JWT is of one request alone, so somebody else must ask where an issue's number lies.
#[test]
fn check_says_what_no_credential_can_ask_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = |credential: &str, within: &str| {
        format!(
            "version: 1\napp: jira/gantt\nname: g\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials: \
             [{credential}]\ngrants: [{{scopes: [WRITE, 'write:jira-work'], actors: [app], in: {within}}}]\n"
        )
    };
    let gate = |lookups: &str| {
        format!(
            "version: 1\npolicies: policies\ngates:\n  - {{name: jira, listen: '127.0.0.1:0', product: jira, identify: \
             [connect_jwt, gate_key], bypass: network, upstream: 'http://127.0.0.1:1', tenant: {{fixed: acme}}{lookups}}}\n"
        )
    };
    let jwt = "{method: connect_jwt, kind: connect, client_key: k, secret: {file: secrets/s}}";
    let digest = "0123456789abcdef".repeat(4);
    let key = format!("{{method: gate_key, kind: oauth, sha256: '{digest}', upstream: {{file: secrets/s}}}}");
    let check = |lookups: &str, credential: &str, within: &str| {
        write(folder.path(), "secrets/s", "a-secret");
        write(folder.path(), "scopegate.yaml", &gate(lookups));
        write(folder.path(), "policies/gantt.yaml", &policy(credential, within));
        run_in(folder.path(), &["check", "--config", "scopegate.yaml"])
    };
    let (said, limited) = ("no credential of `jira/gantt` in acme can ask what", "{project: [PROJ]}");
    check("", jwt, limited).says(0, &[said, "add `lookups: {credential: {file: …}}` to the gate"]);
    check(", lookups: off", &key, limited).says(0, &[said, "take `lookups: off` out of the gate"]);
    for (lookups, credential, within) in [
        ("", jwt, "all"),
        ("", key.as_str(), limited),
        ("", &format!("{jwt}, {key}"), limited),
        (", lookups: {credential: {file: secrets/s}}", jwt, limited),
    ] {
        let ran = check(lookups, credential, within);
        ran.says(0, &["0 errors"]);
        assert!(!ran.out.contains(said), "{lookups} {credential} {within}: {}", ran.out);
    }
}

#[test]
fn check_knows_files_by_what_they_hold() {
    let folder = tracker();
    run_in(folder.path(), &["check", "elsewhere"]).says(1, &["is not there", "--> elsewhere"]);
    let tests = "version: 1\nnow: 2026-01-01\npolicies: policies\ncases:\n  - {name: a, app: tracker/reports, tenant: acme, request: GET /x, expect: {deny: unknown_operaton}}\n";
    write(folder.path(), "case.yaml", tests);
    run_in(folder.path(), &["check", "case.yaml"]).says(1, &["did you mean `unknown_operation`?"]);
    run_in(folder.path(), &["check", "tracker.yaml"]).says(0, &["checked 1 file"]);
    run_in(folder.path(), &["check", "policies", "--catalog", "tracker.yaml"]).says(0, &["2 apps"]);
    run_in(folder.path(), &["check", "policies"]).says(1, &["no catalog of the product `tracker`"]);
    run_in(folder.path(), &["check", "nowhere"]).says(1, &["nowhere"]);
}

#[test]
fn explain_permits_and_names_the_grant() {
    let folder = tracker();
    let ran = explain(folder.path(), &[&TIMETRACKER[..], &["GET", "/rest/api/3/issue/PROJ-1"]].concat());
    ran.says(
        0,
        &["permit\n", "getIssue", "project PROJ", "held    READ", "decided by policies/timetracker.yaml:17, a grant"],
    );
    let json =
        explain(folder.path(), &[&TIMETRACKER[..], &["--format", "json", "GET", "/rest/api/3/issue/PROJ-1"]].concat())
            .json();
    assert_eq!(json["decision"], "permit");
    assert_eq!(json["reason"], Value::Null);
    assert_eq!(json["operation"], "getIssue");
    assert_eq!(json["touches"], serde_json::json!([{"kind": "project", "id": "PROJ"}]));
    assert_eq!(json["decided_by"]["line"], 17);
    assert_eq!(json["would_change"], Value::Null);
    for key in ["app", "tenant", "needed", "held"] {
        assert!(json.get(key).is_some(), "{key}");
    }
}

#[test]
fn explain_denies_with_the_reason_the_rule_and_its_line() {
    let folder = tracker();
    for (arguments, reason, by) in [
        (&["GET", "/rest/api/3/issue/SEC-1"][..], "container_revoked", "policies/timetracker.yaml:21"),
        (&["PUT", "/rest/api/3/issue/PROJ-1"], "expired", "policies/timetracker.yaml:18"),
        (&["GET", "/rest/api/3/secret"], "unknown_operation", ""),
        (&["POST", "/rest/api/3/issue"], "bad_request", "because"),
        (&["GET", "/rest/api/3/issue/PROJ-1%2F..%2Fx"], "bad_request", "because"),
    ] {
        explain(folder.path(), &[&TIMETRACKER[..], arguments].concat()).says(1, &["deny", reason, by]);
    }
}

#[test]
fn explain_asks_for_what_it_would_have_to_guess() {
    let folder = tracker();
    let acme = ["--app", "tracker/timetracker", "--tenant", "acme"];
    explain(folder.path(), &[&acme[..], &["GET", "/rest/api/3/search"]].concat())
        .says(2, &["--kind oauth --user dana", "--kind connect"]);
    explain(folder.path(), &[&acme[..], &["--actor", "user", "GET", "/rest/api/3/search"]].concat())
        .says(1, &["as user dana (Dana K.)"]);
    explain(folder.path(), &[&acme[..], &["--kind", "bot", "GET", "/x"]].concat())
        .says(2, &["no credential of the kind `bot`"]);
    explain(folder.path(), &[&TIMETRACKER[..], &["--actor", "user", "GET", "/x"]].concat())
        .says(2, &["no credential of the kind connect"]);
    explain(folder.path(), &[&TIMETRACKER[..], &["issue/PROJ-1"]].concat()).says(2, &["neither a path nor a URL"]);
}

#[test]
fn explain_proposes_what_was_meant() {
    let folder = tracker();
    let reports = |app, tenant, path| explain(folder.path(), &["--app", app, "--tenant", tenant, "GET", path]);
    reports("tracker/reprots", "acme", "/rest/api/3/search")
        .says(1, &["unknown_app", "did you mean `tracker/reports`?"]);
    reports("tracker/reports", "acne", "/rest/api/3/search").says(1, &["unknown_tenant", "did you mean `acme`?"]);
    reports("tracker/reports", "acme", "/rest/api/3/serch")
        .says(1, &["unknown_operation", "did you mean GET /search (search)?"]);
    reports("tracker/reports", "acme", "/rest/api/3/webhook").says(1, &["unknown_operation", "not with GET"]);
    reports("tracer/reports", "acme", "/x").says(2, &["tracer"]);
}

#[test]
fn explain_takes_a_body_a_time_and_what_a_look_up_would_say() {
    let folder = tracker();
    let body = write(folder.path(), "body.json", r#"{"fields": {"project": {"key": "PROJ"}}}"#);
    let dana = ["--app", "tracker/timetracker", "--tenant", "acme", "--actor", "user"];
    let with = |more: &[&str]| explain(folder.path(), &[&dana[..], more].concat());
    with(&["--body", body.to_str().unwrap(), "POST", "/rest/api/3/issue"]).says(0, &["permit"]);
    with(&["POST", "/rest/api/3/issue"]).says(1, &["none was given: add --body FILE"]);
    with(&["--body", "none.json", "POST", "/rest/api/3/issue"]).says(2, &["none.json"]);
    with(&["PUT", "/rest/api/3/issue/10001"])
        .says(1, &["container_revoked", "only a look-up could tell (say --container project=…)"]);
    with(&["--container", "project=PROJ", "PUT", "/rest/api/3/issue/10001"]).says(0, &["permit"]);
    with(&["--container", "project=SEC", "PUT", "/rest/api/3/issue/10001"]).says(1, &["container_revoked"]);
    with(&["--container", "space=SEC", "PUT", "/rest/api/3/issue/10001"]).says(2, &["project"]);
    let early = ["--at", "2025-06-02T10:00:00Z", "PUT", "https://acme.example.com/rest/api/3/issue/PROJ-1"];
    explain(folder.path(), &[&TIMETRACKER[..], &early[..]].concat()).says(0, &["permit", "2025-06-02T10:00:00Z"]);
    with(&["--at", "yesterday", "GET", "/x"]).says(2, &["RFC 3339"]);
}

#[test]
fn explain_takes_what_the_request_touched_that_started_a_job() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "scopegate.yaml",
        "version: 1\ngates:\n  - {name: jira, listen: 127.0.0.1:0, product: jira, identify: [token], upstream: \
         'http://127.0.0.1:9', bypass: network, tenant: {fixed: acme}, names: as_written}\npolicies: policies\n",
    );
    write(
        folder.path(),
        "policies/a.yaml",
        &format!(
            "version: 1\napp: jira/a\nname: A\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials: [{{method: token, \
             kind: oauth, sha256: \"{}\"}}]\ngrants: [{{scopes: ['read:jira-work'], actors: [app], in: {{project: [PROJ]}}}}]\n",
            "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        ),
    );
    let about = |more: &[&str]| {
        explain(
            folder.path(),
            &[&["--app", "jira/a", "--tenant", "acme"][..], more, &["GET", "/rest/api/3/task/7"]].concat(),
        )
    };
    about(&[])
        .says(1, &["container_not_granted", "what the request touched that started the job", "--container project=…"]);
    about(&["--container", "project=PROJ"]).says(0, &["permit", "project PROJ"]);
    about(&["--container", "project=SEC"]).says(1, &["container_not_granted", "project SEC"]);
    assert_eq!(about(&["--format", "json"]).json()["touches"], "tenant");
}

#[test]
fn a_broken_policy_is_explained_by_its_problems() {
    let folder = tracker();
    write(folder.path(), "policies/broken.yaml", "version: 1\n");
    for command in ["apps", "cells"] {
        run_in(folder.path(), &[command, "--config", "scopegate.yaml"])
            .says(1, &["broken.yaml", "no gate would start"]);
    }
    let ran = explain(folder.path(), &[&TIMETRACKER[..], &["--format", "json", "GET", "/rest/api/3/search"]].concat());
    assert_eq!(ran.code, 1);
    assert_eq!(ran.json()["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn apps_show_kinds_of_credentials_and_no_digest() {
    let folder = tracker();
    let ran = run_in(folder.path(), &["apps", "--config", "scopegate.yaml"]);
    ran.says(
        0,
        &["tracker/timetracker  Time tracker", "in acme (Acme)", "oauth by gate_key", "no-standing-admin", "2 apps"],
    );
    let json = run_in(folder.path(), &["apps", "--config", "scopegate.yaml", "--format", "json"]);
    for text in [&ran.out, &json.out] {
        assert!(!text.contains("0000000"), "{text}");
    }
    let json = json.json();
    assert_eq!(json["apps"][1]["installations"][0]["credentials"]["connect by gate_key"], 1);
    assert_eq!(json["apps"][1]["grants"], 3);
}

#[test]
fn cells_tell_what_is_held_and_what_took_it() {
    let folder = tracker();
    let cells = |more: &[&str]| run_in(folder.path(), &[&["cells", "--config", "scopegate.yaml"], more].concat());
    cells(&["--app", "tracker/timetracker", "--tenant", "acme"])
        .says(0, &["tracker/timetracker in acme", "project SEC (Security)", "revoked  policies/timetracker.yaml:21"]);
    cells(&["--app", "tracker/time"]).says(2, &["no policy describes"]);
    let json = cells(&["--format", "json", "--at", "2025-06-02T10:00:00Z"]).json();
    let all = json["cells"].as_array().unwrap();
    let admin = all
        .iter()
        .find(|cell| cell["scope"] == "ADMIN" && cell["tenant"] == "acme" && cell["container"] == "all")
        .unwrap();
    assert_eq!(admin["held"], true, "the install window is open");
    let later = cells(&["--format", "json"]).json();
    assert!(later["cells"].as_array().unwrap().iter().all(|cell| cell["scope"] != "ADMIN"), "it is gone by itself");
}

#[test]
fn tests_pass_fail_and_never_pass_for_want_of_cases() {
    let folder = tracker();
    let head = "version: 1\nnow: 2026-01-01\npolicies: policies\ngate: {catalog: tracker.yaml, issue_keys: prefix, names: as_written}\n";
    let case = |expect: &str, by: &str| {
        format!(
            "  - {{name: 'reading <b> & \"c\"', app: tracker/timetracker, tenant: acme, kind: connect, request: GET /rest/api/3/issue/PROJ-1, expect: {expect}{by}}}\n"
        )
    };
    let run_tests = |cases: &str, format: &str| {
        write(folder.path(), "case.yaml", &format!("{head}cases:\n{cases}"));
        run_in(folder.path(), &["test", "case.yaml", "--format", format])
    };
    run_tests(&case("permit", ", by: 'timetracker.yaml:17'"), "human")
        .says(0, &["ok    reading", "1 passed, 0 failed"]);
    run_tests(&case("permit", ", by: 'timetracker.yaml:18'"), "human").says(1, &["FAIL", "timetracker.yaml:17"]);
    run_tests(&case("{deny: missing_scope}", ""), "human").says(1, &["expected deny missing_scope, got permit"]);
    let both = case("permit", "") + &case("{deny: expired}", "");
    let json = run_tests(&both, "json");
    assert_eq!((json.code, json.json()["passed"].clone(), json.json()["failed"].clone()), (1, 1.into(), 1.into()));
    let junit = run_tests(&both, "junit");
    junit.says(
        1,
        &[
            "<testsuites name=\"scopegate\" tests=\"2\" failures=\"1\" errors=\"0\">",
            "reading &lt;b&gt; &amp; &quot;c&quot;",
            "<failure message=\"expected deny expired, got permit\">",
        ],
    );
    let slack =
        "  - {name: b, app: slack/assist, tenant: T1, request: GET /api/team.info, expect: {deny: unknown_app}}\n";
    run_tests(&(case("permit", "") + slack), "human").says(0, &["2 passed"]);
    let gates = |gates: &str| {
        let head = head.replace("gate: {catalog", "gates: [{product: tracker, catalog").replace("as_written}", gates);
        write(folder.path(), "case.yaml", &format!("{head}cases:\n{}{slack}", case("permit", "")));
        run_in(folder.path(), &["check", "case.yaml"]).says(0, &["0 errors"]);
        run_in(folder.path(), &["test", "case.yaml"])
    };
    gates("as_written}, {product: slack}]").says(0, &["2 passed"]);
    gates("as_written}]")
        .says(1, &["the app is of slack, and this file has a gate for tracker only", "1 passed, 1 failed"]);
    write(folder.path(), "case.yaml", &format!("{head}cases: []\n"));
    run_in(folder.path(), &["test", "case.yaml"]).says(1, &["tests nothing", "no case was run"]);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run_in(folder.path(), &["test", "empty"]).says(1, &["no case was run"]);
    write(folder.path(), "policies/broken.yaml", "version: 1\n");
    run_tests(&case("permit", ""), "human").says(1, &["broken.yaml", "1 file not run"]);
}

#[test]
fn nothing_is_coloured_but_on_a_terminal() {
    let folder = tracker();
    for arguments in [&["check", "scopegate.yaml"][..], &["apps", "--config", "scopegate.yaml"]] {
        let ran = run_in(folder.path(), arguments);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{}", ran.out);
    }
}

/// What a command writes to a terminal.
fn on_a_terminal(folder: &Path, arguments: &[&str], no_colour: &str) -> String {
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", no_colour).stdout(pty.slave);
    let mut child = command.spawn().unwrap();
    // It holds the other end of the terminal.
    drop(command);
    let mut shown = Vec::new();
    // Where the last writer has gone, Linux reads an error.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn an_explanation_is_coloured_on_a_terminal_unless_that_is_not_wanted() {
    let folder = tracker();
    let explain =
        [&EXPLAIN[..], &TIMETRACKER, &["--at", "2026-12-01T00:00:00Z", "GET", "/rest/api/3/issue/PROJ-1"]].concat();
    let plain = run_in(folder.path(), &explain).out;
    assert!(plain.starts_with("permit") || plain.starts_with("deny"), "{plain}");
    let coloured = on_a_terminal(folder.path(), &explain, "");
    assert!(coloured.starts_with("\u{1b}[1;3"), "{coloured}");
    assert_eq!(on_a_terminal(folder.path(), &explain, "1").replace("\r\n", "\n"), plain);
}
