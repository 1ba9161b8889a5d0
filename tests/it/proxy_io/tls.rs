//! TLS on both sides: who is believed, and what becomes of peers that are slow, broken, or somebody else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use rcgen::{CertificateParams, SanType};
use rustls::ServerConfig;
use scopegate::proxy::limits::Limits;
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::tls::{self, Pair, Served, Trust, UPSTREAM_PROTOCOLS, roots_of};
use scopegate::proxy::upstream::{Address, Speaks, Target, Tls};

use super::gate::{Client, Gate, quick};
use crate::support::http2::{self, StubHttp2};
use crate::support::tls::{Authority, Issued, client, connect, hello, over};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

const ASK: &str = "GET /marked HTTP/1.1\r\nhost: gate\r\n\r\n";

pub fn any() -> ListenAddress {
    ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"))
}

pub fn trust(authorities: &[&Authority]) -> Arc<Trust> {
    Trust::new(roots(authorities), UPSTREAM_PROTOCOLS).expect("trust")
}

fn roots(authorities: &[&Authority]) -> rustls::RootCertStore {
    let text: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
    roots_of(text.as_bytes(), false).expect("roots")
}

/// A gate that shows this certificate.
fn serving(issued: &Issued, target: Arc<Target>, limits: Limits) -> Gate {
    let pair = Pair::of_pem(issued.chain.as_bytes(), issued.key.as_bytes()).expect("a pair");
    Gate::start(any(), target, limits, Some(tls::server_config(Served::new(pair)).expect("a config")))
}

fn plain(upstream: &StubUpstream) -> Arc<Target> {
    Target::http("127.0.0.1", upstream.address.port()).expect("a target")
}

/// A gate before an upstream that is believed by this trust.
fn before(upstream: &StubUpstream, trust: &Arc<Trust>, limits: Limits) -> Gate {
    let target = Target::https("localhost", upstream.address.port(), Arc::clone(trust)).expect("a target");
    Gate::start(any(), target, limits, None)
}

/// A gate that soon gives an upstream up, and a caller not.
pub fn impatient() -> Limits {
    Limits { connect_timeout: Duration::from_millis(150), ..Limits::default() }
}

pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

#[test]
fn tls_on_both_sides() {
    let authority = Authority::new("one for both");
    let issued = authority.issue("localhost");
    let upstream = StubUpstream::start_tls(issued.server(), |_| Reply::ok("ok"));
    let target = Target::https("localhost", upstream.address.port(), trust(&[&authority])).expect("a target");
    let gate = serving(&issued, target, Limits::default());
    let mut client = connect(gate.port(), client(&[&authority]), "LocalHost");
    client.send("POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.answer().body, "ok");
    client.send("GET /sni HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert_eq!(client.answer().body, "localhost https");
    let request = upstream.requests().pop().expect("a request");
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("host"), Some(format!("localhost:{}", upstream.address.port()).as_str()));
    assert_eq!(request.body, b"hi");
}

#[test]
fn http_2_is_agreed_on_by_alpn_on_both_sides() {
    let authority = Authority::new("one for both");
    let issued = authority.issue("localhost");
    let mut server = ServerConfig::clone(&issued.server());
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let upstream = StubHttp2::start_tls(Arc::new(server), |_| http2::Reply::ok("ok"));
    let target = Target::https("localhost", upstream.address.port(), trust(&[&authority])).expect("a target");
    let gate = serving(&issued, target, Limits::default());
    let mut client = http2::Client::connect_tls(gate.port(), &client(&[&authority]));
    let request = http::Request::get(format!("https://localhost:{}/a", gate.port().port())).body(()).expect("one");
    assert_eq!(client.ask(request, b"").expect("an answer").body, "ok");
    // `:scheme` is that of the connection, or nothing.
    assert_eq!(client.get(gate.port(), "/b").expect("an answer").status, 400);
    let received = upstream.requests();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].uri, format!("https://localhost:{}/a", upstream.address.port()));
    assert_eq!(received[0].headers["x-forwarded-proto"], "https");
}

