//! `scopegate serve`: it starts from what the repository ships, and says by line and remedy what keeps it from starting.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::support::gate::{Ask, Gate, Setup, connect};
use crate::support::upstream::{Reply, StubUpstream, wait_until};

/// Long enough for a loaded machine; nothing waits for it when all goes well.
const DEADLINE: Duration = Duration::from_secs(30);

/// A gate in a process of its own. It ends when it is dropped.
struct Served {
    child: Child,
    lines: Receiver<String>,
}

impl Served {
    fn start(folder: &Path) -> Self {
        Self::of(command(folder, &["serve"]))
    }

    /// As a [`Setup`] was laid.
    fn laid(gate: &Gate) -> Self {
        let served = Self::of(command(gate.folder.path(), &["serve", "--config", "scopegate.yaml"]));
        let health = served.health();
        wait_until("the gate to be ready", || is_ready(health));
        served
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    /// Where the health listener is, as the log says.
    fn health(&self) -> SocketAddr {
        self.address("health listens")
    }

    fn address(&self, message: &str) -> SocketAddr {
        self.event(message)["address"].as_str().unwrap().parse().unwrap()
    }

    /// The next event with this message.
    fn event(&self, message: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        let mut told = String::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == message {
                return event;
            }
            told.push_str(&line);
            told.push('\n');
        }
        panic!("nobody says {message:?}: {told}");
    }

    /// Sends a signal.
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(health: SocketAddr) -> bool {
    answer(TcpStream::connect(health).unwrap(), "GET /readyz", "").0 == 200
}

/// Status and body of the answer to a request without keep-alive.
fn answer(mut stream: impl std::io::Read + std::io::Write, request: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-length: {length}\r\n");
    write!(stream, "{head}content-type: application/json\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn copy(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::create_dir(to.join(name)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(name).join(entry.file_name())).unwrap();
    }
}

/// What a fresh checkout has of `config/` and `policies/`, on ports that nobody else has.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy("config", folder.path());
    copy("policies", folder.path());
    let path = folder.path().join("config/scopegate.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let ports = ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:9902"];
    let text = ports.iter().fold(text, |text, port| {
        assert!(text.contains(port), "{port}");
        text.replacen(port, "127.0.0.1:0", 1)
    });
    fs::write(path, text).unwrap();
    folder
}

/// The question that the README sends to the admin socket.
fn question_of_the_readme() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, after) = readme.split_once("/api/v1/explain -H 'content-type: application/json' \\\n    -d '").unwrap();
    after.split_once('\'').unwrap().0.to_owned()
}

