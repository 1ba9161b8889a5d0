//! What is wrong with a file, said to the person who wrote it: where, what, and how to mend it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a file, both counted from 1. `line == 0` means the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At {
    pub line: u32,
    pub column: u32,
}

/// A value with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub at: At,
}

impl<T> Spanned<T> {
    pub fn new(value: T, at: At) -> Self {
        Self { value, at }
    }
}

/// How bad it is: an error keeps the document out, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub file: Arc<Path>,
    pub at: At,
    pub message: String,
    /// What to do about it; "did you mean" goes here.
    pub help: Option<String>,
    /// The line of the file that `at` names, where it was at hand.
    pub snippet: Option<String>,
}

impl Problem {
    pub fn error(file: &Arc<Path>, at: At, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: Arc::clone(file),
            at,
            message: message.into(),
            help: None,
            snippet: None,
        }
    }

    pub fn warning(file: &Arc<Path>, at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, at, message) }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The first name that the message quotes.
    pub fn name_quoted(&self) -> Option<&str> {
        self.message.split('`').nth(1)
    }

    /// The message with `…` in place of the first name that it quotes: what it says of others too.
    pub fn message_without_name(&self) -> String {
        let mut parts = self.message.splitn(3, '`');
        match (parts.next(), parts.next(), parts.next()) {
            // `commands`: … ends the sentence before it begins.
            (Some(""), Some(_), Some(after)) => after.trim_start_matches([':', ' ']).to_owned(),
            (Some(before), Some(_), Some(after)) => format!("{before}…{after}"),
            _ => self.message.clone(),
        }
    }
}

/// The path of a problem's file, made from anything path-like.
pub fn file_name(path: impl Into<PathBuf>) -> Arc<Path> {
    Arc::from(path.into())
}

/// A longer line is not copied into its problems, which may be many.
const SNIPPET_LINE_BYTES_MAX: usize = 2_000;

/// Gives each problem the line that it names.
pub fn fill_snippets(problems: &mut [Problem], text: &str) {
    let mut wanted: Vec<&mut Problem> = problems.iter_mut().filter(|problem| problem.at.line > 0).collect();
    wanted.sort_by_key(|problem| problem.at.line);
    let mut wanted = wanted.into_iter().peekable();
    for (number, line) in (1..).zip(text.lines()) {
        while let Some(problem) = wanted.next_if(|problem| problem.at.line == number) {
            problem.snippet = (line.len() <= SNIPPET_LINE_BYTES_MAX).then(|| line.to_owned());
        }
        if wanted.peek().is_none() {
            return;
        }
    }
}