#[test]
fn an_upstream_that_must_speak_http_2_and_does_not_is_told_nothing() {
    let authority = Authority::new("believed");
    let mut server = ServerConfig::clone(&authority.issue("localhost").server());
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let upstream = StubUpstream::start_tls(Arc::new(server), |_| Reply::ok("ok"));
    let target = Target::https("localhost", upstream.address.port(), trust(&[&authority])).expect("a target");
    let gate = Gate::start(any(), Arc::clone(&target), Limits::default(), None);
    assert_eq!(gate.ask(ASK).body, "ok", "by default it is asked in what it agrees to");
    let gate = Gate::start(any(), target.speaking(Speaks::Http2), Limits::default(), None);
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn roots_that_went_take_their_http_2_connection_with_them() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut server = ServerConfig::clone(&old.issue("localhost").server());
    server.alpn_protocols = vec![b"h2".to_vec()];
    let upstream = StubHttp2::start_tls(Arc::new(server), |_| http2::Reply::ok("ok"));
    let trust = trust(&[&old]);
    let target = Target::https("localhost", upstream.address.port(), Arc::clone(&trust)).expect("a target");
    let gate = Gate::start(any(), target, Limits::default(), None);
    assert_eq!(gate.ask(ASK).body, "ok");
    trust.replace(roots(&[&new])).expect("replaced");
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn tls_over_a_unix_socket_is_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("up.sock");
    // Without TLS there, so what comes is shown as it came.
    let upstream = StubUpstream::start_unix(&path, |_| Reply::ok("ok"));
    let authority = Authority::new("nobody's");
    let tls = Tls::of("jira.internal", trust(&[&authority])).expect("a name");
    let target =
        Target::new(Address::Unix(path), Some(tls), HeaderValue::from_static("jira.internal"), Speaks::default());
    let gate = Gate::start(any(), target, impatient(), None);
    assert_eq!(gate.ask(ASK).body, "connect_timeout");
    assert!(upstream.bytes() > 0 && upstream.requests().is_empty(), "a greeting came, and no request");
}

#[test]
fn an_upstream_that_is_not_whom_it_must_be_gets_not_a_byte_of_a_request() {
    let (authority, other) = (Authority::new("believed"), Authority::new("not believed"));
    let limited = Authority::only_for("for corp.test alone", "corp.test");
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        change(&mut params);
        params
    };
    let named = |name: &str| vec![SanType::DnsName(name.try_into().expect("ASCII"))];
    let impostors = [
        ("another authority's", other.issue("localhost")),
        ("for another name", authority.issue("elsewhere.test")),
        ("for an address", authority.issue("127.0.0.1")),
        ("for a name that goes on after a NUL", {
            authority.issue_as(with(&|params| params.subject_alt_names = named("localhost\0.evil.test")))
        }),
        ("for every name there is", authority.issue_as(with(&|params| params.subject_alt_names = named("*")))),
        ("with the name as its common name alone", {
            authority.issue_as(with(&|params| {
                params.subject_alt_names.clear();
                params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
            }))
        }),
        ("of an authority that may not issue for it", limited.issue("localhost")),
        ("ended", authority.issue_as(with(&|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)))),
        ("not yet begun", authority.issue_as(with(&|params| params.not_before = rcgen::date_time_ymd(3001, 1, 1)))),
    ];
    let believed = trust(&[&authority, &limited]);
    for (what, issued) in impostors {
        let upstream = StubUpstream::start_tls(issued.server(), |_| Reply::ok("ok"));
        let gate = before(&upstream, &believed, Limits::default());
        assert_eq!(gate.ask(ASK).body, "unreachable", "{what}");
        assert!(upstream.requests().is_empty(), "{what}");
        assert_eq!(count(&gate.counters.upstream_handshakes_failed), 1, "{what}");
    }
    let upstream = StubUpstream::start_tls(authority.issue("localhost").server(), |_| Reply::ok("ok"));
    let public = Trust::public(UPSTREAM_PROTOCOLS).expect("trust");
    assert_eq!(before(&upstream, &public, Limits::default()).ask(ASK).body, "unreachable");
    assert!(upstream.requests().is_empty());
    assert_eq!(before(&upstream, &believed, Limits::default()).ask(ASK).body, "ok");
}

/// A wildcard must not be wider than the authority that signed it.
#[test]
fn a_wildcard_above_what_its_authority_may_name_is_not_believed() {
    let limited = Authority::only_for("for internal.corp.test alone", "internal.corp.test");
    for (name, wanted, expected) in
        [("*.corp.test", "api.corp.test", "unreachable"), ("*.internal.corp.test", "api.internal.corp.test", "ok")]
    {
        let upstream = StubUpstream::start_tls(limited.issue(name).server(), |_| Reply::ok("ok"));
        let gate = Gate::start(any(), named(&upstream, wanted, &trust(&[&limited])), Limits::default(), None);
        assert_eq!(gate.ask(ASK).body, expected, "{name}");
    }
}

