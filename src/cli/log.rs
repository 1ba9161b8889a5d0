//! `scopegate log`: what changed, who did it and why, out of the journal; and whether the journal holds.
//!
//! Reads the file itself, while a gate runs or not.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::words::{count, time_text};
use super::{Answer, Failure, Format, Output, load};
use crate::control::admin::view::EntryView;
use crate::control::journal::database::DatabaseError;
use crate::control::journal::entry::{Entry, FileChange, Hash, hex};
use crate::control::journal::history::{Broken, History, Verified};
use crate::problem::escaped;

/// Entries that are shown unless it is said how many.
const SHOWN: usize = 50;

/// Files that are named for a person; the rest is counted.
const FILES_SHOWN: usize = 10;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LogArgs {
    #[command(subcommand)]
    command: Option<LogCommand>,
    /// Only what changes this app
    #[arg(long)]
    pub app: Option<String>,
    /// Only from this time on (RFC 3339)
    #[arg(long, value_parser = super::explain::time_of)]
    pub since: Option<i64>,
    /// The newest so many; absent, 50 for people and all for programs
    #[arg(long)]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// `json` is one line for each entry
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Where the state folder is.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// The configuration that names the state folder
    #[arg(long, default_value = load::CONFIG)]
    pub config: PathBuf,
    /// The state folder itself
    #[arg(long)]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Follows the whole chain: exit code 1 if an entry is missing or was altered
    Verify {
        /// The hash that the newest entry must have, or an older one that is kept: as the gate logged it
        #[arg(long)]
        head: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

impl PlaceArgs {
    /// The state folder.
    ///
    /// # Errors
    /// The configuration cannot be read, or names none: then nothing is kept.
    pub fn state(&self) -> Result<PathBuf, Failure> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let known = |name: &str| crate::authz::catalog::builtin::catalog(name).is_some();
        let config = crate::config::load(&self.config, &known)
            .map_err(|problems| Failure::Other(crate::problem::render_human(&problems, false)))?;
        let off = || Failure::Other(format!("{} names no state folder, so nothing is kept", self.config.display()));
        config.state.as_deref().map(crate::app::plain).ok_or_else(off)
    }

    /// The journal in it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn history(&self) -> Result<History, Failure> {
        let state = self.state()?;
        let failed = |error: DatabaseError| Failure::Other(format!("the journal in {}: {error}", state.display()));
        History::open(&state).map_err(failed)
    }
}

/// Lists entries, or checks them.
pub fn run(args: &LogArgs, output: &mut Output<'_>) -> Answer {
    if let Some(LogCommand::Verify { head, place, format }) = &args.command {
        return verify(&place.history()?, head.as_deref(), *format, output);
    }
    let entries = args.place.history()?.entries(0).map_err(unreadable)?;
    let speaks = |entry: &Entry| {
        args.since.is_none_or(|since| entry.time_ms >= since)
            && args.app.as_ref().is_none_or(|app| speaks_of(entry, app))
    };
    let chosen: Vec<&(Entry, Hash)> = entries.iter().filter(|(entry, _)| speaks(entry)).collect();
    let limit = args.limit.unwrap_or(if args.format == Format::Json { usize::MAX } else { SHOWN });
    let skipped = chosen.len().saturating_sub(limit);
    for (entry, hash) in chosen.iter().skip(skipped) {
        match args.format {
            Format::Json => writeln!(output.out, "{}", json_of(entry, hash))?,
            Format::Human => human(entry, args.app.as_deref(), output)?,
        }
    }
    if args.format == Format::Human {
        let older = if skipped > 0 { format!("; {skipped} older ones are not shown") } else { String::new() };
        let shown = chosen.len() - skipped;
        writeln!(output.out, "{} {}{older}", shown, if shown == 1 { "entry" } else { "entries" })?;
    }
    Ok(true)
}

pub fn unreadable(error: DatabaseError) -> Failure {
    Failure::Other(format!("the journal cannot be read: {error}"))
}

