//! Law 2, of evidence: whoever adds a credential to a request is the caller that it was, or refused. Every place, every
//! method, and every gate, drawn at random.

use std::sync::LazyLock;

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const PATH: &str = "/rest/api/3/issue/SEC-1";

/// Two apps of each method. Each credential has a number of its own.
fn credentials() -> Credentials {
    let known = |app, proof| {
        let holder = Holder { app: "x/y".into(), contact: "it".into(), tenant: "acme".into(), tenant_name: None };
        let (installation, kind) = (0, CredentialKindId(0));
        Arc::new(KnownCredential { app, installation, kind, user: None, pipeline: None, proof, file: None, holder })
    };
    let mut credentials = Credentials::default();
    for (number, text) in (0..).zip(TEXTS.iter().filter(|text| !["stranger", "", "sg_unknown"].contains(text))) {
        let key = Proof::GateKey { scheme: UpstreamScheme::Bearer, upstream: Some(Secret::new(b"real".as_slice())) };
        let proof = if text.starts_with("key") { key } else { Proof::Token };
        credentials.by_digest.insert(TokenDigest(gate_key::digest(text.as_bytes())), known(number, proof));
    }
    for (number, issuer) in (10..).zip(["one", "two"]) {
        let proof = Proof::ConnectJwt { secret: Some(Secret::new(secret_of(issuer))) };
        credentials.by_client_key.insert(issuer.into(), known(number, proof));
    }
    credentials
}

const TEXTS: &[&str] = &["key-one", "key-two", "token-one", "token-two", "stranger", "sg_unknown", ""];

fn secret_of(issuer: &str) -> Vec<u8> {
    format!("the secret of {issuer}").into_bytes()
}

