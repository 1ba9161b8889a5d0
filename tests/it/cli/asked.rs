//! What arguments ask for, and what of them a grant may limit, as the commands say it.

use super::*;

const HEAD: &str = "version: 1\napp: bitbucket/ci\nname: CI\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
                    credentials: [{method: token, kind: oauth, \
                    sha256: \"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"}]\n";

fn grants(grants: &[&str]) -> String {
    format!(
        "{HEAD}grants:\n{}",
        grants.iter().map(|grant| format!("  - {{{grant}, actors: [app], in: all}}\n")).collect::<String>()
    )
}

fn hooks(term: &str) -> String {
    grants(&["scopes: [webhook, repository]", &format!("scopes: ['gate:deliver']{term}")])
}

const LIMITED: &str = ", where: {webhook_host: [hooks.example.com, '*.example.org']}";

fn folder(policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "policies/ci.yaml", policy);
    folder
}

fn asks(folder: &Path, method: &str, path: &str, body: &str, more: &[&str]) -> Ran {
    write(folder, "body.json", body);
    let own = ["explain", "--policies", "policies", "--app", "bitbucket/ci", "--tenant", "acme", "--body", "body.json"];
    run_in(folder, &[&own[..], more, &[method, path]].concat())
}

const HOOKS: &str = "/2.0/repositories/acme/web/hooks";

