//! What a policy says, cell by cell: who is given or denied which right, where, as whom, on what terms.
//!
//! For people: `cells` lists them, `diff` and the log of a reload say which of them changed. Nothing is decided here.

mod atoms;
mod clock;
mod compare;
mod diff;
mod place;
mod words;

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use clock::{next_moment, passed};
pub use compare::{Fact, FactKind, Freed, Widening, widening};
pub use diff::{Changes, between};
pub use place::Place;

use super::Policy;
use super::app::{App, Installation, LinkedPart};
use super::area::AreaContext;
use super::compile::{Catalogs, Product};
use super::condition::{Condition, LinkedGroups, UserGroup};
use super::limit::{Allowed, Limits};
use super::link::{LinkedGuardrail, Reached};
use super::part::{Grant, Part, Revocation, Takes};
use crate::authz::catalog::limits::LimitId;
use crate::authz::catalog::{Catalog, Operation};
use crate::authz::pins::Pins;
use crate::authz::scope::ScopeSet;

/// So many members of a group are written out.
const MEMBERS_MAX: usize = 10;

/// Whether a rule gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    Gives,
    Takes,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gives => "gives",
            Self::Takes => "takes",
        }
    }
}

/// What is given or taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Every scope, guard and call.
    Everything,
    /// Every scope of the vendor's.
    AllScopes,
    Scope(String),
    /// An operation, under whatever scope.
    Operation(String),
    /// A scope in one operation only.
    ScopeIn {
        operation: String,
        scope: String,
    },
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::AllScopes => f.write_str("all scopes"),
            Self::Scope(scope) => f.write_str(scope),
            Self::Operation(operation) => f.write_str(operation),
            Self::ScopeIn { operation, scope } => write!(f, "{scope} for {operation}"),
        }
    }
}

/// An id with its reading name. What people call it makes no difference to what it is.
#[derive(Debug, Clone)]
pub struct Named {
    pub id: Arc<str>,
    pub name: Option<Arc<str>>,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

/// `T024BE7LD (Acme Corp)`
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// On what terms a rule holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Terms {
    /// `U0DANA, group agents (U0LEE)`
    pub users: Option<String>,
    pub pipelines: Option<String>,
    /// Unix time in milliseconds.
    pub from_ms: Option<i64>,
    /// Unix time in milliseconds.
    pub until_ms: Option<i64>,
    pub after_install_ms: Option<i64>,
    pub unless_install_window: bool,
    /// `webhook_host hooks.example.com or *.example.org`
    pub limits: Option<String>,
}

/// One right, in one place, as one actor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// `slack/assist`, or `guardrail no-standing-admin`.
    pub subject: Arc<str>,
    /// The apps that a guardrail reaches; `None` for an app's own rules.
    pub reaches: Option<Arc<str>>,
    /// `None`: every tenant (of a guardrail).
    pub tenant: Option<Named>,
    pub effect: Effect,
    pub place: Place,
    /// `app` or `user`
    pub actor: &'static str,
    pub terms: Terms,
    pub right: Right,
}

/// A cell, and the rule that says so.
#[derive(Debug, Clone)]
pub struct Said {
    pub cell: Cell,
    pub file: Option<Arc<Path>>,
    pub line: u32,
    /// It would, but does not: `mode: shadow`.
    pub shadow: bool,
}

/// Every cell of a policy: apps by name, then guardrails. What revocations take is listed beside what grants give.
pub fn cells<'p>(policy: &'p Policy, catalogs: &'p Catalogs) -> impl Iterator<Item = Said> + 'p {
    let apps = policy.apps.iter().flat_map(move |app| app_cells(policy, catalogs, app));
    apps.chain(catalogs.iter().flat_map(move |product| guardrail_cells(policy, product)))
}

/// The cells of one app's own rules.
pub fn app_cells<'p>(policy: &'p Policy, catalogs: &'p Catalogs, app: &'p App) -> impl Iterator<Item = Said> + 'p {
    let product = catalogs.get(app.product);
    product.into_iter().flat_map(move |product| {
        app.parts.iter().flat_map(move |linked| {
            app.installations.iter().flat_map(move |installation| {
                let view = View::of_app(policy, product, app, installation, linked);
                view.rules().flat_map(move |rule| view.clone().said(rule))
            })
        })
    })
}

