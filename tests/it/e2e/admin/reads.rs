//! What is read: apps, cells, the snapshot and the journal, a bounded page at a time, and no secret among it.

use super::*;
use crate::support::upstream::wait_until;

/// A gate with this many apps beside the first.
fn crowded(more: usize) -> Gate {
    let mut setup = on_tcp();
    for number in 0..more {
        let name = format!("app{number:02}");
        setup = setup.policy(&format!("{name}.yaml"), &jira_app(&name, "oauth", GRANTS));
    }
    setup.start()
}

fn read(gate: &Gate, path: &str) -> Value {
    let (status, value) = tell(gate, VIEWER, &Ask::get(path));
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// All pages of a list, and how long each was.
fn pages(gate: &Gate, path: &str, list: &str, cursor: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut all, mut lengths, mut next) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let after = match &next {
            Value::Null => String::new(),
            Value::String(text) => format!("&{cursor}={text}"),
            other => format!("&{cursor}={other}"),
        };
        let page = read(gate, &format!("{path}{after}"));
        let items = page[list].as_array().expect("a list").clone();
        lengths.push(items.len());
        all.extend(items);
        next = page["next"].clone();
        if next.is_null() {
            return (all, lengths);
        }
        assert!(lengths.len() < 100, "it has no end");
    }
}

#[test]
fn apps_are_read_a_page_at_a_time_each_once_and_in_order() {
    let gate = crowded(7);
    let (apps, lengths) = pages(&gate, "/api/v1/apps?limit=3", "apps", "after");
    assert_eq!(lengths, [3, 3, 2]);
    let names: Vec<&str> = apps.iter().map(|app| app["app"].as_str().expect("a name")).collect();
    let expected: Vec<String> =
        (0..7).map(|number| format!("jira/app{number:02}")).chain(["jira/tracker".to_owned()]).collect();
    assert_eq!(names, expected);
    let app = read(&gate, "/api/v1/apps/jira/tracker");
    assert_eq!(Some(&app), apps.last());
    assert_eq!(app["installations"][0]["credentials"], json!({"oauth by token": 1}));
    assert_eq!(tell(&gate, VIEWER, &Ask::get("/api/v1/apps/jira/trakcer")).0, 404);
    assert_eq!(tell(&gate, VIEWER, &Ask::get("/api/v1/apps/slack/tracker")).0, 404);
}

#[test]
fn cells_are_read_by_app_and_tenant_a_page_at_a_time() {
    let gate = crowded(3);
    let all = read(&gate, "/api/v1/cells");
    let whole = all["cells"].as_array().expect("cells");
    assert!(whole.len() == 16 && all["next"].is_null(), "{all}");
    let (cells, lengths) = pages(&gate, "/api/v1/cells?limit=7", "cells", "after");
    assert_eq!(&cells, whole);
    assert!(lengths.iter().all(|length| *length <= 7));
    let own = read(&gate, "/api/v1/cells?app=jira/tracker&tenant=acme");
    let own = own["cells"].as_array().expect("cells");
    assert_eq!(own.len() * 4, whole.len());
    assert!(own.iter().all(|cell| cell["app"] == "jira/tracker" && cell["held"] == true));
    assert_eq!(tell(&gate, ADMIN, &order(&gate, &revoke())).0, 200);
    let after = read(&gate, "/api/v1/cells?app=jira/tracker");
    let taken: Vec<&Value> =
        after["cells"].as_array().expect("cells").iter().filter(|cell| cell["held"] == false).collect();
    assert_eq!(taken.len(), 2, "as app and as user");
    assert!(taken.iter().all(|cell| cell["scope"] == "write:jira-work" && cell["revoked_by"].is_string()));
    // A misspelt filter is not an app that holds nothing.
    for wrong in ["?app=jira/trakcer", "?tenant=Acme", "?app=jira/tracker&tenant=other"] {
        assert_eq!(tell(&gate, VIEWER, &Ask::get(&format!("/api/v1/cells{wrong}"))).0, 404, "{wrong}");
    }
}

#[test]
fn a_question_that_is_not_understood_is_no_question_for_everything() {
    let gate = on_tcp().start();
    for wrong in [
        "apps?limit=0",
        "apps?limit=1001",
        "apps?limit=-1",
        "apps?limit=x",
        "apps?limt=3",
        "apps?limit=1&limit=2",
        "cells?limit=5001",
        "cells?after=nothing",
        "cells?after=jira/tracker~x",
        "cells?apps=jira/tracker",
        "history?limit=201",
        "history?since=yesterday",
        "history?source=magic",
        "history?before=x",
        "history?before=-1",
        "history?before=18446744073709551616",
    ] {
        let (status, answer) = tell(&gate, ADMIN, &Ask::get(&format!("/api/v1/{wrong}")));
        assert_eq!((status, &answer["code"]), (400, &json!("question")), "{wrong}: {answer}");
    }
}

