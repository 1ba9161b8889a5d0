//! How the container that a request touches is found, operation by operation: what a catalog knows, and what it says
//! that it cannot know.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::links::folded;
use crate::authz::catalog::{Absent, Catalog, Needs, Operation, Place, PlaceAt, Reading, Touches};

/// How the container of an operation is found. Each operation is counted once: under the first of these it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Path,
    Query,
    Header,
    Body,
    Multipart,
    Argument,
    QueryLanguage,
    LookUp,
    Job,
    Tenant,
    Nothing,
    NeedsUnknown,
}

impl Way {
    const ALL: [Self; 12] = [
        Self::Path,
        Self::Query,
        Self::Header,
        Self::Body,
        Self::Multipart,
        Self::Argument,
        Self::QueryLanguage,
        Self::LookUp,
        Self::Job,
        Self::Tenant,
        Self::Nothing,
        Self::NeedsUnknown,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
            Self::Multipart => "multipart",
            Self::Argument => "argument",
            Self::QueryLanguage => "query_language",
            Self::LookUp => "look_up",
            Self::Job => "job",
            Self::Tenant => "tenant",
            Self::Nothing => "nothing",
            Self::NeedsUnknown => "needs_unknown",
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Path => "named in the path",
            Self::Query => "named in the query",
            Self::Header => "named in a header",
            Self::Body => "named in the body",
            Self::Multipart => "named in a field of a multipart body",
            Self::Argument => "named in an argument: query, form or JSON",
            Self::QueryLanguage => "named in a query (JQL, CQL) that cannot reach outside of it",
            Self::LookUp => "found by a look-up",
            Self::Job => "remembered of the job that this app started",
            Self::Tenant => "tenant: all containers, or which one cannot be told",
            Self::Nothing => "nothing: no container holds what it touches",
            Self::NeedsUnknown => "needs unknown: refused, whatever is granted",
        }
    }

    /// Whether the container itself is found.
    fn finds(self) -> bool {
        match self {
            Self::Path
            | Self::Query
            | Self::Header
            | Self::Body
            | Self::Multipart
            | Self::Argument
            | Self::QueryLanguage
            | Self::LookUp
            | Self::Job => true,
            Self::Tenant | Self::Nothing | Self::NeedsUnknown => false,
        }
    }

    fn of(operation: &Operation) -> Self {
        match operation.needs {
            Needs::Unknown => Self::NeedsUnknown,
            Needs::None { .. } | Needs::Lines(_) => Self::touched(operation),
        }
    }

    /// The same, whatever it needs.
    fn touched(operation: &Operation) -> Self {
        match &operation.touches {
            Touches::Nothing { .. } => Self::Nothing,
            Touches::Tenant { .. } if operation.fetches.is_some() => Self::Job,
            Touches::Tenant { .. } => Self::Tenant,
            // One whose places all make it the tenant names no container.
            Touches::Containers(places) => naming(places).map(Self::at).min().unwrap_or(Self::Tenant),
        }
    }

    /// Every reading and every place is written out: a new way to find a container is counted here.
    fn at(place: &Place) -> Self {
        if place.lookup.is_some() {
            return Self::LookUp;
        }
        match place.reading {
            Reading::Jql | Reading::Cql => Self::QueryLanguage,
            Reading::Container
            | Reading::Key
            | Reading::FullName
            | Reading::Revisions
            | Reading::IssueKey
            | Reading::IssueMention
            | Reading::Conversation
            | Reading::MoveTarget => match &place.at {
                PlaceAt::Path(_) | PlaceAt::Rest => Self::Path,
                PlaceAt::Query(_) => Self::Query,
                PlaceAt::Header(_) => Self::Header,
                PlaceAt::Body(_) | PlaceAt::Keys(_) | PlaceAt::InItems { .. } => Self::Body,
                PlaceAt::Multipart(_) => Self::Multipart,
                PlaceAt::Argument(_) => Self::Argument,
            },
        }
    }
}

/// The places that name a container.
fn naming(places: &[Place]) -> impl Iterator<Item = &Place> {
    places.iter().filter(|place| !place.present_is_tenant)
}

/// Whether a request may leave out every place, and then reaches the tenant.
fn may_name_none(operation: &Operation) -> bool {
    match &operation.touches {
        // One that is not remembered is as good as none.
        _ if operation.fetches.is_some() => true,
        Touches::Containers(places) => naming(places).all(|place| place.absent != Absent::Deny),
        Touches::Nothing { .. } | Touches::Tenant { .. } => false,
    }
}

