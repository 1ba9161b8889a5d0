//! One client connection: its handshake, its protocol, its orderly end. What is asked on it is the business of
//! `http1` and `http2`, and they know nothing of it either: each request goes to a service, which cannot fail.

mod http1;
mod http2;
mod io;
mod pace;
mod preface;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, Response};
use rustls::ServerConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::body::Body;
use super::counters::{Ended, IoCounters};
use super::limits::Limits;
use super::source::Source;
use super::transport::Transport;
use super::tunnel;
use super::worker::Drain;
use crate::authz::identity::seen::Seen;
use io::ClientIo;
use preface::Protocol;

/// Who is at the other end of a connection. Facts of the connection, never of a header.
#[derive(Debug)]
pub struct Peer {
    /// The caller's address; `None` behind a Unix socket. IPv4 in IPv6 is IPv4 here.
    pub address: Option<SocketAddr>,
    /// The host name that the TLS handshake asked for, in lower case.
    pub sni: Option<Box<str>>,
    pub is_tls: bool,
    /// The address as `x-forwarded-for` says it; made once for all requests.
    pub forwarded_for: Option<HeaderValue>,
    /// What its last request showed: most show the same.
    pub seen: RefCell<Seen>,
}

impl Peer {
    pub fn of_address(address: SocketAddr) -> Self {
        // `::ffff:192.0.2.1` is 192.0.2.1, and a scope id is of this machine only (A09).
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            address: Some(address),
            sni: None,
            is_tls: false,
            forwarded_for: text(address.ip()),
            seen: RefCell::default(),
        }
    }

    pub fn of_unix_socket() -> Self {
        Self { address: None, sni: None, is_tls: false, forwarded_for: None, seen: RefCell::default() }
    }

    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }
}

fn text(ip: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(ip.to_string()).ok()
}

/// A connection as it was accepted.
#[derive(Debug)]
pub enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// What the connections of one gate on one worker have in common.
#[derive(Debug)]
pub struct Serving<S> {
    pub service: S,
    pub limits: Arc<Limits>,
    pub counters: Arc<IoCounters>,
    pub tls: Option<Arc<ServerConfig>>,
    pub(super) drain: Rc<Drain>,
}

impl From<tunnel::Over> for Ended {
    fn from(over: tunnel::Over) -> Self {
        match over {
            tunnel::Over::Closed | tunnel::Over::Draining | tunnel::Over::Cut => Self::Orderly,
            tunnel::Over::TooSlow => Self::TooSlow,
            tunnel::Over::Malformed(tunnel::Side::Client) => Self::Malformed,
            // The upstream's fault is told in the record of the request.
            tunnel::Over::Malformed(tunnel::Side::Upstream) => Self::Orderly,
        }
    }
}

/// Serves one connection to its end.
pub async fn serve<S, F>(accepted: Accepted, serving: Rc<Serving<S>>)
where
    S: Fn(Rc<Peer>, Request<Source>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let Some((transport, peer)) = shake_hands(accepted, &serving).await else {
        serving.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let mut io = ClientIo::new(transport);
    let peer = Rc::new(peer);
    let protocol = timeout(serving.limits.header_timeout, preface::protocol(&mut io)).await;
    let ended = match protocol {
        Err(_) => Ended::TooSlow,
        Ok(Err(_)) => Ended::Orderly,
        Ok(Ok(Protocol::Http1)) => http1::converse(io, peer, &serving).await,
        Ok(Ok(Protocol::Http2)) => http2::converse(io, peer, &serving).await,
    };
    serving.counters.ended(ended);
}

async fn shake_hands<S>(accepted: Accepted, serving: &Serving<S>) -> Option<(Transport, Peer)> {
    let (stream, address) = match accepted {
        Accepted::Unix(stream) => return Some((Transport::Unix(stream), Peer::of_unix_socket())),
        Accepted::Tcp(stream, address) => (stream, address),
    };
    let mut peer = Peer::of_address(address);
    let Some(config) = &serving.tls else { return Some((Transport::Tcp(stream), peer)) };
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(Transport::Tcp(stream));
    let stream = timeout(serving.limits.handshake_timeout, handshake).await.ok()?.ok()?;
    peer.is_tls = true;
    peer.sni = stream.get_ref().1.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    Some((Transport::Tls(Box::new(stream.into())), peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_spelling() {
        let mapped = Peer::of_address("[::ffff:192.0.2.1]:99".parse().expect("an address"));
        assert_eq!(mapped.address, Some("192.0.2.1:99".parse().expect("an address")));
        assert_eq!(mapped.forwarded_for.expect("a value"), "192.0.2.1");
        let scoped = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 99, 0, 3));
        assert_eq!(Peer::of_address(scoped).forwarded_for.expect("a value"), "fe80::1");
    }
}
