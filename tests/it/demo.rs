//! The demo does what it prints: its calls are run as they stand in the text, and so are its edits.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use scopegate::demo::{Demo, DemoOptions};

use crate::support::upstream::DEADLINE;

fn start() -> (Demo, String) {
    let demo = Demo::start(DemoOptions::default(), &[]).expect("the demo starts");
    let text = demo.guide().text(false);
    (demo, text)
}

/// The lines below a title or a numbered step that are to be pasted into a shell.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.starts_with("curl") || line.starts_with("sed")).map(words).collect()
}

/// As a shell parts them; single quotes are the only quoting that is printed.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn passed(&self) -> bool {
        self.text.contains("upstream_saw") && !self.text.contains("x-scopegate-reason")
    }

    fn refused(&self, reason: &str) -> bool {
        self.text.contains(&format!("x-scopegate-reason: {reason}\r\n")) && !self.text.contains("upstream_saw")
    }
}

/// Does what a printed `curl` does.
fn curl(command: &[String]) -> Answer {
    let (mut method, mut url, mut headers, mut body) = (None, "", String::new(), String::new());
    let mut rest = command[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-si" => {}
            "-X" => method = rest.next().cloned(),
            "-H" => headers.push_str(&format!("{}\r\n", rest.next().unwrap())),
            "-d" if body.is_empty() => body.push_str(rest.next().unwrap()),
            "-d" => body.push_str(&format!("&{}", rest.next().unwrap())),
            other => url = other,
        }
    }
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    if !body.is_empty() && !headers.contains("Content-Type") {
        headers.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
    }
    let method = method.unwrap_or_else(|| if body.is_empty() { "GET".into() } else { "POST".into() });
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}{length}\r\n{body}")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Answer { status: text[9..12].parse().unwrap(), text }
}

/// Does what a printed `sed` does.
fn sed(command: &[String]) {
    let [.., script, file] = command else { panic!("{command:?}") };
    let (line, change) = script.split_once('s').unwrap();
    let parts: Vec<&str> = change.split('/').collect();
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = &mut lines[line.parse::<usize>().unwrap() - 1];
    assert!(line.contains(parts[1]), "{script} finds nothing in {line}");
    *line = line.replacen(parts[1], parts[2], 1);
    // As sed -i does it: a new file, renamed over.
    let new = format!("{file}.sed");
    std::fs::write(&new, lines.join("\n") + "\n").unwrap();
    std::fs::rename(&new, file).unwrap();
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_printed_calls_pass_are_refused_and_follow_the_edits() {
    let (_demo, text) = start();
    let commands = commands(&text);
    let [jira, slack, around] = [&commands[..6], &commands[6..12], &commands[12..]];
    for (steps, before, after) in
        [(jira, "install_window_closed", "container_revoked"), (slack, "container_revoked", "container_revoked")]
    {
        let [passes, refused, revoke, again, others, give_back] = steps else { panic!("{text}") };
        assert!(curl(passes).passed(), "{:?}", curl(passes));
        assert!(curl(refused).refused(before), "{:?}", curl(refused));
        sed(revoke);
        until("the revocation is in force", || curl(again).refused(after));
        assert!(curl(others).passed(), "{:?}", curl(others));
        sed(give_back);
        until("what was given back is in force", || curl(passes).passed());
    }
    let answer = curl(&around[0]);
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("upstream_saw"), "the made-up Jira itself refuses a gate key");
}

#[test]
fn the_upstream_sees_the_real_credential_and_never_the_gate_key() {
    let (_demo, text) = start();
    for command in [&commands(&text)[0], &commands(&text)[6]] {
        let answer = curl(command);
        assert!(answer.text.contains("Bearer real-"), "{answer:?}");
        assert!(!answer.text.contains("sg_"), "{answer:?}");
    }
}

#[test]
fn each_request_is_shown_in_one_line() {
    let (mut demo, text) = start();
    curl(&commands(&text)[6]);
    let mut shown = None;
    until("the line is shown", || {
        shown = shown.take().or_else(|| demo.next_shown());
        shown.is_some()
    });
    let line = shown.unwrap();
    assert!(line.ends_with("permit 200 slack/assist chat.postMessage channel C0HELP (#help)"), "{line}");
}

#[test]
fn nothing_is_left_at_the_end() {
    let (demo, text) = start();
    let folder = demo.folder().to_owned();
    for file in ["policies/timetracker.yaml", "policies/assist.yaml", "scopegate.yaml", "requests.log"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert!(text.contains(&folder.display().to_string()));
    drop(demo);
    assert!(!folder.exists());
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    for signal in ["-INT", "-TERM"] {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .arg("demo")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
        let policies = lines.find(|line| line.starts_with("  policies")).unwrap();
        let folder = Path::new(policies.split_whitespace().nth(1).unwrap()).parent().unwrap();
        assert!(folder.is_dir());
        lines.find(|line| line.starts_with("Ctrl-C")).unwrap();
        assert!(demo.try_wait().unwrap().is_none(), "it runs until it is told to end");
        assert!(Command::new("kill").args([signal, &demo.id().to_string()]).status().unwrap().success());
        assert_eq!(lines.last(), Some(format!("stopped; {} is removed", folder.display())));
        assert!(demo.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
