//! Redirects to other origins: followed without any credential, passed on under `gate:mint`, or refused.

use std::sync::Mutex;
use std::sync::mpsc;

use super::links::{READS, answered, get, jira, own, tickets};
use super::*;
use crate::support::client::Answer;
use crate::support::tls::Authority;
use crate::support::upstream::{Received, Reply, StubUpstream, wait_until};

const MEDIA: &str = "api.media.atlassian.com";
const MINTS: &str = "grants: [{scopes: [read:jira-work, write:jira-work, 'gate:mint'], actors: [app], in: all}]\n";
const DOWNLOAD: &str = "/rest/api/3/attachment/content/10000";
/// What no app may see that does not hold `gate:mint`, and no log at all.
const SECRET: &str = "token=signed-secret";

/// A product that answers everything with this redirect; `OWN` in it is its own origin.
fn redirects(status: &'static str, location: &'static str) -> StubUpstream {
    StubUpstream::start(move |request| {
        let location = location.replace("OWN", &own(request));
        answered(&format!("{status}\r\nlocation: {location}"), "<a href=\"the same\">")
    })
}

/// A stub of the media host, and the gate's configuration that leads there.
struct Media {
    stub: StubUpstream,
    certificate: String,
}

impl Media {
    fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new("of the media host");
        let stub = StubUpstream::start_tls(authority.issue(MEDIA).server(), answer);
        Self { stub, certificate: authority.pem }
    }

    fn before(&self, setup: Setup) -> Setup {
        let host = format!("[{{host: {MEDIA}, address: '{}', ca: media.crt}}]", self.stub.address);
        setup.gate("redirect_hosts", &host).file("media.crt", &self.certificate)
    }
}

/// A redirect that is refused, and of which the app learns nothing.
#[track_caller]
fn refused(gate: &Gate, ask: &Ask) -> Answer {
    let answer = gate.ask(ask);
    assert_eq!(answer.reason(), Some("missing_scope"), "{}\n{}", answer.head, answer.body);
    assert_eq!(answer.json()["scopegate"]["needed"], serde_json::json!(["gate:mint"]), "{}", answer.body);
    for told in [SECRET, "location:", "evil.example", MEDIA, "the same"] {
        assert!(!answer.head.contains(told) && !answer.body.contains(told), "{told}: {}\n{}", answer.head, answer.body);
    }
    answer
}

#[test]
fn a_redirect_to_a_listed_host_is_followed_without_any_credential() {
    let media = Media::start(|request| {
        let body = if request.line().starts_with("HEAD") { "" } else { "the file" };
        Reply::raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 8\r\netag: \"m\"\r\nset-cookie: a=b\r\n\
             content-location: https://{MEDIA}/file/1?{SECRET}\r\nlink: <https://{MEDIA}/?{SECRET}>\r\n\r\n{body}"
        ))
    });
    let upstream = redirects("303 See Other", "https://api.media.atlassian.com/file/1/binary?token=signed-secret#x");
    let gate = media.before(jira(READS)).before(upstream);
    let with = |ask: Ask| {
        ask.with("accept", "image/png").with("range", "bytes=0-7").with("if-none-match", "\"z\"").with("x-own", "1")
    };
    let answer = gate.ask(&with(get(DOWNLOAD)));
    assert_eq!((answer.status, answer.reason(), answer.body.as_str()), (200, None, "the file"));
    assert_eq!((answer.field("content-type"), answer.field("etag")), (Some("image/png"), Some("\"m\"")));
    for gone in ["location: ", "content-location: ", "link: ", "set-cookie: "] {
        assert!(!answer.has(gone), "{gone}: {}", answer.head);
    }
    let head = gate.ask(&with(Ask::new("HEAD", DOWNLOAD).bearer("tracker")));
    assert_eq!((head.status, head.field("content-length")), (200, Some("8")));
    let seen = media.stub.wait_for(2);
    assert_eq!(seen[0].line(), "GET /file/1/binary?token=signed-secret HTTP/1.1");
    assert_eq!(seen[1].line(), "HEAD /file/1/binary?token=signed-secret HTTP/1.1");
    let mut names = seen[0].names();
    names.sort();
    assert_eq!(names, ["accept", "host", "if-none-match", "range", "user-agent"]);
    assert_eq!(seen[0].field("host"), Some(MEDIA));
    let line = gate.log.line(2);
    assert_eq!((&line["outcome"], &line["status"]), (&"permit".into(), &200.into()));
    assert!(!gate.log.text().contains("signed-secret") && !gate.log.text().contains(MEDIA));
}

