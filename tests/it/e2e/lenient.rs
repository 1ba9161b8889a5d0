//! Law 5: what was judged is what is sent. Whatever reaches the upstream, read again by strict and by lenient readers,
//! is nothing that this caller would have been refused.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scopegate::authz::catalog::builtin;
use scopegate::authz::decide;
use scopegate::authz::gate::{GateRules, Identify, TenantRule};
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::request::{BodyFacts, Facts, RequestView};

use super::*;

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// Text of this shape.
fn text(shape: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(shape).expect("a regular expression")
}

fn decode(path: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(if *byte == b'%' { hex.unwrap_or(b'%') } else { *byte });
        rest = if *byte == b'%' && hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn merge_slashes(path: &str) -> String {
    let merged: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    format!("/{}", merged.join("/"))
}

fn resolve_dots(path: &str) -> String {
    let mut resolved: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(resolved.pop()),
            _ => resolved.push(segment),
        }
    }
    format!("/{}", resolved.join("/"))
}

fn drop_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap_or("")).collect::<Vec<_>>().join("/")
}

fn trim_segments(path: &str) -> String {
    path.split('/').map(|segment| segment.trim().trim_end_matches('.')).collect::<Vec<_>>().join("/")
}

/// Every path that some reader makes of this one, by any of these steps in any order.
fn readings(path: &str) -> BTreeSet<String> {
    let steps: [fn(&str) -> String; 9] = [
        decode,
        merge_slashes,
        resolve_dots,
        drop_parameters,
        trim_segments,
        |path| path.to_lowercase(),
        |path| path.split(['#', '?']).next().unwrap_or("").to_owned(),
        |path| path.replace(['\\', '\u{ff0f}'], "/"),
        |path| path.split('\0').next().unwrap_or("").to_owned(),
    ];
    let mut all = BTreeSet::from([path.to_owned()]);
    for _ in 0..3 {
        for known in all.clone() {
            all.extend(steps.iter().map(|step| step(&known)));
        }
    }
    all
}

