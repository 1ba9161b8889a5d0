//! Containers and tenants that a request names where one does not look first: behind a colon in the path, in a member of
//! the body that few clients send, in an argument that only one method takes.

use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::{Reply, StubUpstream};

/// What one app comes to that holds what `rules` say.
fn with_app(setup: Setup, product: &str, kind: &str, rules: &str) -> Setup {
    let tenant = if product == "slack" { "T024BE7LD" } else { "acme" };
    let policy = format!(
        "version: 1\napp: {product}/app\nname: App\ncontact: it@example.com\ninstallations:\n  - tenant: {tenant}\n    \
         credentials: [{{method: token, kind: {kind}, sha256: sha256(app)}}]\n{rules}"
    );
    setup.policy("app.yaml", &policy)
}

fn gate(setup: Setup, product: &str, kind: &str, rules: &str) -> Gate {
    with_app(setup, product, kind, rules).start()
}

fn all(more: &str) -> String {
    let grants = "grants:\n  - {scopes: all, actors: [app], in: all}\n  \
                  - {scopes: ['gate:admit', 'gate:deliver', 'gate:mint'], actors: [app], in: all}\n";
    format!("{grants}{more}")
}

fn only(area: &str) -> String {
    format!(
        "grants:\n  - {{scopes: all, actors: [app], in: {area}}}\n  \
         - {{scopes: ['gate:admit'], actors: [app], in: {area}}}\n"
    )
}

fn revoked(area: &str) -> String {
    all(&format!("revocations: [{{scopes: all, in: {area}, reason: SEC-1}}]\n"))
}

fn bitbucket(rules: &str) -> Gate {
    gate(Setup::bitbucket(), "bitbucket", "access_token", rules)
}

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("app")
}

