//! Acts of a fleet hold by what its session says. What somebody does to their copies on the disk changes nothing (law 8).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use scopegate::acts::ActId;
use scopegate::control::reload::Said;

use super::world::Asker;
use super::*;
use crate::support::meanwhile;

const ACT: &str = "overrides/revoke.yaml";

fn act() -> String {
    more("a", &revocations(&["chat:write"]))
}

/// An app that may read and write, and one act that was known when the gate started: it may not write.
fn fleet() -> World {
    let mut world = World::with_settle(Duration::from_millis(1));
    world.shared = true;
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    world.put(ACT, &act());
    let world = world.ready();
    assert!(!world.permits("a", WRITE) && world.permits("a", READ));
    world
}

fn said(world: &World, file: &str, text: Option<&str>) -> Said {
    (world.root.path().join(file).into(), text.map(Into::into))
}

fn tell(world: &World, file: &str, text: Option<&str>) {
    world.holder().tell(vec![said(world, file, text)]);
}

fn is_amiss(world: &World, id: &str) -> bool {
    world.look();
    world.force.watch().borrow().amiss.contains(&ActId::parse(id).unwrap())
}

fn never_permits<T>(asker: &Asker, what: &str, work: impl FnOnce() -> T) -> T {
    meanwhile(|| assert!(!asker.permits("a", WRITE), "{what}: the act was out of force"), work)
}

/// What somebody does to the folder of copies.
type Harm = fn(&Path);

