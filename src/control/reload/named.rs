//! Digests of credentials that some snapshot named: a gate under `observe` refuses them when their credential is gone
//! (law 2), also after a restart where a state folder is configured.
//!
//! The file holds one hex digest a line and is only ever appended to. A line that a crash cut is dropped when it is
//! the last; any other that cannot be read keeps the gate from starting, for it may be one that must stay refused.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::problem::{At, Problem, file_name};

/// So many are remembered: 32 MiB in memory, 65 MB on disk.
pub const NAMED_MAX: usize = 1_000_000;

/// Below the state folder.
pub const FILE: &str = "named-credentials";

type Digest = [u8; 32];

/// Every digest that was named, where anyone may ask for it.
#[derive(Debug)]
pub(super) struct Named {
    wanted: bool,
    digests: Arc<HashSet<Digest>>,
    file: Option<Kept>,
    full: bool,
}

/// The file, and what could not be appended to it yet.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    owed: Vec<Digest>,
    /// The last line is cut, so the next one begins with a line break.
    cut: bool,
    failing: bool,
}

impl Named {
    /// Remembers only where a gate is under `observe` or a state folder is given: else nobody asks.
    pub(super) fn load(state: Option<&Path>, observing: bool) -> Result<Self, Problem> {
        let mut named = Self { wanted: observing || state.is_some(), digests: Arc::default(), file: None, full: false };
        let Some(state) = state else { return Ok(named) };
        let path = state.join(FILE);
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Problem::error(&file_name(path), At::default(), format!("cannot be read: {error}")));
            }
        };
        let (whole, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        let mut digests = HashSet::new();
        for (number, line) in (1..).zip(whole.lines()) {
            // A crash cut this line once, and the next start began a new one.
            let Some(digest) = digest(line) else {
                if is_cut(line) {
                    continue;
                }
                let at = At { line: number, column: 1 };
                let problem = Problem::error(&file_name(path), at, "this line is no SHA-256 digest");
                return Err(problem.help("restore the file, or take the line out"));
            };
            digests.insert(digest);
        }
        // A last line that is whole but for its line break counts too.
        digests.extend(digest(rest));
        named.digests = Arc::new(digests);
        named.file = Some(Kept { path, owed: Vec::new(), cut: !rest.is_empty(), failing: false });
        Ok(named)
    }

    pub(super) fn all(&self) -> Arc<HashSet<Digest>> {
        Arc::clone(&self.digests)
    }

    /// Remembers digests; gives those that are new.
    pub(super) fn add<'d>(&mut self, digests: impl Iterator<Item = &'d Digest>) -> Vec<Digest> {
        if !self.wanted {
            return Vec::new();
        }
        let mut fresh: Vec<Digest> = digests.filter(|digest| !self.digests.contains(*digest)).copied().collect();
        let room = NAMED_MAX.saturating_sub(self.digests.len());
        if fresh.len() > room {
            fresh.truncate(room);
            if !std::mem::replace(&mut self.full, true) {
                tracing::error!(max = NAMED_MAX, "no more credentials are remembered after their document is gone");
            }
        }
        if !fresh.is_empty() {
            Arc::make_mut(&mut self.digests).extend(&fresh);
        }
        fresh
    }

    /// Writes digests where they outlive the process. What fails is tried again with the next.
    pub(super) fn keep(&mut self, fresh: &[Digest]) {
        let Some(file) = &mut self.file else { return };
        file.owed.extend(fresh);
        if file.owed.is_empty() {
            return;
        }
        match file.append() {
            Ok(()) => file.failing = false,
            Err(error) if !std::mem::replace(&mut file.failing, true) => {
                tracing::error!(file = %file.path.display(), %error, "named credentials are not kept over a restart");
            }
            Err(_) => {}
        }
    }
}

impl Kept {
    fn append(&mut self) -> io::Result<()> {
        let mut text = String::with_capacity(self.owed.len() * 65 + 1);
        if self.cut {
            text.push('\n');
        }
        for digest in &self.owed {
            digest.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text.push('\n');
        }
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        // Half of it may have been written when this fails.
        self.cut = true;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if is_new && let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.cut = false;
        self.owed.clear();
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Each line is 65 bytes; a file beyond the bound was not written by us.
    let limit = u64::try_from(NAMED_MAX).unwrap_or(u64::MAX).saturating_mul(2 * 65);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

fn is_cut(line: &str) -> bool {
    line.len() < 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn digest(line: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if line.len() != 64 || !line.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(line.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(state: &Path, digests: &[Digest]) {
        let mut named = Named::load(Some(state), false).unwrap();
        let fresh = named.add(digests.iter());
        named.keep(&fresh);
    }

    #[test]
    fn what_was_named_is_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        keep(state.path(), &[[1; 32], [2; 32]]);
        keep(state.path(), &[[2; 32], [3; 32]]);
        let named = Named::load(Some(state.path()), false).unwrap();
        assert_eq!(named.all().len(), 3);
        let text = std::fs::read_to_string(state.path().join(FILE)).unwrap();
        assert_eq!(text.lines().count(), 3, "nothing is written twice");
    }

    #[test]
    fn a_line_that_a_crash_cut_costs_only_itself() {
        let state = tempfile::tempdir().unwrap();
        keep(state.path(), &[[1; 32]]);
        let path = state.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}0202")).unwrap();
        keep(state.path(), &[[3; 32]]);
        let named = Named::load(Some(state.path()), false).unwrap();
        assert!(named.all().contains(&[1; 32]) && named.all().contains(&[3; 32]));
        assert_eq!(named.all().len(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_told_keeps_the_gate_from_starting() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "what is this\n").unwrap();
        assert_eq!(Named::load(Some(state.path()), false).unwrap_err().at.line, 1);
    }

    #[test]
    fn nobody_remembers_what_nobody_asks_for() {
        let mut named = Named::load(None, false).unwrap();
        assert!(named.add([[1; 32]].iter()).is_empty());
        assert!(named.all().is_empty());
    }
}
