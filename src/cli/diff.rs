//! `scopegate diff OLD NEW`: which cells change from one policy to another, and whether anything widens: for pull requests.
//!
//! Exit code 1 where something widens, or where either side is broken: whoever merges must look.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::load::{self, Loaded, Sources};
use super::words::count;
use super::{Answer, Failure, Format, Output};
use crate::authz::policy::cells::widening;
use crate::problem::escaped;

/// A comment on a pull request holds 65,536 characters; the rest is counted.
const MARKDOWN_BYTES_MAX: usize = 60_000;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The policy as it is: a folder or a file
    pub old: PathBuf,
    /// The policy as it would be
    pub new: PathBuf,
    /// The configuration whose catalogs count; absent, the built-in ones. Its own policies are not read
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A catalog of your own, in place of the built-in one of its product
    #[arg(long)]
    pub catalog: Vec<PathBuf>,
    /// What has ended by this time (RFC 3339) counts as gone; absent, now
    #[arg(long, value_parser = super::explain::time_of)]
    pub at: Option<i64>,
    #[arg(long, value_enum, default_value_t = DiffFormat::Human)]
    pub format: DiffFormat,
}

/// For people, for programs, or for a comment on a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    Human,
    Json,
    Markdown,
}

/// What differs, in sentences.
struct Compared {
    widens: Vec<String>,
    narrows: Vec<String>,
}

/// Compares two policies.
pub fn run(args: &DiffArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = args.at.unwrap_or_else(crate::clock::unix_ms);
    let read = |path: &PathBuf| {
        if !path.exists() {
            return Err(Failure::Usage(format!("there is nothing at {}", path.display())));
        }
        let sources =
            Sources { config: args.config.clone(), policies: vec![path.clone()], catalogs: args.catalog.clone() };
        Ok(load::load_only(&sources, now_ms))
    };
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    for side in [&old, &new] {
        if side.has_errors() || side.policy().is_none() {
            let format = if args.format == DiffFormat::Json { Format::Json } else { Format::Human };
            return super::refuse_broken(side, format, output);
        }
    }
    let compared = compare(&old, &new, now_ms);
    match args.format {
        DiffFormat::Json => {
            let Compared { widens, narrows } = &compared;
            let verdict = json!({ "widens": !widens.is_empty(), "widening": widens, "narrowing": narrows });
            writeln!(output.out, "{verdict}")?;
        }
        DiffFormat::Human => human(&compared, output)?,
        DiffFormat::Markdown => output.out.write_all(markdown(&compared).as_bytes())?,
    }
    Ok(compared.widens.is_empty())
}

fn compare(old: &Loaded, new: &Loaded, now_ms: i64) -> Compared {
    let (Some(before), Some(after)) = (old.policy(), new.policy()) else {
        return Compared { widens: Vec::new(), narrows: Vec::new() };
    };
    Compared {
        widens: widening(before, after, &new.catalogs, now_ms).words(false),
        narrows: widening(after, before, &new.catalogs, now_ms).words(true),
    }
}

fn verdict(compared: &Compared) -> String {
    match (compared.widens.len(), compared.narrows.len()) {
        (0, 0) => "no cell changes".to_owned(),
        (0, narrows) => format!("nothing widens; {} narrows", count(narrows, "change")),
        (widens, narrows) => format!("{} widens, {} narrows", count(widens, "change"), count(narrows, "change")),
    }
}

fn human(compared: &Compared, output: &mut Output<'_>) -> std::io::Result<()> {
    let paint = output.paint;
    for line in &compared.widens {
        writeln!(output.out, "{} {}", paint.red("+"), escaped(line))?;
    }
    for line in &compared.narrows {
        writeln!(output.out, "{} {}", paint.green("-"), escaped(line))?;
    }
    writeln!(output.out, "{}", verdict(compared))
}

fn markdown(compared: &Compared) -> String {
    let mut text = format!("### scopegate: {}\n", verdict(compared));
    let mut left_out = 0;
    for (title, lines) in [("Widens", &compared.widens), ("Narrows", &compared.narrows)] {
        if lines.is_empty() {
            continue;
        }
        text.push_str(&format!("\n**{title}**\n\n"));
        for line in lines {
            let line = format!("- {}\n", code(&escaped(line)));
            if text.len() + line.len() > MARKDOWN_BYTES_MAX {
                left_out += 1;
            } else {
                text.push_str(&line);
            }
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\n{left_out} more that are not shown here.\n"));
    }
    text
}

/// A code span (CommonMark §6.1): a name in a policy must not become markup, or call a person.
fn code(line: &str) -> String {
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!("{fence}{pad}{line}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_backticks_cannot_leave_its_code_span() {
        assert_eq!(code("plain @dana"), "`plain @dana`");
        assert_eq!(code("a ``x`` b"), "``` a ``x`` b ```");
    }

    #[test]
    fn a_comment_stays_within_what_a_pull_request_takes_and_counts_the_rest() {
        let widens =
            (0..2_000).map(|n| format!("app-{n} in acme gains READ everywhere, as app, for a while")).collect();
        let text = markdown(&Compared { widens, narrows: vec!["one".into()] });
        assert!(text.len() < 65_000, "{}", text.len());
        assert!(text.contains("more that are not shown here"), "{}", &text[text.len() - 100..]);
    }
}
