//! What the platform team sees of a running gate: metrics, health, the log; and how it ends.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use scopegate::authz::Reason;
use scopegate::authz::identity::gate_key;
use serde_json::json;

use super::*;
use crate::support::gate::connect;
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

const GRANT: &str = "grants: [{scopes: [read:jira-work], actors: [app], in: {project: [PROJ]}}]\n";

/// The names that dashboards and alerts are built on, without the suffixes of histograms.
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

/// The series on `/metrics`, without their values.
fn series(gate: &Gate) -> BTreeSet<String> {
    let text = gate.health("/metrics").body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

fn in_a_week() -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    at.format(&time::format_description::well_known::Rfc3339).expect("a time")
}

#[test]
fn metrics_have_exactly_these_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let tls = format!("{{certificate: {}, key: {}}}", chain.display(), key.display());
    let observed = format!("    observe: {{until: {}}}\n{GRANT}", in_a_week());
    let with_tls = Setup::jira().gate("tls", &tls).policy("a.yaml", &jira_app("tracker", "oauth", &observed)).start();
    let gate = tracker(GRANT);
    gate.passes(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker"));
    gate.refuses(&Ask::get("/rest/api/3/issue/OTHER-1").bearer("tracker"), "container_not_granted");
    let counted = gate.running().metrics.gate("jira").expect("the same gate");
    counted.app(None).cut(Reason::ScopeRevoked);
    let mut names = BTreeSet::new();
    for gate in [&with_tls, &gate] {
        let text = gate.health("/metrics").body;
        names
            .extend(text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)));
    }
    assert_eq!(names, NAMES.into_iter().map(str::to_owned).collect());
    assert!(with_tls.metric(r#"scopegate_certificate_expiry_timestamp_seconds{name="jira"}"#) > 1.7e9);
    for (series, expected) in [
        (r#"scopegate_requests_total{app="jira/tracker",gate="jira",outcome="permit"}"#, 1.0),
        (r#"scopegate_requests_total{app="jira/tracker",gate="jira",outcome="deny"}"#, 1.0),
        (r#"scopegate_denials_total{app="jira/tracker",gate="jira",reason="container_not_granted"}"#, 1.0),
        (r#"scopegate_upstream_responses_total{class="2xx",gate="jira"}"#, 1.0),
        (r#"scopegate_request_seconds_count{gate="jira"}"#, 2.0),
        (r#"scopegate_overhead_seconds_count{gate="jira"}"#, 2.0),
        (r#"scopegate_bypass{gate="jira",kind="network"}"#, 1.0),
        ("scopegate_policy_problems", 0.0),
        ("scopegate_panics_total", 0.0),
    ] {
        wait_until(series, || gate.metric(series) == expected);
    }
}

#[test]
fn what_is_timed_is_what_is_counted_whether_the_caller_stays_or_not() {
    let hangs = |line: &str| line.contains("PROJ-7") || line.contains("10007");
    let stub = StubUpstream::start(move |seen| if hangs(seen.line()) { Reply::Hang } else { Reply::ok("ok") });
    let rules = "grants: [{scopes: [read:jira-work], actors: [app], in: {project: [PROJ]}}]\n";
    let gate = Setup::jira().without("lookups").policy("a.yaml", &jira_app("tracker", "oauth", rules)).before(stub);
    let get = |key: &str| Ask::get(&format!("/rest/api/3/issue/{key}")).bearer("tracker");
    gate.passes(&get("PROJ-1"));
    gate.refuses(&get("OTHER-1"), "container_not_granted");
    gate.refuses(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("stranger"), "unknown_app");
    // Permitted, and gone before the answer.
    let mut impatient = gate.connect();
    impatient.send(&get("PROJ-7").text());
    gate.upstream.wait_for(2);
    drop(impatient);
    // Gone while the product is asked where the issue lies: it was never judged.
    let mut unjudged = gate.connect();
    unjudged.send(&get("10007").text());
    gate.upstream.wait_for(3);
    drop(unjudged);

    let lines = gate.log.lines(5);
    let count = |outcome: &str| lines.iter().filter(|line| line["outcome"] == outcome).count();
    assert_eq!((count("permit"), count("deny"), count("gone")), (2, 2, 1), "{lines:?}");
    let text = gate.health("/metrics").body;
    let requests = text.lines().filter(|line| line.starts_with("scopegate_requests_total{"));
    let requests = requests.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number"));
    assert_eq!(requests.sum::<f64>(), 4.0, "{text}");
    for histogram in ["scopegate_request_seconds_count", "scopegate_overhead_seconds_count"] {
        assert_eq!(gate.metric(&format!(r#"{histogram}{{gate="jira"}}"#)), 4.0);
    }
    assert_eq!(gate.upstream.requests().len(), 3);
}

/// Sent at once on one connection, so that ten thousand take no time.
const BATCH: usize = 50;

#[test]
fn ten_thousand_strangers_make_no_series() {
    let gate = tracker(GRANT);
    let request = |number: usize| {
        let path =
            if number.is_multiple_of(2) { "/rest/api/3/issue/PROJ-1".to_owned() } else { format!("/path-{number}/x") };
        let ask = Ask::get(&path).with("host", &format!("host-{number}.test"));
        ask.with("user-agent", &format!("agent-{number}")).bearer(&format!("token-{number}")).text()
    };
    let flood = |numbers: std::ops::Range<usize>| {
        let mut client = gate.connect();
        for first in numbers.clone().step_by(BATCH) {
            let batch: String = (first..first + BATCH).map(request).collect();
            client.send(&batch);
            for _ in 0..BATCH {
                assert_eq!(client.answer().reason(), Some("unknown_app"));
            }
        }
    };
    flood(0..BATCH);
    let before = series(&gate);
    flood(BATCH..10_000 + BATCH);
    assert_eq!(series(&gate), before);
    assert_eq!(gate.seen(), (0, 0));
    let denied = r#"scopegate_denials_total{app="none",gate="jira",reason="unknown_app"}"#;
    wait_until("all to be counted", || gate.metric(denied) == (10_000 + BATCH) as f64);
}

#[test]
fn apps_beyond_the_bound_share_a_label() {
    let mut setup = Setup::jira().top("metrics", "{apps_max: 2}");
    for number in 0..5 {
        setup = setup.policy(&format!("{number}.yaml"), &jira_app(&format!("app{number}"), "oauth", GRANT));
    }
    let gate = setup.start();
    for number in 0..5 {
        gate.passes(&Ask::get("/rest/api/3/issue/PROJ-1").bearer(&format!("app{number}")));
    }
    let permits = |app: &str| format!(r#"scopegate_requests_total{{app="{app}",gate="jira",outcome="permit"}}"#);
    wait_until("all to be counted", || gate.metric(&permits("other")) == 3.0);
    let apps =
        series(&gate).into_iter().filter(|series| series.starts_with("scopegate_requests_total{app=\"jira/")).count();
    assert_eq!(apps, 2);
}

#[test]
fn a_gate_says_what_keeps_apps_from_going_around_it() {
    for (identify, kind) in [("[gate_key]", "credential"), ("[gate_key, token]", "network"), ("[token]", "open")] {
        let gate = Setup::jira().gate("identify", identify).gate("bypass", kind).start();
        assert_eq!(gate.metric(&format!(r#"scopegate_bypass{{gate="jira",kind="{kind}"}}"#)), 1.0);
        let report = gate.health("/readyz").json();
        assert_eq!(
            (&report["bypass"][0]["gate"], &report["bypass"][0]["kind"]),
            (&"jira".into(), &kind.into()),
            "{report}"
        );
    }
}

#[test]
fn health_answers_three_paths_and_nothing_else() {
    let observed = format!("    observe: {{until: {}}}\n{GRANT}", in_a_week());
    let gate = Setup::jira().policy("a.yaml", &jira_app("tracker", "oauth", &observed)).start();
    assert_eq!(gate.health("/livez").status, 200);
    let ready = gate.health("/readyz");
    let report = ready.json();
    assert_eq!((ready.status, &report["ready"], &report["draining"]), (200, &true.into(), &false.into()));
    assert_eq!(report["snapshot"]["generation"].as_f64(), Some(gate.metric("scopegate_snapshot_generation")));
    let digest = report["snapshot"]["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(gate.metric(&format!(r#"scopegate_snapshot_info{{digest="{digest}"}}"#)), 1.0);
    let unsound = report["unsound"].to_string();
    assert!(unsound.contains("issue_keys") && unsound.contains("names"), "{report}");
    assert_eq!(
        (&report["observe"][0]["app"], &report["observe"][0]["tenant"]),
        (&"jira/tracker".into(), &"acme".into()),
        "{report}"
    );
    let until = gate.metric(r#"scopegate_observe_until_timestamp_seconds{app="jira/tracker",gate="jira"}"#);
    let written = report["observe"][0]["until"].as_str().expect("an end");
    let written = time::OffsetDateTime::parse(written, &time::format_description::well_known::Rfc3339).expect("a time");
    assert!((until - written.unix_timestamp() as f64).abs() < 1.0, "{until} is not {written}");
    for path in ["/", "/rest/api/3/issue/PROJ-1", "/admin", "/metrics/x", "/explain", "/debug/pprof"] {
        assert_eq!(gate.health(path).status, 404, "{path}");
    }
    assert_eq!(gate.seen(), (0, 0));
}

#[test]
fn each_request_has_one_line_and_no_line_has_a_secret() {
    let key = gate_key::mint([9; 32]);
    let policy = format!(
        "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: T024BE7LD\n    \
         tenant_name: Acme Corp\n    credentials:\n      \
         - {{method: gate_key, kind: bot, sha256: sha256({key}), upstream: {{file: secrets/real}}}}\n      \
         - {{method: token, kind: user, user: U0DANA, sha256: sha256(xoxp-dana-secret)}}\n\
         grants: [{{scopes: ['chat:write', 'users:read'], actors: [app, user], in: {{channel: [C0HELP]}}}}]\n\
         ---\nversion: 1\nnames: slack\ntenant: T024BE7LD\nentries: {{C0HELP: '#help', C0EXEC: '#exec'}}\n"
    );
    let gate = Setup::slack().policy("assist.yaml", &policy).file("secrets/real", "xoxb-the-real-one").start();
    let post = |channel: &str| {
        Ask::post("/api/chat.postMessage").json(&format!(r#"{{"channel":"{channel}","text":"private words"}}"#))
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let seen = gate.passes(&post("C0HELP").bearer(&key).with("traceparent", trace));
    assert_eq!(seen.field("traceparent"), Some(trace));
    let line = gate.log.line(1);
    for (name, expected) in [
        ("gate", "slack"),
        ("outcome", "permit"),
        ("app", "slack/assist"),
        ("tenant", "T024BE7LD"),
        ("tenant_name", "Acme Corp"),
        ("actor", "app"),
        ("kind", "bot"),
        ("operation", "chat.postMessage"),
        ("method", "POST"),
        ("path", "/api/chat.postMessage"),
        ("upstream", "2xx"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("peer", "127.0.0.1"),
    ] {
        assert_eq!(line[name], expected, "{name} in {line}");
    }
    assert!(
        line["duration_ms"].is_number() && line["overhead_ms"].is_number() && line["generation"].is_number(),
        "{line}"
    );
    let named = |id: &str, name: &str| json!([{"kind": "channel", "id": id, "name": name}]);
    assert_eq!(line["containers"], named("C0HELP", "#help"), "{line}");
    let answer = gate.refuses(&post("C0EXEC").bearer("xoxp-dana-secret"), "container_not_granted");
    let line = gate.log.line(2);
    assert_eq!(
        (&line["outcome"], &line["reason"], &line["user"]),
        (&"deny".into(), &"container_not_granted".into(), &"U0DANA".into())
    );
    assert_eq!(line["decision"], answer.field("x-scopegate-decision").expect("a decision"));
    assert_eq!((&line["containers"], &line["status"]), (&named("C0EXEC", "#exec"), &200.into()), "{line}");
    gate.passes(&Ask::get(&format!("/api/users.list?token={key}")));
    gate.passes(&Ask::post("/api/users.list").form("token=xoxp-dana-secret"));
    gate.refuses(&Ask::get("/api/xoxb-in-the-path/x?token=xoxb-unknown-secret"), "unknown_app");
    gate.refuses(&Ask::get("/api/users.list?token=%zz&x=xoxb-bad-secret").bearer(&key), "bad_request");
    gate.refuses(&Ask::get("/api/users.list").with("authorization", "Basic c2VjcmV0OnNlY3JldA=="), "unknown_app");
    gate.refuses(&Ask::get("/api/users.list").with("cookie", "d=xoxd-cookie-secret"), "unidentified");
    gate.log.lines(8);
    let text = gate.log.text();
    assert_eq!(text.lines().count(), 8, "{text}");
    for secret in [
        &*key,
        "xoxp-dana-secret",
        "xoxb-the-real-one",
        "xoxb-unknown",
        "xoxb-bad",
        "xoxb-in-the-path",
        "c2VjcmV0",
        "xoxd",
        "private words",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn the_line_of_a_permit_names_some_containers_and_counts_the_others() {
    let gate =
        slack(&slack_app("grants: [{scopes: ['files:write', 'users:read'], actors: [user], in: all}]\n")).start();
    let channels: Vec<String> = (10..35).map(|number| format!("C0A{number}")).collect();
    let upload = format!("channels={}&content=x", channels.join(","));
    gate.passes(&Ask::post("/api/files.upload").form(&upload).bearer("xoxp-dana"));
    let line = gate.log.line(1);
    let ids: Vec<_> = line["containers"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect();
    assert_eq!((ids, &line["containers_more"]), (channels[..20].iter().map(|id| json!(id)).collect(), &5.into()));
    // What reaches the whole tenant names none.
    gate.passes(&Ask::get("/api/users.list").bearer("xoxp-dana"));
    let line = gate.log.line(2);
    assert_eq!((line.get("containers"), line.get("containers_more")), (None, None), "{line}");
}

#[test]
fn user_ids_are_hashed_or_left_out_where_the_operator_says_so() {
    for (users, shown) in [("hashed", true), ("none", false)] {
        let gate = slack(&slack_app("grants: [{scopes: ['users:read'], actors: [user], in: all}]\n"))
            .top("log", &format!("{{users: {users}}}"))
            .start();
        gate.passes(&Ask::get("/api/users.list").bearer("xoxp-dana"));
        let line = gate.log.line(1);
        assert_eq!(line["user"].is_string(), shown, "{line}");
        assert!(!gate.log.text().contains("U0DANA"));
    }
}

/// Ends the gate on a runtime of its own, as `serve` does; the channel hears of its end.
fn drain(gate: &mut Gate) -> std::sync::mpsc::Receiver<()> {
    let (ended, heard) = channel();
    let running = gate.take();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(running.drain());
        let _ = ended.send(());
    });
    heard
}

#[test]
fn a_gate_that_ends_is_not_ready_first_and_finishes_what_it_began() {
    let (release, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let stub = StubUpstream::start(move |seen| {
        if seen.line().contains("PROJ-7") {
            let _ = held.lock().expect("the channel").recv_timeout(DEADLINE);
        }
        Reply::ok("ok")
    });
    let setup = Setup::jira().top("limits", "{drain_delay: 400ms, drain_timeout: 5s}");
    let mut gate = setup.policy("a.yaml", &jira_app("tracker", "oauth", GRANT)).before(stub);
    let (address, readiness) = (gate.address(), gate.running().readiness.clone());
    let ask = |key: &str| Ask::get(&format!("/rest/api/3/issue/{key}")).bearer("tracker").text();
    let mut in_flight = gate.connect();
    in_flight.send(&ask("PROJ-7"));
    gate.upstream.wait_for(1);
    let mut idle = gate.connect();
    idle.send(&ask("PROJ-1"));
    assert_eq!(idle.answer().status, 200);
    let ended = drain(&mut gate);
    wait_until("readiness to go", || !readiness.report().ready);
    // Not ready, and still serving: balancers need the time.
    let mut late = connect(address);
    late.send(&ask("PROJ-2"));
    assert_eq!(late.answer().status, 200);
    wait_until("the listener to close", || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
    assert!(ended.try_recv().is_err(), "a request is still under way");
    release.send(()).expect("the stub waits");
    let answer = in_flight.answer();
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    assert_eq!(in_flight.rest(), "");
    assert_eq!(idle.rest(), "", "an idle connection is closed");
    ended.recv_timeout(DEADLINE).expect("it ends");
    assert_eq!(gate.log.lines(3).len(), 3, "every request was told");
}

#[test]
fn a_request_that_comes_while_the_gate_closes_is_refused_for_now() {
    let setup = Setup::jira().top("limits", "{drain_delay: 1ms, drain_timeout: 5s}");
    let (release, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let stub = StubUpstream::start(move |_| {
        let _ = held.lock().expect("the channel").recv_timeout(DEADLINE);
        Reply::ok("ok")
    });
    let mut gate = setup.policy("a.yaml", &jira_app("tracker", "oauth", GRANT)).before(stub);
    let address = gate.address();
    let ask = Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker").text();
    let (half, rest) = ask.split_at(30);
    let (mut begun, mut in_flight) = (gate.connect(), gate.connect());
    in_flight.send(&ask);
    gate.upstream.wait_for(1);
    begun.send(half);
    let ended = drain(&mut gate);
    wait_until("the listener to close", || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
    begun.send_if_open(rest);
    // Closed, or answered; never passed on.
    if let Some(head) = begun.head() {
        let answer = begun.answer_after(head);
        assert_eq!((answer.status, answer.reason()), (503, Some("draining")));
        assert!(answer.has("retry-after: "));
    }
    assert_eq!(gate.upstream.requests().len(), 1);
    release.send(()).expect("the stub waits");
    assert_eq!(in_flight.answer().status, 200);
    ended.recv_timeout(DEADLINE).expect("it ends");
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let setup = Setup::jira().top("limits", "{drain_delay: 1ms, drain_timeout: 100ms}");
    let mut gate =
        setup.policy("a.yaml", &jira_app("tracker", "oauth", GRANT)).before(StubUpstream::start(|_| Reply::Hang));
    let mut in_flight = gate.connect();
    in_flight.send(&Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker").text());
    gate.upstream.wait_for(1);
    drain(&mut gate).recv_timeout(DEADLINE).expect("it ends");
    in_flight.rest();
    gate.upstream.wait_for_closed(1);
}
