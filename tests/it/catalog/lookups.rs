//! Look-ups as a catalog declares them: what is asked, how an answer is read, and what is wrong with a declaration.

use std::path::Path;

use scopegate::authz::catalog::PlaceAt;
use scopegate::authz::catalog::lookups::{Answer, Lookup, LookupId};

use super::*;

const CATALOG: &str = "version: 1
product: wiki
release: '1'
dialect: problem
vocabularies: [v]
variants: [public, private, im]
kinds: [{name: bot, vocabularies: [v], actor: app}]
scopes: [{name: read, vocabularies: [v]}]
containers:
  - {name: space, id: '[1-9][0-9]*', key: '[A-Za-z]+', fold: upper, lookup: space}
  - {name: room, id: 'C[0-9]+'}
operations:
  - {id: getSpace, request: 'GET /spaces/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: getPage, request: 'GET /pages/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: movePage, request: 'PUT /pages/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: page}]}}
  - {id: getNote, request: 'GET /notes/{id}', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id, lookup: note}]}}
  - {id: roomInfo, request: 'GET /info', needs: {v: [[read]]}, touches: {tenant: w}}
";

const LOOKUPS: &str = "lookups:
  - {lookup: space, why: w, request: 'GET /spaces/{id}', kind: space, written: '[0-9A-Za-z]+', answer: [{id: /id, key: /key}]}
  - {lookup: page, why: w, request: 'GET /pages/{id}?in={tenant}', kind: space, written: '.*', answer: [{id: /spaceId}], changed_by: [movePage]}
  - {lookup: note, why: w, request: 'GET /notes/{id}', kind: space, written: '[0-9]+', then: [{lookup: page, at: /pageId}, {lookup: space, at: /spaceKey}]}
  - {lookup: filter, why: w, request: 'GET /notes/{id}', kind: space, written: '[0-9]+', answer: [{key: /jql, as: jql}, {id: '/shared/*/id'}]}
  - {lookup: link, why: w, request: 'GET /notes/{id}', kind: space, written: '[0-9]+', answer: [{key: /from/key, as: issue_key}, {key: /to/key, as: issue_key}]}
  - {lookup: search, why: w, request: 'GET /notes/{id}', kind: space, written: '[0-9]+', answer: [{id: '/results/*/id'}]}
  - {lookup: issue, why: w, request: 'GET /notes/{id}', kind: space, written: '[0-9]+|[A-Z]+-[0-9]+', answer: [{id: /space}], identity: {written: '[0-9]+', at: /id}, one_changed_by: [{operations: [movePage], path: id}]}
  - {lookup: room, why: w, request: 'GET /info?room={id}', kind: room, written: 'C[0-9]+', ok: /ok, errors: {at: /error, none: [no_room], hidden: [not_yours], too_many: [slower], dead: [who_is_this]}, answer: [{id: '/room/id'}, {id: '/room/shared/*/id'}, {id: '/room/also/*'}], variants: [{at: /room/is_im, means: [im]}, {at: /room/is_private, means: [private]}, {at: /room/is_public, means: [public]}]}
";

fn parsed(lookups: &str) -> Result<Catalog, Vec<String>> {
    let text = format!("{CATALOG}{lookups}");
    let catalog = Catalog::parse(Source { path: Path::new("wiki.yaml"), text: &text }, None);
    catalog.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

fn lookup<'c>(catalog: &'c Catalog, name: &str) -> &'c Lookup {
    catalog.lookups.iter().find(|lookup| &*lookup.name == name).expect("it is declared")
}

fn read(catalog: &Catalog, name: &str, body: &str) -> Answer {
    lookup(catalog, name).read(catalog, body.as_bytes())
}

/// Ids and keys of the containers that an answer names.
fn homes(answer: &Answer) -> Vec<(&str, &str)> {
    let Answer::In { homes, .. } = answer else { panic!("{answer:?}") };
    homes.iter().map(|home| (home.id.as_deref().unwrap_or(""), home.key.as_deref().unwrap_or(""))).collect()
}

#[test]
fn a_thing_takes_one_segment_or_one_value_of_the_question() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let page = &lookup(&catalog, "page").target;
    assert_eq!(page.of("acme", "7"), "/pages/7?in=acme");
    assert_eq!(page.of("a&b", "../7?x=1#/ü%2e"), "/pages/..%2F7%3Fx%3D1%23%2F%C3%BC%252e?in=a%26b");
}

