//! Idle streams by the thousand while policies are reloaded: what a reload costs the requests beside them, how soon all
//! of them are judged, and how soon all are cut. One worker; clients and upstreams are processes of their own.
//!
//! Run: `cargo bench --bench streams`, or with `-- websockets` or `-- http2` for one of the two. The gate has two files
//! open for each WebSocket: 8,000 of them need a limit of 20,000.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "shared/estate.rs"]
mod estate;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use estate::{app_yaml, memory_mib};
use http::{Request, Response};
use scopegate::app::{self, Running};
use scopegate::authz::catalog::builtin;
use scopegate::config;
use scopegate::proxy::listener::ListenAddress;
use sha1::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const WEBSOCKETS: usize = 8_000;
const HTTP2_CONNECTIONS: usize = 500;
const HTTP2_STREAMS: usize = 100;
/// Connections and streams that are opened at one time.
const OPENING: usize = 64;
/// Pairs of a quiet stretch and one with reloads.
const ROUNDS: usize = 6;
const STRETCH: Duration = Duration::from_secs(4);
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// Between two of the other requests.
const REQUEST_EVERY: Duration = Duration::from_millis(1);
const OTHER_APPS: usize = 100;

const CATALOG: &str = "version: 1\nproduct: feed\nrelease: '1'\ndialect: problem\nbases: [/api]\nvocabularies: [oauth]\n\
    containers:\n  - {name: room, id: '[a-z0-9]+'}\n\
    kinds:\n  - {name: oauth, vocabularies: [oauth], actor: app}\n\
    scopes:\n  - {name: read, vocabularies: [oauth]}\n\
    operations:\n  \
    - {id: follow, request: 'GET /rooms/{room}/live', websocket: true, needs: {oauth: [[read]]}, \
      touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: events, request: 'GET /rooms/{room}/events', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n  \
    - {id: brief, request: 'GET /rooms/{room}/brief', needs: {oauth: [[read]]}, touches: {places: [{kind: room, path: room}]}}\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["upstream-http1"] => run(serve_http1()),
        ["upstream-http2"] => run(serve_http2()),
        ["client-websockets", address] => run(open_websockets(address.parse().expect("an address"))),
        ["client-http2", address] => run(open_http2(address.parse().expect("an address"))),
        ["websockets"] => measure(Kind::Websockets),
        ["http2"] => measure(Kind::Http2),
        [] => [Kind::Websockets, Kind::Http2].into_iter().for_each(measure),
        _ => panic!("no such part: {words:?}"),
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Websockets,
    Http2,
}

impl Kind {
    fn count(self) -> usize {
        match self {
            Self::Websockets => WEBSOCKETS,
            Self::Http2 => HTTP2_CONNECTIONS * HTTP2_STREAMS,
        }
    }
}

fn measure(kind: Kind) {
    let (protocol, client) = match kind {
        Kind::Websockets => ("http1", "client-websockets"),
        Kind::Http2 => ("http2", "client-http2"),
    };
    let mut upstream = Part::start(&[&format!("upstream-{protocol}")]);
    let upstream_address: SocketAddr = upstream.line().parse().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let gate = start(folder.path(), upstream_address, protocol);
    let ListenAddress::Tcp(address) = gate.gates[0].clone() else { panic!("the gate listens on TCP") };
    let before = memory_mib("VmRSS");
    let mut client = Part::start(&[client, &address.to_string()]);
    assert_eq!(client.line(), format!("open {}", kind.count()));
    // All have lasted by now.
    std::thread::sleep(Duration::from_secs(2));
    let memory = memory_mib("VmRSS") - before;
    println!(
        "{} {kind:?}: {:.1} KiB of the gate's memory for each",
        kind.count(),
        memory * 1024.0 / kind.count() as f64
    );
    let (mut quiet, mut reloading, mut judged) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        quiet.extend(stretch(address, || ()));
        let reload = || judged.push(reload(&gate, folder.path(), &format!("# {round} {}\n", judged.len()), GRANTED).0);
        reloading.extend(stretch(address, reload));
    }
    let (quiet, reloading) = (Spread::of(quiet), Spread::of(reloading));
    let judged = Spread::of(judged);
    println!("  other requests, no reloads:      {quiet}");
    println!("  other requests, 2 reloads a s:   {reloading}");
    println!("  p99 moves by {:+.2} ms", (reloading.p99 - quiet.p99) * 1e3);
    println!("  published until all were judged: {judged}");
    let began = Instant::now();
    let (judged, cut) = reload(&gate, folder.path(), "", REVOKED);
    assert_eq!(cut, kind.count() as u64);
    assert_eq!(client.line(), "closed");
    println!(
        "  all revoked: judged {:.0} ms after it was published; the last client heard of it {:.0} ms after the file \
              was written",
        judged * 1e3,
        began.elapsed().as_secs_f64() * 1e3
    );
    gate.stop();
}

