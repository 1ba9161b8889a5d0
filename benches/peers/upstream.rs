//! The upstream that every proxy is measured with. It answers as Jira does, by the path alone, and takes bodies.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::bare::accept;
use super::product::{self, FILE, JSON};

/// Made once, so that an answer costs the upstream no more than its bytes.
struct Answers {
    issue: Bytes,
    page: Bytes,
    file: Bytes,
    attachments: Bytes,
}

pub async fn serve(listener: TcpListener) {
    let answers = Rc::new(Answers {
        issue: product::small_issue().into(),
        page: product::search_page().into(),
        file: product::file().into(),
        attachments: product::attachments().into(),
    });
    accept(listener, |stream| {
        let answers = Rc::clone(&answers);
        async move {
            let answer = service_fn(move |request| answer(Rc::clone(&answers), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await;
}

async fn answer(answers: Rc<Answers>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let path = head.uri.path().strip_prefix("/rest/api/3/").unwrap_or_default();
    let found = match (&head.method, path) {
        (&Method::GET, "search/jql") => Some((&answers.page, JSON)),
        (&Method::GET, path) if path.starts_with("attachment/content/") => Some((&answers.file, FILE)),
        (&Method::GET, path) if path.starts_with("issue/") => Some((&answers.issue, JSON)),
        (&Method::POST, path) if path.ends_with("/attachments") => Some((&answers.attachments, JSON)),
        _ => None,
    };
    let Some((content, media)) = found else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let mut response = Response::new(Full::new(content.clone()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    fields.insert("x-request-id", HeaderValue::from_static("0af7651916cd43dd8448eb211c80319c"));
    Ok(response)
}
