//! Who is calling: T01, H01, and evidence that is mixed, failing or unknown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use scopegate::authz::Reason;
use scopegate::authz::catalog::CredentialKindId;
use scopegate::authz::identity::connect_jwt::query_string_hash;
use scopegate::authz::identity::{self, CredentialRewrite, KeyPlaces, NotIdentified, gate_key};
use scopegate::authz::policy::credentials::{Credentials, Holder, KnownCredential, Proof, Secret, TokenDigest};
use scopegate::authz::policy::document::UpstreamScheme;
use scopegate::authz::request::parse_body;
use sha2::Sha256;

use super::*;

mod evidence;

const NOW_S: i64 = NOW_MS / 1000;
const CONNECT_SECRET: &[u8] = b"a shared secret of this installation";

/// Each credential is an app of its own, numbered.
const KEY_APP: u32 = 0;
const TOKEN_APP: u32 = 1;
const CONNECT_APP: u32 = 2;

fn key() -> String {
    gate_key::mint([7; 32])
}

fn credentials() -> Credentials {
    let known = |app, proof| {
        let holder = Holder { app: "x/y".into(), contact: "it".into(), tenant: "acme".into(), tenant_name: None };
        let (installation, kind) = (0, CredentialKindId(0));
        Arc::new(KnownCredential { app, installation, kind, user: None, pipeline: None, proof, file: None, holder })
    };
    let upstream = Some(Secret::new(b"xoxb-real".as_slice()));
    let connect = Proof::ConnectJwt { secret: Some(Secret::new(CONNECT_SECRET)) };
    let mut credentials = Credentials::default();
    let key_proof = Proof::GateKey { scheme: UpstreamScheme::Bearer, upstream };
    credentials.by_digest.insert(TokenDigest(gate_key::digest(key().as_bytes())), known(KEY_APP, key_proof));
    credentials.by_digest.insert(TokenDigest(gate_key::digest(b"xoxb-own")), known(TOKEN_APP, Proof::Token));
    credentials.by_client_key.insert("client".into(), known(CONNECT_APP, connect));
    credentials.by_client_key.insert("lost".into(), known(CONNECT_APP, Proof::ConnectJwt { secret: None }));
    let empty = Proof::ConnectJwt { secret: Some(Secret::new(b"".as_slice())) };
    credentials.by_client_key.insert("empty".into(), known(CONNECT_APP, empty));
    credentials
}

/// What is asserted of an identified caller.
#[derive(Debug, PartialEq)]
struct Who {
    app: u32,
    stood_in: Option<KeyPlaces>,
    url_signed: bool,
}

struct Sent<'a> {
    target: &'a str,
    authorization: &'a [&'a str],
    body: &'a str,
}

const NOTHING: Sent<'_> = Sent { target: "/x", authorization: &[], body: "" };

fn identify(gate: &GateRules, sent: &Sent<'_>) -> Result<Who, Box<NotIdentified>> {
    let body_type = if sent.body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
    let mut headers = vec![("host", "gate"), ("content-type", body_type)];
    headers.extend(sent.authorization.iter().map(|value| ("authorization", *value)));
    let parts = parts("GET", sent.target, &headers).unwrap();
    let view = RequestView::of(&parts)?;
    let facts = facts(parse_body(&parts.headers, sent.body.as_bytes())?);
    let credentials = credentials();
    let identified = identity::identify(gate, &credentials, &view, None, &facts)?;
    let stood_in = match identified.rewrite {
        CredentialRewrite::PassThrough => None,
        CredentialRewrite::Replace { scheme, secret, stood_in } => {
            assert_eq!(scheme, UpstreamScheme::Bearer);
            assert_eq!(secret.unwrap().bytes(), b"xoxb-real");
            Some(stood_in)
        }
    };
    Ok(Who { app: identified.credential.app, stood_in, url_signed: identified.url_signed })
}

#[track_caller]
fn check(sent: &Sent<'_>, expected: Result<Who, Reason>) {
    assert_eq!(identify(&gate(), sent).map_err(|error| error.reason), expected);
}

fn bearer(sent: &str) -> Result<Who, Reason> {
    let value = format!("Bearer {sent}");
    identify(&gate(), &Sent { authorization: &[&value], ..NOTHING }).map_err(|error| error.reason)
}

fn token_app() -> Who {
    Who { app: TOKEN_APP, stood_in: None, url_signed: false }
}

