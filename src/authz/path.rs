//! The one spelling of a path, or a refusal.
//!
//! Only `%xx` of an unreserved character has one meaning whoever reads it (RFC 3986 §6.2.2.2), so only that is
//! decoded. Whatever a strict and a lenient reader would split, join, drop or decode differently is refused.

use std::borrow::Cow;

use super::request::BadRequest;

/// The spelling of `raw` that is judged and sent. It allocates only where something is percent-encoded.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, BadRequest> {
    match canonical_or_pair(raw)? {
        (path, false) => Ok(path),
        (_, true) => Err(CONTROL),
    }
}

/// The same, of a path that may end in a pair of commits; whether it does. Whoever takes one must know what for: see
/// `pair_of_commits`.
pub fn canonical_or_pair(raw: &str) -> Result<(Cow<'_, str>, bool), BadRequest> {
    if !scan(raw)? {
        return Ok((Cow::Borrowed(raw), false));
    }
    let path = decode_unreserved(raw)?;
    // Decoding may have brought dots to the end of a segment, or digits behind a `%25`.
    scan(&path)?;
    let pair = pair_of_commits(&path);
    check_encoded(&path, pair)?;
    let is_pair = pair.is_some();
    Ok((path, is_pair))
}

/// The carriage return between two commits at the end of a path, as Bitbucket writes it in the addresses of its own diffs:
/// `…/diff/acme/web:8f3a2b1c%0D0d9e8f7a`. Where it begins.
fn pair_of_commits(path: &str) -> Option<usize> {
    let (before, second) = path.rsplit_once(RETURN)?;
    let first = before.rsplit(['/', ':']).next()?;
    let is_commit = |text: &str| {
        COMMIT_DIGITS.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    (is_commit(first) && is_commit(second)).then_some(before.len())
}

const RETURN: &str = "%0D";
/// What git shortens the name of a commit to at the least, and the longest there are.
const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 4..=64;
const CONTROL: BadRequest = BadRequest("the path holds an encoded control character");

/// Decodes a segment of a canonical path, for comparison only.
#[inline]
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, BadRequest> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let text = decode_all(segment)?;
    Ok(Cow::Owned(text))
}

/// Refuses what needs no decoding to be told; whether anything is encoded.
fn scan(path: &str) -> Result<bool, BadRequest> {
    let rest = path.strip_prefix('/').ok_or(BadRequest("the path does not begin with a slash"))?;
    let mut encoded = false;
    let mut previous = b'/';
    for byte in rest.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {}
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {}
            b'/' => end_of_segment(previous)?,
            b'%' => encoded = true,
            b';' => return Err(BadRequest("the path holds a `;` parameter")),
            b'\\' => return Err(BadRequest("the path holds a backslash")),
            b'#' => return Err(BadRequest("the path holds a fragment")),
            0x80.. => return Err(BadRequest("the path holds a character that is not percent-encoded")),
            _ => return Err(BadRequest("the path holds a character that a URI may not hold")),
        }
        previous = byte;
    }
    if !rest.is_empty() {
        end_of_segment(previous)?;
    }
    Ok(encoded)
}

/// A segment that is empty or ends in a dot is dropped, merged or trimmed by some reader: `//`, `/x/`, `/.`, `/..`, `/x.`.
fn end_of_segment(last: u8) -> Result<(), BadRequest> {
    match last {
        b'/' => Err(BadRequest("the path holds an empty segment")),
        b'.' => Err(BadRequest("a segment of the path ends in a dot")),
        _ => Ok(()),
    }
}

fn decode_unreserved(raw: &str) -> Result<Cow<'_, str>, BadRequest> {
    let mut decoded = String::new();
    let mut kept = 0;
    for (at, _) in raw.match_indices('%') {
        let byte = encoded_byte(raw, at)?;
        if is_unreserved(byte) {
            decoded.push_str(raw.get(kept..at).unwrap_or_default());
            decoded.push(char::from(byte));
            kept = at + 3;
        }
    }
    if kept == 0 {
        return Ok(Cow::Borrowed(raw));
    }
    decoded.push_str(raw.get(kept..).unwrap_or_default());
    Ok(Cow::Owned(decoded))
}

/// Judges what is still encoded in a path whose unreserved characters are decoded.
fn check_encoded(path: &str, pair: Option<usize>) -> Result<(), BadRequest> {
    for (at, _) in path.match_indices('%') {
        match encoded_byte(path, at)? {
            _ if pair == Some(at) => {}
            b'/' | b'\\' => return Err(BadRequest("the path holds an encoded slash or backslash")),
            b';' | b'#' | b'?' => return Err(BadRequest("the path holds an encoded `;`, `#` or `?`")),
            0..=0x1f | 0x7f => return Err(CONTROL),
            b'%' if encodes_twice(path, at) => return Err(BadRequest("the path is encoded twice")),
            _ => {}
        }
    }
    let text = decode_all(path)?;
    if text.chars().any(is_look_alike) {
        return Err(BadRequest("the path holds a character that some readers take for an ASCII one"));
    }
    if text.split('/').any(|segment| segment.starts_with(' ') || segment.ends_with(' ')) {
        return Err(BadRequest("a segment of the path begins or ends with a space"));
    }
    Ok(())
}

/// `%25` before two hex digits, or before the `u` of an old `%uXXXX`: another decoding makes another character.
fn encodes_twice(path: &str, at: usize) -> bool {
    let next = path.as_bytes().get(at + 3..).unwrap_or_default();
    match next {
        [b'u' | b'U', ..] => true,
        [high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}

fn decode_all(text: &str) -> Result<String, BadRequest> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut kept = 0;
    for (at, _) in text.match_indices('%') {
        bytes.extend_from_slice(text.get(kept..at).unwrap_or_default().as_bytes());
        bytes.push(encoded_byte(text, at)?);
        kept = at + 3;
    }
    bytes.extend_from_slice(text.get(kept..).unwrap_or_default().as_bytes());
    // Strict UTF-8: overlong forms and encoded surrogates are errors here.
    String::from_utf8(bytes).map_err(|_| BadRequest("the path is not UTF-8"))
}

fn encoded_byte(text: &str, at: usize) -> Result<u8, BadRequest> {
    match text.as_bytes().get(at + 1..at + 3) {
        Some(&[high, low]) => hex(high, low),
        _ => None,
    }
    .ok_or(BadRequest("a `%` is not followed by two hex digits"))
}

/// The byte of two hex digits.
pub(super) fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Characters that case folding, compatibility forms or best-fit code pages turn into ASCII, or that are not seen at all.
fn is_look_alike(char: char) -> bool {
    if char.is_ascii() {
        return false;
    }
    char.is_control()
        || char.is_whitespace()
        || char.to_lowercase().any(|folded| folded.is_ascii())
        || char.to_uppercase().any(|folded| folded.is_ascii())
        || matches!(char,
            '\u{aa}' | '\u{ad}' | '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{ba}'  // ordinals, soft hyphen, superscripts
            | '\u{2000}'..='\u{218f}'  // dots, slashes, invisible marks, superscripts, letter-like forms
            | '\u{2215}' | '\u{2216}' | '\u{29f5}'..='\u{29f9}'  // division and set-minus signs
            | '\u{2460}'..='\u{24ff}'  // enclosed letters and digits
            | '\u{3000}'..='\u{3002}'
            | '\u{fe10}'..='\u{fe19}' | '\u{fe50}'..='\u{fe6f}' | '\u{feff}' | '\u{ff00}'..='\u{ffff}'
            | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}'  // mathematical, enclosed
            | '\u{e0000}'..='\u{e0fff}') // tags
}
