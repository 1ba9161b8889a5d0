//! From the mirror to the model: where acts are kept, a folder or the bucket of a fleet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::{NatsServer, nats_server};
use super::check::{Context, duration};
use super::file::{BucketMirror, BucketTlsMirror, OverridesMirror, StartWord, TokenFileMirror};
use super::model::{Bucket, BucketTls, Login, Roots, ServerTls, Start};
use super::outbound::roots;
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id};
use crate::yaml::time::Span;

/// `max_override_age` unless written: an outage of the cluster that is mended within it moves no traffic.
const AGE: Duration = Duration::from_secs(10 * 60);
/// A gate says each few seconds that it is there; a shorter age would flap.
const AGE_MIN: Duration = Duration::from_secs(10);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// JetStream replicates to no more.
const REPLICAS_MAX: u32 = 5;
const SERVERS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 63;
/// Below the state folder: acts, unless `overrides` says otherwise.
const ACTS: &str = "overrides";
/// Below the state folder: what of the bucket this gate knows. Its acts are read like any folder's.
const KNOWN_ACTS: &str = "fleet/acts";

/// Where acts are written, and the bucket that this folder is a copy of.
pub struct Kept {
    pub folder: PathBuf,
    pub bucket: Option<Bucket>,
}

pub fn overrides(
    context: &Context<'_>,
    field: Field<OverridesMirror>,
    state: Option<&Path>,
    state_at: At,
    policies: Option<&Spanned<Id>>,
) -> Option<Kept> {
    if field.is_absent() {
        return state.map(|state| folder(context, state.join(ACTS), state_at, policies));
    }
    let Spanned { value, at } = field.into_spanned()?;
    let bucket = match value {
        OverridesMirror::Text(text) if is_url(&text) => of_url(context, &text, at)?,
        OverridesMirror::Text(text) => return Some(folder(context, context.folder.join(text), at, policies)),
        OverridesMirror::Bucket(mirror) => of_map(context, *mirror, at)?,
    };
    let Some(state) = state else {
        if !context.has_state {
            let help = "add `state: ../state`: what is revoked must be known after a restart without the bucket too";
            context.error(at, "overrides in a bucket need a state folder, for the last known ones", help);
        }
        return None;
    };
    Some(Kept { folder: state.join(KNOWN_ACTS), bucket: Some(bucket) })
}

fn is_url(text: &str) -> bool {
    text.starts_with("nats:") || text.starts_with("tls:")
}

/// The policy folder is never written, so acts cannot lie in it.
fn folder(context: &Context<'_>, path: PathBuf, at: At, policies: Option<&Spanned<Id>>) -> Kept {
    let policies = policies.map(|policies| plain(&context.folder.join(&policies.value.0)));
    if policies.is_some_and(|policies| plain(&path).starts_with(policies)) {
        let help = "write a folder outside of `policies`, which may be read-only";
        context.error(at, "the overrides lie in the policy folder", help);
    }
    Kept { folder: path, bucket: None }
}

/// Without `.` and, as far as text can say, without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// `nats://one:4222,two:4222/bucket`
fn of_url(context: &Context<'_>, text: &str, at: At) -> Option<Bucket> {
    const HELP: &str =
        "write nats://host:4222/bucket; several servers are parted by commas: nats://a:4222,b:4222/bucket";
    let Some((scheme, rest)) = text.split_once("://") else {
        context.error(at, "this is no URL of a bucket", HELP);
        return None;
    };
    let Some((hosts, bucket)) = rest.split_once('/') else {
        context.error(at, "the URL names no bucket", HELP);
        return None;
    };
    let hosts = hosts.split(',').map(|host| Spanned::new(format!("{scheme}://{host}"), at));
    let servers = servers(context, hosts, at);
    let bucket = bucket_name(context, bucket, at)?;
    Some(Bucket::of(at, servers?, bucket))
}

fn of_map(context: &Context<'_>, mirror: BucketMirror, at: At) -> Option<Bucket> {
    let help = "write the servers of the cluster, such as `servers: [nats://nats-1:4222, nats://nats-2:4222]`";
    let listed = context.required(mirror.servers, at, "`overrides` lacks `servers`", help);
    let servers = listed.and_then(|listed| {
        let written = listed.value.into_iter().filter_map(Field::into_spanned);
        servers(context, written.map(|one| Spanned::new(one.value.0, one.at)), listed.at)
    });
    let help = "write a name for the fleet, such as `bucket: scopegate`";
    let bucket = context.required(mirror.bucket, at, "`overrides` lacks `bucket`", help);
    let bucket = bucket.and_then(|name| bucket_name(context, &name.value.0, name.at));
    let tls = mirror.tls.into_spanned().map(|written| tls(context, written));
    let login = login(context, mirror.credentials, mirror.user, mirror.password, at);
    let age = mirror.max_override_age.into_spanned().map(|written| age(context, &written));
    let gate_name = mirror.gate_name.into_spanned().map(|written| gate_name(context, written));
    let replicas = mirror.replicas.into_spanned().map(|written| replicas(context, &written));
    let mut made = Bucket::of(at, servers?, bucket?);
    made.tls = tls.or(made.tls);
    made.login = login?;
    made.max_override_age = age.unwrap_or(made.max_override_age);
    made.gate_name = gate_name;
    made.replicas = replicas.unwrap_or(made.replicas);
    made.start = match mirror.start.into_value() {
        Some(StartWord::Fetched) => Start::Fetched,
        Some(StartWord::Known) | None => Start::Known,
    };
    no_password_in_the_clear(context, &made);
    Some(made)
}

