//! A small catalog for tests: three vocabularies, a chain of implications, a scope of two names, guards, lines by variant,
//! arguments that ask for more, and containers in containers. What is said of scopes and containers is read and compiled as
//! every catalog is.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::catalog::extras::Extra;
use super::catalog::limits::{Limit, LimitId, LimitPlace};
use super::catalog::load::Source;
use super::catalog::*;
use super::policy::compile::Catalogs;
use super::scope::ScopeId;

/// The vendor's, then scopegate's own.
pub const SCOPES: &[&str] = &[
    "ADMIN",
    "WRITE",
    "READ",
    "x:read",
    "x:write",
    "x:edit",
    "g:a",
    "g:b",
    "gate:call",
    "gate:deliver",
    "gate:mint",
    "gate:admit",
];
pub const IMPLIES: &[(&str, &str)] = &[("ADMIN", "WRITE"), ("WRITE", "READ"), ("x:edit", "x:read")];
/// Two names of one scope.
pub const SAME: &[(&str, &str)] = &[("x:write", "x:edit")];
/// Kinds of containers, and what each lies within.
pub const CONTAINERS: &[(&str, Option<&str>)] =
    &[("project", None), ("board", Some("project")), ("card", Some("board")), ("page", None)];
pub const VOCABULARIES: &[&str] = &["chain", "classic", "granular"];
pub const VARIANTS: &[&str] = &["public", "private", "im"];
pub const OPERATION_IDS: &[&str] =
    &["read", "write", "admin", "deliver", "classic", "any", "typed", "asking", "edit", "call", "admit", "unstated"];
/// What a grant may limit, in the operations that tell it.
pub const LIMIT: &str = "webhook_host";

pub struct ToyLine {
    pub vocabulary: &'static str,
    pub scopes: &'static [&'static str],
    /// Empty: every variant.
    pub when: &'static [&'static str],
}

/// What the catalog says of an operation's scopes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// `lines`.
    Lines,
    /// `needs: none`
    NoneNeeded,
    /// `needs: unknown`
    Unknown,
}

pub struct ToyOperation {
    pub id: &'static str,
    pub guards: &'static [&'static str],
    pub stated: Stated,
    pub lines: &'static [ToyLine],
    /// What its arguments may ask for: each by vocabulary, in the words of `lines`.
    pub extras: &'static [&'static [(&'static str, &'static [&'static str])]],
    /// It tells what [`LIMIT`] limits.
    pub tells: bool,
}

const fn plain(id: &'static str, lines: &'static [ToyLine]) -> ToyOperation {
    ToyOperation { id, guards: &[], stated: Stated::Lines, lines, extras: &[], tells: false }
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
    plain("edit", &[line("classic", &["x:edit"]), line("granular", &["g:b"])]),
    ToyOperation { stated: Stated::NoneNeeded, ..plain("call", &[]) },
    ToyOperation { stated: Stated::NoneNeeded, guards: &["gate:admit"], ..plain("admit", &[]) },
    ToyOperation { stated: Stated::Unknown, ..plain("unstated", &[]) },
];

pub struct Toy {
    pub catalog: Arc<Catalog>,
    pub catalogs: Arc<Catalogs>,
}

impl Toy {
    /// There is one, shared: a property asks for it a thousand times.
    pub fn new() -> Self {
        static ONE: LazyLock<Toy> = LazyLock::new(|| {
            let catalog = Arc::new(catalog());
            Toy { catalogs: Arc::new(Catalogs::new([Arc::clone(&catalog)])), catalog }
        });
        Self { catalog: Arc::clone(&ONE.catalog), catalogs: Arc::clone(&ONE.catalogs) }
    }
}

fn id(name: &str) -> ScopeId {
    ScopeId::new(SCOPES.iter().position(|scope| *scope == name).unwrap()).unwrap()
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
        needs: match toy.stated {
            Stated::Lines => Needs::Lines(vocabularies.filter(|one| !one.lines.is_empty()).collect()),
            Stated::NoneNeeded => Needs::None { why: "toy".into() },
            Stated::Unknown => Needs::Unknown,
        },
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

/// Scopes, containers and kinds of credentials, as a file would say it.
fn written() -> String {
    let list =
        |all: Vec<&str>| format!("[{}]", all.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(", "));
    let second = |all: &[(&'static str, &'static str)], first: &str| {
        list(all.iter().filter(|(one, _)| *one == first).map(|(_, other)| *other).collect())
    };
    let vocabularies = list(VOCABULARIES.to_vec());
    let scopes = SCOPES.iter().filter(|name| !name.starts_with("gate:")).map(|name| {
        let (implies, same) = (second(IMPLIES, name), second(SAME, name));
        format!("  - {{name: '{name}', vocabularies: {vocabularies}, implies: {implies}, same_as: {same}}}\n")
    });
    let containers = CONTAINERS.iter().map(|(name, within)| {
        let within = within.map(|outer| format!(", within: {outer}")).unwrap_or_default();
        format!("  - {{name: {name}, id: '[0-9]+', key: '[A-Za-z]+', fold: upper{within}}}\n")
    });
    format!(
        "version: 1\nproduct: toy\nrelease: '1'\ndialect: problem\nvocabularies: {vocabularies}\nvariants: {}\n\
         kinds:\n  - {{name: person, vocabularies: {vocabularies}, actor: evidence}}\n\
         containers:\n{}scopes:\n{}operations: []\n",
        list(VARIANTS.to_vec()),
        containers.collect::<String>(),
        scopes.collect::<String>()
    )
}

pub fn catalog() -> Catalog {
    let text = written();
    let catalog = Catalog::parse(Source { path: Path::new("toy.yaml"), text: &text }, None).unwrap();
    assert!(catalog.scopes.iter().map(|scope| &*scope.name).eq(SCOPES.iter().copied()));
    Catalog {
        operations: OPERATIONS.iter().map(operation).collect(),
        limits: Box::new([Limit { name: LIMIT.into(), why: "toy".into(), reading: LimitReading::UrlHost }]),
        ..catalog
    }
}
