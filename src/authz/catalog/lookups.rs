//! What can be asked of the product where a request names a thing and not the container that it lies in: an issue by its
//! number, a page by its id, a channel whose type nobody said. Declared in the catalog, and the same for every product.
//!
//! Pure: a look-up says what to ask and reads the answer. Whether it is asked, and by whom, is not known here.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::compact::AnswerReading;
use super::container::comparison_form;
use super::pattern::Pattern;
use super::{Catalog, ContainerKind, KindId, PlaceAt, VariantMask};
use crate::authz::query_language::{self, Bounds, Language, Named};
use crate::authz::request::json::{self, Value};
use crate::authz::touch::is_number;

/// The most look-ups of one catalog: one bit each in a [`LookupSet`].
pub const LOOKUPS_MAX: usize = 64;
/// The longest name of a thing that is asked about, in bytes.
pub const THING_BYTES_MAX: usize = 256;
/// The most containers that one thing may lie in: a file in all the channels it was shared to.
pub const HOMES_MAX: usize = 256;

/// How many questions one thing may take: a comment lies in a page, which lies in a space.
pub const CHAIN_MAX: usize = 3;

/// A look-up, numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u8);

/// Some of a catalog's look-ups, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LookupSet(u64);

impl LookupSet {
    pub fn with(self, id: LookupId) -> Self {
        Self(self.0 | 1_u64.checked_shl(u32::from(id.0)).unwrap_or(0))
    }

    pub fn iter(self) -> impl Iterator<Item = LookupId> {
        (0..64).filter(move |bit| self.0 & (1 << bit) != 0).map(LookupId)
    }
}

/// One question to the product.
#[derive(Debug)]
pub struct Lookup {
    pub name: Box<str>,
    pub why: Box<str>,
    /// What the answer tells of.
    pub kind: KindId,
    pub written: Pattern,
    pub target: Target,
    pub tells: Tells,
    pub ok: Option<Box<str>>,
    pub errors: Option<Errors>,
    pub identity: Option<Identity>,
    /// What lies in no container is the tenant's.
    pub none_is_tenant: bool,
    pub variants: Box<[(Box<str>, VariantMask)]>,
}

/// What the words of an error mean, where the product answers 200 to everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    pub at: Box<str>,
    pub words: Box<[(Box<str>, Answer)]>,
}

/// The name that a thing never shares with another one, nor loses.
#[derive(Debug)]
pub struct Identity {
    pub written: Pattern,
    /// Where an answer tells it. `None`: things have no other name.
    pub at: Option<Box<str>>,
}

/// What an operation may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub lookup: LookupId,
    /// Where the request names the one thing that it changes. `None`: it may change any.
    pub named_at: Option<PlaceAt>,
}

/// Path and query of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(pub(super) Box<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Id,
    Tenant,
}

/// What an answer tells.
#[derive(Debug)]
pub enum Tells {
    Homes(Box<[HomeAt]>),
    /// Another thing, by the first pointer that is there.
    Then(Box<[(LookupId, Box<str>)]>),
}

/// Where an answer names a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAt {
    pub id: Option<Box<str>>,
    pub key: Option<Box<str>>,
    /// How the key is read, where it is no container's own.
    pub reading: Option<AnswerReading>,
}

/// A container as the product told it, in the form in which containers are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Home {
    pub id: Option<Box<str>>,
    pub key: Option<Box<str>>,
    /// The key is a word of a query: it may be what another container is called.
    pub is_word: bool,
}

impl Home {
    /// Which one is not told: it may be any.
    pub const NONE: Self = Self { id: None, key: None, is_word: false };
}

/// What a whole answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It lies in these, at least one; and the variants that the thing may be, none where nothing tells.
    In { homes: Box<[Home]>, variants: VariantMask },
    /// It lies where this other thing lies.
    Then { lookup: LookupId, thing: Box<str> },
    /// The product knows none such, or does not show it to who asked.
    Nowhere,
    /// The product does not show it to who asked.
    Hidden,
    /// The product takes no more questions now.
    TooMany,
    /// The product does not take the credential.
    Dead,
    /// It is not what the catalog says that it is, or an error that says nothing of the thing.
    Unreadable,
}

