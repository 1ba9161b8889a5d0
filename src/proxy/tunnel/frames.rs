//! The form of WebSocket frames (RFC 6455 §5), checked as they pass in one direction. Payloads are not looked at.

/// Bytes of the longest frame head: two, eight of length, four of mask.
pub const HEAD_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Bytes that a control frame may carry (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// A frame that breaks the standard. What two readers could take for two things passes to neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FrameError(&'static str);

/// What is known of one direction.
#[derive(Debug)]
pub struct Frames {
    /// Frames of a client are masked, those of a server are not.
    masked: bool,
    deflate: bool,
    /// Bytes of the payload that are still to come.
    payload: u64,
    /// A message is in pieces, and the last one has not come.
    in_message: bool,
    closed: bool,
}

impl Frames {
    pub fn of_client(deflate: bool) -> Self {
        Self { masked: true, deflate, payload: 0, in_message: false, closed: false }
    }

    pub fn of_server(deflate: bool) -> Self {
        Self { masked: false, ..Self::of_client(deflate) }
    }

    /// How many of the bytes may pass: all but the beginning of a head that is not whole yet, which must be shown
    /// again with what follows it.
    ///
    /// # Errors
    /// A frame that may not be; none of the bytes may pass then.
    pub fn check(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            let payload = usize::try_from(self.payload).unwrap_or(usize::MAX).min(rest.len());
            self.payload -= payload as u64;
            passed += payload;
            let rest = rest.get(payload..).unwrap_or_default();
            let Some(head) = Head::read(rest)? else { return Ok(passed) };
            self.take(&head)?;
            passed += head.bytes;
        }
    }

    /// True between two frames, where another one may follow.
    pub fn may_follow(&self) -> bool {
        self.payload == 0 && !self.closed
    }

    fn take(&mut self, head: &Head) -> Result<(), FrameError> {
        if self.closed {
            return Err(FrameError("a frame after a close frame"));
        }
        if head.masked != self.masked {
            return Err(FrameError("a client's frame is not masked, or a server's is"));
        }
        let starts_message = matches!(head.opcode, TEXT | BINARY);
        if head.reserved & 0b011 != 0 || (head.reserved & 0b100 != 0 && !(self.deflate && starts_message)) {
            return Err(FrameError("a reserved bit is set"));
        }
        match head.opcode {
            TEXT | BINARY if self.in_message => return Err(FrameError("a message within a message")),
            CONTINUATION if !self.in_message => return Err(FrameError("a continuation of nothing")),
            TEXT | BINARY | CONTINUATION => self.in_message = !head.is_final,
            CLOSE | PING | PONG if !head.is_final || head.length > CONTROL_BYTES_MAX => {
                return Err(FrameError("a control frame in pieces, or too long"));
            }
            CLOSE if head.length == 1 => return Err(FrameError("a close frame with half a code")),
            CLOSE => self.closed = true,
            PING | PONG => {}
            _ => return Err(FrameError("an opcode that is reserved")),
        }
        self.payload = head.length;
        Ok(())
    }
}

struct Head {
    is_final: bool,
    reserved: u8,
    opcode: u8,
    masked: bool,
    length: u64,
    bytes: usize,
}

impl Head {
    /// `None`: more bytes are needed.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (length, length_bytes) = match second & 0x7F {
            126 => match rest {
                [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 2),
                _ => return Ok(None),
            },
            127 => match rest {
                [a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
                _ => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let is_shortest = match length_bytes {
            0 => true,
            2 => length >= 126,
            _ => length > u64::from(u16::MAX) && length >> 63 == 0,
        };
        if !is_shortest {
            return Err(FrameError("a length that is not written in the shortest way"));
        }
        let masked = second & 0x80 != 0;
        let whole = 2 + length_bytes + if masked { 4 } else { 0 };
        if bytes.len() < whole {
            return Ok(None);
        }
        let (is_final, reserved, opcode) = (first & 0x80 != 0, (first >> 4) & 0b111, first & 0x0F);
        Ok(Some(Self { is_final, reserved, opcode, masked, length, bytes: whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload {
            0..126 => bytes.push(mask | payload as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0x5A; if masked { 4 } else { 0 }]);
        bytes.extend(vec![0x42; payload]);
        bytes
    }

    #[test]
    fn a_conversation_of_right_form_passes_in_both_directions() {
        for masked in [true, false] {
            let mut frames = Frames { masked, ..Frames::of_client(false) };
            let said = [
                frame(0x81, masked, 5),
                frame(0x01, masked, 200),
                frame(0x89, masked, 0),
                frame(0x00, masked, 70_000),
                frame(0x80, masked, 1),
                frame(0x8A, masked, 125),
                frame(0x88, masked, 2),
            ];
            let said = said.concat();
            assert_eq!(frames.check(&said), Ok(said.len()));
        }
    }

    #[test]
    fn a_frame_of_wrong_form_does_not_pass() {
        let client = |first, payload| frame(first, true, payload);
        for (why, bytes) in [
            ("not masked", frame(0x81, false, 1)),
            ("a reserved opcode", client(0x83, 0)),
            ("a reserved control opcode", client(0x8B, 0)),
            ("a reserved bit", client(0xC1, 1)),
            ("another reserved bit", client(0xA1, 1)),
            ("a control frame in pieces", client(0x09, 0)),
            ("a control frame that is too long", client(0x89, 126)),
            ("a continuation of nothing", client(0x80, 1)),
            ("half a close code", client(0x88, 1)),
            ("a long way to say 5", vec![0x81, 0x80 | 126, 0, 5]),
            ("a very long way to say 5", vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5]),
            ("a length beyond the standard's", vec![0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("a message within a message", [client(0x01, 1), client(0x81, 1)].concat()),
            ("more after the close", [client(0x88, 0), client(0x81, 1)].concat()),
        ] {
            Frames::of_client(false).check(&bytes).expect_err(why);
        }
        Frames::of_server(false).check(&frame(0x81, true, 1)).expect_err("a server's frame is not masked");
    }

    #[test]
    fn the_bit_of_deflate_stands_on_the_first_frame_of_a_message_alone() {
        let mut frames = Frames::of_client(true);
        frames.check(&frame(0x41, true, 3)).expect("the first frame");
        frames.check(&frame(0xC0, true, 3)).expect_err("a continuation");
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_does_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(0x81u8), Just(0x80), Just(0x88), Just(0x01), any::<u8>()], 0..80),
            cut in 0..80usize,
        ) {
            let whole = Frames::of_client(false).check(&bytes);
            let mut frames = Frames::of_client(false);
            let cut = cut.min(bytes.len());
            let pieces = frames.check(&bytes[..cut]).and_then(|first| frames.check(&bytes[first..]).map(|more| first + more));
            prop_assert_eq!(whole, pieces);
        }
    }
}
