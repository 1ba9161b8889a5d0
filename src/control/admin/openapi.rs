//! The description of the API (OpenAPI 3.1), made of the table of endpoints and of the types that are read and written.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::endpoint::{ANYWHERE, Endpoint};
use super::fault::{Code, Fault};
use super::right::Right;
use super::view;
use crate::acts::done::{Done, Listed};
use crate::acts::order::Order;

/// What every listener of this release answers.
pub fn description() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in Endpoint::ALL {
        let method = endpoint.method().to_ascii_lowercase();
        paths.entry(endpoint.path()).or_default().insert(method, operation(endpoint, &mut generator));
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "scopegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What is in force, why a call is refused, and the acts that change it. On a Unix socket the \
                            kernel says who asks; over TCP a bearer token or a client's certificate does.",
        },
        "security": [{"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    })
}

fn operation(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": name(endpoint),
        "summary": endpoint.summary(),
        "description": format!("Needs the right to {}.", rights(endpoint)),
        "parameters": parameters(endpoint, generator),
        "responses": responses(endpoint, generator),
    });
    if let (Some(schema), Value::Object(members)) = (asked(endpoint, generator), &mut operation) {
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        members.insert("requestBody".to_owned(), body);
    }
    operation
}

fn name(endpoint: Endpoint) -> String {
    let text = format!("{endpoint:?}");
    text.chars().map(|character| character.to_ascii_lowercase()).collect()
}

fn rights(endpoint: Endpoint) -> String {
    let least = endpoint.least();
    match endpoint {
        Endpoint::Order => format!("{}; what gives, to {}", least.as_str(), Right::Give.as_str()),
        _ => least.as_str().to_owned(),
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The body of a request.
fn asked(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Option<Value> {
    match endpoint {
        Endpoint::Explain => Some(schema::<view::Asked>(generator)),
        Endpoint::Order => Some(schema::<Order>(generator)),
        Endpoint::Restore | Endpoint::Promote => Some(schema::<view::Why>(generator)),
        Endpoint::Whoami
        | Endpoint::Snapshot
        | Endpoint::Acts
        | Endpoint::Apps
        | Endpoint::App
        | Endpoint::Cells
        | Endpoint::History
        | Endpoint::Description => None,
    }
}

/// The body of an answer.
fn answered(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Value {
    match endpoint {
        Endpoint::Whoami => schema::<view::Whoami>(generator),
        Endpoint::Snapshot => schema::<view::SnapshotView>(generator),
        Endpoint::Explain => schema::<view::Explained>(generator),
        Endpoint::Acts => schema::<Vec<Listed>>(generator),
        Endpoint::Order | Endpoint::Restore | Endpoint::Promote => schema::<Done>(generator),
        Endpoint::Apps => schema::<view::AppsPage>(generator),
        Endpoint::App => schema::<view::AppView>(generator),
        Endpoint::Cells => schema::<view::CellsPage>(generator),
        Endpoint::History => schema::<view::HistoryPage>(generator),
        Endpoint::Description => json!({"type": "object", "required": ["openapi", "paths"]}),
    }
}

/// Whether the answer says in `ETag` which generation it was read at.
pub(super) fn has_etag(endpoint: Endpoint) -> bool {
    match endpoint {
        Endpoint::Snapshot | Endpoint::Acts | Endpoint::Apps | Endpoint::App | Endpoint::Cells | Endpoint::History => {
            true
        }
        Endpoint::Whoami
        | Endpoint::Explain
        | Endpoint::Order
        | Endpoint::Restore
        | Endpoint::Promote
        | Endpoint::Description => false,
    }
}

fn parameters(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut all = match endpoint {
        Endpoint::Order | Endpoint::Restore | Endpoint::Promote => query::<view::How>(generator),
        Endpoint::Apps => query::<view::AppsQuery>(generator),
        Endpoint::Cells => query::<view::CellsQuery>(generator),
        Endpoint::History => query::<view::HistoryQuery>(generator),
        Endpoint::Whoami
        | Endpoint::Snapshot
        | Endpoint::Explain
        | Endpoint::Acts
        | Endpoint::App
        | Endpoint::Description => Vec::new(),
    };
    if matches!(endpoint, Endpoint::Order | Endpoint::Restore | Endpoint::Promote) {
        all.push(json!({
            "name": "If-Match", "in": "header",
            "description": "The `ETag` of what was looked at. Needed by what gives, and where nothing is only tried.",
            "schema": {"type": "string", "pattern": "^\"[0-9]{1,15}\"$"},
        }));
    }
    let placed = endpoint.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    all.extend(placed.map(|name| {
        let pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$";
        let example = match name {
            "product" => "jira",
            "app" => "tracker",
            _ => "20261125T215200123Z-revoke-9f3a61c2",
        };
        let schema = json!({"type": "string", "pattern": pattern, "examples": [example]});
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    }));
    all
}

/// A parameter for each field of a query.
fn query<T: JsonSchema>(generator: &mut SchemaGenerator) -> Vec<Value> {
    let whole = T::json_schema(generator).to_value();
    let Some(Value::Object(fields)) = whole.get("properties") else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        not_null(&mut schema);
        let text = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({"name": name, "in": "query", "description": text.unwrap_or_default(), "schema": schema})
    };
    fields.iter().map(parameter).collect()
}

/// A query cannot say null: what is not there is left out.
fn not_null(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(types)) = members.get("type").cloned()
        && let Some(first) = types.into_iter().find(|one| one != "null")
    {
        members.insert("type".to_owned(), first);
    }
    if let Some(Value::Array(choices)) = members.get("anyOf").cloned() {
        let mut choices = choices.into_iter().filter(|one| one.get("type").is_none_or(|word| word != "null"));
        if let (Some(Value::Object(only)), None) = (choices.next(), choices.next()) {
            members.remove("anyOf");
            members.extend(only);
        }
    }
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
}

fn responses(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in ANYWHERE.iter().chain(endpoint.codes()) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    let fault = schema::<Fault>(generator);
    let refused = by_status.into_iter().map(|(status, codes)| {
        let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        // Exactly these codes come with this status, from this endpoint.
        let shape = json!({"allOf": [fault, {"properties": {"code": {"enum": words}}}]});
        let told = json!({"description": words.join(", "), "content": {"application/json": {"schema": shape}}});
        (status.to_string(), told)
    });
    let mut all: Map<String, Value> = refused.collect();
    let schema = answered(endpoint, generator);
    let mut done = json!({"description": endpoint.summary(), "content": {"application/json": {"schema": schema}}});
    if let (true, Value::Object(members)) = (has_etag(endpoint), &mut done) {
        let schema = json!({"type": "string", "pattern": "^\"[0-9]+\"$"});
        members.insert(
            "headers".to_owned(),
            json!({"ETag": {"description": "The generation it was read at.", "schema": schema}}),
        );
    }
    all.insert("200".to_owned(), done);
    all
}
