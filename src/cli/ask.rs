//! One question to the policy: a request that nobody sends, by a caller that nobody identified. `explain` and `test`
//! ask it.

use std::borrow::Cow;

use crate::authz::catalog::{ActorRule, CredentialKindId};
use crate::authz::decide::{Asked, Explanation, explain};
use crate::authz::gate::{GateRules, Identify, TenantRule};
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::area::NamedContainer;
use crate::authz::policy::compile::named_container;
use crate::authz::policy::link::ProductPolicy;
use crate::authz::reason::Reason;
use crate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use crate::authz::{catalog::KindId, policy::Policy};
use crate::cli::Failure;
use crate::cli::load::Loaded;
use crate::problem::did_you_mean;

use std::sync::Arc;

/// The question in the words of whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub app: String,
    pub tenant: String,
    pub actor: Option<Actor>,
    pub user: Option<String>,
    /// The kind of credential; absent, the one that the installation has.
    pub kind: Option<String>,
    pub at_ms: i64,
    /// `kind=text`: what a look-up would have said.
    pub containers: Vec<String>,
    pub method: String,
    /// A path with its query, or a whole URL.
    pub target: String,
    pub body: Option<Vec<u8>>,
}

/// Whom the caller acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Actor {
    App,
    User,
}

/// The answer, and what would have been meant where a word is not known.
#[derive(Debug)]
pub struct Answered {
    pub explanation: Explanation,
    pub hint: Option<String>,
}

/// A gate for questions where no configuration names one: it takes nothing for granted that a look-up would tell.
pub fn plain_gate(loaded: &Loaded, product: &str, tenant: &str) -> Result<GateRules, Failure> {
    let known = || loaded.catalogs.iter().map(|product| &*product.catalog.product);
    let found = loaded.catalogs.by_name(product);
    let catalog = found.map(|product| Arc::clone(&product.catalog)).ok_or_else(|| {
        let near = did_you_mean(product, known());
        let help = near.map_or_else(
            || format!("the products are: {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Failure::Usage(format!("no catalog of the product `{product}`; {help}"))
    })?;
    Ok(GateRules {
        name: product.into(),
        catalog,
        identify: Identify { gate_key: true, token: true, connect_jwt: true },
        tenant: TenantRule::Fixed(tenant.into()),
        issue_keys_prefix: false,
        names_as_written: false,
        channel_types_prefix: false,
        observe_until_ms: None,
    })
}

/// The product of `product/app`.
///
/// # Errors
/// The name has no slash.
pub fn product_of(app: &str) -> Result<&str, Failure> {
    let product = app.split_once('/').map(|(product, _)| product).filter(|product| !product.is_empty());
    product.ok_or_else(|| Failure::Usage(format!("`{app}` is no app; write product/app, such as jira/timetracker")))
}

/// Asks.
///
/// # Errors
/// The question itself makes no sense: a target that is no URL, a kind that the product lacks, a body that is not there.
pub fn ask(loaded: &Loaded, gate: &GateRules, question: &Question) -> Result<Answered, Failure> {
    let parts = head(gate, question)?;
    let refused = |why| Answered { explanation: Explanation::unreadable(why), hint: None };
    let view = match RequestView::of(&parts) {
        Ok(view) => view,
        Err(bad) => return Ok(refused(bad)),
    };
    let body = match &question.body {
        None => Ok(BodyFacts::Empty),
        Some(body) => parse_body(&parts.headers, body),
    };
    let body = match body {
        Ok(body) => body,
        Err(bad) => return Ok(refused(bad)),
    };
    let containers = containers(gate, &question.containers)?;
    let shown = match loaded.policy().and_then(|policy| found(policy, question)) {
        Some(found) => shown(gate, &found, question)?,
        // The app or tenant is not known: whatever the kind, that is the answer.
        None => Shown { kind: CredentialKindId(0), user: question.user.as_deref() },
    };
    let asked = Asked {
        app: &question.app,
        tenant: &question.tenant,
        kind: shown.kind,
        user: shown.user,
        containers: &containers,
    };
    let facts = Facts { now_ms: question.at_ms, body };
    let explanation = explain(&loaded.snapshot, gate, &view, &facts, &asked);
    let hint = hint(loaded, gate, question, &view, &explanation);
    Ok(Answered { explanation, hint })
}

/// The head as a client would send it to this gate.
fn head(gate: &GateRules, question: &Question) -> Result<http::request::Parts, Failure> {
    let (host, target) = split_url(&question.target)?;
    let host = match &gate.tenant {
        TenantRule::Host(hosts) if !host.is_some_and(|host| hosts.iter().any(|(known, _)| **known == *host)) => {
            let own = hosts.iter().find(|(_, tenant)| **tenant == *question.tenant);
            own.map_or(Cow::Borrowed("gate"), |(host, _)| Cow::Borrowed(&**host))
        }
        TenantRule::Host(_) => Cow::Borrowed(host.unwrap_or("gate")),
        TenantRule::Fixed(_) | TenantRule::Path(_) | TenantRule::Token(_) => Cow::Borrowed("gate"),
    };
    let mut request = http::Request::builder().method(question.method.as_str()).uri(target).header("host", &*host);
    if let Some(body) = &question.body {
        let json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        let declared = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        request = request.header("content-type", declared);
    }
    let request = request
        .body(())
        .map_err(|error| Failure::Usage(format!("`{} {}` is no request: {error}", question.method, question.target)))?;
    Ok(request.into_parts().0)
}

/// Host and target of a URL; a path has no host.
fn split_url(text: &str) -> Result<(Option<&str>, &str), Failure> {
    if text.starts_with('/') {
        return Ok((None, text));
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| Failure::Usage(format!("`{text}` is neither a path nor a URL")))?;
    let start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(start);
    Ok((Some(host), if target.is_empty() { "/" } else { target }))
}

fn containers(gate: &GateRules, words: &[String]) -> Result<Vec<(KindId, NamedContainer)>, Failure> {
    let kinds = || gate.catalog.containers.iter().map(|kind| &*kind.name);
    let read = |word: &String| {
        let (kind, text) = word
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("`{word}` is no container; write kind=id, such as project=SEC")))?;
        let id = gate.catalog.container_kind(kind).ok_or_else(|| {
            let known = kinds().collect::<Vec<_>>().join(", ");
            Failure::Usage(format!("{} has no containers of the kind `{kind}`, but: {known}", gate.catalog.product))
        })?;
        let known = gate.catalog.containers.get(usize::from(id.0));
        let named = known.and_then(|known| named_container(known, text));
        let named = named.ok_or_else(|| Failure::Usage(format!("`{text}` is neither an id nor a key of a {kind}")))?;
        Ok((id, named))
    };
    words.iter().map(read).collect()
}

