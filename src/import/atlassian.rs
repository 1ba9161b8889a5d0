//! Atlassian's descriptions: Jira's platform API, both of Confluence's, Bitbucket's.
//!
//! The rules, each against a trap of the descriptions:
//! - `{}` and `basicAuth` in `security` are alternatives for people and the public, never for an app.
//! - Where `security` and `x-atlassian-oauth2-scopes` differ, the line asks for both: the stricter reading.
//! - `Current` is one line (all of it), `Beta` is one line (all of it); the two are alternatives.
//! - `INACCESSIBLE` closes the operation to Connect. `NONE` is a scope like any other.

mod bitbucket;
mod confluence;
mod jira;

use std::collections::BTreeSet;

use serde_json::Value;

use super::description::{Described, strings};
use super::draft::{Draft, DraftLine, DraftOperation, DraftPlace};
use super::{ImportError, Notes};

/// Lines by vocabulary.
type Needs = Vec<(String, Vec<DraftLine>)>;

/// Whose description it is, by its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    Jira,
    Confluence(confluence::Version),
    Bitbucket,
}

impl Product {
    fn of(title: &str) -> Option<Self> {
        let known = [
            ("Jira Cloud platform", Self::Jira),
            ("Confluence REST V1", Self::Confluence(confluence::Version::One)),
            ("Confluence Cloud REST API v2", Self::Confluence(confluence::Version::Two)),
            ("Bitbucket API", Self::Bitbucket),
        ];
        known.into_iter().find(|(words, _)| title.contains(words)).map(|(_, product)| product)
    }
}

/// Imports one description, or Confluence's two, in either order.
pub fn import(descriptions: &[Value], release: Option<&str>, notes: &mut Notes) -> Result<Draft, ImportError> {
    let mut products = Vec::new();
    for description in descriptions {
        let title = description.pointer("/info/title").and_then(Value::as_str).unwrap_or_default();
        let product = Product::of(title).ok_or_else(|| {
            let known = "the Jira Cloud platform, Confluence v1 and v2, and Bitbucket Cloud are known";
            ImportError::Shape(format!("`{title}` is no description of Atlassian's that can be read: {known}"))
        })?;
        products.push((product, description));
    }
    match products.as_slice() {
        [(Product::Jira, description)] => jira::import(description, release, notes),
        [(Product::Bitbucket, description)] => bitbucket::import(description, release, notes),
        [(Product::Confluence(version), description)] => {
            confluence::import(&[(*version, *description)], release, notes)
        }
        [(Product::Confluence(one), first), (Product::Confluence(other), second)] if one != other => {
            confluence::import(&[(*one, *first), (*other, *second)], release, notes)
        }
        _ => Err(ImportError::Shape("one description makes a catalog, or Confluence's v1 and v2 together".to_owned())),
    }
}

/// The release as YAML.
fn release_of(asked: Option<&str>, written_for: &str) -> String {
    super::draft::scalar(asked.unwrap_or(written_for))
}

fn line<'d>(scopes: impl IntoIterator<Item = &'d &'d str>) -> Vec<DraftLine> {
    let scopes: BTreeSet<&str> = scopes.into_iter().copied().collect();
    vec![DraftLine::all(scopes.into_iter().map(str::to_owned).collect())]
}

/// The scopes of every alternative of this scheme together. `{}` and `basicAuth` have none.
fn security<'d>(operation: &Described<'d>, scheme: &str) -> BTreeSet<&'d str> {
    let alternatives = operation.node.get("security").and_then(Value::as_array).into_iter().flatten();
    alternatives.flat_map(|alternative| strings(alternative.get(scheme))).collect()
}

fn stated<'d>(operation: &Described<'d>, state: &str) -> BTreeSet<&'d str> {
    let entries = operation.node.get("x-atlassian-oauth2-scopes").and_then(Value::as_array).into_iter().flatten();
    let of_state = entries.filter(|entry| entry.get("state").and_then(Value::as_str) == Some(state));
    of_state.flat_map(|entry| strings(entry.get("scopes"))).collect()
}

/// What a Connect app needs; nothing where it is closed to all of them.
fn connect(operation: &Described<'_>) -> Option<(String, Vec<DraftLine>)> {
    let scope = operation.node.get("x-atlassian-connect-scope").and_then(Value::as_str)?;
    (scope != "INACCESSIBLE").then(|| ("connect".to_owned(), line(&[scope])))
}

/// What the description leaves open of an operation.
fn note_open(draft: &DraftOperation, notes: &mut Notes) {
    let DraftOperation { id, needs, places, proposed, .. } = draft;
    if needs.is_empty() {
        notes.add("needs: unknown, no scope is stated for any app: refused until the overlay says more", id);
    }
    if places.is_empty() {
        notes.add("no container in path, query or top level of the body: the whole tenant", id);
    }
    if *proposed {
        notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", id);
    }
}

/// The vendor's own word on whether its app-access rule passes this operation by.
fn exempt(operation: &Described<'_>) -> Option<bool> {
    let policies = operation.node.get("x-atlassian-data-security-policy")?.as_array()?;
    policies.iter().find_map(|policy| policy.get("app-access-rule-exempt"))?.as_bool()
}

/// Of several places an absent one is told by the others.
fn settle_absence(places: &mut [DraftPlace]) {
    if places.len() > 1 {
        for place in places.iter_mut().filter(|place| place.absent.is_some()) {
            place.absent = Some("skip");
        }
    }
}
