//! Links in header fields: those that name the product are made to name the gate. Relative ones stay: they are read
//! against the address that was asked, which is the gate's.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

use super::json::GateAddress;
use crate::authz::origin::{Origins, Plain, start};

const SOURCEMAP: HeaderName = HeaderName::from_static("sourcemap");
const X_SOURCEMAP: HeaderName = HeaderName::from_static("x-sourcemap");

/// The fields that hold links (RFC 9110 §10.2.2 and §8.7, RFC 8288, and two that browsers read).
const LINK_FIELDS: [HeaderName; 6] =
    [header::LOCATION, header::CONTENT_LOCATION, header::LINK, header::REFRESH, SOURCEMAP, X_SOURCEMAP];

/// Lengths of these names, as bits: most answers have none of the fields, and it shows by one look at each name.
const LINK_FIELD_LENGTHS: u32 = 1 << 8 | 1 << 16 | 1 << 4 | 1 << 7 | 1 << 9 | 1 << 11;

/// Whether any field may hold a link.
pub fn hold_links(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let length = name.as_str().len();
        length < 32 && LINK_FIELD_LENGTHS & 1 << length != 0 && LINK_FIELDS.contains(name)
    })
}

/// Makes the product's own links name the gate.
pub fn keep(headers: &mut HeaderMap, own: &Origins, gate: &GateAddress) {
    for name in LINK_FIELDS {
        let Entry::Occupied(mut values) = headers.entry(&name) else { continue };
        for value in values.iter_mut() {
            let kept = match name {
                header::LINK => list(value.as_bytes(), own, gate),
                header::REFRESH => refresh(value.as_bytes(), own, gate),
                _ => url(value.as_bytes(), own, gate),
            };
            if let Some(kept) = kept.and_then(|kept| HeaderValue::from_bytes(&kept).ok()) {
                *value = kept;
            }
        }
    }
}

/// Takes all of them away: of an answer that came from somewhere else, they speak of that place.
pub fn take_away(headers: &mut HeaderMap) {
    for name in LINK_FIELDS.iter().filter(|name| **name != header::LOCATION) {
        headers.remove(name);
    }
}

/// A whole URL; `None` where it is not the product's own.
fn url(value: &[u8], own: &Origins, gate: &GateAddress) -> Option<Vec<u8>> {
    let begun = start(&mut Plain::new(value)).ok()?;
    own.own(&begun).then(|| {
        let [scheme, authority] = gate.instead_of(&begun).map(str::as_bytes);
        [scheme, authority, value.get(begun.end..).unwrap_or_default()].concat()
    })
}

/// `<url>; rel="next", <url>; …` (RFC 8288 §3). What stands in quotes is no link.
fn list(value: &[u8], own: &Origins, gate: &GateAddress) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let (mut done, mut at) = (0, 0);
    let mut quoted = false;
    while let Some(byte) = value.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let rest = value.get(at + 1..).unwrap_or_default();
                let length = rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len());
                if let Some(link) = url(rest.get(..length).unwrap_or_default(), own, gate) {
                    kept.extend_from_slice(value.get(done..=at).unwrap_or_default());
                    kept.extend_from_slice(&link);
                    done = at + 1 + length;
                }
                at += length;
            }
            _ => {}
        }
        at += 1;
    }
    kept.extend_from_slice(value.get(done..).unwrap_or_default());
    (done > 0).then_some(kept)
}

/// `5; url=…`, as HTML reads it: the quotes and the word may be left out.
fn refresh(value: &[u8], own: &Origins, gate: &GateAddress) -> Option<Vec<u8>> {
    let after = value.iter().position(|byte| matches!(byte, b';' | b','))? + 1;
    let blanks = |at: usize| value.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count() + at;
    let mut at = blanks(after);
    if value.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"url")) {
        let equals = blanks(at + 3);
        at = if value.get(equals) == Some(&b'=') { blanks(equals + 1) } else { at };
    }
    at += usize::from(matches!(value.get(at), Some(b'"' | b'\'')));
    let link = url(value.get(at..)?, own, gate)?;
    Some([value.get(..at)?, &link].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::origin::Origin;

    /// The value that this field has afterwards.
    fn kept(name: &str, value: &str) -> String {
        let own = Origins::new(Origin::parse("https://acme.test").expect("an origin"), []);
        let name: HeaderName = name.parse().expect("a name");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_str(value).expect("a value"));
        assert!(hold_links(&headers));
        keep(&mut headers, &own, &GateAddress::new(false, "gate:80"));
        headers[&name].to_str().expect("text").to_owned()
    }

    #[test]
    fn own_links_name_the_gate_and_all_others_stay() {
        for name in ["location", "content-location", "sourcemap", "x-sourcemap"] {
            assert_eq!(kept(name, "https://ACME.test:443/a?b#c"), "http://gate:80/a?b#c");
            assert_eq!(kept(name, "//acme.test/a"), "http://gate:80/a");
            for stays in ["/a", "a", "?a", "https://acme.test.evil/", "https://evil/https://acme.test/", "mailto:a", ""]
            {
                assert_eq!(kept(name, stays), stays);
            }
        }
    }

    #[test]
    fn each_link_of_a_list_is_looked_at_and_nothing_in_quotes() {
        for (value, expected) in [
            ("<https://acme.test/2>; rel=\"next\"", "<http://gate:80/2>; rel=\"next\""),
            (
                "<https://acme.test/2>; rel=next, </1>, <https://evil/>, <https://acme.test/9>;rel=last",
                "<http://gate:80/2>; rel=next, </1>, <https://evil/>, <http://gate:80/9>;rel=last",
            ),
            (
                "</1>; title=\"<https://acme.test/>, \\\"<https://acme.test/>\"",
                "</1>; title=\"<https://acme.test/>, \\\"<https://acme.test/>\"",
            ),
            ("<https://acme.test/2", "<http://gate:80/2"),
            ("https://acme.test/2", "https://acme.test/2"),
        ] {
            assert_eq!(kept("link", value), expected);
        }
    }

    #[test]
    fn a_refresh_is_read_as_browsers_read_it() {
        for (value, expected) in [
            ("0; url=https://acme.test/a", "0; url=http://gate:80/a"),
            ("0;URL = 'https://acme.test/a'", "0;URL = 'http://gate:80/a'"),
            ("5, https://acme.test/a", "5, http://gate:80/a"),
            ("5", "5"),
            ("0; url=/a", "0; url=/a"),
            ("0; url=https://evil/", "0; url=https://evil/"),
        ] {
            assert_eq!(kept("refresh", value), expected);
        }
    }

    #[test]
    fn the_lengths_are_those_of_the_names() {
        let lengths = LINK_FIELDS.iter().fold(0, |lengths, name| lengths | 1 << name.as_str().len());
        assert_eq!(lengths, LINK_FIELD_LENGTHS);
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("x"));
        headers.insert("x-thing1", HeaderValue::from_static("x"));
        assert!(!hold_links(&headers));
    }
}
