//! Numbers what some requests of an operation need on top of a line, and the places that tell it.

use super::names::Names;
use super::operation::at;
use crate::authz::catalog::compact::{self, Spot, Word};
use crate::authz::catalog::extras::{EXTRAS_MAX, Extra, ExtraMask, ExtraSource};
use crate::authz::catalog::items::prefixed;
use crate::authz::catalog::matcher::Request;
use crate::authz::catalog::{Needs, PlaceAt, VocabularyId};
use crate::authz::scope::{ScopeId, ScopeSet};

/// The extras of one operation.
pub struct Compiled {
    pub extras: Box<[Extra]>,
    pub sources: Box<[ExtraSource]>,
}

impl Compiled {
    /// Every scope in any of them.
    pub fn scopes(&self) -> ScopeSet {
        let all = self.extras.iter().flat_map(|extra| &extra.by_vocabulary);
        all.flat_map(|(_, scopes)| scopes.iter().copied()).collect()
    }
}

pub fn compile(written: &compact::Operation, needs: &Needs, request: &Request, names: &mut Names<'_>) -> Compiled {
    let spot = written.id.spot;
    let vocabularies: Vec<VocabularyId> = match needs {
        Needs::Lines(vocabularies) => vocabularies.iter().map(|one| one.vocabulary).collect(),
        Needs::Unknown | Needs::None { .. } => Vec::new(),
    };
    if vocabularies.is_empty() && !written.extra_sources.is_empty() {
        names.problem(spot, format!("`extra_needs` come on top of lines, and `{}` has none", written.id.text));
    }
    let mut extras = Extras { id: &written.id, vocabularies, extras: Vec::new() };
    let mut sources: Vec<ExtraSource> = Vec::new();
    for one in &written.extra_sources {
        let Some(source) = extras.source(one, request, names) else { continue };
        if sources.iter().any(|other| other.at == source.at) {
            names.problem(spot, format!("two sources of `extra_needs` of `{}` are at one place", written.id.text));
        }
        sources.push(source);
    }
    if extras.extras.len() > EXTRAS_MAX {
        let (count, id) = (extras.extras.len(), &written.id.text);
        names.problem(spot, format!("{count} different `extra_needs` of `{id}`: at most {EXTRAS_MAX}"));
    }
    Compiled { extras: extras.extras.into(), sources: sources.into() }
}

struct Extras<'w> {
    id: &'w Word,
    /// Those in which the operation has lines.
    vocabularies: Vec<VocabularyId>,
    extras: Vec<Extra>,
}

impl Extras<'_> {
    fn source(
        &mut self,
        written: &compact::ExtraSource,
        request: &Request,
        names: &mut Names<'_>,
    ) -> Option<ExtraSource> {
        let at = at(&written.at, request, names)?;
        if let PlaceAt::InItems { pointer, .. } = &at
            && prefixed(pointer).is_some()
        {
            let message = format!("`{pointer}`: `extra_needs` are not read from members that begin with a name");
            names.problem(self.id.spot, message);
        }
        let mut values: Vec<(Box<str>, ExtraMask)> = Vec::new();
        let mut all = ExtraMask::NONE;
        for one in &written.values {
            let needed = self.mask(&one.needs, None, names);
            all = all.and(needed);
            if one.values.is_empty() {
                names.problem(self.id.spot, format!("`extra_needs` of `{}` lists no values", self.id.text));
            }
            for value in &one.values {
                if values.iter().any(|(known, _)| **known == *value.text) {
                    names.problem(value.spot, format!("the value `{}` is written twice", value.text));
                }
                values.push((value.text.as_str().into(), needed));
            }
        }
        let all = (!written.values.is_empty()).then_some(all);
        let absent = self.mask(&written.absent, all, names);
        let other = self.mask(&written.other, all, names);
        if values.iter().map(|(_, needed)| *needed).chain([absent, other]).all(ExtraMask::is_none) {
            names.problem(self.id.spot, format!("`extra_needs` of `{}` ask for nothing, ever", self.id.text));
        }
        Some(ExtraSource { at, list: written.list, values: values.into(), absent, other })
    }

    /// `all`: what the values ask for together, where they may be meant.
    fn mask(&mut self, written: &compact::Extra, all: Option<ExtraMask>, names: &mut Names<'_>) -> ExtraMask {
        match written {
            compact::Extra::Nothing => ExtraMask::NONE,
            compact::Extra::Unknown => ExtraMask::UNKNOWN,
            compact::Extra::All => all.unwrap_or_else(|| {
                names.problem(self.id.spot, "`all` stands for what `values` ask for: there are none");
                ExtraMask::UNKNOWN
            }),
            compact::Extra::Scopes(written) => self.scopes(written, names),
        }
    }

    fn scopes(&mut self, written: &[(Word, Vec<Word>)], names: &mut Names<'_>) -> ExtraMask {
        let spot = written.first().map_or(self.id.spot, |(vocabulary, _)| vocabulary.spot);
        let named: Vec<(VocabularyId, &[Word])> = written
            .iter()
            .filter_map(|(vocabulary, scopes)| Some((names.vocabulary(vocabulary)?, scopes.as_slice())))
            .collect();
        let mut by_vocabulary = Vec::new();
        for vocabulary in &self.vocabularies {
            match named.iter().find(|(one, _)| one == vocabulary) {
                Some((_, words)) => {
                    let scopes: Box<[ScopeId]> = words.iter().filter_map(|word| names.scope(word)).collect();
                    by_vocabulary.push((*vocabulary, scopes));
                }
                None => self.unsaid(*vocabulary, spot, names),
            }
        }
        if written.iter().all(|(_, scopes)| scopes.is_empty()) {
            names.problem(spot, "it asks for nothing in any vocabulary: write `nothing`");
        }
        self.numbered(Extra { by_vocabulary: by_vocabulary.into() })
    }

    fn unsaid(&self, vocabulary: VocabularyId, spot: Spot, names: &mut Names<'_>) {
        let name = names.vocabulary_name(vocabulary).to_owned();
        let message = format!("`{}` has lines in the vocabulary `{name}`, of which this says nothing", self.id.text);
        let problem = names.sources.problem(spot, message);
        names.problems.push(problem.help(format!("write the scopes, or `{name}: nothing`")));
    }

    fn numbered(&mut self, extra: Extra) -> ExtraMask {
        let known = self.extras.iter().position(|one| *one == extra);
        let index = known.unwrap_or(self.extras.len());
        if known.is_none() {
            self.extras.push(extra);
        }
        ExtraMask::of(index)
    }
}
