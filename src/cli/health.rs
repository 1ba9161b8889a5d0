//! `scopegate health`: asks a running gate whether it is ready. For container probes, where there is no curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The whole question, from connect to the end of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// The most of an answer that is read. The detail of `/readyz` is a few hundred bytes.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Asks `/readyz` at the `health.listen` address, prints the detail, and says whether the gate is ready.
///
/// # Errors
/// Nobody answers there in time, what answers does not speak HTTP, or the output cannot be written.
pub fn run(listen: SocketAddr, timeout: Duration, out: &mut dyn Write) -> io::Result<bool> {
    let end = Instant::now() + timeout;
    let address = reachable(listen);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_write_timeout(Some(left(end)?))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let answer = read_until(&mut stream, end)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| broken("the answer has no end of its head"))?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or_else(|| broken("no HTTP/1.1"))?;
    writeln!(out, "{}", body.trim_end())?;
    Ok(status == "200")
}

/// Listening on every address, the gate is asked on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Reads to the end, in all not longer than until `end`: a timeout per read could be stretched byte by byte.
fn read_until(stream: &mut TcpStream, end: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4 * 1024];
    while (answer.len() as u64) < ANSWER_MAX_BYTES {
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
    Ok(answer)
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")) } else { Ok(left) }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is no health listener: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one connection with `answer`.
    fn serve(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn ready_is_a_200_and_nothing_else() {
        let mut out = Vec::new();
        let ok = serve("HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}");
        assert!(run(ok, TIMEOUT, &mut out).unwrap());
        assert_eq!(out, b"{\"ready\":true}\n");
        let address = serve("HTTP/1.1 503 Service Unavailable\r\n\r\n{}");
        assert!(!run(address, TIMEOUT, &mut out).unwrap());
        assert!(run(serve("SSH-2.0\r\n\r\n"), TIMEOUT, &mut out).is_err());
    }

    #[test]
    fn a_gate_that_hangs_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = run(listener.local_addr().unwrap(), Duration::from_millis(50), &mut Vec::new());
        assert!(asked.is_err());
    }

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9902".parse().unwrap()), "127.0.0.1:9902".parse().unwrap());
        assert_eq!(reachable("[::]:9902".parse().unwrap()), "[::1]:9902".parse().unwrap());
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()), "10.0.0.1:1".parse().unwrap());
    }
}
