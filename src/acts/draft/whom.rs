//! Which apps an order reaches, and in which tenants.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::order::Order;
use super::{Refused, RefusedCode};
use crate::authz::policy::Policy;
use crate::authz::policy::app::App;
use crate::authz::policy::compile::{Catalogs, Product};
use crate::problem::did_you_mean;

/// So many tenants or apps are named in a message, the others counted.
const NAMED_MAX: usize = 10;

/// A tenant by id and name, as every message shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TenantShown {
    pub id: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

/// `acme (Acme Corp)`
impl std::fmt::Display for TenantShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// Whom an order reaches.
pub(super) struct Reach<'p> {
    pub apps: Vec<&'p Arc<App>>,
    pub product: Arc<str>,
    /// All apps of the product: a guardrail, and not a document of one app.
    pub all_apps: bool,
    pub tenants: Vec<TenantShown>,
    /// Every tenant, also those that come later.
    pub says_all: bool,
}

pub(super) fn reach<'p>(order: &Order, policy: &'p Policy, catalogs: &'p Catalogs) -> Result<Reach<'p>, Box<Refused>> {
    let (apps, product) = match (&order.app, order.all_apps) {
        (Some(name), false) => {
            let app = one(name, policy)?;
            let product = catalogs.get(app.product);
            (vec![app], product)
        }
        (None, true) => {
            let product = product(order, policy, catalogs)?;
            let apps = policy.apps.iter().filter(|app| app.product == product.id).collect();
            (apps, Some(product))
        }
        (Some(_), true) | (None, false) => {
            let help = "name one app as product/app, or say that it reaches all";
            return Err(Box::new(Refused::order("the order does not say whom it reaches", help)));
        }
    };
    let product = product.map_or_else(|| Arc::from(""), |product| Arc::clone(&product.catalog.product));
    let tenants = tenants(order, &apps)?;
    // What gives reaches the tenants there are. A list of containers is resolved in named tenants only.
    let says_all = order.all_tenants && order.act.only_takes() && order.within.is_empty();
    Ok(Reach { apps, product, all_apps: order.all_apps, tenants, says_all })
}

fn one<'p>(name: &str, policy: &'p Policy) -> Result<&'p Arc<App>, Box<Refused>> {
    if let Some((_, app)) = policy.app(name) {
        return Ok(app);
    }
    let near = did_you_mean(name, policy.apps.iter().map(|app| &*app.name));
    let help = near.map_or_else(|| "`scopegate apps` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
    Err(Box::new(Refused::new(RefusedCode::NotFound, format!("no document describes the app `{name}`"), help)))
}

fn product<'p>(order: &Order, policy: &Policy, catalogs: &'p Catalogs) -> Result<&'p Product, Box<Refused>> {
    if let Some(name) = &order.product {
        return catalogs.by_name(name).ok_or_else(|| {
            let message = format!("no catalog of the product `{name}` is loaded");
            let known: Vec<&str> = catalogs.iter().map(|product| &*product.catalog.product).collect();
            Box::new(Refused::new(RefusedCode::NotFound, message, format!("the products are: {}", known.join(", "))))
        });
    }
    let spoken_of = catalogs.iter().filter(|product| policy.apps.iter().any(|app| app.product == product.id));
    match &spoken_of.collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => {
            let message = "no app is described, so all of them are none";
            Err(Box::new(Refused::new(RefusedCode::NotFound, message, "name the product")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|product| &*product.catalog.product).collect();
            let message = format!("apps of {} are installed", names.join(" and "));
            Err(Box::new(Refused::new(RefusedCode::SeveralProducts, message, "say which with --product")))
        }
    }
}

fn tenants(order: &Order, apps: &[&Arc<App>]) -> Result<Vec<TenantShown>, Box<Refused>> {
    let installations = apps.iter().flat_map(|app| app.installations.iter());
    let shown = installations.map(|one| TenantShown { id: Arc::clone(&one.tenant), name: one.tenant_name.clone() });
    let mut known: Vec<TenantShown> = shown.collect();
    // Of two that write one tenant, the one that names it.
    known.sort_by(|one, other| one.id.cmp(&other.id).then_with(|| other.name.cmp(&one.name)));
    known.dedup_by(|later, first| later.id == first.id);
    if !order.tenants.is_empty() {
        if order.all_tenants {
            return Err(Box::new(Refused::order("all tenants and some tenants at once", "keep one of them")));
        }
        let found = order.tenants.iter().map(|id| {
            let tenant = known.iter().find(|tenant| *tenant.id == **id);
            tenant.cloned().ok_or_else(|| {
                let message = format!("{} not installed in `{id}`", whom(apps));
                let help = match did_you_mean(id, known.iter().map(|tenant| &*tenant.id)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it is installed in {}", named(&known)),
                };
                Box::new(Refused::new(RefusedCode::NotFound, message, help))
            })
        });
        return found.collect();
    }
    match known.len() {
        0 => {
            let message = format!("{} not installed anywhere", whom(apps));
            Err(Box::new(Refused::new(RefusedCode::NotFound, message, "write an installation first")))
        }
        1 => Ok(known),
        _ if order.all_tenants => Ok(known),
        number => {
            let message = format!("it would reach {number} tenants: {}", named(&known));
            let help = "name one with --tenant, or all of them with --all-tenants";
            Err(Box::new(Refused::new(RefusedCode::SeveralTenants, message, help)))
        }
    }
}

fn whom(apps: &[&Arc<App>]) -> String {
    match apps {
        [app] => format!("`{}` is", app.name),
        _ => "the apps are".to_owned(),
    }
}

fn named(tenants: &[TenantShown]) -> String {
    let mut text = tenants.iter().take(NAMED_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if tenants.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", tenants.len() - NAMED_MAX));
    }
    text
}
