//! One fact in two places, or written so that two readers find two: path, query, JSON, form and multipart body.

use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::gate::{Ask, Gate, Setup};
use crate::support::http2::Client;

const CATALOG: &str = "\
version: 1
product: tickets
release: '1'
dialect: problem
vocabularies: [oauth]
containers: [{name: queue, id: '[0-9]+', key: '[a-z]+'}]
kinds: [{name: service, vocabularies: [oauth], actor: app}]
scopes: [{name: write, vocabularies: [oauth]}]
operations:
  - id: move
    request: POST /queues/{queue}/move
    needs: {oauth: [[write]]}
    touches:
      places:
        - {kind: queue, path: queue}
        - {kind: queue, query: to, absent: skip}
        - {kind: queue, body: /to, absent: skip}
        - {kind: queue, body: '/tickets/*/queue', absent: skip}
        - {kind: queue, body: '/drafts/*/in/queue', absent: skip}
        - {kind: queue, keys: /counts, absent: skip}
  - id: attach
    request: POST /attachments
    needs: {oauth: [[write]]}
    touches: {places: [{kind: queue, multipart: queue}]}
";

/// A gate before an API of one's own, with an app that may write in the queue `mail`.
fn tickets(limits: &str) -> Gate {
    let policy = "version: 1\napp: tickets/app\nname: App\ncontact: it@example.com\ninstallations:\n  - tenant: main\n    \
                  credentials: [{method: token, kind: service, sha256: sha256(app)}]\n\
                  grants: [{scopes: [write], actors: [app], in: {queue: [mail]}}]\n";
    let setup = Setup::jira().without("product").without("issue_keys").gate("identify", "[token]");
    let setup = setup.gate("catalog", "tickets.yaml").gate("tenant", "{fixed: main}").file("tickets.yaml", CATALOG);
    setup.gate("limits", limits).policy("app.yaml", policy).start()
}

/// Asserts what becomes of a body, whatever frames it: a length, chunks, or HTTP/2 with neither.
fn check(gate: &Gate, target: &str, content_type: Option<&str>, body: &str, reason: Option<&str>) {
    let ask = Ask::post(target).bearer("app").body(body);
    let ask = match content_type {
        Some(content_type) => ask.with("content-type", content_type),
        None => ask,
    };
    for request in [ask.text(), ask.chunked()] {
        match reason {
            None => assert_eq!(gate.passes_raw(&request).line(), format!("POST {target} HTTP/1.1"), "{body}"),
            Some(reason) => drop(gate.refuses_raw(&request, reason)),
        }
    }
    let seen = gate.seen();
    let mut client = Client::connect(gate.address());
    let mut request = Request::builder().method("POST").uri(format!("http://{}{target}", gate.address()));
    request = request.header("authorization", "Bearer app");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let answer = client.ask(request.body(()).expect("a request"), body.as_bytes()).expect("an answer");
    let told = answer.headers.get("x-scopegate-reason").map(|it| it.to_str().expect("text"));
    assert_eq!(told, reason, "{target} {body}");
    assert_eq!(gate.seen() == seen, reason.is_some(), "{target} {body}");
}

