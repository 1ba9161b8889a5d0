//! The Assist app for Slack: the table of its scopes, and what every method of Slack's comes to under it.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// The table of the Assist app: each scope, and whether it is asked for with a bot token and with a user token.
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

const KINDS: [&str; 2] = ["bot", "user"];
const GUARDS: [&str; 3] = ["gate:deliver", "gate:mint", "gate:admit"];
/// Conversations, and the types that each may be of under `channel_types: prefix`.
const CONVERSATIONS: [(&str, &[&str]); 3] =
    [("C0HELP", &["public"]), ("G0TEAM", &["private", "mpim"]), ("D0LEE", &["im"])];
/// Methods whose argument `types` tells the types; without it, public channels.
const LISTS: [&str; 2] = ["conversations.list", "users.conversations"];
const TYPES: [(&str, &str); 4] =
    [("public_channel", "public"), ("private_channel", "private"), ("im", "im"), ("mpim", "mpim")];

/// Methods that the table grants, if at all, for a type that no request tells by itself: a group message and a private
/// channel look alike until something is looked up, and `conversations.create` makes neither kind of message.
const UNTOLD: [(&str, &str); 13] = [
    ("bot", "conversations.create"),
    ("user", "conversations.archive"),
    ("user", "conversations.close"),
    ("user", "conversations.create"),
    ("user", "conversations.info"),
    ("user", "conversations.invite"),
    ("user", "conversations.leave"),
    ("user", "conversations.mark"),
    ("user", "conversations.members"),
    ("user", "conversations.rename"),
    ("user", "conversations.setPurpose"),
    ("user", "conversations.setTopic"),
    ("user", "conversations.unarchive"),
];

/// Methods that the table grants and a guard keeps, for the vendor's scope is too coarse, or there is none: they hand out
/// tokens or URLs that work for whoever holds them, say who may reach what, or take the app away.
const GUARDED: [&str; 12] = [
    "apps.auth.external.get",
    "apps.uninstall",
    "conversations.invite",
    "conversations.join",
    "files.getUploadURLExternal",
    "files.revokePublicURL",
    "oauth.access",
    "oauth.v2.access",
    "oauth.v2.exchange",
    "oauth.v2.user.access",
    "openid.connect.token",
    "tooling.tokens.rotate",
];

/// Example digests.
const BOT: &str = "0857b56eea11e837fda7fd270aace738df72e762568bc20b3299b4a7aeff3f63";
const DANA: &str = "3afd28c06a9f4595f20d89a8f73fd40336562b6e4a9e0eaab983f7890c00717e";

/// A scope line of a method, as the catalog says it. `when`: empty where it counts for every type.
struct Line {
    scopes: Vec<String>,
    when: Vec<String>,
}

/// A request, and what the table says of it.
struct Form {
    kind: &'static str,
    method: String,
    request: String,
    /// The table holds what it needs, guards aside.
    granted: bool,
    guarded: bool,
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn lines(needs: &Value, kind: &str) -> Vec<Line> {
    match needs {
        Value::String(_) => Vec::new(),
        needs if needs.get("none").is_some() => vec![Line { scopes: Vec::new(), when: Vec::new() }],
        needs => needs[kind]
            .as_array()
            .into_iter()
            .flatten()
            .map(|line| match line {
                Value::Object(line) => Line { scopes: words(&line["scopes"]), when: words(&line["when"]) },
                line => Line { scopes: words(line), when: Vec::new() },
            })
            .collect(),
    }
}

fn held(kind: &str) -> BTreeSet<&'static str> {
    ASSIST.iter().filter(|(_, bot, user)| if kind == "bot" { *bot } else { *user }).map(|(scope, ..)| *scope).collect()
}

impl Line {
    fn is_held(&self, kind: &str) -> bool {
        self.scopes.iter().all(|scope| held(kind).contains(&**scope))
    }
}

