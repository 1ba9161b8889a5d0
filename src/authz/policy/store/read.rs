//! Reads files that changed: parsed and compiled, each by itself, on as many cores as there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::{Change, Content, Form, Latest};
use crate::authz::policy::compile::{Catalogs, Context, compile};
use crate::authz::policy::file::{Origin, parse};
use crate::problem::{At, Problem, fill_snippets};
use crate::yaml::PROBLEMS_MAX;

/// Fewer files than this are read sooner than threads are started.
const PARALLEL_MIN: usize = 64;
/// A reload must leave cores to the requests that are served meanwhile.
const THREADS_MAX: usize = 4;

/// What a file turned out to say.
pub(super) struct Read {
    pub(super) file: Arc<Path>,
    pub(super) origin: Origin,
    pub(super) latest: Latest,
    pub(super) problems: Vec<Problem>,
}

/// In the order of the changes, so that the later of two about one file counts.
pub(super) fn all(catalogs: &Catalogs, changes: Vec<Change>, now_ms: i64) -> Vec<Read> {
    if changes.len() < PARALLEL_MIN {
        return changes.into_iter().map(|change| read(catalogs, change, now_ms)).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    // Each text is dropped as soon as it is read: together they are as large as what becomes of them.
    let queue = Mutex::new(changes.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut done = Vec::new();
        while let Some((number, change)) = next() {
            done.push((number, read(catalogs, change, now_ms)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = helpers.into_iter().filter_map(|helper| helper.join().ok()).flatten();
        others.chain(own).collect::<Vec<_>>()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, read)| read).collect()
}

/// A file that the compiler trips over is a broken file: it must not keep the others from being read.
fn read(catalogs: &Catalogs, change: Change, now_ms: i64) -> Read {
    let Change { file, origin, content } = change;
    let understood = catch_unwind(AssertUnwindSafe(|| understand(catalogs, &file, origin, &content, now_ms)));
    let (latest, problems) = understood.unwrap_or_else(|_| {
        let message = "this file makes the compiler fail, which is a fault of scopegate's: please report it";
        broken(Problem::error(&file, At::default(), message))
    });
    Read { file, origin, latest, problems }
}

fn understand(
    catalogs: &Catalogs,
    file: &Arc<Path>,
    origin: Origin,
    content: &Content,
    now_ms: i64,
) -> (Latest, Vec<Problem>) {
    let text = match content {
        Content::Gone => return (Latest::Gone, Vec::new()),
        Content::Unreadable(why) => {
            return broken(Problem::error(file, At::default(), format!("the file {why}")));
        }
        Content::Text(text) => text,
    };
    let parsed = parse(file, text, origin);
    let mut problems = parsed.problems;
    let context = Context { catalogs, file, now_ms };
    let mut documents = Vec::with_capacity(parsed.documents.len());
    for document in &parsed.documents {
        documents.extend(compile(context, document, &mut problems).map(Arc::new));
        keep_some(&mut problems);
    }
    fill_snippets(&mut problems, text);
    if problems.iter().any(Problem::is_error) {
        return (Latest::Broken, problems);
    }
    (Latest::Candidate(Form { digest: digest(text), documents: documents.into() }), problems)
}

/// Problems beyond what anybody reads cost memory and time for nothing. An error among them stays.
fn keep_some(problems: &mut Vec<Problem>) {
    if problems.len() > PROBLEMS_MAX {
        problems.sort_by_key(|problem| !problem.is_error());
        problems.truncate(PROBLEMS_MAX);
    }
}

fn broken(problem: Problem) -> (Latest, Vec<Problem>) {
    (Latest::Broken, vec![problem.help("its last good form stays in force")])
}

pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
