//! Tokens of an identity provider: who they say calls, and what becomes of a gate whose provider is down, slow or wrong.

use std::net::TcpListener;

use serde_json::json;

use super::*;
use crate::support::idp::{ISSUER, Published, SigningKey, claims, jwks};
use crate::support::upstream::{Reply, StubUpstream, wait_until};

const ISSUE: &str = "/rest/api/3/issue/PROJ-1";
const RULES: &str = "grants:\n  \
    - {scopes: [read:jira-work], actors: [app], in: {project: [OPEN]}}\n  \
    - {scopes: [read:jira-work], actors: [user], users: {ids: [dana], groups: [agents]}, in: all}\n";

/// The app `jira/assist`, known by tokens, whatever follows `client`.
fn assist(more: &str) -> String {
    format!(
        "version: 1\napp: jira/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         credentials:\n      - {{method: jwt, kind: oauth, issuer: '{ISSUER}', client: assist{more}}}\n{RULES}---\n\
         version: 1\ngroup: agents\ntenant: acme\nusers: [lee]\nclaim: idp-agents\n"
    )
}

fn method(keys: &str) -> String {
    format!(
        "{{jwt: {{issuer: '{ISSUER}', audience: [scopegate], keys: {keys}, claims: {{app: azp, groups: groups}}}}}}"
    )
}

fn setup(keys: &str) -> Setup {
    Setup::jira().gate("identify", &format!("[{}]", method(keys))).policy("assist.yaml", &assist(""))
}

/// A gate whose keys are in a file, and the key that signs.
fn filed() -> (Gate, SigningKey) {
    let key = SigningKey::new("one");
    (setup("{file: jwks.json}").file("jwks.json", &jwks(&[&key])).start(), key)
}

fn ask(token: &str) -> Ask {
    Ask::get(ISSUE).bearer(token)
}

#[test]
fn a_token_says_app_user_and_groups_and_goes_on_as_it_is() {
    let (gate, key) = filed();
    for changes in [json!({}), json!({"sub": "lee"}), json!({"sub": "kim", "groups": ["idp-agents"]})] {
        let token = key.token(&claims(changes));
        for _ in 0..2 {
            let seen = gate.passes(&ask(&token));
            assert_eq!(seen.field("authorization"), Some(format!("Bearer {token}").as_str()));
        }
    }
    let line = gate.log.line(6);
    assert_eq!((&line["app"], &line["actor"], &line["user"]), (&json!("jira/assist"), &json!("user"), &json!("kim")));
    for (changes, reason) in [
        (json!({"sub": "kim"}), "user_not_allowed"),
        (json!({"sub": "kim", "groups": ["others"]}), "user_not_allowed"),
        (json!({"sub": "assist"}), "container_not_granted"),
        (json!({"sub": null}), "actor_not_allowed"),
        (json!({"azp": "mallory"}), "unknown_app"),
        (json!({"iss": "https://other.example.com"}), "unknown_app"),
        (json!({"aud": "another"}), "unidentified"),
        (json!({"exp": 1}), "unidentified"),
        (json!({"act": {"sub": "mallory"}}), "unidentified"),
    ] {
        let answer = gate.ask(&ask(&key.token(&claims(changes.clone()))));
        assert_eq!(answer.reason(), Some(reason), "{changes}");
    }
    gate.passes(&ask(&key.token(&claims(json!({"act": {"sub": "assist"}})))));
    gate.passes(&Ask::get("/rest/api/3/issue/OPEN-1").bearer(&key.token(&claims(json!({"sub": "assist"})))));
    let text = gate.log.text();
    assert!(!text.contains("eyJ"), "a token stands in the log: {text}");
}

