//! What the clock alone changes: rules that begin or end, windows that open or close, `observe` that runs out.

use std::sync::Arc;

use super::words::{moment, sentences};
use super::{Cell, Effect, Said, app_cells, guardrail_cells};
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation, LinkedPart};
use crate::authz::policy::compile::Catalogs;

/// An app in which more cells change is told in one sentence.
const CELLS_MAX: usize = 20_000;

/// The first moment after another at which the policy says something else by itself. Unix time in milliseconds.
pub fn next_moment(policy: &Policy, catalogs: &Catalogs, after_ms: i64) -> Option<i64> {
    let apps = policy.apps.iter().flat_map(|app| app_moments(app));
    let products = catalogs.iter().filter_map(|product| policy.product(product.id));
    let guardrails = products.flat_map(|product| product.guardrails.iter()).flat_map(|one| of_part(&one.linked));
    apps.chain(guardrails).filter(|at| *at > after_ms).min()
}

fn app_moments(app: &App) -> impl Iterator<Item = i64> + '_ {
    let installed = app.installations.iter().flat_map(move |one| {
        let spans = app.parts.iter().flat_map(|linked| linked.part.conditions.iter());
        let ends = spans
            .filter_map(|condition| condition.after_install_ms)
            .flat_map(move |span| starts(one).map(move |start| start.saturating_add(span)));
        own_moments(one).chain(ends)
    });
    app.parts.iter().flat_map(of_part).chain(installed)
}

fn of_part(linked: &LinkedPart) -> impl Iterator<Item = i64> + '_ {
    linked.part.conditions.iter().flat_map(|condition| condition.from_ms.into_iter().chain(condition.until_ms))
}

fn starts(one: &Installation) -> impl Iterator<Item = i64> + '_ {
    one.installed_at_ms.into_iter().chain(one.windows.iter().map(|(from, _)| *from))
}

fn own_moments(one: &Installation) -> impl Iterator<Item = i64> + '_ {
    let windows = windows(one).flat_map(|(from, until)| [from, until]);
    windows.chain(one.observe_until_ms)
}

fn windows(one: &Installation) -> impl Iterator<Item = (i64, i64)> + '_ {
    let first = one.installed_at_ms.map(|at| (at, at.saturating_add(one.install_window_ms)));
    first.into_iter().chain(one.windows.iter().copied())
}

/// A span of time: after the one moment, up to and with the other.
#[derive(Clone, Copy)]
struct Span {
    after_ms: i64,
    to_ms: i64,
}

impl Span {
    fn has(self, at: i64) -> bool {
        self.after_ms < at && at <= self.to_ms
    }
}

/// What changed by itself after one moment and up to another, in sentences.
pub fn passed(policy: &Policy, catalogs: &Catalogs, after_ms: i64, to_ms: i64) -> Vec<String> {
    let span = Span { after_ms, to_ms };
    let mut lines = Vec::new();
    for app in policy.apps.iter().filter(|app| app_moments(app).any(|at| span.has(at))) {
        of_app(policy, catalogs, app, span, &mut lines);
    }
    for product in catalogs.iter() {
        let over = guardrail_cells(policy, product).filter(|said| !said.shadow).map(|said| said.cell);
        let over: Vec<Cell> = over.take(CELLS_MAX).collect();
        let begun = |cell: &&Cell| cell.terms.from_ms.is_some_and(|at| span.has(at));
        let ended = |cell: &&Cell| cell.terms.until_ms.is_some_and(|at| span.has(at));
        lines.extend(sentences(over.iter().filter(begun), |_| "takes from now on"));
        lines.extend(sentences(over.iter().filter(ended), |_| "no longer takes"));
    }
    lines
}

fn of_app(policy: &Policy, catalogs: &Catalogs, app: &Arc<App>, span: Span, lines: &mut Vec<String>) {
    let said: Vec<Said> = app_cells(policy, catalogs, app).filter(|said| !said.shadow).take(CELLS_MAX).collect();
    let installed = |cell: &Cell| {
        let tenant = cell.tenant.as_ref()?;
        app.installations.iter().find(|one| one.tenant == tenant.id)
    };
    let ended = |cell: &&Cell| {
        let after = cell.terms.after_install_ms.zip(installed(cell));
        let after = after.and_then(|(after, one)| Some(one.counted_from(span.to_ms)?.saturating_add(after)));
        cell.terms.until_ms.into_iter().chain(after).any(|at| span.has(at))
    };
    let begun = |cell: &&Cell| cell.terms.from_ms.is_some_and(|at| span.has(at));
    let verb = |given: &'static str, taken: &'static str| {
        move |cell: &Cell| if cell.effect == Effect::Gives { given } else { taken }
    };
    let cells = || said.iter().map(|said| &said.cell);
    lines.extend(sentences(cells().filter(ended), verb("loses", "is no longer kept from")));
    lines.extend(sentences(cells().filter(begun), verb("gains", "is kept from")));
    for one in &app.installations {
        let (name, tenant) = (&app.name, &one.tenant);
        let until = one.observe_until_ms.filter(|at| span.has(*at));
        lines.extend(until.map(|at| format!("{name} is no longer under observe in {tenant}, since {}", moment(at))));
        for (from, until) in windows(one) {
            let opened = span.has(from).then(|| format!("{name} has its install window open in {tenant}"));
            let closed = span.has(until).then(|| format!("{name} no longer has its install window open in {tenant}"));
            lines.extend(opened.into_iter().chain(closed));
        }
    }
}
