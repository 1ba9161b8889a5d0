//! The documents in force, file by file: each in its newest readable form, or the last good one (law 7).
//!
//! Pure: whoever reads files hands over what changed. A file that does not parse, or that does not fit the others,
//! stands in its last good form; what it holds up is said in problems.

mod read;
mod said;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::{Catalogs, Compiled};
use super::document::CredentialMethod;
use super::file::Origin;
use super::link::{ChangedActs, Claim, Fault, Input, Missing, Policy, Relinked, Secrets, link, relink};
use crate::authz::pins::Pins;
use crate::authz::snapshot::{Snapshot, States};
use crate::problem::Problem;

pub use said::{Place, Said, says_with_the_same_words};

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
    /// It is there and cannot be used, for this reason: `cannot be read: permission denied`, `is a pipe`.
    Unreadable(String),
    Gone,
}

/// The documents of one file, with the digest of its content.
#[derive(Debug, Clone, Default)]
struct Form {
    digest: [u8; 32],
    documents: Box<[Arc<Compiled>]>,
}

/// One file: what is in force of it, and what it says now.
#[derive(Debug, Clone, Default)]
struct Entry {
    is_override: bool,
    in_force: Option<Form>,
    latest: Latest,
    /// What its newest content has wrong with it by itself.
    problems: Vec<Problem>,
    /// It did not fit the others when that was last tried.
    held_back: bool,
}

/// What a file says now.
#[derive(Debug, Clone, Default)]
enum Latest {
    #[default]
    InForce,
    /// Read, and waiting for the other files to fit.
    Candidate(Form),
    Gone,
    Broken,
}

/// Every document, and the states they make.
#[derive(Debug, Clone)]
pub struct Store {
    catalogs: Arc<Catalogs>,
    secrets: Arc<Secrets>,
    entries: BTreeMap<Arc<Path>, Entry>,
    /// What is in force of every file, linked. `None`: to be linked again.
    newest: Option<Arc<Policy>>,
    /// The policy's documents in the last whole state.
    whole: Option<Vec<Input>>,
    /// `whole` under today's overrides and secrets, where that was linked already.
    whole_linked: Option<Arc<Policy>>,
    newest_is_whole: bool,
    generation: u64,
    /// Something changed that the last snapshot does not have.
    moved: bool,
    /// Something was read since it was last tried how the files fit together.
    unfitted: bool,
    /// Some document may name another secret file than before.
    secrets_moved: bool,
    faults: Vec<Problem>,
    warnings: Vec<Problem>,
    pins: Arc<Pins>,
}

impl Store {
    pub fn new(catalogs: Arc<Catalogs>) -> Self {
        Self {
            catalogs,
            secrets: Arc::default(),
            entries: BTreeMap::new(),
            newest: None,
            whole: None,
            whole_linked: None,
            newest_is_whole: false,
            generation: 0,
            moved: false,
            unfitted: false,
            secrets_moved: false,
            faults: Vec::new(),
            warnings: Vec::new(),
            pins: Arc::default(),
        }
    }

    /// Takes in what changed, and lets into force what fits. The next `snapshot` stands on it.
    pub fn apply(&mut self, changes: Vec<Change>, now_ms: i64) {
        self.take(changes, now_ms);
        self.fit();
    }

    /// Reads what changed. Nothing of it is in force before `fit`; between the two, secrets can be looked up.
    pub fn take(&mut self, changes: Vec<Change>, now_ms: i64) {
        let changes: Vec<Change> = changes.into_iter().filter(|change| !self.says_so_already(change)).collect();
        self.unfitted |= !changes.is_empty();
        for read in read::all(&self.catalogs, changes, now_ms) {
            let is_override = read.origin == Origin::Override;
            if !is_override && std::mem::replace(&mut self.newest_is_whole, false) {
                self.whole_linked = self.newest.clone();
            }
            let entry = self.entries.entry(read.file).or_default();
            entry.is_override = is_override;
            entry.problems = read.problems;
            entry.latest = read.latest;
            self.secrets_moved |= entry.secret_files_move();
        }
    }

