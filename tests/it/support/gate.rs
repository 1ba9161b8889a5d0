//! A whole gate in this process: configuration, policies and secrets in a folder of its own, before a stub upstream.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use scopegate::app::{self, Running};
use scopegate::authz::identity::gate_key;
use scopegate::config;
use scopegate::config::model::Listen;
use scopegate::proxy::listener::ListenAddress;
use serde_json::Value;

use super::client::{Answer, Client};
use super::upstream::{DEADLINE, Received, StubUpstream, wait_until};

/// What the gate is started from.
pub struct Setup {
    product: &'static str,
    /// Of the gate, by key.
    gate: BTreeMap<&'static str, String>,
    /// Of the whole configuration, by key.
    top: BTreeMap<&'static str, String>,
    /// By path in the folder.
    files: Vec<(String, String)>,
}

impl Setup {
    /// A gate before one Jira site, `acme`. Like those before the other products it asks nothing: the stub knows no answer.
    pub fn jira() -> Self {
        let setup = Self::of("jira")
            .gate("lookups", "off")
            .gate("tenant", "{fixed: acme}")
            .gate("identify", "[gate_key, token, connect_jwt]");
        setup.gate("issue_keys", "prefix").gate("names", "as_written")
    }

    /// A gate before one Slack workspace, `T024BE7LD`.
    pub fn slack() -> Self {
        let setup = Self::of("slack")
            .gate("lookups", "off")
            .gate("tenant", "{fixed: T024BE7LD}")
            .gate("identify", "[gate_key, token]");
        setup.gate("channel_types", "prefix")
    }

    /// A gate before one Bitbucket workspace, `acme`.
    pub fn bitbucket() -> Self {
        Self::of("bitbucket")
            .gate("lookups", "off")
            .gate("tenant", "{fixed: acme}")
            .gate("identify", "[token]")
            .gate("names", "as_written")
    }

    /// A gate before one Confluence site, `acme`.
    pub fn confluence() -> Self {
        Self::of("confluence")
            .gate("lookups", "off")
            .gate("tenant", "{fixed: acme}")
            .gate("identify", "[token]")
            .gate("names", "as_written")
    }

    /// A gate before one Buddy workspace, `acme`.
    pub fn buddy() -> Self {
        Self::of("buddy")
            .gate("lookups", "off")
            .gate("tenant", "{fixed: acme}")
            .gate("identify", "[token]")
            .gate("names", "as_written")
    }

    /// A gate before one site, `acme`, of a product with a catalog of its own.
    pub fn own(product: &'static str, catalog: &str) -> Self {
        let setup = Self::of(product).without("product").gate("catalog", "own.yaml").file("own.yaml", catalog);
        setup.gate("tenant", "{fixed: acme}").gate("identify", "[gate_key, token]")
    }

    fn of(product: &'static str) -> Self {
        let setup = Self { product, gate: BTreeMap::new(), top: BTreeMap::new(), files: Vec::new() };
        let setup = setup
            .gate("product", product)
            .gate("bypass", "network")
            .top("settle", "1ms")
            .top("health", "{listen: 127.0.0.1:0}");
        let setup = setup.top("data_plane", "{threads: 1}").top("log", "{users: plain}");
        setup.top("limits", "{drain_delay: 1ms, drain_timeout: 5s}")
    }

    /// Writes a key of the gate, in place of what it was.
    pub fn gate(mut self, key: &'static str, value: &str) -> Self {
        self.gate.insert(key, value.to_owned());
        self
    }

    /// Takes a key of the gate away.
    pub fn without(mut self, key: &str) -> Self {
        self.gate.remove(key);
        self
    }

    /// Writes a key of the configuration, in place of what it was.
    pub fn top(mut self, key: &'static str, value: &str) -> Self {
        self.top.insert(key, value.to_owned());
        self
    }

    /// A policy file. `sha256(x)` in it is replaced by the digest of `x`.
    pub fn policy(self, name: &str, text: &str) -> Self {
        self.file(&format!("policies/{name}"), &digested(text))
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Before an upstream that answers everything with 200.
    pub fn start(self) -> Gate {
        self.before(StubUpstream::ok())
    }

    pub fn before(self, upstream: StubUpstream) -> Gate {
        let mut gate = self.laid(upstream);
        gate.restart();
        gate
    }

    /// All that it starts from, and nothing started.
    pub fn laid(self, upstream: StubUpstream) -> Gate {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("policies")).expect("a folder");
        for (path, text) in &self.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let text = self.text(upstream.address);
        std::fs::write(folder.path().join("scopegate.yaml"), text).expect("a file");
        Gate { upstream, folder, log: Log::default(), running: None }
    }

