//! `scopegate cells`: what each app holds, cell by cell: tenant, scope, container and actor; and what took it away.

use clap::Args;
use serde_json::{Value, json};

use super::load::{self, Loaded};
use super::words::{area_containers, count, with_name};
use super::{Answer, Failure, Format, Output, SourceArgs};
use crate::authz::catalog::Catalog;
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation, LinkedPart};
use crate::authz::policy::area::AreaContext;
use crate::authz::policy::condition::{Actor, CallerFacts, Condition};
use crate::authz::policy::part::{Grant, Revocation, Takes};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::problem::{did_you_mean, escaped};

#[derive(Debug, Args)]
pub struct CellsArgs {
    /// Only this app
    #[arg(long)]
    pub app: Option<String>,
    /// Only this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// The time to judge by (RFC 3339); absent, now
    #[arg(long, value_parser = super::explain::time_of)]
    pub at: Option<i64>,
    #[command(flatten)]
    pub sources: SourceArgs,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// One thing that an app holds, or would hold if it were not revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    app: String,
    tenant: String,
    scope: String,
    /// `all`, or `project=SEC`.
    container: String,
    actor: &'static str,
    /// What limits the grant besides: operations, users.
    only: Option<&'static str>,
    /// `file:line` of the revocation that takes it.
    revoked_by: Option<String>,
    granted_by: String,
}

/// Lists the cells.
pub fn run(args: &CellsArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = crate::live::unix_ms();
    let loaded = load::load(&args.sources.sources()?, now_ms);
    let Some(policy) = loaded.policy().filter(|_| !loaded.has_errors()) else {
        return super::refuse_broken(&loaded, args.format, output);
    };
    if let Some(name) = args.app.as_ref().filter(|name| policy.app(name).is_none()) {
        let near = did_you_mean(name, policy.apps.iter().map(|app| &*app.name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::Usage(format!("no policy describes the app `{name}`{near}")));
    }
    let mut cells = Vec::new();
    for (index, app) in (0u32..).zip(&policy.apps) {
        let Some(product) = loaded.catalogs.get(app.product) else { continue };
        let of = Listing { policy, catalog: &product.catalog, app, index, now_ms: args.at.unwrap_or(now_ms) };
        let wanted = args.app.as_ref().is_none_or(|name| **name == *app.name);
        let installations = app
            .installations
            .iter()
            .filter(|one| wanted && args.tenant.as_ref().is_none_or(|tenant| **tenant == *one.tenant));
        installations.for_each(|installation| of.cells(installation, &mut cells));
    }
    cells.sort();
    cells.dedup();
    match args.format {
        Format::Json => writeln!(output.out, "{}", json!({ "cells": cells.iter().map(json_of).collect::<Vec<_>>() }))?,
        Format::Human => human(&loaded, &cells, output)?,
    }
    Ok(true)
}

struct Listing<'l> {
    policy: &'l Policy,
    catalog: &'l Catalog,
    app: &'l App,
    index: u32,
    now_ms: i64,
}

impl<'l> Listing<'l> {
    fn cells(&self, installation: &'l Installation, cells: &mut Vec<Cell>) {
        for linked in &self.app.parts {
            for grant in linked.part.grants.iter().filter(|grant| !grant.shadow) {
                for actor in [Actor::App, Actor::User] {
                    self.grant(installation, linked, grant, actor, cells);
                }
            }
        }
    }

