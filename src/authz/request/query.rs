//! Name and value pairs, in a query or a form, read strictly and watched for what a lenient reader would make of them.

use std::borrow::Cow;

use super::{BadRequest, Found};
use crate::authz::path::hex;

/// The most arguments of one query or form. PHP, Jetty, Django, Express and their like read no more, and most of them
/// say nothing of it: an argument behind so many is there for us and absent for them.
pub const PAIRS_MAX: usize = 1_000;

/// Reads a query, or refuses one that no argument need be read to refuse. No allocation.
pub fn parse(query: &str) -> Result<Pairs<'_>, BadRequest> {
    if query.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_control()) {
        return Err(BadRequest("the query holds a character that is not percent-encoded"));
    }
    pairs(query)
}

/// What must hold of a query as well as of a form.
pub(super) fn pairs(pairs: &str) -> Result<Pairs<'_>, BadRequest> {
    if pairs.len() > PAIRS_MAX && pairs.bytes().filter(|byte| matches!(byte, b'&' | b';')).count() >= PAIRS_MAX {
        return Err(BadRequest("the request has more arguments than some readers take"));
    }
    for (at, _) in pairs.match_indices('%') {
        match pairs.as_bytes().get(at + 1..at + 3) {
            Some(b"00") => return Err(BadRequest("an argument holds an encoded NUL")),
            Some(&[high, low]) if hex(high, low).is_some() => {}
            _ => return Err(BadRequest("a `%` is not followed by two hex digits")),
        }
    }
    let among = Names::of_pairs(pairs);
    if among.may_hold(METHOD) && names(pairs).any(|name| reads_as(name, METHOD)) {
        return Err(BadRequest("the argument `_method` asks to override the method: send the method itself"));
    }
    Ok(Pairs { text: pairs, among })
}

const METHOD: &str = "_method";

/// The names that a reader which also splits at `;` would find.
fn names(pairs: &str) -> impl Iterator<Item = &str> {
    pairs.split(['&', ';']).map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
}

/// Which names may be among some, as bits: most arguments that are asked for are absent, and each would cost a walk over
/// all of them. A bit too many costs that walk; a bit too few would lose an argument, so a name that any reader could
/// take for another one sets all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Names(u64);

impl Names {
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n [u8]>) -> Self {
        Self(names.fold(0, |all, name| all | if is_plain(name) { Self::bit(name) } else { u64::MAX }))
    }

    fn of_pairs(pairs: &str) -> Self {
        if pairs.is_empty() {
            return Self::default();
        }
        let pairs = pairs.as_bytes().split(|byte| matches!(byte, b'&' | b';'));
        Self::of(pairs.map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default()))
    }

    /// `false` only where no name reads as this one.
    #[inline]
    pub(super) fn may_hold(self, name: &str) -> bool {
        self.0 & Self::bit(name.as_bytes()) != 0
    }

    /// The same for names that fold to each other, where one of them is plain.
    #[inline]
    fn bit(name: &[u8]) -> u64 {
        let [first, last] = [name.first(), name.last()].map(|end| end.map_or(0, |byte| usize::from(fold_byte(*byte))));
        1 << ((name.len() * 7 + first * 5 + last) % 64)
    }
}

/// Letters, digits, `_` and `-`: every reader reads it as written, but for case.
#[inline]
fn is_plain(name: &[u8]) -> bool {
    name.iter().fold(true, |plain, byte| plain & (byte.is_ascii_alphanumeric() | matches!(byte, b'_' | b'-')))
}

/// `a=1&b=2`, undecoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pairs<'a> {
    text: &'a str,
    among: Names,
}

impl<'a> Pairs<'a> {
    /// Undecoded names and values, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Every value of `name`. An argument that decides must be spelled as the product spells it: what only
    /// a lenient reader takes for it (`Project=`, `%70roject=`, `project[]=`, `a;project=`) refuses the request.
    #[inline]
    pub fn find(self, name: &str) -> Result<Found<'a>, BadRequest> {
        if self.text.is_empty() || !self.among.may_hold(name) {
            return Ok(Found::Absent);
        }
        self.walk(name, |value, goes_on| match goes_on {
            true => Err(BadRequest("the value of a deciding argument holds a `;`")),
            false => decode_value(value),
        })
    }

    /// The same for a text of which little may be understood: one that two readers could decode to two texts is empty.
    pub fn find_text(self, name: &str) -> Result<Found<'a>, BadRequest> {
        if self.text.is_empty() || !self.among.may_hold(name) {
            return Ok(Found::Absent);
        }
        self.walk(
            name,
            |value, goes_on| if goes_on { Ok("".into()) } else { Ok(decode_value(value).unwrap_or_default()) },
        )
    }

    /// `read` is given a value, and whether a `;` stands behind it.
    #[inline]
    fn walk(
        self,
        name: &str,
        read: impl Fn(&'a str, bool) -> Result<Cow<'a, str>, BadRequest>,
    ) -> Result<Found<'a>, BadRequest> {
        let mut found = Found::Absent;
        for segment in self.text.split('&') {
            let (first, rest) = segment.split_once(';').map_or((segment, None), |(first, rest)| (first, Some(rest)));
            let (key, value) = first.split_once('=').unwrap_or((first, ""));
            if key == name {
                found = found.and(read(value, rest.is_some())?);
            } else if reads_as(key, name) {
                return Err(MISSPELLED);
            }
            if rest.is_some_and(|rest| names(rest).any(|key| key == name || reads_as(key, name))) {
                return Err(MISSPELLED);
            }
        }
        Ok(found)
    }

    /// The pairs without those whose name is one of `names`: the form in which a gate key goes no further.
    pub fn without(self, names: &[Box<str>]) -> String {
        let kept = self.text.split('&').filter(|pair| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            !names.iter().any(|removed| **removed == *name)
        });
        kept.collect::<Vec<_>>().join("&")
    }
}

