//! Law 6, and laws 7 and 8 as far as a request sees them: what is edited counts for whatever has not gone upstream yet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::snapshot::{Snapshot, States};

use super::*;
use crate::support::gate::digested;
use crate::support::upstream::{DEADLINE, StubUpstream, wait_until};

const GRANTED: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n";
const REVOKED: &str = "grants: [{scopes: [read:jira-work, write:jira-work], actors: [app], in: all}]\n\
                       revocations: [{scopes: [write:jira-work], in: {project: [SEC]}, reason: SEC-1142}]\n";

fn policy(rules: &str) -> String {
    jira_app("tracker", "oauth", rules)
}

fn edit(key: &str) -> Ask {
    Ask::put(&format!("/rest/api/3/issue/{key}")).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
}

fn read(key: &str) -> Ask {
    Ask::get(&format!("/rest/api/3/issue/{key}")).bearer("tracker")
}

/// Writes the policy and waits until it is in force.
fn edited(gate: &Gate, name: &str, text: &str) {
    let before = gate.running().live.load().generation;
    gate.write_policy(name, text);
    wait_until("the edit to be in force", || gate.running().live.load().generation > before);
}

#[test]
fn a_scope_is_revoked_and_restored_by_editing_yaml() {
    let gate = tracker(GRANTED);
    gate.passes(&edit("SEC-1"));
    edited(&gate, "tracker.yaml", &policy(REVOKED));
    gate.refuses(&edit("SEC-1"), "container_revoked");
    gate.passes(&edit("PROJ-1"));
    gate.passes(&read("SEC-1"));
    gate.write_policy("tracker.yaml", &policy(GRANTED));
    wait_until("the scope to come back", || gate.ask(&edit("SEC-1")).reason().is_none());
    std::fs::remove_file(gate.path("policies/tracker.yaml")).expect("removed");
    wait_until("the app to be gone", || gate.ask(&edit("SEC-1")).reason() == Some("unknown_app"));
}

#[test]
fn a_request_whose_body_is_under_way_is_judged_by_what_is_in_force_when_it_came() {
    let gate = tracker(GRANTED);
    // The body is held, for the project may stand in it.
    let (first, last) = edit("SEC-1").halves();
    let (other_first, other_last) = edit("PROJ-1").halves();
    let mut held = gate.connect();
    let mut other = gate.connect();
    held.send(&first);
    other.send(&other_first);
    // A head that is not whole yet is under way too.
    let (half_head, rest) = {
        let mut text = Ask::new("DELETE", "/rest/api/3/issue/SEC-1").bearer("tracker").text();
        let rest = text.split_off(40);
        (text, rest)
    };
    let mut head = gate.connect();
    head.send(&half_head);
    edited(&gate, "tracker.yaml", &policy(REVOKED));
    let seen = gate.seen();
    held.send(&last);
    assert_eq!(held.answer().reason(), Some("container_revoked"));
    head.send(&rest);
    assert_eq!(head.answer().reason(), Some("container_revoked"));
    assert_eq!(gate.seen(), seen, "not a byte went upstream");
    other.send(&other_last);
    assert_eq!(other.answer().status, 200);
}

#[test]
fn a_grant_that_comes_while_a_body_is_under_way_counts_too() {
    let gate = tracker(REVOKED);
    let (first, last) = edit("SEC-1").halves();
    let mut held = gate.connect();
    held.send(&first);
    gate.write_policy("tracker.yaml", &policy(GRANTED));
    wait_until("the scope to come back", || gate.ask(&edit("SEC-1")).reason().is_none());
    held.send(&last);
    assert_eq!(held.answer().status, 200);
}

