//! What in a request a grant may limit by `where`: how it is read, and what a request tells of it.
//!
//! Nothing here refuses: what is absent, or could be read in two ways, is not told, and a grant that is limited by it
//! then gives nothing.

use super::{Catalog, LimitReading, Operation};
use crate::authz::origin::{Plain, Scheme, start};
use crate::authz::request::json::Value;
use crate::authz::request::{BadRequest, Facts};

/// The longest URL that is read. Products take no longer ones for a webhook.
const URL_BYTES_MAX: usize = 2_048;
/// What DNS takes (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Something that a grant may limit, numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u8);

/// Something in requests that a grant may limit by `where`.
#[derive(Debug)]
pub struct Limit {
    pub name: Box<str>,
    pub why: Box<str>,
    pub reading: LimitReading,
}

/// Where it stands in the requests of an operation: a JSON pointer into the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitPlace {
    pub limit: LimitId,
    pub pointer: Box<str>,
}

/// What a request tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    pub limit: LimitId,
    /// `None`: it is absent, or cannot be read in one way only.
    pub value: Option<Box<str>>,
}

impl Catalog {
    pub fn limit(&self, name: &str) -> Option<LimitId> {
        let index = self.limits.iter().position(|limit| &*limit.name == name)?;
        u8::try_from(index).ok().map(LimitId)
    }

    pub fn limit_name(&self, id: LimitId) -> &str {
        self.limits.get(usize::from(id.0)).map_or("?", |limit| &limit.name)
    }
}

impl Operation {
    /// Whether its requests can tell what a grant limits.
    pub fn tells(&self, limit: LimitId) -> bool {
        self.limits.iter().any(|place| place.limit == limit)
    }
}

/// What a request tells of all that may be limited in it. Of most operations that is nothing.
///
/// # Errors
/// The body is not what the catalog says, or two readers would find two things in it.
#[inline]
pub fn limited(catalog: &Catalog, operation: &Operation, facts: &Facts<'_>) -> Result<Box<[Limited]>, BadRequest> {
    if operation.limits.is_empty() {
        return Ok(Box::default());
    }
    let body = facts.body.json()?;
    let one = |place: &LimitPlace| -> Result<Limited, BadRequest> {
        let value = body.map(|body| body.at(&place.pointer)).transpose()?.flatten();
        let reading = catalog.limits.get(usize::from(place.limit.0)).map(|limit| limit.reading);
        Ok(Limited { limit: place.limit, value: value.zip(reading).and_then(|(value, how)| read(value, how)) })
    };
    operation.limits.iter().map(one).collect()
}

fn read(value: &Value<'_>, reading: LimitReading) -> Option<Box<str>> {
    let Value::Text(text) = value else { return None };
    match reading {
        LimitReading::UrlHost => url_host(text),
    }
}

/// The host that a URL names, in lower case, where every reader of URLs finds the same: `https://`, a name, and a path or
/// nothing. Anything else (another scheme, a user, a port, an address, a last dot, what browsers drop or turn round) is none.
pub fn url_host(url: &str) -> Option<Box<str>> {
    let plain = url.len() <= URL_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let begun = start(&mut Plain::new(url.as_bytes())).ok().filter(|_| plain)?;
    let written = url.get("https://".len()..begun.end)?;
    let rest = url.get(begun.end..)?;
    let host = std::str::from_utf8(begun.host()).ok()?;
    // What was taken off, a port or a dot, makes it differ.
    let as_written = written.eq_ignore_ascii_case(host);
    let ends_plainly = rest.is_empty() || rest.starts_with('/');
    let is_plain = begun.scheme == Some(Scheme::Https) && as_written && ends_plainly && is_host_name(host);
    // Another reader, of whole URLs.
    let other = url.parse::<http::Uri>().ok().filter(|_| is_plain)?;
    let agrees = other.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host));
    agrees.then(|| host.into())
}

/// Whether a text in lower case is the name of a host (RFC 1123 §2.1), and no address in any spelling.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        !label.is_empty() && label.len() <= LABEL_BYTES_MAX && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    // Readers take `1.2.3.4`, `0x7f.1` and `2130706433` for addresses by their last part.
    let is_number = |last: &str| last.bytes().next().is_some_and(|first| first.is_ascii_digit());
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label) && !is_number(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_where_every_reader_finds_the_same() {
        for (url, host) in [
            ("https://hooks.example.com", "hooks.example.com"),
            ("https://hooks.example.com/", "hooks.example.com"),
            ("HTTPS://Hooks.Example.COM/in?key=%40#x", "hooks.example.com"),
            ("https://hooks.example.com/a@b:c//d", "hooks.example.com"),
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
            ("https://hooks/", "hooks"),
        ] {
            assert_eq!(url_host(url).as_deref(), Some(host), "{url}");
        }
    }

    #[test]
    fn what_two_readers_could_take_for_two_hosts_tells_none() {
        for url in [
            "",
            "https://",
            "https:///hooks.example.com/",
            "https:hooks.example.com/",
            "https:/hooks.example.com/",
            "//hooks.example.com/",
            "/hooks.example.com/",
            "hooks.example.com",
            "http://hooks.example.com/",
            "wss://hooks.example.com/",
            "ftp://hooks.example.com/",
            "javascript://hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://hooks.example.com@evil.example/",
            "https://hooks.example.com:pass@evil.example/",
            "https://hooks.example.com:443/",
            "https://hooks.example.com:/",
            "https://hooks.example.com:8443/",
            "https://hooks.example.com./",
            "https://hooks.example.com..",
            "https://.hooks.example.com/",
            "https://hooks..example.com/",
            "https://hooks.example.com\\@evil.example/",
            "https://evil.example\\.hooks.example.com/",
            "https:\\\\hooks.example.com/",
            "https://hooks.example.com?@evil.example/",
            "https://hooks.example.com#@evil.example/",
            "https://hooks.example.com;@evil.example/",
            "https://hooks.example.com%2f@evil.example/",
            "https://hooks.example.com%00.evil.example/",
            "https://%68ooks.example.com/",
            " https://hooks.example.com/",
            "https://hooks.example.com/ ",
            "https://hooks.exam\tple.com/",
            "https://hooks.example.com/\r\nhost: evil.example",
            "https://hooks.example.com/\0",
            "https://hooks.example\u{3002}com/",
            "https://hooks.example\u{ff0e}com/",
            "https://b\u{fc}cher.example/",
            "https://hooks.example.com/\u{fc}",
            "https://\u{ff48}ooks.example.com/",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://017700000001/",
            "https://1.1/",
            "https://a.0x7f/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://hooks_1.example.com/",
            "https://-hooks.example.com/",
            "https://*.example.com/",
        ] {
            assert_eq!(url_host(url), None, "{url:?}");
        }
        let long = |label: &str| format!("https://{}.example.com/", [label; 30].join("."));
        assert_eq!(url_host(&long("hooks123")), None, "DNS takes no such name");
        assert_eq!(url_host(&format!("https://{}.example/", "a".repeat(64))), None, "nor such a part of one");
        assert_eq!(url_host(&format!("https://hooks.example.com/{}", "a".repeat(URL_BYTES_MAX))), None);
    }
}
