//! Who calls, and what the upstream sees of the credential.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scopegate::authz::identity::gate_key;

use super::*;
use crate::support::upstream::{Received, wait_until};

const ISSUE: &str = "/rest/api/3/issue/PROJ-1";

fn key() -> String {
    gate_key::mint([7; 32])
}

/// A Jira app with a gate key, whose real credential is in `secrets/real`.
fn keyed(scheme: &str) -> String {
    format!(
        "version: 1\napp: jira/keyed\nname: Keyed\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         credentials:\n      - {{method: gate_key, kind: oauth, sha256: sha256({}), \
         upstream: {{file: secrets/real, scheme: {scheme}}}}}\n\
         grants: [{{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}}]\n",
        key()
    )
}

/// A Slack bot with a gate key.
fn slack_keyed() -> Setup {
    let policy = format!(
        "version: 1\napp: slack/keyed\nname: Keyed\ncontact: it@example.com\ninstallations:\n  - tenant: T024BE7LD\n    \
         credentials:\n      - {{method: gate_key, kind: bot, sha256: sha256({}), upstream: {{file: secrets/real}}}}\n\
         grants: [{{scopes: ['chat:write', 'users:read', 'channels:history'], actors: [app], in: all}}]\n",
        key()
    );
    Setup::slack().policy("keyed.yaml", &policy).file("secrets/real", "xoxb-real\n")
}

#[track_caller]
fn sees_the_real_credential(seen: &Received, authorization: &str) {
    assert_eq!(seen.field("authorization"), Some(authorization));
    let body = String::from_utf8_lossy(&seen.body);
    assert!(!seen.head.contains(&key()) && !body.contains(&key()), "the key went upstream: {}\n{body}", seen.head);
}

