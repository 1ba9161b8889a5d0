//! What names in policies stand for, kept over a restart where a state folder is configured.
//!
//! The file is written whole, beside itself and renamed over, before what it says is in force: a name that was pinned
//! stays pinned to the same container whatever happens. One that cannot be read keeps the gate from starting, for the
//! names in it would be pinned anew, to whatever has them now.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authz::pins::{Noted, Pin, PinnedName, Pins};
use crate::control::overrides::replace_through;
use crate::problem::{At, Problem, file_name};

/// Below the state folder.
pub const FILE: &str = "pins.json";

/// What a name stood for when it was looked up.
pub type Told = (PinnedName, Box<str>);

#[derive(Debug)]
pub(super) struct Pinned {
    pins: Arc<Pins>,
    file: Option<PathBuf>,
    failing: bool,
    full: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    pins: Vec<KeptPin>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPin {
    product: Box<str>,
    tenant: Box<str>,
    kind: Box<str>,
    name: Box<str>,
    id: Box<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Box<str>>,
}

const VERSION: u32 = 1;

impl Pinned {
    pub(super) fn load(state: Option<&Path>) -> Result<Self, Problem> {
        let mut pinned =
            Self { pins: Arc::default(), file: state.map(|state| state.join(FILE)), failing: false, full: false };
        let Some(path) = &pinned.file else { return Ok(pinned) };
        let problem = |why: String| {
            let problem = Problem::error(&file_name(path), At::default(), format!("cannot be read: {why}"));
            problem.help("restore the file, or take it away: then every name is pinned to what has it now")
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(pinned),
            Err(error) => return Err(problem(error.to_string())),
        };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
        if kept.version != VERSION {
            return Err(problem(format!("version {} is not known", kept.version)));
        }
        let mut pins = Pins::default();
        for KeptPin { product, tenant, kind, name, id, others } in kept.pins {
            pins.restore(&PinnedName { product, tenant, kind, name }, &Pin { id, others });
        }
        pinned.pins = Arc::new(pins);
        Ok(pinned)
    }

    pub(super) fn all(&self) -> Arc<Pins> {
        Arc::clone(&self.pins)
    }

    /// Notes what names stand for, and forgets those that are not written any more. Says whether anything changed.
    pub(super) fn note(&mut self, told: &[Told], written: &BTreeSet<PinnedName>) -> bool {
        let mut pins = Pins::clone(&self.pins);
        let mut changed = pins.keep_only(|name| written.contains(name));
        for (name, id) in told.iter().filter(|(name, _)| written.contains(name)) {
            let noted = pins.note(name, id);
            self.say(name, id, noted, &pins);
            changed |= matches!(noted, Noted::Pinned | Noted::ChangedHands);
        }
        if changed {
            self.pins = Arc::new(pins);
            self.keep();
        }
        changed
    }

    fn say(&mut self, name: &PinnedName, id: &str, noted: Noted, pins: &Pins) {
        let PinnedName { product, tenant, kind, name } = name;
        match noted {
            Noted::Known => {}
            Noted::Pinned => tracing::info!(%product, %tenant, %kind, %name, id, "a name is pinned"),
            Noted::ChangedHands => {
                let first = pins.get(product, tenant, kind, name).map_or("?", |pin| &pin.id);
                tracing::warn!(
                    %product, %tenant, %kind, %name, id, pinned = first,
                    "a name is another container's now: grants stay with the one that it was pinned to, revocations \
                     hold for both; write its id"
                );
            }
            Noted::Full => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!(%product, %tenant, %kind, %name, "no more names are pinned: write ids");
                }
            }
        }
    }

    fn keep(&mut self) {
        let Some(path) = &self.file else { return };
        match write(path, &self.pins) {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!(file = %path.display(), %error, "what names stand for is not kept over a restart");
            }
            Err(_) => {}
        }
    }
}

fn write(path: &Path, pins: &Pins) -> io::Result<()> {
    let pins = pins.iter().map(|(PinnedName { product, tenant, kind, name }, pin)| KeptPin {
        product,
        tenant,
        kind,
        name,
        id: pin.id.clone(),
        others: pin.others.clone(),
    });
    let text = serde_json::to_vec_pretty(&Kept { version: VERSION, pins: pins.collect() })?;
    replace_through(&path.with_extension("json.new"), path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PinnedName {
        PinnedName { product: "wiki".into(), tenant: "acme".into(), kind: "space".into(), name: name.into() }
    }

    #[test]
    fn what_was_pinned_is_pinned_to_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let written: BTreeSet<PinnedName> = ["ENG", "HR"].map(name).into();
        let told = |key: &str, id: &str| [(name(key), Box::from(id))];
        let mut pinned = Pinned::load(Some(folder.path())).unwrap();
        assert!(pinned.note(&told("ENG", "71"), &written) && pinned.note(&told("ENG", "72"), &written));
        assert!(!pinned.note(&told("ENG", "72"), &written));
        assert!(!pinned.note(&told("OPS", "9"), &written), "no policy writes it");
        let mut again = Pinned::load(Some(folder.path())).unwrap();
        assert_eq!(again.all(), pinned.all());
        let pin = again.all().get("wiki", "acme", "space", "ENG").cloned().unwrap();
        assert_eq!((&*pin.id, pin.others.len()), ("71", 1));
        assert!(again.note(&[], &[name("HR")].into()), "what is not written any more is forgotten");
        assert!(Pinned::load(Some(folder.path())).unwrap().all().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_the_gate_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"version": 2, "pins": []}"#, r#"{"version": 1, "pins": [{"name": "ENG"}]}"#] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let problem = Pinned::load(Some(folder.path())).unwrap_err();
            assert!(problem.is_error() && problem.message.starts_with("cannot be read"), "{text}: {problem:?}");
        }
    }
}
