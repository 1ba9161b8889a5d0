//! What is decided before Jira: the stories that scopegate is for, and the laws behind them.

use super::*;

const API: &str = "/rest/api/3";

fn issue(key: &str) -> String {
    format!("{API}/issue/{key}")
}

fn get(path: &str) -> Ask {
    Ask::get(path).bearer("tracker")
}

fn edit(key: &str) -> Ask {
    Ask::put(&issue(key)).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
}

fn create(body: &str) -> Ask {
    Ask::post(&format!("{API}/issue")).bearer("tracker").json(body)
}

#[test]
fn an_admin_scope_of_the_install_is_gone_a_day_later_and_the_rest_works_on() {
    let gate = gantt(
        "grants:\n  - {scopes: [ADMIN, 'gate:deliver'], actors: [app], in: all, valid: {after_install: 24h}}\n  \
         - {scopes: [READ], actors: [app], in: all}\n",
    );
    let scheme = signed("PUT", "/rest/api/3/permissionscheme/10000").json("{}");
    let answer = gate.refuses(&scheme, "missing_scope");
    assert_eq!(answer.status, 403);
    assert!(answer.json()["scopegate"]["needed"].as_array().expect("needed").iter().any(|scope| scope == "gate:admit"));
    gate.passes(&signed("GET", &issue("PROJ-1")));
    gate.refuses(&signed("PUT", &issue("PROJ-1")).json("{}"), "expired");
}

#[test]
fn a_webhook_is_refused_for_want_of_the_guard_and_not_of_admin() {
    let gate = gantt("grants: [{scopes: [READ], actors: [app], in: all}]\n");
    let hook = || signed("POST", "/rest/api/3/webhook").json(r#"{"url":"https://evil.example","webhooks":[]}"#);
    let answer = gate.refuses(&hook(), "missing_scope");
    assert_eq!(answer.status, 403);
    let needed = answer.json()["scopegate"]["needed"].clone();
    assert_eq!(needed.as_array().map(|needed| needed.contains(&"gate:deliver".into())), Some(true), "{needed}");
    assert!(!answer.body.contains("ADMIN"), "{}", answer.body);
    let gate = gantt("grants: [{scopes: [READ, 'gate:deliver'], actors: [app], in: all}]\n");
    gate.passes(&hook());
}

#[test]
fn one_guardrail_takes_a_scope_from_every_app_after_its_install() {
    let guardrail = "version: 1\nguardrail: no-standing-admin\napps: {product: jira, except: [jira/backup]}\ntenants: all\n\
                     revocations:\n  - {scopes: [ADMIN], in: all, unless: install_window, reason: SEC-7}\n";
    let app =
        |name: &str| jira_app(name, "connect", "grants: [{scopes: [ADMIN, 'gate:admit'], actors: [app], in: all}]\n");
    let fresh = app("fresh").replace("2020-01-01T00:00:00Z", &today());
    let gate = Setup::jira()
        .policy("guardrail.yaml", guardrail)
        .policy("tracker.yaml", &app("tracker"))
        .policy("backup.yaml", &app("backup"))
        .policy("fresh.yaml", &fresh)
        .start();
    let scheme = |token: &str| Ask::put("/rest/api/3/permissionscheme/1").bearer(token).json("{}");
    assert_eq!(gate.refuses(&scheme("tracker"), "install_window_closed").status, 403);
    gate.passes(&scheme("backup"));
    gate.passes(&scheme("fresh"));
    let read = Ask::get(&issue("PROJ-1"));
    gate.passes(&read.clone().bearer("tracker"));
    assert_eq!(gate.refuses(&read.bearer("nobody"), "unknown_app").status, 401);
}

/// One hour ago, as YAML writes it.
fn today() -> String {
    let at = time::OffsetDateTime::now_utc() - time::Duration::HOUR;
    at.format(&time::format_description::well_known::Rfc3339).expect("a time")
}

#[test]
fn a_revocation_reaches_through_vocabularies() {
    // Held and taken in the two languages in which Jira asks for one right, and a third.
    for (granted, kind, taken) in [
        ("write:jira-work", "oauth", "write:issue:jira"),
        ("write:issue:jira", "oauth", "write:jira-work"),
        ("write:jira-work", "oauth", "WRITE"),
        ("WRITE", "connect", "write:jira-work"),
        ("WRITE", "connect", "write:issue:jira"),
    ] {
        let rules = format!(
            "grants: [{{scopes: ['{granted}'], actors: [app], in: all}}]\n\
             revocations: [{{scopes: ['{taken}'], in: {{project: [SEC]}}, reason: SEC-1142}}]\n"
        );
        let gate = Setup::jira().policy("a.yaml", &jira_app("tracker", kind, &rules)).start();
        gate.refuses(&edit("SEC-1"), "container_revoked");
        gate.passes(&edit("PROJ-1"));
        // Spelled in lower case it is the same issue.
        gate.refuses(&edit("sec-1"), "container_revoked");
    }
}

#[test]
fn revoking_read_takes_write_and_delete_too_and_revoking_admin_leaves_read() {
    let rules = |taken: &str| {
        format!(
            "grants: [{{scopes: [ADMIN, 'gate:admit'], actors: [app], in: all}}]\n\
             revocations: [{{scopes: [{taken}], in: {{project: [SEC]}}, reason: x}}]\n"
        )
    };
    let delete = |key: &str| signed("DELETE", &issue(key));
    let read = |key: &str| signed("GET", &issue(key));
    let gate = gantt(&rules("READ"));
    gate.refuses(&delete("SEC-1"), "container_revoked");
    gate.refuses(&signed("PUT", &issue("SEC-1")).json("{}"), "container_revoked");
    gate.refuses(&read("SEC-1"), "container_revoked");
    gate.passes(&delete("PROJ-1"));
    let gate = gantt(&rules("ADMIN"));
    gate.passes(&read("SEC-1"));
    gate.passes(&delete("SEC-1"));
    // What reaches the whole tenant reaches SEC.
    gate.refuses(&signed("PUT", "/rest/api/3/permissionscheme/1").json("{}"), "container_revoked");
    let gate = gantt(&rules("DELETE"));
    gate.refuses(&delete("SEC-1"), "container_revoked");
    gate.passes(&signed("PUT", &issue("SEC-1")).json("{}"));
}

#[test]
fn a_read_grant_does_not_allow_a_write() {
    let gate = tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n");
    gate.passes(&get(&issue("PROJ-1")));
    let answer = gate.refuses(&edit("PROJ-1"), "missing_scope");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["message"], "Unauthorized; scope does not match");
    assert_eq!(answer.json()["scopegate"]["needed"][0], "write:jira-work");
    gate.refuses(&Ask::new("DELETE", &issue("PROJ-1")).bearer("tracker"), "missing_scope");
}