#[test]
fn explain_says_what_a_request_asks_for_and_what_it_tells() {
    let folder = folder(&hooks(LIMITED));
    let ask = |body: &str| asks(folder.path(), "POST", HOOKS, body, &[]);
    ask(r#"{"url":"https://hooks.example.com/","events":["repo:push"]}"#).says(
        0,
        &[
            "more by body /events: repository (classic), read:repository:bitbucket (granular)",
            "webhook_host: hooks.example.com",
        ],
    );
    ask(r#"{"url":"https://hooks.example.com/","events":["repo:push","issue:created"]}"#)
        .says(1, &["missing_scope", "repository and issue (classic)", "and missing issue", "{scopes: [issue]"]);
    ask(r#"{"url":"https://a.evil.example/","events":["repo:push"]}"#).says(
        1,
        &[
            "argument_not_allowed",
            "webhook_host: a.evil.example",
            "decided by policies/ci.yaml:10, a grant",
            "where: {webhook_host: [hooks.example.com, \"*.example.org\", a.evil.example]}",
        ],
    );
    ask(r#"{"url":"https://hooks.example.com:8443/","events":["repo:push"]}"#).says(
        1,
        &[
            "argument_not_allowed",
            "absent, or not to be read in one way only",
            "limited by `webhook_host`, which this request",
        ],
    );
    let unknown = ask(r#"{"events":["repo:new"]}"#);
    unknown
        .says(1, &["unknown_operation", "unknown (refused)", "an argument names something that the API description"]);
    assert!(!unknown.out.contains("did you mean"), "{}", unknown.out);
    ask(r#"{"events":"repo:push"}"#).says(1, &["bad_request", "a list of them is due"]);
    let json = asks(folder.path(), "PUT", &format!("{HOOKS}/7"), "{}", &["--format", "json"]).json();
    assert_eq!(json["asks_for"][0]["at"], "body");
    assert_eq!(json["asks_for"][0]["name"], "/events");
    assert_eq!(json["arguments"], serde_json::json!([{"limit": "webhook_host", "value": null}]));
    assert_eq!(json["needed"], serde_json::json!(["issue", "pullrequest", "pipeline", "project"]));
}

#[test]
fn check_says_what_is_wrong_with_a_limit() {
    let check = |policy: &str| run_in(folder(policy).path(), &["check", "policies"]);
    check(&hooks(LIMITED)).says(0, &["0 errors, 0 warnings"]);
    for (term, said) in [
        (", where: {webhok_host: [a.example]}", "bitbucket declares no limit `webhok_host`"),
        (", where: {webhok_host: [a.example]}", "did you mean `webhook_host`?"),
        (", where: {webhook_host: ['https://a.example/']}", "write the name of the host alone"),
        (", where: {webhook_host: ['a.example:443']}", "write the name of the host alone"),
        (", where: {webhook_host: ['*']}", "it is not the name of a host"),
        (", where: {webhook_host: ['*.example']}", "at least two parts"),
        (", where: {webhook_host: [10.0.0.1]}", "an address is none"),
        (", where: {webhook_host: [b\u{fc}cher.example]}", "beginning with `xn--`"),
        (", where: {webhook_host: []}", "an empty list never means all"),
        (", where: {}", "`where` limits nothing"),
    ] {
        check(&hooks(term)).says(1, &[said, "ci.yaml:10:"]);
    }
    let many: Vec<String> = (0..101).map(|number| format!("h{number}.example")).collect();
    check(&hooks(&format!(", where: {{webhook_host: [{}]}}", many.join(", "))))
        .says(1, &["101 values of `webhook_host`: at most 100"]);
    // What is limited by it and does not tell it is not given: whoever wrote it so should know.
    check(&grants(&[&format!("scopes: [webhook, 'gate:deliver']{LIMITED}")])).says(
        0,
        &[
            "`webhook` is given only where a request tells `webhook_host`, and not in 6 operations",
            "in a line of its own",
        ],
    );
    check(&grants(&[&format!("scopes: [snippet]{LIMITED}")]))
        .says(0, &["no operation of this grant tells `webhook_host`"]);
    check(&grants(&[&format!("operations: [workspaces-workspace-hooks-get]{LIMITED}")]))
        .says(0, &["no operation of this grant tells `webhook_host`"]);
    let slack = HEAD.replace("bitbucket/ci", "slack/ci").replace("kind: oauth", "kind: bot");
    let slack = format!("{slack}grants: [{{scopes: ['gate:deliver'], actors: [app], in: all{LIMITED}}}]\n");
    check(&slack).says(1, &["slack declares no limit `webhook_host`", "under `limits` of the catalog's overlay"]);
}

#[test]
fn cells_and_diff_say_where_a_webhook_may_point() {
    let limited = folder(&hooks(LIMITED));
    run_in(limited.path(), &["cells", "--policies", "policies"])
        .says(0, &["gate:deliver", "where webhook_host hooks.example.com or *.example.org"]);
    let diff = |old: &str, new: &str| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "old/ci.yaml", &hooks(old));
        write(folder.path(), "new/ci.yaml", &hooks(new));
        run_in(folder.path(), &["diff", "old", "new"])
    };
    let of = |hosts: &str| format!(", where: {{webhook_host: [{hosts}]}}");
    for (old, new) in [
        (of("a.example.com"), String::new()),
        (of("a.example.com"), of("a.example.com, b.example.com")),
        (of("a.example.com"), of("b.example.com")),
        (of("a.example.com"), of("'*.example.com'")),
        (of("'*.a.example.com'"), of("'*.example.com'")),
        (of("'*.example.com'"), of("example.com")),
    ] {
        diff(&old, &new).says(1, &["gains gate:deliver everywhere, as app"]);
    }
    for (old, new) in [
        (String::new(), of("a.example.com")),
        (of("a.example.com, b.example.com"), of("b.example.com")),
        (of("'*.example.com'"), of("a.example.com, '*.b.example.com'")),
    ] {
        diff(&old, &new).says(0, &["loses gate:deliver everywhere, as app"]);
    }
    for (old, new) in [
        (of("a.example.com, b.example.com"), of("B.example.com, a.example.com, a.example.com")),
        (LIMITED.to_owned(), LIMITED.to_owned()),
    ] {
        diff(&old, &new).says(0, &["no cell changes"]);
    }
    diff(&of("a.example.com"), &of("b.example.com")).says(1, &["where webhook_host b.example.com"]);
}

#[test]
fn show_says_which_scopes_hang_on_arguments() {
    let show = |product: &str| run(&["catalog", "show", product]).out;
    for (product, parts) in [
        (
            "bitbucket",
            &[
                "  body /events\n",
                "issue:comment_created, issue:created, issue:updated: issue (classic)",
                "any other: unknown (refused)",
                "absent: repository and issue",
                "webhook_host (the host of an https URL)",
            ][..],
        ),
        ("confluence", &["  query expand\n      any value: read:confluence-content.all (classic)\n"]),
        (
            "jira",
            &[
                "  query overrideEditableFlag\n      false: nothing\n",
                "ADMIN (connect)",
                "body /url of registerDynamicWebhooks",
            ],
        ),
        (
            "slack",
            &[
                "  argument username\n      any value: chat:write.customize (bot)\n",
                "channels:history (public) or groups:history",
            ],
        ),
        ("buddy", &["body /target_url of webhook.Create", "EXECUTION_INFO (plain) or EXECUTION_MANAGE (yaml)"]),
    ] {
        let shown = show(product);
        for part in parts {
            assert!(shown.contains(part), "{product}: `{part}` is not in\n{shown}");
        }
        let below = shown.split("\n\n").skip(1).collect::<Vec<_>>().join("\n");
        assert!(below.lines().all(|line| line.chars().count() <= 120), "{below}");
    }
    let json = run(&["catalog", "show", "bitbucket", "--format", "json"]).json();
    let hooks = json["operations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == "workspaces-workspace-hooks-post")
        .unwrap();
    assert_eq!(hooks["limits"], serde_json::json!([{"limit": "webhook_host", "body": "/url"}]));
    let source = &hooks["extra_needs"][0];
    assert_eq!(
        (&source["body"], &source["list"], &source["other"]),
        (&"/events".into(), &true.into(), &"unknown".into())
    );
    assert_eq!(
        source["values"][1]["needs"],
        serde_json::json!({"classic": ["issue"], "granular": ["read:issue:bitbucket"]})
    );
}

#[test]
fn a_scope_that_arguments_ask_for_is_said_to_go_in_part() {
    let revocation = |scope: &str| format!("{}revocations: [{{scopes: [{scope}], in: all, reason: x}}]\n", hooks(""));
    run_in(folder(&revocation("issue")).path(), &["check", "policies"]).says(
        0,
        &["also refuses what asks for it by an argument in 4 operations (repositories-workspace-repo-slug-hooks-post"],
    );
    let slack = HEAD.replace("bitbucket/ci", "slack/ci").replace("kind: oauth", "kind: bot");
    let slack = format!(
        "{slack}grants: [{{scopes: ['chat:write', 'chat:write.customize', 'chat:write.public'], actors: [app], in: all}}]\n\
         revocations: [{{scopes: ['chat:write.customize'], in: all, reason: x}}]\n"
    );
    let folder = folder(&slack);
    let ran = run_in(folder.path(), &["check", "policies"]);
    ran.says(
        0,
        &[
            "by an argument in 6 operations",
            "`chat:write.public`",
            "arguments of a call, which this gate does not part yet",
        ],
    );
    assert!(!ran.out.contains("takes no operation"), "{}", ran.out);
    run_in(folder.path(), &["apps", "--policies", "policies"]).says(0, &["chat:write.public rules arguments"]);
    assert!(!run_in(folder.path(), &["apps", "--policies", "policies"]).out.contains("chat:write.customize rules"));
    let order = ["revoke", "--dry-run", "--app", "slack/assist", "--tenant", "T024BE7LD", "--reason", "SEC-1"];
    let ran = run(&[&order[..], &["--scope", "chat:write.customize"]].concat());
    ran.says(
        0,
        &["of 6 operations what asks for it by an argument: agents.sessions.setStatus, assistant.threads.setStatus"],
    );
    assert!(!ran.out.contains("refuses nothing by this"), "{}", ran.out);
}

#[test]
fn a_catalog_that_asks_for_less_by_arguments_is_wider() {
    let folder = tracker();
    let catalog = std::fs::read_to_string(folder.path().join("tracker.yaml")).unwrap();
    let with = |scopes: &str| {
        let source = format!("    extra_needs: [{{query: force, absent: nothing, other: {scopes}}}]\n");
        catalog.replace("  - id: editIssue\n", &format!("  - id: editIssue\n{source}"))
    };
    let (none, admin) = (catalog.clone(), with("{connect: [ADMIN], classic: ['manage:config']}"));
    let less = with("{connect: [READ], classic: ['manage:config']}");
    assert_ne!(none, admin);
    let diff = |old: &str, new: &str| {
        write(folder.path(), "old.yaml", old);
        write(folder.path(), "new.yaml", new);
        run_in(folder.path(), &["catalog", "diff", "old.yaml", "new.yaml"])
    };
    diff(&none, &admin).says(0, &["- operation editIssue: arguments asked for nothing, ask for query force: any value: manage:config (classic), ADMIN (connect)"]);
    diff(&admin, &none).says(1, &["+ operation editIssue: arguments asked for query force"]);
    diff(&admin, &less).says(1, &["+ operation editIssue"]);
    diff(&admin, &admin).says(0, &["nothing changes"]);
}
