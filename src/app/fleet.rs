//! The fleet's part of the wiring: the task that follows the bucket, and what it needs of both planes.

use std::sync::Arc;

use super::plain;
use crate::authz::policy::file::Origin;
use crate::config::Config;
use crate::control::fleet::{Around, Fleet, Refusals, Settings, Task};
use crate::control::health::Readiness;
use crate::control::reload::Reloader;
use crate::control::reload::force::Force;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::proxy::worker::Fence;

/// What the control thread runs beside its listeners.
pub(super) type Follow = Option<(Task, Around)>;

/// Where this configuration finds its bucket, with the folder as the loader names it.
pub fn settings(config: &Config) -> Option<Settings> {
    let settings = Settings::of(config)?;
    Some(Settings { acts: plain(&settings.acts), ..settings })
}

/// Reads what is known. From here on the gate is not ready until it is in sync. `None`: acts lie in a folder.
pub(super) fn open(config: &Config, readiness: &Readiness) -> Result<Option<(Task, Fleet)>, Vec<Problem>> {
    let Some(settings) = settings(config) else { return Ok(None) };
    let at = settings.bucket.at;
    let opened = Task::open(settings, readiness.clone());
    opened.map(Some).map_err(|error| {
        let help = "the gate must know what was revoked: mend the state folder";
        vec![Problem::error(&config.file, at, format!("the known overrides cannot be read: {error}")).help(help)]
    })
}

pub(super) fn split(
    opened: Option<(Task, Fleet)>,
    reloader: &Reloader,
    force: &Force,
    refusals: Refusals,
    metrics: &Arc<Metrics>,
    fence: &Fence,
) -> (Option<Fleet>, Follow) {
    let Some((task, fleet)) = opened else { return (None, None) };
    let (passed, judged) = (fence.clone(), fence.clone());
    let around = Around {
        force: force.clone(),
        try_out: reloader.try_out(),
        holder: reloader.holder(),
        hints: reloader.hints(Origin::Override),
        metrics: Arc::clone(metrics),
        refusals,
        passed: Box::new(move || {
            let fence = passed.clone();
            Box::pin(async move { fence.passed().await })
        }),
        judged: Box::new(move |generation| {
            let fence = judged.clone();
            Box::pin(async move { fence.streams_judged(generation).await })
        }),
    };
    (Some(fleet), Some((task, around)))
}
