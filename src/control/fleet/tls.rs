//! TLS to the servers of NATS: the roots that the configuration names and no others, read for each connection.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::model::{BucketTls, Roots};

/// What a connection is made with.
///
/// # Errors
/// A file that cannot be used, with why.
pub fn client(tls: &BucketTls) -> Result<ClientConfig, String> {
    let roots = match &tls.roots {
        Roots::Public => public(),
        Roots::File(path) => added(RootCertStore::empty(), path)?,
        Roots::Both(path) => added(public(), path)?,
    };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let Some(shown) = &tls.shown else { return Ok(builder.with_no_client_auth()) };
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", shown.certificate.display());
    let chain = certificates(&shown.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&shown.key).map_err(|error| format!("{}: {error}", shown.key.display()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| said(&error))
}

fn public() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn added(mut roots: RootCertStore, path: &std::path::Path) -> Result<RootCertStore, String> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// All of them, or none: a list of which some cannot be read is not what somebody wrote.
fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|error| said(&error))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|error| said(&error))?;
    if all.is_empty() { Err(said(&"it holds no certificate")) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn what_cannot_be_used_is_no_connection() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("ca.pem");
        let tls = |path: &std::path::Path| BucketTls { roots: Roots::File(path.to_path_buf()), shown: None };
        assert!(client(&tls(&path)).unwrap_err().contains("ca.pem"), "it is not there");
        std::fs::write(&path, "nothing of the kind\n").unwrap();
        assert!(client(&tls(&path)).unwrap_err().contains("holds no certificate"));
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(&path, made.cert.pem()).unwrap();
        assert!(client(&tls(&path)).is_ok());
        assert!(client(&BucketTls { roots: Roots::Public, shown: None }).is_ok());
    }
}