#[test]
fn a_broken_file_keeps_its_last_good_form_and_holds_up_no_other_revocation() {
    let gate = Setup::jira()
        .policy("tracker.yaml", &policy(GRANTED))
        .policy("other.yaml", &jira_app("other", "oauth", GRANTED))
        .start();
    let other = |key: &str| Ask::put(&format!("/rest/api/3/issue/{key}")).bearer("other").json("{}");
    gate.write_policy("other.yaml", "version: 1\napp: jira/other\ngrants: [");
    wait_until("the problem", || gate.metric("scopegate_policy_problems") == 1.0);
    gate.passes(&other("SEC-1"));
    assert_eq!(gate.health("/readyz").json()["problems"], 1);
    gate.write_policy("tracker.yaml", &policy(REVOKED));
    wait_until("the revocation", || gate.ask(&edit("SEC-1")).reason() == Some("container_revoked"));
    gate.passes(&other("SEC-1"));
    gate.passes(&edit("PROJ-1"));
    // What gives waits until all can be read.
    gate.write_policy("third.yaml", &jira_app("third", "oauth", GRANTED));
    edited(&gate, "third2.yaml", "version: 1\ngroup: g\ntenant: acme\nusers: [u]\n");
    gate.refuses(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("third"), "unknown_app");
    gate.write_policy("other.yaml", &jira_app("other", "oauth", REVOKED));
    wait_until("the grant", || gate.ask(&read("PROJ-1").bearer("third")).reason() == Some("bad_request"));
    wait_until("the grant", || gate.ask(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("third")).reason().is_none());
    gate.refuses(&other("SEC-1"), "container_revoked");
    assert_eq!(gate.metric("scopegate_policy_problems"), 0.0);
}