    /// The files of one folder, for whoever is told which there are instead of which went.
    pub fn files(&self, origin: Origin) -> impl Iterator<Item = &Arc<Path>> {
        let is_override = origin == Origin::Override;
        self.entries.iter().filter(move |(_, entry)| entry.is_override == is_override).map(|(path, _)| path)
    }

    /// Every override file, and what keeps it out where it is not in force as it stands.
    pub fn overrides_standing(&self) -> impl Iterator<Item = (&Arc<Path>, Option<&Problem>)> {
        let overrides = self.entries.iter().filter(|(_, entry)| entry.is_override);
        overrides.map(|(path, entry)| {
            if matches!(entry.latest, Latest::InForce) {
                return (path, None);
            }
            let own = entry.problems.iter().find(|problem| problem.is_error());
            (path, own.or_else(|| self.faults.iter().find(|fault| fault.file == *path)).or(self.faults.first()))
        })
    }

    /// Every file in force, with the SHA-256 of its text.
    pub fn in_force(&self) -> impl Iterator<Item = (Origin, &Arc<Path>, [u8; 32])> {
        self.entries.iter().filter_map(|(path, entry)| {
            let origin = if entry.is_override { Origin::Override } else { Origin::Policy };
            Some((origin, path, entry.in_force.as_ref()?.digest))
        })
    }

    /// The digests of texts that were read and wait to be in force.
    pub fn waiting(&self) -> impl Iterator<Item = [u8; 32]> {
        self.entries.values().filter_map(|entry| match &entry.latest {
            Latest::Candidate(form) => Some(form.digest),
            Latest::Gone | Latest::Broken | Latest::InForce => None,
        })
    }

    fn says_so_already(&self, change: &Change) -> bool {
        let Some(entry) = self.entries.get(&change.file) else { return matches!(change.content, Content::Gone) };
        let Content::Text(text) = &change.content else { return false };
        let in_force = entry.in_force.as_ref().is_some_and(|form| form.digest == read::digest(text));
        in_force && matches!(entry.latest, Latest::InForce)
    }

    /// Lets as many candidates into force as fit together; the others stand in their last good form.
    pub fn fit(&mut self) {
        if self.newest.is_some() && !self.entries.values().any(Entry::waits) {
            self.faults.clear();
            return;
        }
        // What waits was tried against these same files: a file that does not fit must not cost a linking at each look.
        if self.newest.is_some() && !self.unfitted {
            return;
        }
        if let Some(policy) = self.with_changed_acts() {
            self.fitted(policy, Vec::new(), &BTreeSet::new());
            return;
        }
        let mut held_back: BTreeSet<Arc<Path>> = BTreeSet::new();
        let mut faults = Vec::new();
        let policy = loop {
            let inputs = self.inputs(|path| !held_back.contains(path));
            let (policy, findings) = link(&self.catalogs, &self.secrets, &inputs);
            // Each fault is weighed by what was tried: one that shares its cause with another must not find its cause
            // held back already and blame everybody else.
            let tried = held_back.clone();
            for fault in findings.faults {
                held_back.extend(self.blamed(&fault, &tried));
                faults.push(fault.problem);
            }
            if held_back.len() == tried.len() {
                self.warnings = findings.warnings;
                break policy;
            }
        };
        self.fitted(policy, faults, &held_back);
    }

    fn fitted(&mut self, policy: Policy, faults: Vec<Problem>, held_back: &BTreeSet<Arc<Path>>) {
        self.unfitted = false;
        self.faults = faults;
        self.newest = Some(Arc::new(policy));
        self.moved |= self.let_in(held_back);
    }

