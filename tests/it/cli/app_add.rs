//! `app add`: a first policy out of an app's own manifest, whoever wrote that.

use super::*;

/// Runs it on a manifest of the samples.
fn add(manifest: &str, more: &[&str]) -> Ran {
    let path = format!("tests/cases/manifests/{manifest}");
    run(&[&["app", "add", "--from", &path], more].concat())
}

/// Runs it on a text.
fn add_text(name: &str, text: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), name, text);
    run_in(folder.path(), &[&["app", "add", "--from", name], more].concat())
}

/// What `check` says of a policy that stands alone.
fn checked(yaml: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "policies/first.yaml", yaml);
    run_in(folder.path(), &["check", "policies"])
}

/// The grants of a document, each as its scopes and actors.
fn grants(yaml: &str) -> Vec<(String, String)> {
    let grant = |line: &str| {
        let part = |key: &str| line.split(key).nth(1).unwrap().split(']').next().unwrap().replace('"', "");
        (part("scopes: ["), part("actors: ["))
    };
    yaml.lines().filter(|line| line.starts_with("  - {for: ")).map(grant).collect()
}

fn granted(yaml: &str, scope: &str) -> Option<String> {
    grants(yaml).into_iter().find(|(own, _)| own == scope).map(|(_, actors)| actors)
}

#[test]
fn slack_scopes_are_granted_by_token_kind() {
    let ran = add("assist.yaml", &["--tenant", "T024BE7LD"]);
    ran.says(0, &["slack/assist-halp: 24 scopes granted: 15 as the app itself, 0 as a user, 9 as both"]);
    for (scope, actors) in [
        ("channels:history", "app, user"),
        ("chat:write", "app, user"),
        ("channels:join", "app"),
        ("users:read.email", "app"),
        ("commands", "app"),
    ] {
        assert_eq!(granted(&ran.out, scope).as_deref(), Some(actors), "{scope}");
    }
    assert!(!ran.out.contains("required: true}"), "never guessed: {}", ran.out);
    // Joining says who may reach a channel: that is a guard, and for a person to grant.
    assert!(ran.out.contains("# - {for: say why, scopes: [\"gate:admit\"], operations: ["), "{}", ran.out);
    assert!(!grants(&ran.out).iter().any(|(scope, _)| scope.starts_with("gate:")), "{}", ran.out);
    assert!(ran.err.contains("3 subscribed events: Slack sends them"), "{}", ran.err);
    checked(&ran.out).says(0, &["0 errors"]);
    let next = "scopegate credential new --app slack/assist-halp --tenant T024BE7LD --kind bot";
    assert!(ran.err.contains(next) && ran.err.contains("scopegate check"), "{}", ran.err);
}

#[test]
fn a_user_token_alone_gets_nothing_of_the_bots() {
    let manifest = "display_information: {name: Editor}\noauth_config: {scopes: {user: ['chat:write']}}\n";
    let ran = add_text("m.yaml", manifest, &[]);
    assert_eq!(granted(&ran.out, "chat:write").as_deref(), Some("user"));
    checked(&ran.out).says(0, &["0 errors"]);
}

#[test]
fn a_scope_that_no_catalog_knows_is_a_comment_and_said() {
    let manifest = "display_information: {name: Bot}\noauth_config: {scopes: {bot: ['chanels:history', 'gate:mint', 'search:read', 'chat:write']}}\n";
    let ran = add_text("m.yaml", manifest, &["--tenant", "T1"]);
    ran.says(
        0,
        &[
            "left out: chanels:history (bot token)",
            "did you mean channels:history?",
            "left out: gate:mint",
            "left out: search:read",
        ],
    );
    assert_eq!(grants(&ran.out), [("chat:write".to_owned(), "app".to_owned())], "{}", ran.out);
    assert!(ran.out.contains("# - chanels:history (bot token): "), "{}", ran.out);
    assert!(ran.out.contains("# - gate:mint (bot token): "), "{}", ran.out);
    checked(&ran.out).says(0, &["0 errors"]);
}

#[test]
fn connects_admin_ends_a_day_after_the_install_or_is_not_granted() {
    let without = add("timetracker.json", &["--tenant", "acme"]);
    without.says(0, &["jira/com.example.timetracker: 3 scopes granted", "left out: ADMIN"]);
    assert_eq!(granted(&without.out, "ADMIN"), None, "{}", without.out);
    assert_eq!(granted(&without.out, "WRITE").as_deref(), Some("app"));
    assert!(without.out.contains("# - {for: setting itself up, scopes: [ADMIN]"), "{}", without.out);
    checked(&without.out).says(0, &["0 errors"]);
    let with = add("timetracker.json", &["--tenant", "acme", "--installed-at", "2025-11-20T09:00:00Z"]);
    with.says(0, &["ADMIN until 24 h after the install", "2 webhooks of the descriptor"]);
    let line = with.out.lines().find(|line| line.contains("scopes: [ADMIN]") && !line.contains('#')).unwrap();
    assert!(line.contains("valid: {after_install: 24h}"), "{line}");
    // What the guard would need is a comment, limited to the app's own server.
    assert!(with.out.contains("# - {for: say why, scopes: [\"gate:deliver\"]"), "{}", with.out);
    assert!(
        with.out.contains("where: {webhook_host: [tracker.example.com]}, valid: {after_install: 24h}"),
        "{}",
        with.out
    );
    checked(&with.out).says(0, &["0 errors"]);
}