/// The stub under a name that nobody resolves.
fn named(upstream: &StubUpstream, name: &str, trust: &Arc<Trust>) -> Arc<Target> {
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: upstream.address.port(), via: None };
    let tls = Tls::of(name, Arc::clone(trust)).expect("a name");
    Target::new(address, Some(tls), HeaderValue::try_from(name).expect("a name"), Speaks::default())
}

#[test]
fn roots_that_were_taken_away_are_believed_by_no_new_connection_and_no_kept_one() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let upstream = StubUpstream::start_tls(old.issue("localhost").server(), |_| Reply::ok("ok"));
    let believed = trust(&[&old]);
    let gate = before(&upstream, &believed, Limits::default());
    for _ in 0..2 {
        assert_eq!(gate.ask(ASK).body, "ok");
    }
    assert_eq!(upstream.connections(), 1, "one is kept and used again");

    believed.replace(roots(&[&new])).expect("replaced");
    let seen = upstream.requests().len();
    // A session of the old roots, resumed, would show no certificate at all.
    assert_eq!(gate.ask(ASK).body, "unreachable");
    assert_eq!((upstream.requests().len(), upstream.connections()), (seen, 2));

    believed.replace(roots(&[&old, &new])).expect("replaced");
    assert_eq!(gate.ask(ASK).body, "ok");
    assert_eq!(upstream.connections(), 3, "the kept one was of other roots");
}

#[test]
fn a_connection_that_nobody_may_use_again_is_closed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let upstream = StubUpstream::start_tls(old.issue("localhost").server(), |_| Reply::ok("ok"));
    let believed = trust(&[&old]);
    // Swept four times within its timeout, which is too long to be the reason.
    let limits = Limits { upstream_idle_timeout: DEADLINE * 6 / 5, ..Limits::default() };
    let gate = before(&upstream, &believed, limits);
    assert_eq!(gate.ask(ASK).body, "ok");
    believed.replace(roots(&[&new])).expect("replaced");
    upstream.wait_for_closed(1);
}

