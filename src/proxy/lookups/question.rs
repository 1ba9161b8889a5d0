//! One question of the gate's own, to the product with a credential or to whoever publishes keys without: a GET, and the answer,
//! whole and bounded.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Limited};

use super::super::body::RequestBody;
use super::super::upstream::{SendError, Upstream};

const USER_AGENT: HeaderValue = HeaderValue::from_static("scopegate");

/// What the product says.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// `Err`: it broke off, is too large, or is packed.
    pub body: Result<Bytes, Unread>,
    /// What it says of when to ask again. A date, or nonsense, says nothing.
    pub retry_after_s: Option<u32>,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("it is packed, and nobody asked for that")]
    Packed,
    #[error("it broke off, or is too large")]
    Broken,
}

/// Asks, and reads the answer to its end, so that the connection can be used again.
///
/// # Errors
/// There is no answer.
pub async fn ask(
    upstream: &Upstream,
    generation: u64,
    uri: Uri,
    authorization: Option<HeaderValue>,
    bytes_max: usize,
) -> Result<Reply, SendError> {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = Method::GET;
    head.uri = uri;
    head.version = Version::HTTP_11;
    head.headers.insert(header::HOST, upstream.target().host.clone());
    head.headers.insert(header::USER_AGENT, USER_AGENT);
    head.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    head.headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    let response = upstream.send(generation, || head.clone(), RequestBody::Empty, None).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await;
    let is_plain = head.headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes() == b"identity");
    let body = match body {
        Ok(body) if is_plain => Ok(body.to_bytes()),
        Ok(_) => Err(Unread::Packed),
        Err(_) => Err(Unread::Broken),
    };
    Ok(Reply { status: head.status, body, retry_after_s: retry_after(&head.headers) })
}

fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
