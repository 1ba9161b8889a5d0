//! Which protocol a client speaks: by ALPN where there is TLS, else by its first bytes (RFC 9113 §3.3, prior knowledge).

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;

use super::io::ClientIo;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read at once to tell: most heads of HTTP/1.1 fit.
const FIRST_READ_BYTES: usize = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Tells the protocol, and leaves all bytes to be read by whoever speaks it. The caller bounds the time.
pub async fn protocol(io: &mut ClientIo) -> io::Result<Protocol> {
    match io.transport().alpn() {
        Some(b"h2") => return Ok(Protocol::Http2),
        // Over TLS, HTTP/2 is agreed on by ALPN or not spoken (RFC 9113 §3.2).
        _ if io.transport().is_tls() => return Ok(Protocol::Http1),
        _ => {}
    }
    let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
    let protocol = loop {
        let is_over = io.read_buf(&mut first).await? == 0;
        match told_by(&first) {
            Some(protocol) => break protocol,
            None if is_over => break Protocol::Http1,
            None => {}
        }
    };
    io.unread(first.freeze());
    Ok(protocol)
}

/// `None`: more bytes are needed.
fn told_by(first: &[u8]) -> Option<Protocol> {
    if first.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    (!PREFACE.starts_with(first)).then_some(Protocol::Http1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http_2() {
        for end in 0..PREFACE.len() {
            assert_eq!(told_by(&PREFACE[..end]), None, "{end}");
        }
        assert_eq!(told_by(PREFACE), Some(Protocol::Http2));
        assert_eq!(told_by(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Some(Protocol::Http2));
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"P", b"PUT /", b"PRI / HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nXX"] {
            assert_eq!(told_by(other), if other == b"P" { None } else { Some(Protocol::Http1) });
        }
    }
}
