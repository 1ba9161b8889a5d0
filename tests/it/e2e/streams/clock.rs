//! Terms that end by the clock end what is under way: no snapshot says so.

use super::*;
use crate::support::idp::{ISSUER, SigningKey, claims, jwks};
use crate::support::upstream::wait_until;

const MINUTE_MS: i64 = 60_000;

/// Minutes from now, as a policy writes it.
fn in_minutes(minutes: i64) -> String {
    let now = time::OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
    now.format(&time::format_description::well_known::Rfc3339).expect("a time")
}

/// Sets the clock ahead. The snapshot stays.
fn ahead(gate: &Gate, minutes: i64) {
    gate.running().live.clock().set_ahead_ms(minutes * MINUTE_MS);
}

/// A stream of each kind, in a room of its own.
fn all_kinds(gate: &Gate, product: &Product) -> (Client<TcpStream>, Client<TcpStream>, Client<TcpStream>) {
    (open_websocket(gate, "lobby"), begin(gate, "lobby", "events"), begin_upload(gate, product, "lobby", "file", true))
}

fn are_cut(
    gate: &Gate,
    product: &Product,
    of: (Client<TcpStream>, Client<TcpStream>, Client<TcpStream>),
    reason: &str,
) {
    let (mut socket, mut events, mut upload) = of;
    assert!(socket.rest().ends_with(reason));
    assert_eq!(events.rest(), "");
    assert_eq!(upload.answer().reason(), Some(reason));
    for thing in ["live", "events", "file"] {
        product.ended(&target("lobby", thing));
    }
    assert!(cut_lines(gate, 3).iter().all(|line| line["reason"] == reason));
    assert_eq!(cut_total(gate, reason), 3.0);
}

#[test]
fn a_grant_that_ends_ends_what_it_gave() {
    let until = in_minutes(10);
    let ending = format!("grants: [{{scopes: [read, write], actors: [app], in: all, valid: {{until: '{until}'}}}}]\n");
    let product = Product::start();
    let gate = setup(&product).policy("x.yaml", &policy(&ending)).policy("y.yaml", &other_app()).start();
    let generation = gate.running().live.load().generation;
    let streams = all_kinds(&gate, &product);
    let mut other = begin_as(&gate, "y", "board", "events");
    // Its end is near, but not yet there.
    ahead(&gate, 9);
    product.say(&target("lobby", "live"), b"\x81\x02hi");
    ahead(&gate, 11);
    are_cut(&gate, &product, streams, "expired");
    product.say(&target("board", "events"), b"0\r\n\r\n");
    assert_eq!(other.exactly(5).expect("its end"), b"0\r\n\r\n");
    assert_eq!(gate.running().live.load().generation, generation, "it was the clock alone");
    // A step back gives nothing back.
    ahead(&gate, 0);
    assert_eq!(gate.ask(&Ask::get(&target("lobby", "brief")).bearer("x")).reason(), Some("expired"));
}

#[test]
fn a_revocation_that_begins_takes_what_is_under_way() {
    let from = in_minutes(10);
    let (gate, product) = feed_with(&format!(
        "{GRANTED}revocations: [{{scopes: all, in: {{room: [lobby]}}, valid: {{from: '{from}'}}, reason: x}}]\n"
    ));
    let streams = all_kinds(&gate, &product);
    ahead(&gate, 11);
    are_cut(&gate, &product, streams, "container_revoked");
}

#[test]
fn an_install_window_that_closes_takes_what_it_had_lifted() {
    let product = Product::start();
    let installed = in_minutes(-10);
    let rules = format!("{GRANTED}revocations: [{{scopes: all, in: all, unless: install_window, reason: x}}]\n");
    let text = policy(&rules).replace("2020-01-01T00:00:00Z", &format!("'{installed}'\n    install_window: 20m"));
    let gate = setup(&product).policy("x.yaml", &text).start();
    let streams = all_kinds(&gate, &product);
    ahead(&gate, 11);
    are_cut(&gate, &product, streams, "install_window_closed");
}

#[test]
fn a_grant_for_a_time_after_the_installation_ends_with_it() {
    let product = Product::start();
    let rules = "grants: [{scopes: [read, write], actors: [app], in: all, valid: {after_install: 20m}}]\n";
    let text = policy(rules).replace("2020-01-01T00:00:00Z", &format!("'{}'", in_minutes(-10)));
    let gate = setup(&product).policy("x.yaml", &text).start();
    let streams = all_kinds(&gate, &product);
    ahead(&gate, 11);
    are_cut(&gate, &product, streams, "expired");
}

