//! Numbers one operation: its lines, guards, places, and what of the request must be at hand to judge it.

use http::{HeaderName, Method};

use super::extras;
use super::jobs;
use super::limits;
use super::links::Compiled;
use super::lookups;
use super::names::Names;
use super::scopes;
use crate::authz::catalog::compact::{self, Compact, Spot, Word};
use crate::authz::catalog::items::{Items, prefixed};
use crate::authz::catalog::limits::LimitPlace;
use crate::authz::catalog::lookups::{Change, LookupId};
use crate::authz::catalog::matcher::{Builder, Request, RequestError, TENANT};
use crate::authz::catalog::{
    Absent, Line, Needs, Operation, OperationId, Place, PlaceAt, Reading, Remover, TenantArgument, Touches, Undo,
    VariantMask, VariantSource, VocabularyLines,
};
use crate::authz::scope::{ScopeId, ScopeSet};

/// The method that a subtree's operation shows; `Operation::method` has no word for all of them.
const ANY: &[u8] = b"ANY";

pub fn compile(
    compact: &Compact,
    links: &Compiled,
    limits: &limits::Compiled,
    names: &mut Names<'_>,
    builder: &mut Builder,
) -> Box<[Operation]> {
    let mut operations: Vec<Operation> = Vec::with_capacity(compact.operations.len());
    for (index, written) in compact.operations.iter().enumerate() {
        let Some(id) = u16::try_from(index).ok().map(OperationId) else { break };
        let request = match Request::parse(&written.request.text) {
            Ok(request) => request,
            Err(error) => {
                names.problem(written.request.spot, error.to_string());
                continue;
            }
        };
        tenant(written, &request, compact, names);
        if let Err(other) = builder.add(&request, id) {
            let other = compact.operations.get(usize::from(other.0)).map_or("?", |other| &other.id.text);
            names.problem(written.request.spot, RequestError::Taken(other.to_owned()).to_string());
        }
        let operation = operation(written, &request, limits.of(id), compact, names);
        operations.push(Operation { links: links.of(id), ..operation });
    }
    operations.into()
}

/// A parameter that names the tenant has its segment alone, and is the only one to do so.
fn tenant(written: &compact::Operation, request: &Request, compact: &Compact, names: &mut Names<'_>) {
    let count = request.parameters.iter().filter(|name| &***name == TENANT).count();
    let alone = request.template.split('/').filter(|segment| *segment == "{tenant}").count();
    if count > 1 || count != alone {
        names.problem(
            written.request.spot,
            "`{tenant}` names the tenant of the request: it has its segment alone, and once",
        );
    }
    if count > 0 && !compact.tenant_bases.is_empty() {
        let message = "`{tenant}` names the tenant of the request, and the catalog's `tenant_bases` do already";
        names.problem(written.request.spot, message);
    }
}

fn operation(
    written: &compact::Operation,
    request: &Request,
    limits: Box<[LimitPlace]>,
    compact: &Compact,
    names: &mut Names<'_>,
) -> Operation {
    let needs = needs(written, names);
    let extras = extras::compile(written, &needs, request, names);
    let guards = guards(written, names);
    let touches = touches(written, request, compact, names);
    let variant_sources: Box<[_]> =
        written.variant_sources.iter().filter_map(|source| variant_source(source, request, names)).collect();
    let tenant_arguments: Box<[_]> =
        written.tenant_arguments.iter().filter_map(|word| tenant_argument(word, request, compact, names)).collect();
    let remover = written.remover.as_ref().map(|remover| Remover {
        at: remover.at.as_ref().and_then(|place| at(place, request, names)),
        absent_all: remover.absent_all,
    });
    if let Some(Remover { at: Some(PlaceAt::Rest), .. }) = &remover {
        names.problem(written.id.spot, "what is removed has a name without slashes");
    }
    if let Some(Remover { at: Some(PlaceAt::InItems { pointer, .. }), .. }) = &remover {
        names
            .problem(written.id.spot, format!("`{pointer}`: what is removed is not looked for in the items of a list"));
    }
    let (starts, fetches) = (jobs::start(&written.id, compact), jobs::fetch(&written.id, compact, request, names));
    let names_in_body = fetches.as_ref().is_some_and(|fetch| in_body(&fetch.at))
        || remover.as_ref().is_some_and(|remover| remover.at.as_ref().is_some_and(in_body));
    let body = names_in_body
        || reads_body(&touches)
        || tenant_arguments.iter().any(|it| in_body(&it.at))
        || variant_sources.iter().any(|it| in_body(&it.at))
        || extras.sources.iter().any(|it| in_body(&it.at))
        || !limits.is_empty();
    let method = request.method.clone().or_else(|| Method::from_bytes(ANY).ok()).unwrap_or_default();
    Operation {
        id: written.id.text.as_str().into(),
        reads_json: written.json.unwrap_or(method != Method::GET),
        reads_multipart: written.multipart,
        method,
        template: request.template.clone(),
        all_scopes: all_scopes(&needs, &guards, names),
        extra_scopes: extras.scopes(),
        extras: extras.extras,
        extra_sources: extras.sources,
        limits,
        variants: variants(&needs),
        needs,
        guards,
        items: items(&touches),
        touches,
        subject: written.subject,
        tenant_arguments,
        variant_sources,
        body,
        websocket: written.websocket,
        links: None,
        undo: undo(written, compact, names).map(Box::new),
        remover: remover.map(Box::new),
        changes: changes(written, request, compact, names),
        starts: starts.map(Box::new),
        fetches: fetches.map(Box::new),
    }
}

