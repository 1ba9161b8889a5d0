//! Links compiled documents into one policy: references resolved, credentials indexed, guardrails laid over apps.
//!
//! What is wrong between documents is a `Fault` that names the files involved; the caller decides which of them fall
//! back to their last good form. The data plane has no look-up that can miss.

mod acts;
mod app;
mod forms;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::app::{App, LinkedPart, ProductId};
use super::area::{Area, ContainerSet, Containers, Form};
use super::compile::{Catalogs, Compiled, CompiledGuardrail, CompiledSet, Product, container_kind, named_container};
use super::condition::UserGroup;
use super::credentials::{ClientKey, Credentials, Secret};
use super::document::Apps;
use super::part::Part;
use crate::authz::catalog::KindId;
use crate::problem::{At, Problem, near};

pub use acts::{ChangedActs, Relinked, relink};

/// Reading names of ids, by product and tenant.
type Names = HashMap<(Box<str>, Box<str>), HashMap<Box<str>, Arc<str>>>;

/// One state of the policy, by which a request is judged.
#[derive(Debug, Default)]
pub struct Policy {
    pub apps: Box<[Arc<App>]>,
    by_name: HashMap<Arc<str>, u32>,
    /// By `ProductId`.
    products: Box<[ProductPolicy]>,
    names: Arc<Names>,
}

/// What a policy says of one product.
#[derive(Debug, Default)]
pub struct ProductPolicy {
    pub credentials: Credentials,
    pub guardrails: Box<[LinkedGuardrail]>,
}

/// A guardrail as it rules one product.
#[derive(Debug)]
pub struct LinkedGuardrail {
    pub name: Arc<str>,
    pub apps: Reached,
    pub linked: LinkedPart,
}

/// The apps that a guardrail reaches, by their index. Sorted.
#[derive(Debug, PartialEq, Eq)]
pub enum Reached {
    AllBut(Box<[u32]>),
    Only(Box<[u32]>),
}

impl Policy {
    /// Every name that a rule writes of a container, with each of these tenants where it may mean one.
    pub fn container_names(&self, product: ProductId, tenants: &[Arc<str>], each: &mut impl FnMut(&str, KindId, &str)) {
        let served = |tenant: &str| tenants.iter().any(|one| **one == *tenant);
        for app in self.apps.iter().filter(|app| app.product == product) {
            let installed = app.installations.iter().map(|one| &one.tenant).filter(|tenant| served(tenant));
            let installed: Vec<&Arc<str>> = installed.collect();
            app.parts.iter().for_each(|linked| names_of(linked, &installed, &served, each));
        }
        let everywhere: Vec<&Arc<str>> = tenants.iter().collect();
        for guardrail in self.product(product).map_or(&[][..], |product| &product.guardrails[..]) {
            names_of(&guardrail.linked, &everywhere, &served, each);
        }
    }
}

fn names_of(
    linked: &LinkedPart,
    tenants: &[&Arc<str>],
    served: &impl Fn(&str) -> bool,
    each: &mut impl FnMut(&str, KindId, &str),
) {
    let mut tell = |tenant: &str, kind: KindId, containers: &Containers| {
        let names = containers.iter().filter(|container| container.form == Form::Name);
        names.for_each(|container| each(tenant, kind, &container.text));
    };
    for area in &linked.part.areas {
        let Area::Kinds(kinds) = area else { continue };
        for area in kinds {
            tenants.iter().for_each(|tenant| tell(tenant, area.kind, &area.named));
        }
    }
    for set in linked.sets.iter().flatten().filter(|set| served(&set.tenant)) {
        set.kinds.iter().for_each(|(kind, containers)| tell(&set.tenant, *kind, containers));
    }
}

impl Reached {
    /// An app that nobody described is reached by what reaches all; no exception helps it.
    pub fn reaches(&self, app: Option<u32>) -> bool {
        match (self, app) {
            (Self::AllBut(except), Some(app)) => except.binary_search(&app).is_err(),
            (Self::AllBut(_), None) => true,
            (Self::Only(apps), Some(app)) => apps.binary_search(&app).is_ok(),
            (Self::Only(_), None) => false,
        }
    }
}

