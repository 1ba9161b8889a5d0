//! A gate in a process of its own that is killed at any moment, while it revokes, restores, reloads and logs. After each
//! time everything that it had acknowledged holds, and nothing is half there. The suite kills it too, less often.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use scopegate::control::journal::history::History;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Whatever takes longer never comes.
const DEADLINE: Duration = Duration::from_secs(30);
/// So many acts stand before the oldest is taken back.
const STANDING: usize = 3;
/// Between two edits of the policy.
const EDIT_EVERY: Duration = Duration::from_millis(10);
/// A gate lives so long after the first answer: each time a little longer, up to this, and over again.
const LIVES_MAX: Duration = Duration::from_millis(60);

#[allow(dead_code, reason = "the suite kills without printing")]
pub fn measure(times: u32) {
    let began = Instant::now();
    let told = kill(times);
    println!(
        "killed {times} times in {:.0} s: {} acts acknowledged, {} taken back, {} entries of the journal, {} edits of the \
         policy, {} lines of the log; nothing was lost and nothing half there",
        began.elapsed().as_secs_f64(),
        told.acknowledged,
        told.restored,
        told.journaled,
        told.edits,
        told.lines
    );
}

/// What was done in all.
#[derive(Debug, Default)]
pub struct Told {
    pub acknowledged: usize,
    pub restored: usize,
    pub journaled: usize,
    pub edits: u32,
    pub lines: usize,
}

/// What the gate has acknowledged, over all its lives.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Acts that stand, by id: their texts.
    standing: BTreeMap<String, String>,
    /// Acts that were taken back.
    gone: BTreeSet<String>,
    /// An act that is being taken back: nobody said so yet.
    leaving: Option<String>,
    /// Acts and restores that were answered.
    answers: usize,
    /// Entries of the journal: their hashes by number.
    journaled: BTreeMap<u64, String>,
}

