//! The policy folder as it can be read now: what changed, what went, and whether it has settled.
//!
//! It knows nothing of policy: files in, texts out. A folder that cannot be read is never an empty one, a file
//! that cannot be read is never a deleted one, and two generations of a folder that is swapped whole are never
//! mixed. One [`Folder::scan`] serves start-up, reload, `check` and tests alike.

pub mod arm;
pub mod hints;
mod ledger;
mod look;
mod pace;
pub mod read;
pub mod scan;
pub mod settle;
pub mod walk;
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use hints::Hints;
pub use read::{Stamp, Unreadable};
pub use scan::{Folder, Hinted, Verify};
pub use settle::{SETTLE, Settle};
pub use walk::{Root, Untold};
pub use watch::{Seen, Settings, Watching, spawn, spawn_with};

use crate::problem::Problem;

/// Ten times the 10,000 files that the gate is measured with.
pub const FILES_MAX: usize = 100_000;

/// Each costs one inotify watch, of which a user has 8,192 on small machines.
pub const DIRECTORIES_MAX: usize = 10_000;

/// A policy file of 10,000 grants has about 2 MiB.
pub const FILE_BYTES_MAX: u64 = 8 << 20;

/// All files together: they are in memory at once when everything is read the first time.
pub const FOLDER_BYTES_MAX: u64 = 1 << 30;

/// Folders below the root.
pub const DEPTH_MAX: usize = 16;

/// So many ignored files are warned about by name, the rest by number.
pub const OTHERS_NAMED_MAX: usize = 100;

/// A file is gone when it is still missing this long after it was first missed. vim and others save by renaming the
/// old file away and writing a new one: without this each save would take the app's grants for a millisecond.
pub const GONE_AFTER: Duration = Duration::from_millis(20);

/// SHA-256
pub type Digest = [u8; 32];

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The folder as configured, joined with the name below it.
    pub path: Arc<Path>,
    pub held: Held,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Text { digest: Digest, text: Arc<str> },
    Unreadable(Unreadable),
}

/// What one look at the folder gave, as the difference to the look before.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Files that are new, hold something else, or became readable or unreadable; by path.
    pub changed: Vec<Change>,
    /// `changed` names every file there is: whatever else is remembered of the folder is no more. So it is with
    /// the first scan, and with the next after [`Folder::forget`].
    pub complete: bool,
    /// Files that are no more; by path.
    pub gone: Vec<Arc<Path>>,
    /// Everything wrong with the folder now, not only what is new.
    pub problems: Arc<[Problem]>,
    /// Why the folder as a whole cannot be told; then nothing changed and the last state stands.
    pub untold: Option<Untold>,
    /// The folder that was read, last if not in this look.
    pub root: Option<Root>,
    /// Files known now, readable or not.
    pub files: usize,
    /// Files and subfolders that are there and cannot be read.
    pub unreadable: usize,
    /// Some file came, went, or has another stamp, whether or not it holds something else.
    pub stirred: bool,
    /// Something moved while it was read; look again soon.
    pub in_flux: bool,
    /// The whole folder was looked at, not only the files that a hint named.
    pub whole_tree: bool,
    /// The newest ctime of all files and folders (of the whole tree only).
    pub last_change: SystemTime,
}

impl Scan {
    /// Everything could be read and stood still.
    pub fn is_sound(&self) -> bool {
        self.untold.is_none() && self.unreadable == 0 && !self.in_flux
    }

    /// Something for whoever compiles: a file changed or went.
    pub fn is_news(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }
}
