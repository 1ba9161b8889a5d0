//! `scopegate diff`: what widens is found however it is written, and what is only written elsewhere is not called wider.

use super::*;

const HEAD: &str = r#"version: 1
app: tracker/a
name: A
contact: it@example.com
installations:
  - tenant: acme
    installed_at: 2025-06-02T09:00:00Z
    credentials:
      - {method: gate_key, sha256: "0000000000000000000000000000000000000000000000000000000000000001", kind: oauth, user: dana, upstream: {file: /run/secrets/a}}
"#;
const READS: &str = "grants:\n  - {for: reading, scopes: [READ, 'read:work'], actors: [app], in: all}\n";
const OTHERS: &str = "---\nversion: 1\nset: sensitive\ntenant: acme\nproject: [HR, SEC]\n---\nversion: 1\ngroup: agents\ntenant: acme\nusers: [dana]\n";
const GUARDRAIL: &str = "---\nversion: 1\nguardrail: g\napps: {product: tracker}\ntenants: all\nrevocations:\n  - {scopes: ['manage:config'], in: all, reason: r}\n  - {scopes: all, in: {project: ['set:sensitive']}, reason: r}\n";

/// Compares two policies given as texts of one file each.
fn diff(old: &str, new: &str) -> Ran {
    let folder = tracker();
    let text = |policy: &str| format!("{policy}{}", if policy.contains("set: sensitive") { "" } else { OTHERS });
    write(folder.path(), "old.yaml", &text(old));
    write(folder.path(), "new.yaml", &text(new));
    let at = ["--config", "scopegate.yaml", "--at", "2025-07-01T00:00:00Z", "--format", "json"];
    run_in(folder.path(), &[&["diff", "old.yaml", "new.yaml"], &at[..]].concat())
}

#[track_caller]
fn widens(old: &str, new: &str, says: &str) {
    let ran = diff(old, new);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!(told["widens"], true, "{told}");
    assert!(told["widening"].to_string().contains(says), "`{says}` is not in {told}");
    // The way back takes, and gives nothing.
    let back = diff(new, old);
    assert_eq!(back.code, 0, "{}{}", back.out, back.err);
    assert_ne!(back.json()["narrowing"], serde_json::json!([]));
}

#[track_caller]
fn is_the_same(old: &str, new: &str) {
    let ran = diff(old, new);
    let nothing = serde_json::json!({"widens": false, "widening": [], "narrowing": []});
    assert_eq!((ran.code, ran.json()), (0, nothing), "{}", ran.err);
}

fn app(rest: &str) -> String {
    format!("{HEAD}{READS}{rest}")
}

fn granting(rules: &str) -> String {
    format!("{HEAD}grants:\n{rules}")
}

#[test]
fn a_cell_that_is_gained_widens() {
    let more = app("  - {scopes: ['write:work'], actors: [app], in: {project: [PROJ]}}\n");
    widens(&app(""), &more, "tracker/a in acme gains write:work in project PROJ, as app");
}

/// `chat:write.customize` is in no line of `chat.postMessage`: its arguments ask for it.
#[test]
fn a_scope_that_only_arguments_ask_for_is_one_of_its_operation() {
    let folder = tempfile::tempdir().unwrap();
    let config = "version: 1\npolicies: policies\ngates:\n  - {name: slack, listen: '127.0.0.1:0', product: slack, \
                  identify: [gate_key], upstream: 'https://slack.com', bypass: credential, tenant: {fixed: T1}}\n";
    write(folder.path(), "scopegate.yaml", config);
    let key = format!("{:064}", 1);
    let app = format!(
        "version: 1\napp: slack/a\nname: A\ncontact: it@example.com\ninstallations:\n  - tenant: T1\n    credentials:\n      \
         - {{method: gate_key, sha256: '{key}', kind: bot, upstream: {{file: /run/secrets/a}}}}\n\
         grants: [{{scopes: all, actors: [app], in: all}}]\n"
    );
    let taken =
        "revocations: [{scopes: ['chat:write.customize'], operations: [chat.postMessage], in: all, reason: r}]\n";
    write(folder.path(), "old.yaml", &format!("{app}{taken}"));
    write(folder.path(), "new.yaml", &app);
    let ran = run_in(folder.path(), &["diff", "old.yaml", "new.yaml", "--config", "scopegate.yaml"]);
    ran.says(1, &["chat:write.customize", "chat.postMessage"]);
}

