//! The bucket itself: one connection to the cluster, what is written over it, and what it delivers in order.
//!
//! Nothing here mends itself. When anything is lost (the connection, a message, the consumer) the feed ends, and a new
//! session reads the whole bucket: a feed that picked up "where it was" could pick up in another bucket.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, push};
use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{self, DiscardPolicy, LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{ConnectOptions, HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::entry::{Entry, Key, Op, VALUE_BYTES_MAX};
use super::tls;
use crate::config::model::{self, Login};

/// For a connection to one server, TLS and login together. All are tried, in an order drawn anew each time.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// For one answer of the cluster. A leader that died is replaced within seconds.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A write is tried for so long before it is said that nobody knows whether it was taken: a leader that died is
/// replaced within it.
const PUT_MAX: Duration = Duration::from_secs(8);
const RETRY: Duration = Duration::from_millis(250);
/// The server says at least so often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After this long without a word the feed is lost.
const SILENCE_MAX: Duration = Duration::from_millis(3_500);
/// The client tells the server that it is there, and finds out that the server is not.
const PING: Duration = Duration::from_secs(2);
/// A consumer that nobody listens to is forgotten after this.
const INACTIVE: Duration = Duration::from_secs(10);
/// What all values together may take on each server's disk.
const BUCKET_BYTES_MAX: i64 = 256 * 1024 * 1024;
/// Beside a value.
const HEADERS_MAX: usize = 1_024;
/// Messages that wait for this gate; the server holds back before.
const WAITING_MAX: usize = 65_536;

const KV_OPERATION: &str = "KV-Operation";

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("{0}")]
    Unreachable(String),
    #[error("the bucket is not one that keeps acts: {0}")]
    Unfit(String),
    #[error("the feed of the bucket broke: {0}")]
    Feed(String),
    #[error("{read} of {of} servers' copies of the bucket were read, and a majority is needed: {why}")]
    Copies { read: usize, of: usize, why: String },
    #[error("what another gate has does not come: all is read anew")]
    Lacking,
}

/// Why a value was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPut {
    /// Somebody else wrote this key since it was looked at.
    #[error("somebody else has just changed it")]
    Conflict,
    /// It may have been taken all the same.
    #[error("the bucket does not answer, so that nobody knows whether it took it: {0}")]
    Unknown(String),
    /// It was not taken.
    #[error("the bucket does not take it: {0}")]
    Refused(String),
}

/// A connection over which is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    context: jetstream::Context,
    prefix: String,
    stream: String,
}

/// What the bucket delivers: all that lies there, and then all that is written, in one order.
pub struct Feed {
    subscriber: Subscriber,
    context: jetstream::Context,
    prefix: String,
    /// Of the consumer: each message has the next number.
    last: u64,
    stream: String,
    consumer: String,
    server: Option<String>,
}

/// Which servers keep the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// How many copies there are to be.
    pub copies: usize,
    /// Those that are not known to be away.
    pub there: BTreeSet<String>,
}

/// Connects, and makes the bucket where it is not there.
///
/// # Errors
/// No server is reached, or the bucket cannot keep acts.
pub async fn connect(bucket: &model::Bucket, name: &str) -> Result<(Link, Feed), Lost> {
    let unreachable = |error: &dyn std::fmt::Display| Lost::Unreachable(error.to_string());
    let options = options(bucket, name)?;
    let servers: Vec<String> = bucket.servers.iter().map(ToString::to_string).collect();
    let all = CONNECT_MAX * u32::try_from(servers.len()).unwrap_or(1);
    let client = timeout(all, options.connect(servers)).await;
    let client = client.map_err(|_| unreachable(&"no server answers"))?.map_err(|error| unreachable(&error))?;
    let context = ContextBuilder::new().timeout(ANSWER_MAX).ack_timeout(ANSWER_MAX).build(client);
    let link = Link { context, prefix: format!("$KV.{}.", bucket.bucket), stream: format!("KV_{}", bucket.bucket) };
    let stream = link.stream(bucket).await?;
    fits(&stream)?;
    let feed = link.feed(&stream).await?;
    Ok((link, feed))
}

