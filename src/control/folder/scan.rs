//! Looking at the folder again and again, reading only what may have changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};

use super::read::{self, Reading, Stamp, Unreadable};
use super::walk::{self, Directory, Found, Untold, Walk};
use super::{Change, Digest, FILE_BYTES_MAX, FILES_MAX, GONE_AFTER, Held, Scan};
use crate::problem::{At, Problem, file_name};

/// How often a folder that is swapped while it is read is read again at once.
const GENERATION_TRIES: usize = 5;

/// Which files are read although their stamp says that they did not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// None but those whose stamp may hide a change.
    None,
    /// The next so many, in turn.
    Next(usize),
    All,
}

/// What a look at single files gave.
#[derive(Debug)]
pub enum Hinted {
    /// The hint concerned nothing that is read.
    Nothing,
    Scan(Scan),
    /// Only a look at the whole tree can tell.
    Tree,
}

/// A folder and what is known of it. Contents are not kept, digests are.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    gone_after: Duration,
    known: HashMap<Arc<Path>, Known>,
    /// The unreadable ones among `known`.
    faulty: BTreeMap<Arc<Path>, Unreadable>,
    /// Folders entered, from where they really are to how they are shown.
    directories: HashMap<PathBuf, Directory>,
    /// Folders outside, in which files lie that links lead to.
    linked: Vec<PathBuf>,
    /// Grows when `directories` or `linked` changed, so that a watcher knows when to arm anew.
    layout: u64,
    swapped_whole: bool,
    untold: Option<Untold>,
    closed: usize,
    /// What the last walk found wrong.
    tree_problems: Vec<Problem>,
    problems: Arc<[Problem]>,
    /// Every file was reported since the last [`Folder::forget`].
    told: bool,
    round: u64,
    /// Counts how often all files were verified.
    cycle: u64,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    /// `None`: unreadable.
    digest: Option<Digest>,
    racy: bool,
    missing_since: Option<Instant>,
    round: u64,
    cycle: u64,
}

