//! What a request asks for by its arguments, and the scopes that this needs on top of what its operation does. Every way to
//! write it that some reader takes for it needs the stronger ones, or is refused.

use super::*;
use crate::support::client::Answer;

fn granted(scopes: &str) -> String {
    format!("grants: [{{scopes: [{scopes}], actors: [app], in: all}}]\n")
}

fn gate_of(setup: Setup, product: &str, kind: &str, rules: &str) -> Gate {
    setup.policy("app.yaml", &product_app(product, "app", kind, rules)).start()
}

fn needed(answer: &Answer) -> Vec<String> {
    let needed = answer.json()["scopegate"]["needed"].clone();
    needed.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

// Bitbucket: a webhook's events.

const HOOKS: &str = "/2.0/repositories/acme/web/hooks";

fn bitbucket(scopes: &str) -> Gate {
    gate_of(Setup::bitbucket(), "bitbucket", "oauth", &granted(scopes))
}

fn hook(body: &str) -> Ask {
    Ask::post(HOOKS).bearer("app").json(body)
}

fn events(events: &str) -> Ask {
    hook(&format!(r#"{{"url":"https://hooks.example.com/","active":true,"events":{events}}}"#))
}

#[test]
fn a_webhook_needs_the_scope_of_each_of_its_events() {
    let gate = bitbucket("webhook, repository, 'gate:deliver'");
    gate.passes(&events(r#"["repo:push"]"#));
    gate.passes(&events(r#"["repo:push","repo:fork","repo:push"]"#));
    gate.passes_raw(&events(r#"["repo:push"]"#).chunked());
    for (asked, scope) in [
        (r#"["issue:created"]"#, "issue"),
        (r#"["repo:push","issue:created"]"#, "issue"),
        (r#"["issue:updated","repo:push"]"#, "issue"),
        (r#"["repo:push","pullrequest:created"]"#, "pullrequest"),
        (r#"["repo:push","pipeline:span_created"]"#, "pipeline"),
        (r#"["project:updated"]"#, "project"),
    ] {
        let answer = gate.refuses(&events(asked), "missing_scope");
        assert_eq!(answer.status, 403, "{asked}");
        assert!(answer.body.contains(&format!("\"{scope}\"")), "{asked}: {}", answer.body);
    }
    // The vendor's own example.
    let example = r#"["repo:push","issue:created","issue:updated"]"#;
    bitbucket("webhook, repository, issue, 'gate:deliver'").passes(&events(example));
    bitbucket("webhook, issue, 'gate:deliver'").refuses(&events(example), "missing_scope");
    bitbucket("repository, issue, 'gate:deliver'").refuses(&events(example), "missing_scope");
    // Who may read pull requests may read the repository.
    bitbucket("webhook, pullrequest, 'gate:deliver'").passes(&events(r#"["repo:push","pullrequest:created"]"#));
}

/// An operation that is granted stands for its lines: what its arguments ask for is given by none of them, nor by a line of
/// another operation that is granted beside it.
#[test]
fn what_arguments_ask_for_is_not_given_with_another_operation() {
    let hooks = "repositories-workspace-repo-slug-hooks-post";
    let issues = "repositories-workspace-repo-slug-issues-get";
    let rules = |more: &str| {
        format!(
            "grants:\n  - {{operations: [{hooks}, {issues}], actors: [app], in: all}}\n  \
             - {{scopes: [repository, 'gate:deliver'{more}], actors: [app], in: all}}\n"
        )
    };
    let gate = gate_of(Setup::bitbucket(), "bitbucket", "oauth", &rules(""));
    gate.passes(&Ask::get("/2.0/repositories/acme/web/issues").bearer("app"));
    gate.passes(&events(r#"["repo:push"]"#));
    gate.refuses(&events(r#"["issue:created"]"#), "missing_scope");
    gate.refuses(&events(r#"["repo:push","issue:created"]"#), "missing_scope");
    gate_of(Setup::bitbucket(), "bitbucket", "oauth", &rules(", issue")).passes(&events(r#"["issue:created"]"#));
}

#[test]
fn the_new_scopes_of_bitbucket_are_asked_in_their_own_words() {
    let both = "'read:webhook:bitbucket', 'write:webhook:bitbucket', 'gate:deliver'";
    let gate =
        |scopes: &str| gate_of(Setup::bitbucket(), "bitbucket", "api_token", &granted(&format!("{both}, {scopes}")));
    gate("'read:issue:bitbucket'").passes(&events(r#"["issue:created"]"#));
    gate("'read:repository:bitbucket'").refuses(&events(r#"["issue:created"]"#), "missing_scope");
    gate("issue").refuses(&events(r#"["issue:created"]"#), "missing_scope");
}

#[test]
fn an_event_that_the_catalog_does_not_know_is_refused_whatever_is_granted() {
    let all = "webhook, repository, issue, pullrequest, pipeline, project, 'gate:deliver'";
    let gate = bitbucket(all);
    gate.passes(&events(r#"["repo:push","issue:created","pullrequest:created"]"#));
    for asked in [
        r#"["repo:secret_leaked"]"#,
        r#"["repo:push","repo:secret_leaked"]"#,
        r#"["Repo:Push"]"#,
        r#"["REPO:PUSH"]"#,
        r#"["repo:push "]"#,
        r#"[" repo:push"]"#,
        r#"["repo:push,issue:created"]"#,
        r#"["repo:*"]"#,
        r#"["repo%3apush"]"#,
        r#"[""]"#,
        r#"["repo"]"#,
        r#"[7]"#,
        "[\"repo:push\\u0000\"]",
    ] {
        let answer = gate.refuses(&events(asked), "unknown_operation");
        assert!(answer.body.contains("does not know"), "{asked}: {}", answer.body);
    }
    // An escape is no other spelling to any reader.
    gate.passes(&events("[\"repo:p\\u0075sh\"]"));
}

#[test]
fn a_list_of_events_that_could_be_read_in_two_ways_is_refused() {
    let gate = bitbucket("webhook, repository, issue, pullrequest, pipeline, project, 'gate:deliver'");
    for asked in [
        r#""repo:push""#,
        "[]",
        "{}",
        r#"{"0":"repo:push"}"#,
        "true",
        "7",
        r#"["repo:push",null]"#,
        r#"["repo:push",["issue:created"]]"#,
        r#"["repo:push",{"event":"issue:created"}]"#,
    ] {
        gate.refuses(&events(asked), "bad_request");
    }
    for body in [
        r#"{"events":["repo:push"],"events":["issue:created"]}"#,
        r#"{"events":["repo:push"],"event\u0073":["issue:created"]}"#,
        r#"{"events":["repo:push"],"Events":["issue:created"]}"#,
        r#"{"events":["repo:push"],"events[]":["issue:created"]}"#,
        r#"{"events":["repo:push"]"#,
        r#"[{"events":["repo:push"]}]"#,
    ] {
        gate.refuses(&hook(body), "bad_request");
    }
    let form = Ask::post(HOOKS).bearer("app");
    gate.refuses(&form.clone().form("events=repo:push"), "bad_request");
    gate.refuses(&form.clone().form("events=repo:push&events=issue:created"), "bad_request");
    gate.refuses(&form.clone().with("content-type", "text/plain").body(r#"{"events":["repo:push"]}"#), "bad_request");
    gate.refuses(&form.with("content-encoding", "gzip").json(r#"{"events":["repo:push"]}"#), "bad_request");
}

#[test]
fn very_many_events_are_refused_in_time() {
    let gate = bitbucket("webhook, repository, issue, pullrequest, pipeline, project, 'gate:deliver'");
    let many = |count: usize, event: &str| format!("[{}]", vec![format!("\"{event}\""); count].join(","));
    gate.passes(&events(&many(1_000, "repo:push")));
    gate.refuses(&events(&many(1_001, "repo:push")), "bad_request");
    // About a megabyte of them.
    gate.refuses(&events(&many(80_000, "repo:push")), "bad_request");
    gate.refuses(&events(&many(100_000, "a")), "bad_request");
    gate.refuses(&events(&many(200_000, "repo:push")), "body_too_large");
}

#[test]
fn a_webhook_that_is_changed_without_its_events_may_have_any() {
    let put = |path: &str, body: &str| Ask::put(path).bearer("app").json(body);
    let own = format!("{HOOKS}/%7B0d1c%7D");
    let some = bitbucket("webhook, repository, issue, 'gate:deliver'");
    for body in ["{}", r#"{"url":"https://hooks.example.com/"}"#, r#"{"active":true,"events":null}"#] {
        for path in [&own, "/2.0/workspaces/acme/hooks/%7B0d1c%7D"] {
            some.refuses(&put(path, body), "missing_scope");
        }
        some.refuses(&hook(body), "missing_scope");
    }
    some.refuses(&Ask::put(&own).bearer("app"), "missing_scope");
    some.passes(&put(&own, r#"{"events":["repo:push","issue:created"]}"#));
    some.passes(&put("/2.0/workspaces/acme/hooks/%7B0d1c%7D", r#"{"events":["repo:push"]}"#));
    let all = bitbucket("webhook, issue, pullrequest, pipeline, project, 'gate:deliver'");
    all.passes(&put(&own, r#"{"url":"https://hooks.example.com/"}"#));
    all.passes(&Ask::put(&own).bearer("app"));
    // Reading and deleting one asks for none of it.
    let bare = bitbucket("webhook");
    bare.passes(&Ask::get(HOOKS).bearer("app"));
    bare.passes(&Ask::new("DELETE", &own).bearer("app"));
}

#[test]
fn a_scope_that_is_taken_in_a_repository_takes_its_events_there_from_every_credential() {
    let rules = |scope: &str| {
        format!(
            "grants: [{{scopes: [webhook, repository, issue, 'read:webhook:bitbucket', 'write:webhook:bitbucket', \
             'read:repository:bitbucket', 'read:issue:bitbucket', 'gate:deliver'], actors: [app], in: all}}]\n\
             revocations: [{{scopes: [{scope}], in: {{repository: [web]}}, reason: SEC-1}}]\n"
        )
    };
    for kind in ["oauth", "api_token"] {
        for scope in ["issue", "'read:issue:bitbucket'"] {
            let gate = gate_of(Setup::bitbucket(), "bitbucket", kind, &rules(scope));
            gate.passes(&events(r#"["repo:push"]"#));
            gate.refuses(&events(r#"["repo:push","issue:created"]"#), "container_revoked");
            gate.refuses(&Ask::put(&format!("{HOOKS}/7")).bearer("app").json("{}"), "container_revoked");
            let other = |path: &str| Ask::post(path).bearer("app").json(r#"{"events":["issue:created"]}"#);
            gate.passes(&other("/2.0/repositories/acme/docs/hooks"));
            // A workspace's webhook is every repository's.
            gate.refuses(&other("/2.0/workspaces/acme/hooks"), "container_revoked");
        }
    }
}

#[test]
fn what_nobody_can_state_passes_under_observe_only_while_nothing_is_taken() {
    let observe = format!("    observe: {{until: {}}}\n", in_a_week());
    let unknown = || events(r#"["repo:secret_leaked"]"#);
    let gate = gate_of(Setup::bitbucket(), "bitbucket", "oauth", &observe);
    let answer = gate.ask(&unknown());
    assert_eq!((answer.status, answer.field("x-scopegate-would")), (200, Some("unknown_operation")));
    let taken = format!("{observe}revocations: [{{scopes: [snippet], in: all, reason: x}}]\n");
    let gate = gate_of(Setup::bitbucket(), "bitbucket", "oauth", &taken);
    gate.refuses(&unknown(), "unknown_operation");
    let answer = gate.ask(&events(r#"["issue:created"]"#));
    assert_eq!((answer.status, answer.field("x-scopegate-would")), (200, Some("missing_scope")));
    gate.refuses(&events(r#""issue:created""#), "bad_request");
}

fn in_a_week() -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    at.format(&time::format_description::well_known::Rfc3339).expect("a time")
}

// Confluence: what is expanded.

fn confluence(kind: &str, scopes: &str) -> Gate {
    gate_of(Setup::confluence(), "confluence", kind, &granted(scopes))
}

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("app")
}

const SUMMARY: &str = "'read:confluence-content.summary'";
const BOTH: &str = "'read:confluence-content.summary', 'read:confluence-content.all'";

#[test]
fn content_is_told_in_summary_and_expanded_only_with_the_scope_for_all_of_it() {
    let (summary, both) = (confluence("oauth", SUMMARY), confluence("oauth", BOTH));
    for path in [
        "/wiki/rest/api/content",
        "/wiki/rest/api/content/7",
        "/wiki/rest/api/content/7/child",
        "/wiki/rest/api/content/7/child/attachment",
        "/wiki/rest/api/content/7/child/comment",
        "/wiki/rest/api/content/7/child/page",
        "/wiki/rest/api/content/7/descendant",
        "/wiki/rest/api/content/7/descendant/page",
        "/wiki/rest/api/content/7/history",
        "/wiki/rest/api/content/7/version",
        "/wiki/rest/api/content/7/version/2",
        "/wiki/rest/api/relation/favourite/from/user/u/to/content",
        "/wiki/rest/api/relation/favourite/from/user/u/to/content/7",
        "/wiki/rest/api/relation/favourite/to/content/7/from/user",
        "/wiki/rest/api/space/ENG/content",
        "/wiki/rest/api/space/ENG/content/page",
        "/wiki/rest/api/template/blueprint",
        "/wiki/rest/api/template/page",
    ] {
        summary.passes(&get(path));
        summary.passes(&get(&format!("{path}?limit=5&expansion=body")));
        both.passes(&get(&format!("{path}?expand=body.storage,version")));
        let answer = summary.refuses(&get(&format!("{path}?expand=body.storage,version")), "missing_scope");
        assert_eq!(needed(&answer), ["read:confluence-content.all"], "{path}");
        summary.refuses(&Ask::new("HEAD", &format!("{path}?expand=body")).bearer("app"), "missing_scope");
    }
    // The scope for all of it does not stand for the one that the vendor asks for.
    confluence("oauth", "'read:confluence-content.all'").refuses(&get("/wiki/rest/api/content/7"), "missing_scope");
}

#[test]
fn however_an_expansion_is_written_it_needs_the_stronger_scope_or_is_refused() {
    let gate = confluence("oauth", SUMMARY);
    for query in [
        "expand=",
        "expand",
        "expand=space",
        "expand=version",
        "expand=&expand=body",
        "expand=body&expand=",
        "expand=,",
        "expand=body%2Estorage",
        "expand=body%2Cversion",
        "limit=1&expand=x",
        "expand=nothing",
        "expand=null",
        "expand=+",
    ] {
        gate.refuses(&get(&format!("/wiki/rest/api/content/7?{query}")), "missing_scope");
    }
    for query in [
        "Expand=body",
        "EXPAND=body",
        "%65xpand=body",
        "expan%64=body",
        "%2565xpand=body",
        "expand[]=body",
        "expand%5B%5D=body",
        "expand%20=body",
        "+expand=body",
        "limit=1;expand=body",
        "expand=body;x",
        "expand=%62ody%26",
        "expand=%00",
        "?expand=body",
    ] {
        gate.refuses(&get(&format!("/wiki/rest/api/content/7?{query}")), "bad_request");
    }
    // What is no name of the argument to any reader is no expansion.
    gate.passes(&get("/wiki/rest/api/content/7?xexpand=body&expands=body"));
}

#[test]
fn the_other_languages_of_confluence_make_no_difference_and_revocations_reach_them() {
    for (kind, scope) in [("connect", "READ"), ("oauth", "'read:content-details:confluence'")] {
        let gate = confluence(kind, scope);
        gate.passes(&get("/wiki/rest/api/content/7?expand=body"));
        let taken = format!(
            "{}revocations: [{{scopes: ['read:confluence-content.all'], in: all, reason: SEC-1}}]\n",
            granted(scope)
        );
        let gate = gate_of(Setup::confluence(), "confluence", kind, &taken);
        gate.passes(&get("/wiki/rest/api/content/7"));
        gate.refuses(&get("/wiki/rest/api/content/7?expand=body"), "scope_revoked");
        gate.refuses(&get("/wiki/rest/api/content/7?expand="), "scope_revoked");
    }
}

#[test]
fn what_is_expanded_of_an_answer_to_a_write_or_a_search_is_read_as_well() {
    let gate = confluence("oauth", "'write:confluence-content', 'search:confluence'");
    let body = r#"{"type":"page","title":"x","space":{"key":"ENG"}}"#;
    gate.passes(&Ask::post("/wiki/rest/api/content").bearer("app").json(body));
    gate.refuses(&Ask::post("/wiki/rest/api/content?expand=body.storage").bearer("app").json(body), "missing_scope");
    gate.passes(&get("/wiki/rest/api/content/search?cql=space%3DENG"));
    gate.refuses(&get("/wiki/rest/api/content/search?cql=space%3DENG&expand=body.storage"), "missing_scope");
    gate.refuses(&get("/wiki/rest/api/search?cql=space%3DENG&expand=body.storage"), "missing_scope");
    let copy = "/wiki/rest/api/content/7/copy";
    let body = r#"{"destination":{"type":"space","value":"ENG"}}"#;
    gate.passes(&Ask::post(copy).bearer("app").json(body));
    gate.refuses(&Ask::post(&format!("{copy}?expand=body.view")).bearer("app").json(body), "missing_scope");
}

/// By dots an expansion goes on from whatever is shown into the content that this belongs to.
#[test]
fn an_expansion_that_goes_on_into_content_needs_the_scope_for_it() {
    let scopes = "'read:confluence-props', 'read:confluence-space.summary', 'read:confluence-user', \
                  'read:confluence-groups', 'write:confluence-content', 'gate:admit'";
    let (without, with) = (confluence("oauth", scopes), confluence("oauth", &format!("{scopes}, {BOTH}")));
    for (path, own, into) in [
        ("/wiki/rest/api/content/7/property", "version,content", "content.body.storage"),
        ("/wiki/rest/api/content/7/property/k", "content", "content.ancestors"),
        ("/wiki/rest/api/space", "homepage,description.plain", "homepage.body.storage"),
        ("/wiki/rest/api/space/ENG", "settings,theme", "settings,homepage.children.page.body.view"),
        ("/wiki/rest/api/space/ENG/property", "version,space", "space.homepage.body"),
        ("/wiki/rest/api/user?accountId=1", "operations", "personalSpace.homepage.body.storage"),
        ("/wiki/rest/api/user/current", "personalSpace", "personalSpace.homepage"),
        ("/wiki/rest/api/group/member?name=x", "operations,personalSpace", "personalSpace.homepage"),
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        let ask = |expand: &str| get(&format!("{path}{and}expand={expand}"));
        without.passes(&get(path));
        without.passes(&ask(own));
        with.passes(&ask(into));
        for expand in [into, &format!("{own},{into}"), &format!("{own}&expand={into}"), &own.to_uppercase(), "", ","] {
            without.refuses(&ask(expand), "missing_scope");
        }
    }
    let restriction = "/wiki/rest/api/content/7/restriction";
    let put = |query: &str| Ask::put(&format!("{restriction}{query}")).bearer("app").json("[]");
    without.passes(&put("?expand=content,restrictions.user"));
    without.refuses(&put("?expand=content.body.storage"), "missing_scope");
}

// Jira: flags for admins.

fn jira(kind: &str, scopes: &str) -> Gate {
    gate_of(Setup::jira(), "jira", kind, &granted(scopes))
}

const ISSUE: &str = "/rest/api/3/issue/PROJ-1";

/// Every operation that has such a flag: what it is asked with, and the flag.
fn flagged() -> Vec<(Ask, &'static str)> {
    let ask = |method: &str, path: &str, flag: &str| Ask::new(method, &format!("{path}?{flag}")).bearer("app");
    let mut all = Vec::new();
    for flag in ["overrideScreenSecurity", "overrideEditableFlag"] {
        all.push((ask("PUT", ISSUE, flag).json("{}"), flag));
        all.push((ask("GET", &format!("{ISSUE}/editmeta"), flag), flag));
        all.push((ask("DELETE", "/rest/api/3/field/k/option/1/issue", flag), flag));
    }
    let flag = "overrideEditableFlag";
    all.push((ask("PUT", &format!("{ISSUE}/comment/1"), flag).json("{}"), flag));
    all.push((ask("POST", &format!("{ISSUE}/worklog"), flag).json("{}"), flag));
    all.push((ask("PUT", &format!("{ISSUE}/worklog/1"), flag).json("{}"), flag));
    all.push((ask("DELETE", &format!("{ISSUE}/worklog/1"), flag), flag));
    all.push((ask("DELETE", &format!("{ISSUE}/worklog"), flag).json(r#"{"ids":[1]}"#), flag));
    all.push((
        ask("POST", &format!("{ISSUE}/worklog/move"), flag).json(r#"{"ids":[1],"issueIdOrKey":"PROJ-2"}"#),
        flag,
    ));
    let flag = "overrideSharePermissions";
    all.push((ask("POST", "/rest/api/3/filter", flag).json(r#"{"name":"x","jql":"project = PROJ"}"#), flag));
    all.push((ask("GET", "/rest/api/3/filter/1", flag), flag));
    all.push((ask("GET", "/rest/api/3/filter/search", flag), flag));
    all.push((ask("PUT", "/rest/api/3/filter/1", flag).json(r#"{"name":"x","jql":"project = PROJ"}"#), flag));
    all
}

/// The same with another query.
fn with_query(ask: &Ask, flag: &str, query: &str) -> Ask {
    let text = ask.text();
    let line = text.lines().next().expect("a line");
    let (method, target) = (line.split(' ').next().expect("a method"), line.split(' ').nth(1).expect("a target"));
    let target = target.replace(&format!("?{flag}"), query);
    let ask = Ask::new(method, &target).bearer("app");
    match text.split_once("\r\n\r\n").map(|(_, body)| body).filter(|body| !body.is_empty()) {
        Some(body) => ask.json(body),
        None => ask,
    }
}

#[test]
fn a_flag_that_is_for_admins_needs_their_scope_wherever_it_is_raised() {
    let classic = "'read:jira-work', 'write:jira-work', 'gate:admit'";
    let (without, with) = ("DELETE, 'gate:admit'", "ADMIN, 'gate:admit'");
    let admin = format!("{classic}, 'manage:jira-configuration'");
    let gates = [
        (jira("connect", without), jira("connect", with), "ADMIN"),
        (jira("oauth", classic), jira("oauth", &admin), "manage:jira-configuration"),
    ];
    let mut asked = 0;
    for (low, high, scope) in &gates {
        for (ask, flag) in flagged() {
            // The option is replaced by admins alone, for an OAuth app.
            let is_admins = scope.starts_with("manage") && ask.text().contains("/option/");
            if !is_admins {
                low.passes(&with_query(&ask, flag, ""));
                low.passes(&with_query(&ask, flag, &format!("?{flag}=false&x=1")));
            }
            for value in ["true", "TRUE", "True", "1", "yes", "on", "", "False", "FALSE", "0", "no", "null", "%74rue"] {
                let raised = with_query(&ask, flag, &format!("?{flag}={value}"));
                assert!(needed(&low.refuses(&raised, "missing_scope")).iter().any(|one| one == scope), "{value}");
                high.passes(&raised);
                asked += 1;
            }
            low.refuses(&with_query(&ask, flag, &format!("?{flag}")), "missing_scope");
            for (query, said) in [
                (format!("?{flag}=false&{flag}=true"), "bad_request"),
                (format!("?{flag}=true&{flag}=true"), "bad_request"),
                (format!("?{}=true", flag.to_uppercase()), "bad_request"),
                (format!("?{}=true", flag.to_lowercase()), "bad_request"),
                (format!("?%6F{}=true", &flag[1..]), "bad_request"),
                (format!("?{flag}%20=true"), "bad_request"),
                (format!("?{flag}[]=true"), "bad_request"),
                (format!("?x=1;{flag}=true"), "bad_request"),
                (format!("?{flag}=false;true"), "bad_request"),
                (format!("?{flag}=%2574rue"), "bad_request"),
            ] {
                low.refuses(&with_query(&ask, flag, &query), said);
                high.refuses(&with_query(&ask, flag, &query), said);
            }
        }
    }
    assert_eq!(asked, 2 * 13 * flagged().len());
}

#[test]
fn a_flag_for_admins_is_held_where_the_issue_lies_and_taken_through_vocabularies() {
    let rules = "grants:\n  - {scopes: ['write:issue:jira', 'write:jira-work'], actors: [app], in: all}\n  \
                 - {scopes: ['manage:jira-configuration'], actors: [app], in: {project: [PROJ]}}\n";
    let edit = |key: &str, query: &str| Ask::put(&format!("/rest/api/3/issue/{key}{query}")).bearer("app").json("{}");
    let gate = gate_of(Setup::jira(), "jira", "oauth", rules);
    gate.passes(&edit("PROJ-1", "?overrideEditableFlag=true"));
    gate.passes(&edit("OPS-1", ""));
    gate.refuses(&edit("OPS-1", "?overrideEditableFlag=true"), "container_not_granted");
    for scope in ["ADMIN", "'manage:jira-configuration'", "'write:issue:jira'", "WRITE"] {
        let taken = format!("{rules}revocations: [{{scopes: [{scope}], in: {{project: [PROJ]}}, reason: SEC-1}}]\n");
        let gate = gate_of(Setup::jira(), "jira", "oauth", &taken);
        gate.refuses(&edit("PROJ-1", "?overrideEditableFlag=true"), "container_revoked");
        gate.refuses(&edit("PROJ-1", "?overrideScreenSecurity=1"), "container_revoked");
        match scope {
            "ADMIN" | "'manage:jira-configuration'" => drop(gate.passes(&edit("PROJ-1", ""))),
            _ => drop(gate.refuses(&edit("PROJ-1", ""), "container_revoked")),
        }
    }
}

/// By its operations alone a grant gives what the operations need, and nothing that they are asked for besides.
#[test]
fn a_grant_of_an_operation_gives_nothing_that_its_arguments_ask_for() {
    let rules = "grants: [{operations: [editIssue], actors: [app], in: all}]\n";
    for (kind, scope) in [("oauth", "manage:jira-configuration"), ("connect", "ADMIN")] {
        let gate = gate_of(Setup::jira(), "jira", kind, rules);
        let edit = |query: &str| Ask::put(&format!("{ISSUE}{query}")).bearer("app").json("{}");
        gate.passes(&edit(""));
        let answer = gate.refuses(&edit("?overrideScreenSecurity=true"), "missing_scope");
        assert_eq!(needed(&answer), [scope]);
    }
}

#[test]
fn a_signed_request_is_judged_by_its_flags_too() {
    let gate = gantt("grants: [{scopes: [WRITE], actors: [app], in: all}]\n");
    let ask = |query: &str, canonical: &str| {
        let token = jwt::valid(&format!("PUT&{ISSUE}&{canonical}"));
        Ask::put(&format!("{ISSUE}{query}")).with("authorization", &format!("JWT {token}")).json("{}")
    };
    gate.passes(&ask("", ""));
    gate.passes(&ask("?overrideEditableFlag=false", "overrideEditableFlag=false"));
    gate.refuses(&ask("?overrideEditableFlag=true", "overrideEditableFlag=true"), "missing_scope");
}

#[test]
fn a_webhook_for_events_that_its_query_says_nothing_of_is_refused() {
    let gate = gantt("grants: [{scopes: [READ, 'gate:deliver'], actors: [app], in: all}]\n");
    let hook = |webhooks: &str| {
        let body = format!(r#"{{"url":"https://hooks.example.com/","webhooks":{webhooks}}}"#);
        signed("POST", "/rest/api/3/webhook").json(&body)
    };
    gate.passes(&hook(r#"[{"events":["jira:issue_created","comment_created"],"jqlFilter":"project = PROJ"}]"#));
    gate.passes(&hook(r#"[{"events":["jira:issue_created"],"jqlFilter":"project = PROJ"},{"jqlFilter":"x = y"}]"#));
    for webhooks in [
        r#"[{"events":["jira:version_released"],"jqlFilter":"project = PROJ"}]"#,
        r#"[{"events":["jira:issue_created"],"jqlFilter":"project = PROJ"},{"events":["user_created"],"jqlFilter":"project = PROJ"}]"#,
        r#"[{"events":["jira:issue_created","Jira:issue_created"],"jqlFilter":"project = PROJ"}]"#,
    ] {
        gate.refuses(&hook(webhooks), "unknown_operation");
    }
    for webhooks in [
        r#"[{"events":"jira:issue_created","jqlFilter":"project = PROJ"}]"#,
        r#"[{"events":[],"jqlFilter":"project = PROJ"}]"#,
        r#"[{"events":["jira:issue_created"],"Events":["user_created"],"jqlFilter":"project = PROJ"}]"#,
        r#"{"events":["jira:issue_created"],"jqlFilter":"project = PROJ"}"#,
        r#"["jira:issue_created"]"#,
        r#""jira:issue_created""#,
    ] {
        gate.refuses(&hook(webhooks), "bad_request");
    }
}

#[test]
fn a_webhook_lies_where_its_query_stays() {
    let rules = "grants: [{scopes: [READ, 'gate:deliver'], actors: [app], in: {project: [PROJ, OPS]}}]\n\
                 revocations: [{scopes: ['gate:deliver'], in: {project: [OPS]}, reason: SEC-1}]\n";
    let gate = gantt(rules);
    let hook = |filters: &[&str]| {
        let one = |filter: &&str| format!(r#"{{"events":["jira:issue_updated"],"jqlFilter":"{filter}"}}"#);
        let webhooks = filters.iter().map(one).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"url":"https://hooks.example.com/","webhooks":[{webhooks}]}}"#);
        signed("POST", "/rest/api/3/webhook").json(&body)
    };
    gate.passes(&hook(&["project = PROJ"]));
    gate.passes(&hook(&["project = PROJ AND status != Done", "project in (PROJ)"]));
    gate.refuses(&hook(&["project = OPS"]), "container_revoked");
    gate.refuses(&hook(&["project = PROJ", "project = OPS"]), "container_revoked");
    gate.refuses(&hook(&["project = HR"]), "container_revoked");
    for filters in [&["project != HR"][..], &["status = Done"], &[""], &["project = PROJ", "status = Done"], &[]] {
        gate.refuses(&hook(filters), "container_revoked");
    }
    let gate = gantt("grants: [{scopes: [READ, 'gate:deliver'], actors: [app], in: {project: [PROJ]}}]\n");
    gate.passes(&hook(&["project = PROJ"]));
    for filters in
        [&["project = HR"][..], &["project != HR"], &["status = Done"], &["project = PROJ OR status = Done"], &[]]
    {
        gate.refuses(&hook(filters), "container_not_granted");
    }
    let without = r#"{"url":"https://hooks.example.com/","webhooks":[{"events":["jira:issue_updated"]}]}"#;
    gate.refuses(&signed("POST", "/rest/api/3/webhook").json(without), "container_not_granted");
}

// Slack: under another name.

const CUSTOMIZED: [(&str, &str); 3] =
    [("username", "Boss"), ("icon_url", "https://x.example/a.png"), ("icon_emoji", ":x:")];

#[test]
fn a_bot_speaks_under_another_name_only_with_the_scope_for_it() {
    let rules = |scopes: &str| format!("grants: [{{scopes: [{scopes}], actors: [app, user], in: all}}]\n");
    let without = assist(&rules("'chat:write', 'files:write'"));
    let with = assist(&rules("'chat:write', 'files:write', 'chat:write.customize'"));
    let methods = [
        ("chat.postMessage", r#""channel":"C0HELP","text":"x""#, "channel=C0HELP&text=x"),
        ("chat.postEphemeral", r#""channel":"C0HELP","text":"x","user":"U0DANA""#, "channel=C0HELP&text=x&user=U0DANA"),
        ("chat.startStream", r#""channel":"C0HELP","thread_ts":"1.2""#, "channel=C0HELP&thread_ts=1.2"),
        ("assistant.threads.setStatus", r#""channel_id":"C0HELP","status":"x""#, "channel_id=C0HELP&status=x"),
        ("files.completeUploadExternal", r#""files":[],"channel_id":"C0HELP""#, "files=[]&channel_id=C0HELP"),
    ];
    for (method, json, form) in methods {
        let path = format!("/api/{method}");
        let post = || Ask::post(&path).bearer("xoxb-assist");
        without.passes(&post().json(&format!("{{{json}}}")));
        without.passes(&post().form(form));
        for (name, value) in CUSTOMIZED {
            let all = [
                post().json(&format!(r#"{{{json},"{name}":"{value}"}}"#)),
                post().json(&format!(r#"{{{json},"{name}":""}}"#)),
                post().form(&format!("{form}&{name}=x")),
                post().form(&format!("{form}&{name}=")),
                post().form(&format!("{name}&{form}")),
                post().form(&format!("{form}&{name}=null")),
                Ask::post(&format!("{path}?{form}&{name}=x")).bearer("xoxb-assist"),
                Ask::post(&format!("{path}?{name}=x")).bearer("xoxb-assist").form(form),
            ];
            for ask in all {
                let answer = without.refuses(&ask, "missing_scope");
                assert_eq!(answer.json()["needed"], "chat:write.customize", "{}", answer.body);
                assert_eq!(answer.field("x-accepted-oauth-scopes"), Some("chat:write.customize"));
                with.passes(&ask);
            }
            // A JSON null is none.
            without.passes(&post().json(&format!(r#"{{{json},"{name}":null}}"#)));
            for ask in [
                post().json(&format!(r#"{{{json},"{name}":{{"a":1}}}}"#)),
                post().json(&format!(r#"{{{json},"{name}":true}}"#)),
                post().json(&format!(r#"{{{json},"{}":"x"}}"#, name.to_uppercase())),
                post().json(&format!(r#"{{{json},"{name}":"x","{name}":null}}"#)),
                post().form(&format!("{form}&{name}=a&{name}=b")),
                post().form(&format!("{form}&{}=x", name.to_uppercase())),
                post().form(&format!("{form}&{}=x", name.replacen('i', "%69", 1).replacen('u', "%75", 1))),
                Ask::post(&format!("{path}?{name}=x")).bearer("xoxb-assist").json(&format!("{{{json}}}")),
                Ask::post(&format!("{path}?{name}=x")).bearer("xoxb-assist").form(&format!("{form}&{name}=x")),
            ] {
                without.refuses(&ask, "bad_request");
                with.refuses(&ask, "bad_request");
            }
        }
    }
}

#[test]
fn another_name_is_taken_from_bots_and_users_alike_and_the_rest_goes_on() {
    let grant = "grants: [{scopes: ['chat:write', 'chat:write.customize'], actors: [app, user], in: all}]\n";
    let post = |token: &str, more: &str| {
        let body = format!(r#"{{"channel":"C0HELP","text":"x"{more}}}"#);
        Ask::post("/api/chat.postMessage").bearer(token).json(&body)
    };
    let named = r#","username":"Boss""#;
    let gate = assist(grant);
    gate.passes(&post("xoxb-assist", named));
    // A user posts as that user, whatever is asked for.
    assist("grants: [{scopes: ['chat:write'], actors: [user], in: all}]\n").passes(&post("xoxp-dana", named));
    let gate = assist(&format!("{grant}revocations: [{{scopes: ['chat:write.customize'], in: all, reason: SEC-1}}]\n"));
    for token in ["xoxb-assist", "xoxp-dana"] {
        gate.passes(&post(token, ""));
        gate.refuses(&post(token, named), "scope_revoked");
    }
    let there = "revocations: [{scopes: ['chat:write.customize'], in: {channel: [C0HELP]}, reason: SEC-1}]\n";
    let gate = assist(&format!("{grant}{there}"));
    gate.refuses(&post("xoxb-assist", named), "container_revoked");
    let other = r#"{"channel":"C0OTHER","text":"x","username":"Boss"}"#;
    gate.passes(&Ask::post("/api/chat.postMessage").bearer("xoxb-assist").json(other));
    // One that is granted where it is not asked for is not held here.
    let elsewhere = "grants:\n  - {scopes: ['chat:write'], actors: [app], in: all}\n  \
                     - {scopes: ['chat:write.customize'], actors: [app], in: {channel: [C0OTHER]}}\n";
    let gate = assist(elsewhere);
    gate.refuses(&post("xoxb-assist", named), "container_not_granted");
    gate.passes(&Ask::post("/api/chat.postMessage").bearer("xoxb-assist").json(other));
}
