//! From an order to the document that carries it out, checked against the policy in force. It refuses to guess: which
//! tenant, which product, and whether an app may stop working is the admin's to say.

mod taken;
mod whom;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::text::{flow, list, scalar, time_text};
use super::{Act, ActId, Kind};
use crate::authz::policy::Policy;
use crate::authz::policy::compile::{Catalogs, Compiled, Context, compile};
use crate::authz::policy::file::{Origin, parse};
use crate::problem::Problem;
use crate::yaml::time::{moment, span};
pub use taken::Stops;
use whom::Reach;
pub use whom::TenantShown;

/// An install window that a command opens lasts at most this long: it is for installing.
const WINDOW_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// A reason is a sentence or a ticket, not a report.
const REASON_MAX: usize = 500;

/// A document that is ready to be written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub act: Act,
    /// Where it holds, by id and name.
    pub tenants: Vec<TenantShown>,
    /// The apps that it reaches, at the time of writing.
    pub apps: Vec<Arc<str>>,
    /// The operations that go, and what else it rules. Of a revocation only.
    pub stops: Stops,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub code: RefusedCode,
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Closed, so that programs can tell one refusal from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedCode {
    /// The order does not make sense by itself.
    Order,
    /// It names something that does not exist.
    NotFound,
    /// It would hold in several tenants, or for several products, and does not say which.
    SeveralTenants,
    SeveralProducts,
    /// The policy says that the app cannot work without it.
    Required,
    /// The document that it makes is not sound.
    Unsound,
}

impl Refused {
    pub fn new(code: RefusedCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }

    fn order(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(RefusedCode::Order, message, help)
    }
}

/// Makes the document.
///
/// # Errors
/// The order cannot be carried out as it is; the message says what is missing.
pub fn draft(
    order: &Order,
    policy: &Policy,
    catalogs: &Catalogs,
    now_ms: i64,
    random: u32,
) -> Result<Draft, Box<Refused>> {
    sound(order)?;
    let reach = whom::reach(order, policy, catalogs)?;
    let id = ActId::new(order.act, now_ms, random);
    let ends_ms = ends(order, now_ms)?;
    let text = document(order, &reach, &id, now_ms, ends_ms)?;
    let compiled = compiled(&id, &text, catalogs, now_ms)?;
    let stops = taken::stops(order, &compiled, &reach, catalogs)?;
    if order.act == Kind::Revoke && !order.even_required {
        taken::keeps_required(&compiled, &reach)?;
    }
    Ok(Draft {
        act: Act { id, text: text.into() },
        tenants: reach.tenants.clone(),
        apps: reach.apps.iter().map(|app| Arc::clone(&app.name)).collect(),
        stops,
    })
}

/// What can be said of an order by itself.
fn sound(order: &Order) -> Result<(), Box<Refused>> {
    let refused = |message: String, help: &str| Err(Box::new(Refused::order(message, help)));
    let name = order.act.as_str();
    if order.reason.trim().is_empty() || order.reason.len() > REASON_MAX {
        return refused(
            format!("`{name}` needs a reason of at most {REASON_MAX} bytes"),
            "write why, such as a ticket: whoever is refused will ask",
        );
    }
    if let Some(key) = order.out_of_place() {
        return refused(format!("`{name}` has no use for {key}"), "take it out");
    }
    if order.until.is_some() && order.span.is_some() {
        return refused("`until` and `for` both say when it ends".into(), "keep one of them");
    }
    let listed = !order.scopes.is_empty();
    if order.all_scopes && listed {
        return refused("all scopes and some scopes at once".into(), "keep one of them");
    }
    let says_what = listed || order.all_scopes || !order.operations.is_empty();
    if matches!(order.act, Kind::Revoke | Kind::Grant) && !says_what {
        return refused(
            format!("`{name}` does not say what"),
            "name a scope, an operation, or all scopes: nothing is taken for all in silence",
        );
    }
    if order.act == Kind::Grant && order.within.is_empty() != order.everywhere {
        return refused("a grant says where".into(), "name containers, or write that it holds everywhere");
    }
    Ok(())
}

/// When the act ends by itself, Unix time in milliseconds.
fn ends(order: &Order, now_ms: i64) -> Result<Option<i64>, Box<Refused>> {
    let refused = |message: String, help: &str| Err(Box::new(Refused::order(message, help)));
    let end = match (&order.until, &order.span) {
        (Some(text), _) => match moment(text) {
            Some(end) => Some(end.0),
            None => return refused(format!("`{text}` is no time"), "write it like 2026-11-20T09:00:00Z (RFC 3339)"),
        },
        (None, Some(text)) => match span(text).and_then(|span| now_ms.checked_add(span.0)) {
            Some(end) => Some(end),
            None => return refused(format!("`{text}` is no length of time"), "write it like 4h, 30m or 2d"),
        },
        (None, None) => None,
    };
    if end.is_some_and(|end| end <= now_ms) {
        return refused("it would have ended already".into(), "write a later end");
    }
    if order.act == Kind::InstallWindow {
        return match end {
            None => refused("an install window has an end".into(), "write `--for 2h`, or an end with `--until`"),
            Some(end) if end - now_ms > WINDOW_MAX_MS => {
                refused("an install window lasts 7 days at most".into(), "write an earlier end")
            }
            end => Ok(end),
        };
    }
    Ok(end)
}