#[test]
fn a_redirect_to_another_origin_is_refused_and_the_app_never_learns_where_it_led() {
    let media = Media::start(|_| Reply::ok("the file"));
    for location in [
        "https://evil.example/file?token=signed-secret",
        "//evil.example/file?token=signed-secret",
        "http://api.media.atlassian.com/file?token=signed-secret",
        "https://api.media.atlassian.com:8443/file?token=signed-secret",
        "https://api.media.atlassian.com.evil.example/?token=signed-secret",
        "https://api.media.atlassian.com@evil.example/?token=signed-secret",
        "https://x.api.media.atlassian.com/?token=signed-secret",
        "https://127.0.0.1/?token=signed-secret",
        "\\\\evil.example\\?token=signed-secret",
        "/\t/evil.example/?token=signed-secret",
        "ftp://evil.example/?token=signed-secret",
        "/a\r\nlocation: https://evil.example/?token=signed-secret",
    ] {
        let gate = media.before(jira(READS)).before(redirects("302 Found", location));
        let answer = refused(&gate, &get(DOWNLOAD));
        assert_eq!(answer.status, 401, "as Atlassian's gateway says it");
        let line = gate.log.line(1);
        assert_eq!(
            (&line["outcome"], &line["needed"]),
            (&"deny".into(), &serde_json::json!(["gate:mint"])),
            "{location}"
        );
        assert!(!gate.log.text().contains("signed-secret"));
    }
    assert_eq!(media.stub.connections(), 0, "nothing was asked of the listed host");
}

#[test]
fn a_redirect_is_passed_on_as_it_is_to_who_may_mint() {
    let location = "https://evil.example/file?token=signed-secret#x";
    let gate = jira(MINTS).before(redirects("302 Found", location));
    let answer = gate.ask(&get(DOWNLOAD));
    assert_eq!((answer.status, answer.reason(), answer.field("location")), (302, None, Some(location)));
    // The guard must be held where the request reaches.
    let elsewhere = "grants:\n  - {scopes: [read:jira-work], actors: [app], in: all}\n  \
                     - {scopes: ['gate:mint'], actors: [app], in: {project: [PROJ]}}\n";
    let gate = jira(elsewhere).before(redirects("302 Found", location));
    assert_eq!(gate.ask(&get("/rest/api/3/issue/PROJ-1")).status, 302);
    let answer = gate.ask(&get("/rest/api/3/issue/OTHER-1"));
    assert_eq!(answer.reason(), Some("container_not_granted"), "{}", answer.body);
    assert!(!answer.has("location: "));
    // And a revocation of it beats the grant.
    let revoked = format!("{MINTS}revocations: [{{scopes: ['gate:mint'], in: all, reason: SEC-1}}]\n");
    let answer = jira(&revoked).before(redirects("302 Found", location)).ask(&get(DOWNLOAD));
    assert_eq!(answer.reason(), Some("scope_revoked"));
}

#[test]
fn a_redirect_that_would_repeat_a_body_is_never_followed() {
    let media = Media::start(|_| Reply::ok("the file"));
    let writes = "grants: [{scopes: [write:jira-work], actors: [app], in: all}]\n";
    let create = || Ask::post("/rest/api/3/issue").bearer("tracker").json(r#"{"fields":{"project":{"key":"PROJ"}}}"#);
    let location = "https://api.media.atlassian.com/file?token=signed-secret";
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let gate = media.before(jira(writes)).before(redirects(status, location));
        refused(&gate, &create());
        let gate = media.before(jira(MINTS)).before(redirects(status, location));
        assert_eq!(gate.ask(&create()).field("location"), Some(location));
    }
    assert_eq!(media.stub.connections(), 0);
    let gate = media.before(jira(writes)).before(redirects("303 See Other", location));
    assert_eq!(gate.ask(&create()).body, "the file");
    let seen = media.stub.wait_for(1).remove(0);
    assert_eq!((seen.line(), seen.body.len()), ("GET /file?token=signed-secret HTTP/1.1", 0));
}

