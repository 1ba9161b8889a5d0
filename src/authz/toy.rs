//! A small catalog for tests: three vocabularies, a chain of implications, guards, lines by variant, and arguments that
//! ask for more.

use std::sync::Arc;

use super::catalog::extras::Extra;
use super::catalog::limits::{Limit, LimitId, LimitPlace};
use super::catalog::pattern::Pattern;
use super::catalog::*;
use super::policy::compile::Catalogs;
use super::scope::{ScopeId, ScopeSet};

pub const SCOPES: &[&str] =
    &["ADMIN", "WRITE", "READ", "x:read", "x:write", "g:a", "g:b", "gate:deliver", "gate:mint", "gate:call"];
pub const IMPLIES: &[(&str, &str)] = &[("ADMIN", "WRITE"), ("WRITE", "READ")];
pub const VOCABULARIES: &[&str] = &["chain", "classic", "granular"];
pub const VARIANTS: &[&str] = &["public", "private", "im"];
pub const OPERATION_IDS: &[&str] = &["read", "write", "admin", "deliver", "classic", "any", "typed", "asking"];
/// What a grant may limit, in the operations that tell it.
pub const LIMIT: &str = "webhook_host";

pub struct ToyLine {
    pub vocabulary: &'static str,
    pub scopes: &'static [&'static str],
    /// Empty: every variant.
    pub when: &'static [&'static str],
}

