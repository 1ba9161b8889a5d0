//! What an import asks of an OpenAPI description: operations, their parameters, the top level of their bodies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Notes;

const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];
/// Follows of a `$ref` before it counts as endless, and schemas within schemas before the rest is not looked at.
const REFERENCES_MAX: usize = 16;
/// The most schemas that one body is put together from: `allOf` of `allOf`s could name more than there are atoms.
const SCHEMAS_MAX: usize = 256;
/// The most templates of one length that are compared with each other.
const COMPARED_MAX: usize = 4_000;

/// One operation of a description.
#[derive(Debug, Clone, Copy)]
pub struct Described<'d> {
    pub description: &'d Value,
    pub path: &'d str,
    pub method: &'d str,
    pub node: &'d Value,
    shared: &'d Value,
}

/// One parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'d> {
    pub name: &'d str,
    pub at: &'d str,
    pub required: bool,
    pub array: bool,
}

/// Every operation, in the order of path and method.
pub fn operations(description: &Value) -> Vec<Described<'_>> {
    let mut operations = Vec::new();
    for (path, item) in description.get("paths").and_then(Value::as_object).into_iter().flatten() {
        let Some(item) = resolve(description, item) else { continue };
        for method in METHODS {
            if let Some(node) = item.get(method) {
                let shared = item.get("parameters").unwrap_or(&Value::Null);
                operations.push(Described { description, path, method, node, shared });
            }
        }
    }
    operations.sort_by_key(|operation| (operation.path, operation.method));
    operations
}

impl<'d> Described<'d> {
    pub fn id(&self) -> Option<&'d str> {
        self.node.get("operationId").and_then(Value::as_str)
    }

    /// A name for an operation that has none.
    pub fn derived_id(&self) -> String {
        derived_id(self.path, self.method)
    }

    pub fn parameters(&self) -> Vec<Parameter<'d>> {
        let own = self.node.get("parameters").unwrap_or(&Value::Null);
        let all = [self.shared, own].into_iter().filter_map(Value::as_array).flatten();
        all.filter_map(|node| self.parameter(node)).collect()
    }

    fn parameter(&self, node: &'d Value) -> Option<Parameter<'d>> {
        let node = resolve(self.description, node)?;
        let schema = node.get("schema").and_then(|schema| resolve(self.description, schema));
        Some(Parameter {
            name: node.get("name")?.as_str()?,
            at: node.get("in")?.as_str()?,
            required: node.get("required").and_then(Value::as_bool).unwrap_or(false),
            array: schema.is_some_and(|schema| schema.get("type").and_then(Value::as_str) == Some("array")),
        })
    }

    /// The scalars at the top level of a JSON body: name, and whether it must be there. `readOnly` ones count:
    /// what the product does with one that is sent all the same is not said.
    pub fn body_scalars(&self) -> Vec<(&'d str, bool)> {
        let body = self.node.get("requestBody").and_then(|body| resolve(self.description, body));
        let Some(schema) = body.and_then(|body| body.pointer("/content/application~1json/schema")) else {
            return Vec::new();
        };
        let mut scalars = BTreeMap::new();
        let mut left = SCHEMAS_MAX;
        self.add_scalars(schema, 0, &mut left, &mut scalars);
        scalars.into_iter().collect()
    }

    fn add_scalars(&self, schema: &'d Value, depth: usize, left: &mut usize, scalars: &mut BTreeMap<&'d str, bool>) {
        let Some(schema) = resolve(self.description, schema).filter(|_| depth < REFERENCES_MAX && *left > 0) else {
            return;
        };
        *left -= 1;
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add_scalars(part, depth + 1, left, scalars);
        }
        let required: Vec<&str> = strings(schema.get("required"));
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let Some(property) = resolve(self.description, property) else { continue };
            let kind = property.get("type").and_then(Value::as_str);
            if matches!(kind, Some("string" | "integer" | "number")) {
                scalars.insert(name, required.contains(&name.as_str()));
            }
        }
    }

    /// The names in braces of the path, in order.
    pub fn path_parameters(&self) -> Vec<&'d str> {
        self.path.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|(name, _)| name).collect()
    }
}

/// An id of a path and a method: the vendors' own pages call an operation the same.
pub fn derived_id(path: &str, method: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.chain([method.to_lowercase().as_str()]).collect::<Vec<_>>().join("-")
}

/// The strings of an array.
pub fn strings(node: Option<&Value>) -> Vec<&str> {
    node.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What a node is, where it refers to another one of the same file.
pub fn resolve<'d>(description: &'d Value, node: &'d Value) -> Option<&'d Value> {
    let mut node = node;
    for _ in 0..REFERENCES_MAX {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => node = description.pointer(reference.strip_prefix('#')?)?,
            None => return Some(node),
        }
    }
    None
}

/// Notes pairs of templates that match one path.
pub fn note_collisions(operations: &[Described<'_>], notes: &mut Notes) {
    let mut by_length: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for operation in operations {
        let alike = by_length.entry(operation.path.split('/').count()).or_default();
        if alike.last() != Some(&operation.path) {
            alike.push(operation.path);
        }
    }
    for templates in by_length.into_values() {
        if templates.len() > COMPARED_MAX {
            notes.add(
                "too many templates of one length to compare: some may match one path",
                templates.len().to_string(),
            );
            continue;
        }
        for (index, one) in templates.iter().enumerate() {
            for other in templates.iter().skip(index + 1) {
                let what = match overlap(one, other) {
                    Overlap::None => continue,
                    Overlap::Some => "templates that match one path: a literal segment wins",
                    Overlap::NamesAlone => "templates that differ in names alone: their methods are merged",
                };
                notes.add(what, format!("{one} | {other}"));
            }
        }
    }
}

enum Overlap {
    None,
    Some,
    NamesAlone,
}

/// Of two templates with as many segments.
fn overlap(one: &str, other: &str) -> Overlap {
    let parameter = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
    let mut names_alone = true;
    for (left, right) in one.split('/').zip(other.split('/')) {
        match (parameter(left), parameter(right)) {
            (true, true) => {}
            (false, false) if left == right => {}
            (false, false) => return Overlap::None,
            (true, false) | (false, true) => names_alone = false,
        }
    }
    if names_alone { Overlap::NamesAlone } else { Overlap::Some }
}
