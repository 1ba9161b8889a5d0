//! Where a request ends: what hyper rejects, what it settles, and that the upstream then gets one reading, newly
//! written. In none of these do bytes of one request reach the upstream as another.

use std::net::TcpStream;

use std::sync::atomic::Ordering;

use super::gate::{Client, Gate};
use crate::support::upstream::{StubUpstream, wait_until};

/// Sends raw bytes, and says how the first request was answered; 0 if the gate closed without an answer.
fn status(gate: &Gate, raw: &str) -> u16 {
    let mut client = gate.connect();
    client.send(raw);
    status_of(client)
}

/// As [`status`], and nothing more will come: the gate takes a half-closed connection for a closed one.
fn status_at_end(gate: &Gate, raw: &str) -> u16 {
    let mut client = gate.connect();
    client.send(raw);
    client.stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    status_of(client)
}

fn status_of(mut client: Client<TcpStream>) -> u16 {
    let head = client.head().unwrap_or_default();
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn what_cannot_be_framed_is_refused_and_never_reaches_the_upstream() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: gate\r\n\r\n";
    for fields in [
        // F02: transfer codings that another parser may read as chunked, or as not.
        "transfer-encoding: chunked,\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: \x0bchunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "transfer_encoding: chunked\r\ncontent-length: 5\r\n",
        "content_length: 5\r\n",
        "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n",
        "connection: Content-Length\r\ncontent-length: 5\r\n",
        // F05: lengths.
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5, 5\r\n",
        "content-length: 5 5\r\n",
        "content-length: 9999999999999999999999999999999999999999\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length:\r\n",
        // H10, A02.
        "x\0y: 1\r\n",
        ": empty\r\n",
        "x: a\rb\r\n",
        "host: other\r\n",
    ] {
        let raw = format!("POST / HTTP/1.1\r\nhost: gate\r\n{fields}\r\n0\r\n\r\n{smuggled}");
        assert_eq!(status(&gate, &raw), 400, "{fields:?}");
    }
    for raw in [
        // F03: versions.
        format!("POST / HTTP/1.0\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("GET / HTTP/9.9\r\nhost: gate\r\n\r\n{smuggled}"),
        format!("GET / HTTP/2.0\r\nhost: gate\r\n\r\n{smuggled}"),
        "GET /\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT upstream:443 HTTP/1.1\r\nhost: upstream:443\r\n\r\n".to_owned(),
        "TRACE / HTTP/1.1\r\nhost: gate\r\n\r\n".to_owned(),
        // F04, F08.
        format!("GET / HTTP/1.1\r\nhost: gate\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n{smuggled}"),
        "GET / HTTP/1.1\r\nhost: gate\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
            .to_owned(),
    ] {
        assert_eq!(status(&gate, &raw), 400, "{raw:?}");
    }
    // A length that is a number, but none that hyper can count to.
    let raw = format!("POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: {}\r\n\r\n{smuggled}", u64::MAX);
    assert_eq!(status(&gate, &raw), 431);
    assert_eq!(smuggled_requests(&upstream), 0);
    assert!(upstream.requests().iter().all(|request| request.line() != "POST / HTTP/1.1"), "none was forwarded");
}

/// Requests that were hidden in others. A pipelined one that follows a whole, refused one is not hidden.
#[test]
fn what_is_no_http_is_closed_and_counted() {
    for bytes in [
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03 a hello of TLS\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: gate\r\nbad name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: gate\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: gate\r\n\r\n",
    ] {
        let upstream = StubUpstream::ok();
        let gate = Gate::before(&upstream);
        let mut client = gate.connect();
        client.send(bytes);
        assert!(matches!(status_of(client), 0 | 400), "{bytes}");
        wait_until("it to be counted", || gate.counters.malformed.load(Ordering::SeqCst) == 1);
        assert_eq!(upstream.bytes(), 0);
    }
    // A client that goes in the midst of its head, or after an answer, does no wrong.
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    let mut cut = gate.connect();
    cut.send("GET / HTTP/1.1\r\nho");
    drop(cut);
    wait_until("both to be gone", || gate.counters.client_open.load(Ordering::SeqCst) == 0);
    assert_eq!(gate.counters.malformed.load(Ordering::SeqCst), 0);
}

fn smuggled_requests(upstream: &StubUpstream) -> usize {
    upstream.requests().iter().filter(|request| request.line().contains("smuggled")).count()
}

#[test]
fn what_hyper_settles_reaches_the_upstream_in_one_reading_newly_written() {
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    for (name, raw, body) in [
        // F01: hyper lets the transfer coding win (RFC 9112 §6.3) and drops the length, in either order.
        ("CL.TE", format!("content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"), chunked),
        ("TE.CL", format!("transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n{chunked}"), chunked),
        // hyper trims spaces around the coding and takes any case.
        ("spaces", format!("transfer-encoding:   cHuNkEd \t\r\n\r\n{chunked}"), chunked),
        // F05: an equal length twice is one, leading zeros count for nothing.
        ("equal lengths", "content-length: 5\r\ncontent-length: 5\r\n\r\nhello".to_owned(), "hello"),
        ("leading zeros", "content-length: 0005\r\n\r\nhello".to_owned(), "hello"),
        // F06: extensions are dropped; sizes may be in capitals and have leading zeros.
        ("extension", "transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n".to_owned(), chunked),
        ("quoted extension", "transfer-encoding: chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n".to_owned(), chunked),
        ("zeros", "transfer-encoding: chunked\r\n\r\n00005\r\nhello\r\n000\r\n\r\n".to_owned(), chunked),
    ] {
        let upstream = StubUpstream::ok();
        let gate = Gate::before(&upstream);
        let mut client = gate.connect();
        client.send(&format!("POST /settled HTTP/1.1\r\nhost: gate\r\n{raw}"));
        assert_eq!(client.answer().status, 200, "{name}");
        let [request] = &*upstream.requests() else { panic!("{name}: one request, not {:?}", upstream.requests()) };
        assert_eq!(String::from_utf8_lossy(&request.body), body, "{name}");
        if body == chunked {
            assert_eq!((request.field("transfer-encoding"), request.field("content-length")), (Some("chunked"), None));
        } else {
            assert_eq!((request.field("transfer-encoding"), request.field("content-length")), (None, Some("5")));
        }
    }
}

#[test]
fn a_bare_line_feed_ends_a_line_and_the_upstream_gets_both() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("POST /lf HTTP/1.1\nhost: gate\ncontent-length: 2\n\nhi").status, 200);
    let request = upstream.requests().pop().expect("a request");
    assert_eq!(request.head.matches('\n').count(), request.head.matches("\r\n").count());
    assert_eq!(request.body, b"hi");
}

