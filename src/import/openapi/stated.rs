//! The scopes that a description states for an operation: under `security`, or where whoever imports says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{SCOPES, slug};
use crate::import::Notes;
use crate::import::description::{Described, resolve};

/// Scopes that stand together, of one vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    pub vocabulary: String,
    pub scopes: Vec<String>,
}

/// Where scopes are stated.
pub struct Places<'d> {
    from: From<'d>,
    /// The security that counts where an operation has none of its own.
    root: &'d Value,
    /// Each scope that a scheme declares, with the vocabulary of the scheme.
    declared: BTreeMap<&'d str, String>,
}

enum From<'d> {
    Security,
    /// A member of the operation.
    Member(&'d str),
    Pointer(&'d str),
}

impl<'d> Places<'d> {
    pub fn of(described: &'d Value, from: Option<&'d str>) -> Self {
        let from = match from {
            None | Some("security") => From::Security,
            Some(pointer) if pointer.starts_with('/') => From::Pointer(pointer),
            Some(member) => From::Member(member),
        };
        let declared = match from {
            From::Security => declared(described),
            From::Member(_) | From::Pointer(_) => BTreeMap::new(),
        };
        Self { from, root: described.get("security").unwrap_or(&Value::Null), declared }
    }

    pub fn declared(&self) -> impl Iterator<Item = (&'d str, &str)> {
        self.declared.iter().map(|(scope, vocabulary)| (*scope, vocabulary.as_str()))
    }

    /// What is stated for one operation; nothing where no scope is.
    pub fn stated(&self, operation: &Described<'_>, notes: &mut Notes) -> Vec<Alternative> {
        let found = match &self.from {
            From::Security => requirements(operation.node.get("security").unwrap_or(self.root)),
            From::Member(name) => listed(operation.node.get(*name).unwrap_or(&Value::Null)),
            From::Pointer(pointer) => listed(operation.node.pointer(pointer).unwrap_or(&Value::Null)),
        };
        let asked = super::asked_for(operation);
        let Some(alternatives) = found else {
            notes.add("scopes that are stated in a form that is not read: unknown", asked);
            return Vec::new();
        };
        if alternatives.iter().flat_map(|one| &one.scopes).any(|scope| !is_scope(scope)) {
            notes.add("a scope with a character that none has: unknown", asked);
            return Vec::new();
        }
        let (with, without): (Vec<_>, Vec<_>) = alternatives.into_iter().partition(|one| !one.scopes.is_empty());
        if !with.is_empty() && !without.is_empty() {
            notes.add("an alternative without a scope, which never counts", asked);
        }
        with
    }
}

/// RFC 6749 §3.3, without what YAML and shells make much of.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.len() <= 256 && scope.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `security`: a list of alternatives. `None`: something else.
fn requirements(node: &Value) -> Option<Vec<Alternative>> {
    match node {
        Value::Null => Some(Vec::new()),
        Value::Array(alternatives) => {
            alternatives.iter().map(|alternative| requirement(alternative.as_object()?)).collect()
        }
        _ => None,
    }
}

/// One alternative: every scheme in it is needed, with all of its scopes.
fn requirement(schemes: &Map<String, Value>) -> Option<Alternative> {
    let mut alternative = Alternative { vocabulary: SCOPES.to_owned(), scopes: Vec::new() };
    for (scheme, scopes) in schemes {
        let scopes = all_strings(scopes)?;
        if alternative.scopes.is_empty() && !scopes.is_empty() {
            alternative.vocabulary = vocabulary(scheme);
        }
        alternative.scopes.extend(scopes);
    }
    Some(alternative)
}

/// What stands under an extension: a text of words, a list of them, lists by vocabulary, or requirements.
fn listed(node: &Value) -> Option<Vec<Alternative>> {
    let one = |scopes: Vec<String>| vec![Alternative { vocabulary: SCOPES.to_owned(), scopes }];
    match node {
        Value::Null => Some(Vec::new()),
        Value::String(text) => {
            let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            Some(one(words.map(str::to_owned).collect()))
        }
        Value::Array(items) if items.iter().all(Value::is_string) => Some(one(all_strings(node)?)),
        Value::Array(_) => requirements(node),
        Value::Object(by_vocabulary) => {
            let of = |(name, scopes): (&String, &Value)| {
                Some(Alternative { vocabulary: vocabulary(name), scopes: all_strings(scopes)? })
            };
            by_vocabulary.iter().map(of).collect()
        }
        Value::Bool(_) | Value::Number(_) => None,
    }
}

/// `None`: not a list of texts alone.
fn all_strings(node: &Value) -> Option<Vec<String>> {
    node.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A scheme's name as a word of a catalog. `none` is one of the catalog's own.
fn vocabulary(scheme: &str) -> String {
    let word = slug(scheme, '_');
    let letter = word.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if letter && word != "none" { word } else { format!("scheme_{word}") }
}

/// Every scope that a security scheme of the description declares.
fn declared(described: &Value) -> BTreeMap<&str, String> {
    let places = [described.pointer("/components/securitySchemes"), described.get("securityDefinitions")];
    let mut declared = BTreeMap::new();
    for (name, scheme) in places.into_iter().flatten().filter_map(Value::as_object).flatten() {
        let Some(scheme) = resolve(described, scheme) else { continue };
        let flows = scheme.get("flows").and_then(Value::as_object).into_iter().flatten().map(|(_, flow)| flow);
        for scopes in flows.chain([scheme]).filter_map(|flow| flow.get("scopes")).filter_map(Value::as_object) {
            for scope in scopes.keys().filter(|scope| is_scope(scope)) {
                declared.entry(scope.as_str()).or_insert_with(|| vocabulary(name));
            }
        }
    }
    declared
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_are_read_in_the_forms_that_are_in_use() {
        let scopes = |node: Value| {
            listed(&node).map(|all| all.into_iter().map(|one| (one.vocabulary, one.scopes)).collect::<Vec<_>>())
        };
        let of = |vocabulary: &str, words: &[&str]| {
            (vocabulary.to_owned(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(scopes(json!("a b,c")), Some(vec![of("scopes", &["a", "b", "c"])]));
        assert_eq!(scopes(json!(["a", "b"])), Some(vec![of("scopes", &["a", "b"])]));
        assert_eq!(
            scopes(json!({"Bot": ["a"], "none": ["b"]})),
            Some(vec![of("bot", &["a"]), of("scheme_none", &["b"])])
        );
        assert_eq!(scopes(json!([{"x": ["a"], "y": ["b"]}, {}])), Some(vec![of("x", &["a", "b"]), of("scopes", &[])]));
        assert_eq!(scopes(json!(null)), Some(Vec::new()));
        for unread in [json!(true), json!(7), json!([1]), json!({"a": "b"}), json!(["a", {}])] {
            assert_eq!(scopes(unread.clone()), None, "{unread}");
        }
    }
}