    fn facts(&self, installation: &'l Installation, actor: Actor) -> CallerFacts<'l> {
        let tenant = &installation.tenant;
        CallerFacts { tenant, installation: Some(installation), actor, user: None, pipeline: None, now_ms: self.now_ms }
    }

    fn grant(
        &self,
        installation: &'l Installation,
        linked: &LinkedPart,
        grant: &Grant,
        actor: Actor,
        cells: &mut Vec<Cell>,
    ) {
        let part = &linked.part;
        let (Some(condition), Some(area), Some(scopes)) =
            (part.condition(grant.condition), part.area(grant.area), part.scope_set(grant.scopes))
        else {
            return;
        };
        // Whether it holds for some user is what a cell tells; for which, `explain` does.
        let anyone = Condition { users: None, pipelines: None, ..condition.clone() };
        if anyone.grants(&self.facts(installation, actor), &linked.groups).is_err() {
            return;
        }
        let context = AreaContext { catalog: self.catalog, tenant: &installation.tenant, sets: &linked.sets };
        let containers = area_containers(area, context).unwrap_or_else(|| vec!["all".to_owned()]);
        let only = match (grant.operations, &condition.users) {
            (Some(_), _) => Some("in some operations"),
            (None, Some(_)) => Some("for some users"),
            (None, None) => None,
        };
        let takers = self.takers(installation, actor);
        for scope in scopes.iter() {
            for container in &containers {
                let cell = Cell {
                    app: self.app.name.to_string(),
                    tenant: installation.tenant.to_string(),
                    scope: self.catalog.scope_name(scope).to_owned(),
                    container: container.clone(),
                    actor: actor.as_str(),
                    only,
                    revoked_by: None,
                    granted_by: place(linked, grant.line),
                };
                add(cell, scope, &takers, cells);
            }
        }
    }

    /// The revocations that take whole scopes from this installation and actor, each with its containers.
    fn takers(&self, installation: &'l Installation, actor: Actor) -> Vec<Taker<'l>> {
        let guardrails = self.policy.product(self.app.product).map_or(&[][..], |product| &product.guardrails[..]);
        let reached = guardrails.iter().filter(|guardrail| guardrail.apps.reaches(Some(self.index)));
        let all = self.app.parts.iter().chain(reached.map(|guardrail| &guardrail.linked));
        let facts = self.facts(installation, actor);
        let takers = all.flat_map(|linked| linked.part.revocations.iter().map(move |rule| (linked, rule)));
        takers.filter_map(|(linked, rule)| self.taker(installation, linked, rule, &facts)).collect()
    }

    fn taker(
        &self,
        installation: &Installation,
        linked: &'l LinkedPart,
        rule: &Revocation,
        facts: &CallerFacts<'_>,
    ) -> Option<Taker<'l>> {
        let part = &linked.part;
        let condition = part.condition(rule.condition)?;
        // One that takes single operations, or from single users, leaves the cell.
        let whole = rule.operations.is_none() && condition.users.is_none() && condition.pipelines.is_none();
        if rule.shadow || !whole || !condition.revokes(facts, &linked.groups) {
            return None;
        }
        let context = AreaContext { catalog: self.catalog, tenant: &installation.tenant, sets: &linked.sets };
        Some(Taker {
            scopes: match rule.takes {
                Takes::Everything => None,
                Takes::Scopes(set) => part.scope_set(set),
            },
            containers: area_containers(part.area(rule.area)?, context),
            place: place(linked, rule.line),
        })
    }
}

struct Taker<'l> {
    /// `None`: every scope.
    scopes: Option<&'l ScopeSet>,
    /// `None`: everywhere.
    containers: Option<Vec<String>>,
    place: String,
}

/// Adds a cell; where a revocation takes a container out of `all`, that container is a cell of its own.
fn add(cell: Cell, scope: ScopeId, takers: &[Taker<'_>], cells: &mut Vec<Cell>) {
    let mut revoked_by = None;
    for taker in takers.iter().filter(|taker| taker.scopes.is_none_or(|set| set.contains(scope))) {
        match &taker.containers {
            None => revoked_by = revoked_by.or_else(|| Some(taker.place.clone())),
            Some(containers) if cell.container == "all" => cells.extend(containers.iter().map(|container| Cell {
                container: container.clone(),
                revoked_by: Some(taker.place.clone()),
                ..cell.clone()
            })),
            Some(containers) if containers.contains(&cell.container) => {
                revoked_by = revoked_by.or_else(|| Some(taker.place.clone()));
            }
            Some(_) => {}
        }
    }
    cells.push(Cell { revoked_by, ..cell });
}

fn place(linked: &LinkedPart, line: u32) -> String {
    let file = linked.part.file.as_ref().map_or_else(|| "?".to_owned(), |file| file.display().to_string());
    format!("{file}:{line}")
}

fn human(loaded: &Loaded, cells: &[Cell], output: &mut Output<'_>) -> std::io::Result<()> {
    let paint = output.paint;
    let policy = loaded.policy().map(|policy| &**policy);
    let mut group = None;
    for cell in cells {
        if group != Some((&cell.app, &cell.tenant)) {
            group = Some((&cell.app, &cell.tenant));
            writeln!(output.out, "{}", paint.bold(&escaped(&format!("{} in {}", cell.app, cell.tenant))))?;
        }
        let product = cell.app.split('/').next().unwrap_or_default();
        let container = match cell.container.split_once('=') {
            Some((kind, id)) => format!("{kind} {}", with_name(policy, product, &cell.tenant, id)),
            None => cell.container.clone(),
        };
        let only = cell.only.map_or_else(String::new, |only| format!(" {only}"));
        let state = match &cell.revoked_by {
            None => format!("{}  {}", paint.green("held   "), paint.dim(&cell.granted_by)),
            Some(by) => format!("{}  {}", paint.red("revoked"), paint.dim(by)),
        };
        let what = escaped(&format!("{:<40} {:<22} {:<4}{only}", cell.scope, container, cell.actor));
        writeln!(output.out, "  {what}  {state}")?;
    }
    let revoked = cells.iter().filter(|cell| cell.revoked_by.is_some()).count();
    writeln!(output.out, "{}, {revoked} revoked", count(cells.len(), "cell"))
}

fn json_of(cell: &Cell) -> Value {
    json!({
        "app": cell.app, "tenant": cell.tenant, "scope": cell.scope, "container": cell.container, "actor": cell.actor,
        "only": cell.only, "held": cell.revoked_by.is_none(), "granted_by": cell.granted_by,
        "revoked_by": cell.revoked_by,
    })
}
