//! What the head of a request must be before anything in it is believed.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::{BadRequest, Found};

/// Headers that are judged by: a second value is never joined to the first, nor does the last one win.
const ONCE: [HeaderName; 4] = [AUTHORIZATION, HOST, CONTENT_TYPE, CONTENT_ENCODING];

pub fn check_method(method: &Method) -> Result<(), BadRequest> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            Ok(())
        }
        _ => Err(BadRequest("the method is not GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in upper case")),
    }
}

/// Checks all headers in one walk; the value of `Authorization`, which stands there once at the most, is found on the way.
pub fn check_headers(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BadRequest> {
    let (mut previous, mut authorization) = (None, None);
    for (name, value) in headers {
        // The map yields the values of one name one after the other.
        if previous == Some(name) && ONCE.contains(name) {
            return Err(BadRequest("a header that identifies or types the request stands there twice"));
        }
        if std::str::from_utf8(value.as_bytes()).is_err() {
            return Err(BadRequest("a header value is not UTF-8"));
        }
        if overrides_method(name.as_str()) {
            return Err(BadRequest("a header asks to override the method: send the method itself"));
        }
        if name == CONNECTION {
            check_connection(value)?;
        }
        if name == AUTHORIZATION {
            authorization = Some(value);
        }
        previous = Some(name);
    }
    Ok(authorization)
}

/// `X-HTTP-Method-Override` and its kin, in every spelling. Dropping it would run another method than the client meant.
fn overrides_method(name: &str) -> bool {
    if !name.starts_with('x') || !name.contains("method") {
        return false;
    }
    let folded = || name.bytes().filter(|byte| byte.is_ascii_alphanumeric());
    ["xhttpmethodoverride", "xmethodoverride", "xhttpmethod"].iter().any(|known| folded().eq(known.bytes()))
}

/// Framing and typing are never hop-by-hop: a proxy that drops such a header sends another message than was judged.
fn check_connection(value: &HeaderValue) -> Result<(), BadRequest> {
    let kept = ["content-length", "transfer-encoding", "content-type", "content-encoding", "host"];
    let options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    for option in options {
        if kept.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(BadRequest("`Connection` names a header that frames or types the message"));
        }
    }
    Ok(())
}

/// The values of a header that decides. One that `Connection` takes away on the way, or that stands beside another
/// spelling of its name (`x_project`), is another value to some reader.
pub fn deciding<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Found<'r>, BadRequest> {
    let connection = headers.get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if options.any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes())) {
        return Err(BadRequest("`Connection` names a header that decides"));
    }
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
    let is_variant =
        |other: &HeaderName| other != name && other.as_str().bytes().map(fold).eq(name.as_str().bytes().map(fold));
    if headers.keys().any(is_variant) {
        return Err(BadRequest("a header that decides stands there in two spellings"));
    }
    let mut found = Found::Absent;
    for value in headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| BadRequest("a header value is not UTF-8"))?;
        found = found.and(Cow::Borrowed(text));
    }
    Ok(found)
}

/// The host that the request is for, and its port as written. An absolute-form target and `Host` must name the same one.
pub fn host(parts: &http::request::Parts) -> Result<(Cow<'_, str>, Option<&str>), BadRequest> {
    if !parts.uri.scheme_str().is_none_or(|scheme| scheme == "http" || scheme == "https") {
        return Err(BadRequest("the scheme of the request target is not http or https"));
    }
    let target = parts.uri.authority().map(|authority| authority.as_str());
    let header = match parts.headers.get(HOST) {
        Some(value) => value.to_str().map_err(|_| BadRequest("`Host` is not ASCII"))?,
        // HTTP/2 names the host in `:authority` alone.
        None if parts.version >= Version::HTTP_2 => target.ok_or(BadRequest("the request names no host"))?,
        None => return Err(BadRequest("`Host` is missing")),
    };
    let (name, port) = canonical_authority(header)?;
    if let Some(target) = target {
        let (target_name, target_port) = canonical_authority(target)?;
        if target_name != name || target_port != port {
            return Err(BadRequest("`Host` and the request target name different hosts"));
        }
    }
    Ok((name, port))
}

/// Host and port: lower case, without one trailing dot.
fn canonical_authority(text: &str) -> Result<(Cow<'_, str>, Option<&str>), BadRequest> {
    if memchr::memchr(b'@', text.as_bytes()).is_some() {
        return Err(BadRequest("the host is preceded by user information"));
    }
    let (name, port) = split_port(text);
    let well_formed = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(name),
    };
    let port_is_number = port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'));
    if !well_formed || !port_is_number {
        return Err(BadRequest("the host is not a name or address with an optional port"));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok((Cow::Owned(name.to_ascii_lowercase()), port));
    }
    Ok((Cow::Borrowed(name), port))
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    let colon = memchr::memrchr(b':', text.as_bytes());
    match colon.and_then(|at| text.split_at_checked(at)) {
        // An address in brackets has colons of its own.
        Some((name, port)) if !port.ends_with(']') => (name, port.get(1..)),
        _ => (text, None),
    }
}

/// Labels of letters, digits, `-` and `_`, none of them empty; a dot may follow the last.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut in_label = false;
    for byte in name.bytes() {
        match byte {
            b'.' if in_label => in_label = false,
            _ if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' => in_label = true,
            _ => return false,
        }
    }
    in_label
}
