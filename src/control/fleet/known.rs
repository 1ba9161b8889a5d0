//! The acts that a gate knows, and what each message of the bucket makes of them. Pure: the disk is somebody else's, and what
//! becomes of a file there is nothing to what is known.
//!
//! An act goes only by a marker that says so. One that the bucket does not have any more (purged, recreated, restored
//! from an old copy) holds on, and is told; what takes away is put back by whoever knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::entry::{Op, act_of};
use crate::acts::{Act, ActId};
use crate::control::overrides::ACTS_MAX;

/// Refused values whose text is kept, to be tried again when the policy changes. Of others the next session reads it.
const KEPT_MAX: usize = 64;
/// Refused keys that are told one by one; the bucket may hold any number of them.
const REFUSED_MAX: usize = 1_000;

/// What must be done on the disk for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To be judged, and written where it is sound.
    Write(Act),
    /// The disk should have it already.
    Same(Act),
    Remove(ActId),
    Nothing,
}

/// How the bytes of an act are told from others.
pub type Digest = [u8; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    why: String,
    /// Kept to be tried again. `None`: beyond [`KEPT_MAX`], or nothing that could be tried.
    text: Option<Arc<str>>,
}

#[derive(Debug)]
struct Held {
    digest: Digest,
    text: Arc<str>,
}

/// What is known of the acts, on the disk and in the bucket.
#[derive(Debug, Default)]
pub struct Known {
    /// In force here; the disk has a copy.
    held: BTreeMap<ActId, Held>,
    /// In the bucket: the number of the message that put it there.
    revisions: BTreeMap<ActId, u64>,
    /// Values that are kept out, by key.
    refused: BTreeMap<String, Refused>,
}

impl Known {
    pub fn of_disk<'a>(acts: impl IntoIterator<Item = &'a Act>) -> Self {
        let held = acts.into_iter().map(|act| (act.id.clone(), Held::of(act))).collect();
        Self { held, ..Self::default() }
    }

    /// What the bucket has is read anew. What is held stays held.
    pub fn begin(&mut self) {
        self.revisions.clear();
        self.refused.clear();
    }

    /// An act was put or taken back.
    pub fn take(&mut self, id: &ActId, op: Op, seq: u64, value: &Bytes) -> Step {
        self.refused.remove(id.as_str());
        if op == Op::Delete {
            self.revisions.remove(id);
            return if self.held.contains_key(id) { Step::Remove(id.clone()) } else { Step::Nothing };
        }
        self.revisions.insert(id.clone(), seq);
        let act = match act_of(id, value) {
            Ok(act) => act,
            Err(why) => {
                self.refuse(id.as_str(), why, None);
                return Step::Nothing;
            }
        };
        if self.held.get(id).is_some_and(|held| held.digest == digest(&act.text)) {
            return Step::Same(act);
        }
        if !self.held.contains_key(id) && self.held.len() >= ACTS_MAX {
            self.refuse(id.as_str(), format!("there are {ACTS_MAX} acts already"), None);
            return Step::Nothing;
        }
        Step::Write(act)
    }

    /// A key below `acts.` that is no id of an act.
    pub fn take_no_act(&mut self, key: &str, op: Op) {
        match op {
            Op::Put => self.refuse(key, "its key is no id of an act".to_owned(), None),
            Op::Delete => drop(self.refused.remove(key)),
        }
    }

    pub fn written(&mut self, act: &Act) {
        self.refused.remove(act.id.as_str());
        self.held.insert(act.id.clone(), Held::of(act));
    }

    pub fn removed(&mut self, id: &ActId) {
        self.held.remove(id);
    }

    /// The loader does not take it. What was held under this id before holds on.
    pub fn refuse_act(&mut self, act: &Act, why: String) {
        let kept = self.refused.values().filter(|refused| refused.text.is_some()).count();
        self.refuse(act.id.as_str(), why, (kept < KEPT_MAX).then(|| Arc::clone(&act.text)));
    }

    fn refuse(&mut self, key: &str, why: String, text: Option<Arc<str>>) {
        if self.refused.len() < REFUSED_MAX || self.refused.contains_key(key) {
            self.refused.insert(key.to_owned(), Refused { why, text });
        }
    }

    /// What was refused and may be sound now that the policy is another. `waits`: something newer under this id is on its
    /// way to be judged, and is what counts.
    pub fn to_try_again(&self, waits: impl Fn(&ActId) -> bool) -> Vec<Act> {
        let texts = self.refused.iter().filter_map(|(key, refused)| Some((ActId::parse(key)?, refused.text.clone()?)));
        texts.filter(|(id, _)| !waits(id)).map(|(id, text)| Act { id, text }).collect()
    }

    /// Every refused key with its reason.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        self.refused.iter().map(|(key, refused)| (key.as_str(), refused.why.as_str()))
    }

    /// Acts that hold though the bucket does not have them. Only once all of it was read.
    pub fn missing(&self) -> BTreeSet<ActId> {
        self.held.keys().filter(|id| !self.revisions.contains_key(*id)).cloned().collect()
    }

    pub fn act(&self, id: &ActId) -> Option<Act> {
        let held = self.held.get(id)?;
        Some(Act { id: id.clone(), text: Arc::clone(&held.text) })
    }

    /// What the bucket lacks and may be put back.
    pub fn to_put_back(&self) -> Vec<Act> {
        let missing = self.missing();
        missing.iter().filter_map(|id| self.act(id)).filter(may_be_put_back).collect()
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub fn revisions(&self) -> &BTreeMap<ActId, u64> {
        &self.revisions
    }

    /// How many acts are held, and which, in one short text.
    pub fn fingerprint(&self) -> String {
        let mut all = Sha256::new();
        for (id, held) in &self.held {
            // No id has the end of a line in it, so that each id and its digest are one text alone.
            all.update(id.as_str());
            all.update(b"\n");
            all.update(held.digest);
        }
        let all: String = all.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {all}", self.held.len())
    }
}

