//! From the mirror to the model: one gate.

use std::collections::HashSet;
use std::sync::Arc;

use super::address::{Beside, is_host, upstream};
use super::check::{Context, limits};
use super::file::{GateMirror, GateModeMirror, LimitsMirror, ProtocolWord, TenantMirror, TenantRuleMirror, TlsMirror};
use super::identify::{bypass, identify, tells_one_of_several, tells_tenant};
use super::links::{self, Written};
use super::lookups::lookups;
use super::model::{CatalogSource, Gate, Limits, Protocol, ServerTls, Tenant, Upstream};
use super::outbound::{no_proxy_to_a_socket, tls_beside, via};
use crate::authz::gate::TenantRule;
use crate::authz::policy::compile::OBSERVE_MAX_MS;
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id, List};

pub fn gate(context: &Context<'_>, mirror: GateMirror, at: At) -> Option<Gate> {
    let name = context.required(mirror.name, at, "the gate lacks `name`", "write a short name such as `jira`");
    let name = name.filter(|name| gate_name(context, name));
    let help = "write an address such as 127.0.0.1:8080, or unix:path";
    let listen_at = mirror.listen.at().unwrap_or(at);
    let listen = context.required(mirror.listen, at, "the gate lacks `listen`", help);
    let listen = listen.and_then(|written| context.listen(&written));
    let tls = mirror.tls.into_spanned().and_then(|written| server_tls(context, written.value, written.at));
    let catalog = catalog(context, mirror.product, mirror.catalog, at);
    let (mut identify, keys) = identify(context, mirror.identify, at).unzip();
    let bypass = bypass(context, mirror.bypass, identify.as_mut(), at);
    let upstream_tls = mirror.upstream_tls.into_spanned().map(|written| tls_beside(context, written));
    let via_at = mirror.via.at();
    let via = mirror.via.into_spanned().and_then(|written| via(context, written));
    let host = mirror.upstream_host.into_value();
    let beside = Beside {
        host: host.as_ref().map(|host| host.0.as_str()),
        tls: upstream_tls.as_ref(),
        protocol: mirror.upstream_protocol.into_value().map_or(Protocol::default(), protocol),
        folder: context.folder,
    };
    let no_upstream = mirror.upstream.is_absent();
    let shared = mirror.upstream.into_spanned().and_then(|written| checked_upstream(context, &written, beside));
    let own = Beside { host: None, ..beside };
    let links = links::written(context, mirror.public_url, mirror.upstream_aliases);
    let redirect_hosts = links::redirect_hosts(context, mirror.redirect_hosts);
    let listed = mirror.tenants.at();
    let tenants = tenants(context, mirror.tenants, own);
    if no_upstream && (tenants.is_empty() || tenants.iter().any(|tenant| !tenant.has_upstream)) {
        let help = "write https://host, http://host:port or unix:path, in the gate or in each of its tenants";
        context.error(at, "the gate lacks `upstream`", help);
    }
    let help = "write `tenant: {fixed: TENANT}`, `host`, `path`, `token` or `claim`";
    let rule = context.required(mirror.tenant, at, "the gate lacks `tenant`", help);
    let (observe_until_ms, limits) = (observe(context, mirror.mode), gate_limits(context, mirror.limits));
    if let (Some(identify), Some(rule)) = (&identify, &rule) {
        let by_claim = matches!(rule.value, TenantRuleMirror::Claim);
        if by_claim || matches!(rule.value, TenantRuleMirror::Token) {
            tells_tenant(context, identify, by_claim, rule.at);
        }
    }
    let shared = Shared { upstream: shared, links };
    let rule_at = rule.as_ref().map_or(at, |rule| rule.at);
    let (tenant, tenants) = tenant_rule(context, rule?, tenants, listed, shared)?;
    if let Some(identify) = identify.as_ref().filter(|_| tenants.len() > 1) {
        tells_one_of_several(context, identify, rule_at);
    }
    let lookups = lookups(context, mirror.lookups, &tenants);
    no_proxy_to_a_socket(context, via_at, &tenants);
    Some(Gate {
        at,
        tls,
        bypass: bypass?,
        tenant,
        tenants,
        via,
        redirect_hosts,
        issue_keys_prefix: !mirror.issue_keys.is_absent(),
        names_as_written: !mirror.names.is_absent(),
        channel_types_prefix: !mirror.channel_types.is_absent(),
        lookups,
        observe_until_ms,
        limits,
        name: name?.value.0,
        listen: listen?,
        listen_at,
        catalog: catalog?,
        identify: identify?,
        keys: keys?,
    })
}

