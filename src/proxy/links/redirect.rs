//! Where the `Location` of an answer leads, and the request with which the gate follows it to another origin.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version, request};

use crate::authz::origin::{Origin, Origins, Plain, start};
use crate::proxy::headers;

/// What the gate calls itself where it fetches something by itself. Some media hosts refuse who has no name.
const USER_AGENT: HeaderValue = HeaderValue::from_static("scopegate");

/// The fields of a caller that go along to another origin: what it wants, and which part or version of it. No
/// credential, no cookie, and nothing that says who it is.
const TAKEN_ALONG: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// Where an answer leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Lead {
    /// Nowhere, or to the product: by its own name, or relative to what was asked.
    Home,
    /// Somewhere else. What cannot be told is `None`.
    Away { to: Option<Origin>, path: Option<PathAndQuery> },
}

impl Lead {
    const UNTOLD: Self = Self::Away { to: None, path: None };
}

/// Whether a status makes clients go where `Location` leads, or may make them.
pub fn redirects(status: StatusCode) -> bool {
    status.is_redirection() && status != StatusCode::NOT_MODIFIED
}

/// Reads `Location`. `from`: the other origin that the answer itself came from, where a redirect was followed.
pub fn lead(headers: &HeaderMap, own: &Origins, from: Option<&Origin>) -> Lead {
    let mut locations = headers.get_all(header::LOCATION).iter();
    match (locations.next(), locations.next()) {
        (None, _) => Lead::Home,
        (Some(location), None) => of_location(location.as_bytes(), own, from),
        // Clients do not agree on which of two counts.
        (Some(_), Some(_)) => Lead::UNTOLD,
    }
}

fn of_location(location: &[u8], own: &Origins, from: Option<&Origin>) -> Lead {
    // Browsers and their like drop tabs wherever they stand, and take a backslash for a slash.
    let is_plain = !location.iter().any(u8::is_ascii_control);
    if !is_plain || location.iter().take(2).any(|byte| *byte == b'\\') {
        return Lead::UNTOLD;
    }
    let base = from.or_else(|| own.upstream());
    let Ok(begun) = start(&mut Plain::new(location)) else { return of_relative(location, from) };
    if own.own(&begun) {
        return Lead::Home;
    }
    let to = begun.origin_read_by(base.is_none_or(|base| base.secure));
    Lead::Away { to, path: path(location.get(begun.end..).unwrap_or_default()) }
}

/// A reference without an origin. To the product it stays one; to another host it is read here, for the caller would
/// read it against the gate.
fn of_relative(location: &[u8], from: Option<&Origin>) -> Lead {
    let segment = location.iter().take_while(|byte| !matches!(byte, b'/' | b'?' | b'#'));
    let has_scheme = segment.into_iter().any(|byte| *byte == b':');
    if has_scheme || location.starts_with(b"//") {
        return Lead::UNTOLD;
    }
    match from {
        None => Lead::Home,
        Some(from) if location.starts_with(b"/") => Lead::Away { to: Some(from.clone()), path: path(location) },
        Some(_) => Lead::UNTOLD,
    }
}

/// The path of a link that names the product, or is one from its root.
pub fn own_path<'l>(link: &'l [u8], own: &Origins) -> Option<&'l str> {
    let rest = match start(&mut Plain::new(link)) {
        Ok(begun) => link.get(begun.end..).filter(|_| own.own(&begun))?,
        Err(_) => link,
    };
    let path = rest.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    std::str::from_utf8(path).ok().filter(|path| path.starts_with('/') && !path.starts_with("//"))
}

/// Path and query of what follows an origin.
fn path(rest: &[u8]) -> Option<PathAndQuery> {
    let rest = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
    let slash = if rest.starts_with(b"/") { &b""[..] } else { b"/" };
    let text = [slash, rest].concat();
    PathAndQuery::try_from(&text[..]).ok().filter(|_| !rest.starts_with(b"\\"))
}

/// The head of the request that fetches what a redirect leads to. `links_are_read`: the answer must come whole and
/// uncompressed.
pub fn head(asked: &request::Parts, host: &HeaderValue, path: PathAndQuery, links_are_read: bool) -> request::Parts {
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = if asked.method == Method::HEAD { Method::HEAD } else { Method::GET };
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    parts.headers.insert(header::HOST, host.clone());
    parts.headers.insert(header::USER_AGENT, USER_AGENT);
    let named = headers::names_fields(&asked.headers);
    for name in TAKEN_ALONG {
        if named && headers::is_named_by_connection(&asked.headers, name.as_str()) {
            continue;
        }
        for value in asked.headers.get_all(&name) {
            parts.headers.append(&name, value.clone());
        }
    }
    if links_are_read {
        ask_for_the_whole(&mut parts.headers);
    }
    parts
}

/// Asks for an answer that can be looked into: whole, and not compressed.
pub fn ask_for_the_whole(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
}

