//! Which of the scopes that are asked for are granted, to whom, and which guards their operations need besides.

use std::collections::BTreeMap;

use super::super::{Asked, Manifest, ManifestKind, forge};
use super::{LeftOut, Settings, kind_of, near, vocabularies};
use crate::authz::catalog::{Catalog, Needs, Operation, ScopeClass, VocabularySet};
use crate::authz::policy::reach::other_side;
use crate::authz::scope::{ScopeId, ScopeSet};

/// Connect's right over the whole site: use case and guardrail alike say that it is for installing.
const ADMIN: &str = "ADMIN";

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub scope: String,
    pub app: bool,
    pub user: bool,
    /// The operations that need it, by their ids.
    pub operations: Vec<String>,
    /// What it rules where that is no operation.
    pub rules: Option<&'static str>,
    /// Only for the day after the install.
    pub while_installing: bool,
}

/// A guard that some operations of the granted scopes need besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    pub guard: String,
    pub app: bool,
    pub user: bool,
    /// They are open only for the day after the install.
    pub while_installing: bool,
    pub operations: Vec<String>,
}

pub(super) struct Draft {
    pub(super) lines: Vec<Line>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) guarded: Vec<Guarded>,
}

/// Sorts what is asked for.
pub(super) fn draft(manifest: &Manifest, catalog: &Catalog, asked: &[Asked], settings: Settings<'_>) -> Draft {
    let mut draft = Draft { lines: Vec::new(), left_out: Vec::new(), guarded: Vec::new() };
    let actors = Actors::of(manifest.kind, catalog);
    for one in asked {
        let name = match manifest.kind {
            ManifestKind::Forge => forge::of_connect(one).map(|(_, word)| word),
            ManifestKind::Slack | ManifestKind::Connect => None,
        };
        draft.sort(catalog, &actors, one, name.as_deref().unwrap_or(&one.scope), settings);
    }
    draft.guard(catalog, &actors);
    draft
}

/// Whose words count: those of the kinds of credential that the app can show as itself and as a user.
struct Actors {
    manifest: ManifestKind,
    app: VocabularySet,
    user: VocabularySet,
}

impl Actors {
    fn of(manifest: ManifestKind, catalog: &Catalog) -> Self {
        let app = vocabularies(catalog, kind_of(manifest, &catalog.product));
        match manifest {
            ManifestKind::Slack => Self { manifest, app, user: vocabularies(catalog, "user") },
            ManifestKind::Connect => Self { manifest, app, user: VocabularySet(0) },
            ManifestKind::Forge => {
                // Connect's words of an app that came from there.
                let VocabularySet(connect) = vocabularies(catalog, "connect");
                let both = VocabularySet(app.0 | connect);
                Self { manifest, app: both, user: both }
            }
        }
    }

    fn words(&self, app: bool) -> VocabularySet {
        if app { self.app } else { self.user }
    }

    /// In the vendor's words.
    fn whose(&self, app: bool, user: bool) -> &'static str {
        match (self.manifest, app, user) {
            (ManifestKind::Slack, true, true) => "bot and user token",
            (ManifestKind::Slack, true, false) => "bot token",
            (ManifestKind::Slack, false, _) => "user token",
            (ManifestKind::Connect | ManifestKind::Forge, ..) => "app",
        }
    }
}

