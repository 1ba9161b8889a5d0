//! Lays an overlay over an imported catalog. The result is in words still: `compile` checks what they name.
//!
//! What a person corrects is corrected once: two entries about the same side of one operation are an
//! error, since which of them wins would depend on their order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::arguments::{ExtraFile, ExtraSourceFile, LimitFile};
use super::compact::{
    Answer, Compact, Container, Errors, Evaluator, Extra, ExtraSource, ExtraValue, Identity, Job, JobFetch, JobStart,
    Kind, Limit, Line, LinkEntry, Links, Lookup, Needs, OneChanged, Operation, Place, PlaceAt, RedirectHost, Remover,
    Scope, Spot, TenantArgument, Then, Touches, Undo, VariantSource, VocabularyLines, Word,
};
use super::file::{
    self, CatalogFile, ContainerFile, EvaluatorFile, JobFetchFile, JobFile, JobStartFile, KindFile, LineFile, LinkFile,
    LinksFile, LookupFile, NeedsFile, OperationFile, OverlayFile, PlaceFile, Proposal, ReasonFile, RedirectFile,
    RemoverFile, ScopeFile, Text, TouchesFile, UndoFile, VariantSourceFile,
};
use super::name_lists::{NameListFile, NameListWords};
use crate::problem::{At, Problem, did_you_mean};

/// Said of an operation of which nobody said what it reaches.
const UNLOCATED: &str = "names no container where the import looks";

/// The two files that a catalog is made of, as messages name them.
#[derive(Debug, Clone)]
pub struct Sources {
    pub catalog: Arc<Path>,
    pub overlay: Option<Arc<Path>>,
}

impl Sources {
    pub fn file(&self, spot: Spot) -> &Arc<Path> {
        self.overlay.as_ref().filter(|_| spot.overlay).unwrap_or(&self.catalog)
    }

    pub fn problem(&self, spot: Spot, message: impl Into<String>) -> Problem {
        Problem::error(self.file(spot), spot.at, message)
    }
}

/// The catalog with the overlay laid over it, or everything that is wrong with the overlay.
pub fn merge(catalog: &CatalogFile, overlay: Option<&OverlayFile>, sources: &Sources) -> Result<Compact, Vec<Problem>> {
    let mut merge = Merge { sources, problems: Vec::new(), compact: facts(catalog), index: BTreeMap::new() };
    merge.add_operations(&catalog.operations, false);
    if let Some(overlay) = overlay {
        merge.lay(catalog, overlay);
    }
    if merge.problems.is_empty() { Ok(merge.compact) } else { Err(merge.problems) }
}

fn facts(catalog: &CatalogFile) -> Compact {
    Compact {
        product: catalog.product.clone(),
        release: catalog.release.clone(),
        dialect: catalog.dialect,
        bases: catalog.bases.clone(),
        tenant_bases: catalog.tenant_bases.clone(),
        accepts: catalog.accepts.clone(),
        tokens: catalog.tokens.clone(),
        tenant_arguments: catalog.tenant_arguments.clone(),
        vocabularies: catalog.vocabularies.clone(),
        variants: catalog.variants.clone(),
        containers: catalog.containers.iter().map(|written| container(written, false)).collect(),
        kinds: catalog.kinds.iter().map(|written| kind(written, false)).collect(),
        scopes: catalog.scopes.iter().map(|written| scope(written, false)).collect(),
        links: links(&catalog.links, false),
        redirects: redirects(&catalog.redirects, false),
        lookups: catalog.lookups.iter().map(|written| lookup(written, false)).collect(),
        limits: catalog.limits.iter().map(|written| limit(written, false)).collect(),
        jobs: catalog.jobs.iter().map(|written| job(written, false)).collect(),
        evaluators: catalog.evaluators.iter().map(|written| evaluator(written, false)).collect(),
        names: catalog.names.iter().map(|written| name_list(written, false)).collect(),
        operations: Vec::new(),
    }
}

struct Merge<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
    compact: Compact,
    /// Operation id → its place in `compact`.
    index: BTreeMap<String, usize>,
}