/// The installation that is asked about.
struct Found<'p> {
    index: u32,
    number: u16,
    app: &'p App,
    product: Option<&'p ProductPolicy>,
}

fn found<'p>(policy: &'p Policy, question: &Question) -> Option<Found<'p>> {
    let (index, app) = policy.app(&question.app)?;
    let number = app.installations.iter().position(|one| *one.tenant == *question.tenant)?;
    Some(Found { index, number: u16::try_from(number).ok()?, app, product: policy.product(app.product) })
}

/// What a caller is taken to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shown<'p> {
    kind: CredentialKindId,
    user: Option<&'p str>,
}

impl<'p> Found<'p> {
    /// What the credentials of the installation show, each sort once.
    fn credentials(&self) -> Vec<Shown<'p>> {
        let known = self.product.into_iter().flat_map(|product| {
            product.credentials.by_digest.values().chain(product.credentials.by_client_key.values())
        });
        let own = known.filter(|one| one.app == self.index && one.installation == self.number);
        let mut shown: Vec<Shown<'p>> = own.map(|one| Shown { kind: one.kind, user: one.user.as_deref() }).collect();
        shown.sort_unstable();
        shown.dedup();
        shown
    }
}

/// What the caller shows: the one credential of the installation that fits the question, else a credential of the one
/// kind that could fit. It never guesses.
fn shown<'p>(gate: &GateRules, found: &Found<'p>, question: &'p Question) -> Result<Shown<'p>, Failure> {
    let catalog = &gate.catalog;
    let written = question.kind.as_deref().map(|kind| known_kind(gate, kind)).transpose()?;
    let of_kind = |kind: CredentialKindId| written.is_none_or(|written| written == kind);
    let own: Vec<Shown<'p>> = found.credentials().into_iter().filter(|one| of_kind(one.kind)).collect();
    let exact: Vec<Shown<'p>> = own
        .iter()
        .copied()
        .filter(|one| {
            let user = question.user.as_deref();
            fits(gate, one.kind, question.actor, one.user) && (user.is_none() || user == one.user)
        })
        .collect();
    match &exact[..] {
        [one] => return Ok(*one),
        [] => {}
        several => return Err(several_fit(gate, found, several)),
    }
    let user = question.user.as_deref();
    let mut kinds: Vec<CredentialKindId> = own.iter().map(|one| one.kind).collect();
    if own.is_empty() {
        kinds = (0..=u8::MAX).zip(&catalog.kinds).map(|(number, _)| CredentialKindId(number)).collect();
    }
    kinds.dedup();
    kinds.retain(|kind| of_kind(*kind) && fits(gate, *kind, question.actor, user));
    match &kinds[..] {
        [kind, rest @ ..] if own.is_empty() || rest.is_empty() => Ok(Shown { kind: *kind, user }),
        [] => Err(Failure::Usage(misfit(question))),
        several => {
            let several: Vec<Shown<'_>> = several.iter().map(|kind| Shown { kind: *kind, user }).collect();
            Err(several_fit(gate, found, &several))
        }
    }
}

fn known_kind(gate: &GateRules, written: &str) -> Result<CredentialKindId, Failure> {
    let catalog = &gate.catalog;
    catalog.kind(written).ok_or_else(|| {
        let known = catalog.kinds.iter().map(|kind| &*kind.name).collect::<Vec<_>>().join(", ");
        Failure::Usage(format!("{} has no credential of the kind `{written}`, but: {known}", catalog.product))
    })
}

