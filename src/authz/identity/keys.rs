//! The public keys of an issuer (a JWK Set, RFC 7517), each pinned to one algorithm.
//!
//! A set is taken whole or not at all: one that a reader could take in two ways, or that gives a private key away, is
//! none. Keys for something else than signatures are left out, and so are weak ones: they verify nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use crate::authz::request::json::{self, Object, Value};

/// Bytes of a set. The largest in use hold some dozen keys with their certificates.
pub const SET_BYTES_MAX: usize = 256 << 10;
/// Keys of a set.
const KEYS_MAX: usize = 100;
/// Bits of an RSA modulus. Less is broken in years, more costs a verifier seconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How a token is signed (RFC 7518 §3.1, RFC 8037). There is no HMAC: a key that verifies must not be one that signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As a header names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Upper and lower case differ, as RFC 7515 has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }
}

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Family {
    /// What a key that names no algorithm is for: one, so that no key verifies in two ways.
    fn usual(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::Rs256,
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::Ed25519 => Algorithm::EdDsa,
        }
    }
}

/// Why a text is no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    #[error("is larger than {} KiB", SET_BYTES_MAX >> 10)]
    TooLarge,
    #[error("is no JSON document, or one that can be read in two ways")]
    NotJson,
    #[error("is no JWK Set: it lacks the list `keys`")]
    NotASet,
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
    #[error("holds a key that is malformed")]
    Malformed,
    #[error("holds a private key: whoever reads it can sign")]
    Private,
    #[error("gives two keys of one algorithm the same `kid`, or none")]
    Twofold,
    #[error("holds no key that a signature could be verified by")]
    Empty,
}

/// The keys of one issuer.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point, as its curve writes it.
    Point(Vec<u8>),
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &[u8]) -> Result<Self, NoKeys> {
        if text.len() > SET_BYTES_MAX {
            return Err(NoKeys::TooLarge);
        }
        let Ok(Value::Object(set)) = json::parse(text) else { return Err(NoKeys::NotJson) };
        let Ok(Some(Value::List(listed))) = set.member("keys") else { return Err(NoKeys::NotASet) };
        if listed.len() > KEYS_MAX {
            return Err(NoKeys::TooMany);
        }
        let mut keys: Vec<Key> = Vec::with_capacity(listed.len());
        for one in listed {
            let Value::Object(written) = one else { return Err(NoKeys::Malformed) };
            let Some(key) = Key::read(written)? else { continue };
            // Without ids only one key of an algorithm could be meant.
            let is_twofold = |known: &Key| known.algorithm == key.algorithm && known.id == key.id;
            if keys.iter().any(is_twofold) {
                return Err(NoKeys::Twofold);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(NoKeys::Empty) } else { Ok(Self { keys }) }
    }

    /// The one key that a token with this header is signed by. There is no second choice.
    pub fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&Key> {
        let mut own = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => own.find(|key| key.id.as_deref() == Some(id)),
            None => own.next().filter(|_| own.next().is_none()),
        }
    }
}

impl Key {
    /// `None`: it is sound, and not for signatures that are verified here.
    fn read(written: &Object<'_>) -> Result<Option<Self>, NoKeys> {
        // RFC 7518 §6: the private members of every kind of key, and the one member of a symmetric one.
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            if member(written, private)?.is_some() {
                return Err(NoKeys::Private);
            }
        }
        let usage = text(written, "use")?.is_none_or(|usage| usage == "sig");
        let operations = match member(written, "key_ops")? {
            None => true,
            Some(Value::List(all)) => all.iter().any(|one| matches!(one, Value::Text(name) if name == "verify")),
            Some(_) => return Err(NoKeys::Malformed),
        };
        let kind = text(written, "kty")?.ok_or(NoKeys::Malformed)?;
        let curve = text(written, "crv")?;
        let family = match (kind, curve) {
            ("RSA", None) => Family::Rsa,
            ("EC", Some("P-256")) => Family::P256,
            ("EC", Some("P-384")) => Family::P384,
            ("OKP", Some("Ed25519")) => Family::Ed25519,
            _ => return Ok(None),
        };
        let algorithm = match text(written, "alg")? {
            None => family.usual(),
            Some(name) => match Algorithm::named(name).filter(|named| named.family() == family) {
                Some(algorithm) => algorithm,
                None => return Ok(None),
            },
        };
        if !usage || !operations {
            return Ok(None);
        }
        let material = match family {
            Family::Rsa => {
                let (modulus, exponent) = (bytes(written, "n")?, bytes(written, "e")?);
                let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
                let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !RSA_BITS.contains(&(modulus.len() * 8 - leading.min(modulus.len() * 8))) {
                    return Ok(None);
                }
                Material::Rsa { modulus, exponent }
            }
            Family::P256 => point(written, 32)?,
            Family::P384 => point(written, 48)?,
            Family::Ed25519 => Material::Point(sized(bytes(written, "x")?, 32)?),
        };
        let id = text(written, "kid")?.map(Box::from);
        Ok(Some(Self { id, algorithm, material }))
    }

    /// Whether the key's owner signed this.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let by_rsa = |how: &'static signature::RsaParameters| match &self.material {
            Material::Rsa { modulus: n, exponent: e } => RsaPublicKeyComponents { n, e }.verify(how, signed, signature),
            Material::Point(_) => Err(ring::error::Unspecified),
        };
        let by_point = |how: &'static dyn signature::VerificationAlgorithm| match &self.material {
            Material::Point(point) => UnparsedPublicKey::new(how, point).verify(signed, signature),
            Material::Rsa { .. } => Err(ring::error::Unspecified),
        };
        let verified = match self.algorithm {
            Algorithm::Rs256 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => by_rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => by_rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => by_rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => by_point(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => by_point(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDsa => by_point(&signature::ED25519),
        };
        verified.is_ok()
    }
}

fn member<'o>(written: &'o Object<'_>, name: &str) -> Result<Option<&'o Value<'o>>, NoKeys> {
    // RSA has a modulus `n` and no `N`: a member that differs in case alone is one that two readers read differently.
    written.member(name).map_err(|_| NoKeys::Malformed)
}

fn text<'o>(written: &'o Object<'_>, name: &str) -> Result<Option<&'o str>, NoKeys> {
    match member(written, name)? {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(NoKeys::Malformed),
    }
}

fn bytes(written: &Object<'_>, name: &str) -> Result<Vec<u8>, NoKeys> {
    let text = text(written, name)?.ok_or(NoKeys::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NoKeys::Malformed)
}

fn sized(bytes: Vec<u8>, length: usize) -> Result<Vec<u8>, NoKeys> {
    if bytes.len() == length { Ok(bytes) } else { Err(NoKeys::Malformed) }
}

/// A point of a curve, uncompressed (SEC 1 §2.3.3).
fn point(written: &Object<'_>, length: usize) -> Result<Material, NoKeys> {
    let (x, y) = (sized(bytes(written, "x")?, length)?, sized(bytes(written, "y")?, length)?);
    Ok(Material::Point([&[4], &x[..], &y[..]].concat()))
}
