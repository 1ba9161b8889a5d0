//! `scopegate check`: whether configuration, catalogs, policies and policy tests are sound, with all problems at once,
//! and whom each revocation reaches.

mod lint;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::load::{self, Counts, Loaded, Sources};
use super::words::count;
use super::{Answer, Failure, Format, Output};
use crate::authz::catalog::Catalog;
use crate::control::folder::{FILE_BYTES_MAX, read};
use crate::problem::{Problem, file_name, render_alike, render_one, to_json};
use crate::yaml::{self, node::Value};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files and folders: configurations, catalogs, policies, policy tests [default: config/scopegate.yaml and what it
    /// names, else the folder policies]
    pub paths: Vec<PathBuf>,
    /// The configuration whose gates and catalogs count
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A catalog of your own, in place of the built-in one of its product
    #[arg(long)]
    pub catalog: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// What a file given on the command line is, by the keys that only such a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Config,
    Catalog,
    Tests,
    Policy,
}

/// What to check.
#[derive(Debug, Default)]
struct Given {
    sources: Sources,
    tests: Vec<PathBuf>,
    catalogs: Vec<PathBuf>,
}

/// Checks, prints the problems and the reach, and answers whether there is no error.
pub fn run(args: &CheckArgs, output: &mut Output<'_>) -> Answer {
    let given = given(args)?;
    let mut loaded = checked(&given.sources, crate::clock::unix_ms());
    for path in &given.catalogs {
        loaded.problems.extend(Catalog::load(path).err().into_iter().flatten());
    }
    for path in &given.tests {
        loaded.problems.extend(super::test::problems_of(path));
    }
    loaded.files += given.catalogs.len() + given.tests.len() + usize::from(given.sources.config.is_some());
    loaded.problems.extend(loaded.config.iter().flat_map(crate::app::file_problems));
    sort(&mut loaded.problems);
    let reach = reach::reach(&loaded);
    match args.format {
        Format::Human => human(&loaded, &reach, output)?,
        Format::Json => writeln!(output.out, "{}", json(&loaded, &reach))?,
    }
    Ok(!loaded.has_errors())
}

/// Everything that is wrong with these sources: what keeps a gate from starting, and what a person should know.
pub fn checked(sources: &Sources, now_ms: i64) -> Loaded {
    let mut loaded = load::load(sources, now_ms);
    let mut more = lint::lint(&loaded, now_ms);
    loaded.problems.append(&mut more);
    sort(&mut loaded.problems);
    loaded
}

fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (&a.file, a.at, a.severity, &a.message).cmp(&(&b.file, b.at, b.severity, &b.message)));
    problems.dedup();
}

fn given(args: &CheckArgs) -> Result<Given, Failure> {
    let mut given = Given::default();
    given.sources.config = args.config.clone();
    given.sources.catalogs = args.catalog.clone();
    for path in &args.paths {
        match kind_of(path) {
            Kind::Config => match &given.sources.config {
                Some(first) if first != path => {
                    let (first, second) = (first.display(), path.display());
                    return Err(Failure::Usage(format!(
                        "{first} and {second} are two configurations; check one at a time"
                    )));
                }
                _ => given.sources.config = Some(path.clone()),
            },
            Kind::Catalog => given.catalogs.push(path.clone()),
            Kind::Tests => given.tests.push(path.clone()),
            Kind::Policy => given.sources.policies.push(path.clone()),
        }
    }
    if args.paths.is_empty() && given.sources.config.is_none() {
        let usual = Sources::usual().ok_or_else(|| {
            let message = format!("there is neither {} nor {}: name what to check", load::CONFIG, load::POLICIES);
            Failure::Usage(message)
        })?;
        given.sources = Sources { catalogs: given.sources.catalogs, ..usual };
    }
    Ok(given)
}

