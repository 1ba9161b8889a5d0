//! `scopegate catalog diff OLD NEW`: what changes from one release of an API to the next, before a gate takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{CatalogFormat, asked, view};
use crate::authz::catalog::evaluators::Evaluator;
use crate::authz::catalog::lookups::Lookup;
use crate::authz::catalog::pattern::Pattern;
use crate::authz::catalog::{
    Catalog, ContainerKind, CredentialKind, Line, Needs, Operation, Scope, Touches, VocabularyId,
};
use crate::clock::unix_ms;
use crate::problem::escaped;

mod verdicts;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A built-in product (`jira`, `jira@2025-12`) or the path of a catalog file, as it is
    pub old: String,
    /// The same, as it would be
    pub new: String,
    /// Policies (a folder or a file) whose apps are asked about: which operations each may do, somewhere, with one
    /// catalog and not with the other
    #[arg(long)]
    pub policies: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = CatalogFormat::Text)]
    pub format: CatalogFormat,
}

/// What differs, in sentences.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compared {
    widens: Vec<String>,
    narrows: Vec<String>,
    /// Neither.
    other: Vec<String>,
}

/// Compares two catalogs. `Ok(false)`: something widens, or a side cannot be read.
pub fn diff(args: &DiffArgs, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let mut sides = Vec::new();
    for name in [&args.old, &args.new] {
        match super::find(name) {
            Ok(catalog) => sides.push(catalog),
            Err(problems) => super::say(&problems, errors)?,
        }
    }
    let [old, new] = sides.as_slice() else { return Ok(false) };
    let mut compared = compare(old, new);
    if !args.policies.is_empty() {
        match verdicts::verdicts((&args.old, old), (&args.new, new), &args.policies, unix_ms()) {
            Ok(verdicts) => compared.verdicts(verdicts),
            Err(problems) => {
                super::say(&problems, errors)?;
                return Ok(false);
            }
        }
    }
    match args.format {
        CatalogFormat::Json => writeln!(out, "{}", as_json(old, new, &compared))?,
        CatalogFormat::Text => text(old, new, &compared, out)?,
    }
    Ok(compared.widens.is_empty())
}

fn as_json(old: &Catalog, new: &Catalog, compared: &Compared) -> Value {
    let side = |catalog: &Catalog| {
        let Catalog { product, release, digest, .. } = catalog;
        json!({ "product": &**product, "release": release, "digest": digest })
    };
    json!({
        "old": side(old),
        "new": side(new),
        "widens": !compared.widens.is_empty(),
        "widening": compared.widens,
        "narrowing": compared.narrows,
        "other": compared.other,
    })
}

fn text(old: &Catalog, new: &Catalog, compared: &Compared, out: &mut dyn Write) -> io::Result<()> {
    for (mark, lines) in [('+', &compared.widens), ('-', &compared.narrows), ('~', &compared.other)] {
        lines.iter().try_for_each(|line| writeln!(out, "{mark} {}", escaped(line)))?;
    }
    let name = |catalog: &Catalog| format!("{}@{}", catalog.product, catalog.release);
    let (widens, narrows, other) = (compared.widens.len(), compared.narrows.len(), compared.other.len());
    let counts = match (widens, narrows, other) {
        (0, 0, 0) => "nothing changes".to_owned(),
        (0, ..) => format!("nothing widens; {narrows} narrower, {other} other"),
        _ => format!("{widens} wider, {narrows} narrower, {other} other"),
    };
    writeln!(out, "{} -> {}: {counts}", name(old), name(new))
}

fn compare(old: &Catalog, new: &Catalog) -> Compared {
    let mut compared = Compared::default();
    compared.facts(old, new);
    compared.scopes(old, new);
    let (before, after) = (by_id(old), by_id(new));
    for id in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        match (before.get(id), after.get(id)) {
            (Some(was), Some(is)) => compared.operation(was, is),
            (Some(was), None) => {
                compared.narrows.push(format!("operation {id} ({}) is gone: refused as unknown", was.request()));
            }
            (None, Some(is)) => {
                let said = format!("operation {id} ({}) is new: {}", is.request(), is.needs());
                match is.operation.needs {
                    Needs::Unknown => compared.other.push(said),
                    Needs::None { .. } | Needs::Lines(_) => compared.widens.push(said),
                }
            }
            (None, None) => {}
        }
    }
    compared
}

fn by_id(catalog: &Catalog) -> BTreeMap<&str, Side<'_>> {
    catalog.operations.iter().map(|operation| (&*operation.id, Side { catalog, operation })).collect()
}

