//! `where`: a grant that says where webhooks may point gives nothing to a request that points elsewhere, or does not say
//! where in one way only.

use super::*;

const HOSTS: &str = "where: {webhook_host: [hooks.example.com, '*.example.org']}";

fn gantt_limited(term: &str) -> Gate {
    gantt(&format!(
        "grants:\n  - {{scopes: [READ], actors: [app], in: all}}\n  \
         - {{scopes: ['gate:deliver'], actors: [app], in: all, {term}}}\n"
    ))
}

fn register(url: &str) -> Ask {
    let url = serde_json::Value::from(url).to_string();
    hook(&format!(r#""url":{url},"#))
}

fn hook(url: &str) -> Ask {
    let webhooks = r#"[{"events":["jira:issue_created"],"jqlFilter":"project = PROJ"}]"#;
    signed("POST", "/rest/api/3/webhook").json(&format!(r#"{{{url}"webhooks":{webhooks}}}"#))
}

/// The use case: an app that must keep its webhooks, and could send every issue to a server of whoever broke in.
#[test]
fn a_webhook_points_where_the_grant_says_and_nowhere_else() {
    let gate = gantt_limited(HOSTS);
    for url in [
        "https://hooks.example.com",
        "https://hooks.example.com/",
        "HTTPS://HOOKS.Example.com/jira?key=%2F&x=y",
        "https://hooks.example.com/a@b",
        "https://a.example.org/",
        "https://a.b.example.org/x",
    ] {
        gate.passes(&register(url));
    }
    for url in [
        "https://evil.example/",
        "https://hooks.example.com.evil.example/",
        "https://evilhooks.example.com/",
        "https://a.hooks.example.com/",
        "https://example.com/",
        "https://example.org/",
        "https://evilexample.org/",
        "https://a.example.org.evil.example/",
        "http://hooks.example.com/",
        "//hooks.example.com/",
        "/jira",
        "hooks.example.com",
        "",
        "https://hooks.example.com:443/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com./",
        "https://user@hooks.example.com/",
        "https://hooks.example.com@evil.example/",
        "https://evil.example\\@hooks.example.com/",
        "https://hooks.example.com\\@evil.example/",
        "https://hooks.example.com#@evil.example/",
        "https://hooks.example.com?@evil.example/",
        "https://hooks.example.com;@evil.example/",
        "https://hooks.exam\tple.com/",
        "https://hooks.example.com\n/",
        " https://hooks.example.com/",
        "https://hooks.example\u{3002}com/",
        "https://\u{ff48}ooks.example.com/",
        "https://hooks\u{ad}.example.com/",
        "https://%68ooks.example.com/",
        "https://b\u{fc}cher.example.org/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https:/hooks.example.com/",
        "https:hooks.example.com/",
        "https://hooks.example.com/ https://evil.example/",
    ] {
        let answer = gate.refuses(&register(url), "argument_not_allowed");
        assert_eq!(answer.status, 403, "{url:?}");
        assert!(!answer.body.contains("example.org"), "what is granted is the policy's: {}", answer.body);
    }
    let line = gate.log.lines(1).last().cloned().expect("a line");
    assert!(!line.to_string().contains("hooks.example.com"), "no body is logged: {line}");
}

#[test]
fn a_request_that_does_not_say_where_it_points_is_refused() {
    let gate = gantt_limited(HOSTS);
    for url in [
        "",
        r#""url":null,"#,
        r#""url":7,"#,
        r#""url":["https://hooks.example.com/"],"#,
        r#""url":{"href":"https://hooks.example.com/"},"#,
        r#""urls":"https://hooks.example.com/","#,
        r#""link":{"url":"https://hooks.example.com/"},"#,
    ] {
        gate.refuses(&hook(url), "argument_not_allowed");
    }
    for url in [
        r#""url":"https://hooks.example.com/","url":"https://evil.example/","#,
        r#""url":"https://hooks.example.com/","\u0075rl":"https://evil.example/","#,
        r#""url":"https://hooks.example.com/","URL":"https://evil.example/","#,
        r#""url":"https://hooks.example.com/","url[]":"https://evil.example/","#,
    ] {
        gate.refuses(&hook(url), "bad_request");
    }
    let bare = |ask: Ask| ask.with("authorization", &format!("JWT {}", jwt::valid("POST&/rest/api/3/webhook&")));
    gate.refuses(&bare(Ask::post("/rest/api/3/webhook")), "argument_not_allowed");
    gate.refuses(&bare(Ask::post("/rest/api/3/webhook")).json("{}"), "argument_not_allowed");
    gate.refuses(&bare(Ask::post("/rest/api/3/webhook")).form("url=https://hooks.example.com/"), "bad_request");
    gate.refuses_raw(&register("https://evil.example/").chunked(), "argument_not_allowed");
    gate.passes_raw(&register("https://hooks.example.com/").chunked());
    // Nor does one that has no such place: these deliver as well.
    gate.refuses(&signed("PUT", "/rest/api/3/webhook/refresh").json(r#"{"webhookIds":[1]}"#), "argument_not_allowed");
    let modules = r#"{"jiraWebhooks":[{"url":"/hook","event":"jira:issue_created"}]}"#;
    let path = "/rest/atlassian-connect/1/app/module/dynamic";
    gate.refuses(&signed("POST", path).json(modules), "argument_not_allowed");
}

#[test]
fn a_limit_binds_its_own_grant_alone() {
    // Another grant gives it everywhere.
    let gate = gantt(&format!(
        "grants:\n  - {{scopes: [READ, 'gate:deliver'], actors: [app], in: {{project: [PROJ]}}}}\n  \
         - {{scopes: ['gate:deliver'], actors: [app], in: all, {HOSTS}}}\n"
    ));
    gate.passes(&register("https://evil.example/"));
    // Two limited ones give either.
    let gate = gantt(
        "grants:\n  - {scopes: [READ], actors: [app], in: all}\n  \
         - {scopes: ['gate:deliver'], actors: [app], in: all, where: {webhook_host: [a.example.com]}}\n  \
         - {scopes: ['gate:deliver'], actors: [app], in: all, where: {webhook_host: [b.example.com]}}\n",
    );
    gate.passes(&register("https://a.example.com/"));
    gate.passes(&register("https://b.example.com/"));
    gate.refuses(&register("https://c.example.com/"), "argument_not_allowed");
    // What is limited gives the rest of its scopes there alone.
    let gate = gantt(&format!("grants: [{{scopes: [READ, 'gate:deliver'], actors: [app], in: all, {HOSTS}}}]\n"));
    gate.passes(&register("https://hooks.example.com/"));
    gate.refuses(&signed("GET", "/rest/api/3/issue/PROJ-1"), "argument_not_allowed");
    // A revocation takes it whatever it points at.
    let gate = gantt(&format!(
        "grants: [{{scopes: [READ, 'gate:deliver'], actors: [app], in: all, {HOSTS}}}]\n\
         revocations: [{{scopes: ['gate:deliver'], in: all, reason: SEC-8}}]\n"
    ));
    gate.refuses(&register("https://hooks.example.com/"), "scope_revoked");
}

#[test]
fn of_several_reasons_the_limit_comes_after_who_and_before_where() {
    let rules = |term: &str| {
        format!(
            "grants:\n  - {{scopes: [READ], actors: [app], in: all}}\n  - {{scopes: ['gate:deliver'], {term}, {HOSTS}}}\n"
        )
    };
    let of = |term: &str, reason: &str| {
        let gate = gantt(&rules(term));
        gate.refuses(&register("https://evil.example/"), reason);
    };
    of("actors: [user], in: all", "actor_not_allowed");
    of("actors: [app], in: all, valid: {until: 2021-01-01T00:00:00Z}", "expired");
    of("actors: [app], in: {project: [OPS]}", "argument_not_allowed");
    let gate = gantt(&rules("actors: [app], in: {project: [OPS]}"));
    gate.refuses(&register("https://hooks.example.com/"), "container_not_granted");
}

#[test]
fn a_webhook_of_bitbuckets_keeps_to_its_hosts_when_it_is_changed() {
    let rules = format!(
        "grants:\n  - {{scopes: [webhook, issue, pullrequest, pipeline, project], actors: [app], in: all}}\n  \
         - {{scopes: ['gate:deliver'], actors: [app], in: all, {HOSTS}}}\n"
    );
    let gate = Setup::bitbucket().policy("app.yaml", &product_app("bitbucket", "app", "oauth", &rules)).start();
    let own = "/2.0/repositories/acme/web/hooks";
    let all = "/2.0/workspaces/acme/hooks";
    for path in [own, all] {
        for (method, path) in [("POST", path.to_owned()), ("PUT", format!("{path}/7"))] {
            let ask = |body: &str| Ask::new(method, &path).bearer("app").json(body);
            gate.passes(&ask(r#"{"url":"https://hooks.example.com/","events":["repo:push"]}"#));
            gate.refuses(&ask(r#"{"url":"https://evil.example/","events":["repo:push"]}"#), "argument_not_allowed");
            // It goes on sending wherever it did, which nobody here has seen.
            for body in [r#"{"events":["repo:push"]}"#, r#"{"active":true}"#, "{}", r#"{"url":null,"active":true}"#] {
                gate.refuses(&ask(body), "argument_not_allowed");
            }
            gate.refuses(&Ask::new(method, &path).bearer("app"), "argument_not_allowed");
        }
    }
    gate.passes(&Ask::new("DELETE", &format!("{own}/7")).bearer("app"));
}

#[test]
fn an_observed_app_is_told_that_its_webhook_would_be_refused() {
    let at = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    let at = at.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let rules = format!(
        "    observe: {{until: {at}}}\ngrants:\n  - {{scopes: [webhook, repository, 'gate:deliver'], actors: [app], in: all, \
         {HOSTS}}}\n"
    );
    let gate = Setup::bitbucket().policy("app.yaml", &product_app("bitbucket", "app", "oauth", &rules)).start();
    let ask = Ask::post("/2.0/repositories/acme/web/hooks").bearer("app");
    let answer = gate.ask(&ask.json(r#"{"url":"https://evil.example/","events":["repo:push"]}"#));
    assert_eq!((answer.status, answer.field("x-scopegate-would")), (200, Some("argument_not_allowed")));
}

#[test]
fn a_limit_that_is_narrowed_holds_for_the_next_request() {
    let rules = |hosts: &str| {
        format!(
            "grants: [{{scopes: [webhook, repository, 'gate:deliver'], actors: [app], in: all, where: {{webhook_host: [{hosts}]}}}}]\n"
        )
    };
    let policy = |hosts: &str| product_app("bitbucket", "app", "oauth", &rules(hosts));
    let gate = Setup::bitbucket().policy("app.yaml", &policy("a.example.com, b.example.com")).start();
    let ask = |host: &str| {
        let body = format!(r#"{{"url":"https://{host}/","events":["repo:push"]}}"#);
        Ask::post("/2.0/repositories/acme/web/hooks").bearer("app").json(&body)
    };
    gate.passes(&ask("b.example.com"));
    gate.write_policy("app.yaml", &policy("a.example.com"));
    crate::support::upstream::wait_until("the policy to be read", || {
        gate.ask(&ask("b.example.com")).reason().is_some()
    });
    gate.refuses(&ask("b.example.com"), "argument_not_allowed");
    gate.passes(&ask("a.example.com"));
}
