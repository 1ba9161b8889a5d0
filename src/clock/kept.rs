//! What is kept of the clock in the state folder: a small file, written whole every few seconds.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

const FILE: &str = "clock.json";
const FILE_BYTES_MAX: u64 = 1_024;

/// The latest time that requests were judged by, and what tells a step of the clock from time that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Unix time in milliseconds.
    pub latest_ms: i64,
    /// When the kernel booted, by the clock that is believed.
    pub booted_at_ms: i64,
    /// The kernel's own name for this boot: what it counts begins anew with each. `None`: it has none.
    pub boot: Option<String>,
}

/// What was kept; nothing before the first start.
///
/// # Errors
/// It cannot be read: then nothing is known of the time before.
pub fn read(state: &Path) -> io::Result<Option<Kept>> {
    let file = match File::open(state.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    serde_json::from_str(&text).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub fn write(state: &Path, kept: &Kept) -> io::Result<()> {
    let beside = state.join(format!("{FILE}.new"));
    let mut file = File::create(&beside)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(kept)?)?;
    file.sync_data()?;
    fs::rename(beside, state.join(FILE))
}

/// What the kernel calls this boot.
pub(super) fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_broken_is_told() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()).unwrap(), None);
        let kept = Kept { latest_ms: 5, booted_at_ms: -3, boot: boot() };
        write(state.path(), &kept).unwrap();
        assert_eq!(read(state.path()).unwrap(), Some(kept));
        for broken in ["", "{", "[1]", "{\"latest_ms\": 1}", &"9".repeat(5_000)] {
            fs::write(state.path().join(FILE), broken).unwrap();
            assert!(read(state.path()).is_err(), "{broken:.9}");
        }
    }
}
