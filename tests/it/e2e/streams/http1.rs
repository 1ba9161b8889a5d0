//! Streams of HTTP/1.1 on both sides, and WebSockets.

use std::io::Write as _;

use super::*;
use crate::support::upstream::wait_until;

#[test]
fn a_websocket_is_closed_with_1008_and_the_reason_and_the_upstream_is_left() {
    let (gate, product) = feed();
    let mut cut = open_websocket(&gate, "lobby");
    let mut other = open_websocket(&gate, "board");
    gate.write_policy("x.yaml", &policy(REVOKED));
    let farewell = [&[0x88, 19, 0x03, 0xF0][..], b"container_revoked"].concat();
    assert_eq!(cut.exactly(farewell.len()).expect("a close frame"), farewell);
    assert_eq!(cut.rest(), "");
    assert!(product.ended(&target("lobby", "live")).is_empty(), "nothing was said to the upstream");
    product.say(&target("board", "live"), b"\x81\x02hi");
    assert_eq!(other.exactly(4).expect("a frame"), b"\x81\x02hi", "the other goes on");
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!(
        (&line["outcome"], &line["reason"], &line["status"], &line["operation"], &line["app"]),
        (&"permit".into(), &"container_revoked".into(), &101.into(), &"follow".into(), &"feed/x".into())
    );
    assert!(line["decided_by"].as_str().expect("a rule").contains("x.yaml:"), "{line}");
    assert_eq!(line["containers"][0]["id"], "lobby");
    assert_eq!(cut_total(&gate, "container_revoked"), 1.0);
}

#[test]
fn a_websocket_in_the_midst_of_a_frame_is_just_closed() {
    let (gate, product) = feed();
    let mut cut = open_websocket(&gate, "lobby");
    product.say(&target("lobby", "live"), b"\x81\x7D and the rest of this frame is still to come");
    let begun = b"\x81\x7D and the rest of this frame is still to come";
    assert_eq!(cut.exactly(begun.len()).expect("a half frame"), begun);
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(cut.rest(), "", "a close frame here would be the payload of the other");
    product.ended(&target("lobby", "live"));
    cut_lines(&gate, 1);
}

