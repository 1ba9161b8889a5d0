//! What the admin API answers with, read from the snapshot in force and from the state folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::acts::Desk;
use crate::authz::gate::GateRules;
use crate::authz::snapshot::Snapshot;
use crate::cli::ask::{Actor, Question, Words};
use crate::cli::explain::{answer, time_of};
use crate::cli::load::Loaded;
use crate::cli::words::time_text;
use crate::cli::{apps, cells, log};
use crate::control::admin::fault::Code;
use crate::control::admin::view::{self, AppsPage, AppsQuery, Asked, CellsPage, CellsQuery, HistoryPage, HistoryQuery};
use crate::control::admin::view::{ProblemView, Severity, SnapshotView};
use crate::control::admin::{AdminError, Answer, Answers, Read};
use crate::control::health::Readiness;
use crate::control::journal::history::{History, Wanted};
use crate::live::Live;
use crate::problem::Problem;

/// What every answer is made of.
struct Reads {
    live: Arc<Live>,
    gates: Vec<Arc<GateRules>>,
    readiness: Readiness,
    /// `None`: nothing is kept.
    state: Option<PathBuf>,
}

pub(super) fn answers(
    live: &Arc<Live>,
    gates: Vec<Arc<GateRules>>,
    readiness: &Readiness,
    state: Option<&Path>,
    desk: Desk,
) -> Answers {
    let (live, readiness) = (Arc::clone(live), readiness.clone());
    let reads = Arc::new(Reads { live, gates, readiness, state: state.map(super::plain) });
    let (shown, numbered, asked, read) = (Arc::clone(&reads), Arc::clone(&reads), Arc::clone(&reads), reads);
    let desk = Arc::new(desk);
    Answers {
        snapshot: Arc::new(move || shown.snapshot_view()),
        generation: Arc::new(move || numbered.live.load().generation),
        explain: Arc::new(move |question| asked.explain(question)),
        acts: Arc::new(move |request| {
            let desk = Arc::clone(&desk);
            // What was begun is finished, whether somebody still listens or not.
            let answer = tokio::spawn(async move { desk.answer(request).await });
            let broken =
                |_| AdminError::NotWritten("the act was not finished: see the log, and list the acts".to_owned());
            Box::pin(async move { answer.await.unwrap_or_else(|error| Err(broken(error))) })
        }),
        read: Arc::new(move |wanted| read.read(wanted)),
    }
}

impl Reads {
    fn read(&self, read: Read) -> Result<Answer, AdminError> {
        match read {
            Read::Apps(query) => self.apps(&query),
            Read::App(name) => self.app(&name),
            Read::Cells(query) => self.cells(&query),
            Read::History(query) => self.history(&query),
        }
    }

    /// Copied, so that no snapshot is held while an answer is written.
    fn loaded(&self) -> Result<Loaded, AdminError> {
        let snapshot = Snapshot::clone(&self.live.load());
        if snapshot.states.is_none() {
            return Err(AdminError::NoPolicy);
        }
        Ok(Loaded::of_running(snapshot, self.gates.clone()))
    }

    fn snapshot_view(&self) -> Option<SnapshotView> {
        let snapshot = self.live.load();
        let states = snapshot.states.as_ref()?;
        let (problems, since_ms) = self.readiness.noted();
        Some(SnapshotView {
            generation: snapshot.generation,
            digest: snapshot.digest.clone(),
            apps: states.newest.apps.len(),
            settling: states.whole.is_some(),
            in_force_since: since_ms.map(time_text),
            errors: problems.iter().filter(|problem| problem.is_error()).count(),
            more_problems: problems.len().saturating_sub(view::PROBLEMS_MAX),
            problems: problems.iter().take(view::PROBLEMS_MAX).map(problem_view).collect(),
        })
    }

    fn apps(&self, query: &AppsQuery) -> Result<Answer, AdminError> {
        let limit = length(query.limit, view::APPS_SHOWN, view::APPS_MAX)?;
        let loaded = self.loaded()?;
        let after = query.after.as_deref();
        let mut apps =
            apps::views(&loaded, self.live.now_ms(), |name| after.is_none_or(|after| name > after), limit + 1);
        let next = cut(&mut apps, limit).map(|last| last.app.clone());
        told(&loaded, |generation| AppsPage { generation, apps, next })
    }

    fn app(&self, name: &str) -> Result<Answer, AdminError> {
        let loaded = self.loaded()?;
        let found = apps::views(&loaded, self.live.now_ms(), |known| known == name, 1).pop();
        let app = found.ok_or_else(|| AdminError::NotFound(format!("no document describes the app `{name}`")))?;
        told(&loaded, |_| app)
    }

