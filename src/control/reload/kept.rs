//! Acts whose folder was deleted under a running gate. They hold all the same (law 8); once there is a folder again, such as
//! the one that the next command makes, those that take away are written anew: else they would be gone with its first look.
//!
//! An act that was removed by itself is a `restore`, and is let go.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::acts::{Act, ActId};
use crate::control::folder::{Held, Scan, Untold};
use crate::control::overrides::Overrides;

/// What the acts said that were read.
pub(super) struct KeptActs {
    overrides: Option<Overrides>,
    texts: HashMap<Arc<Path>, Arc<str>>,
    /// The folder is gone, or was when it was last looked at.
    is_deleted: bool,
}

impl KeptActs {
    pub(super) fn new(overrides: Option<&PathBuf>) -> Self {
        Self { overrides: overrides.map(Overrides::new), texts: HashMap::new(), is_deleted: false }
    }

    /// Takes in a look at the folder. Gives the files that it may not have, and that are not gone all the same.
    pub(super) fn look(&mut self, scan: &Scan) -> HashSet<Arc<Path>> {
        let mut spared = HashSet::new();
        if scan.untold == Some(Untold::Io(io::ErrorKind::NotFound)) {
            self.is_deleted |= !self.texts.is_empty();
        } else if scan.untold.is_none() && std::mem::take(&mut self.is_deleted) {
            let missing = self.texts.keys().filter(|file| !file.exists());
            spared = missing.filter_map(|file| self.write_anew(file)).collect();
        }
        self.remember(scan, &spared);
        spared
    }

    fn write_anew(&self, file: &Arc<Path>) -> Option<Arc<Path>> {
        let (overrides, text) = (self.overrides.as_ref()?, self.texts.get(file)?);
        let act = Act { id: ActId::of_file(file)?, text: Arc::clone(text) };
        if !act.only_takes() {
            return None;
        }
        match overrides.add(&act) {
            Ok(()) => tracing::warn!(act = %act.id, "the folder of the acts was deleted; this one is written anew"),
            // Not on the disk, and in force until the gate ends.
            Err(error) => {
                tracing::error!(act = %act.id, %error, "the folder of the acts was deleted, and this one cannot be written anew")
            }
        }
        Some(Arc::clone(file))
    }

    fn remember(&mut self, scan: &Scan, spared: &HashSet<Arc<Path>>) {
        for change in &scan.changed {
            if let Held::Text { text, .. } = &change.held {
                self.texts.insert(Arc::clone(&change.path), Arc::clone(text));
            }
        }
        for file in scan.gone.iter().filter(|file| !spared.contains(*file)) {
            self.texts.remove(file);
        }
    }
}
