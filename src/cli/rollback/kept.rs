//! What was taken since the target of a rollback, as rules of their own: revocations cell by cell, and suspensions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::super::words::time_text;
use crate::authz::policy::Policy;
use crate::authz::policy::cells::{FactKind, Freed, Place, Right, Terms, widening};
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::link::Reached;
use crate::control::journal::entry::text_digest;

/// One rule that stays unless it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of its content, so that it is the same from one run to the next.
    pub id: String,
    pub words: String,
    head: Head,
    /// One YAML flow map.
    rule: String,
}

/// The document that a rule stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Head {
    Revocations(Arc<str>),
    Suspensions(Arc<str>),
    /// For all apps of a product but some: product, `except`, tenant.
    Guardrail(Arc<str>, Vec<String>, Option<Arc<str>>),
}

/// What of one rule differs from cell to cell: its rights, for one place and actor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Topic {
    head: Head,
    tenant: Option<Arc<str>>,
    place: Place,
    terms: Terms,
    users: Option<Vec<String>>,
    pipelines: Option<Vec<String>>,
    operation: Option<String>,
    everything: bool,
}

/// What `current` takes and `other` does not.
pub fn of(current: &Policy, other: &Policy, catalogs: &Catalogs, now_ms: i64, sequence: u64) -> Vec<Kept> {
    let wider = widening(current, other, catalogs, now_ms);
    let mut topics: BTreeMap<Topic, (BTreeSet<&'static str>, BTreeSet<String>)> = BTreeMap::new();
    for freed in &wider.freed {
        let (topic, scopes) = topic(freed, current, catalogs);
        let (actors, all) = topics.entry(topic).or_default();
        actors.insert(freed.cell.actor);
        all.extend(scopes);
    }
    let mut kept: Vec<Kept> =
        topics.into_iter().map(|(topic, (actors, scopes))| topic.kept(&actors, &scopes, sequence)).collect();
    let suspended = wider.facts.iter().filter(|fact| fact.kind == FactKind::Suspension);
    kept.extend(suspended.map(|fact| {
        let rule = format!("{{tenants: [{}], {}}}", json!(&*fact.tenant), signed(sequence));
        let words = format!("{} in {} is suspended", fact.app, fact.tenant);
        Kept::new(Head::Suspensions(Arc::clone(&fact.app)), rule, words)
    }));
    kept
}

/// Documents that say these rules.
pub fn yaml(kept: &[&Kept]) -> String {
    let mut documents: BTreeMap<&Head, Vec<&str>> = BTreeMap::new();
    for one in kept {
        documents.entry(&one.head).or_default().push(&one.rule);
    }
    let mut text = String::new();
    for (number, (head, rules)) in documents.into_iter().enumerate() {
        text.push_str(if number == 0 { "version: 1\n" } else { "---\nversion: 1\n" });
        text.push_str(&match head {
            Head::Revocations(app) => format!("app: {}\nrevocations:\n", json!(&**app)),
            Head::Suspensions(app) => format!("app: {}\nsuspensions:\n", json!(&**app)),
            Head::Guardrail(product, except, tenant) => {
                let tenants =
                    tenant.as_ref().map_or_else(|| "all".to_owned(), |tenant| format!("[{}]", json!(&**tenant)));
                // Of its content: two rollbacks must not claim one name.
                let name = text_digest(&format!("{head:?}{rules:?}"));
                let name = name.get(..12).unwrap_or_default();
                let except = json!(except);
                let except = if except == json!([]) { String::new() } else { format!(", except: {except}") };
                format!(
                    "guardrail: kept-{name}\napps: {{product: {}{except}}}\ntenants: {tenants}\nrevocations:\n",
                    json!(&**product)
                )
            }
        });
        for rule in rules {
            text.push_str(&format!("  - {rule}\n"));
        }
    }
    text
}

fn signed(sequence: u64) -> String {
    format!("by: scopegate rollback, reason: newer than entry {sequence} of the journal")
}

fn topic(freed: &Freed, current: &Policy, catalogs: &Catalogs) -> (Topic, Vec<String>) {
    let tenant = freed.cell.tenant.as_ref().map(|tenant| Arc::clone(&tenant.id));
    let head = match &freed.app {
        Some(app) => Head::Revocations(Arc::clone(app)),
        None => Head::Guardrail(Arc::clone(&freed.product), excepted(freed, current, catalogs), tenant.clone()),
    };
    let (operation, everything, scopes) = match &freed.cell.right {
        Right::Everything => (None, true, Vec::new()),
        Right::AllScopes => (None, false, vendor_scopes(freed, catalogs)),
        Right::Scope(scope) => (None, false, vec![scope.clone()]),
        Right::Operation(operation) => (Some(operation.clone()), true, Vec::new()),
        Right::ScopeIn { operation, scope } => (Some(operation.clone()), false, vec![scope.clone()]),
    };
    let topic = Topic {
        head,
        tenant,
        place: freed.cell.place.clone(),
        terms: freed.cell.terms.clone(),
        users: freed.users.clone(),
        pipelines: freed.pipelines.clone(),
        operation,
        everything,
    };
    (topic, scopes)
}

/// The apps that the guardrail did not reach must not be reached by what takes its place.
fn excepted(freed: &Freed, current: &Policy, catalogs: &Catalogs) -> Vec<String> {
    let product = catalogs.by_name(&freed.product).and_then(|product| current.product(product.id));
    let name = freed.cell.subject.strip_prefix("guardrail ").unwrap_or(&freed.cell.subject);
    let guardrail = product.and_then(|product| product.guardrails.iter().find(|one| *one.name == *name));
    match guardrail.map(|guardrail| &guardrail.apps) {
        Some(Reached::AllBut(except)) => {
            let apps = except.iter().filter_map(|index| current.apps.get(*index as usize));
            apps.map(|app| app.name.to_string())
                .filter(|name| name.starts_with(&format!("{}/", freed.product)))
                .collect()
        }
        Some(Reached::Only(_)) | None => Vec::new(),
    }
}

fn vendor_scopes(freed: &Freed, catalogs: &Catalogs) -> Vec<String> {
    let catalog = catalogs.by_name(&freed.product).map(|product| &product.catalog);
    let names = catalog.into_iter().flat_map(|catalog| {
        catalog.vendor_scopes.iter().map(|scope| catalog.scope_name(scope).to_owned()).collect::<Vec<_>>()
    });
    names.collect()
}

impl Topic {
    fn kept(self, actors: &BTreeSet<&'static str>, scopes: &BTreeSet<String>, sequence: u64) -> Kept {
        let mut parts = Vec::new();
        match (self.everything, &self.operation) {
            (true, None) => parts.push("scopes: all".to_owned()),
            (true, Some(operation)) => parts.push(format!("operations: [{}]", json!(operation))),
            (false, operation) => {
                parts.push(format!("scopes: {}", json!(scopes)));
                parts.extend(operation.iter().map(|operation| format!("operations: [{}]", json!(operation))));
            }
        }
        parts.push(match &self.place {
            Place::Everywhere => "in: all".to_owned(),
            Place::Container { kind, container } => format!("in: {{{}: [{}]}}", json!(&**kind), json!(&*container.id)),
        });
        if actors.len() == 1 {
            parts.push(format!("actors: {}", json!(actors)));
        }
        if !matches!(self.head, Head::Guardrail(..)) {
            parts.extend(self.tenant.iter().map(|tenant| format!("tenants: [{}]", json!(&**tenant))));
        }
        parts.extend(self.users.iter().map(|users| format!("users: {{ids: {}}}", json!(users))));
        parts.extend(self.pipelines.iter().map(|pipelines| format!("pipelines: {}", json!(pipelines))));
        let valid: Vec<String> = [
            self.terms.from_ms.map(|at| format!("from: {}", json!(whole_seconds(at, false)))),
            self.terms.until_ms.map(|at| format!("until: {}", json!(whole_seconds(at, true)))),
            self.terms.after_install_ms.map(|span| format!("after_install: {span}ms")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !valid.is_empty() {
            parts.push(format!("valid: {{{}}}", valid.join(", ")));
        }
        if self.terms.unless_install_window {
            parts.push("unless: install_window".to_owned());
        }
        let words = self.words(actors, scopes);
        let rule = format!("{{{}, {}}}", parts.join(", "), signed(sequence));
        Kept::new(self.head, rule, words)
    }

    fn words(&self, actors: &BTreeSet<&'static str>, scopes: &BTreeSet<String>) -> String {
        let what = match (self.everything, &self.operation) {
            (true, None) => "everything".to_owned(),
            (true, Some(operation)) => operation.clone(),
            (false, None) => scopes.iter().cloned().collect::<Vec<_>>().join(", "),
            (false, Some(operation)) => {
                format!("{} for {operation}", scopes.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        };
        let whom = match &self.head {
            Head::Revocations(app) | Head::Suspensions(app) => app.to_string(),
            Head::Guardrail(product, ..) => format!("all apps of {product}"),
        };
        let tenant = self.tenant.as_ref().map_or_else(String::new, |tenant| format!(" in {tenant}"));
        let actor = if actors.len() == 1 {
            format!(", as {}", actors.iter().copied().collect::<String>())
        } else {
            String::new()
        };
        let users = self.users.as_ref().map_or_else(String::new, |users| format!(", for {}", users.join(", ")));
        format!("{whom}{tenant} is kept from {what}, {}{actor}{users}", self.place)
    }
}

/// A rule may not begin later or end sooner than what it stands for.
fn whole_seconds(unix_ms: i64, up: bool) -> String {
    let seconds = if up { unix_ms.saturating_add(999).div_euclid(1_000) } else { unix_ms.div_euclid(1_000) };
    time_text(seconds.saturating_mul(1_000))
}

impl Kept {
    fn new(head: Head, rule: String, words: String) -> Self {
        let id = text_digest(&format!("{head:?} {rule}")).get(..8).unwrap_or_default().to_owned();
        Self { id, words, head, rule }
    }
}