/// The look-ups whose answers an operation may change, and of which thing.
fn changes(written: &compact::Operation, request: &Request, compact: &Compact, names: &mut Names<'_>) -> Box<[Change]> {
    let is_it = |operations: &[Word]| operations.iter().any(|one| one.text == written.id.text);
    let mut changes = Vec::new();
    for (lookup, id) in compact.lookups.iter().zip(0..).map(|(lookup, id)| (lookup, LookupId(id))) {
        if is_it(&lookup.changed_by) {
            changes.push(Change { lookup: id, named_at: None });
        } else if let Some(one) = lookup.one_changed_by.iter().find(|one| is_it(&one.operations)) {
            let named_at = one.at.as_ref().and_then(|place| at(place, request, names));
            changes.push(Change { lookup: id, named_at });
        }
    }
    changes.into()
}

fn undo(written: &compact::Operation, compact: &Compact, names: &mut Names<'_>) -> Option<Undo> {
    let undo = written.undo.as_ref()?;
    let by = undo.by.as_ref().and_then(|by| {
        let index = compact.operations.iter().position(|operation| operation.id.text == by.text);
        if index.is_none() {
            names.problem(by.spot, format!("no operation is called `{}`", by.text));
        }
        index.and_then(|index| u16::try_from(index).ok()).map(OperationId)
    });
    for pointer in undo.answer.iter().filter(|pointer| !pointer.starts_with('/')) {
        names.problem(written.id.spot, format!("`{pointer}` is not a JSON pointer: it starts with `/`"));
    }
    Some(Undo {
        by,
        why: undo.why.as_str().into(),
        answer: undo.answer.iter().map(|pointer| pointer.as_str().into()).collect(),
        argument: undo.argument.as_deref().map(Into::into),
    })
}

fn needs(written: &compact::Operation, names: &mut Names<'_>) -> Needs {
    let spot = written.id.spot;
    match &written.needs {
        compact::Needs::Unknown => Needs::Unknown,
        compact::Needs::None { why } => {
            reason(why, spot, "`needs: none`", names);
            Needs::None { why: why.as_str().into() }
        }
        compact::Needs::Lines(vocabularies) => {
            if vocabularies.is_empty() {
                names.problem(spot, format!("`{}` has no lines: write `needs: unknown`", written.id.text));
            }
            Needs::Lines(vocabularies.iter().filter_map(|lines| vocabulary_lines(lines, names)).collect())
        }
    }
}

fn vocabulary_lines(written: &compact::VocabularyLines, names: &mut Names<'_>) -> Option<VocabularyLines> {
    let vocabulary = names.vocabulary(&written.vocabulary)?;
    let spot = written.vocabulary.spot;
    if written.lines.is_empty() {
        names.problem(spot, format!("vocabulary `{}` has no line: leave it out", written.vocabulary.text));
    }
    let mut lines = Vec::new();
    for line in &written.lines {
        if line.scopes.is_empty() {
            names.problem(spot, "an empty line would need nothing: write the scopes, or `needs: unknown`");
        }
        let scopes: Box<[ScopeId]> = line.scopes.iter().filter_map(|scope| names.scope(scope)).collect();
        lines.push(Line { scopes, when: names.variants(&line.when) });
    }
    Some(VocabularyLines { vocabulary, lines: lines.into() })
}

