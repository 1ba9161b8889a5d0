//! Rewrites links in JSON as it streams by: a state machine over bytes that changes the origin of the named members'
//! strings and nothing else, wherever the pieces are cut. It holds the names above where it is, and of a string no more
//! than could still be an origin.
//!
//! What is not JSON passes byte for byte: nothing is repaired, and nothing is waited for that may not come.

pub(in crate::proxy) mod string;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::authz::catalog::links::{LinkRules, NAME_BYTES_MAX, Place};
use crate::authz::origin::{Begun, NoOrigin, Origins, Scheme, start};
use string::{ESCAPE_BYTES, Ended, InString, end_of_string, unescaped};

/// Objects and arrays within each other that are looked into. Parsers of SDKs stop before it: at 128 (Rust), 1,000 (Python's
/// recursion). What is deeper passes as it is, and only its end is looked for: one app can store what another one reads, and
/// must not be able to have the other's answers cut.
pub const DEPTH_MAX: usize = 1_000;
/// Bytes of a key that are kept, as escaped as JSON can write a name that counts.
const KEY_BYTES_MAX: usize = NAME_BYTES_MAX * ESCAPE_BYTES;
/// Room for what a few links are longer by, so that few pieces are copied twice.
const ROOM_BYTES: usize = 256;
/// The first bytes that tell how a text is encoded (RFC 4627 §3).
const FIRST_BYTES: u8 = 4;

/// The address that callers reach the gate by, as links name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateAddress {
    is_secure: bool,
    authority: Box<str>,
}

impl GateAddress {
    /// `authority` is host and port in the characters of a host and port, so it needs no escaping anywhere.
    pub fn new(is_secure: bool, authority: impl Into<Box<str>>) -> Self {
        Self { is_secure, authority: authority.into() }
    }

    /// What takes the place of an origin that was written with this scheme: up to the authority, and the authority.
    pub fn instead_of(&self, begun: &Begun) -> [&str; 2] {
        let is_socket = begun.scheme.is_some_and(Scheme::is_socket);
        let scheme = match (is_socket, self.is_secure) {
            (true, true) => "wss://",
            (true, false) => "ws://",
            (false, _) => return self.web(),
        };
        [scheme, &self.authority]
    }

    /// What takes the place of an origin of the web.
    fn web(&self) -> [&str; 2] {
        [if self.is_secure { "https://" } else { "http://" }, &self.authority]
    }
}

/// The text cannot be looked into: its links cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not UTF-8, nor a superset of ASCII")]
    Encoding,
}

/// The rewriter of one answer.
#[derive(Debug)]
pub struct Rewriter {
    rules: Arc<LinkRules>,
    own: Arc<Origins>,
    gate: GateAddress,
    state: State,
    levels: Vec<Level>,
    /// Objects and arrays that are open beyond [`DEPTH_MAX`].
    beyond: usize,
    /// Where the member is that was named last.
    member: Place,
    /// A string here is a key.
    is_key: bool,
    /// A key that is still arriving, as written.
    key: Key,
    /// The beginning of a link, as written, that could still be the product's own.
    held: Vec<u8>,
    /// How many of the first bytes were seen.
    first: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// Within a string that passes; `true`: a backslash was the last of it.
    Passing(bool),
    /// Within a key.
    Key(bool),
    /// At the beginning of a string that is a link.
    Link,
}

/// An object or array that is open.
#[derive(Debug, Clone, Copy)]
struct Level {
    is_object: bool,
    place: Place,
}

impl Level {
    const OUTSIDE: Self = Self { is_object: false, place: Place::ROOT };

    /// Where a value is that stands here, `member` being named last: what is in an array is where the array is.
    #[inline]
    fn value(&self, member: Place) -> Place {
        if self.is_object { member } else { self.place }
    }
}

/// What a string is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Passing,
    Key,
    Link,
}

/// What a byte between strings says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    Quote,
    Colon,
    Comma,
    OpenObject,
    OpenArray,
    Close,
}

impl Sign {
    #[inline]
    fn of(byte: u8) -> Self {
        match byte {
            b'"' => Self::Quote,
            b':' => Self::Colon,
            b',' => Self::Comma,
            b'{' => Self::OpenObject,
            b'[' => Self::OpenArray,
            b'}' | b']' => Self::Close,
            _ => Self::None,
        }
    }
}

