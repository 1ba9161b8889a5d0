//! An open-loop client: each request has its time, and its latency is counted from that time and not from when it could
//! be sent. A proxy that stalls is charged for every request that should have been under way meanwhile.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::answer::Connection;

/// What is asked, and how often.
pub struct Load<'l> {
    pub address: SocketAddr,
    pub path: &'l str,
    pub token: &'l str,
    /// Requests per second, over all connections.
    pub rate: f64,
    pub connections: u32,
    pub seconds: f64,
}

/// The part of the run that opens connections and warms caches, and is not counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// Runs it and returns JSON: latencies in microseconds.
pub fn run(load: &Load<'_>) -> String {
    let start = Instant::now() + Duration::from_millis(20);
    let mut micros: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..load.connections).map(|number| scope.spawn(move || converse(load, number, start))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    micros.sort_unstable();
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    serde_json::json!({
        "requests": micros.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0),
    })
    .to_string()
}

/// One connection and its share of the schedule.
fn converse(load: &Load<'_>, number: u32, start: Instant) -> Vec<u64> {
    let stream = TcpStream::connect(load.address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let mut connection = Connection::new(stream);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: jira.gate.internal\r\nauthorization: Bearer {}\r\naccept: application/json\r\n\
         user-agent: assist/2.7.1\r\naccept-encoding: gzip, deflate\r\n\r\n",
        load.path, load.token
    );
    let pause = Duration::from_secs_f64(f64::from(load.connections) / load.rate);
    let first = start + pause * number / load.connections;
    let count = (load.seconds / pause.as_secs_f64()) as u32;
    let mut micros = Vec::with_capacity(count as usize);
    for request_number in 0..count {
        let due = first + pause * request_number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.stream.write_all(request.as_bytes()).expect("a request is written");
        let body = connection.answer();
        if due > start + WARM_UP {
            micros.push(u64::try_from(due.elapsed().as_micros()).expect("less than an age"));
        }
        assert!(body.starts_with(b"{") && body.ends_with(b"}"), "{}", String::from_utf8_lossy(&body));
    }
    micros
}
