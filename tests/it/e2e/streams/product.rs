//! A product whose answers last: it says what it is told to, and keeps what it hears until the other side ends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use base64::Engine as _;
use sha1::Digest as _;

use crate::support::upstream::DEADLINE;

/// By the target of its request.
type Calls = BTreeMap<String, Call>;

struct Call {
    wire: TcpStream,
    /// What came after the head.
    heard: Vec<u8>,
    ended: bool,
}

/// The stub. Its threads end with the test process.
pub struct Product {
    pub address: SocketAddr,
    shared: Arc<(Mutex<Calls>, Condvar)>,
}

impl Product {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared: Arc<(Mutex<Calls>, Condvar)> = Arc::default();
        let calls = Arc::clone(&shared);
        std::thread::spawn(move || {
            for wire in listener.incoming().flatten() {
                let calls = Arc::clone(&calls);
                std::thread::spawn(move || attend(wire, &calls));
            }
        });
        Self { address, shared }
    }

    /// Says more in answer to a request.
    pub fn say(&self, target: &str, bytes: &[u8]) {
        let mut wire = self.wait("the request", |calls| Some(calls.get(target)?.wire.try_clone().expect("a clone")));
        wire.write_all(bytes).expect("the gate takes it");
    }

    /// Waits until the request, and so much after its head, came.
    pub fn hears(&self, target: &str, bytes: &[u8]) {
        self.wait("the body", |calls| calls.get(target).filter(|call| call.heard.ends_with(bytes)).map(drop));
    }

    pub fn has_heard(&self, target: &str, bytes: &[u8]) -> bool {
        let calls = self.shared.0.lock().expect("the calls");
        calls.get(target).is_some_and(|call| call.heard.ends_with(bytes))
    }

    /// Waits for the end of a request's connection, and returns all that came after its head.
    pub fn ended(&self, target: &str) -> Vec<u8> {
        self.wait("the end", |calls| calls.get(target).filter(|call| call.ended).map(|call| call.heard.clone()))
    }

    pub fn has_ended(&self, target: &str) -> bool {
        self.wait("the request", |calls| calls.get(target).map(|call| call.ended))
    }

    fn wait<T>(&self, what: &str, found: impl Fn(&Calls) -> Option<T>) -> T {
        let (calls, changed) = &*self.shared;
        let mut calls = calls.lock().expect("the calls");
        loop {
            if let Some(found) = found(&calls) {
                return found;
            }
            let waited = changed.wait_timeout(calls, DEADLINE).expect("the calls");
            calls = waited.0;
            assert!(!waited.1.timed_out(), "waited too long for {what}; there are {:?}", calls.keys());
        }
    }
}

fn attend(mut wire: TcpStream, shared: &(Mutex<Calls>, Condvar)) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).expect("text");
    let target = head.split(' ').nth(1).expect("a target").to_owned();
    let call = Call { wire: wire.try_clone().expect("a clone"), heard: Vec::new(), ended: false };
    shared.0.lock().expect("the calls").insert(target.clone(), call);
    let mut speaker = wire.try_clone().expect("a clone");
    let begun = begin(&head, &target);
    let _ = speaker.write_all(&begun);
    shared.1.notify_all();
    if target.contains("/flood") {
        // More than all buffers take.
        std::thread::spawn(move || while speaker.write_all(&[b'x'; 64 * 1024]).is_ok() {});
    }
    let mut space = [0; 64 * 1024];
    loop {
        let count = wire.read(&mut space).unwrap_or(0);
        let mut calls = shared.0.lock().expect("the calls");
        let call = calls.get_mut(&target).expect("it was noted");
        call.heard.extend_from_slice(&space[..count]);
        call.ended |= count == 0;
        drop(calls);
        shared.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

/// How the answer begins.
fn begin(head: &str, target: &str) -> Vec<u8> {
    let last = target.split('?').next().and_then(|path| path.rsplit('/').next());
    match last {
        Some("live") => opened(head),
        Some("events" | "search") => {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
                .to_vec()
        }
        Some("file") if head.starts_with("GET") => b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhello".to_vec(),
        Some("flood") => b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nhello".to_vec(),
        Some("early") => b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nhello".to_vec(),
        Some("brief") => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec(),
        _ => Vec::new(),
    }
}

fn opened(head: &str) -> Vec<u8> {
    let key = head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| *name == "sec-websocket-key");
    let key = key.expect("a key").1;
    let proof = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let proof = base64::engine::general_purpose::STANDARD.encode(proof);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {proof}\r\n\r\n"
    );
    [head.as_bytes(), b"\x81\x05hello"].concat()
}