/// What is shown.
#[derive(Debug, Clone)]
enum Shown {
    Text(&'static str),
    /// A Connect token of this issuer; forged, it is signed by another.
    Jwt {
        issuer: &'static str,
        forged: bool,
    },
}

/// A place that somebody may read a credential from.
#[derive(Debug, Clone)]
enum Spot {
    /// `Authorization`, with this scheme.
    Header(&'static str),
    /// The same, for Basic: whether it stands where the password does.
    Basic {
        as_password: bool,
    },
    Query(&'static str),
    Body(&'static str),
}

#[derive(Debug, Clone)]
struct Piece {
    spot: Spot,
    shown: Shown,
}

fn piece() -> impl Strategy<Value = Piece> {
    const NAMES: &[&str] =
        &["token", "token", "jwt", "jwt", "access_token", "Token", "JWT", "tok%65n", "token[]", "other"];
    let spot = prop_oneof![
        4 => proptest::sample::select(&["Bearer", "bearer", "token", "JWT", "jwt", "Digest"][..]).prop_map(Spot::Header),
        1 => any::<bool>().prop_map(|as_password| Spot::Basic { as_password }),
        4 => proptest::sample::select(NAMES).prop_map(Spot::Query),
        3 => proptest::sample::select(NAMES).prop_map(Spot::Body),
    ];
    let jwt = (proptest::sample::select(&["one", "two", "three"][..]), proptest::bool::weighted(0.1));
    let shown = prop_oneof![
        3 => proptest::sample::select(TEXTS).prop_map(Shown::Text),
        2 => jwt.prop_map(|(issuer, forged)| Shown::Jwt { issuer, forged }),
    ];
    (spot, shown).prop_map(|(spot, shown)| Piece { spot, shown })
}

/// A gate, by the methods that it takes and where its product looks for credentials.
fn gates() -> impl Strategy<Value = GateRules> {
    let methods = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.8), proptest::bool::weighted(0.8));
    let dialects = &[DialectName::Slack, DialectName::Atlassian, DialectName::Bitbucket, DialectName::Problem][..];
    let names = || proptest::sample::subsequence(&["token", "access_token"][..], 0..=2);
    (methods, proptest::sample::select(dialects), names(), names(), names()).prop_map(
        |((gate_key, token, connect_jwt), dialect, query, body, form)| {
            let boxed = |names: Vec<&str>| names.into_iter().map(Into::into).collect();
            let tokens = TokenPlaces { query: boxed(query), body: boxed(body), form: boxed(form) };
            let catalog = Arc::new(Catalog { dialect, tokens, ..catalog() });
            GateRules { catalog, identify: Identify { gate_key, token, connect_jwt, ..Identify::default() }, ..gate() }
        },
    )
}

/// A request with these pieces, signed over what stands in its query, or over what `signed` has there.
fn written(pieces: &[Piece], signed: &[Piece], json: bool) -> (String, Vec<String>, String) {
    let over = target(signed, &|_| None);
    let shown = |piece: &Piece| match piece.shown {
        Shown::Text(text) => text.to_owned(),
        Shown::Jwt { issuer, forged } => {
            let claims = format!(r#"{{"iss":"{issuer}","exp":{},"qsh":"{}"}}"#, NOW_S + 180, qsh(&over));
            sign(HEADER, &claims, &secret_of(if forged { "another" } else { issuer }))
        }
    };
    let headers = pieces.iter().filter_map(|piece| match &piece.spot {
        Spot::Header(scheme) => Some(format!("{scheme} {}", shown(piece))),
        Spot::Basic { as_password: true } => Some(format!("Basic {}", STANDARD.encode(format!("me:{}", shown(piece))))),
        Spot::Basic { as_password: false } => {
            Some(format!("Basic {}", STANDARD.encode(format!("{}:me", shown(piece)))))
        }
        Spot::Query(_) | Spot::Body(_) => None,
    });
    let in_body = pieces.iter().filter_map(|piece| match &piece.spot {
        Spot::Body(name) if json => Some(format!(r#""{name}":"{}""#, shown(piece))),
        Spot::Body(name) => Some(format!("{name}={}", shown(piece))),
        Spot::Header(_) | Spot::Basic { .. } | Spot::Query(_) => None,
    });
    let in_body: Vec<String> = in_body.collect();
    let body = match json {
        true if in_body.is_empty() => String::new(),
        true => format!("{{{}}}", in_body.join(",")),
        false => in_body.join("&"),
    };
    (target(pieces, &|piece| Some(shown(piece))), headers.collect(), body)
}

/// Path and query. A token that stands in the query itself is not part of what is signed.
fn target(pieces: &[Piece], shown: &dyn Fn(&Piece) -> Option<String>) -> String {
    let arguments = pieces.iter().filter_map(|piece| match (&piece.spot, &piece.shown) {
        (Spot::Query(name), Shown::Text(text)) => Some(format!("{name}={text}")),
        (Spot::Query(name), Shown::Jwt { .. }) => Some(format!("{name}={}", shown(piece)?)),
        (Spot::Header(_) | Spot::Basic { .. } | Spot::Body(_), _) => None,
    });
    let arguments: Vec<String> = arguments.collect();
    if arguments.is_empty() { PATH.to_owned() } else { format!("{PATH}?{}", arguments.join("&")) }
}

/// The number of the credential.
fn caller(gate: &GateRules, (target, headers, body): &(String, Vec<String>, String)) -> Result<u32, &'static str> {
    let body_type = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
    let mut all = vec![("host", "gate"), ("content-type", body_type)];
    all.extend(headers.iter().map(|value| ("authorization", value.as_str())));
    let parts = parts("GET", target, &all).ok_or("not even a head")?;
    let view = RequestView::of(&parts).map_err(|bad| bad.0)?;
    let facts = facts(parse_body(&parts.headers, body.as_bytes()).map_err(|bad| bad.0)?);
    static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(credentials);
    identity::identify(gate, &CREDENTIALS, &view, None, &facts)
        .map(|it| it.credential.app)
        .map_err(|refused| refused.why)
}

const NONE_SHOWN: &str = "the request shows no credential";

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_credential_that_is_added_makes_no_other_caller(
        gate in gates(), pieces in proptest::collection::vec(piece(), 0..3), added in proptest::collection::vec(piece(), 1..3),
        in_front in any::<bool>(), json in any::<bool>(), signed_anew in any::<bool>()
    ) {
        let all = if in_front { [&added[..], &pieces[..]].concat() } else { [&pieces[..], &added[..]].concat() };
        let before = caller(&gate, &written(&pieces, &pieces, json));
        // Whoever can sign for what was there before may sign again, or leave it as it was.
        let after = caller(&gate, &written(&all, if signed_anew { &all } else { &pieces }, json));
        match (before, after) {
            (Ok(before), Ok(after)) => prop_assert_eq!(before, after),
            // Who was nobody may become somebody; whose evidence failed stays refused.
            (Err(why), Ok(_)) => prop_assert_eq!(why, NONE_SHOWN),
            (_, Err(_)) => {}
        }
    }
}

/// Else the property would say nothing.
#[test]
fn callers_of_every_method_are_known_alone_and_in_two_places() {
    let gate = gate();
    let one = |spot: Spot, shown: Shown| Piece { spot, shown };
    let jwt = || Shown::Jwt { issuer: "two", forged: false };
    let by = |pieces: &[Piece], json: bool| caller(&gate, &written(pieces, pieces, json));
    for (text, number) in [("key-one", 0), ("key-two", 1), ("token-one", 2), ("token-two", 3)] {
        let places =
            [Spot::Header("Bearer"), Spot::Basic { as_password: true }, Spot::Query("token"), Spot::Body("token")];
        for spot in places {
            assert_eq!(by(&[one(spot, Shown::Text(text))], false), Ok(number), "{text}");
        }
        let both = [one(Spot::Header("Bearer"), Shown::Text(text)), one(Spot::Query("token"), Shown::Text(text))];
        assert_eq!(by(&both, true), Ok(number));
        let beside = [one(Spot::Header("Bearer"), Shown::Text(text)), one(Spot::Query("jwt"), jwt())];
        assert_eq!(by(&beside, true), Err("the request shows two different credentials"));
    }
    assert_eq!(by(&[one(Spot::Header("JWT"), jwt())], false), Ok(11));
    assert_eq!(by(&[one(Spot::Query("jwt"), jwt())], false), Ok(11));
    assert_eq!(by(&[one(Spot::Query("jwt"), jwt()), one(Spot::Header("JWT"), jwt())], false), Ok(11));
    assert_eq!(by(&[], false), Err(NONE_SHOWN));
}
