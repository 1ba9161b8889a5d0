//! What an app is answered when it is refused, and when the product fails: each class once in each dialect.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::*;
use crate::support::client::Answer;
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

/// What every refusal must be.
#[track_caller]
fn refusal(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{}\n{}", answer.head, answer.body);
    let decision = answer.field("x-scopegate-decision").unwrap_or_default();
    assert!(decision.len() == 32 && decision.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", answer.head);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let for_now = answer.has("retry-after: ");
    assert!(!for_now || !matches!(status, 401 | 403), "{}", answer.head);
    assert_eq!(for_now, matches!(status, 429 | 502 | 503 | 504), "{}", answer.head);
}

const RULES: &str = "grants:\n  - {scopes: [read:jira-work, write:jira-work], actors: [app], in: {project: [PROJ, SEC]}}\n  \
                     - {scopes: [read:jira-user], actors: [user], in: all}\n\
                     revocations:\n  - {scopes: all, in: {project: [SEC]}, reason: SEC-1}\n  \
                     - {operations: [deleteIssue], in: all, reason: SEC-2}\n";

#[test]
fn every_class_has_its_shape_before_jira_for_an_oauth_app() {
    let gate = tracker(RULES);
    let get = |path: &str| Ask::get(path).bearer("tracker");
    for (ask, status, reason) in [
        (Ask::get("/rest/api/3/myself"), 401, "unidentified"),
        (Ask::get("/rest/api/3/myself").bearer("x"), 401, "unknown_app"),
        (Ask::get("/ex/jira/other/rest/api/3/issue/PROJ-1").bearer("tracker"), 401, "unknown_tenant"),
        (Ask::put("/rest/api/3/project/PROJ").bearer("tracker").json("{}"), 401, "missing_scope"),
        (get("/rest/api/3/issue/OTHER-1"), 404, "container_not_granted"),
        (get("/rest/api/3/issue/SEC-1"), 404, "container_revoked"),
        (get("/rest/api/3/myself"), 403, "actor_not_allowed"),
        (Ask::new("DELETE", "/rest/api/3/issue/PROJ-1").bearer("tracker"), 403, "operation_not_allowed"),
        (get("/rest/api/3/nothing"), 404, "unknown_operation"),
        (get("/rest/api/3/issue/..%2f"), 400, "bad_request"),
    ] {
        let answer = gate.refuses(&ask, reason);
        refusal(&answer, status, reason);
        let body = answer.json();
        assert_eq!(answer.field("content-type"), Some("application/json;charset=UTF-8"));
        assert_eq!(body["scopegate"]["reason"], reason);
        assert_eq!(body["scopegate"]["decision"], answer.field("x-scopegate-decision").expect("a decision"));
        match reason {
            "missing_scope" => {
                assert_eq!(
                    (&body["code"], &body["message"]),
                    (&401.into(), &"Unauthorized; scope does not match".into())
                );
            }
            _ => assert!(body["errorMessages"].is_array() && body["errors"].is_object(), "{}", answer.body),
        }
        assert_eq!(status == 401, answer.has("www-authenticate: "), "{}", answer.head);
        // Never a rule, a file or another container.
        for internal in ["SEC-1142", ".yaml", "policies", "guardrail"] {
            assert!(!answer.body.contains(internal), "{}", answer.body);
        }
    }
}

#[test]
fn a_connect_app_is_refused_with_403_for_a_scope() {
    let gate = gantt("grants: [{scopes: [READ], actors: [app], in: all}]\n");
    let answer = gate.refuses(&signed("PUT", "/rest/api/3/issue/PROJ-1").json("{}"), "missing_scope");
    refusal(&answer, 403, "missing_scope");
    assert_eq!(answer.json()["errorMessages"][0], "Request not in an authorized API scope");
}

#[test]
fn every_class_has_its_shape_before_slack() {
    let gate = assist(
        "grants:\n  - {scopes: ['chat:write'], actors: [app], in: {channel: [C0HELP, C0EXEC]}}\n  \
         - {scopes: ['users:read'], actors: [user], in: all}\n\
         revocations:\n  - {scopes: ['chat:write'], in: {channel: [C0EXEC]}, reason: SEC-1142}\n  \
         - {operations: [chat.update], in: all, reason: SEC-2}\n",
    );
    let post = |method: &str, body: &str| Ask::post(&format!("/api/{method}")).bearer("xoxb-assist").json(body);
    for (ask, error, reason) in [
        (Ask::get("/api/users.list"), "invalid_auth", "unidentified"),
        (Ask::get("/api/users.list").bearer("x"), "invalid_auth", "unknown_app"),
        (post("conversations.list", r#"{"team_id":"TOTHER"}"#), "invalid_auth", "unknown_tenant"),
        (post("conversations.history", r#"{"channel":"C0HELP"}"#), "missing_scope", "missing_scope"),
        (post("chat.postMessage", r#"{"channel":"C0OTHER"}"#), "channel_not_found", "container_not_granted"),
        (post("chat.postMessage", r#"{"channel":"C0EXEC"}"#), "channel_not_found", "container_revoked"),
        (post("users.list", "{}"), "not_allowed_token_type", "actor_not_allowed"),
        (post("chat.update", r#"{"channel":"C0HELP","ts":"1"}"#), "access_denied", "operation_not_allowed"),
        (post("no.such", "{}"), "unknown_method", "unknown_operation"),
        (post("chat.postMessage", "{"), "invalid_arguments", "bad_request"),
    ] {
        let answer = gate.refuses(&ask, reason);
        refusal(&answer, 200, reason);
        let body = answer.json();
        assert_eq!((&body["ok"], &body["error"]), (&false.into(), &error.into()), "{}", answer.body);
        if error == "missing_scope" {
            assert_eq!(body["needed"], "channels:history");
            assert_eq!(body["provided"], answer.field("x-oauth-scopes").unwrap_or("none"));
            assert_eq!(answer.field("x-accepted-oauth-scopes"), Some("channels:history"));
        }
        assert!(!answer.body.contains("SEC-1142") && !answer.body.contains(".yaml"), "{}", answer.body);
    }
}

/// A product of one's own, in the default dialect.
const OWN: &str = "version: 1\nproduct: shop\nrelease: '1'\ndialect: problem\nbases: [/api]\nvocabularies: [oauth]\n\
    containers:\n  - {name: shelf, id: '[0-9]+', key: '[a-z]+'}\n\
    kinds:\n  - {name: oauth, vocabularies: [oauth], actor: app}\n\
    scopes:\n  - {name: read, vocabularies: [oauth]}\n  - {name: write, vocabularies: [oauth]}\n\
    operations:\n  - {id: getShelf, request: 'GET /shelf/{shelf}', needs: {oauth: [[read]]}, touches: {places: [{kind: shelf, path: shelf}]}}\n  \
    - {id: putShelf, request: 'PUT /shelf/{shelf}', needs: {oauth: [[write]]}, touches: {places: [{kind: shelf, path: shelf}]}}\n";

#[test]
fn every_class_has_its_shape_before_a_product_of_ones_own() {
    let policy = jira_app("x", "oauth", "grants: [{scopes: [read], actors: [app], in: {shelf: [tools]}}]\n")
        .replace("jira/x", "shop/x");
    let gate = Setup::jira()
        .without("issue_keys")
        .gate("catalog", "shop.yaml")
        .without("product")
        .file("shop.yaml", OWN)
        .policy("a.yaml", &policy)
        .start();
    gate.passes(&Ask::get("/api/shelf/tools").bearer("x"));
    for (ask, status, reason) in [
        (Ask::get("/api/shelf/tools"), 401, "unidentified"),
        (Ask::put("/api/shelf/tools").bearer("x").json("{}"), 403, "missing_scope"),
        (Ask::get("/api/shelf/toys").bearer("x"), 404, "container_not_granted"),
        (Ask::get("/api/shop").bearer("x"), 404, "unknown_operation"),
        (Ask::get("/api/shelf/..%2f").bearer("x"), 400, "bad_request"),
    ] {
        let answer = gate.refuses(&ask, reason);
        refusal(&answer, status, reason);
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        let body = answer.json();
        assert_eq!((&body["status"], &body["reason"]), (&status.into(), &reason.into()), "{}", answer.body);
        if reason == "missing_scope" {
            let challenge = answer.field("www-authenticate").unwrap_or_default();
            assert!(
                challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"write\""),
                "{challenge}"
            );
        }
    }
}

#[test]
fn a_credential_is_taken_where_the_products_catalog_says() {
    let policy = jira_app("x", "oauth", "grants: [{scopes: [read], actors: [app], in: {shelf: [tools]}}]\n")
        .replace("jira/x", "shop/x");
    let gate = |catalog: &str| {
        let setup = Setup::jira().without("issue_keys").gate("catalog", "shop.yaml").without("product");
        setup.file("shop.yaml", catalog).policy("a.yaml", &policy).start()
    };
    let as_buddy = format!("{}\ntokens: {{query: [access_token]}}\n", OWN.trim_end());
    gate(&as_buddy).passes(&Ask::get("/api/shelf/tools?access_token=x"));
    gate(&as_buddy).refuses(&Ask::get("/api/shelf/tools?access_token=y"), "unknown_app");
    gate(OWN).refuses(&Ask::get("/api/shelf/tools?access_token=x"), "unidentified");
}

#[test]
fn the_answer_to_a_refused_head_has_no_body() {
    let gate = tracker(RULES);
    // `refuses` reads the head alone and asserts that nothing stands behind it.
    refusal(
        &gate.refuses(&Ask::new("HEAD", "/rest/api/3/issue/SEC-1").bearer("tracker"), "container_revoked"),
        404,
        "container_revoked",
    );
    refusal(&gate.refuses(&Ask::new("HEAD", "/rest/api/3/issue/PROJ-1"), "unidentified"), 401, "unidentified");
    let mut client = gate.connect();
    client.send(&Ask::new("HEAD", "/rest/api/3/issue/SEC-1").bearer("tracker").text());
    client.bodiless();
    client.send(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker").text());
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_refused_body_that_was_not_read_closes_the_connection() {
    let gate = tracker(RULES);
    let mut client = gate.connect();
    // Refused by its head: the body is never waited for (F09).
    client.send("PUT /rest/api/3/issue/PROJ-1 HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer nobody\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{");
    let answer = client.answer();
    refusal(&answer, 401, "unknown_app");
    assert_eq!(answer.field("connection"), Some("close"));
    client.send_if_open(
        "GET /rest/api/3/issue/PROJ-1 HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tracker\r\n\r\n",
    );
    assert_eq!(client.rest(), "");
    assert_eq!(gate.seen(), (0, 0));
}

#[test]
fn a_refused_body_is_not_asked_for() {
    let gate = tracker(RULES);
    let expecting = |token: &str| {
        let ask = Ask::put("/rest/api/3/issue/PROJ-1").bearer(token).with("expect", "100-continue");
        ask.with("content-type", "application/json").with("content-length", "2").text()
    };
    let mut client = gate.connect();
    client.send(&expecting("nobody"));
    refusal(&client.answer(), 401, "unknown_app");
    let mut client = gate.connect();
    client.send(&expecting("tracker"));
    assert_eq!(client.head().as_deref(), Some("HTTP/1.1 100 Continue"));
    client.send("{}");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_body_over_what_may_be_held_is_too_large() {
    let setup =
        Setup::jira().gate("limits", "{body_held_max: 1KiB}").policy("a.yaml", &jira_app("tracker", "oauth", RULES));
    let gate = setup.start();
    let body = |pad: usize| format!(r#"{{"fields":{{"project":{{"key":"PROJ"}},"summary":"{}"}}}}"#, "x".repeat(pad));
    let ask = |pad| Ask::post("/rest/api/3/issue").bearer("tracker").json(&body(pad));
    gate.passes(&ask(100));
    for request in [ask(2_000).text(), ask(2_000).chunked()] {
        let answer = gate.refuses_raw(&request, "body_too_large");
        refusal(&answer, 413, "body_too_large");
    }
    // B02: the container stands in front of the limit, and still nothing passes.
    assert_eq!(gate.upstream.requests().len(), 1);
    // What is not judged by its body streams by, however large.
    let comment = Ask::post("/rest/api/3/issue/PROJ-1/comment").bearer("tracker").json(&body(100_000));
    gate.passes(&comment);
}

/// A gate with bounds that a test can wait for, before this upstream.
fn before(upstream: StubUpstream) -> [Gate; 2] {
    let limits = "{connect_timeout: 200ms, response_timeout: 200ms, body_idle_timeout: 300ms}";
    let url = format!("http://{}", upstream.address);
    let jira = Setup::jira()
        .gate("limits", limits)
        .gate("upstream", &url)
        .policy("a.yaml", &jira_app("tracker", "oauth", RULES));
    let rules = "grants: [{scopes: all, actors: [app], in: all}]\n";
    let slack = slack(&slack_app(rules)).gate("limits", limits);
    [jira.start(), slack.before(upstream)]
}

#[track_caller]
fn fails(gates: &[Gate; 2], status: u16, reason: &str) {
    let started = Instant::now();
    let answer = gates[0].ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker"));
    refusal(&answer, status, reason);
    assert!(answer.json()["errorMessages"].is_array(), "{}", answer.body);
    assert_eq!(gates[0].log.line(1)["outcome"], "upstream_error");
    let answer =
        gates[1].ask(&Ask::post("/api/chat.postMessage").bearer("xoxb-assist").json(r#"{"channel":"C0HELP"}"#));
    refusal(&answer, status, reason);
    assert_eq!(answer.json()["error"], "service_unavailable");
    assert!(started.elapsed() < DEADLINE / 2, "it hung");
    let series = |gate: &str, app: &str| {
        format!(r#"scopegate_requests_total{{app="{app}",gate="{gate}",outcome="upstream_error"}}"#)
    };
    assert_eq!(gates[0].metric(&series("jira", "jira/tracker")), 1.0);
    assert_eq!(gates[1].metric(&series("slack", "slack/assist")), 1.0);
}

#[test]
fn an_upstream_that_is_down_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut stub = StubUpstream::ok();
    stub.address = listener.local_addr().expect("an address");
    drop(listener);
    fails(&before(stub), 502, "upstream_unreachable");
}

#[test]
fn an_upstream_that_says_nothing_is_504() {
    fails(&before(StubUpstream::start(|_| Reply::Hang)), 504, "upstream_timeout");
}

#[test]
fn a_request_as_a_whole_has_a_bound_whatever_its_waits_have() {
    let limits = "{request_timeout: 300ms, response_timeout: 60s, body_idle_timeout: 60s}";
    let rules = jira_app("tracker", "oauth", RULES);
    let gate =
        Setup::jira().gate("limits", limits).policy("a.yaml", &rules).before(StubUpstream::start(|_| Reply::Hang));
    let started = Instant::now();
    let answer = gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker"));
    refusal(&answer, 504, "upstream_timeout");
    assert!(answer.json()["errorMessages"].is_array(), "{}", answer.body);
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < DEADLINE / 2);
    // The product is not left at work for nobody.
    gate.upstream.wait_for_closed(1);
    // Of a body that is to be judged half came, and no more.
    let mut client = gate.connect();
    client.send(
        "PUT /rest/api/3/issue/PROJ-1 HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer tracker\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{\"fields\":",
    );
    let answer = client.answer();
    assert!(matches!(answer.status, 400 | 504), "{}", answer.body);
    assert_eq!(gate.upstream.requests().len(), 1);
}

#[test]
fn an_upstream_that_closes_or_speaks_something_else_is_502() {
    for reply in [
        Reply::Close,
        Reply::WriteAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Reply::WriteAndClose(b"\0\x01\x02garbage\r\n\r\n".to_vec()),
        Reply::raw("SSH-2.0-OpenSSH_9.9\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ] {
        fails(&before(StubUpstream::start(move |_| reply.clone())), 502, "upstream_broken");
    }
}

#[test]
fn an_answer_that_breaks_off_reaches_the_client_as_broken() {
    let limits = "{answer_idle_timeout: 300ms}";
    let rules = jira_app("tracker", "oauth", RULES);
    let setup = || Setup::jira().gate("limits", limits).policy("a.yaml", &rules);
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        for closes in [true, false] {
            let gate = setup().before(StubUpstream::serve(move |mut connection| {
                if connection.read_request().is_some() {
                    let _ = connection.write(cut.as_bytes());
                    if !closes {
                        connection.read_to_end();
                    }
                }
            }));
            let answer = gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker"));
            assert_eq!((answer.status, answer.whole), (200, false), "{cut} {closes}");
        }
    }
}

#[test]
fn no_answer_of_the_product_can_pass_for_one_of_the_gate() {
    let answer = "HTTP/1.1 403 Forbidden\r\nx-scopegate-reason: missing_scope\r\nX-Scopegate-Decision: 1\r\nx_scopegate_would: x\r\ncontent-length: 2\r\n\r\nno";
    let rules = jira_app("tracker", "oauth", RULES);
    let gate = Setup::jira().policy("a.yaml", &rules).before(StubUpstream::start(move |_| Reply::raw(answer)));
    let answer = gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker"));
    assert_eq!((answer.status, &*answer.body), (403, "no"));
    assert!(
        !answer.head.to_lowercase().contains("scopegate-") && !answer.head.contains("x_scopegate"),
        "{}",
        answer.head
    );
    assert_eq!(gate.log.line(1)["outcome"], "permit");
}

#[test]
fn only_a_safe_request_on_a_reused_connection_is_sent_again() {
    let rules = jira_app("tracker", "oauth", RULES);
    // Every second request on a connection finds it closed.
    let gate = Setup::jira().policy("a.yaml", &rules).before(StubUpstream::serve(|mut connection| {
        if connection.read_request().is_some() {
            let _ = connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            connection.read_request();
        }
    }));
    let get = Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker");
    let put = Ask::put("/rest/api/3/issue/PROJ-1").bearer("tracker").json("{}");
    assert_eq!(gate.ask(&get).status, 200);
    assert_eq!(gate.ask(&get).status, 200, "sent again on a new connection");
    let answer = gate.ask(&put);
    refusal(&answer, 502, "upstream_broken");
    assert_eq!(gate.upstream.requests().iter().filter(|seen| seen.line().starts_with("PUT")).count(), 1);
}

#[test]
fn a_client_that_goes_away_is_told_in_the_log_and_leaves_nothing() {
    let rules = jira_app("tracker", "oauth", RULES);
    let gate = Setup::jira().policy("a.yaml", &rules).before(StubUpstream::start(|_| Reply::Hang));
    let mut client = gate.connect();
    client.send(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker").text());
    gate.upstream.wait_for(1);
    drop(client);
    gate.log.lines(1);
    gate.upstream.wait_for_closed(1);
    wait_until("its connection to end", || gate.metric(r#"scopegate_connections{gate="jira",side="caller"}"#) == 0.0);
    // A half-sent head that ends is no request.
    let mut half = gate.connect();
    half.stream.write_all(b"GET /rest/api/3/iss").expect("written");
    drop(half);
    wait_until("it to end", || gate.metric(r#"scopegate_connections{gate="jira",side="caller"}"#) == 0.0);
    assert_eq!(gate.upstream.requests().len(), 1);
}

#[test]
fn a_body_that_stops_is_refused_in_time() {
    let setup = Setup::jira()
        .gate("limits", "{body_idle_timeout: 200ms}")
        .policy("a.yaml", &jira_app("tracker", "oauth", RULES));
    let gate = setup.start();
    let (first, _) =
        Ask::post("/rest/api/3/issue").bearer("tracker").json(r#"{"fields":{"project":{"key":"PROJ"}}}"#).halves();
    let mut client = gate.connect();
    let started = Instant::now();
    client.send(&first);
    let answer = client.answer();
    refusal(&answer, 400, "bad_request");
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(gate.seen(), (0, 0));
}