impl Merge<'_> {
    fn lay(&mut self, catalog: &CatalogFile, overlay: &OverlayFile) {
        if overlay.overlay.value != catalog.product {
            let message =
                format!("an overlay for `{}` over the catalog of `{}`", overlay.overlay.value, catalog.product);
            self.wrong(&overlay.overlay, message);
        }
        self.lay_facts(overlay);
        self.add_operations(&overlay.operations, true);
        self.lay_touches(catalog, overlay);
        self.lay_needs(overlay);
        self.lay_guards(overlay);
        self.lay_undo(overlay);
        self.lay_removers(overlay);
        self.lay_variant_sources(overlay);
        self.lay_extra_needs(overlay);
        self.lay_tenants_named(overlay);
    }

    fn lay_facts(&mut self, overlay: &OverlayFile) {
        let compact = &mut self.compact;
        compact.bases.extend(overlay.bases.iter().cloned());
        compact.tenant_bases.extend(overlay.tenant_bases.iter().cloned());
        compact.tokens.query.extend(overlay.tokens.query.iter().cloned());
        compact.tokens.body.extend(overlay.tokens.body.iter().cloned());
        compact.tokens.form.extend(overlay.tokens.form.iter().cloned());
        compact.tenant_arguments.extend(overlay.tenant_arguments.iter().cloned());
        for argument in overlay.tenants_named.iter().flat_map(|entry| &entry.arguments) {
            let argument = &argument.value;
            // A place in body or path is asked about where it is listed, and nowhere else: listing it says all.
            let is_place = argument.starts_with(['/', '{']);
            if is_place && compact.tenant_arguments.iter().all(|known| known.argument != *argument) {
                compact.tenant_arguments.push(TenantArgument { argument: argument.clone(), list: false });
            }
        }
        compact.vocabularies.extend(overlay.vocabularies.iter().cloned());
        compact.variants.extend(overlay.variants.iter().cloned());
        for written in &overlay.containers {
            replace(&mut compact.containers, container(written, true), |container| &container.name.text);
        }
        for written in &overlay.kinds {
            replace(&mut compact.kinds, kind(written, true), |kind| &kind.name.text);
        }
        for written in &overlay.scopes {
            add_scope(&mut compact.scopes, scope(written, true));
        }
        let Links { rewritten, stays } = links(&overlay.links, true);
        compact.links.rewritten.extend(rewritten);
        compact.links.stays.extend(stays);
        compact.redirects.extend(redirects(&overlay.redirects, true));
        for written in &overlay.lookups {
            replace(&mut compact.lookups, lookup(written, true), |lookup| &lookup.name.text);
        }
        for written in &overlay.limits {
            replace(&mut compact.limits, limit(written, true), |limit| &limit.name.text);
        }
        for written in &overlay.jobs {
            replace(&mut compact.jobs, job(written, true), |job| &job.name.text);
        }
        compact.evaluators.extend(overlay.evaluators.iter().map(|written| evaluator(written, true)));
        for written in &overlay.names {
            replace(&mut compact.names, name_list(written, true), |list| &list.kind.text);
        }
    }

    fn add_operations(&mut self, written: &[OperationFile], overlay: bool) {
        for operation in written {
            let converted = self.operation(operation, overlay);
            if self.index.insert(operation.id.value.clone(), self.compact.operations.len()).is_some() {
                let problem = self
                    .sources
                    .problem(converted.id.spot, format!("operation `{}` is written twice", converted.id.text));
                self.problems.push(problem.help("correct it under `needs`, `places`, `tenant` or `nothing`"));
            }
            self.compact.operations.push(converted);
        }
    }

    fn operation(&mut self, written: &OperationFile, overlay: bool) -> Operation {
        let touches = match &written.touches {
            None => Touches::Tenant { why: UNLOCATED.to_owned() },
            Some(TouchesFile::Nothing(why)) => Touches::Nothing { why: why.clone() },
            Some(TouchesFile::Tenant(why)) => Touches::Tenant { why: why.clone() },
            Some(TouchesFile::Places(places)) => Touches::Places(self.places(places, overlay)),
        };
        Operation {
            id: word(&written.id, overlay),
            request: word(&written.request, overlay),
            needs: needs(&written.needs, overlay),
            guards: words(&written.guards, overlay),
            touches,
            subject: written.subject,
            tenant_arguments: words(&written.tenant_arguments, overlay),
            variant_sources: self.sources_of(&written.variant_sources, overlay),
            extra_sources: self.extras_of(&written.extra_needs, overlay),
            websocket: written.websocket,
            json: written.json,
            multipart: written.multipart,
            undo: None,
            remover: None,
        }
    }

    fn lay_touches(&mut self, catalog: &CatalogFile, overlay: &OverlayFile) {
        let imported: BTreeMap<&str, &OperationFile> =
            catalog.operations.iter().map(|operation| (operation.id.value.as_str(), operation)).collect();
        let mut corrected = BTreeMap::new();
        for ReasonFile { why, operations } in &overlay.nothing {
            for id in operations {
                self.accept_nothing(id, imported.get(id.value.as_str()).copied());
                self.correct(&mut corrected, id, why, |operation| {
                    operation.touches = Touches::Nothing { why: why.clone() };
                });
            }
        }
        for ReasonFile { why, operations } in &overlay.tenant {
            for id in operations {
                self.correct(&mut corrected, id, why, |operation| {
                    operation.touches = Touches::Tenant { why: why.clone() };
                });
            }
        }
        for entry in &overlay.places {
            let places = self.places(&entry.places, true);
            for id in &entry.operations {
                self.correct(&mut corrected, id, &entry.why, |operation| {
                    operation.touches = Touches::Places(places.clone());
                });
            }
        }
    }

    /// The import proposes, the overlay accepts: neither alone makes `nothing` of an operation.
    fn accept_nothing(&mut self, id: &Text, imported: Option<&OperationFile>) {
        let Some(imported) = imported else { return };
        if imported.subject {
            self.wrong(id, format!("the vendor's own rule on containers reaches `{}`: it is never nothing", id.value));
        } else if imported.proposed != Some(Proposal::Nothing) {
            self.wrong(id, format!("the import does not propose `{}` as nothing", id.value));
        }
    }

    fn lay_needs(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for entry in &overlay.needs {
            for id in &entry.operations {
                self.correct(&mut corrected, id, &entry.why, |operation| operation.needs = needs(&entry.needs, true));
            }
        }
    }

    fn lay_guards(&mut self, overlay: &OverlayFile) {
        let mut corrected: BTreeMap<&str, BTreeMap<String, At>> = BTreeMap::new();
        for entry in &overlay.guards {
            let corrected = corrected.entry(entry.guard.value.as_str()).or_default();
            for id in &entry.operations {
                self.correct(corrected, id, &entry.why, |operation| operation.guards.push(word(&entry.guard, true)));
            }
        }
    }

    fn lay_undo(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for UndoFile { why, operations, by, answer, argument } in &overlay.undo {
            let by = by.as_ref().map(|by| word(by, true));
            let undo = Undo { by, why: why.clone(), answer: answer.clone(), argument: argument.clone() };
            for id in operations {
                self.correct(&mut corrected, id, why, |operation| operation.undo = Some(undo.clone()));
            }
        }
    }

    fn lay_removers(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for written in &overlay.removers {
            let RemoverFile { operation, path, query, body, argument, absent } = written;
            let mut at = [
                path.as_ref().map(|name| PlaceAt::Path(word(name, true))),
                query.as_ref().map(|name| PlaceAt::Query(name.clone())),
                body.as_ref().map(|pointer| PlaceAt::Body(word(pointer, true))),
                argument.as_ref().map(|name| PlaceAt::Argument(name.clone())),
            ]
            .into_iter()
            .flatten();
            let remover = Remover { at: at.next(), absent_all: absent.is_some() };
            if at.next().is_some() {
                self.wrong(operation, "one of `path`, `query`, `body` and `argument` says what is removed".to_owned());
            }
            let why = "it says what it removes";
            self.correct(&mut corrected, operation, why, |operation| operation.remover = Some(remover));
        }
    }

    fn lay_variant_sources(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for entry in &overlay.variant_sources {
            let sources = self.sources_of(&entry.sources, true);
            for id in &entry.operations {
                self.correct(&mut corrected, id, &entry.why, |operation| operation.variant_sources = sources.clone());
            }
        }
    }

    fn lay_extra_needs(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for entry in &overlay.extra_needs {
            let sources = self.extras_of(&entry.sources, true);
            for id in &entry.operations {
                self.correct(&mut corrected, id, &entry.why, |operation| operation.extra_sources = sources.clone());
            }
        }
    }

    fn lay_tenants_named(&mut self, overlay: &OverlayFile) {
        let mut corrected = BTreeMap::new();
        for entry in &overlay.tenants_named {
            for id in &entry.operations {
                self.correct(&mut corrected, id, &entry.why, |operation| {
                    let more = words(&entry.arguments, true);
                    let is_new = |word: &Word| operation.tenant_arguments.iter().all(|known| known.text != word.text);
                    let more: Vec<Word> = more.into_iter().filter(is_new).collect();
                    operation.tenant_arguments.extend(more);
                });
            }
        }
    }

    /// Changes one operation, once, with a reason.
    fn correct(
        &mut self,
        corrected: &mut BTreeMap<String, At>,
        id: &Text,
        why: &str,
        change: impl FnOnce(&mut Operation),
    ) {
        if why.trim().is_empty() {
            self.wrong(id, format!("`{}` is corrected without a reason", id.value));
        }
        if let Some(before) = corrected.insert(id.value.clone(), file::at(id)) {
            self.wrong(id, format!("`{}` is corrected in line {} already", id.value, before.line));
        }
        match self.index.get(&id.value).and_then(|index| self.compact.operations.get_mut(*index)) {
            Some(operation) => change(operation),
            None => {
                let near = did_you_mean(&id.value, self.index.keys().map(String::as_str)).map(str::to_owned);
                let problem = self.sources.problem(spot(id, true), format!("no operation is called `{}`", id.value));
                self.problems.push(match near {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem,
                });
            }
        }
    }

    fn places(&mut self, written: &[PlaceFile], overlay: bool) -> Vec<Place> {
        written.iter().filter_map(|place| self.place(place, overlay)).collect()
    }

    fn place(&mut self, written: &PlaceFile, overlay: bool) -> Option<Place> {
        let mut at = [
            written.path.as_ref().map(|name| PlaceAt::Path(word(name, overlay))),
            written.query.as_ref().map(|name| PlaceAt::Query(name.value.clone())),
            written.header.as_ref().map(|name| PlaceAt::Header(word(name, overlay))),
            written.body.as_ref().map(|pointer| PlaceAt::Body(word(pointer, overlay))),
            written.keys.as_ref().map(|pointer| PlaceAt::Keys(word(pointer, overlay))),
            written.multipart.as_ref().map(|name| PlaceAt::Multipart(name.value.clone())),
            written.argument.as_ref().map(|name| PlaceAt::Argument(name.value.clone())),
        ]
        .into_iter()
        .flatten();
        let (Some(at), None) = (at.next(), at.next()) else {
            let message =
                "a place is exactly one of `path`, `query`, `header`, `body`, `keys`, `multipart` and `argument`";
            self.problems.push(self.sources.problem(spot(&written.kind, overlay), message));
            return None;
        };
        Some(Place {
            kind: word(&written.kind, overlay),
            at,
            reading: written.reading,
            lookup: written.lookup.as_ref().map(|name| word(name, overlay)),
            absent: written.absent,
            present_is_tenant: written.present.is_some(),
            list: written.list,
            group: written.group,
        })
    }

    fn sources_of(&mut self, written: &[VariantSourceFile], overlay: bool) -> Vec<VariantSource> {
        written.iter().filter_map(|source| self.variant_source(source, overlay)).collect()
    }

    fn variant_source(&mut self, written: &VariantSourceFile, overlay: bool) -> Option<VariantSource> {
        let at = match (&written.query, &written.argument) {
            (Some(query), None) => PlaceAt::Query(query.value.clone()),
            (None, Some(argument)) => PlaceAt::Argument(argument.value.clone()),
            (None, None) | (Some(_), Some(_)) => {
                let message = "a variant source is exactly one of `query` and `argument`";
                self.problems.push(self.sources.problem(Spot { overlay, at: At::default() }, message));
                return None;
            }
        };
        let values = written.values.iter().map(|value| (value.value.clone(), words(&value.means, overlay))).collect();
        Some(VariantSource { at, values, list: written.list, absent: words(&written.absent, overlay) })
    }

    fn extras_of(&mut self, written: &[ExtraSourceFile], overlay: bool) -> Vec<ExtraSource> {
        written.iter().filter_map(|source| self.extra_source(source, overlay)).collect()
    }

    fn extra_source(&mut self, written: &ExtraSourceFile, overlay: bool) -> Option<ExtraSource> {
        let mut at = [
            written.query.as_ref().map(|name| PlaceAt::Query(name.value.clone())),
            written.argument.as_ref().map(|name| PlaceAt::Argument(name.value.clone())),
            written.body.as_ref().map(|pointer| PlaceAt::Body(word(pointer, overlay))),
        ]
        .into_iter()
        .flatten();
        let (Some(at), None) = (at.next(), at.next()) else {
            let message = "a source of `extra_needs` is exactly one of `query`, `argument` and `body`";
            let text = [&written.query, &written.argument, &written.body].into_iter().flatten().next();
            let spot = text.map_or(Spot { overlay, at: At::default() }, |text| spot(text, overlay));
            self.problems.push(self.sources.problem(spot, message));
            return None;
        };
        let values = written.values.iter();
        let values =
            values.map(|one| ExtraValue { values: words(&one.values, overlay), needs: extra(&one.needs, overlay) });
        Some(ExtraSource {
            at,
            list: written.list,
            values: values.collect(),
            absent: extra(&written.absent, overlay),
            other: extra(&written.other, overlay),
        })
    }

    /// Something is wrong in the overlay.
    fn wrong(&mut self, text: &Text, message: String) {
        self.problems.push(self.sources.problem(spot(text, true), message));
    }
}

