//! Carries orders out in a running gate: checked, written, and answered once they are in force in every worker.

mod fleet;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

pub use fleet::{lapsed, reached};

use crate::acts::done::{Done, Listed, Reached};
use crate::acts::draft::RefusedCode;
use crate::acts::promote::promoted;
use crate::acts::text::scalar;
use crate::acts::{Act, ActId, Order, Refused, draft};
use crate::authz::policy::store::Content;
use crate::authz::snapshot::Snapshot;
use crate::clock::unix_ms;
use crate::config::Config;
use crate::control::admin::right::Caller;
use crate::control::admin::{ActRequest, AdminError, Undo};
use crate::control::fleet::Fleet;
use crate::control::folder::Hints;
use crate::control::journal::Journal;
use crate::control::journal::author::Author;
use crate::control::overrides::{NotWritten, Overrides, random};
use crate::control::reload::force::{Force, InForce, Standing};
use crate::control::reload::{Holder, TryOut};
use crate::control::usage;
use crate::live::Live;
use crate::proxy::worker::Fence;

/// An act that is not in force after this is told to be missing: something is wrong with the folder.
const IN_FORCE_MAX: Duration = Duration::from_secs(10);
/// How long the journal may take before it is said that it does not have the act yet.
const JOURNAL_MAX: Duration = Duration::from_secs(2);

/// What it takes to carry an order out.
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    pub(super) overrides: Option<Overrides>,
    /// Where the folder of overrides is a copy of a fleet's bucket.
    pub(super) fleet: Option<Fleet>,
    pub(super) hints: Vec<Arc<Hints>>,
    pub(super) try_out: TryOut,
    pub(super) holder: Holder,
    pub(super) force: Force,
    pub(super) fence: Fence,
    /// `None`: there is no state folder.
    pub(super) journal: Option<Journal>,
    /// What was counted. `None`: there is no state folder.
    pub(super) usage: Option<usage::Asked>,
    /// Which gates can be walked around.
    pub(super) config: Arc<Config>,
    /// One order after the other: what an admin saw is what the act is made on.
    pub(super) turn: Mutex<()>,
}

/// What has been put on the disk, as the snapshot will show it.
enum Wanted {
    There,
    Gone,
}

impl Desk {
    pub(super) async fn answer(&self, request: ActRequest) -> Result<Value, AdminError> {
        let answer = match request {
            ActRequest::List => return Ok(serde_json::to_value(self.list().await?).unwrap_or_default()),
            ActRequest::Order { order, dry_run, if_match, caller } => {
                self.order(&order, dry_run, if_match, &caller).await?
            }
            ActRequest::Restore(undo) => self.restore(&undo).await?,
            ActRequest::Promote(undo) => self.promote(&undo).await?,
        };
        Ok(serde_json::to_value(answer).unwrap_or_default())
    }

    async fn list(&self) -> Result<Vec<Listed>, AdminError> {
        let acts = self.blocking(Overrides::list).await?;
        let standing = self.force.watch();
        let standing = standing.borrow();
        let listed = acts.iter().map(|act| match standing.acts.get(&act.id) {
            Some(Standing::InForce) => Listed::of(&act.id, &act.text, None, true),
            Some(Standing::Refused(why)) => Listed::of(&act.id, &act.text, Some(why.clone()), false),
            None => Listed::of(&act.id, &act.text, None, false),
        });
        Ok(listed.collect())
    }

