//! The opening of a WebSocket (RFC 6455 §4), as HTTP/1.1 asks for it and as HTTP/2 does (RFC 8441).
//!
//! The request is judged like any other. Only an operation for which the catalog says `websocket: true` may open one,
//! since what follows is not judged piece by piece: its frames are checked for form, by [`super::tunnel`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version, request, response};
use sha1::{Digest as _, Sha1};

use super::headers;

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;
const EXTENSIONS: HeaderName = header::SEC_WEBSOCKET_EXTENSIONS;
const PROTOCOL: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;
const VERSION: HeaderName = header::SEC_WEBSOCKET_VERSION;

/// What a server appends to the key before it hashes both (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one extension whose frames are understood here (RFC 7692).
const DEFLATE: &str = "permessage-deflate";

/// Characters that the name of a subprotocol may have: what is longer is a token in disguise.
const SUBPROTOCOL_MAX: usize = 64;

/// A request to open a WebSocket, whose form is right.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// What the server must answer: it proves that it read the request as one for a WebSocket.
    accept: String,
    /// Only frames of `permessage-deflate` were offered, or none of any extension.
    offers_deflate: bool,
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The first reserved bit of a frame has a meaning.
    pub deflate: bool,
}

/// The WebSocket that a request asks for. `None`: it asks for none.
///
/// # Errors
/// It asks for another protocol, or in a way that could be read in two.
pub fn asked(head: &request::Parts) -> Result<Option<Handshake>, &'static str> {
    let fields = &head.headers;
    let Some(upgrade) = fields.get(header::UPGRADE) else {
        return if fields.contains_key(KEY) { Err("a WebSocket key without an upgrade") } else { Ok(None) };
    };
    if !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") || is_twice(fields, &header::UPGRADE) {
        return Err("upgrades to anything but a WebSocket are not forwarded");
    }
    if head.method != Method::GET || head.version == Version::HTTP_10 {
        return Err("a WebSocket is opened by GET, from HTTP/1.1 on");
    }
    if !options(fields).any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return Err("`Upgrade` without `Connection: upgrade`");
    }
    if fields.contains_key(header::CONTENT_LENGTH) || fields.contains_key(header::TRANSFER_ENCODING) {
        return Err("a request for a WebSocket has no body");
    }
    if fields.get(VERSION).is_none_or(|version| version != "13") || is_twice(fields, &VERSION) {
        return Err("the version of WebSocket is not 13");
    }
    if fields.get_all(PROTOCOL).iter().any(|names| !are_subprotocols(names)) {
        return Err("a subprotocol is no plain name: credentials stand in `Authorization` alone");
    }
    let key = fields.get(KEY).filter(|_| !is_twice(fields, &KEY)).ok_or("the WebSocket key is missing, or twice")?;
    let is_key = STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16);
    let accept = accept_of(key.as_bytes());
    let offers_deflate = only_deflate(fields);
    is_key.then_some(Some(Handshake { accept, offers_deflate })).ok_or("the WebSocket key is not 16 bytes in base64")
}

impl Handshake {
    /// Writes what asks the upstream for it, into a head whose other fields are written.
    pub fn write(&self, fields: &mut HeaderMap) {
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if !self.offers_deflate {
            // Frames of an extension that is not understood cannot be told from malformed ones.
            fields.remove(EXTENSIONS);
        }
    }

    /// Checks that the upstream opened what was asked for, and leaves in its answer what says so.
    pub fn opened(&self, fields: &mut HeaderMap) -> Result<Agreed, &'static str> {
        let is = |name: &HeaderName, wanted: &str| {
            let value = fields.get(name).filter(|_| !is_twice(fields, name));
            value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let proof = fields.get(ACCEPT).filter(|_| !is_twice(fields, &ACCEPT));
        if !is(&header::UPGRADE, "websocket") || !options(fields).any(|it| it.eq_ignore_ascii_case("upgrade")) {
            return Err("it switched to something else than a WebSocket");
        }
        if proof.is_none_or(|proof| proof.as_bytes() != self.accept.as_bytes()) {
            return Err("its proof does not fit the key");
        }
        let deflate = fields.contains_key(EXTENSIONS);
        if deflate && !(self.offers_deflate && only_deflate(fields)) {
            return Err("it uses an extension that was not offered");
        }
        headers::clean_response(fields);
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        Ok(Agreed { deflate })
    }
}