/// Whether a held line speaks for each type that the request may be about. `told`: `None`, the request tells none.
fn granted(lines: &[Line], kind: &str, told: Option<&[&str]>) -> bool {
    let spoken: BTreeSet<&str> = lines.iter().flat_map(|line| &line.when).map(String::as_str).collect();
    let held = |of: &dyn Fn(&Line) -> bool| lines.iter().any(|line| of(line) && line.is_held(kind));
    if spoken.is_empty() {
        return held(&|_| true);
    }
    let told: BTreeSet<&str> = told.map_or_else(|| spoken.clone(), |told| told.iter().copied().collect());
    let meant: BTreeSet<&str> = told.intersection(&spoken).copied().collect();
    let meant = if meant.is_empty() { told } else { meant };
    meant.iter().all(|of| held(&|line| line.when.is_empty() || line.when.iter().any(|when| when == of)))
}

/// The requests of a method: one for each conversation that it may be about.
fn forms(operation: &Value, kind: &'static str) -> Vec<Form> {
    let method = operation["id"].as_str().unwrap();
    let lines = lines(&operation["needs"], kind);
    let form = |arguments: String, told: Option<&[&str]>| Form {
        kind,
        method: method.to_owned(),
        request: format!(
            "POST /api/{method}{}",
            if arguments.is_empty() { String::new() } else { format!("?{arguments}") }
        ),
        granted: granted(&lines, kind, told),
        guarded: !operation["guards"].as_array().unwrap().is_empty(),
    };
    if LISTS.contains(&method) {
        let asked = TYPES.iter().map(|(word, of)| form(format!("types={word}"), Some(&[of])));
        return asked.chain([form(String::new(), Some(&["public"]))]).collect();
    }
    if method == "conversations.create" {
        return vec![
            form("is_private=false".into(), Some(&["public"])),
            form("is_private=true".into(), Some(&["private"])),
        ];
    }
    let places = operation["touches"]["places"].as_array().cloned().unwrap_or_default();
    let conversations: Vec<&Value> = places.iter().filter(|place| place["as"] == "conversation").collect();
    let due: Vec<&Value> = places.iter().filter(|place| place["absent"] == "deny").collect();
    if conversations.is_empty() {
        // What lies in conversations and names none: where everything is granted nobody has to ask which.
        let arguments = due.iter().map(|place| {
            assert_eq!(place["lookup"], "file", "{method}: no conversation, but a place");
            format!("{}=F0FILE01", place["argument"].as_str().unwrap())
        });
        return vec![form(arguments.collect::<Vec<_>>().join("&"), None)];
    }
    let named = if due.is_empty() { &conversations[..1] } else { &due[..] };
    let about = |(id, types): (&str, &'static [&'static str])| {
        let arguments = named.iter().map(|place| format!("{}={id}", place["argument"].as_str().unwrap()));
        form(arguments.collect::<Vec<_>>().join("&"), Some(types))
    };
    let mut forms: Vec<Form> = CONVERSATIONS.into_iter().map(about).collect();
    if method == "conversations.open" {
        forms.push(form("users=U0LEE".into(), None));
    }
    forms
}

