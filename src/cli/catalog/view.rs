//! A catalog for people and for programs, in the words of its file.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::asked;
use crate::authz::catalog::jobs::{JobId, NamedAt};
use crate::authz::catalog::{
    Absent, Catalog, Line, Needs, Operation, Place, PlaceAt, Reading, Touches, VariantMask, VocabularyLines,
};

/// Width at which a table cuts what an operation needs.
const NEEDS_WIDTH: usize = 60;

pub fn summary(catalog: &Catalog) -> Value {
    json!({
        "product": &*catalog.product,
        "release": catalog.release,
        "operations": catalog.operations.len(),
        "scopes": catalog.scopes.len(),
        "digest": catalog.digest,
    })
}

pub fn summary_line(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let name = format!("{}@{}", catalog.product, catalog.release);
    let (operations, scopes) = (catalog.operations.len(), catalog.scopes.len());
    writeln!(out, "{name:<20} {operations:>5} operations {scopes:>5} scopes  sha256:{}", catalog.digest)
}

/// `{product, operations: [{id, request, needs, touches}]}`, and what holds for all of them.
pub fn json(catalog: &Catalog) -> Value {
    let jobs = catalog.jobs.iter().map(|job| json!({ "job": &*job.name, "why": &*job.why }));
    let evaluators = catalog.evaluators.iter().map(|one| {
        let plain: Vec<&str> = one.plain.iter().map(|value| &**value).collect();
        json!({ "query": &*one.query, "below": one.below.as_deref(), "plain": plain, "why": &*one.why })
    });
    let names = catalog.names.iter().map(|list| {
        let kind = catalog.containers.get(usize::from(list.kind.0)).map_or("?", |kind| &kind.name);
        json!({ "names": kind, "asks": format!("GET {}", list.target("{tenant}", None).replace("%7Btenant%7D", "{tenant}")), "why": &*list.why })
    });
    let operations: Vec<Value> =
        catalog.operations.iter().map(|operation| operation_json(catalog, operation)).collect();
    json!({
        "product": &*catalog.product,
        "release": catalog.release,
        "digest": catalog.digest,
        "jobs": jobs.collect::<Vec<_>>(),
        "evaluators": evaluators.collect::<Vec<_>>(),
        "names": names.collect::<Vec<_>>(),
        "operations": operations,
    })
}

/// One line per operation, under a line of headings.
pub fn table(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let widest = |of: fn(&Operation) -> usize| catalog.operations.iter().map(of).max().unwrap_or(0);
    let (id, request) = (widest(|operation| operation.id.len()), widest(|operation| request(operation).len()));
    writeln!(out, "{:<id$}  {:<request$}  {:<NEEDS_WIDTH$}  TOUCHES", "OPERATION", "REQUEST", "NEEDS")?;
    for operation in &catalog.operations {
        let needs = cut(&needs_text(catalog, operation));
        let touches = touches_text(catalog, operation);
        let asked = self::request(operation);
        writeln!(out, "{:<id$}  {asked:<request$}  {needs:<NEEDS_WIDTH$}  {touches}", operation.id)?;
    }
    asked::below_table(catalog, out)
}

fn operation_json(catalog: &Catalog, operation: &Operation) -> Value {
    let guards: Vec<&str> = operation.guards.iter().map(|guard| catalog.scope_name(*guard)).collect();
    json!({
        "id": &*operation.id,
        "request": request(operation),
        "needs": needs_json(catalog, operation),
        "guards": guards,
        "extra_needs": asked::json(catalog, operation),
        "limits": asked::limits_json(catalog, operation),
        "touches": touches_json(catalog, operation),
        "starts": operation.starts.as_ref().map(|start| job(catalog, start.job)),
        "asks_about": fetch_json(catalog, operation),
    })
}

fn job(catalog: &Catalog, id: JobId) -> &str {
    catalog.jobs.get(usize::from(id.0)).map_or("?", |job| &job.name)
}

fn fetch_json(catalog: &Catalog, operation: &Operation) -> Option<Value> {
    let fetch = operation.fetches.as_ref()?;
    let (at, name) = place_name(operation, &fetch.at);
    Some(json!({ "job": job(catalog, fetch.job), at: name }))
}

