//! Links the documents of each app: one description, installations, rules, credentials.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Claim, Fault, Input, Linker, Missing, Secrets, files_of};
use crate::authz::catalog::ActorRule;
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::compile::{Compiled, CompiledApp, CompiledCredential, CompiledInstallation, Product};
use crate::authz::policy::credentials::{
    ClientKey, Credentials, Holder, KnownCredential, Proof, Replacement, TokenDigest,
};
use crate::authz::policy::document::{CredentialMethod, InstallWindow, Suspension, Tenants};
use crate::problem::{At, Problem, near};

pub(super) type Documents<'a> = Vec<(&'a Input, &'a CompiledApp)>;

/// Apps sorted by name, and the credentials of each product in the order of the catalogs.
pub(super) fn link_apps<'a>(
    linker: &mut Linker<'a>,
    secrets: &Secrets,
    inputs: &'a [Input],
) -> (Vec<Arc<App>>, Vec<Credentials>) {
    let mut by_name: HashMap<&str, Documents<'a>> = HashMap::new();
    for input in inputs {
        if let Compiled::App(app) = &*input.document {
            by_name.entry(&app.app).or_default().push((input, app));
        }
    }
    let mut grouped: Vec<(&str, Documents<'a>)> = by_name.into_iter().collect();
    grouped.sort_unstable_by_key(|(name, _)| *name);
    let mut credentials: Vec<Credentials> = linker.catalogs.iter().map(|_| Credentials::default()).collect();
    let mut owners = Owners::default();
    let mut apps = Vec::with_capacity(grouped.len());
    for (name, documents) in grouped {
        let Some(linked) = link_app(linker, name, &documents) else { continue };
        let Ok(index) = u32::try_from(apps.len()) else { break };
        if let Some(credentials) = credentials.get_mut(usize::from(linked.app.product.0)) {
            linked.index_credentials(index, credentials, secrets, &mut owners, linker);
        }
        apps.push(Arc::new(linked.app));
    }
    (apps, credentials)
}

/// An app on its way, with the compiled installations in the order of the app's own.
pub(super) struct LinkingApp<'a> {
    pub(super) app: App,
    installations: Vec<(&'a Input, &'a CompiledInstallation)>,
}

/// Which file a piece of evidence was first written in.
#[derive(Default)]
struct Owners {
    digests: HashMap<[u8; 32], Arc<Path>>,
    client_keys: HashMap<Box<str>, Arc<Path>>,
    /// By product besides: one client may be an app of each.
    clients: HashMap<(u8, ClientKey), Arc<Path>>,
    /// Which app a file with a real credential was first named by.
    secrets: HashMap<Box<str>, Arc<str>>,
}

impl Owners {
    /// Another app that names the same file. It would call with that app's credential; whether it may is written
    /// nowhere, so it is said and not refused.
    fn shared(&mut self, secret: &str, app: &Arc<str>) -> Option<Arc<str>> {
        let owner = self.secrets.entry(secret.into()).or_insert_with(|| Arc::clone(app));
        (owner != app).then(|| Arc::clone(owner))
    }
}

pub(super) fn link_app<'a>(linker: &mut Linker<'a>, name: &str, documents: &Documents<'a>) -> Option<LinkingApp<'a>> {
    let (first_input, first) = documents.first()?;
    let product = linker.catalogs.get(first.product)?;
    let described: Vec<_> =
        documents.iter().filter_map(|(input, app)| Some((input, app, app.description.as_ref()?))).collect();
    let Some((_, _, (title, contact))) = described.first() else {
        no_description(linker, name, documents, first_input, first);
        return None;
    };
    if let [_, (input, app, _), ..] = &described[..] {
        let message = format!("the app `{name}` is described twice");
        let help = "keep `name` and `contact` in one document of the app";
        let files = files_of(documents.iter().map(|(input, _)| &input.file));
        linker.findings.twice(Claim::Description(Arc::clone(&first.app)), &input.file, app.at, message, help, files);
    }
    let installations = gather_installations(linker, name, documents);
    let acts = Acts::of(documents);
    let linked = documents.iter().map(|(input, app)| linker.link_part(product, &app.part, &input.file)).collect();
    check_tenants(linker, name, documents, &installations);
    check_users(linker, product, name, documents, &installations);
    Some(LinkingApp {
        app: App {
            name: Arc::clone(&first.app),
            title: Arc::clone(title),
            contact: Arc::clone(contact),
            product: first.product,
            installations: installations.iter().map(|(_, one)| acts.on(&one.installation)).collect(),
            parts: linked,
        },
        installations,
    })
}

fn no_description(linker: &mut Linker<'_>, name: &str, documents: &Documents<'_>, input: &Input, app: &CompiledApp) {
    let message = format!("no document describes the app `{name}`");
    if documents.iter().all(|(input, _)| input.is_override) {
        linker.findings.warn(Problem::warning(&input.file, app.at, message));
        return;
    }
    let problem =
        Problem::error(&input.file, app.at, message).help("write `name:` and `contact:` in one of its documents");
    let files = files_of(documents.iter().map(|(input, _)| &input.file));
    let missing = Some(Missing::Description(name.to_owned()));
    linker.findings.fault(Fault { problem, files, missing, claim: None });
}

