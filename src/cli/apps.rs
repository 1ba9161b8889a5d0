//! `scopegate apps`: which apps there are, where they are installed, and what rules them. Digests are never printed.

mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::load::{self, Loaded};
use super::usage::{Left, left};
use super::words::{count, time_text};
use super::{Answer, Format, Output, SourceArgs};
use crate::authz::catalog::Catalog;
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::credentials::Proof;
use crate::authz::policy::reach::other_side;
use crate::control::admin::view::{AppView, InstallationView, SideView};
use crate::control::usage::reading::Older;
use crate::problem::escaped;

#[derive(Debug, Args)]
pub struct AppsArgs {
    #[command(flatten)]
    pub sources: SourceArgs,
    /// Whom gates under `observe` pass though no policy ever named their credential, with the YAML that would
    #[arg(long)]
    pub seen: bool,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Lists the apps by name.
pub fn run(args: &AppsArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = crate::clock::unix_ms();
    let loaded = load::load(&args.sources.sources()?, now_ms);
    if args.seen {
        // A broken policy keeps nobody from being told who was seen.
        return seen::run(args, &loaded, output);
    }
    let Some(policy) = loaded.policy().filter(|_| !loaded.has_errors()) else {
        return super::refuse_broken(&loaded, args.format, output);
    };
    let listed: Vec<Listed<'_>> =
        (0u32..).zip(&policy.apps).filter_map(|(index, app)| Listed::of(&loaded, policy, index, app)).collect();
    match args.format {
        Format::Json => {
            let state = loaded.config.as_ref().and_then(|config| config.state.as_deref());
            let (left, older) =
                state.map_or_else(|| Ok(Default::default()), |state| left(state, None, &loaded.catalogs))?;
            let with_left = |one: &Listed<'_>| {
                let mut app = one.json(now_ms);
                let own: Vec<Value> =
                    left.iter().filter(|left| *left.made.app == *one.app.name).map(Left::json).collect();
                let aggregated: Vec<&Older> = older.iter().filter(|older| *older.app == *one.app.name).collect();
                // Without a state folder nobody knows: that is not "nothing".
                let known = state.is_some();
                if let Value::Object(members) = &mut app {
                    let shown = |value: Value| if known { value } else { Value::Null };
                    members.insert("outlasting".to_owned(), shown(json!(own)));
                    members.insert("outlasting_older".to_owned(), shown(json!(aggregated)));
                }
                app
            };
            let apps: Vec<Value> = listed.iter().map(with_left).collect();
            writeln!(output.out, "{}", json!({ "apps": apps }))?;
        }
        Format::Human => {
            listed.iter().try_for_each(|one| one.human(now_ms, output))?;
            writeln!(output.out, "{}", count(listed.len(), "app"))?;
        }
    }
    Ok(true)
}

/// The first so many apps by name whose name is wanted.
pub fn views(loaded: &Loaded, now_ms: i64, wanted: impl Fn(&str) -> bool, limit: usize) -> Vec<AppView> {
    let Some(policy) = loaded.policy() else { return Vec::new() };
    let mut named: Vec<(u32, &Arc<App>)> = (0u32..).zip(&policy.apps).filter(|(_, app)| wanted(&app.name)).collect();
    named.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    let views = named.into_iter().filter_map(|(index, app)| Some(Listed::of(loaded, policy, index, app)?.view(now_ms)));
    views.take(limit).collect()
}

struct Listed<'l> {
    app: &'l Arc<App>,
    catalog: &'l Catalog,
    /// By installation: method and kind of each credential, and how many there are of it.
    credentials: Vec<BTreeMap<String, usize>>,
    grants: usize,
    revocations: usize,
    guardrails: Vec<&'l str>,
    /// Scopes that it is granted and that rule something other than operations.
    sides: Vec<(&'l str, &'static str)>,
}

impl<'l> Listed<'l> {
    fn of(loaded: &'l Loaded, policy: &'l Policy, index: u32, app: &'l Arc<App>) -> Option<Self> {
        let catalog = &loaded.catalogs.get(app.product)?.catalog;
        let product = policy.product(app.product)?;
        let mut credentials = vec![BTreeMap::new(); app.installations.len()];
        let known = product.credentials.all();
        for credential in known.filter(|one| one.app == index) {
            let method = match &credential.proof {
                Proof::GateKey { .. } => "gate_key",
                Proof::Token => "token",
                Proof::ConnectJwt { .. } => "connect_jwt",
                Proof::Client { by, .. } => by.as_str(),
            };
            let kind = catalog.kinds.get(usize::from(credential.kind.0)).map_or("?", |kind| &*kind.name);
            if let Some(own) = credentials.get_mut(usize::from(credential.installation)) {
                *own.entry(format!("{kind} by {method}")).or_insert(0) += 1;
            }
        }
        let guardrails = product.guardrails.iter().filter(|guardrail| guardrail.apps.reaches(Some(index)));
        let parts = || app.parts.iter().map(|linked| &linked.part);
        Some(Self {
            app,
            catalog,
            credentials,
            grants: parts().map(|part| part.grants.len()).sum(),
            revocations: parts().map(|part| part.revocations.len()).sum(),
            guardrails: guardrails.map(|guardrail| &*guardrail.name).collect(),
            sides: sides(app, catalog),
        })
    }

