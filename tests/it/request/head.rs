//! P19, P27, A01, A02, H01, H05, H07, H10: methods, hosts, headers, and the query as a whole.

use super::*;

fn is_refused(method: &str, target: &str, headers: &[(&str, &str)]) -> bool {
    parts(method, target, headers).is_none_or(|parts| RequestView::of(&parts).is_err())
}

#[test]
fn p27_only_known_methods_in_upper_case() {
    for method in ["CONNECT", "TRACE", "get", "Post", "PRI", "PROPFIND", "QUERY", "GETS"] {
        assert!(is_refused(method, "/a", &[("host", "gate")]), "{method}");
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(!is_refused(method, "/a", &[("host", "gate")]), "{method}");
    }
}

#[test]
fn a01_the_host_has_one_spelling() {
    let rows = [
        ("Secret.com", "secret.com"),
        ("secret.com.", "secret.com"),
        ("secret.com:443", "secret.com"),
        ("SECRET.com.:80", "secret.com"),
        ("[::1]", "[::1]"),
        ("[::A]:8080", "[::a]"),
        ("127.0.0.1:1", "127.0.0.1"),
    ];
    for (sent, judged) in rows {
        let parts = parts("GET", "/a", &[("host", sent)]).unwrap();
        assert_eq!(RequestView::of(&parts).unwrap().host, judged, "{sent}");
    }
    let refused = [
        "",
        ":80",
        ".",
        "a..b",
        "a..",
        ".a",
        "secret%2ecom",
        "u@secret.com",
        "a b",
        "a,b",
        "a/b",
        "a:b",
        "a:+80",
        "a:",
        "a:99999",
        "[::1",
        "::1",
        "[fe80::1%25eth0]",
        "[1]",
        "[::1].",
        "a\\b",
        "sécret",
    ];
    for host in refused {
        assert!(is_refused("GET", "/a", &[("host", host)]), "{host:?}");
    }
}

#[test]
fn a02_p19_there_is_one_host() {
    assert!(is_refused("GET", "/a", &[]));
    assert!(is_refused("GET", "/a", &[("host", "gate"), ("host", "gate")]));
    assert!(is_refused("GET", "/a", &[("host", "gate"), ("host", "other")]));
    assert!(is_refused("GET", "http://other/admin", &[("host", "gate")]));
    assert!(is_refused("GET", "http://gate:81/admin", &[("host", "gate:80")]));
    assert!(is_refused("GET", "http://u:p@gate/", &[("host", "gate")]));
    assert!(is_refused("GET", "ftp://gate/a", &[("host", "gate")]));
    assert!(!is_refused("GET", "http://GATE/a", &[("host", "gate.")]));
}

#[test]
fn h01_identity_headers_stand_once() {
    for name in ["authorization", "content-type", "content-encoding"] {
        assert!(is_refused("GET", "/a", &[("host", "gate"), (name, "a"), (name, "a")]), "{name}");
    }
    assert!(!is_refused("GET", "/a", &[("host", "gate"), ("accept", "a"), ("accept", "b")]));
}

#[test]
fn h05_connection_may_not_take_framing_away() {
    for value in ["Content-Length", "close, transfer-encoding", "content-type", "Content-Encoding,close", "HOST"] {
        assert!(is_refused("GET", "/a", &[("host", "gate"), ("connection", value)]), "{value}");
    }
    assert!(!is_refused("GET", "/a", &[("host", "gate"), ("connection", "keep-alive, x-real-ip")]));
}

#[test]
fn h07_the_method_is_not_overridden() {
    for name in
        ["X-HTTP-Method-Override", "x-method-override", "X-HTTP-Method", "X_HTTP_Method_Override", "x.http.method"]
    {
        assert!(is_refused("GET", "/a", &[("host", "gate"), (name, "DELETE")]), "{name}");
    }
    for query in ["_method=DELETE", "a=1&_METHOD=x", "%5fmethod=x", "a;_method=x", "_method", "_method[]=x"] {
        assert!(is_refused("GET", &format!("/a?{query}"), &[("host", "gate")]), "{query}");
    }
    assert!(!is_refused(
        "GET",
        "/a?method=x&my_method=y",
        &[("host", "gate"), ("access-control-request-method", "PUT")]
    ));
}

#[test]
fn h10_header_values_are_text() {
    let mut parts = get("/a").unwrap();
    parts.headers.insert("x-name", HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(RequestView::of(&parts).is_err());
    parts.headers.insert("x-name", HeaderValue::from_bytes("grüße".as_bytes()).unwrap());
    assert!(RequestView::of(&parts).is_ok());
}

#[test]
fn a_query_is_well_formed() {
    for query in ["a=%", "a=%1", "a=%zz", "a=%00", "a=\u{ff0f}"] {
        assert!(is_refused("GET", &format!("/a?{query}"), &[("host", "gate")]), "{query}");
    }
    assert!(!is_refused("GET", "/a?jql=project%20=%20A;x&c=%C3%A9&d=1+2", &[("host", "gate")]));
}
