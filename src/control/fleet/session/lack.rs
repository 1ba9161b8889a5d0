//! What other gates say to have, and what never came here though its place has passed: their servers' copies of the bucket are
//! not this one's. A gate says what it lacks, and whoever has it writes it again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::compare::put_again;
use super::{Session, Told};
use crate::acts::ActId;
use crate::control::fleet::bucket::Lost;
use crate::control::fleet::copies::{Message, Word, Words, gives, takes};
use crate::control::fleet::entry::{Instance, gate_key};
use crate::control::fleet::gates::{Gates, LACKS_MAX, Said, Status, mark};

/// How long a gate that is ready may lack something before it is not: whoever has it writes it again in less.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this long a session that lacks something gives way to another, which reads the copies of other servers: who said to
/// have it may be gone.
const SESSION_MAX: Duration = Duration::from_secs(30);
/// A word that is older says nothing any more; whoever lives speaks more often.
const HEARD_MAX_MS: i64 = 120_000;
/// Between two writings of one act for gates that lack it.
const AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Gates that all have it write it one after the other, so that mostly one does.
const SPREAD_MS: u64 = 300;

/// Acts of which others have a later word than came here.
#[derive(Debug, Default)]
pub(super) struct Lacks(BTreeMap<ActId, Lack>);

#[derive(Debug)]
struct Lack {
    said: Said,
    by: Instance,
    name: String,
    since: Instant,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Acts that are lacked since now.
    new: usize,
    /// One that was lacked was written again, and did not come again.
    again: bool,
}

impl Lacks {
    /// Takes what another gate says now, in place of what it said before.
    fn hear(&mut self, by: &Instance, status: &Status, words: &Words, delivered: u64) -> Heard {
        let says = |id: &ActId| status.recent.get(id.as_str());
        self.0.retain(|id, lack| lack.by != *by || says(id).is_some_and(|said| lacks(words.get(id), id, said)));
        let mut heard = Heard::default();
        for (id, said) in &status.recent {
            let Some(id) = ActId::parse(id).filter(|id| said.at <= delivered && lacks(words.get(id), id, said)) else {
                continue;
            };
            let has_room = self.0.len() < LACKS_MAX;
            match self.0.get_mut(&id) {
                Some(lack) if lack.by == *by && lack.said != *said => {
                    lack.said = said.clone();
                    heard.again = true;
                }
                None if has_room => {
                    let (by, name) = (by.clone(), status.name.clone());
                    self.0.insert(id, Lack { said: said.clone(), by, name, since: Instant::now() });
                    heard.new += 1;
                }
                Some(_) | None => {}
            }
        }
        heard
    }

    fn forget(&mut self, gone: impl Fn(&Instance) -> bool) {
        self.0.retain(|_, lack| !gone(&lack.by));
    }

    /// A word came.
    fn came(&mut self, id: &ActId, word: Word) {
        if self.0.get(id).is_some_and(|lack| !lacks(Some(&word), id, &lack.said)) {
            self.0.remove(id);
        }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }

    fn told(&self) -> Vec<String> {
        let told = self.0.iter().map(|(id, lack)| {
            let what = if lack.said.text.is_some() { "" } else { "the end of " };
            format!("{what}{id} did not come, and {} has it ({})", lack.name, gate_key(&lack.by))
        });
        told.collect()
    }

    fn eldest(&self) -> Option<Duration> {
        self.0.values().map(|lack| lack.since.elapsed()).max()
    }
}

/// Whether what another gate says of an act takes away, and is not the word that came here nor one before it.
fn lacks(word: Option<&Word>, id: &ActId, said: &Said) -> bool {
    let is_later = word.is_none_or(|word| word.seq < said.at);
    match &said.text {
        // The same text at another place is of a bucket before this one.
        Some(text) => {
            takes(id) && is_later && word.and_then(|word| word.text).map(|own| mark(&own)).as_ref() != Some(text)
        }
        None => gives(id) && is_later && word.is_some_and(|word| word.text.is_some()),
    }
}

fn is_old(gates: &Gates, instance: &Instance) -> bool {
    gates.silent_for_ms(instance).is_none_or(|ms| ms > HEARD_MAX_MS)
}

