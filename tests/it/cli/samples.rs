//! The policies that come with the program: they compile, and their stories hold.

use super::*;

#[test]
fn the_sample_policies_have_no_error() {
    let ran = run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    for problem in ran.json()["problems"].as_array().unwrap() {
        let message = problem["message"].as_str().unwrap();
        let expected = ["unsound", "no operation can use it", "passes the app's own credential on"];
        assert!(expected.iter().any(|part| message.contains(part)), "{problem}");
    }
}

#[test]
fn the_stories_of_the_sample_policies_hold() {
    run(&["test"]).says(0, &["policy-tests/jira.yaml", "policy-tests/slack.yaml", "0 failed"]);
}

/// The table of the Assist app, scope by scope: who may use it.
const ASSIST: &[(&str, bool, bool)] = &[
    ("channels:history", true, true),
    ("channels:join", true, false),
    ("channels:read", true, false),
    ("im:history", true, true),
    ("im:read", true, false),
    ("im:write", true, false),
    ("mpim:history", true, true),
    ("mpim:read", true, true),
    ("mpim:write", true, true),
    ("groups:history", true, false),
    ("groups:read", true, false),
    ("chat:write", true, true),
    ("chat:write.customize", true, false),
    ("commands", true, false),
    ("reactions:read", true, true),
    ("reactions:write", true, true),
    ("team:read", true, false),
    ("users:read", true, false),
    ("users.profile:read", true, false),
    ("users:read.email", true, false),
    ("files:read", true, true),
    ("files:write", true, false),
    ("workflow.steps:execute", true, false),
    ("app_mentions:read", true, false),
    ("identity.basic", true, false),
    ("identity.email", true, false),
];

#[test]
fn assist_holds_exactly_its_table() {
    let json = run(&["cells", "--app", "slack/assist", "--format", "json"]).json();
    let cells = json["cells"].as_array().unwrap();
    let mut held: Vec<(String, String)> = cells
        .iter()
        .filter(|cell| cell["container"] == "all" && cell["scope"] != "gate:admit")
        .map(|cell| (cell["scope"].as_str().unwrap().to_owned(), cell["actor"].as_str().unwrap().to_owned()))
        .collect();
    held.sort();
    held.dedup();
    let rows = ASSIST
        .iter()
        .flat_map(|(scope, bot, user)| [(*bot).then_some((*scope, "app")), (*user).then_some((*scope, "user"))]);
    let mut table: Vec<(String, String)> =
        rows.flatten().map(|(scope, actor)| (scope.to_owned(), actor.to_owned())).collect();
    table.sort();
    assert_eq!(held, table);
}