pub struct ToyOperation {
    pub id: &'static str,
    pub guards: &'static [&'static str],
    pub lines: &'static [ToyLine],
    /// What its arguments may ask for: each by vocabulary, in the words of `lines`.
    pub extras: &'static [&'static [(&'static str, &'static [&'static str])]],
    /// It tells what [`LIMIT`] limits.
    pub tells: bool,
}

const fn plain(id: &'static str, lines: &'static [ToyLine]) -> ToyOperation {
    ToyOperation { id, guards: &[], lines, extras: &[], tells: false }
}

const fn line(vocabulary: &'static str, scopes: &'static [&'static str]) -> ToyLine {
    ToyLine { vocabulary, scopes, when: &[] }
}

const fn typed(vocabulary: &'static str, scopes: &'static [&'static str], when: &'static [&'static str]) -> ToyLine {
    ToyLine { vocabulary, scopes, when }
}

pub const OPERATIONS: &[ToyOperation] = &[
    plain("read", &[line("chain", &["READ"]), line("classic", &["x:read"]), line("granular", &["g:a", "g:b"])]),
    plain("write", &[line("chain", &["WRITE"]), line("classic", &["x:write"])]),
    plain("admin", &[line("chain", &["ADMIN"])]),
    ToyOperation {
        guards: &["gate:deliver"],
        tells: true,
        extras: &[&[("chain", &["WRITE"]), ("classic", &["g:a"])], &[("chain", &[]), ("classic", &["g:b", "g:a"])]],
        ..plain("deliver", &[line("chain", &["READ"]), line("classic", &["x:read", "x:write"])])
    },
    plain("classic", &[line("classic", &["x:read"])]),
    plain("any", &[line("classic", &["x:read"]), line("classic", &["g:a"])]),
    plain(
        "typed",
        &[
            typed("classic", &["x:read"], &["public"]),
            typed("classic", &["g:a"], &["private"]),
            typed("classic", &["g:b"], &["im"]),
            typed("granular", &["x:write"], &["public", "private", "im"]),
        ],
    ),
    ToyOperation {
        extras: &[
            &[("chain", &["ADMIN"]), ("classic", &["x:write"]), ("granular", &[])],
            &[("chain", &[]), ("classic", &["g:b"]), ("granular", &["x:write"])],
        ],
        ..plain(
            "asking",
            &[
                line("chain", &["READ"]),
                typed("classic", &["x:read"], &["public", "private"]),
                typed("classic", &["g:a"], &["private", "im"]),
                line("granular", &["g:a"]),
            ],
        )
    },
];

pub struct Toy {
    pub catalog: Arc<Catalog>,
    pub catalogs: Arc<Catalogs>,
}

impl Toy {
    pub fn new() -> Self {
        let catalog = Arc::new(catalog());
        Self { catalogs: Arc::new(Catalogs::new([Arc::clone(&catalog)])), catalog }
    }
}

fn id(name: &str) -> ScopeId {
    ScopeId::new(SCOPES.iter().position(|scope| *scope == name).unwrap()).unwrap()
}

fn scope(name: &str) -> Scope {
    // The chain is short: two steps close it.
    let follow = |names: Vec<&'static str>, up: bool| -> Vec<&'static str> {
        let step = |name: &str| -> Vec<&'static str> {
            IMPLIES
                .iter()
                .filter(|(a, b)| if up { *b == name } else { *a == name })
                .map(|(a, b)| if up { *a } else { *b })
                .collect()
        };
        let one: Vec<_> = names.iter().flat_map(|name| step(name)).collect();
        let two: Vec<_> = one.iter().flat_map(|name| step(name)).collect();
        [names, one, two].concat()
    };
    let own = SCOPES.iter().find(|one| **one == name).copied().unwrap();
    let set = |names: Vec<&str>| -> ScopeSet { names.into_iter().map(id).collect() };
    let class = match name {
        "gate:call" => ScopeClass::Call,
        "gate:deliver" | "gate:mint" => ScopeClass::Guard,
        _ => ScopeClass::Vendor,
    };
    Scope {
        name: name.into(),
        class,
        vocabularies: VocabularySet::ALL,
        down: set(follow(vec![own], false)),
        up: set(follow(vec![own], true)),
    }
}

fn operation(toy: &ToyOperation) -> Operation {
    let mask = |when: &[&str]| match when {
        [] => VariantMask::ALL,
        when => VariantMask(when.iter().map(|one| 1 << VARIANTS.iter().position(|known| known == one).unwrap()).sum()),
    };
    let vocabularies = (0u8..).zip(VOCABULARIES).map(|(number, name)| VocabularyLines {
        vocabulary: VocabularyId(number),
        lines: toy
            .lines
            .iter()
            .filter(|line| line.vocabulary == *name)
            .map(|line| Line { scopes: line.scopes.iter().map(|scope| id(scope)).collect(), when: mask(line.when) })
            .collect(),
    });
    let conditional = toy.lines.iter().any(|line| !line.when.is_empty());
    Operation {
        id: toy.id.into(),
        method: http::Method::GET,
        template: format!("/{}", toy.id).into(),
        needs: Needs::Lines(vocabularies.filter(|one| !one.lines.is_empty()).collect()),
        guards: toy.guards.iter().map(|guard| id(guard)).collect(),
        all_scopes: toy.lines.iter().flat_map(|line| line.scopes).chain(toy.guards).map(|scope| id(scope)).collect(),
        extra_scopes: toy.extras.iter().flat_map(|extra| *extra).flat_map(|(_, of)| *of).map(|one| id(one)).collect(),
        extras: toy.extras.iter().map(|extra| self::extra(extra)).collect(),
        extra_sources: Box::default(),
        limits: toy.tells.then(|| LimitPlace { limit: LimitId(0), pointer: "/url".into() }).into_iter().collect(),
        touches: Touches::Tenant { why: "toy".into() },
        subject: false,
        items: Box::default(),
        tenant_arguments: Box::default(),
        variant_sources: Box::default(),
        variants: if conditional { VariantMask(0b111) } else { VariantMask::ALL },
        body: false,
        websocket: false,
        links: None,
        reads_json: false,
        reads_multipart: false,
        undo: None,
        remover: None,
        changes: Box::default(),
        starts: None,
        fetches: None,
    }
}

fn extra(by_vocabulary: &[(&str, &[&str])]) -> Extra {
    let number = |name: &str| VOCABULARIES.iter().position(|one| *one == name).unwrap();
    let one = |(name, scopes): &(&str, &[&str])| {
        let vocabulary = VocabularyId(u8::try_from(number(name)).unwrap());
        (vocabulary, scopes.iter().map(|scope| id(scope)).collect())
    };
    Extra { by_vocabulary: by_vocabulary.iter().map(one).collect() }
}

pub fn catalog() -> Catalog {
    let project = ContainerKind {
        name: "project".into(),
        id: Some(Pattern::new("[0-9]+").unwrap()),
        key: Some(Pattern::new("[A-Za-z]+").unwrap()),
        fold: Fold::Upper,
        within: None,
        lookup: None,
        lookup_id: None,
    };
    let person = CredentialKind { name: "person".into(), vocabularies: VocabularySet::ALL, actor: ActorRule::Evidence };
    Catalog {
        product: "toy".into(),
        release: "1".into(),
        dialect: DialectName::Problem,
        digest: String::new(),
        tokens: TokenPlaces::default(),
        tenant_arguments: Box::default(),
        containers: Box::new([project]),
        vocabularies: VOCABULARIES.iter().map(|name| (*name).into()).collect(),
        scopes: SCOPES.iter().map(|name| scope(name)).collect(),
        kinds: Box::new([person]),
        variants: VARIANTS.iter().map(|name| (*name).into()).collect(),
        operations: OPERATIONS.iter().map(operation).collect(),
        links: links::Links::default(),
        lookups: Box::default(),
        limits: Box::new([Limit { name: LIMIT.into(), why: "toy".into(), reading: LimitReading::UrlHost }]),
        jobs: Box::default(),
        evaluators: Box::default(),
        gate_call: id("gate:call"),
        gate_mint: id("gate:mint"),
        vendor_scopes: SCOPES.iter().filter(|name| !name.starts_with("gate:")).map(|name| id(name)).collect(),
        tenant_bases: Box::default(),
        matcher: matcher::Matcher::default(),
    }
}
