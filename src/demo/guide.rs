//! What the demo prints: where everything is, and calls to copy and paste in order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::folder::{ASSIST, Addresses, Folder, Keys, TIMETRACKER};

/// How `sed` is told to edit a file in place.
const SED: &str = if cfg!(target_os = "macos") { "sed -i ''" } else { "sed -i" };
/// What the line that revokes begins with until it is in force.
const COMMENT: &str = "#- {scopes:";

/// The text of a demo, line by line.
#[derive(Debug)]
pub struct Guide(Vec<Line>);

#[derive(Debug)]
enum Line {
    Title(String),
    Words(String),
    /// To be pasted into a shell.
    Command(String),
}

/// A gate, and the key that its app holds.
struct Caller<'a> {
    gate: SocketAddr,
    key: &'a str,
}

impl Caller<'_> {
    fn call(&self, path: &str, more: &str) -> Line {
        let Self { gate, key } = self;
        Line::Command(format!("curl -si 'http://{gate}{path}' -H 'Authorization: Bearer {key}'{more}"))
    }
}

impl Guide {
    pub(super) fn new(folder: &Folder, addresses: Addresses, keys: Keys) -> io::Result<Self> {
        let [jira, slack] = addresses.gates;
        let (jira, slack) = (Caller { gate: jira, key: &keys.jira }, Caller { gate: slack, key: &keys.slack });
        let mut lines = heading(folder, &addresses);
        lines.extend(jira_steps(&jira, &Edit::find(&folder.path().join(TIMETRACKER))?));
        lines.extend(slack_steps(&slack, &Edit::find(&folder.path().join(ASSIST))?));
        let [upstream, _] = addresses.upstreams;
        let around = Caller { gate: upstream, key: &keys.jira };
        lines.extend([
            title("The way round: what the app holds is worth nothing at the product itself"),
            around.call("/rest/api/3/issue/PROJ-1", ""),
            title("Without asking the gate: why, and what every rule reaches"),
            ask(&folder.config(), "explain", " --app jira/timetracker --tenant acme GET /rest/api/3/issue/SEC-1"),
            ask(&folder.config(), "check", ""),
            title("Ctrl-C stops it all. Each request that a gate judges is a line below."),
        ]);
        Ok(Self(lines))
    }

    /// All of it, coloured for a terminal or plain.
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for line in &self.0 {
            let (before, shown, after) = match line {
                Line::Title(title) if colour => ("\n\u{1b}[1m", title, "\u{1b}[0m\n"),
                Line::Title(title) => ("\n", title, "\n"),
                Line::Words(words) => ("  ", words, "\n"),
                Line::Command(command) if colour => ("    \u{1b}[36m", command, "\u{1b}[0m\n"),
                Line::Command(command) => ("    ", command, "\n"),
            };
            text.extend([before, shown, after]);
        }
        text.push('\n');
        text
    }
}

/// The line of a policy file that revokes once its `#` is gone.
struct Edit {
    file: String,
    line: usize,
}

impl Edit {
    fn find(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let line = text.lines().position(|line| line.trim_start().starts_with(COMMENT));
        let line = line.ok_or_else(|| io::Error::other("a sample policy has no line that revokes"))?;
        Ok(Self { file: path.display().to_string(), line: line + 1 })
    }

    fn revoke(&self) -> [Line; 2] {
        let Self { file, line } = self;
        [
            words(format!("3. Revoke: delete the # in {file}:{line} and save, or")),
            Line::Command(format!("{SED} '{line}s/#//' {file}")),
        ]
    }

    fn give_back(&self) -> [Line; 2] {
        let Self { file, line } = self;
        [
            words("6. Give it back; what gives waits until the folder has been still for half a second:"),
            Line::Command(format!("{SED} '{line}s/- /#- /' {file}")),
        ]
    }
}

fn title(text: impl Into<String>) -> Line {
    Line::Title(text.into())
}

fn words(text: impl Into<String>) -> Line {
    Line::Words(text.into())
}

/// A command of this program, called as this one was.
fn ask(config: &Path, command: &str, more: &str) -> Line {
    let program = std::env::args().next().unwrap_or_else(|| "scopegate".to_owned());
    Line::Command(format!("{program} {command} --config {}{more}", config.display()))
}

fn heading(folder: &Folder, addresses: &Addresses) -> Vec<Line> {
    let [jira, slack] = addresses.gates;
    let path = folder.path().display();
    vec![
        title("scopegate demo: two gates, before a Jira and a Slack that are made up in this process"),
        words(format!("jira      http://{jira}   for the app jira/timetracker in the site acme")),
        words(format!("slack     http://{slack}   for the app slack/assist in the workspace T024BE7LD (Acme Corp)")),
        words(format!("policies  {path}/policies   a saved file is in force, no restart")),
        words(format!("requests  tail -f {}   one JSON line each", folder.log().display())),
        words(format!("metrics   curl -s http://{}/metrics", addresses.health)),
    ]
}

fn jira_steps(jira: &Caller<'_>, edit: &Edit) -> Vec<Line> {
    let (sec, json) = ("/rest/api/3/issue/SEC-1", " -H 'Content-Type: application/json'");
    let mut lines = vec![
        title("Jira: take one scope from one app in one project"),
        words("1. Passes. `upstream_saw` in the answer is the real token; the app holds the gate key alone:"),
        jira.call(sec, ""),
        words("2. Refused: an admin scope, which the guardrail leaves to apps only while they are being installed:"),
        jira.call("/rest/api/3/permissionscheme/10000", &format!("{json} -X PUT -d '{{\"name\":\"mine\"}}'")),
    ];
    lines.extend(edit.revoke());
    lines.extend([
        words("4. The call of 1 is refused now; x-scopegate-reason says why:"),
        jira.call(sec, ""),
        words("5. Other projects are as before:"),
        jira.call("/rest/api/3/issue/PROJ-1", ""),
    ]);
    lines.extend(edit.give_back());
    lines
}

fn slack_steps(slack: &Caller<'_>, edit: &Edit) -> Vec<Line> {
    let post = |channel: &str| slack.call("/api/chat.postMessage", &format!(" -d channel={channel} -d text=hello"));
    let mut lines = vec![
        title("Slack: the same, in the words of Slack"),
        words("1. Passes:"),
        post("C0HELP"),
        words("2. Refused: the app may read everywhere but in #exec:"),
        slack.call("/api/conversations.history?channel=C0EXEC", ""),
    ];
    lines.extend(edit.revoke());
    lines.extend([
        words("4. The call of 1 is refused now:"),
        post("C0HELP"),
        words("5. Another channel is as before:"),
        post("C0TRIAGE"),
    ]);
    lines.extend(edit.give_back());
    lines
}
