//! Bodies, trailers and fields on their way through, both ways.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use scopegate::proxy::limits::Limits;

use super::gate::{Gate, quick};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, fill, pour};

const BULK: usize = 64 * 1024 * 1024;

/// What may lie between the two ends when nobody reads: two pairs of kernel buffers (Linux grows each to 4 + 6 MiB)
/// and the gate's own, which are a hundredth of that.
const BETWEEN_MAX: usize = 24 * 1024 * 1024;

#[test]
fn an_upload_streams_with_flat_memory() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = StubUpstream::serve(move |mut connection| {
        connection.read_head().expect("a head");
        wait.lock().expect("the gate opens").recv().expect("a word");
        let mut left = BULK;
        while left > 0 {
            left -= connection.read_exact(left.min(256 * 1024)).expect("the body").len();
        }
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("written");
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send(&format!("PUT /bulk HTTP/1.1\r\nhost: gate\r\ncontent-length: {BULK}\r\n\r\n"));
    let sent = fill(&mut client.stream, BULK);
    assert!(sent < BETWEEN_MAX, "{sent} bytes went in although nobody took them");
    go.send(()).expect("the upstream waits");
    pour(&mut client.stream, BULK - sent);
    assert_eq!(client.answer().body, "ok");
}

#[test]
fn a_download_streams_with_flat_memory() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = StubUpstream::serve(move |mut connection| {
        connection.read_head().expect("a head");
        connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n").as_bytes()).expect("written");
        let sent = connection.fill(BULK);
        tell.lock().expect("the test").send(sent).expect("the test listens");
        connection.pour(BULK - sent);
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("GET /bulk HTTP/1.1\r\nhost: gate\r\n\r\n");
    let head = client.head().expect("a head");
    let sent = told.recv_timeout(DEADLINE).expect("the upstream got stuck");
    assert!(sent < BETWEEN_MAX, "{sent} bytes went in although nobody took them");
    let answer = client.answer_after(head);
    assert!(answer.whole);
    assert_eq!(answer.body.len(), BULK);
}

#[test]
fn each_part_of_an_answer_passes_as_it_comes() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = StubUpstream::serve(move |mut connection| {
        connection.read_head().expect("a head");
        connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").expect("written");
        wait.lock().expect("the test").recv().expect("a word");
        connection.write(b"3\r\ntwo\r\n0\r\n\r\n").expect("written");
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("GET /events HTTP/1.1\r\nhost: gate\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!([client.line(), client.line()], ["3", "one"], "before the second part was made");
    go.send(()).expect("the upstream waits");
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"));
    assert_eq!([client.line(), client.line()], ["3", "two"]);
}

#[test]
fn trailers_pass_both_ways_without_identity_or_framing() {
    let upstream = StubUpstream::start(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-auth-user, content-length\r\n\r\n\
             2\r\nok\r\n0\r\nx-sum: 1\r\nx-auth-user: root\r\ncontent-length: 9\r\n\r\n",
        )
    });
    let gate = Gate::before(&upstream);
    for path in ["/streamed", "/held"] {
        let answer = gate.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: gate\r\nte: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n\
             trailer: x-sum, x_forwarded_user, authorization\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 2\r\nx_forwarded_user: root\r\nauthorization: Bearer x\r\n\r\n"
        ));
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_eq!(answer.trailers, "x-sum: 1\r\n");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.field("te"), Some("trailers"));
        assert_eq!(String::from_utf8_lossy(&request.body), "2\r\nhi\r\n0\r\nx-sum: 2\r\n\r\n", "{path}");
    }
}

#[test]
fn continue_is_said_when_the_body_is_wanted_and_never_before_a_refusal() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    for path in ["/streamed", "/held"] {
        let mut client = gate.connect();
        client
            .send(&format!("POST {path} HTTP/1.1\r\nhost: gate\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"));
        assert_eq!(client.head().as_deref(), Some("HTTP/1.1 100 Continue"), "{path}");
        client.send("hi");
        assert_eq!(client.answer().body, "ok");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!((request.field("expect"), request.body.as_slice()), (None, b"hi".as_slice()));
    }
    let mut client = gate.connect();
    client.send("POST /refused HTTP/1.1\r\nhost: gate\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    assert_eq!(client.rest(), "", "and the connection closes: the body may come or not");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_held_body_is_whole_or_refused() {
    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(
        &upstream,
        Limits { body_max: 4, hold_timeout: Duration::from_millis(150), ..Limits::default() },
    );
    for (request, status) in [
        ("content-length: 4\r\n\r\nfour", 200),
        ("transfer-encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n", 200),
        // Announced too long: refused before a byte of it came.
        ("content-length: 5\r\n\r\n", 413),
        ("transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n1\r\nx\r\n0\r\n\r\n", 413),
        ("content-length: 4\r\n\r\nfou", 408),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ] {
        assert_eq!(gate.ask(&format!("POST /held HTTP/1.1\r\nhost: gate\r\n{request}")).status, status, "{request}");
    }
    let bodies: Vec<_> = upstream.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"four", b"four"]);
}

