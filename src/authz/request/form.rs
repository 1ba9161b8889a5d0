//! A form body (`application/x-www-form-urlencoded`): the grammar of a query, in UTF-8.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::query::{self, Pairs};
use super::{BadRequest, body::utf8};

const MEDIA_SUBTYPE: &[u8] = b"x-www-form-urlencoded";

/// Whether anybody might take the body for a form by its declared type.
pub fn is_declared(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let windows = &mut value.as_bytes().windows(MEDIA_SUBTYPE.len());
        windows.any(|text| text.eq_ignore_ascii_case(MEDIA_SUBTYPE))
    })
}

/// Reads a form. Unlike a query it may hold unencoded spaces and characters beyond ASCII: many clients send them.
pub fn parse(body: &[u8]) -> Result<Pairs<'_>, BadRequest> {
    let text = utf8(body)?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadRequest("the form holds a control character"));
    }
    query::pairs(text)
}
