//! The policy folder as it changes: every way in which people and tools change files, and what must not be taken for one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use scopegate::control::folder::{Folder, Held, Scan, Seen, Settings, Unreadable, Untold, Verify, Watching, spawn};

const DEADLINE: Duration = Duration::from_secs(10);

/// Polls so rarely that only inotify can be what noticed.
const HINTS_ONLY: Settings = Settings {
    settle: Duration::from_millis(500),
    poll: (Duration::from_secs(60), Duration::from_secs(60)),
    inotify: true,
};

const POLLS_ONLY: Settings = Settings {
    settle: Duration::from_millis(500),
    poll: (Duration::from_millis(10), Duration::from_millis(10)),
    inotify: false,
};

fn folder(root: &Path) -> Folder {
    Folder::new(root).gone_after(Duration::ZERO)
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn rename_over(root: &Path, name: &str, text: &str) {
    let aside = root.join(format!(".{}.new", name.replace('/', "_")));
    fs::write(&aside, text).unwrap();
    fs::rename(aside, root.join(name)).unwrap();
}

/// `+name=text` changed, `!name` unreadable, `-name` gone.
fn news(root: &Path, scan: &Scan) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    let changed = scan.changed.iter().map(|change| match &change.held {
        Held::Text { text, .. } => format!("+{}={text}", name(&change.path)),
        Held::Unreadable(_) => format!("!{}", name(&change.path)),
    });
    changed.chain(scan.gone.iter().map(|path| format!("-{}", name(path)))).collect()
}

fn messages(scan: &Scan) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    scan.problems.iter().map(|p| format!("{} {}: {}", p.severity.as_str(), name(&p.file), p.message)).collect()
}

// ---- scan ----------------------------------------------------------------------------------------------------------

#[test]
fn the_first_scan_tells_every_file_and_the_next_only_what_changed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    write(root, "teams/b.yml", "2");
    let mut folder = folder(root);
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["+a.yaml=1", "+teams/b.yml=2"]);
    assert!(scan.complete && scan.is_sound());

    write(root, "a.yaml", "3");
    fs::remove_file(root.join("teams/b.yml")).unwrap();
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["+a.yaml=3", "-teams/b.yml"]);
    assert!(!scan.complete);

    let scan = folder.scan(Verify::All);
    assert!(!scan.is_news() && !scan.stirred);
}

#[test]
fn a_touched_file_stirs_but_is_not_changed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    let mut folder = folder(root);
    folder.scan(Verify::None);
    rename_over(root, "a.yaml", "1");
    let scan = folder.scan(Verify::None);
    assert!(scan.stirred && !scan.is_news());
}

#[test]
fn the_same_size_and_mtime_do_not_hide_a_change() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "scopes: [read]");
    let modified = fs::metadata(root.join("a.yaml")).unwrap().modified().unwrap();
    let mut folder = folder(root);
    folder.scan(Verify::None);
    write(root, "a.yaml", "scopes: [none]");
    fs::File::options().write(true).open(root.join("a.yaml")).unwrap().set_modified(modified).unwrap();
    assert_eq!(news(root, &folder.scan(Verify::None)), ["+a.yaml=scopes: [none]"]);
}

#[test]
fn every_write_is_seen_even_within_one_tick_of_the_clock() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut folder = folder(root);
    for round in 0..500 {
        let text = format!("{round:03}");
        write(root, "a.yaml", &text);
        assert_eq!(news(root, &folder.scan(Verify::None)), [format!("+a.yaml={text}")]);
    }
}

#[test]
fn deleting_the_last_file_leaves_an_empty_folder_and_losing_the_folder_does_not() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("policies");
    write(&root, "a.yaml", "1");
    let mut folder = folder(&root);
    folder.scan(Verify::None);

    fs::rename(&root, root.with_extension("away")).unwrap();
    let scan = folder.scan(Verify::None);
    assert!(!scan.is_news() && !scan.is_sound());
    assert_eq!(scan.untold, Some(Untold::Io(std::io::ErrorKind::NotFound)));
    assert_eq!(messages(&scan), ["error policies: is not there"]);
    assert_eq!(scan.files, 1);

    fs::rename(root.with_extension("away"), &root).unwrap();
    let scan = folder.scan(Verify::None);
    assert!(!scan.is_news() && scan.is_sound() && scan.problems.is_empty());

    fs::remove_file(root.join("a.yaml")).unwrap();
    let scan = folder.scan(Verify::None);
    assert_eq!(news(&root, &scan), ["-a.yaml"]);
    assert!(scan.is_sound() && scan.files == 0);
}

