//! Looking at the folder again and again, reading only what may have changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ledger::{Changes, Ledger};
use super::look::{self, Look};
use super::read::Unreadable;
use super::walk::{self, Directory, Root, Untold, Walk};
use super::{Digest, FILES_MAX, GONE_AFTER, Scan};
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
    ledger: Ledger,
    /// Folders entered, from where they really are to how they are shown.
    directories: HashMap<PathBuf, Directory>,
    /// Folders outside, in which files lie that links lead to.
    linked: Vec<PathBuf>,
    /// Grows when `directories` or `linked` changed, so that a watcher knows when to arm anew.
    layout: u64,
    swapped_whole: bool,
    read: Option<Root>,
    untold: Option<Untold>,
    closed: usize,
    /// What the last walk found wrong.
    tree_problems: Vec<Problem>,
    problems: Arc<[Problem]>,
    /// Every file was reported since the last [`Folder::forget`].
    told: bool,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            ledger: Ledger::new(GONE_AFTER),
            directories: HashMap::new(),
            linked: Vec::new(),
            layout: 0,
            swapped_whole: false,
            read: None,
            untold: None,
            closed: 0,
            tree_problems: Vec::new(),
            problems: Arc::from([]),
            told: false,
        }
    }

    /// See [`GONE_AFTER`].
    pub fn gone_after(mut self, gone_after: Duration) -> Self {
        self.ledger.gone_after = gone_after;
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn len(&self) -> usize {
        self.ledger.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ledger.len() == 0
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
        self.ledger.digests()
    }

    /// The next scan reports every file as changed, with its text. For whoever lost what was reported.
    pub fn forget(&mut self) {
        self.ledger.forget();
        self.told = false;
    }

    /// Looks at the whole folder.
    pub fn scan(&mut self, verify: Verify) -> Scan {
        for _ in 0..GENERATION_TRIES {
            let walk = match walk::walk(&self.root) {
                Ok(walk) => walk,
                Err(untold) => return self.cannot_tell(untold),
            };
            let wanted = self.ledger.wanted(&walk, verify);
            let looks = wanted.into_iter().map(|found| {
                let look = self.ledger.slim(&found.shown, look::look(found));
                (found.shown.clone(), look)
            });
            let looks: Vec<(PathBuf, Look)> = looks.collect();
            if walk.generation.still_is(&self.root) {
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
        if self.ledger.len() + found.len() > FILES_MAX {
            return Hinted::Tree;
        }
        let mut changes = Changes::default();
        for (shown, real) in found {
            self.ledger.note(&shown, look::look_by_path(real), &mut changes);
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

    /// Takes over what a walk and the reading after it found.
    fn accept(&mut self, walk: Walk, looks: Vec<(PathBuf, Look)>) -> Scan {
        let mut changes = Changes { in_flux: walk.in_flux, ..Changes::default() };
        for (shown, look) in looks {
            self.ledger.note(&shown, look, &mut changes);
        }
        self.ledger.miss(&walk, &mut changes);
        changes.in_flux |= walk.directories_moved();
        self.untold = None;
        self.read = Some(walk.generation.folder());
        self.closed = walk.closed.len();
        self.swapped_whole = walk.generation.is_swapped_whole();
        let last_change = walk.last_change;
        self.take_layout(walk, changes.stirred);
        let complete = !std::mem::replace(&mut self.told, true);
        Scan { complete, ..self.scanned(changes, true, last_change) }
    }

    fn take_layout(&mut self, walk: Walk, stirred: bool) {
        self.tree_problems = walk.problems.clone();
        if walk.others_unnamed() > 0 {
            let message = format!("{} more files are not read: only *.yaml and *.yml are", walk.others_unnamed());
            self.tree_problems.push(Problem::warning(&file_name(&*self.root), At::default(), message));
        }
        // Following thousands of links costs more than the walk; they lead elsewhere only when some stamp moved.
        let linked = if stirred { look::linked_folders(&walk) } else { self.linked.clone() };
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
            root: self.read,
            files: self.ledger.len(),
            unreadable: self.ledger.faulty().len() + self.closed,
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
        let faults = self.ledger.faulty().iter().filter(|(_, fault)| !matches!(fault, Unreadable::FolderClosed(_)));
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
