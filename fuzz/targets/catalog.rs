//! A catalog, with an overlay behind a line `%%%%` where there is one: no panic, and without a policy a gate that speaks
//! it permits nothing.

#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::{Corpus, fuzz_target};
use scopegate::authz::catalog::Catalog;
use scopegate::authz::catalog::load::Source;
use scopegate::authz::decide;
use scopegate::authz::looked_up::LookedUp;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::Store;
use scopegate::authz::request::{BodyFacts, Facts, RequestView};
use scopegate::problem::render_human;
use scopegate_fuzz::{NOW_MS, STRANGER, gate, parts};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    let (text, overlay) = text.split_once("\n%%%%\n").map_or((text, None), |(text, overlay)| (text, Some(overlay)));
    let source = |path, text| Source { path: Path::new(path), text };
    let overlay = overlay.map(|overlay| source("catalog.overlay.yaml", overlay));
    match Catalog::parse(source("catalog.yaml", text), overlay) {
        Ok(catalog) => permits_nothing(Arc::new(catalog)),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused, and nobody is told why");
            render_human(&problems, false);
        }
    }
    Corpus::Keep
});

/// Each operation's own template is a path like another: it is found or not, and nobody may call it.
fn permits_nothing(catalog: Arc<Catalog>) {
    let catalogs = Arc::new(Catalogs::new([Arc::clone(&catalog)]));
    let mut store = Store::new(Arc::clone(&catalogs));
    store.apply(Vec::new(), NOW_MS);
    store.settle();
    let snapshot = store.snapshot(&Secrets::new());
    let gate = gate(&catalogs, &catalog.product);
    for operation in catalog.operations.iter().take(16) {
        let path = operation.template.replace(['{', '}'], "");
        let head = format!("{} {path}\nHost: a\nAuthorization: Bearer {STRANGER}", operation.method);
        let Some(parts) = parts(head.as_bytes()) else { continue };
        let Ok(view) = RequestView::of(&parts) else { continue };
        let facts = Facts { now_ms: NOW_MS, behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
        assert!(decide(&snapshot, &gate, &view, &facts).is_err(), "{head}: permitted without a policy");
    }
}
