//! The documents in force, file by file: each in its newest readable form, or the last good one (law 7).
//!
//! Pure: whoever reads files hands over what changed. A file that does not parse, or that does not fit the others,
//! stands in its last good form; what it holds up is said in problems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::{Catalogs, Compiled, Context, compile};
use super::file::{Origin, parse};
use super::link::{Fault, Input, Missing, Policy, Secrets, link};
use crate::authz::snapshot::{Snapshot, States};
use crate::problem::{At, Problem};

/// What became of one file.
#[derive(Debug, Clone)]
pub struct Change {
    pub file: Arc<Path>,
    pub origin: Origin,
    pub content: Content,
}

/// The content of a file that changed.
#[derive(Debug, Clone)]
pub enum Content {
    Text(Arc<str>),
    /// It is there and cannot be read, for this reason.
    Unreadable(String),
    Gone,
}

/// The documents of one file, with the digest of its content.
#[derive(Debug, Clone, Default)]
struct Form {
    digest: [u8; 32],
    documents: Vec<Arc<Compiled>>,
}

/// One file: what is in force of it, and what it says now.
#[derive(Debug)]
struct Entry {
    origin: Origin,
    in_force: Option<Form>,
    latest: Latest,
    /// What its newest content has wrong with it by itself.
    problems: Vec<Problem>,
}

/// What a file says now.
#[derive(Debug)]
enum Latest {
    InForce,
    /// Read, and waiting for the other files to fit.
    Candidate(Form),
    Gone,
    Broken,
}