/// An operation with the catalog that its numbers are of.
struct Side<'c> {
    catalog: &'c Catalog,
    operation: &'c Operation,
}

/// The scopes of a line, and the variants that it counts in.
type Words<'c> = (BTreeSet<&'c str>, BTreeSet<&'c str>);

impl Side<'_> {
    fn request(&self) -> String {
        format!("{} {}", self.operation.method, self.operation.template)
    }

    fn needs(&self) -> String {
        format!("needs {}", view::needs_text(self.catalog, self.operation))
    }

    fn guards(&self) -> BTreeSet<&str> {
        self.operation.guards.iter().map(|guard| self.catalog.scope_name(*guard)).collect()
    }

    /// By vocabulary.
    fn lines(&self) -> BTreeMap<&str, Vec<Words<'_>>> {
        let Needs::Lines(all) = &self.operation.needs else { return BTreeMap::new() };
        all.iter()
            .map(|of| (view::vocabulary(self.catalog, of), of.lines.iter().map(|line| self.words(line)).collect()))
            .collect()
    }

    fn words(&self, line: &Line) -> Words<'_> {
        let scopes = line.scopes.iter().map(|scope| self.catalog.scope_name(*scope)).collect();
        (scopes, view::variants(self.catalog, line).into_iter().collect())
    }

    /// Which kinds of credential some line is open to.
    fn open_to(&self) -> BTreeSet<&str> {
        let open = |kind: &&CredentialKind| match &self.operation.needs {
            Needs::Unknown => false,
            Needs::None { .. } => true,
            Needs::Lines(all) => all.iter().any(|lines| kind.vocabularies.contains(lines.vocabulary)),
        };
        self.catalog.kinds.iter().filter(open).map(|kind| &*kind.name).collect()
    }

    /// What it touches, without the reason.
    fn touches(&self) -> Value {
        match &self.operation.touches {
            Touches::Nothing { .. } => json!("nothing"),
            Touches::Tenant { .. } => json!("tenant"),
            Touches::Containers(_) => view::touches_json(self.catalog, self.operation),
        }
    }

    /// What its arguments ask for on top of a line.
    fn asked(&self) -> Vec<String> {
        asked::texts(self.catalog, self.operation)
    }

    /// What it starts, and what it asks about.
    fn jobs(&self) -> [Option<String>; 2] {
        view::jobs_text(self.catalog, self.operation)
    }

    /// Whatever else a verdict hangs on.
    fn rest(&self) -> String {
        let Operation { tenant_arguments, variant_sources, websocket, reads_json, reads_multipart, .. } =
            self.operation;
        let limits = asked::limits_json(self.catalog, self.operation);
        format!("{tenant_arguments:?} {variant_sources:?} {websocket} {reads_json} {reads_multipart} {limits}")
    }
}

fn words(set: &BTreeSet<&str>) -> String {
    if set.is_empty() { "nobody".to_owned() } else { set.iter().copied().collect::<Vec<_>>().join(", ") }
}

impl Compared {
    fn verdicts(&mut self, verdicts: Vec<verdicts::Verdict>) {
        for verdicts::Verdict { who, gained, lost } in verdicts {
            let said = |operations: &[String]| operations.join(", ");
            if !gained.is_empty() {
                self.widens.push(format!("{who}: may do {}", said(&gained)));
            }
            if !lost.is_empty() {
                self.narrows.push(format!("{who}: may not do {} any more", said(&lost)));
            }
        }
    }

    /// What holds for all operations.
    fn facts(&mut self, old: &Catalog, new: &Catalog) {
        if old.product != new.product {
            self.widens.push(format!("another product: {} and {}", old.product, new.product));
        }
        if old.dialect != new.dialect {
            self.other.push(format!("refusals are in the shape of {:?}, not {:?}", new.dialect, old.dialect));
        }
        self.set("base", &old.matcher.written_bases(), &new.matcher.written_bases());
        self.set("kind of credential", &kinds(old), &kinds(new));
        self.same("containers", &containers(old), &containers(new));
        self.same("places of tokens", &format!("{:?}", old.tokens), &format!("{:?}", new.tokens));
        self.same("tenant arguments", &format!("{:?}", old.tenant_arguments), &format!("{:?}", new.tenant_arguments));
        self.set("look-up", &lookups(old), &lookups(new));
        // The other way round: an evaluator less permits more.
        self.set_that_takes("evaluator", &evaluators(old), &evaluators(new));
        self.same("variants", &format!("{:?}", old.variants), &format!("{:?}", new.variants));
    }