/// What one file turned out to be.
#[derive(Debug)]
enum Look {
    Text {
        reading: Reading,
        digest: Digest,
        text: String,
    },
    /// With its stamp where the fault lies in what the file holds: then only a change can mend it.
    Fault(Unreadable, Option<Stamp>),
    Missing,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            gone_after: GONE_AFTER,
            known: HashMap::new(),
            faulty: BTreeMap::new(),
            directories: HashMap::new(),
            linked: Vec::new(),
            layout: 0,
            swapped_whole: false,
            untold: None,
            closed: 0,
            tree_problems: Vec::new(),
            problems: Arc::from([]),
            told: false,
            round: 0,
            cycle: 0,
        }
    }

    /// See [`GONE_AFTER`].
    pub fn gone_after(mut self, gone_after: Duration) -> Self {
        self.gone_after = gone_after;
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn layout(&self) -> u64 {
        self.layout
    }

    pub fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.directories.values()
    }

    pub fn linked(&self) -> &[PathBuf] {
        &self.linked
    }

    /// The readable files and what they hold, in no order: a digest over the folder is made of these.
    pub fn digests(&self) -> impl Iterator<Item = (&Arc<Path>, &Digest)> {
        self.known.iter().filter_map(|(path, known)| Some((path, known.digest.as_ref()?)))
    }

    /// The next scan reports every file as changed, with its text. For whoever lost what was reported.
    pub fn forget(&mut self) {
        for known in self.known.values_mut() {
            known.stamp = None;
            known.digest = None;
        }
        self.faulty.clear();
        self.told = false;
    }

    /// Looks at the whole folder.
    pub fn scan(&mut self, verify: Verify) -> Scan {
        for _ in 0..GENERATION_TRIES {
            self.round += 1;
            let walk = match walk::walk(&self.root) {
                Ok(walk) => walk,
                Err(untold) => return self.cannot_tell(untold),
            };
            let wanted = self.wanted(&walk, verify);
            let looks: Vec<_> = wanted.into_iter().map(|found| (found, look(found))).collect();
            if walk.generation.still_is(&self.root) {
                let looks = looks.into_iter().map(|(found, look)| (found.shown.clone(), look)).collect();
                return self.accept(walk, looks);
            }
        }
        // Swapped faster than it can be read: what was last read whole stands until it holds still.
        self.scanned(Changes { in_flux: true, stirred: true, ..Changes::default() }, true, SystemTime::now())
    }

    /// Looks at single files, named as a watcher names them: by where they really are.
    pub fn look_at(&mut self, paths: &[PathBuf]) -> Hinted {
        if self.swapped_whole || self.untold.is_some() || !self.told {
            return Hinted::Tree;
        }
        let mut found = Vec::new();
        for real in paths {
            match self.hinted(real) {
                Hint::Tree => return Hinted::Tree,
                Hint::Nothing => {}
                Hint::File(shown) => found.push((shown, real)),
            }
        }
        if found.is_empty() {
            return Hinted::Nothing;
        }
        if self.known.len() + found.len() > FILES_MAX {
            return Hinted::Tree;
        }
        let mut changes = Changes::default();
        for (shown, real) in found {
            self.note(&shown, look_by_path(real), &mut changes);
        }
        Hinted::Scan(self.scanned(changes, false, SystemTime::UNIX_EPOCH))
    }

    fn hinted(&self, real: &Path) -> Hint {
        let (Some(directory), Some(name)) = (real.parent(), real.file_name()) else { return Hint::Tree };
        let Some(directory) = self.directories.get(directory) else { return Hint::Tree };
        if walk::is_data_link(name) {
            return Hint::Tree;
        }
        if walk::is_hidden(name) {
            return Hint::Nothing;
        }
        if walk::is_policy_name(name) {
            return Hint::File(directory.shown.join(name));
        }
        // An editor's temporary file lives for a moment; one that stays is warned about by the next poll.
        let is_folder =
            self.directories.contains_key(real) || std::fs::metadata(real).is_ok_and(|found| found.is_dir());
        if is_folder { Hint::Tree } else { Hint::Nothing }
    }

    fn cannot_tell(&mut self, untold: Untold) -> Scan {
        self.untold = Some(untold);
        self.scanned(Changes::default(), true, SystemTime::now())
    }

    /// The files of a walk that have to be read. Marks all of them as seen in this round.
    fn wanted<'walk>(&mut self, walk: &'walk Walk, verify: Verify) -> Vec<&'walk Found> {
        let mut to_verify = match verify {
            Verify::None => 0,
            Verify::Next(count) => count,
            Verify::All => usize::MAX,
        };
        let mut wanted = Vec::new();
        for found in &walk.files {
            let Some(known) = self.known.get_mut(found.shown.as_path()) else {
                wanted.push(found);
                continue;
            };
            known.round = self.round;
            known.missing_since = None;
            let moved = known.racy || found.stamp.ok() != known.stamp || known.stamp.is_none();
            let in_turn = to_verify > 0 && known.cycle != self.cycle;
            if in_turn {
                known.cycle = self.cycle;
                to_verify -= 1;
            }
            if moved || in_turn || verify == Verify::All {
                wanted.push(found);
            }
        }
        if to_verify > 0 && verify != Verify::None {
            self.cycle += 1;
        }
        wanted
    }

    /// Takes over what a walk and the reading after it found.
    fn accept(&mut self, walk: Walk, looks: Vec<(PathBuf, Look)>) -> Scan {
        let mut changes = Changes { in_flux: walk.in_flux, ..Changes::default() };
        for (shown, look) in looks {
            self.note(&shown, look, &mut changes);
        }
        self.miss(&walk, &mut changes);
        changes.in_flux |= walk.directories_moved();
        self.untold = None;
        self.closed = walk.closed.len();
        self.swapped_whole = walk.generation.is_swapped_whole();
        let last_change = walk.last_change;
        self.take_layout(walk, changes.stirred);
        let complete = !std::mem::replace(&mut self.told, true);
        Scan { complete, ..self.scanned(changes, true, last_change) }
    }

    fn note(&mut self, shown: &Path, look: Look, changes: &mut Changes) {
        let (round, cycle) = (self.round, self.cycle);
        let (path, mut before) = match self.known.remove_entry(shown) {
            Some((path, known)) => (path, Some(known)),
            None => (Arc::from(shown), None),
        };
        let fresh = Known { stamp: None, digest: None, racy: false, missing_since: None, round, cycle };
        let now = match look {
            Look::Text { reading, digest, text } => {
                let same = before.as_ref().and_then(|known| known.digest) == Some(digest);
                changes.stirred |= !same || before.as_ref().and_then(|known| known.stamp) != Some(reading.stamp);
                changes.in_flux |= reading.in_flux;
                self.faulty.remove(&path);
                if !same {
                    changes.changed.push(Change { path: path.clone(), held: Held::Text { digest, text: text.into() } });
                }
                let stamp = (!reading.in_flux).then_some(reading.stamp);
                Known { stamp, digest: Some(digest), racy: reading.racy, ..fresh }
            }
            Look::Fault(fault, stamp) => {
                if before.is_none() || self.faulty.get(&path) != Some(&fault) {
                    changes.stirred = true;
                    self.faulty.insert(path.clone(), fault);
                    changes.changed.push(Change { path: path.clone(), held: Held::Unreadable(fault) });
                }
                Known { stamp, ..fresh }
            }
            Look::Missing => match before.take() {
                Some(known) => return self.missing(path, known, changes),
                None => return,
            },
        };
        self.known.insert(path, now);
    }

    /// A file that is not there. It is gone when it stays so; until then the folder is in flux.
    fn missing(&mut self, path: Arc<Path>, mut known: Known, changes: &mut Changes) {
        let now = Instant::now();
        let since = *known.missing_since.get_or_insert(now);
        changes.stirred = true;
        if now.saturating_duration_since(since) >= self.gone_after {
            self.faulty.remove(&path);
            changes.gone.push(path);
        } else {
            changes.in_flux = true;
            self.known.insert(path, known);
        }
    }

    /// What was known and not met in this walk.
    fn miss(&mut self, walk: &Walk, changes: &mut Changes) {
        let unmet = self.known.iter().filter(|(_, known)| known.round != self.round);
        let unmet: Vec<Arc<Path>> = unmet.map(|(path, _)| path.clone()).collect();
        if unmet.is_empty() {
            return;
        }
        let entered: HashSet<&Path> = walk.directories.iter().map(|directory| directory.shown.as_path()).collect();
        for path in unmet {
            let closed = walk.closed.iter().find(|(folder, _)| path.starts_with(folder));
            let is_there =
                || path.parent().is_some_and(|folder| entered.contains(folder)) && path.symlink_metadata().is_ok();
            match closed {
                Some((_, why)) => self.note(&path, Look::Fault(Unreadable::FolderClosed(*why), None), changes),
                // Renamed while the names were read: it will be met by the next walk.
                None if is_there() => changes.in_flux = true,
                None => self.note(&path, Look::Missing, changes),
            }
        }
    }

    fn take_layout(&mut self, walk: Walk, stirred: bool) {
        self.tree_problems = walk.problems.clone();
        if walk.others_unnamed() > 0 {
            let message = format!("{} more files are not read: only *.yaml and *.yml are", walk.others_unnamed());
            self.tree_problems.push(Problem::warning(&file_name(&*self.root), At::default(), message));
        }
        // Following thousands of links costs more than the walk; they lead elsewhere only when some stamp moved.
        let linked = if stirred { linked_folders(&walk) } else { self.linked.clone() };
        let same = walk.directories.len() == self.directories.len()
            && walk.directories.iter().all(|directory| self.directories.get(&directory.real) == Some(directory))
            && linked == self.linked;
        if !same {
            self.layout += 1;
            self.linked = linked;
            self.directories =
                walk.directories.into_iter().map(|directory| (directory.real.clone(), directory)).collect();
        }
    }

    fn scanned(&mut self, mut changes: Changes, whole_tree: bool, last_change: SystemTime) -> Scan {
        changes.changed.sort_by(|a, b| a.path.cmp(&b.path));
        changes.gone.sort();
        let problems = self.all_problems();
        if *problems != *self.problems {
            self.problems = problems.into();
        }
        Scan {
            changed: changes.changed,
            complete: false,
            gone: changes.gone,
            problems: self.problems.clone(),
            untold: self.untold,
            files: self.known.len(),
            unreadable: self.faulty.len() + self.closed,
            stirred: changes.stirred,
            in_flux: changes.in_flux,
            whole_tree,
            last_change,
        }
    }

    fn all_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(untold) = self.untold {
            let help = "the policy as it was last read stays in force";
            problems.push(Problem::error(&file_name(&*self.root), At::default(), untold.to_string()).help(help));
        }
        problems.extend(self.tree_problems.iter().cloned());
        let faults = self.faulty.iter().filter(|(_, fault)| !matches!(fault, Unreadable::FolderClosed(_)));
        problems.extend(faults.map(|(path, fault)| Problem::error(path, At::default(), format!("the file {fault}"))));
        problems
    }
}

