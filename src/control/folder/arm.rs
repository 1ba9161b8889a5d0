//! Arming inotify on the folders where a change can be seen. What it tells are hints: they wake, they prove nothing.
//!
//! Folders are watched one by one, never recursively, and all watches are made anew when the tree changed: a watch
//! follows the inode, not the name, so one that was made before a folder was replaced watches the wrong one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::hints::Hints;

/// What to watch.
#[derive(Debug, Default, Clone)]
pub struct Targets {
    folders: HashMap<PathBuf, Kind>,
    /// Names above the root: when one of them comes or goes, the folder is another one.
    names: HashSet<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A folder of the tree: an event names a file in it.
    Tree,
    /// A folder that links lead to: an event may concern any file.
    Linked,
    /// A folder on the way to the root: only `names` matter in it.
    Above,
}

impl Targets {
    /// A folder in which each event names a file.
    pub fn tree(&mut self, folder: &Path) {
        self.folders.insert(folder.to_path_buf(), Kind::Tree);
    }

    /// A folder in which each event may concern everything.
    pub fn linked(&mut self, folder: &Path) {
        let kind = self.folders.entry(folder.to_path_buf()).or_insert(Kind::Linked);
        if *kind == Kind::Above {
            *kind = Kind::Linked;
        }
    }

    /// Every name on the way to `path` that could be replaced: links, the path itself, and where it really is.
    /// Of a path that is not there, the first name that is missing.
    pub fn way_to(&mut self, path: &Path) {
        let Ok(absolute) = std::path::absolute(path) else { return };
        self.name(&absolute);
        let mut on_the_way: Vec<&Path> = absolute.ancestors().collect();
        on_the_way.reverse();
        for name in on_the_way {
            match name.symlink_metadata() {
                Ok(found) if found.is_symlink() => self.name(name),
                Ok(_) => {}
                Err(_) => {
                    self.name(name);
                    break;
                }
            }
        }
        if let Ok(real) = std::fs::canonicalize(&absolute) {
            self.name(&real);
        }
    }

    /// A single file: wherever a change of it can be seen, through whatever links it is reached.
    pub fn file(&mut self, path: &Path) {
        self.way_to(path);
        let really = std::fs::canonicalize(path);
        for file in [Some(path), really.as_deref().ok()].into_iter().flatten() {
            if let Some(Ok(folder)) = file.parent().map(std::fs::canonicalize) {
                self.linked(&folder);
            }
        }
    }

    fn name(&mut self, name: &Path) {
        let Some(parent) = name.parent() else { return };
        // Events come by the path that was watched: the parent as it really is.
        let Ok(parent) = std::fs::canonicalize(parent) else { return };
        if let Some(last) = name.file_name() {
            self.names.insert(parent.join(last));
        }
        self.folders.entry(parent).or_insert(Kind::Above);
    }

    fn hint(&self, path: &Path) -> Hint {
        if self.names.contains(path) {
            return Hint::Rearm;
        }
        if self.folders.contains_key(path) {
            return Hint::Folder;
        }
        match path.parent().and_then(|parent| self.folders.get(parent)) {
            Some(Kind::Tree) => Hint::File,
            Some(Kind::Linked) => Hint::Tree,
            Some(Kind::Above) | None => Hint::Nothing,
        }
    }
}

enum Hint {
    Nothing,
    File,
    Tree,
    /// Something about a watched folder itself.
    Folder,
    Rearm,
}

/// Watches that are armed until dropped.
#[derive(Debug)]
pub struct Armed {
    _watcher: RecommendedWatcher,
}

/// Arms all targets; hints go to `hints`. With the first thing that went wrong, if any: the rest is armed then.
pub fn arm(targets: &Targets, hints: &Arc<Hints>) -> (Option<Armed>, Option<String>) {
    let (known, hints) = (targets.clone(), Arc::clone(hints));
    let handler = move |event: notify::Result<notify::Event>| match event {
        Ok(event) => pass_on(&event, &known, &hints),
        Err(_) => hints.rearm(),
    };
    let mut watcher = match notify::recommended_watcher(handler) {
        Ok(watcher) => watcher,
        Err(error) => return (None, Some(error.to_string())),
    };
    let mut fault = None;
    for folder in targets.folders.keys() {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            let is_limit = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
            fault.get_or_insert_with(|| error.to_string());
            if is_limit {
                break;
            }
        }
    }
    (Some(Armed { _watcher: watcher }), fault)
}

fn pass_on(event: &notify::Event, targets: &Targets, hints: &Hints) {
    if event.need_rescan() {
        return hints.tree();
    }
    // Our own reading opens files, which is told too.
    if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
        return;
    }
    let moved =
        matches!(event.kind, EventKind::Remove(_) | EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)));
    for path in &event.paths {
        match targets.hint(path) {
            Hint::Nothing => {}
            Hint::File => hints.path(path),
            Hint::Tree => hints.tree(),
            // The watch went with the folder, even if another one has its name and inode by now.
            Hint::Folder | Hint::Rearm if moved => hints.rearm(),
            Hint::Folder | Hint::Rearm => hints.tree(),
        }
    }
}
