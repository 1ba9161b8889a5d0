//! `check` tells what sort of file it is given by what stands in it, however that is written.

use super::*;

/// The same document as JSON, in one line: YAML too, in flow style, with its keys in quotes.
fn in_flow(text: &str) -> String {
    serde_yaml::from_str::<Value>(text).unwrap().to_string()
}

/// The last line: how many files there are, and what is wrong with them.
fn summary(folder: &Path, paths: &[&str]) -> (i32, String) {
    let ran = run_in(folder, &[&["check"], paths].concat());
    (ran.code, ran.out.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_file_in_flow_style_is_the_file_that_it_is_in_block_style() {
    let folder = tracker();
    let tests = "version: 1\nnow: 2026-11-20T12:00:00Z\npolicies: policies\ngate: {catalog: tracker.yaml, issue_keys: prefix, names: as_written}\n\
                 cases:\n  - {name: reads, app: tracker/timetracker, tenant: acme, kind: connect, request: GET /issue/PROJ-1, expect: permit}\n";
    write(folder.path(), "cases.yaml", tests);
    for (name, counted) in [
        ("scopegate.yaml", "checked 3 files: 2 apps"),
        ("tracker.yaml", "checked 1 file: 0 apps"),
        ("cases.yaml", "checked 1 file: 0 apps"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let before = summary(folder.path(), &[name]);
        assert!(before.0 == 0 && before.1.starts_with(counted), "{name}: {before:?}");
        let flow = in_flow(&text);
        for text in [flow.clone(), format!("# A comment.\n---\n{flow}\n"), format!("  {flow}")] {
            write(folder.path(), name, &text);
            assert_eq!(summary(folder.path(), &[name]), before, "{text}");
        }
        write(folder.path(), name, &text);
    }
}

#[test]
fn what_is_wrong_with_a_file_in_flow_style_is_told_as_of_such_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("{version: 1, gates: [{name: jira, produkt: jira}]}", "did you mean `product`?"),
        ("{'version': 1, \"gates\": [{name: jira, produkt: jira}]}", "did you mean `product`?"),
        ("{version: 1, ? gates : [{name: jira, produkt: jira}]}", "did you mean `product`?"),
        ("{version: 1, cases: [{exepct: permit}], gates: []}", "did you mean `expect`?"),
        (
            "{version: 1, product: x, release: '1', dialect: problem, vocabularies: [], kinds: [], scopes: [], operations: [], lookup: []}",
            "`lookup`",
        ),
        ("{version: 1, overlay: jira, guards: []}", "unknown field `overlay`, expected one of version, product"),
    ] {
        write(folder.path(), "one.yaml", text);
        let ran = run_in(folder.path(), &["check", "one.yaml"]);
        assert_eq!(ran.code, 1, "{text}");
        assert!(format!("{}{}", ran.out, ran.err).contains(said), "{text}\n{}{}", ran.out, ran.err);
    }
    // One that cannot be read is what its lines begin with.
    write(folder.path(), "one.yaml", "version: 1\ngates: [\n");
    write(folder.path(), "two.yaml", "{version: 1, gates: []}");
    run_in(folder.path(), &["check", "one.yaml", "two.yaml"]).says(2, &["are two configurations"]);
}
