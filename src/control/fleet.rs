//! The fleet: acts in a key-value bucket of NATS JetStream, on this gate's disk, and in force; and who else has them.
//!
//! **The one order.** Acts, and what gates say of themselves, lie in one bucket: one stream, in which the cluster gives
//! every message a number once a majority has it. A gate reads all of it in that order, by a consumer whose messages
//! are counted, so that none is left out. A consumer may be fed by a server that lags; so a gate does not believe that
//! it has everything because nothing comes. It writes its own status, is told the number N, and waits until N itself was
//! delivered: whatever was acknowledged before the gate set out to write comes before N. No read is trusted otherwise.
//!
//! **In sync** is a gate as of the moment at which it set out to write the last status N for which everything up to N
//! is in force in every worker. It is ready only once that happened in this life, and only while that moment is not
//! longer ago than `max_override_age`. A start that does not reach the bucket goes by what it knew and since when
//! (`start: fetched` forbids that); one that said good-bye, or never knew, waits.
//!
//! **Acknowledged** is an act when a command answers that it is in force on all gates. The command waits for every gate
//! whose status it has seen before the act in the one order, or sees later. A gate that becomes ready has a status N:
//! if N lies after the act, it has the act; if before, the command has seen N and waits for this gate. A gate that does
//! not answer is named, with exit code 1, until its lease has ended by the cluster's clock: by then it is not ready by its
//! own clock, for its lease began when it set out to write, before the cluster took that. Until then it may be ready
//! without the act, and the command does not say "done" over it.
//!
//! Why the command has seen N: a message whose key was written again before it was delivered is never delivered, only the
//! later one is. So that N is not missed, the command looks once a message was delivered that was written after the act
//! was (a gate's own status says the act, and comes after it; without a gate the command writes one). What followed N was
//! written before N was passed over, and so comes before that. In a session that has just begun the same holds from the
//! first status that was written after all that lay there had been delivered. A number of another bucket counts for
//! nothing: with each session every gate must be heard again, and none can have in force what comes after its own word.
//! And a place is believed only where the cluster names one: an acknowledgement with the number 0 is none.
//!
//! **Where the servers break the order.** Servers may come to hold different messages at one place, for good: 2.9.10, of which
//! some lay still for ten seconds, leaves what the one that led alone had taken in that one's copy, at the places of what the
//! others took after that; and it may lead again, so that its word is no better than any. No number shows that. Hence three
//! things. A gate that heard of an act lately says the act and the mark of its text, and only that counts for a command. A
//! session counts once the copies of a majority of the servers were read up to its own first status (`copies`): what was
//! acknowledged before has a majority, so one of them has it, unless half of them went apart. And a gate to which an act does
//! not come that another one says to have, though its place has passed, says so and is not ready after a while; whoever has
//! it writes it again, at a place that all servers agree on.
//!
//! **Nothing is lost in silence.** An act goes by a marker that says so, never because it is not there: a bucket that is
//! gone, empty, new or older than what was known leaves every known act in force, and is told. What takes away is put
//! back by each gate that knows it, so every act that was in force anywhere comes back; what gives is not, for the
//! marker that took it back may be what was lost. A gate that has never known a bucket waits before it gives a new one its
//! identity, so that those who know acts come first. What no gate knows is lost with the bucket.
//!
//! **Foreign values.** Whoever may write to the bucket may write anything. A value is judged by the loader that judges
//! files, before it comes to the disk; one that it does not take is told and kept out alone, and what was held under its
//! key before holds on.

mod apply;
pub mod bucket;
mod copies;
pub mod direct;
pub mod entry;
pub mod gates;
mod known;
pub mod memory;
mod progress;
mod session;
mod task;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::acts::{Act, ActId};
use crate::config::model;
use crate::problem::Problem;
use bucket::{Link, NotPut};
use entry::{Instance, Op, act_key};
use gates::{Gates, Put, Reach, mark};
use memory::Kept;
pub use task::{Around, Task};

