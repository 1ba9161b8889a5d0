//! The way through a proxy: what it is asked, what it gets to see, and that nothing ever goes round it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use scopegate::proxy::limits::Limits;
use scopegate::proxy::tls::{Trust, VIA_PROTOCOLS};
use scopegate::proxy::upstream::via::{Authorization, Via};
use scopegate::proxy::upstream::{Address, Speaks, Target, Tls};

use super::gate::Gate;
use super::tls::{any, count, holds, impatient, trust};
use crate::support::proxy::{Lead, StubProxy};
use crate::support::tls::Authority;
use crate::support::upstream::{Reply, StubUpstream, wait_until};

/// Resolved by nobody but the proxy.
const NAME: &str = "jira.invalid";
const ASK: &str = "GET /marked HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer marked-too\r\n\r\n";

fn via(proxy: SocketAddr) -> Via {
    Via { host: proxy.ip().to_string(), port: proxy.port(), tls: None, authorization: None }
}

/// A gate before `https://jira.invalid`.
fn https(via: Via, believed: Arc<Trust>, limits: Limits) -> Gate {
    let address = Address::Tcp { host: NAME.to_owned(), port: 443, via: Some(Arc::new(via)) };
    let tls = Tls::of(NAME, believed).expect("a name");
    Gate::start(any(), Target::new(address, Some(tls), HeaderValue::from_static(NAME), Speaks::default()), limits, None)
}

/// A gate before `http://jira.invalid:8080`.
fn http(via: Via, limits: Limits) -> Gate {
    let address = Address::Tcp { host: NAME.to_owned(), port: 8080, via: Some(Arc::new(via)) };
    Gate::start(
        any(),
        Target::new(address, None, HeaderValue::from_static("jira.invalid:8080"), Speaks::default()),
        limits,
        None,
    )
}

/// An authority, and an upstream at `jira.invalid` that it vouches for.
fn upstream() -> (Authority, StubUpstream) {
    let authority = Authority::new("the upstream's");
    let upstream = StubUpstream::start_tls(authority.issue(NAME).server(), |_| Reply::ok("ok"));
    (authority, upstream)
}

#[test]
fn an_https_upstream_is_reached_through_a_tunnel_that_shows_the_proxy_nothing() {
    let (authority, upstream) = upstream();
    let address = upstream.address;
    let proxy = StubProxy::start(move |_| Lead::To(address));
    let gate = https(via(proxy.address), trust(&[&authority]), Limits::default());
    for _ in 0..3 {
        assert_eq!(gate.ask(ASK).body, "ok");
    }
    assert_eq!(proxy.heads(), ["CONNECT jira.invalid:443 HTTP/1.1\r\nhost: jira.invalid:443"]);
    assert_eq!((proxy.connections(), upstream.connections()), (1, 1), "the tunnel is kept");
    let request = upstream.requests().pop().expect("a request");
    assert_eq!((request.line(), request.field("host")), ("GET /marked HTTP/1.1", Some(NAME)));
    assert_eq!(request.field("authorization"), Some("Bearer marked-too"));
    assert_eq!(request.field("proxy-authorization"), None);
    assert!(!holds(&proxy.tunnelled(), b"marked"), "the proxy sees bytes of TLS alone");
}

#[test]
fn an_http_upstream_is_reached_by_connect_too() {
    let upstream = StubUpstream::ok();
    let address = upstream.address;
    let proxy = StubProxy::start(move |_| Lead::To(address));
    let gate = http(via(proxy.address), Limits::default());
    assert_eq!(gate.ask(ASK).body, "ok");
    assert_eq!(proxy.heads(), ["CONNECT jira.invalid:8080 HTTP/1.1\r\nhost: jira.invalid:8080"]);
    assert_eq!(upstream.requests()[0].line(), "GET /marked HTTP/1.1");
}

