//! Requests made from a catalog alone: each place of an operation is filled as the catalog says that it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use scopegate::authz::catalog::{Absent, Catalog, Operation, Place, PlaceAt, Touches};
use serde_json::{Value, json};

use super::world::{Spelled, Which, World};
use crate::support::gate::Ask;

/// How the arguments of an operation are sent that takes them anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Query,
    Form,
    Json,
}

/// The places of an operation that one request fills; the others stay empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// By their number in the operation. None: it names nothing, as far as its path allows.
    pub places: Vec<usize>,
    pub encoding: Encoding,
    /// Which of its spellings each place gets, where it has several.
    pub spelling: usize,
    /// More is reached than the places name.
    pub open: bool,
}

impl Shape {
    /// Nothing is named, unless the path alone names it.
    pub const BARE: Self = Self { places: Vec::new(), encoding: Encoding::Query, spelling: 0, open: true };

    pub fn spelled(&self, world: &World, place: &Place) -> Spelled {
        let spellings = world.spellings(place);
        spellings[self.spelling % spellings.len()]
    }
}

pub fn places(operation: &Operation) -> &[Place] {
    match &operation.touches {
        Touches::Containers(places) => places,
        Touches::Nothing { .. } | Touches::Tenant { .. } => &[],
    }
}

/// The shapes in which an operation names its containers: one for each place, beside those that may not be left out; in
/// every spelling that any of them has.
pub fn naming_shapes(world: &World, operation: &Operation) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (number, _) in places(operation).iter().enumerate().filter(|(_, place)| !place.present_is_tenant) {
        for shape in with(operation, Some(number)) {
            let filled = numbers(operation, &shape).into_iter();
            let spellings = filled.map(|number| world.spellings(&places(operation)[number]).len()).max();
            for spelling in 0..spellings.unwrap_or(1) {
                let shape = Shape { spelling, ..shape.clone() };
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
        }
    }
    shapes
}

/// The places that are filled in a shape: what stands in the path is there in every one.
pub fn numbers(operation: &Operation, shape: &Shape) -> BTreeSet<usize> {
    let all = places(operation);
    let in_path = (0..all.len()).filter(|number| matches!(all[*number].at, PlaceAt::Path(_)));
    in_path.chain(shape.places.iter().copied()).collect()
}

/// The shapes in which an operation that names containers reaches the tenant all the same.
pub fn open_shapes(world: &World, operation: &Operation) -> Vec<Shape> {
    let all = places(operation);
    let mut shapes = Vec::new();
    if !all.is_empty() && all.iter().all(|place| place.absent != Absent::Deny) {
        shapes.push(Shape::BARE);
    }
    // One of several is left out, and then lies anywhere.
    for (number, _) in all.iter().enumerate().filter(|(_, place)| place.absent == Absent::Tenant) {
        for shape in with(operation, None) {
            let places: Vec<usize> = shape.places.into_iter().filter(|other| *other != number).collect();
            if !places.is_empty() {
                shapes.push(Shape { places, open: true, ..shape });
            }
        }
    }
    for (number, _) in all.iter().enumerate().filter(|(_, place)| place.present_is_tenant) {
        for first in naming_shapes(world, operation).into_iter().take(1) {
            let places = first.places.into_iter().filter(|other| {
                // Two names of one container are another matter.
                all[*other].group.is_none() || all[*other].group != all[number].group
            });
            let places = places.chain([number]).collect();
            shapes.push(Shape { places, encoding: first.encoding, spelling: 0, open: true });
        }
    }
    shapes
}

/// Whether something must be named elsewhere than in the path: the bare shape lacks it.
pub fn bare_lacks(operation: &Operation) -> bool {
    let in_path = |place: &Place| matches!(place.at, PlaceAt::Path(_));
    places(operation).iter().any(|place| place.absent == Absent::Deny && !in_path(place))
}

/// The places that may not be left out and one more, in every encoding that the product reads.
fn with(operation: &Operation, one: Option<usize>) -> Vec<Shape> {
    let all = places(operation);
    // Another name of what is named already is left out.
    let group = one.and_then(|one| all[one].group);
    let is_named = |number: &usize| group.is_some() && all[*number].group == group;
    let needed = |number: &usize| Some(*number) == one || all[*number].absent != Absent::Skip && !is_named(number);
    let places: Vec<usize> = (0..all.len()).filter(needed).collect();
    let any = places.iter().any(|number| matches!(all[*number].at, PlaceAt::Argument(_)));
    let encodings: &[Encoding] = match (any, operation.reads_json) {
        (false, _) => &[Encoding::Query],
        (true, false) => &[Encoding::Query, Encoding::Form],
        (true, true) => &[Encoding::Query, Encoding::Form, Encoding::Json],
    };
    let shape = |encoding: &Encoding| Shape { places: places.clone(), encoding: *encoding, spelling: 0, open: false };
    encodings.iter().map(shape).collect()
}

/// What is put together for one request.
#[derive(Default)]
struct Parts {
    path: BTreeMap<u8, String>,
    /// What stands for several segments.
    rest: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    form: Vec<(String, String)>,
    fields: Vec<(String, String)>,
    body: Value,
}

/// The request of an operation in one shape; `which` says what each place names.
pub fn ask(world: &World, operation: &Operation, shape: &Shape, which: &dyn Fn(usize) -> Which) -> Ask {
    ask_with(world, operation, shape, which, Parts::default())
}

/// A request that asks about the job of this id, and names nothing else but what its path does.
pub fn ask_about(world: &World, operation: &Operation, id: &str, which: Which) -> Ask {
    let fetch = operation.fetches.as_ref().expect("it asks about jobs");
    let mut parts = Parts::default();
    parts.fill(&fetch.at, id.to_owned(), Encoding::Query);
    ask_with(world, operation, &Shape::BARE, &|_| which, parts)
}

