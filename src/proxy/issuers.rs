//! The tokens that issuers sign: verified once on each worker, by the keys that the issuer publishes.
//!
//! Whoever shows a token for the first time waits for its signature to be verified, and nobody for more. Only a token whose
//! key is not known waits for a fetch of the set, with all others of its kind for the same one: so often as the cool-down
//! lets, whatever is sent. What was verified is kept by the token's digest until it ends or the set changes.

mod fetch;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;
use tokio::sync::watch;

use crate::authz::identity::claims::Claims;
use crate::authz::identity::jwt::{self, Issuer, Seen};
use crate::authz::identity::keys::KeySet;
use crate::authz::identity::{Bearer, gate_key, token};
use crate::authz::policy::credentials::TokenDigest;
use crate::authz::request::RequestView;
pub use fetch::{Source, tend};

/// Verified tokens that one worker of a gate keeps, in each of two halves: full, the older half goes. Some hundred bytes
/// each, and 8 KiB at worst.
const KEPT_MAX: usize = 2_048;
/// How long a request waits for keys. A fetch that takes longer is no use to it any more, but to the next.
const WAIT: Duration = Duration::from_secs(3);
/// Fetches that one request waits for: a set that changed meanwhile may lack the key again.
const WAITS_MAX: u32 = 2;

/// The key set of one issuer, shared by the workers of a gate.
#[derive(Debug)]
pub struct Keys {
    set: ArcSwapOption<KeySet>,
    /// Counts the sets: what was verified by another one is verified again.
    number: AtomicU64,
    /// Unix time in milliseconds; from then on the set does not count.
    until_ms: AtomicI64,
    /// Unix time in milliseconds at which the set was what the issuer publishes.
    had_ms: AtomicI64,
    progress: watch::Sender<Progress>,
    /// `None`: it is never fetched.
    cool_down: Option<Duration>,
}

/// How far the fetching is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The number of the fetch that was asked for last.
    asked: u64,
    /// The number of the one that ended last.
    done: u64,
    /// Not before this may a token ask for another one.
    next: Instant,
}

impl Keys {
    /// Of a file: there is a set from the start.
    pub fn of_file(set: KeySet) -> Arc<Self> {
        let keys = Self::empty(None, 0);
        keys.replace(set, i64::MAX, i64::MAX);
        Arc::new(keys)
    }

    /// To be fetched: the first fetch is owed.
    pub fn fetched(cool_down: Duration) -> Arc<Self> {
        Arc::new(Self::empty(Some(cool_down), 1))
    }

    fn empty(cool_down: Option<Duration>, asked: u64) -> Self {
        let (set, number, until_ms) = (ArcSwapOption::empty(), AtomicU64::new(0), AtomicI64::new(i64::MIN));
        let had_ms = AtomicI64::new(i64::MIN);
        let progress = watch::Sender::new(Progress { asked, done: 0, next: Instant::now() });
        Self { set, number, until_ms, had_ms, progress, cool_down }
    }

    /// Puts a set in the place of the one that counted. `had_ms`: when it was asked for.
    pub fn replace(&self, set: KeySet, had_ms: i64, until_ms: i64) {
        // One that says the same ends no token's being known.
        let is_same = self.set.load().as_deref() == Some(&set);
        if !is_same {
            self.set.store(Some(Arc::new(set)));
            // After the set: who reads the new number reads the new set.
            self.number.fetch_add(1, Ordering::SeqCst);
        }
        self.had_ms.store(had_ms, Ordering::SeqCst);
        self.until_ms.store(until_ms, Ordering::SeqCst);
    }

    /// The set, while it counts.
    fn current(&self, now_ms: i64) -> Option<Arc<KeySet>> {
        if self.counts(now_ms) { self.set.load_full() } else { None }
    }

    #[inline]
    fn counts(&self, now_ms: i64) -> bool {
        now_ms < self.until_ms.load(Ordering::Relaxed)
    }

    /// The number of a fetch that is worth waiting for: one is under way, or may be asked for now.
    fn ask(&self) -> Option<u64> {
        let cool_down = self.cool_down?;
        let mut awaited = None;
        self.progress.send_if_modified(|progress| {
            if progress.asked > progress.done {
                awaited = Some(progress.asked);
                return false;
            }
            let now = Instant::now();
            if now < progress.next {
                return false;
            }
            progress.asked = progress.done + 1;
            progress.next = now + cool_down;
            awaited = Some(progress.asked);
            true
        });
        awaited
    }

    /// Returns when the fetch of that number ended. False: it takes too long to wait for, and nobody can tell for now.
    async fn ended(&self, number: u64) -> bool {
        let mut progress = self.progress.subscribe();
        tokio::time::timeout(WAIT, progress.wait_for(|progress| progress.done >= number)).await.is_ok()
    }
}

/// What one worker of a gate knows of tokens.
#[derive(Debug)]
pub struct Issuers {
    issuers: Arc<[Issuer]>,
    /// In the order of `issuers`.
    keys: Arc<[Arc<Keys>]>,
    known: RefCell<Known>,
}

