//! The moment at which all that lies in the bucket is in force: is it the bucket that was known, and what does it lack?

use std::time::Instant;

use bytes::Bytes;

use super::{IDENTITY_RETRY, IDENTITY_WAIT, Session};
use crate::acts::Act;
use crate::control::fleet::bucket::{Link, NotPut};
use crate::control::fleet::entry::{IDENTITY, Instance, Op, act_key};
use crate::control::fleet::gates::Recent;

impl Session<'_> {
    /// All that lies in the bucket is in force. Is it the bucket that was known?
    pub(super) async fn reconcile(&mut self) {
        if self.whole {
            return;
        }
        let knows = self.task.memory.identity.is_some();
        let Some(identity) = self.identity.clone() else {
            let waits = self.identifying.is_some_and(|at| at.elapsed() < IDENTITY_RETRY);
            if !waits && (knows || self.began.elapsed() >= IDENTITY_WAIT) {
                self.identify();
            }
            return;
        };
        let is_other = self.task.memory.identity.as_ref().is_some_and(|known| *known != identity);
        let is_older = !is_other && self.task.memory.in_force > self.delivered;
        if knows && (is_other || is_older) {
            tracing::error!(
                bucket = self.task.settings.bucket.bucket,
                "the bucket is not the one that was known, or an old copy of it: every known act holds on"
            );
            self.around.metrics.bucket_changed(&self.task.settings.bucket.bucket);
            // What was said of it are places of the other one.
            self.task.recent = Recent::default();
        }
        self.put_back();
        self.put_lacked();
        (self.whole, self.task.whole, self.task.fetched) = (true, true, true);
        self.task.memory.identity = Some(identity);
        self.task.memory.left = false;
        self.task.progress.replayed();
        self.judged = self.task.progress.in_force();
        self.task.link.send_replace(Some(self.link.clone()));
        self.task.write_memory().await;
        self.task.tell_refusals(self.around);
        self.hear_gates();
        self.task.look(self.around);
        self.dirty = true;
        tracing::info!(acts = self.task.known.held(), "all that the bucket holds is in force");
    }

    /// Gives a new bucket its identity. Acts that are known come before it.
    fn identify(&mut self) {
        if self.task.memory.identity.is_some() {
            tracing::error!(
                bucket = self.task.settings.bucket.bucket,
                "the bucket is a new one: it lost what was known"
            );
        }
        self.identifying = Some(Instant::now());
        let Some(identity) = Instance::random() else { return };
        let (link, expected, acts) = (self.link.clone(), self.identity_seq, self.task.known.to_put_back());
        tokio::spawn(async move {
            put_all_back(&link, acts).await;
            let value = Bytes::copy_from_slice(identity.as_str().as_bytes());
            // Where another gate was first, its identity comes through the feed.
            if let Err(error) = link.put(IDENTITY, Op::Put, value, Some(expected)).await {
                tracing::debug!(%error, "the bucket has an identity already");
            }
        });
    }

    fn put_back(&self) {
        let missing = self.task.known.missing();
        if missing.is_empty() {
            return;
        }
        let acts = self.task.known.to_put_back();
        let (count, back) = (missing.len(), acts.len());
        tracing::error!(count, back, "the bucket does not have acts that are in force here: they hold on");
        let link = self.link.clone();
        tokio::spawn(async move { put_all_back(&link, acts).await });
    }
}

async fn put_all_back(link: &Link, acts: Vec<Act>) {
    for act in acts {
        let value = Bytes::copy_from_slice(act.text.as_bytes());
        match link.put(&act_key(&act.id), Op::Put, value, Some(0)).await {
            Ok(_) => tracing::warn!(act = %act.id, "put back into the bucket, which had lost it"),
            // Another gate was faster, or somebody took it back.
            Err(NotPut::Conflict) => {}
            Err(error) => tracing::error!(act = %act.id, %error, "cannot be put back into the bucket"),
        }
    }
}