fn gate_name(context: &Context<'_>, name: &Spanned<Id>) -> bool {
    let ok = name.value.0.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !ok {
        let message = format!("`{}` is no name for a gate", name.value.0);
        context.error(name.at, message, "use lower-case letters, digits and `-`: it is a metric label");
    }
    ok
}

fn server_tls(context: &Context<'_>, mirror: TlsMirror, at: At) -> Option<ServerTls> {
    let help = "write `tls: {certificate: chain.pem, key: key.pem}`";
    let certificate = context.required(mirror.certificate, at, "`tls` lacks `certificate`", help);
    let key = context.required(mirror.key, at, "`tls` lacks `key`", help);
    let path = |file: Spanned<Id>| context.folder.join(file.value.0);
    Some(ServerTls { certificate: path(certificate?), key: path(key?) })
}

fn catalog(context: &Context<'_>, product: Field<Id>, catalog: Field<Id>, at: At) -> Option<CatalogSource> {
    let help = "write `product:` for a built-in catalog, or `catalog:` for a file of your own";
    match (product, catalog) {
        (Field::Absent, Field::Absent) => {
            context.error(at, "the gate lacks `product` or `catalog`", help);
            None
        }
        (Field::Absent, catalog) => context.path(catalog).map(CatalogSource::File),
        (product, Field::Absent) => {
            let Spanned { value: Id(name), at } = product.into_spanned()?;
            if !(context.known_product)(&name) {
                let help = "`scopegate catalog list` names those that are built in; `catalog:` takes one of your own";
                context.error(at, format!("no built-in catalog is named `{name}`"), help);
            }
            Some(CatalogSource::BuiltIn(name))
        }
        (_, catalog) => {
            context.error(catalog.at().unwrap_or(at), "the gate has `product` and `catalog`", help);
            None
        }
    }
}

fn protocol(word: ProtocolWord) -> Protocol {
    match word {
        ProtocolWord::Auto => Protocol::Auto,
        ProtocolWord::Http1 => Protocol::Http1,
        ProtocolWord::Http2 => Protocol::Http2,
    }
}

fn checked_upstream(context: &Context<'_>, written: &Spanned<Id>, beside: Beside<'_>) -> Option<Arc<Upstream>> {
    upstream(&written.value.0, beside).map_err(|(message, help)| context.error(written.at, message, help)).ok()
}

/// A tenant as listed.
struct Listed {
    at: At,
    id: Arc<str>,
    name: Option<String>,
    host: Option<Spanned<String>>,
    /// Written, readable or not.
    has_upstream: bool,
    upstream: Option<Arc<Upstream>>,
    links: Written,
}

/// What the gate says for all tenants.
struct Shared {
    upstream: Option<Arc<Upstream>>,
    links: Written,
}

fn tenants(context: &Context<'_>, field: Field<List<TenantMirror>>, beside: Beside<'_>) -> Vec<Listed> {
    let Some(list) = field.into_spanned() else { return Vec::new() };
    if list.value.is_empty() {
        context.error(list.at, "an empty list never means all", "list the tenants, or write `tenant: {fixed: TENANT}`");
    }
    let mut seen = HashSet::new();
    let mut tenants = Vec::with_capacity(list.value.len());
    for Spanned { value: mirror, at } in list.value.into_iter().filter_map(Field::into_spanned) {
        let lacks = "the tenant lacks `id`";
        let Some(id) = context.required(mirror.id, at, lacks, "write the id that policies use") else { continue };
        if !seen.insert(id.value.0.clone()) {
            context.error(id.at, format!("two tenants have the id `{}`", id.value.0), "delete one of them");
        }
        tenants.push(Listed {
            at,
            id: Arc::from(id.value.0),
            name: mirror.name.into_value(),
            host: mirror.host.into_spanned().and_then(|host| tenant_host(context, host)),
            has_upstream: !mirror.upstream.is_absent(),
            upstream: mirror.upstream.into_spanned().and_then(|written| checked_upstream(context, &written, beside)),
            links: links::written(context, mirror.public_url, mirror.upstream_aliases),
        });
    }
    tenants
}

/// As `TenantRule::Host` compares it: lower case, no port, no trailing dot.
fn tenant_host(context: &Context<'_>, host: Spanned<Id>) -> Option<Spanned<String>> {
    let name = host.value.0.to_ascii_lowercase();
    if !is_host(&name) {
        let help = "write the name that callers use, without scheme and port";
        context.error(host.at, format!("`{}` is no host", host.value.0), help);
        return None;
    }
    Some(Spanned { value: name, at: host.at })
}

