//! Whom each revocation reaches and how far, and what else a grant that is limited to containers refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::authz::catalog::{Catalog, Needs, Operation};
use crate::authz::policy::Policy;
use crate::authz::policy::app::App;
use crate::authz::policy::condition::Condition;
use crate::authz::policy::part::{Part, Revocation, Takes};
use crate::authz::policy::reach::{other_sides, refuses, refuses_in_part};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::cli::load::Loaded;
use crate::cli::words::{area_yaml, count, first_of, granted_scopes, taken_scopes};

/// So many operations are named, the others counted.
const NAMED_MAX: usize = 5;

/// How far one rule reaches.
#[derive(Debug)]
pub struct Reach {
    pub file: Arc<Path>,
    pub line: u32,
    pub what: String,
    pub apps: Vec<String>,
    pub tenants: Vec<String>,
    /// Operations that it refuses where it holds.
    pub operations: usize,
    /// Those of them that reach the whole tenant, though the rule is limited to containers.
    pub tenant_operations: usize,
    pub says: Vec<String>,
}

/// The reach of every revocation, guardrail and container-limited grant. Empty where something is broken.
pub fn reach(loaded: &Loaded) -> Vec<Reach> {
    let Some(policy) = loaded.policy() else { return Vec::new() };
    let mut all = Vec::new();
    for app in &policy.apps {
        let Some(product) = loaded.catalogs.get(app.product) else { continue };
        for linked in &app.parts {
            let of = Rules { catalog: &product.catalog, part: &linked.part };
            all.extend(linked.part.revocations.iter().map(|rule| of.revocation(rule, &[app], None)));
            all.extend(of.limited_grants(app));
        }
    }
    // A guardrail that speaks of several products is there once for each; where it reaches nobody is told once at most.
    let mut idle: Vec<Reach> = Vec::new();
    for product in loaded.catalogs.iter() {
        let guardrails = policy.product(product.id).map_or(&[][..], |product| &product.guardrails[..]);
        for guardrail in guardrails {
            let apps: Vec<&Arc<App>> = apps_of(policy, |index| guardrail.apps.reaches(Some(index)))
                .filter(|app| app.product == product.id)
                .collect();
            let part = &guardrail.linked.part;
            let of = Rules { catalog: &product.catalog, part };
            let reached = part.revocations.iter().map(|rule| of.revocation(rule, &apps, Some(&guardrail.name)));
            let (idling, reaching): (Vec<_>, Vec<_>) = reached.partition(|one| one.apps.is_empty());
            all.extend(reaching);
            idle.extend(idling);
        }
    }
    for one in idle {
        if !all.iter().any(|other| other.line == one.line && other.file == one.file) {
            all.push(one);
        }
    }
    // Apps too, for one rule may reach apps of several products.
    all.sort_by(|a, b| (&a.file, a.line, &a.what, &a.apps).cmp(&(&b.file, b.line, &b.what, &b.apps)));
    all
}

fn apps_of(policy: &Policy, reached: impl Fn(u32) -> bool) -> impl Iterator<Item = &Arc<App>> {
    (0u32..).zip(&policy.apps).filter(move |(index, _)| reached(*index)).map(|(_, app)| app)
}

/// The rules of one part, in its catalog's words.
struct Rules<'r> {
    catalog: &'r Catalog,
    part: &'r Part,
}

