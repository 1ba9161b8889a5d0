//! What is on disk and what is in force: law 7 and its neighbours, asked as requests ask.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod cells;
mod held;
mod kept;
mod samples;
mod torture;
pub mod world;

use std::fs;
use std::time::{Duration, Instant};

use scopegate::authz::{Credential, Reason};
use scopegate::clock::unix_ms;
use world::{World, app, grants, more, revocations, sha256};

const READ: &str = "team.info";
const WRITE: &str = "chat.postMessage?channel=C0HELP";

/// A grant of a document that holds no installation says where.
fn granted(scope: &str) -> String {
    grants(&[scope]).replace("in: all", "in: all, tenants: [T1]")
}

#[test]
fn a_broken_file_stands_in_its_last_good_form_and_delays_no_other_revocation() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.put("policies/b.yaml", &app("b", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    assert!(world.permits("a", READ) && world.permits("b", WRITE));

    world.put("policies/a.yaml", &app("a", "grants: [what\n"));
    world.until("the problem is told", |world| world.readiness.report().problems == 1);
    assert!(world.permits("a", READ), "in its last good form");
    world.put("policies/b.yaml", &app("b", &grants(&["team:read"])));
    world.until("the revocation", |world| !world.permits("b", WRITE));
    assert!(world.permits("b", READ) && world.permits("a", READ));
    let text = world.metrics.render().unwrap();
    assert!(text.contains("scopegate_policy_problems 1"), "{text}");
    assert!(text.contains(r#"scopegate_reloads_total{result="problems"}"#), "{text}");

    world.put("policies/a.yaml", &app("a", &grants(&["chat:write"])));
    world.until("mended", |world| world.permits("a", WRITE));
    assert!(!world.permits("a", READ));
    assert_eq!(world.readiness.report().problems, 0);
}

#[test]
fn what_gives_waits_until_the_folder_has_settled_and_what_takes_does_not() {
    let world = World::with_settle(Duration::from_millis(800));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    let world = world.ready();
    let began = Instant::now();
    world.put("policies/a.yaml", &app("a", &grants(&["chat:write"])));
    world.until("the loss", |world| !world.permits("a", READ));
    let lost = began.elapsed();
    assert!(!world.permits("a", WRITE), "both states must permit");
    world.until("it is told", |world| world.readiness.report().snapshot.unwrap().settling);
    world.until("the gain", |world| world.permits("a", WRITE));
    assert!(lost < world.settle && began.elapsed() >= world.settle, "{lost:?} {:?}", began.elapsed());
    assert!(!world.permits("a", READ));
}

#[test]
fn a_broken_file_keeps_what_gives_waiting_elsewhere() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.put("policies/b.yaml", &app("b", &grants(&["team:read"])));
    let world = world.ready();
    world.put("policies/a.yaml", "version: 1\nap: slack/a\n");
    world.put("policies/b.yaml", &app("b", &grants(&["chat:write"])));
    world.until("the loss", |world| !world.permits("b", READ));
    let until = Instant::now() + world.settle * 4;
    while Instant::now() < until {
        assert!(!world.permits("b", WRITE), "the folder is not whole");
        std::thread::sleep(Duration::from_millis(5));
    }
    world.remove("policies/a.yaml");
    world.until("the gain", |world| world.permits("b", WRITE));
    assert!(!world.permits("a", READ));
}

#[test]
fn deleting_the_last_grant_and_the_last_file_takes_effect() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    let world = world.ready();
    world.put("policies/a.yaml", &app("a", ""));
    world.until("no grant", |world| world.ask("a", READ) == Err(Reason::MissingScope));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.until("the grant", |world| world.permits("a", READ));
    world.remove("policies/a.yaml");
    world.until("no app", |world| world.ask("a", READ) == Err(Reason::UnknownApp));
    world.settled();
    assert_eq!(world.ask("a", READ), Err(Reason::UnknownApp));
}

#[test]
fn an_emptied_file_is_a_broken_one() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    let world = world.ready();
    world.put("policies/a.yaml", "");
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    assert!(world.permits("a", READ), "in its last good form");
}

