//! The credentials of one compiled policy: from a digest or a client key to who showed it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::document::UpstreamScheme;
use crate::authz::catalog::CredentialKindId;

/// What a secret file held when it was last read. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A credential that the policy knows.
#[derive(Debug, Clone)]
pub struct KnownCredential {
    /// Index into the policy's apps.
    pub app: u32,
    /// Index into the app's installations.
    pub installation: u16,
    pub kind: CredentialKindId,
    pub user: Option<Arc<str>>,
    pub pipeline: Option<Arc<str>>,
    pub proof: Proof,
}

/// What the credential proves itself by, and what goes upstream.
#[derive(Debug, Clone)]
pub enum Proof {
    GateKey {
        scheme: UpstreamScheme,
        /// `None`: the file cannot be read, so the request cannot be sent.
        upstream: Option<Secret>,
    },
    Token,
    ConnectJwt {
        /// `None`: the file cannot be read, so nothing verifies.
        secret: Option<Secret>,
    },
}

/// The credentials of one product.
#[derive(Debug, Default)]
pub struct Credentials {
    /// SHA-256 of a token or gate key.
    pub by_digest: HashMap<[u8; 32], Arc<KnownCredential>, BuildHasherDefault<DigestHasher>>,
    /// Connect: `iss`.
    pub by_client_key: HashMap<Box<str>, Arc<KnownCredential>>,
}

/// A digest is uniform already: its first eight bytes are its hash.
#[derive(Debug, Default)]
pub struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks_exact(8).take(1) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    /// The length prefix of an array adds nothing.
    fn write_usize(&mut self, _: usize) {}
}
