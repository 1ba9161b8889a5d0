//! One session: from an empty view of the bucket to its loss. It waits in one place for all that it is told, so that
//! nothing that takes its time (the disk, a worker, the cluster) keeps it from hearing the rest.

mod compare;
mod lack;
mod mend;
mod say;
mod whole;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::apply::{Applied, Expect, Turn, apply};
use super::bucket::{Feed, Link, Lost, NotPut};
use super::copies::{Found, Message, Word, Words};
use super::entry::{Entry, Instance, Key, Op};
use super::gates::{Said, Status, mark};
use super::known::Step;
use super::progress::Moment;
use super::task::{Around, Inbox, Task, ticks};
use crate::acts::ActId;
use crate::control::reload::Said as Held;
use crate::control::reload::force::Standing;
use lack::Lacks;

/// Messages between the feed and the session.
const FEED_MAX: usize = 1_024;
/// A gate that has never known a bucket gives a new one its identity after this: who knows acts comes first.
const IDENTITY_WAIT: Duration = Duration::from_secs(5);
/// Between two tries to do so.
const IDENTITY_RETRY: Duration = Duration::from_secs(5);
/// Between two tries to write to a disk that did not take it.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// How long a status waits for what is under way to be judged.
const JUDGED_SOON: Duration = Duration::from_millis(5);

/// What a session is told.
#[derive(Debug)]
pub enum Told {
    Entry(Box<Entry>),
    Lost(Lost),
    /// The servers' copies were held beside what was fed.
    Compared(Result<Found, Lost>),
    /// An act that some gate lacks is to be written again, if the message that holds it is still this one.
    Again(ActId, u64),
    /// This gate's status was taken by the cluster, or was not. `whole`: it set out to write it once it had all that lay there.
    Said {
        began: Moment,
        whole: bool,
        seq: Result<u64, NotPut>,
    },
    Applied(Applied),
    /// A batch is in force in every worker as of this generation.
    Passed(u64),
    /// To be said before what is under way was judged.
    InForce,
    /// What was under way was judged for messages up to this one, and so much was cut.
    Judged(u64, u64),
}

/// What is being put in force.
struct Batch {
    seqs: Vec<u64>,
    entries: Vec<Message>,
    /// `None`: the disk is being written.
    expect: Option<BTreeMap<ActId, Expect>>,
    /// What the loader was told of it.
    told: Vec<Held>,
    /// What will be said of it, in the order of the messages.
    says: Vec<(ActId, Said)>,
    /// The workers are waited for.
    passing: bool,
}

/// Whether the servers' copies were held beside what was fed.
enum Copies {
    Unread,
    Read(JoinHandle<()>),
    Compared,
}

pub struct Session<'t> {
    task: &'t mut Task,
    around: &'t Around,
    link: Link,
    tell: mpsc::UnboundedSender<Told>,
    inbox: Inbox,
    /// What the bucket delivers, no faster than it is read.
    entries: mpsc::Receiver<Result<Entry, Lost>>,
    feed: JoinHandle<()>,
    turn: Turn,
    began: Instant,
    /// What is to come in force. At the place 0: it was looked at before, and is tried again.
    queue: VecDeque<Message>,
    batch: Option<Batch>,
    disk_after: Option<Instant>,
    delivered: u64,
    /// The number of this session's first status: all that lay there before comes before it.
    first_said: Option<u64>,
    /// From this one of its statuses on every gate was heard that spoke before: what lay there is delivered by key, and one that
    /// spoke again meanwhile comes only then.
    counts_from: Option<u64>,
    replayed: bool,
    /// The server whose copy of the bucket is read here.
    server: Option<String>,
    /// The last word about each act, as it came here.
    words: Words,
    copies: Copies,
    /// What some server lacks, until it is written again.
    lacked: BTreeMap<ActId, Word>,
    /// What other gates have and did not come here.
    lacks: Lacks,
    /// Acts that were written again lately or soon will be, and when.
    again: BTreeMap<ActId, Instant>,
    /// What lay there is in force.
    whole: bool,
    identity: Option<String>,
    /// The message that last wrote it; 0 for none.
    identity_seq: u64,
    /// An attempt is under way, or was a moment ago.
    identifying: Option<Instant>,
    /// A status is on its way.
    saying: bool,
    /// There is something new to say.
    dirty: bool,
    said: Option<Instant>,
    judged: u64,
    generation: u64,
    barriers: Vec<(Moment, oneshot::Sender<()>)>,
}

