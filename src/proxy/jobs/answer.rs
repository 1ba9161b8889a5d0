//! Reads one member of a JSON answer as it streams by, wherever the pieces are cut. It holds that member and the name of the
//! one that it is in, and of what lies elsewhere it counts how deep that is.
//!
//! It reads what every reader reads: a name on the way that stands twice, however it is escaped, something behind the
//! document, and what is no JSON where it looks spoil all. What is nested elsewhere is not looked into.

use crate::authz::catalog::links::NAME_BYTES_MAX;
use crate::authz::origin::{Unit, Units as _};
use crate::proxy::links::json::string::{ESCAPE_BYTES, Ended, InString, end_of_string};

/// How far a body is looked into, in bytes. Jira's longest, all workflows that an update touched, are some hundred KiB.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Digits of the largest number that is an id.
const DIGITS_MAX: usize = 20;

/// The reader of one answer.
#[derive(Debug)]
pub struct Reader {
    names: Box<[Box<str>]>,
    /// The longest text that is read.
    longest: usize,
    state: State,
    /// Objects on the way that are open.
    open: usize,
    /// By object on the way, as bits: its member on the way was there.
    passed: u32,
    /// The value that is due, or here, is the one at the end of this many names; `None`: it lies elsewhere.
    on_way: Option<usize>,
    /// Objects and lists elsewhere that are open.
    depth: usize,
    /// What is being read, as written: a name, or the member. `None`: it is too long.
    written: Option<Vec<u8>>,
    found: Option<String>,
    is_spoilt: bool,
    left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value is due.
    Value,
    /// A name, or the end of the object that has just begun.
    First,
    /// A name.
    Next,
    /// Within a name; `true`: a backslash was the last of it.
    Name(bool),
    Colon,
    /// Within a string that is a value of an object on the way.
    Text(bool),
    /// Within a number, or one of three words.
    Plain,
    /// Elsewhere.
    Within,
    /// Within a string there.
    TextWithin(bool),
    /// Behind a value of an object on the way, or behind the document.
    After,
}

impl Reader {
    pub fn new(names: &[Box<str>], longest: usize) -> Self {
        Self {
            names: names.into(),
            longest,
            state: State::Value,
            open: 0,
            passed: 0,
            on_way: Some(0),
            depth: 0,
            written: Some(Vec::new()),
            found: None,
            is_spoilt: false,
            left: ANSWER_BYTES_MAX,
        }
    }

    /// The member, once it is whole: a text, or a whole number.
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Whether what was found, or may be, does not count.
    pub fn is_spoilt(&self) -> bool {
        self.is_spoilt
    }

    /// Takes the next piece. What comes of the whole of it counts.
    pub fn take(&mut self, piece: &[u8]) {
        let Some(left) = self.left.checked_sub(piece.len()) else {
            // Whether the rest holds the same name once more, nobody looks.
            self.is_spoilt = true;
            return;
        };
        self.left = left;
        let mut at = 0;
        while let Some(byte) = piece.get(at)
            && !self.is_spoilt
        {
            at = match self.state {
                State::Name(escaped) | State::Text(escaped) | State::TextWithin(escaped) => {
                    self.string(piece, at, escaped)
                }
                State::Within => self.within(piece, at),
                State::Plain => self.plain(*byte, at),
                _ if byte.is_ascii_whitespace() => at + 1,
                State::Value => self.value(*byte, at),
                State::First | State::Next => self.name(*byte, at),
                State::Colon if *byte == b':' => self.goes_on(State::Value, at),
                State::After if self.open > 0 => self.after(*byte, at),
                State::Colon | State::After => self.spoils(at),
            };
        }
    }

    fn goes_on(&mut self, state: State, at: usize) -> usize {
        self.state = state;
        at + 1
    }

    fn spoils(&mut self, at: usize) -> usize {
        self.is_spoilt = true;
        at + 1
    }

    /// Whether the value that is due is the one that is looked for.
    fn is_wanted(&self) -> bool {
        self.on_way == Some(self.names.len())
    }

    fn value(&mut self, byte: u8, at: usize) -> usize {
        self.written = Some(Vec::new());
        match byte {
            b'"' => self.goes_on(State::Text(false), at),
            b'{' if self.on_way.is_some() && !self.is_wanted() => {
                self.open += 1;
                self.passed &= !(1 << self.open.min(31));
                self.goes_on(State::First, at)
            }
            b'{' | b'[' => {
                self.depth = 1;
                self.goes_on(State::Within, at)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.state = State::Plain;
                at
            }
            _ => self.spoils(at),
        }
    }