#[test]
fn every_place_counts_and_none_is_read_in_two_ways() {
    let gate = tickets("{}");
    let json = Some("application/json");
    let own = "/queues/mail/move";
    for (target, body) in [
        (own, "{}"),
        ("/queues/mail/move?to=mail", "{}"),
        ("/queues/mail/move?to=mail", r#"{"to":"mail","tickets":[{"queue":"mail"}],"counts":{"mail":1}}"#),
        (own, r#"{"to":null,"tickets":null,"counts":null,"TO2":"news"}"#),
        (own, r#"{"drafts":[{"in":{"queue":"mail"}}]}"#),
        (own, r#"{"drafts":{"first":{"in":{"queue":"mail"}}}}"#),
    ] {
        check(&gate, target, json, body, None);
    }
    for (target, body) in [
        ("/queues/news/move", "{}"),
        ("/queues/mail/move?to=news", "{}"),
        ("/queues/mail/move?to=news", r#"{"to":"mail"}"#),
        ("/queues/mail/move?to=mail", r#"{"to":"news"}"#),
        (own, r#"{"to":"mail","tickets":[{"queue":"mail"},{"queue":"news"}]}"#),
        (own, r#"{"to":"mail","tickets":[{"queue":"mail"},{}]}"#),
        (own, r#"{"counts":{"mail":1,"news":1}}"#),
        (own, r#"{"to":"7"}"#),
    ] {
        check(&gate, target, json, body, Some("container_not_granted"));
    }
    for (target, body) in [
        ("/queues/mail/move?to=mail&to=news", "{}"),
        ("/queues/mail/move?to=mail&to=mail", "{}"),
        ("/queues/mail/move?to=mail&To=news", "{}"),
        ("/queues/mail/move?to=mail&to[]=news", "{}"),
        ("/queues/mail/move?to=mail&t%6f=news", "{}"),
        ("/queues/mail/move?to=mail&to%00=news", "{}"),
        ("/queues/mail/move?a=1;to=news", "{}"),
        ("/queues/mail/move?to=mail%26to=news", "{}"),
        ("/queues/mail/move?to=ma%2569l", "{}"),
        (own, r#"{"to":"mail","to":"news"}"#),
        (own, r#"{"to":"mail","\u0074o":"news"}"#),
        (own, r#"{"to":"mail","TO":"news"}"#),
        (own, r#"{"to":["mail"]}"#),
        (own, r#"{"to":["mail","news"]}"#),
        (own, r#"{"to":{"queue":"mail"}}"#),
        (own, r#"{"to":true}"#),
        (own, r#"{"to":1.0}"#),
        (own, r#"{"to":"mail news"}"#),
        (own, r#"{"tickets":[]}"#),
        (own, r#"{"tickets":"mail"}"#),
        (own, r#"{"tickets":[{"queue":["mail"]}]}"#),
        (own, r#"{"tickets":[{"queue":"mail","Queue":"news"}]}"#),
        (own, r#"{"tickets":[{"queue":"mail","queue":"news"}]}"#),
        // One item where a list is due: its own queue for some readers, that of a member of it for others.
        (own, r#"{"drafts":{"in":{"in":{"queue":"mail"},"queue":"news"}}}"#),
        (own, r#"{"drafts":{"In":{"in":{"queue":"mail"},"queue":"news"}}}"#),
        (own, r#"{"drafts":{"first":{"in":{"queue":"mail"}},"\u0069n":{"in":{"queue":"mail"},"queue":"news"}}}"#),
        (own, r#"{"counts":["mail"]}"#),
        (own, r#"{"counts":{}}"#),
        (own, r#"{"counts":{"mail":1,"m\u0061il":2}}"#),
        (own, "\u{feff} {}"),
        (own, "{} {}"),
        (own, "[]"),
    ] {
        check(&gate, target, json, body, Some("bad_request"));
    }
    // What no type is declared for, and what is declared in another encoding, is not guessed.
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/json; charset=utf-16"),
        Some("application/json; charset=utf-7"),
        Some("application/json; charset=iso-8859-1"),
        Some("application/json; charset=utf-8; charset=utf-16"),
        Some("application/vnd.tickets+json"),
        Some("multipart/form-data; boundary=x"),
    ] {
        check(&gate, own, content_type, r#"{"to":"mail"}"#, Some("bad_request"));
    }
    // A form has no lists to look into.
    check(&gate, own, Some("application/x-www-form-urlencoded"), "to=mail", Some("bad_request"));
    let zipped = |encoding: &str| Ask::post(own).bearer("app").json("{}").with("content-encoding", encoding);
    for encoding in ["gzip", "br", "identity", "x"] {
        gate.refuses(&zipped(encoding), "bad_request");
        gate.refuses_raw(&zipped(encoding).chunked(), "bad_request");
    }
}

#[test]
fn a_field_of_a_multipart_body_is_judged_and_goes_on_byte_for_byte() {
    let gate = tickets("{}");
    let part =
        |head: &str, content: &str| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
    let body = |parts: &[String]| format!("{}--x--\r\n", parts.concat());
    let (queue, file) =
        (|queue: &str| part("name=\"queue\"", queue), part("name=\"f\"; filename=\"a\"", "\u{1}\u{0}\n--y"));
    let nested = |media_type: &str| {
        let inner = "--y\r\nContent-Disposition: form-data; name=\"queue\"\r\n\r\nnews\r\n--y--";
        part(&format!("name=\"g\"; filename=\"b\"\r\nContent-Type: {media_type}"), inner)
    };
    let multipart = Some("multipart/form-data; boundary=x");
    let good = body(&[queue("mail"), part("name=\"note\"", "n"), file.clone()]);
    check(&gate, "/attachments", multipart, &good, None);
    assert!(gate.upstream.requests().iter().all(|seen| String::from_utf8_lossy(&seen.body).contains(&file)));
    check(&gate, "/attachments", multipart, &body(&[queue("news")]), Some("container_not_granted"));
    for parts in [
        vec![file.clone()],
        vec![],
        vec![queue("mail"), queue("news")],
        vec![queue("mail"), queue("mail")],
        vec![queue("mail"), part("name=\"QUEUE\"", "news")],
        vec![queue("mail"), part("name=\"queue\"; filename=\"b\"", "news")],
        vec![file.clone(), queue("mail")],
        vec![queue("mail"), part("name=\"_charset_\"", "utf-7")],
        vec![part("name=\"queue\"\r\nContent-Type: text/plain; charset=utf-16", "mail")],
        vec![part("name=queue", "mail")],
        // B13: a field within a part.
        vec![queue("mail"), nested("multipart/mixed; boundary=y")],
        vec![queue("mail"), nested("Multipart/form-data; boundary=y")],
        vec![queue("mail"), nested(" message/rfc822")],
    ] {
        check(&gate, "/attachments", multipart, &body(&parts), Some("bad_request"));
    }
    for content_type in
        ["multipart/form-data", "multipart/form-data; boundary=x; charset=utf-8", "multipart/mixed; boundary=x"]
    {
        check(&gate, "/attachments", Some(content_type), &good, Some("bad_request"));
    }
    check(&gate, "/attachments", Some("application/json"), r#"{"queue":"mail"}"#, Some("bad_request"));
    check(&gate, "/attachments", Some("application/x-www-form-urlencoded"), "queue=mail", Some("bad_request"));
    check(&gate, "/attachments", multipart, "", Some("bad_request"));
}

#[test]
fn a_body_over_the_limit_is_refused_however_it_is_framed() {
    let gate = tickets("{body_held_max: 1KiB}");
    let json = |pad: usize| format!(r#"{{"to":"mail","pad":"{}"}}"#, "x".repeat(pad));
    check(&gate, "/queues/mail/move", Some("application/json"), &json(900), None);
    check(&gate, "/queues/mail/move", Some("application/json"), &json(2_000), Some("body_too_large"));
    // Too long whatever is in it, and whoever would have refused it for that.
    check(&gate, "/queues/mail/move", None, &json(2_000), Some("body_too_large"));
    let list = format!(r#"{{"tickets":[{}]}}"#, vec![r#"{"queue":"mail"}"#; 1_101].join(","));
    check(&tickets("{}"), "/queues/mail/move", Some("application/json"), &list, Some("bad_request"));
}

/// Every queue that some reader finds in the items of a body: the last of equal keys, names in any case.
fn queues(body: &serde_json::Value) -> Vec<Option<String>> {
    let members = |value: &serde_json::Value, name: &str| -> Vec<serde_json::Value> {
        let object = value.as_object().cloned().unwrap_or_default();
        object.into_iter().filter(|(key, _)| key.to_lowercase() == name).map(|(_, member)| member).collect()
    };
    let lists = members(body, "tickets").into_iter().filter_map(|list| match list {
        serde_json::Value::Array(items) => Some(items),
        serde_json::Value::Object(items) => Some(items.into_iter().map(|(_, item)| item).collect()),
        _ => None,
    });
    let of_item = |item: &serde_json::Value| -> Vec<Option<String>> {
        let named = members(item, "queue");
        if named.is_empty() {
            vec![None]
        } else {
            named.iter().map(|queue| queue.as_str().map(str::to_owned)).collect()
        }
    };
    lists.flatten().flat_map(|item| of_item(&item)).collect()
}

#[test]
fn no_item_of_a_list_names_another_queue_to_some_reader() {
    let gate = tickets("{}");
    let name = "(\"queue\"|\"Queue\"|\"qu\\\\u0065ue\"|\"x\")";
    let leaf = "(\"mail\"|\"news\"|\"m\\\\u0061il\"|null|7|\\[\"mail\"\\]|\\{\\})";
    let item = format!(
        "(\\{{({name}:{leaf}(,{name}:{leaf})?)?\\}}|\\{{\"queue\":\"mail\"\\}}|\\{{\"queue\":\"mail\"\\}}|null)"
    );
    let list = "(\"tickets\"|\"tickets\"|\"Tickets\"|\"t\\\\u0069ckets\")";
    let shape =
        format!("\\{{\"a\":1(,{list}:\\[({item}(,{item}){{0,2}})?\\]){{1,2}}(,\"tickets\":\\{{\"k\":{item}\\}})?\\}}");
    let bodies = proptest::string::string_regex(&shape).expect("a regular expression");
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    runner
        .run(&bodies, |body| {
            let before = gate.upstream.requests().len();
            gate.ask(&Ask::post("/queues/mail/move").bearer("app").json(&body));
            if let Some(seen) = gate.upstream.requests().get(before) {
                prop_assert_eq!(&*seen.body, body.as_bytes());
                let named = queues(&serde_json::from_str(&body).expect("it was read before"));
                prop_assert!(named.iter().all(|queue| queue.as_deref() == Some("mail")), "{} names {:?}", body, named);
            }
            Ok(())
        })
        .expect("law 5");
    assert!(!gate.upstream.requests().is_empty(), "the generator passes nothing at all");
}
