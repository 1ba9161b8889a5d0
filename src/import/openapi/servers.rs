//! The base paths that a description's servers put before every path.

use serde_json::Value;

use crate::authz::path::canonical;
use crate::import::Notes;
use crate::import::description::Described;

/// The most base paths that the variables of one server's URL are written out to.
const VALUES_MAX: usize = 16;

/// How a catalog writes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Before every template.
    pub before: String,
    /// Or `bases:`, where one API stands at several.
    pub aliases: Vec<String>,
}

/// The base paths of all servers.
pub fn bases(described: &Value, operations: &[Described<'_>], notes: &mut Notes) -> Bases {
    for operation in operations.iter().filter(|operation| operation.node.get("servers").is_some()) {
        notes.add("servers of its own are not read: its path is below the description's servers", operation.path);
    }
    let mut paths: Vec<String> = Vec::new();
    for path in written(described) {
        let path = path.trim_end_matches('/').to_owned();
        if path.is_empty() || canonical(&path).is_ok_and(|canonical| *canonical == *path) {
            paths.push(path);
        } else {
            notes.add("a server whose base path no request can have: not read", path);
        }
    }
    paths.sort();
    paths.dedup();
    match paths.as_slice() {
        [] => Bases::default(),
        [one] => Bases { before: one.clone(), ..Bases::default() },
        [first, ..] if first.is_empty() || is_doubtful(&paths, operations) => {
            let what = "servers with different base paths, which cannot stand side by side: only the first is read";
            paths.iter().for_each(|path| notes.add(what, if path.is_empty() { "/" } else { path.as_str() }));
            Bases { before: first.clone(), ..Bases::default() }
        }
        _ => Bases { aliases: paths, ..Bases::default() },
    }
}

/// Whether a template begins like a base: a catalog would take it for one that is written whole.
fn is_doubtful(bases: &[String], operations: &[Described<'_>]) -> bool {
    let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
    operations.iter().any(|operation| bases.iter().any(|base| first(base) == first(operation.path)))
}

fn written(described: &Value) -> Vec<String> {
    if let Some(base) = described.get("basePath").and_then(Value::as_str) {
        return vec![base.to_owned()];
    }
    let servers = described.get("servers").and_then(Value::as_array).into_iter().flatten();
    servers.flat_map(urls).map(|url| path_of(&url)).collect()
}

/// The URL of a server with each value that its variables may have.
fn urls(server: &Value) -> Vec<String> {
    let mut urls = vec![server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned()];
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("{{{name}}}");
        let listed = variable.get("enum").and_then(Value::as_array).into_iter().flatten();
        let mut values: Vec<&str> = listed.chain(variable.get("default")).filter_map(Value::as_str).collect();
        values.sort_unstable();
        values.dedup();
        urls = urls.iter().flat_map(|url| values.iter().map(|value| url.replace(&place, value))).collect();
        urls.truncate(VALUES_MAX);
    }
    urls
}

/// What stands after scheme and host.
fn path_of(url: &str) -> String {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => url,
    };
    rest.split(['?', '#']).next().unwrap_or_default().to_owned()
}