impl<'t> Session<'t> {
    pub fn begin(task: &'t mut Task, around: &'t Around, link: Link, mut feed: Feed) -> Self {
        let (tell, inbox) = mpsc::unbounded_channel();
        let (send, entries) = mpsc::channel(FEED_MAX);
        let server = feed.server().map(str::to_owned);
        let feed = tokio::spawn(async move {
            loop {
                let next = feed.next().await;
                let is_last = next.is_err();
                if send.send(next).await.is_err() || is_last {
                    return;
                }
            }
        });
        task.known.begin();
        task.progress.begin();
        (task.connected, task.whole) = (true, false);
        task.problem = None;
        let turn = task.turns.begin();
        task.view.send_modify(|view| {
            view.delivered = 0;
            view.revisions.clear();
            view.gates.begin();
        });
        Self {
            task,
            around,
            link,
            tell,
            inbox,
            entries,
            feed,
            turn,
            began: Instant::now(),
            queue: VecDeque::new(),
            batch: None,
            disk_after: None,
            delivered: 0,
            first_said: None,
            counts_from: None,
            replayed: false,
            server,
            words: Words::new(),
            copies: Copies::Unread,
            lacked: BTreeMap::new(),
            lacks: Lacks::default(),
            again: BTreeMap::new(),
            whole: false,
            identity: None,
            identity_seq: 0,
            identifying: None,
            saying: false,
            dirty: true,
            said: None,
            judged: 0,
            generation: 0,
            barriers: Vec::new(),
        }
    }

    pub fn was_whole(&self) -> bool {
        self.whole
    }

    pub async fn run(&mut self) -> Lost {
        let mut tick = ticks();
        let mut force = self.around.force.watch();
        loop {
            self.say();
            let told = tokio::select! {
                told = self.inbox.recv() => told,
                Some(next) = self.entries.recv() => {
                    Some(next.map_or_else(Told::Lost, |entry| Told::Entry(Box::new(entry))))
                }
                _ = force.changed() => {
                    force.borrow_and_update();
                    self.force_moved();
                    None
                }
                Some(asked) = self.task.barriers.recv() => {
                    self.barriers.push((Moment::now(), asked));
                    self.dirty = true;
                    None
                }
                _ = tick.tick() => {
                    self.tick().await;
                    match self.lacks_for_long() {
                        Some(lost) => return lost,
                        None => None,
                    }
                }
            };
            let Some(told) = told else { continue };
            if let Err(lost) = self.told(told).await {
                return lost;
            }
        }
    }

    async fn told(&mut self, told: Told) -> Result<(), Lost> {
        match told {
            Told::Entry(entry) => self.entry(*entry).await,
            Told::Lost(lost) => return Err(lost),
            Told::Compared(found) => self.compared(found?),
            Told::Again(id, seq) => self.write_again(&id, seq),
            Told::Said { began, whole, seq: Ok(seq) } => self.was_said(began, whole, seq),
            Told::Said { seq: Err(error), .. } => return Err(Lost::Unreachable(error.to_string())),
            Told::Applied(applied) => self.applied(applied).await,
            Told::Passed(generation) => self.passed(generation),
            Told::InForce => self.dirty = true,
            Told::Judged(seq, cut) => {
                self.judged = self.judged.max(seq);
                self.task.cut += cut;
                self.dirty = true;
            }
        }
        self.settle().await;
        Ok(())
    }

    async fn entry(&mut self, entry: Entry) {
        self.delivered = entry.seq;
        let mut collides = false;
        match entry.key {
            Key::Act(id) => {
                self.task.progress.waits(entry.seq);
                let message = Message { id, op: entry.op, seq: entry.seq, value: entry.value };
                self.hear_word(&message);
                self.queue.push_back(message);
            }
            Key::NoAct(key) => {
                tracing::error!(key, "the bucket holds something that is no act: it is kept out");
                self.task.known.take_no_act(&key, entry.op);
                self.task.tell_refusals(self.around);
                self.dirty = true;
            }
            Key::Gate(instance) => {
                collides = self.has_to_yield(&instance, entry.op, &entry.value, entry.seq);
                self.task.view.send_modify(|view| {
                    let value = (entry.op == Op::Put).then_some(&entry.value);
                    view.gates.take(&instance, value, entry.seq, entry.stamp_ms);
                });
                self.hear_gate(&instance);
            }
            Key::Identity => {
                let text = (entry.op == Op::Put).then(|| super::entry::shown(&String::from_utf8_lossy(&entry.value)));
                self.identity_seq = entry.seq;
                self.identity = text.filter(|text| !text.is_empty());
            }
            Key::Foreign => {}
        }
        self.task.progress.delivered(entry.seq);
        self.task.progress.look();
        self.task.view.send_modify(|view| view.gates.at(entry.stamp_ms));
        if collides {
            self.task.take_another_instance().await;
            self.dirty = true;
        }
    }

