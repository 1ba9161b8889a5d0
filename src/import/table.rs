//! A table of endpoints, a line each, its columns parted by tabs. It tells methods and paths, and no scopes: every
//! operation needs an entry of the overlay.
//!
//! Buddy's (`service`, `go_method`, `verb`, `path`) is known: a workspace is the tenant, projects and pipelines stand
//! in paths.

use super::description::derived_id;
use super::draft::{Draft, DraftOperation, DraftPlace};
use super::{ImportError, Notes, Settings, openapi};
use crate::authz::catalog::matcher::Request;

const BUDDY: &str = "buddy";
const BUDDY_RELEASE: &str = "2026-04";

const BUDDY_HEAD: &str = "\
dialect: buddy
tokens: {query: [access_token]}
vocabularies: [token]
containers:
  - {name: workspace, key: '[A-Za-z0-9._-]+', fold: lower}
  - {name: project, key: '[A-Za-z0-9._-]+', within: workspace}
  - {name: pipeline, id: '[1-9][0-9]{0,18}', within: project}
kinds:
  - {name: oauth, vocabularies: [token], actor: evidence}
  - {name: api_token, vocabularies: [token], actor: evidence}
";

/// Where the columns stand.
struct Columns {
    method: usize,
    path: usize,
    /// One, or two that are joined by a dot.
    id: Vec<usize>,
}

impl Columns {
    fn of(header: &str) -> Result<Self, ImportError> {
        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
        let at = |name: &str| names.iter().position(|column| *column == name);
        let lacks = |what: &str| ImportError::Shape(format!("the first line names no column `{what}`: {header:?}"));
        let id = match (at("id"), at("service"), at("go_method")) {
            (Some(id), _, _) => vec![id],
            (None, Some(service), Some(method)) => vec![service, method],
            (None, _, _) => Vec::new(),
        };
        let method = at("method").or_else(|| at("verb")).ok_or_else(|| lacks("method"))?;
        Ok(Self { method, path: at("path").ok_or_else(|| lacks("path"))?, id })
    }

    fn are_buddys(&self) -> bool {
        self.id.len() == 2
    }
}

pub fn import(text: &str, settings: Settings<'_>, notes: &mut Notes) -> Result<Draft, ImportError> {
    if settings.scopes_from.is_some() || settings.combine.is_some() {
        return Err(ImportError::Shape("a table states no scopes: leave out --scopes-from and --combine".to_owned()));
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let columns = Columns::of(lines.next().unwrap_or_default())?;
    let product = settings.product.or_else(|| columns.are_buddys().then_some(BUDDY));
    let product = product.ok_or_else(|| ImportError::Shape("a table names no product: --product NAME".to_owned()))?;
    let buddy = product == BUDDY;
    let release = super::draft::scalar(settings.release.unwrap_or(if buddy { BUDDY_RELEASE } else { "1" }));
    let head = if buddy { BUDDY_HEAD.to_owned() } else { openapi::head_without_scopes() };
    let head = format!("version: 1\nproduct: {}\nrelease: {release}\n{head}", openapi::product_name(product)?);
    let mut draft = Draft { head, ..Draft::default() };
    let mut operations = lines.map(|line| operation(&columns, line, buddy)).collect::<Result<Vec<_>, _>>()?;
    operations.sort_by(|one, other| one.id.cmp(&other.id));
    if let Some(twice) = operations.windows(2).find(|pair| matches!(pair, [one, other] if one.id == other.id)) {
        let id = twice.first().map_or("", |one| &one.id);
        return Err(ImportError::Shape(format!("two lines are called `{id}`: give them ids of their own")));
    }
    for operation in operations {
        notes.add("needs: unknown, a table states no scope: refused until the overlay says more", &operation.id);
        if operation.places.is_empty() {
            notes.add("no container in the path: the whole tenant", &operation.id);
        }
        if operation.proposed {
            notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", &operation.id);
        }
        draft.add(operation);
    }
    Ok(draft)
}

fn operation(columns: &Columns, line: &str, buddy: bool) -> Result<DraftOperation, ImportError> {
    let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
    let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
    let path = if buddy { buddys_path(cell(columns.path)) } else { cell(columns.path).to_owned() };
    let request = format!("{} {path}", cell(columns.method).to_uppercase());
    Request::parse(&request).map_err(|error| ImportError::Shape(format!("{line:?}: {error}")))?;
    let id = match columns.id.as_slice() {
        [] => derived_id(&path, cell(columns.method)),
        ids => ids.iter().map(|at| cell(*at)).collect::<Vec<_>>().join("."),
    };
    if !openapi::is_plain_id(&id) {
        return Err(ImportError::Shape(format!("{line:?}: `{id}` is no id: letters, digits, `.`, `_`, `-`")));
    }
    let places: Vec<DraftPlace> = if buddy { buddys_place(&path).into_iter().collect() } else { Vec::new() };
    let own = request == "GET /user" || request.starts_with("GET /user/") && !request.contains("token");
    Ok(DraftOperation { id, request, places, proposed: buddy && own, ..DraftOperation::default() })
}

/// A file's path holds slashes, and a workspace is the tenant.
fn buddys_path(described: &str) -> String {
    described.replace("{workspaceDomain}", "{tenant}").replace("{path}", "{+path}")
}

/// The innermost container that the path names.
fn buddys_place(path: &str) -> Option<DraftPlace> {
    let inner = [("pipeline", "pipelineId"), ("project", "projectName"), ("workspace", "tenant")];
    let (kind, name) = inner.into_iter().find(|(_, name)| path.contains(&format!("{{{name}}}")))?;
    let name = name.to_owned();
    Some(DraftPlace { kind, at: "path", name, reading: None, absent: None, list: false, group: None })
}
