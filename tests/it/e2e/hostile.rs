//! The rows of the list of hostile inputs, end to end: refused, and the upstream saw nothing, or sent on in the one form
//! that was judged.

use super::*;

/// Everything but the project SEC, which is taken away: what reaches it in disguise would be a way round.
fn gate() -> Gate {
    tracker(
        "grants: [{scopes: [read:jira-work, write:jira-work, read:jira-user], actors: [app], in: {project: [PROJ]}}]\n\
         revocations: [{scopes: all, in: {project: [SEC]}, reason: SEC-1}, \
         {operations: [getCurrentUser], in: all, reason: SEC-2}]\n",
    )
}

fn line(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tracker\r\n\r\n")
}

/// The gate answers 400 (hyper's own, or a refusal that says `bad_request`), and the upstream sees nothing.
#[track_caller]
fn bad(gate: &Gate, request: &str) {
    let seen = gate.seen();
    let mut client = gate.connect();
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.status, 400, "{request:?}\n{}\n{}", answer.head, answer.body);
    assert!(answer.reason().is_none_or(|reason| reason == "bad_request"), "{request:?}\n{}", answer.head);
    assert_eq!(client.rest(), "", "an ambiguous request is the last on its connection: {request:?}");
    assert_eq!(gate.seen(), seen, "the upstream saw something of {request:?}");
}

/// It is refused, with whatever reason, and the upstream sees nothing.
#[track_caller]
fn denied(gate: &Gate, request: &str) -> String {
    let seen = gate.seen();
    let answer = gate.raw(request);
    assert!(answer.reason().is_some(), "{request:?}\n{}", answer.head);
    assert_eq!(gate.seen(), seen, "the upstream saw something of {request:?}");
    answer.reason().unwrap_or_default().to_owned()
}

#[test]
fn paths_that_can_be_read_in_two_ways_are_refused() {
    let gate = gate();
    for target in [
        // P01, P02, P03, P04
        "/rest/api/3/issue/PROJ-1/../SEC-1",
        "/rest/api/3/issue/../myself",
        "/../rest/api/3/myself",
        "/rest/api/3/issue/%2e%2e/myself",
        "/rest/api/3/issue/%2E./myself",
        "/rest/api/3/issue/.%2e/myself",
        "/rest/api/3/issue/%2e%2e%2fmyself",
        "/rest/api/3/issue/..%2fmyself",
        "/rest/api/3/issue/%2e%2e%5cmyself",
        "/./rest/api/3/myself",
        "/%2e/rest/api/3/myself",
        "/rest/api/3%2e/myself",
        // P05, P06
        "//gate.test/rest/api/3/myself",
        "//rest/api/3/myself",
        "/rest//api/3/myself",
        "/rest/api/3//myself",
        "///",
        "/rest/api/3/issue//../myself",
        // P07, P08
        "/rest/api/3/issue%2FSEC-1",
        "/rest/api/3/issue%2fSEC-1",
        "/rest/api/3/issue/PROJ-1%2f..%2fSEC-1",
        "/rest/api/3/issue%5cSEC-1",
        "/rest/api/3/issue/..\\myself",
        "/rest/api/3\\myself",
        // P09, P11
        "/rest/api/3/issue/PROJ-1%23",
        "/rest/api/3/issue/PROJ-1%3fx",
        "/rest/api/3/issue/..;/myself",
        "/;/rest/api/3/myself",
        "/rest/api/3/myself;a=b",
        "/rest/api/3/myself%3b",
        "/rest/api/3/issue/PROJ-1;a=b/comment",
        // P14, P15, P16
        "/rest/api/3/issue/%252e%252e/myself",
        "/rest/api/3/issue/%252e%252e%252fmyself",
        "/rest/api/3/issue/%25c0%25ae",
        "/rest/api/3/issue/PROJ-1%00",
        "/rest/api/3/issue/.%00../myself",
        "/rest/api/3/issue/AAAA%%0000/comment",
        "/rest/api/3/issue/%c0%af",
        "/rest/api/3/issue/%c0%ae%c0%ae/myself",
        "/rest/api/3/issue/%c1%9cSEC-1",
        "/rest/api/3/issue/%ff",
        // P17
        "/rest/api/3/myself/",
        "/rest/api/3/myself/.",
        "/rest/api/3/myself%2f",
        "/rest/api/3/myself%20",
        "/rest/api/3/myself.",
        "/rest/api/3/myself%09",
        // P18
        "/rest/api/3/issue/PROJ-1%",
        "/rest/api/3/issue/PROJ-1%1",
        "/rest/api/3/issue/PROJ-1%zz",
        "/rest/api/3/issue/PROJ-1\u{7f}",
        "/rest/api/3/issue/PROJ-1\u{2}",
        "/rest/api/3/issue/PROJ 1",
        // P19, P20
        "http://other.test/rest/api/3/issue/PROJ-1",
        "http://u:p@gate.test/rest/api/3/issue/PROJ-1",
        "ftp://gate.test/rest/api/3/issue/PROJ-1",
        "rest/api/3/issue/PROJ-1",
        "*",
        "",
        // P24
        "/rest/api/3\u{ff0f}myself",
        "/rest/api/3/%ef%bc%8fmyself",
        "/rest/api/3/%ef%bd%8dyself",
        "/rest/api/3/issue/%C5%BFEC-1",
        "/rest/api/3/issue/%e2%84%aaEY-1",
    ] {
        bad(&gate, &line(target));
    }
    assert_eq!(gate.seen().0, 0);
}

