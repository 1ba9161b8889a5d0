//! One request through a whole gate: a keep-alive client, a gate with one worker and a trivial upstream, all on loopback.
//!
//! Run: `cargo bench --bench request`. A proxy of hyper alone, which judges nothing, takes turns with the gate, so the
//! ratio holds also on a busy machine. CPU is what the kernel counted for the thread that proxies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "shared/estate.rs"]
mod estate;

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::time::Instant;

use bytes::Bytes;
use estate::{Size, memory_mib, start_gate, token, write_policies};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use scopegate::proxy::listener::ListenAddress;
use tokio::net::{TcpListener, TcpStream as AsyncStream};
use tokio::task::{LocalSet, spawn_local};

/// Connections that are kept busy at one time: enough that no proxy waits for the client.
const CONNECTIONS: usize = 16;
/// Requests on each connection in one round.
const REQUESTS: usize = 125;
const ROUNDS: usize = 12;
/// What the upstream answers with.
const BODY: &[u8] = &[b'x'; 512];

fn main() {
    let upstream = spawn("upstream", |listener| async move {
        accept(listener, |stream| async move {
            let answer = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
            });
            let _ = server::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
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
    let mut sides = [Side::new("hyper alone", "pass-through", pass), Side::new("scopegate", "data-", address)];
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
    let [alone, through] = &mut sides;
    println!(
        "the gate: ×{:.2} of the throughput, ×{:.2} of the CPU, +{:.1} µs CPU per request; {:.1} MiB",
        median(&mut alone.seconds) / median(&mut through.seconds),
        median(&mut through.cpu) / median(&mut alone.cpu),
        (median(&mut through.cpu) - median(&mut alone.cpu)) * 1e6,
        memory_mib("VmRSS"),
    );
    gate.stop();
}

/// A proxy under load.
struct Side {
    name: &'static str,
    /// What the name of its thread begins with.
    thread: &'static str,
    connections: Vec<TcpStream>,
    /// Wall time and CPU of one request, by round.
    seconds: Vec<f64>,
    cpu: Vec<f64>,
}

impl Side {
    fn new(name: &'static str, thread: &'static str, address: SocketAddr) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            stream
        };
        Self { name, thread, connections: (0..CONNECTIONS).map(connect).collect(), seconds: vec![], cpu: vec![] }
    }

    /// Wall time and CPU of one request.
    fn round(&mut self) -> (f64, f64) {
        let request = format!(
            "GET /rest/api/3/issue/PROJ-1?fields=summary HTTP/1.1\r\nhost: jira.gate.internal\r\nauthorization: Bearer {}\r\n\
             accept: application/json\r\nuser-agent: assist/2.7.1\r\naccept-encoding: gzip, deflate\r\n\r\n",
            token("jira", 7)
        );
        let (cpu, start) = (thread_cpu(self.thread), Instant::now());
        for _ in 0..REQUESTS {
            for stream in &mut self.connections {
                stream.write_all(request.as_bytes()).expect("a request is written");
            }
            for stream in &mut self.connections {
                read_answer(stream);
            }
        }
        let requests = (REQUESTS * CONNECTIONS) as f64;
        (start.elapsed().as_secs_f64() / requests, (thread_cpu(self.thread) - cpu) / requests)
    }
}

fn read_answer(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).expect("an answer");
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&buffer[..filled]));
        filled += count;
        let head = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| filled >= head + 4 + BODY.len()) {
            break;
        }
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
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

/// Runs a server on a thread of its own, single-threaded like a worker, and returns where it listens.
fn spawn<F>(name: &str, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async { serve(TcpListener::from_std(listener).expect("a listener")).await });
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread");
    address
}

async fn accept<F: Future<Output = ()> + 'static>(listener: TcpListener, serve: impl Fn(AsyncStream) -> F) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        spawn_local(serve(stream));
    }
}

/// What any proxy of hyper must do: one upstream connection for each of the client's, heads and bodies passed on.
async fn pass_through(stream: AsyncStream, upstream: SocketAddr) {
    let onward = AsyncStream::connect(upstream).await.expect("the upstream");
    onward.set_nodelay(true).expect("no delay");
    let (sender, connection) = client::handshake(TokioIo::new(onward)).await.expect("a handshake");
    spawn_local(async move { drop(connection.await) });
    let sender = std::rc::Rc::new(tokio::sync::Mutex::new(sender));
    let forward = service_fn(move |request: Request<Incoming>| {
        let sender = std::rc::Rc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await
        }
    });
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), forward).await;
}