    /// The configuration alone, before an upstream that nobody asks.
    pub fn config(&self, upstream: &str) -> String {
        let address = upstream.trim_start_matches("http://").parse().expect("an address");
        self.text(address)
    }

    fn text(&self, upstream: SocketAddr) -> String {
        let mut text =
            format!("version: 1\npolicies: policies\ngates:\n  - name: {}\n    listen: 127.0.0.1:0\n", self.product);
        if !self.gate.contains_key("upstream") {
            let _ = writeln!(text, "    upstream: http://{upstream}");
        }
        for (key, value) in &self.gate {
            let value = value.replace("{upstream}", &upstream.to_string());
            let _ = writeln!(text, "    {key}: {value}");
        }
        for (key, value) in &self.top {
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }
}

/// Replaces `sha256(x)` by the digest of `x`.
pub fn digested(text: &str) -> String {
    let mut parts = text.split("sha256(");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (secret, rest) = part.split_once(')').expect("a closing parenthesis");
        for byte in gate_key::digest(secret.as_bytes()) {
            let _ = write!(out, "{byte:02x}");
        }
        out.push_str(rest);
    }
    out
}

/// A running gate. It stops when it is dropped.
pub struct Gate {
    pub upstream: StubUpstream,
    pub folder: tempfile::TempDir,
    pub log: Log,
    running: Option<Running>,
}

impl Gate {
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Starts it from what is in its folder, and waits until it is ready.
    pub fn restart(&mut self) {
        self.run();
        let running = self.running();
        wait_until("the gate to be ready", || running.readiness.report().ready);
    }

    /// Starts it from what is in its folder, ready or not.
    pub fn run(&mut self) {
        self.running = Some(self.started().unwrap_or_else(|problems| panic!("{problems:#?}")));
    }

    /// Why it does not start from what is in its folder.
    pub fn refuses_to_start(&self) -> String {
        let Err(problems) = self.started() else { panic!("it starts") };
        format!("{problems:?}")
    }

    fn started(&self) -> Result<Running, Vec<scopegate::problem::Problem>> {
        let path = self.folder.path().join("scopegate.yaml");
        let known = |name: &str| scopegate::authz::catalog::builtin::catalog(name).is_some();
        let config = config::load(&path, &known).unwrap_or_else(|problems| panic!("{problems:#?}"));
        app::start(&config, self.folder.path().to_owned(), Some(Box::new(self.log.clone())))
    }

    /// For tests that end it themselves.
    pub fn take(&mut self) -> Running {
        self.running.take().expect("it runs")
    }

    pub fn address(&self) -> SocketAddr {
        match self.running().gates.first() {
            Some(ListenAddress::Tcp(address)) => *address,
            other => panic!("{other:?} is no port"),
        }
    }

    pub fn connect(&self) -> Client<TcpStream> {
        connect(self.address())
    }

