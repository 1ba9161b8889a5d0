//! Random snapshots, one after the other: after each, exactly what it permits is open, on both sides.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::snapshot::Snapshot;

use super::*;
use crate::support::gate::digested;
use crate::support::upstream::wait_until;

const ROOMS: [&str; 4] = ["lobby", "board", "attic", "cellar"];
const ROUNDS: u64 = 40;
/// Streams that are begun in a round.
const BEGUN: u64 = 6;

/// xorshift64: the rounds are the same for the same seed, which a failure shows.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Puts in force what leaves only these rooms, and waits until all is judged; says how many were cut.
fn publish(gate: &Gate, generation: u64, left: &[&str]) -> u64 {
    let live = &gate.running().live;
    let mut store = Store::new(Arc::clone(&live.load().catalogs));
    let rules = format!("grants: [{{scopes: [read, write], actors: [app], in: {{room: [{}]}}}}]\n", left.join(", "));
    let rules = if left.is_empty() { String::new() } else { rules };
    let content = Content::Text(digested(&policy(&rules)).into());
    store.apply(vec![Change { file: Arc::from(Path::new("x.yaml")), origin: Origin::Policy, content }], live.now_ms());
    assert!(store.settle(), "{:#?}", store.problems());
    let states = store.snapshot(&std::collections::HashMap::new()).states;
    live.publish(Snapshot {
        generation,
        digest: String::new(),
        catalogs: Arc::clone(&live.load().catalogs),
        states,
        named: Arc::default(),
        pins: Arc::default(),
    });
    assert_eq!(live.generation().load(Ordering::SeqCst), generation);
    crate::support::http2::runtime().block_on(gate.running().fence.streams_judged(generation))
}

struct Stream {
    room: &'static str,
    target: String,
    client: Client<TcpStream>,
    kind: u64,
}

/// Begins one; `None`: it was refused.
fn begin_one(gate: &Gate, product: &Product, room: &'static str, kind: u64, number: u64) -> Option<Stream> {
    let mut client = gate.connect();
    let thing = ["live", "events", "file"][usize::try_from(kind).expect("a kind")];
    let target = format!("{}?n={number}", target(room, thing));
    let text = match kind {
        0 => opening(room).text().replacen("/live", &format!("/live?n={number}"), 1),
        1 => Ask::get(&target).bearer("x").text(),
        _ => format!(
            "PUT {target} HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n"
        ),
    };
    client.send(&text);
    if kind == 2 {
        let is_heard = || product.has_heard(&target, b"5\r\nbegun\r\n");
        let is_answered = || client.stream.peek(&mut [0]).is_ok_and(|count| count > 0);
        client.stream.set_nonblocking(true).expect("a socket");
        wait_until("word of the upload", || is_heard() || is_answered());
        client.stream.set_nonblocking(false).expect("a socket");
        return is_heard().then_some(Stream { room, target, client, kind });
    }
    let head = client.head().expect("a head");
    if head.contains("x-scopegate-reason") {
        return None;
    }
    let begun: &[u8] = if kind == 0 { b"\x81\x05hello" } else { b"5\r\nhello\r\n" };
    assert_eq!(client.exactly(begun.len()).expect("bytes"), begun);
    Some(Stream { room, target, client, kind })
}

impl Stream {
    fn goes_on(&mut self, product: &Product) {
        match self.kind {
            0 => product.say(&self.target, b"\x81\x02hi"),
            1 => product.say(&self.target, b"2\r\nhi\r\n"),
            _ => {
                self.client.send("2\r\nhi\r\n");
                return product.hears(&self.target, b"2\r\nhi\r\n");
            }
        }
        let heard: &[u8] = if self.kind == 0 { b"\x81\x02hi" } else { b"2\r\nhi\r\n" };
        assert_eq!(self.client.exactly(heard.len()).expect("bytes"), heard);
    }

    fn ends(mut self, product: &Product) {
        match self.kind {
            0 => {
                let farewell = self.client.rest();
                assert!(["container_not_granted", "missing_scope"].iter().any(|code| farewell.ends_with(code)));
            }
            1 => assert_eq!(self.client.rest(), ""),
            _ => assert!(self.client.answer().reason().is_some()),
        }
        let heard = product.ended(&self.target);
        assert!(!heard.ends_with(b"0\r\n\r\n"), "its end was invented");
    }
}

#[test]
fn after_each_snapshot_exactly_what_it_permits_is_open() {
    let (gate, product) = feed();
    let seed: u64 = std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos().into();
    println!("seed {seed}");
    let mut dice = Dice(seed | 1);
    let mut left: Vec<&str> = ROOMS.to_vec();
    let mut open: Vec<Stream> = Vec::new();
    for round in 0..ROUNDS {
        for number in 0..BEGUN {
            let room = ROOMS[dice.below(4) as usize];
            let begun = begin_one(&gate, &product, room, dice.below(3), round * BEGUN + number);
            assert_eq!(begun.is_some(), left.contains(&room), "{room} of {left:?}");
            open.extend(begun);
        }
        left = ROOMS.into_iter().filter(|_| dice.below(4) > 0).collect();
        let cut = publish(&gate, 1_000 + round, &left);
        let (stay, go): (Vec<_>, Vec<_>) = open.into_iter().partition(|stream| left.contains(&stream.room));
        assert_eq!(cut, go.len() as u64);
        go.into_iter().for_each(|stream| stream.ends(&product));
        open = stay;
        open.iter_mut().for_each(|stream| stream.goes_on(&product));
    }
}
