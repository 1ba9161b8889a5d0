//! Which acts the settled policy says itself, rule for rule: those can go, and nobody would notice.
//!
//! Equal is what compiles to the same, with the same terms, containers, tenants, ends and mode. What merely covers an act
//! is not looked for: a mistake there would open something. Whether its scopes are written with the same words, too, is
//! seen in the files ([`says_with_the_same_words`]): what a scope implies is the catalog's, and changes with it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::{Entry, Form, Latest, Store};
use crate::authz::policy::compile::{Compiled, CompiledApp, CompiledGuardrail};
use crate::authz::policy::document::{Apps, Body, Document, Scopes};
use crate::authz::policy::part::{Grant, Part, Revocation, Takes};
use crate::problem::Spanned;

/// An act that the policy says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub act: Arc<Path>,
    /// SHA-256 of what the act says.
    pub digest: [u8; 32],
    /// Where the policy says the same.
    pub places: Vec<Place>,
}

/// A rule of the policy, and what its file said when that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    pub line: u32,
    pub digest: [u8; 32],
    /// The line of the act's rule that stands there.
    pub of_act: u32,
}

/// A document of an app: its file, its form and what it was compiled to.
type Described<'s> = (&'s Arc<Path>, &'s Form, &'s CompiledApp);

/// The policy's documents, by what acts ask of them.
#[derive(Default)]
struct Written<'s> {
    apps: HashMap<&'s str, Vec<Described<'s>>>,
    guardrails: Vec<(&'s Arc<Path>, &'s Form, &'s CompiledGuardrail)>,
}

impl Store {
    /// None while the folder has not settled, or anything of it cannot be read.
    pub fn said_by_policy(&self) -> Vec<Said> {
        let acts: Vec<(&Arc<Path>, &Form)> = self.entries.iter().filter_map(act).collect();
        if acts.is_empty() || !self.newest_is_whole || !self.is_readable() {
            return Vec::new();
        }
        let written = Written::of(self.entries.iter());
        let said = acts.into_iter().filter_map(|(act, form)| {
            let mut places = Vec::new();
            let documents = form.documents.iter().map(|document| written.says(document));
            for found in documents.collect::<Option<Vec<_>>>()? {
                places.extend(found);
            }
            (!places.is_empty()).then(|| Said { act: Arc::clone(act), digest: form.digest, places })
        });
        said.collect()
    }
}

fn act<'s>((path, entry): (&'s Arc<Path>, &'s Entry)) -> Option<(&'s Arc<Path>, &'s Form)> {
    let stands = entry.is_override && matches!(entry.latest, Latest::InForce);
    entry.in_force.as_ref().filter(|_| stands).map(|form| (path, form))
}

impl<'s> Written<'s> {
    fn of(entries: impl Iterator<Item = (&'s Arc<Path>, &'s Entry)>) -> Self {
        let mut written = Self::default();
        for (path, entry) in entries.filter(|(_, entry)| !entry.is_override) {
            for (form, document) in
                entry.in_force.iter().flat_map(|form| form.documents.iter().map(move |one| (form, one)))
            {
                match &**document {
                    Compiled::App(app) => written.apps.entry(&app.app).or_default().push((path, form, app)),
                    Compiled::Guardrail(guardrail) => written.guardrails.push((path, form, guardrail)),
                    Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => {}
                }
            }
        }
        written
    }

    /// Where all of it is said. `None`: something of it is not.
    fn says(&self, document: &Compiled) -> Option<Vec<Place>> {
        match document {
            Compiled::App(act) => self.says_of_app(act),
            Compiled::Guardrail(act) => {
                let mut all = self.guardrails.iter();
                all.find_map(|(file, form, guardrail)| {
                    let lines = same_guardrail(act, guardrail)?;
                    Some(lines.into_iter().map(|(of_act, line)| place(file, form, line, of_act)).collect())
                })
            }
            Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => None,
        }
    }

    fn says_of_app(&self, act: &CompiledApp) -> Option<Vec<Place>> {
        // Windows and suspensions are written by commands alone.
        let rules_alone = act.windows.is_empty()
            && act.suspensions.is_empty()
            && act.installations.is_empty()
            && act.description.is_none();
        let written = self.apps.get(&*act.app).filter(|_| rules_alone && refers_to_nothing(&act.part))?;
        let find = |of_act: u32, line_in: &dyn Fn(&Part) -> Option<u32>| {
            let mut all = written.iter();
            all.find_map(|(file, form, app)| line_in(&app.part).map(|line| place(file, form, line, of_act)))
        };
        let (own, part) = (&act.part, &*act.part);
        let revocations =
            own.revocations.iter().map(|one| find(one.line, &|other| line_of_revocation((part, one), other)));
        let grants = own.grants.iter().map(|one| find(one.line, &|other| line_of_grant((part, one), other)));
        revocations.chain(grants).collect()
    }
}

fn place(file: &Arc<Path>, form: &Form, line: u32, of_act: u32) -> Place {
    Place { file: Arc::clone(file), line, digest: form.digest, of_act }
}

/// Sets and groups may change without the rule that names them; what commands write names none.
fn refers_to_nothing(part: &Part) -> bool {
    part.set_references.is_empty() && part.group_references.is_empty()
}