impl Session<'_> {
    /// A word about an act came.
    pub(super) fn hear_word(&mut self, message: &Message) {
        self.words.insert(message.id.clone(), message.word());
        self.lacks.came(&message.id, message.word());
    }

    /// A gate spoke, or has left.
    pub(super) fn hear_gate(&mut self, instance: &Instance) {
        if !self.whole || *instance == self.task.instance {
            return;
        }
        let view = self.task.view.borrow();
        let Some(heard) = view.gates.of(instance) else {
            drop(view);
            self.lacks.forget(|by| by == instance);
            return self.tell_lacks(&Heard::default());
        };
        // 0: it spoke of another bucket.
        let counts = heard.status.in_force > 0 && !is_old(&view.gates, instance);
        let news = match counts {
            true => self.lacks.hear(instance, &heard.status, &self.words, self.delivered),
            false => Heard::default(),
        };
        let wanted: Vec<ActId> = heard.status.lacks.iter().take(LACKS_MAX).filter_map(|id| ActId::parse(id)).collect();
        drop(view);
        self.tell_lacks(&news);
        wanted.into_iter().for_each(|id| self.is_wanted(id));
    }

    /// All that was heard, once all that lies there is in force. Whoever begins is not ready without it at all.
    pub(super) fn hear_gates(&mut self) {
        let all: Vec<Instance> = self.task.view.borrow().gates.heard().map(|(instance, _)| instance.clone()).collect();
        all.iter().for_each(|instance| self.hear_gate(instance));
        self.task.is_lacking = !self.lacks.0.is_empty();
    }

    fn tell_lacks(&mut self, news: &Heard) {
        self.task.lacking = self.lacks.told();
        self.task.is_lacking &= !self.lacks.0.is_empty();
        self.dirty |= *news != Heard::default();
        if news.new > 0 {
            let (server, lacking) = (self.server.as_deref().unwrap_or("one"), self.task.lacking.join("; "));
            tracing::error!(server, "the servers' copies of the bucket differ: {lacking}; the fleet is asked for it");
            self.around.metrics.bucket_lacking(&self.task.settings.bucket.bucket, news.new);
        }
    }

    pub(super) fn look_at_lacks(&mut self) {
        if !self.whole {
            return;
        }
        let view = self.task.view.borrow();
        self.lacks.forget(|by| is_old(&view.gates, by));
        drop(view);
        self.task.is_lacking |= self.lacks.eldest().is_some_and(|age| age > PATIENCE);
        self.tell_lacks(&Heard::default());
        self.again.retain(|_, at| at.elapsed() < AGAIN_EVERY);
    }

    pub(super) fn lacks_for_long(&self) -> Option<Lost> {
        let lacks = self.whole && self.lacks.eldest().is_some_and(|age| age > PATIENCE);
        (lacks && self.began.elapsed() > SESSION_MAX).then_some(Lost::Lacking)
    }

    /// Some gate lacks an act. The ids are those that came here, so what is remembered of them is bounded.
    fn is_wanted(&mut self, id: ActId) {
        let Some(word) = self.words.get(&id).copied() else { return };
        let now = Instant::now();
        let own = self.task.instance.as_str().get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let mut at = now + Duration::from_millis(own.unwrap_or(0) % SPREAD_MS);
        match self.again.get(&id) {
            // It will be.
            Some(before) if *before > now => return,
            Some(before) => at = at.max(*before + AGAIN_EVERY),
            None => {}
        }
        self.again.insert(id.clone(), at);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let _ = tell.send(Told::Again(id, word.seq));
        });
    }

    pub(super) fn write_again(&self, id: &ActId, seq: u64) {
        let Some(word) = self.words.get(id).copied().filter(|word| word.seq == seq) else { return };
        let (link, held, id) = (self.link.clone(), self.task.known.act(id), id.clone());
        tokio::spawn(async move { put_again(&link, held, &id, word).await });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::acts::Kind;
    use crate::control::fleet::known::digest;

    fn id(kind: Kind) -> ActId {
        ActId::new(kind, 1_795_165_200_000, 7)
    }

    fn instance(number: u64) -> Instance {
        Instance::parse(&format!("{number:016x}")).unwrap()
    }

    fn said(at: u64, text: Option<&str>) -> Said {
        Said { at, text: text.map(|text| mark(&digest(text))) }
    }

    fn status(id: &ActId, said: Said) -> Status {
        let status = r#"{"version": 1, "name": "gw-1", "boot": 1, "ready": true, "generation": 1, "digest": "d", "in_force": 9,
            "acts": 1, "judged": 1, "cut": 0, "max_override_age_ms": 600000, "every_ms": 3000, "time_ms": 0}"#;
        let status: Status = serde_json::from_str(status).unwrap();
        Status { recent: BTreeMap::from([(id.to_string(), said)]), ..status }
    }

    fn words(id: &ActId, seq: u64, text: Option<&str>) -> Words {
        Words::from([(id.clone(), Word { seq, text: text.map(digest) })])
    }

    #[test]
    fn what_takes_away_and_did_not_come_is_lacked() {
        let (revoke, grant) = (id(Kind::Revoke), id(Kind::Grant));
        let is_lacked = |id: &ActId, words: &Words, said: Said| {
            let mut lacks = Lacks::default();
            lacks.hear(&instance(1), &status(id, said), words, 20).new == 1
        };
        assert!(is_lacked(&revoke, &Words::new(), said(20, Some("x"))));
        assert!(!is_lacked(&revoke, &Words::new(), said(21, Some("x"))), "its place has not come");
        assert!(is_lacked(&revoke, &words(&revoke, 7, Some("y")), said(9, Some("x"))), "it was changed");
        assert!(!is_lacked(&revoke, &words(&revoke, 7, Some("x")), said(9, Some("x"))), "it is the same");
        assert!(!is_lacked(&revoke, &words(&revoke, 11, None), said(9, Some("x"))), "it was taken back since");
        assert!(!is_lacked(&revoke, &words(&revoke, 7, Some("x")), said(9, None)), "it gives that it is taken back");
        assert!(!is_lacked(&grant, &Words::new(), said(9, Some("x"))));
        assert!(is_lacked(&grant, &words(&grant, 7, Some("x")), said(9, None)));
        assert!(!is_lacked(&grant, &Words::new(), said(9, None)), "it has never been here");
        let by_hand = ActId::parse("by-hand").unwrap();
        assert!(!is_lacked(&by_hand, &Words::new(), said(9, Some("x"))), "nobody would write it again");
    }

    #[test]
    fn it_is_lacked_until_it_comes_or_nobody_says_so() {
        let revoke = id(Kind::Revoke);
        let (mut lacks, none) = (Lacks::default(), Words::new());
        let new = |new, again| Heard { new, again };
        let first = status(&revoke, said(9, Some("x")));
        assert_eq!(lacks.hear(&instance(1), &first, &none, 20), new(1, false));
        assert_eq!(lacks.hear(&instance(2), &first, &none, 20), new(0, false), "one says so already");
        assert_eq!(lacks.hear(&instance(1), &status(&revoke, said(15, Some("x"))), &none, 20), new(0, true));
        assert_eq!(lacks.ids(), [revoke.to_string()]);
        lacks.came(&revoke, Word { seq: 14, text: Some(digest("y")) });
        assert_eq!(lacks.ids().len(), 1, "that is an older one");
        lacks.came(&revoke, Word { seq: 16, text: Some(digest("x")) });
        assert_eq!(lacks.ids().len(), 0);
        lacks.hear(&instance(1), &first, &none, 20);
        lacks.hear(&instance(1), &Status { recent: BTreeMap::new(), ..first.clone() }, &none, 20);
        assert_eq!(lacks.ids().len(), 0, "it is not said any more");
        lacks.hear(&instance(1), &first, &none, 20);
        lacks.forget(|by| *by == instance(2));
        assert_eq!(lacks.ids().len(), 1);
        lacks.forget(|by| *by == instance(1));
        assert_eq!(lacks.ids().len(), 0, "who said so has left");
    }

    #[test]
    fn what_is_lacked_is_bounded() {
        let ids = (0..100).map(|number| ActId::new(Kind::Revoke, 1_795_165_200_000, number).to_string());
        let recent = ids.map(|id| (id, said(9, Some("x")))).collect();
        let status = Status { recent, ..status(&id(Kind::Revoke), said(9, None)) };
        let mut lacks = Lacks::default();
        lacks.hear(&instance(1), &status, &Words::new(), 20);
        assert_eq!(lacks.ids().len(), LACKS_MAX);
    }
}
