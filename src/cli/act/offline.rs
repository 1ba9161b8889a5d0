//! The same without a running gate: policies are read as a gate reads them, and the act is written for the next one.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::store::{Change, Store};
use crate::acts::done::{Done, Listed};
use crate::acts::draft::RefusedCode;
use crate::acts::order::Order;
use crate::acts::promote::promoted;
use crate::acts::{Act, ActId, Refused, draft};
use crate::app::acts::{lapsed, reached};
use crate::app::plain;
use crate::authz::policy::store::Content;
use crate::cli::Failure;
use crate::cli::load::{self, Loaded, Sources};
use crate::config::Config;
use crate::control::overrides::{NotWritten, Overrides, random};
use crate::control::usage::shadowed;

/// Carries an order out.
///
/// # Errors
/// The policy is broken, or the act cannot be written.
pub fn carry_out(
    order: &Order,
    path: &Path,
    config: &Config,
    dry_run: bool,
) -> Result<Result<Done, Box<Refused>>, Failure> {
    let now_ms = crate::clock::unix_ms();
    let began = Instant::now();
    let mut store = Store::open(config, path, now_ms)?;
    let before = loaded(path, None, now_ms)?;
    let Some(policy) = before.policy() else { return Err(broken(&before)) };
    let draft = match draft(order, policy, &before.catalogs, now_ms, random()) {
        Ok(draft) => draft,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut done = Done::of(&draft);
    if order.act.only_takes() {
        done.notes.extend(config.walked_around(&done.apps));
    }
    if let Err(refused) = changed(&mut done, path, config, &draft.act, false, &before, now_ms)? {
        return Ok(Err(refused));
    }
    finish(done, dry_run, began, &mut store, &Change::Add(draft.act))
}

/// Takes an act back, or promotes it.
///
/// # Errors
/// As [`carry_out`].
pub fn undo(
    word: &str,
    id: &ActId,
    path: &Path,
    config: &Config,
    dry_run: bool,
) -> Result<Result<Done, Box<Refused>>, Failure> {
    let now_ms = crate::clock::unix_ms();
    let began = Instant::now();
    let mut store = Store::open(config, path, now_ms)?;
    let before = loaded(path, None, now_ms)?;
    let Some(act) = store.folder().read(id) else {
        let missing = NotWritten::NoSuchAct(id.clone());
        return Ok(Err(Box::new(Refused::new(RefusedCode::NotFound, missing.to_string(), missing.help()))));
    };
    let is_gone = word == "restore";
    let act = match is_gone {
        true => act,
        false => match promoted(&act) {
            Ok(act) => act,
            Err(refused) => return Ok(Err(refused)),
        },
    };
    let mut done = Done::of_act(&act);
    if !is_gone {
        done.would_have_refused = shadowed::words(config.state.as_deref().map(plain).as_deref(), &act.id);
    }
    if let Err(refused) = changed(&mut done, path, config, &act, is_gone, &before, now_ms)? {
        return Ok(Err(refused));
    }
    let change = if is_gone { Change::Remove(act) } else { Change::Replace(act) };
    finish(done, dry_run, began, &mut store, &change)
}

/// What commands wrote.
///
/// # Errors
/// The folder cannot be read.
pub fn listed(config: &Config) -> Result<Vec<Listed>, Failure> {
    let store = Store::open(config, &config.file, crate::clock::unix_ms())?;
    let acts = store.folder().list().map_err(failed)?;
    let mut listed: Vec<Listed> = acts.iter().map(|act| store.listed(act)).collect();
    listed.extend(store.kept_out());
    Ok(listed)
}

fn finish(
    mut done: Done,
    dry_run: bool,
    began: Instant,
    store: &mut Store,
    change: &Change,
) -> Result<Result<Done, Box<Refused>>, Failure> {
    done.dry_run = dry_run;
    if dry_run {
        return Ok(Ok(done));
    }
    let reach = match store.write(change)? {
        Ok(reach) => reach,
        Err(refused) => return Ok(Err(refused)),
    };
    match reach {
        Some(reach) => {
            done.in_force = reached(&reach, began);
            done.notes.extend(lapsed(&reach));
            done.notes.push("no gate answers on the admin listener: it was written to the bucket from here".into());
        }
        None => done
            .notes
            .push("no gate answers on the admin listener: it is in force in each one that reads this folder".into()),
    }
    Ok(Ok(done))
}

/// Fills in what would change, or says why the act would be kept out.
fn changed(
    done: &mut Done,
    path: &Path,
    config: &Config,
    act: &Act,
    is_gone: bool,
    before: &Loaded,
    now_ms: i64,
) -> Result<Result<(), Box<Refused>>, Failure> {
    let file: Arc<Path> = overrides(config)?.file(&act.id).into();
    let content = if is_gone { Content::Gone } else { Content::Text(Arc::clone(&act.text)) };
    let after = loaded(path, Some((file, content)), now_ms)?;
    let known = |problem: &crate::problem::Problem| before.problems.iter().any(|old| old.message == problem.message);
    if let Some(problem) = after.problems.iter().find(|problem| problem.is_error() && !known(problem)) {
        let help = problem.help.clone().unwrap_or_default();
        return Ok(Err(Box::new(Refused::new(RefusedCode::Unsound, problem.message.clone(), help))));
    }
    done.changes(&before.snapshot, &after.snapshot);
    Ok(Ok(()))
}

fn loaded(path: &Path, with: Option<(Arc<Path>, Content)>, now_ms: i64) -> Result<Loaded, Failure> {
    let sources = Sources { config: Some(path.to_path_buf()), ..Sources::default() };
    let loaded = load::load_with(&sources, with, now_ms);
    if loaded.policy().is_none() { Err(broken(&loaded)) } else { Ok(loaded) }
}

/// What is wrong with the policy and this file, where a broken one is expected.
pub fn problems_with(path: &Path, with: Option<(Arc<Path>, Content)>, now_ms: i64) -> Vec<crate::problem::Problem> {
    let sources = Sources { config: Some(path.to_path_buf()), ..Sources::default() };
    load::load_with(&sources, with, now_ms).problems
}

fn broken(loaded: &Loaded) -> Failure {
    let errors: Vec<_> = loaded.problems.iter().filter(|problem| problem.is_error()).cloned().collect();
    Failure::Other(format!("the policy is broken\n{}", crate::problem::render_human(&errors, false)))
}

pub fn overrides(config: &Config) -> Result<Overrides, Failure> {
    let folder = config.overrides.as_deref().map(plain);
    folder.map(Overrides::new).ok_or_else(|| {
        Failure::Other(format!(
            "{} has neither `state` nor `overrides`: write `state: ../state`, in which acts lie",
            config.file.display()
        ))
    })
}

pub fn failed(error: NotWritten) -> Failure {
    Failure::Other(format!("{error}\n{}", error.help()))
}
