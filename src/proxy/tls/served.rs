//! The certificate that a listener shows: a whole pair of chain and key, swapped as one.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{PemFault, certificates, not_pem, provider, whole};

/// A chain, leaf first, and the key of its leaf.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    /// When the leaf ends, in Unix seconds.
    pub expires_unix_s: i64,
}

/// Why chain and key are no pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    #[error("{0}")]
    Chain(PemFault),
    #[error("{0}")]
    Key(PemFault),
    #[error("the key is not that of the certificate")]
    Mismatch,
}

impl Pair {
    /// Reads both from PEM text.
    ///
    /// # Errors
    /// One of them cannot be used, or they do not belong together.
    pub fn of_pem(chain: &[u8], key: &[u8]) -> Result<Self, PairFault> {
        let chain = certificates(chain).map_err(PairFault::Chain)?;
        let expires_unix_s = chain.first().map_or(Err(PemFault::NoCertificate), |leaf| end_of(leaf));
        let expires_unix_s = expires_unix_s.map_err(PairFault::Chain)?;
        let key = private_key(key).map_err(PairFault::Key)?;
        let loaded = provider().key_provider.load_private_key(key);
        let loaded = loaded.map_err(|error| PairFault::Key(PemFault::Key(error.to_string())))?;
        let pair = CertifiedKey::new(chain, loaded);
        // A key whose public half cannot be told is not shown to belong to it, so it counts as one that does not.
        pair.keys_match().map_err(|_| PairFault::Mismatch)?;
        Ok(Self { key: Arc::new(pair), expires_unix_s })
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("expires_unix_s", &self.expires_unix_s).finish_non_exhaustive()
    }
}

pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    whole(text)?;
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => PemFault::NoKey,
        error => not_pem(&error),
    })
}

fn end_of(leaf: &[u8]) -> Result<i64, PemFault> {
    let unreadable = |_| PemFault::Certificate { number: 1, why: "it is no X.509 certificate".to_owned() };
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(unreadable)?;
    Ok(leaf.validity().not_after.timestamp())
}

/// What a listener shows now. The `ServerConfig` around it stays, and with it ALPN and the sessions that can be
/// resumed; connections that are open go on.
pub struct Served(ArcSwap<CertifiedKey>);

impl Served {
    pub fn new(pair: Pair) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(pair.key)))
    }

    /// From the next handshake on, this pair and no part of the other.
    pub fn replace(&self, pair: Pair) {
        self.0.store(pair.key);
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served(…)")
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["gate.internal".to_owned()]).expect("a certificate");
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    fn fault(chain: &str, key: &str) -> PairFault {
        Pair::of_pem(chain.as_bytes(), key.as_bytes()).expect_err("no pair")
    }

    #[test]
    fn a_pair_is_read_and_its_end_is_known() {
        let (chain, key) = pem();
        let pair = Pair::of_pem(chain.as_bytes(), key.as_bytes()).expect("a pair");
        // rcgen's default end is the year 4096.
        assert!(pair.expires_unix_s > 60_000_000_000);
        assert!(!format!("{pair:?}").contains("key"));
    }

    #[test]
    fn the_key_of_another_certificate_is_no_pair() {
        let ((chain, key), (other, other_key)) = (pem(), pem());
        assert_eq!(fault(&chain, &other_key), PairFault::Mismatch);
        assert_eq!(fault(&other, &key), PairFault::Mismatch);
        // The leaf comes first: a chain whose second certificate has the key is another's.
        assert_eq!(fault(&format!("{other}{chain}"), &key), PairFault::Mismatch);
    }

    #[test]
    fn no_text_that_was_cut_anywhere_passes_for_a_whole_one() {
        let ((first, key), (second, _)) = (pem(), pem());
        let chain = format!("{}\n{}\n", first.trim_end(), second.trim_end());
        let whole = chain.trim_end().len();
        // At the end of the first certificate the text is a whole one: only time tells that it was being written.
        let (end, first_end) = (whole, first.trim_end().len());
        for cut in 1..end {
            let read = Pair::of_pem(&chain.as_bytes()[..cut], key.as_bytes());
            let is_first_alone = (first_end..=first_end + 1).contains(&cut);
            assert_eq!(read.is_ok(), is_first_alone, "cut at {cut} of {end}: {read:?}");
        }
        for cut in 0..key.trim_end().len() {
            let read = Pair::of_pem(chain.as_bytes(), &key.as_bytes()[..cut]);
            assert!(matches!(read, Err(PairFault::Key(_))), "cut at {cut}: {read:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_key_holds_nothing_of_it() {
        let (chain, key) = pem();
        let on_one_line = key.replace('\n', "");
        let secret: String = key.lines().nth(1).expect("base64").chars().take(16).collect();
        for broken in [on_one_line, key.replace("-----END", "----END"), key.replacen('M', "!", 1)] {
            let fault = fault(&chain, &broken);
            assert!(!format!("{fault} {fault:?}").contains(&secret), "{fault:?}");
        }
    }

    #[test]
    fn an_empty_or_foreign_file_says_what_it_lacks() {
        let (chain, key) = pem();
        assert_eq!(fault("", &key), PairFault::Chain(PemFault::NoCertificate));
        assert_eq!(fault(&key, &chain), PairFault::Chain(PemFault::NoCertificate));
        assert_eq!(fault(&chain, ""), PairFault::Key(PemFault::NoKey));
        assert_eq!(fault(&chain, &chain), PairFault::Key(PemFault::NoKey));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(fault(&chain, &encrypted), PairFault::Key(PemFault::NoKey));
        let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(fault(not_x509, &key), PairFault::Chain(PemFault::Certificate { number: 1, .. })));
    }
}
