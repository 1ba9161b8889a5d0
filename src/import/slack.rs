//! Slack's methods: `{method: {scope: {bot, user, configuration}, args, …}}`.
//!
//! The rules:
//! - A list of scopes is any-of. Where they part by conversation type (`channels:`, `groups:`, `im:`,
//!   `mpim:`), each counts for its type only. Two methods whose lists are not clear need all of theirs.
//! - An empty scope, the word `none` and `no_scope_required` are all unknown: that a method needs nothing
//!   is written by a person, with a reason.
//! - `seamless_user` is not carried: no credential that a third party can hold has it.
//! - `http_method` is what Slack recommends. It answers GET and POST for every method, and SDKs send POST.
//! - `json_input_supported` is carried where it is not what the method lets expect: GET takes none, POST does.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::description::strings;
use super::draft::{Draft, DraftLine, DraftOperation, DraftPlace};
use super::{ImportError, Notes};

const RELEASE: &str = "2026-08";
const VOCABULARIES: [&str; 3] = ["bot", "user", "configuration"];
/// Scope families by conversation type, and the variant each stands for.
const FAMILIES: [(&str, &str); 4] = [("channels:", "public"), ("groups:", "private"), ("im:", "im"), ("mpim:", "mpim")];
/// Two scopes are listed and nothing says which is for what: both are needed.
const UNCLEAR: [&str; 2] = ["team.externalTeams.list", "users.discoverableContacts.lookup"];

/// Arguments that hold one conversation, and those that hold several.
const CHANNEL: [&str; 2] = ["channel", "channel_id"];
const CHANNELS: [&str; 2] = ["channel_ids", "channels"];
/// Arguments that name a workspace of the caller's own, hence must name the request's. `target_team` is
/// not among them: it names the other side of a shared channel.
const TENANTS: [(&str, bool); 6] = [
    ("recipient_team_id", false),
    ("target_team_id", false),
    ("target_team_ids", true),
    ("team", false),
    ("team_id", false),
    ("team_ids", true),
];
/// Arguments that name a thing which lies in some conversation, or a question over all of them.
const NAMES_SOMETHING: [&str; 14] = [
    "canvas_id",
    "context_channel_id",
    "event_context",
    "external_id",
    "file",
    "function_id",
    "id",
    "invite_id",
    "list_id",
    "query",
    "scheduled_message_id",
    "trigger_id",
    "workflow",
    "workflow_id",
];
/// Last words of methods that read.
const READS: [&str; 14] = [
    "get",
    "getPresence",
    "identity",
    "info",
    "list",
    "lookup",
    "lookupByEmail",
    "teamInfo",
    "test",
    "userInfo",
    "validate",
    "billableInfo",
    "accessLogs",
    "integrationLogs",
];
/// Families that hold, list or log what lies in conversations.
const NEVER_PROPOSED: [&str; 14] = [
    "admin",
    "apps",
    "bookmarks",
    "calls",
    "canvases",
    "chat",
    "conversations",
    "files",
    "functions",
    "pins",
    "reactions",
    "search",
    "slackLists",
    "stars",
];

/// A channel's name is lower case, digits, `-`, `_`, and letters of other scripts. The pattern is loose on the
/// last: Unicode's classes would take 50 ms to compile at each start.
const HEAD: &str = "\
bases: [/api]
accepts: [GET, POST]
tokens: {query: [token], body: [token]}
vocabularies: [bot, user, configuration]
variants: [public, private, im, mpim]
containers:
  - {name: channel, id: '[CDG][A-Z0-9]{2,}', key: '#?[a-z0-9_[^\\x00-\\x7F]-]+'}
kinds:
  - {name: bot, vocabularies: [bot], actor: app}
  - {name: user, vocabularies: [user], actor: user}
  - {name: configuration, vocabularies: [configuration], actor: app}
";

pub fn import(description: &Value, release: Option<&str>, notes: &mut Notes) -> Result<Draft, ImportError> {
    let methods = description.as_object().filter(|methods| methods.contains_key("auth.test"));
    let methods = methods.ok_or_else(|| ImportError::Shape("not a map of Slack's methods".to_owned()))?;
    let release = super::draft::scalar(release.unwrap_or(RELEASE));
    let tenants: Vec<String> = TENANTS.iter().map(|(name, list)| tenant_argument(name, *list)).collect();
    let head = format!(
        "version: 1\nproduct: slack\nrelease: {release}\ndialect: slack\n{HEAD}tenant_arguments: [{}]\n",
        tenants.join(", ")
    );
    let mut draft = Draft { head, ..Draft::default() };
    for (name, method) in methods {
        draft.add(convert(name, method, notes)?);
    }
    Ok(draft)
}

fn tenant_argument(name: &str, list: bool) -> String {
    if list { format!("{{argument: {name}, list: true}}") } else { format!("{{argument: {name}}}") }
}

