//! What a listener speaks TLS by that asks its clients for certificates: the authorities that may have signed them can be
//! replaced, with a number that tells which of them a connection was believed under.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{HTTP_1_1, Served, owned, provider};

/// The configuration in force.
///
/// Each generation has one of its own, and with it a memory of sessions of its own: what was believed before is not
/// resumed.
pub struct AskingClients {
    served: Arc<Served>,
    /// A client without a certificate may still prove itself otherwise.
    optional: bool,
    now: ArcSwap<(Arc<ServerConfig>, u64)>,
}

impl AskingClients {
    /// `authorities`: `None` asks for no certificate. `optional`: whoever shows none is let through the handshake; one
    /// that is shown and does not hold ends it in any case.
    ///
    /// # Errors
    /// There is no authority to believe.
    pub fn new(
        served: Arc<Served>,
        authorities: Option<RootCertStore>,
        optional: bool,
    ) -> Result<Arc<Self>, rustls::Error> {
        let config = config(Arc::clone(&served), authorities, optional)?;
        Ok(Arc::new(Self { served, optional, now: ArcSwap::from_pointee((config, 0)) }))
    }

    /// From the next handshake on, these authorities and no others. Only one thread may call this.
    ///
    /// # Errors
    /// As [`Self::new`]; those in force stay.
    pub fn replace(&self, authorities: RootCertStore) -> Result<(), rustls::Error> {
        let config = config(Arc::clone(&self.served), Some(authorities), self.optional)?;
        let generation = self.generation();
        self.now.store(Arc::new((config, generation + 1)));
        Ok(())
    }

    /// What the next handshake is made by, and the number of its authorities.
    pub fn now(&self) -> (Arc<ServerConfig>, u64) {
        let now = self.now.load();
        (Arc::clone(&now.0), now.1)
    }

    /// The number of the authorities in force.
    pub fn generation(&self) -> u64 {
        self.now.load().1
    }
}

impl fmt::Debug for AskingClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskingClients").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

fn config(
    served: Arc<Served>,
    authorities: Option<RootCertStore>,
    optional: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(served);
    config.alpn_protocols = owned(&[HTTP_1_1]);
    Ok(Arc::new(config))
}
