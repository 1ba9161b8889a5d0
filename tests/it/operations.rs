//! Health, admin, metrics and the log, from outside.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use scopegate::authz::Reason;
use scopegate::metrics::{Metrics, Outcome, Reload, Side};
use scopegate::proxy::record::{CallerShown, Record, Recorder};
use scopegate::telemetry::{ContainerShown, DecidedBy, LineWriter, UserIds};
use serde_json::Value;

/// Long enough for a loaded machine; nothing waits for it when all goes well.
const DEADLINE: Duration = Duration::from_secs(20);

/// The names of the issue, to the letter.
const NAMES: [&str; 16] = [
    "scopegate_requests_total",
    "scopegate_denials_total",
    "scopegate_request_seconds",
    "scopegate_overhead_seconds",
    "scopegate_upstream_responses_total",
    "scopegate_connections",
    "scopegate_snapshot_generation",
    "scopegate_snapshot_info",
    "scopegate_reloads_total",
    "scopegate_reload_last_success_timestamp_seconds",
    "scopegate_policy_problems",
    "scopegate_observe",
    "scopegate_bypass",
    "scopegate_certificate_expiry_timestamp_seconds",
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
    gate.took(Duration::from_millis(3), Duration::from_micros(40));
    gate.upstream_response(StatusCode::OK);
    let _connected = gate.connected(Side::Caller);
    metrics.snapshot(1, "aa");
    metrics.reload(Reload::Success, 0, 1.0);
    metrics.observe([("jira", Some("jira/a")), ("jira", None)]);
    metrics.bypass("jira", "open");
    metrics.certificate("jira", 2.0);
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
    metrics.observe([("jira", Some("jira/a")), ("jira", None)]);
    metrics.observe([("jira", None)]);
    let text = metrics.render().unwrap();
    assert!(!text.contains(r#"digest="aa""#), "{text}");
    assert!(text.contains(r#"scopegate_snapshot_info{digest="bb"} 1"#), "{text}");
    assert!(text.contains("scopegate_snapshot_generation 2"), "{text}");
    assert!(!text.contains(r#"scopegate_observe{app="jira/a""#), "{text}");
    assert!(text.contains(r#"scopegate_observe{app="none",gate="jira"} 1"#), "{text}");
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
    record.containers([ContainerShown { kind: "project".into(), id: "SEC\r\n".into(), name: Some("Security".into()) }]);
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
    // One line is being written and four wait, or four wait and the writer has not woken up yet.
    let lost = writer.lines().dropped();
    assert!((95..=96).contains(&lost), "{lost}");
    go.send(()).unwrap();
    assert!(writer.close(DEADLINE));
    let told: u64 =
        written.iter().map(|line| serde_json::from_str::<Value>(&line).unwrap()["dropped"].as_u64().unwrap_or(0)).sum();
    assert_eq!(told, lost);
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
    Arc::new(Recorder { gate: "jira".into(), metrics, lines: Some(writer.lines()) })
}

struct Written(Mutex<Sender<String>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.get_mut().unwrap().send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
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
        let _ = self.lines.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