#[test]
fn a_folder_that_is_replaced_is_followed_and_one_that_is_gone_is_not_an_empty_one() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    world.put("next/a.yaml", &app("a", &grants(&["team:read"])));
    let (now, old, next) = (world.policies(), world.root.path().join("old"), world.root.path().join("next"));
    fs::rename(&now, &old).unwrap();
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    assert!(world.permits("a", WRITE), "the last state stands");
    assert!(world.metrics.render().unwrap().contains(r#"scopegate_reloads_total{result="failure"} 1"#));
    fs::rename(&next, &now).unwrap();
    world.until("the new folder", |world| !world.permits("a", WRITE));
    assert!(world.permits("a", READ));
    world.settled();
    // Told after what is in force.
    world.until("no problem", |world| world.readiness.report().problems == 0);
}

#[test]
fn a_set_that_is_gone_stands_in_its_last_good_form() {
    let world = World::new();
    let rule = "revocations:\n  - {scopes: ['chat:write'], in: {channel: ['set:quiet']}, reason: test}\n";
    world.put("policies/a.yaml", &app("a", &format!("{}{rule}", grants(&["team:read", "chat:write"]))));
    world.put("policies/set.yaml", "version: 1\nset: quiet\ntenant: T1\nchannel: [C0HELP]\n");
    world.put("policies/b.yaml", &app("b", &grants(&["team:read"])));
    let world = world.ready();
    assert!(!world.permits("a", WRITE));
    world.remove("policies/set.yaml");
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    assert!(!world.permits("a", WRITE) && world.permits("a", READ));
    world.put("policies/b.yaml", &app("b", ""));
    world.until("another app's loss", |world| !world.permits("b", READ));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.until("nothing refers to it", |world| world.readiness.report().problems == 0);
    assert!(world.permits("a", READ));
}

#[test]
fn a_digest_in_two_apps_counts_against_the_one_that_changed() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.put("policies/b.yaml", &app("b", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    let stolen = app("b", &grants(&["team:read"])).replace(&sha256("b"), &sha256("a"));
    world.put("policies/b.yaml", &stolen);
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    assert!(world.permits("b", WRITE), "in its last good form");
    let who = |world: &World| world.asker().live.load().states.as_ref().unwrap().newest.app("slack/a").is_some();
    assert!(who(&world) && world.permits("a", READ));
    // The credential moves on: taken out of `a`, it belongs to `b`, once the folder has settled.
    world.put("policies/a.yaml", &app("a", "").replace(&sha256("a"), &sha256("c")));
    world.until("moved", |world| world.permits("a", READ) && world.readiness.report().problems == 0);
    assert_eq!(world.ask("b", READ), Err(Reason::UnknownApp));
    assert_eq!(world.ask("c", READ), Err(Reason::MissingScope));
}

#[test]
fn an_installation_that_is_gone_does_not_hold_up_another_app() {
    let world = World::new();
    let rule = "grants:\n  - {scopes: ['team:read'], actors: [app], in: all, tenants: [T1]}\n";
    let bare = app("a", "");
    let (described, installed) = bare.split_once("installations:").unwrap();
    world.put("policies/a.yaml", &format!("{described}{rule}"));
    world.put("policies/a-installed.yaml", &more("a", &format!("installations:{installed}")));
    world.put("policies/b.yaml", &app("b", &grants(&["team:read"])));
    let world = world.ready();
    assert!(world.permits("a", READ));
    world.remove("policies/a-installed.yaml");
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    // `a-installed.yaml` waits, and `a.yaml` would have the same fault without it: neither is a reason to hold up `b`.
    world.put("policies/a.yaml", &format!("{described}{}", rule.replace("team:read", "chat:write")));
    world.put("policies/b.yaml", &app("b", ""));
    world.until("another app's loss", |world| !world.permits("b", READ));
    // With the installation in its last good form there is nothing wrong with `a.yaml`, so what it takes is taken.
    world.until("the app's own loss", |world| !world.permits("a", READ));
}

#[test]
fn overrides_stand_over_both_states_and_hold_while_the_policy_folder_is_gone() {
    let world = World::new();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    fs::rename(world.policies(), world.root.path().join("away")).unwrap();
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    // The folder did not exist until now.
    world.put("overrides/1.yaml", &more("a", &revocations(&["chat:write"])));
    world.until("the override", |world| world.ask("a", WRITE) == Err(Reason::ScopeRevoked));
    assert!(world.permits("a", READ));
    world.put("overrides/2.yaml", &more("a", &granted("users:read")));
    world.until("an act does not settle", |world| world.permits("a", "users.list"));
    world.remove("overrides/1.yaml");
    world.until("restored", |world| world.permits("a", WRITE));
    fs::rename(world.root.path().join("overrides"), world.root.path().join("gone")).unwrap();
    fs::rename(world.root.path().join("away"), world.policies()).unwrap();
    world.put("policies/a.yaml", &app("a", &grants(&["chat:write"])));
    world.until("the policy's loss", |world| !world.permits("a", READ));
    assert!(world.permits("a", "users.list"), "overrides that cannot be read stand");
}

#[test]
fn an_override_reaches_the_state_that_has_not_settled_yet() {
    let world = World::with_settle(Duration::from_millis(1500));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write", "users:read"])));
    world.until("it settles", |world| world.readiness.report().snapshot.unwrap().settling);
    world.put("overrides/1.yaml", &more("a", &revocations(&["chat:write"])));
    world.until("the override", |world| !world.permits("a", WRITE));
    world.put("overrides/2.yaml", &more("a", &granted("files:read")));
    world.until("the other override", |world| world.permits("a", "files.list"));
    assert!(!world.permits("a", "users.list"), "the grant in the policy has not settled");
    assert!(world.readiness.report().snapshot.unwrap().settling);
    world.until("settled", |world| world.permits("a", "users.list"));
    assert!(!world.permits("a", WRITE));
}

/// Each folder is looked at by a thread of its own, and here nobody tells the other of what came into its.
#[test]
fn an_act_that_was_written_before_an_edit_is_in_force_before_what_the_edit_gives() {
    let mut world = World::with_settle(Duration::from_millis(1));
    world.polled = Some(Duration::from_secs(600));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    let world = world.ready();
    for trial in 0..5 {
        world.put(&format!("overrides/{trial}.yaml"), &more("a", &revocations(&["chat:write"])));
        world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write", "files:read"])));
        world.look_at_policies();
        world.until("what the edit gives", |world| world.permits("a", "files.list"));
        assert!(!world.permits("a", WRITE), "in trial {trial} the act was read after what it stands over");
        world.remove(&format!("overrides/{trial}.yaml"));
        world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
        world.look();
        world.until("the loss", |world| !world.permits("a", "files.list"));
        world.settled();
    }
}

#[test]
fn before_a_whole_folder_was_read_there_is_no_policy() {
    let mut world = World::with_settle(Duration::from_millis(700));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    world.start().unwrap();
    assert_eq!(world.ask("a", READ), Err(Reason::NoPolicy));
    assert_eq!(world.readiness.report().waiting, ["policy"]);
    world.until("ready", |world| world.readiness.report().ready);
    assert!(world.permits("a", READ));
    world.stop();
    let mut again = World::with_settle(Duration::from_millis(1));
    again.root = world.root;
    again.start().unwrap();
    assert!(again.readiness.report().ready, "an old folder is whole at once");
    assert!(again.permits("a", READ));
}

#[test]
fn a_start_tells_all_problems_of_all_files_at_once() {
    let mut world = World::new();
    world.put("policies/a.yaml", &app("a", "grants:\n  - {scopes: ['team:raed'], actors: [app], in: all}\n"));
    world.put("policies/b.yaml", "version: 1\napp: slack/b\ngrant: []\n");
    world.put("policies/c.yaml", &app("c", &grants(&["team:read"])));
    world.put("policies/d.yaml", &app("d", "").replace(&sha256("d"), &sha256("c")));
    world.put("overrides/e.yaml", "version: 1\napp: slack/c\nrevocations: [{scopes: all}]\n");
    let problems = world.start().unwrap_err();
    for name in ["a.yaml", "b.yaml", "d.yaml", "e.yaml"] {
        let found = problems.iter().any(|problem| problem.is_error() && problem.file.ends_with(name));
        assert!(found, "{name}: {problems:#?}");
    }
    assert!(problems.iter().any(|problem| problem.help.as_deref() == Some("did you mean `team:read`?")));
    assert_eq!(world.live.load().generation, 0, "nothing is in force");
}

#[test]
fn a_start_without_a_policy_folder_is_an_error_and_without_overrides_is_none() {
    let mut world = World::new();
    fs::remove_dir(world.policies()).unwrap();
    assert!(world.start().is_err());
    fs::create_dir(world.policies()).unwrap();
    let world = world.ready();
    assert_eq!(world.ask("a", READ), Err(Reason::UnknownApp), "an empty folder is a policy that grants nothing");
}

#[test]
fn a_start_waits_for_a_file_that_is_being_written() {
    let mut world = World::with_settle(Duration::from_millis(600));
    world.put("policies/a.yaml", "version: 1\napp: slack/a\nname: a\n");
    let path = world.policies().join("a.yaml");
    let whole = app("a", &grants(&["team:read"]));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        world::put(&path, &whole);
    });
    world.start().unwrap();
    writer.join().unwrap();
    world.until("ready", |world| world.permits("a", READ));
}

