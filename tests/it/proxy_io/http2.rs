//! HTTP/2 with clients: what reaches the upstream, and what a hostile client gets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use scopegate::proxy::limits::{LOCAL_RESETS_MAX, Limits, QUIET_BYTES_MAX, RESETS_MAX};
use scopegate::shutdown::Phase;

use super::gate::{Gate, quick};
use crate::support::http2::{Client, PREFACE, fields, frame, get};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 0xb;

#[test]
fn a_request_reaches_an_upstream_of_http_1_as_one_of_its_own() {
    let upstream = StubUpstream::start(|_| {
        Reply::raw(
            "HTTP/1.1 201 Created\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        )
    });
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    let request = Request::post(format!("http://{}/things?x=1", gate.port()));
    let answer = client.ask(request.header("x-b", "2").header("te", "trailers").body(()).expect("one"), b"hello");
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (201, "ok"));
    assert_eq!(
        (answer.headers["x-a"].as_bytes(), answer.trailers.expect("trailers")["x-sum"].as_bytes()),
        (&b"1"[..], &b"7"[..])
    );
    assert!(answer.headers.contains_key("date") && !answer.headers.contains_key("connection"));
    let received = upstream.wait_for(1).remove(0);
    assert_eq!(received.line(), "POST /things?x=1 HTTP/1.1");
    assert_eq!(received.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!((received.field("via"), received.field("te")), (Some("2 scopegate"), Some("trailers")));
    // The length was not announced, so it is not made up.
    assert_eq!(received.body, b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn the_same_connection_carries_requests_side_by_side() {
    let upstream = StubUpstream::start(|request| match request.line() {
        "GET /slow HTTP/1.1" => Reply::Hang,
        _ => Reply::ok("fast"),
    });
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    let (slow, _) = client.sender.send_request(get(gate.port(), "/slow"), true).expect("sent");
    upstream.wait_for(1);
    assert_eq!(client.get(gate.port(), "/fast").expect("an answer").body, "fast");
    drop(slow);
    // A request that its client gives up is given up upstream.
    upstream.wait_for_closed(1);
}

#[test]
fn a_body_streams_in_both_directions_within_flat_windows() {
    const BULK: usize = 8 * 1024 * 1024;
    let upstream = StubUpstream::serve(|mut connection| {
        let Some(request) = connection.read_request() else { return };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\nx-got: {}\r\n\r\n", request.body.len());
        let _ = connection.write(head.as_bytes());
        connection.pour(BULK);
    });
    let gate = Gate::before(&upstream);
    let client = Client::connect(gate.port());
    let sender = client.sender.clone();
    let address = gate.port();
    let (got, length) = client.runtime.block_on(async move {
        let mut sender = sender.ready().await.expect("room");
        let request = Request::post(format!("http://{address}/up")).header("content-length", BULK);
        let (answer, mut stream) = sender.send_request(request.body(()).expect("one"), false).expect("sent");
        let mut left = BULK;
        while left > 0 {
            stream.reserve_capacity(left.min(16 * 1024));
            let room =
                std::future::poll_fn(|context| stream.poll_capacity(context)).await.expect("open").expect("room");
            let piece = room.min(left);
            left -= piece;
            stream.send_data(vec![b'x'; piece].into(), left == 0).expect("sent");
        }
        let response = answer.await.expect("an answer");
        let got = response.headers()["x-got"].to_str().expect("text").to_owned();
        (got, crate::support::http2::collect(response.into_body()).await.expect("a body").0.len())
    });
    assert_eq!((got, length), (BULK.to_string(), BULK));
}

#[test]
fn an_event_is_passed_on_before_the_next_is_made() {
    let upstream = StubUpstream::serve(|mut connection| {
        let Some(_) = connection.read_request() else { return };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = connection.write(format!("{head}9\r\ndata: 1\n\n\r\n").as_bytes());
        // The second event waits for a sign that the first one was read.
        connection.read_to_end();
    });
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    let (answer, _) = client.sender.send_request(get(gate.port(), "/events"), true).expect("sent");
    let first = client.runtime.block_on(async {
        let mut body = answer.await.expect("an answer").into_body();
        body.data().await.expect("an event").expect("whole")
    });
    assert_eq!(first, "data: 1\n\n");
    let mut client = gate.connect();
    client.send("GET /events HTTP/1.1\r\nhost: gate\r\n\r\n");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("data: 1\n\n") {
        let mut piece = [0; 1024];
        let count = client.stream.read(&mut piece).expect("an event in time");
        assert!(count > 0, "the event came before the end");
        seen.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn a_body_that_is_cut_is_never_passed_for_whole() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    let request = Request::post(format!("http://{}/held", gate.port())).body(()).expect("one");
    let (_answer, mut stream) = client.sender.send_request(request, false).expect("sent");
    stream.send_data("half".into(), false).expect("sent");
    stream.send_reset(h2::Reason::NO_ERROR);
    // A second request proves that the gate has seen the reset.
    assert_eq!(client.get(gate.port(), "/refused").expect("an answer").status, 403);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_the_connection_goes_on() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let host = gate.port().to_string();
    let base = [(":method", "GET"), (":path", "/a"), (":scheme", "http"), (":authority", host.as_str())];
    let with = |name: &'static str, value: &'static str| {
        let changed = base.map(|(it, old)| if it == name { (it, value) } else { (it, old) });
        if name.starts_with(':') { changed.to_vec() } else { [&base[..], &[(name, value)]].concat() }
    };
    for block in [
        with(":scheme", "https"),
        with(":scheme", "hTtP"),
        with(":method", "TRACE"),
        with(":authority", ""),
        with("te", "gzip"),
        with("content_type", "text/plain"),
    ] {
        let mut connection = Raw::connect(&gate);
        connection.request(1, &block);
        let answer = connection.frame_of(1);
        let reset_or_refused = answer.kind == RST_STREAM || answer.kind == HEADERS;
        assert!(reset_or_refused, "{block:?}: {answer:?}");
        connection.request(3, &base);
        assert_eq!(connection.frame_of(3).kind, HEADERS, "after {block:?}");
    }
    upstream.wait_for(6);
    assert!(upstream.requests().iter().all(|request| request.line() == "GET /a HTTP/1.1"));
}

#[test]
fn what_http_2_forbids_ends_the_stream_and_reaches_nobody() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let host = gate.port().to_string();
    let base = [(":method", "GET"), (":path", "/a"), (":scheme", "http"), (":authority", host.as_str())];
    let plus = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    for block in [
        plus(&[("connection", "close")]),
        plus(&[("transfer-encoding", "chunked")]),
        plus(&[("upgrade", "websocket")]),
        plus(&[("X-Upper", "1")]),
        plus(&[(":path", "/b")]),
        plus(&[("x-a", "1\r\nx-b: 2")]),
        plus(&[("content-length", "5")]),
        plus(&[("content-length", "+0")]),
        [&[("x-early", "1")][..], &base[..]].concat(),
        plus(&[(":fake", "1")]),
        vec![(":method", "GET"), (":path", ""), (":scheme", "http"), (":authority", host.as_str())],
    ] {
        let mut connection = Raw::connect(&gate);
        connection.request(1, &block);
        let answer = connection.frame_of(1);
        assert!(matches!(answer.kind, RST_STREAM | GOAWAY) || answer.is_status(b"400"), "{block:?}: {answer:?}");
    }
    for path in ["a", "Service/Method", "*", "http://other/a"] {
        let mut connection = Raw::connect(&gate);
        connection.request(1, &base.map(|(name, value)| if name == ":path" { (name, path) } else { (name, value) }));
        let answer = connection.frame_of(1);
        assert!(matches!(answer.kind, RST_STREAM | GOAWAY) || !answer.is_status(b"200"), "{path}: {answer:?}");
    }
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn floods_end_the_connection_and_reach_nobody() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let empty_settings = frame(SETTINGS, 0, 0, &[]);
    let priority = frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 1]);
    let empty_data = [frame(HEADERS, END_HEADERS, 1, &block("/a", "POST")), frame(DATA, 0, 1, &[]).repeat(200_000)];
    let endless_head =
        [frame(HEADERS, 0, 1, &block("/a", "GET")), frame(CONTINUATION, 0, 1, &[0x40; 16]).repeat(50_000)];
    let many = |one: &[u8]| one.repeat(4 * QUIET_BYTES_MAX / one.len());
    for (what, flood) in [
        ("pings", many(&ping)),
        ("settings", many(&empty_settings)),
        ("priorities", many(&priority)),
        ("empty data", empty_data.concat()),
        ("an endless head", endless_head.concat()),
    ] {
        let upstream = StubUpstream::start(|_| Reply::Hang);
        let gate = Gate::before(&upstream);
        let mut connection = Raw::connect(&gate);
        let reader = connection.stream.try_clone().expect("a socket");
        // Answers are read, so that it is the bound and not a full socket that ends it.
        let reading = std::thread::spawn(move || std::io::copy(&mut &reader, &mut std::io::sink()));
        let _ = connection.stream.write_all(&flood);
        let _ = reading.join();
        wait_until(&format!("{what} to be counted"), || gate.counters.malformed.load(Ordering::SeqCst) == 1);
        assert!(upstream.requests().is_empty(), "{what}");
        assert_eq!(gate.ask("GET /refused HTTP/1.1\r\nhost: gate\r\n\r\n").status, 403, "the gate serves others");
    }
}

#[test]
fn rapid_resets_are_answered_with_calm() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let gate = Gate::before(&upstream);
    let mut connection = Raw::connect(&gate);
    let mut code = None;
    for number in 0..(4 * RESETS_MAX) {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("/a", "GET"));
        both.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        if connection.stream.write_all(&both).is_err() {
            break;
        }
    }
    while let Some(frame) = connection.next() {
        if frame.kind == GOAWAY {
            code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().expect("a code")));
        }
    }
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    wait_until("it to be counted", || gate.counters.malformed.load(Ordering::SeqCst) == 1);
    // What the client took back at once is no work for the product, or little.
    let seen = upstream.requests().len();
    assert!(seen <= RESETS_MAX as usize, "{seen}");
}

