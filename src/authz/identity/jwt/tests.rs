//! Tokens that prove something, and all that others have tried instead.

use std::sync::LazyLock;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value as Json, json};

use super::*;
use crate::authz::identity::claims::{ClaimName, UserTold};
use crate::authz::identity::keys::NoKeys;

const NOW_S: u64 = 1_796_083_200;
const NOW_MS: i64 = 1_796_083_200_000;
const ISSUER: &str = "https://idp.example.com";

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::from_pkcs8(include_bytes!("../../../../tests/cases/jwt/rsa2048.pk8")).unwrap());
static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap()
});
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk() -> Json {
    let public: ring::rsa::PublicKeyComponents<Vec<u8>> = RSA.public().into();
    json!({"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": base64(public.n), "e": base64(public.e)})
}

fn ec_jwk() -> Json {
    let point = EC.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": base64(&point[1..33]), "y": base64(&point[33..])})
}

fn ed_jwk() -> Json {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": base64(ED.public_key())})
}

fn set(keys: &[Json]) -> Result<KeySet, NoKeys> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn issuer() -> Issuer {
    let name = |text| ClaimName::new(text).unwrap();
    Issuer {
        name: ISSUER.into(),
        audiences: Box::new(["scopegate".into(), "other".into()]),
        algorithms: Box::new([Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]),
        life_max_s: 24 * 3_600,
        claims: ClaimNames {
            app: name("azp"),
            tenant: Some(name("tid")),
            user: name("sub"),
            groups: Some(name("groups")),
        },
    }
}

fn claims() -> Json {
    json!({"iss": ISSUER, "aud": "scopegate", "exp": NOW_S + 600, "iat": NOW_S, "azp": "assist", "tid": "acme",
           "sub": "U0DANA", "groups": ["agents", "all"]})
}

