//! A request head, and a body where one follows: canonical is a fixed point (law 5), no reader splits the path
//! otherwise, what is forwarded is what was judged, and judging never panics.

#![no_main]

use std::sync::LazyLock;

use http::request::Parts;
use libfuzzer_sys::{Corpus, fuzz_target};
use scopegate::authz::catalog::matcher::Found;
use scopegate::authz::gate::GateRules;
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use scopegate::authz::{decide, wanted};
use scopegate_fuzz::{Judged, NOW_MS, TOKEN, decode, forwarded, parts, split};

static JUDGED: LazyLock<Judged> = LazyLock::new(Judged::new);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let (head, body) = split(bytes);
    let Some(parts) = parts(head) else { return Corpus::Reject };
    // What is refused here is worth keeping: its neighbours may not be.
    let Ok(view) = RequestView::of(&parts) else { return Corpus::Keep };
    reads_one_way(&view);
    let target = view.forward_target();
    let again = forwarded(&parts, &target, &view.host).expect("what is forwarded is a request");
    let last = RequestView::of(&again).expect("what is forwarded is accepted again");
    assert_eq!(last.path, view.path, "the judged path changed when it was read again");
    assert_eq!(last.query, view.query);
    assert_eq!(last.host, view.host);
    assert!(!last.is_rewritten(), "canonical is not a fixed point: {target}");
    for gate in &JUDGED.gates {
        judged_alike(gate, &parts, &view, &last, body);
    }
    Corpus::Keep
});

/// Decoding once, decoding twice and dropping dots, parameters or slashes find the same segments.
fn reads_one_way(view: &RequestView<'_>) {
    let once = decode(view.path.as_bytes());
    assert_eq!(decode(&once), once, "{} is encoded twice", view.path);
    // Between two commits, and only there, one carriage return is carried.
    let carried = usize::from(view.ends_in_a_pair());
    assert_eq!(once.iter().filter(|byte| **byte == b'\r').count(), carried, "{}", view.path);
    let odd = |byte: &u8| *byte != b'\r' && byte.is_ascii_control() || matches!(byte, b'\\' | b';' | b'?' | b'#');
    assert!(!once.iter().any(odd), "{}", view.path);
    let count = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
    assert_eq!(count(&once), count(view.path.as_bytes()), "{} holds an encoded slash", view.path);
    if once != b"/" {
        let segments = once.split(|byte| *byte == b'/').skip(1);
        segments.for_each(|segment| assert!(!segment.is_empty() && !segment.ends_with(b"."), "{}", view.path));
    }
}

fn judged_alike(gate: &GateRules, parts: &Parts, view: &RequestView<'_>, last: &RequestView<'_>, body: &[u8]) {
    let snapshot = &JUDGED.snapshot;
    let wants = wanted(snapshot, gate, view, NOW_MS);
    assert_eq!(wants, wanted(snapshot, gate, last, NOW_MS));
    let mut bodies = vec![BodyFacts::NotHeld, BodyFacts::Empty];
    bodies.extend(parse_body(&parts.headers, body));
    for body in bodies {
        let facts = Facts { now_ms: NOW_MS, behind_ms: 0, body, looked_up: LookedUp::nothing() };
        let decided = decide(snapshot, gate, view, &facts);
        let again = decide(snapshot, gate, last, &facts);
        let reason = |decided: &Result<_, Box<scopegate::authz::Denial>>| decided.as_ref().err().map(|one| one.reason);
        assert_eq!(reason(&decided), reason(&again), "the forwarded request is judged otherwise");
        let Ok(permit) = decided else { continue };
        let app = permit.who.app().expect("a permit is somebody's");
        assert_eq!(**app, format!("{}/fuzz", gate.catalog.product));
        let shown = parts.headers.values().any(|value| contains(value.as_bytes(), TOKEN))
            || contains(&decode(view.query.as_bytes()), TOKEN)
            || matches!(facts.body, BodyFacts::Json(_) | BodyFacts::Form(_));
        assert!(shown, "permitted without a token");
        names_the_project(gate, view);
    }
}

/// An operation on an issue, or a search, is permitted in the one project that the policy names.
fn names_the_project(gate: &GateRules, view: &RequestView<'_>) {
    let Found::Operation(found) = gate.catalog.matcher.find(view.method, &view.path) else {
        panic!("permitted, and no operation")
    };
    let operation = &gate.catalog.operations[usize::from(found.operation.0)];
    if operation.template.contains("/issue/{issueIdOrKey}") {
        assert!(decode(view.path.to_ascii_uppercase().as_bytes()).windows(5).any(|five| five == b"/OPS-"), "{view:?}");
    }
    let in_query = operation.method == http::Method::GET;
    if in_query && ["/search", "/search/jql"].contains(&&*operation.template) {
        let query = decode(view.query.as_bytes()).to_ascii_uppercase();
        assert!(contains(&query, "OPS"), "{view:?} asks for {:?}", String::from_utf8_lossy(&query));
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
