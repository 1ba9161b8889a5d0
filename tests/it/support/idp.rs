//! An identity provider: keys of its own, a stub that publishes them, and tokens that it signs.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::upstream::{Reply, StubUpstream};

pub const ISSUER: &str = "https://idp.example.com";

/// A key that signs, by its name.
pub struct SigningKey {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub fn new(id: &str) -> Self {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).expect("a key");
        Self { id: id.to_owned(), pair }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id}), claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", encoded(signature))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The set of these keys.
pub fn jwks(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<Value>>()}).to_string()
}

/// What the app `assist` shows for the user `dana`, for ten minutes, with these in place of its own; null takes one out.
pub fn claims(changes: Value) -> Value {
    let now = scopegate::clock::unix_ms() / 1000;
    let mut claims =
        json!({"iss": ISSUER, "aud": "scopegate", "exp": now + 600, "iat": now, "azp": "assist", "sub": "dana"});
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Where keys are published: what it answers can be changed.
pub struct Published {
    pub stub: StubUpstream,
    reply: Arc<Mutex<Reply>>,
}

impl Published {
    pub fn new(reply: Reply) -> Self {
        let reply = Arc::new(Mutex::new(reply));
        let now = Arc::clone(&reply);
        let stub = StubUpstream::start(move |_| now.lock().expect("the reply").clone());
        Self { stub, reply }
    }

    pub fn of(keys: &[&SigningKey]) -> Self {
        Self::new(Reply::ok(&jwks(keys)))
    }

    pub fn replies(&self, reply: Reply) {
        *self.reply.lock().expect("the reply") = reply;
    }

    pub fn publishes(&self, keys: &[&SigningKey]) {
        self.replies(Reply::ok(&jwks(keys)));
    }

    /// How often it was asked.
    pub fn fetches(&self) -> usize {
        self.stub.requests().len()
    }

    /// `keys:` of a gate that fetches from here, with more of it behind.
    pub fn keys(&self, more: &str) -> String {
        format!("{{url: 'http://{}/keys?v=1'{more}}}", self.stub.address)
    }
}
