//! From the mirror to the model: the parts that are not gates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::KnownProduct;
use super::address::{collide, listen};
use super::admin::admin;
use super::file::{
    Bytes, ConfigMirror, DataPlaneMirror, JournalMirror, LimitsMirror, LogFormatWord, LogMirror, LogUsersWord,
};
use super::fleet::overrides;
use super::gate::gate;
use super::model::{Admin, Config, Drain, Gate, Journal, Limits, Listen, Log, LogFormat, LogUsers, Places, Threads};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id};
use crate::yaml::time::{Span, span_text};
use crate::yaml::typed::Reader;

/// The one format there is.
const VERSION: u32 = 1;
/// `settle:` unless written.
const SETTLE: Duration = Duration::from_millis(500);
/// A longer one keeps a grant, and the readiness of a start, waiting.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// `metrics.apps_max` unless written.
const APPS_MAX: u32 = 500;
/// `journal.entries_max` unless written: with 200 sentences each some hundred megabytes.
const JOURNAL_ENTRIES: u32 = 10_000;
/// All entries are read when the gate starts.
const JOURNAL_ENTRIES_MAX: u32 = 1_000_000;
/// `journal.age_max` unless written.
const JOURNAL_AGE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// `journal.texts_max` unless written, in bytes.
const JOURNAL_TEXTS: usize = 256 * 1024 * 1024;
/// Some twenty series an app; Prometheus bears half a million from one target badly.
const APPS_MAX_MAX: u32 = 20_000;

/// What every check needs.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub reader: &'a Reader<'a>,
    /// Relative paths start here.
    pub folder: &'a Path,
    pub known_product: KnownProduct<'a>,
    pub has_state: bool,
    /// What may last only so long is counted from here: Unix milliseconds.
    pub now_ms: i64,
    /// Of all gates that do not say otherwise.
    pub limits: Limits,
}

impl Context<'_> {
    pub fn error(&self, at: At, message: impl Into<String>, help: impl Into<String>) {
        self.reader.error_with_help(at, message, help);
    }

    pub fn required<T>(&self, field: Field<T>, at: At, lacks: &str, help: &str) -> Option<Spanned<T>> {
        if field.is_absent() {
            self.error(at, lacks, help);
        }
        field.into_spanned()
    }

    pub fn path(&self, field: Field<Id>) -> Option<PathBuf> {
        field.into_value().map(|Id(path)| self.folder.join(path))
    }

    pub fn listen(&self, written: &Spanned<Id>) -> Option<Listen> {
        listen(&written.value.0, self.folder).map_err(|(message, help)| self.error(written.at, message, help)).ok()
    }
}

pub fn config(
    reader: &Reader<'_>,
    mirror: Spanned<ConfigMirror>,
    folder: &Path,
    known_product: KnownProduct<'_>,
) -> Option<Config> {
    let Spanned { value: mirror, at } = mirror;
    let has_state = !mirror.state.is_absent();
    let now_ms = crate::clock::unix_ms();
    let mut context = Context { reader, folder, known_product, has_state, now_ms, limits: Limits::default() };
    version(&context, &mirror.version, at);
    let drain = mirror.limits.value().map_or_else(Drain::default, drain);
    context.limits = mirror.limits.value().map_or(context.limits, |written| limits(&context, written));
    let gates = gates(&context, mirror.gates, at);
    let health = mirror.health.into_spanned().and_then(|health| {
        let lacks = "`health` lacks `listen`";
        context.required(health.value.listen, health.at, lacks, "write an address such as 127.0.0.1:9902")
    });
    let health = health.and_then(|written| Some((context.listen(&written)?, written.at)));
    let admin = mirror.admin.into_spanned().and_then(|written| admin(&context, written.value, written.at));
    addresses(&context, &gates, health.as_ref(), admin.as_ref());
    let places = Places {
        health: health.as_ref().map(|(_, at)| *at).unwrap_or_default(),
        admin: admin.as_ref().map(|(_, at)| *at).unwrap_or_default(),
        state: mirror.state.at().unwrap_or_default(),
    };
    let help = "write the folder of the policy files, such as `policies: ../policies`";
    let policies = context.required(mirror.policies, at, "the configuration lacks `policies`", help);
    let state = context.path(mirror.state);
    let kept = overrides(&context, mirror.overrides, state.as_deref(), places.state, policies.as_ref());
    let (overrides, bucket) = kept.map_or((None, None), |kept| (Some(kept.folder), kept.bucket));
    Some(Config {
        file: Arc::clone(context.reader.file()),
        gates,
        policies: folder.join(policies?.value.0),
        overrides,
        bucket,
        settle: settle(&context, mirror.settle),
        health: health.map(|(listen, _)| listen),
        admin: admin.map(|(admin, _)| admin),
        state,
        journal: journal(&context, mirror.journal.into_value().unwrap_or_default()),
        metrics_apps_max: apps_max(&context, mirror.metrics.into_value().map(|metrics| metrics.apps_max)),
        log: log(mirror.log.into_value().unwrap_or_default()),
        threads: threads(mirror.data_plane.into_value().unwrap_or_default()),
        drain,
        places,
    })
}