fn options(bucket: &model::Bucket, name: &str) -> Result<ConnectOptions, Lost> {
    let unreachable = |error: &dyn std::fmt::Display| Lost::Unreachable(error.to_string());
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).map_err(|error| Lost::Unreachable(format!("{}: {error}", path.display())))
    };
    let mut options = ConnectOptions::new()
        .name(format!("scopegate {name}"))
        .connection_timeout(CONNECT_MAX)
        .request_timeout(Some(ANSWER_MAX))
        .ping_interval(PING)
        .subscription_capacity(WAITING_MAX)
        // The configuration says whom the gate speaks to.
        .ignore_discovered_servers()
        // Each server once; then another session begins, which reads everything.
        .max_reconnects(bucket.servers.len());
    options = match &bucket.login {
        Login::Nothing => options,
        Login::Credentials(path) => options.credentials(&read(path)?).map_err(|error| unreachable(&error))?,
        Login::Password { user, password } => {
            options.user_and_password(user.clone(), read(password)?.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    if let Some(tls) = &bucket.tls {
        options = options.require_tls(true).tls_client_config(tls::client(tls).map_err(Lost::Unreachable)?);
    }
    Ok(options)
}

/// A bucket that forgets by itself would take acts back that nobody took back.
fn fits(stream: &Stream) -> Result<(), Lost> {
    let config = &stream.cached_info().config;
    let drops_old = config.discard == DiscardPolicy::Old && (config.max_bytes > 0 || config.max_messages > 0);
    if !config.max_age.is_zero() {
        let message = format!("it forgets values after {} s; make one without a TTL", config.max_age.as_secs());
        return Err(Lost::Unfit(message));
    }
    if drops_old {
        return Err(Lost::Unfit("it drops old values when it is full; make one that refuses new ones".to_owned()));
    }
    if config.max_messages_per_subject < 1 || config.mirror.is_some() {
        return Err(Lost::Unfit("it is no key-value bucket of its own".to_owned()));
    }
    Ok(())
}

impl Link {
    async fn stream(&self, bucket: &model::Bucket) -> Result<Stream, Lost> {
        let error = match self.context.get_stream(&self.stream).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let is_missing = matches!(error.kind(), GetStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STREAM_NOT_FOUND);
        if !is_missing {
            return Err(Lost::Unreachable(format!("the bucket cannot be opened: {error}")));
        }
        let made = self.context.create_stream(self.made(bucket)).await;
        let made = made.map_err(|error| Lost::Unreachable(format!("the bucket cannot be made: {error}")))?;
        tracing::warn!(bucket = bucket.bucket, replicas = bucket.replicas, "the bucket was not there: it was made");
        Ok(made)
    }

    /// A key-value bucket as its clients make it (ADR-8 of NATS), which keeps the last value of each key for ever. Not
    /// by the client's own call, which asks for an account that servers before 2.10 describe in another way.
    fn made(&self, bucket: &model::Bucket) -> stream::Config {
        stream::Config {
            name: self.stream.clone(),
            description: Some("acts of scopegate".to_owned()),
            subjects: vec![format!("{}>", self.prefix)],
            max_messages_per_subject: 1,
            max_message_size: i32::try_from(VALUE_BYTES_MAX + HEADERS_MAX).unwrap_or(i32::MAX),
            max_bytes: BUCKET_BYTES_MAX,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            num_replicas: bucket.replicas,
            ..stream::Config::default()
        }
    }

    async fn feed<I>(&self, stream: &Stream<I>) -> Result<Feed, Lost> {
        let broke = |error: &dyn std::fmt::Display| Lost::Feed(error.to_string());
        let client = self.context.client();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|error| broke(&error))?;
        let consumer = stream.create_consumer(push::Config {
            deliver_subject: inbox,
            description: Some("a gate of scopegate".to_owned()),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            filter_subject: format!("{}>", self.prefix),
            replay_policy: ReplayPolicy::Instant,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..push::Config::default()
        });
        let consumer = consumer.await.map_err(|error| broke(&error))?;
        let info = consumer.cached_info();
        Ok(Feed {
            subscriber,
            context: self.context.clone(),
            prefix: self.prefix.clone(),
            last: 0,
            stream: self.stream.clone(),
            consumer: info.name.clone(),
            // A consumer of one replica reads the copy of the server that it is on.
            server: info.cluster.as_ref().and_then(|cluster| cluster.leader.clone()),
        })
    }

    /// Another feed, of the copy of a server that is drawn anew.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn copy(&self) -> Result<Feed, Lost> {
        let stream = self.context.get_stream_no_info(&self.stream).await;
        self.feed(&stream.map_err(|error| Lost::Feed(error.to_string()))?).await
    }

    /// Which servers keep the bucket.
    ///
    /// # Errors
    /// Nobody says so.
    pub async fn servers(&self) -> Result<Servers, Lost> {
        let stream = self.context.get_stream(&self.stream).await.map_err(|error| Lost::Feed(error.to_string()))?;
        let info = stream.cached_info();
        let Some(cluster) = &info.cluster else { return Ok(Servers { copies: 1, ..Servers::default() }) };
        let others = cluster.replicas.iter().filter(|peer| !peer.offline).map(|peer| peer.name.clone());
        Ok(Servers {
            copies: info.config.num_replicas.max(cluster.replicas.len() + 1),
            there: cluster.leader.iter().cloned().chain(others).collect(),
        })
    }

    /// Writes a value, or a marker that the key was deleted. `expected`: the number of the message that it follows, 0
    /// for none ever. Returns its number.
    ///
    /// # Errors
    /// It was not written, or nobody knows.
    pub async fn put(&self, key: &str, op: Op, value: Bytes, expected: Option<u64>) -> Result<u64, NotPut> {
        let mut headers = HeaderMap::new();
        // The cluster takes it once, however often it is sent.
        let message_id = nonce();
        headers.insert(NATS_MESSAGE_ID, message_id.as_str());
        if let Some(expected) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        }
        if op == Op::Delete {
            headers.insert(KV_OPERATION, "DEL");
        }
        let subject = format!("{}{key}", self.prefix);
        let began = Instant::now();
        // Why an earlier try may have been taken.
        let mut unanswered = None;
        loop {
            match self.put_once(&subject, headers.clone(), value.clone()).await {
                Ok(seq) => return Ok(seq),
                Err(PublishFault::NoAnswer(text)) => unanswered = Some(text),
                Err(PublishFault::Conflict) if unanswered.is_none() => return Err(NotPut::Conflict),
                Err(PublishFault::Conflict) => return self.is_ours(&subject, &message_id).await,
                Err(PublishFault::Refused(text)) if unanswered.is_none() => return Err(NotPut::Refused(text)),
                Err(PublishFault::Refused(text)) => return Err(NotPut::Unknown(text)),
            }
            if began.elapsed() >= PUT_MAX {
                return Err(NotPut::Unknown(unanswered.unwrap_or_default()));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Writes again what stands under a key at this place, for servers whose copies lack it. Nothing is said of what it
    /// follows: a server that lacks it judges that by its own copy, and would leave it out again. So somebody who writes the
    /// key in this very moment is written over: only what takes away may be written so.
    ///
    /// # Errors
    /// As [`Self::put`]. Something newer stands there.
    pub async fn put_again(&self, key: &str, op: Op, value: Bytes, at: u64) -> Result<u64, NotPut> {
        // The server that leads may be one of those that lack it.
        match self.last(&format!("{}{key}", self.prefix)).await? {
            last if last <= at => self.put(key, op, value, None).await,
            _ => Err(NotPut::Conflict),
        }
    }

    async fn put_once(&self, subject: &str, headers: HeaderMap, value: Bytes) -> Result<u64, PublishFault> {
        let sent = self.context.publish_with_headers(subject.to_owned(), headers, value).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(acknowledgement) => taken(&acknowledgement),
            Err(error) => Err(fault(&error)),
        }
    }

    /// The number of the message under a key, if it is the one with this id: an earlier try may be what stands there.
    async fn is_ours(&self, subject: &str, message_id: &str) -> Result<u64, NotPut> {
        let message = self.newest(subject).await?;
        let message = message.ok_or_else(|| NotPut::Unknown("nothing stands there".to_owned()))?;
        let same = message.headers.get(NATS_MESSAGE_ID).is_some_and(|id| id.as_str() == message_id);
        if same { Ok(message.sequence) } else { Err(NotPut::Conflict) }
    }

    /// The number of the message under a key; 0 for none.
    async fn last(&self, subject: &str) -> Result<u64, NotPut> {
        Ok(self.newest(subject).await?.map_or(0, |message| message.sequence))
    }

    /// Asked of the stream's leader.
    async fn newest(&self, subject: &str) -> Result<Option<StreamMessage>, NotPut> {
        let unknown = |error: &dyn std::fmt::Display| NotPut::Unknown(error.to_string());
        let stream = self.context.get_stream_no_info(&self.stream).await.map_err(|error| unknown(&error))?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unknown(&error)),
        }
    }
}

