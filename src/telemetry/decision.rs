//! The id of a decision.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

/// Random bytes fetched at once: one system call for 64 ids.
const POOL_BYTES: usize = 1_024;
const ID_BYTES: usize = 16;

/// 128 random bits as 32 hex digits.
///
/// Not a counter, and not from a generator whose next number can be told from its last: callers see these ids, and
/// whoever could foretell them could ask about another app's decisions, count another app's requests, or tell a
/// hidden container from an absent one. Always of one length, so that two answers differ in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionId([u8; ID_BYTES * 2]);

impl DecisionId {
    /// A new id. Takes no lock.
    pub fn random() -> Self {
        let mut hex = [0; ID_BYTES * 2];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(random_bytes()) {
            if let [high, low] = pair {
                *high = digit(byte >> 4);
                *low = digit(byte & 0x0f);
            }
        }
        Self(hex)
    }

    pub fn as_str(&self) -> &str {
        // Only hex digits are ever written.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for DecisionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

fn random_bytes() -> [u8; ID_BYTES] {
    POOL.with_borrow_mut(Pool::take).unwrap_or_else(hashed_bytes)
}

impl Pool {
    /// `None`: the system gives no random bytes.
    fn take(&mut self) -> Option<[u8; ID_BYTES]> {
        if self.used >= POOL_BYTES {
            getrandom::fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let slot = self.bytes.get_mut(self.used..self.used + ID_BYTES)?;
        let id: [u8; ID_BYTES] = (&*slot).try_into().ok()?;
        // What was given out is not kept: a dump of the memory tells no id that is in use.
        slot.fill(0);
        self.used += ID_BYTES;
        Some(id)
    }
}

/// Keyed SipHash under the standard library's own random keys: what is left when the system gives none.
fn hashed_bytes() -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(std::time::Instant::now()).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_length_and_never_come_twice() {
        let ids: std::collections::HashSet<String> = (0..10_000).map(|_| DecisionId::random().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_ne!(hashed_bytes(), hashed_bytes());
    }
}
