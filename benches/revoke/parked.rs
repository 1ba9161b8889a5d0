//! From `revoke` returning to the last request whose first byte goes upstream, over many trials: requests parked on
//! half-sent bodies, held and not held, over HTTP/1.1 and HTTP/2, and others that keep coming.
//!
//! Each trial revokes everything from one app of fifty. What was parked is sent to its end as soon as the answer is there,
//! then the act is taken back and the same requests are parked anew.
//!
//! Both ends of the interval are the kernel's own (see `stamps`): the moment at which the gate wrote the answer to `revoke`,
//! and that at which it wrote the request upstream. Each request is looked at after the fact, so none can be read too late
//! to count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use scopegate::app::Running;
use scopegate::config::model::Listen;
use scopegate::proxy::listener::ListenAddress;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::estate::start_configured;
use crate::product::{self, Call, Seen, length};
use crate::stamps;
use crate::start::spread;

const APPS: usize = 50;
/// Connections on which requests keep coming, for the app whose turn it is.
const LOADERS: usize = 4;
const LOAD_EVERY: Duration = Duration::from_micros(500);
/// How long what is refused may take to be told so, and what is parked to be there.
const DEADLINE: Duration = Duration::from_secs(60);

const HELD: &str = r#"{"fields":{"project":{"key":"SEC"},"summary":"x"}}"#;
const STREAMED: &str = r#"{"body":"a comment"}"#;

const ADMIN: &str = "0123456789abcdef-admin";

/// What the requests that keep coming share.
#[derive(Debug, Default)]
struct Load {
    /// The app whose requests come now.
    turn: AtomicUsize,
    answered: AtomicUsize,
    permitted: Mutex<Vec<Permitted>>,
    over: AtomicBool,
}

/// A request that the product answered: when it was sent to the gate, and when the answer was there. Unix time.
#[derive(Debug, Clone, Copy)]
struct Permitted {
    app: usize,
    asked_ns: u64,
    came_ns: u64,
}