/// Where the message stands in the one order.
///
/// The first message is 1. Servers before 2.10.20 say 0 of one that came with the same id while the first try is on its
/// way, and so do others of one that the stream does not keep: that is no place, and no word that a majority has it.
fn taken(acknowledgement: &PublishAck) -> Result<u64, PublishFault> {
    match acknowledgement.sequence {
        0 => Err(PublishFault::NoAnswer("an earlier try is on its way, and has no place yet".to_owned())),
        seq => Ok(seq),
    }
}

/// What an error says of whether the message was taken.
fn fault(error: &PublishError) -> PublishFault {
    let source = std::error::Error::source(error);
    let text = match source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let code = source.and_then(|source| source.downcast_ref::<jetstream::Error>()).map(jetstream::Error::error_code);
    match (error.kind(), code) {
        (PublishErrorKind::WrongLastSequence, _) => PublishFault::Conflict,
        (PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::WrongLastMessageId, _) => PublishFault::Refused(text),
        (
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending,
            _,
        ) => PublishFault::NoAnswer(text),
        // An earlier try of ours, or somebody else's message under this key, is on its way.
        (
            PublishErrorKind::Other,
            Some(ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT),
        ) => PublishFault::NoAnswer(text),
        // The cluster's own words: full, too large, forbidden, or no leader just now.
        (PublishErrorKind::Other, _) if text.contains("unavailable") => PublishFault::NoAnswer(text),
        (PublishErrorKind::Other, _) => PublishFault::Refused(text),
    }
}

