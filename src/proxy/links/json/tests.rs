//! The rewriter against a parser: whatever the document, and wherever it is cut.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::authz::origin::Origin;

const REWRITTEN: [&str; 4] = ["self", "next", "links.*.href", "roles.*"];
const STAYS: [&str; 1] = ["properties"];
const GATE: &str = "https://gate.test:8443";
/// The most that is held of a link: every unit of the longest origin, as long as JSON can write it.
const HELD_MAX: usize = 2_048;

fn rewriter() -> Rewriter {
    let rules = LinkRules::of(REWRITTEN, STAYS).expect("rules");
    let own = Origins::new(Origin::parse("https://acme.test").expect("an origin"), []);
    Rewriter::new(Arc::new(rules), Arc::new(own), GateAddress::new(true, "gate.test:8443"))
}

/// The whole answer, from these pieces of it.
fn rewritten<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<u8>, Unreadable> {
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&rewriter.take(Bytes::copy_from_slice(piece))?);
        assert!(rewriter.held.len() <= HELD_MAX, "{} bytes are held", rewriter.held.len());
        assert!(rewriter.key.written.len() <= KEY_BYTES_MAX && rewriter.levels.len() <= DEPTH_MAX);
    }
    out.extend_from_slice(&rewriter.finish());
    Ok(out)
}

fn whole(text: &str) -> String {
    String::from_utf8(rewritten([text.as_bytes()]).expect("readable")).expect("UTF-8")
}

/// Cut in two at every byte, and into single bytes: always the same.
fn assert_cuts_do_not_matter(text: &[u8]) {
    let expected = rewritten([text]);
    for cut in 0..=text.len() {
        let (one, other) = text.split_at(cut);
        assert_eq!(rewritten([one, other]), expected, "cut at {cut} of {}", String::from_utf8_lossy(text));
    }
    assert_eq!(rewritten(text.chunks(1)), expected, "{}", String::from_utf8_lossy(text));
}

