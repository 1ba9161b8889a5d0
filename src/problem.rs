//! What is wrong with a file, said to the person who wrote it: where, what, and how to mend it.

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
}

/// The path of a problem's file, made from anything path-like.
pub fn file_name(path: impl Into<PathBuf>) -> Arc<Path> {
    Arc::from(path.into())
}

/// Gives each problem the line that it names.
pub fn fill_snippets(problems: &mut [Problem], text: &str) {
    let mut wanted: Vec<&mut Problem> = problems.iter_mut().filter(|problem| problem.at.line > 0).collect();
    wanted.sort_by_key(|problem| problem.at.line);
    let mut wanted = wanted.into_iter().peekable();
    for (number, line) in (1..).zip(text.lines()) {
        while let Some(problem) = wanted.next_if(|problem| problem.at.line == number) {
            problem.snippet = Some(line.to_owned());
        }
        if wanted.peek().is_none() {
            return;
        }
    }
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let budget = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
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
}