    async fn order(
        &self,
        order: &Order,
        dry_run: bool,
        if_match: Option<u64>,
        caller: &Caller,
    ) -> Result<Done, AdminError> {
        let began = Instant::now();
        let _turn = self.turn.lock().await;
        if !order.act.only_takes() && !dry_run {
            self.caught_up().await?;
        }
        let before = self.snapshot()?;
        if if_match.is_some() || !order.act.only_takes() && !dry_run {
            is_as_seen(&before, if_match)?;
        }
        let states = before.states.as_ref().ok_or(AdminError::NoPolicy)?;
        let mut draft =
            draft(order, &states.newest, &before.catalogs, unix_ms(), random()).map_err(AdminError::Refused)?;
        draft.act = noted(draft.act, "made", caller);
        let mut done = Done::of(&draft);
        if order.act.only_takes() {
            done.notes.extend(self.config.walked_around(&done.apps));
        }
        if dry_run {
            return self.previewed(done, &draft.act, Content::Text(Arc::clone(&draft.act.text)), &before).await;
        }
        let act = draft.act.clone();
        self.sign(&act.id, Some(&act.text), caller, order.by.as_ref(), &order.reason);
        if let Some(fleet) = &self.fleet {
            self.order_all(fleet, &act, &mut done, began, &before).await?;
            return Ok(done);
        }
        let added = self.blocking(move |overrides| overrides.add(&act)).await;
        self.kept_signed(&draft.act.id, Some(&draft.act.text), added).await?;
        let in_force = self.in_force(&draft.act.id, &Wanted::There).await;
        if let Err(why) = &in_force
            && self.is_refused(&draft.act.id)
        {
            // It would stand there for ever and do nothing.
            let id = draft.act.id.clone();
            self.remove(id).await?;
            let help = "nothing was changed";
            return Err(AdminError::Refused(Box::new(Refused::new(RefusedCode::Unsound, why.clone(), help))));
        }
        self.finish(&mut done, in_force, began, &before).await;
        done.notes.extend(if_match.and_then(|seen| changed_meanwhile(seen, &done)));
        Ok(done)
    }

    async fn restore(&self, undo: &Undo) -> Result<Done, AdminError> {
        let began = Instant::now();
        let _turn = self.turn.lock().await;
        if !undo.dry_run {
            self.caught_up().await?;
        }
        let before = self.snapshot()?;
        if !undo.dry_run {
            is_as_seen(&before, undo.if_match)?;
        }
        let act = self.act(&undo.id).await?;
        let mut done = Done::of_act(&act);
        if undo.dry_run {
            return self.previewed(done, &act, Content::Gone, &before).await;
        }
        let principal = undo.caller.principal.to_string();
        tracing::info!(act = %act.id, principal, by = undo.by.as_deref(), reason = undo.reason, "an act is taken back");
        self.sign(&act.id, None, &undo.caller, undo.by.as_ref(), &undo.reason);
        if let Some(fleet) = &self.fleet {
            let cuts = fleet.cuts();
            let removed = fleet.remove(&act.id).await;
            let put = removed.map_err(|error| self.unsigned_unput(&act.id, None, &error))?;
            self.finish_all(fleet, (&put, &cuts), &mut done, began, &before).await;
            return Ok(done);
        }
        let id = act.id.clone();
        let removed = self.remove(id).await;
        self.kept_signed(&act.id, None, removed).await?;
        let in_force = self.in_force(&act.id, &Wanted::Gone).await;
        self.finish(&mut done, in_force, began, &before).await;
        done.notes.extend(undo.if_match.and_then(|seen| changed_meanwhile(seen, &done)));
        Ok(done)
    }

    async fn promote(&self, undo: &Undo) -> Result<Done, AdminError> {
        let began = Instant::now();
        let _turn = self.turn.lock().await;
        let before = self.snapshot()?;
        if undo.if_match.is_some() {
            is_as_seen(&before, undo.if_match)?;
        }
        let act = promoted(&self.act(&undo.id).await?).map_err(AdminError::Refused)?;
        let act = noted(act, "promoted", &undo.caller);
        let mut done = Done::of_act(&act);
        // Before anything is changed: afterwards it refuses them.
        done.would_have_refused = self.shadowed(&act.id).await;
        if undo.dry_run {
            return self.previewed(done, &act, Content::Text(Arc::clone(&act.text)), &before).await;
        }
        let principal = undo.caller.principal.to_string();
        tracing::info!(act = %act.id, principal, by = undo.by.as_deref(), reason = undo.reason, "an act is promoted");
        self.sign(&act.id, Some(&act.text), &undo.caller, undo.by.as_ref(), &undo.reason);
        if let Some(fleet) = &self.fleet {
            let cuts = fleet.cuts();
            let replaced = fleet.replace(&act).await;
            let put = replaced.map_err(|error| self.unsigned_unput(&act.id, Some(&act.text), &error))?;
            self.finish_all(fleet, (&put, &cuts), &mut done, began, &before).await;
            return Ok(done);
        }
        let generation = self.force.watch().borrow().generation;
        let written = act.clone();
        let replaced = self.blocking(move |overrides| overrides.replace(&written)).await;
        self.kept_signed(&act.id, Some(&act.text), replaced).await?;
        let in_force = self.moved_past(generation).await;
        self.finish(&mut done, in_force, began, &before).await;
        Ok(done)
    }

