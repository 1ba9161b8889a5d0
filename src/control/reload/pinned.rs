//! What names in policies stand for, kept over a restart where a state folder is configured.
//!
//! The file is written whole, beside itself and renamed over, before what it says is in force: a name that was pinned
//! stays pinned to the same container whatever happens. One that cannot be read keeps the gate from starting, for the
//! names in it would be pinned anew, to whatever has them now.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authz::pins::{NameTold, Noted, Pin, PinnedName, Pins};
use crate::control::overrides::replace_through;
use crate::problem::{At, Problem, file_name};

/// Below the state folder.
pub const FILE: &str = "pins.json";

pub use crate::authz::pins::NameTold as Told;

#[derive(Debug)]
pub(super) struct Pinned {
    pins: Arc<Pins>,
    file: Option<PathBuf>,
    failing: bool,
    full: bool,
    /// What the containers of names that nothing is called by any more are called, as it was said.
    renamed: BTreeMap<PinnedName, Box<str>>,
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
        let file = state.map(|state| state.join(FILE));
        let mut pinned = Self { pins: Arc::default(), file, failing: false, full: false, renamed: BTreeMap::new() };
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
        self.renamed.retain(|name, _| written.contains(name));
        for told in told.iter().filter(|told| written.contains(&told.name)) {
            let noted = pins.note(&told.name, &told.id);
            self.say(&told.name, &told.id, noted, &pins);
            self.say_renamed(told);
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

    /// The rule holds on for the container; who reads it looks for a name that is not there. Said once for each new name.
    fn say_renamed(&mut self, told: &NameTold) {
        let PinnedName { product, tenant, kind, name } = &told.name;
        let Some(called) = told.renamed() else {
            self.renamed.remove(&told.name);
            return;
        };
        if self.renamed.get(&told.name).is_some_and(|said| **said == *called) {
            return;
        }
        self.renamed.insert(told.name.clone(), called.into());
        tracing::warn!(
            %product, %tenant, %kind, %name, id = &*told.id, called,
            "a container has another name now: rules by the old one hold on for it; write its id"
        );
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
        let told = |key: &str, id: &str| [NameTold { name: name(key), id: id.into(), called: None }];
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
    fn a_plain_rename_is_said_once_and_changes_nothing() {
        let written: BTreeSet<PinnedName> = [name("ENG")].into();
        let mut pinned = Pinned::load(None).unwrap();
        let called = |called: &str| [NameTold { name: name("ENG"), id: "71".into(), called: Some(called.into()) }];
        let lines = |pinned: &mut Pinned, told: &[NameTold]| {
            let said = Said::default();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(said.clone()).finish();
            tracing::subscriber::with_default(subscriber, || pinned.note(told, &written));
            let lines = said.0.lock().unwrap();
            String::from_utf8_lossy(&lines).lines().filter(|line| line.contains("WARN")).count()
        };
        assert_eq!(lines(&mut pinned, &called("ENG")), 0);
        let before = pinned.all();
        assert_eq!(lines(&mut pinned, &called("NEW")), 1);
        assert_eq!(lines(&mut pinned, &called("NEW")), 0, "once");
        assert_eq!(lines(&mut pinned, &called("NEWER")), 1);
        assert_eq!(lines(&mut pinned, &called("ENG")), 0);
        assert_eq!(lines(&mut pinned, &called("NEW")), 1, "it had its own name again meanwhile");
        assert_eq!(pinned.all(), before, "the rule stays with the container that it was pinned to");
    }

    #[derive(Clone, Default)]
    struct Said(Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl tracing_subscriber::fmt::MakeWriter<'_> for Said {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
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