#[test]
fn no_trick_with_a_token_reaches_the_upstream() {
    let (gate, key) = filed();
    let said = claims(json!({}));
    for header in [
        json!({"alg": "none", "kid": "one"}),
        json!({"alg": "HS256", "kid": "one"}),
        json!({"alg": "ES256", "kid": "one", "jwk": key.jwk()}),
        json!({"alg": "ES256", "kid": "one", "jku": "https://mallory.example.com/keys"}),
        json!({"alg": "ES256", "kid": "one", "crit": ["exp"]}),
        json!({"alg": "ES256", "kid": "one", "b64": false}),
        json!({"alg": "ES256", "kid": "two"}),
    ] {
        gate.refuses(&ask(&key.token_with(&header, &said)), "unidentified");
    }
    let mallory = SigningKey::new("one");
    gate.refuses(&ask(&mallory.token(&said)), "unidentified");
    let good = key.token(&said);
    let (signed, _) = good.rsplit_once('.').expect("a signature");
    gate.refuses(&ask(&format!("{signed}.")), "unidentified");
    let huge = claims(json!({"note": "x".repeat(9_000)}));
    gate.refuses(&ask(&key.token(&huge)), "unidentified");
    // Beside a token that proves something, nothing else may stand that does not.
    gate.refuses(&Ask::get(&format!("{ISSUE}?jwt={good}")).bearer(&good), "unidentified");
    gate.refuses(&ask(&good).with("authorization", "Bearer other"), "bad_request");
    // Elsewhere than in `Authorization: Bearer` it is no token.
    gate.refuses(&Ask::get(ISSUE).with("authorization", &format!("JWT {good}")), "unidentified");
    gate.refuses(&Ask::get(ISSUE), "unidentified");
    gate.passes(&ask(&good));
}

#[test]
fn a_token_may_be_replaced_by_the_real_credential() {
    let key = SigningKey::new("one");
    let replaced = assist(", upstream: {file: secrets/real}");
    let gate = setup("{file: jwks.json}").file("jwks.json", &jwks(&[&key])).gate("bypass", "credential");
    let gate = gate.policy("assist.yaml", &replaced).file("secrets/real", "real-token").start();
    let token = key.token(&claims(json!({})));
    let seen = gate.passes(&ask(&token));
    assert_eq!(seen.field("authorization"), Some("Bearer real-token"));
    assert!(!seen.head.contains(&token));
    // What would be passed on is not taken where the gate says that nothing is.
    gate.write_policy("assist.yaml", &assist(""));
    gate.running().look();
    wait_until("the policy to be in force", || gate.ask(&ask(&token)).reason() == Some("unknown_app"));
    gate.refuses(&ask(&token), "unknown_app");
}

#[test]
fn a_key_that_is_new_is_fetched_once_and_one_that_goes_proves_nothing_any_more() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let published = Published::of(&[&old]);
    let gate = setup(&published.keys(", cool_down: 1h")).start();
    gate.passes(&ask(&old.token(&claims(json!({})))));
    assert_eq!(published.fetches(), 1);
    let request = &published.stub.requests()[0];
    assert_eq!(request.line(), "GET /keys?v=1 HTTP/1.1");
    assert_eq!(request.field("authorization"), None);
    // A token with a new key asks for it, but not within the cool-down of the fetch at the start.
    published.publishes(&[&new]);
    gate.refuses(&ask(&new.token(&claims(json!({})))), "unidentified");
    assert_eq!(published.fetches(), 1);

    let published = Published::of(&[&old]);
    let gate = setup(&published.keys(", cool_down: 1s")).start();
    let token = old.token(&claims(json!({})));
    gate.passes(&ask(&token));
    published.publishes(&[&new]);
    let fresh = new.token(&claims(json!({})));
    wait_until("the new key to be fetched", || gate.ask(&ask(&fresh)).reason().is_none());
    gate.refuses(&ask(&token), "unidentified");
    gate.passes(&ask(&fresh));
}

