//! What `explain` proposes is tried: the line is put where it says, and the answer turns round.

use super::*;

/// Asks, does what the answer proposes, and asks again.
#[track_caller]
fn turns_round(folder: &Path, arguments: &[&str], reason: &str) {
    let asked = [arguments, &["--format", "json"]].concat();
    let before = explain(folder, &asked).json();
    assert_eq!((before["decision"].as_str(), before["reason"].as_str()), (Some("deny"), Some(reason)), "{before}");
    let change = &before["would_change"];
    let file = folder.join(change["file"].as_str().unwrap_or_else(|| panic!("a file in {before}")));
    let yaml = change["yaml"].as_str().unwrap_or_default();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let edited = match (change["does"].as_str().unwrap(), change["line"].as_u64()) {
        ("add", Some(line)) => insert_after(&text, line, &format!("  {yaml}")),
        ("delete", Some(line)) if change["says"].as_str().unwrap().contains("and `revocations:` above it") => {
            edit(&edit(&text, line, |_| None), line - 1, |_| None)
        }
        ("delete", Some(line)) => edit(&text, line, |_| None),
        ("change", Some(line)) => edit(&text, line, |old| Some(with_key(old, yaml))),
        (does, line) => panic!("{does} at {line:?} in {before}"),
    };
    std::fs::write(&file, &edited).unwrap();
    let after = explain(folder, &asked);
    assert_eq!(after.code, 0, "{yaml}\n{}{}\n{edited}", after.out, after.err);
}

fn edit(text: &str, line: u64, edit: impl Fn(&str) -> Option<String>) -> String {
    let lines = (1u64..).zip(text.lines());
    let kept = lines.filter_map(|(number, old)| if number == line { edit(old) } else { Some(old.to_owned()) });
    kept.map(|line| line + "\n").collect()
}

fn insert_after(text: &str, line: u64, added: &str) -> String {
    edit(text, line, |old| Some(format!("{old}\n{added}")))
}

/// A flow map with one key written anew, or a line that is that key.
fn with_key(line: &str, yaml: &str) -> String {
    let (key, _) = yaml.split_once(':').unwrap();
    let Some(start) = line.find(&format!("{key}: ")) else {
        let end = line.rfind('}').unwrap();
        return format!("{}, {yaml}{}", &line[..end], &line[end..]);
    };
    if line.starts_with(key) {
        return yaml.to_owned();
    }
    let rest = &line[start..];
    let mut depth = 0;
    let end = rest.char_indices().find(|(_, c)| {
        depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
        depth < 0 || (depth == 0 && *c == ',')
    });
    let end = end.map_or(rest.len(), |(end, _)| end);
    format!("{}{yaml}{}", &line[..start], &rest[end..])
}

const REPORTS: [&str; 4] = ["--app", "tracker/reports", "--tenant", "acme"];
const DANA: [&str; 6] = ["--app", "tracker/timetracker", "--tenant", "acme", "--actor", "user"];

#[test]
fn a_missing_scope_is_granted_by_the_line_that_is_proposed() {
    turns_round(tracker().path(), &[&REPORTS[..], &["PUT", "/rest/api/3/issue/PROJ-1"]].concat(), "missing_scope");
    turns_round(tracker().path(), &[&DANA[..], &["GET", "/rest/api/3/issue/PROJ-1"]].concat(), "missing_scope");
}

#[test]
fn a_container_is_added_to_the_nearest_grant() {
    turns_round(
        tracker().path(),
        &[&DANA[..], &["PUT", "/rest/api/3/issue/OTHER-1"]].concat(),
        "container_not_granted",
    );
}

#[test]
fn a_revocation_goes_by_deleting_its_line() {
    let folder = tracker();
    turns_round(folder.path(), &[&TIMETRACKER[..], &["GET", "/rest/api/3/issue/SEC-1"]].concat(), "container_revoked");
}

#[test]
fn an_ended_grant_is_prolonged() {
    turns_round(tracker().path(), &[&TIMETRACKER[..], &["PUT", "/rest/api/3/issue/PROJ-1"]].concat(), "expired");
}

#[test]
fn an_app_is_excepted_from_a_guardrail() {
    let folder = tracker();
    let guardrails = "version: 1\nguardrail: no-config\napps: {product: tracker}\ntenants: all\nrevocations:\n  - {scopes: ['manage:config'], in: all, reason: r}\n";
    write(folder.path(), "policies/guardrails.yaml", guardrails);
    turns_round(folder.path(), &[&REPORTS[..], &["PUT", "/rest/api/3/scheme/1"]].concat(), "scope_revoked");
}

#[test]
fn an_actor_and_a_user_are_added_to_the_nearest_grant() {
    let folder = tracker();
    let path = folder.path().join("policies/timetracker.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let limited = text
        .replace("actors: [user], in: {project: [PROJ]}", "actors: [user], users: {ids: [lee]}, in: {project: [PROJ]}");
    std::fs::write(&path, limited).unwrap();
    turns_round(folder.path(), &[&DANA[..], &["PUT", "/rest/api/3/issue/PROJ-1"]].concat(), "user_not_allowed");
    std::fs::write(
        &path,
        text.replace(
            "scopes: [read:work, manage:config], actors: [app]",
            "scopes: [read:work, manage:config], actors: [user]",
        ),
    )
    .unwrap();
    turns_round(folder.path(), &[&REPORTS[..], &["GET", "/rest/api/3/search"]].concat(), "actor_not_allowed");
}

/// The override that opens a window is a file of its own.
#[test]
fn an_install_window_is_opened_by_the_override_that_is_proposed() {
    let folder = tracker();
    let config = folder.path().join("scopegate.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}overrides: overrides\n")).unwrap();
    let asked = [&REPORTS[..], &["PUT", "/rest/api/3/scheme/1", "--format", "json"]].concat();
    let before = explain(folder.path(), &asked).json();
    assert_eq!(before["reason"], "install_window_closed");
    assert_eq!(before["would_change"]["file"], "overrides");
    write(folder.path(), "overrides/window.yaml", before["would_change"]["yaml"].as_str().unwrap());
    explain(folder.path(), &asked).says(0, &["permit"]);
}

#[test]
fn no_line_is_proposed_where_none_would_help() {
    let folder = tracker();
    for (request, reason) in
        [(["GET", "/rest/api/3/secret"], "unknown_operation"), (["GET", "/nowhere"], "unknown_operation")]
    {
        let json = explain(folder.path(), &[&REPORTS[..], &request, &["--format", "json"]].concat()).json();
        assert_eq!((json["reason"].as_str(), &json["would_change"]), (Some(reason), &Value::Null));
    }
}