#[test]
fn the_history_is_read_back_to_its_beginning_a_page_at_a_time() {
    let gate = on_tcp().start();
    for _ in 0..4 {
        assert_eq!(tell(&gate, APPROVER, &order(&gate, &revoke())).0, 200);
    }
    let (entries, lengths) = pages(&gate, "/api/v1/history?limit=2", "entries", "before");
    assert_eq!(lengths, [2, 2, 1]);
    let numbers: Vec<u64> = entries.iter().filter_map(|entry| entry["sequence"].as_u64()).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert!(entries.iter().all(|entry| entry["hash"].as_str().is_some_and(|hash| hash.len() == 64)));
    let length =
        |query: &str| read(&gate, &format!("/api/v1/history{query}"))["entries"].as_array().expect("a list").len();
    assert_eq!(length("?since=2200-01-01T00:00:00Z"), 0);
    assert_eq!(length("?since=2020-01-01T00:00:00Z"), 5);
    assert_eq!(length(&format!("?before={}", u64::MAX)), 5, "the largest that the description allows");
    // The first revocation took what there was; the others repeat it.
    assert_eq!((length("?app=jira/tracker"), length("?app=jira/track")), (1, 0));
}

#[test]
fn without_a_state_folder_there_is_no_history_and_everything_else() {
    let setup = Setup::jira().top("admin", "{listen: '127.0.0.1:0', token: {file: tokens}}").file("tokens", TOKENS);
    let gate = setup.policy("tracker.yaml", &jira_app("tracker", "oauth", GRANTS)).start();
    let (status, answer) = tell(&gate, VIEWER, &Ask::get("/api/v1/history"));
    assert_eq!((status, &answer["code"]), (404, &json!("no_journal")));
    assert_eq!(tell(&gate, ADMIN, &Ask::post("/api/v1/acts").json(&revoke().to_string())).1["code"], "order");
    assert_eq!(read(&gate, "/api/v1/apps")["apps"].as_array().expect("apps").len(), 1);
}

/// Puts something else in the place of the journal, once the start stands there: a journal that is still to be written is
/// made anew.
pub fn break_journal(gate: &Gate) {
    let entries = || tell(gate, VIEWER, &Ask::get("/api/v1/history")).1["entries"].as_array().map_or(0, Vec::len);
    wait_until("the start to be in the journal", || entries() > 0);
    let journal = gate.path("state").join(scopegate::control::journal::database::FILE);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", journal.display()));
    }
    std::fs::write(&journal, "this is no database, and long enough to be looked at as one".repeat(100))
        .expect("a file");
}

#[test]
fn a_history_that_cannot_be_read_says_so() {
    let gate = on_tcp().start();
    break_journal(&gate);
    let (status, answer) = tell(&gate, VIEWER, &Ask::get("/api/v1/history"));
    assert_eq!((status, &answer["code"]), (500, &json!("journal_unreadable")), "{answer}");
    assert_eq!(tell(&gate, VIEWER, &Ask::get("/api/v1/snapshot")).0, 200);
}

#[test]
fn the_snapshot_says_since_when_and_what_is_wrong() {
    let gate = on_tcp().start();
    let first = read(&gate, "/api/v1/snapshot");
    assert_eq!((&first["apps"], &first["errors"], &first["settling"]), (&json!(1), &json!(0), &json!(false)));
    assert!(first["in_force_since"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    gate.write_policy("broken.yaml", "version: 1\napp: [");
    wait_until("the problem", || read(&gate, "/api/v1/snapshot")["errors"] == 1);
    let told = read(&gate, "/api/v1/snapshot");
    let problem = &told["problems"][0];
    assert_eq!((&problem["severity"], &problem["line"]), (&json!("error"), &json!(2)), "{told}");
    assert!(problem["file"].as_str().is_some_and(|file| file.ends_with("broken.yaml")), "{told}");
}

#[test]
fn what_is_read_says_of_which_generation_it_is_and_that_can_be_matched() {
    let gate = on_tcp().start();
    for path in ["snapshot", "acts", "apps", "apps/jira/tracker", "cells", "history"] {
        let answer = raw(&gate, &Ask::get(&format!("/api/v1/{path}")).bearer(VIEWER));
        let tag = answer.field("etag").expect("a tag").to_owned();
        assert_eq!(tag, format!("\"{}\"", generation(&gate)), "{path}");
        let order = Ask::post("/api/v1/acts?dry_run=true").with("if-match", &tag).json(&grant().to_string());
        assert_eq!(tell(&gate, ADMIN, &order).0, 200, "{path}");
    }
}

/// Every secret that the gate knows, and the digests by which it knows them.
#[test]
fn no_secret_and_no_digest_of_one_is_in_any_answer() {
    let gate = on_tcp().start();
    assert_eq!(tell(&gate, ADMIN, &order(&gate, &revoke())).0, 200);
    let digest = crate::support::gate::digested("sha256(tracker)");
    for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| !endpoint.has_body()) {
        let answer = raw(&gate, &sound(&gate, endpoint, "x").bearer(VIEWER));
        assert_eq!(answer.status, 200);
        for secret in [VIEWER, APPROVER, ADMIN, &digest, "sha256"] {
            assert!(!answer.body.contains(secret), "{endpoint:?} shows {secret}");
        }
    }
}
