//! Compiles the rules of one document into a `Part`.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Context, Product, container_kind, is_untold, named_container, unknown_kind, untold};
use crate::authz::catalog::limits::LimitId;
use crate::authz::catalog::{LimitReading, Needs, Operation, OperationId, ScopeClass, ScopeSide};
use crate::authz::policy::area::{Area, Containers, KindArea};
use crate::authz::policy::condition::{Actors, Condition, UserSelector};
use crate::authz::policy::document::{
    ContainerWord, GrantRule, In, Installation, RevocationRule, Scopes, Tenants, Users,
};
use crate::authz::policy::limit::{Allowed, Limits, VALUES_MAX};
use crate::authz::policy::moments::Moments;
use crate::authz::policy::part::{Grant, Part, Revocation, Takes};
use crate::authz::scope::{ScopeId, ScopeSet};
use crate::problem::{At, Problem, Spanned, near};

/// The most scopes of a grant that are listed one by one: 8 bytes each, and its set has 64. The longest ladder of
/// implications has 6 rungs.
const LISTED_MAX: usize = 6;

/// Values that are kept once and referred to by number.
struct Interned<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn new() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }

    fn number(&mut self, value: T) -> u32 {
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            (self.values.len() - 1) as u32
        })
    }

    fn finish(self) -> Box<[T]> {
        self.values.into_boxed_slice()
    }
}

/// The document that a revocation stands in.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// An app's, with this many installations.
    App { tenants: usize },
    /// A guardrail, for these tenants (`None`: all), in shadow mode or not.
    Guardrail { tenants: Option<&'a [Spanned<String>]>, shadow: bool },
}

/// Gathers the compiled rules of one document for one product.
pub struct RuleCompiler<'a> {
    context: Context<'a>,
    product: &'a Product,
    /// One of several products: a rule that this catalog does not know is left to the others.
    lenient: bool,
    grants: Vec<Grant>,
    revocations: Vec<Revocation>,
    conditions: Interned<Condition>,
    areas: Interned<Area>,
    scope_sets: Interned<ScopeSet>,
    operation_sets: Interned<Box<[OperationId]>>,
    sets: Vec<(Arc<str>, u32)>,
    groups: Vec<(Arc<str>, u32)>,
    users_at: Option<At>,
}

impl<'a> RuleCompiler<'a> {
    pub fn new(context: Context<'a>, product: &'a Product) -> Self {
        Self {
            context,
            product,
            lenient: false,
            grants: Vec::new(),
            revocations: Vec::new(),
            conditions: Interned::new(),
            areas: Interned::new(),
            scope_sets: Interned::new(),
            operation_sets: Interned::new(),
            sets: Vec::new(),
            groups: Vec::new(),
            users_at: None,
        }
    }

    /// Compiles what this catalog knows of a rule that several products share.
    pub fn lenient(mut self, lenient: bool) -> Self {
        self.lenient = lenient;
        self
    }

    pub fn users_at(&self) -> Option<At> {
        self.users_at
    }