/// How long a command waits for gates that answer.
const REACH_MAX: Duration = Duration::from_secs(8);
/// How long it waits for those that have been silent.
const SILENT_MAX: Duration = Duration::from_millis(1_500);
/// How long it waits for streams to be judged, once the act is in force everywhere.
const JUDGED_MAX: Duration = Duration::from_secs(1);
/// How long a command waits for a session with the bucket.
const LINK_MAX: Duration = Duration::from_secs(5);

/// Which bucket, and what of it is on the disk.
#[derive(Debug, Clone)]
pub struct Settings {
    pub bucket: model::Bucket,
    /// The folder of known acts: the loader reads it like any other. What else is remembered lies beside it.
    pub acts: PathBuf,
    /// What commands call this gate.
    pub name: String,
}

impl Settings {
    /// `None`: the acts of this configuration lie in a folder of its own.
    pub fn of(config: &model::Config) -> Option<Self> {
        let (bucket, acts) = (config.bucket.clone()?, config.overrides.clone()?);
        let name = bucket.gate_name.clone().unwrap_or_else(host_name);
        Some(Self { bucket, acts, name })
    }

    /// Where it is remembered what was known of the bucket: beside the acts.
    pub fn kept(&self) -> Kept {
        Kept::new(self.acts.parent().unwrap_or(&self.acts))
    }
}

fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.or_else(|| std::env::var("HOSTNAME").ok()).map(|name| entry::shown(name.trim()));
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "gate".to_owned())
}

/// What a session knows, for whoever waits for something.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Every gate that spoke up to this message was heard in this session. 0: not even those that spoke before it.
    pub delivered: u64,
    pub gates: Gates,
    /// Which message put each act where it is.
    pub revisions: BTreeMap<ActId, u64>,
    /// Which of the gates this is.
    pub own: Option<Instance>,
}

/// The fleet, for whoever gives orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet {
    link: watch::Receiver<Option<Link>>,
    view: watch::Receiver<View>,
    barriers: mpsc::Sender<oneshot::Sender<()>>,
}

impl Fleet {
    /// Writes a new act. Returns what must be in force then.
    ///
    /// # Errors
    /// It was not written, or nobody knows.
    pub async fn add(&self, act: &Act) -> Result<Put, NotPut> {
        Ok(put_of(act, self.put(&act.id, Op::Put, text(act), 0).await?))
    }

    /// Writes an act in place of what it was when it was last seen.
    ///
    /// # Errors
    /// As [`Self::add`], and that somebody else changed it.
    pub async fn replace(&self, act: &Act) -> Result<Put, NotPut> {
        Ok(put_of(act, self.put(&act.id, Op::Put, text(act), self.revision(&act.id)).await?))
    }

