//! Any API's description: OpenAPI 3.0 and 3.1, Swagger 2.0.
//!
//! The rules:
//! - Whether several scopes are all needed or any of them suffices is said by whoever imports (`--combine`), never
//!   inferred.
//! - An alternative without a scope (`{}`, an API key) never counts, however OpenAPI reads it: such an operation is
//!   unknown.
//! - A vocabulary is a security scheme. Where one alternative asks for scopes of several, they are one line.
//! - No container is known: which parameter names one is for a person to say.
//! - What no request can ask for, as scopegate reads paths, is not carried, and told.

mod servers;
mod stated;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::description::{self, Described};
use super::draft::{Draft, DraftLine, DraftOperation, scalar};
use super::{ImportError, Notes, Settings};
use crate::authz::catalog::matcher::{Request, TENANT};
use crate::authz::path::canonical;
use stated::{Alternative, Places};

/// Operations are numbered in 16 bits.
const OPERATIONS_MAX: usize = 65_535;
/// Operations that a message names.
const NAMED_MAX: usize = 3;
/// Where scopes have no scheme of their own.
const SCOPES: &str = "scopes";

/// What several scopes of one operation mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Combine {
    /// All scopes that stand there are needed, also those of different alternatives
    AllOf,
    /// Any one of them suffices
    AnyOf,
    /// As OpenAPI means it: the scopes of one requirement are all needed, and any requirement suffices
    AsWritten,
}

pub fn import(described: &Value, settings: Settings<'_>, notes: &mut Notes) -> Result<Draft, ImportError> {
    check_version(described)?;
    let places = Places::of(described, settings.scopes_from);
    let operations = description::operations(described);
    if operations.is_empty() {
        return Err(ImportError::Shape("the description has no operation under `paths`".to_owned()));
    }
    if operations.len() > OPERATIONS_MAX {
        let count = operations.len();
        return Err(ImportError::Shape(format!(
            "{count} operations: a catalog holds {OPERATIONS_MAX}; split it by path"
        )));
    }
    let all = operations.iter().map(|operation| places.stated(operation, notes)).collect::<Vec<_>>();
    let combine = combine(settings.combine, &operations, &all)?;
    let bases = servers::bases(described, &operations, notes);
    let mut carried = Carried::default();
    for (operation, alternatives) in operations.iter().zip(&all) {
        carried.add(operation, &bases, needs(alternatives, combine), notes);
    }
    description::note_collisions(&operations, notes);
    let mut draft = Draft::default();
    carried.operations.into_iter().for_each(|operation| draft.add(operation));
    tell(&draft, notes);
    for (scope, vocabulary) in places.declared() {
        if !draft.scopes.contains_key(scope) {
            notes.add("a scope that is declared and that no operation needs", scope);
        }
        draft.scopes.entry(scope.to_owned()).or_default().insert(vocabulary.to_owned());
    }
    draft.head = head(described, settings, &bases, &draft)?;
    Ok(draft)
}

fn check_version(described: &Value) -> Result<(), ImportError> {
    let word = |key: &str| match described.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let known = word("openapi").is_some_and(|version| version.starts_with("3.0") || version.starts_with("3.1"))
        || word("swagger").is_some_and(|version| version == "2.0");
    if known {
        return Ok(());
    }
    let version = word("openapi").or_else(|| word("swagger"));
    let what = version
        .map_or_else(|| "no `openapi:` and no `swagger:` in it".to_owned(), |version| format!("version {version}"));
    Err(ImportError::Shape(format!("{what}: OpenAPI 3.0 and 3.1 and Swagger 2.0 are read")))
}

