//! Jira's platform API.
//!
//! An operation whose `security` names no OAuth scope is closed to OAuth credentials, classic and granular, whatever
//! `x-atlassian-oauth2-scopes` says beside it. `Current` is the classic line, `Beta` the granular one.

use serde_json::Value;

use super::{Needs, connect, exempt, line, note_open, release_of, security, settle_absence, stated};
use crate::import::description::{self, Described};
use crate::import::draft::{Draft, DraftOperation, DraftPlace};
use crate::import::{ImportError, Notes};

const RELEASE: &str = "2025-12";
const BASE: &str = "/rest/api/3";

/// Names of parameters that hold a project, and those that hold an issue.
const PROJECT: [&str; 9] = [
    "currentProjectId",
    "project",
    "projectId",
    "projectIdOrKey",
    "projectIds",
    "projectIdsOrKeys",
    "projectKey",
    "projectKeyOrId",
    "projectKeys",
];
const ISSUE: [&str; 5] = ["currentIssueKey", "issueId", "issueIdOrKey", "issueIdsOrKeys", "issueKey"];
/// Of these, the names that hold several, repeated or parted by commas.
const SEVERAL: [&str; 4] = ["issueIdsOrKeys", "projectIds", "projectIdsOrKeys", "projectKeys"];

/// Literal segments below which an answer may hold, list or compute what lies in containers, although no
/// container is named: such a read is not even proposed as `nothing`.
const NEVER_PROPOSED: [&str; 22] = [
    "attachment",
    "auditing",
    "bulk",
    "comment",
    "component",
    "data-policy",
    "expression",
    "filter",
    "issue",
    "jql",
    "label",
    "migration",
    "plans",
    "project",
    "project-template",
    "projects",
    "projectvalidate",
    "redact",
    "task",
    "version",
    "webhook",
    "worklog",
];
/// Except here, where the segment's descendants are the site's.
const STILL_PROPOSED: [&str; 5] = [
    "/rest/api/3/attachment/meta",
    "/rest/api/3/project/type",
    "/rest/api/3/project/type/accessible",
    "/rest/api/3/project/type/{projectTypeKey}",
    "/rest/api/3/project/type/{projectTypeKey}/accessible",
];

const HEAD: &str = "\
bases: [/rest/api/3, /rest/api/2, /rest/api/latest]
tenant_bases: ['/ex/jira/{tenant}']
vocabularies: [classic, granular, connect]
containers:
  - {name: project, id: '[1-9][0-9]{0,18}', key: '[A-Za-z][A-Za-z0-9_]+', fold: upper}
kinds:
  - {name: oauth, vocabularies: [classic, granular], actor: evidence}
  - {name: api_token, vocabularies: [classic, granular], actor: evidence}
  - {name: connect, vocabularies: [connect], actor: app}
";

pub fn import(described: &Value, release: Option<&str>, notes: &mut Notes) -> Result<Draft, ImportError> {
    let release = release_of(release, RELEASE);
    let head = format!("version: 1\nproduct: jira\nrelease: {release}\ndialect: atlassian\n{HEAD}");
    let mut draft = Draft { head, ..Draft::default() };
    let operations = description::operations(described);
    for operation in &operations {
        draft.add(convert(operation, notes)?);
    }
    description::note_collisions(&operations, notes);
    Ok(draft)
}

fn convert(operation: &Described<'_>, notes: &mut Notes) -> Result<DraftOperation, ImportError> {
    let method = operation.method.to_uppercase();
    let request = format!("{method} {}", operation.path.strip_prefix(BASE).unwrap_or(operation.path));
    let id = operation.id().ok_or_else(|| ImportError::Shape(format!("{request} has no operationId")))?.to_owned();
    let subject = exempt(operation) != Some(true);
    let places = places(operation);
    let proposed = proposed(operation, subject, &places);
    let needs = needs(operation, &id, notes);
    let draft = DraftOperation { id, request, needs, places, subject, proposed, ..DraftOperation::default() };
    note_open(&draft, notes);
    Ok(draft)
}

fn needs(operation: &Described<'_>, id: &str, notes: &mut Notes) -> Needs {
    let mut needs = Needs::new();
    let security = security(operation, "OAuth2");
    let (current, beta) = (stated(operation, "Current"), stated(operation, "Beta"));
    if security.is_empty() {
        notes.add("no OAuth scope in `security`: closed to OAuth credentials", id);
        if !current.is_empty() || !beta.is_empty() {
            notes.add("no OAuth scope in `security`, yet one in `x-atlassian-oauth2-scopes`: the former counts", id);
        }
    } else {
        if !current.is_empty() && current != security {
            notes.add("`security` and `Current` differ: both are needed", id);
        }
        needs.push(("classic".to_owned(), line(security.union(&current))));
        if !beta.is_empty() {
            needs.push(("granular".to_owned(), line(&beta)));
        }
    }
    needs.extend(connect(operation));
    needs
}

fn places(operation: &Described<'_>) -> Vec<DraftPlace> {
    let mut places = Vec::new();
    for name in operation.path_parameters() {
        places.extend(place("path", name, name, true, false));
    }
    for parameter in operation.parameters().iter().filter(|parameter| parameter.at == "query") {
        places.extend(place("query", parameter.name, parameter.name, parameter.required, parameter.array));
    }
    places.extend(body_places(operation));
    settle_absence(&mut places);
    places
}

/// The top level of a body names the container only where the path names nothing of its own: what a
/// component or a version belongs to is told by its id, not by what an update writes beside it.
fn body_places(operation: &Described<'_>) -> Vec<DraftPlace> {
    let known = |name: &&str| PROJECT.contains(name) || ISSUE.contains(name);
    if !operation.path_parameters().iter().all(known) {
        return Vec::new();
    }
    let scalars = operation.body_scalars();
    let found =
        scalars.iter().filter_map(|(name, required)| place("body", &format!("/{name}"), name, *required, false));
    let mut places: Vec<DraftPlace> = found.collect();
    let twice = places.iter().filter(|place| place.reading.is_none()).count() > 1;
    for place in places.iter_mut().filter(|place| twice && place.reading.is_none()) {
        place.group = Some(1);
        place.absent = Some("tenant");
    }
    places
}

fn place(at: &'static str, written: &str, name: &str, required: bool, array: bool) -> Option<DraftPlace> {
    let issue = ISSUE.contains(&name);
    (issue || PROJECT.contains(&name)).then(|| DraftPlace {
        kind: "project",
        at,
        name: written.to_owned(),
        reading: issue.then_some("issue_key"),
        absent: (!required).then_some("tenant"),
        list: array || SEVERAL.contains(&name),
        group: None,
    })
}

fn proposed(operation: &Described<'_>, subject: bool, places: &[DraftPlace]) -> bool {
    let lists = |segment: &str| segment.to_lowercase().contains("project") && segment != "projectCategory";
    let inside = operation.path.split('/').any(|segment| NEVER_PROPOSED.contains(&segment) || lists(segment));
    let named = operation.parameters().iter().any(|parameter| parameter.name.to_lowercase().contains("project"));
    let site = STILL_PROPOSED.contains(&operation.path);
    operation.method == "get" && !subject && places.is_empty() && ((!inside && !named) || site)
}
