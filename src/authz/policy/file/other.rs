//! `guardrail`, `set`, `group` and `names` documents.

use super::check::{app_name, id, ids, product_name, required, tenants, text_of};
use super::mirror::{AppsMirror, GroupMirror, GuardrailMirror, NamesMirror, ProductMirror, SetMirror};
use super::rule::{Place, required_id, revocation, rules};
use crate::authz::policy::document::{Apps, GroupDocument, GuardrailDocument, NamesDocument, SetDocument};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Entries, Field};
use crate::yaml::typed::Reader;

const TENANT_SAYS: &str = "write `tenant:` with the id of the tenant it speaks for";

const GROUP_SAYS: &str = "write `users: [...]` with their ids, or `claim:` with the name that tokens call the group";

pub fn guardrail(reader: &Reader<'_>, mirror: Field<GuardrailMirror>) -> Option<GuardrailDocument> {
    let mirror = mirror.into_value()?;
    let at = mirror.guardrail.at().unwrap_or_default();
    let help = "write `apps: all`, a list, or `apps: {product: jira}`";
    let apps = required(reader, mirror.apps, at, "the guardrail lacks `apps`", help);
    let apps = apps.and_then(|written| apps_of(reader, written));
    let help = "write `tenants: all`, or a list of tenants";
    let named = required(reader, mirror.tenants, at, "the guardrail lacks `tenants`", help);
    let tenants = named.and_then(|written| tenants(reader, Field::Written(written)));
    let help = "write what it takes away; to take nothing, delete the document";
    let revocations = required(reader, mirror.revocations, at, "the guardrail lacks `revocations`", help);
    if let Some(list) = &revocations
        && list.value.is_empty()
    {
        reader.error_with_help(list.at, "the guardrail has no revocation", help);
    }
    let revocations = revocations.map(|list| list.value).unwrap_or_default();
    Some(GuardrailDocument {
        revocations: rules(reader, revocations, Place::Guardrail, revocation),
        shadow: !mirror.mode.is_absent(),
        guardrail: id(mirror.guardrail)?,
        apps: apps?,
        tenants: tenants?,
    })
}

fn apps_of(reader: &Reader<'_>, written: Spanned<AppsMirror>) -> Option<Apps> {
    let at = written.at;
    match written.value {
        AppsMirror::All => Some(Apps::All { at, except: Vec::new() }),
        AppsMirror::Listed(list) => {
            let apps = ids(reader, Spanned { value: list, at })?;
            apps.iter().filter(|app| app.value != "all").for_each(|app| {
                app_name(reader, app);
            });
            Some(Apps::Named(apps))
        }
        AppsMirror::Product(product) => apps_of_product(reader, product, at),
    }
}

/// `product: all` is the written word for every product, so that `except` can stand beside it.
fn apps_of_product(reader: &Reader<'_>, mirror: ProductMirror, at: At) -> Option<Apps> {
    let help = "write `product: jira`, or `product: all` for every app";
    let product = required_id(reader, mirror.product, at, "`apps` lacks `product`", help);
    let except = mirror.except.into_spanned().and_then(|list| ids(reader, list)).unwrap_or_default();
    let product = product?;
    for app in &except {
        let (of, _) = app.value.split_once('/').unwrap_or_default();
        if app_name(reader, app) && product.value != "all" && of != product.value {
            let message = format!("`{}` is no app of {}", app.value, product.value);
            reader.error_with_help(app.at, message, "`except` names apps of the product that is written beside it");
        }
    }
    if product.value == "all" {
        return Some(Apps::All { at, except });
    }
    product_name(reader, &product);
    Some(Apps::Product { product, except })
}

pub fn set(reader: &Reader<'_>, mirror: Field<SetMirror>) -> Option<SetDocument> {
    let mirror = mirror.into_value()?;
    let at = mirror.set.at().unwrap_or_default();
    let tenant = required_id(reader, mirror.tenant, at, "the set lacks `tenant`", TENANT_SAYS);
    if mirror.kinds.is_empty() {
        let help = "write a kind with its containers, such as `project: [HR, SEC]`";
        reader.error_with_help(at, "the set holds no container", help);
    }
    let mut containers = Vec::with_capacity(mirror.kinds.len());
    for (kind, list) in mirror.kinds {
        let Some(names) = list.into_spanned().and_then(|list| ids(reader, list)) else { continue };
        for name in names.iter().filter(|name| name.value.starts_with("set:")) {
            reader.error_with_help(name.at, "a set holds containers, not sets", "write its containers here");
        }
        containers.push((kind, names));
    }
    Some(SetDocument { set: id(mirror.set)?, tenant: tenant?, containers })
}

/// A group of nobody is a group: taking its last user out must take effect.
pub fn group(reader: &Reader<'_>, mirror: Field<GroupMirror>) -> Option<GroupDocument> {
    let mirror = mirror.into_value()?;
    let at = mirror.group.at().unwrap_or_default();
    let tenant = required_id(reader, mirror.tenant, at, "the group lacks `tenant`", TENANT_SAYS);
    // Whom tokens name is in it without being written here.
    let users = match mirror.claim.is_absent() {
        true => required(reader, mirror.users, at, "the group lacks `users`", GROUP_SAYS),
        false => mirror.users.into_spanned(),
    };
    let users = users.map(|list| list.value.0).unwrap_or_default();
    let users = users.into_iter().filter_map(Field::into_spanned).map(text_of).collect();
    let claim = id(mirror.claim);
    Some(GroupDocument { group: id(mirror.group)?, tenant: tenant?, users, claim })
}

pub fn names(reader: &Reader<'_>, mirror: Field<NamesMirror>) -> Option<NamesDocument> {
    let mirror = mirror.into_value()?;
    let at = mirror.names.at().unwrap_or_default();
    let tenant = required_id(reader, mirror.tenant, at, "the names lack `tenant`", TENANT_SAYS);
    let help = "write ids with their names, such as `entries: {C0HELP: \"#help\"}`";
    let entries = required(reader, mirror.entries, at, "the names lack `entries`", help);
    let Entries(entries) = entries.map_or(Entries(Vec::new()), |written| written.value);
    let product = id(mirror.names)?;
    product_name(reader, &product);
    let named = |(id, name): (Spanned<String>, Field<String>)| Some((id, name.into_value()?));
    Some(NamesDocument { product, tenant: tenant?, names: entries.into_iter().filter_map(named).collect() })
}
