//! One request through a whole gate: a keep-alive client, a gate with one worker, and an upstream that answers with an issue
//! of 1 KiB whose links the gate makes its own, all on loopback.
//!
//! Run: `cargo bench --bench request`. A proxy of hyper alone, which judges nothing, takes turns with the gate, so the
//! ratio holds also on a busy machine. CPU is what the kernel counted for the thread that proxies.
//!
//! The issue is asked for by its key, which names the project, and by its number: the gate then asks the product for the
//! project, and knows it from there on.

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
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use answer::Connection;
use bare::{accept, pass_through, spawn};
use bytes::Bytes;
use estate::{Size, memory_mib, start_gate, token, write_policies};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use scopegate::proxy::listener::ListenAddress;

/// Connections that are kept busy at one time: enough that no proxy waits for the client.
const CONNECTIONS: usize = 16;
/// Requests on each connection in one round.
const REQUESTS: usize = 125;
const ROUNDS: usize = 12;
/// Names its project, which the policy names too.
const BY_KEY: &str = "PROJ-1";
const BY_NUMBER: &str = "10001";
/// What the product says of the issue where the gate asks for its project.
const PROJECT: &[u8] = br#"{"id":"10001","key":"PROJ-1","fields":{"project":{"id":"10000","key":"PROJ"}}}"#;

fn main() {
    let issue = Bytes::from(product::small_issue());
    let upstream = spawn("upstream", |listener| async move {
        accept(listener, move |stream| {
            let issue = issue.clone();
            async move {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let is_question = request.headers().get(USER_AGENT).is_some_and(|agent| agent == "scopegate");
                    let body = if is_question { Bytes::from_static(PROJECT) } else { issue.clone() };
                    let mut response = Response::new(Full::new(body));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(product::JSON));
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = server::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            }
        })
        .await;
    });
    let pass = spawn("pass-through", move |listener| async move {
        accept(listener, move |stream| pass_through(stream, upstream)).await;
    });
    let folder = tempfile::tempdir().expect("a folder");
    write_policies(folder.path(), Size { apps: 50, grants: 10 });
    let gate = start_gate(folder.path(), upstream, "1ms");
    let ListenAddress::Tcp(address) = gate.gates[0].clone() else { panic!("the gate listens on TCP") };
    let mut sides = [
        Side::new("hyper alone", "pass-through", pass, BY_KEY, product::SITE),
        Side::new("scopegate", "data-", address, BY_KEY, "http://jira.gate.internal"),
        Side::new("… by a look-up", "data-", address, BY_NUMBER, "http://jira.gate.internal"),
    ];
    for round in 0..=ROUNDS {
        for side in &mut sides {
            let (seconds, cpu) = side.round();
            // The first round opens connections and warms caches.
            if round > 0 {
                side.seconds.push(seconds);
                side.cpu.push(cpu);
            }
        }
    }
    println!("{:<14} {:>14} {:>20}", "", "requests/s", "CPU µs per request");
    for side in &mut sides {
        println!("{:<14} {:>14.0} {:>20.1}", side.name, 1.0 / median(&mut side.seconds), median(&mut side.cpu) * 1e6);
    }
    let [alone, through, looked_up] = &mut sides;
    println!(
        "the gate: ×{:.2} of the throughput, ×{:.2} of the CPU, +{:.1} µs CPU per request; {:.1} MiB",
        median(&mut alone.seconds) / median(&mut through.seconds),
        median(&mut through.cpu) / median(&mut alone.cpu),
        (median(&mut through.cpu) - median(&mut alone.cpu)) * 1e6,
        memory_mib("VmRSS"),
    );
    println!(
        "a look-up whose answer is known: +{:.1} µs CPU per request",
        (median(&mut looked_up.cpu) - median(&mut through.cpu)) * 1e6,
    );
    gate.stop();
}

/// A proxy under load.
struct Side {
    name: &'static str,
    /// What the name of its thread begins with.
    thread: &'static str,
    connections: Vec<Connection<TcpStream>>,
    /// How the issue is called.
    issue: &'static str,
    /// The origin that links name in what comes of this side.
    site: &'static str,
    /// Wall time and CPU of one request, by round.
    seconds: Vec<f64>,
    cpu: Vec<f64>,
}

impl Side {
    fn new(
        name: &'static str,
        thread: &'static str,
        address: SocketAddr,
        issue: &'static str,
        site: &'static str,
    ) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            Connection::new(stream)
        };
        let connections = (0..CONNECTIONS).map(connect).collect();
        Self { name, thread, connections, issue, site, seconds: vec![], cpu: vec![] }
    }

    /// Wall time and CPU of one request.
    fn round(&mut self) -> (f64, f64) {
        let request = format!(
            "GET /rest/api/3/issue/{}?fields=summary,assignee HTTP/1.1\r\nhost: jira.gate.internal\r\nauthorization: Bearer {}\r\n\
             accept: application/json\r\nuser-agent: assist/2.7.1\r\naccept-encoding: gzip, deflate\r\n\r\n",
            self.issue,
            token("jira", 7)
        );
        let link = format!("\"self\":\"{}/rest/api/3/issue/", self.site);
        let (cpu, start) = (thread_cpu(self.thread), Instant::now());
        for _ in 0..REQUESTS {
            for connection in &mut self.connections {
                connection.stream.write_all(request.as_bytes()).expect("a request is written");
            }
            for connection in &mut self.connections {
                let body = connection.answer();
                assert!(String::from_utf8_lossy(&body).contains(&link), "{}", String::from_utf8_lossy(&body));
            }
        }
        let requests = (REQUESTS * CONNECTIONS) as f64;
        (start.elapsed().as_secs_f64() / requests, (thread_cpu(self.thread) - cpu) / requests)
    }
}

/// CPU seconds of the threads whose names begin so: the first field of `schedstat` is in nanoseconds.
fn thread_cpu(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a Linux process");
    let mine = tasks
        .map(|task| task.expect("a task").path())
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name)));
    let nanoseconds = mine.filter_map(|task| {
        let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
