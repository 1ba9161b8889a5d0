//! Operations that reach two containers: to read what lies in one is not won by naming it from another.

use crate::support::gate::{Ask, Gate, Setup};

/// What the second container of an operation may be.
#[derive(Clone, Copy)]
enum Second {
    /// It is found: `§` in the request is the one that reading was taken away in, or one that it was not.
    Named,
    /// It cannot be told, so it may be the one. A word in a query may be another's name.
    Anywhere,
}
use Second::{Anywhere, Named};

/// A gate with one app that holds every scope everywhere, but for those that read in one container.
fn gate(setup: Setup, product: &str, kind: &str, reads: &str, revoked_in: &str) -> Gate {
    let tenant = if product == "slack" { "T024BE7LD" } else { "acme" };
    let user = if kind == "user" { ", user: U0DANA" } else { "" };
    let policy = format!(
        "version: 1\napp: {product}/app\nname: App\ncontact: it@example.com\ninstallations:\n  - tenant: {tenant}\n    \
         credentials: [{{method: token, kind: {kind}{user}, sha256: sha256(app)}}]\ngrants:\n  \
         - {{scopes: all, actors: [app, user], in: all}}\n  \
         - {{scopes: ['gate:admit', 'gate:deliver'], actors: [app, user], in: all}}\n\
         revocations: [{{scopes: [{reads}], in: {revoked_in}, reason: SEC-1}}]\n"
    );
    setup.policy("app.yaml", &policy).start()
}

