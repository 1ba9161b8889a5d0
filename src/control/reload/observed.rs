//! What is under `observe` now: told to the metrics and to `/readyz`, and once an hour to the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Settings, Told, seconds};
use crate::authz::gate::GateRules;
use crate::authz::snapshot::Snapshot;
use crate::control::health::{Observe, Warnings, rfc3339};

const HOURLY: Duration = Duration::from_secs(3600);

/// The gates, and what was last told of them.
#[derive(Debug)]
pub(super) struct Observed {
    gates: Vec<Arc<GateRules>>,
    warnings: Warnings,
    told: Option<Vec<Observe>>,
    logged: Option<Instant>,
}

impl Observed {
    pub(super) fn new(settings: &Settings, told: &Told) -> Self {
        told.readiness.warnings(settings.warnings.clone());
        Self { gates: settings.gates.clone(), warnings: settings.warnings.clone(), told: None, logged: None }
    }

    pub(super) fn tell(&mut self, snapshot: &Snapshot, told: &Told, now_ms: i64) {
        let now = self.gates.iter().flat_map(|gate| observed(gate, snapshot, now_ms)).collect::<Vec<_>>();
        self.log(&now);
        if self.told.as_ref() == Some(&now) {
            return;
        }
        let shown = |one: &Observe| seconds(one.until_ms);
        told.metrics.observe(now.iter().map(|one| (one.gate.as_str(), one.app.as_deref(), shown(one))));
        let all = self.warnings.observe.iter().filter(|written| !now.contains(written)).chain(&now);
        told.readiness.warnings(Warnings { observe: all.cloned().collect(), ..self.warnings.clone() });
        self.told = Some(now);
    }

    fn log(&mut self, now: &[Observe]) {
        let news = self.told.as_deref().is_some_and(|told| told != now);
        if now.is_empty() || !news && self.logged.is_some_and(|at| at.elapsed() < HOURLY) {
            return;
        }
        self.logged = Some(Instant::now());
        for Observe { gate, app, tenant, until_ms } in now {
            let until = rfc3339(*until_ms);
            let (app, tenant) = (app.as_deref().unwrap_or("every app"), tenant.as_deref().unwrap_or("every tenant"));
            tracing::warn!(gate, app, tenant, until, "refusals for want of a grant are only recorded");
        }
    }
}

/// The gate itself, and the installations that call through it.
fn observed(gate: &GateRules, snapshot: &Snapshot, now_ms: i64) -> Vec<Observe> {
    let name = || gate.name.to_string();
    let until = gate.observe_until_ms.filter(|until| now_ms < *until);
    let own = until.map(|until| Observe { gate: name(), app: None, tenant: None, until_ms: until });
    let product = snapshot.catalogs.iter().find(|product| Arc::ptr_eq(&product.catalog, &gate.catalog));
    let policy = snapshot.states.as_ref().map(|states| &states.newest);
    let apps = policy
        .zip(product)
        .into_iter()
        .flat_map(|(policy, product)| policy.apps.iter().filter(move |app| app.product == product.id));
    let installations = apps.flat_map(|app| {
        let observed = app.installations.iter().filter(|one| one.observed(now_ms) && gate.tenant.may_tell(&one.tenant));
        observed.filter_map(|one| {
            Some(Observe {
                gate: name(),
                app: Some(app.name.to_string()),
                tenant: Some(one.tenant.to_string()),
                until_ms: one.observe_until_ms?,
            })
        })
    });
    own.into_iter().chain(installations).collect()
}