impl Policy {
    pub fn app(&self, name: &str) -> Option<(u32, &Arc<App>)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.apps.get(index as usize)?))
    }

    pub fn product(&self, id: ProductId) -> Option<&ProductPolicy> {
        self.products.get(usize::from(id.0))
    }

    /// The guardrails of every product.
    pub fn guardrails(&self) -> impl Iterator<Item = &LinkedGuardrail> {
        self.products.iter().flat_map(|product| product.guardrails.iter())
    }

    /// The reading name of an id in a tenant.
    pub fn name_of(&self, product: &str, tenant: &str, id: &str) -> Option<&Arc<str>> {
        self.names.get(&(product.into(), tenant.into()))?.get(id)
    }
}

/// A compiled document and the file it stands in.
#[derive(Debug, Clone)]
pub struct Input {
    pub file: Arc<Path>,
    pub document: Arc<Compiled>,
    /// From the `overrides` folder: it may name what the policy does not describe.
    pub is_override: bool,
}

/// What is wrong between documents.
#[derive(Debug)]
pub struct Fault {
    pub problem: Problem,
    /// The files of the documents involved.
    pub files: Vec<Arc<Path>>,
    /// What is referred to and not there: a file that last defined it is involved too.
    pub missing: Option<Missing>,
    /// What two documents say is theirs: the one that said so before is not to blame.
    pub claim: Option<Claim>,
}

/// What only one document may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Name and tenant.
    Set(Arc<str>, Arc<str>),
    /// Name and tenant.
    Group(Arc<str>, Arc<str>),
    Guardrail(Arc<str>),
    /// `name` and `contact` of an app.
    Description(Arc<str>),
    /// App and tenant.
    Installation(Arc<str>, Arc<str>),
    /// SHA-256 of a gate key or token.
    Digest([u8; 32]),
    ClientKey(Box<str>),
    Client(ClientKey),
}

/// A reference that does not resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    Set(String),
    Group(String),
    /// The document that describes an app.
    Description(String),
    /// Something that only documents of this app can say: an installation, a credential.
    Words(String),
}

/// What linking found wrong: `faults` keep documents out, `warnings` do not.
#[derive(Debug, Default)]
pub struct Findings {
    pub faults: Vec<Fault>,
    pub warnings: Vec<Problem>,
}

/// Faults, and warnings, that are told of one linking: one file can hold a million, and each costs the writer time in
/// which no other app's revocation comes into force. The rest is told when these are mended.
const FINDINGS_MAX: usize = 200;

impl Findings {
    /// Two documents claim the same.
    fn twice(&mut self, claim: Claim, file: &Arc<Path>, at: At, message: String, help: &str, others: Vec<Arc<Path>>) {
        let problem = Problem::error(file, at, message).help(help);
        let files = [vec![Arc::clone(file)], others].concat();
        self.fault(Fault { problem, files, missing: None, claim: Some(claim) });
    }

    fn fault(&mut self, fault: Fault) {
        if !self.is_full() {
            self.faults.push(fault);
        }
    }

    fn warn(&mut self, warning: Problem) {
        if self.warnings.len() < FINDINGS_MAX {
            self.warnings.push(warning);
        }
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= FINDINGS_MAX
    }

    fn told(&self) -> usize {
        self.faults.len() + self.warnings.len()
    }
}

/// The contents of the files that credentials name.
pub type Secrets = HashMap<std::path::PathBuf, Secret>;

/// Links documents. The policy is complete but for what the faults keep out; with faults it must not be used.
pub fn link(catalogs: &Catalogs, secrets: &Secrets, inputs: &[Input]) -> (Policy, Findings) {
    let mut findings = Findings::default();
    let references = References::gather(inputs, &mut findings);
    let mut linker = Linker { catalogs, references, findings };
    let (apps, credentials) = app::link_apps(&mut linker, secrets, inputs);
    let by_name: HashMap<Arc<str>, u32> =
        apps.iter().zip(0u32..).map(|(app, index)| (Arc::clone(&app.name), index)).collect();
    let guardrails = linker.guardrails(inputs, &by_name);
    let products = credentials.into_iter().zip(guardrails);
    let products =
        products.map(|(credentials, guardrails)| ProductPolicy { credentials, guardrails: guardrails.into() });
    let names = Arc::new(gather_names(inputs));
    let policy = Policy { apps: apps.into(), by_name, products: products.collect(), names };
    (policy, linker.findings)
}

