//! HTTP/2 to upstreams: what is shared, what is sent once more, and that a moved snapshot holds a head back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use scopegate::proxy::limits::{LARGE_HEADS_MAX, Limits};
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::upstream::{Speaks, Target};
use tokio::time::timeout;

use super::gate::{Gate, quick};
use crate::support::http2::{Client, EARLY, Reply, StubHttp2, get};
use crate::support::upstream::{self, DEADLINE, StubUpstream, wait_until};

#[test]
fn a_request_of_http_1_reaches_it_as_one_of_http_2() {
    let upstream = StubHttp2::start(|_| {
        let head = Response::builder().status(201).header("x-a", "1").header("alt-svc", "h3");
        Reply::Answer(head.body(()).expect("a head"), "made".into())
    });
    let gate = before(&upstream, Limits::default());
    let answer = gate.ask(
        "POST /a?b=1 HTTP/1.1\r\nhost: gate\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nte: trailers\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\nauthorization: Bearer x\r\n\r\n",
    );
    assert_eq!((answer.status, answer.body.as_str(), answer.field("x-a")), (201, "made", Some("1")));
    assert_eq!(answer.field("alt-svc"), None);
    let received = upstream.wait_for(1).remove(0);
    assert_eq!((received.method.as_str(), received.body.as_str()), ("POST", "hello"));
    assert_eq!(received.uri, format!("http://127.0.0.1:{}/a?b=1", upstream.address.port()));
    for gone in ["host", "x-hop", "connection", "transfer-encoding"] {
        assert!(!received.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(received.headers["via"], "1.1 scopegate");
    let trailers = received.trailers.expect("trailers");
    assert_eq!((trailers.get("x-sum").map(http::HeaderValue::as_bytes), trailers.len()), (Some(&b"7"[..]), 1));
}

#[test]
fn http_2_on_both_sides_carries_trailers_and_lengths() {
    let upstream = StubHttp2::start(|_| Reply::ok("whole"));
    let gate = before(&upstream, Limits::default());
    let mut client = Client::connect(gate.port());
    let request = http::Request::post(format!("http://{}/", gate.port())).header("content-length", 5);
    assert_eq!(client.ask(request.body(()).expect("one"), b"hello").expect("an answer").body, "whole");
    let received = upstream.wait_for(1).remove(0);
    assert_eq!((received.headers["content-length"].as_bytes(), received.body.as_str()), (&b"5"[..], "hello"));
    assert_eq!(received.headers["via"], "2 scopegate");
}

#[test]
fn many_requests_share_one_connection() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    let mut clients: Vec<_> = (0..20).map(|_| gate.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer().body, "ok");
        }
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (60, 1));
}

#[test]
fn no_more_requests_are_on_a_connection_than_its_upstream_lets() {
    let mut protocol = h2::server::Builder::new();
    protocol.max_concurrent_streams(2);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let upstream = StubHttp2::with(protocol, move |request| {
        if request.uri.ends_with("/first") {
            return Reply::ok("first");
        }
        counted.1.fetch_max(counted.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Reply::Hang
    });
    let gate = before(&upstream, Limits { response_timeout: Duration::from_millis(500), ..Limits::default() });
    // Its answer brings the upstream's settings.
    assert_eq!(gate.ask("GET /first HTTP/1.1\r\nhost: gate\r\n\r\n").body, "first");
    let mut clients: Vec<_> = (0..6).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().body, "response_timeout");
    }
    let per_connection = |number| upstream.requests().iter().filter(|it| it.connection == number).count();
    assert!(upstream.connections() >= 3, "{} connections", upstream.connections());
    assert!((1..upstream.connections()).all(|number| per_connection(number) <= 2));
}

#[test]
fn a_snapshot_that_moves_right_before_the_head_has_the_request_judged_again() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    let answer = gate.ask("POST /moved HTTP/1.1\r\nhost: gate\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!((answer.body.as_str(), answer.field("judged")), ("ok", Some("2")));
    let received = upstream.wait_for(1);
    assert_eq!((received.len(), received[0].body.as_str()), (1, "hello"), "it was sent once, whole");
}

