//! Text that somebody else wrote, made safe for a header, a log or a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::HeaderValue;

/// The most bytes of one list in one header. Clients give up on 8 KiB and more for all headers together.
const LIST_MAX_BYTES: usize = 2 * 1024;

/// Text with whatever drives a terminal or reorders a line escaped, cut after `max_chars` characters.
///
/// Controls (C0, DEL, C1), line separators and the bidirectional overrides are written as `\u{…}`.
pub fn printable(text: &str, max_chars: usize) -> Cow<'_, str> {
    // Nearly all text is plain ASCII, which is told many bytes at once.
    let plain = text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte));
    if text.len() <= max_chars && (plain || !text.contains(is_unprintable)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(max_chars * 4));
    for (index, character) in text.chars().enumerate() {
        if index == max_chars {
            out.push('…');
            break;
        }
        if is_unprintable(character) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A header value of printable ASCII: everything else is written as `\u{…}`.
pub(super) fn header_value(text: &str) -> HeaderValue {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if out.len() >= LIST_MAX_BYTES {
            break;
        }
        match character {
            ' '..='~' => out.push(character),
            other => {
                let _ = write!(out, "{}", other.escape_unicode());
            }
        }
    }
    HeaderValue::from_str(&out).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Scope names in one header value, cut between two names when it gets too long.
pub(super) fn header_list(names: &[Cow<'_, str>], separator: &str) -> HeaderValue {
    header_value(&joined(names.iter().map(AsRef::as_ref), separator))
}

/// Scope names for the `scope` attribute of RFC 6750 §3: a name with a character that it forbids is left out,
/// for a quote in it would end the attribute.
pub(super) fn scope_attribute(names: &[Cow<'_, str>]) -> String {
    let allowed =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    joined(names.iter().map(AsRef::as_ref).filter(allowed), " ")
}

fn joined<'n>(names: impl Iterator<Item = &'n str>, separator: &str) -> String {
    let mut out = String::new();
    for name in names {
        if out.len() + separator.len() + name.len() > LIST_MAX_BYTES {
            break;
        }
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed_and_controls_are_escaped() {
        assert!(matches!(printable("#help ü", 100), Cow::Borrowed("#help ü")));
        assert_eq!(printable("a\u{1b}[31m\u{9b}\u{2028}b", 100), "a\\u{1b}[31m\\u{9b}\\u{2028}b");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    #[test]
    fn a_long_list_is_cut_between_two_names() {
        let names: Vec<Cow<'_, str>> = (0..500).map(|n| Cow::Owned(format!("scope:number:{n:04}"))).collect();
        let value = header_list(&names, ",");
        assert!(value.len() <= LIST_MAX_BYTES);
        assert!(value.to_str().unwrap().rsplit(',').next().is_some_and(|last| last.len() == "scope:number:0000".len()));
    }

    #[test]
    fn a_scope_that_could_end_the_attribute_is_left_out() {
        assert_eq!(scope_attribute(&["a:b".into(), "x\" y".into(), "é".into(), "c".into()]), "a:b c");
    }
}
