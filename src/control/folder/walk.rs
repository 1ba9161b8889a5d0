//! One walk over the names of a folder: which files there are, under which stamp, and what else lies about.
//!
//! It opens no file. What it cannot enter it reports, and never takes for empty.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::read::{self, Stamp, Unreadable};
use super::{DEPTH_MAX, DIRECTORIES_MAX, FILE_BYTES_MAX, FILES_MAX, FOLDER_BYTES_MAX, OTHERS_NAMED_MAX};
use crate::problem::{At, Problem, file_name};

/// The link that Kubernetes turns from one generation of files to the next.
const DATA_LINK: &str = "..data";

/// A folder that was entered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Directory {
    /// Where it is reached, without the links on the way to the root.
    pub real: PathBuf,
    /// Its name below the folder as configured.
    pub shown: PathBuf,
    pub identity: (u64, u64),
}

/// A file whose name says that it holds policy.
#[derive(Debug)]
pub struct Found {
    pub shown: PathBuf,
    pub real: PathBuf,
    pub stamp: Result<Stamp, Unreadable>,
    pub linked: bool,
}

/// Which folder stands at the place that is configured. A new one may have the number of one that was just deleted, so its birth
/// counts as well, where the file system tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    identity: (u64, u64),
    born: Option<SystemTime>,
}

impl Root {
    fn of(folder: &Metadata) -> Self {
        Self { identity: Stamp::of(folder).identity(), born: folder.created().ok() }
    }
}

/// Which generation of the folder was seen. Two looks that differ here must not be mixed.
#[derive(Debug, PartialEq, Eq)]
pub struct Generation {
    root: PathBuf,
    identity: Root,
    /// Where each folder's `..data` link leads, if it has one.
    data_links: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Generation {
    fn of(configured: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(configured)?;
        let identity = Root::of(&fs::metadata(&root)?);
        Ok(Self { root, identity, data_links: Vec::new() })
    }

    pub fn folder(&self) -> Root {
        self.identity
    }

    /// Whether the folder still is of this generation.
    pub fn still_is(&self, configured: &Path) -> bool {
        let same_root = Self::of(configured).is_ok_and(|now| now.root == self.root && now.identity == self.identity);
        same_root && self.data_links.iter().all(|(link, target)| fs::read_link(link).ok() == *target)
    }

    /// Kubernetes swaps all files of such a folder at once.
    pub fn is_swapped_whole(&self) -> bool {
        self.data_links.iter().any(|(_, target)| target.is_some())
    }
}

/// What a walk found.
#[derive(Debug)]
pub struct Walk {
    pub generation: Generation,
    pub files: Vec<Found>,
    pub directories: Vec<Directory>,
    /// Folders that are there and cannot be entered, by shown name.
    pub closed: Vec<(PathBuf, io::ErrorKind)>,
    pub problems: Vec<Problem>,
    /// Names vanished or folders changed while they were read.
    pub in_flux: bool,
    /// The newest ctime of all files and folders.
    pub last_change: SystemTime,
    stamps: Vec<Stamp>,
    entered: HashSet<(u64, u64)>,
    pending: Vec<Place>,
    others: usize,
    bytes: u64,
}

/// A folder still to be entered.
#[derive(Debug)]
struct Place {
    real: PathBuf,
    shown: PathBuf,
    depth: usize,
}

/// Why the folder as a whole cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    #[error("{}", unread(*.0))]
    Io(io::ErrorKind),
    #[error("the folder is {0}, not a folder")]
    NotAFolder(&'static str),
    #[error("the folder holds more than {FILES_MAX} files")]
    TooManyFiles,
    #[error("the folder holds more than {DIRECTORIES_MAX} folders")]
    TooManyFolders,
    #[error("the files of the folder are larger than {FOLDER_BYTES_MAX} bytes together")]
    TooLarge,
}

fn unread(why: io::ErrorKind) -> String {
    match why {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        why => format!("the folder cannot be read: {why}"),
    }
}

impl From<io::Error> for Untold {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Walks the folder once.
pub fn walk(configured: &Path) -> Result<Walk, Untold> {
    let generation = Generation::of(configured)?;
    let root = Place { real: generation.root.clone(), shown: configured.to_path_buf(), depth: 0 };
    let metadata = fs::metadata(&root.real)?;
    if !metadata.is_dir() {
        return Err(Untold::NotAFolder(read::kind_name(metadata.file_type())));
    }
    // Read once before the rest, for a root that cannot be read must not look like one with a closed subfolder.
    fs::read_dir(&root.real)?;
    let mut walk = Walk::new(generation);
    walk.pending.push(root);
    while let Some(place) = walk.pending.pop() {
        walk.enter(&place)?;
    }
    Ok(walk)
}

/// Whether a name is one that policy is read from.
pub fn is_policy_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().map(OsStr::as_bytes);
    matches!(extension, Some(b"yaml" | b"yml"))
}

/// Names with a dot in front are not entered.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// `..data`
pub fn is_data_link(name: &OsStr) -> bool {
    name == DATA_LINK
}

impl Walk {
    fn new(generation: Generation) -> Self {
        Self {
            generation,
            files: Vec::new(),
            directories: Vec::new(),
            closed: Vec::new(),
            problems: Vec::new(),
            in_flux: false,
            last_change: SystemTime::UNIX_EPOCH,
            stamps: Vec::new(),
            entered: HashSet::new(),
            pending: Vec::new(),
            others: 0,
            bytes: 0,
        }
    }

