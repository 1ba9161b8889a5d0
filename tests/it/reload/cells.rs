//! What a reload says of the cells that changed.

use std::path::Path;
use std::sync::Arc;

use scopegate::authz::catalog::builtin;
use scopegate::authz::policy::cells::{between, cells};
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::link::Secrets;
use scopegate::authz::policy::store::{Change, Content, Store};
use scopegate::authz::snapshot::Snapshot;
use scopegate::clock::unix_ms;

const ASSIST: &str = "version: 1
app: slack/assist
name: Assist
contact: it@example.com
installations: [{tenant: T024BE7LD, tenant_name: Acme Corp, credentials: [{method: token, sha256: DIGEST, kind: user, user: U1}]}]
grants:
  - {scopes: ['chat:write', 'team:read'], actors: [app, user], in: all}
  - {scopes: ['files:read'], actors: [app], in: {channel: [C0HELP]}, valid: {until: 2030-01-01}}
";

struct Documents {
    catalogs: Arc<Catalogs>,
    store: Store,
}

impl Documents {
    fn new(files: &[(&str, &str)]) -> Self {
        let catalogs = ["jira", "slack"].map(|name| builtin::catalog(name).unwrap());
        let catalogs = Arc::new(Catalogs::new(catalogs));
        let mut documents = Self { store: Store::new(Arc::clone(&catalogs)), catalogs };
        documents.change(files);
        documents.store.settle();
        documents
    }

    fn change(&mut self, files: &[(&str, &str)]) -> Snapshot {
        let changes = files.iter().map(|(file, text)| Change {
            file: Path::new(file).into(),
            origin: Origin::Policy,
            content: Content::Text(text.replace("DIGEST", &super::world::sha256("assist")).into()),
        });
        self.store.apply(changes.collect(), unix_ms());
        let errors: Vec<_> = self.store.problems().into_iter().filter(|problem| problem.is_error()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        self.store.snapshot(&Secrets::new())
    }

    fn settle(&mut self) -> Snapshot {
        self.store.settle();
        self.store.snapshot(&Secrets::new())
    }

    fn between(&self, old: &Snapshot, new: &Snapshot) -> Vec<String> {
        between(old.states.as_ref(), new.states.as_ref(), &self.catalogs, 100).lines
    }
}

#[test]
fn a_revocation_is_told_at_once_and_a_grant_when_it_has_settled() {
    let mut documents = Documents::new(&[("a.yaml", ASSIST)]);
    let first = documents.settle();
    let text = format!(
        "{}revocations:\n  - {{scopes: ['chat:write'], actors: [user], in: {{channel: [C0EXEC]}}, reason: SEC-1142}}\n",
        ASSIST.replace("'team:read'", "'team:read', 'users:read'")
    );
    let names = "version: 1\nnames: slack\ntenant: T024BE7LD\nentries: {C0EXEC: '#executives'}\n";
    let second = documents.change(&[("a.yaml", &text), ("names.yaml", names)]);
    assert_eq!(
        documents.between(&first, &second),
        ["slack/assist in T024BE7LD (Acme Corp) loses chat:write in channel C0EXEC (#executives), as user"]
    );
    let third = documents.settle();
    assert_eq!(
        documents.between(&second, &third),
        ["slack/assist in T024BE7LD (Acme Corp) gains users:read everywhere"]
    );
    documents.change(&[("a.yaml", &format!("# the same\n{}", text.replace("Acme Corp", "Acme")))]);
    let fourth = documents.settle();
    assert_eq!(documents.between(&third, &fourth), Vec::<String>::new(), "a name gives and takes nothing");
}

#[test]
fn places_rights_and_terms_that_go_together_are_told_together() {
    let mut documents = Documents::new(&[("a.yaml", ASSIST)]);
    let first = documents.settle();
    documents.change(&[("a.yaml", ASSIST.split("grants:").next().unwrap())]);
    let second = documents.settle();
    assert_eq!(
        documents.between(&first, &second),
        [
            "slack/assist in T024BE7LD (Acme Corp) loses chat:write, team:read everywhere",
            "slack/assist in T024BE7LD (Acme Corp) loses files:read in channel C0HELP, as app, until 2030-01-01T00:00:00Z",
        ]
    );
    let back = documents.between(&second, &first);
    assert!(back.iter().all(|line| line.contains(" gains ")) && back.len() == 2, "{back:?}");
}

#[test]
fn a_revocation_of_what_is_not_held_says_so() {
    let mut documents = Documents::new(&[("a.yaml", ASSIST)]);
    let first = documents.settle();
    let text = format!("{ASSIST}revocations:\n  - {{scopes: ['users:read'], in: all, reason: x}}\n");
    let second = documents.change(&[("a.yaml", &text)]);
    let lines = documents.between(&first, &second);
    assert!(lines[0].starts_with("slack/assist in T024BE7LD (Acme Corp) is kept from users:read"), "{lines:?}");
}

#[test]
fn a_guardrail_says_whom_it_reaches_and_a_set_what_it_holds() {
    let app =
        |name: &str| format!("version: 1\napp: jira/{name}\nname: N\ncontact: c\ninstallations: [{{tenant: acme}}]\n");
    let set = |ids: &str| format!("version: 1\nset: sensitive\ntenant: acme\nproject: [{ids}]\n");
    let rail = "version: 1\nguardrail: no-standing-admin\napps: {product: jira, except: [jira/backup]}\ntenants: all\nrevocations:\n  \
                - {scopes: [ADMIN], in: all, reason: SEC-7}\n";
    let mut documents =
        Documents::new(&[("a.yaml", &app("sync")), ("b.yaml", &app("backup")), ("s.yaml", &set("HR, SEC"))]);
    let first = documents.settle();
    let second = documents.change(&[("g.yaml", rail)]);
    assert_eq!(
        documents.between(&first, &second),
        ["guardrail no-standing-admin takes ADMIN everywhere from all apps of jira but jira/backup"]
    );
    let more = format!(
        "{rail}  - {{scopes: all, in: {{project: ['set:sensitive']}}, unless: install_window, reason: SEC-9}}\n"
    );
    documents.change(&[("g.yaml", &more)]);
    let third = documents.settle();
    let fourth = documents.change(&[("s.yaml", &set("HR, LEGAL"))]);
    assert_eq!(
        documents.between(&third, &fourth),
        [
            "guardrail no-standing-admin in acme takes everything in project LEGAL, while no install window is open from \
          all apps of jira but jira/backup"
        ]
    );
    let fifth = documents.settle();
    let gone = documents.between(&fourth, &fifth);
    assert!(gone[0].contains("no longer takes everything in project SEC"), "{gone:?}");
}

#[test]
fn every_cell_names_its_rule() {
    let mut documents = Documents::new(&[("a.yaml", ASSIST)]);
    let snapshot = documents.settle();
    let policy = &snapshot.states.as_ref().unwrap().newest;
    let all: Vec<_> = cells(policy, &documents.catalogs).collect();
    assert_eq!(all.len(), 5, "{all:#?}");
    let files = all.iter().find(|said| said.cell.right.to_string() == "files:read").unwrap();
    assert_eq!((files.line, files.file.as_deref()), (8, Some(Path::new("a.yaml"))));
    assert_eq!(files.cell.place.to_string(), "channel C0HELP");
    assert_eq!(files.cell.terms.until_ms, Some(1_893_456_000_000));
}