pub fn kill(times: u32) -> Told {
    let folder = tempfile::tempdir().expect("a folder");
    set_up(folder.path());
    let mut told = Told::default();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..times {
        let gate = Started::new(folder.path(), &acknowledged);
        holds(folder.path(), &acknowledged.lock().unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let acting = spawn(folder.path(), &over, {
            let acknowledged = Arc::clone(&acknowledged);
            move |folder| act(folder, &acknowledged)
        });
        let mut edits = told.edits;
        let editing = spawn(folder.path(), &over, move |folder| {
            edits += 1;
            edit(folder, edits);
            std::thread::sleep(EDIT_EVERY);
        });
        let asking = spawn(folder.path(), &over, |folder| drop(ask(folder)));
        let (began, before) = (Instant::now(), acknowledged.lock().unwrap().answers);
        while acknowledged.lock().unwrap().answers == before {
            assert!(began.elapsed() < DEADLINE, "nothing is acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(LIVES_MAX.mul_f64(f64::from(round % 30) / 30.0));
        gate.kill();
        over.store(true, Ordering::SeqCst);
        told.acknowledged += acting.join().unwrap();
        told.edits += u32::try_from(editing.join().unwrap()).unwrap();
        asking.join().unwrap();
        told.lines += whole_lines(folder.path());
        let mut acknowledged = acknowledged.lock().unwrap();
        is_whole(folder.path(), &mut acknowledged);
        told.journaled = acknowledged.journaled.len();
    }
    told.restored = acknowledged.lock().unwrap().gone.len();
    told
}

fn set_up(folder: &Path) {
    let text = "version: 1\npolicies: policies\noverrides: state/overrides\nstate: state\nsettle: 1ms\n\
        data_plane: {threads: 1}\nhealth: {listen: 'unix:health.sock'}\nadmin: {listen: 'unix:admin.sock'}\ngates:\n  \
        - name: jira\n    listen: unix:gate.sock\n    product: jira\n    identify: [token]\n    bypass: network\n    \
        upstream: http://127.0.0.1:9\n    tenant: {fixed: acme}\n    issue_keys: prefix\n    names: as_written\n";
    fs::write(folder.join("scopegate.yaml"), text).unwrap();
    fs::create_dir(folder.join("policies")).unwrap();
    edit(folder, 0);
}

/// Writes the policy anew: with a revocation of its own each second time.
fn edit(folder: &Path, number: u32) {
    let digest: String = Sha256::digest("x").iter().map(|byte| format!("{byte:02x}")).collect();
    let more = ["", "revocations: [{scopes: ['read:jira-user'], in: all, reason: r}]\n"][number as usize % 2];
    let text = format!(
        "version: 1\napp: jira/x\nname: X\ncontact: x@example.com\ninstallations:\n  - tenant: acme\n    credentials: \
         [{{method: token, kind: oauth, sha256: \"{digest}\"}}]\ngrants: [{{scopes: ['read:jira-work', \
         'read:jira-user'], actors: [app], in: all}}]\n{more}# {number}\n"
    );
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join("policies/x.yaml")).unwrap();
}

/// Does something over and over until the gate is gone; counts how often it was done.
fn spawn<T>(
    folder: &Path,
    over: &Arc<AtomicBool>,
    mut work: impl FnMut(&Path) -> T + Send + 'static,
) -> JoinHandle<usize>
where
    T: Counts,
{
    let (folder, over) = (folder.to_path_buf(), Arc::clone(over));
    std::thread::spawn(move || {
        let mut count = 0;
        while !over.load(Ordering::SeqCst) {
            count += work(&folder).count();
        }
        count
    })
}

/// How often something was done at once.
trait Counts {
    fn count(self) -> usize;
}

impl Counts for () {
    fn count(self) -> usize {
        1
    }
}

impl Counts for bool {
    fn count(self) -> usize {
        usize::from(self)
    }
}

/// Takes something away, or gives the oldest back. Yes where a new act was acknowledged.
fn act(folder: &Path, acknowledged: &Mutex<Acknowledged>) -> bool {
    let oldest = {
        let mut all = acknowledged.lock().unwrap();
        let oldest = all.standing.keys().next().cloned().filter(|_| all.standing.len() > STANDING);
        all.leaving.clone_from(&oldest);
        oldest
    };
    let Some(id) = oldest else {
        let order = json!({"act": "revoke", "app": "jira/x", "scopes": ["read:jira-work"], "reason": "x"});
        let Some((200, done)) = admin(folder, "POST /api/v1/acts", "", &order) else { return false };
        let text = |key: &str| done[key].as_str().unwrap().to_owned();
        assert_eq!(done["in_force"]["gates"], 1, "{done}");
        let mut all = acknowledged.lock().unwrap();
        all.answers += 1;
        all.standing.insert(text("id"), text("text"));
        return true;
    };
    let Some((200, now)) = admin(folder, "GET /api/v1/snapshot", "", &Value::Null) else { return false };
    let seen = format!("if-match: \"{}\"\r\n", now["generation"]);
    let answer = admin(folder, &format!("POST /api/v1/acts/{id}/restore"), &seen, &json!({"reason": "x"}));
    if let Some((200, _)) = answer {
        let mut all = acknowledged.lock().unwrap();
        all.standing.remove(&id);
        all.gone.insert(id);
        all.answers += 1;
        all.leaving = None;
    }
    false
}

/// What the gate says to a call that the acts take: a reason, or `None` where nobody answers.
fn ask(folder: &Path) -> Option<String> {
    let head =
        "GET /rest/api/3/issue/PROJ-1 HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer x\r\nconnection: close\r\n\r\n";
    let answer = call(&folder.join("gate.sock"), head)?;
    let reason = answer.lines().find_map(|line| line.strip_prefix("x-scopegate-reason: "));
    Some(reason.unwrap_or("none").to_owned())
}

fn admin(folder: &Path, line: &str, fields: &str, body: &Value) -> Option<(u16, Value)> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{fields}content-length: \
         {}\r\n\r\n{body}",
        body.len()
    );
    let answer = call(&folder.join("admin.sock"), &head)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // Half an answer acknowledges nothing.
    Some((status, serde_json::from_str(body).ok()?))
}