impl Target {
    /// What is sent: the thing and the tenant take one path segment or one value of the query, whatever is in them.
    pub fn of(&self, tenant: &str, thing: &str) -> String {
        let mut target = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => target.push_str(text),
                Piece::Id => encode(&mut target, thing),
                Piece::Tenant => encode(&mut target, tenant),
            }
        }
        target
    }
}

impl Catalog {
    /// A look-up, and all that may be asked on for it.
    pub fn asked_on(&self, first: LookupId) -> LookupSet {
        let mut all = LookupSet::default().with(first);
        for _ in 0..CHAIN_MAX {
            let next = all.iter().filter_map(|lookup| match &self.lookups.get(usize::from(lookup.0))?.tells {
                Tells::Then(next) => Some(next.iter().map(|(lookup, _)| *lookup)),
                Tells::Homes(_) => None,
            });
            all = next.flatten().fold(all, LookupSet::with);
        }
        all
    }
}

/// Percent-encodes all but what is unreserved (RFC 3986 §2.3).
fn encode(target: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => target.push(char::from(byte)),
            // Writing to a text cannot fail.
            other => drop(write!(target, "%{other:02X}")),
        }
    }
}

impl Lookup {
    /// Whether a text may be the name of such a thing.
    pub fn may_be_called(&self, thing: &str) -> bool {
        // `.` and `..` would be steps in the path of the question.
        thing.len() <= THING_BYTES_MAX && self.written.is_match(thing) && !thing.bytes().all(|byte| byte == b'.')
    }

    /// Whether the containers stand in a list, of which somebody else may see more.
    pub fn lists(&self) -> bool {
        match &self.tells {
            Tells::Homes(places) => {
                places.iter().flat_map(|place| place.id.iter().chain(&place.key)).any(|at| at.contains("/*"))
            }
            Tells::Then(_) => false,
        }
    }

    /// What the body of a successful answer says.
    pub fn read(&self, catalog: &Catalog, body: &[u8]) -> Answer {
        let Ok(answer) = json::parse(body) else { return Answer::Unreadable };
        self.read_value(catalog, &answer).unwrap_or(Answer::Unreadable)
    }

    fn read_value(&self, catalog: &Catalog, answer: &Value<'_>) -> Option<Answer> {
        if let Some(ok) = &self.ok {
            match answer.at(ok).ok()?? {
                Value::Bool(true) => {}
                Value::Bool(false) => return self.error(answer),
                _ => return None,
            }
        }
        match &self.tells {
            Tells::Then(next) => {
                let next = next.iter().find_map(|(lookup, at)| Some((*lookup, text(answer.at(at).ok()??)?)));
                let (lookup, thing) = next?;
                Some(Answer::Then { lookup, thing })
            }
            Tells::Homes(places) => {
                let kind = catalog.containers.get(usize::from(self.kind.0))?;
                let mut homes = Vec::new();
                let mut is_empty = false;
                for place in places {
                    is_empty |= read_homes(kind, place, answer, &mut homes)?;
                }
                if homes.is_empty() && self.none_is_tenant {
                    homes.push(Home::NONE);
                }
                match (homes.is_empty(), is_empty) {
                    (false, _) => Some(Answer::In { homes: homes.into(), variants: self.variants(answer) }),
                    // It was looked for, and none was found.
                    (true, true) => Some(Answer::Nowhere),
                    (true, false) => None,
                }
            }
        }
    }

    /// What the word of an error means. `None`: nothing that is known.
    fn error(&self, answer: &Value<'_>) -> Option<Answer> {
        let errors = self.errors.as_ref()?;
        let Value::Text(said) = answer.at(&errors.at).ok()?? else { return None };
        errors.words.iter().find(|(word, _)| **word == **said).map(|(_, means)| means.clone())
    }

    /// Whether this name of a thing is its identity.
    pub fn is_identity(&self, name: &str) -> bool {
        self.identity.as_ref().is_some_and(|identity| name.len() <= THING_BYTES_MAX && identity.written.is_match(name))
    }

    /// The identity of the thing that an answer is about, where it tells one.
    pub fn identity_in(&self, body: &[u8]) -> Option<Box<str>> {
        let at = self.identity.as_ref()?.at.as_deref()?;
        let answer = json::parse(body).ok()?;
        text(answer.at(at).ok()??).filter(|text| self.is_identity(text))
    }