pub fn measure(requests: usize, trials: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (seen, load) = (Arc::<Seen>::default(), Arc::<Load>::default());
    let upstream = product::start(&seen);
    let gate = gate(folder.path(), upstream);
    let ListenAddress::Tcp(address) = gate.gates[0].clone() else { panic!("the gate listens on TCP") };
    let Some(Listen::Tcp(admin)) = gate.admin.clone() else { panic!("so does its admin") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let of_kind = (requests / APPS / 4).max(1);
    let tasks = tokio::task::LocalSet::new();
    let began = Instant::now();
    let mut found = tasks.block_on(&runtime, async {
        let loading = || tokio::task::spawn_local(keep_asking(address, Arc::clone(&load)));
        let loading: Vec<_> = (0..LOADERS).map(|_| loading()).collect();
        let found = run(address, admin, of_kind, trials, &seen, &load).await;
        load.over.store(true, Ordering::SeqCst);
        for one in loading {
            one.await.expect("it ends");
        }
        found
    });
    let took = began.elapsed();
    drop((tasks, runtime));
    gate.stop();
    seen.wait_for_the_last(upstream);
    found.look(&seen, &load);
    println!(
        "{trials} trials in {:.0} s with {} requests parked and {} others:",
        took.as_secs_f64(),
        of_kind * 4 * APPS,
        load.answered.load(Ordering::SeqCst),
    );
    found.tell(&seen);
    assert_eq!(found.passed(&seen), 0, "law 8");
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
    std::fs::write(folder.join("tokens"), format!("bench admin {ADMIN}\n")).expect("a file");
    // What is parked waits for its turn, and nothing else ends it: fifty trials of a starved machine take minutes.
    let limits = "{upstream_connections_max: 10000, connections_max: 10000, max_connection_age: 1d, \
        max_requests_per_connection: 1000000000, idle_timeout: 1d, body_idle_timeout: 1d, request_timeout: 1d, \
        response_timeout: 1d, header_timeout: 5m, connect_timeout: 5m}";
    let text = format!(
        "version: 1\npolicies: policies\noverrides: state/overrides\nstate: state\nsettle: 1ms\ndata_plane: {{threads: 1}}\n\
         admin: {{listen: '127.0.0.1:0', token: {{file: tokens}}}}\ngates:\n  - name: jira\n    listen: 127.0.0.1:0\n    \
         product: jira\n    identify: [token]\n    bypass: network\n    upstream: http://{upstream}\n    \
         tenant: {{fixed: acme}}\n    issue_keys: prefix\n    names: as_written\n    limits: {limits}\n"
    );
    start_configured(folder, &text)
}

fn token(app: usize) -> String {
    format!("token-{app}")
}

async fn run(address: SocketAddr, admin: SocketAddr, of_kind: usize, trials: usize, seen: &Seen, load: &Load) -> Found {
    let mut apps = Vec::new();
    for app in 0..APPS {
        apps.push(Parked::new(address, app, of_kind, seen).await);
    }
    let mut found = Found::default();
    for trial in 0..trials {
        let app = trial % APPS;
        load.turn.store(app, Ordering::SeqCst);
        let (began, ordered_ns) = (Instant::now(), stamps::now());
        let order = json!({"act": "revoke", "app": format!("jira/app-{app}"), "all_scopes": true, "reason": "x"});
        let (done, answered_ns) = ask(admin, "/api/v1/acts", None, &order).await;
        found.took.push(began.elapsed().as_secs_f64());
        assert_eq!(done["in_force"]["gates"], 1, "{done}");
        apps[app].release().await.ends(&mut found.ends).await;
        found.windows[app].push(Window { ordered_ns, answered_ns, taken_back_ns: stamps::now() });
        let path = format!("/api/v1/acts/{}/restore", done["id"].as_str().expect("an id"));
        let (back, _) = ask(admin, &path, done["in_force"]["generation"].as_u64(), &json!({"reason": "x"})).await;
        assert_eq!(back["in_force"]["gates"], 1, "{back}");
        apps[app].park(of_kind, seen).await;
        found.look(seen, load);
    }
    found
}

/// The answer, and when the gate wrote it, in nanoseconds of Unix time.
async fn ask(admin: SocketAddr, path: &str, if_match: Option<u64>, body: &Value) -> (Value, u64) {
    let mut stream = TcpStream::connect(admin).await.expect("the admin listener");
    stamps::stamp(&stream);
    let (body, seen) = (body.to_string(), if_match.map_or(String::new(), |seen| format!("if-match: \"{seen}\"\r\n")));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\nconnection: close\r\ncontent-type: \
         application/json\r\n{seen}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is written");
    let (mut answer, mut answered_ns) = (Vec::new(), None);
    loop {
        let came = stamps::read(&stream, &mut answer).await.expect("an answer");
        if came.bytes == 0 {
            break;
        }
        answered_ns = answered_ns.or(came.at);
    }
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    (serde_json::from_str(body).expect("JSON"), answered_ns.expect("the kernel stamps what comes"))
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
    async fn new(address: SocketAddr, app: usize, of_kind: usize, seen: &Seen) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (http2, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::task::spawn_local(connection);
        let mut parked = Self { address, app, http1: Vec::new(), http2, streams: Vec::new() };
        parked.park(of_kind, seen).await;
        parked
    }

    /// Sends all but the last byte of each, and waits until those that are passed on have begun upstream.
    async fn park(&mut self, of_kind: usize, seen: &Seen) {
        let wanted = seen.uploads.load(Ordering::SeqCst) + 2 * of_kind;
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
        while seen.uploads.load(Ordering::SeqCst) < wanted {
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
    /// Counts how each ended, in words.
    async fn ends(self, ends: &mut BTreeMap<String, usize>) {
        let mut count = |end: Option<&str>| *ends.entry(end.unwrap_or(ANSWERED).to_owned()).or_default() += 1;
        for mut stream in self.http1 {
            let mut answer = [0; 4096];
            let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await.expect("an answer in time");
            let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
            let reason = answer.lines().find_map(|line| line.strip_prefix("x-scopegate-reason: "));
            count(if answer.is_empty() { Some(CUT) } else { reason });
        }
        for answer in self.streams {
            match tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time") {
                Ok(answer) => {
                    count(answer.headers().get("x-scopegate-reason").map(|reason| reason.to_str().expect("text")))
                }
                Err(_) => count(Some(CUT)),
            }
        }
    }
}

/// Asks for the app whose turn it is, over and over.
async fn keep_asking(address: SocketAddr, load: Arc<Load>) {
    'connections: while !load.over.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        while !load.over.load(Ordering::SeqCst) {
            let (app, asked_ns) = (load.turn.load(Ordering::SeqCst), stamps::now());
            let ask = format!(
                "GET /rest/api/3/issue/SEC-{} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\n\r\n",
                app + 1,
                token(app)
            );
            if stream.write_all(ask.as_bytes()).await.is_err() {
                continue 'connections;
            }
            let Some(head) = answer(&mut stream).await else { continue 'connections };
            load.answered.fetch_add(1, Ordering::SeqCst);
            if !head.contains("x-scopegate-reason: ") {
                load.permitted.lock().expect("a list").push(Permitted { app, asked_ns, came_ns: stamps::now() });
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

/// From the answer to a `revoke` to the `restore` being sent, in nanoseconds of Unix time: nothing of the app passes.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// The order was sent.
    ordered_ns: u64,
    answered_ns: u64,
    taken_back_ns: u64,
}

const ANSWERED: &str = "answered by the product";
const CUT: &str = "cut";

/// What the trials found.
#[derive(Debug)]
struct Found {
    /// Seconds that each `revoke` took.
    took: Vec<f64>,
    /// By app, in their order.
    windows: Vec<Vec<Window>>,
    /// How what was parked ended.
    ends: BTreeMap<String, usize>,
    /// Requests that were written upstream within a window.
    written: usize,
    /// Those that were sent to the gate within one, and answered by the product.
    permitted: usize,
    /// Those that were written while an order was carried out: they show that there was something to be stopped.
    meanwhile: usize,
    /// Those that were written before an answer and read upstream after it, and how long after it, at the most.
    under_way: usize,
    read_after_ns: u64,
    /// How long before an answer the last of its app was written, at the least.
    nearest_ns: Option<u64>,
}

impl Default for Found {
    fn default() -> Self {
        let (windows, ends) = (vec![Vec::new(); APPS], BTreeMap::new());
        let (written, permitted, meanwhile, under_way, read_after_ns) = (0, 0, 0, 0, 0);
        let (took, nearest_ns) = (Vec::new(), None);
        Self { took, windows, ends, written, permitted, meanwhile, under_way, read_after_ns, nearest_ns }
    }
}

impl Found {
    /// Looks at what came since. Call it at the end of a trial: each window in which it may have come is known then.
    fn look(&mut self, seen: &Seen, load: &Load) {
        for call in seen.take_calls() {
            self.call(call);
        }
        for Permitted { app, asked_ns, came_ns } in std::mem::take(&mut *load.permitted.lock().expect("a list")) {
            self.permitted += usize::from(self.is_taken(app, asked_ns, came_ns));
        }
    }

    fn call(&mut self, Call { app, sent_ns, read_ns }: Call) {
        self.written += usize::from(self.is_taken(app, sent_ns, sent_ns));
        let windows = &self.windows[app];
        let Some(next) = windows.get(windows.partition_point(|window| window.answered_ns <= sent_ns)) else { return };
        self.meanwhile += usize::from(sent_ns >= next.ordered_ns);
        let before_ns = next.answered_ns - sent_ns;
        self.nearest_ns = Some(self.nearest_ns.map_or(before_ns, |nearest| nearest.min(before_ns)));
        if read_ns > next.answered_ns {
            self.under_way += 1;
            self.read_after_ns = self.read_after_ns.max(read_ns - next.answered_ns);
        }
    }

    /// Whether everything was taken from the app all the while.
    fn is_taken(&self, app: usize, from_ns: u64, to_ns: u64) -> bool {
        let windows = &self.windows[app];
        let begun = windows.partition_point(|window| window.answered_ns <= from_ns);
        begun.checked_sub(1).is_some_and(|last| to_ns <= windows[last].taken_back_ns)
    }

    /// All that must not be.
    fn passed(&self, seen: &Seen) -> usize {
        let answered = self.ends.get(ANSWERED).copied().unwrap_or(0);
        // The last byte of an upload, and of what is held, is sent after the answer, and never before.
        let (whole, held) = (seen.whole.load(Ordering::SeqCst), seen.held.load(Ordering::SeqCst));
        self.written + self.permitted + answered + whole + held
    }

    fn tell(&self, seen: &Seen) {
        println!(
            "  passed after the answer: {} ({} written upstream, {} others sent and permitted, {} bodies whole, {} held \
             requests)",
            self.passed(seen),
            self.written,
            self.permitted,
            seen.whole.load(Ordering::SeqCst),
            seen.held.load(Ordering::SeqCst),
        );
        let micros = |ns: u64| ns as f64 / 1e3;
        println!(
            "  written before it: {} since the order was sent, the last {:.0} µs before the answer; {} of them were read upstream \
             after it, up to {:.0} µs",
            self.meanwhile,
            self.nearest_ns.map_or(f64::NAN, micros),
            self.under_way,
            micros(self.read_after_ns),
        );
        println!("  what was parked ended so: {:?}", self.ends);
        println!("  `revoke` over the admin API: {}", spread(self.took.clone()));
    }
}
