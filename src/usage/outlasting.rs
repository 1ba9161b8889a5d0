//! What outlasts a revocation (law 8): webhooks, scheduled messages, keys and URLs that were made while it was allowed. They
//! are noticed as they pass, in the request and in a bounded part of the answer, and handed to whoever keeps them.
//!
//! Few requests make such a thing, so noticing may allocate. Nothing waits: what finds no room is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::Value;

use crate::authz::catalog::{DialectName, Remover, Undo};

/// Noticed and not yet kept.
const WAITING_MAX: usize = 1_024;

/// Bytes of an answer that are looked into for ids. A longer one is remembered without them.
const ANSWER_MAX: usize = 64 * 1024;

/// Ids of one call.
pub const IDS_MAX: usize = 100;

/// Bytes of an id; one that is longer is none.
pub const ID_BYTES_MAX: usize = 256;

/// Who called what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub app: Arc<str>,
    pub tenant: Arc<str>,
    pub operation: Arc<str>,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub decision: String,
    /// `project=PROJ`
    pub containers: Vec<String>,
}

/// What became of a call that makes or removes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `ids` is empty where the answer names none that could be read.
    Made { call: Call, ids: Vec<String> },
    /// `all`: whatever there is.
    Removed { call: Call, ids: Vec<String>, all: bool },
}

/// Where events are handed over. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Outlasting {
    events: SyncSender<Event>,
    lost: Arc<AtomicU64>,
}

impl Outlasting {
    /// A queue, and its end for whoever keeps what comes.
    pub fn new() -> (Self, Receiver<Event>) {
        let (events, inbox) = sync_channel(WAITING_MAX);
        (Self { events, lost: Arc::default() }, inbox)
    }

    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that found no room since the last time.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// How the answer to a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Answered(u16),
    /// The request went upstream and no whole answer came: it may have done what it asks.
    Unknown,
    /// It never went upstream.
    NotSent,
}

/// Listens to the answer of one call.
#[derive(Debug)]
pub struct Listener {
    to: Outlasting,
    call: Call,
    dialect: DialectName,
    /// Where the answer names what was made; `None`: the call makes nothing that lasts.
    made: Option<Box<[Box<str>]>>,
    /// Named by the request.
    asked_ids: Vec<String>,
    /// What it removes, and whether that is all there is.
    removed: Option<(Vec<String>, bool)>,
    answer: Vec<u8>,
    too_long: bool,
}

impl Listener {
    /// `undo` and `remover`: of the operation; with each the ids that the request names.
    pub fn new(
        to: &Outlasting,
        call: Call,
        dialect: DialectName,
        undo: Option<(&Undo, Vec<String>)>,
        remover: Option<(&Remover, Vec<String>)>,
    ) -> Self {
        let (made, asked_ids) = match undo {
            Some((undo, ids)) => (Some(undo.answer.clone()), ids),
            None => (None, Vec::new()),
        };
        let removed = remover.map(|(remover, ids)| {
            let all = remover.absent_all && ids.is_empty();
            (ids, all)
        });
        Self { to: to.clone(), call, dialect, made, asked_ids, removed, answer: Vec::new(), too_long: false }
    }

    /// A piece of the answer's body.
    pub fn hear(&mut self, bytes: &[u8]) {
        if self.too_long || self.answer.len() + bytes.len() > ANSWER_MAX {
            self.too_long = true;
            self.answer = Vec::new();
        } else {
            self.answer.extend_from_slice(bytes);
        }
    }

