//! Acts whose folder was deleted, moved away or replaced under a running gate. What takes away holds all the same (law 8), and is
//! written anew: into the folder that is there again, such as the one that the next command makes, or else into one that is
//! made for it after a moment, for the next start reads nothing else.
//!
//! An act whose file alone is removed is a `restore`, and is let go. A folder that is being deleted looks like many of these, so a
//! removal that gives waits until the folder stayed the same for `settle`, as all that gives does (law 7). Whoever takes an
//! act back through this gate says so, and waits for nothing.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acts::{Act, ActId};
use crate::control::folder::{Held, Root, Scan, Untold};
use crate::control::overrides::Overrides;

/// A folder that was moved away may be moved back within it: what is made in its place would be in the way.
const MADE_AFTER: Duration = Duration::from_secs(2);

/// What the acts said that were read.
pub(super) struct KeptActs {
    overrides: Option<Overrides>,
    texts: HashMap<Arc<Path>, Arc<str>>,
    /// The files of these are gone, and it is not known yet whether their folder goes too.
    going: HashSet<Arc<Path>>,
    /// Which folder was read last.
    root: Option<Root>,
    /// The folder is gone, or was when it was last looked at.
    deleted: Option<Instant>,
    /// Why they cannot be written anew. Told once.
    trouble: Option<String>,
}

/// What a look means for acts whose files are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spared {
    /// They hold all the same.
    pub(super) spared: HashSet<Arc<Path>>,
    /// They held until now.
    pub(super) let_go: Vec<Arc<Path>>,
}

impl KeptActs {
    pub(super) fn new(overrides: Option<&PathBuf>) -> Self {
        Self {
            overrides: overrides.map(Overrides::new),
            texts: HashMap::new(),
            going: HashSet::new(),
            root: None,
            deleted: None,
            trouble: None,
        }
    }

    /// Takes in a look at the folder. `lost`: the files that it does not have any more.
    pub(super) fn look(&mut self, scan: &Scan, lost: &[Arc<Path>], settled: bool) -> Spared {
        let is_gone = scan.untold == Some(Untold::Io(io::ErrorKind::NotFound));
        let is_other = scan.untold.is_none() && self.root.is_some() && self.root != scan.root;
        if (is_gone || is_other) && !self.texts.is_empty() {
            self.deleted.get_or_insert_with(Instant::now);
        }
        self.remember(scan, lost);
        let (is_whole, mut let_go) = (scan.untold.is_none() && scan.whole_tree, Vec::new());
        match self.deleted {
            Some(_) if is_whole => self.written_anew(),
            Some(deleted) if is_gone && deleted.elapsed() >= MADE_AFTER => self.written_anew(),
            // One that was written again meanwhile is no news where it is as it was.
            None if settled && is_whole => let_go.extend(self.going.drain().filter(|file| !file.exists())),
            Some(_) | None => {}
        }
        let_go.iter().for_each(|file| drop(self.texts.remove(file)));
        Spared { spared: self.going.clone(), let_go }
    }

    /// Somebody takes this act back, and its file is gone already. Says whether it goes.
    pub(super) fn withdraw(&mut self, file: &Path) -> bool {
        let goes = !file.exists();
        if goes {
            self.texts.remove(file);
            self.going.remove(file);
        }
        goes
    }

    fn remember(&mut self, scan: &Scan, lost: &[Arc<Path>]) {
        for file in lost {
            if self.act(file).is_some() {
                self.going.insert(Arc::clone(file));
            } else {
                self.texts.remove(file);
            }
        }
        for change in &scan.changed {
            self.going.remove(&change.path);
            if let Held::Text { text, .. } = &change.held {
                self.texts.insert(Arc::clone(&change.path), Arc::clone(text));
            }
        }
        if scan.untold.is_none() {
            self.root = scan.root;
        }
    }

    /// What takes away. Another act that goes takes what it gave with it.
    fn act(&self, file: &Path) -> Option<Act> {
        let act = Act { id: ActId::of_file(file)?, text: Arc::clone(self.texts.get(file)?) };
        act.only_takes().then_some(act)
    }

    /// Files that are written are seen with the next look, as they were. One that cannot be written holds until the gate ends.
    fn written_anew(&mut self) {
        let Some(overrides) = &self.overrides else { return };
        let missing = self.texts.keys().filter(|file| !file.exists());
        let acts: Vec<(Arc<Path>, Act)> =
            missing.filter_map(|file| Some((Arc::clone(file), self.act(file)?))).collect();
        let mut trouble = None;
        for (file, act) in acts {
            match overrides.add(&act) {
                Ok(()) => tracing::warn!(act = %act.id, "the folder of the acts was deleted; this one is written anew"),
                Err(error) => trouble = Some(error.to_string()),
            }
            self.going.insert(file);
        }
        if let (Some(why), true) = (&trouble, self.trouble != trouble) {
            tracing::error!(
                why,
                "the folder of the acts was deleted; what takes away holds, and cannot be written anew"
            );
        }
        // What could not be written is tried again with each look.
        self.deleted = self.deleted.filter(|_| trouble.is_some());
        self.trouble = trouble;
    }
}
