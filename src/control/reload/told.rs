//! Problems, logged once each: when they come, and that they went.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::problem::Problem;

/// A folder that is wrong throughout would fill the log; `check` lists everything.
const LOGGED_MAX: usize = 100;

/// The problems that were told last.
#[derive(Debug, Default)]
pub(super) struct Problems {
    now: Arc<[Problem]>,
}

impl Problems {
    /// Logs what is new. Costs nothing where nothing changed.
    pub(super) fn tell(&mut self, now: Vec<Problem>) {
        if *now == *self.now {
            return;
        }
        let key = |problem: &Problem| (problem.file.clone(), problem.at, problem.message.clone());
        let before: BTreeSet<_> = self.now.iter().map(key).collect();
        let fresh: Vec<&Problem> = now.iter().filter(|problem| !before.contains(&key(problem))).collect();
        fresh.iter().take(LOGGED_MAX).for_each(|problem| log(problem));
        if fresh.len() > LOGGED_MAX {
            tracing::warn!(
                more = fresh.len() - LOGGED_MAX,
                "more problems are not logged; `scopegate check` lists them"
            );
        }
        let had_errors = self.errors() > 0;
        self.now = now.into();
        if had_errors && self.errors() == 0 {
            tracing::info!("no policy file has an error any more");
        }
    }

    pub(super) fn all(&self) -> Arc<[Problem]> {
        Arc::clone(&self.now)
    }

    /// How many keep something out.
    pub(super) fn errors(&self) -> usize {
        self.now.iter().filter(|problem| problem.is_error()).count()
    }
}

fn log(problem: &Problem) {
    let place = match problem.at.line {
        0 => problem.file.display().to_string(),
        line => format!("{}:{line}:{}", problem.file.display(), problem.at.column),
    };
    let help = problem.help.as_deref().unwrap_or_default();
    let message = &problem.message;
    if problem.is_error() {
        tracing::error!(place, help, "{message}");
    } else {
        tracing::warn!(place, help, "{message}");
    }
}
