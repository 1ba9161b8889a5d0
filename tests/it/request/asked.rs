//! What a request asks for by its arguments is never less than what any reader of it finds there.

use std::collections::BTreeSet;

use proptest::prelude::*;
use scopegate::authz::catalog::builtin;
use scopegate::authz::catalog::extras::{ExtraMask, extras};
use scopegate::authz::catalog::limits::{limited, url_host};
use scopegate::authz::request::{BadRequest, parse_body};

use super::*;

fn asked(product: &str, operation: &str, query: &str, body: &str) -> Result<ExtraMask, BadRequest> {
    let catalog = builtin::catalog(product).unwrap();
    let operation = &catalog.operations[usize::from(catalog.operation(operation).unwrap().0)];
    let headers = [("host", "gate"), ("content-type", "application/json")];
    let Some(parts) = parts(operation.method.as_str(), &format!("/x?{query}"), &headers) else {
        return Err(BadRequest("no request at all"));
    };
    let view = RequestView::of(&parts)?;
    extras(operation, &view, &facts(parse_body(&parts.headers, body.as_bytes())?))
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => decoded.push(value),
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
        rest = if *byte == b'%' && hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Every value that some reader finds under a name: split at `&` or also at `;`, decoded once or twice, the name trimmed,
/// cut at `[` or NUL, in any case.
fn lenient(query: &str, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pair in query.split(['&', ';']).chain(query.split('&')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        for key in [key.to_owned(), decode(key), decode(&decode(key))] {
            let key = key.split(['[', '\0']).next().unwrap_or_default().trim_matches([' ', '?', '\t']);
            if key.eq_ignore_ascii_case(name) {
                found.extend([decode(value), decode(&decode(value))]);
            }
        }
    }
    found
}

/// Pieces of which queries are made that are close to one of these names.
fn query(name: &'static str) -> impl Strategy<Value = String> {
    let upper = name.to_ascii_uppercase();
    let encoded = format!("%{:02x}{}", name.as_bytes()[0], &name[1..]);
    let twice = format!("%25{:02x}{}", name.as_bytes()[0], &name[1..]);
    let pieces = [
        name.to_owned(),
        upper,
        encoded,
        twice,
        "x".to_owned(),
        "=".to_owned(),
        "&".to_owned(),
        ";".to_owned(),
        "true".to_owned(),
        "false".to_owned(),
        "%66alse".to_owned(),
        "version".to_owned(),
        ",".to_owned(),
        "[]".to_owned(),
        "%5B".to_owned(),
        "%00".to_owned(),
        "%26".to_owned(),
        "%3D".to_owned(),
        "+".to_owned(),
        "%20".to_owned(),
        "?".to_owned(),
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..9).prop_map(|pieces| pieces.concat())
}

/// Every text, of whatever depth, that some reader finds in a member of this name.
fn texts(document: &serde_json::Value, name: &str) -> BTreeSet<String> {
    fn all(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(object) => object.values().for_each(|value| all(value, found)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| all(item, found)),
            serde_json::Value::Null => {}
            other => drop(found.insert(other.as_str().map_or_else(|| other.to_string(), str::to_owned))),
        }
    }
    let mut found = BTreeSet::new();
    let members = document.as_object().into_iter().flatten();
    let read_so = |key: &str| key.split('[').next().unwrap_or_default().trim().eq_ignore_ascii_case(name);
    members.filter(|(key, _)| read_so(key)).for_each(|(_, value)| all(value, &mut found));
    found
}

