//! Whether the links of an answer must be read, and whether they can be: what cannot be looked into never passes unseen.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that vouch for the bytes of a body (RFC 1864, RFC 3230, RFC 9530).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// What to do with the body of an answer whose links are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is no JSON.
    Pass,
    Rewrite,
    /// Why it cannot be read.
    Unreadable(&'static str),
}

/// Tells it by the head alone.
pub fn reading(status: StatusCode, headers: &HeaderMap) -> Reading {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let media = types.next();
    if types.next().is_some() {
        return Reading::Unreadable("the product's answer has two media types");
    }
    let media = media.map_or(Media::UNTOLD, Media::of);
    let is_part = status == StatusCode::PARTIAL_CONTENT;
    let holds_links = media.is_json || is_part && media.is_parts;
    if !holds_links {
        return Reading::Pass;
    }
    if is_part {
        return Reading::Unreadable("the product answered with a part of what holds links");
    }
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(is_encoded) {
        return Reading::Unreadable("the product compressed what holds links, although it was asked not to");
    }
    if !media.is_ascii {
        return Reading::Unreadable("the product's answer holds links in an encoding that is not read");
    }
    Reading::Rewrite
}

/// Takes away what vouched for the bytes as they were: length, digests, ranges; a strong validator becomes a weak one
/// (RFC 9110 §7.7, §8.8.1).
pub fn unvouch(headers: &mut HeaderMap) {
    // Mostly there is none of them but the length, and it shows by one look at each name.
    let vouches = |name: &HeaderName| DIGESTS.contains(name) || *name == header::ACCEPT_RANGES;
    if headers.keys().any(vouches) {
        headers.remove(header::ACCEPT_RANGES);
        DIGESTS.iter().for_each(|name| drop(headers.remove(name)));
    }
    headers.remove(header::CONTENT_LENGTH);
    if let Some(tag) = headers.get_mut(header::ETAG)
        && tag.as_bytes().starts_with(b"\"")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

/// The same of trailers.
pub fn unvouch_trailers(trailers: &mut HeaderMap) {
    DIGESTS.iter().chain(&[header::ETAG]).for_each(|name| drop(trailers.remove(name)));
}

fn is_encoded(coding: &[u8]) -> bool {
    let coding = coding.trim_ascii();
    !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
}

/// A media type, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Media {
    is_json: bool,
    /// `multipart/byteranges`: parts of anything.
    is_parts: bool,
    /// In UTF-8, or another superset of ASCII.
    is_ascii: bool,
}

impl Media {
    /// Nothing is said, so an SDK may take it for what it expects.
    const UNTOLD: Self = Self { is_json: true, is_parts: false, is_ascii: true };

    fn of(value: &HeaderValue) -> Self {
        let mut parts = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let suffix = essence.rsplit(|byte| *byte == b'+').next().unwrap_or_default();
        let is_json = matches!(&essence[..], b"application/json" | b"text/json" | b"")
            || suffix == b"json" && essence.len() > suffix.len();
        let charsets = parts.filter_map(|parameter| {
            let equals = parameter.iter().position(|byte| *byte == b'=')?;
            let (name, value) = parameter.split_at_checked(equals)?;
            name.trim_ascii().eq_ignore_ascii_case(b"charset").then(|| value.get(1..).unwrap_or_default())
        });
        let is_ascii = charsets.map(<[u8]>::trim_ascii).all(is_ascii_superset);
        Self { is_json, is_parts: essence == b"multipart/byteranges", is_ascii }
    }
}

/// The encodings in which JSON's own characters and those of an origin are the bytes of ASCII.
fn is_ascii_superset(charset: &[u8]) -> bool {
    let charset = charset.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(charset);
    [&b"utf-8"[..], b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin1", b"windows-1252"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        fields.iter().map(field).collect()
    }

    fn of(status: u16, fields: &[(&str, &str)]) -> Reading {
        reading(StatusCode::from_u16(status).expect("a status"), &headers(fields))
    }

    #[test]
    fn json_is_read_in_all_its_names_and_nothing_else() {
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/hal+json",
            "application/vnd.acme.v1+json; x=y",
            "text/json",
        ] {
            assert_eq!(of(200, &[("content-type", json)]), Reading::Rewrite, "{json}");
        }
        assert_eq!(of(200, &[]), Reading::Rewrite, "where nothing is said, an SDK may read JSON");
        for other in
            ["text/html", "image/png", "application/json-seq", "json", "application/jsonp", "+json2", "text/plain"]
        {
            assert_eq!(of(200, &[("content-type", other)]), Reading::Pass, "{other}");
            assert_eq!(of(206, &[("content-type", other), ("content-encoding", "gzip")]), Reading::Pass, "{other}");
        }
    }

    #[test]
    fn json_that_cannot_be_looked_into_is_unreadable() {
        let json = ("content-type", "application/json");
        for fields in [
            vec![json, ("content-encoding", "gzip")],
            vec![json, ("content-encoding", "identity, br")],
            vec![json, ("content-encoding", "identity"), ("content-encoding", "zstd")],
            vec![("content-encoding", "gzip")],
            vec![("content-type", "application/json; charset=utf-16")],
            vec![("content-type", "application/json; charset=utf-8; charset=utf-7")],
            vec![json, ("content-type", "image/png")],
        ] {
            assert!(matches!(of(200, &fields), Reading::Unreadable(_)), "{fields:?}");
        }
        assert_eq!(of(200, &[json, ("content-encoding", "identity")]), Reading::Rewrite);
        assert!(matches!(of(206, &[json]), Reading::Unreadable(_)));
        assert!(matches!(of(206, &[("content-type", "multipart/byteranges; boundary=x")]), Reading::Unreadable(_)));
        assert_eq!(of(200, &[("content-type", "multipart/byteranges; boundary=x")]), Reading::Pass);
    }

    #[test]
    fn nothing_vouches_for_the_bytes_that_were() {
        let mut fields = headers(&[
            ("content-length", "7"),
            ("accept-ranges", "bytes"),
            ("content-md5", "x"),
            ("digest", "sha-256=x"),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
            ("etag", "\"a\""),
            ("last-modified", "x"),
        ]);
        unvouch(&mut fields);
        assert_eq!(fields, headers(&[("etag", "W/\"a\""), ("last-modified", "x")]));
        unvouch(&mut fields);
        assert_eq!(fields["etag"], "W/\"a\"", "a weak one stays as it is");
    }
}