#[test]
fn every_line_that_a_person_takes_the_comment_from_is_a_grant() {
    for (manifest, more) in [
        ("assist.yaml", &["--tenant", "T024BE7LD"][..]),
        ("timetracker.json", &["--tenant", "acme", "--installed-at", "2025-11-20T09:00:00Z"]),
        ("reports.yml", &["--tenant", "acme"]),
    ] {
        let ran = add(manifest, more);
        let taken = ran.out.replace("  # - {for: ", "  - {for: ");
        assert_ne!(taken, ran.out, "{manifest}");
        checked(&taken).says(0, &["0 errors"]);
    }
}

#[test]
fn a_forge_manifest_is_a_document_for_each_product() {
    let ran = add("reports.yml", &["--tenant", "acme"]);
    ran.says(
        0,
        &["jira/8db33809-1f32-4bb4-8f0b-3d3f2c2f5d11: 1 scope granted", "confluence/8db33809", "2 scopes granted"],
    );
    let documents: Vec<&str> = ran.out.split("---\n").collect();
    assert_eq!(documents.len(), 2, "{}", ran.out);
    assert_eq!(granted(documents[0], "read:jira-work").as_deref(), Some("app, user"));
    assert_eq!(granted(documents[1], "write:page:confluence").as_deref(), Some("app, user"));
    assert_eq!(granted(documents[0], "write:page:confluence"), None);
    // What is no product's stands in both: it must not be lost.
    for document in documents {
        assert!(document.contains("# - storage:app (app): "), "{document}");
        assert!(document.contains("# - read:jira-wrok (app): "), "{document}");
    }
    assert!(ran.err.contains("did you mean read:jira-work?"), "{}", ran.err);
    checked(&ran.out).says(0, &["0 errors"]);
    let named = add("reports.yml", &["--app", "reports", "--product", "jira"]);
    named.says(0, &["jira/reports: 1 scope granted", "left out: write:page:confluence"]);
}

#[test]
fn connect_words_of_a_forge_manifest_are_connects() {
    let manifest = "app: {id: 'ari:cloud:ecosystem::app/x1', connect: {key: k}}\npermissions: {scopes: ['read:connect-jira', 'act-as-user:connect-jira']}\n";
    let ran = add_text("manifest.yml", manifest, &[]);
    assert_eq!(granted(&ran.out, "READ").as_deref(), Some("app, user"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("ACT_AS_USER"), "{}", ran.out);
    checked(&ran.out).says(0, &["0 errors"]);
}

#[test]
fn which_product_a_descriptor_is_for_is_told_or_asked_and_never_guessed() {
    let descriptor =
        |more: &str| format!("{{\"key\": \"a\", \"baseUrl\": \"https://a.example\", \"scopes\": [\"READ\"{more}}}");
    add_text("c.json", &descriptor("]"), &[]).says(2, &["does not say which product", "--product jira"]);
    add_text("c.json", &descriptor("]"), &["--product", "confluence"]).says(0, &["confluence/a: 1 scope granted"]);
    add_text("c.json", &descriptor(", \"space_admin\"]"), &[]).says(0, &["confluence/a: 2 scopes granted"]);
    add_text("c.json", &descriptor("], \"modules\": {\"jiraProjectPages\": [], \"dynamicContentMacros\": []}"), &[])
        .says(0, &["jira/a: 1 scope granted", "confluence/a: 1 scope granted"]);
    let bitbucket = "{\"key\": \"b\", \"baseUrl\": \"https://b.example\", \"contexts\": [\"account\"], \"scopes\": [\"repository\", \"pullrequest:write\"]}";
    let ran = add_text("c.json", bitbucket, &["--tenant", "acme"]);
    ran.says(0, &["bitbucket/b: 2 scopes granted", "--kind oauth"]);
    checked(&ran.out).says(0, &["0 errors"]);
    add_text("c.json", &descriptor("]"), &["--product", "teapot"]).says(2, &["there is no catalog of `teapot`"]);
}

#[test]
fn a_file_is_written_once_and_json_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifests/assist.yaml"));
    write(folder.path(), "assist.yaml", &manifest.unwrap());
    let arguments = ["app", "add", "--from", "assist.yaml", "-o", "first.yaml", "--tenant", "T1", "--format", "json"];
    let ran = run_in(folder.path(), &arguments);
    ran.says(0, &[]);
    let json = ran.json();
    let written = std::fs::read_to_string(folder.path().join("first.yaml")).unwrap();
    assert_eq!(json["yaml"], written);
    assert_eq!(json["documents"][0]["app"], "slack/assist-halp");
    assert_eq!(json["documents"][0]["granted"]["user"].as_array().unwrap().len(), 9);
    run_in(folder.path(), &["check", "first.yaml"]).says(0, &["0 errors"]);
    std::fs::write(folder.path().join("first.yaml"), "mine").unwrap();
    run_in(folder.path(), &arguments).says(1, &["stays as it is"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("first.yaml")).unwrap(), "mine");
}

