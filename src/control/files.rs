//! Files that are taken together or not at all: a certificate and its key, a list of roots. They are read again for as
//! long as the process runs, and told only once all of them have stood still.
//!
//! A writer needs time: it puts the key beside the certificate a moment later, or writes one block after the other.
//! What is seen meanwhile is told to nobody. What they hold is kept by nobody here, for a key is among it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::control::folder::arm::{self, Armed, Targets};
use crate::control::folder::hints::Hints;
use crate::control::folder::read::{self, Unreadable};

/// Bytes of one file: several times the longest list of roots that is in use.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long files must stay the same before they are told: a script that writes two files, one after the other, has
/// done it by then, and nobody waits for a certificate.
pub const SETTLE: Duration = Duration::from_millis(500);

/// The pause between looks at all files: at least, and 200 times what a look took, so half a per cent of a core.
const POLL: Duration = Duration::from_secs(1);
const POLL_REST: u32 = 200;

/// What a file holds, or why that cannot be told.
pub type Contents = Result<Vec<u8>, Unreadable>;

/// Files that belong together.
#[derive(Debug)]
pub struct FileSet {
    paths: Vec<PathBuf>,
    /// What was told last; `None` where it is to be told again.
    told: Option<Vec<Print>>,
    /// What was seen since, and since when it is the same.
    seen: Option<(Vec<Print>, Instant)>,
}

/// One state of a file, without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    Holds([u8; 32]),
    Unreadable(Unreadable),
}

/// What a look at a set found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing else than what was told.
    Same,
    /// Something else, which may be half of what somebody is writing. Look again then.
    Unsettled(Instant),
    /// What all files hold, in their order. It counts as told.
    Changed(Vec<Contents>),
}

impl FileSet {
    /// Reads files for the first time. Nothing is waited for: who starts, starts from what is there.
    pub fn open(paths: Vec<PathBuf>) -> (Self, Vec<Contents>) {
        let contents: Vec<Contents> = paths.iter().map(|path| read(path).0).collect();
        let told = Some(contents.iter().map(Print::of).collect());
        (Self { paths, told, seen: None }, contents)
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads them again.
    pub fn look(&mut self, now: Instant, settle: Duration) -> Look {
        let mut in_flux = false;
        let mut contents = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let (content, moves) = read(path);
            in_flux |= moves;
            contents.push(content);
        }
        let prints: Vec<Print> = contents.iter().map(Print::of).collect();
        if !in_flux && self.told.as_ref() == Some(&prints) {
            self.seen = None;
            return Look::Same;
        }
        let since = match &self.seen {
            Some((before, since)) if *before == prints && !in_flux => *since,
            Some(_) | None => now,
        };
        if now.saturating_duration_since(since) < settle || in_flux {
            self.seen = Some((prints, since));
            return Look::Unsettled(since + settle);
        }
        self.seen = None;
        self.told = Some(prints);
        Look::Changed(contents)
    }

    /// Whoever was told did not take note.
    fn forget(&mut self) {
        self.told = None;
    }
}

impl Print {
    fn of(contents: &Contents) -> Self {
        match contents {
            Ok(bytes) => Self::Holds(Sha256::digest(bytes).into()),
            Err(why) => Self::Unreadable(*why),
        }
    }
}

/// What a file holds, and whether it moved while it was read.
fn read(path: &Path) -> (Contents, bool) {
    match read::read(path, FILE_BYTES_MAX) {
        Ok(reading) => (Ok(reading.bytes), reading.in_flux),
        Err(why) => (Err(why), false),
    }
}

/// Sets that are looked at on a thread of their own; dropping it ends the thread.
#[derive(Debug)]
pub struct FileWatch {
    hints: Arc<Hints>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// `on_change` is called from the thread with the number of a set and what its files hold, whenever that is
    /// something else than it was told before (or than [`FileSet::open`] read) and has been for `settle`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(
        sets: Vec<FileSet>,
        settle: Duration,
        on_change: impl FnMut(usize, Vec<Contents>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let hints = Arc::new(Hints::default());
        let woken = Arc::clone(&hints);
        let run = move || keep_fresh(sets, settle, &woken, on_change);
        let thread = std::thread::Builder::new().name("tls-files".into()).spawn(run)?;
        // The folders are watched from the start on.
        hints.rearm();
        Ok(Self { hints, thread: Some(thread) })
    }

