//! Which file goes where: flat entries, a file over the limit parted between its documents, and the entries laid into
//! ConfigMaps.
//!
//! Which map an entry is in hangs on its key alone. Two maps are two writes to the API server, so an edit must not move
//! what it does not touch from one to the other: for a moment it would be in neither.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::flat::{self, KEY_BYTES_MAX};
use super::{MAP_BYTES_MAX, PolicyFile};
use crate::authz::policy::document::{Body, Document};
use crate::authz::policy::file::{Origin, parse};
use crate::problem::{escaped, file_name};
use crate::yaml;

/// A pod names each; what needs more is no matter for ConfigMaps.
pub const MAPS_MAX: u16 = 256;

/// One key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// What it was in the policy folder; of a parted file, with the document's head behind it.
    pub path: String,
    pub text: Arc<str>,
}

/// One ConfigMap.
#[derive(Debug, Default)]
pub struct Map<'e> {
    pub entries: Vec<&'e Entry>,
    /// Of keys and values.
    pub bytes: usize,
}

impl Entry {
    fn new(path: String, text: Arc<str>) -> Self {
        Self { key: flat::key(&path), path, text }
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.text.len()
    }
}

/// The entries of all files, by key.
///
/// # Errors
/// What cannot be an entry, and what to do about it.
pub fn entries(files: &[PolicyFile]) -> Result<Vec<Entry>, String> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for file in files {
        let whole = Entry::new(file.path.clone(), Arc::clone(&file.text));
        let parts = if whole.bytes() > MAP_BYTES_MAX { parted(file)? } else { vec![whole] };
        for entry in parts {
            if entry.key.len() > KEY_BYTES_MAX {
                let (path, bytes) = (&entry.path, entry.key.len());
                return Err(format!(
                    "{path}: its key would have {bytes} bytes, {KEY_BYTES_MAX} are allowed: rename it"
                ));
            }
            if let Some(other) = entries.insert(entry.key.clone(), entry) {
                return Err(format!("two documents would be {}: part their file by hand", other.path));
            }
        }
    }
    Ok(entries.into_values().collect())
}