#[test]
fn a_file_in_place_of_the_folder_is_not_an_empty_folder() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("policies");
    fs::write(&root, "1").unwrap();
    assert!(folder(&root).scan(Verify::None).untold.is_some());
}

#[test]
fn what_cannot_be_read_is_unreadable_and_never_gone() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["bytes", "folder", "large", "link", "pipe"] {
        write(root, &format!("{name}.yaml"), "1");
    }
    let mut folder = folder(root);
    folder.scan(Verify::None);
    fs::write(root.join("bytes.yaml"), b"a\xff").unwrap();
    fs::remove_file(root.join("folder.yaml")).unwrap();
    fs::create_dir(root.join("folder.yaml")).unwrap();
    fs::File::create(root.join("large.yaml")).unwrap().set_len((8 << 20) + 1).unwrap();
    fs::remove_file(root.join("link.yaml")).unwrap();
    symlink("nowhere", root.join("link.yaml")).unwrap();
    fs::remove_file(root.join("pipe.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("pipe.yaml")).unwrap();
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["!bytes.yaml", "!folder.yaml", "!large.yaml", "!link.yaml", "!pipe.yaml"]);
    assert_eq!(
        messages(&scan),
        [
            "error bytes.yaml: the file is not UTF-8 (byte 1)",
            "error folder.yaml: the file is a folder, not a file",
            "error large.yaml: the file is larger than 8388608 bytes",
            "error link.yaml: the file cannot be read: entity not found",
            "error pipe.yaml: the file is a socket, not a file",
        ]
    );
    assert!(!scan.is_sound() && scan.unreadable == 5);
    assert!(!folder.scan(Verify::None).is_news(), "a fault is told once");

    write(root, "bytes.yaml", "1");
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["+bytes.yaml=1"], "readable again is told, with the text it had before");
    assert_eq!(scan.unreadable, 4);
}

#[test]
fn a_file_without_permission_is_unreadable() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    let mut folder = folder(root);
    folder.scan(Verify::None);
    fs::set_permissions(root.join("a.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(root.join("a.yaml")).is_ok() {
        eprintln!("skipped: this user reads files without permission (root)");
        return;
    }
    let scan = folder.scan(Verify::None);
    assert_eq!(
        scan.changed.first().map(|change| &change.held),
        Some(&Held::Unreadable(Unreadable::Io(std::io::ErrorKind::PermissionDenied)))
    );
    assert!(scan.gone.is_empty());
}

#[test]
fn other_files_are_warned_about_and_dot_files_are_not_entered() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in [".git/x.yaml", ".a.yaml.swp", "4913", "a.yaml~", "README.md", "a.yaml"] {
        write(root, name, "1");
    }
    let scan = folder(root).scan(Verify::None);
    assert_eq!(news(root, &scan), ["+a.yaml=1"]);
    let mut told = messages(&scan);
    told.sort();
    let ignored = "is not read: only *.yaml and *.yml are";
    assert_eq!(told, ["4913", "README.md", "a.yaml~"].map(|name| format!("warning {name}: {ignored}")));
    assert!(scan.is_sound(), "a warning does not keep the folder from settling");
}

#[test]
fn links_out_are_followed_and_cycles_end() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("policies");
    write(base.path(), "shared/s.yaml", "1");
    write(&root, "teams/a.yaml", "2");
    symlink(base.path().join("shared/s.yaml"), root.join("s.yaml")).unwrap();
    symlink("..", root.join("teams/up")).unwrap();
    let mut folder = folder(&root);
    let scan = folder.scan(Verify::None);
    assert_eq!(news(&root, &scan), ["+s.yaml=1", "+teams/a.yaml=2"]);
    assert_eq!(messages(&scan), ["warning up: leads to a folder that is read already and is not read again"]);
    write(base.path(), "shared/s.yaml", "3");
    assert_eq!(news(&root, &folder.scan(Verify::None)), ["+s.yaml=3"]);
}

