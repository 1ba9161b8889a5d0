//! temporary
use crate::authz::policy::file::Origin;
use crate::authz::policy::store::{Change, Content, Store};
use crate::config::Config;
use crate::control::folder::{Folder, Held, Verify};
use crate::control::health::{Readiness, SnapshotFacts};
use crate::control::secrets::SecretStore;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::problem::Problem;
use std::path::PathBuf;
use std::sync::Arc;

pub struct ReloadSettings {
    pub policies: PathBuf,
    pub base: PathBuf,
}
impl ReloadSettings {
    pub fn of(config: &Config, base: PathBuf) -> Self {
        Self { policies: config.policies.clone(), base }
    }
}
#[derive(Debug)]
pub struct Reloader;
impl Reloader {
    pub fn start(
        settings: ReloadSettings,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut store = Store::new(Arc::clone(&live.load().catalogs));
        let mut folder = Folder::new(&settings.policies);
        let scan = folder.scan(Verify::None);
        let changes = scan
            .changed
            .iter()
            .map(|c| Change {
                file: Arc::clone(&c.path),
                origin: Origin::Policy,
                content: match &c.held {
                    Held::Text { text, .. } => Content::Text(Arc::clone(text)),
                    Held::Unreadable(u) => Content::Unreadable(format!("{u:?}")),
                },
            })
            .collect();
        store.apply(changes, live.now_ms());
        let problems = store.problems();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        store.settle();
        let mut secrets = SecretStore::new(settings.base);
        secrets.name(store.secret_files().into_iter().map(PathBuf::from));
        let map: std::collections::HashMap<_, _> =
            secrets.secrets().by_path.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        let snapshot = store.snapshot(&map);
        metrics.snapshot(snapshot.generation, &snapshot.digest);
        readiness.snapshot(SnapshotFacts {
            generation: snapshot.generation,
            digest: snapshot.digest.clone(),
            settling: false,
        });
        live.publish(snapshot);
        Ok((Self, problems))
    }
}
