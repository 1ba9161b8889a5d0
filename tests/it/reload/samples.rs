//! Every sample policy file, cut at every line on its way from one form to another, judged by all it could open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scopegate::authz::catalog::{OperationId, VariantMask, VocabularySet, builtin};
use scopegate::authz::judge::{Mode, Question, passes};
use scopegate::authz::policy::Policy;
use scopegate::authz::policy::app::App;
use scopegate::authz::policy::compile::{Catalogs, Product};
use scopegate::authz::policy::condition::{Actor, CallerFacts};
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::touch::{ContainerList, ContainerName, ContainerRef, Reach, Touched};
use scopegate::clock::unix_ms;

/// Only every so many operations are asked for: 938 in each of 700 states would take minutes.
const EVERY: usize = 31;

type Files = BTreeMap<PathBuf, String>;
type Permitted = BTreeSet<(String, usize)>;

fn samples() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn change(path: &Path, text: &str) -> Change {
    Change { file: path.into(), origin: Origin::Policy, content: Content::Text(text.into()) }
}

/// All files at once, settled; `None` if anything is wrong with them.
fn whole(catalogs: &Arc<Catalogs>, files: &Files) -> Option<Store> {
    let mut store = Store::new(Arc::clone(catalogs));
    store.apply(files.iter().map(|(path, text)| change(path, text)).collect(), unix_ms());
    store.settle();
    (!store.problems().iter().any(scopegate::problem::Problem::is_error)).then_some(store)
}

fn permitted(store: &mut Store, catalogs: &Catalogs) -> Permitted {
    let states = store.snapshot(&Secrets::new()).states.unwrap();
    let mut all: Option<Permitted> = None;
    for policy in [Some(&states.newest), states.whole.as_ref()].into_iter().flatten() {
        let own = policy.apps.iter().zip(0..).flat_map(|(app, index)| of_app(policy, catalogs, app, index)).collect();
        all = Some(all.map_or_else(|| Permitted::clone(&own), |all| all.intersection(&own).cloned().collect()));
    }
    all.unwrap()
}

fn of_app(policy: &Policy, catalogs: &Catalogs, app: &App, index: u32) -> Vec<(String, usize)> {
    let product = catalogs.get(app.product).unwrap();
    let mut permitted = Vec::new();
    for installation in &app.installations {
        let mut asked = 0;
        for operation in (0..product.catalog.operations.len()).step_by(EVERY) {
            for (actor, user) in [(Actor::App, None), (Actor::User, Some("U0DANA")), (Actor::User, Some("dana"))] {
                for reach in reaches(product) {
                    asked += 1;
                    let touched = Touched::plain(reach, VariantMask::ALL);
                    let question = Question {
                        catalog: &product.catalog,
                        policy,
                        product: app.product,
                        app: Some((index, app)),
                        caller: CallerFacts {
                            tenant: &installation.tenant,
                            installation: Some(installation),
                            actor,
                            user,
                            groups: None,
                            pipeline: None,
                            now_ms: unix_ms(),
                            gives_ms: unix_ms(),
                        },
                        vocabularies: VocabularySet::ALL,
                        operation: OperationId(u16::try_from(operation).unwrap()),
                        touched: &touched,
                        pins: scopegate::authz::pins::Pins::none(),
                        answer_guard: None,
                        names_as_written: true,
                    };
                    if passes(&question, Mode::Enforced) {
                        permitted.push((format!("{} {}", app.name, installation.tenant), asked));
                    }
                }
            }
        }
    }
    permitted
}

/// Everything, nothing, and containers that the samples name and one that they do not.
fn reaches(product: &Product) -> Vec<Reach<'static>> {
    let (kind, names): (_, &[&str]) = match &*product.catalog.product {
        "jira" => ("project", &["PROJ", "SEC", "HR", "OTHER"]),
        "bitbucket" => ("repository", &["web"]),
        "confluence" => ("space", &["ENG", "DOCS", "HR", "OTHER"]),
        _ => ("channel", &["C0EXEC", "C0HELP"]),
    };
    let kind = product.catalog.container_kind(kind).unwrap();
    let name = |text: &&'static str| match &*product.catalog.product {
        "jira" | "bitbucket" | "confluence" => ContainerName::Name((*text).into()),
        _ => ContainerName::Id((*text).into()),
    };
    let containers =
        names.iter().map(|text| Reach::Containers(ContainerList::one(ContainerRef { kind, name: name(text) })));
    [Reach::Nothing, Reach::Tenant].into_iter().chain(containers).collect()
}

#[test]
fn a_sample_cut_at_any_line_opens_nothing_that_either_form_refuses() {
    let catalogs = Arc::new(Catalogs::new(
        ["bitbucket", "confluence", "jira", "slack"].map(|name| builtin::catalog(name).unwrap()),
    ));
    let files = samples();
    let before = permitted(&mut whole(&catalogs, &files).unwrap(), &catalogs);
    assert!(before.len() > 50, "{}", before.len());
    let mut differing = 0;
    for (path, text) in &files {
        // Without one of its rules: the first and the last that it is sound without.
        let rules: Vec<usize> =
            (0..).zip(text.lines()).filter(|(_, line)| line.starts_with("  - {")).map(|(at, _)| at).collect();
        let without = |rule: usize| -> String {
            (0..).zip(text.split_inclusive('\n')).filter(|(at, _)| *at != rule).map(|(_, line)| line).collect()
        };
        let other = |text: String| {
            let changed: Files = files.clone().into_iter().chain([(path.clone(), text.clone())]).collect();
            whole(&catalogs, &changed).map(|_| (text, changed))
        };
        let first = rules.iter().find_map(|rule| other(without(*rule)));
        let last = rules.iter().rev().find_map(|rule| other(without(*rule)));
        for (text_after, files_after) in first.into_iter().chain(last) {
            let after = permitted(&mut whole(&catalogs, &files_after).unwrap(), &catalogs);
            differing += usize::from(after != before);
            check(&catalogs, &files, path, &text_after, (&before, &after));
            check(&catalogs, &files_after, path, text, (&after, &before));
        }
    }
    assert!(differing >= 4, "{differing}");
}

/// From `files`, one file becomes `text` in two writes, cut at each line.
fn check(catalogs: &Arc<Catalogs>, files: &Files, path: &Path, text: &str, (old, new): (&Permitted, &Permitted)) {
    for cut in 0..text.lines().count() {
        let mut store = whole(catalogs, files).unwrap();
        let head: String = text.split_inclusive('\n').take(cut).collect();
        store.apply(vec![change(path, &head)], unix_ms());
        let half = permitted(&mut store, catalogs);
        assert!(half.is_subset(old), "{} cut at {cut}: {:?}", path.display(), half.difference(old).next());
        store.apply(vec![change(path, text)], unix_ms());
        let read = permitted(&mut store, catalogs);
        assert!(read.is_subset(old) && read.is_subset(new), "{} cut at {cut}", path.display());
        assert!(store.settle(), "{:#?}", store.problems());
        assert_eq!(permitted(&mut store, catalogs), *new, "{} cut at {cut}", path.display());
    }
}