/// A token that was verified.
#[derive(Debug, Clone)]
struct Verified {
    by: usize,
    number: u64,
    claims: Arc<Claims>,
}

/// Two halves, so that the ones in use outlive the others.
#[derive(Debug, Default)]
struct Known {
    young: HashMap<TokenDigest, Verified>,
    old: HashMap<TokenDigest, Verified>,
}

impl Known {
    fn get(&mut self, digest: &TokenDigest) -> Option<&Verified> {
        if !self.young.contains_key(digest) {
            let verified = self.old.remove(digest)?;
            self.keep(*digest, verified);
        }
        self.young.get(digest)
    }

    fn keep(&mut self, digest: TokenDigest, verified: Verified) {
        if self.young.len() >= KEPT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

/// What a look at a request's token found.
enum Look {
    Told(Bearer),
    /// This issuer's set lacks the key, or is not there; and what that makes of the token.
    Lacks(usize, Bearer),
}

impl Issuers {
    pub fn new(issuers: Arc<[Issuer]>, keys: Arc<[Arc<Keys>]>) -> Self {
        Self { issuers, keys, known: RefCell::default() }
    }

    /// What the token of a request is, where that can be told at once: always, but for a key that is not known.
    #[inline]
    pub fn told(&self, request: &RequestView<'_>, now_ms: impl Fn() -> i64) -> Option<Bearer> {
        if self.issuers.is_empty() {
            return Some(Bearer::Opaque);
        }
        match self.look(request, now_ms()) {
            Look::Told(bearer) => Some(bearer),
            Look::Lacks(..) => None,
        }
    }

    /// What the token of a request is, once the keys that it lacks were fetched, or could not be.
    pub async fn resolved(&self, request: &RequestView<'_>, now_ms: impl Fn() -> i64) -> Bearer {
        let mut waits = 0;
        loop {
            let (index, otherwise) = match self.look(request, now_ms()) {
                Look::Told(bearer) => return bearer,
                Look::Lacks(index, otherwise) => (index, otherwise),
            };
            let Some(keys) = self.keys.get(index).filter(|_| waits < WAITS_MAX) else { return otherwise };
            let Some(number) = keys.ask() else { return otherwise };
            waits += 1;
            if !keys.ended(number).await {
                return Bearer::Unresolved;
            }
        }
    }

    fn look(&self, request: &RequestView<'_>, now_ms: i64) -> Look {
        let Some(token::Shown::Token(token)) = request.authorization().map(token::shown) else {
            return Look::Told(Bearer::Opaque);
        };
        if !jwt::may_be_one(token) {
            return Look::Told(Bearer::Opaque);
        }
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Look::Told(Bearer::Failed);
        }
        let digest = request.token().unwrap_or_else(|| TokenDigest(gate_key::digest(token)));
        if let Some(claims) = self.known(&digest, now_ms) {
            return Look::Told(Bearer::Proven(claims));
        }
        // Before the set: verified by a newer one than its number says, it is verified once more, and never the reverse.
        let numbers = |index: usize| self.keys.get(index).map_or(0, |keys| keys.number.load(Ordering::SeqCst));
        let before: Vec<u64> = (0..self.keys.len()).map(numbers).collect();
        let set = |index: usize| self.keys.get(index)?.current(now_ms);
        match jwt::see(token, &self.issuers, set, now_ms) {
            Seen::NotOurs => Look::Told(Bearer::Opaque),
            Seen::Failed => Look::Told(Bearer::Failed),
            // A key that came after the set was last had may be its own: "no" would be said of what nobody asked for.
            Seen::KeyUnknown(index, made_ms) => {
                let had_ms = self.keys.get(index).map_or(i64::MIN, |keys| keys.had_ms.load(Ordering::SeqCst));
                let is_told = made_ms.is_none_or(|made| made <= had_ms);
                Look::Lacks(index, if is_told { Bearer::Failed } else { Bearer::Unresolved })
            }
            Seen::NoKeys(index) => Look::Lacks(index, Bearer::Unresolved),
            Seen::Proven(by, claims) => {
                let claims = Arc::new(claims);
                let number = before.get(by).copied().unwrap_or_default();
                let verified = Verified { by, number, claims: Arc::clone(&claims) };
                self.known.borrow_mut().keep(digest, verified);
                Look::Told(Bearer::Proven(claims))
            }
        }
    }

    /// A token that was verified before, by the set that counts.
    fn known(&self, digest: &TokenDigest, now_ms: i64) -> Option<Arc<Claims>> {
        let mut known = self.known.borrow_mut();
        let verified = known.get(digest)?;
        let keys = self.keys.get(verified.by)?;
        let stands = keys.counts(now_ms)
            && keys.number.load(Ordering::SeqCst) == verified.number
            && verified.claims.is_live(now_ms);
        stands.then(|| Arc::clone(&verified.claims))
    }
}
