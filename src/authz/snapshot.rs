//! Everything a request is judged by, compiled and immutable, with a generation number and a digest.

use std::collections::HashSet;
use std::sync::Arc;

use super::pins::Pins;
use super::policy::Policy;
use super::policy::compile::Catalogs;

/// Catalogs, policy and overrides at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows by one with each published snapshot; a request compares it right before its first byte goes upstream.
    pub generation: u64,
    /// SHA-256 over the documents in force, as lower-case hex.
    pub digest: String,
    pub catalogs: Arc<Catalogs>,
    /// `None` until a whole, settled folder has been read: every request is then refused with `no_policy`.
    pub states: Option<States>,
    /// Digests of credentials that some snapshot named: a gate under `observe` refuses them once their credential is gone.
    pub named: Arc<HashSet<[u8; 32]>>,
    /// What the names in it stand for.
    pub pins: Arc<Pins>,
}

/// The states that must both permit (law 7).
#[derive(Debug, Clone)]
pub struct States {
    /// The newest readable state: what takes away is in force here at once.
    pub newest: Arc<Policy>,
    /// The last whole state, where it is another one: what gives waits for it.
    pub whole: Option<Arc<Policy>>,
}

impl Snapshot {
    /// Before any policy was read.
    pub fn empty(catalogs: Arc<Catalogs>) -> Self {
        Self {
            generation: 0,
            digest: String::new(),
            catalogs,
            states: None,
            named: Arc::default(),
            pins: Arc::default(),
        }
    }
}