    fn name(&mut self, byte: u8, at: usize) -> usize {
        self.written = Some(Vec::new());
        match (byte, self.state) {
            (b'"', _) => self.goes_on(State::Name(false), at),
            (b'}', State::First) => self.closes(at),
            _ => self.spoils(at),
        }
    }

    fn after(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b',' => self.goes_on(State::Next, at),
            b'}' => self.closes(at),
            _ => self.spoils(at),
        }
    }

    fn closes(&mut self, at: usize) -> usize {
        self.open -= 1;
        self.goes_on(State::After, at)
    }

    /// Within what lies elsewhere, to its end or to the next string.
    fn within(&mut self, piece: &[u8], at: usize) -> usize {
        for (offset, byte) in piece.get(at..).unwrap_or_default().iter().enumerate() {
            match byte {
                b'"' => return self.goes_on(State::TextWithin(false), at + offset),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return self.goes_on(State::After, at + offset);
                    }
                }
                _ => {}
            }
        }
        piece.len()
    }

    fn string(&mut self, piece: &[u8], at: usize, escaped: bool) -> usize {
        let ended = end_of_string(piece, at, escaped);
        let end = ended.as_ref().map_or(piece.len(), |Ended { end, .. }| *end);
        self.keep(piece.get(at..end).unwrap_or_default());
        match (ended, self.state) {
            (Ok(_), State::Name(_)) => self.named(end),
            (Ok(_), State::Text(_)) => {
                if self.is_wanted() {
                    self.finds(unescaped);
                }
                self.goes_on(State::After, end)
            }
            (Ok(_), _) => self.goes_on(State::Within, end),
            (Err(escaped), state) => {
                self.state = match state {
                    State::Name(_) => State::Name(escaped),
                    State::Text(_) => State::Text(escaped),
                    _ => State::TextWithin(escaped),
                };
                piece.len()
            }
        }
    }

    /// Keeps a name, or the member.
    fn keep(&mut self, part: &[u8]) {
        let longest = match self.state {
            State::Name(_) => NAME_BYTES_MAX * ESCAPE_BYTES,
            _ if self.is_wanted() => self.longest * ESCAPE_BYTES,
            _ => return,
        };
        self.written = self.written.take().filter(|written| written.len() + part.len() <= longest);
        if let Some(written) = &mut self.written {
            written.extend_from_slice(part);
        }
    }

    /// A name of an object on the way is whole.
    fn named(&mut self, end: usize) -> usize {
        let level = self.open - 1;
        let name = self.written.as_deref().and_then(unescaped);
        let is_it = name.is_some() && name.as_deref() == self.names.get(level).map(|wanted| &**wanted);
        self.on_way = is_it.then_some(level + 1);
        let bit = 1 << self.open.min(31);
        if is_it && self.passed & bit != 0 {
            return self.spoils(end);
        }
        self.passed |= if is_it { bit } else { 0 };
        self.goes_on(State::Colon, end)
    }

    /// Within a number or a word, which ends where something else begins.
    fn plain(&mut self, byte: u8, at: usize) -> usize {
        if matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') {
            let is_wanted = self.is_wanted();
            self.written = self.written.take().filter(|written| written.len() < DIGITS_MAX && is_wanted);
            self.written.iter_mut().for_each(|written| written.push(byte));
            return at + 1;
        }
        if self.is_wanted() {
            self.finds(whole_number);
        }
        self.state = State::After;
        at
    }

    fn finds(&mut self, read: impl Fn(&[u8]) -> Option<String>) {
        let text = self.written.as_deref().and_then(read);
        self.found = text.filter(|text| !text.is_empty() && text.len() <= self.longest);
    }
}

/// A number that is the whole answer has no end of its own: nothing follows it.
fn whole_number(written: &[u8]) -> Option<String> {
    let is_plain = written.iter().all(u8::is_ascii_digit) && (written.len() == 1 || written.first() != Some(&b'0'));
    (is_plain && !written.is_empty()).then(|| String::from_utf8_lossy(written).into_owned())
}

/// A text in ASCII. `None`: it is no id, link or name that counts.
fn unescaped(written: &[u8]) -> Option<String> {
    let mut units = InString::new(written);
    let mut text = String::new();
    loop {
        match units.next() {
            Unit::Byte(byte @ b' '..=b'~') => text.push(char::from(byte)),
            Unit::Byte(_) => return None,
            Unit::End | Unit::Undecided => return (units.read() == written.len()).then_some(text),
        }
    }
}

#[cfg(test)]
mod tests;
