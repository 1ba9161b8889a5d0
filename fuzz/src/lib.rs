//! What the fuzz targets share: how bytes become a request, and a fixed policy to judge it by.
//!
//! An input is text that a person can write: a request line, header lines, an empty line, a body. Lines end in LF alone,
//! so that CR is a byte like any other.

use std::path::Path;
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};
use scopegate::authz::catalog::builtin;
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::snapshot::Snapshot;
use scopegate::problem::Problem;

/// The time of every judgement: 2026-12-01, in Unix milliseconds.
pub const NOW_MS: i64 = 1_796_083_200_000;
/// What both tokens begin with whose SHA-256 stands in `judged.yaml`.
pub const TOKEN: &str = "fuzz-token";
/// A token that no policy names: what it calls is never permitted.
pub const STRANGER: &str = "a-token-of-nobody";
/// The tenant of every installation in `judged.yaml`, and of the gates.
pub const TENANT: &str = "acme";

/// What stands before the first empty line, and what follows it.
pub fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, b""),
    }
}

/// Header lines, as far as the HTTP library takes them.
pub fn headers<'b>(lines: impl Iterator<Item = &'b [u8]>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(headers)
}

/// `METHOD TARGET` or `METHOD TARGET 2` and header lines. `None`: the HTTP library refuses it before scopegate sees it.
pub fn parts(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let (first, version) = match first.strip_suffix(b" 2") {
        Some(first) => (first, Version::HTTP_2),
        None => (first, Version::HTTP_11),
    };
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = http::Request::new(());
    *request.method_mut() = Method::from_bytes(&first[..space]).ok()?;
    *request.uri_mut() = Uri::try_from(&first[space + 1..]).ok()?;
    *request.version_mut() = version;
    *request.headers_mut() = headers(lines)?;
    Some(request.into_parts().0)
}

/// The same request as an upstream gets it: this target, and the host in `Host`.
pub fn forwarded(parts: &Parts, target: &str, host: &str) -> Option<Parts> {
    let mut request = http::Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::try_from(target).ok()?;
    *request.headers_mut() = parts.headers.clone();
    if !parts.headers.contains_key(HOST) {
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).ok()?);
    }
    Some(request.into_parts().0)
}

/// Percent-decoding as a lenient server does it: what is not `%xx` stays.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        let pair = pair.filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(encoded) => {
                decoded.push(encoded);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// The built-in catalogs.
pub fn catalogs() -> Arc<Catalogs> {
    Arc::new(Catalogs::new(builtin::products().filter_map(|(product, _)| builtin::catalog(product))))
}

/// One policy file that is now this text.
pub fn written(content: Content) -> Vec<Change> {
    vec![Change { file: Arc::from(Path::new("policy.yaml")), origin: Origin::Policy, content }]
}

/// A gate that takes tokens for one product, not under observe.
pub fn gate(catalogs: &Catalogs, product: &str) -> GateRules {
    GateRules {
        name: product.into(),
        catalog: Arc::clone(&catalogs.by_name(product).expect("a catalog of that product").catalog),
        identify: Identify { gate_key: false, token: true, connect_jwt: false, ..Identify::default() },
        tenant: TenantRule::Fixed(TENANT.into()),
        issue_keys_prefix: true,
        names_as_written: true,
        channel_types_prefix: false,
        observe_until_ms: None,
    }
}

/// A fixed policy in force, and a gate before each product.
pub struct Judged {
    pub snapshot: Snapshot,
    pub gates: Vec<GateRules>,
}

impl Judged {
    pub fn new() -> Self {
        let catalogs = catalogs();
        let mut store = Store::new(Arc::clone(&catalogs));
        store.apply(written(Content::Text(include_str!("judged.yaml").into())), NOW_MS);
        let problems = store.problems();
        assert!(!problems.iter().any(Problem::is_error), "{problems:?}");
        assert!(store.settle());
        let gates = catalogs.iter().map(|product| gate(&catalogs, &product.catalog.product)).collect();
        Self { snapshot: store.snapshot(&Secrets::new()), gates }
    }
}

impl Default for Judged {
    fn default() -> Self {
        Self::new()
    }
}