#[test]
fn what_the_repository_ships_starts_in_a_folder_that_holds_nothing_else() {
    let folder = checkout();
    let gate = Served::start(folder.path());
    let health = gate.health();
    wait_until("the gate to be ready", || is_ready(health));
    let mode = fs::metadata(folder.path().join("state")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "state/ is the gate's own");

    // As `curl --unix-socket state/admin.sock` of the README.
    let admin = || UnixStream::connect(folder.path().join("state/admin.sock")).unwrap();
    let (status, body) = answer(admin(), "POST /api/v1/explain", &question_of_the_readme());
    let explained: Value = serde_json::from_str(&body).unwrap_or_default();
    assert_eq!((status, &explained["decision"]), (200, &json!("permit")), "{body}");
    // Whoever asks in JSON is told what to write in JSON.
    let vague = r#"{"app": "jira/timetracker", "tenant": "acme", "path": "/rest/api/3/issue/PROJ-1"}"#;
    let (status, body) = answer(admin(), "POST /api/v1/explain", vague);
    let error: Value = serde_json::from_str(&body).unwrap();
    let error = error["error"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(error.contains(r#"`"kind": "connect"`"#) && error.contains(r#"`"user": "dana"`"#), "{error}");
    assert!(!error.contains("--kind"), "{error}");
}

/// A gate before the small product, with more of a configuration. `listen` is the gate's.
fn small(listen: &str, more: &str) -> tempfile::TempDir {
    let folder = tracker();
    let text = format!(
        "version: 1\ngates:\n  - name: tracker\n    listen: {listen}\n    catalog: ../tracker.yaml\n    identify: [gate_key]\n    \
         upstream: http://127.0.0.1:9\n    bypass: credential\n    tenant: {{fixed: acme}}\npolicies: ../policies\n{more}"
    );
    write(folder.path(), "config/scopegate.yaml", &text);
    folder
}

/// It does not start, and these are its words.
#[track_caller]
fn does_not_start(folder: &Path, parts: &[&str]) {
    let mut gate = Served::start(folder);
    let end = Instant::now() + DEADLINE;
    let mut told = String::new();
    while let Ok(line) = gate.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        told.push_str(&line);
        told.push('\n');
    }
    assert!(Instant::now() < end, "it started: {told}");
    assert_eq!(gate.child.wait().unwrap().code(), Some(1), "{told}");
    for part in parts {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
}

#[test]
fn an_address_that_is_taken_is_said_with_the_gate_and_the_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = small(&address, "");
    let gate = format!("gate tracker, listen {address}: Address already in use");
    let remedy = "stop the other process or choose another `listen`";
    does_not_start(folder.path(), &[&gate, remedy, "config/scopegate.yaml:4", &format!("listen: {address}")]);

    for listener in ["health", "admin"] {
        let token = if listener == "admin" { ", token: {file: ../token}" } else { "" };
        let folder = small("127.0.0.1:0", &format!("{listener}: {{listen: '{address}'{token}}}\n"));
        let said = format!("{listener}, listen {address}: Address already in use");
        does_not_start(folder.path(), &[&said, remedy, "config/scopegate.yaml:11"]);
    }
}

#[test]
fn the_folders_of_state_and_admin_socket_are_made_and_none_above_them() {
    let folder = small("127.0.0.1:0", "state: ../far/away\nadmin: {listen: 'unix:../no/where/admin.sock'}\n");
    let state = "the folder of `state`, config/../far/away, cannot be made: No such file or directory";
    let socket = "the folder of the admin socket, config/../no/where, cannot be made";
    let remedy = "make the folder config/../far, in which it is made, or correct the path";
    does_not_start(
        folder.path(),
        &[state, socket, remedy, "config/scopegate.yaml:11", "config/scopegate.yaml:12", "2 errors"],
    );
    assert!(!folder.path().join("far").exists() && !folder.path().join("no").exists());

    write(folder.path(), "far", "");
    does_not_start(folder.path(), &["config/../far/away, cannot be made: Not a directory", "no folder stands there"]);
}

#[test]
fn the_folder_of_a_gates_own_socket_is_not_made() {
    let folder = small("'unix:../run/tracker.sock'", "");
    let said = "gate tracker, listen unix:config/../run/tracker.sock: No such file or directory";
    let remedy = "make the folder config/../run, which callers must be able to enter";
    does_not_start(folder.path(), &[said, remedy, "config/scopegate.yaml:4"]);
    assert!(!folder.path().join("run").exists());

    write(folder.path(), "run/tracker.sock", "kept");
    does_not_start(folder.path(), &["Address already in use", "move away what stands there, which is no socket"]);
    assert_eq!(fs::read_to_string(folder.path().join("run/tracker.sock")).unwrap(), "kept");
}

#[test]
fn an_admin_listener_without_its_token_says_which_line_wants_it() {
    let folder = small("127.0.0.1:0", "admin: {listen: '127.0.0.1:0', token: {file: ../token}}\n");
    does_not_start(folder.path(), &["admin, token config/../token", "config/scopegate.yaml:11", "a random text"]);
}

/// `jira/tracker` with one token.
fn tracker_policy() -> &'static str {
    "version: 1\napp: jira/tracker\nname: Tracker\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
     credentials: [{method: token, kind: oauth, sha256: sha256(tracker)}]\n\
     grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n"
}

#[test]
fn a_gate_that_is_told_to_end_is_not_ready_first_and_finishes_what_it_began() {
    for signal in ["-TERM", "-INT"] {
        let (release, held) = channel::<()>();
        let held = Mutex::new(held);
        let stub = StubUpstream::start(move |seen| {
            if seen.line().contains("PROJ-7") {
                let _ = held.lock().unwrap().recv_timeout(DEADLINE);
            }
            Reply::ok("ok")
        });
        let setup = Setup::jira().top("limits", "{drain_delay: 1500ms, drain_timeout: 30s}");
        let gate = setup.policy("tracker.yaml", tracker_policy()).laid(stub);
        let mut served = Served::of(command(gate.folder.path(), &["serve", "--config", "scopegate.yaml"]));
        let (address, health) = (served.address("gate listens"), served.health());
        wait_until("the gate to be ready", || is_ready(health));
        let ask = |key: &str| Ask::get(&format!("/rest/api/3/issue/{key}")).bearer("tracker").text();
        let mut in_flight = connect(address);
        in_flight.send(&ask("PROJ-7"));
        gate.upstream.wait_for(1);

        let told = Instant::now();
        served.signal(signal);
        wait_until("readiness to go", || !is_ready(health));
        // Not ready, and still taking connections: balancers need the time.
        let mut late = connect(address);
        late.send(&ask("PROJ-2"));
        assert_eq!(late.answer().status, 200, "{signal}");
        wait_until("the listener to close", || TcpStream::connect(address).is_err());
        assert!(told.elapsed() >= Duration::from_millis(1500), "{signal}: {:?}", told.elapsed());
        assert_eq!(served.child.try_wait().unwrap(), None, "{signal}: a request is under way");
        release.send(()).unwrap();
        let answer = in_flight.answer();
        assert_eq!((answer.status, &*answer.body), (200, "ok"), "{signal}");
        while served.lines.recv_timeout(DEADLINE).is_ok() {}
        assert_eq!(served.child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(gate.upstream.requests().len(), 2, "{signal}");
    }
}

#[test]
fn a_reload_says_which_cells_changed_in_the_gates_own_log() {
    let policy = |rules: &str| {
        format!(
            "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: T024BE7LD\n    \
             tenant_name: Acme Corp\n    credentials: [{{method: token, kind: user, user: U0DANA, sha256: sha256(xoxp-dana)}}]\n\
             grants: [{{scopes: ['chat:write'], actors: [app, user], in: all}}]\n{rules}"
        )
    };
    let gate = Setup::slack().policy("assist.yaml", &policy("")).laid(StubUpstream::ok());
    let served = Served::laid(&gate);
    let revoked =
        "revocations: [{scopes: ['chat:write'], actors: [user], in: {channel: [C0EXEC]}, reason: SEC-1142}]\n";
    gate.write_policy("assist.yaml", &policy(revoked));
    let event = served.event("slack/assist in T024BE7LD (Acme Corp) loses chat:write in channel C0EXEC, as user");
    assert_eq!(event["level"], "INFO", "{event}");
    gate.write_policy("assist.yaml", &policy(""));
    served.event("slack/assist in T024BE7LD (Acme Corp) gains chat:write in channel C0EXEC, as user");
    // What people call a channel is said beside its id.
    gate.write_policy("names.yaml", "version: 1\nnames: slack\ntenant: T024BE7LD\nentries: {C0EXEC: '#exec'}\n");
    let fewer =
        policy(revoked).replace("scopes: ['chat:write'], actors: [app, user]", "scopes: ['chat:write'], actors: [app]");
    gate.write_policy("assist.yaml", &fewer);
    served.event("slack/assist in T024BE7LD (Acme Corp) loses chat:write everywhere, as user");
    served.event("slack/assist in T024BE7LD (Acme Corp) loses chat:write in channel C0EXEC (#exec), as user");
}
