//! What a request touches, and which variants it may be.

use proptest::prelude::*;
use scopegate::authz::catalog::container::{locate, needs_body};
use scopegate::authz::catalog::matcher::Parameters;
use scopegate::authz::request::{BadRequest, parse_body};
use scopegate::authz::touch::{CONTAINERS_MAX, ContainerName, Reach};

use super::*;

/// Containers as text, and the variants as bits.
#[derive(Debug, PartialEq)]
struct Read {
    reach: String,
    variants: u8,
}

fn read(gate: &GateRules, operation: &Operation, params: &[&str], query: &str, body: &str) -> Result<Read, BadRequest> {
    let headers = [
        ("host", "gate"),
        ("content-type", if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" }),
    ];
    let parts = parts("POST", &format!("/x?{query}"), &headers).expect("a request");
    let view = RequestView::of(&parts)?;
    let facts = facts(parse_body(&parts.headers, body.as_bytes())?);
    let path = params.iter().map(|value| format!("/{value}")).collect::<String>();
    let touched = locate(gate, operation, &Parameters::of_segments(&path), &view, &facts)?;
    let reach = match &touched.reach {
        Reach::Nothing => "nothing".to_owned(),
        Reach::Tenant => "tenant".to_owned(),
        Reach::Containers(list) => {
            list.as_slice().iter().map(|container| name(&container.name)).collect::<Vec<_>>().join(" ")
        }
    };
    Ok(Read { reach, variants: touched.variants.0 })
}

fn name(name: &ContainerName<'_>) -> String {
    match name {
        ContainerName::Id(text) => format!("id:{text}"),
        ContainerName::Name(text) => format!("name:{text}"),
        ContainerName::Word(text) => format!("word:{text}"),
        ContainerName::Hint(text) => format!("hint:{text}"),
        ContainerName::Prefix(text) => format!("prefix:{text}"),
        ContainerName::Around { thing, .. } => format!("around:{thing}"),
        ContainerName::Found(found) => format!("found:{:?}", found.home),
        ContainerName::Unknown => "unknown".to_owned(),
    }
}

/// Asserts what a value in the path is read as; `None` is a 400.
fn check_path_value(gate: &GateRules, reading: Reading, kind: KindId, value: &str, expected: Option<&str>) {
    let operation = operation(vec![place(kind, PlaceAt::Path(0), reading)], u8::MAX, vec![]);
    let read = read(gate, &operation, &[value], "", "");
    assert_eq!(read.as_ref().map(|read| read.reach.as_str()).ok(), expected, "{value}: {read:?}");
}

fn sceptical() -> GateRules {
    GateRules { issue_keys_prefix: false, names_as_written: false, ..gate() }
}

#[test]
fn a_project_is_an_id_a_name_or_nothing() {
    for (value, read) in [
        ("10001", Some("id:10001")),
        ("PROJ", Some("name:PROJ")),
        ("proj", Some("name:PROJ")),
        ("%50ROJ", Some("name:PROJ")),
    ] {
        check_path_value(&gate(), Reading::Container, PROJECT, value, read);
    }
    for value in ["", "01", "00010001", "+1", "1.0", "PROJ-1", "PROJ,OTHER", "PROJ%20", "-1", "%D9%A1"] {
        check_path_value(&gate(), Reading::Container, PROJECT, value, None);
    }
    check_path_value(&sceptical(), Reading::Container, PROJECT, "proj", Some("hint:PROJ"));
    check_path_value(&sceptical(), Reading::Container, PROJECT, "10001", Some("id:10001"));
}

#[test]
fn an_issue_lies_in_its_project_only_if_the_gate_says_so() {
    for (value, read) in [("SEC-1", Some("name:SEC")), ("sec-1", Some("name:SEC")), ("10001", Some("unknown"))] {
        check_path_value(&gate(), Reading::IssueKey, PROJECT, value, read);
    }
    check_path_value(&sceptical(), Reading::IssueKey, PROJECT, "sec-1", Some("prefix:SEC"));
    for value in ["", "SEC", "SEC-", "-1", "SEC-1-", "SEC--1", "SEC-1x", "1-1", "SEC-1,HR-1", "SEC-+1", "A%2D1%2D"] {
        check_path_value(&gate(), Reading::IssueKey, PROJECT, value, None);
    }
}

#[test]
fn a_conversation_tells_its_type_as_far_as_it_goes() {
    let every = PUBLIC | PRIVATE | IM | MPIM;
    let prefix = GateRules { channel_types_prefix: true, ..gate() };
    let rows = [
        (&gate(), "D024BE7LD", "id:D024BE7LD", IM),
        (&gate(), "C024BE7LD", "id:C024BE7LD", PUBLIC | PRIVATE | MPIM),
        (&gate(), "G024BE7LD", "id:G024BE7LD", PUBLIC | PRIVATE | MPIM),
        (&prefix, "C024BE7LD", "id:C024BE7LD", PUBLIC),
        (&prefix, "G024BE7LD", "id:G024BE7LD", PRIVATE | MPIM),
        (&prefix, "D024BE7LD", "id:D024BE7LD", IM),
        (&gate(), "U0DANA", "unknown", IM),
        (&gate(), "W0DANA", "unknown", IM),
        (&gate(), "general", "name:general", every),
        (&gate(), "%23general", "name:general", every),
        (&sceptical(), "%23general", "hint:general", every),
    ];
    let operation =
        operation(vec![place(CHANNEL, PlaceAt::Argument("channel".into()), Reading::Conversation)], every, vec![]);
    for (gate, value, reach, variants) in rows {
        let expected = Read { reach: reach.to_owned(), variants };
        assert_eq!(read(gate, &operation, &[], &format!("channel={value}"), ""), Ok(expected), "{value}");
    }
    for value in ["", "C", "C024BE7LD,C0", "U0dana", "##general", "@dana", "a b", "X0DANA", "%23"] {
        assert!(read(&gate(), &operation, &[], "", &format!("channel={value}")).is_err(), "{value}");
    }
}

#[test]
fn what_is_known_is_kept_though_no_line_speaks_of_it() {
    let place = || vec![place(CHANNEL, PlaceAt::Argument("channel".into()), Reading::Conversation)];
    let speaks_of = |bits| operation(place(), bits, vec![]);
    let variants = |operation: &Operation, query: &str| read(&gate(), operation, &[], query, "").unwrap().variants;
    assert_eq!(
        variants(&speaks_of(PUBLIC | PRIVATE), "channel=C024BE7LD"),
        PUBLIC | PRIVATE,
        "unknown: what lines speak of"
    );
    assert_eq!(variants(&speaks_of(PUBLIC | PRIVATE), "channel=D024BE7LD"), IM, "known: refused later");
    assert_eq!(variants(&speaks_of(IM), "channel=C024BE7LD"), PUBLIC | PRIVATE | MPIM, "none of them has a line");
    assert_eq!(variants(&speaks_of(PUBLIC | PRIVATE), "channel=general"), PUBLIC | PRIVATE);
    assert_eq!(variants(&speaks_of(u8::MAX), "channel=D024BE7LD"), u8::MAX, "no line is conditional");
}

fn types(list: bool, absent: u8) -> VariantSource {
    let values = [("public_channel", PUBLIC), ("private_channel", PRIVATE), ("im", IM), ("mpim", MPIM)];
    let values = values.map(|(word, bit)| (word.into(), VariantMask(bit)));
    VariantSource { at: PlaceAt::Argument("types".into()), values: values.into(), list, absent: VariantMask(absent) }
}

#[test]
fn an_argument_tells_the_variants_that_are_reached() {
    let mut operation = operation(vec![], PUBLIC | PRIVATE | MPIM, vec![types(true, PUBLIC)]);
    operation.touches = Touches::Tenant { why: "lists".into() };
    let variants = |query: &str| read(&gate(), &operation, &[], query, "").map(|read| read.variants).ok();
    assert_eq!(variants(""), Some(PUBLIC));
    assert_eq!(variants("types=public_channel,private_channel"), Some(PUBLIC | PRIVATE));
    assert_eq!(variants("types=public_channel,im"), Some(PUBLIC | IM), "im has no line, and is refused later");
    assert_eq!(variants("types=public_channel&types=im"), Some(PUBLIC | IM));
    assert_eq!(variants("types=Public_Channel"), Some(PUBLIC | PRIVATE | MPIM), "an unknown word may mean any");
    assert_eq!(variants("types=im,other"), Some(PUBLIC | PRIVATE | IM | MPIM), "what is named stays reached");
    assert_eq!(variants("types[]=im"), None);
    assert_eq!(variants("Types=im"), None);
}

#[test]
fn an_argument_and_a_container_narrow_each_other() {
    let place = place(CHANNEL, PlaceAt::Argument("channel".into()), Reading::Conversation);
    let operation = operation(vec![place], PUBLIC | PRIVATE | IM | MPIM, vec![types(false, u8::MAX)]);
    let variants = |query: &str| read(&gate(), &operation, &[], query, "").map(|read| read.variants).ok();
    assert_eq!(variants("channel=C024BE7LD&types=private_channel"), Some(PRIVATE));
    assert_eq!(variants("channel=C024BE7LD"), Some(PUBLIC | PRIVATE | MPIM));
    assert_eq!(variants("channel=C024BE7LD&types=im"), None, "contradiction");
    assert_eq!(variants("channel=C024BE7LD&types=im&types=mpim"), None, "not a list");
    assert_eq!(variants("channel=C024BE7LD&types=other"), Some(PUBLIC | PRIVATE | MPIM));
    assert_eq!(variants("channel=D024BE7LD&types=other"), Some(IM));
}

#[test]
fn b07_b09_every_container_named_anywhere_is_touched() {
    let operation = operation(
        vec![
            place(PROJECT, PlaceAt::Path(0), Reading::Container),
            place(PROJECT, PlaceAt::Query("projectKey".into()), Reading::Container),
            place(PROJECT, PlaceAt::Body("/project".into()), Reading::Container),
        ],
        u8::MAX,
        vec![],
    );
    let reach = |body: &str| read(&gate(), &operation, &["A1"], "projectKey=B1", body).map(|read| read.reach).ok();
    assert_eq!(reach(r#"{"project":"C1"}"#).as_deref(), Some("name:A1 name:B1 name:C1"));
    assert_eq!(reach(r#"{"project":"a1"}"#).as_deref(), Some("name:A1 name:B1"));
    assert_eq!(reach(r#"{"project":null}"#), None, "absent");
    assert_eq!(reach(""), None, "absent");
    assert_eq!(reach(r#"{"project":["C1"]}"#), None, "not a list");
}

#[test]
fn absence_means_what_the_catalog_says() {
    let with = |absent| {
        let place = Place { absent, ..place(PROJECT, PlaceAt::Query("project".into()), Reading::Container) };
        read(&gate(), &operation(vec![place], u8::MAX, vec![]), &[], "", "").map(|read| read.reach).ok()
    };
    assert_eq!(with(Absent::Deny), None);
    assert_eq!(with(Absent::Tenant).as_deref(), Some("tenant"));
    assert_eq!(with(Absent::Skip).as_deref(), Some("tenant"), "no other place tells");
}

#[test]
fn lists_groups_and_presence() {
    let list = Place { list: true, ..place(CHANNEL, PlaceAt::Argument("channels".into()), Reading::Conversation) };
    let listing = operation(vec![list], u8::MAX, vec![]);
    let reach = |query: &str, body: &str| read(&gate(), &listing, &[], query, body).map(|read| read.reach).ok();
    assert_eq!(reach("channels=C01,C02,C01", "").as_deref(), Some("id:C01 id:C02"));
    assert_eq!(reach("channels=C01&channels=C02", "").as_deref(), Some("id:C01 id:C02"));
    assert_eq!(reach("", r#"{"channels":["C01","D02"]}"#).as_deref(), Some("id:C01 id:D02"));
    for (query, body) in
        [("channels=", ""), ("channels=C01,", ""), ("", r#"{"channels":[]}"#), ("channels=C01", "channels=C01")]
    {
        assert_eq!(reach(query, body), None, "{query} {body}");
    }
    let many: Vec<String> = (0..=CONTAINERS_MAX).map(|index| format!("C{index:04}")).collect();
    assert_eq!(reach("", &format!("channels={}", many.join(","))), None, "too many");

    let at = |pointer: &str| PlaceAt::Body(pointer.into());
    let grouped =
        |pointer| Place { group: Some(0), absent: Absent::Skip, ..place(PROJECT, at(pointer), Reading::Container) };
    let parent_id = Place {
        present_is_tenant: true,
        absent: Absent::Skip,
        ..place(PROJECT, at("/fields/parent/id"), Reading::IssueKey)
    };
    let create =
        operation(vec![grouped("/fields/project/key"), grouped("/fields/project/id"), parent_id], u8::MAX, vec![]);
    let reach = |body: &str| read(&gate(), &create, &[], "", body).map(|read| read.reach).ok();
    assert_eq!(reach(r#"{"fields":{"project":{"key":"PROJ"}}}"#).as_deref(), Some("name:PROJ"));
    assert_eq!(reach(r#"{"fields":{"project":{"id":10001}}}"#).as_deref(), Some("id:10001"));
    assert_eq!(reach(r#"{"fields":{"project":{"key":"PROJ","id":"10001"}}}"#).as_deref(), Some("tenant"));
    assert_eq!(reach(r#"{"fields":{"project":{"key":"PROJ"},"parent":{"id":"7"}}}"#).as_deref(), Some("tenant"));
    assert_eq!(reach(r#"{"fields":{}}"#).as_deref(), Some("tenant"));
    assert_eq!(reach(r#"{"fields":{"project":"PROJ"}}"#), None);
    assert_eq!(reach(r#"{"fields":{"Project":{"key":"PROJ"}}}"#), None);
}

/// A place in the items of a list.
fn in_items(pointer: &str, reading: Reading, absent: Absent) -> Place {
    Place { absent, ..place(PROJECT, PlaceAt::InItems { pointer: pointer.into(), keys: false }, reading) }
}

/// What a JSON body reaches; `None` is a 400.
fn reach_of(places: Vec<Place>, body: &str) -> Option<String> {
    read(&gate(), &operation(places, u8::MAX, vec![]), &[], "", body).map(|read| read.reach).ok()
}

#[test]
fn each_item_of_a_list_tells_by_itself_where_it_reaches() {
    let skip = |pointer, reading| in_items(pointer, reading, Absent::Skip);
    let places = || {
        let grouped = |pointer| Place { group: Some(1), ..skip(pointer, Reading::Container) };
        let by_id =
            Place { present_is_tenant: true, group: Some(2), ..skip("/all/*/fields/parent/id", Reading::IssueKey) };
        vec![
            grouped("/all/*/fields/project/id"),
            grouped("/all/*/fields/project/key"),
            Place { group: Some(2), ..skip("/all/*/fields/parent/key", Reading::IssueKey) },
            by_id,
        ]
    };
    let reach = |items: &str| reach_of(places(), &format!(r#"{{"all":{items}}}"#));
    let a = r#"{"fields":{"project":{"key":"A1"}}}"#;
    assert_eq!(reach(&format!("[{a}]")).as_deref(), Some("name:A1"));
    assert_eq!(reach(&format!(r#"[{a},{{"fields":{{"project":{{"id":7}}}}}}]"#)).as_deref(), Some("name:A1 id:7"));
    assert_eq!(
        reach(&format!(r#"[{a},{{"fields":{{"project":{{"key":"B1"}},"parent":{{"key":"C1-1"}}}}}}]"#)).as_deref(),
        Some("name:A1 name:B1 name:C1")
    );
    // What the first item names says nothing of the second.
    for second in [
        "{}",
        "null",
        r#"{"fields":{}}"#,
        r#"{"fields":null}"#,
        r#"{"fields":{"project":{}}}"#,
        r#"{"fields":{"project":{"key":null}}}"#,
        r#"{"fields":{"project":{"name":"A one"}}}"#,
        r#"{"fields":{"project":{"key":"A1","id":"7"}}}"#,
        r#"{"fields":{"project":{"key":"A1"},"parent":{"id":"7"}}}"#,
    ] {
        let tenant = if second == "null" { None } else { Some("tenant") };
        assert_eq!(reach(&format!("[{a},{second}]")).as_deref(), tenant, "{second}");
        assert_eq!(reach(&format!("[{second},{a}]")).as_deref(), tenant, "{second}");
    }
    for second in [
        r#""A1""#,
        "[]",
        "7",
        r#"{"fields":{"project":"A1"}}"#,
        r#"{"fields":{"project":[{"key":"A1"}]}}"#,
        r#"{"fields":{"project":{"key":["A1"]}}}"#,
        r#"{"Fields":{"project":{"key":"A1"}}}"#,
        r#"{"fields":{"pro\u006aect":{"key":"A1"},"project":{"key":"B1"}}}"#,
        r#"{"fields":{"project":{"key":"A1","KEY":"B1"}}}"#,
        r#"{"fields":{"project":{"key":"A 1"}}}"#,
    ] {
        assert_eq!(reach(&format!("[{a},{second}]")), None, "{second}");
    }
    // Each item's names are its own: two items are no two names of one container.
    assert_eq!(
        reach(&format!(r#"[{a},{a},{{"fields":{{"project":{{"id":"7"}}}}}}]"#)).as_deref(),
        Some("name:A1 id:7")
    );
    // One issue instead of a list of them, and within it another for whoever takes it for an object of issues.
    assert_eq!(reach(r#"{"fields":{"fields":{"project":{"key":"A1"}},"project":{"key":"B1"}}}"#), None);
    assert_eq!(reach(r#"{"Fields":{"fields":{"project":{"key":"A1"}},"project":{"key":"B1"}}}"#), None);
    // Whoever sends an object of issues gets them judged all the same.
    assert_eq!(reach(&format!(r#"{{"0":{a},"1":{{}}}}"#)).as_deref(), Some("tenant"));
    assert_eq!(reach("null").as_deref(), Some("tenant"));
    for list in ["[]", "{}", "7", r#""x""#] {
        assert_eq!(reach(list), None, "{list}");
    }
    assert_eq!(reach_of(places(), "{}").as_deref(), Some("tenant"));
    assert_eq!(reach_of(places(), "").as_deref(), Some("tenant"));
    assert_eq!(reach_of(places(), "all=A1"), None, "a form has no items");
}

#[test]
fn a_list_within_an_item_may_have_to_be_there() {
    let places = |absent| {
        vec![
            place(PROJECT, PlaceAt::Keys("/to".into()), Reading::MoveTarget),
            in_items("/to/*/issues/*", Reading::IssueKey, Absent::Deny),
            in_items("/to/*/from/*/project", Reading::Container, absent),
        ]
    };
    let reach = |body: &str| reach_of(places(Absent::Skip), body);
    assert_eq!(reach(r#"{"to":{"A1,5":{"issues":["B1-1","B1-2"]}}}"#).as_deref(), Some("name:A1 name:B1"));
    assert_eq!(
        reach(r#"{"to":{"A1,5":{"issues":["B1-1"]},"7,5,C1-3":{"issues":["D1-1",9],"from":[{"project":"E1"}]}}}"#)
            .as_deref(),
        Some("name:A1 id:7 name:C1 name:B1 name:D1 unknown name:E1")
    );
    assert_eq!(reach(r#"{"to":{"A1,5":{"issues":["B1-1"],"from":[{}]}}}"#).as_deref(), Some("tenant"));
    for body in [
        r#"{"to":{"A1,5":{}}}"#,
        r#"{"to":{"A1,5":{"issues":["B1-1"]},"C1,5":{"issues":[]}}}"#,
        r#"{"to":{"A1,5":{"issues":["B1-1"]},"C1,5":null}}"#,
        r#"{"to":{"A1,5":{"issues":["B1-1",null]}}}"#,
        r#"{"to":{"A1,5":{"issues":"B1-1"}}}"#,
        r#"{"to":{"A1":{"issues":["B1-1"]}}}"#,
        r#"{"to":{"A1,x":{"issues":["B1-1"]}}}"#,
        r#"{"to":{"A1,5,":{"issues":["B1-1"]}}}"#,
        r#"{"to":{"A1,5,C1-1,D1-1":{"issues":["B1-1"]}}}"#,
        r#"{"to":{" A1,5":{"issues":["B1-1"]}}}"#,
        r#"{"to":{",5":{"issues":["B1-1"]}}}"#,
        r#"{"to":{"A1,5":{"issues":["B1-1"]},"A1,\u0035":{"issues":["B1-1"]}}}"#,
        r#"{"to":[{"issues":["B1-1"]}]}"#,
        r#"{"to":{}}"#,
        r#"{"to":null}"#,
        "{}",
    ] {
        assert_eq!(reach(body), None, "{body}");
    }
    let tenant = |body: &str| reach_of(places(Absent::Tenant), body);
    assert_eq!(tenant(r#"{"to":{"A1,5":{"issues":["B1-1"]}}}"#).as_deref(), Some("tenant"));
    assert_eq!(tenant(r#"{"to":{"A1,5":{"issues":["B1-1"],"from":[]}}}"#).as_deref(), Some("tenant"));
}

#[test]
fn no_more_items_are_read_than_containers_may_be_named() {
    let places = || vec![in_items("/all/*/key", Reading::Container, Absent::Skip)];
    let body = |item: &str, count: usize| format!(r#"{{"all":[{}]}}"#, vec![item; count].join(","));
    assert_eq!(reach_of(places(), &body(r#"{"key":"A1"}"#, CONTAINERS_MAX)).as_deref(), Some("name:A1"));
    assert_eq!(reach_of(places(), &body(r#"{"key":"A1"}"#, CONTAINERS_MAX + 1)), None);
    assert_eq!(reach_of(places(), &body("{}", CONTAINERS_MAX + 1)), None, "though they name nothing");
}

#[test]
fn a_query_is_a_place_like_any_other() {
    let places = |absent| {
        vec![
            Place { absent, ..place(PROJECT, PlaceAt::Query("jql".into()), Reading::Jql) },
            Place { absent: Absent::Skip, ..place(PROJECT, PlaceAt::Body("/jql".into()), Reading::Jql) },
        ]
    };
    let reach = |gate: &GateRules, query: &str, body: &str| {
        read(gate, &operation(places(Absent::Tenant), u8::MAX, vec![]), &[], query, body).map(|read| read.reach).ok()
    };
    for (query, reached) in [
        ("jql=project+%3D+A1", "word:A1"),
        ("jql=project%20in%20(a1,%20b1)", "word:A1 word:B1"),
        ("jql=project=10001", "word:10001"),
        ("jql=key=A1-7+AND+status+%3D+Open", "name:A1"),
        ("jql=project=A1+ORDER+BY+created", "word:A1"),
        ("jql=project=%22A1%22", "word:A1"),
        // Names of projects, and numbers that may be one's name.
        ("jql=project=%22A+1%22", "tenant"),
        ("jql=project=%2210001%22", "tenant"),
        ("jql=project=010001", "tenant"),
        ("jql=project=A-1", "tenant"),
        ("jql=key=A1", "tenant"),
        ("jql=project=A1+OR+status=x", "tenant"),
        ("jql=", "tenant"),
        ("jql", "tenant"),
        ("", "tenant"),
        // Two readers could decode it to two queries: it reaches what the longest of them would.
        ("jql=project=A1%26x", "tenant"),
        ("jql=project=A1;x", "tenant"),
        ("jql=project=A1%253D", "tenant"),
        ("jql=project=A1%0AOR+project=B1", "tenant"),
        ("jql=project=A1%ff", "tenant"),
    ] {
        assert_eq!(reach(&gate(), query, "").as_deref(), Some(reached), "{query}");
    }
    for query in [
        "jql=project=A1&jql=project=A1",
        "JQL=project=A1",
        "jql=project=A1&Jql=project=B1",
        "jql%5B%5D=project=A1",
        "x=1;jql=project=A1",
    ] {
        assert_eq!(reach(&gate(), query, ""), None, "{query}");
    }
    let both = reach(&gate(), "jql=project=A1", r#"{"jql":"project = B1"}"#);
    assert_eq!(both.as_deref(), Some("word:A1 word:B1"), "whichever the product reads");
    assert_eq!(reach(&gate(), "jql=project=A1", r#"{"jql":"x"}"#).as_deref(), Some("tenant"));
    assert_eq!(reach(&gate(), "jql=project=A1", r#"{"jql":["project = A1"]}"#), None);
    assert_eq!(reach(&gate(), "jql=project=A1", r#"{"jql":{}}"#), None);
    // However many are named, it is a query all the same.
    let keys = |count: usize| (1..=count).map(|number| format!("A1-{number}")).collect::<Vec<_>>().join(",");
    let body = |count: usize| format!(r#"{{"jql":"key in ({})"}}"#, keys(count));
    assert_eq!(reach(&gate(), "jql=project=A1", &body(CONTAINERS_MAX - 1)).as_deref(), Some("word:A1 name:A1"));
    assert_eq!(reach(&gate(), "jql=project=A1", &body(CONTAINERS_MAX)).as_deref(), Some("tenant"));
    assert_eq!(reach(&gate(), "jql=project=A1", &body(CONTAINERS_MAX + 1)).as_deref(), Some("tenant"));
    // Without the opt-out no word of a query proves anything.
    assert_eq!(reach(&sceptical(), "jql=project=A1", "").as_deref(), Some("hint:A1"));
    assert_eq!(reach(&sceptical(), "jql=project=10001", "").as_deref(), Some("hint:10001"));
    assert_eq!(reach(&sceptical(), "jql=key=A1-1", "").as_deref(), Some("prefix:A1"));
}

#[test]
fn a_header_that_decides_has_one_spelling_and_stays() {
    let operation = operation(
        vec![place(PROJECT, PlaceAt::Header(HeaderName::from_static("x-project")), Reading::Container)],
        u8::MAX,
        vec![],
    );
    let reach = |headers: &[(&str, &str)]| {
        let parts = parts("GET", "/x", &[&[("host", "gate")], headers].concat()).unwrap();
        let view = RequestView::of(&parts).unwrap();
        locate(&gate(), &operation, &Parameters::default(), &view, &facts(BodyFacts::Empty)).is_ok()
    };
    assert!(reach(&[("x-project", "PROJ")]));
    assert!(!reach(&[("x-project", "PROJ"), ("x-project", "PROJ")]));
    assert!(!reach(&[("x-project", "PROJ"), ("x_project", "SEC")]));
    assert!(!reach(&[("x-project", "PROJ"), ("connection", "close, X-Project")]));
    assert!(!reach(&[]));
}

#[test]
fn a_body_that_decides_must_have_been_read() {
    let operation =
        operation(vec![place(PROJECT, PlaceAt::Body("/project".into()), Reading::Container)], u8::MAX, vec![]);
    let parts = get("/x").unwrap();
    let view = RequestView::of(&parts).unwrap();
    assert!(locate(&gate(), &operation, &Parameters::default(), &view, &facts(BodyFacts::NotHeld)).is_err());
    assert!(needs_body(&gate(), None, &view), "a token may stand in it");
}

// ---- the items of lists, read again by a naive reader of the documents ----

/// The places that both read: two names of one project, an issue that only a look-up could place, a list in the item.
fn places_in_items(absent: Absent) -> Vec<Place> {
    let skip = |pointer, reading| in_items(pointer, reading, Absent::Skip);
    vec![
        Place { group: Some(1), ..skip("/all/*/p/key", Reading::Container) },
        Place { group: Some(1), ..skip("/all/*/p/id", Reading::Container) },
        Place { present_is_tenant: true, ..skip("/all/*/up", Reading::IssueKey) },
        in_items("/all/*/more/*", Reading::IssueKey, absent),
    ]
}

/// Where a document reaches by the words of the rule. `Err`: it can be read in two ways, or lacks what must be there.
fn naive(document: &serde_json::Value, absent: Absent) -> Result<String, ()> {
    let (mut named, mut tenant) = (Vec::new(), false);
    let lacking = |tenant: &mut bool| match absent {
        Absent::Deny => Err(()),
        Absent::Tenant => {
            *tenant = true;
            Ok(())
        }
        Absent::Skip => Ok(()),
    };
    match member(document, "all")? {
        None => lacking(&mut tenant)?,
        Some(all) => {
            for item in items(all)? {
                let before = named.len();
                let mut other = false;
                let (mut key, mut id) = (None, None);
                if let Some(project) = member(item, "p")? {
                    key = member(project, "key")?.map(project_name).transpose()?;
                    id = member(project, "id")?.map(project_name).transpose()?;
                }
                tenant |= key.is_some() && id.is_some();
                named.extend(key.into_iter().chain(id));
                if member(item, "up")?.is_some() {
                    (tenant, other) = (true, true);
                }
                match member(item, "more")? {
                    None => lacking(&mut tenant)?,
                    Some(more) => match items(more) {
                        Err(()) if absent == Absent::Tenant && is_empty(more) => (tenant, other) = (true, true),
                        Err(()) => return Err(()),
                        Ok(more) => {
                            for issue in more {
                                match issue {
                                    serde_json::Value::Null if absent == Absent::Deny => return Err(()),
                                    serde_json::Value::Null => tenant = true,
                                    _ => named.push(issue_name(issue)?),
                                }
                            }
                            other = true;
                        }
                    },
                }
                tenant |= named.len() == before && !other;
            }
        }
    }
    named.sort();
    named.dedup();
    Ok(if tenant || named.is_empty() { "tenant".to_owned() } else { named.join(" ") })
}

fn member<'v>(value: &'v serde_json::Value, name: &str) -> Result<Option<&'v serde_json::Value>, ()> {
    Ok(value.as_object().ok_or(())?.get(name).filter(|member| !member.is_null()))
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn items(value: &serde_json::Value) -> Result<Vec<&serde_json::Value>, ()> {
    let items: Vec<_> = match value {
        serde_json::Value::Array(items) => items.iter().collect(),
        serde_json::Value::Object(members) => members.iter().map(|(_, member)| member).collect(),
        _ => return Err(()),
    };
    if items.is_empty() { Err(()) } else { Ok(items) }
}

fn text(value: &serde_json::Value) -> Result<String, ()> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string())).ok_or(())
}

fn project_name(value: &serde_json::Value) -> Result<String, ()> {
    match text(value)? {
        id if id.bytes().all(|byte| byte.is_ascii_digit()) && !id.is_empty() => Ok(format!("id:{id}")),
        key if key.len() > 1 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(format!("name:{}", key.to_uppercase()))
        }
        _ => Err(()),
    }
}

fn issue_name(value: &serde_json::Value) -> Result<String, ()> {
    match text(value)?.split_once('-') {
        Some((project, number)) if project.len() > 1 && number.parse::<u32>().is_ok() => Ok(format!("name:{project}")),
        Some(_) => Err(()),
        None if text(value)?.parse::<u32>().is_ok() => Ok("unknown".to_owned()),
        None => Err(()),
    }
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
    let one_of =
        move |texts: &[&str]| proptest::sample::select(texts.iter().map(|text| value(text)).collect::<Vec<_>>());
    let project = one_of(&["\"A1\"", "\"b1\"", "7", "\"7\"", "null", "[\"A1\"]", "{}", "\"A 1\""]);
    let issue = one_of(&["\"A1-1\"", "\"B1-2\"", "\"9\"", "9", "null", "\"A1-1\"", "\"C1-3\"", "[]", "\"x\""]);
    let many = |one: BoxedStrategy<serde_json::Value>| {
        let list = proptest::collection::vec(one.clone(), 0..3).prop_map(serde_json::Value::from);
        let object = proptest::collection::vec(one, 0..3).prop_map(|all| {
            let members = all.into_iter().enumerate().map(|(index, one)| (format!("k{index}"), one));
            serde_json::Value::Object(members.collect())
        });
        prop_oneof![4 => list, 1 => object].boxed()
    };
    let odd = one_of(&["null", "\"A1\"", "7", "true"]);
    let of = |members: Vec<(&'static str, Option<serde_json::Value>)>| {
        let members = members.into_iter().filter_map(|(name, member)| Some((name.to_owned(), member?)));
        serde_json::Value::Object(members.collect())
    };
    let option = |one: BoxedStrategy<serde_json::Value>| proptest::option::weighted(0.6, one);
    let projects = (option(project.clone().boxed()), proptest::option::weighted(0.2, project))
        .prop_map(move |(key, id)| of(vec![("key", key), ("id", id)]));
    let projects = prop_oneof![12 => projects, 1 => odd.clone()].boxed();
    let up = proptest::option::weighted(0.1, one_of(&["\"A1-1\"", "{}", "null"]));
    let more = option(prop_oneof![12 => many(issue.boxed()), 1 => odd.clone()].boxed());
    let item =
        (option(projects), up, more).prop_map(move |(p, up, more)| of(vec![("p", p), ("up", up), ("more", more)]));
    let item = prop_oneof![12 => item, 1 => odd.clone()].boxed();
    let all = option(prop_oneof![12 => many(item), 1 => odd].boxed());
    all.prop_map(move |all| of(vec![("all", all)]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn items_reach_where_a_naive_reader_of_the_document_says(
        document in document(), absent in proptest::sample::select(&[Absent::Deny, Absent::Tenant, Absent::Skip][..])
    ) {
        let reached = reach_of(places_in_items(absent), &document.to_string()).map(|reach| {
            let mut names: Vec<&str> = reach.split(' ').collect();
            names.sort_unstable();
            names.dedup();
            names.join(" ")
        });
        prop_assert_eq!(reached, naive(&document, absent).ok(), "{}", document);
    }
}