/// A file that is too large for a ConfigMap, document by document. Each is named after what it is about, not after its
/// place, so that one that is put in does not rename those behind it.
fn parted(file: &PolicyFile) -> Result<Vec<Entry>, String> {
    let PolicyFile { path, text } = file;
    let documents = yaml::documents(text);
    if documents.len() < 2 {
        let bytes = text.len();
        return Err(format!(
            "{path}: its one document has {bytes} bytes, and a ConfigMap holds {MAP_BYTES_MAX}: write it as several \
             documents with the same head (an app's grants may stand in any number of them)"
        ));
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut entries = Vec::with_capacity(documents.len());
    for document in documents {
        let about = about(path, document)?;
        let number = seen.entry(about.clone()).or_default();
        *number += 1;
        let name = if *number == 1 { format!("{path}/{about}.yaml") } else { format!("{path}/{about}/{number}.yaml") };
        let entry = Entry::new(name, document.into());
        if entry.bytes() > MAP_BYTES_MAX {
            let (path, bytes) = (&entry.path, document.len());
            return Err(format!(
                "{path}: this document has {bytes} bytes, and a ConfigMap holds {MAP_BYTES_MAX}: write it as several \
                 documents with the same head"
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// `guardrail/no-standing-admin`
fn about(path: &str, text: &str) -> Result<String, String> {
    let parsed = parse(&file_name(Path::new(path)), text, Origin::Policy);
    match parsed.documents.as_slice() {
        [Document { body, .. }] => Ok(match body {
            Body::App(app) => format!("app/{}", app.app.value),
            Body::Guardrail(guardrail) => format!("guardrail/{}", guardrail.guardrail.value),
            Body::Set(set) => format!("set/{}/{}", set.tenant.value, set.set.value),
            Body::Group(group) => format!("group/{}/{}", group.tenant.value, group.group.value),
            Body::Names(names) => format!("names/{}/{}", names.product.value, names.tenant.value),
        }),
        // Each document is read alone everywhere, so this is a fault of ours.
        _ => Err(format!("{path}: a document of it cannot be read alone: part the file by hand")),
    }
}

/// The entries in as few maps as hold all, of 1, 2, 4, …, or in so many as are asked for.
///
/// # Errors
/// They do not fit.
pub fn maps(entries: &[Entry], wanted: Option<usize>) -> Result<Vec<Map<'_>>, String> {
    let most = usize::from(MAPS_MAX);
    let all: usize = entries.iter().map(Entry::bytes).sum();
    if let Some(count) = wanted {
        return fitting(entries, count).ok_or_else(|| {
            format!("{all} bytes do not fit {count} maps of {MAP_BYTES_MAX}: leave --maps away, or ask for more")
        });
    }
    let counts = std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count <= most);
    counts.filter(|count| all / count <= MAP_BYTES_MAX).find_map(|count| fitting(entries, count)).ok_or_else(|| {
        format!("{all} bytes do not fit {most} ConfigMaps: bring the folder to the pod as a volume of its own")
    })
}

fn fitting(entries: &[Entry], count: usize) -> Option<Vec<Map<'_>>> {
    let mut maps: Vec<Map<'_>> = (0..count).map(|_| Map::default()).collect();
    for entry in entries {
        let map = maps.get_mut(place(&entry.key, count))?;
        map.bytes += entry.bytes();
        map.entries.push(entry);
    }
    maps.iter().all(|map| map.bytes <= MAP_BYTES_MAX).then_some(maps)
}

/// A hash spreads evenly whatever people call their files.
fn place(key: &str, count: usize) -> usize {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let [first, second, third, fourth, ..] = digest;
    usize::try_from(u32::from_be_bytes([first, second, third, fourth])).unwrap_or(0) % count.max(1)
}

/// All files in one text, each behind a comment that names it.
pub fn joined(files: &[PolicyFile]) -> String {
    let mut text = String::new();
    for PolicyFile { path, text: own } in files {
        let own = own.trim_start_matches('\u{feff}');
        // Before the marker the comment still belongs to the document above, whose last line it cannot change.
        text.push_str(&format!("# {}\n", escaped(path)));
        if !yaml::documents(own).first().is_some_and(|document| yaml::is_marker(document)) {
            text.push_str("---\n");
        }
        text.push_str(own);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> PolicyFile {
        PolicyFile { path: path.to_owned(), text: text.into() }
    }

    fn set(name: &str, bytes: usize) -> String {
        format!("version: 1\nset: {name}\ntenant: acme\nproject: [A]\n#{}\n", "x".repeat(bytes))
    }

    #[test]
    fn a_file_is_one_entry_as_it_stands() {
        let text = "# why\n---\nversion: 1\n";
        let entries = entries(&[file("a/b.yaml", text)]).unwrap();
        assert_eq!((entries[0].key.as_str(), &*entries[0].text), ("a__b.yaml", text));
    }

    #[test]
    fn a_file_over_the_limit_is_parted_between_its_documents_and_nowhere_else() {
        let documents = [set("one", 600_000), set("two", 300_000), set("two", 200_000)];
        let text = documents.join("---\n");
        let parts = entries(&[file("big.yaml", &text)]).unwrap();
        let keys: Vec<_> = parts.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(
            keys,
            ["big.yaml__set__acme__one.yaml", "big.yaml__set__acme__two.yaml", "big.yaml__set__acme__two__2.yaml"]
        );
        assert_eq!(parts.iter().map(|entry| &*entry.text).collect::<String>(), text);
        let one = entries(&[file("big.yaml", &set("one", MAP_BYTES_MAX))]).unwrap_err();
        assert!(one.contains("several documents with the same head"), "{one}");
        let two = format!("{}---\n{}", set("one", 1), set("two", MAP_BYTES_MAX));
        let two = entries(&[file("big.yaml", &two)]).unwrap_err();
        assert!(two.contains("big.yaml/set/acme/two.yaml: this document has"), "{two}");
    }

    #[test]
    fn a_name_that_no_key_can_hold_is_refused() {
        let long = format!("{}.yaml", "a/".repeat(100));
        assert!(entries(&[file(&long, "version: 1\n")]).unwrap_err().contains("rename it"));
    }

    #[test]
    fn an_entry_stays_in_its_map_whatever_happens_to_the_others() {
        let files: Vec<_> = (0..400).map(|n| file(&format!("apps/{n}.yaml"), &"#".repeat(9_000))).collect();
        let all = entries(&files).unwrap();
        let place_of = |entries: &[Entry], key: &str| {
            let maps = maps(entries, Some(8)).unwrap();
            assert!(maps.iter().all(|map| map.bytes <= MAP_BYTES_MAX));
            maps.iter().position(|map| map.entries.iter().any(|entry| entry.key == key)).unwrap()
        };
        let fewer = entries(&files[..390]).unwrap();
        for entry in &fewer {
            assert_eq!(place_of(&all, &entry.key), place_of(&fewer, &entry.key));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let files: Vec<_> = (0..30).map(|n| file(&format!("{n}.yaml"), &"#".repeat(90_000))).collect();
        let entries = entries(&files).unwrap();
        assert!(maps(&entries, Some(2)).unwrap_err().contains("leave --maps away"));
        assert_eq!(maps(&entries, Some(9)).unwrap().len(), 9);
        let count = maps(&entries, None).unwrap().len();
        assert!(count.is_power_of_two() && count >= 4, "{count}");
        assert_eq!(maps(&[], None).unwrap().len(), 1);
    }

    #[test]
    fn joined_files_keep_their_documents_apart() {
        let text = joined(&[
            file("a.yaml", "\u{feff}a: 1"),
            file("b.yaml", "# b\n---\nb: 1\n--- {c: 1}\n"),
            file("c.yaml", "d: |\n  text\n\n"),
        ]);
        assert_eq!(text, "# a.yaml\n---\na: 1\n# b.yaml\n# b\n---\nb: 1\n--- {c: 1}\n# c.yaml\n---\nd: |\n  text\n\n");
        assert_eq!(yaml::documents(&text).len(), 4);
    }
}