impl Rules<'_> {
    fn revocation(&self, rule: &Revocation, apps: &[&Arc<App>], guardrail: Option<&str>) -> Reach {
        let condition = self.part.condition(rule.condition);
        let (cells, apps, tenants) = cells(apps, condition);
        let area = self.part.area(rule.area);
        let within = area.map_or_else(String::new, |area| area_yaml(self.catalog, self.part, area));
        let limited = area.is_some_and(|area| !area.is_all());
        let (operations, whole) = self.refused(rule);
        let in_part = self.refused_in_part(rule);
        let mut says = vec![match cells {
            0 => "reaches no app that is installed".to_owned(),
            _ => format!("reaches {} in {}", few(&apps), few(&tenants)),
        }];
        let everything = rule.takes == Takes::Everything && rule.operations.is_none();
        if !limited && !everything && !operations.is_empty() {
            let names = first_of(&operations, NAMED_MAX);
            says.push(format!("refuses {} ({names})", count(operations.len(), "operation")));
        }
        if limited && !whole.is_empty() {
            let names = first_of(&whole, NAMED_MAX);
            says.push(format!("also refuses {} ({names})", of_the_tenant(whole.len())));
        }
        if !everything && !in_part.is_empty() {
            let names = first_of(&in_part, NAMED_MAX);
            let number = count(in_part.len(), "operation");
            says.push(format!("also refuses what asks for it by an argument in {number} ({names})"));
        }
        says.extend(other_sides(self.catalog, self.part, rule));
        if rule.shadow {
            says = says.into_iter().map(|line| line.replacen("refuses ", "would refuse ", 1)).collect();
        }
        Reach {
            file: self.part.file.clone().unwrap_or_else(|| Arc::from(Path::new("?"))),
            line: rule.line,
            what: self.what(rule, guardrail, &within, condition),
            apps,
            tenants,
            operations: operations.len(),
            tenant_operations: whole.len(),
            says,
        }
    }

    fn what(&self, rule: &Revocation, guardrail: Option<&str>, within: &str, condition: Option<&Condition>) -> String {
        let who = guardrail.map_or_else(|| "revocation".to_owned(), |name| format!("guardrail {name}"));
        let takes = match rule.operations {
            Some(_) if rule.takes == Takes::Everything => "takes operations".to_owned(),
            _ => format!("takes {}", taken_scopes(self.catalog, self.part, rule.takes)),
        };
        let mut text = format!("{who} {takes}, in: {within}");
        if let Some(condition) = condition {
            let actors: Vec<&str> = condition.actors.words().collect();
            if let [one] = &actors[..] {
                text.push_str(&format!(", as {one}"));
            }
            if condition.unless_install_window {
                text.push_str(", unless the install window is open");
            }
        }
        if rule.shadow {
            text.push_str(", in shadow mode: it takes nothing");
        }
        text
    }

    /// The operations that a revocation refuses wherever it holds, and those of them that reach the whole tenant.
    fn refused(&self, rule: &Revocation) -> (Vec<&str>, Vec<&str>) {
        let takes = |scope: ScopeId| match rule.takes {
            Takes::Everything => true,
            Takes::Scopes(set) => self.part.scope_set(set).is_none_or(|set| set.contains(scope)),
        };
        let refused = (0u16..).zip(&self.catalog.operations).filter(|(number, operation)| {
            let id = crate::authz::catalog::OperationId(*number);
            self.part.speaks_of(rule.operations, id) && refuses(self.catalog, operation, &takes)
        });
        let refused: Vec<&Operation> = refused.map(|(_, operation)| operation).collect();
        let whole = refused.iter().filter(|one| one.is_of_the_tenant());
        let whole = whole.map(|one| &*one.id).collect();
        (refused.iter().map(|one| &*one.id).collect(), whole)
    }

    /// The operations of which it refuses some requests alone.
    fn refused_in_part(&self, rule: &Revocation) -> Vec<&str> {
        let takes = |scope: ScopeId| match rule.takes {
            Takes::Everything => true,
            Takes::Scopes(set) => self.part.scope_set(set).is_none_or(|set| set.contains(scope)),
        };
        let refused = (0u16..).zip(&self.catalog.operations).filter(|(number, operation)| {
            let id = crate::authz::catalog::OperationId(*number);
            self.part.speaks_of(rule.operations, id) && refuses_in_part(self.catalog, operation, &takes)
        });
        refused.map(|(_, operation)| &*operation.id).collect()
    }

    /// What a grant that is limited to containers cannot give: operations that reach the whole tenant.
    fn limited_grants(&self, app: &App) -> Vec<Reach> {
        let everywhere: ScopeSet = {
            let grants = self.part.grants.iter().filter(|grant| !grant.shadow);
            let open = grants.filter(|grant| self.part.area(grant.area).is_some_and(|area| area.is_all()));
            open.filter_map(|grant| self.part.scope_set(grant.scopes)).flat_map(ScopeSet::iter).collect()
        };
        let limited = self.part.grants.iter().filter_map(|grant| {
            let area = self.part.area(grant.area).filter(|area| !area.is_all())?;
            let scopes = self.part.scope_set(grant.scopes)?;
            let whole: Vec<&str> = self
                .catalog
                .operations
                .iter()
                .filter(|operation| {
                    operation.is_of_the_tenant()
                        && has_line(operation, |scope| scopes.contains(scope))
                        && !has_line(operation, |scope| everywhere.contains(scope))
                })
                .map(|operation| &*operation.id)
                .collect();
            if whole.is_empty() {
                return None;
            }
            let names = first_of(&whole, NAMED_MAX);
            let (_, apps, tenants) = cells_of(app, self.part.condition(grant.condition));
            Some(Reach {
                file: self.part.file.clone()?,
                line: grant.line,
                what: format!(
                    "grant of {}, in: {}",
                    granted_scopes(self.catalog, scopes),
                    area_yaml(self.catalog, self.part, area)
                ),
                apps,
                tenants,
                operations: 0,
                tenant_operations: whole.len(),
                says: vec![format!("also refuses {} ({names})", of_the_tenant(whole.len()))],
            })
        });
        limited.collect()
    }
}

/// Whether some line is held whole by these scopes.
pub fn has_line(operation: &Operation, held: impl Fn(ScopeId) -> bool) -> bool {
    let Needs::Lines(vocabularies) = &operation.needs else { return false };
    let mut lines = vocabularies.iter().flat_map(|one| one.lines.iter());
    lines.any(|line| line.scopes.iter().all(|scope| held(*scope)))
}

/// How many installations a rule reaches, of which apps, in which tenants.
fn cells(apps: &[&Arc<App>], condition: Option<&Condition>) -> (usize, Vec<String>, Vec<String>) {
    let (mut number, mut names, mut tenants) = (0, BTreeSet::new(), BTreeSet::new());
    for app in apps {
        let (own, _, reached) = cells_of(app, condition);
        number += own;
        if own > 0 {
            names.insert(app.name.to_string());
        }
        tenants.extend(reached);
    }
    (number, names.into_iter().collect(), tenants.into_iter().collect())
}

fn cells_of(app: &App, condition: Option<&Condition>) -> (usize, Vec<String>, Vec<String>) {
    let named = condition.and_then(|condition| condition.tenants.as_ref());
    let reached = app
        .installations
        .iter()
        .filter(|one| named.is_none_or(|named| named.iter().any(|tenant| **tenant == *one.tenant)));
    let tenants: Vec<String> = reached.map(|one| one.tenant.to_string()).collect();
    (tenants.len(), vec![app.name.to_string()], tenants)
}

fn few(names: &[String]) -> String {
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.len() {
        0..=NAMED_MAX => borrowed.join(", "),
        number => format!("{number} ({})", first_of(&borrowed, NAMED_MAX)),
    }
}

/// `3 operations that reach the whole tenant`
fn of_the_tenant(number: usize) -> String {
    format!("{} that {} the whole tenant", count(number, "operation"), if number == 1 { "reaches" } else { "reach" })
}
