//! What each server's own copy of the bucket says of the acts. Servers that lay still may come to hold different messages at
//! one place, for good, and whoever leads them says no more than any other: so what a session is fed is held beside the copies
//! of a majority of the servers before it counts.
//!
//! No reader chooses its server: a consumer is made on one drawn anew, and says whose copy it reads. The reading never says
//! what an act means; which words count is said by [`judge`], which is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::bucket::{Feed, Link, Lost};
use super::entry::{Key, Op, act_of};
use super::known::{Digest, digest};
use crate::acts::{ActId, Kind};

/// Between two messages of a copy. This gate itself speaks more often, so a server that has none for longer lags.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// For a majority of them.
const MAJORITY_MAX: Duration = Duration::from_secs(15);
/// Once a majority was read, for the others that are there.
const OTHERS_MAX: Duration = Duration::from_secs(2);
/// Between two tries where nothing came of one.
const RETRY: Duration = Duration::from_millis(250);
/// What copies may say that the feed does not, in bytes. More is another bucket.
const NEW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Differences that are told one by one.
const TOLD_MAX: usize = 20;

/// The last word about an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// The message that holds it.
    pub seq: u64,
    /// `None`: a marker that it was taken back.
    pub text: Option<Digest>,
}

pub type Words = BTreeMap<ActId, Word>;

/// A message about an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: ActId,
    pub op: Op,
    pub seq: u64,
    pub value: Bytes,
}

impl Message {
    pub fn word(&self) -> Word {
        let text = (self.op == Op::Put).then(|| digest_of(&self.value));
        Word { seq: self.seq, text }
    }

    /// Whether it takes away. An act tells it by its text; of one that is gone the id is all that is left.
    fn takes(&self) -> bool {
        match self.op {
            Op::Put => act_of(&self.id, &self.value).is_ok_and(|act| act.only_takes()),
            Op::Delete => gives(&self.id),
        }
    }
}

/// Whether a command that only takes away made it. Of an id that no command made nobody knows.
pub fn takes(id: &ActId) -> bool {
    id.kind().is_some_and(Kind::only_takes)
}

/// Whether a command that gives made it. It gives under this id once.
pub fn gives(id: &ActId) -> bool {
    id.kind().is_some_and(|kind| !kind.only_takes())
}

fn digest_of(value: &Bytes) -> Digest {
    // Of what is no text the bytes tell it from others as well.
    std::str::from_utf8(value).map_or_else(|_| digest(&String::from_utf8_lossy(value)), digest)
}

/// One server's copy, read up to the place that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    pub server: String,
    pub words: Words,
    /// What is not as the feed has it.
    pub new: Vec<Message>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What counts and was not fed.
    pub count: Vec<Message>,
    /// Acts that some server lacks, with the place of the word that counts.
    pub lacked: BTreeMap<ActId, Word>,
    /// In words. At most [`TOLD_MAX`].
    pub told: Vec<String>,
    /// All of them.
    pub differences: usize,
}

/// What feeds a session.
#[derive(Debug, Clone)]
pub struct Fed {
    /// `None`: there is one copy alone, or it is not known whose it is.
    pub server: Option<String>,
    pub words: Words,
    /// All up to here was fed.
    pub upto: u64,
}

