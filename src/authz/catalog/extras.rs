//! What some requests of an operation need on top of a line, told by what stands in them: a webhook's events, a flag, an
//! expansion.
//!
//! It only ever adds. What the catalog does not list asks for what it says of all else, and what could be read in two
//! ways refuses the request.

use super::container::check_read_by_all;
use super::{Operation, PlaceAt, VocabularyId};
use crate::authz::request::json::Value;
use crate::authz::request::{BadRequest, Facts, Found, RequestView, argument, values_of};
use crate::authz::scope::{ScopeId, ScopeSet};

/// The most extras of one operation: a bit each, and one for what nobody knows.
pub const EXTRAS_MAX: usize = 15;
/// The most values that one place may name. Bitbucket has 29 events.
const VALUES_MAX: usize = 1_000;

/// Which of an operation's extras a request needs, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtraMask(pub u16);

impl ExtraMask {
    pub const NONE: Self = Self(0);
    /// The request names what the catalog does not know, so nobody can say what it needs: it is refused.
    pub const UNKNOWN: Self = Self(1 << EXTRAS_MAX);

    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub fn is_unknown(self) -> bool {
        self.0 & Self::UNKNOWN.0 != 0
    }

    /// The bit of the n-th extra.
    pub fn of(index: usize) -> Self {
        Self(u32::try_from(index).ok().and_then(|index| 1_u16.checked_shl(index)).unwrap_or(Self::UNKNOWN.0))
    }

    #[inline]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Scopes that are needed together, on top of whichever line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// For each vocabulary that the operation has lines in, whatever it asks for there.
    pub by_vocabulary: Box<[(VocabularyId, Box<[ScopeId]>)]>,
}

/// A place that tells which extras are needed.
#[derive(Debug, PartialEq, Eq)]
pub struct ExtraSource {
    /// In the query, a body, or an argument.
    pub at: PlaceAt,
    /// Several values may stand there, and what each of them asks for is needed.
    pub list: bool,
    pub values: Box<[(Box<str>, ExtraMask)]>,
    pub absent: ExtraMask,
    /// Of any other value.
    pub other: ExtraMask,
}

impl Operation {
    /// Every scope that any of its requests may need: in a line, as a guard, or for what its arguments ask.
    #[inline]
    pub fn any_scopes(&self) -> ScopeSet {
        let mut all = self.all_scopes;
        all.union_with(&self.extra_scopes);
        all
    }

    /// The scopes of these extras in one vocabulary.
    #[inline]
    pub fn extra_scopes(&self, extras: ExtraMask, vocabulary: VocabularyId) -> impl Iterator<Item = ScopeId> + Clone {
        let needed = self.extras.iter().enumerate().filter(move |(index, _)| extras.has(ExtraMask::of(*index)));
        let here = needed.flat_map(|(_, extra)| &extra.by_vocabulary).filter(move |(one, _)| *one == vocabulary);
        here.flat_map(|(_, scopes)| scopes.iter().copied())
    }
}

/// What a request needs on top of a line, by everything that stands in it.
///
/// # Errors
/// A place that tells it can be read in two ways.
#[inline]
pub fn extras(operation: &Operation, request: &RequestView<'_>, facts: &Facts<'_>) -> Result<ExtraMask, BadRequest> {
    let mut needed = ExtraMask::NONE;
    for source in &operation.extra_sources {
        needed = needed.and(source.asked(operation, request, facts)?);
    }
    Ok(needed)
}