    /// Whether another process speaks under this gate's key, and this one has to take another. What lay there before
    /// may be of this gate's last life. One of the two keeps the key: nobody would ever take a key back that both left.
    fn has_to_yield(&mut self, instance: &Instance, op: Op, value: &Bytes, seq: u64) -> bool {
        let after = self.first_said.is_some_and(|first| seq > first);
        if *instance != self.task.instance || !after || op != Op::Put {
            return false;
        }
        let boot = serde_json::from_slice::<Status>(value).ok().map(|status| status.boot);
        // The key speaks for this gate again.
        self.dirty |= boot != Some(self.task.boot);
        boot.is_some_and(|boot| boot < self.task.boot)
    }

    fn was_said(&mut self, began: Moment, whole: bool, seq: u64) {
        self.saying = false;
        if whole {
            self.counts_from.get_or_insert(seq);
        }
        self.first_said.get_or_insert(seq);
        self.task.progress.barrier(seq, began);
    }

    /// Whatever has become possible.
    async fn settle(&mut self) {
        self.next_batch();
        if self.counts_from.is_some_and(|from| self.delivered >= from) {
            self.task
                .view
                .send_if_modified(|view| std::mem::replace(&mut view.delivered, self.delivered) != self.delivered);
        }
        self.replayed |= self.first_said.is_some_and(|first| self.delivered >= first);
        if self.replayed {
            self.compare();
        }
        if self.is_compared() && self.batch.is_none() && self.queue.is_empty() {
            self.reconcile().await;
        }
        let synced = self.task.progress.synced();
        let waited = std::mem::take(&mut self.barriers);
        for (asked, tell) in waited {
            match synced {
                Some(synced) if synced.instant >= asked.instant => drop(tell.send(())),
                Some(_) | None => self.barriers.push((asked, tell)),
            }
        }
    }

    /// Takes what waits to the disk, unless something is on its way there already.
    fn next_batch(&mut self) {
        let rests = self.disk_after.is_some_and(|after| Instant::now() < after);
        if self.batch.is_some() || self.queue.is_empty() || rests {
            return;
        }
        let entries: Vec<Message> = self.queue.drain(..).collect();
        let (before, mut refused) = (self.task.known.refused().count(), 0);
        let steps: Vec<Step> = entries
            .iter()
            .map(|queued| {
                let step = self.task.known.take(&queued.id, queued.op, queued.seq, &queued.value);
                refused += usize::from(step == Step::Nothing && queued.op == Op::Put);
                step
            })
            .collect();
        if refused > 0 {
            tracing::error!(refused, "the bucket holds values that are no acts: they are kept out");
        }
        if refused > 0 || before != self.task.known.refused().count() {
            self.task.tell_refusals(self.around);
        }
        let revisions = self.task.known.revisions().clone();
        self.task.view.send_modify(|view| view.revisions = revisions);
        self.begin_batch(entries, steps);
    }

    fn begin_batch(&mut self, entries: Vec<Message>, steps: Vec<Step>) {
        let seqs = entries.iter().map(|queued| queued.seq).collect();
        self.batch = Some(Batch { seqs, entries, expect: None, told: Vec::new(), says: Vec::new(), passing: false });
        let (overrides, turn, tell) = (self.task.overrides.clone(), self.turn.clone(), self.tell.clone());
        let (try_out, holder) = (self.around.try_out.clone(), self.around.holder.clone());
        tokio::task::spawn_blocking(move || {
            // The session may be over.
            if let Some(applied) = turn.take(|| apply(steps, &overrides, (&try_out, &holder))) {
                let _ = tell.send(Told::Applied(applied));
            }
        });
    }

    async fn applied(&mut self, applied: Applied) {
        applied.written.iter().for_each(|act| self.task.known.written(act));
        applied.removed.iter().for_each(|id| self.task.known.removed(id));
        let any_refused = !applied.refused.is_empty();
        for (act, why) in applied.refused {
            tracing::error!(act = %act.id, why, "an act in the bucket cannot be taken: it is kept out");
            self.task.known.refuse_act(&act, why);
        }
        if any_refused {
            self.task.tell_refusals(self.around);
        }
        if !applied.written.is_empty() || !applied.removed.is_empty() {
            // Before anybody hears that it is in force: a restart knows these acts by it.
            self.task.write_memory().await;
        }
        if let Some(why) = applied.failed {
            return self.not_on_disk(why);
        }
        self.task.trouble = None;
        self.disk_after = None;
        if let Some(batch) = &mut self.batch {
            batch.says = batch.says_of(&applied.expect);
            (batch.expect, batch.told) = (Some(batch.expected(applied.expect)), applied.told);
        }
        self.check_force();
    }