#[test]
fn a_tree_that_is_too_deep_is_an_error_and_not_whole() {
    let root = tempfile::tempdir().unwrap();
    let deep: PathBuf = (0..17).map(|level| level.to_string()).collect();
    write(root.path(), &deep.join("a.yaml").display().to_string(), "1");
    let scan = folder(root.path()).scan(Verify::None);
    assert_eq!(messages(&scan), ["error 16: lies more than 16 folders deep and is not read"]);
    assert!(!scan.is_sound() && !scan.is_news());
}

#[test]
fn a_file_that_is_missed_for_a_moment_is_not_gone() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    let mut folder = Folder::new(root).gone_after(Duration::from_secs(3600));
    folder.scan(Verify::None);
    fs::rename(root.join("a.yaml"), root.join("a.yaml~")).unwrap();
    let scan = folder.scan(Verify::None);
    assert!(!scan.is_news() && scan.in_flux && !scan.is_sound());
    write(root, "a.yaml", "2");
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["+a.yaml=2"]);
    assert!(!scan.in_flux);
}

#[test]
fn after_forgetting_everything_is_told_anew() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    fs::create_dir(root.join("b.yaml")).unwrap();
    let mut folder = folder(root);
    folder.scan(Verify::None);
    folder.forget();
    let scan = folder.scan(Verify::None);
    assert_eq!(news(root, &scan), ["+a.yaml=1", "!b.yaml"]);
    assert!(scan.complete);
}

// ---- Kubernetes ----------------------------------------------------------------------------------------------------

/// A volume as the kubelet's AtomicWriter lays it out and updates it.
struct Volume {
    root: PathBuf,
    generation: u32,
}

impl Volume {
    fn new(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        Self { root, generation: 0 }
    }

    fn publish(&mut self, files: &[(&str, &str)]) {
        let before = (self.generation > 0).then(|| format!("..2026_11_22_{}", self.generation));
        self.generation += 1;
        let name = format!("..2026_11_22_{}", self.generation);
        for (file, text) in files {
            write(&self.root, &format!("{name}/{file}"), text);
        }
        symlink(&name, self.root.join("..data_tmp")).unwrap();
        fs::rename(self.root.join("..data_tmp"), self.root.join("..data")).unwrap();
        let tops = |files: &[(&str, &str)]| -> Vec<String> {
            files.iter().map(|(file, _)| file.split('/').next().unwrap_or_default().to_owned()).collect()
        };
        let wanted = tops(files);
        for top in &wanted {
            let link = self.root.join(top);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(top), link).unwrap();
            }
        }
        for entry in fs::read_dir(&self.root).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("..") && !wanted.contains(&name) {
                fs::remove_file(self.root.join(name)).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(self.root.join(before)).unwrap();
        }
    }
}

#[test]
fn a_kubernetes_volume_is_read_once_through_its_links() {
    let root = tempfile::tempdir().unwrap();
    let mut volume = Volume::new(root.path().join("v"));
    volume.publish(&[("a.yaml", "1"), ("b.yaml", "1"), ("sub/c.yaml", "1")]);
    let root = volume.root.clone();
    let mut folder = folder(&root);
    let scan = folder.scan(Verify::None);
    assert_eq!(news(&root, &scan), ["+a.yaml=1", "+b.yaml=1", "+sub/c.yaml=1"]);
    assert!(scan.is_sound() && scan.problems.is_empty());

    volume.publish(&[("a.yaml", "2"), ("d.yaml", "2"), ("sub/c.yaml", "1")]);
    assert_eq!(news(&root, &folder.scan(Verify::None)), ["+a.yaml=2", "+d.yaml=2", "-b.yaml"]);
}