    /// Whom an act in shadow mode would have refused until now.
    async fn shadowed(&self, id: &ActId) -> Vec<String> {
        let (usage, id) = (self.usage.clone(), id.clone());
        let told = tokio::task::spawn_blocking(move || match usage {
            Some(usage) => usage.shadowed(&id, super::state::FLUSH),
            None => usage::shadowed::words(None, &id),
        });
        told.await.unwrap_or_default()
    }

    async fn previewed(
        &self,
        mut done: Done,
        act: &Act,
        content: Content,
        before: &Snapshot,
    ) -> Result<Done, AdminError> {
        let file: Arc<Path> = self.overrides()?.file(&act.id).into();
        let try_out = self.try_out.clone();
        let tried = tokio::task::spawn_blocking(move || try_out.ask(file, content)).await;
        let tried = tried.ok().flatten().ok_or(AdminError::NoPolicy)?;
        if let Some(problem) = tried.problems.first() {
            let refused = Refused::new(RefusedCode::Unsound, problem.message.clone(), "nothing would be changed");
            return Err(AdminError::Refused(Box::new(refused)));
        }
        done.changes(before, &tried.snapshot);
        done.dry_run = true;
        Ok(done)
    }

    /// Fills in what came of it.
    async fn finish(&self, done: &mut Done, in_force: Result<u64, String>, began: Instant, before: &Snapshot) {
        let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        done.in_force = match in_force {
            Ok(generation) => Reached { gates: 1, of: 1, after_ms, generation: Some(generation), ..Reached::default() },
            Err(why) => Reached { of: 1, after_ms, missing: vec![why], ..Reached::default() },
        };
        if let Some(generation) = done.in_force.generation {
            done.in_force.streams_cut = self.fence.streams_judged(generation).await;
        }
        done.changes(before, &Snapshot::clone(&self.live.load()));
        if let Some(generation) = done.in_force.generation {
            done.notes.extend(self.unwritten(generation).await);
        }
    }

    /// Why the journal does not have it: enforcement does not wait for that, whoever asks who did it later must know.
    async fn unwritten(&self, generation: u64) -> Option<String> {
        let journal = self.journal.clone()?;
        let written = tokio::task::spawn_blocking(move || journal.wait(generation, JOURNAL_MAX)).await;
        let why = written.ok()?.err()?;
        Some(format!("the journal does not have it yet: {why}"))
    }

    /// Waits until an act is in force, or is not any more, in every worker. `Err`: why it is not.
    async fn in_force(&self, id: &ActId, wanted: &Wanted) -> Result<u64, String> {
        self.wait(|now| match (wanted, now.acts.get(id)) {
            (Wanted::There, Some(Standing::InForce)) | (Wanted::Gone, None) => Some(Ok(now.generation)),
            (Wanted::There, Some(Standing::Refused(why))) => Some(Err(why.clone())),
            (Wanted::There, None) | (Wanted::Gone, Some(_)) => None,
        })
        .await
    }

    fn is_refused(&self, id: &ActId) -> bool {
        matches!(self.force.watch().borrow().acts.get(id), Some(Standing::Refused(_)))
    }

    async fn moved_past(&self, generation: u64) -> Result<u64, String> {
        self.wait(|now| (now.generation > generation).then_some(Ok(now.generation))).await
    }

    async fn wait(&self, stands: impl Fn(&InForce) -> Option<Result<u64, String>>) -> Result<u64, String> {
        let mut force = self.force.watch();
        self.hints.iter().for_each(|hints| hints.tree());
        let waited = tokio::time::timeout(IN_FORCE_MAX, async {
            loop {
                let stood = stands(&force.borrow_and_update());
                if let Some(stood) = stood {
                    return stood;
                }
                if force.changed().await.is_err() {
                    return Err("the gate is going away".to_owned());
                }
            }
        });
        let generation = waited.await.unwrap_or_else(|_| {
            Err(format!("it was written, and is not in force after {} s: see /readyz", IN_FORCE_MAX.as_secs()))
        })?;
        // A worker may be within the poll in which it compared the generation before (law 8).
        self.fence.passed().await;
        Ok(generation)
    }

