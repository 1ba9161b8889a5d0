//! Opening a connection to an upstream: TCP, through a proxy or not, or a Unix socket; and TLS over it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::HeaderValue;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::SendError;
use super::public::is_public;
use super::via::{Via, ViaError};
use crate::proxy::counters::IoCounters;
use crate::proxy::tls::{HTTP_1_1, HTTP_2, Protocols, Trust, UPSTREAM_PROTOCOLS};
use crate::proxy::transport::Transport;

/// Where an upstream is.
#[derive(Debug, Clone)]
pub enum Address {
    /// Host name or address, and port.
    Tcp {
        host: String,
        port: u16,
        /// The proxy that leads there. With one, nothing ever goes there without it.
        via: Option<Arc<Via>>,
    },
    Unix(PathBuf),
    /// A host that answers lead to. Its name is the catalog's, but its addresses are whoever's that answers for the name:
    /// only public ones count, unless the configuration fixed one.
    Elsewhere {
        host: String,
        port: u16,
        fixed: Option<SocketAddr>,
        /// As for [`Address::Tcp`]. The proxy resolves the name then, so it is the proxy that must lead to none but public
        /// addresses.
        via: Option<Arc<Via>>,
    },
}

/// What a server must show before it is told anything.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whom its certificate must name.
    pub name: ServerName<'static>,
    pub trust: Arc<Trust>,
}

/// Which versions of HTTP an upstream is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Speaks {
    /// HTTP/2 where the upstream agrees to it (ALPN, so over TLS alone), else HTTP/1.1.
    #[default]
    Either,
    Http1,
    /// HTTP/2 and nothing else; without TLS by prior knowledge (RFC 9113 §3.3).
    Http2,
}

impl Speaks {
    /// What is offered in the handshake of TLS.
    fn offered(self) -> Protocols {
        match self {
            Self::Either => UPSTREAM_PROTOCOLS,
            Self::Http1 => &[HTTP_1_1],
            Self::Http2 => &[HTTP_2],
        }
    }
}

/// An upstream: where it is, and what it is called in `Host`. Shared by the workers.
#[derive(Debug)]
pub struct Target {
    pub address: Address,
    pub tls: Option<Tls>,
    pub host: HeaderValue,
    pub speaks: Speaks,
    /// Connections open now, over all workers.
    pub(super) open: AtomicUsize,
}

impl Target {
    pub fn new(address: Address, tls: Option<Tls>, host: HeaderValue, speaks: Speaks) -> Arc<Self> {
        Arc::new(Self { address, tls, host, speaks, open: AtomicUsize::new(0) })
    }

    /// The same upstream, asked in these versions.
    pub fn speaking(&self, speaks: Speaks) -> Arc<Self> {
        Self::new(self.address.clone(), self.tls.clone(), self.host.clone(), speaks)
    }

    /// `https://host:port` with the given trust; the certificate must be for `host`.
    pub fn https(host: &str, port: u16, trust: Arc<Trust>) -> Result<Arc<Self>, InvalidHost> {
        let header = host_header(host, port, 443)?;
        let address = Address::Tcp { host: host.to_owned(), port, via: None };
        Ok(Self::new(address, Some(Tls::of(host, trust)?), header, Speaks::default()))
    }

    /// `https://host:port` at a public address, or at the one that is fixed.
    pub fn elsewhere(
        host: &str,
        port: u16,
        trust: Arc<Trust>,
        fixed: Option<SocketAddr>,
        via: Option<Arc<Via>>,
    ) -> Result<Arc<Self>, InvalidHost> {
        let written = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let header = host_header(&written, port, 443)?;
        let address = Address::Elsewhere { host: host.to_owned(), port, fixed, via };
        Ok(Self::new(address, Some(Tls::of(host, trust)?), header, Speaks::default()))
    }

    /// `http://host:port`.
    pub fn http(host: &str, port: u16) -> Result<Arc<Self>, InvalidHost> {
        let header = host_header(host, port, 80)?;
        Ok(Self::new(Address::Tcp { host: host.to_owned(), port, via: None }, None, header, Speaks::default()))
    }

    /// A Unix socket; its `Host` is `localhost`, for there is no name in a path.
    pub fn unix(path: impl Into<PathBuf>) -> Arc<Self> {
        Self::new(Address::Unix(path.into()), None, HeaderValue::from_static("localhost"), Speaks::default())
    }

    /// The number of the roots that a connection made now is made under: the upstream's and its proxy's together. It
    /// only grows, so a connection under a smaller one was made under roots that are in force no more.
    pub fn trust_generation(&self) -> u64 {
        let via = match &self.address {
            Address::Tcp { via: Some(via), .. } | Address::Elsewhere { via: Some(via), .. } => via.tls.as_ref(),
            Address::Tcp { via: None, .. } | Address::Elsewhere { via: None, .. } | Address::Unix(_) => None,
        };
        [self.tls.as_ref(), via].into_iter().flatten().map(|tls| tls.trust.generation()).sum()
    }
}