/// All problems for a person, and how many there are. Empty if there is none.
///
/// What comes out of a file is escaped: a policy must not write to the terminal of whoever checks it.
pub fn render_human(problems: &[Problem], colour: bool) -> String {
    let mut out = String::new();
    for problem in problems {
        render_one(&mut out, problem, colour);
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let counted =
        |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    let counts: Vec<_> =
        [counted(errors, "error"), counted(problems.len() - errors, "warning")].into_iter().flatten().collect();
    if !counts.is_empty() {
        out.push_str(&counts.join(", "));
        out.push('\n');
    }
    out
}

/// In the shape that rustc made known: message, place, line with a caret, help.
pub fn render_one(out: &mut String, problem: &Problem, colour: bool) {
    let paint = Paint { colour };
    let tone = if problem.is_error() { Tone::Error } else { Tone::Warning };
    let Problem { severity, file, at, message, help, snippet } = problem;
    let head = paint.in_tone(tone, severity.as_str());
    let message = paint.in_tone(Tone::Bold, &escaped(message));
    let file = escaped(&file.to_string_lossy());
    let number = if at.line == 0 { String::new() } else { at.line.to_string() };
    let margin = " ".repeat(number.len());
    let [arrow, bar, equals] = ["-->", "|", "="].map(|sign| paint.in_tone(Tone::Frame, sign));
    let number = paint.in_tone(Tone::Frame, &number);
    let place = if at.line == 0 { file } else { format!("{file}:{}:{}", at.line, at.column) };
    // Writing to a String does not fail.
    let _ = writeln!(out, "{head}: {message}\n{margin} {arrow} {place}");
    if let (Some(line), 1..) = (snippet, at.line) {
        let (line, column) = window(line, at.column as usize);
        let caret = paint.in_tone(tone, "^");
        let blanks = " ".repeat(column);
        let _ = writeln!(out, "{margin} {bar}\n{number} {bar} {line}\n{margin} {bar} {blanks}{caret}");
    }
    if let Some(help) = help {
        let _ = writeln!(out, "{margin} {equals} help: {}", escaped(help));
    }
    out.push('\n');
}

/// The longest piece of a line that is shown, in characters: a terminal's width.
const SNIPPET_CHARS_MAX: usize = 100;

/// The piece of a line around a column, escaped, and how many characters of it stand before that column.
fn window(line: &str, column: usize) -> (String, usize) {
    let index = column.saturating_sub(1);
    let start = if index < SNIPPET_CHARS_MAX * 3 / 4 { 0 } else { index - SNIPPET_CHARS_MAX / 4 };
    let before: String = line.chars().skip(start).take(index.saturating_sub(start)).collect();
    let after: String = line
        .chars()
        .skip(index.max(start))
        .take(SNIPPET_CHARS_MAX - before.chars().count().min(SNIPPET_CHARS_MAX))
        .collect();
    let cut_before = if start > 0 { "…" } else { "" };
    let cut_after = if line.chars().nth(start + SNIPPET_CHARS_MAX).is_some() { "…" } else { "" };
    let before = format!("{cut_before}{}", escaped(&before));
    let column = before.chars().count();
    (format!("{before}{}{cut_after}", escaped(&after)), column)
}

/// Control characters, and those that turn the direction of writing, as `\u{…}`; a tab as a blank.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push(' '),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                out.extend(character.escape_unicode())
            }
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

/// Warnings that differ only in their place and in the first name that they quote: said once, with every place.
pub fn render_alike(out: &mut String, problems: &[&Problem], colour: bool) {
    let (Some(first), paint) = (problems.first(), Paint { colour }) else { return };
    let tone = if first.is_error() { Tone::Error } else { Tone::Warning };
    let head = paint.in_tone(tone, &format!("{} × {}", problems.len(), first.severity.as_str()));
    let message = paint.in_tone(Tone::Bold, &escaped(&first.message_without_name()));
    let [arrow, equals] = ["-->", "="].map(|sign| paint.in_tone(Tone::Frame, sign));
    // Writing to a String does not fail.
    let _ = writeln!(out, "{head}: {message}");
    let mut file: Option<&Path> = None;
    for problem in problems.iter().take(ALIKE_SHOWN) {
        let place =
            if problem.at.line == 0 { String::new() } else { format!(":{}:{}", problem.at.line, problem.at.column) };
        let name = problem.name_quoted().map_or_else(String::new, |name| format!(" `{}`", escaped(name)));
        let same = file.replace(&problem.file) == Some(&problem.file);
        let _ = match same {
            true => write!(out, ", {}{name}", place.trim_start_matches(':')),
            false => {
                let start = if out.ends_with('\n') { "" } else { "\n" };
                write!(out, "{start}  {arrow} {}{place}{name}", escaped(&problem.file.to_string_lossy()))
            }
        };
    }
    if problems.len() > ALIKE_SHOWN {
        let _ = write!(out, " … and {} more", problems.len() - ALIKE_SHOWN);
    }
    out.push('\n');
    if let Some(help) = &first.help {
        let _ = writeln!(out, "   {equals} help: {}", escaped(help));
    }
    out.push('\n');
}

/// The most places that are written out of warnings that are alike.
const ALIKE_SHOWN: usize = 20;

#[derive(Clone, Copy)]
enum Tone {
    Error,
    Warning,
    Frame,
    Bold,
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn in_tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Error => "1;31",
            Tone::Warning => "1;33",
            Tone::Frame => "1;34",
            Tone::Bold => "1",
        };
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// All problems for a program: `{"problems": [{file, line, column, severity, message, help}]}`.
/// Line and column are null where the file as a whole is meant, `help` where there is none.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    let place = |number: u32| (number > 0).then_some(number);
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| {
            serde_json::json!({
                "file": problem.file.to_string_lossy(),
                "line": place(problem.at.line),
                "column": place(problem.at.column),
                "severity": problem.severity.as_str(),
                "message": problem.message,
                "help": problem.help,
            })
        })
        .collect();
    serde_json::json!({ "problems": problems })
}

