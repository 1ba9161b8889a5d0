//! Confluence's two APIs, one catalog: v1 names spaces by their keys, v2 by their numbers.
//!
//! v2 states granular scopes alone, all of them as `Current`. v1 states classic ones as `Current` and granular ones as
//! `Beta`; where its `Current` is granular and no `Beta` stands beside it, there is no classic line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Needs, connect, exempt, line, note_open, release_of, security, settle_absence, stated};
use crate::import::description::{self, Described};
use crate::import::draft::{Draft, DraftOperation, DraftPlace};
use crate::import::{ImportError, Notes};

const RELEASE: &str = "2025-09";

/// Which of the two APIs a description is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

const HEAD: &str = "\
tenant_bases: ['/ex/confluence/{tenant}']
vocabularies: [classic, granular, connect]
containers:
  - {name: space, id: '[1-9][0-9]{0,18}', key: '~[A-Za-z0-9._:@-]+|[A-Za-z0-9]+', fold: upper}
kinds:
  - {name: oauth, vocabularies: [classic, granular], actor: evidence}
  - {name: api_token, vocabularies: [classic, granular], actor: evidence}
  - {name: connect, vocabularies: [connect], actor: app}
";

/// Literal segments below which an answer may hold, list or compute what lies in spaces, although no space is named:
/// such a read is not even proposed as `nothing`.
const NEVER_PROPOSED: [&str; 20] = [
    "analytics",
    "audit",
    "content",
    "content-states",
    "contentbody",
    "data-policies",
    "inlinetasks",
    "label",
    "labels",
    "longtask",
    "lookandfeel",
    "pages",
    "relation",
    "search",
    "space",
    "space-roles",
    "spaces",
    "tasks",
    "template",
    "watch",
];
/// Except here.
const STILL_PROPOSED: [&str; 2] = ["/wiki/rest/api/audit/retention", "/space-roles/{id}"];
/// It makes an answer hold more, the personal space of a user among it.
const EXPAND: &str = "expand";

/// Imports the descriptions of one version or of both.
pub fn import(
    descriptions: &[(Version, &Value)],
    release: Option<&str>,
    notes: &mut Notes,
) -> Result<Draft, ImportError> {
    let head = format!(
        "version: 1\nproduct: confluence\nrelease: {}\ndialect: atlassian\n{HEAD}",
        release_of(release, RELEASE)
    );
    let mut draft = Draft { head, ..Draft::default() };
    let of = |version: Version| {
        let described = descriptions.iter().filter(move |(of, _)| *of == version);
        described.flat_map(|(_, description)| description::operations(description)).collect::<Vec<_>>()
    };
    let (old, new) = (of(Version::One), of(Version::Two));
    let taken: BTreeSet<&str> = new.iter().filter_map(Described::id).collect();
    for (version, operations) in [(Version::One, &old), (Version::Two, &new)] {
        for operation in operations {
            draft.add(convert(version, operation, &taken, notes)?);
        }
        description::note_collisions(operations, notes);
    }
    Ok(draft)
}

fn convert(
    version: Version,
    operation: &Described<'_>,
    taken: &BTreeSet<&str>,
    notes: &mut Notes,
) -> Result<DraftOperation, ImportError> {
    // v2 writes its paths below its server's.
    let base = match version {
        Version::One => "",
        Version::Two => "/wiki/api/v2",
    };
    let request = format!("{} {base}{}", operation.method.to_uppercase(), operation.path);
    let id = operation.id().ok_or_else(|| ImportError::Shape(format!("{request} has no operationId")))?;
    let id = match version {
        Version::One if taken.contains(id) => {
            notes.add("the same operationId in v1 and v2: v1's ends in `.v1`", id);
            format!("{id}.v1")
        }
        Version::One | Version::Two => id.to_owned(),
    };
    let subject = exempt(operation) != Some(true);
    let places = places(version, operation);
    let proposed = proposed(operation, subject, &places);
    let needs = needs(operation, &id, notes);
    let draft = DraftOperation { id, request, needs, places, subject, proposed, ..DraftOperation::default() };
    note_open(&draft, notes);
    Ok(draft)
}

fn needs(operation: &Described<'_>, id: &str, notes: &mut Notes) -> Needs {
    let mut needs = Needs::new();
    let security = security(operation, "oAuthDefinitions");
    let (current, beta) = (stated(operation, "Current"), stated(operation, "Beta"));
    if security.is_empty() {
        notes.add("no OAuth scope in `security`: closed to OAuth credentials", id);
    } else {
        if current != security {
            notes.add("`security` and `Current` differ: both are needed", id);
        }
        let current: BTreeSet<&str> = security.union(&current).copied().collect();
        // `read:page:confluence`, beside `read:confluence-content.all`.
        let granular = beta.is_empty() && current.iter().all(|scope| scope.matches(':').count() == 2);
        needs.push((if granular { "granular" } else { "classic" }.to_owned(), line(&current)));
        if !beta.is_empty() {
            needs.push(("granular".to_owned(), line(&beta)));
        }
    }
    needs.extend(connect(operation));
    needs
}

fn places(version: Version, operation: &Described<'_>) -> Vec<DraftPlace> {
    let mut places = Vec::new();
    let mut before = "";
    for segment in operation.path.split('/') {
        let name = segment.strip_prefix('{').and_then(|inside| inside.strip_suffix('}'));
        match (version, name) {
            (Version::One, Some(name)) if name == "spaceKey" => {
                places.push(place("path", name, Some("key"), true, false))
            }
            (Version::Two, Some(name)) if before == "spaces" => places.push(place("path", name, None, true, false)),
            _ => {}
        }
        before = segment;
    }
    for parameter in operation.parameters().iter().filter(|parameter| parameter.at == "query") {
        let reading = match (version, parameter.name) {
            (Version::One, "spaceKey") => Some("key"),
            (Version::One, "spaceId") | (Version::Two, "space-id") => None,
            _ => continue,
        };
        places.push(place("query", parameter.name, reading, parameter.required, parameter.array));
    }
    // The body names the space only where the path names nothing of its own: where a page lies is told by its id.
    if !operation.path.contains('{') {
        for (name, required) in operation.body_scalars() {
            let reading = match (version, name) {
                (Version::One, "spaceKey") => Some("key"),
                (Version::Two, "spaceId") => None,
                _ => continue,
            };
            places.push(place("body", &format!("/{name}"), reading, required, false));
        }
    }
    settle_absence(&mut places);
    places
}

fn place(at: &'static str, name: &str, reading: Option<&'static str>, required: bool, list: bool) -> DraftPlace {
    let absent = (!required).then_some("tenant");
    DraftPlace { kind: "space", at, name: name.to_owned(), reading, absent, list, group: None }
}

fn proposed(operation: &Described<'_>, subject: bool, places: &[DraftPlace]) -> bool {
    let inside = operation.path.split('/').any(|segment| NEVER_PROPOSED.contains(&segment));
    let still = STILL_PROPOSED.contains(&operation.path);
    let expands = operation.parameters().iter().any(|parameter| parameter.name == EXPAND);
    operation.method == "get" && !subject && places.is_empty() && !expands && (!inside || still)
}
