//! Which header fields pass, and which requests are refused for theirs. A name is compared in every spelling that a
//! product's server may fold it to: `X_Auth_User` and `X.Auth.User` are `x-auth-user` to CGI, WSGI and their like.

mod names;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, Version, request};
use http_body::Frame;

pub use names::{HOP_BY_HOP, NEVER_FROM_A_CLIENT, NEVER_FROM_A_CLIENT_PREFIXES};
use names::{JUDGED, NEVER_TO_A_CLIENT};

/// Stands beside a request that its connection found to have two readings, and says why.
#[derive(Debug, Clone, Copy)]
pub struct Twofold(pub &'static str);

/// Makes an answer the last one on its connection. Every `bad_request` must be: where a request could be read in two
/// ways, so can its end, and with it what follows it on the connection.
pub fn close_after<B>(response: &mut Response<B>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Refuses a request head that can be read in two ways. The text says why, for the log and the refusal; the answer
/// goes through [`close_after`].
pub fn check_request(headers: &HeaderMap) -> Result<(), &'static str> {
    check_framing(headers)?;
    let mut hosts = headers.get_all(header::HOST).iter();
    if hosts.next().is_none() {
        return Err("the request has no Host");
    }
    if hosts.next().is_some() {
        return Err("the request has two Host fields");
    }
    for (name, value) in headers {
        check_spelling(name.as_str())?;
        if !value.as_bytes().is_ascii() && std::str::from_utf8(value.as_bytes()).is_err() {
            return Err("a field is not UTF-8");
        }
    }
    if headers.contains_key(header::CONNECTION) {
        for option in connection_options(headers) {
            if option.is_err() || option.is_ok_and(|option| contains_folded(&JUDGED, option)) {
                return Err("Connection names a field that is judged, or is not text");
            }
        }
    }
    Ok(())
}

/// `CONNECT` and `TRACE`, a version that is not spoken, and what the connection found wrong already.
pub fn refuse_head(head: &request::Parts) -> Option<&'static str> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Some("CONNECT and TRACE are not forwarded");
    }
    if !matches!(head.version, Version::HTTP_11 | Version::HTTP_10 | Version::HTTP_2) {
        return Some("only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
    }
    head.extensions.get::<Twofold>().map(|Twofold(why)| *why)
}

/// True for a request's field that is not passed on.
pub fn is_stripped(name: &str) -> bool {
    if !names::may_be_listed(name) {
        return false;
    }
    contains_folded(&NEVER_FROM_A_CLIENT, name)
        || contains_folded(&HOP_BY_HOP, name)
        || NEVER_FROM_A_CLIENT_PREFIXES.iter().any(|prefix| starts_folded(name, prefix))
}

/// The options of all `Connection` fields; `Err` for a field that is not text.
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = Result<&str, ()>> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("\u{0}").split(','))
        .map(str::trim)
        .map(|option| if option == "\u{0}" { Err(()) } else { Ok(option) })
}

/// True if `Connection` names a field besides `close` and `keep-alive`.
pub fn names_fields(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONNECTION)
        && connection_options(headers).flatten().any(|option| {
            !option.is_empty() && !option.eq_ignore_ascii_case("close") && !option.eq_ignore_ascii_case("keep-alive")
        })
}

/// True if the field is named by a `Connection` option.
pub fn is_named_by_connection(headers: &HeaderMap, name: &str) -> bool {
    connection_options(headers).flatten().any(|option| option.eq_ignore_ascii_case(name))
}

/// True if the sender takes trailers, in any of its `TE` fields.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Makes an upstream's answer head fit for the client: what spoke of the upstream connection goes, the framing is
/// left to be written anew, and no answer can claim to be scopegate's own.
pub fn clean_response(headers: &mut HeaderMap) {
    if names_fields(headers) {
        let named: Vec<HeaderName> = connection_options(headers)
            .flatten()
            .filter(|option| !contains_folded(&["content-length", "content-type", "set-cookie", "trailer"], option))
            .filter_map(|option| option.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    if headers.remove(header::TRANSFER_ENCODING).is_some() {
        // Beside a transfer coding, a length is a lie that the next reader must not see (RFC 9112 §6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    // Only equal lengths were taken (RFC 9110 §8.6): one of them is said, whether they stood in several fields or in a list.
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(first), more) = (lengths.next(), lengths.next().is_some())
        && (more || first.as_bytes().contains(&b','))
    {
        let digits = first.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        let one = HeaderValue::from_bytes(digits).ok();
        headers.remove(header::CONTENT_LENGTH);
        one.map(|one| headers.insert(header::CONTENT_LENGTH, one));
    }
    if headers.keys().any(is_stripped_from_answer) {
        let stripped: Vec<HeaderName> = headers.keys().filter(|name| is_stripped_from_answer(name)).cloned().collect();
        for name in stripped {
            headers.remove(name);
        }
    }
}

/// True for an answer's field that is not passed on: one of its connection's, a session that the product opens (it would be
/// a credential of its own: the app could walk around the gate with it), or one that claims to be scopegate's.
fn is_stripped_from_answer(name: &HeaderName) -> bool {
    let name = name.as_str();
    NEVER_TO_A_CLIENT.contains(&name) || starts_folded(name, "x-scopegate-")
}

/// Strips from trailers what may not stand there: framing, routing and identity (RFC 9110 §6.5.1).
pub fn clean_frame(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(clean_trailers(trailers)),
        Err(frame) => frame,
    }
}

/// As [`clean_frame`], for the fields themselves.
pub fn clean_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            is_stripped(name) || contains_folded(&JUDGED, name) || contains_folded(&["set-cookie"], name)
        })
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
    trailers
}

fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (!coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some())
    {
        // hyper takes any list that ends in `chunked`, and would forward what is still, say, gzip inside.
        return Err("the transfer coding is not exactly chunked");
    }
    Ok(())
}

/// Refuses `Content_Type` and its like: the field we judge by and the one the product reads would be two.
fn check_spelling(name: &str) -> Result<(), &'static str> {
    if memchr::memchr2(b'_', b'.', name.as_bytes()).is_some() && contains_folded(&JUDGED, name) {
        return Err("a field that is judged is spelled in another way");
    }
    Ok(())
}

fn contains_folded(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.len() == name.len() && starts_folded(name, known))
}

/// `prefix` is in lower case with `-`.
fn starts_folded(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(byte, known)| fold(byte) == known)
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    #[test]
    fn identity_fields_are_stripped_in_every_spelling() {
        for name in [
            "x-forwarded-for",
            "x_forwarded_user",
            "x.auth.user",
            "X-Auth_User",
            "remote_groups",
            "forwarded",
            "x-original.url",
            "x_http_method_override",
            "x-envoy-original-path",
            "x_scopegate_decision",
            "cookie",
            "x_api_key",
            "private-token",
            "x-auth-token",
            "proxy",
            "te",
            "keep_alive",
            "expect",
            "upgrade",
        ] {
            assert!(is_stripped(name), "{name}");
        }
        for name in ["authorization", "x-atlassian-token", "x-slack-signature", "accept", "user-agent"] {
            assert!(!is_stripped(name), "{name}");
        }
    }

    #[test]
    fn every_listed_name_is_reached_by_the_look_before() {
        for name in HOP_BY_HOP.iter().chain(&NEVER_FROM_A_CLIENT).chain(&NEVER_FROM_A_CLIENT_PREFIXES) {
            assert!(is_stripped(name), "{name}");
            assert!(is_stripped(&name.to_ascii_uppercase().replace('-', "_")), "{name}");
        }
        for prefix in NEVER_FROM_A_CLIENT_PREFIXES {
            assert!(is_stripped(&format!("{prefix}{}", "a".repeat(200))), "{prefix}");
        }
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused() {
        let host = ("host", "gate");
        for (fields, why) in [
            (vec![], "no Host"),
            (vec![host, host], "two Host"),
            (vec![host, ("connection", "Content-Length")], "judged"),
            (vec![host, ("connection", "close, transfer-encoding")], "judged"),
            (vec![host, ("connection", "authorization")], "judged"),
            (vec![host, ("transfer-encoding", "gzip, chunked")], "chunked"),
            (vec![host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], "chunked"),
            (vec![host, ("content_type", "text/plain")], "spelled"),
            (vec![host, ("transfer.encoding", "chunked")], "spelled"),
        ] {
            let refused = check_request(&headers(&fields)).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        for fields in [
            vec![host],
            vec![host, ("connection", "keep-alive, X-Forwarded-User")],
            vec![host, ("transfer-encoding", "Chunked")],
        ] {
            check_request(&headers(&fields)).expect("one reading");
        }
    }

    #[test]
    fn an_answer_keeps_no_field_of_its_connection_and_none_of_scopegate() {
        let mut answer = headers(&[
            ("connection", "close, x-hop, content-length"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("x-scopegate-reason", "missing_scope"),
            ("x_scopegate_decision", "1"),
            ("alt-svc", "h3=\":443\""),
            ("content-type", "text/plain"),
        ]);
        clean_response(&mut answer);
        assert_eq!(answer, headers(&[("content-type", "text/plain")]));
    }

    #[test]
    fn an_equal_length_twice_is_written_once() {
        let mut answer = headers(&[("content-length", "7"), ("content-length", "7")]);
        clean_response(&mut answer);
        assert_eq!(answer, headers(&[("content-length", "7")]));
    }

    #[test]
    fn trailers_carry_no_identity_and_no_framing() {
        let trailers = clean_trailers(headers(&[
            ("x-checksum", "1"),
            ("content-length", "7"),
            ("x_forwarded_user", "root"),
            ("authorization", "Bearer x"),
        ]));
        assert_eq!(trailers, headers(&[("x-checksum", "1")]));
    }
}