#[test]
fn paths_with_one_reading_are_judged_and_sent_in_it() {
    let gate = gate();
    for (target, sent) in [
        // P13, P25: an encoded unreserved character is the character.
        ("/rest/api/3/issue/%50ROJ-1", "/rest/api/3/issue/PROJ-1"),
        ("/r%65st/api/%33/issue/PROJ%2D1", "/rest/api/3/issue/PROJ-1"),
        // P10
        ("/rest/api/3/issue/PROJ-1?", "/rest/api/3/issue/PROJ-1?"),
        ("/rest/api/3/issue/PROJ-1??", "/rest/api/3/issue/PROJ-1??"),
        // P22: the path alone is matched.
        ("/rest/api/3/issue/PROJ-1?x=/rest/api/3/myself", "/rest/api/3/issue/PROJ-1?x=/rest/api/3/myself"),
        ("/rest/api/3/issue/PROJ-1?x=%2e%2e%2f", "/rest/api/3/issue/PROJ-1?x=%2e%2e%2f"),
        // P19: one host, said twice.
        ("http://gate.test/rest/api/3/issue/PROJ-1", "/rest/api/3/issue/PROJ-1"),
        ("http://GATE.test./rest/api/3/issue/PROJ-1", "/rest/api/3/issue/PROJ-1"),
    ] {
        assert_eq!(gate.passes_raw(&line(target)).line(), format!("GET {sent} HTTP/1.1"), "{target}");
    }
    // P09: hyper drops a fragment before it is seen, and what is sent has none.
    let sent = gate.passes_raw(&line("/rest/api/3/issue/PROJ-1#/../SEC-1"));
    assert_eq!(sent.line(), "GET /rest/api/3/issue/PROJ-1 HTTP/1.1");
    for target in ["/rest/api/3/issue/%53EC-1", "/rest/api/3/issue/sec-1", "/rest/api/3/issue/%73%65%63-1"] {
        assert_eq!(denied(&gate, &line(target)), "container_revoked");
    }
    assert_eq!(denied(&gate, &line("/rest/api/3/%6dyself")), "operation_not_allowed");
    // P12, P21: whole segments, in the case that the product writes.
    for target in [
        "/REST/api/3/issue/PROJ-1",
        "/rest/api/3/MYSELF",
        "/rest/api/3/myselfx",
        "/rest/api/33/myself",
        "/rest/api/3/Issue/PROJ-1",
    ] {
        let reason = denied(&gate, &line(target));
        assert!(["unknown_operation", "bad_request"].contains(&&*reason), "{target}: {reason}");
    }
    // P25: what is no key of the product's is not taken for one.
    for id in ["PROJ-01x", "+1", "1.0", "PROJ", "-1", "PROJ-", "P-1", "PROJ--1", "PROJ-%D9%A1", "PROJ-1%20"] {
        let reason = denied(&gate, &line(&format!("/rest/api/3/issue/{id}")));
        assert!(["bad_request", "container_not_granted"].contains(&&*reason), "{id}: {reason}");
    }
    // P26: what a policy writes is no pattern.
    assert_eq!(denied(&gate, &line("/rest/api/3/project/PRO.")), "bad_request");
}