fn spot(text: &Text, overlay: bool) -> Spot {
    Spot { overlay, at: file::at(text) }
}

fn word(text: &Text, overlay: bool) -> Word {
    Word { text: text.value.clone(), spot: spot(text, overlay) }
}

fn words(texts: &[Text], overlay: bool) -> Vec<Word> {
    texts.iter().map(|text| word(text, overlay)).collect()
}

fn container(written: &ContainerFile, overlay: bool) -> Container {
    Container {
        name: word(&written.name, overlay),
        id: written.id.clone(),
        key: written.key.clone(),
        fold: written.fold,
        within: written.within.as_ref().map(|within| word(within, overlay)),
        lookup: written.lookup.as_ref().map(|name| word(name, overlay)),
        lookup_id: written.lookup_id.as_ref().map(|name| word(name, overlay)),
    }
}

fn lookup(written: &LookupFile, overlay: bool) -> Lookup {
    let then = |one: &file::ThenFile| Then { lookup: word(&one.lookup, overlay), at: one.at.clone() };
    let answer = |one: &file::AnswerFile| Answer { id: one.id.clone(), key: one.key.clone(), reading: one.reading };
    Lookup {
        name: word(&written.lookup, overlay),
        why: written.why.clone(),
        request: word(&written.request, overlay),
        kind: word(&written.kind, overlay),
        written: written.written.clone(),
        answer: written.answer.iter().map(answer).collect(),
        then: written.then.iter().map(then).collect(),
        ok: written.ok.clone(),
        none_is_tenant: written.none.is_some(),
        variants: written.variants.iter().map(|one| (one.at.clone(), words(&one.means, overlay))).collect(),
        changed_by: words(&written.changed_by, overlay),
        errors: written.errors.as_ref().map(errors),
        identity: written.identity.as_ref().map(identity),
        one_changed_by: written.one_changed_by.iter().map(|one| one_changed(one, overlay)).collect(),
    }
}

