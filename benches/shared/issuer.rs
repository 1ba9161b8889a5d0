//! An identity provider to measure against: one key of each usual sort, and a token signed by each.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop at the first surprise")]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use scopegate::authz::gate::GateRules;
use scopegate::authz::identity::claims::{ClaimName, ClaimNames};
use scopegate::authz::identity::jwt::Issuer;
use scopegate::authz::identity::keys::{Algorithm, KeySet};
use scopegate::proxy::issuers::{Issuers, Keys};
use serde_json::json;

use super::estate::NOW_MS;

const ISSUER: &str = "https://idp.example.com/realms/acme";

pub fn issuer() -> Issuer {
    let name = |text| ClaimName::new(text).unwrap();
    let claims = ClaimNames { app: name("azp"), tenant: None, user: name("sub"), groups: Some(name("groups")) };
    let algorithms = Box::new([Algorithm::Rs256, Algorithm::Es256]);
    Issuer { name: ISSUER.into(), audiences: Box::new(["gate".into()]), algorithms, life_max_s: 86_400, claims }
}

/// Tokens of one app for one user in ten groups, of some 900 bytes, and the keys that verify them.
pub struct Signed {
    pub rs256: String,
    pub es256: String,
    jwks: String,
}

impl Signed {
    pub fn new(app: usize) -> Self {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../../tests/cases/jwt/rsa2048.pk8")).unwrap();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let curve = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let groups: Vec<String> = (0..10).map(|group| format!("6f1c2d3e-0000-4000-8000-{group:012}")).collect();
        let now_s = NOW_MS / 1000;
        let claims = json!({
            "iss": ISSUER, "aud": ["gate"], "exp": now_s + 3_600, "iat": now_s, "nbf": now_s, "azp": format!("app-{app}"),
            "sub": "6f1c2d3e-aaaa-4000-8000-000000000001", "scope": "openid profile", "jti": "0af7651916cd43dd", "groups": groups,
        });
        let part = |algorithm: &str| {
            let header = json!({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"});
            format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()))
        };
        let (by_rsa, by_curve) = (part("RS256"), part("ES256"));
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, by_rsa.as_bytes(), &mut signature).unwrap();
        let public: PublicKeyComponents<Vec<u8>> = rsa.public().into();
        let point = curve.public_key().as_ref();
        let keys = json!({"keys": [
            {"kty": "RSA", "kid": "RS256", "n": encoded(public.n), "e": encoded(public.e)},
            {"kty": "EC", "crv": "P-256", "kid": "ES256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
        ]});
        Self {
            rs256: format!("{by_rsa}.{}", encoded(signature)),
            es256: format!("{by_curve}.{}", encoded(curve.sign(&random, by_curve.as_bytes()).unwrap())),
            jwks: keys.to_string(),
        }
    }

    /// A worker's memory of tokens, with nothing in it.
    pub fn issuers(&self, gate: &GateRules) -> Issuers {
        let keys = Keys::of_file(KeySet::parse(self.jwks.as_bytes()).unwrap());
        Issuers::new(Arc::clone(&gate.identify.jwt), [keys].into())
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
