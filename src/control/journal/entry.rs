//! One entry of the journal, its canonical form, and the chain that entries make.
//!
//! The canonical form is the JSON of the fields in the order in which they are written here. It is stored as it was hashed,
//! so that no later release need write it the same way to check it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// SHA-256.
pub type Hash = [u8; 32];

/// Before the first entry of all.
pub const GENESIS: Hash = [0; 32];

/// What changed the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The gate started, with another policy than the last one.
    Start,
    /// A file of the policy folder.
    File,
    /// What a command wrote.
    Override,
    /// A time that a rule names has come.
    Clock,
    /// An act over the admin listener.
    Api,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::File => "file",
            Self::Override => "override",
            Self::Clock => "clock",
            Self::Api => "api",
        }
    }
}

/// Which folder a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Folder {
    Policy,
    Override,
}

impl Folder {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Override => "override",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Policy, Self::Override].into_iter().find(|folder| folder.as_str() == word)
    }
}

/// The files in force by folder and path below it, each with the SHA-256 of its text in hex.
pub type Manifest = BTreeMap<(Folder, String), String>;

/// A file that came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    pub folder: Folder,
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// One change of what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    pub sequence: u64,
    /// Unix time in milliseconds.
    pub time_ms: i64,
    pub source: Source,
    /// Who: `by` of the rules that are new, else the files.
    pub by: Vec<String>,
    /// Who, as the admin API knows them: nobody can say this of themselves. Empty where no act came over it.
    #[serde(default)]
    pub principals: Vec<String>,
    /// Why: `reason` of the rules that are new.
    pub reason: Vec<String>,
    /// The cells lost and gained, in words.
    pub changes: Vec<String>,
    /// So many sentences or apps besides.
    pub changes_more: usize,
    pub generation: u64,
    /// Of the snapshot.
    pub digest: String,
    pub files: Vec<FileChange>,
    /// Over all files in force: what replaying `files` must come to.
    pub files_digest: String,
    /// So many earlier changes could not be written in time and are told here together.
    pub folded: u64,
}

impl Entry {
    /// What is hashed and stored.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
    pub fn canonical(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// The hash of an entry that follows another.
pub fn link(previous: &Hash, canonical: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(canonical.as_bytes());
    hash.finalize().into()
}

/// Over all files of a manifest.
pub fn manifest_digest(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    for ((folder, path), digest) in manifest {
        for part in [folder.as_str(), path, digest] {
            // No part may run into the next.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex(&hash.finalize())
}

/// What makes one manifest of another.
pub fn changes(before: &Manifest, after: &Manifest) -> Vec<FileChange> {
    let changed = after.iter().filter(|(key, digest)| before.get(*key) != Some(digest));
    let changed = changed.map(|((folder, path), digest)| FileChange {
        folder: *folder,
        path: path.clone(),
        before: before.get(&(*folder, path.clone())).cloned(),
        after: Some(digest.clone()),
    });
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone = gone.map(|((folder, path), digest)| FileChange {
        folder: *folder,
        path: path.clone(),
        before: Some(digest.clone()),
        after: None,
    });
    changed.chain(gone).collect()
}

/// Follows the changes of one entry. `false`: they do not fit what was there.
pub fn replay(manifest: &mut Manifest, files: &[FileChange]) -> bool {
    let mut fits = true;
    for file in files {
        let key = (file.folder, file.path.clone());
        let before = match &file.after {
            Some(digest) => manifest.insert(key, digest.clone()),
            None => manifest.remove(&key),
        };
        fits &= before == file.before;
    }
    fits
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn text_digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
