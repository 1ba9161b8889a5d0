//! Who asks what is lacking gets a brief word of it; the verdict, and what is asked, are those of who does not.

use std::path::Path;
use std::sync::Arc;

use scopegate::authz::catalog::builtin;
use scopegate::authz::catalog::lookups::Home;
use scopegate::authz::decide::Lacks;
use scopegate::authz::looked_up::{LookedUp, Told};
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::request::parse_body;
use scopegate::authz::snapshot::Snapshot;
use scopegate::authz::{Denial, Permit, decide, decide_or_ask};
use sha2::{Digest as _, Sha256};

use super::*;

const APPS: [&str; 4] = ["plain", "observed", "suspended", "shadowed"];

/// Reads and writes in PROJ alone, and only while it is not revoked in SEC.
fn app(name: &str) -> String {
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let more = match name {
        "observed" => "    observe: {until: 2027-01-20T00:00:00Z}\n",
        _ => "",
    };
    let shadow = if name == "shadowed" { ", mode: shadow" } else { "" };
    format!(
        "version: 1\napp: jira/{name}\nname: {name}\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         installed_at: 2026-01-20T09:00:00Z\n{more}    credentials:\n      - {{method: token, sha256: \"{digest}\", kind: oauth}}\n\
         grants:\n  - {{for: test, scopes: [read:jira-work], actors: [app, user], in: all}}\n  \
         - {{for: test, scopes: [write:jira-work], actors: [app, user], in: {{project: ['10000']}}}}\n\
         revocations:\n  - {{scopes: [read:jira-work], in: {{project: ['10002']}}, reason: test{shadow}}}\n"
    )
}

fn snapshot() -> (GateRules, Snapshot) {
    let catalogs = Arc::new(Catalogs::new([builtin::catalog("jira").unwrap()]));
    let mut store = Store::new(Arc::clone(&catalogs));
    let change = |name: &&str| Change {
        file: Arc::from(Path::new(&format!("policies/{name}.yaml"))),
        origin: Origin::Policy,
        content: Content::Text(app(name).into()),
    };
    let suspension = Change {
        file: Arc::from(Path::new("overrides/act.yaml")),
        origin: Origin::Override,
        content: Content::Text(
            "version: 1\napp: jira/suspended\nsuspensions: [{tenants: [acme], reason: test, by: lee@example.com}]\n"
                .into(),
        ),
    };
    store.apply(APPS.iter().map(change).chain([suspension]).collect(), NOW_MS);
    let problems = store.problems();
    assert!(!problems.iter().any(|problem| problem.is_error()), "{problems:?}");
    assert!(store.settle());
    let gate = GateRules {
        catalog: Arc::clone(&catalogs.by_name("jira").unwrap().catalog),
        identify: Identify { gate_key: false, token: true, connect_jwt: false, ..Identify::default() },
        issue_keys_prefix: false,
        names_as_written: false,
        ..gate()
    };
    (gate, store.snapshot(&Secrets::new()))
}

/// What the product may have said of a thing; `None`: it was not asked yet.
fn answers() -> [Option<Told>; 6] {
    let homes = |id: &str| Arc::new([Home { id: Some(id.into()), key: None, is_word: false }]);
    let told = |id| Some(Told::In { homes: homes(id), variants: VariantMask::NONE });
    [
        None,
        told("10000"),
        told("10001"),
        told("10002"),
        Some(Told::Nowhere),
        Some(Told::Failed { reason: scopegate::authz::Reason::RateLimited, retry_after_s: Some(7) }),
    ]
}

const REQUESTS: [(&str, &str, &str); 6] = [
    ("GET", "/rest/api/3/issue/10007", ""),
    ("PUT", "/rest/api/3/issue/10007", "{\"fields\":{\"summary\":\"x\"}}"),
    ("GET", "/rest/api/3/issue/10007/comment", ""),
    ("POST", "/rest/api/3/issue/bulkfetch", "{\"issueIdsOrKeys\":[\"1\",\"2\"]}"),
    ("GET", "/rest/api/3/myself", ""),
    ("DELETE", "/rest/api/3/project/10001", ""),
];

type Judged = Result<Permit, Box<Denial>>;

#[test]
fn a_brief_judgement_permits_and_asks_what_the_whole_one_does() {
    let (gate, snapshot) = snapshot();
    let (mut asked, mut permitted, mut refused) = (0, 0, 0);
    for app in APPS {
        for (method, target, body) in REQUESTS {
            let authorization = format!("Bearer {app}");
            let headers =
                [("host", "gate"), ("content-type", "application/json"), ("authorization", authorization.as_str())];
            let parts = parts(method, target, &headers).unwrap();
            let view = RequestView::of(&parts).unwrap();
            let judge = |by: fn(&Snapshot, &GateRules, &RequestView<'_>, &Facts<'_>) -> Judged,
                         looked_up: &LookedUp| {
                let body = parse_body(&parts.headers, body.as_bytes()).unwrap();
                by(&snapshot, &gate, &view, &Facts { now_ms: NOW_MS, behind_ms: 0, body, looked_up })
            };
            let things = match judge(decide, LookedUp::nothing()) {
                Err(denial) => denial.lacks.map(|lacks| lacks.things).unwrap_or_default(),
                Ok(_) => Vec::new(),
            };
            let answers = answers();
            for number in 0..answers.len().pow(things.len() as u32) {
                let mut looked_up = LookedUp::default();
                let mut which = number;
                for thing in &things {
                    if let Some(told) = &answers[which % answers.len()] {
                        looked_up.add(&"acme".into(), thing.clone(), told.clone());
                    }
                    which /= answers.len();
                }
                let context = format!("{app} {method} {target} {looked_up:?}");
                match (judge(decide, &looked_up), judge(decide_or_ask, &looked_up)) {
                    (Ok(whole), Ok(brief)) => {
                        assert_eq!(reasons(&whole), reasons(&brief), "{context}");
                        permitted += 1;
                    }
                    (Err(whole), Err(brief)) => match (&whole.lacks, &brief.lacks) {
                        (Some(whole), Some(brief)) => {
                            assert_eq!(asks(whole), asks(brief), "{context}");
                            asked += 1;
                        }
                        (None, None) => {
                            assert_eq!(format!("{whole:?}"), format!("{brief:?}"), "{context}");
                            refused += 1;
                        }
                        (whole, brief) => panic!("{context}: {whole:?}, {brief:?}"),
                    },
                    (whole, brief) => panic!("{context}: {whole:?}, {brief:?}"),
                }
            }
        }
    }
    assert!(asked > 10 && permitted > 10 && refused > 10, "{asked} {permitted} {refused}");
}

fn reasons(permit: &Permit) -> [Option<scopegate::authz::Reason>; 2] {
    [&permit.would, &permit.shadow].map(|denial| denial.as_ref().map(|denial| denial.reason))
}

fn asks(lacks: &Lacks) -> String {
    format!("{:?} {:?} {:?} {} {}", lacks.things, lacks.asker, lacks.by, lacks.prefix, lacks.urgent)
}
