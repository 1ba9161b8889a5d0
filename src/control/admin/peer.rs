//! Who is at the other end of a connection, as the kernel or a handshake proved it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::config::model::admin::CertificateName;

/// The other end of one connection. Cheap to clone; every request of the connection has it.
#[derive(Debug, Clone)]
pub struct Peer {
    pub(super) end: End,
    /// Somebody was let in on this connection: it is not closed to make room.
    pub(super) known: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
pub(super) enum End {
    /// As the kernel says: the user and the primary group of the process.
    Unix { uid: u32, gid: u32 },
    Tcp {
        /// The address that was connected to.
        local: IpAddr,
        certificate: Option<Arc<Certificate>>,
    },
}

/// A client's certificate whose chain holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub names: Vec<CertificateName>,
    /// When it ends, in Unix seconds. A connection may live longer.
    pub ends_unix_s: i64,
    /// The number of the authorities that it was believed under.
    pub generation: u64,
}

impl Peer {
    pub(super) fn new(end: End) -> Self {
        Self { end, known: Arc::default() }
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }
}

impl Certificate {
    /// `None`: it is no certificate that can be read, so it names nobody.
    pub(super) fn read(leaf: &CertificateDer<'_>, generation: u64) -> Option<Self> {
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let mut names = alternative_names(&leaf)?;
        names.extend(common_name(&leaf));
        Some(Self { names, ends_unix_s: leaf.validity().not_after.timestamp(), generation })
    }
}

fn alternative_names(leaf: &X509Certificate<'_>) -> Option<Vec<CertificateName>> {
    let Some(extension) = leaf.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(CertificateName::Uri((*uri).to_owned())),
        GeneralName::DNSName(dns) => Some(CertificateName::Dns(dns.to_ascii_lowercase())),
        _ => None,
    };
    Some(extension.value.general_names.iter().filter_map(name).collect())
}

/// With two common names it cannot be told which of them is meant.
fn common_name(leaf: &X509Certificate<'_>) -> Option<CertificateName> {
    let mut names = leaf.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    Some(CertificateName::CommonName(name.as_str().ok()?.to_owned()))
}