/// The cells of the guardrails of one product.
pub fn guardrail_cells<'p>(policy: &'p Policy, product: &'p Product) -> impl Iterator<Item = Said> + 'p {
    let guardrails = policy.product(product.id).map_or(&[][..], |product| &product.guardrails[..]);
    guardrails.iter().flat_map(move |guardrail| {
        let reaches: Arc<str> = reached(policy, product, guardrail).into();
        let subject: Arc<str> = format!("guardrail {}", guardrail.name).into();
        let base = View { policy, product, subject, reaches: Some(reaches), tenant: None, linked: &guardrail.linked };
        base.rules().flat_map(move |rule| {
            let base = base.clone();
            base.tenants_of(rule).into_iter().flat_map(move |tenant| View { tenant, ..base.clone() }.said(rule))
        })
    })
}

/// `all apps of jira but jira/backup`
fn reached(policy: &Policy, product: &Product, guardrail: &LinkedGuardrail) -> String {
    let names = |indices: &[u32]| {
        let names =
            indices.iter().filter_map(|index| policy.apps.get(*index as usize)).filter(|app| app.product == product.id);
        names.map(|app| &*app.name).collect::<Vec<_>>().join(", ")
    };
    let all = || format!("all apps of {}", product.catalog.product);
    match &guardrail.apps {
        Reached::AllBut(except) if names(except).is_empty() => all(),
        Reached::AllBut(except) => format!("{} but {}", all(), names(except)),
        Reached::Only(apps) => names(apps),
    }
}

/// A grant or a revocation.
#[derive(Clone, Copy)]
enum Rule<'p> {
    Grant(&'p Grant),
    Revocation(&'p Revocation),
}

/// One part, as it holds for one tenant.
#[derive(Clone)]
struct View<'p> {
    policy: &'p Policy,
    product: &'p Product,
    subject: Arc<str>,
    reaches: Option<Arc<str>>,
    tenant: Option<Named>,
    linked: &'p LinkedPart,
}

impl<'p> View<'p> {
    fn of_app(
        policy: &'p Policy,
        product: &'p Product,
        app: &App,
        installation: &Installation,
        linked: &'p LinkedPart,
    ) -> Self {
        let tenant = Named { id: Arc::clone(&installation.tenant), name: installation.tenant_name.clone() };
        Self { policy, product, subject: Arc::clone(&app.name), reaches: None, tenant: Some(tenant), linked }
    }

