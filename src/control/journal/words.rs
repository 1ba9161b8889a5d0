//! Who changed the policy, why, and what of it changed, read out of the texts of files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::entry::Folder;
use crate::authz::policy::cells::{self, Changes};
use crate::authz::policy::compile::Catalogs;
use crate::authz::policy::document::{Body, Signed};
use crate::authz::policy::file::{Origin, parse};
use crate::authz::policy::link::Secrets;
use crate::authz::policy::store::{Change, Content, Store};
use crate::authz::snapshot::Snapshot;

/// A file's folder, path and text.
pub type Text = (Folder, String, Arc<str>);

pub fn origin(folder: Folder) -> Origin {
    match folder {
        Folder::Policy => Origin::Policy,
        Folder::Override => Origin::Override,
    }
}

/// Who and why, by the rules of a file that were not in it before.
pub fn signed(
    folder: Folder,
    path: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Vec<(Option<String>, Option<String>)> {
    let all = |text: Option<&str>| {
        let file: Arc<Path> = Path::new(path).into();
        text.map(|text| signatures(&file, text, origin(folder))).unwrap_or_default()
    };
    let (before, after) = (all(before), all(after));
    after.difference(&before).map(|(by, _, reason)| (by.clone(), reason.clone())).collect()
}

/// `by`, `at` and `reason`.
type Signature = (Option<String>, Option<i64>, Option<String>);

fn signatures(file: &Arc<Path>, text: &str, origin: Origin) -> BTreeSet<Signature> {
    let of = |signed: &Signed, reason: Option<&String>| (signed.by.clone(), signed.at, reason.cloned());
    let mut all = BTreeSet::new();
    for document in parse(file, text, origin).documents {
        let revocations = match &document.body {
            Body::App(app) => {
                all.extend(app.grants.iter().map(|rule| of(&rule.signed, rule.purpose.as_ref())));
                all.extend(app.install_windows.iter().map(|window| of(&window.signed, Some(&window.reason))));
                all.extend(app.suspensions.iter().map(|one| of(&one.signed, Some(&one.reason.value))));
                &app.revocations
            }
            Body::Guardrail(guardrail) => &guardrail.revocations,
            Body::Set(_) | Body::Group(_) | Body::Names(_) => continue,
        };
        all.extend(revocations.iter().map(|rule| of(&rule.signed, Some(&rule.reason.value))));
    }
    all
}

/// What texts say together. `None` where they do not fit: then nothing can be said.
pub fn snapshot(catalogs: &Arc<Catalogs>, texts: &[Text], now_ms: i64) -> Option<Snapshot> {
    let changes = texts.iter().map(|(folder, path, text)| Change {
        // The same path may be in both folders.
        file: Path::new(folder.as_str()).join(path).into(),
        origin: origin(*folder),
        content: Content::Text(Arc::clone(text)),
    });
    let mut store = Store::new(Arc::clone(catalogs));
    store.apply(changes.collect(), now_ms);
    let fits = store.is_readable() && !store.problems().iter().any(crate::problem::Problem::is_error);
    fits.then(|| store.settle());
    let snapshot = store.snapshot(&Secrets::new());
    snapshot.states.is_some().then_some(snapshot)
}

/// Which cells differ between what texts said and what is in force now.
pub fn between(
    catalogs: &Arc<Catalogs>,
    before: &[Text],
    now: &Snapshot,
    now_ms: i64,
    lines_max: usize,
) -> Option<Changes> {
    let before = snapshot(catalogs, before, now_ms)?;
    Some(cells::between(before.states.as_ref(), now.states.as_ref(), catalogs, lines_max))
}
