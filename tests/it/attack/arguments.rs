//! Arguments that the gate reads where the product does not: the product then takes them for absent, which reaches
//! further than what was judged.

use crate::support::gate::{Ask, Gate, Setup};

/// A gate before Slack with one app that may read the files and history of one channel, and list direct messages.
fn gate() -> Gate {
    let policy = "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  \
                  - tenant: T024BE7LD\n    credentials:\n      \
                  - {method: token, kind: bot, sha256: sha256(xoxb-assist)}\n\
                  grants:\n  \
                  - {scopes: [files:read, channels:history, chat:write], actors: [app], in: {channel: [C0HELP]}}\n  \
                  - {scopes: [im:read], actors: [app], in: all}\n";
    Setup::slack().gate("channel_types", "prefix").policy("assist.yaml", policy).start()
}

fn get(target: &str) -> Ask {
    Ask::get(target).bearer("xoxb-assist")
}

fn post(target: &str) -> Ask {
    Ask::post(target).bearer("xoxb-assist")
}

#[test]
fn an_optional_argument_in_the_body_of_a_get_is_refused() {
    let gate = gate();
    gate.passes(&get("/api/files.list?channel=C0HELP"));
    gate.passes(&post("/api/files.list").form("channel=C0HELP"));
    gate.refuses(&get("/api/files.list"), "container_not_granted");
    // A server that reads no body of a GET lists the files of the whole workspace.
    gate.refuses(&get("/api/files.list").form("channel=C0HELP"), "bad_request");
    gate.refuses(&Ask::new("HEAD", "/api/files.list").bearer("xoxb-assist").form("channel=C0HELP"), "bad_request");
    gate.refuses(&get("/api/conversations.list").form("types=im"), "bad_request");
    gate.refuses(&get("/api/conversations.history").form("channel=C0HELP"), "bad_request");
}

#[test]
fn an_optional_argument_in_json_is_refused_where_the_method_takes_forms_alone() {
    let gate = gate();
    gate.passes(&post("/api/conversations.list").form("types=im"));
    gate.refuses(&post("/api/files.list").json(r#"{"channel":"C0HELP"}"#), "bad_request");
    gate.refuses(&post("/api/conversations.list").json(r#"{"types":"im"}"#), "bad_request");
    // Without a channel there is no answer, so nothing is won by one that is not read.
    gate.passes(&post("/api/conversations.history").json(r#"{"channel":"C0HELP"}"#));
    gate.passes(&post("/api/chat.postMessage").json(r#"{"channel":"C0HELP","text":"x"}"#));
}

#[test]
fn a_deciding_argument_in_the_query_beside_a_json_body_is_refused() {
    let gate = gate();
    gate.passes(&post("/api/files.list?channel=C0HELP").form("count=3"));
    gate.refuses(&post("/api/files.list?channel=C0HELP").json(r#"{"count":3}"#), "bad_request");
    gate.refuses(&post("/api/chat.postMessage?channel=C0HELP").json(r#"{"text":"x"}"#), "bad_request");
}

#[test]
fn more_arguments_than_some_readers_take_are_refused() {
    let gate = gate();
    let junk = |count: usize| (0..count).map(|number| format!("a{number}=1&")).collect::<String>();
    gate.passes(&post("/api/files.list").form(&format!("{}channel=C0HELP", junk(999))));
    // PHP, Jetty, Django, Express and others stop at a thousand, most of them in silence.
    gate.refuses(&post("/api/files.list").form(&format!("{}channel=C0HELP", junk(1_000))), "bad_request");
    gate.refuses(&get(&format!("/api/files.list?{}channel=C0HELP", junk(1_000))), "bad_request");
}

/// The catalog does not say which methods that are asked for with POST take forms alone: `files.upload`,
/// `admin.conversations.ekm.listOriginalConnectedChannelInfo`. The second lists all channels where none is read.
#[test]
#[ignore = "open: the catalog must carry `json_input_supported`"]
fn an_optional_argument_in_json_is_refused_where_a_post_method_takes_forms_alone() {
    gate().refuses(&post("/api/files.upload").json(r#"{"channels":"C0HELP","content":"x"}"#), "bad_request");
}

/// Jira lets an app with ADMIN, or `manage:jira-configuration`, write past screens and read-only flags when it asks so
/// in the query. The operation's own scopes are all that is asked here.
#[test]
#[ignore = "open: scopes that an argument needs are not in the catalog"]
fn an_argument_that_needs_more_than_its_operation_is_judged_by_what_it_needs() {
    let policy = "version: 1\napp: jira/tracker\nname: Tracker\ncontact: it@example.com\ninstallations:\n  \
                  - tenant: acme\n    credentials:\n      - {method: token, kind: oauth, sha256: sha256(tracker)}\n\
                  grants:\n  - {scopes: ['write:jira-work'], actors: [app], in: all}\n";
    let gate = Setup::jira().policy("tracker.yaml", policy).start();
    let edit = |query: &str| {
        Ask::put(&format!("/rest/api/3/issue/PROJ-1{query}")).bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#)
    };
    gate.passes(&edit(""));
    gate.refuses(&edit("?overrideScreenSecurity=true"), "missing_scope");
    gate.refuses(&edit("?overrideEditableFlag=true"), "missing_scope");
}

/// Slack takes a token from the body, so whoever shows none in the head has a body held: a megabyte for each of the
/// ten thousand connections that a gate takes, and nobody known behind any of them.
#[test]
fn bodies_of_strangers_are_not_held_without_end() {
    let gate = Setup::slack().start();
    let head = "POST /api/chat.postMessage HTTP/1.1\r\nhost: gate\r\ncontent-length: 1000000\r\n\r\n";
    let part = "a".repeat(999_999);
    let mut clients: Vec<_> = (0..80)
        .map(|_| {
            let mut client = gate.connect();
            client.send(head);
            client.send_if_open(&part);
            client
        })
        .collect();
    let refused = clients.last_mut().expect("some").answer();
    assert_eq!(refused.reason(), Some("overloaded"), "the last of 80 MB is not held");
}
