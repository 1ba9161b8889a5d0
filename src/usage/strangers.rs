//! Callers that pass because their gate is under `observe`, with a credential that no policy ever named: who they may be is
//! told by the beginning of its digest, and by nothing else of it.

use std::fmt;
use std::sync::Arc;

/// The first 32 bits of the SHA-256 of a credential: enough to tell it among a thousand, and to find it again with
/// `scopegate credential hash`; nobody can be it by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    pub fn of(digest: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = *digest;
        Self([a, b, c, d])
    }
}

/// Eight digits, as the digest begins in a policy.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// One such caller, at one gate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stranger {
    pub gate: Arc<str>,
    pub product: Arc<str>,
    pub tenant: Arc<str>,
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_how_the_digest_begins() {
        let mut digest = [0xff; 32];
        digest[..4].copy_from_slice(&[0x0a, 0x86, 0xd0, 0x01]);
        assert_eq!(Fingerprint::of(&digest).to_string(), "0a86d001");
    }
}
