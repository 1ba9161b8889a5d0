//! Slack's app manifest: scopes by token kind, and what else it has Slack send or do.

use super::tree::Tree;
use super::{Manifest, ManifestKind, Scopes, counted, slug};
use crate::problem::escaped;
use crate::yaml::node::Node;

/// The manifest within the answer of `apps.manifest.export`, or the whole.
pub(super) fn within<'n>(tree: &Tree<'_>, root: &'n Node<'n>) -> &'n Node<'n> {
    let inner = tree.field(root, "manifest").filter(|inner| tree.field(inner, "display_information").is_some());
    inner.unwrap_or(root)
}

pub(super) fn read<'n>(tree: &'n Tree<'_>, root: &'n Node<'n>) -> Option<Manifest> {
    let title = tree.text_at(root, &["display_information", "name"]).map(str::to_owned);
    let mut scopes = Scopes::default();
    let mut notes = Vec::new();
    for (key, list) in tree.entries(root, &["oauth_config", "scopes"]) {
        let whose = match key {
            "bot" | "bot_optional" => (true, false),
            "user" | "user_optional" => (false, true),
            other => {
                let other: String = escaped(other).chars().take(40).collect();
                notes.push(format!(
                    "`oauth_config.scopes.{other}` is of a token kind that is not known: it was not read"
                ));
                continue;
            }
        };
        for (scope, at) in tree.texts(list, key) {
            scopes.add(tree, at, scope, whose);
        }
    }
    notes.extend(said(tree, root));
    Some(Manifest {
        kind: ManifestKind::Slack,
        slug: title.as_deref().and_then(slug),
        title,
        asked: scopes.0,
        products: vec!["slack"],
        host: None,
        notes,
    })
}

/// What no scope says and no gate sees.
fn said(tree: &Tree<'_>, root: &Node<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let events = tree.count(root, &["settings", "event_subscriptions", "bot_events"])
        + tree.count(root, &["settings", "event_subscriptions", "user_events"]);
    if events > 0 {
        notes.push(format!(
            "{}: Slack sends them to the app past every gate. A revocation here ends none",
            counted(events, "subscribed event")
        ));
    }
    let commands = tree.count(root, &["features", "slash_commands"]) + tree.count(root, &["features", "shortcuts"]);
    if commands > 0 {
        notes.push(format!(
            "{}: what people do there is sent to the app past every gate",
            counted(commands, "slash command or shortcut")
        ));
    }
    if tree.is_true(root, &["settings", "socket_mode_enabled"]) {
        let how = "its app-level token (kind: app_level) opens them with apps.connections.open, which needs gate:deliver and gate:mint";
        notes.push(format!("socket mode: {how}"));
    }
    if tree.is_true(root, &["settings", "token_rotation_enabled"]) {
        notes.push(
            "its tokens are renewed every 12 hours: whoever renews them writes the file behind the gate key, which is read again"
                .to_owned(),
        );
    }
    if tree.is_true(root, &["settings", "org_deploy_enabled"]) {
        notes.push("it may be installed for a whole organization: write an installation for each workspace".to_owned());
    }
    if tree.is_true(root, &["settings", "is_hosted"]) {
        notes.push("it runs at Slack itself: no gate can stand before it".to_owned());
    }
    notes
}
