//! From `revoke` returning to the last request whose first byte goes upstream, over many trials: requests parked on
//! half-sent bodies, held and not held, over HTTP/1.1 and HTTP/2, and others that keep coming.
//!
//! Each trial revokes everything from one app of fifty. What was parked is sent to its end as soon as the answer is there,
//! then the act is taken back and the same requests are parked anew.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use scopegate::app::Running;
use scopegate::proxy::listener::ListenAddress;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::estate::start_configured;
use crate::start::spread;

const APPS: usize = 50;
/// Connections on which requests keep coming, for the app whose turn it is.
const LOADERS: usize = 4;
const LOAD_EVERY: Duration = Duration::from_micros(500);
/// What the gate wrote before it answered has long been read by then: what comes later was written later.
const MARK: Duration = Duration::from_millis(2);
/// How long what is refused may take to be told so.
const DEADLINE: Duration = Duration::from_secs(10);

const HELD: &str = r#"{"fields":{"project":{"key":"SEC"},"summary":"x"}}"#;
const STREAMED: &str = r#"{"body":"a comment"}"#;

const PASSED: [&str; 5] = ["after the mark", "sent after the answer", "whole bodies", "held", "answers"];
const AFTER_THE_MARK: usize = 0;
const SENT_AFTER: usize = 1;
const WHOLE: usize = 2;
const HELD_CAME: usize = 3;
const ANSWERED: usize = 4;

/// What the whole measure shares.
#[derive(Debug)]
struct Shared {
    began: Instant,
    /// The app whose requests come now, and the one that everything is acknowledged to be taken from; -1: none.
    turn: AtomicUsize,
    revoked: AtomicI64,
    answered_ns: AtomicU64,
    /// Whatever comes upstream now was sent after the answer.
    marked: AtomicBool,
    /// First bytes that came between the answer and the mark: on their way when it was given.
    under_way: AtomicUsize,
    last_ns: AtomicU64,
    /// Of what must not be: first bytes that came after the mark, calls answered that were sent after the answer, bodies
    /// that came whole, held requests that came at all, and answers of the product's to what was parked.
    passed: [AtomicUsize; PASSED.len()],
    uploads: AtomicUsize,
    loaded: AtomicUsize,
    over: AtomicBool,
}

