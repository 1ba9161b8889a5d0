//! A policy folder, an overrides folder and a writer over them, asked as the data plane asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scopegate::authz::catalog::builtin;
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::request::{BodyFacts, Facts, RequestView};
use scopegate::authz::snapshot::Snapshot;
use scopegate::authz::{Credential, Reason, decide};
use scopegate::control::folder;
use scopegate::control::health::{Readiness, Warnings};
use scopegate::control::reload::force::Force;
use scopegate::control::reload::{Holder, Reloader, Settings, Told};
use scopegate::live::Live;
use scopegate::metrics::Metrics;
use scopegate::problem::Problem;
use sha2::{Digest as _, Sha256};

pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct World {
    pub root: tempfile::TempDir,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub settle: Duration,
    /// Without inotify, looked at so often.
    pub polled: Option<Duration>,
    pub observe_until_ms: Option<i64>,
    pub state: Option<PathBuf>,
    /// The acts are a fleet's.
    pub shared: bool,
    pub force: Force,
    catalogs: Arc<Catalogs>,
    reloader: Option<Reloader>,
}

impl World {
    pub fn new() -> Self {
        Self::with_settle(Duration::from_millis(100))
    }

    pub fn with_settle(settle: Duration) -> Self {
        let catalogs = Arc::new(Catalogs::new([builtin::catalog("slack").unwrap()]));
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("policies")).unwrap();
        Self {
            root,
            live: Arc::new(Live::new(Snapshot::empty(Arc::clone(&catalogs)))),
            metrics: Metrics::new(10).unwrap(),
            readiness: Readiness::default(),
            settle,
            polled: None,
            observe_until_ms: None,
            state: None,
            shared: false,
            force: Force::default(),
            catalogs,
            reloader: None,
        }
    }

    pub fn policies(&self) -> PathBuf {
        self.root.path().join("policies")
    }

    pub fn catalogs(&self) -> Arc<Catalogs> {
        Arc::clone(&self.catalogs)
    }

    pub fn start(&mut self) -> Result<(), Vec<Problem>> {
        let settings = Settings {
            policies: self.policies(),
            overrides: Some(self.root.path().join("overrides")),
            acts_are_shared: self.shared,
            secrets_base: self.root.path().to_path_buf(),
            journal: None,
            state: self.state.clone(),
            gates: vec![self.gate()],
            warnings: Warnings::default(),
            folder: self.folder_settings(),
        };
        let told = Told {
            force: self.force.clone(),
            refusals: Default::default(),
            live: Arc::clone(&self.live),
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
        };
        self.reloader = Some(Reloader::start(settings, Arc::clone(&self.catalogs), told)?);
        Ok(())
    }

    fn folder_settings(&self) -> folder::Settings {
        let settings = folder::Settings { settle: self.settle, ..folder::Settings::default() };
        match self.polled {
            Some(pause) => folder::Settings { poll: (pause, pause), inotify: false, ..settings },
            None => settings,
        }
    }

    /// Started, with what the folder holds in force.
    pub fn ready(mut self) -> Self {
        self.start().unwrap();
        self.until("ready", |world| world.readiness.report().ready);
        self
    }

    /// Has the policy folder alone looked at.
    pub fn look_at_policies(&self) {
        let hints = self.reloader.iter().flat_map(|reloader| reloader.hints(Origin::Policy));
        hints.for_each(|hints| hints.tree());
    }

    /// Has both folders looked at.
    pub fn look(&self) {
        self.reloader.iter().for_each(Reloader::look);
    }

    /// Says what a fleet's session would say.
    pub fn holder(&self) -> Holder {
        self.reloader.as_ref().expect("started").holder()
    }

    pub fn stop(&mut self) {
        self.reloader = None;
    }

    pub fn gate(&self) -> Arc<GateRules> {
        let catalog = self.catalogs.by_name("slack").unwrap();
        Arc::new(GateRules {
            name: "slack".into(),
            catalog: Arc::clone(&catalog.catalog),
            identify: Identify { gate_key: true, token: true, connect_jwt: false, ..Identify::default() },
            tenant: TenantRule::Fixed("T1".into()),
            issue_keys_prefix: false,
            names_as_written: false,
            channel_types_prefix: true,
            observe_until_ms: self.observe_until_ms,
        })
    }

    /// Written aside and renamed, as tools write.
    pub fn put(&self, path: &str, text: &str) {
        put(&self.root.path().join(path), text);
    }

    /// In place, as some editors write.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).unwrap();
    }

    pub fn asker(&self) -> Asker {
        Asker { live: Arc::clone(&self.live), gate: self.gate() }
    }

    pub fn ask(&self, token: &str, call: &str) -> Result<Option<Reason>, Reason> {
        self.asker().ask(token, call)
    }

    pub fn permits(&self, token: &str, call: &str) -> bool {
        self.asker().permits(token, call)
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not in time: {what}\n{:?}", self.readiness.report());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn settled(&self) {
        self.until("settled", |world| world.readiness.report().snapshot.is_some_and(|snapshot| !snapshot.settling));
    }
}

/// Asks as a request does.
#[derive(Clone)]
pub struct Asker {
    pub live: Arc<Live>,
    pub gate: Arc<GateRules>,
}

impl Asker {
    /// `Ok(Some(reason))`: passed under `observe`, and what it would have been refused for.
    pub fn ask(&self, token: &str, call: &str) -> Result<Option<Reason>, Reason> {
        self.credential(token, call).map(|(_, would)| would)
    }

    pub fn credential(&self, token: &str, call: &str) -> Result<(Credential, Option<Reason>), Reason> {
        let request = http::Request::get(format!("/api/{call}")).header("host", "slack.com");
        let (parts, ()) = request.header("authorization", format!("Bearer {token}")).body(()).unwrap().into_parts();
        let view = RequestView::of(&parts).unwrap();
        let facts =
            Facts { now_ms: self.live.now_ms(), behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
        let decided = decide(&self.live.load(), &self.gate, &view, &facts);
        let permit = decided.map_err(|denial| denial.reason)?;
        Ok((permit.credential, permit.would.map(|denial| denial.reason)))
    }

    pub fn permits(&self, token: &str, call: &str) -> bool {
        self.ask(token, call).is_ok()
    }
}

pub fn put(path: &Path, text: &str) {
    let aside = path.with_file_name(format!(".{}.new", path.file_name().unwrap().to_string_lossy()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A document that describes `slack/NAME`, known by the token NAME.
pub fn app(name: &str, rules: &str) -> String {
    let digest = sha256(name);
    format!(
        "version: 1\napp: slack/{name}\nname: {name}\ncontact: {name}@example.com\ninstallations:\n  - tenant: T1\n    \
         credentials:\n      - {{method: token, sha256: \"{digest}\", kind: bot}}\n{rules}"
    )
}

pub fn grants(scopes: &[&str]) -> String {
    let lines = scopes.iter().map(|scope| format!("  - {{scopes: ['{scope}'], actors: [app], in: all}}\n"));
    format!("grants:\n{}", lines.collect::<String>())
}

pub fn revocations(scopes: &[&str]) -> String {
    let lines = scopes.iter().map(|scope| format!("  - {{scopes: ['{scope}'], in: all, reason: test}}\n"));
    format!("revocations:\n{}", lines.collect::<String>())
}

/// More rules for `slack/NAME`.
pub fn more(name: &str, rules: &str) -> String {
    format!("version: 1\napp: slack/{name}\n{rules}")
}