fn extra(written: &ExtraFile, overlay: bool) -> Extra {
    match written {
        ExtraFile::Nothing => Extra::Nothing,
        ExtraFile::All => Extra::All,
        ExtraFile::Unknown => Extra::Unknown,
        ExtraFile::Scopes(vocabularies) => {
            let one = |(name, scopes): &(Text, Vec<Text>)| (word(name, overlay), words(scopes, overlay));
            Extra::Scopes(vocabularies.iter().map(one).collect())
        }
    }
}

fn limit(written: &LimitFile, overlay: bool) -> Limit {
    let places = written.places.iter().flat_map(|place| {
        let pointer = word(&place.body, overlay);
        place.operations.iter().map(move |operation| (word(operation, overlay), pointer.clone()))
    });
    Limit {
        name: word(&written.limit, overlay),
        why: written.why.clone(),
        reading: written.reading,
        places: places.collect(),
    }
}

fn job(written: &JobFile, overlay: bool) -> Job {
    let start = |JobStartFile { operations, answer, link, location }: &JobStartFile| JobStart {
        operations: words(operations, overlay),
        answer: answer.as_ref().map(|pointer| word(pointer, overlay)),
        link: link.as_ref().map(|pointer| word(pointer, overlay)),
        location: *location,
    };
    let fetch = |JobFetchFile { operations, path, query, body, argument }: &JobFetchFile| {
        let at = [
            path.as_ref().map(|name| PlaceAt::Path(word(name, overlay))),
            query.as_ref().map(|name| PlaceAt::Query(name.clone())),
            body.as_ref().map(|pointer| PlaceAt::Body(word(pointer, overlay))),
            argument.as_ref().map(|name| PlaceAt::Argument(name.clone())),
        ];
        JobFetch { operations: words(operations, overlay), at: at.into_iter().flatten().collect() }
    };
    Job {
        name: word(&written.job, overlay),
        why: written.why.clone(),
        started: written.started.iter().map(start).collect(),
        fetched: written.fetched.iter().map(fetch).collect(),
    }
}