pub fn measure(requests: usize, trials: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = Arc::new(Shared {
        began: Instant::now(),
        turn: AtomicUsize::new(0),
        revoked: AtomicI64::new(-1),
        answered_ns: AtomicU64::new(0),
        marked: AtomicBool::new(false),
        under_way: AtomicUsize::new(0),
        last_ns: AtomicU64::new(0),
        passed: [const { AtomicUsize::new(0) }; PASSED.len()],
        uploads: AtomicUsize::new(0),
        loaded: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let upstream = start_upstream(&shared);
    let gate = gate(folder.path(), upstream);
    let ListenAddress::Tcp(address) = gate.gates[0].clone() else { panic!("the gate listens on TCP") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let admin = folder.path().join("admin.sock");
    let of_kind = (requests / APPS / 4).max(1);
    let tasks = tokio::task::LocalSet::new();
    let began = Instant::now();
    let answers = tasks.block_on(&runtime, async {
        for _ in 0..LOADERS {
            tokio::task::spawn_local(load(address, Arc::clone(&shared)));
        }
        run(address, admin, of_kind, trials, &shared).await
    });
    println!(
        "{trials} trials in {:.0} s with {} requests parked and {} others: passed after the answer: {}; on their way when it \
         was given: {}, the last of them read upstream {:.0} µs after it",
        began.elapsed().as_secs_f64(),
        of_kind * 4 * APPS,
        shared.loaded.load(Ordering::SeqCst),
        shared.all_passed(),
        shared.under_way.load(Ordering::SeqCst),
        shared.last_ns.load(Ordering::SeqCst) as f64 / 1e3,
    );
    println!("  `revoke` over the admin API: {}", spread(answers));
    shared.over.store(true, Ordering::SeqCst);
    gate.stop();
    let kinds = PASSED.iter().zip(&shared.passed).map(|(kind, passed)| (*kind, passed.load(Ordering::SeqCst)));
    assert_eq!(shared.all_passed(), 0, "law 8: {:?}", kinds.collect::<Vec<_>>());
}

fn gate(folder: &Path, upstream: SocketAddr) -> Running {
    std::fs::create_dir(folder.join("policies")).expect("a folder");
    for app in 0..APPS {
        let digest: String = Sha256::digest(token(app)).iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "version: 1\napp: jira/app-{app}\nname: x\ncontact: x\ninstallations:\n  - tenant: acme\n    credentials: \
             [{{method: token, kind: oauth, sha256: \"{digest}\"}}]\ngrants: [{{scopes: ['read:jira-work', \
             'write:jira-work'], actors: [app], in: all}}]\n"
        );
        std::fs::write(folder.join(format!("policies/{app}.yaml")), text).expect("a file");
    }
    let text = format!(
        "version: 1\npolicies: policies\noverrides: state/overrides\nstate: state\nsettle: 1ms\ndata_plane: {{threads: 1}}\n\
         admin: {{listen: 'unix:admin.sock'}}\ngates:\n  - name: jira\n    listen: 127.0.0.1:0\n    product: jira\n    \
         identify: [token]\n    bypass: network\n    upstream: http://{upstream}\n    tenant: {{fixed: acme}}\n    \
         issue_keys: prefix\n    names: as_written\n    limits: {{upstream_connections_max: 10000, connections_max: 10000, \
         max_connection_age: 1d, max_requests_per_connection: 1000000000}}\n"
    );
    start_configured(folder, &text)
}

fn token(app: usize) -> String {
    format!("token-{app}")
}

/// Seconds that each `revoke` took.
async fn run(address: SocketAddr, admin: PathBuf, of_kind: usize, trials: usize, shared: &Shared) -> Vec<f64> {
    let mut apps = Vec::new();
    for app in 0..APPS {
        apps.push(Parked::new(address, app, of_kind, shared).await);
    }
    let mut took = Vec::with_capacity(trials);
    for trial in 0..trials {
        let app = trial % APPS;
        shared.turn.store(app, Ordering::SeqCst);
        let began = Instant::now();
        let order = json!({"act": "revoke", "app": format!("jira/app-{app}"), "all_scopes": true, "reason": "x"});
        let done = ask(&admin, "/api/v1/acts", None, &order).await;
        let now = Instant::now();
        shared.answered_ns.store(nanos(now - shared.began), Ordering::SeqCst);
        shared.revoked.store(i64::try_from(app).expect("a number"), Ordering::SeqCst);
        assert_eq!(done["in_force"]["gates"], 1, "{done}");
        took.push((now - began).as_secs_f64());
        let released = apps[app].release().await;
        tokio::time::sleep(MARK.saturating_sub(now.elapsed())).await;
        shared.marked.store(true, Ordering::SeqCst);
        shared.passed[ANSWERED].fetch_add(released.answers().await, Ordering::SeqCst);
        shared.revoked.store(-1, Ordering::SeqCst);
        shared.marked.store(false, Ordering::SeqCst);
        let path = format!("/api/v1/acts/{}/restore", done["id"].as_str().expect("an id"));
        let back = ask(&admin, &path, done["in_force"]["generation"].as_u64(), &json!({"reason": "x"})).await;
        assert_eq!(back["in_force"]["gates"], 1, "{back}");
        apps[app].park(of_kind, shared).await;
    }
    took
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

async fn ask(admin: &Path, path: &str, if_match: Option<u64>, body: &Value) -> Value {
    let mut stream = UnixStream::connect(admin).await.expect("the admin socket");
    let (body, seen) = (body.to_string(), if_match.map_or(String::new(), |seen| format!("if-match: \"{seen}\"\r\n")));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{seen}content-length: \
         {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// The requests of one app that wait on the other half of their bodies.
struct Parked {
    address: SocketAddr,
    app: usize,
    http1: Vec<TcpStream>,
    http2: SendRequest<Bytes>,
    streams: Vec<(ResponseFuture, SendStream<Bytes>)>,
}

/// What waits for its answers, and must get none but a refusal.
struct Released {
    http1: Vec<TcpStream>,
    streams: Vec<ResponseFuture>,
}

/// Method, target and body: of a body that the gate holds, for a project stands in it, and of one that it passes on.
fn calls(app: usize) -> [(&'static str, String, &'static str); 2] {
    [
        ("POST", "/rest/api/3/issue".to_owned(), HELD),
        ("POST", format!("/rest/api/3/issue/SEC-{}/comment", app + 1), STREAMED),
    ]
}

impl Parked {
    async fn new(address: SocketAddr, app: usize, of_kind: usize, shared: &Shared) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (http2, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::task::spawn_local(connection);
        let mut parked = Self { address, app, http1: Vec::new(), http2, streams: Vec::new() };
        parked.park(of_kind, shared).await;
        parked
    }

    /// Sends all but the last byte of each, and waits until those that are passed on have begun upstream.
    async fn park(&mut self, of_kind: usize, shared: &Shared) {
        let wanted = shared.uploads.load(Ordering::SeqCst) + 2 * of_kind;
        for _ in 0..of_kind {
            for (method, target, body) in calls(self.app) {
                let half = &body[..body.len() - 1];
                let mut stream = TcpStream::connect(self.address).await.expect("a connection");
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\ncontent-type: \
                     application/json\r\ncontent-length: {}\r\n\r\n{half}",
                    token(self.app),
                    body.len()
                );
                stream.write_all(head.as_bytes()).await.expect("it is written");
                self.http1.push(stream);
                let request = http::Request::builder().method(method).uri(format!("http://gate{target}"));
                let request = request.header("authorization", format!("Bearer {}", token(self.app)));
                let request = request.header("content-type", "application/json").header("content-length", body.len());
                let mut ready = self.http2.clone().ready().await.expect("room for a request");
                let (answer, mut rest) = ready.send_request(request.body(()).expect("one"), false).expect("sent");
                rest.send_data(Bytes::from_static(half.as_bytes()), false).expect("room");
                self.streams.push((answer, rest));
            }
        }
        let began = Instant::now();
        while shared.uploads.load(Ordering::SeqCst) < wanted {
            assert!(began.elapsed() < DEADLINE, "what is passed on does not come upstream");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Sends the last byte of each. What was cut already cannot take it.
    async fn release(&mut self) -> Released {
        let mut http1 = std::mem::take(&mut self.http1);
        for stream in &mut http1 {
            let _ = stream.write_all(b"}").await;
        }
        let streams = std::mem::take(&mut self.streams).into_iter().map(|(answer, mut rest)| {
            let _ = rest.send_data(Bytes::from_static(b"}"), true);
            answer
        });
        Released { streams: streams.collect(), http1 }
    }
}

impl Released {
    /// How many were answered by the product.
    async fn answers(self) -> usize {
        let mut passed = 0;
        for mut stream in self.http1 {
            let mut answer = [0; 4096];
            let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await.expect("an answer in time");
            let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
            passed += usize::from(!answer.is_empty() && !answer.contains("x-scopegate-reason: "));
        }
        for answer in self.streams {
            let answer = tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time");
            passed += usize::from(answer.is_ok_and(|answer| !answer.headers().contains_key("x-scopegate-reason")));
        }
        passed
    }
}

/// Asks for the app whose turn it is, over and over.
async fn load(address: SocketAddr, shared: Arc<Shared>) {
    'connections: while !shared.over.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        loop {
            let app = shared.turn.load(Ordering::SeqCst);
            let is_revoked = || shared.revoked.load(Ordering::SeqCst) == i64::try_from(app).expect("a number");
            let revoked = is_revoked();
            let ask = format!(
                "GET /rest/api/3/issue/SEC-{} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\n\r\n",
                app + 1,
                token(app)
            );
            if stream.write_all(ask.as_bytes()).await.is_err() {
                continue 'connections;
            }
            let Some(head) = answer(&mut stream).await else { continue 'connections };
            shared.loaded.fetch_add(1, Ordering::SeqCst);
            // Else it may have been judged once the act was taken back.
            let revoked = revoked && is_revoked();
            if revoked && !head.contains("x-scopegate-reason: ") {
                shared.passed[SENT_AFTER].fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(LOAD_EVERY).await;
        }
    }
}

/// The head of an answer, its body read.
async fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return Some(head.to_owned());
        }
    }
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.unwrap_or(0)
}

/// The product, on a thread of its own.
fn start_upstream(shared: &Arc<Shared>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(product(stream, Arc::clone(&shared)));
            }
        });
    });
    address
}