    /// The policy where nothing but acts changed, and all of them fit: made of the last one, without linking 10,000 apps.
    fn with_changed_acts(&mut self) -> Option<Policy> {
        let before = self.newest.clone()?;
        let mut changed = ChangedActs::default();
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.waits()) {
            if !entry.is_override {
                return None;
            }
            changed.documents.extend(entry.forms().flat_map(|form| form.documents.iter().cloned()));
            changed.files.insert(Arc::clone(path));
        }
        let linked = relink(&self.catalogs, &before, &self.inputs(|_| true), &changed)?;
        let Relinked { policy, files, warnings } = linked;
        self.warnings.retain(|warning| !files.contains(&warning.file));
        self.warnings.extend(warnings);
        Some(policy)
    }

    /// The candidates that a fault counts against: those of its files that changed, and those that went or changed
    /// and used to say what is missing. Where none of these is to blame, every candidate is.
    fn blamed(&self, fault: &Fault, held_back: &BTreeSet<Arc<Path>>) -> Vec<Arc<Path>> {
        let candidates = || self.entries.iter().filter(|(path, entry)| entry.waits() && !held_back.contains(*path));
        let said = |entry: &Entry| {
            let form = entry.in_force.iter().flat_map(|form| form.documents.iter());
            fault.missing.as_ref().is_some_and(|missing| form.into_iter().any(|document| defines(document, missing)))
        };
        let direct = candidates().filter(|(path, entry)| fault.files.contains(path) || said(entry));
        let mut blamed: Vec<(&Arc<Path>, &Entry)> = direct.collect();
        if blamed.is_empty() {
            blamed = candidates().collect();
        }
        // Whoever brings the conflict is to blame before whoever was there: a file must not hold back another app's
        // revocation by claiming what is the other's, or by having been in the way already.
        let brings = |entry: &Entry| fault.claim.as_ref().is_some_and(|claim| !entry.claims(claim));
        if blamed.iter().any(|(_, entry)| brings(entry)) {
            blamed.retain(|(_, entry)| brings(entry));
        } else if blamed.iter().any(|(_, entry)| entry.held_back) {
            blamed.retain(|(_, entry)| entry.held_back);
        }
        blamed.into_iter().map(|(path, _)| Arc::clone(path)).collect()
    }

    /// Tells whether anything that is in force changed.
    fn let_in(&mut self, held_back: &BTreeSet<Arc<Path>>) -> bool {
        let mut changed = false;
        for (path, entry) in &mut self.entries {
            entry.held_back = held_back.contains(path);
            if entry.held_back {
                continue;
            }
            let differs = match std::mem::take(&mut entry.latest) {
                Latest::Candidate(form) => {
                    let digest = form.digest;
                    entry.in_force.replace(form).is_none_or(|before| before.digest != digest)
                }
                Latest::Gone => entry.in_force.take().is_some(),
                Latest::Broken => {
                    entry.latest = Latest::Broken;
                    false
                }
                Latest::InForce => false,
            };
            changed |= differs;
            if differs && entry.is_override {
                self.whole_linked = None;
            }
        }
        self.entries.retain(|_, entry| entry.in_force.is_some() || !matches!(entry.latest, Latest::InForce));
        changed
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
                is_override: entry.is_override,
            }));
        }
        inputs
    }

    /// Whether every policy file is in force as it stands.
    pub fn is_readable(&self) -> bool {
        let mut policies = self.entries.values().filter(|entry| !entry.is_override);
        policies.all(|entry| matches!(entry.latest, Latest::InForce))
    }

    /// The folder has settled: what it gives is given, if all of it could be read. Tells whether that changed anything.
    pub fn settle(&mut self) -> bool {
        if !self.is_readable() || self.newest_is_whole {
            return false;
        }
        let inputs = self.inputs(|_| false).into_iter().filter(|input| !input.is_override);
        self.whole = Some(inputs.collect());
        self.whole_linked = None;
        self.newest_is_whole = true;
        self.moved = true;
        self.secrets_moved = true;
        true
    }

    /// What the secret files hold now.
    pub fn know(&mut self, secrets: &Arc<Secrets>) {
        if !Arc::ptr_eq(&self.secrets, secrets) && self.secrets != *secrets {
            self.newest = None;
            self.whole_linked = None;
            self.moved = true;
        }
        self.secrets = Arc::clone(secrets);
    }

    /// Whether a snapshot taken now says something else than the last one.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether `secret_files` may give something else than when this was last asked.
    pub fn secrets_moved(&mut self) -> bool {
        std::mem::take(&mut self.secrets_moved)
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
        if !std::ptr::eq(&*self.secrets, secrets) && *self.secrets != *secrets {
            self.know(&Arc::new(secrets.clone()));
        }
        self.generation += 1;
        self.moved = false;
        Snapshot {
            generation: self.generation,
            digest: self.digest(),
            catalogs: Arc::clone(&self.catalogs),
            states: self.states(),
            named: Arc::default(),
            pins: Arc::clone(&self.pins),
        }
    }

    /// From the next snapshot on names stand for this.
    pub fn pin(&mut self, pins: Arc<Pins>) {
        self.moved |= *self.pins != *pins;
        self.pins = pins;
    }

    /// Links only what is not linked already: with 10,000 apps that takes most of the time of a reload.
    fn states(&mut self) -> Option<States> {
        let inputs = self.whole.as_ref()?;
        let newest = match &self.newest {
            Some(newest) => Arc::clone(newest),
            None => Arc::new(link(&self.catalogs, &self.secrets, &self.inputs(|_| false)).0),
        };
        self.newest = Some(Arc::clone(&newest));
        if self.newest_is_whole {
            return Some(States { newest, whole: None });
        }
        let whole = match &self.whole_linked {
            Some(whole) => Arc::clone(whole),
            None => Arc::new(self.link_whole(inputs, self.overrides())),
        };
        self.whole_linked = Some(Arc::clone(&whole));
        let differs = !Arc::ptr_eq(&newest, &whole);
        Some(States { newest, whole: differs.then_some(whole) })
    }

    fn overrides(&self) -> Vec<Input> {
        self.inputs(|_| false).into_iter().filter(|input| input.is_override).collect()
    }

    /// The last whole state under today's overrides. An override that only fits the newest state is left out here: the
    /// newest state, which must permit too, has it.
    fn link_whole(&self, whole: &[Input], mut overrides: Vec<Input>) -> Policy {
        loop {
            let inputs: Vec<Input> = whole.iter().chain(&overrides).cloned().collect();
            let (policy, findings) = link(&self.catalogs, &self.secrets, &inputs);
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
        let files = self.documents().flat_map(|document| secret_files_of(document));
        files.map(str::to_owned).collect()
    }

    /// Digests of the tokens and gate keys in force.
    pub fn credential_digests(&self) -> impl Iterator<Item = &[u8; 32]> {
        let in_force = self.entries.values().flat_map(|entry| entry.in_force.iter());
        let documents = in_force.flat_map(|form| form.documents.iter());
        documents.flat_map(|document| credentials_of(document)).filter_map(|method| match method {
            CredentialMethod::GateKey { sha256, .. } | CredentialMethod::Token { sha256 } => Some(&sha256.value),
            CredentialMethod::ConnectJwt { .. } | CredentialMethod::Client { .. } => None,
        })
    }

    /// Every document that a snapshot stands on, or that may be let in.
    fn documents(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        let forms = self.entries.values().flat_map(Entry::forms);
        let whole = self.whole.iter().flatten().map(|input| &input.document);
        forms.flat_map(|form| form.documents.iter()).chain(whole)
    }
}

