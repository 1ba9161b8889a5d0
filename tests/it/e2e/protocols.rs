//! The whole gate over HTTP/2 and WebSockets: the same judgements, the same refusals.

use http::Request;
use serde_json::Value;

use super::{jira_app, tracker};
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::http2::Client;
use crate::support::upstream::{Reply, StubUpstream};

const FEED: &str = "version: 1\nproduct: feed\nrelease: '1'\ndialect: problem\nbases: [/api]\nvocabularies: [oauth]\n\
    containers:\n  - {name: room, id: '[a-z]+'}\n\
    kinds:\n  - {name: oauth, vocabularies: [oauth], actor: app}\n\
    scopes:\n  - {name: read, vocabularies: [oauth]}\n\
    operations:\n  - {id: follow, request: 'GET /rooms/{room}/live', websocket: true, needs: {oauth: [[read]]}, \
      touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: list, request: 'GET /rooms/{room}', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n";

const OPEN: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn feed() -> Gate {
    feed_saying(b"\x81\x02hi")
}

/// Whose upstream says this when a WebSocket was opened.
fn feed_saying(frames: &'static [u8]) -> Gate {
    feed_before(StubUpstream::start(move |request| match request.field("upgrade") {
        Some("websocket") => Reply::WriteAndClose([OPENED.as_bytes(), frames].concat()),
        _ => Reply::ok("ok"),
    }))
}

fn feed_before(upstream: StubUpstream) -> Gate {
    let rules = "grants: [{scopes: [read], actors: [app], in: {room: [lobby]}}]\n";
    Setup::jira()
        .without("issue_keys")
        .without("product")
        .gate("catalog", "feed.yaml")
        .file("feed.yaml", FEED)
        .policy("a.yaml", &jira_app("x", "oauth", rules).replace("jira/x", "feed/x"))
        .before(upstream)
}

fn opening(path: &str) -> Ask {
    OPEN.iter().fold(Ask::get(path), |ask, (name, value)| ask.with(name, value))
}

#[test]
fn a_websocket_is_judged_as_the_operation_that_opens_it() {
    let gate = feed();
    gate.refuses(&opening("/api/rooms/lobby/live"), "unidentified");
    gate.refuses(&opening("/api/rooms/board/live").bearer("x"), "container_not_granted");
    gate.refuses(&opening("/api/rooms/nowhere").bearer("x"), "container_not_granted");
    // Permitted, but the catalog does not say that it opens anything.
    gate.refuses(&opening("/api/rooms/lobby").bearer("x"), "bad_request");
    gate.refuses(&opening("/api/other").bearer("x"), "unknown_operation");
    let mut client = gate.connect();
    client.send(&opening("/api/rooms/lobby/live").bearer("x").text());
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 101"));
    assert_eq!(client.exactly(4).expect("a frame"), b"\x81\x02hi");
    let asked = gate.upstream.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line(), "GET /api/rooms/lobby/live HTTP/1.1");
}

#[test]
fn a_websocket_is_one_line_of_the_log_when_it_is_over() {
    let gate = feed();
    let mut client = gate.connect();
    client.send(&opening("/api/rooms/lobby/live").bearer("x").text());
    client.rest();
    let line: Value = gate.log.line(1);
    assert_eq!(
        (&line["status"], &line["outcome"], &line["operation"]),
        (&101.into(), &"permit".into(), &"follow".into())
    );
}

#[test]
fn an_upstream_frame_of_wrong_form_stands_in_the_log() {
    // Masked, as no server's frame may be.
    let gate = feed_saying(b"\x81\x82\0\0\0\0hi");
    let mut client = gate.connect();
    client.send(&opening("/api/rooms/lobby/live").bearer("x").text());
    client.rest();
    let line: Value = gate.log.line(1);
    assert_eq!(line["upstream_error"], "the upstream sent a WebSocket frame of wrong form");
}

