//! Whom the gate believes when a server shows a certificate: roots that can be replaced, with a number that tells
//! which of them a connection was made under.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore};

use super::{PemFault, Protocols, certificates, client_config, owned};

/// The roots of one PEM text, beside Mozilla's where `with_public`.
///
/// # Errors
/// The text holds no certificate, or one that cannot be used: what is left of it is not what somebody wrote.
pub fn roots_of(text: &[u8], with_public: bool) -> Result<RootCertStore, PemFault> {
    let mut roots = if with_public { public_roots() } else { RootCertStore::empty() };
    for (number, certificate) in (1..).zip(certificates(text)?) {
        let unusable = |error: rustls::Error| PemFault::Certificate { number, why: error.to_string() };
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// Mozilla's list, as compiled in.
pub(super) fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The roots in force.
///
/// Each generation has a configuration of its own, and with it a memory of sessions of its own: what was trusted
/// before is not resumed.
pub struct Trust {
    protocols: Protocols,
    config: ArcSwap<ClientConfig>,
    generation: AtomicU64,
}

impl Trust {
    /// # Errors
    /// Never in practice: the provider has the protocol versions that it is asked for.
    pub fn new(roots: RootCertStore, protocols: Protocols) -> Result<Arc<Self>, rustls::Error> {
        let config = ArcSwap::new(client_config(roots, protocols)?);
        Ok(Arc::new(Self { protocols, config, generation: AtomicU64::new(0) }))
    }

    /// Mozilla's list.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn public(protocols: Protocols) -> Result<Arc<Self>, rustls::Error> {
        Self::new(public_roots(), protocols)
    }

    /// From the next handshake on, these roots and no others. Only one thread may call this.
    ///
    /// # Errors
    /// As [`Self::new`]; the roots in force stay.
    pub fn replace(&self, roots: RootCertStore) -> Result<(), rustls::Error> {
        self.config.store(client_config(roots, self.protocols)?);
        // After the roots: whoever sees the new number finds at least the new roots, so a connection that is noted
        // under a number was not made under older ones.
        self.generation.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The number of the roots in force. A connection that was made under another is not used for a new request.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    /// The same, for a connection on which these protocols are offered.
    pub fn offering(&self, protocols: Protocols) -> Arc<ClientConfig> {
        let config = self.config();
        if protocols == self.protocols {
            return config;
        }
        // A copy of some pointers, once per connection. The memory of sessions is shared.
        let mut other = ClientConfig::clone(&config);
        other.alpn_protocols = owned(protocols);
        Arc::new(other)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tls::UPSTREAM_PROTOCOLS;

    fn ca() -> String {
        rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate").cert.pem()
    }

    #[test]
    fn a_text_is_roots_as_a_whole_or_not_at_all() {
        let both = format!("# the old one\n{}# the new one\n{}", ca(), ca());
        assert_eq!(roots_of(both.as_bytes(), false).expect("roots").len(), 2);
        let public = public_roots().len();
        assert_eq!(roots_of(both.as_bytes(), true).expect("roots").len(), public + 2);
        assert_eq!(roots_of(b"", true).err(), Some(PemFault::NoCertificate));
        assert_eq!(roots_of(b"nothing of the kind\n", true).err(), Some(PemFault::NoCertificate));
        let broken = format!("{both}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let fault = roots_of(broken.as_bytes(), false).expect_err("the third is none");
        assert!(matches!(fault, PemFault::Certificate { number: 3, .. }), "{fault:?}");
        assert!(roots_of(both.as_bytes().split_last_chunk::<40>().expect("longer").0, false).is_err());
    }

    #[test]
    fn new_roots_come_with_a_new_number_and_no_memory_of_sessions() {
        let trust = Trust::new(roots_of(ca().as_bytes(), false).expect("roots"), UPSTREAM_PROTOCOLS).expect("trust");
        let (generation, config) = (trust.generation(), trust.config());
        trust.replace(roots_of(ca().as_bytes(), false).expect("roots")).expect("replaced");
        assert_ne!(trust.generation(), generation);
        assert!(!Arc::ptr_eq(&config, &trust.config()));
        assert_eq!(config.alpn_protocols, trust.config().alpn_protocols);
    }
}
