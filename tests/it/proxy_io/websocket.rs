//! WebSockets through the gate: opened over HTTP/1.1 and HTTP/2, and closed when their frames are not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use scopegate::proxy::limits::Limits;
use scopegate::shutdown::Phase;

use super::gate::{Client, Gate};
use crate::support::http2;
use crate::support::upstream::{Connection, StubUpstream, wait_until};

const ASK: &str = "GET /socket HTTP/1.1\r\nhost: gate\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const HELLO: &[u8] = b"\x81\x85\x01\x02\x03\x04igooi";
const HELLO_BACK: &[u8] = b"\x81\x05hello";

/// Opens what is asked for and echoes every byte, without the mask: enough for one frame of five bytes.
fn echo(mut connection: Connection) {
    let Some(request) = connection.read_request() else { return };
    let Some(key) = request.field("sec-websocket-key") else {
        let _ = connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nordinary");
        return;
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nset-cookie: a=b\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        accept(key)
    );
    // The first frame of the server's comes with its head.
    if connection.write(&[head.as_bytes(), HELLO_BACK].concat()).is_err() {
        return;
    }
    while let Some(frame) = connection.read_exact(HELLO.len()) {
        assert_eq!(frame, HELLO, "a whole frame, or nothing");
        if connection.write(HELLO_BACK).is_err() {
            return;
        }
    }
}

fn accept(key: &str) -> String {
    use base64::Engine as _;
    use sha1::Digest as _;
    let proof = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(proof)
}

fn open(gate: &Gate) -> Client<TcpStream> {
    let mut client = gate.connect();
    client.send(&format!("{ASK}\r\n"));
    let head = client.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(!head.to_lowercase().contains("set-cookie"), "{head}");
    assert_eq!(client.exactly(HELLO_BACK.len()).expect("bytes"), HELLO_BACK);
    client
}

#[test]
fn frames_pass_in_both_directions() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::before(&upstream);
    let mut client = open(&gate);
    for _ in 0..3 {
        client.stream.write_all(HELLO).expect("sent");
        assert_eq!(client.exactly(HELLO_BACK.len()).expect("bytes"), HELLO_BACK);
    }
    assert_eq!(gate.counters.upstream_open.load(Ordering::SeqCst), 1);
    drop(client);
    upstream.wait_for_closed(1);
    wait_until("the tunnel to be over", || gate.counters.upstream_open.load(Ordering::SeqCst) == 0);
    assert_eq!(gate.counters.malformed.load(Ordering::SeqCst), 0);
    let asked = upstream.requests().remove(0);
    assert_eq!((asked.field("upgrade"), asked.field("connection")), (Some("websocket"), Some("upgrade")));
}

#[test]
fn http_2_opens_one_beside_other_requests() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::before(&upstream);
    let mut client = http2::Client::connect(gate.port());
    let address = gate.port();
    let sender = client.sender.clone();
    client.runtime.block_on(async move {
        // The gate's settings come with its first frames.
        let mut sender = sender.ready().await.expect("room");
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = Request::builder().method("CONNECT").uri(format!("http://{address}/socket"));
        request = request.header("sec-websocket-version", "13").extension(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut stream) = sender.send_request(request.body(()).expect("one"), false).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut body = answer.into_body();
        let mut heard = Vec::new();
        for said in 1..=3 {
            while heard.len() < said * HELLO_BACK.len() {
                heard.extend_from_slice(&body.data().await.expect("open").expect("bytes"));
            }
            stream.send_data(Bytes::from_static(HELLO), false).expect("sent");
        }
        assert_eq!(heard, HELLO_BACK.repeat(3));
    });
    assert_eq!(client.get(gate.port(), "/refused").expect("an answer").status, 403);
    let asked = upstream.requests().remove(0);
    assert_eq!((asked.line(), asked.field("upgrade")), ("GET /socket HTTP/1.1", Some("websocket")));
}

#[test]
fn over_http_2_a_wrong_frame_or_silence_ends_its_stream_alone_and_is_counted() {
    for is_wrong in [true, false] {
        let upstream = StubUpstream::serve(echo);
        let limits = Limits { stream_timeout: Duration::from_millis(200), ..Limits::default() };
        let gate = Gate::with_limits(&upstream, limits);
        let mut client = http2::Client::connect(gate.port());
        let mut request = Request::builder().method("CONNECT").uri(format!("http://{}/socket", gate.port()));
        request = request.header("sec-websocket-version", "13").extension(h2::ext::Protocol::from_static("websocket"));
        let request = request.body(()).expect("one");
        let heard = client.runtime.block_on(async {
            let mut sender = client.sender.clone().ready().await.expect("room");
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            let (answer, mut stream) = sender.send_request(request, false).expect("sent");
            let mut body = answer.await.expect("an answer").into_body();
            if is_wrong {
                // Without a mask, as no client's frame may be.
                stream.send_data(Bytes::from_static(HELLO_BACK), false).expect("sent");
            }
            let mut heard = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                heard.extend_from_slice(&data);
            }
            heard
        });
        if is_wrong {
            assert!(heard.ends_with(&[0x88, 2, 0x03, 0xEA]), "a close frame: protocol error");
        }
        let count = if is_wrong { &gate.counters.malformed } else { &gate.counters.timed_out };
        wait_until("it to be counted", || count.load(Ordering::SeqCst) == 1);
        upstream.wait_for_closed(1);
        assert_eq!(client.get(gate.port(), "/refused").expect("an answer").status, 403, "the connection goes on");
    }
}

