//! What `restore` is told to give back, by an act's id, by the file and line that `explain` names, or by what is taken from
//! whom. Only acts can be given back: what is written by hand is named with file and line, for whoever keeps the policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::acts::ActId;
use crate::app::plain;
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, LinkedPart};
use crate::authz::policy::compile::Product;
use crate::authz::policy::part::{Part, Revocation, Takes};
use crate::cli::load::{self, Loaded, Sources};
use crate::config::Config;

/// What is taken, from whom.
#[derive(Debug, Args)]
pub struct Taken {
    /// The app that something is taken from, as product/app
    #[arg(long, required_unless_present = "acts", conflicts_with = "acts")]
    pub app: Option<String>,
    /// In this tenant alone
    #[arg(long, requires = "app")]
    pub tenant: Option<String>,
    /// A scope that is taken [default: whatever is]
    #[arg(long, requires = "app")]
    pub scope: Option<String>,
}

/// What was found for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub acts: BTreeSet<ActId>,
    /// Written by hand: file and line.
    pub by_hand: BTreeSet<(PathBuf, u32)>,
}

/// An act by its id, or by its file and line. What is no act is looked for in the policy.
///
/// # Errors
/// It is neither, or the policy cannot be read.
pub fn by_text(text: &str, path: &Path, config: &Config) -> Result<Found, Failure> {
    let Some((file, line)) = place(text) else {
        let id = ActId::parse(text).ok_or_else(|| Failure::Usage(format!("`{text}` is no id of an act")))?;
        return Ok(Found { acts: [id].into(), ..Found::default() });
    };
    let loaded = loaded(path);
    let overrides = config.overrides.as_deref().map(plain);
    let mut found = Found::default();
    for (at, named) in policy(&loaded)?.apps.iter().flat_map(|app| rules(app)).chain(guardrail_rules(policy(&loaded)?))
    {
        if named == line && is_same_file(&at, &file) {
            found.add(&at, named, overrides.as_deref());
        }
    }
    Ok(found)
}

/// Whatever takes this from the app.
///
/// # Errors
/// The app or the scope is not known, or the policy cannot be read.
pub fn by_taken(taken: &Taken, path: &Path, config: &Config) -> Result<Found, Failure> {
    let loaded = loaded(path);
    let policy = policy(&loaded)?;
    let name = taken.app.as_deref().unwrap_or_default();
    let unknown = |what: String| Failure::Other(format!("{what}: `scopegate apps` lists them"));
    let (index, app) = policy.app(name).ok_or_else(|| unknown(format!("no document describes the app `{name}`")))?;
    let product = loaded.catalogs.get(app.product).ok_or_else(|| unknown(format!("`{name}` is of no product")))?;
    if let Some(scope) = taken.scope.as_deref().filter(|scope| product.scope(scope).is_none()) {
        return Err(Failure::Other(format!("{} has no scope `{scope}`", product.catalog.product)));
    }
    let overrides = config.overrides.as_deref().map(plain);
    let mut found = Found::default();
    let guardrails = policy.product(app.product).map_or(&[][..], |product| &product.guardrails[..]);
    let reaching = guardrails.iter().filter(|guardrail| guardrail.apps.reaches(Some(index)));
    for linked in app.parts.iter().chain(reaching.map(|guardrail| &guardrail.linked)) {
        let takes = |one: &&Revocation| takes(one, &linked.part, product, taken);
        for revocation in linked.part.revocations.iter().filter(takes) {
            if let Some(file) = &linked.part.file {
                found.add(file, revocation.line, overrides.as_deref());
            }
        }
    }
    let here =
        app.installations.iter().filter(|one| taken.tenant.as_deref().is_none_or(|tenant| *one.tenant == *tenant));
    for (file, line) in here.filter_map(|one| one.suspended.as_ref()) {
        found.add(file, *line, overrides.as_deref());
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, file: &Path, line: u32, overrides: Option<&Path>) {
        match ActId::of_file(file).filter(|_| overrides.is_some_and(|folder| file.starts_with(folder))) {
            Some(act) => drop(self.acts.insert(act)),
            None => drop(self.by_hand.insert((file.to_path_buf(), line))),
        }
    }
}

fn takes(revocation: &Revocation, part: &Part, product: &Product, taken: &Taken) -> bool {
    let scope = taken.scope.as_deref().and_then(|scope| product.scope(scope));
    let of_scope = match (scope, revocation.takes) {
        (None, _) | (Some(_), Takes::Everything) => true,
        (Some(scope), Takes::Scopes(set)) => part.scope_set(set).is_none_or(|set| set.contains(scope)),
    };
    let tenants = part.condition(revocation.condition).and_then(|condition| condition.tenants.as_ref());
    let here = |tenant: &str| tenants.is_none_or(|tenants| tenants.iter().any(|one| **one == *tenant));
    of_scope && taken.tenant.as_deref().is_none_or(here)
}

/// Every place where something is taken from an app by its own documents, or it is suspended.
fn rules(app: &App) -> Vec<(PathBuf, u32)> {
    let suspended = app.installations.iter().filter_map(|one| one.suspended.as_ref());
    let suspended = suspended.map(|(file, line)| (file.to_path_buf(), *line));
    app.parts.iter().flat_map(places).chain(suspended).collect()
}

fn guardrail_rules(policy: &Policy) -> impl Iterator<Item = (PathBuf, u32)> {
    policy.guardrails().flat_map(|guardrail| places(&guardrail.linked))
}

fn places(linked: &LinkedPart) -> impl Iterator<Item = (PathBuf, u32)> {
    let part = &linked.part;
    part.file.iter().flat_map(|file| part.revocations.iter().map(|one| (file.to_path_buf(), one.line)))
}

/// `policies/tracker.yaml:12`
fn place(text: &str) -> Option<(PathBuf, u32)> {
    let (file, line) = text.rsplit_once(':')?;
    Some((PathBuf::from(file), line.parse().ok()?))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    one.ends_with(other) || real(one) == real(other)
}

fn loaded(path: &Path) -> Loaded {
    let sources = Sources { config: Some(path.to_path_buf()), ..Sources::default() };
    load::load(&sources, crate::clock::unix_ms())
}

fn policy(loaded: &Loaded) -> Result<&Policy, Failure> {
    let broken = || Failure::Other("the policy is broken: `scopegate check` says where".to_owned());
    loaded.policy().map(|policy| &**policy).ok_or_else(broken)
}