/// No word of a catalog or policy that somebody misspells is longer, in characters.
const WORD_MAX: usize = 100;
/// Problems of one file after which nobody reads proposals any more: each costs a look at every word there is.
const PROPOSALS_MAX: usize = 20;

/// As [`did_you_mean`], where `told` problems were found before: one file can hold a million misspelt words.
pub fn near<'a>(told: usize, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    (told < PROPOSALS_MAX).then(|| did_you_mean(word, candidates)).flatten()
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().take(WORD_MAX + 1).count();
    if length > WORD_MAX {
        return None;
    }
    let budget = (length / 3).clamp(1, 3);
    let word = word.to_lowercase();
    candidates
        .into_iter()
        // Each character more or less is an edit.
        .filter(|candidate| candidate.chars().take(WORD_MAX + budget + 1).count().abs_diff(length) <= budget)
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= budget)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance on characters; two neighbours swapped count as one edit (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let cell = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut a_before = None;
    for (row, a) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut b_before = None;
        for (column, b) in right.iter().copied().enumerate() {
            let substitute = cell(&previous, column) + usize::from(a != b);
            let delete = cell(&previous, column + 1) + 1;
            let insert = cell(&current, column) + 1;
            let swapped = a_before == Some(b) && b_before == Some(a);
            let swap = if swapped { cell(&before, column.saturating_sub(1)) + 1 } else { usize::MAX };
            current.push(substitute.min(delete).min(insert).min(swap));
            b_before = Some(b);
        }
        before = std::mem::replace(&mut previous, current);
        a_before = Some(a);
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_proposed_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("read:jira-wrok", ["write:jira-work", "read:jira-work"]), Some("read:jira-work"));
        assert_eq!(did_you_mean("vaild", ["valid"]), Some("valid"));
        assert_eq!(did_you_mean("chat:write", ["files:read"]), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abcd", "acbd"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    fn sample() -> Problem {
        let problem =
            Problem::error(&file_name("policies/slack.yaml"), At { line: 12, column: 7 }, "unknown key `scope`");
        let mut problems = [problem.help("did you mean `scopes`?")];
        fill_snippets(&mut problems, &format!("{}    - {{scope: [a]}}\n", "x\n".repeat(11)));
        let [problem] = problems;
        problem
    }

    #[test]
    fn a_problem_shows_its_line_and_how_to_mend_it() {
        let whole = Problem::warning(&file_name("notes.txt"), At::default(), "not read");
        assert_eq!(
            render_human(&[sample(), whole], false),
            "error: unknown key `scope`\n   --> policies/slack.yaml:12:7\n   |\n12 |     - {scope: [a]}\n   |       ^\n   = help: \
             did you mean `scopes`?\n\nwarning: not read\n --> notes.txt\n\n1 error, 1 warning\n"
        );
        assert_eq!(render_human(&[], true), "");
        assert!(render_human(&[sample()], true).contains("\u{1b}[1;31merror\u{1b}[0m: "));
    }

    #[test]
    fn a_file_cannot_write_to_the_terminal() {
        let mut problem = sample();
        problem.message = "unknown key `\u{1b}[2J`".into();
        problem.snippet = Some("a\u{202e}b\u{7}".into());
        let shown = render_human(&[problem], false);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown}");
        assert!(shown.contains("\\u{1b}[2J") && shown.contains("a\\u{202e}b\\u{7}"), "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_its_caret() {
        let mut problem = sample();
        problem.at.column = 5_000;
        problem.snippet = Some(format!("{}Z{}", "a".repeat(4_999), "b".repeat(4_999)));
        let shown = render_human(&[problem], false);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[3].chars().count() < 120, "{shown}");
        assert_eq!(lines[3].chars().position(|c| c == 'Z'), lines[4].chars().position(|c| c == '^'), "{shown}");
    }

    #[test]
    fn the_json_names_its_fields() {
        let json = to_json(&[sample()]);
        assert_eq!(
            json.to_string(),
            r#"{"problems":[{"column":7,"file":"policies/slack.yaml","help":"did you mean `scopes`?","line":12,"message":"unknown key `scope`","severity":"error"}]}"#
        );
    }
}