fn hook() -> impl Strategy<Value = String> {
    let event = proptest::sample::select(
        &[
            r#""repo:push""#,
            r#""issue:created""#,
            r#""REPO:PUSH""#,
            r#""repo:new""#,
            "7",
            "null",
            r#"["repo:push"]"#,
            "{}",
        ][..],
    );
    let list = proptest::collection::vec(event, 0..4).prop_map(|events| format!("[{}]", events.join(",")));
    let value = prop_oneof![
        4 => list,
        1 => Just(r#""repo:push""#.to_owned()),
        1 => Just("null".to_owned()),
        1 => Just(r#"{"events":["issue:created"]}"#.to_owned()),
    ];
    let key = proptest::sample::select(&["events", "Events", "event\\u0073", "url", "events[]", " events"][..]);
    proptest::collection::vec((key, value), 0..3).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Text that is close to a URL.
fn url() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(
        &[
            "https:",
            "http:",
            "HTTPS:",
            "//",
            "/",
            "\\",
            "hooks.example.com",
            "evil.example",
            "@",
            ":",
            "443",
            "?",
            "#",
            ".",
            "%2f",
            "%40",
            "%00",
            "a",
            "..",
            ";",
            "xn--bcher-kva.example",
            "127.0.0.1",
            "0x7f.1",
            "[::1]",
            "\t",
            "\n",
            " ",
            "\u{3002}",
            "\u{ff0f}",
            "\u{ad}",
            "\u{fc}",
            "_",
            "-",
            "*",
            "EVIL",
        ][..],
    );
    let free = proptest::collection::vec(piece.clone(), 0..8).prop_map(|pieces| pieces.concat());
    let begun = proptest::collection::vec(piece, 0..6).prop_map(|pieces| format!("https://{}", pieces.concat()));
    prop_oneof![1 => free, 3 => begun]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn a_flag_that_some_reader_finds_raised_is_asked_for(query in query("overrideEditableFlag")) {
        if asked("jira", "updateComment", &query, "") == Ok(ExtraMask::NONE) {
            let found = lenient(&query, "overrideEditableFlag");
            prop_assert!(found.iter().all(|value| value == "false"), "{:?}: {:?}", query, found);
        }
    }

    #[test]
    fn what_some_reader_finds_expanded_is_asked_for(query in query("expand")) {
        if asked("confluence", "getContentById", &query, "") == Ok(ExtraMask::NONE) {
            prop_assert_eq!(lenient(&query, "expand"), BTreeSet::new(), "{:?}", query);
        }
        if asked("confluence", "getContentProperty", &query, "") == Ok(ExtraMask::NONE) {
            let found = lenient(&query, "expand");
            let own = |value: &String| value.split(',').all(|one| ["version", "content"].contains(&one));
            prop_assert!(found.iter().all(own), "{:?}: {:?}", query, found);
        }
    }

    #[test]
    fn each_event_that_some_reader_finds_is_asked_for(body in hook()) {
        let Ok(mask) = asked("bitbucket", "workspaces-workspace-hooks-post", "", &body) else { return Ok(()) };
        // The library lets the last of two equal keys win; two that are equal are refused before.
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        let alone = |event: &str| {
            let body = format!("{{\"events\":[{}]}}", serde_json::Value::from(event));
            asked("bitbucket", "workspaces-workspace-hooks-post", "", &body).unwrap()
        };
        for event in texts(&document, "events") {
            let needs = alone(&event);
            prop_assert!(mask.0 & needs.0 == needs.0, "{}: {} asks for {:?}, and all for {:?}", body, event, needs, mask);
        }
    }

    /// Where a host is told, every other reader finds it: one for browsers, one for proxies, and whoever takes what stands
    /// before the last `@` for a user.
    #[test]
    fn the_host_that_is_told_is_the_one_that_every_reader_finds(url in url()) {
        if let Some(host) = url_host(&url) {
            let by_browsers = url::Url::parse(&url).unwrap();
            prop_assert_eq!(by_browsers.host_str(), Some(&*host), "{:?}", url);
            prop_assert!(by_browsers.scheme() == "https" && by_browsers.port().is_none() && by_browsers.username().is_empty());
            let by_proxies: http::Uri = url.parse().unwrap();
            let by_proxies = by_proxies.host().unwrap().to_lowercase();
            prop_assert_eq!(&*by_proxies, &*host, "{:?}", url);
            let authority = url.split("//").nth(1).unwrap().split(['/', '\\', '?', '#']).next().unwrap();
            let after_user = authority.rsplit('@').next().unwrap().split(':').next().unwrap();
            prop_assert_eq!(after_user.to_lowercase(), host.to_lowercase(), "{:?}", url);
        }
    }
}

#[test]
fn the_properties_are_about_something() {
    assert_eq!(asked("jira", "updateComment", "", ""), Ok(ExtraMask::NONE));
    assert_eq!(asked("jira", "updateComment", "overrideEditableFlag=%66alse", ""), Ok(ExtraMask::NONE));
    assert_eq!(asked("jira", "updateComment", "overrideEditableFlag=true", ""), Ok(ExtraMask(1)));
    assert_eq!(asked("jira", "editIssue", "overrideEditableFlag=1&overrideScreenSecurity=0", ""), Ok(ExtraMask(1)));
    assert_eq!(
        asked("confluence", "getContentProperty", "expand=version,version&expand=version", ""),
        Ok(ExtraMask::NONE)
    );
    let hooks = "workspaces-workspace-hooks-post";
    assert_eq!(asked("bitbucket", hooks, "", r#"{"events":["repo:push"]}"#), Ok(ExtraMask(1)));
    assert_eq!(asked("bitbucket", hooks, "", r#"{"events":["repo:push","project:updated"]}"#), Ok(ExtraMask(0b1_0001)));
    assert_eq!(asked("bitbucket", hooks, "", "{}"), Ok(ExtraMask(0b1_1111)));
    assert!(asked("bitbucket", hooks, "", r#"{"events":["repo:new","repo:push"]}"#).unwrap().is_unknown());
    assert!(url_host("https://hooks.example.com/a?b#c").is_some());
}

#[test]
fn a_place_that_asks_for_more_is_judged_with_its_body_or_not_at_all() {
    let catalog = builtin::catalog("bitbucket").unwrap();
    let id = catalog.operation("workspaces-workspace-hooks-post").unwrap();
    let operation = &catalog.operations[usize::from(id.0)];
    assert!(operation.body);
    let parts = parts("POST", "/x", &[("host", "gate")]).unwrap();
    let view = RequestView::of(&parts).unwrap();
    assert!(extras(operation, &view, &facts(BodyFacts::NotHeld)).is_err());
    assert!(limited(&catalog, operation, &facts(BodyFacts::NotHeld)).is_err());
    let told = limited(&catalog, operation, &facts(BodyFacts::Empty)).unwrap();
    assert_eq!(told.iter().map(|one| one.value.clone()).collect::<Vec<_>>(), [None]);
}
