//! The credentials of one compiled policy: from a digest or a client key to who showed it.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashMap as FastMap;

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
    /// Hashed under a seed: a policy can write any 32 bytes for a digest, and many that begin alike would else meet in
    /// one place of the table.
    pub by_digest: FastMap<[u8; 32], Arc<KnownCredential>>,
    /// Connect: `iss`.
    pub by_client_key: HashMap<Box<str>, Arc<KnownCredential>>,
}
