//! No page reaches the admin API: not across sites, not by a name that a stranger's DNS points here, not by a form.

use super::*;

#[test]
fn whatever_only_browsers_send_is_refused_with_a_good_token_too() {
    let gate = on_tcp().start();
    let before = (generation(&gate), acts(&gate));
    for (name, value) in [
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("origin", "https://evil.example"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "no-cors"),
        ("access-control-request-method", "POST"),
    ] {
        for endpoint in Endpoint::ALL {
            let answer = raw(&gate, &sound(&gate, endpoint, "x").bearer(ADMIN).with(name, value));
            assert!(matches!(answer.status, 403 | 429), "{endpoint:?} {name}: {}", answer.body);
            assert!(!answer.has("access-control-"), "{}", answer.head);
        }
    }
    let preflight = Ask::new("OPTIONS", "/api/v1/acts").with("origin", "https://evil.example");
    let answer = raw(&gate, &preflight.with("access-control-request-method", "POST"));
    assert!(matches!(answer.status, 403 | 429) && !answer.has("access-control-"), "{}", answer.head);
    assert_eq!((generation(&gate), acts(&gate)), before);
}

#[test]
fn no_answer_lets_another_origin_read_it_or_a_cache_keep_it() {
    let gate = on_tcp().start();
    for endpoint in Endpoint::ALL {
        for ask in [sound(&gate, endpoint, "x").bearer(VIEWER), sound(&gate, endpoint, "x")] {
            let answer = raw(&gate, &ask);
            assert!(!answer.has("access-control-"), "{}", answer.head);
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        }
    }
}

#[test]
fn only_under_a_name_of_its_own_does_it_answer() {
    let gate = on_tcp().start();
    let port = address(&gate).port();
    let status = |host: &str| raw(&gate, &Ask::get("/api/v1/whoami").bearer(ADMIN).with("host", host)).status;
    for own in ["localhost", "127.0.0.1", "gate.internal", "GATE.internal", "[::1]"] {
        assert_eq!(status(own), 200, "{own}");
        assert_eq!(status(&format!("{own}:{port}")), 200, "{own}");
    }
    for strange in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "gate.internal.evil.example",
        "10.1.2.3",
        "0.0.0.0",
    ] {
        assert_eq!(status(strange), 403, "{strange}");
        assert_eq!(status(&format!("{strange}:{port}")), 403, "{strange}");
    }
    let twice = Ask::get("/api/v1/whoami").bearer(ADMIN).with("host", "localhost").with("host", "evil.example");
    assert!(matches!(raw(&gate, &twice).status, 400 | 403));
    let whole = Ask::get("http://evil.example/api/v1/whoami").bearer(ADMIN).with("host", "localhost");
    assert!(matches!(raw(&gate, &whole).status, 400 | 403), "the name in the request line counts too");
    let mut old = connect(address(&gate));
    old.send(&format!("GET /api/v1/whoami HTTP/1.0\r\nauthorization: Bearer {ADMIN}\r\n\r\n"));
    assert_eq!(old.answer().status, 403, "no name is none of its own");
}

#[test]
fn a_form_cannot_write() {
    let gate = on_tcp().start();
    let before = (generation(&gate), acts(&gate));
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json,text/plain",
    ] {
        let ask = Ask::post("/api/v1/acts").bearer(ADMIN).with("content-type", kind).body(&revoke().to_string());
        let answer = raw(&gate, &ask);
        assert_eq!((answer.status, &answer.json()["code"]), (415, &json!("media_type")), "{kind}");
    }
    let none = Ask::post("/api/v1/acts").bearer(ADMIN).body(&revoke().to_string());
    assert_eq!(raw(&gate, &none).status, 415);
    assert_eq!((generation(&gate), acts(&gate)), before);
}

/// Over a Unix socket no browser comes, but a proxy before it may pass one on.
#[test]
fn a_browser_is_refused_over_the_socket_too() {
    let gate = guarded("{listen: 'unix:admin.sock'}").start();
    assert_eq!(ask(&gate, "GET /api/v1/snapshot HTTP/1.1\r\norigin: https://evil.example", &Value::Null).0, 403);
    assert_eq!(ask(&gate, "POST /api/v1/acts HTTP/1.1\r\nsec-fetch-site: cross-site", &revoke()).0, 403);
    assert_eq!(acts(&gate), 0);
}
