//! Who may call: each credential with all that makes it the caller that it is.

use std::sync::Arc;

use crate::authz::policy::Policy;
use crate::authz::policy::compile::Product;
use crate::authz::policy::credentials::{ClientMethod, KnownCredential, Proof};
use crate::authz::policy::document::UpstreamScheme;

/// A credential with all that makes it the caller that it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    evidence: Vec<u8>,
    pub(super) app: Arc<str>,
    pub(super) tenant: Arc<str>,
    kind: u8,
    user: Option<Arc<str>>,
    pipeline: Option<Arc<str>>,
    method: &'static str,
    /// What goes upstream for it, or proves it.
    file: Option<Arc<str>>,
}

pub(super) fn callers<'p>(policy: &'p Policy, product: &'p Product) -> impl Iterator<Item = (Caller, String)> {
    let credentials = policy.product(product.id).map(|own| &own.credentials);
    let digests =
        credentials.into_iter().flat_map(|all| all.by_digest.iter()).map(|(digest, one)| (digest.0.to_vec(), one));
    let keys = credentials.into_iter().flat_map(|all| all.by_client_key.iter());
    let keys = keys.map(|(key, one)| (key.as_bytes().to_vec(), one));
    let clients = credentials.into_iter().flat_map(|all| all.by_client.iter()).map(|(key, one)| {
        (format!("{}\n{}\n{}\n{}", key.by.as_str(), key.issuer, key.client, key.tenant).into_bytes(), one)
    });
    digests.chain(keys).chain(clients).map(|(evidence, one)| {
        let method = method(one);
        let caller = Caller {
            evidence,
            app: Arc::clone(&one.holder.app),
            tenant: Arc::clone(&one.holder.tenant),
            kind: one.kind.0,
            user: one.user.clone(),
            pipeline: one.pipeline.clone(),
            method,
            file: one.file.clone(),
        };
        let kind = product.catalog.kinds.get(usize::from(one.kind.0)).map_or("?", |kind| &*kind.name);
        // What is known of it in public: a digest is never printed.
        let mut words = format!("{kind} by {method}");
        for (what, value) in [("user", &one.user), ("pipeline", &one.pipeline), ("with", &one.file)] {
            words.extend(value.iter().map(|value| format!(", {what} {value}")));
        }
        (caller, words)
    })
}

fn method(credential: &KnownCredential) -> &'static str {
    match &credential.proof {
        Proof::GateKey { scheme: UpstreamScheme::Bearer, .. } => "gate_key",
        Proof::GateKey { scheme: UpstreamScheme::Basic, .. } => "gate_key (basic)",
        Proof::Token => "token",
        Proof::ConnectJwt { .. } => "connect_jwt",
        Proof::Client { by, upstream: None } => by.as_str(),
        Proof::Client { by, upstream: Some(with) } => match (by, with.scheme) {
            (ClientMethod::Jwt, UpstreamScheme::Bearer) => "jwt (replaced)",
            (ClientMethod::Jwt, UpstreamScheme::Basic) => "jwt (replaced, basic)",
            (ClientMethod::TrustedHeader, UpstreamScheme::Bearer) => "trusted_header (with a credential)",
            (ClientMethod::TrustedHeader, UpstreamScheme::Basic) => "trusted_header (with a credential, basic)",
        },
    }
}
