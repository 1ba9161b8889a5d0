//! From the mirror to the model: how a gate tells its callers apart.

use std::sync::Arc;
use std::time::Duration;

use super::address::{Beside, is_loopback, upstream};
use super::check::{Context, duration};
use super::file::{BypassWord, ClaimsMirror, IdentifyMirror, JwtMirror, KeysMirror, TrustedHeaderMirror};
use super::model::{Bypass, Fetched, KeySource, Protocol, UpstreamAddress};
use super::outbound::tls_beside;
use crate::authz::gate::Identify;
use crate::authz::identity::claims::{ClaimName, ClaimNames};
use crate::authz::identity::jwt::Issuer;
use crate::authz::identity::keys::Algorithm;
use crate::authz::identity::trusted_header::{AddressRange, Front, TrustedHeader};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id, List};
use crate::yaml::time::Span;

/// `max_life` unless written: a working day with what surrounds it.
const LIFE: Duration = Duration::from_secs(24 * 3_600);
/// A longer life is a standing credential.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// `refresh` unless written.
const REFRESH: Duration = Duration::from_secs(600);
/// `cool_down` unless written.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// `max_age` unless written.
const AGE: Duration = Duration::from_secs(24 * 3_600);
const SPAN_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Every method there is, for whoever writes none.
pub const METHODS: &str =
    "write at least one of gate_key, token, connect_jwt, `{jwt: {...}}` and `{trusted_header: {...}}`";

/// What a gate takes, and where the keys of its issuers come from, in their order.
pub fn identify(
    context: &Context<'_>,
    field: Field<List<IdentifyMirror>>,
    at: At,
) -> Option<(Identify, Vec<KeySource>)> {
    let list = context.required(field, at, "the gate lacks `identify`", METHODS)?;
    if list.value.is_empty() {
        context.error(list.at, "`identify` is empty, so nobody could be known", METHODS);
        return None;
    }
    let mut identify = Identify::default();
    let mut issuers: Vec<(Issuer, KeySource)> = Vec::new();
    let mut is_whole = true;
    for Spanned { value, at } in list.value.into_iter().filter_map(Field::into_spanned) {
        match value {
            IdentifyMirror::GateKey => identify.gate_key = true,
            IdentifyMirror::Token => identify.token = true,
            IdentifyMirror::ConnectJwt => identify.connect_jwt = true,
            IdentifyMirror::Map(map) => match (map.jwt, map.trusted_header) {
                (Field::Absent, Field::Absent) => context.error(at, "this names no method", METHODS),
                (Field::Absent, written) => match written.into_spanned().and_then(|one| trusted_header(context, one)) {
                    Some(_) if identify.trusted_header.is_some() => {
                        context.error(
                            at,
                            "`trusted_header` stands there twice",
                            "write one with all that it is taken from",
                        );
                    }
                    Some(fronts) => identify.trusted_header = Some(Arc::new(fronts)),
                    None => is_whole = false,
                },
                (written, Field::Absent) => match written.into_spanned().and_then(|one| jwt(context, one, &issuers)) {
                    Some(issuer) => issuers.push(issuer),
                    None => is_whole = false,
                },
                (_, _) => context.error(at, "this names two methods", "write each as an item of its own"),
            },
        }
    }
    let (issuers, keys): (Vec<Issuer>, Vec<KeySource>) = issuers.into_iter().unzip();
    identify.jwt = issuers.into();
    is_whole.then_some((identify, keys))
}

/// Fields that say something else already, or are of one connection.
const OTHERWISE_READ: [&str; 12] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn trusted_header(context: &Context<'_>, written: Spanned<TrustedHeaderMirror>) -> Option<TrustedHeader> {
    let Spanned { value: mirror, at } = written;
    let help = "write the addresses of the proxies that say who calls, such as [10.0.0.0/8], or [unix]";
    let from = context.required(mirror.from, at, "`trusted_header` lacks `from`", help);
    let from = from.map(|list| {
        if list.value.is_empty() {
            context.error(list.at, "an empty list never means all", help);
        }
        list.value.into_iter().filter_map(Field::into_spanned).filter_map(|one| front(context, one)).collect()
    });
    let help = "write the name of the field that names the app, such as x-app";
    let app = context.required(mirror.app, at, "`trusted_header` lacks `app`", help);
    let mut taken: Vec<Box<str>> = Vec::new();
    let mut field = |written: Spanned<Id>| field_name(context, &mut taken, &written);
    let app = app.and_then(&mut field);
    // One that is written and cannot be used must not become one that nobody wrote.
    let mut optional = |written: Field<Id>| match written {
        Field::Absent => Some(None),
        written => field(written.into_spanned()?).map(Some),
    };
    let (tenant, user, groups) = (optional(mirror.tenant), optional(mirror.user), optional(mirror.groups));
    Some(TrustedHeader { from: from?, app: app?, tenant: tenant?, user: user?, groups: groups? })
}

