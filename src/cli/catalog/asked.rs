//! What arguments ask for on top of a line, and what of them a grant may limit: in words, and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::links::folded;
use crate::authz::catalog::extras::{Extra, ExtraMask, ExtraSource};
use crate::authz::catalog::limits::{LimitId, LimitPlace};
use crate::authz::catalog::{Catalog, LimitReading, Operation, PlaceAt};

/// `query expand: any value: read:confluence-content.all (classic)`, one for each place that tells it.
pub fn texts(catalog: &Catalog, operation: &Operation) -> Vec<String> {
    let all = operation.extra_sources.iter();
    all.map(|source| format!("{}: {}", title(source), parts(catalog, operation, source).join("; "))).collect()
}

fn title(source: &ExtraSource) -> String {
    let (at, name) = place(&source.at);
    format!("{at} {name}")
}

/// What each value asks for, any other, and none.
fn parts(catalog: &Catalog, operation: &Operation, source: &ExtraSource) -> Vec<String> {
    let words = |mask| mask_text(catalog, operation, mask);
    let listed = by_need(source).into_iter().map(|(mask, values)| format!("{}: {}", values.join(", "), words(mask)));
    let any = if source.values.is_empty() { "any value" } else { "any other" };
    let other = [format!("{any}: {}", words(source.other))];
    let absent = (!source.absent.is_none()).then(|| format!("absent: {}", words(source.absent)));
    listed.chain(other).chain(absent).collect()
}

/// Values that ask for the same, together, in the order of the catalog.
fn by_need(source: &ExtraSource) -> Vec<(ExtraMask, Vec<&str>)> {
    let mut all: Vec<(ExtraMask, Vec<&str>)> = Vec::new();
    for (value, mask) in &source.values {
        match all.iter_mut().find(|(known, _)| known == mask) {
            Some((_, values)) => values.push(value),
            None => all.push((*mask, vec![value])),
        }
    }
    all
}

/// `query expand`, `body /events`
pub fn place(at: &PlaceAt) -> (&'static str, &str) {
    match at {
        PlaceAt::Query(name) => ("query", name),
        PlaceAt::Argument(name) => ("argument", name),
        PlaceAt::Body(pointer) | PlaceAt::InItems { pointer, .. } => ("body", pointer),
        PlaceAt::Keys(pointer) => ("keys", pointer),
        PlaceAt::Multipart(name) => ("multipart", name),
        PlaceAt::Header(name) => ("header", name.as_str()),
        PlaceAt::Path(_) | PlaceAt::Rest => ("path", "?"),
    }
}

/// What extras ask for: `read:confluence-content.all (classic)`.
pub fn mask_text(catalog: &Catalog, operation: &Operation, mask: ExtraMask) -> String {
    if mask.is_unknown() {
        return "unknown (refused)".to_owned();
    }
    let by_vocabulary = scopes(catalog, operation, mask);
    let words = by_vocabulary.iter().filter(|(_, scopes)| !scopes.is_empty());
    let words: Vec<String> = words.map(|(name, scopes)| format!("{} ({name})", scopes.join(" and "))).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// By vocabulary, each scope once.
fn scopes<'c>(catalog: &'c Catalog, operation: &Operation, mask: ExtraMask) -> Vec<(&'c str, Vec<&'c str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    let needed = operation.extras.iter().enumerate().filter(|(index, _)| mask.has(ExtraMask::of(*index)));
    for (vocabulary, own) in needed.flat_map(|(_, Extra { by_vocabulary })| by_vocabulary) {
        let name = catalog.vocabularies.get(usize::from(vocabulary.0)).map_or("?", |name| name);
        let index = all.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            all.push((name, Vec::new()));
            all.len() - 1
        });
        let Some((_, known)) = all.get_mut(index) else { continue };
        for scope in own.iter().map(|scope| catalog.scope_name(*scope)) {
            if !known.contains(&scope) {
                known.push(scope);
            }
        }
    }
    all
}

/// The places that ask for more, for programs.
pub fn json(catalog: &Catalog, operation: &Operation) -> Value {
    let one = |source: &ExtraSource| {
        let needs = |mask| mask_json(catalog, operation, mask);
        let mut object = Map::new();
        let (at, name) = place(&source.at);
        object.insert(at.to_owned(), json!(name));
        if source.list {
            object.insert("list".to_owned(), json!(true));
        }
        let values = by_need(source).into_iter().map(|(mask, values)| json!({"values": values, "needs": needs(mask)}));
        object.insert("values".to_owned(), values.collect());
        object.insert("absent".to_owned(), needs(source.absent));
        object.insert("other".to_owned(), needs(source.other));
        Value::Object(object)
    };
    operation.extra_sources.iter().map(one).collect()
}

fn mask_json(catalog: &Catalog, operation: &Operation, mask: ExtraMask) -> Value {
    if mask.is_unknown() {
        return json!("unknown");
    }
    if mask == ExtraMask::NONE {
        return json!("nothing");
    }
    let one = |(name, scopes): (&str, Vec<&str>)| {
        let scopes = if scopes.is_empty() { json!("nothing") } else { json!(scopes) };
        (name.to_owned(), scopes)
    };
    Value::Object(scopes(catalog, operation, mask).into_iter().map(one).collect())
}

/// What a grant may limit in an operation, for programs: by the limit's name where it stands.
pub fn limits_json(catalog: &Catalog, operation: &Operation) -> Value {
    let one = |place: &LimitPlace| json!({"limit": catalog.limit_name(place.limit), "body": &*place.pointer});
    operation.limits.iter().map(one).collect()
}

/// Below the table: what hangs on arguments. Operations of which the same is said stand together.
pub fn below_table(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let mut all: BTreeMap<(String, Vec<String>), Vec<&str>> = BTreeMap::new();
    for operation in &catalog.operations {
        for source in &operation.extra_sources {
            let key = (title(source), parts(catalog, operation, source));
            all.entry(key).or_default().push(&operation.id);
        }
    }
    if !all.is_empty() {
        writeln!(out, "\nNeeds more, by what a request asks for:")?;
    }
    for ((title, parts), operations) in all {
        writeln!(out, "  {title}")?;
        parts.iter().try_for_each(|part| folded(part, out))?;
        folded(&format!("in requests of {}", operations.join(", ")), out)?;
    }
    if !catalog.limits.is_empty() {
        writeln!(out, "\nMay be limited by `where` in a grant:")?;
    }
    for (id, limit) in (0..=u8::MAX).map(LimitId).zip(&catalog.limits) {
        writeln!(out, "  {} ({})", limit.name, reading(limit.reading))?;
        folded(&limit.why, out)?;
        for operation in &catalog.operations {
            let places = operation.limits.iter().filter(|place| place.limit == id);
            places
                .into_iter()
                .try_for_each(|place| folded(&format!("body {} of {}", place.pointer, operation.id), out))?;
        }
    }
    Ok(())
}

fn reading(reading: LimitReading) -> &'static str {
    match reading {
        LimitReading::UrlHost => "the host of an https URL",
    }
}
