//! From the mirror to the model: how links name a product and its gate, and where hosts are that answers lead to.

use std::net::SocketAddr;
use std::sync::Arc;

use super::check::Context;
use super::file::RedirectHostMirror;
use super::model::{FixedHost, Roots, TenantLinks, Upstream};
use crate::authz::origin::{Origin, Origins};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id, List};

const ORIGIN_SAYS: &str = "write https://host or http://host:port, and nothing after it";

/// What stands in a gate or a tenant, read.
#[derive(Debug, Clone, Default)]
pub struct Written {
    pub public_url: Option<Spanned<Origin>>,
    pub aliases: Vec<Origin>,
}

pub fn written(context: &Context<'_>, public_url: Field<Id>, aliases: Field<List<Id>>) -> Written {
    let public_url = public_url.into_spanned().and_then(|written| origin(context, written));
    if let Some(empty) = aliases.spanned().filter(|list| list.value.is_empty()) {
        context.error(empty.at, "`upstream_aliases` is empty", "delete it: the upstream is known by its own name");
    }
    let aliases = aliases.into_value().into_iter().flatten().filter_map(Field::into_spanned);
    Written { public_url, aliases: aliases.filter_map(|one| origin(context, one)).map(|one| one.value).collect() }
}

fn origin(context: &Context<'_>, written: Spanned<Id>) -> Option<Spanned<Origin>> {
    let Spanned { value: Id(text), at } = written;
    let origin = Origin::parse(&text);
    if origin.is_none() {
        context.error(at, format!("`{text}` is no origin"), ORIGIN_SAYS);
    }
    origin.map(|value| Spanned { value, at })
}

/// Callers whose tenant is told by the host must stay with that host: links to another one are another tenant's.
pub fn agree_with_host(context: &Context<'_>, shared: &Written, tenants: &[(&Written, Option<&str>)]) {
    if let Some(public_url) = &shared.public_url {
        let message = "`public_url` stands in a gate whose tenants are told by the host: all links would name one host";
        context.error(public_url.at, message, "write it in each tenant, with the tenant's own host");
    }
    for (written, host) in tenants {
        if let (Some(public_url), Some(host)) = (&written.public_url, host)
            && *public_url.value.host != **host
        {
            let message = format!("`public_url` names another host than the tenant's, which is `{host}`");
            context.error(public_url.at, message, "links would lead to another tenant, or to none");
        }
    }
}

/// The links of one tenant. `own`: what the tenant says; `shared`: what the gate says.
pub fn of_tenant(upstream: &Upstream, has_own_upstream: bool, own: Written, shared: &Written) -> Option<TenantLinks> {
    let scheme = if upstream.tls.is_some() { "https" } else { "http" };
    let name = Origin::parse(&format!("{scheme}://{}", upstream.host))?;
    // The gate's aliases are of the gate's upstream.
    let aliases = if has_own_upstream { &[][..] } else { &shared.aliases };
    let product = Arc::new(Origins::new(name, own.aliases.into_iter().chain(aliases.iter().cloned())));
    let public_url = own.public_url.or_else(|| shared.public_url.clone()).map(|written| written.value);
    Some(TenantLinks { product, public_url })
}

pub fn redirect_hosts(context: &Context<'_>, field: Field<List<RedirectHostMirror>>) -> Vec<FixedHost> {
    let mut hosts: Vec<FixedHost> = Vec::new();
    for written in field.into_value().into_iter().flatten().filter_map(Field::into_spanned) {
        let Some(host) = redirect_host(context, written.value, written.at) else { continue };
        if hosts.iter().any(|other| other.name == host.name) {
            context.error(written.at, format!("`{}` is written twice", host.name), "delete one of them");
        }
        hosts.push(host);
    }
    hosts
}

fn redirect_host(context: &Context<'_>, mirror: RedirectHostMirror, at: At) -> Option<FixedHost> {
    let help = "write a host of the catalog's `redirects`, and a port where it is not 443";
    let host = context.required(mirror.host, at, "the redirect host lacks `host`", help)?;
    let name = Origin::parse(&format!("https://{}", host.value.0));
    if name.is_none() {
        context.error(host.at, format!("`{}` is no host", host.value.0), help);
    }
    let help = "write an IP address and a port, such as 10.0.0.7:443";
    let address = context.required(mirror.address, at, "the redirect host lacks `address`", help)?;
    let parsed = address.value.0.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    if parsed.is_none() {
        context.error(address.at, format!("`{}` is no address", address.value.0), help);
    }
    let roots = context.path(mirror.ca).map_or(Roots::Public, Roots::File);
    Some(FixedHost { at, name: name?, address: parsed?, roots })
}