#[test]
fn two_generations_of_a_volume_are_never_mixed() {
    let root = tempfile::tempdir().unwrap();
    let mut volume = Volume::new(root.path().join("v"));
    let names: Vec<String> = (0..40).map(|index| format!("{index:02}.yaml")).collect();
    let publish = |volume: &mut Volume, text: &str| {
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text)).collect();
        volume.publish(&files);
    };
    publish(&mut volume, "0");
    let root = volume.root.clone();
    let mut folder = Folder::new(&root);
    let writer = std::thread::spawn(move || {
        for generation in 1..=200 {
            let files: Vec<String> = vec![generation.to_string()];
            let names: Vec<String> = (0..40).map(|index| format!("{index:02}.yaml")).collect();
            let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), files[0].as_str())).collect();
            volume.publish(&files);
        }
    });
    let mut held: BTreeMap<PathBuf, String> = BTreeMap::new();
    let deadline = Instant::now() + DEADLINE * 3;
    let mut generations = 0;
    while held.values().next().is_none_or(|text| text != "200") {
        assert!(Instant::now() < deadline);
        let scan = folder.scan(Verify::None);
        generations += usize::from(scan.is_news());
        for change in &scan.changed {
            let Held::Text { text, .. } = &change.held else { panic!("{change:?} with {:?}", messages(&scan)) };
            held.insert(change.path.to_path_buf(), text.to_string());
        }
        assert!(scan.gone.is_empty());
        let mut texts: Vec<&String> = held.values().collect();
        texts.dedup();
        assert!(texts.len() <= 1 && (held.is_empty() || held.len() == 40), "{texts:?}");
    }
    writer.join().unwrap();
    assert!(generations > 0);
}

// ---- watch ---------------------------------------------------------------------------------------------------------

struct Watcher {
    root: PathBuf,
    seen: Receiver<Seen>,
    held: BTreeMap<String, String>,
    watching: Watching,
}

impl Watcher {
    fn start(root: &Path, settings: Settings) -> Self {
        let (send, seen) = channel();
        let watching = spawn(Folder::new(root), settings, move |seen| drop(send.send(seen))).unwrap();
        Self { root: root.to_path_buf(), seen, held: BTreeMap::new(), watching }
    }

    /// The next look; what it told is taken over.
    fn next(&mut self) -> Seen {
        let seen = self.seen.recv_timeout(DEADLINE).expect("the watcher looks again");
        if seen.scan.complete {
            self.held.clear();
        }
        for news in news(&self.root, &seen.scan) {
            match (news.split_at(1), news[1..].split_once('=')) {
                (("+", _), Some((name, text))) => drop(self.held.insert(name.to_owned(), text.to_owned())),
                (("!", name), _) => drop(self.held.insert(name.to_owned(), "unreadable".to_owned())),
                ((_, name), _) => drop(self.held.remove(name)),
            }
        }
        seen
    }

    fn until(&mut self, what: &str, mut reached: impl FnMut(&Seen, &BTreeMap<String, String>) -> bool) -> Seen {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.next();
            if reached(&seen, &self.held) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{what}: {:?} {:?}", self.held, seen.scan);
        }
    }

    fn holds(&mut self, files: &[(&str, &str)]) -> Seen {
        let wanted: BTreeMap<String, String> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        self.until(&format!("{files:?}"), |_, held| *held == wanted)
    }

    fn settles(&mut self) -> Seen {
        self.until("settled", |seen, _| seen.settled)
    }
}

/// Each of these must be noticed by inotify alone, and by polling alone.
fn both_ways(case: impl Fn(&Path, Settings)) {
    for settings in [HINTS_ONLY, POLLS_ONLY] {
        let base = tempfile::tempdir().unwrap();
        case(base.path(), settings);
    }
}

#[test]
fn edits_renames_new_folders_and_deletions_are_noticed() {
    both_ways(|base, settings| {
        let root = base.join("policies");
        write(&root, "a.yaml", "1");
        let mut watcher = Watcher::start(&root, settings);
        watcher.holds(&[("a.yaml", "1")]);
        write(&root, "a.yaml", "2");
        watcher.holds(&[("a.yaml", "2")]);
        rename_over(&root, "a.yaml", "3");
        watcher.holds(&[("a.yaml", "3")]);
        write(&root, "teams/x/b.yaml", "4");
        watcher.holds(&[("a.yaml", "3"), ("teams/x/b.yaml", "4")]);
        write(&root, "teams/x/b.yaml", "5");
        watcher.holds(&[("a.yaml", "3"), ("teams/x/b.yaml", "5")]);
        fs::rename(root.join("teams"), root.join("groups")).unwrap();
        watcher.holds(&[("a.yaml", "3"), ("groups/x/b.yaml", "5")]);
        rename_over(&root, "groups/x/b.yaml", "6");
        watcher.holds(&[("a.yaml", "3"), ("groups/x/b.yaml", "6")]);
        fs::remove_dir_all(root.join("groups")).unwrap();
        watcher.holds(&[("a.yaml", "3")]);
        fs::remove_file(root.join("a.yaml")).unwrap();
        watcher.holds(&[]);
        watcher.settles();
    });
}