fn key_app(stood_in: KeyPlaces) -> Who {
    Who { app: KEY_APP, stood_in: Some(stood_in), url_signed: false }
}

const NOWHERE: KeyPlaces = KeyPlaces { authorization: false, query: false, form: false };

#[test]
fn a_known_credential_identifies_wherever_the_product_takes_it() {
    assert_eq!(bearer("xoxb-own"), Ok(token_app()));
    assert_eq!(bearer(&key()), Ok(key_app(KeyPlaces { authorization: true, ..NOWHERE })));
    check(&Sent { target: "/x?token=xoxb-own", ..NOTHING }, Ok(token_app()));
    check(&Sent { body: "token=xoxb-own", ..NOTHING }, Ok(token_app()));
    check(&Sent { body: r#"{"token":"xoxb-own"}"#, ..NOTHING }, Ok(token_app()));
    let query = format!("/x?token={}", key());
    check(&Sent { target: &query, ..NOTHING }, Ok(key_app(KeyPlaces { query: true, ..NOWHERE })));
    let form = format!("a=b&token={}", key());
    check(&Sent { body: &form, ..NOTHING }, Ok(key_app(KeyPlaces { form: true, ..NOWHERE })));
    let json = format!(r#"{{"token":"{}"}}"#, key());
    check(&Sent { body: &json, ..NOTHING }, Err(Reason::Unidentified));
}

#[test]
fn the_same_credential_in_two_places_is_removed_from_both() {
    let header = format!("Bearer {}", key());
    let query = format!("/x?a=1&token={}&b=2", key());
    let sent = Sent { target: &query, authorization: &[&header], body: "" };
    check(&sent, Ok(key_app(KeyPlaces { authorization: true, query: true, form: false })));
    let parts = get(&query).unwrap();
    let view = RequestView::of(&parts).unwrap();
    assert_eq!(view.forward_target_without(&["token".into()]), "/x?a=1&b=2");
}

#[test]
fn no_evidence_or_unreadable_evidence_identifies_nobody() {
    check(&NOTHING, Err(Reason::Unidentified));
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "xoxb-own",
        "Digest xoxb-own",
        "Bearer xoxb-own, Bearer xoxb-own",
        "Bearer  xoxb-own",
        "OAuth x=1",
    ] {
        check(&Sent { authorization: &[value], ..NOTHING }, Err(Reason::Unidentified));
    }
    check(&Sent { target: "/x?token=", ..NOTHING }, Err(Reason::Unidentified));
    check(&Sent { target: "/x?token=", authorization: &["Bearer xoxb-own"], body: "" }, Err(Reason::Unidentified));
}

#[test]
fn evidence_that_is_unknown_refuses_even_beside_evidence_that_is_known() {
    assert_eq!(bearer("xoxb-other"), Err(Reason::UnknownApp));
    check(&Sent { target: "/x?token=other", authorization: &["Bearer xoxb-own"], body: "" }, Err(Reason::UnknownApp));
    check(&Sent { body: "token=other", authorization: &["Bearer xoxb-own"], target: "/x" }, Err(Reason::UnknownApp));
    check(&Sent { target: "/x?token=xoxb-own", authorization: &["Bearer other"], body: "" }, Err(Reason::UnknownApp));
    check(&Sent { target: "/x?token=xoxb-own", authorization: &["Basic eA=="], body: "" }, Err(Reason::Unidentified));
}

#[test]
fn evidence_of_two_credentials_refuses() {
    let sent = Sent { target: "/x?token=xoxb-own", authorization: &[&format!("Bearer {}", key())], body: "" };
    check(&sent, Err(Reason::Unidentified));
}

#[test]
fn h01_evidence_that_can_be_read_in_two_ways_is_a_bad_request() {
    check(&Sent { authorization: &["Bearer xoxb-own", "Bearer xoxb-own"], ..NOTHING }, Err(Reason::BadRequest));
    for target in
        ["/x?token=xoxb-own&token=xoxb-own", "/x?Token=xoxb-own", "/x?%74oken=a", "/x?token[]=a", "/x?a;token=b"]
    {
        check(&Sent { target, authorization: &["Bearer xoxb-own"], body: "" }, Err(Reason::BadRequest));
    }
    check(&Sent { body: r#"{"Token":"xoxb-own"}"#, ..NOTHING }, Err(Reason::BadRequest));
    let parts = get("/x").unwrap();
    let view = RequestView::of(&parts).unwrap();
    let credentials = credentials();
    let unread = identity::identify(&gate(), &credentials, &view, None, &facts(BodyFacts::NotHeld));
    assert_eq!(unread.unwrap_err().reason, Reason::BadRequest, "a token may stand in the body that was not read");
}

#[test]
fn a_method_that_the_gate_does_not_take_proves_nothing() {
    let only = |identify| GateRules { identify, ..gate() };
    let keys = only(Identify { gate_key: true, ..Identify::default() });
    let tokens = only(Identify { token: true, ..Identify::default() });
    let of = |gate: &GateRules, secret: &str| {
        let error = identify(gate, &Sent { authorization: &[&format!("Bearer {secret}")], ..NOTHING }).unwrap_err();
        (error.reason, error.unknown_digest)
    };
    assert_eq!(of(&keys, "xoxb-own"), (Reason::UnknownApp, None), "a policy names it, so nothing observes it");
    assert_eq!(of(&tokens, &key()), (Reason::UnknownApp, None));
}

#[test]
fn one_unknown_token_alone_has_a_digest() {
    let digest = |sent: &Sent<'_>| identify(&gate(), sent).unwrap_err().unknown_digest;
    let other = Some(gate_key::digest(b"other"));
    assert_eq!(digest(&Sent { authorization: &["Bearer other"], ..NOTHING }), other);
    assert_eq!(digest(&Sent { target: "/x?token=other", ..NOTHING }), other);
    assert_eq!(
        digest(&Sent { target: "/x?token=other", authorization: &["Bearer other"], body: "" }),
        None,
        "two pieces"
    );
    assert_eq!(digest(&Sent { target: "/x?token=other", authorization: &["Bearer xoxb-own"], body: "" }), None);
    assert_eq!(digest(&Sent { authorization: &["Bearer sg_unknown"], ..NOTHING }), None, "worth nothing upstream");
    assert_eq!(digest(&NOTHING), None);
}

fn sign(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
const TARGET: &str = "/rest/api/3/issue/SEC-1?fields=b&fields=a&expand=x+y";

fn qsh(target: &str) -> String {
    let parts = get(target).unwrap();
    query_string_hash(&RequestView::of(&parts).unwrap())
}

fn claims() -> String {
    format!(r#"{{"iss":"client","iat":{NOW_S},"exp":{},"qsh":"{}"}}"#, NOW_S + 180, qsh(TARGET))
}

#[track_caller]
fn check_jwt(target: &str, jwt: &str, expected: Result<(), Reason>) {
    let expected = expected.map(|()| Who { app: CONNECT_APP, stood_in: None, url_signed: true });
    check(&Sent { target, authorization: &[&format!("JWT {jwt}")], body: "" }, expected);
}

#[test]
fn a_connect_jwt_signs_one_request() {
    let jwt = sign(HEADER, &claims(), CONNECT_SECRET);
    check_jwt(TARGET, &jwt, Ok(()));
    let in_query = format!("{TARGET}&jwt={jwt}");
    check(&Sent { target: &in_query, ..NOTHING }, Ok(Who { app: CONNECT_APP, stood_in: None, url_signed: true }));
    for other in [
        "/rest/api/3/issue/SEC-2?fields=b&fields=a&expand=x+y",
        "/rest/api/3/issue/SEC-1",
        "/rest/api/3/issue/SEC-1?fields=b&fields=a&expand=x+y&z",
    ] {
        check_jwt(other, &jwt, Err(Reason::Unidentified));
    }
    let keys_only = GateRules { identify: Identify { gate_key: true, ..Identify::default() }, ..gate() };
    let sent = Sent { target: TARGET, authorization: &[&format!("JWT {jwt}")], body: "" };
    assert_eq!(identify(&keys_only, &sent).unwrap_err().reason, Reason::UnknownApp);
}

#[test]
fn the_query_string_hash_is_atlassians() {
    // The worked example in the vendor's description of the claim.
    let canonical = "GET&/path/to/service&first=param&repeated=parameter%201,parameter%202&zee_last=param";
    let expected: String = gate_key::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let target = "/path/to/service?zee_last=param&repeated=parameter%202&first=param&repeated=parameter+1&jwt=x";
    assert_eq!(qsh(target), expected);
    let of = |canonical: &str| {
        gate_key::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(qsh("/"), of("GET&/&"));
    assert_eq!(qsh("/a&b?x=*~%2a(!')"), of("GET&/a%26b&x=%2A~%2A%28%21%27%29"));
    assert_eq!(qsh("/%61?b"), of("GET&/%61&b="), "as received");
}

#[test]
fn t01_only_the_pinned_header_is_taken() {
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"typ":"JWT","alg":"None"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","jwk":{}}"#,
        r#"{"alg":"HS256","jku":"https://x"}"#,
        r#"{"alg":"HS256","x5u":"https://x"}"#,
        r#"{"alg":"HS256","kid":"../../dev/null"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256","typ":"JWE"}"#,
        r#"["HS256"]"#,
        "",
        "{}",
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        check_jwt(TARGET, &sign(header, &claims(), CONNECT_SECRET), Err(Reason::Unidentified));
    }
    check_jwt(TARGET, &sign(r#"{"alg":"HS256"}"#, &claims(), CONNECT_SECRET), Ok(()));
}

#[test]
fn t01_signature_and_form_are_exact() {
    let jwt = sign(HEADER, &claims(), CONNECT_SECRET);
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let truncated = &signature[..signature.len() - 4];
    for forged in [
        sign(HEADER, &claims(), b"another secret"),
        sign(HEADER, &claims(), b""),
        format!("{signed}."),
        signed.to_owned(),
        format!("{signed}.{truncated}"),
        format!("{jwt}="),
        format!("{jwt}.{signature}"),
        format!("{jwt}{}", "A".repeat(8 * 1024)),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        check_jwt(TARGET, &forged, Err(Reason::Unidentified));
    }
}

#[test]
fn claims_are_exact() {
    let hash = qsh(TARGET);
    let check_claims = |claims: String, expected| check_jwt(TARGET, &sign(HEADER, &claims, CONNECT_SECRET), expected);
    let times = |times: &str| format!(r#"{{"iss":"client","qsh":"{hash}"{times}}}"#);
    for (iat, exp) in [(0, 180), (0, 3600), (-60, -29), (29, 180), (-3600, 1)] {
        check_claims(times(&format!(r#","iat":{},"exp":{}"#, NOW_S + iat, NOW_S + exp)), Ok(()));
    }
    for (iat, exp) in [(0, -30), (-100, -60), (0, 3631), (31, 180), (0, i64::MAX / 2), (20, 10)] {
        check_claims(times(&format!(r#","iat":{},"exp":{}"#, NOW_S + iat, NOW_S + exp)), Err(Reason::Unidentified));
    }
    let soon = NOW_S + 180;
    for bad in [
        times(""),
        times(&format!(r#","exp":"{soon}""#)),
        times(&format!(r#","exp":{soon}.5"#)),
        times(r#","exp":1e300"#),
        times(r#","exp":-1"#),
        times(&format!(r#","exp":{soon},"exp":{soon}"#)),
        times(&format!(r#","exp":{soon},"iss":"other""#)),
        times(&format!(r#","exp":{soon},"Exp":1"#)),
        times(&format!(r#","exp":{soon},"nbf":{soon}"#)),
        format!(r#"{{"iss":"client","exp":{soon}}}"#),
        format!(r#"{{"iss":"client","exp":{soon},"qsh":"context-qsh"}}"#),
        format!(r#"{{"iss":"client","exp":{soon},"qsh":"{}"}}"#, hash.to_uppercase()),
        format!(r#"{{"exp":{soon},"qsh":"{hash}"}}"#),
        format!(r#"{{"iss":"lost","exp":{soon},"qsh":"{hash}"}}"#),
    ] {
        check_claims(bad, Err(Reason::Unidentified));
    }
    let unknown = format!(r#"{{"iss":"stranger","exp":{soon},"qsh":"{hash}"}}"#);
    check_claims(unknown, Err(Reason::UnknownApp));
    let empty = format!(r#"{{"iss":"empty","exp":{soon},"qsh":"{hash}"}}"#);
    check_jwt(TARGET, &sign(HEADER, &empty, b""), Err(Reason::Unidentified));
}

#[test]
fn a_jwt_in_the_query_is_evidence_to_an_atlassian_product_whatever_the_gate_takes() {
    let mut atlassian = catalog();
    atlassian.dialect = DialectName::Atlassian;
    let gate = GateRules {
        catalog: Arc::new(atlassian),
        identify: Identify { gate_key: true, token: true, connect_jwt: false, ..Identify::default() },
        ..gate()
    };
    let sent = Sent { target: "/x?jwt=a.b.c", authorization: &["Bearer xoxb-own"], body: "" };
    assert_eq!(identify(&gate, &sent).unwrap_err().reason, Reason::Unidentified);
    // A lone token takes a shorter way, which must not be one around this.
    let mut lone = catalog();
    lone.dialect = DialectName::Atlassian;
    lone.tokens = TokenPlaces::default();
    let gate = GateRules { catalog: Arc::new(lone), ..gate };
    for target in ["/x?jwt=a.b.c", "/x?JWT=a.b.c", "/x?a=1&jWt=a.b.c", "/x?j%77t=a.b.c", "/x?a=jot&Jwt"] {
        let sent = Sent { target, authorization: &["Bearer xoxb-own"], body: "" };
        identify(&gate, &sent).expect_err(target);
    }
    for target in ["/x", "/x?a=jot", "/x?jw=t", "/x?a=j"] {
        let sent = Sent { target, authorization: &["Bearer xoxb-own"], body: "" };
        identify(&gate, &sent).expect(target);
    }
}

#[test]
fn gate_request_and_credential_name_one_tenant() {
    let tenant = |rule: TenantRule, base: Option<&str>, credential: &str| {
        let gate = GateRules { tenant: rule, ..gate() };
        let parts = parts("GET", "/x", &[("host", "ACME.gate:8080")]).unwrap();
        let view = RequestView::of(&parts).unwrap();
        identity::request_tenant(&gate, &view, base, credential).map(|tenant| tenant.to_string()).ok()
    };
    let fixed = || TenantRule::Fixed("acme".into());
    assert_eq!(tenant(fixed(), None, "acme").as_deref(), Some("acme"));
    assert_eq!(tenant(fixed(), None, "other"), None);
    assert_eq!(tenant(fixed(), Some("other"), "acme"), None);
    let host = || TenantRule::Host(vec![("other.gate".into(), "other".into()), ("acme.gate".into(), "acme".into())]);
    assert_eq!(tenant(host(), None, "acme").as_deref(), Some("acme"));
    assert_eq!(tenant(host(), None, "other"), None);
    assert_eq!(tenant(TenantRule::Host(vec![]), None, "acme"), None);
    let path = || TenantRule::Path(vec!["acme".into(), "other".into()]);
    assert_eq!(tenant(path(), Some("acme"), "acme").as_deref(), Some("acme"));
    assert_eq!(tenant(path(), Some("other"), "acme"), None);
    assert_eq!(tenant(path(), Some("third"), "third"), None);
    assert_eq!(tenant(path(), None, "acme"), None);
    let token = || TenantRule::Token(vec!["acme".into()]);
    assert_eq!(tenant(token(), None, "acme").as_deref(), Some("acme"));
    assert_eq!(tenant(token(), None, "other"), None);
    assert_eq!(tenant(token(), Some("other"), "acme"), None);
}

#[test]
fn an_argument_may_not_name_another_tenant() {
    let check = |target: &str, body: &str| {
        let parts =
            parts("POST", target, &[("host", "gate"), ("content-type", "application/x-www-form-urlencoded")]).unwrap();
        let view = RequestView::of(&parts).unwrap();
        let facts = facts(parse_body(&parts.headers, body.as_bytes()).unwrap());
        identity::tenant_arguments(&["team_id".into()], "T1", &view, &facts)
    };
    assert_eq!(check("/x", ""), Ok(()));
    assert_eq!(check("/x?team_id=T1", ""), Ok(()));
    assert_eq!(check("/x", "team_id=T1&team_id=T1"), Ok(()));
    assert_eq!(check("/x?team_id=T2", ""), Err(Reason::UnknownTenant));
    assert_eq!(check("/x", "team_id=T1,T2"), Err(Reason::UnknownTenant));
    assert_eq!(check("/x?team_id=", ""), Err(Reason::UnknownTenant));
    assert_eq!(check("/x?team_id=T1", "team_id=T1"), Err(Reason::BadRequest));
    assert_eq!(check("/x?Team_ID=T2", ""), Err(Reason::BadRequest));
}

#[test]
fn no_secret_is_printed() {
    let credentials = credentials();
    let parts = parts("GET", "/x", &[("host", "gate"), ("authorization", &format!("Bearer {}", key()))]).unwrap();
    let view = RequestView::of(&parts).unwrap();
    let facts = facts(BodyFacts::Empty);
    let identified = identity::identify(&gate(), &credentials, &view, None, &facts).unwrap();
    assert!(!format!("{identified:?}").contains("xoxb-real"));
    assert!(!format!("{view:?}").contains(&key()), "{view:?}");
}