#[test]
fn observe_that_ends_takes_what_it_had_let_pass() {
    let (gate, product) = feed_with(&format!(
        "    observe: {{until: '{}'}}\ngrants: [{{scopes: [read], actors: [app], in: {{room: [board]}}}}]\n",
        in_minutes(10)
    ));
    let streams = all_kinds(&gate, &product);
    let mut granted = begin(&gate, "board", "events");
    ahead(&gate, 11);
    let (mut socket, mut events, mut upload) = streams;
    assert!(socket.rest().ends_with("container_not_granted"));
    assert_eq!((events.rest().as_str(), upload.answer().reason()), ("", Some("missing_scope")));
    product.say(&target("board", "events"), b"0\r\n\r\n");
    assert_eq!(granted.exactly(5).expect("its end"), b"0\r\n\r\n");
}

#[test]
fn what_goes_on_under_observe_alone_says_so_in_its_line() {
    let (gate, product) = feed();
    let mut events = begin(&gate, "lobby", "events");
    let observed = format!(
        "    observe: {{until: '{}'}}\ngrants: [{{scopes: [read], actors: [app], in: {{room: [board]}}}}]\n",
        in_minutes(10)
    );
    gate.write_policy("x.yaml", &policy(&observed));
    let runtime = crate::support::http2::runtime();
    wait_until("the snapshot", || gate.running().live.load().generation > 1);
    let generation = gate.running().live.load().generation;
    assert_eq!(runtime.block_on(gate.running().fence.streams_judged(generation)), 0);
    product.say(&target("lobby", "events"), b"0\r\n\r\n");
    assert_eq!(events.exactly(5).expect("its end"), b"0\r\n\r\n");
    let line = gate.log.line(1);
    assert_eq!((&line["outcome"], &line["reason"]), (&"would_deny".into(), &"container_not_granted".into()));
}

#[test]
fn a_token_for_one_request_need_not_outlive_the_answer_to_it() {
    let product = Product::start();
    let gate = super::super::gantt_before(product.address, "grants: [{scopes: [READ], actors: [app], in: all}]\n");
    let mut client = gate.connect();
    client.send(&super::super::signed("GET", "/rest/api/3/issue/PROJ-1").text());
    product.say(
        "/rest/api/3/issue/PROJ-1",
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 10\r\n\r\nhello",
    );
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 200"));
    assert_eq!(client.exactly(5).expect("bytes"), b"hello");
    ahead(&gate, 60);
    let before = gate.running().live.load().generation;
    gate.write_policy("more.yaml", "version: 1\ngroup: g\ntenant: acme\nusers: [u]\n");
    wait_until("a snapshot", || gate.running().live.load().generation > before);
    let runtime = crate::support::http2::runtime();
    let generation = gate.running().live.load().generation;
    assert_eq!(runtime.block_on(gate.running().fence.streams_judged(generation)), 0);
    product.say("/rest/api/3/issue/PROJ-1", b"world");
    assert_eq!(client.exactly(5).expect("its end"), b"world");
}

#[test]
fn a_token_that_ends_ends_what_it_gave() {
    let (key, product) = (SigningKey::new("one"), Product::start());
    let method = format!(
        "[token, {{jwt: {{issuer: '{ISSUER}', audience: [scopegate], keys: {{file: jwks.json}}, claims: {{app: azp}}}}}}]"
    );
    let policy = policy(GRANTED).replace(
        "method: token, kind: oauth, sha256: sha256(x)",
        &format!("method: jwt, kind: oauth, issuer: '{ISSUER}', client: assist"),
    );
    let gate = setup(&product).gate("identify", &method).file("jwks.json", &jwks(&[&key]));
    let gate = gate.policy("x.yaml", &policy).policy("y.yaml", &other_app()).start();
    let token = key.token(&claims(serde_json::json!({})));
    let mut events = begin_as(&gate, &token, "lobby", "events");
    let mut other = begin_as(&gate, "y", "board", "events");
    ahead(&gate, 9);
    product.say(&target("lobby", "events"), b"2\r\nhi\r\n");
    assert_eq!(events.exactly(7).expect("it goes on"), b"2\r\nhi\r\n");
    ahead(&gate, 11);
    assert_eq!(events.rest(), "");
    product.ended(&target("lobby", "events"));
    assert!(cut_lines(&gate, 1).iter().all(|line| line["reason"] == "unidentified"));
    product.say(&target("board", "events"), b"0\r\n\r\n");
    assert_eq!(other.exactly(5).expect("its end"), b"0\r\n\r\n");
}