/// The claims with these in place of their own; null takes one out.
fn with(changes: Json) -> Json {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Json::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn sign(algorithm: &str, signed: &str) -> Vec<u8> {
    let random = SystemRandom::new();
    match algorithm {
        "ES256" => EC.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        "EdDSA" => ED.sign(signed.as_bytes()).as_ref().to_vec(),
        "RS256" => {
            let mut signature = vec![0; RSA.public().modulus_len()];
            RSA.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
            signature
        }
        other => panic!("{other}"),
    }
}

/// A token whose header and claims are these texts, signed as the word says.
fn token_of(algorithm: &str, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", base64(header), base64(claims));
    let signature = base64(sign(algorithm, &signed));
    format!("{signed}.{signature}")
}

fn token(algorithm: &str, kid: &str, claims: &Json) -> String {
    let header = json!({"alg": algorithm, "kid": kid, "typ": "at+jwt"});
    token_of(algorithm, &header.to_string(), &claims.to_string())
}

fn seen(token: &str) -> Seen {
    seen_by(token, &issuer())
}

fn seen_by(token: &str, issuer: &Issuer) -> Seen {
    static KEYS: LazyLock<Arc<KeySet>> = LazyLock::new(|| Arc::new(set(&[rsa_jwk(), ec_jwk(), ed_jwk()]).unwrap()));
    see(token.as_bytes(), std::slice::from_ref(issuer), |_| Some(Arc::clone(&KEYS)), NOW_MS)
}

#[track_caller]
fn proven(seen: Seen) -> Claims {
    match seen {
        Seen::Proven(0, claims) => claims,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_that_the_issuer_signed_for_this_gate_says_who_calls() {
    for (algorithm, kid) in [("RS256", "r"), ("ES256", "e"), ("EdDSA", "d")] {
        let said = proven(seen(&token(algorithm, kid, &claims())));
        assert_eq!((&*said.app, said.tenant.as_deref()), ("assist", Some("acme")));
        assert_eq!(said.user, UserTold::Id("U0DANA".into()));
        assert_eq!(said.groups.as_deref(), Some(&["agents".into(), "all".into()][..]));
        assert_eq!(said.until_ms, NOW_MS + 630_000);
        assert!(said.is_live(NOW_MS + 629_999) && !said.is_live(NOW_MS + 630_000));
    }
    let several = with(json!({"aud": ["another", "other"]}));
    proven(seen(&token("ES256", "e", &several)));
}

#[test]
fn what_a_token_does_not_say_is_unknown_and_a_client_is_no_user() {
    let user = |claims: Json| proven(seen(&token("ES256", "e", &claims))).user;
    assert_eq!(user(with(json!({"sub": "assist"}))), UserTold::Nobody, "RFC 9068: a client that calls for itself");
    assert_eq!(user(with(json!({"sub": null}))), UserTold::Unknown);
    let groups = |claims: Json| proven(seen(&token("ES256", "e", &claims))).groups;
    assert_eq!(groups(with(json!({"groups": null}))), None);
    assert_eq!(groups(with(json!({"groups": []}))).as_deref(), Some(&[][..]));
    assert_eq!(groups(with(json!({"groups": "agents"}))).as_deref(), Some(&["agents".into()][..]));
    let many: Vec<String> = (0..300).map(|number| format!("g{number}")).collect();
    assert_eq!(groups(with(json!({"groups": many}))), None, "as good as none told");
}

#[test]
fn who_acts_for_a_user_is_the_app_that_the_token_is_of() {
    let acting = |act: Json, issuer: &Issuer| seen_by(&token("ES256", "e", &with(json!({"act": act}))), issuer);
    let said = proven(acting(json!({"sub": "assist", "act": {"sub": "before"}}), &issuer()));
    assert_eq!(said.user, UserTold::Id("U0DANA".into()));
    for act in [json!({"sub": "mallory"}), json!({"iss": "x"}), json!("assist"), json!({"sub": 1}), json!({})] {
        assert_eq!(acting(act.clone(), &issuer()), Seen::Failed, "{act}");
    }
    let itself = with(json!({"act": {"sub": "assist"}, "sub": "assist"}));
    assert_eq!(seen(&token("ES256", "e", &itself)), Seen::Failed, "it acts for nobody");
    let mut within = issuer();
    within.claims.app = ClaimName::new("/act/sub").unwrap();
    assert_eq!(&*proven(acting(json!({"sub": "robot"}), &within)).app, "robot");
    assert_eq!(seen_by(&token("ES256", "e", &claims()), &within), Seen::Failed, "nobody acts");
}

#[test]
fn a_token_that_is_not_for_this_gate_or_not_for_now_proves_nothing() {
    for changes in [
        json!({"aud": null}),
        json!({"aud": "another"}),
        json!({"aud": []}),
        json!({"aud": ["another", 1]}),
        json!({"aud": ["scopegate", 1]}),
        json!({"aud": {"scopegate": true}}),
        json!({"aud": "Scopegate"}),
        json!({"exp": null}),
        json!({"exp": NOW_S - 31}),
        json!({"exp": (NOW_S + 600).to_string()}),
        json!({"exp": NOW_S as f64 + 600.5}),
        json!({"exp": -1}),
        json!({"exp": NOW_S + 2 * 24 * 3_600}),
        json!({"exp": u64::MAX}),
        json!({"nbf": NOW_S + 31}),
        json!({"nbf": "now"}),
        json!({"iat": NOW_S + 31}),
        json!({"iat": NOW_S + 601}),
        json!({"azp": null}),
        json!({"azp": 7}),
        json!({"azp": ""}),
        json!({"azp": "a\nb"}),
        json!({"azp": "a".repeat(300)}),
        json!({"tid": null}),
        json!({"tid": ["acme"]}),
        json!({"sub": 7}),
        json!({"sub": {"id": "U0DANA"}}),
        json!({"groups": {"agents": true}}),
        json!({"groups": ["agents", 7]}),
        json!({"Exp": NOW_S + 600}),
        json!({"AZP": "mallory"}),
    ] {
        assert_eq!(seen(&token("ES256", "e", &with(changes.clone()))), Seen::Failed, "{changes}");
    }
    proven(seen(&token("ES256", "e", &with(json!({"exp": NOW_S - 29, "nbf": NOW_S + 29, "iat": NOW_S - 60})))));
}

#[test]
fn whose_token_it_is_only_the_exact_name_says() {
    for issuer in ["https://idp.example.com/", "https://IDP.example.com", "https://other.example.com", ""] {
        let other = token("ES256", "e", &with(json!({"iss": issuer})));
        assert_eq!(seen(&other), Seen::NotOurs, "{issuer}");
    }
    assert_eq!(seen(&token("ES256", "e", &with(json!({"iss": null})))), Seen::NotOurs);
    assert_eq!(seen(&token("ES256", "e", &with(json!({"iss": [ISSUER]})))), Seen::Failed);
    for opaque in ["xoxb-1", "a.b", "a.b.c", "MTk4.Cl2FMQ.Zn", "eyJhbGciOiJSUzI1NiJ9.e30", "", "e", "..", "eyJ"] {
        assert_eq!(seen(opaque), Seen::NotOurs, "{opaque}");
    }
}

#[test]
fn what_is_said_twice_or_unreadable_proves_nothing() {
    let body = claims().to_string();
    let header = r#"{"alg":"ES256","kid":"e"}"#;
    let twice = |text: &str| format!("{},{text}}}", &body[..body.len() - 1]);
    for claims in [
        twice(r#""azp":"mallory""#),
        twice(r#""iss":"https://other.example.com""#),
        twice(r#""\u0069ss":"https://other.example.com""#),
        format!("{body} "),
        format!(" {body}"),
        format!("{body}x"),
        format!("[{body}]"),
        "not json".to_owned(),
    ] {
        let seen = seen(&token_of("ES256", header, &claims));
        // White space around a document is one reading.
        if claims.trim() == body {
            proven(seen)
        } else {
            assert_eq!(seen, Seen::Failed, "{claims}");
            continue;
        };
    }
    let good = token("ES256", "e", &claims());
    let padded = format!("{good}=");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for broken in [padded, format!("{signed}.{signature}\u{7f}"), format!("{signed}."), format!("{signed}.AAAA")] {
        assert_eq!(seen(&broken), Seen::Failed, "{broken}");
    }
    // More parts, or fewer, are no signed token at all: it is known by its digest, or not.
    assert_eq!(seen(&format!("{good}.x.y")), Seen::NotOurs);
    assert_eq!(seen(signed), Seen::NotOurs);
}

#[test]
fn no_header_leads_to_another_key_or_none() {
    let good = |header: Json| token_of("ES256", &header.to_string(), &claims().to_string());
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "e"}),
        json!({"alg": "NONE", "kid": "e"}),
        json!({"alg": "", "kid": "e"}),
        json!({"kid": "e"}),
        json!({"alg": ["ES256"], "kid": "e"}),
        json!({"alg": "es256", "kid": "e"}),
        json!({"alg": "HS256", "kid": "e"}),
        json!({"alg": "HS256", "kid": "r"}),
        json!({"alg": "ES384", "kid": "e"}),
        json!({"alg": "PS256", "kid": "r"}),
        json!({"alg": "RS256", "kid": "r"}),
        json!({"alg": "ES256", "kid": "e", "jwk": ec_jwk()}),
        json!({"alg": "ES256", "kid": "e", "jku": "https://mallory.example.com/jwks.json"}),
        json!({"alg": "ES256", "kid": "e", "x5u": "https://mallory.example.com/x"}),
        json!({"alg": "ES256", "kid": "e", "x5c": ["MII"]}),
        json!({"alg": "ES256", "x5t": "AAAA"}),
        json!({"alg": "ES256", "kid": "e", "x5t": ["AAAA"]}),
        json!({"alg": "ES256", "kid": "e", "crit": ["exp"]}),
        json!({"alg": "ES256", "kid": "e", "crit": []}),
        json!({"alg": "ES256", "kid": "e", "b64": false}),
        json!({"alg": "ES256", "kid": "e", "b64": true}),
        json!({"alg": "ES256", "kid": "e", "zip": "DEF"}),
        json!({"alg": "ES256", "kid": "e", "cty": "JWT"}),
        json!({"alg": "ES256", "kid": 7}),
        json!({"alg": "ES256", "kid": null}),
        json!({"alg": "ES256", "kid": "e", "typ": "dpop+jwt"}),
        json!({"alg": "ES256", "kid": "e", "typ": "logout+jwt"}),
        json!({"alg": "ES256", "kid": "e", "typ": ["JWT"]}),
    ] {
        assert_eq!(seen(&good(header.clone())), Seen::Failed, "{header}");
    }
    let twice = token_of("ES256", r#"{"alg":"none","alg":"ES256","kid":"e"}"#, &claims().to_string());
    assert_eq!(seen(&twice), Seen::Failed);
    for kid in ["r", "d", "../e", "E", "e ", "' or 1", "/dev/null", ""] {
        assert_eq!(seen(&good(json!({"alg": "ES256", "kid": kid}))), Seen::KeyUnknown(0, Some(NOW_MS)), "{kid}");
    }
    for typ in ["JWT", "jwt", "at+JWT", "application/at+jwt"] {
        proven(seen(&good(json!({"alg": "ES256", "kid": "e", "typ": typ}))));
    }
    // What names the certificate of the key that is named anyway.
    proven(seen(&good(json!({"typ": "JWT", "alg": "ES256", "x5t": "nOo3", "kid": "e"}))));
    proven(seen(&good(json!({"alg": "ES256", "x5t#S256": "nOo3", "kid": "e"}))));
    // One key of the algorithm is meant without being named; of two, none.
    proven(seen(&good(json!({"alg": "ES256"}))));
    let (mut other, one) = (ec_jwk(), ec_jwk());
    other["kid"] = json!("f");
    let two = Arc::new(set(&[one, other]).unwrap());
    let nameless = good(json!({"alg": "ES256"}));
    let seen = see(nameless.as_bytes(), &[issuer()], |_| Some(Arc::clone(&two)), NOW_MS);
    assert_eq!(seen, Seen::KeyUnknown(0, Some(NOW_MS)));
}

/// The classic confusion: a public key, whose text everybody has, as the secret of an HMAC.
#[test]
fn a_public_key_is_no_secret() {
    use hmac::{Hmac, Mac as _};
    let header = json!({"alg": "HS256", "kid": "r"}).to_string();
    let signed = format!("{}.{}", base64(header), base64(claims().to_string()));
    for secret in [rsa_jwk().to_string().into_bytes(), RSA.public().as_ref().to_vec(), Vec::new()] {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
        mac.update(signed.as_bytes());
        let token = format!("{signed}.{}", base64(mac.finalize().into_bytes()));
        assert_eq!(seen(&token), Seen::Failed);
    }
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let good = token("ES256", "e", &claims());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(!matches!(seen(&changed), Seen::Proven(..)), "byte {at} of {good}");
    }
}

#[test]
fn a_token_is_no_longer_than_its_bound() {
    let long = |length: usize| token("ES256", "e", &with(json!({"note": "x".repeat(length)})));
    proven(seen(&long(5_000)));
    assert_eq!(seen(&long(8_000)), Seen::Failed);
}

#[test]
fn without_keys_only_what_else_is_right_waits_for_them() {
    let see = |token: &str| see(token.as_bytes(), &[issuer()], |_| None, NOW_MS);
    assert_eq!(see(&token("ES256", "e", &claims())), Seen::NoKeys(0));
    assert_eq!(see(&token("ES256", "e", &with(json!({"aud": "another"})))), Seen::Failed);
    assert_eq!(see(&token("ES256", "e", &with(json!({"exp": NOW_S - 60})))), Seen::Failed);
    assert_eq!(see(&token_of("ES256", r#"{"alg":"none"}"#, &claims().to_string())), Seen::Failed);
}

#[test]
fn an_algorithm_that_the_gate_does_not_list_is_none() {
    let only = Issuer { algorithms: Box::new([Algorithm::Rs256]), ..issuer() };
    assert_eq!(seen_by(&token("ES256", "e", &claims()), &only), Seen::Failed);
    proven(seen_by(&token("RS256", "r", &claims()), &only));
}

#[test]
fn a_set_is_taken_whole_or_not_at_all() {
    let changed = |key: Json, changes: Json| {
        let mut key = key;
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Json::Null => drop(key.as_object_mut().unwrap().remove(name)),
                value => key[name] = value.clone(),
            }
        }
        key
    };
    for (fault, keys) in [
        (NoKeys::Empty, vec![]),
        (NoKeys::Empty, vec![changed(ec_jwk(), json!({"use": "enc"}))]),
        (NoKeys::Empty, vec![changed(ec_jwk(), json!({"key_ops": ["sign"]}))]),
        (NoKeys::Empty, vec![changed(ec_jwk(), json!({"alg": "RS256"}))]),
        (NoKeys::Empty, vec![changed(ec_jwk(), json!({"alg": "HS256"}))]),
        (NoKeys::Empty, vec![changed(ec_jwk(), json!({"crv": "P-521"}))]),
        (NoKeys::Empty, vec![changed(rsa_jwk(), json!({"n": base64([0xff; 128])}))]),
        (NoKeys::Empty, vec![changed(rsa_jwk(), json!({"n": base64([[0; 200], [0xff; 200]].concat())}))]),
        (NoKeys::Empty, vec![changed(rsa_jwk(), json!({"n": ""}))]),
        (NoKeys::Private, vec![ec_jwk(), changed(rsa_jwk(), json!({"d": "AQAB"}))]),
        (NoKeys::Private, vec![ec_jwk(), json!({"kty": "oct", "k": "AAAA"})]),
        (NoKeys::Twofold, vec![ec_jwk(), ec_jwk()]),
        (NoKeys::Twofold, vec![changed(ec_jwk(), json!({"kid": null})), changed(ec_jwk(), json!({"kid": null}))]),
        (NoKeys::Malformed, vec![json!("key")]),
        (NoKeys::Malformed, vec![changed(ec_jwk(), json!({"kty": null}))]),
        (NoKeys::Malformed, vec![changed(ec_jwk(), json!({"x": "AAAA"}))]),
        (NoKeys::Malformed, vec![changed(ec_jwk(), json!({"x": "A=="}))]),
        (NoKeys::Malformed, vec![changed(ec_jwk(), json!({"kid": 7}))]),
        (NoKeys::Malformed, vec![changed(ec_jwk(), json!({"Alg": "ES256"}))]),
        (NoKeys::TooMany, vec![json!({"kty": "other"}); 101]),
    ] {
        assert_eq!(set(&keys).unwrap_err(), fault, "{keys:?}");
    }
    set(&[json!({"kty": "other"}), ec_jwk(), changed(rsa_jwk(), json!({"alg": null, "use": null}))]).unwrap();
    let large = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300_000));
    for (text, fault) in [
        ("", NoKeys::NotJson),
        ("<html>", NoKeys::NotJson),
        ("[]", NoKeys::NotJson),
        ("{}", NoKeys::NotASet),
        (r#"{"keys": {}}"#, NoKeys::NotASet),
        (r#"{"keys": [], "keys": []}"#, NoKeys::NotJson),
        (&large, NoKeys::TooLarge),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), fault, "{text:.40}");
    }
}

/// An RSA key that names no algorithm is for one: else a token could choose between two.
#[test]
fn a_key_without_an_algorithm_has_one() {
    let mut key = rsa_jwk();
    key.as_object_mut().unwrap().remove("alg");
    let set = set(&[key]).unwrap();
    assert!(set.find(Algorithm::Rs256, Some("r")).is_some());
    for other in Algorithm::ALL.into_iter().filter(|other| *other != Algorithm::Rs256) {
        assert!(set.find(other, Some("r")).is_none() && set.find(other, None).is_none(), "{other:?}");
    }
}