#[test]
fn a_malformed_chunk_ends_the_request_and_the_upstream_never_sees_its_end() {
    for body in [
        // F06: overflow, a negative and a missing size, a missing CRLF, a bare line feed within an extension.
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloGET /smuggled HTTP/1.1\r\nhost: gate\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
    ] {
        let upstream = StubUpstream::ok();
        let gate = Gate::before(&upstream);
        let raw = format!("POST /chunk HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let answered = status_at_end(&gate, &raw);
        assert_ne!(answered, 200, "{body:?}");
        assert!(upstream.requests().is_empty(), "{body:?}: a whole request came: {:?}", upstream.requests());
    }
}

#[test]
fn a_request_that_is_cut_at_any_byte_is_never_forwarded_whole() {
    let whole = "POST /cut HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi";
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    for end in 1..whole.len() {
        let answered = status_at_end(&gate, &whole[..end]);
        assert_ne!(answered, 200, "{end}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn the_unread_body_of_a_refused_request_is_never_a_request() {
    // F09: the body looks like a request, and a pipelined one follows it.
    let hidden = "GET /hidden HTTP/1.1\r\nhost: gate\r\n\r\n";
    for (name, body) in [
        ("length", format!("content-length: {}\r\n\r\n{hidden}", hidden.len())),
        ("chunked", format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len())),
        ("large", format!("content-length: 200000\r\n\r\n{}{hidden}", "x".repeat(200_000 - hidden.len()))),
    ] {
        let upstream = StubUpstream::ok();
        let gate = Gate::before(&upstream);
        let mut client = gate.connect();
        client.send(&format!("POST /refused HTTP/1.1\r\nhost: gate\r\n{body}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (403, "refused"), "{name}");
        // Drained or closed, as hyper likes; the pipelined request is answered or not, the hidden one never is.
        client.send_if_open("GET /pipelined HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n");
        client.rest();
        assert!(upstream.requests().iter().all(|request| request.line() == "GET /pipelined HTTP/1.1"), "{name}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = StubUpstream::start(|request| {
        crate::support::upstream::Reply::ok(request.line().split(' ').nth(1).unwrap_or_default())
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send(
        "GET /1 HTTP/1.1\r\nhost: gate\r\n\r\nPOST /2 HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi\
         GET /3 HTTP/1.1\r\nhost: gate\r\n\r\n",
    );
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.answer().body, path);
    }
}

#[test]
fn a_get_keeps_its_body() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    gate.ask("GET /a HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    gate.ask("GET /held HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let bodies: Vec<_> = upstream.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"2\r\nhi\r\n0\r\n\r\n".to_vec(), b"hi".to_vec()]);
}

#[test]
fn the_upstream_gets_the_origin_form_only() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    for (target, line) in
        [("http://gate/a?b", "GET /a?b HTTP/1.1"), ("/a?", "GET /a? HTTP/1.1"), ("//a", "GET //a HTTP/1.1")]
    {
        assert_eq!(gate.ask(&format!("GET {target} HTTP/1.1\r\nhost: gate\r\n\r\n")).status, 200);
        assert_eq!(upstream.requests().pop().expect("a request").line(), line);
    }
}
