//! An app's own manifest (Slack), descriptor (Atlassian Connect) or Forge manifest: what the app asks for, scope by scope.
//!
//! It tells what is asked and by whom, and decides nothing: which of it a catalog knows, and what is granted, is `first`'s.
//! A manifest is somebody else's text: bounded, strict, and what cannot be read is an error with its place.

mod connect;
pub mod first;
mod forge;
mod slack;
mod tree;

use std::path::Path;
use std::sync::Arc;

use crate::problem::{At, Problem, escaped};
use crate::yaml;
use tree::Tree;

/// The largest manifest, in bytes. Connect descriptors of large apps have some 100 KiB.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// The most scopes that one manifest asks for: no catalog knows as many as 512.
const ASKED_MAX: usize = 1_000;
/// No scope is longer, in bytes.
const SCOPE_BYTES_MAX: usize = 200;

/// What sort of manifest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ManifestKind {
    /// Slack's app manifest: display_information, oauth_config
    Slack,
    /// An Atlassian Connect descriptor (atlassian-connect.json): key, baseUrl, scopes
    Connect,
    /// A Forge manifest (manifest.yml): app, permissions, modules
    Forge,
}

impl ManifestKind {
    /// What people call it.
    pub fn called(self) -> &'static str {
        match self {
            Self::Slack => "Slack app manifest",
            Self::Connect => "Connect descriptor",
            Self::Forge => "Forge manifest",
        }
    }
}

/// A scope that is asked for, once, with all who are to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub scope: String,
    pub app: bool,
    pub user: bool,
}

/// What a manifest says.
#[derive(Debug)]
pub struct Manifest {
    pub kind: ManifestKind,
    /// What the app may be called in a policy, if its own words give a name.
    pub slug: Option<String>,
    pub title: Option<String>,
    pub asked: Vec<Asked>,
    /// The products that it is for, where it says so by something else than its scopes.
    pub products: Vec<&'static str>,
    /// Where its own server is, as a host: what a `webhook_host` would be limited to.
    pub host: Option<String>,
    /// What is to be known before anybody relies on the policy, each a sentence.
    pub notes: Vec<String>,
}

/// Reads a manifest; which sort it is, its content says, unless `kind` does.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn read(file: &Arc<Path>, bytes: &[u8], kind: Option<ManifestKind>) -> Result<Manifest, Vec<Problem>> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        let message = format!("the file has more than {MANIFEST_BYTES_MAX} bytes: no manifest is as large");
        return Err(vec![Problem::error(file, At::default(), message).help("name the app's manifest")]);
    }
    let text = yaml::decode(file, bytes).map_err(|problem| vec![problem])?;
    // JSON writes what lies beyond 16 bits as two escapes, which YAML does not read as one character.
    let text = &*tree::joined_surrogates(text);
    let mut problems = Vec::new();
    let sources = yaml::read(file, text, &mut problems);
    let [source] = &*sources else {
        if problems.is_empty() {
            let message = format!("the file holds {} documents, a manifest is one", sources.len());
            problems.push(Problem::error(file, At { line: 1, column: 1 }, message).help("name a file with one"));
        }
        return Err(with_lines(problems, text));
    };
    let tree = Tree::new(source);
    let manifest = tree.is_one_of_each().then(|| of(&tree, kind)).flatten();
    let mut found = tree.into_problems();
    problems.append(&mut found);
    match manifest.filter(|_| problems.is_empty()) {
        Some(manifest) => Ok(manifest),
        None => Err(with_lines(problems, text)),
    }
}

fn with_lines(mut problems: Vec<Problem>, text: &str) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.at);
    crate::problem::fill_snippets(&mut problems, text);
    problems
}

fn of(tree: &Tree<'_>, kind: Option<ManifestKind>) -> Option<Manifest> {
    let root = tree.root()?;
    let root = slack::within(tree, root);
    match kind.or_else(|| told(tree, root))? {
        ManifestKind::Slack => slack::read(tree, root),
        ManifestKind::Connect => connect::read(tree, root),
        ManifestKind::Forge => forge::read(tree, root),
    }
}

/// Which sort it is, by what it holds. What could be two sorts, or none, is said.
fn told(tree: &Tree<'_>, root: &yaml::node::Node<'_>) -> Option<ManifestKind> {
    let has = |key: &str| tree.field(root, key).is_some();
    let sorts = [
        (ManifestKind::Slack, has("display_information") || has("oauth_config")),
        (ManifestKind::Connect, has("key") && (has("baseUrl") || has("authentication") || has("vendor"))),
        (ManifestKind::Forge, has("permissions") || has("app") && has("modules")),
    ];
    let mut found = sorts.into_iter().filter_map(|(kind, is)| is.then_some(kind));
    match (found.next(), found.next()) {
        (Some(kind), None) => Some(kind),
        (Some(one), Some(other)) => {
            let message = format!("this could be a {} and a {}", one.called(), other.called());
            tree.error(root.at, message, "say which with --kind slack, connect or forge");
            None
        }
        (None, _) => {
            let help = "Slack's has `display_information` and `oauth_config`, a Connect descriptor `key` and `baseUrl`, \
                        Forge's `app` and `permissions`; --kind says which it is";
            tree.error(root.at, "this is no app manifest that is known", help);
            None
        }
    }
}

/// Gathers scopes: each once, in the order of the file.
#[derive(Debug, Default)]
struct Scopes(Vec<Asked>);

impl Scopes {
    /// Adds one; false where it can be none, which is noted.
    fn add(&mut self, tree: &Tree<'_>, at: At, scope: &str, (app, user): (bool, bool)) {
        if scope.is_empty() || scope.len() > SCOPE_BYTES_MAX || scope.trim() != scope {
            let shown: String = escaped(scope).chars().take(40).collect();
            let message = format!("`{shown}` can be no scope");
            let help = format!("a scope is a word of at most {SCOPE_BYTES_MAX} bytes, such as `chat:write`");
            return tree.error(at, message, &help);
        }
        let count = self.0.len();
        match self.0.iter_mut().find(|asked| asked.scope == scope) {
            Some(asked) => {
                asked.app |= app;
                asked.user |= user;
            }
            None if count < ASKED_MAX => self.0.push(Asked { scope: scope.to_owned(), app, user }),
            None => tree.error_once(at, &format!("more than {ASKED_MAX} scopes are asked for"), "no app needs as many"),
        }
    }
}

/// `1 webhook`, `2 webhooks`
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A word for the name of an app: lower case, `a-z0-9._-`.
pub fn slug(text: &str) -> Option<String> {
    /// Names longer than this are cut: they stand in every log line.
    const BYTES_MAX: usize = 60;
    let mut slug = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            kept @ ('a'..='z' | '0'..='9' | '.' | '_') => slug.push(kept),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() >= BYTES_MAX {
            break;
        }
    }
    let slug = slug.trim_start_matches(['.', '_', '-']).trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_word() {
        for (text, word) in [
            ("Assist (Halp)", Some("assist-halp")),
            ("com.example.Time_Tracker", Some("com.example.time_tracker")),
            ("  __ Ünicode Bot ", Some("nicode-bot")),
            ("日本", None),
            ("", None),
        ] {
            assert_eq!(slug(text).as_deref(), word, "{text}");
        }
        assert!(slug(&"a ".repeat(1_000)).unwrap().len() <= 60);
    }
}
