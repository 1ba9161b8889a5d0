//! What one file turned out to be.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::read::{self, Reading, Stamp, Unreadable};
use super::walk::{Found, Walk};
use super::{Digest, FILE_BYTES_MAX};

/// What one file turned out to be.
#[derive(Debug)]
pub(super) enum Look {
    Text {
        reading: Reading,
        digest: Digest,
        text: String,
    },
    /// With its stamp where the fault lies in what the file holds: then only a change can mend it.
    Fault(Unreadable, Option<Stamp>),
    Missing,
}

pub(super) fn look(found: &Found) -> Look {
    match found.stamp {
        // Neither opened nor stamped: it is looked at again each time.
        Err(fault) => Look::Fault(fault, None),
        Ok(_) => look_by_path(&found.real),
    }
}

pub(super) fn look_by_path(real: &Path) -> Look {
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
pub(super) fn linked_folders(walk: &Walk) -> Vec<PathBuf> {
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
