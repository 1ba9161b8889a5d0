//! The admin API: what is in force, why a call would be refused, and the acts that change it. For operators, never for
//! apps.
//!
//! On a Unix socket the file's mode and the kernel guard it. On TCP a token or a certificate does, also on loopback, for
//! a sidecar shares loopback with the app that it guards; and a browser is kept out, for a page that its user opens can
//! reach loopback too. `right` says what each role may do, `endpoint` what there is.

pub mod access;
pub mod endpoint;
mod failures;
pub mod fault;
mod input;
pub mod listener;
pub mod openapi;
pub mod peer;
pub mod right;
mod socket;
mod tokens;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use axum::{Json, RequestExt as _, Router, middleware};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::acts::{ActId, Order};
use endpoint::Endpoint;
use fault::Code;
use right::{Caller, Right};
use view::{Asked, How, SnapshotView, Whoami, Why};

pub use access::{Access, Guard, TcpGuard};
pub use fault::AdminError;
pub use socket::bind_unix;
pub use tokens::{TOKEN_MIN_BYTES, TokenFile, TokenFileError};

/// Characters of who somebody says to be.
const BY_MAX: usize = 200;
/// Characters of a reason: a sentence or a ticket, not a report.
const REASON_MAX: usize = 500;
/// Long reads at one time. They walk over whole policies, beside a gate that serves.
const READS_MAX: usize = 2;
/// For one's turn.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

type SnapshotFn = dyn Fn() -> Option<SnapshotView> + Send + Sync;
type GenerationFn = dyn Fn() -> u64 + Send + Sync;
type ExplainFn = dyn Fn(Asked) -> Result<Value, AdminError> + Send + Sync;
type ReadFn = dyn Fn(Read) -> Result<Answer, AdminError> + Send + Sync;

type ActsFuture = std::pin::Pin<Box<dyn Future<Output = Result<Value, AdminError>> + Send>>;
type ActsFn = dyn Fn(ActRequest) -> ActsFuture + Send + Sync;

/// What is asked about acts.
#[derive(Debug)]
pub enum ActRequest {
    List,
    Order {
        order: Box<Order>,
        dry_run: bool,
        if_match: Option<u64>,
        /// Who asks, whatever the order says.
        caller: Caller,
    },
    /// Takes an act back.
    Restore(Undo),
    /// From shadow to enforced.
    Promote(Undo),
}

/// An act that is changed, and why.
#[derive(Debug)]
pub struct Undo {
    pub id: ActId,
    pub reason: String,
    pub by: Option<String>,
    pub dry_run: bool,
    pub if_match: Option<u64>,
    /// Who asks, whatever `by` says.
    pub caller: Caller,
}

/// What is read, a page at a time. Carried out on a thread of its own.
#[derive(Debug, Clone)]
pub enum Read {
    Apps(view::AppsQuery),
    App(String),
    Cells(view::CellsQuery),
    History(view::HistoryQuery),
}

/// What was read, and of which generation.
#[derive(Debug, Clone)]
pub struct Answer {
    pub generation: u64,
    pub value: Value,
}

/// What the API asks of the rest of the program.
#[derive(Clone)]
pub struct Answers {
    pub snapshot: Arc<SnapshotFn>,
    pub generation: Arc<GenerationFn>,
    /// The answer is the JSON of `scopegate explain --format json`.
    pub explain: Arc<ExplainFn>,
    /// Orders and lists of acts; answers are the JSON of `acts::done`.
    pub acts: Arc<ActsFn>,
    pub read: Arc<ReadFn>,
}

/// What every request shares.
#[derive(Clone)]
struct Shared {
    answers: Answers,
    room: Arc<Semaphore>,
}

/// The routes. Every one of them, and whatever is none, is behind [`Access`].
pub fn router(answers: Answers, access: Access) -> Router {
    let shared = Shared { answers, room: Arc::new(Semaphore::new(READS_MAX)) };
    let routes = Endpoint::ALL.into_iter().fold(Router::new(), |routes, endpoint| {
        let serve = move |shared, caller, request| serve(endpoint, shared, caller, request);
        routes.route(endpoint.path(), on(endpoint.filter(), serve))
    });
    routes
        .fallback(|| async { AdminError::plain(Code::Endpoint, "no such endpoint") })
        .method_not_allowed_fallback(|| async { AdminError::plain(Code::Method, "this endpoint has no such method") })
        .layer(middleware::from_fn_with_state(access, access::check))
        .with_state(shared)
}

async fn serve(
    endpoint: Endpoint,
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    answer(endpoint, &shared, caller, request).await.unwrap_or_else(AdminError::into_response)
}