const LIMITED: &str =
    "grants: [{scopes: [read:jira-work, write:jira-work, read:jira-user], actors: [app], in: {project: [PROJ]}}]\n";

#[test]
fn a_grant_that_is_limited_to_projects_reaches_those_and_no_other() {
    let gate = tracker(LIMITED);
    gate.passes(&get(&issue("PROJ-1")));
    gate.passes(&get(&issue("proj-1")));
    gate.passes(&edit("PROJ-1"));
    gate.passes(&get(&format!("{API}/project/PROJ")));
    for (path, named) in [(issue("OTHER-1"), "OTHER"), (format!("{API}/project/OTHER"), "OTHER")] {
        let answer = gate.refuses(&get(&path), "container_not_granted");
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["scopegate"]["container"]["name"], named);
        assert!(answer.json()["errorMessages"].is_array(), "{}", answer.body);
    }
    // An issue's number tells no project; names are as written here, so a project's number is another project.
    gate.refuses(&get(&issue("10001")), "container_unresolved");
    gate.refuses(&get(&format!("{API}/project/10002")), "container_not_granted");
    // What reaches the whole tenant needs a grant in all of it.
    for path in
        ["/search?jql=status%3DOpen", "/search/jql?jql=text", "/project/search", "/dashboard", "/attachment/10000"]
    {
        gate.refuses(&get(&format!("{API}{path}")), "container_not_granted");
    }
    // What reaches nothing is open to whoever holds its scope anywhere.
    gate.passes(&get(&format!("{API}/myself")));
    gate.passes(&get(&format!("{API}/attachment/meta")));
    gate.passes(&get(&format!("{API}/mypermissions?projectKey=PROJ&permissions=BROWSE_PROJECTS")));
    gate.refuses(&get(&format!("{API}/mypermissions?projectKey=OTHER")), "container_not_granted");
    gate.refuses(&get(&format!("{API}/mypermissions")), "container_not_granted");
}

#[test]
fn without_the_opt_outs_a_key_proves_a_refusal_and_no_permit() {
    let setup = || Setup::jira().without("issue_keys").without("names");
    let gate = setup().policy("a.yaml", &jira_app("tracker", "oauth", LIMITED)).start();
    gate.refuses(&get(&issue("PROJ-1")), "container_unresolved");
    gate.refuses(&get(&format!("{API}/project/PROJ")), "container_unresolved");
    let rules = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n\
                 revocations: [{scopes: [read:jira-work], in: {project: [SEC]}, reason: x}]\n";
    let gate = setup().policy("a.yaml", &jira_app("tracker", "oauth", rules)).start();
    gate.refuses(&get(&issue("SEC-1")), "container_revoked");
    gate.refuses(&get(&issue("PROJ-1")), "container_revoked");
}