fn ask(request: &str) -> Ask {
    let mut words = request.splitn(3, ' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let ask = Ask::new(method, target).bearer("app");
    match words.next() {
        Some(form) if !form.starts_with(['{', '[']) => ask.form(form),
        Some(json) => ask.json(json),
        None => ask,
    }
}

// Bitbucket: revisions in a path.

/// What reads revisions. The last segment is put behind each.
const REVISIONS: [&str; 5] = ["diff", "diffstat", "patch", "merge-base", "commits"];

#[test]
fn revisions_of_another_repository_are_of_that_repository() {
    let web = bitbucket(&only("{repository: [web]}"));
    let taken = bitbucket(&revoked("{repository: [sec]}"));
    let every = bitbucket(&all(""));
    for what in REVISIONS {
        let at = |spec: &str| get(&format!("/2.0/repositories/acme/web/{what}/{spec}"));
        for spec in ["abc123", "abc123..def456", "feature/one..main", "acme/web:abc123..def456", "acme/WEB:abc123"] {
            web.passes(&at(spec));
            taken.passes(&at(spec));
        }
        for spec in ["acme/sec:abc123", "acme/SEC:a..b", "acme/sec%3Aabc123", "acme/s%65c:a", "acme/sec:feature/x..y"] {
            web.refuses(&at(spec), "container_not_granted");
            taken.refuses(&at(spec), "container_revoked");
        }
        for spec in ["evil/sec:a..b", "evil/web:a", "ACME/web:a", "%7B8b7b3c1e-0000-4000-8000-000000000000%7D/web:a"] {
            web.refuses(&at(spec), "unknown_tenant");
            every.refuses(&at(spec), "unknown_tenant");
        }
        // What cannot be read one way: a repository without its workspace, three names, two colons, an encoded slash.
        for spec in [
            "sec:abc123",
            "acme/x/sec:abc123",
            "a..evil/x/sec:b",
            "acme/web:a..evil/sec:b",
            "acme/web:",
            "acme%2Fsec:abc123",
            "acme%2Fsec%3Aabc123",
            "acme%252Fsec:abc123",
            "acme/se%20c:abc123",
        ] {
            web.refuses(&at(spec), "bad_request");
            every.refuses(&at(spec), "bad_request");
        }
        // A range is no name of a workspace.
        web.refuses(&at("a..acme/sec:b"), "unknown_tenant");
    }
}

#[test]
fn a_pair_of_commits_is_carried_where_revisions_are_read_and_nowhere_else() {
    let web = bitbucket(&only("{repository: [web]}"));
    let every = bitbucket(&all(""));
    let pair = "0123456789ab%0Dcdef01234567";
    for what in ["diff", "diffstat", "patch"] {
        let target = format!("/2.0/repositories/acme/web/{what}/acme/web:{pair}?from_pullrequest_id=1&topic=true");
        let seen = web.passes(&get(&target));
        assert_eq!(seen.line(), format!("GET {target} HTTP/1.1"), "as the product wrote it");
        web.passes(&get(&format!("/2.0/repositories/acme/web/{what}/{pair}")));
        web.refuses(&get(&format!("/2.0/repositories/acme/web/{what}/acme/sec:{pair}")), "container_not_granted");
        web.refuses(&get(&format!("/2.0/repositories/acme/web/{what}/evil/web:{pair}")), "unknown_tenant");
    }
    for path in [
        // Not between two commits at the end.
        "/2.0/repositories/acme/web/diff/acme/web:0123%0D",
        "/2.0/repositories/acme/web/diff/acme/web:%0D0123",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0Dmain",
        "/2.0/repositories/acme/web/diff/acme/web:main%0D0123",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0D4567%0D89ab",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0D4567/x",
        "/2.0/repositories/acme/web/diff/0123%0D4567/acme/sec:89ab",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0D%0A4567",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0A4567",
        "/2.0/repositories/acme/web/diff/acme/web:0123%004567",
        "/2.0/repositories/acme/web/diff/acme/web:0123%0d4567",
        "/2.0/repositories/acme/web/diff/acme/web:0123%250D4567",
        "/2.0/repositories/acme/web/diff/acme/web:012%0D4567",
        "/2.0/repositories/acme/web/diff/acme/web:0123..89ab%0D4567",
        "/2.0/repositories/acme/web/diff/acme/sec%0D:0123%0D4567",
        // No revisions are read there.
        "/2.0/repositories/acme/0123%0D4567",
        "/2.0/repositories/acme/web/src/main/0123%0D4567",
        "/2.0/repositories/acme/web/refs/branches/0123%0D4567",
        "/2.0/repositories/acme/web/commit/0123%0D4567",
        "/2.0/nowhere/0123%0D4567",
    ] {
        web.refuses(&get(path), "bad_request");
        every.refuses(&get(path), "bad_request");
    }
    let jira = gate(Setup::jira(), "jira", "oauth", &all(""));
    jira.refuses(&get("/rest/api/3/issue/0123%0D4567"), "bad_request");
}

/// The product sends whoever asks for the diff of a pull request there, and names it in the pull request.
#[test]
fn the_products_own_address_of_a_diff_works_through_the_gate() {
    let upstream = StubUpstream::start(|request| {
        let own = request.field("host").expect("a host").to_owned();
        let diff =
            format!("http://{own}/2.0/repositories/acme/web/diff/acme/web:0123456789ab%0Dcdef01234567?topic=true");
        match request.line().contains("/pullrequests/1/diff") {
            true => Reply::raw(&format!("HTTP/1.1 302 Found\r\nlocation: {diff}\r\ncontent-length: 0\r\n\r\n")),
            false => Reply::ok("the diff"),
        }
    });
    let rules = only("{repository: [web]}");
    let web = with_app(Setup::bitbucket(), "bitbucket", "access_token", &rules).before(upstream);
    let answer = web.ask(&get("/2.0/repositories/acme/web/pullrequests/1/diff"));
    let location = answer.field("location").expect("where the diff is").to_owned();
    let path = location.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
    let answer = web.ask(&get(&path));
    assert_eq!((answer.status, answer.body.as_str()), (200, "the diff"), "{path}\n{}", answer.body);
}

// Bitbucket: another workspace in a body, by whatever name.

#[test]
fn a_second_workspace_is_named_by_a_slug_a_uuid_or_a_full_name() {
    let repository = |at: &str| format!("/2.0/repositories/acme/web{at}");
    let foreign = [
        r#""full_name":"evil/secret""#,
        r#""uuid":"{8b7b3c1e-0000-4000-8000-000000000000}""#,
        r#""slug":"secret","workspace":{"slug":"evil"}"#,
        r#""full_name":"acme/api","workspace":{"slug":"evil"}"#,
        r#""full_name":"acme/api","workspace":{"uuid":"{8b7b3c1e-0000-4000-8000-000000000000}"}"#,
        r#""full_name":"acme/api","uuid":"{8b7b3c1e-0000-4000-8000-000000000000}""#,
    ];
    let home = r#""project":{"key":"ENG"},"workspace":{"slug":"acme"},"#;
    let bodies = [
        ("POST", repository("/pullrequests"), r#"{"source":{"repository":{§}}}"#.to_owned()),
        ("POST", repository("/pullrequests"), r#"{"destination":{"repository":{§}}}"#.to_owned()),
        ("PUT", repository("/pullrequests/1"), r#"{"source":{"repository":{§}}}"#.to_owned()),
        ("PUT", repository("/pullrequests/1"), r#"{"destination":{"repository":{§}}}"#.to_owned()),
        ("POST", "/2.0/repositories/acme/new".to_owned(), format!("{{{home}\"parent\":{{§}}}}")),
        ("PUT", "/2.0/repositories/acme/new".to_owned(), format!("{{{home}\"parent\":{{§}}}}")),
        ("POST", repository("/forks"), format!("{{{home}\"parent\":{{§}}}}")),
        ("POST", repository("/pipelines"), r#"{"repository":{§}}"#.to_owned()),
        ("PUT", repository("/pipelines_config"), r#"{"repository":{§}}"#.to_owned()),
        ("POST", repository("/issues"), r#"{"title":"x","repository":{§}}"#.to_owned()),
        ("POST", repository("/issues/1/changes"), r#"{"issue":{"repository":{§}}}"#.to_owned()),
        ("POST", repository("/issues/1/comments"), r#"{"issue":{"repository":{§}}}"#.to_owned()),
        ("PUT", repository("/issues/1/comments/1"), r#"{"issue":{"repository":{§}}}"#.to_owned()),
        ("POST", repository("/commit/abc/comments"), r#"{"commit":{"repository":{§}}}"#.to_owned()),
        ("POST", repository("/refs/tags"), r#"{"name":"v1","target":{"repository":{§}}}"#.to_owned()),
        ("POST", repository("/pullrequests/1/comments"), r#"{"pullrequest":{"source":{"repository":{§}}}}"#.to_owned()),
    ];
    let gate = bitbucket(&all(""));
    for (method, target, body) in &bodies {
        let with = |repository: &str| Ask::new(method, target).bearer("app").json(&body.replace('§', repository));
        gate.passes(&with(r#""full_name":"acme/api""#));
        gate.passes(&with(r#""full_name":"acme/api","workspace":{"slug":"acme"}"#));
        for repository in foreign {
            gate.refuses(&with(repository), "unknown_tenant");
        }
        for unread in [r#""workspace":{"Slug":"evil"}"#, r#""workspace":"evil""#] {
            gate.refuses(&with(unread), "bad_request");
        }
    }
    for body in [
        r#"{"project":{"key":"ENG"},"workspace":{"slug":"evil"}}"#,
        r#"{"project":{"key":"ENG","workspace":{"slug":"evil"}}}"#,
        r#"{"project":{"key":"ENG"},"full_name":"evil/new"}"#,
    ] {
        gate.refuses(&Ask::post("/2.0/repositories/acme/new").bearer("app").json(body), "unknown_tenant");
        gate.refuses(&Ask::put("/2.0/repositories/acme/new").bearer("app").json(body), "unknown_tenant");
    }
}

#[test]
fn what_a_body_names_besides_reaches_the_workspace_for_an_app_with_one_repository() {
    let web = bitbucket(&only("{repository: [web], project: [ENG]}"));
    let api = r#"{"full_name":"acme/api"}"#;
    for request in [
        format!(r#"POST /2.0/repositories/acme/web/issues/1/changes {{"issue":{{"repository":{api}}}}}"#),
        format!(r#"POST /2.0/repositories/acme/web/refs/tags {{"name":"v1","target":{{"repository":{api}}}}}"#),
        format!(r#"PUT /2.0/repositories/acme/web {{"parent":{api}}}"#),
    ] {
        web.refuses(&ask(&request), "container_not_granted");
    }
    web.passes(&ask(r#"POST /2.0/repositories/acme/web/refs/tags {"name":"v1","target":{"hash":"abc"}}"#));
    web.passes(&ask(r#"PUT /2.0/repositories/acme/web {"description":"x"}"#));
}

// Credentials that stand elsewhere.

#[test]
fn bitbuckets_token_in_the_query_or_in_a_form_is_a_credential() {
    let gate = bitbucket(&all(""));
    let web = "/2.0/repositories/acme/web";
    gate.passes(&Ask::get(&format!("{web}?access_token=app")));
    gate.passes(&get(&format!("{web}?access_token=app")));
    gate.refuses(&Ask::get(&format!("{web}?access_token=other")), "unknown_app");
    gate.refuses(&get(&format!("{web}?access_token=other")), "unknown_app");
    gate.refuses(&get(&format!("{web}?access_token=")), "unidentified");
    gate.refuses(&get(&format!("{web}?Access_Token=other")), "bad_request");
    let commits = format!("{web}/commits");
    gate.passes(&Ask::post(&commits).bearer("app").form("include=main"));
    gate.passes(&Ask::post(&commits).form("include=main&access_token=app"));
    gate.refuses(&Ask::post(&commits).bearer("app").form("include=main&access_token=other"), "unknown_app");
    gate.refuses(&Ask::post(&commits).form("access_token=other"), "unknown_app");
    gate.refuses(&Ask::post(&commits).form("include=main"), "unidentified");
    // No form, no credential in it: what is uploaded streams by.
    gate.passes(
        &Ask::post(&format!("{web}/src"))
            .bearer("app")
            .with("content-type", "multipart/form-data; boundary=x")
            .body("--x--"),
    );
    gate.passes(&Ask::post(&commits).bearer("app").json(r#"{"access_token":"other"}"#));
}

#[test]
fn a_password_in_the_query_of_atlassians_products_is_nobodys() {
    let jira = gate(Setup::jira(), "jira", "oauth", &all(""));
    jira.passes(&get("/rest/api/3/issue/PROJ-1?fields=summary"));
    jira.refuses(&get("/rest/api/3/issue/PROJ-1?os_username=dana&os_password=secret"), "unknown_app");
    let confluence = gate(Setup::confluence(), "confluence", "oauth", &all(""));
    confluence.refuses(&get("/wiki/rest/api/space/ENG?os_username=dana&os_password=secret"), "unknown_app");
}

// Slack.

fn slack(rules: &str) -> Gate {
    gate(Setup::slack().gate("channel_types", "prefix"), "slack", "bot", rules)
}

#[test]
fn a_file_that_is_bookmarked_or_put_into_a_message_lies_where_it_is_shared() {
    let help = slack(&only("{channel: [C0HELP]}"));
    let taken = slack(&revoked("{channel: [C0SEC]}"));
    let bookmark = "POST /api/bookmarks.add channel_id=C0HELP&title=x&type=";
    let update = "POST /api/chat.update channel=C0HELP&ts=1&text=x";
    for request in [format!("{bookmark}link&link=https://example.com"), update.to_owned()] {
        help.passes(&ask(&request));
        taken.passes(&ask(&request));
    }
    for request in [
        format!("{bookmark}file&entity_id=F0SECRET"),
        format!("{update}&file_ids=F0SECRET"),
        format!("{update}&file_ids=F0OWN,F0SECRET"),
        r#"POST /api/chat.update {"channel":"C0HELP","ts":"1","text":"x","file_ids":["F0SECRET"]}"#.to_owned(),
    ] {
        help.refuses(&ask(&request), "container_unresolved");
        taken.refuses(&ask(&request), "container_revoked");
    }
    // Who sees the bookmark may then write to the file.
    help.refuses(&ask(&format!("{bookmark}file&access_level=write")), "container_not_granted");
    help.refuses(&ask(&format!("{bookmark}file&entity_id=C0SEC")), "bad_request");
}

#[test]
fn a_workspace_by_its_domain_is_another() {
    let gate = slack(&all(""));
    gate.passes(&get("/api/team.info"));
    gate.passes(&get("/api/team.info?team=T024BE7LD"));
    gate.refuses(&get("/api/team.info?team=T0EVIL"), "unknown_tenant");
    gate.refuses(&get("/api/team.info?domain=evil"), "unknown_tenant");
    gate.refuses(&Ask::post("/api/team.info").bearer("app").form("domain=evil"), "unknown_tenant");
}

// Jira and Confluence.

#[test]
fn issues_and_versions_that_a_body_names_besides_are_reached() {
    let eng = gate(Setup::jira(), "jira", "oauth", &only("{project: [ENG, '10001']}"));
    let taken = gate(Setup::jira(), "jira", "oauth", &revoked("{project: [SEC]}"));
    let passes = [
        r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"ENG,10001":{"issueIdsOrKeys":["ENG-1"],"targetMandatoryFields":[{"fields":{"customfield_1":{"value":["x"]}}}]}}}"#,
        r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"ENG,10001":{"issueIdsOrKeys":["ENG-1"],"targetMandatoryFields":[]}}}"#,
        r#"PUT /rest/api/3/issue/ENG-1/worklog/1 {"timeSpentSeconds":60,"issueId":"ENG-2"}"#,
        r#"POST /rest/api/3/version {"name":"v1","projectId":10001}"#,
        r#"POST /rest/api/3/issueLink {"inwardIssue":{"key":"ENG-1"},"outwardIssue":{"key":"ENG-2"}}"#,
    ];
    for request in passes {
        eng.passes(&ask(request));
    }
    // The last two are named by numbers: where they lie is asked, and nobody answers here.
    for (request, reason) in [
        (
            r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"ENG,10001":{"issueIdsOrKeys":["ENG-1"],"targetMandatoryFields":[{"fields":{"parent":{"value":["SEC-1"]}}}]}}}"#,
            "container_not_granted",
        ),
        (
            r#"POST /rest/api/3/version {"name":"v1","projectId":10001,"moveUnfixedIssuesTo":"https://acme.atlassian.net/rest/api/3/version/7"}"#,
            "container_not_granted",
        ),
        (r#"PUT /rest/api/3/issue/ENG-1/worklog/1 {"timeSpentSeconds":60,"issueId":"10002"}"#, "container_unresolved"),
        (
            r#"POST /rest/api/3/issueLink {"inwardIssue":{"id":"10002"},"outwardIssue":{"key":"ENG-2"}}"#,
            "container_unresolved",
        ),
    ] {
        eng.refuses(&ask(request), reason);
        taken.refuses(&ask(request), "container_revoked");
    }
    taken.refuses(
        &ask(r#"PUT /rest/api/3/issue/ENG-1/worklog/1 {"timeSpentSeconds":60,"issueId":"SEC-2"}"#),
        "container_revoked",
    );
}

#[test]
fn a_custom_field_that_holds_an_issues_key_names_that_issue() {
    let eng = gate(Setup::jira(), "jira", "oauth", &only("{project: [ENG]}"));
    let taken = gate(Setup::jira(), "jira", "oauth", &revoked("{project: [SEC]}"));
    let bodies = [
        ("POST", "/rest/api/3/issue", r#"{"fields":{"project":{"key":"ENG"},"customfield_1":§}}"#),
        ("POST", "/rest/api/3/issue", r#"{"fields":{"project":{"key":"ENG"}},"update":{"customfield_1":[{"set":§}]}}"#),
        ("PUT", "/rest/api/3/issue/ENG-1", r#"{"fields":{"summary":"x","customfield_10014":§}}"#),
        ("PUT", "/rest/api/3/issue/ENG-1", r#"{"update":{"customfield_10014":[{"add":§}]}}"#),
        ("POST", "/rest/api/3/issue/ENG-1/transitions", r#"{"fields":{"customfield_10014":§}}"#),
        (
            "POST",
            "/rest/api/3/issue/bulk",
            r#"{"issueUpdates":[{"fields":{"project":{"key":"ENG"},"customfield_1":§}}]}"#,
        ),
    ];
    for (method, target, body) in bodies {
        let with = |value: &str| Ask::new(method, target).bearer("app").json(&body.replace('§', value));
        for own in [
            r#""ENG-2""#,
            r#"{"key":"ENG-2"}"#,
            "null",
            "7",
            "true",
            "[]",
            r#""words about SEC-1""#,
            r#""SEC""#,
            r#""2024-11-30""#,
            r#"{"id":"10001"}"#,
            r#"{"value":"High","child":{"id":"7"}}"#,
            r#"["a","b"]"#,
            r#"{"type":"doc","version":1,"content":[{"type":"text","text":"SEC-1"}]}"#,
        ] {
            eng.passes(&with(own));
            taken.passes(&with(own));
        }
        for other in [r#""SEC-1""#, r#""sec-1""#, r#"{"key":"SEC-1"}"#, r#"["ENG-2","SEC-1"]"#, r#"[{"key":"SEC-1"}]"#]
        {
            eng.refuses(&with(other), "container_not_granted");
            taken.refuses(&with(other), "container_revoked");
        }
        eng.refuses(&with(r#"{"Key":"SEC-1"}"#), "bad_request");
    }
    eng.refuses(&ask(r#"PUT /rest/api/3/issue/ENG-1 {"fields":["SEC-1"]}"#), "bad_request");
    // A name that only the prefix begins says nothing of other members.
    eng.passes(&ask(r#"PUT /rest/api/3/issue/ENG-1 {"fields":{"summary":"SEC-1"}}"#));
}

#[test]
fn a_draft_is_published_into_the_space_that_its_number_names() {
    let every = gate(Setup::confluence(), "confluence", "oauth", &all(""));
    let publish = |method: &str, space: &str| {
        let body = format!(r#"{{"version":{{"number":1}},"title":"x","type":"page","space":{{{space}}}}}"#);
        Ask::new(method, "/wiki/rest/api/content/blueprint/instance/7").bearer("app").json(&body)
    };
    for method in ["POST", "PUT"] {
        every.passes(&publish(method, r#""key":"ENG","id":666"#));
        every.refuses(&publish(method, r#""key":"ENG","id":"6/6""#), "bad_request");
    }
}