/// True for `CONNECT` with `:protocol: websocket` (RFC 8441 §4).
pub fn is_extended_connect(head: &request::Parts) -> bool {
    head.method == Method::CONNECT
        && head.extensions.get::<h2::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// True where any 2xx would say to the client that its tunnel is open (RFC 8441 §5, RFC 9110 §9.3.6), whatever stands
/// in the answer. Of HTTP/2 only a request that [`as_upgrade`] wrote bears `Upgrade`.
pub fn is_opened_by_success(head: &request::Parts) -> bool {
    head.method == Method::CONNECT || head.version == Version::HTTP_2 && head.headers.contains_key(header::UPGRADE)
}

/// Writes such a request as the upgrade that it stands for. It bears no key of its own; without randomness for one it
/// is left as it is, and refused.
pub fn as_upgrade(head: &mut request::Parts) {
    let mut nonce = [0; 16];
    if getrandom::fill(&mut nonce).is_err() {
        return;
    }
    let Ok(key) = HeaderValue::try_from(STANDARD.encode(nonce)) else { return };
    head.method = Method::GET;
    // A key beside ours stays, and is refused for being there twice.
    head.headers.append(KEY, key);
    head.headers.append(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Writes the answer that opened a WebSocket as HTTP/2 says it.
pub fn as_extended_connect(head: &mut response::Parts) {
    head.status = StatusCode::OK;
    head.headers.remove(ACCEPT);
}

fn accept_of(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn is_twice(fields: &HeaderMap, name: &HeaderName) -> bool {
    fields.get_all(name).iter().nth(1).is_some()
}

fn options(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    headers::connection_options(fields).flatten()
}

/// True if every extension that is named is the one that is understood; false if none is.
fn only_deflate(fields: &HeaderMap) -> bool {
    let mut named =
        fields.get_all(EXTENSIONS).iter().flat_map(|value| value.to_str().unwrap_or("?").split(',')).peekable();
    named.peek().is_some() && named.all(|offer| offer.split(';').next().is_some_and(|name| name.trim() == DEFLATE))
}

/// Names of subprotocols as registries have them. Some servers take a bearer token there, which nothing judged.
fn are_subprotocols(names: &HeaderValue) -> bool {
    let Ok(names) = names.to_str() else { return false };
    names.split(',').map(str::trim).all(|name| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
        let lower = name.to_ascii_lowercase();
        (1..=SUBPROTOCOL_MAX).contains(&name.len())
            && name.bytes().all(plain)
            && !["bearer", "authorization", "token"].iter().any(|word| lower.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const ASKED: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn head(method: &str, fields: &[(&str, &str)]) -> request::Parts {
        let request = Request::builder().method(method).uri("/socket");
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn handshake(more: &[(&str, &str)]) -> Handshake {
        asked(&head("GET", &[&ASKED, more].concat())).expect("a right form").expect("a WebSocket")
    }

    #[test]
    fn the_proof_is_that_of_the_standard() {
        assert_eq!(handshake(&[]).accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_asks_for_no_websocket_is_an_ordinary_request() {
        assert!(asked(&head("GET", &[("connection", "keep-alive")])).expect("ordinary").is_none());
    }

    #[test]
    fn a_handshake_that_could_be_read_in_two_ways_is_refused() {
        let without = |name: &str| -> Vec<(&str, &str)> { ASKED.into_iter().filter(|(it, _)| *it != name).collect() };
        let with = |more: (&'static str, &'static str)| [&ASKED[..], &[more]].concat();
        let cases = [
            ("POST", ASKED.to_vec()),
            ("GET", without("connection")),
            ("GET", without("upgrade")),
            ("GET", without("sec-websocket-version")),
            ("GET", without("sec-websocket-key")),
            ("GET", [&without("upgrade")[..], &[("upgrade", "h2c")]].concat()),
            ("GET", [&without("upgrade")[..], &[("upgrade", "websocket, h2c")]].concat()),
            ("GET", with(("upgrade", "websocket"))),
            ("GET", with(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))),
            ("GET", with(("content-length", "0"))),
            ("GET", with(("transfer-encoding", "chunked"))),
            ("GET", with(("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0"))),
            ("GET", with(("sec-websocket-protocol", "chat, eyJhbGciOi/=="))),
            ("GET", [&without("sec-websocket-key")[..], &[("sec-websocket-key", "c2hvcnQ=")]].concat()),
        ];
        for (method, fields) in cases {
            assert!(asked(&head(method, &fields)).is_err(), "{method} {fields:?}");
        }
    }

    #[test]
    fn an_extension_that_is_not_understood_is_not_offered_on() {
        let offered = |extensions: &str| {
            let mut fields: HeaderMap = head("GET", &[("sec-websocket-extensions", extensions)]).headers;
            handshake(&[("sec-websocket-extensions", extensions)]).write(&mut fields);
            fields.contains_key(EXTENSIONS)
        };
        assert!(offered("permessage-deflate; client_max_window_bits"));
        assert!(!offered("permessage-deflate, x-webkit-mux"));
    }

    #[test]
    fn an_upstream_that_proves_nothing_has_opened_nothing() {
        let answered = |fields: &[(&str, &str)]| handshake(&[]).opened(&mut head("GET", fields).headers);
        let right = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        assert_eq!(answered(&right), Ok(Agreed { deflate: false }));
        for missing in 0..right.len() {
            let fields: Vec<_> =
                right.into_iter().enumerate().filter(|(at, _)| *at != missing).map(|it| it.1).collect();
            assert!(answered(&fields).is_err(), "{fields:?}");
        }
        assert!(answered(&[right[0], right[1], ("sec-websocket-accept", "bm8=")]).is_err());
        let extended = [&right[..], &[("sec-websocket-extensions", "permessage-deflate")]].concat();
        assert!(answered(&extended).is_err(), "it was not offered");
    }
}
