//! A form body (`application/x-www-form-urlencoded`): the grammar of a query, in UTF-8.

use super::query::{self, Pairs};
use super::{BadRequest, body::utf8};

/// Reads a form. Unlike a query it may hold unencoded spaces and characters beyond ASCII: many clients send them.
pub fn parse(body: &[u8]) -> Result<Pairs<'_>, BadRequest> {
    let text = utf8(body)?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadRequest("the form holds a control character"));
    }
    query::pairs(text)
}