    /// The answer has ended, or nobody waits for it any more.
    pub fn end(self, ended: Ended) {
        let Self { to, call, dialect, made, asked_ids, removed, answer, .. } = self;
        let body: Option<Value> = serde_json::from_slice(&answer).ok();
        let done = done(dialect, ended, body.as_ref());
        if let (Some((ids, all)), Done::Yes) = (removed, done) {
            to.tell(Event::Removed { call: call.clone(), ids, all });
        }
        if let (Some(pointers), Done::Yes | Done::Perhaps) = (made, done) {
            let mut ids = asked_ids;
            for pointer in &pointers {
                if let Some(body) = &body {
                    let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
                    collect(body, &tokens, &mut ids);
                }
            }
            to.tell(Event::Made { call, ids });
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    /// Nobody can tell: something may be there, and nothing is known to be gone.
    Perhaps,
    No,
}

/// Whether a call did what it asks. Slack says 200 to everything, and the truth in the body.
fn done(dialect: DialectName, ended: Ended, body: Option<&Value>) -> Done {
    match (ended, dialect) {
        (Ended::NotSent, _) => Done::No,
        (Ended::Unknown, _) => Done::Perhaps,
        (Ended::Answered(200..=299), DialectName::Slack) => match body.and_then(|body| body.get("ok")) {
            Some(Value::Bool(true)) => Done::Yes,
            Some(Value::Bool(false)) => Done::No,
            Some(_) | None => Done::Perhaps,
        },
        (Ended::Answered(200..=299), _) => Done::Yes,
        (Ended::Answered(400..=499), _) => Done::No,
        (Ended::Answered(_), _) => Done::Perhaps,
    }
}

/// What a pointer with wildcards finds. Texts and whole numbers are ids, and nothing else is.
fn collect(value: &Value, tokens: &[&str], ids: &mut Vec<String>) {
    if ids.len() >= IDS_MAX {
        return;
    }
    match (tokens, value) {
        ([], Value::String(text)) if text.len() <= ID_BYTES_MAX => ids.push(text.clone()),
        ([], Value::Number(number)) if number.is_u64() => ids.push(number.to_string()),
        (["*", rest @ ..], Value::Array(items)) => items.iter().for_each(|item| collect(item, rest, ids)),
        (["*", rest @ ..], Value::Object(members)) => members.values().for_each(|item| collect(item, rest, ids)),
        ([key, rest @ ..], Value::Object(members)) => {
            if let Some(member) = members.get(*key) {
                collect(member, rest, ids);
            }
        }
        (_, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(answer: &[&str]) -> Undo {
        Undo { by: None, why: "".into(), answer: answer.iter().map(|one| Box::from(*one)).collect(), argument: None }
    }

    fn call() -> Call {
        let (app, tenant, operation) = ("slack/a".into(), "T".into(), "chat.scheduleMessage".into());
        Call { app, tenant, operation, at_ms: 1, decision: "d".into(), containers: Vec::new() }
    }

    fn heard(dialect: DialectName, answer: &[&str], body: &str, ended: Ended) -> Option<Event> {
        let (to, inbox) = Outlasting::new();
        let undo = undo(answer);
        let mut listener = Listener::new(&to, call(), dialect, Some((&undo, Vec::new())), None);
        // However it is cut.
        body.as_bytes().chunks(7).for_each(|piece| listener.hear(piece));
        listener.end(ended);
        inbox.try_recv().ok()
    }

    fn ids(event: Option<Event>) -> Vec<String> {
        match event {
            Some(Event::Made { ids, .. }) => ids,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ids_are_read_from_lists_and_objects_and_errors_between_them_are_none() {
        let body =
            r#"{"webhookRegistrationResult":[{"createdWebhookId":1000},{"errors":["x"]},{"createdWebhookId":1001}]}"#;
        let pointer = ["/webhookRegistrationResult/*/createdWebhookId"];
        assert_eq!(ids(heard(DialectName::Atlassian, &pointer, body, Ended::Answered(200))), ["1000", "1001"]);
    }

    #[test]
    fn a_refusal_in_the_body_of_a_200_made_nothing() {
        let pointer = ["/scheduled_message_id"];
        let refused = r#"{"ok":false,"error":"channel_not_found","scheduled_message_id":"Q1"}"#;
        assert_eq!(heard(DialectName::Slack, &pointer, refused, Ended::Answered(200)), None);
        let made = r#"{"ok":true,"scheduled_message_id":"Q1"}"#;
        assert_eq!(ids(heard(DialectName::Slack, &pointer, made, Ended::Answered(200))), ["Q1"]);
        assert_eq!(heard(DialectName::Slack, &pointer, made, Ended::NotSent), None);
        assert_eq!(heard(DialectName::Atlassian, &pointer, made, Ended::Answered(403)), None);
    }

    #[test]
    fn what_nobody_can_tell_is_remembered_without_ids_and_removes_nothing() {
        let long = format!(r#"{{"ok":true,"id":"{}"}}"#, "x".repeat(ANSWER_MAX));
        assert_eq!(ids(heard(DialectName::Slack, &["/id"], &long, Ended::Answered(200))), Vec::<String>::new());
        assert_eq!(ids(heard(DialectName::Atlassian, &["/id"], "", Ended::Unknown)), Vec::<String>::new());
        let (to, inbox) = Outlasting::new();
        let remover = Remover { at: None, absent_all: true };
        Listener::new(&to, call(), DialectName::Slack, None, Some((&remover, Vec::new()))).end(Ended::Unknown);
        assert!(inbox.try_recv().is_err());
        Listener::new(&to, call(), DialectName::Atlassian, None, Some((&remover, Vec::new())))
            .end(Ended::Answered(204));
        assert!(matches!(inbox.try_recv(), Ok(Event::Removed { all: true, .. })));
    }

    #[test]
    fn a_queue_that_is_full_blocks_nobody_and_counts() {
        let (to, _inbox) = Outlasting::new();
        let undo = undo(&[]);
        for _ in 0..WAITING_MAX + 3 {
            Listener::new(&to, call(), DialectName::Atlassian, Some((&undo, Vec::new())), None).end(Ended::Unknown);
        }
        assert_eq!(to.take_lost(), 3);
    }
}
