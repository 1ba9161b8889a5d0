//! Atlassian's descriptions. Jira's platform API so far.
//!
//! The rules, each against a trap of the description:
//! - `{}` and `basicAuth` in `security` are alternatives for people and the public, never for an app.
//! - An operation whose `security` names no OAuth scope is closed to OAuth credentials, classic and
//!   granular, whatever `x-atlassian-oauth2-scopes` says beside it. Where the two differ otherwise, the
//!   line asks for both: the stricter reading.
//! - `Current` is one line (all of it), `Beta` is one line (all of it); the two are alternatives.
//! - `INACCESSIBLE` closes the operation to Connect. `NONE` is a scope like any other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::{Draft, DraftLine, DraftOperation, DraftPlace, Note};
use super::openapi::{self, Described, strings};
use super::{ImportError, Notes};

const JIRA: &str = "Jira Cloud platform";
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

pub fn import(description: &Value, release: Option<&str>) -> Result<(Draft, Vec<Note>), ImportError> {
    let title = description.pointer("/info/title").and_then(Value::as_str).unwrap_or_default();
    if !title.contains(JIRA) {
        return Err(ImportError::Shape(format!("`{title}` is not the description of the {JIRA}")));
    }
    let release = super::draft::scalar(release.unwrap_or(RELEASE));
    let head = format!("version: 1\nproduct: jira\nrelease: {release}\ndialect: atlassian\n{HEAD}");
    let (mut draft, mut notes) = (Draft { head, ..Draft::default() }, Notes::default());
    let described = openapi::operations(description);
    for operation in &described {
        let converted = convert(operation, &mut notes)?;
        draft.note_scopes(&converted);
        draft.operations.push(converted);
    }
    templates(&described, &mut notes);
    Ok((draft, notes.finish()))
}

fn convert(operation: &Described<'_>, notes: &mut Notes) -> Result<DraftOperation, ImportError> {
    let method = operation.method.to_uppercase();
    let request = format!("{method} {}", operation.path.strip_prefix(BASE).unwrap_or(operation.path));
    let id = operation.id().ok_or_else(|| ImportError::Shape(format!("{request} has no operationId")))?.to_owned();
    let subject = exempt(operation) != Some(true);
    let places = places(operation);
    let proposed = proposed(operation, subject, &places);
    let needs = needs(operation, &id, notes);
    if needs.is_empty() {
        notes.add("needs: unknown, no scope is stated for any app: refused until the overlay says more", &id);
    }
    if places.is_empty() {
        notes.add("no container in path, query or top level of the body: the whole tenant", &id);
    }
    if proposed {
        notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", &id);
    }
    Ok(DraftOperation { id, request, needs, places, subject, proposed, tenant_arguments: Vec::new(), json: None })
}

fn needs(operation: &Described<'_>, id: &str, notes: &mut Notes) -> Vec<(&'static str, Vec<DraftLine>)> {
    let mut needs = Vec::new();
    let security = security(operation);
    let (current, beta) = (stated(operation, "Current"), stated(operation, "Beta"));
    if security.is_empty() {
        notes.add("no OAuth scope in `security`: closed to OAuth credentials", id);
        if !current.is_empty() || !beta.is_empty() {
            notes.add("no OAuth scope in `security`, yet one in `x-atlassian-oauth2-scopes`: the former counts", id);
        }
    } else {
        let classic: BTreeSet<&str> = security.union(&current).copied().collect();
        if !current.is_empty() && current != security {
            notes.add("`security` and `Current` differ: both are needed", id);
        }
        needs.push(("classic", line(&classic)));
        if !beta.is_empty() {
            needs.push(("granular", line(&beta)));
        }
    }
    match operation.node.get("x-atlassian-connect-scope").and_then(Value::as_str) {
        Some("INACCESSIBLE") | None => {}
        Some(scope) => needs.push(("connect", line(&BTreeSet::from([scope])))),
    }
    needs
}

fn line(scopes: &BTreeSet<&str>) -> Vec<DraftLine> {
    vec![DraftLine::all(scopes.iter().map(|scope| (*scope).to_owned()).collect())]
}

/// The OAuth scopes of every alternative together. `{}` and `basicAuth` have none.
fn security<'d>(operation: &Described<'d>) -> BTreeSet<&'d str> {
    let alternatives = operation.node.get("security").and_then(Value::as_array).into_iter().flatten();
    alternatives.flat_map(|alternative| strings(alternative.get("OAuth2"))).collect()
}

fn stated<'d>(operation: &Described<'d>, state: &str) -> BTreeSet<&'d str> {
    let entries = operation.node.get("x-atlassian-oauth2-scopes").and_then(Value::as_array).into_iter().flatten();
    let of_state = entries.filter(|entry| entry.get("state").and_then(Value::as_str) == Some(state));
    of_state.flat_map(|entry| strings(entry.get("scopes"))).collect()
}

/// The vendor's own word on whether its app-access rule passes this operation by.
fn exempt(operation: &Described<'_>) -> Option<bool> {
    let policies = operation.node.get("x-atlassian-data-security-policy")?.as_array()?;
    policies.iter().find_map(|policy| policy.get("app-access-rule-exempt"))?.as_bool()
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

/// Of several places an absent one is told by the others.
fn settle_absence(places: &mut [DraftPlace]) {
    if places.len() > 1 {
        for place in places.iter_mut().filter(|place| place.absent.is_some()) {
            place.absent = Some("skip");
        }
    }
}

fn proposed(operation: &Described<'_>, subject: bool, places: &[DraftPlace]) -> bool {
    let lists = |segment: &str| segment.to_lowercase().contains("project") && segment != "projectCategory";
    let inside = operation.path.split('/').any(|segment| NEVER_PROPOSED.contains(&segment) || lists(segment));
    let named = operation.parameters().iter().any(|parameter| parameter.name.to_lowercase().contains("project"));
    let site = STILL_PROPOSED.contains(&operation.path);
    operation.method == "get" && !subject && places.is_empty() && ((!inside && !named) || site)
}

fn templates(described: &[Described<'_>], notes: &mut Notes) {
    let mut paths: Vec<&str> = described.iter().map(|operation| operation.path).collect();
    paths.dedup();
    let openapi::Collisions { colliding, merged } = openapi::collisions(&paths);
    for (one, other) in colliding {
        notes.add("templates that match one path: a literal segment wins", format!("{one} | {other}"));
    }
    for (one, other) in merged {
        notes.add("templates that differ in names alone: their methods are merged", format!("{one} | {other}"));
    }
}
