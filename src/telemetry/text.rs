//! A line as text: one JSON object, its members in a fixed order, added to a buffer that is kept.
//!
//! Written by hand, for it is written for every request: no allocation, no formatter, a time that is made anew once a
//! second. What a caller may have written is cut and its controls are escaped before it is quoted.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::line::{ContainerShown, Line, TraceId, UserIds};
use crate::authz::Reason;
use crate::authz::dialect::printable;
use crate::metrics::Outcome;

/// The most characters of the path that are written.
const PATH_MAX_CHARS: usize = 512;
/// The most characters of any other value that a caller may have written.
const VALUE_MAX_CHARS: usize = 200;
/// What credentials begin with, by their first byte. A path segment with one in it is not written.
fn secrets(first: u8) -> &'static [&'static str] {
    match first {
        b's' => &["sg_"],
        b'x' => &["xoxb-", "xoxp-", "xoxe", "xapp-"],
        b'A' => &["ATATT", "ATCTT"],
        b'e' => &["eyJ"],
        b'g' => &["ghp_"],
        _ => &[],
    }
}

/// Adds the line and its end to `out`. `dropped` lines were lost before it.
pub fn write(out: &mut Vec<u8>, line: &Line, users: &UserIds, dropped: u64) {
    out.extend_from_slice(b"{\"time\":\"");
    write_time(out, line.at);
    out.push(b'"');
    if dropped != 0 {
        number(out, ",\"dropped\":", dropped);
    }
    name(out, ",\"gate\":", Some(&*line.gate));
    word(out, ",\"decision\":\"", Some(line.decision.as_str()));
    word(out, ",\"outcome\":\"", Some(line.outcome.map_or("gone", Outcome::as_str)));
    word(out, ",\"reason\":\"", line.reason.map(Reason::as_str));
    if line.cut {
        out.extend_from_slice(b",\"cut\":true");
    }
    if line.shadow_permits {
        out.extend_from_slice(b",\"shadow\":\"permit\"");
    }
    name(out, ",\"app\":", line.app.as_deref());
    name(out, ",\"tenant\":", line.tenant.as_deref());
    written(out, ",\"tenant_name\":", line.tenant_name.as_deref());
    word(out, ",\"actor\":\"", line.actor);
    user(out, line, users);
    name(out, ",\"kind\":", line.kind.as_deref());
    if let Some(fingerprint) = &line.fingerprint {
        // Of few requests: it may allocate.
        word(out, ",\"fingerprint\":\"", Some(&fingerprint.to_string()));
    }
    name(out, ",\"operation\":", line.operation.as_deref());
    written(out, ",\"method\":", Some(line.method.as_str()));
    path(out, &line.path);
    containers(out, line);
    if let Some(by) = &line.decided_by {
        name(out, ",\"decided_by\":", Some(&format!("{}:{}", by.file.display(), by.line)));
    }
    if let Some(status) = line.status {
        number(out, ",\"status\":", u64::from(status));
    }
    milliseconds(out, ",\"duration_ms\":", line.duration);
    milliseconds(out, ",\"overhead_ms\":", line.overhead);
    word(out, ",\"upstream\":\"", line.upstream_class);
    written(out, ",\"upstream_error\":", line.upstream_error.as_deref());
    word(out, ",\"trace_id\":\"", line.trace.as_ref().map(TraceId::as_str));
    if let Some(generation) = line.generation {
        number(out, ",\"generation\":", generation);
    }
    if let Some(peer) = line.peer {
        address(out, peer);
    }
    out.extend_from_slice(b"}\n");
}

/// A member whose value is one of our own words or hex digits: nothing in it can need an escape. `before` has its
/// opening quote.
fn word(out: &mut Vec<u8>, before: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
}

/// A member whose value the policy or the catalog names.
fn name(out: &mut Vec<u8>, before: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(before.as_bytes());
        quoted(out, value);
    }
}

/// A member whose value a caller may have written.
fn written(out: &mut Vec<u8>, before: &str, value: Option<&str>) {
    if let Some(value) = value {
        name(out, before, Some(&printable(value, VALUE_MAX_CHARS)));
    }
}