#[test]
fn an_answer_ends_without_a_valid_end_whatever_its_framing() {
    let (gate, product) = feed();
    let mut events = begin(&gate, "lobby", "events");
    let mut file = begin(&gate, "lobby", "file");
    let mut other_events = begin(&gate, "board", "events");
    let mut other_file = begin(&gate, "board", "file");
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(events.rest(), "", "no last chunk");
    assert_eq!(file.rest(), "", "995 bytes short");
    product.ended(&target("lobby", "events"));
    product.ended(&target("lobby", "file"));
    product.say(&target("board", "events"), b"2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(other_events.exactly(12).expect("its end"), b"2\r\nhi\r\n0\r\n\r\n");
    product.say(&target("board", "file"), &[b'x'; 995]);
    assert_eq!(other_file.exactly(995).expect("its end"), [b'x'; 995]);
    for line in cut_lines(&gate, 2) {
        assert_eq!((&line["reason"], &line["status"]), (&"container_revoked".into(), &200.into()));
    }
    assert_eq!(cut_total(&gate, "container_revoked"), 2.0);
    assert_eq!(gate.log.lines(4).len(), 4, "one line for each request");
}

#[test]
fn an_upload_is_refused_and_never_whole_upstream() {
    for chunked in [true, false] {
        let (gate, product) = feed();
        let mut cut = begin_upload(&gate, &product, "lobby", "file", chunked);
        let mut other = begin_upload(&gate, &product, "board", "file", chunked);
        gate.write_policy("x.yaml", &policy(REVOKED));
        let answer = cut.answer();
        assert_eq!((answer.status, answer.reason()), (404, Some("container_revoked")));
        assert_eq!(answer.field("connection"), Some("close"));
        let heard = product.ended(&target("lobby", "file"));
        assert_eq!(heard, if chunked { &b"5\r\nbegun\r\n"[..] } else { b"begun" }, "no end that could pass for one");
        let (rest, heard): (&str, &[u8]) =
            if chunked { ("0\r\n\r\n", b"0\r\n\r\n") } else { (&"x".repeat(995), b"xxx") };
        other.send(rest);
        product.hears(&target("board", "file"), heard);
        let done = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
        product.say(&target("board", "file"), done);
        assert_eq!(other.answer().body, "done");
        let line = cut_lines(&gate, 1).remove(0);
        assert_eq!((&line["outcome"], &line["reason"]), (&"deny".into(), &"container_revoked".into()));
        assert_eq!(cut_total(&gate, "container_revoked"), 1.0);
    }
}

#[test]
fn an_upload_that_outlives_its_answer_is_cut_as_well() {
    let (gate, product) = feed();
    let mut cut = begin_upload(&gate, &product, "lobby", "early", true);
    assert_eq!(cut.answer().status, 202);
    cut.send("4\r\nmore\r\n");
    product.hears(&target("lobby", "early"), b"4\r\nmore\r\n");
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(product.ended(&target("lobby", "early")), b"5\r\nbegun\r\n4\r\nmore\r\n");
    assert_eq!(cut_total(&gate, "container_revoked"), 1.0);
}

#[test]
fn a_request_that_waits_for_its_answer_is_refused() {
    let (gate, product) = feed();
    let mut waiting = gate.connect();
    waiting.send(&Ask::put(&target("lobby", "file")).bearer("x").body("whole").text());
    product.hears(&target("lobby", "file"), b"whole");
    gate.write_policy("x.yaml", &policy(REVOKED));
    let answer = waiting.answer();
    assert_eq!(answer.reason(), Some("container_revoked"));
    product.ended(&target("lobby", "file"));
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!(line["outcome"], "deny");
}

#[test]
fn a_connection_goes_on_after_a_cut_where_all_of_the_request_was_read() {
    let (gate, product) = feed();
    let mut client = gate.connect();
    client.send(&Ask::get(&target("lobby", "silent")).bearer("x").text());
    product.hears(&target("lobby", "silent"), b"");
    gate.write_policy("x.yaml", &policy(REVOKED));
    let answer = client.answer();
    assert_eq!((answer.reason(), answer.field("connection")), (Some("container_revoked"), None));
    for room in ["attic", "board"] {
        let body = format!(r#"{{"room":"{room}"}}"#);
        client.send(&Ask::post(&format!("/api/find?in={room}")).bearer("x").json(&body).text());
        product.hears(&format!("/api/find?in={room}"), body.as_bytes());
        gate.write_policy("x.yaml", &policy(&REVOKED.replace("lobby", room)));
        let answer = client.answer();
        assert_eq!((answer.reason(), answer.field("connection")), (Some("container_revoked"), None));
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_as_well() {
    let (gate, product) = feed();
    let mut lazy = begin(&gate, "lobby", "flood");
    // Nobody reads: the buffers are full, and the gate waits for the client.
    wait_until("it to be a stream", || gate.metric(r#"scopegate_streams{gate="jira"}"#) == 1.0);
    gate.write_policy("x.yaml", &policy(REVOKED));
    product.ended(&target("lobby", "flood"));
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!(line["reason"], "container_revoked");
    assert!(lazy.rest().len() < 1_000_000_000 - 5);
    assert_eq!(gate.metric(r#"scopegate_streams{gate="jira"}"#), 0.0);
}

#[test]
fn an_upstream_that_takes_nothing_is_left_as_well() {
    let (gate, product) = feed();
    let mut client = gate.connect();
    let target = target("lobby", "file");
    client.send(&format!(
        "PUT {target} HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer x\r\ncontent-length: 1000000000\r\n\r\nbegun"
    ));
    product.hears(&target, b"begun");
    wait_until("it to be a stream", || gate.metric(r#"scopegate_streams{gate="jira"}"#) == 1.0);
    client.stream.write_all(&[b'x'; 1024 * 1024]).expect("taken");
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(client.answer().reason(), Some("container_revoked"));
    assert!(product.ended(&target).len() < 1_000_000_000);
}

#[test]
fn losing_the_installation_cuts_everything_of_the_app_and_of_no_other() {
    let product = Product::start();
    let gate = setup(&product).policy("x.yaml", &policy(GRANTED)).policy("y.yaml", &other_app()).start();
    let mut socket = open_websocket(&gate, "lobby");
    let mut events = begin(&gate, "board", "events");
    let mut upload = begin_upload(&gate, &product, "attic", "file", true);
    let mut others = begin_as(&gate, "y", "cellar", "events");
    std::fs::remove_file(gate.path("policies/x.yaml")).expect("removed");
    assert!(socket.rest().ends_with("unknown_app"));
    assert_eq!(events.rest(), "");
    assert_eq!(upload.answer().reason(), Some("unknown_app"));
    for (room, thing) in [("lobby", "live"), ("board", "events"), ("attic", "file")] {
        product.ended(&target(room, thing));
    }
    // The credential is nobody's now, but the app that it was is told.
    assert!(cut_lines(&gate, 3).iter().all(|line| line["app"] == "feed/x" && line["reason"] == "unknown_app"));
    assert_eq!(cut_total(&gate, "unknown_app"), 3.0);
    product.say(&target("cellar", "events"), b"0\r\n\r\n");
    assert_eq!(others.exactly(5).expect("its end"), b"0\r\n\r\n");
}

#[test]
fn a_credential_that_becomes_another_apps_takes_its_streams_from_the_first() {
    let (gate, product) = feed();
    let mut events = begin(&gate, "lobby", "events");
    let other = policy(GRANTED).replace("feed/x", "feed/y");
    let without = policy(GRANTED).replace("sha256(x)", "sha256(z)");
    gate.write_policy("x.yaml", &without);
    gate.write_policy("y.yaml", &other);
    assert_eq!(events.rest(), "");
    product.ended(&target("lobby", "events"));
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!(line["app"], "feed/x");
    // Both files may be seen at one look: then it is another app's, and has not settled yet.
    assert!(["unknown_app", "stale_policy"].contains(&line["reason"].as_str().expect("a reason")), "{line}");
}

#[test]
fn suspension_cuts_and_says_where_it_is_written() {
    let product = Product::start();
    let setup = setup(&product).top("overrides", "overrides").file("overrides/.keep", "");
    let gate = setup.policy("x.yaml", &policy(GRANTED)).start();
    let mut events = begin(&gate, "lobby", "events");
    let act = "version: 1\napp: feed/x\nsuspensions: [{reason: INC-1, by: dana@example.com}]\n";
    std::fs::write(gate.path("new"), act).expect("a file");
    std::fs::rename(gate.path("new"), gate.path("overrides/s.yaml")).expect("a rename");
    assert_eq!(events.rest(), "");
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!(line["reason"], "app_suspended");
    assert!(line["decided_by"].as_str().expect("a rule").contains("s.yaml:"), "{line}");
}

#[test]
fn what_is_still_permitted_goes_on_over_any_number_of_reloads() {
    let (gate, product) = feed();
    let mut socket = open_websocket(&gate, "lobby");
    let mut events = begin(&gate, "lobby", "events");
    let mut upload = begin_upload(&gate, &product, "lobby", "file", true);
    let runtime = crate::support::http2::runtime();
    for number in 0..20 {
        let before = gate.running().live.load().generation;
        gate.write_policy("x.yaml", &policy(&format!("{REVOKED}# {number}\n").replace("lobby", "elsewhere")));
        wait_until("a snapshot", || gate.running().live.load().generation > before);
        let generation = gate.running().live.load().generation;
        assert_eq!(runtime.block_on(gate.running().fence.streams_judged(generation)), 0);
    }
    product.say(&target("lobby", "live"), b"\x81\x02hi");
    assert_eq!(socket.exactly(4).expect("a frame"), b"\x81\x02hi");
    product.say(&target("lobby", "events"), b"0\r\n\r\n");
    assert_eq!(events.exactly(5).expect("its end"), b"0\r\n\r\n");
    upload.send("0\r\n\r\n");
    product.hears(&target("lobby", "file"), b"0\r\n\r\n");
    product.say(&target("lobby", "file"), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(upload.answer().status, 200);
}

#[test]
fn whoever_revokes_can_wait_until_all_is_judged_and_hears_how_many_were_cut() {
    let (gate, product) = feed();
    let mut cut: Vec<_> = (0..5).map(|_| begin(&gate, "lobby", "events")).collect();
    let _others: Vec<_> = (0..5).map(|_| begin(&gate, "board", "events")).collect();
    let before = gate.running().live.load().generation;
    gate.write_policy("x.yaml", &policy(REVOKED));
    wait_until("the snapshot", || gate.running().live.load().generation > before);
    let runtime = crate::support::http2::runtime();
    assert_eq!(runtime.block_on(gate.running().fence.streams_judged(before + 1)), 5);
    assert_eq!(cut_total(&gate, "container_revoked"), 5.0, "counted before it is told");
    cut.iter_mut().for_each(|stream| assert_eq!(stream.rest(), ""));
    assert!(!product.has_ended(&target("board", "events")));
}

#[test]
fn a_stream_is_judged_by_the_body_that_its_request_was_judged_by() {
    let (gate, product) = feed();
    let mut client = gate.connect();
    client.send(&Ask::post("/api/search").bearer("x").json(r#"{"room":"lobby"}"#).text());
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 200"));
    assert_eq!(client.exactly(10).expect("bytes"), b"5\r\nhello\r\n");
    let before = gate.running().live.load().generation;
    gate.write_policy("x.yaml", &policy(&REVOKED.replace("lobby", "board")));
    wait_until("a snapshot", || gate.running().live.load().generation > before);
    product.say("/api/search", b"2\r\nhi\r\n");
    assert_eq!(client.exactly(7).expect("it goes on"), b"2\r\nhi\r\n");
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(client.rest(), "");
    product.ended("/api/search");
    let line = cut_lines(&gate, 1).remove(0);
    assert_eq!((&line["operation"], &line["reason"]), (&"search".into(), &"container_revoked".into()));
}