fn gather_installations<'a>(
    linker: &mut Linker<'a>,
    name: &str,
    documents: &Documents<'a>,
) -> Vec<(&'a Input, &'a CompiledInstallation)> {
    let mut installations: Vec<(&Input, &CompiledInstallation)> = Vec::new();
    let mut seen: HashMap<&Arc<str>, &Arc<Path>> = HashMap::new();
    for (input, app) in documents {
        for installation in &app.installations {
            let tenant = &installation.installation.tenant;
            if let Some(other) = seen.insert(tenant, &input.file) {
                let message = format!("`{name}` is installed twice in {tenant}");
                let others = vec![Arc::clone(other)];
                let claim = Claim::Installation(Arc::clone(&app.app), Arc::clone(tenant));
                let help = "keep one of the installations";
                linker.findings.twice(claim, &input.file, installation.at, message, help, others);
            } else if installations.len() < INSTALLATIONS_MAX {
                installations.push((input, installation));
            } else {
                let message = format!("`{name}` has more than {INSTALLATIONS_MAX} installations");
                linker.findings.fault(within_app(
                    Problem::error(&input.file, installation.at, message),
                    name,
                    documents,
                ));
                return installations;
            }
        }
    }
    installations
}

/// An installation is known by a number of 16 bits.
const INSTALLATIONS_MAX: usize = u16::MAX as usize;

/// The windows and suspensions that commands wrote for an app.
struct Acts<'a> {
    windows: Vec<&'a InstallWindow>,
    suspensions: Vec<(&'a Input, &'a Suspension)>,
}

impl<'a> Acts<'a> {
    fn of(documents: &Documents<'a>) -> Self {
        let suspensions =
            documents.iter().flat_map(|(input, app)| app.suspensions.iter().map(move |one| (*input, one)));
        Self {
            windows: documents.iter().flat_map(|(_, app)| app.windows.iter()).collect(),
            suspensions: suspensions.collect(),
        }
    }

    /// The installation with what was written for it.
    fn on(&self, installation: &Installation) -> Installation {
        let windows = self.windows.iter().filter(|window| window.tenant.value == *installation.tenant);
        let suspended = self.suspensions.iter().find(|(_, suspension)| match &suspension.tenants {
            None | Some(Tenants::All(_)) => true,
            Some(Tenants::Named(tenants)) => tenants.iter().any(|tenant| tenant.value == *installation.tenant),
        });
        Installation {
            windows: windows.map(|window| (window.from, window.until)).collect(),
            suspended: suspended.map(|(input, suspension)| (Arc::clone(&input.file), suspension.at.line)),
            ..installation.clone()
        }
    }
}

/// A rule for a tenant where the app is not installed rules nothing: a misspelt name, most likely.
fn check_tenants(
    linker: &mut Linker<'_>,
    name: &str,
    documents: &Documents<'_>,
    installations: &[(&Input, &CompiledInstallation)],
) {
    let known: HashSet<&str> = installations.iter().map(|(_, one)| &*one.installation.tenant).collect();
    for (input, app) in documents {
        let conditions = app.part.conditions.iter().flat_map(|condition| condition.tenants.iter().flatten());
        for tenant in conditions.filter(|tenant| !known.contains(&***tenant)) {
            if linker.findings.is_full() {
                return;
            }
            let line = line_of_tenant(app, tenant);
            let message = format!("`{name}` has no installation in {tenant}");
            if input.is_override {
                linker.findings.warn(Problem::warning(&input.file, line, message));
                continue;
            }
            let help = match near(linker.findings.told(), tenant, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write an installation for it, or take the tenant out of the rule".to_owned(),
            };
            let problem = Problem::error(&input.file, line, message).help(help);
            linker.findings.fault(within_app(problem, name, documents));
        }
    }
}

fn line_of_tenant(app: &CompiledApp, tenant: &str) -> At {
    let speaks = |condition: u32| {
        let tenants = app.part.condition(condition).and_then(|condition| condition.tenants.as_ref());
        tenants.is_some_and(|tenants| tenants.iter().any(|one| **one == *tenant))
    };
    let grants = app.part.grants.iter().map(|grant| (grant.condition, grant.line));
    let rules = grants.chain(app.part.revocations.iter().map(|revocation| (revocation.condition, revocation.line)));
    let line = rules.into_iter().find(|(condition, _)| speaks(*condition)).map_or(app.at.line, |(_, line)| line);
    At { line, column: 1 }
}