fn front(context: &Context<'_>, written: Spanned<Id>) -> Option<Front> {
    let text = written.value.0.as_str();
    if text == "unix" {
        return Some(Front::Socket);
    }
    let range = AddressRange::parse(text).filter(|range| !range.is_everybody());
    if range.is_none() {
        let help = "write an address or a range such as 10.0.0.0/8, the bits behind its length zero, or `unix`";
        context.error(written.at, format!("`{text}` is not where a proxy stands"), help);
    }
    range.map(Front::Range)
}

fn field_name(context: &Context<'_>, taken: &mut Vec<Box<str>>, written: &Spanned<Id>) -> Option<Box<str>> {
    let name: Box<str> = written.value.0.as_str().into();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let is_free = !OTHERWISE_READ.contains(&&*name) && !taken.contains(&name);
    if !is_plain || !is_free {
        let help = "write a name of its own, in lower-case letters, digits and `-`, such as x-app";
        context.error(written.at, format!("`{name}` is no field for this"), help);
        return None;
    }
    taken.push(name.clone());
    Some(name)
}

fn jwt(
    context: &Context<'_>,
    written: Spanned<JwtMirror>,
    others: &[(Issuer, KeySource)],
) -> Option<(Issuer, KeySource)> {
    let Spanned { value: mirror, at } = written;
    let help = "write `iss` exactly as tokens say it, such as https://idp.example.com";
    let issuer = context.required(mirror.issuer, at, "`jwt` lacks `issuer`", help);
    let help =
        "write what tokens for this gate name in `aud`: one that is meant for another service is not for this one";
    let audience = context.required(mirror.audience, at, "`jwt` lacks `audience`", help);
    let help = "write `keys: {url: https://.../jwks.json}` or `keys: {file: jwks.json}`";
    let keys = context.required(mirror.keys, at, "`jwt` lacks `keys`", help);
    let keys = keys.and_then(|written| key_source(context, written));
    let help = "write `claims: {app: azp}`: which claim names the app";
    let claims = context.required(mirror.claims, at, "`jwt` lacks `claims`", help);
    let claims = claims.and_then(|written| claim_names(context, written));
    let algorithms = algorithms(context, mirror.algorithms);
    let life = bounded(context, &mirror.max_life, LIFE, LIFE_MAX);
    let issuer = issuer?;
    if others.iter().any(|(other, _)| *other.name == *issuer.value.0) {
        let help = "write one `jwt` with all its audiences: one token must not be judged in two ways";
        context.error(issuer.at, format!("two methods take tokens of `{}`", issuer.value.0), help);
        return None;
    }
    let audience = audience?;
    if audience.value.is_empty() {
        context.error(audience.at, "an empty list never means all", help_audience());
    }
    let audiences = audience.value.into_iter().filter_map(Field::into_value).map(|Id(one)| one.into());
    let issuer = Issuer {
        name: issuer.value.0.into(),
        audiences: audiences.collect(),
        algorithms: algorithms?,
        life_max_s: life.as_secs(),
        claims: claims?,
    };
    Some((issuer, keys?))
}

fn help_audience() -> &'static str {
    "write the audience that the issuer gives tokens for this gate"
}

fn algorithms(context: &Context<'_>, field: Field<List<Id>>) -> Option<Box<[Algorithm]>> {
    let usual = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    let Some(list) = field.into_spanned() else { return Some(usual.into()) };
    let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
    if list.value.is_empty() {
        context.error(list.at, "an empty list never means all", format!("delete it, or write some of {known}"));
    }
    let mut algorithms = Vec::with_capacity(list.value.len());
    for word in list.value.into_iter().filter_map(Field::into_spanned) {
        match Algorithm::named(&word.value.0) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let help = format!("these verify by a public key: {known}");
                context.error(word.at, format!("`{}` is no way to sign tokens that is taken", word.value.0), help);
                return None;
            }
        }
    }
    Some(algorithms.into())
}