struct Row<'c> {
    way: Way,
    operations: Vec<&'c Operation>,
}

/// A share of operations that ought to have their container found.
struct Share<'c> {
    operations: Vec<&'c Operation>,
    found: usize,
}

struct Coverage<'c> {
    rows: Vec<Row<'c>>,
    subject: Share<'c>,
    /// By the kinds that stand in paths.
    below: Vec<(&'c str, Share<'c>)>,
}

impl<'c> Share<'c> {
    fn of(operations: Vec<&'c Operation>, is_found: impl Fn(&Operation) -> bool) -> Self {
        let found = operations.iter().filter(|operation| is_found(operation)).count();
        Self { operations, found }
    }

    /// Rounded down; of none, all.
    fn percent(&self) -> usize {
        (self.found * 100).checked_div(self.operations.len()).unwrap_or(100)
    }

    fn json(&self) -> Value {
        json!({ "operations": ids(&self.operations), "found": self.found, "percent": self.percent() })
    }

    fn said(&self) -> String {
        format!("{} operations, the container of {} ({} %)", self.operations.len(), self.found, self.percent())
    }
}

impl<'c> Coverage<'c> {
    fn of(catalog: &'c Catalog) -> Self {
        let row = |way| Row { way, operations: selected(catalog, |operation| Way::of(operation) == way) };
        let subject = selected(catalog, |operation| operation.subject);
        Self {
            rows: Way::ALL.into_iter().map(row).collect(),
            subject: Share::of(subject, |operation| Way::touched(operation).finds()),
            below: below(catalog),
        }
    }

    fn operations(&self, way: Way) -> &[&'c Operation] {
        self.rows.iter().find(|row| row.way == way).map_or(&[], |row| &row.operations)
    }
}

fn selected(catalog: &Catalog, wanted: impl Fn(&Operation) -> bool) -> Vec<&Operation> {
    catalog.operations.iter().filter(|operation| wanted(operation)).collect()
}

/// For each kind that stands in a path: the operations whose path begins as one that names such a container, and those
/// of them whose own container of that kind is found.
fn below(catalog: &Catalog) -> Vec<(&str, Share<'_>)> {
    let mut all = Vec::new();
    for (number, kind) in catalog.containers.iter().enumerate() {
        let starts: BTreeSet<Vec<&str>> =
            catalog.operations.iter().filter_map(|operation| start(operation, number)).collect();
        let is_below = |operation: &Operation| {
            let path = shape(operation);
            starts.iter().any(|start| path.starts_with(start))
        };
        if !starts.is_empty() {
            let operations = selected(catalog, is_below);
            // What lies within such a container is found too.
            let inner: Vec<usize> =
                (0..catalog.containers.len()).filter(|inner| is_within(catalog, *inner, number)).collect();
            let is_found = |operation: &Operation| inner.iter().any(|kind| start(operation, *kind).is_some());
            all.push((&*kind.name, Share::of(operations, is_found)));
        }
    }
    all
}

/// Whether a kind is this other one, or lies within it.
fn is_within(catalog: &Catalog, kind: usize, outer: usize) -> bool {
    let within = |kind: &usize| Some(usize::from(catalog.containers.get(*kind)?.within?.0));
    // As many steps as there are kinds: a circle ends too.
    std::iter::successors(Some(kind), within).take(catalog.containers.len()).any(|kind| kind == outer)
}

/// The segments of an operation's path through the one that names a container of this kind.
fn start(operation: &Operation, kind: usize) -> Option<Vec<&str>> {
    let Touches::Containers(places) = &operation.touches else { return None };
    let mut of_kind = naming(places).filter(|place| usize::from(place.kind.0) == kind);
    of_kind.find_map(|place| match place.at {
        PlaceAt::Path(index) => Some(up_to(operation, index)),
        PlaceAt::Rest
        | PlaceAt::Query(_)
        | PlaceAt::Header(_)
        | PlaceAt::Body(_)
        | PlaceAt::Keys(_)
        | PlaceAt::InItems { .. }
        | PlaceAt::Multipart(_)
        | PlaceAt::Argument(_) => None,
    })
}

