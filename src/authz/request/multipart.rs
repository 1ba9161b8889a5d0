//! A multipart body (`multipart/form-data`, RFC 7578): its text fields, where every reader finds the same ones.
//!
//! Readers differ over much of it, so little is taken: no text before the first part or behind the last, no other line
//! ends than CRLF, no name but in quotes and of plain characters, no name twice, no text behind a file, no encoding
//! but UTF-8. What stands in a file is not looked at.

use std::borrow::Cow;

use memchr::memmem;

use super::query::{MISSPELLED, folds_to};
use super::{BadRequest, Found};

/// More than any form has.
const PARTS_MAX: usize = 100;
/// The head of one part: a name and a file name.
const HEAD_BYTES_MAX: usize = 2 * 1024;
/// A text field; longer ones are files.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// RFC 2046 §5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// The text fields of a multipart body, and the names of its files.
#[derive(Default)]
pub struct Fields<'a> {
    texts: Vec<(&'a str, &'a str)>,
    files: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// The field of that name. One that only a lenient reader takes for it, or a file, refuses the request.
    pub fn find(&self, name: &str) -> Result<Found<'a>, BadRequest> {
        if self.files.iter().any(|file| folds_to(file, name)) {
            return Err(BadRequest("a deciding field is a file"));
        }
        let mut found = Found::Absent;
        for (written, text) in self.iter() {
            match written == name {
                true if text.chars().any(char::is_control) => {
                    return Err(BadRequest("a deciding field holds a control character"));
                }
                true => found = Found::One(Cow::Borrowed(text)),
                false if folds_to(written, name) => return Err(MISSPELLED),
                false => {}
            }
        }
        Ok(found)
    }

    /// Names and texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts.iter().copied()
    }
}

/// The boundary in the parameters of a `Content-Type`: the only one that there may be.
pub(super) fn boundary<'t>(parameter: Option<&'t str>, further: Option<&str>) -> Result<&'t str, BadRequest> {
    const WRONG: BadRequest = BadRequest("`multipart/form-data` has one parameter, a plain `boundary`");
    let (name, value) = parameter.and_then(|parameter| parameter.split_once('=')).ok_or(WRONG)?;
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let boundary = quoted.unwrap_or(value);
    let is_plain = |byte: u8| {
        let anywhere = byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'+' | b'_' | b'-' | b'.');
        anywhere || quoted.is_some() && matches!(byte, b'(' | b')' | b'/' | b':' | b'=' | b'?')
    };
    let fits = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) && boundary.bytes().all(is_plain);
    if !name.eq_ignore_ascii_case("boundary") || !fits || further.is_some() {
        return Err(WRONG);
    }
    Ok(boundary)
}

/// Reads a body that was held whole.
pub(super) fn parse<'a>(body: &'a [u8], boundary: &str) -> Result<Fields<'a>, BadRequest> {
    let mut fields = Fields::default();
    for part in parts(body, boundary)? {
        let (head, content) = split(part, b"\r\n\r\n").ok_or(BadRequest("a part of the body has no head"))?;
        fields.add(head, content)?;
    }
    Ok(fields)
}

/// What stands between two delimiters. Whatever looks like one must be one: readers differ over how exact it has to be.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, BadRequest> {
    const BROKEN: BadRequest = BadRequest("the parts of the body are not set apart as the `boundary` says");
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or(BROKEN)?;
    loop {
        if matches!(rest, b"--" | b"--\r\n") {
            return if parts.is_empty() { Err(BROKEN) } else { Ok(parts) };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(BROKEN)?;
        let (content, behind) = split(part, delimiter.as_bytes()).ok_or(BROKEN)?;
        parts.push(content.strip_suffix(b"\r\n").ok_or(BROKEN)?);
        if parts.len() > PARTS_MAX {
            return Err(BadRequest("the body has too many parts"));
        }
        rest = behind;
    }
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = memmem::find(bytes, at)?;
    Some((bytes.get(..found)?, bytes.get(found + at.len()..)?))
}

