//! The credentials of one compiled policy: from a digest or a client key to who showed it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap as FastMap};

use super::app::{App, Installation};
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
    /// Where what goes upstream, or the secret that proves it, is read from. For comparing two policies.
    pub file: Option<Arc<str>>,
    pub holder: Holder,
}

/// Whose a credential is, in the words of logs and answers. They lie with the credential, so that a Permit takes hold of
/// one thing: each further one would cost it two atomic operations.
#[derive(Debug, Clone)]
pub struct Holder {
    pub app: Arc<str>,
    pub contact: Arc<str>,
    pub tenant: Arc<str>,
    pub tenant_name: Option<Arc<str>>,
}

impl Holder {
    pub fn of(app: &App, installation: &Installation) -> Self {
        Self {
            app: Arc::clone(&app.name),
            contact: Arc::clone(&app.contact),
            tenant: Arc::clone(&installation.tenant),
            tenant_name: installation.tenant_name.clone(),
        }
    }
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
    /// By the name that somebody else vouches for.
    Client {
        by: ClientMethod,
        /// `None`: what the caller showed goes on.
        upstream: Option<Replacement>,
    },
}

/// What goes upstream in the place of what a caller showed.
#[derive(Debug, Clone)]
pub struct Replacement {
    pub scheme: UpstreamScheme,
    /// `None`: the file cannot be read, so the request cannot be sent.
    pub secret: Option<Secret>,
}

/// Who vouches for the name of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientMethod {
    /// An issuer of tokens, by its signature.
    Jwt,
    /// A proxy before the gate, by where it stands.
    TrustedHeader,
}

impl ClientMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::TrustedHeader => "trusted_header",
        }
    }
}

/// A client as it is vouched for, in the tenant of its installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey {
    pub by: ClientMethod,
    /// Empty where there is no other than the gate's own proxies.
    pub issuer: Box<str>,
    pub client: Box<str>,
    pub tenant: Box<str>,
}

/// The same, to look it up by.
#[derive(Debug, Clone, Copy, Hash)]
pub struct ClientName<'n> {
    pub by: ClientMethod,
    pub issuer: &'n str,
    pub client: &'n str,
    pub tenant: &'n str,
}

impl Equivalent<ClientKey> for ClientName<'_> {
    fn equivalent(&self, key: &ClientKey) -> bool {
        self.by == key.by && *self.client == *key.client && *self.tenant == *key.tenant && *self.issuer == *key.issuer
    }
}

/// SHA-256 of a token or gate key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest(pub [u8; 32]);

/// As four numbers. As bytes, whose number would be hashed too, it takes three times as long.
impl Hash for TokenDigest {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0.as_chunks::<8>().0 {
            state.write_u64(u64::from_ne_bytes(*word));
        }
    }
}

/// The credentials of one product.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Hashed under a seed: a policy can write any 32 bytes for a digest, and many that begin alike would else meet in
    /// one place of the table.
    pub by_digest: FastMap<TokenDigest, Arc<KnownCredential>>,
    /// Connect: `iss`.
    pub by_client_key: HashMap<Box<str>, Arc<KnownCredential>>,
    /// Hashed under a seed, as digests are.
    pub by_client: FastMap<ClientKey, Arc<KnownCredential>>,
}

impl Credentials {
    /// Every one of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<KnownCredential>> {
        self.by_digest.values().chain(self.by_client_key.values()).chain(self.by_client.values())
    }
}
