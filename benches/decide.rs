//! `decide`: from a request's head to a Permit or a Denial, over estates of growing size.
//!
//! Run: `cargo bench --bench decide`. All cases take turns in every round, so that a noisy neighbour slows all of them;
//! the median and the least of the rounds are printed. `-- ROUNDS [NAME]` sets the rounds and picks cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "shared/estate.rs"]
mod estate;
#[path = "shared/issuer.rs"]
mod issuer;

use std::hint::black_box;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use estate::{Estate, NOW_MS, Size, head, token};
use hmac::{Hmac, Mac as _};
use http::request::Parts;
use scopegate::authz::identity::seen::Seen;
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use scopegate::authz::{decide, wanted};
use scopegate::proxy::issuers::Issuers;
use sha2::{Digest as _, Sha256};

/// How many calls one timing covers: long against the clock, short against a time slice.
const BATCH: u32 = 256;
/// How many apps are drawn at once; their heads stay warm, as after parsing, and what the policy holds of them does not.
const DRAWN: usize = 64;

/// One thing measured: runs once, and says how many nanoseconds a call took.
struct Case<'e> {
    name: String,
    run: Box<dyn FnMut() -> f64 + 'e>,
    rounds: Vec<f64>,
}

impl<'e> Case<'e> {
    fn new(name: impl Into<String>, run: impl FnMut() -> f64 + 'e) -> Self {
        Self { name: name.into(), run: Box::new(run), rounds: Vec::new() }
    }

    /// The same call over and over.
    fn warm<T>(name: impl Into<String>, mut call: impl FnMut() -> T + 'e) -> Self {
        Self::new(name, move || {
            let start = Instant::now();
            for _ in 0..BATCH {
                black_box(call());
            }
            start.elapsed().as_nanos() as f64 / f64::from(BATCH)
        })
    }

    fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// The head of the measured Jira call: one issue in a project that a grant names.
fn get_issue(app: usize) -> Parts {
    head("GET", "/rest/api/3/issue/PROJ-1", &token("jira", app), None)
}

const MESSAGE: &str =
    r#"{"channel":"C0HELP00","text":"We are looking into it :eyes:","unfurl_links":false,"thread_ts":"1700000000.1"}"#;

/// The same with blocks, as apps build them: 10 KiB, of which a fifth are names and signs.
fn message_of_10_kib() -> String {
    let block = "{\"type\":\"section\",\"block_id\":\"b1\",\"text\":{\"type\":\"mrkdwn\",\"text\":\"*PROJ-1* The window does not close \
                 when \\\"Cancel\\\" is pressed; it did in the last release. <https://acme.atlassian.net/browse/PROJ-1|Open>\"}},";
    let mut text = String::from("{\"channel\":\"C0HELP00\",\"blocks\":[");
    while text.len() + block.len() < 10 * 1024 {
        text.push_str(block);
    }
    text.pop();
    text.push_str("]}");
    text
}

fn facts(body: BodyFacts<'_>) -> Facts<'_> {
    Facts { now_ms: NOW_MS, behind_ms: 0, body, looked_up: LookedUp::nothing() }
}

/// The same call on a connection that showed this token before, as nearly all do: that it is the same is part of the time.
fn judged<'e>(
    estate: &'e Estate,
    head: &'e Parts,
    body: Option<&'e str>,
    permitted: bool,
) -> impl FnMut() -> bool + 'e {
    let mut seen = Seen::default();
    let token = &head.headers["authorization"];
    let mut decided =
        judged_by(RequestView::of(head).expect("a request").with_token(&mut seen), estate, body, permitted);
    move || black_box(seen.digest_of(black_box(token))).is_some() && decided() || !permitted
}

/// Of the first request of a connection.
fn judged_first<'e>(
    estate: &'e Estate,
    head: &'e Parts,
    body: Option<&'e str>,
    permitted: bool,
) -> impl FnMut() -> bool + 'e {
    judged_by(RequestView::of(head).expect("a request"), estate, body, permitted)
}

/// Views and decisions of one call by one app. Both must end as expected, or the numbers mean nothing.
fn judged_by<'e>(
    view: RequestView<'e>,
    estate: &'e Estate,
    body: Option<&'e str>,
    permitted: bool,
) -> impl FnMut() -> bool + 'e {
    let held = |text: &'e str| parse_body(view.headers, text.as_bytes()).expect("a body");
    let facts = facts(body.map_or(BodyFacts::NotHeld, held));
    let decided = decide(&estate.snapshot, &estate.gate, &view, &facts);
    assert_eq!(decided.is_ok(), permitted, "{decided:?}");
    move || decide(&estate.snapshot, &estate.gate, &view, &facts).is_ok()
}

