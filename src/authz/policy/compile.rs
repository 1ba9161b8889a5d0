//! Compiles one document against the catalogs: names become numbers, rules become bits.
//!
//! Everything fallible happens here, so that deciding cannot fail. References to other documents (sets, groups) stay
//! symbolic until `link` resolves them.

mod rules;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::app::{Installation, ProductId};
use super::area::{Form, NamedContainer};
use super::condition::UserGroup;
use super::document::{self, AppDocument, Apps, Body, CredentialMethod, Document, GuardrailDocument, Tenants};
use super::part::Part;
use crate::authz::catalog::container::comparison_form;
use crate::authz::catalog::{Catalog, ContainerKind, CredentialKindId, KindId, OperationId};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::problem::{At, Problem, Spanned, did_you_mean, near};

pub use rules::RuleCompiler;

/// The longest time an installation or gate may be under `observe`.
pub const OBSERVE_MAX_MS: i64 = 30 * 24 * 3_600_000;

/// The catalogs that policies are compiled against, with their names indexed.
#[derive(Debug)]
pub struct Catalogs(Vec<Product>);

/// One product and its indices.
#[derive(Debug)]
pub struct Product {
    pub id: ProductId,
    pub catalog: Arc<Catalog>,
    scopes: HashMap<Arc<str>, ScopeId>,
    operations: HashMap<Box<str>, OperationId>,
    /// Every scope that some operation needs.
    pub used: ScopeSet,
}

impl Catalogs {
    /// At most 256; one catalog a product.
    pub fn new(catalogs: impl IntoIterator<Item = Arc<Catalog>>) -> Self {
        let numbered = (0..=u8::MAX).zip(catalogs);
        Self(numbered.map(|(number, catalog)| Product::new(ProductId(number), catalog)).collect())
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Product> {
        self.0.iter()
    }

    pub fn by_name(&self, name: &str) -> Option<&Product> {
        self.0.iter().find(|product| &*product.catalog.product == name)
    }

    pub fn get(&self, id: ProductId) -> Option<&Product> {
        self.0.get(usize::from(id.0))
    }
}

impl Product {
    fn new(id: ProductId, catalog: Arc<Catalog>) -> Self {
        let scopes = catalog.scopes.iter().enumerate();
        let scopes = scopes.filter_map(|(index, scope)| Some((scope.name.clone(), ScopeId::new(index)?))).collect();
        let operations = (0..=u16::MAX).zip(&catalog.operations);
        let operations = operations.map(|(index, operation)| (operation.id.clone(), OperationId(index))).collect();
        let mut used = ScopeSet::EMPTY;
        for operation in &catalog.operations {
            used.union_with(&operation.any_scopes());
        }
        used.insert(catalog.gate_call);
        // Any answer may lead to another origin.
        used.insert(catalog.gate_mint);
        Self { id, catalog, scopes, operations, used }
    }

    pub fn scope(&self, name: &str) -> Option<ScopeId> {
        self.scopes.get(name).copied()
    }

    pub fn operation(&self, id: &str) -> Option<OperationId> {
        self.operations.get(id).copied()
    }
}

/// One document, compiled.
#[derive(Debug)]
pub enum Compiled {
    App(CompiledApp),
    Guardrail(CompiledGuardrail),
    Set(CompiledSet),
    Group { at: At, group: Arc<UserGroup> },
    Names(document::NamesDocument),
}

/// One of the documents of an app.
#[derive(Debug)]
pub struct CompiledApp {
    pub app: Arc<str>,
    pub at: At,
    pub product: ProductId,
    /// Title and contact.
    pub description: Option<(Arc<str>, Arc<str>)>,
    pub installations: Box<[CompiledInstallation]>,
    pub part: Arc<Part>,
    pub windows: Box<[document::InstallWindow]>,
    pub suspensions: Box<[document::Suspension]>,
    /// Some rule names users, so some credential must be able to show one.
    pub users_at: Option<At>,
}

/// An installation with its credentials.
#[derive(Debug)]
pub struct CompiledInstallation {
    pub installation: Installation,
    pub at: At,
    pub credentials: Box<[CompiledCredential]>,
}

/// A credential whose kind is known to the catalog.
#[derive(Debug)]
pub struct CompiledCredential {
    pub at: At,
    pub kind: CredentialKindId,
    pub user: Option<Arc<str>>,
    pub pipeline: Option<Arc<str>>,
    pub method: CredentialMethod,
}

/// A guardrail, compiled once for each product that it reaches.
#[derive(Debug)]
pub struct CompiledGuardrail {
    pub name: Arc<str>,
    pub at: At,
    pub apps: Apps,
    pub parts: Box<[(ProductId, Arc<Part>)]>,
}

/// A kind of container, and the containers written for it.
pub type WrittenKind = (Spanned<String>, Vec<Spanned<String>>);

/// A set, still in words: which product it speaks for depends on who refers to it.
#[derive(Debug)]
pub struct CompiledSet {
    pub name: Arc<str>,
    pub at: At,
    pub tenant: Arc<str>,
    pub kinds: Box<[WrittenKind]>,
}

/// What compiling needs besides the document.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalogs: &'a Catalogs,
    pub file: &'a Arc<Path>,
    /// Unix time in milliseconds, for what must not lie in the future and for what has ended.
    pub now_ms: i64,
}

