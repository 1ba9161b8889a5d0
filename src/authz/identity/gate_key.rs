//! Gate keys: credentials that are worth nothing outside the gate.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every gate key begins with, so that a leaked one is recognized.
pub const PREFIX: &str = "sg_";

/// The gate key of 256 random bits.
pub fn mint(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// What the policy keeps of a gate key or token: its SHA-256.
pub fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Whether the text looks like a gate key, known or not.
pub fn has_form(secret: &[u8]) -> bool {
    secret.starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_key_carries_all_256_bits() {
        assert_eq!(mint([0; 32]), format!("sg_{}", "A".repeat(43)));
        assert_ne!(
            mint([0; 32]),
            mint({
                let mut random = [0; 32];
                random[31] = 1;
                random
            })
        );
        assert!(has_form(mint([7; 32]).as_bytes()));
    }

    #[test]
    fn a_digest_is_sha_256() {
        assert_eq!(digest(b"foo")[..4], [0x2c, 0x26, 0xb4, 0x6b]);
    }
}
