//! What the gates of a fleet say of themselves, and which of them an act has reached. Pure.
//!
//! A gate counts until it cannot be ready any more: for `max_override_age` after it was last heard, by the cluster's
//! clock, and `SLACK_MS` beyond. Its own lease began earlier, so it has ended by then.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::{Instance, shown};
use crate::acts::ActId;

/// How far the clocks of the cluster's servers may be apart.
const SLACK_MS: i64 = 30_000;
/// More gates than this are not one fleet.
const GATES_MAX: usize = 2_000;
/// A status is a few hundred bytes, and the refusals in it are bounded.
const STATUS_BYTES_MAX: usize = 32 * 1024;
/// Refused acts that a gate names.
pub const REFUSED_SAID_MAX: usize = 50;
/// Acts that a gate names because they came to it lately, and for how long it does: a command waits for seconds.
pub const RECENT_MAX: usize = 100;
pub const RECENT_FOR: Duration = Duration::from_secs(60);
/// Acts that a gate says to lack.
pub const LACKS_MAX: usize = 20;
/// Nobody makes another text with the same mark while a command waits.
const MARK_BYTES: usize = 16;
/// Between two statuses of one gate, however small the fleet.
pub const EVERY_MIN_MS: u64 = 3_000;
/// What all gates together may say a second, roughly.
const STATUSES_A_SECOND: u64 = 40;
/// So many statuses may be late before a gate is told to be silent.
const LATE: u64 = 3;

/// The key of a gate holds this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of this form: 1.
    pub version: u32,
    pub name: String,
    /// Another number for each start.
    pub boot: u64,
    pub ready: bool,
    /// The snapshot in force.
    pub generation: u64,
    pub digest: String,
    /// All messages of the bucket up to this one are in force, or refused, in every worker.
    pub in_force: u64,
    /// The newest act that it has in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_act: Option<String>,
    pub acts: usize,
    /// Acts that it refuses, each with why. At most [`REFUSED_SAID_MAX`].
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
    #[serde(default)]
    pub refused_more: usize,
    /// What came to it lately, and is in force. At most [`RECENT_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recent: BTreeMap<String, Said>,
    /// What others have and did not come to it, by id. At most [`LACKS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// What was under way was judged by all messages up to this one.
    pub judged: u64,
    /// What was cut so far, since the start.
    pub cut: u64,
    pub max_override_age_ms: u64,
    /// How soon the next one comes at the latest.
    pub every_ms: u64,
    /// By its own clock. For people.
    pub time_ms: i64,
}

/// What a gate says of an act that came to it lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The message that it followed.
    pub at: u64,
    /// The mark of the text that is in force ([`mark`]). `None`: it was taken back.
    pub text: Option<String>,
}

/// The acts that came to this gate lately and are in force, the newest last.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<(Instant, ActId, Said)>);

impl Recent {
    /// These are in force as of now.
    pub fn extend(&mut self, says: Vec<(ActId, Said)>) {
        let now = Instant::now();
        self.0.extend(says.into_iter().map(|(id, said)| (now, id, said)));
        let beyond = self.0.len().saturating_sub(RECENT_MAX);
        self.0.drain(..beyond);
    }

    /// What is to be said of them.
    pub fn said(&self) -> BTreeMap<String, Said> {
        let lately = self.0.iter().filter(|(since, _, _)| since.elapsed() < RECENT_FOR);
        // Of an act that came twice the last word counts.
        lately.map(|(_, id, said)| (id.to_string(), said.clone())).collect()
    }
}

/// What was put into the bucket, and must be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub seq: u64,
    pub id: ActId,
    /// As [`Said::text`].
    pub text: Option<String>,
}

/// A text in few letters.
pub fn mark(digest: &[u8; 32]) -> String {
    digest.iter().take(MARK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub status: Status,
    /// When the cluster took it, by the cluster's clock.
    pub stamp_ms: i64,
}

/// Every gate that was heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    heard: BTreeMap<Instance, Heard>,
    /// The newest time of the cluster's that was seen.
    now_ms: i64,
    /// The newest time before the cluster's clock went back. Nobody knows how far from it a gate was heard, so silence is
    /// counted from here at the earliest.
    doubted_ms: Option<i64>,
    /// Until then some gate may be ready for which there was no room.
    unheard_until_ms: Option<i64>,
}