/// Compiles one document. With an error among the problems the result must not be used.
pub fn compile(context: Context<'_>, document: &Document, problems: &mut Vec<Problem>) -> Option<Compiled> {
    match &document.body {
        Body::App(app) => compile_app(context, document.at, app, problems).map(Compiled::App),
        Body::Guardrail(guardrail) => {
            Some(Compiled::Guardrail(compile_guardrail(context, document.at, guardrail, problems)))
        }
        Body::Set(set) => {
            for (kind, containers) in &set.containers {
                check_kind_somewhere(context, kind, problems);
                containers.iter().for_each(|one| check_container_somewhere(context, kind, one, problems));
                warn_of_mixed_forms(context, kind, containers, problems);
            }
            Some(Compiled::Set(CompiledSet {
                name: set.set.value.as_str().into(),
                at: document.at,
                tenant: set.tenant.value.as_str().into(),
                kinds: set.containers.clone().into_boxed_slice(),
            }))
        }
        Body::Group(group) => Some(Compiled::Group {
            at: document.at,
            group: Arc::new(UserGroup {
                name: group.group.value.as_str().into(),
                tenant: group.tenant.value.as_str().into(),
                users: group.users.iter().map(|user| user.value.as_str().into()).collect(),
                claim: group.claim.as_ref().map(|claim| claim.value.as_str().into()),
            }),
        }),
        Body::Names(names) => {
            find_product(context, &names.product, &names.product.value, problems)?;
            Some(Compiled::Names(names.clone()))
        }
    }
}

fn find_product<'a>(
    context: Context<'a>,
    at: &Spanned<String>,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'a Product> {
    let product = context.catalogs.by_name(name);
    if product.is_none() {
        let known = || context.catalogs.iter().map(|product| &*product.catalog.product);
        let message = format!("no catalog of the product `{name}` is loaded");
        problems.push(Problem::error(context.file, at.at, message).help(match near(problems.len(), name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the products are: {}", known().collect::<Vec<_>>().join(", ")),
        }));
    }
    product
}

fn check_kind_somewhere(context: Context<'_>, kind: &Spanned<String>, problems: &mut Vec<Problem>) {
    let kinds =
        || context.catalogs.iter().flat_map(|product| product.catalog.containers.iter()).map(|kind| &*kind.name);
    if !kinds().any(|name| name == kind.value) {
        let known: Vec<&str> = kinds().collect();
        problems.push(unknown_kind(context.file, kind, known.into_iter()));
    }
}

/// A text that fits no product's kind names no container anywhere.
fn check_container_somewhere(
    context: Context<'_>,
    kind: &Spanned<String>,
    container: &Spanned<String>,
    problems: &mut Vec<Problem>,
) {
    let kinds = context
        .catalogs
        .iter()
        .filter_map(|product| Some((&product.catalog, container_kind(&product.catalog, &kind.value)?.1)));
    if kinds.clone().next().is_none() {
        return;
    }
    let (mut is_named, mut is_told) = (false, false);
    for (catalog, kind) in kinds {
        if let Some(named) = named_container(kind, &container.value) {
            is_named = true;
            is_told |= !is_untold(catalog, kind, &named);
        }
    }
    if !is_named {
        let message = format!("`{}` is neither an id nor a key of a {}", container.value, kind.value);
        problems.push(Problem::error(context.file, container.at, message));
    } else if !is_told {
        problems.push(untold(context.file, container.at, &kind.value, &container.value));
    }
}

/// A name that the product cannot be asked about, where it can be about others: no rule by it would ever mean a container
/// that requests name by its id.
pub fn is_untold(catalog: &Catalog, kind: &ContainerKind, named: &NamedContainer) -> bool {
    let asked = kind.lookup.and_then(|lookup| catalog.lookups.get(usize::from(lookup.0)));
    named.form == Form::Name && asked.is_some_and(|asked| !asked.may_be_called(&named.text))
}

