//! How soon what is on disk is in force, and what it costs: `cargo bench --bench reload -- [rest] [APPS GRANTS]...`.
//!
//! Not a timed test: it prints what this machine does. Each pair of numbers is a folder of so many app files with so
//! many grants each; without any, those that the measures in the README name. With the word `rest` nothing is changed,
//! and what the looking costs is told instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may stop at the first surprise"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scopegate::authz::catalog::builtin;
use scopegate::authz::decide;
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::request::{BodyFacts, Facts, RequestView};
use scopegate::authz::snapshot::Snapshot;
use scopegate::control::folder::{self, SETTLE};
use scopegate::control::health::{Readiness, Warnings};
use scopegate::control::reload::{Reloader, Settings, Told};
use scopegate::live::Live;
use scopegate::metrics::Metrics;
use sha2::{Digest as _, Sha256};

const SCOPES: [&str; 10] = [
    "team:read",
    "users:read",
    "chat:write",
    "files:read",
    "channels:read",
    "channels:history",
    "reactions:read",
    "pins:read",
    "bookmarks:read",
    "usergroups:read",
];
/// Enough that the 99th of 100 is not the slowest. Each is of another app.
const REVOCATIONS: usize = 200;
/// Long enough for inotify to be armed anew and for the settling of the last change.
const REST: Duration = Duration::from_millis(700);
/// Where one revocation follows another: what takes away does not wait for the folder to settle, so how long that takes
/// is no part of the measure, and 200 need not take minutes.
const SETTLE_SOON: Duration = Duration::from_millis(100);
const REST_BETWEEN: Duration = Duration::from_millis(300);

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let at_rest = std::env::args().any(|word| word == "rest");
    let usual = if at_rest { vec![10_000, 10] } else { vec![50, 10, 1_000, 10, 10_000, 10, 10_000, 100] };
    let pairs = if numbers.is_empty() { usual } else { numbers };
    for pair in pairs.chunks_exact(2) {
        if at_rest {
            rest(pair[0], pair[1]);
        } else {
            measure(pair[0], pair[1]);
        }
    }
}

/// How long a folder at rest is watched: two of the looks that read everything fall into it.
const WATCHED: Duration = Duration::from_secs(125);

/// What it costs to find that nothing has changed, in a folder of plain files and in one that is swapped by a link.
fn rest(apps: usize, grants: usize) {
    for swapped in [false, true] {
        let bench = Bench::new(apps, grants, swapped);
        std::thread::sleep(REST);
        let reloader = bench.start(SETTLE);
        std::thread::sleep(REST);
        let (before, began) = (cpu_time(), Instant::now());
        std::thread::sleep(WATCHED);
        let (spent, took) = (cpu_time() - before, began.elapsed());
        let share = 100.0 * spent.as_secs_f64() / took.as_secs_f64();
        let how = if swapped { "behind a `..data` link" } else { "plain files" };
        println!("{apps} apps x {grants} grants, {how}: at rest {share:.2} % of a core ({spent:.1?} in {took:.1?})");
        drop(reloader);
    }
}

/// What the threads of this process have run.
fn cpu_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let ran = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(ran.sum())
}

fn revocations(bench: &Bench, apps: usize) {
    std::thread::sleep(REST);
    let reloader = bench.start(SETTLE_SOON);
    std::thread::sleep(REST);
    let count = REVOCATIONS.min(apps);
    let mut took: Vec<Duration> = (0..count).map(|turn| bench.revoke(turn * apps / count)).collect();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    // Of fewer it would be the slowest under another name.
    let p99 = if count >= REVOCATIONS { format!("p99 {:.1?}", at(0.99)) } else { "too few for a p99".to_owned() };
    println!(
        "{apps} apps x {} grants: renamed over -> refused, {count} times: p50 {:.1?}, {p99}, slowest {:.1?}",
        bench.grants,
        at(0.5),
        at(1.0)
    );
    drop(reloader);
}

struct Bench {
    root: tempfile::TempDir,
    grants: usize,
    live: Arc<Live>,
    gate: GateRules,
    readiness: Readiness,
    catalogs: Arc<Catalogs>,
}

fn measure(apps: usize, grants: usize) {
    revocations(&Bench::new(apps, grants, false), apps);
    let bench = Bench::new(apps, grants, true);
    std::thread::sleep(REST);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory();
    let began = Instant::now();
    let reloader = bench.start(SETTLE);
    let ready = began.elapsed();
    assert!(bench.readiness.report().ready, "an old folder is whole at once");
    let (rest, peak) = memory();
    println!(
        "{apps} apps x {grants} grants: ready in {ready:.1?}; MiB before {}, at rest {rest}, peak {peak}",
        before.0
    );
    std::thread::sleep(REST);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let took = bench.swap(apps, 10);
    let peak = memory().1;
    std::thread::sleep(REST);
    println!("  ..data swap, every 10th changed: {took:.1?}; MiB peak {peak}, at rest {}", memory().0);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let took = bench.swap(apps, 1);
    let peak = memory().1;
    std::thread::sleep(REST);
    println!("  ..data swap, every one changed: {took:.1?}; MiB peak {peak}, at rest {}", memory().0);
    drop(reloader);
}