/// A catalog's overlay is read beside its catalog, and so is a lone one never mistaken for a policy.
fn kind_of(path: &Path) -> Kind {
    if path.is_dir() {
        return Kind::Policy;
    }
    let Ok(reading) = read::read(path, FILE_BYTES_MAX) else { return Kind::Policy };
    let text = String::from_utf8_lossy(&reading.bytes);
    let keys = keys(path, &text);
    let has = |key: &str| keys.contains(key);
    match () {
        () if has("overlay") || (has("product") && has("operations")) => Kind::Catalog,
        // Before the configuration: a file of tests may have `gates` too.
        () if has("cases") => Kind::Tests,
        () if has("gates") => Kind::Config,
        () => Kind::Policy,
    }
}

/// The keys of its documents, however they are written. Of a text that cannot be read, those that begin a line: what is
/// wrong with it is then told as of such a file.
fn keys(path: &Path, text: &str) -> BTreeSet<String> {
    let mut problems = Vec::new();
    let documents = yaml::read(&file_name(path), text, &mut problems);
    let mut keys = BTreeSet::new();
    for document in &documents {
        let Value::Map(entries) = &document.root.value else { continue };
        keys.extend(entries.iter().filter_map(|(key, _)| key.text(document.text)).map(str::to_owned));
    }
    if !problems.is_empty() {
        keys.extend(text.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key.to_owned()));
    }
    keys
}

fn human(loaded: &Loaded, reach: &[reach::Reach], output: &mut Output<'_>) -> std::io::Result<()> {
    let paint = output.paint;
    output.out.write_all(shown(&loaded.problems, paint.colour).as_bytes())?;
    for one in reach {
        writeln!(output.out, "{}:{}  {}", one.file.display(), one.line, paint.bold(&one.what))?;
        one.says.iter().try_for_each(|line| writeln!(output.out, "  {line}"))?;
    }
    if !reach.is_empty() {
        writeln!(output.out)?;
    }
    let summary = summary(loaded);
    let summary = if loaded.has_errors() { paint.red(&summary) } else { paint.green(&summary) };
    writeln!(output.out, "{summary}")
}

/// Errors each with its line; of warnings that say the same of several names, one for all, where the first of them stands.
fn shown(problems: &[Problem], colour: bool) -> String {
    let mut alike: BTreeMap<(String, Option<&str>), Vec<&Problem>> = BTreeMap::new();
    let about = |problem: &'_ Problem| problem.message_without_name();
    for warning in problems.iter().filter(|problem| !problem.is_error()) {
        alike.entry((about(warning), warning.help.as_deref())).or_default().push(warning);
    }
    let mut shown = String::new();
    for problem in problems {
        if problem.is_error() {
            render_one(&mut shown, problem, colour);
            continue;
        }
        match alike.remove(&(about(problem), problem.help.as_deref())).as_deref() {
            None => {}
            Some([alone]) => render_one(&mut shown, alone, colour),
            Some(several) => render_alike(&mut shown, several, colour),
        }
    }
    shown
}

fn summary(loaded: &Loaded) -> String {
    let Counts { apps, guardrails, sets, groups, .. } = loaded.counts;
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
    let mut text = format!("checked {}: {}", count(loaded.files, "file"), count(apps, "app"));
    for (number, what) in [(guardrails, "guardrail"), (sets, "set"), (groups, "group")] {
        if number > 0 {
            text.push_str(&format!(", {}", count(number, what)));
        }
    }
    format!("{text}; {}, {}", count(errors, "error"), count(loaded.problems.len() - errors, "warning"))
}

fn json(loaded: &Loaded, reach: &[reach::Reach]) -> serde_json::Value {
    let mut json = to_json(&loaded.problems);
    let reach = reach.iter().map(|one| {
        serde_json::json!({
            "file": one.file.display().to_string(), "line": one.line, "what": one.what, "apps": one.apps,
            "tenants": one.tenants, "operations": one.operations, "tenant_operations": one.tenant_operations,
            "says": one.says,
        })
    });
    let reach: Vec<_> = reach.collect();
    if let serde_json::Value::Object(map) = &mut json {
        map.insert("reach".to_owned(), reach.into());
        map.insert("summary".to_owned(), summary(loaded).into());
    }
    json
}

/// The file of the configuration, for what is wrong with a gate.
fn config_file(loaded: &Loaded) -> Option<Arc<Path>> {
    loaded.config_path.as_ref().map(file_name)
}