#[test]
fn saving_as_vim_does_takes_nothing_away_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "0");
    let mut watcher = Watcher::start(root, HINTS_ONLY);
    watcher.holds(&[("a.yaml", "0")]);
    for round in 1..=20 {
        let text = round.to_string();
        write(root, "4913", "");
        fs::remove_file(root.join("4913")).unwrap();
        fs::rename(root.join("a.yaml"), root.join("a.yaml~")).unwrap();
        // Written beside and linked in, so that no look finds it empty: what is tested is the gap before.
        write(root, ".whole", &text);
        fs::rename(root.join(".whole"), root.join("a.yaml")).unwrap();
        fs::remove_file(root.join("a.yaml~")).unwrap();
        watcher.until("saved", |seen, held| {
            assert!(seen.scan.gone.is_empty());
            held["a.yaml"] == text
        });
    }
}

#[test]
fn a_swapped_volume_is_noticed_as_a_whole() {
    both_ways(|base, settings| {
        let mut volume = Volume::new(base.join("v"));
        volume.publish(&[("a.yaml", "1"), ("b.yaml", "1")]);
        let mut watcher = Watcher::start(&volume.root.clone(), settings);
        watcher.holds(&[("a.yaml", "1"), ("b.yaml", "1")]);
        for round in 2..6 {
            let text = round.to_string();
            volume.publish(&[("a.yaml", &text), ("b.yaml", &text)]);
            watcher.until("swapped", |_, held| {
                assert_eq!(held["a.yaml"], held["b.yaml"]);
                held["a.yaml"] == text
            });
        }
        volume.publish(&[("a.yaml", "6")]);
        watcher.holds(&[("a.yaml", "6")]);
        watcher.settles();
    });
}

#[test]
fn a_folder_replaced_removed_or_made_again_is_followed() {
    both_ways(|base, settings| {
        let root = base.join("policies");
        write(&root, "a.yaml", "1");
        let mut watcher = Watcher::start(&root, settings);
        watcher.holds(&[("a.yaml", "1")]);

        write(base, "next/a.yaml", "2");
        fs::rename(&root, base.join("old")).unwrap();
        fs::rename(base.join("next"), &root).unwrap();
        watcher.holds(&[("a.yaml", "2")]);
        write(&root, "a.yaml", "3");
        watcher.holds(&[("a.yaml", "3")]);

        fs::rename(&root, base.join("older")).unwrap();
        let seen = watcher.until("lost", |seen, _| seen.scan.untold.is_some());
        assert_eq!((seen.scan.files, seen.settled), (1, false));
        for round in 4..8 {
            let _ = fs::remove_dir_all(&root);
            write(&root, "a.yaml", &round.to_string());
            watcher.holds(&[("a.yaml", &round.to_string())]);
            write(&root, "a.yaml", &(round * 10).to_string());
            watcher.holds(&[("a.yaml", &(round * 10).to_string())]);
        }
        watcher.settles();
    });
}

#[test]
fn a_folder_that_comes_later_with_its_parents_is_found() {
    both_ways(|base, settings| {
        let root = base.join("mount/git/policies");
        let mut watcher = Watcher::start(&root, settings);
        assert!(watcher.next().scan.untold.is_some());
        write(&root, "a.yaml", "1");
        watcher.holds(&[("a.yaml", "1")]);
        write(&root, "a.yaml", "2");
        watcher.holds(&[("a.yaml", "2")]);
    });
}

