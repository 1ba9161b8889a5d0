//! The names of one catalog, numbered, and the problems found with them so far.

use std::collections::HashMap;

use http::Method;

use super::scopes;
use crate::authz::catalog::compact::{Compact, Spot, Word};
use crate::authz::catalog::jobs::JOBS_MAX;
use crate::authz::catalog::lookups::{LOOKUPS_MAX, LookupId};
use crate::authz::catalog::merge::Sources;
use crate::authz::catalog::{KindId, VariantMask, VocabularyId};
use crate::authz::scope::{SCOPES_MAX, ScopeId};
use crate::problem::{Problem, did_you_mean};

/// One bit each in a `VocabularySet`.
const VOCABULARIES_MAX: usize = 16;
/// One bit each in a `VariantMask`.
const VARIANTS_MAX: usize = 8;
/// Far more than any product has; `KindId` and `CredentialKindId` are bytes.
const KINDS_MAX: usize = 64;
/// Limits on arguments: far more than any product has use for.
const LIMITS_MAX: usize = 16;
/// `OperationId` is 16 bits.
const OPERATIONS_MAX: usize = 16_384;

pub struct Names<'c> {
    pub sources: &'c Sources,
    pub problems: Vec<Problem>,
    scopes: HashMap<&'c str, usize>,
    vocabularies: Vec<&'c str>,
    variants: Vec<&'c str>,
    containers: Vec<&'c str>,
    lookups: Vec<&'c str>,
}

impl<'c> Names<'c> {
    pub fn of(compact: &'c Compact, sources: &'c Sources) -> Self {
        let mut names = Self {
            sources,
            problems: Vec::new(),
            scopes: HashMap::new(),
            vocabularies: compact.vocabularies.iter().map(String::as_str).collect(),
            variants: compact.variants.iter().map(String::as_str).collect(),
            containers: compact.containers.iter().map(|container| container.name.text.as_str()).collect(),
            lookups: compact.lookups.iter().map(|lookup| lookup.name.text.as_str()).collect(),
        };
        names.limit("vocabularies", compact.vocabularies.len(), VOCABULARIES_MAX);
        names.limit("variants", compact.variants.len(), VARIANTS_MAX);
        names.limit("containers", compact.containers.len(), KINDS_MAX);
        names.limit("kinds", compact.kinds.len(), KINDS_MAX);
        names.limit("scopes, with scopegate's own guards,", compact.scopes.len() + scopes::GUARDS.len(), SCOPES_MAX);
        names.limit("operations", compact.operations.len(), OPERATIONS_MAX);
        names.limit("look-ups", compact.lookups.len(), LOOKUPS_MAX);
        names.limit("limits", compact.limits.len(), LIMITS_MAX);
        names.limit("jobs", compact.jobs.len(), JOBS_MAX);
        names.once("vocabulary", compact.vocabularies.iter().map(|name| (name.as_str(), Spot::default())));
        names.once("variant", compact.variants.iter().map(|name| (name.as_str(), Spot::default())));
        names.once("container", compact.containers.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        names.once("look-up", compact.lookups.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        names.once("limit", compact.limits.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        names.once("job", compact.jobs.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        names.once("the list of names of", compact.names.iter().map(|one| (one.kind.text.as_str(), one.kind.spot)));
        names.once("evaluator", compact.evaluators.iter().map(|one| (one.query.text.as_str(), one.query.spot)));
        names.once("kind", compact.kinds.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        names.once("scope", compact.scopes.iter().map(|one| (one.name.text.as_str(), one.name.spot)));
        let scopes = compact.scopes.iter().map(|scope| scope.name.text.as_str()).chain(scopes::GUARDS);
        names.scopes = scopes.enumerate().map(|(index, name)| (name, index)).collect();
        names
    }

    pub fn problem(&mut self, spot: Spot, message: impl Into<String>) {
        self.problems.push(self.sources.problem(spot, message));
    }

    fn limit(&mut self, what: &str, count: usize, most: usize) {
        if count > most {
            self.problem(Spot::default(), format!("{count} {what}: at most {most}"));
        }
    }

    fn once<'n>(&mut self, what: &str, all: impl Iterator<Item = (&'n str, Spot)>) {
        let mut seen = std::collections::HashSet::new();
        for (name, spot) in all {
            if !seen.insert(name) {
                self.problem(spot, format!("{what} `{name}` is written twice"));
            }
        }
    }

    pub fn scope(&mut self, word: &Word) -> Option<ScopeId> {
        let found = self.scopes.get(word.text.as_str()).copied().and_then(ScopeId::new);
        if found.is_none() {
            let near = did_you_mean(&word.text, self.scopes.keys().copied()).map(str::to_owned);
            self.unknown("scope", word, near);
        }
        found
    }

    pub fn guard(&self, name: &str) -> Option<ScopeId> {
        self.scopes.get(name).copied().and_then(ScopeId::new)
    }

    pub fn vocabulary(&mut self, word: &Word) -> Option<VocabularyId> {
        let found = numbered(&self.vocabularies, word);
        if found.is_none() {
            let near = did_you_mean(&word.text, self.vocabularies.iter().copied()).map(str::to_owned);
            self.unknown("vocabulary", word, near);
        }
        found.filter(|id| usize::from(*id) < VOCABULARIES_MAX).map(VocabularyId)
    }

    pub fn vocabulary_name(&self, id: VocabularyId) -> &'c str {
        self.vocabularies.get(usize::from(id.0)).copied().unwrap_or("?")
    }

    pub fn container(&mut self, word: &Word) -> Option<KindId> {
        let found = numbered(&self.containers, word);
        if found.is_none() {
            let near = did_you_mean(&word.text, self.containers.iter().copied()).map(str::to_owned);
            self.unknown("container", word, near);
        }
        found.map(KindId)
    }

    pub fn lookup(&mut self, word: &Word) -> Option<LookupId> {
        let found = numbered(&self.lookups, word);
        if found.is_none() {
            let near = did_you_mean(&word.text, self.lookups.iter().copied()).map(str::to_owned);
            self.unknown("look-up", word, near);
        }
        found.map(LookupId)
    }

    /// No words are every variant.
    pub fn variants(&mut self, words: &[Word]) -> VariantMask {
        if words.is_empty() {
            return VariantMask::ALL;
        }
        let mut mask = 0;
        for word in words {
            match numbered(&self.variants, word).filter(|bit| usize::from(*bit) < VARIANTS_MAX) {
                Some(bit) => mask |= 1 << bit,
                None => self.unknown("variant", word, None),
            }
        }
        VariantMask(mask)
    }

    pub fn method(&mut self, written: &str) -> Option<Method> {
        let capital = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = Method::from_bytes(written.as_bytes()).ok().filter(|_| capital);
        if method.is_none() {
            self.problem(Spot::default(), format!("`{written}` is not a method in capital letters"));
        }
        method
    }

    fn unknown(&mut self, what: &str, word: &Word, near: Option<String>) {
        let problem = self.sources.problem(word.spot, format!("no {what} is called `{}`", word.text));
        self.problems.push(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
}

fn numbered(names: &[&str], word: &Word) -> Option<u8> {
    names.iter().position(|name| *name == word.text).and_then(|index| u8::try_from(index).ok())
}