/// Else an app that is suspended would be a stranger, whom a gate under `observe` passes, by showing its token elsewhere.
#[test]
fn an_issuers_token_is_none_of_a_strangers_wherever_it_stands() {
    use base64::Engine as _;
    let key = SigningKey::new("one");
    let until = scopegate::acts::text::time_text(scopegate::clock::unix_ms() + 86_400_000);
    let gate = setup("{file: jwks.json}").file("jwks.json", &jwks(&[&key])).top("state", "state");
    let gate = gate.gate("mode", &format!("{{observe: {{until: {until}}}}}")).start();
    let token = key.token(&claims(json!({})));
    gate.passes(&ask(&token));
    gate.passes(&ask("of-a-stranger"));
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x:{token}"));
    gate.refuses(&Ask::get(ISSUE).with("authorization", &format!("Basic {basic}")), "unidentified");
}

#[test]
fn a_flood_of_unknown_keys_is_one_fetch_in_a_cool_down() {
    let key = SigningKey::new("one");
    let published = Published::of(&[&key]);
    let gate = setup(&published.keys(", cool_down: 1h")).start();
    for number in 0..200 {
        let header = json!({"alg": "ES256", "kid": format!("random-{number}")});
        let with = |iat: u64| key.token_with(&header, &claims(json!({"iat": iat})));
        let now_s = u64::try_from(scopegate::clock::unix_ms() / 1000).expect("a time");
        gate.refuses(&ask(&with(now_s - 3_600)), "unidentified");
        // The key may have come since the set was had: that is no reason to take the caller's token for dead.
        let answer = gate.refuses(&ask(&with(now_s + 20)), "identity_unresolved");
        assert_eq!(answer.status, 503);
    }
    assert_eq!(published.fetches(), 1, "the one at the start");
    gate.passes(&ask(&key.token(&claims(json!({})))));
}

#[test]
fn an_issuer_that_is_down_slow_or_wrong_closes_its_tokens_is_seen_and_recovers() {
    let key = SigningKey::new("one");
    let ok = Reply::ok(&jwks(&[&key]));
    let large = Reply::ok(&format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 << 10)));
    for broken in [
        Reply::Close,
        large,
        Reply::ok("<html>"),
        Reply::ok(r#"{"keys":[]}"#),
        Reply::raw("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n"),
        Reply::raw("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/keys\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let published = Published::new(broken);
        let gate = setup(&published.keys(", cool_down: 1s")).start();
        let token = key.token(&claims(json!({})));
        let answer = gate.refuses(&ask(&token), "identity_unresolved");
        assert_eq!(answer.status, 503);
        assert!(answer.has("retry-after: "), "{}", answer.head);
        wait_until("it to be said", || gate.health("/readyz").body.contains("key_set_problems"));
        assert!(gate.running().readiness.report().ready, "other callers are served");
        published.replies(ok.clone());
        wait_until("the keys to be had", || gate.ask(&ask(&token)).reason().is_none());
        gate.passes(&ask(&token));
        wait_until("it to be over", || !gate.health("/readyz").body.contains("key_set_problems"));
        let labels = format!("{{gate=\"jira\",issuer=\"{ISSUER}\"}}");
        assert!(gate.metric(&format!("scopegate_key_set_last_fetch_timestamp_seconds{labels}")) > 0.0);
    }
}

#[test]
fn an_issuer_that_nobody_reaches_keeps_nothing_else_from_starting() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let key = SigningKey::new("one");
    let methods = format!("[token, {}]", method(&format!("{{url: 'http://{nobody}/keys', cool_down: 1s}}")));
    let gate = setup("{file: unused}").gate("identify", &methods);
    let gate = gate.policy(
        "tracker.yaml",
        &jira_app("tracker", "oauth", "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n"),
    );
    let gate = gate.start();
    gate.passes(&Ask::get(ISSUE).bearer("tracker"));
    gate.refuses(&ask(&key.token(&claims(json!({})))), "identity_unresolved");
    // What is wrong with a token besides needs no keys.
    gate.refuses(&ask(&key.token(&claims(json!({"aud": "another"})))), "unidentified");
}