#[test]
fn a_proxy_may_itself_be_spoken_to_over_tls_and_must_be_whom_it_must_be() {
    let (authority, upstream) = upstream();
    let (corporate, address) = (Authority::new("corporate"), upstream.address);
    let proxy = StubProxy::start_tls(corporate.issue("proxy.corp").server(), move |_| Lead::To(address));
    let over = |name: &str, believed: &Authority| {
        let believed =
            Trust::new(scopegate::proxy::tls::roots_of(believed.pem.as_bytes(), false).expect("roots"), VIA_PROTOCOLS);
        let authorization = Some(Authorization::new(Some(HeaderValue::from_static("Basic bWFya2VkOnBhc3M="))));
        let tls = Tls::of(name, believed.expect("trust")).expect("a name");
        let via = Via { tls: Some(tls), authorization, ..via(proxy.address) };
        https(via, trust(&[&authority]), Limits::default())
    };
    for gate in [over("proxy.corp", &authority), over("other.corp", &corporate)] {
        assert_eq!(gate.ask(ASK).body, "unreachable");
        assert_eq!(count(&gate.counters.via_failed), 1);
    }
    assert!(proxy.heads().is_empty(), "it was asked, and shown a password, before it was known");
    assert_eq!(upstream.connections(), 0);

    let gate = over("proxy.corp", &corporate);
    for _ in 0..2 {
        assert_eq!(gate.ask(ASK).body, "ok");
    }
    assert_eq!(proxy.heads().len(), 1);
    assert!(!holds(&proxy.tunnelled(), b"marked"), "TLS within TLS");
}

#[test]
fn roots_of_the_proxy_that_were_taken_away_are_believed_no_more() {
    let (authority, upstream) = upstream();
    let (old, new, address) = (Authority::new("old"), Authority::new("new"), upstream.address);
    let proxy = StubProxy::start_tls(old.issue("proxy.corp").server(), move |_| Lead::To(address));
    let believed = trust(&[&old]);
    let tls = Tls::of("proxy.corp", Arc::clone(&believed)).expect("a name");
    let gate = https(Via { tls: Some(tls), ..via(proxy.address) }, trust(&[&authority]), Limits::default());
    assert_eq!(gate.ask(ASK).body, "ok");
    let roots = scopegate::proxy::tls::roots_of(new.pem.as_bytes(), false).expect("roots");
    believed.replace(roots).expect("replaced");
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!((upstream.requests().len(), proxy.heads().len()), (1, 1), "the tunnel that was kept is not used");
}

#[test]
fn a_proxy_is_shown_what_its_file_holds_now_and_is_not_asked_without() {
    let (authority, upstream) = upstream();
    let address = upstream.address;
    let proxy = StubProxy::start(move |_| Lead::To(address));
    let authorization = Authorization::new(Some(HeaderValue::from_static("Basic b25l")));
    let via = Via { authorization: Some(Arc::clone(&authorization)), ..via(proxy.address) };
    let gate = https(via, trust(&[&authority]), Limits { upstream_idle_max: 0, ..Limits::default() });
    assert_eq!(gate.ask(ASK).body, "ok");
    authorization.replace(Some(HeaderValue::from_static("Bearer two")));
    assert_eq!(gate.ask(ASK).body, "ok");
    let shown = |head: &String| head.lines().last().expect("a line").to_owned();
    let heads: Vec<String> = proxy.heads().iter().map(shown).collect();
    assert_eq!(heads, ["proxy-authorization: Basic b25l", "proxy-authorization: Bearer two"]);

    authorization.replace(None);
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!((proxy.connections(), upstream.connections()), (2, 2));
    assert_eq!(count(&gate.counters.via_failed), 1);
}

#[test]
fn any_2xx_opens_whatever_it_says_of_a_body() {
    let (authority, upstream) = upstream();
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nVia: 1.1 squid\r\n\r\n",
        "HTTP/1.1 299\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let address = upstream.address;
        let proxy = StubProxy::start(move |_| Lead::saying(head, address));
        let gate = https(via(proxy.address), trust(&[&authority]), Limits::default());
        assert_eq!(gate.ask(ASK).body, "ok", "{head:?}");
    }
}