/// Where an act is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    pub gates: usize,
    pub of: usize,
    /// Gates in which it is not, each with why.
    pub missing: Vec<String>,
    /// Some of them were heard lately, so that it is worth waiting.
    pub answering: bool,
    /// Gates that do not count any more, for they cannot be ready.
    pub lapsed: Vec<String>,
    /// Streams that were cut, and whether all gates have judged theirs.
    pub cut: u64,
    pub judged: bool,
    /// When it was in force on all of them, as far as somebody waited for that.
    pub at: Option<Instant>,
}

impl Status {
    fn of(value: &Bytes) -> Option<Self> {
        if value.len() > STATUS_BYTES_MAX {
            return None;
        }
        let status: Self = serde_json::from_slice(value).ok()?;
        (status.version == 1).then(|| Self { name: shown(&status.name), ..status })
    }
}

impl Gates {
    /// The bucket is read anew, and may be another one. Every gate counts as before, and none has anything in force until
    /// this bucket says so: in another one the numbers are others.
    pub fn begin(&mut self) {
        for heard in self.heard.values_mut() {
            (heard.status.in_force, heard.status.judged) = (0, 0);
        }
    }

    /// Takes what a gate says in the message `seq`. `None`: its key was deleted, for it has left.
    pub fn take(&mut self, instance: &Instance, value: Option<&Bytes>, seq: u64, stamp_ms: i64) {
        let Some(value) = value else {
            self.heard.remove(instance);
            return;
        };
        self.at(stamp_ms);
        // What cannot be read says nothing, and what was said before grows old.
        let Some(mut status) = Status::of(value) else { return };
        // It was said of what lay before it. What it says of later messages is of another bucket, which this one replaced.
        if status.in_force >= seq {
            (status.in_force, status.judged) = (0, 0);
        }
        if self.heard.len() >= GATES_MAX && !self.heard.contains_key(instance) && !self.forget_one() {
            let until_ms = stamp_ms.saturating_add(counts_ms(&status));
            self.unheard_until_ms = self.unheard_until_ms.max(Some(until_ms));
            return;
        }
        self.heard.insert(instance.clone(), Heard { status, stamp_ms });
    }

    /// Makes room: of the gates that do not count any more the one goes that has been silent for longest.
    fn forget_one(&mut self) -> bool {
        let lapsed = self.heard.iter().filter(|(_, heard)| self.is_lapsed(heard));
        let silent = lapsed.min_by_key(|(_, heard)| heard.stamp_ms).map(|(instance, _)| instance.clone());
        silent.is_some_and(|instance| self.heard.remove(&instance).is_some())
    }

    /// The cluster's time, as every message shows it. Messages come in order: one from long before the last tells that a
    /// clock of the cluster's is wrong, this one or the one before.
    pub fn at(&mut self, stamp_ms: i64) {
        if stamp_ms.saturating_add(SLACK_MS) < self.now_ms {
            self.doubted_ms = self.doubted_ms.max(Some(self.now_ms));
        }
        self.now_ms = self.now_ms.max(stamp_ms);
    }

    /// What this gate would be told to be silent for.
    pub fn every_ms(&self) -> u64 {
        let gates = self.heard.values().filter(|heard| !self.is_lapsed(heard)).count();
        let gates = u64::try_from(gates).unwrap_or(u64::MAX);
        EVERY_MIN_MS.max(gates.saturating_mul(1_000) / STATUSES_A_SECOND)
    }

    pub fn heard(&self) -> impl Iterator<Item = (&Instance, &Heard)> {
        self.heard.iter()
    }

    pub fn of(&self, instance: &Instance) -> Option<&Heard> {
        self.heard.get(instance)
    }

    /// How long ago a gate was last heard. `None`: it does not count any more.
    pub fn silent_for_ms(&self, instance: &Instance) -> Option<i64> {
        self.heard.get(instance).filter(|heard| !self.is_lapsed(heard)).map(|heard| self.silent_ms(heard))
    }

    /// How many streams each gate has cut so far.
    pub fn cuts(&self) -> BTreeMap<Instance, u64> {
        self.heard.iter().map(|(instance, heard)| (instance.clone(), heard.status.cut)).collect()
    }

    /// Which gates have an act in force that was just put. A gate's place in the order is not enough: servers whose copies of the
    /// bucket differ (see the head of `fleet`) give the same number to different messages. So it must say the act itself.
    /// `cuts`: as they were before.
    pub fn reach(&self, put: &Put, cuts: &BTreeMap<Instance, u64>) -> Reach {
        let says_so = |status: &Status| {
            let said = status.recent.get(put.id.as_str());
            // Something that came later may have taken its place.
            said.is_some_and(|said| said.text == put.text || said.at > put.seq)
        };
        self.reach_where(put.seq, &put.id, says_so, cuts)
    }