const GRANTED: &str = "[lobby, hall]";
const REVOKED: &str = "[hall]";

/// The app `feed/x` with the token `x`, whose streams are in the lobby; the other requests are in the hall.
fn policy(rooms: &str) -> String {
    let digest: String = sha2::Sha256::digest("x").iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version: 1\napp: feed/x\nname: x\ncontact: x\ninstallations:\n  - tenant: acme\n    installed_at: \
         2020-01-01T00:00:00Z\n    credentials: [{{method: token, kind: oauth, sha256: \"{digest}\"}}]\ngrants: \
         [{{scopes: [read], actors: [app], in: {{room: {rooms}}}}}]\n"
    )
}

fn start(folder: &Path, upstream: SocketAddr, protocol: &str) -> Running {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies).expect("a folder");
    for app in 0..OTHER_APPS {
        std::fs::write(policies.join(format!("app-{app:05}.yaml")), app_yaml("jira", app, 10)).expect("a file");
    }
    std::fs::write(policies.join("x.yaml"), policy(GRANTED)).expect("a file");
    std::fs::write(folder.join("feed.yaml"), CATALOG).expect("a file");
    let path = folder.join("scopegate.yaml");
    let text = format!(
        "version: 1\npolicies: policies\nsettle: 1ms\ndata_plane: {{threads: 1}}\ngates:\n  - name: feed\n    \
         listen: 127.0.0.1:0\n    catalog: feed.yaml\n    identify: [token]\n    bypass: network\n    \
         upstream: http://{upstream}\n    upstream_protocol: {protocol}\n    tenant: {{fixed: acme}}\n    names: as_written\n    \
         limits: {{upstream_connections_max: 10000, connections_max: 10000}}\n"
    );
    std::fs::write(&path, text).expect("a file");
    let config = config::load(&path, &|name| builtin::catalog(name).is_some()).expect("a configuration");
    let gate = app::start(&config, folder.to_owned(), Some(Box::new(std::io::sink()))).expect("a gate");
    while !gate.readiness.report().ready {
        std::thread::sleep(Duration::from_millis(1));
    }
    gate
}

/// Writes the policy, and returns the seconds from the snapshot to the last judgement, and how many were cut.
fn reload(gate: &Running, folder: &Path, comment: &str, rooms: &str) -> (f64, u64) {
    let before = gate.live.load().generation;
    std::fs::write(folder.join("new"), policy(rooms) + comment).expect("a file");
    std::fs::rename(folder.join("new"), folder.join("policies/x.yaml")).expect("a rename");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut published = gate.live.published();
    runtime.block_on(async {
        published.wait_for(|generation| *generation > before).await.expect("the gate runs");
        let began = Instant::now();
        let cut = gate.fence.streams_judged(before + 1).await;
        (began.elapsed().as_secs_f64(), cut)
    })
}

/// Seconds that other requests took, one after the other, while `reload` is done now and then.
fn stretch(address: SocketAddr, mut reload: impl FnMut()) -> Vec<f64> {
    let asking = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed() < STRETCH {
            let next = Instant::now() + REQUEST_EVERY;
            took.push(ask(&mut stream));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        took
    });
    while !asking.is_finished() {
        std::thread::sleep(RELOAD_EVERY);
        reload();
    }
    asking.join().expect("it asks to the end")
}