    fn human(&self, now_ms: i64, output: &mut Output<'_>) -> std::io::Result<()> {
        let (app, paint) = (self.app, output.paint);
        let out = &mut output.out;
        writeln!(out, "{}  {} ({})", paint.bold(&app.name), escaped(&app.title), escaped(&app.contact))?;
        for (installation, credentials) in app.installations.iter().zip(&self.credentials) {
            writeln!(out, "  in {}", escaped(&installation_text(installation, credentials, now_ms)))?;
        }
        writeln!(out, "  {}, {}", count(self.grants, "grant"), count(self.revocations, "revocation"))?;
        if !self.guardrails.is_empty() {
            writeln!(out, "  under {}: {}", count(self.guardrails.len(), "guardrail"), self.guardrails.join(", "))?;
        }
        for (scope, side) in &self.sides {
            writeln!(out, "  {scope} rules {side}")?;
        }
        writeln!(out)
    }

    fn json(&self, now_ms: i64) -> Value {
        json!(self.view(now_ms))
    }

    fn view(&self, now_ms: i64) -> AppView {
        let app = self.app;
        let installations = app.installations.iter().zip(&self.credentials);
        let side =
            |(scope, rules): &(&str, &'static str)| SideView { scope: (*scope).to_owned(), rules: (*rules).to_owned() };
        AppView {
            app: app.name.to_string(),
            name: app.title.to_string(),
            contact: app.contact.to_string(),
            product: self.catalog.product.to_string(),
            installations: installations
                .map(|(one, credentials)| installation_view(one, credentials, now_ms))
                .collect(),
            grants: self.grants,
            revocations: self.revocations,
            guardrails: self.guardrails.iter().map(|name| (*name).to_owned()).collect(),
            other_sides: self.sides.iter().map(side).collect(),
        }
    }
}

fn installation_view(one: &Installation, credentials: &BTreeMap<String, usize>, now_ms: i64) -> InstallationView {
    InstallationView {
        tenant: one.tenant.to_string(),
        tenant_name: one.tenant_name.as_deref().map(str::to_owned),
        installed_at: one.installed_at_ms.map(time_text),
        install_window_open: one.window_open(now_ms, now_ms),
        observe_until: one.observe_until_ms.map(time_text),
        observed: one.observed(now_ms),
        suspended: one.suspended.as_ref().map(|(file, line)| format!("{}:{line}", file.display())),
        credentials: credentials.clone(),
    }
}

fn installation_text(installation: &Installation, credentials: &BTreeMap<String, usize>, now_ms: i64) -> String {
    let mut text = installation.tenant.to_string();
    if let Some(name) = &installation.tenant_name {
        text.push_str(&format!(" ({name})"));
    }
    if let Some(at) = installation.installed_at_ms {
        text.push_str(&format!(", since {}", time_text(at)));
    }
    let words: Vec<String> = credentials
        .iter()
        .map(|(what, number)| match number {
            1 => what.clone(),
            number => format!("{number} × {what}"),
        })
        .collect();
    text.push_str(&format!(", credentials: {}", if words.is_empty() { "none".to_owned() } else { words.join(", ") }));
    if installation.window_open(now_ms, now_ms) {
        text.push_str(", install window open");
    }
    if let Some(until) = installation.observe_until_ms {
        let word = if installation.observed(now_ms) { "under observe until" } else { "observe ended" };
        text.push_str(&format!(", {word} {}", time_text(until)));
    }
    if let Some((file, line)) = &installation.suspended {
        text.push_str(&format!(", SUSPENDED by {}:{line}", file.display()));
    }
    text
}

/// What the app is granted that no request through a gate shows.
fn sides<'c>(app: &App, catalog: &'c Catalog) -> Vec<(&'c str, &'static str)> {
    let granted = |index: usize| {
        let scope = crate::authz::scope::ScopeId::new(index);
        app.parts.iter().any(|linked| {
            linked.part.grants.iter().any(|grant| {
                let set = linked.part.scope_set(grant.scopes);
                // `scopes: all` says nothing of a single scope.
                set.is_some_and(|set| {
                    !catalog.vendor_scopes.is_subset(set) && scope.is_some_and(|scope| set.contains(scope))
                })
            })
        })
    };
    let scopes = catalog.scopes.iter().enumerate().filter(|(index, _)| granted(*index));
    let side = |index| other_side(catalog, crate::authz::scope::ScopeId::new(index)?);
    scopes.filter_map(|(index, scope)| Some((&*scope.name, side(index)?))).collect()
}
