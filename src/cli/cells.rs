//! `scopegate cells`: what each app holds, cell by cell: tenant, scope, container and actor; and what took it away.

use clap::Args;
use serde_json::json;

use super::load::{self, Loaded};
use super::words::{area_containers, count, with_name};
use super::{Answer, Failure, Format, Output, SourceArgs};
use crate::authz::catalog::Catalog;
use crate::authz::pins::Pins;
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation, LinkedPart};
use crate::authz::policy::area::AreaContext;
use crate::authz::policy::cells::limit_words;
use crate::authz::policy::condition::{Actor, CallerFacts, Condition};
use crate::authz::policy::part::{Grant, Revocation, Takes};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::control::admin::view::CellView;
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

/// Lists the cells.
pub fn run(args: &CellsArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = crate::clock::unix_ms();
    let loaded = load::load(&args.sources.sources()?, now_ms);
    if loaded.has_errors() || loaded.policy().is_none() {
        return super::refuse_broken(&loaded, args.format, output);
    }
    let wanted = Wanted { app: args.app.as_deref(), tenant: args.tenant.as_deref(), limit: usize::MAX };
    let (cells, _) = page(&loaded, args.at.unwrap_or(now_ms), &wanted, None).map_err(Failure::Usage)?;
    match args.format {
        Format::Json => writeln!(output.out, "{}", json!({ "cells": cells }))?,
        Format::Human => human(&loaded, &cells, output)?,
    }
    Ok(true)
}

/// Which cells.
pub struct Wanted<'w> {
    pub app: Option<&'w str>,
    pub tenant: Option<&'w str>,
    pub limit: usize,
}

/// Where a page ends: an app, and how many of its cells were shown.
type Place = (String, usize);

/// The cells by app, from a place on, and where the next page begins.
///
/// # Errors
/// No policy describes the app, or no app is installed in the tenant: that is not "holds nothing".
pub fn page(
    loaded: &Loaded,
    now_ms: i64,
    wanted: &Wanted<'_>,
    after: Option<(&str, usize)>,
) -> Result<(Vec<CellView>, Option<Place>), String> {
    let Some(policy) = loaded.policy() else { return Ok(Default::default()) };
    known(policy, wanted)?;
    let from = |app: &App| after.is_none_or(|(name, _)| *app.name >= *name);
    let mut apps: Vec<(u32, &App)> = (0u32..).zip(policy.apps.iter().map(|app| &**app)).collect();
    apps.retain(|(_, app)| wanted.app.is_none_or(|name| *app.name == *name) && from(app));
    apps.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    let mut cells = Vec::new();
    for (index, app) in apps {
        let Some(product) = loaded.catalogs.get(app.product) else { continue };
        let of = Listing { policy, catalog: &product.catalog, app, index, now_ms };
        let shown = after.filter(|(name, _)| *app.name == **name).map_or(0, |(_, shown)| shown);
        let own = of.sorted(wanted.tenant);
        let room = wanted.limit - cells.len();
        let left = own.len().saturating_sub(shown);
        cells.extend(own.into_iter().skip(shown).take(room));
        if left > room {
            return Ok((cells, Some((app.name.to_string(), shown + room))));
        }
    }
    Ok((cells, None))
}

