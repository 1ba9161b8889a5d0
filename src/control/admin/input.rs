//! What a request holds, read strictly: one JSON body of bounded size, a query without unknown keys, one `If-Match`.

use std::time::Duration;

use axum::extract::{Query, Request};
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::fault::{AdminError, Code};

/// The most bytes of a question: a request to explain, with the body it would have.
pub(super) const QUESTION_MAX_BYTES: usize = 1024 * 1024;
/// The most bytes of an order: thousands of containers.
pub(super) const ORDER_MAX_BYTES: usize = 256 * 1024;
/// For a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The JSON of a body. A shape that does not fit is `misfit`.
pub(super) async fn body<T: DeserializeOwned>(
    request: Request,
    max_bytes: usize,
    misfit: Code,
) -> Result<T, AdminError> {
    // Pages cannot send this without asking first, and nobody answers them then.
    if !is_json(request.headers()) {
        return Err(AdminError::plain(Code::MediaType, "the body is `content-type: application/json`"));
    }
    let collected = Limited::new(request.into_body(), max_bytes).collect();
    let collected = tokio::time::timeout(BODY_TIMEOUT, collected).await;
    let slow = |_| AdminError::plain(Code::BodySlow, "the body did not come in time");
    let bytes = collected.map_err(slow)?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return AdminError::plain(Code::BodyTooLarge, format!("the body has at most {max_bytes} bytes"));
        }
        AdminError::Question("the body is broken off".to_owned())
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(|error| match error.classify() {
        Category::Data => AdminError::plain(misfit, error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => AdminError::Question(error.to_string()),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next().and_then(|value| value.to_str().ok()), values.next()) else {
        return false;
    };
    let (kind, parameters) = value.split_once(';').unwrap_or((value, "charset=utf-8"));
    let charset = parameters.trim().to_ascii_lowercase().replace('"', "");
    kind.trim().eq_ignore_ascii_case("application/json") && charset == "charset=utf-8"
}

pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, AdminError> {
    let read = Query::<T>::try_from_uri(uri);
    read.map(|query| query.0).map_err(|error| AdminError::Question(error.body_text()))
}

/// The generation of `If-Match: "17"` (RFC 9110 §13.1.1), as reads give it in `ETag`.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, AdminError> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"'));
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let generation = digits.and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    generation
        .map(Some)
        .ok_or_else(|| AdminError::Question("`If-Match` is not the `ETag` of a snapshot, such as \"17\"".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_json_is_json() {
        let is = |values: &[&str]| is_json(&headers("content-type", values));
        for right in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""] {
            assert!(is(&[right]), "{right}");
        }
        for wrong in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/json; charset=utf-7",
            "",
        ] {
            assert!(!is(&[wrong]), "{wrong}");
        }
        assert!(!is(&[]));
        assert!(!is(&["application/json", "text/plain"]));
    }

    #[test]
    fn an_if_match_is_one_generation_and_nothing_else() {
        let read = |values: &[&str]| if_match(&headers("if-match", values));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"17\""]), Ok(Some(17)));
        for wrong in
            ["17", "*", "W/\"17\"", "\"17\", \"18\"", "\"+17\"", "\"-1\"", "\"\"", "\"99999999999999999999\"", "\""]
        {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
        assert!(read(&["\"17\"", "\"18\""]).is_err());
    }
}