struct Linker<'a> {
    catalogs: &'a Catalogs,
    references: References<'a>,
    findings: Findings,
}

/// What documents may refer to, by name.
struct References<'a> {
    sets: HashMap<&'a str, Vec<&'a CompiledSet>>,
    groups: HashMap<&'a str, Vec<&'a Arc<UserGroup>>>,
    /// Sets as one product reads them, made when first referred to.
    read: HashMap<(ProductId, &'a str), Box<[Arc<ContainerSet>]>>,
}

impl<'a> References<'a> {
    fn gather(inputs: &'a [Input], findings: &mut Findings) -> Self {
        let mut references = Self { sets: HashMap::new(), groups: HashMap::new(), read: HashMap::new() };
        let mut seen: HashMap<(&str, &str, &str), &Arc<Path>> = HashMap::new();
        for input in inputs {
            let (word, name, tenant, at, claim): (_, _, _, _, fn(_, _) -> Claim) = match &*input.document {
                Compiled::Set(set) => {
                    references.sets.entry(&set.name).or_default().push(set);
                    ("set", &set.name, &set.tenant, set.at, Claim::Set)
                }
                Compiled::Group { at, group } => {
                    references.groups.entry(&group.name).or_default().push(group);
                    ("group", &group.name, &group.tenant, *at, Claim::Group)
                }
                Compiled::App(_) | Compiled::Guardrail(_) | Compiled::Names(_) => continue,
            };
            if let Some(first) = seen.insert((word, name, tenant), &input.file) {
                let message =
                    format!("the {word} `{name}` of {tenant} is written twice; the other is in {}", first.display());
                let claim = claim(Arc::clone(name), Arc::clone(tenant));
                findings.twice(claim, &input.file, at, message, "keep one of them", vec![Arc::clone(first)]);
            }
        }
        references
    }
}

impl<'a> Linker<'a> {
    /// Resolves the references of one part.
    fn link_part(&mut self, product: &Product, part: &'a Arc<Part>, file: &Arc<Path>) -> LinkedPart {
        let sets = part.set_references.iter().map(|(name, line)| self.set(product, name, *line, file)).collect();
        let groups = part.group_references.iter().map(|(name, line)| self.group(name, *line, file)).collect();
        let linked = LinkedPart { part: Arc::clone(part), sets, groups };
        forms::warnings(product, &linked, file).into_iter().for_each(|warning| self.findings.warn(warning));
        linked
    }

    fn set(&mut self, product: &Product, name: &'a str, line: u32, file: &Arc<Path>) -> Box<[Arc<ContainerSet>]> {
        if let Some(read) = self.references.read.get(&(product.id, name)) {
            return read.clone();
        }
        let Some(sets) = self.references.sets.get(name) else {
            let proposed = near(self.findings.told(), name, self.references.sets.keys().copied()).map(str::to_owned);
            self.missing(file, line, "set", name, proposed, Missing::Set(name.to_owned()));
            return Box::default();
        };
        let read: Box<[_]> = sets.iter().map(|set| Arc::new(read_set(product, set))).collect();
        self.references.read.insert((product.id, name), read.clone());
        read
    }

    fn group(&mut self, name: &str, line: u32, file: &Arc<Path>) -> Box<[Arc<UserGroup>]> {
        if let Some(groups) = self.references.groups.get(name) {
            return groups.iter().map(|group| Arc::clone(group)).collect();
        }
        let proposed = near(self.findings.told(), name, self.references.groups.keys().copied()).map(str::to_owned);
        self.missing(file, line, "group", name, proposed, Missing::Group(name.to_owned()));
        Box::default()
    }

