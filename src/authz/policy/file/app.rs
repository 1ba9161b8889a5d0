//! `app` documents.

use std::collections::HashSet;

use super::Origin;
use super::check::{app_name, id, required, said, signed, tenants};
use super::mirror::{
    AppMirror, CredentialMirror, InstallWindowMirror, InstallationMirror, MethodWord, SchemeWord, SuspensionMirror,
    UpstreamMirror,
};
use super::rule::{self, Place, grant, required_id, revocation, rules};
use crate::authz::policy::credentials::ClientMethod;
use crate::authz::policy::document::{
    AppDocument, Credential, CredentialMethod, Description, InstallWindow, Installation, Suspension,
    UpstreamCredential, UpstreamScheme,
};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id, ListOrNothing};
use crate::yaml::time::{Moment, Span};
use crate::yaml::typed::Reader;

/// `install_window:` unless written: 24 h.
const INSTALL_WINDOW_MS: i64 = 24 * 3_600_000;
/// An install needs hours, a migration days; more is a standing right: 7 d.
const INSTALL_WINDOW_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// SHA-256 of nothing: what a pipe from a missing file gives.
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub fn app(reader: &Reader<'_>, mirror: Field<AppMirror>, origin: Origin) -> Option<AppDocument> {
    let mirror = mirror.into_value()?;
    let app = id(mirror.app);
    let named = app.as_ref().is_some_and(|app| app_name(reader, app));
    let description = description(reader, mirror.name, mirror.contact);
    if origin == Origin::Policy {
        for at in [mirror.install_windows.at(), mirror.suspensions.at()].into_iter().flatten() {
            let help = "use `scopegate install-window` or `scopegate suspend`";
            reader.error_with_help(at, "this key stands in the overrides folder only, where commands write it", help);
        }
    }
    let installations = installations(reader, mirror.installations);
    let place = Place::App { installations: installations.len() };
    let listed = |field: Field<ListOrNothing<_>>| field.into_value().map(|list| list.0).unwrap_or_default();
    Some(AppDocument {
        app: app.filter(|_| named)?,
        description,
        grants: rules(reader, listed(mirror.grants), place, grant),
        revocations: rules(reader, mirror.revocations.into_value().unwrap_or_default(), place, revocation),
        install_windows: rules(reader, mirror.install_windows.into_value().unwrap_or_default(), place, install_window),
        suspensions: rules(reader, mirror.suspensions.into_value().unwrap_or_default(), place, suspension),
        installations,
    })
}

/// `name` and `contact`: both or neither.
fn description(reader: &Reader<'_>, name: Field<String>, contact: Field<String>) -> Option<Description> {
    let lone = match (name.at(), contact.at()) {
        (Some(at), None) => Some((at, "`name` stands without `contact`", "add `contact:`, whom to ask about the app")),
        (None, Some(at)) => Some((at, "`contact` stands without `name`", "add `name:`, what people call the app")),
        _ => None,
    };
    if let Some((at, message, help)) = lone {
        reader.error_with_help(at, message, help);
    }
    let (name, contact) = (said(reader, name), said(reader, contact));
    Some(Description { name: name?, contact: contact? })
}

fn installations(reader: &Reader<'_>, field: Field<ListOrNothing<InstallationMirror>>) -> Vec<Installation> {
    let mut installations: Vec<Installation> = Vec::new();
    let mut seen = HashSet::new();
    for mirror in field.into_value().map(|list| list.0).unwrap_or_default() {
        let Some(Spanned { value, at }) = mirror.into_spanned() else { continue };
        let Some(installation) = installation(reader, value, at) else { continue };
        if !seen.insert(installation.tenant.value.clone()) {
            let message = format!("the app is installed in `{}` twice", installation.tenant.value);
            reader.error_with_help(installation.tenant.at, message, "write one installation with both credentials");
        }
        installations.push(installation);
    }
    installations
}

