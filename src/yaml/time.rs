//! Times and spans as files write them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A moment: RFC 3339 with its offset (`2026-11-20T09:00:00Z`), or a date, which is its first moment in UTC.
/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// Reads a moment; `None` if it is none.
pub fn moment(text: &str) -> Option<Moment> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(date.midnight().assume_utc())
    })?;
    i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok().map(Moment)
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        moment(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is no time; write it like 2026-11-20T09:00:00Z (RFC 3339) or 2026-11-20"
            ))
        })
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "RFC 3339 with an offset, or a date (its first moment in UTC).",
            "type": "string",
            "pattern": r"^\d{4}-\d{2}-\d{2}([Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?$"
        })
    }
}

/// A length of time: `500ms`, `90s`, `5m`, `24h`, `7d`. In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

/// Reads a length of time; `None` if it is none. A bare number has no unit, so it is none.
pub fn span(text: &str) -> Option<Span> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let unit_ms: i64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms).map(Span)
}

/// The shortest way to write a span.
pub fn span_text(ms: i64) -> String {
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit_ms, _)| ms != 0 && ms % unit_ms == 0)
        .map_or_else(|| format!("{ms}ms"), |(unit_ms, unit)| format!("{}{unit}", ms / unit_ms))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is no length of time; write a number with ms, s, m, h or d, such as 24h"
            ))
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number with its unit: ms, s, m, h or d.",
            "type": "string",
            "pattern": r"^\d+(ms|s|m|h|d)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_an_offset_and_a_span_a_unit() {
        assert_eq!(moment("2026-11-20T09:00:00Z"), Some(Moment(1_795_165_200_000)));
        assert_eq!(moment("2026-11-20T10:00:00+01:00"), moment("2026-11-20T09:00:00Z"));
        assert_eq!(moment("2026-11-20"), moment("2026-11-20T00:00:00Z"));
        assert_eq!(moment("2026-11-20T09:00:00"), None);
        assert_eq!(moment("1795165200"), None);
        assert_eq!(span("24h"), Some(Span(86_400_000)));
        assert_eq!(span("500ms"), Some(Span(500)));
        for wrong in ["24", "h", "-1h", "1.5h", "24 h", "24H", "1h30m", "99999999999999999999d", "9223372036854775807d"]
        {
            assert_eq!(span(wrong), None, "{wrong}");
        }
        assert_eq!(span_text(86_400_000), "1d");
        assert_eq!(span_text(90_000), "90s");
        assert_eq!(span_text(0), "0ms");
    }
}