/// What it has to do with jobs, for who compares two catalogs: what it starts, and what it asks about.
pub fn jobs_text(catalog: &Catalog, operation: &Operation) -> [Option<String>; 2] {
    let starts = operation.starts.as_ref().map(|start| {
        let at = match &start.at {
            NamedAt::Answer(names) => format!("/{}", names.join("/")),
            NamedAt::Link(names) => format!("a link at /{}", names.join("/")),
            NamedAt::Location => "Location".to_owned(),
        };
        format!("{} named by {at}", job(catalog, start.job))
    });
    let fetches = operation.fetches.as_ref().map(|fetch| {
        let (at, name) = place_name(operation, &fetch.at);
        format!("{} in {at} {name}", job(catalog, fetch.job))
    });
    [starts, fetches]
}

fn request(operation: &Operation) -> String {
    format!("{} {}", operation.method, operation.template)
}

fn needs_json(catalog: &Catalog, operation: &Operation) -> Value {
    match &operation.needs {
        Needs::Unknown => json!("unknown"),
        Needs::None { why } => json!({ "none": &**why }),
        Needs::Lines(vocabularies) => {
            let by_name = vocabularies.iter().map(|lines| {
                let all: Vec<Value> = lines.lines.iter().map(|line| line_json(catalog, line)).collect();
                (vocabulary(catalog, lines).to_owned(), Value::from(all))
            });
            Value::Object(by_name.collect::<Map<_, _>>())
        }
    }
}

fn line_json(catalog: &Catalog, line: &Line) -> Value {
    let scopes: Vec<&str> = line.scopes.iter().map(|scope| catalog.scope_name(*scope)).collect();
    if line.when == VariantMask::ALL {
        json!(scopes)
    } else {
        json!({ "when": variants(catalog, line), "scopes": scopes })
    }
}

pub fn variants<'c>(catalog: &'c Catalog, line: &Line) -> Vec<&'c str> {
    let bits = catalog.variants.iter().zip(VariantMask::ALL.each());
    bits.filter(|(_, bit)| line.when.intersects(*bit)).map(|(name, _)| &**name).collect()
}

pub fn vocabulary<'c>(catalog: &'c Catalog, lines: &VocabularyLines) -> &'c str {
    catalog.vocabularies.get(usize::from(lines.vocabulary.0)).map_or("?", |name| name)
}

pub fn touches_json(catalog: &Catalog, operation: &Operation) -> Value {
    match &operation.touches {
        Touches::Nothing { why } => json!({ "nothing": &**why }),
        Touches::Tenant { why } => json!({ "tenant": &**why }),
        Touches::Containers(places) => {
            json!({ "places": places.iter().map(|place| place_json(catalog, operation, place)).collect::<Vec<_>>() })
        }
    }
}

fn place_json(catalog: &Catalog, operation: &Operation, place: &Place) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    let (at, name) = place_name(operation, &place.at);
    put("kind", json!(kind(catalog, place)));
    put(at, json!(name));
    put("as", json!(reading(place.reading)));
    if let Some(lookup) = lookup(catalog, place) {
        put("lookup", json!(lookup));
    }
    put("absent", json!(absent(place.absent)));
    if place.present_is_tenant {
        put("present", json!("tenant"));
    }
    if place.list {
        put("list", json!(true));
    }
    if let Some(group) = place.group {
        put("group", json!(group));
    }
    Value::Object(object)
}

fn kind<'c>(catalog: &'c Catalog, place: &Place) -> &'c str {
    catalog.containers.get(usize::from(place.kind.0)).map_or("?", |kind| &kind.name)
}

fn lookup<'c>(catalog: &'c Catalog, place: &Place) -> Option<&'c str> {
    place.lookup.and_then(|id| catalog.lookups.get(usize::from(id.0))).map(|lookup| &*lookup.name)
}

fn reading(reading: Reading) -> &'static str {
    match reading {
        Reading::Container => "container",
        Reading::Key => "key",
        Reading::IssueKey => "issue_key",
        Reading::IssueMention => "issue_mention",
        Reading::Conversation => "conversation",
        Reading::MoveTarget => "move_target",
        Reading::Jql => "jql",
        Reading::Cql => "cql",
        Reading::FullName => "full_name",
        Reading::Revisions => "revisions",
    }
}

