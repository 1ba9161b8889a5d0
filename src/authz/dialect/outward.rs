//! What a refusal may say, cleaned, and the sentence that says it.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::text::printable;
use super::{Container, Named, RETRY_AFTER_S, Refusal};
use crate::authz::reason::{Class, Reason};

/// The most characters of a name that somebody else chose.
const NAME_MAX_CHARS: usize = 200;
/// The most scopes that the sentence lists. The members of the body list all.
const SCOPES_SHOWN: usize = 20;

/// A refusal as the app sees it. Serialized, it is the machine-readable part of every body.
#[derive(Debug, serde::Serialize)]
pub(super) struct Outward<'r> {
    /// What the answer is rendered by. For a hidden refusal always the same one.
    #[serde(skip)]
    pub reason: Reason,
    #[serde(rename = "reason")]
    pub code: &'static str,
    #[serde(skip)]
    pub decision: &'r str,
    #[serde(rename = "decision")]
    decision_shown: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<Cow<'r, str>>,
    #[serde(skip)]
    pub retry_after_s: u32,
    #[serde(skip)]
    hidden: bool,
    #[serde(skip)]
    why: Option<&'static str>,
}

impl<'r> Outward<'r> {
    pub fn of(refusal: &'r Refusal) -> Self {
        let least = Self::least(refusal);
        if refusal.hidden || refusal.reason.class() == Class::Who {
            return least;
        }
        Self {
            app: refusal.app.as_deref().map(clean),
            tenant: refusal.tenant.as_ref().map(clean_named),
            operation: refusal.operation.as_deref().map(clean),
            container: refusal.container.as_ref().map(clean_container),
            needed: refusal.needed.iter().map(|scope| clean(scope)).collect(),
            held: refusal.held.iter().map(|scope| clean(scope)).collect(),
            ..least
        }
    }

    /// What everybody may know. More would let a stranger probe the policy, and tell hidden from absent.
    fn least(refusal: &'r Refusal) -> Self {
        let (reason, code) = match refusal.hidden {
            true => (Reason::ContainerNotGranted, "not_found"),
            false => (refusal.reason, refusal.reason.as_str()),
        };
        Self {
            reason,
            code,
            decision: &refusal.decision,
            decision_shown: clean(&refusal.decision),
            app: None,
            tenant: None,
            operation: None,
            container: None,
            needed: Vec::new(),
            held: Vec::new(),
            contact: refusal.contact.as_deref().map(clean),
            retry_after_s: refusal.retry_after_s.unwrap_or(RETRY_AFTER_S),
            hidden: refusal.hidden,
            why: refusal.why.filter(|_| !refusal.hidden),
        }
    }

    /// One line for the app's developer: the code, why, what was needed, where, and whom to ask.
    pub fn message(&self) -> String {
        let sentence = match self.hidden {
            true => "what the request names does not exist, or is not open to this app",
            false => sentence(self.reason),
        };
        let mut message = format!("{}: {sentence}.", self.code);
        self.say(&mut message, "Why", self.why);
        self.say(&mut message, "Operation", self.operation.as_deref());
        self.say(&mut message, "Needed", listed(&self.needed).as_deref());
        self.say(&mut message, "Held", listed(&self.held).as_deref());
        let container = self.container.as_ref().map(|Container { kind, name }| format!("{kind} {name}"));
        self.say(&mut message, "Container", container.as_deref());
        let tenant = self.tenant.as_ref().map(|tenant| match &tenant.name {
            Some(name) => format!("{name} ({})", tenant.id),
            None => tenant.id.clone(),
        });
        self.say(&mut message, "Tenant", tenant.as_deref());
        self.say(&mut message, "App", self.app.as_deref());
        self.say(&mut message, "Ask", self.contact.as_deref());
        self.say(&mut message, "Decision", Some(&self.decision_shown));
        message
    }

    fn say(&self, message: &mut String, what: &str, value: Option<&str>) {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(message, " {what}: {value}.");
        }
    }
}

fn clean(text: &str) -> Cow<'_, str> {
    printable(text, NAME_MAX_CHARS)
}

fn clean_named(named: &Named) -> Named {
    Named { id: clean(&named.id).into_owned(), name: named.name.as_deref().map(|name| clean(name).into_owned()) }
}

fn clean_container(container: &Container) -> Container {
    Container { kind: clean(&container.kind).into_owned(), name: clean(&container.name).into_owned() }
}

fn listed(scopes: &[Cow<'_, str>]) -> Option<String> {
    if scopes.is_empty() {
        return None;
    }
    let mut list = scopes.iter().take(SCOPES_SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if let Some(more) = scopes.len().checked_sub(SCOPES_SHOWN).filter(|more| *more > 0) {
        let _ = write!(list, " and {more} more");
    }
    Some(list)
}

/// Why, in words that hold for every product.
fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::Unidentified => "no credential told which app sent this request, or two told different things",
        Reason::UnknownApp => "the credential belongs to no app that is known here",
        Reason::UnknownTenant => "the app is not installed in the tenant that this request is for",
        Reason::MissingScope => "the app is not granted a scope that this operation needs",
        Reason::ScopeRevoked => "a scope that this operation needs was taken away from the app",
        Reason::Expired => "the grant that this operation needs has ended",
        Reason::NotYetValid => "the grant that this operation needs has not begun",
        Reason::InstallWindowClosed => {
            "a scope that this operation needs is held only while the app is being installed"
        }
        Reason::MigrationDeadline => "the scope that allowed this operation was replaced by narrower ones",
        Reason::ContainerNotGranted => "the app is not granted this container",
        Reason::ContainerRevoked => "this container was taken away from the app",
        Reason::ContainerUnreadable => "the app's own credential cannot see where this lies",
        Reason::ActorNotAllowed => "this kind of token may not do this; it is granted to another kind",
        Reason::UserNotAllowed => "the user behind this request may not do this through the app",
        Reason::PipelineNotAllowed => "the pipeline behind this request may not do this",
        Reason::OperationNotAllowed => "this operation was taken away from the app",
        Reason::ArgumentNotAllowed => "an argument of this request is outside of what the app is granted",
        Reason::AppSuspended => "the app is suspended here for the time being; its token stays valid",
        Reason::UnknownOperation => "the API description that is enforced here has no such operation",
        Reason::BadRequest => "the request can be read in two ways, or not at all",
        Reason::BodyTooLarge => "the body is larger than can be judged here",
        Reason::NoPolicy => "no policy is loaded yet",
        Reason::StalePolicy => "the policy in force is too old to judge by",
        Reason::IdentityUnresolved => "the keys that would verify this credential could not be had in time",
        Reason::ContainerUnresolved => "where this lies could not be found out in time",
        Reason::Overloaded => "too many requests are in progress",
        Reason::Draining => "this instance is shutting down",
        Reason::NarrowingFailed => "the answer could not be reduced to what the app may see",
        Reason::UpstreamUnreachable => "the product's API could not be reached",
        Reason::UpstreamTimeout => "the product's API did not answer in time",
        Reason::UpstreamBroken => "the product's API broke off its answer, or sent one that is not valid",
        Reason::RateLimited => "the app sent more requests than it may",
    }
}