#[test]
fn every_byte_behind_a_protected_path_leaves_it_protected() {
    let gate = gate();
    for byte in 1..=255_u8 {
        for target in [format!("/rest/api/3/myself%{byte:02x}"), format!("/rest/api/3/issue/SEC-1%{byte:02X}")] {
            denied(&gate, &line(&target));
        }
    }
    assert_eq!(gate.seen(), (0, 0));
}

#[test]
fn methods_that_are_none_are_refused() {
    let gate = gate();
    // P27
    for method in ["CONNECT", "TRACE", "get", "FOO", "PRI", "Get", "PROPFIND", "M-SEARCH"] {
        let target = if method == "CONNECT" { "gate.test:80" } else { "/rest/api/3/issue/PROJ-1" };
        bad(&gate, &line(target).replacen("GET", method, 1));
    }
    bad(&gate, &line("*").replacen("GET", "OPTIONS", 1));
    // H07
    for name in
        ["X-HTTP-Method-Override", "x_http_method_override", "X-Method-Override", "X-HTTP-Method", "X.HTTP.Method"]
    {
        bad(&gate, &line("/rest/api/3/issue/PROJ-1").replacen("\r\n\r\n", &format!("\r\n{name}: PUT\r\n\r\n"), 1));
    }
    bad(&gate, &line("/rest/api/3/issue/PROJ-1?_method=DELETE"));
    bad(&gate, &line("/rest/api/3/issue/PROJ-1?a=b;%5fmethod=DELETE"));
}

#[test]
fn authorities_that_can_be_read_in_two_ways_are_refused() {
    let gate = gate();
    let with =
        |host: &str| format!("GET /rest/api/3/issue/PROJ-1 HTTP/1.1\r\n{host}authorization: Bearer tracker\r\n\r\n");
    for host in [
        "",
        "host: gate.test\r\nhost: gate.test\r\n",
        "host: gate.test\r\nHost: other.test\r\n",
        "host: u@gate.test\r\n",
        "host: gate.test:80:80\r\n",
        "host: gate.test/x\r\n",
        "host: gate%2etest\r\n",
        "host: gate.test, other.test\r\n",
        "host: [::1\r\n",
        "host: \r\n",
        "host: gate test\r\n",
        "host: g\u{e4}te.test\r\n",
        "host: gate.test\r\nhost_: x\r\nHOST.: y\r\nh.ost: x\r\nho_st: x\r\nhost : z\r\n",
    ] {
        bad(&gate, &with(host));
    }
    for host in ["gate.test", "GATE.test.", "gate.test:8080", "[::1]:80", "127.0.0.1"] {
        let seen = gate.passes_raw(&with(&format!("host: {host}\r\n")));
        // Only the upstream's own name goes on.
        assert_eq!(seen.field("host"), Some(gate.upstream.address.to_string().as_str()));
    }
}