/// What a message of the feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Entry,
    Heartbeat,
    Trouble(StatusCode),
}

impl Sort {
    /// By its subject: whoever writes a value writes its headers too, and may put a status there. What the server itself
    /// says comes under the subject that this gate listens on.
    fn of(subject: &str, prefix: &str, status: Option<StatusCode>) -> Self {
        match status {
            _ if subject.starts_with(prefix) => Self::Entry,
            None => Self::Entry,
            Some(StatusCode::IDLE_HEARTBEAT) => Self::Heartbeat,
            Some(status) => Self::Trouble(status),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum PublishFault {
    Conflict,
    Refused(String),
    NoAnswer(String),
}

fn nonce() -> String {
    super::entry::Instance::random().map_or_else(|| crate::clock::unix_ms().to_string(), |id| id.as_str().to_owned())
}

impl Feed {
    /// The server whose copy it is. `None`: there is one copy alone.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Where it is not read any more. A consumer that is not taken away goes by itself, a while later.
    pub fn end(self) {
        tokio::spawn(async move {
            let Ok(stream) = self.context.get_stream_no_info(&self.stream).await else { return };
            let _ = stream.delete_consumer(&self.consumer).await;
        });
    }

    /// The next message.
    ///
    /// # Errors
    /// Something was lost; all must be read again.
    pub async fn next(&mut self) -> Result<Entry, Lost> {
        loop {
            let message = timeout(SILENCE_MAX, self.subscriber.next()).await;
            let message = message.map_err(|_| Lost::Feed(format!("nothing for {} ms", SILENCE_MAX.as_millis())))?;
            let message = message.ok_or_else(|| Lost::Feed("the connection is gone".to_owned()))?;
            if self.context.client().connection_state() != State::Connected {
                return Err(Lost::Feed("the connection was lost".to_owned()));
            }
            match Sort::of(&message.subject, &self.prefix, message.status) {
                Sort::Entry => return self.entry(message),
                Sort::Heartbeat => self.heard(&message).await?,
                Sort::Trouble(status) => return Err(Lost::Feed(format!("the consumer says {status}"))),
            }
        }
    }

    /// A heartbeat, or a question whether this gate keeps up.
    async fn heard(&self, message: &async_nats::Message) -> Result<(), Lost> {
        if let Some(reply) = message.reply.clone() {
            let answered = self.context.client().publish(reply, Bytes::new()).await;
            return answered.map_err(|error| Lost::Feed(error.to_string()));
        }
        let headers = message.headers.as_ref();
        let last = headers.and_then(|headers| headers.get(async_nats::header::NATS_LAST_CONSUMER));
        match last.and_then(|last| last.as_str().parse::<u64>().ok()) {
            Some(last) if last != self.last => Err(Lost::Feed(format!("message {last} never came"))),
            Some(_) | None => Ok(()),
        }
    }

    fn entry(&mut self, message: async_nats::Message) -> Result<Entry, Lost> {
        let message = jetstream::Message { message, context: self.context.clone() };
        let info = message.info().map_err(|error| Lost::Feed(error.to_string()))?;
        if info.consumer_sequence != self.last + 1 {
            return Err(Lost::Feed(format!("message {} came after {}", info.consumer_sequence, self.last)));
        }
        self.last = info.consumer_sequence;
        let nanoseconds = info.published.unix_timestamp_nanos();
        let (seq, stamp_ms) = (info.stream_sequence, i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX));
        let key = message.subject.strip_prefix(&self.prefix).map_or(Key::Foreign, Key::of);
        let op = message.headers.as_ref().and_then(|headers| headers.get(KV_OPERATION));
        let op = match op.map(async_nats::HeaderValue::as_str) {
            Some("DEL" | "PURGE") => Op::Delete,
            Some(_) | None => Op::Put,
        };
        Ok(Entry { seq, stamp_ms, key, op, value: message.message.payload })
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("last", &self.last).field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_without_a_place_was_not_taken() {
        let said = |said: serde_json::Value| taken(&serde_json::from_value(said).unwrap());
        assert_eq!(said(json!({"stream": "KV_acts", "seq": 7})), Ok(7));
        assert_eq!(said(json!({"stream": "KV_acts", "seq": 7, "duplicate": true})), Ok(7), "it was the try before");
        for unplaced in
            [json!({"stream": "KV_acts", "seq": 0, "duplicate": true}), json!({"stream": "KV_acts", "seq": 0})]
        {
            assert!(matches!(said(unplaced.clone()), Err(PublishFault::NoAnswer(_))), "{unplaced}");
        }
    }

    #[test]
    fn what_is_on_its_way_was_not_refused() {
        let said = |code: u64, description: &str| {
            let error = json!({"code": 400, "err_code": code, "description": description});
            let error: jetstream::Error = serde_json::from_value(error).unwrap();
            fault(&PublishError::with_source(PublishErrorKind::Other, error))
        };
        for (code, text) in [(10_158, "duplicate message id is in process"), (10_164, "wrong last sequence")] {
            assert!(matches!(said(code, text), PublishFault::NoAnswer(_)), "{text}");
        }
        assert!(matches!(said(10_008, "jetstream system temporarily unavailable"), PublishFault::NoAnswer(_)));
        assert!(matches!(said(10_077, "maximum bytes exceeded"), PublishFault::Refused(_)));
    }

    #[test]
    fn what_lies_in_the_bucket_is_an_entry_whatever_its_headers_say() {
        let lost = StatusCode::NO_RESPONDERS;
        for status in [None, Some(StatusCode::IDLE_HEARTBEAT), Some(lost)] {
            assert_eq!(Sort::of("$KV.acts.acts.x", "$KV.acts.", status), Sort::Entry, "{status:?}");
        }
        assert_eq!(Sort::of("_INBOX.x", "$KV.acts.", Some(StatusCode::IDLE_HEARTBEAT)), Sort::Heartbeat);
        assert_eq!(Sort::of("_INBOX.x", "$KV.acts.", Some(lost)), Sort::Trouble(lost));
    }
}
