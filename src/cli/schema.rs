//! `scopegate schema`: JSON Schema for the editor, made from the same types that read the files.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::authz::catalog::file::{CatalogFile, OverlayFile};
use crate::authz::policy::file::mirror::{AppMirror, GroupMirror, GuardrailMirror, NamesMirror, SetMirror};
use crate::config::file::ConfigMirror;

/// Whose schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    Policy,
    Config,
    Catalog,
}

/// The schema of one document, as JSON Schema 2020-12.
pub fn schema(kind: SchemaKind) -> Value {
    let mut generator = SchemaGenerator::default();
    let (title, root) = match kind {
        SchemaKind::Policy => ("scopegate policy document", json!({"anyOf": policy(&mut generator)})),
        SchemaKind::Catalog => ("scopegate catalog or overlay", json!({"anyOf": catalog(&mut generator)})),
        SchemaKind::Config => ("scopegate configuration", reference::<ConfigMirror>(&mut generator)),
    };
    let definitions = generator.take_definitions(true);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$defs": definitions,
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
    }
    schema
}

/// A document has one head; its keys tell which of these it is.
fn policy(generator: &mut SchemaGenerator) -> [Value; 5] {
    [
        reference::<AppMirror>(generator),
        reference::<GuardrailMirror>(generator),
        reference::<SetMirror>(generator),
        reference::<GroupMirror>(generator),
        reference::<NamesMirror>(generator),
    ]
}

/// A catalog, or the overlay that corrects one.
fn catalog(generator: &mut SchemaGenerator) -> [Value; 2] {
    [reference::<CatalogFile>(generator), reference::<OverlayFile>(generator)]
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_what_must_be_written() {
        let policy = schema(SchemaKind::Policy);
        assert_eq!(policy["$defs"]["Grant"]["required"], json!(["actors", "in"]));
        assert_eq!(policy["$defs"]["Revocation"]["required"], json!(["in", "reason"]));
        assert_eq!(policy["$defs"]["Grant"]["additionalProperties"], json!(false));
        assert_eq!(policy["anyOf"].as_array().unwrap().len(), 5);
        let config = schema(SchemaKind::Config);
        assert!(config["$defs"]["Gate"]["required"].as_array().unwrap().contains(&json!("bypass")));
    }
}
