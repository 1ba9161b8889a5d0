//! How connections end: too slow, too many, panicked, drained.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use scopegate::proxy::limits::Limits;
use scopegate::shutdown::Phase;

use super::gate::{Gate, quick};
use crate::support::upstream::{Reply, StubUpstream, wait_until};

#[test]
fn a_client_that_is_too_slow_with_its_head_is_closed() {
    let upstream = StubUpstream::ok();
    for sent in ["", "G", "GET / HTTP/1.1\r\nhost: ga", "GET / HTTP/1.1\r\nhost: gate\r\n"] {
        let gate = Gate::with_limits(&upstream, Limits { idle_timeout: Duration::from_secs(60), ..quick() });
        let mut client = gate.connect();
        client.send(sent);
        client.rest();
        wait_until(&format!("{sent:?} to be counted"), || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
    }
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn a_head_that_trickles_gets_no_more_time_by_its_bytes() {
    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(&upstream, Limits { idle_timeout: Duration::from_secs(60), ..quick() });
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    client.answer();
    // The second head on a connection, byte by byte for ever: each comes sooner than the bound.
    client.stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    let closed = "GET /trickle HTTP/1.1\r\nx: ".bytes().chain(std::iter::repeat_n(b'x', 2000)).any(|byte| {
        let ended = client.stream.write_all(&[byte]).is_err();
        ended || matches!(client.stream.read(&mut [0]), Ok(0))
    });
    assert!(closed);
    wait_until("the slow one to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
}

#[test]
fn an_idle_connection_is_closed_after_its_own_time() {
    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(&upstream, Limits { header_timeout: Duration::from_secs(60), ..quick() });
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.rest(), "");
}

#[test]
fn a_body_that_stops_or_trickles_ends_the_request() {
    for is_trickling in [false, true] {
        let upstream = StubUpstream::ok();
        let gate = Gate::with_limits(&upstream, Limits { response_timeout: Duration::from_secs(60), ..quick() });
        let mut client = gate.connect();
        client.send("POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: 10000\r\n\r\nh");
        if is_trickling {
            client.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            wait_until("the trickle to end", || {
                let mut stream = &client.stream;
                stream.write_all(b"x").is_err() || stream.read(&mut [0]).is_ok()
            });
        } else {
            let answer = client.answer();
            assert_eq!(answer.body, "request_body_timeout");
        }
        assert!(upstream.requests().is_empty());
        upstream.wait_for_closed(1);
    }
}

#[test]
fn a_client_that_never_reads_its_answer_is_closed() {
    const BULK: usize = 64 * 1024 * 1024;
    let upstream = StubUpstream::serve(|mut connection| {
        connection.read_head().expect("a head");
        let _ = connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n").as_bytes());
        let _ = connection.write(&vec![b'x'; BULK]);
    });
    let gate = Gate::with_limits(&upstream, Limits { write_timeout: Duration::from_millis(150), ..Limits::default() });
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for_closed(1);
    wait_until("the slow one to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
}

#[test]
fn one_connection_too_many_is_closed_at_once_and_counted() {
    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(&upstream, Limits { connections_max: 1, ..Limits::default() });
    let mut first = gate.connect();
    first.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    assert_eq!(gate.connect().rest(), "");
    wait_until("the refused one to be counted", || gate.counters.over_limit.load(Ordering::SeqCst) == 1);
    assert_eq!(gate.counters.client_open.load(Ordering::SeqCst), 1);
    drop(first);
    wait_until("the first to be gone", || gate.counters.client_open.load(Ordering::SeqCst) == 0);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").status, 200);
}

#[test]
fn too_large_a_head_is_refused() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert_eq!(gate.ask(&format!("GET / HTTP/1.1\r\nhost: gate\r\n{many}\r\n")).status, 431);
    let large = "x".repeat(40_000);
    assert_eq!(gate.ask(&format!("GET / HTTP/1.1\r\nhost: gate\r\nx: {large}\r\n\r\n")).status, 431);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn a_panic_ends_its_own_connection_only_and_is_counted() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let mut other = gate.connect();
    other.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(other.answer().status, 200);
    let mut unlucky = gate.connect();
    unlucky.send("GET /panic HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(unlucky.rest(), "");
    wait_until("the panic to be counted", || gate.counters.panics.load(Ordering::SeqCst) == 1);
    other.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(other.answer().status, 200);
    drop(other);
    wait_until("the places to be free", || gate.counters.client_open.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_drain_lets_the_running_request_end_closes_the_idle_and_takes_no_more() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = StubUpstream::start(move |request| {
        if request.line().contains("/slow") {
            wait.lock().expect("the test").recv().expect("a word");
        }
        Reply::ok("ok")
    });
    let mut gate = Gate::before(&upstream);
    let (mut running, mut idle, mut fresh) = (gate.connect(), gate.connect(), gate.connect());
    idle.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    idle.answer();
    running.send("GET /slow HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(2);
    wait_until("three connections", || gate.counters.client_open.load(Ordering::SeqCst) == 3);

    gate.shutdown.advance(Phase::Draining);
    idle.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(idle.answer().status, 200, "draining still serves");
    gate.shutdown.advance(Phase::Closing);
    assert_eq!(idle.rest(), "");
    assert_eq!(fresh.rest(), "");
    wait_until("the listener to close", || std::net::TcpStream::connect(gate.port()).is_err());
    go.send(()).expect("the upstream waits");
    let answer = running.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(answer.has("connection: close"), "{}", answer.head);
    assert_eq!(running.rest(), "");
    drop((running, idle, fresh));
    // All are gone: the worker ends by itself, without a cut.
    gate.workers.take().expect("workers").join();
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let mut gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
    upstream.wait_for(1);
    gate.shutdown.advance(Phase::Closing);
    gate.shutdown.advance(Phase::Cut);
    assert_eq!(client.rest(), "");
    gate.workers.take().expect("workers").join();
    upstream.wait_for_closed(1);
}

#[test]
fn unused_upstream_connections_are_closed_in_time_and_kept_in_number() {
    let upstream = StubUpstream::ok();
    let gate =
        Gate::with_limits(&upstream, Limits { upstream_idle_timeout: Duration::from_millis(200), ..Limits::default() });
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").status, 200);
    upstream.wait_for_closed(1);
    wait_until("the count to fall", || gate.counters.upstream_open.load(Ordering::SeqCst) == 0);

    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(&upstream, Limits { upstream_idle_max: 0, ..Limits::default() });
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").status, 200);
    upstream.wait_for_closed(1);
}

#[test]
fn a_fence_passes_with_the_workers_running_and_gone() {
    let upstream = StubUpstream::ok();
    let mut gate = Gate::before(&upstream);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let workers = gate.workers.take().expect("workers");
    let fence = workers.fence.clone();
    runtime.block_on(fence.passed());
    gate.shutdown.advance(Phase::Cut);
    workers.join();
    runtime.block_on(fence.passed());
}