/// Whether what a followed redirect ended in is what the caller asked for. Anything else is between the product and the
/// other host, and may repeat the URL; a 401 of theirs would make an SDK drop its own credential.
pub fn is_content(status: StatusCode) -> bool {
    status.is_success()
        || matches!(
            status,
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Origins {
        Origins::new(Origin::parse("https://acme.test").expect("an origin"), [])
    }

    fn lead_of(location: &str, from: Option<&str>) -> Lead {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_bytes(location.as_bytes()).expect("a value"));
        lead(&headers, &own(), from.map(|from| Origin::parse(from).expect("an origin")).as_ref())
    }

    fn away(to: &str, path: &str) -> Lead {
        Lead::Away { to: Origin::parse(to), path: PathAndQuery::try_from(path).ok() }
    }

    #[test]
    fn the_path_of_a_link_is_that_of_the_products_own() {
        for (link, path) in [
            ("https://acme.test/task/7", Some("/task/7")),
            ("https://ACME.test:443/task/7?a=/b#c", Some("/task/7")),
            ("//acme.test/task/7", Some("/task/7")),
            ("/task/7#x", Some("/task/7")),
            ("https://acme.test", None),
            ("https://evil.test/task/7", None),
            ("https://acme.test.evil/task/7", None),
            ("//evil.test/task/7", None),
            ("///task/7", None),
            ("task/7", None),
            ("?/task/7", None),
            ("mailto:/task/7", None),
            ("", None),
        ] {
            assert_eq!(own_path(link.as_bytes(), &own()), path, "{link}");
        }
    }

    #[test]
    fn the_products_own_and_relative_ones_lead_home() {
        for location in
            ["https://ACME.test:443/a", "//acme.test/a", "/a", "/a\\b", "a/b", "?a=b:c", "#a", "", "./a:b", "/ä"]
        {
            assert_eq!(lead_of(location, None), Lead::Home, "{location}");
        }
        assert_eq!(lead(&HeaderMap::new(), &own(), None), Lead::Home);
        assert_eq!(lead_of("https://acme.test/a", Some("https://media.test")), Lead::Home);
    }

    #[test]
    fn all_others_lead_away_and_what_cannot_be_told_leads_nowhere_that_is_known() {
        assert_eq!(lead_of("https://media.test/a?token=b#c", None), away("https://media.test", "/a?token=b"));
        assert_eq!(lead_of("https://media.test", None), away("https://media.test", "/"));
        assert_eq!(lead_of("https://media.test?a", None), away("https://media.test", "/?a"));
        assert_eq!(lead_of("//media.test/a", None), away("https://media.test", "/a"));
        assert_eq!(lead_of("/b", Some("https://media.test")), away("https://media.test", "/b"));
        for untold in [
            "https://u@media.test/",
            "https:/media.test/",
            "https:media.test",
            "///media.test/",
            "\\\\media.test/",
            "/\\media.test/",
            "/\t/media.test/",
            "mailto:a",
            "javascript:a",
            "ftp://media.test/",
            "data:,",
            "a:b",
            "https://media.test:x/",
            "https://%6dedia.test/",
            " https://media.test/",
        ] {
            assert!(matches!(lead_of(untold, None), Lead::Away { to: None, .. }), "{untold}");
        }
        for untold in ["b", "?b", "", "../b"] {
            assert_eq!(lead_of(untold, Some("https://media.test")), Lead::UNTOLD, "{untold}");
        }
        assert!(matches!(lead_of("wss://media.test/", None), Lead::Away { to: None, .. }));
        let mut twice = HeaderMap::new();
        twice.append(header::LOCATION, HeaderValue::from_static("/a"));
        twice.append(header::LOCATION, HeaderValue::from_static("https://media.test/"));
        assert_eq!(lead(&twice, &own(), None), Lead::UNTOLD);
    }

    #[test]
    fn who_asks_does_not_go_along() {
        let asked = http::Request::put("/a")
            .header("host", "gate")
            .header("authorization", "Bearer x")
            .header("cookie", "x")
            .header("x-forwarded-for", "x")
            .header("traceparent", "x")
            .header("accept", "image/png")
            .header("if-none-match", "\"a\"")
            .header("range", "bytes=0-1")
            .header("connection", "accept-encoding")
            .header("accept-encoding", "gzip")
            .body(())
            .expect("a request")
            .into_parts()
            .0;
        let path = || PathAndQuery::from_static("/b?token=c");
        let head = head(&asked, &HeaderValue::from_static("media.test"), path(), false);
        assert_eq!((head.method, head.uri.to_string().as_str()), (Method::GET, "/b?token=c"));
        let names: Vec<&str> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "user-agent", "accept", "if-none-match", "range"]);
        let head = super::head(&asked, &HeaderValue::from_static("media.test"), path(), true);
        assert!(!head.headers.contains_key("range"));
        assert_eq!(head.headers["accept-encoding"], "identity");
    }
}