fn absent(absent: Absent) -> &'static str {
    match absent {
        Absent::Deny => "deny",
        Absent::Tenant => "tenant",
        Absent::Skip => "skip",
    }
}

fn place_name(operation: &Operation, at: &PlaceAt) -> (&'static str, String) {
    match at {
        PlaceAt::Path(index) => ("path", parameter(operation, *index)),
        PlaceAt::Rest => ("path", rest(operation)),
        PlaceAt::Query(name) => ("query", name.to_string()),
        PlaceAt::Header(name) => ("header", name.to_string()),
        PlaceAt::Body(pointer) | PlaceAt::InItems { pointer, keys: false } => ("body", pointer.to_string()),
        PlaceAt::Keys(pointer) | PlaceAt::InItems { pointer, keys: true } => ("keys", pointer.to_string()),
        PlaceAt::Multipart(name) => ("multipart", name.to_string()),
        PlaceAt::Argument(name) => ("argument", name.to_string()),
    }
}

/// The name of the n-th parameter of a template.
fn parameter(operation: &Operation, index: u8) -> String {
    let names = operation.template.split('{').skip(1).filter_map(|piece| piece.split_once('}'));
    let numbered = names.map(|(name, _)| name).filter(|name| !name.starts_with('+'));
    numbered.into_iter().nth(usize::from(index)).unwrap_or("?").to_owned()
}

/// The name of what stands for several segments.
fn rest(operation: &Operation) -> String {
    let mut names = operation.template.split("{+").skip(1).filter_map(|piece| piece.split_once('}'));
    names.next().map_or("?", |(name, _)| name).to_owned()
}

pub fn needs_text(catalog: &Catalog, operation: &Operation) -> String {
    let guards = operation.guards.iter().map(|guard| format!(" + {}", catalog.scope_name(*guard))).collect::<String>();
    let needs = match &operation.needs {
        Needs::Unknown => "unknown (refused)".to_owned(),
        Needs::None { .. } => "none (gate:call)".to_owned(),
        Needs::Lines(vocabularies) => {
            let first = vocabularies.iter().map(|lines| {
                let lines: Vec<String> = lines.lines.iter().map(|line| line_text(catalog, line)).collect();
                lines.join(" or ")
            });
            first.collect::<Vec<_>>().join(" | ")
        }
    };
    needs + &guards
}

fn line_text(catalog: &Catalog, line: &Line) -> String {
    let scopes = line.scopes.iter().map(|scope| catalog.scope_name(*scope)).collect::<Vec<_>>().join(" and ");
    match line.when == VariantMask::ALL {
        true => scopes,
        false => format!("{scopes} ({})", variants(catalog, line).join(", ")),
    }
}

fn touches_text(catalog: &Catalog, operation: &Operation) -> String {
    let [_, asks_about] = jobs_text(catalog, operation);
    match (asks_about, &operation.touches) {
        (None, _) => places_text(catalog, operation),
        (Some(job), Touches::Containers(_)) => format!("{}, job {job}", places_text(catalog, operation)),
        (Some(job), Touches::Nothing { .. } | Touches::Tenant { .. }) => format!("job {job}"),
    }
}

fn places_text(catalog: &Catalog, operation: &Operation) -> String {
    match &operation.touches {
        Touches::Nothing { .. } => "nothing".to_owned(),
        Touches::Tenant { .. } => "tenant".to_owned(),
        Touches::Containers(places) => {
            let named = places.iter().map(|place| {
                let (at, name) = place_name(operation, &place.at);
                let of = lookup(catalog, place).map_or(String::new(), |thing| format!(" of {thing}"));
                format!("{}{of} in {at} {name}", kind(catalog, place))
            });
            named.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Scopes are ASCII; a cut inside a character leaves the text whole.
fn cut(text: &str) -> String {
    match text.get(..NEEDS_WIDTH - 1) {
        Some(start) if text.len() > NEEDS_WIDTH => format!("{start}…"),
        Some(_) | None => text.to_owned(),
    }
}