    /// Tells the journal who does this, before it is done.
    fn sign(&self, act: &ActId, text: Option<&str>, caller: &Caller, by: Option<&String>, reason: &str) {
        let Some(journal) = &self.journal else { return };
        let author =
            Author { principal: caller.principal.to_string(), by: by.cloned(), reason: reason.trim().to_owned() };
        journal.sign(act.clone(), text.map(digest), author);
    }

    fn unsign(&self, act: &ActId, text: Option<&str>) {
        if let Some(journal) = &self.journal {
            journal.unsign(act, text.map(digest).as_ref());
        }
    }

    /// Takes the name back from what was not done: whoever does it by hand later is somebody else. What failed only after
    /// the file was as wanted (its folder could not be brought to the disk) was done.
    async fn kept_signed(
        &self,
        act: &ActId,
        text: Option<&str>,
        written: Result<(), AdminError>,
    ) -> Result<(), AdminError> {
        if written.is_err() {
            let (overrides, id) = (self.overrides()?.clone(), act.clone());
            let stands = tokio::task::spawn_blocking(move || (overrides.file(&id).exists(), overrides.read(&id))).await;
            let is_done = stands.is_ok_and(|(exists, act)| match text {
                None => !exists,
                Some(text) => act.is_some_and(|act| *act.text == *text),
            });
            if !is_done {
                self.unsign(act, text);
            }
        }
        written
    }

    fn snapshot(&self) -> Result<Snapshot, AdminError> {
        let snapshot = Snapshot::clone(&self.live.load());
        if snapshot.states.is_some() { Ok(snapshot) } else { Err(AdminError::NoPolicy) }
    }

    async fn act(&self, id: &ActId) -> Result<Act, AdminError> {
        let id = id.clone();
        self.blocking(move |overrides| overrides.read(&id).ok_or(NotWritten::NoSuchAct(id))).await
    }

    fn overrides(&self) -> Result<&Overrides, AdminError> {
        self.overrides.as_ref().ok_or_else(|| {
            let help =
                "write `state: state/` in the configuration, in which they lie, or `overrides: overrides/` alone";
            AdminError::Refused(Box::new(Refused::new(
                RefusedCode::Order,
                "this gate has neither `state` nor `overrides`",
                help,
            )))
        })
    }

    /// Whoever removes a file by hand waits until its folder has stood still; what is said here is known to be meant.
    async fn remove(&self, id: ActId) -> Result<(), AdminError> {
        let holder = self.holder.clone();
        self.blocking(move |overrides| {
            let removed = overrides.remove(&id);
            // Where it is there all the same, nothing comes of it.
            holder.tell(vec![(overrides.file(&id).into(), None)]);
            removed
        })
        .await
    }

    /// The disk is waited for on a thread of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        access: impl FnOnce(&Overrides) -> Result<T, NotWritten> + Send + 'static,
    ) -> Result<T, AdminError> {
        let overrides = self.overrides()?.clone();
        let written = tokio::task::spawn_blocking(move || access(&overrides)).await;
        let failed = |_| AdminError::NotWritten("the folder of acts failed: see the log".to_owned());
        written.map_err(failed)?.map_err(|error| not_written(&error))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The act with a line before it that says who did this: nobody can say it of themselves.
fn noted(act: Act, what: &str, caller: &Caller) -> Act {
    let text = format!("# {what} over the admin API by {}\n{}", scalar(&caller.principal.to_string()), act.text);
    Act { text: text.into(), ..act }
}

/// A file may be edited at the very moment of an act that gives: whoever gave must know.
fn changed_meanwhile(seen: u64, done: &Done) -> Option<String> {
    let now = done.in_force.generation.filter(|now| *now > seen + 1)?;
    Some(format!("something else changed the policy at the same moment: it went from generation {seen} to {now}"))
}

/// Another admin may have changed something since: what gives is not laid over that unseen.
fn is_as_seen(now: &Snapshot, if_match: Option<u64>) -> Result<(), AdminError> {
    match if_match {
        None => Err(AdminError::NeedsIfMatch),
        Some(seen) if seen == now.generation => Ok(()),
        Some(seen) => Err(AdminError::Changed { seen, now: now.generation }),
    }
}

fn not_written(error: &NotWritten) -> AdminError {
    let text = format!("{error}; {}", error.help());
    match error {
        NotWritten::NoSuchAct(_) => AdminError::NotFound(text),
        NotWritten::Io { .. } | NotWritten::TooMany | NotWritten::Held(_) => AdminError::NotWritten(text),
    }
}
