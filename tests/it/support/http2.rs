//! HTTP/2 on both sides: a client, an upstream that records what it got, and frames written by hand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::upstream::DEADLINE;

/// What an HTTP/2 client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A field that has [`StubHttp2`] answer at once, and let the body go on.
pub const EARLY: &str = "x-early";

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Header fields without compression: literals that are not indexed (RFC 7541 §6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

/// One connection to a gate.
pub struct Client {
    pub runtime: Runtime,
    pub sender: h2::client::SendRequest<Bytes>,
}

impl Client {
    /// By prior knowledge.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(h2::client::Builder::new(), address)
    }

    /// One that takes not a byte of an answer's body.
    pub fn stalled(address: SocketAddr) -> Self {
        let mut protocol = h2::client::Builder::new();
        protocol.initial_window_size(0);
        Self::with(protocol, address)
    }

    fn with(mut protocol: h2::client::Builder, address: SocketAddr) -> Self {
        let runtime = runtime();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            // One answer that is not read leaves room for others.
            protocol.initial_connection_window_size(1024 * 1024);
            let (sender, connection) = protocol.handshake(stream).await.expect("a handshake");
            tokio::spawn(connection);
            sender.ready().await.expect("room for a request")
        });
        Self { runtime, sender }
    }

    /// Sends a request and waits for the whole answer.
    pub fn ask(&mut self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        let body = Bytes::copy_from_slice(body);
        self.runtime.block_on(async {
            let (answer, mut stream) = self.sender.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            let response = timeout(DEADLINE, answer).await.expect("an answer in time")?;
            let (head, body) = response.into_parts();
            let (body, trailers) = timeout(DEADLINE, collect(body)).await.expect("a body in time")?;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
        })
    }

    /// Over TLS, with whatever both sides agree on: it must be HTTP/2.
    pub fn connect_tls(address: SocketAddr, config: &rustls::ClientConfig) -> Self {
        let mut config = rustls::ClientConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let runtime = runtime();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let name = "localhost".try_into().expect("a name");
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
            tokio::spawn(connection);
            sender.ready().await.expect("room for a request")
        });
        Self { runtime, sender }
    }

    pub fn get(&mut self, address: SocketAddr, path: &str) -> Result<Answer, h2::Error> {
        self.ask(get(address, path), b"")
    }
}

pub fn get(address: SocketAddr, path: &str) -> Request<()> {
    Request::builder().uri(format!("http://{address}{path}")).body(()).expect("a request")
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// The whole body.
pub async fn collect(mut body: RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((String::from_utf8_lossy(&text).into_owned(), trailers))
}

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub struct Received {
    pub connection: usize,
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

/// What the upstream does with a request.
pub enum Reply {
    Answer(Response<()>, String),
    /// RST_STREAM with this reason.
    Reset(h2::Reason),
    /// GOAWAY, and nothing of the request.
    GoAway,
    /// Nothing at all.
    Hang,
    /// This, once [`StubHttp2::answer_now`] was called.
    Later(&'static str),
}

impl Reply {
    pub fn ok(body: &str) -> Self {
        Self::Answer(Response::new(()), body.to_owned())
    }
}

#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Received>>,
    arrived: Condvar,
    connections: AtomicUsize,
    /// What is answered later is answered now.
    now: tokio::sync::Notify,
}

/// An upstream that speaks HTTP/2 by prior knowledge, and nothing else.
pub struct StubHttp2 {
    pub address: SocketAddr,
    log: Arc<Log>,
    _runtime: Runtime,
}

impl StubHttp2 {
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(h2::server::Builder::new(), answer)
    }

    pub fn with(protocol: h2::server::Builder, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(protocol, None, answer)
    }

    /// Over TLS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(h2::server::Builder::new(), Some(config.into()), answer)
    }

    fn serve(
        protocol: h2::server::Builder,
        tls: Option<tokio_rustls::TlsAcceptor>,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let log: Arc<Log> = Arc::default();
        let (shared, answer) = (Arc::clone(&log), Arc::new(answer));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (protocol, shared, answer) = (protocol.clone(), Arc::clone(&shared), Arc::clone(&answer));
                match tls.clone() {
                    None => drop(tokio::spawn(converse(stream, protocol, number, shared, answer))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            converse(stream, protocol, number, shared, answer).await;
                        }
                    })),
                }
            }
        });
        Self { address, log, _runtime: runtime }
    }

    pub fn requests(&self) -> Vec<Received> {
        self.log.requests.lock().expect("the log").clone()
    }

    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let requests = self.log.requests.lock().expect("the log");
        let waited = self.log.arrived.wait_timeout_while(requests, DEADLINE, |requests| requests.len() < count);
        let (requests, waited) = waited.expect("the log");
        assert!(!waited.timed_out(), "{count} requests awaited, came: {requests:?}");
        requests.clone()
    }

    /// Answers one request that was to be answered later.
    pub fn answer_now(&self) {
        self.log.now.notify_one();
    }

    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }
}

async fn converse<T, F>(stream: T, protocol: h2::server::Builder, number: usize, log: Arc<Log>, answer: Arc<F>)
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Fn(&Received) -> Reply + Send + Sync + 'static,
{
    let Ok(mut connection) = protocol.handshake::<_, Bytes>(stream).await else { return };
    let (leave, mut left) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let (request, mut respond) = tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok(accepted)) => accepted,
                Some(Err(_)) | None => return,
            },
            Some(()) = left.recv() => {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                continue;
            }
        };
        let (log, answer, leave) = (Arc::clone(&log), Arc::clone(&answer), leave.clone());
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            if head.headers.contains_key(EARLY) {
                let (method, uri) = (head.method.to_string(), head.uri.to_string());
                let headers = head.headers;
                let received =
                    Received { connection: number, method, uri, headers, body: String::new(), trailers: None };
                log.requests.lock().expect("the log").push(received);
                log.arrived.notify_all();
                let mut stream = respond.send_response(Response::new(()), false).expect("answered");
                stream.send_data(Bytes::from_static(b"early"), true).expect("answered");
                // As long as nobody takes it back.
                while let Some(Ok(_)) = body.data().await {}
                return;
            }
            let Ok((body, trailers)) = collect(body).await else { return };
            let (method, uri) = (head.method.to_string(), head.uri.to_string());
            let received = Received { connection: number, method, uri, headers: head.headers, body, trailers };
            log.requests.lock().expect("the log").push(received.clone());
            log.arrived.notify_all();
            match answer(&received) {
                Reply::Answer(head, body) => {
                    let Ok(mut stream) = respond.send_response(head, body.is_empty()) else { return };
                    if !body.is_empty() {
                        let _ = stream.send_data(body.into(), true);
                    }
                }
                Reply::Reset(reason) => respond.send_reset(reason),
                Reply::GoAway => {
                    let _ = leave.send(());
                    std::future::pending::<()>().await;
                }
                Reply::Later(body) => {
                    log.now.notified().await;
                    let mut stream = respond.send_response(Response::new(()), false).expect("answered");
                    stream.send_data(body.into(), true).expect("answered");
                }
                Reply::Hang => {
                    // The stream lives as long as nobody resets it.
                    let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
                }
            }
        });
    }
}
