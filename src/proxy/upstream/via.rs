//! The way through a proxy: `CONNECT host:port` over HTTP/1.1, and then the bytes of a tunnel.
//!
//! The proxy resolves the upstream's name. It is asked for a tunnel and told nothing else: TLS to an upstream is made
//! inside and against the upstream's own name. Where it does not lead there, nobody does: there is no way round it.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::connect::{Tls, connect_tcp};
use crate::proxy::tls::VIA_PROTOCOLS;
use crate::proxy::transport::Transport;

/// Bytes of the head that a proxy may answer with.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A head is one packet nearly always.
const READ_BYTES: usize = 1024;

/// A proxy, and what it is shown.
#[derive(Debug)]
pub struct Via {
    /// Host name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// `https://` to the proxy itself.
    pub tls: Option<Tls>,
    pub authorization: Option<Arc<Authorization>>,
}

/// Why a proxy leads nowhere. What it said is not in it but for the status.
#[derive(Debug, thiserror::Error)]
pub enum ViaError {
    #[error("the proxy of `via` cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("the proxy of `via` is not whom it must be, or speaks no TLS: {0}")]
    Tls(io::Error),
    #[error("the file of `via: authorization` holds nothing that the proxy can be shown")]
    NoAuthorization,
    #[error("the proxy of `via` broke off: {0}")]
    Broken(io::Error),
    #[error("the proxy of `via` closed the connection before it answered")]
    Closed,
    #[error("the proxy of `via` answered with a head of more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the proxy of `via` spoke no HTTP/1: {0}")]
    NotHttp(&'static str),
    #[error("the proxy of `via` refused with status {0}")]
    Refused(u16),
    #[error("the proxy of `via` sent bytes that nobody had asked the upstream for")]
    SpokeFirst,
}

impl Via {
    /// A tunnel to `host`, which the proxy resolves. Whoever calls this bounds the time.
    pub(super) async fn lead_to(&self, host: &str, port: u16, deadline: Instant) -> Result<Transport, ViaError> {
        // Before anything is opened: a proxy that must be shown a credential is not asked without one.
        let authorization = match &self.authorization {
            Some(authorization) => Some(authorization.0.load_full().ok_or(ViaError::NoAuthorization)?),
            None => None,
        };
        let stream = connect_tcp(&self.host, self.port, deadline).await.map_err(ViaError::Unreachable)?;
        let mut stream = match &self.tls {
            Some(tls) => tls.over(stream, VIA_PROTOCOLS).await.map_err(ViaError::Tls)?,
            None => stream,
        };
        let request = connect_request(host, port, authorization.as_deref());
        stream.write_all(&request).await.map_err(ViaError::Broken)?;
        stream.flush().await.map_err(ViaError::Broken)?;
        match read_answer(&mut stream).await? {
            200..=299 => Ok(stream),
            refused => Err(ViaError::Refused(refused)),
        }
    }
}

/// RFC 9110 §9.3.6. `host` was checked when the configuration was read: no text of a caller's is in it.
fn connect_request(host: &str, port: u16, authorization: Option<&HeaderValue>) -> Vec<u8> {
    let host = host.trim_matches(['[', ']']);
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The status that the proxy answered with. What follows the head is the tunnel's, and in a tunnel the gate speaks
/// first: a byte that came already is not the upstream's, and is never taken for its answer.
async fn read_answer(stream: &mut Transport) -> Result<u16, ViaError> {
    let mut head = Vec::with_capacity(READ_BYTES);
    loop {
        let mut space = [0; READ_BYTES];
        let room = ANSWER_BYTES_MAX.saturating_sub(head.len()).min(READ_BYTES);
        let Some(space) = space.get_mut(..room).filter(|space| !space.is_empty()) else {
            return Err(ViaError::TooLarge);
        };
        let count = stream.read(space).await.map_err(ViaError::Broken)?;
        if count == 0 {
            return Err(ViaError::Closed);
        }
        head.extend_from_slice(space.get(..count).unwrap_or_default());
        let Some(end) = memchr::memmem::find(&head, END_OF_HEAD) else { continue };
        let (head, more) = head.split_at(end);
        let status = status_of(head).map_err(ViaError::NotHttp)?;
        // A refusal may have a body, which nobody reads.
        let is_tunnel = (200..=299).contains(&status);
        return if is_tunnel && more != END_OF_HEAD { Err(ViaError::SpokeFirst) } else { Ok(status) };
    }
}

/// Reads a head, of which nothing but the status counts: RFC 9110 §9.3.6 has `Content-Length` and `Transfer-Encoding`
/// ignored here. It must be one all the same, for what is not HTTP is no proxy.
fn status_of(head: &[u8]) -> Result<u16, &'static str> {
    let (line, mut fields) = first_line(head);
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "));
    let rest = rest.ok_or("the first line is no status line")?;
    let (digits, reason) = rest.split_at_checked(3).ok_or("the status is not three digits")?;
    let has_end = matches!(reason.first(), None | Some(b' '));
    if !has_end || !is_text(reason) || !digits.iter().all(u8::is_ascii_digit) {
        return Err("the status is not three digits");
    }
    while !fields.is_empty() {
        let (field, others) = first_line(fields);
        let colon = memchr::memchr(b':', field).ok_or("a field has no name")?;
        let (name, value) = field.split_at(colon);
        if !is_token(name) || !is_text(value) {
            return Err("a field is malformed");
        }
        fields = others;
    }
    Ok(digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// The first line without its end, and what follows. A line break that is not whole stays in the line, where no text
/// may have one.
fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memmem::find(text, b"\r\n").unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    (line, rest.strip_prefix(b"\r\n").unwrap_or(rest))
}

/// RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// No control character but a tab.
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// The `Proxy-Authorization` that is shown now; `None` while its file holds none.
pub struct Authorization(ArcSwapOption<HeaderValue>);

impl Authorization {
    pub fn new(value: Option<HeaderValue>) -> Arc<Self> {
        Arc::new(Self(ArcSwapOption::from_pointee(value)))
    }

    /// What is shown now.
    pub fn shown(&self) -> Option<HeaderValue> {
        self.0.load().as_deref().cloned()
    }

    /// For the tunnels that are opened from now on.
    pub fn replace(&self, value: Option<HeaderValue>) {
        self.0.store(value.map(Arc::new));
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_asked_for_by_the_upstreams_own_name() {
        let text = |host: &str, value: Option<&HeaderValue>| {
            String::from_utf8(connect_request(host, 443, value)).expect("text")
        };
        assert_eq!(text("slack.com", None), "CONNECT slack.com:443 HTTP/1.1\r\nhost: slack.com:443\r\n\r\n");
        assert_eq!(text("::1", None), "CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n\r\n");
        let value = HeaderValue::from_static("Basic dTpw");
        assert!(text("a", Some(&value)).ends_with("\r\nproxy-authorization: Basic dTpw\r\n\r\n"));
    }

    #[test]
    fn a_head_is_read_strictly() {
        for (head, status) in [
            ("HTTP/1.1 200 Connection established", 200),
            ("HTTP/1.0 200 OK\r\nVia: 1.1 squid\r\nx: \tüber", 200),
            ("HTTP/1.1 299", 299),
            ("HTTP/1.1 200 ", 200),
            ("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic", 407),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked", 200),
            ("HTTP/1.1 000 no", 0),
        ] {
            assert_eq!(status_of(head.as_bytes()), Ok(status), "{head:?}");
        }
        for head in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 20",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 2OO OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/2 200",
            "HTTP/0.9 200 OK",
            "http/1.1 200 OK",
            " HTTP/1.1 200 OK",
            "SSH-2.0-OpenSSH_9.2",
            "\r\nHTTP/1.1 200 OK",
            "HTTP/1.1 200 OK\nvia: squid",
            "HTTP/1.1 200 O\rK",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 200 OK\r\nno field",
            "HTTP/1.1 200 OK\r\n: nameless",
            "HTTP/1.1 200 OK\r\na : b",
            "HTTP/1.1 200 OK\r\na: b\r\n folded",
            "HTTP/1.1 200 OK\r\na: b\0",
        ] {
            assert!(status_of(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn what_the_proxy_is_shown_is_not_printed() {
        let authorization = Authorization::new(Some(HeaderValue::from_static("Basic dTpw")));
        assert!(!format!("{authorization:?}").contains("dTpw"));
    }
}