const HARMS: [(&str, Harm); 10] = [
    ("the file is deleted", |acts| fs::remove_file(acts.join("revoke.yaml")).unwrap()),
    ("it is emptied", |acts| fs::write(acts.join("revoke.yaml"), "").unwrap()),
    ("it is garbage", |acts| fs::write(acts.join("revoke.yaml"), "\u{0}: [what").unwrap()),
    ("it takes nothing away", |acts| fs::write(acts.join("revoke.yaml"), more("a", &granted("users:read"))).unwrap()),
    ("it is no text", |acts| fs::write(acts.join("revoke.yaml"), b"\xff\xfe").unwrap()),
    ("it becomes a folder", |acts| {
        fs::remove_file(acts.join("revoke.yaml")).unwrap();
        fs::create_dir(acts.join("revoke.yaml")).unwrap();
    }),
    ("the folder is deleted", |acts| fs::remove_dir_all(acts).unwrap()),
    ("the folder is made anew, empty", |acts| {
        fs::remove_dir_all(acts).unwrap();
        fs::create_dir(acts).unwrap();
    }),
    ("a file stands in its place", |acts| {
        fs::rename(acts, acts.with_file_name("away")).unwrap();
        fs::write(acts, "").unwrap();
    }),
    ("nobody may read it", |acts| {
        // To root everything is readable.
        fs::set_permissions(acts, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read_dir(acts).is_ok() {
            fs::remove_dir_all(acts).unwrap();
        }
    }),
];

#[test]
fn what_somebody_does_to_a_copy_takes_no_act_out_of_force() {
    for (what, harm) in HARMS {
        let world = fleet();
        let acts = world.root.path().join("overrides");
        never_permits(&world.asker(), what, || {
            harm(&acts);
            world.until("it to be seen", |world| is_amiss(world, "revoke"));
            // Whatever is seen later as well: a file is gone only after a while.
            std::thread::sleep(Duration::from_millis(100));
            world.look();
            std::thread::sleep(Duration::from_millis(20));
        });
        assert!(world.permits("a", READ) && !world.permits("a", "users.list"), "{what}");
        let _ = fs::set_permissions(&acts, fs::Permissions::from_mode(0o755));
    }
}

#[test]
fn a_folder_of_copies_that_is_moved_away_and_back_changes_nothing() {
    let world = fleet();
    let (acts, away) = (world.root.path().join("overrides"), world.root.path().join("away"));
    never_permits(&world.asker(), "moved", || {
        for _ in 0..5 {
            fs::rename(&acts, &away).unwrap();
            world.until("it to be seen", |world| is_amiss(world, "revoke"));
            fs::rename(&away, &acts).unwrap();
            world.until("it to be back", |world| !is_amiss(world, "revoke"));
        }
    });
    assert_eq!(world.readiness.report().problems, 0);
}

/// With its folder there, and without.
#[test]
fn what_the_session_takes_back_is_over_at_once_and_no_copy_brings_it_back() {
    for is_there in [true, false] {
        let world = fleet();
        tell(&world, "overrides/grant.yaml", Some(&more("a", &granted("users:read"))));
        world.until("what it gives", |world| world.permits("a", "users.list"));
        world.put("overrides/grant.yaml", &more("a", &granted("users:read")));
        let (acts, away) = (world.root.path().join("overrides"), world.root.path().join("away"));
        fs::rename(&acts, &away).unwrap();
        if is_there {
            world.put(ACT, &act());
            world.until("the folder", |world| !is_amiss(world, "revoke") && is_amiss(world, "grant"));
        } else {
            world.until("the loss", |world| is_amiss(world, "revoke"));
        }
        let began = Instant::now();
        world.holder().tell(vec![said(&world, ACT, None), said(&world, "overrides/grant.yaml", None)]);
        world.until("it to be over", |world| world.permits("a", WRITE));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(!world.permits("a", "users.list"));
        let _ = fs::remove_dir_all(&acts);
        fs::rename(&away, &acts).unwrap();
        world.until("it to be seen", |world| is_amiss(world, "grant") && is_amiss(world, "revoke"));
        assert!(!world.permits("a", "users.list") && world.permits("a", WRITE));
        // Said once more, it holds again.
        tell(&world, ACT, Some(&act()));
        world.until("the act", |world| !world.permits("a", WRITE));
        assert!(!is_amiss(&world, "revoke"), "its copy says so");
    }
}

#[test]
fn what_the_session_says_is_in_force_before_anybody_looks_at_a_file() {
    let mut world = World::with_settle(Duration::from_millis(1));
    (world.shared, world.polled) = (true, Some(Duration::from_secs(600)));
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    assert!(world.permits("a", WRITE));
    tell(&world, ACT, Some(&act()));
    world.until("the act", |world| !world.permits("a", WRITE));
    assert!(is_amiss(&world, "revoke"), "there is no copy");
    let other = act().replace("chat:write", "team:read");
    tell(&world, ACT, Some(&other));
    world.until("what it says now", |world| world.permits("a", WRITE) && !world.permits("a", READ));
    // The copy as it was before says nothing.
    never_reads(&world, || {
        world.put(ACT, &act());
        world.look();
        std::thread::sleep(Duration::from_millis(100));
    });
    assert!(world.permits("a", WRITE));
}

fn never_reads(world: &World, work: impl FnOnce()) {
    work();
    assert!(!world.permits("a", READ));
}

#[test]
fn a_file_of_which_the_session_said_nothing_is_an_act_while_it_is_there() {
    let world = fleet();
    world.put("overrides/by-hand.yaml", &more("a", &revocations(&["team:read"])));
    world.until("the act", |world| !world.permits("a", READ));
    world.remove("overrides/by-hand.yaml");
    world.until("its end", |world| world.permits("a", READ));
    assert!(!world.permits("a", WRITE));
}

/// What is not as it was known keeps the gate from being ready (`fleet::memory`), not from starting.
#[test]
fn a_broken_copy_keeps_no_gate_from_starting_and_is_an_act_again_once_the_session_says_so() {
    for broken in ["", "grants: [what", "version: 1\napp: slack/a\nrevocations: []\nnobody: knows\n"] {
        let mut world = World::with_settle(Duration::from_millis(1));
        world.shared = true;
        world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
        world.put(ACT, broken);
        let world = world.ready();
        assert_eq!(world.readiness.report().problems, 1, "{broken:?}");
        tell(&world, ACT, Some(&act()));
        world.until("the act", |world| !world.permits("a", WRITE));
        world.until("the problem to be over", |world| world.readiness.report().problems == 0);
        // In a folder of its own nobody would say so.
        let mut alone = World::new();
        alone.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
        alone.put(ACT, broken);
        assert!(alone.start().is_err(), "{broken:?}");
    }
}