pub(super) fn untold(file: &Arc<Path>, at: At, kind: &str, name: &str) -> Problem {
    let message = format!("`{name}` stands for nothing: the product cannot be asked which {kind} has that name");
    Problem::error(file, at, message).help(format!("write the {kind}'s id"))
}

/// A set may be of any product that has such a kind: of the first in which it mixes forms, it is told.
fn warn_of_mixed_forms(
    context: Context<'_>,
    kind: &Spanned<String>,
    containers: &[Spanned<String>],
    problems: &mut Vec<Problem>,
) {
    let kinds = context.catalogs.iter().filter_map(|product| container_kind(&product.catalog, &kind.value));
    problems.extend(kinds.into_iter().find_map(|(_, kind)| {
        let first = |form: Form| {
            let is = |one: &&Spanned<String>| named_container(kind, &one.value).is_some_and(|named| named.form == form);
            containers.iter().find(is)
        };
        let (name, id) = (first(Form::Name)?, first(Form::Id)?);
        Some(mixed_forms(context.file, name.at.max(id.at), &kind.name, &name.value, &id.value))
    }));
}

/// Some containers written by key and some by id: which key an id has only a look-up could tell, so none is the other in a
/// grant, and each may be in a revocation (law 9). Whoever mixes them means one list and gets two halves.
pub(super) fn mixed_forms(file: &Arc<Path>, at: At, kind: &str, name: &str, id: &str) -> Problem {
    let message = format!(
        "`{name}` is the key of a {kind} and `{id}` an id: nobody can tell which key that id has, so also under \
         `names: as_written` no grant here matches one that a request names the other way, and every revocation does"
    );
    let help = format!("write them all as requests name them: the key of `{id}` in its place, or the ids of all");
    Problem::warning(file, at, message).help(help)
}

fn unknown_kind<'k>(file: &Arc<Path>, kind: &Spanned<String>, kinds: impl Iterator<Item = &'k str> + Clone) -> Problem {
    let problem = Problem::error(file, kind.at, format!("no catalog has containers of the kind `{}`", kind.value));
    let near = did_you_mean(&kind.value, kinds.clone());
    problem.help(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the kinds are: {}", kinds.collect::<Vec<_>>().join(", ")),
    })
}

fn compile_app(
    context: Context<'_>,
    at: At,
    document: &AppDocument,
    problems: &mut Vec<Problem>,
) -> Option<CompiledApp> {
    let product = document.app.value.split('/').next().unwrap_or_default();
    let product = find_product(context, &document.app, product, problems)?;
    let own: Vec<&str> = document.installations.iter().map(|one| one.tenant.value.as_str()).collect();
    let mut rules = RuleCompiler::new(context, product);
    for grant in &document.grants {
        rules.grant(grant, &own, &document.installations, problems);
    }
    for revocation in &document.revocations {
        rules.revocation(revocation, rules::From::App { tenants: own.len() }, problems);
    }
    let users_at = rules.users_at();
    Some(CompiledApp {
        app: document.app.value.as_str().into(),
        at,
        product: product.id,
        description: document
            .description
            .as_ref()
            .map(|text| (text.name.value.as_str().into(), text.contact.value.as_str().into())),
        installations: document
            .installations
            .iter()
            .map(|installation| compile_installation(context, product, installation, problems))
            .collect(),
        part: Arc::new(rules.finish()),
        windows: document.install_windows.clone().into_boxed_slice(),
        suspensions: document.suspensions.clone().into_boxed_slice(),
        users_at,
    })
}

fn compile_installation(
    context: Context<'_>,
    product: &Product,
    installation: &document::Installation,
    problems: &mut Vec<Problem>,
) -> CompiledInstallation {
    if let Some(at) = installation.installed_at.as_ref().filter(|at| at.value > context.now_ms) {
        let message = "`installed_at` lies in the future";
        problems.push(Problem::error(context.file, at.at, message).help("write when the app was installed (RFC 3339)"));
    }
    if let Some(until) = &installation.observe_until {
        let days = OBSERVE_MAX_MS / (24 * 3_600_000);
        if until.value.saturating_sub(context.now_ms) > OBSERVE_MAX_MS {
            let message = format!("`observe` may run for {days} days at the most");
            problems.push(Problem::error(context.file, until.at, message).help("write an earlier `until`"));
        } else if until.value <= context.now_ms {
            problems.push(Problem::warning(
                context.file,
                until.at,
                "`observe` has ended: this installation is enforced",
            ));
        }
    }
    let credentials = installation.credentials.iter();
    CompiledInstallation {
        at: installation.at,
        credentials: credentials.filter_map(|one| compile_credential(context, product, one, problems)).collect(),
        installation: Installation {
            tenant: installation.tenant.value.as_str().into(),
            tenant_name: installation.tenant_name.as_deref().map(Arc::from),
            installed_at_ms: installation.installed_at.as_ref().map(|at| at.value),
            install_window_ms: installation.install_window_ms,
            windows: Box::default(),
            observe_until_ms: installation.observe_until.as_ref().map(|until| until.value),
            suspended: None,
            file: Arc::clone(context.file),
            line: installation.at.line,
        },
    }
}

