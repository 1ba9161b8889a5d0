//! Opening a connection to an upstream: TCP, TLS over it, or a Unix socket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::proxy::transport::Transport;

/// Where an upstream is.
#[derive(Debug, Clone)]
pub enum Address {
    /// Host name or address, and port.
    Http {
        host: String,
        port: u16,
    },
    Https {
        host: String,
        port: u16,
        name: ServerName<'static>,
        tls: Arc<ClientConfig>,
    },
    Unix(PathBuf),
}

/// An upstream: where it is, and what it is called in `Host`. Shared by the workers.
#[derive(Debug)]
pub struct Target {
    pub address: Address,
    pub host: HeaderValue,
    /// Connections open now, over all workers.
    pub(super) open: AtomicUsize,
}

impl Target {
    pub fn new(address: Address, host: HeaderValue) -> Arc<Self> {
        Arc::new(Self { address, host, open: AtomicUsize::new(0) })
    }

    /// `https://host:port` with the given trust; the certificate must be for `host`.
    pub fn https(host: &str, port: u16, tls: Arc<ClientConfig>) -> Result<Arc<Self>, InvalidHost> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| InvalidHost)?;
        let header = host_header(host, port, 443)?;
        Ok(Self::new(Address::Https { host: host.to_owned(), port, name, tls }, header))
    }

    /// `http://host:port`.
    pub fn http(host: &str, port: u16) -> Result<Arc<Self>, InvalidHost> {
        let header = host_header(host, port, 80)?;
        Ok(Self::new(Address::Http { host: host.to_owned(), port }, header))
    }

    /// A Unix socket; its `Host` is `localhost`, for there is no name in a path.
    pub fn unix(path: impl Into<PathBuf>) -> Arc<Self> {
        Self::new(Address::Unix(path.into()), HeaderValue::from_static("localhost"))
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

/// Opens a connection, by `deadline`. The caller bounds the whole; here the time is shared out among the addresses.
pub async fn connect(address: &Address, deadline: Instant) -> io::Result<Transport> {
    match address {
        Address::Http { host, port } => Ok(Transport::Tcp(connect_tcp(host, *port, deadline).await?)),
        Address::Https { host, port, name, tls } => {
            let stream = connect_tcp(host, *port, deadline).await?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream).await?;
            Ok(Transport::Tls(Box::new(stream.into())))
        }
        Address::Unix(path) => Ok(Transport::Unix(UnixStream::connect(path).await?)),
    }
}

/// Tries each address of the host in the resolver's order. One that swallows packets (IPv6 without a route, say) may
/// not use up the time of the next.
async fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host.trim_matches(['[', ']']), port)).await?.collect();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}