fn installation(reader: &Reader<'_>, mirror: InstallationMirror, at: At) -> Option<Installation> {
    let tenant = required_id(reader, mirror.tenant, at, "the installation lacks `tenant`", "write the tenant's id");
    let credentials = mirror.credentials.into_value().map(|list| list.0).unwrap_or_default();
    let observe_until = mirror.observe.into_spanned().and_then(|observe| {
        let help = "write `observe: {until: 2026-12-15T00:00:00Z}`";
        required(reader, observe.value.until, observe.at, "`observe` lacks its end", help)
    });
    let milliseconds = |moment: Spanned<Moment>| Spanned { value: moment.value.0, at: moment.at };
    Some(Installation {
        at,
        tenant_name: said(reader, mirror.tenant_name).map(|text| text.value),
        installed_at: mirror.installed_at.into_spanned().map(milliseconds),
        install_window_ms: install_window_ms(reader, mirror.install_window),
        credentials: credentials
            .into_iter()
            .filter_map(Field::into_spanned)
            .filter_map(|written| credential(reader, written.value, written.at))
            .collect(),
        observe_until: observe_until.map(milliseconds),
        tenant: tenant?,
    })
}

fn install_window_ms(reader: &Reader<'_>, field: Field<Span>) -> i64 {
    let Some(Spanned { value: Span(ms), at }) = field.into_spanned() else { return INSTALL_WINDOW_MS };
    if ms == 0 || ms > INSTALL_WINDOW_MAX_MS {
        reader.error_with_help(at, "an install window is longer than 0 and at most 7d", "write a time such as 24h");
    }
    ms
}

fn credential(reader: &Reader<'_>, mirror: CredentialMirror, at: At) -> Option<Credential> {
    let help = "write `method: gate_key`, `token`, `connect_jwt`, `jwt` or `trusted_header`";
    let method = required(reader, mirror.method, at, "the credential lacks `method`", help);
    let help = "write the catalog's kind of this credential, such as bot, user, oauth, api_token or connect";
    let kind = required_id(reader, mirror.kind, at, "the credential lacks `kind`", help);
    let method = method?.value;
    foreign_keys(
        reader,
        method,
        [
            ("sha256", mirror.sha256.at(), matches!(method, MethodWord::GateKey | MethodWord::Token)),
            ("upstream", mirror.upstream.at(), !matches!(method, MethodWord::Token | MethodWord::ConnectJwt)),
            ("client_key", mirror.client_key.at(), method == MethodWord::ConnectJwt),
            ("secret", mirror.secret.at(), method == MethodWord::ConnectJwt),
            ("issuer", mirror.issuer.at(), method == MethodWord::Jwt),
            ("client", mirror.client.at(), matches!(method, MethodWord::Jwt | MethodWord::TrustedHeader)),
            // These say themselves whom they stand for.
            ("user", mirror.user.at(), !matches!(method, MethodWord::Jwt | MethodWord::TrustedHeader)),
        ],
    );
    let method = match method {
        MethodWord::GateKey => {
            let sha256 = digest(reader, mirror.sha256, at);
            let help = "write `upstream: {file: /run/secrets/...}`, the real credential that the gate puts in";
            let upstream = required(reader, mirror.upstream, at, "a gate key lacks `upstream`", help);
            let upstream = upstream.and_then(|written| upstream_credential(reader, written));
            CredentialMethod::GateKey { sha256: sha256?, upstream: upstream? }
        }
        MethodWord::Token => CredentialMethod::Token { sha256: digest(reader, mirror.sha256, at)? },
        MethodWord::ConnectJwt => {
            let help = "write the clientKey of the installation";
            let client_key = required_id(reader, mirror.client_key, at, "a connect_jwt lacks `client_key`", help);
            let help = "write `secret: {file: /run/secrets/...}`, the installation's shared secret";
            let secret = required(reader, mirror.secret, at, "a connect_jwt lacks `secret`", help);
            let file = secret.and_then(|written| {
                let help = "write the path of a file";
                required_id(reader, written.value.file, written.at, "`secret` lacks `file`", help)
            });
            CredentialMethod::ConnectJwt { client_key: client_key?, secret: file? }
        }
        MethodWord::Jwt => {
            let help = "write the issuer as the gate's `identify: [{jwt: {issuer: ...}}]` has it";
            let issuer = required_id(reader, mirror.issuer, at, "a jwt lacks `issuer`", help);
            let help = "write what the issuer calls the app: the claim that the gate reads it from";
            let client = required_id(reader, mirror.client, at, "a jwt lacks `client`", help);
            let upstream = optional_upstream(reader, mirror.upstream)?;
            CredentialMethod::Client { by: ClientMethod::Jwt, issuer: issuer?, client: client?, upstream }
        }
        MethodWord::TrustedHeader => {
            let help = "write what the proxy before the gate calls the app, in the field that the gate reads it from";
            let client = required_id(reader, mirror.client, at, "a trusted_header lacks `client`", help);
            let upstream = optional_upstream(reader, mirror.upstream)?;
            let issuer = Spanned { value: String::new(), at };
            CredentialMethod::Client { by: ClientMethod::TrustedHeader, issuer, client: client?, upstream }
        }
    };
    Some(Credential { at, kind: kind?, method, user: id(mirror.user), pipeline: id(mirror.pipeline) })
}