#[test]
fn a_replaced_parent_is_followed() {
    both_ways(|base, settings| {
        let root = base.join("git/policies");
        write(&root, "a.yaml", "1");
        let mut watcher = Watcher::start(&root, settings);
        watcher.holds(&[("a.yaml", "1")]);
        fs::rename(base.join("git"), base.join("old")).unwrap();
        watcher.until("lost", |seen, _| seen.scan.untold.is_some());
        write(&root, "a.yaml", "2");
        watcher.holds(&[("a.yaml", "2")]);
    });
}

#[test]
fn a_linked_file_that_is_edited_where_it_lies_is_noticed() {
    both_ways(|base, settings| {
        let root = base.join("policies");
        write(base, "shared/s.yaml", "1");
        fs::create_dir(&root).unwrap();
        symlink("../shared/s.yaml", root.join("s.yaml")).unwrap();
        let mut watcher = Watcher::start(&root, settings);
        watcher.holds(&[("s.yaml", "1")]);
        rename_over(&base.join("shared"), "s.yaml", "2");
        watcher.holds(&[("s.yaml", "2")]);
    });
}

#[test]
fn a_file_written_without_end_hides_no_deletion() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "a.yaml", "1");
    write(root, "busy.yaml", "1");
    let mut watcher = Watcher::start(root, HINTS_ONLY);
    watcher.settles();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !done.load(Ordering::Relaxed) && start.elapsed() < DEADLINE * 2 {
                write(root, "busy.yaml", "1");
                write(root, "busy.yaml", "12");
            }
        });
        fs::remove_file(root.join("a.yaml")).unwrap();
        watcher.until("gone", |seen, held| {
            assert!(!seen.settled);
            !held.contains_key("a.yaml")
        });
        done.store(true, Ordering::Relaxed);
    });
    watcher.settles();
}

#[test]
fn a_link_on_the_way_that_is_turned_is_followed() {
    both_ways(|base, settings| {
        write(base, "rev1/policies/a.yaml", "1");
        write(base, "rev2/policies/a.yaml", "2");
        symlink("rev1", base.join("current")).unwrap();
        let mut watcher = Watcher::start(&base.join("current/policies"), settings);
        watcher.holds(&[("a.yaml", "1")]);
        symlink("rev2", base.join(".turn")).unwrap();
        fs::rename(base.join(".turn"), base.join("current")).unwrap();
        watcher.holds(&[("a.yaml", "2")]);
        write(base, "rev2/policies/a.yaml", "3");
        watcher.holds(&[("a.yaml", "3")]);
    });
}

#[test]
fn a_file_in_place_of_which_stands_a_folder_comes_back() {
    both_ways(|base, settings| {
        write(base, "a.yaml", "1");
        let mut watcher = Watcher::start(base, settings);
        watcher.holds(&[("a.yaml", "1")]);
        fs::remove_file(base.join("a.yaml")).unwrap();
        fs::create_dir(base.join("a.yaml")).unwrap();
        let seen = watcher.holds(&[("a.yaml", "unreadable")]);
        assert!(!seen.settled && !seen.scan.is_sound());
        fs::remove_dir(base.join("a.yaml")).unwrap();
        write(base, "a.yaml", "2");
        watcher.holds(&[("a.yaml", "2")]);
        watcher.settles();
    });
}

#[test]
fn a_file_written_in_two_parts_settles_only_after_the_second() {
    both_ways(|base, settings| {
        write(base, "a.yaml", "0");
        let mut watcher = Watcher::start(base, settings);
        watcher.settles();
        write(base, "a.yaml", "1");
        let first = watcher.until("first part", |_, held| held["a.yaml"] == "1");
        assert!(!first.settled, "in force at once, settled later");
        // On a machine that stands still for longer, the first part settles rightly.
        let too_soon = |seen: &Seen| seen.settled && seen.began < first.began + first.took + settings.settle;
        // The pause between the two writes is what is tested: it must be shorter than `settle`.
        let pause = Instant::now() + Duration::from_millis(200);
        while Instant::now() < pause {
            if let Ok(seen) = watcher.seen.recv_timeout(pause.saturating_duration_since(Instant::now())) {
                assert!(!too_soon(&seen));
            }
        }
        let second_written = Instant::now();
        write(base, "a.yaml", "12");
        watcher.until("second part", |seen, held| {
            assert!(!too_soon(seen));
            held["a.yaml"] == "12"
        });
        watcher.settles();
        assert!(second_written.elapsed() >= Duration::from_millis(500));
    });
}