impl<'a> Fields<'a> {
    fn add(&mut self, head: &'a [u8], content: &'a [u8]) -> Result<(), BadRequest> {
        let head = Head::read(head, content)?;
        // A field of that name says in which encoding the others are.
        if folds_to(head.name, "_charset_") {
            return Err(BadRequest("a field changes the encoding: send UTF-8"));
        }
        if self.files.contains(&head.name) || self.texts.iter().any(|(name, _)| *name == head.name) {
            return Err(BadRequest("the body holds a field twice"));
        }
        if head.is_file {
            self.files.push(head.name);
            return Ok(());
        }
        if !self.files.is_empty() {
            return Err(BadRequest("a field stands behind a file, where some readers do not look: send it before"));
        }
        if !head.is_text || content.len() > TEXT_BYTES_MAX {
            return Err(BadRequest("a field is neither a short text in UTF-8 nor a file"));
        }
        let text = std::str::from_utf8(content).map_err(|_| BadRequest("a field is not UTF-8"))?;
        self.texts.push((head.name, text));
        Ok(())
    }
}

/// The head of one part.
struct Head<'a> {
    name: &'a str,
    is_file: bool,
    /// Its type is none, or plain text in UTF-8.
    is_text: bool,
}

impl<'a> Head<'a> {
    fn read(head: &'a [u8], content: &[u8]) -> Result<Self, BadRequest> {
        const ODD: BadRequest = BadRequest("the head of a part holds what readers take differently");
        let text = std::str::from_utf8(head).map_err(|_| ODD)?;
        if text.len() > HEAD_BYTES_MAX {
            return Err(ODD);
        }
        let (mut disposition, mut media_type, mut length, mut encoding) = (None, None, None, None);
        for line in text.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or(ODD)?;
            let slot = match () {
                () if name.eq_ignore_ascii_case("content-disposition") => &mut disposition,
                () if name.eq_ignore_ascii_case("content-type") => &mut media_type,
                () if name.eq_ignore_ascii_case("content-length") => &mut length,
                () if name.eq_ignore_ascii_case("content-transfer-encoding") => &mut encoding,
                () => return Err(ODD),
            };
            if line.chars().any(char::is_control) || slot.replace(value.trim_matches(' ')).is_some() {
                return Err(ODD);
            }
        }
        let is_plain = |encoding: &str| ["binary", "8bit", "7bit"].iter().any(|one| encoding.eq_ignore_ascii_case(one));
        if length.is_some_and(|length| length != content.len().to_string()) || !encoding.is_none_or(is_plain) {
            return Err(ODD);
        }
        // Some readers count the parts within a part, which are not looked at here, among the fields.
        if media_type.is_some_and(holds_parts) {
            return Err(ODD);
        }
        let (name, is_file) = disposition.and_then(named).ok_or(ODD)?;
        Ok(Self { name, is_file, is_text: media_type.is_none_or(is_plain_text) })
    }
}

/// `multipart/mixed`, `message/rfc822`, …
fn holds_parts(media_type: &str) -> bool {
    let (kind, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    ["multipart", "message"].iter().any(|one| one.eq_ignore_ascii_case(kind.trim()))
}

fn is_plain_text(media_type: &str) -> bool {
    let (media_type, parameter) = media_type.split_once(';').unwrap_or((media_type, "charset=utf-8"));
    media_type.trim_end().eq_ignore_ascii_case("text/plain") && super::body::is_utf8_charset(parameter.trim_start())
}

/// The name in `form-data; name="x"; filename="y"`, and whether it is a file's. `None`: written in another way.
fn named(disposition: &str) -> Option<(&str, bool)> {
    let (kind, mut rest) = disposition.split_at_checked("form-data".len())?;
    let (mut name, mut file, mut file_encoded) = (None, None, None);
    while let Some(parameter) = rest.strip_prefix(';') {
        let (key, value) = parameter.trim_start_matches(' ').split_once('=')?;
        let slot = match key {
            "name" => &mut name,
            "filename" => &mut file,
            "filename*" => &mut file_encoded,
            _ => return None,
        };
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None if key == "filename*" => value.split_at(value.find(';').unwrap_or(value.len())),
            None => return None,
        };
        if slot.replace(value).is_some() || value.contains('\\') {
            return None;
        }
        rest = behind;
    }
    // A `%` may encode a quote, or be one sign of the name.
    let is_plain =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%');
    let is_whole = kind.eq_ignore_ascii_case("form-data") && rest.is_empty();
    Some((name.filter(is_plain).filter(|_| is_whole)?, file.is_some() || file_encoded.is_some()))
}