fn compile_credential(
    context: Context<'_>,
    product: &Product,
    credential: &document::Credential,
    problems: &mut Vec<Problem>,
) -> Option<CompiledCredential> {
    let Some(kind) = product.catalog.kind(&credential.kind.value) else {
        let kinds = || product.catalog.kinds.iter().map(|kind| &*kind.name);
        let message = format!("{} has no credential of the kind `{}`", product.catalog.product, credential.kind.value);
        problems.push(Problem::error(context.file, credential.kind.at, message).help(
            match near(problems.len(), &credential.kind.value, kinds()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the kinds are: {}", kinds().collect::<Vec<_>>().join(", ")),
            },
        ));
        return None;
    };
    Some(CompiledCredential {
        at: credential.at,
        kind,
        user: credential.user.as_ref().map(|user| user.value.as_str().into()),
        pipeline: credential.pipeline.as_ref().map(|pipeline| pipeline.value.as_str().into()),
        method: credential.method.clone(),
    })
}

fn compile_guardrail(
    context: Context<'_>,
    at: At,
    document: &GuardrailDocument,
    problems: &mut Vec<Problem>,
) -> CompiledGuardrail {
    let products = products_reached(context, &document.apps, problems);
    let tenants = match &document.tenants {
        Tenants::All(_) => None,
        Tenants::Named(names) => Some(names.as_slice()),
    };
    let mut parts = Vec::new();
    // A name that one of several products lacks is no error there, so each product's complaints are weighed together.
    let mut complaints: Vec<Vec<Problem>> = Vec::new();
    for product in &products {
        let mut rules = RuleCompiler::new(context, product).lenient(products.len() > 1);
        let mut own = Vec::new();
        for revocation in &document.revocations {
            let from = rules::From::Guardrail { tenants, shadow: document.shadow };
            rules.revocation(revocation, from, &mut own);
        }
        complaints.push(own);
        parts.push((product.id, Arc::new(rules.finish())));
    }
    let (first, others) = complaints.split_first().map_or((&[][..], &[][..]), |(first, others)| (&first[..], others));
    let everywhere = |problem: &&Problem| {
        others.iter().all(|own| own.iter().any(|other| other.at == problem.at && other.severity == problem.severity))
    };
    problems.extend(first.iter().filter(everywhere).cloned());
    CompiledGuardrail {
        name: document.guardrail.value.as_str().into(),
        at,
        apps: document.apps.clone(),
        parts: parts.into_boxed_slice(),
    }
}

/// The products of the apps that a guardrail reaches.
fn products_reached<'a>(context: Context<'a>, apps: &Apps, problems: &mut Vec<Problem>) -> Vec<&'a Product> {
    match apps {
        Apps::All { .. } => context.catalogs.iter().collect(),
        Apps::Product { product, .. } => find_product(context, product, &product.value, problems).into_iter().collect(),
        Apps::Named(names) => {
            let mut products: Vec<&Product> = names
                .iter()
                .filter_map(|app| find_product(context, app, app.value.split('/').next().unwrap_or(""), problems))
                .collect();
            products.sort_unstable_by_key(|product| product.id);
            products.dedup_by_key(|product| product.id);
            products
        }
    }
}

/// Reads a container as a policy writes it: by its id or by its key, folded.
pub fn named_container(kind: &ContainerKind, text: &str) -> Option<NamedContainer> {
    let form = match () {
        () if kind.id.as_ref().is_some_and(|pattern| pattern.is_match(text)) => Form::Id,
        () if kind.key.as_ref().is_some_and(|pattern| pattern.is_match(text)) => Form::Name,
        () => return None,
    };
    Some(NamedContainer { form, text: comparison_form(kind, text).into() })
}

/// A kind of container of one catalog, by name.
pub fn container_kind<'c>(catalog: &'c Catalog, name: &str) -> Option<(KindId, &'c ContainerKind)> {
    let id = catalog.container_kind(name)?;
    Some((id, catalog.containers.get(usize::from(id.0))?))
}
