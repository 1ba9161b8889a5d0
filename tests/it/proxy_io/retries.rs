//! What is sent once, what twice, and what not at all.

use std::sync::atomic::{AtomicUsize, Ordering};

use scopegate::proxy::limits::Limits;
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::upstream::Target;

use super::gate::{Gate, quick};
use crate::support::upstream::{Received, Reply, StubUpstream};

/// Answers each connection's first request, and treats the second with `then`.
fn second_on_a_connection(then: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> StubUpstream {
    let seen: [AtomicUsize; 8] = Default::default();
    StubUpstream::start(move |request| match seen[request.connection].fetch_add(1, Ordering::SeqCst) {
        0 => Reply::ok("first"),
        _ => then(request),
    })
}

#[test]
fn a_connection_is_used_again() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    for _ in 0..3 {
        client.send("GET /a HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(client.answer().body, "ok");
    }
    assert_eq!(gate.ask("POST /b HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi").body, "ok");
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.requests().len(), 4);
}

#[test]
fn a_get_that_met_a_closing_connection_is_sent_once_more() {
    let upstream = second_on_a_connection(|_| Reply::Close);
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    assert_eq!(gate.ask("GET /2 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    let lines: Vec<_> = upstream.requests().iter().map(|request| request.line().to_owned()).collect();
    assert_eq!(lines, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]);
}

#[test]
fn a_post_that_met_a_closing_connection_is_not_sent_again() {
    let upstream = second_on_a_connection(|_| Reply::Close);
    let gate = Gate::before(&upstream);
    for body in ["content-length: 0\r\n\r\n", "content-length: 2\r\n\r\nhi"] {
        let before = upstream.requests().len();
        assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
        let answer = gate.ask(&format!("POST /2 HTTP/1.1\r\nhost: gate\r\n{body}"));
        assert_eq!((answer.status, answer.body.as_str()), (502, "broken"));
        assert_eq!(upstream.requests().len(), before + 2);
    }
}

#[test]
fn a_get_with_a_body_is_not_sent_again() {
    let upstream = second_on_a_connection(|_| Reply::Close);
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    let answer = gate.ask("GET /held HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(answer.status, 502);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_get_of_whose_answer_one_byte_came_is_not_sent_again() {
    let upstream = second_on_a_connection(|_| Reply::WriteAndClose(b"H".to_vec()));
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    assert_eq!(gate.ask("GET /2 HTTP/1.1\r\nhost: gate\r\n\r\n").status, 502);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_get_on_a_fresh_connection_is_sent_once() {
    let upstream = StubUpstream::start(|_| Reply::Close);
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "broken");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_get_is_sent_twice_at_most() {
    let count = AtomicUsize::new(0);
    let upstream = StubUpstream::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::ok("first"),
        _ => Reply::Close,
    });
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    assert_eq!(gate.ask("GET /2 HTTP/1.1\r\nhost: gate\r\n\r\n").status, 502);
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn what_was_judged_by_an_older_snapshot_is_judged_again_and_nothing_of_the_first_is_sent() {
    for (name, request) in [
        ("no body", "GET /moved HTTP/1.1\r\nhost: gate\r\n\r\n"),
        ("streamed", "POST /moved HTTP/1.1\r\nhost: gate\r\ncontent-length: 5\r\n\r\nhello"),
        ("chunked", "POST /moved HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        for is_reused in [false, true] {
            let upstream = StubUpstream::ok();
            let gate = Gate::before(&upstream);
            if is_reused {
                gate.ask("GET /before HTTP/1.1\r\nhost: gate\r\n\r\n");
            }
            let answer = gate.ask(request);
            assert_eq!(answer.status, 200, "{name}");
            assert!(answer.has("judged: 2"), "{name}: {}", answer.head);
            let requests = upstream.requests();
            assert_eq!(requests.len(), 1 + usize::from(is_reused), "{name}");
            let last = requests.last().expect("a request");
            assert_eq!(
                last.body.windows(5).filter(|window| window == b"hello").count(),
                usize::from(name != "no body")
            );
            let whole: usize = requests.iter().map(|request| request.head.len() + 4 + request.body.len()).sum();
            assert_eq!(upstream.bytes(), whole, "{name}: not a byte besides the whole requests");
        }
    }
}

#[test]
fn the_upstream_gets_no_more_connections_than_it_may_have() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let gate = Gate::with_limits(&upstream, Limits { upstream_connections_max: 1, ..Limits::default() });
    let mut first = gate.connect();
    first.send("GET /1 HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(1);
    assert_eq!(gate.ask("GET /2 HTTP/1.1\r\nhost: gate\r\n\r\n").body, "too_many_connections");
    drop(first);
    upstream.wait_for_closed(1);
}

#[test]
fn an_upstream_that_is_away_or_deaf_is_told_apart() {
    let upstream = StubUpstream::ok();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::http("127.0.0.1", free.local_addr().expect("an address").port()).expect("a target");
    drop(free);
    let any = || ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let gate = Gate::start(any(), target, quick(), None);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "unreachable");

    // A full backlog: the kernel drops what comes, and a connection is neither made nor refused.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("an address");
    let _fill: Vec<_> =
        (0..2).map(|_| std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100))).collect();
    let gate = Gate::start(any(), Target::http("127.0.0.1", address.port()).expect("a target"), quick(), None);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "connect_timeout");
    drop(upstream);
}

#[test]
fn an_upstream_that_never_answers_is_given_up_and_its_connection_closed() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let gate = Gate::with_limits(&upstream, quick());
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "response_timeout");
    upstream.wait_for_closed(1);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_client_that_goes_takes_its_upstream_request_with_it() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(1);
    drop(client);
    upstream.wait_for_closed(1);
}