#[test]
fn an_issue_is_created_only_in_the_project_that_its_body_names() {
    let gate = tracker(LIMITED);
    for body in [
        r#"{"fields":{"project":{"key":"PROJ"},"summary":"Größe \u00e9 \ud83d\ude00"}}"#,
        r#"{ "fields" : { "summary" : "x" , "project" : { "key" : "proj" } } }"#,
        "{\"fields\":{\"project\":{\"key\":\"PROJ\"},\"parent\":{\"key\":\"PROJ-7\"}}}\n",
    ] {
        let seen = gate.passes(&create(body));
        assert_eq!(String::from_utf8_lossy(&seen.body), body, "a held body goes on byte for byte");
        assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str()));
        let seen = gate.passes_raw(&create(body).chunked());
        assert!(String::from_utf8_lossy(&seen.body).contains(body));
    }
    for body in [
        r#"{"fields":{"project":{"key":"OTHER"}}}"#,
        r#"{"fields":{"project":{"key":"PROJ"},"parent":{"key":"OTHER-7"}}}"#,
        // Key and id together may name two projects.
        r#"{"fields":{"project":{"key":"PROJ","id":"10001"}}}"#,
        r#"{"fields":{"project":{"key":"PROJ"}},"update":{"issuelinks":[{"add":{}}]}}"#,
        r#"{"fields":{}}"#,
    ] {
        gate.refuses(&create(body), "container_not_granted");
        gate.refuses_raw(&create(body).chunked(), "container_not_granted");
    }
    // A number tells no project.
    gate.refuses(&create(r#"{"fields":{"parent":{"id":"10000"}}}"#), "container_unresolved");
    for body in [
        r#"{"fields":{"project":{"key":"PROJ","key":"OTHER"}}}"#,
        r#"{"fields":{"project":{"key":"PROJ"}},"fields":{"project":{"key":"OTHER"}}}"#,
        r#"{"fields":{"project":{"key":["PROJ","OTHER"]}}}"#,
        r#"{"fields":{"project":{"key":"PROJ OTHER"}}}"#,
        r#"{"fields":{"project":{"key":{"key":"PROJ"}}}}"#,
        r#"{"fields":{"project":{"key":"PROJ"}}"#,
        "[]",
    ] {
        gate.refuses(&create(body), "bad_request");
    }
    let by_id = tracker("grants: [{scopes: [write:jira-work], actors: [app], in: {project: ['10001']}}]\n");
    by_id.passes(&create(r#"{"fields":{"project":{"id":"10001"}}}"#));
    by_id.passes(&create(r#"{"fields":{"project":{"id":10001}}}"#));
    by_id.refuses(&create(r#"{"fields":{"project":{"id":"10002"}}}"#), "container_not_granted");
    by_id.refuses(&create(r#"{"fields":{"project":{"id":"010001"}}}"#), "bad_request");
    by_id.refuses(&create(r#"{"fields":{"project":{"key":"PROJ"}}}"#), "container_not_granted");
    let all = tracker("grants: [{scopes: [write:jira-work], actors: [app], in: all}]\n");
    all.passes(&create(r#"{"fields":{"project":{"key":"PROJ","id":"10001"}}}"#));
    all.passes(&create(r#"{"fields":{"project":{"key":"PROJ"}},"update":{"issuelinks":[{"add":{}}]}}"#));
}

#[test]
fn an_issue_is_not_moved_into_a_project_by_editing_it() {
    let gate = tracker(LIMITED);
    let edit = |body: &str| Ask::put(&issue("PROJ-1")).bearer("tracker").json(body);
    gate.passes(&edit(r#"{"fields":{"summary":"x"}}"#));
    gate.refuses(&edit(r#"{"fields":{"project":{"key":"OTHER"}}}"#), "container_not_granted");
    gate.refuses(&edit(r#"{"fields":{"parent":{"key":"OTHER-1"}}}"#), "container_not_granted");
    gate.refuses(&edit(r#"{"update":{"parent":[{"set":{"key":"OTHER-1"}}]}}"#), "container_not_granted");
}

#[test]
fn a_search_reaches_the_projects_that_its_query_stays_within() {
    let gate = tracker(LIMITED);
    let asked = |jql: &str| {
        let encoded: String = jql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = serde_json::json!({ "jql": jql, "fields": ["summary"] }).to_string();
        [
            get(&format!("{API}/search?jql={encoded}")),
            get(&format!("{API}/search/jql?fields=summary&jql={encoded}&nextPageToken=x")),
            Ask::post(&format!("{API}/search")).bearer("tracker").json(&body),
            Ask::post(&format!("{API}/search/jql")).bearer("tracker").json(&body),
            Ask::post(&format!("{API}/search/approximate-count")).bearer("tracker").json(&body),
        ]
    };
    for jql in [
        "project = PROJ",
        "project = proj AND status = Open ORDER BY created",
        "key in (PROJ-1, PROJ-2)",
        "assignee = currentUser() AND (project = PROJ OR key = PROJ-7)",
    ] {
        for ask in asked(jql) {
            gate.passes(&ask);
        }
    }
    for jql in [
        "project = OTHER",
        "project = PROJ OR project = OTHER",
        "project in (PROJ, OTHER)",
        "project = PROJ OR status = Open",
        "NOT project = OTHER",
        "project != OTHER",
        "project = \"My project\"",
        "project = 10001",
        "key = OTHER-1",
        "parent = PROJ-1",
        "project = PROJ AND issue in linkedIssues(OTHER-1)",
        "project was PROJ",
        "project = PROJ || 1 = 1",
        "status = Open",
        "",
    ] {
        for ask in asked(jql) {
            gate.refuses(&ask, "container_not_granted");
        }
    }
    for path in ["/search", "/search/jql", "/search/jql?jql="] {
        gate.refuses(&get(&format!("{API}{path}")), "container_not_granted");
    }
    let by_number = get(&format!("{API}/search/jql?jql=project%3DPROJ&reconcileIssues=10001"));
    gate.refuses(&by_number, "container_unresolved");
    // Issues by number stand beside what is found, and another query beside the one in the body.
    let post = |query: &str, body: &str| Ask::post(&format!("{API}/search/jql{query}")).bearer("tracker").json(body);
    gate.refuses(&post("", r#"{"jql":"project = PROJ","reconcileIssues":[10001]}"#), "container_unresolved");
    gate.refuses(&post("?jql=project=OTHER", r#"{"jql":"project = PROJ"}"#), "container_not_granted");
    gate.refuses(&post("?jql=status=Open", r#"{"jql":"project = PROJ"}"#), "container_not_granted");
    gate.passes(&post("?jql=project=PROJ", r#"{"jql":"project = PROJ"}"#));
    for body in [
        r#"{"jql":"project = PROJ","j\u0071l":"project = OTHER"}"#,
        r#"{"jql":"project = PROJ","JQL":"project = OTHER"}"#,
        r#"{"jql":["project = PROJ"]}"#,
        r#"{"jql":{"query":"project = PROJ"}}"#,
    ] {
        gate.refuses(&post("", body), "bad_request");
    }
    gate.refuses(&get(&format!("{API}/search/jql?jql=project=PROJ&jql=project=OTHER")), "bad_request");
    gate.refuses(&get(&format!("{API}/search/jql?jql=project=PROJ&JQL=project=OTHER")), "bad_request");
    // Text that two readers could decode to two queries is no reason to refuse who may search everywhere.
    let all = tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n");
    for jql in ["text+~+%22R%26D%22", "text+~+%22a;b%22", "text+~+%22100%2525%22", "project=PROJ%0AAND+status=Open", ""]
    {
        all.passes(&get(&format!("{API}/search/jql?jql={jql}")));
        gate.refuses(&get(&format!("{API}/search/jql?jql={jql}")), "container_not_granted");
    }
}

#[test]
fn a_word_of_a_query_may_be_what_another_project_is_called() {
    let search = |jql: &str| get(&format!("{API}/search/jql?jql={jql}"));
    let secret = "revocations: [{scopes: [read:jira-work], in: {project: [SEC]}, reason: SEC-9}]\n";
    // SEC may be called "Legal", and a project's key is looked for before its name.
    let gate = tracker(&format!("grants: [{{scopes: [read:jira-work], actors: [app], in: all}}]\n{secret}"));
    for jql in ["project=SEC", "project=sec", "project=Legal", "project=PROJ", "project=10001", "key=SEC-1"] {
        gate.refuses(&search(jql), "container_revoked");
    }
    gate.passes(&search("key=PROJ-1"));
    // A grant that names the project says that there is one with that key.
    let named = "grants:\n  - {scopes: [read:jira-work], actors: [app], in: all}\n  \
                 - {scopes: [read:jira-user], actors: [app], in: {project: [PROJ]}}\n";
    let gate = tracker(&format!("{named}{secret}"));
    gate.passes(&search("project=PROJ"));
    for jql in ["project=SEC", "project=Legal", "project=PROJ+OR+project=Legal", "project=10001"] {
        gate.refuses(&search(jql), "container_revoked");
    }
    // One that gives nothing says nothing.
    let shadow = named.replace("in: {project: [PROJ]}", "in: {project: [PROJ]}, mode: shadow");
    tracker(&format!("{shadow}{secret}")).refuses(&search("project=PROJ"), "container_revoked");
    let ended = named.replace("in: {project: [PROJ]}", "in: {project: [PROJ]}, valid: {until: 2020-01-01T00:00:00Z}");
    tracker(&format!("{ended}{secret}")).refuses(&search("project=PROJ"), "container_revoked");
}

#[test]
fn many_issues_are_judged_by_where_each_of_them_lies() {
    let gate = tracker(LIMITED);
    let create = |body: &str| Ask::post(&format!("{API}/issue/bulk")).bearer("tracker").json(body);
    let in_project = |key: &str| format!(r#"{{"fields":{{"project":{{"key":"{key}"}},"summary":"x"}}}}"#);
    let updates = |items: &[&str]| format!(r#"{{"issueUpdates":[{}]}}"#, items.join(","));
    let (own, other) = (in_project("PROJ"), in_project("OTHER"));
    gate.passes(&create(&updates(&[&own, &in_project("proj")])));
    for second in [
        &*other,
        r#"{"fields":{"summary":"x"}}"#,
        r#"{"fields":{"parent":{"key":"OTHER-1"}}}"#,
        r#"{"fields":{"project":{"key":"PROJ"}},"update":{"issuelinks":[]}}"#,
        r#"{"fields":{"project":{"key":"PROJ"},"issuelinks":[]}}"#,
        // A name that is not read must not be covered by a parent that is.
        r#"{"fields":{"project":{"name":"SEC"},"parent":{"key":"PROJ-1"}}}"#,
        "{}",
    ] {
        gate.refuses(&create(&updates(&[&own, second])), "container_not_granted");
        gate.refuses_raw(&create(&updates(&[second, &own])).chunked(), "container_not_granted");
    }
    for body in [&*updates(&[]), r#"{"issueUpdates":"x"}"#, &updates(&["null"]), "[]"] {
        gate.refuses(&create(body), "bad_request");
    }
    let ask = |path: &str, body: &str| Ask::post(&format!("{API}{path}")).bearer("tracker").json(body);
    for (path, list) in [
        ("/bulk/issues/delete", "selectedIssueIdsOrKeys"),
        ("/bulk/issues/fields", "selectedIssueIdsOrKeys"),
        ("/bulk/issues/watch", "selectedIssueIdsOrKeys"),
        ("/bulk/issues/unwatch", "selectedIssueIdsOrKeys"),
        ("/issue/bulkfetch", "issueIdsOrKeys"),
        ("/changelog/bulkfetch", "issueIdsOrKeys"),
    ] {
        let ask = |issues: &str| ask(path, &format!(r#"{{"{list}":[{issues}]}}"#));
        gate.passes(&ask(r#""PROJ-1","proj-2""#));
        gate.refuses(&ask(r#""PROJ-1","OTHER-2""#), "container_not_granted");
        gate.refuses(&ask(r#""PROJ-1","10001""#), "container_unresolved");
        gate.refuses(&ask(r#""PROJ-1",10001"#), "container_unresolved");
        gate.refuses(&ask(r#""PROJ-1,OTHER-2""#), "bad_request");
        gate.refuses(&ask(""), "bad_request");
    }
    gate.refuses(&ask("/bulk/issues/delete", "{}"), "bad_request");
    let transition = |issues: &str| {
        let inputs = format!(r#"[{{"selectedIssueIdsOrKeys":["PROJ-1"]}},{{"selectedIssueIdsOrKeys":[{issues}]}}]"#);
        ask("/bulk/issues/transition", &format!(r#"{{"bulkTransitionInputs":{inputs}}}"#))
    };
    gate.passes(&transition(r#""PROJ-2""#));
    gate.refuses(&transition(r#""OTHER-2""#), "container_not_granted");
    gate.refuses(&transition(""), "bad_request");
}

#[test]
fn issues_are_moved_only_where_both_their_project_and_the_destination_are_granted() {
    let gate = tracker(LIMITED);
    let moved = |mapping: &str| {
        let body = format!(r#"{{"targetToSourcesMapping":{{{mapping}}}}}"#);
        Ask::post(&format!("{API}/bulk/issues/move")).bearer("tracker").json(&body)
    };
    gate.passes(&moved(r#""PROJ,10001":{"issueIdsOrKeys":["PROJ-1"]}"#));
    gate.passes(&moved(r#""PROJ,10001,PROJ-9":{"issueIdsOrKeys":["PROJ-1"],"inferFieldDefaults":true}"#));
    for mapping in [
        r#""OTHER,10001":{"issueIdsOrKeys":["PROJ-1"]}"#,
        r#""PROJ,10001":{"issueIdsOrKeys":["OTHER-1"]}"#,
        r#""PROJ,10001,OTHER-9":{"issueIdsOrKeys":["PROJ-1"]}"#,
        r#""PROJ,10001":{"issueIdsOrKeys":["PROJ-1"]},"OTHER,10001":{"issueIdsOrKeys":["PROJ-2"]}"#,
        r#""PROJ,10001":{"issueIdsOrKeys":["PROJ-1"],"targetClassification":[{"projectKeyOrId":"OTHER"}]}"#,
        r#""10002,10001":{"issueIdsOrKeys":["PROJ-1"]}"#,
    ] {
        gate.refuses(&moved(mapping), "container_not_granted");
    }
    gate.refuses(&moved(r#""PROJ,10001":{"issueIdsOrKeys":["10001"]}"#), "container_unresolved");
    for mapping in [
        r#""PROJ":{"issueIdsOrKeys":["PROJ-1"]}"#,
        r#""PROJ,10001":{}"#,
        r#""PROJ,10001":{"issueIdsOrKeys":[]}"#,
        r#""PROJ,10001":{"issueIdsOrKeys":["PROJ-1"]},"PROJ,1000\u0031":{"issueIdsOrKeys":["OTHER-1"]}"#,
        "",
    ] {
        gate.refuses(&moved(mapping), "bad_request");
    }
    let link = |inward: &str, outward: &str| {
        let body = format!(r#"{{"type":{{"name":"Blocks"}},"inwardIssue":{inward},"outwardIssue":{outward}}}"#);
        Ask::post(&format!("{API}/issueLink")).bearer("tracker").json(&body)
    };
    gate.passes(&link(r#"{"key":"PROJ-1"}"#, r#"{"key":"PROJ-2"}"#));
    for (other, reason) in [
        (r#"{"key":"OTHER-1"}"#, "container_not_granted"),
        (r#"{"key":"PROJ-1","id":"10001"}"#, "container_not_granted"),
        ("{}", "container_not_granted"),
        (r#"{"self":"https://acme.atlassian.net/rest/api/3/issue/OTHER-1"}"#, "container_not_granted"),
        // It would be looked up.
        (r#"{"id":"10001"}"#, "container_unresolved"),
    ] {
        gate.refuses(&link(r#"{"key":"PROJ-1"}"#, other), reason);
        gate.refuses(&link(other, r#"{"key":"PROJ-1"}"#), reason);
    }
}

#[test]
fn a_container_that_is_revoked_whole_says_so() {
    let gate = tracker(
        "grants: [{scopes: all, actors: [app], in: all}]\n\
         revocations: [{scopes: all, in: {project: [SEC]}, reason: SEC-9}]\n",
    );
    let answer = gate.refuses(&get(&issue("SEC-1")), "container_revoked");
    assert_eq!(answer.status, 404);
    gate.passes(&get(&issue("PROJ-1")));
    gate.refuses(&get(&format!("{API}/search/jql?jql=x")), "container_revoked");
}

#[test]
fn a_set_names_projects_in_one_place() {
    let set = |projects: &str| {
        format!(
            "version: 1\nset: sensitive\ntenant: acme\nproject: {projects}\n---\nversion: 1\nguardrail: walls\napps: all\n\
             tenants: all\nrevocations: [{{scopes: all, in: {{project: ['set:sensitive']}}, reason: SEC-9}}]\n"
        )
    };
    let rules = "grants: [{scopes: all, actors: [app], in: all}]\n";
    let start = |projects: &str| {
        let setup = Setup::jira().policy("a.yaml", &jira_app("tracker", "oauth", rules));
        setup.policy("set.yaml", &set(projects)).start()
    };
    let gate = start("[HR, SEC]");
    for path in [issue("HR-1"), issue("SEC-1"), format!("{API}/project/hr")] {
        gate.refuses(&get(&path), "container_revoked");
    }
    gate.passes(&get(&issue("PROJ-1")));
    // An id on one side and a name on the other: every revocation matches.
    let gate = start("[HR, '10007']");
    gate.refuses(&get(&issue("PROJ-1")), "container_revoked");
    gate.refuses(&get(&format!("{API}/project/10007")), "container_revoked");
}

#[test]
fn the_aliases_of_the_api_are_judged_the_same() {
    let gate = tracker(
        "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: {project: [PROJ]}}]\n\
         revocations: [{scopes: [write:jira-work], in: {project: [PROJ]}, reason: x}]\n",
    );
    for base in ["/rest/api/2", "/rest/api/3", "/rest/api/latest", "/ex/jira/acme/rest/api/3"] {
        let seen = gate.passes(&get(&format!("{base}/issue/PROJ-1")));
        assert_eq!(seen.line(), format!("GET {base}/issue/PROJ-1 HTTP/1.1"));
        gate.refuses(&get(&format!("{base}/issue/OTHER-1")), "container_not_granted");
        let put = Ask::put(&format!("{base}/issue/PROJ-1")).bearer("tracker").json("{}");
        gate.refuses(&put, "container_revoked");
    }
    for base in ["/rest/api/1", "/rest/api", "", "/rest/API/3", "/jira/rest/api/3", "/rest/api/33"] {
        gate.refuses(&get(&format!("{base}/issue/PROJ-1")), "unknown_operation");
    }
}

#[test]
fn what_the_catalog_does_not_know_is_refused_whatever_is_granted() {
    let gate = tracker("grants: [{scopes: all, actors: [app], in: all}]\n");
    for path in
        ["/rest/api/3/nothing", "/", "/rest/internal/api/latest/x", "/rest/api/3/issue", "/login.jsp", "/secure/admin"]
    {
        let answer = gate.refuses(&get(path), "unknown_operation");
        assert_eq!(answer.status, 404);
    }
    for method in ["PATCH", "DELETE", "OPTIONS"] {
        gate.refuses(&Ask::new(method, "/rest/api/3/myself").bearer("tracker"), "unknown_operation");
    }
    // `needs: unknown`: the vendor states no scope for them.
    gate.refuses(&Ask::put("/rest/api/3/mypreferences/locale").bearer("tracker").json("{}"), "unknown_operation");
    gate.refuses(&Ask::post("/rest/api/3/redact").bearer("tracker").json("{}"), "unknown_operation");
    // For Connect apps alone.
    gate.refuses(&get("/rest/api/3/jql/function/computation"), "missing_scope");
    // Only by who may: the vendor lets no Connect app call it.
    let connect = gantt(
        "grants: [{scopes: all, actors: [app], in: all}, {scopes: ['gate:admit', 'gate:deliver', 'gate:mint'], actors: [app], in: all}]\n",
    );
    connect.refuses(&signed("GET", "/rest/api/3/announcementBanner"), "missing_scope");
    connect.passes(&signed("GET", "/rest/api/3/jql/function/computation"));
}

#[test]
fn what_jira_tells_to_anyone_is_told_to_an_app_with_any_grant_and_to_no_other() {
    let server_info = || get("/rest/api/2/serverInfo");
    let limited = "grants: [{scopes: ['write:jira-work'], actors: [app], in: {project: [PROJ]}}]\n";
    tracker(limited).passes(&server_info());
    let revocation = |scopes: &str| format!("{limited}revocations: [{{scopes: {scopes}, in: all, reason: SEC-7}}]\n");
    // What it needs is no scope of the vendor's, so it stays when those are taken, and goes with everything.
    tracker(&revocation("['read:jira-work', READ]")).passes(&server_info());
    tracker(&revocation("all")).refuses(&server_info(), "scope_revoked");
    tracker("").refuses(&server_info(), "missing_scope");
}

#[test]
fn head_is_judged_as_the_get_that_it_is() {
    let gate = tracker(LIMITED);
    let head = |path: &str| Ask::new("HEAD", path).bearer("tracker");
    let seen = gate.passes(&head(&issue("PROJ-1")));
    assert_eq!(seen.line(), "HEAD /rest/api/3/issue/PROJ-1 HTTP/1.1");
    assert_eq!(gate.refuses(&head(&issue("OTHER-1")), "container_not_granted").status, 404);
    gate.refuses(&head("/rest/api/3/webhook/x"), "unknown_operation");
}

#[test]
fn an_app_that_is_not_described_by_a_grant_may_do_nothing() {
    let gate = tracker("grants: []\n");
    for path in [issue("PROJ-1"), format!("{API}/myself"), format!("{API}/serverInfo")] {
        gate.refuses(&get(&path), "missing_scope");
    }
}

#[test]
fn an_operation_is_granted_and_revoked_by_its_id() {
    let gate = tracker("grants: [{operations: [getIssue], actors: [app], in: {project: [PROJ]}}]\n");
    gate.passes(&get(&issue("PROJ-1")));
    gate.refuses(&get(&issue("OTHER-1")), "container_not_granted");
    gate.refuses(&edit("PROJ-1"), "missing_scope");
    let gate = tracker(
        "grants: [{scopes: [write:jira-work, read:jira-work], actors: [app], in: all}]\n\
         revocations: [{operations: [editIssue], in: all, reason: x}]\n",
    );
    let answer = gate.refuses(&edit("PROJ-1"), "operation_not_allowed");
    assert_eq!(answer.status, 403);
    gate.passes(&create(r#"{"fields":{"project":{"key":"PROJ"}}}"#));
}

#[test]
fn a_shadow_revocation_takes_nothing_and_says_what_it_would_have_done() {
    let gate = tracker(
        "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n\
         revocations: [{scopes: [read:jira-work], in: {project: [SEC]}, mode: shadow, reason: x}]\n",
    );
    gate.passes(&get(&issue("PROJ-1")));
    assert_eq!(gate.log.line(1)["outcome"], "permit");
    gate.passes(&get(&issue("SEC-1")));
    let line = gate.log.line(2);
    assert_eq!((&line["outcome"], &line["reason"]), (&"would_deny".into(), &"container_revoked".into()));
    assert!(line["decided_by"].as_str().is_some_and(|by| by.ends_with("tracker.yaml:12")), "{line}");
}

#[test]
fn a_shadow_grant_gives_nothing_and_says_what_it_would_have_given() {
    let gate = tracker(
        "grants:\n  - {scopes: [read:jira-work], actors: [app], in: {project: [PROJ, SEC]}, mode: shadow}\n  \
         - {scopes: [read:jira-user], actors: [app], in: all}\n\
         revocations: [{scopes: [read:jira-work], in: {project: [SEC]}, reason: x}]\n",
    );
    gate.refuses(&get(&issue("PROJ-1")), "missing_scope");
    assert_eq!(gate.log.line(1)["shadow"], "permit");
    // What it does not give, elsewhere or in itself, and what is revoked all the same.
    for (number, (ask, reason)) in [
        (get(&issue("OTHER-1")), "missing_scope"),
        (edit("PROJ-1"), "missing_scope"),
        (get(&issue("SEC-1")), "container_revoked"),
    ]
    .into_iter()
    .enumerate()
    {
        gate.refuses(&ask, reason);
        assert!(gate.log.line(number + 2)["shadow"].is_null(), "{reason}");
    }
}

#[test]
fn an_observed_installation_passes_for_want_of_a_grant_only_and_says_so() {
    let observe = format!("    observe: {{until: {}}}\n", in_a_week());
    let rules = format!(
        "{observe}grants: [{{scopes: [read:jira-work], actors: [app], in: {{project: [PROJ]}}}}]\nrevocations: [{{scopes: [write:jira-work], in: {{project: [SEC]}}, reason: x}}]\n"
    );
    let gate = tracker(&rules);
    let told = |ask: &Ask| {
        let answer = gate.ask(ask);
        assert_eq!((answer.status, answer.reason()), (200, None), "{}", answer.body);
        answer.field("x-scopegate-would").map(str::to_owned)
    };
    assert_eq!(told(&get(&issue("PROJ-1"))), None);
    assert_eq!(told(&get(&issue("OTHER-1"))).as_deref(), Some("container_not_granted"));
    assert_eq!(told(&edit("PROJ-1")).as_deref(), Some("missing_scope"));
    let line = gate.log.line(3);
    assert_eq!((&line["outcome"], &line["reason"]), (&"would_deny".into(), &"missing_scope".into()));
    gate.refuses(&edit("SEC-1"), "container_revoked");
    // It reaches the whole tenant, and SEC is in it.
    gate.refuses(&Ask::post("/rest/api/3/issue/bulk").bearer("tracker").json("{}"), "container_revoked");
    gate.refuses(&get("/rest/api/3/unknown"), "unknown_operation");
    gate.refuses(&get("/rest/api/3/issue/PROJ-1?token=a;b=%zz"), "bad_request");
    assert_eq!(gate.metric(r#"scopegate_observe{app="jira/tracker",gate="jira"}"#), 1.0);
}

fn in_a_week() -> String {
    in_hours(7 * 24)
}

/// Hours from now, as a policy writes it.
fn in_hours(hours: i64) -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::hours(hours);
    at.format(&time::format_description::well_known::Rfc3339).expect("a time")
}

const HOUR_MS: i64 = 3_600_000;

/// Long before anything began.
const YEARS_AGO_MS: i64 = -10 * 365 * 24 * HOUR_MS;

#[test]
fn what_has_ended_or_begun_stays_so_over_a_backward_step_of_the_clock() {
    let (hour, two) = (in_hours(1), in_hours(2));
    let gate = tracker(&format!(
        "grants:\n  - {{scopes: [read:jira-work], actors: [app], in: all, valid: {{until: '{hour}'}}}}\n  \
         - {{scopes: [write:jira-work], actors: [app], in: {{project: [PROJ]}}}}\n  \
         - {{scopes: ['manage:jira-configuration'], actors: [app], in: all, valid: {{from: '{hour}', until: '{two}'}}}}\n\
         revocations: [{{scopes: [write:jira-work], in: all, valid: {{from: '{hour}'}}, reason: SEC-1}}]\n"
    ));
    let clock = |offset_ms| gate.running().live.clock().set_ahead_ms(offset_ms);
    let configure = || Ask::get("/rest/api/3/configuration/timetracking").bearer("tracker");
    gate.passes(&get(&issue("PROJ-1")));
    gate.passes(&edit("PROJ-1"));
    gate.refuses(&configure(), "not_yet_valid");
    clock(YEARS_AGO_MS);
    gate.passes(&get(&issue("PROJ-1")));
    gate.passes(&edit("PROJ-1"));

    clock(HOUR_MS + 60_000);
    gate.passes(&configure());
    gate.refuses(&get(&issue("PROJ-1")), "expired");
    gate.refuses(&edit("PROJ-1"), "scope_revoked");
    let generation = gate.running().live.load().generation;
    for offset_ms in [HOUR_MS - 60_000, 0, -HOUR_MS, YEARS_AGO_MS] {
        clock(offset_ms);
        gate.refuses(&get(&issue("PROJ-1")), "expired");
        gate.refuses(&edit("PROJ-1"), "scope_revoked");
    }
    assert_eq!(gate.running().live.load().generation, generation, "it was the clock alone");
    clock(3 * HOUR_MS);
    gate.refuses(&configure(), "expired");
    clock(HOUR_MS + 60_000);
    gate.refuses(&configure(), "expired");
    // What is read anew is judged by the same clock.
    let rules = format!("grants: [{{scopes: [read:jira-work], actors: [app], in: all, valid: {{until: '{two}'}}}}]\n");
    gate.write_policy("tracker.yaml", &jira_app("tracker", "oauth", &rules));
    crate::support::upstream::wait_until("the new file to be in force", || {
        gate.running().live.load().generation > generation
    });
    gate.refuses(&get(&issue("PROJ-1")), "expired");
}

#[test]
fn a_token_that_has_run_out_stays_so_over_a_backward_step_of_the_clock() {
    let gate = gantt("grants: [{scopes: [READ], actors: [app], in: all}]\n");
    let clock = |offset_ms| gate.running().live.clock().set_ahead_ms(offset_ms);
    let asked = signed("GET", &issue("PROJ-1"));
    gate.passes(&asked);
    clock(HOUR_MS);
    gate.refuses(&asked, "unidentified");
    for offset_ms in [0, YEARS_AGO_MS] {
        clock(offset_ms);
        gate.refuses(&asked, "unidentified");
    }
}

#[test]
fn a_grant_outside_its_time_gives_nothing() {
    let gate =
        tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all, valid: {until: 2021-01-01T00:00:00Z}}]\n");
    let answer = gate.refuses(&get(&issue("PROJ-1")), "expired");
    assert_eq!(answer.status, 401);
    let gate =
        tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all, valid: {from: 2999-01-01T00:00:00Z}}]\n");
    gate.refuses(&get(&issue("PROJ-1")), "not_yet_valid");
}

#[test]
fn a_grant_for_other_pipelines_or_arguments_gives_nothing() {
    let rule = |term: &str| format!("grants: [{{scopes: [read:jira-work], actors: [app], in: all, {term}}}]\n");
    for (term, reason) in [
        ("pipelines: ['7']", "pipeline_not_allowed"),
        ("where: {webhook_host: [hooks.example.com]}", "argument_not_allowed"),
    ] {
        let gate = tracker(&rule(term));
        assert_eq!(gate.refuses(&get(&issue("PROJ-1")), reason).status, 403);
    }
    // A credential's document says which pipeline it is of.
    let of = |pipeline: &str| {
        let policy = jira_app("tracker", "oauth", &rule("pipelines: ['7']"));
        policy.replace("kind: oauth,", &format!("kind: oauth, pipeline: '{pipeline}',"))
    };
    Setup::jira().policy("tracker.yaml", &of("7")).start().passes(&get(&issue("PROJ-1")));
    Setup::jira().policy("tracker.yaml", &of("8")).start().refuses(&get(&issue("PROJ-1")), "pipeline_not_allowed");
}

#[test]
fn a_suspended_app_is_told_so_and_keeps_its_token() {
    let act = "version: 1\napp: jira/tracker\nsuspensions: [{reason: INC-1, by: dana@example.com}]\n";
    let rules = "grants: [{scopes: all, actors: [app], in: all}]\n";
    let gate = Setup::jira()
        .top("overrides", "overrides")
        .policy("a.yaml", &jira_app("tracker", "oauth", rules))
        .policy("b.yaml", &jira_app("other", "oauth", rules))
        .file("overrides/1.yaml", act)
        .start();
    let answer = gate.refuses(&get(&issue("PROJ-1")), "app_suspended");
    assert_eq!(answer.status, 403);
    gate.refuses(&get("/rest/api/3/unknown"), "app_suspended");
    gate.passes(&Ask::get(&issue("PROJ-1")).bearer("other"));
}

#[test]
fn a_user_acts_where_the_app_alone_may_not() {
    let policy = "version: 1\napp: jira/tracker\nname: T\ncontact: c\ninstallations:\n  - tenant: acme\n    credentials:\n      \
                  - {method: token, kind: oauth, sha256: sha256(app-token)}\n      \
                  - {method: token, kind: oauth, user: '557058:dana', sha256: sha256(dana-token)}\n\
                  grants:\n  - {scopes: [write:jira-work], actors: [user], in: {project: [PROJ]}}\n";
    let gate = Setup::jira().policy("a.yaml", policy).start();
    let edit = |key: &str, token: &str| Ask::put(&issue(key)).bearer(token).json("{}");
    gate.passes(&edit("PROJ-1", "dana-token"));
    assert_eq!(gate.refuses(&edit("PROJ-1", "app-token"), "actor_not_allowed").status, 403);
    gate.refuses(&edit("OTHER-1", "dana-token"), "container_not_granted");
    let line = gate.log.line(3);
    assert_eq!((&line["actor"], &line["user"]), (&"user".into(), &"557058:dana".into()));
}

#[test]
fn requests_of_one_connection_are_judged_one_by_one() {
    let gate = tracker(LIMITED);
    let mut client = gate.connect();
    let (passes, refused) = (get(&issue("PROJ-1")).text(), get(&issue("OTHER-1")).text());
    client.send(&format!("{passes}{refused}{passes}{refused}"));
    let answers: Vec<(u16, bool)> = (0..4).map(|_| client.answer()).map(|a| (a.status, a.reason().is_some())).collect();
    assert_eq!(answers, [(200, false), (404, true), (200, false), (404, true)]);
    assert_eq!(gate.upstream.requests().len(), 2);
}
