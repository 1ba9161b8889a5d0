//! Health, admin, metrics and the log, from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use scopegate::authz::Reason;
use scopegate::control::admin;
use scopegate::control::health::{self, Readiness, SnapshotFacts};
use scopegate::metrics::{Metrics, Outcome, Reload};
use scopegate::proxy::counters::IoCounters;
use scopegate::proxy::record::{CallerShown, Record, Recorder};
use scopegate::telemetry::{ContainerShown, DecidedBy, LineWriter, UserIds};
use serde_json::Value;

/// Long enough for a loaded machine; nothing waits for it when all goes well.
const DEADLINE: Duration = Duration::from_secs(20);

/// The names that dashboards and alerts are built on, to the letter.
const NAMES: [&str; 26] = [
    "scopegate_requests_total",
    "scopegate_denials_total",
    "scopegate_request_seconds",
    "scopegate_overhead_seconds",
    "scopegate_upstream_responses_total",
    "scopegate_connection_errors_total",
    "scopegate_connections",
    "scopegate_lookups_total",
    "scopegate_streams",
    "scopegate_streams_cut_total",
    "scopegate_snapshot_generation",
    "scopegate_snapshot_info",
    "scopegate_reloads_total",
    "scopegate_reload_last_read_timestamp_seconds",
    "scopegate_reload_last_success_timestamp_seconds",
    "scopegate_reload_settling",
    "scopegate_policy_problems",
    "scopegate_observe",
    "scopegate_observe_until_timestamp_seconds",
    "scopegate_admin_requests_total",
    "scopegate_bypass",
    "scopegate_certificate_expiry_timestamp_seconds",
    "scopegate_certificate_problems",
    "scopegate_clock_behind_seconds",
    "scopegate_panics_total",
    "scopegate_build_info",
];

#[test]
fn the_metrics_have_exactly_the_names_of_the_contract() {
    let metrics = Metrics::new(10).unwrap();
    let gate = metrics.gate("jira").unwrap();
    let app = gate.app(Some("jira/a"));
    app.request(Outcome::Deny);
    app.denial(Reason::MissingScope);
    app.cut(Reason::MissingScope);
    gate.took(Duration::from_millis(3), Duration::from_micros(40));
    gate.upstream_response(StatusCode::OK);
    gate.connections(&IoCounters::default());
    metrics.snapshot(1, "aa");
    metrics.reload(Reload::Success, 0, 1.0);
    metrics.observe([("jira", Some("jira/a"), 1.0), ("jira", None, 1.0)]);
    metrics.bypass("jira", "open");
    metrics.certificate("jira", 2.0);
    metrics.certificate_problem("jira", true);
    let text = metrics.render().unwrap();
    let found: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(found, NAMES.into_iter().collect());
}

