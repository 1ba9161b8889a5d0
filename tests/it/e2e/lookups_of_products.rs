//! Look-ups by the catalogs of the products themselves: what was moved or renamed, and with which credential is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::support::client::Answer;
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

/// What the product says to the gate's own questions, by target: status and body. To others it says 404.
type Site = Arc<Mutex<BTreeMap<String, (&'static str, String)>>>;

fn site(answers: &[(&str, &str)]) -> Site {
    let site = Site::default();
    answers.iter().for_each(|(target, body)| say(&site, target, body));
    site
}

fn say(site: &Site, target: &str, body: &str) {
    say_with(site, target, "200 OK", body);
}

fn say_with(site: &Site, target: &str, status: &'static str, body: &str) {
    site.lock().expect("the site").insert(target.to_owned(), (status, body.to_owned()));
}

fn is_question(received: &Received) -> bool {
    received.field("user-agent") == Some("scopegate")
}

fn upstream(site: &Site) -> StubUpstream {
    let site = Arc::clone(site);
    StubUpstream::start(move |received| {
        if !is_question(received) {
            return Reply::ok("ok");
        }
        let target = received.line().split(' ').nth(1).expect("a target").to_owned();
        let (status, body) =
            site.lock().expect("the site").get(&target).cloned().unwrap_or(("404 Not Found", "{}".into()));
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply::raw(&format!("{head}{body}"))
    })
}

/// What came upstream but the gate's questions.
fn passed_on(gate: &Gate) -> usize {
    gate.upstream.requests().iter().filter(|one| !is_question(one)).count()
}

#[track_caller]
fn passes(gate: &Gate, ask: &Ask) {
    gate.passes_beside_questions(ask);
}

#[track_caller]
fn refuses(gate: &Gate, ask: &Ask, reason: &str) -> Answer {
    gate.refuses_beside(is_question, ask, reason)
}

/// Refused, whether the app named it or a look-up found it.
#[track_caller]
fn is_closed(gate: &Gate, ask: &Ask) {
    let before = passed_on(gate);
    let answer = gate.ask(ask);
    assert!(matches!(answer.reason(), Some("not_found" | "container_revoked")), "{}\n{}", answer.head, answer.body);
    assert_eq!(passed_on(gate), before, "the upstream saw it");
}

/// A gate that asks with a credential of the tenant's own for names in policies, and forgets at once.
fn forgetful(setup: Setup) -> Setup {
    let lookups = "{credential: {file: secrets/own}, per_second: 1000, max_fact_age: 1ms}";
    setup
        .without("issue_keys")
        .without("names")
        .gate("lookups", lookups)
        .file("secrets/own", "own")
        .top("state", "state")
}

const JIRA: &str = "grants: [{scopes: ['read:jira-work', 'write:jira-work'], actors: [app, user], in: all}]\n";

fn jira_revoked(project: &str) -> String {
    format!("{JIRA}revocations: [{{scopes: ['read:jira-work'], in: {{project: ['{project}']}}, reason: SEC-1}}]\n")
}

fn jira(site: &Site, rules: &str) -> Gate {
    forgetful(Setup::jira()).policy("tracker.yaml", &jira_app("tracker", "oauth", rules)).before(upstream(site))
}

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("tracker")
}

fn issue(name: &str) -> Ask {
    get(&format!("/rest/api/3/issue/{name}"))
}

