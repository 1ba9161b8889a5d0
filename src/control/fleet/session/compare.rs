//! Before what lay there counts: the copies of other servers, beside the one that feeds this session.

use bytes::Bytes;

use super::{Copies, Session, Told};
use crate::acts::{Act, ActId};
use crate::control::fleet::bucket::{Link, NotPut};
use crate::control::fleet::copies::{self, Fed, Found, Word, gives};
use crate::control::fleet::entry::{Op, act_key};
use crate::control::fleet::known::{digest, may_be_put_back};

/// Acts that are written again at once, of those that some server lacks. The next session writes others.
const AGAIN_MAX: usize = 1_000;

impl Session<'_> {
    /// All that lay there was delivered: up to the first status of this session other copies are read as well.
    pub(super) fn compare(&mut self) {
        let (Copies::Unread, Some(upto)) = (&self.copies, self.first_said) else { return };
        let fed = Fed { server: self.server.clone(), words: self.words.clone(), upto };
        let (link, tell) = (self.link.clone(), self.tell.clone());
        self.copies = Copies::Read(tokio::spawn(async move {
            let _ = tell.send(Told::Compared(copies::compare(&link, fed).await));
        }));
    }

    pub(super) fn is_compared(&self) -> bool {
        matches!(self.copies, Copies::Compared)
    }

    /// What counts comes in force like what was fed.
    pub(super) fn compared(&mut self, found: Found) {
        self.copies = Copies::Compared;
        if found.differences > 0 {
            tracing::error!(
                bucket = self.task.settings.bucket.bucket,
                found.differences,
                "the servers' copies of the bucket differ: {}; what takes away is in force here and is written again",
                found.told.join("; ")
            );
            self.around.metrics.bucket_lacking(&self.task.settings.bucket.bucket, found.differences);
        }
        self.task.copies_differ_more = found.differences.saturating_sub(found.told.len());
        self.task.copies_differ = found.told;
        for message in found.count {
            // What came from the feed meanwhile is later than all that was compared.
            let ends = message.op == Op::Delete && gives(&message.id);
            if ends || self.words.get(&message.id).is_none_or(|word| word.seq < message.seq) {
                self.hear_word(&message);
                self.queue.push_back(message);
            }
        }
        self.lacked = found.lacked.into_iter().take(AGAIN_MAX).collect();
        self.next_batch();
    }

    /// Once all of it is in force here, what some server lacks is written again, so that every server has it.
    pub(super) fn put_lacked(&mut self) {
        let lacked = std::mem::take(&mut self.lacked);
        if lacked.is_empty() {
            return;
        }
        let held = |(id, word): (ActId, Word)| (self.task.known.act(&id), id, word);
        let (link, lacked): (Link, Vec<_>) = (self.link.clone(), lacked.into_iter().map(held).collect());
        tokio::spawn(async move {
            for (held, id, word) in lacked {
                put_again(&link, held, &id, word).await;
            }
        });
    }
}

/// Writes the last word about an act again, where it takes away and is in force here.
pub(super) async fn put_again(link: &Link, held: Option<Act>, id: &ActId, word: Word) {
    let (op, value) = match (word.text, held) {
        (Some(text), Some(act)) if digest(&act.text) == text && may_be_put_back(&act) => {
            (Op::Put, Bytes::copy_from_slice(act.text.as_bytes()))
        }
        (None, _) if gives(id) => (Op::Delete, Bytes::new()),
        (Some(_) | None, _) => return,
    };
    match link.put_again(&act_key(id), op, value, word.seq).await {
        Ok(_) => tracing::warn!(act = %id, "written again, for servers whose copies of the bucket lacked it"),
        // Another gate was faster, or an admin.
        Err(NotPut::Conflict) => {}
        Err(error) => tracing::error!(act = %id, %error, "cannot be written again for servers that lack it"),
    }
}
