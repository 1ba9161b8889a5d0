//! Estates to measure against: policies written as YAML text and taken in through the store, as files are.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use scopegate::app::{self, Running};
use scopegate::authz::catalog::builtin;
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::identity::jwt::Issuer;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::credentials::Secret;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::snapshot::Snapshot;
use scopegate::config;
use sha2::{Digest as _, Sha256};

/// The time of every judgement: 2026-12-01, in Unix milliseconds.
pub const NOW_MS: i64 = 1_796_083_200_000;

/// How many apps, and how many lines each has under `grants`.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub apps: usize,
    pub grants: usize,
}

/// Scopes of Jira that the grants of an app name in turn; the one that the measured call needs comes in the middle.
const JIRA_SCOPES: [&str; 8] = [
    "write:jira-work",
    "read:jira-user",
    "manage:jira-project",
    "read:comment:jira",
    "read:issue.vote:jira",
    "write:issue:jira",
    "read:project:jira",
    "read:field:jira",
];
const SLACK_SCOPES: [&str; 8] = [
    "files:read",
    "users:read",
    "reactions:write",
    "pins:read",
    "channels:read",
    "team:read",
    "files:write",
    "reactions:read",
];

/// A token as long as they get: Slack's bot tokens have about 60 bytes, Atlassian's opaque ones less than 100.
pub fn token(product: &str, app: usize) -> String {
    format!("{product}-tok-{app:06}-{}", "c0ffee".repeat(12)).chars().take(96).collect()
}

/// One app with one installation, one token and its grants, each limited to two containers of its own.
pub fn app_yaml(product: &str, app: usize, grants: usize) -> String {
    let digest: String =
        Sha256::digest(token(product, app)).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let (tenant, kind, scopes, container) = match product {
        "jira" => ("acme", "oauth", JIRA_SCOPES, "project"),
        "slack" => ("T024BE7LD", "bot", SLACK_SCOPES, "channel"),
        other => panic!("no estate of {other}"),
    };
    let mut text = format!(
        "version: 1\napp: {product}/app-{app:05}\nname: App {app}\ncontact: team-{app}@example.com\ninstallations:\n  \
         - tenant: {tenant}\n    installed_at: 2026-01-20T09:00:00Z\n    credentials:\n      \
         - {{method: token, sha256: \"{digest}\", kind: {kind}}}\ngrants:\n"
    );
    for grant in 0..grants {
        let measured = grant == grants / 2;
        let (scope, first, second) = match product {
            "jira" if measured => ("read:jira-work", "PROJ".to_owned(), "OPS".to_owned()),
            "jira" => (scopes[grant % 8], format!("P{app}X{grant}"), format!("Q{app}X{grant}")),
            _ if measured => (
                "chat:write, channels:history, groups:history, mpim:history, im:history",
                "C0HELP00".to_owned(),
                "C0TRIAGE".to_owned(),
            ),
            _ => (scopes[grant % 8], format!("C0{app:05}{grant:03}"), format!("C1{app:05}{grant:03}")),
        };
        let actors = if kind == "bot" { "app" } else { "app, user" };
        writeln!(
            text,
            "  - {{for: purpose {grant} of this app, scopes: [{scope}], actors: [{actors}], in: {{{container}: [{first}, {second}]}}}}",
        )
        .unwrap();
    }
    text
}

/// Three guardrails as a careful admin writes them; the last takes everything in a set of projects.
pub const GUARDRAILS: &str = "\
version: 1
guardrail: no-standing-admin
apps: {product: jira, except: [jira/app-00001]}
tenants: all
revocations:
  - {scopes: [ADMIN, PROJECT_ADMIN, 'manage:jira-configuration'], in: all, unless: install_window, reason: SEC-7}
---
version: 1
guardrail: no-deliveries
apps: {product: jira}
tenants: all
revocations:
  - {scopes: ['gate:deliver'], in: all, unless: install_window, reason: SEC-8}
---
version: 1
guardrail: sensitive-projects
apps: all
tenants: all
revocations:
  - {scopes: all, in: {project: ['set:sensitive']}, reason: SEC-9}
---
version: 1
set: sensitive
tenant: acme
project: [HR, SEC, LEGAL, FIN]
";

/// Catalogs and store, before a snapshot is made of them.
pub fn store(product: &str, size: Size, guardrails: bool) -> (Arc<Catalogs>, Store) {
    store_of(product, size, guardrails, |_, text| text)
}

/// The same, each app's text as `written` makes it of the usual one.
fn store_of(
    product: &str,
    size: Size,
    guardrails: bool,
    written: impl Fn(usize, String) -> String,
) -> (Arc<Catalogs>, Store) {
    let catalogs = builtin::products().filter_map(|(product, _)| builtin::catalog(product));
    let catalogs = Arc::new(Catalogs::new(catalogs));
    let mut store = Store::new(Arc::clone(&catalogs));
    let change = |name: String, text: String| Change {
        file: Arc::from(Path::new(&name)),
        origin: Origin::Policy,
        content: Content::Text(text.into()),
    };
    let mut changes: Vec<Change> = (0..size.apps)
        .map(|app| change(format!("policies/app-{app:05}.yaml"), written(app, app_yaml(product, app, size.grants))))
        .collect();
    if guardrails {
        changes.push(change("policies/guardrails.yaml".to_owned(), GUARDRAILS.to_owned()));
    }
    store.apply(changes, NOW_MS);
    let problems = store.problems();
    assert!(!problems.iter().any(|problem| problem.is_error()), "{problems:?}");
    assert!(store.settle());
    (catalogs, store)
}