/// A JSON string.
fn quoted(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // All bytes are looked at, though one would do: so the compiler looks at many at once.
    let escapes = text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if !escapes {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if serde_json::to_writer(&mut *out, text).is_err() {
        // A Vec takes everything; if not, the line stays JSON.
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}

fn number(out: &mut Vec<u8>, before: &str, value: u64) {
    out.extend_from_slice(before.as_bytes());
    digits(out, value, 1);
}

/// Decimal digits, at least `least` of them.
fn digits(out: &mut Vec<u8>, mut value: u64, least: usize) {
    let start = out.len();
    while value > 0 || out.len() < start + least {
        // The remainder of ten is one digit.
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

/// Milliseconds with three digits behind the point: more is noise.
fn milliseconds(out: &mut Vec<u8>, before: &str, duration: Duration) {
    out.extend_from_slice(before.as_bytes());
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    digits(out, micros / 1_000, 1);
    out.push(b'.');
    digits(out, micros % 1_000, 3);
}

fn user(out: &mut Vec<u8>, line: &Line, users: &UserIds) {
    match (line.user.as_deref(), users) {
        (None, _) | (_, UserIds::None) => {}
        (Some(user), UserIds::Plain) => written(out, ",\"user\":", Some(user)),
        (Some(user), UserIds::Hashed(key)) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, ",\"user\":\"{:016x}\"", u64::from_be_bytes(key.hash(user)));
        }
    }
}

/// The containers that were touched and the scopes that were needed: on refusals.
fn containers(out: &mut Vec<u8>, line: &Line) {
    if !line.containers.is_empty() {
        out.extend_from_slice(b",\"containers\":");
        list(out, &line.containers, |out, container: &ContainerShown| {
            out.extend_from_slice(b"{\"kind\":");
            quoted(out, &container.kind);
            // What stands where a container should is the caller's to choose: its token, if it sends that by mistake.
            let id = if holds_secret(&container.id) { "(credential)" } else { &container.id };
            written(out, ",\"id\":", Some(id));
            written(out, ",\"name\":", container.name.as_deref());
            out.push(b'}');
        });
    }
    if line.containers_more != 0 {
        number(out, ",\"containers_more\":", line.containers_more as u64);
    }
    if !line.needed.is_empty() {
        out.extend_from_slice(b",\"needed\":");
        list(out, &line.needed, |out, scope| quoted(out, scope));
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    let mut before = b'[';
    for item in items {
        out.push(before);
        write(out, item);
        before = b',';
    }
    out.push(b']');
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    out.extend_from_slice(b",\"peer\":\"");
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            digits(out, u64::from(first), 1);
            for octet in rest {
                out.push(b'.');
                digits(out, u64::from(octet), 1);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
    out.push(b'"');
}

/// The path without query or fragment, without segments that hold a credential, with controls escaped.
fn path(out: &mut Vec<u8>, path: &str) {
    out.extend_from_slice(b",\"path\":");
    let end = memchr::memchr2(b'?', b'#', path.as_bytes()).unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    if !(0..path.len()).any(|at| begins_secret(path, at)) {
        return quoted(out, &printable(path, PATH_MAX_CHARS));
    }
    let shown: Vec<&str> =
        path.split('/').map(|segment| if holds_secret(segment) { "(credential)" } else { segment }).collect();
    quoted(out, &printable(&shown.join("/"), PATH_MAX_CHARS));
}

#[inline]
fn begins_secret(text: &str, at: usize) -> bool {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    rest.first().is_some_and(|first| secrets(*first).iter().any(|mark| rest.starts_with(mark.as_bytes())))
}

/// Whether a credential begins in the segment: at its start, after a sign, or after `%xx` (`msg_1` is none).
fn holds_secret(segment: &str) -> bool {
    let stands_apart = |at: usize| {
        let before = segment.as_bytes().get(..at).unwrap_or_default();
        let sign = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        sign || before.iter().rev().nth(2) == Some(&b'%')
    };
    let begins = |at: usize| begins_secret(segment, at) && stands_apart(at);
    (0..segment.len()).any(begins)
}

/// What a time begins with, to its second.
#[derive(Clone, Copy)]
struct Second {
    unix: u64,
    text: [u8; SECOND_BYTES],
}

/// `2026-11-25T16:26:21.`
const SECOND_BYTES: usize = 20;

thread_local! {
    static SECOND: Cell<Option<Second>> = const { Cell::new(None) };
}

/// UTC, to the millisecond, as [`rfc3339`] writes it.
fn write_time(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let known = SECOND.get().filter(|second| second.unix == since.as_secs());
    let Some(second) = known.or_else(|| begin_second(at, since.as_secs())) else {
        return out.extend_from_slice(rfc3339(at).as_bytes());
    };
    out.extend_from_slice(&second.text);
    digits(out, u64::from(since.subsec_millis()), 3);
    out.push(b'Z');
}

/// `None` for a time that is written otherwise, such as one before 1970.
fn begin_second(at: SystemTime, unix: u64) -> Option<Second> {
    let text = rfc3339(at).as_bytes().first_chunk().copied()?;
    at.duration_since(UNIX_EPOCH).ok()?;
    let second = Second { unix, text };
    SECOND.set(Some(second));
    Some(second)
}

/// UTC, to the millisecond. A time that cannot be written is empty, never a panic.
pub(super) fn rfc3339(at: SystemTime) -> String {
    // Always milliseconds, so that lines sort as text.
    const WIDE: &[time::format_description::BorrowedFormatItem<'_>] =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(at).format(WIDE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn shown_path(text: &str) -> String {
        let member = shown(|out| path(out, text));
        serde_json::from_str(member.strip_prefix(",\"path\":").unwrap()).unwrap()
    }

    #[test]
    fn a_path_shows_no_query_no_credential_and_no_control() {
        assert_eq!(shown_path("/api/chat.postMessage?token=xoxb-1"), "/api/chat.postMessage");
        assert_eq!(shown_path("/x/xoxb-123/y%0a"), "/x/(credential)/y%0a");
        assert_eq!(shown_path("/k=sg_1/%20sg_1/msg_1"), "/(credential)/(credential)/msg_1");
        assert_eq!(shown_path("/a\u{1b}[31m\r\n"), "/a\\u{1b}[31m\\u{d}\\u{a}");
    }

    #[test]
    fn every_mark_of_a_credential_is_looked_for() {
        for mark in (0..=u8::MAX).flat_map(secrets) {
            assert_eq!(shown_path(&format!("/a/{mark}1/b")), "/a/(credential)/b");
        }
    }

    #[test]
    fn a_string_reads_back_as_it_was() {
        for text in ["plain", "", "a\"b\\c", "tab\t and \u{1}", "ü ≤ 日本"] {
            assert_eq!(serde_json::from_str::<String>(&shown(|out| quoted(out, text))).unwrap(), text);
        }
    }

    #[test]
    fn numbers_and_addresses_are_written_as_the_standard_library_does() {
        for value in [0, 7, 10, 4_711, u64::MAX] {
            assert_eq!(shown(|out| digits(out, value, 1)), value.to_string());
        }
        for ip in ["192.0.2.1", "0.10.200.255", "2001:db8::1"] {
            assert_eq!(shown(|out| address(out, ip.parse().unwrap())), format!(",\"peer\":\"{ip}\""));
        }
        let brief = |micros| shown(|out| milliseconds(out, ",\"ms\":", Duration::from_micros(micros)));
        assert_eq!(brief(1_002_030), ",\"ms\":1002.030");
        assert_eq!(brief(7), ",\"ms\":0.007");
    }

    #[test]
    fn a_time_is_written_the_same_whether_its_second_is_known_or_not() {
        for nanos in [1_500_123_456_789, 1_500_999_999_999, 1_501_000_000_000, 0, 1_500_123_456_789] {
            let at = UNIX_EPOCH + Duration::from_nanos(nanos);
            assert_eq!(shown(|out| write_time(out, at)), rfc3339(at));
        }
        let before = UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(shown(|out| write_time(out, before)), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_nanos(1_500_123_456_789)), "1970-01-01T00:25:00.123Z");
    }

    #[test]
    fn users_are_written_as_the_operator_chose() {
        let mut line = super::super::line::tests::line();
        line.user = Some("U0DANA".into());
        let with = |users: &UserIds| shown(|out| user(out, &line, users));
        assert_eq!(with(&UserIds::Plain), ",\"user\":\"U0DANA\"");
        assert_eq!(with(&UserIds::None), "");
        let hashed = UserIds::hashed(b"key");
        // HMAC-SHA-256 of `U0DANA` under `key`, by another program.
        assert_eq!(with(&hashed), ",\"user\":\"3e4dec7755465ba1\"");
        assert_ne!(with(&UserIds::hashed(b"other")), with(&hashed));
    }
}