#[test]
fn a_proxy_that_opens_no_tunnel_is_told_nothing_and_nothing_goes_round_it() {
    let (authority, upstream) = upstream();
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(16 * 1024));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(4 * 1024));
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"corp\"\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 7\r\n\r\nblocked",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: https://portal.corp/\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnothing of the kind\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        // Bytes that the upstream was not asked for would be taken for its answer.
        "HTTP/1.1 200 OK\r\n\r\n\u{16}\u{3}\u{3}",
        "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake",
        "HTTP/1.1 200 OK\r\nx: y",
        "",
        &large,
        &endless,
    ] {
        for lead in [Lead::close(answer), Lead::nowhere(answer)] {
            let hangs = matches!(lead, Lead::Nowhere(_));
            if hangs && !(answer.contains("\r\n\r\n") || answer.len() > 16 * 1024) {
                // Half an answer and then nothing: see below.
                continue;
            }
            let proxy = StubProxy::start(move |_| lead.clone());
            for gate in [
                https(via(proxy.address), trust(&[&authority]), Limits::default()),
                http(via(proxy.address), Limits::default()),
            ] {
                assert_eq!(gate.ask(ASK).body, "unreachable", "{answer:?}");
                assert_eq!(count(&gate.counters.via_failed), 1, "{answer:?}");
            }
            assert!(proxy.tunnelled().is_empty(), "{answer:?}");
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_slow_proxy_is_given_up_in_time_whichever_step_is_slow() {
    let silent = StubUpstream::serve(|mut connection| drop(connection.read_to_end()));
    let leads_to_silence = silent.address;
    let authority = Authority::new("a");
    let leads: [(&str, Lead); 6] = [
        ("says nothing", Lead::nowhere("")),
        ("says half an answer", Lead::nowhere("HTTP/1.1 200 OK\r\n")),
        ("says a status letter by letter", Lead::Dribble(b"HTTP/1.1 200 ".to_vec(), b'x')),
        ("says fields for ever", Lead::Dribble(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), b'x')),
        ("opens, and passes nothing on", Lead::nowhere("HTTP/1.1 200 OK\r\n\r\n")),
        ("opens to an upstream that says nothing", Lead::To(leads_to_silence)),
    ];
    for (what, lead) in leads {
        let proxy = StubProxy::start(move |_| lead.clone());
        let gate = https(via(proxy.address), trust(&[&authority]), impatient());
        assert_eq!(gate.ask(ASK).body, "connect_timeout", "{what}");
        assert_eq!(count(&gate.counters.upstream_connects_timed_out), 1, "{what}");
        assert!(!holds(&proxy.tunnelled(), b"marked"), "{what}");
        wait_until("its place to be free", || {
            gate.counters.upstream_open.load(std::sync::atomic::Ordering::SeqCst) == 0
        });
    }
}

#[test]
fn a_proxy_that_stalls_in_its_own_handshake_is_given_up_in_time() {
    let stalls = StubUpstream::serve(|mut connection| drop(connection.read_to_end()));
    let authority = Authority::new("a");
    let tls = Tls::of("proxy.corp", trust(&[&authority])).expect("a name");
    let gate = https(Via { tls: Some(tls), ..via(stalls.address) }, trust(&[&authority]), impatient());
    assert_eq!(gate.ask(ASK).body, "connect_timeout");
    stalls.wait_for_closed(1);
}

#[test]
fn an_upstream_that_could_be_reached_without_the_proxy_is_not() {
    let upstream = StubUpstream::ok();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = free.local_addr().expect("an address");
    drop(free);
    let address =
        Address::Tcp { host: "127.0.0.1".to_owned(), port: upstream.address.port(), via: Some(Arc::new(via(gone))) };
    let target = Target::new(address, None, HeaderValue::from_static("localhost"), Speaks::default());
    let gate = Gate::start(any(), target, Limits::default(), None);
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!(upstream.connections(), 0);
}

/// A proxy that looks into TLS has a certificate of its own for each name. It is believed by who says so, and not else.
#[test]
fn a_proxy_that_stands_in_for_the_upstream_is_not_believed() {
    let (authority, upstream) = upstream();
    let corporate = Authority::new("corporate");
    let forged = StubUpstream::start_tls(corporate.issue(NAME).server(), |_| Reply::ok("forged"));
    let address = forged.address;
    let proxy = StubProxy::start(move |_| Lead::To(address));
    let gate = https(via(proxy.address), trust(&[&authority]), Limits::default());
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert!(forged.requests().is_empty() && upstream.connections() == 0);
    let gate = https(via(proxy.address), trust(&[&authority, &corporate]), Limits::default());
    assert_eq!(gate.ask(ASK).body, "forged");
}