impl Bench {
    fn new(apps: usize, grants: usize, swapped: bool) -> Self {
        let catalogs = Arc::new(Catalogs::new(["jira", "slack"].map(|name| builtin::catalog(name).unwrap())));
        let gate = GateRules {
            name: "slack".into(),
            catalog: Arc::clone(&catalogs.by_name("slack").unwrap().catalog),
            identify: Identify { gate_key: true, token: true, connect_jwt: false, ..Identify::default() },
            tenant: TenantRule::Fixed("T1".into()),
            issue_keys_prefix: false,
            names_as_written: false,
            channel_types_prefix: true,
            observe_until_ms: None,
        };
        let live = Arc::new(Live::new(Snapshot::empty(Arc::clone(&catalogs))));
        let root = tempfile::tempdir().unwrap();
        let bench = Self { root, grants, live, gate, readiness: Readiness::default(), catalogs };
        let policies = bench.root.path().join("policies");
        fs::create_dir_all(policies.join("..0")).unwrap();
        if swapped {
            symlink("..0", policies.join("..data")).unwrap();
        }
        for app in 0..apps {
            let file = format!("a{app}.yaml");
            if !swapped {
                fs::write(policies.join(&file), bench.text(app, true)).unwrap();
                continue;
            }
            fs::write(policies.join("..0").join(&file), bench.text(app, true)).unwrap();
            symlink(Path::new("..data").join(&file), policies.join(&file)).unwrap();
        }
        bench
    }

    fn start(&self, settle: Duration) -> Reloader {
        let settings = Settings {
            policies: self.root.path().join("policies"),
            overrides: None,
            acts_are_shared: false,
            secrets_base: self.root.path().to_path_buf(),
            journal: None,
            state: None,
            gates: Vec::new(),
            warnings: Warnings::default(),
            folder: folder::Settings { settle, ..folder::Settings::default() },
        };
        let told = Told {
            force: Default::default(),
            refusals: Default::default(),
            live: Arc::clone(&self.live),
            metrics: Metrics::new(10).unwrap(),
            readiness: self.readiness.clone(),
        };
        Reloader::start(settings, Arc::clone(&self.catalogs), told).unwrap()
    }

    /// With or without the scope that is taken away.
    fn text(&self, app: usize, whole: bool) -> String {
        let digest: String = Sha256::digest(format!("t{app}")).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut text = format!(
            "version: 1\napp: slack/a{app}\nname: App {app}\ncontact: a{app}@example.com\ninstallations:\n  - tenant: T1\n    \
             credentials: [{{method: token, sha256: \"{digest}\", kind: bot}}]\ngrants:\n"
        );
        for grant in (0..self.grants).filter(|grant| whole || grant % SCOPES.len() != 0) {
            let (scope, round) = (SCOPES[grant % SCOPES.len()], grant / SCOPES.len());
            let place = if round == 0 { "all".to_owned() } else { format!("{{channel: [C{app:05}{round}]}}") };
            let _ = writeln!(text, "  - {{for: purpose {grant}, scopes: ['{scope}'], actors: [app], in: {place}}}");
        }
        text
    }

    fn permits(&self, app: usize) -> bool {
        let request = http::Request::get("/api/team.info").header("host", "slack.com");
        let request = request.header("authorization", format!("Bearer t{app}")).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let view = RequestView::of(&parts).unwrap();
        let facts =
            Facts { now_ms: self.live.now_ms(), behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
        decide(&self.live.load(), &self.gate, &view, &facts).is_ok()
    }

    fn revoke(&self, app: usize) -> Duration {
        assert!(self.permits(app));
        let folder = self.root.path().join("policies");
        let (aside, real) = (folder.join(".aside"), folder.join(format!("a{app}.yaml")));
        fs::write(&aside, self.text(app, false)).unwrap();
        let began = Instant::now();
        fs::rename(&aside, &real).unwrap();
        while self.permits(app) {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_micros(100));
        }
        let took = began.elapsed();
        // What is done after the fact is not part of it, nor are other revocations at the same time.
        std::thread::sleep(REST_BETWEEN);
        took
    }

    /// Swaps the folder as Kubernetes does; every `nth` file loses a scope. Ends when the last one is refused.
    fn swap(&self, apps: usize, nth: usize) -> Duration {
        let folder = self.root.path().join("policies");
        let generation = format!("..{}", nth + 1);
        fs::create_dir(folder.join(&generation)).unwrap();
        let restored = self.root.path().join("policies/..0");
        for app in 0..apps {
            let text = if app % nth == 0 { self.text(app, false) } else { self.text(app, true) };
            let same = fs::read_to_string(restored.join(format!("a{app}.yaml"))).unwrap();
            let text = if app % nth == 0 && same == text { format!("# again\n{text}") } else { text };
            fs::write(folder.join(&generation).join(format!("a{app}.yaml")), text).unwrap();
        }
        std::thread::sleep(REST);
        symlink(&generation, folder.join("..data_tmp")).unwrap();
        let before = self.live.load().generation;
        let began = Instant::now();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        let last = (apps - 1) / nth * nth;
        while self.live.load().generation == before || self.permits(last) {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_micros(100));
        }
        began.elapsed()
    }
}

/// MiB resident now, and at the most since the last reset.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}