impl ExtraSource {
    /// What stands at this place asks for.
    pub fn asked(
        &self,
        operation: &Operation,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
    ) -> Result<ExtraMask, BadRequest> {
        match &self.at {
            PlaceAt::Query(name) => self.of_argument(&request.arguments().find(name)?),
            PlaceAt::Argument(name) => {
                let found = argument(name, request, facts)?;
                check_read_by_all(operation, &self.at, &found, facts)?;
                self.of_argument(&found)
            }
            PlaceAt::Body(pointer) | PlaceAt::InItems { pointer, keys: false } => match facts.body.json()? {
                Some(body) => self.in_value(body, pointer.strip_prefix('/').unwrap_or(pointer)),
                None => Ok(self.absent),
            },
            // No catalog with such a source compiles.
            PlaceAt::Path(_)
            | PlaceAt::Rest
            | PlaceAt::Header(_)
            | PlaceAt::Keys(_)
            | PlaceAt::InItems { keys: true, .. }
            | PlaceAt::Multipart(_) => Ok(ExtraMask::UNKNOWN),
        }
    }

    fn of_argument(&self, found: &Found<'_>) -> Result<ExtraMask, BadRequest> {
        match found {
            Found::Absent => Ok(self.absent),
            Found::Many(_) if !self.list => {
                Err(BadRequest("an argument on which the needed scopes depend is repeated"))
            }
            Found::One(_) | Found::Many(_) => {
                let words = found.as_slice().iter();
                match self.list {
                    true => self.of_words(words.flat_map(|value| value.split(','))),
                    false => self.of_words(words.map(|value| &**value)),
                }
            }
        }
    }

    fn of_words<'w>(&self, words: impl Iterator<Item = &'w str>) -> Result<ExtraMask, BadRequest> {
        let mut needed = ExtraMask::NONE;
        for (index, word) in words.enumerate() {
            if index >= VALUES_MAX {
                return Err(BadRequest("the request names too many things on which the needed scopes depend"));
            }
            needed = needed.and(self.of_word(word));
        }
        Ok(needed)
    }

    fn of_word(&self, word: &str) -> ExtraMask {
        self.values.iter().find(|(value, _)| **value == *word).map_or(self.other, |(_, needed)| *needed)
    }

    /// What stands at the rest of a pointer, without its first slash. Where a part of the way is absent, so is the place.
    fn in_value(&self, value: &Value<'_>, pointer: &str) -> Result<ExtraMask, BadRequest> {
        let (before, after) = match pointer.strip_prefix('*') {
            Some(rest) => (None, rest.strip_prefix('/')),
            None => match pointer.split_once("/*") {
                Some((before, rest)) => (Some(before), rest.strip_prefix('/')),
                None => return self.at_end(value, pointer),
            },
        };
        let list = match before {
            None => Some(value),
            Some(before) => value.at(&format!("/{before}"))?,
        };
        let Some(list) = list.filter(|list| !matches!(list, Value::Null)) else { return Ok(self.absent) };
        let items = list.items().ok_or(BadRequest("a deciding member of the body is neither list nor object"))?;
        let mut needed = None;
        for (index, item) in items.enumerate() {
            if index >= VALUES_MAX {
                return Err(BadRequest("the request names too many things on which the needed scopes depend"));
            }
            let asked = match after {
                Some(rest) => self.in_value(item, rest)?,
                None => self.of_leaf(Some(item))?,
            };
            needed = Some(asked.and(needed.unwrap_or_default()));
        }
        Ok(needed.unwrap_or(self.absent))
    }

    fn at_end(&self, value: &Value<'_>, pointer: &str) -> Result<ExtraMask, BadRequest> {
        self.of_leaf(value.at(&format!("/{pointer}"))?)
    }

    fn of_leaf(&self, value: Option<&Value<'_>>) -> Result<ExtraMask, BadRequest> {
        let Some(value) = value else { return Ok(self.absent) };
        match (values_of(value)?, self.list) {
            (Found::Absent, _) => Ok(self.absent),
            (Found::Many(words), true) => self.of_words(words.iter().map(|word| &**word)),
            (Found::One(word), false) => Ok(self.of_word(&word)),
            // A lenient reader takes one for a list of one, or of its letters.
            (Found::One(_), true) => Err(BadRequest("one value stands in the body where a list of them is due")),
            (Found::Many(_), false) => Err(BadRequest("a list stands in the body where one value is due")),
        }
    }
}