#[test]
fn a_replaced_digest_and_an_ended_observe_leave_no_series() {
    let metrics = Metrics::new(10).unwrap();
    metrics.snapshot(1, "aa");
    metrics.snapshot(2, "bb");
    metrics.observe([("jira", Some("jira/a"), 1.0), ("jira", None, 1.0)]);
    metrics.observe([("jira", None, 2.0)]);
    let text = metrics.render().unwrap();
    assert!(!text.contains(r#"digest="aa""#), "{text}");
    assert!(text.contains(r#"scopegate_snapshot_info{digest="bb"} 1"#), "{text}");
    assert!(text.contains("scopegate_snapshot_generation 2"), "{text}");
    assert!(!text.contains(r#"app="jira/a""#), "{text}");
    assert!(text.contains(r#"scopegate_observe_until_timestamp_seconds{app="none",gate="jira"} 2"#), "{text}");
    assert!(text.contains(r#"scopegate_observe{app="none",gate="jira"} 1"#), "{text}");
}

#[test]
fn of_several_ends_behind_one_label_the_first_is_shown() {
    let metrics = Metrics::new(1).unwrap();
    metrics.observe([
        ("jira", Some("jira/a"), 30.0),
        ("jira", Some("jira/a"), 20.0),
        ("jira", Some("jira/b"), 9.0),
        ("jira", Some("jira/c"), 8.0),
    ]);
    let text = metrics.render().unwrap();
    assert!(text.contains(r#"scopegate_observe_until_timestamp_seconds{app="jira/a",gate="jira"} 20"#), "{text}");
    assert!(text.contains(r#"scopegate_observe_until_timestamp_seconds{app="other",gate="jira"} 8"#), "{text}");
    assert_eq!(text.matches("scopegate_observe_until_timestamp_seconds{").count(), 2, "{text}");
}

#[test]
fn ten_thousand_strangers_leave_the_series_as_they_were() {
    let log = Log::start(UserIds::None);
    let refuse = |n: u32| {
        let path = format!("/stranger/{n}");
        let mut record = Record::start(&log.recorder, &Method::GET, &path, None);
        record.refuse(Reason::UnknownApp);
        record.finish(StatusCode::UNAUTHORIZED);
    };
    refuse(0);
    let before = log.metrics.render().unwrap().lines().count();
    (1..10_000).for_each(refuse);
    let text = log.metrics.render().unwrap();
    assert_eq!(text.lines().count(), before);
    assert!(text.contains(r#"scopegate_denials_total{app="none",gate="jira",reason="unknown_app"} 10000"#), "{text}");
}

#[test]
fn a_line_says_what_was_judged_and_no_secret() {
    let mut log = Log::start(UserIds::Plain);
    let path = "/rest/api/3/issue/SEC-1\u{1b}[31m?token=xoxb-secret";
    let mut record = Record::start(&log.recorder, &Method::PUT, path, Some([127, 0, 0, 1].into()));
    let decision = record.decision().to_string();
    record.traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    record.caller(CallerShown {
        app: Some("jira/a".into()),
        tenant: Some("acme".into()),
        tenant_name: Some("Acme".into()),
        actor: Some("user"),
        user: Some("U0DANA".into()),
        kind: Some("oauth".into()),
    });
    record.operation("editIssue".into());
    let container = |id: &str| ContainerShown { kind: "project".into(), id: id.into(), name: Some("Security".into()) };
    record.containers([container("SEC\r\n"), container("xoxb-1")], 3);
    record.needed(["write:jira-work".into()]);
    let file: Arc<std::path::Path> = Arc::from(std::path::Path::new("policies/a.yaml"));
    record.decided_by(DecidedBy { file, line: 12 });
    record.generation(7);
    record.refuse(Reason::ScopeRevoked);
    record.finish(StatusCode::UNAUTHORIZED);
    let text = log.line();
    assert!(!text.contains("secret") && !text.contains('\u{1b}'), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    for (member, expected) in [
        ("gate", "jira"),
        ("outcome", "deny"),
        ("reason", "scope_revoked"),
        ("app", "jira/a"),
        ("tenant", "acme"),
        ("tenant_name", "Acme"),
        ("actor", "user"),
        ("user", "U0DANA"),
        ("kind", "oauth"),
        ("operation", "editIssue"),
        ("method", "PUT"),
        ("path", "/rest/api/3/issue/SEC-1\\u{1b}[31m"),
        ("decided_by", "policies/a.yaml:12"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("peer", "127.0.0.1"),
    ] {
        assert_eq!(line[member], expected, "{member} in {text}");
    }
    assert_eq!(line["decision"], decision.as_str());
    assert_eq!((line["status"].as_u64(), line["generation"].as_u64()), (Some(401), Some(7)));
    assert_eq!(line["containers"][0]["id"], "SEC\\u{d}\\u{a}");
    assert_eq!((&line["containers"][1]["id"], &line["containers_more"]), (&"(credential)".into(), &3.into()));
    assert_eq!(line["needed"][0], "write:jira-work");
}

#[test]
fn overhead_is_what_was_not_spent_waiting_for_the_upstream() {
    let mut log = Log::start(UserIds::None);
    let mut record = Record::start(&log.recorder, &Method::GET, "/x", None);
    record.permit();
    record.upstream_waits();
    std::thread::sleep(Duration::from_millis(30));
    record.upstream_waited(Some(StatusCode::NOT_FOUND));
    record.finish(StatusCode::NOT_FOUND);
    let line: Value = serde_json::from_str(&log.line()).unwrap();
    let (whole, own) = (line["duration_ms"].as_f64().unwrap(), line["overhead_ms"].as_f64().unwrap());
    assert!(whole >= 30.0 && whole - own >= 30.0, "{line}");
    assert_eq!((line["upstream"].as_str(), line["outcome"].as_str()), (Some("4xx"), Some("permit")));
}

#[test]
fn a_caller_that_goes_away_is_told_too() {
    let mut log = Log::start(UserIds::None);
    drop(Record::start(&log.recorder, &Method::GET, "/x", None));
    let line: Value = serde_json::from_str(&log.line()).unwrap();
    assert_eq!((line["outcome"].as_str(), line.get("status")), (Some("gone"), None));
}

#[test]
fn a_log_that_hangs_blocks_nobody_and_the_next_line_counts_what_was_lost() {
    let (go, gate) = channel();
    let (lines, written) = channel();
    let out = Hanging { gate, open: false, lines };
    let writer = LineWriter::start(Box::new(out), UserIds::None, 4).unwrap();
    let metrics = Metrics::new(10).unwrap();
    let recorder = recorder(&metrics, &writer);
    for _ in 0..100 {
        Record::start(&recorder, &Method::GET, "/x", None).finish(StatusCode::OK);
    }
    go.send(()).unwrap();
    assert!(writer.close(DEADLINE));
    let lines: Vec<Value> = written.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
    let told: u64 = lines.iter().map(|line| line["dropped"].as_u64().unwrap_or(0)).sum();
    let whole = lines.iter().filter(|line| line["decision"].is_string()).count();
    assert_eq!(whole, 4, "those that are being written count among those that wait");
    assert_eq!(told as usize + whole, 100, "each line is written or counted");
}

#[test]
fn health_answers_three_paths_and_nothing_else() {
    let readiness = Readiness::default();
    let waiting = readiness.waits_for("policies");
    readiness.snapshot(SnapshotFacts { generation: 3, digest: "aa".into(), settling: false });
    let address = serve_tcp(health::router(readiness.clone(), Metrics::new(10).unwrap()));
    let get = |path: &str| ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    assert_eq!(get("/livez").0, 200);
    let (status, body) = get("/readyz");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["waiting"][0]), (503, &Value::from("policies")));
    drop(waiting);
    let (status, body) = get("/readyz");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["snapshot"]["generation"].as_u64()), (200, Some(3)));
    assert!(get("/metrics").1.contains("scopegate_build_info"));
    assert!(scopegate::cli::health::run(address, DEADLINE, &mut Vec::new()).unwrap());
    readiness.drain();
    assert_eq!(get("/readyz").0, 503);
    assert!(!scopegate::cli::health::run(address, DEADLINE, &mut Vec::new()).unwrap());
    for path in ["/", "/api/v1/snapshot", "/debug/pprof", "/metrics/", "/healthz"] {
        assert_eq!(get(path).0, 404, "{path}");
    }
    assert_eq!(ask(address, "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").0, 405);
}

#[test]
fn the_admin_socket_is_bound_once_and_never_open_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let bound = admin::bind_unix(&path, 0o660, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(admin::bind_unix(&path, 0o660, None).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(bound);
    drop(admin::bind_unix(&path, 0o600, None).unwrap());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600,
        "in place of the one left behind"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the socket");
}

/// Serves on a thread that ends with the test process; returns once it listens.
fn serve<L, M, F>(make: M)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = (L, axum::Router)>,
{
    let (listens, listening) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (listener, router) = make().await;
            listens.send(()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    listening.recv_timeout(DEADLINE).unwrap();
}

fn serve_tcp(router: axum::Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    serve(move || async move { (tokio::net::TcpListener::from_std(listener).unwrap(), router) });
    address
}

fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    exchange(&mut TcpStream::connect(address).unwrap(), request)
}

/// Sends a request as it stands; returns the status and the body of the answer.
fn exchange(stream: &mut (impl Read + Write), request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A recorder whose lines come out of a channel.
struct Log {
    metrics: Arc<Metrics>,
    recorder: Arc<Recorder>,
    lines: Receiver<String>,
    _writer: LineWriter,
}

impl Log {
    fn start(users: UserIds) -> Self {
        let metrics = Metrics::new(10).unwrap();
        let (sender, lines) = channel();
        let writer = LineWriter::start(Box::new(Written(Mutex::new(sender))), users, 1_000).unwrap();
        Self { recorder: recorder(&metrics, &writer), metrics, lines, _writer: writer }
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }
}

fn recorder(metrics: &Metrics, writer: &LineWriter) -> Arc<Recorder> {
    let metrics = metrics.gate("jira").unwrap();
    Arc::new(Recorder { gate: "jira".into(), metrics, lines: Some(writer.lines()), noticed: None })
}

struct Written(Mutex<Sender<String>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        send_lines(self.0.get_mut().unwrap(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The writer writes as many lines at once as have gathered.
fn send_lines(to: &Sender<String>, bytes: &[u8]) {
    for line in std::str::from_utf8(bytes).unwrap().lines() {
        let _ = to.send(line.to_owned());
    }
}

/// Hangs in its first write until it is let go.
struct Hanging {
    gate: Receiver<()>,
    open: bool,
    lines: Sender<String>,
}

impl Write for Hanging {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.open {
            self.gate.recv().unwrap();
            self.open = true;
        }
        send_lines(&self.lines, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