fn known(policy: &Policy, wanted: &Wanted<'_>) -> Result<(), String> {
    if let Some(name) = wanted.app.filter(|name| policy.app(name).is_none()) {
        let near = did_you_mean(name, policy.apps.iter().map(|app| &*app.name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(format!("no policy describes the app `{name}`{near}"));
    }
    let installed =
        |tenant: &str| policy.apps.iter().any(|app| app.installations.iter().any(|one| *one.tenant == *tenant));
    match wanted.tenant.filter(|tenant| !installed(tenant)) {
        Some(tenant) => Err(format!("no app is installed in `{tenant}`")),
        None => Ok(()),
    }
}

struct Listing<'l> {
    policy: &'l Policy,
    catalog: &'l Catalog,
    app: &'l App,
    index: u32,
    now_ms: i64,
}

impl<'l> Listing<'l> {
    /// The cells of one app, in their order.
    fn sorted(&self, tenant: Option<&str>) -> Vec<CellView> {
        let mut cells = Vec::new();
        let wanted = |one: &&Installation| tenant.is_none_or(|tenant| *one.tenant == *tenant);
        self.app.installations.iter().filter(wanted).for_each(|installation| self.cells(installation, &mut cells));
        cells.sort();
        cells.dedup();
        cells
    }

    fn cells(&self, installation: &'l Installation, cells: &mut Vec<CellView>) {
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
        CallerFacts {
            tenant,
            installation: Some(installation),
            actor,
            user: None,
            groups: None,
            pipeline: None,
            now_ms: self.now_ms,
            gives_ms: self.now_ms,
        }
    }

    fn grant(
        &self,
        installation: &'l Installation,
        linked: &LinkedPart,
        grant: &Grant,
        actor: Actor,
        cells: &mut Vec<CellView>,
    ) {
        let part = &linked.part;
        let (Some(condition), Some(area), Some(scopes)) =
            (part.condition(grant.condition), part.area(grant.area), part.scope_set(grant.scopes))
        else {
            return;
        };
        // Whether it holds for some user and some arguments is what a cell tells; for which user, `explain` does.
        let anyone = Condition { users: None, pipelines: None, ..condition.clone() };
        if anyone.grants(&self.facts(installation, actor), &linked.groups).is_err() {
            return;
        }
        let context =
            AreaContext { catalog: self.catalog, tenant: &installation.tenant, sets: &linked.sets, pins: Pins::none() };
        let containers = area_containers(area, context).unwrap_or_else(|| vec!["all".to_owned()]);
        let only = match (grant.operations, limit_words(self.catalog, &condition.limits), &condition.users) {
            (Some(_), None, _) => Some("in some operations".to_owned()),
            (Some(_), Some(limits), _) => Some(format!("in some operations, where {limits}")),
            (None, Some(limits), _) => Some(format!("where {limits}")),
            (None, None, Some(_)) => Some("for some users".to_owned()),
            (None, None, None) => None,
        };
        let takers = self.takers(installation, actor);
        for scope in scopes.iter() {
            for container in &containers {
                let cell = CellView {
                    app: self.app.name.to_string(),
                    tenant: installation.tenant.to_string(),
                    scope: self.catalog.scope_name(scope).to_owned(),
                    container: container.clone(),
                    actor: actor.as_str().to_owned(),
                    only: only.clone(),
                    held: true,
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
        let context =
            AreaContext { catalog: self.catalog, tenant: &installation.tenant, sets: &linked.sets, pins: Pins::none() };
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
fn add(cell: CellView, scope: ScopeId, takers: &[Taker<'_>], cells: &mut Vec<CellView>) {
    let mut revoked_by = None;
    for taker in takers.iter().filter(|taker| taker.scopes.is_none_or(|set| set.contains(scope))) {
        match &taker.containers {
            None => revoked_by = revoked_by.or_else(|| Some(taker.place.clone())),
            Some(containers) if cell.container == "all" => cells.extend(containers.iter().map(|container| CellView {
                container: container.clone(),
                held: false,
                revoked_by: Some(taker.place.clone()),
                ..cell.clone()
            })),
            Some(containers) if containers.contains(&cell.container) => {
                revoked_by = revoked_by.or_else(|| Some(taker.place.clone()));
            }
            Some(_) => {}
        }
    }
    cells.push(CellView { held: revoked_by.is_none(), revoked_by, ..cell });
}

fn place(linked: &LinkedPart, line: u32) -> String {
    let file = linked.part.file.as_ref().map_or_else(|| "?".to_owned(), |file| file.display().to_string());
    format!("{file}:{line}")
}

fn human(loaded: &Loaded, cells: &[CellView], output: &mut Output<'_>) -> std::io::Result<()> {
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
        let only = cell.only.as_ref().map_or_else(String::new, |only| format!(" {only}"));
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