#[test]
fn what_was_not_processed_is_sent_once_more_if_it_is_safe() {
    for reset in [true, false] {
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&asked);
        let upstream = StubHttp2::start(move |request| match request.uri.rsplit('/').next() {
            Some("warm") => Reply::ok("warm"),
            _ if seen.fetch_add(1, Ordering::SeqCst) > 0 => Reply::ok("second"),
            _ if reset => Reply::Reset(h2::Reason::REFUSED_STREAM),
            _ => Reply::GoAway,
        });
        let gate = before(&upstream, Limits::default());
        assert_eq!(gate.ask("GET /warm HTTP/1.1\r\nhost: gate\r\n\r\n").body, "warm");
        assert_eq!(gate.ask("GET /safe HTTP/1.1\r\nhost: gate\r\n\r\n").body, "second", "reset: {reset}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn nothing_else_is_ever_sent_twice() {
    for (method, reason) in [
        ("POST", h2::Reason::REFUSED_STREAM),
        ("DELETE", h2::Reason::REFUSED_STREAM),
        ("GET", h2::Reason::INTERNAL_ERROR),
        ("GET", h2::Reason::CANCEL),
    ] {
        let upstream = StubHttp2::start(move |request| match request.uri.rsplit('/').next() {
            Some("warm") => Reply::ok("warm"),
            _ => Reply::Reset(reason),
        });
        let gate = before(&upstream, Limits::default());
        assert_eq!(gate.ask("GET /warm HTTP/1.1\r\nhost: gate\r\n\r\n").body, "warm");
        let answer = gate.ask(&format!("{method} /x HTTP/1.1\r\nhost: gate\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (502, "broken"), "{method} {reason:?}");
        let sent = upstream.requests().iter().filter(|request| request.uri.ends_with("/x")).count();
        assert_eq!(sent, 1, "{method} {reason:?}");
    }
}

#[test]
fn an_upstream_that_says_nothing_is_given_up_and_not_asked_again_there() {
    let upstream = StubHttp2::start(|request| match request.uri.rsplit('/').next() {
        Some("hang") => Reply::Hang,
        _ => Reply::ok("ok"),
    });
    let gate = before(&upstream, quick());
    assert_eq!(gate.ask("GET /hang HTTP/1.1\r\nhost: gate\r\n\r\n").body, "response_timeout");
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.connections(), 2, "the silent connection is not used again");
}

#[test]
fn a_client_that_goes_away_takes_its_request_back() {
    let resets = Arc::new(Mutex::new(Vec::new()));
    let upstream = StubHttp2::start(|_| Reply::Hang);
    let gate = before(&upstream, Limits::default());
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(1);
    drop(client);
    wait_until("the client's connection to end", || gate.counters.client_open.load(Ordering::SeqCst) == 0);
    resets.lock().expect("the log").push(());
    assert_eq!(gate.counters.upstream_open.load(Ordering::SeqCst), 1, "the connection itself goes on");
}

#[test]
fn a_client_body_that_stops_is_the_clients_fault() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits { response_timeout: Duration::from_secs(60), ..quick() });
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: 10\r\n\r\nhalf");
    assert_eq!(client.answer().body, "request_body_timeout");
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_upstream_that_speaks_no_http_2_breaks_off_and_nothing_is_resent() {
    let upstream = StubUpstream::start(|_| upstream::Reply::ok("ok"));
    let target = Target::http("127.0.0.1", upstream.address.port()).expect("a target").speaking(Speaks::Http2);
    let gate = Gate::start(any(), target, quick(), None);
    let answer = gate.ask("POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(answer.status, 502);
    assert!(upstream.requests().iter().all(|request| !request.line().starts_with("POST")));
}

#[test]
fn an_early_answer_does_not_wait_for_the_body() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    let mut client = Client::connect(gate.port());
    for _ in 0..3 {
        assert_eq!(client.ask(get(gate.port(), "/"), b"").expect("an answer").body, "ok");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn no_request_waits_behind_uploads_whose_answers_have_ended() {
    let mut protocol = h2::server::Builder::new();
    protocol.max_concurrent_streams(2);
    let upstream = StubHttp2::with(protocol, |_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    // Its answer brings the upstream's settings.
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    let client = Client::stalled(gate.port());
    let mut uploads = Vec::new();
    for _ in 0..2 {
        let request = http::Request::post(format!("http://{}/up", gate.port())).header(EARLY, "1");
        let mut sender = client.sender.clone();
        uploads.push(client.runtime.block_on(async {
            let (answer, mut stream) = sender.send_request(request.body(()).expect("one"), false).expect("sent");
            stream.send_data("some".into(), false).expect("sent");
            (timeout(DEADLINE, answer).await.expect("in time").expect("an early answer"), stream)
        }));
    }
    let on_one = upstream.wait_for(3);
    assert!(on_one.iter().all(|request| request.connection == 0));

    assert_eq!(gate.ask("DELETE /first HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.wait_for(4).remove(3).connection, 1, "it had a connection of its own");
    assert_eq!(gate.ask("GET /move HTTP/1.1\r\nhost: gate\r\n\r\n").body, "the snapshot moved");
    drop(uploads);
    assert_eq!(gate.ask("DELETE /second HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.requests().iter().filter(|request| request.method == "DELETE").count(), 2);
}

#[test]
fn a_request_with_a_large_head_breaks_nobody_elses_and_is_sent_once() {
    let upstream = StubHttp2::start(|request| match request.uri.rsplit('/').next() {
        Some("wait") => Reply::Later("waited"),
        Some("large") => Reply::GoAway,
        _ => Reply::ok("ok"),
    });
    let gate = before(&upstream, Limits::default());
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    let mut other = gate.connect();
    other.send("GET /wait HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(2);
    let (one, many) = (format!("x: {}\r\n", "v".repeat(5000)), format!("x: {}\r\n", "v".repeat(3000)).repeat(5));
    for (number, fields) in [one, many].iter().enumerate() {
        let answer = gate.ask(&format!("GET /large HTTP/1.1\r\nhost: gate\r\n{fields}\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (502, "broken"));
        let asked = upstream.requests();
        let large: Vec<_> = asked.iter().filter(|it| it.uri.ends_with("/large")).map(|it| it.connection).collect();
        assert_eq!(large, (1..number + 2).collect::<Vec<_>>(), "each once, on a connection of its own");
    }
    upstream.answer_now();
    assert_eq!(other.answer().body, "waited");
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.requests().last().map(|it| it.connection), Some(0));
}

#[test]
fn a_connection_for_a_large_head_ends_with_its_answer() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    let large = format!("POST / HTTP/1.1\r\nhost: gate\r\nx: {}\r\ncontent-length: 2\r\n\r\nhi", "v".repeat(5000));
    for number in 0..3 {
        assert_eq!(gate.ask(&large).body, "ok");
        wait_until("the connection to end", || gate.counters.upstream_open.load(Ordering::SeqCst) == 0);
        assert_eq!(upstream.requests()[number].body, "hi");
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn large_heads_do_not_use_up_the_connections_of_the_others() {
    let upstream = StubHttp2::start(|request| match request.headers.contains_key("x") {
        true => Reply::Hang,
        false => Reply::ok("ok"),
    });
    let gate = before(&upstream, Limits { connect_timeout: Duration::from_millis(500), ..Limits::default() });
    let large = format!("GET / HTTP/1.1\r\nhost: gate\r\nx: {}\r\n\r\n", "v".repeat(5000));
    let mut clients: Vec<_> = (0..LARGE_HEADS_MAX).map(|_| gate.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&large);
        upstream.wait_for(number + 1);
    }
    assert_eq!(gate.ask(&large).body, "too_many_connections");
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.connections(), LARGE_HEADS_MAX + 1);
}

#[test]
fn large_trailers_do_not_reach_a_connection_that_is_shared() {
    let upstream = StubHttp2::start(|_| Reply::ok("ok"));
    let gate = before(&upstream, Limits::default());
    let ask = |length: usize| {
        let trailer = format!("x-sum: {}\r\n", "v".repeat(length));
        gate.ask(&format!(
            "POST / HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailer}\r\n"
        ))
    };
    assert_eq!(ask(100).body, "ok");
    assert_eq!(ask(5000).body, "request_body_cut");
    assert_eq!(ask(200).body, "ok");
    assert_eq!((upstream.requests().len(), upstream.connections()), (2, 1));
}

#[test]
fn slow_readers_stop_nobody_else_on_the_same_connection() {
    let upstream = StubHttp2::start(|request| match request.uri.rsplit('/').next() {
        Some("large") => Reply::ok(&"x".repeat(1024 * 1024)),
        _ => Reply::ok("ok"),
    });
    let gate = before(&upstream, Limits::default());
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    let slow = Client::stalled(gate.port());
    let most = Limits::default().http2_streams_max - 1;
    let answers: Vec<_> = (0..most)
        .map(|_| {
            let mut sender = slow.sender.clone();
            slow.runtime.block_on(async {
                let (answer, _) = sender.send_request(get(gate.port(), "/large"), true).expect("sent");
                timeout(DEADLINE, answer).await.expect("in time").expect("an answer")
            })
        })
        .collect();
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    assert_eq!(upstream.connections(), 1, "all of them are on one connection");
    drop(answers);
}

fn any() -> ListenAddress {
    ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"))
}

fn before(upstream: &StubHttp2, limits: Limits) -> Gate {
    let target = Target::http("127.0.0.1", upstream.address.port()).expect("a target").speaking(Speaks::Http2);
    Gate::start(any(), target, limits, None)
}