#[test]
fn a_revocation_that_moves_between_files_never_opens_anything() {
    let setup = Setup::jira().top("settle", "400ms").policy("tracker.yaml", &policy(GRANTED));
    let revocation =
        "version: 1\napp: jira/tracker\nrevocations: [{scopes: [write:jira-work], in: {project: [SEC]}, reason: x}]\n";
    let gate = Arc::new(setup.policy("a.yaml", revocation).start());
    gate.refuses(&edit("SEC-1"), "container_revoked");
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = std::thread::spawn({
        let (gate, done, asked) = (Arc::clone(&gate), Arc::clone(&done), Arc::clone(&asked));
        move || {
            while !done.load(Ordering::SeqCst) {
                gate.refuses(&edit("SEC-1"), "container_revoked");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    for (from, to) in [("a.yaml", "b.yaml"), ("b.yaml", "c.yaml"), ("c.yaml", "a.yaml")] {
        edited_away(&gate, from);
        edited(&gate, to, revocation);
    }
    done.store(true, Ordering::SeqCst);
    asking.join().expect("it was refused throughout");
    assert!(asked.load(Ordering::SeqCst) > 10);
    assert_eq!(gate.seen(), (0, 0));
    // And once it is gone for good, it is gone.
    std::fs::remove_file(gate.path("policies/a.yaml")).expect("removed");
    wait_until("the end of the revocation", || gate.ask(&edit("SEC-1")).reason().is_none());
}

fn edited_away(gate: &Gate, name: &str) {
    let before = gate.running().live.load().generation;
    std::fs::remove_file(gate.path("policies").join(name)).expect("removed");
    wait_until("the loss to be seen", || gate.running().live.load().generation > before);
}

#[test]
fn what_gives_waits_until_the_folder_settled_and_readyz_says_so() {
    let gate = Setup::jira().top("settle", "3s").policy("tracker.yaml", &policy(REVOKED)).start();
    edited(&gate, "tracker.yaml", &policy(GRANTED));
    gate.refuses(&edit("SEC-1"), "container_revoked");
    let report = gate.health("/readyz");
    assert_eq!((report.status, &report.json()["snapshot"]["settling"]), (200, &true.into()));
    assert_eq!(gate.metric("scopegate_reload_settling"), 1.0);
    wait_until("the grant", || gate.ask(&edit("SEC-1")).reason().is_none());
    assert_eq!(gate.health("/readyz").json()["snapshot"]["settling"], false);
    assert_eq!(gate.metric("scopegate_reload_settling"), 0.0);
}

#[test]
fn the_age_of_the_last_read_tells_that_a_folder_cannot_be_read() {
    let setup = Setup::jira().top("overrides", "overrides").file("overrides/.keep", "");
    let gate = setup.policy("tracker.yaml", &policy(GRANTED)).start();
    let read = || gate.metric("scopegate_reload_last_read_timestamp_seconds");
    let first = read();
    wait_until("another look", || read() > first);
    std::fs::rename(gate.path("policies"), gate.path("away")).expect("a rename");
    wait_until("the loss", || gate.metric(r#"scopegate_reloads_total{result="failure"}"#) == 1.0);
    let lost = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64();
    // The other folder is read on, and does not hide that this one is not: once the second act holds, the look that
    // brought the first has been told.
    for scope in ["write:jira-work", "read:jira-work"] {
        let act =
            format!("version: 1\napp: jira/tracker\nrevocations: [{{scopes: ['{scope}'], in: all, reason: INC-1}}]\n");
        std::fs::write(gate.path("new"), act).expect("a file");
        std::fs::rename(gate.path("new"), gate.path("overrides").join(scope.replace(':', "-") + ".yaml"))
            .expect("a rename");
        let ask = if scope.starts_with("write") {
            edit("SEC-1")
        } else {
            Ask::get("/rest/api/3/issue/SEC-1").bearer("tracker")
        };
        wait_until("the act", || gate.ask(&ask).reason() == Some("scope_revoked"));
    }
    assert!(read() < lost);
    std::fs::rename(gate.path("away"), gate.path("policies")).expect("a rename");
    wait_until("the folder to be read again", || read() > lost);
}

#[test]
fn an_override_stands_over_the_policy_at_once() {
    let gate = Setup::jira()
        .top("overrides", "overrides")
        .policy("tracker.yaml", &policy(GRANTED))
        .file("overrides/.keep", "")
        .start();
    gate.passes(&edit("SEC-1"));
    let act = "version: 1\napp: jira/tracker\nrevocations: [{scopes: [write:jira-work], in: all, reason: INC-1, by: dana@example.com, at: 2026-11-22T08:00:00Z}]\n";
    std::fs::write(gate.path("new"), act).expect("a file");
    std::fs::rename(gate.path("new"), gate.path("overrides/1.yaml")).expect("a rename");
    wait_until("the act", || gate.ask(&edit("SEC-1")).reason() == Some("scope_revoked"));
    std::fs::remove_file(gate.path("overrides/1.yaml")).expect("removed");
    wait_until("its end", || gate.ask(&edit("SEC-1")).reason().is_none());
}

#[test]
fn no_policy_is_for_now_and_an_empty_folder_knows_nobody() {
    let gate = Setup::jira().start();
    gate.refuses(&read("PROJ-1"), "unknown_app");
    let live = &gate.running().live;
    let mut empty = Snapshot::empty(Arc::clone(&live.load().catalogs));
    empty.generation = live.load().generation + 1;
    live.publish(empty);
    assert_eq!(gate.refuses(&read("PROJ-1"), "no_policy").status, 503);
}

/// One state of one policy, as a snapshot would hold it.
fn states(gate: &Gate, rules: &str) -> States {
    let mut store = Store::new(Arc::clone(&gate.running().live.load().catalogs));
    let file: Arc<Path> = Arc::from(Path::new("tracker.yaml"));
    let text: Arc<str> = digested(&policy(rules)).into();
    store.apply(
        vec![Change { file, origin: Origin::Policy, content: Content::Text(text) }],
        gate.running().live.now_ms(),
    );
    assert!(store.settle(), "{:#?}", store.problems());
    store.snapshot(&std::collections::HashMap::new()).states.expect("a state")
}

/// Publishes states by turns.
struct Publisher<'g> {
    gate: &'g Gate,
    generation: AtomicU64,
}

impl Publisher<'_> {
    fn publish(&self, states: &States) {
        let live = &self.gate.running().live;
        let current = live.load();
        live.publish(Snapshot {
            generation: self.generation.fetch_add(1, Ordering::SeqCst),
            digest: String::new(),
            catalogs: Arc::clone(&current.catalogs),
            states: Some(states.clone()),
            named: Arc::clone(&current.named),
            pins: Arc::clone(&current.pins),
        });
    }
}

/// How many revocations are tried.
const TRIALS: usize = 200;
/// Requests whose body is under way, in each.
const UNDER_WAY: usize = 3;

#[test]
fn under_load_nothing_that_was_revoked_begins_upstream() {
    let gate = Setup::jira()
        .top("data_plane", "{threads: 2}")
        .policy("tracker.yaml", &policy(GRANTED))
        .before(StubUpstream::ok());
    let (granted, revoked) = (states(&gate, GRANTED), states(&gate, REVOKED));
    let publisher = Publisher { gate: &gate, generation: AtomicU64::new(1_000) };
    publisher.publish(&revoked);
    // Odd while it is revoked.
    let (done, turn, refused) = (AtomicBool::new(false), AtomicUsize::new(1), AtomicUsize::new(0));
    let loading = || {
        let mut client = gate.connect();
        let (sec, free) = (edit("SEC-9").text(), read("PROJ-1").text());
        while !done.load(Ordering::SeqCst) {
            client.send(&free);
            assert_eq!(client.answer().reason(), None, "what nobody revoked goes on");
            let before = turn.load(Ordering::SeqCst);
            client.send(&sec);
            let is_refused = client.answer().reason() == Some("container_revoked");
            if turn.load(Ordering::SeqCst) == before && before % 2 == 1 {
                assert!(is_refused, "it began after it was revoked");
                refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(loading);
        scope.spawn(loading);
        let deadline = Instant::now() + DEADLINE * 2;
        for trial in 0..TRIALS {
            assert!(Instant::now() < deadline, "only {trial} trials in time");
            turn.fetch_add(1, Ordering::SeqCst);
            publisher.publish(&granted);
            let mut under_way: Vec<_> = (0..UNDER_WAY)
                .map(|index| {
                    let (first, last) = edit(&format!("SEC-{}", 1_000 + trial * UNDER_WAY + index)).halves();
                    let mut client = gate.connect();
                    client.send(&first);
                    (client, last)
                })
                .collect();
            publisher.publish(&revoked);
            turn.fetch_add(1, Ordering::SeqCst);
            for (client, last) in &mut under_way {
                client.send(last);
            }
            for (client, _) in &mut under_way {
                assert_eq!(client.answer().reason(), Some("container_revoked"));
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    let late = gate.upstream.requests();
    let late: Vec<_> = late.iter().filter(|seen| seen.line().contains("/issue/SEC-1")).collect();
    assert!(late.is_empty(), "{late:?}");
    assert!(refused.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_request_never_queues_for_an_upstream_connection() {
    let setup =
        Setup::jira().gate("limits", "{upstream_connections_max: 1, connect_timeout: 3s, response_timeout: 5s}");
    let stub = StubUpstream::start(|seen| {
        if seen.line().contains("SLOW-1") {
            crate::support::upstream::Reply::Hang
        } else {
            crate::support::upstream::Reply::ok("ok")
        }
    });
    let gate = setup.policy("tracker.yaml", &policy(GRANTED)).before(stub);
    let mut slow = gate.connect();
    slow.send(&read("SLOW-1").text());
    gate.upstream.wait_for(1);
    // All connections are in use: refused for now, at once, and never queued behind an old judgement.
    let started = Instant::now();
    let answer = gate.ask(&edit("SEC-1"));
    assert_eq!((answer.status, answer.reason()), (503, Some("overloaded")));
    assert!(started.elapsed() < Duration::from_secs(2));
}