fn claim_names(context: &Context<'_>, written: Spanned<ClaimsMirror>) -> Option<ClaimNames> {
    let Spanned { value: mirror, at } = written;
    let help = "write the claim that names the app: `client_id`, `azp`, or `/act/sub` where apps act for users";
    let app = context.required(mirror.app, at, "`claims` lacks `app`", help);
    // A claim that is written and cannot be read must not become one that nobody wrote.
    let optional = |field: Field<Id>| match field {
        Field::Absent => Some(None),
        written => claim(context, written.into_spanned()).map(Some),
    };
    let (tenant, user, groups) = (optional(mirror.tenant), optional(mirror.user), optional(mirror.groups));
    let user = match user? {
        Some(user) => user,
        None => ClaimName::new("sub")?,
    };
    Some(ClaimNames { app: claim(context, app)?, tenant: tenant?, user, groups: groups? })
}

fn claim(context: &Context<'_>, written: Option<Spanned<Id>>) -> Option<ClaimName> {
    let written = written?;
    let name = ClaimName::new(&written.value.0);
    if name.is_none() {
        let help = "write a name such as `azp`, or a JSON pointer such as `/act/sub`";
        context.error(written.at, format!("`{}` names no claim", written.value.0), help);
    }
    name
}

fn key_source(context: &Context<'_>, written: Spanned<KeysMirror>) -> Option<KeySource> {
    let Spanned { value: mirror, at } = written;
    let of_url = [mirror.tls.at(), mirror.refresh.at(), mirror.cool_down.at(), mirror.max_age.at()];
    match (mirror.url, mirror.file) {
        (Field::Absent, Field::Absent) => {
            context.error(at, "`keys` says nothing", "write `url` or `file`");
            None
        }
        (Field::Absent, file) => {
            if let Some(at) = of_url.into_iter().flatten().next() {
                context.error(at, "this belongs to keys that are fetched", "delete it: a file is read when it changes");
            }
            context.path(file).map(KeySource::File)
        }
        (url, Field::Absent) => {
            let tls_at = mirror.tls.at();
            let tls = mirror.tls.into_spanned().map(|written| tls_beside(context, written));
            let url = url.into_spanned()?;
            let (origin, path) = split(context, &url)?;
            let beside = Beside { host: None, tls: tls.as_ref(), protocol: Protocol::Auto, folder: context.folder };
            let refused = |(message, help): (String, &str)| context.error(tls_at.unwrap_or(url.at), message, help);
            let from = upstream(origin, beside).map_err(refused).ok()?;
            if from.tls.is_none() && !is_here(&from.address) {
                let message = "the keys are fetched in the clear: whoever is on the way could sign for anybody";
                context.error(url.at, message, "write an https:// address, or a `file`");
                return None;
            }
            Some(KeySource::Fetched(Fetched {
                from,
                path: path.to_owned(),
                refresh: bounded(context, &mirror.refresh, REFRESH, AGE_MAX),
                cool_down: bounded(context, &mirror.cool_down, COOL_DOWN, AGE_MAX),
                max_age: bounded(context, &mirror.max_age, AGE, AGE_MAX),
            }))
        }
        (_, file) => {
            context.error(file.at().unwrap_or(at), "`keys` has `url` and `file`", "keep one of them");
            None
        }
    }
}

/// Whether nobody but this machine is on the way.
fn is_here(address: &UpstreamAddress) -> bool {
    match address {
        UpstreamAddress::Tcp { host, .. } => is_loopback(host),
        UpstreamAddress::Unix(_) => true,
    }
}