fn ask_with(
    world: &World,
    operation: &Operation,
    shape: &Shape,
    which: &dyn Fn(usize) -> Which,
    mut parts: Parts,
) -> Ask {
    let all = places(operation);
    let mut numbers: Vec<usize> = numbers(operation, shape).into_iter().collect();
    // Keys come before what stands below them.
    numbers.sort_by_key(|number| !matches!(all[*number].at, PlaceAt::Keys(_)));
    for number in numbers {
        let place = &all[number];
        match &place.at {
            // Where something of the tenant's stands below it, an object is due.
            PlaceAt::Body(pointer) if is_around_a_tenant(operation, pointer) => {
                put(&mut parts.body, pointer, json!({}))
            }
            at => {
                parts.fill(at, world.text(operation, place, shape.spelled(world, place), which(number)), shape.encoding)
            }
        }
    }
    let mut target = base(&world.catalog, operation).to_owned() + &path(&operation.template, &parts);
    for (index, (name, value)) in parts.query.iter().enumerate() {
        let _ = write!(target, "{}{}={}", if index == 0 { '?' } else { '&' }, encoded(name), encoded(value));
    }
    let method = if shape.encoding == Encoding::Query { operation.method.as_str() } else { "POST" };
    let ask = parts.headers.iter().fold(Ask::new(method, &target), |ask, (name, value)| ask.with(name, value));
    match (&parts.body, &*parts.form, &*parts.fields) {
        (Value::Null, [], []) => ask,
        (body, [], []) => ask.json(&body.to_string()),
        (Value::Null, form, []) => {
            let pairs = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
            ask.form(&pairs.collect::<Vec<_>>().join("&"))
        }
        (Value::Null, [], fields) => multipart(ask, fields),
        _ => panic!("{} is sent in bodies of two types", operation.id),
    }
}

/// A link to what asks about the job of this id.
pub fn link_to(catalog: &Catalog, operation: &Operation, id: &str) -> String {
    let Some(PlaceAt::Path(index)) = operation.fetches.as_ref().map(|fetch| &fetch.at) else {
        panic!("not in its path")
    };
    let parts = Parts { path: BTreeMap::from([(*index, id.to_owned())]), ..Parts::default() };
    base(catalog, operation).to_owned() + &path(&operation.template, &parts)
}

fn is_around_a_tenant(operation: &Operation, pointer: &str) -> bool {
    operation.tenant_arguments.iter().any(|argument| match &argument.at {
        PlaceAt::Body(below) => below.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/')),
        _ => false,
    })
}

impl Parts {
    fn fill(&mut self, at: &PlaceAt, text: String, encoding: Encoding) {
        match at {
            PlaceAt::Path(index) => {
                self.path.insert(*index, text);
            }
            PlaceAt::Rest => self.rest = Some(text),
            PlaceAt::Query(name) => self.query.push((name.to_string(), text)),
            PlaceAt::Header(name) => self.headers.push((name.to_string(), text)),
            PlaceAt::Body(pointer) | PlaceAt::InItems { pointer, keys: false } => {
                put(&mut self.body, pointer, Value::from(text));
            }
            PlaceAt::Keys(pointer) | PlaceAt::InItems { pointer, keys: true } => {
                put(&mut self.body, &format!("{pointer}/{}", text.replace('~', "~0").replace('/', "~1")), json!({}));
            }
            PlaceAt::Multipart(name) => self.fields.push((name.to_string(), text)),
            PlaceAt::Argument(name) => match encoding {
                Encoding::Query => self.query.push((name.to_string(), text)),
                Encoding::Form => self.form.push((name.to_string(), text)),
                Encoding::Json => put(&mut self.body, &format!("/{name}"), Value::from(text)),
            },
        }
    }
}

/// Puts a value at a JSON pointer; a `*` is the one item of a list, or the one member that an object has already.
pub fn put(mut node: &mut Value, pointer: &str, value: Value) {
    for token in pointer.split('/').skip(1) {
        let known = node.as_object().and_then(|object| object.keys().next().cloned());
        node = match (token, known) {
            ("*", Some(member)) => &mut node[&member],
            ("*", None) => {
                if node.is_null() {
                    *node = json!([null]);
                }
                &mut node[0]
            }
            (token, _) => &mut node[token.replace("~1", "/").replace("~0", "~")],
        };
    }
    *node = value;
}

fn multipart(ask: Ask, fields: &[(String, String)]) -> Ask {
    let mut body = String::new();
    for (name, value) in fields {
        let _ = write!(body, "--part\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    ask.with("content-type", "multipart/form-data; boundary=part").body(&(body + "--part--\r\n"))
}

fn base(catalog: &Catalog, operation: &Operation) -> &'static str {
    match &*catalog.product {
        "jira" if !operation.template.starts_with("/rest/") => "/rest/api/3",
        "slack" => "/api",
        "bitbucket" => "/2.0",
        _ => "",
    }
}

/// A template with its parameters filled in; what is no place holds what no literal of the catalog is.
fn path(template: &str, parts: &Parts) -> String {
    let mut pieces = template.split('{');
    let mut path = pieces.next().unwrap_or_default().to_owned();
    let mut index = 0;
    for piece in pieces {
        let (name, literal) = piece.split_once('}').expect("a parameter ends");
        let tenant = if name == "tenant" { "acme" } else { "~7" };
        let value = if name.starts_with('+') { parts.rest.as_ref() } else { parts.path.get(&index) };
        path.push_str(value.map_or(tenant, |value| value));
        path.push_str(literal);
        // What stands for several segments has no number.
        index += u8::from(!name.starts_with('+'));
    }
    path
}

/// Percent-encoded, all but letters and digits.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
