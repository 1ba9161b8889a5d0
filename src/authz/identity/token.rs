//! Reads `Authorization`: the scheme word in any case, then one credential (RFC 9110 §11.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The longest `user:password` of Basic, decoded, in bytes. It is decoded on the stack.
pub const BASIC_MAX: usize = 1024;

/// What `Authorization` shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// A token or gate key.
    Token(&'a [u8]),
    /// Basic's user and password, encoded: see [`password`].
    Basic(&'a [u8]),
    ConnectJwt(&'a str),
    /// A scheme or form that no method reads.
    Unreadable,
}

/// The evidence in the value of `Authorization`.
#[inline(always)]
pub fn shown(value: &HeaderValue) -> Shown<'_> {
    read(value.as_bytes()).unwrap_or(Shown::Unreadable)
}

#[inline(always)]
fn read(value: &[u8]) -> Option<Shown<'_>> {
    match value.strip_prefix(b"Bearer ") {
        // As nearly every client writes it.
        Some(token) => is_one_word(token).then_some(Shown::Token(token)),
        None => read_any(value),
    }
}

#[inline(never)]
fn read_any(value: &[u8]) -> Option<Shown<'_>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, credential) = (value.get(..space)?, value.get(space + 1..)?);
    // More than one word, or a second space, is another credential to some reader.
    if !is_one_word(credential) {
        return None;
    }
    let is = |word: &str| scheme.eq_ignore_ascii_case(word.as_bytes());
    if is("bearer") || is("token") {
        Some(Shown::Token(credential))
    } else if is("basic") {
        Some(Shown::Basic(credential))
    } else if is("jwt") {
        std::str::from_utf8(credential).ok().map(Shown::ConnectJwt)
    } else {
        None
    }
}

/// At least one character, each visible ASCII and none a comma.
#[inline]
fn is_one_word(credential: &[u8]) -> bool {
    /// Whole pieces of so many bytes are a few vector instructions each; what is left over would cost as much again byte
    /// by byte, so the last piece is counted from the end, however it falls.
    const PIECE: usize = 32;
    match credential.last_chunk::<PIECE>() {
        Some(last) => others(credential.as_chunks::<PIECE>().0.as_flattened()) | others(last) == 0,
        None => !credential.is_empty() && others(credential) == 0,
    }
}

/// Not 0 where a byte is no visible ASCII, or a comma. Without a way out in between, and in bytes instead of `bool`, the
/// compiler takes many at once.
#[inline]
fn others(bytes: &[u8]) -> u8 {
    let other = |byte: u8| u8::from(byte.wrapping_sub(b'!') > b'~' - b'!') | u8::from(byte == b',');
    bytes.iter().fold(0, |others, byte| others | other(*byte))
}

/// The password part alone proves: the user part is a name, if it is anything (RFC 7617). `None` where it is malformed.
pub fn password<'b>(credential: &[u8], decoded: &'b mut [u8; BASIC_MAX]) -> Option<&'b [u8]> {
    let length = STANDARD.decode_slice(credential, decoded).ok()?;
    let mut parts = decoded.get(..length)?.splitn(2, |byte| *byte == b':');
    let _user = parts.next()?;
    parts.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        assert_eq!(read(value.as_bytes()), Some(Shown::Token(expected.as_bytes())), "{value}");
    }

    fn check_password(value: &str, expected: Option<&str>) {
        let Some(Shown::Basic(credential)) = read(value.as_bytes()) else { panic!("{value} is not Basic") };
        assert_eq!(password(credential, &mut [0; BASIC_MAX]), expected.map(str::as_bytes), "{value}");
    }

    fn check_unreadable(value: &str) {
        assert_eq!(read(value.as_bytes()), None, "{value:?}");
    }

    #[test]
    fn the_scheme_word_is_read_in_any_case() {
        check("Bearer xoxb-1", "xoxb-1");
        check("bEaReR xoxb-1", "xoxb-1");
        check("token ghp_1", "ghp_1");
        assert!(matches!(read(b"jwt a.b.c"), Some(Shown::ConnectJwt("a.b.c"))));
    }

    #[test]
    fn of_basic_the_password_alone_proves() {
        check_password("Basic dXNlcjpwYTpzcw==", Some("pa:ss"));
        check_password("Basic OnB3", Some("pw"));
        check_password("Basic dXNlcg==", None); // no colon
        check_password("Basic dXNlcjo=", Some("")); // no password: nothing is no token
        check_password("Basic dXNlcjpwYTpzcw", None); // no padding
        check_password("Basic dXNlcjpwYTpzcx==", None); // bits beyond the last byte
        check_password(&format!("Basic {}", "A".repeat(4096)), None);
    }

    #[test]
    fn a_word_is_of_visible_ascii_and_holds_no_comma() {
        for byte in 0..=u8::MAX {
            let plain = (b'!'..=b'~').contains(&byte) && byte != b',';
            for length in [1, 31, 32, 33, 96, 100] {
                for at in 0..length {
                    let mut word = vec![b'a'; length];
                    word[at] = byte;
                    assert_eq!(is_one_word(&word), plain, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn what_could_be_two_credentials_is_none() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer  a",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "a",
            "Digest a",
            "Bearer a\t",
            "Bearer ä",
            "Bearer a\u{7f}",
            "jwt ä",
        ] {
            check_unreadable(value);
        }
    }
}
