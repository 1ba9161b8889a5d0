//! Files seen half-written, and rules on their way from one file to another, while requests keep asking.
//!
//! Every cut has an app and a file of its own, so that all of them are made at once in one folder: a file that is
//! broken at its cut must not help or hurt any other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::clock::unix_ms;
use scopegate::live::Live;

use super::world::{Asker, World, app, grants, more, revocations};

/// Between the two writes of one file.
const GAP: Duration = Duration::from_millis(200);
const SETTLE: Duration = Duration::from_millis(500);
/// A round that took longer between its first and its last write may have settled in between: it shows nothing.
const ROUND_MAX: Duration = Duration::from_millis(400);
const ROUNDS_MAX: usize = 60;

const CALLS: [&str; 8] = [
    "team.info",
    "users.list",
    "chat.postMessage?channel=C0HELP",
    "chat.postMessage?channel=C0EXEC",
    "chat.postMessage?channel=C0QUIET",
    "conversations.history?channel=C0HELP",
    "files.list",
    "auth.test",
];

/// The sample of the design, with everything that can be cut off it.
const SAMPLE: &str = r#"version: 1
app: slack/NAME
name: Assist
contact: it-platform@example.com
installations:
  - tenant: T1
    tenant_name: Acme Corp
    credentials:
      - {method: token, sha256: "DIGEST", kind: bot}
grants:
  - {for: team, required: true, scopes: [team:read], actors: [app], in: all}
  - {for: people, scopes: ['users:read'], actors: [app], in: all}
  - for: answers
    scopes: ['chat:write']
    actors: [app]
    in: all
  - {for: history, scopes: ['channels:history'], actors: [app], in: {channel: [C0HELP, C0QUIET]}}
revocations:
  - {scopes: ['chat:write'], in: {channel: ['set:quiet-NAME']}, reason: SEC-1}
  - scopes: ['chat:write']
    actors: [app]
    in:
      channel:
        - C0EXEC
        - C0HELP
    reason: SEC-2
---
version: 1
guardrail: no-people-NAME
apps: [slack/NAME]
tenants: all
revocations:
  - {scopes: ['users:read'], in: all, reason: SEC-3}
---
version: 1
set: quiet-NAME
tenant: T1
channel: [C0QUIET]
"#;

/// Takes other things and gives other things.
fn changed(sample: &str) -> String {
    let moved = sample.replace("        - C0HELP\n", "").replace("[C0QUIET]\n", "[C0HELP, C0LATE]\n");
    moved
        .replace("scopes: [team:read]", "scopes: ['files:read', 'team:read']")
        .replace("    in: all\n", "    in: {channel: [C0EXEC, C0QUIET]}\n")
}

fn named(text: &str, name: &str) -> String {
    text.replace("NAME", name).replace("DIGEST", &super::world::sha256(name))
}

/// What one text permits, judged as a whole and settled policy.
fn permitted(world: &World, text: &str, name: &str) -> BTreeSet<&'static str> {
    let mut store = Store::new(world.catalogs());
    let content = Content::Text(named(text, name).into());
    store.apply(vec![Change { file: Path::new("a.yaml").into(), origin: Origin::Policy, content }], unix_ms());
    assert_eq!(store.problems().iter().filter(|problem| problem.is_error()).count(), 0, "{:#?}", store.problems());
    store.settle();
    let asker = Asker { live: Arc::new(Live::new(store.snapshot(&Secrets::new()))), gate: world.gate() };
    CALLS.into_iter().filter(|call| asker.permits(name, call)).collect()
}

/// Asks everything again and again while `act` runs; gives every (name, call) that ever passed.
fn passes_during(
    world: &World,
    names: &[String],
    calls: &[&'static str],
    act: impl FnOnce(),
) -> BTreeSet<(String, String)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let asker = world.asker();
            let mut passed = BTreeSet::new();
            while !over.load(Ordering::SeqCst) {
                for name in names {
                    for call in calls {
                        if asker.permits(name, call) {
                            passed.insert((name.clone(), (*call).to_owned()));
                        }
                    }
                }
            }
            passed
        });
        act();
        over.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    })
}