fn evaluator(written: &EvaluatorFile, overlay: bool) -> Evaluator {
    Evaluator {
        query: word(&written.query, overlay),
        why: written.why.clone(),
        below: written.below.clone(),
        plain: written.plain.clone(),
    }
}

fn name_list(written: &NameListFile, overlay: bool) -> NameListWords {
    NameListWords {
        kind: word(&written.names, overlay),
        why: written.why.clone(),
        request: word(&written.request, overlay),
        ok: written.ok.clone(),
        items: written.items.clone(),
        named: written.named.clone(),
        pages: written.pages.clone(),
    }
}

fn errors(written: &file::ErrorsFile) -> Errors {
    let file::ErrorsFile { at, none, hidden, too_many, dead } = written.clone();
    Errors { at, none, hidden, too_many, dead }
}

fn identity(written: &file::IdentityFile) -> Identity {
    let file::IdentityFile { written, at } = written.clone();
    Identity { written, at }
}

fn one_changed(written: &file::OneChangedFile, overlay: bool) -> OneChanged {
    let at = match (&written.path, &written.argument) {
        (Some(name), None) => Some(PlaceAt::Path(word(name, overlay))),
        (None, Some(name)) => Some(PlaceAt::Argument(name.value.clone())),
        (None, None) | (Some(_), Some(_)) => None,
    };
    OneChanged { operations: words(&written.operations, overlay), at }
}