impl Draft {
    fn sort(&mut self, catalog: &Catalog, actors: &Actors, asked: &Asked, name: &str, settings: Settings<'_>) {
        let mut leave = |(app, user): (bool, bool), why: String, near: Option<String>| {
            let whose = actors.whose(app, user);
            self.left_out.push(LeftOut { scope: asked.scope.clone(), whose, why, did_you_mean: near });
        };
        let both = (asked.app, asked.user);
        let known = catalog.scope(name).and_then(|id| Some((id, catalog.scopes.get(id.index())?)));
        let Some((id, scope)) = known else {
            let why = format!("the catalog {}@{} does not know it", catalog.product, catalog.release);
            return leave(both, why, near(catalog, name));
        };
        if matches!(scope.class, ScopeClass::Guard | ScopeClass::Call) {
            return leave(both, "a scope of scopegate's own, which no vendor gives: grant it by hand".to_owned(), None);
        }
        let can = |app: bool| scope.vocabularies.0 & actors.words(app).0 != 0;
        let (app, user) = (asked.app && can(true), asked.user && can(false));
        let lost = (asked.app && !app, asked.user && !user);
        if lost.0 || lost.1 {
            let why = format!("{} of this kind cannot have it", actors.whose(lost.0, lost.1));
            leave(lost, why, None);
        }
        if !app && !user {
            return;
        }
        let while_installing = actors.manifest != ManifestKind::Slack && name == ADMIN;
        if while_installing && (settings.tenant.is_none() || settings.installed_at_ms.is_none()) {
            let why = "needed while it is installed: --tenant and --installed-at grant it for the day after that";
            return leave(both, why.to_owned(), None);
        }
        self.lines.push(Line {
            scope: name.to_owned(),
            app,
            user,
            operations: operations(catalog, actors, id, (app, user)),
            rules: other_side(catalog, id),
            while_installing,
        });
    }

    /// The guards of operations that the lines open, one for each guard, whom it is for and for how long.
    fn guard(&mut self, catalog: &Catalog, actors: &Actors) {
        let mut found: BTreeMap<(String, bool, bool, bool), Vec<String>> = BTreeMap::new();
        let held = |app: bool, all: bool| (self.held(catalog, app, all), actors.words(app));
        let [lasting, all] = [false, true].map(|all| [held(true, all), held(false, all)]);
        for operation in &catalog.operations {
            let opened =
                |by: &[(ScopeSet, VocabularySet); 2]| by.each_ref().map(|(held, words)| opens(operation, *words, held));
            let ([app, user], while_installing) = match opened(&lasting) {
                [false, false] => (opened(&all), true),
                lasting => (lasting, false),
            };
            for guard in operation.guards.iter().filter(|_| app || user) {
                let key = (catalog.scope_name(*guard).to_owned(), while_installing, app, user);
                found.entry(key).or_default().push(operation.id.to_string());
            }
        }
        let guarded = found.into_iter().map(|((guard, while_installing, app, user), operations)| Guarded {
            guard,
            app,
            user,
            while_installing,
            operations,
        });
        self.guarded = guarded.collect();
    }

    /// Everything that is held with the lines, by whom; `all`: also while the app is installed.
    fn held(&self, catalog: &Catalog, app: bool, all: bool) -> ScopeSet {
        let mut held = ScopeSet::EMPTY;
        let of = |line: &&Line| (if app { line.app } else { line.user }) && (all || !line.while_installing);
        for line in self.lines.iter().filter(of) {
            let scope = catalog.scope(&line.scope).and_then(|id| catalog.scopes.get(id.index()));
            scope.into_iter().for_each(|scope| held.union_with(&scope.down));
        }
        held
    }
}

/// Whether one line of an operation is held whole.
fn opens(operation: &Operation, words: VocabularySet, held: &ScopeSet) -> bool {
    let Needs::Lines(vocabularies) = &operation.needs else { return false };
    vocabularies
        .iter()
        .filter(|one| words.contains(one.vocabulary))
        .any(|one| one.lines.iter().any(|line| line.scopes.iter().all(|scope| held.contains(*scope))))
}

/// The operations in whose lines a scope stands, or some of whose requests need it besides.
fn operations(catalog: &Catalog, actors: &Actors, scope: ScopeId, (app, user): (bool, bool)) -> Vec<String> {
    let words = VocabularySet(if app { actors.app.0 } else { 0 } | if user { actors.user.0 } else { 0 });
    let needs = |operation: &&Operation| {
        let Needs::Lines(vocabularies) = &operation.needs else { return false };
        if operation.extra_scopes.contains(scope) {
            return true;
        }
        let mut own = vocabularies.iter().filter(|one| words.contains(one.vocabulary));
        own.any(|one| one.lines.iter().any(|line| line.scopes.contains(&scope)))
    };
    catalog.operations.iter().filter(needs).map(|operation| operation.id.to_string()).collect()
}
