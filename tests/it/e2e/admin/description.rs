//! The description says what the router does, and all of it: each endpoint, and each code with its status, both ways.

use std::collections::BTreeSet;

use scopegate::control::admin::endpoint::{ANYWHERE, NOWHERE};
use scopegate::control::admin::fault::Code;

use super::*;

/// An answer: where, which status, and which code in it.
type Told = (String, String, u16, String);

/// What the description says may be answered.
fn described(description: &Value) -> BTreeSet<Told> {
    let mut all = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for (status, answer) in operation["responses"].as_object().expect("answers") {
                let status: u16 = status.parse().expect("a status");
                let codes = answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
                    .as_array();
                let codes = codes.map_or_else(|| vec![json!("")], Clone::clone);
                let told = |code: Value| {
                    (method.to_uppercase(), path.clone(), status, code.as_str().expect("a word").to_owned())
                };
                all.extend(codes.into_iter().map(told));
            }
        }
    }
    all
}

/// Asks, and notes what was answered where.
struct Notes<'g> {
    gate: &'g Gate,
    told: BTreeSet<Told>,
}

impl Notes<'_> {
    #[track_caller]
    fn ask(&mut self, endpoint: Endpoint, ask: &Ask) -> Value {
        let answer = raw(self.gate, ask);
        self.note(endpoint, answer.status, answer.json())
    }

    fn note(&mut self, endpoint: Endpoint, status: u16, body: Value) -> Value {
        let code = if status == 200 { "" } else { body["code"].as_str().expect("a code") };
        self.told.insert((endpoint.method().to_owned(), endpoint.path().to_owned(), status, code.to_owned()));
        body
    }
}

fn description(gate: &Gate) -> Value {
    let (status, description) = tell(gate, VIEWER, &Ask::get("/api/v1/openapi.json"));
    assert_eq!(status, 200);
    description
}

#[test]
fn every_endpoint_and_every_code_is_described_with_its_status_and_nothing_else_is() {
    let gate = on_tcp().start();
    let said = described(&description(&gate));
    let mut expected = BTreeSet::new();
    for endpoint in Endpoint::ALL {
        let at = |status: u16, code: &str| {
            (endpoint.method().to_owned(), endpoint.path().to_owned(), status, code.to_owned())
        };
        expected.insert(at(200, ""));
        let codes = ANYWHERE.iter().chain(endpoint.codes());
        expected.extend(codes.map(|code| at(code.status().as_u16(), code.as_str())));
    }
    assert_eq!(said, expected);
    assert!(NOWHERE.iter().all(|code| !said.iter().any(|(.., word)| word == code.as_str())));
}

#[test]
fn every_reference_in_it_leads_somewhere_and_every_shape_is_used() {
    let gate = on_tcp().start();
    let description = description(&gate);
    let text = description.to_string();
    let shapes = description["components"]["schemas"].as_object().expect("shapes");
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(shapes.contains_key(name), "{name}");
    }
    for name in shapes.keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "{name} is used nowhere");
    }
    assert!(!text.contains("#/$defs"), "a reference leads out of the description");
}

/// What cannot be brought about by asking: shown where a disk fails or a policy lacks, or bounded by time.
const ELSEWHERE: [Code; 4] = [Code::NoPolicy, Code::NotWritten, Code::BodySlow, Code::Overloaded];