/// Reads the copies of a majority of the servers, and of all that are there if they take no longer than that.
///
/// # Errors
/// There is no majority that can be read.
pub async fn compare(link: &Link, fed: Fed) -> Result<Found, Lost> {
    let began = Instant::now();
    let (mut copies, mut failed): (Vec<Copy>, Option<Lost>) = (Vec::new(), None);
    let servers = link.servers().await?;
    let needed = servers.copies / 2 + 1;
    let mut read: BTreeSet<String> = fed.server.iter().cloned().collect();
    let mut majority_at = None;
    if needed == 1 {
        // What was fed is the only copy.
        return Ok(Found::default());
    }
    loop {
        if read.len() >= needed {
            let at: Instant = *majority_at.get_or_insert_with(Instant::now);
            if servers.there.is_subset(&read) || at.elapsed() > OTHERS_MAX {
                break;
            }
        } else if began.elapsed() > MAJORITY_MAX {
            let why = failed.map_or_else(|| "no other answers".to_owned(), |lost| lost.to_string());
            return Err(Lost::Copies { read: read.len(), of: servers.copies, why });
        }
        match one(link, &fed, &read).await {
            Ok(Some(copy)) => {
                read.insert(copy.server.clone());
                copies.push(copy);
            }
            // The draw fell on one that was read.
            Ok(None) => {}
            Err(lost) => {
                failed = Some(lost);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    Ok(judge(&fed, &copies, needed))
}

/// The copy of a server that was not read yet. `None`: the one that was drawn was.
async fn one(link: &Link, fed: &Fed, read: &BTreeSet<String>) -> Result<Option<Copy>, Lost> {
    let mut feed = link.copy().await?;
    let server = feed.server().map(str::to_owned);
    let server = server.ok_or_else(|| Lost::Feed("it is not said whose copy is read".to_owned()))?;
    let copied = if read.contains(&server) { None } else { Some(copy(&mut feed, fed, server).await) };
    feed.end();
    copied.transpose()
}

async fn copy(feed: &mut Feed, fed: &Fed, server: String) -> Result<Copy, Lost> {
    let (mut copy, mut bytes) = (Copy { server, ..Copy::default() }, 0);
    loop {
        let lags = || Lost::Feed(format!("the copy of {} does not come as far as others", copy.server));
        let entry = timeout(SILENCE_MAX, feed.next()).await.map_err(|_| lags())??;
        let seq = entry.seq;
        if let Key::Act(id) = entry.key {
            let message = Message { id, op: entry.op, seq, value: entry.value };
            copy.words.insert(message.id.clone(), message.word());
            if fed.words.get(&message.id) != Some(&message.word()) && seq <= fed.upto {
                bytes += message.value.len();
                copy.new.push(message);
            }
        }
        if bytes > NEW_BYTES_MAX {
            return Err(Lost::Feed(format!("the copy of {} is of another bucket", copy.server)));
        }
        if seq >= fed.upto {
            return Ok(copy);
        }
    }
}

/// Which words count. What takes away counts whoever says it, and what gives where a majority does: of servers that went
/// apart the fewer hold what nobody was told to be done. `needed`: how many are a majority.
fn judge(fed: &Fed, copies: &[Copy], needed: usize) -> Found {
    let mut votes: BTreeMap<(&ActId, Word), (usize, &Message)> = BTreeMap::new();
    for message in copies.iter().flat_map(|copy| &copy.new) {
        let before = fed.words.get(&message.id);
        let is_later = before.is_none_or(|before| before.seq < message.seq);
        // At whatever place.
        let ends = message.op == Op::Delete && gives(&message.id) && before.is_some_and(|word| word.text.is_some());
        if is_later || ends {
            votes.entry((&message.id, message.word())).or_insert((0, message)).0 += 1;
        }
    }
    let (mut found, mut words) = (Found::default(), fed.words.clone());
    // In the order of their places, so that the last stands.
    for ((id, word), (count, message)) in votes {
        let given = message.op == Op::Put && has_ended(fed, copies, id);
        if message.takes() || count >= needed && !given {
            found.count.retain(|earlier: &Message| earlier.id != *id);
            found.count.push(message.clone());
            words.insert(id.clone(), word);
        }
    }
    let own = fed.server.as_deref().map(|server| (server, &fed.words));
    let all = own.into_iter().chain(copies.iter().map(|copy| (copy.server.as_str(), &copy.words)));
    for (server, copy) in all {
        for (id, word) in words.iter().filter(|(_, word)| word.seq <= fed.upto) {
            found.look(server, id, *word, copy.get(id));
        }
    }
    found
}

/// What was given is not given again under the same id: where any server has its end, that is the last word.
fn has_ended(fed: &Fed, copies: &[Copy], id: &ActId) -> bool {
    let mut all = iter::once(&fed.words).chain(copies.iter().map(|copy| &copy.words));
    gives(id) && all.any(|words| words.get(id).is_some_and(|word| word.text.is_none()))
}

impl Found {
    /// What one server has of an act, beside what counts.
    fn look(&mut self, server: &str, id: &ActId, counts: Word, has: Option<&Word>) {
        let lacks = match (counts.text, has) {
            (Some(_), None) => true,
            (Some(_), Some(has)) => has.seq < counts.seq,
            (None, Some(has)) => has.text.is_some() && (has.seq < counts.seq || gives(id)),
            // It has never been there: it need not go.
            (None, None) => false,
        };
        if !lacks {
            return;
        }
        self.lacked.insert(id.clone(), counts);
        self.differences += 1;
        if self.told.len() < TOLD_MAX {
            let what = if counts.text.is_some() { "" } else { "the end of " };
            self.told.push(format!("{what}{id} is not in the copy of {server}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    const TAKES: &str = "version: 1\napp: jira/a\nrevocations:\n  - {scopes: all, in: all, reason: x}\n";
    const TAKES_LESS: &str = "version: 1\napp: jira/a\nrevocations:\n  - {scopes: [a], in: all, reason: x}\n";
    const GIVES: &str =
        "version: 1\napp: jira/a\ngrants:\n  - {for: x, scopes: [a], actors: [app], in: all, tenants: [t]}\n";

    fn id(kind: Kind, number: u32) -> ActId {
        ActId::new(kind, 1_795_165_200_000, number)
    }

    fn put(id: &ActId, seq: u64, text: &'static str) -> Message {
        Message { id: id.clone(), op: Op::Put, seq, value: Bytes::from_static(text.as_bytes()) }
    }

    fn end(id: &ActId, seq: u64) -> Message {
        Message { id: id.clone(), op: Op::Delete, seq, value: Bytes::new() }
    }

    fn words(messages: &[&Message]) -> Words {
        messages.iter().map(|message| (message.id.clone(), message.word())).collect()
    }

    /// As it would have been read.
    fn copy(server: &str, fed: &Fed, messages: &[&Message]) -> Copy {
        let new = messages.iter().filter(|message| fed.words.get(&message.id) != Some(&message.word()));
        Copy { server: server.to_owned(), words: words(messages), new: new.map(|message| (*message).clone()).collect() }
    }

    fn judged(feed: &[&Message], one: &[&Message], other: &[&Message]) -> Found {
        let fed = Fed { server: Some("n0".to_owned()), words: words(feed), upto: 20 };
        judge(&fed, &[copy("n1", &fed, one), copy("n2", &fed, other)], 2)
    }

    #[track_caller]
    fn counts(feed: &[&Message], one: &[&Message], other: &[&Message], expected: &[&Message]) {
        assert_eq!(judged(feed, one, other).count.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn copies_that_agree_say_nothing_new() {
        let (put, end) = (put(&id(Kind::Revoke, 1), 5, TAKES), end(&id(Kind::Grant, 2), 7));
        let all = [&put, &end];
        assert_eq!(judged(&all, &all, &all), Found::default());
    }

    /// As it was seen: two servers lay still, and what the third one had taken alone stands at the places of what came after.
    #[test]
    fn what_takes_away_counts_whoever_says_it() {
        let (still, after) = (put(&id(Kind::Revoke, 1), 9, TAKES), put(&id(Kind::Revoke, 2), 7, TAKES));
        let found = judged(&[&still], &[&after], &[&after]);
        assert_eq!(found.count.iter().collect::<Vec<_>>(), [&after]);
        assert_eq!(found.lacked.keys().collect::<Vec<_>>(), [&still.id, &after.id]);
        let told = [
            format!("{} is not in the copy of n0", after.id),
            format!("{} is not in the copy of n1", still.id),
            format!("{} is not in the copy of n2", still.id),
        ];
        assert_eq!(found.told, told);
        counts(&[&after], &[&after], &[&still], &[&still]);
        let changed = put(&after.id, 12, TAKES_LESS);
        counts(&[&after], &[&after], &[&changed], &[&changed]);
    }

    #[test]
    fn what_gives_counts_where_a_majority_says_it() {
        let (grant, revoke) = (id(Kind::Grant, 1), id(Kind::Revoke, 2));
        let (given, taken, back) = (put(&grant, 9, GIVES), put(&revoke, 5, TAKES), end(&revoke, 9));
        counts(&[], &[&given], &[], &[]);
        counts(&[], &[&given], &[&given], &[&given]);
        counts(&[&taken], &[&back], &[&taken], &[]);
        counts(&[&taken], &[&back], &[&back], &[&back]);
        counts(&[&back], &[&taken], &[&taken], &[]);
        // Whatever its id says.
        counts(&[], &[&put(&revoke, 9, GIVES)], &[], &[]);
    }

    #[test]
    fn the_end_of_what_was_given_counts_at_whatever_place() {
        let grant = id(Kind::Grant, 1);
        for seq in [8, 9, 12] {
            let (given, back) = (put(&grant, 9, GIVES), end(&grant, seq));
            counts(&[&given], &[&back], &[&given], &[&back]);
            // Its file may lie here still.
            counts(&[], &[&back], &[], &[&back]);
            counts(&[&back], &[&given], &[&given], &[]);
            counts(&[], &[&given], &[&given, &back], &[&back]);
        }
    }

    /// Whoever writes by hand may write what was there before again.
    #[test]
    fn what_no_command_made_counts_by_its_text_and_its_place() {
        let by_hand = ActId::parse("by-hand").unwrap();
        let (before, taken, given) = (end(&by_hand, 5), put(&by_hand, 9, TAKES), put(&by_hand, 9, GIVES));
        counts(&[&before], &[&taken], &[&before], &[&taken]);
        counts(&[&taken], &[&before], &[&before], &[]);
        counts(&[&before], &[&given], &[&before], &[]);
        counts(&[&before], &[&given], &[&given], &[&given]);
    }

    #[test]
    fn of_two_words_the_later_counts() {
        let revoke = id(Kind::Revoke, 1);
        let (one, two) = (put(&revoke, 5, TAKES), put(&revoke, 9, TAKES));
        counts(&[], &[&one], &[&two], &[&two]);
        counts(&[], &[&two], &[&one], &[&two]);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many: Vec<Message> = (0..200).map(|number| put(&id(Kind::Revoke, number), 5, TAKES)).collect();
        let found = judged(&many.iter().collect::<Vec<_>>(), &[], &[]);
        assert_eq!((found.told.len(), found.differences, found.lacked.len()), (TOLD_MAX, 400, 200));
    }
}
