//! Links in answers stay at the gate, from the bytes that the product sent to those that the app gets.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::support::upstream::{DEADLINE, Received, Reply, StubUpstream};

pub const READS: &str = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";
const DOWNLOAD: &str = "/rest/api/3/attachment/content/10000";

pub fn get(path: &str) -> Ask {
    Ask::get(path).bearer("tracker")
}

pub fn jira(rules: &str) -> Setup {
    Setup::jira().policy("tracker.yaml", &jira_app("tracker", "oauth", rules))
}

/// The origin that the stub names itself by: the one it was asked at.
pub fn own(request: &Received) -> String {
    format!("http://{}", request.field("host").expect("a host"))
}

pub fn answered(head: &str, body: &str) -> Reply {
    Reply::raw(&format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn json(body: &str) -> Reply {
    answered("200 OK\r\ncontent-type: application/json", body)
}

#[test]
fn an_app_pages_to_the_end_through_the_gate() {
    let pages = StubUpstream::start(|request| {
        let at: usize = request
            .line()
            .split("startAt=")
            .nth(1)
            .map_or(0, |rest| rest.split(' ').next().and_then(|digits| digits.parse().ok()).expect("a number"));
        let own = own(request);
        let next = if at < 6 {
            format!(",\"nextPage\":\"{own}/rest/api/3/project/search?maxResults=2&startAt={}\"", at + 2)
        } else {
            String::new()
        };
        json(&format!("{{\"self\":\"{own}/x\",\"startAt\":{at}{next},\"values\":[{{\"self\":\"{own}/v{at}\"}}]}}"))
    });
    let gate = jira(READS).before(pages);
    let (mut path, mut seen) = ("/rest/api/3/project/search".to_owned(), Vec::new());
    loop {
        let answer = gate.ask(&get(&path).with("accept-encoding", "gzip, br").with("range", "bytes=0-1"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let page = answer.json();
        assert_eq!(page["values"][0]["self"], format!("http://gate.test/v{}", page["startAt"]));
        seen.push(page["startAt"].as_u64().expect("a number"));
        let Some(next) = page["nextPage"].as_str() else { break };
        path = next.strip_prefix("http://gate.test").expect("the gate's own address").to_owned();
    }
    assert_eq!(seen, [0, 2, 4, 6]);
    assert_eq!(gate.upstream.connections(), 1, "its connection is used again after each");
    for request in gate.upstream.requests() {
        assert_eq!(request.field("accept-encoding"), Some("identity"), "what is looked into comes uncompressed");
        assert_eq!(request.field("range"), None, "and whole");
    }
}

#[test]
fn an_answer_that_came_whole_is_told_with_the_length_that_it_has_now() {
    let whole = StubUpstream::start(|request| {
        let text = format!("{{\"self\":\"{}/1\"}}", own(request));
        let chunked = format!("{:x}\r\n{text}\r\n0\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        match request.line().split('?').nth(1).and_then(|query| query.split(' ').next()) {
            Some("fields=length") => json(&text),
            Some("fields=trailers") => {
                Reply::raw(&format!("{head}\r\ntrailer: x-sum\r\n\r\n{chunked}x-sum: 1\r\n\r\n"))
            }
            Some("fields=none") => json(""),
            other => panic!("{other:?}"),
        }
    });
    let gate = jira(READS).before(whole);
    let kept = "{\"self\":\"http://gate.test/1\"}";
    for (how, length, text) in [("length", kept.len(), kept), ("none", 0, "")] {
        let answer = gate.ask(&get(&format!("/rest/api/3/issue/PROJ-1?fields={how}")));
        assert_eq!((answer.status, answer.body.as_str()), (200, text), "{how}");
        assert_eq!(answer.field("content-length"), Some(length.to_string().as_str()), "{how}");
        assert!(!answer.has("transfer-encoding"), "{how}: {}", answer.head);
    }
    let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1?fields=trailers").with("te", "trailers"));
    assert_eq!((answer.status, answer.body.as_str()), (200, kept), "{}", answer.head);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"), "what has trailers has chunks");
    assert_eq!(gate.upstream.connections(), 1, "its connection is used again after each");
}

#[test]
fn links_in_fields_name_the_gate_and_others_stay() {
    let upstream = StubUpstream::start(|request| {
        let own = own(request);
        answered(
            &format!(
                "201 Created\r\nlocation: {own}/rest/api/3/issue/1\r\ncontent-location: /rest/api/3/issue/1\r\n\
                 link: <{own}/2>; rel=\"next\", <https://evil.example/>; rel=\"prev\"\r\nrefresh: 5; url={own}/3"
            ),
            "",
        )
    });
    let gate = jira(READS).before(upstream);
    let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1").with("host", "Gate.Test:8080"));
    assert_eq!(answer.field("location"), Some("http://gate.test:8080/rest/api/3/issue/1"));
    assert_eq!(answer.field("content-location"), Some("/rest/api/3/issue/1"));
    let link = "<http://gate.test:8080/2>; rel=\"next\", <https://evil.example/>; rel=\"prev\"";
    assert_eq!(answer.field("link"), Some(link));
    assert_eq!(answer.field("refresh"), Some("5; url=http://gate.test:8080/3"));
}

#[test]
fn a_gate_with_a_public_url_is_named_by_it_and_a_product_by_all_its_names() {
    let upstream = StubUpstream::start(|request| {
        let own = own(request);
        json(&format!(
            "{{\"self\":\"{own}/1\",\"next\":[],\"a\":{{\"self\":\"HTTPS://Jira.Example:443/2\"}},\
             \"b\":{{\"self\":\"https://jira.example.evil/3\"}}}}"
        ))
    });
    let setup = jira(READS).gate("public_url", "'https://gate.example:8443'");
    let gate = setup.gate("upstream_aliases", "['https://jira.example']").before(upstream);
    let page = gate.ask(&get("/rest/api/3/issue/PROJ-1")).json();
    assert_eq!(page["self"], "https://gate.example:8443/1");
    assert_eq!(page["a"]["self"], "https://gate.example:8443/2");
    assert_eq!(page["b"]["self"], "https://jira.example.evil/3");
}

#[test]
fn each_tenant_has_its_own_names() {
    let answer = |request: &Received| json(&format!("{{\"self\":\"{}/1\"}}", own(request)));
    let (acme, other) = (StubUpstream::start(answer), StubUpstream::start(answer));
    let tenants = format!(
        "[{{id: acme, host: acme.test, upstream: 'http://{}'}}, {{id: other, host: other.test, upstream: 'http://{}', \
         public_url: 'https://other.test'}}]",
        acme.address, other.address
    );
    let policy = jira_app("tracker", "oauth", "");
    let policy = policy.replace(
        "    credentials:\n",
        "    credentials: [{method: token, kind: oauth, sha256: sha256(acme)}]\n  - tenant: other\n    tenant_name: Other\n    \
         installed_at: 2020-01-01T00:00:00Z\n    credentials:\n",
    );
    let grants = "grants: [{scopes: [read:jira-work], actors: [app], in: all, tenants: [acme, other]}]\n";
    let setup =
        Setup::jira().policy("tracker.yaml", &(policy + grants)).gate("tenant", "host").gate("tenants", &tenants);
    let gate = setup.without("upstream").start();
    let ask = |token: &str, host: &str| {
        let answer = gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer(token).with("host", host));
        answer.json()["self"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("acme", "acme.test:81"), "http://acme.test:81/1");
    assert_eq!(ask("tracker", "other.test"), "https://other.test/1");
    let called = |stub: &StubUpstream| stub.requests()[0].field("x-forwarded-host").map(str::to_owned);
    assert_eq!(called(&acme).as_deref(), Some("acme.test:81"), "the name that told the tenant");
    assert_eq!(called(&other).as_deref(), Some("other.test"), "its `public_url`");
}

#[test]
fn what_only_the_caller_calls_the_gate_is_not_passed_on() {
    let gate = jira(READS).before(StubUpstream::ok());
    gate.ask(&get("/rest/api/3/issue/PROJ-1").with("host", "other-tenant.example").with("x-forwarded-host", "evil"));
    assert_eq!(gate.upstream.wait_for(1)[0].field("x-forwarded-host"), None);
}

#[test]
fn a_link_is_found_wherever_the_answer_is_cut() {
    let upstream = StubUpstream::serve(|mut connection| {
        while let Some(request) = connection.read_request() {
            let body = format!("{{\"a\":[{{\"self\":\"{}\\/x\"}}],\"b\":\"y\"}}", own(&request).replace('/', "\\/"));
            connection
                .write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-sum, content-digest\r\ntransfer-encoding: chunked\r\n\r\n")
                .expect("written");
            for byte in body.bytes() {
                connection.write(&[b"1\r\n", &[byte][..], b"\r\n"].concat()).expect("written");
            }
            connection.write(b"0\r\ncontent-digest: sha-256=:x:\r\nx-sum: 1\r\n\r\n").expect("written");
        }
    });
    let gate = jira(READS).before(upstream);
    let mut client = gate.connect();
    for _ in 0..2 {
        client.send(&get("/rest/api/3/issue/PROJ-1").with("te", "trailers").text());
        let answer = client.answer();
        assert_eq!(answer.json()["a"][0]["self"], "http://gate.test/x");
        assert_eq!(answer.json()["b"], "y");
        assert_eq!(answer.trailers, "x-sum: 1\r\n", "a digest of other bytes is gone");
    }
}

#[test]
fn a_large_answer_streams_with_flat_memory() {
    const BULK: usize = 64 * 1024 * 1024;
    /// As for answers that are not looked into: what the kernel's buffers and the gate's own may hold.
    const BETWEEN_MAX: usize = 24 * 1024 * 1024;
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = StubUpstream::serve(move |mut connection| {
        let request = connection.read_request().expect("a request");
        let (start, end) = ("{\"a\":\"", format!("\",\"self\":\"{}/x\"}}", own(&request)));
        let length = start.len() + BULK + end.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        connection.write((head + start).as_bytes()).expect("written");
        let sent = connection.fill(BULK);
        tell.lock().expect("the test").send(sent).expect("the test listens");
        connection.pour(BULK - sent);
        connection.write(end.as_bytes()).expect("written");
    });
    let gate = jira(READS).before(upstream);
    let mut client = gate.connect();
    client.send(&get("/rest/api/3/issue/PROJ-1").text());
    let head = client.head().expect("a head");
    let sent = told.recv_timeout(DEADLINE).expect("the upstream got stuck");
    assert!(sent < BETWEEN_MAX, "{sent} bytes went in although nobody took them");
    let answer = client.answer_after(head);
    assert!(answer.whole && answer.body.ends_with("\",\"self\":\"http://gate.test/x\"}"));
    assert_eq!(answer.body.bytes().filter(|byte| *byte == b'x').count(), BULK + 1);
}

#[test]
fn what_cannot_be_looked_into_never_passes_unseen() {
    for (head, body) in [
        ("200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip", "\u{1f}\u{8b}"),
        ("200 OK\r\ncontent-encoding: br", "x"),
        ("200 OK\r\ncontent-type: application/json; charset=utf-16", "x"),
        ("206 Partial Content\r\ncontent-type: application/json\r\ncontent-range: bytes 0-1/9", "{}"),
        ("206 Partial Content\r\ncontent-type: multipart/byteranges; boundary=x", "x"),
        ("404 Not Found\r\ncontent-type: application/problem+json\r\ncontent-encoding: deflate", "x"),
    ] {
        let gate = jira(READS).before(StubUpstream::start(move |_| answered(head, body)));
        let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1"));
        assert_eq!((answer.status, answer.reason()), (502, Some("upstream_broken")), "{head}");
        assert_eq!(gate.log.line(1)["outcome"], "upstream_error");
    }
    // Told by the first bytes alone.
    let wide = "{\"self\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", wide.len());
    let reply = Reply::Write([head.as_bytes(), &wide].concat());
    let gate = jira(READS).before(StubUpstream::start(move |_| reply.clone()));
    let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1"));
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_broken")), "{}", answer.head);
    assert!(!answer.body.contains('\u{0}'));
    // Where the head has gone ahead, the answer does not end well.
    let gate = jira(READS).before(StubUpstream::serve(move |mut connection| {
        connection.read_request();
        let sent = connection.write(head.as_bytes());
        std::thread::sleep(Duration::from_millis(300));
        let _ = sent.and_then(|()| connection.write(&wide));
    }));
    let mut client = gate.connect();
    client.send(&get("/rest/api/3/issue/PROJ-1").text());
    let answer = client.rest();
    assert!(!answer.contains('\u{0}') && !answer.contains("\r\n0\r\n"), "{answer:?}");
}

#[test]
fn what_vouches_for_other_bytes_is_gone_and_a_tag_is_weak() {
    let upstream = StubUpstream::start(|request| {
        let head =
            "content-type: application/json\r\netag: \"a\"\r\ncontent-digest: sha-256=:x:\r\naccept-ranges: bytes";
        if request.field("if-none-match").is_some() {
            return Reply::raw(&format!("HTTP/1.1 304 Not Modified\r\n{head}\r\n\r\n"));
        }
        let body = if request.line().starts_with("HEAD") { "" } else { "{}" };
        Reply::raw(&format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: 2\r\n\r\n{body}"))
    });
    let gate = jira(READS).before(upstream);
    let asks = [get("/rest/api/3/issue/PROJ-1"), Ask::new("HEAD", "/rest/api/3/issue/PROJ-1").bearer("tracker")];
    for ask in asks {
        let answer = gate.ask(&ask);
        assert_eq!(answer.field("etag"), Some("W/\"a\""));
        for gone in ["content-digest: ", "accept-ranges: "] {
            assert!(!answer.has(gone), "{gone}: {}", answer.head);
        }
        let length = answer.field("content-length");
        assert!(length.is_none_or(|length| length == answer.body.len().to_string()), "{}", answer.head);
    }
    let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1").with("if-none-match", "W/\"a\""));
    assert_eq!((answer.status, answer.body.as_str(), answer.field("etag")), (304, "", Some("W/\"a\"")));
    assert_eq!(gate.upstream.requests()[2].field("if-none-match"), Some("W/\"a\""));
}

#[test]
fn what_holds_no_links_is_left_as_it_is() {
    // A file of a user's, in JSON, that names the product.
    let file = |request: &Received| {
        let body = format!("{{\"self\":\"{}/1\"}}", own(request));
        answered(
            "206 Partial Content\r\ncontent-type: application/json\r\netag: \"a\"\r\ncontent-encoding: gzip",
            &body,
        )
    };
    let gate = jira(READS).before(StubUpstream::start(file));
    let answer = gate.ask(&get(DOWNLOAD).with("range", "bytes=0-1").with("accept-encoding", "gzip"));
    assert_eq!((answer.status, answer.field("etag")), (206, Some("\"a\"")));
    assert_eq!(answer.body, format!("{{\"self\":\"http://{}/1\"}}", gate.upstream.address));
    let seen = gate.upstream.requests().pop().expect("a request");
    assert_eq!((seen.field("range"), seen.field("accept-encoding")), (Some("bytes=0-1"), Some("gzip")));
    // Another media type, with its length.
    let page = |request: &Received| {
        answered("200 OK\r\ncontent-type: text/html", &format!("{{\"self\":\"{}/1\"}}", own(request)))
    };
    let gate = jira(READS).before(StubUpstream::start(page));
    let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1"));
    assert!(answer.has("content-length: ") && answer.body.contains("127.0.0.1"), "{}", answer.head);
    // A product in whose answers nothing is rewritten.
    let slack = slack(&slack_app("grants: [{scopes: ['files:read'], actors: [app], in: all}]\n"));
    let gate = slack.before(StubUpstream::start(|request| json(&format!("{{\"self\":\"{}/1\"}}", own(request)))));
    let answer = gate.ask(&Ask::get("/api/files.list").bearer("xoxb-assist").with("accept-encoding", "gzip"));
    assert!(answer.has("content-length: ") && answer.body.contains("127.0.0.1"), "{}\n{}", answer.head, answer.body);
    assert_eq!(gate.upstream.requests()[0].field("accept-encoding"), Some("gzip"));
}

#[test]
fn what_is_no_json_passes_as_far_as_it_comes() {
    for body in ["{\"self\":\"http://127.0.0", "}}]]{\"self\"", "", "null", "{\"self\":\"\\u00"] {
        let gate = jira(READS).before(StubUpstream::start(move |_| json(body)));
        let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1"));
        assert_eq!((answer.body.as_str(), answer.whole), (body, true));
    }
    // Cut by the product within a link, and nested deeper than is looked into: neither ends well.
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n";
    for body in ["{\"self\":\"http://12".to_owned(), "[".repeat(2_000)] {
        let reply = Reply::WriteAndClose(format!("{head}{body}").into_bytes());
        let gate = jira(READS).before(StubUpstream::start(move |_| reply.clone()));
        let mut client = gate.connect();
        client.send(&get("/rest/api/3/issue/PROJ-1").text());
        assert!(!client.rest().ends_with("0\r\n\r\n"));
    }
}

// A product of one's own.

pub fn tickets(redirect: &str) -> Setup {
    let catalog = format!(
        "version: 1\nproduct: tickets\nrelease: '1'\ndialect: problem\nbases: [/v1]\nvocabularies: [oauth]\n\
         kinds: [{{name: service, vocabularies: [oauth], actor: app}}]\n\
         scopes: [{{name: read, vocabularies: [oauth]}}]\n\
         links: {{rewritten: [{{members: [next, 'links.*.href'], why: pages and objects}}]}}\n\
         redirects: [{{host: '{redirect}', why: files}}]\n\
         operations: [{{id: list, request: 'GET /tickets', needs: {{oauth: [[read]]}}}}]\n"
    );
    let policy = "version: 1\napp: tickets/importer\nname: Importer\ncontact: it@example.com\ninstallations:\n  \
                  - tenant: main\n    credentials: [{method: token, kind: service, sha256: sha256(tracker)}]\n\
                  grants: [{scopes: [read], actors: [app], in: all}]\n";
    let setup = Setup::jira().without("product").without("issue_keys").gate("catalog", "tickets.yaml");
    let setup = setup.gate("tenant", "{fixed: main}").gate("identify", "[token]");
    setup.file("tickets.yaml", &catalog).policy("importer.yaml", policy)
}

#[test]
fn links_of_many_shapes_are_kept() {
    let upstream = StubUpstream::start(|request| {
        let own = own(request);
        answered(
            "200 OK\r\ncontent-type: application/hal+json",
            &format!(
                "{{\"next\":\"{own}/v1/tickets?page=2\",\"values\":[{{\"links\":{{\"self\":{{\"href\":\"{own}/1\"}},\
                 \"clone\":[{{\"href\":\"{own}/c\",\"name\":\"{own}/n\"}}]}},\"href\":\"{own}/h\"}}]}}"
            ),
        )
    });
    let gate = tickets("media.example").before(upstream);
    let own = format!("http://{}", gate.upstream.address);
    let page = gate.ask(&get("/v1/tickets")).json();
    assert_eq!(page["next"], "http://gate.test/v1/tickets?page=2");
    assert_eq!(page["values"][0]["links"]["self"]["href"], "http://gate.test/1");
    assert_eq!(page["values"][0]["links"]["clone"][0]["href"], "http://gate.test/c");
    assert_eq!(page["values"][0]["links"]["clone"][0]["name"], format!("{own}/n"), "it is not named");
    assert_eq!(page["values"][0]["href"], format!("{own}/h"), "it is not below `links`");
}
