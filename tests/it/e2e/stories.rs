//! Two stories of `policies/`, as they are written there, before running gates: an app in chosen projects and spaces, and
//! Slack's Assist app, each scope of which is taken from one kind of token and left to the other.

use super::*;
use crate::support::command;
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

/// A sample, in which each gate key is a token of the app's own instead: `sha256(NAME)`, in their order.
fn sample(file: &str, names: &[&str]) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(file);
    let text = std::fs::read_to_string(path).expect("a sample");
    let mut names = names.iter();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((indent, credential)) = line.split_once("- {method: ") else {
            lines.push(line.to_owned());
            continue;
        };
        let name = names.next().expect("a name for each credential");
        let part = |key: &str| credential.split(key).nth(1).and_then(|rest| rest.split([',', '}']).next());
        let kind = part("kind: ").expect("a kind");
        let user = part("user: ").map_or_else(String::new, |user| format!(", user: {user}"));
        lines.push(format!("{indent}- {{method: token, sha256: sha256({name}), kind: {kind}{user}}}"));
    }
    assert_eq!(names.next(), None, "a credential for each name");
    lines.join("\n") + "\n"
}

const DIAGRAMS: [&str; 4] = ["jira-acme", "jira-eu", "pages", "exporter"];

fn issue(method: &str, key: &str, token: &str) -> Ask {
    let ask = Ask::new(method, &format!("/rest/api/3/issue/{key}")).bearer(token);
    if method == "GET" { ask } else { ask.json(r#"{"fields": {}}"#) }
}

#[test]
fn an_app_is_at_home_in_chosen_projects_of_chosen_sites_and_one_scope_is_taken_in_one_of_them() {
    let text = sample("diagrams.yaml", &DIAGRAMS);
    let acme = Setup::jira().policy("diagrams.yaml", &text).start();
    // It reads and draws in PROJ. What is not named is not there for it.
    acme.passes(&issue("GET", "PROJ-1", "jira-acme"));
    acme.passes(&issue("PUT", "PROJ-1", "jira-acme"));
    for method in ["GET", "PUT", "DELETE"] {
        acme.refuses(&issue(method, "HR-1", "jira-acme"), "container_not_granted");
    }
    // OPS is read as before, and written no more: no rule of the product's own takes one scope.
    acme.passes(&issue("GET", "OPS-1", "jira-acme"));
    let refused = acme.refuses(&issue("PUT", "OPS-1", "jira-acme"), "container_revoked");
    assert!(refused.body.contains("OPS") && refused.body.contains("it-platform@example.com"), "{}", refused.body);
    // What reaches further than what it holds is refused, whichever way it is asked.
    let search = |jql: &str| Ask::get(&format!("/rest/api/3/search/jql?jql={jql}")).bearer("jira-acme");
    acme.passes(&search("project%20%3D%20PROJ"));
    acme.refuses(&search("text%20~%20plan"), "container_not_granted");
    acme.refuses(&search("project%20in%20(PROJ,HR)"), "container_not_granted");
    let link = |outward: &str| {
        let body = format!(
            r#"{{"type": {{"name": "x"}}, "inwardIssue": {{"key": "PROJ-1"}}, "outwardIssue": {{"key": "{outward}"}}}}"#
        );
        Ask::post("/rest/api/3/issueLink").bearer("jira-acme").json(&body)
    };
    acme.passes(&link("PROJ-2"));
    acme.refuses(&link("OPS-1"), "container_revoked");
    acme.refuses(&link("HR-1"), "container_not_granted");
    // The other site has projects of its own, and installations of its own: neither opens the other.
    let eu = Setup::jira().gate("tenant", "{fixed: acme-eu}").policy("diagrams.yaml", &text).start();
    eu.passes(&issue("GET", "EURO-1", "jira-eu"));
    eu.refuses(&issue("PUT", "EURO-1", "jira-eu"), "missing_scope");
    eu.refuses(&issue("GET", "PROJ-1", "jira-eu"), "container_not_granted");
    eu.refuses(&issue("GET", "EURO-1", "jira-acme"), "unknown_tenant");
    acme.refuses(&issue("GET", "PROJ-1", "jira-eu"), "unknown_tenant");
    // Dana takes PROJ as well, by saving a file: no new token, no new install, and the rest works on.
    let close = "version: 1\napp: jira/diagrams\nrevocations: [{scopes: all, in: {project: [PROJ]}, tenants: [acme], reason: SEC-1183}]\n";
    acme.write_policy("close.yaml", close);
    wait_until("PROJ to be closed", || {
        acme.ask(&issue("GET", "PROJ-1", "jira-acme")).reason() == Some("container_revoked")
    });
    acme.refuses(&issue("PUT", "PROJ-1", "jira-acme"), "container_revoked");
    acme.refuses(&search("project%20%3D%20PROJ"), "container_revoked");
    acme.passes(&issue("GET", "OPS-1", "jira-acme"));
}

/// A site that says which space a page lies in, and what a space is called.
fn confluence() -> StubUpstream {
    StubUpstream::start(|received: &Received| {
        if received.field("user-agent") != Some("scopegate") {
            return Reply::ok("{}");
        }
        let spaces =
            [("7", "71", "ENG"), ("8", "72", "DOCS"), ("9", "73", "HR"), ("10", "74", "CRISIS"), ("11", "75", "OPEN")];
        let target = received.line().split(' ').nth(1).expect("a target").to_owned();
        let found = spaces.iter().find_map(|(page, space, key)| {
            let told = format!(r#"{{"id": "{space}", "key": "{key}"}}"#);
            match target.as_str() {
                one if one.split('?').next() == Some(&format!("/wiki/api/v2/pages/{page}")) => {
                    Some(format!(r#"{{"id": "{page}", "spaceId": "{space}"}}"#))
                }
                one if one == format!("/wiki/api/v2/spaces/{space}") => Some(told),
                one if one == format!("/wiki/api/v2/spaces?keys={key}") => Some(format!(r#"{{"results": [{told}]}}"#)),
                _ => None,
            }
        });
        found.map_or_else(|| Reply::raw("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n"), |body| Reply::ok(&body))
    })
}

fn page(method: &str, id: &str, token: &str) -> Ask {
    let ask = Ask::new(method, &format!("/wiki/api/v2/pages/{id}")).bearer(token);
    let body =
        format!(r#"{{"id": "{id}", "status": "current", "title": "t", "body": {{}}, "version": {{"number": 2}}}}"#);
    if method == "GET" { ask } else { ask.json(&body) }
}

#[test]
fn pages_are_open_by_the_space_that_they_lie_in_and_closed_spaces_are_closed_to_every_app() {
    fn is_question(received: &Received) -> bool {
        received.field("user-agent") == Some("scopegate")
    }
    let setup =
        Setup::confluence().gate("lookups", "{credential: {file: secrets/own}, per_second: 1000, max_fact_age: 1ms}");
    let setup = setup
        .file("secrets/own", "own")
        .top("state", "state")
        .policy("diagrams.yaml", &sample("diagrams.yaml", &DIAGRAMS));
    let gate = setup.before(confluence());
    gate.passes_beside_questions(&page("GET", "7", "pages"));
    gate.passes_beside_questions(&page("PUT", "7", "pages"));
    gate.passes_beside_questions(&page("GET", "8", "pages"));
    // Where a look-up found the space, the app is told only what it sent: the page is not found.
    for (method, id) in [("PUT", "8"), ("GET", "9"), ("GET", "10"), ("GET", "11"), ("PUT", "11"), ("GET", "404")] {
        gate.refuses_beside(is_question, &page(method, id, "pages"), "not_found");
    }
    // The exporter may read every space but those that are closed to all.
    gate.passes_beside_questions(&page("GET", "7", "exporter"));
    gate.passes_beside_questions(&page("GET", "11", "exporter"));
    for id in ["9", "10"] {
        gate.refuses_beside(is_question, &page("GET", id, "exporter"), "not_found");
    }
    // The log names what the app was not told.
    wait_until("the line", || gate.log.text().contains("container_revoked"));
    // An app that is written later is under it from its first request on.
    let later = product_app(
        "confluence",
        "later",
        "oauth",
        "grants: [{scopes: ['read:page:confluence'], actors: [app], in: all}]\n",
    );
    gate.write_policy("later.yaml", &later);
    wait_until("the app to be there", || gate.ask(&page("GET", "7", "later")).status == 200);
    gate.refuses_beside(is_question, &page("GET", "9", "later"), "not_found");
}

/// Each scope of Assist's table that a request shows: a call that needs it and no other, of a bot token and of a user token,
/// where the table has them.
const CALLS: [(&str, &str, bool, bool); 21] = [
    ("channels:history", "GET /api/conversations.history?channel=C0HELP", true, true),
    ("channels:join", "POST /api/conversations.join?channel=C0HELP", true, false),
    ("channels:read", "GET /api/conversations.info?channel=C0HELP", true, false),
    ("im:history", "GET /api/conversations.history?channel=D0LEE", true, true),
    ("im:read", "GET /api/conversations.info?channel=D0LEE", true, false),
    ("im:write", "POST /api/conversations.close?channel=D0LEE", true, false),
    ("mpim:history", "GET /api/conversations.history?channel=G0TEAM", true, true),
    ("mpim:read", "GET /api/conversations.info?channel=G0TEAM", true, true),
    ("mpim:write", "POST /api/conversations.close?channel=G0TEAM", true, true),
    ("groups:history", "GET /api/conversations.history?channel=G0PRIV", true, false),
    ("groups:read", "GET /api/conversations.info?channel=G0PRIV", true, false),
    ("chat:write", "POST /api/chat.postMessage?channel=C0HELP", true, true),
    ("chat:write.customize", "POST /api/chat.postMessage?channel=C0HELP&username=Dana", true, false),
    ("reactions:read", "GET /api/reactions.get?channel=C0HELP&timestamp=1", true, true),
    ("reactions:write", "POST /api/reactions.add?channel=C0HELP&name=eyes&timestamp=1", true, true),
    ("team:read", "GET /api/team.info", true, false),
    ("users:read", "GET /api/users.list", true, false),
    ("users.profile:read", "GET /api/users.profile.get?user=U0DANA", true, false),
    ("users:read.email", "GET /api/users.lookupByEmail?email=dana%40example.com", true, false),
    ("files:read", "GET /api/files.list", true, true),
    ("files:write", "POST /api/files.upload?channels=C0HELP", true, false),
];

/// A workspace that says of which type a conversation is.
fn workspace() -> StubUpstream {
    StubUpstream::start(|received: &Received| {
        let target = received.line().split(' ').nth(1).expect("a target");
        let asked = target.strip_prefix("/api/conversations.info?channel=");
        let Some(id) = asked.filter(|_| received.field("user-agent") == Some("scopegate")) else {
            return Reply::ok(r#"{"ok":true}"#);
        };
        let kind = match id {
            "D0LEE" => "is_im",
            "G0TEAM" => "is_mpim",
            "G0PRIV" => "is_private",
            _ => "is_channel",
        };
        Reply::ok(&format!(r#"{{"ok": true, "channel": {{"id": "{id}", "{kind}": true}}}}"#))
    })
}

fn call(request: &str, token: &str) -> Ask {
    let (method, target) = request.split_once(' ').expect("a method");
    Ask::new(method, target).bearer(token)
}

fn passes(gate: &Gate, request: &str, token: &str) -> bool {
    let answer = gate.ask(&call(request, token));
    (answer.status, answer.reason()) == (200, None)
}

#[test]
fn each_scope_of_assist_is_taken_from_one_kind_of_token_and_left_to_the_other() {
    let setup =
        Setup::slack().without("channel_types").gate("lookups", "{credential: {file: secrets/own}, per_second: 10000}");
    let setup = setup
        .file("secrets/own", "own")
        .top("state", "state")
        .policy("assist.yaml", &sample("slack-assist.yaml", &["bot", "dana"]));
    let gate = setup.before(workspace());
    // The table as it was asked for.
    for (scope, request, bot, user) in CALLS {
        assert_eq!(passes(&gate, request, "bot"), bot, "{scope}");
        // Under another name a user's token never posts: Slack passes that argument over.
        let is_told = scope != "chat:write.customize";
        assert_eq!(passes(&gate, request, "dana"), user || !is_told, "{scope}");
    }
    // Each cell is taken by itself, and nothing else goes with it.
    for (scope, request, bot, user) in CALLS {
        for (actor, token, held) in [("app", "bot", bot), ("user", "dana", user)] {
            if !held {
                continue;
            }
            let taken = format!(
                "version: 1\napp: slack/assist\nrevocations: [{{scopes: ['{scope}'], actors: [{actor}], in: all, reason: SEC-1}}]\n"
            );
            gate.write_policy("taken.yaml", &taken);
            wait_until(scope, || !passes(&gate, request, token));
            // Told apart from those before it, of which one may have been under way when the scope was taken.
            let mark = format!("{scope} of {actor}");
            let refused = gate.ask(&call(request, token).with("x-mark", &mark));
            match refused.reason() {
                Some("scope_revoked") => {
                    assert!(refused.body.contains("missing_scope") && refused.body.contains(scope), "{}", refused.body)
                }
                // Where a look-up told the type, a channel that is closed and one that is not there look alike.
                Some("not_found") => {
                    assert!(request.contains("/api/conversations."), "{scope} of {actor}: {}", refused.body)
                }
                other => panic!("{scope} of {actor}: {other:?} {}", refused.body),
            }
            let saw_it = gate.upstream.requests().iter().any(|one| one.field("x-mark") == Some(&mark));
            assert!(!saw_it, "{scope} of {actor}: the upstream saw it");
            for (other, request, bot, user) in CALLS {
                for (kind, held) in [("bot", bot), ("dana", user)] {
                    // A message under another name is a message: it goes with `chat:write`.
                    let goes_with = other == scope || (scope, other) == ("chat:write", "chat:write.customize");
                    if held && !(goes_with && kind == token) {
                        assert!(passes(&gate, request, kind), "{other} of {kind} went with {scope} of {actor}");
                    }
                }
            }
            std::fs::remove_file(gate.path("policies/taken.yaml")).expect("it was there");
            wait_until(scope, || passes(&gate, request, token));
        }
    }
    // What the app cannot work without is not taken by mistake.
    let revoke = [
        "revoke",
        "--app",
        "slack/assist",
        "--tenant",
        "T024BE7LD",
        "--scope",
        "users:read",
        "--reason",
        "SEC-2",
        "--dry-run",
    ];
    command::says(command::run(&gate, &revoke), 1, &["--even-required"]);
    // And for every scope somebody can see what it is for, also where no request shows it.
    command::says(command::run(&gate, &["apps"]), 0, &["commands rules events", "identity.basic rules signing in"]);
}