#[test]
fn a_chain_of_redirects_ends() {
    for next in ["https://api.media.atlassian.com/again?token=signed-secret", "/again?token=signed-secret"] {
        let media = Media::start(move |_| answered(&format!("302 Found\r\nlocation: {next}"), ""));
        let location = "https://api.media.atlassian.com/file?token=signed-secret";
        let gate = media.before(jira(READS)).before(redirects("303 See Other", location));
        refused(&gate, &get(DOWNLOAD));
        assert_eq!(media.stub.wait_for(3).len(), 3);
        assert_eq!(gate.upstream.requests().len(), 1);
    }
    // Each step is looked at again: out of the list, and relative to what is not the gate.
    for next in [
        "https://evil.example/?token=signed-secret",
        "again?token=signed-secret",
        "//evil.example/?token=signed-secret",
    ] {
        let media = Media::start(move |_| answered(&format!("302 Found\r\nlocation: {next}"), ""));
        let location = "https://api.media.atlassian.com/file";
        let gate = media.before(jira(READS)).before(redirects("303 See Other", location));
        refused(&gate, &get(DOWNLOAD));
    }
}

#[test]
fn a_redirect_to_the_product_itself_stays_at_the_gate() {
    for (status, location, expected) in [
        ("303 See Other", "OWN/rest/api/3/task/1", "http://gate.test/rest/api/3/task/1"),
        ("307 Temporary Redirect", "OWN/rest/api/3/task/1?a=b#c", "http://gate.test/rest/api/3/task/1?a=b#c"),
        ("302 Found", "/rest/api/3/task/1", "/rest/api/3/task/1"),
        ("302 Found", "task/1", "task/1"),
    ] {
        let gate = jira(READS).before(redirects(status, location));
        let answer = gate.ask(&get("/rest/api/3/issue/PROJ-1"));
        assert_eq!(answer.field("location"), Some(expected));
        assert_eq!(gate.upstream.requests().len(), 1, "the app goes there itself, and is judged again");
    }
    // Also from the host that was followed to.
    let upstream = redirects("303 See Other", "https://api.media.atlassian.com/file");
    let home = format!("http://{}/rest/api/3/task/1", upstream.address);
    let media = Media::start(move |_| answered(&format!("302 Found\r\nlocation: {home}"), ""));
    let gate = media.before(jira(READS)).before(upstream);
    assert_eq!(gate.ask(&get(DOWNLOAD)).field("location"), Some("http://gate.test/rest/api/3/task/1"));
}

#[test]
fn what_was_revoked_while_the_product_answered_is_not_followed() {
    let revoked = format!("{READS}revocations: [{{scopes: [read:jira-work], in: all, reason: SEC-1}}]\n");
    overtaken(&jira_app("tracker", "oauth", &revoked), &["scope_revoked"]);
}

#[test]
fn a_redirect_that_one_app_got_is_not_followed_for_another() {
    let moved = jira_app("other", "oauth", READS).replace("sha256(other)", "sha256(tracker)");
    // Another caller's in one of the two states, and once the folder has settled nobody's of whom it was.
    overtaken(&moved, &["stale_policy", "unknown_app"]);
}

/// The policy changes while the product answers with a redirect.
#[track_caller]
fn overtaken(policy: &str, reasons: &[&str]) {
    let media = Media::start(|_| Reply::ok("the file"));
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = StubUpstream::serve(move |mut connection| {
        connection.read_request().expect("a request");
        wait.lock().expect("the test").recv().expect("a word");
        let location = format!("location: https://{MEDIA}/file?{SECRET}");
        let _ =
            connection.write(format!("HTTP/1.1 303 See Other\r\n{location}\r\ncontent-length: 0\r\n\r\n").as_bytes());
    });
    let gate = media.before(jira(READS)).before(upstream);
    let mut client = gate.connect();
    client.send(&get(DOWNLOAD).text());
    gate.upstream.wait_for(1);
    let before = gate.metric("scopegate_snapshot_generation");
    gate.write_policy("tracker.yaml", policy);
    let settled = || gate.running().live.load().states.as_ref().is_some_and(|states| states.whole.is_none());
    wait_until("the new policy", || gate.metric("scopegate_snapshot_generation") > before && settled());
    go.send(()).expect("the upstream waits");
    let answer = client.answer();
    assert!(answer.reason().is_some_and(|reason| reasons.contains(&reason)), "{}", answer.head);
    assert_eq!(media.stub.connections(), 0);
}

