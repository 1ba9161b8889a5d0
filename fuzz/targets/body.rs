//! A body under arbitrary headers: what is accepted holds each key and field once, and whatever stands in it is found
//! there.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::{Corpus, fuzz_target};
use scopegate::authz::request::json::Value;
use scopegate::authz::request::multipart::Fields;
use scopegate::authz::request::query::Pairs;
use scopegate::authz::request::{BodyFacts, Found, parse_body};
use scopegate_fuzz::{headers, split};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let (head, body) = split(bytes);
    let Some(headers) = headers(head.split(|byte| *byte == b'\n')) else { return Corpus::Reject };
    match parse_body(&headers, body) {
        Ok(BodyFacts::Json(value)) => {
            let other: serde_json::Value = serde_json::from_slice(body).expect("a lenient reader takes it too");
            // A reader that lets the last of two equal keys win would count one less.
            assert_eq!(count(&value), count_other(&other), "two readers find different documents");
            check_json(&value);
            if let Value::Object(object) = &value {
                for (key, _) in object.iter().take(2) {
                    let twice = with_a_second(body, key);
                    assert!(parse_body(&headers, &twice).is_err(), "{key:?} stands there twice");
                }
            }
        }
        Ok(BodyFacts::Form(pairs)) => check_form(pairs),
        Ok(BodyFacts::Multipart(fields)) => check_fields(&fields),
        Ok(BodyFacts::Empty | BodyFacts::NotHeld) => assert!(body.is_empty(), "a body was taken for none"),
        Err(_) => {}
    }
    Corpus::Keep
});

fn count(value: &Value<'_>) -> usize {
    1 + match value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Object(object) => object.iter().map(|(_, member)| count(member)).sum(),
        _ => 0,
    }
}

fn count_other(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(items) => items.iter().map(count_other).sum(),
        serde_json::Value::Object(object) => object.values().map(count_other).sum(),
        _ => 0,
    }
}

/// A member that stands there is found, or its neighbour in another spelling refuses it; it is never absent.
fn check_json(value: &Value<'_>) {
    match value {
        Value::List(items) => items.iter().for_each(check_json),
        Value::Object(object) => {
            for (key, member) in object.iter() {
                if let Ok(found) = object.member(key) {
                    assert_eq!(found, Some(member), "{key:?} is not found");
                }
                check_json(member);
            }
        }
        _ => {}
    }
}

/// The object with one more member behind its last: the same key, its characters written as escapes.
fn with_a_second(body: &[u8], key: &str) -> Vec<u8> {
    let open = body.trim_ascii_end().strip_suffix(b"}").expect("an object ends in a brace");
    let escaped: String = key.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    [open, format!(",\"{escaped}\":null}}").as_bytes()].concat()
}

/// A field that stands there is found with its text, or refused; no name stands there twice.
fn check_fields(fields: &Fields<'_>) {
    let mut names: Vec<&str> = Vec::new();
    for (name, text) in fields.iter() {
        assert!(!names.contains(&name), "{name} stands there twice");
        names.push(name);
        if let Ok(found) = fields.find(name) {
            assert_eq!(found, Found::One(text.into()), "{name} is not found");
        }
    }
}

fn check_form(pairs: Pairs<'_>) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (name, _) in pairs.iter() {
        *times.entry(name).or_default() += 1;
    }
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    for (name, times) in times.into_iter().filter(|(name, _)| !name.is_empty() && plain(name)) {
        match pairs.find(name) {
            Ok(Found::Absent) => panic!("{name} stands there and is absent"),
            Ok(Found::One(_)) => assert_eq!(times, 1, "{name} stands there {times} times and one value counts"),
            Ok(Found::Many(values)) => assert_eq!(values.len(), times),
            Err(_) => {}
        }
    }
}
