//! An Atlassian Connect descriptor: scopes in Connect's own words, and what it has the product send.

use super::tree::Tree;
use super::{Manifest, ManifestKind, Scopes, counted, slug};
use crate::authz::catalog::limits::is_host_name;
use crate::yaml::node::Node;

/// Modules that only Confluence has. Jira's begin with `jira`.
const OF_CONFLUENCE: [&str; 8] = [
    "blueprints",
    "confluenceContentProperties",
    "contentBylineItems",
    "customContent",
    "dynamicContentMacros",
    "spaceToolsTabs",
    "staticContentMacros",
    "userMacros",
];

/// How events begin that only Confluence has.
const EVENTS_OF_CONFLUENCE: [&str; 6] = ["page_", "blog_", "space_", "content_", "label_", "blueprint_"];

pub(super) fn read<'n>(tree: &'n Tree<'_>, root: &'n Node<'n>) -> Option<Manifest> {
    let key = tree.text_at(root, &["key"]);
    let title = tree.text_at(root, &["name"]).or(key).map(str::to_owned);
    let listed = match tree.field(root, "scopes") {
        Some(list) => tree.texts(list, "scopes"),
        None => Vec::new(),
    };
    let products = products(tree, root, &listed);
    let is_bitbucket = products == ["bitbucket"];
    let mut scopes = Scopes::default();
    for (scope, at) in listed {
        // Names are all upper or all lower case; Bitbucket's are its own.
        let scope = if is_bitbucket { scope.to_owned() } else { upper(scope) };
        scopes.add(tree, at, &scope, (true, false));
    }
    let host = tree.text_at(root, &["baseUrl"]).and_then(host_of);
    Some(Manifest {
        kind: ManifestKind::Connect,
        slug: key.and_then(slug),
        title,
        asked: scopes.0,
        products,
        notes: said(tree, root),
        host,
    })
}

pub(super) fn upper(scope: &str) -> String {
    scope.to_ascii_uppercase().replace('-', "_")
}

/// The products that it is for, by what only one of them has.
fn products(tree: &Tree<'_>, root: &Node<'_>, scopes: &[(&str, crate::problem::At)]) -> Vec<&'static str> {
    let asks = |word: &str| scopes.iter().any(|(scope, _)| upper(scope) == word);
    let modules: Vec<&str> = tree.entries(root, &["modules"]).into_iter().map(|(name, _)| name).collect();
    let events = events(tree, root);
    let begins = |event: &str, starts: &[&str]| starts.iter().any(|start| event.starts_with(start));
    let jira = asks("PROJECT_ADMIN")
        || modules.iter().any(|module| module.starts_with("jira"))
        || events.iter().any(|event| event.starts_with("jira:"));
    let confluence = asks("SPACE_ADMIN")
        || modules.iter().any(|module| OF_CONFLUENCE.contains(module))
        || events.iter().any(|event| begins(event, &EVENTS_OF_CONFLUENCE));
    let is_bitbucket = |event: &&str| begins(event, &["repo:", "pullrequest:", "issue:"]);
    let bitbucket = tree.field(root, "contexts").is_some() || events.iter().any(is_bitbucket);
    let told = [("jira", jira), ("confluence", confluence), ("bitbucket", bitbucket)];
    told.into_iter().filter_map(|(product, is)| is.then_some(product)).collect()
}

fn events<'n>(tree: &'n Tree<'_>, root: &'n Node<'n>) -> Vec<&'n str> {
    let Some(webhooks) = tree.at(root, &["modules", "webhooks"]) else { return Vec::new() };
    tree.items(webhooks, "webhooks").iter().filter_map(|webhook| tree.text_at(webhook, &["event"])).collect()
}

/// What no scope says and no gate sees.
fn said(tree: &Tree<'_>, root: &Node<'_>) -> Vec<String> {
    let webhooks = tree.count(root, &["modules", "webhooks"]);
    let mut notes = Vec::new();
    if webhooks > 0 {
        notes.push(format!(
            "{} of the descriptor: the product sets this up itself when the app is installed, and sends it past every gate. No \
             scope and no revocation here ends it; uninstalling does",
            counted(webhooks, "webhook")
        ));
    }
    if tree.at(root, &["lifecycle"]).is_some() {
        notes.push("when it is installed the product sends the app its shared secret, past every gate".to_owned());
    }
    notes
}

/// The host of an `https` URL, if it is one that a `webhook_host` can name.
fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    is_host_name(&host).then_some(host)
}