    /// Sends text on a connection of its own.
    pub fn raw(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request);
        if request.starts_with("HEAD ") { client.bodiless() } else { client.answer() }
    }

    pub fn ask(&self, ask: &Ask) -> Answer {
        self.raw(&ask.text())
    }

    /// The request passes, and this is what the upstream saw of it.
    #[track_caller]
    pub fn passes(&self, ask: &Ask) -> Received {
        self.passes_raw(&ask.text())
    }

    #[track_caller]
    pub fn passes_raw(&self, request: &str) -> Received {
        let before = self.upstream.requests().len();
        let answer = self.raw(request);
        assert_eq!((answer.status, answer.reason()), (200, None), "{request}\n{}\n{}", answer.head, answer.body);
        let mut requests = self.upstream.wait_for(before + 1);
        assert_eq!(requests.len(), before + 1);
        requests.pop().expect("it came")
    }

    /// The request is refused with this reason, and the upstream sees not a byte of it.
    #[track_caller]
    pub fn refuses(&self, ask: &Ask, reason: &str) -> Answer {
        self.refuses_raw(&ask.text(), reason)
    }

    #[track_caller]
    pub fn refuses_raw(&self, request: &str, reason: &str) -> Answer {
        let seen = self.seen();
        let answer = self.raw(request);
        assert_eq!(answer.reason(), Some(reason), "{request}\n{}\n{}", answer.head, answer.body);
        assert!(answer.has("x-scopegate-decision: "), "{}", answer.head);
        assert_eq!(self.seen(), seen, "the upstream saw something of {request}");
        answer
    }

    /// The request passes, whatever the gate asks the product besides.
    #[track_caller]
    pub fn passes_beside_questions(&self, ask: &Ask) {
        let answer = self.ask(ask);
        assert_eq!((answer.status, answer.reason()), (200, None), "{}\n{}", answer.head, answer.body);
    }

    /// The request is refused with this reason, and the upstream sees nothing but the gate's own questions.
    #[track_caller]
    pub fn refuses_beside(&self, is_question: fn(&Received) -> bool, ask: &Ask, reason: &str) -> Answer {
        let passed_on = || self.upstream.requests().iter().filter(|one| !is_question(one)).count();
        let before = passed_on();
        let answer = self.ask(ask);
        assert_eq!(answer.reason(), Some(reason), "{}\n{}", answer.head, answer.body);
        assert_eq!(passed_on(), before, "the upstream saw it");
        answer
    }

    /// Asks without pause while other work is done: each time it is refused, and the upstream sees nothing.
    pub fn refuses_meanwhile<T>(&self, ask: &Ask, reason: &str, work: impl FnOnce() -> T) -> T {
        super::meanwhile(|| drop(self.refuses(ask, reason)), work)
    }

    /// What the upstream has seen: whole requests, and bytes.
    pub fn seen(&self) -> (usize, usize) {
        (self.upstream.requests().len(), self.upstream.bytes())
    }

    /// Asks the health listener.
    pub fn health(&self, path: &str) -> Answer {
        let Some(Listen::Tcp(address)) = &self.running().health else { panic!("no health listener") };
        let mut client = connect(*address);
        client.send(&format!("GET {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n"));
        client.answer()
    }

    /// The value of a series, by its name and labels as `/metrics` writes them.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.health("/metrics").body;
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a policy file, whole and at once.
    pub fn write_policy(&self, name: &str, text: &str) {
        let temporary = self.path("new");
        std::fs::write(&temporary, digested(text)).expect("a file");
        std::fs::rename(temporary, self.path("policies").join(name)).expect("a rename");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// A raw client of this address.
pub fn connect(address: SocketAddr) -> Client<TcpStream> {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    Client::new(stream)
}

/// A request to be written.
#[derive(Debug, Clone)]
pub struct Ask {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<String>,
}

impl Ask {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), fields: Vec::new(), body: None }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub fn put(target: &str) -> Self {
        Self::new("PUT", target)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this field.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &str) -> Self {
        self.with("content-type", "application/json").body(body)
    }

    pub fn form(self, body: &str) -> Self {
        self.with("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    fn head(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str("host: gate.test\r\n");
        }
        for (name, value) in &self.fields {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text
    }

    pub fn text(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        let length = self.body.as_ref().map_or(String::new(), |body| format!("content-length: {}\r\n", body.len()));
        format!("{}{length}\r\n{body}", self.head())
    }

    /// The same with the body in two chunks, without a length.
    pub fn chunked(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        let (one, other) = body.split_at(body.len() / 2);
        let mut text = format!("{}transfer-encoding: chunked\r\n\r\n", self.head());
        for chunk in [one, other].into_iter().filter(|chunk| !chunk.is_empty()) {
            let _ = write!(text, "{:x}\r\n{chunk}\r\n", chunk.len());
        }
        text + "0\r\n\r\n"
    }

    /// All but the last byte, and that byte.
    pub fn halves(&self) -> (String, String) {
        let mut text = self.text();
        let last = text.split_off(text.len() - 1);
        (text, last)
    }
}

/// The request log, in memory.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.0.lock().expect("the log").extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().expect("the log")).into_owned()
    }

    /// Waits until this many lines were written, and returns all.
    #[track_caller]
    pub fn lines(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + DEADLINE;
        let mut text = self.0.0.lock().expect("the log");
        while text.iter().filter(|byte| **byte == b'\n').count() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{count} lines awaited, came: {}", String::from_utf8_lossy(&text));
            text = self.0.1.wait_timeout(text, left).expect("the log").0;
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The last of this many lines.
    #[track_caller]
    pub fn line(&self, count: usize) -> Value {
        let mut lines = self.lines(count);
        assert_eq!(lines.len(), count);
        lines.pop().expect("a line")
    }
}