/// Every code that is described is answered, each where it is described; and nothing is answered that is not described.
#[test]
fn what_is_described_is_answered_and_what_is_answered_is_described() {
    let two = "  - tenant: other\n    installed_at: 2020-01-01T00:00:00Z\n    credentials: []\n\
               grants: [{scopes: [read:jira-work], required: true, actors: [app], in: all, tenants: [acme, other]}]\n";
    let slack = "version: 1\napp: slack/assist\nname: Assist\ncontact: x\ninstallations:\n  - tenant: T1\n    credentials: []\n\
                 grants: [{scopes: [chat:write], actors: [app], in: all}]\n";
    let setup = on_tcp().policy("two.yaml", &jira_app("two", "oauth", two)).policy("slack.yaml", slack);
    let gate = setup.start();
    let said = described(&description(&gate));
    let mut notes = Notes { gate: &gate, told: BTreeSet::new() };
    let mut shadow = revoke();
    shadow["shadow"] = json!(true);
    let mut ids = (0..2).map(|_| {
        let (status, done) = tell(&gate, ADMIN, &order(&gate, &shadow));
        assert_eq!(status, 200, "{done}");
        done["id"].as_str().expect("an id").to_owned()
    });
    let (promoted, restored) = (ids.next().expect("one"), ids.next().expect("two"));
    for endpoint in Endpoint::ALL {
        let ask = |id: &str| sound(&gate, endpoint, id);
        if endpoint.has_body() {
            writes(&mut notes, endpoint, &promoted, &restored);
        } else {
            notes.ask(endpoint, &ask("x").bearer(VIEWER));
        }
        if endpoint.least() != scopegate::control::admin::right::Right::Read {
            notes.ask(endpoint, &ask("x").bearer(VIEWER));
        }
    }
    twice_in_shadow(&mut notes);
    strangers(&mut notes);
    orders(&mut notes);
    reads(&mut notes);
    elsewhere(&mut notes);
    let answered = notes.told;
    assert_eq!(answered.difference(&said).collect::<Vec<_>>(), Vec::<&Told>::new(), "answered, and not described");
    // Without a role's right nothing is read at all, so what everybody may do is refused to nobody for its role.
    let shown = |(method, path, _, code): &&Told| {
        let read = Endpoint::ALL.iter().any(|one| {
            one.path() == path && one.method() == method && one.least() == scopegate::control::admin::right::Right::Read
        });
        let is_elsewhere = ELSEWHERE.iter().any(|one| one.as_str() == code);
        !(is_elsewhere || code == "role" && read)
    };
    assert_eq!(
        said.difference(&answered).filter(shown).collect::<Vec<_>>(),
        Vec::<&Told>::new(),
        "described, never answered"
    );
}