/// One that is written and cannot be used must not become none: what the caller showed would go on.
fn optional_upstream(reader: &Reader<'_>, field: Field<UpstreamMirror>) -> Option<Option<UpstreamCredential>> {
    match field {
        Field::Absent => Some(None),
        written => upstream_credential(reader, written.into_spanned()?).map(Some),
    }
}

fn upstream_credential(reader: &Reader<'_>, written: Spanned<UpstreamMirror>) -> Option<UpstreamCredential> {
    let Spanned { value: mirror, at } = written;
    let file = required_id(reader, mirror.file, at, "`upstream` lacks `file`", "write the path of a file");
    let scheme = match mirror.scheme.into_value() {
        Some(SchemeWord::Basic) => UpstreamScheme::Basic,
        Some(SchemeWord::Bearer) | None => UpstreamScheme::Bearer,
    };
    Some(UpstreamCredential { file: file?, scheme })
}

/// A key of another method was meant to do something; it would do nothing.
fn foreign_keys(reader: &Reader<'_>, method: MethodWord, keys: [(&str, Option<At>, bool); 7]) {
    let word = match method {
        MethodWord::GateKey => "gate_key",
        MethodWord::Token => "token",
        MethodWord::ConnectJwt => "connect_jwt",
        MethodWord::Jwt => "jwt",
        MethodWord::TrustedHeader => "trusted_header",
    };
    for (key, at, belongs) in keys {
        if let (Some(at), false) = (at, belongs) {
            let message = format!("`{key}` does not belong to `method: {word}`");
            reader.error_with_help(at, message, "delete it, or write the method it belongs to");
        }
    }
}

fn digest(reader: &Reader<'_>, field: Field<Id>, at: At) -> Option<Spanned<[u8; 32]>> {
    let help = "`scopegate credential new` or `hash` prints the line";
    let written = required(reader, field, at, "the credential lacks `sha256`", help)?;
    let text = written.value.0.to_ascii_lowercase();
    let Some(bytes) = hex(&text) else {
        let message = "a SHA-256 digest has 64 hex digits".to_owned();
        reader.error_with_help(written.at, format!("{message}, this has {} characters", text.chars().count()), help);
        return None;
    };
    let first = bytes.first().copied().unwrap_or_default();
    if text == SHA256_OF_NOTHING || bytes.iter().all(|byte| *byte == first) {
        reader.error_with_help(written.at, "this is the digest of nothing, not of a token", help);
    }
    Some(Spanned { value: bytes, at: written.at })
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn install_window(reader: &Reader<'_>, mirror: InstallWindowMirror, at: At, _: Place) -> Option<InstallWindow> {
    let help = "commands write this; do not edit it by hand";
    let lacks = |key: &str| format!("the install window lacks `{key}`");
    let tenant = required_id(reader, mirror.tenant, at, &lacks("tenant"), help);
    let from = required(reader, mirror.from, at, &lacks("from"), help);
    let until = required(reader, mirror.until, at, &lacks("until"), help);
    let reason = required(reader, mirror.reason, at, &lacks("reason"), help);
    let (from, until) = (from?, until?);
    if from.value >= until.value {
        reader.error_with_help(until.at, "`until` is not later than `from`", "mend one of them");
    }
    Some(InstallWindow {
        at,
        tenant: tenant?,
        from: from.value.0,
        until: until.value.0,
        reason: reason?.value,
        signed: signed(mirror.by, mirror.at),
    })
}

fn suspension(reader: &Reader<'_>, mirror: SuspensionMirror, at: At, _: rule::Place) -> Option<Suspension> {
    let help = "write why the app is suspended";
    let reason = required(reader, mirror.reason, at, "the suspension lacks `reason`", help);
    let tenants = tenants(reader, mirror.tenants);
    Some(Suspension { at, tenants, reason: reason?, signed: signed(mirror.by, mirror.at) })
}