fn version(context: &Context<'_>, version: &Field<u32>, at: At) {
    match version {
        Field::Absent => context.error(at, "the configuration lacks `version`", "begin it with `version: 1`"),
        Field::Written(written) if written.value != VERSION => {
            context.error(written.at, "this version of the format is not known", "this release reads `version: 1`");
        }
        Field::Written(_) | Field::Broken(_) => {}
    }
}

fn gates(context: &Context<'_>, field: Field<Vec<Field<super::file::GateMirror>>>, at: At) -> Vec<Gate> {
    let help = "write at least one gate; `scopegate init` shows one";
    let Some(list) = context.required(field, at, "the configuration lacks `gates`", help) else { return Vec::new() };
    if list.value.is_empty() {
        context.error(list.at, "there is no gate", help);
    }
    let mut gates: Vec<Gate> = Vec::with_capacity(list.value.len());
    for mirror in list.value.into_iter().filter_map(Field::into_spanned) {
        let name_at = mirror.value.name.at().unwrap_or(mirror.at);
        let Some(gate) = gate(context, mirror.value, mirror.at) else { continue };
        if gates.iter().any(|earlier| earlier.name == gate.name) {
            let message = format!("two gates are named `{}`", gate.name);
            context.error(name_at, message, "the name is a metric label and a log value; give each its own");
        }
        gates.push(gate);
    }
    gates
}

/// No two listeners on one address.
fn addresses(context: &Context<'_>, gates: &[Gate], health: Option<&(Listen, At)>, admin: Option<&(Admin, At)>) {
    let gates = gates.iter().map(|gate| (format!("gate `{}`", gate.name), &gate.listen, gate.listen_at));
    let health = health.map(|(listen, at)| ("`health`".to_owned(), listen, *at));
    let admin = admin.map(|(admin, at)| ("`admin`".to_owned(), &admin.listen, *at));
    let mut earlier: Vec<(String, &Listen)> = Vec::new();
    for (name, listen, at) in gates.chain(health).chain(admin) {
        if let Some((other, _)) = earlier.iter().find(|(_, other)| collide(other, listen)) {
            context.error(at, format!("{name} listens on the address of {other}"), "give each its own address");
        }
        earlier.push((name, listen));
    }
}

fn settle(context: &Context<'_>, field: Field<Span>) -> Duration {
    let Some(Spanned { value, at }) = field.into_spanned() else { return SETTLE };
    let settle = duration(value);
    if settle > SETTLE_MAX {
        let help = "what gives waits this long, and so does a start; 500ms suits most folders";
        context.error(at, format!("`settle` is at most {}", span_text(SETTLE_MAX.as_millis() as i64)), help);
    }
    settle
}

fn journal(context: &Context<'_>, mirror: JournalMirror) -> Journal {
    let entries_max = mirror.entries_max.into_spanned().map_or(JOURNAL_ENTRIES, |written| {
        if written.value == 0 || written.value > JOURNAL_ENTRIES_MAX {
            let help = "older entries are pruned; their last hash is kept";
            context.error(written.at, format!("`entries_max` is from 1 to {JOURNAL_ENTRIES_MAX}"), help);
        }
        written.value
    });
    let age_max = mirror.age_max.into_value().map_or(JOURNAL_AGE, duration);
    let texts_max = mirror.texts_max.into_value().map_or(JOURNAL_TEXTS, |bytes| bytes.0);
    Journal { entries_max: entries_max as usize, age_max, texts_max }
}

fn apps_max(context: &Context<'_>, field: Option<Field<u32>>) -> usize {
    let Some(written) = field.and_then(Field::into_spanned) else { return APPS_MAX as usize };
    if written.value == 0 || written.value > APPS_MAX_MAX {
        let help = "apps beyond it share the label `other`";
        context.error(written.at, format!("`apps_max` is from 1 to {APPS_MAX_MAX}"), help);
    }
    written.value as usize
}