    fn cells(&self, query: &CellsQuery) -> Result<Answer, AdminError> {
        let limit = length(query.limit, view::CELLS_SHOWN, view::CELLS_MAX)?;
        let loaded = self.loaded()?;
        let wanted = cells::Wanted { app: query.app.as_deref(), tenant: query.tenant.as_deref(), limit };
        let after = query.after.as_deref().map(after_of).transpose()?;
        let (cells, next) = cells::page(&loaded, self.live.now_ms(), &wanted, after).map_err(AdminError::NotFound)?;
        let next = next.map(|(app, number)| format!("{app}~{number}"));
        told(&loaded, |generation| CellsPage { generation, cells, next })
    }

    fn history(&self, query: &HistoryQuery) -> Result<Answer, AdminError> {
        let limit = length(query.limit, view::ENTRIES_SHOWN, view::ENTRIES_MAX)?;
        let since_ms = query.since.as_deref().map(time_of).transpose().map_err(AdminError::Question)?;
        let state = self.state.as_deref().ok_or_else(|| {
            AdminError::plain(Code::NoJournal, "this gate keeps no journal: write `state:` in its configuration")
        })?;
        let generation = self.live.load().generation;
        let unreadable = |error: &dyn std::fmt::Display| {
            AdminError::plain(Code::JournalUnreadable, format!("the journal cannot be read: {error}"))
        };
        let history = History::open(state).map_err(|error| unreadable(&error))?;
        let speaks = |entry: &crate::control::journal::entry::Entry| {
            query.source.is_none_or(|source| source == entry.source)
                && query.principal.as_ref().is_none_or(|principal| entry.principals.contains(principal))
                && query.app.as_deref().is_none_or(|app| log::speaks_of(entry, app))
        };
        let wanted = Wanted { before: query.before, since_ms, limit };
        let page = history.page(wanted, speaks).map_err(|error| unreadable(&error))?;
        let entries = page.entries.into_iter().map(|(entry, hash)| log::view(entry, &hash)).collect();
        value(generation, &HistoryPage { entries, next: page.next })
    }

    fn explain(&self, asked: Asked) -> Result<Value, AdminError> {
        let question = Question {
            app: asked.app,
            tenant: asked.tenant,
            actor: asked.actor.map(|actor| match actor {
                crate::acts::order::Actor::App => Actor::App,
                crate::acts::order::Actor::User => Actor::User,
            }),
            user: asked.user,
            kind: asked.kind,
            at_ms: match asked.at {
                Some(text) => time_of(&text).map_err(AdminError::Question)?,
                None => self.live.now_ms(),
            },
            containers: asked.containers,
            method: asked.method.to_ascii_uppercase(),
            target: asked.path,
            body: asked.body.map(String::into_bytes),
            words: Words::Members,
        };
        let loaded = self.loaded()?;
        answer(&loaded, asked.gate.as_deref(), &question).map_err(|failure| AdminError::Question(failure.to_string()))
    }
}

fn length(asked: Option<u32>, usual: usize, max: usize) -> Result<usize, AdminError> {
    view::length(asked, usual, max).map_err(AdminError::Question)
}

/// Cuts a list to a page; gives the last of the page where there is more.
fn cut<T>(list: &mut Vec<T>, limit: usize) -> Option<&T> {
    if list.len() <= limit {
        return None;
    }
    list.truncate(limit);
    list.last()
}

/// `jira/tracker~200`: the app to go on with, and how many of its cells were shown.
fn after_of(text: &str) -> Result<(&str, usize), AdminError> {
    let parts = text.rsplit_once('~').and_then(|(app, number)| Some((app, number.parse().ok()?)));
    parts.ok_or_else(|| AdminError::Question("`after` is not the `next` of a page".to_owned()))
}

fn told<T: Serialize>(loaded: &Loaded, page: impl FnOnce(u64) -> T) -> Result<Answer, AdminError> {
    let generation = loaded.snapshot.generation;
    value(generation, &page(generation))
}

fn value<T: Serialize>(generation: u64, value: &T) -> Result<Answer, AdminError> {
    let unsayable = |error: serde_json::Error| AdminError::Question(error.to_string());
    Ok(Answer { generation, value: serde_json::to_value(value).map_err(unsayable)? })
}

fn problem_view(problem: &Problem) -> ProblemView {
    ProblemView {
        severity: if problem.is_error() { Severity::Error } else { Severity::Warning },
        file: problem.file.display().to_string(),
        line: problem.at.line,
        column: problem.at.column,
        message: problem.message.clone(),
        help: problem.help.clone(),
    }
}
