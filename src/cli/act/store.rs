//! Where a command writes an act itself: the folder of overrides, or the bucket of a fleet.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::offline::{failed, overrides, problems_with};
use crate::acts::done::Listed;
use crate::acts::draft::RefusedCode;
use crate::acts::{Act, Refused};
use crate::authz::policy::store::Content;
use crate::cli::Failure;
use crate::config::Config;
use crate::control::fleet::bucket::NotPut;
use crate::control::fleet::direct::Direct;
use crate::control::fleet::gates::Reach;
use crate::control::fleet::memory::Kept;
use crate::control::overrides::{NotWritten, Overrides};
use crate::problem::Problem;

/// What is to be written.
pub enum Change {
    Add(Act),
    Replace(Act),
    Remove(Act),
}

/// How long a command waits for another that writes the folder. A gate never lets it go.
const COMMAND_MAX: Duration = Duration::from_millis(500);

/// Where. With a bucket the folder is what is known of it here, and is brought up to date first: by this command, unless
/// a gate runs beside it, which alone writes its folder.
pub struct Store {
    folder: Overrides,
    bucket: Option<Bucket>,
}

struct Bucket {
    runtime: Runtime,
    direct: Direct,
    kept: Kept,
    /// Values that are kept out, with why.
    kept_out: Vec<(String, String)>,
}