#[test]
fn hostile_manifests_are_errors_with_their_place() {
    let slack = |scopes: &str| format!("display_information: {{name: A}}\noauth_config:\n  scopes:\n{scopes}");
    let many = format!("    bot: [{}]\n", (0..1_500).map(|n| format!("s{n}")).collect::<Vec<_>>().join(", "));
    let laughs =
        (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1));
    let deep = format!("display_information: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let long = slack(&format!("    bot: ['{}']\n", "x".repeat(5_000)));
    for (text, parts) in [
        (slack("    bot: chat:write\n"), &["`bot` is a list, this is text", "m.yaml:4:10"][..]),
        (slack("    bot: [{a: b}]\n"), &["`bot` is a list of words, this is a map"]),
        (slack("    bot: [[chat:write]]\n"), &["this is a list"]),
        (slack("    - bot\n"), &["`scopes` is a map, this is a list"]),
        (slack("    bot: ['chat:write']\n    bot: ['files:read']\n"), &["the key `bot` stands twice", "m.yaml:5:5"]),
        (slack("    bot: ['']\n"), &["can be no scope"]),
        (slack("    bot: [\"chat:write\\n- {x: y}\"]\n").replace("\\n-", " \\n-"), &[]),
        (slack(&many), &["more than 1000 scopes"]),
        (long, &["can be no scope"]),
        (slack("    bot: [*nowhere]\n"), &["m.yaml:4"]),
        (format!("display_information: {{name: A}}\n{laughs}"), &["over a limit"]),
        (deep, &["m.yaml"]),
        ("- a\n".to_owned(), &["a manifest is a map, this is a list"]),
        ("a: 1\n---\nb: 2\n".to_owned(), &["holds 2 documents"]),
        (String::new(), &["holds no document"]),
        ("name: x\n".to_owned(), &["no app manifest that is known", "--kind"]),
        (
            "display_information: {name: A}\nkey: a\nbaseUrl: b\n".to_owned(),
            &["could be a Slack app manifest and a Connect"],
        ),
        ("display_information: {name: [a]}\n".to_owned(), &["`name` is text, this is a list"]),
        ("display_information: {name: A}\n<<: {a: b}\n".to_owned(), &["merge keys"]),
        ("display_information: !ruby {name: A}\n".to_owned(), &["tags"]),
    ] {
        let ran = add_text("m.yaml", &text, &[]);
        if parts.is_empty() {
            // Read, and harmless: no line of its own in the policy.
            ran.says(0, &["left out"]);
            assert!(!ran.out.contains("\n- {x"), "{}", ran.out);
            checked(&ran.out).says(0, &["0 errors"]);
        } else {
            ran.says(1, parts);
            assert_eq!(ran.out, "", "nothing is written");
        }
    }
    let huge = format!("display_information: {{name: A}}\n# {}\n", "x".repeat(2 << 20));
    add_text("m.yaml", &huge, &[]).says(1, &["no manifest is as large"]);
}

#[test]
fn what_a_manifest_calls_itself_cannot_write_a_policy() {
    let name = "A\\\"\\n---\\nversion: 1\\nguardrail: x # \\u202e\\u0007 \\ud83d\\ude00";
    let text = format!(
        "{{\"display_information\": {{\"name\": \"{name}\"}}, \"oauth_config\": {{\"scopes\": {{\"bot\": [\"chat:write\"]}}}}}}"
    );
    let ran = add_text("m.json", &text, &["--tenant", "T1: {a"]);
    ran.says(0, &[]);
    assert!(!ran.out.contains(['\u{202e}', '\u{7}']), "{}", ran.out);
    assert!(ran.out.contains("name: \"A\\\" --- version: 1 guardrail: x # 😀\""), "{}", ran.out);
    checked(&ran.out).says(0, &["0 errors", "1 app"]);
    // Nor can the name of a file.
    let odd = "a\nguardrail: x.json";
    let ran = add_text(odd, &text, &[]);
    assert!(!ran.out.contains("\nguardrail"), "{}", ran.out);
}

#[test]
fn an_install_time_that_cannot_be_is_refused() {
    add("timetracker.json", &["--tenant", "acme", "--installed-at", "2999-01-01T00:00:00Z"])
        .says(2, &["in the future"]);
    add("timetracker.json", &["--tenant", "acme", "--installed-at", "soon"]).says(2, &["is no time"]);
    add("timetracker.json", &["--installed-at", "2025-01-01"]).says(2, &["--tenant"]);
    add("timetracker.json", &["--app", "../x"]).says(2, &["is no name of an app"]);
    add("nowhere.json", &[]).says(1, &["nowhere.json"]);
}
