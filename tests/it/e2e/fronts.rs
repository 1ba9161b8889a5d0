//! What a proxy before the gate says of callers: believed where it stands, and from nobody else.

use super::*;

const ISSUE: &str = "/rest/api/3/issue/PROJ-1";

/// The app `jira/assist`, as a proxy calls it, whatever follows; and `jira/other`.
fn policy(more: &str) -> String {
    let app = |name: &str, client: &str, more: &str| {
        format!(
            "version: 1\napp: jira/{name}\nname: {name}\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
             credentials:\n      - {{method: trusted_header, kind: oauth, client: {client}{more}}}\n      \
             - {{method: token, kind: oauth, sha256: sha256({name}-own)}}\ngrants:\n  \
             - {{scopes: [read:jira-work], actors: [user], users: {{ids: [dana], groups: [agents]}}, in: all}}\n  \
             - {{scopes: [read:jira-work], actors: [app], in: {{project: [OPEN]}}}}\n"
        )
    };
    let group = "version: 1\ngroup: agents\ntenant: acme\nclaim: mesh-agents\n";
    format!("{}---\n{}---\n{group}", app("assist", "team-assist", more), app("other", "team-other", ""))
}

fn setup(from: &str, more: &str) -> Setup {
    let method = format!("[token, {{trusted_header: {{from: [{from}], app: x-app, user: x-user, groups: x-groups}}}}]");
    Setup::jira().gate("identify", &method).policy("a.yaml", &policy(more)).file("secrets/real", "real-token")
}

fn ask(app: &str, user: &str) -> Ask {
    Ask::get(ISSUE).with("X-App", app).with("X-User", user)
}

#[test]
fn a_proxy_that_is_believed_says_who_calls_and_nothing_of_it_goes_upstream() {
    let gate = setup("10.0.0.0/8, 127.0.0.1", ", upstream: {file: secrets/real}").start();
    let seen = gate.passes(&ask("team-assist", "dana"));
    assert_eq!(seen.field("authorization"), Some("Bearer real-token"));
    let line = gate.log.line(1);
    assert_eq!((&line["app"], &line["user"], &line["actor"]), (&"jira/assist".into(), &"dana".into(), &"user".into()));
    let seen = gate.passes(&ask("team-assist", "lee").with("x-groups", "others, mesh-agents"));
    assert!(!seen.names().iter().any(|name| name.starts_with("x-app") || name.starts_with("x-user")), "{}", seen.head);
    assert_eq!(seen.field("x-groups"), None);
    gate.passes(&Ask::get("/rest/api/3/issue/OPEN-1").with("x-app", "team-assist").with("x-user", "team-assist"));
    for (asked, reason) in [
        (ask("team-assist", "lee"), "user_not_allowed"),
        (ask("team-assist", "lee").with("x-groups", "others"), "user_not_allowed"),
        (ask("team-assist", "team-assist"), "container_not_granted"),
        // Nobody says whether there is a user.
        (Ask::get(ISSUE).with("x-app", "team-assist"), "actor_not_allowed"),
        (ask("team-unknown", "dana"), "unknown_app"),
        (Ask::get(ISSUE).with("x-user", "dana"), "unidentified"),
        (ask("team-assist", "dana").with("x_user", "root"), "bad_request"),
        (ask("team-assist", "dana").with("X.App", "team-other"), "bad_request"),
        (ask("team-assist", "dana").with("x-user", "root"), "bad_request"),
        (ask("team-assist", "dana").with("connection", "x-user"), "bad_request"),
        (Ask::get(ISSUE), "unidentified"),
    ] {
        let answer = gate.refuses(&asked, reason);
        assert!(!answer.body.contains("real-token"));
    }
}

#[test]
fn without_a_credential_of_the_gates_own_the_request_goes_on_without_any() {
    let gate = setup("127.0.0.1", "")
        .gate("bypass", "credential")
        .gate("identify", "[{trusted_header: {from: [127.0.0.1], app: x-app, user: x-user}}]")
        .start();
    assert_eq!(gate.passes(&ask("team-assist", "dana")).field("authorization"), None);
}

#[test]
fn from_everybody_else_they_are_stripped_in_every_spelling_and_say_nothing() {
    let gate = setup("10.0.0.0/8", "").start();
    gate.refuses(&ask("team-assist", "dana"), "unidentified");
    gate.refuses(&ask("team-assist", "dana").with("x-forwarded-for", "10.0.0.1"), "unidentified");
    let spelled = ["X-App", "x_app", "X.App", "x-user", "X_USER", "x.groups"];
    let own = spelled
        .iter()
        .fold(Ask::get("/rest/api/3/issue/OPEN-1").bearer("assist-own"), |ask, name| ask.with(name, "team-other"));
    let seen = gate.passes(&own);
    let left: Vec<String> = seen
        .names()
        .into_iter()
        .filter(|name| {
            name.starts_with("x-app") || name.starts_with("x_") || name.starts_with("x.") || name.starts_with("x-user")
        })
        .collect();
    assert_eq!(left, Vec::<String>::new(), "{}", seen.head);
}

#[test]
fn it_adds_to_a_credential_and_takes_the_place_of_none() {
    let gate = setup("127.0.0.1", ", upstream: {file: secrets/real}").start();
    let open = |app: &str, token: &str| {
        Ask::get("/rest/api/3/issue/OPEN-1").with("x-app", app).with("x-user", "dana").bearer(token)
    };
    // The credential that goes upstream says who calls: the app, and no user.
    let seen = gate.passes(&open("team-assist", "assist-own"));
    assert_eq!(seen.field("authorization"), Some("Bearer assist-own"));
    assert_eq!(gate.log.line(1)["actor"], "app");
    gate.refuses(&open("team-assist", "other-own"), "unidentified");
    gate.refuses(&open("team-unknown", "assist-own"), "unknown_app");
    gate.refuses(&open("team-assist", "of-nobody"), "unknown_app");
}
