//! `scopegate serve`: the gate. Runs until SIGTERM or SIGINT; SIGHUP looks at the policies at once.

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::{Answer, Failure, Output};
use crate::app::{self, Running};
use crate::authz::catalog::builtin;
use crate::authz::policy::compile::Catalogs;
use crate::config::model::LogFormat;
use crate::config::{self, Config};
use crate::control::digests::{self, Changed};
use crate::problem::{Problem, fill_snippets, render_human};
use crate::shutdown::signalled;
use crate::telemetry::{self, LogTarget};

/// Serves until it is asked to end. `false`: it could not start, or a worker ended by itself.
///
/// # Errors
/// The log or a runtime could not be set up.
pub fn run(config: &Path, output: &mut Output<'_>) -> Answer {
    let config = config::load(config, &|product| builtin::catalog(product).is_some()).map(|checked| (config, checked));
    let (path, config) = match config {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, output),
    };
    let format = match config.log.format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Text => telemetry::LogFormat::Text,
    };
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    telemetry::init(format, LogTarget::Stderr, &filter).map_err(|error| Failure::Other(error.to_string()))?;
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let running = match app::start(&config, absolute(base)?, Some(LogTarget::Stdout.writer())) {
        Ok(running) => running,
        Err(mut problems) => {
            show_lines(&config, &mut problems);
            return refuse(&problems, output);
        }
    };
    let panics = running.metrics.panics();
    telemetry::count_panics(move || panics.inc());
    say(&config, &running);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_asked(running))
}

/// Gives what a start found wanting the line of the configuration that asked for it.
fn show_lines(config: &Config, problems: &mut [Problem]) {
    // It was read a moment ago; without it a problem still says its place.
    let Ok(text) = std::fs::read_to_string(&config.file) else { return };
    for problem in problems.iter_mut().filter(|problem| problem.file == config.file) {
        fill_snippets(std::slice::from_mut(problem), &text);
    }
}

fn absolute(path: PathBuf) -> std::io::Result<PathBuf> {
    if path.as_os_str().is_empty() { std::env::current_dir() } else { std::path::absolute(path) }
}

fn refuse(problems: &[Problem], output: &mut Output<'_>) -> Answer {
    let paint = output.paint.colour;
    output.err.write_all(render_human(problems, paint).as_bytes())?;
    Ok(false)
}

/// A catalog that is another one than at the last start.
fn say_changed_catalogs(state: &Path, catalogs: &Catalogs) {
    match digests::changed(state, catalogs.iter().map(|product| &*product.catalog)) {
        Ok(changed) => changed.iter().for_each(|Changed { product, before, now }| {
            tracing::warn!(
                product,
                release_before = before.release,
                digest_before = before.digest,
                release = now.release,
                digest = now.digest,
                "the catalog is another one than at the last start: `scopegate catalog diff` says what changes"
            );
        }),
        Err(error) => {
            tracing::warn!(%error, "it cannot be told whether a catalog is another one than at the last start")
        }
    }
}

/// What an operator must know before the first request.
fn say(config: &Config, running: &Running) {
    let snapshot = running.live.load();
    for product in snapshot.catalogs.iter() {
        let catalog = &product.catalog;
        tracing::info!(product = &*catalog.product, release = catalog.release, digest = catalog.digest, "catalog");
    }
    if let Some(state) = &config.state {
        say_changed_catalogs(state, &snapshot.catalogs);
    }
    for (gate, address) in config.gates.iter().zip(&running.gates) {
        tracing::info!(gate = gate.name, address = %address, bypass = gate.bypass.as_str(), "gate listens");
        if gate.bypass == config::model::Bypass::Open {
            tracing::warn!(gate = gate.name, "bypass: open: apps can walk around this gate; its answers are advice");
        }
    }
    // Some programs send everything through a proxy that these name. A gate goes where its configuration says.
    let named = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if let Some(name) = named.filter(|_| config.gates.iter().any(|gate| gate.via.is_none())) {
        tracing::warn!("{name} is set and is not read: a gate reaches its upstream through a proxy by `via:` alone");
    }
    if let Some(address) = &running.health {
        tracing::info!(%address, "health listens");
    }
    if let Some(address) = &running.admin {
        tracing::info!(%address, "admin listens");
    }
    for unsound in app::warnings(config).unsound {
        tracing::warn!("{unsound}");
    }
}

/// Serves until a signal, then drains. Ends early, and says no, where the workers have ended by themselves.
async fn until_asked(mut running: Running) -> Answer {
    let mut look = signal(SignalKind::hangup())?;
    let asked = signalled();
    tokio::pin!(asked);
    loop {
        tokio::select! {
            signalled = &mut asked => {
                signalled?;
                break;
            }
            _ = look.recv() => running.look(),
            () = running.workers_ended() => {
                tracing::error!("every worker has ended: the gate ends too");
                running.stop();
                return Ok(false);
            }
        }
    }
    tracing::info!("draining");
    running.drain().await;
    Ok(true)
}
