//! Links anew what acts change, and nothing else: with 10,000 apps, linking all of them is most of what a revocation by
//! command would wait for.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::app::{Documents, link_app};
use super::{Findings, Input, Linker, Policy, ProductPolicy, References};
use crate::authz::policy::app::App;
use crate::authz::policy::compile::{Catalogs, Compiled};
use crate::problem::Problem;

/// What changed: documents of overrides that came or went, and the files that they stand in.
#[derive(Debug, Default)]
pub struct ChangedActs {
    pub documents: Vec<Arc<Compiled>>,
    pub files: HashSet<Arc<Path>>,
}

/// What was linked anew.
#[derive(Debug)]
pub struct Relinked {
    pub policy: Policy,
    /// Files whose warnings may be others than before, and all that they have now.
    pub files: HashSet<Arc<Path>>,
    pub warnings: Vec<Problem>,
}

/// The policy after acts came and went, where all else is as it was when `before` was linked. `None`: this has to be
/// looked at whole, for something may not fit.
pub fn relink(catalogs: &Catalogs, before: &Policy, inputs: &[Input], changed: &ChangedActs) -> Option<Relinked> {
    let names = ruled_apps(&changed.documents)?;
    let files = acts_on(inputs, &names, changed)?;
    let mut findings = Findings::default();
    let references = References::gather(inputs, &mut findings);
    let mut linker = Linker { catalogs, references, findings };
    let apps = apps(&mut linker, before, inputs, &names)?;
    let guardrails = linker.guardrails(inputs, &before.by_name);
    let Findings { faults, mut warnings } = linker.findings;
    if !faults.is_empty() {
        return None;
    }
    warnings.retain(|warning| files.contains(&warning.file));
    let products = before.products.iter().zip(guardrails).map(|(product, guardrails)| ProductPolicy {
        credentials: product.credentials.clone(),
        guardrails: guardrails.into(),
    });
    let policy = Policy {
        apps,
        by_name: before.by_name.clone(),
        products: products.collect(),
        names: Arc::clone(&before.names),
    };
    Some(Relinked { policy, files, warnings })
}

/// The files of all acts on these apps. `None`: one of them speaks of others too, which nobody is about to look at.
fn acts_on(inputs: &[Input], names: &HashSet<&str>, changed: &ChangedActs) -> Option<HashSet<Arc<Path>>> {
    let mut files = changed.files.clone();
    let acts = || inputs.iter().filter(|input| input.is_override);
    let ruled = |input: &Input| match &*input.document {
        Compiled::App(app) => Some(names.contains(&*app.app)),
        Compiled::Guardrail(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => None,
    };
    files.extend(acts().filter(|input| ruled(input) == Some(true)).map(|input| Arc::clone(&input.file)));
    let strays = acts().any(|input| files.contains(&input.file) && ruled(input) == Some(false));
    (!strays).then_some(files)
}

/// The apps that these documents rule. `None`: they say more than an act does, such as a credential that others may have.
fn ruled_apps(documents: &[Arc<Compiled>]) -> Option<HashSet<&str>> {
    let mut names = HashSet::new();
    for document in documents {
        match &**document {
            Compiled::App(app) if app.installations.is_empty() && app.description.is_none() => {
                names.insert(&*app.app);
            }
            // Laid over the apps without a trace in them.
            Compiled::Guardrail(_) => {}
            Compiled::App(_) | Compiled::Set(_) | Compiled::Group { .. } | Compiled::Names(_) => return None,
        }
    }
    Some(names)
}

/// Every app, those of these names linked anew. An app keeps its place: credentials know it by its number.
fn apps<'a>(
    linker: &mut Linker<'a>,
    before: &Policy,
    inputs: &'a [Input],
    names: &HashSet<&str>,
) -> Option<Box<[Arc<App>]>> {
    let mut documents: BTreeMap<&str, Documents<'a>> = BTreeMap::new();
    for input in inputs {
        match &*input.document {
            Compiled::App(app) if names.contains(&*app.app) => {
                documents.entry(&app.app).or_default().push((input, app));
            }
            Compiled::App(_)
            | Compiled::Guardrail(_)
            | Compiled::Set(_)
            | Compiled::Group { .. }
            | Compiled::Names(_) => {}
        }
    }
    let mut apps = before.apps.clone();
    for name in names {
        let known = before.by_name.get(*name).and_then(|index| apps.get_mut(*index as usize));
        let linked = documents.get(name).and_then(|documents| link_app(linker, name, documents));
        match (known, linked) {
            (Some(app), Some(linked)) => *app = Arc::new(linked.app),
            // An act on an app that nobody describes rules nothing.
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
    Some(apps)
}
