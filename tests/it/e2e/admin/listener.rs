//! The admin's connections: few, bounded, and never kept by those who prove nothing.

use super::*;
use crate::support::upstream::wait_until;

#[test]
fn whoever_holds_every_connection_and_proves_nothing_keeps_no_admin_out() {
    let gate = on_tcp().start();
    let mut known = connect(address(&gate));
    let whoami = Ask::get("/api/v1/whoami").bearer(ADMIN).with("host", "localhost").text();
    known.send(&whoami);
    assert_eq!(known.answer().status, 200);
    // As the app that shares loopback with the gate might: more than it takes, each with half a head.
    let mut idle: Vec<_> = (0..100).map(|_| connect(address(&gate))).collect();
    idle.iter_mut().for_each(|client| client.send_if_open("GET /api/v1/whoami HTTP/1.1\r\nx: "));
    for _ in 0..5 {
        assert_eq!(tell(&gate, ADMIN, &Ask::get("/api/v1/whoami")).0, 200);
    }
    // One that proved itself is not closed to make room.
    known.send(&whoami);
    assert_eq!(known.answer().status, 200);
    let mut closed = 0;
    for client in idle.iter_mut().take(30) {
        closed += usize::from(!client.more());
    }
    assert_eq!(closed, 30, "the oldest were closed");
}

#[test]
fn what_is_too_large_is_refused_and_what_is_cut_changes_nothing() {
    let gate = on_tcp().start();
    let post = |path: &str| Ask::post(path).bearer(ADMIN);
    let mut large = revoke();
    large["reason"] = json!("x".repeat(300 * 1024));
    let (status, answer) = tell(&gate, ADMIN, &Ask::post("/api/v1/acts").json(&large.to_string()));
    assert_eq!((status, &answer["code"]), (413, &json!("body_too_large")));
    let answer = raw(&gate, &post("/api/v1/explain").json(&format!("\"{}\"", "x".repeat(1024 * 1024))));
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("body_too_large")));
    let mut chunked = connect(address(&gate));
    chunked.send(&post("/api/v1/acts").with("host", "localhost").json(&large.to_string()).chunked());
    assert_eq!(chunked.answer().status, 413);
    assert_eq!(raw(&gate, &post("/api/v1/acts").with("x", &"y".repeat(64 * 1024)).json("{}")).status, 431);
    let mut many = post("/api/v1/acts");
    for number in 0..80 {
        many = many.with(&format!("x-{number}"), "y");
    }
    assert_eq!(raw(&gate, &many.json("{}")).status, 431);
    let (head, _) = post("/api/v1/acts").with("host", "localhost").json(&revoke().to_string()).halves();
    connect(address(&gate)).send(&head);
    assert_eq!((tell(&gate, ADMIN, &Ask::get("/api/v1/acts")).1, acts(&gate)), (json!([]), 0));
}

/// Failing often is answered shortly, counted, and holds up nobody who shows a good token.
#[test]
fn whoever_tries_tokens_is_counted_and_keeps_no_admin_out() {
    let gate = on_tcp().start();
    let guess = |number: usize| Ask::get("/api/v1/whoami").bearer(&format!("0123456789abcdef-{number}"));
    let mut statuses: Vec<u16> = Vec::new();
    while statuses.last() != Some(&429) {
        assert!(statuses.len() < 1_000, "nobody is ever throttled");
        statuses.push(raw(&gate, &guess(statuses.len())).status);
    }
    assert!(statuses.len() > 20, "the first were answered in full");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
    assert_eq!(tell(&gate, ADMIN, &Ask::get("/api/v1/whoami")).0, 200);
    let counted = |outcome: &str| gate.metric(&format!("scopegate_admin_requests_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(counted("unauthenticated"), (statuses.len() - 1) as f64);
    assert_eq!((counted("admitted"), counted("throttled")), (1.0, 1.0));
}

#[test]
fn tokens_that_cross_a_network_as_they_are_are_warned_of() {
    let warned = |listen: &str, of: &str| {
        let gate = guarded(&format!("{{listen: '{listen}', token: {{file: tokens}}}}")).start();
        gate.health("/readyz").body.contains(of)
    };
    assert!(warned("0.0.0.0:0", "tokens cross the network"));
    // A neighbour in the same pod may listen there first.
    assert!(warned("127.0.0.1:0", "whoever shares this loopback may take the port"));
    assert!(!warned("127.0.0.1:0", "tokens cross the network"));
}

#[test]
fn the_health_listener_knows_nothing_of_all_this() {
    let gate = on_tcp().start();
    assert_eq!(gate.health("/api/v1/snapshot").status, 404);
    wait_until("the gate to be ready", || gate.health("/readyz").status == 200);
}
