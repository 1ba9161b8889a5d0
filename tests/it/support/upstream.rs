//! A stub upstream on raw sockets: it records every request byte by byte, and answers exactly the bytes it is told to.
//! It parses no more of a request than it takes to find its end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything in a test may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Request line and fields, without the empty line.
    pub head: String,
    /// The body as framed on the wire: chunk sizes and trailers are in it.
    pub body: Vec<u8>,
}

impl Received {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a field, by its name in lower case.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The field's only value.
    pub fn field(&self, name: &str) -> Option<&str> {
        match *self.fields(name) {
            [] => None,
            [one] => Some(one),
            ref several => panic!("{name} came more than once: {several:?}"),
        }
    }

    /// Field names in order, in lower case.
    pub fn names(&self) -> Vec<String> {
        self.head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_lowercase()).collect()
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Write these bytes and go on with the connection.
    Write(Vec<u8>),
    /// Write these bytes and close.
    WriteAndClose(Vec<u8>),
    /// Close without a byte.
    Close,
    /// Say nothing, keep the connection open until the other side closes it.
    Hang,
}

impl Reply {
    /// 200 with a body and its length.
    pub fn ok(body: &str) -> Self {
        Self::raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    pub fn raw(text: &str) -> Self {
        Self::Write(text.as_bytes().to_vec())
    }
}

#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Received>>,
    arrived: Condvar,
    connections: AtomicUsize,
    closed: AtomicUsize,
    bytes: AtomicUsize,
}

/// The stub. Its threads end with the test process.
#[derive(Debug)]
pub struct StubUpstream {
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl StubUpstream {
    /// Answers each request with what `answer` says.
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(move |connection| converse(connection, &answer))
    }

    /// Answers everything with 200 and the text `ok`.
    pub fn ok() -> Self {
        Self::start(|_| Reply::ok("ok"))
    }

    /// Each connection is given to `serve`, raw.
    pub fn serve(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let log: Arc<Log> = Arc::default();
        let shared = Arc::clone(&log);
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                spawn(Wire::Tcp(stream), &shared, &serve);
            }
        });
        Self { address, log }
    }

    /// As [`Self::start`], on a Unix socket.
    pub fn start_unix(path: &Path, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let log: Arc<Log> = Arc::default();
        let shared = Arc::clone(&log);
        let serve = Arc::new(move |connection: Connection| converse(connection, &answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                spawn(Wire::Unix(stream), &shared, &serve);
            }
        });
        Self { address: "0.0.0.0:0".parse().expect("an address"), log }
    }

    /// As [`Self::start`], over TLS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(move |connection| connection.speak_tls(&config, &answer))
    }

    /// Every whole request so far.
    pub fn requests(&self) -> Vec<Received> {
        self.log.requests.lock().expect("the log").clone()
    }

    /// Waits until `count` whole requests came, and returns them.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let requests = self.log.requests.lock().expect("the log");
        let (requests, waited) = self
            .log
            .arrived
            .wait_timeout_while(requests, DEADLINE, |requests| requests.len() < count)
            .expect("the log");
        assert!(!waited.timed_out(), "{count} requests awaited, came: {requests:?}");
        requests.clone()
    }

    /// Connections ever accepted.
    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many connections have ended.
    pub fn wait_for_closed(&self, count: usize) {
        wait_until("connections to end", || self.log.closed.load(Ordering::SeqCst) >= count);
    }

    /// Bytes ever received, of whole requests or not.
    pub fn bytes(&self) -> usize {
        self.log.bytes.load(Ordering::SeqCst)
    }
}

/// Waits for something that another thread brings about.
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        // Not a spin: it would starve whoever waits for a lock that is looked behind.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Writes until nothing more is taken for a while, at most `max` bytes.
pub fn fill(stream: &mut TcpStream, max: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let chunk = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < max {
        match stream.write(&chunk[..chunk.len().min(max - sent)]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    sent
}

/// Writes this many bytes.
pub fn pour(stream: &mut TcpStream, mut left: usize) {
    let chunk = vec![b'x'; 64 * 1024];
    while left > 0 {
        left -= stream.write(&chunk[..chunk.len().min(left)]).expect("taken");
    }
}

fn spawn<F: Fn(Connection) + Send + Sync + 'static>(wire: Wire, log: &Arc<Log>, serve: &Arc<F>) {
    let (log, serve) = (Arc::clone(log), Arc::clone(serve));
    let number = log.connections.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        serve(Connection { number, wire, buffer: Vec::new(), log: Arc::clone(&log) });
        log.closed.fetch_add(1, Ordering::SeqCst);
    });
}