#[test]
fn fields_of_the_connection_and_of_identity_stay_behind() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let answer = gate.ask(
        "GET /a?b=%2F HTTP/1.1\r\nHost: Gate.internal:80\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n\
         X_Auth_User: root\r\nX.Authenticated.User: root\r\nremote_groups: admins\r\nX-Forwarded-For: 10.0.0.1\r\n\
         x-forwarded-user: root\r\nForwarded: for=10.0.0.1\r\nX-Original-URL: /admin\r\nX-HTTP-Method-Override: PUT\r\n\
         x-envoy-original-path: /admin\r\nProxy-Authorization: Basic eA==\r\nx-scopegate-app: jira/other\r\n\
         Authorization: Bearer t\r\ntraceparent: 00-1-2-01\r\nX-Atlassian-Token: no-check\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let request = upstream.requests().pop().expect("a request");
    assert_eq!(request.line(), "GET /a?b=%2F HTTP/1.1");
    let mut names = request.names();
    names.sort();
    let expected =
        ["authorization", "host", "traceparent", "via", "x-atlassian-token", "x-forwarded-for", "x-forwarded-proto"];
    assert_eq!(names, expected);
    assert_eq!(request.field("host"), Some(format!("127.0.0.1:{}", upstream.address.port()).as_str()));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn an_upstream_that_dies_within_a_body_leaves_a_cut_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = StubUpstream::start(|_| Reply::WriteAndClose(answer.as_bytes().to_vec()));
        let gate = Gate::before(&upstream);
        let answer = gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(answer.status, 200);
        assert!(!answer.whole, "{answer:?}");
    }
}

#[test]
fn an_answer_that_pauses_for_too_long_is_cut() {
    let upstream = StubUpstream::serve(|mut connection| {
        connection.read_request().expect("a request");
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").expect("written");
        connection.read_to_end();
    });
    let gate = Gate::with_limits(&upstream, quick());
    assert!(!gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").whole);
    upstream.wait_for_closed(1);
}

#[test]
fn an_upstream_may_answer_before_the_body_ended() {
    let upstream = StubUpstream::serve(|mut connection| {
        connection.read_head().expect("a head");
        connection.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").expect("written");
        connection.read_exact(10).expect("the rest");
        connection.write(b"").expect("open");
        connection.read_to_end();
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("PUT / HTTP/1.1\r\nhost: gate\r\ncontent-length: 10\r\n\r\n01234");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (413, "big"));
}

#[test]
fn an_upstream_that_switches_protocols_unasked_or_speaks_none_is_broken() {
    for (answer, word) in [
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "switched"),
        ("SSH-2.0-OpenSSH_9.7\r\n\r\n", "broken"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", "broken"),
    ] {
        let upstream = StubUpstream::start(|_| Reply::raw(answer));
        let gate = Gate::before(&upstream);
        let answer = gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!((answer.status, answer.body.as_str()), (502, word));
        upstream.wait_for_closed(1);
    }
}

#[test]
fn an_answer_with_too_large_a_head_is_broken() {
    let upstream = StubUpstream::start(|_| {
        Reply::raw(&format!("HTTP/1.1 200 OK\r\nx-big: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(40_000)))
    });
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "broken");
}

#[test]
fn interim_answers_are_swallowed_and_reason_and_connection_fields_are_the_gates_own() {
    let upstream = StubUpstream::start(|_| {
        Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\nconnection: x-hop\r\nx-hop: 1\r\n\
             keep-alive: timeout=5\r\nx-scopegate-reason: missing_scope\r\ncontent-length: 2\r\n\r\nok",
        )
    });
    let gate = Gate::before(&upstream);
    let answer = gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    for gone in ["x-hop", "keep-alive", "x-scopegate-reason", "connection", "link"] {
        assert!(!answer.has(gone), "{gone}: {}", answer.head);
    }
}

#[test]
fn head_and_304_have_a_length_and_no_body_and_what_follows_them_is_never_an_answer() {
    let upstream = StubUpstream::start(|request| match request.line().split(' ').nth(1) {
        Some("/head") => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        Some("/304") => Reply::raw("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        // A body where there may be none, dressed as the answer to the next request (F11).
        Some("/evil") => {
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        }
        _ => Reply::ok("ok"),
    });
    let gate = Gate::before(&upstream);
    for request in ["HEAD /head", "GET /304", "HEAD /evil"] {
        let mut client = gate.connect();
        client.send(&format!("{request} HTTP/1.1\r\nhost: gate\r\n\r\n"));
        let head = client.head().expect("a head");
        // hyper writes no length with a 304, which is as good (RFC 9110 §8.6).
        assert!(request == "GET /304" || head.to_lowercase().contains("content-length: 5"), "{head}");
        client.send("GET /next HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(client.answer().body, "ok", "after {request}");
    }
    assert_eq!(upstream.connections(), 4, "what announced a body that may not come is not used again");
}

#[test]
fn an_old_upstream_whose_answer_ends_with_its_connection_is_understood() {
    let upstream = StubUpstream::start(|_| {
        Reply::WriteAndClose(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold".to_vec())
    });
    let gate = Gate::before(&upstream);
    let answer = gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!((answer.body.as_str(), answer.whole), ("old", true));
}

#[test]
fn an_old_client_is_answered_as_it_understands() {
    let upstream = StubUpstream::start(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n")
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("GET / HTTP/1.0\r\nhost: gate\r\n\r\n");
    let head = client.head().expect("a head").to_lowercase();
    assert!(head.starts_with("http/1.0 200") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(client.rest(), "new");
    assert_eq!(upstream.requests().pop().expect("a request").line(), "GET / HTTP/1.1");
}