/// What a hint is about.
enum Hint {
    Nothing,
    File(PathBuf),
    Tree,
}

#[derive(Debug, Default)]
struct Changes {
    changed: Vec<Change>,
    gone: Vec<Arc<Path>>,
    stirred: bool,
    in_flux: bool,
}

fn look(found: &Found) -> Look {
    match found.stamp {
        // Neither opened nor stamped: it is looked at again each time.
        Err(fault) => Look::Fault(fault, None),
        Ok(_) => look_by_path(&found.real),
    }
}

fn look_by_path(real: &Path) -> Look {
    let reading = match read::read(real, FILE_BYTES_MAX) {
        Ok(reading) => reading,
        // A link that leads nowhere is a file that cannot be read; no link either is no file.
        Err(Unreadable::Io(io::ErrorKind::NotFound)) if real.symlink_metadata().is_err() => return Look::Missing,
        Err(fault) => return Look::Fault(fault, None),
    };
    let digest = Sha256::digest(&reading.bytes).into();
    match String::from_utf8(reading.bytes) {
        Ok(text) => Look::Text { reading: Reading { bytes: Vec::new(), ..reading }, digest, text },
        Err(error) => {
            let stamp = (!reading.in_flux && !reading.racy).then_some(reading.stamp);
            Look::Fault(Unreadable::NotUtf8(error.utf8_error().valid_up_to()), stamp)
        }
    }
}

/// The folders in which the files lie that links lead to; inside the tree they are watched anyway. A link is followed
/// one step: a volume has thousands into one folder, and what lies behind further links is noticed by polling.
fn linked_folders(walk: &Walk) -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    for found in walk.files.iter().filter(|found| found.linked) {
        let target = std::fs::read_link(&found.real).ok();
        let target = target.zip(found.real.parent()).map(|(target, folder)| folder.join(target));
        folders.extend(target.as_deref().and_then(Path::parent).map(Path::to_path_buf));
    }
    let mut folders: Vec<PathBuf> = folders.iter().filter_map(|folder| std::fs::canonicalize(folder).ok()).collect();
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !walk.directories.iter().any(|directory| directory.real == *folder));
    folders
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn only_yaml_names_are_policy() {
        for (name, expected) in
            [("a.yaml", true), ("a.yml", true), ("a.yaml~", false), ("a.YAML", false), ("4913", false)]
        {
            assert_eq!(walk::is_policy_name(OsStr::new(name)), expected, "{name}");
        }
        assert!(walk::is_hidden(OsStr::new(".a.yaml.swp")));
    }
}