    fn variants(&self, answer: &Value<'_>) -> VariantMask {
        let is_true = |at: &str| matches!(answer.at(at), Ok(Some(Value::Bool(true))));
        // The first that is true counts: Slack's direct messages are private too.
        let told = self.variants.iter().find(|(at, _)| is_true(at));
        told.map_or(VariantMask::NONE, |(_, means)| *means)
    }
}

/// An id is text or a whole number; nothing else has one spelling.
fn text(value: &Value<'_>) -> Option<Box<str>> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(Box::from(&**text)),
        Value::Whole(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// Every container that one place names; whether an empty list stands there. `None`: something there is no container's id
/// or name.
fn read_homes(kind: &ContainerKind, place: &HomeAt, answer: &Value<'_>, homes: &mut Vec<Home>) -> Option<bool> {
    let around = place.id.as_deref().or(place.key.as_deref())?;
    if place.reading == Some(AnswerReading::Jql) {
        return match answer.at(around).ok()? {
            Some(Value::Text(query)) => add_bounds(kind, query, homes).map(|()| false),
            Some(_) => None,
            // A filter without a query finds everything.
            None => push(homes, Home::NONE).map(|()| false),
        };
    }
    let Some((list, rest)) = around.split_once("/*") else {
        let at = |pointer: &Option<Box<str>>| pointer.as_deref().map(|pointer| answer.at(pointer)).transpose();
        add(kind, place, at(&place.id).ok()?.flatten(), at(&place.key).ok()?.flatten(), homes)?;
        return Some(false);
    };
    let Some(items) = answer.at(list).ok()? else { return Some(false) };
    let mut is_empty = true;
    for item in items.items()? {
        is_empty = false;
        let inner = match rest.is_empty() {
            true => Some(item),
            false => item.at(rest).ok()?,
        };
        let (id, key) = if place.id.is_some() { (inner, None) } else { (None, inner) };
        add(kind, place, id, key, homes)?;
    }
    Some(is_empty)
}

/// `PROJ` of `PROJ-1`.
fn project_of(issue: &str) -> Option<&str> {
    let (project, number) = issue.rsplit_once('-')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(project)
}

fn add(
    kind: &ContainerKind,
    place: &HomeAt,
    id: Option<&Value<'_>>,
    key: Option<&Value<'_>>,
    homes: &mut Vec<Home>,
) -> Option<()> {
    let known = |value: Option<&Value<'_>>, pattern: Option<&Pattern>| match value {
        None => Some(None),
        Some(value) => {
            let mut text = text(value)?;
            if place.reading == Some(AnswerReading::IssueKey) {
                text = project_of(&text)?.into();
            }
            let compared: Cow<'_, str> = comparison_form(kind, &text);
            // What is kept of an answer is bounded.
            let pattern = pattern.filter(|_| text.len() <= THING_BYTES_MAX);
            pattern?.is_match(&text).then(|| Some(Box::from(&*compared)))
        }
    };
    let home = Home { id: known(id, kind.id.as_ref())?, key: known(key, kind.key.as_ref())?, is_word: false };
    if home.id.is_none() && home.key.is_none() {
        return Some(());
    }
    push(homes, home)
}

fn push(homes: &mut Vec<Home>, home: Home) -> Option<()> {
    if homes.len() >= HOMES_MAX {
        return None;
    }
    if !homes.contains(&home) {
        homes.push(home);
    }
    Some(())
}

/// What a query cannot reach outside of. An open one may reach anything.
fn add_bounds(kind: &ContainerKind, query: &str, homes: &mut Vec<Home>) -> Option<()> {
    let Bounds::Within(named) = query_language::bounds(Language::Jql, query) else { return push(homes, Home::NONE) };
    for one in named {
        let is_known = |text: &str| {
            let pattern = if is_number(text) { &kind.id } else { &kind.key };
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
        };
        let home = match one {
            // An issue that was moved is found by its old key.
            Named::Issue(_) => Home::NONE,
            // Digits in quotes are what a project is called.
            Named::Container { text, quoted: true } if is_number(text) => Home::NONE,
            Named::Container { text, .. } if is_known(text) => {
                Home { id: None, key: Some(Box::from(&*comparison_form(kind, text))), is_word: true }
            }
            Named::Container { .. } => Home::NONE,
        };
        push(homes, home)?;
    }
    Some(())
}
