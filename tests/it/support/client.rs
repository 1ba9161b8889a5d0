//! A client that speaks bytes.

use std::io::{Read, Write};

/// A client that writes and reads bytes.
pub struct Client<T> {
    pub stream: T,
    buffer: Vec<u8>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    /// Without its framing.
    pub body: String,
    /// The raw lines after the last chunk.
    pub trailers: String,
    /// False if the connection ended before the body did.
    pub whole: bool,
}

impl Answer {
    pub fn has(&self, field: &str) -> bool {
        self.head.to_lowercase().lines().any(|line| line.starts_with(&field.to_lowercase()))
    }

    /// The first value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The reason code, where the gate answered and not the product.
    pub fn reason(&self) -> Option<&str> {
        self.field("x-scopegate-reason")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

impl<T: Read + Write> Client<T> {
    pub fn new(stream: T) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("the gate reads");
        self.stream.flush().expect("the gate reads");
    }

    /// As [`Self::send`], to a gate that may have closed.
    pub fn send_if_open(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Reads one line, without its end.
    pub fn line(&mut self) -> String {
        let line = self.through(b"\r\n").expect("a line");
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// Reads more; false at the end, in good order or not.
    pub fn more(&mut self) -> bool {
        let mut space = [0; 64 * 1024];
        match self.stream.read(&mut space) {
            Ok(count) => {
                self.buffer.extend_from_slice(&space[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("the gate says nothing: {error}")
            }
            Err(_) => false,
        }
    }

    /// Reads until the gate closes, and returns all of it.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Reads one head; `None` if the connection ended first.
    pub fn head(&mut self) -> Option<String> {
        self.through(b"\r\n\r\n").map(|head| String::from_utf8_lossy(&head).trim_end().to_owned())
    }

    /// Reads one whole answer.
    pub fn answer(&mut self) -> Answer {
        let head = self.head().expect("an answer");
        self.answer_after(head)
    }

    /// Reads the answer to `HEAD`, which has no body whatever it says, and asserts that none came.
    pub fn bodiless(&mut self) -> Answer {
        let head = self.head().expect("an answer");
        assert!(self.buffer.is_empty(), "HEAD was answered with a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: String::new(), trailers: String::new(), whole: true }
    }

    pub fn answer_after(&mut self, head: String) -> Answer {
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let lower = head.to_lowercase();
        let mut answer = Answer { status, head, body: String::new(), trailers: String::new(), whole: true };
        if lower.contains("\r\ntransfer-encoding: chunked") {
            self.read_chunked(&mut answer);
        } else if let Some(at) = lower.find("\r\ncontent-length: ") {
            let digits = lower[at + 18..].lines().next().expect("digits");
            let length: usize = digits.parse().expect("a length");
            let body = self.exactly(length);
            answer.whole = body.is_some();
            answer.body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        }
        answer
    }

    fn read_chunked(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.through(b"\r\n") else { break answer.whole = false };
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            let Some(chunk) = self.exactly(size + 2) else { break answer.whole = false };
            answer.body.push_str(&String::from_utf8_lossy(&chunk[..size]));
        }
        while answer.whole {
            let Some(line) = self.through(b"\r\n") else {
                answer.whole = false;
                break;
            };
            if line == b"\r\n" {
                break;
            }
            answer.trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// Takes exactly this many bytes.
    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.more() {
                return None;
            }
        }
    }
}