fn ask(stream: &mut TcpStream) -> f64 {
    let began = Instant::now();
    stream
        .write_all(b"GET /api/rooms/hall/brief HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer x\r\n\r\n")
        .expect("a request is written");
    let mut answer = Vec::new();
    let mut space = [0; 4096];
    while !answer.ends_with(b"\r\n\r\nhello") {
        let count = stream.read(&mut space).expect("an answer");
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&space[..count]);
    }
    began.elapsed().as_secs_f64()
}

/// How seconds are spread.
struct Spread {
    median: f64,
    p99: f64,
    max: f64,
    count: usize,
}

impl Spread {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds[((seconds.len() - 1) as f64 * part) as usize];
        Self { median: at(0.5), p99: at(0.99), max: at(1.0), count: seconds.len() }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, p99, max] = [self.median, self.p99, self.max].map(|seconds| seconds * 1e3);
        write!(f, "median {median:.2} ms, p99 {p99:.2} ms, max {max:.2} ms ({})", self.count)
    }
}

/// A process with a part in the measure. It ends with this one.
struct Part {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Part {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        let mut child =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a part until the measure ends.
fn run(part: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(part);
}

async fn serve_http1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            while let Some(head) = read_head(&mut stream).await {
                let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
                let answer = match key {
                    Some(key) => opened(key),
                    None => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The next head, byte by byte: nothing behind it is taken.
async fn read_head<R: tokio::io::AsyncRead + Unpin>(stream: &mut R) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn opened(key: &str) -> String {
    let proof = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let proof = base64::engine::general_purpose::STANDARD.encode(proof);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {proof}\r\n\r\n"
    )
}

async fn serve_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let is_brief = request.uri().path().ends_with("/brief");
                    let answer = Response::builder();
                    let answer = if is_brief { answer.header("content-length", 5) } else { answer };
                    let answer = answer.body(()).expect("an answer");
                    let Ok(mut stream) = respond.send_response(answer, false) else { return };
                    if is_brief {
                        let _ = stream.send_data("hello".into(), true);
                        return;
                    }
                    let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
                });
            }
        });
    }
}

async fn open_websockets(address: SocketAddr) {
    let places = Arc::new(Semaphore::new(OPENING));
    let opened = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..WEBSOCKETS {
        let (places, opened) = (Arc::clone(&places), Arc::clone(&opened));
        tasks.push(tokio::spawn(async move {
            let place = places.acquire().await.expect("a place");
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
            let ask = "GET /api/rooms/lobby/live HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer x\r\nconnection: upgrade\r\n\
                       upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(ask.as_bytes()).await.expect("sent");
            let head = read_head(&mut stream).await.expect("a head");
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            drop(place);
            count_open(&opened, WEBSOCKETS);
            let mut farewell = Vec::new();
            let _ = stream.read_to_end(&mut farewell).await;
            assert_eq!(&farewell[..4], [0x88, farewell.len() as u8 - 2, 0x03, 0xF0], "closed with 1008");
        }));
    }
    for task in tasks {
        task.await.expect("it is closed as it should be");
    }
    println!("closed");
    std::future::pending::<()>().await;
}

async fn open_http2(address: SocketAddr) {
    let opened = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..HTTP2_CONNECTIONS {
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..HTTP2_STREAMS {
            sender = sender.ready().await.expect("room");
            let request = Request::builder().uri(format!("http://{address}/api/rooms/lobby/events"));
            let request = request.header("authorization", "Bearer x").body(()).expect("a request");
            answers.push(sender.send_request(request, true).expect("sent").0);
        }
        for answer in answers {
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200);
            count_open(&opened, HTTP2_CONNECTIONS * HTTP2_STREAMS);
            tasks.push(tokio::spawn(async move {
                let end = answer.into_body().data().await.expect("no valid end").expect_err("nothing but a reset");
                assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
            }));
        }
    }
    for task in tasks {
        task.await.expect("it is reset as it should be");
    }
    println!("closed");
    std::future::pending::<()>().await;
}

fn count_open(opened: &AtomicUsize, all: usize) {
    if opened.fetch_add(1, Ordering::SeqCst) + 1 == all {
        println!("open {all}");
    }
}