impl Entry {
    /// It has a newest form that is not in force yet.
    fn waits(&self) -> bool {
        matches!(self.latest, Latest::Candidate(_) | Latest::Gone)
    }

    /// Whether its last good form says that this is its own.
    fn claims(&self, claim: &Claim) -> bool {
        let mut documents = self.in_force.iter().flat_map(|form| form.documents.iter());
        documents.any(|document| claims(document, claim))
    }

    fn forms(&self) -> impl Iterator<Item = &Form> {
        let candidate = match &self.latest {
            Latest::Candidate(form) => Some(form),
            Latest::Gone | Latest::Broken | Latest::InForce => None,
        };
        self.in_force.iter().chain(candidate)
    }

    fn secret_files_move(&self) -> bool {
        let files = |form: &Form| -> HashSet<String> {
            form.documents.iter().flat_map(|document| secret_files_of(document)).map(str::to_owned).collect()
        };
        match &self.latest {
            Latest::Candidate(form) => self.in_force.as_ref().map(files).unwrap_or_default() != files(form),
            Latest::Gone | Latest::Broken | Latest::InForce => false,
        }
    }
}

fn defines(document: &Compiled, missing: &Missing) -> bool {
    match (document, missing) {
        (Compiled::Set(set), Missing::Set(name)) => *set.name == **name,
        (Compiled::Group { group, .. }, Missing::Group(name)) => *group.name == **name,
        (Compiled::App(app), Missing::Description(name)) => *app.app == **name && app.description.is_some(),
        (Compiled::App(app), Missing::Words(name)) => *app.app == **name,
        (
            Compiled::App(_) | Compiled::Guardrail(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_),
            Missing::Set(_) | Missing::Group(_) | Missing::Description(_) | Missing::Words(_),
        ) => false,
    }
}

