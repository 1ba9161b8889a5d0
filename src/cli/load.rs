//! What every command that judges reads: configuration, catalogs, policies and overrides, the way `serve` reads them,
//! with all problems at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::plain;
use crate::authz::catalog::{Catalog, builtin};
use crate::authz::gate::GateRules;
use crate::authz::policy::Policy;
use crate::authz::policy::cells;
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::document::{Body, Document};
use crate::authz::policy::file::{Origin, parse};
use crate::authz::policy::link::Secrets;
use crate::authz::policy::store::{Change, Content, Store};
use crate::authz::snapshot::Snapshot;
use crate::config::Config;
use crate::control::folder::{FILE_BYTES_MAX, Folder, Held, Verify, read};
use crate::problem::{At, Problem, file_name};

/// Where a command looks when nobody says.
pub const CONFIG: &str = "config/scopegate.yaml";
pub const POLICIES: &str = "policies";

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub config: Option<PathBuf>,
    /// Folders and files, besides those that the configuration names.
    pub policies: Vec<PathBuf>,
    /// Catalogs that stand in for the built-in ones of their products.
    pub catalogs: Vec<PathBuf>,
}

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    pub config: Option<Config>,
    pub config_path: Option<PathBuf>,
    pub gates: Vec<Arc<GateRules>>,
    pub catalogs: Arc<Catalogs>,
    /// Without states where something is broken: a gate would not start on it.
    pub snapshot: Snapshot,
    pub files: usize,
    /// Documents by head, as far as they can be read.
    pub counts: Counts,
    pub problems: Vec<Problem>,
    /// The folders and files that policies were read from, as they are shown.
    pub roots: Vec<PathBuf>,
    texts: BTreeMap<Arc<Path>, (Origin, Arc<str>)>,
}

/// How many documents there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub apps: usize,
    pub guardrails: usize,
    pub sets: usize,
    pub groups: usize,
    pub names: usize,
}

impl Sources {
    /// What stands where a command looks when nobody says.
    pub fn usual() -> Option<Self> {
        if Path::new(CONFIG).is_file() {
            return Some(Self { config: Some(CONFIG.into()), ..Self::default() });
        }
        Path::new(POLICIES).is_dir().then(|| Self { policies: vec![POLICIES.into()], ..Self::default() })
    }
}

/// Reads everything. What cannot be read is among the problems.
pub fn load(sources: &Sources, now_ms: i64) -> Loaded {
    read_all(sources, true, None, now_ms)
}

/// As [`load`], as if the override of this name said this.
pub fn load_with(sources: &Sources, with: Option<(Arc<Path>, Content)>, now_ms: i64) -> Loaded {
    read_all(sources, true, with, now_ms)
}

/// Reads the folders and files that are named, and of a configuration its gates and catalogs alone.
pub fn load_only(sources: &Sources, now_ms: i64) -> Loaded {
    read_all(sources, false, None, now_ms)
}

fn read_all(sources: &Sources, with_configured: bool, with: Option<(Arc<Path>, Content)>, now_ms: i64) -> Loaded {
    let mut problems = Vec::new();
    let config = sources.config.as_ref().and_then(|path| {
        let read = crate::config::load(path, &|name| builtin::catalog(name).is_some());
        read.map_err(|mut found| problems.append(&mut found)).ok()
    });
    let catalogs = Arc::new(Catalogs::new(catalogs(sources, config.as_ref(), &mut problems)));
    let mut policies = sources.policies.clone();
    let configured = config.as_ref().filter(|_| with_configured);
    policies.extend(configured.map(|config| plain(&config.policies)));
    let mut changes = Vec::new();
    for path in &policies {
        read_path(path, Origin::Policy, &mut changes, &mut problems);
    }
    let overrides = configured.and_then(|config| config.overrides.as_deref()).map(plain);
    if let Some(overrides) = overrides.filter(|path| path.exists()) {
        read_path(&overrides, Origin::Override, &mut changes, &mut problems);
    }
    changes.extend(with.map(|(file, content)| Change { file, origin: Origin::Override, content }));
    let gates = config.iter().flat_map(|config| crate::app::gate_rules(config, &catalogs)).collect();
    let config_path = sources.config.clone();
    Loaded { gates, config, config_path, roots: policies, ..judged(catalogs, changes, now_ms, problems) }
}

/// Compiles and links what was read.
fn judged(catalogs: Arc<Catalogs>, changes: Vec<Change>, now_ms: i64, mut problems: Vec<Problem>) -> Loaded {
    let mut texts = BTreeMap::new();
    let mut counts = Counts::default();
    for change in &changes {
        if let Content::Text(text) = &change.content {
            texts.insert(Arc::clone(&change.file), (change.origin, Arc::clone(text)));
            counts.add(&parse(&change.file, text, change.origin).documents);
        }
    }
    let files = changes.len();
    let broken = problems.iter().any(Problem::is_error);
    let mut store = Store::new(Arc::clone(&catalogs));
    store.apply(changes, now_ms);
    let mut own = store.problems();
    own.iter_mut().filter(|problem| problem.snippet.is_none()).for_each(|problem| {
        problem.snippet =
            texts.get(&problem.file).and_then(|(_, text)| line_of(text, problem.at.line)).map(str::to_owned);
    });
    problems.append(&mut own);
    if !broken {
        store.settle();
    }
    // No command sends anything upstream, so no secret is read.
    let snapshot = store.snapshot(&Secrets::new());
    Loaded {
        config: None,
        config_path: None,
        gates: Vec::new(),
        catalogs,
        snapshot,
        files,
        counts,
        problems,
        roots: Vec::new(),
        texts,
    }
}

