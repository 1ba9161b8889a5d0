//! Access tokens of an identity provider: a JWT (RFC 7519) that one of its published keys signed, for this gate.
//!
//! The token says which issuer and which key; both must be known before, and the key fixes the algorithm. Nothing that a
//! token brings along (`jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64`, …) is ever followed: such a token is refused (RFC 8725).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{ClaimNames, Claims, Unreadable};
use super::keys::{Algorithm, KeySet};
use crate::authz::request::json::{self, Object, Value};

/// The longest token, in bytes. One with two hundred groups has about as many.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clocks of issuer and gate may differ.
pub const LEEWAY_S: u64 = 30;

/// An issuer whose tokens a gate takes, and what they must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Exactly as `iss` says it.
    pub name: Arc<str>,
    /// `aud` must name one of them.
    pub audiences: Box<[Box<str>]>,
    pub algorithms: Box<[Algorithm]>,
    /// The furthest that `exp` may lie ahead, in seconds.
    pub life_max_s: u64,
    pub claims: ClaimNames,
}

/// What a text is, shown where a token may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No JWT, or one of an issuer that the gate does not know.
    NotOurs,
    /// It proves nothing.
    Failed,
    /// All of it is right, as far as that can be told without its key: this issuer's set has none of that name. With when it
    /// says that it was made, in Unix milliseconds.
    KeyUnknown(usize, Option<i64>),
    /// The same, and there is no set of this issuer.
    NoKeys(usize),
    Proven(usize, Claims),
}

/// Whether the text may be a signed JWT: three parts, of which the first is an object.
pub fn may_be_one(token: &[u8]) -> bool {
    memchr::memchr_iter(b'.', token).take(3).count() == 2
        && token.first() == Some(&b'e')
        && token.get(1).is_some_and(|byte| matches!(byte, b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Reads and verifies a token. `keys` gives the set of an issuer, by its place in the list.
pub fn see(token: &[u8], issuers: &[Issuer], keys: impl Fn(usize) -> Option<Arc<KeySet>>, now_ms: i64) -> Seen {
    if !may_be_one(token) {
        return Seen::NotOurs;
    }
    // Whose it is cannot be told: it may be anybody's, and an upstream that reads it otherwise may believe it.
    read(token, issuers, keys, now_ms).unwrap_or(Seen::Failed)
}

fn read(
    token: &[u8],
    issuers: &[Issuer],
    keys: impl Fn(usize) -> Option<Arc<KeySet>>,
    now_ms: i64,
) -> Result<Seen, Unreadable> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Unreadable);
    }
    let token = std::str::from_utf8(token).map_err(|_| Unreadable)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(Unreadable)?;
    let (header, claims) = signed.split_once('.').ok_or(Unreadable)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Unreadable);
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let (header, claims) =
        (json::parse(&header).map_err(|_| Unreadable)?, json::parse(&claims).map_err(|_| Unreadable)?);
    let (Value::Object(header), Value::Object(members)) = (&header, &claims) else { return Err(Unreadable) };

    let issuer = match members.member("iss") {
        Ok(Some(Value::Text(issuer))) => issuers.iter().position(|known| *known.name == **issuer),
        Ok(None) => None,
        Ok(Some(_)) | Err(_) => return Err(Unreadable),
    };
    let Some((index, issuer)) = issuer.and_then(|index| Some((index, issuers.get(index)?))) else {
        return Ok(Seen::NotOurs);
    };
    let (algorithm, key_id) = check_header(header)?;
    if !issuer.algorithms.contains(&algorithm) {
        return Err(Unreadable);
    }
    let until_ms = check_times(members, issuer.life_max_s, now_ms)?;
    check_audience(members, &issuer.audiences)?;
    let said = Claims::read(&issuer.claims, &issuer.name, &claims, until_ms)?;
    let Some(keys) = keys(index) else { return Ok(Seen::NoKeys(index)) };
    let Some(key) = keys.find(algorithm, key_id) else {
        let made_ms = seconds(members, "iat")?.and_then(|made| i64::try_from(made.saturating_mul(1000)).ok());
        return Ok(Seen::KeyUnknown(index, made_ms));
    };
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(Unreadable);
    }
    Ok(Seen::Proven(index, said))
}

/// Only `alg`, `kid` and `typ`: whatever else stands there asks for something that is not done here. A thumbprint of the key's
/// certificate (RFC 7515 §4.1.7) asks for nothing where the key is named: Microsoft's tokens have both.
fn check_header<'h>(header: &'h Object<'_>) -> Result<(Algorithm, Option<&'h str>), Unreadable> {
    let (mut algorithm, mut key_id, mut is_printed) = (None, None, false);
    for (name, value) in header.iter() {
        match (name, value) {
            ("alg", Value::Text(name)) => algorithm = Some(Algorithm::named(name).ok_or(Unreadable)?),
            ("kid", Value::Text(id)) => key_id = Some(&**id),
            ("typ", Value::Text(kind)) if is_access_token(kind) => {}
            ("x5t" | "x5t#S256", Value::Text(_)) => is_printed = true,
            _ => return Err(Unreadable),
        }
    }
    if is_printed && key_id.is_none() {
        return Err(Unreadable);
    }
    Ok((algorithm.ok_or(Unreadable)?, key_id))
}

/// RFC 9068 §2.1; most issuers say `JWT`. A logout token or a DPoP proof is not what stands for a caller.
fn is_access_token(kind: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// When the token ends, in Unix milliseconds.
fn check_times(claims: &Object<'_>, life_max_s: u64, now_ms: i64) -> Result<i64, Unreadable> {
    let now = u64::try_from(now_ms / 1000).map_err(|_| Unreadable)?;
    let latest_start = now.saturating_add(LEEWAY_S);
    let expires = seconds(claims, "exp")?.ok_or(Unreadable)?;
    let ends = expires.saturating_add(LEEWAY_S);
    if ends <= now || expires > latest_start.saturating_add(life_max_s) {
        return Err(Unreadable);
    }
    let issued = seconds(claims, "iat")?;
    if issued.is_some_and(|issued| issued > latest_start || issued > expires) {
        return Err(Unreadable);
    }
    if seconds(claims, "nbf")?.is_some_and(|not_before| not_before > latest_start) {
        return Err(Unreadable);
    }
    i64::try_from(ends.saturating_mul(1000)).map_err(|_| Unreadable)
}

fn seconds(claims: &Object<'_>, name: &str) -> Result<Option<u64>, Unreadable> {
    match claims.member(name).map_err(|_| Unreadable)? {
        None => Ok(None),
        Some(Value::Whole(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(Unreadable),
    }
}

/// One audience or a list of them (RFC 7519 §4.1.3).
fn check_audience(claims: &Object<'_>, own: &[Box<str>]) -> Result<(), Unreadable> {
    let is_own = |text: &str| own.iter().any(|one| **one == *text);
    let named = match claims.member("aud").map_err(|_| Unreadable)? {
        Some(Value::Text(one)) => is_own(one),
        Some(Value::List(all)) => {
            let texts = all.iter().map(|one| match one {
                Value::Text(text) => Ok(&**text),
                _ => Err(Unreadable),
            });
            texts.collect::<Result<Vec<&str>, _>>()?.into_iter().any(is_own)
        }
        Some(_) | None => return Err(Unreadable),
    };
    if named { Ok(()) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests;
