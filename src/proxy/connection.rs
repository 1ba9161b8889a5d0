//! One client connection: its handshake, its time bounds, its requests one after the other, its orderly end.
//! It knows nothing of what is asked: each request goes to a service, which cannot fail.

mod io;
mod pace;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::body::{Body, BodyError};
use super::counters::IoCounters;
use super::limits::{BUFFER_BYTES, Limits};
use super::transport::Transport;
use super::worker::Drain;
use io::ClientIo;
use pace::{Over, Pace};

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
}

impl Peer {
    pub fn of_address(address: SocketAddr) -> Self {
        // `::ffff:192.0.2.1` is 192.0.2.1, and a scope id is of this machine only (A09).
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { address: Some(address), sni: None, is_tls: false, forwarded_for: text(address.ip()) }
    }

    pub fn of_unix_socket() -> Self {
        Self { address: None, sni: None, is_tls: false, forwarded_for: None }
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

/// Serves one connection to its end.
pub async fn serve<S, F>(accepted: Accepted, serving: Rc<Serving<S>>)
where
    S: Fn(Rc<Peer>, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let Some((transport, peer)) = shake_hands(accepted, &serving).await else {
        serving.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if converse(transport, Rc::new(peer), &serving).await == Some(Over::TooSlow) {
        serving.counters.timed_out.fetch_add(1, Ordering::Relaxed);
    }
}

async fn shake_hands<S>(accepted: Accepted, serving: &Serving<S>) -> Option<(Transport, Peer)> {
    let (stream, address) = match accepted {
        Accepted::Unix(stream) => return Some((Transport::Unix(stream), Peer::of_unix_socket())),
        Accepted::Tcp(stream, address) => (stream, address),
    };
    let mut peer = Peer::of_address(address);
    let Some(config) = &serving.tls else { return Some((Transport::Tcp(stream), peer)) };
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let stream = timeout(serving.limits.handshake_timeout, handshake).await.ok()?.ok()?;
    peer.is_tls = true;
    peer.sni = stream.get_ref().1.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    Some((Transport::Tls(Box::new(stream.into())), peer))
}

/// The requests of one connection. `None` if it ended by itself.
async fn converse<S, F>(transport: Transport, peer: Rc<Peer>, serving: &Rc<Serving<S>>) -> Option<Over>
where
    S: Fn(Rc<Peer>, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let pace = Rc::new(Pace::start());
    let io = TokioIo::new(ClientIo::new(transport, Rc::clone(&pace)));
    let service = service_fn({
        let (pace, serving) = (Rc::clone(&pace), Rc::clone(serving));
        move |request| {
            pace.head_arrived();
            let answer = (serving.service)(Rc::clone(&peer), request);
            let told = Told(Rc::clone(&pace));
            async move { Ok::<_, Infallible>(answer.await.map(|body| Answer { body, _told: told })) }
        }
    });
    let limits = &serving.limits;
    let connection = protocol(limits).serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut closing = pin!(serving.drain.closing());
    let mut clock = pin!(tokio::time::sleep_until(Instant::now() + limits.header_timeout));
    let (mut is_listening, mut told_to_close) = (false, false);
    std::future::poll_fn(move |context| {
        if connection.as_mut().poll(context).is_ready() {
            // How it ended is of no interest: a client may go at any time.
            return Poll::Ready(None);
        }
        // Polled once, so that the shutdown wakes this task; after that only when there is something to hear.
        let may_hear = !is_listening || serving.drain.is_closing();
        is_listening = true;
        if may_hear && !told_to_close && closing.as_mut().poll(context).is_ready() {
            told_to_close = true;
            connection.as_mut().graceful_shutdown();
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
        }
        pace.poll(clock.as_mut(), limits, context).map(Some)
    })
    .await
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .half_close(false)
        .keep_alive(true)
        // Our own bounds (see `pace`): hyper's would box a timer for each request, and cannot tell an idle
        // connection from a slow head.
        .header_read_timeout(None)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(BUFFER_BYTES.max(limits.header_bytes_max));
    protocol
}

/// Says that the answer is over when it is dropped: the connection is idle then.
struct Told(Rc<Pace>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// An answer's body, with word to the connection when it ends.
struct Answer {
    body: Body,
    _told: Told,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
