//! Law 5: what is sent, parsed again by strict and lenient readers, reaches no other operation than the judged one.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Operations of a small API. `{}` takes one segment, literals beat it.
const OPERATIONS: [&str; 8] =
    ["/", "/issue/{}", "/issue/meta", "/issue/{}/comment", "/admin", "/admin/{}", "/{}/secret", "/api/issue/{}"];

/// The operation, and the parameters as they would be compared.
type Reached = (usize, Vec<String>);

fn reach(path: &str) -> Option<Reached> {
    let segments = |text: &str| text.trim_start_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    let sent = segments(path);
    let candidates = OPERATIONS.iter().enumerate().filter_map(|(index, template)| {
        let template = segments(template);
        let fits = template.len() == sent.len()
            && template.iter().zip(&sent).all(|(wanted, is)| (wanted == "{}" && !is.is_empty()) || wanted == is);
        let params: Vec<String> =
            template.iter().zip(&sent).filter(|(wanted, _)| *wanted == "{}").map(|(_, is)| is.to_lowercase()).collect();
        fits.then_some((params.len(), (index, params)))
    });
    candidates.min_by_key(|(params, _)| *params).map(|(_, reached)| reached)
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

/// Every path that some reader makes of this one, by any of these steps in any order.
fn readings(path: &str) -> BTreeSet<String> {
    let steps: [fn(&str) -> String; 10] = [
        decode,
        merge_slashes,
        resolve_dots,
        |path| path.split('/').map(|segment| segment.split(';').next().unwrap_or("")).collect::<Vec<_>>().join("/"),
        |path| path.to_lowercase(),
        |path| path.split('#').next().unwrap_or("").to_owned(),
        |path| path.split('?').next().unwrap_or("").to_owned(),
        |path| path.replace(['\\', '\u{ff0f}'], "/"),
        |path| path.split('/').map(|segment| segment.trim().trim_end_matches('.')).collect::<Vec<_>>().join("/"),
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

fn check(target: &str) {
    let Some(parts) = get(target) else { return };
    let Ok(view) = RequestView::of(&parts) else { return };
    let Some(judged) = reach(&view.path) else { return };
    // A parameter that is a literal of another template but for its case is the matcher's to refuse.
    if reach(&view.path.to_lowercase()).map(|(operation, _)| operation) != Some(judged.0) {
        return;
    }
    let same = |(operation, params): &Reached| {
        *operation == judged.0
            && params.iter().zip(&judged.1).all(|(a, b)| decode(a).to_lowercase() == decode(b).to_lowercase())
    };
    // Every reader splits the query off before it does anything else.
    let sent = view.forward_target();
    for reading in readings(sent.split('?').next().unwrap_or_default()) {
        if let Some(reached) = reach(&reading) {
            assert!(same(&reached), "{target:?} judged as {judged:?} reaches {reached:?} when read as {reading:?}");
        }
    }
}

#[test]
fn known_tricks_reach_nothing_else() {
    for target in [
        "/issue/..%2fadmin",
        "/issue/x%2f..%2f..%2fadmin",
        "/issue/%252e%252e/admin",
        "/issue/a;/secret",
        "/issue/%61dmin",
        "/issue/a%23/comment",
        "/issue/a%3fx",
        "/%2561dmin/secret",
        "/admin%2500",
        "/issue/x%5c..%5cadmin",
        "/ADMIN/secret",
        "/issue/%256deta",
        "/issue/meta%20",
        "/issue/meta.",
        "/issue/meta%00",
        "/admin/secret?x=/../issue/a",
    ] {
        check(target);
    }
}

proptest! {
    #[test]
    fn no_spelling_reaches_another_operation(
        path in "(/|issue|admin|secret|meta|comment|api|[aA1]|\\.|\\.\\.|%2e|%2E|%2f|%5c|%25|2e|%61|%6D|;|%3b|%23|\\?|%00|%20|%ef%bc%8f|\\\\|~|:|@){1,9}"
    ) {
        check(&format!("/{path}"));
        check(&path);
    }

    #[test]
    fn what_is_accepted_is_accepted_again_unchanged(path in "/[a-zA-Z0-9%/.~_ -]{0,12}") {
        if let Some(parts) = get(&path) && let Ok(view) = RequestView::of(&parts) {
            let again = get(&view.forward_target()).unwrap();
            let again = RequestView::of(&again).unwrap();
            prop_assert_eq!(&view.path, &again.path);
            prop_assert!(!again.is_rewritten());
        }
    }
}