/// A condition on users is dead where no credential can show one.
fn check_users(
    linker: &mut Linker<'_>,
    product: &Product,
    name: &str,
    documents: &Documents<'_>,
    installations: &[(&Input, &CompiledInstallation)],
) {
    let mut credentials = installations.iter().flat_map(|(_, one)| one.credentials.iter());
    if credentials.any(|credential| can_show_user(product, credential)) {
        return;
    }
    for (input, app) in documents {
        let Some(at) = app.users_at else { continue };
        let message = format!("a rule of `{name}` names users, but none of its credentials can show a user");
        if input.is_override {
            linker.findings.warn(Problem::warning(&input.file, at, message));
            continue;
        }
        let problem = Problem::error(&input.file, at, message);
        let problem = problem.help("write `user:` on a credential, or take `users:` out");
        linker.findings.fault(within_app(problem, name, documents));
    }
}

/// What is wrong among the documents of one app. A document of it that went may have said what is missing now.
fn within_app(problem: Problem, name: &str, documents: &Documents<'_>) -> Fault {
    let files = files_of(documents.iter().map(|(input, _)| &input.file));
    Fault { problem, files, missing: Some(Missing::Words(name.to_owned())), claim: None }
}

fn can_show_user(product: &Product, credential: &CompiledCredential) -> bool {
    let kind = product.catalog.kinds.get(usize::from(credential.kind.0));
    let names_one = match &credential.method {
        CredentialMethod::Client { .. } => true,
        CredentialMethod::GateKey { .. } | CredentialMethod::Token { .. } | CredentialMethod::ConnectJwt { .. } => {
            credential.user.is_some()
        }
    };
    names_one && kind.is_some_and(|kind| kind.actor != ActorRule::App)
}

impl LinkingApp<'_> {
    fn index_credentials(
        &self,
        app: u32,
        credentials: &mut Credentials,
        secrets: &Secrets,
        owners: &mut Owners,
        linker: &mut Linker<'_>,
    ) {
        const SHARED_MAX: usize = 1_000;
        let installations = self.installations.iter().zip(&self.app.installations).zip(0..=u16::MAX);
        for (((input, installation), linked), number) in installations {
            let holder = Holder::of(&self.app, linked);
            for credential in &installation.credentials {
                let (file, at) = (&input.file, credential.at);
                let mut twice = |first: Option<Arc<Path>>, claim: Claim| {
                    if let Some(first) = first {
                        let message = format!("this credential is written twice; the other is in {}", first.display());
                        let help = "a credential belongs to one installation of one app";
                        linker.findings.twice(claim, file, at, message, help, vec![first]);
                    }
                };
                let known = |proof, file: Option<&str>| {
                    Arc::new(KnownCredential {
                        app,
                        installation: number,
                        kind: credential.kind,
                        user: credential.user.clone(),
                        pipeline: credential.pipeline.clone(),
                        proof,
                        file: file.map(Arc::from),
                        holder: holder.clone(),
                    })
                };
                let secret = |file: &str| secrets.get(&PathBuf::from(file)).cloned();
                match &credential.method {
                    CredentialMethod::GateKey { sha256, upstream } => {
                        let other = owners.shared(&upstream.file.value, &self.app.name);
                        twice(owners.digests.insert(sha256.value, Arc::clone(file)), Claim::Digest(sha256.value));
                        let proof = Proof::GateKey { scheme: upstream.scheme, upstream: secret(&upstream.file.value) };
                        credentials
                            .by_digest
                            .insert(TokenDigest(sha256.value), known(proof, Some(&upstream.file.value)));
                        if let Some(other) = other.filter(|_| linker.findings.warnings.len() < SHARED_MAX) {
                            let message = format!("`{}` calls with the same credential as `{other}`", self.app.name);
                            let warning = Problem::warning(file, upstream.file.at, message);
                            let help = "give each app a credential of its own, or one can act as the other";
                            linker.findings.warnings.push(warning.help(help));
                        }
                    }
                    CredentialMethod::Token { sha256 } => {
                        twice(owners.digests.insert(sha256.value, Arc::clone(file)), Claim::Digest(sha256.value));
                        credentials.by_digest.insert(TokenDigest(sha256.value), known(Proof::Token, None));
                    }
                    CredentialMethod::Client { by, issuer, client, upstream } => {
                        let key = ClientKey {
                            by: *by,
                            issuer: issuer.value.as_str().into(),
                            client: client.value.as_str().into(),
                            tenant: (&*linked.tenant).into(),
                        };
                        let owned = (self.app.product.0, key.clone());
                        twice(owners.clients.insert(owned, Arc::clone(file)), Claim::Client(key.clone()));
                        let path = upstream.as_ref().map(|with| with.file.value.as_str());
                        let with = upstream
                            .as_ref()
                            .map(|with| Replacement { scheme: with.scheme, secret: secret(&with.file.value) });
                        credentials.by_client.insert(key, known(Proof::Client { by: *by, upstream: with }, path));
                    }
                    CredentialMethod::ConnectJwt { client_key, secret: path } => {
                        let key: Box<str> = client_key.value.as_str().into();
                        twice(owners.client_keys.insert(key.clone(), Arc::clone(file)), Claim::ClientKey(key));
                        let proof = Proof::ConnectJwt { secret: secret(&path.value) };
                        credentials
                            .by_client_key
                            .insert(client_key.value.as_str().into(), known(proof, Some(&path.value)));
                    }
                }
            }
        }
    }
}