/// What each request comes to under a policy that gives each kind of token its column, and these guards.
fn judged(forms: &[Form], guards: &[&str]) -> Vec<String> {
    let grant = |kind: &str, actor: &str| {
        let scopes: Vec<&str> = held(kind).into_iter().chain(guards.iter().copied()).collect();
        json!({"for": "its column", "scopes": scopes, "actors": [actor], "in": "all"})
    };
    let policy = json!({
        "version": 1, "app": "slack/assist", "name": "Assist", "contact": "it-platform@example.com",
        "installations": [{"tenant": "T024BE7LD", "credentials": [
            {"method": "gate_key", "kind": "bot", "sha256": BOT, "upstream": {"file": "/run/bot"}},
            {"method": "gate_key", "kind": "user", "user": "U0DANA", "sha256": DANA, "upstream": {"file": "/run/user"}},
        ]}],
        "grants": [grant("bot", "app"), grant("user", "user")],
    });
    let case = |form: &Form| {
        json!({
            "name": format!("{} {}", form.kind, form.request), "app": "slack/assist", "tenant": "T024BE7LD",
            "kind": form.kind, "request": form.request, "expect": "permit",
        })
    };
    let suite = json!({
        "version": 1, "now": "2026-01-01T00:00:00Z", "policies": "policies",
        "gate": {"product": "slack", "channel_types": "prefix"}, "cases": forms.iter().map(case).collect::<Vec<_>>(),
    });
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    write(folder.path(), "policies/assist.yaml", &policy.to_string());
    write(folder.path(), "methods.yaml", &suite.to_string());
    let told = run_in(folder.path(), &["test", "methods.yaml", "--format", "json"]).json();
    let cases = told["files"][0]["cases"].as_array().unwrap_or_else(|| panic!("{told}"));
    assert_eq!(cases.len(), forms.len(), "{}", told["files"][0]["problems"]);
    cases.iter().map(|case| case["got"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn assist_loses_no_method_that_its_table_grants_and_wins_none() {
    let slack = run(&["catalog", "show", "slack", "--format", "json"]).json();
    let operations = slack["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 322);
    let forms: Vec<Form> = operations
        .iter()
        .flat_map(|operation| KINDS.into_iter().flat_map(move |kind| forms(operation, kind)))
        .collect();
    let plain = judged(&forms, &[]);
    let with_guards = judged(&forms, &GUARDS);
    for (form, (plain, with_guards)) in forms.iter().zip(plain.iter().zip(&with_guards)) {
        let told = format!("{} {}", form.kind, form.request);
        // What the vendor's scopes do not part, the gate does: a guard is no row of the table.
        assert_eq!(plain == "permit", form.granted && !form.guarded, "{told}: {plain}");
        assert_eq!(with_guards == "permit", form.granted, "{told}: {with_guards}");
        assert!(with_guards == "permit" || with_guards.starts_with("deny "), "{told}: {with_guards}");
    }

    let methods = |of: &dyn Fn(&Form) -> bool| -> BTreeSet<(&str, &str)> {
        forms.iter().filter(|form| of(form)).map(|form| (form.kind, &*form.method)).collect()
    };
    let passing = methods(&|form| form.granted);
    let count = |kind: &str| passing.iter().filter(|(of, _)| *of == kind).count();
    assert_eq!(KINDS.map(count), [78, 46]);
    let guarded: BTreeSet<&str> =
        methods(&|form| form.granted && form.guarded).iter().map(|(_, method)| *method).collect();
    assert_eq!(guarded, BTreeSet::from(GUARDED));
    let any_line = |form: &Form| {
        let operation = operations.iter().find(|operation| operation["id"] == *form.method).unwrap();
        lines(&operation["needs"], form.kind).iter().any(|line| line.is_held(form.kind))
    };
    let untold: BTreeSet<(&str, &str)> = methods(&any_line).difference(&passing).copied().collect();
    assert_eq!(untold, BTreeSet::from(UNTOLD));
}

#[test]
fn a_conversation_with_people_is_opened_by_the_scopes_of_both_types_and_no_channels() {
    let slack = run(&["catalog", "show", "slack", "--format", "json"]).json();
    let open = slack["operations"].as_array().unwrap().iter().find(|operation| operation["id"] == "conversations.open");
    let by_users = |kind| forms(open.unwrap(), kind).into_iter().find(|form| form.request.contains("users="));
    let (bot, user) = (by_users("bot").unwrap(), by_users("user").unwrap());
    // A user token holds `mpim:write` alone, and one user may be meant.
    assert_eq!(judged(&[bot, user], &[]), ["permit", "deny actor_not_allowed"]);
}