impl Bucket {
    fn of(at: At, servers: Vec<NatsServer>, bucket: String) -> Self {
        let tls = servers.iter().any(|server| server.tls).then_some(BucketTls { roots: Roots::Public, shown: None });
        let replicas = if servers.len() > 1 { 3 } else { 1 };
        Self {
            at,
            servers,
            bucket,
            tls,
            login: Login::Nothing,
            max_override_age: AGE,
            gate_name: None,
            replicas,
            start: Start::Known,
        }
    }

    /// What is said to the cluster crosses a network as it is.
    pub fn is_in_the_clear(&self) -> bool {
        self.tls.is_none() && !self.servers.iter().all(NatsServer::is_loopback)
    }
}

fn servers(context: &Context<'_>, written: impl Iterator<Item = Spanned<String>>, at: At) -> Option<Vec<NatsServer>> {
    let mut all = true;
    let mut servers = Vec::new();
    for one in written {
        match nats_server(&one.value) {
            Ok(server) => servers.push(server),
            Err((message, help)) => {
                context.error(one.at, message, help);
                all = false;
            }
        }
    }
    if servers.is_empty() && all || servers.len() > SERVERS_MAX {
        let message = format!("there are from 1 to {SERVERS_MAX} servers");
        context.error(at, message, "write those of the cluster that this gate reaches");
        all = false;
    }
    all.then_some(servers)
}

fn bucket_name(context: &Context<'_>, name: &str, at: At) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let message = format!("`{name}` is no name of a bucket");
        context.error(at, message, format!("write at most {NAME_BYTES_MAX} letters, digits, `-` and `_`"));
        return None;
    }
    Some(name.to_owned())
}

fn tls(context: &Context<'_>, written: Spanned<BucketTlsMirror>) -> BucketTls {
    let Spanned { value: mirror, at } = written;
    let roots = roots(context, mirror.ca, mirror.roots, at);
    let shown = match (context.path(mirror.certificate), context.path(mirror.key)) {
        (Some(certificate), Some(key)) => Some(ServerTls { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            context.error(at, "`certificate` and `key` belong together", "write both, or neither");
            None
        }
    };
    BucketTls { roots, shown }
}

/// How the gate says who it is. `None`: it is written in a way that cannot be meant.
fn login(
    context: &Context<'_>,
    credentials: Field<TokenFileMirror>,
    user: Field<Id>,
    password: Field<TokenFileMirror>,
    at: At,
) -> Option<Login> {
    let file = |field: Field<TokenFileMirror>, lacks: &str| {
        let written = field.into_spanned()?;
        let help = "write the path of the file; nothing secret stands in the configuration";
        let file = context.required(written.value.file, written.at, lacks, help)?;
        Some(context.folder.join(file.value.0))
    };
    let credentials = file(credentials, "`credentials` lacks `file`");
    let password = file(password, "`password` lacks `file`");
    match (credentials, user.into_value(), password) {
        (None, None, None) => Some(Login::Nothing),
        (Some(file), None, None) => Some(Login::Credentials(file)),
        (None, Some(Id(user)), Some(password)) => Some(Login::Password { user, password }),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            context.error(at, "`credentials` stands beside `user` and `password`", "write one of the two");
            None
        }
        (None, Some(_), None) | (None, None, Some(_)) => {
            context.error(at, "`user` and `password` belong together", "write both, or `credentials: {file: ...}`");
            None
        }
    }
}

/// A password goes to whoever answers at the address. Credentials do not: what is shown is a signature.
fn no_password_in_the_clear(context: &Context<'_>, bucket: &Bucket) {
    if bucket.is_in_the_clear() && matches!(bucket.login, Login::Password { .. }) {
        let help = "add `tls: {ca: ...}`, or write `credentials: {file: ...}`, of which only a signature is shown";
        context.error(bucket.at, "the password would go to the servers in the clear", help);
    }
}

fn age(context: &Context<'_>, written: &Spanned<Span>) -> Duration {
    let age = duration(written.value);
    if !(AGE_MIN..=AGE_MAX).contains(&age) {
        let help = "10m suits most: for so long an outage of the cluster moves no traffic";
        context.error(written.at, "`max_override_age` is from 10s to 7d", help);
    }
    age
}

fn gate_name(context: &Context<'_>, written: Spanned<Id>) -> String {
    let Id(name) = written.value;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let help = format!("write at most {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
        context.error(written.at, format!("`{name}` is no name of a gate"), help);
    }
    name
}

fn replicas(context: &Context<'_>, written: &Spanned<u32>) -> usize {
    if written.value == 0 || written.value > REPLICAS_MAX {
        let message = format!("`replicas` is from 1 to {REPLICAS_MAX}");
        context.error(written.at, message, "write 3 for a cluster of three and more servers");
    }
    written.value as usize
}
