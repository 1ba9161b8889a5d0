//! The YAML of an act: one document, flat, as a person would have written it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unix milliseconds as RFC 3339, to the millisecond where there is one.
pub fn time_text(unix_ms: i64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix_ms.to_string())
}

/// Unix milliseconds for the name of a file: `20261125T215200123Z`.
pub fn compact_time(unix_ms: i64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return unix_ms.to_string() };
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// The time in the name of a file as RFC 3339. `None`: it is none.
pub fn spread_time(compact: &str) -> Option<String> {
    let shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        18 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if compact.len() != 19 || !compact.bytes().enumerate().all(shape) {
        return None;
    }
    let part = |from: usize, to: usize| compact.get(from..to);
    let (date, millis) = (part(0, 8)?, part(15, 18)?);
    let (year, rest) = date.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let fraction = if millis == "000" { String::new() } else { format!(".{millis}") };
    Some(format!("{year}-{month}-{day}T{}:{}:{}{fraction}Z", part(9, 11)?, part(11, 13)?, part(13, 15)?))
}

/// A text as a YAML scalar that reads as that text: plain where nothing could take it for anything else.
pub fn scalar(text: &str) -> String {
    let first = |character: char| character.is_ascii_alphabetic();
    let later = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/' | '@');
    let word = text.chars().next().is_some_and(first) && text.chars().all(later);
    // Words that some reader of YAML takes for something else than text.
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if word && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

/// A name that somebody else chose, for a line of a file: no control characters and none that hide or turn the writing, runs
/// of blanks as one, and at most so many characters.
pub fn tame(text: &str, chars_max: usize) -> String {
    let hidden = |character: char| {
        matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(character, '\u{61c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut out = String::new();
    let mut length = 0;
    let mut blank = false;
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() {
            blank = length > 0;
        } else if !hidden(character) {
            if length + usize::from(blank) >= chars_max {
                out.push('…');
                break;
            }
            if blank {
                out.push(' ');
            }
            out.push(character);
            length += 1 + usize::from(blank);
            blank = false;
        }
    }
    out
}

/// `[a, b]`
pub fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(scalar).collect();
    format!("[{}]", texts.join(", "))
}

/// A map in flow style, from the pairs that are there.
pub fn flow(pairs: &[(&str, Option<String>)]) -> String {
    let pairs = pairs.iter().filter_map(|(key, value)| Some(format!("{key}: {}", value.as_ref()?)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        for (text, written) in [
            ("ADMIN", "ADMIN"),
            ("jira/tracker", "jira/tracker"),
            ("dana@example.com", "dana@example.com"),
            ("10001", "\"10001\""),
            ("no", "\"no\""),
            ("a: b", "\"a: b\""),
            ("read:jira-work", "\"read:jira-work\""),
            ("line\nbreak \"x\"", "\"line\\nbreak \\\"x\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }

    #[test]
    fn a_name_of_somebody_else_is_one_short_line() {
        for (text, tamed) in [
            ("general", "general"),
            ("  a \t\r\n b\u{85}c ", "a b c"),
            ("x\u{1b}[31m\u{202e}y\u{200b}z\u{feff}\u{e0041}", "x [31myz"),
            ("\u{0}\u{200b}", ""),
            ("Grüße 😀", "Grüße 😀"),
        ] {
            assert_eq!(tame(text, 20), tamed);
        }
        assert_eq!(tame("abcdef", 4), "abcd…");
        assert_eq!(tame("abc def", 4), "abc…");
        assert_eq!(tame(&"é".repeat(100_000), 10).chars().count(), 11);
    }

    #[test]
    fn times_are_to_the_millisecond() {
        assert_eq!(time_text(1_795_165_200_000), "2026-11-20T09:00:00Z");
        assert_eq!(time_text(1_795_165_200_120), "2026-11-20T09:00:00.12Z");
        assert_eq!(compact_time(1_795_165_200_120), "20261120T090000120Z");
        assert_eq!(spread_time("20261120T090000120Z").as_deref(), Some("2026-11-20T09:00:00.120Z"));
        assert_eq!(spread_time("20261120T090000000Z").as_deref(), Some("2026-11-20T09:00:00Z"));
        for none in ["", "act", "20261120T09000012Z", "2026112xT090000120Z", "20261120T090000120Zé", "é"] {
            assert_eq!(spread_time(none), None, "{none}");
        }
    }
}