#[test]
fn a_consumer_that_panics_is_told_everything_again() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.yaml", "1");
    let (send, seen) = channel();
    let mut first = true;
    let watching = spawn(Folder::new(root.path()), POLLS_ONLY, move |look| {
        assert!(!std::mem::take(&mut first), "the consumer's own bug");
        drop(send.send(look));
    })
    .unwrap();
    let look = seen.recv_timeout(DEADLINE).unwrap();
    assert!(look.scan.complete);
    assert_eq!(news(root.path(), &look.scan), ["+a.yaml=1"]);
    drop(watching);
    assert!(seen.recv_timeout(DEADLINE).is_err() || seen.recv_timeout(DEADLINE).is_err(), "dropping ends the loop");
}

#[test]
fn a_hint_by_hand_makes_it_look() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings { inotify: false, ..HINTS_ONLY };
    write(root.path(), "a.yaml", "1");
    let mut watcher = Watcher::start(root.path(), settings);
    watcher.settles();
    write(root.path(), "a.yaml", "2");
    watcher.watching.hints().tree();
    watcher.holds(&[("a.yaml", "2")]);
}

// ---- cost ----------------------------------------------------------------------------------------------------------

#[test]
#[ignore = "a measurement: cargo test --release --test it folder -- --ignored --nocapture"]
fn latency_of_a_swapped_volume() {
    let base = tempfile::tempdir().unwrap();
    let mut volume = Volume::new(base.path().join("v"));
    let names: Vec<String> = (0..10_000).map(|index| format!("app-{index:05}.yaml")).collect();
    let grant = "grant: something to read\n".repeat(80);
    let publish = |volume: &mut Volume, round: usize| {
        let changed = format!("{grant}{round}");
        let texts = names.iter().enumerate();
        let files: Vec<(&str, &str)> = texts
            .map(|(index, name)| (name.as_str(), if index % 10 == 0 { changed.as_str() } else { grant.as_str() }))
            .collect();
        volume.publish(&files);
    };
    publish(&mut volume, 0);
    let mut folder = Folder::new(&volume.root);
    folder.scan(Verify::None);
    publish(&mut volume, 1);
    let start = Instant::now();
    let scan = folder.scan(Verify::None);
    eprintln!("swap of 10000 files: {} changed, told after {:?}", scan.changed.len(), start.elapsed());
    let start = Instant::now();
    folder.scan(Verify::None);
    eprintln!("poll of 10000 links: {:?}", start.elapsed());
}

#[test]
#[ignore = "a measurement: cargo test --release --test it folder -- --ignored --nocapture"]
fn cost_of_polling_and_latency_of_a_rename() {
    for files in [1_000, 10_000] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for index in 0..files {
            write(root, &format!("app-{index:05}.yaml"), &"grant: something to read\n".repeat(80));
        }
        let mut folder = Folder::new(root);
        let cold = Instant::now();
        folder.scan(Verify::None);
        let cold = cold.elapsed();
        let timed = |folder: &mut Folder, verify| {
            let mut times: Vec<Duration> = (0..9)
                .map(|_| {
                    let start = Instant::now();
                    folder.scan(verify);
                    start.elapsed()
                })
                .collect();
            times.sort();
            times[4]
        };
        let (poll, all) = (timed(&mut folder, Verify::None), timed(&mut folder, Verify::All));
        let mut watcher = Watcher::start(root, Settings::default());
        watcher.settles();
        let mut latencies: Vec<Duration> = (0..200)
            .map(|round| {
                let text = format!("{round}");
                let name = format!("app-{:05}.yaml", round * 7 % files);
                let aside = root.join(".new");
                fs::write(&aside, &text).unwrap();
                let start = Instant::now();
                fs::rename(aside, root.join(&name)).unwrap();
                watcher.until("renamed", |_, held| held[&name] == text);
                start.elapsed()
            })
            .collect();
        latencies.sort();
        eprintln!(
            "{files} files: first read {cold:?}, poll {poll:?}, all contents {all:?}; \
             renamed over → told: p50 {:?} p99 {:?}",
            latencies[100], latencies[197]
        );
    }
}
