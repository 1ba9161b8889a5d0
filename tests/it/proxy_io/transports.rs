//! Unix sockets on both sides, and several workers.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use scopegate::proxy::limits::Limits;
use scopegate::proxy::listener::ListenAddress;
use scopegate::proxy::upstream::Target;

use super::gate::{Client, Gate};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream};

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
    // Each keeps a connection of its own: none of the three accepted nothing.
    assert_eq!(upstream.connections(), 3);
    let _unix = Gate::with_workers(3, ListenAddress::Unix(path.clone()), target, Limits::default(), None);
    for _ in 0..30 {
        let mut client = Client::new(UnixStream::connect(&path).expect("a connection"));
        client.send("GET / HTTP/1.1\r\nhost: gate\r\n\r\n");
        assert_eq!(client.answer().body, "ok");
    }
}