    /// All of the batch is tried again: what was written already says so itself.
    fn not_on_disk(&mut self, why: String) {
        if self.task.trouble.as_ref() != Some(&why) {
            tracing::error!(why, "acts cannot be written to the state folder: this gate falls behind");
        }
        self.task.trouble = Some(why);
        self.disk_after = Some(Instant::now() + DISK_RETRY);
        let again = self.batch.take().map(|batch| batch.entries).unwrap_or_default();
        again.into_iter().rev().for_each(|queued| self.queue.push_front(queued));
    }

    fn force_moved(&mut self) {
        self.check_force();
        let generation = self.around.force.watch().borrow().generation;
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        // Where acts are on their way it is said once, when they are in force in every worker.
        self.dirty |= self.batch.is_none();
        // What no policy could take then may be taken now.
        let waits: BTreeSet<&ActId> = self.queue.iter().map(|queued| &queued.id).collect();
        let again = self.task.known.to_try_again(|id| waits.contains(id));
        let revisions = self.task.known.revisions().clone();
        self.queue.extend(again.into_iter().map(|act| Message {
            seq: revisions.get(&act.id).copied().unwrap_or(0),
            value: Bytes::copy_from_slice(act.text.as_bytes()),
            op: Op::Put,
            id: act.id,
        }));
        self.next_batch();
    }

    /// Is what was written in force?
    fn check_force(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        let (Some(expect), false) = (&mut batch.expect, batch.passing) else { return };
        let watch = self.around.force.watch();
        let force = watch.borrow();
        expect.retain(|id, wanted| match (*wanted, force.acts.get(id)) {
            (Expect::Gone, None) => false,
            (Expect::Text(text), Some(Standing::InForce)) => force.texts.get(id) != Some(&text),
            // The policy changed between the judgement and the reading: the loader tells it like any file's.
            (Expect::Text(_), Some(Standing::Refused(_))) => false,
            (Expect::Gone, Some(_)) | (Expect::Text(_), None) => true,
        });
        let (is_done, generation) = (expect.is_empty(), force.generation);
        drop(force);
        if is_done {
            batch.passing = true;
            let (passed, tell) = ((self.around.passed)(), self.tell.clone());
            tokio::spawn(async move {
                passed.await;
                let _ = tell.send(Told::Passed(generation));
            });
        }
    }

    /// A reload that panicked may have lost what it was told.
    fn tell_again(&self) {
        let Some(batch) = self.batch.as_ref().filter(|batch| batch.expect.is_some() && !batch.passing) else { return };
        let (holder, told) = (self.around.holder.clone(), batch.told.clone());
        tokio::task::spawn_blocking(move || holder.tell(told));
    }

    fn passed(&mut self, generation: u64) {
        let Some(batch) = self.batch.take() else { return };
        self.task.progress.settled(batch.seqs);
        self.task.recent.extend(batch.says);
        // Readiness tells what the fleet is told, and not later.
        self.task.look(self.around);
        let (mut judged, tell, seq) =
            ((self.around.judged)(generation), self.tell.clone(), self.task.progress.in_force());
        tokio::spawn(async move {
            // Mostly nothing is under way: then one status says both.
            let cut = match tokio::time::timeout(JUDGED_SOON, &mut judged).await {
                Ok(cut) => cut,
                Err(_) => {
                    let _ = tell.send(Told::InForce);
                    judged.await
                }
            };
            let _ = tell.send(Told::Judged(seq, cut));
        });
    }

    async fn tick(&mut self) {
        self.tell_again();
        let every = Duration::from_millis(self.every_ms());
        self.dirty |= self.said.is_none_or(|said| said.elapsed() >= every);
        self.look_at_lacks();
        self.mend();
        self.task.look(self.around);
        if self.whole {
            self.task.remember().await;
        }
        self.settle().await;
    }
}

impl Batch {
    /// What a message waits for. A copy that was put right is waited for by nobody.
    fn expected(&self, mut expect: BTreeMap<ActId, Expect>) -> BTreeMap<ActId, Expect> {
        let said: BTreeSet<&ActId> = self.entries.iter().map(|queued| &queued.id).collect();
        expect.retain(|id, _| said.contains(id));
        expect
    }

    /// Of each act what is in force then, under the last of its messages.
    fn says_of(&self, expect: &BTreeMap<ActId, Expect>) -> Vec<(ActId, Said)> {
        let says = self.entries.iter().filter_map(|queued| {
            let text = match expect.get(&queued.id) {
                Some(Expect::Text(digest)) => Some(mark(digest)),
                Some(Expect::Gone) => None,
                // It was never here.
                None if queued.op == Op::Delete => None,
                None => return None,
            };
            Some((queued.id.clone(), Said { at: queued.seq, text }))
        });
        says.collect()
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.feed.abort();
        if let Copies::Read(reading) = &self.copies {
            reading.abort();
        }
    }
}
