//! The inside of a JSON string: where it ends, and what its characters are, as far as names and origins go.

use memchr::memchr2;

use crate::authz::catalog::links::NAME_BYTES_MAX;
use crate::authz::origin::{Unit, Units};

/// `\u0041`: the longest that JSON writes one character of ASCII.
pub const ESCAPE_BYTES: usize = 6;

/// Where a string ended.
pub struct Ended {
    /// The index of its last quote.
    pub end: usize,
    /// A backslash stands before it, in what was looked at.
    pub has_escapes: bool,
}

/// The end of a string; else whether a backslash is the last byte of it so far.
#[inline]
pub fn end_of_string(input: &[u8], at: usize, escaped: bool) -> Result<Ended, bool> {
    let mut at = if escaped { at + 1 } else { at };
    let mut has_escapes = escaped;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(offset) = quote_or_backslash(rest) else { return Err(at > input.len()) };
        if rest.get(offset) == Some(&b'"') {
            return Ok(Ended { end: at + offset, has_escapes });
        }
        has_escapes = true;
        at += offset + 2;
    }
}

/// Words that are looked at one by one before the rest is left to `memchr2`: most strings end among them, and a call takes
/// longer than that.
const NEAR_WORDS: usize = 6;

/// Where the first quote or backslash is.
#[inline(always)]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // Zero where such a byte is. Subtracting borrows from the byte above such a one alone, so the lowest bit that stays
    // tells the first.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut at = 0;
    for word in bytes.as_chunks::<8>().0.iter().take(NEAR_WORDS) {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', bytes.get(at..)?).map(|offset| at + offset)
}

/// The text of a key in ASCII. `None`: it is no name that counts.
pub fn unescaped<'s>(written: &[u8], space: &'s mut [u8; NAME_BYTES_MAX]) -> Option<&'s [u8]> {
    let mut units = InString::new(written);
    let mut length = 0;
    loop {
        match units.next() {
            Unit::Byte(byte) => *space.get_mut(length)? = byte,
            // A key is whole: where its text ends, so does it.
            Unit::End | Unit::Undecided => return space.get(..length).filter(|_| units.read() == written.len()),
        }
        length += 1;
    }
}

/// The inside of a JSON string, from after its first quote.
pub struct InString<'t> {
    text: &'t [u8],
    read: usize,
}

impl<'t> InString<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Self { text, read: 0 }
    }

    /// After a backslash: the unit, and how many bytes it takes.
    fn escape(&self) -> Option<(u8, usize)> {
        Some(match self.text.get(self.read + 1)? {
            b'u' => {
                let digits = self.text.get(self.read + 2..self.read + ESCAPE_BYTES)?;
                let number = |digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
                let number = number(digits).filter(|_| digits.iter().all(u8::is_ascii_hexdigit));
                (number.and_then(|number| u8::try_from(number).ok()).filter(u8::is_ascii).unwrap_or(0xff), ESCAPE_BYTES)
            }
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            other => (*other, 2),
        })
    }
}

impl Units for InString<'_> {
    #[inline]
    fn next(&mut self) -> Unit {
        let (unit, bytes) = match self.text.get(self.read) {
            None => return Unit::Undecided,
            Some(b'"') => return Unit::End,
            Some(b'\\') => match self.escape() {
                None => return Unit::Undecided,
                Some(escaped) => escaped,
            },
            Some(byte) if byte.is_ascii() => (*byte, 1),
            Some(_) => (0xff, 1),
        };
        self.read += bytes;
        Unit::Byte(unit)
    }

    fn read(&self) -> usize {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_quote_or_backslash_is_found_wherever_it_stands() {
        // Bytes that differ from either by a bit, or by what a borrow could make of them.
        let near = [b'!', b'#', b'[', b']', 0, 0x80, 0xa2, 0xdc, 0xff, b'a'];
        for length in 0..80 {
            for at in 0..=length {
                let mut text: Vec<u8> = near.iter().copied().cycle().skip(at).take(length).collect();
                assert_eq!(quote_or_backslash(&text), None);
                for found in [b'"', b'\\'] {
                    text.iter_mut().skip(at).take(1).for_each(|byte| *byte = found);
                    text.iter_mut().skip(at + 1).take(1).for_each(|byte| *byte = found ^ 1);
                    assert_eq!(quote_or_backslash(&text), (at < length).then_some(at), "{at} of {length}");
                }
            }
        }
    }
}
