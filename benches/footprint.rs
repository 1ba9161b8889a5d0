//! Start-up and memory: commands, built-in catalogs, a running gate, its kept connections, and the policy of an estate at
//! rest.
//!
//! Run: `cargo bench --bench footprint`. Everything is measured in a process of its own, since an allocator gives little
//! back; times are medians of several. `-- connections 50 20 500` measures one thing alone: apps, grants, connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "shared/answer.rs"]
mod answer;
#[path = "shared/bare.rs"]
mod bare;
#[path = "shared/estate.rs"]
mod estate;
#[path = "shared/product.rs"]
mod product;

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use answer::Connection;
use bytes::Bytes;
use estate::{Estate, Size, memory_mib, memory_mib_of, start_gate, token, write_policies};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use scopegate::authz::catalog::builtin;

/// How often a time is taken.
const TIMES: usize = 15;
/// A gate that is not ready after so long never is.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The folder must be older than `settle` (500 ms), or the gate waits for it.
const SETTLED: Duration = Duration::from_millis(700);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |text: &str| text.parse().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["catalogs"] => catalogs(),
        ["gate", apps, grants] => gate(Size { apps: number(apps), grants: number(grants) }),
        ["connections", ..] => run(with_all_descriptors(&itself()).arg("connected").args(&arguments[1..])),
        ["connected", apps, grants, count] => {
            connections(Size { apps: number(apps), grants: number(grants) }, number(count))
        }
        ["policy", apps, grants] => policy(Size { apps: number(apps), grants: number(grants) }),
        _ => all(),
    }
}

fn all() {
    let program = env!("CARGO_BIN_EXE_scopegate");
    for words in [&["version"][..], &["catalog", "list"]] {
        let mut times: Vec<Duration> = (0..TIMES).map(|_| timed(Command::new(program).args(words))).collect();
        times.sort_unstable();
        println!("scopegate {:<20} {:>8.1?} (least {:.1?})", words.join(" "), times[TIMES / 2], times[0]);
    }
    for words in [
        &["catalogs"][..],
        &["gate", "50", "10"],
        &["gate", "50", "20"],
        &["gate", "1000", "10"],
        &["connections", "50", "20", "500"],
        &["connections", "50", "20", "2000"],
        &["policy", "10000", "10"],
        &["policy", "10000", "100"],
    ] {
        run(Command::new(itself()).args(words));
    }
}

fn itself() -> PathBuf {
    std::env::current_exe().expect("this program")
}

fn run(command: &mut Command) {
    assert!(command.status().expect("a process").success());
}

/// A program that may open as many files as the system lets it: 2,000 connections are more than the usual 1,024.
fn with_all_descriptors(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""]).arg(program);
    command
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command.output().expect("the program");
    let took = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

fn rest() -> String {
    format!("{:.1} MiB at rest, {:.1} at the peak", memory_mib("VmRSS"), memory_mib("VmHWM"))
}

fn catalogs() {
    let start = Instant::now();
    let all = builtin::products().filter_map(|(product, _)| builtin::catalog(product));
    let operations: usize = all.map(|catalog| catalog.operations.len()).sum();
    println!("both catalogs, {operations} operations: {:.1?}; {}", start.elapsed(), rest());
}

fn gate(size: Size) {
    let folder = tempfile::tempdir().expect("a folder");
    write_policies(folder.path(), size);
    std::thread::sleep(SETTLED);
    let start = Instant::now();
    let gate = start_gate(folder.path(), "127.0.0.1:9".parse().expect("an address"), "500ms");
    println!("a gate with {} apps × {}: ready in {:.1?}; {}", size.apps, size.grants, start.elapsed(), rest());
    gate.stop();
}

/// The program itself with two workers, and connections to it that are kept after one request each. The clients and the
/// upstream are in this process, so that what is told is the gate's alone.
fn connections(size: Size, count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    write_policies(folder.path(), size);
    std::thread::sleep(SETTLED);
    let served = Served::start(folder.path(), upstream());
    let request = format!(
        "GET /rest/api/3/issue/PROJ-1?fields=summary,assignee HTTP/1.1\r\nhost: jira.gate.internal\r\n\
         authorization: Bearer {}\r\naccept: application/json\r\nuser-agent: assist/2.7.1\r\n\r\n",
        token("jira", 7)
    );
    let connect = || {
        let stream = TcpStream::connect(served.gate).expect("a connection");
        let mut connection = Connection::new(stream);
        connection.stream.write_all(request.as_bytes()).expect("a request is written");
        assert!(connection.answer().starts_with(b"{"));
        connection.stream
    };
    // What the first request needs once is no connection's.
    drop(connect());
    let before = served.memory_mib();
    let kept: Vec<TcpStream> = (0..count).map(|_| connect()).collect();
    let with = served.memory_mib();
    println!(
        "the program with {} apps × {}: {before:.1} MiB; {with:.1} with {} kept connections: {:.1} KiB each",
        size.apps,
        size.grants,
        kept.len(),
        (with - before) * 1024.0 / kept.len() as f64
    );
}

/// Answers everything with an issue.
fn upstream() -> SocketAddr {
    let issue = Bytes::from(product::small_issue());
    bare::spawn("upstream", move |listener| {
        bare::accept(listener, move |stream| {
            let issue = issue.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let mut response = Response::new(Full::new(issue.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(product::JSON));
                async move { Ok::<_, Infallible>(response) }
            });
            async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await) }
        })
    })
}

/// A running `scopegate serve`, ended when dropped.
struct Served {
    child: Child,
    gate: SocketAddr,
}

impl Served {
    /// Returns when it is ready.
    fn start(folder: &Path, upstream: SocketAddr) -> Self {
        let (gate, health) = (free_address(), free_address());
        let path = folder.join("scopegate.yaml");
        let text = format!(
            "version: 1\npolicies: policies\ndata_plane: {{threads: 2}}\nhealth: {{listen: {health}}}\ngates:\n  \
             - name: jira\n    listen: {gate}\n    product: jira\n    identify: [token]\n    bypass: network\n    \
             upstream: http://{upstream}\n    upstream_aliases: [{}]\n    tenant: {{fixed: acme}}\n    \
             issue_keys: prefix\n    names: as_written\n",
            product::SITE
        );
        std::fs::write(&path, text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
        command.args(["serve", "--config"]).arg(path).env("RUST_LOG", "warn").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn().expect("the program");
        let mut served = Self { child, gate };
        let started = Instant::now();
        while !is_ready(health) {
            let ended = served.child.try_wait().expect("a process");
            assert!(ended.is_none() && started.elapsed() < READY_WITHIN, "the gate is not ready: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        served
    }

    fn memory_mib(&self) -> f64 {
        memory_mib_of(&self.child.id().to_string(), "VmRSS")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn is_ready(health: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(health) else { return false };
    let mut answer = String::new();
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}

fn policy(size: Size) {
    let start = Instant::now();
    let estate = Estate::new("jira", size, true);
    println!("{} apps × {} in memory: compiled in {:.2?}; {}", size.apps, size.grants, start.elapsed(), rest());
    drop(estate);
}
