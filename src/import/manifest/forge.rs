//! A Forge manifest: scopes of one or several of Atlassian's products, in one list.

use super::tree::Tree;
use super::{Asked, Manifest, ManifestKind, Scopes, connect, counted, slug};
use crate::yaml::node::{Node, Value};

pub(super) fn read<'n>(tree: &'n Tree<'_>, root: &'n Node<'n>) -> Option<Manifest> {
    let id = tree.text_at(root, &["app", "id"]);
    let name = tree.text_at(root, &["app", "name"]);
    // ari:cloud:ecosystem::app/UUID
    let last = id.map(|id| id.rsplit('/').next().unwrap_or(id));
    let mut scopes = Scopes::default();
    match tree.at(root, &["permissions", "scopes"]) {
        Some(list) if matches!(list.value, Value::List(_)) => {
            for item in tree.items(list, "scopes") {
                listed(tree, item, &mut scopes);
            }
        }
        Some(map) if matches!(map.value, Value::Map(_)) => mapped(tree, map, &mut scopes),
        Some(other) => {
            tree.items(other, "scopes");
        }
        None => {}
    }
    Some(Manifest {
        kind: ManifestKind::Forge,
        slug: name.and_then(slug).or_else(|| last.and_then(slug)),
        title: name.or(last).map(str::to_owned),
        asked: scopes.0,
        products: Vec::new(),
        host: None,
        notes: said(tree, root),
    })
}

/// A word, or a map of one word.
fn listed(tree: &Tree<'_>, item: &Node<'_>, scopes: &mut Scopes) {
    match &item.value {
        Value::Map(_) => mapped(tree, item, scopes),
        Value::Text(_) | Value::Plain { .. } | Value::Null | Value::List(_) => {
            if let Some(scope) = tree.text_of_item(item, "scopes") {
                // An app calls as itself (asApp) and as whoever uses it (asUser) with the same scopes.
                scopes.add(tree, item.at, scope, (true, true));
            }
        }
    }
}

/// `write:jira-work: {allowImpersonation: true}`
fn mapped(tree: &Tree<'_>, map: &Node<'_>, scopes: &mut Scopes) {
    for (scope, node) in tree.entries(map, &[]) {
        scopes.add(tree, node.at, scope, (true, true));
    }
}

/// What no scope of a product says.
fn said(tree: &Tree<'_>, root: &Node<'_>) -> Vec<String> {
    let mut notes = vec![
        "what runs on Forge itself calls the product from within: no gate can stand before it. Of its calls only those of its own \
         server (a Forge remote) can pass one"
            .to_owned(),
    ];
    if !tree.entries(root, &["permissions", "external"]).is_empty() {
        notes.push("`permissions.external` lets it send data to other servers, past every gate".to_owned());
    }
    let triggers = tree.count(root, &["modules", "trigger"]) + tree.count(root, &["modules", "scheduledTrigger"]);
    if triggers > 0 {
        notes.push(format!("{}: the product calls the app by itself, past every gate", counted(triggers, "trigger")));
    }
    notes
}

/// A Connect scope as Forge writes it for an app that came from there: `read:connect-jira` is READ of Jira.
pub(super) fn of_connect(asked: &Asked) -> Option<(&'static str, String)> {
    let (word, of) = asked.scope.rsplit_once(":connect-")?;
    let product = ["jira", "confluence"].into_iter().find(|product| *product == of)?;
    Some((product, connect::upper(word)))
}
