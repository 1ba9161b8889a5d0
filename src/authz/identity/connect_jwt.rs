//! Atlassian Connect: a JWT (HS256) over the caller's key, its time and the URL of this one request.
//!
//! The algorithm is pinned, not read: the header must say what is done anyway. `sub` names a user but proves
//! none, so nothing here reads it. See "Understanding JWT for Connect apps" and "Query string hash" of Atlassian.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::authz::policy::credentials::{Credentials, KnownCredential, Proof};
use crate::authz::request::RequestView;
use crate::authz::request::json::{self, Object, Value};
use crate::authz::request::query::decode_bytes;

/// The longest token, in bytes: real ones have about 400.
pub const TOKEN_MAX: usize = 8 * 1024;
/// The furthest that `exp` may lie ahead. Atlassian's libraries take 3 minutes; a longer life is a standing credential.
pub const LIFE_MAX_S: u64 = 60 * 60;
/// How far two clocks may differ, as in Atlassian's libraries.
pub const LEEWAY_S: u64 = 30;

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No policy names the `iss`.
    UnknownIssuer,
    Invalid,
}

/// The credential that the token proves.
pub fn verify<'p>(
    token: &str,
    credentials: &'p Credentials,
    request: &RequestView<'_>,
    now_ms: i64,
) -> Result<&'p Arc<KnownCredential>, Refused> {
    if token.len() > TOKEN_MAX {
        return Err(Refused::Invalid);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Invalid)?;
    let (header, claims) = signed.split_once('.').ok_or(Refused::Invalid)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Invalid);
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let (header, claims) = (object(&header)?, object(&claims)?);
    check_header(&header)?;

    let credential = credentials.by_client_key.get(text(&claims, "iss")?);
    let secret = credential.and_then(|credential| match &credential.proof {
        Proof::ConnectJwt { secret } => secret.as_ref(),
        Proof::GateKey { .. } | Proof::Token | Proof::Client { .. } => None,
    });
    // An unknown issuer costs the same time as a known one: the answer's delay tells nobody which keys exist.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.map_or(&[0; 32], |secret| secret.bytes()))
        .map_err(|_| Refused::Invalid)?;
    mac.update(signed.as_bytes());
    let genuine = mac.verify_slice(&signature).is_ok();
    let credential = credential.ok_or(Refused::UnknownIssuer)?;
    // An empty secret file is no secret: anyone could sign with it.
    if !genuine || secret.is_none_or(|secret| secret.bytes().is_empty()) {
        return Err(Refused::Invalid);
    }
    check_times(&claims, now_ms)?;
    let hash = query_string_hash(request);
    // `context-qsh` covers no URL, so it is refused like any other text that is not the hash.
    if !bool::from(hash.as_bytes().ct_eq(text(&claims, "qsh")?.as_bytes())) {
        return Err(Refused::Invalid);
    }
    Ok(credential)
}

/// The strict reader refuses duplicate members: which `iss` counts is no open question.
fn object(part: &[u8]) -> Result<Object<'_>, Refused> {
    match json::parse(part) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refused::Invalid),
    }
}

/// Only `alg` and `typ`: `crit`, `b64`, `jwk`, `jku`, `x5u`, `kid` would ask for something that is not done here.
fn check_header(header: &Object<'_>) -> Result<(), Refused> {
    let allowed = |(name, value): (&str, &Value<'_>)| match (name, value) {
        ("alg", Value::Text(algorithm)) => algorithm == "HS256",
        ("typ", Value::Text(kind)) => kind.eq_ignore_ascii_case("JWT"),
        _ => false,
    };
    let names_algorithm = header.iter().any(|(name, _)| name == "alg");
    if names_algorithm && header.iter().all(allowed) { Ok(()) } else { Err(Refused::Invalid) }
}

fn check_times(claims: &Object<'_>, now_ms: i64) -> Result<(), Refused> {
    let now = u64::try_from(now_ms / 1000).map_err(|_| Refused::Invalid)?;
    let latest_start = now + LEEWAY_S;
    let expires = seconds(claims, "exp")?.ok_or(Refused::Invalid)?;
    if expires.saturating_add(LEEWAY_S) <= now || expires > now + LIFE_MAX_S + LEEWAY_S {
        return Err(Refused::Invalid);
    }
    let issued = seconds(claims, "iat")?.unwrap_or(now);
    if issued > latest_start || issued > expires {
        return Err(Refused::Invalid);
    }
    match seconds(claims, "nbf")? {
        Some(not_before) if not_before > latest_start => Err(Refused::Invalid),
        _ => Ok(()),
    }
}

fn member<'c>(claims: &'c Object<'_>, name: &str) -> Result<Option<&'c Value<'c>>, Refused> {
    claims.member(name).map_err(|_| Refused::Invalid)
}

fn text<'c>(claims: &'c Object<'_>, name: &str) -> Result<&'c str, Refused> {
    match member(claims, name)? {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(Refused::Invalid),
    }
}

fn seconds(claims: &Object<'_>, name: &str) -> Result<Option<u64>, Refused> {
    match member(claims, name)? {
        None => Ok(None),
        Some(Value::Whole(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(Refused::Invalid),
    }
}

/// `qsh`: SHA-256, in lower-case hex, of the request as received.
pub fn query_string_hash(request: &RequestView<'_>) -> String {
    Sha256::digest(canonical_request(request)).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Method, path and sorted query, joined by `&`; the path of the gate's own base is empty.
fn canonical_request(request: &RequestView<'_>) -> String {
    let path = request.received_path().replace('&', "%26");
    let path = path.strip_suffix('/').unwrap_or(&path);
    let path = if path.is_empty() { "/" } else { path };
    format!("{}&{path}&{}", request.method, canonical_query(request))
}

/// Encoded names in order; the values of a repeated one in order, joined by commas. `jwt` itself is left out.
fn canonical_query(request: &RequestView<'_>) -> String {
    let pairs = request.arguments().iter().filter(|(name, _)| *name != "jwt");
    let mut pairs: Vec<(String, String)> = pairs.map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort_unstable();
    let mut query = String::new();
    let mut previous: Option<&str> = None;
    for (name, value) in &pairs {
        if previous == Some(name) {
            query.push(',');
        } else {
            if previous.is_some() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
        }
        query.push_str(value);
        previous = Some(name);
    }
    query
}

/// Decodes, then encodes everything that is not unreserved, as OAuth 1 does (RFC 5849 §3.6).
fn encode(raw: &str) -> String {
    let mut encoded = String::with_capacity(raw.len());
    for byte in decode_bytes(raw) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