/// Answers calls on one connection, and notes when the first byte of each came.
async fn product(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let mut first = None;
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut bytes, rest)).expect("text");
            }
            match stream.read_buf(&mut bytes).await {
                Ok(count) if count > 0 => drop(first.get_or_insert_with(|| shared.came())),
                _ => return,
            }
        };
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_upload = target.ends_with("/comment");
        let app = target
            .trim_end_matches("/comment")
            .rsplit_once('-')
            .and_then(|(_, number)| number.parse::<i64>().ok())
            .map_or(-1, |app| app - 1);
        shared.note(method, is_upload, app, first);
        let length = length(&head);
        while bytes.len() < length {
            match stream.read_buf(&mut bytes).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
        bytes.drain(..length);
        if is_upload {
            // Its last byte is sent after the answer, and never before.
            shared.passed[WHOLE].fetch_add(1, Ordering::SeqCst);
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.is_err() {
            return;
        }
    }
}

/// How things stood when a first byte came.
#[derive(Debug, Clone, Copy)]
struct Came {
    revoked: i64,
    marked: bool,
    after_ns: u64,
}

impl Shared {
    fn all_passed(&self) -> usize {
        self.passed.iter().map(|passed| passed.load(Ordering::SeqCst)).sum()
    }

    fn came(&self) -> Came {
        let (marked, revoked) = (self.marked.load(Ordering::SeqCst), self.revoked.load(Ordering::SeqCst));
        let answered = self.answered_ns.load(Ordering::SeqCst);
        Came { revoked, marked, after_ns: nanos(self.began.elapsed()).saturating_sub(answered) }
    }

    fn note(&self, method: &str, is_upload: bool, app: i64, first: Option<Came>) {
        if is_upload {
            self.uploads.fetch_add(1, Ordering::SeqCst);
        } else if method == "POST" {
            // Held, and let go of only after the answer.
            self.passed[HELD_CAME].fetch_add(1, Ordering::SeqCst);
        }
        let Some(came) = first.filter(|came| came.revoked == app && app >= 0) else { return };
        if came.marked {
            self.passed[AFTER_THE_MARK].fetch_add(1, Ordering::SeqCst);
        } else {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            self.last_ns.fetch_max(came.after_ns, Ordering::SeqCst);
        }
    }
}
