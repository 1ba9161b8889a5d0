//! A gate that judges nothing.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use scopegate::proxy::body::{self, Body, HoldError, RequestBody};
use scopegate::proxy::connection::Peer;
use scopegate::proxy::counters::IoCounters;
use scopegate::proxy::forward::Outbound;
use scopegate::proxy::headers;
use scopegate::proxy::limits::Limits;
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::source::Source;
use scopegate::proxy::upstream::{SendError, Target, Upstream};
use scopegate::proxy::websocket;
use scopegate::proxy::worker::{GateListener, Workers, spawn_workers};
use scopegate::shutdown::{Phase, Shutdown};

pub use crate::support::client::{Answer, Client};
use crate::support::upstream::{DEADLINE, StubUpstream};

/// Bounds that a test can wait for.
pub fn quick() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(150),
        handshake_timeout: Duration::from_millis(150),
        write_timeout: Duration::from_millis(150),
        body_timeout: Duration::from_millis(150),
        hold_timeout: Duration::from_millis(150),
        linger_timeout: Duration::from_millis(150),
        connect_timeout: Duration::from_millis(150),
        response_timeout: Duration::from_millis(150),
        stream_timeout: Duration::from_millis(150),
        ..Limits::default()
    }
}

/// A running pass-through gate.
pub struct Gate {
    pub address: ListenAddress,
    pub counters: Arc<IoCounters>,
    pub shutdown: Shutdown,
    pub workers: Option<Workers>,
}

impl Gate {
    pub fn before(upstream: &StubUpstream) -> Self {
        Self::with_limits(upstream, Limits::default())
    }

    pub fn with_limits(upstream: &StubUpstream, limits: Limits) -> Self {
        let target = Target::http("127.0.0.1", upstream.address.port()).expect("a target");
        Self::start(ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address")), target, limits, None)
    }

    /// One worker, so that a second request meets the pool of the first.
    pub fn start(
        address: ListenAddress,
        target: Arc<Target>,
        limits: Limits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        Self::with_workers(1, address, target, limits, tls)
    }

    pub fn with_workers(
        count: usize,
        address: ListenAddress,
        target: Arc<Target>,
        limits: Limits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let (counters, limits) = (Arc::<IoCounters>::default(), Arc::new(limits));
        let generation = Arc::new(AtomicU64::new(1));
        let shutdown = Shutdown::default();
        let listener = GateListener { address, tls, limits: Arc::clone(&limits), counters: Arc::clone(&counters) };
        let service = {
            let (counters, generation) = (Arc::clone(&counters), Arc::clone(&generation));
            move |_gate, _streams: &Rc<_>| {
                let hub = Rc::new(PassThrough {
                    upstream: Upstream::new(
                        Arc::clone(&target),
                        Arc::clone(&limits),
                        Arc::clone(&counters),
                        Arc::clone(&generation),
                    ),
                    limits: Arc::clone(&limits),
                    generation: Arc::clone(&generation),
                });
                move |peer: Rc<Peer>, request| {
                    let hub = Rc::clone(&hub);
                    async move { hub.handle(&peer, request).await }
                }
            }
        };
        let workers = spawn_workers(count, vec![listener], &shutdown.watch(), service).expect("workers");
        let address = workers.addresses.first().expect("an address").clone();
        Self { address, counters, shutdown, workers: Some(workers) }
    }

    pub fn port(&self) -> SocketAddr {
        match &self.address {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("{} is no port", path.display()),
        }
    }

    pub fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.port()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Client::new(stream)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shutdown.advance(Phase::Cut);
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

/// The service: paths say what a hub would have decided.
struct PassThrough {
    upstream: Upstream,
    limits: Arc<Limits>,
    generation: Arc<AtomicU64>,
}

impl PassThrough {
    async fn handle(&self, peer: &Peer, request: Request<Source>) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        if headers::refuse_head(&head).is_some() || headers::check_request(&head.headers).is_err() {
            let mut refused = plain(StatusCode::BAD_REQUEST, "two readings");
            headers::close_after(&mut refused);
            return refused;
        }
        let Ok(handshake) = websocket::asked(&head) else {
            let mut refused = plain(StatusCode::BAD_REQUEST, "no websocket");
            headers::close_after(&mut refused);
            return refused;
        };
        if let Some(sni) = &peer.sni
            && head.uri.path() == "/sni"
        {
            return plain(StatusCode::OK, &format!("{sni} {}", peer.scheme()));
        }
        match head.uri.path() {
            "/refused" => return plain(StatusCode::FORBIDDEN, "refused"),
            "/panic" => panic!("as the test asked"),
            "/move" => {
                self.generation.fetch_add(1, Ordering::SeqCst);
                return plain(StatusCode::OK, "the snapshot moved");
            }
            _ => {}
        }
        let mut body = match self.take(&head.uri, incoming).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let Some(path) = head.uri.path_and_query() else { return plain(StatusCode::BAD_REQUEST, "no path") };
        let mut judged = 0;
        loop {
            judged += 1;
            let generation = self.generation.load(Ordering::SeqCst);
            let write = || {
                // The snapshot moves after the pool looked and before the connection writes: the narrowest gap.
                if judged == 1 && head.uri.path() == "/moved" {
                    self.generation.fetch_add(1, Ordering::SeqCst);
                }
                let host = &self.upstream.target().host;
                let handshake = handshake.as_ref();
                let outbound = Outbound {
                    head: &head,
                    peer,
                    path,
                    host,
                    called: None,
                    replace: &[],
                    links_are_read: false,
                    handshake,
                };
                outbound.to_head()
            };
            match self.upstream.send(generation, write, body, handshake.as_ref()).await {
                Ok(mut response) => {
                    response.headers_mut().insert("judged", judged.into());
                    return response;
                }
                Err(SendError::Moved(back)) if judged < 3 => body = back,
                Err(error) => return plain(StatusCode::BAD_GATEWAY, error.as_str()),
            }
        }
    }

    async fn take(&self, uri: &http::Uri, incoming: Source) -> Result<RequestBody, Response<Body>> {
        if uri.path() != "/held" {
            return Ok(RequestBody::stream(incoming, self.limits.body_timeout));
        }
        let mut place = body::Room::default().place(body::Holder::Stranger);
        let held = body::hold(incoming, self.limits.body_max, self.limits.hold_timeout, &mut place).await;
        held.map(RequestBody::held).map_err(|error| match error {
            HoldError::TooLarge => plain(StatusCode::PAYLOAD_TOO_LARGE, "too large"),
            HoldError::TimedOut => plain(StatusCode::REQUEST_TIMEOUT, "timed out"),
            HoldError::Cut => plain(StatusCode::BAD_REQUEST, "cut"),
            HoldError::NoRoom => plain(StatusCode::SERVICE_UNAVAILABLE, "no room"),
        })
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(text.to_owned()));
    *response.status_mut() = status;
    response
}
