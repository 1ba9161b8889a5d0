//! Reads answers off a connection as a client does: by their length, or by their chunks. The gate sends chunks where it
//! changes links, for nobody knows the length before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

use std::io::Read;

/// Bytes that one read asks for.
const PIECE: usize = 16 * 1024;

/// The client's end of a connection, with what was read and is not an answer yet.
pub struct Connection<S> {
    pub stream: S,
    read: Vec<u8>,
    piece: Box<[u8; PIECE]>,
}

impl<S: Read> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, read: Vec::with_capacity(PIECE), piece: Box::new([0; PIECE]) }
    }

    /// The body of the next answer, which must be a 200.
    pub fn answer(&mut self) -> Vec<u8> {
        let head = self.until(|read| end_of(read, b"\r\n\r\n"));
        let text = String::from_utf8_lossy(&self.read[..head]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        self.read.drain(..head);
        let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
        match (field("transfer-encoding:"), field("content-length:")) {
            (Some("chunked"), None) => self.chunks(),
            (None, Some(length)) => self.take(length.parse().expect("a length")),
            both => panic!("neither chunks nor a length but {both:?}: {text}"),
        }
    }

    /// RFC 9112 §7.1.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::with_capacity(PIECE);
        loop {
            let line = self.line();
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no size of a chunk: {line:?}"));
            if size == 0 {
                break;
            }
            body.append(&mut self.take(size));
            assert_eq!(self.line(), "", "a chunk is longer than it says");
        }
        // Trailers, and the empty line after them.
        while !self.line().is_empty() {}
        body
    }

    /// Without its end.
    fn line(&mut self) -> String {
        let end = self.until(|read| end_of(read, b"\r\n"));
        let line = self.take(end);
        String::from_utf8_lossy(&line[..end - 2]).into_owned()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.until(|read| (read.len() >= count).then_some(count));
        self.read.drain(..count).collect()
    }

    fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> usize {
        loop {
            if let Some(count) = found(&self.read) {
                return count;
            }
            let count = self.stream.read(&mut self.piece[..]).expect("an answer");
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&self.piece[..count]);
        }
    }
}

fn end_of(read: &[u8], mark: &[u8]) -> Option<usize> {
    Some(read.windows(mark.len()).position(|window| window == mark)? + mark.len())
}
