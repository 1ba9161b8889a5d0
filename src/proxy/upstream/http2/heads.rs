//! Which heads of requests have left, told from the frames as they are written (RFC 9113 §4.1).
//!
//! `h2` does not say when a head leaves: it holds one back while the socket takes nothing, and also while the upstream
//! has as many streams as it allows, even after the request was taken back. So the bytes themselves are looked at.

/// Bytes that a client sends before its first frame (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

const FRAME_HEADER_BYTES: u32 = 9;

const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// The heads that were given to a connection and are not known to have left it.
#[derive(Debug, Default)]
pub struct Heads {
    waiting: Vec<Head>,
    frames: Frames,
}

#[derive(Debug)]
struct Head {
    stream: u32,
    /// Under which it was judged.
    generation: u64,
    /// TLS has all of it, and the socket not yet.
    is_written: bool,
}

impl Heads {
    pub fn wait(&mut self, stream: u32, generation: u64) {
        self.waiting.push(Head { stream, generation, is_written: false });
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn is_waiting(&self, stream: u32) -> bool {
        self.waiting.iter().any(|head| head.stream == stream)
    }

    /// True if the last byte of this head was given to nobody yet: no upstream can have acted on it.
    pub fn is_held_back(&self, stream: u32) -> bool {
        self.waiting.iter().any(|head| head.stream == stream && !head.is_written)
    }

    pub fn oldest_generation(&self) -> Option<u64> {
        self.waiting.iter().map(|head| head.generation).min()
    }

    /// These bytes were written, after those before.
    pub fn written(&mut self, bytes: &[u8]) {
        let waiting = &mut self.waiting;
        self.frames.written(bytes, |stream| {
            waiting.iter_mut().filter(|head| head.stream == stream).for_each(|head| head.is_written = true);
        });
    }

    /// All that was written has left. True if a head was among it.
    pub fn have_left(&mut self) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|head| !head.is_written);
        self.waiting.len() < before
    }
}

/// Where in a frame the bytes stand.
#[derive(Debug)]
struct Frames {
    /// The bytes of a frame's header so far, the newest lowest.
    header: u128,
    header_bytes: u32,
    /// Bytes of the payload, or of the preface, that are to come.
    left: usize,
    /// The stream whose head the frame ends.
    ends_head_of: Option<u32>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: 0, header_bytes: 0, left: PREFACE_BYTES, ends_head_of: None }
    }
}

impl Frames {
    fn written(&mut self, mut bytes: &[u8], mut head_ended: impl FnMut(u32)) {
        loop {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= payload.len();
            if self.left > 0 {
                return;
            }
            if let Some(stream) = self.ends_head_of.take() {
                head_ended(stream);
            }
            let Some((byte, rest)) = rest.split_first() else { return };
            bytes = rest;
            self.header = self.header << 8 | u128::from(*byte);
            self.header_bytes += 1;
            if self.header_bytes == FRAME_HEADER_BYTES {
                self.begin();
            }
        }
    }

    /// Length (24), type (8), flags (8), reserved (1), stream (31).
    fn begin(&mut self) {
        let [.., a, b, c, kind, flags, s, t, u, v] = self.header.to_be_bytes();
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let ends_head = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
        self.ends_head_of = ends_head.then(|| u32::from_be_bytes([s, t, u, v]) & (u32::MAX >> 1));
        (self.header, self.header_bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload).expect("a length").to_be_bytes();
        [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), &vec![7; payload]].concat()
    }

    #[test]
    fn a_head_has_left_with_its_last_byte_however_the_bytes_come() {
        let before = [&[7; PREFACE_BYTES][..], &frame(4, 0, 0, 18), &frame(0, 0, 1, 70_000), &frame(HEADERS, 0, 3, 20)];
        let head = [before.concat(), frame(CONTINUATION, END_HEADERS, 3, 300)].concat();
        for piece in [1, 2, 7, 10, 333, head.len()] {
            let mut heads = Heads::default();
            heads.wait(3, 1);
            for bytes in head[..head.len() - 1].chunks(piece) {
                heads.written(bytes);
            }
            assert!(!heads.have_left() && heads.is_held_back(3), "in pieces of {piece}");
            heads.written(&head[head.len() - 1..]);
            assert!(!heads.is_held_back(3) && heads.is_waiting(3), "in pieces of {piece}");
            assert!(heads.have_left() && heads.is_empty(), "in pieces of {piece}");
        }
    }

    #[test]
    fn only_the_head_of_the_stream_itself_counts() {
        let mut heads = Heads::default();
        heads.wait(5, 2);
        heads.wait(7, 1);
        heads.written(&[7; PREFACE_BYTES]);
        for other in [frame(0, END_HEADERS, 5, 0), frame(3, 0, 5, 4), frame(HEADERS, END_HEADERS, 9, 0)] {
            heads.written(&other);
            assert!(!heads.have_left() && heads.is_held_back(5));
        }
        // The reserved bit is no part of the number.
        heads.written(&frame(HEADERS, END_HEADERS, 7 | 1 << 31, 0));
        assert!(heads.have_left());
        assert_eq!((heads.is_waiting(5), heads.is_waiting(7), heads.oldest_generation()), (true, false, Some(2)));
    }
}