fn kind(written: &KindFile, overlay: bool) -> Kind {
    Kind {
        name: word(&written.name, overlay),
        vocabularies: words(&written.vocabularies, overlay),
        actor: written.actor,
    }
}

fn scope(written: &ScopeFile, overlay: bool) -> Scope {
    Scope {
        name: word(&written.name, overlay),
        vocabularies: words(&written.vocabularies, overlay),
        implies: words(&written.implies, overlay),
        same_as: words(&written.same_as, overlay),
        rules: written.rules,
    }
}

fn needs(written: &NeedsFile, overlay: bool) -> Needs {
    match written {
        NeedsFile::Unknown => Needs::Unknown,
        NeedsFile::None { why } => Needs::None { why: why.clone() },
        NeedsFile::Lines(vocabularies) => Needs::Lines(
            vocabularies
                .iter()
                .map(|(vocabulary, lines)| VocabularyLines {
                    vocabulary: word(vocabulary, overlay),
                    lines: lines.iter().map(|written| line(written, overlay)).collect(),
                })
                .collect(),
        ),
    }
}

fn line(written: &LineFile, overlay: bool) -> Line {
    Line { scopes: words(&written.scopes, overlay), when: words(&written.when, overlay) }
}

fn links(written: &LinksFile, overlay: bool) -> Links {
    let entries = |all: &[LinkFile]| all.iter().map(|written| link(written, overlay)).collect();
    Links { rewritten: entries(&written.rewritten), stays: entries(&written.stays) }
}

fn link(written: &LinkFile, overlay: bool) -> LinkEntry {
    LinkEntry {
        members: words(&written.members, overlay),
        operations: words(&written.operations, overlay),
        why: written.why.value.clone(),
        spot: spot(&written.why, overlay),
    }
}

fn redirects(written: &[RedirectFile], overlay: bool) -> Vec<RedirectHost> {
    written.iter().map(|one| RedirectHost { host: word(&one.host, overlay), why: one.why.clone() }).collect()
}

fn replace<T>(all: &mut Vec<T>, one: T, name: impl Fn(&T) -> &String) {
    match all.iter_mut().find(|other| name(other) == name(&one)) {
        Some(other) => *other = one,
        None => all.push(one),
    }
}

fn add_scope(scopes: &mut Vec<Scope>, more: Scope) {
    match scopes.iter_mut().find(|scope| scope.name.text == more.name.text) {
        Some(scope) => {
            scope.vocabularies.extend(more.vocabularies);
            scope.implies.extend(more.implies);
            scope.same_as.extend(more.same_as);
            if more.rules.is_some() {
                scope.rules = more.rules;
                scope.name.spot = more.name.spot;
            }
        }
        None => scopes.push(more),
    }
}
