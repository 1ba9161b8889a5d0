//! Reading one file that others may be writing: what it held, under which stamp, or why it cannot be told.
//!
//! Nothing but a regular file is ever opened: a pipe would block the reader, a device may do worse.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a file that moves while it is read is read again before it counts as being written.
const READ_TRIES: usize = 3;

/// A regular file never blocks; a pipe put in its place between look and open would, without this.
const O_NONBLOCK: i32 = if cfg!(target_os = "linux") { 0o4000 } else { 0x4 };

/// Timestamps move in ticks of the kernel (1 to 10 ms), so a second write within one tick leaves no trace.
const TICK: Duration = Duration::from_millis(20);

/// The same for file systems that keep whole seconds (FAT keeps every other one).
const COARSE_TICK: Duration = Duration::from_secs(2);

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Seconds and nanoseconds. Cannot be set by hand, so it shows a change that keeps size and mtime.
    pub ctime: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Which file it is, whatever it holds.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// When the file was last changed, by the clock of its file system.
    pub fn changed_at(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.ctime;
        let within = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        base.and_then(|base| base.checked_add(within)).unwrap_or(UNIX_EPOCH)
    }

    /// Whether a change right after `now` could leave this very stamp. Such a file is read again, as git does.
    pub fn may_hide_a_change(&self, now: SystemTime) -> bool {
        let tick = if self.ctime.1 == 0 { COARSE_TICK } else { TICK };
        !now.duration_since(self.changed_at()).is_ok_and(|age| age >= tick)
    }
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("cannot be read: {0}")]
    Io(io::ErrorKind),
    #[error("is {0}, not a file")]
    NotAFile(&'static str),
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    #[error("lies in a folder that cannot be read: {0}")]
    FolderClosed(io::ErrorKind),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// A file as it was read.
#[derive(Debug)]
pub struct Reading {
    pub stamp: Stamp,
    pub bytes: Vec<u8>,
    /// It moved during every try: what was read may be half of it.
    pub in_flux: bool,
    /// See [`Stamp::may_hide_a_change`].
    pub racy: bool,
}

/// Reads a file through its links, at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Reading, Unreadable> {
    let mut reading = read_once(path, limit)?;
    for _ in 1..READ_TRIES {
        if !reading.in_flux {
            break;
        }
        reading = read_once(path, limit)?;
    }
    Ok(reading)
}

fn read_once(path: &Path, limit: u64) -> Result<Reading, Unreadable> {
    regular(&std::fs::metadata(path)?, limit)?;
    let now = SystemTime::now();
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let opened = file.metadata()?;
    regular(&opened, limit)?;
    let stamp = Stamp::of(&opened);
    let bytes = contents(file, stamp.size, limit)?;
    // By path, not by handle: a file renamed over this one while it was read is a change too.
    let after = Stamp::of(&std::fs::metadata(path)?);
    Ok(Reading { stamp, bytes, in_flux: after != stamp, racy: stamp.may_hide_a_change(now) })
}

/// Refuses what must not be opened, or not be held in memory.
pub fn regular(metadata: &Metadata, limit: u64) -> Result<(), Unreadable> {
    let kind = metadata.file_type();
    if !kind.is_file() {
        return Err(Unreadable::NotAFile(kind_name(kind)));
    }
    if metadata.size() > limit { Err(Unreadable::TooLarge(limit)) } else { Ok(()) }
}

pub fn kind_name(kind: std::fs::FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    }
}

fn contents(file: File, size: u64, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit { Err(Unreadable::TooLarge(limit)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_younger_than_a_tick_may_hide_a_change() {
        let stamp = |nanoseconds| Stamp { device: 1, inode: 1, size: 1, mtime: (0, 0), ctime: (100, nanoseconds) };
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        for (nanoseconds, now, expected) in [
            (5_000_000, at(100_010), true),
            (5_000_000, at(100_030), false),
            (0, at(101_000), true),
            (0, at(102_000), false),
            (5_000_000, at(90_000), true),
        ] {
            assert_eq!(stamp(nanoseconds).may_hide_a_change(now), expected, "{nanoseconds} {now:?}");
        }
    }
}