#[test]
fn each_term_of_a_grant_that_is_loosened_widens() {
    let rule = |terms: &str| granting(&format!("  - {{scopes: [READ], {terms}}}\n"));
    let tight = "actors: [user], users: {ids: [dana]}, in: {project: [PROJ]}, valid: {from: 2025-08-01T00:00:00Z, until: 2025-09-01T00:00:00Z}";
    for (from, to) in [
        ("actors: [user]", "actors: [app, user]"),
        (", users: {ids: [dana]}", ""),
        ("ids: [dana]", "ids: [dana, lee]"),
        ("in: {project: [PROJ]}", "in: all"),
        ("[PROJ]", "[PROJ, OTHER]"),
        ("from: 2025-08-01", "from: 2025-07-15"),
        ("until: 2025-09-01", "until: 2025-09-02"),
        ("from: 2025-08-01T00:00:00Z, until: 2025-09-01T00:00:00Z", "from: 2025-08-01T00:00:00Z"),
    ] {
        widens(&rule(tight), &rule(&tight.replace(from, to)), "gains READ");
    }
    let after = |hours: &str| rule(&format!("actors: [app], in: all, valid: {{after_install: {hours}}}"));
    widens(&after("24h"), &after("48h"), "for 48 h after the install");
    widens(&after("24h"), &rule("actors: [app], in: all"), "gains READ");
}

#[test]
fn a_limit_to_operations_that_goes_or_grows_widens() {
    let rule =
        |operations: &str| granting(&format!("  - {{scopes: ['read:work'], {operations}actors: [app], in: all}}\n"));
    widens(&rule("operations: [getIssue], "), &rule(""), "gains");
    widens(&rule("operations: [getIssue], "), &rule("operations: [getIssue, search], "), "search");
}

#[test]
fn a_revocation_that_goes_or_takes_less_widens() {
    let taking = |rule: &str| app(&format!("revocations:\n  - {{{rule}, reason: r}}\n"));
    let tight = "scopes: [READ, 'read:work'], in: {project: [SEC, HR]}";
    widens(&taking(tight), &app(""), "is no longer kept from");
    for (from, to) in [
        ("[READ, 'read:work']", "[READ]"),
        ("[SEC, HR]", "[SEC]"),
        ("in: {", "actors: [app], in: {"),
        ("in: {", "users: {ids: [dana]}, in: {"),
        ("in: {", "operations: [getIssue], in: {"),
        ("in: {", "valid: {until: 2025-08-01T00:00:00Z}, in: {"),
        ("in: {", "valid: {from: 2025-08-01T00:00:00Z}, in: {"),
        ("in: {", "valid: {after_install: 24h}, in: {"),
        ("in: {", "unless: install_window, in: {"),
        ("in: {", "mode: shadow, in: {"),
    ] {
        widens(&taking(tight), &taking(&tight.replace(from, to)), "is no longer kept from");
    }
    widens(&taking("scopes: all, in: all"), &taking("scopes: all, in: {project: [SEC]}"), "everything everywhere");
}

