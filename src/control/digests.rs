//! Which catalogs a gate last ran with, kept in its state folder: a start says so where one is another now, since what
//! an operation needs, and what it touches, may be another with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::authz::catalog::Catalog;

const FILE: &str = "catalogs.json";
/// A product takes about 120 bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// One catalog, as far as two can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub release: String,
    pub digest: String,
}

/// A catalog that is another one than last time.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    pub product: String,
    pub before: Known,
    pub now: Known,
}

/// What changed since the gate last ran; what it runs with now is kept for the next time.
///
/// # Errors
/// What was kept cannot be read, or the new cannot be written. What cannot be read is written anew.
pub fn changed<'c>(state: &Path, catalogs: impl Iterator<Item = &'c Catalog>) -> io::Result<Vec<Changed>> {
    let now: BTreeMap<String, Known> = catalogs.map(|catalog| (catalog.product.to_string(), known(catalog))).collect();
    let before = read(state);
    write(state, &now)?;
    let before = before?;
    let differs = |(product, now): (&String, &Known)| {
        let before = before.get(product).filter(|before| *before != now)?;
        Some(Changed { product: product.clone(), before: before.clone(), now: now.clone() })
    };
    Ok(now.iter().filter_map(differs).collect())
}

fn known(catalog: &Catalog) -> Known {
    Known { release: catalog.release.clone(), digest: catalog.digest.clone() }
}

/// Nothing before the first start.
fn read(state: &Path) -> io::Result<BTreeMap<String, Known>> {
    let file = match File::open(state.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Whole or not at all.
fn write(state: &Path, now: &BTreeMap<String, Known>) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(now)?;
    let beside = state.join(format!("{FILE}.new"));
    fs::write(&beside, text)?;
    fs::rename(beside, state.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::load::Source;

    fn catalog(release: &str) -> Catalog {
        let text = format!(
            "version: 1\nproduct: own\nrelease: '{release}'\ndialect: problem\nvocabularies: [own]\n\
             kinds: [{{name: token, vocabularies: [own], actor: app}}]\nscopes: []\noperations: []\n"
        );
        Catalog::parse(Source { path: Path::new("own.yaml"), text: &text }, None).unwrap()
    }

    #[test]
    fn a_start_with_another_catalog_says_which() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (catalog("1"), catalog("2"));
        assert_eq!(changed(state.path(), [&one].into_iter()).unwrap(), [], "there was none before");
        assert_eq!(changed(state.path(), [&one].into_iter()).unwrap(), []);
        let said = changed(state.path(), [&two].into_iter()).unwrap();
        assert_eq!(said, [Changed { product: "own".to_owned(), before: known(&one), now: known(&two) }]);
        assert_ne!(said[0].before.digest, said[0].now.digest);
        assert_eq!(changed(state.path(), [&two].into_iter()).unwrap(), [], "it is said once");
    }

    #[test]
    fn what_was_kept_and_cannot_be_read_is_said_once() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "{").unwrap();
        let one = catalog("1");
        assert!(changed(state.path(), [&one].into_iter()).is_err());
        assert_eq!(changed(state.path(), [&one].into_iter()).unwrap(), []);
    }
}
