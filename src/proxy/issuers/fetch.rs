//! Fetches the key set of one issuer: at the start, again and again, and when a token asks for it. One worker of a gate does
//! it for all. It never ends: an issuer that is down, slow, or answers with something else is asked again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{StatusCode, Uri};

use super::Keys;
use crate::authz::identity::keys::{KeySet, SET_BYTES_MAX};
use crate::live::Live;
use crate::proxy::lookups::question::{Unread, ask};
use crate::proxy::upstream::{SendError, Upstream};

/// For one fetch, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After the first failure; each further one doubles it, up to the cool-down.
const RETRY: Duration = Duration::from_secs(1);
/// How often a fetch begins anew because the snapshot moved.
const MOVES_MAX: u32 = 16;

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
    for _ in 0..MOVES_MAX {
        let generation = live.generation().load(Ordering::SeqCst);
        let reply = match ask(from, generation, source.uri.clone(), None, SET_BYTES_MAX).await {
            Ok(reply) => reply,
            Err(SendError::Moved(_)) => continue,
            Err(error) => return Err(error.to_string()),
        };
        if reply.status != StatusCode::OK {
            return Err(format!("answered with status {}", reply.status.as_u16()));
        }
        let body = reply.body.map_err(|unread| match unread {
            Unread::Packed => "answered in a coding that was not asked for".to_owned(),
            Unread::Broken => format!("broke off, or sent more than {} KiB", SET_BYTES_MAX >> 10),
        })?;
        return KeySet::parse(&body).map_err(|fault| format!("sent a key set that {fault}"));
    }
    Err("could not be asked: the policy moves too fast".to_owned())
}
