//! From the mirror to the model: how upstreams are reached, and who is believed to be one.

use super::address::{TlsBeside, is_host, proxy};
use super::check::Context;
use super::file::{ProxyAuthorizationMirror, ProxySchemeWord, RootsWord, UpstreamTlsMirror, ViaMapMirror, ViaMirror};
use super::model::{ProxyAuthorization, Roots, Tenant, UpstreamAddress, UpstreamTls, Via};
use crate::authz::policy::document::UpstreamScheme;
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id};

/// `upstream_tls`, or the `tls` of a proxy.
pub fn tls_beside(context: &Context<'_>, written: Spanned<UpstreamTlsMirror>) -> TlsBeside {
    let Spanned { value: mirror, at } = written;
    let server_name = mirror.server_name.into_spanned().map(|name| {
        if !is_host(&name.value.0) {
            context.error(name.at, format!("`{}` is no host", name.value.0), "write the name in the certificate");
        }
        name.value.0.to_ascii_lowercase()
    });
    TlsBeside { server_name, roots: roots(context, mirror.ca, mirror.roots, at) }
}

/// Without `roots`, a file that somebody names is the only one that counts: trust grows by a written word alone.
pub fn roots(context: &Context<'_>, ca: Field<Id>, word: Field<RootsWord>, at: At) -> Roots {
    let no_ca = ca.is_absent();
    let ca_at = ca.at();
    let file = context.path(ca);
    let word = word.into_spanned();
    match (word.as_ref().map(|word| word.value), file) {
        (None | Some(RootsWord::File), Some(file)) => Roots::File(file),
        (Some(RootsWord::Both), Some(file)) => Roots::Both(file),
        (Some(RootsWord::Public), Some(_)) => {
            let help = "write `roots: both` to trust it beside the public ones, or delete it";
            context.error(ca_at.unwrap_or(at), "`ca` stands beside `roots: public`, which does not count it", help);
            Roots::Public
        }
        (Some(RootsWord::File | RootsWord::Both), None) if no_ca => {
            let at = word.map_or(at, |word| word.at);
            context.error(at, "`roots` speaks of a file, and there is no `ca`", "add `ca: roots.pem`");
            Roots::Public
        }
        // A `ca` that cannot be read as text was said already.
        (None | Some(_), None) => Roots::Public,
    }
}

pub fn via(context: &Context<'_>, written: Spanned<ViaMirror>) -> Option<Via> {
    let Spanned { value: mirror, at } = written;
    let map = match mirror {
        ViaMirror::Proxy(text) => {
            ViaMapMirror { proxy: Field::Written(Spanned::new(Id(text), at)), ..Default::default() }
        }
        ViaMirror::Map(map) => map,
    };
    let help = "write the proxy as http://host:port";
    let written = context.required(map.proxy, at, "`via` lacks `proxy`", help);
    let tls_at = map.tls.at();
    let tls = map.tls.into_spanned().map(|written| tls_beside(context, written));
    let authorization = map.authorization.into_spanned().map(|written| authorization(context, written));
    let written = written?;
    let (https, host, port) =
        proxy(&written.value.0).map_err(|(message, help)| context.error(written.at, message, help)).ok()?;
    if let (false, Some(at)) = (https, tls_at) {
        let help = "write https://host:port, or delete it: TLS to the upstream is `upstream_tls`";
        context.error(at, "`tls` stands beside a proxy that is spoken to without", help);
    }
    let tls = https.then(|| UpstreamTls {
        server_name: tls.as_ref().and_then(|tls| tls.server_name.clone()).unwrap_or_else(|| host.clone()),
        roots: tls.map_or(Roots::Public, |tls| tls.roots),
    });
    // One that is written and cannot be used leaves no `Via`: a proxy would be asked without it.
    let authorization = match authorization {
        Some(authorization) => Some(authorization?),
        None => None,
    };
    Some(Via { host, port, tls, authorization })
}

fn authorization(context: &Context<'_>, written: Spanned<ProxyAuthorizationMirror>) -> Option<ProxyAuthorization> {
    let help = "write the path of a file that holds `user:password`";
    let file = context.required(written.value.file, written.at, "`authorization` lacks `file`", help)?;
    let scheme = match written.value.scheme.into_value() {
        Some(ProxySchemeWord::Bearer) => UpstreamScheme::Bearer,
        Some(ProxySchemeWord::Basic) | None => UpstreamScheme::Basic,
    };
    Some(ProxyAuthorization { scheme, file: context.folder.join(file.value.0) })
}

pub fn no_proxy_to_a_socket(context: &Context<'_>, via: Option<At>, tenants: &[Tenant]) {
    let is_socket = |tenant: &Tenant| matches!(tenant.upstream.address, UpstreamAddress::Unix(_));
    if let Some(at) = via.filter(|_| tenants.iter().any(is_socket)) {
        context.error(at, "`via` stands beside an upstream on a Unix socket", "delete it: no proxy leads to a socket");
    }
}