fn guards(written: &compact::Operation, names: &mut Names<'_>) -> Box<[ScopeId]> {
    let mut guards = Vec::new();
    for word in &written.guards {
        let known = scopes::GUARDS.contains(&word.text.as_str()) && word.text != scopes::CALL;
        match names.guard(&word.text).filter(|_| known) {
            Some(guard) if !guards.contains(&guard) => guards.push(guard),
            Some(_) => {}
            None => names.problem(word.spot, format!("`{}` is not a guard of scopegate's", word.text)),
        }
    }
    guards.into()
}

fn all_scopes(needs: &Needs, guards: &[ScopeId], names: &Names<'_>) -> ScopeSet {
    let mut all: ScopeSet = guards.iter().copied().collect();
    match needs {
        Needs::Unknown => {}
        Needs::None { .. } => names.guard(scopes::CALL).into_iter().for_each(|call| all.insert(call)),
        Needs::Lines(vocabularies) => {
            let lines = vocabularies.iter().flat_map(|vocabulary| &vocabulary.lines);
            lines.flat_map(|line| &line.scopes).for_each(|scope| all.insert(*scope));
        }
    }
    all
}

fn variants(needs: &Needs) -> VariantMask {
    let Needs::Lines(vocabularies) = needs else { return VariantMask::ALL };
    let lines = vocabularies.iter().flat_map(|vocabulary| &vocabulary.lines);
    VariantMask(lines.fold(0, |mask, line| mask | line.when.0))
}

fn touches(written: &compact::Operation, request: &Request, compact: &Compact, names: &mut Names<'_>) -> Touches {
    let spot = written.id.spot;
    match &written.touches {
        compact::Touches::Nothing { why } => {
            reason(why, spot, "`nothing`", names);
            Touches::Nothing { why: why.as_str().into() }
        }
        compact::Touches::Tenant { why } => {
            reason(why, spot, "`tenant`", names);
            Touches::Tenant { why: why.as_str().into() }
        }
        compact::Touches::Places(places) => {
            if places.is_empty() {
                names.problem(spot, format!("`{}` has an empty list of places: write `tenant`", written.id.text));
            }
            Touches::Containers(places.iter().filter_map(|one| place(one, request, compact, names)).collect())
        }
    }
}

fn reason(why: &str, spot: Spot, what: &str, names: &mut Names<'_>) {
    if why.trim().is_empty() {
        names.problem(spot, format!("{what} needs a reason"));
    }
}

fn place(written: &compact::Place, request: &Request, compact: &Compact, names: &mut Names<'_>) -> Option<Place> {
    let kind = names.container(&written.kind)?;
    let at = at(&written.at, request, names)?;
    let is_of_several = matches!(written.reading, Reading::MoveTarget | Reading::Jql | Reading::Cql);
    if is_of_several && matches!(at, PlaceAt::Path(_) | PlaceAt::Rest | PlaceAt::Header(_)) {
        names.problem(written.kind.spot, "what may name several containers is read in queries and bodies alone");
    }
    let by_prefix = matches!(&at, PlaceAt::InItems { pointer, keys: false } if prefixed(pointer).is_some());
    let is_mention = written.reading == Reading::IssueMention;
    if by_prefix != is_mention || is_mention && (written.absent != Absent::Skip || written.present_is_tenant) {
        let message = "members that begin with a name (`custom_*`) are read `as: issue_mention` with `absent: skip`, and nothing else is";
        names.problem(written.kind.spot, message);
    }
    if (at == PlaceAt::Rest) != (written.reading == Reading::Revisions) {
        names.problem(written.kind.spot, "what a `{+name}` stands for is read `as: revisions`, and nothing else is");
    }
    let lookup = written.lookup.as_ref().and_then(|name| lookups::of_kind(name, &written.kind, compact, names));
    if lookup.is_some() && !matches!(written.reading, Reading::Container | Reading::IssueKey | Reading::IssueMention) {
        names.problem(
            written.kind.spot,
            "a look-up is for what is read `as: container`, `as: issue_key` or `as: issue_mention`",
        );
    }
    Some(Place {
        kind,
        at,
        reading: written.reading,
        lookup,
        absent: written.absent,
        present_is_tenant: written.present_is_tenant,
        list: written.list,
        group: written.group,
    })
}