/// Apps drawn at random: what the policy holds of them is in no cache.
fn drawn(estate: &Estate) -> impl FnMut() -> f64 + '_ {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        let heads: Vec<Parts> = (0..DRAWN)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                get_issue((state >> 33) as usize % estate.size.apps)
            })
            .collect();
        let views: Vec<RequestView<'_>> = heads.iter().map(|head| RequestView::of(head).expect("a request")).collect();
        let facts = facts(BodyFacts::NotHeld);
        let start = Instant::now();
        for view in &views {
            assert!(black_box(decide(&estate.snapshot, &estate.gate, view, &facts)).is_ok());
        }
        start.elapsed().as_nanos() as f64 / DRAWN as f64
    }
}

fn get_by(token: &str) -> Parts {
    head("GET", "/rest/api/3/issue/PROJ-1", token, None)
}

/// One app by a token, as a worker tells it and the core decides.
fn told_and_decided(estate: &Estate, issuers: &Issuers, head: &Parts) -> bool {
    let view = RequestView::of(head).expect("a request");
    let bearer = issuers.told(&view, || NOW_MS).expect("its key is there");
    decide(&estate.snapshot, &estate.gate, &view.with_bearer(bearer), &facts(BodyFacts::NotHeld)).is_ok()
}

/// On a connection that showed it before: that it is the same is part of the time.
fn known_token<'e>(estate: &'e Estate, signed: &issuer::Signed, head: &'e Parts) -> impl FnMut() -> bool + 'e {
    let issuers = signed.issuers(&estate.gate);
    assert!(told_and_decided(estate, &issuers, head), "the token is permitted");
    let (mut seen, token) = (Seen::default(), &head.headers["authorization"]);
    let mut view = RequestView::of(head).expect("a request").with_token(&mut seen);
    move || {
        black_box(seen.digest_of(black_box(token)));
        view.bears(issuers.told(&view, || NOW_MS).expect("its key is there"));
        decide(&estate.snapshot, &estate.gate, &view, &facts(BodyFacts::NotHeld)).is_ok()
    }
}