/// Status and reason of the answer to an extended CONNECT (RFC 8441).
fn open_over_http_2(gate: &Gate, path: &str, token: Option<&str>) -> (u16, Option<String>) {
    let client = Client::connect(gate.address());
    let mut request = Request::builder().method("CONNECT").uri(format!("http://{}{path}", gate.address()));
    request = request.header("sec-websocket-version", "13").extension(h2::ext::Protocol::from_static("websocket"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(()).expect("one");
    client.runtime.block_on(async {
        let mut sender = client.sender.clone().ready().await.expect("room");
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        // The stream stays open: a WebSocket has no end of its own.
        let (answer, _stream) = sender.send_request(request, false).expect("sent");
        let answer = answer.await.expect("an answer");
        let reason = answer.headers().get("x-scopegate-reason").map(|it| it.to_str().expect("text").to_owned());
        (answer.status().as_u16(), reason)
    })
}

#[test]
fn over_http_2_an_upstream_that_opens_nothing_opens_nothing() {
    for (status, told) in [("200 OK", 502), ("204 No Content", 502), ("403 Forbidden", 403)] {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let gate = feed_before(StubUpstream::start(move |_| Reply::raw(&text)));
        let (answered, reason) = open_over_http_2(&gate, "/api/rooms/lobby/live", Some("x"));
        assert_eq!(answered, told, "{status}");
        assert_eq!(reason.as_deref(), (told == 502).then_some("upstream_broken"), "{status}");
        let line: Value = gate.log.line(1);
        assert_eq!(line["status"], told);
        if told == 502 {
            let seen = format!("the upstream opened no WebSocket, but answered with {status}");
            assert_eq!(line["upstream_error"], seen);
        }
    }
}

#[test]
fn over_http_2_a_refusal_in_slacks_words_opens_nothing() {
    let gate = Setup::slack().start();
    for path in ["/api/chat.postMessage", "/api/no.such"] {
        let (status, reason) = open_over_http_2(&gate, path, None);
        assert_eq!(status, 403, "{path}");
        assert!(reason.is_some());
    }
    assert_eq!(gate.upstream.bytes(), 0);
}

#[test]
fn over_http_2_a_websocket_is_judged_as_the_operation_that_opens_it() {
    let gate = feed();
    let open = |path: &str, token: Option<&str>| open_over_http_2(&gate, path, token);
    let refused = |status, reason: &str| (status, Some(reason.to_owned()));
    assert_eq!(open("/api/rooms/lobby/live", None), refused(401, "unidentified"));
    assert_eq!(open("/api/rooms/board/live", Some("x")), refused(404, "container_not_granted"));
    assert_eq!(open("/api/rooms/lobby", Some("x")), refused(400, "bad_request"));
    assert_eq!(open("/api/other", Some("x")), refused(404, "unknown_operation"));
    assert_eq!(gate.upstream.bytes(), 0);
    // Permitted, so it was asked; the stub's proof is of another key than the gate's own.
    assert_eq!(open("/api/rooms/lobby/live", Some("x")), refused(502, "upstream_broken"));
    assert_eq!(gate.upstream.requests().len(), 1);
}

#[test]
fn http_2_is_judged_as_http_1_is() {
    let gate = tracker("grants: [{scopes: ['read:jira-work'], actors: [app], in: {project: [PROJ]}}]\n");
    let mut client = Client::connect(gate.address());
    let mut ask = |method: &str, path: &str, token: Option<&str>| {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", gate.address()));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = client.ask(request.body(()).expect("one"), b"").expect("an answer");
        let reason = answer.headers.get("x-scopegate-reason").map(|it| it.to_str().expect("text").to_owned());
        (answer.status, reason)
    };
    let refused = |status, reason: &str| (status, Some(reason.to_owned()));
    assert_eq!(ask("GET", "/rest/api/3/issue/SEC-1", Some("tracker")), refused(404, "container_not_granted"));
    assert_eq!(ask("DELETE", "/rest/api/3/issue/PROJ-1", Some("tracker")), refused(401, "missing_scope"));
    assert_eq!(ask("GET", "/rest/api/3/issue/PROJ-1", None), refused(401, "unidentified"));
    assert_eq!(ask("GET", "/rest/api/3/issue/..%2fPROJ-1", Some("tracker")), refused(400, "bad_request"));
    assert_eq!(ask("GET", "//rest/api/3/issue/PROJ-1", Some("tracker")), refused(400, "bad_request"));
    assert_eq!(ask("TRACE", "/rest/api/3/issue/PROJ-1", Some("tracker")), refused(400, "bad_request"));
    assert_eq!(gate.upstream.bytes(), 0);
    assert_eq!(ask("GET", "/rest/api/3/issue/PROJ-1", Some("tracker")), (200, None));
    assert_eq!(gate.upstream.requests().len(), 1);
}
