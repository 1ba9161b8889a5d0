//! Fetches the key set of one issuer: at the start, again and again, and when a token asks for it. One worker of a gate does
//! it for all. It never ends: an issuer that is down, slow, or answers with something else is asked again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Limited};

use super::Keys;
use crate::authz::identity::keys::{KeySet, SET_BYTES_MAX};
use crate::live::Live;
use crate::proxy::body::RequestBody;
use crate::proxy::upstream::{SendError, Upstream};

/// For one fetch, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After the first failure; each further one doubles it, up to the cool-down.
const RETRY: Duration = Duration::from_secs(1);
/// How often a fetch begins anew because the snapshot moved.
const MOVES_MAX: u32 = 16;
const USER_AGENT: HeaderValue = HeaderValue::from_static("scopegate");

/// Where a set is fetched from, and how often.
#[derive(Debug, Clone)]
pub struct Source {
    pub uri: Uri,
    pub refresh: Duration,
    pub cool_down: Duration,
    /// How long a set counts that cannot be fetched anew.
    pub max_age: Duration,
}

/// Never returns. `sink` is told how each fetch ended.
pub async fn tend(keys: Arc<Keys>, source: Source, from: Upstream, live: Arc<Live>, sink: impl Fn(Result<(), &str>)) {
    let mut progress = keys.progress.subscribe();
    let mut retry = RETRY.min(source.cool_down);
    loop {
        let asked_ms = live.now_ms();
        let fetched = match tokio::time::timeout(TIMEOUT, fetch(&source, &from, &live)).await {
            Ok(fetched) => fetched,
            Err(_) => Err("did not answer in time".to_owned()),
        };
        let rest = match fetched {
            Ok(set) => {
                retry = RETRY.min(source.cool_down);
                let age = i64::try_from(source.max_age.as_millis()).unwrap_or(i64::MAX);
                keys.replace(set, asked_ms, live.now_ms().saturating_add(age));
                sink(Ok(()));
                source.refresh
            }
            Err(why) => {
                sink(Err(&why));
                let rest = retry;
                retry = (2 * retry).min(source.cool_down);
                rest
            }
        };
        keys.progress.send_modify(|progress| {
            progress.done = progress.asked;
            // A fetch that nobody asked for is one all the same: what comes right after it would find nothing new.
            progress.next = progress.next.max(Instant::now() + source.cool_down);
        });
        // Until it is due, or a token asks.
        let asked = tokio::time::timeout(rest, progress.wait_for(|progress| progress.asked > progress.done)).await;
        if asked.is_err() {
            keys.progress.send_modify(|progress| progress.asked = progress.done + 1);
        }
    }
}

async fn fetch(source: &Source, from: &Upstream, live: &Live) -> Result<KeySet, String> {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = Method::GET;
    head.uri = source.uri.clone();
    head.version = Version::HTTP_11;
    head.headers.insert(header::HOST, from.target().host.clone());
    head.headers.insert(header::USER_AGENT, USER_AGENT);
    head.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for _ in 0..MOVES_MAX {
        let generation = live.generation().load(Ordering::SeqCst);
        let response = match from.send(generation, || head.clone(), RequestBody::Empty, None).await {
            Ok(response) => response,
            Err(SendError::Moved(_)) => continue,
            Err(error) => return Err(error.to_string()),
        };
        let (answer, body) = response.into_parts();
        if answer.status != StatusCode::OK {
            return Err(format!("answered with status {}", answer.status.as_u16()));
        }
        let is_plain =
            answer.headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes() == b"identity");
        if !is_plain {
            return Err("answered in a coding that was not asked for".to_owned());
        }
        let body = Limited::new(body, SET_BYTES_MAX).collect().await;
        let body = body.map_err(|_| format!("broke off, or sent more than {} KiB", SET_BYTES_MAX >> 10))?;
        return KeySet::parse(&body.to_bytes()).map_err(|fault| format!("sent a key set that {fault}"));
    }
    Err("could not be asked: the policy moves too fast".to_owned())
}