    /// Which gates have everything up to `seq` in force, by their place alone: they do not name every act for ever.
    pub fn stands(&self, seq: u64, act: &ActId) -> Reach {
        self.reach_where(seq, act, |_| true, &BTreeMap::new())
    }

    /// `act`: whose refusal counts.
    fn reach_where(
        &self,
        seq: u64,
        act: &ActId,
        says_so: impl Fn(&Status) -> bool,
        cuts: &BTreeMap<Instance, u64>,
    ) -> Reach {
        let mut reach = Reach { judged: true, ..Reach::default() };
        for (instance, heard) in &self.heard {
            let (status, silent_ms) = (&heard.status, self.silent_ms(heard));
            if self.is_lapsed(heard) {
                reach.lapsed.push(format!("{} (last seen {} ago)", status.name, span(silent_ms)));
                continue;
            }
            reach.of += 1;
            let is_late = u64::try_from(silent_ms).unwrap_or(0) > status.every_ms.saturating_mul(LATE);
            match (status.in_force >= seq, status.refused.get(act.as_str())) {
                (true, None) if status.refused_more > 0 => {
                    let more = status.refused_more;
                    reach.missing.push(format!("{} (it refuses {more} acts more than it names)", status.name));
                }
                (true, None) if says_so(status) => {
                    reach.gates += 1;
                    reach.judged &= status.judged >= seq;
                    reach.cut += status.cut.saturating_sub(cuts.get(instance).copied().unwrap_or(status.cut));
                }
                (true, None) => {
                    let why = "it is past the act's place, and does not have the act: its server's copy of the bucket may differ";
                    // Whoever has it writes it again.
                    reach.answering |= !is_late;
                    reach.missing.push(format!("{} ({why})", status.name));
                }
                (true, Some(why)) => reach.missing.push(format!("{} (it refuses it: {})", status.name, shown(why))),
                (false, _) if is_late => {
                    reach.missing.push(format!("{} (last seen {} ago)", status.name, span(silent_ms)));
                }
                (false, _) => {
                    reach.answering = true;
                    reach.missing.push(format!("{} (it answers, and has not put it in force)", status.name));
                }
            }
        }
        if reach.of == 0 {
            reach.missing.push("any gate (none was heard lately that could be ready)".to_owned());
        }
        if self.unheard_until_ms.is_some_and(|until_ms| self.now_ms <= until_ms) {
            reach.missing.push(format!("gates beyond the first {GATES_MAX} (nobody keeps what they say)"));
        }
        reach
    }

    /// It cannot be ready any more.
    fn is_lapsed(&self, heard: &Heard) -> bool {
        let since_ms = self.doubted_ms.map_or(heard.stamp_ms, |doubted_ms| heard.stamp_ms.max(doubted_ms));
        self.now_ms.saturating_sub(since_ms) > counts_ms(&heard.status)
    }

    fn silent_ms(&self, heard: &Heard) -> i64 {
        self.now_ms.saturating_sub(heard.stamp_ms).max(0)
    }
}

/// How long a gate counts after it was heard.
fn counts_ms(status: &Status) -> i64 {
    i64::try_from(status.max_override_age_ms).unwrap_or(i64::MAX).saturating_add(SLACK_MS)
}