fn log(mirror: LogMirror) -> Log {
    let users = match mirror.users.into_value() {
        Some(LogUsersWord::Plain) => LogUsers::Plain,
        Some(LogUsersWord::None) => LogUsers::None,
        Some(LogUsersWord::Hashed) | None => LogUsers::Hashed,
    };
    let format = match mirror.format.into_value() {
        Some(LogFormatWord::Text) => LogFormat::Text,
        Some(LogFormatWord::Json) | None => LogFormat::Json,
    };
    Log { users, format }
}

fn threads(mirror: DataPlaneMirror) -> Threads {
    mirror.threads.into_value().map_or(Threads::Auto, |threads| threads.0)
}

fn drain(mirror: &LimitsMirror) -> Drain {
    let Drain { delay, timeout } = Drain::default();
    let written = |field: &Field<Span>, default| field.value().map_or(default, |span| duration(*span));
    Drain { delay: written(&mirror.drain_delay, delay), timeout: written(&mirror.drain_timeout, timeout) }
}

/// The smallest head that hyper can be held to, and the largest that makes sense.
const HEADER_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=1024 * 1024;
const HEADERS: std::ops::RangeInclusive<usize> = 16..=1_000;
const BODY_HELD: std::ops::RangeInclusive<usize> = 1024..=64 * 1024 * 1024;
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=1_000_000;
const REQUESTS: std::ops::RangeInclusive<usize> = 1..=1_000_000_000;
const STREAMS: std::ops::RangeInclusive<usize> = 1..=10_000;
/// A longer timeout is none.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The limits that a block writes, the others as they were.
pub fn limits(context: &Context<'_>, mirror: &LimitsMirror) -> Limits {
    let timeout = |field: &Field<Span>, inherited: Duration| {
        let Some(written) = field.spanned() else { return inherited };
        let timeout = duration(written.value);
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            context.error(written.at, "a timeout is longer than 0 and at most 1d", "write a time such as 30s");
        }
        timeout
    };
    let bounded = |written: Option<(usize, At)>, inherited: usize, range: &std::ops::RangeInclusive<usize>| {
        let Some((number, at)) = written else { return inherited };
        if !range.contains(&number) {
            let message = format!("this limit is from {} to {}", range.start(), range.end());
            context.error(at, message, "write a number between them, or delete the key");
        }
        number
    };
    let count = |field: &Field<u32>| field.spanned().map(|written| (written.value as usize, written.at));
    let bytes = |field: &Field<Bytes>| field.spanned().map(|written| (written.value.0, written.at));
    let number = |field: &Field<u32>, inherited: u32, range: &std::ops::RangeInclusive<usize>| {
        // What is out of the range was said; what is in it fits.
        u32::try_from(bounded(count(field), inherited as usize, range)).unwrap_or(inherited)
    };
    let old = context.limits;
    Limits {
        header_timeout: timeout(&mirror.header_timeout, old.header_timeout),
        idle_timeout: timeout(&mirror.idle_timeout, old.idle_timeout),
        request_timeout: timeout(&mirror.request_timeout, old.request_timeout),
        connect_timeout: timeout(&mirror.connect_timeout, old.connect_timeout),
        response_timeout: timeout(&mirror.response_timeout, old.response_timeout),
        body_idle_timeout: timeout(&mirror.body_idle_timeout, old.body_idle_timeout),
        answer_idle_timeout: timeout(&mirror.answer_idle_timeout, old.answer_idle_timeout),
        max_connection_age: timeout(&mirror.max_connection_age, old.max_connection_age),
        max_requests_per_connection: number(
            &mirror.max_requests_per_connection,
            old.max_requests_per_connection,
            &REQUESTS,
        ),
        http2_streams_max: number(&mirror.http2_streams_max, old.http2_streams_max, &STREAMS),
        connections_max: bounded(count(&mirror.connections_max), old.connections_max, &CONNECTIONS),
        header_bytes_max: bounded(bytes(&mirror.header_bytes_max), old.header_bytes_max, &HEADER_BYTES),
        headers_max: bounded(count(&mirror.headers_max), old.headers_max, &HEADERS),
        body_held_max: bounded(bytes(&mirror.body_held_max), old.body_held_max, &BODY_HELD),
        upstream_idle_max: bounded(count(&mirror.upstream_idle_max), old.upstream_idle_max, &CONNECTIONS),
        upstream_connections_max: bounded(
            count(&mirror.upstream_connections_max),
            old.upstream_connections_max,
            &CONNECTIONS,
        ),
    }
}

pub fn duration(span: Span) -> Duration {
    Duration::from_millis(span.0.unsigned_abs())
}
