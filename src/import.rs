//! Turns vendors' API descriptions into catalogs: facts only (method, path, scopes, places), never texts.
//!
//! The same description gives the same bytes. What a description cannot say is left unknown, counted, and
//! told to the person who imports: it is for the overlay to say. Which scopes are alternatives and which
//! are all needed is a rule of each vendor's module, never guessed from the shape.

mod atlassian;
mod draft;
mod openapi;
mod slack;

use std::collections::BTreeMap;

pub use draft::Note;

/// Whose descriptions can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Vendor {
    Atlassian,
    Slack,
}

/// A catalog as text, and what the description does not say.
#[derive(Debug)]
pub struct Imported {
    pub yaml: String,
    pub notes: Vec<Note>,
}

/// Why a description cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Shape(String),
}

/// Imports a description. `release` names it; without it, the release that the importer was written for.
pub fn import(vendor: Vendor, description: &str, release: Option<&str>) -> Result<Imported, ImportError> {
    let description: serde_json::Value = serde_json::from_str(description)?;
    let (draft, notes) = match vendor {
        Vendor::Atlassian => atlassian::import(&description, release)?,
        Vendor::Slack => slack::import(&description, release)?,
    };
    Ok(Imported { yaml: draft.to_yaml(), notes })
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