fn claims(document: &Compiled, claim: &Claim) -> bool {
    match (document, claim) {
        (Compiled::Set(set), Claim::Set(name, tenant)) => set.name == *name && set.tenant == *tenant,
        (Compiled::Group { group, .. }, Claim::Group(name, tenant)) => group.name == *name && group.tenant == *tenant,
        (Compiled::Guardrail(guardrail), Claim::Guardrail(name)) => guardrail.name == *name,
        (Compiled::App(app), Claim::Description(name)) => app.app == *name && app.description.is_some(),
        (Compiled::App(app), Claim::Installation(name, tenant)) => {
            app.app == *name && app.installations.iter().any(|one| one.installation.tenant == *tenant)
        }
        (Compiled::App(_), Claim::Digest(digest)) => credentials_of(document).any(|method| match method {
            CredentialMethod::GateKey { sha256, .. } | CredentialMethod::Token { sha256 } => sha256.value == *digest,
            CredentialMethod::ConnectJwt { .. } | CredentialMethod::Client { .. } => false,
        }),
        (Compiled::App(_), Claim::ClientKey(key)) => credentials_of(document).any(|method| match method {
            CredentialMethod::ConnectJwt { client_key, .. } => *client_key.value == **key,
            CredentialMethod::GateKey { .. } | CredentialMethod::Token { .. } | CredentialMethod::Client { .. } => {
                false
            }
        }),
        (Compiled::App(app), Claim::Client(key)) => app.installations.iter().any(|one| {
            *one.installation.tenant == *key.tenant
                && one.credentials.iter().any(|credential| match &credential.method {
                    CredentialMethod::Client { by, issuer, client, .. } => {
                        *by == key.by && *issuer.value == *key.issuer && *client.value == *key.client
                    }
                    CredentialMethod::GateKey { .. }
                    | CredentialMethod::Token { .. }
                    | CredentialMethod::ConnectJwt { .. } => false,
                })
        }),
        (
            Compiled::App(_) | Compiled::Guardrail(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_),
            _,
        ) => false,
    }
}

fn credentials_of(document: &Compiled) -> impl Iterator<Item = &CredentialMethod> {
    let app = match document {
        Compiled::App(app) => Some(app),
        Compiled::Guardrail(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => None,
    };
    let installations = app.into_iter().flat_map(|app| app.installations.iter());
    installations.flat_map(|one| one.credentials.iter()).map(|credential| &credential.method)
}

fn secret_files_of(document: &Compiled) -> impl Iterator<Item = &str> {
    credentials_of(document).filter_map(|method| match method {
        CredentialMethod::GateKey { upstream, .. } => Some(upstream.file.value.as_str()),
        CredentialMethod::ConnectJwt { secret, .. } => Some(secret.value.as_str()),
        CredentialMethod::Client { upstream, .. } => upstream.as_ref().map(|with| with.file.value.as_str()),
        CredentialMethod::Token { .. } => None,
    })
}
