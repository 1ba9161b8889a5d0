//! The policies that come with the program: they compile, and their stories hold.

use super::*;

#[test]
fn the_sample_policies_have_no_error() {
    let ran = run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    for problem in ran.json()["problems"].as_array().unwrap() {
        let message = problem["message"].as_str().unwrap();
        let expected = ["unsound", "no operation can use it", "passes the app's own credential on", "can ask what"];
        assert!(expected.iter().any(|part| message.contains(part)), "{problem}");
    }
}

#[test]
fn the_stories_of_the_sample_policies_hold() {
    run(&["test"]).says(0, &["policy-tests/jira.yaml", "policy-tests/slack.yaml", "0 failed"]);
}