#[test]
fn roots_that_go_during_a_handshake_do_not_count_for_it() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (greeted, is_greeted) = mpsc::channel::<()>();
    let (go, wait) = mpsc::channel::<()>();
    let (greeted, wait) = (Mutex::new(greeted), Mutex::new(wait));
    let server = old.issue("localhost").server();
    let upstream = StubUpstream::serve(move |connection| {
        greeted.lock().expect("the test").send(()).expect("the test waits");
        if connection.number == 0 {
            wait.lock().expect("the test").recv().expect("a word");
        }
        connection.speak_tls(&server, |_| Reply::ok("ok"));
    });
    let believed = trust(&[&old]);
    let gate = before(&upstream, &believed, Limits::default());
    let mut client = gate.connect();
    client.send(ASK);
    is_greeted.recv_timeout(DEADLINE).expect("a connection");
    believed.replace(roots(&[&new])).expect("replaced");
    go.send(()).expect("the upstream waits");
    assert_eq!(client.answer().body, "unreachable");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_hello_in_pieces_is_the_same_hello() {
    let authority = Authority::new("a");
    let issued = authority.issue("localhost");
    let upstream = StubUpstream::ok();
    let gate = serving(&issued, plain(&upstream), Limits::default());
    for fragment in [None, Some(32 + 5), Some(64 + 5)] {
        let mut config = client(&[&authority]);
        // So many bytes for each TLS record: the hello lies in several.
        config.max_fragment_size = fragment;
        let stream = TcpStream::connect(gate.port()).expect("a connection");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut client = Client::new(over(ByteByByte(stream), config, "localhost"));
        client.send("GET /sni HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(client.answer().body, "localhost https", "{fragment:?}");
    }
    assert_eq!(count(&gate.counters.handshakes_failed), 0);
}

struct ByteByByte(TcpStream);

impl Read for ByteByByte {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for ByteByByte {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_hello_that_stops_anywhere_is_ended_in_time_and_counted() {
    let authority = Authority::new("a");
    let upstream = StubUpstream::ok();
    let gate = serving(&authority.issue("localhost"), plain(&upstream), quick());
    let hello = hello("localhost");
    let cuts: Vec<usize> = (0..hello.len()).step_by(hello.len() / 16).chain([1, 4, 5, 6, hello.len() - 1]).collect();
    let stopped: Vec<Client<TcpStream>> = cuts
        .iter()
        .map(|cut| {
            let mut client = gate.connect();
            client.stream.write_all(&hello[..*cut]).expect("written");
            client
        })
        .collect();
    for mut client in stopped {
        client.rest();
    }
    wait_until("all to be counted", || count(&gate.counters.handshakes_failed) == cuts.len() as u64);
    wait_until("all to be gone", || gate.counters.client_open.load(Ordering::SeqCst) == 0);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn a_hello_that_goes_on_for_ever_is_ended_in_time() {
    let authority = Authority::new("a");
    let upstream = StubUpstream::ok();
    let gate = serving(&authority.issue("localhost"), plain(&upstream), quick());
    let mut stream = TcpStream::connect(gate.port()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    // A hello as long as one record may be, one byte for each time that the gate has said nothing.
    let mut hello = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc].into_iter().chain([0; 0x3ffc]);
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let byte = hello.next().expect("the gate ends it before the hello does");
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    wait_until("it to be counted", || count(&gate.counters.handshakes_failed) == 1);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn what_is_no_tls_is_ended_and_counted() {
    let authority = Authority::new("a");
    let upstream = StubUpstream::ok();
    let gate = serving(&authority.issue("localhost"), plain(&upstream), quick());
    let record = |kind: u8, length: u16, body: &[u8]| {
        let mut record = vec![kind, 3, 3];
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(body);
        record
    };
    let sent: Vec<Vec<u8>> = vec![
        ASK.as_bytes().to_vec(),
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(),
        vec![0xff; 64 * 1024],
        // Handshake: a length beyond what a record may have, an empty one, one of garbage, and many empty ones.
        record(22, u16::MAX, &[0; 32]),
        record(22, 0, &[]),
        record(22, 64, &[0x5a; 64]),
        record(22, 0, &[]).repeat(1_000),
        // Application data, alerts and a change of cipher before any hello.
        record(23, 16, ASK.as_bytes()),
        record(21, 2, &[1, 0]).repeat(100),
        record(21, 2, &[2, 40]),
        record(20, 1, &[1]).repeat(100),
    ];
    for (number, bytes) in (1..).zip(&sent) {
        let mut client = gate.connect();
        let _ = client.stream.write_all(bytes);
        client.rest();
        wait_until("it to be counted", || count(&gate.counters.handshakes_failed) == number);
    }
    assert_eq!(upstream.bytes(), 0);
    assert_eq!(gate.counters.panics.load(Ordering::SeqCst), 0);
}

#[test]
fn an_upstream_that_stalls_in_its_handshake_is_given_up_in_time_and_told_nothing() {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let upstream = StubUpstream::serve(move |mut connection| {
        let all = connection.read_to_end();
        kept.lock().expect("the test").extend(all);
    });
    let gate = before(&upstream, &trust(&[&Authority::new("a")]), impatient());
    assert_eq!(gate.ask(ASK).body, "connect_timeout");
    assert_eq!(count(&gate.counters.upstream_connects_timed_out), 1);
    upstream.wait_for_closed(1);
    let seen = seen.lock().expect("the test");
    assert_eq!(seen.first(), Some(&22), "a handshake record");
    assert!(!holds(&seen, b"marked"));
    wait_until("its place to be free", || gate.counters.upstream_open.load(Ordering::SeqCst) == 0);
}

#[test]
fn an_upstream_that_speaks_no_tls_or_breaks_off_is_told_nothing() {
    for answer in [&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], b"\x15\x03\x03\x00\x02\x02\x28", b""] {
        let upstream = StubUpstream::serve(move |mut connection| {
            connection.read_more();
            let _ = connection.write(answer);
        });
        let gate = before(&upstream, &trust(&[&Authority::new("a")]), Limits::default());
        assert_eq!(gate.ask(ASK).body, "unreachable");
        assert_eq!(count(&gate.counters.upstream_handshakes_failed), 1);
        assert!(upstream.requests().is_empty());
    }
}

pub fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