/// A gate and the snapshot that it judges by.
pub struct Estate {
    pub gate: GateRules,
    pub snapshot: Snapshot,
    pub size: Size,
    store: Store,
}

impl Estate {
    pub fn new(product: &'static str, size: Size, guardrails: bool) -> Self {
        let (catalogs, mut store) = store(product, size, guardrails);
        let snapshot = store.snapshot(&Secrets::new());
        let gate = gate(product, &catalogs);
        Self { gate, snapshot, size, store }
    }
}

impl Estate {
    /// Jira apps that are known by tokens of this issuer, each by its number.
    pub fn of_clients(issuer: Issuer, size: Size) -> Self {
        let client = |app: usize, text: String| {
            let (before, rest) = text.split_once("{method: token").expect("a credential");
            let (_, rest) = rest.split_once('}').expect("its end");
            format!("{before}{{method: jwt, kind: oauth, issuer: '{}', client: app-{app}}}{rest}", issuer.name)
        };
        let (catalogs, mut store) = store_of("jira", size, true, client);
        let snapshot = store.snapshot(&Secrets::new());
        let identify = Identify { jwt: [issuer.clone()].into(), ..Identify::default() };
        let gate = GateRules { identify, ..gate("jira", &catalogs) };
        Self { gate, snapshot, size, store }
    }
}

impl Estate {
    /// Jira apps of Connect, each with the number in its client key, that all have one secret.
    pub fn of_connect(secret: &str, size: Size) -> Self {
        let connect = |app: usize, text: String| {
            let (before, rest) = text.split_once("{method: token").expect("a credential");
            let (_, rest) = rest.split_once('}').expect("its end");
            let credential =
                format!("{{method: connect_jwt, kind: connect, client_key: key-{app}, secret: {{file: secret}}}}");
            format!("{before}{credential}{rest}").replace("scopes: [read:jira-work]", "scopes: [READ]")
        };
        let (catalogs, mut store) = store_of("jira", size, false, connect);
        let snapshot = store.snapshot(&Secrets::from([("secret".into(), Secret::new(secret.as_bytes()))]));
        let gate = gate("jira", &catalogs);
        let gate = GateRules { identify: Identify { connect_jwt: true, ..Identify::default() }, ..gate };
        Self { gate, snapshot, size, store }
    }
}

/// A gate that takes tokens, as written in the samples.
pub fn gate(product: &str, catalogs: &Catalogs) -> GateRules {
    let catalog = Arc::clone(&catalogs.by_name(product).expect("a built-in catalog").catalog);
    GateRules {
        name: product.into(),
        catalog,
        identify: Identify { gate_key: false, token: true, connect_jwt: false, ..Identify::default() },
        tenant: TenantRule::Fixed(if product == "jira" { "acme".into() } else { "T024BE7LD".into() }),
        issue_keys_prefix: true,
        names_as_written: true,
        channel_types_prefix: false,
        observe_until_ms: None,
    }
}

/// The head of a request as clients send it.
pub fn head(method: &str, target: &str, token: &str, content_type: Option<&str>) -> Parts {
    let mut request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("host", "jira.gate.internal")
        .header("authorization", format!("Bearer {token}"))
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate, br")
        .header("user-agent", "assist/2.7.1 (python-requests/2.32.3)")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type).header("content-length", "118");
    }
    request.body(()).expect("a request").into_parts().0
}

/// Writes the policies of an estate of Jira apps, as admins would lay them out.
pub fn write_policies(folder: &Path, size: Size) {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies).expect("a folder");
    for app in 0..size.apps {
        std::fs::write(policies.join(format!("app-{app:05}.yaml")), app_yaml("jira", app, size.grants))
            .expect("a file");
    }
    std::fs::write(policies.join("guardrails.yaml"), GUARDRAILS).expect("a file");
}

/// A gate before Jira with one worker over such a folder, its request log written to nowhere. Returns when it is ready.
pub fn start_gate(folder: &Path, upstream: SocketAddr, settle: &str) -> Running {
    let text = format!(
        "version: 1\npolicies: policies\nsettle: {settle}\ndata_plane: {{threads: 1}}\ngates:\n  - name: jira\n    \
         listen: 127.0.0.1:0\n    product: jira\n    identify: [token]\n    bypass: network\n    \
         upstream: http://{upstream}\n    upstream_aliases: [https://acme.atlassian.net]\n    tenant: {{fixed: acme}}\n    issue_keys: prefix\n    names: as_written\n"
    );
    start_configured(folder, &text)
}

/// A gate of this configuration, its request log written to nowhere. Returns when it is ready.
pub fn start_configured(folder: &Path, text: &str) -> Running {
    let path = folder.join("scopegate.yaml");
    std::fs::write(&path, text).expect("a file");
    let config = config::load(&path, &|name| builtin::catalog(name).is_some()).expect("a configuration");
    let gate = app::start(&config, folder.to_owned(), Some(Box::new(std::io::sink()))).expect("a gate");
    let started = Instant::now();
    while !gate.readiness.report().ready {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", gate.readiness.report());
        std::thread::sleep(Duration::from_millis(1));
    }
    gate
}

/// `VmRSS` or `VmHWM` of this process, in MiB.
pub fn memory_mib(field: &str) -> f64 {
    memory_mib_of("self", field)
}

/// The same of a process by its number.
pub fn memory_mib_of(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a Linux process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number of KiB");
    kib / 1024.0
}