#[derive(Debug, Default)]
struct Key {
    written: Vec<u8>,
    is_too_long: bool,
}

/// One piece on its way: what was changed in it so far.
#[derive(Default)]
struct Piece {
    changed: BytesMut,
    /// Of the input, what stands in `changed`, or was replaced, or is held.
    done: usize,
}

impl Piece {
    fn copy(&mut self, input: &[u8], to: usize) {
        self.changed.extend_from_slice(input.get(self.done..to).unwrap_or_default());
        self.done = to;
    }

    fn replace(&mut self, input: &[u8], from: usize, to: usize, with: [&str; 2]) {
        if self.changed.is_empty() {
            // Mostly there are a few links, and the gate's name is as long as the product's.
            self.changed.reserve(input.len() + ROOM_BYTES);
        }
        self.copy(input, from);
        with.iter().for_each(|part| self.changed.extend_from_slice(part.as_bytes()));
        self.done = to;
    }
}

impl Rewriter {
    pub fn new(rules: Arc<LinkRules>, own: Arc<Origins>, gate: GateAddress) -> Self {
        Self {
            rules,
            own,
            gate,
            state: State::Between,
            levels: Vec::new(),
            beyond: 0,
            member: Place::ROOT,
            is_key: false,
            key: Key::default(),
            held: Vec::new(),
            first: 0,
        }
    }

    /// Takes the next piece, and gives what may go on of all so far. A piece without links is given back as it is.
    ///
    /// # Errors
    /// The text cannot be looked into; nothing of this piece may go on.
    pub fn take(&mut self, piece: Bytes) -> Result<Bytes, Unreadable> {
        self.see_encoding(&piece)?;
        let input = match self.held.is_empty() {
            true => piece,
            false => {
                let mut joined = BytesMut::with_capacity(self.held.len() + piece.len());
                joined.extend_from_slice(&self.held);
                joined.extend_from_slice(&piece);
                self.held.clear();
                joined.freeze()
            }
        };
        let mut out = Piece::default();
        let mut at = 0;
        while at < input.len() {
            at = match self.state {
                State::Between => self.between(&input, at, &mut out),
                State::Passing(escaped) => self.pass(&input, at, escaped),
                State::Key(escaped) => self.read_key(&input, at, escaped),
                State::Link => self.link(&input, at, &mut out),
            };
        }
        if out.done == 0 {
            return Ok(input);
        }
        out.copy(&input, input.len());
        Ok(out.changed.freeze())
    }

