//! Heads: that of a request as it is written, that of an answer as it is read.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version, request};
use httparse::{Header, ParserConfig, Status};

use super::super::super::limits::{HEADERS_MAX_OF_HYPER, Limits};
use super::body::Framing;
use super::{Answer, Broken};

/// What every answer begins with.
const BEGINNING: &[u8] = b"HTTP/1.";

/// Writes a head into `out`, in place of what was there. Nothing in it can end a line: the types see to that.
pub fn write(head: &request::Parts, out: &mut Vec<u8>) {
    out.clear();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Takes the head of an answer off what came. `None`: it is not whole. `searched` is how much was looked at.
pub fn take(
    came: &mut BytesMut,
    searched: &mut usize,
    method: &Method,
    limits: &Limits,
) -> Result<Option<Answer>, Broken> {
    let end = end(came, *searched);
    if end.unwrap_or(came.len()) > limits.header_bytes_max {
        return Err(Broken::TooLarge);
    }
    let Some(end) = end else {
        // Something else than HTTP may never send an empty line.
        let begun = came.trim_ascii_start();
        if !BEGINNING.iter().zip(begun).all(|(one, other)| one == other) {
            return Err(httparse::Error::Version.into());
        }
        // The last two bytes may begin the end.
        *searched = came.len().saturating_sub(2);
        return Ok(None);
    };
    *searched = 0;
    parse(came.split_to(end).freeze(), method, limits.headers_max).map(Some)
}

/// Where a head ends: after its first empty line.
fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', rest).find_map(|at| match rest.get(at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

fn parse(bytes: Bytes, method: &Method, fields_max: usize) -> Result<Answer, Broken> {
    let mut here = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX_OF_HYPER];
    let mut elsewhere = Vec::new();
    let space = match here.get_mut(..fields_max) {
        Some(space) => space,
        None => {
            elsewhere.resize_with(fields_max, MaybeUninit::uninit);
            &mut elsewhere[..]
        }
    };
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, &bytes, space)?;
    let (Status::Complete(_), Some(code), Some(version)) = (status, parsed.code, parsed.version) else {
        return Err(Broken::Closed);
    };
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        headers.append(name, value.map_err(|_| httparse::Error::HeaderValue)?);
    }
    let status = StatusCode::from_u16(code).map_err(|_| httparse::Error::Status)?;
    let framing = framing(version, status, method, &headers)?;
    // Beside a transfer coding, a length is a lie: whoever said it may mean another end (RFC 9112 §6.3).
    let is_plain = !(headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH));
    let keeps = version == Version::HTTP_11 && is_plain && !framing.is_until_closed() && !says_close(&headers);
    let mut head = Response::new(()).into_parts().0;
    (head.status, head.version, head.headers) = (status, version, headers);
    Ok(Answer { head, framing, keeps })
}

/// RFC 9112 §6.3, for answers.
fn framing(version: Version, status: StatusCode, method: &Method, headers: &HeaderMap) -> Result<Framing, Broken> {
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    if has_none || *method == Method::HEAD {
        return Ok(Framing::none());
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return match version {
            Version::HTTP_11 if is_chunked_last(headers) => Ok(Framing::chunked()),
            Version::HTTP_11 => Ok(Framing::until_closed()),
            _ => Err(Broken::Length),
        };
    }
    match length(headers)? {
        Some(length) => Ok(Framing::length(length)),
        None => Ok(Framing::until_closed()),
    }
}

/// Whether the last transfer coding is `chunked`.
fn is_chunked_last(headers: &HeaderMap) -> bool {
    let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.as_bytes().rsplit(|byte| *byte == b',').next());
    coding.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The one length that all fields say.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Broken> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits = std::str::from_utf8(text).ok().filter(|_| text.iter().all(u8::is_ascii_digit));
            let said = digits.and_then(|digits| digits.parse().ok()).ok_or(Broken::Length)?;
            if length.is_some_and(|length| length != said) {
                return Err(Broken::Length);
            }
            length = Some(said);
        }
    }
    Ok(length)
}

fn says_close(headers: &HeaderMap) -> bool {
    let options = headers.get_all(header::CONNECTION).iter();
    let mut options = options.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