#[test]
fn fields_that_can_be_read_in_two_ways_are_refused() {
    let gate = gate();
    let with = |fields: &str| format!("GET /rest/api/3/issue/PROJ-1 HTTP/1.1\r\nhost: gate.test\r\n{fields}\r\n");
    let key = "authorization: Bearer tracker\r\n";
    for fields in [
        // H01
        format!("{key}{key}"),
        format!("{key}Authorization: Bearer other\r\n"),
        format!("{key}authorization_: x\r\ncontent_type: application/json\r\n"),
        format!("{key}content-type: a\r\ncontent-type: b\r\n"),
        // H04, H05
        format!("{key}connection: Content-Length\r\n"),
        format!("{key}Connection: close, transfer-encoding\r\n"),
        format!("{key}connection: authorization\r\n"),
        format!("{key}connection: host\r\n"),
        // H10
        format!("{key}x-a: \u{0}\r\n"),
        format!("{key}x-a : 1\r\n"),
        format!("{key}: 1\r\n"),
        format!("{key}x-a: 1\r\n folded\r\n"),
        format!("{key}x-a: 1\rx-b: 2\r\n"),
        format!("{key}x a: 1\r\n"),
        format!("{key}upgrade: websocket\r\nconnection: upgrade\r\n"),
        format!("{key}upgrade: h2c\r\n"),
    ] {
        bad(&gate, &with(&fields));
    }
    let mut bytes = with(key).into_bytes();
    let at = bytes.len() - 2;
    bytes.splice(at..at, b"x-a: \xff\xfe\r\n".iter().copied());
    let mut client = gate.connect();
    std::io::Write::write_all(&mut client.stream, &bytes).expect("the gate reads");
    assert_eq!(client.answer().status, 400);
    assert_eq!(gate.seen(), (0, 0));
    // H06, H08: no field short-cuts the decision.
    let forbidden = Ask::get("/rest/api/3/issue/SEC-1").bearer("tracker");
    for (name, value) in [
        ("X-Forwarded-Uri", "/rest/api/3/issue/PROJ-1"),
        ("X-Original-URL", "/rest/api/3/issue/PROJ-1"),
        ("X-Rewrite-URL", "/rest/api/3/issue/PROJ-1"),
        ("X-Forwarded-Prefix", "/.."),
        ("x-envoy-original-path", "/rest/api/3/issue/PROJ-1"),
        ("User-Agent", "kube-probe/1.30"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;host=admin"),
        ("X-Scopegate-Would", "missing_scope"),
    ] {
        gate.refuses(&forbidden.clone().with(name, value), "container_revoked");
    }
    // The probe's paths are no paths of the data port.
    for path in ["/livez", "/readyz", "/metrics", "/healthz"] {
        gate.refuses(&Ask::get(path).bearer("tracker"), "unknown_operation");
    }
}

#[test]
fn h13_controls_in_what_is_logged_are_escaped() {
    let gate = gate();
    gate.refuses(&Ask::get("/rest/api/3/issue/PROJ-1%1b[31m%0d%0a").bearer("tracker"), "bad_request");
    gate.log.lines(1);
    assert!(!gate.log.text().contains('\u{1b}'));
}

fn create(content_type: &str, body: &str) -> Ask {
    Ask::post("/rest/api/3/issue").bearer("tracker").with("content-type", content_type).body(body)
}

#[test]
fn bodies_that_can_be_read_in_two_ways_are_refused() {
    let gate = gate();
    let good = r#"{"fields":{"project":{"key":"PROJ"}}}"#;
    let json = "application/json";
    let deep =
        format!(r#"{{"a":{}1{},"fields":{{"project":{{"key":"PROJ"}}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (content_type, body) in [
        // B03
        (json, r#"{"fields":{"project":{"key":"PROJ"},"project":{"key":"SEC"}}}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ"},"pro\u006aect":{"key":"SEC"}}}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ","Key":"SEC"}}}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ"}},"Fields":{"project":{"key":"SEC"}}}"#),
        // B04
        ("text/plain", good),
        ("application/json; charset=utf-16", good),
        ("application/vnd.api+json", good),
        ("application/json, text/plain", good),
        ("application/json; charset=utf-8; charset=utf-16", good),
        ("multipart/form-data; boundary=x", good),
        ("application/x-www-form-urlencoded", "fields[project][key]=PROJ"),
        (json, "\u{feff}{\"fields\":{\"project\":{\"key\":\"PROJ\"}}}"),
        // B06
        (json, &deep),
        (json, r#"{"fields":{"project":{"key":"PROJ"},"n":1e999}}"#),
        (json, r#"{"fields":{"project":{"key":"\ud800"}}}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ"}}} {}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ"},}}"#),
        (json, r#"{"fields":{"project":{"key":"PROJ"}/**/}}"#),
        (json, r#"{'fields':{'project':{'key':'PROJ'}}}"#),
        (json, r#"{"fields":{"project":{"id":1e4}}}"#),
        (json, r#"{"fields":{"project":{"id":10001.0}}}"#),
        (json, r#"{"fields":{"project":{"key":true}}}"#),
        (json, ""),
        (json, "null"),
    ] {
        let shown: String = body.chars().take(80).collect();
        let seen = gate.seen();
        for request in [create(content_type, body).text(), create(content_type, body).chunked()] {
            let answer = gate.raw(&request);
            // An empty body, or none that names a project, reaches the whole tenant.
            let reason = answer.reason().unwrap_or("passed");
            assert!(reason == "bad_request" || body.len() < 5 && reason.starts_with("container_"), "{shown}: {reason}");
        }
        assert_eq!(gate.seen(), seen, "{shown}");
    }
    // B05
    let zipped = create(json, good).with("content-encoding", "gzip");
    gate.refuses(&zipped, "bad_request");
    gate.refuses(&create(json, good).with("content-encoding", "identity"), "bad_request");
    gate.refuses(&Ask::post("/rest/api/3/issue").bearer("tracker").body(good), "bad_request");
    gate.refuses(&create(json, good).with("content-type", json), "bad_request");
    // B12: text is text.
    let seen = gate.passes(&create(
        "Application/JSON; charset=\"UTF-8\"",
        r#"{"fields":{"project":{"key":"PROJ"},"summary":"日本語 🎉"}}"#,
    ));
    assert!(String::from_utf8_lossy(&seen.body).contains("日本語 🎉"));
}

#[test]
fn a_million_keys_neither_crash_nor_pass() {
    let mut body = String::from(r#"{"fields":{"project":{"key":"PROJ"}}"#);
    for index in 0..60_000 {
        body.push_str(&format!(r#","k{index}":0"#));
    }
    body.push('}');
    let gate = gate();
    let seen = gate.seen();
    let answer = gate.ask(&create("application/json", &body));
    match answer.reason() {
        None => assert_eq!(gate.upstream.requests()[0].body, body.as_bytes()),
        Some(reason) => {
            assert_eq!(reason, "bad_request");
            assert_eq!(gate.seen(), seen);
        }
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    let gate = gate();
    let with = |fields: &str| {
        format!(
            "POST /rest/api/3/issue HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tracker\r\ncontent-type: application/json\r\n{fields}\r\n"
        )
    };
    let smuggled = "0\r\n\r\nGET /rest/api/3/myself HTTP/1.1\r\nhost: gate.test\r\n\r\n";
    for fields in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer_encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 99999999999999999999999999\r\n",
    ] {
        let seen = gate.seen();
        let answer = {
            let mut client = gate.connect();
            client.send(&format!("{}{smuggled}", with(fields)));
            let answer = client.answer();
            // Whatever follows is no second request.
            assert_eq!(client.rest(), "", "{fields:?}");
            answer
        };
        assert_eq!(answer.status, 400, "{fields:?}: {}", answer.head);
        assert_eq!(gate.seen(), seen, "{fields:?}");
    }
    // HTTP versions.
    for version in ["HTTP/9.9", "HTTP/2.0", "HTTP/1.2x", "HTTX/1.1"] {
        let seen = gate.seen();
        let mut client = gate.connect();
        client.send(&line("/rest/api/3/issue/PROJ-1").replacen("HTTP/1.1", version, 1));
        let rest = client.rest();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 400") || rest.starts_with("HTTP/1.0 400"),
            "{version}: {rest}"
        );
        assert_eq!(gate.seen(), seen);
    }
}

#[test]
fn a_length_beside_chunks_is_met_by_one_reading_newly_written() {
    let gate = gate();
    let body = r#"{"fields":{"project":{"key":"PROJ"}}}"#;
    let chunked = create("application/json", body).with("content-length", "4").chunked();
    let mut client = gate.connect();
    client.send(&chunked);
    let answer = client.answer();
    match answer.reason() {
        Some(reason) => assert_eq!((reason, gate.seen()), ("bad_request", (0, 0))),
        None => {
            let seen = &gate.upstream.requests()[0];
            assert_eq!(answer.status, 200, "{}", answer.head);
            assert_eq!(
                (seen.fields("transfer-encoding").len() + seen.fields("content-length").len(), gate.seen().0),
                (1, 1)
            );
        }
    }
}
