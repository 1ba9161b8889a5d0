//! What is found in answers, beside a reader of the whole.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::authz::request::json::{self, Value as Strict};

fn names(pointer: &str) -> Box<[Box<str>]> {
    pointer.split('/').skip(1).map(Box::from).collect()
}

/// What is found in a text that comes in these pieces; `Err`: it is spoilt.
fn read(pointer: &str, pieces: &[&[u8]]) -> Result<Option<String>, ()> {
    let mut reader = Reader::new(&names(pointer), 256);
    pieces.iter().for_each(|piece| reader.take(piece));
    if reader.is_spoilt() { Err(()) } else { Ok(reader.found().map(str::to_owned)) }
}

/// The same, however it is cut.
#[track_caller]
fn found(pointer: &str, text: &str) -> Result<Option<String>, ()> {
    let whole = read(pointer, &[text.as_bytes()]);
    for size in [1, 2, 3, 7] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        assert_eq!(read(pointer, &pieces), whole, "{text} in pieces of {size}");
    }
    whole
}

#[test]
fn a_member_is_found_as_text_and_as_a_whole_number() {
    for (pointer, text, id) in [
        ("/taskId", r#"{"taskId":"10641"}"#, "10641"),
        ("/taskId", r#"{"taskId":10641}"#, "10641"),
        ("/taskId", " \r\n{ \"a\" : [ {} , 1.5e3 , null ] , \"taskId\" : 0 } \n", "0"),
        (
            "/task/id",
            r#"{"id":"5","task":{"self":"https://x/task/1","id":"1","result":{"id":"9","task":{"id":"8"}}}}"#,
            "1",
        ),
        ("/task/id", r#"{"other":{"task":{"id":"4"}},"task":{"a":{"id":"3"},"id":"1"}}"#, "1"),
        ("/task\u{7e}1id", r#"{"task~1id":"7"}"#, "7"),
        ("", r#""https://x.test/rest/api/3/task/1010""#, "https://x.test/rest/api/3/task/1010"),
        ("/taskId", r#"{"task\u0049d":"10\u00364\/1"}"#, "1064/1"),
        ("/taskId", r#"{"x":"\"taskId\":\"6\"","taskId":"7"}"#, "7"),
        ("/taskId", r#"{"x":"a\\","taskId":"7","y":"\\\""}"#, "7"),
        ("/a b", r#"{"a b":"7"}"#, "7"),
    ] {
        assert_eq!(found(pointer, text), Ok(Some(id.to_owned())), "{text}");
    }
}

#[test]
fn what_is_no_id_is_none_and_spoils_nothing() {
    for (pointer, text) in [
        ("/taskId", r#"{"taskId":null}"#),
        ("/taskId", r#"{"taskId":true}"#),
        ("/taskId", r#"{"taskId":""}"#),
        ("/taskId", r#"{"taskId":-7}"#),
        ("/taskId", r#"{"taskId":1.0}"#),
        ("/taskId", r#"{"taskId":1e3}"#),
        ("/taskId", r#"{"taskId":007}"#),
        ("/taskId", r#"{"taskId":["7"]}"#),
        ("/taskId", r#"{"taskId":{"id":"7"}}"#),
        ("/taskId", r#"{"taskid":"7","TASKID":"8","taskId ":"9"}"#),
        ("/taskId", r#"{"taskId":"sieben\n"}"#),
        ("/taskId", r#"{"taskId":"sieben\u0000"}"#),
        ("/taskId", "{\"taskId\":\"s\u{fc}d\"}"),
        ("/taskId", r#"{"taskId":"\u00fc"}"#),
        ("/taskId", "{}"),
        ("/taskId", "[]"),
        ("/taskId", r#"[{"taskId":"7"}]"#),
        ("/taskId", r#""taskId""#),
        ("/taskId", "7"),
        ("/taskId", ""),
        ("/task/id", r#"{"task":"id","id":"7"}"#),
        ("/task/id", r#"{"task":[{"id":"7"}]}"#),
        ("/task/id", r#"{"task":{}}"#),
        ("", r#"{"id":"7"}"#),
        ("", r#"["7"]"#),
    ] {
        assert_eq!(found(pointer, text), Ok(None), "{text}");
    }
}

#[test]
fn what_two_readers_would_read_as_two_things_is_spoilt() {
    for (pointer, text) in [
        ("/taskId", r#"{"taskId":"7","taskId":"8"}"#),
        ("/taskId", r#"{"taskId":"7","task\u0049d":"7"}"#),
        ("/taskId", r#"{"taskId":"7","x":{"taskId":"1"},"taskId":null}"#),
        ("/task/id", r#"{"task":{"id":"7"},"task":{}}"#),
        ("/task/id", r#"{"task":{"id":"7"},"x":1,"t\u0061sk":9}"#),
        ("/task/id", r#"{"task":{"id":"7","id":"8"}}"#),
        ("/taskId", r#"{"taskId":"7"}{"taskId":"8"}"#),
        ("/taskId", r#"{"taskId":"7"}x"#),
        ("/taskId", r#"{"taskId":"7"}}"#),
        ("", r#""7""8""#),
        ("/taskId", "\u{feff}{\"taskId\":\"7\"}"),
        ("/taskId", r#"{"taskId" "7"}"#),
        ("/taskId", r#"{"taskId":"7",}"#),
        ("/taskId", r#"{taskId:"7"}"#),
        ("/taskId", r#"{'taskId':'7'}"#),
        ("/taskId", r#"{"a":1 "taskId":"7"}"#),
        ("/taskId", r#"{"a":"b" : "taskId":"7"}"#),
        ("/taskId", "<html>"),
    ] {
        assert_eq!(found(pointer, text), Err(()), "{text}");
    }
    let utf16: Vec<u8> = r#"{"taskId":"7"}"#.bytes().flat_map(|byte| [byte, 0]).collect();
    assert_eq!(read("/taskId", &[&utf16]), Err(()));
}

#[test]
fn what_comes_before_a_second_name_is_found_until_that_one_comes() {
    let mut reader = Reader::new(&names("/taskId"), 256);
    reader.take(br#"{"taskId":"7""#);
    assert_eq!((reader.found(), reader.is_spoilt()), (Some("7"), false));
    reader.take(br#","taskId":"8"}"#);
    assert!(reader.is_spoilt());
}

#[test]
fn depth_takes_no_room_and_length_has_an_end() {
    let deep = |open: &str, close: &str| {
        let depth = 100_000;
        format!(r#"{{"x":{}{},"taskId":"7"}}"#, open.repeat(depth), close.repeat(depth))
    };
    assert_eq!(read("/taskId", &[deep("[", "]").as_bytes()]), Ok(Some("7".to_owned())));
    assert_eq!(read("/taskId", &[deep(r#"{"a":"#, "}").replace(":}", ":1}").as_bytes()]), Ok(Some("7".to_owned())));
    let on_the_way = r#"{"taskId":"#.repeat(100_000);
    assert_eq!(read("/taskId", &[on_the_way.as_bytes()]), Ok(None));
    for length in [257, 1 << 10, 1 << 19] {
        let id = "7".repeat(length);
        assert_eq!(read("/taskId", &[format!(r#"{{"taskId":"{id}"}}"#).as_bytes()]), Ok(None));
        assert_eq!(read("/taskId", &[format!(r#"{{"taskId":{id}}}"#).as_bytes()]), Ok(None));
        assert_eq!(
            read("/taskId", &[format!(r#"{{"{id}":1,"taskId":"7"}}"#).as_bytes()]),
            Ok(Some("7".to_owned())),
            "a name that is none of these"
        );
    }
    let id = "7".repeat(256);
    assert_eq!(read("/taskId", &[format!(r#"{{"taskId":"{id}"}}"#).as_bytes()]), Ok(Some(id)));
    let escaped = r"\u0037".repeat(256);
    assert_eq!(read("/taskId", &[format!(r#"{{"taskId":"{escaped}"}}"#).as_bytes()]), Ok(Some("7".repeat(256))));
    let far = format!(r#"{{"x":"{}","taskId":"7"}}"#, "x".repeat(ANSWER_BYTES_MAX));
    assert_eq!(read("/taskId", &[far.as_bytes()]), Err(()));
    let pieces: Vec<&[u8]> = far.as_bytes().chunks(1000).collect();
    assert_eq!(read("/taskId", &pieces), Err(()));
}

/// Documents over few names, so that those on the way come often.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        (-1.0e3..1.0e3f64).prop_map(Value::from),
        "[ -~]{0,6}".prop_map(Value::from),
        "[\"\\\\/{}\\[\\]:,\u{e9}\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let name = proptest::sample::select(&["task", "id", "x", "ta\"sk", ""][..]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..4)
                .prop_map(|all| Value::Object(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

/// What a strict reader of the whole text finds.
fn strictly(pointer: &str, text: &str) -> Option<String> {
    let value = json::parse(text.as_bytes()).ok()?;
    let id = match value.at(pointer).ok()?? {
        Strict::Text(text) => text.to_string(),
        Strict::Whole(number) if !pointer.is_empty() => number.to_string(),
        _ => return None,
    };
    (!id.is_empty() && id.bytes().all(|byte| matches!(byte, b' '..=b'~'))).then_some(id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_a_reader_of_the_whole_finds(
        document in document(), is_pretty in any::<bool>(), size in 1..40usize,
        pointer in proptest::sample::select(&["", "/task", "/task/id", "/id/task/x"][..]),
    ) {
        let text = if is_pretty { format!("{document:#}") } else { document.to_string() };
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        prop_assert_eq!(read(pointer, &pieces), Ok(strictly(pointer, &text)), "{}", text);
    }

    /// What a lenient reader could find in a broken text is never found where another one finds something else.
    #[test]
    fn no_text_makes_it_panic_and_where_it_is_cut_is_no_matter(
        text in "[\"{}\\[\\]:,a-z0-9\\\\ tasktask]{0,60}", size in 1..10usize,
    ) {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        prop_assert_eq!(read("/a", &pieces), read("/a", &[text.as_bytes()]), "{}", text);
    }
}