/// The segments of a template, whatever its parameters are called; the tenant is no other's place.
fn shape(operation: &Operation) -> Vec<&str> {
    let blank = |segment| match segment {
        "{tenant}" => segment,
        _ if segment.starts_with('{') => "{}",
        _ => segment,
    };
    operation.template.split('/').map(blank).collect()
}

/// The segments through the one that holds the n-th parameter. One of several segments has no number.
fn up_to(operation: &Operation, index: u8) -> Vec<&str> {
    let (mut numbered, mut end) = (0, 0);
    for segment in operation.template.split('/') {
        end += 1;
        numbered += segment.matches('{').count() - segment.matches("{+").count();
        if numbered > usize::from(index) {
            break;
        }
    }
    shape(operation).into_iter().take(end).collect()
}

fn ids<'o>(operations: &[&'o Operation]) -> Vec<&'o str> {
    operations.iter().map(|operation| &*operation.id).collect()
}

/// Operations by the reason that is given for what they touch, in the order of the catalog.
fn by_reason<'o>(operations: &[&'o Operation]) -> Vec<(&'o str, Vec<&'o Operation>)> {
    let mut groups: Vec<(&str, Vec<&Operation>)> = Vec::new();
    for operation in operations {
        let why = match &operation.touches {
            Touches::Nothing { why } | Touches::Tenant { why } => why,
            Touches::Containers(_) => "its places name no container",
        };
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, group)) => group.push(operation),
            None => groups.push((why, vec![operation])),
        }
    }
    groups
}

pub fn json(catalog: &Catalog) -> Value {
    let coverage = Coverage::of(catalog);
    let row = |row: &Row<'_>| {
        let tenant_if_absent = row.operations.iter().filter(|one| row.way.finds() && may_name_none(one)).count();
        let operations = ids(&row.operations);
        json!({
            "how": row.way.as_str(),
            "count": operations.len(),
            "tenant_if_absent": tenant_if_absent,
            "operations": operations,
        })
    };
    let reasons = |way| {
        let groups = by_reason(coverage.operations(way)).into_iter();
        groups.map(|(why, group)| json!({ "why": why, "operations": ids(&group) })).collect::<Vec<_>>()
    };
    let below = coverage.below.iter().map(|(kind, share)| ((*kind).to_owned(), share.json()));
    json!({
        "product": &*catalog.product,
        "release": catalog.release,
        "operations": catalog.operations.len(),
        "found": coverage.rows.iter().map(row).collect::<Vec<_>>(),
        "subject": coverage.subject.json(),
        "below": below.collect::<serde_json::Map<_, _>>(),
        "tenant": reasons(Way::Tenant),
        "nothing": reasons(Way::Nothing),
    })
}

pub fn text(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let coverage = Coverage::of(catalog);
    writeln!(out, "{}@{}: how the container that a request touches is found\n", catalog.product, catalog.release)?;
    for Row { way, operations } in coverage.rows.iter().filter(|row| !row.operations.is_empty()) {
        let optional = operations.iter().filter(|operation| way.finds() && may_name_none(operation)).count();
        let note = if optional == 0 { String::new() } else { format!(" ({optional} may name none: then the tenant)") };
        writeln!(out, "{:>6}  {}{note}", operations.len(), way.said())?;
    }
    writeln!(out, "{:>6}  operations", catalog.operations.len())?;
    if !(coverage.subject.operations.is_empty() && coverage.below.is_empty()) {
        writeln!(out)?;
    }
    if !coverage.subject.operations.is_empty() {
        let share = coverage.subject.said();
        writeln!(out, "Not exempt from the vendor's own rule on containers: {share} found")?;
    }
    for (kind, share) in &coverage.below {
        writeln!(out, "Below a {kind} in the path: {} found", share.said())?;
    }
    for way in [Way::Tenant, Way::Nothing, Way::NeedsUnknown] {
        let operations = coverage.operations(way);
        if !operations.is_empty() {
            writeln!(out, "\n{}: {}", way.said(), operations.len())?;
        }
        for (why, group) in by_reason(operations).into_iter().filter(|_| way != Way::NeedsUnknown) {
            writeln!(out, "  {why}: {}", group.len())?;
            folded(&ids(&group).join(", "), out)?;
        }
    }
    let unknown = coverage.operations(Way::NeedsUnknown);
    if unknown.is_empty() { Ok(()) } else { folded(&ids(unknown).join(", "), out) }
}