fn convert(name: &str, method: &Value, notes: &mut Notes) -> Result<DraftOperation, ImportError> {
    let verb = method.get("http_method").and_then(Value::as_str);
    let verb = verb.ok_or_else(|| ImportError::Shape(format!("`{name}` has no http_method")))?;
    let none = Map::new();
    let arguments = method.pointer("/args/properties").and_then(Value::as_object).unwrap_or(&none);
    let required = strings(method.pointer("/args/required"));
    let needs = needs(name, method, notes);
    let places = places(arguments, &required);
    let proposed = proposed(name, arguments, &places);
    if needs.is_empty() {
        let what = match method.get("no_scope_required").and_then(Value::as_bool) {
            Some(true) => "needs: unknown, though the vendor says that no scope is needed: the overlay may say none",
            Some(false) | None => "needs: unknown, no scope is stated: refused until the overlay says more",
        };
        notes.add(what, name);
    }
    if places.is_empty() {
        notes.add("no conversation among the arguments: the whole tenant", name);
    }
    if proposed {
        notes.add("proposed as `nothing`: the tenant until the overlay accepts it with a reason", name);
    }
    let tenants = TENANTS.iter().filter(|(name, _)| arguments.contains_key(*name));
    Ok(DraftOperation {
        id: name.to_owned(),
        request: format!("{verb} /{name}"),
        needs,
        places,
        subject: false,
        proposed,
        tenant_arguments: tenants.map(|(name, _)| (*name).to_owned()).collect(),
        json: json(method, verb),
        multipart: arguments
            .values()
            .any(|argument| argument.get("schema").and_then(Value::as_str) == Some("post_file")),
    })
}

/// What is not said to read JSON is taken to read forms alone. `None`: as the verb lets expect.
fn json(method: &Value, verb: &str) -> Option<bool> {
    let stated = method.get("json_input_supported").and_then(Value::as_bool).unwrap_or(false);
    (stated != (verb != "GET")).then_some(stated)
}

fn needs(name: &str, method: &Value, notes: &mut Notes) -> Vec<(String, Vec<DraftLine>)> {
    let scopes = method.get("scope").unwrap_or(&Value::Null);
    for vocabulary in scopes.as_object().into_iter().flat_map(Map::keys) {
        if !VOCABULARIES.contains(&vocabulary.as_str()) {
            notes
                .add("a vocabulary that no third party's credential has: not carried", format!("{name}: {vocabulary}"));
        }
    }
    let by_vocabulary = VOCABULARIES.iter().map(|vocabulary| (*vocabulary, strings(scopes.get(*vocabulary))));
    let stated = by_vocabulary.filter(|(_, scopes)| !scopes.is_empty());
    stated.map(|(vocabulary, scopes)| (vocabulary.to_owned(), lines(name, &scopes, notes))).collect()
}

fn lines(name: &str, scopes: &[&str], notes: &mut Notes) -> Vec<DraftLine> {
    let scopes: BTreeSet<&str> = scopes.iter().copied().collect();
    let one = |scope: &&str| (*scope).to_owned();
    if UNCLEAR.contains(&name) {
        notes.add("several scopes, and nothing says whether all are needed: all are", name);
        return vec![DraftLine::all(scopes.iter().map(one).collect())];
    }
    let families: Vec<Option<&'static str>> = scopes.iter().map(|scope| family(scope)).collect();
    let distinct: BTreeSet<&Option<&str>> = families.iter().collect();
    let by_type = distinct.len() > 1 && !distinct.contains(&None);
    if scopes.len() > 1 && !by_type {
        notes.add("several scopes, not by conversation type: any of them", name);
    }
    let lines = scopes.iter().zip(families);
    lines.map(|(scope, when)| DraftLine { scopes: vec![one(scope)], when: when.filter(|_| by_type) }).collect()
}

fn family(scope: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(prefix, _)| scope.starts_with(prefix)).map(|(_, variant)| *variant)
}

fn places(arguments: &Map<String, Value>, required: &[&str]) -> Vec<DraftPlace> {
    let names = arguments.keys().map(String::as_str);
    let mut places: Vec<DraftPlace> = names.filter_map(|name| place(name, required.contains(&name))).collect();
    if places.len() > 1 {
        for place in places.iter_mut().filter(|place| place.absent.is_some()) {
            place.absent = Some("skip");
        }
    }
    places
}

fn place(name: &str, required: bool) -> Option<DraftPlace> {
    let list = CHANNELS.contains(&name);
    (list || CHANNEL.contains(&name)).then(|| DraftPlace {
        kind: "channel",
        at: "argument",
        name: name.to_owned(),
        reading: Some("conversation"),
        absent: (!required).then_some("tenant"),
        list,
        group: None,
    })
}

/// Slack marks nothing exempt: what reads the workspace's own people and settings is proposed.
fn proposed(name: &str, arguments: &Map<String, Value>, places: &[DraftPlace]) -> bool {
    let (family, verb) = (name.split('.').next().unwrap_or_default(), name.rsplit('.').next().unwrap_or_default());
    let outside = !NEVER_PROPOSED.contains(&family);
    let plain = !NAMES_SOMETHING.iter().any(|argument| arguments.contains_key(*argument));
    outside && plain && places.is_empty() && READS.contains(&verb)
}