/// `METHOD target body`, with `§` for the second container.
fn ask(request: &str, second: &str) -> Ask {
    let request = request.replace('§', second);
    let mut words = request.splitn(3, ' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let ask = Ask::new(method, target).bearer("app");
    match words.next() {
        Some(form) if !form.starts_with(['{', '[']) => ask.form(form),
        Some(json) => ask.json(json),
        None => ask,
    }
}

fn check(gate: &Gate, taken: &str, other: &str, requests: &[(Second, &str)]) {
    for (second, request) in requests {
        gate.refuses(&ask(request, taken), "container_revoked");
        match second {
            Named => drop(gate.passes(&ask(request, other))),
            Anywhere => drop(gate.refuses(&ask(request, other), "container_revoked")),
        }
    }
}

#[test]
fn jiras_two_projects() {
    let reads =
        "READ, 'read:jira-work', 'read:issue:jira', 'read:project:jira', 'read:field-configuration-scheme:jira'";
    let jira = gate(Setup::jira(), "jira", "oauth", reads, "{project: [SEC]}");
    let requests = [
        (Named, r#"POST /rest/api/3/issue {"fields":{"project":{"key":"ENG"},"parent":{"key":"§-1"}}}"#),
        (Named, r#"POST /rest/api/3/issue {"fields":{"project":{"key":"§"},"parent":{"key":"ENG-1"}}}"#),
        (Anywhere, r#"POST /rest/api/3/issue {"fields":{"project":{"key":"ENG"},"parent":{"id":"1"}}}"#),
        (Anywhere, r#"POST /rest/api/3/issue {"fields":{"project":{"key":"ENG"}},"update":{"issuelinks":[{}]}}"#),
        (
            Named,
            r#"POST /rest/api/3/issue/bulk {"issueUpdates":[{"fields":{"project":{"key":"ENG"}}},{"fields":{"project":{"key":"§"}}}]}"#,
        ),
        (Named, r#"PUT /rest/api/3/issue/ENG-1?returnIssue=true {"fields":{"parent":{"key":"§-1"}}}"#),
        (Named, r#"PUT /rest/api/3/issue/§-1 {"fields":{"parent":{"key":"ENG-1"}}}"#),
        (
            Named,
            r#"POST /rest/api/3/issue/ENG-1/transitions {"transition":{"id":"1"},"fields":{"parent":{"key":"§-2"}}}"#,
        ),
        (Named, r#"POST /rest/api/3/issueLink {"inwardIssue":{"key":"§-1"},"outwardIssue":{"key":"ENG-2"}}"#),
        (Named, r#"POST /rest/api/3/issueLink {"inwardIssue":{"key":"ENG-1"},"outwardIssue":{"key":"§-2"}}"#),
        (
            Named,
            r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"ENG,10001":{"issueIdsOrKeys":["§-1"]}}}"#,
        ),
        (
            Named,
            r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"§,10001":{"issueIdsOrKeys":["ENG-1"]}}}"#,
        ),
        (
            Named,
            r#"POST /rest/api/3/bulk/issues/move {"targetToSourcesMapping":{"ENG,10001,§-7":{"issueIdsOrKeys":["ENG-1"]}}}"#,
        ),
        (Named, r#"POST /rest/api/3/bulk/issues/delete {"selectedIssueIdsOrKeys":["ENG-1","§-1"]}"#),
        (Named, r#"POST /rest/api/3/issue/ENG-1/worklog/move {"ids":[1],"issueIdOrKey":"§-1"}"#),
        (Named, r#"POST /rest/api/3/issue/§-1/worklog/move {"ids":[1],"issueIdOrKey":"ENG-1"}"#),
        (Named, r#"PUT /rest/api/3/issue/archive {"issueIdsOrKeys":["ENG-1","§-1"]}"#),
        (Named, "GET /rest/api/3/user/assignable/search?project=ENG&issueKey=§-1"),
        (Anywhere, "GET /rest/api/3/search/jql?jql=project%20in%20(ENG,%20§)"),
        (Anywhere, "GET /rest/api/3/search/jql?jql=project%20=%20ENG&reconcileIssues=10001"),
        (Anywhere, "PUT /rest/api/3/version/1/mergeto/2"),
        (Anywhere, r#"POST /rest/api/3/version/1/removeAndSwap {"moveFixIssuesTo":2}"#),
        (Anywhere, "DELETE /rest/api/3/version/1?moveFixIssuesTo=2"),
        (Anywhere, "DELETE /rest/api/3/component/1?moveIssuesTo=2"),
        (Anywhere, r#"POST /rest/api/3/filter {"name":"f","jql":"project in (ENG, §)"}"#),
        (
            Anywhere,
            r#"POST /rest/api/3/filter {"name":"f","jql":"project = ENG","sharePermissions":[{"type":"global"}]}"#,
        ),
    ];
    check(&jira, "SEC", "ENG", &requests);
}

#[test]
fn confluences_two_spaces() {
    let reads = "READ, 'read:confluence-content.summary', 'read:content-details:confluence'";
    let by_key = gate(Setup::confluence(), "confluence", "oauth", reads, "{space: [SEC]}");
    let requests = [
        (Anywhere, "GET /wiki/rest/api/search?cql=space%20in%20(ENG,%20§)"),
        (Anywhere, "GET /wiki/rest/api/content/search?cql=type%20=%20page%20and%20space%20=%20§"),
        (Anywhere, "GET /wiki/rest/api/content/search?cql=space%20=%20ENG%20or%20type%20=%20page"),
        (
            Anywhere,
            "GET /wiki/rest/api/search?cql=space%20=%20currentSpace()&cqlcontext=%7B%22spaceKey%22:%22ENG%22%7D",
        ),
        (Anywhere, r#"POST /wiki/rest/api/content {"space":{"key":"ENG"},"ancestors":[{"id":"7"}]}"#),
        (Anywhere, r#"POST /wiki/rest/api/content {"space":{"key":"ENG"},"container":{"id":"7"}}"#),
        (Anywhere, r#"POST /wiki/rest/api/space/ENG/property {"key":"k","value":{},"space":{"key":"§"}}"#),
        (Anywhere, r#"POST /wiki/rest/api/content/7/copy {"destination":{"type":"space","value":"ENG"}}"#),
        (Anywhere, r#"POST /wiki/rest/api/content/7/pagehierarchy/copy {"destinationPageId":"8"}"#),
        (Anywhere, "PUT /wiki/rest/api/content/7/move/append/8"),
    ];
    check(&by_key, "SEC", "ENG", &requests);
    let reads = "READ, 'read:page:confluence', 'read:space:confluence'";
    let by_id = gate(Setup::confluence(), "confluence", "oauth", reads, "{space: ['666']}");
    let requests = [
        (Named, "GET /wiki/api/v2/pages?space-id=42,§"),
        (Named, r#"POST /wiki/api/v2/pages {"spaceId":"§","title":"x"}"#),
        (Anywhere, r#"POST /wiki/api/v2/pages {"spaceId":"42","parentId":"7"}"#),
        (Anywhere, r#"POST /wiki/api/v2/spaces {"name":"x","key":"X","copySpaceAccessConfiguration":42}"#),
        (Anywhere, r#"PUT /wiki/api/v2/pages/7 {"id":"7","spaceId":"42"}"#),
    ];
    check(&by_id, "666", "42", &requests);
}

#[test]
fn bitbuckets_two_repositories() {
    let reads = "repository, pullrequest, issue, pipeline, 'repository:admin'";
    let bitbucket = gate(Setup::bitbucket(), "bitbucket", "oauth", reads, "{repository: [sec]}");
    let pulls = "/2.0/repositories/acme/web/pullrequests";
    let create =
        |side: &str, repository: &str| format!(r#"POST {pulls} {{"{side}":{{"repository":{{{repository}}}}}}}"#);
    let by_name = r#""full_name":"acme/§""#;
    let requests = [
        (Named, create("source", by_name)),
        (Named, create("destination", by_name)),
        (Named, format!(r#"POST {} {{"source":{{"branch":{{"name":"b"}}}}}}"#, pulls.replace("web", "§"))),
        (Named, format!(r#"PUT {pulls}/1 {{"destination":{{"repository":{{{by_name}}}}}}}"#)),
        // An id on one side and a name on the other may be one repository.
        (Anywhere, create("source", r#""full_name":"acme/{8b7b3c1e-0000-4000-8000-000000000000}""#)),
        (Anywhere, create("source", r#""full_name":"acme/web","slug":"§""#)),
        (
            Anywhere,
            create("source", r#""links":{"self":{"href":"https://api.bitbucket.org/2.0/repositories/acme/§"}}"#),
        ),
        (Anywhere, r#"POST /2.0/repositories/acme/web/forks {"workspace":{"slug":"acme"}}"#.to_owned()),
        (
            Anywhere,
            r#"POST /2.0/repositories/acme/new {"project":{"key":"ENG"},"parent":{"full_name":"acme/§"}}"#.to_owned(),
        ),
        (
            Anywhere,
            r#"POST /2.0/repositories/acme/web/issues {"title":"x","repository":{"full_name":"acme/§"}}"#.to_owned(),
        ),
        (Anywhere, r#"POST /2.0/repositories/acme/web/pipelines {"repository":{"full_name":"acme/§"}}"#.to_owned()),
    ];
    let requests: Vec<(Second, &str)> = requests.iter().map(|(second, request)| (*second, request.as_str())).collect();
    check(&bitbucket, "sec", "api", &requests);
}

#[test]
fn a_full_name_is_a_workspace_and_a_repository() {
    let bitbucket = gate(Setup::bitbucket(), "bitbucket", "oauth", "repository", "{repository: [sec]}");
    let create = |name: &str| {
        let body = format!(r#"{{"source":{{"repository":{{"full_name":"{name}"}}}}}}"#);
        Ask::post("/2.0/repositories/acme/web/pullrequests").bearer("app").json(&body)
    };
    bitbucket.passes(&create("acme/api"));
    for name in ["acme/api/sec", "acme/", "acme/a b", "acme/api%2Fsec", "acme//sec", "acme/../sec"] {
        bitbucket.refuses(&create(name), "bad_request");
    }
    for name in ["acme/sec", "acme/SEC"] {
        bitbucket.refuses(&create(name), "container_revoked");
    }
    for name in ["evil/api", "/api", "api", ""] {
        let answer = bitbucket.ask(&create(name));
        assert!(matches!(answer.reason(), Some("unknown_tenant" | "bad_request")), "{name}: {:?}", answer.reason());
    }
    assert_eq!(bitbucket.upstream.requests().len(), 1, "the first alone");
}

#[test]
fn slacks_two_channels() {
    let reads = "'files:write', 'admin.conversations:write', 'links:write', 'remote_files:share', 'reactions:write'";
    let slack = gate(Setup::slack(), "slack", "user", reads, "{channel: [C0SEC]}");
    let requests = [
        (Named, "POST /api/files.completeUploadExternal files=%5B%5D&channels=C0ENG,§"),
        (Named, "POST /api/files.completeUploadExternal files=%5B%5D&channel_id=C0ENG&channels=§"),
        (Named, "POST /api/files.completeUploadExternal files=%5B%5D&channel_id=§&channels=C0ENG"),
        (Anywhere, "POST /api/files.remote.share file=F1&channels=C0ENG,§"),
        (Named, "POST /api/admin.conversations.bulkMove channel_ids=C0ENG,§&target_team_id=T024BE7LD"),
        (Anywhere, "POST /api/chat.unfurl channel=C0ENG&ts=1&unfurl_id=§&unfurls=%7B%7D"),
        (Anywhere, "POST /api/reactions.remove channel=C0ENG&name=x&timestamp=1&file=F1"),
    ];
    check(&slack, "C0SEC", "C0OPS", &requests);
}
