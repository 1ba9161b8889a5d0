//! What one request may cost in memory: no allocation on the permit path, and bounds on what is moved and held.
//!
//! A binary of its own: `allocation-counter` replaces the allocator of the whole process. It counts by thread, so
//! tests may run side by side.

#![allow(clippy::expect_used, reason = "clippy takes only functions with #[test] for tests; these are their helpers")]

#[path = "../benches/shared/estate.rs"]
mod estate;

use std::mem::size_of;

use estate::{Estate, NOW_MS, Size, head, token};
use http::Request;
use http::request::Parts;
use scopegate::authz::catalog::OperationId;
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::policy::area::{Area, KindArea, NamedContainer};
use scopegate::authz::policy::part::{Grant, Revocation};
use scopegate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use scopegate::authz::{Denial, Permit, Wanted, decide, wanted};
use scopegate::proxy::Hub;
use scopegate::proxy::connection::Peer;
use scopegate::proxy::source::Source;
use scopegate::usage::{Usage, Use};

const SMALL: Size = Size { apps: 20, grants: 10 };

/// How often the allocator was asked while this ran.
fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

/// Asserts that a request is permitted without a single allocation: reading its head, telling what it wants, deciding,
/// and dropping the Permit.
fn check_permit_is_free(estate: &Estate, head: &Parts, body: Option<&'static str>, wants: Wanted) {
    // The tree of a held body is allocated, by its bytes and never by the policy: it is read before.
    let held = |text: &'static str| parse_body(&head.headers, text.as_bytes()).expect("a body");
    let body = body.map_or(BodyFacts::NotHeld, held);
    let facts = Facts { now_ms: NOW_MS, behind_ms: 0, body, looked_up: LookedUp::nothing() };
    let once = || {
        let view = RequestView::of(head).expect("a request");
        assert_eq!(wanted(&estate.snapshot, &estate.gate, &view, NOW_MS), wants);
        let permit = decide(&estate.snapshot, &estate.gate, &view, &facts).expect("a permit");
        assert!(permit.operation.is_some());
    };
    // Patterns compile their lazy parts for the first text that each thread shows them.
    once();
    assert_eq!(allocations(once), 0, "{} {}", head.method, head.uri);
}

#[test]
fn a_permit_allocates_nothing() {
    let jira = Estate::new("jira", SMALL, false);
    let issue = head("GET", "/rest/api/3/issue/PROJ-1", &token("jira", 7), None);
    check_permit_is_free(&jira, &issue, None, Wanted::Nothing);
    let searched = head("GET", "/rest/api/3/issue/PROJ-1?fields=summary&expand=names", &token("jira", 7), None);
    check_permit_is_free(&jira, &searched, None, Wanted::Nothing);
}

#[test]
fn nor_does_it_with_guardrails_over_it() {
    let jira = Estate::new("jira", SMALL, true);
    let issue = head("GET", "/rest/api/3/issue/PROJ-1", &token("jira", 7), None);
    check_permit_is_free(&jira, &issue, None, Wanted::Nothing);
}

#[test]
fn nor_by_an_argument_in_query_or_body() {
    let slack = Estate::new("slack", SMALL, false);
    let history = head("GET", "/api/conversations.history?channel=C0HELP00&limit=100", &token("slack", 7), None);
    check_permit_is_free(&slack, &history, Some(""), Wanted::Body { of: Some(7) });
    let form = Some("application/x-www-form-urlencoded");
    let message = head("POST", "/api/chat.postMessage", &token("slack", 7), form);
    check_permit_is_free(&slack, &message, Some("channel=C0HELP00&text=hello"), Wanted::Body { of: Some(7) });
    let message = head("POST", "/api/chat.postMessage", &token("slack", 7), Some("application/json"));
    check_permit_is_free(
        &slack,
        &message,
        Some(r#"{"channel":"C0HELP00","text":"hello"}"#),
        Wanted::Body { of: Some(7) },
    );
    // Looked at for what it asks for besides, in the query alone.
    let jira = Estate::new("jira", SMALL, false);
    let target = "/rest/api/3/issue/PROJ-1/editmeta?overrideScreenSecurity=false&overrideEditableFlag=false";
    check_permit_is_free(&jira, &head("GET", target, &token("jira", 7), None), None, Wanted::Nothing);
}

#[test]
fn a_denial_allocates_no_more_in_a_large_policy_than_in_a_small_one() {
    let denied = |estate: &Estate| {
        let head = head("DELETE", "/rest/api/3/issue/PROJ-1", &token("jira", 7), None);
        let view = RequestView::of(&head).expect("a request");
        let facts = Facts { now_ms: NOW_MS, behind_ms: 0, body: BodyFacts::NotHeld, looked_up: LookedUp::nothing() };
        let once = || drop(decide(&estate.snapshot, &estate.gate, &view, &facts).expect_err("a denial"));
        once();
        allocations(once)
    };
    let small = denied(&Estate::new("jira", SMALL, true));
    let large = denied(&Estate::new("jira", Size { apps: 400, grants: 10 }, true));
    assert_eq!(small, large);
    assert!(small < 100, "{small} allocations");
}

/// What each request adds to: only the first of an app, and the first in a piece of its catalog, makes room.
#[test]
fn counting_the_use_of_a_right_allocates_nothing() {
    let usage = Usage::default();
    let app: std::sync::Arc<str> = "jira/app".into();
    usage.count(&app, OperationId(7), 616, Use::Permitted, NOW_MS);
    let again = || {
        usage.count(&app, OperationId(7), 616, Use::Permitted, NOW_MS + 1);
        usage.count(&app, OperationId(8), 616, Use::Denied, NOW_MS + 1);
    };
    assert_eq!(allocations(again), 0);
}

/// The size of what an `async fn` makes, without making it.
fn future_size<'a, F>(_: impl Fn(&'a Hub, &'a Peer, Request<Source>) -> F) -> usize {
    size_of::<F>()
}

/// A million grants are held, every Permit is moved several times, and each open request holds its future: what grows
/// here grows everywhere. The bounds leave a little room; a larger one is a decision, to be taken with numbers.
#[test]
fn what_is_held_and_moved_is_small() {
    assert!(size_of::<Grant>() <= 32, "Grant: {}", size_of::<Grant>());
    assert!(size_of::<Revocation>() <= 40, "Revocation: {}", size_of::<Revocation>());
    assert!(size_of::<Area>() <= 16, "Area: {}", size_of::<Area>());
    assert!(size_of::<KindArea>() <= 40, "KindArea: {}", size_of::<KindArea>());
    assert!(size_of::<NamedContainer>() <= 24, "NamedContainer: {}", size_of::<NamedContainer>());
    assert!(size_of::<Permit>() <= 256, "Permit: {}", size_of::<Permit>());
    assert!(size_of::<Result<Permit, Box<Denial>>>() <= 256, "{}", size_of::<Result<Permit, Box<Denial>>>());
    let future = future_size(Hub::handle);
    // With 16 bytes more for the job that a request may start, which is remembered before its answer is passed on.
    // And some 200 for the exchange with the upstream, which has no task of its own any more.
    assert!(future <= 5 * 1024 + 256, "the future of one request: {future}");
}