/// Every document, and the states they make.
#[derive(Debug)]
pub struct Store {
    catalogs: Arc<Catalogs>,
    entries: BTreeMap<Arc<Path>, Entry>,
    /// The policy's documents in the last whole state.
    whole: Option<Vec<Input>>,
    newest_is_whole: bool,
    generation: u64,
    faults: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Store {
    pub fn new(catalogs: Arc<Catalogs>) -> Self {
        Self {
            catalogs,
            entries: BTreeMap::new(),
            whole: None,
            newest_is_whole: false,
            generation: 0,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes in what changed. The next `snapshot` stands on it.
    pub fn apply(&mut self, changes: Vec<Change>, now_ms: i64) {
        for change in changes {
            self.newest_is_whole &= change.origin == Origin::Override;
            let read = self.read(&change, now_ms);
            let entry = self.entries.entry(Arc::clone(&change.file)).or_insert_with(|| Entry {
                origin: change.origin,
                in_force: None,
                latest: Latest::InForce,
                problems: Vec::new(),
            });
            (entry.latest, entry.problems) = read;
        }
        self.fit();
    }

    fn read(&self, change: &Change, now_ms: i64) -> (Latest, Vec<Problem>) {
        let text = match &change.content {
            Content::Gone => return (Latest::Gone, Vec::new()),
            Content::Unreadable(why) => {
                let problem = Problem::error(&change.file, At::default(), format!("the file cannot be read: {why}"));
                return (Latest::Broken, vec![problem.help("its last good form stays in force")]);
            }
            Content::Text(text) => text,
        };
        let parsed = parse(&change.file, text, change.origin);
        let mut problems = parsed.problems;
        let context = Context { catalogs: &self.catalogs, file: &change.file, now_ms };
        let compiled = parsed.documents.iter().filter_map(|document| compile(context, document, &mut problems));
        let documents: Vec<Arc<Compiled>> = compiled.map(Arc::new).collect();
        crate::problem::fill_snippets(&mut problems, text);
        if problems.iter().any(Problem::is_error) {
            return (Latest::Broken, problems);
        }
        (Latest::Candidate(Form { digest: Sha256::digest(text.as_bytes()).into(), documents }), problems)
    }

    /// Lets as many candidates into force as fit together; the others stand in their last good form.
    fn fit(&mut self) {
        let mut held_back: BTreeSet<Arc<Path>> = BTreeSet::new();
        self.faults.clear();
        loop {
            let inputs = self.inputs(|path| !held_back.contains(path));
            // Secrets never make a fault, so none are needed here.
            let (_, findings) = link(&self.catalogs, &Secrets::new(), &inputs);
            let before = held_back.len();
            for fault in findings.faults {
                held_back.extend(self.blamed(&fault));
                self.faults.push(fault.problem);
            }
            if held_back.len() == before {
                self.warnings = findings.warnings;
                break;
            }
        }
        self.let_in(&held_back);
    }

    /// The candidates that a fault counts against: those of its files that changed, and those that went or changed
    /// and used to define what is missing. Where none of these is to blame, every candidate is.
    fn blamed(&self, fault: &Fault) -> Vec<Arc<Path>> {
        let waiting = || self.entries.iter().filter(|(_, entry)| entry.waits());
        let defined = |entry: &Entry| {
            let form = entry.in_force.iter().flat_map(|form| form.documents.iter());
            fault.missing.as_ref().is_some_and(|missing| form.into_iter().any(|document| defines(document, missing)))
        };
        let direct = waiting().filter(|(path, entry)| fault.files.contains(path) || defined(entry));
        let direct: Vec<Arc<Path>> = direct.map(|(path, _)| Arc::clone(path)).collect();
        if direct.is_empty() { waiting().map(|(path, _)| Arc::clone(path)).collect() } else { direct }
    }

    fn let_in(&mut self, held_back: &BTreeSet<Arc<Path>>) {
        for (path, entry) in &mut self.entries {
            if held_back.contains(path) {
                continue;
            }
            match std::mem::replace(&mut entry.latest, Latest::InForce) {
                Latest::Candidate(form) => entry.in_force = Some(form),
                Latest::Gone => entry.in_force = None,
                Latest::Broken => entry.latest = Latest::Broken,
                Latest::InForce => {}
            }
        }
        self.entries.retain(|_, entry| entry.in_force.is_some() || !matches!(entry.latest, Latest::InForce));
    }

    /// The documents of the newest state, candidates where `candidate` says so.
    fn inputs(&self, candidate: impl Fn(&Arc<Path>) -> bool) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (path, entry) in &self.entries {
            let form = match &entry.latest {
                Latest::Candidate(form) if candidate(path) => Some(form),
                Latest::Gone if candidate(path) => None,
                Latest::Candidate(_) | Latest::Gone | Latest::Broken | Latest::InForce => entry.in_force.as_ref(),
            };
            inputs.extend(form.into_iter().flat_map(|form| form.documents.iter()).map(|document| Input {
                file: Arc::clone(path),
                document: Arc::clone(document),
                is_override: entry.origin == Origin::Override,
            }));
        }
        inputs
    }

    /// Whether every policy file is in force as it stands.
    pub fn is_readable(&self) -> bool {
        let mut policies = self.entries.values().filter(|entry| entry.origin == Origin::Policy);
        policies.all(|entry| matches!(entry.latest, Latest::InForce))
    }

    /// The folder has settled: what it gives is given, if all of it could be read. Tells whether that changed anything.
    pub fn settle(&mut self) -> bool {
        if !self.is_readable() || self.newest_is_whole {
            return false;
        }
        let inputs = self.inputs(|_| false).into_iter().filter(|input| !input.is_override);
        self.whole = Some(inputs.collect());
        self.newest_is_whole = true;
        true
    }

    /// Whether what gives still waits.
    pub fn is_waiting(&self) -> bool {
        !self.newest_is_whole
    }

    /// Everything that is wrong with the files as they stand.
    pub fn problems(&self) -> Vec<Problem> {
        let own = self.entries.values().flat_map(|entry| entry.problems.iter());
        let mut problems: Vec<Problem> = own.chain(&self.faults).chain(&self.warnings).cloned().collect();
        problems.sort_by(|a, b| (&a.file, a.at, a.severity).cmp(&(&b.file, b.at, b.severity)));
        problems.dedup();
        problems
    }

    /// The next snapshot of what is in force.
    pub fn snapshot(&mut self, secrets: &Secrets) -> Snapshot {
        self.generation += 1;
        let states = self.whole.as_ref().map(|whole| {
            let newest_inputs = self.inputs(|_| false);
            let (newest, _) = link(&self.catalogs, secrets, &newest_inputs);
            let whole = (!self.newest_is_whole).then(|| {
                let overrides = newest_inputs.iter().filter(|input| input.is_override);
                Arc::new(self.link_whole(whole, overrides.cloned().collect(), secrets))
            });
            States { newest: Arc::new(newest), whole }
        });
        Snapshot {
            generation: self.generation,
            digest: self.digest(),
            catalogs: Arc::clone(&self.catalogs),
            states,
            named: Arc::default(),
        }
    }

    /// The last whole state under today's overrides. An override that only fits the newest state is left out here: the
    /// newest state, which must permit too, has it.
    fn link_whole(&self, whole: &[Input], mut overrides: Vec<Input>, secrets: &Secrets) -> Policy {
        loop {
            let inputs: Vec<Input> = whole.iter().chain(&overrides).cloned().collect();
            let (policy, findings) = link(&self.catalogs, secrets, &inputs);
            let before = overrides.len();
            overrides.retain(|input| !findings.faults.iter().any(|fault| fault.files.contains(&input.file)));
            if overrides.len() == before {
                return policy;
            }
        }
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.catalogs.iter().for_each(|product| hash.update(product.catalog.digest.as_bytes()));
        for (path, entry) in &self.entries {
            if let Some(form) = &entry.in_force {
                hash.update(path.as_os_str().as_encoded_bytes());
                hash.update([0]);
                hash.update(form.digest);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The files that credentials in force, or about to be, name.
    pub fn secret_files(&self) -> BTreeSet<String> {
        let newest = self.inputs(|_| false);
        let documents = newest.iter().chain(self.whole.iter().flatten());
        documents.flat_map(|input| secret_files_of(&input.document)).collect()
    }
}

impl Entry {
    /// It has a newest form that is not in force yet.
    fn waits(&self) -> bool {
        matches!(self.latest, Latest::Candidate(_) | Latest::Gone)
    }
}

fn defines(document: &Compiled, missing: &Missing) -> bool {
    match (document, missing) {
        (Compiled::Set(set), Missing::Set(name)) => *set.name == **name,
        (Compiled::Group { group, .. }, Missing::Group(name)) => *group.name == **name,
        (Compiled::App(app), Missing::Description(name)) => *app.app == **name && app.description.is_some(),
        (
            Compiled::App(_) | Compiled::Guardrail(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_),
            Missing::Set(_) | Missing::Group(_) | Missing::Description(_),
        ) => false,
    }
}

fn secret_files_of(document: &Compiled) -> Vec<String> {
    use super::document::CredentialMethod as Method;
    let Compiled::App(app) = document else { return Vec::new() };
    let credentials = app.installations.iter().flat_map(|installation| installation.credentials.iter());
    let files = credentials.filter_map(|credential| match &credential.method {
        Method::GateKey { upstream, .. } => Some(upstream.file.value.clone()),
        Method::ConnectJwt { secret, .. } => Some(secret.value.clone()),
        Method::Token { .. } => None,
    });
    files.collect()
}