    fn missing(&mut self, file: &Arc<Path>, line: u32, word: &str, name: &str, near: Option<String>, missing: Missing) {
        let problem = Problem::error(file, At { line, column: 1 }, format!("no document has `{word}: {name}`"));
        let problem = problem.help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write a document with `{word}: {name}`, or take the reference out"),
        });
        let files = vec![Arc::clone(file)];
        self.findings.fault(Fault { problem, files, missing: Some(missing), claim: None });
    }

    /// The guardrails of each product, in the order of the catalogs.
    fn guardrails(&mut self, inputs: &'a [Input], apps: &HashMap<Arc<str>, u32>) -> Vec<Vec<LinkedGuardrail>> {
        let mut products: Vec<Vec<LinkedGuardrail>> = self.catalogs.iter().map(|_| Vec::new()).collect();
        // An act and its copy in the policy stand side by side until the act is dropped.
        let mut seen: HashMap<(bool, &str), &Arc<Path>> = HashMap::new();
        for input in inputs {
            let Compiled::Guardrail(guardrail) = &*input.document else { continue };
            if let Some(first) = seen.insert((input.is_override, &guardrail.name), &input.file) {
                let message =
                    format!("the guardrail `{}` is written twice; the other is in {}", guardrail.name, first.display());
                let others = vec![Arc::clone(first)];
                let claim = Claim::Guardrail(Arc::clone(&guardrail.name));
                let help = "give one of them another name";
                self.findings.twice(claim, &input.file, guardrail.at, message, help, others);
            }
            self.warn_of_unknown_apps(guardrail, apps, &input.file);
            for (id, part) in &guardrail.parts {
                let Some(product) = self.catalogs.get(*id) else { continue };
                let linked = self.link_part(product, part, &input.file);
                let linked =
                    LinkedGuardrail { name: Arc::clone(&guardrail.name), apps: reached(&guardrail.apps, apps), linked };
                if let Some(list) = products.get_mut(usize::from(id.0)) {
                    list.push(linked);
                }
            }
        }
        products
    }

    /// Naming an app that nobody describes takes nothing and harms nothing; were it an error, deleting an app's file
    /// would have to wait for the guardrail's.
    fn warn_of_unknown_apps(&mut self, guardrail: &CompiledGuardrail, apps: &HashMap<Arc<str>, u32>, file: &Arc<Path>) {
        let (Apps::Named(names) | Apps::All { except: names, .. } | Apps::Product { except: names, .. }) =
            &guardrail.apps;
        for name in names.iter().filter(|name| !apps.contains_key(name.value.as_str())) {
            let problem = Problem::warning(file, name.at, format!("no document describes the app `{}`", name.value));
            if self.findings.warnings.len() >= FINDINGS_MAX {
                return;
            }
            let proposed = near(self.findings.told(), &name.value, apps.keys().map(|app| &**app));
            self.findings.warn(match proposed {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
    }
}

fn reached(apps: &Apps, by_name: &HashMap<Arc<str>, u32>) -> Reached {
    let (Apps::Named(names) | Apps::All { except: names, .. } | Apps::Product { except: names, .. }) = apps;
    let mut indices: Vec<u32> = names.iter().filter_map(|name| by_name.get(name.value.as_str()).copied()).collect();
    indices.sort_unstable();
    match apps {
        Apps::Named(_) => Reached::Only(indices.into()),
        Apps::All { .. } | Apps::Product { .. } => Reached::AllBut(indices.into()),
    }
}

/// A set as one product reads it: a text that fits none of its kinds can name none of its containers.
fn read_set(product: &Product, set: &CompiledSet) -> ContainerSet {
    let kinds = set.kinds.iter().filter_map(|(name, texts)| {
        let (id, kind) = container_kind(&product.catalog, &name.value)?;
        let named = texts.iter().filter_map(|text| named_container(kind, &text.value)).collect();
        Some((id, Containers::new(named)))
    });
    ContainerSet { name: Arc::clone(&set.name), tenant: Arc::clone(&set.tenant), kinds: kinds.collect() }
}

fn gather_names(inputs: &[Input]) -> Names {
    let mut names = Names::new();
    for input in inputs {
        let Compiled::Names(document) = &*input.document else { continue };
        let key = (document.product.value.as_str().into(), document.tenant.value.as_str().into());
        let entries = document.names.iter().map(|(id, name)| (id.value.as_str().into(), name.as_str().into()));
        names.entry(key).or_default().extend(entries);
    }
    names
}

/// The files that hold documents of each app, for faults between them.
fn files_of<'f>(files: impl Iterator<Item = &'f Arc<Path>>) -> Vec<Arc<Path>> {
    let unique: HashSet<&Arc<Path>> = files.collect();
    unique.into_iter().cloned().collect()
}