/// A server that hangs holds up who shows its tokens, for three seconds at most, and nobody else.
#[test]
fn a_set_that_was_had_counts_while_its_server_hangs() {
    let key = SigningKey::new("one");
    let published = Published::of(&[&key]);
    let gate = setup(&published.keys(", cool_down: 1s, refresh: 1s")).start();
    let token = key.token(&claims(json!({})));
    gate.passes(&ask(&token));
    published.replies(Reply::Hang);
    let before = published.fetches();
    wait_until("it to hang", || published.fetches() > before);
    for _ in 0..20 {
        gate.passes(&ask(&token));
    }
    gate.passes(&ask(&key.token(&claims(json!({"jti": "another"})))));
    let header = json!({"alg": "ES256", "kid": "two"});
    let answer = gate.ask(&ask(&key.token_with(&header, &claims(json!({})))));
    // The first, unless the fetch was given up meanwhile.
    assert!(matches!(answer.reason(), Some("identity_unresolved" | "unidentified")), "{}", answer.head);
}

#[test]
fn a_set_in_a_file_is_read_anew_and_a_broken_one_is_not_taken() {
    let (gate, old) = filed();
    let new = SigningKey::new("new");
    let token = old.token(&claims(json!({})));
    gate.passes(&ask(&token));
    let write = |text: &str| {
        std::fs::write(gate.path("jwks.new"), text).expect("a file");
        std::fs::rename(gate.path("jwks.new"), gate.path("jwks.json")).expect("a rename");
        gate.running().look();
    };
    write("{\"keys\": [");
    wait_until("it to be said", || gate.health("/readyz").body.contains("the key set is no JSON document"));
    gate.passes(&ask(&token));
    write(&jwks(&[&new]));
    let fresh = new.token(&claims(json!({})));
    wait_until("the new key", || gate.ask(&ask(&fresh)).reason().is_none());
    gate.refuses(&ask(&token), "unidentified");
}

#[test]
fn the_tenant_of_a_claim_is_the_requests_or_it_is_nobodys() {
    let key = SigningKey::new("one");
    let methods = format!(
        "[{{jwt: {{issuer: '{ISSUER}', audience: [scopegate], keys: {{file: jwks.json}}, claims: {{app: azp, tenant: tid}}}}}}]"
    );
    let two = "version: 1\napp: jira/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  \
        - {tenant: acme, credentials: [{method: jwt, kind: oauth, issuer: 'https://idp.example.com', client: assist}]}\n  \
        - {tenant: beta, credentials: [{method: jwt, kind: oauth, issuer: 'https://idp.example.com', client: assist}]}\n\
        grants: [{scopes: [read:jira-work], actors: [user], tenants: [acme, beta], in: all}]\n";
    let beta = StubUpstream::ok();
    let tenants = format!("[{{id: acme}}, {{id: beta, upstream: 'http://{}'}}]", beta.address);
    let gate = Setup::jira().gate("identify", &methods).gate("tenant", "claim").gate("tenants", &tenants);
    let gate = gate.policy("assist.yaml", two).file("jwks.json", &jwks(&[&key])).start();
    let of = |tenant: &str| ask(&key.token(&claims(json!({"tid": tenant}))));
    gate.passes(&of("acme"));
    assert_eq!(gate.ask(&of("beta")).status, 200);
    assert_eq!((gate.upstream.requests().len(), beta.requests().len()), (1, 1));
    gate.refuses(&of("gamma"), "unknown_app");
    gate.refuses(&ask(&key.token(&claims(json!({})))), "unidentified");
    drop(gate);
    // Where the gate has one tenant, a token of another is of nobody there.
    let gate = Setup::jira().gate("identify", &methods).policy("assist.yaml", two).file("jwks.json", &jwks(&[&key]));
    let gate = gate.start();
    gate.passes(&of("acme"));
    gate.refuses(&of("beta"), "unknown_tenant");
}