/// What a Connect app signs over one request: method, path and query, for three minutes.
fn connect_jwt(app: usize, secret: &str) -> String {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let qsh: String =
        Sha256::digest("GET&/rest/api/3/issue/PROJ-1&").iter().map(|byte| format!("{byte:02x}")).collect();
    let (now_s, header) = (NOW_MS / 1000, r#"{"typ":"JWT","alg":"HS256"}"#);
    let claims = format!(r#"{{"iss":"key-{app}","iat":{now_s},"exp":{},"qsh":"{qsh}"}}"#, now_s + 180);
    let signed = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encoded(&mac.finalize().into_bytes()))
}

fn first_sight<'e>(estate: &'e Estate, signed: &'e issuer::Signed, head: &'e Parts) -> impl FnMut() -> bool + 'e {
    // A worker that has seen nothing.
    move || told_and_decided(estate, &signed.issuers(&estate.gate), head)
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let rounds: usize = arguments.next().map_or(2_000, |count| count.parse().expect("the number of rounds"));
    let only = arguments.next().unwrap_or_default();
    let small = Size { apps: 50, grants: 10 };
    let jira = Estate::new("jira", small, false);
    let guarded = Estate::new("jira", small, true);
    let slack = Estate::new("slack", small, false);
    let sizes = if only.is_empty() || only.contains("apps") {
        vec![
            Size { apps: 10, grants: 10 },
            Size { apps: 100, grants: 10 },
            Size { apps: 1_000, grants: 10 },
            Size { apps: 10_000, grants: 10 },
            Size { apps: 10_000, grants: 100 },
        ]
    } else {
        Vec::new()
    };
    let estates: Vec<Estate> = sizes
        .into_iter()
        .map(|size| {
            let start = Instant::now();
            let estate = Estate::new("jira", size, true);
            println!("{} apps × {} grants: compiled from text in {:.2?}", size.apps, size.grants, start.elapsed());
            estate
        })
        .collect();

    let issue = get_issue(7);
    let denied = head("DELETE", "/rest/api/3/issue/PROJ-1", &token("jira", 7), None);
    let other_project = head("GET", "/rest/api/3/issue/HR-1", &token("jira", 7), None);
    let stranger = head("GET", "/rest/api/3/issue/PROJ-1", "of-nobody", None);
    let message = head("POST", "/api/chat.postMessage", &token("slack", 7), Some("application/json; charset=utf-8"));
    let blocks = message_of_10_kib();
    let history = head("GET", "/api/conversations.history?channel=C0HELP00&limit=100", &token("slack", 7), None);
    let (clients, signed) = (Estate::of_clients(issuer::issuer(), small), issuer::Signed::new(7));
    let (by_rsa, by_curve) = (get_by(&signed.rs256), get_by(&signed.es256));
    const SECRET: &str = "the shared secret of this installation";
    let connect = Estate::of_connect(SECRET, small);
    let mut by_connect = get_issue(7);
    let value = format!("JWT {}", connect_jwt(7, SECRET)).parse().expect("a value");
    by_connect.headers.insert("authorization", value);
    let mut cases = vec![
        Case::warm(
            "a Connect JWT: verified with its qsh, and Jira GET issue decided",
            judged_first(&connect, &by_connect, None, true),
        ),
        Case::warm(
            "a token verified before: told, and Jira GET issue decided",
            known_token(&clients, &signed, &by_rsa),
        ),
        Case::warm(
            "a token at first sight, RS256: verified, and Jira GET issue decided",
            first_sight(&clients, &signed, &by_rsa),
        ),
        Case::warm(
            "a token at first sight, ES256: verified, and Jira GET issue decided",
            first_sight(&clients, &signed, &by_curve),
        ),
        Case::warm("RequestView::of, Jira GET issue", || RequestView::of(&issue).is_ok()),
        Case::warm("RequestView::of, Slack postMessage", || RequestView::of(&message).is_ok()),
        Case::warm("Slack: parse the JSON body (110 bytes)", || {
            parse_body(&message.headers, MESSAGE.as_bytes()).is_ok()
        }),
        Case::warm("Slack: parse a JSON body of 10 KiB", || parse_body(&message.headers, blocks.as_bytes()).is_ok()),
        Case::warm("SHA-256 of the token (96 bytes)", {
            let token = token("jira", 7);
            move || scopegate::authz::identity::gate_key::digest(token.as_bytes())
        }),
        Case::warm("wanted, Jira GET issue", {
            let view = RequestView::of(&issue).unwrap();
            let jira = &jira;
            move || wanted(&jira.snapshot, &jira.gate, &view, NOW_MS)
        }),
        Case::warm("decide: Jira GET issue", judged(&jira, &issue, None, true)),
        Case::warm("decide, first of a connection: Jira GET issue", judged_first(&jira, &issue, None, true)),
        Case::warm("decide, 3 guardrails: Jira GET issue", judged(&guarded, &issue, None, true)),
        Case::warm("decide: Slack chat.postMessage, JSON held", judged(&slack, &message, Some(MESSAGE), true)),
        Case::warm("decide: Slack conversations.history, 3 variants", judged(&slack, &history, Some(""), true)),
        Case::warm("a JSON body of 10 KiB: parsed, and Slack chat.postMessage decided", {
            let (slack, view) = (&slack, RequestView::of(&message).unwrap());
            let (head, blocks) = (&message, &blocks);
            move || {
                let facts = facts(parse_body(&head.headers, blocks.as_bytes()).unwrap());
                decide(&slack.snapshot, &slack.gate, &view, &facts).is_ok()
            }
        }),
        Case::warm("denial: Jira DELETE issue, not granted", judged(&jira, &denied, None, false)),
        Case::warm("denial: Jira GET issue in a guarded project", judged(&guarded, &other_project, None, false)),
        Case::warm("denial: token that nobody knows", judged(&jira, &stranger, None, false)),
    ];
    for estate in &estates {
        let Size { apps, grants } = estate.size;
        cases
            .push(Case::warm(format!("decide, one app of {apps} apps × {grants}"), judged(estate, &issue, None, true)));
        cases.push(Case::new(format!("decide, drawn from {apps} apps × {grants}"), drawn(estate)));
    }
    cases.retain(|case| case.name.contains(&only));
    for _ in 0..rounds {
        for case in &mut cases {
            let nanoseconds = (case.run)();
            case.rounds.push(nanoseconds);
        }
    }
    report(&cases);
}

fn report(cases: &[Case<'_>]) {
    println!("\n{:<52} {:>10} {:>10}", "case", "median ns", "least ns");
    for case in cases {
        println!("{:<52} {:>10.1} {:>10.1}", case.name, case.median(), case.least());
    }
    let growth = |prefix: &str| {
        let sized: Vec<(f64, f64)> = cases
            .iter()
            .filter(|case| case.name.starts_with(prefix))
            .map(|case| (case.median(), case.least()))
            .collect();
        if let (Some(first), Some(last)) = (sized.first(), sized.last()) {
            let widest = sized.iter().map(|one| one.0).fold(0.0, f64::max);
            println!(
                "{prefix:<52} ×{:.2} by medians (widest ×{:.2}), ×{:.2} by least",
                last.0 / first.0,
                widest / first.0,
                last.1 / first.1
            );
        }
    };
    growth("decide, one app of");
    growth("decide, drawn from");
}
