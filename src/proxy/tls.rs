//! TLS on both sides, by rustls with ring: what is served, what is trusted, and until when a certificate holds.
//!
//! It opens no file: whoever read the text says which file it is. What text cannot be used is an error, and nothing
//! falls back to less.

mod clients;
mod served;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use clients::AskingClients;
pub use served::{Pair, PairFault, Served};
pub use trust::{Trust, roots_of};

/// The protocols that are spoken, as ALPN names them (RFC 7301).
pub const HTTP_1_1: &[u8] = b"http/1.1";
pub const HTTP_2: &[u8] = b"h2";

/// What a listener agrees to, the most wanted first.
const SERVED_PROTOCOLS: &[&[u8]] = &[HTTP_2, HTTP_1_1];

/// What an upstream is offered, the most wanted first.
pub const UPSTREAM_PROTOCOLS: Protocols = &[HTTP_2, HTTP_1_1];

/// What the proxy of `via` is offered: `CONNECT` is spoken to it over HTTP/1.1 and nothing else.
pub const VIA_PROTOCOLS: Protocols = &[HTTP_1_1];

/// Protocols by their names in ALPN.
pub type Protocols = &'static [&'static [u8]];

/// Why a PEM text cannot be used. Nothing of the text is in it: the text may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    #[error("is not PEM: {0}")]
    NotPem(&'static str),
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds no private key that can be used without a password")]
    NoKey,
    #[error("certificate {number} in it cannot be used: {why}")]
    Certificate { number: usize, why: String },
    #[error("the private key in it cannot be used: {0}")]
    Key(String),
}

/// What a listener needs: it shows whatever `served` holds when a handshake begins. No client certificate is asked
/// for, and no early data is taken (it can be replayed).
///
/// # Errors
/// Never in practice: the provider has the protocol versions that it is asked for.
pub fn server_config(served: Arc<Served>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(served);
    config.alpn_protocols = owned(SERVED_PROTOCOLS);
    Ok(Arc::new(config))
}

/// What a client of the gate's own needs: the roots that it believes, public ones unless written, and what it shows.
///
/// # Errors
/// The roots or the pair cannot be used.
pub fn showing_config(roots: Option<&[u8]>, pair: Option<(&[u8], &[u8])>) -> Result<Arc<ClientConfig>, String> {
    let roots = match roots {
        Some(text) => roots_of(text, false).map_err(|fault| format!("the list of roots {fault}"))?,
        None => trust::public_roots(),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let unusable = |fault: PairFault| match fault {
                PairFault::Chain(fault) => format!("the certificate {fault}"),
                PairFault::Key(fault) => format!("the private key {fault}"),
                PairFault::Mismatch => "the private key is not that of the certificate".to_owned(),
            };
            Pair::of_pem(chain, key).map_err(unusable)?;
            let chain = certificates(chain).map_err(|fault| fault.to_string())?;
            let key = served::private_key(key).map_err(|fault| fault.to_string())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
    };
    config.alpn_protocols = owned(VIA_PROTOCOLS);
    Ok(Arc::new(config))
}

/// What a connection to a server needs that must show a chain to one of `roots`.
fn client_config(roots: RootCertStore, protocols: Protocols) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = owned(protocols);
    Ok(Arc::new(config))
}

fn owned(protocols: Protocols) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}

/// The certificates of a PEM text, in its order; at least one.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    whole(text)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| not_pem(&error))?;
    if found.is_empty() { Err(PemFault::NoCertificate) } else { Ok(found) }
}

/// A text that was cut within the first line of a section would pass for one that ends before it.
fn whole(text: &[u8]) -> Result<(), PemFault> {
    let last = text.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if last.starts_with(b"-") && !last.starts_with(b"-----END ") {
        return Err(PemFault::NotPem("it ends within the first line of a section"));
    }
    Ok(())
}

/// In words of our own: the library's quote the line, and a key on one line would be in the log.
fn not_pem(error: &pem::Error) -> PemFault {
    PemFault::NotPem(match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the first line of a section is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_early_data_is_taken_or_sent() {
        let pair = rcgen::generate_simple_self_signed(["gate.internal".to_owned()]).expect("a certificate");
        let (chain, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let served = Served::new(Pair::of_pem(chain.as_bytes(), key.as_bytes()).expect("a pair"));
        assert_eq!(server_config(served).expect("a config").max_early_data_size, 0);
        let trust = Trust::public(UPSTREAM_PROTOCOLS).expect("trust");
        assert!(!trust.config().enable_early_data);
    }
}
