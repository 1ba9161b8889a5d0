//! Arguments that the gate reads where the product does not: the product then takes them for absent, which reaches
//! further than what was judged.

use std::net::TcpStream;

use crate::support::client::Client;
use crate::support::gate::{Ask, Gate, Setup};
use crate::support::upstream::wait_until;

/// A gate before Slack with one app that may read the files and history of one channel, and list direct messages.
fn gate() -> Gate {
    let policy = "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  \
                  - tenant: T024BE7LD\n    credentials:\n      \
                  - {method: token, kind: bot, sha256: sha256(xoxb-assist)}\n      \
                  - {method: token, kind: user, user: U0DANA, sha256: sha256(xoxp-dana)}\n\
                  grants:\n  \
                  - {scopes: [files:read, files:write, channels:history, chat:write], actors: [app], in: {channel: [C0HELP]}}\n  \
                  - {scopes: [admin.conversations:read], actors: [user], in: {channel: [C0HELP]}}\n  \
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

/// `admin.conversations.ekm.listOriginalConnectedChannelInfo` lists all channels where it reads none.
#[test]
fn an_optional_argument_in_json_is_refused_where_a_post_method_takes_forms_alone() {
    let gate = gate();
    gate.passes(&post("/api/files.upload").form("channels=C0HELP&content=x"));
    gate.refuses(&post("/api/files.upload").json(r#"{"channels":"C0HELP","content":"x"}"#), "bad_request");
    let list = "/api/admin.conversations.ekm.listOriginalConnectedChannelInfo";
    let list = || Ask::post(list).bearer("xoxp-dana");
    gate.passes(&list().form("channel_ids=C0HELP"));
    gate.refuses(&list().json(r#"{"channel_ids":["C0HELP"]}"#), "bad_request");
    // Without the argument nothing is lost by not reading it: the whole tenant is judged.
    gate.refuses(&post("/api/files.upload").json(r#"{"content":"x"}"#), "container_not_granted");
}

/// Jira lets an app with ADMIN, or `manage:jira-configuration`, write past screens and read-only flags when it asks so
/// in the query.
#[test]
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

/// So many bodies of a megabyte that all but end.
fn unfinished(gate: &Gate, count: usize, fields: &str) -> Vec<Client<TcpStream>> {
    let head = format!("POST /api/chat.postMessage HTTP/1.1\r\nhost: gate\r\n{fields}content-length: 1000000\r\n\r\n");
    let part = "a".repeat(999_999);
    let unfinished = (0..count).map(|_| {
        let mut client = gate.connect();
        client.send(&head);
        client.send_if_open(&part);
        client
    });
    unfinished.collect()
}

/// Slack takes a token from the body, so whoever shows none in the head has a body held: a megabyte for each of the
/// ten thousand connections that a gate takes, and nobody known behind any of them.
#[test]
fn what_is_held_of_one_app_or_of_strangers_is_bounded_and_leaves_room_for_others() {
    let app = |name: &str| {
        format!(
            "version: 1\napp: slack/{name}\nname: {name}\ncontact: it@example.com\ninstallations:\n  \
             - tenant: T024BE7LD\n    credentials:\n      - {{method: token, kind: bot, sha256: sha256({name})}}\n\
             grants:\n  - {{scopes: ['chat:write'], actors: [app], in: {{channel: [C0HELP]}}}}\n"
        )
    };
    let gate = Setup::slack().policy("greedy.yaml", &app("greedy")).policy("modest.yaml", &app("modest")).start();
    let message = |app: &str| Ask::post("/api/chat.postMessage").bearer(app).json(r#"{"channel":"C0HELP","text":"x"}"#);
    let modest = message("modest");
    // Sixteen of twenty fit; which of them is a matter of turns.
    let refused = |count: usize| {
        let overloaded = || gate.log.text().matches("\"overloaded\"").count();
        wait_until("what has no room to be refused", || overloaded() >= count);
        assert_eq!(overloaded(), count);
    };
    let strangers = unfinished(&gate, 20, "");
    refused(4);
    gate.passes(&modest);
    let greedy = unfinished(&gate, 20, "authorization: Bearer greedy\r\n");
    refused(8);
    gate.passes(&modest);
    // What is announced and does not come takes no room.
    let announced: Vec<_> = (0..100)
        .map(|_| {
            let mut client = gate.connect();
            client.send("POST /api/chat.postMessage HTTP/1.1\r\nhost: gate\r\ncontent-length: 1000000\r\n\r\n");
            client
        })
        .collect();
    gate.passes(&modest);
    drop((strangers, greedy, announced));
    wait_until("the room to be given back", || gate.ask(&message("greedy")).reason().is_none());
}
