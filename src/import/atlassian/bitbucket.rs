//! Bitbucket Cloud. A workspace is the tenant, so the parameter that names it is written `{tenant}`.
//!
//! `security` states OAuth scopes, which imply each other; `x-atlassian-oauth2-scopes` the granular ones of API tokens
//! and Forge apps, which imply nothing. Each is a line of its own: what one leaves out is closed to its credentials.

use serde_json::Value;

use super::{Needs, line, release_of, security, stated};
use crate::import::description::{self, Described};
use crate::import::draft::{Draft, DraftOperation, DraftPlace};
use crate::import::{ImportError, Notes};

const RELEASE: &str = "2026-04";

/// A second workspace in a body is a second tenant.
const HEAD: &str = r"bases: [/2.0]
tenant_arguments:
  - {argument: /destination/repository/full_name}
  - {argument: /source/repository/full_name}
  - {argument: /workspace/slug}
  - {argument: /workspace/uuid}
vocabularies: [classic, granular]
containers:
  - {name: workspace, id: '\{[0-9A-Fa-f-]+\}', key: '[A-Za-z0-9_.-]+', fold: lower}
  - {name: project, id: '\{[0-9A-Fa-f-]+\}', key: '[A-Za-z0-9_]+', fold: upper, within: workspace}
  - {name: repository, id: '\{[0-9A-Fa-f-]+\}', key: '[A-Za-z0-9_.-]+', fold: lower, within: project}
kinds:
  - {name: oauth, vocabularies: [classic], actor: evidence}
  - {name: api_token, vocabularies: [granular], actor: evidence}
  - {name: forge, vocabularies: [granular], actor: evidence}
";

/// Last parameters that hold slashes: paths of files, and names of branches.
const GREEDY: [&str; 5] = ["{name}", "{path}", "{revision}", "{revspec}", "{spec}"];
/// Reads below these tell about people, the app itself, or fixed words.
const PROPOSED: [&str; 4] = ["/addon", "/hook_events", "/user", "/users"];

pub fn import(described: &Value, release: Option<&str>, notes: &mut Notes) -> Result<Draft, ImportError> {
    let release = release_of(release, RELEASE);
    let head = format!("version: 1\nproduct: bitbucket\nrelease: {release}\ndialect: bitbucket\n{HEAD}");
    let mut draft = Draft { head, ..Draft::default() };
    let operations = description::operations(described);
    for operation in &operations {
        draft.add(convert(operation, notes));
    }
    description::note_collisions(&operations, notes);
    Ok(draft)
}

fn convert(operation: &Described<'_>, notes: &mut Notes) -> DraftOperation {
    let id = operation.id().map_or_else(|| operation.derived_id(), str::to_owned);
    let path = path(operation.path);
    let needs = needs(operation, &id, notes);
    let places: Vec<DraftPlace> = place(&path).into_iter().collect();
    let proposed = proposed(operation, &path);
    if operation.id().is_none() {
        notes.add("no operationId: named after its path and method", &id);
    }
    if needs.is_empty() {
        notes.add("needs: unknown, no scope is stated for any app: refused until the overlay says more", &id);
    }
    if places.is_empty() {
        notes.add("no container in the path: the whole tenant", &id);
    }
    if proposed {
        notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", &id);
    }
    let request = format!("{} {path}", operation.method.to_uppercase());
    let tenant_arguments = tenant_arguments(operation).iter().map(|name| (*name).to_owned()).collect();
    DraftOperation { id, request, needs, places, proposed, tenant_arguments, ..DraftOperation::default() }
}

/// The template: the workspace is the tenant, by whatever name, and what may hold slashes is greedy.
fn path(described: &str) -> String {
    let workspace = match described.split('/').nth(1) {
        Some("teams") => "{username}",
        // A user's own workspace, where it is not the user that is asked about.
        Some("users") if ["/pipelines_config/", "/search/"].iter().any(|below| described.contains(below)) => {
            "{selected_user}"
        }
        _ => "{workspace}",
    };
    let path = described.replace(workspace, "{tenant}");
    match GREEDY.iter().find_map(|name| path.strip_suffix(name).map(|before| (before, name))) {
        Some((before, name)) if before.ends_with('/') => format!("{before}{}", name.replace('{', "{+")),
        Some(_) | None => path,
    }
}

fn place(path: &str) -> Option<DraftPlace> {
    let inner = [("repository", "repo_slug"), ("project", "project_key"), ("workspace", "tenant")];
    let (kind, name) = inner.into_iter().find(|(_, name)| path.contains(&format!("{{{name}}}")))?;
    let name = name.to_owned();
    Some(DraftPlace { kind, at: "path", name, reading: None, absent: None, list: false, group: None })
}

fn needs(operation: &Described<'_>, id: &str, notes: &mut Notes) -> Needs {
    let mut needs = Needs::new();
    let (classic, granular) = (security(operation, "oauth2"), stated(operation, "Current"));
    if classic.is_empty() {
        notes.add("no scope in `security`: closed to OAuth credentials", id);
    } else {
        needs.push(("classic".to_owned(), line(&classic)));
    }
    if granular.is_empty() {
        notes.add("no scope in `x-atlassian-oauth2-scopes`: closed to API tokens and Forge apps", id);
    } else {
        needs.push(("granular".to_owned(), line(&granular)));
    }
    needs
}

/// The bodies in which another workspace may be named.
fn tenant_arguments(operation: &Described<'_>) -> &'static [&'static str] {
    match (operation.method, operation.path) {
        ("post", "/repositories/{workspace}/{repo_slug}/forks") => &["/workspace/slug", "/workspace/uuid"],
        ("post", "/repositories/{workspace}/{repo_slug}/pullrequests")
        | ("put", "/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}") => {
            &["/destination/repository/full_name", "/source/repository/full_name"]
        }
        _ => &[],
    }
}

fn proposed(operation: &Described<'_>, path: &str) -> bool {
    let below = PROPOSED
        .iter()
        .any(|base| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let lists = ["{tenant}", "/permissions", "/properties", "/workspaces"].iter().any(|word| path.contains(word));
    operation.method == "get" && below && !lists
}