    fn enter(&mut self, place: &Place) -> Result<(), Untold> {
        let metadata = match fs::metadata(&place.real) {
            Ok(metadata) => metadata,
            Err(error) => return self.cannot_enter(place, &error),
        };
        let stamp = Stamp::of(&metadata);
        if !self.entered.insert(stamp.identity()) {
            self.warn(&place.shown, "leads to a folder that is read already and is not read again", "remove the link");
            return Ok(());
        }
        if self.directories.len() >= DIRECTORIES_MAX {
            return Err(Untold::TooManyFolders);
        }
        // Before any name is looked at: what was looked at earlier would be of a generation that nobody noted.
        let data_link = place.real.join(DATA_LINK);
        let target = fs::read_link(&data_link).ok();
        self.generation.data_links.push((data_link, target));
        let entries = match fs::read_dir(&place.real) {
            Ok(entries) => entries,
            Err(error) => return self.cannot_enter(place, &error),
        };
        self.last_change = self.last_change.max(stamp.changed_at());
        self.stamps.push(stamp);
        let directory = Directory { real: place.real.clone(), shown: place.shown.clone(), identity: stamp.identity() };
        self.directories.push(directory);
        let first_below = self.pending.len();
        for entry in entries {
            match entry {
                Ok(entry) => self.meet(&entry, place)?,
                Err(error) => self.cannot_enter(place, &error)?,
            }
        }
        // The order decides which of two links to one folder is entered, so it must not hang on the file system.
        if let Some(below) = self.pending.get_mut(first_below..) {
            below.sort_by(|a, b| b.shown.cmp(&a.shown));
        }
        Ok(())
    }

    /// A folder that vanished meanwhile is looked for again; one that is there and closed is a problem.
    fn cannot_enter(&mut self, place: &Place, error: &io::Error) -> Result<(), Untold> {
        if error.kind() == io::ErrorKind::NotFound {
            self.in_flux = true;
            return Ok(());
        }
        if place.depth == 0 {
            return Err(Untold::Io(error.kind()));
        }
        self.closed.push((place.shown.clone(), error.kind()));
        let message = format!("the folder cannot be read: {}", error.kind());
        self.problems.push(
            Problem::error(&file_name(&*place.shown), At::default(), message)
                .help("its files stand as they were last read; give the gate's user read and search permission"),
        );
        Ok(())
    }

    fn meet(&mut self, entry: &DirEntry, place: &Place) -> Result<(), Untold> {
        let name = entry.file_name();
        if is_hidden(&name) {
            return Ok(());
        }
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        // `DirEntry::metadata` costs half of a look by path, and most files are no links.
        let metadata = if linked { fs::metadata(place.real.join(&name)) } else { entry.metadata() };
        if is_policy_name(&name) {
            self.policy_file(name, metadata, linked, place)
        } else {
            self.other(&name, metadata, place)
        }
    }

    fn policy_file(
        &mut self,
        name: OsString,
        metadata: io::Result<Metadata>,
        linked: bool,
        place: &Place,
    ) -> Result<(), Untold> {
        if self.files.len() >= FILES_MAX {
            return Err(Untold::TooManyFiles);
        }
        let stamp = match metadata {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                self.last_change = self.last_change.max(stamp.changed_at());
                read::regular(&metadata, FILE_BYTES_MAX).map(|()| stamp)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !linked => {
                self.in_flux = true;
                return Ok(());
            }
            Err(error) => Err(Unreadable::from(error)),
        };
        if let Ok(stamp) = &stamp {
            self.bytes = self.bytes.saturating_add(stamp.size);
        }
        if self.bytes > FOLDER_BYTES_MAX {
            return Err(Untold::TooLarge);
        }
        self.files.push(Found { shown: place.shown.join(&name), real: place.real.join(&name), stamp, linked });
        Ok(())
    }

    /// A folder is entered; anything else is said to be ignored.
    fn other(&mut self, name: &OsStr, metadata: io::Result<Metadata>, place: &Place) -> Result<(), Untold> {
        let shown = place.shown.join(name);
        if metadata.as_ref().is_ok_and(Metadata::is_dir) {
            if place.depth >= DEPTH_MAX {
                self.closed.push((shown.clone(), io::ErrorKind::Unsupported));
                let message = format!("lies more than {DEPTH_MAX} folders deep and is not read");
                self.problems.push(Problem::error(&file_name(shown), At::default(), message).help("move it up"));
                return Ok(());
            }
            self.pending.push(Place { real: place.real.join(name), shown, depth: place.depth + 1 });
            return Ok(());
        }
        self.others += 1;
        if self.others > FILES_MAX {
            return Err(Untold::TooManyFiles);
        }
        if self.others <= OTHERS_NAMED_MAX {
            let what = match metadata {
                Ok(metadata) if metadata.is_file() => "is not read: only *.yaml and *.yml are",
                Ok(_) => "is neither a file nor a folder and is not read",
                Err(_) => "is a link that leads nowhere and is not read",
            };
            self.warn(&shown, what, "rename it to *.yaml, or move it out of the policy folder");
        }
        Ok(())
    }

    fn warn(&mut self, shown: &Path, message: &str, help: &str) {
        self.problems.push(Problem::warning(&file_name(shown), At::default(), message).help(help));
    }

    /// How many files beyond those named in `problems` are ignored.
    pub fn others_unnamed(&self) -> usize {
        self.others.saturating_sub(OTHERS_NAMED_MAX)
    }

    /// Whether names came or went since the walk.
    pub fn directories_moved(&self) -> bool {
        let mut both = self.directories.iter().zip(&self.stamps);
        both.any(|(directory, before)| !fs::metadata(&directory.real).is_ok_and(|now| Stamp::of(&now) == *before))
    }
}
