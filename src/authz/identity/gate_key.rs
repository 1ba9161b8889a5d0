//! Gate keys: credentials that are worth nothing outside the gate.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::digest::generic_array::GenericArray;
use sha2::digest::generic_array::typenum::U64;
use sha2::{Digest, Sha256, compress256};

/// What every gate key begins with, so that a leaked one is recognized.
pub const PREFIX: &str = "sg_";

/// The gate key of 256 random bits.
pub fn mint(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// What the policy keeps of a gate key or token: its SHA-256 (FIPS 180-4).
///
/// Nearly every token fits two blocks. Those are padded here and compressed at once: the way through a buffer that
/// `Sha256` takes, for messages that come in parts, costs as much again as a third of the hash itself.
#[inline]
pub fn digest(secret: &[u8]) -> [u8; 32] {
    let mut blocks = [GenericArray::<u8, U64>::default(); 2];
    let Some(blocks) = pad(secret, &mut blocks) else { return Sha256::digest(secret).into() };
    let mut state = INITIAL;
    compress256(&mut state, blocks);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The first words of the state (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The message, a one bit, zeros, and the length in bits in the last eight bytes (FIPS 180-4 §5.1.1). `None`: it does
/// not fit.
fn pad<'b>(message: &[u8], blocks: &'b mut [GenericArray<u8, U64>; 2]) -> Option<&'b [GenericArray<u8, U64>]> {
    let used = if message.len() < 56 { 1 } else { 2 };
    let blocks = blocks.get_mut(..used)?;
    for (block, part) in blocks.iter_mut().zip(message.chunks(64)) {
        block.get_mut(..part.len())?.copy_from_slice(part);
    }
    *blocks.get_mut(message.len() / 64)?.get_mut(message.len() % 64)? = 0x80;
    let length = blocks.last_mut()?.get_mut(56..)?;
    if message.len() > 64 + 55 {
        return None;
    }
    length.copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
    Some(blocks)
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
        let secret: Vec<u8> = (0..=255).collect();
        for length in 0..=secret.len() {
            let secret = &secret[..length];
            assert_eq!(digest(secret), *Sha256::digest(secret), "{length} bytes");
        }
    }
}