impl Held {
    fn of(act: &Act) -> Self {
        Self { digest: digest(&act.text), text: Arc::clone(&act.text) }
    }
}

pub fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether an act may be put back into a bucket that lost it. What gives may not: somebody may have taken it back, and
/// the marker that said so is lost too.
pub fn may_be_put_back(act: &Act) -> bool {
    // A foreign file may say anything under any name: what no command wrote is somebody's to write again.
    act.id.kind().is_some() && act.only_takes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::acts::Kind;

    fn act(number: u32, text: &str) -> Act {
        Act { id: ActId::new(Kind::Revoke, 1_795_165_200_000, number), text: text.into() }
    }

    fn holds(known: &Known, act: &Act) -> bool {
        known.act(&act.id).as_ref() == Some(act)
    }

    fn put(known: &mut Known, act: &Act, seq: u64) -> Step {
        known.take(&act.id, Op::Put, seq, &Bytes::from(act.text.to_string()))
    }

    #[test]
    fn an_act_goes_by_a_marker_and_by_nothing_else() {
        let (one, two) = (act(1, "one"), act(2, "two"));
        let mut known = Known::of_disk([&one, &two]);
        known.begin();
        assert_eq!(put(&mut known, &two, 9), Step::Same(two.clone()));
        assert_eq!(known.missing(), BTreeSet::from([one.id.clone()]));
        known.begin();
        assert_eq!(known.missing().len(), 2, "an empty bucket takes nothing back");
        assert_eq!(known.take(&one.id, Op::Delete, 10, &Bytes::new()), Step::Remove(one.id.clone()));
        known.removed(&one.id);
        assert_eq!(known.take(&one.id, Op::Delete, 11, &Bytes::new()), Step::Nothing);
        assert_eq!(known.missing(), BTreeSet::from([two.id]));
    }

    #[test]
    fn a_broken_value_leaves_what_was_held_and_is_told_until_it_is_mended() {
        let (good, broken) = (act(1, "good"), act(1, "broken"));
        let mut known = Known::of_disk([&good]);
        assert_eq!(put(&mut known, &broken, 5), Step::Write(broken.clone()));
        known.refuse_act(&broken, "no policy".to_owned());
        assert!(holds(&known, &good));
        assert_eq!(known.missing(), BTreeSet::new(), "the bucket has something under its key");
        assert_eq!(known.to_try_again(|_| false), [broken]);
        assert_eq!(known.to_try_again(|id| *id == good.id), [], "it is not tried over what came since");
        assert_eq!(known.take(&good.id, Op::Put, 6, &Bytes::from_static(b"\xff")), Step::Nothing);
        assert_eq!(known.refused().count(), 1);
        assert!(holds(&known, &good) && known.to_try_again(|_| false).is_empty());
        assert_eq!(put(&mut known, &good, 7), Step::Same(good.clone()));
        assert_eq!(known.refused().count(), 0);
        assert_eq!(known.revisions().get(&good.id), Some(&7));
    }

    #[test]
    fn a_flood_of_keys_is_bounded() {
        let mut known = Known::default();
        for number in 0..3_000 {
            known.take_no_act(&format!("acts.{number}.x"), Op::Put);
        }
        assert_eq!(known.refused().count(), REFUSED_MAX);
        for number in 0..200 {
            known.refuse_act(&act(number, "x"), "no".to_owned());
        }
        assert!(known.to_try_again(|_| false).len() <= KEPT_MAX);
        let many: Vec<Act> = (0..u32::try_from(ACTS_MAX).unwrap()).map(|number| act(number, "held")).collect();
        let mut full = Known::of_disk(&many);
        assert_eq!(put(&mut full, &act(u32::MAX, "more"), 1), Step::Nothing);
        assert_eq!(put(&mut full, &act(1, "other"), 2), Step::Write(act(1, "other")), "what is held can change");
    }

    #[test]
    fn only_what_takes_away_is_put_back() {
        let takes = "version: 1\napp: jira/a\nrevocations:\n  - {scopes: all, in: all, reason: \"grants: none\"}\n";
        let gives = "version: 1\napp: jira/a\ngrants:\n  - {scopes: [a], actors: [app], in: all, tenants: [t]}\n";
        assert!(may_be_put_back(&act(1, takes)));
        assert!(!may_be_put_back(&act(1, gives)), "whatever its name says");
        assert!(!may_be_put_back(&act(1, "app: a")), "nobody knows what it says");
        let grant = Act { id: ActId::new(Kind::Grant, 1_795_165_200_000, 1), text: gives.into() };
        assert!(!may_be_put_back(&grant));
        let foreign = Act { id: ActId::parse("by-hand").unwrap(), text: takes.into() };
        assert!(!may_be_put_back(&foreign), "no command wrote it");
    }

    #[test]
    fn what_the_bucket_lost_is_put_back_from_what_is_known() {
        let takes =
            |number| act(number, "version: 1\napp: jira/a\nrevocations:\n  - {scopes: all, in: all, reason: x}\n");
        let mut known = Known::of_disk([&takes(1), &takes(2), &act(3, "what nobody understands")]);
        known.begin();
        put(&mut known, &takes(1), 9);
        assert_eq!(known.to_put_back(), [takes(2)]);
        known.removed(&takes(2).id);
        assert_eq!(known.to_put_back(), []);
    }

    #[test]
    fn other_acts_have_another_fingerprint() {
        let all = Known::of_disk([&act(1, "one"), &act(2, "two")]).fingerprint();
        let mut known = Known::of_disk([&act(2, "two")]);
        assert_ne!(known.fingerprint(), all);
        known.written(&act(1, "other"));
        assert_ne!(known.fingerprint(), all);
        known.written(&act(1, "one"));
        assert_eq!(known.fingerprint(), all);
        assert_ne!(Known::default().fingerprint(), all);
    }
}
