//! The body of a request that is judged by it, typed by its declared type alone: nothing is sniffed.

use std::fmt;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::query::Pairs;
use super::{BadRequest, form, json, multipart};

/// What is known of the body.
#[derive(Default)]
pub enum BodyFacts<'a> {
    /// It streams by. Whatever would have to be read from it refuses the request.
    #[default]
    NotHeld,
    /// There is none: every place in it is absent.
    Empty,
    Json(json::Value<'a>),
    Form(Pairs<'a>),
    Multipart(multipart::Fields<'a>),
}

/// A body may hold a credential, so it is never printed.
impl fmt::Debug for BodyFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "NotHeld",
            Self::Empty => "Empty",
            Self::Json(_) => "Json(…)",
            Self::Form(_) => "Form(…)",
            Self::Multipart(_) => "Multipart(…)",
        })
    }
}

/// Reads a body that was held whole.
pub fn parse_body<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<BodyFacts<'a>, BadRequest> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(BadRequest("the body is encoded: send it without `Content-Encoding`"));
    }
    if body.is_empty() {
        return Ok(BodyFacts::Empty);
    }
    match declared_type(headers)? {
        BodyType::Json => Ok(BodyFacts::Json(json::parse(body)?)),
        BodyType::Form => Ok(BodyFacts::Form(form::parse(body)?)),
        BodyType::Multipart { boundary } => Ok(BodyFacts::Multipart(multipart::parse(body, boundary)?)),
    }
}

enum BodyType<'h> {
    Json,
    Form,
    Multipart { boundary: &'h str },
}

/// The one declared type. `+json` is refused: no product here asks for it, and readers differ over which they take.
fn declared_type(headers: &HeaderMap) -> Result<BodyType<'_>, BadRequest> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().ok_or(BadRequest("the body has no `Content-Type`"))?;
    if values.next().is_some() {
        return Err(BadRequest("the body has two `Content-Type`s"));
    }
    let text = value.to_str().map_err(|_| BadRequest("`Content-Type` is not ASCII"))?;
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let declared = if media_type.eq_ignore_ascii_case("application/json") {
        BodyType::Json
    } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        BodyType::Form
    } else if media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Ok(BodyType::Multipart { boundary: multipart::boundary(parts.next(), parts.next())? });
    } else {
        return Err(BadRequest("the body is neither JSON nor a form"));
    };
    match (parts.next(), parts.next()) {
        (None, _) => Ok(declared),
        (Some(parameter), None) if is_utf8_charset(parameter) => Ok(declared),
        _ => Err(BadRequest("`Content-Type` may have no parameter but one `charset=utf-8`")),
    }
}

pub(super) fn is_utf8_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    name.eq_ignore_ascii_case("charset") && (value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8"))
}

/// The text of a body. A byte order mark is refused: some readers drop it, some take it for part of the first name.
pub(super) fn utf8(body: &[u8]) -> Result<&str, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|_| BadRequest("the body is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(BadRequest("the body begins with a byte order mark"));
    }
    Ok(text)
}
