//! Reads `Authorization`: the scheme word in any case, then one credential (RFC 9110 §11.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::gate_key;

/// The longest `user:password` of Basic, decoded, in bytes. It is decoded on the stack.
const BASIC_MAX: usize = 1024;

/// What `Authorization` shows.
pub enum Shown<'a> {
    Token(Token),
    ConnectJwt(&'a str),
    /// A scheme or form that no method reads.
    Unreadable,
}

/// A token or gate key, of which only the digest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub digest: [u8; 32],
    /// It looks like a gate key, known or not.
    pub is_gate_key: bool,
}

impl Token {
    /// `None`: nothing is no token.
    pub fn of(secret: &[u8]) -> Option<Self> {
        let is_gate_key = gate_key::has_form(secret);
        (!secret.is_empty()).then(|| Self { digest: gate_key::digest(secret), is_gate_key })
    }
}

/// The evidence in `Authorization`, if the header is there.
pub fn authorization(headers: &HeaderMap) -> Option<Shown<'_>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Shown::Unreadable);
    }
    Some(read(value.as_bytes()).unwrap_or(Shown::Unreadable))
}

fn read(value: &[u8]) -> Option<Shown<'_>> {
    let space = memchr::memchr(b' ', value)?;
    let (scheme, credential) = (value.get(..space)?, value.get(space + 1..)?);
    // More than one word, or a second space, is another credential to some reader.
    if credential.is_empty() || !is_one_word(credential) {
        return None;
    }
    let is = |word: &str| scheme.eq_ignore_ascii_case(word.as_bytes());
    if is("bearer") || is("token") {
        Token::of(credential).map(Shown::Token)
    } else if is("basic") {
        password(credential).map(Shown::Token)
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

/// The password part alone proves: the user part is a name, if it is anything (RFC 7617).
fn password(credential: &[u8]) -> Option<Token> {
    let mut decoded = [0; BASIC_MAX];
    let length = STANDARD.decode_slice(credential, &mut decoded).ok()?;
    let mut parts = decoded.get(..length)?.splitn(2, |byte| *byte == b':');
    let _user = parts.next()?;
    Token::of(parts.next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        let token = Token::of(expected.as_bytes()).unwrap();
        assert!(matches!(read(value.as_bytes()), Some(Shown::Token(shown)) if shown == token), "{value}");
    }

    fn check_unreadable(value: &str) {
        assert!(read(value.as_bytes()).is_none(), "{value:?}");
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
        check("Basic dXNlcjpwYTpzcw==", "pa:ss");
        check("Basic OnB3", "pw");
        check_unreadable("Basic dXNlcg=="); // no colon
        check_unreadable("Basic dXNlcjo="); // no password
        check_unreadable("Basic dXNlcjpwYTpzcw"); // no padding
        check_unreadable("Basic dXNlcjpwYTpzcx=="); // bits beyond the last byte
        check_unreadable(&format!("Basic {}", "A".repeat(4096)));
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