/// What is wrong with a body, a query or a tag; and what is right.
fn writes(notes: &mut Notes<'_>, endpoint: Endpoint, promoted: &str, restored: &str) {
    let gate = notes.gate;
    let id = if endpoint == Endpoint::Promote { promoted } else { restored };
    let path = endpoint.path().replace("{id}", id);
    let post = |query: &str| Ask::post(&format!("{path}{query}")).bearer(ADMIN);
    let tag = |ask: Ask| ask.with("if-match", &format!("\"{}\"", generation(gate)));
    let large = 1024 * 1024 + 1;
    notes.ask(endpoint, &tag(post("")).with("content-type", "text/plain").body("{}"));
    notes.ask(endpoint, &tag(post("")).json("{"));
    notes.ask(endpoint, &tag(post("")).json(&format!("\"{}\"", "x".repeat(large))));
    notes.ask(endpoint, &tag(post("")).json(r#"{"tennant": 1}"#));
    if endpoint != Endpoint::Explain {
        notes.ask(endpoint, &post("").with("if-match", "\"4711\"").json(r#"{"reason": "x"}"#));
        notes.ask(endpoint, &post("").with("if-match", "\"4711\"").json(&grant().to_string()));
        notes.ask(endpoint, &post("").json(r#"{"reason": "x"}"#));
        notes.ask(endpoint, &post("").json(&grant().to_string()));
        notes.ask(endpoint, &sound(gate, endpoint, "nothing").bearer(ADMIN));
    }
    notes.ask(endpoint, &sound(gate, endpoint, id).bearer(ADMIN));
}

/// A reason that reads as the mode: what is promoted must not be guessed.
fn twice_in_shadow(notes: &mut Notes<'_>) {
    let mut shadow = revoke();
    (shadow["shadow"], shadow["reason"]) = (json!(true), json!("x, mode: shadow"));
    let (status, done) = tell(notes.gate, ADMIN, &order(notes.gate, &shadow));
    assert_eq!(status, 200, "{done}");
    let promote = sound(notes.gate, Endpoint::Promote, done["id"].as_str().expect("an id"));
    notes.ask(Endpoint::Promote, &promote.bearer(ADMIN));
}

/// What is refused before it is looked at; each gate answers some of that in full.
fn strangers(notes: &mut Notes<'_>) {
    for endpoints in Endpoint::ALL.chunks(6) {
        let gate = on_tcp().start();
        for endpoint in endpoints {
            let ask = sound(&gate, *endpoint, "x");
            let good = ask.clone().bearer(ADMIN);
            for ask in [ask, good.clone().with("origin", "null"), good.with("host", "evil.example")] {
                let answer = raw(&gate, &ask);
                notes.note(*endpoint, answer.status, answer.json());
            }
        }
    }
}

fn orders(notes: &mut Notes<'_>) {
    let gate = notes.gate;
    for text in [
        json!({"act": "revoke", "app": "jira/nothing", "all_scopes": true, "reason": "x"}),
        json!({"act": "revoke", "reason": "x", "all_scopes": true}),
        json!({"act": "revoke", "app": "jira/two", "scopes": ["read:jira-work"], "reason": "x"}),
        json!({"act": "revoke", "app": "jira/two", "all_tenants": true, "scopes": ["read:jira-work"], "reason": "x"}),
        json!({"act": "revoke", "all_apps": true, "all_tenants": true, "scopes": ["read:jira-work"], "reason": "x"}),
        json!({"act": "revoke", "app": "jira/tracker", "scopes": ["read:jira-werk"], "reason": "x"}),
    ] {
        notes.ask(Endpoint::Order, &order(gate, &text).bearer(ADMIN));
    }
}

fn reads(notes: &mut Notes<'_>) {
    for (endpoint, path) in [
        (Endpoint::Apps, "/api/v1/apps?limit=0"),
        (Endpoint::Cells, "/api/v1/cells?limit=0"),
        (Endpoint::Cells, "/api/v1/cells?app=jira/nothing"),
        (Endpoint::History, "/api/v1/history?limit=0"),
        (Endpoint::App, "/api/v1/apps/jira/nothing"),
        (Endpoint::App, "/api/v1/apps/jira/%ff"),
    ] {
        notes.ask(endpoint, &Ask::get(path).bearer(VIEWER));
    }
}

/// What another gate answers: one without folders, one whose journal is broken, one that does not know who asks, and one
/// that was asked too often.
fn elsewhere(notes: &mut Notes<'_>) {
    let bare = Setup::jira().top("admin", "{listen: '127.0.0.1:0', token: {file: tokens}}").file("tokens", TOKENS);
    let bare = bare.policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start();
    for endpoint in [Endpoint::History, Endpoint::Acts, Endpoint::Restore, Endpoint::Promote] {
        let answer = raw(&bare, &sound(&bare, endpoint, "x").bearer(ADMIN));
        notes.note(endpoint, answer.status, answer.json());
    }
    let stranger = guarded("{listen: 'unix:admin.sock', peers: [{uid: 4294967294, role: admin}]}").start();
    for endpoint in Endpoint::ALL {
        let line = format!("{} {}", endpoint.method(), endpoint.path().replace(['{', '}'], "x"));
        let (status, answer) = ask(&stranger, &line, &json!({}));
        notes.note(endpoint, status, answer);
    }
    for endpoint in Endpoint::ALL {
        (0..25).for_each(|_| drop(raw(&bare, &Ask::get("/"))));
        let answer = raw(&bare, &sound(&bare, endpoint, "x"));
        notes.note(endpoint, answer.status, answer.json());
    }
    let broken = on_tcp().start();
    crate::e2e::admin::reads::break_journal(&broken);
    let answer = raw(&broken, &sound(&broken, Endpoint::History, "x").bearer(ADMIN));
    notes.note(Endpoint::History, answer.status, answer.json());
}
