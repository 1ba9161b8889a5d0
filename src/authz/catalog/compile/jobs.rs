//! Numbers the sorts of jobs of a catalog, and finds what is wrong with them.

use std::collections::HashMap;

use super::names::Names;
use super::operation::at;
use crate::authz::catalog::compact::{Compact, JobFetch, JobStart, PlaceAt, Spot, Word};
use crate::authz::catalog::jobs::{Fetch, Job, JobId, NAMES_MAX, NamedAt, Start};
use crate::authz::catalog::links::NAME_BYTES_MAX;
use crate::authz::catalog::matcher::Request;
use crate::authz::catalog::{self, Operation, Touches};
use crate::problem::did_you_mean;

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Box<[Job]> {
    let mut said: [HashMap<&str, u32>; 2] = Default::default();
    for job in &compact.jobs {
        let (name, spot) = (&job.name.text, job.name.spot);
        if job.why.trim().is_empty() {
            names.problem(spot, format!("job `{name}` needs a reason"));
        }
        if job.started.is_empty() || job.fetched.is_empty() {
            names.problem(spot, format!("job `{name}` says what it is `started` by, and what it is `fetched` by"));
        }
        for start in &job.started {
            named_once(start, spot, names);
        }
        for fetch in job.fetched.iter().filter(|fetch| fetch.at.len() != 1) {
            let at = fetch.operations.first().map_or(spot, |word| word.spot);
            names.problem(at, "one of `path`, `query`, `body` and `argument` says which job is asked about");
        }
        let in_path = |fetch: &JobFetch| matches!(fetch.at[..], [PlaceAt::Path(_)]);
        let by_link = |start: &JobStart| start.link.is_some() || start.location;
        if job.started.iter().any(by_link) && !job.fetched.iter().any(in_path) {
            names.problem(spot, format!("a link to job `{name}` would need an operation with its id in the path"));
        }
        let started = job.started.iter().map(|start| &start.operations);
        let fetched = job.fetched.iter().map(|fetch| &fetch.operations);
        let [starting, fetching] = &mut said;
        started.flatten().for_each(|word| known_once(word, "starts", starting, compact, names));
        fetched.flatten().for_each(|word| known_once(word, "asks about", fetching, compact, names));
    }
    compact.jobs.iter().map(|job| Job { name: job.name.text.as_str().into(), why: job.why.as_str().into() }).collect()
}

/// What an operation starts.
pub fn start(operation: &Word, compact: &Compact) -> Option<Start> {
    (0..).zip(&compact.jobs).find_map(|(number, job)| {
        let start = job.started.iter().find(|start| start.operations.iter().any(|one| one.text == operation.text))?;
        let at = match (&start.answer, &start.link) {
            (Some(answer), _) => NamedAt::Answer(tokens(&answer.text)),
            (None, Some(link)) => NamedAt::Link(tokens(&link.text)),
            (None, None) => NamedAt::Location,
        };
        Some(Start { job: JobId(number), at })
    })
}

/// What an operation asks about.
pub fn fetch(operation: &Word, compact: &Compact, request: &Request, names: &mut Names<'_>) -> Option<Fetch> {
    let (number, fetch) = (0..).zip(&compact.jobs).find_map(|(number, job)| {
        let of_it = |fetch: &&JobFetch| fetch.operations.iter().any(|one| one.text == operation.text);
        Some((number, job.fetched.iter().find(of_it)?))
    })?;
    let at = at(fetch.at.first()?, request, names)?;
    if matches!(at, catalog::PlaceAt::InItems { .. }) {
        names.problem(operation.spot, "which job is asked about is not looked for in the items of a list");
    }
    Some(Fetch { job: JobId(number), at })
}

/// A job without containers of its own gains nothing by being remembered, and what reaches nothing has no result.
pub fn reach_something(compact: &Compact, operations: &[Operation], names: &mut Names<'_>) {
    for (number, job) in (0..).zip(&compact.jobs) {
        let of_it = |start: Option<JobId>| start == Some(JobId(number));
        let (mut is_named, mut is_started) = (false, false);
        for operation in operations {
            let starts = of_it(operation.starts.as_deref().map(|start| start.job));
            let fetches = of_it(operation.fetches.as_deref().map(|fetch| fetch.job));
            if (starts || fetches) && matches!(operation.touches, Touches::Nothing { .. }) {
                let message = format!("`{}` touches nothing, and so has nothing to do with a job", operation.id);
                names.problem(job.name.spot, message);
            }
            is_started |= starts;
            is_named |= starts && matches!(operation.touches, Touches::Containers(_));
        }
        if is_started && !is_named {
            let message = format!(
                "whatever starts job `{}` reaches the tenant, and so does its result: nothing is gained by \
                 remembering it",
                job.name.text
            );
            names.problem(job.name.spot, message);
        }
    }
}

fn named_once(start: &JobStart, of: Spot, names: &mut Names<'_>) {
    let spot = start.operations.first().map_or(of, |word| word.spot);
    let pointers: Vec<&Word> = start.answer.iter().chain(&start.link).collect();
    if pointers.len() + usize::from(start.location) != 1 {
        names.problem(spot, "one of `answer`, `link` and `location: true` says where the answer names the job");
    }
    for pointer in pointers {
        let tokens = tokens(&pointer.text);
        let plain = |name: &str| name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !(pointer.text.is_empty() || pointer.text.starts_with('/'))
            || tokens.len() > NAMES_MAX
            || !tokens.iter().all(|name| plain(name) && &**name != "*")
        {
            let message = format!("`{}` is no JSON pointer through objects, by names in ASCII", pointer.text);
            names.problem(pointer.spot, message);
        }
    }
}

fn tokens(pointer: &str) -> Box<[Box<str>]> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~").into()).collect()
}

/// One operation starts one sort of job, and asks about one.
fn known_once<'c>(
    word: &'c Word,
    does: &str,
    said: &mut HashMap<&'c str, u32>,
    compact: &Compact,
    names: &mut Names<'_>,
) {
    if let Some(line) = said.insert(&word.text, word.spot.at.line) {
        names.problem(word.spot, format!("`{}` {does} a job in line {line} already", word.text));
    }
    let ids = || compact.operations.iter().map(|operation| operation.id.text.as_str());
    if !ids().any(|id| id == word.text) {
        let near = did_you_mean(&word.text, ids()).map(|near| format!("did you mean `{near}`?"));
        let problem = names.sources.problem(word.spot, format!("no operation is called `{}`", word.text));
        names.problems.push(match near {
            Some(near) => problem.help(near),
            None => problem,
        });
    }
}
