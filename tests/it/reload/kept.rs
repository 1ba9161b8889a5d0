//! Acts of a folder of their own: what becomes of those that take away when their files, or all of their folder, go.

use super::world::Asker;
use super::*;
use crate::support::meanwhile;

const ACT: &str = "overrides/00000000-revoke-1.yaml";
const GRANT: &str = "overrides/00000000-grant-1.yaml";

/// Longer than a file is missing before it is gone.
const SLOW: Duration = Duration::from_millis(60);

fn act() -> String {
    more("a", &revocations(&["chat:write"]))
}

/// An app that may read and write, and ten acts: it may not write.
fn world(settle: Duration) -> World {
    let world = World::with_settle(settle);
    world.put("policies/a.yaml", &app("a", &grants(&["team:read", "chat:write"])));
    world.put(ACT, &act());
    world.put(GRANT, &more("a", &granted("users:read")));
    for number in 0..8 {
        world.put(&format!("overrides/other-{number}.yaml"), &more("a", &revocations(&["files:read"])));
    }
    let world = world.ready();
    assert!(!world.permits("a", WRITE) && world.permits("a", READ) && world.permits("a", "users.list"));
    world
}

fn never_permits<T>(asker: &Asker, work: impl FnOnce() -> T) -> T {
    meanwhile(|| assert!(!asker.permits("a", WRITE), "the act was out of force"), work)
}

fn stands(world: &World, file: &str) -> bool {
    world.root.path().join(file).exists()
}

#[test]
fn a_folder_that_is_deleted_file_by_file_ends_no_revocation_and_is_made_anew() {
    let mut world = world(Duration::from_millis(400));
    let acts = world.root.path().join("overrides");
    never_permits(&world.asker(), || {
        // The act is the first to go, and the folder the last.
        let mut files: Vec<_> = fs::read_dir(&acts).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            fs::remove_file(file).unwrap();
            world.look();
            std::thread::sleep(SLOW);
        }
        fs::remove_dir(&acts).unwrap();
        world.until("it to be told", |world| world.readiness.report().problems == 1);
        world.until("the act to be there again", |world| stands(world, ACT));
        world.until("all to be well", |world| world.readiness.report().problems == 0);
        assert!(!stands(&world, GRANT), "what gave is not given again");
        world.until("what gave to be over", |world| !world.permits("a", "users.list"));
        std::thread::sleep(SLOW * 10);
    });
    assert_eq!(fs::read_to_string(world.root.path().join(ACT)).unwrap(), act());
    world.stop();
    world.start().unwrap();
    assert!(!world.permits("a", WRITE), "over a restart");
}

#[test]
fn a_folder_that_another_is_put_in_place_of_ends_no_revocation() {
    let world = world(Duration::from_millis(100));
    let (acts, away) = (world.root.path().join("overrides"), world.root.path().join("away"));
    never_permits(&world.asker(), || {
        for number in 0..3 {
            match number {
                0 => fs::remove_dir_all(&acts).unwrap(),
                1 => fs::rename(&acts, &away).unwrap(),
                _ => {
                    // A file for a while.
                    fs::remove_dir_all(&acts).unwrap();
                    fs::write(&acts, "").unwrap();
                    world.until("it to be told", |world| world.readiness.report().problems == 1);
                    fs::remove_file(&acts).unwrap();
                }
            }
            fs::create_dir(&acts).unwrap();
            world.until("the act to be there again", |world| stands(world, ACT));
            std::thread::sleep(SLOW * 5);
        }
    });
}

#[test]
fn a_folder_that_is_moved_away_and_back_is_as_it_was() {
    let world = world(Duration::from_millis(100));
    let (acts, away) = (world.root.path().join("overrides"), world.root.path().join("away"));
    never_permits(&world.asker(), || {
        for _ in 0..3 {
            fs::rename(&acts, &away).unwrap();
            world.until("it to be told", |world| world.readiness.report().problems == 1);
            fs::rename(&away, &acts).unwrap();
            world.until("all to be well", |world| world.readiness.report().problems == 0);
        }
    });
    assert!(world.permits("a", "users.list"), "what gives is as it was, too");
}

#[test]
fn a_file_that_is_emptied_or_garbage_stands_in_its_last_good_form() {
    for broken in ["", "\u{0}: [what", "version: 1\n"] {
        let world = world(Duration::from_millis(1));
        never_permits(&world.asker(), || {
            world.write(ACT, broken);
            world.until("it to be told", |world| world.readiness.report().problems == 1);
            std::thread::sleep(SLOW);
        });
    }
}

/// `restore` by hand. That what gives has to wait is seen by a settle that nobody waits for by chance.
#[test]
fn an_act_whose_file_alone_is_removed_is_let_go_once_the_folder_has_settled() {
    let world = world(Duration::from_secs(2));
    let began = Instant::now();
    world.remove(ACT);
    world.remove(GRANT);
    world.until("what gave to be over", |world| !world.permits("a", "users.list"));
    assert!(began.elapsed() < Duration::from_secs(2), "that takes away, and waits for nothing");
    world.until("it to be over", |world| world.permits("a", WRITE));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!stands(&world, ACT));
}

#[test]
fn a_file_that_is_written_again_was_never_gone() {
    let world = world(Duration::from_millis(200));
    never_permits(&world.asker(), || {
        for _ in 0..5 {
            world.remove(ACT);
            std::thread::sleep(SLOW);
            world.put(ACT, &act());
            std::thread::sleep(SLOW);
        }
        std::thread::sleep(Duration::from_millis(500));
    });
}

#[test]
fn what_somebody_takes_back_through_the_gate_is_over_at_once_if_its_file_is_gone() {
    let settle = Duration::from_secs(3);
    let world = world(settle);
    let (holder, file) = (world.holder(), world.root.path().join(ACT));
    never_permits(&world.asker(), || {
        holder.tell(vec![(file.as_path().into(), None)]);
        // What an act says is read from its file.
        let nothing = more("a", &revocations(&["users:read"]));
        holder.tell(vec![(file.as_path().into(), Some(nothing.into()))]);
        world.look();
        std::thread::sleep(SLOW);
    });
    let began = Instant::now();
    world.remove(ACT);
    holder.tell(vec![(file.as_path().into(), None)]);
    world.until("it to be over", |world| world.permits("a", WRITE));
    assert!(began.elapsed() < settle, "{:?}", began.elapsed());
}
