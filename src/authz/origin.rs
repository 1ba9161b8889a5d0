//! Origins (RFC 6454): scheme, host and port, compared in one spelling, and where in a URL the origin ends.

mod begin;

use std::fmt;

pub use begin::{Begun, NoOrigin, Plain, Scheme, Unit, Units, start};

/// An origin of the web.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub secure: bool,
    /// A DNS name in lower case without a last dot, or an IP address without brackets.
    pub host: Box<str>,
    pub port: u16,
}

impl Origin {
    /// `http://host`, `https://host:port`, and nothing after it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut units = Plain::new(text.as_bytes());
        start(&mut units).ok().filter(|begun| begun.end == text.len())?.origin()
    }

    /// Host and port as a URL has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.port == Self::default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }

    /// The port that a URL of this origin leaves out.
    fn default_port(secure: bool) -> u16 {
        if secure { 443 } else { 80 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "https://" } else { "http://" })?;
        f.write_str(&self.authority())
    }
}

/// The names under which one product speaks of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    all: Box<[Origin]>,
    /// Each as nearly every link of the product writes it, with the slash that follows.
    usual: Box<[Box<str>]>,
}

impl Origins {
    /// The origin that requests go to, and its other names. The same host without TLS is one of them: a product behind
    /// a proxy that ends TLS often names itself so, and its link would carry the credential in the clear.
    pub fn new(upstream: Origin, others: impl IntoIterator<Item = Origin>) -> Self {
        let plain = Origin { secure: false, port: 80, host: upstream.host.clone() };
        let twin = (upstream.secure && upstream.port == 443).then_some(plain);
        let all: Box<[Origin]> = [upstream].into_iter().chain(twin).chain(others).collect();
        let usual = all.iter().map(|origin| format!("{origin}/").into()).collect();
        Self { all, usual }
    }

    /// The origin that requests go to.
    pub fn upstream(&self) -> Option<&Origin> {
        self.all.first()
    }

    /// Where the origin ends in a link that names one of these in its usual spelling, and has a path.
    #[inline]
    pub fn usual_end(&self, link: &[u8]) -> Option<usize> {
        self.usual.iter().find(|usual| link.starts_with(usual.as_bytes())).map(|usual| usual.len() - 1)
    }

    /// Whether a URL that begins so is the product's own.
    pub fn own(&self, begun: &Begun) -> bool {
        self.all.iter().any(|origin| {
            let scheme = begun.scheme.is_none_or(|scheme| scheme.is_secure() == origin.secure);
            let port = begun.port.unwrap_or_else(|| Origin::default_port(origin.secure));
            scheme && port == origin.port && begun.host() == origin.host.as_bytes()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> bool {
        let own = Origins::new(
            Origin::parse("https://acme.atlassian.net").unwrap(),
            [Origin::parse("http://[::1]:8080").unwrap()],
        );
        start(&mut Plain::new(text.as_bytes())).is_ok_and(|begun| own.own(&begun))
    }

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, spelled) in [
            ("https://Acme.Atlassian.NET", "https://acme.atlassian.net"),
            ("HTTPS://acme.atlassian.net.:443", "https://acme.atlassian.net"),
            ("http://a:0080", "http://a"),
            ("http://a:", "http://a"),
            ("http://a:443", "http://a:443"),
            ("https://[0:0::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(Origin::parse(text).expect(text).to_string(), spelled);
        }
        for wrong in [
            "https://a/",
            "https://a?x",
            "https://",
            "https://.",
            "//a",
            "wss://a",
            "ftp://a",
            "https:/a",
            "https:a",
            "https://u@a",
            "https://a:b",
            "https://a:70000",
            "https://a:000000443",
            "https://%61",
            "https://[::1",
            "https://[::1]x",
            "https://[g]",
            "https://a b",
            " https://a",
            "https://ä",
            "",
            "a",
        ] {
            assert_eq!(Origin::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn own_links_are_told_from_those_that_only_look_so() {
        for text in [
            "https://acme.atlassian.net",
            "https://acme.atlassian.net/rest/api/3/issue/1",
            "HTTPS://ACME.ATLASSIAN.NET:443/x",
            "https://acme.atlassian.net?x",
            "https://acme.atlassian.net#x",
            "https://acme.atlassian.net\\x",
            "http://acme.atlassian.net/x",
            "wss://acme.atlassian.net/x",
            "//acme.atlassian.net/x",
            "http://[0::1]:8080/x",
        ] {
            assert!(own(text), "{text}");
        }
        for text in [
            "https://acme.atlassian.net.evil.example/",
            "https://acme.atlassian.net@evil.example/",
            "https://evil.example/https://acme.atlassian.net/",
            "https://acme.atlassian.net:8443/",
            "http://acme.atlassian.net:443/",
            "https://acme.atlassian.ne",
            "https://xacme.atlassian.net",
            "https:/acme.atlassian.net/",
            "///acme.atlassian.net/",
            "/acme.atlassian.net/",
            "ftp://acme.atlassian.net/",
            "",
        ] {
            assert!(!own(text), "{text}");
        }
    }
}