#[test]
fn a_file_seen_half_written_opens_nothing_wherever_it_is_cut() {
    let new = changed(SAMPLE);
    let cuts = SAMPLE.lines().count().max(new.lines().count());
    let names: Vec<String> = (0..cuts).map(|cut| format!("cut{cut}")).collect();
    let world = World::with_settle(SETTLE);
    for name in &names {
        world.put(&format!("policies/{name}.yaml"), &named(SAMPLE, name));
    }
    let world = world.ready();
    let (old_permits, new_permits) = (permitted(&world, SAMPLE, "x"), permitted(&world, &new, "x"));
    assert!(!old_permits.is_empty() && !new_permits.is_empty() && old_permits != new_permits);
    let mut rounds = 0;
    for (before, after) in [(SAMPLE, &*new), (&*new, SAMPLE), (SAMPLE, SAMPLE)] {
        loop {
            rounds += 1;
            assert!(rounds <= ROUNDS_MAX, "the machine is too slow for this test");
            names.iter().for_each(|name| world.put(&format!("policies/{name}.yaml"), &named(before, name)));
            world.until("before", |world| in_force(world, &names, &permitted(world, before, "x")));
            let (old, new) = (permitted(&world, before, "x"), permitted(&world, after, "x"));
            let mut took = Duration::MAX;
            let passed = passes_during(&world, &names, &CALLS, || took = rewrite(&world, &names, after));
            // What the old refuses does not pass before the new has settled.
            let opened: Vec<_> = passed.iter().filter(|(_, call)| !old.contains(&**call)).collect();
            // What the new refuses does not pass once it was read.
            let refused: Vec<&str> = CALLS.into_iter().filter(|call| !new.contains(call)).collect();
            let none_passes =
                |world: &World| names.iter().all(|name| refused.iter().all(|call| !world.permits(name, call)));
            world.until("what it takes", none_passes);
            let again = passes_during(&world, &names, &refused, || world.settled());
            if took < ROUND_MAX {
                assert!(opened.is_empty(), "{opened:?}");
                assert!(again.is_empty(), "{again:?}");
                break;
            }
        }
        world.until("after", |world| in_force(world, &names, &permitted(world, after, "x")));
        assert_eq!(world.readiness.report().problems, 0);
    }
}

fn in_force(world: &World, names: &[String], permitted: &BTreeSet<&str>) -> bool {
    let settled = world.readiness.report().snapshot.is_some_and(|snapshot| !snapshot.settling);
    settled && names.iter().all(|name| CALLS.iter().all(|call| world.permits(name, call) == permitted.contains(call)))
}

/// Each file in two writes, the first cut after as many lines as its number says.
fn rewrite(world: &World, names: &[String], text: &str) -> Duration {
    let began = Instant::now();
    let parts: Vec<(String, String)> = (0..)
        .zip(names)
        .map(|(cut, name)| {
            let whole = named(text, name);
            let at = whole.split_inclusive('\n').take(cut).map(str::len).sum();
            let (head, tail) = whole.split_at(at);
            (head.to_owned(), tail.to_owned())
        })
        .collect();
    for (name, (head, _)) in names.iter().zip(&parts) {
        world.write(&format!("policies/{name}.yaml"), head);
    }
    std::thread::sleep(GAP);
    for (name, (_, tail)) in names.iter().zip(&parts) {
        let path = world.policies().join(format!("{name}.yaml"));
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(tail.as_bytes()).unwrap();
    }
    began.elapsed()
}

#[test]
fn a_revocation_on_its_way_from_one_file_to_another_opens_nothing_in_either_order() {
    let names: Vec<String> = (0..24).map(|number| format!("mover{number}")).collect();
    let world = World::with_settle(SETTLE);
    let (kept, bare) = (grants(&["team:read", "chat:write"]), String::new());
    let with = |name: &str| more(name, &revocations(&["chat:write"]));
    let without = |name: &str| more(name, &bare);
    for name in &names {
        world.put(&format!("policies/{name}.yaml"), &app(name, &kept));
        world.put(&format!("policies/{name}-a.yaml"), &with(name));
        world.put(&format!("policies/{name}-b.yaml"), &without(name));
    }
    let world = world.ready();
    let revoked = "chat.postMessage?channel=C0HELP";
    let (mut from, mut to, mut good, mut rounds) = ("a", "b", 0, 0);
    while good < 4 {
        rounds += 1;
        assert!(rounds <= ROUNDS_MAX, "the machine is too slow for this test");
        let mut took = Duration::MAX;
        let passed = passes_during(&world, &names, &[revoked, "team.info"], || {
            let began = Instant::now();
            let file = |name: &str, side: &str| format!("policies/{name}-{side}.yaml");
            for (number, name) in names.iter().enumerate() {
                // Half of them take it out first, half of them put it in first; some delete the file instead.
                if number % 2 == 0 {
                    world.put(&file(name, to), &with(name))
                } else if number % 3 == 0 {
                    world.remove(&file(name, from))
                } else {
                    world.put(&file(name, from), &without(name))
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(GAP);
            for (number, name) in names.iter().enumerate() {
                if number % 2 == 0 {
                    world.put(&file(name, from), &without(name))
                } else {
                    world.put(&file(name, to), &with(name))
                }
            }
            took = began.elapsed();
            world.settled();
        });
        if took < ROUND_MAX {
            good += 1;
            assert!(passed.iter().all(|(_, call)| call == "team.info"), "{passed:?}");
            assert_eq!(passed.len(), names.len(), "nothing else breaks");
        }
        (from, to) = (to, from);
    }
}