impl Store {
    /// # Errors
    /// The bucket is not reached, or the folder cannot be written.
    pub fn open(config: &Config, path: &Path, now_ms: i64) -> Result<Self, Failure> {
        let folder = overrides(config)?;
        let Some(settings) = crate::app::fleet::settings(config) else { return Ok(Self { folder, bucket: None }) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let opened = runtime.block_on(Direct::open(&settings));
        let direct = opened.map_err(|lost| Failure::Other(format!("the bucket of the fleet: {lost}")))?;
        let kept = settings.kept();
        let kept_out = match alone(&kept)? {
            Some(_alone) => follow(&direct, &folder, path, now_ms)?,
            None => not_taken(&direct, &folder),
        };
        Ok(Self { folder, bucket: Some(Bucket { runtime, direct, kept, kept_out }) })
    }

    pub fn folder(&self) -> &Overrides {
        &self.folder
    }

    /// How an act stands, as far as the gates of the fleet say.
    pub fn listed(&self, act: &Act) -> Listed {
        let unknown = || Listed::of(&act.id, &act.text, None, false);
        let Some(bucket) = &self.bucket else { return unknown() };
        let view = bucket.direct.view();
        let Some(seq) = view.revisions.get(&act.id) else {
            let problem = "the bucket does not have it: it holds where it is known";
            return Listed::of(&act.id, &act.text, Some(problem.to_owned()), false);
        };
        let reach = view.gates.stands(*seq, &act.id);
        match reach.missing.is_empty() {
            _ if reach.of == 0 => unknown(),
            true => Listed::of(&act.id, &act.text, None, true),
            false => Listed::of(&act.id, &act.text, Some(format!("not on {}", reach.missing.join(", "))), false),
        }
    }

    /// What lies in the bucket and is no act.
    pub fn kept_out(&self) -> Vec<Listed> {
        let kept_out = self.bucket.iter().flat_map(|bucket| &bucket.kept_out);
        let listed = kept_out.map(|(id, why)| Listed {
            id: id.clone(),
            text: String::new(),
            in_force: false,
            problem: Some(format!("the bucket holds a value under it that is kept out: {why}")),
        });
        listed.collect()
    }

    /// Writes, and waits until the gates of a fleet have followed. `None`: a folder tells nothing of who reads it.
    ///
    /// # Errors
    /// It was not written, or nobody knows.
    pub fn write(&mut self, change: &Change) -> Result<Result<Option<Reach>, Box<Refused>>, Failure> {
        let reach = match &mut self.bucket {
            None => None,
            Some(bucket) => match bucket.write(change)? {
                Ok(reach) => Some(reach),
                Err(refused) => return Ok(Err(refused)),
            },
        };
        let alone = self.bucket.as_ref().map(|bucket| alone(&bucket.kept)).transpose()?;
        if matches!(alone, Some(None)) {
            return Ok(Ok(reach));
        }
        let written = match (change, alone.is_some()) {
            (Change::Add(act), false) => self.folder.add(act),
            (Change::Replace(act), false) => self.folder.replace(act),
            (Change::Add(act) | Change::Replace(act), true) => self.folder.mirror(act),
            (Change::Remove(act), is_copy) => match self.folder.remove(&act.id) {
                // A gate beside this command may have been faster.
                Err(NotWritten::NoSuchAct(_)) if is_copy => Ok(()),
                removed => removed,
            },
        };
        written.map_err(failed)?;
        Ok(Ok(reach))
    }
}

impl Bucket {
    fn write(&mut self, change: &Change) -> Result<Result<Reach, Box<Refused>>, Failure> {
        let cuts = self.direct.view().gates.cuts();
        let (put, id) = match change {
            Change::Add(act) => (self.runtime.block_on(self.direct.add(act)), &act.id),
            Change::Replace(act) => (self.runtime.block_on(self.direct.replace(act)), &act.id),
            Change::Remove(act) => (self.runtime.block_on(self.direct.remove(&act.id)), &act.id),
        };
        let put = match put {
            Ok(put) => put,
            Err(NotPut::Conflict) => {
                let help = "`scopegate overrides` shows what it says now";
                let message = format!("{id}: {}", NotPut::Conflict);
                return Ok(Err(Box::new(Refused::new(RefusedCode::Order, message, help))));
            }
            Err(error) => return Err(Failure::Other(format!("{id}: {error}"))),
        };
        let reach = self.runtime.block_on(self.direct.reached(&put, &cuts));
        let lost = |lost| Failure::Other(format!("{id} was written, and which gates it reached is not known: {lost}"));
        reach.map(Ok).map_err(lost)
    }
}

fn alone(kept: &Kept) -> Result<Option<File>, Failure> {
    kept.alone(COMMAND_MAX).map_err(|error| Failure::Other(format!("{}: {error}", kept.folder().display())))
}

/// What the bucket holds and the gate beside this command has not written to its folder, with what it keeps out.
fn not_taken(direct: &Direct, folder: &Overrides) -> Vec<(String, String)> {
    let fresh = direct.acts().filter(|act| folder.read(&act.id).as_ref() != Some(*act));
    let why = |act: &Act| (act.id.to_string(), "the gate that runs here has not taken it".to_owned());
    direct.refused().iter().cloned().chain(fresh.map(why)).collect()
}

/// Brings the folder to what the bucket says: judged first, as a gate does. Says what is kept out.
fn follow(direct: &Direct, folder: &Overrides, path: &Path, now_ms: i64) -> Result<Vec<(String, String)>, Failure> {
    for id in direct.gone() {
        match folder.remove(id) {
            Ok(()) | Err(NotWritten::NoSuchAct(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let mut kept_out = direct.refused().to_vec();
    let fresh: Vec<&Act> = direct.acts().filter(|act| folder.read(&act.id).as_ref() != Some(*act)).collect();
    let before: BTreeSet<String> = match fresh.is_empty() {
        true => BTreeSet::new(),
        false => errors(&problems_with(path, None, now_ms)),
    };
    for act in fresh {
        match fault(act, folder, path, now_ms, &before) {
            Some(why) => kept_out.push((act.id.to_string(), why)),
            None => folder.mirror(act).map_err(failed)?,
        }
    }
    Ok(kept_out)
}

/// Why the loader would keep an act out.
fn fault(act: &Act, folder: &Overrides, path: &Path, now_ms: i64, before: &BTreeSet<String>) -> Option<String> {
    let file: Arc<Path> = folder.file(&act.id).into();
    let after = problems_with(path, Some((file, Content::Text(Arc::clone(&act.text)))), now_ms);
    errors(&after).into_iter().find(|message| !before.contains(message))
}

fn errors(problems: &[Problem]) -> BTreeSet<String> {
    problems.iter().filter(|problem| problem.is_error()).map(|problem| problem.message.clone()).collect()
}