fn tenant_rule(
    context: &Context<'_>,
    rule: Spanned<TenantRuleMirror>,
    listed: Vec<Listed>,
    listed_at: Option<At>,
    shared: Shared,
) -> Option<(TenantRule, Vec<Tenant>)> {
    if let TenantRuleMirror::Fixed(mirror) = rule.value {
        if let Some(at) = listed_at {
            context.error(
                at,
                "`tenants` stands beside a fixed tenant",
                "delete it, or write `tenant: host`, `path` or `token`",
            );
        }
        let id =
            context.required(mirror.fixed, rule.at, "`tenant` lacks `fixed`", "write the tenant of every request")?;
        let id: Arc<str> = Arc::from(id.value.0);
        let upstream = shared.upstream?;
        let links = links::of_tenant(&upstream, false, Written::default(), &shared.links)?;
        let only = Tenant { id: Arc::clone(&id), name: None, upstream, links };
        return Some((TenantRule::Fixed(id), vec![only]));
    }
    if listed_at.is_none() {
        context.error(
            rule.at,
            "`tenant` lacks the list of `tenants`",
            "add `tenants: [{id: …}]` beside it: a tenant that is not listed is refused",
        );
    }
    let by_host = matches!(rule.value, TenantRuleMirror::Host);
    let hosts = hosts(context, &listed, by_host);
    if by_host {
        let written: Vec<_> =
            listed.iter().map(|one| (&one.links, one.host.as_ref().map(|host| &*host.value))).collect();
        links::agree_with_host(context, &shared.links, &written);
    }
    let ids = || listed.iter().map(|tenant| Arc::clone(&tenant.id)).collect();
    let tenant = match rule.value {
        TenantRuleMirror::Host => TenantRule::Host(hosts),
        TenantRuleMirror::Path => TenantRule::Path(ids()),
        // Which of a caller's installations it is, its claim has told already: it is of the one that this names.
        TenantRuleMirror::Token | TenantRuleMirror::Claim | TenantRuleMirror::Fixed(_) => TenantRule::Token(ids()),
    };
    let with_upstream = |listed: Listed| {
        let has_own_upstream = listed.upstream.is_some();
        let upstream = listed.upstream.or_else(|| shared.upstream.clone())?;
        let links = links::of_tenant(&upstream, has_own_upstream, listed.links, &shared.links)?;
        Some(Tenant { id: listed.id, name: listed.name, upstream, links })
    };
    Some((tenant, listed.into_iter().filter_map(with_upstream).collect()))
}

/// Each tenant's host, where hosts tell tenants apart; elsewhere a `host` would do nothing.
fn hosts(context: &Context<'_>, listed: &[Listed], by_host: bool) -> Vec<(Box<str>, Arc<str>)> {
    let mut seen = HashSet::new();
    let mut hosts = Vec::with_capacity(listed.len());
    for tenant in listed {
        match &tenant.host {
            Some(host) if !by_host => {
                context.error(
                    host.at,
                    "`host` stands in a tenant that is not told by it",
                    "write `tenant: host`, or delete it",
                );
            }
            Some(host) => {
                if !seen.insert(host.value.as_str()) {
                    context.error(host.at, format!("two tenants have the host `{}`", host.value), "give each its own");
                }
                hosts.push((Box::from(host.value.as_str()), Arc::clone(&tenant.id)));
            }
            None if by_host => {
                context.error(tenant.at, "the tenant lacks `host`", "write the name that its callers use")
            }
            None => {}
        }
    }
    hosts
}

fn observe(context: &Context<'_>, field: Field<GateModeMirror>) -> Option<i64> {
    let mode = field.into_spanned()?;
    let help = "write `mode: {observe: {until: 2026-12-15}}`, or delete it: a gate enforces";
    let observe = context.required(mode.value.observe, mode.at, "`mode` says nothing", help)?;
    let until = context.required(observe.value.until, observe.at, "`observe` lacks its end", help)?;
    if !context.has_state {
        let help =
            "add `state:`, where the digests of revoked credentials are kept: else one that goes would pass again";
        context.error(mode.at, "a gate under `observe` needs a state folder", help);
    }
    if until.value.0.saturating_sub(context.now_ms) > OBSERVE_MAX_MS {
        let days = OBSERVE_MAX_MS / (24 * 3_600_000);
        let message = format!("`observe` may run for {days} days at the most");
        context.error(until.at, message, "write an earlier `until`");
    }
    Some(until.value.0)
}

fn gate_limits(context: &Context<'_>, field: Field<LimitsMirror>) -> Limits {
    let Some(mirror) = field.into_value() else { return context.limits };
    for at in [mirror.drain_delay.at(), mirror.drain_timeout.at()].into_iter().flatten() {
        let help = "write it under the `limits` of the file";
        context.error(at, "all gates drain together, so this does not stand in one of them", help);
    }
    limits(context, &mirror)
}
