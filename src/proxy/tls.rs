//! TLS on both sides, by rustls with ring: what is served, what is trusted, and until when a certificate holds.
//! A file that cannot be read fails the start; nothing falls back to less.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The one protocol that is spoken, as ALPN names it.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Why a TLS setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: cannot be read as PEM: {reason}", path = path.display())]
    Pem { path: PathBuf, reason: String },
    #[error("{path}: holds no certificate", path = path.display())]
    NoCertificate { path: PathBuf },
    #[error("{path}: is not an X.509 certificate that can be read", path = path.display())]
    NotX509 { path: PathBuf },
    #[error("{path}: {source}", path = path.display())]
    Refused { path: PathBuf, source: rustls::Error },
    #[error(transparent)]
    Provider(#[from] rustls::Error),
}

/// What a listener shows: one certificate chain, leaf first, and its key, both PEM. No client certificate is asked
/// for, and no early data is taken (it can be replayed).
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| TlsError::Refused { path: certificate.to_path_buf(), source })?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}

/// What an upstream must show: a chain to one of Mozilla's roots, or, with `ca`, to one of that file's and no other.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|source| TlsError::Refused { path: path.to_path_buf(), source })?;
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}

/// When the leaf of a PEM chain ends, in Unix seconds: `scopegate_certificate_expiry_timestamp_seconds`.
pub fn expiry_seconds(certificate: &Path) -> Result<i64, TlsError> {
    let chain = certificates(certificate)?;
    let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate { path: certificate.to_path_buf() })?;
    let (_, leaf) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| TlsError::NotX509 { path: certificate.to_path_buf() })?;
    Ok(leaf.validity().not_after.timestamp())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| pem_error(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_path_buf() });
    }
    Ok(chain)
}

fn pem_error(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_path_buf(), reason: error.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path) -> (PathBuf, PathBuf) {
        let pair = rcgen::generate_simple_self_signed(["gate.internal".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        std::fs::write(&certificate, pair.cert.pem()).expect("written");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
        (certificate, key)
    }

    #[test]
    fn a_pair_is_read_and_its_end_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = write_pair(folder.path());
        server_config(&certificate, &key).expect("a server config");
        client_config(Some(&certificate)).expect("a client config");
        // rcgen's default end is the year 4096.
        assert!(expiry_seconds(&certificate).expect("an end") > 60_000_000_000);
    }

    #[test]
    fn a_missing_empty_or_foreign_file_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = write_pair(folder.path());
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").expect("written");
        assert!(matches!(client_config(Some(&empty)), Err(TlsError::NoCertificate { .. })));
        assert!(matches!(client_config(Some(&folder.path().join("gone"))), Err(TlsError::Pem { .. })));
        assert!(server_config(&key, &certificate).is_err());
    }
}
