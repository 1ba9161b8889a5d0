//! The admin's connections: few, each bounded in time and size, and never kept by those who prove nothing.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::peer::{Certificate, End, Peer};

/// Connections at one time. An admin has one, a dashboard a few.
const CONNECTIONS_MAX: usize = 64;
/// For a handshake, and for the head of a request from the moment that it may come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Then a connection takes no further request.
const AGE_MAX: Duration = Duration::from_secs(300);
/// For the last request of a connection: longer than any act is waited for.
const LAST_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a head.
const HEAD_MAX_BYTES: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
/// After a failed `accept`, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What TLS is spoken by now, with the number of the authorities that clients are believed by.
pub type TlsNow = Arc<dyn Fn() -> (Arc<ServerConfig>, u64) + Send + Sync>;

/// A bound socket.
pub enum Socket {
    Tcp(TcpListener, Option<TlsNow>),
    Unix(UnixListener),
}

/// One that was accepted.
enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves until it is dropped. No error of a connection ends it.
pub async fn serve(socket: Socket, router: Router) {
    let mut open = Connections::default();
    loop {
        let accepted = match &socket {
            Socket::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
            Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin: no connection could be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let tls = match &socket {
            Socket::Tcp(_, tls) => tls.clone(),
            Socket::Unix(_) => None,
        };
        let router = router.clone();
        open.add(|known| async move {
            // What goes wrong on a connection is its other end's to see.
            let _ = connection(accepted, tls, router, known).await;
        });
    }
}

/// What is open, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<(AbortHandle, Known)>);

/// Whether somebody was let in on a connection.
type Known = Arc<std::sync::OnceLock<Peer>>;

impl Connections {
    /// Whoever holds connections open and proves nothing makes room for the next.
    fn add<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Known) -> F) {
        self.0.retain(|(handle, _)| !handle.is_finished());
        if self.0.len() >= CONNECTIONS_MAX {
            let idle = self.0.iter().position(|(_, known)| !known.get().is_some_and(Peer::is_known));
            let Some((handle, _)) = self.0.remove(idle.unwrap_or(0)) else { return };
            handle.abort();
        }
        let known = Known::default();
        let task = tokio::spawn(serve(Arc::clone(&known)));
        self.0.push_back((task.abort_handle(), known));
    }
}

async fn connection(accepted: Accepted, tls: Option<TlsNow>, router: Router, known: Known) -> Option<()> {
    match (accepted, tls) {
        (Accepted::Unix(stream), _) => {
            let kernel = stream.peer_cred().ok()?;
            requests(stream, End::Unix { uid: kernel.uid(), gid: kernel.gid() }, router, known).await
        }
        (Accepted::Tcp(stream), None) => {
            let end = End::Tcp { local: local(&stream)?, certificate: None };
            requests(stream, end, router, known).await
        }
        (Accepted::Tcp(stream), Some(tls)) => {
            let local = local(&stream)?;
            let (config, generation) = tls();
            let stream = timeout(HEAD_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await.ok()?.ok()?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = leaf.and_then(|leaf| Certificate::read(leaf, generation)).map(Arc::new);
            requests(stream, End::Tcp { local, certificate }, router, known).await
        }
    }
}

/// An IPv4 address that came to a socket of both is the IPv4 address.
fn local(stream: &TcpStream) -> Option<IpAddr> {
    Some(stream.local_addr().ok()?.ip().to_canonical())
}

async fn requests<S>(stream: S, end: End, router: Router, known: Known) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = known.get_or_init(|| Peer::new(end)).clone();
    let routes = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        routes.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_headers(HEADERS_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    if let Ok(ended) = timeout(AGE_MAX, connection.as_mut()).await {
        return ended.ok();
    }
    connection.as_mut().graceful_shutdown();
    timeout(LAST_TIMEOUT, connection).await.ok()?.ok()
}
