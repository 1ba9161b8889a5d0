//! The outcome of policy tests, for people, for programs and as JUnit XML.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::SuiteResult;
use crate::cli::Output;
use crate::cli::words::count;
use crate::problem::{Problem, escaped, render_human, to_json};

pub fn human(results: &[SuiteResult], output: &mut Output<'_>) -> io::Result<()> {
    let paint = output.paint;
    for result in results {
        writeln!(output.out, "{}", paint.bold(&escaped(&result.file.to_string_lossy())))?;
        write!(output.out, "{}", render_human(&result.problems, paint.colour))?;
        for case in &result.cases {
            if case.failures.is_empty() {
                writeln!(output.out, "  {}    {}", paint.green("ok"), escaped(&case.name))?;
                continue;
            }
            writeln!(output.out, "  {}  {}", paint.red("FAIL"), escaped(&case.name))?;
            writeln!(output.out, "        {}:{}  {}", result.file.display(), case.line, escaped(&case.request))?;
            case.failures.iter().try_for_each(|failure| writeln!(output.out, "        {}", escaped(failure)))?;
        }
    }
    let (passed, failed) = counts(results);
    let broken = results.iter().filter(|result| is_broken(result)).count();
    let mut summary = format!("{passed} passed, {failed} failed");
    if broken > 0 {
        let _ = write!(summary, ", {} not run", count(broken, "file"));
    }
    if passed + failed == 0 {
        summary.push_str(": no case was run");
    }
    let sound = failed == 0 && broken == 0 && passed > 0;
    writeln!(output.out, "{}", if sound { paint.green(&summary) } else { paint.red(&summary) })
}

fn is_broken(result: &SuiteResult) -> bool {
    result.problems.iter().any(Problem::is_error)
}

fn counts(results: &[SuiteResult]) -> (usize, usize) {
    let cases = || results.iter().flat_map(|result| result.cases.iter());
    let passed = cases().filter(|case| case.failures.is_empty()).count();
    (passed, cases().count() - passed)
}

pub fn json(results: &[SuiteResult]) -> Value {
    let (passed, failed) = counts(results);
    let files = results.iter().map(|result| {
        let cases = result.cases.iter().map(|case| {
            json!({
                "name": case.name, "line": case.line, "request": case.request, "passed": case.failures.is_empty(),
                "expected": case.expected, "got": case.got, "failures": case.failures,
            })
        });
        let problems = to_json(&result.problems);
        json!({
            "file": result.file.display().to_string(),
            "problems": problems.get("problems").cloned().unwrap_or_default(),
            "cases": cases.collect::<Vec<_>>(),
        })
    });
    json!({"passed": passed, "failed": failed, "files": files.collect::<Vec<_>>()})
}

/// The dialect that GitLab, Jenkins and GitHub actions read: suites, cases, failures, errors.
pub fn junit(results: &[SuiteResult]) -> String {
    let (passed, failed) = counts(results);
    let errors = results.iter().filter(|result| is_broken(result)).count();
    // Writing to a String does not fail.
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests = passed + failed + errors;
    let _ =
        writeln!(xml, "<testsuites name=\"scopegate\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\">");
    for result in results {
        suite(result, &mut xml);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(result: &SuiteResult, xml: &mut String) {
    let file = attribute(&result.file.to_string_lossy());
    let failed = result.cases.iter().filter(|case| !case.failures.is_empty()).count();
    let errors = usize::from(is_broken(result));
    let (tests, seconds) = (result.cases.len() + errors, result.took.as_secs_f64());
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\" time=\"{seconds:.3}\">"
    );
    if errors > 0 {
        let text = attribute(&render_human(&result.problems, false));
        let _ = writeln!(xml, "    <testcase name=\"the file\" classname=\"{file}\">");
        let _ = writeln!(xml, "      <error message=\"it cannot be run\">{text}</error>\n    </testcase>");
    }
    for case in &result.cases {
        let name = attribute(&case.name);
        let place = format!("name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{}\"", case.line);
        if case.failures.is_empty() {
            let _ = writeln!(xml, "    <testcase {place}/>");
            continue;
        }
        let message = attribute(&case.failures.join("; "));
        let _ = writeln!(xml, "    <testcase {place}>");
        let _ = writeln!(xml, "      <failure message=\"{message}\">{}</failure>", attribute(&case.request));
        let _ = writeln!(xml, "    </testcase>");
    }
    xml.push_str("  </testsuite>\n");
}

/// XML 1.0 has no way to write most control characters.
fn attribute(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_escaped() {
        assert_eq!(attribute("a<b>&\"c\"\n\u{1b}"), "a&lt;b&gt;&amp;&quot;c&quot;&#10;\u{fffd}");
    }
}
