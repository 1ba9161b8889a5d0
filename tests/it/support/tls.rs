//! Authorities, the certificates that they issue, and both ends of a TLS connection on blocking sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer, KeyPair,
    NameConstraints,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::client::Client;
use super::upstream::DEADLINE;

/// Somebody who issues certificates.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf, and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::of(name, None)
    }

    /// One that may issue for this domain and what lies below it.
    pub fn only_for(name: &str, domain: &str) -> Self {
        Self::of(name, Some(domain))
    }

    fn of(name: &str, domain: Option<&str>) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.name_constraints = domain.map(|domain| NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, name: &str) -> Issued {
        self.issue_as(CertificateParams::new(vec![name.to_owned()]).expect("a name"))
    }

    pub fn issue_as(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { chain: leaf.pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    /// A server that shows it, by the library alone.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth().with_single_cert(certificates(&self.chain), key);
        Arc::new(config.expect("a pair"))
    }

    pub fn leaf(&self) -> CertificateDer<'static> {
        certificates(&self.chain).swap_remove(0)
    }
}

/// A client that believes these authorities.
pub fn client(authorities: &[&Authority]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(certificates(&authority.pem).swap_remove(0)).expect("a root");
    }
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    config.expect("versions").with_root_certificates(roots).with_no_client_auth()
}

/// A client's end over any stream. Nothing is sent yet.
pub fn over<T: Read + Write>(stream: T, config: ClientConfig, name: &str) -> StreamOwned<ClientConnection, T> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a session"), stream)
}

/// A TLS client of this address.
pub fn connect(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> Client<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    Client::new(over(stream, config, name))
}

/// The bytes of a client's first flight.
pub fn hello(name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut session = ClientConnection::new(Arc::new(client(&[])), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a hello");
    bytes
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("certificates")
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
