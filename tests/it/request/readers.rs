//! B03, B06: generated documents. One that is accepted means the same to a reader that lets the first of two equal keys
//! win and to one that lets the last; one without such a pair is accepted; no depth takes the stack.

use std::cell::Cell;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scopegate::authz::request::json::{DEPTH_MAX, Value};
use scopegate::authz::request::parse_body;

use super::*;

/// Keys and texts: as they are meant, and one way to spell each.
const SPELLED: [(&str, &str); 13] = [
    ("a", "a"),
    ("a", "\\u0061"),
    ("b", "b"),
    ("A", "A"),
    ("key", "key"),
    ("key", "k\\u0065y"),
    ("/", "/"),
    ("/", "\\/"),
    ("", ""),
    ("\u{1f600}", "\u{1f600}"),
    ("\u{1f600}", "\\ud83d\\ude00"),
    ("\"\n", "\\\"\\n"),
    ("\"\n", "\\u0022\\u000A"),
];

/// A document as its writer meant it. Numbers of keys and texts are those of [`SPELLED`].
#[derive(Debug, Clone)]
enum Meant {
    Null,
    Number(u32),
    Text(usize),
    List(Vec<Meant>),
    Object(Vec<(usize, Meant)>),
}

fn document() -> impl Strategy<Value = Meant> {
    let key = 0..SPELLED.len();
    let leaf = prop_oneof![Just(Meant::Null), any::<u32>().prop_map(Meant::Number), key.clone().prop_map(Meant::Text)];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Meant::List),
            3 => proptest::collection::vec((key.clone(), inner), 0..4).prop_map(Meant::Object),
        ]
    })
}

/// The document as text, with this white space wherever some may stand.
fn written(meant: &Meant, space: &str) -> String {
    let joined = |items: Vec<String>| items.join(&format!("{space},{space}"));
    match meant {
        Meant::Null => "null".to_owned(),
        Meant::Number(number) => number.to_string(),
        Meant::Text(number) => format!("\"{}\"", SPELLED[*number].1),
        Meant::List(items) => {
            format!("[{space}{}{space}]", joined(items.iter().map(|item| written(item, space)).collect()))
        }
        Meant::Object(members) => {
            let member = |(key, value): &(usize, Meant)| {
                format!("\"{}\"{space}:{space}{}", SPELLED[*key].1, written(value, space))
            };
            format!("{{{space}{}{space}}}", joined(members.iter().map(member).collect()))
        }
    }
}

/// What a reader makes of the document that lets the first of two equal keys win, or the last.
fn read(meant: &Meant, last_wins: bool) -> serde_json::Value {
    match meant {
        Meant::Null => serde_json::Value::Null,
        Meant::Number(number) => (*number).into(),
        Meant::Text(number) => SPELLED[*number].0.into(),
        Meant::List(items) => items.iter().map(|item| read(item, last_wins)).collect(),
        Meant::Object(members) => {
            let mut object = serde_json::Map::new();
            for (key, value) in members {
                let key = SPELLED[*key].0;
                if last_wins || !object.contains_key(key) {
                    object.insert(key.to_owned(), read(value, last_wins));
                }
            }
            object.into()
        }
    }
}

/// Whether some object holds a key twice, however it is spelled.
fn has_twins(meant: &Meant) -> bool {
    match meant {
        Meant::Null | Meant::Number(_) | Meant::Text(_) => false,
        Meant::List(items) => items.iter().any(has_twins),
        Meant::Object(members) => {
            let mut keys: Vec<&str> = members.iter().map(|(key, _)| SPELLED[*key].0).collect();
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair[0] == pair[1]) || members.iter().any(|(_, value)| has_twins(value))
        }
    }
}

/// What the gate made of a document, to be compared.
fn plain(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(is) => (*is).into(),
        Value::Whole(number) => (*number).into(),
        Value::OtherNumber => "a number of no value".into(),
        Value::Text(text) => (&**text).into(),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.to_owned(), plain(value))).collect(),
    }
}

fn accepted(body: &str) -> Option<serde_json::Value> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    match parse_body(&headers, body.as_bytes()) {
        Ok(BodyFacts::Json(value)) => Some(plain(&value)),
        Ok(BodyFacts::NotHeld | BodyFacts::Empty | BodyFacts::Form(_) | BodyFacts::Multipart(_)) | Err(_) => None,
    }
}

#[test]
fn an_accepted_document_means_the_same_whichever_of_two_equal_keys_wins() {
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let spaces = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
    TestRunner::new(Config { cases: 3_000, ..Config::default() })
        .run(&(document(), spaces), |(meant, space)| {
            let text = written(&meant, space);
            match accepted(&text) {
                Some(read_here) => {
                    prop_assert_eq!(&read_here, &read(&meant, false), "the first wins in {}", text);
                    prop_assert_eq!(&read_here, &read(&meant, true), "the last wins in {}", text);
                    prop_assert!(!has_twins(&meant), "{} holds a key twice", text);
                    taken.set(taken.get() + 1);
                }
                None => {
                    prop_assert!(has_twins(&meant), "{} is refused", text);
                    refused.set(refused.get() + 1);
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(taken.get() > 300 && refused.get() > 300, "{} taken, {} refused", taken.get(), refused.get());
}

/// What goes one level down, and what comes up again.
const LEVELS: [(&str, &str); 6] = [
    ("[", "]"),
    ("{\"a\":", "}"),
    ("[0,", ",0]"),
    ("{\"b\":\"}\",\"\\u0061\":", "}"),
    ("\n[ [],", "]"),
    ("{ \"a\" : ", "}"),
];

/// A quarter of what a thread of the gate has.
const STACK_BYTES: usize = 512 * 1024;

#[test]
fn no_depth_takes_the_stack() {
    let depths = prop_oneof![1..=80_usize, Just(1_000), Just(100_000)];
    let strategy = (proptest::collection::vec(0..LEVELS.len(), 1..6), depths, any::<bool>());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let run = move || {
        TestRunner::new(Config { cases: 200, ..Config::default() })
            .run(&strategy, |(pattern, depth, closed)| {
                let levels = || pattern.iter().cycle().take(depth).map(|level| LEVELS[*level]);
                let mut text: String = levels().map(|(open, _)| open).collect();
                if closed {
                    text.push_str("null");
                    let closers: Vec<&str> = levels().map(|(_, close)| close).collect();
                    text.extend(closers.into_iter().rev());
                }
                // The innermost level may hold one more beside what goes on.
                let last = levels().last().map_or("", |(open, _)| open);
                let deepest = depth + usize::from(last.ends_with("[],"));
                let fits = closed && deepest <= usize::from(DEPTH_MAX);
                prop_assert_eq!(accepted(&text).is_some(), fits, "{} levels", deepest);
                Ok(())
            })
            .unwrap();
    };
    thread.spawn(run).unwrap().join().expect("the stack suffices");
}
