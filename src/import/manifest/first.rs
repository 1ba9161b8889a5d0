//! A first policy of what a manifest asks for: one document for each product, each scope a line of its own.
//!
//! Nothing is guessed: a scope that the catalog does not know is no grant but a comment, `required` is never written, and
//! no guard is granted. ADMIN of Connect is granted for the day after the install and no longer, or not at all.

mod grants;
mod write;

use std::sync::Arc;

use super::{Asked, Manifest, ManifestKind, forge};
use crate::authz::catalog::{Catalog, ScopeClass, VocabularySet, builtin};
use crate::problem::did_you_mean;

pub use grants::{Guarded, Line};

/// What a manifest does not say and a person may.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'s> {
    /// What to call the app, after the slash.
    pub name: Option<&'s str>,
    pub tenant: Option<&'s str>,
    pub contact: Option<&'s str>,
    /// Unix milliseconds.
    pub installed_at_ms: Option<i64>,
    /// The products that it is for; absent, as the manifest says.
    pub products: &'s [String],
    /// How the manifest is called in comments.
    pub from: &'s str,
}

/// The document of one product.
#[derive(Debug)]
pub struct First {
    /// `product/app`
    pub app: String,
    pub product: Arc<str>,
    /// What kind of credential it has, by the catalog's word.
    pub kind: &'static str,
    pub lines: Vec<Line>,
    pub left_out: Vec<LeftOut>,
    pub guarded: Vec<Guarded>,
    pub notes: Vec<String>,
    pub yaml: String,
}

/// A scope that is asked for and not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub scope: String,
    /// `app`, `user`, in words of the vendor's.
    pub whose: &'static str,
    pub why: String,
    pub did_you_mean: Option<String>,
}

/// The documents.
///
/// # Errors
/// What must be said before there can be any, as a sentence.
pub fn first(manifest: &Manifest, settings: Settings<'_>) -> Result<Vec<First>, String> {
    let products = products(manifest, settings.products)?;
    let slug = match settings.name {
        Some(name) => Some(name.to_owned()),
        None => manifest.slug.clone(),
    };
    let slug = slug.ok_or("the manifest does not say what the app is called: name it with --app NAME")?;
    let word = |first: char| first.is_ascii_lowercase() || first.is_ascii_digit();
    if !slug.starts_with(word) || !slug.chars().all(|c| word(c) || matches!(c, '.' | '_' | '-')) {
        return Err(format!("`{}` is no name of an app: write lower case, such as assist", slug.escape_default()));
    }
    let several = products.len() > 1;
    let firsts = products.into_iter().map(|product| {
        let catalog = builtin::catalog(product).ok_or_else(|| format!("there is no catalog of {product}"))?;
        let asked = asked_of(manifest, product, several);
        let draft = grants::draft(manifest, &catalog, &asked, settings);
        let (app, kind) = (format!("{product}/{slug}"), kind_of(manifest.kind, product));
        let mut first = First {
            app,
            kind,
            product: Arc::clone(&catalog.product),
            lines: draft.lines,
            left_out: draft.left_out,
            guarded: draft.guarded,
            notes: manifest.notes.clone(),
            yaml: String::new(),
        };
        first.yaml = write::yaml(&first, manifest, settings);
        Ok(first)
    });
    firsts.collect()
}

/// Which products it is for.
fn products<'m>(manifest: &'m Manifest, said: &'m [String]) -> Result<Vec<&'m str>, String> {
    if let Some(other) = said.iter().find(|product| !builtin::is_there(product) || product.contains('@')) {
        let known: Vec<&str> = builtin::products().map(|(product, _)| product).collect();
        return Err(format!(
            "there is no catalog of `{}`: --product is one of {}",
            other.escape_default(),
            known.join(", ")
        ));
    }
    if !said.is_empty() {
        return Ok(said.iter().map(String::as_str).collect());
    }
    if manifest.kind != ManifestKind::Forge {
        let none = "the descriptor does not say which product it is for: say --product jira, or confluence, or both";
        return if manifest.products.is_empty() { Err(none.to_owned()) } else { Ok(manifest.products.clone()) };
    }
    let known = ["jira", "confluence", "bitbucket"].into_iter().filter(|product| {
        let Some(catalog) = builtin::catalog(product) else { return false };
        manifest.asked.iter().any(|asked| names_product(&catalog, asked, product))
    });
    let known: Vec<&str> = known.collect();
    let none =
        "none of its scopes is known to the catalogs of Jira, Confluence and Bitbucket: say --product for one of them";
    if known.is_empty() { Err(none.to_owned()) } else { Ok(known) }
}

/// Whether a scope is a word of this product that rules its operations: `offline_access` is one of several.
fn names_product(catalog: &Catalog, asked: &Asked, product: &str) -> bool {
    forge::of_connect(asked).is_some_and(|(of, _)| of == product)
        || catalog.scopes.iter().any(|scope| *scope.name == asked.scope && scope.class == ScopeClass::Vendor)
}

/// What is asked of a product: of several each takes its own, and all take what is nobody's, so that none is lost.
fn asked_of(manifest: &Manifest, product: &str, several: bool) -> Vec<Asked> {
    let own = |asked: &&Asked| {
        let of_others = ["jira", "confluence", "bitbucket"]
            .into_iter()
            .filter(|other| *other != product)
            .any(|other| builtin::catalog(other).is_some_and(|catalog| names_product(&catalog, asked, other)));
        let is_own = builtin::catalog(product).is_some_and(|catalog| names_product(&catalog, asked, product));
        is_own || !of_others
    };
    match manifest.kind {
        ManifestKind::Forge if several => manifest.asked.iter().filter(own).cloned().collect(),
        ManifestKind::Forge | ManifestKind::Slack | ManifestKind::Connect => manifest.asked.clone(),
    }
}

fn kind_of(kind: ManifestKind, product: &str) -> &'static str {
    match (kind, product) {
        (ManifestKind::Slack, _) => "bot",
        (ManifestKind::Connect, "bitbucket") => "oauth",
        (ManifestKind::Connect, _) => "connect",
        (ManifestKind::Forge, "bitbucket") => "forge",
        (ManifestKind::Forge, _) => "oauth",
    }
}

/// The vocabularies that a kind of credential can use.
fn vocabularies(catalog: &Catalog, kind: &str) -> VocabularySet {
    let kind = catalog.kinds.iter().find(|one| &*one.name == kind);
    kind.map_or(VocabularySet(0), |kind| kind.vocabularies)
}

/// The catalog's word nearest to one that it does not know.
fn near(catalog: &Catalog, scope: &str) -> Option<String> {
    let grantable =
        catalog.scopes.iter().filter(|scope| matches!(scope.class, ScopeClass::Vendor | ScopeClass::Side(_)));
    did_you_mean(scope, grantable.map(|scope| &*scope.name)).map(str::to_owned)
}