    fn set(&mut self, what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        self.widens.extend(new.difference(old).map(|one| format!("{what} {one} is new")));
        self.narrows.extend(old.difference(new).map(|one| format!("{what} {one} is gone")));
    }

    fn set_that_takes(&mut self, what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        self.narrows.extend(new.difference(old).map(|one| format!("{what} {one} is new")));
        self.widens.extend(old.difference(new).map(|one| format!("{what} {one} is gone")));
    }

    /// Nobody can tell which of two ways to read a request permits more.
    fn same(&mut self, what: &str, old: &str, new: &str) {
        if old != new {
            self.widens.push(format!("{what} differ: {old} is now {new}"));
        }
    }

    fn scopes(&mut self, old: &Catalog, new: &Catalog) {
        let by_name = |catalog: &Catalog| -> BTreeMap<String, String> {
            let of = |scope: &Scope| {
                let below: Vec<&str> = scope.down.iter().map(|below| catalog.scope_name(below)).collect();
                let below: BTreeSet<&str> = below.into_iter().filter(|name| **name != *scope.name).collect();
                let said = if below.is_empty() { "nothing".to_owned() } else { words(&below) };
                (scope.name.to_string(), format!("{:?}, implies {said}", scope.class))
            };
            catalog.scopes.iter().map(of).collect()
        };
        let (before, after) = (by_name(old), by_name(new));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            match (before.get(name), after.get(name)) {
                (Some(was), Some(is)) if was != is => {
                    self.widens.push(format!("scope {name}: was {was}; is {is}"));
                }
                (Some(_), None) => {
                    self.narrows.push(format!("scope {name} is gone: a policy that names it is in error"))
                }
                (None, Some(_)) => self.other.push(format!("scope {name} is new")),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    fn operation(&mut self, old: &Side<'_>, new: &Side<'_>) {
        let id = &new.operation.id;
        if old.request() != new.request() {
            let said = format!("operation {id}: {} is now {}", old.request(), new.request());
            self.widens.push(said);
        }
        self.needs(id, old, new);
        let (before, after) = (old.guards(), new.guards());
        if !before.is_subset(&after) {
            self.widens.push(format!("operation {id}: guards were {}, are {}", words(&before), words(&after)));
        } else if before != after {
            self.narrows.push(format!("operation {id}: guards were {}, are {}", words(&before), words(&after)));
        }
        let (before, after) = (old.asked(), new.asked());
        if before != after {
            let said = |texts: &[String]| if texts.is_empty() { "nothing".to_owned() } else { texts.join("; ") };
            let said = format!("operation {id}: arguments asked for {}, ask for {}", said(&before), said(&after));
            // What the one place asks for and the other does not nobody can compare but with nothing.
            if before.is_empty() { self.narrows.push(said) } else { self.widens.push(said) }
        }
        let (before, after) = (old.touches(), new.touches());
        if before != after {
            let said = format!("operation {id}: touched {before}, touches {after}");
            // The whole tenant needs more than any container in it does.
            if after == json!("tenant") { self.narrows.push(said) } else { self.widens.push(said) }
        }
        self.jobs(id, old, new);
        if old.rest() != new.rest() {
            self.widens.push(format!("operation {id}: its arguments are read differently"));
        }
    }

    /// What is remembered makes less of the whole tenant; beside what a request names, it adds to that.
    fn jobs(&mut self, id: &str, old: &Side<'_>, new: &Side<'_>) {
        let ([started, asked], [starts, asks]) = (old.jobs(), new.jobs());
        let said = |job: &Option<String>| job.clone().unwrap_or_else(|| "nothing".to_owned());
        if started != starts {
            let text = format!("operation {id}: started {}, starts {}", said(&started), said(&starts));
            if starts.is_none() { self.narrows.push(text) } else { self.widens.push(text) }
        }
        if asked != asks {
            let text = format!("operation {id}: asked about {}, asks about {}", said(&asked), said(&asks));
            let names = |side: &Side<'_>| matches!(side.operation.touches, Touches::Containers(_));
            let narrows = match (&asked, &asks) {
                (Some(_), None) => !names(new),
                (None, Some(_)) => names(old) && names(new),
                (Some(_), Some(_)) | (None, None) => false,
            };
            if narrows { self.narrows.push(text) } else { self.widens.push(text) }
        }
    }

    fn needs(&mut self, id: &str, old: &Side<'_>, new: &Side<'_>) {
        let unchanged = match (&old.operation.needs, &new.operation.needs) {
            (Needs::Unknown, Needs::Unknown) | (Needs::None { .. }, Needs::None { .. }) => true,
            (Needs::Lines(_), Needs::Lines(_)) => old.lines() == new.lines(),
            _ => false,
        };
        if unchanged {
            return;
        }
        let mut said = format!("operation {id}: was {}; is {}", old.needs(), new.needs());
        let (before, after) = (old.open_to(), new.open_to());
        if before != after {
            said.push_str(&format!("; was open to {}, is to {}", words(&before), words(&after)));
        }
        if covered(old, new) { self.narrows.push(said) } else { self.widens.push(said) }
    }
}

/// Whether whatever passes by the new lines passes by the old: each new line asks for all that an old one of its
/// vocabulary asks for. No vocabulary may be gone: a revocation of its scopes took the operation from everybody.
fn covered(old: &Side<'_>, new: &Side<'_>) -> bool {
    match (&old.operation.needs, &new.operation.needs) {
        (_, Needs::Unknown) => true,
        (Needs::Lines(_), Needs::Lines(_)) => {
            let (before, after) = (old.lines(), new.lines());
            let asks = |line: &Words<'_>, was: &Words<'_>| was.0.is_subset(&line.0) && line.1.is_subset(&was.1);
            before.keys().eq(after.keys())
                && after.iter().all(|(vocabulary, lines)| {
                    let old_lines = before.get(vocabulary).map_or(&[][..], Vec::as_slice);
                    lines.iter().all(|line| old_lines.iter().any(|was| asks(line, was)))
                })
        }
        (Needs::Unknown | Needs::None { .. } | Needs::Lines(_), Needs::None { .. } | Needs::Lines(_)) => false,
    }
}

fn kinds(catalog: &Catalog) -> BTreeSet<String> {
    let one = |kind: &CredentialKind| {
        let usable = (0_u8..).zip(&catalog.vocabularies);
        let usable = usable.filter(|(id, _)| kind.vocabularies.contains(VocabularyId(*id)));
        let usable: Vec<&str> = usable.map(|(_, name)| &**name).collect();
        format!("{} ({}; {:?})", kind.name, usable.join(", "), kind.actor)
    };
    catalog.kinds.iter().map(one).collect()
}

/// By which arguments any operation evaluates something.
fn evaluators(catalog: &Catalog) -> BTreeSet<String> {
    let one = |evaluator: &Evaluator| {
        let Evaluator { query, below, plain, .. } = evaluator;
        let below = below.as_ref().map_or(String::new(), |name| format!(" below {name}"));
        format!("{query} ({}{below} evaluate nothing)", plain.join(", "))
    };
    catalog.evaluators.iter().map(one).collect()
}

/// What can be asked, and how the answers are read. One that is read otherwise is another one.
fn lookups(catalog: &Catalog) -> BTreeSet<String> {
    let one = |lookup: &Lookup| {
        let Lookup { name, kind, written, target, tells, ok, none_is_tenant, variants, .. } = lookup;
        let kind = catalog.containers.get(usize::from(kind.0)).map_or("?", |kind| &kind.name);
        let target = target.of("{tenant}", "{id}").replace("%7B", "{").replace("%7D", "}");
        format!(
            "{name} (GET {target} tells a {kind} of {}: {tells:?} {ok:?} {none_is_tenant} {variants:?})",
            written.as_str()
        )
    };
    catalog.lookups.iter().map(one).collect()
}

fn containers(catalog: &Catalog) -> String {
    let one = |kind: &ContainerKind| {
        let pattern =
            |pattern: &Option<Pattern>| pattern.as_ref().map_or("none", |pattern| pattern.as_str()).to_owned();
        let within = kind.within.and_then(|within| catalog.containers.get(usize::from(within.0)));
        let within = within.map_or("the tenant", |within| &within.name);
        let asked = [kind.lookup, kind.lookup_id].into_iter().flatten();
        let asked = asked.filter_map(|id| catalog.lookups.get(usize::from(id.0)));
        let lookup: String = asked.map(|lookup| format!(", looked up as {}", lookup.name)).collect();
        format!(
            "{} (id {}, key {}, {:?}, within {within}{lookup})",
            kind.name,
            pattern(&kind.id),
            pattern(&kind.key),
            kind.fold
        )
    };
    catalog.containers.iter().map(one).collect::<Vec<_>>().join("; ")
}