/// What was asked for, or the one meaning that there is.
fn combine(
    asked: Option<Combine>,
    operations: &[Described<'_>],
    stated: &[Vec<Alternative>],
) -> Result<Combine, ImportError> {
    let several = operations.iter().zip(stated).filter(|(_, alternatives)| {
        let scopes = alternatives.iter().flat_map(|alternative| &alternative.scopes);
        scopes.collect::<BTreeSet<_>>().len() > 1
    });
    let several: Vec<String> = several.map(|(operation, _)| asked_for(operation)).collect();
    match asked {
        Some(combine) => Ok(combine),
        None if several.is_empty() => Ok(Combine::AsWritten),
        None => {
            let named = several.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            Err(ImportError::Shape(format!(
                "{} operations state several scopes ({named}, …), and no description can be trusted to say whether all \
                 are needed: add --combine all-of, --combine any-of, or --combine as-written (OpenAPI's own meaning: \
                 those of one requirement are all needed, any requirement suffices)",
                several.len()
            )))
        }
    }
}

fn asked_for(operation: &Described<'_>) -> String {
    format!("{} {}", operation.method.to_uppercase(), operation.path)
}

fn needs(alternatives: &[Alternative], combine: Combine) -> Vec<(String, Vec<DraftLine>)> {
    let mut by_vocabulary: BTreeMap<&str, Vec<BTreeSet<&str>>> = BTreeMap::new();
    for Alternative { vocabulary, scopes } in alternatives {
        let scopes: BTreeSet<&str> = scopes.iter().map(String::as_str).collect();
        let lines = by_vocabulary.entry(vocabulary).or_default();
        match combine {
            Combine::AsWritten => lines.push(scopes),
            Combine::AnyOf => lines.extend(scopes.into_iter().map(|scope| BTreeSet::from([scope]))),
            Combine::AllOf => match lines.first_mut() {
                Some(line) => line.extend(scopes),
                None => lines.push(scopes),
            },
        }
    }
    let needs = by_vocabulary.into_iter().map(|(vocabulary, mut lines)| {
        lines.sort();
        lines.dedup();
        let all = |line: BTreeSet<&str>| DraftLine::all(line.into_iter().map(str::to_owned).collect());
        (vocabulary.to_owned(), lines.into_iter().map(all).collect())
    });
    needs.collect()
}

/// The operations that a request can ask for, each once.
#[derive(Default)]
struct Carried {
    operations: Vec<DraftOperation>,
    ids: BTreeSet<String>,
    /// By what a request is matched by.
    routes: BTreeMap<String, usize>,
}

impl Carried {
    fn add(
        &mut self,
        operation: &Described<'_>,
        bases: &servers::Bases,
        needs: Vec<(String, Vec<DraftLine>)>,
        notes: &mut Notes,
    ) {
        let template = format!("{}{}", bases.before, greedy(operation.path));
        let written = format!("{} {template}", operation.method.to_uppercase());
        let request = match Request::parse(&written) {
            Ok(request) if is_asked_for_as_written(&template) => request,
            Ok(_) => return notes.add("a path that no request can have: not carried", written),
            Err(_) if template.ends_with('/') => {
                return notes.add("a path that ends in a slash, which the gate refuses: not carried", written);
            }
            Err(error) => return notes.add("a path that cannot be told: not carried", format!("{written}: {error}")),
        };
        if let Some(first) = self.routes.get(&format!("{} {}", operation.method, request.route())) {
            if let Some(first) = self.operations.get_mut(*first) {
                notes.add("the same method and path as another: carried once", format!("{written} | {}", first.id));
                if first.needs != needs {
                    notes.add("two of one method and path state different scopes: unknown", first.id.clone());
                    first.needs = Vec::new();
                }
            }
            return;
        }
        self.routes.insert(format!("{} {}", operation.method, request.route()), self.operations.len());
        if request.parameters.iter().any(|name| **name == *TENANT) {
            notes.add("a parameter called `tenant`: it must be the request's own tenant", written.clone());
        }
        let id = self.id(operation, notes);
        let proposed = is_plain_read(operation);
        self.operations.push(DraftOperation { id, request: written, needs, proposed, ..DraftOperation::default() });
    }

    fn id(&mut self, operation: &Described<'_>, notes: &mut Notes) -> String {
        let own = operation.id().filter(|id| is_plain_id(id) && !self.ids.contains(*id));
        let id = own.map_or_else(
            || {
                let derived = operation.derived_id();
                let numbered = (2..).map(|number| format!("{derived}-{number}"));
                let free = std::iter::once(derived.clone()).chain(numbered).find(|id| !self.ids.contains(id));
                let id = free.unwrap_or(derived);
                notes.add("no operationId of its own: named after its path and method", id.clone());
                id
            },
            str::to_owned,
        );
        self.ids.insert(id.clone());
        id
    }
}

/// `{proxy+}`, as some gateways write it, is greedy too.
fn greedy(path: &str) -> String {
    let mut written = String::new();
    let mut rest = path;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { return path.to_owned() };
        let name = name.strip_suffix('+').map_or_else(|| name.to_owned(), |name| format!("+{name}"));
        written.push_str(&format!("{literal}{{{name}}}"));
        rest = behind;
    }
    written + rest
}