    /// Compiles a line under `grants`; `own` are the tenants of its document.
    pub fn grant(
        &mut self,
        rule: &GrantRule,
        own: &[&str],
        installations: &[Installation],
        problems: &mut Vec<Problem>,
    ) {
        let before = error_count(problems);
        let operations = rule.operations.as_deref().map(|ids| self.operations(ids, problems));
        let scopes = match (&rule.scopes, &operations) {
            (Some(Scopes::All(_)), _) => self.product.catalog.vendor_scopes,
            (Some(Scopes::Names(names)), _) => self.closure(
                names,
                |product, scope| product.catalog.scopes.get(scope.index()).map(|scope| scope.down),
                problems,
            ),
            (None, Some(operations)) => self.lines_of(operations),
            (None, None) => ScopeSet::EMPTY,
        };
        let tenants = match &rule.tenants {
            Some(Tenants::All(_)) => None,
            Some(Tenants::Named(names)) => Some(names.iter().map(|name| name.value.as_str().into()).collect()),
            None => Some(own.iter().map(|tenant| (*tenant).into()).collect::<Box<[Box<str>]>>()),
        };
        if tenants.as_ref().is_some_and(|tenants| tenants.is_empty()) {
            let message = "this grant holds in no tenant: its document has no installation";
            problems.push(
                Problem::error(self.context.file, rule.at, message).help("write `tenants:` with the tenants it is for"),
            );
        }
        self.check_install_time(rule, installations, problems);
        self.check_tenants_named(rule.at, &rule.within, matches!(rule.tenants, Some(Tenants::All(_))), problems);
        let area = self.area(&rule.within, problems);
        let users = rule.users.as_ref().map(|users| self.users(users));
        let limits = self.limits(&rule.arguments, problems);
        self.lint_grant(rule, &scopes, operations.as_deref(), problems);
        self.lint_limits(rule, (&limits, &scopes), operations.as_deref(), problems);
        if error_count(problems) > before {
            return;
        }
        let condition = Condition {
            actors: Actors::of(rule.actors.iter().map(|actor| actor.value)),
            users,
            pipelines: words(rule.pipelines.as_deref()),
            tenants,
            from_ms: rule.valid.from,
            until_ms: rule.valid.until,
            after_install_ms: rule.valid.after_install_ms,
            unless_install_window: false,
            limits,
        };
        let Some(area) = area else { return };
        let (condition, area) = (self.conditions.number(condition), self.areas.number(area));
        let parts = match operations {
            Some(operations) if rule.scopes.is_none() => self.apart(operations),
            operations => vec![(scopes, operations)],
        };
        for (scopes, operations) in parts {
            let grant = Grant {
                scopes: self.scope_sets.number(scopes),
                operations: operations.map(|operations| self.operation_number(operations)),
                condition,
                area,
                line: rule.at.line,
                shadow: rule.shadow,
                required: rule.required,
            };
            self.grants.push(grant);
        }
    }

    /// Operations that are granted by themselves, with the scopes of their lines. What an operation's arguments ask for is in
    /// none of its lines, and may be in one of another's: so each such operation stands alone.
    fn apart(&self, operations: Vec<OperationId>) -> Vec<(ScopeSet, Option<Vec<OperationId>>)> {
        let catalog = &self.product.catalog;
        let is_asked = |id: &OperationId| {
            catalog.operations.get(usize::from(id.0)).is_some_and(|operation| !operation.extras.is_empty())
        };
        let (asked, plain): (Vec<_>, Vec<_>) = operations.into_iter().partition(is_asked);
        let plain = (!plain.is_empty()).then_some(plain);
        let all = plain.into_iter().chain(asked.into_iter().map(|one| vec![one]));
        all.map(|operations| (self.lines_of(&operations), Some(operations))).collect()
    }

    /// Compiles a line under `revocations`. `from` is the document it stands in.
    pub fn revocation(&mut self, rule: &RevocationRule, from: From<'_>, problems: &mut Vec<Problem>) {
        let before = error_count(problems);
        let (tenants, shadow, unnamed_tenants) = match from {
            From::App { tenants } => (None, false, tenants > 1 && !matches!(rule.tenants, Some(Tenants::Named(_)))),
            From::Guardrail { tenants, shadow } => {
                (tenants, shadow, tenants.is_none() && !matches!(rule.tenants, Some(Tenants::Named(_))))
            }
        };
        let operations = rule.operations.as_deref().map(|ids| self.operations(ids, problems));
        let takes = match &rule.scopes {
            None | Some(Scopes::All(_)) => None,
            Some(Scopes::Names(names)) => Some(self.closure(
                names,
                |product, scope| product.catalog.scopes.get(scope.index()).map(|scope| scope.up),
                problems,
            )),
        };
        self.check_tenants_named(rule.at, &rule.within, unnamed_tenants, problems);
        let area = self.area(&rule.within, problems);
        let users = rule.users.as_ref().map(|users| self.users(users));
        if error_count(problems) > before && !self.lenient {
            return;
        }
        self.lint_revocation(rule, takes.as_ref(), operations.as_deref(), problems);
        // Lenient: what this catalog does not know takes nothing here.
        let Some(area) = area else { return };
        if takes.is_some_and(|set| set.is_empty()) || operations.as_ref().is_some_and(|list| list.is_empty()) {
            return;
        }
        let named = match (&rule.tenants, tenants) {
            (Some(Tenants::Named(own)), Some(outer)) => {
                Some(own.iter().filter(|one| outer.iter().any(|other| other.value == one.value)).cloned().collect())
            }
            (Some(Tenants::Named(own)), None) => Some(own.clone()),
            (Some(Tenants::All(_)) | None, outer) => outer.map(<[_]>::to_vec),
        };
        let condition = Condition {
            actors: rule.actors.as_ref().map_or(Actors::ALL, |actors| Actors::of(actors.iter().map(|one| one.value))),
            users,
            pipelines: words(rule.pipelines.as_deref()),
            tenants: words(named.as_deref()),
            from_ms: rule.valid.from,
            until_ms: rule.valid.until,
            after_install_ms: rule.valid.after_install_ms,
            unless_install_window: rule.unless_install_window,
            limits: Limits::none(),
        };
        let revocation = Revocation {
            takes: takes.map_or(Takes::Everything, |set| Takes::Scopes(self.scope_sets.number(set))),
            operations: operations.map(|operations| self.operation_number(operations)),
            condition: self.conditions.number(condition),
            area: self.areas.number(area),
            line: rule.at.line,
            shadow: rule.shadow || shadow,
        };
        self.revocations.push(revocation);
    }

