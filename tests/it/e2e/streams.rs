//! What is under way when it stops being permitted is cut, on both sides, and told; all else goes on.

mod clock;
mod http1;
mod http2;
mod product;
mod torture;

use std::net::TcpStream;

use serde_json::Value;

use super::jira_app;
use crate::support::client::Client;
use crate::support::gate::{Ask, Gate, Setup};
use product::Product;

const FEED: &str = "version: 1\nproduct: feed\nrelease: '1'\ndialect: problem\nbases: [/api]\nvocabularies: [oauth]\n\
    containers:\n  - {name: room, id: '[a-z0-9]+'}\n\
    kinds:\n  - {name: oauth, vocabularies: [oauth], actor: app}\n\
    scopes:\n  - {name: read, vocabularies: [oauth]}\n  - {name: write, vocabularies: [oauth]}\n\
    operations:\n  \
    - {id: follow, request: 'GET /rooms/{room}/live', websocket: true, needs: {oauth: [[read]]}, \
      touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: events, request: 'GET /rooms/{room}/events', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: download, request: 'GET /rooms/{room}/file', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: flood, request: 'GET /rooms/{room}/flood', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: brief, request: 'GET /rooms/{room}/brief', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: silent, request: 'GET /rooms/{room}/silent', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: find, request: 'POST /find', needs: {oauth: [[read]]}, touches: {places: [{kind: room, body: /room}]}}\n  \
    - {id: upload, request: 'PUT /rooms/{room}/file', needs: {oauth: [[write]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: early, request: 'PUT /rooms/{room}/early', needs: {oauth: [[write]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: search, request: 'POST /search', needs: {oauth: [[read]]}, touches: {places: [{kind: room, body: /room}]}}\n";

const GRANTED: &str = "grants: [{scopes: [read, write], actors: [app], in: all}]\n";
const REVOKED: &str = "grants: [{scopes: [read, write], actors: [app], in: all}]\n\
                       revocations: [{scopes: all, in: {room: [lobby]}, reason: INC-1}]\n";

/// The app `feed/x` with the token `x`.
fn policy(rules: &str) -> String {
    jira_app("x", "oauth", rules).replace("jira/x", "feed/x")
}

/// Another app, `feed/y` with the token `y`, that may do everything.
fn other_app() -> String {
    policy(GRANTED).replace("feed/x", "feed/y").replace("sha256(x)", "sha256(y)")
}

fn setup(product: &Product) -> Setup {
    Setup::jira()
        .without("issue_keys")
        .without("product")
        .gate("catalog", "feed.yaml")
        .gate("upstream", &format!("http://{}", product.address))
        .file("feed.yaml", FEED)
}

/// A gate before the product, and an app that may do everything.
fn feed() -> (Gate, Product) {
    feed_with(GRANTED)
}

fn feed_with(rules: &str) -> (Gate, Product) {
    let product = Product::start();
    let gate = setup(&product).policy("x.yaml", &policy(rules)).start();
    (gate, product)
}

/// The target of a thing in a room.
fn target(room: &str, thing: &str) -> String {
    format!("/api/rooms/{room}/{thing}")
}

fn opening(room: &str) -> Ask {
    let ask = Ask::get(&target(room, "live")).bearer("x");
    let fields = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value))
}

/// Opens a WebSocket in a room, and reads its first message.
fn open_websocket(gate: &Gate, room: &str) -> Client<TcpStream> {
    let mut client = gate.connect();
    client.send(&opening(room).text());
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 101"));
    assert_eq!(client.exactly(7).expect("a frame"), b"\x81\x05hello");
    client
}

/// Asks for something that lasts, and reads how it begins.
fn begin(gate: &Gate, room: &str, thing: &str) -> Client<TcpStream> {
    begin_as(gate, "x", room, thing)
}

fn begin_as(gate: &Gate, token: &str, room: &str, thing: &str) -> Client<TcpStream> {
    let mut client = gate.connect();
    client.send(&Ask::get(&target(room, thing)).bearer(token).text());
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 200"));
    let begun: &[u8] = if thing == "events" { b"5\r\nhello\r\n" } else { b"hello" };
    assert_eq!(client.exactly(begun.len()).expect("bytes"), begun);
    client
}

/// Begins an upload whose body does not come to its end.
fn begin_upload(gate: &Gate, product: &Product, room: &str, thing: &str, chunked: bool) -> Client<TcpStream> {
    let (framing, body) = match chunked {
        true => ("transfer-encoding: chunked", "5\r\nbegun\r\n"),
        false => ("content-length: 1000", "begun"),
    };
    let target = target(room, thing);
    let mut client = gate.connect();
    client.send(&format!(
        "PUT {target} HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer x\r\n{framing}\r\n\r\n{body}"
    ));
    product.hears(&target, body.as_bytes());
    client
}

/// The lines of the log that say that a request was cut.
fn cut_lines(gate: &Gate, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut wanted = count;
    while lines.len() < count {
        lines = gate.log.lines(wanted).into_iter().filter(|line| line["cut"] == true).collect();
        wanted += 1;
    }
    lines
}

fn cut_total(gate: &Gate, reason: &str) -> f64 {
    gate.metric(&format!(r#"scopegate_streams_cut_total{{app="feed/x",gate="jira",reason="{reason}"}}"#))
}