#[test]
fn named_members_that_name_the_product_name_the_gate() {
    for (text, expected) in [
        (r#"{"self":"https://acme.test/1"}"#, r#"{"self":"https://gate.test:8443/1"}"#),
        (r#"{"self":"https:\/\/acme.test\/1"}"#, r#"{"self":"https://gate.test:8443\/1"}"#),
        (r#"{"\u0073elf":"h\u0074tps:\u002f/ACME.test:443?a=\"b"}"#, r#"{"\u0073elf":"https://gate.test:8443?a=\"b"}"#),
        (r#"{"self" : "//acme.test"}"#, r#"{"self" : "https://gate.test:8443"}"#),
        (r#"{"self":"wss://acme.test/s"}"#, r#"{"self":"wss://gate.test:8443/s"}"#),
        (
            r#"[{"a":{"next":["https://acme.test/1",{"self":"https://acme.test/2"}]}}]"#,
            r#"[{"a":{"next":["https://gate.test:8443/1",{"self":"https://gate.test:8443/2"}]}}]"#,
        ),
        (
            r#"{"links":{"clone":[{"href":"https://acme.test/a.git"}]}}"#,
            r#"{"links":{"clone":[{"href":"https://gate.test:8443/a.git"}]}}"#,
        ),
    ] {
        assert_eq!(whole(text), expected);
        assert_cuts_do_not_matter(text.as_bytes());
    }
}

#[test]
fn everything_else_passes_byte_for_byte() {
    for text in [
        r#"{"other":"https://acme.test/1"}"#,
        r#"{"self":"https://acme.test.evil/1"}"#,
        r#"{"self":"https://evil/?u=https://acme.test/"}"#,
        r#"{"self":{"other":"https://acme.test/1"}}"#,
        r#"{"https://acme.test/":"self"}"#,
        r#"{"self":1,"other":"https://acme.test/1"}"#,
        r#"{"properties":{"a":{"self":"https://acme.test/1"}}}"#,
        r#"{"href":"https://acme.test/1","links":{"href":"https://acme.test/1"}}"#,
        r#""https://acme.test/1""#,
        "[\"self\",\"https://acme.test/1\"]",
        "{\"a\":\"\\\\\",\"b\":\"\\\"self\\\":\\\"https://acme.test/\"}",
        "",
        " ",
    ] {
        assert_eq!(whole(text), text);
        assert_cuts_do_not_matter(text.as_bytes());
    }
}

#[test]
fn what_is_no_json_passes_as_far_as_it_comes() {
    for text in [
        r#"{"self":"https://acme.te"#,
        r#"{"self":"https://acme.test"#,
        r#"{"self":"\u00"#,
        r#"{"self":"\"#,
        r#"{"self"#,
        r#"{"self":"\u12"}"#,
        "}}}]]]",
        "<html><a href=\"https://acme.test/\">",
        "{'self':'https://acme.test/'}",
        "\u{feff}[1,2",
        "{\"self\":\"https://\u{e4}cme.test/\"}",
    ] {
        assert_eq!(whole(text), text);
        assert_cuts_do_not_matter(text.as_bytes());
    }
    // More than closed brackets: what follows is looked into all the same.
    assert_eq!(whole(r#"]}{"self":"https://acme.test/1"}"#), r#"]}{"self":"https://gate.test:8443/1"}"#);
    let (line, gone) = (r#"{"self":"https://acme.test/1"}"#, r#"{"self":"https://gate.test:8443/1"}"#);
    assert_eq!(whole(&format!("{line}\n{line}\n")), format!("{gone}\n{gone}\n"), "a document a line");
}

#[test]
fn what_cannot_be_looked_into_is_said_to_be_so() {
    let wide = |text: &str, big: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let text = r#"{"self":"https://acme.test/1"}"#;
    for wide in [wide(text, true), wide(text, false), [b"\xff\xfe".to_vec(), wide(text, false)].concat()] {
        assert_eq!(rewritten([wide.as_slice()]), Err(Unreadable::Encoding));
        assert_cuts_do_not_matter(&wide);
    }
}

#[test]
fn what_is_nested_too_deep_passes_and_what_follows_it_is_looked_into() {
    for depth in [DEPTH_MAX - 1, DEPTH_MAX, 5 * DEPTH_MAX] {
        let stored = format!("{}\"],{{\"{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"{{"value":{stored},"self":"https://acme.test/1"}}"#);
        let gone = format!(r#"{{"value":{stored},"self":"https://gate.test:8443/1"}}"#);
        assert_eq!(whole(&text), gone, "{depth}");
    }
}

#[test]
fn a_piece_without_links_is_given_back_as_it_is() {
    let mut rewriter = rewriter();
    let piece = Bytes::from_static(br#"{"a":"https://acme.test/","b":[1,2,3]"#);
    assert_eq!(rewriter.take(piece.clone()).expect("readable").as_ptr(), piece.as_ptr(), "it is not copied");
}

#[test]
fn nothing_grows_with_what_is_sent() {
    let long = "x".repeat(100_000);
    for text in [
        format!(r#"{{"{long}":{{"self":"https://acme.test/{long}"}}}}"#),
        format!(r#"{{"self":"https://{long}"}}"#),
        format!(r#"{{"self":"https://acme.test:{}"}}"#, "0".repeat(100_000)),
        format!(r#"{{"self":"{}"}}"#, r"\u0068".repeat(10_000)),
        format!(r#"{{"{}":1}}"#, r"\u0073".repeat(10_000)),
    ] {
        rewritten(text.as_bytes().chunks(7)).expect("readable");
    }
}

/// A document before it is written: its texts can be written in many ways.
#[derive(Debug, Clone)]
enum Doc {
    Word(&'static str),
    Text(String),
    Array(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

fn text() -> impl Strategy<Value = String> {
    let origin = proptest::sample::select(
        &[
            "https://acme.test",
            "HTTPS://ACME.TEST",
            "http://acme.test",
            "https://acme.test:443",
            "https://acme.test:1",
            "//acme.test",
            "///acme.test",
            "wss://acme.test.",
            "https://acme.testy",
            "https://u@acme.test",
            "https:/",
            "https://gate.test",
            "https",
            "",
        ][..],
    );
    let rest = prop_oneof![
        proptest::sample::select(&["", "/", "/a/b?c=d#e", "?x", "#x", "\\x", "\"", ":", "\u{e4}"][..])
            .prop_map(str::to_owned),
        "[ -~\u{e4}\u{1f600}\\n]{0,8}"
    ];
    (origin, rest).prop_map(|(origin, rest)| format!("{origin}{rest}"))
}

fn doc() -> impl Strategy<Value = Doc> {
    let name = prop_oneof![
        6 => proptest::sample::select(&["self", "next", "links", "href", "roles", "properties", "a", "Self"][..])
            .prop_map(str::to_owned),
        1 => "[ -~\u{e4}]{0,4}",
        1 => Just("x".repeat(NAME_BYTES_MAX + 1)),
    ];
    let word = proptest::sample::select(&["null", "true", "-1.5e3", "0"][..]);
    let leaf = prop_oneof![1 => word.prop_map(Doc::Word), 4 => text().prop_map(Doc::Text)];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Doc::Array),
            3 => proptest::collection::vec((name.clone(), inner), 0..4).prop_map(Doc::Object),
        ]
    })
}

/// Writes a document, with the spaces and escapes that `dice` throws.
fn write(doc: &Doc, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    if dice.next().is_some_and(|die| die < 40) {
        out.push_str(" \n");
    }
    match doc {
        Doc::Word(word) => out.push_str(word),
        Doc::Text(text) => write_text(text, dice, out),
        Doc::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, dice, out);
            }
            out.push(']');
        }
        Doc::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_text(name, dice, out);
                out.push_str(if dice.next().is_some_and(|die| die < 60) { " :" } else { ":" });
                write(value, dice, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let escape = dice.next().is_some_and(|die| die < 30);
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '/' if escape => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            _ if escape => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                out.push_str(&format!("\\u{unit:04X}"));
            }),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// The same on the parsed document, by the words of the format.
fn expected(value: &Value, path: &mut Vec<String>) -> Value {
    match value {
        Value::Object(members) => {
            let mut changed = Map::new();
            for (name, value) in members {
                path.push(name.clone());
                changed.insert(name.clone(), expected(value, path));
                path.pop();
            }
            Value::Object(changed)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| expected(item, path)).collect()),
        Value::String(text) => {
            let ends = |names: &[String], pattern: &str| {
                let wanted: Vec<&str> = pattern.split('.').collect();
                names.len() >= wanted.len()
                    && names[names.len() - wanted.len()..]
                        .iter()
                        .zip(&wanted)
                        .all(|(name, want)| *want == "*" || name == want)
            };
            let stays = (1..=path.len()).any(|length| STAYS.iter().any(|pattern| ends(&path[..length], pattern)));
            let link = !stays && REWRITTEN.iter().any(|pattern| ends(path, pattern));
            Value::String(if link { kept_at_the_gate(text) } else { text.clone() })
        }
        other => other.clone(),
    }
}

/// A link of `https://acme.test`, by another reader of URLs.
fn kept_at_the_gate(text: &str) -> String {
    let Some(slashes) = text.find("//") else { return text.to_owned() };
    let (scheme, rest) = text.split_at(slashes);
    let rest = &rest[2..];
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let own = host == "acme.test"
        && match scheme.as_str() {
            "https:" | "wss:" => ["", "443"].contains(&port),
            "http:" | "ws:" => ["", "80"].contains(&port),
            "" => ["", "80", "443"].contains(&port),
            _ => false,
        };
    let gate = if scheme.starts_with("ws") { GATE.replace("https", "wss") } else { GATE.to_owned() };
    if own { format!("{gate}{rest}") } else { text.to_owned() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn rewriting_the_text_is_rewriting_the_document_wherever_it_is_cut(
        doc in doc(), dice in proptest::collection::vec(any::<u8>(), 1..64)
    ) {
        let mut text = String::new();
        write(&doc, &mut dice.into_iter().cycle(), &mut text);
        let parsed: Value = serde_json::from_str(&text).expect("JSON");
        let changed: Value = serde_json::from_str(&whole(&text)).expect("JSON");
        prop_assert_eq!(changed, expected(&parsed, &mut Vec::new()), "{}", text);
        assert_cuts_do_not_matter(text.as_bytes());
    }

    #[test]
    fn whatever_comes_is_never_changed_but_in_links_of_the_product(
        parts in proptest::collection::vec(proptest::sample::select(&[
            "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "\\u002", "self", "\"self\":", "\"https://acme.test",
            "https://", "acme.test", "/", " ", "\u{e4}", "\n", "x",
        ][..]), 0..24)
    ) {
        let text = parts.concat();
        assert_cuts_do_not_matter(text.as_bytes());
        let out = whole(&text);
        prop_assert_eq!(out.replace(GATE, "https://acme.test"), text);
    }
}