#[test]
fn a_guardrail_that_goes_excepts_or_takes_less_widens() {
    let with = |guardrail: &str| format!("{}{OTHERS}{guardrail}", app(""));
    widens(&with(GUARDRAIL), &with(""), "guardrail g in acme no longer takes");
    for (from, to, says) in [
        ("{product: tracker}", "{product: tracker, except: [tracker/a]}", "from tracker/a"),
        ("tenants: all", "tenants: [acme-eu]", "no longer takes"),
        ("  - {scopes: ['manage:config'], in: all, reason: r}\n", "", "manage:config"),
        ("in: all, reason", "in: all, unless: install_window, reason", "manage:config"),
        ("tenants: all", "tenants: all\nmode: shadow", "no longer takes"),
    ] {
        widens(&with(GUARDRAIL), &with(&GUARDRAIL.replacen(from, to, 1)), says);
    }
    // A list of all the apps there are reaches none that comes later.
    widens(&with(GUARDRAIL), &with(&GUARDRAIL.replace("{product: tracker}", "[tracker/a]")), "all apps of tracker");
}

#[test]
fn a_set_that_shrinks_under_a_revocation_widens_and_one_that_grows_under_a_grant() {
    let with = |set: &str| format!("{}{}{GUARDRAIL}", app(""), OTHERS.replace("[HR, SEC]", set));
    widens(&with("[HR, SEC]"), &with("[HR]"), "project SEC");
    let granted = |set: &str| {
        let rules = granting("  - {scopes: [READ], actors: [app], in: {project: ['set:sensitive']}}\n");
        format!("{rules}{}", OTHERS.replace("[HR, SEC]", set))
    };
    widens(&granted("[HR]"), &granted("[HR, SEC]"), "gains READ in project SEC");
}

#[test]
fn a_group_that_grows_under_a_grant_widens_and_one_that_shrinks_under_a_revocation() {
    let others = |users: &str| OTHERS.replace("[dana]", users);
    let granted = |users: &str| {
        let rules = granting("  - {scopes: [READ], actors: [user], users: {groups: [agents]}, in: all}\n");
        format!("{rules}{}", others(users))
    };
    widens(&granted("[dana]"), &granted("[dana, lee]"), "for dana, lee");
    let taken = |users: &str| {
        let rule =
            "revocations:\n  - {scopes: [READ], actors: [user], users: {groups: [agents]}, in: all, reason: r}\n";
        format!("{}{}", app(rule), others(users))
    };
    widens(&taken("[dana, lee]"), &taken("[dana]"), "is no longer kept from");
}

#[test]
fn what_is_said_of_an_installation_widens_too() {
    let with = |from: &str, to: &str| app("").replace(from, to);
    let line = "    installed_at: 2025-06-02T09:00:00Z\n";
    let observed = format!("{line}    observe: {{until: 2025-07-20T00:00:00Z}}\n");
    widens(&app(""), &with(line, &observed), "is under observe until 2025-07-20");
    widens(
        &with(line, &observed),
        &with(line, &observed.replace("07-20", "07-25")),
        "is under observe until 2025-07-25",
    );
    let recent = "    installed_at: 2025-06-30T09:00:00Z\n";
    widens(
        &with(line, &format!("{recent}    install_window: 24h\n")),
        &with(line, &format!("{recent}    install_window: 48h\n")),
        "has its install window open",
    );
    let other = r#"      - {method: gate_key, sha256: "0000000000000000000000000000000000000000000000000000000000000002", kind: oauth, upstream: {file: /run/secrets/b}}"#;
    widens(
        &app(""),
        &with("grants:", &format!("{other}\ngrants:")),
        "is called by one more credential: oauth by gate_key",
    );
    let twice = with("grants:", "  - {tenant: acme-eu}\ngrants:").replace("in: all}", "in: all, tenants: all}");
    widens(&app(""), &twice, "in acme-eu gains");
}

/// Not a loosening by itself, and still another caller: law 2 speaks of both.
#[test]
fn a_credential_that_becomes_another_caller_widens_both_ways() {
    for (from, to) in
        [("user: dana", "user: lee"), ("/run/secrets/a", "/run/secrets/admin"), ("kind: oauth", "kind: connect")]
    {
        let ran = diff(&app(""), &app("").replace(from, to));
        ran.says(1, &["is called by one more credential"]);
    }
}