#[test]
fn under_observe_a_redirect_passes_and_says_what_it_would_have_needed() {
    let at = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    let until = at.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let policy = jira_app("tracker", "oauth", READS);
    let policy =
        policy.replace("    tenant_name: Acme\n", &format!("    tenant_name: Acme\n    observe: {{until: {until}}}\n"));
    let gate = Setup::jira().policy("tracker.yaml", &policy).before(redirects("302 Found", "https://evil.example/"));
    let answer = gate.ask(&get(DOWNLOAD));
    assert_eq!((answer.status, answer.field("location")), (302, Some("https://evil.example/")));
    assert_eq!(answer.field("x-scopegate-would"), Some("missing_scope"));
    let line = gate.log.line(1);
    assert_eq!((&line["outcome"], &line["reason"]), (&"would_deny".into(), &"missing_scope".into()));
}

#[test]
fn what_a_followed_redirect_does_not_give_is_the_upstreams_fault() {
    let location = "https://api.media.atlassian.com/file?token=signed-secret";
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Oops"] {
        let media = Media::start(move |_| answered(status, &format!("<Error>{SECRET}</Error>")));
        let gate = media.before(jira(READS)).before(redirects("303 See Other", location));
        let answer = gate.ask(&get(DOWNLOAD));
        assert_eq!((answer.status, answer.reason()), (502, Some("upstream_broken")), "{status}");
        assert!(!answer.body.contains("signed-secret"));
    }
    for (reply, status) in [("304 Not Modified\r\netag: \"m\"", 304), ("416 Range Not Satisfiable", 416)] {
        let media = Media::start(move |_| Reply::raw(&format!("HTTP/1.1 {reply}\r\ncontent-length: 0\r\n\r\n")));
        let gate = media.before(jira(READS)).before(redirects("303 See Other", location));
        assert_eq!(gate.ask(&get(DOWNLOAD)).status, status);
    }
    // A host that shows another certificate gets nothing.
    let media = Media::start(|_| Reply::ok("the file"));
    let other = Media::start(|_| Reply::ok("the file"));
    let setup = media.before(jira(READS)).file("media.crt", &other.certificate);
    let gate = setup.before(redirects("303 See Other", location));
    let answer = gate.ask(&get(DOWNLOAD));
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_unreachable")));
    assert!(media.stub.requests().is_empty());
}

#[test]
fn an_address_beside_an_answer_is_taken_away_but_from_who_may_mint() {
    let location = "https://evil.example/upload?token=signed-secret";
    let ask = || Ask::post("/rest/api/3/issue").bearer("tracker").json(r#"{"fields":{"project":{"key":"PROJ"}}}"#);
    let writes = "grants: [{scopes: [write:jira-work], actors: [app], in: all}]\n";
    let answer = jira(writes).before(redirects("201 Created", location)).ask(&ask());
    assert_eq!((answer.status, answer.reason(), answer.field("location")), (201, None, None));
    let answer = jira(MINTS).before(redirects("201 Created", location)).ask(&ask());
    assert_eq!(answer.field("location"), Some(location));
}

#[test]
fn a_name_that_leads_into_the_gates_own_network_is_not_gone_to() {
    let inside = StubUpstream::ok();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let listed = format!("{host}:{}", inside.address.port());
        let location = format!("https://{listed}/?{SECRET}");
        let upstream = StubUpstream::start(move |_| answered(&format!("302 Found\r\nlocation: {location}"), ""));
        let answer = tickets(&listed).before(upstream).ask(&get("/v1/tickets"));
        assert_eq!((answer.status, answer.reason()), (502, Some("upstream_unreachable")), "{host}");
    }
    assert_eq!(inside.connections(), 0);
}

#[test]
fn a_host_that_no_catalog_redirects_to_cannot_be_configured() {
    let hosts = "[{host: other.example, address: '127.0.0.1:1'}]";
    let text = format!(
        "version: 1\npolicies: p\ngates: [{{name: a, listen: '127.0.0.1:0', product: jira, identify: [gate_key], \
         upstream: 'http://a', bypass: open, tenant: {{fixed: t}}, redirect_hosts: {hosts}}}]\n"
    );
    let path = std::path::Path::new("scopegate.yaml");
    let config = scopegate::config::parse(&path.into(), &text, &|_| true).expect("a configuration");
    let problems = scopegate::app::catalogs(Some(&config)).expect_err("the host is not listed");
    assert!(problems[0].message.contains("redirects to no host `other.example`"), "{problems:?}");
}