    /// Rewrites a text that is here whole.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_whole(&mut self, text: Bytes) -> Result<Bytes, Unreadable> {
        let taken = self.take(text)?;
        let held = self.finish();
        Ok(if held.is_empty() { taken } else { [taken, held].concat().into() })
    }

    /// What is still held. The text has ended, or broken off.
    pub fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held))
    }

    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Python's clients, for one, guess UTF-16 and UTF-32 from zeros and byte order marks among the first bytes. None of
    /// these bytes begins JSON in UTF-8.
    fn see_encoding(&mut self, piece: &[u8]) -> Result<(), Unreadable> {
        if self.first == FIRST_BYTES {
            return Ok(());
        }
        for byte in piece.iter().take(usize::from(FIRST_BYTES - self.first)) {
            if matches!(byte, 0 | 0xfe | 0xff) {
                return Err(Unreadable::Encoding);
            }
            self.first += 1;
        }
        Ok(())
    }

    /// From between strings to the end of the piece, or to a string that does not end in it. What is kept from string to
    /// string stays in registers: JSON is mostly short strings.
    fn between(&mut self, input: &[u8], mut at: usize, out: &mut Piece) -> usize {
        let mut top = self.top();
        while let Some(byte) = input.get(at) {
            at += 1;
            match Sign::of(*byte) {
                Sign::None => {}
                Sign::Quote => {
                    let string = if self.beyond > 0 {
                        Within::Passing
                    } else if self.is_key {
                        Within::Key
                    } else if self.rules.is_link(top.value(self.member)) {
                        Within::Link
                    } else {
                        Within::Passing
                    };
                    if string == Within::Link {
                        self.state = State::Link;
                        at = self.link(input, at, out);
                        if self.state == State::Link {
                            return at;
                        }
                    }
                    match end_of_string(input, at, false) {
                        Ok(Ended { end, has_escapes }) => {
                            if string == Within::Key {
                                self.named(top.place, input.get(at..end).unwrap_or_default(), has_escapes);
                                self.is_key = false;
                            }
                            at = end + 1;
                            self.state = State::Between;
                        }
                        Err(escaped) if string == Within::Key => {
                            self.key.push(input.get(at..).unwrap_or_default());
                            self.state = State::Key(escaped);
                            return input.len();
                        }
                        Err(escaped) => {
                            self.state = State::Passing(escaped);
                            return input.len();
                        }
                    }
                }
                Sign::Colon if self.beyond == 0 => self.is_key = false,
                Sign::Comma if self.beyond == 0 => self.is_key = top.is_object,
                Sign::Colon | Sign::Comma => {}
                Sign::OpenObject => top = self.open(top, true),
                Sign::OpenArray => top = self.open(top, false),
                Sign::Close if self.beyond > 0 => self.beyond -= 1,
                Sign::Close => {
                    self.levels.pop();
                    self.is_key = false;
                    top = self.top();
                }
            }
        }
        at
    }

    /// The innermost object or array that is open. Outside of all, a string is where the document is.
    fn top(&self) -> Level {
        self.levels.last().copied().unwrap_or(Level::OUTSIDE)
    }

    /// Gives the innermost one after it.
    fn open(&mut self, top: Level, is_object: bool) -> Level {
        if self.levels.len() == DEPTH_MAX {
            self.beyond = self.beyond.saturating_add(1);
            return top;
        }
        let level = Level { is_object, place: top.value(self.member) };
        self.levels.push(level);
        self.is_key = is_object;
        level
    }

    fn pass(&mut self, input: &[u8], at: usize, escaped: bool) -> usize {
        match end_of_string(input, at, escaped) {
            Ok(Ended { end, .. }) => {
                self.state = State::Between;
                end + 1
            }
            Err(escaped) => {
                self.state = State::Passing(escaped);
                input.len()
            }
        }
    }

    fn read_key(&mut self, input: &[u8], at: usize, escaped: bool) -> usize {
        match end_of_string(input, at, escaped) {
            Ok(Ended { end, has_escapes }) => {
                self.named(self.top().place, input.get(at..end).unwrap_or_default(), has_escapes);
                self.is_key = false;
                self.state = State::Between;
                end + 1
            }
            Err(escaped) => {
                self.key.push(input.get(at..).unwrap_or_default());
                self.state = State::Key(escaped);
                input.len()
            }
        }
    }

    /// The name of a member of what is at `above` is whole: its last part, or all of it, is this.
    #[inline]
    fn named(&mut self, above: Place, part: &[u8], has_escapes: bool) {
        let is_plain = self.key.written.is_empty() && !self.key.is_too_long;
        if is_plain && !has_escapes {
            self.member = self.rules.below(above, Some(part));
        } else {
            self.named_in_parts(above, part);
        }
    }

    #[cold]
    fn named_in_parts(&mut self, above: Place, part: &[u8]) {
        self.key.push(part);
        let mut space = [0; NAME_BYTES_MAX];
        let name = if self.key.is_too_long { None } else { unescaped(&self.key.written, &mut space) };
        self.member = self.rules.below(above, name);
        self.key.written.clear();
        self.key.is_too_long = false;
    }

    /// At the beginning of a link. The string that passes from here on is looked at once more for its end.
    fn link(&mut self, input: &[u8], at: usize, out: &mut Piece) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        if let Some(end) = self.own.usual_end(rest) {
            let end = at + end;
            out.replace(input, at, end, self.gate.web());
            self.state = State::Passing(false);
            return end;
        }
        let end = match start(&mut InString::new(rest)) {
            Ok(begun) if self.own.own(&begun) => {
                out.replace(input, at, at + begun.end, self.gate.instead_of(&begun));
                at + begun.end
            }
            Ok(_) | Err(NoOrigin::Other) => at,
            Err(NoOrigin::Undecided) => {
                out.copy(input, at);
                out.done = input.len();
                self.held.extend_from_slice(rest);
                return input.len();
            }
        };
        self.state = State::Passing(false);
        end
    }
}

impl Key {
    fn push(&mut self, part: &[u8]) {
        if self.written.len() + part.len() > KEY_BYTES_MAX {
            self.is_too_long = true;
        } else if !self.is_too_long {
            self.written.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests;
