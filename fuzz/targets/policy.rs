//! A policy file, taken in as the reload takes it in: no panic, nobody unknown is ever permitted, and when the file is
//! gone nothing of it is left.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use scopegate::authz::decide;
use scopegate::authz::gate::GateRules;
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::{Origin, parse_bytes};
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Content, Store};
use scopegate::authz::request::{BodyFacts, Facts, RequestView};
use scopegate::authz::snapshot::Snapshot;
use scopegate::problem::{Problem, file_name, render_human};
use scopegate_fuzz::{NOW_MS, STRANGER, catalogs, gate, parts, written};

static CATALOGS: LazyLock<Arc<Catalogs>> = LazyLock::new(catalogs);
static GATES: LazyLock<Vec<GateRules>> =
    LazyLock::new(|| CATALOGS.iter().map(|product| gate(&CATALOGS, &product.catalog.product)).collect());

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let file = file_name("policy.yaml");
    for origin in [Origin::Policy, Origin::Override] {
        let parsed = parse_bytes(&file, bytes, origin);
        render_human(&parsed.problems, false);
        let refused = parsed.problems.iter().any(Problem::is_error);
        assert!(refused || !parsed.documents.is_empty(), "a file without documents is said to be fine");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    let mut store = Store::new(Arc::clone(&CATALOGS));
    store.apply(written(Content::Text(text.into())), NOW_MS);
    let taken = store.settle();
    assert!(taken || store.problems().iter().any(Problem::is_error), "not taken, and nobody is told why");
    stranger_is_refused(&store.snapshot(&Secrets::new()));
    store.apply(written(Content::Gone), NOW_MS);
    store.settle();
    holds_nothing(&store.snapshot(&Secrets::new()));
    let mut cut = Store::new(Arc::clone(&CATALOGS));
    cut.apply(written(Content::Text("".into())), NOW_MS);
    cut.settle();
    holds_nothing(&cut.snapshot(&Secrets::new()));
    Corpus::Keep
});

fn stranger_is_refused(snapshot: &Snapshot) {
    let head = format!("GET /rest/api/3/issue/OPS-1\nHost: a\nAuthorization: Bearer {STRANGER}");
    let parts = parts(head.as_bytes()).expect("a request");
    let view = RequestView::of(&parts).expect("a request that is read");
    let facts = Facts { now_ms: NOW_MS, behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
    for gate in &*GATES {
        assert!(decide(snapshot, gate, &view, &facts).is_err(), "a stranger is permitted");
    }
}

fn holds_nothing(snapshot: &Snapshot) {
    let states = snapshot.states.iter();
    let mut policies = states.flat_map(|states| [Some(&states.newest), states.whole.as_ref()]).flatten();
    assert!(policies.all(|policy| policy.apps.is_empty()), "an app is left of a file that is gone");
}
