//! Cells in as few sentences as say the same: actors, rights and places that go together are told together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Cell, Named, Place, Right, Terms};

type Actors = BTreeSet<&'static str>;

/// What a sentence is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Topic<'c> {
    subject: &'c str,
    reaches: Option<&'c Arc<str>>,
    tenant: Option<&'c Named>,
    verb: &'static str,
    terms: &'c Terms,
}

/// A sentence without its places.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Sentence<'c> {
    topic: Topic<'c>,
    actors: Actors,
    rights: Vec<&'c Right>,
}

pub(super) fn sentences<'c>(
    cells: impl Iterator<Item = &'c Cell>,
    verb: impl Fn(&Cell) -> &'static str,
) -> Vec<String> {
    let mut by_right: BTreeMap<(Topic<'c>, &Place, &Right), Actors> = BTreeMap::new();
    for cell in cells {
        let topic = Topic {
            subject: &cell.subject,
            reaches: cell.reaches.as_ref(),
            tenant: cell.tenant.as_ref(),
            verb: verb(cell),
            terms: &cell.terms,
        };
        by_right.entry((topic, &cell.place, &cell.right)).or_default().insert(cell.actor);
    }
    let mut by_place: BTreeMap<(Topic<'c>, Actors, &Place), Vec<&Right>> = BTreeMap::new();
    for ((topic, place, right), actors) in by_right {
        by_place.entry((topic, actors, place)).or_default().push(right);
    }
    let mut sentences: BTreeMap<Sentence<'c>, Vec<&Place>> = BTreeMap::new();
    for ((topic, actors, place), rights) in by_place {
        sentences.entry(Sentence { topic, actors, rights }).or_default().push(place);
    }
    sentences.into_iter().map(|(sentence, places)| sentence.words(&places)).collect()
}

impl Sentence<'_> {
    fn words(&self, places: &[&Place]) -> String {
        let Topic { subject, reaches, tenant, verb, terms } = &self.topic;
        let mut text = (*subject).to_owned();
        if let Some(tenant) = tenant {
            let _ = write!(text, " in {tenant}");
        }
        let _ = write!(text, " {verb} {} {}", right_words(&self.rights), place_words(places));
        if let (Some(actor), 1) = (self.actors.first(), self.actors.len()) {
            let _ = write!(text, ", as {actor}");
        }
        text.push_str(&terms_words(terms));
        if let Some(reaches) = reaches {
            let _ = write!(text, " from {reaches}");
        }
        text
    }
}

fn right_words(rights: &[&Right]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `everywhere`, or `in channel C0EXEC, C0HELP (#help)`
fn place_words(places: &[&Place]) -> String {
    let mut words = Vec::new();
    let mut last_kind: Option<&str> = None;
    for place in places {
        words.push(match place {
            Place::Everywhere => place.to_string(),
            // Places are sorted, so those of one kind stand together.
            Place::Container { kind, .. } if last_kind == Some(kind) => place.to_string().split_off(kind.len() + 1),
            Place::Container { kind, .. } => {
                last_kind = Some(kind);
                format!("in {place}")
            }
        });
    }
    words.join(", ")
}

fn terms_words(terms: &Terms) -> String {
    let hours = |span_ms: i64| format!(", for {} h after the install", span_ms / 3_600_000);
    let parts = [
        terms.users.as_ref().map(|users| format!(", for {users}")),
        terms.pipelines.as_ref().map(|pipelines| format!(", in pipelines {pipelines}")),
        terms.limits.as_ref().map(|limits| format!(", where {limits}")),
        terms.from_ms.map(|from| format!(", from {}", moment(from))),
        terms.until_ms.map(|until| format!(", until {}", moment(until))),
        terms.after_install_ms.map(hours),
        terms.unless_install_window.then(|| ", while no install window is open".to_owned()),
    ];
    parts.into_iter().flatten().collect()
}

/// RFC 3339, UTC.
pub(super) fn moment(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1000)).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}
