//! Hostile requests: what is refused, and what is judged as what. Row ids are those of the bypass list.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may stop at a surprise")]

mod asked;
mod body;
mod brief;
mod head;
mod identity;
mod lenient;
mod locate;
mod path;
mod readers;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use scopegate::authz::catalog::items::Items;
use scopegate::authz::catalog::pattern::Pattern;
use scopegate::authz::catalog::{Absent, ActorRule, KindId, PlaceAt, VocabularySet};
use scopegate::authz::catalog::{
    Catalog, ContainerKind, CredentialKind, DialectName, Fold, Needs, Operation, Place, Reading, TokenPlaces, Touches,
    VariantMask, VariantSource,
};
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::request::{BodyFacts, Facts, RequestView};
use scopegate::authz::{ScopeId, ScopeSet};

/// The head that hyper would hand over. `None`: the `http` crate itself refuses it.
fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Parts> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        request = request.header(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// A GET with nothing but a host.
fn get(target: &str) -> Option<Parts> {
    parts("GET", target, &[("host", "gate")])
}

fn facts(body: BodyFacts<'_>) -> Facts<'_> {
    Facts { now_ms: NOW_MS, behind_ms: 0, body, looked_up: LookedUp::nothing() }
}

const NOW_MS: i64 = 1_800_000_000_000;

/// A gate with one kind of container that looks like Jira's projects, and one like Slack's channels.
fn gate() -> GateRules {
    GateRules {
        name: "gate".into(),
        catalog: Arc::new(catalog()),
        identify: Identify { gate_key: true, token: true, connect_jwt: true, ..Identify::default() },
        tenant: TenantRule::Fixed("acme".into()),
        issue_keys_prefix: true,
        names_as_written: true,
        channel_types_prefix: false,
        observe_until_ms: None,
    }
}

const PROJECT: KindId = KindId(0);
const CHANNEL: KindId = KindId(1);

fn catalog() -> Catalog {
    let pattern = |text: &str| Some(Pattern::new(text).unwrap());
    let kind = |name: &str, id, key, fold| ContainerKind {
        name: name.into(),
        id,
        key,
        fold,
        within: None,
        lookup: None,
        lookup_id: None,
    };
    Catalog {
        product: "sample".into(),
        release: "1".to_owned(),
        dialect: DialectName::Slack,
        digest: String::new(),
        tenant_arguments: Box::default(),
        tokens: TokenPlaces {
            query: Box::new(["token".into()]),
            body: Box::new(["token".into()]),
            form: Box::default(),
        },
        containers: Box::new([
            kind("project", pattern("[0-9]+"), pattern("[A-Za-z][A-Za-z0-9_]+"), Fold::Upper),
            kind("channel", pattern("[CDG][A-Z0-9]{2,}"), pattern("#?[a-z0-9][a-z0-9_-]*"), Fold::None),
        ]),
        vocabularies: Box::new(["bot".into()]),
        scopes: Box::default(),
        kinds: Box::new([CredentialKind { name: "bot".into(), vocabularies: VocabularySet(1), actor: ActorRule::App }]),
        variants: Box::new(["public".into(), "private".into(), "im".into(), "mpim".into()]),
        operations: Box::default(),
        links: Default::default(),
        lookups: Box::default(),
        limits: Box::default(),
        jobs: Box::default(),
        evaluators: Box::default(),
        names: Box::default(),
        gate_call: ScopeId::new(0).unwrap(),
        gate_mint: ScopeId::new(1).unwrap(),
        vendor_scopes: ScopeSet::EMPTY,
        tenant_bases: Box::default(),
        matcher: Default::default(),
    }
}

const PUBLIC: u8 = 1;
const PRIVATE: u8 = 2;
const IM: u8 = 4;
const MPIM: u8 = 8;

fn operation(places: Vec<Place>, variants: u8, variant_sources: Vec<VariantSource>) -> Operation {
    Operation {
        id: "operation".into(),
        method: http::Method::POST,
        template: "/x".into(),
        needs: Needs::Unknown,
        guards: Box::default(),
        all_scopes: ScopeSet::EMPTY,
        extras: Box::default(),
        extra_scopes: ScopeSet::EMPTY,
        extra_sources: Box::default(),
        limits: Box::default(),
        items: Items::of(&places),
        touches: Touches::Containers(places.into()),
        subject: false,
        tenant_arguments: Box::default(),
        variant_sources: variant_sources.into(),
        variants: VariantMask(variants),
        body: true,
        websocket: false,
        links: None,
        reads_json: true,
        reads_multipart: false,
        undo: None,
        remover: None,
        changes: Default::default(),
        starts: None,
        fetches: None,
    }
}

fn place(kind: KindId, at: PlaceAt, reading: Reading) -> Place {
    Place { kind, at, reading, lookup: None, absent: Absent::Deny, present_is_tenant: false, list: false, group: None }
}

/// Asserts the path that is judged, and sent; `None` is a 400.
fn check_path(target: &str, judged: Option<&str>) {
    let Some(parts) = get(target) else {
        assert_eq!(judged, None, "{target:?} does not even parse");
        return;
    };
    let view = RequestView::of(&parts);
    assert_eq!(view.as_ref().map(|view| &*view.path).ok(), judged, "{target:?}: {:?}", view.as_ref().err());
    if let Ok(view) = view {
        assert_eq!(view.forward_target().split('?').next(), judged, "{target:?} is sent as it was judged");
        assert_eq!(view.is_rewritten(), view.forward_target() != view.received_target());
    }
}
