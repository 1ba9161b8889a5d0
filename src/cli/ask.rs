//! One question to the policy: a request that nobody sends, by a caller that nobody identified. `explain` and `test`
//! ask it.

mod hint;
mod shown;

use std::borrow::Cow;
use std::sync::Arc;

use crate::authz::catalog::{CredentialKindId, KindId};
use crate::authz::decide::{Asked, Explanation, explain};
use crate::authz::gate::{GateRules, Identify, TenantRule};
use crate::authz::looked_up::LookedUp;
use crate::authz::policy::area::NamedContainer;
use crate::authz::policy::compile::named_container;
use crate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use crate::cli::Failure;
use crate::cli::load::Loaded;
use crate::problem::did_you_mean;
use hint::hint;
use shown::{Shown, found, shown};

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
    pub words: Words,
}

/// How whoever asks writes what a question may hold: a refusal says what to write in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    /// `--kind oauth`
    #[default]
    Options,
    /// `"kind": "oauth"`
    Members,
}

impl Words {
    /// What is written to say this.
    pub fn with(self, name: &str, value: &str) -> String {
        match self {
            Self::Options => format!("--{name} {value}"),
            Self::Members => format!("`\"{name}\": {}`", serde_json::Value::from(value)),
        }
    }

    /// The place that it is written in.
    pub fn place(self, name: &str) -> String {
        match self {
            Self::Options => format!("--{name}"),
            Self::Members => format!("`\"{name}\"`"),
        }
    }
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
        identify: Identify { gate_key: true, token: true, connect_jwt: true, ..Identify::default() },
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
    let facts = Facts { now_ms: question.at_ms, behind_ms: 0, body, looked_up: LookedUp::nothing() };
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
