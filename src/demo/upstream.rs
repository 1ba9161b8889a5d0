//! A Jira and a Slack, small and made up: a handful of endpoints that answer plausibly.
//!
//! Each answer tells which credential it was asked with, so that one sees the real one come and the gate key not.

use std::collections::HashMap;
use std::future::IntoFuture as _;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The running upstreams, on a thread of their own. They stop when dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Of Jira and of Slack.
    pub addresses: [SocketAddr; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// `jira_token`, `slack_token`: the only credentials that they take.
    pub(super) fn start(jira_token: &'static str, slack_token: &'static str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jira, slack) = (bind()?, bind()?);
        let addresses = [jira.local_addr()?, slack.local_addr()?];
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            for (listener, router) in [(jira, jira_router(jira_token)), (slack, slack_router(slack_token))] {
                match TcpListener::from_std(listener) {
                    Ok(listener) => drop(tokio::spawn(axum::serve(listener, router).into_future())),
                    Err(error) => tracing::error!(%error, "a made-up upstream cannot be served"),
                }
            }
            // Either way the demo is over.
            let _ = stopped.await;
        };
        let thread = std::thread::Builder::new().name("demo-upstream".into()).spawn(move || runtime.block_on(serve))?;
        Ok(Self { addresses, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind() -> io::Result<StdTcpListener> {
    let listener = StdTcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What a request showed, for the answer.
fn seen(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.unwrap_or("no credential").to_owned()
}

/// Readable in a terminal, with a line end.
fn answer(status: StatusCode, mut body: Value, headers: &HeaderMap) -> Response {
    if let Some(members) = body.as_object_mut() {
        members.insert("upstream_saw".into(), seen(headers).into());
    }
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [json], format!("{body:#}\n")).into_response()
}

const ISSUES: [(&str, &str); 3] =
    [("PROJ-1", "Printer on fire"), ("SEC-1", "Rotate the signing key"), ("LEGAL-1", "Review the contract")];

fn issue(key: &str) -> Value {
    let summary = ISSUES.iter().find(|(known, _)| *known == key).map_or("An issue", |(_, summary)| summary);
    let project = key.split('-').next().unwrap_or_default();
    json!({"key": key, "fields": {"summary": summary, "project": {"key": project}}})
}

fn jira_router(token: &'static str) -> Router {
    let one =
        |Path(key): Path<String>, headers: HeaderMap| async move { answer(StatusCode::OK, issue(&key), &headers) };
    let search = |headers: HeaderMap| async move {
        let issues: Vec<Value> = ISSUES.iter().map(|(key, _)| issue(key)).collect();
        answer(StatusCode::OK, json!({"issues": issues, "isLast": true}), &headers)
    };
    let scheme = |Path(id): Path<String>, headers: HeaderMap| async move {
        answer(StatusCode::OK, json!({"id": id, "name": "Default"}), &headers)
    };
    let always = |status: StatusCode, body: Value| {
        move |headers: HeaderMap| {
            let body = body.clone();
            async move { answer(status, body, &headers) }
        }
    };
    let api = Router::new()
        .route("/issue", post(create_issue))
        .route("/issue/{key}", get(one).put(one))
        .route("/search/jql", get(search))
        .route(
            "/permissionscheme",
            get(always(StatusCode::OK, json!({"permissionSchemes": [{"id": 10000, "name": "Default"}]}))),
        )
        .route("/permissionscheme/{id}", get(scheme).put(scheme))
        .route(
            "/webhook",
            post(always(StatusCode::OK, json!({"webhookRegistrationResult": [{"createdWebhookId": 1}]}))),
        );
    Router::new()
        .nest("/rest/api/3", api)
        .fallback(always(StatusCode::NOT_FOUND, json!({"errorMessages": ["the demo's Jira is small"]})))
        .layer(middleware::from_fn(move |request, next| only_with(token, request, next)))
}

async fn create_issue(headers: HeaderMap, body: Bytes) -> Response {
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let project = sent.pointer("/fields/project/key").and_then(Value::as_str).unwrap_or("PROJ");
    answer(StatusCode::CREATED, json!({"id": "10002", "key": format!("{project}-2")}), &headers)
}

async fn only_with(token: &'static str, request: Request, next: Next) -> Response {
    if seen(request.headers()) == format!("Bearer {token}") {
        return next.run(request).await;
    }
    answer(StatusCode::UNAUTHORIZED, json!({"code": 401, "message": "Unauthorized"}), request.headers())
}

fn slack_router(token: &'static str) -> Router {
    let method = move |Path(method): Path<String>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let arguments = arguments(&uri, &headers, &body);
        let body = if seen(&headers) == format!("Bearer {token}") {
            slack_answer(&method, &arguments)
        } else {
            json!({"ok": false, "error": "invalid_auth"})
        };
        answer(StatusCode::OK, body, &headers)
    };
    Router::new().route("/api/{method}", get(method).post(method))
}

fn slack_answer(method: &str, arguments: &HashMap<String, String>) -> Value {
    let argument = |name: &str| arguments.get(name).map(String::as_str).unwrap_or_default();
    let message = |text: &str| json!({"type": "message", "user": "U0DANA", "text": text, "ts": "1764000000.000100"});
    match method {
        "auth.test" => {
            json!({"ok": true, "team": "Acme Corp", "team_id": "T024BE7LD", "user": "assist", "bot_id": "B01"})
        }
        "chat.postMessage" => {
            let (channel, ts) = (argument("channel"), "1764000000.000200");
            json!({"ok": true, "channel": channel, "ts": ts, "message": message(argument("text"))})
        }
        "conversations.history" => json!({"ok": true, "messages": [message("my laptop is slow")], "has_more": false}),
        "users.list" => {
            json!({"ok": true, "members": [{"id": "U0DANA", "name": "dana"}, {"id": "U0LEE", "name": "lee"}]})
        }
        _ => json!({"ok": false, "error": "unknown_method"}),
    }
}

/// The arguments of a Slack method: of the query, and of a form or JSON body.
fn arguments(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> HashMap<String, String> {
    let mut found = pairs(uri.query().unwrap_or_default());
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        let members: HashMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        found.extend(members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))));
    } else {
        found.extend(pairs(std::str::from_utf8(body).unwrap_or_default()));
    }
    found
}

fn pairs(text: &str) -> HashMap<String, String> {
    let uri = format!("/?{text}").parse::<Uri>().ok();
    let query = uri.and_then(|uri| Query::try_from_uri(&uri).ok());
    query.map(|Query(pairs)| pairs).unwrap_or_default()
}
