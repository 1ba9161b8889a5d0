//! What outlives a restart, as the gate runs: kept where the configuration names a state folder, off without one.

use std::sync::Arc;
use std::time::Duration;

use crate::app::plain;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::control::clock::ClockKeeper;
use crate::control::health::Readiness;
use crate::control::journal::database::Bounds;
use crate::control::journal::{self, Journal, JournalWriter};
use crate::control::usage::{Asked, Noticed, UsageKeeper};
use crate::live::Live;
use crate::metrics::Metrics;

/// How long whoever wants to read counts waits for them to be written.
pub(super) const FLUSH: Duration = Duration::from_secs(1);

/// The threads that write to the state folder.
#[derive(Debug, Default)]
pub(super) struct Kept {
    journal: Option<JournalWriter>,
    usage: Option<UsageKeeper>,
    clock: Option<ClockKeeper>,
}

/// The clock, after what was kept of it.
///
/// # Errors
/// That cannot be read: what had ended might hold again.
pub(super) fn clock(config: &Config) -> std::io::Result<Arc<Clock>> {
    let kept = config.state.as_deref().map(|state| clock::read(&plain(state))).transpose().map_err(|error| {
        let help = "clock.json in the state folder tells what had ended; where the system's clock is right, remove it";
        std::io::Error::new(error.kind(), format!("{error}: {help}"))
    })?;
    Ok(Arc::new(Clock::start(kept.flatten().as_ref())))
}

/// Starts them, before anything is in force that they would have to be told of.
pub(super) fn start(
    config: &Config,
    live: &Arc<Live>,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
) -> std::io::Result<Kept> {
    let folder = config.state.as_deref().map(plain);
    let clock = ClockKeeper::start(folder, Arc::clone(live.clock()), Arc::clone(metrics), readiness.clone())?;
    let Some(state) = &config.state else {
        tracing::info!("no state folder is configured: there is no journal, and no use of rights is counted");
        return Ok(Kept { clock: Some(clock), ..Kept::default() });
    };
    let bounds = config.journal;
    let settings = journal::Settings {
        state: plain(state),
        policies: plain(&config.policies),
        overrides: config.overrides.as_deref().map(plain),
        bounds: Bounds { entries_max: bounds.entries_max, age_max: bounds.age_max, texts_max: bounds.texts_max },
    };
    let catalogs = Arc::clone(&live.load().catalogs);
    let journal = JournalWriter::start(settings, catalogs, Arc::clone(live), Arc::clone(metrics), readiness.clone())?;
    let catalogs = Arc::clone(&live.load().catalogs);
    let usage = UsageKeeper::start(plain(state), catalogs, Arc::clone(metrics), readiness.clone())?;
    Ok(Kept { journal: Some(journal), usage: Some(usage), clock: Some(clock) })
}

impl Kept {
    pub(super) fn journal(&self) -> Option<Journal> {
        self.journal.as_ref().map(JournalWriter::journal)
    }

    pub(super) fn noticed(&self) -> Option<Noticed> {
        self.usage.as_ref().map(UsageKeeper::noticed)
    }

    pub(super) fn usage(&self) -> Option<Asked> {
        self.usage.as_ref().map(UsageKeeper::asked)
    }

    pub(super) fn flush_usage(&self) {
        if let Some(usage) = &self.usage {
            usage.asked().flush(FLUSH);
        }
    }

    /// Writes what still waits.
    pub(super) fn close(&mut self) {
        drop((self.journal.take(), self.usage.take(), self.clock.take()));
    }
}
