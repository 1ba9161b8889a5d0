//! Turns vendors' API descriptions into catalogs: facts only (method, path, scopes, places), never texts. What apps' own
//! manifests ask for becomes first policies (`manifest`).
//!
//! The same description gives the same bytes. What a description cannot say is left unknown, counted, and
//! told to the person who imports: it is for the overlay to say. Which scopes are alternatives and which
//! are all needed is a rule of each vendor's module, never guessed from the shape.

mod atlassian;
mod description;
mod document;
mod draft;
pub mod manifest;
mod openapi;
mod slack;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

pub use document::DESCRIPTION_BYTES_MAX;
pub use draft::Note;
pub use openapi::Combine;

use crate::authz::catalog::Catalog;
use crate::authz::catalog::load::Source;

/// Whose descriptions can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Vendor {
    /// Jira's platform API, Bitbucket Cloud, or Confluence (v1 and v2 in one catalog: give both)
    Atlassian,
    /// Slack's methods, as JSON
    Slack,
    /// Any OpenAPI 3.0 or 3.1 or Swagger 2.0 description, as JSON or YAML
    Openapi,
    /// A table of endpoints, its columns parted by tabs: `verb` or `method`, `path`, and `id` (or Buddy's `service` and
    /// `go_method`). It states no scopes
    Table,
}

/// What a description cannot say and the person who imports does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'s> {
    /// What to call this release; absent, the one that the importer was written for, or the description's own.
    pub release: Option<&'s str>,
    /// What to call the product, where the description is anybody's.
    pub product: Option<&'s str>,
    /// Where an operation states its scopes: `security`, the name of an extension, or a JSON pointer.
    pub scopes_from: Option<&'s str>,
    pub combine: Option<Combine>,
}

/// A catalog as text, and what the description does not say.
#[derive(Debug)]
pub struct Imported {
    pub yaml: String,
    pub notes: Vec<Note>,
    /// No scope is stated anywhere: the catalog refuses everything.
    pub no_scopes: bool,
}

/// Why a description cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not YAML: {0}")]
    Yaml(String),
    #[error("{0}")]
    Shape(String),
}

/// Imports descriptions: one, or Confluence's two.
pub fn import(vendor: Vendor, texts: &[&str], settings: Settings<'_>) -> Result<Imported, ImportError> {
    let mut notes = Notes::default();
    let release = settings.release;
    let draft = match vendor {
        Vendor::Atlassian => {
            let read = texts.iter().map(|text| document::json(text)).collect::<Result<Vec<_>, _>>()?;
            atlassian::import(&read, release, &mut notes)?
        }
        Vendor::Slack => slack::import(&document::json(only(texts)?)?, release, &mut notes)?,
        Vendor::Openapi => openapi::import(&document::any(only(texts)?)?, settings, &mut notes)?,
        Vendor::Table => table::import(only(texts)?, settings, &mut notes)?,
    };
    let yaml = draft.to_yaml();
    check(&yaml)?;
    let no_scopes = draft.operations.iter().all(|operation| operation.needs.is_empty());
    Ok(Imported { yaml, notes: notes.finish(), no_scopes })
}

fn only<'t>(texts: &[&'t str]) -> Result<&'t str, ImportError> {
    match texts {
        [text] => Ok(text),
        _ => Err(ImportError::Shape("one description makes a catalog".to_owned())),
    }
}

/// What is written must be a catalog: a description holds whatever its author liked.
fn check(yaml: &str) -> Result<(), ImportError> {
    let path = Path::new("imported.yaml");
    match Catalog::parse(Source { path, text: yaml }, None) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let said: Vec<String> = problems.iter().take(5).map(|problem| problem.message.clone()).collect();
            Err(ImportError::Shape(format!("the description makes no catalog: {}", said.join("; "))))
        }
    }
}

/// Notes by what they say, with the operations each is about.
#[derive(Debug, Default)]
struct Notes(BTreeMap<&'static str, Vec<String>>);

impl Notes {
    fn add(&mut self, what: &'static str, about: impl Into<String>) {
        self.0.entry(what).or_default().push(about.into());
    }

    fn finish(self) -> Vec<Note> {
        self.0.into_iter().map(|(what, about)| Note { what, about }).collect()
    }
}