    /// The finished part.
    pub fn finish(self) -> Part {
        let scope_sets = self.scope_sets.finish();
        let call = self.product.catalog.gate_call;
        let mut by_scope: Vec<(ScopeId, u32)> = Vec::new();
        let mut broad: Vec<u32> = Vec::new();
        for (number, grant) in (0u32..).zip(&self.grants).filter(|(_, grant)| !grant.shadow) {
            let Some(scopes) = scope_sets.get(grant.scopes as usize) else { continue };
            if scopes.len() > LISTED_MAX {
                broad.push(number);
            } else {
                by_scope.extend(scopes.iter().filter(|scope| *scope != call).map(|scope| (scope, number)));
            }
        }
        by_scope.sort_unstable();
        let areas = self.areas.finish();
        let conditions = self.conditions.finish();
        let two_forms = (0u32..).zip(&areas).filter(|(_, area)| area.may_mix_forms()).map(|(number, _)| number);
        Part {
            areas_of_two_forms: two_forms.collect(),
            areas,
            file: Some(Arc::clone(self.context.file)),
            has_shadow: self.grants.iter().any(|rule| rule.shadow) || self.revocations.iter().any(|rule| rule.shadow),
            grants: self.grants.into_boxed_slice(),
            revocations: self.revocations.into_boxed_slice(),
            moments: Moments::of(&conditions),
            conditions,
            scope_sets,
            operation_sets: self.operation_sets.finish(),
            by_scope: by_scope.into_boxed_slice(),
            broad: broad.into_boxed_slice(),
            set_references: self.sets.into_boxed_slice(),
            group_references: self.groups.into_boxed_slice(),
        }
    }

    /// The union of what the named scopes give or take.
    fn closure(
        &self,
        names: &[Spanned<String>],
        of: impl Fn(&Product, ScopeId) -> Option<ScopeSet>,
        problems: &mut Vec<Problem>,
    ) -> ScopeSet {
        let mut set = ScopeSet::EMPTY;
        for name in names {
            match self.product.scope(&name.value) {
                Some(scope) => {
                    set.insert(scope);
                    of(self.product, scope).iter().for_each(|more| set.union_with(more));
                }
                None => {
                    let catalog = &self.product.catalog;
                    let message = format!("{} has no scope `{}`", catalog.product, name.value);
                    let proposed = near(problems.len(), &name.value, catalog.scopes.iter().map(|scope| &*scope.name));
                    let help = proposed.map_or_else(
                        || format!("`scopegate catalog show {}` lists the scopes", catalog.product),
                        |near| format!("did you mean `{near}`?"),
                    );
                    problems.push(Problem::error(self.context.file, name.at, message).help(help));
                }
            }
        }
        set
    }

