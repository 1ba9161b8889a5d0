//! Reads `Authorization`: the scheme word in any case, then one credential (RFC 9110 §11.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

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

/// The evidence in `Authorization`, if the header is there.
#[inline]
pub fn authorization(headers: &HeaderMap) -> Option<Shown<'_>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Shown::Unreadable);
    }
    Some(read(value.as_bytes()).unwrap_or(Shown::Unreadable))
}

#[inline]
fn read(value: &[u8]) -> Option<Shown<'_>> {
    let space = memchr::memchr(b' ', value)?;
    let (scheme, credential) = (value.get(..space)?, value.get(space + 1..)?);
    // More than one word, or a second space, is another credential to some reader.
    if credential.is_empty() || !is_one_word(credential) {
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

/// Visible ASCII without a comma. No way out in between: it is a few vector instructions.
fn is_one_word(credential: &[u8]) -> bool {
    !credential.iter().fold(false, |other, byte| other | !byte.is_ascii_graphic() | (*byte == b','))
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
