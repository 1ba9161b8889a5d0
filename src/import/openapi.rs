//! What an import asks of an OpenAPI description: operations, their parameters, the top level of their bodies.

use serde_json::Value;

const METHODS: [&str; 5] = ["delete", "get", "patch", "post", "put"];
/// Follows of a `$ref` before it counts as endless.
const REFERENCES_MAX: usize = 16;

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
        let schema = self.node.pointer("/requestBody/content/application~1json/schema");
        let Some(schema) = schema.and_then(|schema| resolve(self.description, schema)) else { return Vec::new() };
        let required: Vec<&str> = strings(schema.get("required"));
        let mut scalars = Vec::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let Some(property) = resolve(self.description, property) else { continue };
            let kind = property.get("type").and_then(Value::as_str);
            if matches!(kind, Some("string" | "integer" | "number")) {
                scalars.push((name.as_str(), required.contains(&name.as_str())));
            }
        }
        scalars
    }

    /// The names in braces of the path.
    pub fn path_parameters(&self) -> Vec<&'d str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
    }
}

/// The strings of an array.
pub fn strings(node: Option<&Value>) -> Vec<&str> {
    node.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn resolve<'d>(description: &'d Value, node: &'d Value) -> Option<&'d Value> {
    let mut node = node;
    for _ in 0..REFERENCES_MAX {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => node = description.pointer(reference.strip_prefix('#')?)?,
            None => return Some(node),
        }
    }
    None
}

/// Pairs of templates that match one path.
#[derive(Debug, Default)]
pub struct Collisions<'d> {
    /// They differ in more than names.
    pub colliding: Vec<(&'d str, &'d str)>,
    /// They differ in names alone.
    pub merged: Vec<(&'d str, &'d str)>,
}

pub fn collisions<'d>(templates: &[&'d str]) -> Collisions<'d> {
    let mut found = Collisions::default();
    for (index, one) in templates.iter().enumerate() {
        for other in templates.iter().skip(index + 1) {
            match overlap(one, other) {
                Overlap::None => {}
                Overlap::NamesAlone => found.merged.push((*one, *other)),
                Overlap::Some => found.colliding.push((*one, *other)),
            }
        }
    }
    found
}

enum Overlap {
    None,
    Some,
    NamesAlone,
}

fn overlap(one: &str, other: &str) -> Overlap {
    if one.split('/').count() != other.split('/').count() {
        return Overlap::None;
    }
    let parameter = |segment: &str| segment.starts_with('{');
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