pub(super) fn at(written: &compact::PlaceAt, request: &Request, names: &mut Names<'_>) -> Option<PlaceAt> {
    match written {
        compact::PlaceAt::Path(name) => {
            if names_rest(request, &format!("{{+{}}}", name.text)) {
                return Some(PlaceAt::Rest);
            }
            let index = request.parameters.iter().position(|parameter| **parameter == *name.text);
            if index.is_none() {
                let message = format!("`{}` has no parameter `{}`", request.template, name.text);
                names.problem(name.spot, message);
            }
            index.and_then(|index| u8::try_from(index).ok()).map(PlaceAt::Path)
        }
        compact::PlaceAt::Query(name) => Some(PlaceAt::Query(name.as_str().into())),
        compact::PlaceAt::Argument(name) => Some(PlaceAt::Argument(name.as_str().into())),
        compact::PlaceAt::Header(name) => header(name, names),
        compact::PlaceAt::Body(pointer) => Some(in_json(pointer, false, names)),
        compact::PlaceAt::Keys(pointer) => Some(in_json(pointer, true, names)),
        compact::PlaceAt::Multipart(name) => Some(PlaceAt::Multipart(name.as_str().into())),
    }
}

fn in_json(pointer: &Word, keys: bool, names: &mut Names<'_>) -> PlaceAt {
    let text = pointer.text.as_str();
    if !text.starts_with('/') {
        names.problem(pointer.spot, format!("`{text}` is not a JSON pointer: it starts with `/`"));
    }
    let before = prefixed(text).filter(|(_, prefix)| !prefix.contains('*'));
    let whole = before.map_or(text, |(above, _)| above);
    if whole.split('/').any(|token| token.contains('*') && token != "*") {
        names.problem(pointer.spot, format!("in `{text}` a `*` does not stand alone between two `/`"));
    }
    let pointer = Box::from(text);
    match (before.is_some() || text.split('/').any(|token| token == "*"), keys) {
        (true, keys) => PlaceAt::InItems { pointer, keys },
        (false, true) => PlaceAt::Keys(pointer),
        (false, false) => PlaceAt::Body(pointer),
    }
}

fn items(touches: &Touches) -> Box<[Items]> {
    match touches {
        Touches::Containers(places) => Items::of(places),
        Touches::Nothing { .. } | Touches::Tenant { .. } => Box::default(),
    }
}

fn header(name: &Word, names: &mut Names<'_>) -> Option<PlaceAt> {
    let header = name.text.to_ascii_lowercase().parse::<HeaderName>().ok();
    if header.is_none() {
        names.problem(name.spot, format!("`{}` is not a header name", name.text));
    }
    header.map(PlaceAt::Header)
}

fn variant_source(written: &compact::VariantSource, request: &Request, names: &mut Names<'_>) -> Option<VariantSource> {
    let values = written.values.iter();
    Some(VariantSource {
        at: at(&written.at, request, names)?,
        values: values.map(|(value, means)| (value.as_str().into(), names.variants(means))).collect(),
        list: written.list,
        absent: names.variants(&written.absent),
    })
}

fn tenant_argument(word: &Word, request: &Request, compact: &Compact, names: &mut Names<'_>) -> Option<TenantArgument> {
    if word.text.starts_with('{') && !names_rest(request, &word.text) {
        names.problem(word.spot, format!("`{}` has no `{}`", request.template, word.text));
    }
    let known = compact.tenant_arguments.iter().find(|known| known.argument == word.text);
    if known.is_none() {
        names.problem(word.spot, format!("`{}` is not among the product's `tenant_arguments`", word.text));
    }
    known.map(super::tenant_argument)
}

/// Whether `{+name}` stands in the template.
fn names_rest(request: &Request, written: &str) -> bool {
    written.starts_with("{+") && request.template.split('/').any(|segment| segment.starts_with(written))
}

fn reads_body(touches: &Touches) -> bool {
    match touches {
        Touches::Containers(places) => places.iter().any(|place| in_body(&place.at)),
        Touches::Nothing { .. } | Touches::Tenant { .. } => false,
    }
}

fn in_body(at: &PlaceAt) -> bool {
    match at {
        PlaceAt::Body(_)
        | PlaceAt::Keys(_)
        | PlaceAt::InItems { .. }
        | PlaceAt::Multipart(_)
        | PlaceAt::Argument(_) => true,
        PlaceAt::Path(_) | PlaceAt::Rest | PlaceAt::Query(_) | PlaceAt::Header(_) => false,
    }
}