async fn answer(
    endpoint: Endpoint,
    shared: &Shared,
    caller: Caller,
    mut request: Request,
) -> Result<Response, AdminError> {
    caller.must(endpoint.least())?;
    let answers = &shared.answers;
    match endpoint {
        Endpoint::Whoami => {
            let (principal, may) = (caller.principal.to_string(), caller.rights());
            Ok(Json(Whoami { principal, role: caller.role, may }).into_response())
        }
        Endpoint::Snapshot => {
            let view = (answers.snapshot)().ok_or(AdminError::NoPolicy)?;
            Ok(tagged(view.generation, &view))
        }
        Endpoint::Explain => {
            let asked = input::body(request, input::QUESTION_MAX_BYTES, Code::Question).await?;
            let explain = Arc::clone(&answers.explain);
            aside(shared, move || explain(asked)).await.map(|answer| Json(answer).into_response())
        }
        Endpoint::Acts => {
            // First: what changes meanwhile is then newer than the tag says, and no older.
            let generation = (answers.generation)();
            Ok(tagged(generation, &(answers.acts)(ActRequest::List).await?))
        }
        Endpoint::Order => done(answers, order(caller, request).await?).await,
        Endpoint::Restore => done(answers, ActRequest::Restore(undo(caller, request).await?)).await,
        Endpoint::Promote => done(answers, ActRequest::Promote(undo(caller, request).await?)).await,
        Endpoint::Apps => read(shared, Read::Apps(input::query(request.uri())?)).await,
        Endpoint::Cells => read(shared, Read::Cells(input::query(request.uri())?)).await,
        Endpoint::History => read(shared, Read::History(input::query(request.uri())?)).await,
        Endpoint::App => {
            let [product, app] = parts(&mut request).await?;
            read(shared, Read::App(format!("{product}/{app}"))).await
        }
        Endpoint::Description => Ok(Json(openapi::description()).into_response()),
    }
}

async fn done(answers: &Answers, request: ActRequest) -> Result<Response, AdminError> {
    (answers.acts)(request).await.map(|value| Json(value).into_response())
}

async fn read(shared: &Shared, read: Read) -> Result<Response, AdminError> {
    let reader = Arc::clone(&shared.answers.read);
    let answer = aside(shared, move || reader(read)).await?;
    Ok(tagged(answer.generation, &answer.value))
}

/// Works on a thread of its own, a few at a time.
async fn aside<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    let busy = |_| AdminError::plain(Code::Overloaded, "others read at length: try again later");
    let turn = tokio::time::timeout(READ_TIMEOUT, Arc::clone(&shared.room).acquire_owned()).await.map_err(busy)?;
    let answer = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    let broken = |_| AdminError::plain(Code::Overloaded, "the answer could not be made: see the log");
    answer.await.map_err(broken)?
}

/// The parts of a path that an endpoint leaves open.
async fn parts<const N: usize>(request: &mut Request) -> Result<[String; N], AdminError> {
    let unreadable = |_| AdminError::Question("the path cannot be read".to_owned());
    let Path(parts): Path<Vec<(String, String)>> = request.extract_parts().await.map_err(unreadable)?;
    let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    parts.try_into().map_err(|_| AdminError::Question("the path has other parts".to_owned()))
}

async fn order(caller: Caller, request: Request) -> Result<ActRequest, AdminError> {
    let How { dry_run } = input::query(request.uri())?;
    let if_match = input::if_match(request.headers())?;
    let mut order: Order = input::body(request, input::ORDER_MAX_BYTES, Code::Body).await?;
    // A dry run tells as much, and keeps others waiting as long.
    caller.must(Right::to_order(order.act))?;
    order.by = Some(said_by(order.by, &caller)?);
    Ok(ActRequest::Order { order: Box::new(order), dry_run, if_match, caller })
}

async fn undo(caller: Caller, mut request: Request) -> Result<Undo, AdminError> {
    let How { dry_run } = input::query(request.uri())?;
    let if_match = input::if_match(request.headers())?;
    let [id] = parts(&mut request).await?;
    let id = ActId::parse(&id).ok_or_else(|| AdminError::NotFound(format!("`{id}` is no act")))?;
    let Why { reason, by } = input::body(request, input::ORDER_MAX_BYTES, Code::Body).await?;
    if reason.trim().is_empty() || reason.chars().count() > REASON_MAX {
        let text = format!("a reason of at most {REASON_MAX} characters is needed: it stands in the journal");
        return Err(AdminError::Question(text));
    }
    let by = Some(said_by(by, &caller)?);
    Ok(Undo { id, reason, by, dry_run, if_match, caller })
}

/// Who it says to be, or who it is.
fn said_by(by: Option<String>, caller: &Caller) -> Result<String, AdminError> {
    let by = by.filter(|by| !by.trim().is_empty()).unwrap_or_else(|| caller.principal.to_string());
    if by.chars().count() > BY_MAX {
        return Err(AdminError::plain(Code::Body, format!("`by` has at most {BY_MAX} characters")));
    }
    Ok(by)
}

/// With the generation that was read, for `If-Match`.
fn tagged<T: Serialize>(generation: u64, value: &T) -> Response {
    let mut response = (StatusCode::OK, Json(value)).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{generation}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