#[test]
fn what_is_only_written_differently_is_the_same() {
    let one = "  - {for: one, scopes: [READ], actors: [app], in: {project: [AA, BB]}, tenants: [acme]}\n";
    let two = "  - {for: two, scopes: ['read:work'], actors: [app, user], in: all, tenants: [acme]}\n";
    let both = granting(&format!("{one}{two}"));
    is_the_same(&both, &granting(&format!("{two}{one}")));
    is_the_same(&both, &both.replace("for: one, ", "for: 'something else', required: true, "));
    let apart = format!("{}---\nversion: 1\napp: tracker/a\ngrants:\n{two}", granting(one));
    is_the_same(&both, &apart);
    let split = "  - {scopes: [READ], actors: [app], in: {project: [BB]}}\n  - {scopes: [READ], actors: [app], in: {project: [AA]}}\n";
    is_the_same(&both, &granting(&format!("{split}{two}")));
    let users =
        |list: &str| granting(&format!("  - {{scopes: [READ], actors: [user], users: {{ids: [{list}]}}, in: all}}\n"));
    let by_user = "  - {scopes: [READ], actors: [user], users: {ids: [dana]}, in: all}\n  - {scopes: [READ], actors: [user], users: {ids: [lee]}, in: all}\n";
    is_the_same(&granting(by_user), &users("lee, dana"));
    let named = format!("{}---\nversion: 1\nnames: tracker\ntenant: acme\nentries: {{PROJ: The project}}\n", app(""));
    is_the_same(&app(""), &named);
}

#[test]
fn a_revocation_that_moves_to_a_guardrail_or_from_a_set_to_a_list_frees_nothing() {
    let own = app(
        "revocations:\n  - {scopes: ['manage:config'], in: all, reason: r}\n  - {scopes: all, in: {project: [HR, SEC]}, reason: r}\n",
    );
    let over = format!("{}{OTHERS}{GUARDRAIL}", app(""));
    let ran = diff(&format!("{own}{OTHERS}"), &over);
    assert_eq!((ran.code, &ran.json()["widens"]), (0, &serde_json::json!(false)), "{}", ran.out);
    diff(&over, &format!("{own}{OTHERS}")).says(1, &["all apps of tracker"]);
}

#[test]
fn what_has_ended_counts_as_gone_on_both_sides() {
    let ended = "valid: {until: 2025-06-30T00:00:00Z}";
    is_the_same(&app(""), &app(&format!("  - {{scopes: [WRITE], actors: [app], in: all, {ended}}}\n")));
    let revoked = format!("revocations:\n  - {{scopes: [READ], in: all, {ended}, reason: r}}\n");
    is_the_same(&app(&revoked), &app(""));
}

#[test]
fn a_folder_that_is_broken_or_not_there_is_not_called_safe() {
    diff(&app(""), "version: 1\napp: tracker/a\n").says(1, &["problems"]);
    let folder = tracker();
    run_in(folder.path(), &["diff", "nowhere", "policies", "--config", "scopegate.yaml"])
        .says(2, &["nothing at nowhere"]);
    run_in(folder.path(), &["diff", "policies"]).says(2, &["<NEW>"]);
}

#[test]
fn a_pull_request_gets_it_as_markdown() {
    let folder = tracker();
    write(folder.path(), "old/a.yaml", &app(""));
    write(folder.path(), "new/a.yaml", &app("  - {scopes: ['write:work'], actors: [app], in: all}\n"));
    let ran = run_in(folder.path(), &["diff", "old", "new", "--config", "scopegate.yaml", "--format", "markdown"]);
    ran.says(
        1,
        &[
            "### scopegate: 1 change widens",
            "**Widens**",
            "- `tracker/a in acme gains",
            "write:work everywhere, as app`",
        ],
    );
    assert!(!ran.out.contains("Narrows"), "{}", ran.out);
}