#[test]
fn what_no_such_thing_is_called_is_not_asked_about() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let long = "7".repeat(257);
    for (name, thing, asked) in [
        ("note", "7", true),
        ("note", "", false),
        ("note", "7a", false),
        ("note", "-7", false),
        ("note", &long[..256], true),
        ("note", &long, false),
        ("page", "..", false),
        ("page", ".", false),
        ("page", "7/../8", true),
    ] {
        assert_eq!(lookup(&catalog, name).may_be_called(thing), asked, "{name} {thing}");
    }
}

#[test]
fn an_answer_names_containers_by_id_and_by_name() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    assert_eq!(homes(&read(&catalog, "space", r#"{"id": 7, "key": "eng", "more": [1]}"#)), [("7", "ENG")]);
    assert_eq!(homes(&read(&catalog, "space", r#"{"id": "7"}"#)), [("7", "")]);
    assert_eq!(homes(&read(&catalog, "page", r#"{"spaceId": "7"}"#)), [("7", "")]);
    let shared = r#"{"ok": true, "room": {"id": "C1", "is_im": false, "is_private": true, "is_public": true,
        "shared": [{"id": "C2"}, {"id": "C1"}], "also": ["C3"]}}"#;
    let answer = read(&catalog, "room", shared);
    assert_eq!(homes(&answer), [("C1", ""), ("C2", ""), ("C3", "")]);
    let Answer::In { variants, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(variants, VariantMask(0b010), "the first that is true");
}

#[test]
fn an_answer_that_is_not_what_the_catalog_says_names_nothing() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    for (name, body) in [
        ("space", "{}"),
        ("space", "[]"),
        ("space", ""),
        ("space", "<html>"),
        ("space", r#"{"id": null, "key": null}"#),
        ("space", r#"{"id": 7.0}"#),
        ("space", r#"{"id": -7}"#),
        ("space", r#"{"id": "07"}"#),
        ("space", r#"{"id": {"x": 7}}"#),
        ("space", r#"{"id": 7, "key": "not a key"}"#),
        ("space", r#"{"id": 7, "i\u0064": 8}"#),
        ("space", r#"{"id": 7, "ID": 8}"#),
        ("space", r#"{"id": 7} {"id": 8}"#),
        ("note", r#"{"id": 7}"#),
        ("note", r#"{"pageId": ""}"#),
        ("room", r#"{"room": {"id": "C1"}}"#),
        ("room", r#"{"ok": "true", "room": {"id": "C1"}}"#),
        ("room", r#"{"ok": true, "room": {"id": "C1", "also": "C2"}}"#),
        ("room", r#"{"ok": true, "room": {"id": "C1", "also": ["D2"]}}"#),
        ("room", r#"{"ok": true, "room": {"id": "C1", "shared": ["C2"]}}"#),
    ] {
        assert_eq!(read(&catalog, name, body), Answer::Unreadable, "{name} {body}");
    }
    let many: Vec<String> = (1..=257).map(|number| format!("\"C{number}\"")).collect();
    let many = format!(r#"{{"ok": true, "room": {{"also": [{}]}}}}"#, many.join(","));
    assert_eq!(read(&catalog, "room", &many), Answer::Unreadable, "more than anything lies in");
    assert_eq!(read(&catalog, "room", r#"{"ok": false, "error": "no_room"}"#), Answer::Nowhere);
}

#[test]
fn a_filter_lies_where_its_query_stays_and_a_link_where_its_issues_do() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let words = |jql: &str| {
        let answer =
            read(&catalog, "filter", &serde_json::json!({ "jql": jql, "shared": [{"id": 9}, {}] }).to_string());
        let Answer::In { homes, .. } = answer else { panic!("{answer:?}") };
        homes.iter().map(|home| (home.key.as_deref().unwrap_or("").to_owned(), home.is_word)).collect::<Vec<_>>()
    };
    let (shared, open) = ((String::new(), false), (String::new(), false));
    let word = |text: &str| (text.to_owned(), true);
    assert_eq!(words("project = eng AND text ~ x"), [word("ENG"), shared.clone()]);
    assert_eq!(words("project in (ENG, 7) ORDER BY key"), [word("ENG"), word("7"), shared.clone()]);
    for anywhere in
        ["key = ENG-1", "text ~ x", "", "project = ENG OR text ~ x", "project = \"7\"", "project = \"my project\""]
    {
        assert_eq!(words(anywhere), [open.clone(), shared.clone()], "{anywhere}");
    }
    assert_eq!(homes(&read(&catalog, "filter", "{}")), [("", "")], "it finds everything");
    assert_eq!(read(&catalog, "filter", r#"{"jql": 7}"#), Answer::Unreadable);
    assert_eq!(
        homes(&read(&catalog, "link", r#"{"from": {"key": "ENG-7"}, "to": {"key": "hr-1"}}"#)),
        [("", "ENG"), ("", "HR")]
    );
    for key in ["ENG", "ENG-", "ENG-1x", "-1", "7-1"] {
        let answer = format!(r#"{{"from": {{"key": "{key}"}}}}"#);
        assert_eq!(read(&catalog, "link", &answer), Answer::Unreadable, "{key}");
    }
}

#[test]
fn a_search_that_finds_nothing_is_an_answer() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    assert_eq!(read(&catalog, "search", r#"{"results": []}"#), Answer::Nowhere);
    for unreadable in [r#"{"results": null}"#, r#"{"results": [{}]}"#, "{}"] {
        assert_eq!(read(&catalog, "search", unreadable), Answer::Unreadable, "{unreadable}");
    }
}

#[test]
fn a_thing_in_a_thing_is_asked_about_next() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let then = |name: &str, body: &str| match read(&catalog, name, body) {
        Answer::Then { lookup: LookupId(id), thing } => (catalog.lookups[usize::from(id)].name.clone(), thing),
        other => panic!("{other:?}"),
    };
    assert_eq!(then("note", r#"{"pageId": 7, "spaceKey": "ENG"}"#), ("page".into(), "7".into()));
    assert_eq!(then("note", r#"{"pageId": null, "spaceKey": "ENG"}"#), ("space".into(), "ENG".into()));
}

#[test]
fn operations_say_which_answers_they_change() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let changes = &operation(&catalog, "movePage").changes;
    let of = |name: &str| changes.iter().find(|one| catalog.lookups[usize::from(one.lookup.0)].name == name.into());
    assert_eq!(changes.len(), 2);
    assert_eq!((of("page").unwrap().lookup, &of("page").unwrap().named_at), (LookupId(1), &None), "any of them");
    assert_eq!(of("issue").unwrap().named_at, Some(PlaceAt::Path(0)), "the one that it names");
    assert!(operation(&catalog, "getPage").changes.is_empty());
}

#[test]
fn an_error_says_what_the_catalog_says_that_it_means_and_else_nothing() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let said = |body: &str| read(&catalog, "room", body);
    let error = |word: &str| said(&format!(r#"{{"ok": false, "error": {word}}}"#));
    for (word, means) in [
        (r#""no_room""#, Answer::Nowhere),
        (r#""not_yours""#, Answer::Hidden),
        (r#""slower""#, Answer::TooMany),
        (r#""who_is_this""#, Answer::Dead),
        (r#""missing_scope""#, Answer::Unreadable),
        (r#""internal_error""#, Answer::Unreadable),
        (r#""""#, Answer::Unreadable),
        ("7", Answer::Unreadable),
        (r#"["no_room"]"#, Answer::Unreadable),
        ("null", Answer::Unreadable),
    ] {
        assert_eq!(error(word), means, "{word}");
    }
    assert_eq!(said(r#"{"ok": false}"#), Answer::Unreadable);
    assert_eq!(said(r#"{"ok": "false", "error": "no_room"}"#), Answer::Unreadable);
    assert_eq!(said(r#"{"ok": false, "error": "no_room", "err\u006fr": "slower"}"#), Answer::Unreadable);
}

#[test]
fn the_identity_of_a_thing_is_its_name_or_stands_in_the_answer() {
    let catalog = parsed(LOOKUPS).expect("a catalog");
    let issue = lookup(&catalog, "issue");
    assert!(issue.is_identity("7") && !issue.is_identity("AB-7") && !lookup(&catalog, "page").is_identity("7"));
    assert_eq!(issue.identity_in(br#"{"id": "7", "space": "1"}"#).as_deref(), Some("7"));
    assert_eq!(issue.identity_in(br#"{"id": 7}"#).as_deref(), Some("7"));
    for body in [&br#"{"id": "AB-7"}"#[..], br#"{"id": ["7"]}"#, b"{}", b"no JSON"] {
        assert_eq!(issue.identity_in(body), None);
    }
}

#[test]
fn a_declaration_that_cannot_be_meant_is_an_error() {
    let with = |from: &str, to: &str| {
        assert!(LOOKUPS.contains(from), "{from}");
        parsed(&LOOKUPS.replace(from, to)).expect_err(to).join("; ")
    };
    for (from, to, said) in [
        ("GET /spaces/{id}", "POST /spaces/{id}", "a look-up asks `GET /path?query`"),
        ("GET /spaces/{id}", "GET /spaces/7", "with `{id}` in it once"),
        ("GET /spaces/{id}", "GET /spaces/{id}/{id}", "with `{id}` in it once"),
        ("GET /spaces/{id}", "GET /spaces/{key}", "`{key}`"),
        ("GET /spaces/{id}", "GET /rooms/{id}", "is no operation of this product"),
        ("answer: [{id: /spaceId}]", "answer: []", "has one of `answer` and `then`"),
        ("answer: [{id: /spaceId}]", "answer: [{id: /spaceId}], then: [{lookup: space, at: /s}]", "has one of"),
        ("answer: [{id: /spaceId}]", "answer: [{}]", "says where the `id` or the `key`"),
        ("answer: [{id: /spaceId}]", "answer: [{id: spaceId}]", "is not a JSON pointer"),
        ("answer: [{id: /spaceId}]", "answer: [{id: '/a/*/b/*'}]", "one list is looked through"),
        ("answer: [{id: /spaceId}]", "answer: [{id: '/a/*', key: /b}]", "one list is looked through"),
        ("kind: room", "kind: house", "no container is called `house`"),
        ("lookup: page, at: /pageId", "lookup: pagge, at: /pageId", "no look-up is called `pagge`"),
        ("lookup: page, at: /pageId", "lookup: room, at: /pageId", "tells of another kind of container"),
        ("lookup: page, at: /pageId", "lookup: note, at: /pageId", "does not end after 3"),
        ("written: '.*'", "written: '('", "pattern `(`"),
        (" changed_by: [movePage]", " changed_by: [movePagge]", "no operation is called `movePagge`"),
        ("operations: [movePage]", "operations: [movePagge]", "no operation is called `movePagge`"),
        ("operations: [movePage], path: id", "operations: [movePage], path: key", "has no parameter `key`"),
        ("operations: [movePage], path: id", "operations: [movePage]", "has exactly one of `path` and `argument`"),
        ("operations: [movePage], path: id", "operations: [movePage], path: id, argument: id", "has exactly one of"),
        ("identity: {written: '[0-9]+', at: /id}, ", "", "needs an `identity`"),
        ("identity: {written: '[0-9]+', at: /id}", "identity: {written: '[0-9]+'}", "may have another name"),
        ("identity: {written: '[0-9]+', at: /id}", "identity: {written: '[0-9]+', at: id}", "is not a JSON pointer"),
        ("ok: /ok, ", "", "has `ok` and `errors`, or neither"),
        (
            "errors: {at: /error, none: [no_room], hidden: [not_yours], too_many: [slower], dead: [who_is_this]}, ",
            "",
            "has `ok` and `errors`, or neither",
        ),
        ("hidden: [not_yours]", "hidden: [no_room]", "the error `no_room` means two things"),
        ("lookup: note, why: w", "lookup: note, why: ' '", "needs a reason"),
        ("lookup: page, why: w", "lookup: space, why: w", "look-up `space` is written twice"),
        ("means: [im]", "means: [am]", "no variant is called `am`"),
    ] {
        let message = with(from, to);
        assert!(message.contains(said), "{to}: {message}");
    }
    let text = CATALOG.replace("path: id, lookup: page", "path: id, lookup: room");
    let text = format!("{text}{LOOKUPS}");
    let problems = Catalog::parse(Source { path: Path::new("w.yaml"), text: &text }, None).expect_err("another kind");
    assert!(problems[0].message.contains("tells of a room, not of a space"), "{problems:?}");
}