#[test]
fn a_gate_key_is_replaced_by_the_real_credential() {
    for (scheme, secret, expected) in [
        ("bearer", "real-token\n", "Bearer real-token".to_owned()),
        ("basic", "bot@example.com:pass", format!("Basic {}", STANDARD.encode("bot@example.com:pass"))),
    ] {
        let gate = Setup::jira().policy("a.yaml", &keyed(scheme)).file("secrets/real", secret).start();
        sees_the_real_credential(&gate.passes(&Ask::get(ISSUE).bearer(&key())), &expected);
        // As the password part of Basic, where SDKs put an API token.
        let basic = format!("Basic {}", STANDARD.encode(format!("me@example.com:{}", key())));
        sees_the_real_credential(&gate.passes(&Ask::get(ISSUE).with("authorization", &basic)), &expected);
        let post = Ask::post("/rest/api/3/issue").bearer(&key()).json(r#"{"fields":{"project":{"key":"PROJ"}}}"#);
        let seen = gate.passes(&post);
        sees_the_real_credential(&seen, &expected);
        assert_eq!(seen.body, br#"{"fields":{"project":{"key":"PROJ"}}}"#);
        assert!(!gate.log.text().contains(&key()) && !gate.log.text().contains(secret.trim()));
    }
}

#[test]
fn a_gate_key_in_query_or_form_is_taken_out_and_the_rest_stays() {
    let gate = slack_keyed().start();
    let key = key();
    let seen = gate.passes(&Ask::get(&format!("/api/users.list?limit=5&token={key}&cursor=a%3D%3D")));
    sees_the_real_credential(&seen, "Bearer xoxb-real");
    assert_eq!(seen.line(), "GET /api/users.list?limit=5&cursor=a%3D%3D HTTP/1.1");

    let seen = gate.passes(
        &Ask::post("/api/users.list").with("content-length", "0").with("authorization", &format!("Bearer {key}")),
    );
    assert_eq!(seen.line(), "POST /api/users.list HTTP/1.1");

    let form = |body: String| Ask::post("/api/chat.postMessage").form(&body);
    for (body, expected) in [
        (format!("token={key}&channel=C0HELP&text=a+%26+b%20c"), "channel=C0HELP&text=a+%26+b%20c"),
        (format!("channel=C0HELP&text=x&token={key}"), "channel=C0HELP&text=x"),
        (format!("channel=C0HELP&token={key}&text=%C3%A9&text2=%e9"), "channel=C0HELP&text=%C3%A9&text2=%e9"),
    ] {
        let seen = gate.passes(&form(body));
        sees_the_real_credential(&seen, "Bearer xoxb-real");
        assert_eq!(String::from_utf8_lossy(&seen.body), expected);
        assert_eq!(seen.field("content-length"), Some(expected.len().to_string().as_str()));
    }
    // In all three at once.
    let everywhere = Ask::post(&format!("/api/chat.postMessage?token={key}")).bearer(&key);
    let seen = gate.passes(&everywhere.form(&format!("token={key}&channel=C0HELP&text=x")));
    sees_the_real_credential(&seen, "Bearer xoxb-real");
    assert_eq!((seen.line(), &*seen.body), ("POST /api/chat.postMessage HTTP/1.1", &b"channel=C0HELP&text=x"[..]));
}

#[test]
fn a_gate_key_that_cannot_be_taken_out_refuses() {
    let gate = slack_keyed().start();
    let key = key();
    let json = format!(r#"{{"token":"{key}","channel":"C0HELP","text":"x"}}"#);
    gate.refuses(&Ask::post("/api/chat.postMessage").json(&json), "unidentified");
    for target in [
        format!("/api/users.list?Token={key}"),
        format!("/api/users.list?token={key}&token={key}"),
        format!("/api/users.list?%74oken={key}"),
        format!("/api/users.list?a=1;token={key}"),
    ] {
        gate.refuses(&Ask::get(&target), "bad_request");
    }
}

#[test]
fn a_token_passes_untouched() {
    let gate = assist("grants: [{scopes: ['chat:write', 'users:read'], actors: [app], in: all}]\n");
    let body = "token=xoxb-assist&channel=C0HELP&text=a+b";
    let seen = gate.passes(&Ask::post("/api/chat.postMessage").form(body));
    assert_eq!((seen.field("authorization"), &*seen.body), (None, body.as_bytes()));
    let seen = gate.passes(&Ask::get("/api/users.list?token=xoxb-assist").bearer("xoxb-assist"));
    assert_eq!(seen.line(), "GET /api/users.list?token=xoxb-assist HTTP/1.1");
    assert_eq!(seen.field("authorization"), Some("Bearer xoxb-assist"));
    let json = r#"{"token":"xoxb-assist","channel":"C0HELP","text":"é"}"#;
    assert_eq!(gate.passes(&Ask::post("/api/chat.postMessage").json(json)).body, json.as_bytes());
    assert!(!gate.log.text().contains("xoxb-assist"));
}

#[test]
fn an_api_token_counts_in_the_password_part_of_basic_only() {
    let gate = tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n");
    let basic = |text: &str| Ask::get(ISSUE).with("authorization", &format!("Basic {}", STANDARD.encode(text)));
    assert_eq!(
        gate.passes(&basic("me@example.com:tracker")).field("authorization"),
        Some(format!("Basic {}", STANDARD.encode("me@example.com:tracker")).as_str())
    );
    gate.refuses(&basic("tracker:me@example.com"), "unknown_app");
    gate.refuses(&basic("tracker"), "unidentified");
}

#[test]
fn no_credential_an_unknown_one_or_two_refuse() {
    let gate = assist("grants: [{scopes: all, actors: [app, user], in: all}]\n");
    let list = || Ask::get("/api/users.list");
    gate.refuses(&list(), "unidentified");
    gate.refuses(&list().bearer(""), "unidentified");
    gate.refuses(&list().bearer("xoxb-other"), "unknown_app");
    gate.refuses(&list().with("authorization", "xoxb-assist"), "unidentified");
    let with_query = |token: &str| Ask::get(&format!("/api/users.list?token={token}"));
    gate.refuses(&with_query("xoxp-dana").bearer("xoxb-assist"), "unidentified");
    gate.refuses(&with_query("other").bearer("xoxb-assist"), "unknown_app");
    gate.refuses(&with_query("xoxb-assist").bearer("other"), "unknown_app");
    gate.refuses(&with_query("").bearer("xoxb-assist"), "unidentified");
    let form = |token: &str| Ask::post("/api/users.list").form(&format!("token={token}"));
    gate.refuses(&form("other").bearer("xoxb-assist"), "unknown_app");
    gate.refuses(&form("xoxp-dana").bearer("xoxb-assist"), "unidentified");
    let twice = list().bearer("xoxb-assist").bearer("xoxb-assist");
    gate.refuses(&twice, "bad_request");
    gate.passes(&with_query("xoxb-assist").bearer("xoxb-assist"));
}

#[test]
fn a_method_that_the_gate_does_not_take_identifies_nobody() {
    let gate = slack(&slack_app("grants: [{scopes: all, actors: [app], in: all}]\n")).gate("identify", "[gate_key]");
    gate.start().refuses(&Ask::get("/api/users.list").bearer("xoxb-assist"), "unknown_app");
}

const CONNECT_GRANT: &str = "grants: [{scopes: [READ], actors: [app], in: all}]\n";

#[test]
fn a_connect_jwt_passes_path_and_query_untouched() {
    let gate = gantt(CONNECT_GRANT);
    for (target, canonical) in [
        (ISSUE, "GET&/rest/api/3/issue/PROJ-1&"),
        (
            "/rest/api/3/issue/PROJ-1?fields=b&fields=a&expand=x+y",
            "GET&/rest/api/3/issue/PROJ-1&expand=x%20y&fields=a,b",
        ),
        // Unreserved characters that are encoded are one reading, but a signature covers them as they are.
        ("/rest/api/3/issue/%50ROJ-1?x=%7e", "GET&/rest/api/3/issue/%50ROJ-1&x=~"),
    ] {
        let jwt = jwt::valid(canonical);
        let header = format!("JWT {jwt}");
        let seen = gate.passes(&Ask::get(target).with("authorization", &header));
        assert_eq!(seen.line(), format!("GET {target} HTTP/1.1"));
        assert_eq!(seen.field("authorization"), Some(&*header));
        let separator = if target.contains('?') { '&' } else { '?' };
        let in_query = format!("{target}{separator}jwt={jwt}");
        assert_eq!(gate.passes(&Ask::get(&in_query)).line(), format!("GET {in_query} HTTP/1.1"));
        assert!(!gate.log.text().contains(&jwt));
    }
}

#[test]
fn a_connect_jwt_that_does_not_prove_this_request_refuses() {
    let gate = gantt(CONNECT_GRANT);
    let canonical = "GET&/rest/api/3/issue/PROJ-1&";
    let claims = |life_s| jwt::claims("gantt", life_s, canonical);
    let good = claims(180);
    for (jwt, reason) in [
        (jwt::valid("GET&/rest/api/3/issue/PROJ-2&"), "unidentified"),
        (jwt::valid("POST&/rest/api/3/issue/PROJ-1&"), "unidentified"),
        (jwt::sign(jwt::HEADER, &claims(-60), jwt::SECRET), "unidentified"),
        (jwt::sign(jwt::HEADER, &claims(3_700), jwt::SECRET), "unidentified"),
        (jwt::sign(jwt::HEADER, &jwt::claims("other", 180, canonical), jwt::SECRET), "unknown_app"),
        (jwt::sign(jwt::HEADER, &good, "another secret"), "unidentified"),
        (jwt::sign(jwt::HEADER, &good, ""), "unidentified"),
        (jwt::sign(r#"{"typ":"JWT","alg":"none"}"#, &good, jwt::SECRET), "unidentified"),
        (jwt::sign(r#"{"alg":"HS512"}"#, &good, jwt::SECRET), "unidentified"),
        (
            format!("{}.", jwt::sign(r#"{"alg":"none"}"#, &good, jwt::SECRET).rsplit_once('.').expect("dots").0),
            "unidentified",
        ),
        ("a.b.c".to_owned(), "unidentified"),
    ] {
        let header = format!("JWT {jwt}");
        gate.refuses(&Ask::get(ISSUE).with("authorization", &header), reason);
        gate.refuses(&Ask::get(&format!("{ISSUE}?jwt={jwt}")), reason);
    }
    let context = format!(r#"{{"iss":"gantt","exp":{},"qsh":"context-qsh"}}"#, jwt::now() + 60);
    let context = jwt::sign(jwt::HEADER, &context, jwt::SECRET);
    gate.refuses(&Ask::get(ISSUE).with("authorization", &format!("JWT {context}")), "unidentified");
    // The signed request with something added to its query.
    let added = format!("{ISSUE}?expand=names");
    gate.refuses(&Ask::get(&added).with("authorization", &format!("JWT {}", jwt::valid(canonical))), "unidentified");
    // Two credentials that differ.
    let both = Ask::get(&format!("{ISSUE}?jwt={}", jwt::valid(canonical))).bearer("tracker");
    gate.refuses(&both, "unknown_app");
}

#[test]
fn identity_fields_are_stripped_in_every_spelling() {
    let gate = tracker("grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n");
    let mut ask = Ask::get(ISSUE).bearer("tracker").with("X-Atlassian-Token", "no-check").with("accept", "*/*");
    for name in [
        "X-Forwarded-User",
        "x_forwarded_user",
        "X.Forwarded.User",
        "X-Auth-User",
        "x_auth_user",
        "X.Authenticated.User",
        "Remote_Groups",
        "remote-user",
        "Forwarded",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "x_rewrite_url",
        "x-envoy-original-path",
        "X-Scopegate-Decision",
        "x_real.ip",
        "Proxy-Authorization",
        "X-Forwarded-For",
    ] {
        ask = ask.with(name, "evil");
    }
    let seen = gate.passes(&ask);
    assert!(!seen.head.contains("evil"), "{}", seen.head);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!((seen.field("x-atlassian-token"), seen.field("accept")), (Some("no-check"), Some("*/*")));
    // H04: what the gate sets survives what `Connection` names.
    let named = Ask::get(ISSUE).bearer("tracker").with("connection", "x-forwarded-for, X-Real-IP, x-forwarded-proto");
    let seen = gate.passes(&named);
    assert_eq!((seen.field("x-forwarded-for"), seen.field("x-forwarded-proto")), (Some("127.0.0.1"), Some("http")));
}

#[test]
fn a_tenant_that_gate_request_and_credential_do_not_agree_on_refuses() {
    let eu = "version: 1\napp: jira/tracker\ninstallations: [{tenant: acme-eu, credentials: [{method: token, kind: oauth, sha256: sha256(tracker-eu)}]}]\n";
    let grants = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";
    let tenants = "[{id: acme, host: acme.gate.test, upstream: 'http://{upstream}'}, \
                   {id: acme-eu, host: eu.gate.test, upstream: 'http://{upstream}'}]";
    let setup = Setup::jira().gate("tenant", "host").gate("tenants", tenants).gate("upstream", "http://{upstream}");
    let gate = setup
        .policy("a.yaml", &jira_app("tracker", "oauth", grants))
        .policy("eu.yaml", &format!("{eu}{}", grants.replace("in: all", "in: all, tenants: [acme-eu]")))
        .start();
    let ask = |host: &str, token: &str| Ask::get(ISSUE).with("host", host).bearer(token);
    // A01: the host is compared in one form.
    for host in ["acme.gate.test", "ACME.gate.test", "acme.gate.test.", "acme.gate.test:8080"] {
        let seen = gate.passes(&ask(host, "tracker"));
        assert_eq!(seen.field("host"), Some(gate.upstream.address.to_string().as_str()));
    }
    gate.passes(&ask("eu.gate.test", "tracker-eu"));
    gate.refuses(&ask("eu.gate.test", "tracker"), "unknown_tenant");
    gate.refuses(&ask("acme.gate.test", "tracker-eu"), "unknown_tenant");
    gate.refuses(&ask("other.gate.test", "tracker"), "unknown_tenant");
    gate.refuses(&ask("127.0.0.1", "tracker"), "unknown_tenant");
    gate.refuses(&ask("acme.gate.test%00", "tracker"), "bad_request");
    let in_path = |tenant: &str| format!("/ex/jira/{tenant}/rest/api/3/issue/PROJ-1");
    gate.passes(&Ask::get(&in_path("acme")).with("host", "acme.gate.test").bearer("tracker"));
    let other = Ask::get(&in_path("acme-eu")).with("host", "acme.gate.test").bearer("tracker");
    gate.refuses(&other, "unknown_tenant");
}

#[test]
fn a_second_workspace_in_an_argument_refuses() {
    let gate = assist(
        "grants: [{scopes: ['users:read', 'channels:read', 'groups:read', 'im:read', 'mpim:read'], actors: [app], in: all}]\n",
    );
    gate.passes(&Ask::get("/api/users.list?team_id=T024BE7LD").bearer("xoxb-assist"));
    gate.refuses(&Ask::get("/api/users.list?team_id=TOTHER").bearer("xoxb-assist"), "unknown_tenant");
    gate.refuses(&Ask::post("/api/users.list").form("team_id=TOTHER").bearer("xoxb-assist"), "unknown_tenant");
    gate.refuses(&Ask::post("/api/users.list").json(r#"{"team_id":"TOTHER"}"#).bearer("xoxb-assist"), "unknown_tenant");
    gate.refuses(
        &Ask::post("/api/users.list?team_id=T024BE7LD").form("team_id=TOTHER").bearer("xoxb-assist"),
        "bad_request",
    );
}

#[test]
fn a_credential_whose_secret_cannot_be_read_is_never_shown() {
    let gate = Setup::jira().policy("a.yaml", &keyed("bearer")).start();
    let answer = gate.refuses(&Ask::get(ISSUE).bearer(&key()), "upstream_unreachable");
    assert_eq!(answer.status, 502);
    assert!(answer.has("retry-after: "));
}

#[test]
fn a_secret_file_is_read_again_when_it_changes() {
    let gate = Setup::jira().policy("a.yaml", &keyed("bearer")).file("secrets/real", "first").start();
    let shown = || gate.passes(&Ask::get(ISSUE).bearer(&key())).field("authorization").map(str::to_owned);
    assert_eq!(shown().as_deref(), Some("Bearer first"));
    std::fs::write(gate.path("new"), "second").expect("a file");
    std::fs::rename(gate.path("new"), gate.path("secrets/real")).expect("a rename");
    wait_until("the new secret", || shown().as_deref() == Some("Bearer second"));
    std::fs::remove_file(gate.path("secrets/real")).expect("removed");
    wait_until("the loss of the secret", || {
        gate.ask(&Ask::get(ISSUE).bearer(&key())).reason() == Some("upstream_unreachable")
    });
}

/// `jira/gantt` by its Connect token, and by tokens of two users.
fn gantt_and_users(rules: &str) -> Gate {
    let policy = format!(
        "version: 1\napp: jira/gantt\nname: Gantt\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    credentials:\n      \
         - {{method: connect_jwt, kind: connect, client_key: gantt, secret: {{file: secrets/gantt}}}}\n      \
         - {{method: token, kind: oauth, user: '557058:dana', sha256: sha256(dana-token)}}\n      \
         - {{method: token, kind: oauth, user: '557058:lee', sha256: sha256(lee-token)}}\n{rules}"
    );
    let group = "version: 1\ngroup: agents\ntenant: acme\nusers: ['557058:dana']\n";
    let setup = Setup::jira().policy("gantt.yaml", &policy).policy("agents.yaml", group);
    setup.file("secrets/gantt", jwt::SECRET).gate("identify", "[token, connect_jwt]").start()
}

/// A Connect token whose `sub` names a user: who wrote it is the app.
fn signed_for(user: &str) -> Ask {
    let claims = jwt::claims("gantt", 180, &format!("GET&{ISSUE}&"));
    let claims = format!(r#"{},"sub":"{user}"}}"#, claims.trim_end_matches('}'));
    Ask::get(ISSUE).with("authorization", &format!("JWT {}", jwt::sign(jwt::HEADER, &claims, jwt::SECRET)))
}

#[test]
fn the_subject_of_a_connect_token_proves_no_user() {
    let scopes = "scopes: [READ, read:jira-work], actors: [app, user], in: all";
    let by_user = |token: &str| Ask::get(ISSUE).bearer(token);
    for users in ["{ids: ['557058:dana']}", "{groups: [agents]}"] {
        // In a grant the condition is unmet.
        let gate = gantt_and_users(&format!("grants: [{{{scopes}, users: {users}}}]\n"));
        gate.passes(&by_user("dana-token"));
        gate.refuses(&by_user("lee-token"), "user_not_allowed");
        for caller in [signed_for("557058:dana"), signed_for("557058:lee"), signed("GET", ISSUE)] {
            gate.refuses(&caller, "user_not_allowed");
        }

        // In a revocation it is met.
        let taken = format!(
            "grants: [{{{scopes}}}]\nrevocations: [{{scopes: [READ, read:jira-work], users: {users}, in: all, reason: SEC-2}}]\n"
        );
        let gate = gantt_and_users(&taken);
        gate.passes(&by_user("lee-token"));
        gate.refuses(&by_user("dana-token"), "scope_revoked");
        for caller in [signed_for("557058:lee"), signed_for("557058:dana"), signed("GET", ISSUE)] {
            gate.refuses(&caller, "scope_revoked");
        }
    }
    // Without the condition `sub` changes nothing.
    let gate = gantt_and_users(&format!("grants: [{{{scopes}}}]\n"));
    gate.passes(&signed_for("557058:lee"));
    let line = gate.log.line(1);
    assert_eq!((&line["actor"], &line["user"]), (&"app".into(), &serde_json::Value::Null));
}