/// The path as a strict client would write what a lenient reader made of it.
fn encode(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The same rules as the gate of [`tracker`].
fn rules() -> GateRules {
    GateRules {
        name: "jira".into(),
        catalog: builtin::catalog("jira").expect("it is built in"),
        identify: Identify { token: true, ..Identify::default() },
        tenant: TenantRule::Fixed("acme".into()),
        issue_keys_prefix: true,
        names_as_written: true,
        channel_types_prefix: false,
        observe_until_ms: None,
    }
}

/// Why this caller would be refused the path, if some operation stands behind it.
fn refused(gate: &Gate, rules: &GateRules, method: &str, path: &str) -> Option<&'static str> {
    let request = http::Request::builder().method(method).uri(encode(path)).header("host", "gate.test");
    let (head, ()) = request.header("authorization", "Bearer tracker").body(()).ok()?.into_parts();
    let view = RequestView::of(&head).ok()?;
    let live = &gate.running().live;
    let facts = Facts { now_ms: live.now_ms(), behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
    let denial = decide(&live.load(), rules, &view, &facts).err()?;
    // What maps to no operation is none that the product would do.
    denial.operation.map(|_| denial.reason.as_str())
}

fn check(gate: &Gate, rules: &GateRules, method: &str, target: &str) {
    let before = gate.upstream.requests().len();
    let mut client = gate.connect();
    client.send(&format!("{method} {target} HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tracker\r\n\r\n"));
    let Some(head) = client.head() else { panic!("no answer to {method} {target:?}") };
    let requests = gate.upstream.requests();
    let Some(seen) = requests.get(before) else {
        assert!(head.contains("x-scopegate-reason") || head.starts_with("HTTP/1.1 400"), "{target:?}: {head}");
        return;
    };
    let sent = seen.line().split(' ').nth(1).expect("a target").to_owned();
    for reading in readings(sent.split('?').next().unwrap_or_default()) {
        let refusal = refused(gate, rules, method, &reading);
        assert_eq!(refusal, None, "{target:?} was sent as {sent:?}, which is read as {reading:?}");
    }
}

/// Everything in every project but SEC, and nothing that a few operations do.
fn gate() -> Gate {
    tracker(
        "grants: [{scopes: all, actors: [app], in: all}]\n\
         revocations:\n  - {scopes: all, in: {project: [SEC]}, reason: SEC-1}\n  \
         - {operations: [getCurrentUser, getEditIssueMeta, getComments, getAttachmentMeta], in: all, reason: SEC-2}\n",
    )
}

const TRICKS: &str = "(/|//|\\.|\\.\\.|%2e|%2E|%2f|%5c|%25|2e|2f|%61|%50|%53|;|%3b|;a=b|%23|\\?|%00|%20|%09|%ef%bc%8f|\\\\|~|:|@|\\+|\
                      issue|PROJ-1|SEC-1|sec-1|PROJ|SEC|myself|MYSELF|comment|editmeta|EditMeta|project|attachment|meta|META|\
                      rest|api|3|latest|ex|jira|acme|search|user|10001)";

#[test]
fn no_path_reaches_what_this_caller_is_refused() {
    let (gate, rules) = (gate(), rules());
    let shapes = prop_oneof![
        text(&format!("/rest/api/3/{TRICKS}{{1,7}}")),
        text(&format!("/rest/api/3/issue/PROJ-1{TRICKS}{{0,6}}")),
        text(&format!("/rest/api/3/issue/{TRICKS}{{1,5}}")),
        text(&format!("/{TRICKS}{{1,9}}")),
        text(
            "/rest/api/(2|3|latest)/(issue|project|attachment)/[PSprsOoJjEeCcMmTtAa%0-9_.-]{1,8}(/(comment|editmeta|COMMENT))?"
        ),
    ];
    let methods = prop_oneof![4 => Just("GET"), 1 => Just("DELETE"), 1 => Just("HEAD")];
    let strategy = (methods, shapes);
    runner(1_500)
        .run(&strategy, |(method, target)| {
            check(&gate, &rules, method, &target);
            Ok(())
        })
        .expect("law 5");
    assert!(!gate.upstream.requests().is_empty(), "the generator reaches nothing at all");
}

#[test]
fn known_tricks_reach_nothing_else() {
    let (gate, rules) = (gate(), rules());
    for target in [
        "/rest/api/3/attachment/META",
        "/rest/api/3/attachment/Meta",
        "/rest/api/3/attachment/%4deta",
        "/rest/api/3/attachment/met%C4%81",
        "/rest/api/3/issue/PROJ-1/COMMENT",
        "/rest/api/3/issue/PROJ-1/editMeta",
        "/rest/api/3/issue/proj-1/editmeta",
        "/rest/api/3/issue/SEC-1",
        "/rest/api/3/issue/%2553EC-1",
        "/rest/api/3/user/SEARCH",
        "/rest/api/3/Myself",
        "/ex/jira/acme/rest/api/3/myself",
        "/ex/jira/ACME/rest/api/3/issue/PROJ-1",
    ] {
        for method in ["GET", "HEAD", "DELETE"] {
            check(&gate, &rules, method, target);
        }
    }
}

/// Every project key that some reader finds in a body: names in any case.
fn project_keys(body: &serde_json::Value) -> Vec<String> {
    let mut found = vec![body];
    for level in [&["fields", "update"][..], &["project", "parent"], &["key", "id"]] {
        let objects = found.into_iter().filter_map(serde_json::Value::as_object);
        let members = objects.flatten().filter(|(name, _)| level.contains(&&*name.to_lowercase()));
        found = members.map(|(_, value)| value).collect();
    }
    found.into_iter().filter_map(|key| key.as_str().map(str::to_uppercase)).collect()
}

#[test]
fn no_body_names_another_project_to_some_reader() {
    let gate = tracker("grants: [{scopes: [write:jira-work], actors: [app], in: {project: [PROJ]}}]\n");
    let names = "(\"fields\"|\"project\"|\"Project\"|\"pro\\\\u006aect\"|\"key\"|\"KEY\"|\"k\\\\u0065y\"|\"id\"|\"parent\"|\"x\"|\"update\")";
    let leaf = "(\"PROJ\"|\"SEC\"|\"proj\"|\"PROJ-1\"|\"SEC-1\"|\"S\\\\u0045C\"|\"10001\"|null|1|\\[\\]|\\[\"SEC\"\\])";
    let strategy = prop_oneof![
        text(&format!(
            r#"\{{"fields":\{{"project":\{{("key"|{names}):{leaf}(,{names}:{leaf})?\}}(,{names}:(\{{{names}:{leaf}\}}|{leaf}))?\}}(,{names}:\{{{names}:\{{{names}:{leaf}\}}\}})?\}}"#
        )),
        text(&format!(
            r#"\{{{names}:\{{{names}:\{{{names}:{leaf}\}}\}}(,"fields":\{{"project":\{{"key":"PROJ"\}}\}})?\}}"#
        )),
    ];
    runner(600)
        .run(&strategy, |body| {
            let before = gate.upstream.requests().len();
            gate.ask(&Ask::post("/rest/api/3/issue").bearer("tracker").json(&body));
            if let Some(seen) = gate.upstream.requests().get(before) {
                prop_assert_eq!(&*seen.body, body.as_bytes());
                let keys = project_keys(&serde_json::from_str(&body).expect("it was read before"));
                prop_assert!(
                    !keys.is_empty() && keys.iter().all(|key| key.starts_with("PROJ")),
                    "{} names {:?}",
                    body,
                    keys
                );
            }
            Ok(())
        })
        .expect("law 5");
    assert!(!gate.upstream.requests().is_empty(), "the generator passes nothing at all");
}

#[test]
fn no_argument_names_another_channel_to_some_reader() {
    let gate = assist("grants: [{scopes: ['chat:write'], actors: [app], in: {channel: [C0HELP]}}]\n");
    let pair = "((channel|Channel|CHANNEL|ch%61nnel|channel\\[\\]|channel%00|%20channel|text|x)(=|%3D)(C0HELP|C0EXEC|C0HELP%26channel=C0EXEC|C0HELP;channel=C0EXEC|%43%30HELP|c0help|a|C0HELP%2CC0EXEC))";
    let strategy = (text(&format!("channel=C0HELP(&{pair}){{0,2}}|{pair}(&{pair}){{0,2}}")), any::<bool>());
    // Split where anybody splits, then decode as often as anybody does.
    let channels = |text: &str| -> Vec<String> {
        let pairs = text.split(['&', ';']).filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (decode(&decode(name)), decode(&decode(value))));
        let is_channel =
            |name: &str| name.trim_matches(['\0', ' ', '+']).trim_end_matches("[]").eq_ignore_ascii_case("channel");
        let named = pairs.filter(|(name, _)| is_channel(name));
        named.flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    runner(600)
        .run(&strategy, |(arguments, in_query)| {
            let before = gate.upstream.requests().len();
            let ask = match in_query {
                true => Ask::post(&format!("/api/chat.postMessage?{arguments}")).bearer("xoxb-assist"),
                false => Ask::post("/api/chat.postMessage").bearer("xoxb-assist").form(&arguments),
            };
            gate.ask(&ask);
            if let Some(seen) = gate.upstream.requests().get(before) {
                let target = seen.line().split(' ').nth(1).unwrap_or_default();
                let query = target.split_once('?').map_or("", |(_, query)| query);
                let mut named = channels(query);
                named.extend(channels(&String::from_utf8_lossy(&seen.body)));
                prop_assert!(
                    !named.is_empty() && named.iter().all(|name| name == "C0HELP"),
                    "{} names {:?}",
                    arguments,
                    named
                );
            }
            Ok(())
        })
        .expect("law 5");
    assert!(!gate.upstream.requests().is_empty(), "the generator passes nothing at all");
}