/// Whether a sentence speaks of an app: as a whole word, so that `jira/a` is not found in `jira/ab`.
fn names(line: &str, app: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    line.match_indices(app).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + app.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Whether an entry changes this app.
pub fn speaks_of(entry: &Entry, app: &str) -> bool {
    entry.changes.iter().any(|line| names(line, app))
}

/// An entry as the admin API shows it.
pub fn view(entry: Entry, hash: &Hash) -> EntryView {
    EntryView { time: time_text(entry.time_ms), hash: hex(hash), entry }
}

fn json_of(entry: &Entry, hash: &Hash) -> Value {
    json!(view(entry.clone(), hash))
}

fn human(entry: &Entry, app: Option<&str>, output: &mut Output<'_>) -> std::io::Result<()> {
    let paint = output.paint;
    let by = if entry.by.is_empty() { String::new() } else { format!("  by {}", entry.by.join(", ")) };
    let known = entry.principals.join(", ");
    let by = if known.is_empty() || entry.by == entry.principals { by } else { format!("{by} ({known})") };
    let why = if entry.reason.is_empty() { String::new() } else { format!("  {}", entry.reason.join("; ")) };
    let head = format!("{}  {}{by}{why}", time_text(entry.time_ms), entry.source.as_str());
    writeln!(output.out, "{}  {}", paint.bold(&entry.sequence.to_string()), escaped(&head))?;
    for line in entry.changes.iter().filter(|line| app.is_none_or(|app| names(line, app))) {
        writeln!(output.out, "    {}", escaped(line))?;
    }
    if entry.changes_more > 0 {
        writeln!(output.out, "    and {} more", entry.changes_more)?;
    }
    for file in entry.files.iter().take(FILES_SHOWN) {
        writeln!(output.out, "    {}", paint.dim(&escaped(&file_words(file))))?;
    }
    if entry.files.len() > FILES_SHOWN {
        writeln!(
            output.out,
            "    {}",
            paint.dim(&format!("and {}", count(entry.files.len() - FILES_SHOWN, "more file")))
        )?;
    }
    if entry.folded > 0 {
        writeln!(
            output.out,
            "    with {} that could not be written in time",
            count(entry.folded as usize, "earlier change")
        )?;
    }
    Ok(())
}

fn file_words(file: &FileChange) -> String {
    let what = match (&file.before, &file.after) {
        (None, _) => "came",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "went",
    };
    format!("{} file {} {what}", file.folder.as_str(), file.path)
}

fn verify(history: &History, expected: Option<&str>, format: Format, output: &mut Output<'_>) -> Answer {
    let mut verified = history.verify();
    if let (Ok(_), Some(expected)) = (&verified, expected) {
        let known = history.entries(0).map_err(unreadable)?;
        if !known.iter().any(|(_, hash)| hex(hash) == expected.to_ascii_lowercase()) {
            let why = format!("no entry has the hash {expected}: the end was cut off, or written anew");
            verified = Err(Broken { sequence: None, why });
        }
    }
    match (&verified, format) {
        (Ok(verified), Format::Json) => {
            let Verified { entries, anchor, head, texts_missing } = verified;
            let told = json!({
                "holds": true, "entries": entries, "from": anchor.sequence + 1, "to": head.sequence,
                "head": hex(&head.hash), "texts_missing": texts_missing,
            });
            writeln!(output.out, "{told}")?;
        }
        (Err(broken), Format::Json) => {
            writeln!(output.out, "{}", json!({"holds": false, "entry": broken.sequence, "why": broken.why}))?;
        }
        (Ok(verified), Format::Human) => {
            let Verified { entries, anchor, head, texts_missing } = verified;
            let (from, to) = (anchor.sequence + 1, head.sequence);
            writeln!(output.out, "the journal holds: {entries} entries, {from} to {to}, head {}", hex(&head.hash))?;
            if anchor.sequence > 0 {
                writeln!(
                    output.out,
                    "entries up to {} are not kept; the rest follows from their last hash",
                    anchor.sequence
                )?;
            }
            if *texts_missing > 0 {
                writeln!(
                    output.out,
                    "{} are not kept: no rollback to them",
                    count(*texts_missing as usize, "text of a file")
                )?;
            }
        }
        (Err(broken), Format::Human) => {
            let at = broken.sequence.map_or_else(String::new, |sequence| format!(" at entry {sequence}"));
            writeln!(output.out, "the journal does not hold{at}: {}", broken.why)?;
        }
    }
    Ok(verified.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_found_by_its_whole_name() {
        assert!(names("guardrail g in acme takes READ from jira/a, jira/b", "jira/a"));
        assert!(names("jira/a in acme loses READ", "jira/a"));
        assert!(!names("jira/ab in acme loses READ", "jira/a"));
        assert!(!names("xjira/a in acme loses READ", "jira/a"));
    }
}
