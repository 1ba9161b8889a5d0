//! The digest of the token that a connection shows: told once, for nearly every request of a connection shows the same.
//!
//! It hangs on nothing but the bytes of `Authorization`, which are compared whole; who may do what with it is judged for
//! each request.

use std::sync::Arc;

use http::HeaderValue;

use super::{gate_key, token};
use crate::authz::policy::credentials::TokenDigest;

/// The longest value that is remembered, in bytes: a connection that lies idle keeps so much.
pub const SEEN_BYTES_MAX: usize = 4096;

/// What `Authorization` of the last request was.
#[derive(Default)]
pub struct Seen {
    value: Vec<u8>,
    /// `None`: it is no token, nor a gate key. Shared: every request has room for it, and waits with it.
    digest: Option<Arc<TokenDigest>>,
}

impl Seen {
    /// The digest of the token in a value of `Authorization`. `None`: there is none in it, or it is very long.
    #[inline]
    pub fn digest_of(&mut self, value: &HeaderValue) -> Option<Arc<TokenDigest>> {
        if self.value.is_empty() || self.value != value.as_bytes() {
            self.look_at(value);
        }
        self.digest.clone()
    }

    /// Nothing of it stays in memory that is used for something else later.
    fn forget(&mut self) {
        self.value.fill(0);
        self.value.clear();
    }

    #[cold]
    fn look_at(&mut self, value: &HeaderValue) {
        self.forget();
        self.digest = match token::shown(value) {
            token::Shown::Token(token) if value.len() <= SEEN_BYTES_MAX => {
                Some(Arc::new(TokenDigest(gate_key::digest(token))))
            }
            _ => None,
        };
        if self.digest.is_some() {
            self.value.extend_from_slice(value.as_bytes());
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.forget();
    }
}

/// It holds a credential, so it is never printed.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seen: &mut Seen, value: &str) -> Option<[u8; 32]> {
        seen.digest_of(&HeaderValue::from_str(value).unwrap()).map(|digest| digest.0)
    }

    #[test]
    fn a_digest_is_of_this_request_s_token_whatever_was_shown_before() {
        let long = format!("Bearer {}", "a".repeat(SEEN_BYTES_MAX));
        let longest = &long[..SEEN_BYTES_MAX];
        let values =
            ["Bearer one", "Bearer two", "token one", "Basic dTpvbmU=", "", "Bearer a b", &long, longest, "jwt a"];
        let expected = |value: &str| match value {
            "Bearer one" | "token one" => Some(gate_key::digest(b"one")),
            "Bearer two" => Some(gate_key::digest(b"two")),
            value if value == longest => Some(gate_key::digest(&value.as_bytes()[7..])),
            _ => None,
        };
        for first in values {
            for second in values {
                let mut seen = Seen::default();
                for value in [first, second, second, first] {
                    assert_eq!(told(&mut seen, value), expected(value), "{value:.20} after {first:.20}");
                }
            }
        }
    }
}