/// What these texts say by themselves, as policy files of these names.
///
/// # Errors
/// The first error in them.
pub fn judged_texts<'t>(
    loaded: &Loaded,
    texts: impl Iterator<Item = (Arc<Path>, &'t str)>,
    now_ms: i64,
) -> Result<Snapshot, String> {
    let changes =
        texts.map(|(file, text)| Change { file, origin: Origin::Policy, content: Content::Text(text.into()) });
    let judged = judged(Arc::clone(&loaded.catalogs), changes.collect(), now_ms, Vec::new());
    match judged.problems.iter().find(|problem| problem.is_error()) {
        None => Ok(judged.snapshot),
        Some(problem) => Err(format!("{}:{}: {}", problem.file.display(), problem.at.line, problem.message)),
    }
}

/// The first cell in which two snapshots differ.
pub fn difference(loaded: &Loaded, one: &Snapshot, other: &Snapshot) -> Option<String> {
    let changes = cells::between(one.states.as_ref(), other.states.as_ref(), &loaded.catalogs, 1);
    let more = (changes.more > 0).then(|| "cells differ".to_owned());
    changes.lines.into_iter().next().or(more)
}

/// One catalog for each product: those given, then the configuration's, then the built-in ones.
fn catalogs(sources: &Sources, config: Option<&Config>, problems: &mut Vec<Problem>) -> Vec<Arc<Catalog>> {
    let mut catalogs: Vec<Arc<Catalog>> = Vec::new();
    for path in &sources.catalogs {
        match Catalog::load(path) {
            Ok(catalog) => catalogs.push(Arc::new(catalog)),
            Err(mut found) => problems.append(&mut found),
        }
    }
    match crate::app::catalogs(config) {
        Ok(others) => {
            let given: Vec<Arc<str>> = catalogs.iter().map(|catalog| Arc::clone(&catalog.product)).collect();
            catalogs.extend(others.into_iter().filter(|catalog| !given.contains(&catalog.product)));
        }
        Err(mut found) => problems.append(&mut found),
    }
    catalogs
}

/// A folder with all policy files in it, or one file.
fn read_path(path: &Path, origin: Origin, changes: &mut Vec<Change>, problems: &mut Vec<Problem>) {
    if path.is_file() {
        changes.push(Change { file: file_name(path), origin, content: read_file(path) });
        return;
    }
    let scan = Folder::new(path).scan(Verify::All);
    let unreadable = |problem: &Problem| {
        let held = scan.changed.iter().find(|change| change.path == problem.file).map(|change| &change.held);
        matches!(held, Some(Held::Unreadable(_)))
    };
    let found = scan.problems.iter().filter(|problem| !unreadable(problem)).cloned();
    // What a running gate would fall back to helps nobody who starts one.
    problems.extend(found.map(|problem| Problem { help: problem.help.filter(|_| scan.untold.is_none()), ..problem }));
    changes.extend(scan.changed.iter().map(|change| Change {
        file: Arc::clone(&change.path),
        origin,
        content: match &change.held {
            Held::Text { text, .. } => Content::Text(Arc::clone(text)),
            Held::Unreadable(why) => Content::Unreadable(why.to_string()),
        },
    }));
}

fn read_file(path: &Path) -> Content {
    match read::read(path, FILE_BYTES_MAX) {
        Ok(reading) => match crate::yaml::decode(&file_name(path), &reading.bytes) {
            Ok(text) => Content::Text(text.into()),
            Err(problem) => Content::Unreadable(problem.message),
        },
        Err(why) => Content::Unreadable(why.to_string()),
    }
}

fn line_of(text: &str, line: u32) -> Option<&str> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    text.lines().nth(index)
}

impl Loaded {
    /// What a running gate judges by now. Its texts are not kept, so no line of them can be shown.
    pub fn of_running(snapshot: Snapshot, gates: Vec<Arc<GateRules>>) -> Self {
        Self {
            config: None,
            config_path: None,
            gates,
            catalogs: Arc::clone(&snapshot.catalogs),
            snapshot,
            files: 0,
            counts: Counts::default(),
            problems: Vec::new(),
            roots: Vec::new(),
            texts: BTreeMap::new(),
        }
    }

    /// The one state that commands judge by. `None` where something is broken.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.snapshot.states.as_ref().map(|states| &states.newest)
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// A line of a policy file as it was read.
    pub fn line(&self, file: &Path, line: u32) -> Option<&str> {
        line_of(self.text(file)?, line)
    }

    pub fn text(&self, file: &Path) -> Option<&str> {
        self.texts.get(file).map(|(_, text)| &**text)
    }

    /// The policy files as they were read, by path. Overrides are not among them.
    pub fn policy_texts(&self) -> impl Iterator<Item = (&Arc<Path>, &Arc<str>)> {
        self.texts.iter().filter(|(_, (origin, _))| *origin == Origin::Policy).map(|(file, (_, text))| (file, text))
    }

    /// A problem of a policy file, with its line.
    pub fn warning(&self, file: &Arc<Path>, line: u32, message: String) -> Problem {
        let column = self.line(file, line).map_or(1, |text| text.len() - text.trim_start_matches([' ', '-']).len() + 1);
        let at = At { line, column: u32::try_from(column).unwrap_or(1) };
        Problem { snippet: self.line(file, line).map(str::to_owned), ..Problem::warning(file, at, message) }
    }
}

impl Counts {
    /// Exactly one document of an app describes it.
    fn add(&mut self, documents: &[Document]) {
        for document in documents {
            match &document.body {
                Body::App(app) => self.apps += usize::from(app.description.is_some()),
                Body::Guardrail(_) => self.guardrails += 1,
                Body::Set(_) => self.sets += 1,
                Body::Group(_) => self.groups += 1,
                Body::Names(_) => self.names += 1,
            }
        }
    }
}