fn call(socket: &Path, request: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A gate in a process of its own.
struct Started {
    child: Child,
    reader: JoinHandle<()>,
}

impl Started {
    /// Starts it, and returns when it is ready.
    fn new(folder: &Path, acknowledged: &Arc<Mutex<Acknowledged>>) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("requests.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
        command.current_dir(folder).args(["serve", "--config", "scopegate.yaml"]);
        let mut child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let acknowledged = Arc::clone(acknowledged);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| line.contains("journaled")) {
                let line: Value = serde_json::from_str(&line).unwrap();
                let fields = line.get("fields").unwrap_or(&line);
                let (sequence, head) = (fields["sequence"].as_u64().unwrap(), fields["head"].as_str().unwrap());
                let before = acknowledged.lock().unwrap().journaled.insert(sequence, head.to_owned());
                assert_eq!(before, None, "entry {sequence} was written twice");
            }
        });
        let gate = Self { child, reader };
        let began = Instant::now();
        let ready = "GET /readyz HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n";
        let is_ready =
            || call(&folder.join("health.sock"), ready).is_some_and(|answer| answer.contains("\"ready\":true"));
        while !is_ready() {
            assert!(began.elapsed() < DEADLINE, "the gate does not come up");
            std::thread::sleep(Duration::from_millis(2));
        }
        gate
    }

    fn kill(mut self) {
        // SIGKILL: nothing of it runs any more.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap();
    }
}

/// A gate that is ready has every acknowledged act in force.
fn holds(folder: &Path, acknowledged: &Acknowledged) {
    let reason = ask(folder);
    let refuses = reason.as_deref() == Some("scope_revoked");
    assert_eq!(refuses, !acknowledged.standing.is_empty(), "{reason:?} with {acknowledged:?}");
}

/// What a killed gate left behind: acts that are whole, each that it acknowledged, and a journal that holds.
fn is_whole(folder: &Path, acknowledged: &mut Acknowledged) {
    let mut there = acts(&folder.join("state/overrides"));
    let leaving = acknowledged.leaving.take();
    for (id, text) in &acknowledged.standing {
        match there.remove(id) {
            Some(found) => assert_eq!(&found, text, "{id} is not what was acknowledged"),
            None => assert_eq!(Some(id), leaving.as_ref(), "{id} is lost"),
        }
    }
    if let Some(id) = leaving.filter(|id| !folder.join(format!("state/overrides/{id}.yaml")).exists()) {
        acknowledged.standing.remove(&id);
        acknowledged.gone.insert(id);
    }
    // Ordered, and not acknowledged before the kill: there whole, or not at all.
    for (id, text) in there {
        assert!(!acknowledged.gone.contains(&id), "{id} came back");
        assert!(
            said(&text).starts_with("version: 1\napp: jira/x\n") && text.ends_with("reason: x}\n"),
            "{id} is torn: {text}"
        );
        acknowledged.standing.insert(id, text);
    }
    let history = History::open(&folder.join("state")).unwrap_or_else(|error| panic!("{error}"));
    history.verify().unwrap_or_else(|broken| panic!("{broken:?}"));
    let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let known: BTreeMap<u64, String> =
        history.entries(0).unwrap().into_iter().map(|(entry, hash)| (entry.sequence, hex(&hash))).collect();
    let first = known.keys().next().copied().unwrap_or_default();
    for (sequence, hash) in acknowledged.journaled.range(first..) {
        assert_eq!(known.get(sequence), Some(hash), "entry {sequence} is lost");
    }
}

fn acts(overrides: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(overrides) else { return BTreeMap::new() };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    // Names with a dot first are not entered by any reader.
    let named = |path: &Path| Some(path.file_name()?.to_str()?.strip_suffix(".yaml")?.to_owned());
    let acts = paths.iter().filter_map(|path| named(path).map(|id| (id, path))).filter(|(id, _)| !id.starts_with('.'));
    acts.map(|(id, path)| (id, fs::read_to_string(path).unwrap())).collect()
}

/// Lines of the request log that are whole. The last one may have been cut by the kill; it is counted off.
fn whole_lines(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("requests.log")).unwrap();
    fs::remove_file(folder.join("requests.log")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    lines.iter().for_each(|line| assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"));
    lines.len()
}

/// What follows the line that says who made it.
fn said(act: &str) -> &str {
    match act.split_once('\n') {
        Some((first, rest)) if first.starts_with("# ") => rest,
        _ => act,
    }
}