    fn operations(&self, ids: &[Spanned<String>], problems: &mut Vec<Problem>) -> Vec<OperationId> {
        let mut found = Vec::new();
        for id in ids {
            match self.product.operation(&id.value) {
                Some(operation) => found.push(operation),
                None => {
                    let catalog = &self.product.catalog;
                    let message = format!("{} has no operation `{}`", catalog.product, id.value);
                    let proposed =
                        near(problems.len(), &id.value, catalog.operations.iter().map(|operation| &*operation.id));
                    let help = proposed.map_or_else(
                        || format!("`scopegate catalog show {}` lists the operations", catalog.product),
                        |near| format!("did you mean `{near}`?"),
                    );
                    problems.push(Problem::error(self.context.file, id.at, message).help(help));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn operation_number(&mut self, operations: Vec<OperationId>) -> NonZeroU32 {
        let number = self.operation_sets.number(operations.into_boxed_slice());
        NonZeroU32::MIN.saturating_add(number)
    }

    /// Every scope in any line of the operations, never their guards.
    fn lines_of(&self, operations: &[OperationId]) -> ScopeSet {
        let operations = operations.iter().filter_map(|id| self.product.catalog.operations.get(usize::from(id.0)));
        let lines = operations.flat_map(|operation| match &operation.needs {
            Needs::Lines(vocabularies) => vocabularies.iter().flat_map(|one| one.lines.iter()).collect(),
            Needs::Unknown | Needs::None { .. } => Vec::new(),
        });
        lines.flat_map(|line| line.scopes.iter().copied()).collect()
    }

    fn users(&mut self, users: &Users) -> UserSelector {
        self.users_at.get_or_insert(users.at);
        let mut ids: Vec<Box<str>> = users.ids.iter().map(|id| id.value.as_str().into()).collect();
        ids.sort_unstable();
        UserSelector {
            ids: ids.into_boxed_slice(),
            groups: users.groups.iter().map(|group| reference(&mut self.groups, group)).collect(),
        }
    }

    /// What `where` says. A limit or a value that cannot be read is an error: without it the grant would be wider.
    fn limits(&self, written: &[(Spanned<String>, Vec<Spanned<String>>)], problems: &mut Vec<Problem>) -> Limits {
        let mut limits: BTreeMap<LimitId, Vec<Allowed>> = BTreeMap::new();
        for (name, values) in written {
            let Some((id, reading)) = self.limit(name, problems) else { continue };
            if values.len() > VALUES_MAX {
                let message = format!("{} values of `{}`: at most {VALUES_MAX}", values.len(), name.value);
                problems.push(Problem::error(self.context.file, name.at, message));
            }
            for value in values {
                match Allowed::parse(&value.value, reading) {
                    Ok(allowed) => limits.entry(id).or_default().push(allowed),
                    Err(why) => {
                        let message = format!("`{}` is no value of `{}`", value.value, name.value);
                        problems.push(Problem::error(self.context.file, value.at, message).help(why));
                    }
                }
            }
        }
        Limits::new(limits)
    }

    fn limit(&self, name: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<(LimitId, LimitReading)> {
        let catalog = &self.product.catalog;
        let found = catalog.limit(&name.value);
        let found = found.and_then(|id| Some((id, catalog.limits.get(usize::from(id.0))?.reading)));
        if found.is_none() {
            let message = format!("{} declares no limit `{}`", catalog.product, name.value);
            let proposed = near(problems.len(), &name.value, catalog.limits.iter().map(|limit| &*limit.name));
            let help = proposed.map_or_else(
                || "delete `where`, or declare the limit under `limits` of the catalog's overlay".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            problems.push(Problem::error(self.context.file, name.at, message).help(help));
        }
        found
    }

    /// `None` where the catalog does not know a kind or an id: a problem says so.
    fn area(&mut self, within: &In, problems: &mut Vec<Problem>) -> Option<Area> {
        let In::Kinds(kinds) = within else { return Some(Area::All) };
        let catalog = Arc::clone(&self.product.catalog);
        let mut areas = Vec::new();
        for (name, containers) in kinds {
            let Some((id, kind)) = container_kind(&catalog, &name.value) else {
                problems.push(unknown_kind(self.context.file, name, catalog.containers.iter().map(|kind| &*kind.name)));
                continue;
            };
            let (mut named, mut sets) = (Vec::new(), Vec::new());
            for written in containers {
                match &written.value {
                    ContainerWord::Set(set) => {
                        sets.push(reference(&mut self.sets, &Spanned::new(set.clone(), written.at)));
                    }
                    ContainerWord::Named(text) => match named_container(kind, text) {
                        Some(container) if is_untold(&catalog, kind, &container) => {
                            problems.push(untold(self.context.file, written.at, &kind.name, text));
                        }
                        Some(container) => named.push(container),
                        None => {
                            let message = format!("`{text}` is neither an id nor a key of a {}", kind.name);
                            problems.push(Problem::error(self.context.file, written.at, message));
                        }
                    },
                }
            }
            areas.push(KindArea { kind: id, named: Containers::new(named), sets: sets.into_boxed_slice() });
        }
        areas.sort_unstable_by_key(|area| area.kind);
        (!areas.is_empty()).then(|| Area::Kinds(areas.into_boxed_slice()))
    }

    /// PROJ in one tenant is not PROJ in another: a list of containers needs the tenants named. A set speaks for its
    /// own tenant, whatever is written.
    fn check_tenants_named(&self, at: At, within: &In, all_tenants: bool, problems: &mut Vec<Problem>) {
        let In::Kinds(kinds) = within else { return };
        let named = |word: &Spanned<ContainerWord>| matches!(word.value, ContainerWord::Named(_));
        if all_tenants && kinds.iter().any(|(_, words)| words.iter().any(named)) {
            let message = "containers are named for all tenants: the same name is another container in each";
            let help = "write `tenants:` with the tenants they lie in, or put them into a `set` of a tenant";
            problems.push(Problem::error(self.context.file, at, message).help(help));
        }
    }

    fn check_install_time(&self, rule: &GrantRule, installations: &[Installation], problems: &mut Vec<Problem>) {
        if rule.valid.after_install_ms.is_none() {
            return;
        }
        for installation in installations.iter().filter(|one| one.installed_at.is_none()) {
            let message = format!("`after_install` needs `installed_at`, which {} lacks", installation.tenant.value);
            let problem = Problem::error(self.context.file, rule.valid.at, message);
            problems.push(problem.help("write when the app was installed there (RFC 3339)"));
        }
    }

    fn lint_grant(
        &self,
        rule: &GrantRule,
        scopes: &ScopeSet,
        operations: Option<&[OperationId]>,
        problems: &mut Vec<Problem>,
    ) {
        let catalog = &self.product.catalog;
        if rule.valid.until.is_some_and(|until| until <= self.context.now_ms) {
            let problem =
                Problem::warning(self.context.file, rule.at, "this grant has expired: it gives nothing any more");
            problems.push(problem.help("take it out, or write a later `until`"));
        }
        let of = |id: &OperationId| catalog.operations.get(usize::from(id.0));
        match operations {
            Some(operations) => {
                let usable = operations.iter().filter_map(of).any(|operation| needs_any(operation, scopes));
                let mints = scopes.contains(catalog.gate_mint);
                if !usable && !mints && !scopes.is_empty() {
                    let problem = "no operation of this grant needs any of its scopes: it gives nothing";
                    problems.push(Problem::warning(self.context.file, rule.at, problem));
                }
                if rule.scopes.is_none() && scopes.is_empty() {
                    let message =
                        "the catalog states no scope for these operations: they are refused whatever is granted";
                    problems.push(Problem::warning(self.context.file, rule.at, message));
                }
            }
            None => self.lint_scopes(rule.scopes.as_ref(), "no operation can use it", problems),
        }
    }

    /// A grant with `where` gives nothing in an operation that does not tell what it limits: whoever wrote other scopes
    /// beside it meant them there.
    fn lint_limits(
        &self,
        rule: &GrantRule,
        (limits, scopes): (&Limits, &ScopeSet),
        operations: Option<&[OperationId]>,
        problems: &mut Vec<Problem>,
    ) {
        let catalog = &self.product.catalog;
        let Some((limit, _)) = limits.iter().next() else { return };
        let name = catalog.limit_name(limit);
        let meant = |(id, operation): &(OperationId, &Operation)| {
            operations.is_none_or(|ids| ids.binary_search(id).is_ok()) && needs_any(operation, scopes)
        };
        let all = (0..=u16::MAX).map(OperationId).zip(&catalog.operations).filter(meant);
        let (told, untold): (Vec<_>, Vec<_>) = all.map(|(_, operation)| operation).partition(|one| one.tells(limit));
        if told.is_empty() {
            let message = format!("no operation of this grant tells `{name}`: it gives nothing");
            problems.push(Problem::warning(self.context.file, rule.at, message));
            return;
        }
        let Some(Scopes::Names(names)) = &rule.scopes else { return };
        for written in names {
            let Some(scope) = self.product.scope(&written.value) else { continue };
            let is_guard = catalog.scopes.get(scope.index()).is_some_and(|scope| scope.class == ScopeClass::Guard);
            let below = catalog.scopes.get(scope.index()).map(|scope| scope.down).unwrap_or_default();
            let count = untold.iter().filter(|operation| needs_any(operation, &below)).count();
            if !is_guard && count > 0 {
                let message = format!(
                    "`{}` is given only where a request tells `{name}`, and not in {count} operations that do not",
                    written.value
                );
                let help = "grant it in a line of its own, without `where`";
                problems.push(Problem::warning(self.context.file, written.at, message).help(help));
            }
        }
    }

    /// Warns of each scope that rules no operation, and says what it does rule.
    fn lint_scopes(&self, scopes: Option<&Scopes>, verdict: &str, problems: &mut Vec<Problem>) {
        let Some(Scopes::Names(names)) = scopes else { return };
        for name in names {
            let Some(scope) = self.product.scope(&name.value) else { continue };
            let Some(known) = self.product.catalog.scopes.get(scope.index()) else { continue };
            if known.up.intersects(&self.product.used) || known.down.intersects(&self.product.used) {
                continue;
            }
            let side = match known.class {
                ScopeClass::Side(ScopeSide::Arguments) => {
                    "it rules arguments of a call, which this gate does not part yet"
                }
                ScopeClass::Side(ScopeSide::Events) => "it rules events, which the product sends past this gate",
                ScopeClass::Side(ScopeSide::SignIn) => "it rules signing in, which passes no gate",
                ScopeClass::Side(ScopeSide::Umbrella) => "it stood for other scopes: name those",
                ScopeClass::Vendor | ScopeClass::Guard | ScopeClass::Call => "no operation of this catalog needs it",
            };
            let message = format!("`{}`: {verdict}; {side}", name.value);
            problems.push(Problem::warning(self.context.file, name.at, message));
        }
    }

    fn lint_revocation(
        &self,
        rule: &RevocationRule,
        takes: Option<&ScopeSet>,
        operations: Option<&[OperationId]>,
        problems: &mut Vec<Problem>,
    ) {
        if rule.valid.until.is_some_and(|until| until <= self.context.now_ms) {
            let problem =
                Problem::warning(self.context.file, rule.at, "this revocation has ended: it takes nothing any more");
            problems.push(problem.help("take it out, or write a later `until`"));
        }
        match (takes, operations) {
            (Some(takes), Some(operations)) => {
                let of = |id: &OperationId| self.product.catalog.operations.get(usize::from(id.0));
                let taken = operations.iter().filter_map(of).any(|operation| needs_any(operation, takes));
                if !taken && !takes.contains(self.product.catalog.gate_mint) {
                    let message = "no operation of this revocation needs any of its scopes: it takes nothing";
                    problems.push(Problem::warning(self.context.file, rule.at, message));
                }
            }
            (Some(takes), None) if !takes.intersects(&self.product.used) => {
                self.lint_scopes(rule.scopes.as_ref(), "this revocation takes no operation", problems);
            }
            (Some(_) | None, _) => {}
        }
    }
}

/// Whether an operation needs any of these: in a line, as a guard, or where its arguments ask for it.
fn needs_any(operation: &Operation, scopes: &ScopeSet) -> bool {
    operation.any_scopes().intersects(scopes)
}

/// The number of a reference by name, each name once.
fn reference(references: &mut Vec<(Arc<str>, u32)>, name: &Spanned<String>) -> u16 {
    let known = references.iter().position(|(known, _)| **known == *name.value);
    let index = known.unwrap_or_else(|| {
        references.push((name.value.as_str().into(), name.at.line));
        references.len() - 1
    });
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn words(words: Option<&[Spanned<String>]>) -> Option<Box<[Box<str>]>> {
    words.map(|words| words.iter().map(|word| word.value.as_str().into()).collect())
}

fn error_count(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| problem.is_error()).count()
}
