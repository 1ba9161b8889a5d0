//! Unix sockets and TLS, on both sides.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::ServerName;
use scopegate::proxy::limits::Limits;
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::tls;
use scopegate::proxy::upstream::Target;

use super::gate::{Client, Gate, quick};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

#[test]
fn unix_sockets_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = StubUpstream::start_unix(&folder.path().join("up.sock"), |_| Reply::ok("ok"));
    let path = folder.path().join("gate.sock");
    let target = Target::unix(folder.path().join("up.sock"));
    let gate = Gate::start(ListenAddress::Unix(path.clone()), target, Limits::default(), None);
    let stream = UnixStream::connect(&path).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut client = Client::new(stream);
    client.send("POST / HTTP/1.1\r\nhost: gate\r\nx-forwarded-for: 10.0.0.1\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.answer().body, "ok");
    let request = upstream.requests().pop().expect("a request");
    assert_eq!((request.field("host"), request.field("x-forwarded-for")), (Some("localhost"), None));
    assert_eq!(request.body, b"hi");
    drop(gate);
    assert!(!path.exists(), "the socket goes with the gate");
}

#[test]
fn several_workers_share_one_address_of_either_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = StubUpstream::ok();
    let target = Target::http("127.0.0.1", upstream.address.port()).expect("a target");
    let path = folder.path().join("gate.sock");
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let gate = Gate::with_workers(3, any, Arc::clone(&target), Limits::default(), None);
    for _ in 0..30 {
        assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "ok");
    }
    let _unix = Gate::with_workers(3, ListenAddress::Unix(path.clone()), target, Limits::default(), None);
    for _ in 0..30 {
        let mut client = Client::new(UnixStream::connect(&path).expect("a connection"));
        client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(client.answer().body, "ok");
    }
}

#[test]
fn tls_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = certificate(folder.path());
    let ca = folder.path().join("tls.crt");
    let upstream = StubUpstream::start_tls(Arc::clone(&server), |_| Reply::ok("ok"));
    let target = Target::https("localhost", upstream.address.port(), tls::client_config(Some(&ca)).expect("trust"));
    let gate = start(target.expect("a target"), &server, Limits::default());
    let mut client = shake_hands(&gate, &ca);
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
fn an_upstream_whose_certificate_is_not_trusted_gets_not_a_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = certificate(folder.path());
    let upstream = StubUpstream::start_tls(server, |_| Reply::ok("ok"));
    let port = upstream.address.port();
    let any = || ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let roots = Target::https("localhost", port, tls::client_config(None).expect("trust")).expect("a target");
    let gate = Gate::start(any(), roots, Limits::default(), None);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "unreachable");

    let ca = tls::client_config(Some(&folder.path().join("tls.crt"))).expect("trust");
    let other_name = Target::https("127.0.0.1", port, ca).expect("a target");
    let gate = Gate::start(any(), other_name, Limits::default(), None);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nhost: gate\r\n\r\n").body, "unreachable");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_handshake_that_stalls_or_fails_is_ended_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = certificate(folder.path());
    let upstream = StubUpstream::ok();
    let target = Target::http("127.0.0.1", upstream.address.port()).expect("a target");
    let gate = start(target, &server, quick());
    for (sent, failed) in [("", 1), ("\x16\x03\x01", 2), ("GET / HTTP/1.1\r\nhost: gate\r\n\r\n", 3)] {
        let mut stream = TcpStream::connect(gate.port()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(sent.as_bytes()).expect("written");
        Client::new(stream).rest();
        wait_until("the handshake to be counted", || gate.counters.handshakes_failed.load(Ordering::SeqCst) == failed);
    }
    assert_eq!(upstream.bytes(), 0);
}

fn start(target: Arc<Target>, server: &Arc<rustls::ServerConfig>, limits: Limits) -> Gate {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    Gate::start(any, target, limits, Some(Arc::clone(server)))
}

/// A self-signed certificate for `localhost` in `folder`, read back by the code under test.
fn certificate(folder: &Path) -> Arc<rustls::ServerConfig> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    tls::server_config(&certificate, &key).expect("a config")
}

fn shake_hands(gate: &Gate, ca: &Path) -> Client<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let config = tls::client_config(Some(ca)).expect("trust");
    let name = ServerName::try_from("LocalHost").expect("a name");
    let session = rustls::ClientConnection::new(config, name).expect("a session");
    let stream = TcpStream::connect(gate.port()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    Client::new(rustls::StreamOwned::new(session, stream))
}