/// A span as people say it.
fn span(ms: i64) -> String {
    match ms / 1_000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::acts::Kind;

    fn status(name: &str, in_force: u64) -> Status {
        Status {
            version: 1,
            name: name.to_owned(),
            boot: 1,
            ready: true,
            generation: 3,
            digest: "d".to_owned(),
            in_force,
            newest_act: None,
            acts: 1,
            refused: BTreeMap::new(),
            refused_more: 0,
            recent: BTreeMap::from([(id().to_string(), Said { at: in_force, text: Some(mark(&[1; 32])) })]),
            lacks: Vec::new(),
            judged: in_force,
            cut: 0,
            max_override_age_ms: 600_000,
            every_ms: 3_000,
            time_ms: 0,
        }
    }

    fn put(seq: u64) -> Put {
        Put { seq, id: id(), text: Some(mark(&[1; 32])) }
    }

    fn value(status: &Status) -> Bytes {
        serde_json::to_vec(status).unwrap().into()
    }

    fn instance(number: u64) -> Instance {
        Instance::parse(&format!("{number:016x}")).unwrap()
    }

    fn id() -> ActId {
        ActId::new(Kind::Revoke, 1_795_165_200_000, 7)
    }

    #[test]
    fn every_gate_that_may_be_ready_counts() {
        let mut gates = Gates::default();
        gates.take(&instance(7), Some(&value(&status("gw-7", 10))), 1_000, 959_000);
        gates.take(&instance(1), Some(&value(&status("gw-1", 20))), 1_000, 1_000_000);
        gates.take(&instance(2), Some(&value(&status("gw-2", 19))), 1_000, 1_000_000);
        gates.at(1_000_000);
        let reach = gates.reach(&put(20), &gates.cuts());
        assert_eq!((reach.gates, reach.of, reach.answering), (1, 3, true));
        assert_eq!(reach.missing, ["gw-2 (it answers, and has not put it in force)", "gw-7 (last seen 41 s ago)"]);
        gates.take(&instance(2), Some(&value(&status("gw-2", 21))), 1_000, 1_001_000);
        gates.at(959_000 + 630_000);
        let reach = gates.reach(&put(20), &gates.cuts());
        assert_eq!((reach.gates, reach.of), (2, 3), "gw-7 may be ready for as long as its lease and the slack go");
        gates.at(959_000 + 630_001);
        let reach = gates.reach(&put(20), &gates.cuts());
        assert_eq!((reach.gates, reach.of, reach.lapsed.len()), (2, 2, 1), "{reach:?}");
        gates.take(&instance(1), None, 1_000, 0);
        assert_eq!(gates.reach(&put(20), &gates.cuts()).of, 1, "it has left");
    }

    #[test]
    fn what_a_gate_had_of_another_bucket_is_no_word_of_this_one() {
        let mut gates = Gates::default();
        gates.take(&instance(1), Some(&value(&status("gw-1", 30))), 31, 0);
        gates.take(&instance(2), Some(&value(&status("gw-2", 5))), 6, 0);
        assert_eq!(gates.reach(&put(20), &gates.cuts()).gates, 1);
        gates.begin();
        let reach = gates.reach(&put(3), &gates.cuts());
        assert_eq!((reach.gates, reach.of), (0, 2), "each counts, and has said nothing of this bucket: {reach:?}");
        // It still speaks of the bucket that was.
        gates.take(&instance(1), Some(&value(&status("gw-1", 30))), 8, 0);
        gates.take(&instance(2), Some(&value(&status("gw-2", 9))), 10, 0);
        let reach = gates.reach(&put(3), &gates.cuts());
        assert_eq!((reach.gates, reach.of, reach.missing.len()), (1, 2, 1), "{reach:?}");
    }

    #[test]
    fn a_gate_that_is_past_the_place_and_does_not_say_the_act_does_not_have_it() {
        let mut gates = Gates::default();
        let mut hear = |recent: BTreeMap<String, Said>| {
            gates.take(&instance(1), Some(&value(&Status { recent, ..status("gw-1", 20) })), 21, 0);
            gates.reach(&put(20), &gates.cuts())
        };
        let said = |at, text| BTreeMap::from([(id().to_string(), Said { at, text })]);
        let other = ActId::new(Kind::Revoke, 1_795_165_200_000, 8).to_string();
        let of_other = BTreeMap::from([(other, Said { at: 20, text: put(20).text })]);
        for lacks in [BTreeMap::new(), of_other, said(20, None), said(20, Some(mark(&[2; 32]))), said(7, None)] {
            let reach = hear(lacks.clone());
            assert_eq!((reach.gates, reach.missing.len(), reach.answering), (0, 1, true), "{lacks:?}");
        }
        for has in [said(20, put(20).text), said(30, put(20).text), said(21, None)] {
            assert_eq!(hear(has.clone()).gates, 1, "{has:?}");
        }
        hear(BTreeMap::new());
        assert_eq!(gates.stands(20, &id()).gates, 1, "what lies there for long is told by its place");
    }

    #[test]
    fn a_gate_that_refuses_the_act_is_missing() {
        let mut refusing = status("gw-3", 30);
        refusing.refused.insert(id().to_string(), "no app `x`\nthere".to_owned());
        let mut gates = Gates::default();
        gates.take(&instance(3), Some(&value(&refusing)), 1_000, 0);
        let reach = gates.reach(&put(20), &BTreeMap::new());
        assert_eq!(reach.missing, ["gw-3 (it refuses it: no app `x`\u{fffd}there)"]);
        assert!(!reach.answering, "there is nothing to wait for");
    }

    #[test]
    fn cut_streams_are_counted_from_what_was_before() {
        let mut gates = Gates::default();
        gates.take(&instance(1), Some(&value(&Status { cut: 7, ..status("gw-1", 1) })), 1_000, 0);
        let before = gates.cuts();
        let cut = Status { cut: 12, judged: 19, ..status("gw-1", 20) };
        gates.take(&instance(1), Some(&value(&cut)), 1_000, 0);
        gates.take(&instance(2), Some(&value(&Status { cut: 100, ..status("gw-2", 20) })), 1_000, 0);
        let reach = gates.reach(&put(20), &before);
        assert_eq!((reach.cut, reach.judged), (5, false), "what gw-2 cut in all its life is not of this act");
    }

    #[test]
    fn what_no_gate_of_ours_would_say_says_nothing() {
        let mut gates = Gates::default();
        gates.take(&instance(1), Some(&value(&status("gw-1", 5))), 1_000, 0);
        let long = value(&Status { name: "x".repeat(STATUS_BYTES_MAX), ..status("gw-1", 99) });
        let other = value(&Status { version: 2, ..status("gw-1", 99) });
        for bad in [Bytes::from_static(b"{"), Bytes::from_static(b"[1]"), long, other] {
            gates.take(&instance(1), Some(&bad), 1_000, 0);
        }
        assert_eq!(gates.of(&instance(1)).unwrap().status.in_force, 5);
        for number in 0..5_000 {
            gates.take(&instance(number), Some(&value(&status("x", 1))), 1_000, 0);
        }
        assert_eq!(gates.heard().count(), GATES_MAX);
        assert!(gates.every_ms() >= 50_000, "a large fleet says less often: {}", gates.every_ms());
    }

    #[test]
    fn dead_gates_make_room_for_live_ones() {
        let mut gates = Gates::default();
        for number in 1..=3_000 {
            gates.take(&instance(number), Some(&value(&status("dead", 1))), 1_000, 1_000);
        }
        let said = |reach: Reach| reach.missing.iter().any(|why| why.contains("beyond the first 2000"));
        assert!(said(gates.reach(&put(1), &gates.cuts())), "those that were dropped may be ready");
        gates.at(1_000 + 630_001);
        gates.take(&instance(9_000), Some(&value(&status("gw-live", 4))), 1_000, 700_000);
        assert_eq!(gates.heard().count(), GATES_MAX);
        let reach = gates.reach(&put(5), &gates.cuts());
        assert_eq!(reach.missing, ["gw-live (it answers, and has not put it in force)"]);
        assert_eq!(gates.every_ms(), EVERY_MIN_MS, "the dead do not make the living silent");
    }

    #[test]
    fn no_gate_is_not_every_gate() {
        let mut gates = Gates::default();
        assert_eq!(gates.reach(&put(1), &gates.cuts()).missing.len(), 1, "none was ever heard");
        gates.take(&instance(1), Some(&value(&status("gw-1", 1))), 1_000, 1_000);
        gates.at(90_000_000);
        let reach = gates.reach(&put(2), &gates.cuts());
        assert_eq!((reach.of, reach.lapsed.len(), reach.missing.len()), (0, 1, 1), "{reach:?}");
    }

    #[test]
    fn a_clock_that_goes_back_makes_nobody_lapse() {
        let mut gates = Gates::default();
        gates.take(&instance(1), Some(&value(&status("gw-1", 1))), 1_000, 1_000_000);
        gates.take(&instance(2), Some(&value(&status("gw-2", 5))), 1_000, 90_000_000);
        assert_eq!(gates.reach(&put(5), &gates.cuts()).lapsed.len(), 1, "by that clock alone it has ended");
        gates.at(90_000_000 - SLACK_MS);
        assert_eq!(gates.reach(&put(5), &gates.cuts()).lapsed.len(), 1, "clocks may be so far apart");
        gates.at(1_002_000);
        let reach = gates.reach(&put(5), &gates.cuts());
        assert_eq!((reach.of, reach.missing.len(), reach.lapsed.len()), (2, 1, 0), "{reach:?}");
        gates.at(90_000_000 + 630_001);
        assert_eq!(gates.reach(&put(5), &gates.cuts()).lapsed.len(), 2, "its lease has ended by either clock");
    }
}