pub(super) const MISSPELLED: BadRequest =
    BadRequest("a deciding argument is spelled in a way that some readers take for it");

/// Decodes the value of an argument that decides.
fn decode_value(raw: &str) -> Result<Cow<'_, str>, BadRequest> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(raw));
    }
    let text = String::from_utf8(decode_bytes(raw)).map_err(|_| BadRequest("an argument is not UTF-8"))?;
    if text.contains(['&', ';']) || text.chars().any(char::is_control) {
        return Err(BadRequest("a deciding argument holds an encoded separator or control character"));
    }
    if holds_encoding(&text) {
        return Err(BadRequest("a deciding argument is encoded twice"));
    }
    Ok(Cow::Owned(text))
}

fn holds_encoding(text: &str) -> bool {
    text.as_bytes().windows(3).any(|three| match *three {
        [b'%', high, low] => hex(high, low).is_some(),
        _ => false,
    })
}

/// Whether some reader takes the undecoded name `raw` for `name`.
fn reads_as(raw: &str, name: &str) -> bool {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return folds_to(raw, name);
    }
    let once = String::from_utf8_lossy(&decode_bytes(raw)).into_owned();
    let twice = String::from_utf8_lossy(&decode_bytes(&once)).into_owned();
    folds_to(&once, name) || folds_to(&twice, name)
}

/// Whether a reader that trims, folds case, cuts at NUL or `[`, or writes `_` for `.` (PHP) takes `text` for `name`.
pub(super) fn folds_to(text: &str, name: &str) -> bool {
    let same = |text: &str| text.len() == name.len() && text.bytes().map(fold_byte).eq(name.bytes().map(fold_byte));
    if is_plain(text.as_bytes()) {
        return same(text);
    }
    let text = text.split(['[', '\0']).next().unwrap_or_default();
    let text = text.trim_matches(|char: char| char.is_whitespace() || char == '?' || char == '\u{feff}');
    if text.is_ascii() {
        return same(text);
    }
    text.chars().flat_map(fold_char).eq(name.chars().flat_map(fold_char))
}

fn fold_byte(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' => b'_',
        _ => byte.to_ascii_lowercase(),
    }
}

/// Upper before lower: so the long s, the Kelvin sign and both odd Turkish letters fold to the ASCII ones.
fn fold_char(char: char) -> impl Iterator<Item = char> {
    let folded = char.to_uppercase().flat_map(char::to_lowercase).filter(|char| *char != '\u{307}');
    folded.map(|char| if matches!(char, '.' | ' ') { '_' } else { char })
}

/// `+` is a space; a `%` that encodes nothing stays.
pub(in crate::authz) fn decode_bytes(raw: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) if hex(*high, *low).is_some() => {
                decoded.extend(hex(*high, *low));
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever any reader takes for a name that is asked for must be walked to.
    #[test]
    fn no_name_that_reads_as_another_is_skipped() {
        let asked = ["channel", "team_id", "token", "jwt", "a", "project.key", "x-y", "_method"];
        let written = [
            "channel",
            "Channel",
            "CHANNEL",
            "channe\u{131}",
            "channel[]",
            " channel",
            "channel ",
            "channel\0x",
            "?channel",
            "%63hannel",
            "%2563hannel",
            "+channel",
            "team_id",
            "team.id",
            "team id",
            "TEAM.ID",
            "team_\u{131}d",
            "to\u{212a}en",
            "jwt",
            "JWT",
            "a",
            "A",
            "",
            "project_key",
            "project.key",
            "X-Y",
            "_method",
            ".method",
            "%5Fmethod",
            "\u{feff}a",
        ];
        for name in asked {
            for raw in written {
                let reads = raw == name || reads_as(raw, name);
                let among = Names::of(["other", raw].into_iter().map(str::as_bytes));
                assert!(!reads || among.may_hold(name), "{raw:?} reads as {name:?}");
            }
        }
        assert!(!Names::of_pairs("channel=C1&limit=5").may_hold("team_id"));
        assert!(!Names::of_pairs("").may_hold("team_id"));
    }
}