/// Scheme, host and port of a URL, and what is asked for there.
fn split<'u>(context: &Context<'_>, url: &'u Spanned<Id>) -> Option<(&'u str, &'u str)> {
    let text = url.value.0.as_str();
    let start = text.find("://").map(|at| at + 3);
    let path_at = start.and_then(|start| text.get(start..)?.find('/').map(|at| start + at));
    let parts = path_at.and_then(|at| Some((text.get(..at)?, text.get(at..)?)));
    let is_path = |path: &str| path.parse::<http::uri::PathAndQuery>().is_ok() && !path.contains('#');
    let parts = parts.filter(|(_, path)| is_path(path));
    if parts.is_none() {
        let help = "write https://host/path, such as https://idp.example.com/.well-known/jwks.json";
        context.error(url.at, format!("`{text}` is no address of a key set"), help);
    }
    parts
}

fn bounded(context: &Context<'_>, field: &Field<Span>, unwritten: Duration, most: Duration) -> Duration {
    let Some(written) = field.spanned() else { return unwritten };
    let span = duration(written.value);
    if span < SPAN_MIN || span > most {
        let message = format!("this is at least 1s and at most {}d", most.as_secs() / (24 * 3_600));
        context.error(written.at, message, "write a time such as 30s");
    }
    span
}

/// Law 11: a gate says why an app cannot walk around it, and does not say what is not so.
pub fn bypass(
    context: &Context<'_>,
    field: Field<BypassWord>,
    identify: Option<&mut Identify>,
    at: At,
) -> Option<Bypass> {
    let help = "write `credential` (what the app holds is worth nothing upstream), `network` (only the gate reaches the \
                upstream) or `open` (advice, not enforcement)";
    let written = context.required(field, at, "the gate lacks `bypass`", help)?;
    let own = identify.as_ref().is_some_and(|identify| identify.token || identify.connect_jwt);
    if written.value == BypassWord::Credential && own {
        let message = "`bypass: credential` where an app shows its own credential: the same one works around the gate";
        let help = "identify by gate_key alone, or write `network` or `open`";
        context.error(written.at, message, help);
    }
    if let Some(identify) = identify {
        identify.replaces = written.value == BypassWord::Credential;
    }
    Some(match written.value {
        BypassWord::Credential => Bypass::Credential,
        BypassWord::Network => Bypass::Network,
        BypassWord::Open => Bypass::Open,
    })
}

/// Whether every method tells the tenant of a caller, so that it may be the tenant of the request.
pub fn tells_tenant(context: &Context<'_>, identify: &Identify, by_claim: bool, at: At) {
    let silent: Vec<&Arc<str>> =
        identify.jwt.iter().filter(|issuer| issuer.claims.tenant.is_none()).map(|issuer| &issuer.name).collect();
    if let Some(issuer) = silent.first() {
        let help = "write `claims: {tenant: ...}` in its `jwt`, or tell tenants by `host` or `path`";
        context.error(at, format!("no claim of `{issuer}` names the tenant that this takes from tokens"), help);
    }
    let fronts = identify.trusted_header.as_ref();
    if fronts.is_some_and(|fronts| fronts.tenant.is_none()) {
        let help = "write `tenant: x-tenant` in its `trusted_header`, or tell tenants by `host` or `path`";
        context.error(at, "no field names the tenant that this takes from proxies", help);
    }
    let shows_none = identify.jwt.is_empty() && fronts.is_none();
    if by_claim && (shows_none || identify.gate_key || identify.token || identify.connect_jwt) {
        let help = "write `tenant: token` where some credentials say no tenant: then each is of the one that a policy gives it";
        context.error(at, "`tenant: claim` where a method of `identify` shows no claims", help);
    }
}

/// Where a gate has several tenants, whoever says who calls says in which: else a token that was got in one would count in
/// whichever the request names.
pub fn tells_one_of_several(context: &Context<'_>, identify: &Identify, at: At) {
    if let Some(issuer) = identify.jwt.iter().find(|issuer| issuer.claims.tenant.is_none()) {
        let help = "write `claims: {tenant: ...}` in its `jwt`, or a gate for each tenant with an audience of its own";
        context.error(
            at,
            format!("of several tenants no claim of `{}` names the one that it is for", issuer.name),
            help,
        );
    }
    if identify.trusted_header.as_ref().is_some_and(|fronts| fronts.tenant.is_none()) {
        let help = "write `tenant: x-tenant` in its `trusted_header`, or a gate for each tenant";
        context.error(at, "of several tenants no field from the proxies names the one that is meant", help);
    }
}