/// Whether the literals of a template are those of a canonical path.
fn is_asked_for_as_written(template: &str) -> bool {
    let sample: String = template
        .split('{')
        .map(|piece| piece.split_once('}').map_or_else(|| piece.to_owned(), |(_, rest)| format!("x{rest}")))
        .collect();
    canonical(&sample).is_ok_and(|path| *path == *sample)
}

/// A read without any parameter may be one that reaches no container; a person says so.
fn is_plain_read(operation: &Described<'_>) -> bool {
    operation.method == "get"
        && !operation.path.contains('{')
        && operation.parameters().is_empty()
        && operation.node.get("requestBody").is_none()
}

fn tell(draft: &Draft, notes: &mut Notes) {
    for operation in &draft.operations {
        if operation.needs.is_empty() {
            notes.add("needs: unknown, no scope is stated: refused until the overlay says more", &operation.id);
        }
        notes.add("no container: which parameter names one is for the overlay to say; the whole tenant", &operation.id);
        if operation.proposed {
            notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", &operation.id);
        }
    }
}

fn head(
    described: &Value,
    settings: Settings<'_>,
    bases: &servers::Bases,
    draft: &Draft,
) -> Result<String, ImportError> {
    let title = described.pointer("/info/title").and_then(Value::as_str).unwrap_or_default();
    let product = match settings.product {
        Some(product) => product_name(product)?,
        None => product_name(&slug(title, '-'))?,
    };
    let version = described.pointer("/info/version").and_then(Value::as_str);
    let release = settings.release.or(version).unwrap_or("1");
    if release.is_empty() || release.len() > 64 || !release.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ImportError::Shape(format!("{release:?} is no name of a release: add --release NAME")));
    }
    let mut head = format!("version: 1\nproduct: {product}\nrelease: {}\n", scalar(release));
    let vocabularies: BTreeSet<&str> = draft.scopes.values().flatten().map(String::as_str).collect();
    if vocabularies.is_empty() {
        head.push_str(&head_without_scopes());
    } else {
        head.push_str("dialect: problem\n");
        let words: Vec<String> = vocabularies.iter().map(|word| scalar(word)).collect();
        head.push_str(&format!("vocabularies: [{}]\nkinds:\n", words.join(", ")));
        for word in words {
            head.push_str(&format!("  - {{name: {word}, vocabularies: [{word}], actor: evidence}}\n"));
        }
    }
    if !bases.aliases.is_empty() {
        let aliases: Vec<String> = bases.aliases.iter().map(|base| scalar(base)).collect();
        head.push_str(&format!("bases: [{}]\n", aliases.join(", ")));
    }
    Ok(head)
}

/// What a catalog without scopes must have all the same.
pub fn head_without_scopes() -> String {
    format!(
        "dialect: problem\nvocabularies: [{SCOPES}]\nkinds:\n  \
         - {{name: token, vocabularies: [{SCOPES}], actor: evidence}}\n"
    )
}

/// A product's name, as policies write it before the slash.
pub fn product_name(name: &str) -> Result<String, ImportError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if begins && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(scalar(name));
    }
    Err(ImportError::Shape(format!(
        "`{name}` is no name of a product: add --product NAME, of small letters, digits, `-`, `_`"
    )))
}

/// Whether an id can stand in a policy without quotes.
pub fn is_plain_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':');
    !id.is_empty() && id.len() <= 256 && id.bytes().all(plain)
}

/// Small letters and digits, and one mark for each run of anything else.
fn slug(text: &str, mark: char) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join(&mark.to_string())
}