#[test]
fn a_secret_that_changes_is_put_in_from_then_on() {
    let world = World::new();
    world.put("secrets/a", "xoxb-one\n");
    let key = |name: &str| {
        app(name, &grants(&["team:read"])).replace("method: token", "method: gate_key, upstream: {file: secrets/a}")
    };
    world.put("policies/a.yaml", &key("a"));
    let world = world.ready();
    let shown = |world: &World| match world.asker().credential("a", READ) {
        Ok((Credential::Replace { secret, .. }, _)) => String::from_utf8(secret.bytes().to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    assert_eq!(shown(&world), "xoxb-one");
    world.put("secrets/a", "xoxb-two\n");
    world.until("the new secret", |world| shown(world) == "xoxb-two");
    world.remove("secrets/a");
    world.until("fails closed", |world| world.ask("a", READ) == Err(Reason::UpstreamUnreachable));
    world.put("secrets/a", "xoxb-three\n");
    world.until("the third secret", |world| shown(world) == "xoxb-three");
    // A credential that names a new file finds it read.
    world.put("secrets/b", "xoxb-four\n");
    world.put("policies/a.yaml", &key("a").replace("secrets/a", "secrets/b"));
    world.until("the other file", |world| shown(world) == "xoxb-four");
}

#[test]
fn a_credential_that_was_named_stays_refused_under_observe_also_after_a_restart() {
    let mut world = World::new();
    let state = world.root.path().join("state");
    fs::create_dir(&state).unwrap();
    world.state = Some(state.clone());
    world.observe_until_ms = Some(unix_ms() + 3_600_000);
    world.put("policies/a.yaml", &app("a", &grants(&["team:read"])));
    let mut world = world.ready();
    assert_eq!(world.ask("stranger", READ), Ok(Some(Reason::UnknownApp)));
    let text = world.metrics.render().unwrap();
    assert!(text.contains(r#"scopegate_observe{app="none",gate="slack"} 1"#), "{text}");
    assert_eq!(world.readiness.report().warnings.observe.len(), 1);
    world.remove("policies/a.yaml");
    world.until("gone", |world| world.ask("a", READ) == Err(Reason::UnknownApp));
    world.stop();
    let mut again = World::new();
    again.root = world.root;
    again.state = Some(state);
    again.observe_until_ms = world.observe_until_ms;
    let again = again.ready();
    assert_eq!(again.ask("a", READ), Err(Reason::UnknownApp));
    assert_eq!(again.ask("stranger", READ), Ok(Some(Reason::UnknownApp)));
}

#[test]
fn what_stays_the_same_is_not_published_again() {
    let world = World::new();
    let text = app("a", &grants(&["team:read"]));
    world.put("policies/a.yaml", &text);
    let world = world.ready();
    let generation = world.live.load().generation;
    world.put("policies/a.yaml", &text);
    world.put("policies/b.yaml", &app("b", ""));
    world.until("the other file", |world| world.ask("b", READ) == Err(Reason::MissingScope));
    world.settled();
    // A look that comes late finds it settled at once.
    let published = world.live.load().generation - generation;
    assert!(matches!(published, 1 | 2), "once as read, once as settled: {published}");
    let old = std::sync::Arc::downgrade(&world.live.load());
    world.put("policies/b.yaml", &app("b", &grants(&["team:read"])));
    world.until("the grant", |world| world.permits("b", READ));
    world.until("the old snapshot is dropped", |_| old.strong_count() == 0);
}
