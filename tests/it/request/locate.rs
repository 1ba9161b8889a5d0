//! What a request touches, and which variants it may be.

use scopegate::authz::catalog::container::{locate, needs_body};
use scopegate::authz::catalog::matcher::Parameters;
use scopegate::authz::request::{BadRequest, parse_body};
use scopegate::authz::touch::{ContainerName, Reach};

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
        ContainerName::Hint(text) => format!("hint:{text}"),
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
    check_path_value(&sceptical(), Reading::IssueKey, PROJECT, "sec-1", Some("hint:SEC"));
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
    let many: Vec<String> = (0..1_001).map(|index| format!("C{index:04}")).collect();
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
    assert!(needs_body(&gate(), None), "a token may stand in it");
}
