//! The product: answers every call, on a thread of its own, and remembers what came.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::stamps;

/// How long the gate may take to close what it has open here, once it is gone.
const DEADLINE: Duration = Duration::from_secs(10);

/// What came upstream.
#[derive(Debug, Default)]
pub struct Seen {
    /// Heads of requests whose bodies are passed on as they come.
    pub uploads: AtomicUsize,
    /// Of these, bodies that came whole.
    pub whole: AtomicUsize,
    /// Requests whose bodies are held by the gate until they are whole.
    pub held: AtomicUsize,
    /// Requests without a body, that nobody has looked at yet.
    pub calls: Mutex<Vec<Call>>,
    open: AtomicUsize,
}

/// A request without a body: the gate writes it with one `write`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub app: usize,
    /// When it was written to this upstream, in nanoseconds of Unix time.
    pub sent_ns: u64,
    /// When it was read.
    pub read_ns: u64,
}

/// Starts it. The app is told by the number of the issue: that of app 4 is `SEC-5`.
pub fn start(seen: &Arc<Seen>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    stamps::stamp(&listener);
    let address = listener.local_addr().expect("an address");
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                seen.open.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&seen);
                tokio::task::spawn_local(async move {
                    // The gate may cut a connection at any time.
                    let _ = converse(stream, &seen).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    });
    address
}

impl Seen {
    /// Blocks until all that ever came to `address` was read: each connection to its end. The gate must be gone.
    pub fn wait_for_the_last(&self, address: SocketAddr) {
        let mut last = std::net::TcpStream::connect(address).expect("a connection");
        last.shutdown(Shutdown::Write).expect("an end");
        // Connections are accepted in their order: none waits any more.
        last.read_to_end(&mut Vec::new()).expect("its end");
        let began = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(began.elapsed() < DEADLINE, "the gate is gone, and its connections stay open");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("a list"))
    }
}

/// Answers calls on one connection.
async fn converse(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let mut first = None;
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut bytes, rest)).expect("text");
            }
            let came = stamps::read(&stream, &mut bytes).await?;
            if came.bytes == 0 {
                return Ok(());
            }
            first = first.or(came.at);
        };
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_upload = target.ends_with("/comment");
        if is_upload {
            seen.uploads.fetch_add(1, Ordering::SeqCst);
        } else if method == "POST" {
            seen.held.fetch_add(1, Ordering::SeqCst);
        } else {
            let number = target.rsplit_once('-').and_then(|(_, number)| number.parse::<usize>().ok());
            let app = number.expect("an issue of an app's") - 1;
            let sent_ns = first.expect("the kernel stamps what comes");
            seen.calls.lock().expect("a list").push(Call { app, sent_ns, read_ns: stamps::now() });
        }
        let length = length(&head);
        while bytes.len() < length {
            if stamps::read(&stream, &mut bytes).await?.bytes == 0 {
                return Ok(());
            }
        }
        bytes.drain(..length);
        if is_upload {
            seen.whole.fetch_add(1, Ordering::SeqCst);
        }
        answer(&stream).await?;
    }
}

async fn answer(stream: &TcpStream) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let mut sent = 0;
    while sent < ANSWER.len() {
        stream.writable().await?;
        match stream.try_write(&ANSWER[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a head says of its body.
pub fn length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.unwrap_or(0)
}
