//! The log of requests, twice: whole in a file, and as one short line for the terminal.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Lines that wait for a slow terminal. More are only in the file.
const SHOWN_MAX: usize = 256;

/// Writes what it gets to a file, and sends each whole line on.
#[derive(Debug)]
pub(super) struct Tee {
    file: File,
    /// What came since the last line end.
    begun: Vec<u8>,
    shown: Sender<Shown>,
}

impl Tee {
    pub(super) fn create(path: &Path) -> io::Result<(Self, Receiver<Shown>)> {
        let (shown, receiver) = channel(SHOWN_MAX);
        Ok((Self { file: File::create_new(path)?, begun: Vec::new(), shown }, receiver))
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            if let Ok(shown) = serde_json::from_slice(&line) {
                // A terminal that is stopped must not stop the log.
                let _ = self.shown.try_send(shown);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What is shown of a line. All text was made printable when the line was written.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    time: String,
    outcome: String,
    reason: Option<String>,
    app: Option<String>,
    operation: Option<String>,
    method: String,
    path: String,
    #[serde(default)]
    containers: Vec<Container>,
    decided_by: Option<String>,
    status: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct Container {
    kind: String,
    id: String,
    name: Option<String>,
}

impl Shown {
    /// `09:30:12 deny 404 container_revoked jira/timetracker getIssue project SEC <- timetracker.yaml:22`
    pub(super) fn line(&self, colour: bool) -> String {
        let code = if self.outcome == "permit" { "32" } else { "31" };
        let mut words = vec![self.time.get(11..19).unwrap_or_default().to_owned()];
        words.push(if colour { format!("\u{1b}[1;{code}m{}\u{1b}[0m", self.outcome) } else { self.outcome.clone() });
        words.extend(self.status.map(|status| status.to_string()));
        words.extend(self.reason.clone());
        words.push(self.app.clone().unwrap_or_else(|| "(no app)".into()));
        words.push(self.operation.clone().unwrap_or_else(|| format!("{} {}", self.method, self.path)));
        match self.containers.as_slice() {
            // Slack's path says the operation again.
            [] => words
                .extend(self.operation.as_ref().filter(|name| !self.path.ends_with(*name)).map(|_| self.path.clone())),
            all => words.extend(all.iter().map(Container::shown)),
        }
        if self.outcome == "deny" {
            let place = self.decided_by.as_deref().map(|place| place.rsplit('/').next().unwrap_or(place));
            words.extend(place.map(|place| format!("<- {place}")));
        }
        words.join(" ")
    }
}

impl Container {
    fn shown(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{} {}{name}", self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_where_and_by_which_line() {
        let json = r##"{"time":"2026-11-22T09:30:12.001Z","outcome":"deny","reason":"container_revoked","method":"POST",
            "app":"slack/assist","operation":"chat.postMessage","path":"/api/chat.postMessage","status":200,
            "containers":[{"kind":"channel","id":"C0EXEC","name":"#exec"}],"decided_by":"/x/assist.yaml:20"}"##;
        let shown: Shown = serde_json::from_str(json).unwrap();
        let line = "09:30:12 deny 200 container_revoked slack/assist chat.postMessage channel C0EXEC (#exec) <- assist.yaml:20";
        assert_eq!(shown.line(false), line);
    }

    #[test]
    fn a_line_in_pieces_is_shown_once_and_kept_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut tee, mut shown) = Tee::create(&path).unwrap();
        let line = b"{\"time\":\"\",\"outcome\":\"permit\",\"method\":\"GET\",\"path\":\"/x\"}\n";
        tee.write_all(&line[..20]).unwrap();
        assert!(shown.try_recv().is_err());
        tee.write_all(&line[20..]).unwrap();
        assert_eq!(shown.try_recv().unwrap().line(false), " permit (no app) GET /x");
        assert!(shown.try_recv().is_err());
        assert_eq!(std::fs::read(&path).unwrap(), line);
    }
}