/// The lines of the act's rules, each with the other's that says the same.
fn same_guardrail(act: &CompiledGuardrail, other: &CompiledGuardrail) -> Option<BTreeSet<(u32, u32)>> {
    let same_apps = match (&act.apps, &other.apps) {
        (Apps::Product { product: one, except: none }, Apps::Product { product: other, except: neither }) => {
            one.value == other.value && none.is_empty() && neither.is_empty()
        }
        (Apps::All { .. } | Apps::Named(_) | Apps::Product { .. }, _) => false,
    };
    if !same_apps || act.parts.iter().any(|(_, part)| !refers_to_nothing(part)) {
        return None;
    }
    let mut lines = BTreeSet::new();
    for (id, part) in &act.parts {
        let (_, found) = other.parts.iter().find(|(other, _)| other == id)?;
        for one in &part.revocations {
            lines.insert((one.line, line_of_revocation((part, one), found)?));
        }
    }
    Some(lines).filter(|lines| !lines.is_empty())
}

fn line_of_revocation((part, one): (&Part, &Revocation), other: &Part) -> Option<u32> {
    let same = |candidate: &&Revocation| {
        let takes = match (one.takes, candidate.takes) {
            (Takes::Everything, Takes::Everything) => true,
            (Takes::Scopes(one), Takes::Scopes(set)) => is_same(part.scope_set(one), other.scope_set(set)),
            (Takes::Everything, Takes::Scopes(_)) | (Takes::Scopes(_), Takes::Everything) => false,
        };
        takes
            && one.shadow == candidate.shadow
            && is_same_operations((part, one.operations), (other, candidate.operations))
            && is_same(part.condition(one.condition), other.condition(candidate.condition))
            && is_same(part.area(one.area), other.area(candidate.area))
    };
    other.revocations.iter().find(same).map(|found| found.line)
}

fn line_of_grant((part, one): (&Part, &Grant), other: &Part) -> Option<u32> {
    let same = |candidate: &&Grant| {
        is_same(part.scope_set(one.scopes), other.scope_set(candidate.scopes))
            && one.shadow == candidate.shadow
            && is_same_operations((part, one.operations), (other, candidate.operations))
            && is_same(part.condition(one.condition), other.condition(candidate.condition))
            && is_same(part.area(one.area), other.area(candidate.area))
    };
    other.grants.iter().find(same).map(|found| found.line)
}

/// Whether the rules of the policy name the scopes and operations that the act's rules name, word for word. All rules of a
/// line count: which of them was found is not known here.
pub fn says_with_the_same_words(act: &[Document], of_act: u32, policy: &[Document], line: u32) -> bool {
    let (of_act, of_policy) = (words(act, of_act), words(policy, line));
    of_act.first().is_some_and(|first| !of_policy.is_empty() && of_act.iter().chain(&of_policy).all(|one| one == first))
}

/// What a rule takes or gives, as it is written.
#[derive(PartialEq)]
enum Words<'d> {
    Grant(Option<ScopeWords<'d>>, Option<BTreeSet<&'d str>>),
    Revocation(ScopeWords<'d>, Option<BTreeSet<&'d str>>),
}

#[derive(PartialEq)]
enum ScopeWords<'d> {
    All,
    Named(BTreeSet<&'d str>),
}

fn words(documents: &[Document], line: u32) -> Vec<Words<'_>> {
    let mut words = Vec::new();
    for document in documents {
        let (grants, revocations) = match &document.body {
            Body::App(app) => (&app.grants[..], &app.revocations[..]),
            Body::Guardrail(guardrail) => (&[][..], &guardrail.revocations[..]),
            Body::Set(_) | Body::Group(_) | Body::Names(_) => continue,
        };
        words.extend(
            grants
                .iter()
                .filter(|rule| rule.at.line == line)
                .map(|rule| Words::Grant(rule.scopes.as_ref().map(scope_words), rule.operations.as_deref().map(names))),
        );
        words.extend(revocations.iter().filter(|rule| rule.at.line == line).map(|rule| {
            let scopes = rule.scopes.as_ref().map_or(ScopeWords::All, scope_words);
            Words::Revocation(scopes, rule.operations.as_deref().map(names))
        }));
    }
    words
}

fn scope_words(scopes: &Scopes) -> ScopeWords<'_> {
    match scopes {
        Scopes::All(_) => ScopeWords::All,
        Scopes::Names(list) => ScopeWords::Named(names(list)),
    }
}

fn names(list: &[Spanned<String>]) -> BTreeSet<&str> {
    list.iter().map(|name| name.value.as_str()).collect()
}

/// What is not there is not the same as anything.
fn is_same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && one == other
}

fn is_same_operations(
    one: (&Part, Option<std::num::NonZeroU32>),
    other: (&Part, Option<std::num::NonZeroU32>),
) -> bool {
    let set =
        |(part, number): (&Part, std::num::NonZeroU32)| part.operation_sets.get(number.get() as usize - 1).cloned();
    match (one.1, other.1) {
        (None, None) => true,
        (Some(number), Some(candidate)) => is_same(set((one.0, number)).as_ref(), set((other.0, candidate)).as_ref()),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