#[test]
fn errors_that_make_the_gate_reset_streams_are_bounded() {
    let upstream = StubUpstream::start(|_| Reply::Hang);
    let gate = Gate::before(&upstream);
    let mut connection = Raw::connect(&gate);
    for number in 0..(LOCAL_RESETS_MAX as u32 + 50) {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS, END_HEADERS, stream, &block("/a", "POST"));
        // A window that grows by nothing is an error of the stream (MadeYouReset).
        both.extend(frame(8, 0, stream, &0u32.to_be_bytes()));
        if connection.stream.write_all(&both).is_err() {
            break;
        }
    }
    while connection.next().is_some() {}
    wait_until("it to be counted", || gate.counters.malformed.load(Ordering::SeqCst) == 1);
    let seen = upstream.requests().len();
    assert!(seen <= LOCAL_RESETS_MAX + 1, "{seen}");
}

#[test]
fn a_half_open_connection_ends_within_its_bound() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..quick() };
    for sent in [&PREFACE[..10], PREFACE, &[PREFACE, &frame(SETTINGS, 0, 0, &[])[..4]].concat()] {
        let upstream = StubUpstream::ok();
        let gate = Gate::with_limits(&upstream, limits.clone());
        let mut stream = TcpStream::connect(gate.port()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(sent).expect("sent");
        stream.read_to_end(&mut Vec::new()).expect("the gate closes");
        assert_eq!(upstream.bytes(), 0);
        wait_until("it to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
    }
}

#[test]
fn an_idle_connection_is_asked_to_go_and_then_closed() {
    let limits = Limits { idle_timeout: Duration::from_millis(100), ..quick() };
    let upstream = StubUpstream::ok();
    let gate = Gate::with_limits(&upstream, limits);
    let mut connection = Raw::connect(&gate);
    // PINGs keep nothing alive.
    let mut pings = connection.stream.try_clone().expect("a socket");
    let pinging = std::thread::spawn(move || {
        while pings.write_all(&frame(PING, 0, 0, &[1; 8])).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut told = false;
    while let Some(frame) = connection.next() {
        told |= frame.kind == GOAWAY;
    }
    assert!(told, "GOAWAY came before the end");
    pinging.join().expect("the pings end");
}

#[test]
fn a_client_that_takes_a_byte_now_and_then_is_cut_like_one_that_takes_none() {
    const BULK: usize = 1024 * 1024;
    let upstream = StubUpstream::serve(|mut connection| {
        let Some(_) = connection.read_request() else { return };
        let _ = connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n").as_bytes());
        connection.fill(BULK);
    });
    let limits =
        Limits { stream_timeout: Duration::from_secs(60), write_timeout: Duration::from_millis(300), ..quick() };
    let gate = Gate::with_limits(&upstream, limits);
    let client = Client::connect(gate.port());
    client.runtime.block_on(async {
        let mut sender = client.sender.clone().ready().await.expect("room");
        let (answer, _) = sender.send_request(get(gate.port(), "/bulk"), true).expect("sent");
        let mut body = answer.await.expect("a head").into_body();
        let mut read = 0;
        let end = loop {
            // Reading gives no room by itself; a byte of it every so often does.
            match tokio::time::timeout(Duration::from_millis(50), body.data()).await {
                Ok(Some(Ok(data))) => read += data.len(),
                Ok(Some(Err(error))) => break error,
                Ok(None) => panic!("the whole answer came"),
                Err(_) => body.flow_control().release_capacity(1).expect("something was read"),
            }
        };
        assert!(end.is_reset() && read < BULK, "{end} after {read}");
    });
    wait_until("it to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_client_that_takes_nothing_of_an_answer_is_cut_and_others_are_served() {
    const BULK: usize = 4 * 1024 * 1024;
    let upstream = StubUpstream::serve(|mut connection| {
        let Some(_) = connection.read_request() else { return };
        let _ = connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n").as_bytes());
        connection.fill(BULK);
    });
    let gate = Gate::with_limits(&upstream, Limits { stream_timeout: Duration::from_secs(60), ..quick() });
    let mut client = Client::connect(gate.port());
    // Never read, so its window never opens again.
    let (answer, _) = client.sender.send_request(get(gate.port(), "/bulk"), true).expect("sent");
    let stalled = client.runtime.block_on(answer).expect("a head");
    wait_until("the stall to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
    assert_eq!(client.get(gate.port(), "/refused").expect("the connection goes on").status, 403);
    drop(stalled);
}

#[test]
fn a_connection_moves_on_after_so_many_requests() {
    let upstream = StubUpstream::ok();
    let limits = Limits { max_requests_per_connection: 3, ..Limits::default() };
    let gate = Gate::with_limits(&upstream, limits);
    let mut old = gate.connect();
    for left in [2, 1, 0] {
        old.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(old.answer().has("connection: close"), left == 0);
    }
    assert_eq!(old.rest(), "");
    let mut client = Client::connect(gate.port());
    for _ in 0..3 {
        assert_eq!(client.get(gate.port(), "/").expect("an answer").status, 200);
    }
    let gone = client.get(gate.port(), "/").expect_err("GOAWAY");
    assert!(gone.is_go_away() || gone.is_io() || gone.is_library(), "{gone}");
}

#[test]
fn a_connection_moves_on_at_its_age_and_loses_nothing() {
    let upstream = StubUpstream::start(|request| match request.line() {
        "GET /slow HTTP/1.1" => {
            std::thread::sleep(Duration::from_millis(1_500));
            Reply::ok("whole")
        }
        _ => Reply::ok("ok"),
    });
    let limits = Limits { max_connection_age: Duration::from_millis(50), ..Limits::default() };
    let gate = Gate::with_limits(&upstream, limits);
    let mut client = Client::connect(gate.port());
    assert_eq!(client.get(gate.port(), "/slow").expect("what was under way").body, "whole");
    let client = std::cell::RefCell::new(client);
    wait_until("the client to be asked to go", || client.borrow_mut().get(gate.port(), "/").is_err());
    let mut old = gate.connect();
    old.send("GET /slow HTTP/1.1\r\nhost: gate\r\n\r\n");
    let answer = old.answer();
    assert!(answer.has("connection: close") && answer.body == "whole");
}

#[test]
fn a_drain_says_go_and_waits_for_what_is_under_way() {
    let (begun, release) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, go) = (Arc::clone(&begun), Arc::clone(&release));
    let upstream = StubUpstream::start(move |_| {
        seen.store(1, Ordering::SeqCst);
        wait_until("the release", || go.load(Ordering::SeqCst) == 1);
        Reply::ok("whole")
    });
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    let (answer, _) = client.sender.send_request(get(gate.port(), "/"), true).expect("sent");
    wait_until("the request", || begun.load(Ordering::SeqCst) == 1);
    gate.shutdown.advance(Phase::Closing);
    release.store(1, Ordering::SeqCst);
    let body = client.runtime.block_on(async {
        crate::support::http2::collect(answer.await.expect("an answer").into_body()).await.expect("whole").0
    });
    assert_eq!(body, "whole");
}

#[test]
fn a_drain_says_which_requests_it_still_answers() {
    let (begun, release) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, go) = (Arc::clone(&begun), Arc::clone(&release));
    let upstream = StubUpstream::start(move |_| {
        seen.store(1, Ordering::SeqCst);
        wait_until("the release", || go.load(Ordering::SeqCst) == 1);
        Reply::ok("whole")
    });
    let gate = Gate::before(&upstream);
    let mut raw = Raw::connect(&gate);
    raw.request(1, &[(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "gate")]);
    wait_until("the request", || begun.load(Ordering::SeqCst) == 1);
    gate.shutdown.advance(Phase::Closing);
    let (mut last, mut answered) = (None, false);
    while let Some(got) = raw.next() {
        match got.kind {
            // RFC 9113 §6.8: the highest stream that is answered, and why it ends: NO_ERROR.
            GOAWAY => {
                assert_eq!(&got.payload[4..8], [0; 4], "{got:?}");
                last = Some(u32::from_be_bytes(got.payload[..4].try_into().expect("four bytes")));
                release.store(1, Ordering::SeqCst);
            }
            HEADERS if got.is_status(b"200") => answered = true,
            // The gate waits for what is on its way, by the answer to a PING.
            PING => raw.stream.write_all(&frame(PING, ACK, 0, &got.payload)).expect("sent"),
            _ => {}
        }
    }
    // The first may name them all, while those on their way arrive; the last one is exact.
    assert_eq!((last, answered), (Some(1), true));
}

#[test]
fn a_panic_ends_its_stream_alone() {
    let upstream = StubUpstream::ok();
    let gate = Gate::before(&upstream);
    let mut client = Client::connect(gate.port());
    client.get(gate.port(), "/panic").expect_err("the stream is reset");
    assert_eq!(gate.counters.panics.load(Ordering::SeqCst), 1);
    assert_eq!(client.get(gate.port(), "/").expect("the connection goes on").status, 200);
}

fn block(path: &str, method: &str) -> Vec<u8> {
    fields(&[(":method", method), (":path", path), (":scheme", "http"), (":authority", "gate")])
}

/// A connection written by hand.
struct Raw {
    stream: TcpStream,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Whether the head says this status: indexed (200, 400) or as a literal.
    fn is_status(&self, status: &[u8]) -> bool {
        let indexed = match status {
            b"200" => 0x88,
            b"400" => 0x8c,
            _ => 0,
        };
        self.kind == HEADERS
            && (self.payload.first() == Some(&indexed) || self.payload.windows(3).any(|window| window == status))
    }
}

impl Raw {
    fn connect(gate: &Gate) -> Self {
        let mut stream = TcpStream::connect(gate.port()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(PREFACE).expect("sent");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("sent");
        Self { stream }
    }

    fn request(&mut self, stream: u32, block: &[(&str, &str)]) {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(block));
        self.stream.write_all(&head).expect("sent");
    }

    /// The next frame; `None` at the end.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame { kind: head[3], stream, payload })
    }

    /// The first frame of a stream, or the end of the connection.
    fn frame_of(&mut self, stream: u32) -> Frame {
        loop {
            let frame = self.next().expect("a frame");
            if frame.stream == stream || frame.kind == GOAWAY {
                return frame;
            }
        }
    }
}
