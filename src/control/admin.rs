//! The admin API: what is in force, and why a call would be refused. For operators, never for apps.
//!
//! On a Unix socket the file's mode guards it. On TCP a token does, also on loopback, for a sidecar shares loopback
//! with the app that it guards; and a browser is kept out, for a page that its user opens can reach loopback too.

mod access;
mod socket;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Serialize;
use serde_json::{Value, json};

pub use access::{Access, TOKEN_MIN_BYTES, TokenFile, TokenFileError};
pub use socket::bind_unix;

/// The most bytes of a question: a request to explain, with the body it would have.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// What `GET /api/v1/snapshot` answers. Counts and digests only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotView {
    pub generation: u64,
    pub digest: String,
    pub apps: usize,
    pub settling: bool,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminError {
    /// The question is not understood; the text says what was expected.
    Question(String),
    /// What it names does not exist.
    NotFound(String),
    /// No snapshot is in force yet.
    NoPolicy,
}

type SnapshotFn = dyn Fn() -> Option<SnapshotView> + Send + Sync;
type ExplainFn = dyn Fn(Value) -> Result<Value, AdminError> + Send + Sync;

/// What the API asks of the rest of the program.
#[derive(Clone)]
pub struct Answers {
    pub snapshot: Arc<SnapshotFn>,
    /// The question and the answer are the JSON of `scopegate explain --format json`.
    pub explain: Arc<ExplainFn>,
}

/// The routes. Every one of them, and every 404, is behind [`Access`].
pub fn router(answers: Answers, access: Access) -> Router {
    Router::new()
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/explain", post(explain))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such endpoint") })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(access, access::check))
        .with_state(answers)
}

async fn snapshot(State(answers): State<Answers>) -> Response {
    match (answers.snapshot)() {
        Some(view) => Json(view).into_response(),
        None => AdminError::NoPolicy.into_response(),
    }
}

async fn explain(State(answers): State<Answers>, question: Json<Value>) -> Response {
    match (answers.explain)(question.0) {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => refused.into_response(),
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        match self {
            Self::Question(text) => error(StatusCode::BAD_REQUEST, &text),
            Self::NotFound(text) => error(StatusCode::NOT_FOUND, &text),
            Self::NoPolicy => error(StatusCode::SERVICE_UNAVAILABLE, "no policy is loaded yet"),
        }
    }
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