    fn part(&self) -> &'p Part {
        &self.linked.part
    }

    fn catalog(&self) -> &'p Catalog {
        &self.product.catalog
    }

    fn rules(&self) -> impl Iterator<Item = Rule<'p>> + use<'p> {
        let grants = self.part().grants.iter().map(Rule::Grant);
        grants.chain(self.part().revocations.iter().map(Rule::Revocation))
    }

    fn condition(&self, rule: Rule<'_>) -> Option<&'p Condition> {
        self.part().condition(match rule {
            Rule::Grant(grant) => grant.condition,
            Rule::Revocation(revocation) => revocation.condition,
        })
    }

    /// The tenants that a guardrail's rule names, each by itself; one `None` where it names none.
    fn tenants_of(&self, rule: Rule<'_>) -> Vec<Option<Named>> {
        match self.condition(rule).and_then(|condition| condition.tenants.as_deref()) {
            None => vec![None],
            Some(tenants) => tenants.iter().map(|id| Some(Named { id: (**id).into(), name: None })).collect(),
        }
    }

    fn said(self, rule: Rule<'p>) -> Box<dyn Iterator<Item = Said> + 'p> {
        let Some(condition) = self.condition(rule).filter(|condition| self.holds_here(condition)) else {
            return Box::new(std::iter::empty());
        };
        let (effect, rights, area, line, shadow) = match rule {
            Rule::Grant(grant) => (Effect::Gives, self.given(grant), grant.area, grant.line, grant.shadow),
            Rule::Revocation(one) => (Effect::Takes, self.taken(one), one.area, one.line, one.shadow),
        };
        let terms = terms(self.catalog(), condition, &self.linked.groups);
        let places = self.part().area(area).map(|area| place::places(self.policy, self.product, area, &self.context()));
        let file = self.part().file.clone();
        let actors = condition.actors;
        Box::new(places.unwrap_or_default().into_iter().flat_map(move |(tenant, place)| {
            let base = Cell {
                subject: Arc::clone(&self.subject),
                reaches: self.reaches.clone(),
                tenant: self.tenant.clone().or(tenant),
                effect,
                place,
                actor: "",
                terms: terms.clone(),
                right: Right::Everything,
            };
            let (file, rights) = (file.clone(), rights.clone());
            actors.words().flat_map(move |actor| {
                let (file, base) = (file.clone(), base.clone());
                rights.clone().into_iter().map(move |right| Said {
                    cell: Cell { actor, right, ..base.clone() },
                    file: file.clone(),
                    line,
                    shadow,
                })
            })
        }))
    }

    fn holds_here(&self, condition: &Condition) -> bool {
        match (&condition.tenants, &self.tenant) {
            (Some(tenants), Some(here)) => tenants.iter().any(|tenant| **tenant == *here.id),
            (None, _) | (_, None) => true,
        }
    }

    fn context(&self) -> AreaContext<'_> {
        let tenant = self.tenant.as_ref().map_or("", |tenant| &*tenant.id);
        AreaContext { catalog: self.catalog(), tenant, sets: &self.linked.sets, pins: Pins::none() }
    }

    fn given(&self, grant: &Grant) -> Vec<Right> {
        let set = self.part().scope_set(grant.scopes).copied().unwrap_or_default();
        match self.operations(grant.operations) {
            Some(operations) => operations.flat_map(|one| self.in_operation(one, &set)).collect(),
            None => self.scopes(&set),
        }
    }

    fn taken(&self, revocation: &Revocation) -> Vec<Right> {
        let operations = self.operations(revocation.operations);
        match (revocation.takes, operations) {
            (Takes::Everything, None) => vec![Right::Everything],
            (Takes::Everything, Some(operations)) => {
                operations.map(|operation| Right::Operation(operation.id.to_string())).collect()
            }
            (Takes::Scopes(number), operations) => {
                let set = self.part().scope_set(number).copied().unwrap_or_default();
                match operations {
                    Some(operations) => operations.flat_map(|one| self.scopes_in(one, &set)).collect(),
                    None => self.scopes(&set),
                }
            }
        }
    }

    fn operations(&self, number: Option<std::num::NonZeroU32>) -> Option<impl Iterator<Item = &'p Operation>> {
        let number = usize::try_from(number?.get()).ok()?.checked_sub(1)?;
        let (part, catalog) = (self.part(), self.catalog());
        let ids = part.operation_sets.get(number).map_or(&[][..], |ids| &ids[..]);
        Some(ids.iter().filter_map(move |id| catalog.operations.get(usize::from(id.0))))
    }

    fn scopes(&self, set: &ScopeSet) -> Vec<Right> {
        if *set == self.catalog().vendor_scopes {
            return vec![Right::AllScopes];
        }
        set.iter().filter_map(|scope| self.scope_name(scope)).map(Right::Scope).collect()
    }

    /// An operation whose lines are all given is given as a whole.
    fn in_operation(&self, operation: &Operation, set: &ScopeSet) -> Vec<Right> {
        let lines: ScopeSet = operation.all_scopes.iter().filter(|scope| !operation.guards.contains(scope)).collect();
        if lines.is_subset(set) {
            vec![Right::Operation(operation.id.to_string())]
        } else {
            self.scopes_in(operation, set)
        }
    }

    fn scopes_in(&self, operation: &Operation, set: &ScopeSet) -> Vec<Right> {
        let needed = operation.any_scopes();
        let scopes = needed.iter().filter(|scope| set.contains(*scope));
        let names = scopes.filter_map(|scope| self.scope_name(scope));
        names.map(|scope| Right::ScopeIn { operation: operation.id.to_string(), scope }).collect()
    }

    fn scope_name(&self, scope: crate::authz::scope::ScopeId) -> Option<String> {
        self.catalog().scopes.get(scope.index()).map(|scope| scope.name.to_string())
    }
}

fn terms(catalog: &Catalog, condition: &Condition, groups: &LinkedGroups) -> Terms {
    Terms {
        users: condition.users.as_ref().map(|users| {
            let groups = users.groups.iter().filter_map(|reference| groups.get(usize::from(*reference))).flatten();
            let groups = groups.map(|group| format!("group {} ({})", group.name, members(group)));
            users.ids.iter().map(ToString::to_string).chain(groups).collect::<Vec<_>>().join(", ")
        }),
        pipelines: condition.pipelines.as_ref().map(|pipelines| pipelines.join(", ")),
        from_ms: condition.from_ms,
        until_ms: condition.until_ms,
        after_install_ms: condition.after_install_ms,
        unless_install_window: condition.unless_install_window,
        limits: limit_words(catalog, &condition.limits),
    }
}

/// What `where` says, in words.
pub fn limit_words(catalog: &Catalog, limits: &Limits) -> Option<String> {
    let one = |(limit, allowed): (LimitId, &[Allowed])| {
        let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        format!("{} {allowed}", catalog.limit_name(limit))
    };
    let words = limits.iter().map(one).collect::<Vec<_>>().join(", ");
    (!limits.is_empty()).then_some(words)
}

fn members(group: &UserGroup) -> String {
    let mut names: Vec<Box<str>> = group.users.iter().cloned().collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MEMBERS_MAX);
    names.truncate(MEMBERS_MAX);
    let claimed = group.claimed();
    names.extend(claimed);
    let shown = names.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