impl Tls {
    /// A certificate for `host`, under `trust`.
    pub fn of(host: &str, trust: Arc<Trust>) -> Result<Self, InvalidHost> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| InvalidHost)?;
        Ok(Self { name, trust })
    }

    /// Shakes hands over `stream`, offering these protocols. A server that is not whom it must be has got nothing but a
    /// greeting.
    pub(super) async fn over(&self, stream: Transport, offered: Protocols) -> io::Result<Transport> {
        let connector = TlsConnector::from(self.trust.offering(offered));
        let stream = connector.connect(self.name.clone(), stream).await?;
        Ok(Transport::Tls(Box::new(stream.into())))
    }
}

/// The text is no host that a request can be sent to.
#[derive(Debug, thiserror::Error)]
#[error("not a host name or address")]
pub struct InvalidHost;

fn host_header(host: &str, port: u16, usual: u16) -> Result<HeaderValue, InvalidHost> {
    let text = if port == usual { host.to_owned() } else { format!("{host}:{port}") };
    HeaderValue::try_from(text).map_err(|_| InvalidHost)
}

/// Why there is no connection.
enum Failed {
    /// Nobody is there, or its name is not known.
    Unreachable(io::Error),
    /// It is not whom it must be, or speaks no TLS.
    Tls(io::Error),
    Via(ViaError),
}

/// Opens a connection by `deadline`, all steps together, and counts what fails.
pub async fn connect(
    target: &Target,
    speaks: Speaks,
    deadline: Instant,
    counters: &IoCounters,
) -> Result<Transport, SendError> {
    // Boxed: handshakes are rare, and their state would else be room in every request.
    let opened = timeout_at(deadline, Box::pin(open_under_one_trust(target, speaks, deadline))).await;
    let failed = match opened {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(failed)) if !failed.is_timeout() => failed,
        Ok(Err(_)) | Err(_) => {
            count(&counters.upstream_connects_timed_out);
            return Err(SendError::ConnectTimeout);
        }
    };
    Err(SendError::Unreachable(match failed {
        Failed::Unreachable(error) => {
            count(&counters.upstream_connects_failed);
            error
        }
        Failed::Tls(error) => {
            count(&counters.upstream_handshakes_failed);
            error
        }
        Failed::Via(error) => {
            count(&counters.via_failed);
            io::Error::other(error)
        }
    }))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A handshake that began under roots that went meanwhile is made once more, under those that came.
async fn open_under_one_trust(target: &Target, speaks: Speaks, deadline: Instant) -> Result<Transport, Failed> {
    loop {
        let generation = target.trust_generation();
        let stream = open(target, speaks, deadline).await?;
        if target.trust_generation() == generation {
            return Ok(stream);
        }
    }
}

async fn open(target: &Target, speaks: Speaks, deadline: Instant) -> Result<Transport, Failed> {
    let stream = match &target.address {
        Address::Tcp { host, port, via: Some(via) } => via.lead_to(host, *port, deadline).await.map_err(Failed::Via)?,
        Address::Tcp { host, port, via: None } => {
            connect_tcp(host, *port, deadline).await.map_err(Failed::Unreachable)?
        }
        Address::Unix(path) => Transport::Unix(UnixStream::connect(path).await.map_err(Failed::Unreachable)?),
        Address::Elsewhere { host, port, fixed, via: Some(via) } => {
            let (host, port) = fixed.map_or((host.clone(), *port), |fixed| (fixed.ip().to_string(), fixed.port()));
            via.lead_to(&host, port, deadline).await.map_err(Failed::Via)?
        }
        Address::Elsewhere { host, port, fixed, via: None } => {
            connect_elsewhere(host, *port, *fixed, deadline).await.map_err(Failed::Unreachable)?
        }
    };
    match &target.tls {
        Some(tls) => tls.over(stream, speaks.offered()).await.map_err(Failed::Tls),
        None => Ok(stream),
    }
}

impl Failed {
    fn is_timeout(&self) -> bool {
        match self {
            Self::Unreachable(error) | Self::Tls(error) | Self::Via(ViaError::Unreachable(error)) => {
                error.kind() == io::ErrorKind::TimedOut
            }
            Self::Via(_) => false,
        }
    }
}

/// Looked up once: what is checked is what is connected to.
async fn connect_elsewhere(
    host: &str,
    port: u16,
    fixed: Option<SocketAddr>,
    deadline: Instant,
) -> io::Result<Transport> {
    let addresses = match fixed {
        Some(address) => vec![address],
        None => resolve(host, port).await?.into_iter().filter(|address| is_public(address.ip())).collect(),
    };
    connect_one(addresses, deadline).await
}

pub(super) async fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<Transport> {
    connect_one(resolve(host, port).await?, deadline).await
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host.trim_matches(['[', ']']), port)).await?.collect())
}

/// Tries each address in the resolver's order. One that swallows packets (IPv6 without a route, say) may not use up the
/// time of the next.
async fn connect_one(addresses: Vec<SocketAddr>, deadline: Instant) -> io::Result<Transport> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(Transport::Tcp(stream));
            }
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}