#[test]
fn what_follows_the_request_waits_for_the_upstream_to_agree() {
    // F04: bytes behind the request are not passed on before 101, and without it they are a request of their own.
    let upstream = StubUpstream::serve(|mut connection| {
        while let Some(request) = connection.read_request() {
            assert!(connection.read_exact(0).is_some());
            let body = request.line().split(' ').nth(1).unwrap_or_default().to_owned();
            let _ =
                connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send(&format!("{ASK}\r\nGET /refused HTTP/1.1\r\nhost: gate\r\n\r\n"));
    assert_eq!(client.answer().body, "/socket", "the upstream did not agree: an ordinary answer");
    assert_eq!(client.answer().status, 403, "the second request was judged on its own");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn frames_that_follow_the_request_at_once_are_passed_after_the_agreement() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.stream.write_all(&[ASK.as_bytes(), b"\r\n", HELLO].concat()).expect("sent");
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 101"));
    assert_eq!(client.exactly(2 * HELLO_BACK.len()).expect("bytes"), HELLO_BACK.repeat(2));
}

#[test]
fn an_upstream_that_proves_nothing_opens_nothing() {
    for head in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ] {
        let upstream = StubUpstream::serve(move |mut connection| {
            connection.read_request();
            let _ = connection.write(head.as_bytes());
            assert!(connection.read_to_end().is_empty(), "nothing was passed on");
        });
        let gate = Gate::before(&upstream);
        let mut client = gate.connect();
        client.send(&format!("{ASK}\r\n"));
        assert_eq!(client.answer().body, "switched", "{head}");
        upstream.wait_for_closed(1);
    }
    // Nor does one that was not asked.
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let upstream = StubUpstream::start(move |_| crate::support::upstream::Reply::raw(unasked));
    let gate = Gate::before(&upstream);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "switched");
}

#[test]
fn a_frame_of_wrong_form_is_not_passed_on_and_ends_the_tunnel() {
    let unmasked = HELLO_BACK.to_vec();
    let reserved = [&[0xF1, 0x80][..], &[0; 4]].concat();
    let huge_control = [&[0x89, 0xFE, 0, 200][..], &[0; 204]].concat();
    for frame in [unmasked, reserved, huge_control] {
        let upstream = StubUpstream::serve(echo);
        let gate = Gate::before(&upstream);
        let mut client = open(&gate);
        client.stream.write_all(&frame).expect("sent");
        let farewell = client.exactly(4).expect("bytes");
        assert_eq!(farewell, [0x88, 2, 0x03, 0xEA], "a close frame: protocol error");
        upstream.wait_for_closed(1);
        wait_until("it to be counted", || gate.counters.malformed.load(Ordering::SeqCst) == 1);
    }
}

#[test]
fn an_upstream_frame_of_wrong_form_is_not_passed_on() {
    let upstream = StubUpstream::serve(|mut connection| {
        let Some(request) = connection.read_request() else { return };
        let head = format!(
            "HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
            accept(request.field("sec-websocket-key").expect("a key"))
        );
        // Masked, as no server's frame may be.
        let _ = connection.write(&[head.as_bytes(), HELLO].concat());
        connection.read_to_end();
    });
    let gate = Gate::before(&upstream);
    let mut client = gate.connect();
    client.send(&format!("{ASK}\r\n"));
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 101"));
    assert_eq!(client.exactly(4).expect("bytes"), [0x88, 2, 0x03, 0xE9], "nothing but the gate's own farewell");
}

#[test]
fn a_tunnel_on_which_nothing_moves_ends() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::with_limits(&upstream, Limits { stream_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut client = open(&gate);
    assert_eq!(client.stream.read(&mut [0; 16]).expect("the end"), 0);
    upstream.wait_for_closed(1);
    wait_until("it to be counted", || gate.counters.timed_out.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_drain_says_going_away() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::before(&upstream);
    let mut client = open(&gate);
    gate.shutdown.advance(Phase::Closing);
    assert_eq!(client.exactly(4).expect("bytes"), [0x88, 2, 0x03, 0xE9]);
    upstream.wait_for_closed(1);
}

#[test]
fn a_handshake_with_two_readings_is_refused_and_reaches_nobody() {
    let upstream = StubUpstream::serve(echo);
    let gate = Gate::before(&upstream);
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for ask in [
        format!("{ASK}upgrade: h2c\r\n"),
        format!("{ASK}{key}"),
        format!("{ASK}content-length: 0\r\n"),
        format!("{ASK}transfer-encoding: chunked\r\n"),
        ASK.replace("GET", "POST"),
        ASK.replace("HTTP/1.1", "HTTP/1.0"),
        ASK.replace("websocket-version: 13", "websocket-version: 8"),
        ASK.replace(key, ""),
        ASK.replace("keep-alive, Upgrade", "keep-alive"),
        "GET /socket HTTP/1.1\r\nhost: gate\r\nupgrade: h2c\r\nconnection: upgrade\r\n".to_owned(),
    ] {
        let answer = gate.ask(&format!("{ask}\r\n"));
        assert_eq!(answer.status, 400, "{ask}");
    }
    assert_eq!(upstream.bytes(), 0);
}
