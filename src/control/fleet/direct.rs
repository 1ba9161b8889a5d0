//! The bucket without a running gate: a command reads all of it, writes to it, and hears which gates followed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::bucket::{Feed, Link, Lost, NotPut, connect};
use super::entry::{BARRIER, Entry, Instance, Key, Op, act_key, act_of};
use super::gates::{Put, Reach};
use super::{Settings, View, Wait, put_of, text};
use crate::acts::{Act, ActId};

/// For all of the bucket.
const READ_MAX: Duration = Duration::from_secs(30);

/// A bucket that was read.
#[derive(Debug)]
pub struct Direct {
    link: Link,
    feed: Feed,
    view: View,
    /// What lies in it: sound or not, the loader says.
    acts: BTreeMap<ActId, Act>,
    /// What was taken back by a marker.
    gone: Vec<ActId>,
    /// Keys and values that are no text of an act, each with why.
    refused: Vec<(String, String)>,
}

impl Direct {
    /// Reads all that was written before this was called.
    ///
    /// # Errors
    /// The bucket is not reached.
    pub async fn open(settings: &Settings) -> Result<Self, Lost> {
        let (link, feed) = connect(&settings.bucket, "command").await?;
        let (view, acts) = (View::default(), BTreeMap::new());
        let mut direct = Self { link, feed, view, acts, gone: Vec::new(), refused: Vec::new() };
        let barrier = direct.link.put(BARRIER, Op::Put, Bytes::new(), None).await;
        let barrier = barrier.map_err(|error| Lost::Unreachable(error.to_string()))?;
        let read = timeout(READ_MAX, async {
            while direct.view.delivered < barrier {
                direct.next().await?;
            }
            Ok(())
        });
        match read.await {
            Ok(Ok(())) => Ok(direct),
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err(Lost::Feed(format!("it is not read after {} s", READ_MAX.as_secs()))),
        }
    }

    async fn next(&mut self) -> Result<(), Lost> {
        let entry = self.feed.next().await?;
        self.take(entry);
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        match (entry.key, entry.op) {
            (Key::Act(id), Op::Put) => match act_of(&id, &entry.value) {
                Ok(act) => {
                    self.view.revisions.insert(id.clone(), entry.seq);
                    self.acts.insert(id, act);
                }
                Err(why) => self.refused.push((id.to_string(), why)),
            },
            (Key::Act(id), Op::Delete) => {
                self.view.revisions.remove(&id);
                self.acts.remove(&id);
                self.gone.push(id);
            }
            (Key::NoAct(key), Op::Put) => self.refused.push((key, "its key is no id of an act".to_owned())),
            (Key::Gate(instance), op) => {
                let value = (op == Op::Put).then_some(&entry.value);
                self.view.gates.take(&instance, value, entry.seq, entry.stamp_ms);
            }
            (Key::NoAct(_), Op::Delete) | (Key::Identity | Key::Foreign, _) => {}
        }
        self.view.delivered = entry.seq;
        self.view.gates.at(entry.stamp_ms);
    }

    pub fn acts(&self) -> impl Iterator<Item = &Act> {
        self.acts.values()
    }

    pub fn gone(&self) -> &[ActId] {
        &self.gone
    }

    pub fn refused(&self) -> &[(String, String)] {
        &self.refused
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// # Errors
    /// As [`super::Fleet::add`].
    pub async fn add(&self, act: &Act) -> Result<Put, NotPut> {
        Ok(put_of(act, self.link.put(&act_key(&act.id), Op::Put, text(act), Some(0)).await?))
    }

    /// # Errors
    /// As [`super::Fleet::replace`].
    pub async fn replace(&self, act: &Act) -> Result<Put, NotPut> {
        let seq = self.link.put(&act_key(&act.id), Op::Put, text(act), Some(self.revision(&act.id))).await?;
        Ok(put_of(act, seq))
    }

    /// # Errors
    /// As [`super::Fleet::remove`].
    pub async fn remove(&self, id: &ActId) -> Result<Put, NotPut> {
        let seq = self.link.put(&act_key(id), Op::Delete, Bytes::new(), Some(self.revision(id))).await?;
        Ok(Put { seq, id: id.clone(), text: None })
    }

    fn revision(&self, id: &ActId) -> u64 {
        self.view.revisions.get(id).copied().unwrap_or(0)
    }

    /// Waits until every gate has it in force, or does not answer.
    ///
    /// # Errors
    /// The bucket is lost; which gates it reached is not known.
    pub async fn reached(&mut self, put: &Put, cuts: &BTreeMap<Instance, u64>) -> Result<Reach, Lost> {
        let mut wait = Wait::begin();
        let mut after = None;
        loop {
            if after.is_none() && self.view.delivered >= put.seq {
                // A gate that spoke for the first time before the act, and once more before that was delivered, comes only now.
                let barrier = self.link.put(BARRIER, Op::Put, Bytes::new(), None).await;
                after = Some(barrier.map_err(|error| Lost::Unreachable(error.to_string()))?);
            }
            let heard = after.is_some_and(|after| self.view.delivered >= after);
            let reach = heard.then(|| self.view.gates.reach(put, cuts));
            let left = wait.left(reach.as_ref());
            if let Some(reach) = reach.filter(|_| left.is_zero()) {
                return Ok(Reach { at: wait.in_force, ..reach });
            }
            if left.is_zero() {
                return Err(Lost::Feed("what was written does not come back".to_owned()));
            }
            if let Ok(Err(lost)) = timeout(left, self.next()).await {
                return Err(lost);
            }
        }
    }
}
