//! A refusal as an HTTP response.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};

use super::body::Body;
use crate::authz::dialect::Rendered;

/// What is left of the request when it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// None was announced, or all of it has arrived.
    Read,
    /// Some of it is still on its way, or may be.
    Unread,
}

/// The response to a refused request.
///
/// Where the request's body is not read to its end, the connection closes after the answer: to read on would let a
/// refused caller make the gate work, and to keep it would let the rest of the body pass for the next request.
pub fn response(rendered: Rendered, method: &Method, body: RequestBody) -> Response<Body> {
    let Rendered { status, headers, content_type, body: bytes } = rendered;
    // RFC 9110 §9.3.2: the answer to HEAD has no content, whatever its status.
    let bytes = if method == Method::HEAD { Bytes::new() } else { bytes };
    let mut response = Response::new(Body::Full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().extend(headers);
    if body == RequestBody::Unread {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Reason;
    use crate::authz::catalog::DialectName;
    use crate::authz::dialect::{Refusal, render};
    use http_body::Body as _;

    fn rendered() -> Rendered {
        render(DialectName::Problem, &Refusal::new(Reason::MissingScope, "id"))
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        let response = response(rendered(), &Method::HEAD, RequestBody::Read);
        assert_eq!(response.status(), 403);
        assert!(response.body().is_end_stream());
        assert_eq!(response.headers()["x-scopegate-reason"], "missing_scope");
    }

    #[test]
    fn an_unread_body_closes_the_connection() {
        let unread = response(rendered(), &Method::POST, RequestBody::Unread);
        assert_eq!(unread.headers()["connection"], "close");
        let read = response(rendered(), &Method::POST, RequestBody::Read);
        assert_eq!(read.headers().get("connection"), None);
    }
}