fn document(
    order: &Order,
    reach: &Reach<'_>,
    id: &ActId,
    now_ms: i64,
    ends_ms: Option<i64>,
) -> Result<String, Box<Refused>> {
    let signed = |pairs: &mut Vec<(&'static str, Option<String>)>| {
        pairs.push(("by", order.by.as_deref().map(scalar)));
        pairs.push(("at", Some(scalar(&time_text(now_ms)))));
        // A grant says what it is for, what takes says why.
        let key = if order.act == Kind::Grant { "for" } else { "reason" };
        pairs.push((key, Some(scalar(order.reason.trim()))));
    };
    let ids = || reach.tenants.iter().map(|tenant| &*tenant.id);
    let tenants = || Some(if reach.says_all { "all".to_owned() } else { list(ids()) });
    let rule = |gives: bool| -> Result<String, Box<Refused>> {
        let scopes = if order.all_scopes { Some("all".to_owned()) } else { some_list(&order.scopes) };
        let actors = match (order.actor, gives) {
            (Some(actor), _) => Some(list([actor.as_str()])),
            (None, true) => Some("[app, user]".to_owned()),
            (None, false) => None,
        };
        let valid = ends_ms.map(|end| flow(&[("until", Some(scalar(&time_text(end))))]));
        let mut pairs = vec![
            // A revocation of operations alone takes them whole, whatever the scope.
            ("scopes", scopes),
            ("operations", some_list(&order.operations)),
            ("actors", actors),
            ("in", Some(within(&order.within)?)),
            ("tenants", if reach.all_apps { None } else { tenants() }),
            ("valid", valid),
            ("mode", order.shadow.then(|| "shadow".to_owned())),
        ];
        signed(&mut pairs);
        Ok(flow(&pairs))
    };
    let head = match (&order.app, &reach.product) {
        (Some(app), _) => format!("version: 1\napp: {}\n", scalar(app)),
        (None, product) => format!(
            "version: 1\nguardrail: {}\napps: {}\ntenants: {}\n",
            scalar(&format!("act-{id}")),
            flow(&[("product", Some(scalar(product)))]),
            tenants().unwrap_or_default()
        ),
    };
    let body = match order.act {
        Kind::Revoke => format!("revocations:\n  - {}\n", rule(false)?),
        Kind::Grant => format!("grants:\n  - {}\n", rule(true)?),
        Kind::Suspend => {
            let mut pairs = vec![("tenants", tenants())];
            signed(&mut pairs);
            format!("suspensions:\n  - {}\n", flow(&pairs))
        }
        Kind::InstallWindow => {
            let windows = ids().map(|tenant| {
                let end = ends_ms.unwrap_or(now_ms);
                let mut pairs = vec![
                    ("tenant", Some(scalar(tenant))),
                    ("from", Some(scalar(&time_text(now_ms)))),
                    ("until", Some(scalar(&time_text(end)))),
                ];
                signed(&mut pairs);
                format!("  - {}\n", flow(&pairs))
            });
            format!("install_windows:\n{}", windows.collect::<String>())
        }
    };
    Ok(head + &body)
}

fn some_list(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| list(names.iter().map(String::as_str)))
}

/// `kind:id` by kind, in the order in which kinds were named.
fn within(words: &[String]) -> Result<String, Box<Refused>> {
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for word in words {
        let parts = word.split_once([':', '=']).filter(|(kind, id)| !kind.is_empty() && !id.is_empty());
        let Some((kind, id)) = parts else {
            let message = format!("`{word}` is no container");
            return Err(Box::new(Refused::order(message, "write kind:id, such as project:SEC or channel:C0EXEC")));
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, ids)) => ids.push(id),
            None => kinds.push((kind, vec![id])),
        }
    }
    if kinds.is_empty() {
        return Ok("all".to_owned());
    }
    let kinds = kinds.into_iter().map(|(kind, ids)| format!("{}: {}", scalar(kind), list(ids)));
    Ok(format!("{{{}}}", kinds.collect::<Vec<_>>().join(", ")))
}

/// Reads the text the way every gate will.
fn compiled(id: &ActId, text: &str, catalogs: &Catalogs, now_ms: i64) -> Result<Compiled, Box<Refused>> {
    let file: Arc<Path> = Path::new(&id.file_name()).into();
    let parsed = parse(&file, text, Origin::Override);
    let mut problems = parsed.problems;
    let context = Context { catalogs, file: &file, now_ms };
    let compiled = parsed.documents.first().and_then(|document| compile(context, document, &mut problems));
    match (problems.into_iter().find(Problem::is_error), compiled) {
        (None, Some(compiled)) => Ok(compiled),
        (Some(problem), _) => {
            Err(Box::new(Refused::new(RefusedCode::Unsound, problem.message, problem.help.unwrap_or_default())))
        }
        (None, None) => Err(Box::new(Refused::order("the order makes no document", "report this: it is a fault"))),
    }
}