    /// Takes an act back.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn remove(&self, id: &ActId) -> Result<Put, NotPut> {
        let seq = self.put(id, Op::Delete, Bytes::new(), self.revision(id)).await?;
        Ok(Put { seq, id: id.clone(), text: None })
    }

    /// The message that put it there; 0 for one that only gates know.
    fn revision(&self, id: &ActId) -> u64 {
        self.view.borrow().revisions.get(id).copied().unwrap_or(0)
    }

    async fn put(&self, id: &ActId, op: Op, value: Bytes, expected: u64) -> Result<u64, NotPut> {
        let mut link = self.link.clone();
        // Waited for on its own: what it gives is a lock, which must not be held while something else is waited for.
        let linked = async { link.wait_for(Option::is_some).await.is_ok() };
        let _ = timeout(LINK_MAX, linked).await;
        let link = self.link.borrow().clone();
        let link = link.ok_or_else(|| NotPut::Refused("no server of the cluster is reached".to_owned()))?;
        link.put(&act_key(id), op, value, Some(expected)).await
    }

    /// Waits until everything is in force here that was acknowledged before this was called.
    ///
    /// # Errors
    /// The bucket does not answer.
    pub async fn catch_up(&self) -> Result<(), NotPut> {
        self.catch_up_within(LINK_MAX).await
    }

    async fn catch_up_within(&self, max: Duration) -> Result<(), NotPut> {
        let (tell, told) = oneshot::channel();
        let unknown = || NotPut::Refused("the gate is not in sync with the bucket".to_owned());
        // Both wait for the session, and whoever asks holds up every other order meanwhile.
        let asked = async {
            self.barriers.send(tell).await.ok()?;
            told.await.ok()
        };
        timeout(max, asked).await.ok().flatten().ok_or_else(unknown)
    }

    /// How many streams each gate has cut so far.
    pub fn cuts(&self) -> BTreeMap<Instance, u64> {
        self.view.borrow().gates.cuts()
    }

    /// Why this gate does not take an act.
    pub fn refusal(&self, id: &ActId) -> Option<String> {
        let view = self.view.borrow();
        view.gates.of(view.own.as_ref()?)?.status.refused.get(id.as_str()).cloned()
    }

    /// Waits until every gate has it in force, or does not answer.
    pub async fn reached(&self, put: &Put, cuts: &BTreeMap<Instance, u64>) -> Reach {
        let mut view = self.view.clone();
        let mut wait = Wait::begin();
        loop {
            let reach = {
                let view = view.borrow_and_update();
                // A gate that was heard before the act is waited for, so the act itself must have been seen.
                (view.delivered >= put.seq).then(|| view.gates.reach(put, cuts))
            };
            let left = wait.left(reach.as_ref());
            match reach {
                Some(reach) if left.is_zero() => return Reach { at: wait.in_force, ..reach },
                None if left.is_zero() => {
                    let missing = vec!["this gate (it does not see the bucket)".to_owned()];
                    return Reach { of: 1, missing, ..Reach::default() };
                }
                Some(_) | None => {}
            }
            if let Ok(Err(_)) = timeout(left, view.changed()).await {
                // The session is gone for good: the gate ends.
                wait = Wait::over();
            }
        }
    }
}

/// How long it is worth waiting.
struct Wait {
    until: Instant,
    silent_until: Instant,
    judged_until: Option<Instant>,
    /// When nothing was missing for the first time.
    in_force: Option<Instant>,
}

impl Wait {
    fn begin() -> Self {
        let now = Instant::now();
        Self { until: now + REACH_MAX, silent_until: now + SILENT_MAX, judged_until: None, in_force: None }
    }

    fn over() -> Self {
        let now = Instant::now();
        Self { until: now, silent_until: now, judged_until: Some(now), in_force: None }
    }

    fn left(&mut self, reach: Option<&Reach>) -> Duration {
        let now = Instant::now();
        if reach.is_some_and(|reach| reach.missing.is_empty()) {
            self.in_force.get_or_insert(now);
        }
        let until = match reach {
            Some(reach) if reach.missing.is_empty() && reach.judged => now,
            Some(reach) if reach.missing.is_empty() => *self.judged_until.get_or_insert(now + JUDGED_MAX),
            Some(reach) if !reach.answering => self.silent_until,
            Some(_) | None => self.until,
        };
        until.saturating_duration_since(now)
    }
}

fn put_of(act: &Act, seq: u64) -> Put {
    Put { seq, id: act.id.clone(), text: Some(mark(&known::digest(&act.text))) }
}

fn text(act: &Act) -> Bytes {
    Bytes::copy_from_slice(act.text.as_bytes())
}

/// What the bucket holds and this gate does not take: the writer counts it among the problems of files.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<Arc<[Problem]>>>);

impl Refusals {
    pub fn set(&self, problems: Vec<Problem>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problems.into();
    }

    pub fn all(&self) -> Arc<[Problem]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[tokio::test]
    async fn who_catches_up_does_not_wait_for_ever_where_nobody_listens() {
        let (_, link) = watch::channel(None);
        let (_, view) = watch::channel(View::default());
        let (barriers, _waits) = mpsc::channel(1);
        let (tell, _told) = oneshot::channel();
        barriers.try_send(tell).unwrap();
        let fleet = Fleet { link, view, barriers };
        let asked = timeout(Duration::from_secs(60), fleet.catch_up_within(Duration::from_millis(20))).await;
        assert!(matches!(asked, Ok(Err(NotPut::Refused(_)))), "{asked:?}");
    }
}