    /// Looks now, instead of at the next turn.
    pub fn look(&self) {
        self.hints.tree();
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.hints.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the consumer was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// The only way out is the end of the process: no fault of a file or of a consumer ends it.
fn keep_fresh(
    mut sets: Vec<FileSet>,
    settle: Duration,
    hints: &Arc<Hints>,
    mut on_change: impl FnMut(usize, Vec<Contents>),
) {
    let mut armed: Option<Armed> = None;
    let mut not_before = Instant::now();
    let mut due = not_before + POLL;
    loop {
        let wake = hints.wait(not_before, due);
        if wake.stop {
            break;
        }
        if wake.rearm || armed.is_none() {
            // Without inotify a change is noticed by the poll, so a fault here costs a second.
            armed = arm::arm(&targets(&sets), hints).0.or(armed);
        }
        let began = Instant::now();
        due = began + POLL;
        for (number, set) in sets.iter_mut().enumerate() {
            match set.look(began, settle) {
                Look::Same => {}
                Look::Unsettled(until) => due = due.min(until),
                Look::Changed(contents) => {
                    // A swap turned the links on the way, so other folders are to be watched now.
                    hints.rearm();
                    if catch_unwind(AssertUnwindSafe(|| on_change(number, contents))).is_err() {
                        set.forget();
                    }
                }
            }
        }
        let took = began.elapsed();
        not_before = began + took + took;
        due = due.max(began + took.saturating_mul(POLL_REST));
    }
}

/// Every place where a change of a file can be seen.
fn targets(sets: &[FileSet]) -> Targets {
    let mut targets = Targets::default();
    for path in sets.iter().flat_map(FileSet::paths) {
        targets.file(path);
    }
    targets
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::channel;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    struct Pair {
        folder: tempfile::TempDir,
        set: FileSet,
        now: Instant,
    }

    impl Pair {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("crt"), "crt 1").unwrap();
            fs::write(folder.path().join("key"), "key 1").unwrap();
            let (set, contents) = FileSet::open(vec![folder.path().join("crt"), folder.path().join("key")]);
            assert_eq!(contents, [Ok(b"crt 1".to_vec()), Ok(b"key 1".to_vec())]);
            Self { folder, set, now: Instant::now() }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn look_after(&mut self, ms: u64) -> Look {
            self.now += Duration::from_millis(ms);
            self.set.look(self.now, SETTLE)
        }

        fn is_told(&mut self, ms: u64, crt: &str, key: &str) {
            let told = Look::Changed([crt, key].map(|text| Ok(text.as_bytes().to_vec())).into());
            assert_eq!(self.look_after(ms), told);
        }
    }

    fn waits(look: &Look) -> bool {
        matches!(look, Look::Unsettled(_))
    }

    #[test]
    fn two_files_written_one_after_the_other_are_told_once_and_together() {
        let mut pair = Pair::open();
        assert_eq!(pair.look_after(1_000), Look::Same);
        pair.write("crt", "crt 2");
        assert!(waits(&pair.look_after(10)));
        assert!(waits(&pair.look_after(190)));
        pair.write("key", "key 2");
        let Look::Unsettled(until) = pair.look_after(10) else { panic!("told too early") };
        assert_eq!(until, pair.now + SETTLE);
        assert!(waits(&pair.look_after(499)));
        pair.is_told(1, "crt 2", "key 2");
        assert_eq!(pair.look_after(1_000), Look::Same);
    }

    #[test]
    fn what_changes_again_and_again_is_not_told_until_it_stops() {
        let mut pair = Pair::open();
        for turn in 0..20 {
            pair.write("crt", &format!("block {turn}"));
            assert!(waits(&pair.look_after(499)));
        }
        pair.is_told(500, "block 19", "key 1");
    }

    #[test]
    fn what_comes_back_as_it_was_is_no_change() {
        let mut pair = Pair::open();
        pair.write("crt", "half");
        assert!(waits(&pair.look_after(100)));
        pair.write("crt", "crt 1");
        assert_eq!(pair.look_after(100), Look::Same);
        pair.write("crt", "half");
        assert!(waits(&pair.look_after(450)), "it does not count from the first time");
    }

    #[test]
    fn a_file_that_is_gone_is_told_as_such_and_so_is_its_return() {
        let mut pair = Pair::open();
        fs::remove_file(pair.folder.path().join("key")).unwrap();
        assert!(waits(&pair.look_after(100)));
        let Look::Changed(contents) = pair.look_after(500) else { panic!("nothing was told") };
        assert_eq!(contents, [Ok(b"crt 1".to_vec()), Err(Unreadable::Io(std::io::ErrorKind::NotFound))]);
        pair.write("key", "key 1");
        assert!(waits(&pair.look_after(100)));
        pair.is_told(500, "crt 1", "key 1");
    }

    /// What changes is noticed by the folder's events and by the poll, in the layouts that hold certificates, and no
    /// panic of whoever is told ends that.
    #[test]
    fn a_watch_tells_of_swaps_renames_and_edits_and_outlives_its_consumer() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        for generation in ["..1", "..2"] {
            fs::create_dir_all(base.join("mount").join(generation)).unwrap();
            fs::write(base.join("mount").join(generation).join("ca"), generation).unwrap();
        }
        symlink("..1", base.join("mount/..data")).unwrap();
        symlink("..data/ca", base.join("mount/ca")).unwrap();
        fs::write(base.join("plain"), "a").unwrap();
        let sets = [base.join("mount/ca"), base.join("plain")].map(|path| FileSet::open(vec![path]).0);
        let (send, told) = channel();
        let mut panics = 1;
        let _watch = FileWatch::spawn(sets.into(), Duration::from_millis(20), move |number, contents| {
            let text = contents.first().cloned().unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
            send.send((number, text)).unwrap();
            if panics > 0 {
                panics -= 1;
                panic!("as the test asked");
            }
        })
        .unwrap();
        let told = || told.recv_timeout(DEADLINE).unwrap();
        symlink("..2", base.join("mount/..data_tmp")).unwrap();
        fs::rename(base.join("mount/..data_tmp"), base.join("mount/..data")).unwrap();
        assert_eq!(told(), (0, Ok("..2".to_owned())));
        assert_eq!(told(), (0, Ok("..2".to_owned())), "told again after the panic");
        fs::write(base.join(".new"), "b").unwrap();
        fs::rename(base.join(".new"), base.join("plain")).unwrap();
        assert_eq!(told(), (1, Ok("b".to_owned())));
        fs::write(base.join("plain"), "c").unwrap();
        // Emptied first, and written then: where the writer is held up between the two, that is told as well.
        let (number, text) = Some(told()).filter(|told| told.1 != Ok(String::new())).unwrap_or_else(told);
        assert_eq!((number, text), (1, Ok("c".to_owned())));
    }
}
