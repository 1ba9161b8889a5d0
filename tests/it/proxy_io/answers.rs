//! An answer is read the same whoever drives its connection: the gate itself, where the request has no body, or hyper.

use std::net::TcpStream;
use std::time::Duration;

use super::gate::Gate;
use crate::support::client::{Answer, Client};
use crate::support::upstream::StubUpstream;

/// Whatever a server may send, well formed or not, and whether the connection stays open after it.
const ANSWERS: &[(&str, bool)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: x, Close\r\nx: y\r\n\r\nbody", true),
    ("HTTP/1.1 200\r\ncontent-length: 4\r\n\r\nbody", true),
    ("HTTP/1.1 299 \r\ncontent-length: 4\r\nx-empty:\r\nx-latin: \u{e4}\r\n\r\nbody", true),
    ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", true),
    ("HTTP/1.1 200 OK\ncontent-length: 4\n\nbody", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4, 4\r\n\r\nbody", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n2;a=b\r\nbo\r\n00002 \r\ndy\r\n0;x\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nB\r\nbodybodybod\r\n0\r\nx-a: 1\r\nx-b:2\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        true,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", true),
    ("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", true),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody", true),
    ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\nserver: old\r\n\r\nuntil the end", false),
    ("HTTP/1.0 200 OK\r\n\r\nuntil the end", false),
    ("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbodyxx0\r\n\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\nx\r\n\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nno field\r\n\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody", false),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody!", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4, 5\r\n\r\nbody!", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\nx: a\0\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 20 OK\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 099 OK\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/2.0 200 OK\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.2 200 OK\r\ncontent-length: 4\r\n\r\nbody", false),
    ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", false),
    ("220 mail.test ESMTP\r\n", false),
    ("\r\n\r\n", false),
    ("", false),
];

/// Answers `/NUMBER/CUT` with that answer, in two pieces cut there.
fn upstream() -> StubUpstream {
    StubUpstream::serve(|mut connection| {
        connection.no_delay();
        while let Some(request) = connection.read_request() {
            let line = request.line();
            let numbers: Vec<usize> = line.split(['/', ' ']).filter_map(|part| part.parse().ok()).collect();
            let (answer, stays) = ANSWERS[numbers[0]];
            let (one, other) = answer.as_bytes().split_at(numbers[1].min(answer.len()));
            for piece in [one, other].into_iter().filter(|piece| !piece.is_empty()) {
                if connection.write(piece).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if !stays {
                return;
            }
        }
    })
}

fn try_answer(client: &mut Client<TcpStream>) -> Option<Answer> {
    let head = client.head()?;
    Some(client.answer_after(head))
}

/// What a caller gets of one request, and whether another one after it is answered.
fn told(gate: &Gate, request: &str) -> (Option<Answer>, bool) {
    let mut client = gate.connect();
    client.send(request);
    let answer = try_answer(&mut client);
    let goes_on = answer.is_some() && {
        client.send_if_open("GET /0/0 HTTP/1.1\r\nhost: gate\r\n\r\n");
        try_answer(&mut client).is_some_and(|answer| answer.body == "body")
    };
    (answer, goes_on)
}

/// How an answer is framed is a matter of time: of how much of it is here when its head goes on. So it is how much of a
/// broken one comes before the end of the connection.
fn is_same(one: Option<&Answer>, other: Option<&Answer>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_none_or(|one| !one.whole) && other.is_none_or(|other| !other.whole);
    };
    let fields = |answer: &Answer| {
        let framing = ["date:", "content-length:", "transfer-encoding:"];
        let counts = |line: &&str| !framing.iter().any(|name| line.starts_with(name));
        let mut fields: Vec<String> = answer.head.lines().filter(counts).map(str::to_owned).collect();
        fields.sort();
        fields
    };
    let same_body = if one.whole {
        one.body == other.body
    } else {
        one.body.starts_with(&other.body) || other.body.starts_with(&one.body)
    };
    fields(one) == fields(other) && one.whole == other.whole && same_body && one.trailers == other.trailers
}

#[test]
fn an_answer_is_read_the_same_whoever_drives_its_connection() {
    let upstream = upstream();
    let gate = Gate::before(&upstream);
    let ask = |path: &str, body: &str| {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let before = upstream.connections();
        let (answer, goes_on) = told(&gate, &format!("GET {path} HTTP/1.1\r\nhost: gate\r\n{length}\r\n{body}"));
        (answer, goes_on, upstream.connections() - before)
    };
    for (number, (answer, stays)) in ANSWERS.iter().enumerate() {
        let cuts: Vec<usize> = (0..=answer.len()).filter(|cut| cut % 5 == 0 || *cut == answer.len()).collect();
        for cut in cuts {
            let path = format!("/{number}/{cut}");
            let (own, by_hyper) = (ask(&path, ""), ask(&path, "x"));
            assert!(is_same(own.0.as_ref(), by_hyper.0.as_ref()), "{answer:?} cut at {cut}: {own:?}, {by_hyper:?}");
            assert_eq!(own.1, by_hyper.1, "{answer:?} cut at {cut}: what follows");
            // A server that closes may be met by the request that follows.
            assert!(!stays || own.2 <= by_hyper.2.max(1), "{answer:?} cut at {cut}: {} connections", own.2);
        }
    }
}