fn several_fit(gate: &GateRules, found: &Found<'_>, several: &[Shown<'_>]) -> Failure {
    let words = several.iter().map(|shown| {
        let kind = gate.catalog.kinds.get(usize::from(shown.kind.0)).map_or("?", |kind| &*kind.name);
        shown.user.map_or_else(|| format!("--kind {kind}"), |user| format!("--kind {kind} --user {user}"))
    });
    let words = words.collect::<Vec<_>>().join(", or ");
    Failure::Usage(format!("{} has several credentials there; say {words}", found.app.name))
}

/// Whether a credential of this kind, with or without a user, stands for the actor that is asked about.
fn fits(gate: &GateRules, kind: CredentialKindId, actor: Option<Actor>, user: Option<&str>) -> bool {
    let Some(kind) = gate.catalog.kinds.get(usize::from(kind.0)) else { return false };
    match (kind.actor, actor) {
        (ActorRule::App, Some(Actor::User)) | (ActorRule::User, Some(Actor::App)) => false,
        (ActorRule::App, _) => user.is_none(),
        (ActorRule::User, _) | (ActorRule::Evidence, None) => true,
        // Whether it stands for a user is told by the user alone.
        (ActorRule::Evidence, Some(Actor::User)) => user.is_some(),
        (ActorRule::Evidence, Some(Actor::App)) => user.is_none(),
    }
}

fn misfit(question: &Question) -> String {
    let kind = question.kind.as_ref().map_or_else(String::new, |kind| format!(" of the kind {kind}"));
    let none = format!("no credential{kind} of {} in {}", question.app, question.tenant);
    match (question.actor, &question.user) {
        (Some(Actor::User), None) => format!("{none} is known to act as a user; name the user with --user"),
        (Some(Actor::User), Some(_)) | (None, Some(_)) => format!("{none} can act as a user"),
        (Some(Actor::App), Some(_)) => format!("{none} acts as the app while it names a user"),
        (Some(Actor::App), None) | (None, None) => format!("{none} can act as the app"),
    }
}

/// "Did you mean", where the app, the tenant or the operation is not known.
fn hint(
    loaded: &Loaded,
    gate: &GateRules,
    question: &Question,
    view: &RequestView<'_>,
    explanation: &Explanation,
) -> Option<String> {
    let policy = loaded.policy()?;
    match explanation.denial()?.reason {
        Reason::UnknownApp => {
            let near = did_you_mean(&question.app, policy.apps.iter().map(|app| &*app.name));
            Some(near.map_or_else(
                || format!("no policy describes the app `{}`", question.app),
                |near| format!("no policy describes the app `{}`; did you mean `{near}`?", question.app),
            ))
        }
        Reason::UnknownTenant => Some(tenant_hint(policy, gate, question)),
        Reason::UnknownOperation => near_operation(gate, view),
        _ => None,
    }
}

fn tenant_hint(policy: &Policy, gate: &GateRules, question: &Question) -> String {
    let installations: &[Installation] = policy.app(&question.app).map_or(&[], |(_, app)| &app.installations);
    let tenants = || installations.iter().map(|one| &*one.tenant);
    if tenants().any(|tenant| tenant == question.tenant) {
        return format!("the gate `{}` does not read the tenant {} out of this request", gate.name, question.tenant);
    }
    let help = did_you_mean(&question.tenant, tenants()).map_or_else(
        || format!("it is installed in: {}", tenants().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    format!("`{}` has no installation in {}; {help}", question.app, question.tenant)
}

/// The operation whose template is nearest to the path.
fn near_operation(gate: &GateRules, view: &RequestView<'_>) -> Option<String> {
    use crate::authz::catalog::matcher::Found;
    if let Found::UnknownMethod = gate.catalog.matcher.find(view.method, &view.path) {
        return Some(format!("the catalog of {} has this path, but not with {}", gate.catalog.product, view.method));
    }
    let path: Vec<&str> = view.path.trim_start_matches('/').split('/').collect();
    let operations =
        gate.catalog.operations.iter().filter(|one| one.method == *view.method || view.method == http::Method::POST);
    let near = operations.filter_map(|operation| Some((distance(&operation.template, &path)?, operation)));
    let (_, operation) = near.min_by_key(|(distance, _)| *distance)?;
    Some(format!("did you mean {} {} ({})?", operation.method, operation.template, operation.id))
}

/// How many segments differ a little; `None` where one differs much. A base may stand before the template.
fn distance(template: &str, path: &[&str]) -> Option<usize> {
    let template: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    let skipped = path.len().checked_sub(template.len())?;
    let mut segments = template.iter().zip(path.get(skipped..)?);
    segments.try_fold(0, |sum, (template, segment)| match () {
        () if template.starts_with('{') || template == segment => Some(sum),
        () => did_you_mean(segment, [*template]).map(|_| sum + 1),
    })
}