fn say_issue(site: &Site, key: &str, project: (&str, &str)) {
    let (id, of) = project;
    let body = format!(r#"{{"id": "7", "key": "{key}", "fields": {{"project": {{"id": "{id}", "key": "{of}"}}}}}}"#);
    // By whatever name it ever had.
    for name in ["7", "OPS-1", "SEC-9"] {
        say(site, &format!("/rest/api/3/issue/{name}?fields=project"), &body);
    }
}

#[test]
fn an_issue_that_was_moved_into_a_revoked_project_is_closed_by_its_old_and_its_new_name() {
    for revoked in ["1002", "SEC"] {
        let site = site(&[
            ("/rest/api/3/project/SEC", r#"{"id": "1002", "key": "SEC"}"#),
            ("/rest/api/3/project/OPS", r#"{"id": "1001", "key": "OPS"}"#),
        ]);
        say_issue(&site, "OPS-1", ("1001", "OPS"));
        let gate = jira(&site, &jira_revoked(revoked));
        wait_until("the name to be pinned", || gate.ask(&issue("7")).status == 200);
        passes(&gate, &issue("OPS-1"));
        say_issue(&site, "SEC-9", ("1002", "SEC"));
        for name in ["7", "OPS-1", "SEC-9"] {
            wait_until("the move to be known", || gate.ask(&issue(name)).status == 404);
            is_closed(&gate, &issue(name));
        }
        // And out of it again, whatever its key was there.
        say_issue(&site, "OPS-1", ("1001", "OPS"));
        for name in ["7", "OPS-1", "SEC-9"] {
            wait_until("the move to be known", || gate.ask(&issue(name)).status == 200);
        }
    }
}

#[test]
fn a_project_that_was_renamed_stays_closed_by_its_old_and_its_new_name() {
    let project = |name: &str| get(&format!("/rest/api/3/project/{name}"));
    for revoked in ["OPS", "NEW", "1001"] {
        let site = site(&[
            ("/rest/api/3/project/OPS", r#"{"id": "1001", "key": "OPS"}"#),
            ("/rest/api/3/project/1001", r#"{"id": "1001", "key": "OPS"}"#),
            ("/rest/api/3/project/FREE", r#"{"id": "1003", "key": "FREE"}"#),
        ]);
        let renamed = || {
            // The old key leads to it still.
            for name in ["OPS", "NEW", "1001"] {
                say(&site, &format!("/rest/api/3/project/{name}"), r#"{"id": "1001", "key": "NEW"}"#);
            }
            say_issue(&site, "NEW-1", ("1001", "NEW"));
        };
        if revoked == "NEW" {
            renamed();
        }
        let gate = jira(&site, &jira_revoked(revoked));
        wait_until("the name to be pinned", || gate.ask(&project("FREE")).status == 200);
        is_closed(&gate, &project("OPS"));
        renamed();
        for name in ["OPS", "NEW", "1001"] {
            is_closed(&gate, &project(name));
        }
        is_closed(&gate, &issue("OPS-1"));
        passes(&gate, &project("FREE"));
    }
}

#[test]
fn a_repository_that_was_renamed_stays_closed_by_its_old_and_its_new_name() {
    let repository = |name: &str| Ask::get(&format!("/2.0/repositories/acme/{name}")).bearer("app");
    let (id, encoded) = ("{aaaaaaaa-0000-4000-8000-000000000001}", "%7Baaaaaaaa-0000-4000-8000-000000000001%7D");
    let web = format!(r#"{{"uuid": "{id}"}}"#);
    let docs = r#"{"uuid": "{bbbbbbbb-0000-4000-8000-000000000002}"}"#;
    for revoked in ["web", "site", id] {
        let site = site(&[("/2.0/repositories/acme/docs", docs)]);
        let named = if revoked == "site" { "site" } else { "web" };
        say(&site, &format!("/2.0/repositories/acme/{named}"), &web);
        let rules = format!(
            "grants: [{{scopes: ['read:repository:bitbucket'], actors: [app, user], in: all}}]\n\
             revocations: [{{scopes: ['read:repository:bitbucket'], in: {{repository: ['{revoked}']}}, reason: SEC-1}}]\n"
        );
        let policy = product_app("bitbucket", "app", "api_token", &rules);
        let gate = forgetful(Setup::bitbucket()).policy("app.yaml", &policy).before(upstream(&site));
        wait_until("the name to be pinned", || gate.ask(&repository("docs")).status == 200);
        is_closed(&gate, &repository(named));
        // Bitbucket answers to the old name with the repository itself, for a while.
        for name in ["web", "site"] {
            say(&site, &format!("/2.0/repositories/acme/{name}"), &web);
        }
        for name in ["web", "site", encoded] {
            is_closed(&gate, &repository(name));
        }
        passes(&gate, &repository("docs"));
    }
}

fn slack_asking(site: &Site, rules: &str) -> Gate {
    slack(&slack_app(rules)).without("channel_types").without("lookups").before(upstream(site))
}

fn info(channel: &str) -> String {
    format!("/api/conversations.info?channel={channel}")
}

fn say_channel(site: &Site, channel: &str, types: &str) {
    say(site, &info(channel), &format!(r#"{{"ok": true, "channel": {{"id": "{channel}", {types}}}}}"#));
}

#[test]
fn a_channel_that_is_called_by_a_name_is_closed_by_its_old_and_its_new_one() {
    let site = Site::default();
    for channel in ["C0HELP", "C0EXEC"] {
        say_channel(&site, channel, r#""is_channel": true"#);
    }
    let gate = slack_asking(
        &site,
        "grants: [{scopes: ['chat:write'], actors: [app], in: all}]\n\
         revocations: [{scopes: ['chat:write'], in: {channel: [C0EXEC]}, reason: SEC-1}]\n",
    );
    let post = |channel: &str| {
        let body = format!(r#"{{"channel": "{channel}", "text": "hello"}}"#);
        Ask::post("/api/chat.postMessage").bearer("xoxb-assist").json(&body)
    };
    passes(&gate, &post("C0HELP"));
    // Nobody can tell what is called so now: it may be the one.
    for channel in ["C0EXEC", "exec", "#exec", "board", "#board", "help"] {
        is_closed(&gate, &post(channel));
    }
}

#[test]
fn a_conversation_is_of_the_type_that_the_product_says() {
    let history =
        |channel: &str| Ask::get(&format!("/api/conversations.history?channel={channel}")).bearer("xoxb-assist");
    let site = Site::default();
    say_channel(&site, "C0PUBLIC", r#""is_channel": true, "is_private": false"#);
    // Converted, and shared: neither letter says what it is.
    say_channel(&site, "C0SECRET", r#""is_channel": true, "is_private": true"#);
    say_channel(&site, "C0MANY", r#""is_group": true, "is_private": true, "is_mpim": true, "is_im": false"#);
    say_channel(&site, "D0DANA", r#""is_im": true, "is_private": true"#);
    let all = [
        ("channels:history", "C0PUBLIC"),
        ("groups:history", "C0SECRET"),
        ("mpim:history", "C0MANY"),
        ("im:history", "D0DANA"),
    ];
    for (scope, own) in all {
        let gate = slack_asking(&site, &format!("grants: [{{scopes: ['{scope}'], actors: [app], in: all}}]\n"));
        for (_, channel) in all {
            let before = passed_on(&gate);
            let answer = gate.ask(&history(channel));
            let passed = (answer.reason(), passed_on(&gate) - before);
            match channel == own {
                true => assert_eq!(passed, (None, 1), "{scope} in {channel}: {}", answer.body),
                false => assert!(passed.0.is_some() && passed.1 == 0, "{scope} in {channel}: {}", answer.head),
            }
        }
    }
}

#[test]
fn an_error_of_the_products_is_what_it_says_and_no_fact_about_the_channel() {
    let rules = "grants: [{scopes: ['chat:write', 'channels:history'], actors: [app], in: {channel: [C0HELP]}}]\n";
    let history = Ask::get("/api/conversations.history?channel=C0HELP").bearer("xoxb-assist");
    let error = |word: &str| format!(r#"{{"ok": false, "error": "{word}"}}"#);
    for (word, reason, status, said) in [
        ("missing_scope", "container_unresolved", 503, "service_unavailable"),
        ("internal_error", "container_unresolved", 503, "service_unavailable"),
        ("fatal_error", "container_unresolved", 503, "service_unavailable"),
        ("ratelimited", "rate_limited", 429, "ratelimited"),
        ("rate_limited", "rate_limited", 429, "ratelimited"),
        ("invalid_auth", "unidentified", 200, "invalid_auth"),
        ("token_expired", "unidentified", 200, "invalid_auth"),
        ("channel_not_found", "not_found", 200, "channel_not_found"),
        ("not_in_channel", "not_found", 200, "channel_not_found"),
    ] {
        let site = site(&[(&info("C0HELP"), &error(word))]);
        let gate = slack_asking(&site, rules);
        let answer = refuses(&gate, &history, reason);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &said.into()), "{word}: {}", answer.head);
        if reason != "not_found" {
            say_channel(&site, "C0HELP", r#""is_channel": true"#);
            passes(&gate, &history);
        }
    }
}

/// A Connect app, whose JWTs are of one request each: in which credentials are asked, and in no others.
fn connect(site: &Site, further: &str, lookups: &str) -> Gate {
    let jwt = "{method: connect_jwt, kind: connect, client_key: gantt, secret: {file: secrets/gantt}}";
    let policy = format!(
        "version: 1\napp: jira/gantt\nname: Gantt\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         installed_at: 2020-01-01T00:00:00Z\n    credentials:\n      - {jwt}\n{further}\
         grants: [{{scopes: [READ], actors: [app], in: {{project: ['1001']}}}}]\n"
    );
    let setup = Setup::jira().without("issue_keys").without("names").policy("gantt.yaml", &policy);
    let setup =
        setup.file("secrets/gantt", jwt::SECRET).file("secrets/real", "the-real-one").file("secrets/own", "own");
    let setup = if lookups.is_empty() { setup.without("lookups") } else { setup.gate("lookups", lookups) };
    setup.before(upstream(site))
}

/// The credentials that the gate's questions showed.
fn asked_with(gate: &Gate) -> Vec<String> {
    let requests = gate.upstream.requests();
    let questions = requests.iter().filter(|one| is_question(one));
    questions.map(|one| one.field("authorization").unwrap_or_default().to_owned()).collect()
}

fn in_ops() -> Site {
    let site = Site::default();
    say_issue(&site, "OPS-1", ("1001", "OPS"));
    for id in ["8", "9"] {
        let body =
            format!(r#"{{"id": "{id}", "key": "OPS-{id}", "fields": {{"project": {{"id": "1001", "key": "OPS"}}}}}}"#);
        say(&site, &format!("/rest/api/3/issue/{id}?fields=project"), &body);
    }
    site
}

#[test]
fn where_the_callers_credential_cannot_ask_another_one_of_its_installation_does_before_the_tenants_own() {
    let key = format!("sg_{}", "g".repeat(43));
    let further = format!(
        "      - {{method: gate_key, kind: oauth, sha256: \"sha256({key})\", upstream: {{file: secrets/real}}}}\n"
    );
    let gate = connect(&in_ops(), &further, "{credential: {file: secrets/own}}");
    passes(&gate, &signed("GET", "/rest/api/3/issue/7"));
    assert_eq!(asked_with(&gate), ["Bearer the-real-one"]);
    let jwt = gate.upstream.requests().into_iter().find(|one| !is_question(one)).expect("the request itself");
    assert!(jwt.field("authorization").is_some_and(|value| value.starts_with("JWT ")), "{}", jwt.head);
}

#[test]
fn where_no_other_credential_can_ask_the_tenants_own_does_and_so_many_times_a_second() {
    let site = in_ops();
    let gate = connect(&site, "", "{credential: {file: secrets/own}, per_second: 1}");
    passes(&gate, &signed("GET", "/rest/api/3/issue/7"));
    passes(&gate, &signed("GET", "/rest/api/3/issue/7"));
    assert_eq!(asked_with(&gate), ["Bearer own"]);
    let limited = refuses(&gate, &signed("GET", "/rest/api/3/issue/8"), "rate_limited");
    assert_eq!((limited.status, limited.field("retry-after")), (429, Some("1")), "{}", limited.head);
    assert_eq!(asked_with(&gate).len(), 1, "nothing more was asked");
}

#[test]
fn what_the_tenants_own_credential_may_not_see_or_is_not_taken_for_is_no_fact() {
    for (status, reason) in [
        ("403 Forbidden", "container_unresolved"),
        ("401 Unauthorized", "container_unresolved"),
        ("404 Not Found", "not_found"),
    ] {
        let site = in_ops();
        say_with(&site, "/rest/api/3/issue/9?fields=project", status, "{}");
        let gate = connect(&site, "", "{credential: {file: secrets/own}, per_second: 1000}");
        let answer = refuses(&gate, &signed("GET", "/rest/api/3/issue/9"), reason);
        assert_eq!(answer.status, if reason == "not_found" { 404 } else { 503 }, "{}", answer.head);
    }
}

#[test]
fn where_no_credential_can_ask_what_hangs_on_it_is_refused() {
    let gate = connect(&in_ops(), "", "");
    refuses(&gate, &signed("GET", "/rest/api/3/issue/7"), "container_unresolved");
    assert!(asked_with(&gate).is_empty());
}

#[test]
fn a_change_that_names_the_number_of_an_issue_leaves_what_is_known_of_others() {
    let site = in_ops();
    let rules =
        "grants: [{scopes: ['read:jira-work', 'write:jira-work'], actors: [app, user], in: {project: ['1001']}}]\n";
    let setup = Setup::jira().without("lookups").without("issue_keys").without("names");
    let gate = setup.policy("tracker.yaml", &jira_app("tracker", "oauth", rules)).before(upstream(&site));
    let asked = |name: &str| {
        passes(&gate, &issue(name));
        let line = format!("GET /rest/api/3/issue/{name}?fields=project HTTP/1.1");
        gate.upstream.requests().iter().filter(|one| one.line() == line).count()
    };
    let edit = |name: &str| passes(&gate, &Ask::put(&format!("/rest/api/3/issue/{name}")).bearer("tracker").json("{}"));
    assert_eq!((asked("7"), asked("OPS-1"), asked("8")), (1, 1, 1));
    edit("8");
    assert_eq!((asked("7"), asked("OPS-1"), asked("8")), (1, 1, 2), "the one that it named");
    edit("7");
    assert_eq!((asked("7"), asked("OPS-1"), asked("8")), (2, 2, 2), "by whatever name it was asked about");
    edit("OPS-1");
    assert_eq!((asked("7"), asked("OPS-1"), asked("8")), (3, 3, 3), "a key may be any one's");
}