fn converse(mut connection: Connection, answer: &impl Fn(&Received) -> Reply) {
    while let Some(request) = connection.read_request() {
        match answer(&request) {
            Reply::Write(bytes) => {
                if connection.write(&bytes).is_err() {
                    return;
                }
            }
            Reply::WriteAndClose(bytes) => {
                let _ = connection.write(&bytes);
                return;
            }
            Reply::Close => return,
            Reply::Hang => {
                connection.read_to_end();
                return;
            }
        }
    }
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

/// One connection of the stub.
#[derive(Debug)]
pub struct Connection {
    pub number: usize,
    wire: Wire,
    buffer: Vec<u8>,
    log: Arc<Log>,
}

impl Connection {
    /// Each write leaves at once.
    pub fn no_delay(&self) {
        if let Wire::Tcp(stream) = &self.wire {
            stream.set_nodelay(true).expect("no delay");
        }
    }

    /// The next whole request, recorded; `None` at the end of the connection.
    pub fn read_request(&mut self) -> Option<Received> {
        let head = self.read_head()?;
        let mut request = Received { connection: self.number, head, body: Vec::new() };
        request.body = self.read_body(&request)?;
        self.log.requests.lock().expect("the log").push(request.clone());
        self.log.arrived.notify_all();
        Some(request)
    }

    /// Answers each request that comes over TLS.
    pub fn speak_tls(mut self, config: &Arc<rustls::ServerConfig>, answer: impl Fn(&Received) -> Reply) {
        let Wire::Tcp(stream) = self.wire else { return };
        let session = rustls::ServerConnection::new(Arc::clone(config)).expect("a session");
        self.wire = Wire::Tls(Box::new(rustls::StreamOwned::new(session, stream)));
        converse(self, &answer);
    }

    /// The next head alone.
    pub fn read_head(&mut self) -> Option<String> {
        let head = self.read_through(b"\r\n\r\n")?;
        Some(String::from_utf8_lossy(&head).trim_end().to_owned())
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let wire: &mut dyn Write = match &mut self.wire {
            Wire::Tcp(wire) => wire,
            Wire::Unix(wire) => wire,
            Wire::Tls(wire) => wire,
        };
        wire.write_all(bytes)?;
        wire.flush()
    }

    /// Reads more; 0 at the end.
    pub fn read_more(&mut self) -> usize {
        let mut space = [0; 64 * 1024];
        let wire: &mut dyn Read = match &mut self.wire {
            Wire::Tcp(wire) => wire,
            Wire::Unix(wire) => wire,
            Wire::Tls(wire) => wire,
        };
        let count = loop {
            match wire.read(&mut space) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap_or(0),
            }
        };
        self.log.bytes.fetch_add(count, Ordering::SeqCst);
        self.buffer.extend_from_slice(&space[..count]);
        count
    }

    /// Reads until the other side closes, and returns all that was not taken yet.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Takes exactly this many bytes.
    pub fn read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if self.read_more() == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Writes until nothing more is taken for a while, at most `max` bytes; says how many were.
    pub fn fill(&mut self, max: usize) -> usize {
        match &mut self.wire {
            Wire::Tcp(wire) => fill(wire, max),
            Wire::Unix(_) | Wire::Tls(_) => panic!("only TCP is filled"),
        }
    }

    /// Writes this many bytes.
    pub fn pour(&mut self, left: usize) {
        match &mut self.wire {
            Wire::Tcp(wire) => pour(wire, left),
            Wire::Unix(_) | Wire::Tls(_) => panic!("only TCP is filled"),
        }
    }

    fn read_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if self.read_more() == 0 {
                return None;
            }
        }
    }

    fn read_body(&mut self, request: &Received) -> Option<Vec<u8>> {
        if request.field("transfer-encoding").is_some() {
            return self.read_chunked();
        }
        match request.field("content-length") {
            Some(length) => self.read_exact(length.parse().expect("a length")),
            None => Some(Vec::new()),
        }
    }

    fn read_chunked(&mut self) -> Option<Vec<u8>> {
        let mut raw = Vec::new();
        loop {
            let line = self.read_through(b"\r\n")?;
            let size = std::str::from_utf8(&line).expect("a chunk size").trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            raw.extend_from_slice(&line);
            if size == 0 {
                break;
            }
            raw.extend(self.read_exact(size + 2)?);
        }
        loop {
            let line = self.read_through(b"\r\n")?;
            raw.extend_from_slice(&line);
            if line == b"\r\n" {
                return Some(raw);
            }
        }
    }
}
